//! How a journal is found when it is opened, and what is done about an end that a crash left behind.
//!
//! Runs in: daemon, before anything is written.
//! Invariant: only frames that were never known to be on the disk are cut off, and the next `Boot` frame says how many. Damage below that is
//! left as it is, because it is evidence: writing goes on behind it.

use std::fs::DirBuilder;
use std::fs::File;
use std::fs::Permissions;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use serde::Deserialize;
use serde::Serialize;

use crate::disk::Disk;
use crate::error::JournalError;
use crate::frame;
use crate::frame::BadFrame;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::frame::Header;
use crate::journal::Writer;
use crate::leaves::Leaves;
use crate::names;
use crate::segment;
use crate::segment::Scan;
use crate::segment::Segment;
use crate::segment::Stop;
use crate::segment::Tier;
use crate::summary::Coverage;
use crate::summary::Window;

/// How the journal was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// There was none.
    pub first_open: bool,
    /// It had not been closed in order.
    pub unclean: bool,
    /// Frames cut off its end, because not all before them had reached the disk, or because they had not themselves.
    pub frames_cut: u64,
    /// Their bytes, as far as these were there.
    pub bytes_cut: u64,
    /// What is damaged and was not cut off; empty if nothing is.
    pub damage: String,
}

pub(crate) struct Found {
    pub leaves: Leaves,
    pub security: Writer,
    pub detail: Writer,
    pub summary: Writer,
    /// The calls below this number are counted in `Summary` frames.
    pub counted: u64,
    /// Of what windows the last one was.
    pub window: Window,
    pub next_frame: u64,
    /// Names in the segment of events that writing goes on in.
    pub names: u32,
    pub recovery: Recovery,
}

/// Makes the folders and takes the lock that says who writes here.
pub(crate) fn make_and_lock(dir: &Path) -> Result<File, JournalError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for folder in std::iter::once(dir.to_owned()).chain(Tier::ALL.map(|tier| dir.join(tier.folder()))) {
        builder.create(&folder).map_err(JournalError::io("make a folder", dir))?;
    }
    std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(JournalError::io("close off the folder", dir))?;
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"));
    let lock = lock.map_err(JournalError::io("open the lock", dir))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Locked(dir.to_owned())),
        Err(error) => Err(JournalError::io("take the lock", dir)(error.into())),
    }
}

/// The end of one tier: its last segments, the last first, back to one that holds a frame.
struct Tail {
    tier: Tier,
    segments: Vec<(PathBuf, Vec<u8>, Scan)>,
    /// Those before, the oldest first.
    earlier: Vec<(u64, PathBuf)>,
    /// All frames of the tier from this one on are in `segments`.
    from: u64,
    /// Above every frame number that the names of segments stand for.
    next_by_name: u64,
}

impl Tail {
    fn load(dir: &Path, tier: Tier) -> Result<Self, JournalError> {
        let mut earlier = segment::list(dir, tier).map_err(JournalError::io("list segments", dir))?;
        let next_by_name = earlier.last().map_or(0, |(first, _)| first + 1);
        let mut segments = Vec::new();
        let mut from = 0;
        while let Some((first, path)) = earlier.pop() {
            let bytes = segment::read(&path).map_err(JournalError::io("read a segment", dir))?;
            let scan = segment::scan(&bytes);
            if let Stop::Torn(bad @ (BadFrame::Version(_) | BadFrame::Type(_)))
            | Stop::Hole(bad @ (BadFrame::Version(_) | BadFrame::Type(_))) = scan.stop
            {
                return Err(JournalError::Format { dir: dir.to_owned(), source: bad });
            }
            let found = !scan.frames.is_empty() || !scan.after.is_empty();
            segments.push((path, bytes, scan));
            if found {
                // Events that are missing at the beginning of the first segment were in one that was deleted when its time had come.
                let whole = earlier.is_empty() && scan_of(&segments).is_none_or(|header| header.first_seq == 0);
                from = if whole { 0 } else { first };
                break;
            }
        }
        Ok(Self { tier, segments, earlier, from, next_by_name })
    }

    /// Goes back to a segment that holds a frame before this one that says how far the tier goes: all those that were read may be cut off.
    fn back_to(&mut self, dir: &Path, below: u64) -> Result<(), JournalError> {
        let says = |header: &Header| header.frame_no < below && (self.tier != Tier::Summary || header.kind == FrameType::Summary);
        while !self.headers().any(says) {
            let Some((_, path)) = self.earlier.pop() else { break };
            let bytes = segment::read(&path).map_err(JournalError::io("read a segment", dir))?;
            let scan = segment::scan(&bytes);
            self.segments.push((path, bytes, scan));
        }
        Ok(())
    }

