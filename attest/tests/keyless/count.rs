//! Thresholds count people, not bundles, signatures or names in a policy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edgeguard_attest::Code;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::Spec;
use serde_json::Value;
use serde_json::json;

use crate::world::*;

fn judge(gateway: &Gateway, bundles: &[&Value]) -> Result<(), Code> {
    let texts: Vec<String> = bundles.iter().map(|bundle| bundle.to_string()).collect();
    let bytes: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    gateway.admit_all(&bytes).map(drop).map_err(|rejection| rejection.code)
}

fn two_of(signers: Vec<edgeguard_attest::Signer>) -> Gateway {
    Gateway { threshold: 2, ..Gateway::of(signers) }
}

#[test]
fn one_workflow_signs_once_however_often_it_signs() {
    let key = Key::p256("acme");
    let gateway = two_of(vec![ci(), by_key("acme", &key)]);
    let first = sigstore().sign(&module(), &workflow());
    let again = sigstore().sign(&module(), &workflow().rekor2());
    let other_tag = sigstore().sign(&module(), &Spec::workflow(&WORKFLOW.replace("v1.2", "v1.3"), ISSUER));
    let by_key = sigstore().sign(&module(), &Spec::key(key));
    assert_eq!(judge(&gateway, &[&first, &by_key]), Ok(()));
    assert_eq!(judge(&gateway, &[&first]), Err(Code::Threshold));
    assert_eq!(judge(&gateway, &[&first, &again]), Err(Code::Threshold));
    // Two identities by their text, and one signer of the policy by its pattern.
    assert_eq!(judge(&gateway, &[&first, &other_tag]), Err(Code::Threshold));
}

#[test]
fn one_key_under_two_names_is_one_signer() {
    let (acme, ops) = (Key::p256("acme"), Key::p256("ops"));
    let bundle = |key: &Key| sigstore().sign(&module(), &Spec::key(key.clone()).logged(Logged::No));
    let gateway = two_of(vec![by_key("acme", &acme), by_key("acme-again", &acme), by_key("ops", &ops)]);
    assert_eq!(judge(&gateway, &[&bundle(&acme), &bundle(&ops)]), Ok(()));
    assert_eq!(judge(&gateway, &[&bundle(&acme), &bundle(&acme)]), Err(Code::Threshold));
}

/// ECDSA: (r, n - s) is as good a signature as (r, s), and anybody can make it of the other.
#[test]
fn malleated_signature_is_no_second_one() {
    let (acme, ops) = (Key::p256("acme"), Key::p256("ops"));
    let bundle = sigstore().sign(&module(), &Spec::key(acme.clone()).logged(Logged::No));
    let mut malleated = bundle.clone();
    malleate(&mut malleated["messageSignature"]["signature"]);
    let gateway = two_of(vec![by_key("acme", &acme), by_key("ops", &ops)]);
    assert_eq!(judge(&Gateway::of(vec![by_key("acme", &acme)]), &[&malleated]), Ok(()), "the malleated signature is one");
    assert_eq!(judge(&gateway, &[&bundle, &malleated]), Err(Code::Threshold));
    // Where it was logged, it is not even one: the log has the other.
    let mut logged = sigstore().sign(&module(), &workflow());
    malleate(&mut logged["messageSignature"]["signature"]);
    Gateway::default().refuses(&logged, Code::EntryMismatch);
}

#[test]
fn good_bundle_does_not_carry_a_bad_one_along() {
    let good = sigstore().sign(&module(), &workflow());
    let stranger = sigstore().sign(&module(), &Spec::key(Key::p256("stranger")).logged(Logged::No));
    let broken = sigstore().sign(b"another module", &workflow());
    assert_eq!(judge(&Gateway::default(), &[&good]), Ok(()));
    assert_eq!(judge(&Gateway::default(), &[&good, &stranger]), Err(Code::UnknownKey));
    assert_eq!(judge(&Gateway::default(), &[&good, &broken]), Err(Code::Digest));
    assert_eq!(judge(&Gateway::default(), &[&good; 9]), Err(Code::TooMany));
}

/// The order of P-256 (FIPS 186-5, D.1.2.3).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
    0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Puts n - s in place of s in a DER signature: SEQUENCE { INTEGER r, INTEGER s }.
fn malleate(signature: &mut Value) {
    let der = STANDARD.decode(signature.as_str().unwrap()).unwrap();
    let r_end = 4 + usize::from(der[3]);
    let (r, s) = (&der[2..r_end], &der[r_end + 2..]);
    let mut minuend = ORDER;
    let padded = [vec![0; 33 - s.len()], s.to_vec()].concat();
    let mut borrow = 0;
    for place in (0..32).rev() {
        let difference = i32::from(minuend[place]) - i32::from(padded[place + 1]) - borrow;
        borrow = i32::from(difference < 0);
        minuend[place] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let start = minuend.iter().position(|byte| *byte != 0).unwrap();
    let mut other = minuend[start..].to_vec();
    if other[0] >= 0x80 {
        other.insert(0, 0);
    }
    let body = [r, &[2, u8::try_from(other.len()).unwrap()], &other].concat();
    *signature = json!(STANDARD.encode([&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat()));
}
