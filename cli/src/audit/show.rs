//! `audit show`: one entry, and the proof that it is in the journal; `audit verify-proof`: that proof, on any machine.
//!
//! Runs in: command line.

use std::path::PathBuf;

use clap::Args;
use edgeguard_audit::Position;
use edgeguard_audit::Sought;
use edgeguard_audit::VerifierKey;
use edgeguard_audit::proof::Proof;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Frame;
use edgeguard_audit::read::Item;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::read::Reader;
use edgeguard_audit::rfc3339;

use super::Place;
use super::checkpoint;
use super::tail;
use super::unreadable;
use crate::ExitCode;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    place: Place,
    /// The entry: its `metadata.uid` in an export, or its position, `EPOCH/FRAME/INDEX`, as `tail --json` and `search --json` print it.
    #[arg(value_name = "UID|POSITION")]
    entry: String,
    /// Write the proof that the entry's frame is in the journal (c2sp.org/tlog-proof).
    #[arg(long, value_name = "FILE.tlog-proof")]
    proof: Option<PathBuf>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyProofArgs {
    /// The proof.
    proof: PathBuf,
    /// The journal's identity key, as `audit checkpoint --key` prints it, or a file with it.
    #[arg(long, value_name = "KEY|FILE", value_parser = checkpoint::key)]
    key: VerifierKey,
}

pub(crate) fn run(args: &ShowArgs) -> ExitCode {
    let Some(sought) = Sought::parse(&args.entry) else {
        output::error(&format!(
            "expected the `metadata.uid` of an exported entry or a position such as `1/42/0`, found `{}`",
            edgeguard_audit::printable(args.entry.as_bytes())
        ));
        return ExitCode::Usage;
    };
    let found = match find(args, &sought) {
        Ok(found) => found,
        Err(error) => return unreadable(&error),
    };
    let Some((frame, text)) = found else {
        output::error(&format!("no entry `{}` in the journal; calls may have been deleted when their time had come", args.entry));
        return ExitCode::Usage;
    };
    output::data(&format!("{text}\n"));
    let Some(path) = &args.proof else { return ExitCode::Ok };
    match Proof::of(&args.place.dir, &frame) {
        Ok(proof) => match std::fs::write(path, proof.to_string()) {
            Ok(()) => ExitCode::Ok,
            Err(error) => {
                output::error(&format!("cannot write `{}`: {error}", path.display()));
                ExitCode::Usage
            }
        },
        Err(error) => {
            output::error(&super::chain(&error));
            match error {
                edgeguard_audit::proof::ProofError::Open(_) => ExitCode::Unsealed,
                edgeguard_audit::proof::ProofError::Io(_) => ExitCode::Unreadable,
                _ => ExitCode::Tampered,
            }
        }
    }
}

/// The entry's frame, and its line. Of the journal only the segments are read that the frame's number leads to.
fn find(args: &ShowArgs, sought: &Sought) -> Result<Option<(Frame, String)>, ReadError> {
    let mut reader = Reader::open_at(&args.place.dir, sought.frame())?;
    let origin = Some(super::origin(&args.place.dir)?).filter(|origin| !origin.is_empty()).unwrap_or_else(|| reader.origin().to_owned());
    if origin.is_empty() && sought.is_uid() {
        // An id is of a journal by its name, and the frame that says it is damaged.
        return Err(ReadError::Missing(0));
    }
    // One that was deleted in order is passed over.
    let Some(frame) = reader.next_frame()?.filter(|frame| frame.header.frame_no == sought.frame()) else { return Ok(None) };
    let is_it = |position: &Position| sought.is(position, &origin);
    let line = match &reader.decode(&frame)? {
        Content::Events(items) => items.iter().find(|item| is_it(&item.position)).map(|item| tail::event(item, args.json)),
        Content::Calls(items) => items.iter().find(|item| is_it(&item.position)).map(|item: &Item<_>| tail::call(item, args.json)),
        _ => None,
    };
    Ok(line.map(|line| (frame, line)))
}

pub(crate) fn verify(args: &VerifyProofArgs) -> ExitCode {
    let text = match checkpoint::read(&args.proof) {
        Ok(text) => text,
        Err(error) => {
            output::error(&error);
            return ExitCode::Usage;
        }
    };
    match Proof::parse(&text).and_then(|proof| Ok((proof.verify(&args.key)?, proof))) {
        Ok(((header, checkpoint), proof)) => {
            output::data(&format!(
                "ok: frame {} ({:?}, {}, {} events, {} bytes) is in the journal `{}` of {} frames\n",
                header.frame_no,
                header.kind,
                rfc3339(header.t0_real),
                header.n,
                proof.frame().len(),
                checkpoint.origin,
                checkpoint.size
            ));
            ExitCode::Ok
        }
        Err(error) => {
            output::error(&format!("`{}` proves nothing: {}", args.proof.display(), super::chain(&error)));
            ExitCode::Tampered
        }
    }
}
