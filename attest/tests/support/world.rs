//! One module, its signers, and a gateway that may know something already: what an admission is judged by, each part to be bent.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use edgeguard_attest::*;
use sign::SigningKey;

use serde_json::Value;
use serde_json::json;

use crate::support::*;

pub const DAY: i64 = 86_400;
pub const SLOT: &str = "voice-gate";

/// Now, as the gateway knows it: 2040-01-01, later than any build of this, so that messages are always the same.
pub fn now() -> Time {
    Time(2_208_988_800)
}

pub fn at(days: i64) -> Time {
    Time(now().0 + days * DAY)
}

/// The keys of one vendor, one builder and two who approve; each test process makes its own approvers.
pub struct Keys {
    pub vendor: SigningKey,
    pub builder: SigningKey,
    pub ops: Vec<SigningKey>,
}

impl Keys {
    pub fn new() -> Self {
        let ops = (0..3).map(|_| SigningKey::generate(Algorithm::EcdsaP256).unwrap()).collect();
        Self { vendor: p256(), builder: ed25519(), ops }
    }
}

pub fn signer(id: &str, key: &SigningKey) -> Signer {
    Signer::of_key(id, key.public().clone().named(format!("{id}.pub")))
}

pub fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

pub fn require(statement: Wanted, signers: &[&str], threshold: u32) -> Requirement {
    Requirement { statement, signers: ids(signers), threshold }
}

pub const RELEASE: Wanted = Wanted::Release { max_age: None };
pub const APPROVAL: Wanted = Wanted::Approval { max_age: None };

pub fn built_by(builder: &str) -> Wanted {
    Wanted::Provenance { builders: vec![builder.into()], build_types: vec![], parameters: None }
}

/// Everything but the bundles.
pub struct World {
    pub rules: Rules,
    pub revocations: Option<Revocations>,
    pub clock: Clock,
    pub known: Option<Known>,
    pub capabilities: Capabilities,
    pub stale: Staleness,
}

impl World {
    /// The whole policy: a release of the vendor's, the builder's provenance, and two approvals of three.
    pub fn full(keys: &Keys) -> Self {
        let mut signers = vec![signer("vendor", &keys.vendor), signer("builder", &keys.builder)];
        signers.extend(keys.ops.iter().enumerate().map(|(place, key)| signer(&format!("ops-{place}"), key)));
        let requirements = vec![
            require(RELEASE, &["vendor"], 1),
            require(built_by("https://ci.example/builder"), &["builder"], 1),
            require(APPROVAL, &["ops-0", "ops-1", "ops-2"], 2),
        ];
        Self::of(Rules { slot: SLOT.into(), signers, requirements, min_version: None })
    }

    /// A policy that only says who may sign.
    pub fn plain(signers: Vec<Signer>, threshold: u32) -> Self {
        Self::of(Rules::plain(SLOT, signers, threshold))
    }

    pub fn of(rules: Rules) -> Self {
        Self {
            rules,
            revocations: None,
            clock: Clock::new(now(), now(), ClockLimits::default()),
            known: None,
            capabilities: Capabilities::default(),
            stale: Staleness::Fresh,
        }
    }

    pub fn admit_explained(&self, bundles: &[String], passed: &mut Vec<Passed>) -> Result<VerifiedModule, Rejection> {
        let names: Vec<String> = (0..bundles.len()).map(|place| format!("m.wasm.{place}.sigstore.json")).collect();
        let bundles: Vec<NamedBundle<'_>> =
            names.iter().zip(bundles).map(|(name, bytes)| NamedBundle { name, bytes: bytes.as_bytes() }).collect();
        let situation = Situation {
            material: &TrustMaterial::none(),
            revocations: self.revocations.as_ref(),
            clock: &self.clock,
            known: self.known.as_ref(),
            capabilities: &self.capabilities,
            stale: self.stale.clone(),
        };
        UnverifiedModule::from_bytes(module()).unwrap().admit(&bundles, &self.rules, &situation, passed)
    }

    pub fn admit(&self, bundles: &[String]) -> Result<VerifiedModule, Rejection> {
        self.admit_explained(bundles, &mut Vec::new())
    }

    #[track_caller]
    pub fn refuses(&self, bundles: &[String]) -> Rejection {
        self.admit(bundles).expect_err("must be refused")
    }
}

pub fn known(version: Option<u64>, digest: ModuleDigest) -> Known {
    Known { version, digest, admitted_at: at(-1) }
}

pub fn this_module() -> ModuleDigest {
    ModuleDigest::of(&module())
}

pub fn release(version: u64) -> Release {
    Release { name: SLOT.into(), version, not_before: None, expires: None, capabilities: None, capabilities_sha256: None }
}

pub fn approval() -> Approval {
    Approval { name: SLOT.into(), version: None, not_before: None, expires: None, comment: None }
}

pub fn released(key: &SigningKey, release: &Release) -> String {
    key.sign_release(&module(), release).unwrap()
}

pub fn approved(key: &SigningKey, approval: &Approval) -> String {
    key.sign_approval(&module(), approval).unwrap()
}

/// A provenance by the builder's key.
pub fn provenance(builder: &str, build_type: &str, parameters: Value) -> String {
    let mut statement = statement();
    statement["predicateType"] = json!(PROVENANCE_V1);
    statement["predicate"] = json!({
        "buildDefinition": { "buildType": build_type, "externalParameters": parameters },
        "runDetails": { "builder": { "id": builder } },
    });
    signed(&statement).to_string()
}

pub fn built() -> String {
    provenance("https://ci.example/builder", "https://ci.example/type/v1", json!({ "ref": "refs/tags/v8" }))
}

/// What meets [`World::full`], one bundle for each place.
pub fn full_set(keys: &Keys) -> Vec<String> {
    vec![released(&keys.vendor, &release(8)), built(), approved(&keys.ops[0], &approval()), approved(&keys.ops[1], &approval())]
}
