//! RFC 3161 timestamps over texts that are no bundles: by which trusted authority, when.
//!
//! Runs in: CLI. Offline.
//! Invariant: a time comes out only if the answer is a granted one, over exactly these bytes, signed by the pinned authority's own certificate, whose chain
//! ends in the pinned root and was good at that time.
//! Does not: fetch anything, nor look into certificates that the answer brings along. Authorities that sign with RSA are not understood: the library
//! below, which also judges the timestamps of bundles, verifies ECDSA on P-256 and P-384.

use sigstore_types::DerCertificate;
use sigstore_types::SignatureBytes;
use sigstore_types::TimestampToken;
use sigstore_types::TsaAuthority;

use crate::keys::install_provider;
use crate::module::sha256;
use crate::rejection::shown;
use crate::time::Time;

/// Why a timestamp, or an authority, is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// Not a chain of certificates in PEM.
    #[error("expected the authority's certificates in PEM, its own first, its root last, 2 to {MAX_CHAIN} of them, found {found}")]
    Authority {
        /// What was found.
        found: String,
    },
    /// The answer does not verify.
    #[error("the timestamp does not verify: {found}")]
    Refused {
        /// What the library found, escaped.
        found: String,
    },
    /// Another part of the process has installed another cryptographic library.
    #[error("the cryptographic library cannot be used")]
    Provider,
}

/// A timestamp authority that is trusted: its signing certificate, and the chain to its root.
#[derive(Debug, Clone)]
pub struct StampAuthority {
    authority: TsaAuthority,
    id: String,
}

impl StampAuthority {
    /// Reads its certificates: PEM, the one that signs first, the root last.
    ///
    /// # Errors
    /// [`StampError::Authority`]
    pub fn from_pem(text: &str) -> Result<Self, StampError> {
        let bad = |found: String| StampError::Authority { found };
        let mut chain = Vec::new();
        for block in text.split_inclusive(END).filter(|block| block.contains("-----BEGIN ")) {
            if chain.len() == MAX_CHAIN {
                return Err(bad(format!("more than {MAX_CHAIN}")));
            }
            chain.push(DerCertificate::from_pem(block).map_err(|error| bad(shown(&error.to_string())))?);
        }
        let found = chain.len();
        let mut chain = chain.into_iter();
        let (Some(leaf), Some(root)) = (chain.next(), chain.next_back()) else { return Err(bad(found.to_string())) };
        let id = hex::encode(sha256(leaf.as_bytes()));
        Ok(Self { authority: TsaAuthority::new(leaf, chain.collect(), root, None), id })
    }

    /// SHA-256 of its signing certificate, in hex.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When this authority says that it saw `message`, by its answer (a DER `TimeStampResp` or its token).
    ///
    /// # Errors
    /// [`StampError::Refused`], [`StampError::Provider`]
    pub fn time_of(&self, answer: &[u8], message: &[u8]) -> Result<Time, StampError> {
        install_provider().map_err(|_| StampError::Provider)?;
        let (token, message) = (TimestampToken::from_bytes(answer), SignatureBytes::from_bytes(message));
        sigstore_tsa::verify_timestamp_for_authority(&token, &message, &self.authority)
            .map(|time| Time(time.as_second()))
            .map_err(|error| StampError::Refused { found: shown(&error.to_string()) })
    }
}

/// A question to any authority (RFC 3161, section 2.4.1): SHA-256 of `message`, its certificate wanted, no nonce, since the answer is held against the message.
#[must_use]
pub fn stamp_request(message: &[u8]) -> Vec<u8> {
    // SEQUENCE { INTEGER 1, SEQUENCE { SEQUENCE { OID 2.16.840.1.101.3.4.2.1, NULL }, OCTET STRING digest }, BOOLEAN TRUE }
    let mut der = vec![0x30, 0x39, 0x02, 0x01, 0x01, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09];
    der.extend_from_slice(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20]);
    der.extend_from_slice(&sha256(message));
    der.extend_from_slice(&[0x01, 0x01, 0xff]);
    der
}

const END: &str = "-----END CERTIFICATE-----";
const MAX_CHAIN: usize = 8;
