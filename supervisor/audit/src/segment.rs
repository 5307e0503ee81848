//! Segments: the files of one tier, each named after its first frame and preallocated, so that a full disk shows before a frame is begun.
//!
//! Runs in: daemon (writes), CLI (lists and scans).
//! Does not: know what frames mean.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::disk::Disk;
use crate::disk::DiskFile;
use crate::frame;
use crate::frame::BadFrame;
use crate::frame::Header;

/// Size of a segment in bytes.
pub(crate) const SEGMENT_LEN: u64 = 4 << 20;

/// Kind of records, and the folder that its segments are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Security events, and the journal's own frames.
    Security,
    /// Calls.
    Detail,
    /// Exact counts of calls, which stay when calls are deleted.
    Summary,
}

impl Tier {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Security, Self::Detail, Self::Summary];

    /// The folder.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Security => "s",
            Self::Detail => "d",
            Self::Summary => "sum",
        }
    }
}

/// The segments of a tier: first frame and path, in order.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn list(journal: &Path, tier: Tier) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(journal.join(tier.folder()))? {
        let entry = entry?;
        if let Some(first) = entry.file_name().to_str().and_then(first_frame) {
            segments.push((first, entry.path()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// The path of the segment that begins with this frame.
pub(crate) fn path(journal: &Path, tier: Tier, first: u64) -> PathBuf {
    journal.join(tier.folder()).join(format!("seg-{first:016}.egl"))
}

fn first_frame(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".egl")?;
    (digits.len() == 16).then(|| digits.parse().ok()).flatten()
}

/// What a whole segment holds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Its frames up to `end`, each with its place.
    pub frames: Vec<(usize, Header)>,
    /// Where the last of them ends.
    pub end: usize,
    /// What comes then.
    pub stop: Stop,
    /// Valid frames behind a hole.
    pub after: Vec<(usize, Header)>,
}

/// What ends a run of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Zeros, or nothing.
    Clean,
    /// Bytes that are no frame, and no frame after them.
    Torn(BadFrame),
    /// Bytes that are no frame, then valid frames.
    Hole(BadFrame),
}

/// Finds all frames of a segment.
pub(crate) fn scan(bytes: &[u8]) -> Scan {
    let (frames, end, bad) = run(bytes, 0);
    let mut after = Vec::new();
    let mut at = end;
    while let Some((skipped, _)) = bytes.get(at + 1..).and_then(frame::find) {
        let (mut frames, next, _) = run(bytes, at + 1 + skipped);
        after.append(&mut frames);
        at = next;
    }
    let zeros = bytes.get(end..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0));
    let stop = match (zeros, after.is_empty()) {
        (true, _) => Stop::Clean,
        (false, true) => Stop::Torn(bad),
        (false, false) => Stop::Hole(bad),
    };
    Scan { frames, end, stop, after }
}

/// The frames that follow each other from a place on, where they end, and why.
fn run(bytes: &[u8], mut at: usize) -> (Vec<(usize, Header)>, usize, BadFrame) {
    let mut frames = Vec::new();
    loop {
        match frame::check(bytes.get(at..).unwrap_or_default()) {
            Ok(header) => {
                frames.push((at, header));
                at += header.len();
            }
            Err(bad) => return (frames, at, bad),
        }
    }
}

/// Reads a segment, if it is not larger than one can be.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let len = std::fs::metadata(path)?.len();
    if len > SEGMENT_LEN {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a segment has at most {SEGMENT_LEN} bytes, found {len}")));
    }
    std::fs::read(path)
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Segment {
    file: DiskFile,
    end: u64,
    dirty: bool,
}

impl Segment {
    /// A new segment, with its space allocated and its name on the disk.
    pub fn create(disk: &Disk, journal: &Path, tier: Tier, first: u64) -> io::Result<Self> {
        let path = path(journal, tier, first);
        let file = disk.create(&path, 0o600)?;
        let ready = file.allocate(SEGMENT_LEN).and_then(|()| disk.sync_dir(&journal.join(tier.folder())));
        if let Err(error) = ready {
            // It holds nothing yet, and the next attempt needs the name.
            disk.remove(&path)?;
            return Err(error);
        }
        Ok(Self { file, end: 0, dirty: false })
    }

    /// Goes on in a segment, whose frames end at `end`. Whatever is behind becomes zeros.
    pub fn reopen(disk: &Disk, path: &Path, end: u64) -> io::Result<Self> {
        let file = disk.open(path)?;
        file.set_len(end)?;
        file.allocate(SEGMENT_LEN)?;
        Ok(Self { file, end, dirty: true })
    }

    /// Whether a frame of this length still fits.
    pub const fn fits(&self, len: usize) -> bool {
        self.end + len as u64 <= SEGMENT_LEN
    }

    /// Bytes of its frames.
    pub const fn used(&self) -> u64 {
        self.end
    }

    /// Appends a frame.
    pub fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        self.dirty = true;
        self.file.write_all_at(frame, self.end)?;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// Brings everything to the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync()?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Ends it: what was allocated and not used is given back.
    pub fn close(mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.dirty = false;
        self.file.sync()
    }
}
