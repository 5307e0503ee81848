//! What computes for all contexts: one batch at a time, with whatever can go together in it.
//!
//! Runs in: language host, on whichever serving thread leads.
//! Invariant: contexts that write share the engine's memory and never a place in it: each has a stretch of its own, which is forgotten before the first token
//! of another is read there. A context whose guest named a seed is computed alone, with the same threads each time: what it gets hangs on nobody else.
//! Does not: know a peer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use edgeguard_wire::language::Bounds;
use edgeguard_wire::language::LanguageError;

use crate::error::ModelError;
use crate::session::BATCH;
use crate::sys::Context;
use crate::sys::Decoded;
use crate::sys::Entry;
use crate::sys::Model;
use crate::sys::Pool;
use crate::sys::Token;
use crate::sys::Wanted;

/// The shortest and the longest that a batch is held up for contexts that were in the last one and are on their way back.
const WAIT: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));
/// Of the time that the last batch took, the part that the next one may be held up.
const PART: u32 = 8;

/// How much may be computed at once.
#[derive(Debug, Clone, Copy)]
pub struct Width {
    /// Threads for one context's compute.
    pub threads: i32,
    /// Computes at once: so many times the threads, where so many wait.
    pub computes: u32,
}

/// A model, what computes with it, and the seats of those who use it.
#[derive(Debug)]
pub struct Served {
    model: Arc<Model>,
    pool: Arc<Pool>,
    width: Width,
    contexts: u32,
    tokens: u32,
    writes: bool,
    taken: Mutex<BTreeSet<u32>>,
    lane: Mutex<Lane>,
}

/// The one who holds it computes.
#[derive(Debug)]
pub struct Lane {
    /// Of a model that writes.
    shared: Option<Context>,
    /// Seats that were in the last batch and will want the next token soon.
    pub expected: BTreeSet<u32>,
    /// How long the last batch of next tokens took.
    last: Duration,
    /// What was computed last was a prompt or an embedding: next tokens go first now.
    pub read_prompt: bool,
}

/// What a context wants read.
#[derive(Debug)]
pub struct Read {
    /// Its seat.
    pub seat: u32,
    /// How many tokens it holds before these.
    pub at: u32,
    /// To be read, at most a batch.
    pub tokens: Vec<Token>,
    /// It is one token of an answer, and goes together with others.
    pub joins: bool,
    /// It is computed alone and with the same threads each time.
    pub steady: bool,
    /// Afterwards, what the model says of the next token. Before, a buffer.
    pub numbers: Vec<f32>,
}

impl Served {
    /// Serves `model`. Where it writes, the memory for all contexts is taken here, so that no guest is ever refused for want of it.
    ///
    /// # Errors
    /// [`ModelError::Memory`].
    pub fn new(model: Arc<Model>, pool: Arc<Pool>, width: Width, bounds: Bounds) -> Result<Self, ModelError> {
        let tokens = bounds.context.min(model.trained_context()).max(1);
        let wanted = Wanted { tokens, batch: BATCH.min(tokens).max(bounds.contexts.min(BATCH)), embedding: false };
        let no_memory = ModelError::Memory { contexts: bounds.contexts, tokens };
        let shared = Context::shared(&model, &pool, wanted, bounds.contexts).ok_or(no_memory)?;
        // A model that remembers nothing only embeds, and its contexts are their own.
        let shared = Some(shared).filter(Context::remembers);
        let writes = shared.is_some();
        let lane = Lane { shared, expected: BTreeSet::new(), last: Duration::ZERO, read_prompt: false };
        Ok(Self { model, pool, width, contexts: bounds.contexts, tokens, writes, taken: Mutex::default(), lane: Mutex::new(lane) })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The threads that compute.
    pub fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool)
    }

    /// The most tokens of a context.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Whether it writes text.
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// The lane, unless somebody else has it.
    pub fn lead(&self) -> Option<std::sync::MutexGuard<'_, Lane>> {
        match self.lane.try_lock() {
            Ok(lane) => Some(lane),
            Err(std::sync::TryLockError::Poisoned(lane)) => Some(lane.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    /// Threads for what is computed while so many wait, itself among them.
    pub fn threads(&self, waiting: usize) -> i32 {
        let computes = u32::try_from(waiting).unwrap_or(u32::MAX).clamp(1, self.width.computes.max(1));
        self.width.threads.saturating_mul(i32::try_from(computes).unwrap_or(1))
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// Reads all of these in one batch; `waiting` others wait meanwhile. What the model says of the next tokens lies in them afterwards.
    pub fn read(&mut self, served: &Served, reads: &mut [&mut Read], waiting: usize) -> Decoded {
        let Some(shared) = &mut self.shared else { return Decoded::Failed(-1) };
        // The engine computes neighbours together, so their order matters.
        reads.sort_by_key(|read| read.seat);
        let mut entries = Vec::new();
        for read in reads.iter() {
            if read.at == 0 {
                shared.forget(read.seat);
            }
            for (position, token) in (read.at..).zip(&read.tokens) {
                entries.push(Entry { sequence: read.seat, position, token: *token, wanted: false });
            }
            if let Some(last) = entries.last_mut() {
                last.wanted = true;
            }
        }
        let steady = reads.iter().any(|read| read.steady);
        shared.use_threads(served.threads(if steady { 1 } else { reads.len().saturating_add(waiting) }));
        let begun = Instant::now();
        let decoded = shared.decode_all(&entries);
        if reads.iter().all(|read| read.joins) {
            self.last = begun.elapsed();
        }
        if decoded != Decoded::Done {
            return decoded;
        }
        let mut end = 0_usize;
        for read in reads.iter_mut() {
            end = end.saturating_add(read.tokens.len());
            let Some(numbers) = shared.numbers(end.saturating_sub(1)) else { return Decoded::Failed(-1) };
            read.numbers.clear();
            read.numbers.extend_from_slice(numbers);
        }
        Decoded::Done
    }

    /// How long the next batch may be held up for those who are expected.
    pub fn patience(&self) -> Duration {
        (self.last / PART).clamp(WAIT.0, WAIT.1)
    }
}

/// One of the contexts that the policy allows, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    served: Arc<Served>,
    number: u32,
}

impl Seat {
    /// The lowest seat that is free, so that those who compute sit side by side.
    ///
    /// # Errors
    /// [`LanguageError::Busy`].
    pub fn take(served: &Arc<Served>) -> Result<Self, LanguageError> {
        let mut taken = served.taken();
        let number = (0..served.contexts).find(|number| !taken.contains(number)).ok_or(LanguageError::Busy(served.contexts))?;
        taken.insert(number);
        drop(taken);
        Ok(Self { served: Arc::clone(served), number })
    }

    /// Its number, below that of all contexts.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.served.taken().remove(&self.number);
    }
}
