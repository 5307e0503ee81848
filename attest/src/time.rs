//! A point in time, in whole seconds of UTC, and its one spelling.
//!
//! Runs in: daemon, CLI.
//! Does not: look at a clock. Where a time comes from, and what it is worth, is said where it is used ([`crate::Clock`]).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX). `Display` and JSON are RFC 3339 with `Z`.
///
/// ```
/// use edgeguard_attest::Time;
/// let time: Time = "2026-11-22T20:50:00+01:00".parse()?;
/// assert_eq!(time.to_string(), "2026-11-22T19:50:00Z");
/// # Ok::<(), edgeguard_attest::TimeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as `2026-11-22T20:50:00Z`")]
pub struct TimeError;

impl Time {
    /// No earlier than this is it now: the second this program was built for (`SOURCE_DATE_EPOCH` of a reproducible build), or the day this source was last held against a clock.
    pub const BUILT: Self = Self(built());

    /// The time `by` later; the end of time if that is too far.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(by.as_secs()))
    }

    /// The time `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub_unsigned(by.as_secs()))
    }

    /// How much later this is than `earlier`; zero if it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// 2026-11-22T00:00:00Z.
const SOURCE: i64 = 1_795_305_600;

const fn built() -> i64 {
    match option_env!("SOURCE_DATE_EPOCH") {
        Some(text) => match i64::from_str_radix(text, 10) {
            Ok(seconds) if seconds > SOURCE => seconds,
            _ => SOURCE,
        },
        None => SOURCE,
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(0).plus(after),
            Err(before) => Self(0).minus(before.duration()),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => f.pad(&time.to_string()),
            Err(_) => write!(f, "{} seconds after 1970", self.0),
        }
    }
}

impl FromStr for Time {
    type Err = TimeError;

    /// RFC 3339 §5.6 with upper-case `T` and `Z`, years 1970 to 9998, no leap second; a fraction of at most nine digits is dropped.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        // The library reads more than RFC 3339 (blanks, names of zones, other forms of years); the shape is held here.
        let (date, rest) = text.split_at_checked(19).ok_or(TimeError)?;
        if !shape(date, "0000-00-00T00:00:00") || date.ends_with("60") || !("1970".."9999").contains(&date) {
            return Err(TimeError);
        }
        let zone = match rest.strip_prefix('.') {
            Some(fraction) => {
                let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
                fraction.get(digits..).filter(|_| (1..=9).contains(&digits)).ok_or(TimeError)?
            }
            None => rest,
        };
        if zone != "Z" && !shape(zone, "+00:00") && !shape(zone, "-00:00") {
            return Err(TimeError);
        }
        let time: jiff::Timestamp = format!("{date}{zone}").parse().map_err(|_| TimeError)?;
        Ok(Self(time.as_second()))
    }
}

/// Whether `text` has the form of `pattern`, where `0` is any digit.
fn shape(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(|(c, p)| if p == b'0' { c.is_ascii_digit() } else { c == p })
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_time_is_read_and_written_in_one_way() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-22T20:50:00Z", 1_795_380_600),
            ("2026-11-22T21:50:00+01:00", 1_795_380_600),
            ("2026-11-22T20:50:00.999999999Z", 1_795_380_600),
            ("2024-02-29T23:59:59-00:00", 1_709_251_199),
            ("9998-12-31T23:59:59Z", 253_370_764_799),
        ] {
            assert_eq!(text.parse(), Ok(Time(seconds)), "{text}");
        }
        assert_eq!(Time(1_795_380_600).to_string(), "2026-11-22T20:50:00Z");
        assert_eq!(Time(SOURCE).to_string(), "2026-11-22T00:00:00Z");
        assert!(Time::BUILT >= Time(SOURCE));
        assert_eq!(serde_json::to_string(&Time(0)).unwrap(), "\"1970-01-01T00:00:00Z\"");
    }

    #[test]
    fn what_is_not_rfc_3339_is_no_time() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T20:50Z",
            "2026-11-22T20:50:00",
            "2026-11-22 20:50:00Z",
            "2026-11-22t20:50:00z",
            "2026-11-22T20:50:60Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T20:50:00.Z",
            "2026-11-22T20:50:00.1234567890Z",
            "2026-11-22T20:50:00+1",
            "2026-11-22T20:50:00+99:99",
            "2026-11-22T20:50:00Z[UTC]",
            "2026-11-22T20:50:00Z ",
            "+2026-11-22T20:50:0Z",
            "1969-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "２026-11-22T20:50:00Z",
            "\u{0}",
        ] {
            assert_eq!(text.parse::<Time>(), Err(TimeError), "{text}");
        }
    }

    #[test]
    fn times_at_the_ends_do_not_overflow() {
        assert_eq!(Time(i64::MAX).plus(Duration::MAX), Time(i64::MAX));
        assert_eq!(Time(i64::MIN).minus(Duration::MAX), Time(i64::MIN));
        assert_eq!(Time(i64::MIN).since(Time(i64::MAX)), Duration::ZERO);
        assert_eq!(Time(i64::MAX).to_string(), format!("{} seconds after 1970", i64::MAX));
        assert_eq!(Time::from(UNIX_EPOCH - Duration::from_secs(1)), Time(-1));
    }
}
