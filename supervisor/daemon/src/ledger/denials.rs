//! Denials of one ring on their way into the journal: what repeats in the same words is told once a second, with its exact number.
//!
//! Runs in: daemon, wherever a ring is drained.
//! Invariant: the counts that come out add up to the denials that went in, once all was taken at the end.
//! Does not: hold more than [`MAX_KEYS`] of them, or hold a first one back: that is written at once, and alone.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::Record;

/// A denial to be written: this one, so many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    /// The first of them.
    pub record: Record,
    /// The path or name that was asked for.
    pub text: Option<Vec<u8>>,
    /// How many, and never none.
    pub count: u64,
    /// When the last of them was asked, `CLOCK_BOOTTIME` in nanoseconds.
    pub last_ns: u64,
}

/// The denials of one ring that may repeat.
#[derive(Debug)]
pub(super) struct Denials {
    /// In the order in which they were first seen. A count of none: written, and not seen again since.
    known: VecDeque<Denial>,
    told: Instant,
}

impl Denials {
    pub fn new() -> Self {
        Self { known: VecDeque::new(), told: Instant::now() }
    }

    /// Takes one denial; what is to be written now goes to `write`.
    pub fn take(&mut self, record: &Record, text: Option<&[u8]>, write: &mut Vec<Denial>) {
        // Of a text that is dropped it is still said that there was one.
        let what = |record: &Record| (record.call, record.errno, record.text_class());
        let same = |known: &&mut Denial| what(&known.record) == what(record) && known.text.as_deref() == text;
        if let Some(known) = self.known.iter_mut().find(same) {
            if known.count == 0 {
                known.record = *record;
            }
            known.count += 1;
            known.last_ns = record.time_ns;
            return;
        }
        if self.known.len() >= MAX_KEYS {
            write.extend(self.known.pop_front().filter(|oldest| oldest.count > 0));
        }
        let first = Denial { record: *record, text: text.map(<[u8]>::to_vec), count: 1, last_ns: record.time_ns };
        write.push(first.clone());
        self.known.push_back(Denial { count: 0, ..first });
    }

    /// Once a second: what came again goes to `write`, and what did not is forgotten.
    pub fn tell(&mut self, now: Instant, write: &mut Vec<Denial>) {
        if now.saturating_duration_since(self.told) < EVERY {
            return;
        }
        self.told = now;
        self.known.retain_mut(|known| {
            let again = known.count > 0;
            if again {
                write.push(known.clone());
                known.count = 0;
            }
            again
        });
    }

    /// Everything goes to `write`, and all is forgotten: what comes next is another invocation's.
    pub fn end(&mut self, write: &mut Vec<Denial>) {
        write.extend(self.known.drain(..).filter(|known| known.count > 0));
    }

    /// Whether anything waits to be told.
    pub fn waits(&self) -> bool {
        self.known.iter().any(|known| known.count > 0)
    }
}

/// How often a repeated denial is told.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Denials of one ring that are known at a time. With texts of at most 4 KiB this bounds what a guest can make the daemon hold.
const MAX_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use edgeguard_audit::Outcome;

    use super::*;

    fn denied(time_ns: u64, errno: u16) -> Record {
        let call = edgeguard_audit::call_id("wasi_snapshot_preview1", "path_open").unwrap();
        Record { time_ns, call, outcome: Outcome::Denied, flags: 0, errno, rule: 0, handle: 3, took_ns: 1, n_in: 0, n_out: 0 }
    }

    fn times(written: &[Denial]) -> Vec<(u64, u64, u64)> {
        written.iter().map(|denial| (denial.count, denial.record.time_ns, denial.last_ns)).collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_alone_and_its_repeats_once_a_second() {
        let (mut denials, mut written) = (Denials::new(), Vec::new());
        let began = Instant::now();
        (10..20).for_each(|time| denials.take(&denied(time, 76), Some(b"/x"), &mut written));
        assert_eq!(times(&written), [(1, 10, 10)]);
        denials.tell(began, &mut written);
        assert_eq!(written.len(), 1, "a second has not passed");
        denials.tell(began + EVERY * 2, &mut written);
        assert_eq!(times(&written), [(1, 10, 10), (9, 11, 19)]);
        // It goes on: not alone again, but with the next second.
        denials.take(&denied(30, 76), Some(b"/x"), &mut written);
        assert!(written.len() == 2 && denials.waits());
        denials.end(&mut written);
        assert_eq!(times(&written)[2], (1, 30, 30));
        // Another invocation begins anew.
        denials.take(&denied(40, 76), Some(b"/x"), &mut written);
        assert_eq!(times(&written)[3], (1, 40, 40));
    }

    #[test]
    fn other_words_or_another_answer_are_another_denial() {
        let (mut denials, mut written) = (Denials::new(), Vec::new());
        for (errno, text) in [(76, Some("/x")), (44, Some("/x")), (76, Some("/y")), (76, None), (76, Some("/x"))] {
            denials.take(&denied(1, errno), text.map(str::as_bytes), &mut written);
        }
        assert_eq!(written.len(), 4);
    }

    #[test]
    fn more_than_are_known_push_the_oldest_out_and_none_is_lost() {
        let (mut denials, mut written) = (Denials::new(), Vec::new());
        let all: u64 = 3 * 200;
        for round in 0..3 {
            for name in 0..200_u32 {
                denials.take(&denied(round, 76), Some(&name.to_le_bytes()), &mut written);
                // Each comes twice, so that there is always something to push out.
                denials.take(&denied(round, 76), Some(&name.to_le_bytes()), &mut written);
                assert!(denials.known.len() <= MAX_KEYS);
            }
        }
        denials.end(&mut written);
        assert_eq!(written.iter().map(|denial| denial.count).sum::<u64>(), 2 * all);
        assert!(written.iter().all(|denial| denial.count > 0) && !denials.waits());
    }
}
