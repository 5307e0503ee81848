//! Signing without a network: the vendor's half.
//!
//! Runs in: CLI (`keygen`, `sign`).
//! Invariant: a bundle that is returned has passed the checks that admission makes; private bytes are wiped when dropped.

mod key;
mod wire;

use aws_lc_rs::digest;
use serde::Serialize;
use sigstore_types::SignatureBytes;

use crate::gate;
use crate::keys::Algorithm;
use crate::module;
use crate::module::ModuleDigest;
use crate::rejection::Rejection;
use crate::statement;
use crate::statement::APPROVAL_V1;
use crate::statement::Approval;
use crate::statement::RELEASE_V1;
use crate::statement::Release;
use crate::statement::SIGNATURE_V1;
use crate::statement::STATEMENT_V1;
use crate::statement::Statement;

pub use key::KeyFile;
pub use key::SigningKey;
use wire::Bundle;

/// The largest policy text that is signed, in bytes: 256 KiB, as much as any policy may have.
pub const MAX_POLICY: usize = 256 << 10;

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
    /// A statement that admission would not read.
    #[error("refusing to sign this statement")]
    Statement(#[source] Rejection),
    /// A statement that admission would read otherwise than it was meant.
    #[error("refusing to sign this statement: it would be read otherwise than it was meant")]
    Bent,
    /// Larger than any policy.
    #[error("policy has {found} bytes, at most {MAX_POLICY} are accepted")]
    PolicyTooBig {
        /// Size in bytes.
        found: usize,
    },
    /// The new bundle does not pass the gate.
    #[error("the new bundle does not verify; nothing was signed")]
    SelfCheck(#[source] Rejection),
    /// The new signature does not verify: a fault in memory or in the library.
    #[error("the new signature does not verify; nothing was signed")]
    Fault,
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
        match self.public().algorithm() {
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => {
                module::kind_of(module).map_err(SignError::Module)?;
                self.message(module)
            }
            Algorithm::Ed25519 => self.state(module, &Statement::Signature, SIGNATURE_V1, Empty {}),
        }
    }

    /// Signs that a module is a release: an in-toto statement of type [`RELEASE_V1`] in a DSSE envelope.
    ///
    /// # Errors
    /// [`SignError`]; [`SignError::Statement`] for a release that admission would not read, such as one that expires before it holds.
    pub fn sign_release(&self, module: &[u8], release: &Release) -> Result<String, SignError> {
        self.state(module, &Statement::Release(release.clone()), RELEASE_V1, release)
    }

    /// Signs that somebody approves of a module: an in-toto statement of type [`APPROVAL_V1`] in a DSSE envelope.
    ///
    /// # Errors
    /// As [`sign_release`](Self::sign_release).
    pub fn sign_approval(&self, module: &[u8], approval: &Approval) -> Result<String, SignError> {
        self.state(module, &Statement::Approval(approval.clone()), APPROVAL_V1, approval)
    }

    /// Signs exactly this policy text, at most [`MAX_POLICY`] bytes, by a message signature, for a host that takes signed policies only.
    ///
    /// # Errors
    /// [`SignError`]; [`SignError::PolicyTooBig`].
    pub fn sign_policy(&self, text: &[u8]) -> Result<String, SignError> {
        if text.len() > MAX_POLICY {
            return Err(SignError::PolicyTooBig { found: text.len() });
        }
        self.message(text)
    }

    /// A message signature over exactly `bytes`.
    fn message(&self, bytes: &[u8]) -> Result<String, SignError> {
        // What pure Ed25519 signs is the message itself, so there the digest only names it.
        let (name, algorithm) = match self.public().algorithm() {
            Algorithm::EcdsaP256 | Algorithm::Ed25519 => ("SHA2_256", &digest::SHA256),
            Algorithm::EcdsaP384 => ("SHA2_384", &digest::SHA384),
        };
        let signature = self.signature(bytes)?;
        let bundle = Bundle::message(self.public().id().hint(), name, digest::digest(algorithm, bytes).as_ref(), &signature);
        self.checked(&bundle, bytes, signature)
    }

    /// An in-toto statement about one module, signed in a DSSE envelope, and read again by what admission reads it with.
    fn state<P: Serialize>(
        &self,
        module: &[u8],
        meant: &Statement,
        predicate_type: &'static str,
        predicate: P,
    ) -> Result<String, SignError> {
        module::kind_of(module).map_err(SignError::Module)?;
        let digest = ModuleDigest::of(module);
        let written = Written {
            kind: STATEMENT_V1,
            // in-toto's own word for a name without a meaning.
            subject: [Subject { name: "_", digest: SubjectDigest { sha256: digest.to_string() } }],
            predicate_type,
            predicate,
        };
        let payload = serde_json::to_vec(&written).map_err(SignError::Json)?;
        if statement::parse(&payload, digest).map_err(SignError::Statement)? != *meant {
            return Err(SignError::Bent);
        }
        let message = statement::pre_authentication_encoding(&payload);
        let signature = self.signature(&message)?;
        self.checked(&Bundle::statement(self.public().id().hint(), &payload, &signature), &message, signature)
    }

    /// The bundle's text, once it has passed the gate and its signature has been verified with the public half.
    fn checked(&self, bundle: &Bundle, message: &[u8], signature: Vec<u8>) -> Result<String, SignError> {
        let mut json = serde_json::to_string(bundle).map_err(SignError::Json)?;
        json.push('\n');
        gate::parse(json.as_bytes(), gate::BundleVersions::Strict).map_err(SignError::SelfCheck)?;
        let key = self.public();
        sigstore_crypto::verify_signature(key.der(), message, &SignatureBytes::new(signature), key.algorithm().scheme())
            .map_err(|_| SignError::Fault)?;
        Ok(json)
    }
}

/// in-toto attestation framework, `spec/v1/statement.md`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<P> {
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
