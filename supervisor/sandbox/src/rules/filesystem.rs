//! What wasi:filesystem needs below granted directories.
//!
//! Runs in: worker, when its module has at least one directory.
//! Every call names its directory by descriptor: `AT_FDCWD` is never allowed, so nothing relative to the working directory and no
//! plain path gets through. A descriptor beside an absolute path, or a path with `..`, still does, for seccomp cannot read it;
//! opening and changing are then denied by Landlock, and looking (`statx`, `faccessat2`, `readlinkat`) by the process's own root where the
//! host allows one. Where it does not, native code in the worker can still learn that a foreign path exists, and its metadata.

use libc::*;

use super::Rule;
use super::arg;
use super::call;

/// Bits of a file's mode that lend its owner's rights to whoever executes it.
const SET_ID: i32 = (S_ISUID | S_ISGID) as i32;

/// Opening where nothing can be made, so that the mode does not count.
pub const OPEN_TO_READ: &[Rule] = &[
    call!(SYS_openat, [arg(0).is_not(AT_FDCWD)], "open below a directory, step by step"),
    call!(SYS_openat2, [arg(0).is_not(AT_FDCWD)], "open below a directory; the kernel keeps it beneath"),
];

/// Opening where files can be made: never one that runs as this user for everybody who finds it.
pub const OPEN_TO_WRITE: &[Rule] =
    &[call!(SYS_openat, [arg(0).is_not(AT_FDCWD), arg(3).without(SET_ID)], "open below a directory, step by step")];

/// What fails where files can be made.
pub const REFUSED_TO_WRITE: &[Rule] = &[
    call!(SYS_openat, [arg(3).masked(S_ISUID, S_ISUID)], "a program that runs as this user, left for others to find"),
    call!(SYS_openat, [arg(3).masked(S_ISGID, S_ISGID)], "a program that runs as this group, left for others to find"),
];

/// Calls that are said not to exist where files can be made.
pub const NOT_THERE_TO_WRITE: &[Rule] =
    &[call!(SYS_openat2, "the mode lies behind a pointer; wasi:filesystem then opens step by step, by calls whose mode a rule can read")];

/// Granted directories, to read.
pub const READ: &[Rule] = &[
    call!(SYS_statx, [arg(0).is_not(AT_FDCWD)], "path_filestat_get, fd_filestat_get"),
    call!(SYS_newfstatat, [arg(0).is_not(AT_FDCWD)], "path_filestat_get where statx is missing"),
    call!(SYS_readlinkat, [arg(0).is_not(AT_FDCWD)], "path_readlink, and symbolic links along a path"),
    call!(SYS_faccessat2, [arg(0).is_not(AT_FDCWD)], "`..` in a path that is opened step by step"),
    call!(SYS_getdents64, "fd_readdir"),
    call!(SYS_lseek, "fd_seek"),
    call!(SYS_preadv, "fd_pread"),
    call!(SYS_preadv2, "fd_pread without blocking"),
    call!(SYS_fadvise64, "fd_advise"),
];

/// Granted directories, to write.
pub const WRITE: &[Rule] = &[
    call!(SYS_pwritev, "fd_pwrite"),
    call!(SYS_pwritev2, "fd_pwrite at the end"),
    call!(SYS_ftruncate, "fd_filestat_set_size"),
    call!(SYS_fallocate, "fd_allocate"),
    call!(SYS_fsync, "fd_sync"),
    call!(SYS_fdatasync, "fd_datasync"),
    call!(SYS_mkdirat, [arg(0).is_not(AT_FDCWD)], "path_create_directory"),
    call!(SYS_unlinkat, [arg(0).is_not(AT_FDCWD)], "path_unlink_file, path_remove_directory"),
    call!(SYS_renameat, [arg(0).is_not(AT_FDCWD), arg(2).is_not(AT_FDCWD)], "path_rename"),
    call!(SYS_renameat2, [arg(0).is_not(AT_FDCWD), arg(2).is_not(AT_FDCWD), arg(4).is(0)], "path_rename; no exchange, no whiteout"),
    call!(SYS_linkat, [arg(0).is_not(AT_FDCWD), arg(2).is_not(AT_FDCWD), arg(4).is(0)], "path_link; never through a link"),
    call!(SYS_symlinkat, [arg(1).is_not(AT_FDCWD)], "path_symlink"),
];

/// Granted directories, to write, in a process whose root holds nothing else.
pub const WRITE_IN_OWN_ROOT: &[Rule] =
    &[call!(SYS_utimensat, [arg(0).is_not(AT_FDCWD)], "set_times, by path too; Landlock does not cover it, the root does")];

/// The same in a process that sees the host's root.
pub const WRITE_IN_HOST_ROOT: &[Rule] = &[call!(SYS_utimensat, [arg(1).null()], "fd_filestat_set_times, by descriptor only")];

/// What a guest may ask for in a process that sees the host's root, so that it fails instead of killing.
pub const REFUSED_IN_HOST_ROOT: &[Rule] =
    &[call!(SYS_utimensat, [arg(1).not_null()], "path_filestat_set_times would reach any file of this user")];
