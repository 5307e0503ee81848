//! The known attacks on bundles signed by a key, each against our own checks alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use aws_lc_rs::signature;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edgeguard_attest::Algorithm;
use edgeguard_attest::Check;
use edgeguard_attest::Code;
use edgeguard_attest::Form;
use edgeguard_attest::MAX_BUNDLE;
use edgeguard_attest::TrustError;
use edgeguard_attest::TrustRoot;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnverifiedModule;
use edgeguard_attest::WasmKind;
use serde_json::Value;
use serde_json::json;
use support::*;

/// `bundle` with `change` made to it.
fn bent(mut bundle: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut bundle);
    bundle
}

fn log_entry(index: &str) -> Value {
    json!({ "logIndex": index, "logId": { "keyId": "AAAA" }, "kindVersion": { "kind": "hashedrekord", "version": "0.0.1" }, "canonicalizedBody": "e30=" })
}

// What is accepted.

#[test]
fn p256_message_signature_is_admitted() {
    let verified = verify(&message()).unwrap();
    assert_eq!(verified.bytes(), module());
    assert_eq!(verified.digest().to_string(), hex::encode(sha256(&module())));
    let proof = verified.proof();
    assert_eq!((proof.key_name.as_str(), proof.algorithm, proof.form), ("p256.pub", Algorithm::EcdsaP256, Form::MessageSignature));
    assert_eq!(verified.into_bytes(), module());
}

#[test]
fn ed25519_statement_is_admitted() {
    let verified = verify(&dsse()).unwrap();
    let proof = verified.proof();
    assert_eq!((proof.key_name.as_str(), proof.algorithm, proof.form), ("ed25519.pub", Algorithm::Ed25519, Form::Dsse));
}

#[test]
fn pure_ed25519_message_signature_is_admitted() {
    let signature = ed25519_pair().sign(&module());
    let bundle = message_of(ED25519_PUB, "SHA2_256", &sha256(&module()), signature.as_ref());
    assert_eq!(verify(&bundle).unwrap().proof().form, Form::MessageSignature);
}

#[test]
fn p384_message_signature_is_admitted() {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, &module());
    let signature = ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING, P384_KEY, &module());
    let bundle = message_of(P384_PUB, "SHA2_384", digest.as_ref(), &signature);
    assert_eq!(verify(&bundle).unwrap().proof().algorithm, Algorithm::EcdsaP384);
    let other = message_of(P384_PUB, "SHA2_384", &[7; 48], &signature);
    assert_eq!(refused(&other), Code::Digest);
}

#[test]
fn statement_as_cosign_writes_it_is_admitted() {
    let plain =
        bent(statement(), |s| s["subject"] = json!([{ "digest": { "sha256": hex::encode(sha256(&module())) }, "annotations": {} }]));
    verify(&signed(&plain)).unwrap();
    let without_predicate = bent(statement(), |s| drop(s.as_object_mut().unwrap().remove("predicate")));
    verify(&signed(&without_predicate)).unwrap();
}

#[test]
fn empty_evidence_lists_and_the_older_spelling_of_v03_are_admitted() {
    let bundle = bent(message(), |b| {
        b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.3");
        b["verificationMaterial"]["tlogEntries"] = json!([]);
        b["verificationMaterial"]["timestampVerificationData"] = json!({ "rfc3161Timestamps": [] });
    });
    verify(&bundle).unwrap();
}

#[test]
fn component_is_told_from_a_core_module() {
    assert_eq!(UnverifiedModule::from_bytes(b"\0asm\x0d\0\x01\0".to_vec()).unwrap().kind(), WasmKind::Component);
    assert_eq!(UnverifiedModule::from_bytes(module()).unwrap().kind(), WasmKind::Core);
}

// Attacks on the module.

