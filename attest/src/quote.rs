//! A TPM's quote: what a remote host's boot measured, signed by its attestation key over our nonce.
//!
//! Runs in: CLI (`quote verify`), on the auditor's machine.
//! Invariant: a [`Quote`] exists only if its signature verified with the expected key, over the expected nonce and exactly the expected registers.
//! Does not: talk to a TPM, read a clock, or prove that the key lives in one. Whoever enrols the key makes sure of that (`tpm2_makecredential`); it must be a
//! *restricted* signing key, for which alone a TPM refuses to sign a structure of this kind that it did not make itself.
//!
//! The formats are those of the TPM 2.0 Library, Part 2: `TPMS_ATTEST` (§10.12.12) and `TPMT_SIGNATURE` (§11.3.4), as `tpm2_quote -m` and `-s` write them.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::signature;
use serde::Serialize;
use sigstore_crypto::VerificationKey;

use crate::keys::Algorithm;
use crate::keys::TrustedKey;
use crate::module::sha256;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::tpm::Reader;
use crate::tpm::WireError;

/// The largest message or signature that is looked at, in bytes. Real ones have some 130 and 72.
pub const MAX_QUOTE: u64 = 1024;
/// The least bytes of a nonce: with fewer, two questions might get the same one.
pub const MIN_NONCE: usize = 16;
/// The most bytes of a nonce that a TPM takes everywhere (`TPM2B_DATA` with SHA-384 as the largest digest).
pub const MAX_NONCE: usize = 48;
/// The registers of a TPM's bank that measure the boot: 0 to 23.
pub const PCRS: u8 = 24;

/// The values that the platform configuration registers should have, SHA-256 bank. Not empty: a quote over no register says nothing about a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pcrs(#[serde(serialize_with = "as_hex")] BTreeMap<u8, [u8; 32]>);

impl Pcrs {
    /// # Errors
    /// [`ExpectedError::NoPcr`], [`ExpectedError::Pcr`].
    pub fn new(values: BTreeMap<u8, [u8; 32]>) -> Result<Self, ExpectedError> {
        if values.is_empty() {
            return Err(ExpectedError::NoPcr);
        }
        match values.last_key_value() {
            Some((number, _)) if *number >= PCRS => Err(ExpectedError::Pcr { found: *number }),
            _ => Ok(Self(values)),
        }
    }

    fn digest(&self) -> [u8; 32] {
        let all: Vec<u8> = self.0.values().flatten().copied().collect();
        sha256(&all)
    }

    fn numbers(&self) -> u32 {
        self.0.keys().fold(0, |set, number| set | 1 << number)
    }
}

fn as_hex<S: serde::Serializer>(values: &BTreeMap<u8, [u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.iter().map(|(number, value)| (number, hex::encode(value))))
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    key: &'a TrustedKey,
    nonce: &'a [u8],
    pcrs: &'a Pcrs,
}

/// Why a question is none that a quote could answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectedError {
    /// The nonce is too short to be new, or longer than a TPM takes.
    #[error("expected a nonce of {MIN_NONCE} to {MAX_NONCE} bytes, found {found}")]
    Nonce {
        /// Its length.
        found: usize,
    },
    /// The key is none that signs quotes here.
    #[error("expected an attestation key of algorithm `ecdsa-p256`, found `{found}`")]
    Key {
        /// Its algorithm.
        found: Algorithm,
    },
    /// No register.
    #[error("expected the value of at least one register, found none")]
    NoPcr,
    /// A register that does not exist.
    #[error("expected registers from 0 to 23, found {found}")]
    Pcr {
        /// Its number.
        found: u8,
    },
}

impl<'a> Expected<'a> {
    /// `nonce` is what the host was sent with the question: fresh random bytes, used once.
    ///
    /// # Errors
    /// [`ExpectedError`].
    pub fn new(key: &'a TrustedKey, nonce: &'a [u8], pcrs: &'a Pcrs) -> Result<Self, ExpectedError> {
        if !(MIN_NONCE..=MAX_NONCE).contains(&nonce.len()) {
            return Err(ExpectedError::Nonce { found: nonce.len() });
        }
        if key.algorithm() != Algorithm::EcdsaP256 {
            return Err(ExpectedError::Key { found: key.algorithm() });
        }
        Ok(Self { key, nonce, pcrs })
    }
}

