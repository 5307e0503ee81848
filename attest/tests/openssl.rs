//! OpenSSL as the other side: its keys, its signatures, and its opinion of ours.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edgeguard_attest::Algorithm;
use edgeguard_attest::Code;
use edgeguard_attest::TrustRoot;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnverifiedModule;
use edgeguard_attest::sign::SigningKey;
use serde_json::Value;
use serde_json::json;
use support::*;

/// A scratch directory and OpenSSL in it. `None`, with a printed reason, where OpenSSL is not installed; in CI that is a failure.
fn openssl() -> Option<OpenSsl> {
    if Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success()) {
        return Some(OpenSsl { dir: tempfile::tempdir().unwrap() });
    }
    assert!(std::env::var_os("CI").is_none(), "`openssl` is not installed, and CI must not skip");
    eprintln!("skipped: `openssl` is not installed");
    None
}

struct OpenSsl {
    dir: tempfile::TempDir,
}

impl OpenSsl {
    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    #[track_caller]
    fn run(&self, arguments: &str) {
        let out = Command::new("openssl").args(arguments.split_whitespace()).current_dir(self.path()).output().unwrap();
        assert!(out.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

/// The bundle that a vendor writes by hand around an OpenSSL signature.
fn by_hand(public: &[u8], algorithm: &str, digest: &[u8], signature: &[u8]) -> Vec<u8> {
    message_of(public, algorithm, digest, signature).to_string().into_bytes()
}

fn verify_with(public: &[u8], bundle: &[u8]) -> Result<Algorithm, Code> {
    let trust = TrustRoot::new(vec![TrustedKey::from_pem(public).unwrap()]).unwrap();
    UnverifiedModule::from_bytes(module()).unwrap().verify(bundle, &trust).map(|v| v.proof().algorithm).map_err(|r| r.code)
}

#[test]
fn bundle_around_an_openssl_signature_is_admitted() {
    let Some(openssl) = openssl() else { return };
    openssl.write("m.wasm", module());
    openssl.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    openssl.run("pkey -in key.pem -pubout -out pub.pem");
    openssl.run("dgst -sha256 -sign key.pem -out sig m.wasm");
    let bundle = by_hand(&openssl.read("pub.pem"), "SHA2_256", &sha256(&module()), &openssl.read("sig"));
    assert_eq!(verify_with(&openssl.read("pub.pem"), &bundle), Ok(Algorithm::EcdsaP256));
    // The same key over the same bytes with another digest: good for OpenSSL, not for us.
    openssl.run("dgst -sha384 -sign key.pem -out sig384 m.wasm");
    let bundle = by_hand(&openssl.read("pub.pem"), "SHA2_256", &sha256(&module()), &openssl.read("sig384"));
    assert_eq!(verify_with(&openssl.read("pub.pem"), &bundle), Err(Code::Signature));
}

#[test]
fn p384_and_ed25519_signatures_of_openssl_are_admitted() {
    let Some(openssl) = openssl() else { return };
    openssl.write("m.wasm", module());
    openssl.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem");
    openssl.run("pkey -in p384.pem -pubout -out p384.pub");
    openssl.run("dgst -sha384 -sign p384.pem -out p384.sig m.wasm");
    openssl.run("dgst -sha384 -binary -out p384.digest m.wasm");
    let bundle = by_hand(&openssl.read("p384.pub"), "SHA2_384", &openssl.read("p384.digest"), &openssl.read("p384.sig"));
    assert_eq!(verify_with(&openssl.read("p384.pub"), &bundle), Ok(Algorithm::EcdsaP384));
    // Older clients sign SHA-256 with P-384; a good signature, and refused for its digest.
    openssl.run("dgst -sha256 -sign p384.pem -out p384-256.sig m.wasm");
    let bundle = by_hand(&openssl.read("p384.pub"), "SHA2_256", &sha256(&module()), &openssl.read("p384-256.sig"));
    assert_eq!(verify_with(&openssl.read("p384.pub"), &bundle), Err(Code::Algorithm));

    openssl.run("genpkey -algorithm ED25519 -out ed.pem");
    openssl.run("pkey -in ed.pem -pubout -out ed.pub");
    openssl.run("pkeyutl -sign -inkey ed.pem -rawin -in m.wasm -out ed.sig");
    let bundle = by_hand(&openssl.read("ed.pub"), "SHA2_256", &sha256(&module()), &openssl.read("ed.sig"));
    assert_eq!(verify_with(&openssl.read("ed.pub"), &bundle), Ok(Algorithm::Ed25519));
}

#[test]
fn openssl_accepts_the_keys_and_signatures_made_here() {
    let Some(openssl) = openssl() else { return };
    openssl.write("m.wasm", module());

    let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    openssl.write("p256.pem", key.to_pem().as_bytes());
    openssl.write("p256.pub", key.public_pem());
    openssl.run("pkey -in p256.pem -pubout -out derived.pub");
    assert_eq!(openssl.read("derived.pub"), key.public_pem().as_bytes());
    let bundle: Value = serde_json::from_str(&key.sign(&module()).unwrap()).unwrap();
    openssl.write("sig", STANDARD.decode(bundle["messageSignature"]["signature"].as_str().unwrap()).unwrap());
    openssl.run("dgst -sha256 -verify p256.pub -signature sig m.wasm");

    let key = SigningKey::generate(Algorithm::EcdsaP384).unwrap();
    openssl.write("p384.pem", key.to_pem().as_bytes());
    openssl.write("p384.pub", key.public_pem());
    openssl.run("pkey -in p384.pem -pubout -out derived.pub");
    assert_eq!(openssl.read("derived.pub"), key.public_pem().as_bytes());
    let bundle: Value = serde_json::from_str(&key.sign(&module()).unwrap()).unwrap();
    assert_eq!(bundle["messageSignature"]["messageDigest"]["algorithm"], "SHA2_384");
    openssl.write("sig", STANDARD.decode(bundle["messageSignature"]["signature"].as_str().unwrap()).unwrap());
    openssl.run("dgst -sha384 -verify p384.pub -signature sig m.wasm");

    let key = SigningKey::generate(Algorithm::Ed25519).unwrap();
    openssl.write("ed.pem", key.to_pem().as_bytes());
    openssl.write("ed.pub", key.public_pem());
    openssl.run("pkey -in ed.pem -pubout -out derived.pub");
    assert_eq!(openssl.read("derived.pub"), key.public_pem().as_bytes());
    let bundle: Value = serde_json::from_str(&key.sign(&module()).unwrap()).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    openssl.write("pae", [format!("DSSEv1 28 {IN_TOTO} {} ", payload.len()).as_bytes(), &payload].concat());
    openssl.write("sig", STANDARD.decode(bundle["dsseEnvelope"]["signatures"][0]["sig"].as_str().unwrap()).unwrap());
    openssl.run("pkeyutl -verify -pubin -inkey ed.pub -rawin -in pae -sigfile sig");
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap()["predicate"], json!({}));
}

#[test]
fn hint_is_what_openssl_computes_for_the_key() {
    let Some(openssl) = openssl() else { return };
    openssl.write("pub.pem", P256_PUB);
    openssl.run("pkey -pubin -in pub.pem -outform DER -out spki");
    openssl.run("dgst -sha256 -binary -out id spki");
    assert_eq!(STANDARD.encode(openssl.read("id")), hint(P256_PUB));
}
