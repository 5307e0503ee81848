//! Other sigstore clients as the other side: what they say of the bundles that are written here.
//!
//! The test installs them itself, in fixed versions, below `target/`. Where it cannot, it skips with the reason, and fails in CI.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use edgeguard_attest::Algorithm;
use edgeguard_attest::Approval;
use edgeguard_attest::Release;
use edgeguard_attest::Time;
use edgeguard_attest::sign::SigningKey;
use support::*;

/// The JavaScript client, by npm.
const JAVASCRIPT: [&str; 2] = ["@sigstore/verify@4.1.3", "@sigstore/bundle@5.0.1"];
/// The Python client, by pip.
const PYTHON: &str = "sigstore==4.5.1";

/// Why a client cannot be asked. In CI that is a failure.
fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}, and CI must not skip");
    eprintln!("skipped: {why}");
}

fn below_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(name)
}

fn ran(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|error| format!("cannot run `{program}`: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(format!("`{program}`: {}{}", text(&out.stdout), text(&out.stderr))) }
}

/// The folder in which the JavaScript client and our script lie.
static NODE: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let dir = below_target("interop-javascript");
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let script = dir.join("verify.mjs");
    fs::write(&script, include_str!("interop/verify.mjs")).map_err(|error| error.to_string())?;
    // What is there in the right version is not fetched again.
    ran(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&dir).args(JAVASCRIPT))?;
    Ok(script)
});

/// The interpreter that has the Python client.
static INTERPRETER: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let dir = below_target("interop-python");
    let python = dir.join("bin/python");
    let installed = |python: &Path| ran(Command::new(python).args(["-m", "pip", "show", "--quiet", "sigstore"])).is_ok();
    if !installed(&python) {
        ran(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    }
    ran(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTHON]))?;
    Ok(python)
});

/// A client, asked about a bundle, a public key and an artifact; `Ok` if it verifies.
type Client = fn(&Case) -> Result<String, String>;

/// Whether a client compares a statement's subject with the artifact.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subjects {
    Compared,
    Ignored,
}

struct Case {
    dir: tempfile::TempDir,
    artifact: Vec<u8>,
}

impl Case {
    fn of(bundle: &str, public: &str, artifact: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bundle.json"), bundle).unwrap();
        fs::write(dir.path().join("key.pub"), public).unwrap();
        fs::write(dir.path().join("artifact"), artifact).unwrap();
        Self { dir, artifact: artifact.to_vec() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn javascript(case: &Case) -> Result<String, String> {
    let script = NODE.as_ref().map_err(Clone::clone)?;
    ran(Command::new("node").arg(script).args(["bundle.json", "key.pub", "artifact"].map(|name| case.path(name))))
}

fn python(case: &Case) -> Result<String, String> {
    let python = INTERPRETER.as_ref().map_err(Clone::clone)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/verify.py");
    ran(Command::new(python)
        .arg(script)
        .args(["bundle.json", "key.pub"].map(|name| case.path(name)))
        .arg(hex::encode(sha256(&case.artifact))))
}

fn release() -> Release {
    Release {
        name: "voice-gate".into(),
        version: 7,
        not_before: Some(Time(1_795_305_600)),
        expires: Some(Time(1_826_841_600)),
        capabilities: None,
        capabilities_sha256: None,
    }
}

fn approval() -> Approval {
    Approval { name: "voice-gate".into(), version: Some(7), not_before: None, expires: None, comment: Some("heard it twice".into()) }
}

/// Everything that can be signed with a key, each with what was signed.
fn bundles(key: &SigningKey) -> Vec<(&'static str, String, Vec<u8>)> {
    let policy = b"version = 1\n".to_vec();
    vec![
        ("signature", key.sign(&module()).unwrap(), module()),
        ("release", key.sign_release(&module(), &release()).unwrap(), module()),
        ("approval", key.sign_approval(&module(), &approval()).unwrap(), module()),
        ("policy", key.sign_policy(&policy).unwrap(), policy),
    ]
}

/// Asks `client` about each kind that it supports with this algorithm, as it is and with its key or artifact changed.
fn agrees(client: Client, subjects: Subjects, algorithm: Algorithm, kinds: &[&str]) {
    let (key, stranger) = (SigningKey::generate(algorithm).unwrap(), SigningKey::generate(algorithm).unwrap());
    for (kind, bundle, artifact) in bundles(&key).into_iter().filter(|(kind, ..)| kinds.contains(kind)) {
        let verdict = client(&Case::of(&bundle, &key.public_pem(), &artifact));
        assert_eq!(verdict.as_deref(), Ok("verified"), "{algorithm} {kind}");
        let foreign = client(&Case::of(&bundle, &stranger.public_pem(), &artifact));
        assert!(foreign.is_err(), "{algorithm} {kind}: another key verified it");
        // The JavaScript client does not hold a statement's subject against the artifact; its caller must.
        if bundle.contains("messageSignature") || subjects == Subjects::Compared {
            let other = client(&Case::of(&bundle, &key.public_pem(), &[&artifact[..], b"\0"].concat()));
            assert!(other.is_err(), "{algorithm} {kind}: verified for another artifact");
        }
    }
}

#[test]
fn the_javascript_client_verifies_what_is_signed_here() {
    if let Err(why) = NODE.as_ref() {
        return skipped(why);
    }
    agrees(javascript, Subjects::Ignored, Algorithm::EcdsaP256, &["signature", "release", "approval", "policy"]);
    // It takes SHA-256 for the digest of every statement, and no message signature by Ed25519.
    agrees(javascript, Subjects::Ignored, Algorithm::EcdsaP384, &["signature", "policy"]);
    agrees(javascript, Subjects::Ignored, Algorithm::Ed25519, &["signature", "release", "approval"]);
}

#[test]
fn the_python_client_verifies_what_is_signed_here() {
    if let Err(why) = INTERPRETER.as_ref() {
        return skipped(why);
    }
    agrees(python, Subjects::Compared, Algorithm::EcdsaP256, &["signature", "release", "approval", "policy"]);
}
