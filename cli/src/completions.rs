//! `completions` and `man`: what a package installs beside the binary, made from the arguments themselves.
//!
//! Runs in: command line.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;
use crate::ExitCode;
use crate::output;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

const AFTER: &str = "\
Examples:
  edgeguard completions bash > /etc/bash_completion.d/edgeguard
  edgeguard completions fish > ~/.config/fish/completions/edgeguard.fish";

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  edgeguard man --out target/man")]
pub(crate) struct ManArgs {
    /// The directory to write to; it is made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &CompletionsArgs) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "edgeguard", &mut text);
    output::data(&String::from_utf8_lossy(&text));
    ExitCode::Ok
}

pub(crate) fn man(args: &ManArgs) -> ExitCode {
    match pages(&args.out) {
        Ok(()) => ExitCode::Ok,
        Err(e) => {
            output::error(&format!("cannot write the manual pages to `{}`: {e}", args.out.display()));
            ExitCode::Usage
        }
    }
}

fn pages(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir)
}
