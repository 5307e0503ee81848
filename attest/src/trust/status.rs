//! What a host trusts, and how long still: one answer for people and for machines.
//!
//! Runs in: CLI (`trust status`), daemon (its status page).
//! Does not: change anything, or ask the counter; it says what the last write says.

use serde::Serialize;

use super::Expiries;
use super::FreshnessLimits;
use super::Pack;
use super::PackError;
use super::Staleness;
use super::Versions;
use crate::clock::Clock;
use crate::clock::ClockState;
use crate::keys::Algorithm;
use crate::keys::KeyId;
use crate::material::Authority;
use crate::material::TrustMaterial;
use crate::module::ModuleDigest;
use crate::revoke::Revocations;
use crate::revoke::Revoked;
use crate::state::CounterKind;
use crate::state::State;
use crate::time::Time;

/// What a host trusts. Serialized, it is the output of `edgeguard trust status --json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TrustStatus {
    /// Whose word counts.
    pub root: RootStatus,
    /// The trust pack in force.
    pub pack: Option<PackStatus>,
    /// What counts no longer.
    pub revocations: Option<RevocationsStatus>,
    /// Whether something new may be admitted.
    pub freshness: Staleness,
    /// What is believed about the time.
    pub clock: ClockStatus,
    /// What is remembered; nothing before the first start.
    pub state: Option<StateStatus>,
}

/// The trusted root.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RootStatus {
    /// Where it comes from.
    pub source: RootSource,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
    /// Whom it names.
    pub authorities: Vec<Authority>,
}

/// Where a trusted root comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootSource {
    /// This program: sigstore's public-good instance as it was when the program was built.
    BuiltIn,
    /// The operator's own file, pinned by the host's file.
    File,
    /// The trust pack in force.
    Pack,
    /// Nowhere: this host knows keys only, and a trust pack does not change that.
    Nobody,
}

/// The trust pack in force.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PackStatus {
    /// When it was imported, as far as the time was known then.
    pub imported: Option<Time>,
    /// The versions of its metadata.
    pub versions: Versions,
    /// Until when its metadata counts.
    pub expires: Expiries,
    /// The keys that it brings.
    pub keys: Vec<KeyStatus>,
}

/// A key of the trust pack.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KeyStatus {
    /// Its name, `keys/NAME.pub`.
    pub name: String,
    /// Its id.
    pub id: KeyId,
    /// Its algorithm.
    pub algorithm: Algorithm,
}

/// The revocation list in force.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RevocationsStatus {
    /// Its number.
    pub list: u64,
    /// When it was made.
    pub issued: Time,
    /// When a newer one is due.
    pub expires: Time,
    /// What it revokes.
    pub revoked: Vec<Revoked>,
}

/// What is believed about the time.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClockStatus {
    /// How the wall clock stands to the floor.
    pub state: ClockState,
    /// What the system's clock says.
    pub wall: Time,
    /// The latest time that was proved to have passed.
    pub floor: Time,
}

/// What is remembered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StateStatus {
    /// What the state is bound to.
    pub counter: CounterKind,
    /// How often it was written.
    pub writes: u64,
    /// The floors of modules, by name.
    pub modules: Vec<ModuleStatus>,
    /// The revisions of signed policies, by the module's name.
    pub policies: Vec<PolicyStatus>,
}

/// A module's floor.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ModuleStatus {
    /// Its name.
    pub name: String,
    /// The lowest version that is still admitted; nothing if none was ever signed.
    pub version: Option<u64>,
    /// What was admitted last.
    pub digest: ModuleDigest,
    /// When.
    pub admitted: Time,
}

/// A policy's floor.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PolicyStatus {
    /// The module's name.
    pub name: String,
    /// The lowest revision that still counts.
    pub revision: u64,
}

/// What is trusted with this `state`, which [`State::look`] gives, at this time. `own` is what counts as long as no trust pack says otherwise.
///
/// # Errors
/// [`PackError`].
pub fn status(
    state: Option<&State>,
    own: (RootSource, &TrustMaterial),
    clock: &Clock,
    limits: FreshnessLimits,
) -> Result<TrustStatus, PackError> {
    let pack = state.map(Pack::of).transpose()?.flatten();
    let (source, material) = match (own, pack.as_ref().and_then(Pack::material)) {
        ((RootSource::Nobody, none), _) => (RootSource::Nobody, none),
        (_, Some(material)) => (RootSource::Pack, material),
        (own, None) => own,
    };
    let imported = state.and_then(|state| state.remembered().pack_imported());
    Ok(TrustStatus {
        root: RootStatus { source, sha256: hex::encode(material.digest()), authorities: material.authorities() },
        freshness: Staleness::in_force(pack.as_ref(), state.and_then(State::revocation_list_floor), clock, limits),
        revocations: pack.as_ref().and_then(Pack::revocations).map(RevocationsStatus::of),
        pack: pack.as_ref().map(|pack| PackStatus::of(pack, imported)),
        clock: ClockStatus { state: clock.state(), wall: clock.wall(), floor: clock.floor() },
        state: state.map(StateStatus::of),
    })
}

impl PackStatus {
    fn of(pack: &Pack, imported: Option<Time>) -> Self {
        let keys = pack.keys().iter().map(|key| KeyStatus { name: key.name().to_owned(), id: key.id(), algorithm: key.algorithm() });
        Self { imported, versions: pack.versions(), expires: pack.expires(), keys: keys.collect() }
    }
}

impl RevocationsStatus {
    fn of(list: &Revocations) -> Self {
        Self { list: list.list(), issued: list.issued(), expires: list.expires(), revoked: list.entries().to_vec() }
    }
}

impl StateStatus {
    fn of(state: &State) -> Self {
        let remembered = state.remembered();
        let module = |(name, known): (&str, crate::state::Known)| ModuleStatus {
            name: name.to_owned(),
            version: known.version,
            digest: known.digest,
            admitted: known.admitted_at,
        };
        Self {
            counter: state.counter_kind(),
            writes: remembered.writes(),
            modules: remembered.modules().map(module).collect(),
            policies: remembered.policies().map(|(name, revision)| PolicyStatus { name: name.to_owned(), revision }).collect(),
        }
    }
}
