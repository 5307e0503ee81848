//! One client, from its connection to its end.
//!
//! Runs in: daemon.
//! Invariant: an instance is taken only for a client that has begun to speak, and the connection is ended only here, when the invocation is accounted for.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::address::Peer;
use super::lines::Lines;
use super::lock;
use super::rate::Rate;
use crate::events;
use crate::invoke;
use crate::invoke::InvokeError;
use crate::modules::Modules;

/// A client that was accepted.
pub struct Client {
    pub modules: Arc<Modules>,
    pub module: String,
    pub connection: OwnedFd,
    pub peer: Peer,
    /// Where it connected.
    pub listener: String,
}

/// Connections of one listener that are open: of clients, and of users who may be none, who take no client's place.
#[derive(Debug, Default)]
pub struct Open {
    clients: AtomicUsize,
    strangers: AtomicUsize,
}

/// A connection's place among so many; free again when it is dropped.
struct Place<'o>(&'o AtomicUsize);

impl<'o> Place<'o> {
    fn among(open: &'o AtomicUsize, most: usize) -> Option<Self> {
        let before = open.fetch_add(1, Ordering::AcqRel);
        let place = Self(open);
        (before < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Client {
    /// Serves it to its end.
    pub async fn serve(self, open: Arc<Open>, rate: Arc<Mutex<Rate>>, lines: Arc<Lines>) {
        let Self { modules, module, connection, peer, listener } = self;
        // By the policy that is in force now.
        let Some(admitted) = modules.get(&module).and_then(|module| module.state.as_ref().ok().map(Arc::clone)) else { return };
        let (Some(http), Some(clients)) = (&admitted.http, &admitted.clients) else { return };
        let origin = peer.origin(&listener);
        let Ok(connection) = watched(connection) else { return };
        if !peer.is_among(clients) {
            // Whoever is not let in is told so a few at a time, and no more of them are put on record than that.
            let Some(_place) = Place::among(&open.strangers, MAX_STRANGERS) else { return };
            let uid = origin.peer_uid.unwrap_or(u32::MAX);
            tracing::warn!(module, uid, "client refused");
            modules.gate().ledger.note(events::control_refused(uid, &format!("connect at {listener}")));
            return end(&connection, FORBIDDEN).await;
        }
        let Some(_place) = Place::among(&open.clients, http.connections as usize) else { return tell(&connection, UNAVAILABLE) };
        // A client that says nothing costs its place here, and no instance.
        match timeout(http.read_timeout, connection.readable()).await {
            Ok(Ok(_)) if has_left(&connection) => return,
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => return end(&connection, TIMEOUT).await,
        }
        if !lock(&rate).take(http.requests_per_minute, Instant::now()) {
            return end(&connection, TOO_MANY).await;
        }
        let passed = match connection.get_ref().as_fd().try_clone_to_owned() {
            Ok(passed) => passed,
            Err(_) => return end(&connection, UNAVAILABLE).await,
        };
        let served = match invoke::serve(&modules, &module, passed, origin).await {
            Ok(served) => served,
            Err(error) => {
                tracing::warn!(module, error = crate::chain(&error), "a request is not served");
                return end(&connection, answer_to(&error)).await;
            }
        };
        let invoke::Served { stdout, stderr, ending } = served;
        let mut printing =
            tokio::spawn(async move { tokio::join!(lines.log(&module, "stdout", stdout), lines.log(&module, "stderr", stderr)) });
        // The worker has let go of the connection before it says that the guest has ended.
        let _ = ending.await;
        end(&connection, b"").await;
        // What a worker that was broken into still holds of the pipes is not waited for.
        if timeout(LINGER, &mut printing).await.is_err() {
            printing.abort();
        }
    }
}

/// A connection that can be waited for.
#[expect(deprecated, reason = "unsound only for a type that may close or change its descriptor, which an `OwnedFd` never does")]
fn watched(connection: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&connection, true)?;
    AsyncFd::with_interest(connection, Interest::READABLE)
}

/// Whether the client has closed its side without a word, as those do who only look whether somebody listens. What it sent stays where it is.
fn has_left(connection: &AsyncFd<OwnedFd>) -> bool {
    matches!(
        rustix::net::recv(connection.get_ref(), &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT),
        Ok((0, _)) | Err(Errno::CONNRESET)
    )
}

/// Says this, as far as there is room for it at once: whoever does not read its answers is not waited for.
fn tell(connection: &AsyncFd<OwnedFd>, answer: &[u8]) {
    let _ = rustix::io::write(connection.get_ref(), answer);
}

/// Ends the connection in order. What the client still sends is thrown away for a while: a connection that is closed over unread bytes is reset, and takes
/// with it what the client has not read yet of its answer (RFC 9112, section 9.6).
async fn end(connection: &AsyncFd<OwnedFd>, answer: &[u8]) {
    tell(connection, answer);
    let _ = rustix::net::shutdown(connection.get_ref(), Shutdown::Write);
    let _ = timeout(LINGER, discard(connection)).await;
}

async fn discard(connection: &AsyncFd<OwnedFd>) {
    let mut left = MOST_DISCARDED;
    let mut buffer = [0; 16 << 10];
    while left > 0 {
        match rustix::io::read(connection.get_ref(), &mut buffer) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match connection.readable().await {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return,
            },
            Err(_) => return,
        }
    }
}

/// What a client is told whose request does not begin. Constant: nothing of the request is known here, and nothing of this host is said.
fn answer_to(error: &InvokeError) -> &'static [u8] {
    match error {
        InvokeError::Suspended { .. } => TOO_MANY,
        _ => UNAVAILABLE,
    }
}

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n";
const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n";
const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Users who may not connect, at once; each is heard for [`LINGER`] at most.
const MAX_STRANGERS: usize = 4;

/// How long a client may take to read the end of its answer, and go.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that it may still send meanwhile.
const MOST_DISCARDED: usize = 1 << 20;