/// What a verified quote says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Quote {
    /// SHA-256 of the attestation key's SubjectPublicKeyInfo, lower-case hex.
    pub key: String,
    /// The key's qualified name as the TPM states it, lower-case hex: its place below the TPM's primary keys.
    pub qualified_signer: String,
    /// The registers, by number.
    pub pcrs: Pcrs,
    /// Milliseconds for which the TPM was powered since it was last cleared.
    pub clock_ms: u64,
    /// How often the TPM was reset: two quotes with the same number are of the same boot.
    pub reset_count: u32,
    /// How often the host woke from suspension since then.
    pub restart_count: u32,
    /// Whether `clock_ms` is surely greater than every one reported before; it is not for a while after a power cut.
    pub clock_safe: bool,
    /// The vendor's version of the TPM's firmware.
    pub firmware_version: u64,
}

/// Verifies a quote. The signature is verified before anything in the message is interpreted.
///
/// # Errors
/// [`Rejection`] with [`Code::Quote`]; `passed` holds what was right until then.
pub fn verify(message: &[u8], signature: &[u8], expected: &Expected<'_>, passed: &mut Vec<Passed>) -> Result<Quote, Rejection> {
    let mut pass = |expected: String, found: String| passed.push(Passed { check: Check::Quote, expected, found });
    for (what, bytes) in [("a message", message), ("a signature", signature)] {
        if bytes.len() as u64 > MAX_QUOTE {
            return Err(refuse(format!("{what} of at most {MAX_QUOTE} bytes"), format!("{} bytes", bytes.len())).next(FILES));
        }
    }
    let raw = ecdsa(signature).map_err(|error| refuse("a TPMT_SIGNATURE of ECDSA with SHA-256", error.to_string()).next(FILES))?;
    let key = expected.key;
    let by = format!("a signature by the attestation key {} over the message", shown(key.name()));
    let point = VerificationKey::from_spki(key.der()).map_err(|_| refuse(by.clone(), "a key that cannot be used"))?;
    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point.as_bytes())
        .verify(message, &raw)
        .map_err(|_| refuse(by.clone(), "one that does not verify: another key, or a changed message").next(KEY))?;
    pass(by, "one that verifies".into());

    let attested = Attested::parse(message).map_err(|error| refuse("a TPMS_ATTEST that is a quote", error.to_string()).next(FILES))?;
    if attested.extra_data != expected.nonce {
        let found = format!("`{}`: an old quote, or the answer to another question", hex::encode(attested.extra_data));
        return Err(refuse(format!("the nonce `{}`", hex::encode(expected.nonce)), found).next(NONCE));
    }
    pass("the nonce of this question".into(), format!("`{}`", hex::encode(attested.extra_data)));

    let wanted = expected.pcrs.numbers();
    if attested.selected != wanted {
        let found = if attested.selected == 0 { "none".into() } else { format!("those of {}", Numbers(attested.selected)) };
        return Err(refuse(format!("the registers of {}, SHA-256 bank, and no other", Numbers(wanted)), found).next(SELECTION));
    }
    let digest = expected.pcrs.digest();
    if attested.pcr_digest != digest {
        let expected = format!("registers {} with the digest `{}`", Numbers(wanted), hex::encode(digest));
        return Err(refuse(expected, format!("`{}`: the host booted something else", hex::encode(attested.pcr_digest))));
    }
    pass(format!("the expected values in registers {}", Numbers(wanted)), format!("their digest `{}`", hex::encode(digest)));
    Ok(Quote {
        key: key.id().to_string(),
        qualified_signer: hex::encode(attested.qualified_signer),
        pcrs: expected.pcrs.clone(),
        clock_ms: attested.clock_ms,
        reset_count: attested.reset_count,
        restart_count: attested.restart_count,
        clock_safe: attested.clock_safe,
        firmware_version: attested.firmware_version,
    })
}

const FILES: &str = "give the files that `tpm2_quote -m MESSAGE -s SIGNATURE -g sha256` wrote, unchanged";
const KEY: &str = "check that the quote is of this host, and that its key is the one that was enrolled";
const NONCE: &str = "ask again with a new nonce, and take only the answer to it";
const SELECTION: &str = "quote exactly the registers that are expected: `tpm2_quote -l sha256:N,N`";

fn refuse(expected: impl Into<String>, found: impl Into<String>) -> Rejection {
    Rejection::new(Code::Quote, expected, found)
}

