//! How old trust material may become: first it is fresh, then a warning, then nothing new is admitted on it.
//!
//! Runs in: daemon, CLI.
//! Does not: end anything that runs. Stale material refuses what was never admitted here; what was is known and goes on, and revocation still counts.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Pack;
use crate::clock::Clock;
use crate::clock::Reached;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::time::Time;

/// What this host asks of trust material before something new is admitted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessLimits {
    /// How long before the end the warning begins.
    pub warn: Duration,
    /// How long after the end new modules are still admitted, with the warning.
    pub grace: Duration,
    /// Whether there must be a revocation list. Once there was one, there must be one in any case.
    pub list_required: bool,
}

impl Default for FreshnessLimits {
    /// A warning from seven days before; no grace; no list before the first one.
    fn default() -> Self {
        Self { warn: Duration::from_secs(7 * 86_400), grace: Duration::ZERO, list_required: false }
    }
}

/// Whether trust material is young enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Staleness {
    /// Nothing is near its end, or nothing has one.
    Fresh,
    /// `what` is near its end, or within the grace after it. New modules are still admitted.
    Warn {
        /// What is running out, in words.
        what: String,
        /// Its end.
        since: Time,
    },
    /// `what` is past its end and grace, or the clock cannot say that it is not. New modules are refused.
    Stale {
        /// What has run out, in words.
        what: String,
        /// Its end.
        since: Time,
    },
    /// The host requires `what`, and has none. New modules are refused.
    Absent {
        /// What is missing, in words.
        what: String,
    },
}

impl Staleness {
    /// Judges what is in force on a host: `pack`, if one was imported, and `list_floor`, the number of the newest revocation list that was ever seen.
    #[must_use]
    pub fn in_force(pack: Option<&Pack>, list_floor: Option<u64>, clock: &Clock, limits: FreshnessLimits) -> Self {
        let wanted = limits.list_required || list_floor.is_some();
        match pack {
            _ if wanted && pack.and_then(Pack::revocations).is_none() => Self::Absent { what: "the revocation list".into() },
            Some(pack) => pack.staleness(clock, limits),
            None => Self::Fresh,
        }
    }

    /// Judges each of `ends`, a thing and when it runs out, and gives the worst. A clock that cannot be trusted makes everything stale that its floor does not decide.
    #[must_use]
    pub fn judge<'a>(clock: &Clock, limits: FreshnessLimits, ends: impl IntoIterator<Item = (&'a str, Time)>) -> Self {
        let mut worst = Self::Fresh;
        for (what, end) in ends {
            let (what, since) = (what.to_owned(), end);
            let found = match (clock.reached(end.plus(limits.grace)), clock.reached(end.minus(limits.warn))) {
                (Reached::Yes | Reached::Unknown, _) => Self::Stale { what, since },
                (Reached::No, Reached::Yes | Reached::Unknown) => Self::Warn { what, since },
                (Reached::No, Reached::No) => Self::Fresh,
            };
            if found.rank() > worst.rank() || (found.rank() == worst.rank() && found.since() < worst.since()) {
                worst = found;
            }
        }
        worst
    }

    /// Refuses what is new when the material is stale.
    ///
    /// # Errors
    /// [`Code::Stale`].
    pub fn check_new(&self) -> Result<(), Rejection> {
        match self {
            Self::Fresh | Self::Warn { .. } => Ok(()),
            Self::Absent { what } => {
                let absent = Rejection::new(Code::Stale, format!("{what} to be in force"), "none");
                Err(absent.next("import a trust pack that brings it: `edgeguard trust import DIR`"))
            }
            Self::Stale { what, since } => {
                Err(Rejection::new(Code::Stale, format!("{what} to be in force"), format!("one that ran out on {since}, or may have")))
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Fresh => 0,
            Self::Warn { .. } => 1,
            Self::Stale { .. } => 2,
            Self::Absent { .. } => 3,
        }
    }

    fn since(&self) -> Option<Time> {
        match self {
            Self::Fresh | Self::Absent { .. } => None,
            Self::Warn { since, .. } | Self::Stale { since, .. } => Some(*since),
        }
    }
}

