//! The journal as OCSF 1.8.0, one JSON object a line, for a SIEM.
//!
//! Runs in: CLI, exporter.
//! Invariant: a line is at most [`MAX_LINE`] bytes, and the same place in the journal always gives the same `metadata.uid`, so that a receiver can drop
//! what it has already.
//! Does not: write a denied call twice. It is a security event, and is exported as one; the call's own record is left out.
//!
//! Schema: <https://schema.ocsf.io/1.8.0>. What it has no field for stands under `unmapped`.

use serde_json::Value;
use serde_json::json;

use crate::calls::call_id;
use crate::describe;
use crate::encode::Gap;
use crate::encode::Why;
use crate::event::Event;
use crate::ocsf_calls::Kind;
use crate::ocsf_calls::asked;
use crate::ocsf_calls::kind;
use crate::ocsf_class::Class;
use crate::ocsf_http;
pub(crate) use crate::ocsf_line::bounded;
use crate::ocsf_line::clean;
pub(crate) use crate::ocsf_line::set;
pub(crate) use crate::ocsf_line::shorten;
use crate::read::Call;
use crate::read::Item;
use crate::record::Outcome;
use crate::record::TextClass;
use crate::segment::Tier;
use crate::statement::Checkpoint;
use crate::text::printable;

/// Longest line, in bytes, without its end. Common receivers cut at 8 KiB.
pub const MAX_LINE: usize = 7 * 1024;
/// The `event_code` of a checkpoint that is handed over.
pub(crate) const CHECKPOINT_CODE: &str = "journal-checkpoint";

/// Turns items of one journal into OCSF.
#[derive(Debug, Clone)]
pub struct Ocsf {
    /// Who writes the journal; becomes the device.
    pub origin: String,
    /// The kernel's id of the boot the items are from.
    pub boot_id: String,
}

/// What differs between events, before it becomes one.
struct Draft {
    class: Class,
    activity: u32,
    activity_name: &'static str,
    severity: Severity,
    ok: bool,
    denied: bool,
    code: &'static str,
    detail: String,
    fields: Value,
}

#[derive(Clone, Copy)]
enum Severity {
    Informational = 1,
    Medium = 3,
    High = 4,
}

impl Draft {
    fn new(class: Class, (activity, activity_name): (u32, &'static str), code: &'static str, fields: Value) -> Self {
        Self {
            class,
            activity,
            activity_name,
            severity: Severity::Informational,
            ok: true,
            denied: false,
            code,
            detail: String::new(),
            fields,
        }
    }

    fn failed(mut self, detail: &str) -> Self {
        (self.ok, self.detail) = (false, detail.to_owned());
        self.severity = Severity::Medium;
        self
    }

    fn denied(self, detail: &str) -> Self {
        Self { denied: true, ..self.failed(detail) }
    }
}

impl Ocsf {
    /// A security event as a line.
    #[must_use]
    pub fn event(&self, item: &Item<Event>) -> String {
        bounded(self.event_value(item))
    }

    /// A call as a line; nothing for a denied one, which is exported as the security event that it is too.
    #[must_use]
    pub fn call(&self, item: &Item<Call>) -> Option<String> {
        self.call_value(item).map(bounded)
    }

    /// A security event, of whatever length.
    pub(crate) fn event_value(&self, item: &Item<Event>) -> Value {
        let mut value = self.value(item, "s", describe::event(&item.what), event(&item.what));
        if let Some((count, first, last)) = several(&item.what) {
            // The item has both clocks, and these times only one.
            let real = |boot: u64| item.time_real.saturating_sub(item.time_boot.saturating_sub(boot)) / 1_000_000;
            set(&mut value, "", "count", count.into());
            set(&mut value, "", "start_time", real(first).into());
            set(&mut value, "", "end_time", real(last).into());
        }
        value
    }

    /// A call, of whatever length; nothing for a denied one.
    pub(crate) fn call_value(&self, item: &Item<Call>) -> Option<Value> {
        if item.what.record.outcome == Outcome::Denied {
            return None;
        }
        Some(self.value(item, "d", describe::call(&item.what), call(&item.what)))
    }

