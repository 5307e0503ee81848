//! Process attributes for which no safe wrapper exists.
//!
//! Runs in: worker, graph host, compiler.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd as _;
use std::os::fd::OwnedFd;

/// `PR_SET_MDWE` and its two bits (linux/prctl.h; Linux 6.3 and 6.6).
const PR_SET_MDWE: libc::c_int = 65;
const PR_GET_MDWE: libc::c_int = 66;
const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;

/// `PR_SET_MEMORY_MERGE` (linux/prctl.h; Linux 6.4).
const PR_SET_MEMORY_MERGE: libc::c_int = 67;

/// `LANDLOCK_CREATE_RULESET_VERSION` (linux/landlock.h).
const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;

/// Closes every descriptor from `first` up. The caller owns none of them: it has just been executed.
pub(crate) fn close_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: takes integers only. `harden` calls it while no `OwnedFd` exists: before the process has opened anything, or, in a host whose engine is a
    // library, after it has closed what it received and mapped.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) })
}

/// Takes a descriptor that this process was started with, and keeps it from its children. The caller says that nobody else has it.
pub(crate) fn take_descriptor(number: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only, and fails for a number that is not open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: it is open, as was just seen, and its only owner is the one made here: `passed` takes each number once, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes the number of `old` name what `new` names. The holder of `old` goes on holding it.
pub(crate) fn replace(old: BorrowedFd<'_>, new: &OwnedFd) -> io::Result<()> {
    // SAFETY: takes integers only; `old` is open, borrowed from its owner for the call, and stays open, for another file.
    check(unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) }.into())
}

/// Denies turning writable memory executable, and memory that is both. False when the kernel does not know how (before 6.3).
pub(crate) fn deny_write_execute() -> io::Result<bool> {
    // SAFETY: takes integers only, and concerns future mappings of this process.
    match check(unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) }.into()) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether [`deny_write_execute`] would work.
pub(crate) fn has_deny_write_execute() -> bool {
    // SAFETY: takes integers only, and only asks.
    unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0 }
}

/// Whether [`close_from`] would work.
pub(crate) fn has_close_range() -> bool {
    // SAFETY: takes integers only; no descriptor has the number named, so nothing is closed.
    check(unsafe { libc::syscall(libc::SYS_close_range, libc::c_uint::MAX, libc::c_uint::MAX, 0) }).is_ok()
}

/// Whether a filter could be loaded into all threads at once.
pub(crate) fn seccomp_all_threads() -> bool {
    // SAFETY: a null filter is never loaded; the kernel says EFAULT when it knows the flag, EINVAL when it does not (seccomp(2)).
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC, std::ptr::null::<libc::c_void>())
    };
    check(result).is_err_and(|error| error.raw_os_error() == Some(libc::EFAULT))
}

/// Keeps this process's pages out of same-page merging, should an ancestor have asked for it.
pub(crate) fn never_merge_memory() {
    // SAFETY: takes integers only. Failure means that the kernel cannot merge, which is what is wanted.
    let _ = unsafe { libc::prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0) };
}

/// Ignores `SIGXFSZ`.
pub(crate) fn ignore_file_size_signal() -> io::Result<()> {
    // SAFETY: SIG_IGN installs no handler, so nothing can run asynchronously.
    if unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets a variable of this process's environment.
pub(crate) fn set_variable(name: &std::ffi::CStr, value: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: both strings end in a zero and are copied; the caller has seen that no other thread exists that could read the environment meanwhile.
    check(unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) }.into())
}

/// The kernel's Landlock ABI, or none.
pub(crate) fn landlock_abi() -> Option<u32> {
    // SAFETY: with this flag the kernel reads no memory: the documented way to ask for the version is a null attribute.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, LANDLOCK_CREATE_RULESET_VERSION)
    };
    u32::try_from(abi).ok().filter(|abi| *abi > 0)
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
