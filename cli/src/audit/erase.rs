//! `audit erase`: names that guests gave go from the journal; that something was called, when and by whom, stays.
//!
//! Runs in: command line.
//! Does not: touch the journal itself. The daemon does, which alone has its keys: a name that goes without a sealed frame that says so is tampering.

use clap::Args;
use serde_json::Value;
use serde_json::json;

use crate::ExitCode;
use crate::control;
use crate::control::Socket;
use crate::output;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct EraseArgs {
    /// A name to erase, whole, as `audit tail` shows it; may be repeated.
    #[arg(long, value_name = "NAME", required_unless_present = "under")]
    name: Vec<String>,
    /// A path to erase, and all paths below it; may be repeated.
    #[arg(long, value_name = "PATH")]
    under: Vec<String>,
    /// Why: stands in the journal for good, with your user's number.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only say how many names there are.
    #[arg(long)]
    dry_run: bool,
    /// Print the daemon's answer as it is: `names`, `frames`, `segments`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

const EXAMPLES: &str = "\
For administrators. A name stands in the journal beside a hash of it, and digests, seals and proofs cover the hash. So the name can go, and
`audit verify` still finds the journal whole: it sees how many names were erased, and the sealed frame that says so of each. How long a
name was can still be seen. The whole journal is read for it, and calls of guests may wait meanwhile.

It reaches the journal on this machine, and nothing else: not what was exported to a SIEM, not a backup, not what a flash disk keeps of
blocks that were overwritten. What a module names afterwards is recorded again; `[audit]` in its policy keeps names out from the start.

Examples:
  edgeguard audit erase --under /patients/4711 --reason 'request of 2026-11-20' --dry-run
  edgeguard audit erase --under /patients/4711 --reason 'request of 2026-11-20'
  edgeguard audit verify --json | jq .erased";

pub(crate) fn run(args: &EraseArgs) -> ExitCode {
    let wish = json!({ "names": args.name, "under": args.under, "reason": args.reason, "dry_run": args.dry_run });
    match control::erase(&args.socket, &wish) {
        Ok(answer) => {
            output::data(&if args.json { format!("{answer}\n") } else { in_words(&answer, args.dry_run) });
            ExitCode::Ok
        }
        Err(code) => code,
    }
}

fn in_words(answer: &Value, dry_run: bool) -> String {
    let count = |key: &str, what: &str| {
        let count = answer[key].as_u64().unwrap_or_default();
        format!("{count} {what}{}", if count == 1 { "" } else { "s" })
    };
    let (names, frames, segments) = (count("names", "name"), count("frames", "frame"), count("segments", "segment"));
    let words = match answer["names"].as_u64() {
        Some(0) | None => return "nothing of that name is in the journal\n".into(),
        Some(_) if dry_run => "would be erased",
        Some(_) => "erased",
    };
    format!("{names} in {frames} of {segments}: {words}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_erased_is_said_in_words() {
        let answer = json!({ "names": 3, "frames": 2, "segments": 1 });
        assert_eq!(in_words(&answer, false), "3 names in 2 frames of 1 segment: erased\n");
        assert_eq!(in_words(&answer, true), "3 names in 2 frames of 1 segment: would be erased\n");
        assert_eq!(in_words(&json!({ "names": 0 }), false), "nothing of that name is in the journal\n");
    }
}
