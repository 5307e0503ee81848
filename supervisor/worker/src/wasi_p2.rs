//! WASI 0.2 for components: wasmtime-wasi's own functions, recorded by [`crate::recorder`].
//!
//! Runs in: worker, on guest threads.
//! Invariant: every function and every drop of a handle has a record. Where the bindings do not say what a record needs, or a
//! limit is to be kept, the definition is replaced by one of ours around theirs: the opening of files, the granted directories,
//! reading and writing of streams, and the drops, which the bindings do not announce.

use edgeguard_audit::CallId;
use edgeguard_audit::OpenFlags;
use edgeguard_audit::Outcome;
use edgeguard_audit::call_id;
use wasmtime::Result;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime::component::LinkerInstance;
use wasmtime::component::Resource;
use wasmtime::component::ResourceType;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::DynInputStream;
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::IoError;
use wasmtime_wasi::p2::ReaddirIterator;
use wasmtime_wasi::p2::StreamError;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types;
use wasmtime_wasi_io::bindings::wasi::io::error;
use wasmtime_wasi_io::bindings::wasi::io::poll;
use wasmtime_wasi_io::bindings::wasi::io::streams;

use crate::guest::Guest;
use crate::limits::Stop;
use crate::quota;
use crate::quota::Growth;
use crate::record::Pending;
use crate::recorder::Files;

/// The version of WASI 0.2 that wasmtime-wasi defines. Components of other 0.2 versions are matched to it by the linker.
const VERSION: &str = "0.2.12";

/// The first rule number of a directory.
const FIRST_RULE: u16 = 1;

/// Adds all interfaces.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    quota::filesystem::add_to_linker(linker)?;
    preopens(linker)?;
    filesystem(linker)?;
    input(linker)?;
    output(linker)?;
    drop_sync(&mut instance(linker, "wasi:io/poll")?, "wasi:io/poll", "pollable", |guest, pollable: Resource<DynPollable>| {
        poll::HostPollable::drop(guest.table(), pollable)
    })?;
    drop_sync(&mut instance(linker, "wasi:io/error")?, "wasi:io/error", "error", |guest, error: Resource<IoError>| {
        error::HostError::drop(guest.table(), error)
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// One of its interfaces.
pub(crate) fn instance<'a>(linker: &'a mut Linker<Guest>, interface: &str) -> Result<LinkerInstance<'a, Guest>> {
    linker.instance(&format!("{interface}@{VERSION}"))
}

fn number(interface: &str, function: &str) -> Result<CallId> {
    call_id(interface, function).ok_or_else(|| wasmtime::Error::msg(format!("the call `{interface}.{function}` has no number")))
}

/// Granted directories: from here on, their handles are known with their rules.
fn preopens(linker: &mut Linker<Guest>) -> Result<()> {
    let call = number("wasi:filesystem/preopens", "get-directories")?;
    instance(linker, "wasi:filesystem/preopens")?.func_wrap("get-directories", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
        let mut pending = Pending::begin(call);
        let dirs = preopens::Host::get_directories(&mut store.data_mut().filesystem())?;
        for (rule, (dir, _)) in (FIRST_RULE..).zip(&dirs) {
            Files::with(|files| files.granted(dir.rep(), rule));
        }
        pending.n_out = u32::try_from(dirs.len()).unwrap_or(u32::MAX);
        pending.end(Outcome::Ok, 0);
        Ok((dirs,))
    })
}

