//! The certificate: its chain, its log, its one name.

use edgeguard_attest::Code;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::San;
use edgeguard_virtual_sigstore::Tamper;

use crate::world::*;

#[test]
fn certificate_that_was_changed_or_is_for_something_else_is_refused() {
    each_refused(
        &workflow(),
        &[
            (Tamper::CertificateFlipped, Code::CertificateChain),
            (Tamper::CertificateForServers, Code::CertificateChain),
            (Tamper::CertificateByStranger, Code::CertificateChain),
            (Tamper::CertificateBySibling, Code::CertificateChain),
        ],
    );
}

#[test]
fn certificate_without_one_promise_of_a_trusted_log_is_refused() {
    each_refused(
        &workflow(),
        &[
            (Tamper::SctMissing, Code::Sct),
            (Tamper::SctTwice, Code::Sct),
            (Tamper::SctFlipped, Code::Sct),
            (Tamper::SctByStranger, Code::Sct),
            (Tamper::SctByStrangerAsTrusted, Code::Sct),
            (Tamper::SctOfAnotherCertificate, Code::Sct),
            (Tamper::SctOfAnotherIssuer, Code::Sct),
            // Before the certificate log of the trusted root began.
            (Tamper::SctAt(1_000_000_000), Code::Sct),
        ],
    );
}

#[test]
fn certificate_with_another_number_or_kind_of_names_is_refused() {
    let own = || San::Uri(WORKFLOW.to_owned());
    for names in [
        vec![],
        vec![own(), San::Uri("https://evil.example/release.yml".to_owned())],
        vec![San::Email("evil@evil.example".to_owned()), own()],
        vec![own(), own()],
        vec![San::Dns("github.example".to_owned())],
        vec![San::OtherName(WORKFLOW.to_owned())],
    ] {
        refused(&workflow().leaf(|leaf| leaf.names = names), Code::CertificateChain);
    }
}

#[test]
fn bundle_of_another_instance_is_refused() {
    // Everything in it is honest, and nothing of it is trusted here: the log is the first to be looked up.
    let staging = Instance::new("staging").sign(&module(), &workflow());
    Gateway::default().refuses(&staging, Code::Checkpoint);
    // Not even if only its log is trusted.
    let foreign_log = Instance::new("staging").trusted_root()["tlogs"].clone();
    Gateway::default().root(|root| root["tlogs"] = foreign_log).refuses(&staging, Code::CertificateChain);
}

#[test]
fn two_intermediates_of_one_name_are_told_apart() {
    let gateway = Gateway { root: Some(sigstore().trusted_root_with_sibling()), ..Gateway::default() };
    gateway.admit(&sigstore().sign(&module(), &workflow())).unwrap();
    gateway.admit(&sigstore().sign(&module(), &workflow().lie(Tamper::CertificateBySibling))).unwrap();
}
