//! Every lie a quote can tell, signed with a key that is believed: what is checked behind the signature.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::KeyPair as _;
use proptest::prelude::*;

use super::*;

const NONCE_SENT: [u8; 16] = [7; 16];

struct Ak {
    pair: EcdsaKeyPair,
    key: TrustedKey,
}

impl Ak {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        // SubjectPublicKeyInfo of a P-256 point (RFC 5480 §2).
        let mut spki = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        spki.extend_from_slice(pair.public_key().as_ref());
        Self { key: TrustedKey::from_spki(&spki).unwrap(), pair }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let raw = self.pair.sign(&SystemRandom::new(), message).unwrap();
        let (r, s) = raw.as_ref().split_at(32);
        [&[0, 0x18, 0, 0x0b, 0, 32], r, &[0, 32], s].concat()
    }
}

fn pcrs() -> Pcrs {
    Pcrs::new(BTreeMap::from([(0, [1; 32]), (7, [2; 32])])).unwrap()
}

/// The parts of a good quote, each to be replaced by a lie.
struct Parts {
    magic: Vec<u8>,
    kind: Vec<u8>,
    signer: Vec<u8>,
    nonce: Vec<u8>,
    clock: Vec<u8>,
    selection: Vec<u8>,
    digest: Vec<u8>,
    after: Vec<u8>,
}

impl Parts {
    fn good() -> Self {
        let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        Self {
            magic: vec![0xff, b'T', b'C', b'G'],
            kind: vec![0x80, 0x18],
            signer: sized(&[&[0, 0x0b][..], &[9; 32]].concat()),
            nonce: sized(&NONCE_SENT),
            clock: [&5_u64.to_be_bytes()[..], &3_u32.to_be_bytes(), &2_u32.to_be_bytes(), &[1], &1_u64.to_be_bytes()].concat(),
            selection: vec![0, 0, 0, 1, 0, 0x0b, 3, 0b1000_0001, 0, 0],
            digest: sized(&pcrs().digest()),
            after: Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.magic, &self.kind, &self.signer, &self.nonce, &self.clock, &self.selection, &self.digest, &self.after]
            .map(Vec::as_slice)
            .concat()
    }
}

fn ask(ak: &Ak, message: &[u8], signature: &[u8]) -> Result<Quote, Rejection> {
    let expected_pcrs = pcrs();
    verify(message, signature, &Expected::new(&ak.key, &NONCE_SENT, &expected_pcrs).unwrap(), &mut Vec::new())
}

/// The lie, truly signed.
fn lie(lie: impl FnOnce(&mut Parts)) -> Rejection {
    let ak = Ak::new();
    let mut parts = Parts::good();
    lie(&mut parts);
    let message = parts.bytes();
    let rejection = ask(&ak, &message, &ak.sign(&message)).unwrap_err();
    assert_eq!((rejection.code, rejection.check), (Code::Quote, Check::Quote), "{rejection}");
    rejection
}

#[test]
fn good_quote_says_which_boot_it_is_of() {
    let ak = Ak::new();
    let message = Parts::good().bytes();
    let quote = ask(&ak, &message, &ak.sign(&message)).unwrap();
    assert_eq!((quote.clock_ms, quote.reset_count, quote.restart_count, quote.clock_safe), (5, 3, 2, true));
    assert!(quote.qualified_signer.starts_with("000b0909"));
}

#[test]
fn old_nonce_is_refused() {
    assert!(lie(|q| q.nonce[2] ^= 1).found.contains("an old quote"));
    lie(|q| q.nonce = vec![0, 0]);
    lie(|q| q.nonce = [&[0, 17][..], &NONCE_SENT, &[0]].concat());
}

#[test]
fn quote_by_another_key_is_refused() {
    let message = Parts::good().bytes();
    let rejection = ask(&Ak::new(), &message, &Ak::new().sign(&message)).unwrap_err();
    assert_eq!(rejection.code, Code::Quote);
    assert!(rejection.found.contains("another key"), "{rejection}");
}

