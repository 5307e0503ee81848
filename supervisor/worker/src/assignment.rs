//! An assignment and its descriptors, counted and sorted into what they are.
//!
//! Runs in: worker, before a descriptor is used.
//! Invariant: a [`Grants`] has exactly the descriptors that its assignment names, no more and no fewer.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::FsGrant;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_wire::worker::Assignment;

use crate::fault::Refusal;

/// The most instances at once. Each takes a thread and 4 GiB of address space.
pub const MAX_INSTANCES: u32 = 64;

/// Everything one worker has been given.
#[derive(Debug)]
pub struct Grants {
    /// What the daemon decided.
    pub assignment: Assignment,
    /// Native code: a sealed file.
    pub code: OwnedFd,
    /// Written to when a ring fills: the daemon's `eventfd`.
    pub doorbell: OwnedFd,
    /// One for each of [`Assignment::dirs`].
    pub dirs: Vec<OwnedFd>,
    /// One for each instance.
    pub lanes: Vec<LaneFds>,
}

/// What one guest thread is given.
#[derive(Debug)]
pub struct LaneFds {
    /// The audit ring: a sealed region.
    pub ring: OwnedFd,
    /// One for each of [`Assignment::graphs`].
    pub graphs: Vec<GraphFds>,
}

/// One channel to a graph host.
#[derive(Debug)]
pub struct GraphFds {
    /// Frames.
    pub socket: OwnedFd,
    /// Tensors: a sealed region.
    pub region: OwnedFd,
}

impl Grants {
    /// Sorts the descriptors.
    ///
    /// # Errors
    /// [`Refusal::Descriptors`] when there are not exactly as many as the assignment needs; [`Refusal::Limit`] when a limit is
    /// beyond what a worker can keep.
    pub fn new(assignment: Assignment, fds: Vec<OwnedFd>) -> Result<Self, Refusal> {
        let limits = &assignment.limits;
        within("instances", limits.instances.into(), 1, MAX_INSTANCES.into())?;
        // What 32-bit guests can address; a component may have several memories, so there is no upper bound but the type's.
        within("memory", limits.memory, 1, u64::MAX)?;
        let refusal = Refusal::Descriptors { expected: assignment.descriptors(), found: fds.len() };
        if fds.len() != assignment.descriptors() {
            return Err(refusal);
        }
        let mut fds = fds.into_iter();
        Self::sort(assignment, &mut fds).ok_or(refusal)
    }

    fn sort(assignment: Assignment, fds: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let code = fds.next()?;
        let doorbell = fds.next()?;
        let dirs = (0..assignment.dirs.len()).map(|_| fds.next()).collect::<Option<_>>()?;
        let lanes = (0..assignment.limits.instances).map(|_| lane(assignment.graphs.len(), fds)).collect::<Option<_>>()?;
        Some(Self { assignment, code, doorbell, dirs, lanes })
    }

    /// What Landlock is told.
    pub(crate) fn filesystem(&self) -> Vec<FsGrant<'_>> {
        self.dirs.iter().zip(&self.assignment.dirs).map(|(fd, dir)| FsGrant { dir: fd.as_fd(), access: dir.access }).collect()
    }

    /// What the final filter is derived from.
    pub(crate) fn profile(&self) -> Profile {
        Profile { role: Role::Worker, filesystem: FilesystemUse::of(self.assignment.dirs.iter().map(|dir| dir.access)) }
    }
}

fn lane(graphs: usize, fds: &mut impl Iterator<Item = OwnedFd>) -> Option<LaneFds> {
    let ring = fds.next()?;
    let graphs = (0..graphs).map(|_| channel(fds)).collect::<Option<_>>()?;
    Some(LaneFds { ring, graphs })
}

fn channel(fds: &mut impl Iterator<Item = OwnedFd>) -> Option<GraphFds> {
    Some(GraphFds { socket: fds.next()?, region: fds.next()? })
}

/// Sorts the descriptors of a `RenewGraph`: a socket and a region for each instance.
pub(crate) fn renewed(instances: usize, fds: Vec<OwnedFd>) -> Option<Vec<GraphFds>> {
    let mut fds = fds.into_iter();
    let renewed = (0..instances).map(|_| channel(&mut fds)).collect::<Option<Vec<_>>>()?;
    fds.next().is_none().then_some(renewed)
}

fn within(limit: &'static str, found: u64, least: u64, most: u64) -> Result<(), Refusal> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(Refusal::Limit { limit, least, most, found }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::time::Duration;

    use edgeguard_sandbox::Access;
    use edgeguard_wire::graph::ModelInfo;
    use edgeguard_wire::worker::Dir;
    use edgeguard_wire::worker::Graph;
    use edgeguard_wire::worker::Limits;
    use edgeguard_wire::worker::ModuleKind;

    use super::*;

    fn assignment(dirs: usize, graphs: usize, instances: u32) -> Assignment {
        let limits = Limits {
            memory: 1,
            table_elements: 1,
            instances,
            deadline: Duration::from_secs(1),
            output: 1,
            open_files: 1,
            clock_resolution: Duration::ZERO,
        };
        Assignment {
            module: "m".into(),
            kind: ModuleKind::Core,
            dirs: vec![Dir { guest: "/d".into(), access: Access::Read, quota: None }; dirs],
            graphs: vec![Graph { name: "g".into(), model: ModelInfo::default(), language: None, region: 16, deadline: None }; graphs],
            limits,
            args: Vec::new(),
            env: Vec::new(),
            landlock_floor: 1,
            http: None,
        }
    }

    fn fds(count: usize) -> Vec<OwnedFd> {
        let (reader, _) = rustix::pipe::pipe().unwrap();
        (0..count).map(|_| reader.try_clone().unwrap()).collect()
    }

    #[test]
    fn descriptors_are_sorted_by_instance_and_graph() {
        let grants = Grants::new(assignment(2, 3, 4), fds(2 + 2 + 4 * (1 + 2 * 3))).unwrap();
        assert_eq!((grants.dirs.len(), grants.lanes.len()), (2, 4));
        assert!(grants.lanes.iter().all(|lane| lane.graphs.len() == 3));
    }

    #[test]
    fn a_descriptor_too_many_or_too_few_is_refused() {
        for found in [5, 7] {
            let refused = Grants::new(assignment(1, 1, 1), fds(found)).unwrap_err();
            assert!(matches!(refused, Refusal::Descriptors { expected: 6, .. }), "{refused}");
        }
    }

    #[test]
    fn no_instance_and_too_many_instances_are_refused() {
        assert!(matches!(Grants::new(assignment(0, 0, 0), fds(2)), Err(Refusal::Limit { limit: "instances", .. })));
        assert!(matches!(Grants::new(assignment(0, 0, 65), fds(67)), Err(Refusal::Limit { limit: "instances", .. })));
    }
}
