//! The control socket: HTTP/1.1 and JSON over a Unix socket, usable with `curl --unix-socket`.
//!
//! Runs in: daemon.
//! Invariant: the peer's credentials (`SO_PEERCRED`, unix(7)) decide what it may ask before its request is looked at. What it sends is bounded: header size and
//! time, body size, connections at once.

mod metrics;
mod peer;
mod routes;
mod status;
mod stream;

use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

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
    connections: Arc<Semaphore>,
}

impl Control {
    /// Ready to serve.
    #[must_use]
    pub fn new(modules: Arc<Modules>) -> Arc<Self> {
        let rights = Rights::new(&modules.gate().host);
        Arc::new(Self { modules, started: std::time::Instant::now(), rights, connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)) })
    }

    /// Serves until it is dropped.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            let Ok(slot) = Arc::clone(&self.connections).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let control = Arc::clone(&self);
                    tokio::spawn(async move {
                        control.connection(stream).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept a control connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let Ok(credentials) = stream.peer_cred() else { return };
        let peer = self.rights.of(credentials.uid(), credentials.gid());
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

/// Binds the socket, in place of one that a dead daemon left behind. The journal's lock says that no other daemon lives on this state.
///
/// # Errors
/// The path is taken by something else, or the directory does not allow it.
pub fn bind(path: &Path) -> std::io::Result<Bound> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another daemon answers on this socket"));
            }
            std::fs::remove_file(path)?;
        }
        Ok(_) => return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, "the path is taken by something that is no socket")),
        Err(_) => {}
    }
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

const MAX_CONNECTIONS: usize = 64;
const HEADER_TIME: Duration = Duration::from_secs(5);
