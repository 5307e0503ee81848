//! Exported lines: as they were, within their length, and valid by the schema.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use edgeguard_audit::Checkpoint;
use edgeguard_audit::Event;
use edgeguard_audit::INTERFACES;
use edgeguard_audit::MAX_LINE;
use edgeguard_audit::Note;
use edgeguard_audit::Ocsf;
use edgeguard_audit::OpenFlags;
use edgeguard_audit::Outcome;
use edgeguard_audit::Position;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::Tier;
use edgeguard_audit::call_id;
use edgeguard_audit::encode::Encoder;
use edgeguard_audit::encode::Form;
use edgeguard_audit::encode::Gap;
use edgeguard_audit::encode::OcsfVersion;
use edgeguard_audit::encode::Why;
use edgeguard_audit::frame::FrameType;
use edgeguard_audit::frame::Header;
use edgeguard_audit::read::Call;
use edgeguard_audit::read::Item;
use edgeguard_audit::rule_to_number;
use proptest::prelude::*;

fn exporter() -> Ocsf {
    Ocsf { origin: "gateway-7.example".into(), boot_id: "6f1c1f6e-0000-4000-8000-000000000001".into() }
}

fn item<T>(frame: u64, what: T) -> Item<T> {
    Item { position: Position { epoch: 0, frame, index: 2 }, seq: 41, time_real: 1_764_000_000_123_456_789, time_boot: 5_000_000_000, what }
}

