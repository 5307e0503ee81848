//! What the virtual sigstore makes honestly passes the field's own verifier; each kind of lie is noticed by it or known not to be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use edgeguard_virtual_sigstore::Format;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Stamp;
use edgeguard_virtual_sigstore::Tamper;
use edgeguard_virtual_sigstore::sha256;
use serde_json::Value;
use serde_json::json;
use sigstore_types::Bundle;
use sigstore_types::DerPublicKey;
use sigstore_verify::PublicKeyVerificationPolicy;
use sigstore_verify::VerificationPolicy;
use sigstore_verify::VerificationResult;
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::TrustedRoot;

const ARTIFACT: &[u8] = b"artifact";
const WORKFLOW: &str = "https://ci.example/acme/voice/release.yml@refs/tags/v1";
const ISSUER: &str = "https://issuer.example";

fn workflow() -> Spec {
    Spec::workflow(WORKFLOW, ISSUER)
}

fn statement() -> Vec<u8> {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "artifact", "digest": { "sha256": hex::encode(sha256(ARTIFACT)) } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
    .to_string()
    .into_bytes()
}

fn verify_under(root: &Value, bundle: &Value) -> Result<VerificationResult, String> {
    let root = TrustedRoot::from_json(&root.to_string()).unwrap();
    let bundle = Bundle::from_json(&bundle.to_string()).map_err(|error| error.to_string())?;
    let policy = VerificationPolicy::new(WORKFLOW, ISSUER);
    Verifier::new(&root).unwrap().verify(ARTIFACT, &bundle, &policy).map_err(|error| error.to_string())
}

fn verify(spec: &Spec) -> Result<VerificationResult, String> {
    let sigstore = Instance::new("honest");
    verify_under(&sigstore.trusted_root(), &sigstore.sign(ARTIFACT, spec))
}

#[test]
fn honest_keyless_bundles_pass_the_fields_verifier() {
    let stamped = Stamp { with_certificates: true, ..Stamp::at(SIGNED_AT + 4) };
    let specs = [
        workflow(),
        workflow().format(Format::V03Parameter),
        workflow().format(Format::V02),
        workflow().format(Format::V01),
        workflow().rekor2(),
        workflow().logged(Logged::V2).stamp(stamped),
        workflow().stamp(stamped),
        workflow().statement(statement()),
        workflow().statement(statement()).rekor2(),
        workflow().statement(statement()).logged(Logged::V1Intoto),
        workflow().lie(Tamper::SctWithExtensions),
        workflow().rekor2().lie(Tamper::CheckpointCosigned),
        workflow().rekor2().lie(Tamper::CheckpointCosignedFirst),
        workflow().rekor2().lie(Tamper::CheckpointTwoByOrigin),
    ];
    for spec in specs {
        let result = verify(&spec).unwrap_or_else(|error| panic!("{spec:?}: {error}"));
        assert!(result.certificate_verified() && result.sct_verified() && result.tlog_verified());
        assert_eq!(result.issuer(), Some(ISSUER));
    }
}

#[test]
fn honest_key_bundles_pass_the_fields_verifier() {
    let sigstore = Instance::new("honest");
    let root = TrustedRoot::from_json(&sigstore.trusted_root().to_string()).unwrap();
    let key = Key::p256("vendor");
    let policy = PublicKeyVerificationPolicy::new(DerPublicKey::from_pem(&key.public_pem()).unwrap());
    for spec in [Spec::key(key.clone()), Spec::key(key.clone()).rekor2(), Spec::key(key.clone()).statement(statement())] {
        let bundle = Bundle::from_json(&sigstore.sign(ARTIFACT, &spec).to_string()).unwrap();
        let result = Verifier::new(&root).unwrap().verify(ARTIFACT, &bundle, &policy).unwrap();
        assert!(result.tlog_verified() && result.verified_timestamps().len() == 1, "{spec:?}");
    }
}

#[test]
fn a_second_intermediate_of_the_same_name_is_told_from_the_first() {
    let sigstore = Instance::new("honest");
    let bundle = sigstore.sign(ARTIFACT, &workflow().lie(Tamper::CertificateBySibling));
    verify_under(&sigstore.trusted_root_with_sibling(), &bundle).unwrap();
    verify_under(&sigstore.trusted_root_with_sibling(), &sigstore.sign(ARTIFACT, &workflow())).unwrap();
}

