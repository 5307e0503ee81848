//! The journal as OpenTelemetry log records.
//!
//! Runs in: CLI, exporter.
//! Does not: speak protobuf; that is the exporter's. Here is what a record holds, and its JSON form (OTLP's own, one `LogsData` a line).
//!
//! Data model: <https://opentelemetry.io/docs/specs/otel/logs/data-model/>. The body is the line as every other receiver gets it, so that nothing is
//! lost in translation; `log.record.uid` is the entry's `uid`.

use serde_json::Value;
use serde_json::json;

use super::Encoded;
use super::Level;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
}

/// One log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// When, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The data model's number: 9 INFO, 13 WARN, 17 ERROR.
    pub severity_number: u8,
    /// The same in words.
    pub severity_text: &'static str,
    /// `edgeguard.` and the kind of the entry.
    pub event_name: String,
    /// The line.
    pub body: String,
    /// Few, and the same for all: what a collector routes by.
    pub attributes: Vec<(&'static str, Scalar)>,
}

impl From<&Encoded> for LogRecord {
    fn from(entry: &Encoded) -> Self {
        let (severity_number, severity_text) = match entry.level {
            Level::Informational => (9, "INFO"),
            Level::Medium => (13, "WARN"),
            Level::High => (17, "ERROR"),
        };
        Self {
            time_ns: entry.time_ns,
            severity_number,
            severity_text,
            event_name: format!("edgeguard.{}", entry.code),
            body: entry.line.clone(),
            attributes: vec![("log.record.uid", Scalar::Text(entry.uid.clone())), ("edgeguard.code", Scalar::Text(entry.code.clone()))],
        }
    }
}

impl LogRecord {
    fn json(&self) -> Value {
        let attributes: Vec<Value> = self.attributes.iter().map(|(key, value)| json!({ "key": key, "value": value.json() })).collect();
        // OTLP/JSON writes 64-bit numbers as strings.
        json!({
            "timeUnixNano": self.time_ns.to_string(), "observedTimeUnixNano": self.time_ns.to_string(),
            "severityNumber": self.severity_number, "severityText": self.severity_text, "eventName": self.event_name,
            "body": { "stringValue": self.body }, "attributes": attributes,
        })
    }
}

impl Scalar {
    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!({ "stringValue": text }),
            Self::Int(number) => json!({ "intValue": number.to_string() }),
        }
    }
}

/// One entry as a whole `LogsData` of OTLP/JSON, which is what a collector's file receiver reads line by line.
#[must_use]
pub fn export_json(origin: &str, entry: &Encoded) -> String {
    let resource = json!({ "attributes": [
        { "key": "service.name", "value": { "stringValue": "edgeguard" } },
        { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
        { "key": "host.name", "value": { "stringValue": crate::printable(origin.as_bytes()) } },
    ] });
    let records = json!([{ "scope": { "name": "edgeguard.journal" }, "logRecords": [LogRecord::from(entry).json()] }]);
    json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": records }] }).to_string()
}
