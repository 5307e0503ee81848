//! Scanning: what of a journal is wanted, found by reading little of it.
//!
//! Runs in: CLI, with the rights of whoever calls it; the daemon may be writing meanwhile.
//! Does not: prove anything, which is [`crate::verify()`]'s work. A frame is checked by its checksums, not by its leaf.
//!
//! Segments of calls are read on all processors, and what is found is handed over in the order of frames.
//!
//! Every header is read, and nothing else of a frame whose time is out of the bounds. Headers, not the order of segments, decide that: a clock that
//! was set back must not hide anything. Of a frame of calls that is in the bounds, the shapes are looked at first, some tens for thousands of calls.

mod ahead;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::cursor::io_error;
use crate::frame;
use crate::frame::BadFrame;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::frame::Header;
use crate::read::Content;
use crate::read::Count;
use crate::read::Frame;
use crate::read::ReadError;
use crate::read::Reader;
use crate::scan::ahead::Ahead;
use crate::segment;
use crate::segment::Tier;

pub use crate::read::CallView;

/// What of the journal is wanted.
pub struct Wanted<'a> {
    /// Nanoseconds since the Unix epoch; earlier frames are passed over.
    pub since: u64,
    /// Later frames are passed over.
    pub until: u64,
    /// Whether frames that hold security events, and the journal's own, are handed over.
    pub events: bool,
    /// Which calls are handed over: `Some(false)` for one that is not; `None` only where [`CallView::whole`] is not set, if the rest decides. Without
    /// it, no call is looked at.
    pub call: Option<&'a Wants<'a>>,
}

/// Whether a call is wanted. It is asked on several threads at once.
pub type Wants<'a> = dyn Fn(&CallView<'_>) -> Option<bool> + Sync + 'a;

/// How a scan went, so far or in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Frames passed or read.
    pub frames: u64,
    /// Frames there are.
    pub of: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Places at which bytes that should be a frame are none, or a frame does not parse; what is behind one in its segment is left out.
    pub damaged: u64,
}

/// What is handed over: a frame's header and what is wanted of it; without content for a frame that was passed by its header.
pub type Take<'a> = dyn FnMut(Tier, &Header, Option<Content>) -> bool + 'a;

/// Hands over what is wanted, in the order of frames, until `take` returns false. `progress` is told now and then.
///
/// # Errors
/// [`ReadError::Io`]
pub fn scan(dir: &Path, wanted: &Wanted<'_>, take: &mut Take<'_>, progress: &mut dyn FnMut(&Scanned)) -> Result<Scanned, ReadError> {
    let mut reader = Reader::open(dir)?;
    let mut tiers = [Walk::new(dir, Tier::Security)?, Walk::new(dir, Tier::Summary)?];
    let mut done = Scanned { of: reader.frames()?, ..Scanned::default() };
    std::thread::scope(|scope| {
        let mut calls = Ahead::start(scope, dir, wanted, done.of)?;
        loop {
            let mut next = calls.peek(&mut done)?;
            for tier in &mut tiers {
                if let Some(header) = tier.peek(&mut done)? {
                    next = Some(next.map_or(header.frame_no, |other| other.min(header.frame_no)));
                }
            }
            // A frame without a leaf is not finished.
            let Some(number) = next.filter(|number| *number < done.of) else { break };
            let walk = tiers.iter_mut().find_map(|walk| walk.next.filter(|header| header.frame_no == number).map(|header| (walk, header)));
            let (tier, header, content) = match walk {
                Some((walk, header)) => {
                    let content = walk.content(&header, wanted, &mut reader, &mut done)?;
                    walk.step(&header);
                    (walk.tier, header, content)
                }
                None => match calls.take() {
                    Some((header, content)) => (Tier::Detail, header, content),
                    None => break,
                },
            };
            done.frames += 1;
            if done.frames.is_multiple_of(PROGRESS_EVERY) {
                progress(&done);
            }
            if !take(tier, &header, content) {
                break;
            }
        }
        Ok(done)
    })
}

