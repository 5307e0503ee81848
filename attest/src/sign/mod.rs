//! Signing without a network: the vendor's half.
//!
//! Runs in: CLI (`keygen`, `sign`).
//! Invariant: a bundle that is returned has passed the checks that admission makes; private bytes are wiped when dropped.

mod key;
mod wire;

use aws_lc_rs::digest;
use serde::Serialize;

use crate::keys::Algorithm;
use crate::keys::TrustError;
use crate::keys::TrustRoot;
use crate::module;
use crate::module::ModuleDigest;
use crate::rejection::Rejection;
use crate::statement;
use crate::verify;

pub use key::KeyFile;
pub use key::SigningKey;
use wire::Bundle;

/// Why a module was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Not something that could be admitted.
    #[error("refusing to sign this file")]
    Module(#[source] Rejection),
    /// The cryptographic library failed.
    #[error("the cryptographic library could not sign")]
    Sign,
    /// The bundle could not be written as JSON.
    #[error("cannot write the bundle")]
    Json(#[source] serde_json::Error),
    /// The signer's own key is not a trust root.
    #[error("cannot check the new bundle")]
    Trust(#[source] TrustError),
    /// The new bundle does not pass our own checks: a fault in memory or in the library.
    #[error("the new bundle does not verify; nothing was signed")]
    SelfCheck(#[source] Rejection),
}

impl SigningKey {
    /// Signs a whole module and returns the bundle, sigstore v0.3 JSON that ends with a newline.
    ///
    /// An ECDSA key signs the bytes (what `cosign sign-blob` does); an Ed25519 key signs an in-toto statement about them,
    /// because other clients do not accept an Ed25519 message signature. The bundle proves no time and no version.
    ///
    /// # Errors
    /// [`SignError`]; [`SignError::Module`] if the file is no wasm module.
    pub fn sign(&self, module: &[u8]) -> Result<String, SignError> {
        module::kind_of(module).map_err(SignError::Module)?;
        let digest = ModuleDigest::of(module);
        let json = match self.public().algorithm() {
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => self.message(module)?,
            Algorithm::Ed25519 => self.statement(digest, statement::COSIGN_SIGN, Empty {})?,
        };
        let trust = TrustRoot::new(vec![self.public().clone()]).map_err(SignError::Trust)?;
        verify::signature(module, digest, json.as_bytes(), &trust, &mut Vec::new()).map_err(SignError::SelfCheck)?;
        Ok(json)
    }

    /// A message signature over exactly `bytes`.
    fn message(&self, bytes: &[u8]) -> Result<String, SignError> {
        // What pure Ed25519 signs is the message itself, so there the digest only names it.
        let (name, algorithm) = match self.public().algorithm() {
            Algorithm::EcdsaP256 | Algorithm::Ed25519 => ("SHA2_256", &digest::SHA256),
            Algorithm::EcdsaP384 => ("SHA2_384", &digest::SHA384),
        };
        let digest = digest::digest(algorithm, bytes);
        line(&Bundle::message(self.public().id().hint(), name, digest.as_ref(), &self.signature(bytes)?))
    }

    /// An in-toto statement about one module, signed in a DSSE envelope.
    fn statement<P: Serialize>(&self, digest: ModuleDigest, predicate_type: &'static str, predicate: P) -> Result<String, SignError> {
        let statement = Statement {
            kind: statement::STATEMENT_V1,
            // in-toto's own word for a name without a meaning.
            subject: [Subject { name: "_", digest: SubjectDigest { sha256: digest.to_string() } }],
            predicate_type,
            predicate,
        };
        let payload = serde_json::to_vec(&statement).map_err(SignError::Json)?;
        let signature = self.signature(&statement::pre_authentication_encoding(&payload))?;
        line(&Bundle::statement(self.public().id().hint(), &payload, &signature))
    }
}

fn line(bundle: &Bundle) -> Result<String, SignError> {
    let mut json = serde_json::to_string(bundle).map_err(SignError::Json)?;
    json.push('\n');
    Ok(json)
}

/// in-toto attestation framework, `spec/v1/statement.md`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<P> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Subject; 1],
    predicate_type: &'static str,
    predicate: P,
}

#[derive(Serialize)]
struct Subject {
    name: &'static str,
    digest: SubjectDigest,
}

#[derive(Serialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Serialize)]
struct Empty {}
