//! Finding and reading what `policy check` was pointed at.
//!
//! Runs in: command line.
//! Does not: read more than it was told to, wait on a pipe, or go below the directory named.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_attest::ReadError;
use edgeguard_attest::read_bounded;
use edgeguard_policy::Code;
use edgeguard_policy::Diagnostic;
use rustix::fs::Mode;
use rustix::fs::OFlags;

/// Most files that one directory may hold.
const MAX_FILES: usize = 10_000;

/// The policy files that a path means, and whether each was found in a directory.
pub(crate) fn policies(path: &Path) -> Result<Vec<(PathBuf, bool)>, Diagnostic> {
    let fail = |e: &std::io::Error| unreadable(path, e);
    if !std::fs::metadata(path).map_err(|e| fail(&e))?.is_dir() {
        return Ok(vec![(path.to_owned(), false)]);
    }
    let mut list = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| fail(&e))? {
        let file = entry.map_err(|e| fail(&e))?.path();
        if file.extension().is_some_and(|e| e == "toml") {
            list.push((file, true));
        }
        if list.len() > MAX_FILES {
            let message = format!("directory holds more than {MAX_FILES} policies");
            return Err(Diagnostic::new(Code::TooMany, message).in_file(&path.display().to_string()).help("name a directory of policies"));
        }
    }
    list.sort();
    if list.is_empty() {
        let help = "name a directory with one `NAME.toml` for each module";
        return Err(Diagnostic::new(Code::Absent, "directory holds no policy").in_file(&path.display().to_string()).help(help));
    }
    Ok(list)
}

/// A regular file's bytes; a file larger than `most` is refused before it is read.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Diagnostic> {
    let file = open(path).map_err(|e| unreadable(path, &e))?;
    read_bounded(&file, most).map_err(|e| {
        let (code, help) = match &e {
            ReadError::TooBig { .. } => (Code::TooLarge, "name the right file; none that large is expected here"),
            ReadError::NotAFile => (Code::WrongKind, "name a file"),
            ReadError::Changed { .. } => (Code::Unreadable, "run the check again when nobody writes the file"),
            ReadError::Io(source) => return unreadable(path, source),
        };
        Diagnostic::new(code, e.to_string()).in_file(&path.display().to_string()).help(help)
    })
}

/// Opens for reading without waiting: a pipe in the place of a file does not hang the check.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?.into())
}

/// Why a path could not be looked at.
pub(crate) fn unreadable(path: &Path, e: &std::io::Error) -> Diagnostic {
    let shown = path.display().to_string();
    match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Diagnostic::new(Code::Absent, "path does not exist").in_file(&shown).help("check the spelling")
        }
        _ => Diagnostic::new(Code::Unreadable, format!("path cannot be read: {e}"))
            .in_file(&shown)
            .help("run the check as a user who may read it"),
    }
}
