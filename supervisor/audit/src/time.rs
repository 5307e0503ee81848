//! Times as people write them.
//!
//! Runs in: CLI.

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Nanoseconds since the Unix epoch as RFC 3339, in UTC, to the microsecond.
#[must_use]
pub fn rfc3339(ns: u64) -> String {
    // All of 64 bits lies before the format's last year.
    let time = UNIX_EPOCH + Duration::from_nanos(ns);
    humantime::format_rfc3339_micros(time).to_string()
}

/// A moment: RFC 3339 (`2026-11-22T16:00:00Z`), or how long ago (`2h`, `15min`, `3days`). Nanoseconds since the Unix epoch.
///
/// # Errors
/// What was expected.
pub fn parse_since(text: &str) -> Result<u64, String> {
    let moment = humantime::parse_rfc3339_weak(text).or_else(|_| {
        let ago = humantime::parse_duration(text)
            .map_err(|_| format!("expected a time such as `2026-11-22T16:00:00Z` or `2h`, found `{text}`"))?;
        SystemTime::now().checked_sub(ago).ok_or_else(|| format!("`{text}` ago is before the beginning of time"))
    })?;
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(rfc3339(1_764_000_000_123_456_789), "2025-11-24T16:00:00.123456Z");
        assert_eq!(parse_since("2025-11-24T16:00:00Z"), Ok(1_764_000_000_000_000_000));
        let since = parse_since("1h").unwrap();
        let hour = crate::realtime_ns() - since;
        assert!((3_600_000_000_000..3_610_000_000_000).contains(&hour), "{hour}");
        assert!(parse_since("yesterday").unwrap_err().contains("expected a time"));
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551Z");
    }
}
