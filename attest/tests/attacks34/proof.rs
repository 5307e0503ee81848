//! Attacks on certificates, logs, timestamps and the trusted root that they are held against.

use edgeguard_attest::Code;
use edgeguard_attest::EvidenceWanted;
use edgeguard_attest::Signer;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Stamp;
use edgeguard_virtual_sigstore::Tamper;
use serde_json::Value;
use serde_json::json;

use crate::Row;
use crate::Tried;
use crate::gateway::*;
use crate::refused;
use crate::tried;

pub const ROWS: &[Row] = &[
    refused("2b", "flips a bit of a certificate", Code::CertificateChain, || lie(workflow(), Tamper::CertificateFlipped)),
    refused("2c", "flips a bit of the certificate log's promise", Code::Sct, || lie(workflow(), Tamper::SctFlipped)),
    refused("2d", "flips a bit of a logged signature", Code::Signature, || lie(workflow(), Tamper::SignatureFlipped)),
    refused("5a", "removes the log's promise (SET)", Code::InclusionPromise, || lie(workflow(), Tamper::PromiseMissing)),
    refused("5b", "flips a bit of it", Code::InclusionPromise, || lie(workflow(), Tamper::PromiseFlipped)),
    refused("5c", "makes the entry a second younger", Code::InclusionPromise, || lie(workflow(), Tamper::IntegratedTimeShifted(1))),
    refused("5d", "makes it a second older", Code::InclusionPromise, || lie(workflow(), Tamper::IntegratedTimeShifted(-1))),
    refused("6a", "changes a hash of the inclusion proof", Code::InclusionProof, || lie(workflow(), Tamper::ProofHashFlipped)),
    refused("6b", "drops one", Code::InclusionProof, || lie(workflow(), Tamper::ProofHashDropped)),
    refused("6c", "changes the root hash", Code::Checkpoint, || lie(workflow(), Tamper::ProofRootHash)),
    refused("6d", "changes the tree size", Code::Checkpoint, || lie(workflow(), Tamper::ProofTreeSize(1))),
    refused("6e", "changes the index in the proof", Code::InclusionProof, || lie(workflow(), Tamper::ProofIndex(1))),
    refused("6f", "changes the index in the entry", Code::InclusionPromise, || lie(workflow(), Tamper::EntryIndex(1))),
    refused("7a", "has a log of his own sign the checkpoint", Code::Checkpoint, || lie(workflow(), Tamper::CheckpointByStranger)),
    refused("7b", "does so under the trusted log's key hint", Code::Checkpoint, || {
        lie(workflow().rekor2(), Tamper::CheckpointByStrangerAsTrusted)
    }),
    refused("8b", "drops the inclusion proof and keeps the promise", Code::NoInclusionProof, || lie(workflow(), Tamper::ProofMissing)),
    refused("13a", "gives the same log entry twice", Code::RepeatedEntry, || lie(workflow(), Tamper::EntryTwice)),
    refused("14a", "attaches a genuine log entry of another module", Code::EntryMismatch, || {
        let good = sigstore().sign(&module(), &workflow());
        let mut bundle = good.clone();
        let other = sigstore().sign(b"another module", &workflow());
        bundle["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"].clone();
        tried(Gateway::default().admit(&good), Gateway::default().admit(&bundle))
    }),
    refused("14b", "attaches one of another key over the same module", Code::EntryMismatch, || lie(workflow(), Tamper::LoggedVerifier)),
    refused("14c", "attaches one of another signature", Code::EntryMismatch, || {
        lie(workflow().statement(statement()), Tamper::LoggedSignature)
    }),
    refused("15a", "signs with a key, and leaves out the timestamp that the policy wants", Code::NoTrustedTime, || {
        let gateway = Gateway::of(vec![Signer { evidence: EvidenceWanted::Timestamp, ..by_key("acme", &Key::p256("acme")) }]);
        let bare = Spec::key(Key::p256("acme")).logged(Logged::No);
        let judge = |spec: &Spec| gateway.admit(&sigstore().sign(&module(), spec));
        tried(judge(&bare.clone().stamp(good())), judge(&bare))
    }),
    refused("15b", "has it stamped before the certificate was made", Code::TimeOutside, || stamped(Stamp::at(SIGNED_AT - 1))),
    refused("15c", "has it stamped after the certificate ran out", Code::TimeOutside, || stamped(Stamp::at(SIGNED_AT + 601))),
    refused("15d", "brings a timestamp authority of his own in the bundle", Code::Timestamp, || {
        stamped(Stamp { by_stranger: true, with_certificates: true, ..good() })
    }),
    refused("15e", "brings the stamp of another signature", Code::Timestamp, || stamped(Stamp { over_another: true, ..good() })),
    refused("15f", "logs in a Rekor v2 log, which proves no time, and has nothing stamped", Code::NoTrustedTime, || {
        tried(judge(&workflow().rekor2()), judge(&workflow().logged(Logged::V2)))
    }),
    refused("15g", "does so and writes a time of his own into the entry", Code::UncheckedEvidence, || {
        let mut bundle = sigstore().sign(&module(), &workflow().rekor2());
        bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = json!((SIGNED_AT + 5).to_string());
        tried(judge(&workflow().rekor2()), Gateway::default().admit(&bundle))
    }),
    refused("16a", "brings a bundle of the staging instance", Code::Checkpoint, || {
        let staging = Instance::new("staging");
        let bundle = staging.sign(&module(), &workflow());
        let trusts = Gateway { root: Some(staging.trusted_root()), ..Gateway::default() };
        tried(trusts.admit(&bundle), Gateway::default().admit(&bundle))
    }),
    refused("16b", "brings one that was logged where others log, too", Code::CertificateChain, || {
        let staging = Instance::new("staging");
        let bundle = staging.sign(&module(), &workflow());
        let trusts = Gateway { root: Some(staging.trusted_root()), ..Gateway::default() };
        let log_alone = Gateway::default().root(|root| root["tlogs"] = staging.trusted_root()["tlogs"].clone());
        tried(trusts.admit(&bundle), log_alone.admit(&bundle))
    }),
    refused("33a", "has a log stand twice in the trusted root", Code::TrustMaterial, || {
        root(|root| {
            let twice = root["tlogs"][0].clone();
            root["tlogs"].as_array_mut().unwrap().push(twice);
        })
    }),
    refused("33b", "has an authority's time end before it begins", Code::TrustMaterial, || {
        root(|root| root["tlogs"][0]["publicKey"]["validFor"]["end"] = json!("2024-01-01T00:00:00Z"))
    }),
    refused("33c", "leaves out when an authority's time begins", Code::TrustMaterial, || {
        root(|root| drop(root["tlogs"][0]["publicKey"]["validFor"].as_object_mut().unwrap().remove("start")))
    }),
];

/// An honest bundle, and the same with one lie in it.
pub fn lie(spec: Spec, tamper: Tamper) -> Tried {
    tried(judge(&spec), judge(&spec.lie(tamper)))
}

fn judge(spec: &Spec) -> Result<edgeguard_attest::VerifiedModule, edgeguard_attest::Rejection> {
    Gateway::default().admit(&sigstore().sign(&module(), spec))
}

fn good() -> Stamp {
    Stamp::at(SIGNED_AT + 4)
}

/// Where only a timestamp proves the time: an honest one, and another.
fn stamped(stamp: Stamp) -> Tried {
    let with = |stamp| judge(&workflow().logged(Logged::V2).stamp(stamp));
    tried(with(good()), with(stamp))
}

/// The same bundle under a trusted root, and under that root bent.
fn root(change: fn(&mut Value)) -> Tried {
    let bundle = sigstore().sign(&module(), &workflow());
    tried(Gateway::default().admit(&bundle), Gateway::default().root(change).admit(&bundle))
}
