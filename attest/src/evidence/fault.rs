//! The library's errors in our codes: what was expected, what was found, what to do next.
//!
//! Runs in: daemon, CLI; after the library has refused a bundle. Whatever is said here, the bundle stays refused.
//! Does not: look into a message where the library has a variant. The few places where it must have a test each.

use std::time::SystemTime;

use sigstore_verify::CertificateError;
use sigstore_verify::Error;
use sigstore_verify::TimestampError;
use sigstore_verify::TransparencyLogError;
use sigstore_verify::bundle::Error as BundleError;

use super::Artifact;
use crate::gate::Content;
use crate::gate::DigestAlgorithm;
use crate::gate::GatedBundle;
use crate::material::TrustMaterial;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::time::Time;

/// Why the library refused `gated`.
pub(super) fn explain(error: &Error, gated: &GatedBundle, artifact: Artifact<'_>, material: &TrustMaterial) -> Rejection {
    let evidence = matches!(error, Error::Certificate(_) | Error::TransparencyLog(_) | Error::Timestamp(_));
    match material.newest_start() {
        Some(start) if evidence && Time::from(SystemTime::now()) < start => clock(start),
        _ => of(error, gated, artifact),
    }
}

/// The library overlooks authorities whose time has not begun by this host's clock.
fn clock(start: Time) -> Rejection {
    let now = Time::from(SystemTime::now());
    Rejection::new(Code::Clock, format!("a clock past {start}, when the newest authority of the trusted root began"), now.to_string())
}

fn of(error: &Error, gated: &GatedBundle, artifact: Artifact<'_>) -> Rejection {
    let rejection = |code, expected: &str, found: &str| Rejection::new(code, expected, shown(found));
    match error {
        Error::SignatureInvalid(found) => rejection(Code::Signature, "a signature by the certificate's or the policy's key", found),
        Error::ArtifactMismatch(_) => mismatch(error, gated, artifact),
        Error::UnsupportedArtifact(found) => rejection(Code::Algorithm, "a signature over what is at hand", found),
        Error::Certificate(error) => certificate(error),
        Error::TransparencyLog(error) => log(error),
        Error::Timestamp(error) => timestamp(error),
        Error::InvalidBundle(found) => rejection(Code::Malformed, "a bundle without contradiction", found),
        Error::UnsupportedBundle(found) => rejection(Code::UncheckedEvidence, "evidence of a kind that is understood", found),
        // Not a fault of the trusted root: it names no certificate log with keys of the algorithm that this certificate's promise has.
        Error::InvalidTrustRoot(found) if found.contains("CT log") => {
            rejection(Code::Sct, "one promise of a trusted certificate log (SCT)", found)
        }
        Error::InvalidTrustRoot(found) => rejection(Code::TrustMaterial, "a whole sigstore trusted root", found),
        Error::TrustRoot(found) => rejection(Code::TrustMaterial, "a whole sigstore trusted root", &found.to_string()),
        Error::TrustedCertificate(found) => rejection(Code::TrustMaterial, "a whole sigstore trusted root", &found.to_string()),
        Error::Types(found) => rejection(Code::Malformed, "a bundle that the verifying library reads", &found.to_string()),
        Error::Crypto(found) => rejection(Code::Algorithm, "a key and an algorithm that are understood", &found.to_string()),
        Error::Bundle(error) => shape(error),
        Error::IdentityMismatch { .. } => rejection(Code::Identity, "an identity of the policy", &error.to_string()),
        Error::IssuerMismatch { .. } => rejection(Code::Issuer, "an issuer of the policy", &error.to_string()),
        other => rejection(Code::UncheckedEvidence, "evidence of a kind that is understood", &other.to_string()),
    }
}

/// Either the statement is about another artifact, or the log entry is about another statement or artifact.
fn mismatch(error: &Error, gated: &GatedBundle, artifact: Artifact<'_>) -> Rejection {
    let digest = hex::encode(artifact.sha256());
    match gated.content {
        // Of a P-384 signature the stated digest is another one than this; admission has compared that before.
        Content::Message { digest: Some((algorithm, ref stated)), .. }
            if algorithm == DigestAlgorithm::Sha384 || *stated == artifact.sha256() =>
        {
            Rejection::new(Code::EntryMismatch, format!("a log entry for sha256 `{digest}`"), "one for another")
        }
        Content::Dsse { .. } if error.to_string().contains("hashedrekord") => {
            Rejection::new(Code::EntryMismatch, "a log entry for this statement", "one for another")
        }
        _ => Rejection::new(Code::Digest, format!("a signature for sha256 `{digest}`"), "one for another artifact"),
    }
}

