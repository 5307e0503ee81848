//! Profiles as people use them: found where they lie, written out, named in messages, and never signed unseen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::edgeguard;
use serde_json::Value;
use sha2::Digest as _;

const POLICY: &str = "version = 1\nprofiles = [\"base\"]\n\n[module]\nname = \"m\"\npath = \"/srv/m.wasm\"\nmode = \"command\"\n\n[[module.signer]]\nkey = \"/srv/acme.pub\"\n";
const BASE: &str = "version = 1\n\n[[dir]]\nguest = \"/in\"\nhost = \"/srv/in\"\naccess = \"read\"\n\n[limits]\nmemory = \"64 MiB\"\ndeadline = \"500 ms\"\ninstances = 4\noutput = \"1 MiB\"\n";

/// A folder with a policy and the profile that it names, as `/etc/edgeguard` has them.
fn gateway() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("policy.d/m.toml", POLICY), ("profiles.d/base.toml", BASE)] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn profiles_are_found_beside_the_directory_of_policies_wherever_one_stands() {
    let dir = gateway();
    let at = dir.path();
    assert_eq!(edgeguard(at, &["policy", "check", "policy.d"]).done().out, "policy.d/m.toml: ok\n");
    assert_eq!(edgeguard(&at.join("policy.d"), &["policy", "check", "m.toml"]).done().out, "m.toml: ok\n");
    assert_eq!(edgeguard(&at.join("profiles.d"), &["policy", "check", "../policy.d/m.toml"]).done().out, "../policy.d/m.toml: ok\n");
    fs::rename(at.join("profiles.d"), at.join("ours")).unwrap();
    let refused = edgeguard(at, &["policy", "check", "policy.d/m.toml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("EG090") && refused.err.contains("in `profiles.d`"), "{}", refused.err);
    edgeguard(at, &["policy", "check", "policy.d/m.toml", "--profiles", "ours"]).done();
    // A policy that names none asks for no directory.
    fs::write(
        at.join("policy.d/m.toml"),
        format!("{}{}", POLICY.replace("profiles = [\"base\"]\n", ""), BASE.replace("version = 1\n", "")),
    )
    .unwrap();
    edgeguard(at, &["policy", "check", "policy.d/m.toml", "--profiles", "/nowhere"]).done();
}

#[test]
fn a_profiles_mistake_is_shown_in_the_profile_also_to_machines() {
    let dir = gateway();
    let at = dir.path();
    fs::write(at.join("profiles.d/base.toml"), BASE.replace("500 ms", "5 m")).unwrap();
    let human = edgeguard(at, &["policy", "check", "policy.d/m.toml"]);
    assert!(
        human.code == 2 && human.err.contains("--> profiles.d/base.toml:10:12") && human.err.contains("::: policy.d/m.toml:2:13"),
        "{}",
        human.err
    );
    let github = edgeguard(at, &["policy", "check", "policy.d", "--format", "github"]);
    assert!(github.out.contains("file=profiles.d/base.toml,line=10"), "{}", github.out);
    let found = json(&edgeguard(at, &["policy", "check", "policy.d", "--format", "json"]).out);
    assert_eq!(
        (&found["diagnostics"][0]["file"], &found["diagnostics"][0]["related"][0]["file"]),
        (&"profiles.d/base.toml".into(), &"policy.d/m.toml".into())
    );
}

#[test]
fn what_is_expanded_has_the_digest_that_is_shown_and_needs_no_profiles() {
    let dir = gateway();
    let at = dir.path();
    let text = edgeguard(at, &["policy", "expand", "policy.d/m.toml"]).done().out;
    assert!(text.contains("memory = \"64 MiB\" # from profile base, line 9\n") && !text.contains("profiles ="), "{text}");
    let checked = json(&edgeguard(at, &["policy", "check", "policy.d/m.toml", "--format", "json"]).out);
    assert_eq!(checked["files"][0]["sha256"], hex::encode(sha2::Sha256::digest(&text)));
    fs::write(at.join("m.toml"), &text).unwrap();
    edgeguard(at, &["policy", "check", "m.toml", "--profiles", "/nowhere"]).done();
    edgeguard(at, &["policy", "fmt", "--check", "m.toml"]).done();
    assert_eq!(edgeguard(at, &["policy", "expand", "m.toml"]).done().out, text, "it is its own expansion");
    let same = edgeguard(at, &["policy", "diff", "policy.d/m.toml", "m.toml"]);
    assert!(same.code == 0 && same.out.contains("profiles that it names are none, before `base`"), "{same:?}");
    let absent = edgeguard(at, &["policy", "expand", "no-such.toml"]);
    assert!(absent.code == 2 && absent.out.is_empty(), "{absent:?}");
    // A byte order mark is part of what is hashed, and so of what is printed.
    fs::write(at.join("m.toml"), format!("\u{feff}{text}")).unwrap();
    assert!(edgeguard(at, &["policy", "expand", "m.toml"]).done().out.starts_with('\u{feff}'));
}

#[test]
fn the_rule_that_decides_is_named_with_its_profile_and_line() {
    let dir = gateway();
    let at = dir.path();
    let yes = edgeguard(at, &["policy", "can", "policy.d/m.toml", "read", "/srv/in/x"]).done().out;
    assert!(yes.contains("(profiles.d/base.toml:5)"), "{yes}");
    let answer = json(&edgeguard(at, &["policy", "can", "policy.d/m.toml", "read", "/srv/in/x", "--json"]).done().out);
    assert_eq!((&answer["file"], &answer["line"]), (&"profiles.d/base.toml".into(), &5.into()));
    let explained = json(&edgeguard(at, &["policy", "explain", "policy.d/m.toml", "--json"]).done().out);
    let grants = explained["grants"].as_array().unwrap();
    let dir_grant = grants.iter().find(|row| row["class"] == "dir").unwrap();
    assert_eq!((&dir_grant["file"], &dir_grant["line"]), (&"profiles.d/base.toml".into(), &5.into()));
    let table = edgeguard(at, &["policy", "explain", "policy.d/m.toml"]).done().out;
    assert!(table.contains("(line of `profiles.d/base.toml`)") && table.contains("written out with the profiles `base`"), "{table}");
}

#[test]
fn a_changed_profile_is_a_change_of_what_is_granted() {
    let dir = gateway();
    let at = dir.path();
    fs::create_dir(at.join("new")).unwrap();
    fs::write(at.join("new/base.toml"), BASE.replace("\"read\"", "\"read-write\"")).unwrap();
    let more = edgeguard(at, &["policy", "diff", "policy.d", "policy.d", "--profiles", "new"]);
    assert!(more.code == 1 && more.out.contains("(new/base.toml:5)"), "{more:?}");
    let less = edgeguard(at, &["policy", "diff", "policy.d", "policy.d", "--old-profiles", "new"]);
    assert_eq!(less.code, 0, "{less:?}");
}

#[test]
fn a_policy_that_names_profiles_is_not_signed_but_its_expansion_is() {
    let dir = gateway();
    let at = dir.path();
    edgeguard(at, &["keygen", "--out", "ops"]).done();
    let refused = edgeguard(at, &["sign", "--key", "ops.key", "--policy", "policy.d/m.toml"]);
    assert!(refused.code == 2 && refused.err.contains("policy expand"), "{refused:?}");
    assert!(!at.join("policy.d/m.toml.sigstore.json").exists());
    fs::write(at.join("m.toml"), edgeguard(at, &["policy", "expand", "policy.d/m.toml"]).done().out).unwrap();
    edgeguard(at, &["sign", "--key", "ops.key", "--policy", "m.toml"]).done();
}

#[test]
fn a_profile_that_anybody_may_write_is_found_on_the_host() {
    let dir = gateway();
    let at = dir.path();
    let host = |at: &Path| edgeguard(at, &["policy", "check", "policy.d/m.toml", "--host", "--config", "no-such.toml"]).err;
    assert!(!host(at).contains("EG053"), "{}", host(at));
    fs::set_permissions(at.join("profiles.d/base.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(host(at).contains("EG053") && host(at).contains("profiles.d/base.toml"), "{}", host(at));
}

#[test]
fn a_profile_is_checked_by_itself_where_profiles_lie() {
    let dir = gateway();
    let at = dir.path();
    assert_eq!(edgeguard(at, &["policy", "check", "profiles.d"]).done().out, "profiles.d/base.toml: ok\n");
    assert_eq!(edgeguard(at, &["policy", "check", "policy.d", "profiles.d"]).done().out, "policy.d/m.toml: ok\nprofiles.d/base.toml: ok\n");
    assert_eq!(edgeguard(&at.join("profiles.d"), &["policy", "check", "base.toml"]).done().out, "base.toml: ok\n");
    fs::write(at.join("profiles.d/base.toml"), BASE.replace("500 ms", "5 m")).unwrap();
    assert_eq!(edgeguard(at, &["policy", "check", "profiles.d"]).codes(), ["EG028"]);
    fs::rename(at.join("profiles.d"), at.join("ours")).unwrap();
    assert!(edgeguard(at, &["policy", "check", "ours"]).codes().contains(&"EG007"), "elsewhere it is a policy without a module");
    assert_eq!(edgeguard(at, &["policy", "check", "ours", "--profiles", "ours"]).codes(), ["EG028"]);
}

#[test]
fn the_schema_of_a_profile_knows_no_module() {
    let dir = gateway();
    let schema = json(&edgeguard(dir.path(), &["policy", "schema", "--profile"]).done().out);
    assert!(schema["properties"]["limits"].is_object() && schema["properties"]["module"].is_null());
}
