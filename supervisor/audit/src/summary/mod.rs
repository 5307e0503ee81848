//! Exact counts of calls: the tier that stays when calls are deleted.
//!
//! Runs in: daemon (counts, writes), CLI (reads).
//! Does not: estimate or sample. A row is made of whole calls, and every call that the journal has taken is in exactly one row.
//!
//! A `Summary` frame says which calls it is of, by their numbers in the tier of calls, and has a row for each window of time and each key: who called,
//! what, how it ended, by which rule, with which text. A window that was cut by the end of a frame has rows in two frames.

pub(crate) mod columns;
pub(crate) mod tally;

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use crate::calls::CallId;
use crate::columns::BadPayload;
use crate::columns::get;
use crate::columns::put;
use crate::dict::Source;
use crate::read::Call;
use crate::read::Item;
use crate::record::Outcome;
use crate::record::Record;

/// How long a time one row is of. Windows are multiples of their length on `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// One second.
    #[default]
    Second,
    /// Ten seconds: the counts took more of the disk than their share.
    TenSeconds,
    /// A minute: they still did.
    Minute,
}

impl Window {
    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::TenSeconds => 10,
            Self::Minute => 60,
        }
    }

    /// Its length in nanoseconds.
    pub(crate) const fn nanos(self) -> u64 {
        self.seconds() * 1_000_000_000
    }

    fn from_seconds(seconds: u64) -> Option<Self> {
        [Self::Second, Self::TenSeconds, Self::Minute].into_iter().find(|window| window.seconds() == seconds)
    }
}

/// What a `Summary` frame is of; the front of its payload, which is not compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The calls, by their numbers in the tier of calls.
    pub calls: Range<u64>,
    /// How long a time each row is of.
    pub window: Window,
    /// Whether the calls were also written one by one. If not, the tier of calls goes on behind them.
    pub detail: bool,
}

impl Coverage {
    /// How many calls.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.calls.end.saturating_sub(self.calls.start)
    }

    pub(crate) fn put(&self, payload: &mut Vec<u8>) {
        put(payload, self.calls.start);
        put(payload, self.count());
        put(payload, self.window.seconds());
        put(payload, if self.detail { 0 } else { ONLY_COUNTED });
    }

    /// Takes it off the front of a payload.
    ///
    /// # Errors
    /// [`BadPayload`]
    pub(crate) fn get(payload: &mut &[u8]) -> Result<Self, BadPayload> {
        let from = get(payload)?;
        let count = get(payload)?;
        let to = from.checked_add(count).filter(|_| count > 0).ok_or(BadPayload::Number)?;
        let window = Window::from_seconds(get(payload)?).ok_or(BadPayload::Reference)?;
        let detail = match get(payload)? {
            0 => true,
            ONLY_COUNTED => false,
            _ => return Err(BadPayload::Reference),
        };
        Ok(Self { calls: from..to, window, detail })
    }
}

/// Flag: the calls are in no `Detail` frame.
const ONLY_COUNTED: u64 = 1;

/// What is counted together, with texts and sources as numbers in some dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub source: u32,
    pub call: CallId,
    pub outcome: Outcome,
    pub errno: u16,
    pub rule: u16,
    /// 0 for none.
    pub text: u32,
}

impl Key {
    pub const fn of(record: &Record, source: u32, text: u32) -> Self {
        Self { source, call: record.call, outcome: record.outcome, errno: record.errno, rule: record.rule, text }
    }

    /// The same as two words.
    pub const fn words(&self) -> [u64; 2] {
        let what = self.call.raw() as u64 | (self.outcome as u64) << 16 | (self.errno as u64) << 32 | (self.rule as u64) << 48;
        [what, self.source as u64 | (self.text as u64) << 32]
    }
}

/// What many calls come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// How many calls.
    pub calls: u64,
    /// Bytes or items that went in, all together: the sum of [`Record::bytes_in`].
    pub n_in: u64,
    /// Bytes or items that came out: the sum of [`Record::bytes_out`].
    pub n_out: u64,
    /// How long they took together, in nanoseconds; exact below 1000 calls, above that rounded down to 13 significant bits.
    pub took_ns: u64,
    /// How long the longest took, in nanoseconds, rounded up to 8 significant bits (down where that would not fit).
    pub took_max_ns: u32,
    /// When the first began, in milliseconds since the window did.
    pub first_ms: u32,
    /// When the last began.
    pub last_ms: u32,
}

/// One row, with what its numbers stand for.
#[derive(Debug, Clone)]
pub struct Count {
    /// When the window began, nanoseconds since boot.
    pub window_boot: u64,
    /// The same moment, nanoseconds since the Unix epoch.
    pub window_real: u64,
    /// Who called.
    pub source: Arc<Source>,
    /// What.
    pub call: CallId,
    /// How the calls ended.
    pub outcome: Outcome,
    /// The errno or error code that the guest saw; 0 for none.
    pub errno: u16,
    /// Which grant of the policy they used, as in [`Record::rule`].
    pub rule: u16,
    /// The path or name that belongs to them.
    pub text: Option<Arc<[u8]>>,
    /// What they come to.
    pub counts: Counts,
}

impl Count {
    /// A call as a row of its own: of its second.
    pub(crate) fn of(item: &Item<Call>) -> Self {
        let record = &item.what.record;
        let since_window = item.time_boot % Window::Second.nanos();
        let at_ms = u32::try_from(since_window / 1_000_000).unwrap_or(u32::MAX);
        Self {
            window_boot: item.time_boot - since_window,
            window_real: item.time_real.wrapping_sub(since_window),
            source: Arc::clone(&item.what.source),
            call: record.call,
            outcome: record.outcome,
            errno: record.errno,
            rule: record.rule,
            text: item.what.text.clone(),
            counts: Counts {
                calls: 1,
                n_in: record.bytes_in().into(),
                n_out: record.bytes_out().into(),
                took_ns: record.took_ns.into(),
                // Like those that are written, so that it does not matter which a row was.
                took_max_ns: columns::longest(record.took_ns),
                first_ms: at_ms,
                last_ms: at_ms,
            },
        }
    }
}

/// What a `Summary` frame holds.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Which calls it is of.
    pub coverage: Coverage,
    /// By window, then by key.
    pub rows: Vec<Count>,
}

/// Most keys in one segment: a writer begins another before, a reader refuses more.
pub(crate) const MAX_KEYS: usize = 1 << 18;
/// Sums of durations over so many calls are rounded.
pub(crate) const COARSE: u64 = 1000;
