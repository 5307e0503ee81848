//! A file system of the process's own, which holds its grants and nothing else.
//!
//! Runs in: worker, single-threaded.
//! Why: Landlock covers neither `stat` nor `readlink` nor `utimensat`, and seccomp cannot read a path. In a root of its own a
//! process finds nothing to look at: an absolute path starts in an empty read-only directory, and `..` ends there too, because
//! each granted directory is the root of a mount of its own.
//! This is preferred, not required: many hosts keep unprivileged processes from making namespaces. The report then says why.
//! Does not: hide what Landlock hides anyway, or use more privilege than the namespace gives; that is gone once the root is made.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::FsMountFlags;
use rustix::mount::FsOpenFlags;
use rustix::mount::MountAttrFlags;
use rustix::mount::MoveMountFlags;
use rustix::mount::OpenTreeFlags;
use rustix::mount::UnmountFlags;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;

use crate::Access;
use crate::FsGrant;
use crate::Role;
use crate::Unconfinable;
use crate::own::OwnProcess;
use crate::sys;

/// Whether this process has a root of its own.
#[derive(Debug)]
pub(crate) enum OwnRoot {
    /// The namespaces exist, the empty directory that becomes the root is mounted, nothing has moved into it.
    Pending(OwnedFd),
    /// The root of this process is its own.
    InForce,
    /// The host refuses, or the role takes no paths; the text says which.
    Missing(String),
}

impl OwnRoot {
    /// Takes what must be taken while the process is single-threaded, dumpable and free of Landlock.
    pub(crate) fn enter(role: Role) -> Self {
        if role != Role::Worker {
            return Self::Missing("not needed: this role keeps no system call that takes a path".into());
        }
        match new_root() {
            Ok(root) => Self::Pending(root),
            Err((step, error)) => Self::Missing(format!("cannot {step}: {error}")),
        }
    }

    /// Whether mounts are still to be made, which Landlock would forbid.
    pub(crate) fn pending(&self) -> bool {
        matches!(self, Self::Pending(_))
    }

    pub(crate) fn in_force(&self) -> bool {
        matches!(self, Self::InForce)
    }

    /// Why there is none; empty when there is one.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Pending(_) | Self::InForce => "",
            Self::Missing(reason) => reason,
        }
    }

    /// Puts the granted directories into the new root, at the very paths `/proc/self/fd/N` by which they are known, replaces the
    /// descriptors by ones in that root, makes it the root, and gives up every capability.
    ///
    /// # Errors
    /// [`Unconfinable::Step`] when capabilities cannot be given up, or when the root cannot be changed after descriptors were
    /// replaced. What fails before that leaves the host's root in place and is recorded.
    pub(crate) fn settle(&mut self, grants: &[FsGrant<'_>], own: &OwnProcess) -> Result<(), Unconfinable> {
        if let Self::Pending(root) = self {
            *self = match furnish(root.as_fd(), grants) {
                Ok(replacements) => {
                    for (grant, replacement) in grants.iter().zip(&replacements) {
                        sys::process::replace(grant.dir, replacement).map_err(Unconfinable::step("replace a granted directory"))?;
                    }
                    change_root(root.as_fd()).map_err(Unconfinable::step("change the root"))?;
                    Self::InForce
                }
                Err((step, error)) => Self::Missing(format!("cannot {step}: {error}")),
            };
        }
        let none = CapabilitySet::empty();
        let given_up = rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none });
        match given_up {
            // A service manager's filter may refuse this call to everybody. It then also refuses it to whoever would take a
            // capability up again, so having none in force is enough.
            Err(Errno::PERM) if own.status().is_ok_and(|status| status.capabilities == 0) => Ok(()),
            other => other.map_err(Unconfinable::step("give up capabilities")),
        }
    }
}

/// What was being done, and what the kernel said.
type Failure = (&'static str, io::Error);

fn at<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| (step, error.into())
}

