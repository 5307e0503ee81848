//! What a gateway may believe about the time: a floor that was proved, and a wall clock that is believed only near it.
//!
//! Runs in: daemon, CLI.
//! Does not: ask the system for the time of day; both readings are handed in. A gateway's clock may stand still in a drawer, start in 1970, or be set
//! by whoever reaches it, so a bound in the past of the floor has passed for sure, and everything else counts only while the clock is steady.
//!
//! | wall clock | state | a lower bound (`not before`) | an upper bound (`not after`) |
//! |---|---|---|---|
//! | within `max_skew` before and `max_jump` after the floor | steady | judged by the later of both | judged by the later of both |
//! | earlier | behind | holds only if the floor has reached it | passed if the floor has; else refused, EG5003 |
//! | later | ahead | holds only if the floor has reached it | passed if the floor has; else refused, EG5003 |

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use serde::Serialize;
use serde::Serializer;

use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::time::Time;

/// How far the wall clock may stray from what was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockLimits {
    /// How far it may be behind the floor: what two honest clocks differ.
    pub max_skew: Duration,
    /// How far it may be ahead of the floor: the longest that a gateway is switched off, or goes without fresh evidence.
    pub max_jump: Duration,
}

impl Default for ClockLimits {
    /// Ten minutes, and 400 days.
    fn default() -> Self {
        Self { max_skew: Duration::from_secs(600), max_jump: Duration::from_secs(400 * 86_400) }
    }
}

/// Where the wall clock stands to the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockState {
    /// Near enough to be believed.
    Steady,
    /// Earlier than what was proved: set back, or never set.
    Behind {
        /// By how much.
        by: Duration,
    },
    /// Implausibly later than what was proved: set forward, or a very long time without evidence.
    Ahead {
        /// By how much.
        by: Duration,
    },
}

impl fmt::Display for ClockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady => f.write_str("steady"),
            Self::Behind { by } => write!(f, "{} behind what was proved", rough(*by)),
            Self::Ahead { by } => write!(f, "{} ahead of what was proved", rough(*by)),
        }
    }
}

impl Serialize for ClockState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Steady => "steady",
            Self::Behind { .. } => "behind",
            Self::Ahead { .. } => "ahead",
        })
    }
}

/// What is known about a bound in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reached {
    /// The bound lies in the past, or is now.
    Yes,
    /// The bound lies in the future.
    No,
    /// The clock cannot be trusted to say.
    Unknown,
}

/// The time of one admission: a proved floor, a reading of the wall clock, and how far the one may stray from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    floor: Time,
    wall: Time,
    limits: ClockLimits,
}

impl Clock {
    /// `floor` is the latest time that evidence proved to have passed; below [`Time::BUILT`] it is raised to that. `wall` is what the system's clock says.
    #[must_use]
    pub fn new(floor: Time, wall: Time, limits: ClockLimits) -> Self {
        Self { floor: floor.max(Time::BUILT), wall, limits }
    }

    /// The latest time that was proved to have passed.
    #[must_use]
    pub fn floor(&self) -> Time {
        self.floor
    }

    /// What the system's clock says, believed or not.
    #[must_use]
    pub fn wall(&self) -> Time {
        self.wall
    }

    /// It is at least this late: the floor, or the wall clock if it is later and believed.
    #[must_use]
    pub fn now_at_least(&self) -> Time {
        match self.state() {
            ClockState::Steady => self.floor.max(self.wall),
            ClockState::Behind { .. } | ClockState::Ahead { .. } => self.floor,
        }
    }

    /// Where the wall clock stands to the floor.
    #[must_use]
    pub fn state(&self) -> ClockState {
        if self.wall < self.floor.minus(self.limits.max_skew) {
            ClockState::Behind { by: self.floor.since(self.wall) }
        } else if self.wall > self.floor.plus(self.limits.max_jump) {
            ClockState::Ahead { by: self.wall.since(self.floor) }
        } else {
            ClockState::Steady
        }
    }

    /// Whether `bound` has been reached. Exactly at the bound, it has.
    pub fn reached(&self, bound: Time) -> Reached {
        if bound <= self.floor {
            return Reached::Yes;
        }
        match self.state() {
            ClockState::Steady if bound <= self.wall => Reached::Yes,
            ClockState::Steady => Reached::No,
            ClockState::Behind { .. } | ClockState::Ahead { .. } => Reached::Unknown,
        }
    }

