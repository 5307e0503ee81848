//! Admission by more than one signature: thresholds, identities, releases and their floors, grants, signed policies, and what stays on record.
//!
//! Runs in: tests, with the real daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;

use edgeguard_tests::guest;
use edgeguard_tests::house::House;
use edgeguard_tests::policy::Policy;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Tamper;
use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;

/// A policy's text for signers by key: each by its name in the house.
fn keys(house: &House, names: &[&str]) -> String {
    names.iter().map(|name| format!("[[module.signer]]\nkey = {:?}\n", house.path(name).with_extension("pub"))).collect()
}

/// The same, and a release of one of them required.
fn releases(house: &House) -> String {
    format!("{}[[module.require]]\nstatement = \"release\"\nsigners = [\"acme\"]\n", keys(house, &["acme"]))
}

fn says(number: u32) -> Vec<u8> {
    guest::guest(&format!(r#"(func (export "_start") (call $say (i32.const {number})))"#))
}

#[test]
fn a_module_that_two_must_sign_is_admitted_by_both_and_not_by_one_who_signs_twice() {
    let mut house = House::new();
    house.keygen("lab");
    let module = house.put_module("pair", &guest::empty());
    house.sign(&module, "acme");
    house.sign_with("acme", &["--label", "again", "--statement", "release", "--name", "pair", "--version", "1"], &module);
    let signers = format!(
        "{}[[module.require]]\nstatement = \"signature\"\nsigners = [\"acme\", \"lab\"]\nthreshold = 2\n\
         [[module.require]]\nstatement = \"release\"\nsigners = [\"acme\"]\n",
        keys(&house, &["acme", "lab"])
    );
    house.put_policy(&Policy::new("pair").with(|policy| policy.signers = Some(signers)));
    house.start();
    house.refuses("pair", "EG3007", &["2 of `signature` from `acme`, `lab`", "1: `acme`", "get 1 more of `signature` from `lab`"]);
    house.sign_with("lab", &["--label", "lab"], &module);
    house.reload();
    let status = house.admits("pair");
    assert_eq!(status["detail"]["version"], 1);
    let mut signers: Vec<&str> = status["detail"]["signers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    signers.sort_unstable();
    assert_eq!(signers, ["acme", "acme", "lab"]);
}

#[test]
fn a_workflow_is_admitted_under_the_operators_own_trusted_root_and_under_no_other() {
    const WORKFLOW: &str = "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/v1.2";
    const ISSUER: &str = "https://token.actions.example";
    let mut house = House::new();
    let sigstore = Instance::new("ours");
    let root = sigstore.trusted_root().to_string();
    fs::write(house.path("trusted_root.json"), &root).unwrap();
    let signer = |identity: &str| Some(format!("[[module.signer]]\nid = \"ci\"\nissuer = {ISSUER:?}\nidentity = {identity:?}\n"));
    let tags = WORKFLOW.replace("v1.2", "*");
    let spec = Spec::workflow(WORKFLOW, ISSUER);
    for (name, bundle, identity) in [
        ("good", sigstore.sign(&guest::empty(), &spec), tags.clone()),
        ("branch", sigstore.sign(&guest::empty(), &spec), WORKFLOW.replace("tags/v1.2", "heads/*")),
        ("unproved", sigstore.sign(&guest::empty(), &spec.clone().lie(Tamper::ProofMissing)), tags.clone()),
        ("foreign", Instance::new("theirs").sign(&guest::empty(), &spec), tags.clone()),
    ] {
        house.put_module(name, &guest::empty());
        fs::write(house.bundle(name), bundle.to_string()).unwrap();
        house.put_policy(&Policy::new(name).with(|policy| policy.signers = signer(&identity)));
    }
    // Without it, sigstore's own instance is what counts, and that knows none of them.
    house.start();
    house.refuses("good", "EG2008", &["log"]);
    house.stop();

    let digest = hex::encode(sha2::Sha256::digest(&root));
    house.host_adds(&format!("[trust]\nroot = {:?}\nroot-sha256 = \"{digest}\"\n", house.path("trusted_root.json")));
    house.start();
    assert_eq!(house.admits("good")["detail"]["signers"], json!(["ci"]));
    house.refuses("branch", "EG3001", &["refs/heads/*", WORKFLOW]);
    house.refuses("unproved", "EG2007", &["inclusion proof"]);
    house.refuses("foreign", "EG2008", &["log"]);
    let receipts = house.events("module-admitted");
    assert_eq!(receipts.len(), 1);
    let evidence = &receipts[0]["receipt"]["predicate"]["edgeguard_admission"]["bundles"][0]["evidence"];
    assert_eq!((evidence["identity"].as_str(), evidence["issuer"].as_str()), (Some(WORKFLOW), Some(ISSUER)));

    // A root that is not the pinned one is no reason to take another.
    house.stop();
    fs::write(house.path("trusted_root.json"), format!("{root} ")).unwrap();
    house.start();
    house.refuses("good", "EG2015", &[]);
}

#[test]
fn an_older_release_is_refused_also_after_a_restart_and_so_is_another_build_of_the_same_version() {
    let mut house = House::new();
    house.put_policy(&Policy::new("says").with(|policy| policy.signers = Some(releases(&house))));
    house.release("says", 2, &says(2));
    house.start();
    assert_eq!(house.run("says"), "2\n");
    assert_eq!(house.module_status("says")["detail"]["version"], 2);

    house.release("says", 1, &says(1));
    house.reload();
    house.refuses("says", "EG5001", &["version 2 or later, which this host has admitted", "found version 1"]);
    house.stop();
    house.start();
    house.refuses("says", "EG5001", &["version 2 or later"]);
    house.kill();
    house.start();
    house.refuses("says", "EG5001", &["version 2 or later"]);

    house.release("says", 2, &says(22));
    house.reload();
    house.refuses("says", "EG5007", &["version 2"]);
    house.release("says", 3, &says(3));
    house.reload();
    assert_eq!(house.run("says"), "3\n");
    // Nor does a bare signature get round the floor, under a policy that takes one.
    house.put_module("says", &says(1));
    fs::remove_file(house.release_bundle("says")).unwrap();
    house.sign(&house.module("says"), "acme");
    house.put_policy(&Policy::new("says"));
    house.reload();
    house.refuses("says", "EG5001", &["no signed version"]);
}

#[test]
fn a_release_below_the_policys_own_floor_is_refused() {
    let mut house = House::new();
    let policy = |house: &House, min: u64| {
        Policy::new("says").with(|policy| {
            policy.signers = Some(releases(house));
            policy.min_version = Some(min);
        })
    };
    house.put_policy(&policy(&house, 8));
    house.release("says", 7, &says(7));
    house.start();
    house.refuses("says", "EG5001", &["version 8 or later, the policy's `min-version`", "found version 7"]);
    house.put_policy(&policy(&house, 7));
    house.reload();
    house.admits("says");
}

#[test]
fn a_policy_that_grants_more_than_its_release_lists_is_refused() {
    let mut house = House::new();
    let data = house.dir("data");
    let more = house.dir("more");
    let signers = releases(&house);
    let plain = || Policy::new("reads").with(|policy| policy.signers = Some(signers.clone()));
    let listed = house.path("example.toml");
    fs::write(&listed, plain().read("/data", &data).text(&house)).unwrap();
    let module = house.put_module("reads", &guest::empty());
    house.sign_with(
        "acme",
        &["--statement", "release", "--name", "reads", "--version", "1", "--capabilities", listed.to_str().unwrap()],
        &module,
    );
    for (policy, found) in [
        (plain().read_write("/data", &data), "directory `/data` with `read-write`, not `read`"),
        (plain().read("/data", &data).read("/more", &more), "directory `/more`"),
    ] {
        house.put_policy(&policy);
        house.start();
        house.refuses("reads", "EG6001", &[found]);
        house.stop();
    }
    house.put_policy(&plain());
    house.start();
    house.admits("reads");
    house.put_policy(&plain().read("/data", &data));
    house.reload();
    house.admits("reads");
}

#[test]
fn on_a_host_for_signed_policies_only_those_count_and_no_older_one_comes_back() {
    let mut house = House::new();
    let ops = house.keygen("ops");
    house.host_adds(&format!("[policy-signing]\nkey = [{ops:?}]\n"));
    let file = house.path("policy.d/plain.toml");
    let beside = house.path("policy.d/plain.toml.sigstore.json");
    let put = |house: &House, revision: Option<u64>| {
        let _ = fs::remove_file(&beside);
        house.put_policy(&Policy::new("plain").with(|policy| policy.revision = revision));
    };
    let refuses = |house: &House, words: &[&str]| {
        house.reload();
        assert!(house.module_status("plain").is_null(), "it is in force: {}", house.module_status("plain"));
        let refused = &house.status()["refused_policy_files"][0];
        for word in words {
            assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains(word)), "`{word}` is not in {refused}");
        }
        assert_eq!(house.invoke("plain").code, Some(1));
    };

    house.install(&Policy::new("plain").with(|policy| policy.revision = Some(5)), &guest::empty());
    house.start();
    refuses(&house, &["EG1010", "plain.toml.sigstore.json"]);
    house.sign_policy("acme", &file);
    refuses(&house, &["EG3004", "ops.pub"]);
    fs::remove_file(&beside).unwrap();
    house.sign_policy("ops", &file);
    house.reload();
    house.admits("plain");

    // Edited, by a byte that means nothing.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n")).unwrap();
    refuses(&house, &["EG2002"]);
    // Signed again under the number that the other text had.
    let edited = fs::read_to_string(&file).unwrap();
    fs::remove_file(&beside).unwrap();
    house.sign_policy("ops", &file);
    refuses(&house, &["EG5004", "5 to be the text", "higher number"]);
    fs::write(&file, edited.strip_suffix('\n').unwrap()).unwrap();
    fs::remove_file(&beside).unwrap();
    house.sign_policy("ops", &file);
    house.reload();
    house.admits("plain");
    // Genuine, and from before.
    put(&house, Some(4));
    house.sign_policy("ops", &file);
    refuses(&house, &["EG5004", "at least 5"]);
    house.stop();
    house.start();
    refuses(&house, &["EG5004", "found 4"]);
    // One that says nothing of its age.
    put(&house, None);
    house.sign_policy("ops", &file);
    refuses(&house, &["revision"]);
    put(&house, Some(6));
    house.sign_policy("ops", &file);
    house.reload();
    house.admits("plain");
}

/// What a receipt claims is true: where the floors cannot be written, there is none.
#[test]
fn a_floor_that_cannot_be_raised_leaves_no_receipt() {
    let mut house = House::new();
    house.start();
    house.install(&Policy::new("plain"), &guest::empty());
    // In the way of the next write, and of nothing else.
    fs::create_dir(house.state().join("trust/floors.new")).unwrap();
    house.reload();
    house.refuses("plain", "EG5005", &["cannot write the state"]);
    assert!(house.events("module-admitted").is_empty(), "a receipt for a floor that never rose");
    fs::remove_dir(house.state().join("trust/floors.new")).unwrap();
    house.reload();
    house.admits("plain");
    assert_eq!(house.events("module-admitted").len(), 1);
}

#[test]
fn a_module_that_is_signed_again_shows_its_new_proofs_and_keeps_its_worker() {
    let mut house = House::new();
    house.put_policy(&Policy::new("says").with(|policy| policy.signers = Some(releases(&house))));
    house.release("says", 2, &says(2));
    house.start();
    house.admits("says");
    let worker = house.module_status("says")["worker"]["instance"].clone();
    assert!(worker.is_string(), "{worker}");
    house.release("says", 3, &says(2));
    house.reload();
    let status = house.module_status("says");
    assert_eq!(status["detail"]["version"], 3, "{status}");
    assert_eq!(status["worker"]["instance"], worker, "it was restarted");
    let receipts = house.events("module-admitted");
    assert_eq!(receipts.last().unwrap()["receipt"]["predicate"]["edgeguard_admission"]["version"], 3);
}

#[test]
fn an_admissions_receipt_is_in_the_journal_and_names_module_policy_bundle_and_signer() {
    let mut house = House::new();
    house.put_policy(&Policy::new("says").with(|policy| policy.signers = Some(releases(&house))));
    house.release("says", 2, &says(2));
    house.start();
    let admitted = house.wait_for_event("module-admitted", |event| event["module"] == "says");
    let receipt = &admitted["receipt"];
    assert_eq!(receipt["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(receipt["subject"], json!([{ "name": "says", "digest": { "sha256": admitted["digest"] } }]));
    let details = &receipt["predicate"]["edgeguard_admission"];
    assert_eq!(details["version"], 2);
    let sha256 = |path: &std::path::Path| hex::encode(sha2::Sha256::digest(fs::read(path).unwrap()));
    assert_eq!(details["bundles"][0]["sha256"], sha256(&house.release_bundle("says")));
    assert_eq!(details["bundles"][0]["evidence"]["signer"], "acme");
    assert_eq!(details["requirements"], json!([{ "statement": "release", "threshold": 1, "signers": ["acme"] }]));
    let policy = sha256(&house.path("policy.d/says.toml"));
    assert!(receipt.to_string().contains(&policy), "{receipt}");
    assert_eq!(admitted["policy_digest"], policy);

    // Whoever reads the journal elsewhere has it too.
    house.stop();
    assert_eq!(house.verify().0, Some(0));
    let output = house.cli(&["audit", "export", "--events", "--dir"]).arg(house.state().join("audit")).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(lines.lines().any(|line| line.contains(admitted["digest"].as_str().unwrap())), "{lines}");
    assert!(lines.contains("EDGEGUARD_ADMITTED") || lines.contains("EDGEGUARD_RELEASE"), "{lines}");
}
