//! A trust pack that was imported: what it says, when it runs out, and the metadata that the next one is held against.
//!
//! Runs in: daemon (reads what is in force), CLI (`trust import`, `trust status`).
//! Invariant: a [`Pack`] is usable as a whole. Its bytes were verified when it was imported, and the state knows their digest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::Serialize;
use sigstore_tuf::Metadata;
use sigstore_tuf::MetadataStore;
use sigstore_tuf::Root;
use sigstore_tuf::Snapshot;
use sigstore_tuf::Targets;
use sigstore_tuf::Timestamp;

use super::FreshnessLimits;
use super::Staleness;
use crate::clock::Clock;
use crate::keys::KeyError;
use crate::keys::TrustedKey;
use crate::material::MaterialError;
use crate::material::TrustMaterial;
use crate::rejection::shown;
use crate::revoke::Revocations;
use crate::revoke::RevocationsError;
use crate::state::State;
use crate::state::StateError;
use crate::time::Time;

/// The most keys of a pack.
pub const MAX_PACK_KEYS: usize = 64;

pub(super) const TRUSTED_ROOT: &str = "trusted_root.json";
pub(super) const REVOCATIONS: &str = "revocations.json";
const ROLES: [&str; 4] = ["root.json", "timestamp.json", "snapshot.json", "targets.json"];

/// Why a trust pack is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The state that names it cannot be read.
    #[error("the state cannot be read")]
    State(#[from] StateError),
    /// What is kept is not what this version keeps.
    #[error("the trust pack that is kept cannot be read: {why}")]
    Format {
        /// How that shows.
        why: String,
    },
    /// Its `trusted_root.json`.
    #[error("`trusted_root.json` of the trust pack cannot be used")]
    Material(#[source] MaterialError),
    /// Its `revocations.json`.
    #[error("`revocations.json` of the trust pack cannot be used")]
    Revocations(#[source] RevocationsError),
    /// One of its keys.
    #[error("key {name} of the trust pack cannot be used")]
    Key {
        /// The target's name, escaped and cut.
        name: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A name that could steer a path or a terminal.
    #[error("expected keys named `keys/NAME.pub` with 1 to 64 letters, digits, `.`, `_` or `-` in NAME, found {name}")]
    KeyName {
        /// The target's name, escaped and cut.
        name: String,
    },
    /// More than [`MAX_PACK_KEYS`].
    #[error("expected at most {MAX_PACK_KEYS} keys in the trust pack, found {found}")]
    TooManyKeys {
        /// How many.
        found: usize,
    },
    /// Nothing in it that this host could use.
    #[error("expected `trusted_root.json`, `revocations.json` or `keys/NAME.pub` among the targets, found none of them")]
    Nothing,
}

/// The versions of the four roles' metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// Who may sign for the roles.
    pub root: u64,
    /// Which snapshot is the newest.
    pub timestamp: u64,
    /// Which targets metadata belong together.
    pub snapshot: u64,
    /// Which files there are.
    pub targets: u64,
}

/// Until when the four roles' metadata counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Expiries {
    /// Of the root.
    pub root: Time,
    /// Of the timestamp, mostly the first to run out.
    pub timestamp: Time,
    /// Of the snapshot.
    pub snapshot: Time,
    /// Of the targets.
    pub targets: Time,
}

/// A trust pack in force.
#[derive(Clone, Debug)]
pub struct Pack {
    versions: Versions,
    expires: Expiries,
    material: Option<TrustMaterial>,
    revocations: Option<Revocations>,
    keys: Vec<TrustedKey>,
}

impl Pack {
    /// The pack in force, or `None` if none was ever imported.
    ///
    /// # Errors
    /// [`PackError`]; there is then no trust material, and not an older one.
    pub fn of(state: &State) -> Result<Option<Self>, PackError> {
        state.pack()?.map(|bytes| Self::understood(&Shelf::from_bytes(&bytes)?)).transpose()
    }

    /// Whose word counts, if the pack says so.
    #[must_use]
    pub fn material(&self) -> Option<&TrustMaterial> {
        self.material.as_ref()
    }

    /// What counts no longer.
    #[must_use]
    pub fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref()
    }

    /// The vendors' keys that it brings, each named by its target, `keys/NAME.pub`.
    #[must_use]
    pub fn keys(&self) -> &[TrustedKey] {
        &self.keys
    }

    /// The versions of its metadata.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.versions
    }

    /// Until when its metadata counts.
    #[must_use]
    pub fn expires(&self) -> Expiries {
        self.expires
    }

    /// Whether it is young enough to admit something new.
    #[must_use]
    pub fn staleness(&self, clock: &Clock, limits: FreshnessLimits) -> Staleness {
        let Expiries { root, timestamp, snapshot, targets } = self.expires;
        let list = self.revocations.as_ref().map(|list| ("the revocation list", list.expires()));
        let roles = [
            ("the trust pack", timestamp),
            ("the trust pack's snapshot", snapshot),
            ("the trust pack's list of files", targets),
            ("the trust pack's root", root),
        ];
        Staleness::judge(clock, limits, list.into_iter().chain(roles))
    }

    /// Reads what a shelf holds. One unusable thing makes the whole unusable.
    pub(super) fn understood(shelf: &Shelf) -> Result<Self, PackError> {
        let [root, timestamp, snapshot, targets] = ROLES.map(|role| shelf.get(role));
        let root = signed::<Root>(root)?;
        let timestamp = signed::<Timestamp>(timestamp)?;
        let snapshot = signed::<Snapshot>(snapshot)?;
        let targets = signed::<Targets>(targets)?;
        let material =
            shelf.target(TRUSTED_ROOT).map(|bytes| TrustMaterial::from_json(&bytes, None)).transpose().map_err(PackError::Material)?;
        let revocations =
            shelf.target(REVOCATIONS).map(|bytes| Revocations::from_json(&bytes)).transpose().map_err(PackError::Revocations)?;
        let mut keys = Vec::new();
        for name in shelf.target_names().filter(|name| name.starts_with("keys/")) {
            let key = TrustedKey::from_pem(&shelf.target(&name).unwrap_or_default());
            keys.push(key.map_err(|source| PackError::Key { name: shown(&name), source })?.named(name));
        }
        if material.is_none() && revocations.is_none() && keys.is_empty() {
            return Err(PackError::Nothing);
        }
        let time = |time: jiff::Timestamp| Time(time.as_second());
        Ok(Self {
            versions: Versions { root: root.version, timestamp: timestamp.version, snapshot: snapshot.version, targets: targets.version },
            expires: Expiries {
                root: time(root.expires),
                timestamp: time(timestamp.expires),
                snapshot: time(snapshot.expires),
                targets: time(targets.expires),
            },
            material,
            revocations,
            keys,
        })
    }
}

