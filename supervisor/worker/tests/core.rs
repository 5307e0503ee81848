//! Core modules with WASI preview 1, in real processes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd as _;
use std::time::Duration;
use std::time::Instant;

use common::Plan;
use common::compile;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_sandbox::Access;
use edgeguard_wire::worker::Invocation;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Outcome;
use edgeguard_wire::worker::ToWorker;

/// A guest with memory, the given imports, and the given body of `_start`.
fn module(imports: &str, rest: &str, start: &str) -> String {
    format!(r#"(module {imports} (memory (export "memory") 1) {rest} (func (export "_start") {start}))"#)
}

const WRITE: &str = r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
const READ: &str = r#"(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))"#;
const OPEN: &str = r#"(import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"#;
const CLOSE: &str = r#"(import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))"#;
const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
const POLL: &str = r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;

/// Exits with what `$call` returns.
fn exits_with(call: &str) -> String {
    format!("(call $exit {call})")
}

#[test]
fn an_empty_guest_exits_with_zero_and_leaves_no_record() {
    let mut worker = Plan::new(compile(&module("", "", ""))).start();
    let run = worker.run();
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    assert!(run.records.is_empty());
    assert!(run.finished.timing.instantiate_ns > 0);
}

#[test]
fn what_a_guest_writes_arrives_and_is_recorded() {
    let data = r#"(data (i32.const 0) "\10\00\00\00\06\00\00\00") (data (i32.const 16) "hello\n")"#;
    let start = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) \
                 (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let mut worker = Plan::new(compile(&module(WRITE, data, start))).start();
    for _ in 0..3 {
        let run = worker.run();
        assert_eq!(run.outcome(), &Outcome::Exited(0));
        assert_eq!((run.output.as_slice(), run.error.as_slice()), (b"hello\n".as_slice(), b"hello\n".as_slice()));
        let writes = run.calls("fd_write");
        assert_eq!(writes.len(), 2);
        assert_eq!(writes.iter().map(|seen| seen.record.handle).collect::<Vec<_>>(), [1, 2]);
        assert!(writes.iter().all(|seen| seen.record.n_in == 6 && seen.record.outcome == Recorded::Ok && seen.record.took_ns > 0));
    }
}

#[test]
fn standard_input_is_read_to_its_end() {
    // Echoes until the end of input.
    let data = r#"(data (i32.const 0) "\00\01\00\00\00\10\00\00")"#;
    let start = "(loop $again \
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))) \
        (if (i32.load (i32.const 8)) (then \
            (i32.store (i32.const 16) (i32.const 256)) (i32.store (i32.const 20) (i32.load (i32.const 8))) \
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 12))) (br $again))))";
    let mut worker = Plan::new(compile(&module(&format!("{WRITE}{READ}"), data, start))).start();
    let input: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let run = worker.run_with(&input);
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    assert_eq!(run.output, input);
    let read: u64 = run.calls("fd_read").iter().map(|seen| u64::from(seen.record.n_out)).sum();
    assert_eq!(read, 300_000);
}

#[test]
fn an_exit_code_is_an_outcome() {
    for code in [0, 1, 42, 125, 126, 255, -1] {
        let mut worker = Plan::new(compile(&module(EXIT, "", &format!("(call $exit (i32.const {code}))")))).start();
        let run = worker.run();
        assert_eq!(run.outcome(), &Outcome::Exited(code));
        assert_eq!(run.calls("proc_exit").len(), 1);
    }
}

#[test]
fn traps_are_outcomes_and_the_next_invocation_is_fresh() {
    let cases = [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const 0x7fffffff)))", "out of bounds memory access"),
        ("(drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))", "integer divide by zero"),
        ("(call $deep)", "call stack exhausted"),
    ];
    for (start, expected) in cases {
        let rest = "(global $n (mut i32) (i32.const 0)) (func $deep (call $deep) (global.set $n (i32.const 1)))";
        let mut worker = Plan::new(compile(&module("", rest, start))).start();
        for _ in 0..2 {
            let run = worker.run();
            let Outcome::Trapped(text) = run.outcome() else { panic!("{start}: {:?}", run.outcome()) };
            assert!(text.contains(expected), "{start}: {text}");
        }
    }
}

#[test]
fn a_trap_in_the_start_function_is_an_outcome() {
    let text = r#"(module (func $init unreachable) (start $init) (func (export "_start")))"#;
    let run = Plan::new(compile(text)).start().run();
    assert!(matches!(run.outcome(), Outcome::Trapped(_)), "{:?}", run.outcome());
}

