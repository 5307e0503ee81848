//! Privacy classes: what a guest named under `hmac` or `drop` is nowhere that the service writes or says, and what is plain stays.
//!
//! Runs in: tests, with the real daemon, journal and command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod onnx;

use std::fs;
use std::path::Path;

use edgeguard_tests::guest::nn_guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Invoked;
use edgeguard_tests::house::Policy;
use serde_json::Value;

/// Opens a file twice, renames it there and back, asks three times for one that it may not have, and for a graph that is not granted. The names stand in
/// the module with every bit turned, as in a real one names are made and not written: what is found is the service's doing.
const CURIOUS: &str = r#"
(func $reveal (local $at i32)
  (local.set $at (i32.const 1024))
  (loop $next
    (i32.store8 (local.get $at) (i32.xor (i32.load8_u (local.get $at)) (i32.const 255)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $at) (i32.const 1152)))))
(func $read (if (call $open (i32.const 3) (i32.const 1024) (i32.const 17) (i32.const 0) (i64.const 2)) (then (call $proc_exit (i32.const 21))))
  (drop (call $fd_close (i32.load (i32.const 96)))))
(func $out (if (i32.eqz (call $open (i32.const 3) (i32.const 1056) (i32.const 14) (i32.const 0) (i64.const 2))) (then (call $proc_exit (i32.const 22)))))
(func (export "_start")
  (call $reveal) (call $read) (call $read)
  (if (call $path_rename (i32.const 3) (i32.const 1024) (i32.const 17) (i32.const 3) (i32.const 1120) (i32.const 12)) (then (call $proc_exit (i32.const 23))))
  (if (call $path_rename (i32.const 3) (i32.const 1120) (i32.const 12) (i32.const 3) (i32.const 1024) (i32.const 17)) (then (call $proc_exit (i32.const 24))))
  (call $out) (call $out) (call $out)
  (if (i32.eqz (call $load_by_name (i32.const 1088) (i32.const 11) (i32.const 100))) (then (call $proc_exit (i32.const 25)))))"#;

/// What of it is a secret, each in a call of another kind.
const SECRETS: [&str; 4] = ["anna-karenina", "vronsky", "levin-model", "oblonsky"];

fn curious() -> Vec<u8> {
    let names = [(1024, "anna-karenina.wav"), (1056, "../vronsky.wav"), (1088, "levin-model"), (1120, "oblonsky.wav")];
    let turned = |text: &str| text.bytes().map(|byte| format!("\\{:02x}", !byte)).collect::<String>();
    let data: String = names.iter().map(|(at, name)| format!("(data (i32.const {at}) \"{}\")", turned(name))).collect();
    nn_guest(&format!("{data}{CURIOUS}"))
}

fn install(house: &House, name: &str, classes: &str) {
    let dir = house.writable_dir(&format!("data-of-{name}"));
    fs::write(dir.join("anna-karenina.wav"), "a voice").unwrap();
    house.give_to_daemon(&dir);
    let model = house.path("models/model.onnx");
    fs::write(&model, onnx::identity(2)).unwrap();
    let policy = Policy::new(name).read_write("/data", &dir).graph("granted", &model);
    house.install(&policy, &curious());
    house.put_policy_text(name, &format!("{}{classes}", policy.text(house)));
}

fn run(house: &House, name: &str) -> Invoked {
    let ran = house.invoke(name);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran
}

/// Every file below a directory, with its bytes.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.is_file() {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    all
}

fn found_in(bytes: &[u8]) -> Vec<&'static str> {
    SECRETS.into_iter().filter(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes())).collect()
}

