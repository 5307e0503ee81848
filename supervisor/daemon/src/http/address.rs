//! Sockets that listen: bound here, or opened by the service manager.
//!
//! Runs in: daemon.
//! A unit without the network cannot open a TCP socket; one that a `.socket` unit opened is found by its address (sd_listen_fds(3)).

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_policy::Listen;
use tokio::net::TcpListener;
use tokio::net::UnixListener;

use crate::control::Rights;
use crate::events::Origin;

/// Why an address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at `{listen}`; {hint}")]
pub struct ListenError {
    listen: String,
    hint: &'static str,
    #[source]
    source: std::io::Error,
}

/// A socket that listens.
#[derive(Debug)]
pub enum Socket {
    /// A Unix socket, and its path if it was made here.
    Unix(UnixListener, #[expect(dead_code, reason = "removes the path when it is dropped")] Option<Made>),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// A path that was made here, and goes when nobody listens at it any more.
#[derive(Debug)]
pub struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Who connected.
#[derive(Debug)]
pub enum Peer {
    /// The user and the first group; none if the kernel does not say.
    User(Option<(u32, u32)>),
    /// The address.
    Address(SocketAddr),
}

impl Peer {
    /// Whether it is among these. Of a port nobody knows who connects, and its policy says so.
    pub fn is_among(&self, clients: &Rights) -> bool {
        match self {
            Self::User(user) => user.is_some_and(|(uid, gid)| clients.of(uid, gid).may_invoke),
            Self::Address(_) => true,
        }
    }

    /// As the journal says it.
    pub fn origin(&self, listener: &str) -> Origin {
        let (peer_uid, client) = match self {
            Self::User(user) => (user.map(|(uid, _)| uid), None),
            Self::Address(address) => (None, Some(address.to_string())),
        };
        Origin { peer_uid, listener: Some(listener.to_owned()), client }
    }
}

impl Socket {
    /// Binds the address.
    ///
    /// # Errors
    /// [`ListenError`]
    pub fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let bound = match listen {
            Listen::Unix(path) => bind_unix(path),
            Listen::Tcp(address) => bind_tcp(*address),
        };
        bound.map_err(|source| ListenError { listen: listen.to_string(), hint: hint(listen, &source), source })
    }

    /// The next connection, which blocks nobody.
    pub async fn accept(&self) -> std::io::Result<(OwnedFd, Peer)> {
        match self {
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::User(stream.peer_cred().ok().map(|credentials| (credentials.uid(), credentials.gid())));
                Ok((stream.into_std()?.into(), peer))
            }
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((stream.into_std()?.into(), Peer::Address(address)))
            }
        }
    }
}

fn hint(listen: &Listen, error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match (listen, error.kind()) {
        (Listen::Tcp(_), ErrorKind::AddrInUse) => "another program listens there: give one of the two another address",
        (Listen::Tcp(_), ErrorKind::AddrNotAvailable) => "this machine has no such address",
        (Listen::Tcp(_), _) => {
            "this service has no network: let the service manager open the socket, with a `.socket` unit for `edgeguardd.service` and this `ListenStream=`"
        }
        (Listen::Unix(_), ErrorKind::AlreadyExists) => "something that is no socket has this path",
        (Listen::Unix(_), ErrorKind::AddrInUse) => "another program answers there",
        (Listen::Unix(_), _) => {
            "take a path in the runtime directory, `/run/edgeguard/http/NAME.sock`, or a `.socket` unit with this `ListenStream=`"
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a port that a module's policy names")]
fn bind_tcp(address: SocketAddr) -> std::io::Result<Socket> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Socket::Tcp)
}

/// Whoever may enter its directory may connect; whom its policy names is told apart by credentials.
fn bind_unix(path: &Path) -> std::io::Result<Socket> {
    if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
        std::fs::DirBuilder::new().mode(0o755).create(dir)?;
        // Whatever the mask of this process is.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
    }
    clear(path)?;
    let listener = UnixListener::bind(path)?;
    let made = Made(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(Socket::Unix(listener, Some(made)))
}

/// Removes a socket that a dead program left behind.
///
/// # Errors
/// Somebody answers there, or it is no socket.
pub fn clear(path: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another program answers on this socket"));
            }
            std::fs::remove_file(path)
        }
        Ok(_) => Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, "the path is taken by something that is no socket")),
        Err(_) => Ok(()),
    }
}

/// What the service manager opened, by address. It holds them for as long as this program lives, so that a policy may leave and come back.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(Listen, OwnedFd)>);

impl Sockets {
    /// Sorts them out. What is no listening stream socket is named in the log, and let go.
    #[must_use]
    pub fn new(passed: Vec<OwnedFd>) -> Self {
        let mut sockets = Vec::new();
        for fd in passed {
            match address_of(&fd) {
                Some(listen) => sockets.push((listen, fd)),
                None => tracing::warn!("the service manager passed something that is no listening stream socket; it is not used"),
            }
        }
        Self(sockets)
    }

    /// The one with this address.
    pub(super) fn take(&self, listen: &Listen) -> Option<Socket> {
        let (_, fd) = self.0.iter().find(|(address, _)| address == listen)?;
        let fd = fd.try_clone().ok()?;
        rustix::io::ioctl_fionbio(&fd, true).ok()?;
        match listen {
            Listen::Unix(_) => Some(Socket::Unix(UnixListener::from_std(fd.into()).ok()?, None)),
            Listen::Tcp(_) => TcpListener::from_std(fd.into()).ok().map(Socket::Tcp),
        }
    }
}

/// Where a socket listens.
fn address_of(fd: &OwnedFd) -> Option<Listen> {
    use rustix::net::SocketType;
    use rustix::net::sockopt;
    if !sockopt::socket_acceptconn(fd).ok()? || sockopt::socket_type(fd).ok()? != SocketType::STREAM {
        return None;
    }
    let address = rustix::net::getsockname(fd).ok()?;
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return Some(Listen::Tcp(address));
    }
    let unix = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    let path = std::str::from_utf8(unix.path_bytes()?).ok()?.to_owned();
    Some(Listen::Unix(path.into()))
}
