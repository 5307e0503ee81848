//! How calls are counted, and how the counts become frames.
//!
//! Runs in: daemon, on the journal's thread.
//! Invariant: `Summary` frames are of all calls without a gap, in order, and of none that the tier of calls does not have yet, unless calls are only
//! counted. What is not in one when the daemon dies is counted again by the next start, from the calls themselves.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::buffer::Buffer;
use crate::clock::boottime_ns;
use crate::dict::Interner;
use crate::dict::Source;
use crate::error::JournalError;
use crate::frame;
use crate::frame::FrameType;
use crate::frame::Header;
use crate::journal::Journal;
use crate::journal::SYNC_WITHIN;
use crate::journal::Writer;
use crate::read::Call;
use crate::read::Content;
use crate::read::Frame;
use crate::read::Item;
use crate::read::Reader;
use crate::record::Record;
use crate::segment;
use crate::segment::Tier;
use crate::summary::Key;
use crate::summary::MAX_KEYS;
use crate::summary::Window;
use crate::summary::columns;
use crate::summary::columns::Row;
use crate::summary::tally::Tally;

/// The tier of counts, for writing.
#[derive(Debug)]
pub(crate) struct Counter {
    pub writer: Writer,
    pub interner: Interner,
    /// The segment's keys, in the words of its own numbers.
    keys: HashMap<[u64; 2], u32>,
    /// Those that are not in the segment yet.
    new_keys: Vec<Key>,
    /// Tallies that are full, or of another kind than the one behind; the last one is being filled.
    tallies: VecDeque<Tally>,
    /// The call behind those that are counted.
    next: u64,
    window: Window,
    /// When windows got this length, if they were of another one since the journal was opened.
    window_since: Option<Instant>,
    /// Whether calls are also written one by one.
    detail: bool,
    /// Calls that were only counted come right behind the last one in the segment of calls.
    pub gap: bool,
    /// Counts were written since their share of the budget was looked at.
    pub grew: bool,
}

impl Counter {
    /// Goes on behind calls that are counted, in windows of that length.
    pub fn new(writer: Writer, counted: u64, window: Window) -> Self {
        Self {
            writer,
            interner: Interner::default(),
            keys: HashMap::new(),
            new_keys: Vec::new(),
            tallies: VecDeque::new(),
            next: counted,
            window,
            window_since: None,
            detail: true,
            gap: false,
            grew: true,
        }
    }

    /// A segment ends: its names and keys with it.
    pub fn forget(&mut self) {
        (self.interner, self.keys, self.new_keys) = (Interner::default(), HashMap::new(), Vec::new());
    }

    /// Counts calls that the tier of calls has taken, in their order.
    pub fn add(&mut self, buffer: &Buffer) {
        let mut sources: Vec<Option<u32>> = Vec::new();
        for (record, source, text) in &buffer.calls {
            let Some(who) = buffer.sources.get(*source as usize) else { continue };
            let text = buffer.texts.get(text.clone());
            self.count(record, *source as usize, who, text, &mut sources);
        }
    }

    /// Counts the next call. `sources` are those of its buffer, as far as the last tally has numbers for them.
    fn count(&mut self, record: &Record, place: usize, source: &Source, text: Option<&[u8]>, sources: &mut Vec<Option<u32>>) {
        for _ in 0..2 {
            if let Some(tally) = self.tallies.back_mut().filter(|tally| !tally.is_over(record.time_ns)) {
                if sources.len() <= place {
                    sources.resize(place + 1, None);
                }
                let number = match sources.get(place).copied().flatten() {
                    Some(number) => number,
                    None => tally.source(source),
                };
                if let Some(known) = sources.get_mut(place) {
                    *known = Some(number);
                }
                if tally.push(record, number, text) {
                    self.next += 1;
                    return;
                }
            }
            sources.clear();
            self.turn();
        }
    }

    /// Begins another tally: what is in the last one is written as it is.
    fn turn(&mut self) {
        if self.tallies.back().is_some_and(Tally::is_empty) {
            self.tallies.pop_back();
        }
        self.tallies.push_back(Tally::new(self.next, self.window, self.detail));
    }

    /// Whether windows have their length for less than an hour.
    pub fn is_young(&self) -> bool {
        self.window_since.is_some_and(|since| since.elapsed() < FINER_AFTER)
    }

    pub const fn window(&self) -> Window {
        self.window
    }

