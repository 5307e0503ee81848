//! What a worker and the host of a language model say to each other over one channel.
//!
//! Runs in: worker and language host.
//! Invariant: a channel carries one request at a time, and no request takes longer than one batch of the prompt or one token of the answer: whoever wants
//! more asks again. So a guest can be stopped between two tokens, and modules that share a model take turns.
//!
//! Long texts lie in the channel's shared region: the worker writes a prompt into its first half, the host an embedding into its second. The pieces of an
//! answer are short and travel in the frame.

use serde::Deserialize;
use serde::Serialize;

use crate::tensor::NnError;

/// The longest piece of one token, in bytes. No vocabulary has one that is near it.
pub const MAX_PIECE: usize = 1024;
/// The longest grammar, in bytes.
pub const MAX_GRAMMAR: usize = 16 * 1024;
/// The most contexts of one channel.
pub const MAX_CONTEXTS: u32 = 32;

/// What the policy allows to whoever uses a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bounds {
    /// Tokens of one context, prompt and answer together.
    pub context: u32,
    /// Contexts at once, of all modules together. Each costs memory for its tokens.
    pub contexts: u32,
}

/// What a language host says of its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanguageModel {
    /// The most tokens of one context: what the policy allows, or what the model was trained for, if that is less.
    pub context: u32,
    /// Numbers in one embedding.
    pub embedding: u32,
    /// The engine's build number, as guests read it in metadata.
    pub build: u32,
    /// The engine's commit, as guests read it in metadata.
    pub commit: String,
}

/// How the next token is chosen. What a guest leaves out is the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 always takes the likeliest.
    pub temperature: Option<f32>,
    /// Of the likeliest tokens, those that make up this share.
    pub top_p: Option<f32>,
    /// Of the likeliest tokens, so many.
    pub top_k: Option<u32>,
    /// Tokens at least this likely, relative to the likeliest.
    pub min_p: Option<f32>,
    /// Factor against tokens that were there before; 1 is none.
    pub repeat_penalty: Option<f32>,
    /// Subtracted where a token was there before.
    pub presence_penalty: Option<f32>,
    /// Subtracted for each time it was there.
    pub frequency_penalty: Option<f32>,
    /// The same seed gives the same answer.
    pub seed: Option<u32>,
    /// A GBNF grammar that the answer keeps to, at most [`MAX_GRAMMAR`] bytes.
    pub grammar: Option<String>,
}

/// How a context is made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Tokens of the context, at most [`LanguageModel::context`], which is also what is taken if the guest says nothing.
    pub context: Option<u32>,
    /// It computes embeddings instead of text.
    pub embedding: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

/// Worker to language host. Each is answered by one [`Answer`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask {
    /// Chosen by the worker; the answer repeats it, so that the answer to an abandoned request is known for what it is.
    pub seq: u64,
    /// The request.
    pub what: Request,
}

/// What a worker can ask for. A context belongs to the channel that opened it, and ends with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// Makes a context. Answer: `Opened`.
    Open(Options),
    /// Gives a context a new prompt in place of all that it had: UTF-8, this long, at the beginning of the region. Answer: `Prompted`.
    Prompt {
        /// As in [`Said::Opened`].
        context: u32,
        /// Bytes.
        len: u64,
    },
    /// One step on: a batch of the prompt, or the next token. Answer: `Reading` or `Piece`; `Embedded` for a context that embeds, once its prompt is read.
    Step {
        /// As in [`Said::Opened`].
        context: u32,
    },
    /// Forgets prompt and answer; the context stays. Answer: `Done`.
    Reset {
        /// As in [`Said::Opened`].
        context: u32,
    },
    /// Ends a context and frees its memory. Answer: `Done`.
    Close {
        /// As in [`Said::Opened`].
        context: u32,
    },
}

/// Language host to worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// As in [`Ask`].
    pub seq: u64,
    /// The answer.
    pub what: Said,
    /// Time inside the engine, in nanoseconds.
    pub engine_ns: u64,
}

/// What a language host answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Said {
    /// There is a context.
    Opened {
        /// Its number on this channel, below [`MAX_CONTEXTS`].
        context: u32,
    },
    /// The prompt was taken apart.
    Prompted {
        /// Its length in tokens.
        tokens: u32,
    },
    /// Part of the prompt was read.
    Reading {
        /// Tokens still to be read.
        left: u32,
    },
    /// The next token.
    Piece {
        /// Its text, at most [`MAX_PIECE`] bytes. One character may come in several pieces.
        piece: Vec<u8>,
        /// The answer ends here, after this piece.
        end: Option<End>,
    },
    /// The embedding of the prompt: this many 32-bit floats, little-endian, at the beginning of the region's second half.
    Embedded {
        /// How many.
        numbers: u32,
    },
    /// It is done.
    Done,
    /// It is not.
    Failed(LanguageError),
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The model said so.
    OfSequence,
    /// The context has no room for another token.
    ContextFull,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LanguageError {
    /// The prompt does not fit the context, or, for an embedding, one batch.
    #[error("the prompt has {found} tokens, and {room} fit")]
    PromptTooLong {
        /// The prompt's length in tokens.
        found: u32,
        /// How many would do.
        room: u32,
    },
    /// All contexts that the policy allows are in use.
    #[error("all {0} contexts of this graph are in use")]
    Busy(u32),
    /// Anything else.
    #[error(transparent)]
    Nn(#[from] NnError),
}