    /// `what` counts from `bound` on. `what` names the thing and its field: "`notBefore` of the release".
    ///
    /// # Errors
    /// [`Code::OutsideValidity`] if the bound lies in the future, [`Code::Clock`] if that cannot be known.
    pub fn not_before(&self, bound: Time, what: &str) -> Result<(), Rejection> {
        self.begun(Code::OutsideValidity, bound, what)
    }

    /// `what` counts up to and including `bound`.
    ///
    /// # Errors
    /// [`Code::OutsideValidity`] if the bound has passed, [`Code::Clock`] if that cannot be known.
    pub fn not_after(&self, bound: Time, what: &str) -> Result<(), Rejection> {
        self.over(Code::OutsideValidity, bound, what)
    }

    /// [`not_before`](Self::not_before) with a code of the caller's, for what is no statement: a key, a list.
    pub(crate) fn begun(&self, code: Code, bound: Time, what: &str) -> Result<(), Rejection> {
        match self.reached(bound) {
            Reached::Yes => Ok(()),
            Reached::No => Err(Rejection::new(code, format!("{what}, {bound}, to have been reached"), self.found())),
            Reached::Unknown => Err(self.untrusted(what, bound)),
        }
    }

    /// [`not_after`](Self::not_after) with a code of the caller's.
    pub(crate) fn over(&self, code: Code, bound: Time, what: &str) -> Result<(), Rejection> {
        // The last second still counts, so the bound has passed one second later.
        match self.reached(Time(bound.0.saturating_add(1))) {
            Reached::No => Ok(()),
            Reached::Yes => Err(Rejection::new(code, format!("{what}, {bound}, to lie ahead"), self.found())),
            Reached::Unknown => Err(self.untrusted(what, bound)),
        }
    }

    fn found(&self) -> String {
        format!("that it is {}", self.now_at_least())
    }

    fn untrusted(&self, what: &str, bound: Time) -> Rejection {
        Rejection::new(
            Code::Clock,
            format!("a clock near {}, the latest time that was proved, to judge {what}, {bound}", self.floor),
            format!("{}, {}", self.wall, self.state()),
        )
    }
}

/// The floor while a process runs: it rises by evidence, and with a clock that nobody can set.
///
/// That clock is `CLOCK_BOOTTIME`, which counts suspended time and starts at zero with the kernel; its readings are handed in, see [`boot_time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RisingFloor {
    proved: Time,
    at: Duration,
}

impl RisingFloor {
    /// `proved` had passed when the boot clock said `at`.
    #[must_use]
    pub fn new(proved: Time, at: Duration) -> Self {
        Self { proved: proved.max(Time::BUILT), at }
    }

    /// The floor when the boot clock says `now`.
    #[must_use]
    pub fn at(&self, now: Duration) -> Time {
        self.proved.plus(now.saturating_sub(self.at))
    }

    /// Evidence proved that `time` had passed when the boot clock said `now`. A time below the floor changes nothing.
    pub fn raise(&mut self, time: Time, now: Duration) {
        if time > self.at(now) {
            *self = Self { proved: time, at: now };
        }
    }

    /// The clock for one admission.
    #[must_use]
    pub fn clock(&self, limits: ClockLimits) -> Clock {
        Clock::new(self.at(boot_time()), Time::from(SystemTime::now()), limits)
    }
}

/// Time since the kernel started, suspended time included (`clock_gettime(2)`, `CLOCK_BOOTTIME`). It cannot be set, and never runs back.
#[must_use]
pub fn boot_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

