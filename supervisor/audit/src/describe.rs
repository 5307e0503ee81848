//! Events and calls in one readable line each.
//!
//! Runs in: CLI.
//! Does not: let through a byte that a terminal would obey.

use crate::event::Event;
use crate::read::Call;
use crate::record::Outcome;
use crate::record::RULE_GRAPHS;
use crate::record::Record;
use crate::record::TRUNCATED;
use crate::record::TextClass;
use crate::text::printable;

/// The event in words, on one line.
#[must_use]
pub fn event(event: &Event) -> String {
    printable(words(event).as_bytes())
}

fn words(event: &Event) -> String {
    match event {
        Event::DaemonStarted { version, pid } => format!("daemon started: release {version}, process {pid}"),
        Event::DaemonStopped { reason } => format!("daemon stopped: {reason}"),
        Event::PolicyLoaded { file, module, digest } => format!("policy of `{module}` loaded from `{file}`, {}", short(digest)),
        Event::PolicyRefused { file, reason } => format!("policy `{file}` refused: {reason}"),
        Event::ModuleAdmitted { module, digest, key, algorithm, cached, .. } => {
            let code = if *cached { "native code from the cache" } else { "native code made anew" };
            format!("module `{module}` admitted: {}, signed with {algorithm} by {}, {code}", short(digest), short(key))
        }
        Event::TrustChanged { revocation_list, freshness, clock, .. } => {
            let list = revocation_list.map_or_else(|| "no revocation list".to_owned(), |number| format!("revocation list {number}"));
            format!("trust: {list}, {freshness}; clock {clock}")
        }
        Event::ModuleRefused { module, code, reason, digest } => {
            let digest = digest.as_deref().map(|digest| format!(" {}", short(digest))).unwrap_or_default();
            format!("module `{module}`{digest} refused ({code}): {reason}")
        }
        Event::CompileFinished { module, code_bytes, took_ns, .. } => {
            format!("module `{module}` compiled: {code_bytes} bytes of native code in {}", duration(*took_ns))
        }
        Event::CompileFailed { module, reason, .. } => format!("module `{module}` not compiled: {reason}"),
        Event::ProcessStarted { pid, role, subject, .. } => format!("{role} process {pid} confined{}", of(subject)),
        Event::ProcessExited { pid, role, subject, how, .. } => format!("{role} process {pid} gone{}: {how}", of(subject)),
        Event::InvocationStarted { id, module, peer_uid, listener, client, .. } => {
            let user = peer_uid.map(|uid| format!("user {uid}"));
            let who = client.clone().or(user).unwrap_or_else(|| "nobody".into());
            let at = listener.as_ref().map(|listener| format!(" at {listener}")).unwrap_or_default();
            format!("invocation {id} of `{module}` began, asked for by {who}{at}")
        }
        Event::InvocationEnded {
            id,
            module,
            outcome,
            exit_code,
            detail,
            records_produced,
            records_recorded,
            denied,
            stalls,
            run_ns,
            ..
        } => {
            let code = exit_code.map(|code| format!(" {code}")).unwrap_or_default();
            let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
            let calls = if records_produced == records_recorded {
                format!("{records_recorded} calls, all recorded")
            } else {
                format!("{records_recorded} of {records_produced} calls recorded")
            };
            let denied = if *denied == 0 { String::new() } else { format!(", {denied} denied") };
            let stalls = if *stalls == 0 { String::new() } else { format!(", waited {stalls} times for the journal") };
            format!("invocation {id} of `{module}` ended: {outcome}{code}{detail} after {}, {calls}{denied}{stalls}", duration(*run_ns))
        }
        Event::GrantsGiven { module, dirs, graphs } => {
            format!("module `{module}` is given directories [{}] and graphs [{}]", dirs.join(", "), graphs.join(", "))
        }
        Event::GraphLoaded { name, sha256, engine, target, load_ns } => {
            format!("graph `{name}` loaded: {}, {engine} on {target}, in {}", short(sha256), duration(*load_ns))
        }
        Event::GraphFailed { name, reason, .. } => format!("graph `{name}` not loaded: {reason}"),
        Event::GraphRestarted { name, reason, .. } => format!("graph `{name}` restarted: {reason}"),
        Event::Denied { module, call, text, text_class, errno, count, .. } => {
            let text = text.as_deref().map(|text| format!(" `{text}`")).unwrap_or_default();
            let text = if *text_class == Some(TextClass::Drop) { DROPPED } else { &text };
            let times = if *count == 1 { String::new() } else { format!(", {count} times") };
            format!("module `{module}` was denied {call}{text} (errno {errno}){times}")
        }
        Event::DenialsCounted { module, ring, count, .. } => {
            format!("module `{module}` was denied {count} more calls on ring {ring}: over its budget of events, they stand among the calls")
        }
        Event::InstanceSuspended { module, burst_bytes, came_bytes, came_events, pause_ns, .. } => {
            format!(
                "module `{module}` is suspended for {}: it caused {came_events} security events of {came_bytes} bytes, and has a budget of {burst_bytes}",
                duration(*pause_ns)
            )
        }
        Event::RingCorrupt { module, ring, reason, .. } => format!("audit ring {ring} of `{module}` is corrupt: {reason}"),
        Event::ControlRefused { peer_uid, what } => format!("user {peer_uid} was refused: {what}"),
        Event::JournalRoomMade { reason, segments, calls, bytes, reserve_bytes } => {
            let reserve = if *reserve_bytes == 0 { "; nothing is left in reserve" } else { "" };
            format!("journal deleted {calls} calls, {segments} segments of {bytes} bytes, for room on its disk{reserve}: {reason}")
        }
        Event::JournalReserveRemade { bytes } => format!("journal holds {bytes} bytes in reserve again"),
        Event::JournalResumed { reason, closed_ns, kept, unkept, lost } => {
            let gone = if *unkept == 0 && *lost == 0 { String::new() } else { format!(", {unkept} events and {lost} calls are lost") };
            format!(
                "journal takes records again after {}: {kept} events were kept{gone}; it took none because {reason}",
                duration(*closed_ns)
            )
        }
        Event::JournalCounted { value, accepted } => {
            let value =
                value.map_or("is bound to a counter in the TPM".to_owned(), |value| format!("is number {value} of the TPM's counter"));
            let accepted = accepted.as_ref().map_or(String::new(), |why| format!("; that it is not the newest was accepted: {why}"));
            format!("journal {value}{accepted}")
        }
        Event::CallsOnlyCounted { reason, from } => format!("calls are only counted from number {from} on: {reason}"),
        Event::CallsKeptAgain { from, only_counted } => {
            format!("every call is written again from number {from} on; {only_counted} were only counted")
        }
        Event::AuditDegraded { window_s, bytes, share } => {
            format!("calls are counted by {window_s} s from here on: counts take {bytes} bytes, and have a share of {share}")
        }
        Event::AuditRestored { window_s, bytes, share } => {
            format!("calls are counted by {window_s} s again: counts take {bytes} bytes, and have a share of {share}")
        }
    }
}

