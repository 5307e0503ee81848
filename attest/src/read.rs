//! Reading files whose size somebody else chose.
//!
//! Runs in: daemon, CLI. The caller opens the file (and so decides which file it is); here it is only read. Of a module's directory only names are read.
//! Invariant: never holds more than the bound, whatever the file claims or becomes meanwhile.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use crate::admit::MAX_BUNDLES;
use crate::gate::MAX_BUNDLE;
use crate::module::MAX_MODULE;
use crate::module::UnverifiedModule;
use crate::module::too_big_module;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;

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

/// The longest label of a bundle, in bytes.
pub const MAX_LABEL: usize = 32;

/// The most entries of a module's directory that are looked at to find its bundles.
const MAX_ENTRIES: usize = 65_536;

/// What distinguishes one bundle of a module from another: `voice-gate.wasm.release.sigstore.json` beside `voice-gate.wasm` has the label `release`,
/// and the plain `voice-gate.wasm.sigstore.json` has the empty one. `None` for a file that is no bundle of this module.
///
/// A label has 1 to [`MAX_LABEL`] of `a-z`, `0-9` and `-`.
#[must_use]
pub fn bundle_label<'a>(file_name: &'a str, module_name: &str) -> Option<&'a str> {
    let middle = file_name.strip_prefix(module_name)?.strip_suffix(".sigstore.json")?;
    if middle.is_empty() {
        return Some("");
    }
    let label = middle.strip_prefix('.')?;
    let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    ((1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(good)).then_some(label)
}

/// The bundles beside `module`, by their paths: the plain one first, then by label. Only names are looked at; the caller opens each, as it does the module.
///
/// # Errors
/// [`Code::Unsigned`] if there is none, [`Code::TooMany`] for more than [`MAX_BUNDLES`], [`Code::Unreadable`] if the directory
/// cannot be read whole or a bundle's name belongs to something that is no regular file (nor a link, which the caller judges when it opens it).
pub fn bundles_beside(module: &Path) -> Result<Vec<PathBuf>, Rejection> {
    let plain = bundle_path(module);
    let refused = |found: String| {
        let mut rejection = Rejection::new(Code::Unreadable, "a directory with the module and its bundles as regular files", found);
        rejection.check = Check::Bundle;
        rejection
    };
    // A name that is no UTF-8 has no labels, only the plain bundle.
    let (Some(name), Some(parent)) = (module.file_name().and_then(|name| name.to_str()), module.parent()) else {
        return Ok(vec![plain]);
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let mut found = Vec::new();
    for (seen, entry) in std::fs::read_dir(parent).map_err(|error| refused(error.to_string()))?.enumerate() {
        if seen >= MAX_ENTRIES {
            return Err(refused(format!("more than {MAX_ENTRIES} files in {}", shown(&parent.to_string_lossy()))));
        }
        let entry = entry.map_err(|error| refused(error.to_string()))?;
        let file_name = entry.file_name();
        let Some(label) = file_name.to_str().and_then(|file| bundle_label(file, name)) else { continue };
        let kind = entry.file_type().map_err(|error| refused(error.to_string()))?;
        if !kind.is_file() && !kind.is_symlink() {
            return Err(refused(format!("{}, which is no regular file", shown(&file_name.to_string_lossy()))));
        }
        found.push((label.to_owned(), entry.path()));
        if found.len() > MAX_BUNDLES {
            return Err(Rejection::new(Code::TooMany, format!("at most {MAX_BUNDLES} bundles beside the module"), "more"));
        }
    }
    if found.is_empty() {
        return Err(Rejection::unsigned(&plain));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
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

    #[test]
    fn label_is_what_stands_between_the_module_and_the_ending() {
        let label = |file| bundle_label(file, "m.wasm");
        assert_eq!(label("m.wasm.sigstore.json"), Some(""));
        assert_eq!(label("m.wasm.release.sigstore.json"), Some("release"));
        assert_eq!(label("m.wasm.approval-ops-2.sigstore.json"), Some("approval-ops-2"));
        for other in [
            "m.wasm",
            "m.wasm.sigstore.json.bak",
            "m.wasm..sigstore.json",
            "m.wasm.Release.sigstore.json",
            "m.wasm.a.b.sigstore.json",
            "m.wasm.a_b.sigstore.json",
            "m.wasmx.sigstore.json",
            "mm.wasm.sigstore.json",
            "m.wasm.release.sigstore.jsonx",
            ".sigstore.json",
            "",
        ] {
            assert_eq!(label(other), None, "{other}");
        }
        let labelled = |length: usize| bundle_label(&format!("m.wasm.{}.sigstore.json", "a".repeat(length)), "m.wasm").map(str::len);
        assert_eq!(labelled(MAX_LABEL), Some(MAX_LABEL));
        assert_eq!(labelled(MAX_LABEL + 1), None);
    }

    #[test]
    fn bundles_are_found_in_one_order_and_of_this_module_only() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("m.wasm");
        assert_eq!(bundles_beside(&module).unwrap_err().code, Code::Unsigned);
        let names = ["m.wasm.sigstore.json", "m.wasm.approval.sigstore.json", "m.wasm.release.sigstore.json"];
        for name in
            ["m.wasm.release.sigstore.json", "n.wasm.sigstore.json", "m.wasm", "m.wasm.sigstore.json", "m.wasm.approval.sigstore.json"]
        {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        assert_eq!(bundles_beside(&module).unwrap(), names.map(|name| dir.path().join(name)));
        for more in 0..6 {
            std::fs::write(dir.path().join(format!("m.wasm.{more}.sigstore.json")), "x").unwrap();
        }
        assert_eq!(bundles_beside(&module).unwrap_err().code, Code::TooMany);
    }

    #[test]
    fn a_directory_in_a_bundles_place_refuses_the_module_and_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("m.wasm.release.sigstore.json")).unwrap();
        let rejection = bundles_beside(&dir.path().join("m.wasm")).unwrap_err();
        assert_eq!((rejection.code, rejection.check), (Code::Unreadable, Check::Bundle));
        assert_eq!(bundles_beside(Path::new("/nonexistent/m.wasm")).unwrap_err().code, Code::Unreadable);
    }
}
