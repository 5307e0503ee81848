//! Files as the signing commands read and write them.
//!
//! Runs in: command line.
//! Does not: wait for a pipe, overwrite unless told to, or leave half a file behind.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_attest::ReadError;
use rustix::fs::CWD;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot open `{}`", .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("cannot read `{}`", .0.display())]
    Read(PathBuf, #[source] ReadError),
    #[error("cannot write `{}`", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("`{}` exists already", .0.display())]
    Exists(PathBuf),
}

impl FileError {
    /// Whether there is no such file.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Open(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a file for reading. Without `O_NONBLOCK`, a pipe in its place would make the open itself wait.
pub(crate) fn open(path: &Path) -> Result<File, FileError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|source| FileError::Open(path.to_owned(), source))
}

/// Reads a regular file of at most `max` bytes.
pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    edgeguard_attest::read_bounded(&open(path)?, max).map_err(|source| FileError::Read(path.to_owned(), source))
}

/// What becomes of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stays, and nothing is written.
    Refuse,
    /// It is replaced.
    Replace,
}

/// Writes a file whole or not at all: a new file beside it, synced, then renamed into place.
pub(crate) fn put(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), FileError> {
    let fail = |source: io::Error| FileError::Write(path.to_owned(), source);
    let beside = with_suffix(path, &format!(".new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(fail)?;
    let renamed = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| match existing {
        Existing::Replace => std::fs::rename(&beside, path),
        Existing::Refuse => rustix::fs::renameat_with(CWD, &beside, CWD, path, RenameFlags::NOREPLACE).map_err(io::Error::from),
    });
    if let Err(error) = renamed {
        let _ = std::fs::remove_file(&beside);
        return Err(if error.kind() == io::ErrorKind::AlreadyExists { FileError::Exists(path.to_owned()) } else { fail(error) });
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(fail)
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
