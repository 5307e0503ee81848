//! The streams of one invocation over HTTP: the request's body is the guest's standard input, the answer's body its output, as it comes.
//!
//! Runs in: daemon.
//! Nothing is gathered: a slow reader slows the guest down, and its deadline runs on.
//!
//! Two forms. Plain (any client): standard output as the body, `Edgeguard-Outcome` as a trailer (send `TE: trailers` to get it).
//! Framed (`Accept: application/vnd.edgeguard.stream`): frames of one byte kind, four bytes length (big-endian) and payload; kinds are
//! 1 standard output, 2 standard error, 3 the ending as JSON, which is the last.

use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut as _;
use bytes::Bytes;
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use http_body_util::channel::Sender;
use http_body_util::combinators::BoxBody;
use hyper::HeaderMap;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::ACCEPT;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;
use hyper::header::TRAILER;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

use super::Control;
use super::routes::Answer;
use crate::invoke;
use crate::invoke::Ending;
use crate::invoke::InvokeError;
use crate::invoke::Running;

/// The framed form's media type.
pub const FRAMED: &str = "application/vnd.edgeguard.stream";

/// Begins the invocation and answers with its output.
///
/// # Errors
/// It did not begin.
pub async fn invoke(control: &Arc<Control>, name: &str, peer_uid: u32, request: Request<Incoming>) -> Result<Answer, InvokeError> {
    let framed = request.headers().get(ACCEPT).is_some_and(|accept| accept.as_bytes() == FRAMED.as_bytes());
    let running = invoke::begin(&control.modules, name, peer_uid).await?;
    let (sender, body) = Channel::new(8);
    tokio::spawn(pump(running, request.into_body(), sender, framed));
    let mut answer = Response::new(BoxBody::new(body));
    let content_type = if framed { FRAMED } else { "application/octet-stream" };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if !framed {
        answer.headers_mut().insert(TRAILER, HeaderValue::from_static("edgeguard-outcome"));
    }
    Ok(answer)
}

async fn pump(running: Running, body: Incoming, sender: Sender<Bytes>, framed: bool) {
    let Running { stdin, stdout, stderr, ending } = running;
    let mut input = tokio::spawn(feed(stdin, body));
    let sender = Mutex::new(sender);
    tokio::join!(copy(stdout, &sender, framed.then_some(1), true), copy(stderr, &sender, framed.then_some(2), framed));
    let ending = ending.await;
    let mut sender = sender.into_inner();
    if let Ok(ending) = ending {
        let last = if framed {
            sender.send_data(frame(3, super::json(&ending).as_bytes())).await
        } else {
            sender.send_trailers(trailers(&ending)).await
        };
        if last.is_err() {
            tracing::debug!("the client left before the end");
        }
    }
    // The answer is whole. A client that still sends may finish its sentence: the connection of one that is cut off breaks, and
    // takes with it what it has not read yet of the answer (RFC 9112 §9.6).
    drop(sender);
    if tokio::time::timeout(LINGER, &mut input).await.is_err() {
        input.abort();
    }
}

/// The request's body into the guest's standard input. What the guest does not take is read all the same, and dropped.
async fn feed(stdin: pipe::Sender, mut body: Incoming) {
    let mut stdin = Some(stdin);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        if let Some(open) = &mut stdin
            && open.write_all(&data).await.is_err()
        {
            stdin = None;
        }
    }
}

/// One of the guest's outputs into the answer; `wanted` is false for what the plain form has no place for, which is read and dropped.
async fn copy(mut from: pipe::Receiver, to: &Mutex<Sender<Bytes>>, kind: Option<u8>, wanted: bool) {
    let mut chunk = vec![0; 32 * 1024];
    while let Ok(len) = from.read(&mut chunk).await {
        let Some(data) = chunk.get(..len).filter(|data| !data.is_empty()) else { return };
        if !wanted {
            continue;
        }
        let data = match kind {
            Some(kind) => frame(kind, data),
            None => Bytes::copy_from_slice(data),
        };
        // The client left: the pipe closes here, and the guest's next write says so.
        if to.lock().await.send_data(data).await.is_err() {
            return;
        }
    }
}

fn frame(kind: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + payload.len());
    frame.put_u8(kind);
    frame.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    frame.put_slice(payload);
    frame.freeze()
}

fn trailers(ending: &Ending) -> HeaderMap {
    let words = [Some(ending.outcome.to_owned()), ending.code.map(|code| code.to_string()), ending.detail.clone()];
    let text = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut trailers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&text) {
        trailers.insert("edgeguard-outcome", value);
    }
    trailers
}

/// How long a client may go on sending after its answer is whole.
const LINGER: Duration = Duration::from_secs(1);
