//! How long it takes to verify one bundle of each kind, beyond hashing the module: gate, evidence, rules.
//!
//! Run with `cargo run --release -p edgeguard-attest --example evidence`. Each line: the kind, its median and its 99th percentile in milliseconds.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::time::Duration;
use std::time::Instant;

use edgeguard_attest::Capabilities;
use edgeguard_attest::Clock;
use edgeguard_attest::ClockLimits;
use edgeguard_attest::EvidenceWanted;
use edgeguard_attest::Keyless;
use edgeguard_attest::NamedBundle;
use edgeguard_attest::Rules;
use edgeguard_attest::Signer;
use edgeguard_attest::Situation;
use edgeguard_attest::Staleness;
use edgeguard_attest::Time;
use edgeguard_attest::TrustMaterial;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnverifiedModule;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Stamp;
use edgeguard_virtual_sigstore::sha256;

const ROUNDS: usize = 300;
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const WORKFLOW: &str = "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/v1";
const ISSUER: &str = "https://token.actions.example";

fn main() {
    let sigstore = Instance::new("bench");
    let vendor = Key::p256("vendor");
    let key = TrustedKey::from_pem(vendor.public_pem().as_bytes()).unwrap().named("vendor.pub");
    let by_key = |evidence| Signer { evidence, ..Signer::of_key("vendor", key.clone()) };
    let identity = WORKFLOW.parse().unwrap();
    let by_workflow = Signer::keyless("ci", Keyless { issuer: ISSUER.into(), identity, claims: Vec::new() });

    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#,
        hex::encode(sha256(MODULE))
    );
    let workflow = || Spec::workflow(WORKFLOW, ISSUER);
    let kinds = [
        ("key", Spec::key(vendor.clone()), by_key(EvidenceWanted::None)),
        ("key-log-stamp", Spec::key(vendor.clone()).logged(Logged::V1).stamp(Stamp::at(SIGNED_AT)), by_key(EvidenceWanted::Both)),
        ("keyless", workflow(), by_workflow.clone()),
        ("keyless-rekor2-stamp", workflow().rekor2().stamp(Stamp::at(SIGNED_AT)), by_workflow.clone()),
        ("keyless-statement", workflow().statement(statement), by_workflow),
    ];
    for (name, spec, signer) in kinds {
        let bundle = sigstore.sign(MODULE, &spec).to_string();
        let material = TrustMaterial::from_json(sigstore.trusted_root().to_string().as_bytes(), None).unwrap();
        let rules = Rules::plain("voice-gate", vec![signer], 1);
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| admit(bundle.as_bytes(), &rules, &material)).collect();
        times.sort();
        let at = |percent: usize| times[(ROUNDS - 1) * percent / 100].as_secs_f64() * 1e3;
        println!("{name:<24} {:.3} ms  p99 {:.3} ms  {} bytes of bundle", at(50), at(99), bundle.len());
    }
}

fn admit(bundle: &[u8], rules: &Rules, material: &TrustMaterial) -> Duration {
    let clock = Clock::new(Time(SIGNED_AT), Time::BUILT.plus(Duration::from_secs(60)), ClockLimits::default());
    let capabilities = Capabilities::default();
    let situation =
        Situation { material, revocations: None, clock: &clock, known: None, capabilities: &capabilities, stale: Staleness::Fresh };
    let module = UnverifiedModule::from_bytes(MODULE.to_vec()).unwrap();
    let begun = Instant::now();
    module.admit(&[NamedBundle { name: "m.wasm.sigstore.json", bytes: bundle }], rules, &situation, &mut Vec::new()).unwrap();
    begun.elapsed()
}
