//! Quotas of directories, in a confined worker: no sequence of calls puts more on the disk, and what is there can be used. Core modules and components alike.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Native;
use common::Plan;
use common::Run;
use common::in_both_forms;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_sandbox::Access;
use edgeguard_wire::worker::Outcome;
use proptest::prelude::*;

const IMPORTS: &str = r#"
(import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_rename" (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_link" (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $fd_filestat_set_size (param i32 i64) (result i32)))
(import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))"#;

/// A guest with one-letter names at 97 to 122, and buffers of `i` * 64 KiB at 200 + 8 * i, in both forms. Its exit code is the last error, or 0.
fn guests(start: &str) -> [(Native, bool); 2] {
    let letters: String = ('a'..='z').collect();
    let buffer = |i: u32| [65536u32.to_le_bytes(), (i * 65536).to_le_bytes()].concat();
    let buffers: String = (0..8).flat_map(buffer).map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module {IMPORTS}
           (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
           (memory (export "memory") 16) (data (i32.const 97) "{letters}") (data (i32.const 200) "{buffers}")
           (global $last (mut i32) (i32.const 0))
           (func $try (param i32) (if (local.get 0) (then (global.set $last (local.get 0)))))
           (func (export "_start") {start} (if (global.get $last) (then (call $proc_exit (global.get $last))))))"#
    );
    in_both_forms(&text)
}

/// One thing that a guest does. Files are opened as the descriptor that they get first: 4, then 5.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Opens the file of this letter to write, and creates it.
    Create(char),
    /// The same, to write behind what is there.
    Append(char),
    /// Opens one that must be there.
    Open(char),
    /// Writes so many times 64 KiB.
    Write(u32, u32),
    /// The same, there.
    WriteAt(u32, u32, u64),
    Size(u32, u64),
    Close(u32),
    Unlink(char),
    Rename(char, char),
    Link(char, char),
    Symlink(char),
    Mkdir(char),
}

use Act::*;

impl Act {
    fn text(self) -> String {
        let open = |name: char, oflags: u8, fdflags: u8| {
            format!(
                "$path_open (i32.const 3) (i32.const 0) (i32.const {}) (i32.const 1) (i32.const {oflags}) (i64.const 66) (i64.const 0) (i32.const {fdflags}) (i32.const 8)",
                name as u32
            )
        };
        let name = |name: char| format!("(i32.const {}) (i32.const 1)", name as u32);
        let call = match self {
            Create(file) => open(file, 1, 0),
            Append(file) => open(file, 1, 1),
            Open(file) => open(file, 0, 0),
            Write(fd, times) => format!("$fd_write (i32.const {fd}) (i32.const {}) (i32.const 1) (i32.const 8)", 200 + 8 * times),
            WriteAt(fd, times, at) => {
                format!("$fd_pwrite (i32.const {fd}) (i32.const {}) (i32.const 1) (i64.const {at}) (i32.const 8)", 200 + 8 * times)
            }
            Size(fd, size) => format!("$fd_filestat_set_size (i32.const {fd}) (i64.const {size})"),
            Close(fd) => format!("$fd_close (i32.const {fd})"),
            Unlink(file) => format!("$path_unlink_file (i32.const 3) {}", name(file)),
            Rename(from, to) => format!("$path_rename (i32.const 3) {} (i32.const 3) {}", name(from), name(to)),
            Link(from, to) => format!("$path_link (i32.const 3) (i32.const 0) {} (i32.const 3) {}", name(from), name(to)),
            Symlink(file) => format!("$path_symlink {} (i32.const 3) {}", name('z'), name(file)),
            Mkdir(file) => format!("$path_create_directory (i32.const 3) {}", name(file)),
        };
        format!("(call $try (call {call}))")
    }
}

fn script(acts: &[Act]) -> String {
    acts.iter().map(|act| act.text()).collect()
}

/// `errno` of preview 1.
const DQUOT: i32 = 19;
const INVAL: i32 = 28;
const XDEV: i32 = 75;

/// How a guest ends whose last error was this one: what turns a core module into a component turns every code but 0 into 1.
fn ended(errno: i32, component: bool) -> Outcome {
    Outcome::Exited(if component { errno.min(1) } else { errno })
}

