//! Transparency logs: Rekor v1, which promises and proves, and Rekor v2, which only proves.
//!
//! Runs in: tests.
//! Checkpoints are signed notes (C2SP `signed-note`, `tlog-checkpoint`); promises are signatures over canonical JSON.
//! Every entry is the fifth of seven leaves, so that a proof has hashes on both sides.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;

use crate::keys::Key;
use crate::keys::sha256;
use crate::merkle;
use crate::tamper::Tamper;

/// Where every entry stands in its tree.
const INDEX: usize = 4;
/// Leaves after it.
const AFTER: usize = 2;
/// A Rekor v1 index counts over all trees that a log ever had.
const EARLIER_TREES: u64 = 1000;

/// Which protocol a log speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rekor {
    /// With promises that carry a time.
    V1,
    /// Tiles only.
    V2,
}

/// A log.
pub struct Log {
    pub(crate) key: Key,
    pub(crate) protocol: Rekor,
    origin: String,
    name: String,
}

/// What is to be logged.
pub(crate) struct Entry<'a> {
    pub(crate) kind: &'a str,
    pub(crate) version: &'a str,
    pub(crate) body: Vec<u8>,
    pub(crate) integrated: i64,
}

impl Log {
    pub(crate) fn v1(seed: &str) -> Self {
        let name = "rekor.virtual.example".to_owned();
        Self { key: Key::p256(&format!("{seed} rekor")), protocol: Rekor::V1, origin: format!("{name} - 1193050959916656506"), name }
    }

    pub(crate) fn v2(seed: &str) -> Self {
        let name = "log2025.rekor.virtual.example".to_owned();
        Self { key: Key::ed25519(&format!("{seed} rekor")), protocol: Rekor::V2, origin: name.clone(), name }
    }

    /// Version 1: the hash of the key. Version 2: the key id of a signed note, untruncated.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        match self.protocol {
            Rekor::V1 => sha256(self.key.spki()),
            Rekor::V2 => sha256(&[self.origin.as_bytes(), b"\n\x01", &self.key.raw()].concat()),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.name)
    }

    /// Takes an entry in and gives out what a bundle holds of it.
    pub(crate) fn add(&self, entry: &Entry<'_>, stranger: &Log, lies: &[Tamper]) -> Value {
        let filler = |place: usize| merkle::leaf(format!("{} leaf {place}", self.name).as_bytes());
        let mut leaves: Vec<[u8; 32]> = (0..INDEX).map(filler).collect();
        leaves.push(merkle::leaf(&entry.body));
        leaves.extend((0..AFTER).map(|place| filler(INDEX + 1 + place)));

        let tree_index = INDEX as u64;
        let index = if self.protocol == Rekor::V1 { EARLIER_TREES + tree_index } else { tree_index };
        let hashes: Vec<String> = merkle::path(INDEX, &leaves).iter().map(|hash| STANDARD.encode(hash)).collect();
        let mut out = json!({
            "logIndex": index.to_string(),
            "logId": { "keyId": STANDARD.encode(self.id()) },
            "kindVersion": { "kind": entry.kind, "version": entry.version },
            "inclusionProof": {
                "logIndex": tree_index.to_string(),
                "rootHash": STANDARD.encode(merkle::root(&leaves)),
                "treeSize": leaves.len().to_string(),
                "hashes": hashes,
                "checkpoint": { "envelope": self.checkpoint(&leaves, stranger, lies) },
            },
            "canonicalizedBody": STANDARD.encode(&entry.body),
        });
        if self.protocol == Rekor::V1 {
            out["integratedTime"] = json!(entry.integrated.to_string());
            let signer = if lies.contains(&Tamper::PromiseByStranger) { stranger } else { self };
            out["inclusionPromise"] = json!({ "signedEntryTimestamp": STANDARD.encode(self.promise(entry, index, signer)) });
        }
        for lie in lies {
            bend(&mut out, lie);
        }
        out
    }

    /// The signed entry timestamp.
    fn promise(&self, entry: &Entry<'_>, index: u64, signer: &Log) -> Vec<u8> {
        // Canonical JSON (RFC 8785) by hand: four keys in order, and no text that needs escaping.
        let canonical = format!(
            r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{index}}}"#,
            STANDARD.encode(&entry.body),
            entry.integrated,
            hex::encode(self.id()),
        );
        signer.key.sign(canonical.as_bytes())
    }

    fn checkpoint(&self, leaves: &[[u8; 32]], stranger: &Log, lies: &[Tamper]) -> String {
        let lied = |lie: &Tamper| lies.contains(lie);
        let mut leaves = leaves.to_vec();
        if lied(&Tamper::CheckpointOfAnotherTree) {
            leaves.push([7; 32]);
        }
        let mut lines = Vec::new();
        if !lied(&Tamper::CheckpointWithoutOrigin) {
            lines.push(self.origin.clone());
        }
        if !lied(&Tamper::CheckpointWithoutSize) {
            lines.push(leaves.len().to_string());
        }
        if !lied(&Tamper::CheckpointWithoutRootHash) {
            lines.push(STANDARD.encode(merkle::root(&leaves)));
        }
        let text = format!("{}\n", lines.join("\n"));

        let mut signature = self.key.sign(text.as_bytes());
        if lied(&Tamper::CheckpointFlipped)
            && let Some(last) = signature.last_mut()
        {
            *last ^= 1;
        }
        let own = note_line(&self.name, self.id(), &signature);
        let by_stranger = |hint| note_line(&self.name, hint, &stranger.key.sign(text.as_bytes()));
        let witness = |name: &str| {
            let key = Key::ed25519(name);
            note_line(name, sha256(&[name.as_bytes(), b"\n\x04", &key.raw()].concat()), &key.sign(text.as_bytes()))
        };
        let signatures = if lied(&Tamper::CheckpointUnsigned) {
            String::new()
        } else if lied(&Tamper::CheckpointByStranger) {
            by_stranger(stranger.id())
        } else if lied(&Tamper::CheckpointByStrangerAsTrusted) {
            by_stranger(self.id())
        } else if lied(&Tamper::CheckpointCosigned) {
            own + &witness("witness.example")
        } else if lied(&Tamper::CheckpointCosignedFirst) {
            witness("witness.example") + &witness("second-witness.example") + &own
        } else if lied(&Tamper::CheckpointTwoByOrigin) {
            by_stranger(stranger.id()) + &own
        } else {
            own
        };
        format!("{text}\n{signatures}")
    }
}

