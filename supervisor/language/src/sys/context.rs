//! The memory of conversations, and the computing on it.
//!
//! Runs in: language host.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::PoisonError;

use llama_cpp_sys_2 as sys;

use super::Model;
use super::Pool;
use super::Token;

/// The library keeps room for a multiple of so many tokens.
const PADDING: u32 = 256;

/// What a context is for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Tokens of one conversation.
    pub tokens: u32,
    /// Tokens of the longest batch.
    pub batch: u32,
    /// It computes embeddings.
    pub embedding: bool,
}

/// How a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// It is in the context's memory.
    Done,
    /// The engine found no room for it.
    Full,
    /// The engine failed, with this number of its own. The context is of no use any more.
    Failed(i32),
}

/// One token of one conversation, to be read.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The conversation, below the number that the context was made for.
    pub sequence: u32,
    /// How many tokens the conversation has before it.
    pub position: u32,
    /// The token.
    pub token: Token,
    /// Whether the numbers of what may follow it are wanted.
    pub wanted: bool,
}

/// A context, and the threads that compute for it.
#[derive(Debug)]
pub struct Context {
    context: NonNull<sys::llama_context>,
    model: Arc<Model>,
    pool: Arc<Pool>,
    batch: u32,
    sequences: u32,
}

// SAFETY: llama.cpp's contexts have no thread of their own; all use goes through `&mut self`, so one thread at a time computes.
unsafe impl Send for Context {}

impl Context {
    /// Makes one for one conversation. The pool comes back where the engine refuses, as for want of memory.
    pub fn open(model: &Arc<Model>, pool: impl Into<Arc<Pool>>, wanted: Wanted) -> Result<Self, Arc<Pool>> {
        Self::make(model, pool.into(), wanted, 1)
    }

    /// Makes one for that many conversations, each of [`Wanted::tokens`] in memory of its own, so that none can crowd out another or is seen by it.
    pub fn shared(model: &Arc<Model>, pool: &Arc<Pool>, wanted: Wanted, sequences: u32) -> Option<Self> {
        Self::make(model, Arc::clone(pool), wanted, sequences.max(1)).ok()
    }

    fn make(model: &Arc<Model>, pool: Arc<Pool>, wanted: Wanted, sequences: u32) -> Result<Self, Arc<Pool>> {
        let _one_at_a_time = model.making.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(all) = wanted.tokens.checked_next_multiple_of(PADDING).and_then(|tokens| tokens.checked_mul(sequences)) else {
            return Err(pool);
        };
        // SAFETY: the parameters are the library's defaults with numbers of ours; the model outlives the context, which holds it, and so does the pool.
        let context = unsafe {
            let mut parameters = sys::llama_context_default_params();
            // The library rounds one conversation's tokens up itself, and those of several down.
            parameters.n_ctx = if sequences == 1 { wanted.tokens } else { all };
            parameters.n_batch = wanted.batch;
            parameters.n_ubatch = wanted.batch;
            parameters.n_seq_max = sequences;
            parameters.n_threads = pool.threads();
            parameters.n_threads_batch = pool.threads();
            parameters.embeddings = wanted.embedding;
            parameters.kv_unified = false;
            parameters.no_perf = true;
            let context = sys::llama_init_from_model(model.as_ptr(), parameters);
            if !context.is_null() {
                sys::llama_attach_threadpool(context, pool.as_ptr(), pool.as_ptr());
            }
            context
        };
        match NonNull::new(context) {
            Some(context) => Ok(Self { context, model: Arc::clone(model), pool, batch: wanted.batch, sequences }),
            None => Err(pool),
        }
    }

    /// Computes with so many of the pool's threads from here on.
    pub fn use_threads(&mut self, threads: i32) {
        let threads = threads.clamp(1, self.pool.threads());
        // SAFETY: it sets two numbers of the context.
        unsafe { sys::llama_set_n_threads(self.as_ptr(), threads, threads) };
    }

    pub(super) fn as_ptr(&self) -> *mut sys::llama_context {
        self.context.as_ptr()
    }

    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Whether it remembers what it reads: without that there is no next token, only an embedding.
    pub fn remembers(&self) -> bool {
        // SAFETY: it returns a pointer that the context owns, or null.
        !unsafe { sys::llama_get_memory(self.as_ptr()) }.is_null()
    }

    /// Whether it makes one embedding of a whole text, as the model says.
    pub fn pools(&self) -> bool {
        // SAFETY: it reads a number of the context.
        let pooling = unsafe { sys::llama_pooling_type(self.as_ptr()) };
        matches!(pooling, sys::LLAMA_POOLING_TYPE_MEAN | sys::LLAMA_POOLING_TYPE_CLS | sys::LLAMA_POOLING_TYPE_LAST)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        // SAFETY: the memory, where there is one, belongs to this context.
        unsafe {
            let memory = sys::llama_get_memory(self.as_ptr());
            if !memory.is_null() {
                sys::llama_memory_clear(memory, false);
            }
        }
    }

