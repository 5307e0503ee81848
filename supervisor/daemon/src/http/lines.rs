//! What a module that serves prints: lines of the daemon's log, as far as there is room.
//!
//! Runs in: daemon.
//! Invariant: whatever guests print, the log grows by [`BURST`] bytes and [`REFILL`] a second at most for each listener; what goes beyond is read, so that
//! no guest waits, and counted.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// The room that one listener's guests have in the log.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Room>);

#[derive(Debug)]
struct Room {
    left: u64,
    reckoned: Instant,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: BURST, reckoned: Instant::now() }
    }
}

impl Lines {
    /// Reads one stream to its end.
    pub async fn log(&self, module: &str, stream: &'static str, mut from: pipe::Receiver) {
        let (mut kept, mut lost) = (Vec::new(), 0_u64);
        let mut chunk = vec![0; 4096];
        while let Ok(len @ 1..) = from.read(&mut chunk).await {
            let bytes = chunk.get(..len).unwrap_or_default();
            let room = MOST.saturating_sub(kept.len()).min(len);
            kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
            lost = lost.saturating_add((len - room) as u64);
        }
        if kept.is_empty() {
            return;
        }
        if !self.take(kept.len() as u64) {
            (lost, kept) = (lost.saturating_add(kept.len() as u64), Vec::new());
        }
        for line in kept.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = crate::child::escape(&String::from_utf8_lossy(line));
            tracing::info!(module, stream, "{line}");
        }
        if lost > 0 {
            tracing::info!(module, stream, bytes = lost, "the module printed more than the log takes");
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let mut room = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let back = now.saturating_duration_since(room.reckoned).as_secs().saturating_mul(REFILL);
        if back > 0 {
            room.left = room.left.saturating_add(back).min(BURST);
            room.reckoned = now;
        }
        let fits = bytes <= room.left;
        if fits {
            room.left -= bytes;
        }
        fits
    }
}

/// Of one stream of one request.
const MOST: usize = 4096;
const BURST: u64 = 64 << 10;
const REFILL: u64 = 1 << 10;
