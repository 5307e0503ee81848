//! A key's bundle with evidence: what it brings is verified, and what its signer must bring is missed.

use edgeguard_attest::Code;
use edgeguard_attest::EvidenceWanted;
use edgeguard_attest::Signer;
use edgeguard_attest::Time;
use edgeguard_attest::TimeSource;
use edgeguard_attest::Window;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Stamp;
use edgeguard_virtual_sigstore::Tamper;

use crate::world::*;

fn key() -> Key {
    Key::p256("acme")
}

fn acme(evidence: EvidenceWanted) -> Gateway {
    Gateway::of(vec![Signer { evidence, ..by_key("acme", &key()) }])
}

fn signed() -> Spec {
    Spec::key(key())
}

fn bare() -> Spec {
    signed().logged(Logged::No)
}

fn stamp() -> Stamp {
    Stamp::at(SIGNED_AT + 4)
}

#[test]
fn a_key_must_bring_what_the_policy_asks_of_it() {
    let bring = |wanted, spec: &Spec| {
        let judged = acme(wanted).admit(&sigstore().sign(&module(), spec));
        judged.map(drop).map_err(|rejection| rejection.code)
    };
    let (log, stamped, both) = (signed(), bare().stamp(stamp()), signed().stamp(stamp()));
    for (wanted, of_bare, of_log, of_stamped) in [
        (EvidenceWanted::None, Ok(()), Ok(()), Ok(())),
        (EvidenceWanted::Log, Err(Code::NoInclusionProof), Ok(()), Err(Code::NoInclusionProof)),
        (EvidenceWanted::Timestamp, Err(Code::NoTrustedTime), Err(Code::NoTrustedTime), Ok(())),
        (EvidenceWanted::Both, Err(Code::NoInclusionProof), Err(Code::NoTrustedTime), Err(Code::NoInclusionProof)),
    ] {
        assert_eq!(bring(wanted, &bare()), of_bare, "{wanted}: nothing");
        assert_eq!(bring(wanted, &log), of_log, "{wanted}: a log entry");
        assert_eq!(bring(wanted, &stamped), of_stamped, "{wanted}: a stamp");
        assert_eq!(bring(wanted, &both), Ok(()), "{wanted}: both");
    }
}

#[test]
fn evidence_that_nobody_asked_for_is_verified_all_the_same() {
    let gateway = acme(EvidenceWanted::None);
    for (lie, code) in [
        (Tamper::SignedByAnotherKey, Code::Signature),
        (Tamper::LoggedByStranger, Code::Checkpoint),
        (Tamper::PromiseFlipped, Code::InclusionPromise),
        (Tamper::ProofHashFlipped, Code::InclusionProof),
        (Tamper::CheckpointByStrangerAsTrusted, Code::Checkpoint),
        (Tamper::LoggedVerifier, Code::EntryMismatch),
        (Tamper::LoggedSignature, Code::EntryMismatch),
        (Tamper::LoggedDigest, Code::EntryMismatch),
    ] {
        gateway.refuses(&sigstore().sign(&module(), &signed().lie(lie.clone())), code);
        let statement = signed().statement(statement()).lie(lie);
        gateway.refuses(&sigstore().sign(&module(), &statement), code);
    }
    let foreign = Stamp { by_stranger: true, ..stamp() };
    gateway.refuses(&sigstore().sign(&module(), &bare().stamp(foreign)), Code::Timestamp);
    let without_material = Gateway { root: None, ..acme(EvidenceWanted::None) };
    without_material.refuses(&sigstore().sign(&module(), &signed()), Code::UncheckedEvidence);
    without_material.admit(&sigstore().sign(&module(), &bare())).unwrap();
}

#[test]
fn proof_of_a_key_names_log_and_times() {
    let module = acme(EvidenceWanted::Both).admit(&sigstore().sign(&module(), &signed().stamp(stamp()))).unwrap();
    let [proof] = module.proofs() else { panic!("{:?}", module.proofs()) };
    let mut times: Vec<_> = proof.times.iter().map(|proved| (proved.time.0, proved.source)).collect();
    times.sort_by_key(|(time, _)| *time);
    assert_eq!(times, [(SIGNED_AT + 4, TimeSource::Timestamp), (SIGNED_AT + 5, TimeSource::Log)]);
    assert!(proof.keyless.is_none() && proof.log.is_some());
}

#[test]
fn proved_time_outside_the_keys_window_is_refused() {
    let judge = |usable_from: Option<i64>, retire_at: Option<i64>| {
        let window = Window { usable_from: usable_from.map(Time), retire_at: retire_at.map(Time) };
        let gateway = Gateway::of(vec![Signer { window, evidence: EvidenceWanted::Log, ..by_key("acme", &key()) }]);
        gateway.admit(&sigstore().sign(&module(), &signed())).map(drop).map_err(|rejection| rejection.code)
    };
    assert_eq!(judge(Some(SIGNED_AT + 5), Some(SIGNED_AT + 5)), Ok(()));
    assert_eq!(judge(None, Some(SIGNED_AT + 4)), Err(Code::KeyWindow));
    assert_eq!(judge(Some(SIGNED_AT + 6), None), Err(Code::KeyWindow));
}

#[test]
fn key_that_the_policy_does_not_name_is_refused() {
    let stranger = Spec::key(Key::p256("stranger"));
    acme(EvidenceWanted::None).refuses(&sigstore().sign(&module(), &stranger), Code::UnknownKey);
    Gateway::default().refuses(&sigstore().sign(&module(), &stranger), Code::UnknownKey);
}
