//! Entries to `systemd-journal-remote`, over HTTP in systemd's Journal Export Format.
//!
//! Runs in: exporter.
//! What counts as arrived: the receiver has answered `202` for the request. It has then written the entries to its file, and not yet synced it.
//! Invariant: what is sent is of the form that the receiver reads. It answers `202` to anything, and stores what it understands; so whether it will understand is
//! looked at here, before an entry leaves.
//!
//! Source: <https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-export-format>

use std::path::Path;

use edgeguard_audit::encode::Encoded;

use super::Delivery;
use super::Sink;
use crate::config;
use crate::config::JournalRemoteSink;
use crate::error::ExportError;
use crate::error::SinkError;
use crate::error::shown;
use crate::http;
use crate::net::Remote;
use crate::net::Stream;

pub(super) struct JournalRemote {
    remote: Remote,
    path: String,
    boot: String,
    /// The monotonic time of the last entry that was sent, in microseconds.
    last: u64,
    open: Option<Stream>,
}

impl JournalRemote {
    pub(super) fn new(name: &str, sink: &JournalRemoteSink) -> Result<Self, ExportError> {
        let own = super::own(name, sink.certificate.as_deref(), sink.key.as_deref())?;
        let endpoint = if sink.endpoint.splitn(4, '/').count() < 4 { format!("{}/upload", sink.endpoint) } else { sink.endpoint.clone() };
        let (remote, path) = super::endpoint(name, &endpoint, sink.ca.as_deref(), own)?;
        let boot = config::read_bounded(Path::new(BOOT_ID), 64)?;
        let boot: String = boot.into_iter().filter(u8::is_ascii_hexdigit).map(char::from).collect();
        Ok(Self { remote, path, boot, last: 0, open: None })
    }

    pub(super) const fn port(&self) -> u16 {
        self.remote.port()
    }

    fn send(&mut self, host: &str, batch: &[Encoded]) -> Result<(), SinkError> {
        if self.open.as_mut().is_some_and(Stream::has_ended) {
            self.open = None;
        }
        let mut body = String::with_capacity(batch.iter().map(|entry| entry.line.len() + 512).sum());
        for entry in batch {
            // The time of sending, since an entry that is sent again must not be before the one that was stored last: `journalctl --verify` calls that damage.
            self.last = (edgeguard_audit::boottime_ns() / 1000).max(self.last + 1);
            body.push_str(&exported(entry, host, &self.boot, self.last)?);
        }
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => self.remote.connect()?,
        };
        let answer = http::post(&mut stream, &self.remote.authority(), &self.path, HEADERS, body.as_bytes())?;
        if answer.keep {
            self.open = Some(stream);
        }
        if answer.status != 202 {
            let text = format!("{} {}", answer.status, shown(&answer.body));
            return Err(SinkError::Refused { answer: text, retry_after: answer.retry_after });
        }
        Ok(())
    }
}

impl Sink for JournalRemote {
    fn window(&self) -> usize {
        256
    }

    fn deliver(&mut self, host: &str, batch: &[Encoded]) -> Delivery {
        let sent = self.send(host, batch);
        Delivery::of(sent, batch)
    }

    fn disconnect(&mut self) {
        self.open = None;
    }
}

/// An entry in the export format, with the empty line that ends it. Every field is of one line, or the receiver would read it as others.
fn exported(entry: &Encoded, host: &str, boot: &str, monotonic_us: u64) -> Result<String, SinkError> {
    let (realtime, monotonic, level) = ((entry.time_ns / 1000).to_string(), monotonic_us.to_string(), entry.level.syslog().to_string());
    let fields = [
        ("__REALTIME_TIMESTAMP", realtime.as_str()),
        ("__MONOTONIC_TIMESTAMP", &monotonic),
        ("_BOOT_ID", boot),
        ("_HOSTNAME", host),
        ("SYSLOG_IDENTIFIER", "edgeguard"),
        ("SYSLOG_FACILITY", "13"),
        ("PRIORITY", &level),
        ("EDGEGUARD_UID", &entry.uid),
        ("EDGEGUARD_CODE", &entry.code),
        ("MESSAGE", &entry.line),
    ];
    let mut text = String::with_capacity(entry.line.len() + 512);
    for (name, value) in fields {
        if value.is_empty() || value.len() > MAX_FIELD || value.contains(|c: char| c.is_control()) {
            return Err(SinkError::Protocol {
                expected: "one that can be asked for: an entry's fields are lines",
                found: shown(value.as_bytes()),
            });
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
        text.push('\n');
    }
    text.push('\n');
    Ok(text)
}

const HEADERS: &str = "content-type: application/vnd.fdo.journal\r\n";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The receiver takes longer ones; ours never are.
const MAX_FIELD: usize = 16 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use edgeguard_audit::encode::Level;

    fn entry(line: &str) -> Encoded {
        Encoded { uid: "u".into(), code: "c".into(), time_ns: 5_000, level: Level::High, line: line.into() }
    }

    #[test]
    fn an_entry_is_ten_lines_and_an_empty_one() {
        let text = exported(&entry("{\"a\":1}"), "gw", "ab", 9).unwrap();
        assert!(text.starts_with("__REALTIME_TIMESTAMP=5\n__MONOTONIC_TIMESTAMP=9\n_BOOT_ID=ab\n"), "{text}");
        assert!(text.ends_with("PRIORITY=2\nEDGEGUARD_UID=u\nEDGEGUARD_CODE=c\nMESSAGE={\"a\":1}\n\n"), "{text}");
    }

    #[test]
    fn what_the_receiver_would_read_as_something_else_does_not_leave() {
        for line in ["", "{}\nMESSAGE=other", "{}\n\n__CURSOR=x", "\0", &"x".repeat(MAX_FIELD + 1)] {
            assert!(exported(&entry(line), "gw", "ab", 9).is_err(), "{line:.20}");
        }
        assert!(exported(&entry("{}"), "gw\nROOT=1", "ab", 9).is_err());
        assert!(exported(&entry("{}"), "gw", "", 9).is_err());
    }
}