/// A length of time as a person says it: the two largest units.
pub(crate) fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    const DAY: i64 = 86_400;

    /// A floor some time after the build, and a wall clock `ahead` seconds from it.
    fn clock(ahead: i64) -> Clock {
        let floor = Time(Time::BUILT.0 + 100 * DAY);
        Clock::new(floor, Time(floor.0 + ahead), ClockLimits::default())
    }

    fn from_floor(seconds: i64) -> Time {
        Time(clock(0).floor().0 + seconds)
    }

    #[test]
    fn a_clock_is_believed_between_skew_and_jump() {
        for (ahead, state) in [
            (0, ClockState::Steady),
            (-600, ClockState::Steady),
            (-601, ClockState::Behind { by: Duration::from_secs(601) }),
            (400 * DAY, ClockState::Steady),
            (400 * DAY + 1, ClockState::Ahead { by: Duration::from_secs(400 * 86_400 + 1) }),
        ] {
            assert_eq!(clock(ahead).state(), state, "{ahead}");
        }
        assert_eq!(clock(-5).now_at_least(), from_floor(0));
        assert_eq!(clock(50).now_at_least(), from_floor(50));
        assert_eq!(clock(500 * DAY).now_at_least(), from_floor(0), "a jump is not followed");
    }

    #[test]
    fn a_bound_that_the_floor_decides_needs_no_clock() {
        for ahead in [-5000 * DAY, 0, 5000 * DAY] {
            assert_eq!(clock(ahead).not_before(from_floor(0), "x"), Ok(()), "{ahead}");
            assert_eq!(clock(ahead).not_after(from_floor(-1), "x").unwrap_err().code, Code::OutsideValidity, "{ahead}");
        }
    }

    #[test]
    fn a_clock_set_back_revives_nothing_and_one_set_forward_opens_nothing() {
        for ahead in [-5000 * DAY, 5000 * DAY] {
            assert_eq!(clock(ahead).not_after(from_floor(10), "`expires`").unwrap_err().code, Code::Clock, "{ahead}");
            assert_eq!(clock(ahead).not_before(from_floor(10), "`notBefore`").unwrap_err().code, Code::Clock, "{ahead}");
        }
    }

    #[test]
    fn a_steady_clock_decides_to_the_second() {
        let clock = clock(DAY);
        assert_eq!(clock.not_before(from_floor(DAY), "x"), Ok(()));
        assert_eq!(clock.not_before(from_floor(DAY + 1), "x").unwrap_err().code, Code::OutsideValidity);
        assert_eq!(clock.not_after(from_floor(DAY), "x"), Ok(()));
        assert_eq!(clock.not_after(from_floor(DAY - 1), "x").unwrap_err().code, Code::OutsideValidity);
    }

    #[test]
    fn a_clock_that_was_never_set_is_behind_the_build() {
        let clock = Clock::new(Time(0), Time(0), ClockLimits::default());
        assert_eq!(clock.floor(), Time::BUILT);
        assert!(matches!(clock.state(), ClockState::Behind { .. }));
    }

    #[test]
    fn the_floor_rises_with_the_boot_clock_and_by_evidence_and_never_falls() {
        let start = from_floor(0);
        let mut floor = RisingFloor::new(start, Duration::from_secs(100));
        assert_eq!(floor.at(Duration::from_secs(160)), from_floor(60));
        floor.raise(from_floor(30), Duration::from_secs(160));
        assert_eq!(floor.at(Duration::from_secs(160)), from_floor(60), "older evidence changes nothing");
        floor.raise(from_floor(DAY), Duration::from_secs(160));
        assert_eq!(floor.at(Duration::from_secs(161)), from_floor(DAY + 1));
        assert_eq!(floor.at(Duration::ZERO), from_floor(DAY), "never below what was proved");
        assert!(boot_time() > Duration::ZERO);
    }

    #[test]
    fn the_messages_say_what_is_believed() {
        insta::assert_snapshot!(clock(DAY).not_after(from_floor(0), "`expires` of the release").unwrap_err(), @"EG5006 · statement is outside its validity · expected `expires` of the release, 2027-03-02T00:00:00Z, to lie ahead, found that it is 2027-03-03T00:00:00Z · get a statement that is valid now from the vendor");
        insta::assert_snapshot!(clock(-5000 * DAY).not_after(from_floor(9), "`expires` of the release").unwrap_err(), @"EG5003 · clock cannot be trusted for this · expected a clock near 2027-03-02T00:00:00Z, the latest time that was proved, to judge `expires` of the release, 2027-03-02T00:00:09Z, found 2013-06-23T00:00:00Z, 5000 d behind what was proved · set the clock, then try again; `edgeguard trust status` shows what is believed and why");
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_clock_says_a_passed_bound_stays_passed(wall in proptest::num::i64::ANY, floor in proptest::num::i64::ANY, bound in proptest::num::i64::ANY) {
            let clock = Clock::new(Time(floor), Time(wall), ClockLimits::default());
            proptest::prop_assert!(clock.now_at_least() >= clock.floor());
            if Time(bound) < clock.floor() {
                proptest::prop_assert!(clock.not_after(Time(bound), "x").is_err());
                proptest::prop_assert!(clock.not_before(Time(bound), "x").is_ok());
            }
            // Both at once hold only exactly at the bound.
            if clock.not_after(Time(bound), "x").is_ok() && clock.not_before(Time(bound), "x").is_ok() {
                proptest::prop_assert_eq!(clock.now_at_least(), Time(bound));
            }
        }
    }
}
