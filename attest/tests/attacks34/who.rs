//! Attacks by somebody who signs well and is not the one who should: another identity, one signer who counts twice, a key whose time is over or that was taken back.

use edgeguard_attest::Approval;
use edgeguard_attest::Claim;
use edgeguard_attest::Clock;
use edgeguard_attest::ClockLimits;
use edgeguard_attest::Code;
use edgeguard_attest::Release;
use edgeguard_attest::Revocations;
use edgeguard_attest::Signer;
use edgeguard_attest::Time;
use edgeguard_attest::TrustMaterial;
use edgeguard_attest::Window;
use edgeguard_attest::sign::SigningKey;
use edgeguard_attest::verify_policy_text;
use edgeguard_virtual_sigstore::Spec;
use serde_json::Value;
use serde_json::json;

use crate::Row;
use crate::Tried;
use crate::gateway;
use crate::gateway::Gateway;
use crate::gateway::ISSUER;
use crate::gateway::PATTERN;
use crate::gateway::WORKFLOW;
use crate::refused;
use crate::support::*;
use crate::tried;
use crate::world::*;

pub const ROWS: &[Row] = &[
    refused("4a", "has another issuer vouch for the right identity", Code::Issuer, || identity(WORKFLOW, "https://issuer.evil.example")),
    refused("4b", "has an issuer vouch whose name has a `/` more", Code::Issuer, || identity(WORKFLOW, &format!("{ISSUER}/"))),
    refused("4c", "has an identity that ends with the right one", Code::Identity, || {
        identity(&format!("https://evil.example/{WORKFLOW}"), ISSUER)
    }),
    refused("4d", "has an identity that begins with the right one", Code::Identity, || identity(&format!("{WORKFLOW}/x"), ISSUER)),
    refused("4e", "signs in the right workflow on a machine of his own", Code::Claim, || {
        let gateway = Gateway::of(vec![gateway::keyless("ci", PATTERN, ISSUER, &[(Claim::RunnerEnvironment, "github-hosted")])]);
        let on = |runner: &str| {
            let spec = gateway::workflow().leaf(|leaf| leaf.claims = vec![(11, runner.to_owned())]);
            gateway.admit(&gateway::sigstore().sign(&module(), &spec))
        };
        tried(on("github-hosted"), on("self-hosted"))
    }),
    refused("13b", "signs twice where two must sign", Code::Threshold, || {
        let world = World::plain(vec![signer("acme", &p256()), signer("ops", &ops())], 2);
        let first = p256().sign(&module()).unwrap();
        tried(world.admit(&[first.clone(), ops().sign(&module()).unwrap()]), world.admit(&[first, released(&p256(), &release(8))]))
    }),
    refused("13c", "has his key stand under two names where two must sign", Code::Threshold, || {
        let world = World::plain(vec![signer("acme", &p256()), signer("acme-again", &p256()), signer("ops", &ops())], 2);
        let first = p256().sign(&module()).unwrap();
        tried(world.admit(&[first.clone(), ops().sign(&module()).unwrap()]), world.admit(&[first, released(&p256(), &release(8))]))
    }),
    refused("24a", "sets the clock back to revive a key that was retired", Code::KeyWindow, || {
        let bare = [p256().sign(&module()).unwrap()];
        let mut world = retiring(-1);
        world.clock = Clock::new(now(), at(-5), ClockLimits::default());
        tried(retiring(1).admit(&bare), world.admit(&bare))
    }),
    refused("24b", "sets it back before the key's end, which nothing has yet proved to be over", Code::Clock, || {
        let bare = [p256().sign(&module()).unwrap()];
        let mut world = retiring(1);
        world.clock = Clock::new(now(), at(-5), ClockLimits::default());
        tried(retiring(1).admit(&bare), world.admit(&bare))
    }),
    refused("24c", "sets it forward to use a release before its time", Code::Clock, || {
        let early = |days: i64| [released(&p256(), &Release { not_before: Some(at(days)), ..release(8) })];
        let mut world = plain();
        world.clock = Clock::new(now(), at(4000), ClockLimits::default());
        tried(plain().admit(&early(-1)), world.admit(&early(3000)))
    }),
    refused("26a", "has a good key sign a module again that was taken back", Code::Revoked, || {
        let again = [ops().sign(&module()).unwrap()];
        let world = || World::plain(vec![signer("ops", &ops())], 1);
        let mut listed = world();
        listed.revocations = Some(list(&json!({ "digest": this_module().to_string(), "reason": "crashes on silence" })));
        tried(world().admit(&again), listed.admit(&again))
    }),
    refused("26b", "signs with a stolen key and says it was before the theft", Code::Revoked, || {
        let mut world = plain();
        let key = p256().public().id().to_string();
        world.revocations = Some(list(&json!({ "key": key, "since": at(-10).to_string(), "reason": "laptop was stolen" })));
        let backdated = Release { not_before: Some(at(-30)), ..release(8) };
        tried(plain().admit(&[released(&p256(), &backdated)]), world.admit(&[released(&p256(), &backdated)]))
    }),
    refused("26c", "brings a version with a known hole that this host has never seen", Code::Revoked, || {
        let mut world = plain();
        world.revocations = Some(list(&json!({ "module": SLOT, "belowVersion": 9, "reason": "reads past its input" })));
        tried(world.admit(&[released(&p256(), &release(9))]), world.admit(&[released(&p256(), &release(8))]))
    }),
    refused("27a", "edits a signed policy", Code::Digest, || {
        let bundle = p256().sign_policy(POLICY).unwrap();
        tried(policy(POLICY, &bundle), policy(b"version = 1\nrevision = 8\n[module]\nname = \"mine\"\n", &bundle))
    }),
    refused("27b", "signs his own policy with a key that may sign modules only", Code::UnknownKey, || {
        tried(policy(POLICY, &p256().sign_policy(POLICY).unwrap()), policy(POLICY, &ops().sign_policy(POLICY).unwrap()))
    }),
    refused("27c", "passes a release off as a policy's signature", Code::UnwantedStatement, || {
        let text = module();
        tried(policy(&text, &p256().sign_policy(&text).unwrap()), policy(&text, &released(&p256(), &release(8))))
    }),
    refused("20c", "brings a genuine approval of another module", Code::NameNotSlot, || {
        let mut world = World::plain(vec![signer("acme", &p256()), signer("ops", &ops())], 1);
        world.rules.requirements = vec![require(RELEASE, &["acme"], 1), require(APPROVAL, &["ops"], 1)];
        let with =
            |name: &str| world.admit(&[released(&p256(), &release(8)), approved(&ops(), &Approval { name: name.into(), ..approval() })]);
        tried(with(SLOT), with("door-camera"))
    }),
];

