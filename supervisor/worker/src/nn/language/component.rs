//! `edgeguard:language@0.1.0`: language models for components.
//!
//! Runs in: worker, on guest threads.
//! Invariant: what a component can ask here is what a core module can ask, by the same code, with the same record; the interface only looks otherwise.

use edgeguard_audit::CallId;
use edgeguard_audit::Outcome;
use edgeguard_audit::call_id;
use edgeguard_wire::tensor::NnCode;
use wasmtime::Result;
use wasmtime::component::HasSelf;
use wasmtime::component::Linker;
use wasmtime::component::Resource;

use self::bindings::edgeguard::language::models;
use self::bindings::edgeguard::language::models::ErrorCode;
use crate::guest::Guest;
use crate::nn::Failure;
use crate::nn::Nn;
use crate::nn::language::Ending;
use crate::record::Pending;

mod bindings {
    #![allow(missing_docs, reason = "generated from guest-sdk/wit/language.wit, which is its documentation")]
    wasmtime::component::bindgen!({
        path: "../../guest-sdk/wit/language.wit",
        world: "edgeguard:language/guest",
        imports: { default: trappable },
        with: { "edgeguard:language/models.model": super::Model },
    });
}

/// An execution context of a language model, by its number in [`Nn`].
pub struct Model {
    context: usize,
    /// The context was filled by the piece before: the answer's end is still to be told.
    full: bool,
}

/// What the guest gets.
type Answer<T> = std::result::Result<T, models::Error>;

/// Adds the interface.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    models::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

fn begin(function: &str) -> Result<Pending> {
    number(function).map(Pending::begin)
}

fn number(function: &str) -> Result<CallId> {
    call_id(INTERFACE, function).ok_or_else(|| wasmtime::Error::msg(format!("the call `{INTERFACE}.{function}` has no number")))
}

impl Guest {
    /// Begins a call about a model.
    fn about(&mut self, function: &str, this: &Resource<Model>) -> Result<(Pending, usize)> {
        let mut pending = begin(function)?;
        pending.handle = this.rep();
        let context = self.table().get(this)?.context;
        pending.rule = self.nn.graph_of(context).map_or(0, Nn::rule);
        Ok((pending, context))
    }

    fn open_model(&mut self, pending: &mut Pending, name: &str, options: &str) -> std::result::Result<usize, Failure> {
        let graph = self.nn.graph(name.as_bytes())?;
        pending.rule = Nn::rule(graph);
        if self.nn.language(graph).is_none() {
            return Err(crate::nn::invalid("this graph is no language model; `wasi:nn` computes it").into());
        }
        let context = self.nn.open(graph)?;
        let blank = options.trim_ascii().is_empty();
        let configured = if blank { Ok(()) } else { self.nn.configure(context, options.as_bytes()) };
        let configured = configured.and_then(|()| match self.nn.talk(context)?.config().stream_stdout {
            // Here a guest asks for each piece: nothing would ever be written.
            true => Err(super::ConfigError::Unsupported("stream-stdout").into()),
            false => Ok(()),
        });
        if let Err(failure) = configured {
            // It was opened a moment ago, and nobody else knows it.
            let _ = self.nn.close(context);
            return Err(failure);
        }
        Ok(context)
    }
}

impl models::Host for Guest {}

impl models::HostModel for Guest {
    fn open(&mut self, name: String, options: String) -> Result<Answer<Resource<Model>>> {
        let mut pending = begin("[static]model.open")?;
        pending.text(name.as_bytes());
        pending.n_in = u32::try_from(options.len()).unwrap_or(u32::MAX);
        match self.open_model(&mut pending, &name, &options) {
            Ok(context) => {
                let model = self.table().push(Model { context, full: false })?;
                pending.handle = model.rep();
                end(pending, Ok(model))
            }
            Err(failure) => end(pending, Err(failure)),
        }
    }

    fn prompt(&mut self, this: Resource<Model>, text: String) -> Result<Answer<()>> {
        let (mut pending, context) = self.about("[method]model.prompt", &this)?;
        pending.n_in = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.table().get_mut(&this)?.full = false;
        let set = self.nn.set_prompt(context, text.as_bytes());
        end(pending, set)
    }

