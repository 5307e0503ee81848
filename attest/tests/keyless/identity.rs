//! Who signed: identity, issuer and claims, each from the verified certificate.

use edgeguard_attest::Claim;
use edgeguard_attest::Code;
use edgeguard_attest::DistinctSigner;
use edgeguard_attest::Form;
use edgeguard_attest::TimeSource;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::San;
use edgeguard_virtual_sigstore::Spec;

use crate::world::*;

#[test]
fn honest_bundles_are_admitted_with_everything_they_prove() {
    let module = admitted(&workflow().leaf(|leaf| leaf.claims = vec![(15, "1234".to_owned()), (11, "github-hosted".to_owned())]));
    let [proof] = module.proofs() else { panic!("{:?}", module.proofs()) };
    let said = proof.keyless.as_ref().unwrap();
    assert_eq!((proof.signer.as_str(), proof.key, proof.form), ("ci", None, Form::MessageSignature));
    assert_eq!((said.identity.as_str(), said.issuer.as_str()), (WORKFLOW, ISSUER));
    assert_eq!(said.claims["repository-id"], "1234");
    assert_eq!(said.claims["runner-environment"], "github-hosted");
    assert_eq!(proof.times.iter().map(|proved| (proved.time.0, proved.source)).collect::<Vec<_>>(), [(SIGNED_AT + 5, TimeSource::Log)]);
    let log = proof.log.as_ref().unwrap();
    assert_eq!((log.log_id.as_str(), log.index), (hex::encode(sigstore().rekor1.id()).as_str(), 1004));
    assert_eq!(proof.distinct(), DistinctSigner::Identity { issuer: ISSUER.to_owned(), identity: WORKFLOW.to_owned() });
}

#[test]
fn honest_bundles_with_a_tiled_log_prove_their_time_by_the_timestamp() {
    for spec in [workflow().rekor2(), workflow().statement(statement()).rekor2()] {
        let module = admitted(&spec);
        let [proof] = module.proofs() else { panic!("{:?}", module.proofs()) };
        let times: Vec<_> = proof.times.iter().map(|proved| (proved.time.0, proved.source)).collect();
        assert_eq!(times, [(SIGNED_AT + 4, TimeSource::Timestamp)]);
    }
    admitted(&workflow().statement(statement()));
}

#[test]
fn another_identity_is_refused() {
    for identity in [
        "https://github.example/acme/voice/.github/workflows/release.yml@refs/heads/main",
        "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/v1/x",
        "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/",
        "https://github.example/ACME/voice/.github/workflows/release.yml@refs/tags/v1.2",
        // What only an unanchored comparison lets in.
        "https://evil.example/https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/v1.2",
        "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/v1.2@evil.example",
        "https://githubXexample/acme/voice/.github/workflows/release.yml@refs/tags/v1.2",
    ] {
        refused(&Spec::workflow(identity, ISSUER), Code::Identity);
    }
    // The right words, as a person's name.
    refused(&workflow().leaf(|leaf| leaf.names = vec![San::Email("release@acme.example".to_owned())]), Code::Identity);
}

#[test]
fn right_identity_from_another_issuer_is_refused() {
    for issuer in ["https://token.actions.example/", "https://token.actions.example.evil.example", "http://token.actions.example", ""] {
        refused(&Spec::workflow(WORKFLOW, issuer), Code::Issuer);
    }
    refused(&workflow().leaf(|leaf| leaf.issuer = None), Code::Issuer);
}

#[test]
fn claim_that_differs_or_is_missing_is_refused() {
    let signer = keyless("ci", PATTERN, ISSUER, &[(Claim::RepositoryId, "1234"), (Claim::RunnerEnvironment, "github-hosted")]);
    let gateway = Gateway::of(vec![signer]);
    let bundle = |claims: &[(u8, &str)]| {
        let claims: Vec<(u8, String)> = claims.iter().map(|(number, value)| (*number, (*value).to_owned())).collect();
        sigstore().sign(&module(), &workflow().leaf(|leaf| leaf.claims = claims))
    };
    gateway.admit(&bundle(&[(15, "1234"), (11, "github-hosted")])).unwrap();
    gateway.refuses(&bundle(&[(15, "1234"), (11, "self-hosted")]), Code::Claim);
    gateway.refuses(&bundle(&[(15, "12345"), (11, "github-hosted")]), Code::Claim);
    gateway.refuses(&bundle(&[(11, "github-hosted")]), Code::Claim);
    // The right values, each in the other's place.
    gateway.refuses(&bundle(&[(11, "1234"), (15, "github-hosted")]), Code::Claim);
    // The same claim twice: which of them counts?
    gateway.refuses(&bundle(&[(15, "1234"), (15, "666"), (11, "github-hosted")]), Code::CertificateChain);
    gateway.refuses(&bundle(&[(15, "666"), (15, "1234"), (11, "github-hosted")]), Code::CertificateChain);
}

#[test]
fn a_policy_of_keys_admits_no_certificate() {
    let gateway = Gateway::of(vec![by_key("acme", &Key::p256("acme"))]);
    gateway.refuses(&sigstore().sign(&module(), &workflow()), Code::Identity);
}
