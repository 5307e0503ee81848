//! `paths` and `graphs` of `[audit]`: in which form the journal keeps what a guest named.
//!
//! Runs in: daemon and command line.
//! Does not: change a text; the daemon does, before the journal sees it.
//! Invariant: of a policy and its host's file the stricter word counts, for each of the two alone.

use std::ops::Range;

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::document::Table;
use crate::host::HostConfig;
use crate::policy::Policy;
use crate::resolve::Resolver;

/// In which form the journal keeps what a guest named. The order is that of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Class {
    /// As the guest wrote it.
    #[default]
    Plain,
    /// As a code under a key that only the host has: what is equal stays equal, and nothing can be read.
    Hmac,
    /// Not at all.
    Drop,
}

impl Class {
    /// As a policy writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Hmac => "hmac",
            Self::Drop => "drop",
        }
    }

    /// For sentences: "the journal keeps paths …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Plain => "as the module writes them",
            Self::Hmac => "as codes that only this host can make",
            Self::Drop => "not at all",
        }
    }
}

/// The class of each kind of text that a guest names things by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Privacy {
    /// `audit.paths`: paths of files, and whatever else a call that is none of a model's names.
    pub paths: Class,
    /// `audit.graphs`: names of graphs, and options of them.
    pub graphs: Class,
}

impl Privacy {
    /// The stricter word of the two, each for itself.
    #[must_use]
    pub fn or_stricter(self, other: Self) -> Self {
        Self { paths: self.paths.max(other.paths), graphs: self.graphs.max(other.graphs) }
    }
}

/// Where `audit.paths` and `audit.graphs` stand, if they do.
pub(crate) type Spots = [Option<Range<usize>>; 2];

impl Resolver<'_> {
    /// `[audit]` as far as it is about texts. What is not there is plain.
    pub(crate) fn privacy(&mut self, root: &Table<'_>) -> Option<(Privacy, Spots)> {
        let Some(table) = root.section("audit") else { return Some((Privacy::default(), [None, None])) };
        let paths = self.word_or(&table, "paths", CLASSES, Class::Plain);
        let graphs = self.word_or(&table, "graphs", CLASSES, Class::Plain);
        Some((Privacy { paths: paths?, graphs: graphs? }, [table.span_of("paths"), table.span_of("graphs")]))
    }
}

const CLASSES: &[(&str, Option<Class>)] = &[("plain", Some(Class::Plain)), ("hmac", Some(Class::Hmac)), ("drop", Some(Class::Drop))];

impl Policy {
    /// The stricter of the policy's classes and the host's, never laxer than either.
    #[must_use]
    pub fn effective_privacy(&self, host: &HostConfig) -> Privacy {
        self.privacy.or_stricter(host.audit.privacy)
    }
}

/// Classes that a policy writes and that are laxer than the host's.
pub(crate) fn check(policy: &Policy, host: &HostConfig, found: &mut Diagnostics) {
    let [paths, graphs] = &policy.places.privacy;
    let (mine, floor) = (policy.privacy, host.audit.privacy);
    for (key, spot, mine, floor) in [("paths", paths, mine.paths, floor.paths), ("graphs", graphs, mine.graphs, floor.graphs)] {
        if let Some(spot) = spot
            && mine < floor
        {
            let (mine, floor) = (mine.word(), floor.word());
            let message =
                format!("policy asks for less than the host's floor: `audit.{key}` is `{mine}` where the host requires `{floor}`");
            found.push(
                Diagnostic::new(Code::BelowFloor, message)
                    .at(&policy.source, spot.clone(), format!("the host requires at least `{floor}`"))
                    .help(format!("write `{key} = \"{floor}\"` or a stricter word, or leave the key out: the host's floor then applies")),
            );
        }
    }
}
