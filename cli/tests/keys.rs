//! `keygen`, `sign` and `verify` as people run them: the built binary, real files, exit codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const WASM: &[u8] = b"\0asm\x01\0\0\0";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn edgeguard(dir: &Path, arguments: &str) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_edgeguard")).args(arguments.split_whitespace()).current_dir(dir).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn done(dir: &Path, arguments: &str) -> String {
    let ran = edgeguard(dir, arguments);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments}");
    ran.out
}

/// A vendor with a key and a signed module.
fn vendor(algorithm: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("m.wasm"), WASM).unwrap();
    done(dir.path(), &format!("keygen --out keys/acme --algorithm {algorithm}"));
    done(dir.path(), "sign --key keys/acme.key m.wasm");
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn signed_module_verifies_with_either_algorithm() {
    for (algorithm, form) in [("ecdsa-p256", "message-signature"), ("ecdsa-p384", "message-signature"), ("ed25519", "dsse")] {
        let dir = vendor(algorithm);
        let out = done(dir.path(), "verify --key keys/acme.pub m.wasm");
        assert!(out.ends_with(&format!("verified: signed with `keys/acme.pub` ({algorithm}, {form})\n")), "{out}");
        assert!(!out.contains("FAILED"), "{out}");
        assert_eq!(names(dir.path()), ["keys", "m.wasm", "m.wasm.sigstore.json"], "nothing else is left behind");
        assert_eq!(names(&dir.path().join("keys")), ["acme.key", "acme.pub"]);
    }
}

#[test]
fn private_key_is_for_its_owner_alone_and_never_overwritten_unasked() {
    let dir = vendor("ecdsa-p256");
    let key = dir.path().join("keys/acme.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&key).unwrap();
    let again = edgeguard(dir.path(), "keygen --out keys/acme");
    assert_eq!(again.code, 2);
    assert!(again.err.contains("`keys/acme.key` exists already"), "{}", again.err);
    assert_eq!(fs::read(&key).unwrap(), before);
    // A public key alone is in the way too, and then no private key is written either.
    fs::remove_file(&key).unwrap();
    assert_eq!(edgeguard(dir.path(), "keygen --out keys/acme").code, 2);
    assert!(!key.exists());
    done(dir.path(), "keygen --out keys/acme --force");
    assert_ne!(fs::read(&key).unwrap(), before);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn unsigned_and_changed_modules_are_rejected_with_exit_code_3() {
    let dir = vendor("ecdsa-p256");
    fs::write(dir.path().join("bare.wasm"), WASM).unwrap();
    let unsigned = edgeguard(dir.path(), "verify --key keys/acme.pub bare.wasm");
    assert_eq!(unsigned.code, 3);
    assert!(unsigned.err.starts_with("error: EG1010 · module is not signed"), "{}", unsigned.err);

    fs::write(dir.path().join("m.wasm"), [WASM, b"\0"].concat()).unwrap();
    let changed = edgeguard(dir.path(), "verify --key keys/acme.pub m.wasm");
    assert_eq!(changed.code, 3);
    assert!(changed.err.starts_with("error: EG2002"), "{}", changed.err);
    assert!(changed.out.contains("  passed  key ") && changed.out.contains("  FAILED  digest "), "{}", changed.out);
    assert!(changed.out.ends_with("rejected: `edgeguard explain EG2002` says more\n"), "{}", changed.out);
}

#[test]
fn strangers_key_is_rejected_and_any_one_of_several_keys_suffices() {
    let dir = vendor("ed25519");
    done(dir.path(), "keygen --out keys/other");
    let stranger = edgeguard(dir.path(), "verify --key keys/other.pub m.wasm");
    assert_eq!(stranger.code, 3);
    assert!(stranger.err.starts_with("error: EG3004"), "{}", stranger.err);
    done(dir.path(), "verify --key keys/other.pub --key keys/acme.pub m.wasm");
}

#[test]
fn json_says_which_checks_passed_and_which_failed() {
    let dir = vendor("ecdsa-p256");
    let good: serde_json::Value = serde_json::from_str(&done(dir.path(), "verify --json --key keys/acme.pub m.wasm")).unwrap();
    assert_eq!(
        (&good["verified"], &good["proofs"][0]["form"], &good["rejection"]),
        (&true.into(), &"message-signature".into(), &().into())
    );
    let checks: Vec<&str> = good["passed"].as_array().unwrap().iter().map(|passed| passed["check"].as_str().unwrap()).collect();
    assert!(["module", "bundle", "key", "digest", "signature", "threshold"].iter().all(|check| checks.contains(check)), "{checks:?}");

    let bundle = dir.path().join("m.wasm.sigstore.json");
    fs::write(&bundle, fs::read_to_string(&bundle).unwrap().replacen('{', "{\"x\":1,", 1)).unwrap();
    let bad = edgeguard(dir.path(), "verify --json --key keys/acme.pub m.wasm");
    let json: serde_json::Value = serde_json::from_str(&bad.out).unwrap();
    assert_eq!((bad.code, &json["verified"], &json["rejection"]["code"]), (3, &false.into(), &"EG1004".into()));
    assert_eq!((&json["rejection"]["check"], &json["rejection"]["found"]), (&"bundle".into(), &"`x`".into()));
    assert_eq!(json["proofs"], serde_json::json!([]));
}

#[test]
fn bundle_may_lie_elsewhere() {
    let dir = vendor("ecdsa-p256");
    fs::rename(dir.path().join("m.wasm.sigstore.json"), dir.path().join("b.json")).unwrap();
    done(dir.path(), "verify --key keys/acme.pub --bundle b.json m.wasm");
}

#[test]
fn wrong_files_are_usage_errors_that_say_what_to_do() {
    let dir = vendor("ecdsa-p256");
    fs::write(dir.path().join("text.wasm"), "(module)").unwrap();
    for (arguments, said) in [
        ("verify --key keys/acme.key m.wasm", "this is the private key and stays with the signer"),
        ("verify --key keys/none.pub m.wasm", "cannot open `keys/none.pub`: No such file"),
        ("verify --key keys/acme.pub none.wasm", "cannot open `none.wasm`: No such file"),
        ("verify --key keys/acme.pub --key keys/acme.pub m.wasm", "is listed twice"),
        ("verify --key keys m.wasm", "not a regular file"),
        ("sign --key keys/acme.pub m.wasm", "this is the public key; pass the `.key` file"),
        ("sign --key keys/acme.key text.wasm", "EG1006"),
        ("keygen --out keys/", "must end in a name"),
    ] {
        let ran = edgeguard(dir.path(), arguments);
        assert_eq!(ran.code, 2, "{arguments}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(said), "{arguments}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
    assert!(!dir.path().join("text.wasm.sigstore.json").exists());
}

#[test]
fn private_key_that_others_can_read_gets_a_warning() {
    let dir = vendor("ecdsa-p256");
    fs::set_permissions(dir.path().join("keys/acme.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = edgeguard(dir.path(), "sign --key keys/acme.key m.wasm");
    assert_eq!(ran.code, 0);
    assert!(ran.err.starts_with("warning: private key `keys/acme.key` has mode 0644"), "{}", ran.err);
}

#[test]
fn pipe_in_place_of_a_module_does_not_make_verify_wait() {
    let dir = vendor("ecdsa-p256");
    let made = Command::new("mkfifo").arg(dir.path().join("pipe.wasm")).status().unwrap();
    assert!(made.success());
    let ran = edgeguard(dir.path(), "verify --key keys/acme.pub pipe.wasm");
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("EG1009"), "{}", ran.err);
}
