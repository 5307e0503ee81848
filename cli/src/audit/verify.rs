//! `audit verify`: is the journal whole and unchanged?
//!
//! Runs in: command line.

use std::io::IsTerminal as _;
use std::time::Duration;
use std::time::Instant;

use clap::Args;
use edgeguard_audit::Verdict;
use edgeguard_audit::Verification;
use edgeguard_audit::printable;
use edgeguard_audit::rfc3339;

use super::Place;
use crate::ExitCode;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &VerifyArgs) -> ExitCode {
    let mut shown = Instant::now();
    let mut progress = false;
    let terminal = std::io::stderr().is_terminal();
    let found = edgeguard_audit::verify(&args.place.dir, |done, of| {
        if terminal && shown.elapsed() > EVERY {
            output::say(&format!("\rchecked {done} of {of} frames"));
            (shown, progress) = (Instant::now(), true);
        }
    });
    if progress {
        output::say("\r\x1b[K");
    }
    if args.json {
        let json = serde_json::to_string(&found).unwrap_or_default();
        output::data(&format!("{json}\n"));
    } else {
        output::data(&words(&found));
    }
    match found.verdict {
        Verdict::Ok => ExitCode::Ok,
        Verdict::Incomplete { .. } => ExitCode::Incomplete,
        Verdict::Tampered { .. } => ExitCode::Tampered,
        Verdict::Unreadable { .. } => ExitCode::Unreadable,
    }
}

fn words(found: &Verification) -> String {
    let verdict = match &found.verdict {
        Verdict::Ok => "ok: every frame is there, in its order, and as it was written".to_owned(),
        Verdict::Incomplete { why } => {
            format!("incomplete: {}; the next start of the daemon cuts this off and says so", printable(why.as_bytes()))
        }
        Verdict::Tampered { place, why, .. } => format!("TAMPERED: {}: {}", printable(place.as_bytes()), printable(why.as_bytes())),
        Verdict::Unreadable { why } => format!("unreadable: {}", printable(why.as_bytes())),
    };
    let mut text = format!("{verdict}\n");
    if found.frames == 0 {
        return text;
    }
    let live = if found.live { ", being written now" } else { "" };
    let upto = if found.verdict == Verdict::Ok { "" } else { " (counted up to there)" };
    let rows = [
        ("origin", format!("{}{live}", printable(found.origin.as_bytes()))),
        ("frames", format!("{} in {} bytes{upto}", found.frames, found.bytes)),
        ("events", format!("{}, {} of them denials", found.events, found.denials)),
        ("calls", found.records.to_string()),
        (
            "opened",
            format!(
                "{} times, {} of them not after an orderly close, {} frames cut off then",
                found.opens, found.unclean_opens, found.frames_cut
            ),
        ),
        ("from", rfc3339(found.first_time)),
        ("to", rfc3339(found.last_time)),
        ("head", found.head.clone()),
    ];
    for (name, value) in rows {
        text.push_str(&format!("{name:8} {value}\n"));
    }
    text
}

const EVERY: Duration = Duration::from_millis(200);
