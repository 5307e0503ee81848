//! Names that are erased on an administrator's word: gone from the journal's files, and the journal is whole.
//!
//! Runs in: tests, with the real daemon, journal and command line, and the second verifier.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Policy;
use edgeguard_tests::house::as_user;
use serde_json::Value;

/// Opens a patient's file, and asks for one that it may not have.
const CURIOUS: &str = r#"
(data (i32.const 1024) "patients/meier.txt") (data (i32.const 1056) "../huber.txt")
(func (export "_start")
  (if (call $open (i32.const 3) (i32.const 1024) (i32.const 18) (i32.const 0) (i64.const 2)) (then (call $proc_exit (i32.const 21))))
  (if (i32.eqz (call $open (i32.const 3) (i32.const 1056) (i32.const 12) (i32.const 0) (i64.const 2))) (then (call $proc_exit (i32.const 22)))))"#;

fn house() -> House {
    let mut house = House::new();
    let dir = house.dir("data");
    fs::create_dir(dir.join("patients")).unwrap();
    fs::write(dir.join("patients/meier.txt"), "well again").unwrap();
    house.install(&Policy::new("curious").read("/data", &dir), &guest(CURIOUS));
    house.start();
    assert_eq!(house.invoke("curious").code, Some(0));
    house
}

fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => holds(&path, text),
        false => fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes()),
    })
}

fn erase(house: &House, args: &[&str]) -> Value {
    let out = house.cli(&[&["audit", "erase", "--json"], args].concat()).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn what_an_administrator_erases_is_gone_while_the_daemon_runs_and_the_journal_is_whole() {
    let mut house = house();
    let journal = house.state().join("audit");
    assert!(holds(&journal, "huber"), "a denial is on the disk, with its name");
    let would = erase(&house, &["--under", "patients", "--name", "../huber.txt", "--reason", "asked for", "--dry-run"]);
    assert!(holds(&journal, "huber") && would["names"].as_u64().unwrap() >= 4, "{would}");
    let erased = erase(&house, &["--under", "patients", "--name", "../huber.txt", "--reason", "asked for"]);
    assert_eq!(erased["names"], would["names"]);
    for name in ["meier", "huber"] {
        assert!(!holds(&journal, name), "{name}");
    }
    // It runs on, and what is named from now on is on record.
    assert_eq!(house.invoke("curious").code, Some(0));
    house.stop();
    let opened = house.calls("path_open");
    let texts: Vec<&str> = opened.iter().map(|entry| entry["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["(erased)", "patients/meier.txt"]);
    assert_eq!(house.events("denied")[0]["text"], "(erased)");
    let (code, found) = house.verify();
    assert_eq!((code, &found["erased"]), (Some(0), &erased["names"]), "{found}");
    let out = house.cli(&["audit", "tail", "-n", "1000", "--dir"]).arg(&journal).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains("names were erased for user 0: asked for"));
}

#[test]
fn who_is_no_administrator_erases_nothing_and_a_wish_without_a_reason_is_refused() {
    let mut house = house();
    let mut command = house.cli(&["audit", "erase", "--name", "../huber.txt", "--reason", "mine"]);
    as_user(&mut command, 65_533);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    for (body, status) in [
        (&b"{\"names\":[\"../huber.txt\"]}"[..], 400),
        (b"{\"names\":[\"../huber.txt\"],\"reason\":\" \"}", 400),
        (b"{\"reason\":\"x\"}", 400),
        (b"{\"under\":[\"\"],\"reason\":\"x\"}", 400),
        (b"{\"names\":[\"../huber.txt\"],\"reason\":\"x\",\"all\":true}", 400),
        (b"\xff", 400),
    ] {
        assert_eq!(house.request("POST", "/v1/journal/erase", &[], body).status, status);
    }
    house.stop();
    assert!(holds(&house.state().join("audit"), "huber"));
    assert!(house.events("control-refused").iter().any(|event| event.to_string().contains("/v1/journal/erase")));
}
