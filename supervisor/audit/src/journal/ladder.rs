//! What the journal does before it says that its disk is full: it lets old calls go, so that events go on.
//!
//! Runs in: daemon, on the journal's thread.
//! Invariant: an event is never deleted, nor the segment of calls that is being written. What goes, goes as for the budget: under a frame that is sealed
//! before. For that frame there is a reserve, because a full disk has no room even to say what is taken from it.
//! Then, if that is wished, it only counts calls, and the last segment of calls may go as well.
//! Does not: decide what happens when nothing of this helps; whoever appends is told, as without a reserve.

use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use crate::error::JournalError;
use crate::event::Event;
use crate::frame::FrameType;
use crate::journal::Journal;
use crate::segment;
use crate::segment::Tier;

/// Room on the journal's disk that nothing else can take.
#[derive(Debug)]
pub(super) struct Reserve {
    /// How much there should be, in bytes.
    wanted: Option<u64>,
    there: bool,
    /// It was there, and was given up.
    spent: bool,
    tried: Option<Instant>,
    /// What was deleted and is not told yet.
    made: Option<Made>,
    /// Whether calls may be only counted when nothing else helps.
    summarize: bool,
    /// Calls are only counted since this one, for want of room.
    counting: Option<Counting>,
}

/// A time in which calls are only counted.
#[derive(Debug)]
struct Counting {
    from: u64,
    reason: String,
    told: bool,
    /// When it was last looked whether there is room again.
    looked: Instant,
}

/// Room that was made.
#[derive(Debug)]
struct Made {
    reason: String,
    segments: u64,
    calls: u64,
    bytes: u64,
}

impl Reserve {
    pub const fn new(wanted: Option<u64>, summarize: bool) -> Self {
        Self { wanted, there: false, spent: false, tried: None, made: None, summarize, counting: None }
    }

    /// Bytes that it takes of the disk.
    pub fn bytes(&self) -> u64 {
        self.wanted.filter(|_| self.there).unwrap_or(0)
    }
}

impl Journal {
    /// Takes a step, and takes it again as often as room for it can be made on a full disk. What fails for want of room has written nothing.
    pub(super) fn with_room<T>(&mut self, mut step: impl FnMut(&mut Self) -> Result<T, JournalError>) -> Result<T, JournalError> {
        loop {
            match step(self) {
                Err(JournalError::Full { dir, source }) if !self.broken => {
                    // Why it is full is what counts, not why nothing could be done about it: that is most often the same.
                    if !self.make_room(&source).unwrap_or_default() && !self.step_down(&source).unwrap_or_default() {
                        return Err(JournalError::Full { dir, source });
                    }
                }
                Ok(done) => {
                    self.tell_room()?;
                    return Ok(done);
                }
                error => return error,
            }
        }
    }

    /// Deletes the oldest segment of calls, and as many more as it takes to have the reserve again. False when there is none but the one being written,
    /// or no keys that could sign for it.
    fn make_room(&mut self, reason: &std::io::Error) -> Result<bool, JournalError> {
        let mut gone = false;
        while self.sealer.is_some() {
            match self.delete_oldest(reason) {
                Ok(true) => gone = true,
                Ok(false) => break,
                // There is room for what went before.
                Err(_) if gone => break,
                Err(error) => return Err(error),
            }
            // Before anybody else takes the room: without it the next step down has no room for its frame.
            if self.reserve.wanted.is_none() || self.reserve.there {
                break;
            }
        }
        Ok(gone)
    }

    /// The last step: calls are only counted. If even that does not help, the calls that are left go. False when there is nothing to do any more.
    fn step_down(&mut self, reason: &std::io::Error) -> Result<bool, JournalError> {
        if !self.reserve.summarize || self.sealer.is_none() {
            return Ok(false);
        }
        if self.detail() {
            self.reserve.counting =
                Some(Counting { from: self.detail.next_seq, reason: reason.to_string(), told: false, looked: Instant::now() });
            self.set_detail(false);
            return Ok(true);
        }
        // There is no further step that the reserve would be for: what is left of it is room for events and counts.
        let had = self.reserve.there;
        self.give_up_reserve()?;
        self.close_segment(Tier::Detail)?;
        Ok(self.retire_detail(0)? > 0 || had)
    }

    /// Calls are written one by one again, once there is room for that, for the reserve, and for what is written meanwhile.
    fn step_up(&mut self) -> Result<(), JournalError> {
        let Some(counting) = self.reserve.counting.as_mut().filter(|counting| counting.looked.elapsed() >= TRY_AGAIN) else {
            return Ok(());
        };
        counting.looked = Instant::now();
        if !self.reserve.there || !self.has_room(segment::SEGMENT_LEN + MARGIN) {
            return Ok(());
        }
        let Some(counting) = self.reserve.counting.take() else { return Ok(()) };
        self.set_detail(true);
        let from = self.detail.next_seq;
        let event = Event::CallsKeptAgain { from, only_counted: from.saturating_sub(counting.from) };
        self.append_event(&event).and_then(|_| self.sync_tiers())
    }

    /// Whether the disk has so much room.
    fn has_room(&self, bytes: u64) -> bool {
        rustix::fs::statvfs(&self.dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes)
    }

