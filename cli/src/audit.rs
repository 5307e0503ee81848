//! `audit tail`, `audit verify` and `audit export`.
//!
//! Runs in: command line.

use std::path::PathBuf;

use clap::Subcommand;

use crate::ExitCode;
use crate::output;

/// Read, check and export the journal.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print the last records.
    Tail {
        /// The journal.
        #[arg(long, default_value = "/var/lib/edgeguard/audit")]
        dir: PathBuf,
    },
    /// Check that the journal is whole and unchanged.
    Verify {
        /// The journal.
        #[arg(long, default_value = "/var/lib/edgeguard/audit")]
        dir: PathBuf,
    },
    /// Write the journal in another form.
    Export {
        /// The journal.
        #[arg(long, default_value = "/var/lib/edgeguard/audit")]
        dir: PathBuf,
    },
}

pub(crate) fn run(command: AuditCommand) -> ExitCode {
    let (AuditCommand::Tail { dir } | AuditCommand::Verify { dir } | AuditCommand::Export { dir }) = command;
    output::error(&format!("`audit` is not built into this binary, `{}` was not read", dir.display()));
    ExitCode::Usage
}
