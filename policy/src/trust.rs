//! `[trust]` and `[policy-signing]` of the host's file: what evidence is judged by, and whose policies count.
//!
//! Runs in: daemon and command line.
//! Does not: read a root or a key.

use std::path::PathBuf;
use std::time::Duration;

use crate::bounds;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::document::Found;
use crate::document::Table;
use crate::paths;
use crate::resolve::Resolver;

/// What evidence is judged by on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Which certificate authorities, logs and timestamp authorities count.
    pub root: TrustedRoot,
    /// `trust.tuf-root`: the root of the operator's own trust updates. Without it only what `root` holds counts.
    pub tuf_root: Option<PathBuf>,
    /// `trust.warn`: how long before trust material expires a warning is given.
    pub warn: Duration,
    /// `trust.grace`: how long after trust material has expired new modules are still admitted.
    pub grace: Duration,
    /// `trust.revocations`: whether a host without a list admits anything.
    pub revocations: Revocations,
    /// `trust.max-skew`: how far the clock may be wrong without being doubted.
    pub max_skew: Duration,
    /// `trust.max-jump`: how far ahead of the last proven moment the clock is believed.
    pub max_jump: Duration,
    /// `trust.counter`: what shows that the daemon's state was set back.
    pub counter: Counter,
}

/// Which certificate authorities, logs and timestamp authorities count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedRoot {
    /// Those of sigstore's public-good instance, built in.
    PublicGood,
    /// The operator's own.
    File {
        /// `trust.root`: a `trusted_root.json`.
        path: PathBuf,
        /// `trust.root-sha256`: its SHA-256.
        sha256: [u8; 32],
    },
    /// None: `trust.keyless = false`. Keys alone admit, and no proof of time is understood.
    Nobody,
}

/// Whether a host without a revocation list admits anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocations {
    /// It does, until the first list was imported; from then on there must be one.
    Optional,
    /// It does not.
    Required,
}

/// What shows that the daemon's state was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Nothing: a restored backup is not noticed.
    None,
    /// A counter in the TPM.
    Tpm,
}

/// Whose policies count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySigning {
    /// `policy-signing.key`: public keys in PEM, any one of which must have signed a policy; at least one.
    pub keys: Vec<PathBuf>,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            root: TrustedRoot::PublicGood,
            tuf_root: None,
            warn: Duration::from_secs(7 * 86_400),
            grace: Duration::ZERO,
            revocations: Revocations::Optional,
            max_skew: Duration::from_secs(600),
            max_jump: Duration::from_secs(400 * 86_400),
            counter: Counter::None,
        }
    }
}

impl Resolver<'_> {
    /// `[trust]`; its defaults where it is absent.
    pub(crate) fn trust(&mut self, root: &Table<'_>) -> Option<Trust> {
        let default = Trust::default();
        let Some(table) = root.section("trust") else { return Some(default) };
        let trusted = self.trusted_root(&table);
        let tuf_root = self.path(&table, "tuf-root").map(|found| found.value);
        let warn = self.duration_or(&table, "warn", bounds::WARN, default.warn);
        let grace = self.duration_or(&table, "grace", bounds::GRACE, default.grace);
        let max_skew = self.duration_or(&table, "max-skew", bounds::MAX_SKEW, default.max_skew);
        let max_jump = self.duration_or(&table, "max-jump", bounds::MAX_JUMP, default.max_jump);
        let revocations = self.word_or(&table, "revocations", REVOCATIONS, default.revocations);
        let counter = self.word_or(&table, "counter", COUNTERS, default.counter);
        Some(Trust {
            root: trusted?,
            tuf_root,
            warn: warn?,
            grace: grace?,
            revocations: revocations?,
            max_skew: max_skew?,
            max_jump: max_jump?,
            counter: counter?,
        })
    }

    fn trusted_root(&mut self, table: &Table<'_>) -> Option<TrustedRoot> {
        let path = self.path(table, "root");
        let digest = table.text("root-sha256").and_then(|text| self.sha256(text));
        let (root_at, digest_at) = (table.span_of("root"), table.span_of("root-sha256"));
        match (&root_at, &digest_at) {
            (Some(span), None) => {
                let help = "add `root-sha256 = \"…\"` with the 64 digits that `sha256sum FILE` prints";
                self.report(Code::MissingKey, "`[trust]` has no `root-sha256`", span, "this root is pinned by no digest", help);
                return None;
            }
            (None, Some(span)) => {
                let help = "add `root = \"/etc/edgeguard/trusted_root.json\"`, or remove the digest: the root that is built in needs none";
                self.report(Code::Misplaced, "`root-sha256` has no meaning without `root`", span, "the digest of no file", help);
                return None;
            }
            _ => {}
        }
        if table.boolean("keyless") != Some(false) {
            return match root_at {
                Some(_) => Some(TrustedRoot::File { path: path?.value, sha256: digest?.value }),
                None => Some(TrustedRoot::PublicGood),
            };
        }
        if let Some(span) = root_at {
            self.found.push(
                Diagnostic::new(Code::Misplaced, "`root` has no meaning where `keyless` is `false`")
                    .at(self.source, span, "never looked at")
                    .also(self.source, table.span_of("keyless").unwrap_or_default(), "keys alone admit")
                    .help("remove one of the two"),
            );
            return None;
        }
        Some(TrustedRoot::Nobody)
    }

    /// `[policy-signing]`, if it is there. The outer option is empty where it is there and wrong.
    pub(crate) fn policy_signing(&mut self, root: &Table<'_>) -> Option<Option<PolicySigning>> {
        let Some(table) = root.section("policy-signing") else { return Some(None) };
        let written = table.texts("key")?;
        if let Some(over) = written.get(bounds::MAX_POLICY_KEYS) {
            let message = format!("`key` has {} entries, and at most {} are allowed", written.len(), bounds::MAX_POLICY_KEYS);
            self.report(Code::TooMany, message, &over.span, "one too many", "name fewer keys");
        }
        let mut keys: Vec<Found<&str>> = Vec::new();
        for word in written.into_iter().take(bounds::MAX_POLICY_KEYS) {
            let Some(key) = paths::absolute("path", Some(word), self.source, self.found) else { continue };
            match keys.iter().find(|k| k.value == key.value) {
                Some(first) => self.found.push(
                    Diagnostic::new(Code::DuplicateSigner, "signer is listed twice")
                        .at(self.source, key.span, "the same key again")
                        .also(self.source, first.span.clone(), "listed here")
                        .help("remove one of the two"),
                ),
                None => keys.push(key),
            }
        }
        Some(Some(PolicySigning { keys: keys.into_iter().map(|key| PathBuf::from(key.value)).collect() }))
    }

    fn duration_or(&mut self, table: &Table<'_>, key: &str, bounds: (Duration, Duration), default: Duration) -> Option<Duration> {
        if table.has(key) { self.duration(table, key, bounds).map(|found| found.value) } else { Some(default) }
    }

    pub(crate) fn word_or<T: Copy>(&mut self, table: &Table<'_>, key: &str, words: &[(&str, Option<T>)], default: T) -> Option<T> {
        if table.has(key) { table.text(key).and_then(|word| self.word(&word, words)) } else { Some(default) }
    }
}

const REVOCATIONS: &[(&str, Option<Revocations>)] = &[("optional", Some(Revocations::Optional)), ("required", Some(Revocations::Required))];
pub(crate) const COUNTERS: &[(&str, Option<Counter>)] = &[("none", Some(Counter::None)), ("tpm", Some(Counter::Tpm))];
