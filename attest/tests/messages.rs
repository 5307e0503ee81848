//! Every message as people see it. A changed message is a changed snapshot (`INSTA_UPDATE=always`), and a code without one is a failure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use edgeguard_attest::*;
use serde_json::Value;
use serde_json::json;
use sign::SigningKey;
use support::*;
use world::*;

fn bent(mut bundle: Value, change: impl FnOnce(&mut Value)) -> Rejection {
    change(&mut bundle);
    verify(&bundle).unwrap_err()
}

fn said(change: impl FnOnce(&mut Value)) -> Rejection {
    let mut changed = statement();
    change(&mut changed);
    verify(&signed(&changed)).unwrap_err()
}

/// Codes of evidence that only a whole sigstore can make, and of what is remembered on a disk: their messages are held where they are made.
const ELSEWHERE: [Code; 14] = [
    Code::CertificateChain,
    Code::Sct,
    Code::InclusionPromise,
    Code::InclusionProof,
    Code::Checkpoint,
    Code::EntryMismatch,
    Code::TimeOutside,
    Code::Timestamp,
    Code::TrustMaterial,
    Code::Issuer,
    Code::Claim,
    Code::Rollback,
    Code::Quote,
    Code::StateDamaged,
];

/// What a policy keeps out although its signatures are good: one refusal or more for each rule.
fn refusals_by_rules() -> Vec<Rejection> {
    // Keys that never change, because messages name them.
    let keys = Keys { vendor: p256(), builder: ed25519(), ops: vec![SigningKey::from_pem(P384_KEY).unwrap()] };
    let vendor = || vec![signer("acme", &keys.vendor)];
    let plain = || World::plain(vendor(), 1);
    let bare = keys.vendor.sign(&module()).unwrap();
    let of = |change: &dyn Fn(&mut Release)| {
        let mut release = release(8);
        change(&mut release);
        released(&keys.vendor, &release)
    };
    let world = |change: &dyn Fn(&mut World)| {
        let mut world = plain();
        change(&mut world);
        world
    };
    let signer_with =
        |window: Window, evidence: EvidenceWanted| World::plain(vec![Signer { window, evidence, ..signer("acme", &keys.vendor) }], 1);
    let window = |from: Option<i64>, until: Option<i64>| Window { usable_from: from.map(at), retire_at: until.map(at) };
    let approvals = |threshold| {
        let signers = [vendor(), vec![signer("ops", &keys.ops[0]), signer("builder", &keys.builder)]].concat();
        World::of(Rules {
            slot: SLOT.into(),
            signers,
            requirements: vec![require(RELEASE, &["acme"], 1), require(APPROVAL, &["ops", "builder"], threshold)],
            min_version: None,
        })
    };
    let built_by = |wanted: Wanted| {
        let rules = Rules {
            slot: SLOT.into(),
            signers: vec![signer("ci", &keys.builder)],
            requirements: vec![require(wanted, &["ci"], 1)],
            min_version: None,
        };
        World::of(rules)
    };
    let provenance_of = |builders: &str, build_types: &str, parameters: &[(&str, &str)]| Wanted::Provenance {
        builders: vec![builders.into()],
        build_types: vec![build_types.into()],
        parameters: Some(parameters.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()),
    };
    let list = |entry: Value| {
        let text = json!({ "version": 1, "list": 7, "issued": at(-1).to_string(), "expires": at(30).to_string(), "revoked": [entry] });
        Some(Revocations::from_json(text.to_string().as_bytes()).unwrap())
    };
    let revoked = |entry: Value| world(&|world| world.revocations = list(entry.clone())).refuses(std::slice::from_ref(&bare));
    let ahead = Clock::new(now(), at(4000), ClockLimits::default());
    let stale = || Staleness::Stale { what: "revocation list 7".into(), since: at(-1) };
    let expiring = of(&|release| release.expires = Some(at(-1)));
    let approved_by_ops = |approval: &Approval| approved(&keys.ops[0], approval);
    vec![
        plain().refuses(&vec![bare.clone(); 9]),
        signer_with(Window::default(), EvidenceWanted::Log).refuses(std::slice::from_ref(&bare)),
        signer_with(Window::default(), EvidenceWanted::Timestamp).refuses(std::slice::from_ref(&bare)),
        signer_with(window(None, Some(-1)), EvidenceWanted::None).refuses(std::slice::from_ref(&bare)),
        signer_with(window(Some(1), None), EvidenceWanted::None).refuses(std::slice::from_ref(&bare)),
        revoked(json!({ "key": keys.vendor.public().id().to_string(), "reason": "laptop was stolen" })),
        revoked(json!({ "digest": this_module().to_string(), "reason": "crashes on silence" })),
        revoked(json!({ "module": SLOT, "belowVersion": 9, "reason": "reads past its input" })),
        approvals(2).refuses(&[of(&|_| ()), approved_by_ops(&approval())]),
        approvals(1).refuses(&[of(&|_| ()), of(&|_| ())]),
        world(&|world| world.rules.requirements.clear()).refuses(std::slice::from_ref(&bare)),
        built_by(provenance_of("https://ci.example/other", "https://ci.example/type/v1", &[])).refuses(&[built()]),
        built_by(provenance_of("https://ci.example/builder", "https://ci.example/type/v2", &[])).refuses(&[built()]),
        built_by(provenance_of("https://ci.example/builder", "https://ci.example/type/v1", &[("ref", "refs/tags/v9")])).refuses(&[built()]),
        built_by(provenance_of("https://ci.example/builder", "https://ci.example/type/v1", &[])).refuses(&[built()]),
        plain().refuses(&[of(&|release| release.name = "voice-gate-debug".into())]),
        plain().refuses(&[approved(&keys.vendor, &approval())]),
        approvals(1).refuses(&[of(&|_| ()), approved_by_ops(&Approval { version: Some(7), ..approval() })]),
        world(&|world| world.rules.min_version = Some(9)).refuses(&[of(&|_| ())]),
        world(&|world| world.known = Some(known(Some(9), ModuleDigest([9; 32])))).refuses(&[of(&|_| ())]),
        world(&|world| world.rules.min_version = Some(9)).refuses(std::slice::from_ref(&bare)),
        world(&|world| world.stale = stale()).refuses(std::slice::from_ref(&bare)),
        world(&|world| world.clock = ahead).refuses(&[of(&|release| release.expires = Some(at(1)))]),
        plain().refuses(&[expiring]),
        plain().refuses(&[of(&|release| release.not_before = Some(at(1)))]),
        world(&|world| world.known = Some(known(Some(8), ModuleDigest([9; 32])))).refuses(&[of(&|_| ())]),
        world(&|world| world.capabilities.graphs.extend(["yolo".to_owned()]))
            .refuses(&[of(&|release| release.capabilities = Some(Capabilities::default()))]),
        plain().refuses(&[of(&|_| ()).replace("v0.3", "v0.2"), bare.clone()]),
    ]
}

