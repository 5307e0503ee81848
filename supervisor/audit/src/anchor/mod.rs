//! Checkpoints at a receiver: what the exporter hands over, how it comes back, and what it says of a journal.
//!
//! Runs in: exporter, CLI.
//! Does not: trust a receiver's copy. A line is bounded before it is parsed, and whose signature a checkpoint needs is [`crate::verify()`]'s to say.

pub mod counted;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::leaves::LeafReader;
use crate::note::Note;
use crate::ocsf::CHECKPOINT_CODE;
use crate::statement::Checkpoint;
use crate::verify::roots;

/// What a line of a receiver's copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A checkpoint, and the signed note that it came as.
    Checkpoint(Checkpoint, Note),
    /// Something else.
    Other,
    /// It calls itself a checkpoint, and cannot be read as one: cut, or changed.
    Broken,
}

/// Reads a line of a receiver's copy: an exported line in any form, alone, behind a syslog header, or inside what receivers wrap lines into
/// (`_source` of Elastic, `MESSAGE` of journalctl, `_raw` of Splunk, `message`, `msg`, `body`).
#[must_use]
pub fn line(text: &str) -> Line {
    if !text.contains(CHECKPOINT_CODE) {
        return Line::Other;
    }
    if text.len() > MAX_RECEIVED {
        return Line::Broken;
    }
    read(text).map_or(Line::Broken, |value| entry(&value, 0))
}

/// The JSON object at the end of a text.
fn read(text: &str) -> Option<Value> {
    let json = text.find('{').and_then(|at| text.get(at..))?;
    serde_json::from_str(json.trim_end()).ok()
}

/// An exported entry, or what is wrapped around one.
fn entry(value: &Value, depth: u32) -> Line {
    let text = |at: &str| value.pointer(at).and_then(Value::as_str);
    let place = match (text("/metadata/event_code"), text("/event/code")) {
        (Some(CHECKPOINT_CODE), _) => "/unmapped/checkpoint",
        (None, Some(CHECKPOINT_CODE)) => "/edgeguard/details/checkpoint",
        (Some(_), _) | (None, Some(_)) => return Line::Other,
        (None, None) => return wrapped(value, depth),
    };
    let note = text(place).and_then(|note| Note::parse(note).ok());
    let parsed = note.and_then(|note| Some((Checkpoint::parse(note.text()).ok()?, note)));
    parsed.map_or(Line::Broken, |(checkpoint, note)| Line::Checkpoint(checkpoint, note))
}

fn wrapped(value: &Value, depth: u32) -> Line {
    if depth >= MAX_WRAPPERS {
        return Line::Other;
    }
    for field in WRAPPERS {
        match value.get(field) {
            Some(inner @ Value::Object(_)) => return entry(inner, depth + 1),
            Some(Value::String(inner)) if inner.contains(CHECKPOINT_CODE) => {
                return read(inner).map_or(Line::Broken, |inner| entry(&inner, depth + 1));
            }
            _ => {}
        }
    }
    Line::Other
}

/// Whether the journal still has the history that a checkpoint is over: as many frames, and the same. Its signature is not looked at.
///
/// # Errors
/// What the kernel said.
pub fn holds(journal: &Path, checkpoint: &Checkpoint) -> io::Result<bool> {
    let roots = roots(&LeafReader::open(journal)?, std::iter::once(checkpoint.size))?;
    Ok(roots.get(&checkpoint.size) == Some(&checkpoint.root))
}

