//! Where a sink sends to, and the way there: TCP, and TLS on it.
//!
//! Runs in: exporter. Names, certificates and keys are read before it is confined; connections are made after.
//! Does not: look a name up later, or fall back to a connection without TLS.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::ProtocolVersion;
use rustls::RootCertStore;
use rustls::StreamOwned;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;

use crate::config;
use crate::error::ConfigError;
use crate::error::ExportError;
use crate::error::SinkError;

/// A receiver's address, looked up.
#[derive(Debug, Clone)]
pub struct Target {
    /// As configured.
    pub host: String,
    /// The port.
    pub port: u16,
    addresses: Vec<SocketAddr>,
}

impl Target {
    /// Looks up `HOST:PORT`. An IPv6 address stands in brackets.
    ///
    /// # Errors
    /// [`ExportError::Config`], [`ExportError::Resolve`]
    pub fn resolve(sink: &str, address: &str) -> Result<Self, ExportError> {
        let bad = || config::refuse(sink, &format!("expected `HOST:PORT`, found `{address}`"));
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(bad().into());
        }
        let failed = |source| ExportError::Resolve { sink: sink.to_owned(), host: host.to_owned(), source };
        let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(failed)?.take(MAX_ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        Ok(Self { host: host.to_owned(), port, addresses })
    }

    /// Whether all its addresses are this machine's own.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|address| address.ip().is_loopback())
    }

    fn connect(&self) -> Result<TcpStream, SinkError> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in &self.addresses {
            let opened = TcpStream::connect_timeout(address, CONNECT_WITHIN).and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                Ok(stream)
            });
            match opened {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(SinkError::Connect { address: format!("{}:{}", self.host, self.port), source: last })
    }
}

/// A receiver, and how it proves who it is.
#[derive(Debug, Clone)]
pub struct Remote {
    target: Target,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// A connection to a receiver.
pub enum Stream {
    /// With TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// To this machine itself.
    Plain(TcpStream),
}

impl Remote {
    /// With TLS; `own` is the exporter's certificate and key.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn tls(sink: &str, target: Target, ca: &Path, own: Option<(&Path, &Path)>) -> Result<Self, ConfigError> {
        let name = ServerName::try_from(target.host.clone())
            .map_err(|_| config::refuse(sink, &format!("`{}` is neither a name nor an address", target.host)))?;
        let failed = |source| ConfigError::Tls { sink: sink.to_owned(), source };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(failed)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(failed)?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let pem = config::read_secret(key, MAX_PEM)?;
                let secret =
                    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| ConfigError::Pem { path: key.to_owned(), what: "private key" })?;
                builder.with_client_auth_cert(certificates(certificate)?, secret).map_err(failed)?
            }
        };
        // Connections are few and last. A receiver on OpenSSL that asks for certificates and names no session context, as rsyslog does, takes a resumed
        // session for an attack and ends it.
        config.resumption = Resumption::disabled();
        Ok(Self { target, tls: Some((Arc::new(config), name)) })
    }

    /// Without TLS, to this machine alone.
    ///
    /// # Errors
    /// [`ConfigError::Sink`] for any other.
    pub fn plain(sink: &str, target: Target) -> Result<Self, ConfigError> {
        if !target.is_loopback() {
            return Err(config::refuse(sink, &format!("`{}` is another machine; use `https` and a `ca`", target.host)));
        }
        Ok(Self { target, tls: None })
    }

    /// The port that the process needs the right to connect to.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.target.port
    }

    /// `HOST:PORT`, as HTTP names it.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.target.host.contains(':') {
            format!("[{}]:{}", self.target.host, self.target.port)
        } else {
            format!("{}:{}", self.target.host, self.target.port)
        }
    }

    /// Connects, and has the peer prove who it is before a byte of the journal is sent.
    ///
    /// # Errors
    /// [`SinkError`]
    pub fn connect(&self) -> Result<Stream, SinkError> {
        let mut tcp = self.target.connect()?;
        let Some((config, name)) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        let failed = |source| SinkError::Connect { address: self.authority(), source };
        let tls = |error: rustls::Error| failed(io::Error::new(io::ErrorKind::InvalidData, error));
        let mut connection = ClientConnection::new(Arc::clone(config), name.clone()).map_err(tls)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).map_err(failed)?;
        }
        accepted(&mut connection, &mut tcp).map_err(failed)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, tcp))))
    }
}

