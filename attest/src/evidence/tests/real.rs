//! What real bundles prove, and who they are of.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::super::DistinctSigner;
use super::super::Signed;
use super::super::TimeSource;
use super::*;
use crate::claims::Claim;
use crate::module::Form;
use crate::signer::EvidenceWanted;
use crate::signer::Window;
use crate::time::Time;

#[test]
fn cosigns_bundle_proves_who_and_twice_when_and_where() {
    let Some(case) = Case::cosign() else { return };
    let evidence = case.verify().unwrap();
    assert_eq!((evidence.signed, &evidence.signers), (Signed::Message, &vec![0]));
    let proof = evidence.proof;
    let keyless = proof.keyless.as_ref().unwrap();
    assert_eq!((keyless.identity.as_str(), keyless.issuer.as_str()), ("w.vollprecht@gmail.com", GITHUB));
    assert!(keyless.claims.is_empty() && proof.key.is_none());
    assert_eq!(proof.log.as_ref().unwrap().index, 738_312_748);
    let mut times: Vec<(i64, TimeSource)> = proof.times.iter().map(|proved| (proved.time.0, proved.source)).collect();
    times.sort_by_key(|(time, source)| (*source == TimeSource::Log, *time));
    assert_eq!(times.len(), 2);
    assert_eq!(times[1], (1_764_787_003, TimeSource::Log));
    assert_eq!(times[0].1, TimeSource::Timestamp);
    assert!(times[0].0.abs_diff(1_764_787_003) < 60);
}

#[test]
fn rekor_v2_bundle_is_dated_by_its_timestamp_alone() {
    let Some(case) = Case::conda_v2() else { return };
    let evidence = case.verify().unwrap();
    let Signed::Statement(payload) = evidence.signed else { panic!("a statement") };
    assert!(payload.starts_with(b"{"));
    assert_eq!(evidence.proof.form, Form::Dsse);
    assert_eq!(evidence.proof.times.len(), 1);
    assert_eq!(evidence.proof.times[0].source, TimeSource::Timestamp);
    assert_eq!(evidence.proof.log.unwrap().index, 4_197_416);
}

#[test]
fn bundles_of_other_instances_are_good_under_their_own_root_only() {
    let beacon = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
    let staging = "sct-multi-intermediate/staging_trusted_root.json";
    for (bundle, root, identity) in [
        ("timestamps/valid_bundle.json", "timestamps/valid_trusted_root.json", beacon),
        (
            "sct-multi-intermediate/staging_bundle.sigstore.json",
            staging,
            "https://github.com/sigstore/root-signing-staging/.github/workflows/*@refs/heads/main",
        ),
        ("upstream/sigstore-python/a.dsse.staging-rekor-v2.txt.sigstore.json", staging, beacon),
    ] {
        let Some(mut case) = Case::load(bundle, Some(root), ACTIONS, identity) else { return };
        case.verify().unwrap_or_else(|rejection| panic!("{bundle}: {rejection}"));
        case.root = Case::cosign().unwrap().root;
        expect(&case.verify().unwrap_err(), Code::Checkpoint);
    }
}

#[test]
fn cosigns_key_bundle_is_verified_with_all_that_it_carries() {
    let Some(mut case) = Case::managed_key() else { return };
    for wanted in [EvidenceWanted::None, EvidenceWanted::Log, EvidenceWanted::Timestamp, EvidenceWanted::Both] {
        case.signer.evidence = wanted;
        let proof = case.verify().unwrap().proof;
        assert!(proof.keyless.is_none() && matches!(proof.distinct(), DistinctSigner::Key(_)));
        assert_eq!(proof.times.len(), 2, "{:?}", proof.times);
        assert_eq!(proof.times.iter().filter(|proved| proved.source == TimeSource::Log).count(), 1);
        assert_eq!(proof.log.unwrap().index, 771_488_337);
    }
}

#[test]
fn every_proved_time_lies_in_the_signers_window() {
    let (Some(key), Some(keyless)) = (Case::managed_key(), Case::cosign()) else { return };
    for mut case in [key, keyless] {
        let times: Vec<Time> = case.verify().unwrap().proof.times.iter().map(|proved| proved.time).collect();
        let (first, last) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        case.signer.window = Window { usable_from: Some(first), retire_at: Some(last) };
        assert!(case.verify().is_ok());
        for window in [
            Window { usable_from: Some(Time(last.0 + 1)), retire_at: None },
            Window { usable_from: None, retire_at: Some(Time(first.0 - 1)) },
        ] {
            case.signer.window = window;
            expect(&case.verify().unwrap_err(), Code::KeyWindow);
        }
    }
}