    /// All valid frames, those behind a hole included.
    fn headers(&self) -> impl Iterator<Item = &Header> {
        self.segments.iter().flat_map(|(_, _, scan)| scan.frames.iter().chain(&scan.after).map(|(_, header)| header))
    }

    /// The same with their bytes.
    fn frames(&self) -> impl Iterator<Item = (&Header, &[u8])> {
        self.segments.iter().flat_map(|(_, bytes, scan)| {
            let frames = scan.frames.iter().chain(&scan.after);
            frames.filter_map(|(at, header)| Some((header, bytes.get(*at..*at + header.len())?)))
        })
    }

    fn next_seq(&self, below: u64) -> u64 {
        let last = self.headers().filter(|header| header.frame_no < below).max_by_key(|header| header.frame_no);
        last.map_or(0, |header| header.first_seq.saturating_add(header.n.into()))
    }

    /// How many names the segment holds that its last frame below this one is in.
    fn names(&self, below: u64) -> u32 {
        let whole = |scan: &Scan| scan.frames.iter().any(|(_, header)| header.frame_no < below);
        let Some((_, bytes, scan)) = self.segments.iter().find(|(_, _, scan)| whole(scan)) else { return 0 };
        let dicts = scan.frames.iter().filter(|(_, header)| header.kind == FrameType::Dict && header.frame_no < below);
        let names = dicts.filter_map(|(at, header)| names::names(bytes.get(at + HEADER_LEN..at + header.len())?).ok());
        names.map(|names| names.len() as u32).fold(0, u32::saturating_add)
    }

    /// The call behind those that the last `Summary` frame before this one is of, and its windows; 0 for none.
    fn counted(&self, below: u64) -> (u64, Window) {
        let all = self.frames().filter(|(header, _)| header.kind == FrameType::Summary && header.frame_no < below);
        let last = all.max_by_key(|(header, _)| header.frame_no);
        let coverage = last.and_then(|(_, bytes)| Coverage::get(&mut bytes.get(frame::HEADER_LEN..)?).ok());
        coverage.map_or((0, Window::default()), |coverage| (coverage.calls.end, coverage.window))
    }
}

/// Looks at the end of the journal, cuts off what a crash left, and finds where writing goes on. The caller holds the lock.
///
/// `sealed` frames were signed for, which happens only when they are on the disk.
pub(crate) fn recover(dir: &Path, disk: &Disk, sealed: u64) -> Result<Found, JournalError> {
    let leaves = Leaves::open(disk, dir).map_err(JournalError::io("open the leaves", dir))?;
    let leaf_count = leaves.count().map_err(JournalError::io("read the leaves", dir))?;
    let mut tails = [Tail::load(dir, Tier::Security)?, Tail::load(dir, Tier::Detail)?, Tail::load(dir, Tier::Summary)?];

    // All frames from `start` on are in the segments that were read.
    let start = tails.iter().map(|tail| tail.from).max().unwrap_or(0);
    let mut numbers: Vec<u64> =
        tails.iter().flat_map(Tail::headers).map(|header| header.frame_no).filter(|number| *number >= start).collect();
    numbers.sort_unstable();
    let whole = numbers.iter().zip(start..).take_while(|(number, expected)| **number == *expected).count() as u64;
    let kept = if numbers.is_empty() { 0 } else { start + whole };
    let beyond = numbers.last().map_or(0, |last| last + 1).max(leaf_count);
    let synced = tails.iter().flat_map(Tail::headers).map(Header::synced).max().unwrap_or(0).max(sealed);

    let damage = damage(&tails, &leaves, kept, synced, start.min(kept), leaf_count).map_err(JournalError::io("read the leaves", dir))?;
    let first_open = beyond == 0 && damage.is_empty();
    let last = tails.iter().flat_map(Tail::headers).find(|header| header.frame_no + 1 == kept);
    let closed = beyond == kept && last.is_some_and(|last| last.kind == FrameType::Account);
    let unclean = !first_open && !closed;
    let mut recovery = Recovery { first_open, unclean, damage, ..Recovery::default() };

    let next_frame = if recovery.damage.is_empty() {
        recovery.frames_cut = beyond - kept;
        kept
    } else {
        tails.iter().map(|tail| tail.next_by_name).max().unwrap_or(0).max(beyond)
    };
    for tail in &mut tails {
        tail.back_to(dir, next_frame)?;
    }
    restore_leaves(&leaves, &tails, leaf_count, next_frame).map_err(JournalError::io("write the leaves", dir))?;
    let [security, detail, summary] = tails;
    let (counted, window) = summary.counted(next_frame);
    let names = security.names(next_frame);
    let security = reopen(dir, disk, security, next_frame, &mut recovery)?;
    let mut detail = reopen(dir, disk, detail, next_frame, &mut recovery)?;
    let summary = reopen(dir, disk, summary, next_frame, &mut recovery)?;
    // Calls that were only counted have numbers too.
    detail.next_seq = detail.next_seq.max(counted);
    Ok(Found { leaves, security, detail, summary, counted, window, next_frame, names, recovery })
}