    fn delete_oldest(&mut self, reason: &std::io::Error) -> Result<bool, JournalError> {
        let io = |what| JournalError::io(what, &self.dir);
        let segments = segment::list(&self.dir, Tier::Detail).map_err(io("list segments"))?;
        let [(_, oldest), others @ ..] = segments.as_slice() else { return Ok(false) };
        if others.is_empty() {
            return Ok(false);
        }
        let mut keep = 0;
        for (_, path) in others {
            keep += std::fs::metadata(path).map_err(io("read a segment"))?.len();
        }
        let bytes = segment::read(oldest).map_err(io("read a segment"))?;
        let scan = segment::scan(&bytes);
        let calls =
            scan.frames.iter().filter(|(_, header)| header.kind == FrameType::Detail).map(|(_, header)| u64::from(header.n)).sum::<u64>();
        self.give_up_reserve()?;
        let retired = self.retire_detail(keep);
        self.remake_reserve();
        let gone = retired?;
        if gone > 0 {
            let made = self.reserve.made.get_or_insert_with(|| Made { reason: reason.to_string(), segments: 0, calls: 0, bytes: 0 });
            made.segments += gone as u64;
            made.calls += calls;
            made.bytes += bytes.len() as u64;
        }
        Ok(gone > 0)
    }

    /// Says what was deleted, once there is room to say it.
    fn tell_room(&mut self) -> Result<(), JournalError> {
        if let Some(counting) = self.reserve.counting.as_mut().filter(|counting| !counting.told) {
            counting.told = true;
            let event = Event::CallsOnlyCounted { reason: counting.reason.clone(), from: counting.from };
            match self.append_event(&event).and_then(|_| self.sync_tiers()) {
                Err(JournalError::Full { .. }) if !self.broken => {
                    self.reserve.counting.iter_mut().for_each(|counting| counting.told = false);
                }
                other => other?,
            }
        }
        let Some(made) = self.reserve.made.take() else { return Ok(()) };
        let Made { reason, segments, calls, bytes } = &made;
        let (reason, segments, calls, bytes) = (reason.clone(), *segments, *calls, *bytes);
        let event = Event::JournalRoomMade { reason, segments, calls, bytes, reserve_bytes: self.reserve.bytes() };
        match self.append_event(&event).and_then(|_| self.sync_tiers()) {
            // The frames that the deletions stand under say the same. With the next thing that there is room for, this does, too.
            Err(JournalError::Full { .. }) if !self.broken => self.reserve.made = Some(made),
            other => other?,
        }
        Ok(())
    }

    /// Looks for a reserve of an earlier life, of which nothing is left where the disk is full.
    pub(super) fn find_reserve(&mut self) {
        use std::os::unix::fs::MetadataExt as _;
        let Some(wanted) = self.reserve.wanted else { return };
        let found = std::fs::metadata(self.reserve_path());
        self.reserve.there = found.is_ok_and(|found| found.len() == wanted && found.blocks().saturating_mul(512) >= wanted);
    }

    /// Makes the reserve if it is not there and the disk has room for it and for what is written meanwhile. Not more often than every ten seconds.
    pub(super) fn keep_reserve(&mut self) -> Result<(), JournalError> {
        self.step_up()?;
        if self.reserve.there || self.reserve.tried.is_some_and(|tried| tried.elapsed() < TRY_AGAIN) {
            return Ok(());
        }
        self.reserve.tried = Some(Instant::now());
        let Some(wanted) = self.reserve.wanted else { return Ok(()) };
        if !self.has_room(wanted.saturating_add(MARGIN)) || !self.remake_reserve() {
            return Ok(());
        }
        if std::mem::take(&mut self.reserve.spent) {
            self.append_event(&Event::JournalReserveRemade { bytes: wanted }).and_then(|_| self.sync_tiers())?;
        }
        Ok(())
    }

    /// False when the disk has no room for it, or does not say so.
    fn remake_reserve(&mut self) -> bool {
        let Some(wanted) = self.reserve.wanted else { return false };
        let path = self.reserve_path();
        let made = || -> std::io::Result<()> {
            let file = self.disk.open_or_create(&path, 0o600)?;
            if file.len()? != wanted {
                file.set_len(0)?;
            }
            file.allocate(wanted)?;
            self.disk.sync_dir(&self.dir)
        };
        self.reserve.there = made().is_ok();
        if !self.reserve.there {
            // A part of it is room that is wanted elsewhere.
            let _ = self.disk.remove(&path);
        }
        self.reserve.there
    }

    fn give_up_reserve(&mut self) -> Result<(), JournalError> {
        if std::mem::take(&mut self.reserve.there) {
            self.reserve.spent = true;
            self.disk.remove(&self.reserve_path()).map_err(JournalError::io("give up the reserve", &self.dir))?;
        }
        Ok(())
    }

    fn reserve_path(&self) -> PathBuf {
        self.dir.join("reserve")
    }
}

/// How often a reserve is missed before it is tried to be made again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// What must be left beside the reserve: a segment of each tier.
const MARGIN: u64 = 3 * segment::SEGMENT_LEN;
