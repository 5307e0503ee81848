//! Verification as the conformance suite of sigstore's clients asks for it: one bundle, one signer, one verdict.
//!
//! Runs in: the conformance client and tests. No part of admission: what is proved here admits nothing.
//! Does not: ask what a statement says beyond being about the artifact. Admission does, and wants more.

use sigstore_types::Sha256Hash;

use crate::evidence;
use crate::evidence::Artifact;
use crate::evidence::Logs;
use crate::evidence::Signed;
use crate::evidence::Who;
use crate::gate;
pub use crate::gate::BundleVersions;
use crate::gate::SignedBy;
use crate::material::TrustMaterial;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::signer::Signer;
use crate::signer::SignerKind;

/// Verifies that `signer` made `bundle` about `artifact`.
///
/// [`BundleVersions::Strict`] is what admission does with the bundle before it looks into a statement.
/// [`BundleVersions::Conformance`] also reads v0.1 and v0.2, leaves out what only admission asks for, and lets the library judge.
///
/// # Errors
/// The first check that fails, as a [`Rejection`].
pub fn verify_bundle(
    bundle: &[u8],
    artifact: Artifact<'_>,
    signer: &Signer,
    material: &TrustMaterial,
    versions: BundleVersions,
) -> Result<(), Rejection> {
    match versions {
        BundleVersions::Strict => {
            let evidence = evidence::verify(bundle, artifact, std::slice::from_ref(signer), material, &mut Vec::new())?;
            match evidence.signed {
                Signed::Message => Ok(()),
                Signed::Statement(payload) => about(&payload, artifact),
            }
        }
        BundleVersions::Conformance => by_the_library(bundle, artifact, signer, material),
    }
}

/// Some subject of the statement is the artifact: what other clients ask for.
fn about(payload: &[u8], artifact: Artifact<'_>) -> Result<(), Rejection> {
    let expected = format!("a statement about sha256 `{}`", hex::encode(artifact.sha256()));
    match serde_json::from_slice::<sigstore_types::Statement>(payload) {
        Ok(statement) if statement.matches_sha256(&Sha256Hash::new(artifact.sha256())) => Ok(()),
        Ok(_) => Err(Rejection::new(Code::Digest, expected, "one about another artifact")),
        Err(_) => Err(Rejection::new(Code::Malformed, expected, "no in-toto statement")),
    }
}

fn by_the_library(bundle: &[u8], artifact: Artifact<'_>, signer: &Signer, material: &TrustMaterial) -> Result<(), Rejection> {
    let gated = gate::parse(bundle, BundleVersions::Conformance)?;
    match (&gated.signed_by, &signer.kind) {
        // The hint is anything a signer likes, and in a conformance run there is only one key it could mean.
        (SignedBy::Key { .. }, SignerKind::Key(key)) => {
            evidence::verify_with_library(bundle, &gated, artifact, Who::Key(key), material, Logs::Any).map(drop)
        }
        (SignedBy::Certificate(der), SignerKind::Keyless(_)) => {
            let algorithm = evidence::certificate_algorithm(der)?;
            let facts = evidence::verify_with_library(bundle, &gated, artifact, Who::Certificate { algorithm }, material, Logs::Any)?;
            evidence::is_of(der, &facts, std::slice::from_ref(signer))
        }
        (SignedBy::Key { .. }, SignerKind::Keyless(_)) => Err(Rejection::new(Code::Identity, "a certificate", "a key")),
        (SignedBy::Certificate(_), SignerKind::Key(key)) => {
            Err(Rejection::new(Code::UnknownKey, format!("the key `{}`", key.name()), "a certificate"))
        }
    }
}
