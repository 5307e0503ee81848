//! Checkpoints that are handed to a receiver as entries of their own, and the one that it has acknowledged.
//!
//! Runs in: exporter, one for each sink.
//! Invariant: a file `NAME.anchor` in the state folder is a checkpoint that the receiver of that sink has acknowledged, as it was signed. A journal that no
//! longer has the history that it is over is not exported.
//! Does not: check signatures, which is `edgeguard audit verify`'s work with the receiver's copy; the file here is no better kept than the journal is.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::Checkpoint;
use edgeguard_audit::Note;
use edgeguard_audit::Ocsf;
use edgeguard_audit::anchor;
use edgeguard_audit::encode::Encoded;
use edgeguard_audit::encode::Encoder;
use edgeguard_audit::proof;
use edgeguard_audit::read::ReadError;

use crate::config::Common;
use crate::error::ExportError;

/// What a receiver has of the journal's checkpoints.
#[derive(Debug)]
pub struct Anchors {
    journal: PathBuf,
    common: Common,
    path: PathBuf,
    temporary: PathBuf,
    dir: File,
    acknowledged: Option<Checkpoint>,
    offered: Option<Instant>,
}

/// A checkpoint that is to be handed over next.
#[derive(Debug)]
pub struct Offer {
    /// As an entry.
    pub entry: Encoded,
    checkpoint: Checkpoint,
    note: Note,
}

impl Anchors {
    /// What the receiver of a sink has, by the file in the state folder. Without a file it has none.
    ///
    /// # Errors
    /// [`ExportError::State`] for a file that cannot be read, or is none of ours; [`ExportError::RolledBack`] if the journal does not have that history.
    pub fn open(journal: &Path, state: &Path, common: &Common) -> Result<Self, ExportError> {
        let failed = |step, path: &Path| {
            let path = path.to_owned();
            move |source| ExportError::State { step, path, source }
        };
        let dir = File::open(state).map_err(failed("open the state folder", state))?;
        let path = state.join(format!("{}.anchor", common.name));
        let acknowledged = load(&path).map_err(failed("read the checkpoint in", &path))?;
        let temporary = state.join(format!(".{}.anchor", common.name));
        let anchors = Self { journal: journal.to_owned(), common: common.clone(), path, temporary, dir, acknowledged, offered: None };
        match &anchors.acknowledged {
            Some(checkpoint) if !anchor::holds(journal, checkpoint).map_err(anchors.unreadable())? => Err(anchors.rolled_back(checkpoint)),
            _ => Ok(anchors),
        }
    }

    /// How many frames the acknowledged checkpoint is over; 0 without one.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.acknowledged.as_ref().map_or(0, |checkpoint| checkpoint.size)
    }

    /// The journal's newest checkpoint, if the receiver has not got it and the last one was a while ago; `now` if that does not matter.
    ///
    /// # Errors
    /// [`ExportError::Journal`]; [`ExportError::RolledBack`] if the journal is shorter than what was acknowledged.
    pub fn due(&mut self, now: bool, boot_id: &str) -> Result<Option<Offer>, ExportError> {
        if !now && self.offered.is_some_and(|offered| offered.elapsed() < EVERY) {
            return Ok(None);
        }
        self.offered = Some(Instant::now());
        let newest = proof::latest(&self.journal).map_err(self.unreadable())?;
        if let Some(acknowledged) = &self.acknowledged
            && newest.as_ref().is_none_or(|(newest, _)| newest.size <= acknowledged.size)
        {
            // The file of checkpoints may be behind for a moment; the tree may not.
            let same = newest.is_some_and(|(newest, _)| newest == *acknowledged);
            let there = same || anchor::holds(&self.journal, acknowledged).map_err(self.unreadable())?;
            return if there { Ok(None) } else { Err(self.rolled_back(acknowledged)) };
        }
        let Some((checkpoint, note)) = newest else { return Ok(None) };
        let ocsf = Ocsf { origin: checkpoint.origin.clone(), boot_id: boot_id.to_owned() };
        let entry = Encoder::new(ocsf, self.common.form).checkpoint(&checkpoint, &note);
        Ok(entry.map(|entry| Offer { entry, checkpoint, note }))
    }

    /// The receiver has it: so it stands in the file, on the disk.
    ///
    /// # Errors
    /// [`ExportError::State`]
    pub fn acknowledge(&mut self, offer: Offer) -> Result<(), ExportError> {
        let write = || -> io::Result<()> {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.temporary)?;
            file.write_all(offer.note.to_string().as_bytes())?;
            file.sync_data()?;
            fs::rename(&self.temporary, &self.path)?;
            self.dir.sync_data()
        };
        write().map_err(|source| ExportError::State { step: "write the checkpoint in", path: self.path.clone(), source })?;
        self.acknowledged = Some(offer.checkpoint);
        Ok(())
    }

    /// It was not taken: it, or a newer one, is due at once.
    pub const fn refused(&mut self) {
        self.offered = None;
    }

    fn unreadable(&self) -> impl FnOnce(io::Error) -> ExportError + use<> {
        let path = self.journal.clone();
        move |source| ExportError::Journal(ReadError::Io { path, source })
    }

    fn rolled_back(&self, checkpoint: &Checkpoint) -> ExportError {
        ExportError::RolledBack { sink: self.common.name.clone(), frames: checkpoint.size, anchor: self.path.clone() }
    }
}

fn load(path: &Path) -> io::Result<Option<Checkpoint>> {
    let mut text = String::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.take(MAX_ANCHOR + 1).read_to_string(&mut text)?,
    };
    let bad = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let note = Note::parse(&text).map_err(bad)?;
    Ok(Some(Checkpoint::parse(note.text()).map_err(bad)?))
}

/// As often as an epoch turns under load: what is younger can be changed by whoever has the epoch's key.
const EVERY: Duration = Duration::from_secs(10);
const MAX_ANCHOR: u64 = 64 << 10;