/// Opening and closing: what is open counts, and belongs to the rule of the directory it was opened in.
fn filesystem(linker: &mut Linker<Guest>) -> Result<()> {
    const INTERFACE: &str = "wasi:filesystem/types";
    type OpenAt = (Resource<Descriptor>, types::PathFlags, String, types::OpenFlags, types::DescriptorFlags);
    const OPEN: &str = "[method]descriptor.open-at";
    let open = number(INTERFACE, OPEN)?;
    let mut types = instance(linker, INTERFACE)?;
    types.func_wrap_async(OPEN, move |mut store: StoreContextMut<'_, Guest>, (dir, path_flags, path, open_flags, flags): OpenAt| {
        Box::new(async move {
            let mut pending = Pending::begin(open);
            let parent = dir.rep();
            pending.handle = parent;
            pending.rule = Files::with(|files| files.rule(parent)).unwrap_or(0);
            pending.text(path.as_bytes());
            pending.n_in = asked(open_flags, flags).to_number();
            if let Some(Err(stop)) = Files::with(|files| files.check()) {
                pending.end(Outcome::Limit, 0);
                return Err(stop.into());
            }
            // Where there is no room for another name, what is there can be opened all the same.
            let room =
                if open_flags.contains(types::OpenFlags::CREATE) { quota::filesystem::reserve(&dir, Growth::Name) } else { Ok(None) };
            let full = room.is_err();
            let open_flags = if full { open_flags & !types::OpenFlags::CREATE } else { open_flags };
            let opening = Files::with(|files| files.opening(parent));
            let view = &mut store.data_mut().filesystem();
            let opened = types::HostDescriptor::open_at(view, dir, path_flags, path, open_flags, flags).await;
            drop(room);
            match opened {
                Ok(file) => {
                    Files::with(|files| files.opened(parent, file.rep()));
                    drop(opening);
                    pending.handle = file.rep();
                    pending.end(Outcome::Ok, 0);
                    Ok((Ok(file),))
                }
                Err(error) => match error.downcast() {
                    Ok(code) => {
                        let code = if full && code == types::ErrorCode::NoEntry { types::ErrorCode::Quota } else { code };
                        let denied = matches!(code, types::ErrorCode::Access | types::ErrorCode::NotPermitted);
                        pending.end(if denied { Outcome::Denied } else { Outcome::Error }, errno(code));
                        Ok((Err(code),))
                    }
                    Err(error) => Err(stopped(pending, error)),
                },
            }
        })
    })?;
    drop_sync(&mut types, INTERFACE, "descriptor", |guest, file: Resource<Descriptor>| {
        Files::with(|files| files.closed(file.rep()));
        types::HostDescriptor::drop(&mut guest.filesystem(), file)
    })?;
    drop_sync(&mut types, INTERFACE, "directory-entry-stream", |guest, entries: Resource<ReaddirIterator>| {
        types::HostDirectoryEntryStream::drop(&mut guest.filesystem(), entries)
    })
}

/// What a guest asks for when it opens something.
fn asked(open: types::OpenFlags, descriptor: types::DescriptorFlags) -> OpenFlags {
    OpenFlags::default()
        .with(OpenFlags::CREATE, open.contains(types::OpenFlags::CREATE))
        .with(OpenFlags::DIRECTORY, open.contains(types::OpenFlags::DIRECTORY))
        .with(OpenFlags::EXCLUSIVE, open.contains(types::OpenFlags::EXCLUSIVE))
        .with(OpenFlags::TRUNCATE, open.contains(types::OpenFlags::TRUNCATE))
        .with(OpenFlags::READ, descriptor.contains(types::DescriptorFlags::READ))
        .with(OpenFlags::WRITE, descriptor.contains(types::DescriptorFlags::WRITE))
        .with(OpenFlags::MUTATE, descriptor.contains(types::DescriptorFlags::MUTATE_DIRECTORY))
}

/// Reading: how many bytes came.
fn input(linker: &mut Linker<Guest>) -> Result<()> {
    const READ: &str = "[method]input-stream.read";
    const BLOCKING_READ: &str = "[method]input-stream.blocking-read";
    let (read, blocking_read) = (number(STREAMS, READ)?, number(STREAMS, BLOCKING_READ)?);
    let mut streams = instance(linker, STREAMS)?;
    streams.func_wrap(READ, move |mut store: StoreContextMut<'_, Guest>, (stream, len): (Resource<DynInputStream>, u64)| {
        let pending = about(read, stream.rep());
        let result = streams::HostInputStream::read(store.data_mut().table(), stream, len);
        Ok((arrived(store.data_mut(), pending, result)?,))
    })?;
    streams.func_wrap_async(
        BLOCKING_READ,
        move |mut store: StoreContextMut<'_, Guest>, (stream, len): (Resource<DynInputStream>, u64)| {
            Box::new(async move {
                let pending = about(blocking_read, stream.rep());
                let result = streams::HostInputStream::blocking_read(store.data_mut().table(), stream, len).await;
                Ok((arrived(store.data_mut(), pending, result)?,))
            })
        },
    )?;
    let call = number(STREAMS, "[resource-drop]input-stream")?;
    streams.resource_async("input-stream", ResourceType::host::<DynInputStream>(), move |mut store, rep| {
        Box::new(async move {
            let pending = about(call, rep);
            streams::HostInputStream::drop(store.data_mut().table(), Resource::new_own(rep)).await?;
            pending.end(Outcome::Ok, 0);
            Ok(())
        })
    })
}