/// What there is, as `du` counts it: bytes on the disk, and names.
fn du(dir: &Path) -> (u64, u64) {
    let count = |args: &[&str]| {
        let output = Command::new("du").args(args).arg(dir).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    (count(&["-s", "-B", "1"]), count(&["-s", "--inodes", "-l"]) - 1)
}

fn refused(run: &Run, component: bool, core: &str, method: &str) -> usize {
    let (calls, dquot) = if component { (run.calls(method), 29) } else { (run.calls(core), 19) };
    calls.iter().filter(|seen| seen.record.outcome == Recorded::Error && (seen.record.errno == dquot || component)).count()
}

#[test]
fn a_file_grows_up_to_the_quota_and_the_guest_is_told_of_its_end() {
    let acts: Vec<Act> = [Create('a')].into_iter().chain([Write(4, 4); 8]).collect();
    for (native, component) in guests(&script(&acts)) {
        let dir = tempfile::tempdir().unwrap();
        let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).quota(Some(1 << 20), None).start().run();
        assert_eq!(run.outcome(), &ended(DQUOT, component), "component: {component}");
        let (bytes, names) = du(dir.path());
        assert!((512 << 10..=1 << 20).contains(&bytes) && names == 1, "{bytes} bytes, {names} names, component: {component}");
        assert!(refused(&run, component, "fd_write", "[method]output-stream.blocking-write-and-flush") > 0);
    }
}

#[test]
fn no_buffer_is_written_that_was_not_counted() {
    // 1024 empty buffers where the memory is zeros, and behind them one of 256 KiB.
    let start = format!(
        "{}(i32.store (i32.const 139264) (i32.const 65536)) (i32.store (i32.const 139268) (i32.const 262144))
         (call $try (call $fd_write (i32.const 4) (i32.const 131072) (i32.const 1025) (i32.const 8)))",
        script(&[Create('a')])
    );
    let [(native, _), _] = guests(&start);
    let dir = tempfile::tempdir().unwrap();
    let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).quota(Some(64 << 10), None).start().run();
    assert_eq!((run.outcome(), fs::metadata(dir.path().join("a")).unwrap().len()), (&Outcome::Exited(INVAL), 0));
}

#[test]
fn names_of_every_kind_count() {
    for last in [Create('d'), Mkdir('d'), Symlink('d'), Link('a', 'd')] {
        let acts = [Create('a'), Mkdir('b'), Symlink('c'), last];
        for (native, component) in guests(&script(&acts)) {
            let dir = tempfile::tempdir().unwrap();
            let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).quota(None, Some(3)).start().run();
            assert_eq!((run.outcome(), du(dir.path()).1), (&ended(DQUOT, component), 3), "{last:?}, component: {component}");
        }
    }
}

#[test]
fn a_full_directory_can_still_be_worked_in() {
    // What is there is opened though it might have been created, overwritten, renamed, shortened; and what is deleted makes room.
    let acts = [
        Create('a'),
        Write(4, 4),
        Close(4),
        Append('a'),
        Close(4),
        Create('a'),
        Write(4, 4),
        WriteAt(4, 4, 0),
        Size(4, 10),
        Write(4, 1),
        Close(4),
        Rename('a', 'b'),
        Unlink('b'),
        Create('c'),
        Write(4, 4),
    ];
    for (native, component) in guests(&script(&acts)) {
        let dir = tempfile::tempdir().unwrap();
        let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).quota(Some(600 << 10), Some(1)).start().run();
        assert_eq!(run.outcome(), &Outcome::Exited(0), "component: {component}");
    }
}

#[test]
fn what_is_deleted_while_it_is_open_gives_nothing_back_until_it_is_closed() {
    let hold = [Create('a'), Write(4, 7), Unlink('a'), Create('b'), Write(5, 7)];
    let release = [Create('a'), Write(4, 7), Unlink('a'), Close(4), Create('b'), Write(4, 7)];
    for (acts, outcome) in [(&hold[..], DQUOT), (&release[..], 0)] {
        for (native, component) in guests(&script(acts)) {
            let dir = tempfile::tempdir().unwrap();
            let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).quota(Some(700 << 10), None).start().run();
            assert_eq!(run.outcome(), &ended(outcome, component), "{acts:?}, component: {component}");
        }
    }
}

