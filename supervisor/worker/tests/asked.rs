//! What records say that is no size: with which flags something is opened, and where a rename or a link ends. Core modules and components alike.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::Native;
use common::Plan;
use common::Run;
use common::Seen;
use common::in_both_forms;
use edgeguard_audit::MAX_TEXT;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_audit::TRUNCATED;
use edgeguard_sandbox::Access;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Outcome;

const IMPORTS: &str = r#"
(import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_rename" (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_link" (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))"#;

/// A guest with one-letter names at 97 to 122, and what `path` says at 1000, in both forms.
fn guests(path: &str, start: &str) -> [(Native, bool); 2] {
    let letters: String = ('a'..='z').collect();
    let text = format!(
        r#"(module {IMPORTS} (memory (export "memory") 1) (data (i32.const 97) "{letters}") (data (i32.const 1000) "{path}")
           (func (export "_start") {start}))"#
    );
    in_both_forms(&text)
}

/// Opens the file of this letter below the first directory.
fn open(name: char, oflags: u8, rights: u8, fdflags: u8) -> String {
    format!(
        "(drop (call $path_open (i32.const 3) (i32.const 0) (i32.const {}) (i32.const 1) (i32.const {oflags}) (i64.const {rights}) (i64.const 0) (i32.const {fdflags}) (i32.const 8)))",
        name as u32
    )
}

fn rename(from: (u8, char), to: (u8, char)) -> String {
    let ((dir, name), (to_dir, to_name)) = (from, to);
    format!(
        "(drop (call $path_rename (i32.const {dir}) (i32.const {}) (i32.const 1) (i32.const {to_dir}) (i32.const {}) (i32.const 1)))",
        name as u32, to_name as u32
    )
}

fn link(from: (u8, char), to: (u8, char)) -> String {
    let ((dir, name), (to_dir, to_name)) = (from, to);
    format!(
        "(drop (call $path_link (i32.const {dir}) (i32.const 0) (i32.const {}) (i32.const 1) (i32.const {to_dir}) (i32.const {}) (i32.const 1)))",
        name as u32, to_name as u32
    )
}

fn opens(run: &Run, component: bool) -> Vec<&Seen> {
    run.calls(if component { "[method]descriptor.open-at" } else { "path_open" })
}

fn flags(seen: &Seen) -> Vec<&'static str> {
    seen.record.opened_with().unwrap().names().collect()
}

#[test]
fn an_open_says_with_which_flags_however_it_ends() {
    let start = [
        open('a', 0, 2, 0),
        open('a', 0, 64, 0),
        open('n', 9, 66, 0),
        open('x', 5, 64, 1),
        open('d', 2, 2, 0),
        open('a', 5, 64, 0), // it is there
        open('m', 0, 2, 0),  // it is not
        open('d', 0, 0, 0),
    ]
    .concat();
    for (native, component) in guests("", &start) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "content").unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).start().run();
        assert_eq!(run.outcome(), &Outcome::Exited(0));
        let found: Vec<(Recorded, Vec<&str>)> = opens(&run, component).iter().map(|seen| (seen.record.outcome, flags(seen))).collect();
        let append = if component { vec!["write", "create", "exclusive"] } else { vec!["write", "create", "exclusive", "append"] };
        let expected = [
            (Recorded::Ok, vec!["read"]),
            (Recorded::Ok, vec!["write"]),
            (Recorded::Ok, vec!["read", "write", "create", "truncate"]),
            (Recorded::Ok, append),
            (Recorded::Ok, vec!["read", "directory"]),
            (Recorded::Error, vec!["write", "create", "exclusive"]),
            (Recorded::Error, vec!["read"]),
            (Recorded::Ok, vec![]),
        ];
        assert_eq!(found, expected, "component: {component}");
    }
}

#[test]
fn an_open_that_is_refused_or_stopped_says_with_which_flags_too() {
    for (native, component) in guests("", &open('n', 9, 64, 0)) {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = Plan::new(native).dir(dir.path(), "/data", Access::Read).start();
        let run = worker.run();
        let opened = opens(&run, component);
        assert_eq!((opened[0].record.outcome, flags(opened[0])), (Recorded::Denied, vec!["write", "create", "truncate"]));
    }
    for (native, component) in guests("", &open('n', 9, 64, 0)) {
        let dir = tempfile::tempdir().unwrap();
        let run = Plan::new(native).limits(|limits| limits.open_files = 0).dir(dir.path(), "/data", Access::ReadWrite).start().run();
        assert_eq!(run.outcome(), &Outcome::Limit(Limit::OpenFiles));
        let opened = opens(&run, component);
        assert_eq!((opened[0].record.outcome, flags(opened[0])), (Recorded::Limit, vec!["write", "create", "truncate"]));
    }
}

