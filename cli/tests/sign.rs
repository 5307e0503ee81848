//! `sign` as people run it: releases, approvals, policies, and keys that are encrypted or in no file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use common::Ran;
use common::edgeguard;

const WASM: &[u8] = b"\0asm\x01\0\0\0";

const POLICY: &str = r#"version = 1
[module]
name = "peak"
path = "/var/lib/edgeguard/modules/peak.wasm"
mode = "command"
[[module.signer]]
key = "/etc/edgeguard/keys/acme.pub"
[[dir]]
guest = "/audio"
host = "/var/lib/gateway/audio"
access = "read"
[limits]
memory = "16 MiB"
deadline = "500 ms"
instances = 1
output = "64 KiB"
"#;

fn vendor() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("peak.wasm"), WASM).unwrap();
    fs::write(dir.path().join("peak.toml"), POLICY).unwrap();
    run(dir.path(), "keygen --out acme").done();
    dir
}

fn run(dir: &Path, arguments: &str) -> Ran {
    edgeguard(dir, &arguments.split_whitespace().collect::<Vec<_>>())
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_release_says_name_version_validity_and_capabilities_and_verifies() {
    let dir = vendor();
    let said = run(
        dir.path(),
        "sign --key acme.key --statement release --name peak --version 7 --not-before 2026-01-01T00:00:00Z --expires 365d --capabilities peak.toml peak.wasm",
    )
    .done();
    assert!(said.out.contains("says    release of `peak`, version 7, from 2026-01-01T00:00:00Z, until 20"), "{}", said.out);
    assert!(said.out.ends_with("with at most 1 directory, 0 graphs and 0 variables\n"), "{}", said.out);

    let verified = run(dir.path(), "verify --json --key acme.pub --statement release peak.wasm").done();
    let report: serde_json::Value = serde_json::from_str(&verified.out).unwrap();
    assert_eq!((&report["release"]["name"], &report["release"]["version"]), (&"peak".into(), &7.into()));
    assert_eq!(report["release"]["capabilities"]["directories"][0]["path"], "/audio");
    assert_eq!(report["bundles"][0], "./peak.wasm.release.sigstore.json");
    // A release is no bare signature.
    assert_eq!(run(dir.path(), "verify --key acme.pub --statement signature peak.wasm").code, 3);
}

#[test]
fn a_release_and_an_approval_lie_side_by_side() {
    let dir = vendor();
    run(dir.path(), "keygen --out Ops_A --algorithm ed25519").done();
    run(dir.path(), "sign --key acme.key --statement release --name peak --version 1 peak.wasm").done();
    let said = run(dir.path(), "sign --key Ops_A.key --statement approval --name peak --comment fine peak.wasm").done();
    assert!(said.out.starts_with("bundle  peak.wasm.approval-ops-a.sigstore.json\n"), "{}", said.out);
    run(dir.path(), "verify --key Ops_A.pub --statement approval --bundle peak.wasm.approval-ops-a.sigstore.json peak.wasm").done();
}

#[test]
fn a_bundle_that_says_something_else_is_replaced_by_force_only() {
    let dir = vendor();
    run(dir.path(), "keygen --out other").done();
    run(dir.path(), "sign --key acme.key peak.wasm").done();
    run(dir.path(), "sign --key acme.key peak.wasm").done();
    let bundle = dir.path().join("peak.wasm.sigstore.json");
    let before = fs::read(&bundle).unwrap();
    for (arguments, found) in [
        ("--key acme.key --statement release --name peak --version 1 --output peak.wasm.sigstore.json", "is a signature;"),
        ("--key other.key", "is a signature by another key;"),
    ] {
        let refused = run(dir.path(), &format!("sign {arguments} peak.wasm"));
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains(found) && refused.err.contains("`--force`"), "{}", refused.err);
        assert_eq!(fs::read(&bundle).unwrap(), before);
    }
    run(dir.path(), "sign --key acme.key --statement release --name peak --version 1 peak.wasm").done();
    let refused = run(dir.path(), "sign --key acme.key --statement release --name other --version 1 peak.wasm");
    assert!(refused.err.contains("is a release of `peak`;"), "{}", refused.err);
    run(dir.path(), "sign --force --key acme.key --statement release --name other --version 1 peak.wasm").done();
    fs::write(&bundle, "not a bundle").unwrap();
    assert!(run(dir.path(), "sign --key acme.key peak.wasm").err.contains("no bundle that is understood"));
}