#[test]
fn module_with_one_byte_more_or_less_or_changed_is_refused() {
    for bundle in [message(), dsse()] {
        let text = bundle.to_string();
        let longer = [module(), vec![0]].concat();
        let shorter = module()[..module().len() - 1].to_vec();
        let mut changed = module();
        *changed.last_mut().unwrap() ^= 1;
        for bytes in [longer, shorter, changed] {
            let rejection = UnverifiedModule::from_bytes(bytes).unwrap().verify(text.as_bytes(), &trust()).unwrap_err();
            assert_eq!(rejection.code, Code::Digest);
        }
    }
}

#[test]
fn what_is_no_wasm_is_refused() {
    let cases: [&[u8]; 7] =
        [b"", b"\0asm", b"\0asm\x01\0\0", b"\x7fELF\x02\x01\x01\0", b"(module)", b"\0asm\x02\0\0\0", b"\0asm\x0d\0\0\0"];
    for bytes in cases {
        assert_eq!(UnverifiedModule::from_bytes(bytes.to_vec()).unwrap_err().code, Code::NotWasm, "{bytes:?}");
        assert!(p256().sign(bytes).is_err(), "nor is it signed: {bytes:?}");
    }
}

// Attacks on the signature and the key.

#[test]
fn every_bit_flip_of_the_signature_is_refused() {
    let bundle = message();
    let good = STANDARD.decode(bundle["messageSignature"]["signature"].as_str().unwrap()).unwrap();
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let bent = bent(bundle.clone(), |b| b["messageSignature"]["signature"] = json!(STANDARD.encode(&flipped)));
        assert_eq!(refused(&bent), Code::Signature, "bit {bit}");
    }
}

#[test]
fn wrong_key_with_the_right_hint_is_refused() {
    let stranger = edgeguard_attest::sign::SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    let theirs: Value = serde_json::from_str(&stranger.sign(&module()).unwrap()).unwrap();
    assert_eq!(refused(&theirs), Code::UnknownKey);
    let posing = bent(theirs, |b| b["verificationMaterial"]["publicKey"]["hint"] = json!(hint(P256_PUB)));
    assert_eq!(refused(&posing), Code::Signature);
}

#[test]
fn right_key_with_the_wrong_hint_is_refused() {
    // The hint of another trusted key: only that one is tried.
    let bundle = bent(message(), |b| b["verificationMaterial"]["publicKey"]["hint"] = json!(hint(P384_PUB)));
    assert_eq!(refused(&bundle), Code::Algorithm);
    let statement_bundle = bent(signed(&statement()), |b| b["verificationMaterial"]["publicKey"]["hint"] = json!(hint(P256_PUB)));
    assert_eq!(refused(&statement_bundle), Code::Signature);
    for other in ["", "AAAA", &hint(STRANGER_PUB), &hex::encode(TrustedKey::from_pem(P256_PUB).unwrap().id().0)] {
        let bundle = bent(message(), |b| b["verificationMaterial"]["publicKey"]["hint"] = json!(other));
        assert_eq!(refused(&bundle), Code::UnknownKey, "{other:?}");
    }
}

#[test]
fn envelope_that_names_another_key_than_the_bundle_is_refused() {
    let bundle = bent(dsse(), |b| b["dsseEnvelope"]["signatures"][0]["keyid"] = json!(hint(P256_PUB)));
    assert_eq!(refused(&bundle), Code::UnknownKey);
    let unnamed = bent(dsse(), |b| b["dsseEnvelope"]["signatures"][0]["keyid"] = json!(""));
    verify(&unnamed).unwrap();
}

/// ECDSA signatures are malleable: (r, n - s) verifies wherever (r, s) does, and half of all signers write either.
/// Such a bundle is admitted, but it proves the same thing about the same module, and the proof holds no signature bytes.
#[test]
fn high_s_signature_proves_nothing_else() {
    let bundle = message();
    let good = STANDARD.decode(bundle["messageSignature"]["signature"].as_str().unwrap()).unwrap();
    let other = bent(bundle.clone(), |b| b["messageSignature"]["signature"] = json!(STANDARD.encode(negated(&good))));
    assert_ne!(bundle, other);
    let (first, second) = (verify(&bundle).unwrap(), verify(&other).unwrap());
    assert_eq!((first.digest(), first.proof()), (second.digest(), second.proof()));
}

