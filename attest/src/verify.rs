//! The order of the checks: gate, key, algorithm, digest, signature, statement.
//!
//! Runs in: daemon, CLI. Offline: it sees its arguments and nothing else.
//! Invariant: [`SignatureValid`] is made at the end of [`signature`] and nowhere else.

use sigstore_types::SignatureBytes;

use crate::evidence::Proof;
use crate::gate;
use crate::gate::Content;
use crate::gate::DigestAlgorithm;
use crate::keys::Algorithm;
use crate::keys::TrustRoot;
use crate::keys::TrustedKey;
use crate::module::Form;
use crate::module::ModuleDigest;
use crate::module::SignatureValid;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::rejection::shown;
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
    let mut pass = |check, expected: String, found: String| passed.push(Passed { check, expected, found });

    let gated = gate::parse(bundle)?;
    pass(Check::Bundle, "a strict sigstore v0.3 bundle".into(), format!("{} bytes", bundle.len()));
    pass(Check::Evidence, "a key's signature and nothing unchecked".into(), "a key's signature".into());

    let key = trust.named_by(&gated.hint).ok_or_else(|| unknown_key(&gated.hint, trust))?;
    pass(Check::Key, known_keys(trust), format!("`{}`", key.name()));

    let form = match gated.content {
        Content::Message { algorithm, digest: stated, signature } => {
            let wanted = message_digest(key);
            if algorithm != wanted {
                return Err(Rejection::new(
                    Code::Algorithm,
                    format!("`{}` with {}", wanted.as_str(), key.algorithm()),
                    format!("`{}`", algorithm.as_str()),
                ));
            }
            pass(Check::Algorithm, format!("{} with `{}`", key.algorithm(), wanted.as_str()), "the same".into());
            same_digest(module, digest, wanted, &stated)?;
            pass(Check::Digest, format!("{} of this module", wanted.as_str()), hex::encode(&stated));
            message_verifies(module, digest, key, signature)?;
            pass(Check::Signature, format!("{} by `{}`", key.algorithm(), key.name()), "a valid one over the module".into());
            Form::MessageSignature
        }
        Content::Dsse { payload, signature } => {
            pass(Check::Algorithm, "an accepted algorithm".into(), key.algorithm().to_string());
            let signed = statement::pre_authentication_encoding(&payload);
            sigstore_crypto::verify_signature(key.der(), &signed, &SignatureBytes::new(signature), key.algorithm().scheme())
                .map_err(|_| invalid(key))?;
            pass(Check::Signature, format!("{} by `{}`", key.algorithm(), key.name()), "a valid one over the statement".into());
            let said = statement::parse(&payload, digest)?.kind();
            if said != StatementKind::Signature {
                return Err(Rejection::new(Code::UnwantedStatement, "a `signature`", format!("a `{said}`")));
            }
            pass(Check::Statement, "an in-toto statement that signs one module".into(), statement::COSIGN_SIGN.into());
            pass(Check::Digest, "sha256 of this module as the only subject".into(), digest.to_string());
            Form::Dsse
        }
    };

    let proof = Proof {
        signer: key.name().to_owned(),
        key: Some(key.id()),
        key_name: key.name().to_owned(),
        algorithm: key.algorithm(),
        form,
        keyless: None,
        times: Vec::new(),
        log: None,
    };
    Ok((proof, SignatureValid::after_every_check()))
}

/// The digest a message signature by this key must state. Pure Ed25519 signs the message itself, so there it only names the module.
fn message_digest(key: &TrustedKey) -> DigestAlgorithm {
    match key.algorithm() {
        Algorithm::EcdsaP256 | Algorithm::Ed25519 => DigestAlgorithm::Sha256,
        Algorithm::EcdsaP384 => DigestAlgorithm::Sha384,
    }
}

fn same_digest(module: &[u8], digest: ModuleDigest, algorithm: DigestAlgorithm, stated: &[u8]) -> Result<(), Rejection> {
    let same = match algorithm {
        DigestAlgorithm::Sha256 => stated == digest.0,
        DigestAlgorithm::Sha384 => stated == aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, module).as_ref(),
    };
    if same { Ok(()) } else { Err(statement::wrong_module(digest, &format!("`{}`", hex::encode(stated)))) }
}

/// P-256 verifies over the digest that exists already; the others read the module once more, because they sign another one.
fn message_verifies(module: &[u8], digest: ModuleDigest, key: &TrustedKey, signature: Vec<u8>) -> Result<(), Rejection> {
    let signature = SignatureBytes::new(signature);
    let scheme = key.algorithm().scheme();
    match key.algorithm() {
        Algorithm::EcdsaP256 => sigstore_crypto::verify_signature_prehashed(key.der(), &digest.0, &signature, scheme),
        Algorithm::EcdsaP384 | Algorithm::Ed25519 => sigstore_crypto::verify_signature(key.der(), module, &signature, scheme),
    }
    .map_err(|_| invalid(key))
}

fn invalid(key: &TrustedKey) -> Rejection {
    Rejection::new(
        Code::Signature,
        format!("an {} signature by `{}` (sha256:{})", key.algorithm(), key.name(), key.id()),
        "one that this key did not make",
    )
}

fn unknown_key(hint: &str, trust: &TrustRoot) -> Rejection {
    Rejection::new(Code::UnknownKey, known_keys(trust), format!("hint {}", shown(hint)))
}

/// The hints of the keys that would be accepted, beside their names: what a reader compares the found one with.
fn known_keys(trust: &TrustRoot) -> String {
    const LISTED: usize = 4;
    let listed: Vec<String> = trust.keys().iter().take(LISTED).map(|key| format!("`{}` ({})", key.name(), key.id().hint())).collect();
    let more = trust.keys().len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" or {more} more") };
    format!("the key {}{more}", listed.join(" or "))
}
