//! Patterns for identities and claims: plain text in which `*` stands for exactly one whole segment.
//!
//! Runs in: daemon, CLI; on text that an operator wrote (the pattern) and that a certificate authority signed (the value).
//! Invariant: a pattern matches a value from its first character to its last or not at all, and names at least one thing literally.
//! Does not: know regular expressions. What is unanchored or half-matched has let strangers in elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::Serializer;

/// The longest pattern, and the longest value that can match one, in bytes.
pub const MAX_PATTERN: usize = 1024;

/// Text with whole segments left open, such as `https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*`.
///
/// A segment is what stands between `/`, `@` and the ends. `*` as a whole segment matches any one segment that is not empty;
/// everything else matches itself, and case counts.
///
/// ```
/// # fn main() -> Result<(), edgeguard_attest::PatternError> {
/// let tags: edgeguard_attest::Pattern = "release.yml@refs/tags/*".parse()?;
/// assert!(tags.matches("release.yml@refs/tags/v1.2"));
/// assert!(!tags.matches("release.yml@refs/tags/v1/extra"));
/// assert!(!tags.matches("my-release.yml@refs/tags/v1.2"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    text: String,
}

/// Why text is not a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It would match nothing that exists.
    #[error("expected a pattern, found nothing")]
    Empty,
    /// Longer than [`MAX_PATTERN`].
    #[error("expected a pattern of at most {MAX_PATTERN} bytes, found {found}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// A control character: no identity has one.
    #[error("expected printable text, found a control character")]
    Control,
    /// `*` beside other characters of its segment.
    #[error("`*` stands for a whole segment between `/` and `@`; write the segment out, or `*` alone")]
    PartOfSegment,
    /// Only `*`: it would match anybody.
    #[error("a pattern must name something; one of only `*` would match anybody")]
    MatchesAnybody,
}

impl Pattern {
    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches one value only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.text.contains('*')
    }

    /// Whether `value` matches, from end to end.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        if value.len() > MAX_PATTERN {
            return false;
        }
        let mut pieces = pieces(&self.text);
        let mut found = self::pieces(value);
        loop {
            match (pieces.next(), found.next()) {
                (None, None) => return true,
                (Some((wanted, ended)), Some((segment, found_end))) if ended == found_end => {
                    let same = if wanted == "*" { !segment.is_empty() } else { wanted == segment };
                    if !same {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }
}

/// The segments of `text`, each with the delimiter that ends it.
fn pieces(text: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    text.split_inclusive(['/', '@']).map(|piece| {
        let end = piece.chars().next_back().filter(|c| matches!(c, '/' | '@'));
        (end.map_or(piece, |_| piece.trim_end_matches(['/', '@'])), end)
    })
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong { found: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::Control);
        }
        if pieces(text).any(|(segment, _)| segment != "*" && segment.contains('*')) {
            return Err(PatternError::PartOfSegment);
        }
        if pieces(text).all(|(segment, _)| segment == "*" || segment.is_empty()) {
            return Err(PatternError::MatchesAnybody);
        }
        Ok(Self { text: text.to_owned() })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn literal_pattern_matches_itself_and_nothing_around_it() {
        let exact = pattern("https://token.example.com");
        assert!(exact.matches("https://token.example.com"));
        for other in
            ["https://token.example.com/", "xhttps://token.example.com", "https://token.example.comx", "https://TOKEN.example.com", ""]
        {
            assert!(!exact.matches(other), "{other}");
        }
    }

    #[test]
    fn star_is_one_whole_segment_and_never_none() {
        let tags = pattern("https://github.com/acme/*/.github/workflows/release.yml@refs/tags/*");
        assert!(tags.matches("https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/v1"));
        for other in [
            "https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/",
            "https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/v1/x",
            "https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/v1@x",
            "https://github.com/acme//.github/workflows/release.yml@refs/tags/v1",
            "https://github.com/acme/a/b/.github/workflows/release.yml@refs/tags/v1",
            "https://github.com/acme/voice/.github/workflows/release.yml/refs/tags/v1",
            "https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/v1/",
        ] {
            assert!(!tags.matches(other), "{other}");
        }
        assert!(pattern("*@acme.example").matches("ann@acme.example"));
        assert!(!pattern("*@acme.example").matches("@acme.example"));
        assert!(!pattern("*@acme.example").matches("ann@x@acme.example"));
    }

    #[test]
    fn star_in_a_value_is_only_a_character() {
        assert!(!pattern("refs/tags/v1").matches("refs/tags/*"));
        assert!(pattern("refs/tags/*").matches("refs/tags/*"));
    }

    #[test]
    fn empty_segments_are_segments() {
        assert!(pattern("a//b").matches("a//b"));
        assert!(!pattern("a//b").matches("a/b"));
        assert!(!pattern("a/").matches("a"));
        assert!(!pattern("a").matches("a/"));
    }

    #[test]
    fn pattern_that_names_nobody_or_half_a_segment_is_refused() {
        for text in ["*", "*@*", "*/*", "/", "//*"] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError::MatchesAnybody), "{text}");
        }
        for text in ["v*", "a/*b", "a/**", "ann@*.example"] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError::PartOfSegment), "{text}");
        }
        assert_eq!("".parse::<Pattern>(), Err(PatternError::Empty));
        assert_eq!("a\nb".parse::<Pattern>(), Err(PatternError::Control));
        assert_eq!("a".repeat(1025).parse::<Pattern>(), Err(PatternError::TooLong { found: 1025 }));
    }

    #[test]
    fn value_longer_than_any_pattern_matches_none() {
        assert!(!pattern("a/*").matches(&format!("a/{}", "b".repeat(MAX_PATTERN))));
    }

    proptest::proptest! {
        #[test]
        fn pattern_without_a_star_matches_exactly_equal_text(a in "[a/@]{1,6}", b in "[a/@]{1,6}") {
            if let Ok(pattern) = a.parse::<Pattern>() {
                proptest::prop_assert_eq!(pattern.matches(&b), a == b);
            }
        }
    }
}
