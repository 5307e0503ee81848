//! One conversation: a prompt, an answer, and the context of the host in which they lie.
//!
//! Runs in: worker, on guest threads.
//! Invariant: an answer always begins at the prompt. Whether the host's context holds it, holds more, or is gone with its host, is known before each step.

use std::sync::Arc;
use std::time::Instant;

use edgeguard_wire::Channel;
use edgeguard_wire::language::End;
use edgeguard_wire::language::LanguageError;
use edgeguard_wire::language::MAX_CONTEXTS;
use edgeguard_wire::language::MAX_PIECE;
use edgeguard_wire::language::Options;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::worker::FromWorker;
use edgeguard_wire::worker::Limit;

use crate::deadline::Deadline;
use crate::limits::Stop;
use crate::nn::Failure;
use crate::nn::Link;
use crate::nn::error;
use crate::nn::invalid;
use crate::nn::language::Config;
use crate::nn::language::Ending;
use crate::nn::language::Token;
use crate::nn::language::over;
use crate::nn::link::CallError;
use crate::stdio::Output;

/// A guest's context of a language model.
#[derive(Debug)]
pub struct Talk {
    config: Config,
    prompt: Option<Vec<u8>>,
    host: Option<Opened>,
    stage: Stage,
    /// Tokens of the prompt, and of the answer so far.
    tokens: [u32; 2],
    /// What the last `compute` gave.
    output: Option<Vec<u8>>,
    /// What the last `compute_single` gave.
    piece: Option<Vec<u8>>,
    /// A token that `compute_single` could not give, because there was no room for it: the next one gives it.
    held: Option<Token>,
}

/// A context of the host.
#[derive(Debug)]
struct Opened {
    /// Of which host.
    generation: u64,
    number: u32,
    options: Options,
}

/// What the host's context holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not the prompt, or more than it.
    Stale,
    /// The prompt, unread.
    Prompted,
    /// The prompt does not fit.
    TooLong { found: u32, room: u32 },
    /// An answer that is taken token by token.
    Streaming,
}

impl Talk {
    pub(super) fn new(config: Config) -> Self {
        Self { config, prompt: None, host: None, stage: Stage::Stale, tokens: [0, 0], output: None, piece: None, held: None }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Another configuration: where it changes how tokens are chosen or what a context is, the answer begins anew.
    pub(super) fn configure(&mut self, config: Config) {
        if config.options != self.config.options {
            self.stage = Stage::Stale;
        }
        self.config = config;
    }

    /// Tokens of the prompt, and of the answer so far.
    pub fn tokens(&self) -> [u32; 2] {
        self.tokens
    }

    /// What the last `compute` gave; `None` before one.
    pub fn output(&self) -> Option<&[u8]> {
        self.output.as_deref()
    }

    /// What the last `compute_single` gave; `None` before one.
    pub fn piece(&self) -> Option<&[u8]> {
        self.piece.as_deref()
    }

    /// The number of the context in the host of this generation.
    pub(super) fn opened_in(&self, generation: u64) -> Option<u32> {
        self.host.as_ref().filter(|host| host.generation == generation).map(|host| host.number)
    }

    /// Bytes kept for it.
    pub(in crate::nn) fn kept(&self) -> u64 {
        let texts = [&self.prompt, &self.output, &self.piece];
        let held = self.held.as_ref().map_or(0, |held| held.piece.len() as u64);
        let all = self.config.weight().saturating_add(held);
        texts.iter().fold(all, |sum, text| sum.saturating_add(text.as_ref().map_or(0, |text| text.len() as u64)))
    }
}

/// A context while one call is about it.
pub(super) struct Turn<'a> {
    pub graph: usize,
    pub talk: &'a mut Talk,
    pub link: &'a mut Link,
    pub control: &'a Arc<Channel>,
    pub deadline: Deadline,
    /// The guest's own, where an answer may be written as it comes.
    pub stdout: Option<&'a Output>,
    /// Bytes that it may keep in all.
    pub spare: u64,
    pub waited_ns: &'a mut u64,
    pub engine_ns: &'a mut u64,
}

