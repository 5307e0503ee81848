//! One conversation's memory, and the computing on it.
//!
//! Runs in: language host.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::PoisonError;

use llama_cpp_sys_2 as sys;

use super::Model;
use super::Pool;
use super::Token;

/// What a context is for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Tokens that it holds.
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

/// A context, and the threads that compute for it.
#[derive(Debug)]
pub struct Context {
    context: NonNull<sys::llama_context>,
    model: Arc<Model>,
    /// Given back by [`Context::end`].
    pool: Option<Pool>,
    batch: u32,
}

// SAFETY: llama.cpp's contexts have no thread of their own; all use goes through `&mut self`, so one thread at a time computes.
unsafe impl Send for Context {}

impl Context {
    /// Makes one. The pool comes back where the engine refuses, as for want of memory.
    pub fn open(model: &Arc<Model>, pool: Pool, wanted: Wanted) -> Result<Self, Pool> {
        let _one_at_a_time = model.making.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the parameters are the library's defaults with numbers of ours; the model outlives the context, which holds it, and so does the pool.
        let context = unsafe {
            let mut parameters = sys::llama_context_default_params();
            parameters.n_ctx = wanted.tokens;
            parameters.n_batch = wanted.batch;
            parameters.n_ubatch = wanted.batch;
            parameters.n_seq_max = 1;
            parameters.n_threads = pool.threads();
            parameters.n_threads_batch = pool.threads();
            parameters.embeddings = wanted.embedding;
            parameters.no_perf = true;
            let context = sys::llama_init_from_model(model.as_ptr(), parameters);
            if !context.is_null() {
                sys::llama_attach_threadpool(context, pool.as_ptr(), pool.as_ptr());
            }
            context
        };
        match NonNull::new(context) {
            Some(context) => Ok(Self { context, model: Arc::clone(model), pool: Some(pool), batch: wanted.batch }),
            None => Err(pool),
        }
    }

    /// Frees the memory and gives the threads back.
    pub fn end(mut self) -> Option<Pool> {
        // The context is freed by the drop that follows; detached before, it does not look at the pool again.
        // SAFETY: the context is alive.
        unsafe { sys::llama_detach_threadpool(self.as_ptr()) };
        self.pool.take()
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
        // SAFETY: the batch points to `tokens`, which has as many as it says and lives through the call; a token is a `llama_token` in memory.
        match unsafe { sys::llama_decode(self.as_ptr(), sys::llama_batch_get_one(tokens.as_mut_ptr().cast(), len)) } {
            0 => Decoded::Done,
            1 => Decoded::Full,
            other => Decoded::Failed(other),
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
        // SAFETY: made by `open`, freed here and nowhere else, before its pool.
        unsafe { sys::llama_free(self.as_ptr()) };
    }
}