/// One refusal or more for each code, each from the real check.
fn refusals() -> Vec<Rejection> {
    let mut big = tempfile::tempfile().unwrap();
    big.set_len(24 << 20).unwrap();
    let mut huge = tempfile::tempfile().unwrap();
    huge.set_len(500 << 20).unwrap();
    big.flush().unwrap();
    huge.flush().unwrap();
    let entry = json!({ "logIndex": "1" });
    vec![
        read_bundle(&big).unwrap_err(),
        verify_text(&vec![b' '; usize::try_from(MAX_BUNDLE).unwrap() + 1]).unwrap_err(),
        read_module(&huge).unwrap_err(),
        verify_text(br#"{"a":{"b":1,"b":2}}"#).unwrap_err(),
        bent(message(), |b| b["verificationMaterial"]["certificate"] = json!({})),
        bent(message(), |b| drop(b.as_object_mut().unwrap().remove("messageSignature"))),
        bent(dsse(), |b| b["dsseEnvelope"]["signatures"] = json!([])),
        bent(message(), |b| b["verificationMaterial"]["publicKey"]["\u{1b}[2Jrole"] = json!(1)),
        bent(message(), |b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.1")),
        bent(message(), |b| b["verificationMaterial"] = json!({ "x509CertificateChain": {} })),
        UnverifiedModule::from_bytes(vec![]).unwrap_err(),
        UnverifiedModule::from_bytes(b"\x7fELF\x02\x01\x01\0".to_vec()).unwrap_err(),
        verify_text(b"").unwrap_err(),
        verify_text(b"<html>").unwrap_err(),
        bent(message(), |b| drop(b["messageSignature"].as_object_mut().unwrap().remove("signature"))),
        bent(message(), |b| b["messageSignature"]["signature"] = json!("AAF=")),
        bent(message(), |b| b["verificationMaterial"]["publicKey"] = json!("key")),
        verify_text("[".repeat(50).as_bytes()).unwrap_err(),
        bent(message(), |b| b["verificationMaterial"]["tlogEntries"] = json!(vec![0; 100])),
        read_module(&std::fs::File::open("/").unwrap()).unwrap_err(),
        Rejection::unsigned(Path::new("/modules/voice-gate.wasm.sigstore.json")),
        bent(message(), |b| b["verificationMaterial"]["tlogEntries"] = json!([entry, entry])),
        bent(message(), |b| b["messageSignature"]["signature"] = json!("AAAA")),
        bent(message(), |b| b["messageSignature"]["messageDigest"]["digest"] = json!("Nq9Kmw==")),
        said(|s| s["subject"][0]["digest"]["sha256"] = json!("7f")),
        bent(message(), |b| b["messageSignature"]["messageDigest"]["algorithm"] = json!("SHA1")),
        bent(message(), |b| b["messageSignature"]["messageDigest"]["algorithm"] = json!("SHA2_384")),
        bent(message(), |b| b["verificationMaterial"]["tlogEntries"] = json!([entry])),
        bent(message(), |b| b["verificationMaterial"] = json!({ "certificate": {} })),
        bent(message(), |b| b["verificationMaterial"] = json!({ "certificate": { "rawBytes": "AAAA" } })),
        bent(message(), |b| {
            b["verificationMaterial"]["timestampVerificationData"] = json!({ "rfc3161Timestamps": [{ "signedTimestamp": "AAAA" }] })
        }),
        bent(message(), |b| b["verificationMaterial"]["publicKey"]["hint"] = json!(hint(STRANGER_PUB))),
        bent(dsse(), |b| b["dsseEnvelope"]["signatures"][0]["keyid"] = json!("other")),
        bent(dsse(), |b| b["dsseEnvelope"]["payloadType"] = json!("text/plain")),
        said(|s| s["_type"] = json!("https://in-toto.io/Statement/v0.1")),
        said(|s| s["predicateType"] = json!("https://slsa.dev/provenance/v0.2")),
        said(|s| s["predicateType"] = json!("https://slsa.dev/provenance/v1")),
        said(|s| s["subject"] = json!([1, 2])),
        said(|s| s["subject"][0]["digest"]["sha512"] = json!("00")),
        said(|s| s["builder"] = json!("x")),
    ]
}

#[test]
fn refusals_read_well_and_every_code_has_one() {
    let refusals = [refusals(), refusals_by_rules()].concat();
    let shown: BTreeSet<&str> = refusals.iter().map(|r| r.code.as_str()).collect();
    let elsewhere = |code: &&Code| ELSEWHERE.contains(code);
    let all: BTreeSet<&str> = Code::ALL.iter().filter(|code| !elsewhere(code)).map(|code| code.as_str()).collect();
    assert_eq!(shown, all, "each code is produced by a real check");
    let mut text = String::new();
    for rejection in &refusals {
        let line = rejection.to_string();
        assert!(!line.contains(char::is_control) && !line.ends_with('.'), "{line}");
        writeln!(text, "[{}] {line}", rejection.check).unwrap();
    }
    insta::assert_snapshot!("refusals", text);
}

#[test]
fn explanations_read_well() {
    let text: String = Code::ALL.iter().map(|code| format!("{code} {}\n{}\n\n", code.what(), code.explain())).collect();
    insta::assert_snapshot!("explanations", text);
}

#[test]
fn refusal_as_json_has_every_part() {
    let rejection = bent(message(), |b| b["mediaType"] = json!("x"));
    insta::assert_snapshot!("refusal_json", serde_json::to_string_pretty(&rejection).unwrap());
}

#[test]
fn key_files_that_people_mistake_are_named() {
    let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n").into_bytes();
    let mut text = String::new();
    let public = [
        ("private key", P256_KEY.to_vec()),
        ("certificate", block("CERTIFICATE")),
        ("rsa key", include_bytes!("data/rsa.pub").to_vec()),
        ("compressed point", include_bytes!("data/p256-compressed.pub").to_vec()),
        ("two keys", [P256_PUB, ED25519_PUB].concat()),
        ("empty file", vec![]),
        ("wasm", module()),
        ("cut short", P256_PUB[..100].to_vec()),
        ("no DER inside", block("PUBLIC KEY")),
        ("huge file", vec![b'-'; 20_000]),
    ];
    for (what, bytes) in public {
        writeln!(text, "public, {what}: {}", TrustedKey::from_pem(&bytes).unwrap_err()).unwrap();
    }
    let private = [
        ("public key", P256_PUB.to_vec()),
        ("no key inside", block("PRIVATE KEY")),
        ("old EC key", block("EC PRIVATE KEY")),
        ("encrypted key", block("ENCRYPTED PRIVATE KEY")),
        ("cosign key", block("ENCRYPTED SIGSTORE PRIVATE KEY")),
        ("ssh key", block("OPENSSH PRIVATE KEY")),
    ];
    for (what, bytes) in private {
        writeln!(text, "private, {what}: {}", SigningKey::from_pem(&bytes).unwrap_err()).unwrap();
    }
    let key = || TrustedKey::from_pem(P256_PUB).unwrap();
    writeln!(text, "trust: {}", TrustRoot::new(vec![]).unwrap_err()).unwrap();
    writeln!(text, "trust: {}", TrustRoot::new(vec![key().named("a.pub"), key().named("b.pub")]).unwrap_err()).unwrap();
    writeln!(text, "trust: {}", TrustRoot::new((0..65).map(|_| key()).collect()).unwrap_err()).unwrap();
    insta::assert_snapshot!("keys", text);
}

#[test]
fn point_off_its_curve_is_refused() {
    let mut spki = pem_body(P256_PUB);
    *spki.last_mut().unwrap() ^= 1;
    assert!(matches!(TrustedKey::from_spki(&spki), Err(edgeguard_attest::KeyError::Point { .. })));
}

#[test]
fn private_key_survives_writing_and_reading() {
    for key in [p256(), ed25519()] {
        let again = SigningKey::from_pem(key.to_pem().as_bytes()).unwrap();
        assert_eq!(again.public().id(), key.public().id());
        assert_eq!(format!("{key:?}").matches("PRIVATE").count(), 0, "debug output holds no key");
    }
}
