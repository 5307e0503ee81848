//! How buffered calls become frames: what is new in the segment's dictionary first, then the columns. What is in a frame is counted.
//!
//! Runs in: daemon, on the journal's thread.

use crate::buffer::Buffer;
use crate::clock::boottime_ns;
use crate::columns::Row;
use crate::error::JournalError;
use crate::frame;
use crate::frame::COMPRESSED;
use crate::frame::FrameType;
use crate::frame::Header;
use crate::journal::Journal;
use crate::segment::Tier;

impl Journal {
    /// Writes the buffered calls.
    pub(super) fn write_detail(&mut self) -> Result<(), JournalError> {
        while !self.buffers.is_empty() {
            self.write_full_summaries()?;
            let Some(buffer) = self.buffers.pop_front() else { break };
            if !self.detail() {
                self.only_count(&buffer);
            } else if let Err(error) = self.write_buffer(&buffer) {
                self.buffers.push_front(buffer);
                return Err(error);
            } else {
                self.counter.add(&buffer);
            }
        }
        self.write_full_summaries()
    }

    /// Writes a frame for what is new in the dictionary, then one for the calls.
    fn write_buffer(&mut self, buffer: &Buffer) -> Result<(), JournalError> {
        if self.counter.gap {
            // Each segment holds calls that follow each other.
            self.begin_segment(Tier::Detail)?;
        }
        let (mut dict, mut payload) = self.encode(buffer)?;
        let room = 2 * frame::HEADER_LEN + dict.as_ref().map_or(0, Vec::len) + payload.len();
        let fits = self.detail.segment.as_ref().is_some_and(|segment| segment.fits(room));
        if !fits || self.interner.is_full() {
            // Both frames go into a new segment, with a dictionary of its own.
            self.begin_segment(Tier::Detail)?;
            (dict, payload) = self.encode(buffer)?;
        }
        // A worker may lie about its times; a frame does not begin after it was written.
        let first = buffer.calls.iter().map(|(record, ..)| record.time_ns).min().unwrap_or(0).min(boottime_ns());
        let last = buffer.calls.iter().map(|(record, ..)| record.time_ns).max().unwrap_or(0);
        if let Some(dict) = dict {
            self.write_dict(Tier::Detail, first, &dict)?;
        }
        let n = u16::try_from(buffer.calls.len()).unwrap_or(u16::MAX);
        let span_us = u32::try_from(last.saturating_sub(first) / 1000).unwrap_or(u32::MAX);
        let header = Header { flags: COMPRESSED, span_us, ..self.header(FrameType::Detail, n, self.detail.next_seq, first) };
        self.write(Tier::Detail, header, &payload).map(drop)
    }

    /// Writes a frame for what is new in the dictionary of a tier's segment.
    pub(super) fn write_dict(&mut self, tier: Tier, first: u64, dict: &[u8]) -> Result<(), JournalError> {
        let first_seq = self.writer(tier).next_seq;
        let header = self.header(FrameType::Dict, 0, first_seq, first);
        self.write(tier, header, dict)?;
        match tier {
            Tier::Summary => self.counter.interner.written(),
            Tier::Detail => self.interner.written(),
            Tier::Security => self.denied.written(),
        }
        Ok(())
    }

    /// The calls as payloads, in the dictionary of the current segment.
    fn encode(&mut self, buffer: &Buffer) -> Result<(Option<Vec<u8>>, Vec<u8>), JournalError> {
        let Self { interner, encoder, compressor, .. } = self;
        let sources: Vec<u32> = buffer.sources.iter().map(|source| interner.source(source)).collect();
        let mut rows = Vec::with_capacity(buffer.calls.len());
        for (record, source, text) in &buffer.calls {
            let text = buffer.texts.get(text.clone()).filter(|text| !text.is_empty());
            let text = text.map(|text| interner.text(text)).transpose()?.unwrap_or(0);
            let source = sources.get(*source as usize).copied().unwrap_or(0);
            rows.push(Row { record: *record, source, text });
        }
        let mut raw = Vec::new();
        encoder.encode(&rows, &mut raw);
        let dict = interner.peek_new().map(<[u8]>::to_vec);
        Ok((dict, compressor.0.compress(&raw).map_err(JournalError::Compress)?))
    }
}
