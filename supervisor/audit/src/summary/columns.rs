//! Counts as columns: the compressed part of a `Summary` frame's payload.
//!
//! Runs in: daemon (encodes), CLI (decodes).
//! Does not: trust a payload. Every number is bounded by what is left of it, and all of it must be used up.
//!
//! First the number of the first key that is new in the segment, then columns, each preceded by its length: new keys, and for each row its window,
//! its key, and what was counted. What is counted is written as its difference from what the row before of the same key lets expect, since one second
//! is much like the one before.

use std::collections::HashMap;

use crate::calls::CallId;
use crate::columns::BadPayload;
use crate::columns::get;
use crate::columns::narrow;
use crate::columns::put;
use crate::columns::split;
use crate::columns::unzigzag;
use crate::columns::zigzag;
use crate::record::Outcome;
use crate::summary::COARSE;
use crate::summary::Counts;
use crate::summary::Key;

/// A row as it is written: its window, its key's number in the segment, and what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub window: u64,
    pub key: u32,
    pub counts: Counts,
}

/// Appends keys that are new, the first of which has the number `first_key`, and rows in the order of windows.
pub(crate) fn encode(first_key: u32, keys: &[Key], rows: &[Row], to: &mut Vec<u8>) {
    let mut columns: [Vec<u8>; COLUMNS] = Default::default();
    let [new, window, key, calls, n_in, n_out, took, took_max, first, last] = &mut columns;
    for Key { source, call, outcome, errno, rule, text } in keys {
        for number in [*source, call.raw().into(), *outcome as u32, (*errno).into(), (*rule).into(), *text] {
            put(new, number.into());
        }
    }
    let mut before = Before::default();
    let mut at = 0u64;
    for row in rows {
        let counts = row.counts;
        let expected = before.expect(row.key, counts.calls);
        put(window, row.window.wrapping_sub(at));
        put(key, row.key.into());
        put(calls, zigzag(counts.calls.wrapping_sub(expected.calls)));
        put(n_in, zigzag(counts.n_in.wrapping_sub(expected.n_in)));
        put(n_out, zigzag(counts.n_out.wrapping_sub(expected.n_out)));
        let bits = sum_bits(counts.calls);
        put(took, zigzag(shorten(counts.took_ns, bits).wrapping_sub(shorten(expected.took, bits))));
        put(took_max, zigzag(shorten(counts.took_max_ns.into(), MAX_BITS).wrapping_sub(shorten(expected.took_max, MAX_BITS))));
        put(first, counts.first_ms.into());
        put(last, counts.last_ms.wrapping_sub(counts.first_ms).into());
        before.was(row);
        at = row.window;
    }
    put(to, first_key.into());
    for column in &columns {
        put(to, column.len() as u64);
        to.extend_from_slice(column);
    }
}

/// The number of the first new key, the new keys, and the `n` rows.
///
/// # Errors
/// [`BadPayload`]
pub(crate) fn decode(mut payload: &[u8], n: usize) -> Result<(u32, Vec<Key>, Vec<Row>), BadPayload> {
    let first_key = narrow(get(&mut payload)?)?;
    let mut columns: [&[u8]; COLUMNS] = [&[]; COLUMNS];
    for column in &mut columns {
        *column = split(&mut payload)?;
    }
    let [mut new, mut window, mut key_of, mut calls, mut n_in, mut n_out, mut took, mut took_max, mut first, mut last] = columns;
    let mut keys = Vec::new();
    while !new.is_empty() {
        let source = narrow(get(&mut new)?)?;
        let call = CallId::from_raw(narrow(get(&mut new)?)?).ok_or(BadPayload::Reference)?;
        let outcome = Outcome::from_raw(narrow(get(&mut new)?)?).ok_or(BadPayload::Reference)?;
        let (errno, rule, text) = (narrow(get(&mut new)?)?, narrow(get(&mut new)?)?, narrow(get(&mut new)?)?);
        keys.push(Key { source, call, outcome, errno, rule, text });
    }
    let mut rows = Vec::with_capacity(n.min(crate::frame::MAX_EVENTS));
    let mut before = Before::default();
    let mut at = 0u64;
    for _ in 0..n {
        at = at.checked_add(get(&mut window)?).ok_or(BadPayload::Number)?;
        let key = narrow(get(&mut key_of)?)?;
        let count = before.calls(key).wrapping_add(unzigzag(get(&mut calls)?));
        let expected = before.expect(key, count);
        let bits = sum_bits(count);
        let took = shorten(expected.took, bits).wrapping_add(unzigzag(get(&mut took)?));
        let longest = shorten(expected.took_max, MAX_BITS).wrapping_add(unzigzag(get(&mut took_max)?));
        let counts = Counts {
            calls: count,
            n_in: expected.n_in.wrapping_add(unzigzag(get(&mut n_in)?)),
            n_out: expected.n_out.wrapping_add(unzigzag(get(&mut n_out)?)),
            took_ns: lengthen(took, bits).ok_or(BadPayload::Number)?,
            took_max_ns: narrow(lengthen(longest, MAX_BITS).ok_or(BadPayload::Number)?)?,
            first_ms: narrow(get(&mut first)?)?,
            last_ms: 0,
        };
        let last_ms = u64::from(counts.first_ms).checked_add(get(&mut last)?).ok_or(BadPayload::Number)?;
        let row = Row { window: at, key, counts: Counts { last_ms: narrow(last_ms)?, ..counts } };
        before.was(&row);
        rows.push(row);
    }
    let all_used = [payload, window, key_of, calls, n_in, n_out, took, took_max, first, last].iter().all(|rest| rest.is_empty());
    if all_used { Ok((first_key, keys, rows)) } else { Err(BadPayload::Length) }
}

