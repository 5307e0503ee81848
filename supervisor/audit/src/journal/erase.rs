//! Erasing names: what a guest called a file or a model goes, everything else stays, and stays provable.
//!
//! Runs in: daemon, on the journal's thread.
//! Invariant: a name is overwritten only after a sealed frame on the disk says so. A crash between the two is finished by the next start.
//! Does not: reach copies: what was exported, a backup, or what a flash disk keeps of blocks that were written before.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::error::JournalError;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::frame::Header;
use crate::journal::Journal;
use crate::names;
use crate::names::Name;
use crate::names::SALT_LEN;
use crate::names::State;
use crate::payload::Erasure;
use crate::segment;
use crate::segment::Tier;
use crate::text::cut;

/// Which names are to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Exactly these, as the journal shows them.
    #[serde(default)]
    pub names: Vec<String>,
    /// These, and all paths below them.
    #[serde(default)]
    pub under: Vec<String>,
}

/// What was erased, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erased {
    /// Names: one stands in each segment in which a guest used it.
    pub names: u64,
    /// Frames that hold them.
    pub frames: u64,
    /// Segments that hold those.
    pub segments: u64,
}

/// A name in a segment.
#[derive(Debug)]
struct Found {
    frame: u64,
    index: u32,
    /// Its salt and text, in the segment.
    at: Range<usize>,
}

impl Erase {
    /// Whether this name is to go.
    #[must_use]
    pub fn holds(&self, name: &[u8]) -> bool {
        let below = |folder: &String| {
            let folder = folder.trim_end_matches('/').as_bytes();
            name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        self.names.iter().any(|wanted| wanted.as_bytes() == name) || self.under.iter().any(below)
    }

    /// Whether it names anything at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.under.is_empty()
    }
}

impl Journal {
    /// Erases names from all segments that are there, and says how many; with `dry`, only says so. `reason` and the user `by` stand in the journal for good.
    ///
    /// # Errors
    /// [`JournalError::Unsealed`] without keys: nobody could tell it from tampering then. [`JournalError`]: what was not erased is erased at the next start, if
    /// a frame says so already.
    pub fn erase(&mut self, what: &Erase, reason: &str, by: u32, dry: bool) -> Result<Erased, JournalError> {
        if self.sealer.is_none() {
            return Err(JournalError::Unsealed);
        }
        self.sync()?;
        self.with_room(Self::write_summaries)?;
        let found = self.find_names(what)?;
        let mut frames: Vec<u64> = found.values().flatten().map(|name| name.frame).collect();
        frames.dedup();
        let erased = Erased {
            names: found.values().map(|names| names.len() as u64).sum(),
            frames: frames.len() as u64,
            segments: found.len() as u64,
        };
        if dry || found.is_empty() {
            return Ok(erased);
        }
        // What is written from now on names what it needs anew: the names it remembers may be those that go.
        for tier in Tier::ALL {
            if self.writer(tier).segment.is_some() {
                self.with_room(|journal| journal.begin_segment(tier))?;
            }
        }
        let (reason, _) = cut(reason, MAX_REASON);
        for (path, names) in &found {
            for names in names.chunks(MAX_NAMES) {
                let mut by_frame: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
                names.iter().for_each(|name| by_frame.entry(name.frame).or_default().push(name.index));
                let erasure = Erasure { reason: reason.to_owned(), by, names: by_frame.into_iter().collect() };
                self.with_room(|journal| journal.own_frame(FrameType::Erasure, &erasure))?;
                self.with_room(Self::sync_files)?;
                self.overwrite(path, names)?;
            }
        }
        Ok(erased)
    }

