//! The log: its promise, its proof, its checkpoint, and that the entry is this bundle's.

use edgeguard_attest::Code;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::Tamper;
use serde_json::Value;
use serde_json::json;

use crate::world::*;

#[test]
fn promise_that_is_missing_or_changed_is_refused() {
    each_refused(
        &workflow(),
        &[
            (Tamper::PromiseMissing, Code::InclusionPromise),
            (Tamper::PromiseFlipped, Code::InclusionPromise),
            (Tamper::PromiseByStranger, Code::InclusionPromise),
            (Tamper::IntegratedTimeShifted(1), Code::InclusionPromise),
            (Tamper::IntegratedTimeShifted(-1), Code::InclusionPromise),
            (Tamper::EntryIndex(1), Code::InclusionPromise),
        ],
    );
}

#[test]
fn proof_that_was_changed_is_refused() {
    let lies = [
        (Tamper::ProofMissing, Code::NoInclusionProof),
        (Tamper::ProofHashFlipped, Code::InclusionProof),
        (Tamper::ProofHashDropped, Code::InclusionProof),
        // What the checkpoint says of the tree is another thing.
        (Tamper::ProofRootHash, Code::Checkpoint),
        (Tamper::ProofTreeSize(1), Code::Checkpoint),
        (Tamper::ProofTreeSize(-1), Code::Checkpoint),
    ];
    each_refused(&workflow(), &lies);
    each_refused(&workflow(), &[(Tamper::ProofIndex(1), Code::InclusionProof), (Tamper::ProofIndex(3), Code::InclusionProof)]);
    each_refused(&workflow().rekor2(), &lies);
    each_refused(&workflow().rekor2(), &[(Tamper::EntryIndex(-1), Code::InclusionProof), (Tamper::ProofIndex(-1), Code::InclusionProof)]);
}

#[test]
fn checkpoint_that_the_entrys_log_did_not_sign_is_refused() {
    let lies = [
        (Tamper::CheckpointMissing, Code::Checkpoint),
        (Tamper::CheckpointFlipped, Code::Checkpoint),
        (Tamper::CheckpointByStranger, Code::Checkpoint),
        (Tamper::CheckpointByStrangerAsTrusted, Code::Checkpoint),
        (Tamper::CheckpointOfAnotherTree, Code::Checkpoint),
        (Tamper::CheckpointUnsigned, Code::Checkpoint),
        (Tamper::CheckpointWithoutOrigin, Code::Checkpoint),
        (Tamper::CheckpointWithoutSize, Code::Checkpoint),
        (Tamper::CheckpointWithoutRootHash, Code::Checkpoint),
        (Tamper::LoggedByStranger, Code::Checkpoint),
    ];
    each_refused(&workflow(), &lies);
    each_refused(&workflow().rekor2(), &lies);
}

#[test]
fn witnesses_beside_the_log_do_no_harm() {
    for honest in [Tamper::CheckpointCosigned, Tamper::CheckpointCosignedFirst, Tamper::CheckpointTwoByOrigin] {
        admitted(&workflow().rekor2().lie(honest.clone()));
        admitted(&workflow().lie(honest));
    }
}

/// CVE-2022-36056 and CVE-2026-22703: a genuine entry, of something else.
#[test]
fn genuine_entry_of_another_signature_is_refused() {
    let lies = [
        (Tamper::LoggedDigest, Code::EntryMismatch),
        (Tamper::LoggedSignature, Code::EntryMismatch),
        (Tamper::LoggedVerifier, Code::EntryMismatch),
    ];
    for spec in [
        workflow(),
        workflow().rekor2(),
        workflow().statement(statement()),
        workflow().statement(statement()).rekor2(),
        workflow().statement(statement()).logged(Logged::V1Intoto),
    ] {
        each_refused(&spec, &lies);
    }
    // Whole and untouched, but of another module's bundle by the same workflow.
    let entries = |bundle: &Value| bundle["verificationMaterial"]["tlogEntries"].clone();
    let mut bundle = sigstore().sign(&module(), &workflow());
    bundle["verificationMaterial"]["tlogEntries"] = entries(&sigstore().sign(b"another module", &workflow()));
    Gateway::default().refuses(&bundle, Code::EntryMismatch);
}

#[test]
fn entry_of_a_kind_that_cannot_be_of_such_a_signature_is_refused() {
    refused(&workflow().logged(Logged::V1Intoto), Code::EntryMismatch);
    let mut bundle = sigstore().sign(&module(), &workflow());
    bundle["verificationMaterial"]["tlogEntries"][0]["kindVersion"] = json!({ "kind": "rpm", "version": "0.0.1" });
    Gateway::default().refuses(&bundle, Code::UncheckedEvidence);
}

#[test]
fn several_entries_are_refused() {
    each_refused(&workflow(), &[(Tamper::EntryTwice, Code::RepeatedEntry)]);
    let mut bundle = sigstore().sign(&module(), &workflow());
    let mut second = bundle["verificationMaterial"]["tlogEntries"][0].clone();
    second["logIndex"] = json!("1005");
    bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(second);
    Gateway::default().refuses(&bundle, Code::TooMany);
}

#[test]
fn keyless_bundle_that_was_not_logged_is_refused() {
    refused(&workflow().logged(Logged::No), Code::NoInclusionProof);
    let stamp = edgeguard_virtual_sigstore::Stamp::at(edgeguard_virtual_sigstore::SIGNED_AT + 4);
    refused(&workflow().logged(Logged::No).stamp(stamp), Code::NoInclusionProof);
}
