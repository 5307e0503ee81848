//! RFC 3161 timestamps on checkpoints: the question to an authority, its answer below the checkpoint, and whose answers count.
//!
//! Runs in: command line.
//! Does not: reach an authority. Files are carried there and back.

use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;

use edgeguard_attest::StampAuthority;
use edgeguard_attest::Time;
use edgeguard_audit::Note;
use edgeguard_audit::Trust;

use super::checkpoint;

/// What a trusted authority says of a checkpoint: the frames that it is over, and when it was seen.
pub(super) struct Stamped {
    pub(super) frames: u64,
    pub(super) time: Time,
    pub(super) authority: String,
}

/// An authority as an argument: a file with its certificates.
pub(super) fn authority(text: &str) -> Result<StampAuthority, String> {
    let pem = checkpoint::read(Path::new(text))?;
    StampAuthority::from_pem(&pem).map_err(|error| format!("`{text}`: {error}"))
}

/// Writes the question for a checkpoint into a file that is not there yet.
pub(super) fn ask(note: &Note, path: &Path) -> Result<(), String> {
    let request = edgeguard_attest::stamp_request(note.text().as_bytes());
    let written = File::create_new(path).and_then(|mut file| file.write_all(&request));
    written.map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}

/// Puts an answer below the checkpoint of a file; with authorities, only one that one of them gave.
pub(super) fn import(answer: &Path, of: &Path, authorities: &[StampAuthority]) -> Result<Note, String> {
    let notes = checkpoint::notes(&checkpoint::read(of)?, of)?;
    let [note] = notes.as_slice() else {
        return Err(format!("`{}`: expected one checkpoint, found {}", of.display(), notes.len()));
    };
    let mut note = note.clone();
    let mut bytes = Vec::new();
    let read = File::open(answer).and_then(|file| file.take(MAX_ANSWER + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read `{}`: {error}", answer.display()))?;
    for authority in authorities {
        match authority.time_of(&bytes, note.text().as_bytes()) {
            Ok(_) => break,
            Err(error) if authorities.last().is_some_and(|last| last.id() == authority.id()) => {
                return Err(format!("`{}`: {error}", answer.display()));
            }
            Err(_) => {}
        }
    }
    note.add_stamp(&bytes).map_err(|error| format!("`{}` cannot be put below the checkpoint: the note {error}", answer.display()))?;
    Ok(note)
}

/// Takes those checkpoints out of `trust.anchors` that none of the authorities has stamped: they prove nothing to whoever asks for a stamp. Says why on
/// standard error, once for each.
pub(super) fn sort(trust: &mut Trust, authorities: &[StampAuthority]) -> Vec<Stamped> {
    let mut stamped = Vec::new();
    if authorities.is_empty() {
        return stamped;
    }
    for note in std::mem::take(&mut trust.anchors) {
        let frames = edgeguard_audit::Checkpoint::parse(note.text()).map_or(0, |checkpoint| checkpoint.size);
        let mut why = "it has no timestamp".to_owned();
        let mut found = None;
        for (answer, authority) in note.stamps().flat_map(|answer| authorities.iter().map(move |authority| (answer, authority))) {
            match authority.time_of(answer, note.text().as_bytes()) {
                // The earliest proves the most.
                Ok(time) => {
                    if found.as_ref().is_none_or(|stamped: &Stamped| time < stamped.time) {
                        found = Some(Stamped { frames, time, authority: authority.id().to_owned() });
                    }
                }
                Err(error) => why = error.to_string(),
            }
        }
        match found {
            Some(found) => {
                stamped.push(found);
                trust.anchors.push(note);
            }
            None => {
                crate::output::error(&format!("the checkpoint over {frames} frames anchors nothing: {why}"));
                trust.doubted.push(note);
            }
        }
    }
    stamped
}

const MAX_ANSWER: u64 = 16 << 10;
