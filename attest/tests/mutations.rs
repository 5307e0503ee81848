//! Bundles, statements and keys that were changed at random, or are random: nothing that changed is admitted, nothing panics.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnverifiedModule;
use edgeguard_attest::sign::SigningKey;
use proptest::prelude::*;
use serde_json::Value;
use support::*;

/// If `mutant` is admitted, it is the same document, but for white space and the two spellings of the version.
#[track_caller]
fn means_the_same_or_is_refused(original: &Value, mutant: &[u8]) {
    let Ok(verified) = verify_text(mutant) else { return };
    let first = verify(original).unwrap();
    assert_eq!((verified.digest(), verified.proof()), (first.digest(), first.proof()));
    let parsed: Value = serde_json::from_slice(mutant).unwrap();
    assert_eq!(&parsed, original, "admitted: {}", String::from_utf8_lossy(mutant));
}

#[test]
fn every_bit_flip_anywhere_in_a_bundle_is_refused_or_changes_nothing() {
    for original in [message(), dsse()] {
        let text = original.to_string().into_bytes();
        for bit in 0..text.len() * 8 {
            let mut mutant = text.clone();
            mutant[bit / 8] ^= 1 << (bit % 8);
            means_the_same_or_is_refused(&original, &mutant);
        }
    }
}

#[test]
fn every_truncation_of_a_bundle_is_refused() {
    for original in [message(), dsse()] {
        let text = original.to_string().into_bytes();
        for length in 0..text.len() {
            assert!(verify_text(&text[..length]).is_err(), "{length} of {} bytes", text.len());
        }
    }
}

/// Bytes that look like JSON more often than chance would have it.
fn json_like() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "null",
        "true",
        "1",
        "-1e400",
        "\\u0000",
        "\\ud800",
        " ",
        "\u{feff}",
        "\"mediaType\"",
        "\"verificationMaterial\"",
        "\"publicKey\"",
        "\"hint\"",
        "\"messageSignature\"",
        "\"dsseEnvelope\"",
        "\"\"",
        "\"AAAA\"",
        "\"application/vnd.dev.sigstore.bundle.v0.3+json\"",
        "\"$serde_json::private::Number\"",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|parts| parts.concat().into_bytes())
}

/// Any JSON value, small.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{0,12}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every place in `json`, as a JSON pointer.
fn pointers(json: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match json {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), out)),
        Value::Array(items) => items.iter().enumerate().for_each(|(place, value)| pointers(value, &format!("{at}/{place}"), out)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_inserted_or_removed_byte_is_refused_or_changes_nothing(statement in any::<bool>(), place in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let original = if statement { dsse() } else { message() };
        let mut mutant = original.to_string().into_bytes();
        let place = place.index(mutant.len());
        match how {
            0 => mutant[place] = byte,
            1 => mutant.insert(place, byte),
            _ => drop(mutant.remove(place)),
        }
        means_the_same_or_is_refused(&original, &mutant);
    }

    #[test]
    fn replaced_value_is_refused_or_changes_nothing(statement in any::<bool>(), place in any::<prop::sample::Index>(), value in json_value()) {
        let original = if statement { dsse() } else { message() };
        let mut places = Vec::new();
        pointers(&original, "", &mut places);
        let mut mutant = original.clone();
        *mutant.pointer_mut(&places[place.index(places.len())]).unwrap() = value;
        if let Ok(verified) = verify(&mutant) {
            // Nothing but the key's name inside the envelope can be empty or as it was.
            let first = verify(&original).unwrap();
            prop_assert_eq!((verified.digest(), verified.proof()), (first.digest(), first.proof()));
        }
    }

    #[test]
    fn arbitrary_bytes_are_never_admitted_and_never_panic(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..400), json_like()]) {
        prop_assert!(verify_text(&bytes).is_err());
    }

    #[test]
    fn arbitrary_statement_is_never_admitted_though_its_signature_is_good(payload in prop_oneof![
        prop::collection::vec(any::<u8>(), 1..400), json_like().prop_filter("not empty", |b| !b.is_empty()), json_value().prop_map(|v| v.to_string().into_bytes())
    ]) {
        prop_assert!(verify(&envelope(&payload, IN_TOTO)).is_err());
    }

    #[test]
    fn statement_with_one_value_replaced_is_refused_or_still_names_the_module(place in any::<prop::sample::Index>(), value in json_value()) {
        let mut places = Vec::new();
        pointers(&statement(), "", &mut places);
        let mut mutant = statement();
        *mutant.pointer_mut(&places[place.index(places.len())]).unwrap() = value;
        if verify(&signed(&mutant)).is_ok() {
            prop_assert_eq!(&mutant["subject"][0]["digest"], &statement()["subject"][0]["digest"]);
            prop_assert_eq!(&mutant["predicateType"], &statement()["predicateType"]);
        }
    }

    #[test]
    fn arbitrary_module_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(module) = UnverifiedModule::from_bytes(bytes) {
            prop_assert!(module.verify(message().to_string().as_bytes(), &trust()).is_err());
        }
    }

    #[test]
    fn damaged_key_file_never_panics(public in any::<bool>(), place in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..3)) {
        let mut text = if public { P256_PUB } else { P256_KEY }.to_vec();
        let place = place.index(text.len());
        text.splice(place..=place, bytes);
        // Some damage is harmless (a comment before the block), so only panics count here.
        let _ = TrustedKey::from_pem(&text);
        let _ = SigningKey::from_pem(&text);
    }
}
