//! `[[module.signer]]`: whose signature counts, and within which window.
//!
//! Runs in: daemon and command line.
//! Does not: open a key, or ask whether a window is open now.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use crate::admission::Evidence;
use crate::admission::Signer;
use crate::admission::SignerKind;
use crate::bounds;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::document::Found;
use crate::document::Table;
use crate::names;
use crate::paths;
use crate::pattern;
use crate::resolve::Resolver;
use crate::schema;

/// A signer and where its parts stand.
pub(crate) struct PlacedSigner {
    pub(crate) signer: Signer,
    /// The key's path, or the identity.
    pub(crate) place: Range<usize>,
    pub(crate) id: Range<usize>,
    /// `usable-from` and `retire-at`; where one is absent, the same as `place`.
    pub(crate) window: (Range<usize>, Range<usize>),
}

/// All of them.
#[derive(Default)]
pub(crate) struct Signers {
    pub(crate) list: Vec<PlacedSigner>,
    /// Every id that was written, those of malformed signers too: a requirement that names one of them is not wrong for that.
    pub(crate) ids: BTreeSet<String>,
    /// Whether there was a signer whose id could not be known.
    pub(crate) nameless: bool,
}

impl PlacedSigner {
    /// The key's path as text; none for a keyless signer.
    pub(crate) fn key(&self) -> Option<&str> {
        match &self.signer.kind {
            SignerKind::Key { path } => path.to_str(),
            SignerKind::Keyless { .. } => None,
        }
    }
}

impl Signers {
    pub(crate) fn find(&self, id: &str) -> Option<&PlacedSigner> {
        self.list.iter().find(|s| s.signer.id == id)
    }
}

