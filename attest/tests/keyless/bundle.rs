//! The bundle's form, and the signature itself: what the field's verifier lets pass and the gate does not.

use edgeguard_attest::Code;
use edgeguard_attest::MAX_BUNDLE;
use edgeguard_virtual_sigstore::Format;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Stamp;
use edgeguard_virtual_sigstore::Tamper;
use serde_json::json;

use crate::world::*;

#[test]
fn one_byte_more_or_another_one_is_another_module() {
    let bundle = sigstore().sign(&module(), &workflow());
    let statement = sigstore().sign(&module(), &workflow().statement(statement()));
    let longer = [module(), vec![0]].concat();
    // As embedded signatures leave room for: a custom section more.
    let with_section = [module(), b"\0\x02\x01x".to_vec()].concat();
    for other in [longer, with_section] {
        let gateway = Gateway { module: other, ..Gateway::default() };
        gateway.refuses(&bundle, Code::Digest);
        gateway.refuses(&statement, Code::Digest);
    }
}

#[test]
fn signature_by_another_key_is_refused() {
    for spec in [workflow(), workflow().rekor2(), workflow().statement(statement())] {
        each_refused(&spec, &[(Tamper::SignedByAnotherKey, Code::Signature)]);
    }
    each_refused(&workflow(), &[(Tamper::SignatureFlipped, Code::Signature), (Tamper::DigestOfAnother, Code::Digest)]);
    each_refused(&workflow().statement(statement()), &[(Tamper::SignatureFlipped, Code::Signature)]);
}

#[test]
fn bundle_relabelled_as_an_older_version_is_refused() {
    let relabelled = workflow().lie(Tamper::ProofMissing).lie(Tamper::MediaType("application/vnd.dev.sigstore.bundle+json;version=0.1"));
    refused(&relabelled, Code::BundleVersion);
    for format in [Format::V01, Format::V02] {
        refused(&workflow().format(format), Code::BundleVersion);
    }
    admitted(&workflow().format(Format::V03Parameter));
    // The new label on an old form.
    let chain = workflow().format(Format::V02).lie(Tamper::MediaType("application/vnd.dev.sigstore.bundle.v0.3+json"));
    refused(&chain, Code::BundleVersion);
}

#[test]
fn two_of_what_must_be_one_is_refused() {
    each_refused(&workflow(), &[(Tamper::KeyBesideCertificate, Code::OneOf), (Tamper::UnknownField, Code::UnknownField)]);
    each_refused(
        &workflow().statement(statement()),
        &[
            (Tamper::MessageBesideEnvelope, Code::OneOf),
            (Tamper::TwoSignatures, Code::OneOf),
            (Tamper::NoSignature, Code::OneOf),
            (Tamper::PayloadType("text/plain"), Code::PayloadType),
        ],
    );
}

#[test]
fn field_twice_is_refused_whichever_comes_first() {
    let good = sigstore().sign(&module(), &workflow()).to_string();
    let evil = sigstore().sign(b"another module", &workflow())["messageSignature"].to_string();
    let key = r#""messageSignature":"#;
    let place = good.find(key).unwrap();
    let before = format!("{}{key}{evil},{}", &good[..place], &good[place..]);
    let after = format!("{},{key}{evil}}}", good.strip_suffix('}').unwrap());
    for bundle in [before, after] {
        Gateway::default().refuses_bytes(bundle.as_bytes(), Code::DuplicateKey);
    }
}

#[test]
fn bundle_that_is_made_large_or_deep_is_refused() {
    let good = sigstore().sign(&module(), &workflow());
    let padded = format!("{good}{}", " ".repeat(24 << 20));
    Gateway::default().refuses_bytes(padded.as_bytes(), Code::TooBig);
    let full = format!("{good}{}", " ".repeat(MAX_BUNDLE as usize - good.to_string().len()));
    Gateway::default().admit_all(&[full.as_bytes()]).unwrap();

    let mut wide = good.clone();
    wide["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"] = json!(vec![json!(""); 60_000]);
    Gateway::default().refuses(&wide, Code::Shape);
    let mut deep = good;
    deep["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"] = (0..100).fold(json!([]), |inner, _| json!([inner]));
    Gateway::default().refuses(&deep, Code::Shape);
}

#[test]
fn digest_of_another_algorithm_is_refused() {
    let mut bundle = sigstore().sign(&module(), &workflow());
    for algorithm in ["SHA2_384", "SHA2_512", "SHA3_256", "MD5"] {
        bundle["messageSignature"]["messageDigest"]["algorithm"] = json!(algorithm);
        Gateway::default().refuses(&bundle, Code::Algorithm);
    }
}

#[test]
fn evidence_is_never_overlooked_for_want_of_trust_material() {
    let gateway = Gateway { root: None, ..Gateway::default() };
    gateway.refuses(&sigstore().sign(&module(), &workflow()), Code::UncheckedEvidence);
    let without = |list: &'static str| Gateway::default().root(move |root| root[list] = json!([]));
    let bundle = sigstore().sign(&module(), &workflow().stamp(Stamp::at(SIGNED_AT + 4)));
    without("tlogs").refuses(&bundle, Code::Checkpoint);
    without("ctlogs").refuses(&bundle, Code::Sct);
    without("timestampAuthorities").refuses(&bundle, Code::Timestamp);
    without("certificateAuthorities").refuses(&bundle, Code::TimeOutside);
}

#[test]
fn trusted_root_that_contradicts_itself_is_refused() {
    let bundle = sigstore().sign(&module(), &workflow());
    let bent = |change: fn(&mut serde_json::Value)| Gateway::default().root(change);
    for gateway in [
        bent(|root| {
            let twice = root["tlogs"][0].clone();
            root["tlogs"].as_array_mut().unwrap().push(twice);
        }),
        bent(|root| root["tlogs"][0]["publicKey"]["validFor"]["end"] = json!("2024-01-01T00:00:00Z")),
        bent(|root| drop(root["tlogs"][0]["publicKey"]["validFor"].as_object_mut().unwrap().remove("start"))),
        bent(|root| drop(root["timestampAuthorities"][0].as_object_mut().unwrap().remove("validFor"))),
        bent(|root| root["tlogs"][1]["publicKey"]["rawBytes"] = json!("AAAA")),
        bent(|root| root["certificateAuthorities"][0]["certChain"]["certificates"] = json!([])),
    ] {
        gateway.refuses(&bundle, Code::TrustMaterial);
    }
}
