//! Quotas of granted directories: how many bytes and names there may be in one, as `du` counts them.
//!
//! Runs in: worker, on guest threads.
//! Invariant: before a call that can make a directory grow has any effect, the most that it can grow by is reserved. What is counted is never less than what
//! is there, so that no sequence of calls, in however many instances, goes beyond the quota.
//!
//! The count only rises. Overwriting, deleting and truncating give nothing back by themselves; when a reservation does not fit, the directory is measured
//! anew, and what calls under way have reserved is added to that. A file that was deleted while somebody had one open cannot be measured, so until nothing is
//! open any more nothing is given back.
//! Does not: hold against native code in a worker that was broken into, which has the directory's descriptor.

pub(crate) mod filesystem;
mod measure;
pub(crate) mod stream;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use edgeguard_wire::worker::Quota;

use self::measure::measure;

/// How much there is, or is reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Bytes on the disk, in whole blocks.
    pub bytes: u64,
    /// Names: files, directories, links.
    pub names: u64,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), names: self.names.saturating_add(other.names) }
    }

    fn minus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), names: self.names.saturating_sub(other.names) }
    }

    fn within(self, quota: &Quota) -> bool {
        quota.bytes.is_none_or(|most| self.bytes <= most) && quota.files.is_none_or(|most| self.names <= most)
    }
}

/// What a call may make a directory grow by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// A file, by so many bytes.
    Bytes(u64),
    /// One more name.
    Name,
    /// A directory, by what a name takes that takes the place of another.
    Entry,
}

/// It does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded;

/// The account of one directory, shared by all instances.
#[derive(Debug)]
pub(crate) struct Ledger {
    dir: OwnedFd,
    most: Quota,
    /// Bytes of a block of its file system.
    block: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Never less than what is there.
    counted: Amount,
    /// The part of it that calls under way have reserved.
    pending: Amount,
    /// Files and streams that guests have open in it.
    open: u64,
    /// Something was deleted or replaced while something was open: it may still be there, under no name.
    nameless: bool,
    /// Since it was measured something happened that measuring may show as less: a call is over, which took less than it had reserved.
    stale: bool,
    /// When that was.
    measured: Option<Instant>,
}

impl State {
    /// Whether to measure: a call that does not fit shall not make all others wait each time.
    fn is_worth_measuring(&self) -> bool {
        !self.nameless && (self.stale || self.measured.is_none_or(|at| at.elapsed() >= MEASURED_FOR))
    }
}

impl Ledger {
    /// The account of what lies in `dir` now.
    ///
    /// # Errors
    /// The directory cannot be measured.
    pub fn new(dir: OwnedFd, most: Quota) -> io::Result<Self> {
        let block = u64::try_from(rustix::fs::fstat(&dir)?.st_blksize).unwrap_or(0).clamp(LEAST_BLOCK, MOST_BLOCK);
        let counted = measure(&dir)?;
        Ok(Self { dir, most, block, state: Mutex::new(State { counted, ..State::default() }) })
    }

    /// Reserves room for a call.
    ///
    /// # Errors
    /// [`Exceeded`]
    pub fn reserve(self: &Arc<Self>, growth: Growth) -> Result<Reservation, Exceeded> {
        // A write may touch a block at each end, and need one more to say where they are; a name may need one in its directory, and one of its own.
        let most = match growth {
            Growth::Bytes(bytes) => Amount { bytes: bytes.saturating_add(3 * self.block), names: 0 },
            Growth::Name => Amount { bytes: 2 * self.block, names: 1 },
            Growth::Entry => Amount { bytes: self.block, names: 0 },
        };
        let mut state = self.state();
        if !state.counted.plus(most).within(&self.most) {
            if !state.is_worth_measuring() {
                return Err(Exceeded);
            }
            // Under the lock: whatever begins now waits, and whatever is under way is pending.
            let there = measure(&self.dir).map_err(|_| Exceeded)?;
            state.counted = there.plus(state.pending);
            state.stale = false;
            state.measured = Some(Instant::now());
            if !state.counted.plus(most).within(&self.most) {
                return Err(Exceeded);
            }
        }
        state.counted = state.counted.plus(most);
        state.pending = state.pending.plus(most);
        Ok(Reservation { ledger: Arc::clone(self), most })
    }

    /// A guest opened something in it.
    pub fn opened(&self) {
        let mut state = self.state();
        state.open = state.open.saturating_add(1);
    }

    /// A guest closed something in it.
    pub fn closed(&self) {
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        state.nameless &= state.open > 0;
        state.stale = true;
    }