/// Writing: how many bytes went.
fn output(linker: &mut Linker<Guest>) -> Result<()> {
    const WRITE: &str = "[method]output-stream.write";
    const WRITE_AND_FLUSH: &str = "[method]output-stream.blocking-write-and-flush";
    let (write, write_and_flush) = (number(STREAMS, WRITE)?, number(STREAMS, WRITE_AND_FLUSH)?);
    let mut streams = instance(linker, STREAMS)?;
    streams.func_wrap(WRITE, move |mut store: StoreContextMut<'_, Guest>, (stream, bytes): (Resource<DynOutputStream>, Vec<u8>)| {
        let mut pending = about(write, stream.rep());
        pending.n_in = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let result = streams::HostOutputStream::write(store.data_mut().table(), stream, bytes);
        Ok((went(store.data_mut(), pending, result)?,))
    })?;
    streams.func_wrap_async(
        WRITE_AND_FLUSH,
        move |mut store: StoreContextMut<'_, Guest>, (stream, bytes): (Resource<DynOutputStream>, Vec<u8>)| {
            Box::new(async move {
                let mut pending = about(write_and_flush, stream.rep());
                pending.n_in = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let result = streams::HostOutputStream::blocking_write_and_flush(store.data_mut().table(), stream, bytes).await;
                sent(store.data().serves).await;
                Ok((went(store.data_mut(), pending, result)?,))
            })
        },
    )?;
    const FLUSH: &str = "[method]output-stream.blocking-flush";
    let flush = number(STREAMS, FLUSH)?;
    streams.func_wrap_async(FLUSH, move |mut store: StoreContextMut<'_, Guest>, (stream,): (Resource<DynOutputStream>,)| {
        Box::new(async move {
            let pending = about(flush, stream.rep());
            let result = streams::HostOutputStream::blocking_flush(store.data_mut().table(), stream).await;
            sent(store.data().serves).await;
            Ok((went(store.data_mut(), pending, result)?,))
        })
    })?;
    let call = number(STREAMS, "[resource-drop]output-stream")?;
    streams.resource_async("output-stream", ResourceType::host::<DynOutputStream>(), move |mut store, rep| {
        Box::new(async move {
            let pending = about(call, rep);
            streams::HostOutputStream::drop(store.data_mut().table(), Resource::new_own(rep)).await?;
            pending.end(Outcome::Ok, 0);
            Ok(())
        })
    })
}

/// What a guest that serves has flushed goes out now, and not when it waits for something the next time: the thread is its client's, too.
async fn sent(serves: bool) {
    if serves {
        tokio::task::yield_now().await;
    }
}

const STREAMS: &str = "wasi:io/streams";

fn about(call: CallId, handle: u32) -> Pending {
    let mut pending = Pending::begin(call);
    pending.handle = handle;
    pending
}

fn arrived(guest: &mut Guest, mut pending: Pending, result: Result<Vec<u8>, StreamError>) -> Result<Result<Vec<u8>, streams::StreamError>> {
    if let Ok(bytes) = &result {
        pending.n_out = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    }
    went(guest, pending, result)
}

/// Ends the call, and turns an error into what the guest gets, or into the guest's end.
fn went<T>(guest: &mut Guest, pending: Pending, result: Result<T, StreamError>) -> Result<Result<T, streams::StreamError>> {
    match result {
        Ok(value) => {
            pending.end(Outcome::Ok, 0);
            Ok(Ok(value))
        }
        Err(StreamError::Trap(error)) => Err(stopped(pending, error)),
        // The end of input, or a reader that is gone: how streams end.
        Err(StreamError::Closed) => {
            pending.end(Outcome::Ok, 0);
            Ok(Err(streams::StreamError::Closed))
        }
        Err(error) => {
            pending.end(Outcome::Error, 1);
            Ok(Err(streams::Host::convert_stream_error(guest.table(), error)?))
        }
    }
}

/// Ends a call that ends the guest.
fn stopped(pending: Pending, error: wasmtime::Error) -> wasmtime::Error {
    let limit = error.downcast_ref::<Stop>().is_some();
    pending.end(if limit { Outcome::Limit } else { Outcome::Trapped }, 0);
    error
}

/// Replaces the drop of a resource by one that is recorded.
pub(crate) fn drop_sync<T: 'static>(
    instance: &mut LinkerInstance<'_, Guest>,
    interface: &str,
    resource: &str,
    drop: impl Fn(&mut Guest, Resource<T>) -> Result<()> + Send + Sync + 'static,
) -> Result<()> {
    let call = number(interface, &format!("[resource-drop]{resource}"))?;
    instance.resource(resource, ResourceType::host::<T>(), move |mut store, rep| {
        let pending = about(call, rep);
        drop(store.data_mut(), Resource::new_own(rep))?;
        pending.end(Outcome::Ok, 0);
        Ok(())
    })
}

/// The code's place in the standard's enumeration, from 1, so that 0 means success in records.
fn errno(code: types::ErrorCode) -> u16 {
    u16::from(code as u8).saturating_add(1)
}
