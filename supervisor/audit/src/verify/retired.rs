//! Segments of calls and counts that were deleted in order: which frames the journal may lack.
//!
//! Runs in: CLI.
//! Does not: believe what it finds. A frame that says that others were deleted counts once it is read in its turn, and only if it is sealed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::payload::Retention;
use crate::segment;
use crate::segment::Tier;
use crate::summary::Coverage;

/// What the journal says of its deleted segments.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    /// First frame of a run → the frame behind it, the frame that says so, and the segment's place in `segments`.
    runs: BTreeMap<u64, (u64, u64, usize)>,
    segments: Vec<Gone>,
    /// First call → the call behind the segment, or behind calls that were only counted, whose counts are gone.
    calls: BTreeMap<u64, u64>,
    /// The last frame that was needed.
    pub said_by: u64,
}

/// A deleted segment.
#[derive(Debug)]
pub(crate) struct Gone {
    pub tier: Tier,
    /// Its first call or row.
    pub first_seq: u64,
    /// The one behind it.
    pub next_seq: u64,
    /// The calls whose counts were in it.
    pub counted: Option<(u64, u64)>,
}

impl Retired {
    /// Looks through the journal's own frames.
    pub fn look(dir: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for (_, path) in segment::list(dir, Tier::Security)? {
            let bytes = segment::read(&path)?;
            for (at, header) in segment::scan(&bytes).frames.iter().filter(|(_, header)| header.kind == FrameType::Retention) {
                let payload = bytes.get(at + HEADER_LEN..at + header.len()).unwrap_or_default();
                // One that does not parse is met again in its turn.
                let Ok(retention) = serde_json::from_slice::<Retention>(payload) else { continue };
                let tier = retention.tier();
                for (first, count) in retention.frames {
                    found.runs.entry(first).or_insert((first.saturating_add(count), header.frame_no, found.segments.len()));
                }
                if tier == Tier::Detail {
                    found.calls.entry(retention.first_seq).or_insert(retention.next_seq);
                }
                for (first, next) in retention.only_counted {
                    found.calls.entry(first).or_insert(next);
                }
                let (first_seq, next_seq, counted) = (retention.first_seq, retention.next_seq, retention.counted);
                found.segments.push(Gone { tier, first_seq, next_seq, counted });
            }
        }
        Ok(found)
    }

    /// Also passes over calls that were only counted, as the counts that are there say.
    pub fn also_counted(&mut self, dir: &Path) -> io::Result<()> {
        for (_, path) in segment::list(dir, Tier::Summary)? {
            let bytes = segment::read(&path)?;
            for (at, header) in segment::scan(&bytes).frames.iter().filter(|(_, header)| header.kind == FrameType::Summary) {
                let coverage = bytes.get(at + HEADER_LEN..at + header.len()).map(|mut payload| Coverage::get(&mut payload));
                if let Some(Ok(Coverage { calls, detail: false, .. })) = coverage {
                    self.calls.entry(calls.start).or_insert(calls.end);
                }
            }
        }
        Ok(())
    }

    /// The first of these frames that nobody says was deleted.
    pub fn unexplained(&mut self, from: u64, to: u64) -> Option<u64> {
        let mut at = from;
        while at < to {
            let Some((_, (end, said_by, _))) = self.runs.range(..=at).next_back() else { return Some(at) };
            if *end <= at {
                return Some(at);
            }
            self.said_by = self.said_by.max(*said_by);
            at = *end;
        }
        None
    }

    /// The segments that these deleted frames were in.
    pub fn passed(&self, from: u64, to: u64) -> impl Iterator<Item = &Gone> {
        // The run that the first frame is in may begin before it.
        let first = self.runs.range(..=from).next_back().map_or(from, |(first, _)| *first);
        self.runs.range(first..to.max(first)).filter_map(|(_, (_, _, segment))| self.segments.get(*segment))
    }

    /// The call behind those that were deleted from this one on.
    pub fn reach(&self, from: u64) -> u64 {
        let mut at = from;
        while let Some(next) = self.calls.get(&at).filter(|next| **next > at) {
            at = *next;
        }
        at
    }

    /// Whether these calls all were in deleted segments, of which the first may have been left behind in part.
    pub fn covers(&self, from: u64, to: u64) -> bool {
        let begun = self.calls.range(..=from).next_back().map(|(_, next)| *next);
        begun.is_some_and(|next| next > from && self.held(next, to))
    }

    /// Whether deleted segments held exactly the calls from one number up to another.
    pub fn held(&self, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            match self.calls.get(&at) {
                Some(next) if *next > at => at = *next,
                _ => return false,
            }
        }
        at == to
    }
}
