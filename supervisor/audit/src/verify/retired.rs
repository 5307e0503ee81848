//! Segments of calls that were deleted in order: which frames the journal may lack.
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

/// What the journal says of its deleted segments.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    /// First frame of a run → the frame behind it, and the frame that says so.
    runs: BTreeMap<u64, (u64, u64)>,
    /// First call → the call behind the segment.
    calls: BTreeMap<u64, u64>,
    /// The last frame that was needed.
    pub said_by: u64,
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
                for (first, count) in retention.frames {
                    found.runs.entry(first).or_insert((first.saturating_add(count), header.frame_no));
                }
                found.calls.entry(retention.first_seq).or_insert(retention.next_seq);
            }
        }
        Ok(found)
    }

    /// The first of these frames that nobody says was deleted.
    pub fn unexplained(&mut self, from: u64, to: u64) -> Option<u64> {
        let mut at = from;
        while at < to {
            let Some((_, (end, said_by))) = self.runs.range(..=at).next_back() else { return Some(at) };
            if *end <= at {
                return Some(at);
            }
            self.said_by = self.said_by.max(*said_by);
            at = *end;
        }
        None
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