fn events() -> Vec<Event> {
    let text = |text: &str| text.to_owned();
    let digest = "5f".repeat(32);
    let report = serde_json::json!({ "role": "worker", "landlock_abi": 4, "mdwe": true });
    vec![
        Event::DaemonStarted { version: text("0.1.0"), pid: 77 },
        Event::DaemonStopped { reason: text("SIGTERM") },
        Event::PolicyLoaded { file: text("/etc/edgeguard/policy.d/voice-gate.toml"), module: text("voice-gate"), digest: digest.clone() },
        Event::PolicyRefused {
            file: text("/etc/edgeguard/policy.d/x.toml"),
            reason: text("error[EG014]: directory grant leaves its root"),
        },
        Event::ModuleAdmitted {
            module: text("voice-gate"),
            digest: digest.clone(),
            key: text("0badc0de"),
            algorithm: text("ecdsa-p256-sha256"),
            policy_digest: digest.clone(),
            cached: true,
            receipt: serde_json::json!({ "predicateType": "https://in-toto.io/attestation/svr/v0.1" }),
        },
        Event::TrustChanged {
            trusted_root: digest.clone(),
            revocation_list: Some(7),
            freshness: text("fresh"),
            new_modules_refused: true,
            clock: text("steady"),
        },
        Event::ModuleRefused {
            module: text("voice-gate"),
            code: text("digest"),
            reason: text("expected a, found b"),
            digest: Some(digest.clone()),
        },
        Event::CompileFinished { module: text("voice-gate"), digest: digest.clone(), code_bytes: 1 << 20, took_ns: 812_000_000 },
        Event::CompileFailed { module: text("voice-gate"), digest: digest.clone(), reason: text("not wasm") },
        Event::ProcessStarted { pid: 78, role: text("worker"), subject: text("voice-gate"), report },
        Event::ProcessExited {
            pid: 78,
            role: text("worker"),
            subject: text("voice-gate"),
            how: text("killed by SIGSYS"),
            exit_code: None,
            signal: Some(31),
        },
        Event::InvocationStarted {
            id: text("inv-1"),
            module: text("voice-gate"),
            instance: text("w-1"),
            peer_uid: Some(1000),
            listener: None,
            client: None,
            ring: Some(0),
        },
        Event::InvocationEnded {
            id: text("inv-1"),
            module: text("voice-gate"),
            instance: text("w-1"),
            outcome: text("limit"),
            exit_code: None,
            detail: text("deadline"),
            records_produced: 812,
            records_recorded: 812,
            denied: 0,
            stalls: 0,
            run_ns: 500_000_000,
        },
        Event::GrantsGiven {
            module: text("voice-gate"),
            dirs: vec![text("/audio: /var/lib/gateway/audio (read)")],
            graphs: vec![text("vad: 5f5f (cpu)")],
        },
        Event::GraphLoaded {
            name: text("vad"),
            sha256: digest.clone(),
            engine: text("rten 0.27"),
            target: text("cpu"),
            load_ns: 31_000_000,
        },
        Event::GraphFailed { name: text("vad"), sha256: digest.clone(), reason: text("expected digest a, found b") },
        Event::GraphRestarted { name: text("vad"), sha256: digest, reason: text("killed by SIGSEGV") },
        Event::Denied {
            module: text("voice-gate"),
            instance: text("w-1"),
            ring: 0,
            call: text("wasi_snapshot_preview1#path_open"),
            text: Some(text("/etc/shadow")),
            text_class: None,
            errno: 76,
            call_ns: 5,
            count: 1,
            last_ns: None,
        },
        Event::Denied {
            module: text("voice-gate"),
            instance: text("w-1"),
            ring: 0,
            call: text("wasi_ephemeral_nn#load_by_name"),
            text: Some(text("other")),
            text_class: None,
            errno: 11,
            call_ns: 5,
            count: 1,
            last_ns: None,
        },
        Event::Denied {
            module: text("voice-gate"),
            instance: text("w-1"),
            ring: 0,
            call: text("wasi_snapshot_preview1#path_open"),
            text: Some(text("/etc/shadow")),
            text_class: None,
            errno: 76,
            call_ns: 3_000_000_000,
            count: 812,
            last_ns: Some(4_000_000_000),
        },
        Event::DenialsCounted {
            module: text("voice-gate"),
            instance: text("w-1"),
            ring: 1,
            count: 90,
            first_ns: 3_000_000_000,
            last_ns: 4_500_000_000,
        },
        Event::InstanceSuspended {
            module: text("voice-gate"),
            instance: text("w-1"),
            ring: 1,
            burst_bytes: 1 << 20,
            refill_bytes: 2048,
            invocation_bytes: 4096,
            came_bytes: 1_048_600,
            came_events: 2600,
            pause_ns: 10_000_000_000,
        },
        Event::RingCorrupt {
            module: text("voice-gate"),
            instance: text("w-1"),
            ring: 1,
            reason: text("its head is at slot 9 while 10 slots were taken"),
        },
        Event::ControlRefused { peer_uid: 1001, what: text("POST /v1/reload") },
        Event::JournalRoomMade { reason: text("No space left on device"), segments: 1, calls: 90_000, bytes: 4 << 20, reserve_bytes: 0 },
        Event::JournalReserveRemade { bytes: 8 << 20 },
        Event::JournalResumed { reason: text("the disk is full"), closed_ns: 2_000_000_000, kept: 3, unkept: 0, lost: 0 },
        Event::AuditDegraded { window_s: 10, bytes: 17 << 20, share: 32 << 20 },
        Event::AuditRestored { window_s: 1, bytes: 9 << 20, share: 32 << 20 },
        Event::CallsOnlyCounted { reason: "No space left on device".into(), from: 70_000 },
        Event::CallsKeptAgain { from: 90_000, only_counted: 20_000 },
        Event::JournalCounted { value: Some(17), accepted: None },
        Event::JournalCounted { value: Some(19), accepted: Some("restored from the backup of Monday".into()) },
    ]
}

/// What is gone, for each reason.
fn gaps(encoder: &Encoder) -> Vec<String> {
    let header = Header {
        kind: FrameType::Detail,
        flags: 0,
        n: 1,
        frame_no: 9,
        first_seq: 70,
        t0_boot: 5_000_000_000,
        t0_real: 1_764_000_000_123_456_789,
        span_us: 0,
        epoch: 3,
        unsynced: 0,
        payload_len: 0,
    };
    let calls = Gap { tier: Tier::Detail, first: 41, next: 70, why: Why::Deleted };
    [calls, Gap::of_events(3, 4)].map(|gap| encoder.gap(&gap, &header).line).to_vec()
}