#[test]
fn nothing_goes_between_a_directory_with_a_quota_and_another() {
    // `xdev`: a guest's own `mv` copies then. A link out would be a way to write into the blocks of this one by a name in the other.
    let rename = |from: u32, to: u32| {
        format!(
            "(call $try (call $path_rename (i32.const {from}) (i32.const 97) (i32.const 1) (i32.const {to}) (i32.const 98) (i32.const 1)))"
        )
    };
    let link = |from: u32, to: u32| {
        format!(
            "(call $try (call $path_link (i32.const {from}) (i32.const 0) (i32.const 97) (i32.const 1) (i32.const {to}) (i32.const 98) (i32.const 1)))"
        )
    };
    for start in [rename(4, 3), link(4, 3), rename(3, 4), link(3, 4)] {
        for (native, component) in guests(&start) {
            let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            for place in [dir.path(), other.path()] {
                fs::write(place.join("a"), vec![1; 200 << 10]).unwrap();
            }
            let plan = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).dir(other.path(), "/other", Access::ReadWrite);
            let run = plan.quota(Some(1 << 20), None).start().run();
            assert_eq!(
                (run.outcome(), du(dir.path()).1, du(other.path()).1),
                (&ended(XDEV, component), 1, 1),
                "{start}, component: {component}"
            );
        }
    }
}

#[test]
fn what_lay_there_counts_and_too_much_of_it_only_stops_growth() {
    for (native, component) in guests(&script(&[Open('a'), Close(4), Create('b')])) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), vec![1; 2 << 20]).unwrap();
        let run = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).quota(Some(1 << 20), None).start().run();
        let reads = if component { run.calls("[method]descriptor.open-at") } else { run.calls("path_open") };
        assert_eq!((run.outcome(), reads[0].record.outcome), (&ended(DQUOT, component), Recorded::Ok), "component: {component}");
        assert_eq!(du(dir.path()).1, 1);
    }
}

#[test]
fn all_instances_together_stay_below_it() {
    let acts: Vec<Act> = ('a'..='f').flat_map(|file| [Create(file), Write(4, 7), Close(4)]).collect();
    for (native, component) in guests(&script(&acts)) {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).quota(Some(2 << 20), Some(5));
        let mut worker = plan.limits(|limits| limits.instances = 8).start();
        let started: Vec<_> = (0..8).map(|_| worker.begin()).collect();
        worker.end_all(&started);
        let (bytes, names) = du(dir.path());
        assert!(bytes <= 2 << 20 && names <= 5, "{bytes} bytes, {names} names, component: {component}");
    }
}

fn act() -> impl Strategy<Value = Act> {
    let file = || (b'a'..=b'd').prop_map(char::from);
    let fd = || 4..=6u32;
    prop_oneof![
        file().prop_map(Create),
        file().prop_map(Append),
        file().prop_map(Open),
        (fd(), 0..8u32).prop_map(|(fd, times)| Write(fd, times)),
        (fd(), 0..8u32, 0..4_000_000u64).prop_map(|(fd, times, at)| WriteAt(fd, times, at)),
        (fd(), 0..4_000_000u64).prop_map(|(fd, size)| Size(fd, size)),
        fd().prop_map(Close),
        file().prop_map(Unlink),
        (file(), file()).prop_map(|(from, to)| Rename(from, to)),
        (file(), file()).prop_map(|(from, to)| Link(from, to)),
        file().prop_map(Symlink),
        file().prop_map(Mkdir),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_calls_puts_more_on_the_disk(acts in proptest::collection::vec(act(), 1..60)) {
        for (native, component) in guests(&script(&acts)) {
            let dir = tempfile::tempdir().unwrap();
            let mut worker = Plan::new(native).dir(dir.path(), "/data", Access::ReadWrite).quota(Some(1 << 20), Some(3)).start();
            for _ in 0..3 {
                worker.run();
                let (bytes, names) = du(dir.path());
                prop_assert!(bytes <= 1 << 20 && names <= 3, "{bytes} bytes, {names} names, component: {component}");
            }
        }
    }
}
