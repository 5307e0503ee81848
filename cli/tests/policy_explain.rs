//! `policy explain` as people run it, and its rules held against the sandbox that enforces them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::edgeguard;
use edgeguard_sandbox::Access;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::Filters;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::rights_of;
use serde_json::Value;

const HEAD: &str = "version = 1\n\n[module]\nname = \"voice-gate\"\npath = \"/var/lib/edgeguard/modules/voice-gate.wasm\"\nmode = \"command\"\n\n\
    [[module.signer]]\nkey = \"/etc/edgeguard/keys/acme.pub\"\n\n";
const LIMITS: &str = "[limits]\nmemory = \"64 MiB\"\ndeadline = \"500 ms\"\ninstances = 4\noutput = \"1 MiB\"\n";

fn dir(guest: &str, access: &str) -> String {
    format!("[[dir]]\nguest = \"/{guest}\"\nhost = \"/var/lib/gateway/{guest}\"\naccess = \"{access}\"\n\n")
}

fn graph(name: &str, encoding: &str, more: &str) -> String {
    let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    format!(
        "[[graph]]\nname = \"{name}\"\nmodel = \"/srv/{name}\"\nsha256 = \"{sha256}\"\nencoding = \"{encoding}\"\ntarget = \"cpu\"\n{more}\n"
    )
}

/// Runs `policy explain` over a policy.
fn explain(text: &str, more: &[&str]) -> common::Ran {
    let at = tempfile::tempdir().unwrap();
    fs::write(at.path().join("voice-gate.toml"), text).unwrap();
    fs::write(at.path().join("host.toml"), "version = 1\n[require]\nlandlock = 6\n").unwrap();
    fs::write(at.path().join("old-host.toml"), "version = 1\n[require]\nlandlock = 1\n").unwrap();
    edgeguard(at.path(), &[&["policy", "explain", "voice-gate.toml"], more].concat())
}

fn json(text: &str, more: &[&str]) -> Value {
    serde_json::from_str(&explain(text, &[&["--json"], more].concat()).done().out).unwrap()
}