const POLICY: &[u8] = b"version = 1\nrevision = 7\n";

/// A second signer, whose key never changes, because messages name it.
pub fn ops() -> SigningKey {
    SigningKey::from_pem(P384_KEY).unwrap()
}

/// One vendor, whose signature or release is enough.
pub fn plain() -> World {
    World::plain(vec![signer("acme", &p256())], 1)
}

/// The same, whose key is retired in so many days.
fn retiring(days: i64) -> World {
    let window = Window { usable_from: None, retire_at: Some(at(days)) };
    World::plain(vec![Signer { window, ..signer("acme", &p256()) }], 1)
}

/// The workflow that the gateway trusts, and somebody else.
fn identity(identity: &str, issuer: &str) -> Tried {
    let judge = |spec: &Spec| Gateway::default().admit(&gateway::sigstore().sign(&module(), spec));
    tried(judge(&gateway::workflow()), judge(&Spec::workflow(identity, issuer)))
}

/// A list with one entry, issued yesterday.
fn list(entry: &Value) -> Revocations {
    let text = json!({ "version": 1, "list": 7, "issued": at(-1).to_string(), "expires": at(30).to_string(), "revoked": [entry] });
    Revocations::from_json(text.to_string().as_bytes()).unwrap()
}

/// On a host that takes policies by the vendor's key only.
fn policy(text: &[u8], bundle: &str) -> Result<edgeguard_attest::Proof, edgeguard_attest::Rejection> {
    let clock = Clock::new(now(), Time(now().0 + 60), ClockLimits::default());
    let signers = [signer("policies", &p256())];
    verify_policy_text(text, bundle.as_bytes(), &signers, &TrustMaterial::none(), None, &clock, &mut Vec::new())
}
