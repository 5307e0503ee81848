//! Trust on a stick: revocation reaches a running gateway, a list that ran out keeps new modules out and no known one, and floors that were touched are noticed.
//!
//! Runs in: tests, with the real daemon and the real `edgeguard trust import`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

#[path = "../../attest/tests/support/tuf.rs"]
mod tuf;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::process::Stdio;
use std::time::SystemTime;

use edgeguard_attest::Time;
use edgeguard_attest::TrustedKey;
use edgeguard_tests::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::skip;
use edgeguard_tests::house::until;
use edgeguard_tests::policy::Policy;
use serde_json::Value;
use serde_json::json;
use tuf::Tuf;

/// So many seconds from now.
fn from_now(seconds: i64) -> String {
    Time(Time::from(SystemTime::now()).0 + seconds).to_string()
}

const DAYS: i64 = 86_400;

/// A list of this number that holds for so many seconds.
fn list(number: u64, seconds: i64, revoked: Value) -> String {
    json!({ "version": 1, "list": number, "issued": from_now(-60), "expires": from_now(seconds), "revoked": revoked }).to_string()
}

/// Who makes the packs of a house.
struct Operator {
    tuf: Tuf,
}

impl Operator {
    fn new() -> Self {
        let mut tuf = Tuf::new();
        tuf.timestamp_expires = from_now(90 * DAYS);
        Self { tuf }
    }

