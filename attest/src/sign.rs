//! Making keys and signing modules, without a network: the vendor's half.
//!
//! Runs in: CLI (`keygen`, `sign`).
//! Invariant: what is returned has passed the same checks that admission makes; private bytes are wiped when dropped.

use std::fmt;
use std::fs::File;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::PublicKeyX509Der;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::gate::IN_TOTO;
use crate::gate::MEDIA_TYPE;
use crate::keys::Algorithm;
use crate::keys::KeyError;
use crate::keys::TrustError;
use crate::keys::TrustRoot;
use crate::keys::TrustedKey;
use crate::module;
use crate::module::ModuleDigest;
use crate::pem;
use crate::read::read_bounded;
use crate::rejection::Rejection;
use crate::statement;
use crate::verify;

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

/// A private key that signs modules: ECDSA P-256 or Ed25519.
pub struct SigningKey {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
    public: TrustedKey,
}

enum Pair {
    EcdsaP256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A new key from the system's random source.
    ///
    /// # Errors
    /// [`KeyError::Algorithm`] for P-384, which is only verified; [`KeyError::Generate`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::EcdsaP256 => {
                Pair::EcdsaP256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError::Generate)?)
            }
            Algorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?),
            Algorithm::EcdsaP384 => return Err(KeyError::Algorithm { found: "`ecdsa-p384`, which is verified but not made here".into() }),
        };
        Self::of(pair)
    }

    /// Reads one unencrypted `PRIVATE KEY` block (PKCS#8, RFC 5958), at most [`MAX_KEY_FILE`](crate::MAX_KEY_FILE) bytes of text.
    ///
    /// # Errors
    /// [`KeyError`], which says how to convert the other kinds of key files.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let der = pem::decode(text, pem::PRIVATE)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der)
            .map(Pair::EcdsaP256)
            .or_else(|_| Ed25519KeyPair::from_pkcs8(&der).map(Pair::Ed25519))
            .map_err(|_| KeyError::PrivateKey)?;
        Self::of(pair)
    }

    /// Reads a key file: [`from_pem`](Self::from_pem) with its bound kept before a byte is read. What was read is wiped.
    ///
    /// # Errors
    /// [`KeyError::Read`], and those of `from_pem`.
    pub fn read(file: &File) -> Result<Self, KeyError> {
        let text = Zeroizing::new(read_bounded(file, pem::MAX_KEY_FILE).map_err(KeyError::Read)?);
        Self::from_pem(&text)
    }

    fn of(pair: Pair) -> Result<Self, KeyError> {
        let (pkcs8, spki) = match &pair {
            // Version 1: OpenSSL does not read version 2 of an Ed25519 key.
            Pair::EcdsaP256(pair) => (pair.to_pkcs8v1(), AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())),
            Pair::Ed25519(pair) => (pair.to_pkcs8v1(), AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())),
        };
        let pkcs8 = Zeroizing::new(pkcs8.map_err(|_| KeyError::PrivateKey)?.as_ref().to_vec());
        let public = TrustedKey::from_spki(spki.map_err(|_| KeyError::PrivateKey)?.as_ref())?;
        Ok(Self { pair, pkcs8, public })
    }

    /// As one PKCS#8 `PRIVATE KEY` block, unencrypted: store it in a file of mode 0600.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::encode(&self.pkcs8, pem::PRIVATE)
    }

    /// Its public half as one `PUBLIC KEY` block.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.public.to_pem()
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &TrustedKey {
        &self.public
    }

    /// Signs a whole module and returns the bundle, sigstore v0.3 JSON that ends with a newline.
    ///
    /// A P-256 key signs the bytes (what `cosign sign-blob` does); an Ed25519 key signs an in-toto statement about them,
    /// because other clients do not accept an Ed25519 message signature. The bundle proves no time and no version.
    ///
    /// # Errors
    /// [`SignError`]; [`SignError::Module`] if the file is no wasm module.
    pub fn sign(&self, module: &[u8]) -> Result<String, SignError> {
        module::kind_of(module).map_err(SignError::Module)?;
        let digest = ModuleDigest::of(module);
        let (message_signature, dsse_envelope) = match &self.pair {
            Pair::EcdsaP256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), module).map_err(|_| SignError::Sign)?;
                let message_digest = MessageDigest { algorithm: "SHA2_256", digest: STANDARD.encode(digest.0) };
                (Some(MessageSignature { message_digest, signature: STANDARD.encode(signature) }), None)
            }
            Pair::Ed25519(pair) => (None, Some(self.envelope(pair, digest)?)),
        };
        let bundle = Bundle {
            media_type: MEDIA_TYPE,
            verification_material: Material { public_key: PublicKey { hint: self.public.id().hint() } },
            message_signature,
            dsse_envelope,
        };
        let mut json = serde_json::to_string(&bundle).map_err(SignError::Json)?;
        json.push('\n');
        let trust = TrustRoot::new(vec![self.public.clone()]).map_err(SignError::Trust)?;
        verify::signature(module, digest, json.as_bytes(), &trust, &mut Vec::new()).map_err(SignError::SelfCheck)?;
        Ok(json)
    }

    fn envelope(&self, pair: &Ed25519KeyPair, digest: ModuleDigest) -> Result<Envelope, SignError> {
        let statement = Statement {
            kind: statement::STATEMENT_V1,
            // in-toto's own word for a name without a meaning.
            subject: [Subject { name: "_", digest: SubjectDigest { sha256: digest.to_string() } }],
            predicate_type: statement::COSIGN_SIGN,
            predicate: Empty {},
        };
        let payload = serde_json::to_vec(&statement).map_err(SignError::Json)?;
        let signature = pair.try_sign(&statement::pre_authentication_encoding(&payload)).map_err(|_| SignError::Sign)?;
        let signatures = [EnvelopeSignature { sig: STANDARD.encode(signature), keyid: self.public.id().hint() }];
        Ok(Envelope { payload: STANDARD.encode(payload), payload_type: IN_TOTO, signatures })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

// The wire shapes: sigstore protobuf-specs `sigstore_bundle.proto` in its JSON form, DSSE `envelope.md`, in-toto `statement.md`.

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: &'static str,
    verification_material: Material,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_signature: Option<MessageSignature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: PublicKey,
}

#[derive(Serialize)]
struct PublicKey {
    hint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Serialize)]
struct MessageDigest {
    algorithm: &'static str,
    digest: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: &'static str,
    signatures: [EnvelopeSignature; 1],
}

#[derive(Serialize)]
struct EnvelopeSignature {
    sig: String,
    keyid: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Subject; 1],
    predicate_type: &'static str,
    predicate: Empty,
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
