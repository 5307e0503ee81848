//! Encrypted PKCS#8 (RFC 5958 §3): what `openssl pkcs8 -topk8` and `keygen --encrypt` write.
//!
//! Runs in: command line.
//! Does not: take a passphrase from an argument, where every user of the machine could read it; derive a key by parameters
//! that a hostile file could choose to fill the memory or the day.

use edgeguard_attest::sign::KeyFile;
use edgeguard_attest::sign::SigningKey;
use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::der::Encode as _;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::pkcs5::scrypt;
use zeroize::Zeroizing;

/// Iterations of PBKDF2 beyond which a file is refused: some ten seconds of work.
const MAX_ITERATIONS: u32 = 10_000_000;
/// Memory of scrypt (128·N·r bytes) beyond which a file is refused.
const MAX_SCRYPT_MEMORY: u64 = 256 << 20;
/// Work of scrypt (N·r·p) beyond which a file is refused.
const MAX_SCRYPT_WORK: u64 = 1 << 26;

/// What `keygen --encrypt` derives a key with: scrypt, N = 2^14, r = 8, p = 5 (OWASP's choice for 16 MiB, all that OpenSSL allows unasked).
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 5;

/// Why an encrypted key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncryptedError {
    #[error("the PEM block is not an encrypted PKCS#8 key")]
    Malformed,
    #[error(
        "expected PBES2 with AES-CBC and scrypt or PBKDF2 over SHA-2, found {0}; convert it with `openssl pkcs8 -topk8 -in OLD -out NEW`"
    )]
    Scheme(String),
    #[error(
        "the key file asks for too much work before it opens: expected at most {MAX_ITERATIONS} iterations of PBKDF2, or 256 MiB for scrypt, found {0}"
    )]
    TooMuchWork(String),
    #[error("the passphrase is wrong, or the key file is damaged")]
    Passphrase,
    #[error("cannot use the decrypted key")]
    Key(#[source] edgeguard_attest::KeyError),
    #[error("cannot encrypt the key")]
    Encrypt,
}

/// Opens an `EncryptedPrivateKeyInfo`.
pub(crate) fn decrypt(der: &[u8], passphrase: &[u8]) -> Result<SigningKey, EncryptedError> {
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(|_| EncryptedError::Malformed)?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(EncryptedError::Scheme("an older scheme, PBES1".into()));
    };
    bounded(&parameters.kdf)?;
    let plain = info.encryption_algorithm.decrypt(passphrase, info.encrypted_data).map(Zeroizing::new).map_err(|error| match error {
        pkcs8::pkcs5::Error::UnsupportedAlgorithm { oid } => EncryptedError::Scheme(format!("algorithm {oid}")),
        _ => EncryptedError::Passphrase,
    })?;
    // A wrong passphrase leaves good padding once in 256 times, and then noise instead of a key.
    pkcs8::PrivateKeyInfo::try_from(plain.as_slice()).map_err(|_| EncryptedError::Passphrase)?;
    SigningKey::from_pkcs8(&plain).map_err(EncryptedError::Key)
}

