//! What a policy and a host's file say, as admission is asked it: nothing left out, nothing moved.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;

use edgeguard_admission::RulesError;
use edgeguard_admission::freshness_limits;
use edgeguard_admission::rules;
use edgeguard_attest::Algorithm;
use edgeguard_attest::EvidenceWanted;
use edgeguard_attest::Rules;
use edgeguard_attest::SignerKind;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::Window;
use edgeguard_attest::sign::SigningKey;

const POLICY: &str = r#"
version = 1
[module]
name = "voice-gate"
path = "/m/voice-gate.wasm"
mode = "command"
min-version = 7
[[module.signer]]
id = "acme"
key = "/k/acme.pub"
usable-from = 2026-01-01T00:00:00Z
retire-at = 2027-01-01T00:00:00Z
evidence = "timestamp"
[[module.signer]]
id = "ci"
issuer = "https://issuer.example"
identity = "https://ci.example/acme/voice@refs/tags/*"
claims = { repository-id = "1234" }
[[module.signer]]
id = "ops"
key = "/k/ops.pub"
[[module.require]]
statement = "release"
signers = ["acme", "ci"]
max-age = "365 d"
[[module.require]]
statement = "approval"
signers = ["acme", "ops"]
threshold = 2
[limits]
memory = "64 MiB"
deadline = "10 s"
instances = 1
output = "1 MiB"
"#;

fn joined(key: impl FnMut(&std::path::Path) -> Result<TrustedKey, Infallible>) -> Result<Rules, RulesError<Infallible>> {
    rules(&edgeguard_policy::parse("voice-gate.toml", POLICY).unwrap_or_else(|wrong| panic!("{wrong}")), key)
}

fn another() -> TrustedKey {
    SigningKey::generate(Algorithm::EcdsaP256).unwrap().public().clone()
}

#[test]
fn every_word_on_a_signer_reaches_admission() {
    let rules = joined(|_| Ok(another())).unwrap();
    assert_eq!((rules.slot.as_str(), rules.min_version), ("voice-gate", Some(7)));
    let [acme, ci, ops] = rules.signers.as_slice() else { panic!("three signers") };
    // The policy's reference calls both the first and the last second that count.
    let (first, last) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2027-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(acme.window, Window { usable_from: Some(first), retire_at: Some(last) });
    assert!(acme.window.contains(last));
    assert_eq!((acme.evidence, ops.evidence), (EvidenceWanted::Timestamp, EvidenceWanted::None));
    assert_eq!(ops.window, Window::default());
    let SignerKind::Keyless(keyless) = &ci.kind else { panic!("an identity") };
    assert_eq!(keyless.issuer, "https://issuer.example");
    assert_eq!((keyless.claims.len(), ci.evidence), (1, EvidenceWanted::Both));
    let asked: Vec<_> = rules.requirements.iter().map(|one| (one.statement.as_str(), one.signers.len(), one.threshold)).collect();
    assert_eq!(asked, [("release", 2, 1), ("approval", 2, 2)]);
    assert_eq!(rules.check(), Ok(()));
}

#[test]
fn one_key_in_two_files_is_not_two_signers() {
    let one = another();
    assert!(matches!(joined(|_| Ok(one.clone())), Err(RulesError::SameKey { .. })));
}

#[test]
fn a_host_that_requires_a_revocation_list_says_so_wherever_freshness_is_judged() {
    let host = |text: &str| edgeguard_policy::parse_host("edgeguard.toml", &format!("version = 1\n{text}")).unwrap();
    assert!(!freshness_limits(&host("").trust).list_required);
    assert!(freshness_limits(&host("[trust]\nrevocations = \"required\"\n").trust).list_required);
}
