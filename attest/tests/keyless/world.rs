//! A gateway that trusts one virtual sigstore and one workflow, and what it says to a module with some bundles beside it.

use std::time::Duration;

use edgeguard_attest::Capabilities;
use edgeguard_attest::Claim;
use edgeguard_attest::Clock;
use edgeguard_attest::ClockLimits;
use edgeguard_attest::Code;
use edgeguard_attest::Keyless;
use edgeguard_attest::NamedBundle;
use edgeguard_attest::Rejection;
use edgeguard_attest::Rules;
use edgeguard_attest::Signer;
use edgeguard_attest::Situation;
use edgeguard_attest::Staleness;
use edgeguard_attest::Time;
use edgeguard_attest::TrustMaterial;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnverifiedModule;
use edgeguard_attest::VerifiedModule;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Tamper;
use edgeguard_virtual_sigstore::sha256;
use serde_json::Value;
use serde_json::json;

pub const WORKFLOW: &str = "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/v1.2";
pub const PATTERN: &str = "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/*";
pub const ISSUER: &str = "https://token.actions.example";

/// The empty core module, followed by a custom section.
pub fn module() -> Vec<u8> {
    b"\0asm\x01\0\0\0\0\x07\x04test\x2a\x2b".to_vec()
}

pub fn sigstore() -> Instance {
    Instance::new("keyless")
}

/// Signed by the workflow that the gateway trusts.
pub fn workflow() -> Spec {
    Spec::workflow(WORKFLOW, ISSUER)
}

/// A statement that says no more than: signed.
pub fn statement() -> String {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "voice-gate.wasm", "digest": { "sha256": hex::encode(sha256(&module())) } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
    .to_string()
}

pub fn keyless(id: &str, identity: &str, issuer: &str, claims: &[(Claim, &str)]) -> Signer {
    let claims = claims.iter().map(|(claim, pattern)| (*claim, pattern.parse().unwrap())).collect();
    Signer::keyless(id, Keyless { issuer: issuer.to_owned(), identity: identity.parse().unwrap(), claims })
}

pub fn ci() -> Signer {
    keyless("ci", PATTERN, ISSUER, &[])
}

pub fn by_key(id: &str, key: &Key) -> Signer {
    Signer::of_key(id, TrustedKey::from_pem(key.public_pem().as_bytes()).unwrap().named(format!("{id}.pub")))
}

/// What a gateway is asked, and by what it judges.
pub struct Gateway {
    pub root: Option<Value>,
    pub signers: Vec<Signer>,
    pub threshold: u32,
    pub module: Vec<u8>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { root: Some(sigstore().trusted_root()), signers: vec![ci()], threshold: 1, module: module() }
    }
}

impl Gateway {
    pub fn of(signers: Vec<Signer>) -> Self {
        Self { signers, ..Self::default() }
    }

    pub fn root(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(self.root.as_mut().unwrap());
        self
    }

    pub fn admit_all(&self, bundles: &[&[u8]]) -> Result<VerifiedModule, Rejection> {
        let material = match &self.root {
            Some(root) => TrustMaterial::from_json(root.to_string().as_bytes(), None)?,
            None => TrustMaterial::none(),
        };
        let wall = Time::BUILT.plus(Duration::from_secs(60));
        let clock = Clock::new(Time(SIGNED_AT), wall, ClockLimits::default());
        let names: Vec<String> = (0..bundles.len()).map(|place| format!("voice-gate.wasm.{place}.sigstore.json")).collect();
        let bundles: Vec<NamedBundle<'_>> = names.iter().zip(bundles).map(|(name, bytes)| NamedBundle { name, bytes }).collect();
        let situation = Situation {
            material: &material,
            revocations: None,
            clock: &clock,
            known: None,
            capabilities: &Capabilities::default(),
            stale: Staleness::Fresh,
        };
        let rules = Rules::plain("voice-gate", self.signers.clone(), self.threshold);
        UnverifiedModule::from_bytes(self.module.clone())?.admit(&bundles, &rules, &situation, &mut Vec::new())
    }

    pub fn admit(&self, bundle: &Value) -> Result<VerifiedModule, Rejection> {
        self.admit_all(&[bundle.to_string().as_bytes()])
    }

    #[track_caller]
    pub fn refuses(&self, bundle: &Value, code: Code) {
        self.refuses_bytes(bundle.to_string().as_bytes(), code);
    }

    #[track_caller]
    pub fn refuses_bytes(&self, bundle: &[u8], code: Code) {
        match self.admit_all(&[bundle]) {
            Ok(_) => panic!("admitted, expected {}", code.as_str()),
            Err(rejection) => assert_eq!(rejection.code, code, "{rejection}"),
        }
    }
}

/// The default gateway refuses what was made by this recipe.
#[track_caller]
pub fn refused(spec: &Spec, code: Code) {
    Gateway::default().refuses(&sigstore().sign(&module(), spec), code);
}

/// It refuses each of these lies in an otherwise honest bundle, and admits the bundle without it.
#[track_caller]
pub fn each_refused(spec: &Spec, lies: &[(Tamper, Code)]) {
    admitted(spec);
    for (lie, code) in lies {
        let bundle = sigstore().sign(&module(), &spec.clone().lie(lie.clone()));
        match Gateway::default().admit(&bundle) {
            Ok(_) => panic!("{lie:?}: admitted, expected {}", code.as_str()),
            Err(rejection) => assert_eq!(rejection.code, *code, "{lie:?}: {rejection}"),
        }
    }
}

#[track_caller]
pub fn admitted(spec: &Spec) -> VerifiedModule {
    Gateway::default().admit(&sigstore().sign(&module(), spec)).unwrap_or_else(|rejection| panic!("{rejection}"))
}
