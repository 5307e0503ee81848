//! The revocation list: which keys, identities, digests and versions count no longer, and since when.
//!
//! Runs in: daemon, CLI; on bytes that a trust pack's targets role signed, or that an operator placed.
//! Invariant: a list is read whole or not at all; a field that is not understood could be the one that revokes.
//! Does not: look at a clock. Whether the list itself is too old is [`crate::Staleness`].

use std::collections::HashSet;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::evidence::Proof;
use crate::keys::KeyId;
use crate::module::ModuleDigest;
use crate::pattern::Pattern;
use crate::pattern::PatternError;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::time::Time;

/// The largest list that is read, in bytes.
pub const MAX_REVOCATIONS: u64 = 256 << 10;
/// The most entries of a list.
pub const MAX_REVOKED: usize = 4096;
/// The longest name of a module, in bytes.
const MAX_NAME: usize = 128;
/// The longest reason, in bytes.
const MAX_REASON: usize = 512;

/// A revocation list, read strictly.
///
/// ```
/// # fn main() -> Result<(), edgeguard_attest::RevocationsError> {
/// let list = edgeguard_attest::Revocations::from_json(br#"{
///   "version": 1, "list": 7, "issued": "2026-11-01T00:00:00Z", "expires": "2027-02-01T00:00:00Z",
///   "revoked": [
///     { "key": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "since": "2026-10-20T00:00:00Z", "reason": "stolen laptop" },
///     { "identity": "https://github.com/acme/*/.github/workflows/release.yml@refs/heads/main", "issuer": "https://token.actions.githubusercontent.com", "reason": "branch was open to all" },
///     { "digest": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752", "reason": "crashes on silence", "stop": true },
///     { "module": "voice-gate", "belowVersion": 9, "reason": "reads past its input" }
///   ]
/// }"#)?;
/// assert_eq!(list.list(), 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    list: u64,
    issued: Time,
    expires: Time,
    entries: Vec<Revoked>,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// What counts no longer.
    #[serde(flatten)]
    pub what: RevokedWhat,
    /// Evidence that a log or timestamp authority dates before this stays good. Without it, nothing does.
    pub since: Option<Time>,
    /// Why, in the words of whoever wrote the list.
    pub reason: String,
    /// Whether a module that runs is to be stopped too, and not only kept from being admitted again.
    pub stop: bool,
}

/// What an entry names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RevokedWhat {
    /// A public key.
    Key(KeyId),
    /// Whoever holds a certificate of this issuer for an identity that the pattern matches.
    Identity {
        /// The identity's pattern.
        pattern: Pattern,
        /// The issuer, exactly.
        issuer: String,
    },
    /// A module by its bytes.
    Digest(ModuleDigest),
    /// All versions of a module below one.
    Module {
        /// The module's name, which is the policy's.
        name: String,
        /// The lowest version that still counts.
        below_version: u64,
    },
}