#[test]
fn signature_in_loose_der_is_refused() {
    let bundle = message();
    let good = STANDARD.decode(bundle["messageSignature"]["signature"].as_str().unwrap()).unwrap();
    let trailing = [good.clone(), vec![0]].concat();
    let long_length = [&[0x30, 0x81, good[1]], &good[2..]].concat();
    let raw: Vec<u8> = integers(&good).concat();
    for loose in [trailing, long_length, raw] {
        let bent = bent(bundle.clone(), |b| b["messageSignature"]["signature"] = json!(STANDARD.encode(&loose)));
        assert_eq!(refused(&bent), Code::Signature);
    }
}

#[test]
fn other_digest_than_the_keys_own_is_refused() {
    let sha384 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, &module());
    // Refused before the signature is looked at; `openssl.rs` has such signatures that are good.
    assert_eq!(refused(&message_of(P256_PUB, "SHA2_384", sha384.as_ref(), &[7; 70])), Code::Algorithm);
    assert_eq!(refused(&message_of(P384_PUB, "SHA2_256", &sha256(&module()), &[7; 70])), Code::Algorithm);
    let signature = ed25519_pair().sign(&module());
    for name in ["SHA2_512", "SHA1", "HASH_ALGORITHM_UNSPECIFIED", ""] {
        assert_eq!(refused(&message_of(ED25519_PUB, name, &[0; 64], signature.as_ref())), Code::Algorithm, "{name}");
    }
}

#[test]
fn digest_of_another_file_is_refused_though_the_signature_is_good() {
    let bundle = bent(message(), |b| b["messageSignature"]["messageDigest"]["digest"] = json!(STANDARD.encode([7; 32])));
    assert_eq!(refused(&bundle), Code::Digest);
    // A prefix of the right digest is not the right digest.
    let prefix = bent(message(), |b| b["messageSignature"]["messageDigest"]["digest"] = json!(STANDARD.encode(&sha256(&module())[..31])));
    assert_eq!(refused(&prefix), Code::Digest);
}

// Attacks on the form of the bundle.

#[test]
fn relabelled_version_is_refused() {
    for version in [
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle.v0.4+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json ",
        "",
    ] {
        assert_eq!(refused(&bent(message(), |b| b["mediaType"] = json!(version))), Code::BundleVersion, "{version}");
    }
    let chain = bent(message(), |b| b["verificationMaterial"] = json!({ "x509CertificateChain": { "certificates": [] } }));
    assert_eq!(refused(&chain), Code::BundleVersion);
}

#[test]
fn two_kinds_of_key_material_or_none_are_refused() {
    let both = bent(message(), |b| b["verificationMaterial"]["certificate"] = json!({ "rawBytes": "AAAA" }));
    assert_eq!(refused(&both), Code::OneOf);
    let none = bent(message(), |b| b["verificationMaterial"] = json!({}));
    assert_eq!(refused(&none), Code::OneOf);
}

#[test]
fn two_kinds_of_signature_or_none_are_refused() {
    let both = bent(message(), |b| b["dsseEnvelope"] = dsse()["dsseEnvelope"].clone());
    assert_eq!(refused(&both), Code::OneOf);
    let none = bent(message(), |b| drop(b.as_object_mut().unwrap().remove("messageSignature")));
    assert_eq!(refused(&none), Code::OneOf);
}

