//! What runs of a module used of its policy.
//!
//! Runs in: command line.
//! Does not: see more than a record has. It names the grant a call went by, not the flags a file was opened with, and of a rename only where it began.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use edgeguard_audit::Outcome;
use edgeguard_audit::Position;
use edgeguard_audit::RULE_GRAPHS;
use edgeguard_audit::TextClass;
use edgeguard_audit::printable;
use edgeguard_audit::rfc3339;
use edgeguard_policy::Access;
use edgeguard_policy::Policy;
use edgeguard_policy::learn::DirUse;
use edgeguard_policy::learn::Observed;
use edgeguard_policy::learn::Refused;
use edgeguard_policy::learn::Seen;
use edgeguard_policy::learn::Wants;

use super::runs::Made;
use super::runs::Run;

/// Most different refusals that are told apart.
const MAX_REFUSED: usize = 64;

/// What one run can be seen to use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Dir(usize),
    Written(usize),
    Unclear(usize),
    Graph(usize),
    Environment,
    Arguments,
    Refused { call: &'static str, rule: u16, text: Option<String>, class: Option<TextClass> },
}

/// Where something was seen.
struct Sightings {
    runs: u64,
    first: u64,
    last: u64,
    position: Position,
}

/// Calls that look at granted directories without using them, which every guest's runtime does when it begins, and what closes or describes a handle.
const IDLE: &[&str] = &[
    "fd_prestat_get",
    "fd_prestat_dir_name",
    "fd_fdstat_get",
    "fd_close",
    "fd_renumber",
    "[resource-drop]descriptor",
    "[resource-drop]directory-entry-stream",
    "[method]descriptor.get-flags",
    "[method]descriptor.get-type",
    "[method]descriptor.is-same-object",
];

/// Calls that change a file or a directory.
const WRITES: &[&str] = &[
    "fd_allocate",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pwrite",
    "fd_write",
    "path_create_directory",
    "path_filestat_set_times",
    "path_link",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "[method]descriptor.write-via-stream",
    "[method]descriptor.append-via-stream",
    "[method]descriptor.set-size",
    "[method]descriptor.set-times",
    "[method]descriptor.set-times-at",
    "[method]descriptor.write",
    "[method]descriptor.create-directory-at",
    "[method]descriptor.link-at",
    "[method]descriptor.remove-directory-at",
    "[method]descriptor.rename-at",
    "[method]descriptor.symlink-at",
    "[method]descriptor.unlink-file-at",
];

/// Calls that read what was opened: whoever makes them had a reason to open it other than to change it.
const READS: &[&str] = &[
    "fd_read",
    "fd_pread",
    "fd_readdir",
    "[method]descriptor.read-via-stream",
    "[method]descriptor.read",
    "[method]descriptor.read-directory",
];

const OPENS: &[&str] = &["path_open", "[method]descriptor.open-at"];
const CLOSES: &[&str] = &["fd_close", "fd_renumber", "[resource-drop]descriptor"];
/// Calls that end in a directory which the record does not name.
const MOVES: &[&str] = &["path_rename", "path_link", "[method]descriptor.rename-at", "[method]descriptor.link-at"];

/// What all runs used together.
pub(super) fn observe(origin: &str, header: Vec<String>, policy: &Policy, runs: &[Run]) -> Observed {
    let mut all: BTreeMap<Sign, Sightings> = BTreeMap::new();
    for run in runs {
        for (sign, (at, position)) in of_run(policy, run) {
            let sightings = all.entry(sign).or_insert(Sightings { runs: 0, first: at, last: at, position });
            sightings.runs += 1;
            sightings.first = sightings.first.min(at);
            sightings.last = sightings.last.max(at);
        }
    }
    let seen = |sign: &Sign| all.get(sign).map(|found| found.seen(origin));
    let dirs = (0..policy.dirs.len()).map(|i| DirUse {
        used: seen(&Sign::Dir(i)),
        written: seen(&Sign::Written(i)),
        unclear: seen(&Sign::Unclear(i)),
    });
    let refused = all.iter().filter_map(|(sign, found)| refused(policy, sign, found.seen(origin))).take(MAX_REFUSED);
    Observed {
        header,
        runs: u64::try_from(runs.len()).unwrap_or(u64::MAX),
        dirs: dirs.collect(),
        graphs: (0..policy.graphs.len()).map(|i| seen(&Sign::Graph(i))).collect(),
        environment: seen(&Sign::Environment),
        arguments: seen(&Sign::Arguments),
        refused: refused.collect(),
    }
}

