//! Signers, requirements and trust: what is written is what the policy holds, and what a host or a moment has against it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use common::with;
use edgeguard_policy::Code;
use edgeguard_policy::Code::*;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::Evidence;
use edgeguard_policy::HostConfig;
use edgeguard_policy::Policy;
use edgeguard_policy::Requirement;
use edgeguard_policy::Signer;
use edgeguard_policy::SignerKind;
use edgeguard_policy::Statement;
use edgeguard_policy::TrustedRoot;
use edgeguard_policy::parse;
use edgeguard_policy::parse_host;

const FULL: &str = r#"
[module]
name = "voice-gate"
path = "/var/lib/edgeguard/modules/voice-gate.wasm"
mode = "command"
min-version = 7

[[module.signer]]
id = "acme-2026"
key = "/etc/edgeguard/keys/acme-2026.pub"
usable-from = 2026-01-01T00:00:00Z
retire-at = 2027-01-01T01:00:00+01:00
evidence = "timestamp"

[[module.signer]]
id = "ci"
issuer = "https://token.actions.githubusercontent.com"
identity = "https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*"
claims = { repository-id = "1234", runner-environment = "github-hosted" }

[[module.signer]]
key = "/etc/edgeguard/keys/ops.pub"

[[module.require]]
statement = "release"
signers = ["ci", "acme-2026"]
max-age = "365 d"

[[module.require]]
statement = "slsa-provenance"
signers = ["ci"]
builder = ["https://github.com/actions/runner/github-hosted"]
build-type = ["https://actions.github.io/buildtypes/workflow/v1"]
parameters = { ref = "refs/tags/v1" }

[[module.require]]
statement = "approval"
signers = ["ops", "acme-2026"]
threshold = 2

[[module.require]]
statement = "signature"
signers = ["ops"]
"#;

fn policy(fragment: &str) -> Policy {
    parse("voice-gate.toml", &with(fragment)).unwrap_or_else(|e| panic!("{e}"))
}

fn codes(found: &Diagnostics) -> Vec<Code> {
    found.iter().map(|d| d.code()).collect()
}

fn host(text: &str) -> HostConfig {
    parse_host("edgeguard.toml", &format!("version = 1\n{text}")).unwrap_or_else(|e| panic!("{e}"))
}

