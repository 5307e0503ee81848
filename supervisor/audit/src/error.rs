//! Why the journal does not take a record, or does not open.
//!
//! Runs in: daemon.

use std::io;
use std::path::Path;
use std::path::PathBuf;

/// Why the journal does not take a record, or does not open.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process writes this journal.
    #[error("the journal in `{}` is being written by another process; stop the other daemon, or give this one a state directory of its own", .0.display())]
    Locked(PathBuf),
    /// The disk takes no more. Nothing was written; it may be tried again when there is space.
    #[error("the disk of the journal in `{}` is full; free some space", .dir.display())]
    Full {
        /// The journal's folder.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the journal cannot be used.
    #[error("cannot {what} in the journal `{}`", .dir.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The journal's folder.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An earlier frame was written in part. The next start cuts it off and says so; until then nothing is taken.
    #[error("the journal in `{}` takes nothing more since a write failed half-way; restart the daemon once the disk is well", .0.display())]
    Broken(PathBuf),
    /// A newer release has written here.
    #[error("the journal in `{}` is of a format that this release does not write; use the newer release, or another state directory", .dir.display())]
    Format {
        /// The journal's folder.
        dir: PathBuf,
        /// What was found.
        source: crate::frame::BadFrame,
    },
    /// An event that is still too long after its texts were cut.
    #[error("an event of {0} bytes does not fit a frame")]
    TooLarge(usize),
    /// The journal's keys.
    #[error("the journal has no keys to sign with")]
    Keys(#[from] crate::keys::KeysError),
    /// The keys are not those that the journal was sealed with.
    #[error("the journal in `{}` is in epoch {journal}, the keys are in epoch {keys} of another history; give back the keys it was sealed with, or move journal and keys aside together: what was written stays verifiable, and a new journal begins", .dir.display())]
    OtherKeys {
        /// The journal's folder.
        dir: PathBuf,
        /// The journal's epoch.
        journal: u32,
        /// The keys'.
        keys: u32,
    },
    /// It was opened without keys.
    #[error("the journal is not sealed: it was opened without keys")]
    Unsealed,
    /// A statement that is not about this journal.
    #[error("{0}")]
    Statement(&'static str),
    /// The columns could not be compressed.
    #[error("cannot compress a frame")]
    Compress(#[source] io::Error),
}

impl JournalError {
    /// Puts an error of the kernel in its place.
    pub(crate) fn io(what: &'static str, dir: &Path) -> impl FnOnce(io::Error) -> Self {
        let dir = dir.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { dir, source },
            _ => Self::Io { what, dir, source },
        }
    }
}