/// A checkpoint as it is handed over.
fn checkpoint(encoder: &Encoder) -> String {
    let note = Note::parse(include_str!("snapshots/checkpoint.note")).unwrap();
    encoder.checkpoint(&Checkpoint::parse(note.text()).unwrap(), &note).unwrap().line
}

#[test]
fn a_gap_says_what_is_missing_and_from_where_to_where() {
    let [deleted, damaged] = gaps(&Encoder::new(exporter(), Form::default())).try_into().unwrap();
    let deleted: serde_json::Value = serde_json::from_str(&deleted).unwrap();
    assert_eq!(deleted["entity"]["data"], serde_json::json!({ "count": 29, "first": 41, "next": 70 }));
    assert_eq!((&deleted["status"], &deleted["is_alert"]), (&"Success".into(), &serde_json::Value::Null));
    let damaged: serde_json::Value = serde_json::from_str(&damaged).unwrap();
    assert_eq!((&damaged["status"], &damaged["is_alert"]), (&"Failure".into(), &true.into()));
    assert_eq!(damaged["metadata"]["log_name"], "s");
}

fn call(interface: &str, function: &str, outcome: Outcome, text: Option<&[u8]>) -> Call {
    let record = Record {
        time_ns: 5_000_000_000,
        call: call_id(interface, function).unwrap(),
        outcome,
        flags: 0,
        errno: if outcome == Outcome::Ok { 0 } else { 8 },
        rule: if interface.contains("nn") { 0x100 } else { 1 },
        handle: 4,
        took_ns: 1_250_000,
        n_in: 16,
        n_out: 512,
    };
    let source = Source::new("voice-gate", uuid::Uuid::from_u128(7), [0x11; 32], [0x22; 32]);
    Call { record, source: Arc::new(source), text: text.map(Arc::from) }
}

/// A call whose sizes are none.
fn asking(function: &str, n_in: u32, n_out: u32) -> Call {
    let mut call = call("wasi_snapshot_preview1", function, Outcome::Ok, None);
    (call.record.n_in, call.record.n_out) = (n_in, n_out);
    call
}

fn lines() -> Vec<String> {
    let exporter = exporter();
    let mut lines: Vec<String> = events().into_iter().zip(0..).map(|(event, frame)| exporter.event(&item(frame, event))).collect();
    let calls = [
        call("wasi_snapshot_preview1", "path_open", Outcome::Ok, Some(b"front-door.wav")),
        call("wasi_snapshot_preview1", "fd_read", Outcome::Ok, None),
        call("wasi:filesystem/types", "[method]descriptor.open-at", Outcome::Error, Some(b"sub/\xff\x1b[2J.wav")),
        call("wasi_snapshot_preview1", "clock_time_get", Outcome::Ok, None),
        call("wasi:http/incoming-handler", "handle", Outcome::Ok, Some(b"POST /v1/classify?x=1")),
        call("wasi_ephemeral_nn", "load_by_name", Outcome::Ok, Some(b"vad")),
        call("wasi_ephemeral_nn", "compute", Outcome::Ok, None),
        call("wasi:nn/inference", "[method]graph-execution-context.compute", Outcome::Limit, None),
        asking("path_open", OpenFlags::READ.with(OpenFlags::CREATE, true).to_number(), 0),
        asking("path_rename", 0, rule_to_number(2)),
        asking("proc_exit", 3, 0),
    ];
    lines.extend(calls.into_iter().zip(100..).filter_map(|(call, frame)| exporter.call(&item(frame, call))));
    lines
}

#[test]
fn lines_stay_as_they_are() {
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    insta::assert_snapshot!(
        lines()
            .join(
                "
"
            )
            .replace(&version, "\"version\":\"VERSION\"")
    );
}

