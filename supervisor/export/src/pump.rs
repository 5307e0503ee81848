//! From the journal to one sink, for ever.
//!
//! Runs in: exporter, one thread for each sink, so that a receiver that stands still holds up no other.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::anchors::Anchors;
use crate::backoff::Backoff;
use crate::cursor::CursorFile;
use crate::error::ExportError;
use crate::error::SinkError;
use crate::error::chain;
use crate::sinks::Sink;
use crate::source::Source;
use crate::status::Board;

/// A sink with all it needs.
pub struct Pump {
    /// Its name.
    pub name: String,
    /// Its place on the board.
    pub place: usize,
    /// The journal from its cursor on.
    pub source: Source,
    /// Where entries go.
    pub sink: Box<dyn Sink>,
    /// What its receiver has of the journal's checkpoints.
    pub anchors: Anchors,
    /// Where its cursor is kept.
    pub cursor: CursorFile,
    /// Where it says how it goes.
    pub board: Arc<Board>,
    /// Whether it ends when it has caught up.
    pub drain: bool,
}

impl Pump {
    /// Delivers. Returns only with an error, or when `drain` is set and everything is acknowledged.
    ///
    /// # Errors
    /// [`ExportError`]
    pub fn run(mut self) -> Result<(), ExportError> {
        let mut backoff = Backoff::default();
        let mut saved = (Instant::now(), self.source.cursor().clone());
        let mut reached = Instant::now();
        loop {
            self.source.fill()?;
            let mut batch = self.source.batch(self.sink.window().saturating_sub(1));
            // The checkpoint goes first: it is worth most while nobody has had the time to change what it is over.
            let mut offer = self.anchors.due(self.drain && batch.is_empty(), self.source.boot_id())?;
            if let Some(offer) = &offer {
                batch.insert(0, offer.entry.clone());
            }
            if batch.is_empty() {
                self.save(&mut saved)?;
                self.tell(None)?;
                if self.drain {
                    self.sink.finish();
                    return Ok(());
                }
                self.source.wait();
                continue;
            }
            let host = self.source.origin().to_owned();
            let delivery = self.sink.deliver(&host, &batch);
            match offer.take() {
                Some(offer) if delivery.acknowledged > 0 => {
                    self.anchors.acknowledge(offer)?;
                    self.source.acknowledge(delivery.acknowledged - 1);
                }
                Some(_) => self.anchors.refused(),
                None => self.source.acknowledge(delivery.acknowledged),
            }
            if delivery.acknowledged > 0 {
                backoff.reset();
            }
            if saved.0.elapsed() >= SAVE_EVERY {
                self.save(&mut saved)?;
            }
            let Some(problem) = delivery.problem else {
                reached = Instant::now();
                self.tell(None)?;
                continue;
            };
            self.sink.disconnect();
            self.save(&mut saved)?;
            self.tell(Some(&problem))?;
            let asked = match &problem {
                SinkError::Refused { retry_after, .. } => *retry_after,
                _ => None,
            };
            if !matches!(problem, SinkError::Connect { .. }) {
                reached = Instant::now();
            }
            if reached.elapsed() >= GIVE_UP_AFTER {
                return Err(ExportError::Unreachable { sink: self.name, minutes: GIVE_UP_AFTER.as_secs() / 60 });
            }
            std::thread::sleep(backoff.wait(asked));
        }
    }

    /// Keeps the cursor, if it moved.
    fn save(&mut self, saved: &mut (Instant, crate::cursor::Cursor)) -> Result<(), ExportError> {
        if saved.1 != *self.source.cursor() {
            self.cursor.save(self.source.cursor())?;
            saved.1 = self.source.cursor().clone();
        }
        saved.0 = Instant::now();
        Ok(())
    }

    fn tell(&self, problem: Option<&SinkError>) -> Result<(), ExportError> {
        let behind = self.source.behind()?;
        let words = problem.map(|problem| chain(problem));
        self.board.update(self.place, |status| {
            status.delivering = words.is_none();
            status.frames_behind = behind;
            status.acknowledged = self.source.cursor().acknowledged;
            status.damaged = self.source.damaged();
            status.checkpoint_frames = self.anchors.frames();
            status.gone = self.source.cursor().gone;
            if let Some(words) = &words {
                if status.problem != *words {
                    eprintln!("sink `{}`: {words}; it will be tried again", self.name);
                }
                status.failures += 1;
            }
            status.problem = words.clone().unwrap_or_default();
        });
        Ok(())
    }
}

/// How much may come twice after a crash.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Longer than a receiver's restart, shorter than somebody's patience with a changed address.
const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);
