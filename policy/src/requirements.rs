//! `[[module.require]]`: which statement is wanted, from whom, from how many, and how old it may be.
//!
//! Runs in: daemon and command line.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::admission::Requirement;
use crate::admission::SignerKind;
use crate::admission::Statement;
use crate::bounds;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::document::Found;
use crate::document::Table;
use crate::document::shorten;
use crate::pattern;
use crate::resolve::Resolver;
use crate::signers::PlacedSigner;
use crate::signers::Signers;
use crate::suggest;

/// A requirement and where it stands.
pub(crate) struct PlacedRequirement {
    pub(crate) requirement: Requirement,
    pub(crate) place: Range<usize>,
}

impl Resolver<'_> {
    /// What `[module]` requires; where it has no `[[module.require]]`, a signature or a release statement of `threshold` of its signers.
    pub(crate) fn requirements(&mut self, module: &Table<'_>, signers: &Signers) -> Option<Vec<PlacedRequirement>> {
        let tables = module.sections("require");
        let listed = u32::try_from(module.sections("signer").len()).unwrap_or(u32::MAX);
        let plain = self.plain_threshold(module, listed, !tables.is_empty())?;
        if tables.is_empty() {
            let requirement = Requirement {
                statement: Statement::Any,
                signers: signers.list.iter().map(|s| s.signer.id.clone()).collect(),
                threshold: plain.value,
            };
            let all = vec![PlacedRequirement { requirement, place: plain.span }];
            self.check_requirements(&all, signers);
            return Some(all);
        }
        self.at_most(&tables, bounds::MAX_REQUIREMENTS, "[[module.require]]", "join requirements that want the same");
        let resolved: Vec<_> = tables.iter().take(bounds::MAX_REQUIREMENTS).map(|table| self.requirement(table, signers)).collect();
        let all: Vec<PlacedRequirement> = resolved.into_iter().collect::<Option<_>>()?;
        self.check_requirements(&all, signers);
        for unused in signers.list.iter().filter(|s| !all.iter().any(|r| r.requirement.signers.contains(&s.signer.id))) {
            let message = format!("signer `{}` is required by nothing", shorten(&unused.signer.id));
            let help = "name it in a `[[module.require]]`, or remove it: nothing that it signs is wanted";
            self.report(Code::UnusedSigner, message, &unused.id, "no requirement names it", help);
        }
        Some(all)
    }

    /// `min-version`, and whether anything states a version that it could be held against.
    pub(crate) fn min_version(&mut self, module: &Table<'_>, requirements: Option<&[PlacedRequirement]>) -> Option<Option<u64>> {
        if !module.has("min-version") {
            return Some(None);
        }
        let written = self.version_number(module, "min-version")?;
        let stated = |all: &[PlacedRequirement]| all.iter().any(|r| matches!(r.requirement.statement, Statement::Release { .. }));
        if requirements.is_some_and(|all| !stated(all)) {
            let help = "require the statement that holds the version: a `[[module.require]]` with `statement = \"release\"`";
            let label = "a bare signature says nothing of a version";
            self.report(Code::MinVersion, "version floor without a release statement", &written.span, label, help);
        }
        Some(Some(written.value))
    }

    /// `module.threshold`, or 1 at the section's header.
    fn plain_threshold(&mut self, module: &Table<'_>, listed: u32, required: bool) -> Option<Found<u32>> {
        match module.integer("threshold") {
            None => Some(Found { value: 1, span: module.span.clone() }),
            Some(written) if required => {
                let help = "move it into the `[[module.require]]` that it is meant for";
                let label = "each `[[module.require]]` has a threshold of its own";
                self.report(Code::Threshold, "threshold cannot be met, or means nothing", &written.span, label, help);
                None
            }
            Some(written) => {
                let help = "add the other signers with a `[[module.signer]]` each, or lower the threshold";
                self.threshold_of(&written, listed, help).map(|value| Found { value, span: written.span })
            }
        }
    }

    fn threshold_of(&mut self, written: &Found<i128>, listed: u32, help: &str) -> Option<u32> {
        let value = u32::try_from(written.value).ok().filter(|n| (1..=listed).contains(n));
        if value.is_none() {
            let label = if listed == 1 {
                "one signer is listed, so this can only be 1".to_owned()
            } else {
                format!("must be 1 to {listed}, as many as are listed")
            };
            self.report(Code::Threshold, "threshold cannot be met, or means nothing", &written.span, label, help);
        }
        value
    }

    fn requirement(&mut self, table: &Table<'_>, signers: &Signers) -> Option<PlacedRequirement> {
        let statement = self.statement(table);
        let ids = self.ids(table, signers);
        let listed = u32::try_from(table.texts("signers").map_or(0, |list| list.len())).unwrap_or(u32::MAX);
        let (threshold, place) = match table.integer("threshold") {
            None => (Some(1), table.span.clone()),
            Some(_) if listed == 0 => (None, table.span.clone()),
            Some(written) => {
                (self.threshold_of(&written, listed, "name the other signers in `signers`, or lower the threshold"), written.span)
            }
        };
        Some(PlacedRequirement { requirement: Requirement { statement: statement?, signers: ids?, threshold: threshold? }, place })
    }

    fn statement(&mut self, table: &Table<'_>) -> Option<Statement> {
        let word = table.text("statement")?;
        let kind = self.word(&word, KINDS)?;
        for (key, of) in [("max-age", AGED), ("builder", BUILT), ("build-type", BUILT), ("parameters", BUILT)] {
            if let Some(span) = table.span_of(key).filter(|_| !of.contains(&kind)) {
                let words: Vec<String> = of.iter().map(|k| format!("`{}`", k.word())).collect();
                let message = format!("`{key}` has no meaning for the statement `{}`", kind.word());
                let label = format!("belongs to {}", words.join(" and "));
                self.report(Code::Misplaced, message, &span, label, "remove the key, or require the other statement");
            }
        }
        let max_age = match (table.has("max-age"), self.duration(table, "max-age", bounds::MAX_AGE)) {
            (true, None) => None,
            (_, age) => Some(age.map(|found| found.value)),
        };
        match kind {
            Kind::Signature => Some(Statement::Signature),
            Kind::Release => Some(Statement::Release { max_age: max_age? }),
            Kind::Approval => Some(Statement::Approval { max_age: max_age? }),
            Kind::Provenance => self.provenance(table),
        }
    }

    fn provenance(&mut self, table: &Table<'_>) -> Option<Statement> {
        let builders = self.build_words(table, "builder");
        if builders.is_none() && !table.has("builder") {
            let help = "add a line like `builder = [\"https://github.com/actions/runner/github-hosted\"]`";
            self.report(Code::MissingKey, "provenance without a builder", &table.span, "`builder` is missing here", help);
        }
        let build_types = if table.has("build-type") { self.build_words(table, "build-type") } else { Some(Vec::new()) };
        let words = table.words("parameters");
        self.at_most_words(words.get(bounds::MAX_BUILD_WORDS).map(|(key, _)| &key.span), "parameters", words.len());
        for (key, value) in words.iter().take(bounds::MAX_BUILD_WORDS) {
            self.value_word(key);
            self.value_word(value);
        }
        let parameters: BTreeMap<String, String> = words.iter().map(|(k, v)| (k.value.to_owned(), v.value.to_owned())).collect();
        let parameters = table.has("parameters").then_some(parameters);
        Some(Statement::Provenance { builders: builders?, build_types: build_types?, parameters })
    }

    /// A list of addresses that are compared as they stand; none if it is empty or absent.
    fn build_words(&mut self, table: &Table<'_>, key: &str) -> Option<Vec<String>> {
        let words = table.texts(key)?;
        self.at_most_words(words.get(bounds::MAX_BUILD_WORDS).map(|word| &word.span), key, words.len());
        for word in words.iter().take(bounds::MAX_BUILD_WORDS) {
            self.value_word(word);
            if word.value.is_empty() || word.value.contains('*') {
                let label = "empty, or contains `*`: it is compared as it stands";
                let help = "write it as the provenance has it, character for character";
                self.report(Code::Pattern, format!("`{key}` is not one exact address"), &word.span, label, help);
            }
        }
        if words.is_empty()
            && let Some(span) = table.span_of(key)
        {
            let help = format!("name what is accepted, or leave `{key}` out");
            self.report(Code::WrongType, format!("`{key}` takes a list of strings"), &span, "expected at least one entry", help);
            return None;
        }
        Some(words.into_iter().map(|word| word.value.to_owned()).collect())
    }

    fn at_most_words(&mut self, over: Option<&Range<usize>>, key: &str, count: usize) {
        if let Some(span) = over {
            let message = format!("`{key}` has {count} entries, and at most {} are allowed", bounds::MAX_BUILD_WORDS);
            self.report(Code::TooMany, message, span, "one too many", "name fewer");
        }
    }

    /// The signers that a requirement names, each one of the policy's and none twice.
    fn ids(&mut self, table: &Table<'_>, signers: &Signers) -> Option<Vec<String>> {
        let written = table.texts("signers")?;
        let before = self.found.errors();
        let mut ids: Vec<Found<&str>> = Vec::new();
        for word in written {
            if let Some(first) = ids.iter().find(|id| id.value == word.value) {
                self.found.push(
                    Diagnostic::new(Code::DuplicateSigner, "signer is listed twice")
                        .at(self.source, word.span, "the same signer again")
                        .also(self.source, first.span.clone(), "listed here")
                        .help("remove one of the two"),
                );
                continue;
            }
            if !signers.ids.contains(word.value) && !signers.nameless {
                let message = format!("no signer has the id `{}`", shorten(word.value));
                let known = || signers.ids.iter().map(String::as_str);
                let near = suggest::nearest(word.value, known());
                let label = near.map_or_else(|| "names no `[[module.signer]]`".to_owned(), |near| format!("did you mean `{near}`?"));
                let list: Vec<String> = known().map(|id| format!("`{}`", shorten(id))).collect();
                self.report(Code::UnknownSigner, message, &word.span, label, format!("signers of this policy: {}", list.join(", ")));
            }
            ids.push(word);
        }
        (self.found.errors() == before && !ids.is_empty()).then(|| ids.into_iter().map(|id| id.value.to_owned()).collect())
    }

    /// What can be wrong with requirements as a whole.
    fn check_requirements(&mut self, all: &[PlacedRequirement], signers: &Signers) {
        // One bundle holds one statement under one signature, so statements of several kinds add up.
        let mut most: BTreeMap<&str, u32> = BTreeMap::new();
        for placed in all {
            let requirement = &placed.requirement;
            let wanted = most.entry(requirement.statement.word()).or_default();
            *wanted = (*wanted).max(requirement.threshold);
        }
        let bundles: u32 = most.values().sum();
        if let Some(last) = all.last().filter(|_| bundles > bounds::MAX_BUNDLES) {
            let label = format!("{bundles} bundles in all, and at most {} are read", bounds::MAX_BUNDLES);
            let help = "lower a threshold, or require fewer kinds of statement";
            self.report(Code::Threshold, "threshold cannot be met, or means nothing", &last.place, label, help);
        }
        for placed in all.iter().filter(|placed| placed.requirement.threshold > 1) {
            let named: Vec<&PlacedSigner> = placed.requirement.signers.iter().filter_map(|id| signers.find(id)).collect();
            // Signers that were malformed may be different from all others; what they are called says nothing.
            let different = named.iter().map(|s| who(s)).collect::<BTreeSet<_>>().len() + (placed.requirement.signers.len() - named.len());
            if u32::try_from(different).unwrap_or(u32::MAX) < placed.requirement.threshold {
                let label = format!("{different} different ones are listed: signers that differ in `claims` alone are one");
                let help = "add other signers, or lower the threshold";
                self.report(Code::Threshold, "threshold cannot be met, or means nothing", &placed.place, label, help);
                continue;
            }
            for (i, a) in named.iter().enumerate() {
                if let Some(b) = named.iter().skip(i + 1).find(|b| may_be_one(a, b)) {
                    self.found.push(
                        Diagnostic::new(Code::SameIdentity, "signers of one threshold may be the same workflow")
                            .at(self.source, b.place.clone(), "what this matches")
                            .also(self.source, a.place.clone(), "this may match too")
                            .help(
                                "let the identities differ in a segment that is written out: the threshold counts identities, not people",
                            ),
                    );
                }
            }
        }
    }
}

