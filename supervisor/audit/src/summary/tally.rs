//! Counting: the rows of one `Summary` frame in the making.
//!
//! Runs in: daemon, on the journal's thread; CLI, when a frame is held against its calls.
//! Invariant: bounded. A tally has at most [`MAX_EVENTS`] rows, [`MAX_NAMES`] bytes of texts and [`MAX_SOURCES`] sources, and says when the next call does not fit.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::time::Duration;
use std::time::Instant;

use crate::columns::ShapeHasher;
use crate::dict::Source;
use crate::frame::MAX_EVENTS;
use crate::record::Record;
use crate::summary::Counts;
use crate::summary::Coverage;
use crate::summary::Key;
use crate::summary::Window;
use crate::summary::columns::longest;
use crate::summary::columns::rounded;
use crate::summary::columns::sum_bits;

/// The rows of one frame in the making.
#[derive(Debug)]
pub(crate) struct Tally {
    pub coverage: Coverage,
    /// In the order in which they came up.
    pub rows: Vec<Cell>,
    /// Texts, numbered from 1 in keys.
    pub texts: Vec<Box<[u8]>>,
    pub sources: Vec<Source>,
    /// What to add to a time since boot for the real time, where that is not what it is now: calls of an earlier boot.
    pub offset: Option<u64>,
    /// Since when calls have been in it.
    pub since: Instant,
    /// The [round](ROUND_NS) that the first call was made in.
    round: Option<u64>,
    places: HashMap<[u64; 3], u32, BuildHasherDefault<ShapeHasher>>,
    text_numbers: HashMap<Box<[u8]>, u32>,
    source_numbers: HashMap<Source, u32>,
    bytes: usize,
}

/// One row in the making: all times in nanoseconds since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The window's beginning, divided by its length.
    pub window: u64,
    pub key: Key,
    pub calls: u64,
    pub n_in: u64,
    pub n_out: u64,
    pub took_ns: u64,
    pub took_max_ns: u32,
    pub first: u64,
    pub last: u64,
}

/// What calls of one second come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    pub calls: u64,
    pub n_in: u64,
    pub n_out: u64,
    pub took_ns: u64,
    pub took_max_ns: u32,
    /// When the first one began, nanoseconds since boot.
    pub first: u64,
    /// When the last one began.
    pub last: u64,
}

impl Sums {
    /// Of one call.
    pub const fn of(record: &Record) -> Self {
        Self {
            calls: 1,
            n_in: record.bytes_in() as u64,
            n_out: record.bytes_out() as u64,
            took_ns: record.took_ns as u64,
            took_max_ns: record.took_ns,
            first: record.time_ns,
            last: record.time_ns,
        }
    }

    /// And of these, of the same second.
    pub fn add(&mut self, more: &Self) {
        self.calls = self.calls.saturating_add(more.calls);
        self.n_in = self.n_in.saturating_add(more.n_in);
        self.n_out = self.n_out.saturating_add(more.n_out);
        self.took_ns = self.took_ns.saturating_add(more.took_ns);
        self.took_max_ns = self.took_max_ns.max(more.took_max_ns);
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
    }
}

