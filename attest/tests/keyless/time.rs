//! When it was signed: only what a log or a timestamp authority proves, and every proved time within every window.

use edgeguard_attest::Code;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Stamp;
use edgeguard_virtual_sigstore::Validity;
use edgeguard_virtual_sigstore::rfc3339;
use serde_json::Value;
use serde_json::json;

use crate::world::*;

fn stamped(stamp: Stamp) -> Spec {
    workflow().logged(Logged::V2).stamp(stamp)
}

fn good() -> Stamp {
    Stamp::at(SIGNED_AT + 4)
}

#[test]
fn tiled_log_alone_proves_no_time() {
    refused(&workflow().logged(Logged::V2), Code::NoTrustedTime);
    // And one that says so of itself is not believed.
    let mut bundle = sigstore().sign(&module(), &workflow().logged(Logged::V2));
    bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = json!((SIGNED_AT + 5).to_string());
    Gateway::default().refuses(&bundle, Code::UncheckedEvidence);
}

#[test]
fn timestamp_that_does_not_verify_is_refused() {
    admitted(&stamped(good()));
    admitted(&stamped(Stamp { with_certificates: true, ..good() }));
    for stamp in [
        Stamp { over_another: true, ..good() },
        Stamp { by_stranger: true, ..good() },
        Stamp { by_stranger: true, with_certificates: true, ..good() },
    ] {
        refused(&stamped(stamp), Code::Timestamp);
        // Even where it is not needed: the log proves the time, and another stamp is good.
        refused(&workflow().stamp(stamp), Code::Timestamp);
        refused(&stamped(good()).stamp(stamp), Code::Timestamp);
    }
}

#[test]
fn both_ends_of_the_certificates_validity_belong_to_it() {
    for at in [SIGNED_AT, SIGNED_AT + 600] {
        admitted(&stamped(Stamp::at(at)));
    }
    for at in [SIGNED_AT - 1, SIGNED_AT + 601] {
        refused(&stamped(Stamp::at(at)), Code::TimeOutside);
        refused(&stamped(good()).stamp(Stamp::at(at)), Code::TimeOutside);
        let mut spec = workflow();
        spec.integrated = at;
        refused(&spec, Code::TimeOutside);
    }
}

#[test]
fn time_outside_what_the_trusted_root_allows_an_authority_is_refused() {
    let bundle = sigstore().sign(&module(), &workflow().stamp(good()));
    let window = |list: &'static str, path: &'static [&'static str], end: &'static str, at: i64| {
        Gateway::default().root(move |root| {
            let mut place: &mut Value = &mut root[list][0];
            for step in path {
                place = &mut place[*step];
            }
            place["validFor"][end] = json!(rfc3339(at));
        })
    };
    // The log has promised at +5, the authority stamped at +4, the certificate was made at +0.
    for (list, path, at) in [
        ("tlogs", &["publicKey"][..], SIGNED_AT + 5),
        ("timestampAuthorities", &[][..], SIGNED_AT + 4),
        ("certificateAuthorities", &[][..], SIGNED_AT + 5),
    ] {
        window(list, path, "end", at).admit(&bundle).unwrap();
        window(list, path, "end", at - 1).refuses(&bundle, Code::TimeOutside);
        window(list, path, "start", at + 1).refuses(&bundle, Code::TimeOutside);
    }
    window("ctlogs", &["publicKey"], "end", SIGNED_AT).admit(&bundle).unwrap();
    window("ctlogs", &["publicKey"], "end", SIGNED_AT - 1).refuses(&bundle, Code::Sct);
}

#[test]
fn one_authoritys_window_does_not_serve_another() {
    let another = edgeguard_virtual_sigstore::Instance::new("another").trusted_root()["timestampAuthorities"][0].clone();
    let gateway = Gateway::default().root(|root| {
        root["timestampAuthorities"][0]["validFor"]["end"] = json!(rfc3339(SIGNED_AT));
        root["timestampAuthorities"].as_array_mut().unwrap().push(another);
    });
    gateway.refuses(&sigstore().sign(&module(), &stamped(good())), Code::TimeOutside);
}

#[test]
fn stamp_by_an_expired_certificate_is_refused() {
    let short = |until| Validity { from: SIGNED_AT - 600, until };
    let judge = |until| {
        let sigstore = sigstore().with_tsa_certificate(short(until));
        let gateway = Gateway { root: Some(sigstore.trusted_root()), ..Gateway::default() };
        gateway.admit(&sigstore.sign(&module(), &stamped(good()))).map(drop).map_err(|rejection| rejection.code)
    };
    assert_eq!(judge(SIGNED_AT + 3), Err(Code::Timestamp));
    assert_eq!(judge(SIGNED_AT + 4), Ok(()));
}

#[test]
fn time_in_the_future_is_refused() {
    let mut spec = workflow().leaf(|leaf| leaf.validity.until = 2_524_607_999);
    spec.integrated = 2_500_000_000;
    refused(&spec, Code::Clock);
}

#[test]
fn more_stamps_than_are_looked_at_are_refused() {
    let mut spec = workflow();
    for second in 0..4 {
        spec = spec.stamp(Stamp::at(SIGNED_AT + second));
    }
    admitted(&spec);
    refused(&spec.clone().stamp(Stamp::at(SIGNED_AT + 9)), Code::TooMany);
    let mut bundle = sigstore().sign(&module(), &workflow().stamp(good()));
    let stamps = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"].as_array_mut().unwrap();
    stamps.extend(stamps.clone());
    Gateway::default().refuses(&bundle, Code::RepeatedEntry);
}
