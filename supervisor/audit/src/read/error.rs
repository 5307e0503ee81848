//! Why a journal, or a frame of it, cannot be read.
//!
//! Runs in: CLI.

use std::io;
use std::path::PathBuf;

use crate::columns::BadPayload;
use crate::frame::BadFrame;
use crate::frame::MAX_RAW;
use crate::note::BadNote;

/// Why the journal cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read at all.
    #[error("cannot read `{}`", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Bytes that should be a frame are none.
    #[error("`{segment}` holds no valid frame at byte {offset}, where frame {expected} may be")]
    Bad {
        /// The segment, below the journal's folder.
        segment: String,
        /// Where in it.
        offset: u64,
        /// The frame that comes next in the journal.
        expected: u64,
        /// What is wrong.
        source: BadFrame,
    },
    /// A frame that was written is not there.
    #[error("frame {0} was written and is not there")]
    Missing(u64),
    /// A frame's payload does not parse.
    #[error("frame {frame} does not parse")]
    Payload {
        /// Its number.
        frame: u64,
        /// What is wrong.
        source: BadContent,
    },
}

/// A payload that does not parse.
#[derive(Debug, thiserror::Error)]
pub enum BadContent {
    /// It does not decompress, or to more than a frame may hold.
    #[error("cannot be decompressed to at most {MAX_RAW} bytes")]
    Compression(#[source] io::Error),
    /// The columns of a `Detail` frame, or a dictionary.
    #[error(transparent)]
    Columns(#[from] BadPayload),
    /// Not a signed note, or one of another kind.
    #[error("holds no note that belongs there: the note {0}")]
    Note(#[from] BadNote),
    /// The JSON of another frame.
    #[error("is not the JSON that belongs there")]
    Json(#[from] serde_json::Error),
    /// The rows of a `Summary` frame are of another number of calls than it says.
    #[error("counts {found} calls, and is of {expected}")]
    Counts {
        /// By its coverage.
        expected: u64,
        /// By its rows.
        found: u64,
    },
    /// The header says another number of events than there are.
    #[error("holds {found} events, its header says {expected}")]
    Count {
        /// By the header.
        expected: u16,
        /// Found.
        found: usize,
    },
}
