//! What was proved about one bundle, for rules, revocation, receipts and the journal.
//!
//! Runs in: daemon, CLI. Made by verification only; everything in it is verified, and nothing in it is what a bundle merely says.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::keys::Algorithm;
use crate::keys::KeyId;
use crate::module::Form;
use crate::time::Time;

/// Who signed, how, and what is proved about when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Proof {
    /// The policy's name for the signer; the first, if several signers of the policy are this one.
    pub signer: String,
    /// The key whose signature was verified. `None` for a keyless signer, whose key lives for one signature.
    pub key: Option<KeyId>,
    /// What the operator calls that key, or the identity.
    pub key_name: String,
    /// The key's algorithm.
    pub algorithm: Algorithm,
    /// What was signed.
    pub form: Form,
    /// Who a certificate authority says signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyless: Option<KeylessProof>,
    /// When it was signed at the latest, by each source that proved it. Empty if none did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<ProvedTime>,
    /// Where it is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogEntry>,
}

impl Proof {
    /// What makes this signer another than the next: its key, or identity and issuer. For counting, whatever the policy calls it.
    #[must_use]
    pub fn distinct(&self) -> DistinctSigner {
        match (&self.keyless, self.key) {
            (Some(keyless), _) => DistinctSigner::Identity { issuer: keyless.issuer.clone(), identity: keyless.identity.clone() },
            (None, Some(key)) => DistinctSigner::Key(key),
            (None, None) => DistinctSigner::Identity { issuer: String::new(), identity: String::new() },
        }
    }
}

/// A signer, whatever names it has in a policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DistinctSigner {
    /// Holder of a key.
    Key(KeyId),
    /// An identity, as one issuer knows it.
    Identity {
        /// The issuer.
        issuer: String,
        /// The identity.
        identity: String,
    },
}

/// What a verified Fulcio certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeylessProof {
    /// Its one name.
    pub identity: String,
    /// The OIDC issuer that vouched for the name.
    pub issuer: String,
    /// All claims it makes, by the names of [`Claim`](crate::Claim).
    pub claims: BTreeMap<String, String>,
    /// SHA-256 of the certificate, in lower-case hex.
    pub certificate_sha256: String,
}

/// A time by which the signature existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProvedTime {
    /// The time.
    pub time: Time,
    /// Who proved it.
    pub source: TimeSource,
}

/// Who proves a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeSource {
    /// A Rekor v1 log, by its signed entry timestamp.
    Log,
    /// A timestamp authority (RFC 3161).
    Timestamp,
}

impl TimeSource {
    /// Its name in text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Where in which log a signature is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogEntry {
    /// The log's id in lower-case hex.
    pub log_id: String,
    /// The entry's index in the log.
    pub index: u64,
}
