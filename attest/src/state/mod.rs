//! What a host remembers between starts, so that an old release, an old revocation list and an old clock are seen as such.
//!
//! Runs in: daemon (admission), CLI (`trust`).
//! Invariant: no floor ever falls. What is on the disk is the state before a write or the one after it, whole; anything else is refused, EG5005.
//! Does not: begin anew by itself where a state was. Only a directory that does not exist is a first start.
//!
//! `STATE/trust` holds `key` (0400), `floors` (0600), `pack-SHA256` (the imported trust pack) and `lock`. A write goes: new text with the
//! number N+1 beside the old, synced; renamed over it; directory synced; then the counter, where there is one, from N to N+1. At start the
//! counter may be equal to the text's number, or one less, when the power went before the last step: that step is then made up for.
//! Every other difference means that the text is not the last one that was written.

mod content;
mod counter;
mod storage;

use std::path::Path;
use std::path::PathBuf;

use aws_lc_rs::hmac;
use serde::Serialize;

pub use self::content::Remembered;
pub use self::counter::Counter;
pub use self::counter::CounterError;
pub use self::counter::CounterKind;
pub use self::counter::NoCounter;

use self::content::MAX_NAME;
use self::content::MAX_NAMES;
use self::content::MAX_STATE;
use self::content::Module;
use self::content::PackRef;
use self::storage::Directory;
use self::storage::Storage;
use crate::module::ModuleDigest;
use crate::module::sha256;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::time::Time;

/// The largest trust pack that is kept, in bytes.
pub(crate) const MAX_PACK: u64 = 4 << 20;

const FLOORS: &str = "floors";
const FLOORS_NEW: &str = "floors.new";
const KEY: &str = "key";
const PACK: &str = "pack-";

/// What was admitted last under a module's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The highest version that was admitted; nothing if none was ever signed.
    pub version: Option<u64>,
    /// The module that was admitted last.
    pub digest: ModuleDigest,
    /// When, as far as it was known.
    pub admitted_at: Time,
}

/// Why there is no state to go by, or why it cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The directory is there, and a part of it is not.
    #[error("the state directory lacks `{what}`: it was deleted, or restored in part")]
    Missing {
        /// The file's name.
        what: &'static str,
    },
    /// The text is not what was written.
    #[error("the state is damaged: {why}")]
    Damaged {
        /// How that shows.
        why: String,
    },
    /// An older state than the last one that was written.
    #[error("the state was set back: expected write {expected}, found {found}")]
    SetBack {
        /// What the counter, or this process, knows to have been written.
        expected: u64,
        /// What the file says.
        found: u64,
    },
    /// The counter was used, and there is no state, or one that is not bound to it.
    #[error("the counter stands at {counter}, so there was a state bound to it, and it is not this one")]
    Foreign {
        /// The counter's value.
        counter: u64,
    },
    /// The state is bound to a counter, and none is configured.
    #[error("the state is bound to a counter, and this host's file names none")]
    CounterGone,
    /// The counter gives no number.
    #[error("the state's counter cannot be used")]
    Counter(#[source] CounterError),
    /// A floor would fall.
    #[error("{what} would fall: expected at least {floor}, found {found}")]
    Falls {
        /// Of what the floor is.
        what: String,
        /// The floor.
        floor: u64,
        /// What was to be remembered instead.
        found: u64,
    },
    /// One number, two texts: nobody could say which of them is in force.
    #[error("{what} {number} was another text: expected sha256 {expected}, found {found}")]
    OtherText {
        /// Whose number it is.
        what: String,
        /// The number.
        number: u64,
        /// SHA-256 of the text that was accepted under it, in hex.
        expected: String,
        /// SHA-256 of the other, in hex.
        found: String,
    },
    /// A bound was reached.
    #[error("the state is full: at most {max} {what} are remembered")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// A name that no policy has.
    #[error("{name} is no module's name: expected 1 to {MAX_NAME} bytes")]
    Name {
        /// The name, escaped and cut.
        name: String,
    },
    /// The state could not be written as text.
    #[error("the state cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// The system said no.
    #[error("cannot {step} the state")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl From<StateError> for Rejection {
    fn from(error: StateError) -> Self {
        let mut found = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            found = format!("{found}: {cause}");
            source = cause.source();
        }
        match error {
            StateError::Falls { what, floor, found } => {
                Rejection::new(Code::Rollback, format!("{what} of at least {floor}"), found.to_string())
            }
            StateError::OtherText { what, number, expected, found } => {
                let expected = format!("{what} {number} to be the text with sha256 `{expected}`, which this host has accepted");
                Rejection::new(Code::Rollback, expected, format!("another text with sha256 `{found}`"))
                    .next("give the changed text a higher number, and sign it again")
            }
            _ => Rejection::new(Code::StateDamaged, "the state as it was last written", found),
        }
    }
}

