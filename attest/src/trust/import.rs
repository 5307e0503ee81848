//! `trust import`: a trust pack from a directory, verified by The Update Framework, put in force whole or not at all.
//!
//! Runs in: CLI.
//! Invariant: what is put in force was signed by the roles of the root that this host trusted before, is not older than what it had, was not
//! expired as far as the time is known, and is usable. Until the last step the old pack is in force.
//! Does not: trust the directory. Whoever holds the stick can withhold news, which shows when the pack runs out, and nothing else.
//!
//! Source: The Update Framework, specification 1.0.33, §5 (detailed client workflow).

use std::path::Path;

use sigstore_tuf::Error;
use sigstore_tuf::Updater;
use sigstore_tuf::UpdaterConfig;

use super::pack::MAX_PACK_KEYS;
use super::pack::Pack;
use super::pack::PackError;
use super::pack::REVOCATIONS;
use super::pack::Shelf;
use super::pack::TRUSTED_ROOT;
use super::pack::Versions;
use super::pack::is_key;
use super::repository::Stick;
use super::repository::at_once;
use crate::clock::Clock;
use crate::clock::ClockState;
use crate::clock::Reached;
use crate::keys::KeyError;
use crate::keys::install_provider;
use crate::material::MAX_MATERIAL;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::revoke::Revocations;
use crate::revoke::RevocationsError;
use crate::state::State;
use crate::state::StateError;
use crate::time::Time;

/// The largest root metadata that is read, in bytes; also the bound of the file that names the first root.
pub const MAX_ROOT: u64 = 256 << 10;

/// How far apart the clocks of this host and of whoever signed a revocation list may be, in seconds.
const ISSUED_AHEAD: i64 = 600;

/// What an import did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// Whether anything is new. If not, nothing was written.
    pub changed: bool,
    /// The versions that were in force before.
    pub before: Option<Versions>,
    /// What is in force now.
    pub pack: Pack,
    /// Targets that this version has no use for, escaped; they were not read.
    pub unused: Vec<String>,
    /// How the clock stands. If it is not steady, the pack counts as in force only up to what was proved.
    pub clock: ClockState,
}

