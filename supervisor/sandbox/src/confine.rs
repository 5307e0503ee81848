//! The last two steps before a child obeys anybody: the grants, and the final lock.
//!
//! Runs in: worker, graph host, compiler.
//! Invariant: a [`Confined`] value exists only if every step succeeded, in this process, in this order:
//! [`crate::harden()`], [`Hardened::restrict_filesystem`], [`Restricted::confine`].

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::Resource;
use rustix::process::Rlimit;

use crate::Access;
use crate::Hardened;
use crate::Profile;
use crate::Report;
use crate::Role;
use crate::Sealed;
use crate::SelfTest;
use crate::Unconfinable;
use crate::filter::Filters;
use crate::filter::Spread;
use crate::harden::Facts;

/// A directory that the process may use, by descriptor.
#[derive(Debug, Clone, Copy)]
pub struct FsGrant<'a> {
    /// The directory. Where the process gets a root of its own, this descriptor is replaced, under its own number, by one for
    /// the same directory in that root.
    pub dir: BorrowedFd<'a>,
    /// What may be done below it.
    pub access: Access,
}

/// Proof that [`Hardened::restrict_filesystem`] succeeded in this process.
///
/// ```compile_fail
/// // There is no other way to get one.
/// let restricted = edgeguard_sandbox::Restricted {};
/// ```
#[derive(Debug)]
pub struct Restricted {
    role: Role,
    facts: Facts,
    granted: u32,
}

/// State that was built before the lock and is used after it.
///
/// What a child does with its state should take `&mut Confined<State>`, so that the wrong order does not build:
///
/// ```compile_fail
/// struct Worker;
/// fn run(worker: &mut edgeguard_sandbox::Confined<Worker>) {}
/// run(&mut Worker);
/// ```
#[derive(Debug)]
pub struct Confined<T> {
    state: T,
    report: Report,
}

impl Hardened {
    /// Leaves this process exactly the directories of `grants`, by Landlock, and nothing else of the file system. The kernel must
    /// have at least Landlock ABI `floor` (a `floor` of 0 counts as 1). `/proc/self/fd/N` still opens for a granted directory.
    ///
    /// # Errors
    /// [`Unconfinable`]; the process must then exit, for part of the steps may have been taken.
    pub fn restrict_filesystem(mut self, grants: &[FsGrant<'_>], floor: u32) -> Result<Restricted, Unconfinable> {
        self.facts.own.require_single_thread("restricting the file system")?;
        self.facts.own_root.settle(grants, &self.facts.own)?;
        self.facts.rights.restrict(grants, floor)?;
        refuses_to_open_root()?;
        let granted = u32::try_from(grants.len()).unwrap_or(u32::MAX);
        Ok(Restricted { role: self.role, facts: self.facts, granted })
    }
}

impl Restricted {
    /// Locks the process: the final filters on all its threads, then the self-test.
    ///
    /// Every other thread must have reached its own first line: what the C library does to start one is not in the final tables,
    /// and a thread that is still starting would be killed, and the process with it.
    ///
    /// # Errors
    /// [`Unconfinable`]; the process must then exit.
    pub fn confine<T>(self, profile: &Profile, state: T) -> Result<Confined<T>, Unconfinable> {
        if profile.role != self.role {
            return Err(Unconfinable::WrongRole { hardened: self.role.name(), profile: profile.role.name() });
        }
        // Counted here because it takes calls that the lock takes away; nothing can start a thread in between but this process.
        let threads = self.facts.own.threads().map_err(Unconfinable::step("count threads"))?;
        // All threads exist now, but for an engine that starts some for each model.
        if !self.role.makes_code() {
            no_more_processes()?;
        }

        let filters = Filters::stage2(profile, self.facts.own_root.in_force());
        let seccomp_stage2 = filters.digest()?;
        filters.load(Spread::AllThreads)?;

        let self_test = self_test(&self.facts)?;
        let Facts { mdwe, stage1, rights, own_root, own } = self.facts;
        drop(own);
        let report = Report {
            role: self.role,
            landlock_abi: rights.abi,
            landlock_errata: rights.errata,
            rights_enforced: rights.enforced,
            rights_missing: rights.missing,
            granted: self.granted,
            own_root: own_root.in_force(),
            own_root_missing: own_root.reason().to_owned(),
            mdwe,
            no_new_privs: true,
            dumpable: false,
            seccomp_stage1: stage1,
            seccomp_stage2,
            seccomp_rules: filters.rules(),
            threads,
            exceptions: self.role.exceptions(),
            self_test,
        };
        Ok(Confined { state, report })
    }
}

impl<T> Confined<T> {
    /// Takes away what a process that makes code had for loading its model, on all threads: new threads, and with [`Sealed::NoCode`] memory that is
    /// executed. For other roles there is nothing to take.
    ///
    /// # Errors
    /// [`Unconfinable`]; the process must then exit.
    pub fn seal(&mut self, sealed: Sealed) -> Result<(), Unconfinable> {
        if !self.report.role.makes_code() {
            return Ok(());
        }
        no_more_processes()?;
        Filters::of(crate::rules::sealed(self.report.role, sealed)).load(Spread::AllThreads)
    }

    /// What is in force.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The state.
    pub fn get(&self) -> &T {
        &self.state
    }

    /// The state, to use.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.state
    }

    /// State and report.
    pub fn into_parts(self) -> (T, Report) {
        (self.state, self.report)
    }
}

/// This limit counts the user's processes on the whole machine, so only zero is of use.
fn no_more_processes() -> Result<(), Unconfinable> {
    rustix::process::setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(Unconfinable::step("limit the number of processes"))
}

/// Tries what must not be possible any more, and reads what the kernel says of this process.
fn self_test(facts: &Facts) -> Result<Vec<SelfTest>, Unconfinable> {
    refuses_to_open_root()?;
    let status = facts.own.status().map_err(Unconfinable::step("read own status"))?;
    let expect = |check: &'static str, expected: &'static str, holds: bool, found: String| {
        if holds { Ok(SelfTest { check: check.into(), found }) } else { Err(Unconfinable::SelfTest { check, expected, found }) }
    };
    Ok(vec![
        SelfTest { check: OPEN_ROOT.into(), found: "EACCES".into() },
        expect("seccomp mode", "2", status.seccomp_mode == 2, status.seccomp_mode.to_string())?,
        // Kernels before 5.9 do not say how many.
        expect("number of filters", "4 or more", !(1..4).contains(&status.seccomp_filters), status.seccomp_filters.to_string())?,
        expect("no-new-privs", "true", status.no_new_privs, status.no_new_privs.to_string())?,
    ])
}

const OPEN_ROOT: &str = "open of `/`";

/// After the grants it is Landlock that refuses this, after the lock the filter.
fn refuses_to_open_root() -> Result<(), Unconfinable> {
    let failed = |found| Err(Unconfinable::SelfTest { check: OPEN_ROOT, expected: "EACCES", found });
    match rustix::fs::open("/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::ACCESS) => Ok(()),
        Err(other) => failed(io::Error::from(other).to_string()),
        Ok(_) => failed("success".into()),
    }
}