fn signed<T: sigstore_tuf::Role>(bytes: Option<Vec<u8>>) -> Result<T, PackError> {
    let format = |why: String| PackError::Format { why };
    let bytes = bytes.ok_or_else(|| format("it lacks a role's metadata".into()))?;
    Metadata::from_slice(&bytes).map(Metadata::into_signed).map_err(|error| format(shown(&error.to_string())))
}

/// Whether a target is a key, and its name harmless.
pub(super) fn is_key(target: &str) -> Result<bool, PackError> {
    let Some(rest) = target.strip_prefix("keys/") else { return Ok(false) };
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    match rest.strip_suffix(".pub") {
        Some(name) if (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') => Ok(true),
        _ => Err(PackError::KeyName { name: shown(target) }),
    }
}

/// Files by name, in memory: the library keeps here what it has verified, and finds here what was verified last time.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u64,
    files: BTreeMap<String, String>,
}

impl Shelf {
    pub(super) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn target(&self, name: &str) -> Option<Vec<u8>> {
        self.get(&format!("targets/{name}"))
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes.to_vec());
    }

    fn target_names(&self) -> impl Iterator<Item = String> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.keys().filter_map(|name| name.strip_prefix("targets/")).map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    /// The four roles and `targets` of this shelf, and nothing else: history and what is no longer listed stay behind.
    pub(super) fn only(&self, targets: &[String]) -> Self {
        let kept = Self::default();
        let names = ROLES.iter().map(|role| (*role).to_owned()).chain(targets.iter().map(|target| format!("targets/{target}")));
        for name in names {
            if let Some(bytes) = self.get(&name) {
                kept.put(&name, &bytes);
            }
        }
        kept
    }

    /// One text for the same files, whenever it is made.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, PackError> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let files = files.iter().map(|(name, bytes)| (name.clone(), STANDARD.encode(bytes))).collect();
        serde_json::to_vec(&Text { version: 1, files }).map_err(|error| PackError::Format { why: error.to_string() })
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, PackError> {
        let format = |why: String| PackError::Format { why };
        let text: Text = serde_json::from_slice(bytes).map_err(|error| format(error.to_string()))?;
        if text.version != 1 {
            return Err(format(format!("it is of version {}", text.version)));
        }
        let shelf = Self::default();
        for (name, body) in text.files {
            shelf.put(&name, &STANDARD.decode(body).map_err(|error| format(error.to_string()))?);
        }
        Ok(shelf)
    }
}

impl MetadataStore for Shelf {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        Ok(self.get(name))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        self.put(name, bytes);
        Ok(())
    }
}