#[test]
fn what_an_open_says_is_what_the_kernel_does() {
    // Each combination of flags on a file that is there: what a record calls harmless changes nothing and gives nothing that can.
    for oflags in [0, 1, 8, 9] {
        for rights in [2, 64, 66] {
            for (native, component) in guests("", &open('a', oflags, rights, 0)) {
                let dir = tempfile::tempdir().unwrap();
                fs::write(dir.path().join("a"), "content").unwrap();
                let run = Plan::new(native).dir(dir.path(), "/data", Access::Read).start().run();
                let record = &opens(&run, component)[0].record;
                let refused = record.outcome == Recorded::Denied;
                assert_eq!(record.opened_with().unwrap().changes(), refused, "oflags {oflags}, rights {rights}, component: {component}");
            }
        }
    }
}

#[test]
fn a_rename_and_a_link_say_where_they_end_also_when_they_fail() {
    let start = [
        rename((3, 'a'), (3, 'b')),
        rename((3, 'b'), (4, 'c')), // from one grant to another, which the kernel's rules do not let through
        rename((3, 'm'), (4, 'n')), // it is not there
        rename((3, 'b'), (5, 'c')), // for reading only
        link((3, 'b'), (3, 'd')),
        link((3, 'b'), (4, 'd')),
        link((4, 'm'), (3, 'n')),
    ]
    .concat();
    for (native, component) in guests("", &start) {
        let place = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|name| place.path().join(name));
        for dir in [&one, &two, &three] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(one.join("a"), "content").unwrap();
        let plan = Plan::new(native).dir(&one, "/one", Access::ReadWrite).dir(&two, "/two", Access::ReadWrite);
        let run = plan.dir(&three, "/three", Access::Read).start().run();
        assert_eq!(run.outcome(), &Outcome::Exited(0));
        let [renames, links] =
            if component { ["[method]descriptor.rename-at", "[method]descriptor.link-at"] } else { ["path_rename", "path_link"] };
        let of = |call: &str| -> Vec<(u16, Option<u16>, Recorded)> {
            run.calls(call).iter().map(|seen| (seen.record.rule, seen.record.rule_to(), seen.record.outcome)).collect()
        };
        let expected =
            [(1, Some(1), Recorded::Ok), (1, Some(2), Recorded::Error), (1, Some(2), Recorded::Error), (1, Some(3), Recorded::Denied)];
        assert_eq!(of(renames), expected, "component: {component}");
        let expected = [(1, Some(1), Recorded::Ok), (1, Some(2), Recorded::Error), (2, Some(1), Recorded::Error)];
        assert_eq!(of(links), expected, "component: {component}");
        assert_eq!(run.calls(renames)[0].text.as_deref(), Some("a\0b"));
        assert!(one.join("d").exists() && !two.join("c").exists());
    }
}

#[test]
fn a_rename_to_something_that_is_no_directory_of_the_policy_says_so() {
    let [(native, _), _] = guests("", &[rename((3, 'a'), (77, 'b')), rename((3, 'a'), (1, 'b'))].concat());
    let dir = tempfile::tempdir().unwrap();
    let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).start().run();
    let found: Vec<Option<u16>> = run.calls("path_rename").iter().map(|seen| seen.record.rule_to()).collect();
    assert_eq!(found, [Some(0), Some(0)]);
}

#[test]
fn a_long_path_is_recorded_whole_and_one_that_is_cut_says_so_in_both_forms() {
    // As long as a record takes, and one byte more: both are far beyond what a file system takes for one name, and so is what they name.
    for (len, cut) in [(1025, false), (3000, false), (MAX_TEXT, false), (MAX_TEXT + 1, true), (9000, true)] {
        let path: String = "./".chars().cycle().take(len - 1).chain(['x']).collect();
        let start = format!("(drop (call $path_create_directory (i32.const 3) (i32.const 1000) (i32.const {len})))");
        for (native, component) in guests(&path, &start) {
            let dir = tempfile::tempdir().unwrap();
            let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).start().run();
            let made = run.calls(if component { "[method]descriptor.create-directory-at" } else { "path_create_directory" })[0];
            let text = made.text.as_deref().unwrap();
            assert!(text.len() == len.min(MAX_TEXT) && path.starts_with(text), "{len}, component: {component}: {}", text.len());
            assert_eq!(made.record.flags & TRUNCATED != 0, cut, "{len}, component: {component}");
        }
    }
}

#[test]
fn a_path_with_odd_characters_is_recorded_as_it_is_in_both_forms() {
    // As the text form of modules escapes bytes.
    let path = r"a\22b\5cc\0a\09\1b[2J";
    let start = "(drop (call $path_create_directory (i32.const 3) (i32.const 1000) (i32.const 11)))";
    for (native, component) in guests(path, start) {
        let dir = tempfile::tempdir().unwrap();
        let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).start().run();
        let made = run.calls(if component { "[method]descriptor.create-directory-at" } else { "path_create_directory" })[0];
        assert_eq!(made.text.as_deref(), Some("a\"b\\c\n\t\u{1b}[2J"), "component: {component}");
    }
}
