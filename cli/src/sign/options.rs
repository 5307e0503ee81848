//! The options of `sign` that are more than text: moments and labels.
//!
//! Runs in: command line.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use edgeguard_attest::MAX_LABEL;
use edgeguard_attest::Time;
use edgeguard_attest::sign::SigningKey;

/// A point in time, or a distance from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Time),
    In(Duration),
}

impl Moment {
    pub(crate) fn after(self, now: Time) -> Time {
        match self {
            Self::At(time) => time,
            Self::In(distance) => now.plus(distance),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        let wrong = || "expected a time such as `2027-12-01T00:00:00Z`, or a distance from now such as `365d` or `12h`".to_owned();
        let (number, seconds) = match text.split_at_checked(text.len().saturating_sub(1)) {
            Some((number, "d")) => (number, 86_400),
            Some((number, "h")) => (number, 3_600),
            _ => return Err(wrong()),
        };
        let number: u32 = number.trim_end().parse().map_err(|_| wrong())?;
        Ok(Self::In(Duration::from_secs(u64::from(number) * seconds)))
    }
}

/// The middle of `MODULE.LABEL.sigstore.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(String);

impl Label {
    /// `approval-` and what the key file is called, or, where that gives nothing, how its id begins.
    pub(crate) fn approval(path: &Path, key: &SigningKey) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let name = name.trim_matches('-');
        let name = if name.is_empty() { key.public().id().to_string().chars().take(8).collect() } else { name.to_owned() };
        let label: String = format!("approval-{name}").chars().take(MAX_LABEL).collect();
        Self(label.trim_end_matches('-').to_owned())
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=MAX_LABEL).contains(&text.len());
        if fits && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected 1 to {MAX_LABEL} of `a` to `z`, `0` to `9` and `-`"))
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use edgeguard_attest::Algorithm;

    #[test]
    fn a_moment_is_a_time_or_a_distance_and_nothing_in_between() {
        let now = Time(1_800_000_000);
        let at = |text: &str| text.parse::<Moment>().map(|moment| moment.after(now));
        assert_eq!(at("365d"), Ok(Time(now.0 + 365 * 86_400)));
        assert_eq!(at("12 h"), Ok(Time(now.0 + 12 * 3_600)));
        assert_eq!(at("2027-12-01T00:00:00Z").unwrap().to_string(), "2027-12-01T00:00:00Z");
        for wrong in ["", "d", "1", "1m", "-1d", "1.5d", "2027-12-01", "tomorrow", "99999999999d", "µ"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_label_is_what_the_daemon_finds() {
        let key = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let label = |path: &str| Label::approval(Path::new(path), &key).to_string();
        assert_eq!(label("keys/Ops_A.key"), "approval-ops-a");
        assert_eq!(label("x-123456789012345678901234567890.key"), "approval-x-123456789012345678901");
        assert_eq!(label("-"), format!("approval-{}", &key.public().id().to_string()[..8]));
        for name in ["keys/Ops_A.key", "-", "ü.key", ".key"] {
            assert_eq!(label(name).parse::<Label>().unwrap().to_string(), label(name));
        }
        for wrong in ["", "A", "a.b", "../x", "a b", "123456789012345678901234567890123"] {
            assert!(wrong.parse::<Label>().is_err(), "{wrong}");
        }
    }
}
