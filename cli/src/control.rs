//! `invoke`, `status` and `reload`: the running daemon, over its control socket.
//!
//! Runs in: command line.

use std::path::PathBuf;

use clap::Args;

use crate::ExitCode;
use crate::output;

/// Arguments of `invoke`.
#[derive(Debug, Args)]
pub(crate) struct InvokeArgs {
    /// The daemon's control socket.
    #[arg(long, default_value = "/run/edgeguard/control.sock")]
    socket: PathBuf,
    /// The module's name in its policy.
    name: String,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The daemon's control socket.
    #[arg(long, default_value = "/run/edgeguard/control.sock")]
    socket: PathBuf,
}

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// The daemon's control socket.
    #[arg(long, default_value = "/run/edgeguard/control.sock")]
    socket: PathBuf,
}

pub(crate) fn invoke(args: InvokeArgs) -> ExitCode {
    absent(&format!("invoke {}", args.name), &args.socket)
}

pub(crate) fn status(args: StatusArgs) -> ExitCode {
    absent("status", &args.socket)
}

pub(crate) fn reload(args: ReloadArgs) -> ExitCode {
    absent("reload", &args.socket)
}

fn absent(command: &str, socket: &std::path::Path) -> ExitCode {
    output::error(&format!("`{command}` is not built into this binary, `{}` was not asked", socket.display()));
    ExitCode::Usage
}
