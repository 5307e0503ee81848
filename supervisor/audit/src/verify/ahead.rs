//! Frames read and hashed ahead of the checks: one thread reads, one hashes, and whoever asks gets each frame with its leaf, in order.
//!
//! Runs in: CLI.
//! Does not: check a leaf, or hold more than a few MiB of frames: the channels are bounded, and a thread that is ahead waits.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread::Builder;

use crate::read::Frame;
use crate::read::ReadError;
use crate::read::Reader;
use crate::tree::Hash;

/// What comes next.
pub(super) enum Step {
    /// A frame, and its leaf as computed from it.
    Frame(Box<Frame>, Hash),
    /// There is no other frame yet: the number of the next.
    End(u64),
    /// The journal cannot be read on.
    Bad(ReadError),
}

/// Hands every frame from where `reader` is, up to the end or to what cannot be read, to `check`.
///
/// # Errors
/// A thread cannot be started.
pub(super) fn ahead<R>(reader: &mut Reader, check: impl FnOnce(&mut dyn Iterator<Item = Step>) -> R) -> io::Result<R> {
    std::thread::scope(|scope| {
        let (read, to_hash) = sync_channel(DEPTH);
        let (hashed, to_check) = sync_channel(DEPTH);
        Builder::new().name("read".into()).spawn_scoped(scope, move || read_all(reader, &read))?;
        Builder::new().name("hash".into()).spawn_scoped(scope, move || hash_all(to_hash, &hashed))?;
        // When the checks end early, the channel is closed with this, and the threads end with their next batch.
        Ok(check(&mut to_check.into_iter().flatten()))
    })
}

fn read_all(reader: &mut Reader, to: &SyncSender<Vec<Step>>) {
    loop {
        let (mut batch, mut bytes, mut more) = (Vec::new(), 0, true);
        while more && batch.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let step = match reader.next_frame() {
                Ok(Some(frame)) => {
                    bytes += frame.bytes.len();
                    Step::Frame(Box::new(frame), Hash::default())
                }
                Ok(None) => Step::End(reader.position()),
                Err(error) => Step::Bad(error),
            };
            more = matches!(step, Step::Frame(..));
            batch.push(step);
        }
        if to.send(batch).is_err() || !more {
            return;
        }
    }
}

fn hash_all(from: Receiver<Vec<Step>>, to: &SyncSender<Vec<Step>>) {
    for mut batch in from {
        for step in &mut batch {
            if let Step::Frame(frame, leaf) = step {
                *leaf = frame.leaf();
            }
        }
        if to.send(batch).is_err() {
            return;
        }
    }
}

/// Batches that may wait between two threads.
const DEPTH: usize = 2;
/// A batch ends with so many frames, or with the one that reaches so many bytes.
const BATCH_FRAMES: usize = 64;
const BATCH_BYTES: usize = 1 << 20;