/// Refuses a derivation that would take the machine.
fn bounded(kdf: &Kdf<'_>) -> Result<(), EncryptedError> {
    match kdf {
        Kdf::Pbkdf2(pbkdf2) if pbkdf2.iteration_count > MAX_ITERATIONS => {
            Err(EncryptedError::TooMuchWork(format!("{} iterations", pbkdf2.iteration_count)))
        }
        Kdf::Scrypt(scrypt) => {
            let block = u64::from(scrypt.block_size);
            let lanes = u64::from(scrypt.parallelization);
            let memory = scrypt.cost_parameter.saturating_mul(block).saturating_mul(128);
            let work = scrypt.cost_parameter.saturating_mul(block).saturating_mul(lanes);
            // N is a power of two (RFC 7914 §2); the library takes its logarithm without looking.
            if !scrypt.cost_parameter.is_power_of_two() || block == 0 || lanes == 0 {
                return Err(EncryptedError::Malformed);
            }
            if memory > MAX_SCRYPT_MEMORY || work > MAX_SCRYPT_WORK {
                return Err(EncryptedError::TooMuchWork(format!("N = {}, r = {block}, p = {lanes}", scrypt.cost_parameter)));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The PEM block that `passphrase` opens.
pub(crate) fn encrypt(key: &SigningKey, passphrase: &[u8]) -> Result<String, EncryptedError> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    random(&mut salt)?;
    random(&mut iv)?;
    let cost = scrypt::Params::new(LOG_N, R, P, 32).map_err(|_| EncryptedError::Encrypt)?;
    let scheme = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv).map_err(|_| EncryptedError::Encrypt)?;
    let encrypted_data = scheme.encrypt(passphrase, key.pkcs8()).map_err(|_| EncryptedError::Encrypt)?;
    let info = EncryptedPrivateKeyInfo { encryption_algorithm: scheme.into(), encrypted_data: &encrypted_data };
    info.to_der().map(|der| KeyFile::encrypted_pem(&der)).map_err(|_| EncryptedError::Encrypt)
}

/// Fills from the kernel's random source, which gives requests of this size whole.
fn random(bytes: &mut [u8; 16]) -> Result<(), EncryptedError> {
    match rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()) {
        Ok(16) => Ok(()),
        Ok(_) | Err(_) => Err(EncryptedError::Encrypt),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use edgeguard_attest::Algorithm;

    fn der(pem: &str) -> Vec<u8> {
        match KeyFile::from_pem(pem.as_bytes()).unwrap() {
            KeyFile::Encrypted(der) => der,
            KeyFile::Plain(_) => panic!("not encrypted"),
        }
    }

    #[test]
    fn a_key_comes_back_with_its_passphrase_and_with_no_other() {
        for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519] {
            let key = SigningKey::generate(algorithm).unwrap();
            let der = der(&encrypt(&key, b"correct horse").unwrap());
            assert_eq!(decrypt(&der, b"correct horse").unwrap().public().id(), key.public().id());
            assert!(matches!(decrypt(&der, b"correct horse "), Err(EncryptedError::Passphrase)));
        }
    }

    #[test]
    fn a_file_that_asks_for_too_much_work_is_refused_at_once() {
        let salt = [7; 16];
        for kdf in [
            Kdf::Pbkdf2(pbes2::Pbkdf2Params::hmac_with_sha256(MAX_ITERATIONS, &salt).unwrap()),
            Kdf::Scrypt(pbes2::ScryptParams::from_params_and_salt(scrypt::Params::new(17, 8, 1, 32).unwrap(), &salt).unwrap()),
        ] {
            assert!(bounded(&kdf).is_ok());
        }
        let mut endless = pbes2::Pbkdf2Params::hmac_with_sha256(MAX_ITERATIONS, &salt).unwrap();
        endless.iteration_count += 1;
        let huge = pbes2::ScryptParams::from_params_and_salt(scrypt::Params::new(20, 8, 1, 32).unwrap(), &salt).unwrap();
        let long = pbes2::ScryptParams::from_params_and_salt(scrypt::Params::new(17, 8, 200, 32).unwrap(), &salt).unwrap();
        let mut nothing = pbes2::ScryptParams::from_params_and_salt(scrypt::Params::new(4, 8, 1, 32).unwrap(), &salt).unwrap();
        nothing.cost_parameter = 0;
        assert!(matches!(bounded(&Kdf::Scrypt(nothing)), Err(EncryptedError::Malformed)));
        for kdf in [Kdf::Pbkdf2(endless), Kdf::Scrypt(huge), Kdf::Scrypt(long)] {
            assert!(matches!(bounded(&kdf), Err(EncryptedError::TooMuchWork(_))));
        }
    }
}
