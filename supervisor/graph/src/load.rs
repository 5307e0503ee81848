//! From the model's descriptors to a loaded model: read once, digest, parse.
//!
//! Runs in: graph host, after the lock.
//! Invariant: the bytes that are parsed are the bytes whose digest was compared; no file is read a second time.
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
use crate::error::Part;
use crate::error::panic_message;

/// The largest model, and the largest file of weights, in bytes.
pub const MAX_MODEL: u64 = 4 << 30;

/// The largest description of a model whose weights lie elsewhere, in bytes: what is made of it is many times its size.
pub const MAX_DESCRIPTION: u64 = 64 << 20;

/// Bytes read at a time, and hashed while they are in the cache.
const BLOCK: usize = 256 * 1024;

/// A file of the model, and the digest that the policy names.
#[derive(Debug, Clone, Copy)]
pub struct Pinned<'a> {
    /// Open for reading.
    pub file: BorrowedFd<'a>,
    /// SHA-256 of its bytes.
    pub sha256: &'a [u8; 32],
}

/// Reads, compares and parses the model. Of a model with two files both are read and compared before a byte of either is parsed.
///
/// # Errors
/// [`ModelError`]; nothing was parsed unless it is [`ModelError::Load`] or [`ModelError::Panic`].
pub fn load(engine: &dyn Engine, model: Pinned<'_>, weights: Option<Pinned<'_>>) -> Result<Box<dyn Graph>, ModelError> {
    let largest = if weights.is_some() { MAX_DESCRIPTION } else { MAX_MODEL };
    let bytes = read(Part::Model, model, largest)?;
    let weights = weights.map(|weights| read(Part::Weights, weights, MAX_MODEL)).transpose()?;
    let loaded = std::panic::catch_unwind(AssertUnwindSafe(|| match weights {
        None => engine.load(bytes),
        Some(weights) => engine.load_with_weights(bytes, weights),
    }));
    Ok(loaded.map_err(|payload| ModelError::Panic(panic_message(&*payload)))??)
}

/// The file's bytes, if their digest is the one that is expected.
fn read(part: Part, pinned: Pinned<'_>, max: u64) -> Result<Vec<u8>, ModelError> {
    let Pinned { file, sha256 } = pinned;
    let unreadable = |errno: Errno| ModelError::Read(part, errno.into());
    let stat = rustix::fs::fstat(file).map_err(unreadable)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(ModelError::NotAFile(part, format!("{kind:?}")));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 || size > max {
        return Err(ModelError::Size { part, max, found: size });
    }
    let no_memory = |_| ModelError::Read(part, io::ErrorKind::OutOfMemory.into());
    let len = usize::try_from(size).map_err(|_| ModelError::Size { part, max, found: size })?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(no_memory)?;
    let mut digest = Sha256::new();
    let mut block = vec![0; BLOCK.min(len)];
    // By position: the offset of the descriptor is shared with whoever sent it. A file that grows meanwhile is read no further.
    while bytes.len() < len {
        let wanted = block.len().min(len - bytes.len());
        match rustix::io::pread(file, block.split_at_mut(wanted).0, bytes.len() as u64) {
            Ok(0) => return Err(ModelError::Read(part, io::ErrorKind::UnexpectedEof.into())),
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
        return Err(ModelError::Digest { part, expected: hex(sha256), found: hex(&found) });
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
