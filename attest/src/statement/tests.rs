//! What a statement may say, and what it may not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::Value;
use serde_json::json;

use super::*;
use crate::capabilities::Capabilities;

const MODULE: ModuleDigest = ModuleDigest([7; 32]);

fn about(predicate_type: &str, predicate: &Value) -> Result<Statement, Rejection> {
    let statement = json!({
        "_type": STATEMENT_V1,
        "subject": [{ "name": "_", "digest": { "sha256": MODULE.to_string() } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    });
    parse(statement.to_string().as_bytes(), MODULE)
}

#[track_caller]
fn refused(predicate_type: &str, predicate: &Value) -> Code {
    let rejection = about(predicate_type, predicate).unwrap_err();
    assert_eq!(rejection.check, Check::Statement, "{rejection}");
    rejection.code
}

fn release() -> Value {
    json!({ "name": "voice-gate", "version": 8, "notBefore": "2026-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00Z",
            "capabilities": { "directories": [{ "path": "/in", "access": "read" }] } })
}

fn with(mut json: Value, key: &str, value: Value) -> Value {
    json.as_object_mut().unwrap().insert(key.into(), value);
    json
}

#[test]
fn a_release_is_read_as_it_is_written() {
    let Statement::Release(read) = about(RELEASE_V1, &release()).unwrap() else { panic!("a release") };
    assert_eq!((read.name.as_str(), read.version), ("voice-gate", 8));
    assert_eq!(read.expires.unwrap().to_string(), "2027-01-01T00:00:00Z");
    let again = serde_json::to_value(&read).unwrap();
    assert_eq!(about(RELEASE_V1, &again).unwrap(), Statement::Release(read.clone()));
    let stated = Release { capabilities_sha256: read.capabilities.as_ref().map(Capabilities::sha256), ..read };
    assert_eq!(about(RELEASE_V1, &serde_json::to_value(&stated).unwrap()).unwrap(), Statement::Release(stated));
}

#[test]
fn a_release_that_is_not_exact_is_refused() {
    let cases = [
        ("name", json!("")),
        ("name", json!("x".repeat(129))),
        ("name", json!(7)),
        ("version", json!("8")),
        ("version", json!(-1)),
        ("version", json!(8.0)),
        ("version", json!(8.5)),
        ("version", json!(MAX_VERSION + 1)),
        ("version", json!(u64::MAX)),
        ("version", json!(null)),
        ("expires", json!("2027-01-01")),
        ("expires", json!(1_795_380_600)),
        ("expires", json!("2025-01-01T00:00:00Z")),
        ("notBefore", json!("2027-01-01T00:00:01Z")),
        ("capabilities", json!([])),
        ("capabilities", json!({ "directories": [{ "path": "/in", "access": "all" }] })),
        ("capabilitiesSha256", json!("00".repeat(32))),
        ("capabilitiesSha256", json!("00".repeat(31))),
        ("capabilitiesSha256", json!("")),
    ];
    for (key, value) in cases {
        assert_eq!(refused(RELEASE_V1, &with(release(), key, value.clone())), Code::Malformed, "{key}: {value}");
    }
    for key in ["not_before", "notAfter", "capabilities_sha256", "min_runtime"] {
        assert_eq!(refused(RELEASE_V1, &with(release(), key, json!("x"))), Code::UnknownField, "{key}");
    }
    for key in ["name", "version"] {
        let mut without = release();
        without.as_object_mut().unwrap().remove(key);
        assert_eq!(refused(RELEASE_V1, &without), Code::Malformed, "{key}");
    }
    let upper = Capabilities::read(Fields::of(Json::parse(b"{}", "c").unwrap(), "c").unwrap()).unwrap().sha256();
    let upper = json!({ "name": "m", "version": 1, "capabilitiesSha256": hex::encode_upper(upper) });
    assert_eq!(refused(RELEASE_V1, &upper), Code::Malformed, "a digest has one spelling");
    assert_eq!(about(RELEASE_V1, &with(release(), "version", json!(MAX_VERSION))).unwrap().version(), Some(MAX_VERSION));
}

#[test]
fn a_release_forbids_what_it_does_not_list() {
    let mut granted = Capabilities::default();
    granted.graphs.insert("yolo".into());
    let of = |predicate: &Value| match about(RELEASE_V1, predicate).unwrap() {
        Statement::Release(release) => release,
        other => panic!("{other:?}"),
    };
    assert_eq!(of(&release()).forbids(&granted).as_deref(), Some("graph `yolo`"));
    let silent = json!({ "name": "m", "version": 1 });
    assert_eq!(of(&silent).forbids(&granted), None);
    let digest = with(silent.clone(), "capabilitiesSha256", json!(hex::encode(granted.sha256())));
    assert_eq!(of(&digest).forbids(&granted), None);
    assert_eq!(of(&digest).forbids(&Capabilities::default()), None);
    let mut more = granted.clone();
    more.graphs.insert("other".into());
    assert!(of(&digest).forbids(&more).is_some(), "the list is not known, so only exactly that list is within it");
    let nothing = with(silent, "capabilities", json!({}));
    assert!(of(&nothing).forbids(&granted).is_some(), "an empty list allows nothing");
}

#[test]
fn an_approval_is_read_as_strictly() {
    let full = json!({ "name": "voice-gate", "version": 8, "expires": "2027-01-01T00:00:00Z", "comment": "tried on line 4" });
    let Statement::Approval(approval) = about(APPROVAL_V1, &full).unwrap() else { panic!("an approval") };
    assert_eq!(serde_json::to_value(&approval).unwrap(), full);
    assert_eq!(about(APPROVAL_V1, &json!({ "name": "voice-gate" })).unwrap().version(), None);
    for (key, value, code) in [
        ("comment", json!("x".repeat(1025)), Code::Malformed),
        ("comment", json!(1), Code::Malformed),
        ("version", json!(null), Code::Malformed),
        ("approved", json!(false), Code::UnknownField),
        ("capabilities", json!({}), Code::UnknownField),
    ] {
        assert_eq!(refused(APPROVAL_V1, &with(full.clone(), key, value)), code, "{key}");
    }
    assert_eq!(refused(APPROVAL_V1, &json!({})), Code::Malformed);
}

#[test]
fn a_predicate_of_one_kind_is_not_one_of_another() {
    assert_eq!(refused(SIGNATURE_V1, &release()), Code::UnknownField);
    assert_eq!(refused(APPROVAL_V1, &release()), Code::UnknownField);
    assert_eq!(refused(PROVENANCE_V1, &release()), Code::Malformed);
    for other in
        ["https://edgeguard.dev/module-release/v2", "https://edgeguard.dev/module-release/v1/", "https://slsa.dev/provenance/v0.2", ""]
    {
        assert_eq!(refused(other, &release()), Code::PredicateType, "{other}");
    }
}

#[test]
fn a_statement_without_its_predicate_says_nothing() {
    for kind in [RELEASE_V1, APPROVAL_V1, PROVENANCE_V1] {
        let statement =
            json!({ "_type": STATEMENT_V1, "subject": [{ "digest": { "sha256": MODULE.to_string() } }], "predicateType": kind });
        assert_eq!(parse(statement.to_string().as_bytes(), MODULE).unwrap_err().code, Code::Malformed, "{kind}");
        for wrong in [json!(null), json!([]), json!("x")] {
            assert_eq!(refused(kind, &wrong), Code::Malformed, "{kind} {wrong}");
        }
    }
}