#[test]
fn memory_beyond_its_limit_ends_the_guest() {
    let grow = "(drop (memory.grow (i32.const 1000)))";
    let mut worker = Plan::new(compile(&module("", "", grow))).start();
    assert_eq!(worker.run().outcome(), &Outcome::Limit(Limit::Memory));

    let large = r#"(module (memory (export "memory") 1000) (func (export "_start")))"#;
    let mut worker = Plan::new(compile(large)).start();
    assert_eq!(worker.run().outcome(), &Outcome::Limit(Limit::Memory));
}

#[test]
fn growing_beyond_the_modules_own_maximum_is_the_guests_own_affair() {
    let text =
        format!(r#"(module {EXIT} (memory (export "memory") 1 2) (func (export "_start") (call $exit (memory.grow (i32.const 5000)))))"#);
    assert_eq!(Plan::new(compile(&text)).start().run().outcome(), &Outcome::Exited(-1));
}

#[test]
fn a_table_beyond_its_limit_ends_the_guest() {
    let text = r#"(module (memory (export "memory") 1) (table $t 1 funcref)
        (func (export "_start") (drop (table.grow $t (ref.null func) (i32.const 100000)))))"#;
    assert_eq!(Plan::new(compile(text)).start().run().outcome(), &Outcome::Limit(Limit::Table));
}

#[test]
fn a_loop_ends_at_the_deadline() {
    let mut worker = Plan::new(compile(&module("", "", "(loop $l (br $l))"))).limits(|l| l.deadline = Duration::from_millis(100)).start();
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(worker.run().outcome(), &Outcome::Limit(Limit::Deadline));
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(95) && took < Duration::from_secs(3), "{took:?}");
    }
}

#[test]
fn a_guest_that_waits_for_input_ends_at_the_deadline() {
    let start = "(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let data = r#"(data (i32.const 0) "\00\01\00\00\00\10\00\00")"#;
    let mut worker = Plan::new(compile(&module(READ, data, start))).limits(|l| l.deadline = Duration::from_millis(100)).start();
    let started = worker.begin();
    let run = worker.end(started);
    assert_eq!(run.outcome(), &Outcome::Limit(Limit::Deadline));
    let reads = run.calls("fd_read");
    assert_eq!((reads.len(), reads[0].record.outcome), (1, Recorded::Limit), "a call that the deadline took away has its record");
}

