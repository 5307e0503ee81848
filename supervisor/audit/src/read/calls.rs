//! The calls of one frame: those that are wanted, or what they come to.
//!
//! Runs in: CLI.
//! Does not: make anything for a call that nobody wants. A row is looked at in place, and counted or passed.

use std::collections::HashMap;
use std::sync::Arc;

use zstd::bulk::Decompressor;

use crate::columns;
use crate::columns::Row;
use crate::dict::Source;
use crate::frame::COMPRESSED;
use crate::frame::MAX_RAW;
use crate::read::BadContent;
use crate::read::Call;
use crate::read::CallView;
use crate::read::Frame;
use crate::read::Item;
use crate::read::ReadError;
use crate::read::Reader;
use crate::read::item;
use crate::summary::Window;
use crate::summary::tally::Sums;

/// Unpacks payloads, one after the other, into the same memory.
#[derive(Default)]
pub(crate) struct Unpacker {
    raw: Vec<u8>,
    zstd: Option<Decompressor<'static>>,
}

impl Unpacker {
    /// A frame's payload as it was before it was compressed.
    ///
    /// # Errors
    /// [`BadContent::Compression`]; it never becomes longer than [`MAX_RAW`].
    pub fn payload<'a>(&'a mut self, frame: &'a Frame) -> Result<&'a [u8], BadContent> {
        if frame.header.flags & COMPRESSED == 0 {
            return Ok(frame.payload());
        }
        self.unpack(frame.payload())
    }

    /// What was compressed.
    ///
    /// # Errors
    /// [`BadContent::Compression`]; it never becomes longer than [`MAX_RAW`].
    pub fn unpack(&mut self, compressed: &[u8]) -> Result<&[u8], BadContent> {
        self.raw.resize(MAX_RAW, 0);
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(Decompressor::new().map_err(BadContent::Compression)?),
        };
        let len = zstd.decompress_to_buffer(compressed, self.raw.as_mut_slice()).map_err(BadContent::Compression)?;
        Ok(self.raw.get(..len).unwrap_or_default())
    }
}

/// Calls of one frame that were made in the same second and are alike in all that repeats, with what they come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// What they have in common.
    pub shape: Row,
    pub sums: Sums,
}

/// What the calls of a frame come to. Names are numbers still: of the frames before it in its segment, nothing is needed.
///
/// # Errors
/// [`BadContent`]
pub(crate) fn summed(frame: &Frame, unpacker: &mut Unpacker) -> Result<Vec<Part>, BadContent> {
    let payload = unpacker.payload(frame)?;
    let shapes = columns::shapes(payload)?;
    let mut parts: Vec<Part> = Vec::new();
    // For each shape the second it was seen in last, for calls come nearly in the order of their times; and all seconds it was seen in.
    let mut last = vec![(0, usize::MAX); shapes.len()];
    let mut places: HashMap<(usize, u64), usize> = HashMap::new();
    columns::each_row(payload, frame.header.n.into(), &shapes, |shape, row| {
        let second = row.record.time_ns / Window::Second.nanos();
        let sums = Sums::of(&row.record);
        let Some(last) = last.get_mut(shape) else { return };
        if last.0 != second || last.1 == usize::MAX {
            *last = (second, *places.entry((shape, second)).or_insert(parts.len()));
        }
        match parts.get_mut(last.1) {
            Some(part) => part.sums.add(&sums),
            None => parts.push(Part { shape: *row, sums }),
        }
    })?;
    Ok(parts)
}

impl Reader {
    /// Who made these calls of this frame, and the path or name that belongs to them.
    ///
    /// # Errors
    /// [`ReadError::Payload`] for a number that leads nowhere.
    pub(crate) fn names_of(&mut self, frame: &Frame, part: &Part) -> Result<(Arc<Source>, Option<Arc<[u8]>>), ReadError> {
        self.calls.turn_to(frame.segment);
        let names = &self.calls.dictionary;
        let found = names.source(part.shape.source).and_then(|source| Ok((source, names.text(part.shape.text)?)));
        found.map_err(|source| ReadError::Payload { frame: frame.header.frame_no, source: source.into() })
    }

