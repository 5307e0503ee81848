//! What `policy check` accepts, admission understands: the two crates know nothing of each other, and are held together here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use edgeguard_attest::Claim;
use edgeguard_attest::Pattern;

fn accepted(identity: &str, claims: &str) -> bool {
    let text = format!(
        "version = 1\n[module]\nname = \"m\"\npath = \"/m.wasm\"\nmode = \"command\"\n[[module.signer]]\nissuer = \"https://example.org\"\n\
         identity = {identity:?}\nclaims = {{ {claims} }}\n[limits]\nmemory = \"1 MiB\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"1 KiB\"\n"
    );
    edgeguard_policy::parse("m.toml", &text).is_ok()
}

#[test]
fn both_know_the_same_claims() {
    let mut policy: Vec<&str> = edgeguard_policy::claims().collect();
    let mut attest: Vec<&str> = Claim::ALL.iter().map(|claim| claim.as_str()).collect();
    policy.sort_unstable();
    attest.sort_unstable();
    assert_eq!(policy, attest);
}

#[test]
fn both_take_the_same_patterns() {
    let long = "a".repeat(edgeguard_policy::MAX_PATTERN);
    let longer = "a".repeat(edgeguard_policy::MAX_PATTERN + 1);
    let pieces = ["", "*", "a", "*a", "a*", "**", "/", "@", "https://", "refs", "*/", "@*"];
    let count = pieces.len();
    let all: Vec<String> =
        (0..count.pow(3)).map(|i| [i % count, i / count % count, i / count / count].map(|i| pieces[i]).concat()).collect();
    for text in all.iter().map(String::as_str).chain([long.as_str(), longer.as_str()]) {
        assert_eq!(accepted(text, ""), text.parse::<Pattern>().is_ok(), "{text:?}");
        assert_eq!(accepted("a@b", &format!("run-uri = {text:?}")), text.parse::<Pattern>().is_ok(), "{text:?}");
    }
}

#[test]
fn both_have_the_same_bounds() {
    assert_eq!(edgeguard_policy::MAX_PATTERN, edgeguard_attest::MAX_PATTERN);
    assert_eq!(edgeguard_policy::MAX_BUNDLES as usize, edgeguard_attest::MAX_BUNDLES);
    assert_eq!(edgeguard_policy::VERSION.1, edgeguard_attest::MAX_VERSION);
}

#[test]
fn whatever_a_policy_may_list_the_rules_can_hold() {
    const { assert!(edgeguard_policy::MAX_SIGNERS <= edgeguard_attest::MAX_SIGNERS) }
    const { assert!(edgeguard_policy::MAX_REQUIREMENTS <= edgeguard_attest::MAX_REQUIREMENTS) }
}
