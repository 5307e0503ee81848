//! What a confined process says about itself. The supervisor writes it to the journal, after comparing it with what
//! [`crate::inspect()`] saw from outside.
//!
//! Runs in: worker, graph host, compiler (made); daemon (read).
//! Does not: prove anything by itself; a process that lies is caught by the comparison.

use serde::Deserialize;
use serde::Serialize;

use crate::Role;

/// The confinement in force, and what this kernel could not give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which tables apply.
    pub role: Role,
    /// Landlock ABI in use; 0 for none.
    pub landlock_abi: u32,
    /// Landlock fixes in this kernel, as the bit mask that the kernel gives.
    pub landlock_errata: u32,
    /// Landlock rights that are handled, hence denied except where granted: `fs:read-file`, `net:bind-tcp`, `scope:signal`, …
    pub rights_enforced: Vec<String>,
    /// Rights that this product knows and this kernel does not; seccomp stands in for them.
    pub rights_missing: Vec<String>,
    /// Number of directories granted.
    pub granted: u32,
    /// Whether the process sees a file system of its own that holds nothing but its grants.
    pub own_root: bool,
    /// Why not, when it does not; empty otherwise.
    pub own_root_missing: String,
    /// Memory-deny-write-execute (`PR_SET_MDWE`).
    pub mdwe: bool,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: bool,
    /// `PR_SET_DUMPABLE`; always false in a report.
    pub dumpable: bool,
    /// SHA-256 of the setup filter's instructions, in hex.
    pub seccomp_stage1: String,
    /// SHA-256 of the final filters' instructions, in hex.
    pub seccomp_stage2: String,
    /// Rows in the final tables.
    pub seccomp_rules: u32,
    /// Threads that the final filter covers.
    pub threads: u32,
    /// What this role may do that other locked processes may not, until its model is loaded or for good; empty for most.
    pub exceptions: Vec<String>,
    /// What was tried after the lock, and what came of it.
    pub self_test: Vec<SelfTest>,
}

/// One line of the self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// What was tried.
    pub check: String,
    /// What came of it; a report exists only when it is what was expected.
    pub found: String,
}
