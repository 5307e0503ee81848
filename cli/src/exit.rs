//! The exit codes of `edgeguard`, few and documented.
//!
//! Runs in: command line.

/// How a command ended. Its words in `edgeguard --help` and in the manual are those of [`WORDS`].
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
    /// The journal is whole and sealed, and an anchor was asked for that is not there.
    Unanchored = 10,
    /// The journal is whole, and nothing in it is signed though that was asked for.
    Unsealed = 11,
}

/// Every exit code, and what it says.
const WORDS: &[(ExitCode, &str)] = &[
    (ExitCode::Ok, "done"),
    (ExitCode::Refused, "refused by policy"),
    (ExitCode::Usage, "usage, a bad policy, or a file or service that is not there"),
    (ExitCode::Rejected, "signature rejected"),
    (ExitCode::Unconfinable, "host cannot confine"),
    (ExitCode::Killed, "worker killed by its sandbox"),
    (ExitCode::Incomplete, "journal incomplete (audit verify)"),
    (ExitCode::Tampered, "journal tampered with (audit verify)"),
    (ExitCode::Unreadable, "journal unreadable (audit verify)"),
    (ExitCode::Guest, "module failed: a trap, a limit, or its own exit code (invoke)"),
    (ExitCode::Unanchored, "journal whole and sealed, not anchored (audit verify --require anchored)"),
    (ExitCode::Unsealed, "journal whole, not sealed (audit verify --require sealed)"),
];

/// The list for `--help`.
pub(crate) fn words() -> String {
    WORDS.iter().map(|(code, words)| format!("  {}  {words}\n", *code as u8)).collect()
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
