//! The tools for policies beside the daemon that obeys them: a policy begun, filled in and run; and what was explained, held against what was enforced.
//!
//! Runs in: tests, with the real daemon and the real command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::built;
use edgeguard_tests::house::skip;
use edgeguard_tests::policy::Policy;
use serde_json::Value;

/// Opens `greeting` in its first directory and says how that went.
const READS: &str = r#"(data (i32.const 1024) "greeting")
    (func (export "_start") (call $say (call $open (i32.const 3) (i32.const 1024) (i32.const 8) (i32.const 0) (i64.const 2))))"#;

#[track_caller]
fn said(command: &mut Command, expected: i32) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(expected), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// As somebody does who has the module and its vendor's key, and has not read the reference.
#[test]
fn a_policy_that_was_begun_and_filled_in_runs_its_module() {
    let mut house = House::new();
    let module = house.put_module("greeter", &guest(READS));
    house.sign(&module, "acme");
    fs::write(house.dir("audio").join("greeting"), "hello").unwrap();
    let file = house.path("policy.d/greeter.toml");
    let key = house.path("acme.pub");
    let begin = || house.cli(&["policy", "new", "--yes", "--module"]);
    said(begin().arg(&module).arg("--path").arg(&module).arg("--key").arg(&key).arg("--out").arg(&file), 0);

    // The one blank is of a directory. Its comment says what to do: fill in, and take the `# ` away.
    let text = fs::read_to_string(&file).unwrap();
    let blank = "# [[dir]]\n# guest = \"FILL IN\"\n# host = \"FILL IN\"\n# access = \"read\"\n";
    assert!(text.contains(blank), "{text}");
    let opened = blank.replace("# ", "");
    fs::write(&file, text.replace(blank, &opened)).unwrap();
    said(house.cli(&["policy", "check"]).arg(&file), 2);
    let filled = opened.replacen("FILL IN", "/audio", 1).replacen("FILL IN", &house.path("audio").display().to_string(), 1);
    fs::write(&file, text.replace(blank, &filled)).unwrap();
    said(house.cli(&["policy", "check"]).arg(&file).arg("--module").arg(&module), 0);
    said(house.cli(&["policy", "fmt", "--check"]).arg(&file), 0);

    house.start();
    assert_eq!(house.run("greeter"), "0\n");
}

/// A module that computes, and whose author told nobody how it calls its model: what is refused says so.
#[test]
fn a_module_with_a_model_is_brought_to_run_by_what_the_tools_say_alone() {
    let files = ["guests/voice-gate.wasm", "models/silero_vad_openvino_16k.onnx"].map(built);
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        return skip(&format!("`{}` is missing; `cargo xtask test` makes it", missing.display()));
    }
    let [wasm, model] = files;
    let mut house = House::new();
    let module = house.put_module("voice-gate", &fs::read(wasm).unwrap());
    house.sign(&module, "acme");
    let granted = house.path("models/vad.onnx");
    fs::copy(model, &granted).unwrap();
    let file = house.path("policy.d/voice-gate.toml");
    let audio = format!("/audio={}", house.dir("audio").display());
    let graph = format!("speech={}", granted.display());
    let mut begin = house.cli(&["policy", "new", "--yes", "--read", &audio, "--graph", &graph, "--module"]);
    said(begin.arg(&module).arg("--path").arg(&module).arg("--key").arg(house.path("acme.pub")).arg("--out").arg(&file), 0);
    said(house.cli(&["policy", "check", "--host"]).arg(&file).arg("--module").arg(&module), 0);

    house.start();
    let refused = house.cli(&["invoke", "voice-gate"]).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_ne!(refused.status.code(), Some(0), "{told}");
    let (_, after) = told.split_once("1 call was denied; `edgeguard ").unwrap_or_else(|| panic!("it says nothing of a denial:\n{told}"));
    // What it says to do next, in the journal of this house.
    let next: Vec<&str> = after.split_once('`').unwrap().0.splitn(3, ' ').collect();
    let [audit, search, query] = next[..] else { panic!("{told}") };
    let found = said(house.cli(&[audit, search, query.trim_matches('\'')]).arg("--dir").arg(house.state().join("audit")), 0);
    assert!(found.contains("load_by_name") && found.contains("vad"), "{found}");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("\"speech\"", "\"vad\"")).unwrap();
    house.reload();
    house.run("voice-gate");
}

#[test]
fn what_is_explained_is_what_the_journal_says_was_enforced() {
    let mut house = House::new();
    let (read, write) = (house.dir("in"), house.writable_dir("out"));
    house.install(&Policy::new("greeter").read("/in", &read).read_write("/out", &write), &guest(READS));
    house.start();
    house.run("greeter");
    let started = house.wait_for_event("process-started", |event| event["role"] == "worker" && event["subject"] == "greeter");
    let report = &started["report"];
    let abi = report["landlock_abi"].as_u64().unwrap();
    // The kernel's own ABI in the place of the floor, so that the same rights are meant.
    let host = house.path("newest.toml");
    fs::write(&host, format!("version = 1\n[require]\nlandlock = {}\n", abi.min(10))).unwrap();
    let file = house.path("policy.d/greeter.toml");
    let text = said(house.cli(&["policy", "explain", "--json"]).arg(&file).arg("--host-file").arg(&host), 0);
    let explained: Value = serde_json::from_str(&text).unwrap();

    let form = if report["own_root"] == true { 0 } else { 1 };
    assert_eq!(explained["processes"][form]["sha256"], report["seccomp_stage2"], "{report}");
    let rows = |process: &Value| process["filters"].as_array().unwrap().iter().map(|f| f["rows"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(rows(&explained["processes"][form]), report["seccomp_rules"].as_u64().unwrap());

    let words = |value: &Value| value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let enforced: Vec<String> = words(&report["rights_enforced"]).into_iter().filter(|right| right.starts_with("fs:")).collect();
    for grant in [0, 1] {
        let rights = &explained["grants"][grant]["landlock"];
        let mut handled = [words(&rights["allowed"]), words(&rights["denied"])].concat();
        // The rights that no child is ever given are in force from the first ruleset on, and are written down once.
        let mut expected = enforced.clone();
        expected.sort();
        expected.dedup();
        handled.sort();
        assert_eq!(handled, expected, "{grant}");
    }
}
