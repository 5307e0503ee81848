//! One context, from prompt to answer, a step at a time.
//!
//! Runs in: language host, on a serving thread.
//! Invariant: no step computes more than one batch of the prompt or one token of the answer. A context never holds more tokens than it was opened for.
//! Does not: see a descriptor, a region or a peer; compute, but for an embedding. A step is [`Session::wants`], then whatever that says is computed by
//! [`crate::lane`], together with what others want, then [`Session::goes_on`].

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use edgeguard_wire::language::End;
use edgeguard_wire::language::LanguageError;
use edgeguard_wire::language::MAX_PIECE;
use edgeguard_wire::language::Options;
use edgeguard_wire::tensor::NnCode;

use crate::error::nn;
use crate::lane::Read;
use crate::lane::Seat;
use crate::lane::Served;
use crate::sampling;
use crate::sys::Context;
use crate::sys::Decoded;
use crate::sys::Sampler;
use crate::sys::Token;
use crate::sys::Wanted;

/// Tokens of the prompt in one step.
pub const BATCH: u32 = 128;
/// Tokens of a text that is embedded in one piece, as models for embeddings ask for.
const EMBEDDING_BATCH: u32 = 512;
/// Tokens that a prompt leaves free, as guests of other hosts know it.
const RESERVE: u32 = 4;
/// The smallest context.
const MIN_CONTEXT: u32 = 8;
/// Bytes of a prompt for each token of the context: no real text has nearly so many, and taking it apart is one step.
const MAX_BYTES: u64 = 64;
/// As many tokens of the prompt count as having been there.
const SEEN: usize = 64;

/// What a step brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// So many tokens of the prompt are still to be read.
    Reading(u32),
    /// The next token's text, and why it was the last if it was.
    Piece(Vec<u8>, Option<End>),
    /// The embedding of the prompt, of length 1.
    Embedded(Vec<f32>),
}

/// What is to be computed before a step can end.
#[derive(Debug)]
pub enum Wants {
    /// Nothing: the token is chosen by numbers that are there.
    Nothing,
    /// So much is to be read.
    Read(Read),
    /// An embedding, by this context alone.
    Embedding,
}

/// A context that is open.
#[derive(Debug)]
pub struct Session {
    served: Arc<Served>,
    /// Its place among the contexts that the policy allows.
    seat: Seat,
    /// Of a context that embeds: it reads a text, and there is nothing to remember.
    own: Option<Context>,
    /// Of a context that writes.
    sampler: Option<Sampler>,
    /// Its guest named a seed: what it gets may not hang on who else computes.
    steady: bool,
    /// Tokens that it may hold.
    room: u32,
    prompt: Vec<Token>,
    /// How many of the prompt were read.
    read: usize,
    /// How many tokens it holds.
    held: u32,
    /// What the model says of the next token, once the prompt is read.
    numbers: Vec<f32>,
    /// The last token of the answer: it is read when another one is asked for.
    last: Option<Token>,
    /// When its last token was taken.
    taken: Option<Instant>,
    /// How long its guest took to ask for another.
    away: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Prompted,
    Ended,
    Broken,
}

impl Session {
    /// Opens a context.
    ///
    /// # Errors
    /// `Busy`; `InvalidArgument` for options that are out of bounds; `RuntimeError` where the engine has no memory for it.
    pub fn open(served: &Arc<Served>, options: &Options) -> Result<Self, LanguageError> {
        let most = served.tokens();
        let room = options.context.unwrap_or(most);
        if room < MIN_CONTEXT || room > most {
            let message = format!("a context of {room} tokens, expected {MIN_CONTEXT} to {most}");
            return Err(nn(NnCode::InvalidArgument, message));
        }
        let chain = sampling::chain(&options.sampling)?;
        // An empty one is none, as guests of other hosts know it.
        let grammar = options.sampling.grammar.as_deref().filter(|grammar| !grammar.is_empty());
        let sampler = if options.embedding {
            None
        } else if served.writes() {
            let made = Sampler::make(served.model(), &chain, grammar);
            Some(made.ok_or_else(|| nn(NnCode::InvalidArgument, format!("grammar does not parse: {}", said("no rule `root`"))))?)
        } else {
            return Err(nn(NnCode::UnsupportedOperation, "this model computes embeddings and writes no text".into()));
        };
        let seat = Seat::take(served)?;
        let own = if options.embedding {
            let wanted = Wanted { tokens: room, batch: EMBEDDING_BATCH.min(room), embedding: true };
            let made = Context::open(served.model(), served.pool(), wanted);
            Some(made.map_err(|_pool| {
                nn(NnCode::RuntimeError, format!("the engine cannot make a context of {room} tokens: {}", said("no memory")))
            })?)
        } else {
            None
        };
        Ok(Self {
            served: Arc::clone(served),
            seat,
            own,
            sampler,
            steady: options.sampling.seed.is_some(),
            room,
            prompt: Vec::new(),
            read: 0,
            held: 0,
            numbers: Vec::new(),
            last: None,
            taken: None,
            away: Duration::ZERO,
            state: State::Empty,
        })
    }

