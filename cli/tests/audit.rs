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
use edgeguard_audit::Keys;
use edgeguard_audit::OpenFlags;
use edgeguard_audit::Options;
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
        took_ns: 6144,
        n_in: OpenFlags::READ.to_number(),
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
    assert!(lines[3].contains("call     `voice-gate` path_open `front\\u{1b}[2J.wav` handle 3 with read → ok by dir 1 6.1 µs"), "{all}");
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
fn tail_shows_one_worker_only() {
    let dir = journal();
    assert_eq!(stdout(dir.path(), &["tail", "--instance", "0199f1d2"]).lines().count(), 4);
    assert_eq!(stdout(dir.path(), &["tail", "--instance", "0199f1d2", "--deny", "--module", "camera"]).lines().count(), 1);
    assert_eq!(stdout(dir.path(), &["tail", "--instance", "0299"]), "");
}

/// What a person reads, without what is different each time.
fn still(text: &str) -> String {
    let stamp = |word: &str| word.len() >= 20 && word.ends_with('Z') && word.starts_with("20");
    let lines = text.lines().map(|line| line.split(' ').map(|word| if stamp(word) { "TIME" } else { word }).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn search_finds_what_an_expression_describes() {
    let dir = journal();
    let found = |expression: &[&str]| stdout(dir.path(), &[&["search"], expression].concat());
    insta::assert_snapshot!(still(&found(&["deny", "and", "module=camera", "and", "since=2h"])), @"TIME  DENIED   module `camera` was denied wasi_snapshot_preview1#path_open `/etc/shadow` (errno 76)");
    insta::assert_snapshot!(still(&found(&["call=path_open and not deny"])), @r"
    TIME  call     `voice-gate` path_open `front\u{1b}[2J.wav` handle 3 with read → ok by dir 1 6.1 µs
    TIME  call     `camera` path_open `front\u{1b}[2J.wav` handle 3 with read → ok by dir 1 6.1 µs
    ");
    assert_eq!(found(&["deny or call"]).lines().count(), 4);
    assert_eq!(found(&["call"]).lines().count(), 2, "a denied call is an event");
    assert_eq!(found(&["text=front*.wav"]).lines().count(), 2);
    assert_eq!(found(&["took>6us took<7us"]).lines().count(), 2);
    assert_eq!(found(&["event or journal"]).lines().count(), 6);
    assert_eq!(found(&["since=2100-01-01T00:00:00Z"]), "");
    assert_eq!(found(&["until=2020-01-01T00:00:00Z"]), "");
    assert_eq!(found(&["deny", "--count"]), "2\n");
    assert_eq!(found(&["deny", "-n", "1"]).lines().count(), 1);
    let all = found(&["event or call or journal", "--json"]);
    for line in all.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["time"].is_string() && (value["event"].is_object() || value["call"].is_object() || value["journal"].is_string()));
    }
    // The same entries in the same order as `tail` shows them.
    assert_eq!(found(&["event or call or journal"]), stdout(dir.path(), &["tail", "-n", "100"]));
}

#[test]
fn a_search_for_nonsense_says_where_it_is() {
    let output = run(Path::new("/nonexistent"), &["search", "deny and modul=voice-gate"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r"
    error: no field is called `modul`; did you mean `module`?
      deny and modul=voice-gate
               ^^^^^

    hint: `edgeguard audit search --help` lists words and fields
    ");
    assert_eq!(code(Path::new("/nonexistent"), &["search", "deny"]), Some(8));
    assert_eq!(code(Path::new("/nonexistent"), &["search"]), Some(2));
}

#[test]
fn a_search_goes_on_behind_damage_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new("m", "0199f1d2-7c00-7000-8000-000000000001".parse().unwrap(), [1; 32], [2; 32]);
    let (mut journal, _) = Journal::open(dir.path(), "gateway-7").unwrap();
    for round in 0..40u32 {
        let texts: Vec<Vec<u8>> = (0..200u32).map(|n| noise(round * 1000 + n)).collect();
        let batch: Vec<_> = texts.iter().map(|text| (record(Outcome::Ok), Some(text.as_slice()))).collect();
        journal.calls(&source, &batch).unwrap();
        journal.flush().unwrap();
    }
    journal.close().unwrap();
    let all: u64 = stdout(dir.path(), &["search", "call", "--count"]).trim().parse().unwrap();
    assert_eq!(all, 8000);
    let mut segments: Vec<_> = fs::read_dir(dir.path().join("d")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    assert!(segments.len() > 1, "the test needs more than one segment");
    let mut bytes = fs::read(&segments[0]).unwrap();
    // A header in the middle of the first segment.
    let at = bytes.windows(3).enumerate().filter(|(_, window)| window == b"EGJ").map(|(at, _)| at).nth(9).unwrap();
    bytes[at + 9] ^= 1;
    fs::write(&segments[0], bytes).unwrap();
    let output = run(dir.path(), &["search", "call", "--count"]);
    assert_eq!(output.status.code(), Some(7));
    let found: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(0 < found && found < all, "{found}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("damaged at 1 places"));
    assert_eq!(code(dir.path(), &["stats"]), Some(7));
}

/// A text that does not compress.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..120).flat_map(|_| next()).collect()
}

#[test]
fn stats_hold_what_was_made_against_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), "gateway-7").unwrap();
    let source = Source::new("camera", "0199f1d2-7c00-7000-8000-000000000001".parse().unwrap(), [1; 32], [2; 32]);
    journal.calls(&source, &vec![(record(Outcome::Ok), None::<&[u8]>); 900]).unwrap();
    let ended = |produced, exit_code| Event::InvocationEnded {
        id: "i".into(),
        module: "camera".into(),
        instance: source.instance().to_string(),
        outcome: "exited".into(),
        exit_code: Some(exit_code),
        detail: String::new(),
        records_produced: produced,
        records_recorded: 450,
        denied: 0,
        stalls: 2,
        run_ns: 1,
    };
    journal.event(&ended(450, 0)).unwrap();
    journal.event(&ended(450, 1)).unwrap();
    let mut denied = Event::denied(&source, 0, &record(Outcome::Denied), None);
    if let Event::Denied { count, .. } = &mut denied {
        *count = 7;
    }
    journal.event(&denied).unwrap();
    journal.close().unwrap();
    let text = stdout(dir.path(), &["stats"]);
    for part in [
        "origin      gateway-7\n",
        "calls       900 in ",
        "accounts    2 invocations: 900 calls produced, 900 recorded, none missing; guests waited 4 times; 0 lost\n",
        "sealed      no: the journal was written without keys\n",
        "module                   invocations   failed        calls    waits  denials\n",
        "camera                             2        1          900        4        7\n",
        "counted     900 calls, all, in 1 rows and ",
        "module                   call                                                 outcome         count      mean   longest  last\n",
        "camera                   wasi_snapshot_preview1#path_open                     ok                900   6144 ns   6144 ns",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let (mut journal, _) = Journal::open(dir.path(), "gateway-7").unwrap();
    journal.event(&ended(500, 0)).unwrap();
    drop(journal);
    let stats: serde_json::Value = serde_json::from_str(&stdout(dir.path(), &["stats", "--json"])).unwrap();
    assert_eq!((&stats["accounts"]["produced"], &stats["accounts"]["missing"]), (&1400.into(), &50.into()));
    assert_eq!((&stats["calls"]["entries"], &stats["events"]["entries"]), (&900.into(), &4.into()));
    assert!(stdout(dir.path(), &["stats"]).contains("50 MISSING"));
    let counted = &stats["counted"];
    assert_eq!((&counted["from"], &counted["to"], &counted["open"]), (&0.into(), &900.into(), &0.into()), "{counted}");
    let row = &counted["calls"][0];
    assert_eq!(
        (&row["module"], &row["call"], &row["outcome"], &row["count"]),
        (&"camera".into(), &"path_open".into(), &"ok".into(), &900.into())
    );
    assert_eq!(counted["calls"].as_array().unwrap().len(), 1, "{counted}");
    // With which flags files were opened is no size.
    assert_eq!((&row["n_in"], &row["n_out"]), (&0.into(), &0.into()));
}

#[test]
fn stats_say_what_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::load(&dir.path().join("keys"), None).unwrap();
    let audit = dir.path().join("audit");
    let (mut journal, _) = Journal::open_with(&audit, "gateway-7", Options::sealed(keys)).unwrap();
    journal.event(&Event::DaemonStopped { reason: "test".into() }).unwrap();
    let frames = journal.close().unwrap().frames;
    let stats: serde_json::Value = serde_json::from_str(&stdout(&audit, &["stats", "--json"])).unwrap();
    assert_eq!((&stats["seals"]["sealed_frames"], &stats["seals"]["open_frames"]), (&frames.into(), &0.into()), "{stats}");
    assert!(stats["seals"]["key"].as_str().is_some_and(|key| key.starts_with("gateway-7+")));
    assert!(stdout(&audit, &["stats"]).contains("anchored    nothing in the journal says so, for 0 s\n"));
}

