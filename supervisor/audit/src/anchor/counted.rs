//! The newest number of the TPM's counter that the journal knows.
//!
//! Runs in: daemon, CLI.
//! Does not: ask a TPM, nor verify the journal, which is [`crate::verify()`]'s work.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::event::Event;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::payload::Entry;
use crate::segment;
use crate::segment::Tier;

/// What the journal said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The value that the counter was to be raised to; none when it was about to be bound.
    pub value: Option<u64>,
    /// The frame that says so.
    pub frame: u64,
}

/// The last [`Event::JournalCounted`] of a journal; nothing if it was never bound to a counter.
///
/// # Errors
/// A segment cannot be read.
pub fn last(journal: &Path) -> io::Result<Option<Counted>> {
    for (_, path) in segment::list(journal, Tier::Security)?.into_iter().rev() {
        let bytes = segment::read(&path)?;
        let scan = segment::scan(&bytes);
        let events = scan.frames.iter().chain(&scan.after).rev().filter(|(_, header)| header.kind == FrameType::Events);
        for (at, header) in events {
            let payload = bytes.get(at + HEADER_LEN..at + header.len()).unwrap_or_default();
            // Most events are others, and some hold names by number: those do not parse so.
            let Ok(entries) = serde_json::from_slice::<Vec<Entry<Event>>>(payload) else { continue };
            if let Some(value) = entries.into_iter().rev().find_map(|entry| match entry.event {
                Event::JournalCounted { value, .. } => Some(value),
                _ => None,
            }) {
                return Ok(Some(Counted { value, frame: header.frame_no }));
            }
        }
    }
    Ok(None)
}
