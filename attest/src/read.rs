//! Reading files whose size somebody else chose.
//!
//! Runs in: daemon, CLI. The caller opens the file (and so decides which file it is); here it is only read.
//! Invariant: never holds more than the bound, whatever the file claims or becomes meanwhile.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use crate::gate::MAX_BUNDLE;
use crate::module::MAX_MODULE;
use crate::module::UnverifiedModule;
use crate::module::too_big_module;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Rejection;

/// Why a bounded read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Larger than the bound: nothing was read.
    #[error("file has {found} bytes, at most {max} are accepted")]
    TooBig {
        /// Size in bytes.
        found: u64,
        /// The bound in bytes.
        max: u64,
    },
    /// A directory, pipe, socket or device.
    #[error("not a regular file")]
    NotAFile,
    /// Shorter or longer when read than when asked for its size.
    #[error("file changed while it was read: {stated} bytes before, {read} read")]
    Changed {
        /// Size before reading, in bytes.
        stated: u64,
        /// Bytes that were read.
        read: u64,
    },
    /// The system said no.
    #[error("cannot read the file")]
    Io(#[source] io::Error),
}

/// Reads a regular file of at most `max` bytes. A larger file is refused by its size, before a byte of it is read.
///
/// Opening is the caller's: use `O_NONBLOCK`, or a pipe in the file's place makes the open itself wait.
///
/// # Errors
/// [`ReadError`]; also when the file grows or shrinks meanwhile.
pub fn read_bounded(file: &File, max: u64) -> Result<Vec<u8>, ReadError> {
    let metadata = file.metadata().map_err(ReadError::Io)?;
    if !metadata.is_file() {
        return Err(ReadError::NotAFile);
    }
    let stated = metadata.len();
    if stated > max {
        return Err(ReadError::TooBig { found: stated, max });
    }
    let capacity = usize::try_from(stated).map_err(|_| ReadError::TooBig { found: stated, max })?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(capacity).map_err(|error| ReadError::Io(io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
    // One byte more than stated, so that a file that grows is noticed and not cut.
    file.take(stated.saturating_add(1)).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    let read = bytes.len() as u64;
    if read != stated {
        return Err(ReadError::Changed { stated, read });
    }
    Ok(bytes)
}

/// Reads a module within [`MAX_MODULE`].
///
/// # Errors
/// [`Code::TooBig`], [`Code::Unreadable`], and those of [`UnverifiedModule::from_bytes`].
pub fn read_module(file: &File) -> Result<UnverifiedModule, Rejection> {
    let bytes = read_bounded(file, MAX_MODULE).map_err(|error| match error {
        ReadError::TooBig { found, .. } => too_big_module(found),
        other => unreadable(Check::Module, "the module", &other),
    })?;
    UnverifiedModule::from_bytes(bytes)
}

/// Reads a bundle within [`MAX_BUNDLE`].
///
/// # Errors
/// [`Code::TooBig`], [`Code::Unreadable`].
pub fn read_bundle(file: &File) -> Result<Vec<u8>, Rejection> {
    read_bounded(file, MAX_BUNDLE).map_err(|error| match error {
        ReadError::TooBig { found, .. } => crate::gate::too_big(found),
        other => unreadable(Check::Bundle, "the bundle", &other),
    })
}

/// Where the bundle of a module lies: `voice-gate.wasm` → `voice-gate.wasm.sigstore.json`.
#[must_use]
pub fn bundle_path(module: &Path) -> PathBuf {
    let mut path = module.as_os_str().to_owned();
    path.push(".sigstore.json");
    PathBuf::from(path)
}

fn unreadable(check: Check, what: &str, error: &ReadError) -> Rejection {
    let found = match error {
        ReadError::Io(source) => format!("{error}: {source}"),
        _ => error.to_string(),
    };
    let mut rejection = Rejection::new(Code::Unreadable, format!("{what} as a regular file that stays as it is"), found);
    rejection.check = check;
    rejection
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::io::Seek as _;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn bundle_of_24_mb_is_refused_by_its_size_alone() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(24 << 20).unwrap();
        let rejection = read_bundle(&file).unwrap_err();
        assert_eq!(rejection.code, Code::TooBig);
        assert_eq!(file.stream_position().unwrap(), 0, "not one byte was read");
    }

    #[test]
    fn module_of_500_mb_is_refused_by_its_size_alone() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(500 << 20).unwrap();
        let rejection = read_module(&file).unwrap_err();
        assert_eq!((rejection.code, rejection.check), (Code::TooBig, Check::Module));
        assert_eq!(file.stream_position().unwrap(), 0, "not one byte was read");
    }

    #[test]
    fn file_at_the_bound_is_read_whole() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100]).unwrap();
        file.rewind().unwrap();
        assert_eq!(read_bounded(&file, 100).unwrap(), [7; 100]);
        file.rewind().unwrap();
        assert!(matches!(read_bounded(&file, 99), Err(ReadError::TooBig { found: 100, max: 99 })));
    }

    #[test]
    fn file_that_is_shorter_than_it_says_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"bundle").unwrap();
        // The offset stands at the end, as if another process had cut what is left to read.
        assert!(matches!(read_bounded(&file, 100), Err(ReadError::Changed { stated: 6, read: 0 })));
    }

    #[test]
    fn endless_device_and_directory_are_no_files() {
        for path in ["/dev/zero", "/"] {
            let file = File::open(path).unwrap();
            assert!(matches!(read_bounded(&file, 10), Err(ReadError::NotAFile)), "{path}");
        }
    }

    #[test]
    fn bundle_lies_beside_its_module() {
        assert_eq!(bundle_path(Path::new("/m/voice-gate.wasm")), Path::new("/m/voice-gate.wasm.sigstore.json"));
    }
}
