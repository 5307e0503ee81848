//! The table: each attempt of native code in a worker, what must stop it in each profile, and who does.
//!
//! Runs in: tests.
//! Files outside belong to the worker's own user, so that ordinary permissions stop nothing here: what is seen is confinement.
//! `K` is death by `SIGSYS`. Where a row has a plain number, the first layer that answers gives that very error.

use libc::EACCES;
use libc::EBADF;
use libc::ENOENT;
use libc::ENOSYS;
use libc::EPERM;
use libc::EROFS;
use libc::EXDEV;

/// How the worker under attack was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One directory to read and write, one to read, in a root of the worker's own.
    OwnRoot,
    /// The same on a host that refuses namespaces: the loosest that is possible.
    HostRoot,
    /// No directory at all.
    NoDirectory,
}

impl Profile {
    /// For the printed table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnRoot => "own root",
            Self::HostRoot => "host root",
            Self::NoDirectory => "no directory",
        }
    }
}

/// What must come of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The process dies by `SIGSYS`.
    Sigsys,
    /// The call fails with this number.
    Errno(i32),
    /// It succeeds: a control, to show that the harness can see success, or a gap that is known and written down in the row.
    Succeeds,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Death by this signal.
    Signal(i32),
    /// An error number.
    Errno(i32),
    /// Success, with what the call returned.
    Ok(i64),
    /// Anything else, which is never right.
    Nothing,
}

