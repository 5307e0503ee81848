//! OTLP's log messages as protobuf: the fields that this exporter writes and reads, under their numbers.
//!
//! Runs in: exporter.
//! Source: `opentelemetry/proto/{collector/logs,logs,common,resource}/v1` of <https://github.com/open-telemetry/opentelemetry-proto>, release 1.5. A
//! decoder passes over fields it does not name, so what is left out here costs nothing.

use edgeguard_audit::encode::Encoded;
use edgeguard_audit::encode::LogRecord as Record;
use edgeguard_audit::encode::Scalar;
use prost::Message;

/// `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// One for each resource; here, one.
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// `ResourceLogs`.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceLogs {
    /// Who writes the journal.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// One for each scope; here, one.
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

/// `Resource`.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// What is known of it.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// `ScopeLogs`.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeLogs {
    /// What made the records.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// The records.
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its release.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// `LogRecord`.
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    /// When it happened.
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    /// 9 INFO, 13 WARN, 17 ERROR.
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    /// The same in words.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// The line.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// `log.record.uid` and what a collector routes by.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    /// When it was recorded.
    #[prost(fixed64, tag = "11")]
    pub observed_time_unix_nano: u64,
    /// Its kind.
    #[prost(string, tag = "12")]
    pub event_name: String,
}

/// `KeyValue`.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// `AnyValue`.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// One of its kinds.
    #[prost(oneof = "Value", tags = "1, 3")]
    pub value: Option<Value>,
}

/// The kinds of [`AnyValue`] that are used.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// Text.
    #[prost(string, tag = "1")]
    Text(String),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Int(i64),
}

/// `ExportLogsServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// Said when something was not taken.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportLogsPartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many.
    #[prost(int64, tag = "1")]
    pub rejected_log_records: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// A request that carries these entries.
#[must_use]
pub fn request(origin: &str, batch: &[Encoded]) -> Request {
    let attributes = vec![
        text("service.name", "edgeguard"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("host.name", &edgeguard_audit::printable(origin.as_bytes())),
    ];
    let scope = Scope { name: "edgeguard.journal".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let log_records = batch.iter().map(|entry| record(Record::from(entry))).collect();
    Request {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes }),
            scope_logs: vec![ScopeLogs { scope: Some(scope), log_records }],
        }],
    }
}

fn record(record: Record) -> LogRecord {
    LogRecord {
        time_unix_nano: record.time_ns,
        severity_number: record.severity_number.into(),
        severity_text: record.severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::Text(record.body)) }),
        attributes: record.attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
        observed_time_unix_nano: record.time_ns,
        event_name: record.event_name,
    }
}

fn attribute(key: &str, value: Scalar) -> KeyValue {
    let value = match value {
        Scalar::Text(text) => Value::Text(text),
        Scalar::Int(number) => Value::Int(number),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Scalar::Text(value.to_owned()))
}
