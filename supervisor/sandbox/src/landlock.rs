//! Landlock: two rulesets, the second exactly as the grants.
//!
//! Runs in: worker, graph host, compiler; single-threaded, because the rules are per thread before Linux 7.0.
//! Tested with ABI 2, 7 and 10. Does not cover, on any ABI: stat, chdir, chmod, chown, xattr, utime, and descriptors that were
//! open before. Those are what the filters, the own root and `close_range` are for.

use landlock::ABI;
use landlock::Access as _;
use landlock::AccessFs;
use landlock::AccessNet;
use landlock::BitFlags;
use landlock::CompatLevel;
use landlock::Compatible as _;
use landlock::PathBeneath;
use landlock::Ruleset;
use landlock::RulesetAttr as _;
use landlock::RulesetCreated;
use landlock::RulesetCreatedAttr as _;
use landlock::RulesetStatus;
use landlock::Scope;

use crate::Access;
use crate::FsGrant;
use crate::Unconfinable;
use crate::namespace::OwnRoot;
use crate::sys;

/// The newest ABI whose rights this product knows.
const NEWEST: ABI = ABI::V10;

/// What is in force in this process.
#[derive(Debug)]
pub(crate) struct Rights {
    pub(crate) abi: u32,
    pub(crate) errata: u32,
    pub(crate) enforced: Vec<String>,
    pub(crate) missing: Vec<String>,
}

impl Rights {
    /// Ruleset 1: what no child may ever do, whatever its grants. Without Landlock in the kernel nothing is in force, and
    /// [`Rights::restrict`] decides whether that is acceptable.
    pub(crate) fn never_granted(own_root: &OwnRoot) -> Result<Self, Unconfinable> {
        let abi = sys::process::landlock_abi().unwrap_or(0);
        let mut rights = Self { abi, errata: errata(), enforced: Vec::new(), missing: Vec::new() };
        if abi == 0 {
            return Ok(rights);
        }
        let known = known(abi);
        let net = AccessNet::from_all(known);
        let scope = Scope::from_all(known);
        // Once any file system right is handled, mounting is denied; a process that still has its root to build waits for ruleset 2.
        let fs = if own_root.pending() { BitFlags::EMPTY } else { NEVER & AccessFs::from_all(known) };
        rights.note("net", net, AccessNet::from_all(NEWEST));
        rights.note("scope", scope, Scope::from_all(NEWEST));
        let failed = |source| Unconfinable::Landlock { ruleset: "never granted", source };
        let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        if !fs.is_empty() {
            ruleset = ruleset.handle_access(fs).map_err(boxed).map_err(failed)?;
        }
        if !net.is_empty() {
            ruleset = ruleset.handle_access(net).map_err(boxed).map_err(failed)?;
        }
        if !scope.is_empty() {
            ruleset = ruleset.scope(scope).map_err(boxed).map_err(failed)?;
        }
        if !(fs.is_empty() && net.is_empty() && scope.is_empty()) {
            enforce(ruleset.create().map_err(boxed).map_err(failed)?, "never granted")?;
        }
        Ok(rights)
    }

    /// Ruleset 2: every file system right that this kernel knows is denied, except what `grants` give below their directories.
    pub(crate) fn restrict(&mut self, grants: &[FsGrant<'_>], floor: u32) -> Result<(), Unconfinable> {
        // A floor of 0 would mean no file system sandbox at all, which is not on offer.
        let required = floor.max(1);
        if self.abi < required {
            return Err(Unconfinable::LandlockAbi { required, found: Some(self.abi).filter(|abi| *abi > 0) });
        }
        let handled = AccessFs::from_all(known(self.abi));
        self.note("fs", handled, AccessFs::from_all(NEWEST));
        let failed = |source| Unconfinable::Landlock { ruleset: "grants", source };
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(handled)
            .and_then(Ruleset::create)
            .map_err(boxed)
            .map_err(failed)?;
        for grant in grants {
            let rule = PathBeneath::new(grant.dir, granted(grant.access) & handled);
            ruleset = ruleset.add_rule(rule).map_err(boxed).map_err(failed)?;
        }
        enforce(ruleset, "grants")
    }

    /// Writes down which of the `wanted` rights the kernel took.
    fn note<A: landlock::Access + std::fmt::Debug>(&mut self, group: &str, handled: BitFlags<A>, wanted: BitFlags<A>) {
        self.enforced.extend(handled.iter().map(|right| label(group, right)));
        self.missing.extend((wanted & !handled).iter().map(|right| label(group, right)));
    }
}

/// Fixes in this kernel, as the bit mask that it gives.
pub(crate) fn errata() -> u32 {
    landlock::Erratum::current().bits()
}

/// Rights that no grant ever contains.
const NEVER: BitFlags<AccessFs> =
    landlock::make_bitflags!(AccessFs::{Execute | MakeChar | MakeBlock | MakeSock | MakeFifo | IoctlDev | ResolveUnix});

/// Rights of a grant.
fn granted(access: Access) -> BitFlags<AccessFs> {
    use landlock::make_bitflags;
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    match access {
        Access::Read => read,
        Access::ReadWrite => {
            read | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | MakeSym | RemoveFile | RemoveDir | Refer})
        }
    }
}

/// What Landlock makes of a grant on a kernel with a given ABI. The rights are named as in [`crate::Report::rights_enforced`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightsOf {
    /// What the grant's rule allows below its directory.
    pub allowed: Vec<String>,
    /// File system rights that are handled and that the rule does not give: denied below the directory, as everywhere else.
    pub denied: Vec<String>,
    /// File system rights that this product knows and that such a kernel does not: the other layers stand in for them.
    pub unknown: Vec<String>,
}

/// The rights that a grant becomes, from the tables that confine a worker; nothing is asked of this host's kernel.
#[must_use]
pub fn rights_of(access: Access, abi: u32) -> RightsOf {
    let handled = AccessFs::from_all(known(abi));
    let allowed = granted(access) & handled;
    let labels = |rights: BitFlags<AccessFs>| rights.iter().map(|right| label("fs", right)).collect();
    RightsOf { allowed: labels(allowed), denied: labels(handled & !allowed), unknown: labels(AccessFs::from_all(NEWEST) & !handled) }
}

/// Every right that was asked for is in force, or this fails: the status of the crate is checked, not assumed.
fn enforce(ruleset: RulesetCreated, name: &'static str) -> Result<(), Unconfinable> {
    let status = ruleset.restrict_self().map_err(|source| Unconfinable::Landlock { ruleset: name, source: boxed(source) })?;
    if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
        let found = format!("expected `FullyEnforced` with no-new-privs, found {:?}", status.ruleset);
        return Err(Unconfinable::Landlock { ruleset: name, source: found.into() });
    }
    Ok(())
}

/// The rights to ask for on a kernel with this ABI: those that both it and this product know.
pub(crate) fn known(abi: u32) -> ABI {
    match abi {
        0 => ABI::Unsupported,
        1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        6 => ABI::V6,
        7 => ABI::V7,
        8 => ABI::V8,
        9 => ABI::V9,
        _ => NEWEST,
    }
}

/// `MakeReg` in group `fs` becomes `fs:make-reg`.
fn label(group: &str, right: impl std::fmt::Debug) -> String {
    let mut label = format!("{group}:");
    for (position, letter) in format!("{right:?}").chars().enumerate() {
        if letter.is_ascii_uppercase() && position > 0 {
            label.push('-');
        }
        label.push(letter.to_ascii_lowercase());
    }
    label
}

fn boxed(error: landlock::RulesetError) -> Box<dyn std::error::Error + Send + Sync> {
    Box::new(error)
}
