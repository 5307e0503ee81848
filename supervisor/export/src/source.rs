//! The journal from a sink's cursor on, as entries in order.
//!
//! Runs in: exporter, one for each sink.
//! Invariant: an entry leaves this host only when it is on this host's disk. What a power failure can still take could come back as another entry with
//! the same `uid`, which every receiver would then take for a repetition.
//! Does not: stop at damage, nor at segments of calls that were deleted for the journal's budget. It goes on behind them, and tells the receiver how many
//! entries it will not get: entries of each tier are numbered without gaps.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use edgeguard_audit::Ocsf;
use edgeguard_audit::Tier;
use edgeguard_audit::boottime_ns;
use edgeguard_audit::encode::Encoded;
use edgeguard_audit::encode::Encoder;
use edgeguard_audit::encode::Gap;
use edgeguard_audit::encode::Why;
use edgeguard_audit::frame::FrameType;
use edgeguard_audit::frame::Header;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Frame;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::read::Reader;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::inotify;

use crate::config::Common;
use crate::cursor::Cursor;
use crate::error::ExportError;

/// The journal, from a cursor on.
pub struct Source {
    journal: PathBuf,
    reader: Reader,
    common: Common,
    watch: Option<OwnedFd>,
    queue: VecDeque<Queued>,
    bytes: usize,
    /// Acknowledged up to here.
    cursor: Cursor,
    /// Read up to here, when nothing is queued.
    read: Cursor,
    damaged: u64,
    /// Damage was met since the last frame that holds entries, so that the gap it leaves is not counted as another.
    noted: bool,
}

struct Queued {
    entry: Encoded,
    /// Where the cursor is once this is acknowledged.
    after: Arc<Cursor>,
    /// The same within its frame; 0 when the frame ends with this entry.
    entries: u32,
    /// How many entries this says are gone.
    gone: u64,
    /// Within a frame of calls, the number of the call that comes next.
    calls: Option<u64>,
}

impl Source {
    /// Opens the journal at a cursor.
    ///
    /// # Errors
    /// [`ExportError::Journal`], and [`ExportError::OtherJournal`] if the journal no longer holds what was exported.
    pub fn open(journal: &Path, common: &Common, cursor: Cursor, cursor_path: &Path) -> Result<Self, ExportError> {
        let reader = Reader::open_at(journal, cursor.frame)?;
        if let Some(before) = cursor.frame.checked_sub(1)
            && reader.leaf(before)?.map(hex) != Some(cursor.leaf.clone())
        {
            return Err(ExportError::OtherJournal { sink: common.name.clone(), frame: before, cursor: cursor_path.to_owned() });
        }
        // Without it, what is new is seen a little later.
        let watch = watch(journal).ok();
        let read = cursor.clone();
        Ok(Self {
            journal: journal.to_owned(),
            reader,
            common: common.clone(),
            watch,
            queue: VecDeque::new(),
            bytes: 0,
            cursor,
            read,
            damaged: 0,
            noted: false,
        })
    }

