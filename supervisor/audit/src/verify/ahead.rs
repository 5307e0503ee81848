//! Frames read, hashed and unpacked ahead of the checks: one thread reads, one for each processor does the rest, and whoever asks gets each frame with
//! its leaf, in order.
//!
//! Runs in: CLI.
//! Does not: check a leaf, believe a payload, or hold more than a few MiB of frames for each processor: the channels are bounded, and a thread that is
//! ahead waits.

use std::io;
use std::num::NonZero;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread::Builder;

use crate::frame::FrameType;
use crate::read::BadContent;
use crate::read::Frame;
use crate::read::ReadError;
use crate::read::Reader;
use crate::read::calls::Part;
use crate::read::calls::Unpacker;
use crate::read::calls::summed;
use crate::segment::Tier;
use crate::tree::Hash;
use crate::verify::names;

/// What comes next.
pub(super) enum Step {
    /// A frame.
    Frame(Box<Seen>),
    /// There is no other frame yet: the number of the next.
    End(u64),
    /// The journal cannot be read on.
    Bad(ReadError),
}

/// A frame, and what was made of it.
pub(super) struct Seen {
    /// The frame.
    pub frame: Frame,
    /// Its leaf as computed from it.
    pub leaf: Hash,
    /// For a frame of names: which of them are erased, or what is wrong.
    pub names: Option<Result<Vec<u32>, String>>,
    /// For a frame of calls whose calls are asked for: what they come to, or that they do not parse.
    pub calls: Option<Result<Vec<Part>, BadContent>>,
}

/// Hands every frame from where `reader` is, up to the end or to what cannot be read, to `check`; the calls of frames from number `calls_from` on are
/// read.
///
/// # Errors
/// A thread cannot be started.
pub(super) fn ahead<R>(reader: &mut Reader, calls_from: u64, check: impl FnOnce(&mut dyn Iterator<Item = Step>) -> R) -> io::Result<R> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS);
    std::thread::scope(|scope| {
        let (mut to_work, mut to_check) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (read, to_hash) = sync_channel(DEPTH);
            let (hashed, checked) = sync_channel(DEPTH);
            Builder::new().name("hash".into()).spawn_scoped(scope, move || work_all(to_hash, calls_from, &hashed))?;
            to_work.push(read);
            to_check.push(checked);
        }
        Builder::new().name("read".into()).spawn_scoped(scope, move || read_all(reader, &to_work))?;
        // Batches were handed out in turn, and come back so. When the checks end early, the channels are closed with this, and the threads end with
        // their next batch.
        let batches = (0..workers).cycle().map_while(|turn| to_check.get(turn)?.recv().ok());
        Ok(check(&mut batches.flatten()))
    })
}

fn read_all(reader: &mut Reader, to: &[SyncSender<Vec<Step>>]) {
    for to in to.iter().cycle() {
        let (mut batch, mut bytes, mut more) = (Vec::new(), 0, true);
        while more && batch.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let step = match reader.next_frame() {
                Ok(Some(frame)) => {
                    bytes += frame.bytes.len();
                    Step::Frame(Box::new(Seen { frame, leaf: Hash::default(), names: None, calls: None }))
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

fn work_all(from: Receiver<Vec<Step>>, calls_from: u64, to: &SyncSender<Vec<Step>>) {
    let mut unpacker = Unpacker::default();
    for mut batch in from {
        for step in &mut batch {
            if let Step::Frame(seen) = step {
                seen.leaf = seen.frame.leaf();
                let header = &seen.frame.header;
                if header.kind == FrameType::Dict {
                    seen.names = Some(names::look(seen.frame.payload()));
                }
                if header.kind == FrameType::Detail && seen.frame.tier == Tier::Detail && header.frame_no >= calls_from {
                    seen.calls = Some(summed(&seen.frame, &mut unpacker));
                }
            }
        }
        if to.send(batch).is_err() {
            return;
        }
    }
}

/// More threads than this wait for the one that reads.
const MAX_WORKERS: usize = 8;
/// Batches that may wait between two threads.
const DEPTH: usize = 2;
/// A batch ends with so many frames, or with the one that reaches so many bytes.
const BATCH_FRAMES: usize = 64;
const BATCH_BYTES: usize = 1 << 20;
