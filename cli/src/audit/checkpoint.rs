//! `audit checkpoint`: the journal's state in three signed lines, to be kept elsewhere; its public key; its tree as tiles.
//!
//! Runs in: command line.
//! Does not: check the journal, which is `audit verify`'s work.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use edgeguard_audit::Note;
use edgeguard_audit::VerifierKey;
use edgeguard_audit::proof;

use super::Place;
use crate::ExitCode;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    #[command(flatten)]
    place: Place,
    /// Print the public key that the journal is sealed with instead.
    #[arg(long)]
    key: bool,
    /// Write the tree into this folder as tiles (c2sp.org/tlog-tiles) instead, for a web server or a witness.
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    tiles: Option<PathBuf>,
}

pub(crate) fn run(args: &CheckpointArgs) -> ExitCode {
    let dir = &args.place.dir;
    let made = if args.key {
        proof::identity(dir).map(|key| key.map(|key| format!("{key}\n"))).map_err(|error| error.to_string())
    } else if let Some(tiles) = &args.tiles {
        proof::write_tiles(dir, tiles).map(|size| Some(format!("tiles over {size} frames\n"))).map_err(|error| super::chain(&error))
    } else {
        proof::latest(dir).map(|found| found.map(|(_, note)| note.to_string())).map_err(|error| error.to_string())
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

const MAX_FILE: u64 = 4 << 20;

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
