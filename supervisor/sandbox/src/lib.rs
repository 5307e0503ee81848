//! Confinement of child processes: hardening, Landlock, seccomp, and the memory that processes share.
//!
//! Runs in: worker, graph host and compiler, on themselves; in the daemon, to start them and to look at them.
//! Invariant: a [`Confined`] value exists only if every step before it succeeded.
//! Does not: depend on anything of ours, decide policy, or downgrade. What the policy requires and the host cannot give is an
//! [`Unconfinable`]; what it only prefers is in the [`Report`].
//!
//! This is the only crate with `unsafe`, all of it in [`sys`].
//!
//! The whole of a child's `main`:
//!
//! ```no_run
//! use edgeguard_sandbox::{Confined, FilesystemUse, Profile, Role, Unconfinable, harden};
//!
//! struct Graph; // what is built before the lock and used after it
//!
//! fn serve(_graph: &mut Confined<Graph>) {}
//!
//! fn start(parent: u32) -> Result<(), Unconfinable> {
//!     let hardened = harden(Role::Graph, parent)?;
//!     let restricted = hardened.restrict_filesystem(&[], 3)?;
//!     let state = Graph;
//!     let mut confined = restricted.confine(&Profile { role: Role::Graph, filesystem: FilesystemUse::None }, state)?;
//!     serve(&mut confined);
//!     Ok(())
//! }
//! ```
//!
//! # What a confined process can still do
//!
//! - Use the descriptors it holds, and receive more over its control socket.
//! - Allocate memory and burn processor time; limits on those are the supervisor's (cgroups, deadlines).
//! - Below its grants, everything that [`Access`] says. With [`Access::ReadWrite`] it may fill the disk.
//! - Where the host refuses it a root of its own ([`Report::own_root`]), and only when it has a directory at all: learn that a
//!   foreign path exists, its metadata, and where a foreign symbolic link points. Landlock does not cover that, and seccomp
//!   cannot read a path.
//! - End itself with `SIGABRT`. It can signal nobody else.

pub mod host;
pub mod rules;
pub mod sys;

mod confine;
mod error;
mod exporter;
mod filter;
mod harden;
mod inspect;
mod landlock;
mod launch;
mod mapped;
mod memory;
mod namespace;
mod own;
mod passed;
mod profile;
mod report;

pub use confine::Confined;
pub use confine::FsGrant;
pub use confine::Restricted;
pub use error::Unconfinable;
pub use exporter::ExporterReport;
pub use exporter::ExporterRestricted;
pub use exporter::Reach;
pub use exporter::restrict_exporter;
pub use filter::Filters;
pub use filter::Spread;
pub use harden::Hardened;
pub use harden::harden;
#[cfg(feature = "trial")]
pub use harden::harden_in_host_root;
pub use harden::set_variable;
pub use inspect::ProcessStatus;
pub use inspect::inspect;
pub use landlock::RightsOf;
pub use landlock::rights_of;
pub use launch::Child;
pub use launch::Launcher;
pub use launch::spawn;
pub use mapped::MappedFile;
pub use mapped::mapped_code;
pub use memory::OutOfRange;
pub use memory::SharedMemory;
pub use memory::memfd;
pub use memory::read_sealed;
pub use memory::seal;
pub use memory::sealed_memfd;
pub use passed::passed_by_the_service_manager;
pub use profile::Access;
pub use profile::FilesystemUse;
pub use profile::Profile;
pub use profile::Role;
pub use profile::Sealed;
pub use report::Report;
pub use report::SelfTest;
pub use sys::code::publish_code;
pub use sys::code::unpublish_code;
