//! The keys an operator trusts, and how a bundle's hint selects one of them.
//!
//! Runs in: daemon, CLI.
//! Invariant: a [`TrustedKey`] is one of three algorithms, its point lies on its curve, and it is named by the hash of its
//! SubjectPublicKeyInfo alone. A [`TrustRoot`] has at least one key and none twice.

use std::fmt;
use std::fs::File;
use std::sync::OnceLock;

use aws_lc_rs::signature;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::Serializer;
use sigstore_crypto::KeyAlgorithm;
use sigstore_crypto::SigningScheme;
use sigstore_crypto::VerificationKey;
use sigstore_types::DerPublicKey;

use crate::module::sha256;
use crate::pem;
use crate::read::ReadError;
use crate::read::read_bounded;
use crate::rejection::shown;

/// The most keys of one trust root.
pub const MAX_KEYS: usize = 64;

/// SHA-256 of a key's SubjectPublicKeyInfo in DER. `Display` is lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 32]);

impl KeyId {
    /// The form in which a bundle names a key (cosign's): standard base64 of the 32 bytes.
    #[must_use]
    pub fn hint(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The signature algorithms that are accepted, each with its one digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on P-384 with SHA-384. Verified, not generated.
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// Pure Ed25519 (RFC 8032).
    Ed25519,
}

impl Algorithm {
    /// Its name in text, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
        }
    }

    pub(crate) fn scheme(self) -> SigningScheme {
        match self {
            Self::EcdsaP256 => SigningScheme::EcdsaP256Sha256,
            Self::EcdsaP384 => SigningScheme::EcdsaP384Sha384,
            Self::Ed25519 => SigningScheme::Ed25519,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| KeyError::Algorithm { found: shown(text) })
    }
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Larger than any key file.
    #[error("key file has {found} bytes, at most {} are accepted", pem::MAX_KEY_FILE)]
    TooBig {
        /// Size in bytes.
        found: u64,
    },
    /// No PEM block, or a damaged one.
    #[error("not a PEM file with one whole `{label}` block")]
    NotPem {
        /// The label that was wanted.
        label: &'static str,
    },
    /// A PEM block of another kind.
    #[error("expected a PEM block `{label}`, found {found}; {next}")]
    Label {
        /// The label that was wanted.
        label: &'static str,
        /// The label of the block.
        found: String,
        /// What to do.
        next: &'static str,
    },
    /// More than one block.
    #[error("expected one `{label}` block, found several; put each key into a file of its own")]
    SeveralBlocks {
        /// The label that was wanted.
        label: &'static str,
    },
    /// Not a SubjectPublicKeyInfo.
    #[error("the PEM block does not hold a public key that is understood")]
    PublicKey(#[source] sigstore_crypto::Error),
    /// An algorithm outside [`Algorithm`], or one that cannot do what was asked.
    #[error("expected an `ecdsa-p256` or `ed25519` key (or, to verify only, `ecdsa-p384`), found {found}")]
    Algorithm {
        /// The algorithm.
        found: String,
    },
    /// A compressed point, a point off its curve, or a wrong length.
    #[error("the public key is not a valid uncompressed {algorithm} key")]
    Point {
        /// The key's algorithm.
        algorithm: Algorithm,
    },
    /// Not a PKCS#8 key of an algorithm that signs.
    #[error("the PEM block is not a PKCS#8 key for `ecdsa-p256` or `ed25519`")]
    PrivateKey,
    /// The cryptographic library failed to make a key.
    #[error("the cryptographic library could not make a key")]
    Generate,
    /// The key file could not be read.
    #[error("cannot read the key file")]
    Read(#[source] ReadError),
    /// Another part of the process has installed another cryptographic library.
    #[error("another cryptographic provider is installed in this process")]
    Provider,
}

/// A public key that may sign modules.
#[derive(Clone)]
pub struct TrustedKey {
    id: KeyId,
    name: String,
    algorithm: Algorithm,
    der: DerPublicKey,
}

impl TrustedKey {
    /// Reads one `PUBLIC KEY` block, at most [`MAX_KEY_FILE`](crate::MAX_KEY_FILE) bytes of text.
    ///
    /// # Errors
    /// [`KeyError`], which says what to do with the kinds of files that are mistaken for public keys.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki(&pem::decode(text, pem::PUBLIC)?)
    }

    /// Reads a key file: [`from_pem`](Self::from_pem) with its bound kept before a byte is read.
    ///
    /// # Errors
    /// [`KeyError::Read`], and those of `from_pem`.
    pub fn read(file: &File) -> Result<Self, KeyError> {
        Self::from_pem(&read_bounded(file, pem::MAX_KEY_FILE).map_err(KeyError::Read)?)
    }

    /// Reads a SubjectPublicKeyInfo in DER (RFC 5280 §4.1).
    ///
    /// # Errors
    /// [`KeyError::PublicKey`], [`KeyError::Algorithm`], [`KeyError::Point`].
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        install_provider()?;
        let der = DerPublicKey::new(spki.to_vec());
        let algorithm = match KeyAlgorithm::from_spki(&der).map_err(KeyError::PublicKey)? {
            KeyAlgorithm::EcdsaP256 => Algorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384 => Algorithm::EcdsaP384,
            KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
            other => return Err(KeyError::Algorithm { found: format!("`{other:?}`") }),
        };
        // The library looks at the point only when it verifies; an operator wants to know before.
        let key = VerificationKey::from_spki(&der).map_err(KeyError::PublicKey)?;
        let method: &'static dyn signature::VerificationAlgorithm = match algorithm {
            Algorithm::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
            Algorithm::EcdsaP384 => &signature::ECDSA_P384_SHA384_ASN1,
            Algorithm::Ed25519 => &signature::ED25519,
        };
        sigstore_crypto::validate_raw_public_key(algorithm.scheme(), key.as_bytes()).map_err(|_| KeyError::Point { algorithm })?;
        signature::ParsedPublicKey::new(method, key.as_bytes()).map_err(|_| KeyError::Point { algorithm })?;
        let id = KeyId(sha256(spki));
        Ok(Self { id, name: format!("sha256:{id}"), algorithm, der })
    }

    /// What the operator calls the key: a file name, a signer's name. Only for messages and the journal.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What [`named`](Self::named) set, or its id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// As one PEM block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(self.der.as_bytes(), pem::PUBLIC).to_string()
    }

    pub(crate) fn der(&self) -> &DerPublicKey {
        &self.der
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedKey")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Why a set of keys is not a trust root.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Nobody would be trusted.
    #[error("expected at least one trusted key, found none")]
    Empty,
    /// More than [`MAX_KEYS`].
    #[error("expected at most {MAX_KEYS} trusted keys, found {found}")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// One key under two names: it would count as two signers.
    #[error("key sha256:{key} is listed twice, as `{first}` and as `{second}`; remove one")]
    Twice {
        /// The key.
        key: KeyId,
        /// Its first name.
        first: String,
        /// Its second name.
        second: String,
    },
}