    /// Entries that are not there any more, of whatever length.
    pub(crate) fn gap_value(&self, item: &Item<Gap>) -> Value {
        let gap = &item.what;
        let data = json!({ "count": gap.count(), "first": gap.first, "next": gap.next });
        let entity = json!({ "name": "journal", "type_id": 99, "type": "Journal", "data": data });
        let fields = json!({ "entity": entity, "actor": { "app_name": "edgeguard-export" } });
        let draft = Draft::new(Class::Entity, (4, "Delete"), "journal-gap", fields);
        let draft = match gap.why {
            Why::Deleted => Draft { severity: Severity::Medium, detail: "deleted for the journal's budget".into(), ..draft },
            Why::Counted => Draft { severity: Severity::Medium, detail: "counted, and not kept one by one".into(), ..draft },
            Why::Damaged => Draft { severity: Severity::High, ..draft.failed("damaged, or gone without a word") },
        };
        let tier = if gap.tier == Tier::Detail { "d" } else { "s" };
        self.value(item, tier, gap.words(), draft)
    }

    /// A checkpoint that is handed over. Its note is not cleaned: [`crate::Note::parse`] has let nothing into it but its own ends of lines, and a signature
    /// is over every byte. The `uid` is made of the text that is signed, so that two histories of one size never have the same.
    pub(crate) fn checkpoint_value(&self, item: &Item<&Checkpoint>, note: &str) -> Value {
        let fields = json!({
            "log_name": "edgeguard journal", "log_provider": "edgeguardd", "log_type_id": 2, "log_type": "Application",
            "actor": { "app_name": "edgeguard-export" }, "unmapped": {},
        });
        let checkpoint = item.what;
        let message = format!("checkpoint over the journal's first {} frames", checkpoint.size);
        let mut event = self.value(item, "checkpoint", message, Draft::new(Class::EventLog, (3, "Export"), CHECKPOINT_CODE, fields));
        let digest = crate::tree::sha256(&[b"checkpoint/", checkpoint.text().as_bytes()]);
        let uid = uuid::Builder::from_custom_bytes(digest.first_chunk().copied().unwrap_or_default()).into_uuid();
        set(&mut event, "/metadata", "uid", uid.to_string().into());
        set(&mut event, "/metadata", "original_event_uid", format!("{}/checkpoint/{}", self.origin, checkpoint.size).into());
        set(&mut event, "/unmapped", "checkpoint", note.into());
        event
    }

    fn value<T>(&self, item: &Item<T>, tier: &str, message: String, draft: Draft) -> Value {
        let (category, category_name) = draft.class.category();
        let (action, action_name) = if draft.denied { (2, "Denied") } else { (1, "Allowed") };
        let (disposition, disposition_name) = if draft.denied { (2, "Blocked") } else { (1, "Allowed") };
        let severity_name = match draft.severity {
            Severity::Informational => "Informational",
            Severity::Medium => "Medium",
            Severity::High => "High",
        };
        let mut profiles = vec!["host", "security_control"];
        if draft.fields.get("ai_model").is_some() {
            profiles.push("ai_operation");
        }
        let mut event = json!({
            "class_uid": draft.class.uid(), "class_name": draft.class.name(),
            "category_uid": category, "category_name": category_name,
            "activity_id": draft.activity, "activity_name": draft.activity_name,
            "type_uid": draft.class.uid() * 100 + draft.activity, "type_name": format!("{}: {}", draft.class.name(), draft.activity_name),
            "time": item.time_real / 1_000_000,
            "severity_id": draft.severity as u32, "severity": severity_name,
            "status_id": if draft.ok { 1 } else { 2 }, "status": if draft.ok { "Success" } else { "Failure" },
            "action_id": action, "action": action_name, "disposition_id": disposition, "disposition": disposition_name,
            "message": message,
            "metadata": {
                "version": VERSION,
                "product": { "name": "Edgeguard", "vendor_name": "Edgeguard", "version": env!("CARGO_PKG_VERSION") },
                "uid": item.position.uid(&self.origin).to_string(),
                "original_event_uid": format!("{}/{}", self.origin, item.position),
                "sequence": item.seq, "event_code": draft.code, "log_name": tier, "profiles": profiles,
            },
            "device": { "type_id": 7, "type": "IOT", "uid": self.origin, "hostname": self.origin },
        });
        if !self.boot_id.is_empty() {
            set(&mut event, "/device", "boot_uid", self.boot_id.as_str().into());
        }
        if !draft.detail.is_empty() {
            set(&mut event, "", "status_detail", draft.detail.into());
        }
        if matches!(draft.severity, Severity::High) {
            set(&mut event, "", "is_alert", true.into());
        }
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), draft.fields) {
            event.extend(fields);
        }
        clean(&mut event);
        event
    }
}

