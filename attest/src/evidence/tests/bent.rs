//! Real bundles and trusted roots with one thing wrong: each refused, and with the code of that thing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;

type Bend = fn(&mut Case);

#[track_caller]
fn all(case: &Case, bends: &[(&str, Code, Bend)]) {
    assert!(case.verify().is_ok());
    for (name, code, bend) in bends {
        let rejection = case.clone().bent(bend);
        assert_eq!(rejection.code, *code, "{name}: {rejection}");
    }
}

#[test]
fn whatever_is_bent_in_a_rekor_v1_bundle_is_refused_by_its_own_code() {
    let Some(case) = Case::cosign() else { return };
    all(
        &case,
        &[
            ("other artifact", Code::Digest, |case| case.sha256[0] ^= 1),
            ("promise flipped", Code::InclusionPromise, |case| flip(&mut case.entry()["inclusionPromise"]["signedEntryTimestamp"])),
            ("promise removed", Code::InclusionPromise, |case| remove(case.entry(), "inclusionPromise")),
            ("a second later", Code::InclusionPromise, |case| add(&mut case.entry()["integratedTime"], 1)),
            ("a second earlier", Code::InclusionPromise, |case| add(&mut case.entry()["integratedTime"], -1)),
            ("no time", Code::NoTrustedTime, |case| remove(case.entry(), "integratedTime")),
            ("entry elsewhere", Code::InclusionPromise, |case| add(&mut case.entry()["logIndex"], 1)),
            ("proof removed", Code::NoInclusionProof, |case| remove(case.entry(), "inclusionProof")),
            ("hash flipped", Code::InclusionProof, |case| flip(&mut case.proof()["hashes"][3])),
            ("hash removed", Code::InclusionProof, |case| drop(case.proof()["hashes"].as_array_mut().unwrap().pop())),
            ("no hash", Code::InclusionProof, |case| remove(case.proof(), "hashes")),
            ("proof of a neighbour", Code::InclusionProof, |case| add(&mut case.proof()["logIndex"], -1)),
            ("index beyond the tree", Code::InclusionProof, |case| add(&mut case.proof()["logIndex"], 1_000_000_000)),
            ("other root", Code::Checkpoint, |case| flip(&mut case.proof()["rootHash"])),
            ("larger tree", Code::Checkpoint, |case| add(&mut case.proof()["treeSize"], 1)),
            ("no checkpoint", Code::Checkpoint, |case| remove(case.proof(), "checkpoint")),
            ("checkpoint of another log", Code::Checkpoint, |case| {
                let note =
                    case.proof()["checkpoint"]["envelope"].as_str().unwrap().replace("rekor.sigstore.dev - ", "rekor.sigstore.de - ");
                case.proof()["checkpoint"]["envelope"] = note.into();
            }),
            ("unknown log", Code::Checkpoint, |case| flip(&mut case.entry()["logId"]["keyId"])),
            ("another trusted log", Code::InclusionPromise, |case| {
                case.entry()["logId"]["keyId"] = case.root["tlogs"][1]["logId"]["keyId"].clone();
                case.root["tlogs"][1]["publicKey"]["validFor"]["start"] = "2021-01-01T00:00:00Z".into();
            }),
            ("body flipped", Code::InclusionPromise, |case| {
                let body = STANDARD.decode(case.entry()["canonicalizedBody"].as_str().unwrap()).unwrap();
                let body = String::from_utf8(body).unwrap().replacen("\"apiVersion\":\"0.0.1\"", "\"apiVersion\":\"0.0.2\"", 1);
                case.entry()["canonicalizedBody"] = STANDARD.encode(body).into();
            }),
            ("stamp flipped", Code::Timestamp, |case| {
                flip_end(&mut case.material()["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"], 5);
            }),
            ("stamp of another signature", Code::Timestamp, |case| {
                case.material()["timestampVerificationData"] = Case::conda_v2().unwrap().material()["timestampVerificationData"].clone();
            }),
            ("stamp twice", Code::RepeatedEntry, |case| {
                let stamps = case.material()["timestampVerificationData"]["rfc3161Timestamps"].as_array_mut().unwrap();
                stamps.push(stamps[0].clone());
            }),
            ("signature flipped", Code::Timestamp, |case| flip(&mut case.bundle["messageSignature"]["signature"])),
            ("certificate flipped", Code::CertificateChain, |case| flip_end(&mut case.material()["certificate"]["rawBytes"], 2)),
            ("certificate of another", Code::TimeOutside, |case| {
                case.material()["certificate"] = Case::conda_v2().unwrap().material()["certificate"].clone();
            }),
            ("no log entry", Code::NoInclusionProof, |case| remove(case.material(), "tlogEntries")),
            ("entry twice", Code::RepeatedEntry, |case| {
                let entry = case.entry().clone();
                case.material()["tlogEntries"].as_array_mut().unwrap().push(entry);
            }),
            ("two entries", Code::TooMany, |case| {
                let entry = Case::managed_key().unwrap().entry().clone();
                case.material()["tlogEntries"].as_array_mut().unwrap().push(entry);
            }),
            ("entry of a statement", Code::EntryMismatch, |case| *case.entry() = Case::conda().unwrap().entry().clone()),
            ("unknown kind", Code::UncheckedEvidence, |case| case.entry()["kindVersion"]["version"] = "0.0.3".into()),
            ("relabelled without proof", Code::BundleVersion, |case| {
                case.bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
                remove(case.entry(), "inclusionProof");
            }),
            ("key beside certificate", Code::OneOf, |case| case.material()["publicKey"] = json!({ "hint": "" })),
            ("statement beside message", Code::OneOf, |case| {
                case.bundle["dsseEnvelope"] = Case::conda().unwrap().bundle["dsseEnvelope"].clone();
            }),
            ("unknown field in the entry", Code::UnknownField, |case| case.entry()["note"] = "x".into()),
            ("unknown field in the proof", Code::UnknownField, |case| case.proof()["note"] = "x".into()),
            ("unknown field in the checkpoint", Code::UnknownField, |case| case.proof()["checkpoint"]["note"] = "x".into()),
            ("unknown field in the certificate", Code::UnknownField, |case| case.material()["certificate"]["note"] = "x".into()),
            ("unknown field beside the stamps", Code::UnknownField, |case| {
                case.material()["timestampVerificationData"]["note"] = "x".into()
            }),
            ("index below zero", Code::Malformed, |case| case.entry()["logIndex"] = "-1".into()),
            ("index with a blank", Code::Malformed, |case| case.entry()["logIndex"] = " 738312748".into()),
            ("index with a zero before", Code::Malformed, |case| case.entry()["logIndex"] = "0738312748".into()),
            ("hash in hex", Code::Malformed, |case| case.proof()["rootHash"] = "00".repeat(32).into()),
        ],
    );
}