fn words(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn every_key_of_a_signer_is_in_the_policy() {
    let policy = policy(FULL);
    assert!(policy.warnings.is_empty(), "{}", policy.warnings);
    assert_eq!(policy.min_version, Some(7));
    let key = |id: &str, from, until, evidence| Signer {
        id: id.into(),
        kind: SignerKind::Key { path: PathBuf::from(format!("/etc/edgeguard/keys/{id}.pub")) },
        usable_from: from,
        retire_at: until,
        evidence,
    };
    let ci = Signer {
        id: "ci".into(),
        kind: SignerKind::Keyless {
            issuer: "https://token.actions.githubusercontent.com".into(),
            identity: "https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*".into(),
            claims: words(&[("repository-id", "1234"), ("runner-environment", "github-hosted")]),
        },
        usable_from: None,
        retire_at: None,
        evidence: Evidence::None,
    };
    let acme = key("acme-2026", Some(1_767_225_600), Some(1_798_761_600), Evidence::Timestamp);
    assert_eq!(policy.signers, [acme, ci, key("ops", None, None, Evidence::None)]);
}

#[test]
fn every_key_of_a_requirement_is_in_the_policy() {
    let require = |statement, signers: &[&str], threshold| Requirement {
        statement,
        signers: signers.iter().map(|s| (*s).to_owned()).collect(),
        threshold,
    };
    let provenance = Statement::Provenance {
        builders: vec!["https://github.com/actions/runner/github-hosted".into()],
        build_types: vec!["https://actions.github.io/buildtypes/workflow/v1".into()],
        parameters: Some(words(&[("ref", "refs/tags/v1")])),
    };
    let year = Duration::from_secs(365 * 86_400);
    assert_eq!(
        policy(FULL).requirements,
        [
            require(Statement::Release { max_age: Some(year) }, &["ci", "acme-2026"], 1),
            require(provenance, &["ci"], 1),
            require(Statement::Approval { max_age: None }, &["ops", "acme-2026"], 2),
            require(Statement::Signature, &["ops"], 1),
        ]
    );
}

#[test]
fn parameters_that_are_named_and_empty_are_not_the_same_as_none() {
    let text = FULL.replace("parameters = { ref = \"refs/tags/v1\" }", "parameters = {}");
    let Statement::Provenance { parameters, .. } = &policy(&text).requirements[1].statement else { panic!() };
    assert_eq!(*parameters, Some(BTreeMap::new()));
}

#[test]
fn a_plain_policy_asks_a_signature_or_a_release_of_its_signers() {
    let text =
        "[[module.signer]]\nkey = \"/k/acme.pub\"\n[[module.signer]]\nissuer = \"https://example.org\"\nidentity = \"ops@example.org\"\n";
    let policy = policy(text);
    let signers = vec!["acme".to_owned(), "ops@example.org".to_owned()];
    assert_eq!(policy.requirements, [Requirement { statement: Statement::Any, signers, threshold: 1 }]);
}

#[test]
fn the_revision_stands_at_the_top() {
    let text = common::BASE.replace("version = 1\n", "version = 1\nrevision = 42\n");
    assert_eq!(parse("voice-gate.toml", &text).unwrap().revision, Some(42));
}

#[test]
fn a_host_of_signed_policies_refuses_one_without_a_revision() {
    let signed = host("[policy-signing]\nkey = [\"/etc/edgeguard/keys/ops.pub\"]\n");
    assert_eq!(codes(&policy("").check_host(&signed)), [NoRevision]);
    let text = common::BASE.replace("version = 1\n", "version = 1\nrevision = 42\n");
    assert!(parse("voice-gate.toml", &text).unwrap().check_host(&signed).is_empty());
    assert!(policy("").check_host(&HostConfig::default()).is_empty());
}

#[test]
fn a_host_that_admits_by_key_alone_refuses_who_needs_more() {
    let keys_only = host("[trust]\nkeyless = false\n");
    assert_eq!(keys_only.trust.root, TrustedRoot::Nobody);
    let found = policy(FULL).check_host(&keys_only);
    assert_eq!(codes(&found), [NoTrustRoot, NoTrustRoot]);
    insta::assert_snapshot!("keys_only", found.to_string());
    assert!(policy("").check_host(&keys_only).is_empty());
    assert!(policy(FULL).check_host(&HostConfig::default()).is_empty());
}

#[test]
fn no_module_may_write_what_the_host_trusts() {
    let text = format!(
        "[trust]\nroot = \"/srv/trust/root.json\"\nroot-sha256 = \"{}\"\ntuf-root = \"/srv/tuf/root.json\"\n[policy-signing]\nkey = [\"/srv/keys/ops.pub\"]\n",
        "0".repeat(64)
    );
    let host = HostConfig { policy_signing: None, ..host(&text) };
    let signing = HostConfig { trust: edgeguard_policy::Trust::default(), ..self::host(&text) };
    let granted = |path: &str, access: &str| policy(&format!("[[dir]]\nguest = \"/d\"\nhost = \"{path}\"\naccess = \"{access}\"\n"));
    for path in ["/srv/trust", "/srv/tuf", "/srv"] {
        assert_eq!(codes(&granted(path, "read-write").check_host(&host)), [SelfGrant], "{path}");
        assert!(granted(path, "read").check_host(&host).is_empty(), "{path}");
    }
    assert!(codes(&granted("/srv/keys", "read-write").check_host(&signing)).contains(&SelfGrant));
    assert!(granted("/srv/other", "read-write").check_host(&host).is_empty());
}

#[test]
fn a_window_is_open_from_its_first_second_until_its_last() {
    let policy = policy(FULL);
    let (from, until) = (1_767_225_600, 1_798_761_600);
    for (now, expected) in [(from - 1, vec![Retired, NobodyNow]), (from, vec![]), (until, vec![]), (until + 1, vec![Retired, NobodyNow])] {
        assert_eq!(codes(&policy.check_time(now)), expected, "{now}");
    }
    insta::assert_snapshot!("retired", policy.check_time(until + 1).to_string());
    insta::assert_snapshot!("not_yet_usable", policy.check_time(from - 1).to_string());
}

#[test]
fn a_retired_key_beside_a_live_one_is_only_a_warning() {
    let text = "[[module.signer]]\nkey = \"/k/old.pub\"\nretire-at = 2026-01-01T00:00:00Z\nevidence = \"log\"\n[[module.signer]]\nkey = \"/k/new.pub\"\n";
    let found = policy(text).check_time(1_800_000_000);
    assert_eq!((codes(&found), found.errors()), (vec![Retired], 0));
}

fn two_workflows(a: (&str, &str), b: (&str, &str)) -> String {
    let one = |(tag, runner): (&str, &str), id: &str| {
        format!(
            "[[module.signer]]\nid = \"{id}\"\nissuer = \"https://example.org\"\nidentity = \"https://github.com/acme/voice/x@refs/{tag}\"\nclaims = {{ runner-environment = \"{runner}\" }}\n"
        )
    };
    with(&(one(a, "a") + &one(b, "b"))).replace("mode =", "threshold = 2\nmode =")
}

#[test]
fn identities_that_a_claim_tells_apart_may_overlap() {
    let text = two_workflows(("tags/*", "github-hosted"), ("tags/v1", "self-hosted"));
    assert!(parse("x.toml", &text).unwrap().warnings.is_empty());
    let text = two_workflows(("tags/*", "github-hosted"), ("tags/v1", "github-hosted"));
    assert_eq!(codes(&parse("x.toml", &text).unwrap().warnings), [SameIdentity]);
}

#[test]
fn a_threshold_does_not_count_one_identity_twice_for_its_claims() {
    let text = two_workflows(("tags/*", "github-hosted"), ("tags/*", "self-hosted"));
    assert_eq!(codes(&parse("x.toml", &text).unwrap_err()), [Threshold]);
}
