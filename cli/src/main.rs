//! `edgeguard`: the operator's, the vendor's and the auditor's command line.
//!
//! Runs in: the user's own process, with the user's own rights.
//! Does not: need the daemon, except for `invoke`, `status` and `reload`; run a module; parse a model.
//! Standard output carries data, standard error what is said about it.
#![forbid(unsafe_code)]

mod audit;
mod completions;
mod control;
mod doctor;
mod exit;
mod explain;
mod files;
mod keys;
mod output;
mod policy;
mod quote;
mod sign;
mod trust;
mod verify;

use clap::Parser;
use clap::Subcommand;

pub(crate) use exit::ExitCode;

/// Admits signed wasm modules, confines them, and remembers what they did.
#[derive(Debug, Parser)]
#[command(name = "edgeguard", version, arg_required_else_help = true, max_term_width = 100, after_long_help = after())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check policy files.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Say what a code such as EG014 means, with the wrong and the right.
    Explain(explain::ExplainArgs),
    /// Make a signing key and its public key.
    Keygen(keys::KeygenArgs),
    /// Sign a module, a release, an approval or a policy: writes a bundle beside it.
    Sign(sign::SignArgs),
    /// Check a module's bundles, offline, as the daemon does, and say what each check found.
    Verify(verify::VerifyArgs),
    /// Read, check and export the journal.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Say what this host trusts, and bring it newer trust material on a stick.
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// Check what a remote host's TPM says that it booted.
    #[command(subcommand)]
    Quote(quote::QuoteCommand),
    /// Say what this host can enforce, and what to do about each gap.
    Doctor(doctor::DoctorArgs),
    /// Run a module once: standard input and output are the module's.
    Invoke(control::InvokeArgs),
    /// Say what the daemon runs.
    Status(control::StatusArgs),
    /// Have the daemon read its policies again.
    Reload(control::ReloadArgs),
    /// Write completions for a shell.
    Completions(completions::CompletionsArgs),
    /// Write the manual pages.
    #[command(hide = true)]
    Man(completions::ManArgs),
}

const EXAMPLES: &str = "\
Examples:
  edgeguard keygen --out keys/acme                          a vendor's key, once
  edgeguard sign --key keys/acme.key voice-gate.wasm        a vendor's release
  edgeguard policy check policy.d --host                    an operator's CI
  edgeguard invoke voice-gate < hello.wav                   the running system
  edgeguard audit verify                                    an auditor's morning";

fn after() -> String {
    format!("Exit codes:\n{}\n{EXAMPLES}", exit::words())
}

fn main() -> std::process::ExitCode {
    run(Cli::parse()).into()
}

fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Policy(command) => policy::run(&command),
        Command::Explain(args) => explain::run(&args),
        Command::Keygen(args) => keys::keygen(args),
        Command::Sign(args) => sign::sign(args),
        Command::Verify(args) => verify::verify(args),
        Command::Audit(command) => audit::run(command),
        Command::Trust(command) => trust::run(&command),
        Command::Quote(command) => quote::run(command),
        Command::Doctor(args) => doctor::run(args),
        Command::Invoke(args) => control::invoke(args),
        Command::Status(args) => control::status(args),
        Command::Reload(args) => control::reload(args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => completions::man(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_exit_codes_are_numbered_without_a_gap() {
        let numbers: Vec<String> = exit::words().lines().filter_map(|l| l.split_whitespace().next().map(str::to_owned)).collect();
        let expected: Vec<String> = (0..numbers.len()).map(|n| n.to_string()).collect();
        assert_eq!(numbers, expected);
    }
}