/// Why a revocation list cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationsError {
    /// Larger than [`MAX_REVOCATIONS`].
    #[error("revocation list has {found} bytes, at most {MAX_REVOCATIONS} are accepted")]
    TooBig {
        /// Its size in bytes.
        found: usize,
    },
    /// Not JSON of this format, or with a field that is unknown, missing or there twice.
    #[error("revocation list cannot be read")]
    Json(#[source] serde_json::Error),
    /// Another version of the format.
    #[error("expected a revocation list of `\"version\": 1`, found {found}; this program is older than the list's format")]
    Version {
        /// The version that was found.
        found: u64,
    },
    /// Expires before it was issued.
    #[error("revocation list expires at {expires}, which is not after it was issued, {issued}")]
    Window {
        /// When it was issued.
        issued: Time,
        /// When it expires.
        expires: Time,
    },
    /// Issued after it is now, as far as that is known.
    #[error("revocation list was issued at {issued}, which lies ahead; it is now {now}")]
    NotYet {
        /// When it was issued.
        issued: Time,
        /// What is believed.
        now: Time,
    },
    /// More than [`MAX_REVOKED`] entries.
    #[error("revocation list has {found} entries, at most {MAX_REVOKED} are accepted")]
    TooMany {
        /// How many it has.
        found: usize,
    },
    /// An entry names nothing, or two things.
    #[error(
        "entry {entry} of the revocation list must name exactly one of `key`, `identity` with `issuer`, `digest`, `module` with `belowVersion`"
    )]
    OneOf {
        /// Which entry, counted from 0.
        entry: usize,
    },
    /// A key or digest that is not 64 hex digits.
    #[error("entry {entry} of the revocation list: expected a SHA-256 in 64 lower-case hex digits, found {found}")]
    Hex {
        /// Which entry, counted from 0.
        entry: usize,
        /// What was found, escaped and cut.
        found: String,
    },
    /// An identity that is no pattern.
    #[error("entry {entry} of the revocation list: `identity` cannot be used")]
    Identity {
        /// Which entry, counted from 0.
        entry: usize,
        /// Why.
        #[source]
        source: PatternError,
    },
    /// Without a reason, or with one that is too long.
    #[error("entry {entry} of the revocation list: expected a reason of 1 to {MAX_REASON} bytes, found {found}")]
    Reason {
        /// Which entry, counted from 0.
        entry: usize,
        /// Its length in bytes.
        found: usize,
    },
    /// A module's name that no policy has.
    #[error("entry {entry} of the revocation list: expected a module's name of 1 to {MAX_NAME} bytes, found {found}")]
    Name {
        /// Which entry, counted from 0.
        entry: usize,
        /// Its length in bytes.
        found: usize,
    },
    /// `since` for a digest or a version, which no time dates.
    #[error("entry {entry} of the revocation list: `since` counts for a key or an identity only")]
    Since {
        /// Which entry, counted from 0.
        entry: usize,
    },
    /// The same entry twice: one of them was meant to be another.
    #[error("entry {entry} of the revocation list repeats an earlier one")]
    Repeated {
        /// Which entry, counted from 0.
        entry: usize,
    },
}

/// The file, before it is understood.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    list: u64,
    issued: Time,
    expires: Time,
    revoked: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    #[serde(default, deserialize_with = "present")]
    key: Option<String>,
    #[serde(default, deserialize_with = "present")]
    identity: Option<String>,
    #[serde(default, deserialize_with = "present")]
    issuer: Option<String>,
    #[serde(default, deserialize_with = "present")]
    digest: Option<String>,
    #[serde(default, deserialize_with = "present")]
    module: Option<String>,
    #[serde(default, deserialize_with = "present")]
    below_version: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    since: Option<Time>,
    reason: String,
    #[serde(default)]
    stop: bool,
}