#[test]
fn key_without_the_evidence_it_must_bring_is_refused() {
    let Some(mut case) = Case::managed_key() else { return };
    case.signer.evidence = EvidenceWanted::Both;
    expect(
        &case.clone().bent(|case| *case.material() = serde_json::json!({ "publicKey": case.material()["publicKey"] })),
        Code::NoInclusionProof,
    );
    expect(&case.clone().bent(|case| remove(case.material(), "timestampVerificationData")), Code::NoTrustedTime);
    expect(&case.clone().bent(|case| remove(case.material(), "tlogEntries")), Code::NoInclusionProof);
    // A timestamp alone does for one who must bring no more.
    case.signer.evidence = EvidenceWanted::Timestamp;
    remove(case.material(), "tlogEntries");
    let proof = case.verify().unwrap().proof;
    assert_eq!((proof.times.len(), proof.log), (1, None));
}

#[test]
fn key_alone_needs_no_trust_material_and_anything_more_does() {
    let Some(mut case) = Case::managed_key() else { return };
    let nobody = TrustMaterial::none();
    expect(&case.verify_with(&nobody).unwrap_err(), Code::UncheckedEvidence);
    remove(case.material(), "tlogEntries");
    expect(&case.verify_with(&nobody).unwrap_err(), Code::UncheckedEvidence);
    remove(case.material(), "timestampVerificationData");
    let proof = case.verify_with(&nobody).unwrap().proof;
    assert!(proof.times.is_empty() && proof.log.is_none());
    expect(&Case::cosign().unwrap().verify_with(&nobody).unwrap_err(), Code::UncheckedEvidence);
}

#[test]
fn identity_is_matched_from_end_to_end_and_issuer_exactly() {
    let Some(case) = Case::cosign() else { return };
    for other in ["vollprecht@gmail.com", "w.vollprecht@gmail.co", "W.vollprecht@gmail.com", "w.vollprecht/*"] {
        expect(&case.clone().bent(|case| case.keyless().identity = other.parse().unwrap()), Code::Identity);
    }
    for other in ["https://github.com/login/oauth/", "http://github.com/login/oauth", "https://github.com/login", "", ACTIONS] {
        expect(&case.clone().bent(|case| case.keyless().issuer = other.into()), Code::Issuer);
    }
    let mut open = case;
    open.keyless().identity = "*@gmail.com".parse().unwrap();
    assert!(open.verify().is_ok());
}

#[test]
fn claims_come_from_the_certificate_and_all_must_match() {
    let Some(mut case) = Case::conda() else { return };
    let said = case.verify().unwrap().proof.keyless.unwrap().claims;
    assert_eq!(said["repository-uri"], "https://github.com/prefix-dev/sigstore-example");
    assert_eq!(said["runner-environment"], "github-hosted");
    let id = said["repository-id"].clone();
    case.keyless().claims = vec![(Claim::RepositoryId, id.parse().unwrap()), (Claim::RepositoryRef, "refs/heads/*".parse().unwrap())];
    assert!(case.verify().is_ok());
    let other = case.clone().bent(|case| case.keyless().claims.push((Claim::RunnerEnvironment, "self-hosted".parse().unwrap())));
    expect(&other, Code::Claim);
    assert_eq!(other.found, "`github-hosted`");
    let absent = case.bent(|case| case.keyless().claims.push((Claim::DeploymentEnvironment, "production".parse().unwrap())));
    expect(&absent, Code::Claim);
    assert_eq!(absent.found, "no such claim");
}

#[test]
fn identity_under_two_ids_is_both_signers_and_one_that_misses_is_neither() {
    let Some(case) = Case::conda() else { return };
    let mut narrow = case.signer.clone();
    narrow.id = "narrow".into();
    let mut stranger = case.signer.clone();
    stranger.kind = Case::managed_key().unwrap().signer.kind;
    let signers = [stranger, case.signer.clone(), narrow];
    let material = TrustMaterial::from_json(case.root.to_string().as_bytes(), None).unwrap();
    let bundle = case.bundle.to_string();
    let evidence = verify(bundle.as_bytes(), Artifact::Digest(case.sha256), &signers, &material, &mut Vec::new()).unwrap();
    assert_eq!(evidence.signers, [1, 2]);
    assert_eq!(evidence.proof.signer, "vendor");
}

#[test]
fn certificate_is_nobodys_where_the_policy_names_only_keys_and_a_key_where_it_names_none() {
    let (Some(mut keyless), Some(mut key)) = (Case::cosign(), Case::managed_key()) else { return };
    std::mem::swap(&mut keyless.signer, &mut key.signer);
    expect(&keyless.verify().unwrap_err(), Code::Identity);
    expect(&key.verify().unwrap_err(), Code::UnknownKey);
}

#[test]
fn certificate_with_a_name_of_another_kind_is_nobodys() {
    let Some(case) =
        Case::load("bundles/othername.sigstore.json", Some("trusted_roots/scaffolding.json"), "http://oidc.local", "foo!oidc.local")
    else {
        return;
    };
    expect(&case.verify().unwrap_err(), Code::CertificateChain);
}

#[test]
fn keyless_bundle_without_a_log_entry_is_refused() {
    let name = "https://dotcom.releases.github.com";
    let Some(case) =
        Case::load("bundles/github-private-attestation.sigstore.json", Some("timestamps/github_trusted_root.json"), name, name)
    else {
        return;
    };
    expect(&case.verify().unwrap_err(), Code::NoInclusionProof);
}
