//! Confinement of child processes: hardening, Landlock, seccomp, and the memory that processes share.
//!
//! Runs in: worker, graph host and compiler, on themselves; in the daemon, to start them and to look at them.
//! Invariant: a [`Confined`] value exists only if every step before it succeeded.
//! Does not: depend on anything of ours, decide policy, or downgrade. What the policy requires and the host cannot give is an
//! [`Unconfinable`]; what it only prefers is in the [`Report`].
//!
//! This is the only crate with `unsafe`, all of it in [`sys`].

pub mod host;
pub mod rules;
pub mod sys;

mod confine;
mod error;
mod filter;
mod harden;
mod inspect;
mod landlock;
mod launch;
mod memory;
mod namespace;
mod own;
mod profile;
mod report;

pub use confine::Confined;
pub use confine::FsGrant;
pub use confine::Restricted;
pub use error::Unconfinable;
pub use filter::Filters;
pub use filter::Spread;
pub use harden::Hardened;
pub use harden::harden;
#[cfg(feature = "trial")]
pub use harden::harden_in_host_root;
pub use inspect::ProcessStatus;
pub use inspect::inspect;
pub use launch::Child;
pub use launch::Launcher;
pub use launch::spawn;
pub use memory::OutOfRange;
pub use memory::SharedMemory;
pub use memory::memfd;
pub use memory::read_sealed;
pub use memory::seal;
pub use memory::sealed_memfd;
pub use profile::Access;
pub use profile::FilesystemUse;
pub use profile::Profile;
pub use profile::Role;
pub use report::Report;
pub use report::SelfTest;
pub use sys::code::publish_code;
pub use sys::code::unpublish_code;
