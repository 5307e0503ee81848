//! Models of people who mean harm, and what the kernel says of a host meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;
use std::time::Instant;

use common::Host;
use common::Outcome;
use common::Worker;
use common::assignment;
use common::digest;
use common::file_with;
use common::greedy;
use common::tiny;
use edgeguard_wire::graph::Load;
use edgeguard_wire::language::Bounds;

/// The longest that a model of some kilobytes may keep a host busy.
const BUDGET: Duration = Duration::from_secs(20);

fn serving(load: &Load) -> Host {
    let model = tiny::model();
    let host = Host::start();
    host.load(file_with(&model).as_fd(), &Load { sha256: digest(&model), ..load.clone() });
    match host.go() {
        Outcome::Loaded(_) => host,
        other => panic!("refused: {other:?}; log: {}", host.log_so_far()),
    }
}

fn outcome(model: &[u8], sha256: [u8; 32]) -> (Host, Outcome) {
    let host = Host::start();
    let load = Load { language: Some(Bounds { context: 64, contexts: 1 }), ..assignment(sha256) };
    host.load(file_with(model).as_fd(), &load);
    let outcome = host.go();
    (host, outcome)
}

fn answers(worker: &mut Worker, context: u32) -> Vec<Vec<u8>> {
    worker.answer(context, "abc", 4).0
}

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound
    }
}

