//! Private keys: made, read, written, and signing with.
//!
//! Runs in: CLI (`keygen`, `sign`).
//! Invariant: private bytes are wiped when dropped, and no form of `Debug` shows them.
//! Does not: decrypt. An encrypted key file is recognised here and opened by the command line, so that the daemon links no key derivation.

use std::fmt;
use std::fs::File;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::PublicKeyX509Der;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use aws_lc_rs::signature::ECDSA_P384_SHA384_ASN1_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::EcdsaSigningAlgorithm;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use zeroize::Zeroizing;

use crate::keys::Algorithm;
use crate::keys::KeyError;
use crate::keys::TrustedKey;
use crate::pem;
use crate::read::read_bounded;
use crate::sign::SignError;

/// The PEM label of an encrypted PKCS#8 key (RFC 7468 §11).
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// A private key that signs modules and policies: ECDSA P-256 or P-384, or Ed25519.
pub struct SigningKey {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
    public: TrustedKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A new key from the system's random source.
    ///
    /// # Errors
    /// [`KeyError::Generate`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let ecdsa = |curve: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::generate(curve).map(Pair::Ecdsa);
        let pair = match algorithm {
            Algorithm::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Algorithm::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            Algorithm::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
        };
        Self::of(pair.map_err(|_| KeyError::Generate)?)
    }

    /// Reads one unencrypted `PRIVATE KEY` block (PKCS#8, RFC 5958), at most [`MAX_KEY_FILE`](crate::MAX_KEY_FILE) bytes of text.
    ///
    /// # Errors
    /// [`KeyError`], which says how to convert the other kinds of key files.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        Self::from_pkcs8(&pem::decode(text, pem::PRIVATE)?)
    }

    /// Reads a PKCS#8 key in DER, as it lies in a `PRIVATE KEY` block.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] for another algorithm, and for what is damaged.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der))
            .map(Pair::Ecdsa)
            .or_else(|_| Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519))
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
            Pair::Ecdsa(pair) => (pair.to_pkcs8v1(), AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())),
            Pair::Ed25519(pair) => (pair.to_pkcs8v1(), AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())),
        };
        let pkcs8 = Zeroizing::new(pkcs8.map_err(|_| KeyError::PrivateKey)?.as_ref().to_vec());
        let public = TrustedKey::from_spki(spki.map_err(|_| KeyError::PrivateKey)?.as_ref())?;
        Ok(Self { pair, pkcs8, public })
    }

    /// As PKCS#8 in DER, unencrypted.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
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

    /// Signs exactly `message`: ECDSA in DER with the curve's own digest, or pure Ed25519.
    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message),
            Pair::Ed25519(pair) => pair.try_sign(message),
        }
        .map(|signature| signature.as_ref().to_vec())
        .map_err(|_| SignError::Sign)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What a private key file holds.
pub enum KeyFile {
    /// A key that can sign.
    Plain(SigningKey),
    /// An `EncryptedPrivateKeyInfo` in DER (RFC 5958 §3), still to be decrypted.
    Encrypted(Vec<u8>),
}

impl KeyFile {
    /// Reads one `PRIVATE KEY` or `ENCRYPTED PRIVATE KEY` block.
    ///
    /// # Errors
    /// [`KeyError`], which says how to convert the other kinds of key files.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        match pem::decode(text, pem::PRIVATE) {
            Ok(der) => SigningKey::from_pkcs8(&der).map(Self::Plain),
            // Asked for again under its own label, so that everything else about the block is checked too.
            Err(KeyError::Label { .. }) if is_encrypted(text) => pem::decode(text, ENCRYPTED).map(|der| Self::Encrypted(der.to_vec())),
            Err(error) => Err(error),
        }
    }

    /// The `ENCRYPTED PRIVATE KEY` block around an `EncryptedPrivateKeyInfo`.
    #[must_use]
    pub fn encrypted_pem(der: &[u8]) -> String {
        pem::encode(der, ENCRYPTED).to_string()
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(key) => key.fmt(f),
            Self::Encrypted(_) => f.write_str("Encrypted(..)"),
        }
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    matches!(pem::decode(text, ENCRYPTED), Ok(_) | Err(KeyError::NotPem { .. } | KeyError::SeveralBlocks { .. }))
}
