//! The text of the state file: a line that says what it is, a MAC over the rest, and strict JSON.
//!
//! Runs in: daemon, CLI.
//! Does not: keep an attacker out who can read the key beside it. The MAC shows damage and careless edits; a restored backup is the counter's to see.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde::Serialize;

use super::Known;
use super::StateError;
use crate::module::ModuleDigest;
use crate::revoke::present;
use crate::time::Time;

/// The largest state file, in bytes.
pub(super) const MAX_STATE: u64 = 1 << 20;
/// The most modules, and the most policies, that are remembered.
pub(super) const MAX_NAMES: usize = 4096;
/// The longest name, in bytes.
pub(super) const MAX_NAME: usize = 128;

const HEAD: &str = "edgeguard-state 1";

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Remembered {
    /// The number of this write, from 1.
    pub(super) write: u64,
    /// The counter's value that belongs to this write; absent where there is no counter.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(super) counter: Option<u64>,
    /// The latest time that was proved to have passed.
    pub(super) time: Time,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(super) revocation_list: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(super) pack: Option<PackRef>,
    pub(super) modules: BTreeMap<String, Module>,
    pub(super) policies: BTreeMap<String, u64>,
    /// SHA-256 of the one text that has each of these revisions, in hex; absent for a revision that an earlier version of this program remembered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) policy_texts: BTreeMap<String, String>,
}

/// The trust pack in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PackRef {
    pub(super) sha256: String,
    pub(super) imported: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Module {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(super) version: Option<u64>,
    pub(super) digest: String,
    pub(super) admitted: Time,
}

impl Remembered {
    pub(super) fn new() -> Self {
        Self {
            write: 1,
            counter: None,
            time: Time::BUILT,
            revocation_list: None,
            pack: None,
            modules: BTreeMap::new(),
            policies: BTreeMap::new(),
            policy_texts: BTreeMap::new(),
        }
    }

    /// What was admitted last under a module's name.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<Known> {
        self.modules.get(name).and_then(Module::known)
    }

    /// All of them, by name.
    pub fn modules(&self) -> impl Iterator<Item = (&str, Known)> {
        self.modules.iter().filter_map(|(name, module)| Some((name.as_str(), module.known()?)))
    }

    /// The latest time that was proved to have passed.
    #[must_use]
    pub fn floor_time(&self) -> Time {
        self.time
    }

    /// The number of the newest revocation list that was seen.
    #[must_use]
    pub fn revocation_list_floor(&self) -> Option<u64> {
        self.revocation_list
    }

    /// The highest revision of a module's signed policy that was in force.
    #[must_use]
    pub fn policy_revision(&self, name: &str) -> Option<u64> {
        self.policies.get(name).copied()
    }

    /// All of them, by the module's name.
    pub fn policies(&self) -> impl Iterator<Item = (&str, u64)> {
        self.policies.iter().map(|(name, revision)| (name.as_str(), *revision))
    }

    /// When the trust pack in force was imported, as far as the time was known then.
    #[must_use]
    pub fn pack_imported(&self) -> Option<Time> {
        self.pack.as_ref().map(|pack| pack.imported)
    }

    /// How often the state was written.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.write
    }

    /// The value that the counter had at the last write; nothing where there is no counter.
    #[must_use]
    pub fn counter(&self) -> Option<u64> {
        self.counter
    }

    /// The text of the file.
    pub(super) fn to_text(&self, key: &hmac::Key) -> Result<Vec<u8>, StateError> {
        let body = serde_json::to_vec(self).map_err(StateError::Encode)?;
        let tag = hmac::sign(key, &body);
        let mut text = format!("{HEAD}\n{}\n", hex::encode(tag.as_ref())).into_bytes();
        text.extend_from_slice(&body);
        text.push(b'\n');
        if text.len() as u64 > MAX_STATE {
            return Err(StateError::Full { what: "bytes", max: MAX_STATE });
        }
        Ok(text)
    }

    /// Reads the text of a file. Nothing is interpreted before the MAC was verified.
    pub(super) fn from_text(text: &[u8], key: &hmac::Key) -> Result<Self, StateError> {
        let damaged = |why: &str| StateError::Damaged { why: why.to_owned() };
        let rest = text.strip_prefix(HEAD.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n"));
        let rest = rest.ok_or_else(|| damaged("it does not begin as a state file of this version does"))?;
        let (tag, rest) = rest.split_at_checked(65).ok_or_else(|| damaged("it was cut short"))?;
        let tag = tag.strip_suffix(b"\n").and_then(|tag| hex::decode(tag).ok()).ok_or_else(|| damaged("its second line is no MAC"))?;
        let body = rest.strip_suffix(b"\n").ok_or_else(|| damaged("it was cut short"))?;
        hmac::verify(key, body, &tag).map_err(|_| damaged("its MAC does not verify: the file, or the key beside it, was changed"))?;
        serde_json::from_slice(body).map_err(|error| damaged(&format!("this version does not understand it: {error}")))
    }
}

impl Module {
    fn known(&self) -> Option<Known> {
        let mut digest = [0; 32];
        hex::decode_to_slice(&self.digest, &mut digest).ok()?;
        Some(Known { version: self.version, digest: ModuleDigest(digest), admitted_at: self.admitted })
    }
}