#[test]
fn whatever_is_bent_in_a_rekor_v2_bundle_is_refused_by_its_own_code() {
    let Some(case) = Case::conda_v2() else { return };
    all(
        &case,
        &[
            ("other artifact", Code::Digest, |case| case.sha256[0] ^= 1),
            ("no stamp", Code::NoTrustedTime, |case| remove(case.material(), "timestampVerificationData")),
            ("a time of its own", Code::UncheckedEvidence, |case| case.entry()["integratedTime"] = "1764787003".into()),
            ("a promise", Code::UncheckedEvidence, |case| {
                case.entry()["inclusionPromise"] = Case::cosign().unwrap().entry()["inclusionPromise"].clone();
            }),
            ("entry elsewhere", Code::InclusionProof, |case| add(&mut case.entry()["logIndex"], 1)),
            ("proof of a neighbour", Code::InclusionProof, |case| add(&mut case.proof()["logIndex"], 1)),
            ("both elsewhere", Code::InclusionProof, |case| {
                add(&mut case.entry()["logIndex"], -1);
                add(&mut case.proof()["logIndex"], -1);
            }),
            ("other root", Code::Checkpoint, |case| flip(&mut case.proof()["rootHash"])),
            ("larger tree", Code::Checkpoint, |case| add(&mut case.proof()["treeSize"], 1)),
            ("hash flipped", Code::InclusionProof, |case| flip(&mut case.proof()["hashes"][0])),
            ("another trusted log", Code::Checkpoint, |case| {
                let other = case.entry()["logId"]["keyId"].clone();
                let logs = case.root["tlogs"].as_array().unwrap();
                let other = logs.iter().map(|log| log["logId"]["keyId"].clone()).find(|id| *id != other).unwrap();
                case.entry()["logId"]["keyId"] = other;
            }),
            ("payload changed", Code::Signature, |case| {
                let payload = STANDARD.decode(case.bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
                let payload = String::from_utf8(payload).unwrap().replacen(' ', "  ", 1).replacen("\"name\":\"", "\"name\":\"x", 1);
                case.bundle["dsseEnvelope"]["payload"] = STANDARD.encode(payload).into();
            }),
            ("other payload type", Code::PayloadType, |case| case.bundle["dsseEnvelope"]["payloadType"] = "application/json".into()),
            ("two signatures", Code::OneOf, |case| {
                let signatures = case.bundle["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
                signatures.push(signatures[0].clone());
            }),
        ],
    );
}

#[test]
fn whatever_is_bent_in_a_workflows_statement_is_refused_by_its_own_code() {
    let Some(case) = Case::conda() else { return };
    all(
        &case,
        &[
            ("signature flipped", Code::Signature, |case| flip(&mut case.bundle["dsseEnvelope"]["signatures"][0]["sig"])),
            ("entry of a message", Code::EntryMismatch, |case| *case.entry() = Case::cosign().unwrap().entry().clone()),
            ("sct flipped", Code::CertificateChain, |case| flip_end(&mut case.material()["certificate"]["rawBytes"], 120)),
        ],
    );
}

#[test]
fn genuine_entry_of_another_signature_is_refused() {
    let Some(mut case) = Case::load("bundles/bundle_cve_2022_36056.txt.sigstore", Some("staging"), GITHUB, "william@yossarian.net") else {
        return;
    };
    let rejection = case.verify().unwrap_err();
    assert!(matches!(rejection.code, Code::EntryMismatch | Code::Signature | Code::TimeOutside), "{rejection}");
    // The same for a key, where no certificate's minutes stand in the way.
    case = Case::managed_key().unwrap();
    let foreign = Case::cosign().unwrap().entry().clone();
    expect(&case.clone().bent(|case| *case.entry() = foreign), Code::EntryMismatch);
    expect(&case.clone().bent(|case| flip(&mut case.bundle["messageSignature"]["signature"])), Code::Signature);
    expect(&case.bent(|case| case.material()["publicKey"]["hint"] = "AAAA".into()), Code::UnknownKey);
}

#[test]
fn evidence_that_nobody_asked_for_is_verified_all_the_same() {
    let Some(case) = Case::managed_key() else { return };
    all(
        &case,
        &[
            ("promise flipped", Code::InclusionPromise, |case| flip(&mut case.entry()["inclusionPromise"]["signedEntryTimestamp"])),
            ("hash flipped", Code::InclusionProof, |case| flip(&mut case.proof()["hashes"][0])),
            ("stamp flipped", Code::Timestamp, |case| {
                flip_end(&mut case.material()["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"], 5);
            }),
        ],
    );
}

#[test]
fn authority_counts_only_in_its_time_and_only_if_it_is_named() {
    let (Some(v1), Some(v2)) = (Case::cosign(), Case::conda_v2()) else { return };
    for case in [&v1, &v2] {
        all(
            case,
            &[
                ("log retired before", Code::TimeOutside, |case| {
                    for log in case.root["tlogs"].as_array_mut().unwrap() {
                        log["publicKey"]["validFor"] = retired();
                    }
                }),
                ("certificate authority retired before", Code::TimeOutside, |case| {
                    for ca in case.root["certificateAuthorities"].as_array_mut().unwrap() {
                        ca["validFor"] = retired();
                    }
                }),
                ("another certificate authority", Code::CertificateChain, |case| {
                    let mut other: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
                    remove(&mut other["certificateAuthorities"][0]["validFor"], "end");
                    case.root["certificateAuthorities"] = json!([other["certificateAuthorities"][0]]);
                }),
                ("timestamp authority retired before", Code::TimeOutside, |case| {
                    for tsa in case.root["timestampAuthorities"].as_array_mut().unwrap() {
                        tsa["validFor"] = retired();
                    }
                }),
                ("timestamp authority removed", Code::Timestamp, |case| case.root["timestampAuthorities"] = json!([])),
                ("another certificate log", Code::Sct, |case| {
                    let other: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
                    case.root["ctlogs"] = json!([other["ctlogs"][0]]);
                }),
                ("certificate log removed", Code::Sct, |case| case.root["ctlogs"] = json!([])),
                ("certificate log retired before", Code::Sct, |case| {
                    for log in case.root["ctlogs"].as_array_mut().unwrap() {
                        log["publicKey"]["validFor"] = retired();
                    }
                }),
                ("log removed", Code::Checkpoint, |case| case.root["tlogs"] = json!([])),
            ],
        );
    }
}

#[test]
fn clock_before_the_newest_authority_is_named_as_the_reason() {
    let Some(case) = Case::cosign() else { return };
    let rejection = case.bent(|case| {
        case.root["tlogs"][0]["publicKey"]["validFor"]["start"] = "2199-01-01T00:00:00Z".into();
    });
    expect(&rejection, Code::Clock);
}
