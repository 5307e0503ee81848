//! Two policies, or two sets of them, laid beside each other: powers gained and lost, not lines.
//!
//! Runs in: command line.
//! Invariant: [`Diff::grants_more`] is true exactly where the old powers do not cover the new ones.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use super::Power;
use super::Powers;
use super::Side;
use crate::policy::GraphGrant;
use crate::policy::Place;
use crate::policy::Policy;
use crate::source::escape;

/// What became of a power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It was not there.
    Gained,
    /// It was there, and allows more now.
    Wider,
    /// It was there, and allows some of what it did and something else.
    Other,
    /// It is there no longer.
    Lost,
    /// It was there, and allows less now.
    Narrower,
    /// It allows what it did, and is called or found elsewhere.
    Moved,
}

impl Kind {
    /// As JSON says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Wider => "wider",
            Self::Other => "other",
            Self::Lost => "lost",
            Self::Narrower => "narrower",
            Self::Moved => "moved",
        }
    }

    /// Whether it allows what was not allowed.
    #[must_use]
    pub fn is_more(self) -> bool {
        matches!(self, Self::Gained | Self::Wider | Self::Other)
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub kind: Kind,
    /// In words, fit for a terminal.
    pub words: String,
    /// The power before; none where it was gained.
    pub before: Option<Power>,
    /// The power now; none where it was lost.
    pub after: Option<Power>,
}

/// The differences between two policies of one module, what is more before what is less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The module.
    pub module: String,
    /// The differences.
    pub changes: Vec<Change>,
}

impl Diff {
    /// Whether something is allowed that was not.
    #[must_use]
    pub fn grants_more(&self) -> bool {
        self.changes.iter().any(|change| change.kind.is_more())
    }

    /// For machines: `{module, grants_more, changes: [{kind, words, before, after}]}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let power = |power: &Option<Power>| power.as_ref().map(Power::to_json);
        let changes: Vec<Value> = self
            .changes
            .iter()
            .map(|c| json!({ "kind": c.kind.word(), "words": c.words, "before": power(&c.before), "after": power(&c.after) }))
            .collect();
        json!({ "module": self.module, "grants_more": self.grants_more(), "changes": changes })
    }
}

/// The differences of each module that either side names, those without any left out.
#[must_use]
pub fn diff_sets(old: &Side<'_>, new: &Side<'_>) -> Vec<Diff> {
    let mut names: Vec<&str> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let all = names.into_iter().map(|name| diff(name, old.get(name).copied(), new.get(name).copied()));
    all.filter(|diff| !diff.changes.is_empty()).collect()
}

/// The differences between two policies of one module; a side without a policy allows nothing.
#[must_use]
pub fn diff(module: &str, old: Option<&Policy>, new: Option<&Policy>) -> Diff {
    let powers = |policy: Option<&Policy>| policy.map(Powers::of).unwrap_or_default();
    let (before, after) = (powers(old), powers(new));
    let mut changes = compare(&before, &after);
    if let Some(new) = new {
        changes.iter_mut().for_each(|change| from_profile(new, change));
    }
    if let (Some(old), Some(new)) = (old, new) {
        moved(old, new, &mut changes);
    }
    changes.sort_by_key(|change| change.kind);
    Diff { module: module.to_owned(), changes }
}

fn compare(before: &Powers, after: &Powers) -> Vec<Change> {
    let mut subjects: BTreeMap<_, (Vec<&Power>, Vec<&Power>)> = BTreeMap::new();
    before.iter().filter(|power| !after.iter().any(|same| same == *power)).for_each(|p| subjects.entry(p.subject()).or_default().0.push(p));
    after.iter().filter(|power| !before.iter().any(|same| same == *power)).for_each(|p| subjects.entry(p.subject()).or_default().1.push(p));
    let mut changes = Vec::new();
    for (was, is) in subjects.into_values() {
        if let ([was], [is]) = (was.as_slice(), is.as_slice()) {
            let kind = match (before.cover(is), after.cover(was)) {
                (false, true) => Kind::Wider,
                (true, false) => Kind::Narrower,
                (false, false) => Kind::Other,
                (true, true) => Kind::Moved,
            };
            changes.push(Change { kind, words: both(was, is), before: Some((*was).clone()), after: Some((*is).clone()) });
            continue;
        }
        for power in is {
            let (kind, part) = if before.cover(power) { (Kind::Narrower, ", part of what it could") } else { (Kind::Gained, "") };
            changes.push(Change { kind, words: format!("{}{part}", power.words()), before: None, after: Some(power.clone()) });
        }
        for power in was {
            let (kind, part) = if after.cover(power) { (Kind::Moved, ", part of what it can now") } else { (Kind::Lost, "") };
            changes.push(Change { kind, words: format!("{}{part}", power.words()), before: Some(power.clone()), after: None });
        }
    }
    changes
}