/// New namespaces, in which this process is who it was, and an empty directory mounted over `/`, which nobody enters yet.
fn new_root() -> Result<OwnedFd, Failure> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::mount::unshare_user_and_mounts().map_err(at("make a user and a mount namespace"))?;
    // The kernel takes a group map only from a process that has given up setgroups(2) (user_namespaces(7)).
    std::fs::write("/proc/self/setgroups", "deny").map_err(at("give up setgroups in the user namespace"))?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1")).map_err(at("map the user"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1")).map_err(at("map the group"))?;

    let tmpfs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(at("open tmpfs"))?;
    rustix::mount::fsconfig_set_string(tmpfs.as_fd(), "mode", "0555").map_err(at("configure tmpfs"))?;
    // Directories and nothing else will be in it.
    rustix::mount::fsconfig_set_string(tmpfs.as_fd(), "size", "4096").map_err(at("configure tmpfs"))?;
    rustix::mount::fsconfig_create(tmpfs.as_fd()).map_err(at("make tmpfs"))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = rustix::mount::fsmount(tmpfs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(at("mount tmpfs"))?;
    rustix::mount::move_mount(root.as_fd(), "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(at("attach tmpfs"))?;
    Ok(root)
}

/// Mounts each granted directory in the new root; gives a descriptor in there for each.
fn furnish(root: BorrowedFd<'_>, grants: &[FsGrant<'_>]) -> Result<Vec<OwnedFd>, Failure> {
    let mode = Mode::from_raw_mode(0o755);
    if !grants.is_empty() {
        for directory in ["proc", "proc/self", "proc/self/fd"] {
            rustix::fs::mkdirat(root, directory, mode).map_err(at("make a directory in the new root"))?;
        }
    }
    let mut replacements = Vec::with_capacity(grants.len());
    for grant in grants {
        let place = format!("proc/self/fd/{}", grant.dir.as_raw_fd());
        rustix::fs::mkdirat(root, &place, mode).map_err(at("make a directory in the new root"))?;
        let tree = clone_of(grant)?;
        rustix::mount::move_mount(tree.as_fd(), "", root, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(at("attach a granted directory"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        replacements.push(rustix::fs::openat(root, &place, flags, Mode::empty()).map_err(at("open a granted directory"))?);
    }
    sys::mount::add_attributes(root, sys::mount::RDONLY).map_err(at("make the new root read-only"))?;
    Ok(replacements)
}

/// A mount of the granted directory alone, with no way up. Its descriptor may come from the supervisor's namespace, of which no
/// mount can be cloned here, so it is found by its path in ours, and compared.
fn clone_of(grant: &FsGrant<'_>) -> Result<OwnedFd, Failure> {
    let path =
        rustix::fs::readlink(format!("/proc/self/fd/{}", grant.dir.as_raw_fd()), Vec::new()).map_err(at("find a granted directory"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(at("find a granted directory"))?;
    let identity = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let expected = identity(grant.dir).map_err(at("look at a granted directory"))?;
    if identity(found.as_fd()).map_err(at("look at a granted directory"))? != expected {
        return Err(("find a granted directory", io::Error::from(io::ErrorKind::NotFound)));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = match rustix::mount::open_tree(found.as_fd(), "", flags) {
        // A mount below it that may not be lifted off comes along.
        Err(rustix::io::Errno::INVAL) => rustix::mount::open_tree(found.as_fd(), "", flags | OpenTreeFlags::AT_RECURSIVE),
        other => other,
    }
    .map_err(at("clone the mount of a granted directory"))?;
    let mut attributes = sys::mount::NOSUID | sys::mount::NODEV | sys::mount::NOEXEC;
    if grant.access == Access::Read {
        attributes |= sys::mount::RDONLY;
    }
    sys::mount::add_attributes(&tree, attributes).map_err(at("restrict the mount of a granted directory"))?;
    Ok(tree)
}

/// Makes `root` the root of this process and lets go of the old one (pivot_root(2), "pivot_root(".", ".")").
fn change_root(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}
