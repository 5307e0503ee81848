//! Entries to this machine's systemd journal, by its native protocol.
//!
//! Runs in: exporter.
//! Source: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. A line has no end of line within, so the simple form of a field serves.
//!
//! The line is `MESSAGE`; beside it stand `EDGEGUARD_UID` and `EDGEGUARD_CODE`, by which `journalctl` can look.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_audit::encode::Encoded;

use super::Delivery;
use super::Sink;
use super::unix;
use crate::error::SinkError;

pub(super) struct Journald {
    path: PathBuf,
    open: Option<UnixDatagram>,
}

impl Journald {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None }
    }

    fn connection(&mut self) -> Result<&UnixDatagram, SinkError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => unix::datagram(&self.path)?,
        };
        Ok(self.open.insert(open))
    }
}

impl Sink for Journald {
    fn window(&self) -> usize {
        128
    }

    fn deliver(&mut self, _host: &str, batch: &[Encoded]) -> Delivery {
        let socket = match self.connection() {
            Ok(socket) => socket,
            Err(problem) => return Delivery { acknowledged: 0, problem: Some(problem) },
        };
        for (entry, acknowledged) in batch.iter().zip(0..) {
            if let Err(error) = unix::whole(socket, fields(entry).as_bytes()) {
                return Delivery { acknowledged, problem: Some(error.into()) };
            }
        }
        Delivery { acknowledged: batch.len(), problem: None }
    }

    fn disconnect(&mut self) {
        self.open = None;
    }
}

fn fields(entry: &Encoded) -> String {
    format!(
        "MESSAGE={}\nPRIORITY={}\nSYSLOG_FACILITY=13\nSYSLOG_IDENTIFIER=edgeguard\nEDGEGUARD_UID={}\nEDGEGUARD_CODE={}\n",
        entry.line,
        entry.level.syslog(),
        entry.uid,
        entry.code
    )
}
