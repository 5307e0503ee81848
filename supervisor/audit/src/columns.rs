//! Calls as columns: the payload of a `Detail` frame, and the dictionary it refers to.
//!
//! Runs in: daemon (encodes), CLI (decodes).
//! Does not: trust a payload. Every number is bounded by what is left of it, and all of it must be used up.
//!
//! A payload is a row of columns, each preceded by its length: shapes, then for each record the number of its shape, its time, its duration,
//! and what came out. A shape is all of a record that repeats: source, call, outcome, flags, errno, rule, handle, text and what went in.
//! Numbers are LEB128; times are differences, zigzag.

use std::collections::HashMap;

use crate::calls::CallId;
use crate::record::Outcome;
use crate::record::Record;

/// One record as it is written: texts and sources are numbers in the dictionary, 0 for no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub record: Record,
    pub source: u32,
    pub text: u32,
}

/// A payload that does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// It ends too early, or goes on too long.
    #[error("its length does not fit its contents")]
    Length,
    /// A number that does not fit its field.
    #[error("a number in it does not fit its field")]
    Number,
    /// A call, outcome, shape, text or source that does not exist.
    #[error("it names something that does not exist")]
    Reference,
    /// More strings than a segment may hold.
    #[error("its dictionary is larger than a segment's may be")]
    Dictionary,
    /// A name that is not the one that was written: its hash is another.
    #[error("holds a name that is not the one that was written")]
    Name,
}

/// Encodes records; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    shapes: HashMap<Shape, u64, std::hash::BuildHasherDefault<ShapeHasher>>,
    columns: [Vec<u8>; COLUMNS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape([u64; 3]);

/// Shapes come from records that the daemon has already taken, at most [`crate::frame::MAX_EVENTS`] of them: a table that a guest fills
/// badly costs time bounded by that, so a fast hash will do.
#[derive(Debug, Default)]
pub(crate) struct ShapeHasher(u64);

impl std::hash::Hasher for ShapeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

const COLUMNS: usize = 5;
const SHAPES: usize = 0;
const SHAPE: usize = 1;
const TIME: usize = 2;
const TOOK: usize = 3;
const OUT: usize = 4;

impl Encoder {
    /// The payload for these rows, appended to `payload`.
    pub fn encode(&mut self, rows: &[Row], payload: &mut Vec<u8>) {
        self.shapes.clear();
        self.columns.iter_mut().for_each(Vec::clear);
        let mut time = 0;
        for row in rows {
            let record = &row.record;
            let words = record.to_words();
            let shape = Shape([
                words[1],
                u64::from(record.handle) | u64::from(record.n_in) << 32,
                u64::from(row.source) | u64::from(row.text) << 32,
            ]);
            let next = self.shapes.len() as u64;
            let number = *self.shapes.entry(shape).or_insert_with(|| {
                let [what, who, names] = shape.0;
                for word in [what & 0xffff, what >> 16 & 0xff, what >> 24 & 0xff, what >> 32 & 0xffff, what >> 48] {
                    put(&mut self.columns[SHAPES], word);
                }
                for word in [who & 0xffff_ffff, who >> 32, names & 0xffff_ffff, names >> 32] {
                    put(&mut self.columns[SHAPES], word);
                }
                next
            });
            put(&mut self.columns[SHAPE], number);
            put(&mut self.columns[TIME], zigzag(record.time_ns.wrapping_sub(time)));
            put(&mut self.columns[TOOK], record.took_ns.into());
            put(&mut self.columns[OUT], record.n_out.into());
            time = record.time_ns;
        }
        for column in &self.columns {
            put(payload, column.len() as u64);
            payload.extend_from_slice(column);
        }
    }
}

/// The `n` rows of a payload.
///
/// # Errors
/// [`BadPayload`]
pub(crate) fn decode(payload: &[u8], n: usize) -> Result<Vec<Row>, BadPayload> {
    let mut rows = Vec::with_capacity(n.min(crate::frame::MAX_EVENTS));
    each_row(payload, n, &shapes(payload)?, |_, row| rows.push(*row))?;
    Ok(rows)
}

/// The shapes of a payload: rows without time, duration and what came out.
///
/// # Errors
/// [`BadPayload`]
pub(crate) fn shapes(mut payload: &[u8]) -> Result<Vec<Row>, BadPayload> {
    let mut shapes = split(&mut payload)?;
    let mut known = Vec::new();
    while !shapes.is_empty() {
        known.push(decode_shape(&mut shapes)?);
    }
    Ok(known)
}

/// The next column of a payload.
pub(crate) fn split<'a>(payload: &mut &'a [u8]) -> Result<&'a [u8], BadPayload> {
    let len = usize::try_from(get(payload)?).map_err(|_| BadPayload::Length)?;
    let (column, rest) = payload.split_at_checked(len).ok_or(BadPayload::Length)?;
    *payload = rest;
    Ok(column)
}

/// Hands over the `n` rows of a payload whose shapes are these, each with the place of its shape.
///
/// # Errors
/// [`BadPayload`]; then what was handed over is to be thrown away.
pub(crate) fn each_row(mut payload: &[u8], n: usize, shapes: &[Row], mut take: impl FnMut(usize, &Row)) -> Result<(), BadPayload> {
    let mut columns: [&[u8]; COLUMNS] = [&[]; COLUMNS];
    for column in &mut columns {
        *column = split(&mut payload)?;
    }
    let [_, mut shape, mut time, mut took, mut out] = columns;
    let mut now = 0u64;
    for _ in 0..n {
        let index = usize::try_from(get(&mut shape)?).map_err(|_| BadPayload::Reference)?;
        let mut row: Row = *shapes.get(index).ok_or(BadPayload::Reference)?;
        now = now.wrapping_add(unzigzag(get(&mut time)?));
        row.record.time_ns = now;
        row.record.took_ns = narrow(get(&mut took)?)?;
        row.record.n_out = narrow(get(&mut out)?)?;
        take(index, &row);
    }
    let all_used = [payload, shape, time, took, out].iter().all(|rest| rest.is_empty());
    if all_used { Ok(()) } else { Err(BadPayload::Length) }
}

