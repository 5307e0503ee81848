//! Real public bundles, whole and bent. They come with the source of sigstore-verify, where cargo has put it; none is committed here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bent;
mod material;
mod mutated;
mod old;
mod real;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use sigstore_verify::trust_root::SIGSTORE_STAGING_TRUSTED_ROOT;

use super::Artifact;
use super::Evidence;
use super::verify;
use crate::keys::TrustedKey;
use crate::material::TrustMaterial;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::signer::Keyless;
use crate::signer::Signer;

/// The folder of test data in the source of sigstore-verify, or `None` with the reason printed. In CI it must be there.
fn test_data() -> Option<&'static PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let run = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--offline", "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .output()
            .ok()?;
        let metadata: Value = serde_json::from_slice(&run.stdout).ok()?;
        let packages = metadata["packages"].as_array()?;
        let manifest = packages.iter().find(|package| package["name"] == "sigstore-verify")?["manifest_path"].as_str()?;
        Some(PathBuf::from(manifest).parent()?.join("test_data")).filter(|folder| folder.is_dir())
    });
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "cargo must tell where the source of sigstore-verify lies");
        println!("skipped: cargo does not tell where the source of sigstore-verify lies");
    }
    found.as_ref()
}

fn file(name: &str) -> Option<Vec<u8>> {
    Some(std::fs::read(test_data()?.join(name)).unwrap())
}

/// A real bundle, and what it needs to be believed.
#[derive(Clone)]
struct Case {
    bundle: Value,
    sha256: [u8; 32],
    root: Value,
    signer: Signer,
}

const COSIGN: &str = "bundles/cosign-v3-blob.sigstore.json";
const CONDA_V2: &str = "bundles/conda-attestation-rekor2.sigstore.json";
const CONDA: &str = "bundles/conda-attestation.sigstore.json";
const GITHUB: &str = "https://github.com/login/oauth";
const ACTIONS: &str = "https://token.actions.githubusercontent.com";

impl Case {
    fn load(bundle: &str, root: Option<&str>, issuer: &str, identity: &str) -> Option<Self> {
        let bundle: Value = serde_json::from_slice(&file(bundle)?).unwrap();
        let root = match root {
            Some("staging") => SIGSTORE_STAGING_TRUSTED_ROOT.as_bytes().to_vec(),
            Some(root) => file(root)?,
            None => SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes().to_vec(),
        };
        let keyless = Keyless { issuer: issuer.into(), identity: identity.parse().unwrap(), claims: Vec::new() };
        let sha256 = subject(&bundle);
        Some(Self { bundle, sha256, root: serde_json::from_slice(&root).unwrap(), signer: Signer::keyless("vendor", keyless) })
    }

    /// Rekor v1, message signature, log time and timestamp.
    fn cosign() -> Option<Self> {
        Self::load(COSIGN, None, GITHUB, "w.vollprecht@gmail.com")
    }

    /// Rekor v2, statement, timestamp; of the staging instance.
    fn conda_v2() -> Option<Self> {
        Self::load(CONDA_V2, Some("staging"), GITHUB, "jku@goto.fi")
    }

    /// Rekor v1, statement, log time, made by a workflow.
    fn conda() -> Option<Self> {
        let identity = "https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/*";
        Self::load(CONDA, None, ACTIONS, identity)
    }

    /// A key's message signature, Rekor v1, log time and timestamp.
    fn managed_key() -> Option<Self> {
        let mut case = Self::load("managed-key/bundle.sigstore.json", None, "-", "-")?;
        let key = TrustedKey::from_pem(&file("managed-key/key.pub")?).unwrap().named("key.pub");
        case.signer = Signer::of_key("vendor", key);
        Some(case)
    }

    fn verify(&self) -> Result<Evidence, Rejection> {
        let material = TrustMaterial::from_json(self.root.to_string().as_bytes(), None)?;
        self.verify_with(&material)
    }

    fn verify_with(&self, material: &TrustMaterial) -> Result<Evidence, Rejection> {
        let bundle = self.bundle.to_string();
        verify(bundle.as_bytes(), Artifact::Digest(self.sha256), std::slice::from_ref(&self.signer), material, &mut Vec::new())
    }

    fn bent(mut self, bend: impl FnOnce(&mut Self)) -> Rejection {
        bend(&mut self);
        self.verify().unwrap_err()
    }

    fn material(&mut self) -> &mut Value {
        &mut self.bundle["verificationMaterial"]
    }

    fn entry(&mut self) -> &mut Value {
        &mut self.bundle["verificationMaterial"]["tlogEntries"][0]
    }

    fn proof(&mut self) -> &mut Value {
        &mut self.bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    }

    fn keyless(&mut self) -> &mut Keyless {
        match &mut self.signer.kind {
            crate::signer::SignerKind::Keyless(keyless) => keyless,
            crate::signer::SignerKind::Key(_) => panic!("a key's case"),
        }
    }
}

/// The sha256 that the bundle was made for; zeros, if it names none.
fn subject(bundle: &Value) -> [u8; 32] {
    let bytes = match bundle["messageSignature"]["messageDigest"]["digest"].as_str() {
        Some(digest) => STANDARD.decode(digest).unwrap(),
        None => {
            let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
            let statement: Value = serde_json::from_slice(&payload).unwrap();
            let subjects = statement["subject"].as_array().unwrap();
            let sha256 = subjects.iter().find_map(|subject| subject["digest"]["sha256"].as_str());
            sha256.map_or_else(|| vec![0; 32], |sha256| hex::decode(sha256).unwrap())
        }
    };
    bytes.try_into().unwrap()
}

/// Flips one bit in the middle of base64 text.
fn flip(value: &mut Value) {
    let mut bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    *value = STANDARD.encode(bytes).into();
}

/// Flips one bit of the last byte but `from_end`.
fn flip_end(value: &mut Value, from_end: usize) {
    let mut bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    let place = bytes.len() - 1 - from_end;
    bytes[place] ^= 1;
    *value = STANDARD.encode(bytes).into();
}

fn add(value: &mut Value, by: i64) {
    let number: i64 = value.as_str().unwrap().parse().unwrap();
    *value = (number + by).to_string().into();
}

/// The validity of an authority that was retired before any of these bundles was made.
fn retired() -> Value {
    serde_json::json!({ "start": "2000-01-01T00:00:00Z", "end": "2020-01-01T00:00:00Z" })
}

fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key).unwrap();
}

#[track_caller]
fn expect(rejection: &Rejection, code: Code) {
    assert_eq!(rejection.code, code, "{rejection}");
    assert!(!rejection.expected.is_empty() && !rejection.found.is_empty() && !rejection.next.is_empty());
}