/// A receipt as text, where it leaves room for the rest of the line; a longer one is in the journal.
fn short_receipt(receipt: &Value) -> Value {
    let text = receipt.to_string();
    if receipt.is_null() || text.len() > MAX_LINE / 2 { Value::Null } else { text.into() }
}

/// What an event stands for, if it stands for several: how many, and when the first and the last were, by `CLOCK_BOOTTIME` in nanoseconds.
const fn several(event: &Event) -> Option<(u64, u64, u64)> {
    match event {
        Event::Denied { count, call_ns, last_ns: Some(last_ns), .. } => Some((*count, *call_ns, *last_ns)),
        Event::DenialsCounted { count, first_ns, last_ns, .. } => Some((*count, *first_ns, *last_ns)),
        _ => None,
    }
}

fn event(event: &Event) -> Draft {
    let daemon = json!({ "app_name": "edgeguardd" });
    match event {
        Event::DaemonStarted { version, pid } => {
            let fields = json!({ "app": daemon_app(version), "unmapped": { "pid": pid } });
            Draft::new(Class::Lifecycle, (3, "Start"), "daemon-started", fields)
        }
        Event::DaemonStopped { reason } => Draft {
            detail: reason.clone(),
            ..Draft::new(Class::Lifecycle, (4, "Stop"), "daemon-stopped", json!({ "app": daemon_app(env!("CARGO_PKG_VERSION")) }))
        },
        Event::PolicyLoaded { file, module, digest } => {
            let entity = json!({ "name": module, "type_id": 5, "type": "Policy", "uid": digest, "data": { "file": file } });
            Draft::new(Class::Entity, (3, "Update"), "policy-loaded", json!({ "entity": entity, "actor": daemon }))
        }
        Event::PolicyRefused { file, reason } => {
            let entity = json!({ "name": file, "type_id": 5, "type": "Policy" });
            Draft::new(Class::Entity, (3, "Update"), "policy-refused", json!({ "entity": entity, "actor": daemon })).denied(reason)
        }
        Event::ModuleAdmitted { module, digest, key, algorithm, policy_digest, cached, receipt } => {
            let mut file = wasm_file(module, Some(digest));
            set(&mut file, "", "signature", signature(algorithm, key));
            let fields = json!({
                "module": { "file": file, "load_type_id": 1, "load_type": "Standard" }, "actor": daemon,
                "policy": { "uid": policy_digest, "name": module }, "unmapped": { "cached": cached, "receipt": short_receipt(receipt) },
            });
            Draft::new(Class::Module, (1, "Load"), "module-admitted", fields)
        }
        Event::TrustChanged { trusted_root, revocation_list, freshness, new_modules_refused, clock } => {
            let data = json!({
                "trusted_root_sha256": trusted_root, "revocation_list": revocation_list, "freshness": freshness,
                "new_modules_refused": new_modules_refused, "clock": clock,
            });
            let entity = json!({ "name": "trust material", "type_id": 99, "type": "Trust", "data": data });
            let draft = Draft::new(Class::Entity, (3, "Update"), "trust-changed", json!({ "entity": entity, "actor": daemon }));
            if *new_modules_refused { draft.failed(freshness) } else { draft }
        }
        Event::ModuleRefused { module, code, reason, digest } => {
            let file = wasm_file(module, digest.as_deref());
            let fields =
                json!({ "module": { "file": file, "load_type_id": 1, "load_type": "Standard" }, "actor": daemon, "status_code": code });
            Draft::new(Class::Module, (1, "Load"), "module-refused", fields).denied(reason)
        }
        Event::CompileFinished { module, digest, code_bytes, took_ns } => {
            let file = wasm_file(module, Some(digest));
            let fields = json!({
                "module": { "file": file, "load_type_id": 0, "load_type": "Unknown" }, "actor": daemon,
                "duration": took_ns / 1_000_000, "unmapped": { "code_bytes": code_bytes },
            });
            Draft::new(Class::Module, (99, "Compile"), "compile-finished", fields)
        }
        Event::CompileFailed { module, digest, reason } => {
            let fields = json!({ "module": { "file": wasm_file(module, Some(digest)), "load_type_id": 0, "load_type": "Unknown" }, "actor": daemon });
            Draft::new(Class::Module, (99, "Compile"), "compile-failed", fields).failed(reason)
        }
        Event::ProcessStarted { pid, role, subject, report } => {
            let fields =
                json!({ "process": child(*pid, role, subject), "actor": daemon, "unmapped": { "subject": subject, "report": report } });
            Draft::new(Class::Process, (1, "Launch"), "process-started", fields)
        }
        Event::ProcessExited { pid, role, subject, how, exit_code, signal } => {
            let mut fields =
                json!({ "process": child(*pid, role, subject), "actor": daemon, "unmapped": { "subject": subject, "signal": signal } });
            if let Some(code) = exit_code {
                set(&mut fields, "", "exit_code", (*code).into());
            }
            let draft = Draft::new(Class::Process, (2, "Terminate"), "process-exited", fields);
            if *exit_code == Some(0) { Draft { detail: how.clone(), ..draft } } else { draft.failed(how) }
        }
        Event::InvocationStarted { id, module, instance, peer_uid, listener, client, .. } => {
            let mut actor = json!({ "app_name": "edgeguardd" });
            if let Some(uid) = peer_uid {
                set(&mut actor, "", "user", json!({ "uid": uid.to_string() }));
            }
            let mut fields = json!({ "process": instance_of(module, id, instance), "actor": actor });
            if let Some(listener) = listener {
                set(&mut fields, "", "unmapped", json!({ "listener": listener, "client": client }));
            }
            Draft::new(Class::Process, (1, "Launch"), "invocation-started", fields)
        }
        Event::InvocationEnded {
            id,
            module,
            instance,
            outcome,
            exit_code,
            detail,
            records_produced,
            records_recorded,
            denied,
            stalls,
            run_ns,
        } => {
            let mut fields = json!({
                "process": instance_of(module, id, instance), "actor": daemon, "duration": run_ns / 1_000_000, "status_code": outcome,
                "unmapped": { "records_produced": records_produced, "records_recorded": records_recorded, "denied": denied, "stalls": stalls, "run_ns": run_ns },
            });
            if let Some(code) = exit_code {
                set(&mut fields, "", "exit_code", (*code).into());
            }
            let draft = Draft::new(Class::Process, (2, "Terminate"), "invocation-ended", fields);
            if *exit_code == Some(0) { draft } else { draft.failed(if detail.is_empty() { outcome } else { detail }) }
        }
        Event::GrantsGiven { module, dirs, graphs } => {
            let entity = json!({ "name": module, "type_id": 5, "type": "Policy", "data": { "dirs": dirs, "graphs": graphs } });
            Draft::new(Class::Entity, (10, "Activate"), "grants-given", json!({ "entity": entity, "actor": daemon }))
        }
        Event::GraphLoaded { name, sha256, engine, target, load_ns } => {
            let app = json!({ "name": name, "uid": sha256, "vendor_name": "wasi-nn", "feature": { "name": engine } });
            Draft::new(
                Class::Lifecycle,
                (3, "Start"),
                "graph-loaded",
                json!({ "app": app, "duration": load_ns / 1_000_000, "unmapped": { "target": target } }),
            )
        }
        Event::GraphFailed { name, sha256, reason } => Draft::new(
            Class::Lifecycle,
            (3, "Start"),
            "graph-failed",
            json!({ "app": { "name": name, "uid": sha256, "vendor_name": "wasi-nn" } }),
        )
        .failed(reason),
        Event::GraphRestarted { name, sha256, reason } => {
            let app = json!({ "name": name, "uid": sha256, "vendor_name": "wasi-nn" });
            Draft::new(Class::Lifecycle, (5, "Restart"), "graph-restarted", json!({ "app": app })).failed(reason)
        }
        Event::Denied { module, instance, ring, call, text, text_class, errno, .. } => {
            let kind = call.split_once('#').and_then(|(interface, function)| call_id(interface, function)).map_or(Kind::Other, kind);
            let actor = json!({ "process": { "name": module, "uid": instance, "sandbox": "wasmtime" }, "app_name": module });
            let mut draft = of_kind(kind, call, text.as_deref(), None, module, instance);
            set(&mut draft.fields, "", "actor", actor);
            set(&mut draft.fields, "", "status_code", errno.to_string().into());
            set(&mut draft.fields, "", "unmapped", json!({ "ring": ring }));
            set_class(&mut draft, *text_class);
            draft.code = "denied";
            draft.denied("not granted")
        }
        Event::DenialsCounted { module, instance, ring, .. } => {
            let fields = json!({
                "process": { "name": module, "uid": instance, "sandbox": "wasmtime" }, "actor": daemon, "unmapped": { "ring": ring },
            });
            Draft::new(Class::Process, (99, "Denied calls"), "denials-counted", fields).denied("not granted")
        }
        Event::InstanceSuspended {
            module,
            instance,
            ring,
            burst_bytes,
            refill_bytes,
            invocation_bytes,
            came_bytes,
            came_events,
            pause_ns,
        } => {
            let words = "more security events than the module's budget has room for";
            // A finding's status is its own: it is new, whatever was done.
            let fields = json!({
                "finding_info": { "title": "Module suspended", "uid": instance, "desc": words },
                "status_id": 1, "status": "New",
                "unmapped": {
                    "module": module, "instance": instance, "ring": ring, "burst_bytes": burst_bytes, "refill_bytes": refill_bytes,
                    "invocation_bytes": invocation_bytes, "came_bytes": came_bytes, "came_events": came_events, "pause_ns": pause_ns,
                },
            });
            let draft = Draft::new(Class::Finding, (1, "Create"), "instance-suspended", fields).denied(words);
            Draft { severity: Severity::High, ..draft }
        }
        Event::RingCorrupt { module, instance, reason, .. } => {
            let fields = json!({ "process": { "name": module, "uid": instance, "sandbox": "wasmtime" }, "actor": daemon });
            let draft = Draft::new(Class::Process, (99, "Audit ring corrupt"), "ring-corrupt", fields).denied(reason);
            Draft { severity: Severity::High, ..draft }
        }
        Event::ControlRefused { peer_uid, what } => {
            let api = json!({ "operation": what, "service": { "name": "edgeguard control" } });
            let actor = json!({ "user": { "uid": peer_uid.to_string() } });
            let fields = json!({ "api": api, "actor": actor, "src_endpoint": { "name": "control.sock" } });
            Draft::new(Class::Api, (99, "Control request"), "control-refused", fields).denied("this user may not")
        }
        Event::JournalRoomMade { reason, segments, calls, bytes, reserve_bytes } => {
            let data = json!({ "segments": segments, "calls": calls, "bytes": bytes, "reserve_bytes": reserve_bytes });
            let entity = json!({ "name": "journal", "type_id": 99, "type": "Journal", "data": data });
            Draft::new(Class::Entity, (4, "Delete"), "journal-room-made", json!({ "entity": entity, "actor": daemon })).failed(reason)
        }
        Event::JournalReserveRemade { bytes } => {
            let entity = json!({ "name": "journal", "type_id": 99, "type": "Journal", "data": { "reserve_bytes": bytes } });
            Draft::new(Class::Entity, (3, "Update"), "journal-reserve-remade", json!({ "entity": entity, "actor": daemon }))
        }
        Event::JournalResumed { reason, closed_ns, kept, unkept, lost } => {
            let data = json!({ "closed_ns": closed_ns, "events_kept": kept, "events_lost": unkept, "calls_lost": lost });
            let entity = json!({ "name": "journal", "type_id": 99, "type": "Journal", "data": data });
            let fields = json!({ "entity": entity, "actor": daemon });
            let draft = Draft::new(Class::Entity, (3, "Update"), "journal-resumed", fields).failed(reason);
            if *unkept == 0 && *lost == 0 { draft } else { Draft { severity: Severity::High, ..draft } }
        }
        Event::JournalCounted { value, accepted } => {
            let entity = json!({ "name": "journal", "type_id": 99, "type": "Journal", "data": { "tpm_counter": value } });
            let fields = json!({ "entity": entity, "actor": daemon });
            let draft = Draft::new(Class::Entity, (3, "Update"), "journal-counted", fields);
            match accepted {
                Some(why) => Draft { severity: Severity::High, ..draft.failed(why) },
                None => draft,
            }
        }
        Event::CallsOnlyCounted { reason, from } => {
            let entity = json!({ "name": "calls", "type_id": 99, "type": "Journal", "data": { "from": from } });
            let fields = json!({ "entity": entity, "actor": daemon });
            let draft = Draft::new(Class::Entity, (3, "Update"), "calls-only-counted", fields).failed(reason);
            Draft { severity: Severity::High, ..draft }
        }
        Event::CallsKeptAgain { from, only_counted } => {
            let entity =
                json!({ "name": "calls", "type_id": 99, "type": "Journal", "data": { "from": from, "only_counted": only_counted } });
            Draft::new(Class::Entity, (3, "Update"), "calls-kept-again", json!({ "entity": entity, "actor": daemon }))
        }
        Event::AuditDegraded { window_s, bytes, share } => {
            let draft = Draft::new(Class::Entity, (3, "Update"), "audit-degraded", counts(*window_s, *bytes, *share, &daemon));
            Draft { severity: Severity::Medium, ..draft }
        }
        Event::AuditRestored { window_s, bytes, share } => {
            Draft::new(Class::Entity, (3, "Update"), "audit-restored", counts(*window_s, *bytes, *share, &daemon))
        }
    }
}

