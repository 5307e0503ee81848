//! The journal as Elastic Common Schema 9.
//!
//! Runs in: CLI, exporter.
//! Does not: invent. What ECS has no field for stands under `edgeguard`, in the words of OCSF.
//!
//! Fields: <https://www.elastic.co/docs/reference/ecs>. The document is at most [`MAX_LINE`] bytes.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::ocsf::MAX_LINE;
use crate::ocsf::set;
use crate::ocsf::shorten;
use crate::time::rfc3339;

/// Where in ECS a field of OCSF goes: from, to.
const MOVES: &[(&str, &str)] = &[
    ("/message", "message"),
    ("/metadata/uid", "event.id"),
    ("/metadata/event_code", "event.code"),
    ("/metadata/sequence", "event.sequence"),
    ("/status_detail", "event.reason"),
    ("/severity_id", "event.severity"),
    ("/device/uid", "host.id"),
    ("/device/hostname", "host.name"),
    ("/device/boot_uid", "host.boot.id"),
    ("/process/pid", "process.pid"),
    ("/process/name", "process.name"),
    ("/process/uid", "process.entity_id"),
    ("/process/cmd_line", "process.command_line"),
    ("/exit_code", "process.exit_code"),
    ("/actor/process/name", "process.name"),
    ("/actor/process/uid", "process.entity_id"),
    ("/actor/process/file/hashes/0/value", "process.hash.sha256"),
    ("/actor/user/uid", "user.id"),
    ("/file/path", "file.path"),
    ("/file/name", "file.name"),
    ("/module/file/name", "file.name"),
    ("/module/file/hashes/0/value", "file.hash.sha256"),
    ("/firewall_rule/uid", "rule.id"),
    ("/policy/name", "rule.ruleset"),
    ("/policy/uid", "rule.uuid"),
    ("/app/name", "service.name"),
    ("/app/version", "service.version"),
];

/// What stands under `edgeguard`: from, to.
const OWN: &[(&str, &str)] = &[
    ("/metadata/original_event_uid", "position"),
    ("/metadata/log_name", "tier"),
    ("/class_uid", "class_uid"),
    ("/activity_name", "activity"),
    ("/status_code", "status_code"),
    ("/api/operation", "call"),
    ("/api/service/name", "interface"),
    ("/ai_model/name", "graph"),
    ("/entity", "entity"),
    ("/module/file/signature", "signature"),
    ("/unmapped", "details"),
];

/// An event of OCSF 1.8 as an ECS document on one line.
pub(super) fn line(event: &Value, time_ns: u64) -> String {
    let mut document = document(event, time_ns);
    let whole = document.to_string();
    if whole.len() <= MAX_LINE {
        return whole;
    }
    for longest in [1024, 256, 96] {
        shorten(&mut document, longest);
        set(&mut document, "/edgeguard", "is_truncated", true.into());
        set(&mut document, "/edgeguard", "untruncated_size", whole.len().into());
        let line = document.to_string();
        if line.len() <= MAX_LINE {
            return line;
        }
    }
    // Only lists can still be long, and only what has no field of its own is a list.
    if let Some(own) = document.get_mut("edgeguard").and_then(Value::as_object_mut) {
        own.retain(|name, _| !matches!(name.as_str(), "details" | "entity"));
    }
    document.to_string()
}

fn document(event: &Value, time_ns: u64) -> Value {
    let (category, kind) = category(event);
    let denied = event.get("action_id").and_then(Value::as_u64) == Some(2);
    let ok = event.get("status_id").and_then(Value::as_u64) == Some(1);
    let alert = event.get("is_alert").and_then(Value::as_bool) == Some(true);
    let mut types = vec![kind];
    types.push(if denied { "denied" } else { "allowed" });
    let mut document = json!({
        "@timestamp": rfc3339(time_ns),
        "ecs": { "version": VERSION },
        "event": {
            "kind": if alert { "alert" } else { "event" }, "category": [category], "type": types,
            "outcome": if ok { "success" } else { "failure" },
            "dataset": "edgeguard.journal", "module": "edgeguard", "provider": "edgeguardd",
        },
        "observer": { "vendor": "Edgeguard", "product": "Edgeguard", "version": env!("CARGO_PKG_VERSION") },
        "edgeguard": {},
    });
    if let Some(action) = action(event) {
        put(&mut document, "event.action", action.into());
    }
    for (from, to) in MOVES {
        if let Some(value) = event.pointer(from) {
            put(&mut document, to, value.clone());
        }
    }
    // OCSF counts milliseconds, ECS nanoseconds.
    let took = event.pointer("/unmapped/took_ns").or(event.pointer("/unmapped/run_ns")).and_then(Value::as_u64);
    let took = took.or_else(|| event.get("duration").and_then(Value::as_u64).map(|ms| ms.saturating_mul(1_000_000)));
    if let Some(took) = took {
        put(&mut document, "event.duration", took.into());
    }
    for (from, to) in OWN {
        if let Some(value) = event.pointer(from) {
            set(&mut document, "/edgeguard", to, value.clone());
        }
    }
    let hashes: Vec<Value> = ["/process/hash/sha256", "/file/hash/sha256"].iter().filter_map(|at| document.pointer(at).cloned()).collect();
    if !hashes.is_empty() {
        put(&mut document, "related.hash", hashes.into());
    }
    document
}

/// What was done: the call, or the kind of event.
fn action(event: &Value) -> Option<String> {
    let operation = event.pointer("/api/operation").or(event.pointer("/component")).and_then(Value::as_str);
    let code = event.pointer("/metadata/event_code").and_then(Value::as_str);
    operation.or(code).map(str::to_owned)
}

/// `event.category` and the first `event.type`, both of ECS's allowed values.
fn category(event: &Value) -> (&'static str, &'static str) {
    let number = |at: &str| event.get(at).and_then(Value::as_u64).unwrap_or(0);
    match (number("class_uid"), number("activity_id")) {
        (1001, 1) => ("file", "creation"),
        (1001, 3 | 5 | 6) => ("file", "change"),
        (1001, 4) => ("file", "deletion"),
        (1001, _) => ("file", "access"),
        (1005, _) => ("library", "start"),
        (1007, 1) => ("process", "start"),
        (1007, 2) => ("process", "end"),
        (1007, _) => ("process", "info"),
        (2004, _) => ("process", "denied"),
        (3004, _) => ("configuration", "change"),
        (6002, 3) => ("process", "start"),
        (6002, 4) => ("process", "end"),
        (6002, _) => ("process", "change"),
        (6003, 2) => ("api", "access"),
        (6003, _) => ("api", "info"),
        _ => ("host", "info"),
    }
}

/// Sets `a.b.c`, making the objects on the way. What is there already stays: the first of several sources counts.
fn put(document: &mut Value, path: &str, value: Value) {
    let mut names = path.split('.').peekable();
    let mut at = document.as_object_mut();
    while let (Some(object), Some(name)) = (at.take(), names.next()) {
        if names.peek().is_none() {
            object.entry(name).or_insert(value);
            return;
        }
        at = object.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut();
    }
}

const VERSION: &str = "9.4.0";
