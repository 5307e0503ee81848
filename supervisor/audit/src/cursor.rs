//! A place in one tier: frame after frame, segment after segment, one frame in memory at a time.
//!
//! Runs in: CLI; the daemon may be writing meanwhile.
//! Does not: trust a file. A frame's length is bounded by its checked header before anything is allocated.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::frame;
use crate::frame::BadFrame;
use crate::frame::HEADER_LEN;
use crate::frame::Header;
use crate::read::Frame;
use crate::read::ReadError;
use crate::segment;
use crate::segment::Tier;

/// A place in one tier.
#[derive(Debug)]
pub(crate) struct Cursor {
    tier: Tier,
    dir: PathBuf,
    current: Option<(u64, File)>,
    offset: u64,
    peeked: Option<Frame>,
}

impl Cursor {
    /// Before the first frame of the tier.
    pub fn new(dir: &Path, tier: Tier) -> Self {
        Self { tier, dir: dir.to_owned(), current: None, offset: 0, peeked: None }
    }

    /// Goes to the beginning of the segment that holds this frame, if the tier has it.
    pub fn seek(&mut self, frame: u64) -> Result<(), ReadError> {
        (self.peeked, self.offset, self.current) = (None, 0, None);
        let list = segment::list(&self.dir, self.tier).map_err(io_error(&self.dir.join(self.tier.folder())))?;
        let at = list.iter().rfind(|(first, _)| *first <= frame).or(list.first());
        if let Some((first, path)) = at {
            match File::open(path) {
                Ok(file) => self.current = Some((*first, file)),
                // Deleted in order since it was listed: reading begins with the first one that is there.
                Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {}
                Err(error) => return Err(io_error(path)(error)),
            }
        }
        Ok(())
    }

    /// The next frame of this tier, without taking it.
    fn peek(&mut self, expected: u64) -> Result<Option<&Frame>, ReadError> {
        while self.peeked.is_none() {
            let Some((first, file)) = &self.current else {
                if self.advance(None)? {
                    continue;
                }
                return Ok(None);
            };
            let (first, offset) = (*first, self.offset);
            let bad = |source| ReadError::Bad { segment: segment_name(self.tier, first), offset, expected, source };
            let path = segment::path(&self.dir, self.tier, first);
            let mut head = [0; HEADER_LEN];
            let read = read_at(file, &mut head, offset).map_err(io_error(&path))?;
            if head.iter().all(|byte| *byte == 0) {
                if self.advance(Some(first))? {
                    continue;
                }
                return Ok(None);
            }
            if read < HEADER_LEN {
                return Err(bad(BadFrame::Short));
            }
            let header = Header::parse(&head).map_err(bad)?;
            let mut bytes = vec![0; header.len()];
            let read = read_at(file, &mut bytes, offset).map_err(io_error(&path))?;
            if read < bytes.len() {
                return Err(bad(BadFrame::Short));
            }
            let header = frame::check(&bytes).map_err(bad)?;
            self.offset += bytes.len() as u64;
            self.peeked = Some(Frame { tier: self.tier, segment: first, offset, header, bytes });
        }
        Ok(self.peeked.as_ref())
    }

    /// The next frame, if it is before this one. An end or damage is met again when it is its turn.
    pub fn take_before(&mut self, frame: u64) -> Option<Frame> {
        match self.peek(frame) {
            Ok(Some(found)) if found.header.frame_no < frame => self.peeked.take(),
            _ => None,
        }
    }

    /// The next frame, if it is this one.
    pub fn take(&mut self, frame: u64) -> Result<Option<Frame>, ReadError> {
        match self.peek(frame)? {
            Some(found) if found.header.frame_no == frame => Ok(self.peeked.take()),
            _ => Ok(None),
        }
    }

    /// The number of the frame that comes next in this tier.
    pub fn following(&mut self, expected: u64) -> Option<u64> {
        self.peek(expected).ok().flatten().map(|frame| frame.header.frame_no)
    }

    /// Goes to the next segment, if there is one and this one has nothing more.
    fn advance(&mut self, after: Option<u64>) -> Result<bool, ReadError> {
        let list = segment::list(&self.dir, self.tier).map_err(io_error(&self.dir.join(self.tier.folder())))?;
        let Some((first, path)) = list.iter().find(|(first, _)| after.is_none_or(|after| *first > after)) else { return Ok(false) };
        if let Some(current) = after {
            let path = segment::path(&self.dir, self.tier, current);
            // One that was deleted in order meanwhile has been read to its end.
            let rest = match self.bytes_from_here(&path) {
                Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
                rest => rest?,
            };
            if rest.iter().any(|byte| *byte != 0) {
                let source = frame::check(&rest).err().unwrap_or(BadFrame::Magic);
                return Err(ReadError::Bad { segment: segment_name(self.tier, current), offset: self.offset, expected: *first, source });
            }
        }
        match File::open(path) {
            Ok(file) => (self.current, self.offset) = (Some((*first, file)), 0),
            // Deleted in order since it was listed: the caller asks again.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {}
            Err(error) => return Err(io_error(path)(error)),
        }
        Ok(true)
    }

    fn bytes_from_here(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let bytes = segment::read(path).map_err(io_error(path))?;
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        Ok(bytes.get(offset..).unwrap_or_default().to_vec())
    }

    /// The rest of this segment, and all later ones, as far as they hold anything.
    pub fn rest(&mut self) -> Result<Vec<(String, segment::Scan)>, ReadError> {
        let mut rests = Vec::new();
        if let Some(frame) = self.peeked.take() {
            self.offset = frame.offset;
        }
        let current = self.current.as_ref().map(|(first, _)| *first);
        for (first, path) in segment::list(&self.dir, self.tier).map_err(io_error(&self.dir))? {
            if current.is_some_and(|current| first < current) {
                continue;
            }
            if current != Some(first) {
                self.offset = 0;
            }
            let scan = segment::scan(&self.bytes_from_here(&path)?);
            if scan.stop != segment::Stop::Clean || !scan.frames.is_empty() {
                rests.push((segment_name(self.tier, first), scan));
            }
        }
        Ok(rests)
    }
}

/// Reads as much as there is.
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

pub(crate) fn segment_name(tier: Tier, first: u64) -> String {
    let path = segment::path(Path::new(""), tier, first);
    path.display().to_string()
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ReadError + use<> {
    let path = path.to_owned();
    move |source| ReadError::Io { path, source }
}
