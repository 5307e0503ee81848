//! One question about one policy, and the rule that decides it.
//!
//! Runs in: command line.
//! Does not: look at the host. Whether a path goes through a symbolic link is for the caller to find out.

use std::path::Path;

use crate::names::GraphName;
use crate::paths::within;
use crate::policy::Access;
use crate::policy::Place;
use crate::policy::Policy;
use crate::source::escape;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Open for reading, or list.
    Read,
    /// Create, change, rename or remove.
    Write,
}

/// Yes or no, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the policy allows it.
    pub allowed: bool,
    /// The rule, in words; fit for a terminal.
    pub why: String,
    /// Where the rule stands; none where nothing in the policy speaks of it.
    pub place: Option<Place>,
    /// The path that was judged: what was asked for in plain form.
    pub judged: String,
}

/// Whether a module may do this to a path of the host. `..` is taken by the letter; whether that is where it leads depends on the host.
///
/// # Errors
/// A path that is not absolute, or holds a control character.
pub fn can_path(policy: &Policy, deed: Deed, path: &str) -> Result<Answer, &'static str> {
    let judged = plain(path)?;
    let text = |dir: &Path| dir.to_str().map(str::to_owned).unwrap_or_default();
    let holds = policy.dirs.iter().enumerate().find(|(_, dir)| within(&judged, &text(&dir.host)));
    let answer = |allowed: bool, why: String, place| Ok(Answer { allowed, why: escape(&why), place, judged: judged.clone() });
    let Some((i, dir)) = holds else {
        let near =
            policy.dirs.iter().enumerate().find(|(_, dir)| judged.starts_with(&text(&dir.host)) || within(&text(&dir.host), &judged));
        return match near {
            Some((i, dir)) if within(&text(&dir.host), &judged) => {
                let why = format!("`{judged}` holds the granted `{}`, and is not granted itself", text(&dir.host));
                answer(false, why, Some(Place::Dir(i)))
            }
            Some((i, dir)) => {
                let why = format!("`{judged}` lies beside the granted `{}`, not in it", text(&dir.host));
                answer(false, why, Some(Place::Dir(i)))
            }
            None => answer(false, "no `[[dir]]` holds this path".to_owned(), None),
        };
    };
    let host = text(&dir.host);
    if deed == Deed::Write && dir.access == Access::Read {
        return answer(false, format!("`{host}` is granted with `access = \"read\"`"), Some(Place::Dir(i)));
    }
    if deed == Deed::Write && judged == host {
        let why =
            format!("`{host}` is granted with `access = \"read-write\"`: what is in it may be changed, the directory itself not replaced");
        return answer(true, why, Some(Place::Dir(i)));
    }
    // Making directories, renaming and removing need no open file; so only reading depends on this limit.
    if deed == Deed::Read && policy.limits.open_files == 0 && judged != host {
        let why =
            format!("`{host}` is granted, but `limits.open-files` is 0: no file in it can be opened, though names and sizes can be seen");
        return answer(false, why, Some(Place::Dir(i)));
    }
    let access = if dir.access == Access::Read { "read" } else { "read-write" };
    answer(true, format!("`{host}` is granted with `access = \"{access}\"`, as `{}` in the module", dir.guest), Some(Place::Dir(i)))
}

/// Whether a module may compute with a graph: by the name it would load, or by the model's SHA-256 in hexadecimal digits.
///
/// # Errors
/// Text that is neither a graph's name nor a digest.
pub fn can_graph(policy: &Policy, wanted: &str) -> Result<Answer, &'static str> {
    let is_digest = wanted.len() == 64 && wanted.bytes().all(|b| b.is_ascii_hexdigit());
    if GraphName::new(wanted).is_err() {
        return Err("is neither the name of a graph nor the SHA-256 of a model");
    }
    let named = |(_, graph): &(usize, &crate::GraphGrant)| {
        graph.name.as_str() == wanted || (is_digest && hex::encode(graph.sha256).eq_ignore_ascii_case(wanted))
    };
    let judged = wanted.to_owned();
    Ok(match policy.graphs.iter().enumerate().find(named) {
        Some((i, graph)) => {
            let weights = graph.weights.as_ref().map(|weights| {
                let (path, digest) = (weights.path.display(), hex::encode(weights.sha256));
                format!(", its weights `{path}` with the digest `{digest}`")
            });
            let why = format!(
                "`{}` is granted: the model `{}` with the digest `{}`{}, and no other file of that name",
                graph.name,
                graph.model.display(),
                hex::encode(graph.sha256),
                weights.unwrap_or_default()
            );
            Answer { allowed: true, why: escape(&why), place: Some(Place::Model(i)), judged }
        }
        None => Answer { allowed: false, why: "no `[[graph]]` has this name or this digest".to_owned(), place: None, judged },
    })
}

/// The path without `.`, `..`, and doubled slashes, by the letter.
fn plain(path: &str) -> Result<String, &'static str> {
    if !path.starts_with('/') {
        return Err("is not absolute: write the whole path on the host, from `/`");
    }
    if path.chars().any(char::is_control) {
        return Err("contains a control character");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}