/// A field that may be absent, but not `null`: an entry whose key is `null` revokes nothing and looks as if it did.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Revocations {
    /// Reads a list.
    ///
    /// # Errors
    /// [`RevocationsError`]; one wrong entry refuses the whole list.
    pub fn from_json(bytes: &[u8]) -> Result<Self, RevocationsError> {
        if bytes.len() as u64 > MAX_REVOCATIONS {
            return Err(RevocationsError::TooBig { found: bytes.len() });
        }
        let file: File = serde_json::from_slice(bytes).map_err(RevocationsError::Json)?;
        if file.version != 1 {
            return Err(RevocationsError::Version { found: file.version });
        }
        if file.expires <= file.issued {
            return Err(RevocationsError::Window { issued: file.issued, expires: file.expires });
        }
        if file.revoked.len() > MAX_REVOKED {
            return Err(RevocationsError::TooMany { found: file.revoked.len() });
        }
        let mut seen = HashSet::new();
        let mut entries = Vec::with_capacity(file.revoked.len());
        for (number, entry) in file.revoked.into_iter().enumerate() {
            let entry = entry.understood(number)?;
            if !seen.insert(entry.what.clone()) {
                return Err(RevocationsError::Repeated { entry: number });
            }
            entries.push(entry);
        }
        Ok(Self { list: file.list, issued: file.issued, expires: file.expires, entries })
    }

    /// The list's number: it rises with each list, and a lower one than was seen is refused.
    #[must_use]
    pub fn list(&self) -> u64 {
        self.list
    }

    /// When it was made. A list whose signature was verified proves that this time has passed.
    #[must_use]
    pub fn issued(&self) -> Time {
        self.issued
    }

    /// When a newer one is due.
    #[must_use]
    pub fn expires(&self) -> Time {
        self.expires
    }

    /// What it revokes, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[Revoked] {
        &self.entries
    }

    /// Whether a proof still counts, by who made it and when that was proved.
    ///
    /// # Errors
    /// [`Code::Revoked`], with the reason that the list gives.
    pub fn check_proof(&self, proof: &Proof) -> Result<(), Rejection> {
        let keyless = proof.keyless.as_ref().map(|keyless| (keyless.issuer.as_str(), keyless.identity.as_str()));
        let proved: Vec<Time> = proof.times.iter().map(|proved| proved.time).collect();
        self.check_signer(proof.key.as_ref(), keyless, &proved)
    }

    /// Whether a signer's proof still counts: `key` and the keyless `(issuer, identity)` are who signed, `proved` are the times that a log or timestamp
    /// authority proved. With `since`, a proof whose every time lies before it stays good; one without a proved time is refused.
    ///
    /// # Errors
    /// [`Code::Revoked`], with the reason that the list gives.
    pub fn check_signer(&self, key: Option<&KeyId>, keyless: Option<(&str, &str)>, proved: &[Time]) -> Result<(), Rejection> {
        self.revoked_signer(key, keyless, proved).map_or(Ok(()), |entry| {
            Err(self.refused(
                entry,
                match (entry.since, proved.iter().max()) {
                    (None, _) => "a signature by it".to_owned(),
                    (Some(_), None) => "a signature by it that nothing dates".to_owned(),
                    (Some(_), Some(latest)) => format!("a signature by it of {latest}"),
                },
            ))
        })
    }

    /// The entry that revokes a signer's proof, if one does: as [`check_signer`](Self::check_signer), for what is running.
    #[must_use]
    pub fn revoked_signer(&self, key: Option<&KeyId>, keyless: Option<(&str, &str)>, proved: &[Time]) -> Option<&Revoked> {
        let before = |since: Time| !proved.is_empty() && proved.iter().all(|time| *time < since);
        self.entries.iter().find(|entry| {
            let named = match &entry.what {
                RevokedWhat::Key(revoked) => key == Some(revoked),
                RevokedWhat::Identity { pattern, issuer } => {
                    keyless.is_some_and(|(by, identity)| by == issuer.as_str() && pattern.matches(identity))
                }
                RevokedWhat::Digest(_) | RevokedWhat::Module { .. } => false,
            };
            named && !entry.since.is_some_and(before)
        })
    }

    /// Whether a module still counts. `name` and `version` are what a release statement says, or the policy's name and nothing: a module whose
    /// version nobody signed is refused where any version of its name is revoked.
    ///
    /// # Errors
    /// [`Code::Revoked`], with the reason that the list gives.
    pub fn check_module(&self, digest: ModuleDigest, name: &str, version: Option<u64>) -> Result<(), Rejection> {
        self.revoked_module(digest, name, version).map_or(Ok(()), |entry| {
            Err(self.refused(
                entry,
                match (&entry.what, version) {
                    (RevokedWhat::Module { .. }, Some(version)) => format!("version {version}"),
                    (RevokedWhat::Module { .. }, None) => "no signed version".to_owned(),
                    _ => "this module".to_owned(),
                },
            ))
        })
    }

    /// The entry that revokes a module, if one does: for what is running, [`Revoked::stop`] then says whether to end it.
    #[must_use]
    pub fn revoked_module(&self, digest: ModuleDigest, name: &str, version: Option<u64>) -> Option<&Revoked> {
        self.entries.iter().find(|entry| match &entry.what {
            RevokedWhat::Digest(revoked) => *revoked == digest,
            RevokedWhat::Module { name: revoked, below_version } => {
                revoked == name && version.is_none_or(|version| version < *below_version)
            }
            RevokedWhat::Key(_) | RevokedWhat::Identity { .. } => false,
        })
    }

    fn refused(&self, entry: &Revoked, found: String) -> Rejection {
        let since = entry.since.map(|since| format!(", except what is proved to be from before {since}")).unwrap_or_default();
        let expected = format!("nothing of {}: {}{since} (revocation list {})", entry.what, shown(&entry.reason), self.list);
        Rejection::new(Code::Revoked, expected, found)
    }
}