impl Sightings {
    fn seen(&self, origin: &str) -> Seen {
        Seen { runs: self.runs, first: rfc3339(self.first), last: rfc3339(self.last), uid: self.position.uid(origin).to_string() }
    }
}

/// What one run used, and the first call that shows it.
fn of_run(policy: &Policy, run: &Run) -> BTreeMap<Sign, (u64, Position)> {
    let mut found = BTreeMap::new();
    let mut opened: BTreeMap<u32, (usize, u64, Position)> = BTreeMap::new();
    let mut unclear: BTreeSet<(usize, u64, Position)> = BTreeSet::new();
    for made in &run.calls {
        let function = made.record.call.function();
        let mut note = |sign: Sign| {
            found.entry(sign).or_insert((made.real, made.position));
        };
        match function {
            "environ_get" | "get-environment" => note(Sign::Environment),
            "args_get" | "get-arguments" => note(Sign::Arguments),
            _ => {}
        }
        if made.record.outcome == Outcome::Denied {
            let (rule, text, class) = (made.record.rule, made.text.as_deref().map(printable), made.record.text_class());
            note(Sign::Refused { call: function, rule, text, class });
            continue;
        }
        if let Some(graph) = made.record.rule.checked_sub(RULE_GRAPHS) {
            note(Sign::Graph(usize::from(graph)));
            continue;
        }
        let Some(dir) = made.record.rule.checked_sub(1).map(usize::from) else { continue };
        let handle = made.record.handle;
        if READS.contains(&function) {
            opened.remove(&handle);
        }
        if CLOSES.contains(&function) {
            unclear.extend(opened.remove(&handle));
        }
        if IDLE.contains(&function) {
            continue;
        }
        note(Sign::Dir(dir));
        if WRITES.contains(&function) {
            note(Sign::Written(dir));
            opened.remove(&handle);
        }
        if OPENS.contains(&function) && made.record.outcome == Outcome::Ok {
            unclear.extend(opened.insert(handle, (dir, made.real, made.position)));
        } else if OPENS.contains(&function) {
            // It may have been refused only because what was to be made is there.
            unclear.extend((errno_of_making(made)).then_some((dir, made.real, made.position)));
        }
        if MOVES.contains(&function) {
            let others = policy.dirs.iter().enumerate().filter(|(i, other)| *i != dir && other.access == Access::ReadWrite);
            unclear.extend(others.map(|(i, _)| (i, made.real, made.position)));
        }
    }
    unclear.extend(opened.into_values());
    for (dir, at, position) in unclear {
        if policy.dirs.get(dir).is_some_and(|dir| dir.access == Access::ReadWrite) {
            // What something may have been moved to was used, if it was.
            found.entry(Sign::Dir(dir)).or_insert((at, position));
            found.entry(Sign::Unclear(dir)).or_insert((at, position));
        }
    }
    found
}

/// Whether an open failed as only one that makes a file does: the file exists (preview 1: 20; WASI 0.2: `exist` is the 7th, counted from 1).
fn errno_of_making(made: &Made) -> bool {
    match made.record.call.function() {
        "path_open" => made.record.errno == 20,
        _ => made.record.errno == 7,
    }
}

/// A refusal, and what would have allowed it.
fn refused(policy: &Policy, sign: &Sign, seen: Seen) -> Option<Refused> {
    let Sign::Refused { call, rule, text, class } = sign else { return None };
    let leaves = text.as_deref().is_some_and(|text| text.starts_with('/') || text.split('/').any(|part| part == ".."));
    let dir = rule.checked_sub(1).map(usize::from).filter(|i| policy.dirs.get(*i).is_some_and(|dir| dir.access == Access::Read));
    let wants = match (dir, text) {
        // A path may lead out of its directory, and a code is no graph's name.
        _ if class.is_some() => Wants::Unknown,
        (Some(dir), _) if !leaves => Wants::Write(dir),
        (None, Some(name)) if matches!(*call, "load_by_name" | "load_by_name_with_config" | "load-by-name") => Wants::Graph(name.clone()),
        _ => Wants::Nothing,
    };
    let below = rule.checked_sub(1).and_then(|i| policy.dirs.get(usize::from(i))).map(|dir| format!(" below `{}`", dir.guest));
    let named = text.as_ref().map(|text| format!(" of `{text}`"));
    let text = named.unwrap_or_else(|| class.map_or_else(String::new, |_| " of something that is not kept".to_owned()));
    Some(Refused { what: format!("`{call}`{text}{}", below.unwrap_or_default()), wants, seen })
}
