//! What a bundle proves: who signed, when, and where it is logged.
//!
//! Runs in: daemon, CLI. Offline: it sees its arguments, and the library beneath it the wall clock, by which it refuses times in the future.
//! Invariant: whatever a bundle carries was verified before [`verify`] returns, whether or not the policy asked for it.
//! Does not: interpret a statement. A payload whose signature was verified is handed on as it is.

mod certificate;
mod fault;
mod key;
mod library;
mod proof;
#[cfg(test)]
mod tests;

use crate::gate;
use crate::gate::BundleVersions;
use crate::gate::GatedBundle;
use crate::gate::SignedBy;
use crate::keys::Algorithm;
use crate::keys::KeyId;
use crate::keys::TrustedKey;
use crate::material::TrustMaterial;
use crate::module::Form;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::signer::MAX_SIGNERS;
use crate::signer::Signer;
use crate::signer::SignerKind;

pub(crate) use self::certificate::algorithm as certificate_algorithm;
pub(crate) use self::library::Facts;
pub(crate) use self::library::Logs;
pub(crate) use self::library::Who;
pub(crate) use self::library::verify as verify_with_library;
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

/// Verifies everything that `bundle` carries, and that one of `signers` made it.
///
/// With proved times, each lies in the signer's window when this returns; without any, the window is still to be judged.
pub(crate) fn verify(
    bundle: &[u8],
    artifact: Artifact<'_>,
    signers: &[Signer],
    material: &TrustMaterial,
    passed: &mut Vec<Passed>,
) -> Result<Evidence, Rejection> {
    if signers.len() > MAX_SIGNERS {
        return Err(Rejection::new(Code::TooMany, format!("at most {MAX_SIGNERS} signers"), signers.len().to_string()));
    }
    let gated = gate::parse(bundle, BundleVersions::Strict)?;
    note(passed, Check::Bundle, "a strict sigstore v0.3 bundle", format!("{} bytes", bundle.len()));
    match &gated.signed_by {
        SignedBy::Key { hint } => by_key(bundle, &gated, hint, artifact, signers, material, passed),
        SignedBy::Certificate(der) => by_certificate(bundle, &gated, der, artifact, signers, material, passed),
    }
}

fn by_key(
    bundle: &[u8],
    gated: &GatedBundle,
    hint: &str,
    artifact: Artifact<'_>,
    signers: &[Signer],
    material: &TrustMaterial,
    passed: &mut Vec<Passed>,
) -> Result<Evidence, Rejection> {
    let (places, key) = key::named_by(hint, signers)?;
    note(passed, Check::Key, key::known(signers), format!("`{}`", key.name()));
    let (form, signed) = key::signature(&gated.content, artifact, key, passed)?;
    let facts = if gated.has_evidence() {
        library::verify(bundle, gated, artifact, Who::Key(key), material, Logs::TheNamed)?
    } else {
        Facts::default()
    };
    facts.note(passed);
    let signers_met = acceptable(&places, signers, &facts)?;
    note(passed, Check::Evidence, "what the signer must bring, and nothing unchecked", facts.kinds());
    let proof = proof_by(key, form, signer_id(&signers_met, signers), facts);
    Ok(Evidence { signers: signers_met, proof, signed })
}

fn proof_by(key: &TrustedKey, form: Form, signer: String, facts: Facts) -> Proof {
    let (id, key_name, algorithm): (KeyId, String, Algorithm) = (key.id(), key.name().to_owned(), key.algorithm());
    Proof { signer, key: Some(id), key_name, algorithm, form, keyless: None, times: facts.times, log: facts.log }
}