/// What an engine's table grows by is that engine's affair; the numbers are held against the tables below.
fn without_numbers(text: &str) -> String {
    let line = |line: &str| match line.split_once(" rows  ") {
        Some((_, rest)) => format!("     n rows  {rest}\n"),
        None if line.starts_with("      SHA-256 ") => "      SHA-256 …\n".to_owned(),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_policy_is_explained_in_words_as_a_table_and_at_its_worst() {
    let text =
        format!("{HEAD}{}{}{}{LIMITS}\n[env]\nMODE = \"prod\"\n", dir("audio", "read"), dir("out", "read-write"), graph("vad", "onnx", ""));
    insta::assert_snapshot!("explained", without_numbers(&explain(&text, &[]).done().out));
    let table = explain(&text, &["--format", "table"]).done().out;
    assert!(table.starts_with("GRANTS") && table.contains("SYSTEM CALLS") && !table.contains("WORST"), "{table}");
}

#[test]
fn a_policy_that_grants_nothing_has_little_to_fear() {
    insta::assert_snapshot!("explained_least", without_numbers(&explain(&format!("{HEAD}{LIMITS}"), &[]).done().out));
}

#[test]
fn the_rights_shown_are_those_that_the_sandbox_asks_the_kernel_for() {
    for abi in 1..=10 {
        let text = format!("{HEAD}{}{}{LIMITS}[require]\nlandlock = {abi}\n", dir("audio", "read"), dir("out", "read-write"));
        let value = json(&text, &["--host-file", "old-host.toml"]);
        assert_eq!(value["landlock_abi"], abi);
        for (row, access) in [(0, Access::Read), (1, Access::ReadWrite)] {
            let (shown, real) = (&value["grants"][row]["landlock"], rights_of(access, abi));
            assert_eq!(shown["allowed"], serde_json::json!(real.allowed), "ABI {abi}");
            assert_eq!(shown["denied"], serde_json::json!(real.denied), "ABI {abi}");
            assert_eq!(shown["unknown"], serde_json::json!(real.unknown), "ABI {abi}");
        }
    }
}

#[test]
fn the_tables_shown_are_those_that_the_sandbox_loads() {
    let cases: [(String, FilesystemUse); 3] = [
        (String::new(), FilesystemUse::None),
        (dir("audio", "read"), FilesystemUse::ReadOnly),
        (dir("audio", "read") + &dir("out", "read-write"), FilesystemUse::ReadWrite),
    ];
    for (dirs, filesystem) in cases {
        let engines = [
            ("rten", "onnx", Role::Graph),
            ("onnxruntime", "onnx", Role::OnnxRuntime),
            ("llama.cpp", "gguf", Role::Language),
            ("pytorch", "pytorch", Role::Torch),
            ("openvino", "onnx", Role::OpenVino),
        ];
        let graphs: String =
            engines.map(|(engine, encoding, _)| graph(&format!("g-{engine}"), encoding, &format!("engine = \"{engine}\"\n"))).concat();
        let value = json(&format!("{HEAD}{dirs}{graphs}{LIMITS}"), &[]);
        let shown = |i: usize| (&value["processes"][i]["sha256"], value["processes"][i]["filters"].as_array().unwrap());
        let rows = |i: usize| shown(i).1.iter().map(|filter| filter["rows"].as_u64().unwrap()).sum::<u64>();
        let profile = |role, filesystem| Profile { role, filesystem };
        let mut real = vec![Filters::stage2(&profile(Role::Worker, filesystem), true)];
        if filesystem == FilesystemUse::ReadWrite {
            real.push(Filters::stage2(&profile(Role::Worker, filesystem), false));
        }
        real.extend(engines.map(|(_, _, role)| Filters::stage2(&profile(role, FilesystemUse::None), false)));
        assert_eq!(value["processes"].as_array().unwrap().len(), real.len());
        for (i, filters) in real.iter().enumerate() {
            assert_eq!(*shown(i).0, filters.digest().unwrap(), "{i} with {filesystem:?}");
            assert_eq!(rows(i), u64::from(filters.rules()), "{i} with {filesystem:?}");
        }
    }
}

#[test]
fn the_hosts_floor_counts_where_it_is_the_stricter_one() {
    let text = format!("{HEAD}{LIMITS}");
    assert_eq!(json(&text, &[])["landlock_abi"], 3);
    let under = json(&text, &["--host-file", "host.toml"]);
    assert_eq!(under["landlock_abi"], 6);
    assert!(under["paragraph"].as_str().unwrap().contains("Landlock ABI 6"), "{}", under["paragraph"]);
    assert!(under["grants"].to_string().contains("Landlock ABI 6 or newer"), "{}", under["grants"]);
    assert_eq!(json(&format!("{text}[require]\nlandlock = 7\n"), &["--host-file", "host.toml"])["landlock_abi"], 7);
    assert_eq!(explain(&text, &["--host-file", "gone.toml"]).codes(), ["EG050"]);
}

#[test]
fn what_a_policy_leaves_open_is_said() {
    let open = |text: &str| json(&format!("{HEAD}{text}{LIMITS}"), &[])["unlimited"].to_string();
    assert!(open(&dir("out", "read-write")).contains("how many bytes and files it writes below `/var/lib/gateway/out`"));
    assert!(!open(&dir("audio", "read")).contains("how many bytes"));
    assert!(open(&graph("chat", "gguf", "")).contains("how much memory the model of `chat` takes"));
    assert!(!open(&graph("chat", "gguf", "memory = \"1 GiB\"\n")).contains("how much memory the model"));
}

#[test]
fn a_policy_with_mistakes_is_not_explained() {
    let ran = explain(&format!("{HEAD}{}", LIMITS.replace("64 MiB", "64 MB")), &[]);
    assert_eq!((ran.code, ran.out.as_str(), ran.codes()), (2, "", vec!["EG027"]));
    assert_eq!(explain(HEAD, &["--json", "--format", "table"]).code, 2);
}

#[test]
fn each_of_the_two_explains_names_the_other() {
    let at = tempfile::tempdir().unwrap();
    assert!(edgeguard(at.path(), &["explain", "--help"]).done().out.contains("edgeguard policy explain FILE"));
    assert!(edgeguard(at.path(), &["policy", "explain", "--help"]).done().out.contains("edgeguard explain EG014"));
}