impl Resolver<'_> {
    pub(crate) fn signers(&mut self, tables: &[Table<'_>]) -> Signers {
        self.at_most(tables, bounds::MAX_SIGNERS, "[[module.signer]]", "list fewer signers");
        let mut all = Signers::default();
        for table in tables.iter().take(bounds::MAX_SIGNERS) {
            let Some((kind, place)) = self.who(table) else {
                all.nameless |= !table.has("id");
                all.ids.extend(table.text("id").map(|id| id.value.to_owned()));
                continue;
            };
            let id = match table.text("id") {
                Some(written) => self.name(written, "signer", names::signer_id),
                None => Some(Found { value: default_id(&kind), span: place.clone() }),
            };
            let window = self.window(table);
            let evidence = self.evidence(table, &kind);
            self.warn_of(&kind, &place);
            let Some(id) = id else {
                all.nameless = true;
                continue;
            };
            let known = self.repeated(&kind, &id, &place, &all);
            all.ids.insert(id.value.clone());
            if let (false, Some((usable_from, retire_at)), Some(evidence)) = (known, window, evidence) {
                let span = |moment: &Option<Found<i64>>| moment.as_ref().map_or_else(|| place.clone(), |found| found.span.clone());
                let span = (span(&usable_from), span(&retire_at));
                let (usable_from, retire_at) = (usable_from.map(|f| f.value), retire_at.map(|f| f.value));
                let signer = Signer { id: id.value, kind, usable_from, retire_at, evidence };
                all.list.push(PlacedSigner { signer, place, id: id.span, window: span });
            }
        }
        all
    }

    /// A key, or an identity with all that belongs to it.
    fn who(&mut self, table: &Table<'_>) -> Option<(SignerKind, Range<usize>)> {
        let other = ["issuer", "identity", "claims"].iter().find_map(|key| Some((*key, table.span_of(key)?)));
        match (table.has("key"), other) {
            (true, None) => {
                let key = self.path(table, "key")?;
                Some((SignerKind::Key { path: key.value }, key.span))
            }
            (true, Some((_, span))) => {
                let help = "write two `[[module.signer]]` sections if either may sign";
                self.report(Code::SignerForm, "signer is a key and an identity at once", &span, "beside `key`", help);
                None
            }
            (false, Some((_, span))) if !(table.has("issuer") && table.has("identity")) => {
                let absent = if table.has("issuer") { "identity" } else { "issuer" };
                let help = "an identity is worth what its issuer is: name both, `issuer` and `identity`";
                self.report(Code::SignerForm, format!("signer has no `{absent}`"), &span, format!("without `{absent}`"), help);
                None
            }
            (false, Some(_)) => {
                let issuer = self.issuer(table.text("issuer"));
                let identity = self.pattern("identity", table.text("identity"));
                let claims = self.claims(table);
                let identity = identity?;
                Some((SignerKind::Keyless { issuer: issuer?, identity: identity.value, claims: claims? }, identity.span))
            }
            (false, None) => {
                let help = "name the signer's public key: `key = \"/etc/edgeguard/keys/acme.pub\"`";
                self.report(Code::SignerForm, "signer names nobody", &table.span, "neither `key` nor `issuer` and `identity`", help);
                None
            }
        }
    }

    fn issuer(&mut self, text: Option<Found<&str>>) -> Option<String> {
        let text = text?;
        if !paths::no_control(&text, self.source, self.found) {
            return None;
        }
        let host = text.value.strip_prefix("https://").unwrap_or_default();
        let label = if text.value.contains('*') {
            "contains `*`: an issuer is compared as it stands"
        } else if host.is_empty() || host.starts_with('/') {
            "does not begin with `https://` and a host"
        } else if text.value.len() > bounds::MAX_PATTERN || text.value.contains(char::is_whitespace) {
            "longer than 1024 bytes, or contains a space"
        } else {
            return Some(text.value.to_owned());
        };
        let help = "write what the certificate says, character for character, as in `https://token.actions.githubusercontent.com`";
        self.report(Code::Issuer, "issuer is not one exact address", &text.span, label, help);
        None
    }

    fn pattern(&mut self, what: &str, text: Option<Found<&str>>) -> Option<Found<String>> {
        let text = text?;
        if !paths::no_control(&text, self.source, self.found) {
            return None;
        }
        if let Err(why) = pattern::check(text.value) {
            let help = "write it as the certificate has it, with `*` in place of a whole segment, as in `…/release.yml@refs/tags/*`";
            self.report(Code::Pattern, format!("pattern of `{what}` is malformed"), &text.span, why, help);
            return None;
        }
        Some(Found { value: text.value.to_owned(), span: text.span })
    }

    fn claims(&mut self, table: &Table<'_>) -> Option<BTreeMap<String, String>> {
        let Some(section) = table.section("claims") else { return Some(BTreeMap::new()) };
        let mut claims = BTreeMap::new();
        let mut good = true;
        for name in schema::CLAIMS.keys.iter().map(|key| key.name).filter(|name| section.has(name)) {
            match self.pattern(name, section.text(name)) {
                Some(value) => drop(claims.insert(name.to_owned(), value.value)),
                None => good = false,
            }
        }
        good.then_some(claims)
    }

    fn window(&mut self, table: &Table<'_>) -> Option<(Option<Found<i64>>, Option<Found<i64>>)> {
        let usable_from = self.moment(table, "usable-from");
        let retire_at = self.moment(table, "retire-at");
        if let (Some(from), Some(until)) = (&usable_from, &retire_at)
            && from.value >= until.value
        {
            self.found.push(
                Diagnostic::new(Code::Window, "signer's window is empty")
                    .at(self.source, until.span.clone(), "retired before it may be used")
                    .also(self.source, from.span.clone(), "usable from here on")
                    .help("let `retire-at` come after `usable-from`"),
            );
            return None;
        }
        let good = usable_from.is_some() == table.has("usable-from") && retire_at.is_some() == table.has("retire-at");
        good.then_some((usable_from, retire_at))
    }

    fn evidence(&mut self, table: &Table<'_>, kind: &SignerKind) -> Option<Evidence> {
        let evidence = match table.text("evidence") {
            None => Evidence::None,
            Some(word) if matches!(kind, SignerKind::Keyless { .. }) => {
                let label = "a keyless bundle always carries both a log entry and a proven time";
                self.report(Code::Misplaced, "`evidence` has no meaning for a keyless signer", &word.span, label, "remove the key");
                return None;
            }
            Some(word) => self.word(&word, EVIDENCE)?,
        };
        if evidence == Evidence::None
            && let Some(span) = table.span_of("retire-at")
        {
            let label = "no bundle of this key proves when it was made";
            let help = "with `evidence = \"log\"` or `\"timestamp\"`, what was signed before this moment stays good; without, nothing does, \
                        and what is signed later with a stolen key is good until then";
            self.report(Code::ArrivalTime, "retirement is judged when the module arrives", &span, label, help);
        }
        Some(evidence)
    }

    fn warn_of(&mut self, kind: &SignerKind, place: &Range<usize>) {
        if let Some(label) = pattern::wide(kind) {
            let help = "name the owner and the repository, or pin them by number: `claims = { repository-id = \"1234\" }`";
            let message = "identity matches more than it seems to";
            self.report(Code::WideIdentity, message, place, label, help);
        }
    }

    /// Reports a signer, or an id, that is there already; true if so.
    fn repeated(&mut self, kind: &SignerKind, id: &Found<String>, place: &Range<usize>, all: &Signers) -> bool {
        if let Some(first) = all.list.iter().find(|s| s.signer.kind == *kind) {
            let again = if matches!(kind, SignerKind::Key { .. }) { "the same key again" } else { "the same identity again" };
            self.found.push(
                Diagnostic::new(Code::DuplicateSigner, "signer is listed twice")
                    .at(self.source, place.clone(), again)
                    .also(self.source, first.place.clone(), "listed here")
                    .help("remove one of the two"),
            );
            return true;
        }
        if let Some(first) = all.find(&id.value) {
            self.found.push(
                Diagnostic::new(Code::SignerId, format!("two signers have the id `{}`", crate::document::shorten(&id.value)))
                    .at(self.source, id.span.clone(), "the same id again")
                    .also(self.source, first.id.clone(), "given here")
                    .help("give each an `id` of its own; left out, it is the key file's name without its ending, or the identity"),
            );
            return true;
        }
        false
    }
}

/// What a signer without `id` is called.
fn default_id(kind: &SignerKind) -> String {
    match kind {
        SignerKind::Key { path } => Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned(),
        SignerKind::Keyless { identity, .. } => identity.clone(),
    }
}

const EVIDENCE: &[(&str, Option<Evidence>)] = &[
    ("none", Some(Evidence::None)),
    ("log", Some(Evidence::Log)),
    ("timestamp", Some(Evidence::Timestamp)),
    ("both", Some(Evidence::Both)),
];
