//! From the model's descriptor to a model that computes: digest, outline, engine, trial.
//!
//! Runs in: language host, after the lock.
//! Invariant: the engine's parser sees a file only if its digest is the policy's and its outline holds. Weights are mapped from the file, once for all
//! contexts, and never copied; so who may write to the file could change them later, which makes him as dangerous as the model's author, and no more: the wall
//! is the same.
//! Does not: open anything.

use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;
use sha2::Digest as _;
use sha2::Sha256;

use crate::error::ModelError;
use crate::gguf;
use crate::sys;
use crate::sys::Backend;
use crate::sys::Context;
use crate::sys::Decoded;
use crate::sys::Model;
use crate::sys::Pool;
use crate::sys::Wanted;

/// The largest model, in bytes.
pub const MAX_MODEL: u64 = 64 << 30;

/// Bytes read at a time, and hashed while they are in the cache.
const BLOCK: usize = 256 * 1024;

/// Compares, parses and tries the model. The pool computes for the trial.
///
/// # Errors
/// [`ModelError`]; the engine saw nothing of the file unless it is [`ModelError::Refused`] or [`ModelError::Unservable`].
pub fn load(backend: Backend, file: OwnedFd, sha256: &[u8; 32], pool: &Arc<Pool>) -> Result<Arc<Model>, ModelError> {
    let size = compare(file.as_fd(), sha256)?;
    gguf::walk(file.as_fd(), size).map_err(ModelError::Outline)?;
    let model = Model::load(backend, file).map_err(ModelError::Read)?;
    let model = Arc::new(model.ok_or_else(|| ModelError::Refused(words()))?);
    if model.has_encoder() {
        return Err(ModelError::Unservable("it reads with one network and writes with another"));
    }
    if !model.reads_text() {
        return Err(ModelError::Unservable("it has no vocabulary"));
    }
    try_out(&model, pool)?;
    Ok(model)
}

/// Computes one token, so that no guest waits for what is made at first use, and a model that cannot compute is refused here.
fn try_out(model: &Arc<Model>, pool: &Arc<Pool>) -> Result<(), ModelError> {
    let wanted = Wanted { tokens: 8, batch: 8, embedding: false };
    let mut context = Context::open(model, Arc::clone(pool), wanted).map_err(|_pool| ModelError::Refused(words()))?;
    if context.decode(&[model.any_token()]) != Decoded::Done {
        return Err(ModelError::Unservable("it does not compute"));
    }
    Ok(())
}

/// The engine's words, escaped.
fn words() -> String {
    let words = sys::words();
    if words.is_empty() { "it does not say why".into() } else { words.escape_debug().to_string() }
}

/// Reads the file once, and returns its size if its digest is the one that is expected.
fn compare(file: BorrowedFd<'_>, sha256: &[u8; 32]) -> Result<u64, ModelError> {
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
    let mut digest = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut done = 0;
    // By position: the offset of the descriptor is shared with whoever sent it. A file that grows meanwhile is read no further.
    while done < size {
        let wanted = usize::try_from(size - done).unwrap_or(BLOCK).min(BLOCK);
        match rustix::io::pread(file, block.split_at_mut(wanted).0, done) {
            Ok(0) => return Err(ModelError::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                digest.update(block.get(..read).unwrap_or_default());
                done += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(unreadable(errno)),
        }
    }
    let found: [u8; 32] = digest.finalize().into();
    if found != *sha256 {
        return Err(ModelError::Digest { expected: hex(sha256), found: hex(&found) });
    }
    Ok(size)
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
