//! Profiles: parts of policies that several modules share, named by each policy that uses them, and written out into it before it is judged.
//!
//! Runs in: daemon and command line.
//! Does not: open a file. Whoever calls has read the profiles, and gives them as texts.
//! Invariant: what a policy grants is what its expanded text says, and the policy's digest is of that text. What a policy says itself is never overridden by a profile,
//! and two profiles that say different things are an error, never a choice.

mod expand;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::bounds::MAX_PROFILES;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::document::Found;
use crate::document::Reading;
use crate::document::shorten;
use crate::names::ModuleName;
use crate::policy::Policy;
use crate::resolve::Resolver;
use crate::schema;
use crate::source::Source;
use crate::source::escape;
use crate::suggest;

/// The profiles that policies may name, each as its text, or as the reason why it could not be read.
#[derive(Debug, Clone, Default)]
pub struct Profiles {
    place: String,
    known: BTreeMap<String, Result<Source, String>>,
    /// Why none is known, if that is not because there are none.
    failed: Option<String>,
}

impl Profiles {
    /// None yet. `place` is where they are looked for, for messages.
    #[must_use]
    pub fn of(place: &str) -> Self {
        Self { place: escape(place), ..Self::default() }
    }

    /// The place itself cannot be read: every policy that names a profile is refused for it.
    #[must_use]
    pub fn failed(place: &str, reason: &str) -> Self {
        Self { failed: Some(escape(reason)), ..Self::of(place) }
    }

    /// One profile as it lies on disk, by its name, which is that of its file without `.toml`.
    pub fn add(&mut self, name: &str, file_name: &str, bytes: &[u8]) {
        let read = Source::from_bytes(file_name, bytes);
        let read = read.map_err(|found| found.iter().next().map_or_else(String::new, |first| first.message().to_owned()));
        self.known.insert(name.to_owned(), read);
    }

    /// One profile that is there and cannot be read.
    pub fn unreadable(&mut self, name: &str, reason: &str) {
        self.known.insert(name.to_owned(), Err(escape(reason)));
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    fn find(&self, name: &Found<ModuleName>, policy: &Source) -> Result<&Source, Diagnostic> {
        let wanted = name.value.as_str();
        let refuse = |code, message: String, label: String, help: &str| {
            Err(Diagnostic::new(code, message).at(policy, name.span.clone(), label).help(help))
        };
        if let Some(why) = &self.failed {
            let help = "make the directory of profiles readable for whoever reads policies";
            return refuse(Code::BadProfile, format!("profiles in `{}` cannot be read", self.place), why.clone(), help);
        }
        match self.known.get(wanted) {
            Some(Ok(source)) => Ok(source),
            Some(Err(why)) => {
                let help = "make it a file of UTF-8 text, of at most 256 KiB, that whoever reads policies may read";
                refuse(Code::BadProfile, format!("profile `{wanted}` cannot be read"), why.clone(), help)
            }
            None if self.place.is_empty() => {
                let help = "give the directory that the profiles are in";
                refuse(Code::UnknownProfile, format!("profile `{wanted}` is not there"), "no profiles are at hand here".to_owned(), help)
            }
            None => {
                let near = suggest::nearest(wanted, self.names());
                let label = near.map_or_else(|| "no profile of this name".to_owned(), |near| format!("did you mean `{near}`?"));
                let help = format!("profiles are the files `NAME.toml` in `{}`", self.place);
                refuse(Code::UnknownProfile, format!("profile `{wanted}` is not there"), label, &help)
            }
        }
    }
}

/// What a policy comes to when its profiles are written out.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// The text: a policy without `profiles`, each line that came from a profile with a comment that says so. Its SHA-256 is the policy's digest.
    pub text: String,
    /// The names of the profiles, in the order of the policy.
    pub profiles: Vec<String>,
}

/// Everything that can be said of a profile without a policy that names it. What it leaves to policies is not missing in it.
pub(crate) fn check(source: &Source) -> Diagnostics {
    let mut found = Diagnostics::default();
    let document = Document::read(source, &schema::PROFILE, Reading::Profile, &mut found);
    Resolver { source, found: &mut found }.profile(&document.root());
    found.sort();
    found
}

/// Whether a text names profiles at all. One that does not is its own expansion.
pub(crate) fn is_used(document: &Document<'_>) -> bool {
    document.root().has(KEY)
}

