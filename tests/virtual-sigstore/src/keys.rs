//! Keys made from names: the same name gives the same key, so that a run can be repeated.
//!
//! Runs in: tests. The keys are public knowledge; nothing outside a test may trust one.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::der;

/// A signing key.
#[derive(Clone)]
pub struct Key {
    pair: Pair,
    spki: Vec<u8>,
}

#[derive(Clone)]
enum Pair {
    P256(Arc<EcdsaKeyPair>),
    Ed25519(Arc<Ed25519KeyPair>),
}

impl Key {
    /// The ECDSA P-256 key of this name. Its signatures differ from run to run: the library picks a nonce.
    #[must_use]
    pub fn p256(name: &str) -> Self {
        let curve = der::oid("1.2.840.10045.3.1.7");
        let algorithm = der::sequence(&[der::oid("1.2.840.10045.2.1"), curve]);
        let private = der::sequence(&[der::integer(&[1]), der::octets(&sha256(format!("p256 {name}").as_bytes()))]);
        let pkcs8 = der::sequence(&[der::integer(&[0]), algorithm.clone(), der::octets(&private)]);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8).unwrap();
        let spki = der::sequence(&[algorithm, der::bits(pair.public_key().as_ref())]);
        Self { pair: Pair::P256(Arc::new(pair)), spki }
    }

    /// The Ed25519 key of this name.
    #[must_use]
    pub fn ed25519(name: &str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&sha256(format!("ed25519 {name}").as_bytes())).unwrap();
        let spki = der::sequence(&[der::sequence(&[der::oid("1.3.101.112")]), der::bits(pair.public_key().as_ref())]);
        Self { pair: Pair::Ed25519(Arc::new(pair)), spki }
    }

    /// A signature over `message`: DER for P-256 (SHA-256), 64 bytes for Ed25519.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// SubjectPublicKeyInfo, in DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The public key as people hand it around.
    #[must_use]
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }

    /// How a bundle names this key: base64 of the SHA-256 of its SubjectPublicKeyInfo (cosign's form).
    #[must_use]
    pub fn hint(&self) -> String {
        STANDARD.encode(sha256(&self.spki))
    }

    /// The bare public key: a point, or 32 bytes.
    pub(crate) fn raw(&self) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The name of its algorithm in a trusted root (sigstore protobuf-specs, `PublicKeyDetails`).
    pub(crate) fn details(&self) -> &'static str {
        match &self.pair {
            Pair::P256(_) => "PKIX_ECDSA_P256_SHA_256",
            Pair::Ed25519(_) => "PKIX_ED25519",
        }
    }

    /// The AlgorithmIdentifier of its signatures.
    pub(crate) fn signature_algorithm(&self) -> Vec<u8> {
        der::sequence(&[der::oid(match &self.pair {
            Pair::P256(_) => "1.2.840.10045.4.3.2",
            Pair::Ed25519(_) => "1.3.101.112",
        })])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.hint())
    }
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// A PEM block with lines of 64 characters.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
