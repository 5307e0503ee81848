//! The journal, for writing: security events that are on the disk before they are acted on, and every call of every guest.
//!
//! Runs in: daemon, on one thread.
//! Invariant: what [`Journal::event`] acknowledged as durable is on the disk together with every frame before it. A frame is written whole or the
//! journal takes nothing more. One number counts the frames of both tiers.
//! Invariant: with keys, at most 1024 frames or one second of them are without a seal, and only frames on the disk are sealed.
//! Does not: delete anything but segments of calls that are over their budget, and none of which a sealed frame does not say so.

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
use crate::clock::realtime_ns;
use crate::columns::Encoder;
use crate::columns::Row;
use crate::dict::Interner;
use crate::dict::Source;
use crate::disk::Disk;
use crate::disk::Observer;
use crate::error::JournalError;
use crate::event::Event;
use crate::frame;
use crate::frame::COMPRESSED;
use crate::frame::FrameType;
use crate::frame::Header;
use crate::keys::Keys;
use crate::leaves::Leaves;
use crate::payload::Boot;
use crate::payload::Genesis;
use crate::payload::event_json;
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
    /// A segment of calls was begun since the budget was looked at.
    detail_grew: bool,
    security: Writer,
    detail: Writer,
    next_frame: u64,
    /// All frames below this number are on the disk.
    synced: u64,
    unsynced_since: Option<Instant>,
    /// Calls that are not in a frame yet: one frame each. There is more than one only while the disk takes nothing.
    buffers: VecDeque<Buffer>,
    interner: Interner,
    encoder: Encoder,
    compressor: Compressor,
    frame: Vec<u8>,
    broken: bool,
    closed: bool,
    stats: Stats,
}