/// Everything that the service has written or says after the runs: (where, bytes). What is compressed in the journal is read by `audit`.
fn all_that_is_said(house: &mut House, ran: &[Invoked]) -> Vec<(String, Vec<u8>)> {
    let mut said: Vec<(String, Vec<u8>)> = ran.iter().map(|ran| ("the answer".to_owned(), format!("{ran:?}").into_bytes())).collect();
    said.push(("status".to_owned(), house.status().to_string().into_bytes()));
    house.stop();
    said.extend(files(house.state()));
    said.push(("the log".to_owned(), house.log().into_bytes()));
    for args in [
        &["audit", "export", "--dir"][..],
        &["audit", "tail", "-n", "1000000", "--dir"],
        &["audit", "tail", "--json", "-n", "1000000", "--dir"],
        &["audit", "stats", "--dir"],
        &["audit", "stats", "--json", "--dir"],
    ] {
        let out = house.cli(args).arg(house.state().join("audit")).output().unwrap();
        assert!(out.status.success() && !out.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        said.push((args.join(" "), out.stdout));
    }
    said
}

/// The texts of a module's calls of one function, and the form in which they are kept.
fn texts(journal: &[Value], module: &str, function: &str) -> Vec<(Option<String>, Option<String>)> {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let calls = journal.iter().map(|entry| &entry["call"]);
    calls
        .filter(|call| call["module"] == module && call["function"] == function)
        .map(|call| (word(&call["text"]), word(&call["text_class"])))
        .collect()
}

#[test]
fn what_a_guest_named_under_hmac_or_drop_is_in_no_file_and_in_no_answer() {
    let mut house = House::new();
    install(&house, "coded", "[audit]\npaths = \"hmac\"\ngraphs = \"hmac\"\n");
    install(&house, "dropped", "[audit]\npaths = \"drop\"\ngraphs = \"drop\"\n");
    house.start();
    let ran: Vec<Invoked> = ["coded", "dropped", "coded", "dropped"].into_iter().map(|name| run(&house, name)).collect();
    for (place, bytes) in all_that_is_said(&mut house, &ran) {
        assert_eq!(found_in(&bytes), <[&str; 0]>::default(), "{place}");
        if place.starts_with("audit export") {
            let text = String::from_utf8(bytes).unwrap();
            assert!(
                text.contains(r#""text_class":"hmac""#) && text.contains(r#""text_class":"drop""#),
                "a receiver is told what it does not see"
            );
        }
    }
    let (code, verified) = house.verify();
    assert_eq!(code, Some(0), "{verified}");
    let journal = house.journal();

    let opened = texts(&journal, "coded", "path_open");
    // Two good ones in each of two runs; those that were denied stand among the events.
    assert_eq!(opened.len(), 4, "{opened:?}");
    assert!(
        opened.iter().all(|(text, class)| text.as_ref().unwrap().starts_with("hmac:") && class.as_deref() == Some("hmac")),
        "{opened:?}"
    );
    let codes: std::collections::BTreeSet<_> = opened.iter().map(|(text, _)| text.clone().unwrap()).collect();
    assert_eq!(codes.len(), 1, "equal paths have equal codes, in both runs: {codes:?}");
    let renamed = texts(&journal, "coded", "path_rename");
    let parts: Vec<Vec<String>> =
        renamed.iter().map(|(text, _)| text.clone().unwrap().split("\\u{0}").map(str::to_owned).collect()).collect();
    assert!(parts.len() == 4 && parts[0].len() == 2 && parts[0][0] == parts[1][1] && parts[0][1] == parts[1][0], "{parts:?}");
    assert!(codes.contains(&parts[0][0]), "one file has one code, whatever is done to it");

    for function in ["path_open", "path_rename"] {
        let dropped = texts(&journal, "dropped", function);
        assert!(!dropped.is_empty() && dropped.iter().all(|kept| *kept == (None, Some("drop".to_owned()))), "{function}: {dropped:?}");
    }
    let denied: Vec<Value> = house.events("denied");
    let of = |module: &str| denied.iter().filter(|event| event["module"] == module).collect::<Vec<_>>();
    let times = |events: &[&Value]| events.iter().map(|event| event["count"].as_u64().unwrap_or(1)).sum::<u64>();
    assert_eq!((times(&of("coded")), times(&of("dropped"))), (8, 8), "{denied:?}");
    assert!(of("dropped").iter().all(|event| event["text"].is_null() && event["text_class"] == "drop"), "{denied:?}");
    let asked: std::collections::BTreeSet<&str> = of("coded").iter().filter_map(|event| event["text"].as_str()).collect();
    assert!(asked.len() == 2 && codes.iter().all(|code| !asked.contains(code.as_str())), "a path and a graph: {asked:?}");
    assert!(
        of("coded").iter().all(|event| event["text"].as_str().unwrap().starts_with("hmac:") && event["text_class"] == "hmac"),
        "{denied:?}"
    );
}

/// The canary of the test above: under `plain`, the same search finds every one of them.
#[test]
fn what_a_guest_named_under_plain_is_found_where_it_is_looked_for() {
    let mut house = House::new();
    install(&house, "plain", "");
    install(&house, "coded", "[audit]\npaths = \"hmac\"\n");
    house.start();
    let ran = vec![run(&house, "plain"), run(&house, "coded")];
    let said = all_that_is_said(&mut house, &ran);
    for place in ["audit export --dir", "audit tail -n 1000000 --dir", "audit tail --json -n 1000000 --dir"] {
        let (_, bytes) = said.iter().find(|(name, _)| name == place).unwrap();
        assert_eq!(found_in(bytes), SECRETS, "{place}");
    }
    let journal = house.journal();
    assert!(texts(&journal, "plain", "path_open").iter().all(|(text, class)| text.as_ref().unwrap().contains(".wav") && class.is_none()));
    let graph = house
        .events("denied")
        .into_iter()
        .find(|event| event["module"] == "coded" && event["call"] == "wasi_ephemeral_nn#load_by_name")
        .unwrap();
    assert!(graph["text"] == "levin-model" && graph["text_class"].is_null(), "only the paths are of a class: {graph}");
    // What was recorded so can be learned from, by its grants; what was refused is not guessed.
    let learn = house
        .cli(&["policy", "learn", "--module", "coded", "--policy"])
        .arg(house.path("policy.d/coded.toml"))
        .arg("--dir")
        .arg(house.state().join("audit"))
        .output()
        .unwrap();
    let text = String::from_utf8(learn.stdout).unwrap();
    assert!(learn.status.success(), "{}", String::from_utf8_lossy(&learn.stderr));
    assert!(text.contains("guest = \"/data\"") && text.contains("does not keep what the module named as it wrote it"), "{text}");
    assert!(text.contains("what would allow it cannot be said") && !text.contains("vronsky"), "{text}");
}

#[test]
fn the_hosts_class_holds_for_a_silent_policy_and_a_laxer_one_is_refused() {
    let mut house = House::new();
    let host = house.path("edgeguard.toml");
    fs::write(&host, format!("{}[audit]\npaths = \"hmac\"\n", fs::read_to_string(&host).unwrap())).unwrap();
    install(&house, "silent", "");
    install(&house, "laxer", "[audit]\npaths = \"plain\"\n");
    install(&house, "stricter", "[audit]\npaths = \"drop\"\n");
    house.start();
    let refused = house.module_status("laxer").to_string();
    assert!(refused.contains("EG7005") && refused.contains("EG033"), "{refused}");
    let ran = vec![run(&house, "silent"), run(&house, "stricter")];
    let said = all_that_is_said(&mut house, &ran);
    assert!(said.iter().all(|(_, bytes)| found_in(bytes).iter().all(|secret| *secret == "levin-model")));
    let journal = house.journal();
    assert!(texts(&journal, "silent", "path_open").iter().all(|(_, class)| class.as_deref() == Some("hmac")));
    assert!(texts(&journal, "stricter", "path_open").iter().all(|(_, class)| class.as_deref() == Some("drop")));
    // The key is the daemon's alone, and is not replaced if it is not what it should be.
    use std::os::unix::fs::PermissionsExt as _;
    let key = house.state().join("journal-keys/privacy.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o400);
    fs::write(&key, "short").unwrap();
    let log = house.try_start().unwrap_err().log;
    assert!(log.contains("privacy.key") && fs::read(&key).unwrap() == b"short", "{log}");
}