/// Of many checkpoints those that can change a verdict: the largest of those that agree with the journal's tree, because it proves all that the smaller
/// ones do; and of those that do not agree the first few, each of which is enough. It decides nothing.
///
/// # Errors
/// What the kernel said.
pub fn telling(journal: &Path, found: Vec<(Checkpoint, Note)>) -> io::Result<Vec<(Checkpoint, Note)>> {
    let roots = match LeafReader::open(journal) {
        Ok(leaves) => roots(&leaves, found.iter().map(|(checkpoint, _)| checkpoint.size))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let agrees = |(checkpoint, _): &(Checkpoint, Note)| roots.get(&checkpoint.size) == Some(&checkpoint.root);
    let (agreeing, mut kept): (Vec<_>, Vec<_>) = found.into_iter().partition(agrees);
    kept.truncate(MAX_DISAGREEING);
    kept.extend(agreeing.into_iter().max_by_key(|(checkpoint, _)| checkpoint.size));
    Ok(kept)
}

/// Longest line of a receiver that is looked into, in bytes: an exported one, escaped as a string once or twice, and what stands around it.
pub const MAX_RECEIVED: usize = 64 << 10;
const MAX_WRAPPERS: u32 = 3;
const WRAPPERS: [&str; 6] = ["_source", "MESSAGE", "message", "msg", "body", "_raw"];
/// One is enough for a verdict; a few help whoever looks for the cause.
const MAX_DISAGREEING: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;
    use crate::Ocsf;
    use crate::encode::Encoder;
    use crate::encode::Form;
    use crate::encode::OcsfVersion;

    fn note() -> (Checkpoint, Note) {
        let note = Note::parse("gw-7\n9\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} gw-7 AAAAAAAAAAAA\n").unwrap();
        (Checkpoint::parse(note.text()).unwrap(), note)
    }

    fn exported(form: Form) -> String {
        let (checkpoint, note) = note();
        let ocsf = Ocsf { origin: "gw-7".into(), boot_id: "b".into() };
        Encoder::new(ocsf, form).checkpoint(&checkpoint, &note).unwrap().line
    }

    #[test]
    fn a_checkpoint_comes_back_from_every_form_and_from_what_receivers_make_of_it() {
        let (checkpoint, note) = note();
        let expected = Line::Checkpoint(checkpoint, note);
        for form in OcsfVersion::ALL.map(Form::Ocsf).into_iter().chain([Form::Ecs]) {
            let exported = exported(form);
            let value: Value = serde_json::from_str(&exported).unwrap();
            assert_eq!(line(&exported), expected, "{exported}");
            assert_eq!(line(&format!("Nov 23 03:11:01 gw-7 edgeguard: {exported}\n")), expected);
            for wrapper in [json!({ "_source": value }), json!({ "MESSAGE": exported }), json!({ "_source": { "message": exported } })] {
                assert_eq!(line(&wrapper.to_string()), expected, "{wrapper}");
            }
        }
    }

    #[test]
    fn a_checkpoint_that_was_cut_is_broken_and_a_path_of_that_name_is_something_else() {
        let exported = exported(Form::default());
        assert_eq!(line(&exported[..exported.len() - 9]), Line::Broken);
        assert_eq!(line(&exported.replace("\\n9\\n", "\\n-9\\n")), Line::Broken);
        assert_eq!(line(&format!("{exported}{}", " ".repeat(MAX_RECEIVED))), Line::Broken);
        let path = json!({ "metadata": { "event_code": "denied" }, "file": { "path": "/journal-checkpoint" } });
        assert_eq!(line(&path.to_string()), Line::Other);
        let deep = (0..9).fold(json!({}), |inner, _| json!({ "_source": inner, "msg": "journal-checkpoint" }));
        assert_eq!(line(&deep.to_string()), Line::Other);
    }

    #[test]
    fn two_histories_of_one_size_are_two_entries() {
        let (checkpoint, note) = note();
        let encoder = Encoder::new(Ocsf { origin: "gw-7".into(), boot_id: "b".into() }, Form::default());
        let other = Checkpoint { root: [7; 32], ..checkpoint.clone() };
        let uid = |checkpoint: &Checkpoint| encoder.checkpoint(checkpoint, &note).unwrap().uid;
        assert_eq!(uid(&checkpoint), uid(&checkpoint));
        assert_ne!(uid(&checkpoint), uid(&other));
    }
}
