//! A key's signature alone, without rules, log or state: what a signer checks about its own work.
//!
//! Runs in: daemon, CLI. Offline: it sees its arguments and nothing else.
//! Invariant: [`SignatureValid`] is made at the end of [`signature`] and nowhere else.

use crate::evidence;
use crate::evidence::Artifact;
use crate::evidence::Proof;
use crate::evidence::Signed;
use crate::keys::TrustRoot;
use crate::material::TrustMaterial;
use crate::module::ModuleDigest;
use crate::module::SignatureValid;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::signer::Signer;
use crate::statement;
use crate::statement::StatementKind;

/// Proves that a key of `trust` signed `module`, whose SHA-256 the caller has computed, or says which check failed.
pub(crate) fn signature(
    module: &[u8],
    digest: ModuleDigest,
    bundle: &[u8],
    trust: &TrustRoot,
    passed: &mut Vec<Passed>,
) -> Result<(Proof, SignatureValid), Rejection> {
    let signers: Vec<Signer> = trust.keys().iter().map(|key| Signer::of_key(key.name(), key.clone())).collect();
    let artifact = Artifact::Bytes { bytes: module, sha256: digest.0 };
    let evidence = evidence::verify(bundle, artifact, &signers, &TrustMaterial::none(), passed)?;
    if let Signed::Statement(payload) = evidence.signed {
        let said = statement::parse(&payload, digest)?.kind();
        if said != StatementKind::Signature {
            return Err(Rejection::new(Code::UnwantedStatement, "a `signature`", format!("a `{said}`")));
        }
        evidence::note(passed, Check::Statement, "an in-toto statement that signs one module", statement::COSIGN_SIGN);
        evidence::note(passed, Check::Digest, "sha256 of this module as the only subject", digest.to_string());
    }
    Ok((evidence.proof, SignatureValid::after_every_check()))
}
