//! Sinks: where entries go, and what it means for each kind that an entry has arrived.
//!
//! Runs in: exporter.
//!
//! | kind | an entry is acknowledged when |
//! |---|---|
//! | `file` | `fdatasync` has returned |
//! | `relp` | the receiver has answered `200` for that very message |
//! | `otlp` | the collector has answered `200` for the request |
//! | `journal-remote` | the receiver has answered `202` for the request |
//! | `unix`, `journald` | the kernel has taken it for a receiver that is there |
//! | `syslog` | it was written to the connection: **at most what the receiver kept**. The protocol has no acknowledgement; use `relp` or `otlp` where that matters |

mod file;
mod journal_remote;
mod journald;
mod otlp;
mod relp;
mod syslog;
mod unix;

use std::os::fd::OwnedFd;
use std::path::Path;

use edgeguard_audit::encode::Encoded;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::config;
use crate::config::Kind;
use crate::config::TlsSink;
use crate::error::ConfigError;
use crate::error::ExportError;
use crate::error::SinkError;
use crate::net::Remote;
use crate::net::Target;

/// How far a batch came.
#[derive(Debug)]
pub struct Delivery {
    /// So many of its first entries are acknowledged.
    pub acknowledged: usize,
    /// What kept the rest; nothing if there is no rest.
    pub problem: Option<SinkError>,
}

impl Delivery {
    fn of(result: Result<(), SinkError>, batch: &[Encoded]) -> Self {
        match result {
            Ok(()) => Self { acknowledged: batch.len(), problem: None },
            Err(problem) => Self { acknowledged: 0, problem: Some(problem) },
        }
    }
}

/// A receiver of entries.
pub trait Sink: Send {
    /// The most entries that it wants at once.
    fn window(&self) -> usize;

    /// Hands entries over, connecting first if there is no connection. `host` is who writes the journal.
    fn deliver(&mut self, host: &str, batch: &[Encoded]) -> Delivery;

    /// Forgets the connection; the next delivery makes another.
    fn disconnect(&mut self);

    /// Ends the connection so that the receiver still reads what is under way. There is no delivery after it.
    fn finish(&mut self) {
        self.disconnect();
    }
}

/// What a sink needs once the process is confined.
#[derive(Debug, Default)]
pub struct Needs {
    /// The folder of a socket that it connects to by name.
    pub socket_folder: Option<OwnedFd>,
    /// The port that it connects to.
    pub port: Option<u16>,
}

/// A sink of this kind, with everything that it needs from the outside read, looked up and opened.
///
/// # Errors
/// [`ExportError`]
pub fn make(name: &str, kind: &Kind) -> Result<(Box<dyn Sink>, Needs), ExportError> {
    Ok(match kind {
        Kind::File(sink) => (Box::new(file::FileOut::open(&sink.path)?), Needs::default()),
        Kind::Unix(sink) => (Box::new(unix::Unix::new(&sink.path, sink.datagram)), socket(&sink.path)?),
        Kind::Journald(sink) => (Box::new(journald::Journald::new(&sink.path)), socket(&sink.path)?),
        Kind::JournalRemote(sink) => {
            let made = journal_remote::JournalRemote::new(name, sink)?;
            let needs = Needs { port: Some(made.port()), ..Needs::default() };
            (Box::new(made), needs)
        }
        Kind::Syslog(sink) => {
            let remote = remote(name, sink)?;
            let needs = Needs { port: Some(remote.port()), ..Needs::default() };
            (Box::new(syslog::Syslog::new(remote)), needs)
        }
        Kind::Relp(sink) => {
            let remote = remote(name, sink)?;
            let needs = Needs { port: Some(remote.port()), ..Needs::default() };
            (Box::new(relp::Relp::new(remote)), needs)
        }
        Kind::Otlp(sink) => {
            let made = otlp::Otlp::new(name, sink)?;
            let needs = Needs { port: Some(made.port()), ..Needs::default() };
            (Box::new(made), needs)
        }
    })
}

fn remote(name: &str, sink: &TlsSink) -> Result<Remote, ExportError> {
    let own = own(name, sink.certificate.as_deref(), sink.key.as_deref())?;
    Ok(Remote::tls(name, Target::resolve(name, &sink.address)?, &sink.ca, own)?)
}

/// `https://HOST:PORT/PATH` as a receiver and its path; `http` only to this machine.
fn endpoint(name: &str, endpoint: &str, ca: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<(Remote, String), ExportError> {
    let bad = || config::refuse(name, &format!("expected `https://HOST:PORT/PATH`, found `{endpoint}`"));
    let (scheme, rest) = endpoint.split_once("://").ok_or_else(bad)?;
    let (authority, path) = rest.split_once('/').ok_or_else(bad)?;
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad().into());
    }
    let target = Target::resolve(name, authority)?;
    let remote = match (scheme, ca) {
        ("https", Some(ca)) => Remote::tls(name, target, ca, own)?,
        ("https", None) => return Err(config::refuse(name, "`https` needs a `ca`: the authorities to believe").into()),
        ("http", None) if own.is_none() => Remote::plain(name, target)?,
        ("http", _) => return Err(config::refuse(name, "`ca`, `certificate` and `key` are for `https`").into()),
        _ => return Err(bad().into()),
    };
    Ok((remote, format!("/{path}")))
}

/// Certificate and key: both or neither.
fn own<'a>(name: &str, certificate: Option<&'a Path>, key: Option<&'a Path>) -> Result<Option<(&'a Path, &'a Path)>, ConfigError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        _ => Err(crate::config::refuse(name, "`certificate` and `key` belong together")),
    }
}

/// The folder, because a receiver that starts anew makes another socket in it.
fn socket(path: &Path) -> Result<Needs, ExportError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let opened = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened =
        opened.map_err(|error| ExportError::State { step: "open the socket's folder", path: folder.to_owned(), source: error.into() })?;
    Ok(Needs { socket_folder: Some(opened), ..Needs::default() })
}