    /// Rows are of windows of this length from the next call on.
    pub fn set_window(&mut self, window: Window) {
        if self.window != window {
            (self.window, self.window_since) = (window, Some(Instant::now()));
            self.turn();
        }
    }

    /// After how long the last tally is to be written.
    pub fn due(&self) -> Option<Duration> {
        let tally = self.tallies.iter().find(|tally| !tally.is_empty())?;
        if self.tallies.len() > 1 {
            return Some(Duration::ZERO);
        }
        // Calls that are nowhere else wait no longer than others.
        let within = if tally.coverage.detail { WRITE_WITHIN } else { SYNC_WITHIN };
        Some(within.saturating_sub(tally.since.elapsed()))
    }
}

impl Journal {
    /// Whether calls are written one by one, which they are at first, or only counted: then they are numbered as always and are in no `Detail` frame,
    /// and the `Summary` frame that is of them says so. Calls that are taken and not yet in a frame are only counted, too.
    ///
    /// While calls are only counted, a crash can take the counts of the last second.
    pub fn set_detail(&mut self, detail: bool) {
        if self.counter.detail != detail {
            self.counter.detail = detail;
            self.counter.turn();
        }
    }

    /// Whether calls are written one by one.
    #[must_use]
    pub const fn detail(&self) -> bool {
        self.counter.detail
    }

    /// Takes calls without writing them one by one.
    pub(super) fn only_count(&mut self, buffer: &Buffer) {
        self.detail.next_seq += buffer.calls.len() as u64;
        self.counter.gap = true;
        self.counter.add(buffer);
    }

    /// Writes what is counted and full.
    pub(super) fn write_full_summaries(&mut self) -> Result<(), JournalError> {
        self.write_tallies(1)
    }

    /// Writes all that is counted.
    pub(super) fn write_summaries(&mut self) -> Result<(), JournalError> {
        self.write_tallies(0)
    }

    fn write_tallies(&mut self, keep: usize) -> Result<(), JournalError> {
        while self.counter.tallies.len() > keep {
            let Some(tally) = self.counter.tallies.pop_front() else { break };
            if tally.is_empty() {
                continue;
            }
            if let Err(error) = self.write_tally(&tally) {
                self.counter.tallies.push_front(tally);
                return Err(error);
            }
        }
        Ok(())
    }

    fn write_tally(&mut self, tally: &Tally) -> Result<(), JournalError> {
        let (mut dict, mut payload) = self.encode_tally(tally)?;
        let room = 2 * frame::HEADER_LEN + dict.as_ref().map_or(0, Vec::len) + payload.len();
        let fits = self.counter.writer.segment.as_ref().is_some_and(|segment| segment.fits(room));
        if !fits || self.counter.interner.is_full() || self.counter.keys.len() > MAX_KEYS / 2 {
            self.begin_segment(Tier::Summary)?;
            (dict, payload) = self.encode_tally(tally)?;
        }
        let times = tally.times();
        let first = times.start.min(boottime_ns());
        let first_seq = self.counter.writer.next_seq;
        if let Some(dict) = dict {
            self.write_dict(Tier::Summary, first, &dict)?;
        }
        let n = u16::try_from(tally.rows.len()).unwrap_or(u16::MAX);
        let span_us = u32::try_from(times.end.saturating_sub(first) / 1000).unwrap_or(u32::MAX);
        let header = self.header(FrameType::Summary, n, first_seq, first);
        let t0_real = tally.offset.map_or(header.t0_real, |offset| first.wrapping_add(offset));
        self.write(Tier::Summary, Header { span_us, t0_real, ..header }, &payload)?;
        self.counter.new_keys.clear();
        self.counter.grew = true;
        Ok(())
    }

