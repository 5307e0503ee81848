//! `policy diff`: what a change of policies allows and no longer allows.
//!
//! Runs in: command line.
//! Does not: compare lines, or ask a host: two paths are two things, wherever they lead.

use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use edgeguard_policy::Policy;
use edgeguard_policy::Severity;
use edgeguard_policy::escape;
use edgeguard_policy::powers::Diff;
use edgeguard_policy::powers::Kind;
use edgeguard_policy::powers::Side;
use edgeguard_policy::powers::diff_sets;
use edgeguard_policy::report::github_command;
use serde_json::Value;
use serde_json::json;

use super::read;
use super::shelf::ProfilesArg;
use super::shelf::Shelf;
use crate::ExitCode;
use crate::output;

/// Arguments of `policy diff`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct DiffArgs {
    /// A policy file, or a directory of them (*.toml, not deeper): as it was.
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// As it is to be. Modules are found by their names, not by those of their files.
    #[arg(value_name = "NEW")]
    new: PathBuf,

    #[command(flatten)]
    profiles: ProfilesArg,

    /// The same for OLD, whose profiles may be others.
    #[arg(long, value_name = "DIR")]
    old_profiles: Option<PathBuf>,

    /// `human`: a line for each power. `json`. `github`: workflow commands, a warning for each power gained.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,

    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

const AFTER: &str = "\
More is: another or a larger directory, writing, another model or engine, a higher limit, another variable, value or argument, an older kernel or release, and any way to be admitted that was none before: another signer, a lower threshold, a statement no longer wanted, an older one, a wider pattern.
A key is its path here: whether two files hold one key is not looked at. A module that NEW alone names has gained all of its powers.

Exit code 0: NEW allows nothing that OLD does not. 1: NEW allows more. 2: a policy with mistakes, or a file that cannot be read.

Examples:
  edgeguard policy diff voice-gate.toml.old voice-gate.toml
  edgeguard policy diff main/policy.d policy.d --format github      a check of a pull request
  edgeguard policy diff a.toml b.toml --json | jq .grants_more";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Github,
}

pub(crate) fn run(args: &DiffArgs) -> ExitCode {
    // Both are read, so that the mistakes of both are said.
    let (Ok(old), Ok(new)) = (read::all(&args.old, &Shelf::at(args.old_profiles.clone())), read::all(&args.new, &args.profiles.shelf()))
    else {
        return ExitCode::Usage;
    };
    let diffs = diff_sets(&side(&old), &side(&new));
    let more = diffs.iter().any(Diff::grants_more);
    match (args.format, args.json) {
        (Format::Json, _) | (_, true) => {
            let modules: Vec<Value> = diffs.iter().map(Diff::to_json).collect();
            output::data(&format!("{:#}\n", json!({ "grants_more": more, "modules": modules })));
        }
        (Format::Human, false) => human(&diffs, more),
        (Format::Github, false) => github(&diffs, &new),
    }
    if more { ExitCode::Refused } else { ExitCode::Ok }
}

fn side(policies: &[Policy]) -> Side<'_> {
    policies.iter().map(|policy| (policy.name.as_str(), policy)).collect()
}

fn human(diffs: &[Diff], more: bool) {
    for diff in diffs {
        output::data(&format!("{}\n", diff.module));
        for change in &diff.changes {
            output::data(&format!("  {} {}: {}\n", mark(change.kind), change.kind.word(), change.words));
        }
    }
    output::say(match (diffs.is_empty(), more) {
        (true, _) => "the powers are the same\n",
        (false, true) => "the new policies allow more\n",
        (false, false) => "the new policies allow nothing more\n",
    });
}

fn mark(kind: Kind) -> char {
    match kind {
        Kind::Gained | Kind::Wider => '+',
        Kind::Lost | Kind::Narrower => '-',
        Kind::Other => '!',
        Kind::Moved => '~',
    }
}

fn github(diffs: &[Diff], new: &[Policy]) {
    for diff in diffs {
        // A module that is gone has no file to stand in; its loss is in the list all the same.
        let file = new.iter().find(|policy| policy.name.as_str() == diff.module).map(|policy| (policy.file_name(), 1));
        let title = format!("policy of {}", diff.module);
        for change in &diff.changes {
            if change.kind.is_more() {
                output::data(&github_command(Severity::Warning, file, &title, &format!("{}: {}", change.kind.word(), change.words)));
            } else {
                output::data(&format!("{} {}: {}\n", escape(&diff.module), change.kind.word(), change.words));
            }
        }
    }
}