fn certificate(error: &CertificateError) -> Rejection {
    match error {
        CertificateError::NoValidAuthority { time } => {
            Rejection::new(Code::TimeOutside, "a certificate authority that was trusted when it was signed", format!("none at {time}"))
        }
        CertificateError::NotYetValid { time, not_before } => Rejection::new(
            Code::TimeOutside,
            format!("a signature made at or after {not_before}, when the certificate begins"),
            time.to_string(),
        ),
        CertificateError::Expired { time, not_after } => Rejection::new(
            Code::TimeOutside,
            format!("a signature made at or before {not_after}, when the certificate ends"),
            time.to_string(),
        ),
        // The chain is checked at each proved time first, so a time outside comes out of it in words.
        CertificateError::ChainInvalid(found) if found.contains("CertExpired") || found.contains("CertNotValidYet") => {
            Rejection::new(Code::TimeOutside, "every proved time within the certificate's validity", shown(found))
        }
        CertificateError::Sct(found) => Rejection::new(Code::Sct, "one promise of a trusted certificate log (SCT)", shown(found)),
        CertificateError::Malformed(found) | CertificateError::ChainInvalid(found) => {
            Rejection::new(Code::CertificateChain, "a code-signing certificate of a trusted authority", shown(found))
        }
        other => Rejection::new(Code::CertificateChain, "a code-signing certificate of a trusted authority", shown(&other.to_string())),
    }
}

fn log(error: &TransparencyLogError) -> Rejection {
    match error {
        TransparencyLogError::UnknownLog { log_id } => {
            Rejection::new(Code::Checkpoint, "an entry of a log that the trusted root names", shown(log_id))
        }
        TransparencyLogError::InclusionProof(found) => {
            Rejection::new(Code::InclusionProof, "hashes that lead from the entry to the checkpoint's root", shown(found))
        }
        TransparencyLogError::Checkpoint(found) => Rejection::new(Code::Checkpoint, "a checkpoint signed by the entry's log", shown(found)),
        TransparencyLogError::InclusionPromise(found) if found.starts_with("No log key valid") => {
            Rejection::new(Code::TimeOutside, "an entry that the log made while it was trusted", shown(found))
        }
        TransparencyLogError::InclusionPromise(found) => {
            Rejection::new(Code::InclusionPromise, "a promise (SET) of the entry's log over exactly this entry and time", shown(found))
        }
        TransparencyLogError::EntryMismatch(found) => {
            Rejection::new(Code::EntryMismatch, "a log entry with this signature, key and digest", shown(found))
        }
        TransparencyLogError::IntegratedTime(found) if found.contains("in the future") => {
            Rejection::new(Code::Clock, "a clock that is not behind the log's", shown(found))
        }
        TransparencyLogError::IntegratedTime(found) => {
            Rejection::new(Code::TimeOutside, "an entry made within the certificate's validity", shown(found))
        }
        TransparencyLogError::MalformedEntry(found) => Rejection::new(Code::EntryMismatch, "a log entry of its kind", shown(found)),
        other => Rejection::new(Code::UncheckedEvidence, "a log entry that can be checked", shown(&other.to_string())),
    }
}

fn timestamp(error: &TimestampError) -> Rejection {
    match error {
        TimestampError::Invalid(found) => {
            Rejection::new(Code::Timestamp, "a timestamp by a trusted authority over this signature", shown(found))
        }
        TimestampError::OutsideAuthorityValidity { time } => {
            Rejection::new(Code::TimeOutside, "a timestamp made while its authority was trusted", time.to_string())
        }
        TimestampError::NoVerifiedTimestamp(found) => {
            Rejection::new(Code::NoTrustedTime, "a time that a log or a timestamp authority proves", shown(found))
        }
        other => Rejection::new(Code::Timestamp, "a timestamp by a trusted authority over this signature", shown(&other.to_string())),
    }
}