    /// Takes a new prompt in place of all that was there, and says how many tokens it has.
    ///
    /// # Errors
    /// `PromptTooLong`; `InvalidArgument` if it has no token.
    pub fn prompt(&mut self, text: &str) -> Result<u32, LanguageError> {
        self.reset()?;
        let room = self.room_for_prompt()?;
        let bytes = u64::from(self.room) * MAX_BYTES;
        if text.len() as u64 > bytes {
            return Err(nn(
                NnCode::TooLarge,
                format!("a prompt of {} bytes, expected at most {bytes} for {} tokens", text.len(), self.room),
            ));
        }
        let tokens = self.served.model().tokens(text, room).map_err(|found| LanguageError::PromptTooLong { found, room })?;
        let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        if count > room {
            return Err(LanguageError::PromptTooLong { found: count, room });
        }
        if count == 0 {
            return Err(nn(NnCode::InvalidArgument, "the prompt has no tokens".into()));
        }
        self.prompt = tokens;
        self.state = State::Prompted;
        Ok(count)
    }

    /// Its place among all contexts.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Whether its guest asked for this token within such a time of the last.
    pub fn is_quick(&self, patience: Duration) -> bool {
        self.away <= patience
    }

    /// Begins a step: a batch of the prompt, or the next token. What it says is to be done comes back by [`Session::goes_on`].
    ///
    /// # Errors
    /// `InvalidArgument` where there is nothing to go on with; `RuntimeError` where the engine failed before.
    pub fn wants(&mut self) -> Result<Wants, LanguageError> {
        match self.state {
            State::Empty => return Err(nn(NnCode::InvalidArgument, "there is no prompt".into())),
            State::Ended => return Err(nn(NnCode::InvalidArgument, "the answer has ended: it takes another prompt".into())),
            State::Broken => return Err(broken()),
            State::Prompted => {}
        }
        if self.own.is_some() {
            return Ok(Wants::Embedding);
        }
        let tokens = if self.read < self.prompt.len() {
            let end = self.read.saturating_add(BATCH as usize).min(self.prompt.len());
            self.prompt.get(self.read..end).unwrap_or_default().to_vec()
        } else if let Some(last) = self.last.take() {
            self.away = self.taken.map_or(Duration::ZERO, |taken| taken.elapsed());
            vec![last]
        } else {
            return Ok(Wants::Nothing);
        };
        Ok(Wants::Read(Read {
            seat: self.seat.number(),
            at: self.held,
            joins: self.read >= self.prompt.len() && !self.steady,
            steady: self.steady,
            tokens,
            numbers: std::mem::take(&mut self.numbers),
        }))
    }

    /// Ends a step once what it wanted was read.
    ///
    /// # Errors
    /// `RuntimeError` where the engine failed.
    pub fn goes_on(&mut self, read: Read, decoded: Decoded) -> Result<Step, LanguageError> {
        self.numbers = read.numbers;
        self.settle(decoded, read.tokens.len())?;
        if self.read >= self.prompt.len() {
            return self.choose();
        }
        self.read = self.read.saturating_add(read.tokens.len());
        let left = self.prompt.len().saturating_sub(self.read);
        if left == 0
            && let Some(sampler) = &mut self.sampler
        {
            let from = self.prompt.len().saturating_sub(SEEN);
            self.prompt.iter().skip(from).for_each(|token| sampler.saw(*token));
        }
        Ok(Step::Reading(u32::try_from(left).unwrap_or(u32::MAX)))
    }

    /// Forgets prompt and answer.
    ///
    /// # Errors
    /// `RuntimeError` for a context that the engine failed on before.
    pub fn reset(&mut self) -> Result<(), LanguageError> {
        if self.state == State::Broken {
            return Err(broken());
        }
        // What others wrote here is forgotten by the lane when it reads the first token.
        if let Some(own) = &mut self.own {
            own.clear();
        }
        if let Some(sampler) = &mut self.sampler {
            sampler.reset();
        }
        (self.read, self.held, self.last, self.state) = (0, 0, None, State::Empty);
        self.prompt.clear();
        Ok(())
    }

