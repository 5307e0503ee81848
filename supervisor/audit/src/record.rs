//! One WASI call as 32 bytes: what passes from a guest thread to the daemon.
//!
//! Runs in: worker (made), daemon and CLI (read).
//! Does not: hold text. A path or a graph's name follows its record in the ring, and the journal interns it.
//!
//! Little-endian words:
//! `time_ns u64 | call u16, outcome u8, flags u8, errno u16, rule u16 | handle u32, took_ns u32 | n_in u32, n_out u32`.

use crate::calls::CallId;

/// One call that a guest made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// When it began: `CLOCK_BOOTTIME`, nanoseconds.
    pub time_ns: u64,
    /// Which call.
    pub call: CallId,
    /// How it ended.
    pub outcome: Outcome,
    /// [`TEXT`] and [`TRUNCATED`], which the ring sets itself, and [`KEYED`] and [`DROPPED`], which only the daemon does, once a record has left its ring.
    pub flags: u8,
    /// The errno or error code that the guest saw; 0 for none.
    pub errno: u16,
    /// Which grant of the policy it used: 0 for none, directories from 1, graphs from [`RULE_GRAPHS`].
    pub rule: u16,
    /// The guest's handle or descriptor, where the call has one.
    pub handle: u32,
    /// How long it took, in nanoseconds; [`u32::MAX`] for 4.29 s and more.
    pub took_ns: u32,
    /// Bytes or items that went in; of some calls [something else](Record::bytes_in).
    pub n_in: u32,
    /// Bytes or items that came out; of some calls [something else](Record::bytes_out).
    pub n_out: u32,
}

/// Flag: text follows the record.
pub const TEXT: u8 = 1;
/// Flag: the text was longer than the ring takes, and is cut.
pub const TRUNCATED: u8 = 2;
/// Flag: what follows is a code of the text ([`crate::PrivacyKey`]). Never in a ring.
pub const KEYED: u8 = 4;
/// Flag: there was a text, and it is kept nowhere. Never in a ring.
pub const DROPPED: u8 = 8;
/// The first rule number of graphs; below it are directories, from 1.
pub const RULE_GRAPHS: u16 = 0x100;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// As the guest wished.
    Ok = 0,
    /// The policy or the confinement does not allow it.
    Denied = 1,
    /// It failed for another reason; see [`Record::errno`].
    Error = 2,
    /// The guest was stopped in it, by a trap.
    Trapped = 3,
    /// The guest was stopped in it, at a limit.
    Limit = 4,
}

impl Outcome {
    /// The word used in output and in filters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Error => "error",
            Self::Trapped => "trapped",
            Self::Limit => "limit",
        }
    }

    /// The outcome with this number, if there is one.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => Self::Ok,
            1 => Self::Denied,
            2 => Self::Error,
            3 => Self::Trapped,
            4 => Self::Limit,
            _ => return None,
        })
    }
}

/// In which form a text is kept, if it is not kept as the guest wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextClass {
    /// As a code of it.
    Hmac,
    /// Not at all.
    Drop,
}

impl TextClass {
    /// As policies and events write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hmac => "hmac",
            Self::Drop => "drop",
        }
    }
}

/// Bytes that are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// No call has this number.
    #[error("no call has the number {0:#06x}")]
    Call(u16),
    /// No outcome has this number.
    #[error("no outcome has the number {0}")]
    Outcome(u8),
    /// A flag that does not exist.
    #[error("the flags {0:#04x} hold a bit that means nothing")]
    Flags(u8),
}

impl Record {
    /// In which form its text is kept; nothing if as the guest wrote it, or if there was none.
    #[must_use]
    pub const fn text_class(&self) -> Option<TextClass> {
        match self.flags & (KEYED | DROPPED) {
            0 => None,
            KEYED => Some(TextClass::Hmac),
            _ => Some(TextClass::Drop),
        }
    }

    /// The record as four words.
    #[must_use]
    pub const fn to_words(&self) -> [u64; 4] {
        [
            self.time_ns,
            self.call.raw() as u64
                | (self.outcome as u64) << 16
                | (self.flags as u64) << 24
                | (self.errno as u64) << 32
                | (self.rule as u64) << 48,
            self.handle as u64 | (self.took_ns as u64) << 32,
            self.n_in as u64 | (self.n_out as u64) << 32,
        ]
    }

    /// The record in four words that somebody else wrote.
    ///
    /// # Errors
    /// A number in it means nothing.
    pub fn from_words(words: [u64; 4]) -> Result<Self, BadRecord> {
        let [time_ns, what, who, sizes] = words;
        let [call_low, call_high, outcome, flags, errno_low, errno_high, rule_low, rule_high] = what.to_le_bytes();
        let call = u16::from_le_bytes([call_low, call_high]);
        if flags & !(TEXT | TRUNCATED) != 0 {
            return Err(BadRecord::Flags(flags));
        }
        Ok(Self {
            time_ns,
            call: CallId::from_raw(call).ok_or(BadRecord::Call(call))?,
            outcome: Outcome::from_raw(outcome).ok_or(BadRecord::Outcome(outcome))?,
            flags,
            errno: u16::from_le_bytes([errno_low, errno_high]),
            rule: u16::from_le_bytes([rule_low, rule_high]),
            handle: low(who),
            took_ns: high(who),
            n_in: low(sizes),
            n_out: high(sizes),
        })
    }
}

const fn low(word: u64) -> u32 {
    (word & 0xffff_ffff) as u32
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_that_parse_are_the_words_that_were_written(words: [u64; 4]) {
            if let Ok(record) = Record::from_words(words) {
                prop_assert_eq!(record.to_words(), words);
            }
        }
    }

    #[test]
    fn a_worker_cannot_say_that_a_text_is_a_code_or_was_dropped() {
        let call = crate::call_id("wasi_snapshot_preview1", "path_open").unwrap();
        for flags in [KEYED, DROPPED, TEXT | KEYED, KEYED | DROPPED] {
            let (outcome, errno) = (Outcome::Ok, 0);
            let record = Record { time_ns: 1, call, outcome, flags, errno, rule: 0, handle: 0, took_ns: 0, n_in: 0, n_out: 0 };
            assert_eq!(Record::from_words(record.to_words()), Err(BadRecord::Flags(flags)));
        }
    }

    #[test]
    fn every_field_survives_the_words() {
        let record = Record {
            time_ns: u64::MAX - 1,
            call: crate::call_id("wasi_snapshot_preview1", "path_open").unwrap(),
            outcome: Outcome::Denied,
            flags: TEXT,
            errno: 76,
            rule: 0x101,
            handle: 3,
            took_ns: 1234,
            n_in: 5,
            n_out: u32::MAX,
        };
        assert_eq!(Record::from_words(record.to_words()), Ok(record));
    }
}
