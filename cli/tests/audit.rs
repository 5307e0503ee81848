//! `edgeguard audit` on real journals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::Outcome;
use edgeguard_audit::Record;
use edgeguard_audit::Source;
use edgeguard_audit::boottime_ns;
use edgeguard_audit::call_id;
use tempfile::TempDir;

fn audit(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeguard"));
    command.arg("audit").args(args).arg("--dir").arg(dir);
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    audit(dir, args).output().unwrap()
}

fn stdout(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn code(dir: &Path, args: &[&str]) -> Option<i32> {
    run(dir, args).status.code()
}

fn record(outcome: Outcome) -> Record {
    Record {
        time_ns: boottime_ns(),
        call: call_id("wasi_snapshot_preview1", "path_open").unwrap(),
        outcome,
        flags: 0,
        errno: if outcome == Outcome::Denied { 76 } else { 0 },
        rule: 1,
        handle: 3,
        took_ns: 6100,
        n_in: 0,
        n_out: 0,
    }
}

/// A journal with two modules, a denial and a path that would clear a terminal.
fn journal() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), "gateway-7").unwrap();
    journal.event(&Event::DaemonStarted { version: "0.1.0".into(), pid: 7 }).unwrap();
    for module in ["voice-gate", "camera"] {
        let source = Source::new(module, "0199f1d2-7c00-7000-8000-000000000001".parse().unwrap(), [1; 32], [2; 32]);
        let denied = record(Outcome::Denied);
        let batch = [(record(Outcome::Ok), Some(b"front\x1b[2J.wav".as_slice())), (denied, Some(b"/etc/shadow".as_slice()))];
        journal.calls(&source, &batch).unwrap();
        journal.event(&Event::denied(&source, 0, &denied, Some(b"/etc/shadow"))).unwrap();
    }
    journal.close().unwrap();
    dir
}

#[test]
fn tail_prints_the_last_entries_one_a_line() {
    let dir = journal();
    let all = stdout(dir.path(), &["tail", "-n", "100"]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 8, "{all}");
    assert!(lines[0].contains("journal  begun by `gateway-7`"), "{all}");
    assert!(lines[2].contains("event    daemon started: release 0.1.0, process 7"), "{all}");
    assert!(lines[3].contains("call     `voice-gate` path_open `front\\u{1b}[2J.wav` handle 3 → ok by dir 1 6.1 µs"), "{all}");
    assert!(
        lines[4].contains("DENIED   module `voice-gate` was denied wasi_snapshot_preview1#path_open `/etc/shadow` (errno 76)"),
        "{all}"
    );
    assert!(lines[7].contains("closed: 3 events, 4 calls"), "{all}");
    assert_eq!(stdout(dir.path(), &["tail", "-n", "2"]).lines().collect::<Vec<_>>(), lines[6..]);
}

#[test]
fn tail_shows_only_what_is_asked_for() {
    let dir = journal();
    let denied = stdout(dir.path(), &["tail", "--deny", "--module", "camera"]);
    assert_eq!(denied.lines().count(), 1, "{denied}");
    assert!(denied.contains("`camera` was denied"));
    assert_eq!(stdout(dir.path(), &["tail", "--events", "--module", "voice-gate"]).lines().count(), 1);
    for line in stdout(dir.path(), &["tail", "--json", "-n", "100"]).lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }
}

#[test]
fn tail_follows_what_is_written() {
    let dir = journal();
    let mut tail = audit(dir.path(), &["tail", "-f", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("closed"));
    let (mut journal, _) = Journal::open(dir.path(), "gateway-7").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("it had been closed in order"));
    for pid in 0..3 {
        journal.event(&Event::DaemonStarted { version: "0.1.0".into(), pid }).unwrap();
        assert!(lines.next().unwrap().unwrap().contains(&format!("process {pid}")));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_ends_an_export_without_a_complaint() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), "gateway-7").unwrap();
    let source = Source::new("m", "0199f1d2-7c00-7000-8000-000000000001".parse().unwrap(), [1; 32], [2; 32]);
    journal.calls(&source, &vec![(record(Outcome::Ok), None::<&[u8]>); 20_000]).unwrap();
    drop(journal);
    let mut export = audit(dir.path(), &["export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(export.stdout.take());
    let output = export.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn verify_says_with_its_exit_code_what_it_found() {
    let dir = journal();
    let text = stdout(dir.path(), &["verify"]);
    assert!(text.starts_with("ok: every frame is there"), "{text}");
    assert!(text.contains("calls    4\n") && text.contains("events   3, 2 of them denials\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&stdout(dir.path(), &["verify", "--json"])).unwrap();
    assert_eq!((&json["verdict"], &json["records"]), (&"ok".into(), &4.into()));

    let leaves = dir.path().join("leaves");
    let whole = fs::read(&leaves).unwrap();
    fs::write(&leaves, &whole[..whole.len() - 32]).unwrap();
    assert_eq!(code(dir.path(), &["verify"]), Some(6));
    fs::write(&leaves, &whole).unwrap();

    let segment = fs::read_dir(dir.path().join("s")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[300] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let output = run(dir.path(), &["verify"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("TAMPERED: `s/seg-0000000000000000.egl`, byte"));
    assert_eq!(code(dir.path(), &["verify", "--json"]), Some(7));
    assert_eq!(code(dir.path(), &["export"]), Some(7));

    assert_eq!(code(Path::new("/nonexistent"), &["verify"]), Some(8));
    assert_eq!(code(Path::new("/nonexistent"), &["tail"]), Some(8));
}

#[test]
fn export_writes_one_line_for_each_entry_since_a_time() {
    let dir = journal();
    let lines = stdout(dir.path(), &["export", "--format", "ocsf"]);
    let classes: Vec<u64> =
        lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["class_uid"].as_u64().unwrap()).collect();
    assert_eq!(classes, [6002, 1001, 1001, 1001, 1001]);
    assert_eq!(stdout(dir.path(), &["export", "--events"]).lines().count(), 3);
    assert_eq!(stdout(dir.path(), &["export", "--since", "1h"]), lines);
    assert_eq!(stdout(dir.path(), &["export", "--since", "2100-01-01T00:00:00Z"]), "");
    assert_eq!(code(dir.path(), &["export", "--since", "yesterday"]), Some(2));
}
