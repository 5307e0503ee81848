//! The journal, for writing: security events that are on the disk before they are acted on, and every call of every guest.
//!
//! Runs in: daemon, on one thread.
//! Invariant: what [`Journal::event`] acknowledged as durable is on the disk together with every frame before it. A frame is written whole or the
//! journal takes nothing more. One number counts the frames of all tiers.
//! Invariant: with keys, at most 1024 frames or one second of them are without a seal, and only frames on the disk are sealed.
//! Does not: delete anything but segments of calls and counts that are over their budget, and none of which a sealed frame does not say so.

mod detail;
mod erase;
mod frames;
mod ladder;
mod summary;
mod upkeep;

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serde::Deserialize;
use serde::Serialize;

use crate::buffer::Buffer;
use crate::clock::boottime_ns;
use crate::columns::Encoder;
use crate::dict::Interner;
use crate::dict::Source;
use crate::disk::Disk;
use crate::disk::Observer;
use crate::error::JournalError;
use crate::event::Event;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::frame::Header;
pub use crate::journal::erase::Erase;
pub use crate::journal::erase::Erased;
use crate::journal::ladder::Reserve;
use crate::journal::summary::Counter;
use crate::keys::Keys;
use crate::leaves::Leaves;
use crate::payload::Boot;
use crate::payload::Genesis;
use crate::payload::NAME;
use crate::payload::event_value;
use crate::payload::guest_text;
use crate::payload::value_json;
use crate::position::Position;
use crate::record::Record;
use crate::recover;
use crate::recover::Recovery;
use crate::seal;
use crate::seal::Sealer;
use crate::segment::Segment;
use crate::segment::Tier;
use crate::text::cut;

/// What is not durable at once is on the disk after this long, if the journal is [flushed](Journal::flush) so often.
pub const SYNC_WITHIN: Duration = Duration::from_secs(1);

/// The journal, for writing.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    disk: Disk,
    /// Held for its lock.
    _lock: File,
    leaves: Leaves,
    sealer: Option<Sealer>,
    detail_budget: Option<u64>,
    budget: Option<u64>,
    /// A segment of calls or counts was begun since the budget was looked at.
    detail_grew: bool,
    security: Writer,
    detail: Writer,
    counter: Counter,
    next_frame: u64,
    /// All frames below this number are on the disk.
    synced: u64,
    unsynced_since: Option<Instant>,
    /// Calls that are not in a frame yet: one frame each. There is more than one only while the disk takes nothing.
    buffers: VecDeque<Buffer>,
    interner: Interner,
    /// Names in the current segment of events.
    denied: Interner,
    encoder: Encoder,
    compressor: Compressor,
    frame: Vec<u8>,
    broken: bool,
    closed: bool,
    stats: Stats,
    reserve: Reserve,
}

/// How a journal is opened.
#[derive(Debug, Default)]
pub struct Options {
    /// What it is sealed with. Without keys nothing is signed, and a journal that was sealed before does not open.
    pub keys: Option<Keys>,
    /// Bytes that segments of calls may take, the one being written included; the oldest go first, and a sealed frame says so. Needs keys.
    pub detail_budget: Option<u64>,
    /// Bytes that the whole journal may take. Calls get what events and counts leave of it, and at least half; counts an eighth; events are never deleted. Needs keys.
    pub budget: Option<u64>,
    /// Bytes of room on the disk that are kept free for the journal, in a file `reserve`. On a full disk the oldest calls are deleted with their help.
    pub reserve: Option<u64>,
    /// On a full disk without older calls to delete, calls are only counted until there is room again; else whoever appends is told that it is full. Needs keys.
    pub summarize: bool,
    /// Who is told of every change to the disk; for tests.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Options {
    /// Sealed with these keys.
    #[must_use]
    pub fn sealed(keys: Keys) -> Self {
        Self { keys: Some(keys), ..Self::default() }
    }
}

/// Counts since the journal was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Frames written.
    pub frames: u64,
    /// Security events written.
    pub events: u64,
    /// Calls taken, those in the buffer included.
    pub records: u64,
    /// Bytes of all frames.
    pub bytes: u64,
    /// Of those, bytes of calls and their dictionaries.
    pub detail_bytes: u64,
    /// Of those, bytes of counts and their dictionaries.
    #[serde(default)]
    pub summary_bytes: u64,
    /// Calls that were neither written nor kept, because the disk took nothing for too long.
    pub lost: u64,
    /// Times that the disk was waited for.
    pub syncs: u64,
}

