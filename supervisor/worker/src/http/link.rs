//! `wasi:http/types` for modules that serve: wasmtime-wasi-http's own, recorded by [`crate::recorder`].
//!
//! Runs in: worker, on guest threads.
//! Invariant: a guest can make a request, and there is nothing that it could give it to: the handler of outgoing requests is not linked.
//! Every drop of a handle has a record, as in [`crate::wasi_p2`].

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime::component::Resource;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::RequestOptions;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::WasiHttp;
use wasmtime_wasi_http::WasiHttpHooks;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types;
use wasmtime_wasi_http::p2::body::HostFutureTrailers;
use wasmtime_wasi_http::p2::body::HostIncomingBody;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::HostFutureIncomingResponse;
use wasmtime_wasi_http::p2::types::HostIncomingRequest;
use wasmtime_wasi_http::p2::types::HostIncomingResponse;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::p2::types::HostOutgoingResponse;
use wasmtime_wasi_http::p2::types::HostResponseOutparam;

use crate::guest::Guest;
use crate::wasi_p2;

const INTERFACE: &str = "wasi:http/types";

/// One write to a body.
const CHUNK: usize = 16 << 10;

/// Adds the interface.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    // What is not stable is off.
    types::add_to_linker::<_, WasiHttp>(linker, &types::LinkOptions::default(), Guest::http)?;
    linker.allow_shadowing(true);
    let mut interface = wasi_p2::instance(linker, INTERFACE)?;
    macro_rules! drops {
        ($($resource:literal: $type:ty, $host:ident;)*) => {
            $(wasi_p2::drop_sync(&mut interface, INTERFACE, $resource, |guest, dropped: Resource<$type>| {
                types::$host::drop(&mut guest.http(), dropped)
            })?;)*
        };
    }
    drops! {
        "fields": FieldMap, HostFields;
        "incoming-request": HostIncomingRequest, HostIncomingRequest;
        "outgoing-request": HostOutgoingRequest, HostOutgoingRequest;
        "request-options": RequestOptions, HostRequestOptions;
        "response-outparam": HostResponseOutparam, HostResponseOutparam;
        "incoming-response": HostIncomingResponse, HostIncomingResponse;
        "incoming-body": HostIncomingBody, HostIncomingBody;
        "future-trailers": HostFutureTrailers, HostFutureTrailers;
        "outgoing-response": HostOutgoingResponse, HostOutgoingResponse;
        "outgoing-body": HostOutgoingBody, HostOutgoingBody;
        "future-incoming-response": HostFutureIncomingResponse, HostFutureIncomingResponse;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// How wasmtime-wasi-http asks its host.
#[derive(Debug)]
pub(crate) struct Hooks;

type Sent = Box<dyn Future<Output = std::result::Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    /// Nobody: what would call this is not linked.
    fn send_request(
        &mut self,
        _: hyper::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Sent,
    ) -> Box<dyn Future<Output = std::result::Result<(hyper::Response<WasiBody>, Sent), Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}