/// Reads a policy that names profiles.
///
/// # Errors
/// Every mistake in the policy and in the profiles that it names.
pub(crate) fn policy(source: &Source, profiles: &Profiles) -> Result<Policy, Diagnostics> {
    let mut found = Diagnostics::default();
    let expansion = expansion(source, profiles, &mut found);
    let Expansion { text, pieces, names, list, uses } = expansion;
    let whole = Source::expanded(source.name(), &text, pieces);
    let mut shape = Diagnostics::default();
    let document = Document::read(&whole, &schema::POLICY, Reading::Whole, &mut shape);
    // What is missing in the whole may only be missing because the part that has it could not be read.
    if found.errors() == 0 {
        found.extend(shape);
    }
    let resolved = Resolver { source: &whole, found: &mut found }.policy(&document.root());
    // A profile is used by several policies: whoever reads of its mistake is told which of them is meant.
    found.change(|mistake| match uses.iter().find(|(profile, _)| mistake.is_only_in(profile.name())) {
        Some((_, span)) => mistake.also(source, span.clone(), "the profile is used here"),
        None => mistake,
    });
    found.sort();
    match resolved {
        Some(mut policy) if found.errors() == 0 => {
            policy.profiles = names;
            policy.places.profiles = list.map(|span| (source.clone(), span));
            Ok(Policy { warnings: found, ..policy })
        }
        _ => Err(found),
    }
}

/// Writes a policy's profiles out.
///
/// # Errors
/// As [`crate::parse_with`]: only what stands is written out.
pub(crate) fn expand(source: &Source, profiles: &Profiles) -> Result<Expanded, Diagnostics> {
    let policy = crate::resolve::policy(source, profiles)?;
    // A byte order mark is no part of a text, but of what is hashed.
    let mark = if policy.places.profiles.is_none() && source.is_marked() { "\u{feff}" } else { "" };
    Ok(Expanded { text: format!("{mark}{}", policy.source.text()), profiles: policy.profiles })
}

/// An expanded text with what is known of it.
struct Expansion {
    text: String,
    pieces: Vec<crate::source::Piece>,
    names: Vec<String>,
    /// Where the policy names its profiles, all of them.
    list: Option<Range<usize>>,
    /// Each profile that was read, and where it is named.
    uses: Vec<(Source, Range<usize>)>,
}

fn expansion(source: &Source, profiles: &Profiles, found: &mut Diagnostics) -> Expansion {
    let own = Document::read(source, &schema::POLICY, Reading::Part, found);
    let root = own.root();
    let named = named(source, &root, found);
    let mut read: Vec<(&str, &Source, Document<'_>)> = Vec::new();
    let mut uses = Vec::new();
    for name in &named {
        match profiles.find(name, source) {
            Ok(profile) => {
                let mut mistakes = Diagnostics::default();
                let document = Document::read(profile, &schema::PROFILE, Reading::Profile, &mut mistakes);
                let _ = Resolver { source: profile, found: &mut mistakes }.version(&document.root());
                found.extend(mistakes);
                read.push((name.value.as_str(), profile, document));
                uses.push((profile.clone(), name.span.clone()));
            }
            Err(refusal) => found.push(refusal),
        }
    }
    let layers: Vec<expand::Layer<'_>> = std::iter::once(expand::Layer { profile: None, source, table: root })
        .chain(read.iter().map(|(name, source, document)| expand::Layer { profile: Some(*name), source, table: document.root() }))
        .collect();
    let (text, pieces) = expand::merge(&layers, found);
    let names = named.iter().map(|name| name.value.as_str().to_owned()).collect();
    Expansion { text, pieces, names, list: own.root().span_of(KEY), uses }
}

/// The names that the policy lists, each a good one and once.
fn named(source: &Source, root: &crate::document::Table<'_>, found: &mut Diagnostics) -> Vec<Found<ModuleName>> {
    let listed = root.texts(KEY).unwrap_or_default();
    let mut resolver = Resolver { source, found };
    if let Some(over) = listed.get(MAX_PROFILES) {
        let message = format!("`{KEY}` has {} entries, and at most {MAX_PROFILES} are allowed", listed.len());
        resolver.report(Code::TooMany, message, &over.span, "one too many", "put what they share in one profile");
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for text in listed.into_iter().take(MAX_PROFILES) {
        let (written, span) = (shorten(text.value), text.span.clone());
        let Some(name) = resolver.name(text, "profile", ModuleName::new) else { continue };
        if seen.insert(name.value.clone()) {
            names.push(name);
        } else {
            let help = "name each profile once; their order does not matter to what they say";
            resolver.report(Code::ProfileTwice, format!("profile `{written}` is named twice"), &span, "named before", help);
        }
    }
    names
}

/// The key at the top of a policy.
const KEY: &str = "profiles";