impl Entry {
    fn understood(self, entry: usize) -> Result<Revoked, RevocationsError> {
        if self.reason.is_empty() || self.reason.len() > MAX_REASON {
            return Err(RevocationsError::Reason { entry, found: self.reason.len() });
        }
        let what = match (self.key, self.identity, self.issuer, self.digest, self.module, self.below_version) {
            (Some(key), None, None, None, None, None) => RevokedWhat::Key(KeyId(sha256_of(&key, entry)?)),
            (None, Some(pattern), Some(issuer), None, None, None) => {
                let pattern = pattern.parse().map_err(|source| RevocationsError::Identity { entry, source })?;
                RevokedWhat::Identity { pattern, issuer }
            }
            (None, None, None, Some(digest), None, None) => RevokedWhat::Digest(ModuleDigest(sha256_of(&digest, entry)?)),
            (None, None, None, None, Some(name), Some(_)) if name.is_empty() || name.len() > MAX_NAME => {
                return Err(RevocationsError::Name { entry, found: name.len() });
            }
            (None, None, None, None, Some(name), Some(below_version)) => RevokedWhat::Module { name, below_version },
            _ => return Err(RevocationsError::OneOf { entry }),
        };
        // Bytes and versions have no time of their own; a `since` that did nothing would be believed to do something.
        if self.since.is_some() && matches!(what, RevokedWhat::Digest(_) | RevokedWhat::Module { .. }) {
            return Err(RevocationsError::Since { entry });
        }
        Ok(Revoked { what, since: self.since, reason: self.reason, stop: self.stop })
    }
}

fn sha256_of(text: &str, entry: usize) -> Result<[u8; 32], RevocationsError> {
    let mut bytes = [0; 32];
    let lower = !text.bytes().any(|c| c.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) if lower => Ok(bytes),
        _ => Err(RevocationsError::Hex { entry, found: shown(text) }),
    }
}