#[test]
fn a_guest_that_sleeps_ends_at_the_deadline() {
    // One relative clock subscription of an hour.
    let data = r#"(data (i32.const 24) "\00\00\c1\6f\f2\86\23\00")"#;
    let start = "(drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))";
    let mut worker = Plan::new(compile(&module(POLL, data, start))).limits(|l| l.deadline = Duration::from_millis(100)).start();
    let began = Instant::now();
    assert_eq!(worker.run().outcome(), &Outcome::Limit(Limit::Deadline));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_sleep_sleeps_and_says_so() {
    // Ten milliseconds, userdata 7; exits with count * 100 + type * 10 + userdata.
    let data = r#"(data (i32.const 0) "\07") (data (i32.const 24) "\80\96\98\00")"#;
    let start = "(drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))) \
        (call $exit (i32.add (i32.mul (i32.load (i32.const 128)) (i32.const 100)) (i32.load8_u (i32.const 64))))";
    let mut worker = Plan::new(compile(&module(&format!("{POLL}{EXIT}"), data, start))).start();
    let began = Instant::now();
    let run = worker.run();
    assert_eq!(run.outcome(), &Outcome::Exited(107));
    assert!(began.elapsed() >= Duration::from_millis(10));
    assert_eq!(run.calls("poll_oneoff")[0].record.n_out, 1);
}

#[test]
fn output_beyond_its_limit_ends_the_guest_after_what_fits() {
    let data = r#"(data (i32.const 0) "\10\00\00\00\00\10\00\00")"#;
    let start = "(loop $l (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $l))";
    let mut worker = Plan::new(compile(&module(WRITE, data, start))).limits(|l| l.output = 10_000).start();
    let run = worker.run();
    assert_eq!(run.outcome(), &Outcome::Limit(Limit::Output));
    assert_eq!(run.output.len(), 10_000);
    assert_eq!(run.calls("fd_write").last().unwrap().record.outcome, Recorded::Limit);
}

#[test]
fn a_closed_output_is_an_error_for_the_guest_and_nothing_else() {
    let data = r#"(data (i32.const 0) "\10\00\00\00\06\00\00\00")"#;
    let start = exits_with("(call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))");
    let mut worker = Plan::new(compile(&module(&format!("{WRITE}{EXIT}"), data, &start))).start();
    let mut started = worker.begin_without_reader();
    drop(started.input.take());
    let run = worker.end(started);
    assert!(matches!(run.outcome(), Outcome::Exited(code) if *code != 0), "{:?}", run.outcome());
}

/// Opens `path` of `len` bytes below descriptor 3 and exits with the errno.
fn opens(path: &str, flags: &str) -> String {
    let data = format!(r#"(data (i32.const 100) "{path}")"#);
    let len = path.len();
    let call = format!(
        "(call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const {len}) (i32.const {flags}) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))"
    );
    module(&format!("{OPEN}{EXIT}"), &data, &exits_with(&call))
}

#[test]
fn a_granted_file_is_read_and_its_record_names_rule_and_path() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in.txt"), "content").unwrap();
    let start = "(drop (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 6) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))) \
        (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 64)) \
        (drop (call $read (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 12))) \
        (i32.store (i32.const 4) (i32.load (i32.const 12))) \
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) \
        (drop (call $close (i32.load (i32.const 8))))";
    let text = module(&format!("{OPEN}{READ}{WRITE}{CLOSE}"), r#"(data (i32.const 100) "in.txt")"#, start);
    let mut worker = Plan::new(compile(&text)).dir(dir.path(), "/data", Access::Read).start();
    let run = worker.run();
    assert_eq!((run.outcome(), run.output.as_slice()), (&Outcome::Exited(0), b"content".as_slice()));
    let open = run.calls("path_open")[0];
    assert_eq!((open.text.as_deref(), open.record.rule, open.record.handle, open.record.outcome), (Some("in.txt"), 1, 4, Recorded::Ok));
    assert_eq!((run.calls("fd_read")[0].record.rule, run.calls("fd_read")[0].record.n_out), (1, 7));
    assert_eq!(run.calls("fd_close")[0].record.rule, 1);
}

#[test]
fn a_path_outside_the_grant_is_denied_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["../outside", "/etc/hostname", "a/../../outside"] {
        let mut worker = Plan::new(compile(&opens(path, "0"))).dir(dir.path(), "/data", Access::Read).start();
        let run = worker.run();
        assert!(matches!(run.outcome(), Outcome::Exited(code) if *code != 0), "{path}: {:?}", run.outcome());
        let open = run.calls("path_open")[0];
        if path != "a/../../outside" {
            assert_eq!(open.record.outcome, Recorded::Denied, "{path}: errno {}", open.record.errno);
        }
        assert_eq!(open.text.as_deref(), Some(path));
    }
}

#[test]
fn a_guest_without_a_directory_is_denied_what_it_asks() {
    let mut worker = Plan::new(compile(&opens("x", "0"))).start();
    let run = worker.run();
    assert_eq!(run.outcome(), &Outcome::Exited(8));
    assert_eq!(run.calls("path_open")[0].record.outcome, Recorded::Denied);
}

#[test]
fn a_read_grant_does_not_write() {
    let dir = tempfile::tempdir().unwrap();
    // `oflags` 1 is create, 8 is truncate.
    for flags in ["1", "8", "9"] {
        std::fs::write(dir.path().join("kept"), "kept").unwrap();
        let mut worker =
            Plan::new(compile(&opens(if flags == "1" { "new" } else { "kept" }, flags))).dir(dir.path(), "/data", Access::Read).start();
        let run = worker.run();
        assert!(matches!(run.outcome(), Outcome::Exited(code) if *code != 0));
        assert_eq!(run.calls("path_open")[0].record.outcome, Recorded::Denied);
        assert!(!dir.path().join("new").exists());
        assert_eq!(std::fs::read(dir.path().join("kept")).unwrap(), b"kept");
    }
}

#[test]
fn a_read_write_grant_creates() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = Plan::new(compile(&opens("new", "1"))).dir(dir.path(), "/data", Access::ReadWrite).start();
    assert_eq!(worker.run().outcome(), &Outcome::Exited(0));
    assert!(dir.path().join("new").exists());
}

