//! Why a module is refused: stable codes, the check that failed, what was expected and what was found.
//!
//! Runs in: daemon (admission), CLI (`verify`, `explain`).
//! Does not: decide anything. Everything a vendor wrote is escaped and cut before it is stored here.

mod codes;

use std::fmt;

use serde::Serialize;
use serde::Serializer;

pub use self::codes::Code;

/// One refusal. Its `Display` is one line: `code · what · expected …, found … · next step`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} · {} · expected {expected}, found {found} · {next}", code.what())]
pub struct Rejection {
    /// Stable code, listed by `edgeguard explain`.
    pub code: Code,
    /// The check that failed; later checks did not run.
    pub check: Check,
    /// What the check wanted.
    pub expected: String,
    /// What it saw, escaped and cut to [`SHOWN`] characters.
    pub found: String,
    /// What the reader should do next.
    pub next: String,
}

impl Rejection {
    pub(crate) fn new(code: Code, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { code, check: code.check(), expected: expected.into(), found: found.into(), next: code.next().to_owned() }
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// The refusal of a module that has no bundle at all; `bundle` is where one was looked for.
    #[must_use]
    pub fn unsigned(bundle: &std::path::Path) -> Self {
        Self::new(Code::Unsigned, format!("a sigstore bundle at {}", shown(&bundle.to_string_lossy())), "no file there")
    }
}

impl Serialize for Rejection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut out = serializer.serialize_struct("Rejection", 6)?;
        out.serialize_field("code", &self.code)?;
        out.serialize_field("what", self.code.what())?;
        out.serialize_field("check", &self.check)?;
        out.serialize_field("expected", &self.expected)?;
        out.serialize_field("found", &self.found)?;
        out.serialize_field("next", &self.next)?;
        out.end()
    }
}

/// The checks of admission, about in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Check {
    /// The file is a wasm binary of a size that is accepted.
    Module,
    /// The bundle is small, strict JSON of the v0.3 shape.
    Bundle,
    /// The bundle carries the evidence that is wanted, and only evidence that is really checked here.
    Evidence,
    /// The key that the bundle names is one of a signer that the policy names.
    Key,
    /// The key, the digest and the form of the signature belong together.
    Algorithm,
    /// The digest that was signed is the module's.
    Digest,
    /// The signature verifies with that key.
    Signature,
    /// The signing certificate was issued by a trusted authority, and its issuing was logged.
    Certificate,
    /// The transparency log entry is in the log, and is this bundle's.
    Log,
    /// A time was proved by a log or a timestamp authority, and lies in every window it must lie in.
    Time,
    /// Identity, issuer and claims of the certificate are those of a signer that the policy names.
    Identity,
    /// Neither the signer nor the module was revoked.
    Revocation,
    /// The signed statement says what a statement of its kind must say.
    Statement,
    /// Enough distinct signers said what the policy requires.
    Threshold,
    /// The version is not below the floor, and was not used for another module.
    Version,
    /// Statement and key are within their time of use.
    Validity,
    /// Trust material and revocation list are not too old to admit something new.
    Freshness,
    /// The policy grants no more than what was signed.
    Capabilities,
    /// What this host remembers is whole and was not set back.
    State,
    /// A TPM's quote answers the question that was asked.
    Quote,
}

impl Check {
    /// Its name in text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Bundle => "bundle",
            Self::Evidence => "evidence",
            Self::Key => "key",
            Self::Algorithm => "algorithm",
            Self::Digest => "digest",
            Self::Signature => "signature",
            Self::Certificate => "certificate",
            Self::Log => "log",
            Self::Time => "time",
            Self::Identity => "identity",
            Self::Revocation => "revocation",
            Self::Statement => "statement",
            Self::Threshold => "threshold",
            Self::Version => "version",
            Self::Validity => "validity",
            Self::Freshness => "freshness",
            Self::Capabilities => "capabilities",
            Self::State => "state",
            Self::Quote => "quote",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A check that passed, for people who ask why a module was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Which check.
    pub check: Check,
    /// What it wanted.
    pub expected: String,
    /// What it saw.
    pub found: String,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The long explanation of a code, for `edgeguard explain EGnnnn`. `None` for a code that is not ours.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    Code::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(code)).map(|known| known.explain())
}

/// The most characters of foreign text that a message repeats.
pub const SHOWN: usize = 96;

/// Foreign text made safe for a terminal and a log line: in backticks, on one line, escaped, cut to [`SHOWN`] characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN {
            out.push('…');
            break;
        }
        match c {
            '`' => out.push_str("\\u{60}"),
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out.push('`');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert_eq!(explain(code.as_str()), Some(code.explain()));
            assert!(code.explain().ends_with('.'), "{code}: an explanation is whole sentences");
            assert!(!code.what().ends_with('.') && !code.next().ends_with('.'), "{code}: a message has no full stop");
        }
        assert_eq!(explain("eg1001"), Some(Code::TooBig.explain()));
        assert_eq!(explain("EG9999"), None);
    }

    #[test]
    fn foreign_text_cannot_steer_a_terminal() {
        assert_eq!(shown("a\x1b[2Jb\n`\u{202e}"), "`a\\u{1b}[2Jb\\n\\u{60}\\u{202e}`");
        assert_eq!(shown(&"é".repeat(500)).chars().count(), SHOWN + 3);
    }
}
