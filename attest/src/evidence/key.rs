//! A key's own signature: hint, algorithm, digest, signature. Needs no trust material, no log and no time.
//!
//! Runs in: daemon, CLI.
//! Invariant: only the key that the hint names is tried, with its one digest. The hint selects and proves nothing.

use sigstore_types::SignatureBytes;

use super::Artifact;
use super::Signed;
use super::note;
use crate::gate::Content;
use crate::gate::DigestAlgorithm;
use crate::keys::Algorithm;
use crate::keys::TrustedKey;
use crate::module::Form;
use crate::module::ModuleDigest;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::signer::Signer;
use crate::signer::SignerKind;
use crate::statement;

/// The key that `hint` names, and the places of all signers that have it.
pub(super) fn named_by<'a>(hint: &str, signers: &'a [Signer]) -> Result<(Vec<usize>, &'a TrustedKey), Rejection> {
    let mut named = None;
    let mut places = Vec::new();
    for (place, signer) in signers.iter().enumerate() {
        match &signer.kind {
            SignerKind::Key(key) if key.id().hint() == hint => {
                named.get_or_insert(key);
                places.push(place);
            }
            _ => {}
        }
    }
    named.map(|key| (places, key)).ok_or_else(|| Rejection::new(Code::UnknownKey, known(signers), format!("hint {}", shown(hint))))
}

/// The hints of the keys that would be accepted, beside their names: what a reader compares the found one with.
pub(super) fn known(signers: &[Signer]) -> String {
    const LISTED: usize = 4;
    let mut keys: Vec<&TrustedKey> = Vec::new();
    for signer in signers {
        match &signer.kind {
            SignerKind::Key(key) if !keys.iter().any(|known| known.id() == key.id()) => keys.push(key),
            _ => {}
        }
    }
    if keys.is_empty() {
        return "a certificate; the policy names no key".to_owned();
    }
    let listed: Vec<String> = keys.iter().take(LISTED).map(|key| format!("`{}` ({})", key.name(), key.id().hint())).collect();
    let more = keys.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" or {more} more") };
    format!("the key {}{more}", listed.join(" or "))
}

/// Verifies the bundle's one signature by `key`.
pub(super) fn signature(
    content: &Content,
    artifact: Artifact<'_>,
    key: &TrustedKey,
    passed: &mut Vec<Passed>,
) -> Result<(Form, Signed), Rejection> {
    message_fits(content, artifact, key.algorithm())?;
    match content {
        Content::Message { digest, signature } => {
            note(passed, Check::Algorithm, format!("{} with `{}`", key.algorithm(), message_digest(key.algorithm()).as_str()), "the same");
            if let Some((algorithm, stated)) = digest {
                note(passed, Check::Digest, format!("{} of this module", algorithm.as_str()), hex::encode(stated));
            }
            message_verifies(artifact, key, signature)?;
            note(passed, Check::Signature, format!("{} by `{}`", key.algorithm(), key.name()), "a valid one over the module");
        }
        Content::Dsse { payload, signature } => {
            note(passed, Check::Algorithm, "an accepted algorithm", key.algorithm().to_string());
            let signed = statement::pre_authentication_encoding(payload);
            sigstore_crypto::verify_signature(key.der(), &signed, &SignatureBytes::new(signature.clone()), key.algorithm().scheme())
                .map_err(|_| invalid(key))?;
            note(passed, Check::Signature, format!("{} by `{}`", key.algorithm(), key.name()), "a valid one over the statement");
        }
    }
    Ok(content_of(content))
}

/// What a verified signature over `content` is over.
pub(super) fn content_of(content: &Content) -> (Form, Signed) {
    match content {
        Content::Message { .. } => (Form::MessageSignature, Signed::Message),
        Content::Dsse { payload, .. } => (Form::Dsse, Signed::Statement(payload.clone())),
    }
}

/// That the stated digest is the one this algorithm uses, and this artifact's. Nothing to say about a statement.
pub(super) fn message_fits(content: &Content, artifact: Artifact<'_>, algorithm: Algorithm) -> Result<(), Rejection> {
    let Content::Message { digest: Some((stated_by, stated)), .. } = content else {
        return Ok(());
    };
    let wanted = message_digest(algorithm);
    if *stated_by != wanted {
        return Err(Rejection::new(
            Code::Algorithm,
            format!("`{}` with {algorithm}", wanted.as_str()),
            format!("`{}`", stated_by.as_str()),
        ));
    }
    let same = match wanted {
        DigestAlgorithm::Sha256 => *stated == artifact.sha256(),
        DigestAlgorithm::Sha384 => *stated == aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, whole(artifact, algorithm)?).as_ref(),
    };
    if same {
        return Ok(());
    }
    Err(statement::wrong_module(ModuleDigest(artifact.sha256()), &format!("`{}`", hex::encode(stated))))
}

/// The digest a message signature must state. Pure Ed25519 signs the message itself, so there it only names the module.
fn message_digest(algorithm: Algorithm) -> DigestAlgorithm {
    match algorithm {
        Algorithm::EcdsaP256 | Algorithm::Ed25519 => DigestAlgorithm::Sha256,
        Algorithm::EcdsaP384 => DigestAlgorithm::Sha384,
    }
}

/// P-256 verifies over the digest that exists already; the others read the artifact once more, because they sign another one.
fn message_verifies(artifact: Artifact<'_>, key: &TrustedKey, signature: &[u8]) -> Result<(), Rejection> {
    let signature = SignatureBytes::new(signature.to_vec());
    let scheme = key.algorithm().scheme();
    match key.algorithm() {
        Algorithm::EcdsaP256 => sigstore_crypto::verify_signature_prehashed(key.der(), &artifact.sha256(), &signature, scheme),
        Algorithm::EcdsaP384 | Algorithm::Ed25519 => {
            sigstore_crypto::verify_signature(key.der(), whole(artifact, key.algorithm())?, &signature, scheme)
        }
    }
    .map_err(|_| invalid(key))
}

fn whole(artifact: Artifact<'_>, algorithm: Algorithm) -> Result<&[u8], Rejection> {
    match artifact {
        Artifact::Bytes { bytes, .. } => Ok(bytes),
        Artifact::Digest(_) => Err(Rejection::new(
            Code::Algorithm,
            format!("the artifact itself, which a message signature with {algorithm} is over"),
            "only its SHA-256",
        )),
    }
}

fn invalid(key: &TrustedKey) -> Rejection {
    Rejection::new(
        Code::Signature,
        format!("an {} signature by `{}` (sha256:{})", key.algorithm(), key.name(), key.id()),
        "one that this key did not make",
    )
}