#[test]
fn open_files_beyond_their_limit_end_the_guest() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "").unwrap();
    let open = "(drop (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))";
    let endless = module(OPEN, r#"(data (i32.const 100) "f")"#, &format!("(loop $l {open} (br $l))"));
    let mut worker = Plan::new(compile(&endless)).dir(dir.path(), "/data", Access::Read).start();
    let run = worker.run();
    assert_eq!(run.outcome(), &Outcome::Limit(Limit::OpenFiles));
    assert_eq!(run.calls("path_open").len(), 9, "eight that fit and the one that does not");

    let closing = module(
        &format!("{OPEN}{CLOSE}"),
        r#"(data (i32.const 100) "f")"#,
        &format!(
            "(local $n i32) (loop $l {open} (drop (call $close (i32.load (i32.const 8)))) (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 100))))"
        ),
    );
    let mut worker = Plan::new(compile(&closing)).dir(dir.path(), "/data", Access::Read).start();
    assert_eq!(worker.run().outcome(), &Outcome::Exited(0));
}

#[test]
fn pointers_and_counts_of_a_guest_never_harm_the_host() {
    let values = ["0", "-1", "0x7fffffff", "0x10000", "0xfffc"];
    // Each call may trap, so each is a guest of its own.
    let import =
        |name: &str, params: &str| format!(r#"(import "wasi_snapshot_preview1" "{name}" (func $f (param {params}) (result i32)))"#);
    let table = [
        ("args_get", "i32 i32"),
        ("clock_time_get", "i32 i64 i32"),
        ("fd_read", "i32 i32 i32 i32"),
        ("fd_write", "i32 i32 i32 i32"),
        ("fd_pread", "i32 i32 i32 i64 i32"),
        ("fd_readdir", "i32 i32 i32 i64 i32"),
        ("fd_prestat_dir_name", "i32 i32 i32"),
        ("fd_renumber", "i32 i32"),
        ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        ("path_symlink", "i32 i32 i32 i32 i32"),
        ("path_filestat_get", "i32 i32 i32 i32 i32"),
        ("poll_oneoff", "i32 i32 i32 i32"),
        ("random_get", "i32 i32"),
        ("sock_recv", "i32 i32 i32 i32 i32 i32"),
    ];
    for (name, params) in table {
        for value in values {
            let args: String = params.split(' ').map(|ty| format!("({ty}.const {value}) ")).collect();
            let mut worker = Plan::new(compile(&module(&import(name, params), "", &format!("(drop (call $f {args}))"))))
                .limits(|limits| limits.deadline = Duration::from_millis(300))
                .start();
            let run = worker.run();
            assert_eq!(run.calls(name).len(), 1, "{name}({value})");
            // And the process is as good as before.
            worker.run();
        }
    }
}

#[test]
fn a_module_without_memory_gets_an_outcome() {
    let text = r#"(module (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32))) (func (export "_start") (drop (call $close (i32.const 0)))))"#;
    let run = Plan::new(compile(text)).start().run();
    assert!(matches!(run.outcome(), Outcome::Trapped(text) if text.contains("memory")), "{:?}", run.outcome());
    assert_eq!(run.calls("fd_close")[0].record.outcome, Recorded::Trapped);
}

#[test]
fn a_module_that_is_no_command_is_refused() {
    for text in ["(module)", r#"(module (func (export "_start") (param i32)))"#, r#"(module (memory (export "_start") 1))"#] {
        let refused = Plan::new(compile(text)).try_start().err().unwrap();
        assert!(refused.contains("_start"), "{refused}");
    }
}

#[test]
fn an_import_that_is_not_wasi_is_refused_by_name() {
    let text = r#"(module (import "env" "system" (func)) (func (export "_start")))"#;
    let refused = Plan::new(compile(text)).try_start().err().unwrap();
    assert!(refused.contains("env") && refused.contains("system"), "{refused}");
}

#[test]
fn arguments_and_environment_reach_the_guest() {
    let imports = r#"(import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env (param i32 i32) (result i32)))"#;
    let start = "(drop (call $args (i32.const 0) (i32.const 4))) (drop (call $env (i32.const 8) (i32.const 12))) \
        (call $exit (i32.add (i32.mul (i32.load (i32.const 0)) (i32.const 10)) (i32.load (i32.const 8))))";
    let mut plan = Plan::new(compile(&module(&format!("{imports}{EXIT}"), "", start)));
    plan.args = vec!["a".into(), "b".into()];
    plan.env = vec![("K".into(), "v".into()); 3];
    assert_eq!(plan.start().run().outcome(), &Outcome::Exited(23));
}

#[test]
fn instances_run_side_by_side_each_on_the_thread_that_was_named() {
    let start = "(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let data = r#"(data (i32.const 0) "\00\01\00\00\00\10\00\00")"#;
    let mut worker = Plan::new(compile(&module(READ, data, start))).limits(|limits| limits.instances = 2).start();
    let one = worker.begin();
    let two = worker.begin();
    let mut one = one;
    drop(one.input.take());
    let first = worker.end(one);
    let mut two = two;
    drop(two.input.take());
    let second = worker.end(two);
    assert_eq!((first.outcome(), second.outcome()), (&Outcome::Exited(0), &Outcome::Exited(0)));
    assert_eq!((first.finished.ring, second.finished.ring), (0, 1));
}

#[test]
fn an_invocation_for_a_thread_that_is_not_there_ends_the_worker() {
    let mut worker = Plan::new(compile(&module("", "", ""))).limits(|limits| limits.instances = 2).start();
    let pipes = [(); 3].map(|()| rustix::pipe::pipe().unwrap());
    let ends = [pipes[0].0.as_fd(), pipes[1].1.as_fd(), pipes[2].1.as_fd()];
    worker.process.control.send(&ToWorker::Invoke(Invocation { id: 1, ring: 2 }), &ends).unwrap();
    assert!(!worker.process.child.wait().unwrap().success());
}

#[test]
fn a_guest_that_calls_without_end_loses_no_record() {
    let import = r#"(import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32)))"#;
    let start = "(local $n i32) (loop $l (drop (call $y)) (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 100000))))";
    let mut worker = Plan::new(compile(&module(import, "", start))).start();
    let run = worker.run();
    assert_eq!(run.outcome(), &Outcome::Exited(0));
    assert_eq!(run.records.len(), 100_000);
}

#[test]
fn the_worker_is_confined_and_says_so() {
    let worker = Plan::new(compile(&module("", "", ""))).start();
    let status = edgeguard_sandbox::inspect(worker.process.child.pid()).unwrap();
    assert!(worker.report.no_new_privs && !worker.report.dumpable && status.no_new_privs);
    assert_eq!(status.seccomp_mode, 2);
    // Main, clock, one guest thread.
    assert_eq!((worker.report.threads, status.threads), (3, 3));
}

/// An operator's mistake: a pipe in a granted directory. Opening it waits for a writer, in the kernel, where no deadline reaches.
#[test]
fn an_invocation_that_hangs_in_the_kernel_takes_its_worker_with_it() {
    let dir = tempfile::tempdir().unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("p"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let mut worker = Plan::new(compile(&opens("p", "0")))
        .dir(dir.path(), "/data", Access::Read)
        .limits(|l| l.deadline = Duration::from_millis(100))
        .start();
    let began = Instant::now();
    let _started = worker.begin();
    let status = worker.process.child.wait().unwrap();
    assert_eq!(status.code(), Some(3));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn clocks_go_in_the_steps_that_the_policy_says_in_both_forms() {
    let guest = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_res_get" (func $resolution (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $whole (param $clock i32)
            (drop (call $time (local.get $clock) (i64.const 0) (i32.const 0)))
            (if (i64.ne (i64.rem_u (i64.load (i32.const 0)) (i64.const 10000000)) (i64.const 0)) (then unreachable))
            (drop (call $resolution (local.get $clock) (i32.const 0)))
            (if (i64.lt_u (i64.load (i32.const 0)) (i64.const 10000000)) (then unreachable)))
        (func (export "_start") (local $i i32)
            (loop $again
                (call $whole (i32.const 0)) (call $whole (i32.const 1))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const 200))))))"#;
    for (native, component) in common::in_both_forms(guest) {
        let run = Plan::new(native).limits(|limits| limits.clock_resolution = Duration::from_millis(10)).start().run();
        assert_eq!(run.outcome(), &Outcome::Exited(0), "component: {component}");
    }
    // Without, they are as fine as the host's.
    for (native, component) in common::in_both_forms(guest) {
        assert!(matches!(Plan::new(native).start().run().outcome(), Outcome::Trapped(_)), "component: {component}");
    }
}