    /// Takes the next token.
    ///
    /// # Errors
    /// `RuntimeError` where there is none.
    pub fn choose(&mut self) -> Result<Step, LanguageError> {
        let Some(sampler) = &mut self.sampler else { return Err(broken()) };
        let Some(token) = sampler.pick(&self.numbers) else {
            self.state = State::Ended;
            return Err(nn(NnCode::RuntimeError, "no token of the model's keeps to the grammar here".into()));
        };
        let model = self.served.model();
        let Some(piece) = model.piece(token, MAX_PIECE) else {
            self.state = State::Ended;
            return Err(nn(NnCode::RuntimeError, format!("the model's vocabulary has a token of more than {MAX_PIECE} bytes")));
        };
        let end = if model.ends(token) {
            Some(End::OfSequence)
        } else if self.held >= self.room {
            Some(End::ContextFull)
        } else {
            self.last = Some(token);
            self.taken = Some(Instant::now());
            None
        };
        if end.is_some() {
            self.state = State::Ended;
        }
        Ok(Step::Piece(piece, end))
    }

    /// A model for embeddings looks at the whole text at once. Of any other it is the last token whose embedding says what was read; all before it are read
    /// as a prompt is, for the numbers that would be computed beside each are many.
    ///
    /// # Errors
    /// `RuntimeError` where the engine failed.
    pub fn embed(&mut self, threads: i32) -> Result<Step, LanguageError> {
        self.context()?.use_threads(threads);
        if !self.context()?.pools() {
            let before_last = self.prompt.len().saturating_sub(1);
            if self.read < before_last {
                self.context()?.embed(false);
                let left = self.read_batch((before_last - self.read).min(BATCH as usize))?;
                return Ok(Step::Reading(left));
            }
            self.context()?.embed(true);
        }
        self.read_batch(usize::MAX)?;
        self.state = State::Ended;
        let numbers = self.context()?.embedding();
        let numbers = numbers.ok_or_else(|| nn(NnCode::RuntimeError, "the engine gave no embedding".into()))?;
        let length = numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
        if !length.is_finite() || length == 0.0 {
            return Err(nn(NnCode::RuntimeError, "the embedding has no length".into()));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the embedding is in single precision")]
        Ok(Step::Embedded(numbers.iter().map(|number| (f64::from(*number) / length) as f32).collect()))
    }

    /// Reads the next tokens of the prompt, `most` at most, and says how many are left.
    fn read_batch(&mut self, most: usize) -> Result<u32, LanguageError> {
        let end = self.read.saturating_add(most).min(self.prompt.len());
        let batch: Vec<Token> = self.prompt.get(self.read..end).unwrap_or_default().to_vec();
        self.decode(&batch)?;
        self.read = end;
        Ok(u32::try_from(self.prompt.len() - end).unwrap_or(u32::MAX))
    }

    fn decode(&mut self, tokens: &[Token]) -> Result<(), LanguageError> {
        let decoded = self.context()?.decode(tokens);
        self.settle(decoded, tokens.len())
    }

    fn settle(&mut self, decoded: Decoded, count: usize) -> Result<(), LanguageError> {
        match decoded {
            Decoded::Done => {
                self.held = self.held.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
                Ok(())
            }
            Decoded::Full => {
                self.state = State::Broken;
                Err(nn(NnCode::RuntimeError, format!("the engine found no room for {count} more tokens at {}", self.held)))
            }
            Decoded::Failed(code) => {
                self.state = State::Broken;
                Err(nn(NnCode::RuntimeError, format!("the engine failed with {code}: {}", said("it does not say why"))))
            }
        }
    }

    fn room_for_prompt(&mut self) -> Result<u32, LanguageError> {
        let room = self.room.saturating_sub(RESERVE);
        let in_one_batch = self.own.as_ref().is_some_and(Context::pools);
        Ok(if in_one_batch { room.min(EMBEDDING_BATCH) } else { room })
    }

    fn context(&mut self) -> Result<&mut Context, LanguageError> {
        self.own.as_mut().ok_or_else(broken)
    }
}

fn broken() -> LanguageError {
    nn(NnCode::RuntimeError, "the engine failed on this context before: it takes another".into())
}

/// The engine's words, or these if it has none. Foreign text, escaped.
fn said(otherwise: &str) -> String {
    let words = crate::sys::words();
    if words.is_empty() { otherwise.into() } else { words.escape_debug().to_string() }
}
