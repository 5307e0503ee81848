//! What the tests of this crate share: fixed keys, one small module, and bundles that can be bent.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edgeguard_attest::Code;
use edgeguard_attest::Rejection;
use edgeguard_attest::TrustRoot;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnverifiedModule;
use edgeguard_attest::VerifiedModule;
use edgeguard_attest::sign::SigningKey;
use serde_json::Value;
use serde_json::json;

pub const P256_KEY: &[u8] = include_bytes!("../data/p256.key");
pub const ED25519_KEY: &[u8] = include_bytes!("../data/ed25519.key");
pub const P384_KEY: &[u8] = include_bytes!("../data/p384.key");
pub const P256_PUB: &[u8] = include_bytes!("../data/p256.pub");
pub const ED25519_PUB: &[u8] = include_bytes!("../data/ed25519.pub");
pub const P384_PUB: &[u8] = include_bytes!("../data/p384.pub");
pub const STRANGER_PUB: &[u8] = include_bytes!("../data/stranger.pub");

pub const IN_TOTO: &str = "application/vnd.in-toto+json";
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The empty core module, followed by a custom section so that there is something to change.
pub fn module() -> Vec<u8> {
    b"\0asm\x01\0\0\0\0\x07\x04test\x2a\x2b".to_vec()
}

pub fn p256() -> SigningKey {
    SigningKey::from_pem(P256_KEY).unwrap()
}

pub fn ed25519() -> SigningKey {
    SigningKey::from_pem(ED25519_KEY).unwrap()
}

/// Trusts the three vendor keys and not the stranger's.
pub fn trust() -> TrustRoot {
    let key = |pem, name: &str| TrustedKey::from_pem(pem).unwrap().named(name);
    TrustRoot::new(vec![key(P256_PUB, "p256.pub"), key(ED25519_PUB, "ed25519.pub"), key(P384_PUB, "p384.pub")]).unwrap()
}

pub fn verify_text(bundle: &[u8]) -> Result<VerifiedModule, Rejection> {
    UnverifiedModule::from_bytes(module()).unwrap().verify(bundle, &trust())
}

pub fn verify(bundle: &Value) -> Result<VerifiedModule, Rejection> {
    verify_text(bundle.to_string().as_bytes())
}

#[track_caller]
pub fn refused(bundle: &Value) -> Code {
    verify(bundle).expect_err("must be refused").code
}

pub fn hint(public: &[u8]) -> String {
    TrustedKey::from_pem(public).unwrap().id().hint()
}

pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// A good bundle of a message signature by the P-256 key.
pub fn message() -> Value {
    serde_json::from_str(&p256().sign(&module()).unwrap()).unwrap()
}

/// A good bundle of a statement by the Ed25519 key.
pub fn dsse() -> Value {
    serde_json::from_str(&ed25519().sign(&module()).unwrap()).unwrap()
}

/// A good statement about [`module`].
pub fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "_", "digest": { "sha256": hex::encode(sha256(&module())) } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
}

/// A bundle whose envelope holds `payload`, properly signed by the trusted Ed25519 key.
pub fn envelope(payload: &[u8], payload_type: &str) -> Value {
    let mut signed = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    signed.extend_from_slice(payload);
    let signature = ed25519_pair().sign(&signed);
    json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": hint(ED25519_PUB) } },
        "dsseEnvelope": { "payload": STANDARD.encode(payload), "payloadType": payload_type, "signatures": [{ "sig": STANDARD.encode(signature) }] },
    })
}

/// [`envelope`] of a statement.
pub fn signed(statement: &Value) -> Value {
    envelope(statement.to_string().as_bytes(), IN_TOTO)
}

/// A bundle with a message signature as given.
pub fn message_of(public: &[u8], algorithm: &str, digest: &[u8], signature: &[u8]) -> Value {
    json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": hint(public) } },
        "messageSignature": { "messageDigest": { "algorithm": algorithm, "digest": STANDARD.encode(digest) }, "signature": STANDARD.encode(signature) },
    })
}

pub fn ed25519_pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_pkcs8(&pem_body(ED25519_KEY)).unwrap()
}

pub fn ecdsa(alg: &'static signature::EcdsaSigningAlgorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    EcdsaKeyPair::from_pkcs8(alg, &pem_body(key)).unwrap().sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

/// The DER inside a PEM block.
pub fn pem_body(pem: &[u8]) -> Vec<u8> {
    let body: String = std::str::from_utf8(pem).unwrap().lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).unwrap()
}
