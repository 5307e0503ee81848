//! The first lines of a child's `main`: forget what was inherited, give up what is not needed, filter the rest.
//!
//! Runs in: worker, graph host, compiler; single-threaded, before a byte from outside is read.
//! Does not: open anything for the caller. Still possible afterwards: opening files (until
//! [`Hardened::restrict_filesystem`]), starting threads and mapping code (until [`crate::Restricted::confine`]).

use rustix::process::DumpableBehavior;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::Signal;

use crate::Role;
use crate::Unconfinable;
use crate::filter::Filters;
use crate::filter::Spread;
use crate::landlock::Rights;
use crate::namespace::OwnRoot;
use crate::own::OwnProcess;
use crate::sys;

/// Proof that [`harden`] succeeded in this process. It can be made nowhere else, and is used up by the next step.
///
/// ```compile_fail
/// // There is no other way to get one.
/// let hardened = edgeguard_sandbox::Hardened {};
/// ```
#[derive(Debug)]
pub struct Hardened {
    pub(crate) role: Role,
    pub(crate) facts: Facts,
}

/// What was learned on the way and ends up in the report.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) mdwe: bool,
    pub(crate) stage1: String,
    pub(crate) rights: Rights,
    pub(crate) own_root: OwnRoot,
    pub(crate) own: OwnProcess,
}

/// Hardens this process as `role`, provided that it is a child of process `expected_parent`.
///
/// # Errors
/// [`Unconfinable`]; the process must then exit, for part of the steps may have been taken.
pub fn harden(role: Role, expected_parent: u32) -> Result<Hardened, Unconfinable> {
    harden_with(role, expected_parent, OwnRoot::enter)
}

/// As [`harden`], on a host that refuses namespaces: so that the tests see what the other layers stop alone.
///
/// # Errors
/// As [`harden`].
#[cfg(feature = "trial")]
pub fn harden_in_host_root(role: Role, expected_parent: u32) -> Result<Hardened, Unconfinable> {
    harden_with(role, expected_parent, |_| OwnRoot::Missing("left out for a trial".into()))
}

fn harden_with(role: Role, expected_parent: u32, enter: fn(Role) -> OwnRoot) -> Result<Hardened, Unconfinable> {
    // Everything inherited beyond control socket, /dev/null and log: an open descriptor is a right that Landlock does not see.
    sys::process::close_from(3).map_err(Unconfinable::step("close inherited descriptors"))?;

    // Die with the supervisor. It may have died before the request: then the parent is already another process.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Unconfinable::step("ask for the parent-death signal"))?;
    require_parent(expected_parent)?;

    let own = OwnProcess::open().map_err(Unconfinable::step("open `/proc/self`"))?;
    own.require_single_thread("hardening")?;

    // Before the process becomes undumpable, because the id maps in /proc then belong to root.
    let own_root = enter(role);

    // A change of credentials, such as entering a user namespace, may clear the signal.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Unconfinable::step("ask for the parent-death signal"))?;
    require_parent(expected_parent)?;

    for (resource, limit) in limits(role) {
        lower(*resource, *limit).map_err(Unconfinable::step("lower a resource limit"))?;
    }
    // A write past the file size limit then fails with EFBIG instead of killing the process.
    sys::process::ignore_file_size_signal().map_err(Unconfinable::step("ignore SIGXFSZ"))?;

    rustix::thread::set_no_new_privs(true).map_err(Unconfinable::step("set no-new-privs"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Unconfinable::step("become undumpable"))?;
    let mdwe =
        !role.makes_code() && sys::process::deny_write_execute().map_err(Unconfinable::step("deny writable and executable memory"))?;
    // Merged pages leak, by timing, what another process holds. Kernels without it (before 6.4) say EINVAL: nothing to switch off.
    sys::process::never_merge_memory();

    // Asked once and remembered: the first question goes to the kernel by `prctl`, which the filter does not allow.
    rustix::param::page_size();

    let rights = Rights::never_granted(&own_root)?;
    let filters = Filters::stage1(role);
    let stage1 = filters.digest()?;
    filters.load(Spread::ThisThread)?;

    Ok(Hardened { role, facts: Facts { mdwe, stage1, rights, own_root, own } })
}

/// Sets a variable for libraries that take their settings from the environment, which is otherwise empty in a child.
///
/// # Errors
/// [`Unconfinable::Threads`] unless this is the only thread.
pub fn set_variable(name: &std::ffi::CStr, value: &std::ffi::CStr) -> Result<(), Unconfinable> {
    let step = "setting an environment variable";
    OwnProcess::open().map_err(Unconfinable::step("open `/proc/self`"))?.require_single_thread(step)?;
    sys::process::set_variable(name, value).map_err(Unconfinable::step("set an environment variable"))
}

fn require_parent(expected: u32) -> Result<(), Unconfinable> {
    let found = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    if found != expected {
        return Err(Unconfinable::WrongParent { expected, found });
    }
    Ok(())
}

/// Lowers both limits to `limit`, or leaves what is lower already.
fn lower(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum.map_or(limit, |hard| hard.min(limit));
    rustix::process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })
}

/// Resource limits from the first line on. The number of processes is limited later, when all threads exist.
fn limits(role: Role) -> &'static [(Resource, u64)] {
    const MIB: u64 = 1 << 20;
    match role {
        // The engine reserves address space generously and uses little of it, so data is limited and address space is not.
        Role::Compile => &[
            (Resource::Core, 0),
            (Resource::Memlock, 0),
            (Resource::Nofile, 32),
            (Resource::Fsize, 1024 * MIB),
            (Resource::Data, 4096 * MIB),
            (Resource::Cpu, 600),
        ],
        Role::Worker => &[(Resource::Core, 0), (Resource::Memlock, 0), (Resource::Nofile, 4096)],
        Role::Graph | Role::OnnxRuntime | Role::Language | Role::Torch | Role::OpenVino => {
            &[(Resource::Core, 0), (Resource::Memlock, 0), (Resource::Nofile, 1024)]
        }
    }
}
