//! Every row of every table, against the kernel: what it allows passes, and with any one checked argument changed it does not.
//!
//! Runs in: tests. Each attempt is a process of its own, in which a filter keeps the call from being made (see `sys::trial`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::Sealed;
use edgeguard_sandbox::rules;
use edgeguard_sandbox::rules::Argument;
use edgeguard_sandbox::rules::Condition;
use edgeguard_sandbox::rules::Effect;
use edgeguard_sandbox::rules::Rule;
use edgeguard_sandbox::rules::Table;
use edgeguard_sandbox::sys::trial;
use libtest_mimic::Arguments;
use libtest_mimic::Failed;
use libtest_mimic::Trial;

/// One set of filters that some process of the product loads.
const STAGES: &[(&str, Stage)] = &[
    ("compile_setup", Stage::Setup(Role::Compile)),
    ("worker_setup", Stage::Setup(Role::Worker)),
    ("graph_setup", Stage::Setup(Role::Graph)),
    ("onnxruntime_setup", Stage::Setup(Role::OnnxRuntime)),
    ("language_setup", Stage::Setup(Role::Language)),
    ("torch_setup", Stage::Setup(Role::Torch)),
    ("openvino_setup", Stage::Setup(Role::OpenVino)),
    ("compile_locked", Stage::Locked(Role::Compile, FilesystemUse::None, false)),
    ("worker_locked_without_directories", Stage::Locked(Role::Worker, FilesystemUse::None, false)),
    ("worker_locked_read_only", Stage::Locked(Role::Worker, FilesystemUse::ReadOnly, false)),
    ("worker_locked_read_write", Stage::Locked(Role::Worker, FilesystemUse::ReadWrite, false)),
    ("worker_locked_read_write_own_root", Stage::Locked(Role::Worker, FilesystemUse::ReadWrite, true)),
    ("graph_locked", Stage::Locked(Role::Graph, FilesystemUse::None, false)),
    ("onnxruntime_locked", Stage::Locked(Role::OnnxRuntime, FilesystemUse::None, false)),
    ("language_locked", Stage::Locked(Role::Language, FilesystemUse::None, false)),
    ("torch_locked", Stage::Locked(Role::Torch, FilesystemUse::None, false)),
    ("openvino_loading", Stage::Locked(Role::OpenVino, FilesystemUse::None, false)),
    ("openvino_sealed", Stage::Sealed(Role::OpenVino, Sealed::NoCode)),
    ("openvino_sealed_and_making_code", Stage::Sealed(Role::OpenVino, Sealed::MakesCode)),
    ("exporter_locked", Stage::Exporter),
];

#[derive(Clone, Copy)]
enum Stage {
    Setup(Role),
    Locked(Role, FilesystemUse, bool),
    /// The last filter of a role that makes code.
    Sealed(Role, Sealed),
    /// No child of the daemon, and no stages: one filter, once it has its names and keys.
    Exporter,
}