/// A `TPMS_ATTEST` of a quote.
struct Attested<'a> {
    qualified_signer: &'a [u8],
    extra_data: &'a [u8],
    clock_ms: u64,
    reset_count: u32,
    restart_count: u32,
    clock_safe: bool,
    firmware_version: u64,
    /// One bit for each register.
    selected: u32,
    pcr_digest: &'a [u8],
}

impl<'a> Attested<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(message);
        let magic = from.u32("the magic number")?;
        from.expect(magic.into(), 0xff54_4347, "the magic number", "0xff544347, with which a TPM begins what it made itself")?;
        let kind = from.u16("the type")?;
        from.expect(kind.into(), 0x8018, "the type", "0x8018, a quote")?;
        let qualified_signer = from.sized(2 + 64, "the qualified signer")?;
        let algorithm = Reader::new(qualified_signer).u16("the qualified signer")?;
        from.expect(algorithm.into(), SHA256.into(), "the qualified signer's hash", "0xb, SHA-256")?;
        from.expect(qualified_signer.len() as u64, 34, "the qualified signer's length", "that of a name (34)")?;
        let extra_data = from.sized(66, "the nonce")?;
        let clock_ms = from.u64("the clock")?;
        let reset_count = from.u32("the count of resets")?;
        let restart_count = from.u32("the count of restarts")?;
        let clock_safe = match from.u8("the clock's safety")? {
            0 => false,
            1 => true,
            found => return Err(WireError::Value { what: "the clock's safety", expected: "0 or 1", found: found.into() }),
        };
        let firmware_version = from.u64("the firmware's version")?;
        let selected = selection(&mut from)?;
        let pcr_digest = from.sized(64, "the registers' digest")?;
        from.expect(pcr_digest.len() as u64, 32, "the registers' digest's length", "that of SHA-256 (32)")?;
        from.end("the message")?;
        Ok(Self { qualified_signer, extra_data, clock_ms, reset_count, restart_count, clock_safe, firmware_version, selected, pcr_digest })
    }
}

/// A `TPML_PCR_SELECTION` of at most one bank, SHA-256, as a set of bits. An empty one is 0.
fn selection(from: &mut Reader<'_>) -> Result<u32, WireError> {
    match from.u32("the count of banks")? {
        0 => return Ok(0),
        1 => {}
        found => return Err(WireError::Value { what: "the count of banks", expected: "1", found: found.into() }),
    }
    let bank = from.u16("the bank's algorithm")?;
    from.expect(bank.into(), SHA256.into(), "the bank's algorithm", "0xb, SHA-256")?;
    let size = from.u8("the selection's size")?;
    if !(1..=4).contains(&size) {
        return Err(WireError::Value { what: "the selection's size", expected: "1 to 4", found: size.into() });
    }
    let bits = from.bytes(size.into(), "the selection")?;
    Ok(bits.iter().rev().fold(0, |set, byte| set << 8 | u32::from(*byte)))
}

/// A `TPMT_SIGNATURE` of ECDSA with SHA-256 as the 64 bytes of r and s. A TPM may leave out zeros at the front of either.
fn ecdsa(signature: &[u8]) -> Result<[u8; 64], WireError> {
    let mut from = Reader::new(signature);
    let scheme = from.u16("the signature's scheme")?;
    from.expect(scheme.into(), 0x0018, "the signature's scheme", "0x18, ECDSA")?;
    let hash = from.u16("the signature's hash")?;
    from.expect(hash.into(), SHA256.into(), "the signature's hash", "0xb, SHA-256")?;
    let (r, s) = (from.sized(32, "the signature's r")?, from.sized(32, "the signature's s")?);
    from.end("the signature")?;
    let mut raw = [0; 64];
    for (half, number) in raw.chunks_exact_mut(32).zip([r, s]) {
        half.iter_mut().rev().zip(number.iter().rev()).for_each(|(to, byte)| *to = *byte);
    }
    Ok(raw)
}

const SHA256: u16 = 0x000b;

/// Register numbers as people write them.
struct Numbers(u32);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for (count, number) in (0..u32::BITS).filter(|number| self.0 & 1 << number != 0).enumerate() {
            write!(f, "{}{number}", if count == 0 { "" } else { "," })?;
        }
        f.write_str("`")
    }
}

#[cfg(test)]
mod tests;