    /// Acknowledged up to here.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The kernel's id of the boot that the journal is read in.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.read.boot_id
    }

    /// Who writes the journal, as of the entries that are queued.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.read.origin
    }

    /// Frames that are finished and not acknowledged.
    ///
    /// # Errors
    /// [`ExportError::Journal`]
    pub fn behind(&self) -> Result<u64, ExportError> {
        Ok(self.reader.frames()?.saturating_sub(self.cursor.frame))
    }

    /// How often the journal was damaged on the way.
    #[must_use]
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Reads on until there is enough for a batch, or no more.
    ///
    /// # Errors
    /// [`ExportError::Journal`] for files that cannot be read at all.
    pub fn fill(&mut self) -> Result<(), ExportError> {
        while self.queue.len() < MAX_QUEUED && self.bytes < MAX_BYTES {
            match self.reader.next_frame() {
                Ok(Some(frame)) => self.take(&frame)?,
                Ok(None) => break,
                Err(error @ ReadError::Io { .. }) => return Err(error.into()),
                Err(_) => {
                    // A frame that was deleted in order is no error of the reader's, which passes over it.
                    let from = self.reader.position();
                    if !self.reader.skip_damage()? {
                        break;
                    }
                    (self.damaged, self.noted) = (self.damaged + 1, true);
                    let to = self.reader.position();
                    eprintln!(
                        "sink `{}`: frames {from} to {} are damaged or gone, and are not exported",
                        self.common.name,
                        to.saturating_sub(1)
                    );
                    self.passed(to)?;
                }
            }
        }
        if self.queue.is_empty() {
            // Frames without an entry for this sink need no acknowledgement.
            let Cursor { acknowledged, gone, .. } = self.cursor;
            self.cursor = Cursor { acknowledged, gone, ..self.read.clone() };
        }
        Ok(())
    }

    fn take(&mut self, frame: &Frame) -> Result<(), ExportError> {
        let number = frame.header.frame_no;
        let content = match self.reader.decode(frame) {
            Ok(content) => content,
            Err(error @ ReadError::Io { .. }) => return Err(error.into()),
            Err(error) => {
                (self.damaged, self.noted) = (self.damaged + 1, true);
                eprintln!("sink `{}`: {}; its entries are not exported", self.common.name, crate::error::chain(&error));
                return self.passed(number + 1);
            }
        };
        if !self.reader.origin().is_empty() {
            self.read.origin = self.reader.origin().to_owned();
        }
        if !self.reader.boot_id().is_empty() {
            self.read.boot_id = self.reader.boot_id().to_owned();
        }
        // The cursor's own frame may be acknowledged in part.
        let from = if self.read.frame == number { self.read.entries } else { 0 };
        let ocsf = Ocsf { origin: self.read.origin.clone(), boot_id: self.read.boot_id.clone() };
        let encoder = Encoder::new(ocsf, self.common.form);
        let entries: Vec<(u32, Encoded)> = match &content {
            Content::Events(items) => items.iter().map(|item| (item.position.index, encoder.event(item))).collect(),
            Content::Calls(items) if self.common.calls => {
                items.iter().filter_map(|item| encoder.call(item).map(|entry| (item.position.index, entry))).collect()
            }
            _ => Vec::new(),
        };
        let entries: Vec<_> = entries.into_iter().filter(|(index, _)| *index >= from).collect();
        let gap = self.gap(frame)?;
        if !entries.is_empty() || gap.is_some() {
            self.onto_the_disk(frame)?;
        }
        if let Some(gap) = gap {
            eprintln!("sink `{}`: before frame {number}, {}", self.common.name, gap.words());
            let after = Arc::new(Cursor { frame: number, entries: 0, ..self.read.clone() });
            if gap.tier == Tier::Security || self.common.calls {
                let entry = encoder.gap(&gap, &frame.header);
                self.bytes += entry.line.len();
                self.queue.push_back(Queued { entry, after, entries: 0, gone: gap.count(), calls: None });
            }
        }
        let within = Arc::new(Cursor { frame: number, entries: 0, ..self.read.clone() });
        self.number(frame.header.kind, frame.header.first_seq.saturating_add(frame.header.n.into()));
        self.passed(number + 1)?;
        let behind = Arc::new(self.read.clone());
        let mut entries = entries.into_iter().peekable();
        while let Some((index, entry)) = entries.next() {
            let last = entries.peek().is_none();
            self.bytes += entry.line.len();
            let (after, entries) = if last { (Arc::clone(&behind), 0) } else { (Arc::clone(&within), index.saturating_add(1)) };
            let calls = (!last && frame.header.kind == FrameType::Detail).then_some(frame.header.first_seq.saturating_add(entries.into()));
            self.queue.push_back(Queued { entry, after, entries, gone: 0, calls });
        }
        Ok(())
    }

    /// What should stand before this frame in its tier and does not; afterwards what comes next is this frame's first entry.
    fn gap(&mut self, frame: &Frame) -> Result<Option<Gap>, ExportError> {
        let Header { kind, first_seq, .. } = frame.header;
        let missing = |next: Option<u64>| next.filter(|next| *next < first_seq);
        let gap = match kind {
            FrameType::Detail => match missing(self.read.calls) {
                Some(next) => {
                    let failed = |source| ExportError::Journal(ReadError::Io { path: self.journal.clone(), source });
                    Some(Gap::of_calls(&self.journal, next, first_seq).map_err(failed)?)
                }
                None => None,
            },
            FrameType::Events => missing(self.read.events).map(|next| Gap::of_events(next, first_seq)),
            _ => None,
        };
        if let Some(Gap { why: Why::Damaged, .. }) = gap
            && !self.noted
        {
            self.damaged += 1;
        }
        self.number(kind, first_seq);
        Ok(gap)
    }

    /// The entry of this kind of frame that comes next has this number.
    fn number(&mut self, kind: FrameType, next: u64) {
        match kind {
            FrameType::Detail => self.read.calls = Some(next),
            FrameType::Events => self.read.events = Some(next),
            _ => return,
        }
        self.noted = false;
    }

    /// Everything before this frame has been read.
    fn passed(&mut self, next: u64) -> Result<(), ExportError> {
        let leaf = match next.checked_sub(1) {
            Some(before) => self.reader.leaf(before)?.map(hex).unwrap_or_default(),
            None => String::new(),
        };
        (self.read.frame, self.read.entries, self.read.leaf) = (next, 0, leaf);
        Ok(())
    }

    /// Sees to it that a young frame and its leaf are on the disk, and does not wait for the daemon's next round.
    fn onto_the_disk(&self, frame: &Frame) -> Result<(), ExportError> {
        if boottime_ns().checked_sub(frame.header.t0_boot).is_some_and(|age| age > SURELY_WRITTEN_NS) {
            return Ok(());
        }
        for name in [frame.segment_name().as_str(), "leaves"] {
            let path = self.journal.join(name);
            let synced = match File::open(&path) {
                // Only what is on the disk and sealed is deleted in order.
                Err(error) if error.kind() == io::ErrorKind::NotFound && name != "leaves" => continue,
                file => file.and_then(|file| file.sync_data()),
            };
            synced.map_err(|source| ExportError::Journal(ReadError::Io { path, source }))?;
        }
        Ok(())
    }

    /// The next entries, at most so many.
    pub fn batch(&mut self, most: usize) -> Vec<Encoded> {
        self.queue.iter().take(most).map(|queued| queued.entry.clone()).collect()
    }

    /// The receiver has the first so many of them.
    pub fn acknowledge(&mut self, count: usize) {
        for _ in 0..count {
            let Some(queued) = self.queue.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(queued.entry.line.len());
            let acknowledged = self.cursor.acknowledged.saturating_add(1);
            let gone = self.cursor.gone.saturating_add(queued.gone);
            let after = Cursor::clone(&queued.after);
            let calls = queued.calls.or(after.calls);
            self.cursor = Cursor { entries: queued.entries, acknowledged, gone, calls, ..after };
        }
    }

    /// Waits for something new, or a few seconds.
    pub fn wait(&self) {
        let Some(watch) = &self.watch else {
            std::thread::sleep(Duration::from_secs(1));
            return;
        };
        let timeout = Timespec { tv_sec: LOOK_EVERY_SECONDS, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&timeout));
        if ready.is_ok_and(|ready| ready > 0) {
            // Every frame ends with its leaf; what the notice says does not matter.
            let _ = rustix::io::read(watch, &mut [0_u8; 4096]);
        }
    }
}

fn watch(journal: &Path) -> rustix::io::Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, journal.join("leaves"), inotify::WatchFlags::MODIFY)?;
    Ok(watch)
}

fn hex(leaf: [u8; 32]) -> String {
    use std::fmt::Write as _;
    leaf.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const MAX_QUEUED: usize = 512;
const MAX_BYTES: usize = 1 << 20;
/// The daemon syncs within a second; ten are long past.
const SURELY_WRITTEN_NS: u64 = 10_000_000_000;
const LOOK_EVERY_SECONDS: i64 = 5;