#[test]
fn what_is_no_size_is_exported_in_words() {
    let details = |function: &str, n_in, n_out| {
        let line = exporter().call(&item(1, asking(function, n_in, n_out))).unwrap();
        let ecs = Encoder::new(exporter(), Form::Ecs).call(&item(1, asking(function, n_in, n_out))).unwrap().line;
        let [ocsf, ecs]: [serde_json::Value; 2] = [line, ecs].map(|line| serde_json::from_str(&line).unwrap());
        assert_eq!(ocsf["unmapped"], ecs["edgeguard"]["details"]);
        ocsf["unmapped"].clone()
    };
    let opened = details("path_open", OpenFlags::READ.with(OpenFlags::CREATE, true).to_number(), 0);
    assert_eq!((&opened["open_flags"], &opened["bytes_in"]), (&serde_json::json!(["read", "create"]), &0.into()));
    let moved = details("path_rename", 0, rule_to_number(2));
    assert_eq!((&moved["rule_to"], &moved["bytes_out"]), (&"dir 2".into(), &0.into()));
    assert!(details("path_link", 0, rule_to_number(0))["rule_to"].is_null());
    assert_eq!(details("proc_exit", 0xffff_fffe, 0)["exit_code"], -2);
    assert!(details("fd_read", 1 << 31, 1 << 31).get("open_flags").is_none());
}

#[test]
fn a_denied_call_is_exported_once_as_the_security_event() {
    let denied = call("wasi_snapshot_preview1", "path_open", Outcome::Denied, Some(b"/etc/shadow"));
    assert_eq!(exporter().call(&item(1, denied.clone())), None);
    let event = Event::denied(&denied.source, 0, &denied.record, Some(b"/etc/shadow"));
    let line: serde_json::Value = serde_json::from_str(&exporter().event(&item(1, event))).unwrap();
    assert_eq!((&line["class_uid"], &line["activity_id"], &line["action_id"]), (&1001.into(), &14.into(), &2.into()));
    assert_eq!(line["file"]["path"], "/etc/shadow");
}

#[test]
fn the_same_place_has_the_same_uid_and_no_other_has() {
    let uid = |frame, index, origin: &str| Position { epoch: 0, frame, index }.uid(origin);
    assert_eq!(uid(1, 2, "a"), uid(1, 2, "a"));
    assert_ne!(uid(1, 2, "a"), uid(1, 3, "a"));
    assert_ne!(uid(1, 2, "a"), uid(2, 2, "a"));
    assert_ne!(uid(1, 2, "a"), uid(1, 2, "b"));
}

#[test]
fn what_came_several_times_says_how_often_and_from_when_to_when() {
    let of = |code: &str| {
        let is_wanted = |line: &&String| line.contains(&format!("\"event_code\":\"{code}\"")) && line.contains("\"count\"");
        let lines: Vec<_> = events().into_iter().map(|event| exporter().event(&item(1, event))).collect();
        serde_json::from_str::<serde_json::Value>(lines.iter().find(is_wanted).unwrap()).unwrap()
    };
    let denied = of("denied");
    // The frame is of five seconds after boot, and of 123 ms after a full second of the calendar's.
    assert_eq!(
        (&denied["count"], &denied["start_time"], &denied["end_time"]),
        (&812.into(), &1_763_999_998_123_u64.into(), &1_763_999_999_123_u64.into())
    );
    assert_eq!(of("denials-counted")["count"], 90);
    let once = events().into_iter().find(|event| matches!(event, Event::Denied { .. })).unwrap();
    assert!(!exporter().event(&item(1, once)).contains("\"count\""));
    let suspended = events().into_iter().find(|event| matches!(event, Event::InstanceSuspended { .. })).unwrap();
    let line: serde_json::Value = serde_json::from_str(&exporter().event(&item(1, suspended))).unwrap();
    assert_eq!((&line["type_uid"], &line["is_alert"], &line["action_id"]), (&200_401.into(), &true.into(), &2.into()));
}

