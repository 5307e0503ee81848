//! Confinement of the exporter, which is no child of the daemon: started by its own unit, with an outgoing network right and a few folders.
//!
//! Runs in: exporter.
//! Invariant: [`ExporterReport`] exists only if every step succeeded, in this process, in this order: [`restrict_exporter`],
//! [`ExporterRestricted::lock`].
//! Does not: hide the host's root. What is outside the folders cannot be opened, but that it exists can be seen; its unit keeps most of it away.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use landlock::Access as _;
use landlock::AccessFs;
use landlock::AccessNet;
use landlock::BitFlags;
use landlock::CompatLevel;
use landlock::Compatible as _;
use landlock::NetPort;
use landlock::PathBeneath;
use landlock::Ruleset;
use landlock::RulesetAttr as _;
use landlock::RulesetCreatedAttr as _;
use landlock::RulesetStatus;
use landlock::Scope;
use landlock::make_bitflags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::DumpableBehavior;
use rustix::process::Resource;
use rustix::process::Rlimit;
use serde::Serialize;

use crate::Unconfinable;
use crate::filter::Filters;
use crate::filter::Spread;
use crate::landlock::known;
use crate::own::OwnProcess;
use crate::rules;
use crate::sys;

/// All that the exporter may reach.
#[derive(Debug, Default)]
pub struct Reach<'a> {
    /// Folders to read: the journal.
    pub read: Vec<BorrowedFd<'a>>,
    /// Folders to read and write plain files in: its own state.
    pub write: Vec<BorrowedFd<'a>>,
    /// Folders in which it connects to sockets by name.
    pub sockets: Vec<BorrowedFd<'a>>,
    /// TCP ports that it connects to.
    pub ports: Vec<u16>,
}

/// Proof that [`restrict_exporter`] succeeded in this process.
#[derive(Debug)]
pub struct ExporterRestricted {
    abi: u32,
    ports: Vec<u16>,
    own: OwnProcess,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExporterReport {
    /// The kernel's Landlock ABI.
    pub landlock_abi: u32,
    /// Whether Landlock holds it to its ports; otherwise its unit alone does.
    pub ports_enforced: bool,
    /// The ports.
    pub ports: Vec<u16>,
    /// Digest of the filters.
    pub seccomp: String,
    /// Threads under the lock.
    pub threads: u32,
}

/// Takes away, for good, every file and port that is not in `reach`. The process must have one thread; those that it starts later inherit this. The
/// kernel must have at least Landlock ABI `floor` (a `floor` of 0 counts as 1); from 4 on, ports are held too.
///
/// # Errors
/// [`Unconfinable`]; the process must then exit, for part of the steps may have been taken.
pub fn restrict_exporter(reach: &Reach<'_>, floor: u32) -> Result<ExporterRestricted, Unconfinable> {
    let own = OwnProcess::open().map_err(Unconfinable::step("open `/proc/self`"))?;
    own.require_single_thread("restricting the exporter")?;
    let abi = sys::process::landlock_abi().unwrap_or(0);
    let required = floor.max(1);
    if abi < required {
        return Err(Unconfinable::LandlockAbi { required, found: Some(abi).filter(|abi| *abi > 0) });
    }
    for resource in [Resource::Core, Resource::Memlock] {
        rustix::process::setrlimit(resource, Rlimit { current: Some(0), maximum: Some(0) })
            .map_err(Unconfinable::step("lower a resource limit"))?;
    }
    rustix::thread::set_no_new_privs(true).map_err(Unconfinable::step("set no-new-privs"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Unconfinable::step("become undumpable"))?;
    sys::process::deny_write_execute().map_err(Unconfinable::step("deny writable and executable memory"))?;
    sys::process::never_merge_memory();
    // Asked once and remembered: the first question goes to the kernel by `prctl`, which the filter does not allow.
    rustix::param::page_size();
    landlock(reach, abi).map_err(|source| Unconfinable::Landlock { ruleset: "exporter", source })?;
    Ok(ExporterRestricted { abi, ports: reach.ports.clone(), own })
}

fn landlock(reach: &Reach<'_>, abi: u32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let known = known(abi);
    let files = AccessFs::from_all(known);
    let net: BitFlags<AccessNet> = AccessNet::from_all(known);
    let scope: BitFlags<Scope> = Scope::from_all(known);
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(files)?;
    if !net.is_empty() {
        ruleset = ruleset.handle_access(net)?;
    }
    if !scope.is_empty() {
        ruleset = ruleset.scope(scope)?;
    }
    let mut ruleset = ruleset.create()?;
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write = read | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | RemoveFile});
    let folders = [(&reach.read, read), (&reach.write, write), (&reach.sockets, make_bitflags!(AccessFs::{ResolveUnix}))];
    for (folders, rights) in folders {
        // A kernel that does not know a right does not hold it either.
        let rights = rights & files;
        if rights.is_empty() {
            continue;
        }
        for folder in folders {
            ruleset = ruleset.add_rule(PathBeneath::new(*folder, rights))?;
        }
    }
    if net.contains(AccessNet::ConnectTcp) {
        for port in &reach.ports {
            ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    let status = ruleset.restrict_self()?;
    if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
        return Err(format!("expected `FullyEnforced` with no-new-privs, found {:?}", status.ruleset).into());
    }
    Ok(())
}

impl ExporterRestricted {
    /// Locks all threads of the process, each of which must have reached its own first line; from here on there are no others.
    ///
    /// # Errors
    /// [`Unconfinable`]; the process must then exit.
    pub fn lock(self) -> Result<ExporterReport, Unconfinable> {
        let threads = self.own.threads().map_err(Unconfinable::step("count threads"))?;
        let filters = Filters::of(rules::exporter());
        let seccomp = filters.digest()?;
        filters.load(Spread::AllThreads)?;
        let ports_enforced = self.abi >= FIRST_WITH_PORTS;
        expect_refusal(
            "open of `/`",
            rustix::fs::openat(rustix::fs::CWD, "/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(drop),
        )?;
        if ports_enforced {
            // Nothing is sent to find out: Landlock answers before the network does.
            let foreign = (1..=u16::MAX).find(|port| !self.ports.contains(port)).unwrap_or(1);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, foreign));
            let tried = TcpStream::connect_timeout(&address, Duration::from_secs(1)).map(drop);
            expect_refusal(
                "connection to a port of nobody",
                tried.map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)),
            )?;
        }
        let status = self.own.status().map_err(Unconfinable::step("read own status"))?;
        if status.seccomp_mode != 2 || !status.no_new_privs {
            let found = format!("{} and {}", status.seccomp_mode, status.no_new_privs);
            return Err(Unconfinable::SelfTest { check: "seccomp mode and no-new-privs", expected: "2 and true", found });
        }
        Ok(ExporterReport { landlock_abi: self.abi, ports_enforced, ports: self.ports, seccomp, threads })
    }
}

fn expect_refusal(check: &'static str, tried: rustix::io::Result<()>) -> Result<(), Unconfinable> {
    let found = match tried {
        Err(rustix::io::Errno::ACCESS) => return Ok(()),
        Err(other) => io::Error::from(other).to_string(),
        Ok(()) => "success".to_owned(),
    };
    Err(Unconfinable::SelfTest { check, expected: "EACCES", found })
}

/// The first Landlock ABI whose rules name TCP ports.
const FIRST_WITH_PORTS: u32 = 4;