impl Tally {
    /// Of nothing yet; it goes on where `from` says.
    pub fn new(from: u64, window: Window, detail: bool) -> Self {
        Self {
            coverage: Coverage { calls: from..from, window, detail },
            rows: Vec::new(),
            texts: Vec::new(),
            sources: Vec::new(),
            offset: None,
            since: Instant::now(),
            round: None,
            places: HashMap::default(),
            text_numbers: HashMap::new(),
            source_numbers: HashMap::new(),
            bytes: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.coverage.calls.is_empty()
    }

    /// Whether a call of this time belongs into another tally, so that no window is cut in two. A worker may lie about its times, and does not get a frame
    /// for each of them.
    pub fn is_over(&self, time_ns: u64) -> bool {
        self.round.is_some_and(|round| time_ns / ROUND_NS > round) && self.since.elapsed() >= LEAST
    }

    /// The number of a source in this tally.
    pub fn source(&mut self, source: &Source) -> u32 {
        if let Some(number) = self.source_numbers.get(source) {
            return *number;
        }
        let number = self.sources.len() as u32;
        self.sources.push(source.clone());
        self.source_numbers.insert(source.clone(), number);
        number
    }

    /// Adds the next call, if it fits: whether it did. One that does not belongs into the next tally.
    #[must_use]
    pub fn push(&mut self, record: &Record, source: u32, text: Option<&[u8]>) -> bool {
        self.add(record, source, text, &Sums::of(record))
    }

    /// Adds the next calls, all of one second and alike in what makes a key, if they fit: whether they did.
    #[must_use]
    pub fn add(&mut self, record: &Record, source: u32, text: Option<&[u8]>, sums: &Sums) -> bool {
        let text = match text.filter(|text| !text.is_empty()).map(|text| self.text(text)) {
            None => 0,
            Some(Some(number)) => number,
            Some(None) => return false,
        };
        let key = Key::of(record, source, text);
        let window = sums.first / self.coverage.window.nanos();
        let [what, who] = key.words();
        let next = self.rows.len();
        let place = match self.places.get(&[what, who, window]) {
            Some(place) => *place as usize,
            None if next >= MAX_EVENTS || source as usize >= MAX_SOURCES => return false,
            None => {
                self.places.insert([what, who, window], next as u32);
                let first = sums.first;
                self.rows.push(Cell { window, key, calls: 0, n_in: 0, n_out: 0, took_ns: 0, took_max_ns: 0, first, last: first });
                next
            }
        };
        if let Some(row) = self.rows.get_mut(place) {
            row.calls = row.calls.saturating_add(sums.calls);
            // 2^32 calls of 2^32 bytes each are not made before a frame is written.
            row.n_in = row.n_in.saturating_add(sums.n_in);
            row.n_out = row.n_out.saturating_add(sums.n_out);
            row.took_ns = row.took_ns.saturating_add(sums.took_ns);
            row.took_max_ns = row.took_max_ns.max(sums.took_max_ns);
            row.first = row.first.min(sums.first);
            row.last = row.last.max(sums.last);
        }
        self.round.get_or_insert(sums.first / ROUND_NS);
        self.coverage.calls.end = self.coverage.calls.end.saturating_add(sums.calls);
        true
    }

    /// The number of a text, from 1; nothing if there is no room for another.
    fn text(&mut self, text: &[u8]) -> Option<u32> {
        if let Some(number) = self.text_numbers.get(text) {
            return Some(*number);
        }
        if self.rows.len() >= MAX_EVENTS || self.bytes.saturating_add(text.len()) > MAX_NAMES && !self.texts.is_empty() {
            return None;
        }
        let number = self.texts.len() as u32 + 1;
        self.texts.push(text.into());
        self.text_numbers.insert(text.into(), number);
        self.bytes += text.len();
        Some(number)
    }

    /// From the first call's beginning to the last one's, nanoseconds since boot.
    pub fn times(&self) -> Range<u64> {
        let first = self.rows.iter().map(|row| row.first).min().unwrap_or(0);
        first..self.rows.iter().map(|row| row.last).max().unwrap_or(first)
    }
}

impl Cell {
    /// What is written of it.
    pub fn counts(&self, window: Window) -> Counts {
        let Self { calls, n_in, n_out, took_ns, took_max_ns, .. } = *self;
        let since =
            |time: u64| u32::try_from(time.saturating_sub(self.window.saturating_mul(window.nanos())) / 1_000_000).unwrap_or(u32::MAX);
        let took_ns = rounded(took_ns, sum_bits(calls));
        let took_max_ns = longest(took_max_ns);
        Counts { calls, n_in, n_out, took_ns, took_max_ns, first_ms: since(self.first), last_ms: since(self.last) }
    }
}

/// A tally ends when a multiple of so many nanoseconds of `CLOCK_BOOTTIME` is passed.
const ROUND_NS: u64 = 10_000_000_000;
/// Calls of less time than this are not put into a frame for their times.
const LEAST: Duration = Duration::from_secs(2);
/// Bytes of texts in one tally: they stand in one `Dict` frame, whose payload has at most 1 MiB.
const MAX_NAMES: usize = 128 << 10;
/// Sources in one tally, for the same reason.
const MAX_SOURCES: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;
    use crate::calls::call_id;
    use crate::record::Outcome;

    fn record(time_ns: u64, errno: u16) -> Record {
        let call = call_id("wasi_snapshot_preview1", "fd_read").unwrap();
        Record { time_ns, call, outcome: Outcome::Ok, flags: 0, errno, rule: 1, handle: 4, took_ns: 7, n_in: 1, n_out: 2 }
    }

    #[test]
    fn calls_of_one_window_and_one_key_are_one_row() {
        let mut tally = Tally::new(5, Window::Second, true);
        for time in [1_000_000_000, 1_999_999_999, 1_500_000_000, 2_000_000_000] {
            assert!(tally.push(&record(time, 0), 0, None));
        }
        assert!(tally.push(&record(1_000_000_000, 0), 0, Some(b"x")));
        assert_eq!(tally.coverage.calls, 5..10);
        assert_eq!(tally.rows.iter().map(|row| (row.window, row.calls, row.n_out)).collect::<Vec<_>>(), [(1, 3, 6), (2, 1, 2), (1, 1, 2)]);
        assert_eq!(tally.times(), 1_000_000_000..2_000_000_000);
    }

    #[test]
    fn a_tally_says_when_it_is_full_and_still_takes_what_it_knows() {
        let mut tally = Tally::new(0, Window::Second, true);
        let fits = (0..=u16::MAX).take_while(|errno| tally.push(&record(0, *errno), 0, None)).count();
        assert_eq!(fits, MAX_EVENTS);
        assert!(tally.push(&record(1, 3), 0, None));
        assert_eq!(tally.coverage.count(), MAX_EVENTS as u64 + 1);
    }

    #[test]
    fn names_are_bounded() {
        let mut tally = Tally::new(0, Window::Second, true);
        let fits = (0..MAX_EVENTS).take_while(|n| tally.push(&record(0, 0), 0, Some(format!("{n:01000}").as_bytes()))).count();
        assert_eq!(fits, MAX_NAMES / 1000);
        assert_eq!(tally.coverage.count(), fits as u64);
    }
}
