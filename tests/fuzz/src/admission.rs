//! What vendors, identity providers and USB sticks bring: bundles, statements, trusted roots, revocation lists, keys.

use std::sync::LazyLock;
use std::time::Duration;

use edgeguard_attest::Access;
use edgeguard_attest::Capabilities;
use edgeguard_attest::Clock;
use edgeguard_attest::ClockLimits;
use edgeguard_attest::Keyless;
use edgeguard_attest::MAX_RECEIPT;
use edgeguard_attest::NamedBundle;
use edgeguard_attest::Requirement;
use edgeguard_attest::Revocations;
use edgeguard_attest::Rules;
use edgeguard_attest::Signer;
use edgeguard_attest::Situation;
use edgeguard_attest::Staleness;
use edgeguard_attest::Time;
use edgeguard_attest::TrustMaterial;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnverifiedModule;
use edgeguard_attest::Wanted;
use edgeguard_attest::quote;
use edgeguard_attest::quote::Expected;
use edgeguard_attest::quote::Pcrs;
use edgeguard_virtual_sigstore::Instance;
use edgeguard_virtual_sigstore::Key;
use edgeguard_virtual_sigstore::Logged;
use edgeguard_virtual_sigstore::SIGNED_AT;
use edgeguard_virtual_sigstore::Spec;
use edgeguard_virtual_sigstore::Stamp;
use edgeguard_virtual_sigstore::sha256;
use serde_json::json;

use crate::MIB;
use crate::Target;

pub(crate) const BUNDLE: Target = Target {
    name: "bundle",
    reads: "a bundle with any evidence, against a policy that asks for a signature",
    memory: 16 * MIB,
    longest: 64 << 10,
    run: |input| WORLD.admit(input, Wanted::Any),
    seeds: || {
        let keyless = || Spec::workflow(WORKFLOW, ISSUER);
        let specs = [
            keyless(),
            keyless().rekor2().stamp(Stamp::at(SIGNED_AT)),
            keyless().statement(statement("https://sigstore.dev/cosign/sign/v1", &json!({}))),
            Spec::key(Key::p256("vendor")),
            Spec::key(Key::ed25519("other")).statement(statement("https://sigstore.dev/cosign/sign/v1", &json!({}))),
            Spec::key(Key::p256("vendor")).logged(Logged::V1).stamp(Stamp::at(SIGNED_AT)),
        ];
        specs.iter().map(|spec| WORLD.sigstore.sign(MODULE, spec).to_string().into_bytes()).collect()
    },
};

pub(crate) const STATEMENT: Target = Target {
    name: "statement",
    reads: "a statement that a trusted key has signed, against policies that ask for each kind",
    memory: 16 * MIB,
    longest: 64 << 10,
    run: |input| {
        let bundle = WORLD.sigstore.sign(MODULE, &Spec::key(Key::ed25519("other")).statement(input)).to_string();
        let provenance =
            Wanted::Provenance { builders: vec!["https://builder.example/v1".into()], build_types: Vec::new(), parameters: None };
        for wanted in [Wanted::Any, Wanted::Release { max_age: None }, provenance, Wanted::Approval { max_age: None }] {
            WORLD.admit(bundle.as_bytes(), wanted);
        }
    },
    seeds: || {
        let release = json!({
            "name": "voice-gate", "version": 7, "notBefore": "2026-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00Z",
            "capabilities": { "directories": [{ "path": "/audio", "access": "read" }], "graphs": ["vad"], "environment": ["MODE"] },
        });
        let provenance = json!({
            "buildDefinition": { "buildType": "https://builder.example/workflow/v1", "externalParameters": { "ref": "refs/tags/v1" } },
            "runDetails": { "builder": { "id": "https://builder.example/v1" } },
        });
        vec![
            statement("https://sigstore.dev/cosign/sign/v1", &json!({})).into_bytes(),
            statement("https://edgeguard.dev/module-release/v1", &release).into_bytes(),
            statement("https://slsa.dev/provenance/v1", &provenance).into_bytes(),
            statement("https://edgeguard.dev/module-approval/v1", &json!({ "name": "voice-gate", "version": 7 })).into_bytes(),
        ]
    },
};