impl std::fmt::Display for RevokedWhat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key sha256:{id}"),
            Self::Identity { pattern, issuer } => write!(f, "identity {} of issuer {}", shown(pattern.as_str()), shown(issuer)),
            Self::Digest(digest) => write!(f, "module sha256:{digest}"),
            Self::Module { name, below_version } => write!(f, "module {} below version {below_version}", shown(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn list(revoked: &str) -> Result<Revocations, RevocationsError> {
        let text =
            format!(r#"{{"version":1,"list":7,"issued":"2026-11-01T00:00:00Z","expires":"2027-02-01T00:00:00Z","revoked":[{revoked}]}}"#);
        Revocations::from_json(text.as_bytes())
    }

    fn key() -> KeyId {
        KeyId(hex::decode(KEY).unwrap().try_into().unwrap())
    }

    fn day(day: u32) -> Time {
        format!("2026-10-{day:02}T00:00:00Z").parse().unwrap()
    }

    #[test]
    fn revoked_key_is_refused_and_another_is_not() {
        let list = list(&format!(r#"{{"key":"{KEY}","reason":"stolen\u001b[2J"}}"#)).unwrap();
        let refused = list.check_signer(Some(&key()), None, &[day(1)]).unwrap_err();
        insta::assert_snapshot!(refused, @r"EG3006 · signer or module was revoked · expected nothing of key sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08: `stolen\u{1b}[2J` (revocation list 7), found a signature by it · get a new release from the vendor; `edgeguard trust status` shows the revocation list and its reasons");
        assert_eq!(list.check_signer(Some(&KeyId([0; 32])), None, &[]), Ok(()));
        assert_eq!(list.check_signer(None, Some(("https://issuer", KEY)), &[]), Ok(()));
    }

    #[test]
    fn what_was_proved_before_the_revocation_stays_good_and_what_was_not_does_not() {
        let list = list(&format!(r#"{{"key":"{KEY}","since":"2026-10-20T00:00:00Z","reason":"stolen"}}"#)).unwrap();
        let check = |proved: &[Time]| list.check_signer(Some(&key()), None, proved).map_err(|refused| refused.found);
        assert_eq!(check(&[day(19)]), Ok(()));
        assert_eq!(check(&[day(18), day(19)]), Ok(()));
        assert_eq!(check(&[]), Err("a signature by it that nothing dates".into()));
        assert_eq!(check(&[day(20)]), Err("a signature by it of 2026-10-20T00:00:00Z".into()));
        assert_eq!(check(&[day(19), day(21)]), Err("a signature by it of 2026-10-21T00:00:00Z".into()), "one later time suffices");
    }

    #[test]
    fn revoked_identity_is_refused_for_its_issuer_only() {
        let list = list(r#"{"identity":"https://ci/acme/*@refs/heads/main","issuer":"https://issuer","reason":"open branch"}"#).unwrap();
        let check = |issuer, identity| list.check_signer(None, Some((issuer, identity)), &[]).is_err();
        assert!(check("https://issuer", "https://ci/acme/voice@refs/heads/main"));
        assert!(!check("https://issuer/", "https://ci/acme/voice@refs/heads/main"));
        assert!(!check("https://issuer", "https://ci/acme/voice@refs/heads/main2"));
    }

    #[test]
    fn revoked_digest_and_versions_are_refused_whoever_signed() {
        let digest = ModuleDigest([7; 32]);
        let list = list(&format!(
            r#"{{"digest":"{digest}","reason":"crashes","stop":true}},{{"module":"voice","belowVersion":9,"reason":"hole"}}"#
        ))
        .unwrap();
        assert_eq!(list.check_module(digest, "other", Some(99)).unwrap_err().code, Code::Revoked);
        assert!(list.revoked_module(digest, "other", None).unwrap().stop);
        let other = ModuleDigest([8; 32]);
        assert_eq!(list.check_module(other, "voice", Some(9)), Ok(()));
        assert_eq!(list.check_module(other, "voice", Some(8)).unwrap_err().found, "version 8");
        assert_eq!(list.check_module(other, "voice", None).unwrap_err().found, "no signed version");
        assert_eq!(list.check_module(other, "voices", None), Ok(()));
    }

    #[test]
    fn list_that_is_not_understood_whole_is_refused_whole() {
        let good = format!(r#"{{"key":"{KEY}","reason":"stolen"}}"#);
        assert!(list(&good).is_ok());
        for (wrong, why) in [
            (format!("{good},{good}"), "repeats"),
            (format!(r#"{{"key":"{}","reason":"x"}}"#, KEY.to_uppercase()), "lower-case"),
            (format!(r#"{{"key":"{}","reason":"x"}}"#, &KEY[1..]), "64"),
            (format!(r#"{{"key":"{KEY}"}}"#), "cannot be read"),
            (format!(r#"{{"key":"{KEY}","reason":""}}"#), "reason"),
            (format!(r#"{{"key":"{KEY}","reason":"{}"}}"#, "x".repeat(513)), "reason"),
            (format!(r#"{{"key":"{KEY}","reason":"x","note":1}}"#), "cannot be read"),
            (format!(r#"{{"key":"{KEY}","key":"{KEY}","reason":"x"}}"#), "cannot be read"),
            (format!(r#"{{"key":"{KEY}","digest":"{KEY}","reason":"x"}}"#), "exactly one"),
            (format!(r#"{{"digest":"{KEY}","since":"2026-10-20T00:00:00Z","reason":"x"}}"#), "`since`"),
            (r#"{"key":null,"reason":"x"}"#.into(), "cannot be read"),
            (r#"{"reason":"x"}"#.into(), "exactly one"),
            (r#"{"identity":"a/*","reason":"x"}"#.into(), "exactly one"),
            (r#"{"identity":"*","issuer":"i","reason":"x"}"#.into(), "`identity`"),
            (r#"{"module":"voice","reason":"x"}"#.into(), "exactly one"),
            (r#"{"module":"voice","belowVersion":-1,"reason":"x"}"#.into(), "cannot be read"),
            (r#"{"module":"","belowVersion":1,"reason":"x"}"#.into(), "1 to 128 bytes"),
            (format!(r#"{{"module":"{}","belowVersion":1,"reason":"x"}}"#, "v".repeat(129)), "1 to 128 bytes"),
        ] {
            let error = list(&wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
        for text in [
            "",
            "[]",
            "{}",
            r#"{"version":2,"list":1,"issued":"2026-11-01T00:00:00Z","expires":"2027-02-01T00:00:00Z","revoked":[]}"#,
            r#"{"version":1,"list":1,"issued":"2026-11-01T00:00:00Z","expires":"2026-11-01T00:00:00Z","revoked":[]}"#,
            r#"{"version":1,"list":1,"issued":"2026-11-01T00:00:00Z","expires":"2027-02-01T00:00:00Z","revoked":[]}x"#,
        ] {
            assert!(Revocations::from_json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_is_bounded_in_bytes_and_entries() {
        let entries =
            |n: usize| (0..n).map(|i| format!(r#"{{"module":"m{i}","belowVersion":1,"reason":"x"}}"#)).collect::<Vec<_>>().join(",");
        assert!(matches!(list(&entries(MAX_REVOKED)), Ok(_) | Err(RevocationsError::TooBig { .. })));
        assert!(matches!(Revocations::from_json(&vec![b' '; 256 * 1024 + 1]), Err(RevocationsError::TooBig { .. })));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_no_list_and_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            proptest::prop_assert!(Revocations::from_json(&bytes).is_err());
        }
    }
}