/// What a threshold counts: a key file, or an issuer and an identity.
fn who(signer: &PlacedSigner) -> (&str, &str) {
    match &signer.signer.kind {
        SignerKind::Key { .. } => ("", signer.key().unwrap_or_default()),
        SignerKind::Keyless { issuer, identity, .. } => (issuer, identity),
    }
}

/// Whether one certificate could stand for both.
fn may_be_one(a: &PlacedSigner, b: &PlacedSigner) -> bool {
    match (&a.signer.kind, &b.signer.kind) {
        (
            SignerKind::Keyless { issuer, identity, claims },
            SignerKind::Keyless { issuer: other_issuer, identity: other_identity, claims: other_claims },
        ) => {
            let agree = |(name, value): (&String, &String)| other_claims.get(name).is_none_or(|other| pattern::meet(value, other));
            issuer == other_issuer && pattern::meet(identity, other_identity) && claims.iter().all(agree)
        }
        _ => false,
    }
}

/// The kinds of statement that can be required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signature,
    Release,
    Provenance,
    Approval,
}

impl Kind {
    fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == Some(self)).map_or("", |(word, _)| word)
    }
}

const KINDS: &[(&str, Option<Kind>)] = &[
    ("signature", Some(Kind::Signature)),
    ("release", Some(Kind::Release)),
    ("slsa-provenance", Some(Kind::Provenance)),
    ("approval", Some(Kind::Approval)),
];

/// Statements that have an age.
const AGED: &[Kind] = &[Kind::Release, Kind::Approval];
/// Statements that have a builder.
const BUILT: &[Kind] = &[Kind::Provenance];
