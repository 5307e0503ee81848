//! `[audit]` of the host's file: how much the journal keeps, in which form, and what happens when its disk takes no more.
//!
//! Runs in: daemon and command line.
//! Does not: look at a disk.

use crate::bounds;
use crate::document::Table;
use crate::privacy::Privacy;
use crate::resolve::Resolver;
use crate::trust::COUNTERS;
use crate::trust::Counter;

/// How much the journal keeps, and what happens when its disk takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// `audit.budget`: bytes of journal. Recorded calls are deleted for it, the oldest first, though not below a half of it; security events never.
    pub budget: u64,
    /// `audit.on-full`
    pub on_full: OnFull,
    /// `audit.counter`: what says outside the disk how new the journal is.
    pub counter: Counter,
    /// `audit.paths` and `audit.graphs`: what no policy may be laxer than.
    pub privacy: Privacy,
}

/// What happens when the journal's disk takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Nothing new begins and guests wait in their next call, until the disk takes records again.
    Refuse,
    /// The daemon ends all guests and itself.
    Halt,
    /// Calls are only counted until there is room again; when not even events find room, as [`OnFull::Refuse`].
    Summarize,
}

impl Default for Audit {
    fn default() -> Self {
        Self { budget: bounds::DEFAULT_AUDIT_BUDGET, on_full: OnFull::Refuse, counter: Counter::None, privacy: Privacy::default() }
    }
}

impl Resolver<'_> {
    pub(crate) fn audit(&mut self, root: &Table<'_>) -> Option<Audit> {
        let default = Audit::default();
        let Some(table) = root.section("audit") else { return Some(default) };
        let budget = if table.has("budget") {
            self.size(&table, "budget", bounds::AUDIT_BUDGET).map(|found| found.value)
        } else {
            Some(default.budget)
        };
        let on_full = self.word_or(&table, "on-full", ON_FULL, default.on_full);
        let counter = self.word_or(&table, "counter", COUNTERS, default.counter);
        let (privacy, _) = self.privacy(root)?;
        Some(Audit { budget: budget?, on_full: on_full?, counter: counter?, privacy })
    }
}

const ON_FULL: &[(&str, Option<OnFull>)] =
    &[("refuse", Some(OnFull::Refuse)), ("halt", Some(OnFull::Halt)), ("summarize", Some(OnFull::Summarize))];
