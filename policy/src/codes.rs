//! Every kind of mistake, in one table: its code, its title, why it is one, and an example of the wrong and the right.
//!
//! Runs in: daemon and command line; `edgeguard explain EG014` prints a row.
//! Invariant: a code never changes its meaning; a code that falls out of use is not given to another mistake.

use std::fmt;

pub use table::Code;
pub use table::TABLE;

/// Whether a mistake stops what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy stands, and something in it is worth a look.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What there is to say about one kind of mistake.
#[derive(Debug)]
pub struct Row {
    /// The kind.
    pub code: Code,
    /// `EG014`
    pub id: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The kind in a few words.
    pub title: &'static str,
    /// Why it is a mistake, and what to do.
    pub why: &'static str,
    /// The mistake made: sections of a policy; empty where the mistake is not in the policy's text.
    pub wrong: &'static str,
    /// The same done right.
    pub right: &'static str,
}

macro_rules! codes {
    ($($name:ident $id:literal $severity:ident $title:literal $why:literal $wrong:tt $right:tt)*) => {
        /// A kind of mistake.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!($id, ": ", $title)] $name,)*
        }

        /// Every kind of mistake, in the order of the codes.
        pub const TABLE: &[Row] = &[
            $(Row { code: Code::$name, id: $id, severity: Severity::$severity, title: $title, why: $why, wrong: $wrong, right: $right },)*
        ];

        impl Code {
            /// `EG014`
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// Error or warning.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// The kind in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

mod examples;
mod table;

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The row of a code as a person types it: `EG014`, `eg014` or `14`.
#[must_use]
pub fn find(text: &str) -> Option<&'static Row> {
    let digits = text.get(..2).filter(|p| p.eq_ignore_ascii_case("eg")).and_then(|_| text.get(2..)).unwrap_or(text);
    let all_digits = !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u32 = digits.parse().ok().filter(|_| all_digits)?;
    TABLE.iter().find(|row| row.id.get(2..).and_then(|d| d.parse().ok()) == Some(number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} before {}", pair[0].id, pair[1].id);
        }
    }

    #[test]
    fn a_code_is_found_as_a_person_types_it() {
        for text in ["EG014", "eg014", "014", "14", "Eg14"] {
            assert_eq!(find(text).unwrap().code, Code::LeavesRoot, "{text}");
        }
        for text in ["", "EG", "EG999", "+14", "EG-14", "é14", "00000014"] {
            assert!(find(text).is_none(), "{text}");
        }
    }

    #[test]
    fn every_row_says_why() {
        for row in TABLE {
            assert!(row.why.len() > 40 && row.why.ends_with('.'), "{}", row.id);
            assert_eq!(row.wrong.is_empty(), row.right.is_empty(), "{}", row.id);
            assert!(!row.title.ends_with('.') && row.title.starts_with(char::is_lowercase), "{}", row.id);
        }
    }
}