#[test]
fn an_option_without_a_place_in_the_statement_is_refused() {
    let dir = vendor();
    for (arguments, said) in [
        ("--name peak", "`--name` belongs to a release or an approval, found `--statement signature`"),
        (
            "--statement approval --name peak --capabilities peak.toml",
            "`--capabilities` belongs to a release, found `--statement approval`",
        ),
        ("--statement release --name peak --version 1 --comment x", "`--comment` belongs to an approval, found `--statement release`"),
        ("--statement release --name peak", "--version"),
        ("--statement release --version 1", "--name"),
        ("--statement release --name peak --version 1 --expires tomorrow", "expected a time such as"),
        (
            "--statement release --name peak --version 1 --not-before 2027-01-01T00:00:00Z --expires 2026-01-01T00:00:00Z",
            "refusing to sign this statement",
        ),
        ("--label UPPER", "expected 1 to 32"),
    ] {
        let ran = run(dir.path(), &format!("sign --key acme.key {arguments} peak.wasm"));
        assert_eq!(ran.code, 2, "{arguments}");
        assert!(ran.err.contains(said), "{arguments}: {}", ran.err);
    }
    assert!(fs::read_dir(dir.path()).unwrap().all(|entry| !entry.unwrap().path().to_string_lossy().ends_with(".sigstore.json")));
}

#[test]
fn a_policy_is_signed_and_an_edit_is_seen() {
    let dir = vendor();
    run(dir.path(), "sign --key acme.key --policy peak.toml").done();
    let verified = run(dir.path(), "verify --key acme.pub peak.toml").done();
    assert!(verified.out.contains("verified: signed with `acme.pub`"), "{}", verified.out);
    fs::write(dir.path().join("peak.toml"), POLICY.replace("16 MiB", "17 MiB")).unwrap();
    let edited = run(dir.path(), "verify --key acme.pub peak.toml");
    assert_eq!(edited.code, 3);
    assert!(edited.err.starts_with("error: EG2002"), "{}", edited.err);
    fs::write(dir.path().join("peak.toml"), "version = 1\n").unwrap();
    assert!(run(dir.path(), "sign --key acme.key --policy peak.toml").err.contains("`edgeguard policy check"));
}

#[test]
fn an_encrypted_key_signs_with_its_passphrase_and_not_without() {
    let dir = vendor();
    fs::write(dir.path().join("pass"), "correct horse\n").unwrap();
    fs::write(dir.path().join("wrong"), "wrong horse\n").unwrap();
    let made = run(dir.path(), "keygen --out safe --encrypt --passphrase-file pass").done();
    assert!(made.out.contains("(mode 0600, encrypted; stays with the signer)"), "{}", made.out);
    assert!(fs::read_to_string(dir.path().join("safe.key")).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    run(dir.path(), "sign --key safe.key --passphrase-file pass peak.wasm").done();
    run(dir.path(), "verify --key safe.pub peak.wasm").done();
    let wrong = run(dir.path(), "sign --key safe.key --passphrase-file wrong --force peak.wasm");
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("the passphrase is wrong, or the key file is damaged"), "{}", wrong.err);
    fs::write(dir.path().join("short"), "1234567\n").unwrap();
    assert!(run(dir.path(), "keygen --out weak --encrypt --passphrase-file short").err.contains("at least 8 bytes, found 7"));
    assert!(!dir.path().join("weak.key").exists());
}

#[test]
fn keys_that_openssl_encrypts_are_opened_and_ours_are_opened_by_openssl() {
    if !Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "`openssl` is not installed, and CI must not skip");
        eprintln!("skipped: `openssl` is not installed");
        return;
    }
    let dir = vendor();
    let openssl = |arguments: &str| {
        let out = Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir.path()).output().unwrap();
        assert!(out.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&out.stderr));
    };
    fs::write(dir.path().join("pass"), "correct horse").unwrap();
    for scheme in ["-v2 aes-256-cbc -v2prf hmacWithSHA256", "-v2 aes-128-cbc -iter 100000", "-scrypt"] {
        openssl(&format!("pkcs8 -topk8 -in acme.key -out sealed.key -passout file:pass {scheme}"));
        run(dir.path(), "sign --key sealed.key --passphrase-file pass peak.wasm").done();
        run(dir.path(), "verify --key acme.pub peak.wasm").done();
    }
    run(dir.path(), "keygen --out safe --encrypt --passphrase-file pass --algorithm ecdsa-p384").done();
    openssl("pkey -in safe.key -passin file:pass -pubout -out derived.pub");
    assert_eq!(fs::read(dir.path().join("derived.pub")).unwrap(), fs::read(dir.path().join("safe.pub")).unwrap());
}

#[test]
fn a_key_by_standard_input_signs_and_no_file_holds_it() {
    let dir = vendor();
    let key = fs::read(dir.path().join("acme.key")).unwrap();
    fs::remove_file(dir.path().join("acme.key")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_edgeguard"))
        .args(["sign", "--key", "-", "peak.wasm"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&key).unwrap();
    assert!(child.wait().unwrap().success());
    run(dir.path(), "verify --key acme.pub peak.wasm").done();
    assert!(json(&dir.path().join("peak.wasm.sigstore.json"))["verificationMaterial"]["publicKey"]["hint"].is_string());
}