    /// Finishes what a crash interrupted: names of which a frame of the last run says that they are erased. Only one that was sealed, as it is before anything is
    /// overwritten, and only now, before this run's `Boot` frame: nobody without the keys has names erased by a frame of his own behind the last seal, neither
    /// at this start nor once it is sealed with all else at a later one.
    pub(super) fn finish_erasures(&mut self, sealed: u64) -> Result<(), JournalError> {
        let io = |what| JournalError::io(what, &self.dir);
        let events = segment::list(&self.dir, Tier::Security).map_err(io("list segments"))?;
        let mut wanted: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        // One is written and carried out before the next: it is the last one, and no segment of events was begun behind it.
        if let Some((_, path)) = events.last() {
            let bytes = segment::read(path).map_err(io("read a segment"))?;
            let said = |header: &Header| header.kind == FrameType::Erasure && header.frame_no < sealed;
            let scan = segment::scan(&bytes);
            let run = scan.frames.iter().rposition(|(_, header)| header.kind == FrameType::Boot).unwrap_or_default();
            for (at, header) in scan.frames.iter().skip(run).filter(|(_, header)| said(header)) {
                let payload = bytes.get(at + HEADER_LEN..at + header.len()).unwrap_or_default();
                let Ok(erasure) = serde_json::from_slice::<Erasure>(payload) else { continue };
                for (frame, names) in erasure.names {
                    wanted.entry(frame).or_default().extend(names);
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let said = |frame: u64, index: u32| wanted.get(&frame).is_some_and(|names| names.contains(&index));
        for (path, names) in self.each_name(|frame, index, name| !name.is_blank() && said(frame, index))? {
            self.overwrite(&path, &names)?;
        }
        Ok(())
    }

    fn find_names(&self, what: &Erase) -> Result<BTreeMap<PathBuf, Vec<Found>>, JournalError> {
        self.each_name(|_, _, name| name.state() == State::Whole && name.shown().is_ok_and(|text| what.holds(text)))
    }

    /// The names in all segments that are wanted, by segment.
    fn each_name(&self, wanted: impl Fn(u64, u32, &Name<'_>) -> bool) -> Result<BTreeMap<PathBuf, Vec<Found>>, JournalError> {
        let io = |what| JournalError::io(what, &self.dir);
        let mut found: BTreeMap<PathBuf, Vec<Found>> = BTreeMap::new();
        for tier in Tier::ALL {
            for (_, path) in segment::list(&self.dir, tier).map_err(io("list segments"))? {
                let bytes = segment::read(&path).map_err(io("read a segment"))?;
                let scan = segment::scan(&bytes);
                for (at, header) in scan.frames.iter().chain(&scan.after).filter(|(_, header)| header.kind == FrameType::Dict) {
                    let start = at + HEADER_LEN;
                    let payload = bytes.get(start..at + header.len()).unwrap_or_default();
                    for (body, index) in names::names(payload).unwrap_or_default().into_iter().zip(0..) {
                        let name = payload.get(body.clone()).map(Name::parse).and_then(Result::ok);
                        if name.is_some_and(|name| wanted(header.frame_no, index, &name)) {
                            let at = names::erasable(&body);
                            let at = start + at.start..start + at.end;
                            found.entry(path.clone()).or_default().push(Found { frame: header.frame_no, index, at });
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// The salts first, all of them, for a name without one is an erased name; then what they belonged to.
    fn overwrite(&self, path: &std::path::Path, names: &[Found]) -> Result<(), JournalError> {
        let overwrite = || {
            let file = self.disk.open(path)?;
            for name in names {
                file.write_all_at(&[0; SALT_LEN], name.at.start as u64)?;
            }
            file.sync()?;
            for name in names {
                let text = name.at.len().saturating_sub(SALT_LEN);
                file.write_all_at(&vec![0; text], (name.at.start + SALT_LEN) as u64)?;
            }
            file.sync()
        };
        overwrite().map_err(JournalError::io("erase names", &self.dir))
    }
}

/// Names that one frame says are erased.
const MAX_NAMES: usize = 4096;
/// Bytes of the reason that are kept.
const MAX_REASON: usize = 1024;