/// How the journal counts calls.
fn counts(window_s: u64, bytes: u64, share: u64, daemon: &Value) -> Value {
    let data = json!({ "window_s": window_s, "bytes": bytes, "share": share });
    json!({ "entity": { "name": "counts of calls", "type_id": 99, "type": "Journal", "data": data }, "actor": daemon })
}

fn call(call: &Call) -> Draft {
    let record = &call.record;
    let source = &call.source;
    let instance = source.instance().to_string();
    let text = call.text.as_deref().map(printable);
    let mut draft = match ocsf_http::request(record, text.as_deref(), source.module(), &instance) {
        Some((activity, fields)) => Draft::new(Class::Http, activity, "call", fields),
        None => of_kind(kind(record.call), &record.call.to_string(), text.as_deref(), Some(record.handle), source.module(), &instance),
    };
    let file = wasm_file(source.module(), Some(&source.module_sha256()));
    let process = json!({ "name": source.module(), "uid": instance, "sandbox": "wasmtime", "file": file });
    set(&mut draft.fields, "", "actor", json!({ "process": process, "app_name": source.module(), "app_uid": source.module_sha256() }));
    set(&mut draft.fields, "", "policy", json!({ "uid": source.policy_sha256(), "name": source.module() }));
    set(&mut draft.fields, "", "duration", (record.took_ns / 1_000_000).into());
    if record.rule != 0 {
        set(&mut draft.fields, "", "firewall_rule", json!({ "uid": describe::rule_name(record.rule) }));
    }
    if record.errno != 0 {
        set(&mut draft.fields, "", "status_code", record.errno.to_string().into());
    }
    let unmapped = json!({ "ring": source.ring(), "handle": record.handle, "bytes_in": record.bytes_in(), "bytes_out": record.bytes_out(), "took_ns": record.took_ns });
    set(&mut draft.fields, "", "unmapped", unmapped);
    for (name, value) in asked(record) {
        set(&mut draft.fields, "/unmapped", name, value);
    }
    set_class(&mut draft, record.text_class());
    match record.outcome {
        Outcome::Ok => draft,
        Outcome::Denied => draft.denied("not granted"),
        Outcome::Error | Outcome::Trapped | Outcome::Limit => {
            Draft { severity: Severity::Informational, ..draft.failed(record.outcome.name()) }
        }
    }
}