fn by_certificate(
    bundle: &[u8],
    gated: &GatedBundle,
    der: &[u8],
    artifact: Artifact<'_>,
    signers: &[Signer],
    material: &TrustMaterial,
    passed: &mut Vec<Passed>,
) -> Result<Evidence, Rejection> {
    if !signers.iter().any(|signer| matches!(signer.kind, SignerKind::Keyless(_))) {
        return Err(Rejection::new(Code::Identity, key::known(signers), "a certificate, and no key"));
    }
    if gated.entries.is_empty() {
        return Err(Rejection::new(Code::NoInclusionProof, "a transparency log entry, as a keyless bundle has", "none"));
    }
    let algorithm = certificate::algorithm(der)?;
    key::message_fits(&gated.content, artifact, algorithm)?;
    let facts = library::verify(bundle, gated, artifact, Who::Certificate { algorithm }, material, Logs::TheNamed)?;
    let keyless = said_by(der, &facts)?;
    note(
        passed,
        Check::Certificate,
        "a code-signing certificate of a trusted authority, logged",
        format!("sha256:{}", keyless.certificate_sha256),
    );
    let (form, signed) = key::content_of(&gated.content);
    note(passed, Check::Signature, format!("{algorithm} by the certificate's key"), "a valid one".to_owned());
    facts.note(passed);
    let places = certificate::matching(&keyless, signers)?;
    note(passed, Check::Identity, certificate::known(signers), format!("`{}` from `{}`", keyless.identity, keyless.issuer));
    let signers_met = acceptable(&places, signers, &facts)?;
    note(passed, Check::Evidence, "a log entry and a proved time, and nothing unchecked", facts.kinds());
    let proof = Proof {
        signer: signer_id(&signers_met, signers),
        key: None,
        key_name: keyless.identity.clone(),
        algorithm,
        form,
        keyless: Some(keyless),
        times: facts.times,
        log: facts.log,
    };
    Ok(Evidence { signers: signers_met, proof, signed })
}

/// What the certificate says that the library has verified.
fn said_by(der: &[u8], facts: &Facts) -> Result<KeylessProof, Rejection> {
    let verified = facts.certificate.as_deref();
    certificate::names(der, verified.ok_or_else(|| Rejection::new(Code::CertificateChain, "a verified certificate", "none"))?)
}

/// Whether a verified certificate is of one of `signers`. For conformance runs, which ask for nothing else.
pub(crate) fn is_of(der: &[u8], facts: &Facts, signers: &[Signer]) -> Result<(), Rejection> {
    certificate::matching(&said_by(der, facts)?, signers).map(drop)
}

/// Those of `places` whose signer's wishes are met; if none is, why the first is not.
fn acceptable(places: &[usize], signers: &[Signer], facts: &Facts) -> Result<Vec<usize>, Rejection> {
    let mut met = Vec::new();
    let mut first = None;
    for place in places {
        match signers.get(*place).map(|signer| wishes(signer, facts)) {
            Some(Ok(())) => met.push(*place),
            Some(Err(rejection)) => {
                first.get_or_insert(rejection);
            }
            None => {}
        }
    }
    match first {
        Some(rejection) if met.is_empty() => Err(rejection),
        _ => Ok(met),
    }
}

/// The evidence that this signer must bring, and its window where a time was proved.
fn wishes(signer: &Signer, facts: &Facts) -> Result<(), Rejection> {
    if signer.evidence.log() && facts.log.is_none() {
        let wanted = format!("a transparency log entry, which signer `{}` must bring", signer.id);
        return Err(Rejection::new(Code::NoInclusionProof, wanted, "none"));
    }
    let stamped = facts.times.iter().any(|time| time.source == TimeSource::Timestamp);
    if matches!(signer.kind, SignerKind::Key(_)) && signer.evidence.timestamp() && !stamped {
        let wanted = format!("a timestamp (RFC 3161), which signer `{}` must bring", signer.id);
        return Err(Rejection::new(Code::NoTrustedTime, wanted, "none"));
    }
    match facts.times.iter().find(|proved| !signer.window.contains(proved.time)) {
        None => Ok(()),
        Some(outside) => Err(Rejection::new(
            Code::KeyWindow,
            format!("a signature by `{}` made {}", signer.id, signer.window),
            format!("one that existed at {}", outside.time),
        )),
    }
}

fn signer_id(places: &[usize], signers: &[Signer]) -> String {
    places.first().and_then(|place| signers.get(*place)).map_or_else(String::new, |signer| signer.id.clone())
}

pub(crate) fn note(passed: &mut Vec<Passed>, check: Check, expected: impl Into<String>, found: impl Into<String>) {
    passed.push(Passed { check, expected: expected.into(), found: found.into() });
}
