//! What the locked processes need whatever their grants are.
//!
//! Runs in: worker, graph host, compiler.

use libc::*;

use super::Rule;
use super::arg;
use super::call;

/// Bits of a futex operation that are flags, not the operation.
const FUTEX_FLAGS: u32 = (FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME) as u32;

/// `PIDFD_SELF_THREAD_GROUP` (linux/pidfd.h; Linux 6.14).
const PIDFD_SELF_THREAD_GROUP: i32 = -10_000;

/// Make a socket non-blocking; an `unsigned long` in C, of which the kernel reads an `unsigned int`.
const FIONBIO_REQUEST: i32 = FIONBIO as i32;

/// Every role. No row creates a process, a thread, a socket, a name or a page that can be executed.
pub const LOCKED: &[Rule] = &[
    call!(SYS_read, "files, event counters"),
    call!(SYS_readv, "files"),
    call!(SYS_pread64, "files"),
    call!(SYS_write, "files, event counters, the log"),
    call!(SYS_writev, "the log"),
    call!(SYS_pwrite64, "files"),
    call!(SYS_close, "descriptors"),
    call!(SYS_fstat, "size of received memory"),
    call!(SYS_recvmsg, "frames with descriptors"),
    call!(SYS_sendmsg, "frames with descriptors"),
    call!(SYS_recvfrom, [arg(4).null(), arg(5).null()], "frames"),
    call!(SYS_sendto, [arg(4).null()], "frames; without an address, so only to the connected peer"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_poll, "waiting for a frame"),
    call!(SYS_ppoll, "waiting for a frame, with a deadline"),
    call!(SYS_fcntl, [arg(1).is(F_GETFD)], "std looks whether a descriptor is open"),
    call!(SYS_fcntl, [arg(1).is(F_GETFL)], "mode of a granted directory"),
    call!(SYS_fcntl, [arg(1).is(F_SETFL), arg(2).without(O_ASYNC)], "non-blocking sockets; no signals by descriptor"),
    call!(SYS_fcntl, [arg(1).is(F_DUPFD_CLOEXEC)], "std duplicates a descriptor"),
    call!(SYS_fcntl, [arg(1).is(F_GET_SEALS)], "received memory must be sealed"),
    call!(SYS_ioctl, [arg(1).is(FIONBIO_REQUEST)], "std makes a socket non-blocking"),
    call!(SYS_mmap, [arg(2).without(PROT_EXEC)], "heap, stacks, linear memory, shared regions; never code"),
    call!(SYS_mprotect, [arg(2).without(PROT_EXEC)], "linear memory grows, stacks get guard pages; never code"),
    call!(SYS_munmap, "memory"),
    call!(SYS_mremap, "the allocator grows large blocks"),
    call!(SYS_brk, "heap"),
    call!(SYS_madvise, [arg(2).is(MADV_DONTNEED)], "an instance's memory is reset; exiting threads give their stacks back"),
    call!(SYS_madvise, [arg(2).is(MADV_FREE)], "the allocator gives pages back"),
    call!(SYS_madvise, [arg(2).is(MADV_HUGEPAGE)], "the allocator may ask for large pages"),
    call!(SYS_futex, [arg(1).masked(!FUTEX_FLAGS, FUTEX_WAIT as u32)], "locks, within the process and in shared regions"),
    call!(SYS_futex, [arg(1).masked(!FUTEX_FLAGS, FUTEX_WAKE as u32)], "locks, within the process and in shared regions"),
    call!(SYS_futex, [arg(1).masked(!FUTEX_FLAGS, FUTEX_WAIT_BITSET as u32)], "waits with a deadline"),
    call!(SYS_futex, [arg(1).masked(!FUTEX_FLAGS, FUTEX_WAKE_BITSET as u32)], "waits with a deadline"),
    call!(SYS_sched_yield, "spin locks give way"),
    call!(SYS_getrandom, "hash maps, random_get"),
    call!(SYS_clock_gettime, "clocks, where the vDSO cannot serve them"),
    call!(SYS_clock_nanosleep, "sleeps"),
    call!(SYS_restart_syscall, "the kernel resumes a stopped sleep"),
    call!(SYS_getpid, "abort names its own process"),
    call!(SYS_gettid, "abort names its own thread"),
    call!(SYS_tgkill, [arg(0).own_process(), arg(2).is(SIGABRT)], "abort"),
    call!(SYS_rt_sigprocmask, "abort, thread exit"),
    call!(SYS_rt_sigreturn, "return from the trap handler"),
    call!(SYS_sigaltstack, "thread exit takes its signal stack away"),
    call!(SYS_exit, "thread exit"),
    call!(SYS_exit_group, "process exit"),
];

/// The event loop of roles that serve.
pub const EVENTS: &[Rule] = &[
    #[cfg(target_arch = "x86_64")]
    call!(SYS_epoll_wait, "the event loop waits"),
    call!(SYS_epoll_pwait, "the event loop waits"),
    call!(SYS_epoll_pwait2, "the event loop waits"),
    call!(SYS_epoll_ctl, "the event loop takes up or lets go a socket"),
];

/// The compiler hands its result over in memory that it creates itself.
pub const COMPILE: &[Rule] = &[
    call!(SYS_memfd_create, "native code goes back in sealed memory"),
    call!(SYS_ftruncate, "size of that memory, limited by RLIMIT_FSIZE"),
    call!(SYS_fcntl, [arg(1).is(F_ADD_SEALS)], "seals on that memory"),
];

/// A worker's engine.
pub const WORKER: &[Rule] = &[
    call!(SYS_process_madvise, [arg(0).is(PIDFD_SELF_THREAD_GROUP)], "the engine resets several regions of its own at once"),
    call!(SYS_clock_getres, "clock_res_get"),
];

/// Calls that libraries make in passing and survive the failure of. They fail with `EACCES` instead of killing.
pub const REFUSED: &[Rule] = &[
    call!(SYS_openat, [arg(0).is(AT_FDCWD)], "the allocator looks at /proc and /sys when threads contend; the self-test tries it"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_open, "some libraries open plain paths this way on this architecture"),
    call!(SYS_sched_getaffinity, "the allocator and std count processors"),
    call!(SYS_ioctl, [arg(1).is(TCGETS as i32)], "std and C libraries ask whether output is a terminal"),
];