#[test]
fn quote_over_no_register_is_refused() {
    let nothing = sha256(b"");
    for empty in [vec![0, 0, 0, 0], vec![0, 0, 0, 1, 0, 0x0b, 3, 0, 0, 0]] {
        let rejection = lie(|q| {
            q.selection = empty.clone();
            q.digest[2..].copy_from_slice(&nothing);
        });
        assert_eq!(rejection.found, "none");
    }
}

#[test]
fn quote_over_other_registers_is_refused() {
    assert!(lie(|q| q.selection[7] = 0b0000_0001).found.contains("`0`"), "one left out");
    assert!(lie(|q| q.selection[9] = 1).found.contains("`0,7,16`"), "one too many");
    assert!(lie(|q| q.selection[5] = 4).found.contains("bank"), "SHA-1");
    assert!(lie(|q| q.selection[3] = 2).found.contains("banks"), "two banks");
    assert!(lie(|q| q.selection[6] = 0).found.contains("size"));
}

#[test]
fn other_measurements_are_refused() {
    assert!(lie(|q| q.digest[2] ^= 1).found.contains("booted something else"));
}

#[test]
fn what_is_no_quote_is_refused() {
    lie(|q| q.magic[0] = 0xfe);
    assert!(lie(|q| q.kind[1] = 0x17).found.contains("type"), "a certification");
    assert!(lie(|q| q.after = vec![0]).found.contains("1 bytes follow"), "trailing");
    assert!(lie(|q| q.digest.truncate(30)).found.contains("cut short"));
    lie(|q| q.signer = vec![0, 4, 0x40, 0, 0, 7]);
    lie(|q| q.clock[16] = 2);
    lie(|q| q.after = vec![0; 2000]);
}

#[test]
fn every_changed_bit_is_refused() {
    let ak = Ak::new();
    let message = Parts::good().bytes();
    let signature = ak.sign(&message);
    assert!(ask(&ak, &message, &signature).is_ok());
    for place in 0..message.len() * 8 {
        let mut bent = message.clone();
        bent[place / 8] ^= 1 << (place % 8);
        assert!(ask(&ak, &bent, &signature).is_err(), "message, bit {place}");
    }
    for place in 0..signature.len() * 8 {
        let mut bent = signature.clone();
        bent[place / 8] ^= 1 << (place % 8);
        assert!(ask(&ak, &message, &bent).is_err(), "signature, bit {place}");
    }
    assert!(ask(&ak, &message, &[&signature[..], &[0]].concat()).is_err(), "signature, trailing");
}

#[test]
fn signature_without_leading_zeros_verifies() {
    let mut short = vec![0, 0x18, 0, 0x0b, 0, 31];
    short.extend([5; 31]);
    short.extend([0, 30]);
    short.extend([6; 30]);
    let raw = ecdsa(&short).unwrap();
    assert_eq!((raw[0], raw[1], raw[32], raw[33], raw[34]), (0, 5, 0, 0, 6));
}

#[test]
fn question_that_no_quote_can_answer_is_not_asked() {
    let ak = Ak::new();
    let pcrs = pcrs();
    assert_eq!(Expected::new(&ak.key, &[1; 15], &pcrs).unwrap_err(), ExpectedError::Nonce { found: 15 });
    assert_eq!(Expected::new(&ak.key, &[1; 49], &pcrs).unwrap_err(), ExpectedError::Nonce { found: 49 });
    assert_eq!(Pcrs::new(BTreeMap::new()).unwrap_err(), ExpectedError::NoPcr);
    assert_eq!(Pcrs::new(BTreeMap::from([(24, [0; 32])])).unwrap_err(), ExpectedError::Pcr { found: 24 });
    let other = crate::sign::SigningKey::generate(Algorithm::Ed25519).unwrap();
    assert_eq!(Expected::new(other.public(), &[1; 16], &pcrs).unwrap_err(), ExpectedError::Key { found: Algorithm::Ed25519 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_message_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..140) {
        let mut near = Parts::good().bytes();
        for (place, byte) in near.iter_mut().zip(&bytes) {
            if byte & 0xf0 == 0 {
                *place ^= byte;
            }
        }
        near.truncate(cut);
        let _ = (Attested::parse(&bytes).is_ok(), Attested::parse(&near).is_ok(), ecdsa(&bytes).is_ok());
    }
}