/// Significant bits that a sum of so many durations is kept to.
pub(crate) const fn sum_bits(calls: u64) -> u32 {
    if calls < COARSE { u64::BITS } else { 13 }
}

/// What is kept of a number when so many significant bits are.
pub(crate) const fn rounded(number: u64, bits: u32) -> u64 {
    let shift = (u64::BITS - number.leading_zeros()).saturating_sub(bits);
    number >> shift << shift
}

/// What is kept of a longest duration: [`MAX_BITS`] of it, rounded up, so that none was longer; down where that does not fit.
pub(crate) fn longest(took_ns: u32) -> u32 {
    let lost = (u32::BITS - took_ns.leading_zeros()).saturating_sub(MAX_BITS);
    let mask = (1u32 << lost) - 1;
    took_ns.checked_add(mask).unwrap_or(took_ns) & !mask
}

/// A number of so many significant bits, without the zeros behind them: how many these are stands above what is left, so that numbers next to each
/// other stay so.
const fn shorten(number: u64, bits: u32) -> u64 {
    match (u64::BITS - number.leading_zeros()).saturating_sub(bits) {
        0 => number,
        shift => ((shift as u64) << (bits - 1)) + (number >> shift),
    }
}

/// The number again; nothing if it does not fit 64 bits.
fn lengthen(short: u64, bits: u32) -> Option<u64> {
    let shift = (short.checked_shr(bits - 1)?).saturating_sub(1);
    let number = short.wrapping_sub(shift << (bits - 1));
    let shift = u32::try_from(shift).ok().filter(|shift| *shift <= number.leading_zeros())?;
    number.checked_shl(shift)
}

/// The row before of each key.
#[derive(Default)]
struct Before(HashMap<u32, Counts>);

/// What the row before of the same key lets expect. Means of many calls hardly change.
#[derive(Default)]
struct Expected {
    calls: u64,
    n_in: u64,
    n_out: u64,
    took: u64,
    took_max: u64,
}

impl Before {
    fn calls(&self, key: u32) -> u64 {
        self.0.get(&key).map_or(0, |before| before.calls)
    }

    fn expect(&self, key: u32, calls: u64) -> Expected {
        let Some(before) = self.0.get(&key) else { return Expected::default() };
        // Three factors of 64 bits, of which the last divides: what does not fit is not expected.
        let scaled = |sum: u64| {
            let product = u128::from(sum) * u128::from(calls);
            product.checked_div(before.calls.into()).and_then(|mean| u64::try_from(mean).ok()).unwrap_or(0)
        };
        Expected {
            calls: before.calls,
            n_in: scaled(before.n_in),
            n_out: scaled(before.n_out),
            took: scaled(before.took_ns),
            took_max: before.took_max_ns.into(),
        }
    }

    fn was(&mut self, row: &Row) {
        self.0.insert(row.key, row.counts);
    }
}

const COLUMNS: usize = 10;
/// Significant bits that the longest duration is kept to.
const MAX_BITS: u32 = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;
    use crate::calls::call_id;

    fn key(text: u32) -> Key {
        let call = call_id("wasi_ephemeral_nn", "compute").unwrap();
        Key { source: 3, call, outcome: Outcome::Error, errno: 7, rule: 0x101, text }
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (any::<[u64; 3]>(), 0..4u32, 0..5000u64, any::<[u32; 3]>()).prop_map(|(sums, key, calls, [took_max_ns, a, b])| {
            let [n_in, n_out, took] = sums;
            let took_ns = rounded(took, sum_bits(calls));
            let took_max_ns = longest(took_max_ns);
            let (first_ms, last_ms) = (a.min(b), a.max(b));
            Row { window: u64::from(a), key, counts: Counts { calls, n_in, n_out, took_ns, took_max_ns, first_ms, last_ms } }
        });
        proptest::collection::vec(row, 0..50).prop_map(|mut rows| {
            rows.sort_by_key(|row| row.window);
            rows
        })
    }

    proptest! {
        #[test]
        fn counts_read_back(rows in rows()) {
            let mut payload = Vec::new();
            encode(9, &[key(0), key(5)], &rows, &mut payload);
            prop_assert_eq!(decode(&payload, rows.len()), Ok((9, vec![key(0), key(5)], rows)));
        }

        #[test]
        fn changed_counts_never_panic(rows in rows(), at: prop::sample::Index, byte: u8, n in 0usize..5000) {
            let mut payload = Vec::new();
            encode(0, &[key(1)], &rows, &mut payload);
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
    fn short_numbers_are_in_order_and_read_back() {
        for bits in [MAX_BITS, 13, u64::BITS] {
            let numbers =
                (0..64).flat_map(|shift| [0u64, 1, 2, 511, 512, 1023].map(|more| (1u64 << shift).saturating_add(more << shift >> 10)));
            let mut numbers: Vec<u64> = numbers.chain([0, u64::MAX]).collect();
            numbers.sort_unstable();
            let short: Vec<u64> = numbers.iter().map(|number| shorten(*number, bits)).collect();
            assert!(short.is_sorted(), "{bits}");
            for (number, short) in numbers.iter().zip(short) {
                assert_eq!(lengthen(short, bits), Some(rounded(*number, bits)), "{number} {bits}");
            }
        }
        assert_eq!([255, 256, 257, 6100, u32::MAX].map(longest), [255, 256, 258, 6112, 0xff00_0000]);
        assert_eq!((rounded(1023, 10), rounded(1025, 10), rounded(2051, 10)), (1023, 1024, 2048));
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut payload = Vec::new();
        encode(0, &[], &[], &mut payload);
        payload.push(0);
        assert_eq!(decode(&payload, 0), Err(BadPayload::Length));
    }
}