impl Stage {
    fn tables(self) -> Vec<Table> {
        match self {
            Self::Setup(role) => rules::stage1(role),
            Self::Exporter => rules::exporter(),
            Self::Sealed(role, sealed) => rules::sealed(role, sealed),
            Self::Locked(role, filesystem, own_root) => rules::stage2(&Profile { role, filesystem }, own_root),
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "attempt") {
        return attempt(&words[2..]);
    }
    let mut trials = Vec::new();
    for (name, stage) in STAGES {
        trials.push(Trial::test(format!("{name}_rows_pass_as_stated_and_die_when_changed"), move || every_row(name, *stage)));
        trials.push(Trial::test(format!("{name}_misses_every_row_that_is_taken_away"), move || every_row_is_needed(name, *stage)));
        trials.push(Trial::test(format!("{name}_kills_all_other_calls"), move || all_others(name, *stage)));
    }
    trials.push(Trial::test("no_locked_table_has_a_call_that_makes_processes_sockets_or_names", forbidden_calls));
    trials.push(Trial::test("setup_tables_have_all_that_the_locked_tables_have", first_stage_is_wider));
    trials.push(Trial::test("equal_tables_have_equal_digests_and_others_do_not", digests));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// In the child: `STAGE DROPPED SYSCALL ARG…`, where `DROPPED` is the position of a row to leave out, or `-`.
fn attempt(words: &[String]) {
    let [stage, dropped, numbers @ ..] = words else { panic!("expected a stage, a row and a call, found {words:?}") };
    let (_, stage) = STAGES.iter().find(|(name, _)| name == stage).unwrap();
    let mut tables = stage.tables();
    if let Ok(row) = dropped.parse::<usize>() {
        tables.last_mut().unwrap().rules.remove(row);
    }
    let mut numbers = numbers.iter().map(|number| number.parse::<u64>().unwrap());
    let syscall = numbers.next().unwrap();
    let arguments = std::array::from_fn(|_| match numbers.next().unwrap_or(0) {
        // The parent does not know the child's id.
        OWN_PROCESS => u64::from(std::process::id()),
        other => other,
    });
    match trial::attempt(&tables, syscall.try_into().unwrap(), arguments) {
        Ok(never) => match never {},
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// Stands for the child's process id in a list of arguments.
const OWN_PROCESS: u64 = u64::MAX - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    LetThrough,
    Fails(i32),
    Killed,
}

/// What the kernel does with a call.
fn outcome(stage: &str, dropped: Option<usize>, syscall: i64, arguments: [u64; 6]) -> Outcome {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["attempt", stage, &dropped.map_or_else(|| "-".to_owned(), |row| row.to_string()), &syscall.to_string()])
        .args(arguments.iter().map(u64::to_string))
        .status()
        .unwrap();
    match (status.code(), status.signal()) {
        (Some(trial::LET_THROUGH), _) => Outcome::LetThrough,
        (_, Some(libc::SIGSYS)) => Outcome::Killed,
        (Some(errno), _) if errno != 0 && errno < trial::LET_THROUGH => Outcome::Fails(errno),
        other => panic!("call {syscall} ended its process by {other:?}"),
    }
}

/// What the tables say should happen, worked out without the compiler of filters.
fn expected(tables: &[Table], syscall: i64, arguments: [u64; 6]) -> Outcome {
    let mut verdict = Outcome::LetThrough;
    for table in tables {
        let matched = table.rules.iter().any(|rule| rule.syscall == syscall && holds(rule, arguments));
        match table.effect {
            Effect::AllowElseKill if !matched => return Outcome::Killed,
            Effect::FailElseAllow(errno) if matched => verdict = Outcome::Fails(errno),
            _ => {}
        }
    }
    verdict
}

fn holds(rule: &Rule, arguments: [u64; 6]) -> bool {
    rule.arguments.iter().all(|argument| {
        let whole = arguments[usize::from(argument.index)];
        let low = whole as u32;
        match argument.condition {
            Condition::Is(value) => low == value,
            Condition::IsNot(value) => low != value,
            Condition::Masked { mask, value } => low & mask == value,
            Condition::Null => whole == 0,
            Condition::NotNull => whole != 0,
            Condition::OwnProcess => whole == OWN_PROCESS,
        }
    })
}

/// Arguments with which the row holds. Those it does not check are odd on purpose, for nothing may depend on them; so are the
/// upper halves of those that the kernel reads as 32 bits. They have no set-id bits, for an `openat` with those has a row of its own.
fn satisfying(rule: &Rule) -> [u64; 6] {
    const UPPER: u64 = 0x7ead_0000_0000_0000;
    let mut arguments = [0x5a5a_525a; 6];
    for argument in rule.arguments {
        arguments[usize::from(argument.index)] = match argument.condition {
            Condition::Is(value) => UPPER | u64::from(value),
            Condition::IsNot(value) => UPPER | u64::from(value ^ 1),
            Condition::Masked { mask, value } => UPPER | u64::from(value | (0x0101_0101 & !mask)),
            Condition::Null => 0,
            Condition::NotNull => 1 << 40,
            Condition::OwnProcess => OWN_PROCESS,
        };
    }
    arguments
}

/// Values of an argument that break its condition.
fn breaking(argument: &Argument) -> Vec<u64> {
    match argument.condition {
        Condition::Is(value) => vec![u64::from(value ^ 0x4000_0000), u64::from(value.wrapping_add(77))],
        Condition::IsNot(value) => vec![u64::from(value), (1 << 40) | u64::from(value)],
        // Each bit that counts, on its own.
        Condition::Masked { mask, value } => {
            (0..32).map(|bit| 1 << bit).filter(|bit| mask & bit != 0).map(|bit| u64::from(value ^ bit)).collect()
        }
        Condition::Null => vec![1, 1 << 40],
        Condition::NotNull => vec![0],
        Condition::OwnProcess => vec![1, 0, u64::from(u32::MAX)],
    }
}

/// A process that is allowed to exit does exit, with whatever code the odd argument says.
fn ends_the_process(rule: &Rule) -> bool {
    rule.syscall == libc::SYS_exit_group
}

fn every_row(name: &'static str, stage: Stage) -> Result<(), Failed> {
    let tables = stage.tables();
    let mut tried = 0;
    for rule in tables.iter().flat_map(|table| &table.rules).filter(|rule| !ends_the_process(rule)) {
        let good = satisfying(rule);
        check(&tables, name, rule, good)?;
        tried += 1;
        for argument in rule.arguments {
            for value in breaking(argument) {
                check(&tables, name, rule, with(good, argument, value))?;
                tried += 1;
            }
        }
        // A check that no other value fails would be no check.
        let same = |arguments| expected(&tables, rule.syscall, arguments) == expected(&tables, rule.syscall, good);
        let idle = |argument: &&Argument| breaking(argument).into_iter().all(|value| same(with(good, argument, value)));
        if let Some(argument) = rule.arguments.iter().find(idle) {
            return Err(format!("the check of argument {} of `{}` changes nothing", argument.index, rule.name).into());
        }
    }
    println!("{name}: {tried} calls tried");
    Ok(())
}

fn with(mut arguments: [u64; 6], argument: &Argument, value: u64) -> [u64; 6] {
    arguments[usize::from(argument.index)] = value;
    arguments
}

fn check(tables: &[Table], name: &str, rule: &Rule, arguments: [u64; 6]) -> Result<(), Failed> {
    let (expected, found) = (expected(tables, rule.syscall, arguments), outcome(name, None, rule.syscall, arguments));
    if expected != found {
        return Err(format!("`{}` {arguments:x?} ({}): expected {expected:?}, found {found:?}", rule.name, rule.why).into());
    }
    Ok(())
}

/// The canary: without its row a call dies, so the test above cannot pass by accident, and no row is there for nothing.
fn every_row_is_needed(name: &'static str, stage: Stage) -> Result<(), Failed> {
    let tables = stage.tables();
    let allowed = tables.last().unwrap();
    for (row, rule) in allowed.rules.iter().enumerate().filter(|(_, rule)| !ends_the_process(rule)) {
        let found = outcome(name, Some(row), rule.syscall, satisfying(rule));
        if found != Outcome::Killed {
            return Err(format!("without its row ({}), `{}` is still {found:?}", rule.why, rule.name).into());
        }
    }
    Ok(())
}

/// Numbers up to here exist on some kernel of today or of the near future.
const LAST_CALL: i64 = 520;

/// On x86_64, `uretprobe` and `uprobe`, which the kernel keeps from filters (Linux 6.14) and answers itself, with SIGILL, unless they come
/// from a probe that a debugger with privileges has set.
#[cfg(target_arch = "x86_64")]
const UNFILTERED: &[i64] = &[335, 336];
#[cfg(not(target_arch = "x86_64"))]
const UNFILTERED: &[i64] = &[];

/// `__X32_SYSCALL_BIT`: the same numbers by another ABI of the same architecture.
const X32: i64 = 0x4000_0000;

fn all_others(name: &'static str, stage: Stage) -> Result<(), Failed> {
    let tables = stage.tables();
    let known: BTreeSet<i64> = tables.iter().flat_map(|table| &table.rules).map(|rule| rule.syscall).collect();
    let others = (0..LAST_CALL).filter(|call| !known.contains(call) && !UNFILTERED.contains(call));
    for call in others.chain([X32 | libc::SYS_read, X32 | libc::SYS_write, i64::from(u32::MAX)]) {
        let found = outcome(name, None, call, [0; 6]);
        if found != Outcome::Killed {
            return Err(format!("system call {call} is in no table, yet {found:?}").into());
        }
    }
    Ok(())
}

fn forbidden_calls() -> Result<(), Failed> {
    use libc::*;
    let forbidden = [
        SYS_socket,
        SYS_connect,
        SYS_bind,
        SYS_listen,
        SYS_accept4,
        SYS_socketpair,
        SYS_clone,
        SYS_clone3,
        SYS_execve,
        SYS_execveat,
        SYS_ptrace,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_kill,
        SYS_pidfd_open,
        SYS_pidfd_send_signal,
        SYS_pidfd_getfd,
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_chroot,
        SYS_unshare,
        SYS_setns,
        SYS_bpf,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_io_uring_setup,
        SYS_keyctl,
        SYS_prctl,
        SYS_seccomp,
        SYS_personality,
        SYS_pkey_mprotect,
        SYS_prlimit64,
        SYS_setpriority,
        SYS_chdir,
        SYS_fchmod,
        SYS_fchmodat,
        SYS_fchownat,
        SYS_setxattr,
        SYS_truncate,
        SYS_name_to_handle_at,
        SYS_open_by_handle_at,
        SYS_rt_sigaction,
        SYS_shmat,
        SYS_mknodat,
        SYS_memfd_secret,
    ];
    // The one process with a way out has these two; everything that listens is forbidden to it too.
    let outward = [SYS_socket, SYS_connect];
    // Threads while a model is loaded, and what takes them away then.
    let loading = [SYS_clone, SYS_clone3, SYS_prctl, SYS_seccomp, SYS_prlimit64];
    for (name, stage) in STAGES.iter().filter(|(_, stage)| !matches!(stage, Stage::Setup(_))) {
        let outward = match stage {
            Stage::Exporter => &outward[..],
            Stage::Locked(role, ..) if role.makes_code() => &loading[..],
            _ => &[],
        };
        for rule in &stage.tables().last().unwrap().rules {
            if forbidden.contains(&rule.syscall) && !outward.contains(&rule.syscall) {
                return Err(format!("{name} has `{}`", rule.name).into());
            }
        }
    }
    Ok(())
}

/// All filters of a process stay loaded: what the first stage lacks, the second cannot give.
fn first_stage_is_wider() -> Result<(), Failed> {
    for (name, stage) in STAGES {
        let Stage::Locked(role, ..) = stage else { continue };
        let setup = rules::stage1(*role);
        for rule in &stage.tables().last().unwrap().rules {
            let found = expected(&setup, rule.syscall, satisfying(rule));
            // What no child has, a table may only pass on to the filter that says so.
            let passed_on = rules::setup::NOT_THERE.iter().any(|other| other.syscall == rule.syscall);
            if found != Outcome::LetThrough && !passed_on {
                return Err(format!("{name} has `{}`, which setup answers with {found:?}", rule.name).into());
            }
        }
    }
    Ok(())
}

fn digests() -> Result<(), Failed> {
    use edgeguard_sandbox::Filters;
    let digest =
        |filesystem| Filters::stage2(&Profile { role: Role::Worker, filesystem }, false).digest().map_err(|error| error.to_string());
    assert_eq!(digest(FilesystemUse::ReadOnly)?, digest(FilesystemUse::ReadOnly)?);
    assert_ne!(digest(FilesystemUse::ReadOnly)?, digest(FilesystemUse::ReadWrite)?);
    assert_eq!(digest(FilesystemUse::None)?.len(), 64);
    Ok(())
}
