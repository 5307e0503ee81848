//! `doctor`: what this host can enforce.
//!
//! Runs in: command line.

use clap::Args;

use crate::ExitCode;
use crate::output;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Write JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: DoctorArgs) -> ExitCode {
    output::error(&format!("`doctor{}` is not built into this binary", if args.json { " --json" } else { "" }));
    ExitCode::Usage
}
