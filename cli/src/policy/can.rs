//! `policy can`: one question, and the rule that decides it.
//!
//! Runs in: command line.
//! Does not: look at the host unless it is asked to, and then at nothing but where the path leads.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use edgeguard_policy::Code;
use edgeguard_policy::Policy;
use edgeguard_policy::escape;
use edgeguard_policy::powers::Answer;
use edgeguard_policy::powers::Deed;
use edgeguard_policy::powers::can_graph;
use edgeguard_policy::powers::can_path;
use serde_json::json;

use super::read;
use super::shelf::ProfilesArg;
use crate::ExitCode;
use crate::output;

/// Arguments of `policy can`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct CanArgs {
    /// The policy file.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// What the module would do.
    #[arg(value_enum, value_name = "read|write|graph")]
    deed: Word,

    /// An absolute path on the host; for `graph`, the name that the module loads, or a model's SHA-256.
    #[arg(value_name = "WHAT")]
    what: String,

    /// Look where the path leads on this host too: through a symbolic link out of its grant, the answer is no.
    #[arg(long)]
    host: bool,

    #[command(flatten)]
    profiles: ProfilesArg,

    /// Print `{allowed, why, judged, file, line}`.
    #[arg(long)]
    json: bool,
}

const AFTER: &str = "\
`write` is creating, changing, renaming and removing. `..` is taken by the letter.

Exit code 0: yes. 1: no. 2: a question that cannot be asked, or a policy with mistakes.

Examples:
  edgeguard policy can voice-gate.toml write /var/lib/gateway/audio/x
  edgeguard policy can voice-gate.toml read /var/lib/gateway/audio/x --host
  edgeguard policy can voice-gate.toml graph vad";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Word {
    Read,
    Write,
    Graph,
}

pub(crate) fn run(args: &CanArgs) -> ExitCode {
    let Ok(policy) = read::one(&args.file, &args.profiles.shelf()) else { return ExitCode::Usage };
    let asked = match args.deed {
        Word::Read => path(&policy, Deed::Read, args),
        Word::Write => path(&policy, Deed::Write, args),
        Word::Graph => can_graph(&policy, &args.what).map_err(|why| format!("`{}` {why}", args.what)),
    };
    let answer = match asked {
        Ok(answer) => answer,
        Err(why) => {
            output::error(&why);
            return ExitCode::Usage;
        }
    };
    say(&policy, &answer, args);
    if answer.allowed { ExitCode::Ok } else { ExitCode::Refused }
}

fn path(policy: &Policy, deed: Deed, args: &CanArgs) -> Result<Answer, String> {
    let mistake = |why| format!("`{}` {why}", args.what);
    let answer = can_path(policy, deed, &args.what).map_err(mistake)?;
    if !args.host || !answer.allowed {
        return Ok(answer);
    }
    let real = real(Path::new(&args.what)).map_err(|e| format!("`{}` cannot be looked up on this host: {e}", args.what))?;
    let Some(real) = real.to_str() else { return Err(mistake("leads to a path that is not UTF-8")) };
    if real == answer.judged {
        return Ok(answer);
    }
    let there = can_path(policy, deed, real).map_err(mistake)?;
    // From one grant into another is a way that WASI does not go: it leaves the directory that the module opened.
    if there.allowed && there.place == answer.place {
        return Ok(Answer { why: format!("{}; on this host it is `{}`", there.why, escape(real)), ..there });
    }
    let why = format!("on this host it leads to `{}`, out of the directory that is granted", escape(real));
    Ok(Answer { allowed: false, why, ..answer })
}

/// Where a path leads: as far as it exists, through its links; what is to be made in it comes behind. `..` is followed as the kernel does.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        // A link that leads nowhere is a link all the same, and making what it names is writing there.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && std::fs::symlink_metadata(path).is_err() => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(e) };
            Ok(real(parent)?.join(name))
        }
        other => other,
    }
}

fn say(policy: &Policy, answer: &Answer, args: &CanArgs) {
    // The code is not shown; the diagnostic knows the line.
    let place = answer.place.map(|place| policy.diagnostic(Code::Absent, "", place, ""));
    let (file, line) =
        place.as_ref().and_then(|d| d.location()).map_or((policy.file_name(), None), |(file, at)| (file, at.map(|(line, _)| line)));
    if args.json {
        let value = json!({ "allowed": answer.allowed, "why": answer.why, "judged": answer.judged, "file": file, "line": line });
        output::data(&format!("{value:#}\n"));
        return;
    }
    let word = if answer.allowed { "yes" } else { "no" };
    let at = line.map(|line| format!(" ({file}:{line})")).unwrap_or_default();
    output::data(&format!("{word}: {}{at}\n", answer.why));
    let is_path = args.deed != Word::Graph;
    if is_path && answer.judged != args.what {
        output::say(&format!("note: `{}` was judged as `{}`\n", escape(&args.what), escape(&answer.judged)));
    }
    if is_path && answer.allowed && !args.host {
        output::say("note: whether a symbolic link leads out of it was not looked at; `--host` does\n");
    }
}
