//! How far a sink's receiver has acknowledged the journal: one small file, replaced as a whole.
//!
//! Runs in: exporter.
//! Invariant: it only moves forward, and only past what was acknowledged. One that is older than the truth (after a crash) means that entries are sent
//! again, with the same `uid`.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::error::ExportError;

/// A place in one journal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The frame that comes next, or that is acknowledged in part.
    pub frame: u64,
    /// How many entries of that frame are acknowledged.
    pub entries: u32,
    /// The leaf of the frame before `frame`, in hex: the journal must still have it. Empty at the beginning.
    pub leaf: String,
    /// Who writes the journal; part of every `uid`.
    pub origin: String,
    /// The kernel's id of the boot at that place.
    pub boot_id: String,
    /// How many entries were ever acknowledged.
    pub acknowledged: u64,
    /// The number of the security event that comes next; nothing in cursors of older releases.
    #[serde(default)]
    pub events: Option<u64>,
    /// The number of the call that comes next; the same.
    #[serde(default)]
    pub calls: Option<u64>,
    /// How many entries were gone before they could be handed over.
    #[serde(default)]
    pub gone: u64,
}

impl Cursor {
    /// Before the first entry of a journal.
    #[must_use]
    pub fn beginning() -> Self {
        Self { events: Some(0), calls: Some(0), ..Self::default() }
    }
}

/// A cursor's file.
#[derive(Debug)]
pub struct CursorFile {
    path: PathBuf,
    temporary: PathBuf,
    dir: File,
}

impl CursorFile {
    /// The file of a sink. Nothing is there before the first acknowledgement.
    ///
    /// # Errors
    /// [`ExportError::State`] if the folder cannot be opened.
    pub fn open(state: &Path, sink: &str) -> Result<Self, ExportError> {
        let dir =
            File::open(state).map_err(|source| ExportError::State { step: "open the state folder", path: state.to_owned(), source })?;
        Ok(Self { path: state.join(format!("{sink}.cursor")), temporary: state.join(format!(".{sink}.cursor")), dir })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; the beginning if it is not there. A file that does not parse is an error: it was not this program that wrote it.
    ///
    /// # Errors
    /// [`ExportError::State`]
    pub fn load(&self) -> Result<Cursor, ExportError> {
        let failed = |source| ExportError::State { step: "read the cursor", path: self.path.clone(), source };
        let text = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cursor::beginning()),
            Ok(meta) if meta.len() <= MAX_CURSOR => fs::read(&self.path).map_err(failed)?,
            Ok(_) => return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "is longer than a cursor"))),
            Err(error) => return Err(failed(error)),
        };
        serde_json::from_slice(&text).map_err(|error| failed(error.into()))
    }

    /// Replaces it, on the disk when this returns.
    ///
    /// # Errors
    /// [`ExportError::State`]
    pub fn save(&self, cursor: &Cursor) -> Result<(), ExportError> {
        let write = || -> io::Result<()> {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.temporary)?;
            file.write_all(&serde_json::to_vec(cursor)?)?;
            file.sync_data()?;
            fs::rename(&self.temporary, &self.path)?;
            self.dir.sync_data()
        };
        write().map_err(|source| ExportError::State { step: "write the cursor", path: self.path.clone(), source })
    }
}

const MAX_CURSOR: u64 = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = CursorFile::open(dir.path(), "siem").unwrap();
        assert_eq!(file.load().unwrap(), Cursor::beginning());
        let cursor = Cursor {
            frame: 7,
            entries: 3,
            leaf: "ab".repeat(32),
            origin: "gw".into(),
            boot_id: "b".into(),
            acknowledged: 99,
            events: Some(5),
            calls: Some(94),
            gone: 6,
        };
        file.save(&cursor).unwrap();
        assert_eq!(file.load().unwrap(), cursor);
        // One of a release that did not count entries by tier: it goes on, and knows of no gap before.
        let old = format!(
            "{{\"frame\":7,\"entries\":3,\"leaf\":\"{}\",\"origin\":\"gw\",\"boot_id\":\"b\",\"acknowledged\":99}}",
            "ab".repeat(32)
        );
        fs::write(file.path(), old).unwrap();
        assert_eq!(file.load().unwrap(), Cursor { events: None, calls: None, gone: 0, ..cursor });
    }

    #[test]
    fn a_damaged_cursor_is_an_error_and_not_a_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let file = CursorFile::open(dir.path(), "siem").unwrap();
        for text in ["", "{", "{\"frame\":1}", &"x".repeat(5000)] {
            fs::write(file.path(), text).unwrap();
            assert!(file.load().is_err(), "{text:.20}");
        }
    }
}
