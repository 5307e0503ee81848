//! `policy diff` and `policy can`, and the forms of `policy check` for machines, as people run them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::edgeguard;
use serde_json::Value;

fn policy(name: &str, host: &Path, memory: &str) -> String {
    format!(
        "version = 1\n\n[module]\nname = \"{name}\"\npath = \"/srv/{name}.wasm\"\nmode = \"command\"\n\n[[module.signer]]\nkey = \"/etc/acme.pub\"\n\n\
         [[dir]]\nguest = \"/d\"\nhost = \"{}\"\naccess = \"read-write\"\n\n\
         [limits]\nmemory = \"{memory}\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"1 KiB\"\n",
        host.display()
    )
}

/// A directory without a symbolic link on the way to it.
fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let at = fs::canonicalize(dir.path()).unwrap();
    (dir, at)
}

#[test]
fn the_exit_code_of_a_difference_says_whether_more_is_allowed() {
    let (_dir, at) = place();
    fs::write(at.join("small.toml"), policy("m", &at, "1 MiB")).unwrap();
    fs::write(at.join("large.toml"), policy("m", &at, "2 MiB")).unwrap();
    fs::write(at.join("broken.toml"), "version = 2\n").unwrap();
    let run = |old, new| edgeguard(&at, &["policy", "diff", old, new]);
    let wider = run("small.toml", "large.toml");
    assert_eq!((wider.code, wider.out.as_str()), (1, "m\n  + wider: `limits.memory` is 2 MiB, was 1 MiB\n"));
    assert_eq!(run("large.toml", "small.toml").code, 0);
    assert_eq!((run("small.toml", "small.toml").code, run("small.toml", "small.toml").out.as_str()), (0, ""));
    assert_eq!((run("small.toml", "broken.toml").code, run("none.toml", "small.toml").code), (2, 2));
    let json = edgeguard(&at, &["policy", "diff", "small.toml", "large.toml", "--json"]);
    let value: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (json.code, &value["grants_more"], &value["modules"][0]["changes"][0]["after"]["most"]),
        (1, &true.into(), &(2 << 20).into())
    );
    let github = edgeguard(&at, &["policy", "diff", "small.toml", "large.toml", "--format", "github"]);
    assert!(github.out.starts_with("::warning file=large.toml,line=1,title=policy of m::wider: "), "{}", github.out);
}

#[test]
fn a_module_that_is_new_in_a_directory_has_gained_everything() {
    let (_dir, at) = place();
    for side in ["old", "new"] {
        fs::create_dir(at.join(side)).unwrap();
        fs::write(at.join(side).join("a.toml"), policy("a", &at, "1 MiB")).unwrap();
    }
    fs::write(at.join("new/b.toml"), policy("b", &at, "1 MiB")).unwrap();
    let ran = edgeguard(&at, &["policy", "diff", "old", "new"]);
    assert!(ran.code == 1 && ran.out.starts_with("b\n  + gained: ") && !ran.out.contains("lost"), "{}", ran.out);
    assert_eq!(edgeguard(&at, &["policy", "diff", "new", "old"]).code, 0);
}

#[test]
fn a_question_is_answered_with_the_rule_and_its_line() {
    let (_dir, at) = place();
    let data = at.join("data");
    fs::create_dir(&data).unwrap();
    fs::create_dir(at.join("data2")).unwrap();
    fs::write(at.join("m.toml"), policy("m", &data, "1 MiB")).unwrap();
    let ask = |deed: &str, what: &str, more: &[&str]| edgeguard(&at, &[&["policy", "can", "m.toml", deed, what], more].concat());
    let inside = data.join("x").display().to_string();
    let yes = ask("write", &inside, &[]);
    assert!(yes.code == 0 && yes.out.starts_with("yes: ") && yes.out.ends_with("(m.toml:13)\n"), "{}", yes.out);
    assert!(yes.err.contains("`--host` does"), "{}", yes.err);
    let beside = ask("read", &at.join("data2/x").display().to_string(), &[]);
    assert!(beside.code == 1 && beside.out.contains("lies beside"), "{}", beside.out);
    assert_eq!(ask("read", &data.join("../data2/x").display().to_string(), &[]).code, 1);
    assert_eq!((ask("read", "data/x", &[]).code, ask("graph", "vad", &[]).code), (2, 1));
    // By the letter the link lies in the grant; on this host it leads out of it.
    symlink(at.join("data2"), data.join("out")).unwrap();
    symlink(at.join("data2/none"), data.join("dangling")).unwrap();
    let out = data.join("out/x").display().to_string();
    assert_eq!((ask("write", &out, &[]).code, ask("write", &out, &["--host"]).code), (0, 1));
    assert_eq!(ask("write", &inside, &["--host"]).code, 0);
    assert_ne!(ask("write", &data.join("dangling").display().to_string(), &["--host"]).code, 0);
}

#[test]
fn a_check_speaks_sarif_and_workflow_commands_with_the_same_exit_code() {
    let (_dir, at) = place();
    fs::create_dir(at.join("p")).unwrap();
    fs::write(at.join("p/a.toml"), policy("a", &at, "1 MB")).unwrap();
    fs::write(at.join("p/b.toml"), policy("b", &at, "1 MiB")).unwrap();
    let sarif = edgeguard(&at, &["policy", "check", "p", "--format", "sarif"]);
    let log: Value = serde_json::from_str(&sarif.out).unwrap();
    assert_eq!((sarif.code, &log["version"]), (2, &"2.1.0".into()));
    assert_eq!(log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "p/a.toml");
    let github = edgeguard(&at, &["policy", "check", "p", "--format", "github"]);
    assert!(github.code == 2 && github.out.starts_with("::error file=p/a.toml,line=17,endLine=17,col=10,"), "{}", github.out);
    assert!(github.err.contains("2 files: 1 stand, 1 with errors"), "{}", github.err);
}