/// How counting went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// What was read.
    pub scanned: Scanned,
    /// The calls that were counted, by their numbers. It begins behind those whose counts were deleted.
    pub calls: Range<u64>,
    /// How many of them were counted one by one, because no `Summary` frame is of them yet.
    pub open: u64,
}

/// Hands over the counts of all calls, oldest first: the rows of `Summary` frames, then each call that is in none yet as a row of its own. The frames of
/// calls that are counted are not read.
///
/// # Errors
/// [`ReadError::Io`]
pub fn counts(dir: &Path, take: &mut dyn FnMut(&Count), progress: &mut dyn FnMut(&Scanned)) -> Result<Counted, ReadError> {
    let mut reader = Reader::open(dir)?;
    let mut done = Scanned { of: reader.frames()?, ..Scanned::default() };
    let mut counted: Option<Range<u64>> = None;
    let mut walk = Walk::new(dir, Tier::Summary)?;
    while let Some(header) = walk.peek(&mut done)?.filter(|header| header.frame_no < done.of) {
        match walk.frame(walk.offset, &header, &mut done).and_then(|frame| reader.decode(&frame)) {
            Ok(Content::Summary(summary)) => {
                summary.rows.iter().for_each(&mut *take);
                let calls = summary.coverage.calls;
                counted = Some(counted.map_or(calls.start, |counted| counted.start)..calls.end);
            }
            Ok(_) => {}
            Err(error @ ReadError::Io { .. }) => return Err(error),
            Err(_) => done.damaged += 1,
        }
        walk.step(&header);
        done.frames += 1;
        if done.frames.is_multiple_of(PROGRESS_EVERY) {
            progress(&done);
        }
    }
    let mut calls = counted.unwrap_or_default();
    let mut open = 0;
    let wanted = Wanted { since: 0, until: u64::MAX, events: false, call: None };
    let mut walk = Walk::new(dir, Tier::Detail)?;
    while let Some(header) = walk.peek(&mut done)?.filter(|header| header.frame_no < done.of) {
        if header.kind == FrameType::Dict {
            walk.unread.push((walk.offset, header));
        } else if header.first_seq.saturating_add(header.n.into()) > calls.end {
            match walk.read(&header, &wanted, &mut reader, &mut done) {
                Ok(Content::Calls(items)) => {
                    for item in items.iter().filter(|item| item.seq >= calls.end) {
                        take(&Count::of(item));
                        open += 1;
                    }
                }
                Ok(_) => {}
                Err(error @ ReadError::Io { .. }) => return Err(error),
                Err(_) => done.damaged += 1,
            }
            calls.end = header.first_seq.saturating_add(header.n.into());
        }
        walk.step(&header);
        done.frames += 1;
    }
    Ok(Counted { scanned: done, calls, open })
}

/// One tier, header by header.
struct Walk {
    tier: Tier,
    /// Segments that are not begun yet, the last first.
    segments: Vec<(u64, PathBuf)>,
    current: Option<(u64, PathBuf, File)>,
    offset: u64,
    next: Option<Header>,
    /// The highest number so far: numbers only grow, whatever a header says.
    least: u64,
    /// Dictionaries of this segment that nothing has needed yet.
    unread: Vec<(u64, Header)>,
}

impl Walk {
    fn new(dir: &Path, tier: Tier) -> Result<Self, ReadError> {
        let mut segments = segment::list(dir, tier).map_err(io_error(&dir.join(tier.folder())))?;
        segments.reverse();
        Ok(Self::of(tier, segments, 0))
    }

    /// These segments, the last first; no frame has a number below `least`.
    const fn of(tier: Tier, segments: Vec<(u64, PathBuf)>, least: u64) -> Self {
        Self { tier, segments, current: None, offset: 0, next: None, least, unread: Vec::new() }
    }

