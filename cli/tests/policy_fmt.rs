//! `policy fmt` and `policy schema` as a person meets them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::process::Stdio;

use common::edgeguard;

const UNTIDY: &str = "[limits]\nmemory=\"1 MiB\" # small\ndeadline = \"1 s\"\n";
const TIDY: &str = "[limits]\nmemory = \"1 MiB\" # small\ndeadline = \"1 s\"\n";

#[test]
fn a_file_is_rewritten_once_with_its_permissions_and_through_its_link() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.toml");
    fs::write(&file, UNTIDY).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    std::os::unix::fs::symlink("m.toml", dir.path().join("link.toml")).unwrap();
    assert_eq!(edgeguard(dir.path(), &["policy", "fmt", "link.toml"]).done().out, "link.toml: formatted\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), TIDY);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o666);
    assert!(fs::symlink_metadata(dir.path().join("link.toml")).unwrap().is_symlink());
    assert_eq!(edgeguard(dir.path(), &["policy", "fmt", "."]).done().out, "");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn check_and_diff_write_nothing_and_say_so_by_their_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.toml");
    fs::write(&file, UNTIDY).unwrap();
    let ran = edgeguard(dir.path(), &["policy", "fmt", "--check", "m.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.starts_with("m.toml: not in canonical form"), "{}", ran.err);
    let ran = edgeguard(dir.path(), &["policy", "fmt", "--diff", "m.toml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("\n-memory=\"1 MiB\" # small\n+memory = \"1 MiB\" # small\n"), "{}", ran.out);
    assert_eq!(fs::read_to_string(&file).unwrap(), UNTIDY);
    fs::write(&file, TIDY).unwrap();
    assert_eq!(edgeguard(dir.path(), &["policy", "fmt", "--check", "--diff", "m.toml"]).done().out, "");
}

#[test]
fn what_is_not_toml_stays_as_it_is_and_the_other_files_are_formatted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), "[limits]\nmemory = 1 MiB\n").unwrap();
    fs::write(dir.path().join("b.toml"), UNTIDY).unwrap();
    let ran = edgeguard(dir.path(), &["policy", "fmt", "."]);
    assert_eq!((ran.code, ran.out.as_str()), (2, "./b.toml: formatted\n"));
    assert_eq!(ran.codes(), ["EG001"]);
    assert_eq!(fs::read_to_string(dir.path().join("a.toml")).unwrap(), "[limits]\nmemory = 1 MiB\n");
    assert_eq!(edgeguard(dir.path(), &["policy", "fmt", "none.toml"]).code, 2);
}

#[test]
fn standard_input_goes_to_standard_output() {
    let run = |arguments: &[&str], input: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_edgeguard"))
            .args(["policy", "fmt", "-"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A text that is too large is not read to its end.
        let _ = child.stdin.take().unwrap().write_all(input);
        let out = child.wait_with_output().unwrap();
        (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
    };
    assert_eq!(run(&[], UNTIDY.as_bytes()), (0, TIDY.to_owned()));
    assert_eq!(run(&["--check"], UNTIDY.as_bytes()), (1, String::new()));
    assert_eq!(run(&[], b"a = \"\xff\"\n"), (2, String::new()));
    assert_eq!(run(&[], &b"# x\n".repeat(100_000)), (2, String::new()));
}

#[test]
fn the_schemas_are_json() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, key) in [(&["policy", "schema"][..], "limits"), (&["policy", "schema", "--host-file"], "trust")] {
        let schema: serde_json::Value = serde_json::from_str(&edgeguard(dir.path(), arguments).done().out).unwrap();
        assert!(schema["properties"][key]["description"].is_string());
    }
}