    /// The calls of a frame of calls that are wanted. What calls have in common is asked about first, and if it can decide, nothing else is looked at.
    pub(crate) fn calls_where(
        &mut self,
        frame: &Frame,
        wants: &dyn Fn(&CallView<'_>) -> Option<bool>,
    ) -> Result<Vec<Item<Call>>, ReadError> {
        let mut unpacker = std::mem::take(&mut self.unpacker);
        let found = self.filtered(frame, &mut unpacker, wants);
        self.unpacker = unpacker;
        found.map_err(|source| ReadError::Payload { frame: frame.header.frame_no, source })
    }

    fn filtered(
        &mut self,
        frame: &Frame,
        unpacker: &mut Unpacker,
        wants: &dyn Fn(&CallView<'_>) -> Option<bool>,
    ) -> Result<Vec<Item<Call>>, BadContent> {
        let header = &frame.header;
        self.calls.turn_to(frame.segment);
        let dictionary = &self.calls.dictionary;
        let payload = unpacker.payload(frame)?;
        let shapes = columns::shapes(payload)?;
        let mut named = Vec::with_capacity(shapes.len());
        for shape in &shapes {
            let source = dictionary.source(shape.source)?;
            let text = dictionary.text(shape.text)?;
            let view = CallView { record: &shape.record, time_real: 0, source: &source, text: text.as_deref(), whole: false };
            let refused = wants(&view) == Some(false);
            named.push(Some((source, text)).filter(|_| !refused));
        }
        let mut items = Vec::new();
        if named.iter().all(Option::is_none) {
            return Ok(items);
        }
        let mut index = 0;
        columns::each_row(payload, header.n.into(), &shapes, |shape, row| {
            if let Some(Some((source, text))) = named.get(shape) {
                let time_real = header.real_time(row.record.time_ns);
                let view = CallView { record: &row.record, time_real, source, text: text.as_deref(), whole: true };
                if wants(&view) == Some(true) {
                    let call = Call { record: row.record, source: Arc::clone(source), text: text.clone() };
                    items.push(item(header, index, row.record.time_ns, call));
                }
            }
            index += 1;
        })?;
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;
    use crate::calls::call_id;
    use crate::columns::Encoder;
    use crate::frame::FrameType;
    use crate::frame::Header;
    use crate::record::Outcome;
    use crate::record::Record;
    use crate::segment::Tier;
    use crate::summary::tally::Cell;
    use crate::summary::tally::Tally;

    /// A frame of calls, with right checksums.
    fn frame(rows: &[Row], compressed: bool) -> Frame {
        let mut payload = Vec::new();
        Encoder::default().encode(rows, &mut payload);
        let stored = if compressed { zstd::bulk::compress(&payload, 1).unwrap() } else { payload };
        let header = Header {
            kind: FrameType::Detail,
            flags: if compressed { COMPRESSED } else { 0 },
            n: rows.len() as u16,
            frame_no: 3,
            first_seq: 0,
            t0_boot: 0,
            t0_real: 0,
            span_us: 0,
            epoch: 0,
            unsynced: 0,
            payload_len: stored.len() as u32,
        };
        let mut bytes = Vec::new();
        header.seal(&stored, &mut bytes).unwrap();
        Frame { tier: Tier::Detail, segment: 0, offset: 0, header, bytes }
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (0u64..4, 0u64..3, 0u8..3, any::<[u32; 4]>(), 0u32..3).prop_map(
            |(second, nanos, outcome, [took_ns, n_in, n_out, handle], text)| {
                let record = Record {
                    time_ns: second * 1_000_000_000 + nanos * 499_999_999,
                    call: call_id("wasi_snapshot_preview1", "fd_read").unwrap(),
                    outcome: Outcome::from_raw(outcome).unwrap(),
                    flags: 0,
                    errno: 0,
                    rule: 1,
                    handle: handle % 2,
                    took_ns,
                    n_in: n_in % 2,
                    n_out,
                };
                Row { record, source: text % 2, text }
            },
        );
        proptest::collection::vec(row, 0..60)
    }

    fn counted(tally: &Tally) -> (u64, Vec<Cell>) {
        let mut rows = tally.rows.clone();
        rows.sort_by_key(|cell| (cell.window, cell.key.words()));
        (tally.coverage.count(), rows)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn calls_summed_up_count_as_they_do_one_by_one(rows in rows(), compressed: bool) {
            // Names by their numbers in the frame, given to both in the same order.
            let texts: [&[u8]; 3] = [b"", b"a", b"b"];
            let text = |row: &Row| texts.get(row.text as usize).copied().filter(|text| !text.is_empty());
            for window in [Window::Second, Window::TenSeconds] {
                let (mut each, mut sums) = (Tally::new(0, window, true), Tally::new(0, window, true));
                for tally in [&mut each, &mut sums] {
                    // The same numbers for the same texts in both.
                    prop_assert!(texts.iter().skip(1).all(|text| tally.push(&rows_first(), 0, Some(*text))));
                }
                for row in &rows {
                    prop_assert!(each.push(&row.record, row.source, text(row)));
                }
                let parts = summed(&frame(&rows, compressed), &mut Unpacker::default()).unwrap();
                prop_assert_eq!(parts.iter().map(|part| part.sums.calls).sum::<u64>(), rows.len() as u64);
                for part in &parts {
                    prop_assert!(sums.add(&part.shape.record, part.shape.source, text(&part.shape), &part.sums));
                }
                prop_assert_eq!(counted(&each), counted(&sums));
            }
        }

        #[test]
        fn noise_is_refused_or_read_and_never_panics(payload in proptest::collection::vec(any::<u8>(), 0..200), n in 0u16..4000, compressed: bool) {
            let mut noise = frame(&[], false);
            noise.header.n = n;
            noise.header.flags = if compressed { COMPRESSED } else { 0 };
            noise.bytes.truncate(crate::frame::HEADER_LEN);
            noise.bytes.extend(payload);
            let _ = summed(&noise, &mut Unpacker::default());
        }
    }

    fn rows_first() -> Record {
        let call = call_id("wasi_snapshot_preview1", "fd_close").unwrap();
        Record { time_ns: 0, call, outcome: Outcome::Ok, flags: 0, errno: 0, rule: 0, handle: 0, took_ns: 0, n_in: 0, n_out: 0 }
    }
}
