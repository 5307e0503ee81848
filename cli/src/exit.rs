//! The exit codes of `edgeguard`, few and documented.
//!
//! Runs in: command line. The list in `edgeguard --help` and in the manual is this one; a test compares them.

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(dead_code, reason = "the list is one for all subcommands; which of them uses which code is their affair")]
pub(crate) enum ExitCode {
    /// Done.
    Ok = 0,
    /// Refused by policy.
    Refused = 1,
    /// Usage, a bad policy, or a file or service that is not there. Clap's own code for usage is the same.
    Usage = 2,
    /// The signature was rejected.
    Rejected = 3,
    /// The host cannot confine.
    Unconfinable = 4,
    /// The worker was killed by its sandbox.
    Killed = 5,
    /// The journal lacks something that it once had, or its last frame is torn.
    Incomplete = 6,
    /// The journal was tampered with.
    Tampered = 7,
    /// The journal cannot be read.
    Unreadable = 8,
    /// The module ran and failed: a trap, a limit, or its own exit code other than 0.
    Guest = 9,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