#[test]
fn repeated_key_is_refused_whichever_comes_last() {
    let good = message().to_string();
    let evil = "\"mediaType\":\"evil\"";
    let first = good.replacen('{', &format!("{{{evil},"), 1);
    let last = format!("{},{evil}}}", good.strip_suffix('}').unwrap());
    let nested = good.replace("\"hint\":", "\"hint\":\"evil\",\"hint\":");
    let inner = good.replace("\"algorithm\":", "\"algorithm\":\"SHA2_256\",\"algorithm\":");
    for text in [first, last, nested, inner] {
        assert_eq!(verify_text(text.as_bytes()).unwrap_err().code, Code::DuplicateKey, "{text}");
    }
}

#[test]
fn unknown_field_is_refused_at_every_level() {
    for pointer in ["", "/verificationMaterial", "/verificationMaterial/publicKey", "/messageSignature", "/messageSignature/messageDigest"]
    {
        let bundle = bent(message(), |b| drop(b.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("x".into(), json!(1))));
        assert_eq!(refused(&bundle), Code::UnknownField, "{pointer}");
    }
    for pointer in ["", "/dsseEnvelope", "/dsseEnvelope/signatures/0"] {
        let bundle = bent(dsse(), |b| drop(b.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("x".into(), json!(1))));
        assert_eq!(refused(&bundle), Code::UnknownField, "{pointer}");
    }
    let stamps = bent(message(), |b| b["verificationMaterial"]["timestampVerificationData"] = json!({ "x": [] }));
    assert_eq!(refused(&stamps), Code::UnknownField);
}

#[test]
fn missing_field_is_refused_wherever_it_is() {
    for (bundle, pointers) in [
        (
            message(),
            &[
                "/mediaType",
                "/verificationMaterial",
                "/verificationMaterial/publicKey/hint",
                "/messageSignature/messageDigest",
                "/messageSignature/messageDigest/algorithm",
                "/messageSignature/messageDigest/digest",
                "/messageSignature/signature",
            ][..],
        ),
        (dsse(), &["/dsseEnvelope/payload", "/dsseEnvelope/payloadType", "/dsseEnvelope/signatures", "/dsseEnvelope/signatures/0/sig"][..]),
    ] {
        for pointer in pointers {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let without = bent(bundle.clone(), |b| drop(b.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap()));
            assert_eq!(refused(&without), Code::Malformed, "{pointer}");
            for wrong in [json!(null), json!(7), json!(true), json!([1])] {
                let code = refused(&bent(bundle.clone(), |b| *b.pointer_mut(pointer).unwrap() = wrong.clone()));
                // A list in place of the list of signatures is read as one, and its item is then no object.
                assert_eq!(code, Code::Malformed, "{pointer} as {wrong}");
            }
        }
    }
}

#[test]
fn bundle_over_its_bound_is_refused_and_one_at_it_is_not() {
    let good = message().to_string();
    let padded = |size: usize| format!("{good}{}", " ".repeat(size - good.len()));
    let bound = usize::try_from(MAX_BUNDLE).unwrap();
    assert!(verify_text(padded(bound).as_bytes()).is_ok());
    assert_eq!(verify_text(padded(bound + 1).as_bytes()).unwrap_err().code, Code::TooBig);
    assert_eq!(verify_text(&vec![b'['; 24 << 20]).unwrap_err().code, Code::TooBig);
}

#[test]
fn deep_and_wide_bundles_are_refused() {
    let deep = bent(message(), |b| {
        b["verificationMaterial"]["tlogEntries"] = (0..100).fold(json!(1), |inner, _| json!([inner]));
    });
    assert_eq!(refused(&deep), Code::Shape);
    let wide = bent(message(), |b| b["verificationMaterial"]["tlogEntries"] = json!(vec![0; 65]));
    assert_eq!(refused(&wide), Code::Shape);
}

