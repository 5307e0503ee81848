//! Calls on their way into a frame.
//!
//! Runs in: daemon.

use std::collections::HashMap;

use crate::dict::Source;
use crate::frame::MAX_EVENTS;
use crate::record::Record;

/// The calls of one frame. Texts lie in one arena, so that a call costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub calls: Vec<(Record, u32, std::ops::Range<usize>)>,
    pub texts: Vec<u8>,
    pub sources: Vec<Source>,
    source_ids: HashMap<Source, u32>,
}

impl Buffer {
    pub fn source(&mut self, source: &Source) -> u32 {
        if let Some(id) = self.source_ids.get(source) {
            return *id;
        }
        let id = self.sources.len() as u32;
        self.sources.push(source.clone());
        self.source_ids.insert(source.clone(), id);
        id
    }

    pub fn push(&mut self, record: &Record, source: u32, text: Option<&[u8]>) {
        let start = self.texts.len();
        self.texts.extend_from_slice(text.unwrap_or_default());
        self.calls.push((rounded(record), source, start..self.texts.len()));
    }

    pub fn is_full(&self) -> bool {
        self.calls.len() >= MAX_EVENTS || self.texts.len() >= MAX_TEXTS
    }
}

/// Times as the journal keeps them: whole multiples of [`RESOLUTION_NS`], rounded down. What lies below is noise of the machine, and would take more of the disk
/// than all the rest of a call. Rounded here, before anything is written or counted, so that calls and counts say the same.
fn rounded(record: &Record) -> Record {
    let down = |ns: u64| ns - ns % RESOLUTION_NS;
    let took_ns = u32::try_from(down(record.took_ns.into())).unwrap_or(u32::MAX);
    Record { time_ns: down(record.time_ns), took_ns, ..*record }
}

/// The resolution of a call's time and duration, in nanoseconds.
pub(crate) const RESOLUTION_NS: u64 = 64;

/// Bytes of texts that one `Detail` frame refers to, at most.
const MAX_TEXTS: usize = 128 << 10;