/// The first frame of the segment that was read last.
fn scan_of(segments: &[(PathBuf, Vec<u8>, Scan)]) -> Option<&Header> {
    let (_, _, scan) = segments.last()?;
    scan.frames.first().or(scan.after.first()).map(|(_, header)| header)
}

/// What cannot be the work of a crash, in words; empty if there is nothing.
fn damage(tails: &[Tail], leaves: &Leaves, kept: u64, synced: u64, start: u64, leaf_count: u64) -> std::io::Result<String> {
    if kept < synced {
        return Ok(format!("frame {kept} is missing or broken, though it had reached the disk"));
    }
    let holes = tails.iter().flat_map(|tail| &tail.segments).filter(|(_, _, scan)| matches!(scan.stop, Stop::Hole(_)));
    if let Some(behind) =
        holes.filter_map(|(_, _, scan)| scan.after.first()).map(|(_, header)| header.frame_no).find(|behind| *behind <= synced)
    {
        return Ok(format!("a frame before frame {behind} is broken, though it had reached the disk"));
    }
    if leaf_count < start {
        return Ok(format!("{leaf_count} leaves for at least {start} frames"));
    }
    for (header, bytes) in tails.iter().flat_map(Tail::frames) {
        let number = header.frame_no;
        if number >= kept.min(leaf_count) {
            continue;
        }
        let leaf = leaves.get(number)?;
        if leaf != LOST && leaf != frame::leaf(bytes) {
            return Ok(format!("frame {number} is not the one that was written"));
        }
    }
    Ok(String::new())
}

/// As many leaves as frames, those that a crash took computed anew.
fn restore_leaves(leaves: &Leaves, tails: &[Tail], leaf_count: u64, next_frame: u64) -> std::io::Result<()> {
    leaves.truncate(next_frame)?;
    for (header, bytes) in tails.iter().flat_map(Tail::frames) {
        let number = header.frame_no;
        if number < next_frame && (number >= leaf_count || leaves.get(number)? == LOST) {
            leaves.put(number, &frame::leaf(bytes))?;
        }
    }
    Ok(())
}

/// Cuts a tier behind its last frame below `next_frame`, and goes on there if it can.
fn reopen(dir: &Path, disk: &Disk, tail: Tail, next_frame: u64, recovery: &mut Recovery) -> Result<Writer, JournalError> {
    let mut writer = Writer { segment: None, next_seq: tail.next_seq(next_frame) };
    if !recovery.damage.is_empty() {
        return Ok(writer);
    }
    for (path, bytes, scan) in tail.segments {
        let end = scan.frames.iter().find(|(_, header)| header.frame_no >= next_frame).map_or(scan.end, |(at, _)| *at);
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        recovery.bytes_cut += used.saturating_sub(end) as u64;
        if end == 0 {
            disk.remove(&path).map_err(JournalError::io("remove an empty segment", dir))?;
        } else if tail.tier == Tier::Security {
            writer.segment = Some(Segment::reopen(disk, &path, end as u64).map_err(JournalError::io("go on in a segment", dir))?);
        } else {
            // The names of a segment live with their writer, so a new writer begins a new segment.
            let ended = Segment::reopen(disk, &path, end as u64).and_then(Segment::close);
            ended.map_err(JournalError::io("end a segment", dir))?;
        }
    }
    disk.sync_dir(&dir.join(tail.tier.folder())).map_err(JournalError::io("sync a folder", dir))?;
    Ok(writer)
}

/// What a power failure leaves of a leaf that had not reached the disk.
const LOST: [u8; 32] = [0; 32];