/// How a journal is opened.
#[derive(Debug, Default)]
pub struct Options {
    /// What it is sealed with. Without keys nothing is signed, and a journal that was sealed before does not open.
    pub keys: Option<Keys>,
    /// Bytes that segments of calls may take, the one being written included; the oldest go first, and a sealed frame says so. Needs keys.
    pub detail_budget: Option<u64>,
    /// Bytes that the whole journal may take. Calls get what events leave of it, and at least half; events are never deleted. Needs keys.
    pub budget: Option<u64>,
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
        let sealed = last.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
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
            next_frame: found.next_frame,
            synced: 0,
            unsynced_since: None,
            buffers: VecDeque::new(),
            interner: Interner::default(),
            encoder: Encoder::default(),
            compressor: Compressor(compressor),
            frame: Vec::new(),
            broken: false,
            closed: false,
            stats: Stats::default(),
        };
        // What was found is on the disk before anything is built on it.
        journal.sync_files()?;
        if found.recovery.first_open {
            let identity = journal.sealer.as_ref().map(Sealer::verifier).transpose()?.map(|key| key.to_string());
            journal.own_frame(FrameType::Genesis, &Genesis { origin: origin.to_owned(), identity })?;
        }
        let boot = Boot { origin: origin.to_owned(), boot_id: boot_id(dir)?, head: journal.head()?, recovery: found.recovery.clone() };
        journal.own_frame(FrameType::Boot, &boot)?;
        journal.sync_files()?;
        // The key evolves with every start: what was before can then not be signed for again.
        journal.turn_epoch()?;
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
        let time_ns = boottime_ns();
        let payload = event_json(time_ns, event)?;
        // Calls that came before the event stand before it.
        self.write_detail()?;
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

    /// Brings every frame to the disk.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn commit(&mut self) -> Result<(), JournalError> {
        self.sync_tiers()?;
        match &mut self.sealer {
            Some(sealer) if sealer.may_seal() => sealer.seal(),
            _ => Ok(()),
        }
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
                result = self.write_detail();
            }
        }
        result
    }

    /// Puts buffered calls into a frame, brings frames to the disk that have waited for [`SYNC_WITHIN`] and seals them, ends an epoch whose time
    /// has come, and deletes segments of calls that are over their budget.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.write_detail()?;
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
        Ok(())
    }

    /// After how long [`Journal::flush`] should be called again, though nothing happens; nothing when all is on the disk.
    #[must_use]
    pub fn sync_due(&self) -> Option<Duration> {
        self.sync_in().into_iter().chain(self.sealer.as_ref().and_then(Sealer::turn_due)).min()
    }

    fn sync_in(&self) -> Option<Duration> {
        self.unsynced_since.map(|since| SYNC_WITHIN.saturating_sub(since.elapsed()))
    }

    /// Brings everything to the disk, buffered calls included.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.write_detail()?;
        self.sync_files()
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
        self.sync()?;
        let stats = self.stats;
        self.own_frame(FrameType::Account, &stats)?;
        self.sync_files()
    }

    /// A frame of the journal itself.
    fn own_frame(&mut self, kind: FrameType, payload: &impl Serialize) -> Result<(), JournalError> {
        let payload = serde_json::to_vec(payload).map_err(|error| JournalError::Compress(error.into()))?;
        self.own_bytes(kind, &payload)
    }

    fn own_bytes(&mut self, kind: FrameType, payload: &[u8]) -> Result<(), JournalError> {
        let header = self.header(kind, 0, self.security.next_seq, boottime_ns());
        self.write(Tier::Security, header, payload).map(drop)
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

    /// Writes the buffered calls.
    fn write_detail(&mut self) -> Result<(), JournalError> {
        while let Some(buffer) = self.buffers.pop_front() {
            if let Err(error) = self.write_buffer(&buffer) {
                self.buffers.push_front(buffer);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes a frame for what is new in the dictionary, then one for the calls.
    fn write_buffer(&mut self, buffer: &Buffer) -> Result<(), JournalError> {
        let (mut dict, mut payload) = self.encode(buffer)?;
        let room = 2 * frame::HEADER_LEN + dict.as_ref().map_or(0, Vec::len) + payload.len();
        let fits = self.detail.segment.as_ref().is_some_and(|segment| segment.fits(room));
        if !fits || self.interner.is_full() {
            // Both frames go into a new segment, with a dictionary of its own.
            self.begin_segment(Tier::Detail)?;
            (dict, payload) = self.encode(buffer)?;
        }
        // A worker may lie about its times; a frame does not begin after it was written.
        let first = buffer.calls.iter().map(|(record, ..)| record.time_ns).min().unwrap_or(0).min(boottime_ns());
        let last = buffer.calls.iter().map(|(record, ..)| record.time_ns).max().unwrap_or(0);
        if let Some(dict) = dict {
            let header = Header { flags: COMPRESSED, ..self.header(FrameType::Dict, 0, self.detail.next_seq, first) };
            self.write(Tier::Detail, header, &dict)?;
            self.interner.written();
        }
        let n = u16::try_from(buffer.calls.len()).unwrap_or(u16::MAX);
        let span_us = u32::try_from(last.saturating_sub(first) / 1000).unwrap_or(u32::MAX);
        let header = Header { flags: COMPRESSED, span_us, ..self.header(FrameType::Detail, n, self.detail.next_seq, first) };
        self.write(Tier::Detail, header, &payload).map(drop)
    }

    /// The calls as payloads, in the dictionary of the current segment.
    fn encode(&mut self, buffer: &Buffer) -> Result<(Option<Vec<u8>>, Vec<u8>), JournalError> {
        let Self { interner, encoder, compressor, .. } = self;
        let sources: Vec<u32> = buffer.sources.iter().map(|source| interner.source(source)).collect();
        let mut rows = Vec::with_capacity(buffer.calls.len());
        for (record, source, text) in &buffer.calls {
            let text = buffer.texts.get(text.clone()).filter(|text| !text.is_empty()).map_or(0, |text| interner.text(text));
            let source = sources.get(*source as usize).copied().unwrap_or(0);
            rows.push(Row { record: *record, source, text });
        }
        let mut raw = Vec::new();
        encoder.encode(&rows, &mut raw);
        let mut compress = |raw: &[u8]| compressor.0.compress(raw).map_err(JournalError::Compress);
        let dict = interner.peek_new().map(&mut compress).transpose()?;
        Ok((dict, compress(&raw)?))
    }

    fn header(&self, kind: FrameType, n: u16, first_seq: u64, t0_boot: u64) -> Header {
        let t0_real = realtime_ns().wrapping_sub(boottime_ns().wrapping_sub(t0_boot));
        let unsynced = u32::try_from(self.next_frame.saturating_sub(self.synced)).unwrap_or(u32::MAX);
        let epoch = self.sealer.as_ref().map_or(0, Sealer::epoch);
        Header { kind, flags: 0, n, frame_no: self.next_frame, first_seq, t0_boot, t0_real, span_us: 0, epoch, unsynced, payload_len: 0 }
    }

    /// Writes one frame and its leaf; returns its number.
    fn write(&mut self, tier: Tier, header: Header, payload: &[u8]) -> Result<u64, JournalError> {
        if self.broken {
            return Err(JournalError::Broken(self.dir.clone()));
        }
        if self.sealer.as_ref().is_some_and(Sealer::must_seal) {
            self.sync_files()?;
        }
        // A segment is begun before the header's checksums are: it brings all before it to the disk, which the header says.
        let room = frame::HEADER_LEN + payload.len();
        if !self.writer(tier).segment.as_ref().is_some_and(|segment| segment.fits(room)) {
            self.begin_segment(tier)?;
        }
        let unsynced = u32::try_from(self.next_frame.saturating_sub(self.synced)).unwrap_or(u32::MAX);
        let mut frame = std::mem::take(&mut self.frame);
        let sealed = Header { unsynced, ..header }.seal(payload, &mut frame);
        let written = sealed.map_err(|_| JournalError::TooLarge(payload.len())).and_then(|()| self.append_frame(tier, &frame));
        let len = frame.len() as u64;
        self.frame = frame;
        written?;
        let number = self.next_frame;
        self.next_frame += 1;
        self.writer(tier).next_seq += u64::from(header.n);
        self.unsynced_since.get_or_insert_with(Instant::now);
        self.stats.frames += 1;
        self.stats.bytes += len;
        if tier == Tier::Detail {
            self.stats.detail_bytes += len;
        }
        Ok(number)
    }

    fn append_frame(&mut self, tier: Tier, frame: &[u8]) -> Result<(), JournalError> {
        let dir = self.dir.clone();
        let number = self.next_frame;
        self.leaves.reserve(number).map_err(JournalError::io("allocate a leaf", &dir))?;
        let segment = match tier {
            Tier::Security => self.security.segment.as_mut(),
            Tier::Detail => self.detail.segment.as_mut(),
        };
        let Some(segment) = segment else { return Err(JournalError::Broken(dir)) };
        let leaf = frame::leaf(frame);
        let written = segment.append(frame).and_then(|()| self.leaves.put(number, &leaf));
        if let (Ok(()), Some(sealer)) = (&written, &mut self.sealer) {
            sealer.push(leaf);
        }
        // Half a frame may be in the file now, or a frame without a leaf: nothing may follow it.
        self.broken = written.is_err();
        written.map_err(JournalError::io("write a frame", &dir))
    }

    /// Ends the tier's segment and begins another. Everything written so far is on the disk then, in both tiers.
    fn begin_segment(&mut self, tier: Tier) -> Result<(), JournalError> {
        self.sync_files()?;
        // Made first: on a full disk the old segment stays in use as it is.
        let segment =
            Segment::create(&self.disk, &self.dir, tier, self.next_frame).map_err(JournalError::io("begin a segment", &self.dir))?;
        self.close_segment(tier)?;
        self.writer(tier).segment = Some(segment);
        self.detail_grew |= tier == Tier::Detail;
        Ok(())
    }

    fn close_segment(&mut self, tier: Tier) -> Result<(), JournalError> {
        if tier == Tier::Detail {
            self.interner = Interner::default();
        }
        match self.writer(tier).segment.take() {
            Some(segment) => segment.close().map_err(JournalError::io("end a segment", &self.dir)),
            None => Ok(()),
        }
    }

    /// Everything on the disk, and sealed.
    fn sync_files(&mut self) -> Result<(), JournalError> {
        self.sync_unsealed()?;
        self.sealer.as_mut().map_or(Ok(()), |sealer| sealer.seal().and_then(|()| sealer.sync()))
    }

    fn sync_unsealed(&mut self) -> Result<(), JournalError> {
        self.sync_tiers()?;
        self.leaves.sync().map_err(JournalError::io("sync the leaves", &self.dir))?;
        self.unsynced_since = None;
        Ok(())
    }

    fn sync_tiers(&mut self) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Broken(self.dir.clone()));
        }
        // The calls first, because an event counts only if all before it is there. The leaves can wait: a start after a crash computes them
        // from the frames.
        self.sync_tier(Tier::Detail)?;
        self.sync_tier(Tier::Security)?;
        self.synced = self.next_frame;
        self.stats.syncs += 1;
        Ok(())
    }

    fn sync_tier(&mut self, tier: Tier) -> Result<(), JournalError> {
        let Some(segment) = self.writer(tier).segment.as_mut() else { return Ok(()) };
        let synced = segment.sync();
        // After a failed sync the kernel may have dropped what was written, and says so only once.
        self.broken |= synced.is_err();
        synced.map_err(JournalError::io("sync a segment", &self.dir))
    }

    fn writer(&mut self, tier: Tier) -> &mut Writer {
        match tier {
            Tier::Security => &mut self.security,
            Tier::Detail => &mut self.detail,
        }
    }

    /// The leaf of the last frame, in hex; empty for none.
    fn head(&self) -> Result<String, JournalError> {
        let Some(last) = self.next_frame.checked_sub(1) else { return Ok(String::new()) };
        self.leaves.get(last).map(hex::encode).map_err(JournalError::io("read the last leaf", &self.dir))
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