#[test]
fn the_fields_verifier_notices_these_lies() {
    let v1 = [
        Tamper::CertificateFlipped,
        Tamper::CertificateForServers,
        Tamper::CertificateByStranger,
        Tamper::SctMissing,
        Tamper::SctByStranger,
        Tamper::SctByStrangerAsTrusted,
        Tamper::SctOfAnotherIssuer,
        Tamper::SctOfAnotherCertificate,
        Tamper::SctAt(1_000_000_000),
        Tamper::SctTwice,
        Tamper::SctFlipped,
        Tamper::LoggedDigest,
        Tamper::LoggedSignature,
        Tamper::LoggedVerifier,
        Tamper::LoggedByStranger,
        Tamper::EntryIndex(1),
        Tamper::PromiseMissing,
        Tamper::PromiseFlipped,
        Tamper::PromiseByStranger,
        Tamper::IntegratedTimeShifted(1),
        Tamper::ProofMissing,
        Tamper::ProofHashFlipped,
        Tamper::ProofHashDropped,
        Tamper::ProofRootHash,
        Tamper::ProofTreeSize(-1),
        Tamper::ProofIndex(1),
        Tamper::CheckpointMissing,
        Tamper::CheckpointFlipped,
        Tamper::CheckpointByStranger,
        Tamper::CheckpointByStrangerAsTrusted,
        Tamper::CheckpointOfAnotherTree,
        Tamper::CheckpointUnsigned,
        Tamper::SignatureFlipped,
        Tamper::SignedByAnotherKey,
        Tamper::DigestOfAnother,
    ];
    for lie in v1 {
        assert!(verify(&workflow().lie(lie.clone())).is_err(), "{lie:?} passed");
    }
    let v2 = [
        Tamper::CheckpointWithoutOrigin,
        Tamper::CheckpointWithoutSize,
        Tamper::CheckpointWithoutRootHash,
        Tamper::CheckpointUnsigned,
        Tamper::CheckpointByStranger,
        Tamper::CheckpointOfAnotherTree,
        Tamper::ProofMissing,
        Tamper::EntryIndex(-1),
        Tamper::LoggedByStranger,
        Tamper::LoggedVerifier,
    ];
    for lie in v2 {
        assert!(verify(&workflow().rekor2().lie(lie.clone())).is_err(), "{lie:?} passed with rekor v2");
    }
    for stamp in [
        Stamp { by_stranger: true, ..Stamp::at(SIGNED_AT + 4) },
        Stamp { by_stranger: true, with_certificates: true, ..Stamp::at(SIGNED_AT + 4) },
        Stamp { over_another: true, ..Stamp::at(SIGNED_AT + 4) },
        Stamp::at(SIGNED_AT - 1),
        Stamp::at(SIGNED_AT + 601),
    ] {
        assert!(verify(&workflow().logged(Logged::V2).stamp(stamp)).is_err(), "{stamp:?} passed");
    }
}

/// Why there is a strict gate before the field's verifier: the day one of these fails, the gate has one thing less to do.
#[test]
fn the_fields_verifier_does_not_notice_these_lies() {
    let unnoticed = [
        workflow().lie(Tamper::ProofTreeSize(1)),
        workflow().rekor2().lie(Tamper::ProofTreeSize(-1)),
        workflow().rekor2().lie(Tamper::ProofIndex(1)),
        workflow().rekor2().lie(Tamper::ProofRootHash),
        workflow().lie(Tamper::EntryTwice),
        workflow().lie(Tamper::KeyBesideCertificate),
        workflow().lie(Tamper::UnknownField),
        workflow().statement(statement()).lie(Tamper::MessageBesideEnvelope),
        workflow().lie(Tamper::ProofMissing).lie(Tamper::MediaType("application/vnd.dev.sigstore.bundle+json;version=0.1")),
    ];
    for spec in unnoticed {
        verify(&spec).unwrap_or_else(|error| panic!("{:?} is noticed now: {error}", spec.lies));
    }
}

#[test]
fn the_same_name_gives_the_same_authorities() {
    let [one, two] = [Instance::new("one"), Instance::new("one")].map(|sigstore| sigstore.trusted_root()["tlogs"].clone());
    assert_eq!(one, two);
    assert_ne!(one, Instance::new("two").trusted_root()["tlogs"]);
}
