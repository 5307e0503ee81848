//! `keygen`, `sign` and `verify`.
//!
//! Runs in: command line.

use std::path::PathBuf;

use clap::Args;

use crate::ExitCode;
use crate::output;

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Where to write: DIR/NAME makes NAME.key and NAME.pub.
    #[arg(long, value_name = "DIR/NAME")]
    out: PathBuf,
}

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The signing key.
    #[arg(long)]
    key: PathBuf,
    /// The module.
    module: PathBuf,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A trusted public key; may be repeated.
    #[arg(long, required = true)]
    key: Vec<PathBuf>,
    /// The module.
    module: PathBuf,
}

pub(crate) fn keygen(args: KeygenArgs) -> ExitCode {
    absent("keygen", &args.out)
}

pub(crate) fn sign(args: SignArgs) -> ExitCode {
    absent("sign", &args.module)
}

pub(crate) fn verify(args: VerifyArgs) -> ExitCode {
    absent("verify", &args.module)
}

fn absent(command: &str, path: &std::path::Path) -> ExitCode {
    output::error(&format!("`{command}` is not built into this binary, `{}` was not touched", path.display()));
    ExitCode::Usage
}
