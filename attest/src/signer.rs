//! Whom a policy names: a key, or an identity that an issuer vouches for; when it may sign, and which evidence it must bring.
//!
//! Runs in: daemon, CLI.
//! Does not: read a policy file. Daemon and CLI make signers from what the operator wrote.

use std::fmt;

use serde::Serialize;

use crate::claims::Claim;
use crate::keys::TrustedKey;
use crate::pattern::Pattern;
use crate::time::Time;

/// The most signers of one policy.
pub const MAX_SIGNERS: usize = 64;

/// One signer of a policy.
#[derive(Clone, Debug)]
pub struct Signer {
    /// What the policy calls it. Unique within the policy.
    pub id: String,
    /// How it proves that it signed.
    pub kind: SignerKind,
    /// When its signatures count.
    pub window: Window,
    /// What its bundles must carry. A keyless signer's always carry a log entry and a proved time, whatever stands here.
    pub evidence: EvidenceWanted,
}

impl Signer {
    /// A signer by `key`, at any time, with no evidence asked for.
    #[must_use]
    pub fn of_key(id: impl Into<String>, key: TrustedKey) -> Self {
        Self { id: id.into(), kind: SignerKind::Key(key), window: Window::default(), evidence: EvidenceWanted::None }
    }

    /// A signer by certificate, at any time.
    #[must_use]
    pub fn keyless(id: impl Into<String>, keyless: Keyless) -> Self {
        Self { id: id.into(), kind: SignerKind::Keyless(keyless), window: Window::default(), evidence: EvidenceWanted::Both }
    }
}

/// How a signer proves that it signed.
#[derive(Clone, Debug)]
pub enum SignerKind {
    /// With this key.
    Key(TrustedKey),
    /// With a key that a Fulcio authority certified for it, for one signature.
    Keyless(Keyless),
}

/// Who may have asked a Fulcio authority for the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyless {
    /// The OIDC issuer that vouched for the identity. Compared exactly.
    pub issuer: String,
    /// The certificate's one name, an e-mail address or a URI.
    pub identity: Pattern,
    /// What the certificate must say besides. All of them.
    pub claims: Vec<(Claim, Pattern)>,
}

impl fmt::Display for Keyless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` from `{}`", self.identity, self.issuer)
    }
}

/// From when to when a signer's signatures count. Both ends belong to it; the default has no bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The first second.
    pub usable_from: Option<Time>,
    /// The last second.
    pub retire_at: Option<Time>,
}

impl Window {
    /// Whether `time` lies within.
    #[must_use]
    pub fn contains(&self, time: Time) -> bool {
        self.usable_from.is_none_or(|from| from <= time) && self.retire_at.is_none_or(|until| time <= until)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.usable_from, self.retire_at) {
            (None, None) => f.write_str("at any time"),
            (Some(from), None) => write!(f, "from {from} on"),
            (None, Some(until)) => write!(f, "until {until}"),
            (Some(from), Some(until)) => write!(f, "from {from} until {until}"),
        }
    }
}

/// The evidence that a key's bundle must carry. Whatever it carries is verified, wanted or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceWanted {
    /// Nothing beyond the signature.
    #[default]
    None,
    /// A transparency log entry.
    Log,
    /// An RFC 3161 timestamp.
    Timestamp,
    /// Both.
    Both,
}

impl EvidenceWanted {
    /// Its name in policies and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Log => "log",
            Self::Timestamp => "timestamp",
            Self::Both => "both",
        }
    }

    pub(crate) fn log(self) -> bool {
        matches!(self, Self::Log | Self::Both)
    }

    pub(crate) fn timestamp(self) -> bool {
        matches!(self, Self::Timestamp | Self::Both)
    }
}

impl fmt::Display for EvidenceWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_window_belong_to_it() {
        let window = Window { usable_from: Some(Time(10)), retire_at: Some(Time(20)) };
        let inside: Vec<i64> = (8..23).filter(|at| window.contains(Time(*at))).collect();
        assert_eq!(inside, (10..=20).collect::<Vec<_>>());
        assert!(Window::default().contains(Time(i64::MIN)));
    }
}