    /// A guest is about to take a name away, or to give it to something else.
    pub fn unnamed(&self) {
        let mut state = self.state();
        state.nameless |= state.open > 0;
        state.stale = true;
    }

    /// A guest is about to open something: it counts as open from before the call on, whatever becomes of that.
    pub fn opening(self: &Arc<Self>) -> Opening {
        self.opened();
        Opening(Arc::clone(self))
    }

    /// A thread that panicked in here has at worst counted too much.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is being opened.
#[derive(Debug)]
pub(crate) struct Opening(Arc<Ledger>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Room that a call has, until its effect can be measured.
#[derive(Debug)]
pub(crate) struct Reservation {
    ledger: Arc<Ledger>,
    most: Amount,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        state.pending = state.pending.minus(self.most);
        state.stale = true;
    }
}

/// The accounts of a module's directories, by their rules; of those without a quota there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledgers(Arc<[Option<Arc<Ledger>>]>);

impl Ledgers {
    /// In the order of the directories.
    pub fn new(ledgers: Vec<Option<Ledger>>) -> Self {
        Self(ledgers.into_iter().map(|ledger| ledger.map(Arc::new)).collect())
    }

    /// That of a rule; rules count from 1.
    pub fn of(&self, rule: u16) -> Option<&Arc<Ledger>> {
        self.0.get(usize::from(rule.checked_sub(1)?))?.as_ref()
    }
}

/// For so long a directory is taken to be as it was measured, if no guest did anything in it.
const MEASURED_FOR: Duration = Duration::from_secs(1);

/// What file systems have for blocks. One that says nothing sensible is taken for one of these.
const LEAST_BLOCK: u64 = 4096;
const MOST_BLOCK: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::fs;
    use std::fs::File;

    use tempfile::TempDir;

    use super::*;

    fn ledger(bytes: Option<u64>, files: Option<u64>) -> (TempDir, Arc<Ledger>) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(File::open(dir.path()).unwrap().into(), Quota { bytes, files }).unwrap();
        (dir, Arc::new(ledger))
    }

    #[test]
    fn names_are_counted_and_given_back_when_they_are_gone() {
        let (dir, ledger) = ledger(None, Some(2));
        for name in ["a", "b"] {
            ledger.reserve(Growth::Name).unwrap();
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(ledger.reserve(Growth::Name).unwrap_err(), Exceeded);
        ledger.unnamed();
        fs::remove_file(dir.path().join("a")).unwrap();
        ledger.reserve(Growth::Name).unwrap();
    }

    #[test]
    fn overwriting_does_not_use_up_the_quota() {
        let (dir, ledger) = ledger(Some(256 << 10), None);
        for _ in 0..1000 {
            let _room = ledger.reserve(Growth::Bytes(64 << 10)).unwrap();
            fs::write(dir.path().join("a"), vec![1; 64 << 10]).unwrap();
        }
    }

    #[test]
    fn what_is_under_way_is_not_given_back_by_measuring() {
        let (_dir, ledger) = ledger(Some(1 << 20), None);
        let first = ledger.reserve(Growth::Bytes(600 << 10)).unwrap();
        assert_eq!(ledger.reserve(Growth::Bytes(600 << 10)).unwrap_err(), Exceeded);
        drop(first);
        // It was reserved and did not happen.
        ledger.reserve(Growth::Bytes(600 << 10)).unwrap();
    }

    #[test]
    fn what_has_no_name_any_more_and_is_open_still_counts() {
        let (dir, ledger) = ledger(Some(1 << 20), None);
        let path = dir.path().join("a");
        ledger.opened();
        drop(ledger.reserve(Growth::Bytes(700 << 10)).unwrap());
        fs::write(&path, vec![1; 700 << 10]).unwrap();
        let held = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        ledger.unnamed();
        assert_eq!(ledger.reserve(Growth::Bytes(700 << 10)).unwrap_err(), Exceeded);
        drop(held);
        ledger.closed();
        ledger.reserve(Growth::Bytes(700 << 10)).unwrap();
    }

    #[test]
    fn what_lay_there_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old"), vec![1; 900 << 10]).unwrap();
        let ledger = Ledger::new(File::open(dir.path()).unwrap().into(), Quota { bytes: Some(1 << 20), files: Some(1) }).unwrap();
        let ledger = Arc::new(ledger);
        assert_eq!(ledger.reserve(Growth::Bytes(200 << 10)).unwrap_err(), Exceeded);
        assert_eq!(ledger.reserve(Growth::Name).unwrap_err(), Exceeded);
    }
}