impl Turn<'_> {
    pub fn set_prompt(&mut self, prompt: &[u8]) -> Result<(), Failure> {
        if prompt.len() as u64 > self.link.half {
            return Err(error(NnCode::TooLarge, "the prompt does not fit the region shared with the graph host").into());
        }
        if std::str::from_utf8(prompt).is_err() {
            return Err(invalid("the prompt is not UTF-8").into());
        }
        // In place of the old one, so that is not counted; the answer to it goes too.
        (self.talk.prompt, self.talk.output, self.talk.piece, self.talk.held) = (None, None, None, None);
        (self.talk.stage, self.talk.tokens) = (Stage::Stale, [0, 0]);
        self.room_for(prompt.len())?;
        self.talk.prompt = Some(prompt.to_vec());
        self.send_prompt()
    }

    pub fn answer(&mut self) -> Result<(), Failure> {
        if self.talk.config.options.embedding {
            let numbers = self.embed()?;
            let json = embedding_json(&numbers);
            self.room_for(json.len())?;
            self.talk.output = Some(json.into_bytes());
            return Ok(());
        }
        self.begin()?;
        self.talk.output = Some(Vec::new());
        let most = self.talk.config.n_predict.unwrap_or(u64::MAX);
        let mut made = 0;
        while made < most {
            let Token { piece, ending } = self.token()?;
            made += 1;
            let from = self.append(&piece)?;
            if self.talk.config.stream_stdout
                && let Some(stdout) = self.stdout
            {
                stdout.write_out(&piece, self.deadline).map_err(Failure::Stop)?;
            }
            match ending {
                Some(Ending::EndOfSequence) => break,
                Some(ending) => return Err(Failure::Ending(ending)),
                None if self.reversed(from) => break,
                None => {}
            }
        }
        Ok(())
    }

    pub fn single(&mut self) -> Result<Token, Failure> {
        if self.talk.config.options.embedding {
            return Err(invalid("an embedding does not come in tokens").into());
        }
        if self.talk.stage != Stage::Streaming {
            self.begin()?;
            self.talk.stage = Stage::Streaming;
        } else if self.talk.opened_in(self.link.generation).is_none() {
            self.talk.stage = Stage::Stale;
            return Err(error(NnCode::RuntimeError, "the graph host was replaced in the middle of the answer").into());
        }
        self.talk.piece = None;
        let token = match self.talk.held.take() {
            Some(held) => held,
            None => self.token().inspect_err(|_| self.talk.stage = Stage::Stale)?,
        };
        if let Err(full) = self.room_for(token.piece.len()) {
            self.talk.held = Some(token);
            return Err(full);
        }
        if token.ending.is_some() {
            self.talk.stage = Stage::Stale;
        }
        self.talk.piece = Some(token.piece.clone());
        Ok(token)
    }

    pub fn fini(&mut self) -> Result<(), Failure> {
        (self.talk.piece, self.talk.held) = (None, None);
        self.talk.stage = Stage::Stale;
        if let Some(context) = self.talk.opened_in(self.link.generation) {
            match self.ask(Request::Reset { context })? {
                Said::Done => {}
                other => return Err(self.other(other)),
            }
        }
        Ok(())
    }

    pub fn embed(&mut self) -> Result<Vec<f32>, Failure> {
        if !self.talk.config.options.embedding {
            return Err(invalid("the context was not made for embeddings: set the option `embedding`").into());
        }
        let context = self.begin()?;
        loop {
            match self.step(context)? {
                Said::Reading { .. } => {}
                Said::Embedded { numbers } => return self.embedding(numbers),
                other => return Err(self.other(other)),
            }
        }
    }

    /// Makes the host's context hold the prompt and nothing else, whose answer then begins; gives the context.
    fn begin(&mut self) -> Result<u32, Failure> {
        (self.talk.output, self.talk.piece, self.talk.held, self.talk.tokens[1]) = (None, None, None, 0);
        if self.talk.opened_in(self.link.generation).is_none() || !matches!(self.talk.stage, Stage::Prompted | Stage::TooLong { .. }) {
            self.send_prompt()?;
        }
        if let Stage::TooLong { found, room } = self.talk.stage {
            return Err(Failure::Ending(Ending::PromptTooLong { found, room }));
        }
        self.talk.stage = Stage::Stale;
        self.talk.opened_in(self.link.generation).ok_or_else(|| invalid("no prompt was set").into())
    }

    /// Gives the host the prompt.
    fn send_prompt(&mut self) -> Result<(), Failure> {
        self.talk.stage = Stage::Stale;
        if self.talk.prompt.is_none() {
            return Err(invalid("no prompt was set; it is input 0").into());
        }
        let context = self.open()?;
        let prompt = self.talk.prompt.take().unwrap_or_default();
        let written = self.settled().and_then(|()| Ok(self.link.write(0, &prompt)?));
        let len = prompt.len() as u64;
        self.talk.prompt = Some(prompt);
        written?;
        match self.ask(Request::Prompt { context, len })? {
            Said::Prompted { tokens } => {
                self.talk.tokens = [tokens, 0];
                self.talk.stage = Stage::Prompted;
            }
            Said::Failed(LanguageError::PromptTooLong { found, room }) => {
                self.talk.tokens = [found, 0];
                self.talk.stage = Stage::TooLong { found, room };
            }
            other => return Err(self.other(other)),
        }
        Ok(())
    }

    /// The host's context, opened where there is none, or one of other options.
    fn open(&mut self) -> Result<u32, Failure> {
        let most = self.link.language.as_ref().map_or(0, |model| model.context);
        let mut options = self.talk.config.options.clone();
        // A guest's wish, within what the policy allows; its metadata say what came of it.
        options.context = options.context.map(|context| context.min(most));
        let generation = self.link.generation;
        match self.talk.host.take() {
            Some(host) if host.generation == generation && host.options == options => {
                let number = host.number;
                self.talk.host = Some(host);
                return Ok(number);
            }
            Some(host) if host.generation == generation => match self.ask(Request::Close { context: host.number })? {
                Said::Done => {}
                other => return Err(self.other(other)),
            },
            _ => {}
        }
        match self.ask(Request::Open(options.clone()))? {
            Said::Opened { context } if context < MAX_CONTEXTS => {
                self.talk.host = Some(Opened { generation, number: context, options });
                Ok(context)
            }
            other => Err(self.other(other)),
        }
    }

    /// The next token of the answer that was begun.
    fn token(&mut self) -> Result<Token, Failure> {
        let Some(context) = self.talk.opened_in(self.link.generation) else {
            return Err(error(NnCode::RuntimeError, "the graph host was replaced in the middle of the answer").into());
        };
        loop {
            match self.step(context)? {
                Said::Reading { .. } => {}
                Said::Piece { piece, end } if piece.len() <= MAX_PIECE => {
                    self.talk.tokens[1] = self.talk.tokens[1].saturating_add(1);
                    let ending = end.map(|end| match end {
                        End::OfSequence => Ending::EndOfSequence,
                        End::ContextFull => Ending::ContextFull,
                    });
                    return Ok(Token { piece, ending });
                }
                other => return Err(self.other(other)),
            }
        }
    }

    fn step(&mut self, context: u32) -> Result<Said, Failure> {
        // A host that answers at once, and for ever, must not carry the guest past its deadline.
        if self.deadline.passed() {
            return Err(Failure::Stop(Stop(Limit::Deadline)));
        }
        self.ask(Request::Step { context })
    }

    fn ask(&mut self, what: Request) -> Result<Said, Failure> {
        let began = Instant::now();
        let answer = self.link.ask(what, self.deadline);
        *self.waited_ns = self.waited_ns.saturating_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        match answer {
            Ok((said, engine_ns)) => {
                *self.engine_ns = self.engine_ns.saturating_add(engine_ns);
                Ok(said)
            }
            Err(other) => Err(self.failed(other)),
        }
    }

    /// Waits until the host no longer reads the region for an abandoned request.
    fn settled(&mut self) -> Result<(), Failure> {
        self.link.settle_language(self.deadline).map_err(|other| self.failed(other))
    }

    fn failed(&self, failed: CallError) -> Failure {
        match failed {
            CallError::Nn(error) => Failure::Nn(error),
            CallError::Stalled => {
                // One step under way is no fault of the host's, and other modules' answers lie in it.
                if self.link.hangs() {
                    let graph = u16::try_from(self.graph).unwrap_or(u16::MAX);
                    // If the daemon does not hear this, it is gone, and so is this process.
                    let _ = self.control.send(&FromWorker::GraphStalled { graph }, &[]);
                }
                Failure::Stop(Stop(Limit::Deadline))
            }
        }
    }

    /// An answer that is none to what was asked: an error of the host's, or nonsense, after which it is not spoken to again.
    fn other(&mut self, said: Said) -> Failure {
        match said {
            Said::Failed(LanguageError::Busy(contexts)) => Failure::Ending(Ending::Busy(contexts)),
            Said::Failed(LanguageError::PromptTooLong { found, room }) => Failure::Ending(Ending::PromptTooLong { found, room }),
            Said::Failed(LanguageError::Nn(error)) => Failure::Nn(error),
            _ => match self.link.impossible() {
                CallError::Nn(error) => Failure::Nn(error),
                CallError::Stalled => Failure::Stop(Stop(Limit::Deadline)),
            },
        }
    }

    /// Reads the embedding out of the region.
    fn embedding(&mut self, numbers: u32) -> Result<Vec<f32>, Failure> {
        let expected = self.link.language.as_ref().map(|model| model.embedding);
        let bytes = u64::from(numbers) * 4;
        if expected != Some(numbers) || bytes > self.link.half {
            return Err(self.other(Said::Embedded { numbers }));
        }
        self.room_for(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let mut raw = vec![0; usize::try_from(bytes).map_err(|_| over())?];
        self.link.read(self.link.half, &mut raw)?;
        let numbers: Vec<f32> = raw.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(error(NnCode::RuntimeError, "the model gave an embedding that is no number").into());
        }
        Ok(numbers)
    }

    /// Adds a piece to the answer; gives where it begins.
    fn append(&mut self, piece: &[u8]) -> Result<usize, Failure> {
        self.room_for(piece.len())?;
        let output = self.talk.output.get_or_insert_default();
        let from = output.len();
        output.extend_from_slice(piece);
        Ok(from)
    }

    /// Whether the text that ends an answer stands in it, where the piece from `from` had a part in it.
    fn reversed(&self, from: usize) -> bool {
        let wanted = self.talk.config.reverse_prompt.as_bytes();
        let Some(output) = self.talk.output.as_deref().filter(|_| !wanted.is_empty()) else { return false };
        let from = from.saturating_sub(wanted.len() - 1);
        output.get(from..).is_some_and(|tail| tail.windows(wanted.len()).any(|window| window == wanted))
    }

    fn room_for(&self, more: usize) -> Result<(), Failure> {
        let all = self.talk.kept().saturating_add(more as u64);
        if all > self.spare { Err(over().into()) } else { Ok(()) }
    }
}

/// The form that guests know: `{"n_embedding": N, "embedding": [..]}`, ten digits behind the point.
fn embedding_json(numbers: &[f32]) -> String {
    let list: Vec<String> = numbers.iter().map(|number| format!("{number:.10}")).collect();
    format!("{{\"n_embedding\": {}, \"embedding\": [{}]}}", numbers.len(), list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_reads_as_guests_expect_it() {
        assert_eq!(embedding_json(&[0.5, -1.0]), r#"{"n_embedding": 2, "embedding": [0.5000000000,-1.0000000000]}"#);
        assert_eq!(embedding_json(&[]), r#"{"n_embedding": 0, "embedding": []}"#);
    }
}