/// The call in words, on one line.
#[must_use]
pub fn call(call: &Call) -> String {
    let Record { call: id, outcome, flags, errno, rule, handle, took_ns, .. } = call.record;
    let (n_in, n_out) = (call.record.bytes_in(), call.record.bytes_out());
    let mut line = format!("`{}` {}", call.source.module(), id.function());
    if let Some(text) = &call.text {
        let more = if flags & TRUNCATED == 0 { "" } else { "…" };
        line.push_str(&format!(" `{}{more}`", printable(text)));
    }
    if call.record.text_class() == Some(TextClass::Drop) {
        line.push_str(DROPPED);
    }
    match call.record.status() {
        Some(status) => line.push_str(&format!(" status {status}")),
        None if handle != 0 => line.push_str(&format!(" handle {handle}")),
        None => {}
    }
    line.push_str(&asked(&call.record));
    if n_in != 0 {
        line.push_str(&format!(" in {n_in}"));
    }
    if n_out != 0 {
        line.push_str(&format!(" out {n_out}"));
    }
    line.push_str(&format!(" → {}", outcome.name()));
    if errno != 0 {
        line.push_str(&format!(" (errno {errno})"));
    }
    if outcome == Outcome::Ok && rule != 0 {
        line.push_str(&format!(" by {}", rule_name(rule)));
    }
    line.push_str(&format!(" {}", duration(took_ns.into())));
    printable(line.as_bytes())
}

