//! Policies that lie in one directory, held against each other.
//!
//! Runs in: command line.
//! Does not: say a thing twice. Of each directory the first that it reaches is named, so that what is said grows with the policies and not with their pairs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::admission::SignerKind;
use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::http::Listen;
use crate::names::ModuleName;
use crate::policy::Access;
use crate::policy::DirGrant;
use crate::policy::Place;
use crate::policy::Policy;

/// What is wrong with policies as a set: a module named by two of them, or a grant that reaches into what is another module's.
#[must_use]
pub fn check_set<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Diagnostics {
    let all: Vec<&Policy> = policies.into_iter().collect();
    let mut found = check_names(all.iter().copied());
    check_listeners(&all, &mut found);
    // Two policies of one module are one mistake, and not also two modules that reach into each other.
    let mut first: BTreeMap<&ModuleName, &Policy> = BTreeMap::new();
    for policy in &all {
        first.entry(&policy.name).or_insert(policy);
    }
    let all: Vec<&Policy> = first.into_values().collect();
    let map = Map::of(&all);
    for (me, policy) in all.iter().enumerate() {
        for (i, dir) in policy.dirs.iter().enumerate() {
            map.check(&all, me, Place::Dir(i), dir, &mut found);
        }
    }
    found
}

/// A module named by two policies.
#[must_use]
pub fn check_names<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Diagnostics {
    let mut found = Diagnostics::default();
    let mut first: BTreeMap<&ModuleName, &Policy> = BTreeMap::new();
    for policy in policies {
        match first.get(&policy.name) {
            Some(other) => {
                let message = format!("two policies name the module `{}`", policy.name);
                let diagnostic = policy.diagnostic(Code::SameModule, message, Place::Name, "the same name again");
                let help = "remove one of the two files, or give one module another name";
                found.push(diagnostic.also(&other.source, other.span(Place::Name), "named here first").help(help));
            }
            None => {
                first.insert(&policy.name, policy);
            }
        }
    }
    found
}

/// Modules that listen at one address.
fn check_listeners(all: &[&Policy], found: &mut Diagnostics) {
    let mut first: BTreeMap<&Listen, &Policy> = BTreeMap::new();
    for (policy, http) in all.iter().filter_map(|policy| Some((policy, policy.http.as_ref()?))) {
        let other = *first.entry(&http.listen).or_insert(policy);
        if other.name != policy.name {
            let message = format!("`{}` and `{}` listen at one address", other.name, policy.name);
            let diagnostic = policy.diagnostic(Code::SameListener, message, Place::Listen, "the same address again");
            found.push(
                diagnostic
                    .also(&other.source, other.span(Place::Listen), "listened at here first")
                    .help("give one of them another address"),
            );
        }
    }
}

/// Something that a policy names by its path.
#[derive(Debug, Clone, Copy)]
struct Named {
    /// Index of the policy.
    policy: usize,
    place: Place,
    what: &'static str,
    access: Option<Access>,
}

/// What all policies name, by path with a `/` at the end: what lies in a directory follows it without a gap.
#[derive(Default)]
struct Map {
    /// Modules, keys and models.
    trusted: BTreeMap<String, Vec<Named>>,
    models: BTreeMap<String, Vec<Named>>,
    dirs: BTreeMap<String, Vec<Named>>,
    /// The first that may write in exactly this directory.
    writers: BTreeMap<String, Named>,
}

impl Map {
    fn of(all: &[&Policy]) -> Self {
        let mut map = Self::default();
        for (index, policy) in all.iter().enumerate() {
            let named = |place, what| Named { policy: index, place, what, access: None };
            keep(&mut map.trusted, &policy.path, named(Place::Path, "the file"));
            for (i, signer) in policy.signers.iter().enumerate() {
                if let SignerKind::Key { path } = &signer.kind {
                    keep(&mut map.trusted, path, named(Place::Signer(i), "a signer's key"));
                }
            }
            for (i, graph) in policy.graphs.iter().enumerate() {
                keep(&mut map.trusted, &graph.model, named(Place::Model(i), "a model"));
                keep(&mut map.models, &graph.model, named(Place::Model(i), "a model"));
                if let Some(weights) = &graph.weights {
                    keep(&mut map.trusted, &weights.path, named(Place::Weights(i), "a model's weights"));
                    keep(&mut map.models, &weights.path, named(Place::Weights(i), "a model's weights"));
                }
            }
            for (i, dir) in policy.dirs.iter().enumerate() {
                let entry = Named { access: Some(dir.access), ..named(Place::Dir(i), "a directory") };
                keep(&mut map.dirs, &dir.host, entry);
                if dir.access == Access::ReadWrite {
                    map.writers.entry(key(&dir.host)).or_insert(entry);
                }
            }
        }
        map
    }

