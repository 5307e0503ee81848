//! The journal as an operator and an auditor read it, while the daemon writes it and afterwards: search, stats, the question to the daemon.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::process::Output;
use std::process::Stdio;

use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;
use serde_json::Value;

/// Opens a file that is there, and asks for one outside its directory.
fn reader() -> Vec<u8> {
    guest(
        r#"(data (i32.const 1024) "file") (data (i32.const 1040) "../secret")
        (func (export "_start")
          (drop (call $open (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 0) (i64.const 2)))
          (drop (call $open (i32.const 3) (i32.const 1040) (i32.const 9) (i32.const 0) (i64.const 2))))"#,
    )
}

/// A house in which `reads` has run twice and `quiet` once; the daemon runs.
fn house() -> House {
    let mut house = House::new();
    let dir = house.dir("data");
    fs::write(dir.join("file"), "0123456789").unwrap();
    house.install(&Policy::new("reads").read("/data", &dir), &reader());
    house.install(&Policy::new("quiet"), &guest(r#"(func (export "_start"))"#));
    house.start();
    house.run("reads");
    house.run("reads");
    house.run("quiet");
    // The last end of an invocation is nobody's to wait for; it reaches the journal within its second.
    until("the ends of three invocations", || (house.events("invocation-ended").len() == 3).then_some(()));
    house
}

fn audit(house: &House, args: &[&str]) -> Output {
    house.cli(&["audit"]).args(args).arg("--dir").arg(house.state().join("audit")).output().unwrap()
}

#[track_caller]
fn said(house: &House, args: &[&str]) -> String {
    let output = audit(house, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_search_finds_what_guests_did_and_what_they_were_denied() {
    let mut house = house();
    for round in ["while the daemon writes", "afterwards"] {
        let opens = lines(&said(&house, &["search", "--json", "module=reads", "and", "call=path_open", "and", "since=1h"]));
        assert_eq!(opens.len(), 4, "{round}: {opens:?}");
        let denied = lines(&said(&house, &["search", "--json", "deny and module=reads and text~secret"]));
        assert_eq!(denied.len(), 2, "{round}: {denied:?}");
        assert!(denied.iter().all(|entry| entry["event"]["denied"]["text"] == "../secret"));
        assert_eq!(said(&house, &["search", "call and module=quiet", "--count"]), "0\n");
        assert_eq!(said(&house, &["search", "kind=invocation-ended and module=quiet", "--count"]), "1\n");
        // One of the two invocations, by its worker.
        let instance = opens[0]["call"]["instance"].as_str().unwrap();
        let of_one = format!("call=path_open and outcome=ok and instance={instance}");
        assert!(matches!(said(&house, &["search", &of_one, "--count"]).as_str(), "1\n" | "2\n"));
        // A search, a tail and an entry's own page say the same.
        let position = denied[0]["position"].as_str().unwrap();
        let shown: Value = serde_json::from_str(&said(&house, &["show", position, "--json"])).unwrap();
        assert_eq!(shown, denied[0], "{round}");
        if house.is_up() {
            assert!(house.stop().success());
        }
    }
}

#[test]
fn stats_count_what_ran() {
    let mut house = house();
    assert!(house.stop().success());
    let stats: Value = serde_json::from_str(&said(&house, &["stats", "--json"])).unwrap();
    let accounts = &stats["accounts"];
    assert_eq!((&accounts["invocations"], &accounts["missing"], &accounts["lost"]), (&3.into(), &0.into(), &0.into()), "{stats}");
    assert_eq!(accounts["produced"], accounts["recorded"]);
    assert_eq!(stats["calls"]["entries"], accounts["recorded"], "what workers say they made is what the journal holds: {stats}");
    assert_eq!((&stats["modules"]["reads"]["invocations"], &stats["modules"]["reads"]["denials"]), (&2.into(), &2.into()));
    assert_eq!(stats["seals"]["open_frames"], 0, "{stats}");
    assert!(said(&house, &["stats"]).contains("none missing"));
}

#[test]
fn tail_follows_one_module_and_its_denials_only() {
    let house = house();
    let dir = house.state().join("audit");
    let mut command = house.cli(&["audit", "tail", "-f", "-n", "0", "--deny", "--json", "--module", "reads", "--dir"]);
    let mut tail = command.arg(dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(tail.stdout.take().unwrap());
    house.run("quiet");
    house.run("reads");
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let entry: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&entry["event"]["denied"]["module"], &entry["event"]["denied"]["text"]), (&"reads".into(), &"../secret".into()));
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn the_running_daemon_answers_for_its_journal_and_another_nonce_is_another_question() {
    let mut house = house();
    let (key, note) = (house.path("journal.key"), house.path("answer.note"));
    fs::write(&key, said(&house, &["checkpoint", "--key"])).unwrap();
    let answer = house.cli(&["audit", "attest"]).output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
    fs::write(&note, &answer.stdout).unwrap();
    let asked = String::from_utf8(answer.stderr).unwrap();
    let nonce = asked.lines().find_map(|line| line.strip_prefix("nonce ")).unwrap();
    assert_eq!(nonce.len(), 64);

    let verify = |nonce: &str| {
        let args = ["verify", "--attest", note.to_str().unwrap(), "--nonce", nonce, "--key", key.to_str().unwrap()];
        audit(&house, &args)
    };
    let good = verify(nonce);
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success() && text.starts_with("ok: ") && text.contains("\nanchored frames 0 to "), "{text}");
    let other = verify(&"ab".repeat(32));
    assert_eq!(other.status.code(), Some(7), "{}", String::from_utf8_lossy(&other.stdout));

    // Both at once. Then with the end of the journal put back to what it was: only the daemon knows.
    let live = said(&house, &["verify", "--live", "--key", key.to_str().unwrap()]);
    assert!(live.starts_with("ok: "), "{live}");
    assert!(house.stop().success());
    let gone = audit(&house, &["verify", "--live"]);
    assert_eq!(gone.status.code(), Some(2), "a daemon that does not run cannot be asked");
    // The answer still holds for what came before it.
    let args = ["verify", "--attest", note.to_str().unwrap(), "--nonce", nonce];
    assert!(said(&house, &args).starts_with("ok: "));
}

#[test]
fn a_journal_put_back_to_an_older_state_does_not_pass_the_question() {
    let house = house();
    let older = house.path("older");
    copy(&house.state().join("audit"), &older);
    house.run("reads");
    let answer = house.cli(&["audit", "attest", "--nonce", &"5f".repeat(32)]).output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
    let note = house.path("answer.note");
    fs::write(&note, &answer.stdout).unwrap();
    let verify = |args: &[&str]| house.cli(&["audit", "verify", "--json", "--dir"]).arg(&older).args(args).output().unwrap();
    // By itself there is nothing wrong with it; at most it ends where a crash could have ended it.
    let alone = verify(&[]);
    assert!(matches!(alone.status.code(), Some(0 | 6)), "{}", String::from_utf8_lossy(&alone.stdout));
    let asked = verify(&["--attest", note.to_str().unwrap(), "--nonce", &"5f".repeat(32)]);
    let found: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!((asked.status.code(), found["verdict"].as_str()), (Some(7), Some("tampered")), "{found}");
    assert_eq!(found["place"], "the answer", "{found}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() { copy(&from, &to) } else { assert!(fs::copy(from, to).is_ok()) }
    }
}
