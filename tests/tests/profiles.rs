//! Profiles in force: what the daemon runs is what `policy expand` prints, a profile that changes changes at the next reload, and one that is broken is loud.
//!
//! Runs in: tests, with the real daemon and command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use edgeguard_tests::guest::empty;
use edgeguard_tests::guest::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Policy;
use sha2::Digest as _;

/// Creates `new` in its directory and says how that went.
const CREATES: &str = r#"(data (i32.const 1024) "new")
    (func (export "_start") (call $say (call $open (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 1) (i64.const 66))))"#;

fn put_profile(house: &House, name: &str, text: &str) {
    let dir = house.path("profiles.d");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name).with_extension("toml"), text).unwrap();
}

/// A profile that grants a directory.
fn granting(dir: &Path, access: &str) -> String {
    format!("version = 1\n[[dir]]\nguest = \"/data\"\nhost = {dir:?}\naccess = {access:?}\n")
}

/// The policy of the house, naming a profile.
fn using(house: &House, policy: &Policy, profile: &str) -> String {
    policy.text(house).replacen("version = 1\n", &format!("version = 1\nprofiles = [{profile:?}]\n"), 1)
}

fn expanded(house: &House, name: &str) -> Vec<u8> {
    let out = house.cli(&["policy", "expand"]).arg(house.path("policy.d").join(name).with_extension("toml")).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[test]
fn what_is_in_force_is_what_is_expanded_and_follows_the_profile_at_a_reload() {
    let mut house = House::new();
    let dir = house.writable_dir("data");
    let policy = Policy::new("creates");
    house.install(&policy, &guest(CREATES));
    house.install(&Policy::new("other"), &empty());
    put_profile(&house, "data", &granting(&dir, "read-write"));
    house.put_policy_text("creates", &using(&house, &policy, "data"));
    house.start();
    let digest = |house: &House| hex::encode(sha2::Sha256::digest(expanded(house, "creates")));
    let first = digest(&house);
    assert_eq!(house.module_status("creates")["detail"]["policy"], first.as_str());
    assert_eq!(house.run("creates"), "0\n");
    assert!(house.events("policy-loaded").iter().any(|event| event["module"] == "creates" && event["digest"] == first.as_str()));
    let other = house.module_status("other")["detail"]["policy"].clone();

    // Narrower in the profile alone: the policy's own file did not change.
    fs::remove_file(dir.join("new")).unwrap();
    put_profile(&house, "data", &granting(&dir, "read"));
    assert_eq!(house.run("creates"), "0\n", "until the reload, what was loaded counts");
    fs::remove_file(dir.join("new")).unwrap();
    house.reload();
    assert_ne!(house.run("creates"), "0\n");
    assert!(!dir.join("new").exists());
    assert_ne!(digest(&house), first);
    assert_eq!(house.module_status("creates")["detail"]["policy"], digest(&house).as_str());
    assert_eq!(house.module_status("other")["detail"]["policy"], other, "who names no profile is left alone");

    // What was in force can be learned from, under the text that it came to.
    house.stop();
    let learn = house
        .cli(&["policy", "learn", "--module", "creates", "--policy"])
        .arg(house.path("policy.d/creates.toml"))
        .arg("--dir")
        .arg(house.state().join("audit"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&learn.stderr).into_owned();
    assert!(
        !learn.status.success() && said.contains(&first) && said.contains("another text"),
        "runs under the profile as it was are not taken for runs as it is: {said}"
    );
}

#[test]
fn a_broken_profile_refuses_whoever_names_it_and_nobody_else() {
    let mut house = House::new();
    let policy = Policy::new("plain");
    house.install(&policy, &empty());
    house.install(&Policy::new("other"), &empty());
    put_profile(&house, "floor", "version = 1\n[require]\nlandlock = 3\n");
    house.put_policy_text("plain", &using(&house, &policy, "floor"));
    house.start();
    assert_eq!(house.invoke("plain").code, Some(0));
    put_profile(&house, "floor", "version = 1\n[require]\nlandlok = 3\n");
    let report = house.reload().to_string();
    assert!(report.contains("EG004") && report.contains("profiles.d/floor.toml:3"), "{report}");
    assert_eq!(house.invoke("plain").code, Some(1), "no older grant stays in force");
    assert_eq!(house.invoke("other").code, Some(0));
    assert!(house.events("policy-refused").iter().any(|event| event["reason"].as_str().unwrap().contains("landlok")));
    fs::remove_file(house.path("profiles.d/floor.toml")).unwrap();
    assert!(house.reload().to_string().contains("EG090"));
    put_profile(&house, "floor", "version = 1\n[require]\nlandlock = 3\n");
    house.reload();
    assert_eq!(house.invoke("plain").code, Some(0));
}

#[test]
fn a_host_of_signed_policies_runs_what_was_expanded_and_signed_and_not_what_names_profiles() {
    let mut house = House::new();
    let ops = house.keygen("ops");
    house.host_adds(&format!("[policy-signing]\nkey = [{ops:?}]\n"));
    let policy = Policy::new("plain").with(|policy| policy.revision = Some(1));
    house.install(&policy, &empty());
    put_profile(&house, "floor", "version = 1\n[require]\nlandlock = 3\n");
    house.put_policy_text("plain", &using(&house, &policy, "floor"));
    let file = house.path("policy.d/plain.toml");
    // The command line does not sign it; somebody who has the key may all the same.
    let refused = house.cli(&["sign", "--key"]).arg(house.path("ops.key")).arg("--policy").arg(&file).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("policy expand"), "{refused:?}");
    let key = edgeguard_attest::sign::SigningKey::from_pem(&fs::read(house.path("ops.key")).unwrap()).unwrap();
    fs::write(house.path("policy.d/plain.toml.sigstore.json"), key.sign_policy(&fs::read(&file).unwrap()).unwrap()).unwrap();
    house.start();
    let status = house.status().to_string();
    assert!(status.contains("EG095"), "{status}");
    assert_eq!(house.invoke("plain").code, Some(1));
    let text = expanded(&house, "plain");
    fs::write(&file, text).unwrap();
    fs::remove_file(house.path("policy.d/plain.toml.sigstore.json")).unwrap();
    house.sign_policy("ops", &file);
    house.reload();
    assert_eq!(house.invoke("plain").code, Some(0));
}