    /// What one directory of the policy `me` reaches of the others.
    fn check(&self, all: &[&Policy], me: usize, place: Place, dir: &DirGrant, found: &mut Diagnostics) {
        let Some(policy) = all.get(me) else { return };
        let here = key(&dir.host);
        let mut report = |code: Code, message: String, label: &str, other: Named, help: &str| {
            let Some(theirs) = all.get(other.policy) else { return };
            let diagnostic = policy.diagnostic(code, message, place, label);
            let also = format!("{} of `{}`", other.what, theirs.name);
            found.push(diagnostic.also(&theirs.source, theirs.span(other.place), also).help(help));
        };
        let name = |other: Named| all.get(other.policy).map_or_else(String::new, |policy| policy.name.to_string());
        if dir.access == Access::ReadWrite
            && let Some(other) = first(&self.trusted, &here, me, true)
        {
            let message = format!("module could change {} of `{}`", other.what, name(other));
            report(
                Code::OtherSelf,
                message,
                "granted with `read-write`",
                other,
                "grant another directory, or this one with `access = \"read\"`",
            );
        }
        if dir.access == Access::Read
            && let Some(other) = first(&self.models, &here, me, true)
        {
            let message = format!("module could read {} of `{}`", other.what, name(other));
            report(Code::Holds, message, "granted with `read`", other, "grant a directory that holds the module's own data alone");
        }
        if let Some(other) = first(&self.dirs, &here, me, false) {
            let can = match (dir.access, other.access) {
                (Access::ReadWrite, _) => "change",
                (Access::Read, Some(Access::ReadWrite)) => "read what is written in",
                (Access::Read, _) => "read",
            };
            let message = format!("module could {can} a directory of `{}`", name(other));
            report(Code::OtherDir, message, "holds another module's directory", other, "grant directories that lie beside each other");
        }
        if dir.access == Access::ReadWrite
            && let Some(other) = self.writers.get(&here).copied().filter(|other| other.policy != me)
        {
            let message = format!("two modules write in one directory: this one and `{}`", name(other));
            report(
                Code::OtherDir,
                message,
                "granted with `read-write`",
                other,
                "give each a directory of its own, or let one of the two read alone",
            );
        }
    }
}

/// The first that another policy names in a directory; of the directory itself only with `itself`.
fn first(map: &BTreeMap<String, Vec<Named>>, here: &str, me: usize, itself: bool) -> Option<Named> {
    let inside = map.range(here.to_owned()..).take_while(|(path, _)| path.starts_with(here));
    inside.filter(|(path, _)| itself || path.as_str() != here).flat_map(|(_, list)| list).copied().find(|other| other.policy != me)
}

/// Of each path two policies are enough: one of them is another than whoever asks.
fn keep(map: &mut BTreeMap<String, Vec<Named>>, path: &Path, named: Named) {
    let list = map.entry(key(path)).or_default();
    if list.len() < 2 && list.iter().all(|other| other.policy != named.policy) {
        list.push(named);
    }
}

/// `/srv/a` as `/srv/a/`.
fn key(path: &Path) -> String {
    format!("{}/", path.to_str().unwrap_or_default().trim_end_matches('/'))
}

impl Policy {
    /// Warns where the file is not called after its module.
    #[must_use]
    pub fn check_file_name(&self) -> Diagnostics {
        let stem = Path::new(self.file_name()).file_stem().and_then(|s| s.to_str());
        if stem == Some(self.name.as_str()) {
            return Diagnostics::default();
        }
        let message = format!("policy of module `{}` is not in `{}.toml`", self.name, self.name);
        let help = format!("call the file `{}.toml`", self.name);
        self.diagnostic(Code::FileName, message, Place::Name, "named here").help(help).into()
    }
}