impl fmt::Display for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("fresh"),
            Self::Warn { what, since } => write!(f, "{what} runs out on {since}; import a newer trust pack"),
            Self::Stale { what, since } => {
                write!(f, "{what} ran out on {since}, or may have; new modules are refused until a newer trust pack is imported")
            }
            Self::Absent { what } => write!(f, "{what} is not there; new modules are refused until a trust pack brings it"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::clock::ClockLimits;

    const DAY: i64 = 86_400;

    fn judge(wall: i64, grace: u64, ends: &[(&str, i64)]) -> Staleness {
        let start = Time::BUILT.0;
        let clock = Clock::new(Time(start), Time(start + wall), ClockLimits::default());
        let limits = FreshnessLimits { grace: Duration::from_secs(grace), ..FreshnessLimits::default() };
        Staleness::judge(&clock, limits, ends.iter().map(|(what, end)| (*what, Time(start + end))))
    }

    #[test]
    fn material_is_fresh_then_warns_then_is_stale() {
        let list = [("list", 30 * DAY)];
        assert_eq!(judge(DAY, 0, &list), Staleness::Fresh);
        assert!(matches!(judge(23 * DAY, 0, &list), Staleness::Warn { .. }));
        assert!(matches!(judge(30 * DAY - 1, 0, &list), Staleness::Warn { .. }));
        assert!(matches!(judge(30 * DAY, 0, &list), Staleness::Stale { .. }));
        assert!(matches!(judge(31 * DAY, 2 * 86_400, &list), Staleness::Warn { .. }), "grace");
        assert!(matches!(judge(32 * DAY, 2 * 86_400, &list), Staleness::Stale { .. }));
        assert_eq!(judge(31 * DAY, 0, &[]), Staleness::Fresh, "nothing has an end");
    }

    #[test]
    fn a_clock_set_back_or_forward_does_not_make_old_material_fresh() {
        for wall in [-5000 * DAY, 5000 * DAY] {
            assert!(matches!(judge(wall, 0, &[("list", 30 * DAY)]), Staleness::Stale { .. }), "{wall}");
        }
    }

    #[test]
    fn a_list_that_must_be_there_and_is_not_refuses_what_is_new() {
        let clock = Clock::new(Time::BUILT, Time::BUILT, ClockLimits::default());
        let judge = |list_required, floor| {
            Staleness::in_force(None, floor, &clock, FreshnessLimits { list_required, ..FreshnessLimits::default() })
        };
        assert_eq!(judge(false, None), Staleness::Fresh);
        for absent in [judge(true, None), judge(false, Some(5)), judge(true, Some(5))] {
            assert_eq!(absent.check_new().map_err(|refused| refused.code), Err(Code::Stale));
        }
    }

    #[test]
    fn the_worst_and_then_the_oldest_is_named() {
        let named = |found: Staleness| found.to_string();
        assert!(named(judge(29 * DAY, 0, &[("a", 400 * DAY), ("b", 20 * DAY), ("c", 10 * DAY), ("d", 30 * DAY)])).starts_with("c ran out"));
        assert!(named(judge(29 * DAY, 0, &[("a", 31 * DAY), ("b", 30 * DAY)])).starts_with("b runs out"));
    }

    #[test]
    fn stale_material_refuses_what_is_new() {
        assert_eq!(judge(0, 0, &[]).check_new(), Ok(()));
        assert_eq!(judge(25 * DAY, 0, &[("list", 30 * DAY)]).check_new(), Ok(()));
        insta::assert_snapshot!(judge(30 * DAY, 0, &[("the revocation list", 30 * DAY)]).check_new().unwrap_err(), @"EG5002 · trust material is too old to admit anything new · expected the revocation list to be in force, found one that ran out on 2026-12-22T00:00:00Z, or may have · bring newer trust material with `edgeguard trust import`");
    }
}
