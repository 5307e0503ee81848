//! Language models: what a guest asks of one, checked, and passed to its host one step at a time.
//!
//! Runs in: worker, on guest threads.
//! Invariant: no request outlives one batch of the prompt or one token of the answer, so a deadline ends a guest between two tokens, and modules that share
//! a model take turns at every one. A context of the host is opened when its first prompt is set, and closed with the guest's.
//! Does not: choose a token. What the host answers is bounded and checked like a guest's own words.
//!
//! A context that computes again, or whose host was replaced, begins from its prompt, which is kept here.

pub mod component;
mod talk;

pub use edgeguard_language_config::Config;
use edgeguard_language_config::ConfigError;
use edgeguard_wire::language::LanguageModel;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;

pub use self::talk::Talk;
use self::talk::Turn;
use crate::nn::Failure;
use crate::nn::Nn;
use crate::nn::error;
use crate::nn::invalid;
use crate::nn::no_context;

/// How a language model's call ends, other than with success or an error that both forms of wasi-nn know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model ended its answer.
    EndOfSequence,
    /// The context has no room for another token.
    ContextFull,
    /// The prompt does not fit.
    PromptTooLong {
        /// Its length in tokens.
        found: u32,
        /// How many would do.
        room: u32,
    },
    /// All contexts that the policy allows are in use.
    Busy(u32),
}

/// A step's outcome for a guest that streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its text; one character may come in several pieces.
    pub piece: Vec<u8>,
    /// The answer ends after it.
    pub ending: Option<Ending>,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Denied(key) => Self::Denied(key),
            ConfigError::Unsupported(_) | ConfigError::Schema(_) => self::error(NnCode::UnsupportedOperation, &error.to_string()).into(),
            ConfigError::TooLong { .. } => self::error(NnCode::TooLarge, &error.to_string()).into(),
            ConfigError::Malformed | ConfigError::Value { .. } => invalid(&error.to_string()).into(),
        }
    }
}

impl Nn {
    /// What the host said of a language model; `None` for all other graphs.
    pub fn language(&self, graph: usize) -> Option<&LanguageModel> {
        self.links.get(graph)?.language.as_ref()
    }

    /// Whether a context is one of a language model.
    pub fn talks(&self, handle: usize) -> bool {
        self.contexts.get(handle).and_then(Option::as_ref).is_some_and(|context| context.talk.is_some())
    }

    /// Takes a graph's configuration, the one of its later contexts. While a graph is loaded, another one is checked and changes nothing.
    pub fn load_with(&mut self, graph: usize, json: &[u8]) -> Result<(), Failure> {
        let blank = json.iter().all(u8::is_ascii_whitespace);
        let config = if blank { Config::default() } else { Config::default().with(json)? };
        if self.language(graph).is_none() && config != Config::default() {
            return Err(error(NnCode::UnsupportedOperation, "this graph takes no configuration: it is no language model").into());
        }
        if let Some(slot @ None) = self.configs.get_mut(graph) {
            *slot = Some(config);
        }
        Ok(())
    }

    /// Forgets a graph's configuration. Contexts that exist go on.
    pub fn unload(&mut self, graph: usize) -> Result<(), NnError> {
        *self.configs.get_mut(graph).ok_or_else(|| invalid("no such graph"))? = None;
        Ok(())
    }

    /// A new context's state, where its graph is a language model.
    pub(super) fn new_talk(&self, graph: usize) -> Option<Box<Talk>> {
        self.language(graph)?;
        let config = self.configs.get(graph).cloned().flatten().unwrap_or_default();
        Some(Box::new(Talk::new(config)))
    }

    /// Replaces a context's configuration.
    pub fn set_config(&mut self, handle: usize, config: Config) -> Result<(), Failure> {
        let spare = self.spare(handle)?;
        if config.weight() > spare {
            return Err(over().into());
        }
        self.turn(handle)?.talk.configure(config);
        Ok(())
    }

    /// Changes the options that a context's configuration names.
    pub fn configure(&mut self, handle: usize, json: &[u8]) -> Result<(), Failure> {
        let config = self.turn(handle)?.talk.config().with(json)?;
        self.set_config(handle, config)
    }