    /// The rows as payloads, in the names and keys of the current segment.
    fn encode_tally(&mut self, tally: &Tally) -> Result<(Option<Vec<u8>>, Vec<u8>), JournalError> {
        let Self { counter: Counter { interner, keys, new_keys, .. }, compressor, .. } = self;
        let sources: Vec<u32> = tally.sources.iter().map(|source| interner.source(source)).collect();
        let texts = tally.texts.iter().map(|text| interner.text(text)).collect::<Result<Vec<u32>, _>>()?;
        let mut rows = Vec::with_capacity(tally.rows.len());
        for cell in &tally.rows {
            let source = sources.get(cell.key.source as usize).copied().unwrap_or(0);
            let text = (cell.key.text as usize).checked_sub(1).and_then(|place| texts.get(place)).copied().unwrap_or(0);
            let key = Key { source, text, ..cell.key };
            let next = keys.len() as u32;
            let number = *keys.entry(key.words()).or_insert(next);
            if number == next {
                new_keys.push(key);
            }
            rows.push(Row { window: cell.window, key: number, counts: cell.counts(tally.coverage.window) });
        }
        rows.sort_unstable_by_key(|row| (row.window, row.key));
        let mut raw = Vec::new();
        let first_key = keys.len().saturating_sub(new_keys.len());
        columns::encode(u32::try_from(first_key).unwrap_or(u32::MAX), new_keys, &rows, &mut raw);
        let mut payload = Vec::new();
        tally.coverage.put(&mut payload);
        let compressed = match raw.len() {
            0..SMALL => zstd::bulk::compress(&raw, SMALL_LEVEL),
            _ => compressor.0.compress(&raw),
        };
        payload.append(&mut compressed.map_err(JournalError::Compress)?);
        let dict = interner.peek_new().map(<[u8]>::to_vec);
        Ok((dict, payload))
    }

    /// Counts again what the tier of calls has behind the last `Summary` frame: calls of a daemon that died.
    ///
    /// In a damaged journal, which `audit verify` will name, it is not known what is missing: counting goes on with the next call.
    pub(super) fn resume_counting(&mut self, damaged: bool) -> Result<(), JournalError> {
        if damaged || !self.count_again()? {
            self.counter.next = self.detail.next_seq;
        }
        if !self.counter.tallies.is_empty() {
            self.counter.turn();
        }
        Ok(())
    }

    /// Whether all calls that are not counted could be.
    fn count_again(&mut self) -> Result<bool, JournalError> {
        if self.counter.next >= self.detail.next_seq {
            return Ok(true);
        }
        let list = segment::list(&self.dir, Tier::Detail).map_err(JournalError::io("list segments", &self.dir))?;
        let mut wanted = Vec::new();
        for (first, path) in list.into_iter().rev() {
            let bytes = segment::read(&path).map_err(JournalError::io("read a segment", &self.dir))?;
            let head = segment::scan(&bytes).frames.first().map(|(_, header)| header.first_seq);
            wanted.push((first, path));
            if head.is_some_and(|head| head <= self.counter.next) {
                break;
            }
        }
        let Ok(mut reader) = Reader::open(&self.dir) else { return Ok(false) };
        for (first, path) in wanted.into_iter().rev() {
            let bytes = segment::read(&path).map_err(JournalError::io("read a segment", &self.dir))?;
            for (at, header) in segment::scan(&bytes).frames {
                let bytes = bytes.get(at..at.saturating_add(header.len())).unwrap_or_default().to_vec();
                let frame = Frame { tier: Tier::Detail, segment: first, offset: at as u64, header, bytes };
                match reader.decode(&frame) {
                    Ok(Content::Calls(items)) if !self.count_items(&header, &items) => return Ok(false),
                    Ok(_) => {}
                    Err(_) => return Ok(false),
                }
            }
        }
        Ok(self.counter.next == self.detail.next_seq)
    }

    /// Counts the calls of a frame that are not counted yet; says whether none is missing before them.
    fn count_items(&mut self, header: &Header, items: &[Item<Call>]) -> bool {
        let offset = header.t0_real.wrapping_sub(header.t0_boot);
        for item in items {
            if item.seq < self.counter.next {
                continue;
            }
            if item.seq > self.counter.next {
                return false;
            }
            // The two clocks are read one after the other, so that they differ a little from frame to frame; a boot makes them differ much.
            let apart = |tally: &Tally| tally.offset.is_none_or(|known| known.abs_diff(offset) > SAME_BOOT_NS);
            if self.counter.tallies.back().is_some_and(apart) {
                self.counter.turn();
            }
            self.counter.count(&item.what.record, 0, &item.what.source, item.what.text.as_deref(), &mut Vec::new());
            if let Some(tally) = self.counter.tallies.back_mut() {
                tally.offset.get_or_insert(offset);
            }
        }
        true
    }
}

/// Counts are in a frame after this long at the latest, if calls are in frames of their own.
const WRITE_WITHIN: Duration = Duration::from_secs(12);
const SAME_BOOT_NS: u64 = 100_000_000;
/// Windows become shorter again after this long at the earliest.
const FINER_AFTER: Duration = Duration::from_secs(3600);
/// What is small comes seldom, and stays long: it is worth a better compression.
const SMALL: usize = 8 << 10;
const SMALL_LEVEL: i32 = 19;
