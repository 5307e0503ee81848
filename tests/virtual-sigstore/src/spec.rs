//! What a bundle is to be like: who signs what, where it is logged, who stamps it, and which lies are told about it.
//!
//! Runs in: tests.

use crate::certificate::Validity;
use crate::fulcio::Leaf;
use crate::fulcio::San;
use crate::keys::Key;
use crate::tamper::Tamper;

/// When everything happens: 2025-06-15T12:00:00Z. In the past, so that no verifier takes it for the future.
pub const SIGNED_AT: i64 = 1_749_988_800;

/// The `payloadType` of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Who signs.
#[derive(Clone, Debug)]
pub enum By {
    /// A fresh key with a certificate for these names.
    Keyless(Leaf),
    /// A key that the verifier knows.
    Key(Key),
}

/// What is signed.
#[derive(Clone, Debug)]
pub enum Content {
    /// The artifact's bytes.
    Message,
    /// This statement, in a DSSE envelope.
    Statement(Vec<u8>),
}

/// Where it is logged, and as which kind of entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// Nowhere.
    No,
    /// Rekor v1: `hashedrekord` for a message, `dsse` for a statement, both of version 0.0.1.
    V1,
    /// Rekor v1, as an `intoto` entry of version 0.0.2.
    V1Intoto,
    /// Rekor v2: `hashedrekord` of version 0.0.2.
    V2,
}

/// One timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The time it states.
    pub at: i64,
    /// By an authority of the same name that nobody trusts.
    pub by_stranger: bool,
    /// Over other bytes than the signature.
    pub over_another: bool,
    /// With the authority's certificates in it.
    pub with_certificates: bool,
}

impl Stamp {
    /// An honest one.
    #[must_use]
    pub fn at(at: i64) -> Self {
        Self { at, by_stranger: false, over_another: false, with_certificates: false }
    }
}

/// Which form the bundle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With a chain of certificates; the inclusion proof may be missing.
    V01,
    /// With a chain of certificates.
    V02,
    /// With one certificate, in the older spelling of the media type.
    V03Parameter,
    /// With one certificate.
    V03,
}

/// What a bundle is to be like. Honest unless told otherwise: keyless, over the artifact, in Rekor v1.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Who signs.
    pub by: By,
    /// What.
    pub content: Content,
    /// Where it is logged.
    pub logged: Logged,
    /// When the log takes it in (Rekor v1).
    pub integrated: i64,
    /// Who says when.
    pub stamps: Vec<Stamp>,
    /// The form.
    pub format: Format,
    /// Certificates that a chain has beside the leaf (`V01`, `V02`): the intermediate, the root.
    pub chain: Vec<Vec<u8>>,
    /// What is wrong with it.
    pub lies: Vec<Tamper>,
}

impl Spec {
    /// By the workflow `identity` that `issuer` vouched for.
    #[must_use]
    pub fn workflow(identity: &str, issuer: &str) -> Self {
        Self::keyless(Leaf {
            names: vec![San::Uri(identity.to_owned())],
            issuer: Some(issuer.to_owned()),
            claims: Vec::new(),
            validity: Validity { from: SIGNED_AT, until: SIGNED_AT + 600 },
        })
    }

    /// By a fresh key with such a certificate.
    #[must_use]
    pub fn keyless(leaf: Leaf) -> Self {
        Self::by(By::Keyless(leaf))
    }

    /// By a key that the verifier knows.
    #[must_use]
    pub fn key(key: Key) -> Self {
        Self::by(By::Key(key))
    }

    fn by(by: By) -> Self {
        Self {
            by,
            content: Content::Message,
            logged: Logged::V1,
            integrated: SIGNED_AT + 5,
            stamps: Vec::new(),
            format: Format::V03,
            chain: Vec::new(),
            lies: Vec::new(),
        }
    }

    /// Over this statement.
    #[must_use]
    pub fn statement(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.content = Content::Statement(payload.into());
        self
    }

    /// Logged there.
    #[must_use]
    pub fn logged(mut self, logged: Logged) -> Self {
        self.logged = logged;
        self
    }

    /// In Rekor v2, with the honest timestamp that it needs.
    #[must_use]
    pub fn rekor2(self) -> Self {
        self.logged(Logged::V2).stamp(Stamp::at(SIGNED_AT + 4))
    }

    /// With one more timestamp.
    #[must_use]
    pub fn stamp(mut self, stamp: Stamp) -> Self {
        self.stamps.push(stamp);
        self
    }

    /// In this form.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// With the certificate changed. Does nothing for a key.
    #[must_use]
    pub fn leaf(mut self, change: impl FnOnce(&mut Leaf)) -> Self {
        if let By::Keyless(leaf) = &mut self.by {
            change(leaf);
        }
        self
    }

    /// With one more lie.
    #[must_use]
    pub fn lie(mut self, lie: Tamper) -> Self {
        self.lies.push(lie);
        self
    }

    pub(crate) fn lies_about(&self, lie: &Tamper) -> bool {
        self.lies.contains(lie)
    }
}