fn decode_shape(shapes: &mut &[u8]) -> Result<Row, BadPayload> {
    let call = CallId::from_raw(narrow(get(shapes)?)?).ok_or(BadPayload::Reference)?;
    let outcome = Outcome::from_raw(narrow(get(shapes)?)?).ok_or(BadPayload::Reference)?;
    let record = Record {
        time_ns: 0,
        call,
        outcome,
        flags: narrow(get(shapes)?)?,
        errno: narrow(get(shapes)?)?,
        rule: narrow(get(shapes)?)?,
        handle: narrow(get(shapes)?)?,
        took_ns: 0,
        n_in: narrow(get(shapes)?)?,
        n_out: 0,
    };
    Ok(Row { record, source: narrow(get(shapes)?)?, text: narrow(get(shapes)?)? })
}

/// Appends a number.
pub(crate) fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Takes a number off the front.
#[inline]
pub(crate) fn get(from: &mut &[u8]) -> Result<u64, BadPayload> {
    match from.split_first() {
        Some((first, rest)) if *first < 0x80 => {
            *from = rest;
            Ok((*first).into())
        }
        _ => get_long(from),
    }
}

/// The same for one of several bytes: eight of them are looked at together, where there are so many.
#[inline]
fn get_long(from: &mut &[u8]) -> Result<u64, BadPayload> {
    if let Some(bytes) = from.first_chunk() {
        let word = u64::from_le_bytes(*bytes);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends != 0 {
            // From the lowest bit to the top bit of the byte that ends the number.
            let word = word & (ends ^ (ends - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
            // Seven bits of each byte move together: pairs of bytes, then pairs of those, and again.
            let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
            let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
            let word = word & 0x0000_0000_0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4;
            let len = ends.trailing_zeros() as usize / 8 + 1;
            *from = from.get(len..).unwrap_or_default();
            return Ok(word);
        }
    }
    get_bytewise(from)
}

fn get_bytewise(from: &mut &[u8]) -> Result<u64, BadPayload> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = from.split_first().ok_or(BadPayload::Length)?;
        *from = rest;
        if shift == 63 && *first > 1 {
            return Err(BadPayload::Number);
        }
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(BadPayload::Number)
}

pub(crate) fn narrow<T: TryFrom<u64>>(number: u64) -> Result<T, BadPayload> {
    T::try_from(number).map_err(|_| BadPayload::Number)
}

pub(crate) fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    (signed << 1 ^ signed >> 63).cast_unsigned()
}

pub(crate) fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;
    use crate::calls::call_id;

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let calls = [call_id("wasi_snapshot_preview1", "fd_read").unwrap(), call_id("wasi_ephemeral_nn", "compute").unwrap()];
        let row = (any::<[u64; 4]>(), 0..2usize, 0u8..5, 0u8..4, any::<[u32; 2]>()).prop_map(
            move |(words, call, outcome, flags, [source, text])| {
                let [time_ns, a, b, c] = words;
                let outcome = Outcome::from_raw(outcome).unwrap();
                let record = Record {
                    time_ns,
                    call: calls[call],
                    outcome,
                    flags,
                    errno: a as u16,
                    rule: (a >> 16) as u16,
                    handle: (a >> 32) as u32,
                    took_ns: b as u32,
                    n_in: (b >> 32) as u32,
                    n_out: c as u32,
                };
                Row { record, source, text }
            },
        );
        proptest::collection::vec(row, 0..50)
    }

    /// Numbers of every length.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..64).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn numbers_read_back_however_they_are_read(numbers in proptest::collection::vec(number(), 0..20)) {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|number| put(&mut bytes, *number));
            let mut rest = bytes.as_slice();
            for number in numbers {
                prop_assert_eq!(get(&mut rest), Ok(number));
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn noise_is_the_same_number_whether_read_byte_by_byte_or_not(bytes in proptest::collection::vec(prop_oneof![Just(0x80u8), any::<u8>()], 0..14)) {
            let (mut fast, mut slow) = (bytes.as_slice(), bytes.as_slice());
            prop_assert_eq!(get(&mut fast), get_bytewise(&mut slow));
        }

        #[test]
        fn rows_read_back(rows in rows()) {
            let mut payload = Vec::new();
            Encoder::default().encode(&rows, &mut payload);
            prop_assert_eq!(decode(&payload, rows.len()), Ok(rows));
        }

        #[test]
        fn a_changed_payload_never_panics(rows in rows(), at: prop::sample::Index, byte: u8, n in 0usize..5000) {
            let mut payload = Vec::new();
            Encoder::default().encode(&rows, &mut payload);
            let at = at.index(payload.len());
            payload[at] = byte;
            let _ = decode(&payload, n);
        }

        #[test]
        fn noise_never_panics(payload in proptest::collection::vec(any::<u8>(), 0..200), n in 0usize..5000) {
            let _ = decode(&payload, n);
        }
    }

    #[test]
    fn leftover_bytes_are_refused() {
        let mut payload = Vec::new();
        Encoder::default().encode(&[], &mut payload);
        payload.push(0);
        assert_eq!(decode(&payload, 0), Err(BadPayload::Length));
    }
}