fn io(step: &'static str) -> impl FnOnce(std::io::Error) -> StateError {
    move |source| StateError::Io { step, source }
}

/// The state of one host. Several processes may hold it: each change locks, reads what the others wrote, and writes.
pub struct State {
    storage: Box<dyn Storage>,
    key: hmac::Key,
    counter: Box<dyn Counter>,
    remembered: Remembered,
}

impl State {
    /// Opens the state in `dir`, which is `STATE/trust`; makes it if `dir` does not exist, whose parent must.
    ///
    /// # Errors
    /// [`StateError`]: whatever is there and is not the last state that was written is refused.
    pub fn open(dir: &Path, counter: Box<dyn Counter>) -> Result<Self, StateError> {
        match Directory::open(dir).map_err(io("open"))? {
            Some(directory) => Self::existing(Box::new(directory), counter),
            None => Self::first(dir, counter, Beginning::First),
        }
    }

    /// Begins anew, on the word of whoever administers the host: what was there is moved aside and kept for whoever asks what happened.
    /// All floors are lost: old releases, old revocation lists and old trust packs count again until newer ones were seen.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn reset(dir: &Path, counter: Box<dyn Counter>) -> Result<(Self, Option<PathBuf>), StateError> {
        let aside = storage::set_aside(dir).map_err(io("move aside"))?;
        Ok((Self::first(dir, counter, Beginning::Anew)?, aside))
    }

    /// What is remembered, without changing anything, or the right to. `None` if there is no state yet. The counter is not asked.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn look(dir: &Path) -> Result<Option<Self>, StateError> {
        let Some(directory) = Directory::open(dir).map_err(io("open"))? else { return Ok(None) };
        let key = key_of(&directory)?;
        let remembered = read(&directory, &key)?;
        Ok(Some(Self { storage: Box::new(directory), key, counter: Box::new(NoCounter), remembered }))
    }

    fn first(dir: &Path, mut counter: Box<dyn Counter>, beginning: Beginning) -> Result<Self, StateError> {
        let secret: [u8; 32] = aws_lc_rs::rand::generate(&aws_lc_rs::rand::SystemRandom::new())
            .map_err(|_| StateError::Damaged { why: "no random bytes for its key".into() })?
            .expose();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let mut remembered = Remembered::new();
        remembered.counter = bind(counter.as_mut(), beginning)?;
        let text = remembered.to_text(&key)?;
        match Directory::create(dir, &[(KEY, &secret, 0o400), (FLOORS, &text, 0o600)]).map_err(io("make"))? {
            Some(directory) => Ok(Self { storage: Box::new(directory), key, counter, remembered }),
            // Another process was first.
            None => Self::open(dir, counter),
        }
    }

    fn existing(storage: Box<dyn Storage>, counter: Box<dyn Counter>) -> Result<Self, StateError> {
        let key = key_of(storage.as_ref())?;
        let remembered = read(storage.as_ref(), &key)?;
        let mut state = Self { storage, key, counter, remembered };
        let guard = state.storage.lock().map_err(io("lock"))?;
        state.load()?;
        if state.remembered.counter.is_none() && state.counter.kind() != CounterKind::None {
            let mut next = state.remembered.clone();
            next.counter = bind(state.counter.as_mut(), Beginning::First)?;
            state.write(next)?;
        }
        drop(guard);
        Ok(state)
    }

    /// Reads again what other processes may have written.
    ///
    /// # Errors
    /// [`StateError`]; what was remembered before then stays.
    pub fn reload(&mut self) -> Result<(), StateError> {
        let _guard = self.storage.lock().map_err(io("lock"))?;
        self.load()
    }

    /// What is remembered.
    #[must_use]
    pub fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// Which counter the state is bound to.
    #[must_use]
    pub fn counter_kind(&self) -> CounterKind {
        if self.remembered.counter.is_some() { CounterKind::Tpm } else { CounterKind::None }
    }

    /// As [`Remembered::known`].
    #[must_use]
    pub fn known(&self, name: &str) -> Option<Known> {
        self.remembered.known(name)
    }

    /// As [`Remembered::floor_time`].
    #[must_use]
    pub fn floor_time(&self) -> Time {
        self.remembered.time
    }

    /// As [`Remembered::revocation_list_floor`].
    #[must_use]
    pub fn revocation_list_floor(&self) -> Option<u64> {
        self.remembered.revocation_list
    }

    /// As [`Remembered::policy_revision`].
    #[must_use]
    pub fn policy_revision(&self, name: &str) -> Option<u64> {
        self.remembered.policy_revision(name)
    }

    /// Remembers an admission: the version floor of `name` rises to `version`, the time floor to `proved`, the latest time that its evidence
    /// proved. Writes only if something changed. On the disk when it returns, so call it before the module runs.
    ///
    /// The same bytes without a version, such as by a plain signature after the release's bundle was lost, keep the version that they had.
    ///
    /// # Errors
    /// [`StateError::Falls`] for a version below the floor, and for none where other bytes had one; others if it cannot be written.
    pub fn admitted(
        &mut self,
        name: &str,
        version: Option<u64>,
        digest: ModuleDigest,
        at: Time,
        proved: Option<Time>,
    ) -> Result<(), StateError> {
        check_name(name)?;
        self.update(|next| {
            let digest = digest.to_string();
            let before = next.modules.get(name);
            let floor = before.and_then(|module| module.version);
            let version = version.or(floor.filter(|_| before.is_some_and(|module| module.digest == digest)));
            if let Some(floor) = floor
                && version.is_none_or(|version| version < floor)
            {
                return Err(StateError::Falls { what: format!("the version of {}", shown(name)), floor, found: version.unwrap_or(0) });
            }
            if next.modules.len() >= MAX_NAMES && !next.modules.contains_key(name) {
                return Err(StateError::Full { what: "modules", max: MAX_NAMES as u64 });
            }
            let same = next.modules.get(name).is_some_and(|module| module.version == version && module.digest == digest);
            let later = proved.is_some_and(|proved| proved > next.time);
            if same && !later {
                return Ok(false);
            }
            if !same {
                next.modules.insert(name.to_owned(), Module { version, digest, admitted: at });
            }
            next.time = next.time.max(proved.unwrap_or(next.time));
            Ok(true)
        })
    }

    /// Raises the time floor: by evidence, or by the boot clock while the daemon runs. A time that is not later changes nothing.
    /// Each call that does writes, and a TPM's counter wears: call it every few hours, not every second.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn raise_time(&mut self, proved: Time) -> Result<(), StateError> {
        if proved <= self.remembered.time {
            return Ok(());
        }
        self.update(|next| {
            let later = proved > next.time;
            next.time = next.time.max(proved);
            Ok(later)
        })
    }

    /// Remembers the revision of a module's signed policy that is in force, and `text`, the SHA-256 of the text that has it: a revision stands for
    /// one text. On the disk when it returns.
    ///
    /// # Errors
    /// [`StateError::Falls`] for a lower one than before, [`StateError::OtherText`] for the same with another text; others if it cannot be written.
    pub fn raise_policy_revision(&mut self, name: &str, revision: u64, text: &[u8; 32]) -> Result<(), StateError> {
        check_name(name)?;
        let text = hex::encode(text);
        self.update(|next| {
            let what = || format!("the revision of the policy of {}", shown(name));
            match (next.policies.get(name), next.policy_texts.get(name)) {
                (Some(floor), _) if revision < *floor => return Err(StateError::Falls { what: what(), floor: *floor, found: revision }),
                (Some(floor), Some(known)) if revision == *floor && *known == text => return Ok(false),
                (Some(floor), Some(known)) if revision == *floor => {
                    return Err(StateError::OtherText { what: what(), number: revision, expected: known.clone(), found: text });
                }
                (None, _) if next.policies.len() >= MAX_NAMES => {
                    return Err(StateError::Full { what: "policies", max: MAX_NAMES as u64 });
                }
                _ => {}
            }
            next.policies.insert(name.to_owned(), revision);
            next.policy_texts.insert(name.to_owned(), text);
            Ok(true)
        })
    }

    /// The trust pack in force, exactly as it was imported.
    pub(crate) fn pack(&self) -> Result<Option<Vec<u8>>, StateError> {
        let Some(pack) = &self.remembered.pack else { return Ok(None) };
        let bytes = self.storage.read(&format!("{PACK}{}", pack.sha256), MAX_PACK).map_err(io("read the trust pack of"))?;
        let bytes = bytes.ok_or(StateError::Missing { what: "the trust pack" })?;
        if hex::encode(sha256(&bytes)) != pack.sha256 {
            return Err(StateError::Damaged { why: "the trust pack is not the one that was imported".into() });
        }
        Ok(Some(bytes))
    }

    /// Puts a trust pack in force: `list` is the number of its revocation list, `proved` a time that it proves to have passed.
    /// `before` is the pack that it was checked against; if another is in force by now, nothing happens.
    pub(crate) fn set_pack(
        &mut self,
        before: Option<&[u8]>,
        bytes: &[u8],
        list: Option<u64>,
        imported: Time,
        proved: Option<Time>,
    ) -> Result<(), StateError> {
        if bytes.len() as u64 > MAX_PACK {
            return Err(StateError::Full { what: "bytes of a trust pack", max: MAX_PACK });
        }
        let sha256 = hex::encode(sha256(bytes));
        let before = before.map(|before| hex::encode(crate::module::sha256(before)));
        let name = format!("{PACK}{sha256}");
        let pack = PackRef { sha256, imported };
        let _guard = self.storage.lock().map_err(io("lock"))?;
        self.load()?;
        if self.remembered.pack.as_ref().map(|pack| &pack.sha256) != before.as_ref() {
            return Err(StateError::Damaged { why: "another process imported a trust pack meanwhile; try again".into() });
        }
        let mut next = self.remembered.clone();
        if let Some(floor) = next.revocation_list
            && list.is_none_or(|list| list < floor)
        {
            return Err(StateError::Falls { what: "the revocation list's number".into(), floor, found: list.unwrap_or(0) });
        }
        next.revocation_list = list;
        next.time = next.time.max(proved.unwrap_or(next.time));
        next.pack = Some(pack);
        // The pack is on the disk before the text that names it; until then the old one is in force.
        self.storage.put(&name, bytes).map_err(io("write the trust pack of"))?;
        self.write(next)?;
        // Another process may have read the text before this write, and be about to open the pack that it named: that one stays until the next import.
        let keep = [Some(name), before.map(|before| format!("{PACK}{before}"))];
        // The new pack is in force; to report a failure now would say that it is not.
        self.remove_packs_but(&keep).ok();
        Ok(())
    }

    /// Packs that nothing names any more. A failure leaves rubbish and no harm; the next import tries again.
    fn remove_packs_but(&mut self, keep: &[Option<String>]) -> Result<(), StateError> {
        for name in self.storage.names().map_err(io("list"))? {
            if name.starts_with(PACK) && !keep.contains(&Some(name.clone())) {
                self.storage.remove(&name).map_err(io("remove an old trust pack of"))?;
            }
        }
        Ok(())
    }

    fn update(&mut self, change: impl FnOnce(&mut Remembered) -> Result<bool, StateError>) -> Result<(), StateError> {
        let _guard = self.storage.lock().map_err(io("lock"))?;
        self.load()?;
        let mut next = self.remembered.clone();
        if change(&mut next)? { self.write(next) } else { Ok(()) }
    }

    /// Reads what is on the disk, and holds it against the counter and against what this process has seen. The caller holds the lock.
    fn load(&mut self) -> Result<(), StateError> {
        let found = read(self.storage.as_ref(), &self.key)?;
        if found.write < self.remembered.write {
            return Err(StateError::SetBack { expected: self.remembered.write, found: found.write });
        }
        match (found.counter, self.counter.kind()) {
            // Bound once, bound for good: a file that names no counter is none that this program wrote since.
            (None, _) => {
                if let Some(counter) = self.remembered.counter {
                    return Err(StateError::Foreign { counter });
                }
            }
            (Some(_), CounterKind::None) => return Err(StateError::CounterGone),
            (Some(written), CounterKind::Tpm) => {
                let value = self.counter.get().map_err(StateError::Counter)?;
                if value.checked_add(1) == Some(written) {
                    // The text was written, and the counter did not rise: the power went, or the disk failed to sync. It rises only for what is on the disk.
                    self.storage.sync().map_err(io("sync"))?;
                    raise(self.counter.as_mut(), written)?;
                } else if value != written {
                    return Err(StateError::SetBack { expected: value, found: written });
                }
            }
        }
        self.remembered = found;
        Ok(())
    }

    /// One write, in the order that the head of this file gives. The caller holds the lock and has loaded.
    fn write(&mut self, mut next: Remembered) -> Result<(), StateError> {
        next.write = self.remembered.write.saturating_add(1);
        // A counter that was bound just now has its value already; otherwise this write is one further.
        let bound = self.remembered.counter.is_some();
        if bound {
            next.counter = self.remembered.counter.map(|value| value.saturating_add(1));
        }
        let text = next.to_text(&self.key)?;
        self.storage.put(FLOORS_NEW, &text).map_err(io("write"))?;
        self.storage.rename(FLOORS_NEW, FLOORS).map_err(io("replace"))?;
        self.storage.sync().map_err(io("sync"))?;
        if let (true, Some(value)) = (bound, next.counter) {
            raise(self.counter.as_mut(), value)?;
        }
        self.remembered = next;
        Ok(())
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("remembered", &self.remembered).finish_non_exhaustive()
    }
}

