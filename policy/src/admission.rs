//! Whose proof admits a module: signers, and what is required of them.
//!
//! Runs in: daemon and command line.
//! Invariant: only [`crate::parse`] makes these, so every pattern is well formed and every requirement names signers of its own policy.
//! Does not: verify anything; `attest` is given these words as rules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Somebody whose signature counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// What `[[module.require]]` and messages call this signer; unique in a policy. Left out, it is the key file's stem, or the identity.
    pub id: String,
    /// Who it is.
    pub kind: SignerKind,
    /// The first second in which the signer counts. Seconds since 1970, UTC.
    pub usable_from: Option<i64>,
    /// The last second in which the signer counts. Seconds since 1970, UTC.
    pub retire_at: Option<i64>,
    /// What proof of time a key's bundle must carry. Always [`Evidence::None`] for a keyless signer, whose bundles must carry all of it in any case.
    pub evidence: Evidence,
}

/// Who a signer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerKind {
    /// The holder of a key.
    Key {
        /// The public key, PEM.
        path: PathBuf,
    },
    /// An identity that a certificate vouches for.
    Keyless {
        /// Who vouched for the identity: an exact `https://` address.
        issuer: String,
        /// The certificate's subject: a pattern in which `*` stands for one whole segment between `/`, `@` and the ends.
        identity: String,
        /// What else the certificate must say: a name of [`crate::claims`] and a pattern each.
        claims: BTreeMap<String, String>,
    },
}

/// What proof of time the bundle of a key must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Evidence {
    /// None; what is there is verified all the same.
    #[default]
    None,
    /// An entry in a transparency log.
    Log,
    /// A timestamp by RFC 3161.
    Timestamp,
    /// Both.
    Both,
}

/// What must have been stated, by how many of whom. A module is admitted when every requirement of its policy is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// What must have been stated.
    pub statement: Statement,
    /// The ids of those who may have stated it; each names a [`Signer`] of the policy, none twice.
    pub signers: Vec<String>,
    /// How many different ones must have: 1 to as many as are listed.
    pub threshold: u32,
}

/// What a bundle states of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// A signature or a release statement: what a policy without `[[module.require]]` asks of its signers.
    Any,
    /// A bare signature over the file.
    Signature,
    /// That this is a release: its name, its version, how long it may be used.
    Release {
        /// How old the statement may be.
        max_age: Option<Duration>,
    },
    /// How the file was built: SLSA provenance v1.
    Provenance {
        /// Builders, one of which must have built it; at least one.
        builders: Vec<String>,
        /// Build types, one of which must be stated; empty means any.
        build_types: Vec<String>,
        /// The external parameters, exactly; absent means any.
        parameters: Option<BTreeMap<String, String>>,
    },
    /// That somebody approves of its use.
    Approval {
        /// How old the statement may be.
        max_age: Option<Duration>,
    },
}

impl Statement {
    /// The word in `statement`; `any` for what a policy without requirements asks for, which cannot be written.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Signature => "signature",
            Self::Release { .. } => "release",
            Self::Provenance { .. } => "slsa-provenance",
            Self::Approval { .. } => "approval",
        }
    }
}
