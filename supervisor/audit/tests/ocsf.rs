//! Exported lines: as they were, within their length, and valid by the schema.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use edgeguard_audit::Event;
use edgeguard_audit::INTERFACES;
use edgeguard_audit::MAX_LINE;
use edgeguard_audit::Ocsf;
use edgeguard_audit::Outcome;
use edgeguard_audit::Position;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::call_id;
use edgeguard_audit::read::Call;
use edgeguard_audit::read::Item;
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
        Event::InvocationStarted { id: text("inv-1"), module: text("voice-gate"), instance: text("w-1"), peer_uid: 1000 },
        Event::InvocationEnded {
            id: text("inv-1"),
            module: text("voice-gate"),
            instance: text("w-1"),
            outcome: text("limit"),
            exit_code: None,
            detail: text("deadline"),
            records_produced: 812,
            records_recorded: 812,
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
            errno: 76,
            call_ns: 5,
        },
        Event::Denied {
            module: text("voice-gate"),
            instance: text("w-1"),
            ring: 0,
            call: text("wasi_ephemeral_nn#load_by_name"),
            text: Some(text("other")),
            errno: 11,
            call_ns: 5,
        },
        Event::RingCorrupt {
            module: text("voice-gate"),
            instance: text("w-1"),
            ring: 1,
            reason: text("its head is at slot 9 while 10 slots were taken"),
        },
        Event::ControlRefused { peer_uid: 1001, what: text("POST /v1/reload") },
    ]
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

fn lines() -> Vec<String> {
    let exporter = exporter();
    let mut lines: Vec<String> = events().into_iter().zip(0..).map(|(event, frame)| exporter.event(&item(frame, event))).collect();
    let calls = [
        call("wasi_snapshot_preview1", "path_open", Outcome::Ok, Some(b"front-door.wav")),
        call("wasi_snapshot_preview1", "fd_read", Outcome::Ok, None),
        call("wasi:filesystem/types", "[method]descriptor.open-at", Outcome::Error, Some(b"sub/\xff\x1b[2J.wav")),
        call("wasi_snapshot_preview1", "clock_time_get", Outcome::Ok, None),
        call("wasi_ephemeral_nn", "load_by_name", Outcome::Ok, Some(b"vad")),
        call("wasi_ephemeral_nn", "compute", Outcome::Ok, None),
        call("wasi:nn/inference", "[method]graph-execution-context.compute", Outcome::Limit, None),
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

proptest! {
    #[test]
    fn no_text_makes_a_line_too_long_or_breaks_it(text in proptest::collection::vec(any::<u8>(), 0..5000), long in any::<String>(), times in 1usize..2000) {
        let call = call("wasi_snapshot_preview1", "path_open", Outcome::Ok, Some(&text));
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
    }
}

/// Checks each line against the schema of its class, and what the schema does not say: that type and class agree.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
ocsf = get_ocsf_schema("1.8.0")
schemas, bad = OcsfJsonSchemaEmbedded(ocsf), 0
names = {c["uid"]: n for n, c in ocsf["classes"].items()}
for line in sys.stdin:
    e = json.loads(line)
    name = names[e["class_uid"]]
    schema = schemas.get_class_schema(name, e["metadata"]["profiles"])
    errors = [f"{list(x.path)}: {x.message}" for x in Draft202012Validator(schema).iter_errors(e)]
    if e["type_uid"] != e["class_uid"] * 100 + e["activity_id"]: errors.append("type_uid")
    attributes = ocsf["classes"][name]["attributes"]
    for field in ("activity_id", "severity_id", "status_id", "action_id", "disposition_id"):
        caption = attributes[field]["enum"][str(e[field])]["caption"]
        if e[field] != 99 and e[field.replace("_id", "_name") if field == "activity_id" else field[:-3]] != caption: errors.append(f"{field}: {caption}")
    if errors: bad += 1; print(e["metadata"]["event_code"], e["class_uid"], errors)
sys.exit(bad != 0)
"#;

#[test]
fn every_line_is_valid_by_the_schema() {
    let python = std::env::var_os("EDGEGUARD_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let imports = Command::new(&python).args(["-c", "import jsonschema, ocsf_json_schema"]).stderr(Stdio::null()).status();
    if !imports.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "Python with `jsonschema` and `ocsf-json-schema` is needed");
        eprintln!("skipped: needs `pip install ocsf-json-schema==1.2.0 jsonschema==4.26.0` (EDGEGUARD_TEST_PYTHON names the Python)");
        return;
    }
    let mut lines = lines();
    for interface in INTERFACES {
        for function in interface.functions {
            let path: Option<&[u8]> = Some(b"a/b");
            lines.extend(exporter().call(&item(1, call(interface.name, function, Outcome::Ok, path))));
            lines.extend(exporter().call(&item(1, call(interface.name, function, Outcome::Error, None))));
        }
    }
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
