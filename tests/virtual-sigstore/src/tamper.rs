//! Every lie this sigstore can tell, each named after what is wrong.
//!
//! Runs in: tests.
//! A lie is told where it arises: a wrong line in a checkpoint is properly signed, a wrong timestamp is properly embedded.
//! What can be changed in a finished bundle by anybody is changed in a finished bundle, before it is handed out.

/// One thing that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// One bit of the certificate's signature.
    CertificateFlipped,
    /// The certificate is for servers, not for code.
    CertificateForServers,
    /// The certificate is by an authority of the same name that nobody trusts.
    CertificateByStranger,
    /// The certificate is by a second intermediate of the same name and the same root.
    CertificateBySibling,

    /// No certificate timestamp.
    SctMissing,
    /// One by a log that nobody trusts.
    SctByStranger,
    /// One by such a log, under the trusted log's name.
    SctByStrangerAsTrusted,
    /// One for a certificate of another issuer.
    SctOfAnotherIssuer,
    /// One for another certificate.
    SctOfAnotherCertificate,
    /// One made at another time.
    SctAt(i64),
    /// One with extensions, which is honest.
    SctWithExtensions,
    /// Two.
    SctTwice,
    /// One bit of its signature.
    SctFlipped,

    /// The log entry holds another artifact's digest.
    LoggedDigest,
    /// It holds another signature.
    LoggedSignature,
    /// It holds another key or certificate.
    LoggedVerifier,
    /// It holds another envelope's hash (`dsse` entries: which nothing can check).
    LoggedEnvelope,
    /// It was logged by a log that nobody trusts.
    LoggedByStranger,
    /// The entry twice.
    EntryTwice,
    /// The entry says it is elsewhere in the log.
    EntryIndex(i64),

    /// No signed entry timestamp.
    PromiseMissing,
    /// One bit of it.
    PromiseFlipped,
    /// By a log that nobody trusts.
    PromiseByStranger,
    /// The entry's time is not the one that was promised, by so many seconds.
    IntegratedTimeShifted(i64),

    /// No inclusion proof.
    ProofMissing,
    /// One bit of its first hash.
    ProofHashFlipped,
    /// Its last hash left out.
    ProofHashDropped,
    /// Another root hash.
    ProofRootHash,
    /// Another tree size.
    ProofTreeSize(i64),
    /// Another index.
    ProofIndex(i64),

    /// No checkpoint.
    CheckpointMissing,
    /// One bit of its signature.
    CheckpointFlipped,
    /// Signed by a log that nobody trusts.
    CheckpointByStranger,
    /// Signed by such a log, under the trusted log's key hint.
    CheckpointByStrangerAsTrusted,
    /// A good one of the same log when it had one more leaf.
    CheckpointOfAnotherTree,
    /// No signature at all.
    CheckpointUnsigned,
    /// No origin line.
    CheckpointWithoutOrigin,
    /// No size line.
    CheckpointWithoutSize,
    /// No root hash line.
    CheckpointWithoutRootHash,
    /// A witness has signed too, after the log. Honest.
    CheckpointCosigned,
    /// Two witnesses, before the log. Honest.
    CheckpointCosignedFirst,
    /// The log's name stands on two signatures; the good one is the second.
    CheckpointTwoByOrigin,

    /// One bit of the signature, after logging and stamping.
    SignatureFlipped,
    /// Signed with another key than the certificate or hint says, and logged and stamped so.
    SignedByAnotherKey,
    /// `messageDigest` is another artifact's.
    DigestOfAnother,

    /// Another media type.
    MediaType(&'static str),
    /// `publicKey` beside `certificate`.
    KeyBesideCertificate,
    /// `messageSignature` beside `dsseEnvelope`.
    MessageBesideEnvelope,
    /// Two signatures in the envelope.
    TwoSignatures,
    /// None.
    NoSignature,
    /// Another `payloadType`, and signed so.
    PayloadType(&'static str),
    /// A field that no version has.
    UnknownField,
}
