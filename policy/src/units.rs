//! Sizes and durations as a person writes them: `"64 MiB"`, `"500 ms"`.
//!
//! Runs in: daemon and command line.

use std::time::Duration;

/// Bytes from `"64 MiB"`; the space may be left out.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err("has no unit".to_owned()),
        "kB" | "KB" | "MB" | "GB" | "K" | "M" | "G" | "k" => return Err(format!("has the ambiguous unit `{unit}`")),
        other => return Err(format!("has the unknown unit `{}`", shorten(other))),
    };
    number.checked_mul(factor).ok_or_else(|| "is larger than any 64-bit number of bytes".to_owned())
}

/// A duration from `"500 ms"`; the space may be left out.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let micros = match unit {
        "us" | "µs" | "μs" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        "" => return Err("has no unit".to_owned()),
        "m" => return Err("has the ambiguous unit `m`".to_owned()),
        other => return Err(format!("has the unknown unit `{}`", shorten(other))),
    };
    number.checked_mul(micros).map(Duration::from_micros).ok_or_else(|| "is longer than any clock here counts".to_owned())
}

/// The number and the unit behind it.
fn split(text: &str) -> Result<(u64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(if text.starts_with('-') { "is negative" } else { "does not begin with a number" }.to_owned());
    }
    if rest.starts_with(['.', ',', '_']) {
        return Err("is not a whole number".to_owned());
    }
    let number = digits.parse().map_err(|_| "is larger than any 64-bit number".to_owned())?;
    Ok((number, rest.strip_prefix(' ').unwrap_or(rest)))
}

fn shorten(text: &str) -> String {
    text.chars().take(24).collect()
}

/// Bytes as a person writes them, in the largest unit that leaves no remainder.
pub(crate) fn show_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units.iter().find(|(factor, _)| bytes >= *factor && bytes.is_multiple_of(*factor));
    whole.map_or_else(|| format!("{bytes} B"), |(factor, unit)| format!("{} {unit}", bytes / factor))
}

/// A duration as a person writes it, in the largest unit that leaves no remainder.
pub(crate) fn show_duration(time: Duration) -> String {
    let micros = time.as_micros();
    let units = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    if micros == 0 {
        return "0 s".to_owned();
    }
    let whole = units.iter().find(|(factor, _)| micros >= *factor && micros.is_multiple_of(*factor));
    whole.map_or_else(|| format!("{micros} us"), |(factor, unit)| format!("{} {unit}", micros / factor))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_space() {
        assert_eq!(size("64 MiB").unwrap(), 64 << 20);
        assert_eq!(size("64MiB").unwrap(), 64 << 20);
        assert_eq!(size("0 B").unwrap(), 0);
        assert_eq!(size("4 GiB").unwrap(), 4 << 30);
    }

    #[test]
    fn sizes_that_could_be_misread_are_refused() {
        for text in ["64", "64 MB", "1.5 GiB", "-1 B", "", " 1 B", "1  B", "99999999999999999999 B", "18446744073709551615 GiB", "1 B "] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_exactly() {
        assert_eq!(duration("500 ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("250us").unwrap(), Duration::from_micros(250));
        assert_eq!(duration("1 h").unwrap(), Duration::from_secs(3600));
        assert_eq!(duration("365 d").unwrap(), Duration::from_secs(365 * 86_400));
        for text in ["5", "5 m", "five s", "0.5 s", "99999999999999999 h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        for bytes in [0, 1, 1023, 1024, 65_536, 1 << 20, 3 << 30, (1 << 30) + 1] {
            assert_eq!(size(&show_size(bytes)).unwrap(), bytes);
        }
        for micros in [0, 1, 999, 1_000, 90_000_000, 3_600_000_000, 86_400_000_000, 90_000_000_000] {
            let time = Duration::from_micros(micros);
            assert_eq!(duration(&show_duration(time)).unwrap(), time);
        }
    }
}