/// Whether a counter that was used before may be bound to a new state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// No: there was a state.
    First,
    /// Yes: whoever administers the host said so.
    Anew,
}

/// Binds a counter to a state that is not bound to one. Its first value is the counter's to choose, so it rises before the state is written; a
/// power cut between the two leaves a used counter without a state, which is refused until the state is reset.
fn bind(counter: &mut dyn Counter, beginning: Beginning) -> Result<Option<u64>, StateError> {
    if counter.kind() == CounterKind::None {
        return Ok(None);
    }
    match counter.get() {
        Err(CounterError::Unused) => {}
        Ok(_) if beginning == Beginning::Anew => {}
        Ok(counter) => return Err(StateError::Foreign { counter }),
        Err(error) => return Err(StateError::Counter(error)),
    }
    counter.increment().map(Some).map_err(StateError::Counter)
}

/// The counter's step of a write.
fn raise(counter: &mut dyn Counter, to: u64) -> Result<(), StateError> {
    match counter.increment().map_err(StateError::Counter)? {
        value if value == to => Ok(()),
        value => Err(StateError::SetBack { expected: value, found: to }),
    }
}

fn key_of(storage: &dyn Storage) -> Result<hmac::Key, StateError> {
    let secret = storage.read(KEY, 32).map_err(io("read the key of"))?.ok_or(StateError::Missing { what: KEY })?;
    if secret.len() != 32 {
        return Err(StateError::Damaged { why: "its key was cut short".into() });
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &secret))
}

fn read(storage: &dyn Storage, key: &hmac::Key) -> Result<Remembered, StateError> {
    let text = storage.read(FLOORS, MAX_STATE).map_err(io("read"))?.ok_or(StateError::Missing { what: FLOORS })?;
    Remembered::from_text(&text, key)
}

fn check_name(name: &str) -> Result<(), StateError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(StateError::Name { name: shown(name) });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
