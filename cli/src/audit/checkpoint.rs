//! `audit checkpoint`: the journal's state in three signed lines, to be kept elsewhere; its public key; its tree as tiles.
//!
//! Runs in: command line.
//! Does not: check the journal, which is `audit verify`'s work.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use edgeguard_attest::StampAuthority;
use edgeguard_audit::Note;
use edgeguard_audit::VerifierKey;
use edgeguard_audit::proof;

use super::Place;
use super::stamp;
use crate::ExitCode;
use crate::output;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CheckpointArgs {
    #[command(flatten)]
    place: Place,
    /// Print the public key that the journal is sealed with instead.
    #[arg(long)]
    key: bool,
    /// Write the tree into this folder as tiles (c2sp.org/tlog-tiles) instead, for a web server or a witness.
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    tiles: Option<PathBuf>,
    /// Also write the question for a timestamp authority (RFC 3161) over the checkpoint that is printed; the file must not be there.
    #[arg(long, value_name = "FILE.tsq", conflicts_with_all = ["key", "tiles"])]
    rfc3161_request: Option<PathBuf>,
    /// Print the checkpoint of `--of` with this answer of an authority below it instead.
    #[arg(long, value_name = "FILE.tsr", requires = "of", conflicts_with_all = ["key", "tiles", "rfc3161_request"])]
    rfc3161_answer: Option<PathBuf>,
    /// The checkpoint that the question was written over, as it was printed then.
    #[arg(long, value_name = "FILE", requires = "rfc3161_answer")]
    of: Option<PathBuf>,
    /// Take the answer only if this authority gave it: a file with its certificates in PEM, its own first, its root last; may be repeated.
    #[arg(long, value_name = "FILE", requires = "rfc3161_answer", value_parser = stamp::authority)]
    tsa: Vec<StampAuthority>,
}

const EXAMPLES: &str = "\
Examples:
  edgeguard audit checkpoint --rfc3161-request gw.tsq > gw.note              keep gw.note, carry gw.tsq to an authority
  edgeguard audit checkpoint --rfc3161-answer gw.tsr --of gw.note > gw.anchor
  edgeguard audit verify --anchors gw.anchor --tsa authority.pem             what the authority saw, and when";

pub(crate) fn run(args: &CheckpointArgs) -> ExitCode {
    let dir = &args.place.dir;
    if let (Some(answer), Some(of)) = (&args.rfc3161_answer, &args.of) {
        return match stamp::import(answer, of, &args.tsa) {
            Ok(note) => {
                output::data(&note.to_string());
                ExitCode::Ok
            }
            Err(error) => {
                output::error(&error);
                ExitCode::Usage
            }
        };
    }
    let made = if args.key {
        proof::identity(dir).map(|key| key.map(|key| format!("{key}\n"))).map_err(|error| error.to_string())
    } else if let Some(tiles) = &args.tiles {
        proof::write_tiles(dir, tiles).map(|size| Some(format!("tiles over {size} frames\n"))).map_err(|error| super::chain(&error))
    } else {
        let latest = proof::latest(dir).map(|found| found.map(|(_, note)| note)).map_err(|error| error.to_string());
        if let (Ok(Some(note)), Some(path)) = (&latest, &args.rfc3161_request)
            && let Err(error) = stamp::ask(note, path)
        {
            output::error(&error);
            return ExitCode::Usage;
        }
        latest.map(|note| note.map(|note| note.to_string()))
    };
    match made {
        Ok(Some(text)) => {
            output::data(&text);
            ExitCode::Ok
        }
        Ok(None) => {
            output::error(&format!("the journal in `{}` is not sealed: there is no checkpoint", dir.display()));
            ExitCode::Unsealed
        }
        Err(error) => {
            output::error(&format!("cannot read the journal in `{}`: {error}", dir.display()));
            ExitCode::Unreadable
        }
    }
}

/// A key as an argument: itself, or a file that holds it.
pub(super) fn key(text: &str) -> Result<VerifierKey, String> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let file = read(Path::new(text))?;
    let line = file.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.parse().map_err(|error| format!("`{text}` {error}"))
}

/// A small text file, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    Ok(text)
}

/// The signed notes of a file, one behind the other; an empty line between them may be there.
pub(super) fn notes(text: &str, path: &Path) -> Result<Vec<Note>, String> {
    let parts: Vec<&str> = text.split("\n\n").map(|part| part.trim_start_matches('\n')).filter(|part| !part.is_empty()).collect();
    let bad = |error: &dyn std::fmt::Display| format!("`{}`: expected checkpoints, each a signed note; one {error}", path.display());
    let mut notes = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        // Signatures, and behind them perhaps the next note's text.
        let (signatures, next): (Vec<&str>, Vec<&str>) = part.lines().partition(|line| line.starts_with("— "));
        let before = if at == 0 { Vec::new() } else { signatures };
        if !before.is_empty()
            && let Some(text) = notes.pop()
        {
            notes.push(format!("{text}\n\n{}\n", before.join("\n")));
        }
        if !next.is_empty() {
            notes.push(next.join("\n"));
        }
    }
    if notes.is_empty() {
        return Err(bad(&"is missing"));
    }
    notes.iter().map(|note| Note::parse(note).map_err(|error| bad(&error))).collect()
}

pub(super) const MAX_FILE: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn notes_are_read_with_and_without_a_line_between_them() {
        let one = "a\n1\nx\n\n— a AAAAAAAAAAAA\n";
        for text in [one.to_owned(), format!("{one}{one}"), format!("{one}\n{one}\n")] {
            let found = notes(&text, Path::new("f")).unwrap();
            assert!(found.iter().all(|note| note.to_string() == one));
            assert_eq!(found.len(), text.matches("— a").count());
        }
        assert!(notes("", Path::new("f")).is_err() && notes("a\n1\n", Path::new("f")).is_err());
    }
}