/// Whom to believe about one module: any one of these keys suffices.
#[derive(Clone, Debug)]
pub struct TrustRoot {
    keys: Vec<TrustedKey>,
}

impl TrustRoot {
    /// # Errors
    /// [`TrustError`]: no key, too many, or one twice.
    pub fn new(keys: Vec<TrustedKey>) -> Result<Self, TrustError> {
        if keys.is_empty() {
            return Err(TrustError::Empty);
        }
        if keys.len() > MAX_KEYS {
            return Err(TrustError::TooMany { found: keys.len() });
        }
        for (place, key) in keys.iter().enumerate() {
            if let Some(second) = keys.iter().skip(place + 1).find(|other| other.id == key.id) {
                return Err(TrustError::Twice { key: key.id, first: key.name.clone(), second: second.name.clone() });
            }
        }
        Ok(Self { keys })
    }

    /// The keys, in the operator's order.
    #[must_use]
    pub fn keys(&self) -> &[TrustedKey] {
        &self.keys
    }
}

/// Makes aws-lc the process's provider, once, or says that another one was there before.
/// A [`TrustedKey`] cannot be made without this, so no verification can run on an unknown provider.
pub(crate) fn install_provider() -> Result<(), KeyError> {
    static OURS: OnceLock<bool> = OnceLock::new();
    let ours = *OURS.get_or_init(|| sigstore_crypto::install_default_provider(sigstore_crypto::aws_lc_provider()).is_ok());
    if ours { Ok(()) } else { Err(KeyError::Provider) }
}
