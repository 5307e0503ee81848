//! A worker with one layer left out, to show that the table then fails: a table that cannot fail proves nothing.
//!
//! Runs in: `edgeguard-redteam`, when a file `canary` lies beside it. No program of the product looks for such a file.

use std::error::Error;
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use edgeguard_sandbox::Access;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::Filters;
use edgeguard_sandbox::FsGrant;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Report;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::Spread;
use edgeguard_sandbox::harden;
use edgeguard_sandbox::rules;
use edgeguard_tests::redteam::Order;
use edgeguard_wire::Channel;
use edgeguard_wire::worker::FromWorker;
use edgeguard_wire::worker::ToWorker;
use edgeguard_worker::Grants;
use edgeguard_worker::Stdio;

use crate::attack::Field;

/// Which layer is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// The root of its own: as on a host that refuses namespaces. All else is in force.
    HostRoot,
    /// The difference between reading and writing, in Landlock and in the mounts.
    WriteEverywhere,
    /// The condition of one row of the final filter: memory may be mapped to be executed.
    MapCode,
}

/// The weakness that the house asks for.
pub fn found() -> Option<Weakness> {
    let file = std::env::current_exe().ok()?.with_file_name("canary");
    match std::fs::read_to_string(file).ok()?.trim() {
        "host-root" => Some(Weakness::HostRoot),
        "write-everywhere" => Some(Weakness::WriteEverywhere),
        "map-code" => Some(Weakness::MapCode),
        _ => None,
    }
}

/// Makes the kernel refuse user namespaces to this process, as some distributions do to all: it enters one in which none can be made.
pub fn give_up_namespaces() {
    // If it does not work, the worker has a root of its own, and the test sees that in its report.
    let entered = crate::attack::call(libc::SYS_unshare, [crate::attack::number(libc::CLONE_NEWUSER)]);
    let forbidden = std::fs::write("/proc/sys/user/max_user_namespaces", "0");
    if let (Err(_), _) | (_, Err(_)) = (entered, forbidden) {
        eprintln!("edgeguard-redteam: cannot give up namespaces");
    }
}

/// The life of a worker as in `edgeguard_worker::serve`, on one thread, with the weakness.
pub fn main(weakness: Weakness) -> ExitCode {
    match serve(weakness) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgeguard-redteam: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(weakness: Weakness) -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_default().parse()?;
    let hardened = harden(Role::Worker, parent)?;
    let control = Channel::from_fd(std::io::stdin().as_fd().try_clone_to_owned()?);
    control.send(&FromWorker::Standby, &[])?;
    let (ToWorker::Assign(assignment), fds) = control.recv()? else { return Err("expected an assignment".into()) };
    let grants = Grants::new(*assignment, fds)?;

    let policy: Vec<Access> = grants.assignment.dirs.iter().map(|dir| dir.access).collect();
    let access = |granted: Access| if weakness == Weakness::WriteEverywhere { Access::ReadWrite } else { granted };
    let allowed: Vec<FsGrant<'_>> =
        grants.dirs.iter().zip(&policy).map(|(dir, granted)| FsGrant { dir: dir.as_fd(), access: access(*granted) }).collect();
    let restricted = hardened.restrict_filesystem(&allowed, grants.assignment.landlock_floor)?;
    let profile = Profile { role: Role::Worker, filesystem: FilesystemUse::of(policy) };
    let report = match weakness {
        Weakness::MapCode => load_weak_filter(&profile)?,
        Weakness::HostRoot | Weakness::WriteEverywhere => restricted.confine(&profile, ())?.report().clone(),
    };
    control.send(&FromWorker::Confined(Box::new(report)), &[])?;
    let (ToWorker::Run, _) = control.recv()? else { return Err("expected `run`".into()) };

    let mut field = Field { order: Order::new(), directories: grants.dirs, ring: grants.lanes.into_iter().next().map(|lane| lane.ring) };
    while let Ok((ToWorker::Invoke(_), fds)) = control.recv() {
        let [input, output, error] = <[_; 3]>::try_from(fds).map_err(|_| "expected three descriptors")?;
        let stdio = Stdio { input, output, error };
        field.order = crate::read_order(&stdio);
        crate::attack(&field, &stdio);
    }
    Ok(())
}

/// The final filters with one condition missing; the report says what a whole one would.
fn load_weak_filter(profile: &Profile) -> Result<Report, Box<dyn Error>> {
    let mut tables = rules::stage2(profile, true);
    for rule in tables.iter_mut().flat_map(|table| &mut table.rules).filter(|rule| rule.syscall == libc::SYS_mmap) {
        rule.arguments = &[];
    }
    let filters = Filters::of(tables);
    let seccomp_stage2 = filters.digest()?;
    filters.load(Spread::AllThreads)?;
    Ok(Report {
        role: Role::Worker,
        landlock_abi: 0,
        landlock_errata: 0,
        rights_enforced: Vec::new(),
        rights_missing: Vec::new(),
        granted: 0,
        own_root: true,
        own_root_missing: String::new(),
        mdwe: true,
        no_new_privs: true,
        dumpable: false,
        seccomp_stage1: String::new(),
        seccomp_stage2,
        seccomp_rules: filters.rules(),
        threads: 1,
        self_test: Vec::new(),
        exceptions: Vec::new(),
    })
}