    fn next_piece(&mut self, this: Resource<Model>) -> Result<Answer<Option<Vec<u8>>>> {
        let (mut pending, context) = self.about("[method]model.next-piece", &this)?;
        if std::mem::take(&mut self.table().get_mut(&this)?.full) {
            return end(pending, Ok(None));
        }
        let token = match self.nn.answer_single(context) {
            Ok(token) => token,
            Err(failure) => return end(pending, Err(failure)),
        };
        match token.ending {
            // The token that ends an answer is a mark, and no text.
            Some(Ending::EndOfSequence) => end(pending, Ok(None)),
            ending => {
                self.table().get_mut(&this)?.full = ending.is_some();
                pending.n_out = u32::try_from(token.piece.len()).unwrap_or(u32::MAX);
                end(pending, Ok(Some(token.piece)))
            }
        }
    }

    fn embedding(&mut self, this: Resource<Model>) -> Result<Answer<Vec<f32>>> {
        let (mut pending, context) = self.about("[method]model.embedding", &this)?;
        let numbers = self.nn.embedding(context);
        pending.n_out = numbers.as_ref().map_or(0, |numbers| u32::try_from(numbers.len() * 4).unwrap_or(u32::MAX));
        end(pending, numbers)
    }

    fn usage(&mut self, this: Resource<Model>) -> Result<Answer<models::Usage>> {
        let (pending, context) = self.about("[method]model.usage", &this)?;
        let usage = self.nn.usage(context).map(|[prompt, answer, context]| models::Usage { prompt, answer, context });
        end(pending, usage.map_err(Failure::from))
    }

    fn drop(&mut self, this: Resource<Model>) -> Result<()> {
        let (pending, context) = self.about("[resource-drop]model", &this)?;
        self.table().delete(this)?;
        // It was open: handles are made by `open` alone.
        let _ = self.nn.close(context);
        pending.end(Outcome::Ok, 0);
        Ok(())
    }
}

/// Ends a call with what the guest gets, or with the guest's end.
fn end<T>(mut pending: Pending, answer: std::result::Result<T, Failure>) -> Result<Answer<T>> {
    let (outcome, code, message) = match answer {
        Ok(value) => {
            pending.end(Outcome::Ok, 0);
            return Ok(Ok(value));
        }
        Err(Failure::Nn(error)) => {
            let denied = matches!(error.code, NnCode::Security | NnCode::NotFound);
            (if denied { Outcome::Denied } else { Outcome::Error }, guest_code(error.code), error.message)
        }
        Err(Failure::Denied(key)) => {
            pending.text(key.as_bytes());
            (Outcome::Denied, ErrorCode::Security, format!("the option `{key}` names something of the host"))
        }
        Err(Failure::Ending(Ending::Busy(contexts))) => {
            (Outcome::Error, ErrorCode::Busy, format!("all {contexts} contexts that the policy allows are in use"))
        }
        Err(Failure::Ending(Ending::PromptTooLong { found, room })) => {
            (Outcome::Error, ErrorCode::PromptTooLong, format!("the prompt has {found} tokens; there is room for {room}"))
        }
        Err(Failure::Ending(Ending::EndOfSequence | Ending::ContextFull)) => {
            (Outcome::Error, ErrorCode::RuntimeError, "the answer has ended".to_owned())
        }
        Err(Failure::Stop(stop)) => {
            pending.end(Outcome::Limit, 0);
            return Err(stop.into());
        }
    };
    pending.end(outcome, errno(code));
    Ok(Err(models::Error { code, message }))
}

fn guest_code(code: NnCode) -> ErrorCode {
    match code {
        NnCode::NotFound => ErrorCode::NotFound,
        NnCode::Security => ErrorCode::Security,
        NnCode::InvalidArgument | NnCode::InvalidEncoding => ErrorCode::InvalidArgument,
        NnCode::UnsupportedOperation => ErrorCode::UnsupportedOperation,
        NnCode::TooLarge => ErrorCode::TooLarge,
        NnCode::RuntimeError | NnCode::Timeout | NnCode::Unknown => ErrorCode::RuntimeError,
    }
}

/// The code's place in the interface's enumeration, from 1, so that 0 means success in records.
fn errno(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::NotFound => 1,
        ErrorCode::Security => 2,
        ErrorCode::InvalidArgument => 3,
        ErrorCode::UnsupportedOperation => 4,
        ErrorCode::Busy => 5,
        ErrorCode::PromptTooLong => 6,
        ErrorCode::TooLarge => 7,
        ErrorCode::RuntimeError => 8,
    }
}

const INTERFACE: &str = "edgeguard:language/models";
