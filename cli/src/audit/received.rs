//! Checkpoints from a receiver's copy: the lines that a SIEM got from the exporter, among whatever else it got.
//!
//! Runs in: command line.
//! Does not: hold the copy in memory, nor decide by it. Many gateways write to one receiver, and so may others: what is not of this journal is passed over
//! and counted; what says that it is goes to the verifier.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read as _;
use std::path::Path;

use edgeguard_audit::Checkpoint;
use edgeguard_audit::Note;
use edgeguard_audit::Signed;
use edgeguard_audit::VerifierKey;
use edgeguard_audit::anchor;
use edgeguard_audit::anchor::Line;
use edgeguard_audit::proof;

use super::checkpoint;
use crate::output;

/// The checkpoints of a file of `--anchors`: a receiver's copy, if there is a `{` in its first 64 KiB, which notes do not have; else signed notes, one behind
/// the other.
///
/// # Errors
/// In words: the file cannot be read, or holds no checkpoint of this journal.
pub(super) fn anchors(path: &Path, journal: &Path, key: Option<&VerifierKey>) -> Result<Vec<Note>, String> {
    let failed = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
    let mut reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(1 << 16, std::fs::File::open(path).map_err(failed)?))
    };
    let (mut head, mut first) = (String::new(), None);
    while head.len() <= HEAD {
        match next_line(&mut reader).map_err(failed)? {
            Some(line) if line.contains('{') => {
                first = Some(line);
                break;
            }
            Some(line) => head.push_str(&line),
            None => break,
        }
    }
    let Some(first) = first else {
        reader.take(checkpoint::MAX_FILE).read_to_string(&mut head).map_err(failed)?;
        return checkpoint::notes(&head, path);
    };
    let of = match key {
        Some(key) => Some(key.name().to_owned()),
        // Who has replaced the whole journal has named it too: then none of the receiver's checkpoints is of it, which is an error below.
        None => proof::identity(journal).map_err(|error| error.to_string())?.map(|key| key.name().to_owned()),
    };
    let mut copy = Copy { of, key, ..Copy::new(journal) };
    copy.take(&first)?;
    while let Some(line) = next_line(&mut reader).map_err(failed)? {
        copy.take(&line)?;
    }
    copy.end(path)
}

/// What was found so far.
struct Copy<'a> {
    journal: &'a Path,
    /// The journal's name.
    of: Option<String>,
    key: Option<&'a VerifierKey>,
    found: Vec<(Checkpoint, Note)>,
    others: BTreeSet<String>,
    unsigned: u64,
    broken: u64,
}

impl<'a> Copy<'a> {
    const fn new(journal: &'a Path) -> Self {
        Self { journal, of: None, key: None, found: Vec::new(), others: BTreeSet::new(), unsigned: 0, broken: 0 }
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        match anchor::line(line) {
            Line::Other => return Ok(()),
            Line::Broken => self.broken += 1,
            Line::Checkpoint(checkpoint, _) if self.of.as_ref().is_some_and(|of| *of != checkpoint.origin) => {
                if self.others.len() < MAX_OTHERS {
                    self.others.insert(checkpoint.origin);
                }
            }
            // With the key it is certain that somebody else wrote it; without, the verifier says that nobody of this journal signed it.
            Line::Checkpoint(_, note) if self.key.is_some_and(|key| note.signed_by(key) != Signed::Good(None)) => self.unsigned += 1,
            Line::Checkpoint(checkpoint, note) => self.found.push((checkpoint, note)),
        }
        if self.found.len() >= AT_ONCE { self.thin() } else { Ok(()) }
    }

    fn thin(&mut self) -> Result<(), String> {
        let found = std::mem::take(&mut self.found);
        self.found = anchor::telling(self.journal, found).map_err(|error| format!("cannot read the journal's `leaves`: {error}"))?;
        Ok(())
    }

    fn end(mut self, path: &Path) -> Result<Vec<Note>, String> {
        self.thin()?;
        let said =
            [(self.broken, "call themselves checkpoints and cannot be read"), (self.unsigned, "are not signed with the key of `--key`")];
        for (count, what) in said.iter().filter(|(count, _)| *count > 0) {
            output::error(&format!("`{}`: {count} lines {what}; they are passed over", path.display()));
        }
        if self.found.is_empty() {
            let of = self.of.as_deref().unwrap_or("any journal");
            let others: Vec<String> = self.others.iter().map(|name| edgeguard_audit::printable(name.as_bytes())).collect();
            let others = if others.is_empty() { "none of any journal".to_owned() } else { format!("those of `{}`", others.join("`, `")) };
            let of = edgeguard_audit::printable(of.as_bytes());
            return Err(format!("`{}`: expected checkpoints of `{of}` among the lines, found {others}", path.display()));
        }
        Ok(self.found.into_iter().map(|(_, note)| note).collect())
    }
}

/// The next line with its end, cut where no line of the exporter's is longer; nothing at the end.
fn next_line(reader: &mut dyn BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        // One more than is looked into, so that a line that is cut here is known to be too long.
        let room = (anchor::MAX_RECEIVED + 1).saturating_sub(line.len());
        line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
        let used = part.len();
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
    Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// So much may stand before the first line with a `{`.
const HEAD: usize = 64 << 10;
/// So many checkpoints are held before those that prove nothing more are let go.
const AT_ONCE: usize = 4096;
/// So many other journals are named in a message.
const MAX_OTHERS: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_line_of_any_length_takes_no_more_memory_than_a_line_may_have() {
        let text = format!("a\n{}\nb", "x".repeat(10 * anchor::MAX_RECEIVED));
        let mut reader: Box<dyn BufRead> = Box::new(text.as_bytes());
        let lines: Vec<String> = std::iter::from_fn(|| next_line(&mut reader).unwrap()).collect();
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [2, anchor::MAX_RECEIVED + 1, 1]);
    }
}