    /// Whether the next batches give embeddings.
    pub fn embed(&mut self, on: bool) {
        // SAFETY: it sets a flag of the context.
        unsafe { sys::llama_set_embeddings(self.as_ptr(), on) };
    }

    /// Computes the tokens that come next: at least one, and at most a batch.
    pub fn decode(&mut self, tokens: &[Token]) -> Decoded {
        let mut tokens = tokens.to_vec();
        let len = match i32::try_from(tokens.len()) {
            Ok(len) if len > 0 && len.unsigned_abs() <= self.batch => len,
            _ => return Decoded::Failed(-1),
        };
        let _busy = self.pool.busy.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the batch points to `tokens`, which has as many as it says and lives through the call; a token is a `llama_token` in memory.
        match unsafe { sys::llama_decode(self.as_ptr(), sys::llama_batch_get_one(tokens.as_mut_ptr().cast(), len)) } {
            0 => Decoded::Done,
            1 => Decoded::Full,
            other => Decoded::Failed(other),
        }
    }

    /// Computes tokens of several conversations at once: at least one, and at most a batch. Those of one conversation stand in their order.
    pub fn decode_all(&mut self, entries: &[Entry]) -> Decoded {
        let mut tokens: Vec<sys::llama_token> = entries.iter().map(|entry| entry.token.0).collect();
        let mut wanted: Vec<i8> = entries.iter().map(|entry| entry.wanted.into()).collect();
        let mut counts = vec![1_i32; entries.len()];
        let numbers = entries.iter().map(|entry| Some((i32::try_from(entry.sequence).ok()?, i32::try_from(entry.position).ok()?)));
        let Some((mut sequences, mut positions)) = numbers.collect::<Option<(Vec<i32>, Vec<i32>)>>() else { return Decoded::Failed(-1) };
        let len = match i32::try_from(entries.len()) {
            Ok(len) if len > 0 && len.unsigned_abs() <= self.batch => len,
            _ => return Decoded::Failed(-1),
        };
        if entries.iter().any(|entry| entry.sequence >= self.sequences) {
            return Decoded::Failed(-1);
        }
        let mut of_each: Vec<*mut i32> = sequences.iter_mut().map(std::ptr::from_mut).collect();
        let batch = sys::llama_batch {
            n_tokens: len,
            token: tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: positions.as_mut_ptr(),
            n_seq_id: counts.as_mut_ptr(),
            seq_id: of_each.as_mut_ptr(),
            logits: wanted.as_mut_ptr(),
        };
        let _busy = self.pool.busy.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: each array has `len` elements and lives through the call, which keeps none; each token has one sequence, below the context's number.
        match unsafe { sys::llama_decode(self.as_ptr(), batch) } {
            0 => Decoded::Done,
            1 => Decoded::Full,
            other => Decoded::Failed(other),
        }
    }

    /// Of the last batch, the numbers of what may follow this entry of it: one for each token of the vocabulary. `None` if they were not wanted.
    pub fn numbers(&mut self, entry: usize) -> Option<&[f32]> {
        self.logits(i32::try_from(entry).ok()?)
    }

    /// The same of the last token that was decoded.
    pub(super) fn last_numbers(&mut self) -> Option<&[f32]> {
        self.logits(-1)
    }

    fn logits(&mut self, at: i32) -> Option<&[f32]> {
        let vocabulary = self.model.vocabulary() as usize;
        // SAFETY: the library returns null or a number for each token of the vocabulary, which stay until the next decode: that takes `&mut self`.
        unsafe {
            let logits = sys::llama_get_logits_ith(self.as_ptr(), at);
            (!logits.is_null()).then(|| std::slice::from_raw_parts(logits, vocabulary))
        }
    }

    /// Forgets one conversation.
    pub fn forget(&mut self, sequence: u32) {
        let Some(sequence) = i32::try_from(sequence).ok().filter(|_| sequence < self.sequences) else { return };
        // SAFETY: the memory, where there is one, belongs to this context, which has a conversation of this number.
        unsafe {
            let memory = sys::llama_get_memory(self.as_ptr());
            if !memory.is_null() {
                sys::llama_memory_seq_rm(memory, sequence, -1, -1);
            }
        }
    }

    /// The embedding of the last batch: of all of it where the context [`pools`](Self::pools), else of its last token.
    pub fn embedding(&mut self) -> Option<Vec<f32>> {
        let len = self.model.embedding() as usize;
        // SAFETY: the library returns null or that many numbers, which stay until the next decode; they are copied out.
        unsafe {
            let numbers = if self.pools() {
                sys::llama_get_embeddings_seq(self.as_ptr(), 0)
            } else {
                sys::llama_get_embeddings_ith(self.as_ptr(), -1)
            };
            (!numbers.is_null() && len > 0).then(|| std::slice::from_raw_parts(numbers, len).to_vec())
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by `make`, freed here and nowhere else, before its pool; detached before, it does not look at the pool again.
        unsafe {
            sys::llama_detach_threadpool(self.as_ptr());
            sys::llama_free(self.as_ptr());
        }
    }
}
