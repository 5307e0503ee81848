//! Entries that a receiver will never get, as an entry of its own.
//!
//! Runs in: exporter.
//! Does not: prove anything. Whether what is gone was deleted in order is [`crate::verify()`]'s work; here it is what the journal itself says.

use std::io;
use std::path::Path;

use crate::segment::Tier;
use crate::verify::Retired;

/// Entries of one tier that were written and cannot be handed over any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Which tier they were in.
    pub tier: Tier,
    /// The number of the first one within its tier.
    pub first: u64,
    /// The number of the entry behind them.
    pub next: u64,
    /// Why they are not there.
    pub why: Why,
}

/// Why entries are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Their segments were deleted because the journal's budget was used up, and the journal says so.
    Deleted,
    /// They, or some of them, were only counted, and the journal says so.
    Counted,
    /// They are damaged, or gone and nothing says why.
    Damaged,
}

impl Gap {
    /// Calls between two numbers that are not there: finds out why.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn of_calls(journal: &Path, first: u64, next: u64) -> io::Result<Self> {
        let mut retired = Retired::look(journal)?;
        let why = if retired.covers(first, next) {
            Why::Deleted
        } else {
            retired.also_counted(journal)?;
            if retired.covers(first, next) { Why::Counted } else { Why::Damaged }
        };
        Ok(Self { tier: Tier::Detail, first, next, why })
    }

    /// Security events between two numbers that are not there: those are never deleted.
    #[must_use]
    pub const fn of_events(first: u64, next: u64) -> Self {
        Self { tier: Tier::Security, first, next, why: Why::Damaged }
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }

    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let what = if self.tier == Tier::Detail { "calls" } else { "events" };
        let why = match self.why {
            Why::Deleted => "were deleted for the journal's budget before they were handed over",
            Why::Counted => "were counted and not kept one by one",
            Why::Damaged => "are damaged or gone, and nothing in the journal says why",
        };
        format!("{} {what} {why}", self.count())
    }
}