/// One tier's place on the disk.
#[derive(Debug)]
pub(crate) struct Writer {
    pub segment: Option<Segment>,
    pub next_seq: u64,
}

struct Compressor(zstd::bulk::Compressor<'static>);

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

impl Journal {
    /// Opens the journal in this folder, making it if there is none, and writes down how it was found. It is not sealed.
    ///
    /// `origin` says who writes: a name that the readers of many journals tell this one by.
    ///
    /// # Errors
    /// Those of [`Journal::open_with`].
    pub fn open(dir: &Path, origin: &str) -> Result<(Self, Recovery), JournalError> {
        Self::open_with(dir, origin, Options::default())
    }

    /// Opens it like [`Journal::open`], with keys to seal it.
    ///
    /// # Errors
    /// [`JournalError::Locked`] when another process has it open; [`JournalError::Full`]; [`JournalError::Io`]. A damaged journal opens: what is
    /// damaged stays as it is for `audit verify` to name, and new segments are begun behind it. [`JournalError::Keys`] and
    /// [`JournalError::OtherKeys`] when the keys cannot go on where the journal's last epoch ended; [`JournalError::Unsealed`] when a sealed journal
    /// is opened without keys.
    pub fn open_with(dir: &Path, origin: &str, options: Options) -> Result<(Self, Recovery), JournalError> {
        let disk = Disk::watched(options.observer);
        let lock = recover::make_and_lock(dir)?;
        let last = options.keys.as_ref().map(|keys| seal::last(dir, keys)).transpose()?.unwrap_or_default();
        let mut sealed = last.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        if let Some(keys) = &options.keys {
            sealed = sealed.max(seal::by_epoch(dir, keys)?);
        }
        if options.keys.is_none() {
            let note = seal::last_epoch(dir, u64::MAX).map_err(JournalError::io("look for seals", dir))?;
            if note.is_some() || dir.join(seal::CHECKPOINTS).exists() || options.detail_budget.is_some() || options.budget.is_some() {
                return Err(JournalError::Unsealed);
            }
        }
        let mut found = recover::recover(dir, &disk, sealed)?;
        // The names of `leaves` and of the folders, before a frame relies on them.
        disk.sync_dir(dir).map_err(JournalError::io("sync the folder", dir))?;
        let compressor = zstd::bulk::Compressor::new(1).map_err(JournalError::Compress)?;
        let (origin, _) = cut(origin, MAX_ORIGIN);
        let mut sealer = None;
        if let Some(keys) = options.keys {
            let (with_keys, damage) = Sealer::open(dir, &disk, keys, origin, &found.leaves, found.next_frame, &last)?;
            if found.recovery.damage.is_empty() {
                found.recovery.damage = damage;
            }
            sealer = Some(with_keys);
        }
        let mut journal = Self {
            dir: dir.to_owned(),
            disk,
            _lock: lock,
            leaves: found.leaves,
            sealer,
            detail_budget: options.detail_budget,
            budget: options.budget,
            detail_grew: true,
            security: found.security,
            detail: found.detail,
            counter: Counter::new(found.summary, found.counted, found.window),
            next_frame: found.next_frame,
            synced: 0,
            unsynced_since: None,
            buffers: VecDeque::new(),
            interner: Interner::default(),
            denied: Interner::behind(found.names),
            encoder: Encoder::default(),
            compressor: Compressor(compressor),
            frame: Vec::new(),
            broken: false,
            closed: false,
            stats: Stats::default(),
            reserve: Reserve::new(options.reserve, options.summarize),
        };
        // What was found is on the disk before anything is built on it.
        journal.sync_files()?;
        journal.find_reserve();
        if found.recovery.damage.is_empty() {
            journal.finish_erasures(sealed)?;
        }
        journal.resume_counting(!found.recovery.damage.is_empty())?;
        if found.recovery.first_open {
            let identity = journal.sealer.as_ref().map(Sealer::verifier).transpose()?.map(|key| key.to_string());
            let genesis = Genesis { origin: origin.to_owned(), identity };
            journal.with_room(|journal| journal.own_frame(FrameType::Genesis, &genesis))?;
        }
        let boot = Boot {
            origin: origin.to_owned(),
            boot_id: boot_id(dir)?,
            head: journal.head()?,
            recovery: found.recovery.clone(),
            sealed: journal.sealer.as_ref().map(|_| sealed.min(journal.next_frame)),
        };
        journal.with_room(|journal| journal.own_frame(FrameType::Boot, &boot))?;
        journal.sync_files()?;
        // The key evolves with every start: what was before can then not be signed for again.
        journal.with_room(Self::turn_epoch)?;
        journal.keep_reserve()?;
        Ok((journal, found.recovery))
    }

    /// Appends a security event. For a [durable](Event::durable) one, it and everything before it is on the disk when this returns.
    ///
    /// # Errors
    /// [`JournalError`]: then the event is not in the journal, and what it would have allowed must not happen.
    pub fn event(&mut self, event: &Event) -> Result<Position, JournalError> {
        let position = self.append(event)?;
        if event.durable() {
            self.commit()?;
        }
        Ok(position)
    }

    /// Appends a security event that [`Journal::commit`] will bring to the disk, so that several can share one wait. Until then it allows nothing.
    ///
    /// # Errors
    /// [`JournalError`]: then the event is not in the journal.
    pub fn append(&mut self, event: &Event) -> Result<Position, JournalError> {
        self.with_room(|journal| journal.append_event(event))
    }

    fn append_event(&mut self, event: &Event) -> Result<Position, JournalError> {
        let time_ns = boottime_ns();
        let mut payload = self.encode_event(time_ns, event)?;
        // Calls that came before the event stand before it.
        self.write_detail()?;
        if let Some(names) = self.denied.peek_new() {
            let mut names = names.to_vec();
            let room = 2 * HEADER_LEN + names.len() + payload.len();
            if self.denied.is_full() || !self.security.segment.as_ref().is_some_and(|segment| segment.fits(room)) {
                // Both frames go into a new segment, with names of its own.
                self.begin_segment(Tier::Security)?;
                payload = self.encode_event(time_ns, event)?;
                names = self.denied.peek_new().unwrap_or_default().to_vec();
            }
            self.write_dict(Tier::Security, time_ns, &names)?;
        }
        let header = self.header(FrameType::Events, 1, self.security.next_seq, time_ns);
        let frame = self.write(Tier::Security, header, &payload)?;
        self.stats.events += 1;
        if let Some(sealer) = &mut self.sealer
            && (event.durable() || event.is_denial())
        {
            sealer.hurry();
        }
        Ok(Position { epoch: header.epoch, frame, index: 0 })
    }

    /// The event as a payload, in the names of the current segment.
    fn encode_event(&mut self, time_ns: u64, event: &Event) -> Result<Vec<u8>, JournalError> {
        let mut value = event_value(event)?;
        if let Some(text) = guest_text(&mut value)
            && let Some(name) = text.as_str()
        {
            *text = serde_json::json!({ NAME: self.denied.text(name.as_bytes())? });
        }
        value_json(time_ns, value)
    }

    /// Brings every frame to the disk.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn commit(&mut self) -> Result<(), JournalError> {
        self.with_room(|journal| {
            journal.sync_tiers()?;
            match &mut journal.sealer {
                Some(sealer) if sealer.may_seal() => sealer.seal(),
                _ => Ok(()),
            }
        })
    }

    /// Takes calls, in the order in which they came out of a ring. They are in a frame after 4096 of them, at the next event, or at [`Journal::flush`].
    ///
    /// # Errors
    /// [`JournalError`]: the calls are kept and tried again with the next ones, as far as [`Stats::lost`] does not count them.
    pub fn calls<T: AsRef<[u8]>>(&mut self, source: &Source, batch: &[(Record, Option<T>)]) -> Result<(), JournalError> {
        let mut result = Ok(());
        let mut batch = batch.iter();
        while !batch.as_slice().is_empty() {
            if self.buffers.back().is_none_or(Buffer::is_full) {
                if self.buffers.len() >= MAX_BUFFERS {
                    self.stats.lost += batch.len() as u64;
                    break;
                }
                self.buffers.push_back(Buffer::default());
            }
            let Some(buffer) = self.buffers.back_mut() else { break };
            let source = buffer.source(source);
            while !buffer.is_full()
                && let Some((record, text)) = batch.next()
            {
                buffer.push(record, source, text.as_ref().map(AsRef::as_ref));
                self.stats.records += 1;
            }
            if buffer.is_full() {
                result = self.with_room(Self::write_detail);
            }
        }
        result
    }

    /// Puts buffered calls into a frame, and counts whose time has come; brings frames to the disk that have waited for [`SYNC_WITHIN`] and seals
    /// them, ends an epoch whose time has come, and deletes segments of calls and counts that are over their budget.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.with_room(Self::flush_all)?;
        self.with_room(Self::keep_reserve)
    }

    fn flush_all(&mut self) -> Result<(), JournalError> {
        self.write_detail()?;
        if self.counter.due() == Some(Duration::ZERO) {
            self.write_summaries()?;
        }
        if self.sync_in() == Some(Duration::ZERO) {
            self.sync_files()?;
        }
        if self.sealer.as_ref().and_then(Sealer::turn_due) == Some(Duration::ZERO) {
            self.turn_epoch()?;
        }
        if self.detail_grew
            && let Some(keep) = self.detail_keep()?
        {
            self.retire_detail(keep)?;
        }
        self.detail_grew = false;
        self.fit_summaries()
    }

    /// After how long [`Journal::flush`] should be called again, though nothing happens; nothing when all is on the disk.
    #[must_use]
    pub fn sync_due(&self) -> Option<Duration> {
        self.sync_in().into_iter().chain(self.sealer.as_ref().and_then(Sealer::turn_due)).chain(self.counter.due()).min()
    }

    fn sync_in(&self) -> Option<Duration> {
        self.unsynced_since.map(|since| SYNC_WITHIN.saturating_sub(since.elapsed()))
    }

    /// Brings everything to the disk, buffered calls included.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.with_room(|journal| {
            journal.write_detail()?;
            journal.sync_files()
        })
    }

    /// Closes the journal in order: the next start will find it clean. Dropping it does the same, but cannot say when that fails.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn close(mut self) -> Result<Stats, JournalError> {
        self.finish()?;
        Ok(self.stats)
    }

    /// Whether so many calls wait for the disk that no more should be taken out of rings: guests then wait, and nothing is lost.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.buffers.len() > MAX_BUFFERS / 2
    }

    /// Counts since the journal was opened.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    fn finish(&mut self) -> Result<(), JournalError> {
        self.closed = true;
        self.with_room(|journal| {
            journal.write_detail()?;
            journal.write_summaries()?;
            journal.sync_files()
        })?;
        let stats = self.stats;
        self.with_room(|journal| journal.own_frame(FrameType::Account, &stats))?;
        self.sync_files()
    }

    /// Ends the epoch: everything is sealed with its key, its successor is certified, and it is erased.
    fn turn_epoch(&mut self) -> Result<(), JournalError> {
        self.sync_files()?;
        let Some(sealer) = &mut self.sealer else { return Ok(()) };
        // From the frame on there is no way back: a full disk is to show before it.
        sealer.reserve()?;
        let certificate = sealer.certificate()?.to_string();
        let header = self.header(FrameType::Epoch, 0, self.security.next_seq, boottime_ns());
        let header = Header { epoch: header.epoch.saturating_add(1), ..header };
        self.write(Tier::Security, header, certificate.as_bytes())?;
        self.sync_unsealed()?;
        let turned = self.sealer.as_mut().map_or(Ok(()), Sealer::turn);
        // The journal is in the new epoch, and the keys may not be.
        self.broken |= turned.is_err();
        turned
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if !self.closed && !self.broken && !std::thread::panicking() {
            // Nobody is left to hear of a failure; the next start finds the journal unclean and says so.
            let _ = self.finish();
        }
    }
}

/// The kernel's id of this boot.
fn boot_id(dir: &Path) -> Result<String, JournalError> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(JournalError::io("read the boot id for an entry", dir))?;
    Ok(id.trim().to_owned())
}

/// Frames of calls that are kept while the disk takes nothing.
const MAX_BUFFERS: usize = 64;
const MAX_ORIGIN: usize = 256;
