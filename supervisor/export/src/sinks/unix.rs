//! Lines to a local socket: a stream of JSON lines, or one syslog datagram for each entry as `/dev/log` takes it.
//!
//! Runs in: exporter.
//! What counts as arrived: the kernel has taken it for a receiver that is there. A receiver that dies with something unread in its socket has lost it; on
//! this one machine that is the receiver's to mend.

use std::io;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use edgeguard_audit::encode::Encoded;

use super::Delivery;
use super::Sink;
use crate::error::SinkError;
use crate::syslog;

pub(super) struct Unix {
    path: PathBuf,
    datagram: bool,
    open: Option<Open>,
}

enum Open {
    Stream(UnixStream),
    Datagram(UnixDatagram),
}

impl Unix {
    pub(super) fn new(path: &Path, datagram: bool) -> Self {
        Self { path: path.to_owned(), datagram, open: None }
    }

    fn connection(&mut self) -> Result<&mut Open, SinkError> {
        let open = match self.open.take() {
            Some(open) => open,
            None if self.datagram => Open::Datagram(datagram(&self.path)?),
            None => Open::Stream(stream(&self.path)?),
        };
        Ok(self.open.insert(open))
    }
}

impl Sink for Unix {
    fn window(&self) -> usize {
        128
    }

    fn deliver(&mut self, _host: &str, batch: &[Encoded]) -> Delivery {
        let open = match self.connection() {
            Ok(open) => open,
            Err(problem) => return Delivery { acknowledged: 0, problem: Some(problem) },
        };
        let mut acknowledged = 0;
        for entry in batch {
            let sent = match open {
                Open::Stream(stream) => stream.write_all(format!("{}\n", entry.line).as_bytes()),
                Open::Datagram(socket) => whole(socket, syslog::local(entry).as_bytes()),
            };
            if let Err(error) = sent {
                return Delivery { acknowledged, problem: Some(error.into()) };
            }
            acknowledged += 1;
        }
        Delivery { acknowledged, problem: None }
    }

    fn disconnect(&mut self) {
        self.open = None;
    }
}

fn stream(path: &Path) -> Result<UnixStream, SinkError> {
    let open = || {
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(TAKE_WITHIN))?;
        Ok(stream)
    };
    open().map_err(|source| SinkError::Connect { address: path.display().to_string(), source })
}

/// A datagram socket that is connected to this name.
pub(super) fn datagram(path: &Path) -> Result<UnixDatagram, SinkError> {
    let open = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(TAKE_WITHIN))?;
        Ok(socket)
    };
    open().map_err(|source| SinkError::Connect { address: path.display().to_string(), source })
}

/// Sends a datagram; the kernel takes all of it or none.
pub(super) fn whole(socket: &UnixDatagram, bytes: &[u8]) -> io::Result<()> {
    let sent = socket.send(bytes)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// How long a receiver may take nothing.
const TAKE_WITHIN: Duration = Duration::from_secs(10);
