//! Namespaces and mounts for which no safe wrapper exists.
//!
//! Runs in: worker, single-threaded.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd as _;

use rustix::thread::UnshareFlags;

/// `struct mount_attr` (linux/mount.h, `MOUNT_ATTR_SIZE_VER0`).
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// `MOUNT_ATTR_*` (linux/mount.h).
pub(crate) const RDONLY: u64 = 0x1;
pub(crate) const NOSUID: u64 = 0x2;
pub(crate) const NODEV: u64 = 0x4;
pub(crate) const NOEXEC: u64 = 0x8;

/// Gives the calling thread, the only one, a user and a mount namespace of its own.
pub(crate) fn unshare_user_and_mounts() -> rustix::io::Result<()> {
    // SAFETY: the descriptor table stays shared (no `FILES`), which is what the function's contract is about.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
}

/// Adds attributes to the mount whose root `mount` is.
pub(crate) fn add_attributes(mount: impl AsFd, set: u64) -> io::Result<()> {
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: the kernel reads the empty path and `size_of` bytes of the structure, both alive for the call; it writes nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), libc::AT_EMPTY_PATH, &raw const attributes, size_of::<MountAttributes>())
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
