//! A quote as `tpm2_quote` makes it.

use std::collections::BTreeMap;
use std::fs;

use edgeguard_attest::Code;
use edgeguard_attest::Rejection;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::quote;
use edgeguard_attest::quote::Expected;
use edgeguard_attest::quote::Pcrs;
use edgeguard_attest::quote::Quote;

use crate::emulator::Emulator;

const NONCE: [u8; 16] = *b"\x00\x112233DUfw\x88\x99\xaa\xbb\xcc\xdd";

/// A TPM with an attestation key named `ak`.
fn enrolled() -> Option<Emulator> {
    let tpm = Emulator::new()?;
    tpm.tool("tpm2_createek -Q -G ecc -c ek.ctx -u ek.pub");
    tpm.tool("tpm2_flushcontext -t");
    another_key(&tpm, "ak");
    Some(tpm)
}

fn another_key(tpm: &Emulator, name: &str) {
    tpm.tool(&format!("tpm2_createak -Q -C ek.ctx -c {name}.ctx -G ecc -g sha256 -s ecdsa -u {name}.pub -f pem -n {name}.name"));
    tpm.tool("tpm2_flushcontext -t");
}

fn take(tpm: &Emulator, key: &str, pcrs: &str) {
    tpm.tool(&format!("tpm2_quote -c {key}.ctx -l {pcrs} -q {} -m q.msg -s q.sig -g sha256", hex::encode(NONCE)));
    tpm.tool("tpm2_flushcontext -t");
}

fn verify(tpm: &Emulator, nonce: &[u8], pcrs: &[(u8, [u8; 32])]) -> Result<Quote, Rejection> {
    let key = TrustedKey::from_pem(&fs::read(tpm.path("ak.pub")).unwrap()).unwrap().named("ak.pub");
    let pcrs = Pcrs::new(BTreeMap::from_iter(pcrs.iter().copied())).unwrap();
    let expected = Expected::new(&key, nonce, &pcrs).unwrap();
    let mut passed = Vec::new();
    let answer = quote::verify(&fs::read(tpm.path("q.msg")).unwrap(), &fs::read(tpm.path("q.sig")).unwrap(), &expected, &mut passed);
    assert_eq!(answer.is_ok(), passed.len() == 3, "{passed:?}");
    answer.inspect_err(|rejection| assert_eq!(rejection.code, Code::Quote, "{rejection}"))
}

const BOOTED: [(u8, [u8; 32]); 3] = [(0, [0; 32]), (7, [0; 32]), (16, [0; 32])];

#[test]
fn quote_of_a_tpm_verifies_and_each_attack_is_refused() {
    let Some(tpm) = enrolled() else { return };
    take(&tpm, "ak", "sha256:0,7,16");
    let quote = verify(&tpm, &NONCE, &BOOTED).unwrap();
    assert!(quote.clock_ms > 0 && quote.qualified_signer.starts_with("000b"));

    assert!(verify(&tpm, &[9; 16], &BOOTED).unwrap_err().found.contains("an old quote"));
    assert!(verify(&tpm, &NONCE, &BOOTED[..2]).unwrap_err().found.contains("0,7,16"));
    let other = [BOOTED[0], (7, [1; 32]), BOOTED[2]];
    assert!(verify(&tpm, &NONCE, &other).unwrap_err().found.contains("booted something else"));

    another_key(&tpm, "other");
    take(&tpm, "other", "sha256:0,7,16");
    assert!(verify(&tpm, &NONCE, &BOOTED).unwrap_err().found.contains("another key"));
}

#[test]
fn host_that_measured_more_is_refused() {
    let Some(tpm) = enrolled() else { return };
    tpm.tool(&format!("tpm2_pcrextend 16:sha256={}", "11".repeat(32)));
    take(&tpm, "ak", "sha256:0,7,16");
    assert!(verify(&tpm, &NONCE, &BOOTED).unwrap_err().found.contains("booted something else"));
}

#[test]
fn quote_of_another_bank_is_refused() {
    let Some(tpm) = enrolled() else { return };
    take(&tpm, "ak", "sha1:0,7,16");
    assert!(verify(&tpm, &NONCE, &BOOTED).unwrap_err().found.contains("bank"));
}

/// The same key, and another kind of structure that a TPM signs: its clock.
#[test]
fn signed_time_is_no_quote() {
    let Some(tpm) = enrolled() else { return };
    tpm.tool(&format!("tpm2_gettime -c ak.ctx -q {} --attestation q.msg -o q.sig -g sha256", hex::encode(NONCE)));
    assert!(verify(&tpm, &NONCE, &BOOTED).unwrap_err().found.contains("type"));
}
