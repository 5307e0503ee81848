//! What is remembered while the journal's disk takes nothing.
//!
//! Runs in: daemon, on the journal's thread.
//! Does not: forget silently. What does not fit is counted, and the count is in the journal once it takes records again.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::Event;
use edgeguard_audit::Journal;
use edgeguard_audit::JournalError;
use edgeguard_audit::Stats;

/// A time in which the disk takes nothing.
#[derive(Debug)]
pub(super) struct Closed {
    since: Instant,
    tried: Instant,
    reason: String,
    /// What waits to be written, in its order.
    events: VecDeque<Event>,
    kept: u64,
    unkept: u64,
}

impl Closed {
    pub fn new(reason: String) -> Self {
        let now = Instant::now();
        Self { since: now, tried: now, reason, events: VecDeque::new(), kept: 0, unkept: 0 }
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Keeps an event until it can be written.
    pub fn keep(&mut self, event: Event) {
        if self.events.len() < MAX_KEPT {
            self.events.push_back(event);
            self.kept += 1;
        } else {
            self.unkept += 1;
        }
    }

    /// Whether it is time to try again.
    pub fn due(&self) -> bool {
        self.tried.elapsed() >= TRY_AGAIN
    }

    /// Writes what was kept, and that the journal takes records again. What was written is not written twice.
    ///
    /// # Errors
    /// The disk still takes nothing.
    pub fn write(&mut self, journal: &mut Journal) -> Result<(), JournalError> {
        self.tried = Instant::now();
        while let Some(event) = self.events.front() {
            match journal.append(event) {
                Ok(_) => {}
                // No disk will ever take this one.
                Err(JournalError::TooLarge(_)) => (self.kept, self.unkept) = (self.kept - 1, self.unkept + 1),
                Err(error) => return Err(error),
            }
            self.events.pop_front();
        }
        let resumed = Event::JournalResumed {
            reason: self.reason.clone(),
            closed_ns: u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX),
            kept: self.kept,
            unkept: self.unkept,
            lost: journal.stats().lost,
        };
        // It is durable: when it is there, the disk has taken everything.
        journal.event(&resumed).map(drop)
    }

    /// The daemon ends before the disk took anything: the log is all that is left to say so.
    pub fn complain(&self, stats: &Stats) {
        let (waiting, unkept, lost) = (self.events.len(), self.unkept, stats.lost);
        tracing::error!(reason = self.reason, waiting, unkept, lost, "events and calls that the journal's disk did not take are lost");
    }
}

/// How often it is tried.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Events that are kept.
const MAX_KEPT: usize = 4096;
