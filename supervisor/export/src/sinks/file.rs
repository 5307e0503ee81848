//! Lines appended to a file, on the disk before they count.
//!
//! Runs in: exporter.
//! Invariant: the file ends with a whole line, whatever went wrong before.
//! Does not: rotate. Use `copytruncate`, or restart the exporter after renaming the file; it opens the name anew when it starts.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use edgeguard_audit::encode::Encoded;

use super::Delivery;
use super::Sink;
use crate::error::ExportError;
use crate::error::SinkError;

pub(super) struct FileOut {
    file: File,
}

impl FileOut {
    /// Opens the file, or makes it. Half a line at its end, which only a crash leaves, is cut off: it will come again.
    pub(super) fn open(path: &Path) -> Result<Self, ExportError> {
        let open = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("is not a regular file"));
            }
            end_with_a_line(&file)?;
            Ok(file)
        };
        let file = open().map_err(|source| ExportError::State { step: "open the output file", path: path.to_owned(), source })?;
        Ok(Self { file })
    }

    fn append(&mut self, batch: &[Encoded]) -> Result<(), SinkError> {
        let mut text = String::with_capacity(batch.iter().map(|entry| entry.line.len() + 1).sum());
        for entry in batch {
            text.push_str(&entry.line);
            text.push('\n');
        }
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // The whole batch will come again; what of it is there may stay, but not half a line.
            end_with_a_line(&self.file)?;
        }
        Ok(written?)
    }
}

impl Sink for FileOut {
    fn window(&self) -> usize {
        512
    }

    fn deliver(&mut self, _host: &str, batch: &[Encoded]) -> Delivery {
        Delivery::of(self.append(batch), batch)
    }

    fn disconnect(&mut self) {}
}

/// Cuts off what stands behind the last end of line. A line is at most [`edgeguard_audit::MAX_LINE`], so it is looked for no farther back; a file without
/// one there is not ours.
fn end_with_a_line(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(edgeguard_audit::MAX_LINE as u64 + 1);
    let mut tail = vec![0; usize::try_from(length - from).unwrap_or(0)];
    file.read_exact_at(&mut tail, from)?;
    match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => {
            let whole = from + end as u64 + 1;
            if whole < length { file.set_len(whole) } else { Ok(()) }
        }
        None if from == 0 && tail.first().is_none_or(|byte| *byte == b'{') => file.set_len(0),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "does not end as the exporter leaves it; name another file")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use edgeguard_audit::encode::Level;

    fn entry(line: &str) -> Encoded {
        Encoded { uid: "u".into(), code: "c".into(), time_ns: 1, level: Level::Medium, line: line.into() }
    }

    #[test]
    fn half_a_line_from_a_crash_is_cut_off_and_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, "{\"a\":1}\n{\"b\":").unwrap();
        let mut out = FileOut::open(&path).unwrap();
        assert_eq!(out.deliver("h", &[entry("{\"b\":2}")]).acknowledged, 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"b\":2}\n");
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        std::fs::write(&path, "root:x:0:0").unwrap();
        assert!(FileOut::open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "root:x:0:0");
    }
}
