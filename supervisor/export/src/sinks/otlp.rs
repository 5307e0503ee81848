//! OTLP over HTTP: log records in protobuf, acknowledged by the collector's `200`.
//!
//! Runs in: exporter.
//! Does not: give up an entry. The protocol allows to drop what a collector calls bad; an audit log does not, so the sink stays where it is, says so in its
//! status, and tries again.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use edgeguard_audit::encode::Encoded;
use prost::Message as _;

use super::Delivery;
use super::Sink;
use crate::config;
use crate::config::OtlpSink;
use crate::error::ConfigError;
use crate::error::ExportError;
use crate::error::SinkError;
use crate::error::shown;
use crate::http;
use crate::net::Remote;
use crate::net::Stream;
use crate::otlp;

pub(super) struct Otlp {
    remote: Remote,
    path: String,
    headers: String,
    open: Option<Stream>,
}

impl Otlp {
    pub(super) fn new(name: &str, sink: &OtlpSink) -> Result<Self, ExportError> {
        let own = super::own(name, sink.certificate.as_deref(), sink.key.as_deref())?;
        let (remote, path) = super::endpoint(name, &sink.endpoint, sink.ca.as_deref(), own)?;
        let mut headers = "content-type: application/x-protobuf\r\n".to_owned();
        if let Some(path) = &sink.bearer_token {
            headers.push_str(&format!("authorization: Bearer {}\r\n", token(name, path)?));
        }
        Ok(Self { remote, path, headers, open: None })
    }

    pub(super) const fn port(&self) -> u16 {
        self.remote.port()
    }

    fn send(&mut self, host: &str, batch: &[Encoded]) -> Result<(), SinkError> {
        // A collector may close a connection that was idle; that is no failure.
        if self.open.as_mut().is_some_and(Stream::has_ended) {
            self.open = None;
        }
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => self.remote.connect()?,
        };
        let body = otlp::request(host, batch).encode_to_vec();
        let answer = http::post(&mut stream, &self.remote.authority(), &self.path, &self.headers, &body)?;
        if answer.keep {
            self.open = Some(stream);
        }
        if answer.status != 200 {
            let text = format!("{} {}", answer.status, shown(&answer.body));
            return Err(SinkError::Refused { answer: text, retry_after: answer.retry_after });
        }
        let response = otlp::Response::decode(answer.body.as_slice())
            .map_err(|_| SinkError::Protocol { expected: "an `ExportLogsServiceResponse`", found: shown(&answer.body) })?;
        match response.partial_success {
            Some(partial) if partial.rejected_log_records != 0 => {
                let text = format!("{} of {} records: {}", partial.rejected_log_records, batch.len(), partial.error_message);
                Err(SinkError::Refused { answer: shown(text.as_bytes()), retry_after: None })
            }
            _ => Ok(()),
        }
    }
}

impl Sink for Otlp {
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

/// The only line of a secret file, fit for a header.
fn token(name: &str, path: &std::path::Path) -> Result<String, ConfigError> {
    let bytes = config::read_secret(path, 8 << 10)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(config::refuse(name, &format!("expected one word in `{}`", path.display())));
    }
    Ok(text.to_owned())
}
