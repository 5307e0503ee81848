//! How many bytes of security events a module's guests may cause. Security events are never deleted, so whoever can cause any number of them fills the disk.
//!
//! Runs in: daemon, wherever a ring is drained.
//! Invariant: in any time the events of one module take at most [`BURST`], [`REFILL`] for each second of it and [`INVOCATION`] for each invocation in it.
//! Does not: drop anything. Who is over the budget is suspended, and what it was denied meanwhile is counted exactly.

use std::time::Duration;
use std::time::Instant;

/// What one module has left.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    reckoned: Instant,
    came_bytes: u64,
    came_events: u64,
    suspended: Option<Suspended>,
}

/// A module that was over its budget.
#[derive(Debug, Clone, Copy)]
struct Suspended {
    until: Instant,
    pause: Duration,
}

/// What there is to say of a suspension when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Came {
    pub bytes: u64,
    pub events: u64,
    pub pause: Duration,
}

impl Budget {
    pub const fn new(now: Instant) -> Self {
        Self { left: BURST, reckoned: now, came_bytes: 0, came_events: 0, suspended: None }
    }

    /// Takes this many bytes for one event; false when there is no room for it.
    pub fn spend(&mut self, bytes: u64, now: Instant) -> bool {
        self.reckon(now);
        if self.pause(now).is_some() {
            return false;
        }
        self.came_bytes = self.came_bytes.saturating_add(bytes);
        self.came_events = self.came_events.saturating_add(1);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// An invocation begins, unless the module is suspended: then it says for how long.
    ///
    /// # Errors
    /// The time that is left.
    pub fn begin(&mut self, now: Instant) -> Result<(), Duration> {
        self.reckon(now);
        match self.pause(now) {
            Some(left) => Err(left),
            None => {
                self.left = self.left.saturating_add(INVOCATION).min(BURST);
                Ok(())
            }
        }
    }

    /// Suspends the module. One that is suspended already stays so until the time that was said.
    pub fn suspend(&mut self, now: Instant) -> Came {
        let pause = match self.suspended {
            Some(earlier) if now < earlier.until => earlier.until - now,
            // It had a pause not long ago: a longer one.
            Some(earlier) if now < earlier.until + FORGOTTEN => (earlier.pause * 2).min(LONGEST),
            _ => SHORTEST,
        };
        if self.pause(now).is_none() {
            self.suspended = Some(Suspended { until: now + pause, pause });
        }
        let came = Came { bytes: self.came_bytes, events: self.came_events, pause };
        (self.came_bytes, self.came_events) = (0, 0);
        came
    }

    /// How long the module is still suspended.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        let suspended = self.suspended?;
        suspended.until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// As if nothing had been.
    pub fn lift(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    fn reckon(&mut self, now: Instant) {
        // A pause earns nothing: else each would end with a burst.
        let from = self.suspended.map_or(self.reckoned, |suspended| suspended.until.max(self.reckoned));
        let Some(passed) = now.checked_duration_since(from) else { return };
        let earned = passed.as_millis().saturating_mul(REFILL.into()) / 1000;
        if earned > 0 {
            self.left = self.left.saturating_add(u64::try_from(earned).unwrap_or(u64::MAX)).min(BURST);
            self.reckoned = now;
        }
        if self.left == BURST {
            (self.came_bytes, self.came_events) = (0, 0);
        }
    }
}

/// Bytes at once: some 2500 denials, all different, as a program makes them that looks through a whole folder it was not given.
pub(super) const BURST: u64 = 1 << 20;

/// Bytes in a second: some five denials, all different. A disk of a gateway takes this for weeks before an operator must look.
pub(super) const REFILL: u64 = 2 << 10;

/// Bytes with each invocation: some ten denials, so that a module that is called often is not suspended for what each call asks at its start.
pub(super) const INVOCATION: u64 = 4 << 10;

/// The first pause, and the longest; each is twice the one before.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(3600);

/// Without another one for so long, the next pause is the shortest again.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    /// Spends until there is no more; what it came to.
    fn spend_all(budget: &mut Budget, now: Instant) -> u64 {
        std::iter::repeat_with(|| budget.spend(400, now)).take_while(|spent| *spent).count() as u64 * 400
    }

    #[test]
    fn a_module_has_a_burst_then_what_time_and_invocations_give() {
        let began = Instant::now();
        let mut budget = Budget::new(began);
        assert_eq!(spend_all(&mut budget, began), BURST / 400 * 400);
        assert_eq!(spend_all(&mut budget, began + Duration::from_secs(100)) / 1000, 100 * REFILL / 1000);
        (0..10).for_each(|_| budget.begin(began + Duration::from_secs(100)).unwrap());
        let given = spend_all(&mut budget, began + Duration::from_secs(100));
        assert!((10 * INVOCATION - 400..10 * INVOCATION + 400).contains(&given), "{given}");
        // Never more than a burst, however long it was quiet.
        assert_eq!(spend_all(&mut budget, began + Duration::from_secs(1_000_000)), BURST / 400 * 400);
    }

    #[test]
    fn who_is_suspended_spends_nothing_earns_nothing_and_has_a_longer_pause_each_time() {
        let mut now = Instant::now();
        let mut budget = Budget::new(now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            spend_all(&mut budget, now);
            let came = budget.suspend(now);
            assert!(came.bytes > 0 && came.events > 0);
            pauses.push(came.pause.as_secs());
            assert!(!budget.spend(1, now) && budget.begin(now).is_err());
            // Another of its workers does not make it longer.
            budget.suspend(now);
            assert!(budget.pause(now + came.pause / 2).is_some());
            now += came.pause + Duration::from_secs(1);
            assert_eq!(budget.pause(now), None);
            budget.begin(now).unwrap();
            assert!(budget.left < 2 * (INVOCATION + REFILL), "a pause ends with a burst: {}", budget.left);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
        // A day without one, and it is the first again; or at once, if somebody says so.
        now += FORGOTTEN + Duration::from_secs(3600);
        assert_eq!(budget.suspend(now).pause, SHORTEST);
        budget.lift(now);
        assert_eq!((budget.pause(now), budget.left), (None, BURST));
    }
}
