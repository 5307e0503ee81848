//! The journal, for reading: frames in their order out of its tiers, and what they hold.
//!
//! Runs in: CLI, with the rights of whoever calls it; the daemon may be writing meanwhile.
//! Does not: trust a file. Sizes are bounded before anything is allocated, decompression stops at [`frame::MAX_RAW`], and a frame whose leaf is
//! not written yet is not looked at.

pub(crate) mod calls;
mod error;
mod names;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::columns;
use crate::columns::BadPayload;
use crate::cursor::Cursor;
use crate::cursor::io_error;
use crate::cursor::segment_name;
use crate::dict::Source;
use crate::event::Event;
use crate::frame;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::frame::Header;
use crate::journal::Stats;
use crate::leaves::LEAF_LEN;
use crate::leaves::LeafReader;
use crate::note::BadNote;
use crate::note::Note;
use crate::payload::Boot;
use crate::payload::Entry;
use crate::payload::Erasure;
use crate::payload::Genesis;
use crate::payload::NAME;
use crate::payload::Retention;
use crate::payload::guest_text;
use crate::position::Position;
use crate::read::calls::Unpacker;
pub use crate::read::error::BadContent;
pub use crate::read::error::ReadError;
use crate::read::names::Names;
use crate::record::Record;
use crate::segment;
use crate::segment::Tier;
use crate::statement::EpochStart;
pub use crate::summary::Count;
pub use crate::summary::Counts;
pub use crate::summary::Coverage;
pub use crate::summary::Summary;
pub use crate::summary::Window;

/// One frame, checked by its checksums.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Where it was found.
    pub tier: Tier,
    /// First frame of its segment.
    pub segment: u64,
    /// Where in the segment.
    pub offset: u64,
    /// Its header.
    pub header: Header,
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    /// The whole frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its leaf, as it should be in `leaves`.
    #[must_use]
    pub fn leaf(&self) -> [u8; 32] {
        frame::leaf(&self.bytes)
    }

    /// The segment's name below the journal's folder.
    #[must_use]
    pub fn segment_name(&self) -> String {
        segment_name(self.tier, self.segment)
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }
}

/// What a frame holds.
#[derive(Debug)]
pub enum Content {
    /// The journal began.
    Genesis,
    /// The journal was opened.
    Boot(Opened),
    /// Security events.
    Events(Vec<Item<Event>>),
    /// Calls.
    Calls(Vec<Item<Call>>),
    /// Exact counts of calls.
    Summary(Summary),
    /// Strings for the frames that follow.
    Dictionary,
    /// The journal was closed in order.
    Account(Stats),
    /// A signing epoch began, by this signed note; checking it is [`crate::verify()`]'s affair.
    Epoch(EpochStart, Note),
    /// A segment of calls was deleted.
    Retention(Retention),
    /// Names were erased.
    Erasure(Erasure),
    /// A checkpoint of this journal that somebody else has signed too: a signed note.
    Anchor(Note),
}

/// Something that happened, with its place and time.
#[derive(Debug, Clone)]
pub struct Item<T> {
    /// Where it stands.
    pub position: Position,
    /// Its place in its tier.
    pub seq: u64,
    /// When, nanoseconds since the Unix epoch.
    pub time_real: u64,
    /// When, nanoseconds since boot.
    pub time_boot: u64,
    /// What.
    pub what: T,
}

/// A call, with what its numbers stand for.
#[derive(Debug, Clone)]
pub struct Call {
    /// The record.
    pub record: Record,
    /// Who made it.
    pub source: Arc<Source>,
    /// The path or name that belongs to it.
    pub text: Option<Arc<[u8]>>,
}

/// A call, while it is decided whether it is wanted.
#[derive(Debug, Clone, Copy)]
pub struct CallView<'a> {
    /// The record. Its time, duration and what came out are only there where `whole` is set.
    pub record: &'a Record,
    /// Nanoseconds since the Unix epoch, where `whole` is set.
    pub time_real: u64,
    /// Who made it.
    pub source: &'a Source,
    /// The path or name that belongs to it.
    pub text: Option<&'a [u8]>,
    /// Whether all of the record is known; else this is what many calls have in common.
    pub whole: bool,
}

