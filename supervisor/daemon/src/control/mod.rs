//! The control socket: HTTP/1.1 and JSON over a Unix socket, usable with `curl --unix-socket`.
//!
//! Runs in: daemon.
//! Invariant: the peer's credentials (`SO_PEERCRED`, unix(7)) decide what it may ask before its request is looked at. What it sends is bounded: header size and
//! time, body size, connections at once.

mod metrics;
mod peer;
mod routes;
mod sinks;
mod status;
mod stream;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::net::UnixStream;

pub use peer::Peer;
pub use peer::Rights;

use crate::events;
use crate::modules::Modules;

/// What every request can reach.
#[derive(Debug)]
pub struct Control {
    /// The modules.
    pub modules: Arc<Modules>,
    /// When the daemon came up.
    pub started: std::time::Instant,
    rights: Rights,
    /// Open connections of each user.
    connections: Mutex<HashMap<u32, usize>>,
}

impl Control {
    /// Ready to serve.
    #[must_use]
    pub fn new(modules: Arc<Modules>) -> Arc<Self> {
        let rights = Rights::new(&modules.gate().host);
        Arc::new(Self { modules, started: std::time::Instant::now(), rights, connections: Mutex::default() })
    }

    /// Serves until it is dropped.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&self).connection(stream))),
                Err(error) => {
                    tracing::error!(%error, "cannot accept a control connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, mut stream: UnixStream) {
        let Ok(credentials) = stream.peer_cred() else { return };
        let peer = self.rights.of(credentials.uid(), credentials.gid());
        let Some(_slot) = self.slot(peer) else {
            tracing::warn!(uid = peer.uid, "too many control connections");
            // It may not read this, and is not waited for.
            let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(TOO_MANY)).await;
            return;
        };
        if !peer.may_ask {
            tracing::warn!(uid = peer.uid, "control connection refused");
            self.modules.gate().ledger.note(events::control_refused(peer.uid, "connect"));
        }
        let control = Arc::clone(&self);
        let service = service_fn(move |request| routes::answer(Arc::clone(&control), peer, request));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_headers(64)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = serving.await {
            tracing::debug!(%error, "control connection ended");
        }
    }
}

impl Control {
    /// Room for one more connection of this user, unless it has its share: nobody's connections keep an administrator's out.
    fn slot(&self, peer: Peer) -> Option<Slot<'_>> {
        let mut connections = lock(&self.connections);
        let all: usize = connections.values().sum();
        let own = connections.entry(peer.uid).or_default();
        let most = if peer.may_ask { MAX_PER_USER } else { MAX_PER_STRANGER };
        if *own >= most || (all >= MAX_CONNECTIONS && !peer.may_administer) {
            return None;
        }
        *own += 1;
        Some(Slot { connections: &self.connections, uid: peer.uid })
    }
}

/// One connection's place; free again when it is dropped.
struct Slot<'c> {
    connections: &'c Mutex<HashMap<u32, usize>>,
    uid: u32,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut connections = lock(self.connections);
        if let Entry::Occupied(mut own) = connections.entry(self.uid) {
            *own.get_mut() = own.get().saturating_sub(1);
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Binds the socket, in place of one that a dead daemon left behind. The journal's lock says that no other daemon lives on this state.
///
/// # Errors
/// The path is taken by something else, or the directory does not allow it.
pub fn bind(path: &Path) -> std::io::Result<Bound> {
    crate::http::clear(path)?;
    let listener = UnixListener::bind(path)?;
    // Whoever may connect is told apart by credentials; group and others get no farther than the directory lets them.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(Bound { listener, path: path.to_path_buf() })
}

/// A bound control socket.
#[derive(Debug)]
pub struct Bound {
    /// Accepts.
    pub listener: UnixListener,
    /// Where; removed at a clean stop.
    pub path: PathBuf,
}

/// JSON text of anything that serialises.
#[must_use]
pub fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

/// Connections at once of all users who are no administrators.
const MAX_CONNECTIONS: usize = 192;

/// Of one user: as many invocations as may run and wait, and some.
const MAX_PER_USER: usize = 96;

/// Of a user who may nothing: enough to be told so.
const MAX_PER_STRANGER: usize = 4;

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n\
{\"error\":{\"code\":\"too-many-connections\",\"message\":\"this user has too many connections open; close some\"}}\n";

const HEADER_TIME: Duration = Duration::from_secs(5);