/// Says of a text that is not as the guest wrote it what it is instead: OCSF has no word for that.
fn set_class(draft: &mut Draft, class: Option<TextClass>) {
    if let Some(class) = class {
        set(&mut draft.fields, "/unmapped", "text_class", class.word().into());
    }
}

/// The class that a call belongs to, with what that class demands.
fn of_kind(kind: Kind, call: &str, text: Option<&str>, handle: Option<u32>, module: &str, instance: &str) -> Draft {
    let (interface, function) = call.split_once('#').unwrap_or(("", call));
    if let Kind::File(activity, name) = kind {
        let path = text.map(str::to_owned).unwrap_or_else(|| handle.map_or_else(|| "unknown".into(), |handle| format!("handle {handle}")));
        let base = path.trim_end_matches('/').rsplit('/').next().filter(|base| !base.is_empty()).unwrap_or(&path);
        let mut file = json!({ "name": base, "type_id": 0, "type": "Unknown" });
        if text.is_some() {
            set(&mut file, "", "path", path.as_str().into());
        }
        return Draft::new(Class::File, (activity, name), "call", json!({ "file": file, "component": function }));
    }
    let activity = if matches!(kind, Kind::Read) { (2, "Read") } else { (99, "Other") };
    let api = json!({ "operation": function, "service": { "name": interface } });
    let mut fields = json!({ "api": api, "src_endpoint": { "name": module, "uid": instance } });
    if let (Kind::Graph, Some(graph)) = (kind, text) {
        set(&mut fields, "", "ai_model", json!({ "name": graph, "ai_provider": "wasi-nn" }));
    }
    Draft::new(Class::Api, activity, "call", fields)
}

