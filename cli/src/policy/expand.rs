//! `policy expand`: a policy with its profiles written out, as the daemon reads it.
//!
//! Runs in: command line.
//! Does not: print a policy that has a mistake.

use std::path::PathBuf;

use clap::Args;
use edgeguard_policy::MAX_TEXT;

use super::files;
use super::read;
use super::shelf::ProfilesArg;
use crate::ExitCode;
use crate::output;

/// Arguments of `policy expand`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct ExpandArgs {
    /// The policy file.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    profiles: ProfilesArg,
}

const AFTER: &str = "\
What is printed is a policy that names no profiles and says the same; each line that came from a profile says from which, and from which line. Its SHA-256 is the policy's digest in the journal.
A policy that names no profiles is printed as it is. On a host that takes signed policies only, this is the text to sign.

Exit code 0: printed. 2: a policy with mistakes, or a file that cannot be read.

Examples:
  edgeguard policy expand /etc/edgeguard/policy.d/voice-gate.toml
  edgeguard policy expand voice-gate.toml --profiles ./profiles.d > voice-gate.expanded.toml
  edgeguard policy expand voice-gate.toml | sha256sum";

pub(crate) fn run(args: &ExpandArgs) -> ExitCode {
    let bytes = match files::read(&args.file, MAX_TEXT as u64) {
        Ok(bytes) => bytes,
        Err(diagnostic) => return read::refused(&diagnostic.into()),
    };
    let profiles = args.profiles.shelf().for_policy(&args.file, &bytes);
    match edgeguard_policy::expand(&args.file.display().to_string(), &bytes, &profiles) {
        Ok(expanded) => {
            output::data(&expanded.text);
            ExitCode::Ok
        }
        Err(found) => read::refused(&found),
    }
}
