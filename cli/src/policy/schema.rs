//! `policy schema`: the format of policies for editors.
//!
//! Runs in: command line.
//! Does not: read anything.

use clap::Args;
use edgeguard_policy::json_schema;
use edgeguard_policy::json_schema::Format;

use crate::ExitCode;
use crate::output;

/// Arguments of `policy schema`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct SchemaArgs {
    /// Of the host's own file, `edgeguard.toml`, instead of policies.
    #[arg(long)]
    host_file: bool,

    /// Of a profile, instead of policies.
    #[arg(long, conflicts_with = "host_file")]
    profile: bool,
}

const AFTER: &str = "\
An editor with a TOML language server shows each key's meaning and most mistakes while they are typed, if the first line of the policy names the schema:

  #:schema ./edgeguard-policy.schema.json

A schema looks at one value at a time; `policy check` sees the rest. What `check` takes, the schema takes.

Examples:
  edgeguard policy schema > edgeguard-policy.schema.json
  taplo check --schema file://$PWD/edgeguard-policy.schema.json voice-gate.toml";

pub(crate) fn run(args: &SchemaArgs) -> ExitCode {
    let format = match (args.host_file, args.profile) {
        (true, _) => Format::Host,
        (false, true) => Format::Profile,
        (false, false) => Format::Policy,
    };
    let schema = json_schema::json_schema(format);
    output::data(&format!("{schema:#}\n"));
    ExitCode::Ok
}