fn daemon_app(version: &str) -> Value {
    json!({ "name": "edgeguardd", "vendor_name": "Edgeguard", "version": version })
}

fn wasm_file(module: &str, digest: Option<&str>) -> Value {
    let mut file = json!({ "name": format!("{module}.wasm"), "type_id": 1, "type": "Regular File" });
    if let Some(digest) = digest {
        set(&mut file, "", "hashes", json!([{ "algorithm_id": 3, "algorithm": "SHA-256", "value": digest }]));
    }
    file
}

fn signature(algorithm: &str, key: &str) -> Value {
    let ecdsa = algorithm.to_ascii_lowercase().contains("ecdsa");
    json!({ "algorithm_id": if ecdsa { 3 } else { 99 }, "algorithm": algorithm, "developer_uid": key })
}

fn child(pid: u32, role: &str, subject: &str) -> Value {
    let name = format!("edgeguard-{role}");
    if subject.is_empty() {
        json!({ "pid": pid, "name": name })
    } else {
        json!({ "pid": pid, "name": name, "cmd_line": format!("{name} ({subject})") })
    }
}

fn instance_of(module: &str, id: &str, worker: &str) -> Value {
    json!({ "uid": id, "name": module, "sandbox": "wasmtime", "parent_process": { "uid": worker, "name": "edgeguard-worker" } })
}

const VERSION: &str = "1.8.0";
