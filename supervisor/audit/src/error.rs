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