/// With which flags a file was opened, into which directory something was moved, with which code the guest ended.
fn asked(record: &Record) -> String {
    if let Some(flags) = record.opened_with() {
        let names: Vec<&str> = flags.names().collect();
        return if names.is_empty() { " with no flags".to_owned() } else { format!(" with {}", names.join(", ")) };
    }
    match (record.rule_to(), record.exit_code()) {
        (Some(0), _) => " into no granted directory".to_owned(),
        (Some(rule), _) => format!(" into {}", rule_name(rule)),
        (None, Some(code)) if code != 0 => format!(" code {}", code.cast_signed()),
        _ => String::new(),
    }
}

/// The grant that a rule number stands for: `dir 1` is the first directory of the policy, `graph 1` its first graph.
#[must_use]
pub fn rule_name(rule: u16) -> String {
    match rule.checked_sub(RULE_GRAPHS) {
        Some(graph) => format!("graph {}", u32::from(graph) + 1),
        None => format!("dir {rule}"),
    }
}

/// What stands in the place of a text that is not kept.
const DROPPED: &str = " (what it named is not kept)";

/// A digest's beginning, enough to tell it by.
fn short(digest: &str) -> String {
    match digest.get(..16) {
        Some(start) if digest.len() > 16 => format!("{start}…"),
        _ => digest.to_owned(),
    }
}

fn of(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!(" for `{subject}`") }
}

/// Nanoseconds, in the unit that leaves the fewest digits.
fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{}.{} µs", ns / 1_000, ns / 100 % 10),
        1_000_000..1_000_000_000 => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
        _ => format!("{}.{:02} s", ns / 1_000_000_000, ns / 10_000_000 % 100),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::OpenFlags;
    use crate::call_id;
    use crate::rule_to_number;

    fn words(function: &str, n_in: u32, n_out: u32) -> String {
        super::call(&call("wasi_snapshot_preview1", function, n_in, n_out))
    }

    fn call(interface: &str, function: &str, n_in: u32, n_out: u32) -> Call {
        let call = call_id(interface, function).unwrap();
        let record = Record { time_ns: 0, call, outcome: Outcome::Ok, flags: 0, errno: 0, rule: 1, handle: 4, took_ns: 64, n_in, n_out };
        let source = std::sync::Arc::new(crate::Source::new("m", uuid::Uuid::nil(), [0; 32], [0; 32]));
        Call { record, source, text: None }
    }

    #[test]
    fn what_is_no_size_is_said_in_words() {
        let flags = OpenFlags::READ.with(OpenFlags::CREATE, true);
        assert_eq!(words("path_open", flags.to_number(), 0), "`m` path_open handle 4 with read, create → ok by dir 1 64 ns");
        assert_eq!(words("path_open", OpenFlags::default().to_number(), 0), "`m` path_open handle 4 with no flags → ok by dir 1 64 ns");
        assert_eq!(words("path_open", 0, 0), "`m` path_open handle 4 → ok by dir 1 64 ns");
        assert_eq!(words("path_rename", 0, rule_to_number(2)), "`m` path_rename handle 4 into dir 2 → ok by dir 1 64 ns");
        assert_eq!(words("path_link", 0, rule_to_number(0)), "`m` path_link handle 4 into no granted directory → ok by dir 1 64 ns");
        assert_eq!(words("proc_exit", u32::MAX, 0), "`m` proc_exit handle 4 code -1 → ok by dir 1 64 ns");
        let mut request = call("wasi_snapshot_preview1", "fd_write", 0, 21);
        request.record.call = call_id("wasi:http/incoming-handler", "handle").unwrap();
        (request.record.handle, request.record.rule, request.text) = (201, 0, Some(b"GET /a?b".as_slice().into()));
        assert_eq!(super::call(&request), "`m` handle `GET /a?b` status 201 out 21 → ok 64 ns");
        assert_eq!(words("fd_write", 1 << 31, 0), "`m` fd_write handle 4 in 2147483648 → ok by dir 1 64 ns");
    }
}