fn shape(error: &BundleError) -> Rejection {
    let (code, expected) = match error {
        BundleError::MissingInclusionPromise(_) => (Code::InclusionPromise, "the log's promise (SET)"),
        BundleError::MissingInclusionProof(_) | BundleError::MissingSigningTimeEvidence => (Code::NoInclusionProof, "an inclusion proof"),
        BundleError::MissingTimestamp => (Code::NoTrustedTime, "a timestamp"),
        BundleError::MissingCheckpoint | BundleError::CheckpointRootMismatch => (Code::Checkpoint, "a checkpoint of the proof's tree"),
        BundleError::LogIndexOutOfRange { .. } => (Code::InclusionProof, "an index below the tree's size"),
        BundleError::CertificateChainNotAllowed(_) | BundleError::UnsupportedMediaType(_) => (Code::BundleVersion, "a v0.3 bundle"),
        _ => (Code::UncheckedEvidence, "evidence of a kind that is understood"),
    };
    Rejection::new(code, expected, shown(&error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::gate::SignedBy;

    fn message() -> GatedBundle {
        let content = Content::Message { digest: Some((DigestAlgorithm::Sha256, vec![0; 32])), signature: vec![] };
        GatedBundle { signed_by: SignedBy::Key { hint: String::new() }, content, entries: vec![], stamps: vec![] }
    }

    fn statement() -> GatedBundle {
        GatedBundle { content: Content::Dsse { payload: vec![], signature: vec![] }, ..message() }
    }

    /// Every variant that the library has, once; what it says in words is taken from its source.
    #[test]
    fn every_error_of_the_library_has_its_code() {
        let time: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let text = || "detail".to_owned();
        let cases: Vec<(Code, Error)> = vec![
            (Code::Signature, Error::SignatureInvalid(text())),
            (Code::Algorithm, Error::UnsupportedArtifact(text())),
            (Code::Malformed, Error::InvalidBundle(text())),
            (Code::UncheckedEvidence, Error::UnsupportedBundle(text())),
            (Code::TrustMaterial, Error::InvalidTrustRoot(text())),
            (Code::Sct, Error::InvalidTrustRoot("no CT log keys in trusted root".into())),
            (Code::CertificateChain, CertificateError::Malformed(text()).into()),
            (Code::CertificateChain, CertificateError::ChainInvalid("certificate chain validation failed: UnknownIssuer".into()).into()),
            (Code::TimeOutside, CertificateError::ChainInvalid("certificate chain validation failed: CertExpired { .. }".into()).into()),
            (
                Code::TimeOutside,
                CertificateError::ChainInvalid("certificate chain validation failed: CertNotValidYet { .. }".into()).into(),
            ),
            (Code::TimeOutside, CertificateError::NoValidAuthority { time }.into()),
            (Code::TimeOutside, CertificateError::NotYetValid { time, not_before: time }.into()),
            (Code::TimeOutside, CertificateError::Expired { time, not_after: time }.into()),
            (Code::Sct, CertificateError::Sct(text()).into()),
            (Code::Checkpoint, TransparencyLogError::UnknownLog { log_id: text() }.into()),
            (Code::InclusionProof, TransparencyLogError::InclusionProof(text()).into()),
            (Code::Checkpoint, TransparencyLogError::Checkpoint(text()).into()),
            (Code::InclusionPromise, TransparencyLogError::InclusionPromise(text()).into()),
            (Code::TimeOutside, TransparencyLogError::InclusionPromise("No log key valid at integrated time x for log ID y".into()).into()),
            (Code::EntryMismatch, TransparencyLogError::EntryMismatch(text()).into()),
            (Code::Clock, TransparencyLogError::IntegratedTime("integrated time x is in the future (current time: y)".into()).into()),
            (Code::TimeOutside, TransparencyLogError::IntegratedTime("integrated time x is after certificate validity".into()).into()),
            (Code::EntryMismatch, TransparencyLogError::MalformedEntry(text()).into()),
            (Code::Timestamp, TimestampError::Invalid(text()).into()),
            (Code::TimeOutside, TimestampError::OutsideAuthorityValidity { time }.into()),
            (Code::NoTrustedTime, TimestampError::NoVerifiedTimestamp(text()).into()),
            (Code::NoInclusionProof, BundleError::MissingSigningTimeEvidence.into()),
            (Code::Checkpoint, BundleError::MissingCheckpoint.into()),
            (Code::Checkpoint, BundleError::CheckpointRootMismatch.into()),
            (Code::NoTrustedTime, BundleError::MissingTimestamp.into()),
            (Code::InclusionProof, BundleError::LogIndexOutOfRange { log_index: 2, tree_size: 1 }.into()),
        ];
        for (code, error) in cases {
            assert_eq!(of(&error, &message(), Artifact::Digest([0; 32])).code, code, "{error}");
        }
    }

    #[test]
    fn mismatch_is_the_modules_or_the_log_entrys() {
        let other = |found: &str, gated: &GatedBundle| of(&Error::ArtifactMismatch(found.into()), gated, Artifact::Digest([0; 32])).code;
        assert_eq!(other("artifact hash mismatch for hashedrekord entry", &message()), Code::EntryMismatch);
        assert_eq!(other("artifact hash mismatch for hashedrekord entry", &statement()), Code::EntryMismatch);
        assert_eq!(other("artifact hash does not match any subject in attestation", &statement()), Code::Digest);
    }

    #[test]
    fn what_the_library_says_is_escaped_and_cut() {
        let error = Error::SignatureInvalid(format!("\u{1b}[2J{}", "x".repeat(5000)));
        let rejection = of(&error, &message(), Artifact::Digest([0; 32]));
        assert!(rejection.found.starts_with("`\\u{1b}[2J") && rejection.found.chars().count() < 200);
    }
}