    /// Brings the next pack, with this list: it must be taken.
    fn brings(&mut self, house: &House, list: String) {
        let output = self.tries(house, list);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn tries(&mut self, house: &House, list: String) -> std::process::Output {
        self.tuf.bump();
        self.tuf.targets.insert("revocations.json".into(), list.into_bytes());
        let stick = house.path("stick");
        let _ = fs::remove_dir_all(&stick);
        self.tuf.write(&stick);
        let root = house.path("root.json");
        fs::write(&root, self.tuf.root()).unwrap();
        house.import(&stick, Some(&root))
    }
}

fn key_id(house: &House, name: &str) -> String {
    TrustedKey::from_pem(&fs::read(house.path(name).with_extension("pub")).unwrap()).unwrap().id().to_string()
}

/// A guest that runs until its input ends.
fn waiting(house: &House, name: &str) -> Child {
    let mut command = house.cli(&["invoke", name, "--json"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    house.wait_for_event("invocation-started", |event| event["module"] == name);
    child
}

/// Lets it end, and gives what came of it.
fn ends(mut child: Child, input: &[u8]) -> Value {
    // It may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_revoked_key_is_refused_without_a_reload_and_what_runs_may_end() {
    let mut house = House::new();
    let mut operator = Operator::new();
    house.install(&Policy::new("cat"), &guest::cat());
    house.keygen("lab");
    house.install(&Policy::new("other").with(|policy| policy.key = "lab".into()), &guest::empty());
    fs::remove_file(house.bundle("other")).unwrap();
    house.sign(&house.module("other"), "lab");
    house.start();
    house.admits("other");
    let running = waiting(&house, "cat");

    operator.brings(&house, list(7, 30 * DAYS, json!([{ "key": key_id(&house, "acme"), "reason": "laptop was stolen" }])));
    until("the daemon to take the import up", || (house.module_status("cat")["state"] == "refused").then_some(()));
    house.refuses("cat", "EG3006", &["laptop was stolen", "list 7"]);
    house.admits("other");
    let changed = house.wait_for_event("trust-changed", |event| event["revocation_list"] == 7);
    assert_eq!(changed["new_modules_refused"], false);
    assert_eq!(house.status()["trust"]["revocation_list"], 7);

    let ended = ends(running, b"to the end");
    assert_eq!((ended["stdout"].as_str(), ended["ending"]["outcome"].as_str()), (Some("to the end"), Some("exited")), "{ended}");
    house.stop();
    house.start();
    house.refuses("cat", "EG3006", &["laptop was stolen"]);
}

#[test]
fn a_module_that_is_taken_back_with_the_word_to_stop_is_ended_at_once() {
    let mut house = House::new();
    let mut operator = Operator::new();
    house.install(&Policy::new("cat"), &guest::cat());
    house.start();
    let digest = house.admits("cat")["detail"]["digest"].clone();
    let running = waiting(&house, "cat");
    operator.brings(&house, list(1, 30 * DAYS, json!([{ "digest": digest, "reason": "leaks its input", "stop": true }])));
    house.reload();
    // Its input is still open, and its deadline is far.
    let output = running.wait_with_output().unwrap();
    let ended: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(ended["ending"]["outcome"], "killed", "{ended}");
    house.refuses("cat", "EG3006", &["leaks its input"]);
    assert!(house.children_named("edgeguard-worker").is_empty(), "its worker is still there");
    assert!(house.is_up());
}

/// Whoever removes a policy and then hears of the hole must not have to wait for what still runs.
#[test]
fn a_module_whose_policy_is_gone_is_stopped_too() {
    let mut house = House::new();
    let mut operator = Operator::new();
    house.install(&Policy::new("cat"), &guest::cat());
    house.start();
    let digest = house.admits("cat")["detail"]["digest"].clone();
    let running = waiting(&house, "cat");
    fs::remove_file(house.path("policy.d/cat.toml")).unwrap();
    house.reload();
    assert!(house.module_status("cat").is_null());
    assert!(!house.children_named("edgeguard-worker").is_empty(), "what runs may end");
    operator.brings(&house, list(1, 30 * DAYS, json!([{ "digest": digest, "reason": "leaks its input", "stop": true }])));
    house.reload();
    let output = running.wait_with_output().unwrap();
    let ended: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(ended["ending"]["outcome"], "killed", "{ended}");
}

/// Nobody reloads: the daemon looks at its clock.
#[test]
fn a_release_that_runs_out_admits_no_more_and_what_runs_may_end() {
    let mut house = House::new();
    house.put_policy(&Policy::new("cat").with(|policy| policy.deadline = "90 s".into()));
    let module = house.put_module("cat", &guest::cat());
    let expires = from_now(20);
    house.sign_with("acme", &["--statement", "release", "--name", "cat", "--version", "1", "--expires", &expires], &module);
    house.start();
    house.admits("cat");
    let running = waiting(&house, "cat");
    until("the release to run out", || (house.module_status("cat")["state"] == "refused").then_some(()));
    house.refuses("cat", "EG5006", &["expires"]);
    let ended = ends(running, b"to the end");
    assert_eq!((ended["stdout"].as_str(), ended["ending"]["outcome"].as_str()), (Some("to the end"), Some("exited")), "{ended}");
}

#[test]
fn a_list_about_to_run_out_is_warned_of_and_one_that_has_keeps_new_modules_out_and_no_known_one() {
    let mut house = House::new();
    let mut operator = Operator::new();
    house.install(&Policy::new("known"), &guest::empty());
    house.start();
    house.admits("known");
    operator.brings(&house, list(1, 3 * DAYS, json!([])));
    house.reload();
    let trust = house.status()["trust"].clone();
    assert!(trust["freshness"].as_str().is_some_and(|text| text.contains("revocation list runs out")), "{trust}");
    assert_eq!(trust["new_modules_refused"], false);
    assert_eq!(house.trust_status().0, Some(0));

    operator.brings(&house, list(2, 5, json!([])));
    until("the list to run out", || (house.status()["trust"]["new_modules_refused"] == true).then_some(()));
    assert_eq!(house.trust_status().0, Some(1), "for monitoring");
    house.install(&Policy::new("new"), &guest::guest(r#"(func (export "_start") (call $say (i32.const 1)))"#));
    house.reload();
    house.refuses("new", "EG5002", &["revocation list", "edgeguard trust import"]);
    house.admits("known");
    for end in [House::stop, House::kill] {
        end(&mut house);
        house.start();
        house.refuses("new", "EG5002", &["revocation list"]);
        house.admits("known");
    }
    // What is not fresh may still take back.
    operator.brings(&house, list(3, 30 * DAYS, json!([{ "module": "known", "belowVersion": 2, "reason": "a hole" }])));
    house.reload();
    house.admits("new");
    house.refuses("known", "EG3006", &["a hole"]);
}

#[test]
fn an_import_that_is_refused_changes_nothing_for_the_gateway() {
    let mut house = House::new();
    let mut operator = Operator::new();
    house.install(&Policy::new("plain"), &guest::empty());
    operator.brings(&house, list(5, 30 * DAYS, json!([])));
    house.start();
    house.admits("plain");
    for (list, timestamp, code) in [
        (list(4, 30 * DAYS, json!([])), 90 * DAYS, "EG5004"),
        (list(6, 30 * DAYS, json!([])), -30, "EG5002"),
        ("{}".to_owned(), 90 * DAYS, "EG2015"),
    ] {
        operator.tuf.timestamp_expires = from_now(timestamp);
        let output = operator.tries(&house, list);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(code), "expected {code}: {said}");
    }
    house.reload();
    house.admits("plain");
    assert_eq!(house.status()["trust"]["revocation_list"], 5);
}

#[test]
fn a_host_that_requires_a_list_admits_nothing_new_without_one() {
    let mut house = House::new();
    house.host_adds("[trust]\nrevocations = \"required\"\n");
    house.install(&Policy::new("plain"), &guest::empty());
    house.start();
    house.refuses("plain", "EG5002", &["revocation list", "edgeguard trust import"]);
    assert_eq!(house.status()["trust"]["new_modules_refused"], true);
    Operator::new().brings(&house, list(1, 30 * DAYS, json!([])));
    house.reload();
    house.admits("plain");
}

#[test]
fn floors_that_were_changed_on_the_disk_admit_nothing_and_what_runs_goes_on() {
    let mut house = House::new();
    house.install(&Policy::new("plain"), &guest::empty());
    house.start();
    house.admits("plain");
    let floors = house.state().join("trust/floors");
    let good = fs::read(&floors).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&floors, &bad).unwrap();

    // The daemon sees it by itself, and says so; nothing is loaded by what cannot be believed.
    house.wait_for_event("trust-changed", |event| event["freshness"].as_str().is_some_and(|text| text.contains("EG5005")));
    assert_eq!(house.status()["trust"]["error"]["code"], "EG5005");
    house.admits("plain");
    // A reload judges anew, and cannot.
    house.reload();
    house.refuses("plain", "EG5005", &["MAC", "edgeguard trust status"]);
    assert_eq!(house.trust_status().0, Some(3));
    house.stop();
    house.start();
    house.refuses("plain", "EG5005", &["MAC"]);
    // Put right, it is as before: nobody has to begin anew for it.
    fs::write(&floors, &good).unwrap();
    house.reload();
    house.admits("plain");
}

/// Where there is a TPM, its own tests are held against an emulator of one.
#[test]
fn a_host_whose_tpm_is_away_admits_nothing() {
    if Path::new("/dev/tpmrm0").exists() {
        return skip("there is a TPM here");
    }
    let mut house = House::new();
    house.host_adds("[trust]\ncounter = \"tpm\"\n");
    house.install(&Policy::new("plain"), &guest::empty());
    house.start();
    house.refuses("plain", "EG5005", &["TPM", "/dev/tpmrm0"]);
    assert_eq!(house.status()["trust"]["error"]["code"], "EG5005");
}
