//! A TUF repository that signs whatever it is told to, and writes it to a directory, as one on a stick.
#![allow(dead_code, reason = "each test file uses what it needs")]

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use serde_json::Value;
use serde_json::json;

/// A role's key: Ed25519 or P-256, as the field uses both.
pub enum Key {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Key {
    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn public(&self) -> Value {
        match self {
            Self::Ed25519(key) => {
                json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex::encode(key.public_key().as_ref())}})
            }
            Self::P256(key) => {
                use aws_lc_rs::encoding::AsDer as _;
                let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
                let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
                let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &body[..64], &body[64..]);
                json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}})
            }
        }
    }

    fn id(&self) -> String {
        sha256(&canonical(&self.public()))
    }

    fn sign(&self, bytes: &[u8]) -> String {
        match self {
            Self::Ed25519(key) => hex::encode(key.sign(bytes).as_ref()),
            Self::P256(key) => hex::encode(key.sign(&SystemRandom::new(), bytes).unwrap().as_ref()),
        }
    }
}

/// OLPC canonical JSON, of what these tests write: sorted keys, no blanks, only `"` and `\` escaped.
pub fn canonical(value: &Value) -> Vec<u8> {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let fields = sorted.into_iter().map(|(key, value)| [canonical(&json!(key)), b":".to_vec(), canonical(value)].concat());
            [b"{".to_vec(), fields.collect::<Vec<_>>().join(&b","[..]), b"}".to_vec()].concat()
        }
        Value::Array(items) => [b"[".to_vec(), items.iter().map(canonical).collect::<Vec<_>>().join(&b","[..]), b"]".to_vec()].concat(),
        Value::String(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

pub const FAR: &str = "2029-01-01T00:00:00Z";

/// What a repository publishes next.
pub struct Tuf {
    pub root_keys: Vec<Key>,
    pub online: Key,
    pub consistent: bool,
    pub root_version: u64,
    pub timestamp_version: u64,
    pub snapshot_version: u64,
    pub targets_version: u64,
    pub timestamp_expires: String,
    pub root_expires: String,
    pub targets: BTreeMap<String, Vec<u8>>,
    /// All roots so far, by version.
    pub roots: BTreeMap<u64, Vec<u8>>,
}

impl Tuf {
    pub fn new() -> Self {
        let mut tuf = Self {
            root_keys: vec![Key::ed25519(), Key::p256()],
            online: Key::p256(),
            consistent: true,
            root_version: 1,
            timestamp_version: 1,
            snapshot_version: 1,
            targets_version: 1,
            timestamp_expires: FAR.into(),
            root_expires: FAR.into(),
            targets: BTreeMap::new(),
            roots: BTreeMap::new(),
        };
        tuf.sign_root(None);
        tuf
    }

    pub fn target(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.targets.insert(name.into(), bytes.into());
        self
    }

    /// A next version of everything but the root.
    pub fn bump(&mut self) {
        self.timestamp_version += 1;
        self.snapshot_version += 1;
        self.targets_version += 1;
    }

    /// A new root, with new keys for root and roles, signed by the old keys and the new.
    pub fn rotate(&mut self) {
        let old = std::mem::replace(&mut self.root_keys, vec![Key::ed25519(), Key::p256()]);
        self.online = Key::ed25519();
        self.root_version += 1;
        self.sign_root(Some(&old));
    }

    pub fn sign_root(&mut self, old: Option<&[Key]>) {
        let all: Vec<&Key> = self.root_keys.iter().chain([&self.online]).collect();
        let keys: BTreeMap<String, Value> = all.iter().map(|key| (key.id(), key.public())).collect();
        let root_ids: Vec<String> = self.root_keys.iter().map(Key::id).collect();
        let role = json!({"keyids": [self.online.id()], "threshold": 1});
        let signed = json!({
            "_type": "root", "spec_version": "1.0.31", "version": self.root_version, "expires": self.root_expires,
            "consistent_snapshot": self.consistent, "keys": keys,
            "roles": {"root": {"keyids": root_ids, "threshold": 2}, "timestamp": role, "snapshot": role, "targets": role},
        });
        let signers: Vec<&Key> = self.root_keys.iter().chain(old.unwrap_or_default()).collect();
        self.roots.insert(self.root_version, envelope(&signed, &signers));
    }

    /// The newest root.
    pub fn root(&self) -> &[u8] {
        &self.roots[&self.root_version]
    }

    /// Writes the repository as it is now, over nothing that lies there.
    pub fn write(&self, dir: &Path) {
        let (metadata, targets) = (dir.join("metadata"), dir.join("targets"));
        std::fs::create_dir_all(&metadata).unwrap();
        for (version, root) in &self.roots {
            std::fs::write(metadata.join(format!("{version}.root.json")), root).unwrap();
        }
        let mut files = BTreeMap::new();
        for (name, bytes) in &self.targets {
            files.insert(name, json!({"length": bytes.len(), "hashes": {"sha256": sha256(bytes)}}));
            let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
            std::fs::create_dir_all(targets.join(folder)).unwrap();
            let file = if self.consistent { format!("{}.{file}", sha256(bytes)) } else { file.to_owned() };
            std::fs::write(targets.join(folder).join(file), bytes).unwrap();
        }
        let head = |kind: &str, version: u64, expires: &str| json!({"_type": kind, "spec_version": "1.0.31", "version": version, "expires": expires});
        let with = |mut value: Value, name: &str, field: Value| {
            value[name] = field;
            envelope(&value, &[&self.online])
        };
        let listed = with(head("targets", self.targets_version, FAR), "targets", json!(files));
        let snapshot = with(
            head("snapshot", self.snapshot_version, FAR),
            "meta",
            json!({"targets.json": {"version": self.targets_version, "length": listed.len(), "hashes": {"sha256": sha256(&listed)}}}),
        );
        let timestamp = with(
            head("timestamp", self.timestamp_version, &self.timestamp_expires),
            "meta",
            json!({"snapshot.json": {"version": self.snapshot_version, "length": snapshot.len(), "hashes": {"sha256": sha256(&snapshot)}}}),
        );
        let put = |version: u64, role: &str, bytes: &[u8]| {
            let name = if self.consistent { format!("{version}.{role}.json") } else { format!("{role}.json") };
            std::fs::write(metadata.join(name), bytes).unwrap();
        };
        put(self.targets_version, "targets", &listed);
        put(self.snapshot_version, "snapshot", &snapshot);
        std::fs::write(metadata.join("timestamp.json"), timestamp).unwrap();
    }
}

fn envelope(signed: &Value, keys: &[&Key]) -> Vec<u8> {
    let bytes = canonical(signed);
    let signatures: Vec<Value> = keys.iter().map(|key| json!({"keyid": key.id(), "sig": key.sign(&bytes)})).collect();
    serde_json::to_vec(&json!({"signed": signed, "signatures": signatures})).unwrap()
}
