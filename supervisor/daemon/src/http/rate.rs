//! How many requests a module answers in a minute.
//!
//! Runs in: daemon.
//! Each request leaves events in the journal that are never deleted, so nobody who can connect may cause any number of them.

use std::time::Instant;

const MINUTE_NS: u128 = 60_000_000_000;

/// Requests that one module may still answer: at first a minute's, and from then on as many in each.
#[derive(Debug, Default)]
pub struct Rate {
    /// What was taken and has not come back, in requests times nanoseconds in a minute.
    taken: u128,
    reckoned: Option<Instant>,
}

impl Rate {
    /// Takes one request, of so many in a minute; false when there is none left.
    pub fn take(&mut self, per_minute: u32, now: Instant) -> bool {
        let passed = self.reckoned.replace(now).map_or(0, |then| now.saturating_duration_since(then).as_nanos());
        self.taken = self.taken.saturating_sub(passed.saturating_mul(per_minute.into()));
        let taken = self.taken.saturating_add(MINUTE_NS);
        let fits = taken <= MINUTE_NS.saturating_mul(per_minute.into());
        if fits {
            self.taken = taken;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_minute_s_requests_come_at_once_and_then_one_by_one() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let taken = |rate: &mut Rate, at| (0..1000).take_while(|_| rate.take(60, start + at)).count();
        assert_eq!(taken(&mut rate, Duration::ZERO), 60);
        assert_eq!(taken(&mut rate, Duration::from_millis(999)), 0);
        assert_eq!(taken(&mut rate, Duration::from_millis(1001)), 1);
        assert_eq!(taken(&mut rate, Duration::from_secs(11)), 10);
        assert_eq!(taken(&mut rate, Duration::from_secs(1000)), 60);
    }

    #[test]
    fn a_policy_that_gives_fewer_counts_at_once() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        assert!((0..10).all(|_| rate.take(60, now)));
        assert!(!rate.take(5, now));
        assert!(!rate.take(5, now + Duration::from_secs(59)) && rate.take(5, now + Duration::from_secs(73)));
    }
}
