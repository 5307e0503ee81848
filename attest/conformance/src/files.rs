//! Reads what the suite names, within bounds.
//!
//! Runs in: the conformance client.

use std::fs::File;
use std::path::Path;

use edgeguard_attest::ReadError;
use edgeguard_attest::read_bounded;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use sha2::Digest as _;
use sha2::Sha256;

/// The largest artifact, in bytes: the suite's have a few.
pub(crate) const MAX_ARTIFACT: u64 = 256 << 20;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot open `{path}`")]
    Open {
        path: String,
        #[source]
        source: rustix::io::Errno,
    },
    #[error("cannot read `{path}`")]
    Read {
        path: String,
        #[source]
        source: ReadError,
    },
}

/// Opens without waiting: a pipe in the file's place is refused when it is read.
pub(crate) fn open(path: &Path) -> Result<File, FileError> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .map(File::from)
        .map_err(|source| FileError::Open { path: shown(path), source })
}

pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    read_bounded(&open(path)?, max).map_err(|source| FileError::Read { path: shown(path), source })
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}