#[test]
fn a_downgrade_moves_what_has_no_place_and_loses_nothing() {
    let event = Event::ControlRefused { peer_uid: 1001, what: "POST /v1/reload".into() };
    let line = Encoder::new(exporter(), Form::Ocsf(OcsfVersion::V1_1)).event(&item(1, event)).line;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["metadata"]["version"], &line["status_id"]), (&"1.1.0".into(), &2.into()));
    assert_eq!(
        (&line["action_id"], &line["unmapped"]["action_id"], &line["unmapped"]["disposition"]),
        (&serde_json::Value::Null, &2.into(), &"Blocked".into())
    );
    assert_eq!(line["unmapped"]["metadata_original_event_uid"], "gateway-7.example/0/1/2");
}

#[test]
fn ecs_documents_have_the_words_that_ecs_allows() {
    let encoder = Encoder::new(exporter(), Form::Ecs);
    let denied = events().into_iter().find(|event| matches!(event, Event::Denied { .. })).unwrap();
    let entry = encoder.event(&item(1, denied.clone()));
    let document: serde_json::Value = serde_json::from_str(&entry.line).unwrap();
    assert_eq!(document["@timestamp"], "2025-11-24T16:00:00.123456Z");
    assert_eq!(document["event"]["type"], serde_json::json!(["access", "denied"]));
    assert_eq!((&document["event"]["category"][0], &document["event"]["outcome"]), (&"file".into(), &"failure".into()));
    assert_eq!((&document["file"]["path"], &document["event"]["id"]), (&"/etc/shadow".into(), &entry.uid.as_str().into()));
    // Whatever the form, the same entry has the same id.
    let ocsf: serde_json::Value = serde_json::from_str(&exporter().event(&item(1, denied))).unwrap();
    assert_eq!(ocsf["metadata"]["uid"], entry.uid.as_str());
    let categories =
        ["api", "authentication", "configuration", "database", "driver", "email", "file", "host", "iam", "library", "network", "process"];
    for event in events() {
        let line = encoder.event(&item(1, event)).line;
        let document: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(categories.contains(&document["event"]["category"][0].as_str().unwrap()), "{line}");
        assert!(document["host"]["boot"]["id"].is_string() && line.len() <= MAX_LINE, "{line}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_line_too_long_or_breaks_it(text in proptest::collection::vec(any::<u8>(), 0..5000), long in any::<String>(), times in 1usize..2000) {
        let call = call("wasi_snapshot_preview1", "path_open", Outcome::Ok, Some(&text));
        let other_call = call.clone();
        let other_grants = Event::GrantsGiven { module: "m".into(), dirs: vec![long.clone(); 300], graphs: vec![long.clone(); 300] };
        let event = Event::PolicyRefused { file: "f".into(), reason: long.repeat(times) };
        let report = serde_json::json!({ "list": vec![long.clone(); 200] });
        let started = Event::ProcessStarted { pid: 1, role: "worker".into(), subject: long.clone(), report };
        let grants = Event::GrantsGiven { module: "m".into(), dirs: vec![long.clone(); 300], graphs: vec![long; 300] };
        for line in [exporter().call(&item(1, call)).unwrap(), exporter().event(&item(2, event)), exporter().event(&item(3, started)), exporter().event(&item(4, grants))] {
            prop_assert!(line.len() <= MAX_LINE, "{}", line.len());
            prop_assert!(!line.bytes().any(|byte| byte < 0x20), "control byte in {line}");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert!(value["metadata"]["uid"].is_string());
        }
        for form in [Form::Ecs, Form::Ocsf(OcsfVersion::V1_1), Form::Ocsf(OcsfVersion::V1_5)] {
            let encoder = Encoder::new(exporter(), form);
            for line in [encoder.call(&item(1, other_call.clone())).unwrap().line, encoder.event(&item(4, other_grants.clone())).line] {
                prop_assert!(line.len() <= MAX_LINE && serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{} {line}", line.len());
            }
        }
    }
}

/// Checks each line against the schema of its class, and what the schema does not say: that type and class agree.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
bad, of = 0, {}
def version(v):
    if v not in of:
        ocsf = get_ocsf_schema(v)
        of[v] = (ocsf, OcsfJsonSchemaEmbedded(ocsf), {c["uid"]: n for n, c in ocsf["classes"].items()}, {})
    return of[v]
for line in sys.stdin:
    e = json.loads(line)
    ocsf, schemas, names, known = version(e["metadata"]["version"])
    name, profiles = names[e["class_uid"]], e["metadata"]["profiles"]
    key = (name, *profiles)
    if key not in known: known[key] = Draft202012Validator(schemas.get_class_schema(name, profiles))
    errors = [f"{list(x.path)}: {x.message}" for x in known[key].iter_errors(e)]
    if not set(profiles) <= set(ocsf["classes"][name]["profiles"]): errors.append(f"profiles {profiles}")
    if e["type_uid"] != e["class_uid"] * 100 + e["activity_id"]: errors.append("type_uid")
    attributes = ocsf["classes"][name]["attributes"]
    for field in ("activity_id", "severity_id", "status_id", "action_id", "disposition_id"):
        if field not in e: continue
        caption = attributes[field]["enum"][str(e[field])]["caption"]
        if e[field] != 99 and e[field.replace("_id", "_name") if field == "activity_id" else field[:-3]] != caption: errors.append(f"{field}: {caption}")
    if errors: bad += 1; print(e["metadata"]["version"], e["metadata"]["event_code"], e["class_uid"], errors)
sys.exit(bad != 0)
"#;

#[test]
fn every_line_is_valid_by_the_schema_of_every_version() {
    let python = std::env::var_os("EDGEGUARD_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let imports = Command::new(&python).args(["-c", "import jsonschema, ocsf_json_schema"]).stderr(Stdio::null()).status();
    if !imports.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "Python with `jsonschema` and `ocsf-json-schema` is needed");
        eprintln!("skipped: needs `pip install ocsf-json-schema==1.2.0 jsonschema==4.26.0` (EDGEGUARD_TEST_PYTHON names the Python)");
        return;
    }
    let mut all = lines();
    for version in OcsfVersion::ALL {
        let encoder = Encoder::new(exporter(), Form::Ocsf(version));
        all.extend(events().into_iter().zip(0..).map(|(event, frame)| encoder.event(&item(frame, event)).line));
        all.extend(gaps(&encoder));
        all.push(checkpoint(&encoder));
        let every = INTERFACES.iter().flat_map(|interface| interface.functions.iter().map(|function| (interface.name, *function)));
        for (interface, function) in every {
            let path: Option<&[u8]> = Some(b"a/b");
            for call in [call(interface, function, Outcome::Ok, path), call(interface, function, Outcome::Error, None)] {
                all.extend(encoder.call(&item(1, call)).map(|entry| entry.line));
            }
        }
        // What had to be cut is valid too.
        let long = Event::PolicyRefused { file: "f".into(), reason: "x".repeat(50_000) };
        let grants = Event::GrantsGiven { module: "m".into(), dirs: vec!["d".repeat(200); 300], graphs: Vec::new() };
        for event in [long, grants] {
            let line = encoder.event(&item(2, event)).line;
            assert!(line.len() <= MAX_LINE && line.contains("\"is_truncated\":true"), "{version}: {}", line.len());
            all.push(line);
        }
    }
    let lines = all;
    let (valid, said) = validate(&python, &lines);
    assert!(valid, "{said}");
    // The check itself can fail.
    let without_file = lines.iter().find(|line| line.contains("\"class_uid\":1001")).unwrap().replace("\"file\":", "\"files\":");
    let other_type = lines[0].replace("\"type_uid\":600203", "\"type_uid\":600204");
    for broken in [without_file, other_type] {
        assert!(!validate(&python, &[broken]).0);
    }
}

fn validate(python: &std::ffi::OsStr, lines: &[String]) -> (bool, String) {
    let mut validator = Command::new(python).args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    validator.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let output = validator.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}
