//! What a bundle proves: who signed, when, and where it is logged.
//!
//! Runs in: daemon, CLI.
//! Does not: interpret a statement. A payload whose signature was verified is handed on as it is.

mod proof;

pub use self::proof::DistinctSigner;
pub use self::proof::KeylessProof;
pub use self::proof::LogEntry;
pub use self::proof::Proof;
pub use self::proof::ProvedTime;
pub use self::proof::TimeSource;

/// What was signed, as far as the caller has it.
#[derive(Clone, Copy)]
pub enum Artifact<'a> {
    /// The whole artifact, and its SHA-256 as the caller has computed it.
    Bytes {
        /// All of it.
        bytes: &'a [u8],
        /// Its SHA-256.
        sha256: [u8; 32],
    },
    /// Only its SHA-256. Signatures by keys that sign the bytes themselves cannot be verified then.
    Digest([u8; 32]),
}

impl Artifact<'_> {
    pub(crate) fn sha256(&self) -> [u8; 32] {
        match self {
            Self::Bytes { sha256, .. } | Self::Digest(sha256) => *sha256,
        }
    }
}

/// A verified bundle.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// Which of the signers this is, by their places: never empty, in the policy's order. Several, if a key or an identity stands under several ids.
    pub(crate) signers: Vec<usize>,
    pub(crate) proof: Proof,
    pub(crate) signed: Signed,
}

/// What the verified signature is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    /// The artifact itself.
    Message,
    /// An in-toto statement: the payload of a DSSE envelope whose signature was verified. That it is about the artifact is not yet checked.
    Statement(Vec<u8>),
}