pub(crate) const TRUSTED_ROOT: Target = Target {
    name: "trusted-root",
    reads: "a `trusted_root.json`, and a bundle judged by it",
    memory: 16 * MIB,
    longest: 64 << 10,
    run: |input| {
        if let Ok(material) = TrustMaterial::from_json(input, None) {
            drop(material.authorities());
        }
    },
    seeds: || vec![WORLD.sigstore.trusted_root().to_string().into_bytes()],
};

pub(crate) const REVOCATIONS: Target = Target {
    name: "revocations",
    reads: "a revocation list",
    memory: 16 * MIB,
    longest: 64 << 10,
    run: |input| {
        if let Ok(list) = Revocations::from_json(input) {
            drop(list.check_module(edgeguard_attest::ModuleDigest([0; 32]), "voice-gate", Some(7)));
        }
    },
    seeds: || {
        let list = json!({
            "version": 1, "list": 3, "issued": "2026-10-01T00:00:00Z", "expires": "2027-01-01T00:00:00Z",
            "revoked": [
                { "key": "ab".repeat(32), "since": "2026-09-01T00:00:00Z", "reason": "lost" },
                { "identity": "https://github.example/acme/*/release.yml@refs/tags/*", "issuer": ISSUER, "reason": "left" },
                { "digest": "cd".repeat(32), "reason": "backdoor", "stop": true },
                { "module": "voice-gate", "belowVersion": 7, "reason": "flaw" },
            ],
        });
        vec![list.to_string().into_bytes()]
    },
};

pub(crate) const KEY: Target = Target {
    name: "key",
    reads: "a public key file",
    memory: 16 * MIB,
    longest: 16 << 10,
    run: |input| drop(TrustedKey::from_pem(input)),
    seeds: || vec![Key::p256("vendor").public_pem().into_bytes(), Key::ed25519("other").public_pem().into_bytes()],
};

pub(crate) const QUOTE: Target = Target {
    name: "quote",
    reads: "a TPM's quote: the message, behind which the attestation key's signature stands, and the signature alone",
    memory: MIB,
    longest: 4 << 10,
    run: |input| {
        let key = Key::p256("attestation");
        let (Ok(ak), Ok(pcrs)) = (TrustedKey::from_pem(key.public_pem().as_bytes()), Pcrs::new([(0, [1; 32]), (7, [2; 32])].into())) else {
            return;
        };
        let Ok(expected) = Expected::new(&ak, &NONCE, &pcrs) else { return };
        // As a message that the key has signed, so that what is behind the signature is reached; and as a signature over a good message.
        let signed = quote::verify(input, &tpm_signature(&key.sign(input)), &expected, &mut Vec::new());
        let other = quote::verify(&quoted(), input, &expected, &mut Vec::new());
        for answer in [signed, other] {
            if let Err(rejection) = answer {
                assert!(rejection.to_string().len() < 4096, "a refusal is one line that a person reads");
            }
        }
    },
    seeds: || {
        let mut other_bank = quoted();
        // The bank's algorithm, at the end but the digest of the registers: SHA-1.
        let place = other_bank.len() - (2 + 32) - (2 + 1 + 3);
        other_bank.splice(place..place + 2, [0, 4]);
        vec![quoted(), other_bank, tpm_signature(&Key::p256("attestation").sign(&quoted()))]
    },
};

/// A `TPMS_ATTEST` (TPM 2.0 Library, Part 2, §10.12.12) that answers the question of the target.
fn quoted() -> Vec<u8> {
    let digest = sha256(&[[1; 32], [2; 32]].concat());
    let parts: [&[u8]; 12] = [
        b"\xffTCG\x80\x18", // made by a TPM; a quote
        &[0, 34, 0, 0x0b],  // the signer's name, SHA-256
        &[9; 32],
        &[0, 16], // the nonce
        &NONCE,
        &[0, 0, 0, 0, 0, 0, 0, 5],    // milliseconds
        &[0, 0, 0, 3, 0, 0, 0, 2, 1], // resets, restarts, safe
        &[0, 0, 0, 0, 0, 0, 0, 1],    // firmware
        &[0, 0, 0, 1, 0, 0x0b, 3],    // one bank, SHA-256, three bytes of bits
        &[0x81, 0, 0],                // registers 0 and 7
        &[0, 32],
        &digest,
    ];
    parts.concat()
}