/// A signature line of a signed note.
fn note_line(name: &str, id: [u8; 32], signature: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", STANDARD.encode([&id[..4], signature].concat()))
}

/// Lies that anybody can tell about a finished entry.
fn bend(entry: &mut Value, lie: &Tamper) {
    match lie {
        Tamper::EntryIndex(by) => shift(&mut entry["logIndex"], *by),
        Tamper::IntegratedTimeShifted(by) => shift(&mut entry["integratedTime"], *by),
        Tamper::ProofIndex(by) => shift(&mut entry["inclusionProof"]["logIndex"], *by),
        Tamper::ProofTreeSize(by) => shift(&mut entry["inclusionProof"]["treeSize"], *by),
        Tamper::PromiseMissing => remove(entry, "inclusionPromise"),
        Tamper::PromiseFlipped => flip(&mut entry["inclusionPromise"]["signedEntryTimestamp"]),
        Tamper::ProofMissing => remove(entry, "inclusionProof"),
        Tamper::ProofHashFlipped => flip(&mut entry["inclusionProof"]["hashes"][0]),
        Tamper::ProofRootHash => flip(&mut entry["inclusionProof"]["rootHash"]),
        Tamper::CheckpointMissing => remove(&mut entry["inclusionProof"], "checkpoint"),
        Tamper::ProofHashDropped => {
            if let Some(hashes) = entry["inclusionProof"]["hashes"].as_array_mut() {
                hashes.pop();
            }
        }
        _ => {}
    }
}

fn shift(number: &mut Value, by: i64) {
    let old: i64 = number.as_str().unwrap().parse().unwrap();
    *number = json!((old + by).to_string());
}

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().unwrap().remove(name);
}

/// Changes the last bit of what a base64 string holds.
pub(crate) fn flip(text: &mut Value) {
    let mut bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    *text = json!(STANDARD.encode(bytes));
}
