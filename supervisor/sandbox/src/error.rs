//! Why a process could not be confined.
//!
//! Runs in: worker, graph host, compiler. All of these are faults of the host or of the launcher, never of a guest.

use std::io;

/// The host, or the way this process was started, does not allow the confinement that was asked for. Nothing untrusted may run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unconfinable {
    /// The parent is not the one that the launcher named: it died, or this program was started by somebody else.
    #[error("expected to be a child of process {expected}, found parent {found}; start this program through `edgeguardd`")]
    WrongParent {
        /// The process id that the launcher passed.
        expected: u32,
        /// What the kernel says now.
        found: u32,
    },
    /// Landlock and several process attributes are per thread on most kernels, so they must be set before there is a second one.
    #[error("expected one thread before {step}, found {found}")]
    Threads {
        /// The step that needs a single thread.
        step: &'static str,
        /// Number of threads found.
        found: u32,
    },
    /// A system call of the setup failed.
    #[error("cannot {step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel has no Landlock, or not enough of it.
    #[error("policy requires Landlock ABI {required}, this kernel has {}; boot a newer kernel, or enable Landlock with `lsm=landlock,…`",
        found.map_or_else(|| "none".to_owned(), |abi| abi.to_string()))]
    LandlockAbi {
        /// The floor.
        required: u32,
        /// What the kernel offers.
        found: Option<u32>,
    },
    /// The kernel took the ruleset but does not enforce all of it.
    #[error("cannot enforce Landlock ruleset `{ruleset}`")]
    Landlock {
        /// Which of the two rulesets.
        ruleset: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A granted directory could not be used.
    #[error("cannot grant directory number {index}")]
    Grant {
        /// Position in the list of grants, from 0.
        index: usize,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The system call filter could not be built or loaded.
    #[error("cannot load the system call filter `{filter}`")]
    Filter {
        /// Name of the rule table.
        filter: &'static str,
        /// What the compiler of filters or the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Everything was accepted, yet something forbidden is still possible.
    #[error("self-test failed: {check} should have given {expected}, found {found}")]
    SelfTest {
        /// What was tried.
        check: &'static str,
        /// What confinement must answer.
        expected: &'static str,
        /// What happened.
        found: String,
    },
    /// The profile and the steps before it do not belong together.
    #[error("hardened as `{hardened}`, but the profile is for `{profile}`")]
    WrongRole {
        /// Role given to `harden`.
        hardened: &'static str,
        /// Role given to `confine`.
        profile: &'static str,
    },
}

impl Unconfinable {
    /// For `map_err` on a failed step.
    pub(crate) fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { step, source: source.into() }
    }
}