impl Stream {
    /// Whether the peer has ended the connection, as far as this end can know without asking it.
    pub fn has_ended(&mut self) -> bool {
        let look = |tcp: &TcpStream, mut found: Box<dyn FnMut() -> io::Result<bool> + '_>| {
            if tcp.set_nonblocking(true).is_err() {
                return true;
            }
            let ended = match found() {
                Ok(ended) => ended,
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            };
            ended || tcp.set_nonblocking(false).is_err()
        };
        match self {
            Self::Plain(tcp) => look(tcp, Box::new(|| tcp.peek(&mut [0]).map(|read| read == 0))),
            Self::Tls(stream) => {
                let StreamOwned { conn, sock } = &mut **stream;
                look(
                    sock,
                    Box::new(|| {
                        // Session tickets and a farewell come unasked.
                        let read = conn.read_tls(&mut &*sock)?;
                        let state = conn.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                        Ok(read == 0 || state.peer_has_closed())
                    }),
                )
            }
        }
    }
}

impl Stream {
    /// Says good-bye and waits a little for the peer to have read everything. A connection that is simply dropped while something of the peer's is unread
    /// is reset, and takes with it what the peer has not read.
    pub fn close(mut self) {
        let tcp = match &mut self {
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                &stream.sock
            }
            Self::Plain(tcp) => &*tcp,
        };
        if tcp.shutdown(Shutdown::Write).is_err() || tcp.set_read_timeout(Some(FAREWELL_WITHIN)).is_err() {
            return;
        }
        let mut tcp = tcp;
        let mut ignored = [0; 4096];
        while matches!(tcp.read(&mut ignored), Ok(1..)) {}
    }
}

impl io::Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tls(stream) => stream.read(into),
            Self::Plain(stream) => stream.read(into),
        }
    }
}

impl io::Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tls(stream) => stream.write(bytes),
            Self::Plain(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.flush(),
            Self::Plain(stream) => stream.flush(),
        }
    }
}

/// In TLS 1.3 the client is done before the server has judged its certificate, so that a refusal comes when entries are under way. A server that accepts
/// sends a session ticket at once; one that sends none costs this wait. Some judge the name in the certificate only after that, and hang up.
fn accepted(connection: &mut ClientConnection, tcp: &mut TcpStream) -> io::Result<()> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    let mut wait = TICKET_WITHIN;
    loop {
        tcp.set_read_timeout(Some(wait))?;
        match connection.read_tls(tcp) {
            Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Ok(_) => {
                let state = connection.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if state.peer_has_closed() {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            Err(error) => return Err(error),
        }
        wait = HANG_UP_WITHIN;
    }
    tcp.set_read_timeout(Some(ANSWER_WITHIN))
}

/// Makes the cryptographic library ready, which reads and asks for more at first than it does later.
pub fn warm_up() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut [0; 32]);
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let pem = config::read_bounded(path, MAX_PEM)?;
    let none = || ConfigError::Pem { path: path.to_owned(), what: "certificate" };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| none())?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a receiver may be silent when it owes an answer, or take nothing when it is sent something.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const TICKET_WITHIN: Duration = Duration::from_secs(2);
const HANG_UP_WITHIN: Duration = Duration::from_millis(200);
const FAREWELL_WITHIN: Duration = Duration::from_secs(5);
const MAX_ADDRESSES: usize = 8;
/// A system's whole bundle of authorities fits.
const MAX_PEM: u64 = 1 << 20;
