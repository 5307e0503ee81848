//! Moments: a date, a time and an offset, as TOML and RFC 3339 write them, to seconds since 1970.
//!
//! Runs in: daemon and command line.
//! Does not: ask what time it is.

use toml::value::Datetime;
use toml::value::Offset;

/// Seconds since 1970, UTC, of a date and time with an offset.
///
/// # Errors
/// What is missing, or cannot be kept, as the label of a diagnostic.
pub(crate) fn seconds(written: &Datetime) -> Result<i64, &'static str> {
    let date = written.date.ok_or("a time without a date")?;
    let time = written.time.ok_or("a date without a time of day")?;
    let offset = match written.offset.ok_or("without an offset, so that it depends on where it is read")? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    if time.nanosecond.unwrap_or(0) != 0 {
        return Err("finer than a second");
    }
    let (year, month, day) = (i64::from(date.year), i64::from(date.month), i64::from(date.day));
    if !(1970..=9999).contains(&year) || days_of(year, month).is_none_or(|most| !(1..=most).contains(&day)) {
        return Err("not a day of the calendar since 1970");
    }
    let (hour, minute, second) = (i64::from(time.hour), i64::from(time.minute), i64::from(time.second.unwrap_or(0)));
    if hour > 23 || minute > 59 || second > 59 {
        return Err("not a time of day; a leap second cannot be written");
    }
    let since = days(year, month, day) * DAY + hour * 3600 + (minute - offset) * 60 + second;
    if since < 0 { Err("before 1970") } else { Ok(since) }
}

/// `2027-01-01T00:00:00Z`
#[must_use]
pub fn show_moment(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Days in a month.
fn days_of(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => Some(if leap { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. The year is taken to begin in March, so that the leap day is its last
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The reverse (`civil_from_days`).
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    fn read(text: &str) -> Result<i64, &'static str> {
        seconds(&text.parse().unwrap())
    }

    #[test]
    fn known_moments_are_read() {
        // `date -u -d TEXT +%s`
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2026-01-01T01:30:00+01:30", 1_767_225_600),
            ("2025-12-31T19:00:00-05:00", 1_767_225_600),
            ("2027-01-01 00:00:00Z", 1_798_761_600),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in
            ["2026-01-01", "12:00:00", "2026-01-01T00:00:00", "2026-01-01T00:00:00.5Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+01:00"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        // Every day of four centuries and a bit, at a time that moves through the day.
        for day in 0..150_000 {
            let moment = day * DAY + day % DAY;
            assert_eq!(read(&show_moment(moment)), Ok(moment));
        }
    }
}