/// Why a trust pack was not put in force. What was in force before still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The first import needs a root to begin with.
    #[error(
        "no trust pack was imported before, so the first root is needed: pass `--tuf-root FILE` with a root that came another way than the pack"
    )]
    NoRoot,
    /// The directory cannot be opened.
    #[error("cannot open the trust pack")]
    Open(#[source] std::io::Error),
    /// A file that must be there is not, or cannot be read.
    #[error("cannot read the trust pack: {found}")]
    Read {
        /// What the library found, escaped.
        found: String,
    },
    /// The root to begin with is no root.
    #[error("the root to begin with cannot be used: {found}")]
    Root {
        /// What the library found, escaped.
        found: String,
    },
    /// Older than what was accepted before.
    #[error("the trust pack is older than the one in force: {found}")]
    Rollback {
        /// Which part, escaped.
        found: String,
    },
    /// Run out: either nobody made a newer one, or somebody keeps it back.
    #[error("{role} of the trust pack ran out on {expires}; it is now {now} or later")]
    Expired {
        /// Which metadata, escaped.
        role: String,
        /// When it ran out.
        expires: Time,
        /// What is believed.
        now: Time,
    },
    /// Not signed by whom the root names, or not what was signed.
    #[error("the trust pack was changed, or was not made by whom this host trusts: {found}")]
    Tampered {
        /// What the library found, escaped.
        found: String,
    },
    /// A file that was in the pack before is not in this one.
    #[error("the trust pack in force has `{what}`, and this one has none")]
    Dropped {
        /// The file.
        what: &'static str,
    },
    /// A revocation list with a lower number, or the same number and other content.
    #[error("revocation list {found} is not newer than list {floor}, which was seen before")]
    List {
        /// The number of the list that was seen.
        floor: u64,
        /// The number of this one.
        found: u64,
    },
    /// A revocation list from the future.
    #[error("the revocation list is not of this time")]
    Issued(#[source] RevocationsError),
    /// What the pack holds is not usable.
    #[error("the trust pack cannot be used")]
    Pack(#[source] PackError),
    /// The pack in force is not usable, so nothing can be held against it.
    #[error("the trust pack in force cannot be used")]
    Before(#[source] PackError),
    /// The state says no.
    #[error("the trust pack cannot be put in force")]
    State(#[from] StateError),
    /// Another part of the process has installed another cryptographic library.
    #[error("the cryptographic library cannot be used")]
    Provider(#[source] KeyError),
}

impl ImportError {
    /// Its stable code; `None` where a file or an argument is missing, which is nobody's evidence.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            Self::NoRoot | Self::Open(_) | Self::Read { .. } | Self::Provider(_) => return None,
            Self::Root { .. } | Self::Tampered { .. } | Self::Pack(_) => Code::TrustMaterial,
            Self::Rollback { .. } | Self::Dropped { .. } | Self::List { .. } => Code::Rollback,
            Self::Expired { .. } => Code::Stale,
            Self::Issued(_) => Code::Clock,
            Self::Before(_) | Self::State(_) => Code::StateDamaged,
        })
    }

    /// As one line with code, expectation and next step; `None` as in [`code`](Self::code).
    #[must_use]
    pub fn rejection(&self) -> Option<Rejection> {
        let code = self.code()?;
        let mut found = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            found = format!("{found}: {cause}");
            source = cause.source();
        }
        let (expected, next) = match self {
            Self::Root { .. } => ("a root that signed itself", "check the file that `--tuf-root` names"),
            Self::Tampered { .. } => (
                "metadata signed by the roles of the trusted root, and files as they were signed",
                "get the pack again from whoever makes it; nothing was changed here",
            ),
            Self::Pack(_) => ("a pack whose files can all be used", "have the pack made again; nothing was changed here"),
            Self::Rollback { .. } | Self::List { .. } => {
                ("a pack not older than the one in force", "get the newest pack; nothing was changed here")
            }
            Self::Dropped { .. } => (
                "every file that the pack in force has",
                "have the pack made with it; to leave it out, list nothing in it, or begin anew with `edgeguard trust reset`",
            ),
            Self::Expired { .. } => {
                ("a pack that has not run out", "get a newer pack; if there is none, whoever makes it has to sign a new timestamp")
            }
            Self::Issued(_) => ("a revocation list that was issued in the past", "set this host's clock, or have the list issued again"),
            _ => {
                return Some(match self {
                    Self::State(StateError::Falls { .. }) => {
                        Rejection::new(Code::Rollback, "a pack not older than the one in force", found)
                    }
                    _ => Rejection::new(code, "the state as it was last written", found),
                });
            }
        };
        Some(Rejection::new(code, expected, found).next(next))
    }
}

/// Imports the trust pack in `dir`. `first_root` is the root to begin with, which counts only while none was imported.
///
/// The time is the latest that is believed. On a host whose clock is wrong that is the floor, so that a pack can be brought to it at all; whether
/// the pack is then young enough to admit something new is judged by the clock, see [`Pack::staleness`].
///
/// # Errors
/// [`ImportError`]; the pack that was in force then still is.
pub fn import(dir: &Path, state: &mut State, first_root: Option<&[u8]>, clock: &Clock) -> Result<Imported, ImportError> {
    install_provider().map_err(ImportError::Provider)?;
    // 1. What is trusted so far.
    let before = state.pack()?;
    let shelf = before.as_deref().map(Shelf::from_bytes).transpose().map_err(ImportError::Before)?.unwrap_or_default();
    let old = before.as_ref().map(|_| Pack::understood(&shelf)).transpose().map_err(ImportError::Before)?;
    let root = match shelf.get("root.json") {
        Some(root) => root,
        None => first_root.ok_or(ImportError::NoRoot)?.to_vec(),
    };
    // 2. The metadata, from the root down.
    let stick = Stick::open(dir).map_err(ImportError::Open)?;
    let now = clock.now_at_least();
    let at = jiff::Timestamp::from_second(now.0).map_err(|error| ImportError::Read { found: error.to_string() })?;
    let updater = Updater::new(stick, &root).map_err(|error| ImportError::Root { found: chain(&error) })?;
    let mut updater = updater.with_config(bounds()).with_store(shelf.clone());
    let failed = |error: Error| failed(&error, now);
    at_once(updater.refresh(at)).map_err(failed)?;
    // 3. The files it lists and we know.
    let listed: Vec<String> =
        updater.trusted().targets_role("targets").map(|targets| targets.targets.keys().cloned().collect()).unwrap_or_default();
    let (mut wanted, mut unused, mut keys) = (vec![TRUSTED_ROOT.to_owned(), REVOCATIONS.to_owned()], Vec::new(), 0);
    for name in listed {
        if is_key(&name).map_err(ImportError::Pack)? {
            keys += 1;
            wanted.push(name);
        } else if name != TRUSTED_ROOT && name != REVOCATIONS {
            unused.push(shown(&name));
        }
    }
    if keys > MAX_PACK_KEYS {
        return Err(ImportError::Pack(PackError::TooManyKeys { found: keys }));
    }
    let mut there = Vec::new();
    for name in wanted {
        match at_once(updater.get_target(&name, at)) {
            Ok(bytes) => {
                shelf.put(&format!("targets/{name}"), &bytes);
                there.push(name);
            }
            Err(Error::TargetNotFound(_)) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    // 4. Usable, and nothing that was there is gone or older.
    let next = shelf.only(&there);
    let pack = Pack::understood(&next).map_err(ImportError::Pack)?;
    not_less(old.as_ref(), &pack, state.revocation_list_floor())?;
    if let Some(list) = pack.revocations() {
        of_this_time(list, clock)?;
    }
    // 5. In force.
    let bytes = next.to_bytes().map_err(ImportError::Pack)?;
    let changed = before.as_ref() != Some(&bytes);
    if changed {
        let (list, issued) = (pack.revocations().map(Revocations::list), pack.revocations().map(Revocations::issued));
        state.set_pack(before.as_deref(), &bytes, list, now, issued)?;
    }
    unused.truncate(MAX_PACK_KEYS);
    Ok(Imported { changed, before: old.map(|pack| pack.versions()), pack, unused, clock: clock.state() })
}

/// What the pack in force has, the next one has too; and its list is the same one or a newer one.
fn not_less(old: Option<&Pack>, new: &Pack, list_floor: Option<u64>) -> Result<(), ImportError> {
    if old.is_some_and(|old| old.material().is_some()) && new.material().is_none() {
        return Err(ImportError::Dropped { what: TRUSTED_ROOT });
    }
    let Some(list) = new.revocations() else {
        return if list_floor.is_some() { Err(ImportError::Dropped { what: REVOCATIONS }) } else { Ok(()) };
    };
    let reused = old.and_then(Pack::revocations).is_some_and(|old| old.list() == list.list() && old != list);
    match list_floor {
        Some(floor) if list.list() < floor || reused => Err(ImportError::List { floor, found: list.list() }),
        _ => Ok(()),
    }
}

/// A list from the future would raise the time floor beyond the present, for good.
fn of_this_time(list: &Revocations, clock: &Clock) -> Result<(), ImportError> {
    match clock.reached(Time(list.issued().0.saturating_sub(ISSUED_AHEAD))) {
        Reached::Yes => Ok(()),
        // The clock is wrong, and the list is what sets it right: its signature says that its time has come.
        Reached::Unknown => Ok(()),
        Reached::No => Err(ImportError::Issued(RevocationsError::NotYet { issued: list.issued(), now: clock.now_at_least() })),
    }
}

fn bounds() -> UpdaterConfig {
    let mut config = UpdaterConfig::default();
    config.root_max_length = MAX_ROOT;
    config.timestamp_max_length = 16 << 10;
    config.snapshot_max_length = 256 << 10;
    config.targets_max_length = 512 << 10;
    config.target_max_length = MAX_MATERIAL as u64;
    // A gateway that was years in a drawer has many roots to walk.
    config.max_root_rotations = 256;
    config.max_delegations = 8;
    config
}

fn failed(error: &Error, now: Time) -> ImportError {
    match error {
        Error::Rollback { .. } | Error::BadRootVersion { .. } => ImportError::Rollback { found: chain(error) },
        Error::Expired { role, expires } => ImportError::Expired { role: shown(role), expires: Time(expires.as_second()), now },
        Error::Transport { .. } | Error::Io { .. } => ImportError::Read { found: chain(error) },
        _ => ImportError::Tampered { found: chain(error) },
    }
}

/// An error of the library and what caused it, escaped: some of its texts repeat what the metadata says.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    shown(&text)
}
