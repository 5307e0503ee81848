//! A request that a module answered, as OCSF's HTTP Activity (4002).
//!
//! Runs in: CLI, exporter.
//! Who asked stands in the `invocation-started` of the same instance and ring: a call does not say it.

use serde_json::Value;
use serde_json::json;

use crate::record::Record;

/// Activity and fields, if the call is a request. A text that is kept as a code, or not at all, says neither method nor target.
pub(crate) fn request(record: &Record, text: Option<&str>, module: &str, instance: &str) -> Option<((u32, &'static str), Value)> {
    let status = record.status()?;
    let said = text.filter(|_| record.text_class().is_none()).and_then(|text| text.split_once(' '));
    let activity = said.map_or((0, "Unknown"), |(method, _)| activity(method));
    let mut request = json!({ "length": record.bytes_in() });
    if let (Some((method, target)), Value::Object(fields)) = (said, &mut request) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        fields.insert("http_method".into(), method.into());
        fields.insert("url".into(), json!({ "path": path, "query_string": query, "url_string": target }));
    }
    let fields = json!({
        "http_request": request,
        "http_response": { "code": status, "length": record.bytes_out() },
        "src_endpoint": { "name": format!("client of {module}") },
        "dst_endpoint": { "name": module, "uid": instance },
    });
    Some((activity, fields))
}

fn activity(method: &str) -> (u32, &'static str) {
    const METHODS: &[(&str, (u32, &str))] = &[
        ("CONNECT", (1, "Connect")),
        ("DELETE", (2, "Delete")),
        ("GET", (3, "Get")),
        ("HEAD", (4, "Head")),
        ("OPTIONS", (5, "Options")),
        ("POST", (6, "Post")),
        ("PUT", (7, "Put")),
        ("TRACE", (8, "Trace")),
    ];
    METHODS.iter().find(|(name, _)| *name == method).map_or((99, "Other"), |(_, activity)| *activity)
}
