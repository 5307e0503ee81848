//! A language host that the test plays: it knows the wire and no model. It repeats the prompt, word by word, and counts what it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use edgeguard_wire::language::Answer;
use edgeguard_wire::language::Ask;
use edgeguard_wire::language::End;
use edgeguard_wire::language::LanguageError;
use edgeguard_wire::language::LanguageModel;
use edgeguard_wire::language::Options;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;

use super::Host;

/// Numbers in an embedding: how often `a`, `b` and `c` stand in the prompt.
pub const EMBEDDING: u32 = 3;

/// Tokens of a context, a token being a word.
pub const CONTEXT: u32 = 64;

pub fn model() -> LanguageModel {
    LanguageModel { context: CONTEXT, embedding: EMBEDDING, build: 4242, commit: "c0ffee\"".into() }
}

/// How it behaves.
#[derive(Clone, Copy)]
pub struct Parrot {
    /// Contexts that it gives.
    pub contexts: usize,
    /// How long a step takes.
    pub step: Duration,
    /// It never stops by itself: the prompt again and again.
    pub endless: bool,
}

impl Default for Parrot {
    fn default() -> Self {
        Self { contexts: 8, step: Duration::ZERO, endless: false }
    }
}

struct Context {
    options: Options,
    words: Vec<String>,
    text: String,
    read: bool,
    said: usize,
}

/// What it was asked, and what it holds.
#[derive(Default)]
pub struct Diary {
    pub asked: Vec<Request>,
    pub open: usize,
}

impl Parrot {
    /// Serves in a thread until the worker is gone.
    pub fn serve(self, host: Host, half: u64) -> Arc<Mutex<Diary>> {
        let diary = Arc::new(Mutex::new(Diary::default()));
        let log = Arc::clone(&diary);
        std::thread::spawn(move || {
            let mut contexts = BTreeMap::new();
            while let Ok((Ask { seq, what }, _)) = host.channel.recv::<Ask>() {
                log.lock().unwrap().asked.push(what.clone());
                let said = self.answer(&host, half, &mut contexts, what);
                log.lock().unwrap().open = contexts.len();
                if host.channel.send(&Answer { seq, what: said, engine_ns: 10 }, &[]).is_err() {
                    return;
                }
            }
        });
        diary
    }

    fn answer(self, host: &Host, half: u64, contexts: &mut BTreeMap<u32, Context>, what: Request) -> Said {
        match what {
            Request::Open(_) if contexts.len() >= self.contexts => Said::Failed(LanguageError::Busy(u32::try_from(self.contexts).unwrap())),
            Request::Open(options) => {
                let context = (0..).find(|number| !contexts.contains_key(number)).unwrap();
                contexts.insert(context, Context { options, words: Vec::new(), text: String::new(), read: false, said: 0 });
                Said::Opened { context }
            }
            Request::Prompt { context, len } => {
                let mut bytes = vec![0; usize::try_from(len).unwrap()];
                host.region.read(0, &mut bytes).unwrap();
                let text = String::from_utf8(bytes).unwrap();
                let Some(held) = contexts.get_mut(&context) else { return unknown() };
                held.words = text.split_inclusive(' ').map(str::to_owned).collect();
                (held.read, held.said, held.text) = (false, 0, text);
                let (found, room) = (u32::try_from(held.words.len()).unwrap(), held.options.context.unwrap_or(CONTEXT) - 4);
                if found > room { Said::Failed(LanguageError::PromptTooLong { found, room }) } else { Said::Prompted { tokens: found } }
            }
            Request::Step { context } => {
                std::thread::sleep(self.step);
                let Some(held) = contexts.get_mut(&context) else { return unknown() };
                if !std::mem::replace(&mut held.read, true) {
                    return Said::Reading { left: 0 };
                }
                if held.options.embedding {
                    let count = |letter: char| held.text.matches(letter).count() as f32;
                    let numbers: Vec<u8> = ['a', 'b', 'c'].into_iter().flat_map(|letter| count(letter).to_le_bytes()).collect();
                    host.region.write(usize::try_from(half).unwrap(), &numbers).unwrap();
                    return Said::Embedded { numbers: EMBEDDING };
                }
                let piece = held.words.get(held.said % held.words.len()).unwrap().clone().into_bytes();
                held.said += 1;
                let full = held.said + held.words.len() >= held.options.context.unwrap_or(CONTEXT) as usize;
                let end = match (self.endless, full) {
                    (true, _) => None,
                    (false, true) => Some(End::ContextFull),
                    (false, false) => (held.said == held.words.len()).then_some(End::OfSequence),
                };
                Said::Piece { piece, end }
            }
            Request::Reset { context } => match contexts.get_mut(&context) {
                Some(held) => {
                    (held.words, held.read, held.said) = (Vec::new(), false, 0);
                    Said::Done
                }
                None => unknown(),
            },
            Request::Close { context } => match contexts.remove(&context) {
                Some(_) => Said::Done,
                None => unknown(),
            },
        }
    }
}

fn unknown() -> Said {
    Said::Failed(LanguageError::Nn(NnError { code: NnCode::InvalidArgument, message: "no such context".into() }))
}