/// Says of a directory or a graph that a profile grants where that is written, because the policy does not show it.
fn from_profile(new: &Policy, change: &mut Change) {
    let place = match &change.after {
        Some(Power::Dir { host, .. }) => new.dirs.iter().position(|dir| dir.host.to_str() == Some(host)).map(Place::Dir),
        Some(Power::Graph(graph)) => new.graphs.iter().position(|grant| super::Graph::of(grant) == *graph).map(Place::Model),
        _ => None,
    };
    if let Some((Some(file), line)) = place.map(|place| new.line(place)) {
        change.words.push_str(&format!(" ({file}:{line})"));
    }
}

/// Two powers over one thing.
fn both(was: &Power, is: &Power) -> String {
    match (was, is) {
        (Power::Limit { of, most: old }, Power::Limit { most: new, .. }) => {
            format!("`limits.{}` is {}, was {}", of.key(), of.show(*new), of.show(*old))
        }
        (Power::Signing(old), Power::Signing(new)) => {
            let dropped: Vec<String> = old.beyond(new).map(|w| format!("no longer wanted: {}", w.words())).collect();
            let added: Vec<String> = new.beyond(old).map(|w| format!("now wanted: {}", w.words())).collect();
            dropped.into_iter().chain(added).collect::<Vec<_>>().join("; ")
        }
        _ => format!("{}; before: {}", is.words(), was.words()),
    }
}

/// What allows neither more nor less, and is worth a reviewer's look.
fn moved(old: &Policy, new: &Policy, changes: &mut Vec<Change>) {
    let mut note = |words: String| changes.push(Change { kind: Kind::Moved, words: escape(&words), before: None, after: None });
    if old.path != new.path {
        note(format!("the module's file is `{}`, was `{}`", new.path.display(), old.path.display()));
    }
    for is in &new.dirs {
        if let Some(was) = old.dirs.iter().find(|was| was.host == is.host && was.guest != is.guest) {
            note(format!("the module sees `{}` as `{}`, was `{}`", is.host.display(), is.guest, was.guest));
        }
    }
    let digest = |grant: &GraphGrant| grant.weights.as_ref().map(|weights| weights.sha256);
    for is in &new.graphs {
        if let Some(was) = old.graphs.iter().find(|was| was.name == is.name && was.load != is.load) {
            note(format!("the graph `{}` is loaded {}, was {}", is.name, is.load.words(), was.load.words()));
        }
        match old.graphs.iter().find(|was| was.name == is.name) {
            Some(was) if was.sha256 != is.sha256 => note(format!("the graph `{}` is another model", is.name)),
            Some(was) if digest(was) != digest(is) => note(format!("the graph `{}` has other weights", is.name)),
            Some(was) if was.model != is.model => {
                note(format!("the model of `{}` is read from `{}`, was `{}`", is.name, is.model.display(), was.model.display()))
            }
            Some(was) if was.weights != is.weights => {
                let [before, now] = [was, is].map(|grant| grant.weights.as_ref().map(|w| w.path.display().to_string()).unwrap_or_default());
                note(format!("the weights of `{}` are read from `{now}`, were `{before}`", is.name))
            }
            None if old.graphs.iter().any(|was| was.sha256 == is.sha256 && digest(was) == digest(is)) => {
                note(format!("a model that it had is called `{}` too, or now", is.name))
            }
            _ => {}
        }
    }
    if old.profiles != new.profiles {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
        note(format!("the profiles that it names are {}, before {}", list(&new.profiles), list(&old.profiles)));
    }
    if old.preferred != new.preferred {
        let wish = |floor: Option<crate::policy::Floor>| {
            floor.map_or_else(|| "nothing".to_owned(), |floor| format!("Landlock ABI {}", floor.landlock))
        };
        note(format!("it prefers {}, before {} (no power: `prefer.landlock`)", wish(new.preferred), wish(old.preferred)));
    }
    let (was, is) = (old.privacy, new.privacy);
    for (key, was, is) in [("paths", was.paths, is.paths), ("graphs", was.graphs, is.graphs)] {
        if was != is {
            note(format!("the journal keeps the {key} that it names {}, before {} (no power: `audit.{key}`)", is.words(), was.words()));
        }
    }
    match (old.revision, new.revision) {
        (was, is) if was == is => {}
        (Some(was), Some(is)) if is < was => {
            note(format!("`revision` goes back from {was} to {is}: a host with `[policy-signing]` refuses it"))
        }
        (Some(was), None) => note(format!("`revision` is gone, was {was}: a host with `[policy-signing]` refuses it")),
        (was, is) => {
            note(format!("`revision` is {}, was {}", is.unwrap_or(0), was.map_or_else(|| "not there".to_owned(), |n| n.to_string())))
        }
    }
}
