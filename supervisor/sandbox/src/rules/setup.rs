//! What a child needs besides, while it builds its state: from hardening to the final lock.
//!
//! Runs in: worker, graph host, compiler. Nothing untrusted runs in this phase; what is untrusted is the module or model that
//! is read at its end. No row creates a process or a socket that can be connected, executes a program, or touches another process.

use libc::*;

use super::Rule;
use super::arg;
use super::call;
use crate::Role;

/// Namespaces: no thread may be born into one.
pub(super) const CLONE_NEW: u32 =
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET) as u32;

/// Calls that are said not to exist.
pub const NOT_THERE: &[Rule] =
    &[call!(SYS_clone3, "its flags lie behind a pointer; threads are then made by clone, whose flags a rule can read")];

/// Every role.
const ANY: &[Rule] = &[
    call!(SYS_clone3, "passed on to the filter that says it does not exist"),
    call!(SYS_clone, [arg(0).masked(CLONE_NEW | CLONE_THREAD as u32, CLONE_THREAD as u32)], "threads; never a process, never a namespace"),
    call!(SYS_rseq, "thread start"),
    call!(SYS_set_robust_list, "thread start"),
    call!(SYS_sched_getaffinity, "how many processors"),
    call!(SYS_openat, "libraries read /proc and /sys; Landlock judges"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_open, "libraries read /proc and /sys; Landlock judges"),
    call!(SYS_readlinkat, "libraries read /proc"),
    call!(SYS_newfstatat, "std looks at what it opened"),
    call!(SYS_statx, "std looks at what it opened"),
    call!(SYS_fstatfs, "libraries check that /proc is /proc"),
    call!(SYS_getdents64, "threads are counted"),
    call!(SYS_lseek, "files"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_access, "libraries look whether a file is there"),
    call!(SYS_faccessat2, "libraries look whether a file is there"),
    call!(SYS_ioctl, [arg(1).is(TCGETS as i32)], "is the log a terminal"),
    call!(SYS_fcntl, [arg(1).is(F_SETFD)], "descriptors close on exec"),
    call!(SYS_fcntl, [arg(1).is(F_ADD_SEALS)], "memory is sealed"),
    call!(SYS_memfd_create, "sealed memory"),
    call!(SYS_ftruncate, "size of sealed memory"),
    call!(SYS_dup, "descriptors"),
    call!(SYS_dup3, "descriptors"),
    call!(SYS_pipe2, "wake-ups"),
    call!(SYS_eventfd2, "the event loop is woken"),
    call!(SYS_epoll_create1, "the event loop"),
    call!(SYS_epoll_ctl, "the event loop"),
    call!(SYS_timerfd_create, "the event loop"),
    call!(SYS_timerfd_settime, "the event loop"),
    call!(SYS_getsockopt, "std asks a received socket what it is"),
    call!(SYS_setsockopt, "sizes of socket buffers"),
    call!(SYS_getsockname, "std asks a received socket what it is"),
    call!(SYS_getpeername, "std asks a received socket what it is"),
    call!(SYS_rt_sigaction, "the trap handler"),
    call!(SYS_prctl, [arg(0).is(PR_SET_NAME)], "threads get names"),
    call!(SYS_prctl, [arg(0).is(PR_GET_NAME)], "threads have names"),
    call!(SYS_prctl, [arg(0).is(PR_SET_VMA)], "the allocator names its memory"),
    call!(SYS_prctl, [arg(0).is(PR_SET_NO_NEW_PRIVS)], "the next filter and ruleset set it again"),
    call!(SYS_seccomp, "the next filter"),
    call!(SYS_landlock_create_ruleset, "the next ruleset"),
    call!(SYS_landlock_add_rule, "the next ruleset"),
    call!(SYS_landlock_restrict_self, "the next ruleset"),
    call!(SYS_prlimit64, [arg(0).is(0)], "own limits"),
    call!(SYS_getrlimit, "own limits"),
    call!(SYS_setrlimit, "own limits"),
    call!(SYS_getrusage, "own use of memory"),
    call!(SYS_capset, "capabilities are given up"),
    call!(SYS_getuid, "who am I"),
    call!(SYS_geteuid, "who am I"),
    call!(SYS_getgid, "who am I"),
    call!(SYS_getegid, "who am I"),
    call!(SYS_getppid, "is the supervisor still there"),
    call!(SYS_getcwd, "std looks where it is"),
    call!(SYS_uname, "libraries ask for the kernel's version"),
    call!(SYS_sysinfo, "libraries ask for the size of memory"),
    call!(SYS_getcpu, "which processor"),
    call!(SYS_membarrier, "the engine publishes code"),
];

/// A worker maps native code, from sealed memory, and builds its root, before the lock. The mount calls work in the namespace of
/// its own only, and no longer than until the file system is restricted: Landlock denies them from then on.
const WORKER: &[Rule] = &[
    call!(SYS_mmap, "native code is mapped from sealed memory"),
    call!(SYS_mprotect, "native code where memory-deny-write-execute is missing"),
    call!(SYS_socketpair, [arg(0).is(AF_UNIX)], "tokio makes a pair for signals with its first runtime; it leads nowhere but to itself"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_readlink, "where a granted directory lies"),
    call!(SYS_openat2, [arg(0).is_not(AT_FDCWD)], "the final filter decides whether"),
    call!(SYS_mkdirat, [arg(0).is_not(AT_FDCWD)], "mount points in the own root"),
    call!(SYS_utimensat, "the final filter decides whether by path"),
    call!(SYS_open_tree, "granted directories move into the own root"),
    call!(SYS_mount_setattr, "read-only stays read-only there"),
    call!(SYS_move_mount, "granted directories move into the own root"),
    call!(SYS_fchdir, "the root changes"),
    call!(SYS_chdir, "the root changes"),
    call!(SYS_pivot_root, "the root changes"),
    call!(SYS_umount2, "the host's root goes away"),
];

/// Rows that a role has besides [`super::common`] while it sets itself up.
pub(super) fn of(role: Role) -> Vec<Rule> {
    let mut rules = ANY.to_vec();
    if role == Role::Worker {
        rules.extend(WORKER);
    }
    rules.extend(super::engines::setup(role));
    rules
}
