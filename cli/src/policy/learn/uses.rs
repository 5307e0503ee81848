//! What runs of a module used of its policy.
//!
//! Runs in: command line.
//! Does not: see more than a record has. One of a release whose records did not say yet with which flags something was opened, or where a rename ends, may
//! have changed something, and what was granted for that stays.

use std::collections::BTreeMap;

use edgeguard_audit::OpenFlags;
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
use edgeguard_policy::learn::Opens;
use edgeguard_policy::learn::Refused;
use edgeguard_policy::learn::Seen;
use edgeguard_policy::learn::Wants;

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

const OPENS: &[&str] = &["path_open", "[method]descriptor.open-at"];
/// Calls that end in a directory, which may be another than that which they begin in.
const MOVES: &[&str] = &["path_rename", "path_link", "[method]descriptor.rename-at", "[method]descriptor.link-at"];

/// What all runs used together.
pub(super) fn observe(origin: &str, header: Vec<String>, policy: &Policy, runs: &[Run]) -> Observed {
    let mut all: BTreeMap<Sign, Sightings> = BTreeMap::new();
    let mut opens = vec![Opens::default(); policy.dirs.len()];
    for run in runs {
        for (sign, (at, position)) in of_run(policy, run, &mut opens) {
            let sightings = all.entry(sign).or_insert(Sightings { runs: 0, first: at, last: at, position });
            sightings.runs += 1;
            sightings.first = sightings.first.min(at);
            sightings.last = sightings.last.max(at);
        }
    }
    let seen = |sign: &Sign| all.get(sign).map(|found| found.seen(origin));
    let dirs = opens.into_iter().enumerate().map(|(i, opens)| DirUse {
        used: seen(&Sign::Dir(i)),
        written: seen(&Sign::Written(i)),
        unclear: seen(&Sign::Unclear(i)),
        opens,
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

/// What one run used, and the first call that shows it. Its opens are counted with those of the others, by directory.
fn of_run(policy: &Policy, run: &Run, opens: &mut [Opens]) -> BTreeMap<Sign, (u64, Position)> {
    let mut found = BTreeMap::new();
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
        if IDLE.contains(&function) {
            continue;
        }
        note(Sign::Dir(dir));
        if WRITES.contains(&function) {
            changed(policy, dir, Sign::Written, &mut note);
        }
        if OPENS.contains(&function) {
            let changes = made.record.opened_with().map(OpenFlags::changes);
            if let Some(opens) = opens.get_mut(dir) {
                opens.all = opens.all.saturating_add(1);
                opens.to_read = opens.to_read.saturating_add(u64::from(changes == Some(false)));
            }
            match changes {
                // One that failed asked for it all the same: for reading only, it would have been refused in place of failing.
                Some(true) => changed(policy, dir, Sign::Written, &mut note),
                Some(false) => {}
                None => changed(policy, dir, Sign::Unclear, &mut note),
            }
        }
        if MOVES.contains(&function) {
            match made.record.rule_to().map(|rule| usize::from(rule).checked_sub(1)) {
                Some(Some(to)) => changed(policy, to, Sign::Written, &mut note),
                // It ended nowhere that is granted, and so came to nothing.
                Some(None) if made.record.outcome != Outcome::Ok => {}
                Some(None) | None => {
                    (0..policy.dirs.len()).filter(|to| *to != dir).for_each(|to| changed(policy, to, Sign::Unclear, &mut note))
                }
            }
        }
    }
    found
}

/// Something in a directory was changed, or may have been. One that is granted for reading only was not, whatever was tried: what is learned is never more
/// than was granted.
fn changed(policy: &Policy, dir: usize, how: fn(usize) -> Sign, note: &mut impl FnMut(Sign)) {
    if policy.dirs.get(dir).is_some_and(|dir| dir.access == Access::ReadWrite) {
        // What something was moved to was used by that.
        note(Sign::Dir(dir));
        note(how(dir));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use edgeguard_audit::Record;
    use edgeguard_audit::call_id;
    use edgeguard_audit::rule_to_number;
    use proptest::prelude::*;

    use super::super::runs::Made;
    use super::*;

    const PREVIEW1: &str = "wasi_snapshot_preview1";
    const FILES: &str = "wasi:filesystem/types";

    /// A policy with these directories, numbered from 0.
    fn policy(access: &[Access]) -> Policy {
        let text = text(access);
        edgeguard_policy::parse("m.toml", &text).unwrap_or_else(|found| panic!("{found}\n{text}"))
    }

    fn text(access: &[Access]) -> String {
        let mut text = "version = 1\n[module]\nname = \"m\"\npath = \"/m/m.wasm\"\nmode = \"command\"\n[[module.signer]]\nkey = \"/k/k.pub\"\n\n[limits]\nmemory = \"1 MiB\"\ndeadline = \"1 s\"\ninstances = 1\noutput = \"1 MiB\"\n".to_owned();
        for (i, access) in access.iter().enumerate() {
            let word = if *access == Access::Read { "read" } else { "read-write" };
            text.push_str(&format!("[[dir]]\nguest = \"/d{i}\"\nhost = \"/srv/d{i}\"\naccess = \"{word}\"\n"));
        }
        text
    }

    /// A call on the directory with this number, or on what was opened there.
    fn made(interface: &str, function: &str, dir: usize, n_in: u32, n_out: u32, outcome: Outcome) -> Made {
        let call = call_id(interface, function).unwrap();
        let rule = u16::try_from(dir + 1).unwrap();
        let record = Record { time_ns: 0, call, outcome, flags: 0, errno: 0, rule, handle: 9, took_ns: 0, n_in, n_out };
        let position = Position { epoch: 0, frame: 1, index: 0 };
        Made { position, real: 0, record, text: None, policy: String::new(), module: String::new() }
    }

    fn open(dir: usize, flags: OpenFlags) -> Made {
        made(PREVIEW1, "path_open", dir, flags.to_number(), 0, Outcome::Ok)
    }

    /// What is learned for each directory: nothing if it is taken away.
    fn learned(policy: &Policy, runs: Vec<Vec<Made>>) -> Vec<Option<Access>> {
        let runs: Vec<Run> = runs.into_iter().map(Run::of).collect();
        let observed = observe("o", Vec::new(), policy, &runs);
        let granted: Vec<Access> = policy.dirs.iter().map(|dir| dir.access).collect();
        let text = edgeguard_policy::learn::learn(policy, "m.toml", &text(&granted), &observed).unwrap();
        let after = edgeguard_policy::parse("m.toml", &text).unwrap();
        policy.dirs.iter().map(|dir| after.dirs.iter().find(|other| other.guest == dir.guest).map(|dir| dir.access)).collect()
    }

    const WRITABLE: [Access; 2] = [Access::ReadWrite; 2];

    #[test]
    fn a_directory_whose_every_open_only_reads_is_for_reading() {
        let policy = policy(&WRITABLE);
        let reads = || vec![open(0, OpenFlags::READ), open(0, OpenFlags::DIRECTORY), made(PREVIEW1, "fd_read", 0, 0, 5, Outcome::Ok)];
        assert_eq!(learned(&policy, vec![reads(), reads()]), [Some(Access::Read), None]);
        let runs = [Run::of(reads()), Run::of(reads())];
        assert_eq!(observe("o", Vec::new(), &policy, &runs).dirs[0].opens, Opens { all: 4, to_read: 4 });
        for flag in [OpenFlags::WRITE, OpenFlags::CREATE, OpenFlags::TRUNCATE, OpenFlags::APPEND] {
            let mut once = reads();
            once.push(open(0, OpenFlags::READ.with(flag, true)));
            assert_eq!(learned(&policy, vec![reads(), once]), [Some(Access::ReadWrite), None], "{flag:?}");
        }
    }

    #[test]
    fn a_record_that_does_not_say_keeps_what_was_granted() {
        let policy = policy(&WRITABLE);
        let old = made(PREVIEW1, "path_open", 0, 0, 0, Outcome::Ok);
        let read = made(PREVIEW1, "fd_read", 0, 0, 5, Outcome::Ok);
        assert_eq!(learned(&policy, vec![vec![old, read]]), [Some(Access::ReadWrite), None]);
        let of_a_later_release = made(FILES, "[method]descriptor.open-at", 0, 1 << 31 | 1 << 9, 0, Outcome::Ok);
        assert_eq!(learned(&policy, vec![vec![of_a_later_release]]), [Some(Access::ReadWrite), None]);
        // It began in the first, and may have ended in the second.
        let old = made(PREVIEW1, "path_rename", 0, 0, 0, Outcome::Ok);
        assert_eq!(learned(&policy, vec![vec![old]]), [Some(Access::ReadWrite); 2]);
    }

    #[test]
    fn what_a_rename_or_a_link_ends_in_is_written_and_nothing_else_is() {
        let policy = policy(&[Access::ReadWrite; 3]);
        for (interface, function) in [(PREVIEW1, "path_rename"), (PREVIEW1, "path_link"), (FILES, "[method]descriptor.rename-at")] {
            let moved = made(interface, function, 0, 0, rule_to_number(2), Outcome::Ok);
            assert_eq!(learned(&policy, vec![vec![moved]]), [Some(Access::ReadWrite), Some(Access::ReadWrite), None], "{function}");
        }
        let nowhere = made(PREVIEW1, "path_rename", 0, 0, rule_to_number(0), Outcome::Error);
        assert_eq!(learned(&policy, vec![vec![nowhere]]), [Some(Access::ReadWrite), None, None]);
        // That cannot be, so nothing is concluded from it.
        let somewhere = made(PREVIEW1, "path_rename", 0, 0, rule_to_number(0), Outcome::Ok);
        assert_eq!(learned(&policy, vec![vec![somewhere]]), [Some(Access::ReadWrite); 3]);
    }

    #[test]
    fn nothing_that_was_tried_makes_a_grant_wider() {
        let policy = policy(&[Access::Read, Access::ReadWrite]);
        let tried = vec![
            made(PREVIEW1, "fd_write", 0, 0, 0, Outcome::Error),
            made(PREVIEW1, "path_open", 0, OpenFlags::WRITE.to_number(), 0, Outcome::Limit),
            made(PREVIEW1, "path_rename", 1, 0, rule_to_number(1), Outcome::Error),
        ];
        assert_eq!(learned(&policy, vec![tried]), [Some(Access::Read), Some(Access::ReadWrite)]);
    }

    /// What a call needs: in which directory, and whether to write there.
    type Need = (usize, Access);

    /// Any call on one of three directories, with what it needs, told by its name and flags alone.
    fn call() -> impl Strategy<Value = (Made, Vec<Need>)> {
        let reads = ["fd_read", "fd_pread", "fd_readdir", "fd_seek", "path_filestat_get", "path_readlink"];
        let writes = ["fd_write", "fd_pwrite", "fd_allocate", "path_create_directory", "path_unlink_file", "path_symlink"];
        let outcome = prop::sample::select(vec![Outcome::Ok, Outcome::Ok, Outcome::Error, Outcome::Denied, Outcome::Limit]);
        let form = prop::sample::select(vec![(PREVIEW1, "path_open"), (FILES, "[method]descriptor.open-at")]);
        let moves = prop::sample::select(vec!["path_rename", "path_link"]);
        let kind = prop_oneof![
            prop::sample::select(reads.to_vec()).prop_map(|name| (PREVIEW1, name, 0, 0, vec![])),
            prop::sample::select(writes.to_vec()).prop_map(|name| (PREVIEW1, name, 3, 0, vec![None])),
            (form.clone(), 0u32..256).prop_map(|((interface, name), bits)| {
                // 2, 4, 8 and 64: write, create, truncate, append.
                let needs = if bits & 0b100_1110 == 0 { vec![] } else { vec![None] };
                (interface, name, 1 << 31 | bits, 0, needs)
            }),
            form.prop_map(|(interface, name)| (interface, name, 0, 0, vec![None])),
            (moves, 0usize..3).prop_map(|(name, to)| (PREVIEW1, name, 0, 1 << 31 | (to as u32 + 1), vec![None, Some(to)])),
        ];
        (0usize..3, kind, outcome).prop_map(|(dir, (interface, name, n_in, n_out, writes), outcome)| {
            let mut needs = vec![(dir, Access::Read)];
            needs.extend(writes.into_iter().map(|to| (to.unwrap_or(dir), Access::ReadWrite)));
            if outcome == Outcome::Denied {
                needs.clear();
            }
            (made(interface, name, dir, n_in, n_out, outcome), needs)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_learned_covers_what_was_used_and_is_never_more_than_was_granted(
            runs in prop::collection::vec(prop::collection::vec(call(), 0..6), 1..4),
            writable in prop::collection::vec(any::<bool>(), 3),
        ) {
            let granted: Vec<Access> = writable.iter().map(|writable| if *writable { Access::ReadWrite } else { Access::Read }).collect();
            let needs: Vec<Need> = runs.iter().flatten().flat_map(|(_, needs)| needs.clone()).collect();
            let calls = runs.iter().map(|run| run.iter().map(|(made, _)| made.clone()).collect()).collect();
            let after = learned(&policy(&granted), calls);
            for (dir, access) in needs {
                // Writing where only reading is granted came to nothing, so there is nothing to cover.
                let writes = access == Access::ReadWrite;
                if writes && granted[dir] == Access::Read {
                    continue;
                }
                prop_assert!(after[dir].is_some_and(|found| !writes || found == Access::ReadWrite), "{dir} {access:?}: {after:?}");
            }
            for (found, granted) in after.iter().zip(&granted) {
                prop_assert!(*found != Some(Access::ReadWrite) || *granted == Access::ReadWrite);
            }
        }
    }
}