/// One of the ways to spoil a model: bytes flipped, a length set to something absurd, an end cut off, pieces swapped.
fn spoiled(mut model: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    // All lengths, counts and types stand before the weights, in the first part of the file.
    let header = 12 * 1024;
    match seed % 4 {
        0 => {
            for _ in 0..=dice.below(8) {
                let at = dice.below(header);
                model[at] ^= 1 << dice.below(8);
            }
        }
        1 => {
            let value = [0, 1, 0x7fff_ffff, u64::from(u32::MAX), 1 << 40, i64::MAX as u64, u64::MAX][dice.below(7)];
            let at = 8 + dice.below(header);
            model[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        2 => model.truncate(dice.below(model.len())),
        _ => {
            let len = 1 + dice.below(512);
            let (from, to) = (dice.below(header - len), dice.below(header - len));
            let piece = model[from..from + len].to_vec();
            model[to..to + len].copy_from_slice(&piece);
        }
    }
    model
}

#[test]
fn two_hundred_spoiled_models_are_refused_or_end_their_host_and_nobody_else_notices() {
    let neighbour = serving(&Load { language: Some(Bounds { context: 64, contexts: 1 }), ..assignment([0; 32]) });
    let mut worker = neighbour.worker();
    let context = worker.open(&greedy(64)).unwrap();
    let expected = answers(&mut worker, context);
    let (mut loaded, mut failed, mut gone) = (0, 0, 0);
    for seed in 0..200 {
        let model = spoiled(tiny::model(), seed);
        let begun = Instant::now();
        let (host, outcome) = outcome(&model, digest(&model));
        assert!(begun.elapsed() < BUDGET, "seed {seed} takes {:?}", begun.elapsed());
        match outcome {
            Outcome::Loaded(_) => {
                // What was spoiled did not matter to the engine: then it answers, or ends.
                loaded += 1;
                let mut worker = host.worker();
                let opened = worker.try_ask(edgeguard_wire::language::Request::Open(greedy(32)));
                assert!(opened.is_ok() || begun.elapsed() < BUDGET, "seed {seed}");
            }
            Outcome::Failed(reason) => {
                failed += 1;
                assert!(!reason.is_empty() && reason.chars().all(|c| !c.is_control()), "seed {seed}: {reason:?}");
            }
            Outcome::Gone => {
                gone += 1;
                let (status, log) = host.end();
                // 31, `SIGSYS`, would mean that a call was tried which the tables do not have: the engine has no business with any.
                assert_ne!(status.signal(), Some(31), "seed {seed}: {log}");
            }
        }
        if seed % 20 == 0 {
            assert_eq!(answers(&mut worker, context), expected, "the neighbour is disturbed after seed {seed}");
        }
    }
    println!("{loaded} loaded all the same, {failed} refused, {gone} ended their host");
    assert!(failed > 100, "most are refused by name: {failed}");
}

#[test]
fn refusals_say_what_was_expected() {
    let model = tiny::model();
    let reason = |model: &[u8], sha256| match outcome(model, sha256).1 {
        Outcome::Failed(reason) => reason,
        other => panic!("expected a refusal, found {other:?}"),
    };
    assert!(reason(&model, [7; 32]).starts_with("model digest differs from the policy: expected sha256 `0707"));
    assert_eq!(reason(b"", digest(b"")), "expected a model of 1 to 68719476736 bytes, found 0");
    let onnx = b"\x08\x07\x12\x07pytorch";
    assert!(reason(onnx, digest(onnx)).contains("at byte 4: the magic number is"));
    // A whole file of an architecture that there is not: the engine's own words.
    let at = model.windows(5).position(|window| window == b"llama").unwrap();
    let mut other = model.clone();
    other[at..at + 5].copy_from_slice(b"lemma");
    assert!(reason(&other, digest(&other)).contains("llama.cpp refuses the model: "), "{}", reason(&other, digest(&other)));
}

#[test]
fn a_host_is_confined_before_it_reads_its_model_and_stays_so() {
    let model = tiny::model();
    let host = Host::start();
    let load = Load { computes: 2, threads: 2, language: Some(Bounds { context: 64, contexts: 3 }), ..assignment(digest(&model)) };
    let report = host.load(file_with(&model).as_fd(), &load);
    let before = edgeguard_sandbox::inspect(host.child.pid()).unwrap();
    assert!(before.no_new_privs);
    assert_eq!(before.seccomp_mode, 2);
    // The main thread, two that serve, and those that compute beside the one that asks: as many as the policy says, or as there are processors.
    let processors = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    let expected = 3 + 4.min(processors).max(2) - 1;
    assert_eq!((before.threads, report.threads), (expected, expected));
    assert_eq!(report.granted, 0);
    assert!(report.landlock_abi >= 1 && report.no_new_privs && !report.dumpable, "{report:?}");
    let Outcome::Loaded(_) = host.go() else { panic!("refused") };
    let mut worker = host.worker();
    for _ in 0..3 {
        let context = worker.open(&greedy(64)).unwrap();
        answers(&mut worker, context);
    }
    let serving = edgeguard_sandbox::inspect(host.child.pid()).unwrap();
    assert_eq!((serving.threads, serving.seccomp_mode), (before.threads, 2), "no thread starts after the lock");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", host.child.pid())).unwrap_or_default();
    if maps.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to look at the memory of a child");
        eprintln!("skipped: the memory of an undumpable child is root's to see");
        return;
    }
    for line in maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|rights| rights.contains('x'))) {
        assert!(!line.split_whitespace().nth(1).unwrap().contains('w'), "writable and executable: {line}");
        assert!(line.contains('/') || line.contains("[v"), "executable and of no file: {line}");
    }
    let fds = std::fs::read_dir(format!("/proc/{}/fd", host.child.pid())).unwrap();
    let kinds: Vec<_> = fds.map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap().to_string_lossy().into_owned()).collect();
    assert!(
        kinds.iter().all(|kind| ["/dev/null", "anon_inode", "pipe", "socket"].iter().any(|known| kind.starts_with(known))),
        "{kinds:?}"
    );
}

#[test]
fn memory_beyond_the_cap_is_refused_at_load_and_what_is_allowed_is_there_for_all() {
    let with =
        |contexts| Load { memory: Some(96 << 20), language: Some(Bounds { context: 64, contexts }), ..assignment(digest(&tiny::model())) };
    let host = Host::start();
    host.load(file_with(&tiny::model()).as_fd(), &with(256));
    match host.go() {
        Outcome::Failed(reason) => assert!(reason.contains("no memory for 256 contexts of 64 tokens: lower `contexts`"), "{reason}"),
        Outcome::Gone => println!("the engine ended the process: {}", host.log_so_far()),
        Outcome::Loaded(_) => panic!("loaded beyond its cap"),
    }
    let host = serving(&with(4));
    let mut worker = host.worker();
    for _ in 0..4 {
        assert!(worker.open(&greedy(64)).is_ok(), "a context that the policy allows is refused for want of memory");
    }
}

#[test]
fn a_host_that_is_not_the_daemons_child_refuses() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_edgeguard-language")).arg("1").output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.starts_with("cannot confine this process: expected to be a child of process 1"), "{log}");

    let output = std::process::Command::new(env!("CARGO_BIN_EXE_edgeguard-language")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.starts_with(b"usage: edgeguard-language PARENT"));
}