#[test]
fn evidence_that_is_not_checked_is_refused() {
    let logged = bent(message(), |b| b["verificationMaterial"]["tlogEntries"] = json!([log_entry("1")]));
    let stamped = bent(message(), |b| {
        b["verificationMaterial"]["timestampVerificationData"] = json!({ "rfc3161Timestamps": [{ "signedTimestamp": "AAAA" }] })
    });
    let keyless = bent(message(), |b| b["verificationMaterial"] = json!({ "certificate": { "rawBytes": "AAAA" } }));
    let cases = [(logged, Code::NoInclusionProof), (stamped, Code::UncheckedEvidence), (keyless, Code::Identity)];
    for (bundle, code) in cases {
        let rejection = verify(&bundle).unwrap_err();
        assert_eq!(rejection.code, code, "{rejection}");
    }
}

#[test]
fn repeated_log_entry_is_refused() {
    let twice = bent(message(), |b| b["verificationMaterial"]["tlogEntries"] = json!([log_entry("1"), log_entry("2"), log_entry("1")]));
    assert_eq!(refused(&twice), Code::RepeatedEntry);
}

// Attacks on the statement. Each one is properly signed by a trusted key.

#[test]
fn envelope_with_no_signature_or_two_is_refused() {
    let none = bent(dsse(), |b| b["dsseEnvelope"]["signatures"] = json!([]));
    let two = bent(dsse(), |b| {
        let one = b["dsseEnvelope"]["signatures"][0].clone();
        b["dsseEnvelope"]["signatures"] = json!([one, one]);
    });
    for bundle in [none, two] {
        assert_eq!(refused(&bundle), Code::OneOf);
    }
}

#[test]
fn signed_document_of_another_type_is_refused() {
    let payload = statement().to_string();
    for kind in ["application/json", "application/vnd.in-toto+json ", "APPLICATION/VND.IN-TOTO+JSON", "text/plain"] {
        assert_eq!(refused(&envelope(payload.as_bytes(), kind)), Code::PayloadType, "{kind}");
        // Relabelled afterwards, the signature no longer covers it.
        let relabelled = bent(envelope(payload.as_bytes(), kind), |b| b["dsseEnvelope"]["payloadType"] = json!(IN_TOTO));
        assert_eq!(refused(&relabelled), Code::Signature, "{kind}");
    }
}

#[test]
fn statement_of_another_kind_is_refused() {
    assert_eq!(refused(&signed(&bent(statement(), |s| s["_type"] = json!("https://in-toto.io/Statement/v0.1")))), Code::StatementType);
    for predicate in
        ["https://slsa.dev/provenance/v0.2", "https://in-toto.io/attestation/vulns/v0.1", "https://sigstore.dev/cosign/sign/v2", ""]
    {
        assert_eq!(refused(&signed(&bent(statement(), |s| s["predicateType"] = json!(predicate)))), Code::PredicateType, "{predicate}");
    }
    assert_eq!(refused(&signed(&bent(statement(), |s| s["predicate"] = json!({ "verdict": "malicious" })))), Code::UnknownField);
}

#[test]
fn statement_about_more_or_less_than_the_module_is_refused() {
    let right = statement()["subject"][0].clone();
    let other = json!({ "name": "_", "digest": { "sha256": hex::encode([7; 32]) } });
    let sha512 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &module()));
    let cases = [
        (json!([]), Code::Subject),
        (json!([other, right]), Code::Subject),
        (json!([right, right]), Code::Subject),
        (json!(vec![right.clone(); 64]), Code::Subject),
        (json!(vec![right.clone(); 1000]), Code::Shape),
        (json!([other]), Code::Digest),
        (json!([{ "digest": {} }]), Code::Subject),
        (json!([{ "digest": { "sha512": sha512 } }]), Code::Subject),
        (json!([{ "digest": { "sha256": hex::encode([7; 32]), "sha512": sha512 } }]), Code::Subject),
        (json!([{ "digest": { "sha256": hex::encode(sha256(&module())), "sha512": sha512 } }]), Code::Subject),
        (json!([{ "digest": { "sha256": hex::encode(sha256(&module())).to_uppercase() } }]), Code::Digest),
        (json!([{ "digest": { "sha256": "" } }]), Code::Digest),
        (json!([{ "digest": right["digest"], "uri": "x" }]), Code::UnknownField),
        (json!([{ "digest": right["digest"], "annotations": { "a": "b" } }]), Code::UnknownField),
        (json!({}), Code::Malformed),
    ];
    for (subject, code) in cases {
        assert_eq!(refused(&signed(&bent(statement(), |s| s["subject"] = subject.clone()))), code, "{:.200}", subject.to_string());
    }
}