#[test]
fn attest_needs_a_daemon_and_a_nonce_of_a_size() {
    let socket = ["--socket", "/nonexistent/socket"];
    let command = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_edgeguard")).arg("audit").args(args).args(socket).output().unwrap();
    let output = command(&["attest"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot reach the daemon"));
    assert_eq!(command(&["attest", "--nonce", "00"]).status.code(), Some(2));
    assert_eq!(command(&["verify", "--live"]).status.code(), Some(2));
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
fn tail_follows_over_the_turn_of_an_epoch_and_the_deletion_of_calls() {
    let dir = tempfile::tempdir().unwrap();
    let audit_dir = dir.path().join("audit");
    // The least that a budget comes to is a few segments, which are full soon with texts that do not compress.
    let options = Options { detail_budget: Some(8 << 20), ..Options::sealed(Keys::load(&dir.path().join("keys"), None).unwrap()) };
    let (mut journal, _) = Journal::open_with(&audit_dir, "gateway-7", options).unwrap();
    let mut tail = audit(&audit_dir, &["tail", "-f", "-n", "0", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let source = Source::new("m", "0199f1d2-7c00-7000-8000-000000000001".parse().unwrap(), [1; 32], [2; 32]);
    let out = tail.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let (mut calls, mut deleted, mut epochs) = (0, 0, 0);
        for line in BufReader::new(out).lines().map(Result::unwrap) {
            calls += u32::from(line.contains("\"call\":{"));
            deleted += u32::from(line.contains("was deleted"));
            epochs += u32::from(line.contains("of the signing key began"));
            if line.contains("the end of the test") {
                break;
            }
        }
        (calls, deleted, epochs)
    });
    // Whoever follows begins at the end: what is written before that is not followed.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let rounds = 120u32;
    for round in 0..rounds {
        let texts: Vec<Vec<u8>> = (0..200u32).map(|n| noise(round * 1000 + n)).collect();
        let batch: Vec<_> = texts.iter().map(|text| (record(Outcome::Ok), Some(text.as_slice()))).collect();
        journal.calls(&source, &batch).unwrap();
        journal.flush().unwrap();
        // A denial ends an epoch soon.
        journal.event(&Event::ControlRefused { peer_uid: 1, what: "x".into() }).unwrap();
        journal.commit().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    journal.event(&Event::DaemonStopped { reason: "the end of the test".into() }).unwrap();
    journal.close().unwrap();
    let (calls, deleted, epochs) = reading.join().unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(deleted > 0 && epochs > 1, "{deleted} deletions, {epochs} epochs");
    // Who reads slower than it is deleted misses calls, and nothing else; here there is time for all.
    assert!(calls > 0 && calls <= rounds * 200, "{calls}");
}

#[test]
fn show_finds_each_entry_by_its_id_and_by_its_place() {
    let dir = journal();
    let lines = stdout(dir.path(), &["export"]);
    assert!(lines.lines().count() > 3);
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let uid = value["metadata"]["uid"].as_str().unwrap();
        let place = value["metadata"]["original_event_uid"].as_str().unwrap().strip_prefix("gateway-7/").unwrap();
        let shown = stdout(dir.path(), &["show", uid, "--json"]);
        assert_eq!(shown, stdout(dir.path(), &["show", place, "--json"]));
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["position"], place);
        // The same frame and place in another journal.
        let other = uid.split_at(24).0.to_owned() + "000000000000";
        assert_eq!(code(dir.path(), &["show", &other]), Some(2), "{other}");
    }
    for nonsense in ["", "1/2", "no-id", "6fa459ea-ee8a-4ca4-894e-db77e160355e"] {
        let output = run(dir.path(), &["show", nonsense]);
        assert_eq!(output.status.code(), Some(2), "{nonsense}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("expected the `metadata.uid`"), "{nonsense}");
    }
    assert_eq!(code(dir.path(), &["show", "0/999/0"]), Some(2));
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
    assert!(text.starts_with("ok-unsealed: every frame is there"), "{text}");
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
