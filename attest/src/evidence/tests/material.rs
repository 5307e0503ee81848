//! Trusted roots that are whole, and those that are refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::json;
use sigstore_verify::trust_root::SIGSTORE_GITHUB_TRUSTED_ROOT;

use super::*;
use crate::material::AuthorityKind;
use crate::material::MAX_MATERIAL;
use crate::material::MaterialError;
use crate::module::sha256;

#[track_caller]
fn bent(bend: impl FnOnce(&mut Value)) -> MaterialError {
    let mut root: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    bend(&mut root);
    TrustMaterial::from_json(root.to_string().as_bytes(), None).unwrap_err()
}

#[test]
fn public_good_root_names_each_kind_of_authority_with_its_time() {
    let material = TrustMaterial::public_good().unwrap();
    assert_eq!(material.digest(), sha256(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes()));
    let authorities = material.authorities();
    for kind in [AuthorityKind::Fulcio, AuthorityKind::Rekor, AuthorityKind::Ct, AuthorityKind::Tsa] {
        assert!(authorities.iter().any(|authority| authority.kind == kind), "{kind}");
    }
    assert!(authorities.iter().all(|authority| authority.from.is_some() && authority.id.len() == 64));
    assert!(authorities.iter().any(|authority| authority.until.is_some()));
    assert_eq!(TrustMaterial::none().authorities(), []);
}

#[test]
fn roots_of_other_instances_are_read() {
    for root in [SIGSTORE_STAGING_TRUSTED_ROOT, SIGSTORE_GITHUB_TRUSTED_ROOT] {
        TrustMaterial::from_json(root.as_bytes(), Some(sha256(root.as_bytes()))).unwrap();
    }
}

#[test]
fn root_that_is_not_the_pinned_one_is_refused() {
    let error = TrustMaterial::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes(), Some([0; 32])).unwrap_err();
    assert!(matches!(error, MaterialError::Pin { .. }), "{error}");
    expect(&Rejection::from(error), Code::TrustMaterial);
}

#[test]
fn root_that_is_not_whole_is_refused() {
    let unusable = |error: MaterialError| assert!(matches!(error, MaterialError::Unusable { .. }), "{error}");
    unusable(bent(|root| {
        let log = root["tlogs"][0].clone();
        root["tlogs"].as_array_mut().unwrap().push(log);
    }));
    unusable(bent(|root| {
        let log = root["ctlogs"][0].clone();
        root["ctlogs"].as_array_mut().unwrap().push(log);
    }));
    unusable(bent(|root| root["tlogs"][0]["publicKey"]["validFor"]["end"] = "2020-01-01T00:00:00Z".into()));
    unusable(bent(|root| root["certificateAuthorities"][0]["certChain"]["certificates"] = json!([])));
    unusable(bent(|root| flip_end(&mut root["tlogs"][0]["publicKey"]["rawBytes"], 3)));

    let no_start = |error: MaterialError| assert!(matches!(error, MaterialError::NoStart { .. }), "{error}");
    no_start(bent(|root| remove(&mut root["tlogs"][0]["publicKey"], "validFor")));
    no_start(bent(|root| remove(&mut root["ctlogs"][0]["publicKey"], "validFor")));
    no_start(bent(|root| remove(&mut root["certificateAuthorities"][0], "validFor")));
    no_start(bent(|root| remove(&mut root["timestampAuthorities"][0], "validFor")));

    let malformed = |error: MaterialError| assert!(matches!(error, MaterialError::Malformed { .. }), "{error}");
    malformed(bent(|root| remove(&mut root["tlogs"][0]["publicKey"]["validFor"], "start")));
    malformed(bent(|root| root["tlogs"] = json!({})));

    assert!(matches!(bent(|root| root["tlogs"][0]["hashAlgorithm"] = "SHA2_512".into()), MaterialError::Hash { .. }));
    assert!(matches!(bent(|root| root["mediaType"] = "application/json".into()), MaterialError::MediaType { .. }));
    assert!(matches!(bent(|root| *root = json!({ "mediaType": root["mediaType"] })), MaterialError::Empty));
}

#[test]
fn root_with_a_repeated_key_or_beyond_its_bound_is_refused() {
    let twice = SIGSTORE_PRODUCTION_TRUSTED_ROOT.replacen('{', r#"{"tlogs":[],"#, 1);
    let error = TrustMaterial::from_json(twice.as_bytes(), None).unwrap_err();
    assert!(matches!(error, MaterialError::Json(_)), "{error}");
    expect(&Rejection::from(error), Code::TrustMaterial);
    let error = TrustMaterial::from_json(&vec![b' '; MAX_MATERIAL + 1], None).unwrap_err();
    assert!(matches!(error, MaterialError::TooBig { .. }), "{error}");
}