#[test]
fn signed_statement_is_read_as_strictly_as_the_bundle() {
    let twice = statement().to_string().replacen('{', "{\"subject\":[],", 1);
    assert_eq!(refused(&envelope(twice.as_bytes(), IN_TOTO)), Code::DuplicateKey);
    assert_eq!(refused(&envelope(b"not json", IN_TOTO)), Code::Malformed);
    assert_eq!(refused(&signed(&bent(statement(), |s| s["x"] = json!(1)))), Code::UnknownField);
    assert_eq!(refused(&envelope("[".repeat(60).as_bytes(), IN_TOTO)), Code::Shape);
}

// The trust root.

#[test]
fn trust_root_has_at_least_one_key_and_none_twice() {
    let key = || TrustedKey::from_pem(P256_PUB).unwrap();
    assert_eq!(TrustRoot::new(vec![]).unwrap_err(), TrustError::Empty);
    let twice = TrustRoot::new(vec![key().named("a"), key().named("b")]).unwrap_err();
    assert_eq!(twice, TrustError::Twice { key: key().id(), first: "a".into(), second: "b".into() });
}

#[test]
fn passed_checks_are_told_up_to_the_one_that_failed() {
    let explained = |bundle: &Value| {
        let mut passed = Vec::new();
        let result = UnverifiedModule::from_bytes(module()).unwrap().verify_explained(bundle.to_string().as_bytes(), &trust(), &mut passed);
        (passed.into_iter().map(|p| p.check).collect::<Vec<_>>(), result.map(drop).map_err(|r| r.check))
    };
    use Check::*;
    let rules = [Statement, Validity, Threshold, Freshness];
    assert_eq!(explained(&message()), ([&[Module, Bundle, Key, Algorithm, Digest, Signature, Evidence][..], &rules].concat(), Ok(())));
    assert_eq!(explained(&dsse()), ([&[Module, Bundle, Key, Algorithm, Signature, Evidence][..], &rules].concat(), Ok(())));
    let posing = bent(message(), |b| b["messageSignature"]["signature"] = json!("AAAA"));
    assert_eq!(explained(&posing), (vec![Module, Bundle, Key, Algorithm, Digest], Err(Signature)));
}

/// The two integers of a DER signature, without leading zeros.
fn integers(signature: &[u8]) -> [Vec<u8>; 2] {
    let mut rest = &signature[2..];
    [(); 2].map(|()| {
        let (value, after) = rest[2..].split_at(usize::from(rest[1]));
        rest = after;
        value.iter().copied().skip_while(|&byte| byte == 0).collect()
    })
}

/// (r, s) → (r, n - s), n the order of P-256 (SEC 2 §2.4.2).
fn negated(signature: &[u8]) -> Vec<u8> {
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let [r, s] = integers(signature);
    let s = [vec![0; 32 - s.len()], s].concat();
    let mut out = vec![0; 32];
    let mut borrow = 0;
    for place in (0..32).rev() {
        let difference = i16::from(order[place]) - i16::from(s[place]) - borrow;
        borrow = i16::from(difference < 0);
        out[place] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let integer = |value: &[u8]| {
        let mut value: Vec<u8> = value.iter().copied().skip_while(|&byte| byte == 0).collect();
        if value[0] & 0x80 != 0 {
            value.insert(0, 0);
        }
        [vec![2, u8::try_from(value.len()).unwrap()], value].concat()
    };
    let body = [integer(&r), integer(&out)].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}