impl Stop {
    /// Whether this is what was to come.
    #[must_use]
    pub fn is(self, found: Found) -> bool {
        match (self, found) {
            (Self::Sigsys, Found::Signal(signal)) => signal == libc::SIGSYS,
            (Self::Errno(wanted), Found::Errno(errno)) => wanted == errno,
            (Self::Succeeds, Found::Ok(_)) => true,
            _ => false,
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Number of the threat; 0 for controls.
    pub threat: u8,
    /// The attempt's name.
    pub name: &'static str,
    /// What must come of it with directories, in an own root and in the host's, and without directories.
    pub stops: [Stop; 3],
    /// Who stops it.
    pub by: &'static str,
}

impl Row {
    /// What must come of it in this profile.
    #[must_use]
    pub fn stop(&self, profile: Profile) -> Stop {
        let [own, host, none] = self.stops;
        match profile {
            Profile::OwnRoot => own,
            Profile::HostRoot => host,
            Profile::NoDirectory => none,
        }
    }
}

const K: Stop = Stop::Sigsys;
const OK: Stop = Stop::Succeeds;

const fn e(errno: i32) -> Stop {
    Stop::Errno(errno)
}

/// The filter kills, in every profile.
const fn killed(threat: u8, name: &'static str) -> Row {
    Row { threat, name, stops: [K, K, K], by: "filter" }
}

/// The filter answers with an error, in every profile.
const fn refused(threat: u8, name: &'static str) -> Row {
    Row { threat, name, stops: [e(EACCES), e(EACCES), e(EACCES)], by: "filter" }
}

/// A path beside a granted directory's descriptor: not there in an own root, denied by Landlock in the host's.
const fn path(threat: u8, name: &'static str) -> Row {
    Row { threat, name, stops: [e(ENOENT), e(EACCES), K], by: "own root; Landlock; filter" }
}

const fn row(threat: u8, name: &'static str, stops: [Stop; 3], by: &'static str) -> Row {
    Row { threat, name, stops, by }
}

/// Every attempt.
pub const ROWS: &[Row] = &[
    // Controls: what was granted works, so that a refusal below means something.
    row(0, "read-granted-file", [OK, OK, K], "nobody: it is granted"),
    row(0, "write-granted-file", [OK, OK, K], "nobody: it is granted"),
    row(0, "read-granted-read-only", [OK, OK, K], "nobody: it is granted"),
    row(0, "own-process-id", [OK, OK, OK], "nobody: abort needs it"),
    // Files outside.
    #[cfg(target_arch = "x86_64")]
    refused(1, "open-secret"),
    refused(1, "openat-cwd-secret"),
    path(1, "openat-directory-secret"),
    row(1, "openat2-directory-secret", [e(ENOSYS), e(ENOSYS), K], "filter"),
    path(1, "open-directory-outside"),
    path(1, "open-o-path-outside-then-read"),
    path(2, "create-outside"),
    path(3, "openat-dotdot-secret"),
    path(4, "follow-symlink-out"),
    path(4, "make-symlink-out-and-follow"),
    row(5, "link-outside-file-in", [e(ENOENT), e(EXDEV), K], "own root; Landlock; filter"),
    row(6, "rename-outside-file-in", [e(ENOENT), e(EACCES), K], "own root; Landlock; filter"),
    row(6, "rename-granted-file-out", [e(ENOENT), e(EACCES), K], "own root; Landlock; filter"),
    killed(6, "rename-exchange"),
    killed(7, "link-descriptor-follow"),
    path(8, "reopen-descriptor-writable"),
    row(9, "pread-inherited-descriptor", [e(EBADF), e(EBADF), e(EBADF)], "close_range"),
    path(10, "supervisor-environ"),
    path(10, "supervisor-mem"),
    path(10, "supervisor-root"),
    path(10, "supervisor-descriptors"),
    path(11, "own-mem"),
    path(11, "own-maps"),
    path(12, "core-pattern"),
    path(13, "device-null"),
    path(13, "device-disk-or-zero"),
    path(14, "cgroup-procs"),
    row(15, "openat2-not-beneath", [e(ENOSYS), e(ENOSYS), K], "filter"),
    killed(16, "name-to-handle"),
    killed(16, "open-by-handle"),
    row(
        17,
        "stat-outside",
        [e(ENOENT), OK, K],
        "own root only; Landlock does not cover it: written down as a gap of hosts without namespaces",
    ),
    row(17, "statx-outside", [e(ENOENT), OK, K], "own root only; as above"),
    row(17, "readlink-outside", [e(ENOENT), OK, K], "own root only; as above"),
    killed(17, "stat-cwd-outside"),
    row(17, "faccessat2-outside", [e(ENOENT), OK, K], "own root only; as above"),
    killed(17, "faccessat2-cwd-outside"),
    killed(17, "faccessat-outside"),
    killed(17, "statfs-outside"),
    killed(18, "chdir-outside"),
    killed(18, "fchdir-granted"),
    killed(19, "chmod-outside"),
    killed(19, "chown-outside"),
    killed(19, "setxattr-outside"),
    killed(19, "getxattr-outside"),
    row(20, "utimensat-outside", [e(ENOENT), e(EACCES), K], "own root; filter"),
    row(20, "utimensat-cwd-outside", [K, e(EACCES), K], "filter"),
    killed(21, "truncate-outside"),
    path(21, "open-truncate-outside"),
    killed(22, "inotify"),
    killed(22, "fanotify"),
    // The kernel's own affairs.
    killed(23, "quotactl"),
    killed(23, "syslog"),
    killed(23, "reboot"),
    killed(23, "swapon"),
    killed(23, "kexec"),
    killed(23, "init-module"),
    killed(23, "settimeofday"),
    killed(23, "sethostname"),
    killed(24, "chroot"),
    killed(24, "mount"),
    killed(24, "pivot-root"),
    killed(24, "umount"),
    killed(24, "fsopen"),
    killed(24, "open-tree"),
    killed(24, "move-mount"),
    killed(25, "unshare-user"),
    killed(25, "clone-user"),
    killed(25, "clone3"),
    path(26, "open-init-namespace"),
    killed(26, "setns"),
    // Processes and programs.
    killed(27, "fork"),
    killed(27, "new-thread"),
    killed(28, "execve"),
    killed(29, "memfd"),
    killed(29, "execveat"),
    killed(30, "mmap-write-execute"),
    killed(31, "mprotect-read-execute"),
    killed(32, "pkey-mprotect"),
    killed(33, "personality"),
    killed(34, "mmap-granted-file-execute"),
    killed(34, "mmap-memory-execute"),
    killed(35, "shmat"),
    killed(35, "remap-file-pages"),
    killed(36, "ptrace-supervisor"),
    killed(37, "read-supervisor-memory"),
    killed(37, "write-supervisor-memory"),
    killed(38, "pidfd-open-supervisor"),
    killed(38, "pidfd-getfd"),
    killed(38, "kcmp-supervisor"),
    killed(39, "kill-supervisor"),
    killed(39, "tgkill-supervisor"),
    killed(39, "tgkill-self-other-signal"),
    killed(39, "pidfd-send-signal"),
    killed(39, "sigqueue-supervisor"),
    killed(40, "kill-everybody"),
    killed(41, "fcntl-set-owner"),
    killed(41, "fcntl-async"),
    killed(41, "fcntl-notify"),
    killed(42, "prlimit-supervisor"),
    killed(42, "setpriority-supervisor"),
    killed(42, "setaffinity-supervisor"),
    refused(42, "getaffinity-supervisor"),
    killed(42, "ioprio-supervisor"),
    killed(42, "move-pages-supervisor"),
    killed(42, "process-madvise-other"),
    killed(43, "sched-fifo"),
    killed(44, "io-uring"),
    killed(44, "io-setup"),
    killed(45, "bpf"),
    killed(45, "perf-event"),
    killed(46, "userfaultfd"),
    killed(47, "keyctl"),
    killed(47, "add-key"),
    killed(48, "setuid"),
    killed(48, "setgroups"),
    killed(48, "capset"),
    killed(49, "prctl-dumpable"),
    killed(49, "prctl-ptracer"),
    killed(50, "own-filter"),
    killed(50, "own-landlock"),
    killed(50, "own-signal-handler"),
    #[cfg(target_arch = "x86_64")]
    killed(51, "modify-ldt"),
    killed(51, "mlockall"),
    killed(51, "vmsplice"),
    killed(51, "membarrier"),
    // Sockets.
    killed(52, "tcp-connect"),
    killed(52, "tcp-bind"),
    killed(52, "connect-control-descriptor"),
    killed(53, "udp-sendto"),
    killed(53, "sendto-address"),
    killed(54, "raw-socket"),
    killed(54, "packet-socket"),
    killed(55, "netlink-socket"),
    killed(55, "vsock-socket"),
    killed(56, "control-socket-connect"),
    killed(57, "abstract-socket-connect"),
    killed(57, "socketpair"),
    killed(58, "shmget"),
    killed(58, "msgget"),
    killed(58, "semget"),
    killed(59, "mq-open"),
    killed(60, "mknod-device"),
    killed(60, "mkfifo"),
    killed(61, "fchmodat-setuid"),
    killed(61, "fchmod-setuid"),
    row(61, "create-setuid-file", [e(EACCES), e(EACCES), K], "filter"),
    row(
        61,
        "openat2-create-setuid-file",
        [e(ENOSYS), e(ENOSYS), K],
        "filter: where files can be made, only the call whose mode a rule can read",
    ),
    #[cfg(target_arch = "x86_64")]
    killed(62, "int80"),
    #[cfg(target_arch = "x86_64")]
    killed(63, "x32"),
    killed(64, "tiocsti"),
    killed(64, "tioclinux"),
    // Beyond the grants' own access.
    row(80, "write-in-read-only", [e(EROFS), e(EACCES), K], "read-only mount; Landlock; filter"),
    row(80, "truncate-in-read-only", [e(EROFS), e(EACCES), K], "read-only mount; Landlock; filter"),
    row(80, "create-in-read-only", [e(EROFS), e(EACCES), K], "read-only mount; Landlock; filter"),
    row(80, "mkdir-in-read-only", [e(EROFS), e(EACCES), K], "read-only mount; Landlock; filter"),
    row(80, "unlink-in-read-only", [e(EROFS), e(EACCES), K], "read-only mount; Landlock; filter"),
    row(80, "link-read-only-file-to-writable", [e(EXDEV), e(EXDEV), K], "mounts of their own; Landlock; filter"),
    row(80, "rename-writable-file-to-read-only", [e(EXDEV), e(EACCES), K], "mounts of their own; Landlock; filter"),
    row(80, "tmpfile-in-read-only", [e(EROFS), e(EACCES), K], "read-only mount; Landlock; filter"),
    row(67, "shrink-audit-ring", [e(EPERM), e(EPERM), K], "seals; filter"),
    row(67, "grow-audit-ring", [e(EPERM), e(EPERM), K], "seals; filter"),
    killed(67, "seal-audit-ring"),
    path(74, "journal-key"),
    path(74, "code-cache"),
    killed(74, "memfd-secret"),
    // New descriptors that nothing needs.
    killed(75, "dup3"),
    killed(75, "pipe2"),
    killed(75, "epoll-create"),
    killed(75, "timerfd"),
    killed(75, "splice"),
    killed(75, "sendfile"),
    killed(75, "copy-file-range"),
    killed(75, "accept"),
    killed(75, "setsockopt"),
];

/// Threats from 1 to 64 that the matrix of confinement has; each has a row.
pub const THREATS: std::ops::RangeInclusive<u8> = 1..=64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_threat_of_the_matrix_has_a_row() {
        let there: BTreeSet<u8> = ROWS.iter().map(|row| row.threat).collect();
        // Without a 32-bit ABI beside it, an architecture has no such door.
        let of_another_processor = |threat: &u8| cfg!(not(target_arch = "x86_64")) && matches!(threat, 62 | 63);
        let absent = |threat: &u8| !(there.contains(threat) || of_another_processor(threat));
        assert_eq!(THREATS.filter(absent).collect::<Vec<_>>(), Vec::<u8>::new());
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn a_wrong_answer_is_never_right() {
        assert!(!Stop::Sigsys.is(Found::Ok(0)));
        assert!(!Stop::Sigsys.is(Found::Signal(libc::SIGKILL)));
        assert!(!Stop::Errno(EACCES).is(Found::Errno(ENOENT)));
        assert!(!Stop::Errno(EACCES).is(Found::Nothing));
        assert!(!Stop::Succeeds.is(Found::Nothing));
    }
}
