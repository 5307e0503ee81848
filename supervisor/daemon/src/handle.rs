//! Paths become handles, once.
//!
//! Runs in: daemon.
//! Invariant: the last component of an operator's path is opened inside its own directory, so a link there that leads elsewhere is refused and not followed;
//! what was opened is what is used, whatever happens to the path afterwards.

use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use cap_std::fs::File;
use cap_std::fs::OpenOptions;
use cap_std::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;

/// Why a path did not become a handle.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {what} `{path}`{hint}")]
pub struct HandleError {
    what: &'static str,
    path: String,
    hint: &'static str,
    #[source]
    source: std::io::Error,
}

/// Opens a regular file for reading.
///
/// # Errors
/// It is absent, unreadable, no regular file, or a link that leaves its directory.
pub fn file(what: &'static str, path: &Path) -> Result<File, HandleError> {
    let open = || -> std::io::Result<File> {
        let (parent, name) = split(path)?;
        // Without waiting: opening a pipe that somebody put in the file's place would wait for a writer.
        let options = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).clone();
        let file = Dir::open_ambient_dir(parent, ambient_authority())?.open_with(name, &options)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    };
    open().map_err(|source| HandleError { what, path: path.display().to_string(), hint: hint(&source), source })
}

/// Opens a directory.
///
/// # Errors
/// It is absent, unreadable, no directory, or a link.
pub fn dir(what: &'static str, path: &Path) -> Result<Dir, HandleError> {
    let open = || -> std::io::Result<Dir> {
        let (parent, name) = split(path)?;
        Dir::open_ambient_dir(parent, ambient_authority())?.open_dir(name)
    };
    open().map_err(|source| HandleError { what, path: path.display().to_string(), hint: hint(&source), source })
}

fn split(path: &Path) -> std::io::Result<(&Path, &std::ffi::OsStr)> {
    let whole = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "a path inside a directory is wanted");
    Ok((path.parent().ok_or_else(whole)?, path.file_name().ok_or_else(whole)?))
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => ": it does not exist; check the path for a slip of the pen",
        std::io::ErrorKind::PermissionDenied => {
            ": the daemon's user may not, or it is a link that leaves its directory; grant the real path"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_link_out_of_its_directory_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("models")).unwrap();
        std::fs::write(root.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", root.path().join("models/vad.onnx")).unwrap();
        assert!(file("model", &root.path().join("models/vad.onnx")).is_err());
    }

    #[test]
    fn a_directory_is_no_file_and_an_absent_path_says_so() {
        let root = tempfile::tempdir().unwrap();
        assert!(file("model", root.path()).is_err());
        let error = file("model", &root.path().join("absent")).unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    }

    #[test]
    fn a_pipe_in_a_files_place_is_refused_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("m.wasm");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert!(file("module", &path).is_err());
    }

    #[test]
    fn a_handle_keeps_what_it_opened() {
        use std::io::Read as _;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("m.wasm");
        std::fs::write(&path, "first").unwrap();
        let mut handle = file("module", &path).unwrap();
        std::fs::rename(&path, root.path().join("old")).unwrap();
        std::fs::write(&path, "second").unwrap();
        let mut text = String::new();
        handle.read_to_string(&mut text).unwrap();
        assert_eq!(text, "first");
    }
}