/// How the journal was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The kernel's id of that boot.
    pub boot_id: String,
    /// The leaf of the frame before, in hex.
    pub head: String,
    /// How it was found.
    pub recovery: crate::Recovery,
    /// Frames below this were sealed then; nothing where it is not sealed at all.
    pub sealed: Option<u64>,
    /// When, nanoseconds since the Unix epoch.
    pub time_real: u64,
}

/// The journal, for reading from some frame on.
pub struct Reader {
    dir: PathBuf,
    leaves: LeafReader,
    cursors: [Cursor; 3],
    next: u64,
    origin: String,
    identity: Option<String>,
    retired: u64,
    boot_id: String,
    events: Names,
    calls: Names,
    counts: Names,
    names_held: bool,
    unpacker: Unpacker,
}

impl Reader {
    /// Opens the journal in this folder at its first frame.
    ///
    /// # Errors
    /// [`ReadError::Io`]
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        Self::open_at(dir, 0)
    }

    /// Somebody else holds each name against its hash, and stops where one is another.
    pub(crate) const fn names_are_held(&mut self) {
        self.names_held = true;
    }

    /// Opens it so that [`Reader::next_frame`] begins with this frame.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn open_at(dir: &Path, frame: u64) -> Result<Self, ReadError> {
        let leaves = LeafReader::open(dir).map_err(io_error(&dir.join("leaves")))?;
        let cursors = Tier::ALL.map(|tier| Cursor::new(dir, tier));
        let mut reader = Self {
            dir: dir.to_owned(),
            leaves,
            cursors,
            next: frame,
            origin: String::new(),
            identity: None,
            retired: 0,
            boot_id: String::new(),
            events: Names::default(),
            calls: Names::default(),
            counts: Names::default(),
            names_held: false,
            unpacker: Unpacker::default(),
        };
        reader.seek(frame)?;
        Ok(reader)
    }

    /// Who writes the journal, as far as it has been read.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public half of the journal's identity key, as its first frame names it; nobody has said that this is true.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// How many frames were passed over because they are older than every segment of calls that is there. Whether they were deleted in order is
    /// what [`crate::verify()`] finds out.
    #[must_use]
    pub const fn retired(&self) -> u64 {
        self.retired
    }

    /// The boot id of what was read last.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The number of the frame that comes next.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// How many frames have a leaf: all that are finished.
    ///
    /// # Errors
    /// [`ReadError::Io`]
    pub fn frames(&self) -> Result<u64, ReadError> {
        Ok(self.leaves_len()? / LEAF_LEN)
    }

    /// Length of `leaves` in bytes.
    pub(crate) fn leaves_len(&self) -> Result<u64, ReadError> {
        self.leaves.len().map_err(io_error(&self.dir.join("leaves")))
    }

    /// The leaves, for reading.
    pub(crate) const fn leaves(&self) -> &LeafReader {
        &self.leaves
    }

    /// The leaf that was written for a frame.
    ///
    /// # Errors
    /// [`ReadError::Io`]
    pub fn leaf(&self, frame: u64) -> Result<Option<[u8; 32]>, ReadError> {
        self.leaves.get(frame).map_err(io_error(&self.dir.join("leaves")))
    }

    /// The next frame; nothing at the end, and more later if the journal is being written.
    ///
    /// # Errors
    /// [`ReadError`]; the reader stays where it is.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ReadError> {
        if self.next >= self.frames()? {
            return Ok(None);
        }
        let mut bad = None;
        // Twice, because a frame may come into one tier after that tier was looked at.
        for _ in 0..2 {
            for cursor in &mut self.cursors {
                match cursor.take(self.next) {
                    Ok(Some(frame)) => {
                        self.next += 1;
                        return Ok(Some(frame));
                    }
                    Ok(None) => {}
                    Err(error) => bad = Some(error),
                }
            }
        }
        if bad.is_none() && self.pass_retired()? {
            return self.next_frame();
        }
        Err(bad.unwrap_or(ReadError::Missing(self.next)))
    }

    /// Passes over frames that were in a segment of calls or of counts which is not there any more, if that can be: the frame that comes next is
    /// older than every such segment.
    fn pass_retired(&mut self) -> Result<bool, ReadError> {
        let mut oldest = 0;
        for tier in [Tier::Detail, Tier::Summary] {
            let list = segment::list(&self.dir, tier).map_err(io_error(&self.dir.join(tier.folder())))?;
            oldest = list.first().map_or(u64::MAX, |(first, _)| *first).max(oldest);
        }
        let mut following = self.frames()?;
        for cursor in &mut self.cursors {
            following = following.min(cursor.following(self.next).unwrap_or(u64::MAX));
        }
        let target = following.min(oldest);
        if target <= self.next {
            return Ok(false);
        }
        self.retired += target - self.next;
        self.next = target;
        Ok(true)
    }

    /// Goes on behind damage, with the next segment that begins later than the frame that should have come; says whether there is one.
    ///
    /// # Errors
    /// [`ReadError::Io`]
    pub fn skip_damage(&mut self) -> Result<bool, ReadError> {
        let mut firsts = Vec::new();
        for tier in Tier::ALL {
            firsts.extend(segment::list(&self.dir, tier).map_err(io_error(&self.dir))?.into_iter().map(|(first, _)| first));
        }
        let Some(first) = firsts.into_iter().filter(|first| *first > self.next).min() else { return Ok(false) };
        self.seek(first)?;
        Ok(true)
    }

    fn seek(&mut self, frame: u64) -> Result<(), ReadError> {
        self.next = frame;
        for tier in 0..self.cursors.len() {
            if let Some(cursor) = self.cursors.get_mut(tier) {
                cursor.seek(frame)?;
            }
            while let Some(passed) = self.cursors.get_mut(tier).and_then(|cursor| cursor.take_before(frame)) {
                // What is before the frame in its segment is passed over, but its strings and keys are needed.
                if matches!(passed.header.kind, FrameType::Dict | FrameType::Summary | FrameType::Boot | FrameType::Genesis) {
                    self.decode(&passed)?;
                }
            }
        }
        Ok(())
    }

    /// What a frame holds. Frames of calls and of counts must come in their order, for the names before them are needed.
    ///
    /// # Errors
    /// [`ReadError::Payload`]
    pub fn decode(&mut self, frame: &Frame) -> Result<Content, ReadError> {
        self.content(frame).map_err(|source| ReadError::Payload { frame: frame.header.frame_no, source })
    }

    fn content(&mut self, frame: &Frame) -> Result<Content, BadContent> {
        self.names(frame.tier).turn_to(frame.segment);
        let mut unpacker = std::mem::take(&mut self.unpacker);
        let content = match frame.header.kind {
            // Only a part of it is compressed.
            FrameType::Summary => self.summary(frame, &mut unpacker).map(Content::Summary),
            _ => unpacker.payload(frame).and_then(|payload| self.parse(frame, payload)),
        };
        self.unpacker = unpacker;
        content
    }

    fn parse(&mut self, frame: &Frame, payload: &[u8]) -> Result<Content, BadContent> {
        let header = &frame.header;
        let content = match header.kind {
            FrameType::Genesis => {
                let genesis: Genesis = serde_json::from_slice(payload)?;
                self.origin = genesis.origin;
                self.identity = genesis.identity;
                Content::Genesis
            }
            FrameType::Boot => {
                let boot: Boot = serde_json::from_slice(payload)?;
                self.origin = boot.origin;
                self.boot_id.clone_from(&boot.boot_id);
                Content::Boot(Opened {
                    boot_id: boot.boot_id,
                    head: boot.head,
                    recovery: boot.recovery,
                    sealed: boot.sealed,
                    time_real: header.t0_real,
                })
            }
            FrameType::Events => {
                let entries = self.entries(payload)?;
                let items = entries.into_iter().zip(0..).map(|(entry, index)| item(header, index, entry.time_ns, entry.event));
                Content::Events(items.collect())
            }
            FrameType::Detail => Content::Calls(self.calls(header, payload)?),
            FrameType::Summary => Content::Summary(self.summary(frame, &mut Unpacker::default())?),
            FrameType::Dict => {
                let held = self.names_held;
                self.names(frame.tier).dictionary.add(payload, held)?;
                Content::Dictionary
            }
            FrameType::Account => Content::Account(serde_json::from_slice(payload)?),
            FrameType::Epoch => {
                let note = note(payload)?;
                Content::Epoch(EpochStart::parse(note.text())?, note)
            }
            FrameType::Retention => Content::Retention(serde_json::from_slice(payload)?),
            FrameType::Anchor => Content::Anchor(note(payload)?),
            FrameType::Erasure => Content::Erasure(serde_json::from_slice(payload)?),
        };
        let found = match &content {
            Content::Events(items) => items.len(),
            Content::Calls(items) => items.len(),
            _ => 0,
        };
        if found == usize::from(header.n) { Ok(content) } else { Err(BadContent::Count { expected: header.n, found }) }
    }

    fn calls(&self, header: &Header, payload: &[u8]) -> Result<Vec<Item<Call>>, BadContent> {
        let rows = columns::decode(payload, header.n.into())?;
        let dictionary = &self.calls.dictionary;
        let mut items = Vec::with_capacity(rows.len());
        for (row, index) in rows.into_iter().zip(0..) {
            let call = Call { record: row.record, source: dictionary.source(row.source)?, text: dictionary.text(row.text)? };
            items.push(item(header, index, row.record.time_ns, call));
        }
        Ok(items)
    }

    /// The events, with what guests named in them.
    fn entries(&self, payload: &[u8]) -> Result<Vec<Entry<Event>>, BadContent> {
        let mark = NAME.as_bytes();
        if !payload.windows(mark.len()).any(|part| part == mark) {
            return Ok(serde_json::from_slice(payload)?);
        }
        let entries: Vec<Entry<serde_json::Value>> = serde_json::from_slice(payload)?;
        let named = |Entry { time_ns, mut event }: Entry<serde_json::Value>| {
            if let Some(text) = guest_text(&mut event)
                && let Some(number) = text.get(NAME)
            {
                let number = number.as_u64().and_then(|number| u32::try_from(number).ok()).ok_or(BadPayload::Reference)?;
                let name = self.events.dictionary.text(number)?.ok_or(BadPayload::Reference)?;
                *text = String::from_utf8_lossy(&name).into();
            }
            Ok(Entry { time_ns, event: serde_json::from_value(event)? })
        };
        entries.into_iter().map(named).collect()
    }

    /// The names of a tier's segment.
    const fn names(&mut self, tier: Tier) -> &mut Names {
        match tier {
            Tier::Summary => &mut self.counts,
            Tier::Detail => &mut self.calls,
            Tier::Security => &mut self.events,
        }
    }

    /// What stands in each tier behind the frames that have been read; to be called at the end only.
    pub(crate) fn rest(&mut self) -> Result<Vec<(String, segment::Scan)>, ReadError> {
        let mut rests = Vec::new();
        for cursor in &mut self.cursors {
            rests.append(&mut cursor.rest()?);
        }
        Ok(rests)
    }
}

/// The note that is the payload of a frame.
fn note(payload: &[u8]) -> Result<Note, BadNote> {
    Note::parse(std::str::from_utf8(payload).map_err(|_| BadNote::Form)?)
}

fn item<T>(header: &Header, index: u32, time_boot: u64, what: T) -> Item<T> {
    Item {
        position: Position { epoch: header.epoch, frame: header.frame_no, index },
        seq: header.first_seq.saturating_add(index.into()),
        time_real: header.real_time(time_boot),
        time_boot,
        what,
    }
}