    /// Gives a context its prompt, in place of all it had. The prompt is taken apart at once, so that its length can be asked for; one that is too long is an
    /// error of the call that computes.
    pub fn set_prompt(&mut self, handle: usize, prompt: &[u8]) -> Result<(), Failure> {
        self.turn(handle)?.set_prompt(prompt)
    }

    /// The whole answer, to its end, to the configured number of tokens, or to the configured text; or the embedding of the prompt.
    pub fn answer(&mut self, handle: usize) -> Result<(), Failure> {
        self.turn(handle)?.answer()
    }

    /// The embedding of the prompt.
    pub fn embedding(&mut self, handle: usize) -> Result<Vec<f32>, Failure> {
        self.turn(handle)?.embed()
    }

    /// The next token of the answer, which begins with the first call after a prompt was set, an answer ended, or [`Self::fini_single`].
    pub fn answer_single(&mut self, handle: usize) -> Result<Token, Failure> {
        self.turn(handle)?.single()
    }

    /// Ends an answer that is taken token by token.
    pub fn fini_single(&mut self, handle: usize) -> Result<(), Failure> {
        self.turn(handle)?.fini()
    }

    /// What a context has, for reading.
    pub fn talk(&self, handle: usize) -> Result<&Talk, NnError> {
        let context = self.contexts.get(handle).and_then(Option::as_ref).ok_or_else(no_context)?;
        context.talk.as_deref().ok_or_else(not_language)
    }

    /// Tokens of a context's prompt, of its answer so far, and of the context itself.
    pub fn usage(&self, handle: usize) -> Result<[u32; 3], NnError> {
        let talk = self.talk(handle)?;
        let graph = self.graph_of(handle).ok_or_else(no_context)?;
        let model = self.language(graph).ok_or_else(not_language)?;
        let [input, output] = talk.tokens();
        Ok([input, output, talk.config().options.context.map_or(model.context, |context| context.min(model.context))])
    }

    /// Metadata of a context, as its guests know it: JSON.
    pub fn metadata(&self, handle: usize) -> Result<String, NnError> {
        let [input, output, context] = self.usage(handle)?;
        let model = self.graph_of(handle).and_then(|graph| self.language(graph)).ok_or_else(not_language)?;
        let metadata = serde_json::json!({
            "input_tokens": input,
            "output_tokens": output,
            "llama_build_number": model.build,
            "llama_commit": model.commit,
            "n_ctx": context,
        });
        Ok(metadata.to_string())
    }

    /// Tells the host that a context is gone.
    pub(super) fn hang_up(&mut self, handle: usize) {
        let Some(Some(context)) = self.contexts.get(handle) else { return };
        let (Some(talk), Some(link)) = (context.talk.as_deref(), self.links.get_mut(context.graph)) else { return };
        if let Some(number) = talk.opened_in(link.generation) {
            link.close_behind(number);
        }
    }

    /// A context and the link it speaks over, after a renewed channel was taken.
    fn turn(&mut self, handle: usize) -> Result<Turn<'_>, NnError> {
        let spare = self.spare(handle)?;
        let Self { links, contexts, control, deadline, stdout, waited_ns, engine_ns, .. } = self;
        let Some(Some(context)) = contexts.get_mut(handle) else { return Err(no_context()) };
        let (Some(talk), Some(link)) = (context.talk.as_deref_mut(), links.get_mut(context.graph)) else { return Err(not_language()) };
        if let Some(fds) = link.renewed() {
            link.replace(fds);
        }
        Ok(Turn { graph: context.graph, talk, link, control, deadline: *deadline, stdout: stdout.as_ref(), spare, waited_ns, engine_ns })
    }

    /// Bytes that this context may keep in the worker, by what the others keep already.
    fn spare(&self, handle: usize) -> Result<u64, NnError> {
        let others = self.contexts.iter().enumerate().filter(|(other, _)| *other != handle);
        let kept = others.filter_map(|(_, context)| context.as_ref()).fold(0u64, |sum, context| sum.saturating_add(context.kept()));
        Ok(self.room.saturating_sub(kept))
    }
}

fn not_language() -> NnError {
    invalid("the graph of this context is no language model")
}

/// The guest wants more kept than its memory limit allows.
fn over() -> NnError {
    error(NnCode::TooLarge, "prompts and answers of all execution contexts exceed the memory limit")
}
