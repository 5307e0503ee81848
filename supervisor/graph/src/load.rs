//! From the model's descriptor to a loaded model: read once, digest, parse.
//!
//! Runs in: graph host, after the lock.
//! Invariant: the bytes that are parsed are the bytes whose digest was compared; the file is not read a second time.
//! Does not: open anything.

use std::fmt::Write as _;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::AssertUnwindSafe;

use rustix::fs::FileType;
use rustix::io::Errno;
use sha2::Digest as _;
use sha2::Sha256;

use crate::engine::Engine;
use crate::engine::Graph;
use crate::error::ModelError;
use crate::error::panic_message;

/// The largest model, in bytes.
pub const MAX_MODEL: u64 = 4 << 30;

/// Bytes read at a time, and hashed while they are in the cache.
const BLOCK: usize = 256 * 1024;

/// Reads, compares and parses the model.
///
/// # Errors
/// [`ModelError`]; nothing was parsed unless it is [`ModelError::Load`] or [`ModelError::Panic`].
pub fn load(engine: &dyn Engine, file: BorrowedFd<'_>, sha256: &[u8; 32]) -> Result<Box<dyn Graph>, ModelError> {
    let bytes = read(file, sha256)?;
    let loaded = std::panic::catch_unwind(AssertUnwindSafe(|| engine.load(bytes)));
    Ok(loaded.map_err(|payload| ModelError::Panic(panic_message(&*payload)))??)
}

/// The file's bytes, if their digest is the one that is expected.
fn read(file: BorrowedFd<'_>, sha256: &[u8; 32]) -> Result<Vec<u8>, ModelError> {
    let unreadable = |errno: Errno| ModelError::Read(errno.into());
    let stat = rustix::fs::fstat(file).map_err(unreadable)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(ModelError::NotAFile(format!("{kind:?}")));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 || size > MAX_MODEL {
        return Err(ModelError::Size { max: MAX_MODEL, found: size });
    }
    let no_memory = |_| ModelError::Read(io::ErrorKind::OutOfMemory.into());
    let len = usize::try_from(size).map_err(|_| ModelError::Size { max: MAX_MODEL, found: size })?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(no_memory)?;
    let mut digest = Sha256::new();
    let mut block = vec![0; BLOCK.min(len)];
    // By position: the offset of the descriptor is shared with whoever sent it. A file that grows meanwhile is read no further.
    while bytes.len() < len {
        let wanted = block.len().min(len - bytes.len());
        match rustix::io::pread(file, block.split_at_mut(wanted).0, bytes.len() as u64) {
            Ok(0) => return Err(ModelError::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                let block = block.get(..read).unwrap_or_default();
                digest.update(block);
                bytes.extend_from_slice(block);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(unreadable(errno)),
        }
    }
    let found: [u8; 32] = digest.finalize().into();
    if found != *sha256 {
        return Err(ModelError::Digest { expected: hex(sha256), found: hex(&found) });
    }
    Ok(bytes)
}

/// The digest of a regular file of at most `max` bytes, read by position.
///
/// # Errors
/// It cannot be read, or is no such file.
pub fn digest(file: BorrowedFd<'_>, max: u64) -> io::Result<[u8; 32]> {
    let stat = rustix::fs::fstat(file)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size > max {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("expected a regular file of at most {max} bytes")));
    }
    let mut digest = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while at < size {
        match rustix::io::pread(file, &mut block, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                digest.update(block.get(..read).unwrap_or_default());
                at += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(digest.finalize().into())
}

pub(crate) fn hex(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