    /// The header of the next frame; nothing at the end.
    fn peek(&mut self, done: &mut Scanned) -> Result<Option<Header>, ReadError> {
        while self.next.is_none() {
            let Some((_, path, file)) = &self.current else {
                let Some((first, path)) = self.segments.pop() else { return Ok(None) };
                match File::open(&path) {
                    Ok(file) => self.current = Some((first, path, file)),
                    // Deleted in order since it was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(io_error(&path)(error)),
                }
                (self.offset, self.unread) = (0, Vec::new());
                continue;
            };
            let mut head = [0; HEADER_LEN];
            let read = read_at(file, &mut head, self.offset).map_err(io_error(path))?;
            done.bytes += read as u64;
            if head.iter().all(|byte| *byte == 0) {
                self.current = None;
                continue;
            }
            match Header::parse(&head).ok().filter(|header| read == HEADER_LEN && header.frame_no >= self.least) {
                Some(header) => self.next = Some(header),
                None => self.damage(done),
            }
        }
        Ok(self.next)
    }

    fn damage(&mut self, done: &mut Scanned) {
        done.damaged += 1;
        (self.current, self.next) = (None, None);
    }

    /// Goes behind a frame that was peeked at.
    fn step(&mut self, header: &Header) {
        self.offset += header.len() as u64;
        self.least = header.frame_no.saturating_add(1);
        self.next = None;
    }

    /// What is wanted of the frame that was peeked at.
    fn content(
        &mut self,
        header: &Header,
        wanted: &Wanted<'_>,
        reader: &mut Reader,
        done: &mut Scanned,
    ) -> Result<Option<Content>, ReadError> {
        if header.kind == FrameType::Dict {
            self.unread.push((self.offset, *header));
            return Ok(None);
        }
        let last = match header.span_us {
            // As far as the field goes, or farther.
            u32::MAX => u64::MAX,
            span => header.t0_real.saturating_add((u64::from(span) + 1).saturating_mul(1000)),
        };
        let in_bounds = header.t0_real <= wanted.until && last >= wanted.since;
        // The first frames say whose journal it is.
        let names = matches!(header.kind, FrameType::Genesis | FrameType::Boot);
        let asked = match self.tier {
            Tier::Security => in_bounds && wanted.events || names,
            Tier::Detail => in_bounds && wanted.call.is_some(),
            // What was counted is asked for by [`counts`].
            Tier::Summary => false,
        };
        if !asked {
            return Ok(None);
        }
        match self.read(header, wanted, reader, done) {
            Ok(content) => Ok(Some(content).filter(|_| in_bounds)),
            Err(error @ ReadError::Io { .. }) => Err(error),
            Err(_) => {
                done.damaged += 1;
                Ok(None)
            }
        }
    }

    fn read(&mut self, header: &Header, wanted: &Wanted<'_>, reader: &mut Reader, done: &mut Scanned) -> Result<Content, ReadError> {
        for (offset, header) in std::mem::take(&mut self.unread) {
            let frame = self.frame(offset, &header, done)?;
            reader.decode(&frame)?;
        }
        let frame = self.frame(self.offset, header, done)?;
        match wanted.call.filter(|_| header.kind == FrameType::Detail) {
            Some(wants) => reader.calls_where(&frame, wants).map(Content::Calls),
            None => reader.decode(&frame),
        }
    }

    fn frame(&self, offset: u64, header: &Header, done: &mut Scanned) -> Result<Frame, ReadError> {
        let Some((first, path, file)) = &self.current else { return Err(ReadError::Missing(header.frame_no)) };
        let mut bytes = vec![0; header.len()];
        let read = read_at(file, &mut bytes, offset).map_err(io_error(path))?;
        done.bytes += read as u64;
        let checked = if read < bytes.len() { Err(BadFrame::Short) } else { frame::check(&bytes) };
        let bad = |source| ReadError::Bad { segment: path.display().to_string(), offset, expected: header.frame_no, source };
        let checked = checked.map_err(bad)?;
        Ok(Frame { tier: self.tier, segment: *first, offset, header: checked, bytes })
    }
}

/// Reads as much as there is.
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

const PROGRESS_EVERY: u64 = 64;
