//! Syslog, RFC 5424, over TLS with octet counting, RFC 5425.
//!
//! Runs in: exporter.
//! What counts as arrived: it was written to the connection. The protocol has no acknowledgement, so a receiver that dies takes with it what it had not
//! read: at most what the receiver kept has arrived. The exporter looks before each batch whether the peer is still there; that narrows the gap and does
//! not close it. RELP closes it.

use std::io::Write as _;

use edgeguard_audit::encode::Encoded;

use super::Delivery;
use super::Sink;
use crate::error::SinkError;
use crate::net::Remote;
use crate::net::Stream;
use crate::syslog;

pub(super) struct Syslog {
    remote: Remote,
    open: Option<Stream>,
}

impl Syslog {
    pub(super) const fn new(remote: Remote) -> Self {
        Self { remote, open: None }
    }

    fn send(&mut self, host: &str, batch: &[Encoded]) -> Result<(), SinkError> {
        if self.open.as_mut().is_some_and(Stream::has_ended) {
            self.open = None;
        }
        let stream = match self.open.take() {
            Some(stream) => stream,
            None => self.remote.connect()?,
        };
        let stream = self.open.insert(stream);
        for entry in batch {
            stream.write_all(syslog::counted(&syslog::rfc5424(entry, host)).as_bytes())?;
        }
        Ok(stream.flush()?)
    }
}

impl Sink for Syslog {
    fn window(&self) -> usize {
        128
    }

    fn deliver(&mut self, host: &str, batch: &[Encoded]) -> Delivery {
        let sent = self.send(host, batch);
        Delivery::of(sent, batch)
    }

    fn disconnect(&mut self) {
        self.open = None;
    }

    fn finish(&mut self) {
        if let Some(stream) = self.open.take() {
            stream.close();
        }
    }
}
