//! What frames name by number, segment by segment, and the frames of counts that are read by it.
//!
//! Runs in: CLI, daemon at its start.
//! Does not: trust a frame. Keys are bounded, and every number must lead somewhere.

use crate::columns::BadPayload;
use crate::dict::Dictionary;
use crate::read::BadContent;
use crate::read::Count;
use crate::read::Coverage;
use crate::read::Frame;
use crate::read::Reader;
use crate::read::Summary;
use crate::read::calls::Unpacker;
use crate::summary;
use crate::summary::Key;

/// What the frames of one segment name by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// First frame of the segment.
    pub of: Option<u64>,
    pub dictionary: Dictionary,
    /// What is counted together, in a segment of counts.
    pub keys: Vec<Key>,
}

impl Names {
    /// Those of this segment; of another one nothing is kept.
    pub fn turn_to(&mut self, segment: u64) {
        if self.of != Some(segment) {
            *self = Self { of: Some(segment), ..Self::default() };
        }
    }
}

impl Reader {
    pub(super) fn summary(&mut self, frame: &Frame, unpacker: &mut Unpacker) -> Result<Summary, BadContent> {
        let mut payload = frame.payload();
        let coverage = Coverage::get(&mut payload)?;
        let (first_key, new, rows) = summary::columns::decode(unpacker.unpack(payload)?, frame.header.n.into())?;
        let Names { dictionary, keys, .. } = &mut self.counts;
        let first_key = usize::try_from(first_key).unwrap_or(usize::MAX);
        // A frame that is read twice brings the same keys again.
        if first_key > keys.len() || first_key.saturating_add(new.len()) > summary::MAX_KEYS {
            return Err(BadPayload::Reference.into());
        }
        keys.truncate(first_key);
        keys.extend(new);
        let mut counts = Vec::with_capacity(rows.len());
        for row in &rows {
            let Key { source, call, outcome, errno, rule, text } = *keys.get(row.key as usize).ok_or(BadPayload::Reference)?;
            let window_boot = row.window.checked_mul(coverage.window.nanos()).ok_or(BadPayload::Number)?;
            counts.push(Count {
                window_boot,
                window_real: frame.header.real_time(window_boot),
                source: dictionary.source(source)?,
                call,
                outcome,
                errno,
                rule,
                text: dictionary.text(text)?,
                counts: row.counts,
            });
        }
        let found = rows.iter().fold(0u64, |sum, row| sum.saturating_add(row.counts.calls));
        let expected = coverage.count();
        if found == expected { Ok(Summary { coverage, rows: counts }) } else { Err(BadContent::Counts { expected, found }) }
    }
}