/// A `TPMT_SIGNATURE` (§11.3.4) of an ECDSA signature in ASN.1 (RFC 3279 §2.2.3), whose two numbers may have a zero in front.
fn tpm_signature(der: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0x18, 0, 0x0b];
    let mut rest = der.get(2..).unwrap_or_default();
    while let [_integer, length, tail @ ..] = rest {
        let (number, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        out.extend([0, u8::try_from(number.len()).unwrap_or(u8::MAX)]);
        out.extend(number);
        rest = tail;
    }
    out
}

/// A gateway that trusts one virtual sigstore, one workflow and two keys.
struct World {
    sigstore: Instance,
    material: TrustMaterial,
    signers: Vec<Signer>,
    clock: Clock,
    capabilities: Capabilities,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    #[allow(clippy::expect_used, reason = "what the fuzzer itself makes is right, or there is nothing to fuzz")]
    fn new() -> Self {
        let sigstore = Instance::new("fuzz");
        let material = TrustMaterial::from_json(sigstore.trusted_root().to_string().as_bytes(), None).expect("our own root");
        let key =
            |id: &str, key: &Key| Signer::of_key(id, TrustedKey::from_pem(key.public_pem().as_bytes()).expect("our own key").named(id));
        let identity = PATTERN.parse().expect("our own pattern");
        let workflow = Keyless { issuer: ISSUER.into(), identity, claims: Vec::new() };
        let signers = vec![Signer::keyless("ci", workflow), key("vendor", &Key::p256("vendor")), key("other", &Key::ed25519("other"))];
        let clock = Clock::new(Time(SIGNED_AT), Time::BUILT.plus(Duration::from_secs(60)), ClockLimits::default());
        let capabilities = Capabilities { directories: [("/audio".to_owned(), Access::Read)].into(), ..Capabilities::default() };
        Self { sigstore, material, signers, clock, capabilities }
    }

    /// Asks for admission. What is admitted must have a receipt within its bound.
    fn admit(&self, bundle: &[u8], wanted: Wanted) {
        let ids = self.signers.iter().map(|signer| signer.id.clone()).collect();
        let requirements = vec![Requirement { statement: wanted, signers: ids, threshold: 1 }];
        let rules = Rules { slot: "voice-gate".into(), signers: self.signers.clone(), requirements, min_version: None };
        let situation = Situation {
            material: &self.material,
            revocations: None,
            clock: &self.clock,
            known: None,
            capabilities: &self.capabilities,
            stale: Staleness::Fresh,
        };
        let Ok(module) = UnverifiedModule::from_bytes(MODULE.to_vec()) else { return };
        match module.admit(&[NamedBundle { name: "voice-gate.wasm.sigstore.json", bytes: bundle }], &rules, &situation, &mut Vec::new()) {
            Ok(verified) => assert!(verified.receipt([0; 32], Time(SIGNED_AT)).as_str().len() <= MAX_RECEIPT),
            Err(rejection) => assert!(rejection.to_string().len() < 4096, "a refusal is one line that a person reads"),
        }
    }
}

fn statement(predicate_type: &str, predicate: &serde_json::Value) -> String {
    let digest: String = sha256(MODULE).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "voice-gate.wasm", "digest": { "sha256": digest } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
    .to_string()
}

/// What the host was sent with the question.
const NONCE: [u8; 16] = [7; 16];
/// The empty core module, followed by a custom section.
const MODULE: &[u8] = b"\0asm\x01\0\0\0\0\x07\x04test\x2a\x2b";
const WORKFLOW: &str = "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/v1.2";
const PATTERN: &str = "https://github.example/acme/voice/.github/workflows/release.yml@refs/tags/*";
const ISSUER: &str = "https://token.actions.example";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_search_for_quotes_begins_from_one_that_verifies() {
        let key = Key::p256("attestation");
        let ak = TrustedKey::from_pem(key.public_pem().as_bytes()).unwrap();
        let pcrs = Pcrs::new([(0, [1; 32]), (7, [2; 32])].into()).unwrap();
        let expected = Expected::new(&ak, &NONCE, &pcrs).unwrap();
        quote::verify(&quoted(), &tpm_signature(&key.sign(&quoted())), &expected, &mut Vec::new()).unwrap();
    }
}
