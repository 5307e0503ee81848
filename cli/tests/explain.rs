//! `explain`, `completions`, `man` and `--help`, as people run them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::process::Command;
use std::process::Stdio;

use common::edgeguard;
use edgeguard_policy::codes::TABLE;

#[test]
fn a_code_is_explained_with_the_wrong_and_the_right() {
    let dir = tempfile::tempdir().unwrap();
    let ran = edgeguard(dir.path(), &["explain", "EG014"]).done();
    insta::assert_snapshot!(ran.out);
    assert_eq!(edgeguard(dir.path(), &["explain", "14"]).done().out, ran.out);
}

#[test]
fn every_code_is_explained_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<&str> = TABLE.iter().map(|row| row.id).chain(edgeguard_attest::Code::ALL.iter().map(|code| code.as_str())).collect();
    let all = edgeguard(dir.path(), &[&["explain"], &ids[..]].concat()).done();
    assert!(
        all.out.lines().all(|line| line.chars().count() <= 120 || line.starts_with("    ") || line.starts_with("EG")),
        "lines fit a terminal"
    );
    let list = edgeguard(dir.path(), &["explain", "--list"]).done();
    for id in ids {
        assert!(all.out.contains(id) && list.out.contains(id), "{id}");
    }
}

#[test]
fn an_unknown_code_is_usage_and_the_known_ones_are_still_explained() {
    let dir = tempfile::tempdir().unwrap();
    let ran = edgeguard(dir.path(), &["explain", "EG999", "EG014"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`EG999`") && ran.out.contains("EG014"));
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_edgeguard"))
        .args([&["explain"][..], &vec!["EG030"; 500]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn completions_are_made_for_every_shell() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = edgeguard(dir.path(), &["completions", shell]).done();
        assert!(ran.out.contains("policy") && ran.out.contains("invoke"), "{shell}");
    }
    assert_eq!(edgeguard(dir.path(), &["completions", "tcsh"]).code, 2);
}

#[test]
fn manual_pages_are_made_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    edgeguard(dir.path(), &["man", "--out", "man/deep"]).done();
    let page = |name: &str| fs::read_to_string(dir.path().join("man/deep").join(name)).unwrap();
    assert!(page("edgeguard.1").contains("signature rejected"), "exit codes");
    for name in ["policy-check", "explain", "keygen", "sign", "verify", "audit-verify", "doctor", "invoke", "status", "reload"] {
        assert!(page(&format!("edgeguard-{name}.1")).starts_with(".ie"), "{name}");
    }
    assert_eq!(edgeguard(dir.path(), &["man", "--out", "/proc/nowhere"]).code, 2);
}

#[test]
fn help_lists_the_exit_codes_and_stands_on_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let ran = edgeguard(dir.path(), &["--help"]).done();
    for words in ["Exit codes:", "  3  signature rejected", "  5  worker killed by its sandbox", "Examples:"] {
        assert!(ran.out.contains(words), "{words}");
    }
    assert_eq!(edgeguard(dir.path(), &[]).code, 2);
}
