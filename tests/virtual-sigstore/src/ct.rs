//! A certificate transparency log, as far as its signed timestamps go (RFC 6962 §3.2, §3.3).
//!
//! Runs in: tests.

use crate::keys::Key;
use crate::keys::sha256;

/// The log.
pub struct CtLog {
    pub(crate) key: Key,
}

impl CtLog {
    pub(crate) fn new(seed: &str) -> Self {
        Self { key: Key::p256(&format!("{seed} ct")) }
    }

    /// SHA-256 of its public key.
    pub(crate) fn id(&self) -> [u8; 32] {
        sha256(self.key.spki())
    }

    /// A timestamp for the certificate that will have this to-be-signed part, but for the timestamp itself.
    pub(crate) fn timestamp(&self, precertificate: &[u8], issuer_key: [u8; 32], at: i64, extensions: &[u8]) -> Vec<u8> {
        self.encode(self.id(), precertificate, issuer_key, at, extensions)
    }

    /// A timestamp that says it is by `other`.
    pub(crate) fn timestamp_as(&self, other: &CtLog, precertificate: &[u8], issuer_key: [u8; 32], at: i64) -> Vec<u8> {
        self.encode(other.id(), precertificate, issuer_key, at, &[])
    }

    fn encode(&self, id: [u8; 32], precertificate: &[u8], issuer_key: [u8; 32], at: i64, extensions: &[u8]) -> Vec<u8> {
        let milliseconds = u64::try_from(at * 1000).unwrap().to_be_bytes();
        let length = u32::try_from(precertificate.len()).unwrap().to_be_bytes();
        let signed = [&[0, 0][..], &milliseconds, &[0, 1], &issuer_key, &length[1..], precertificate, &vector(extensions)].concat();
        let signature = self.key.sign(&signed);
        const SHA256_ECDSA: [u8; 2] = [4, 3];
        [&[0][..], &id, &milliseconds, &vector(extensions), &SHA256_ECDSA, &vector(&signature)].concat()
    }
}

/// The list that a certificate embeds.
pub(crate) fn list(timestamps: &[Vec<u8>]) -> Vec<u8> {
    let each: Vec<u8> = timestamps.iter().flat_map(|timestamp| vector(timestamp)).collect();
    vector(&each)
}

/// A TLS vector with a length of two bytes.
fn vector(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}
