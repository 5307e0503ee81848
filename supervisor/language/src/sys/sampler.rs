//! From the numbers that a model computes to the one token that is taken.
//!
//! Runs in: language host.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::Context;
use super::Model;
use super::Token;

/// How the next token is chosen. All numbers are finite and within the bounds that llama.cpp states; `crate::sampling` is where that is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Tokens that count as having been there before.
    pub penalty_last: i32,
    /// Factor against those; 1 is none.
    pub penalty_repeat: f32,
    /// Subtracted for each time.
    pub penalty_frequency: f32,
    /// Subtracted where it was there.
    pub penalty_presence: f32,
    /// Of the likeliest tokens, so many; 0 is all.
    pub top_k: i32,
    /// Of the likeliest tokens, those that make up this share.
    pub top_p: f32,
    /// Tokens at least this likely, relative to the likeliest.
    pub min_p: f32,
    /// 0 always takes the likeliest.
    pub temperature: f32,
    /// Of the dice.
    pub seed: u32,
}

/// A chain of samplers, and the grammar that the answer keeps to.
#[derive(Debug)]
pub struct Sampler {
    chain: NonNull<sys::llama_sampler>,
    grammar: Option<NonNull<sys::llama_sampler>>,
    candidates: Vec<sys::llama_token_data>,
    model: Arc<Model>,
}

// SAFETY: a sampler has no thread of its own and is used through `&mut self` only.
unsafe impl Send for Sampler {}

impl Sampler {
    /// Makes one, in llama.cpp's own order: penalties, then what cuts off the unlikely, then the temperature. `None` for a grammar that does not parse.
    pub fn make(model: &Arc<Model>, chain: &Chain, grammar: Option<&str>) -> Option<Self> {
        let grammar = match grammar {
            Some(text) => Some(parsed(model, text)?),
            None => None,
        };
        // SAFETY: each sampler is made by the library and handed to the chain, which frees it; the chain is freed on drop.
        let made = unsafe {
            let all = sys::llama_sampler_chain_init(sys::llama_sampler_chain_default_params());
            let add = |sampler| sys::llama_sampler_chain_add(all, sampler);
            let vocabulary = i32::try_from(model.vocabulary()).unwrap_or(0);
            if (chain.penalty_repeat, chain.penalty_frequency, chain.penalty_presence) != (1.0, 0.0, 0.0) {
                let Chain { penalty_last, penalty_repeat, penalty_frequency, penalty_presence, .. } = *chain;
                add(sys::llama_sampler_init_penalties(vocabulary, penalty_last, penalty_repeat, penalty_frequency, penalty_presence));
            }
            if chain.temperature == 0.0 {
                add(sys::llama_sampler_init_greedy());
            } else {
                add(sys::llama_sampler_init_top_k(chain.top_k));
                add(sys::llama_sampler_init_top_p(chain.top_p, 1));
                add(sys::llama_sampler_init_min_p(chain.min_p, 1));
                add(sys::llama_sampler_init_temp(chain.temperature));
                add(sys::llama_sampler_init_dist(chain.seed));
            }
            all
        };
        Some(Self { chain: NonNull::new(made)?, grammar, candidates: Vec::new(), model: Arc::clone(model) })
    }

    /// Begins anew: nothing was there before, and the dice are at their seed.
    pub fn reset(&mut self) {
        // SAFETY: both are alive.
        unsafe {
            sys::llama_sampler_reset(self.chain.as_ptr());
            if let Some(grammar) = self.grammar {
                sys::llama_sampler_reset(grammar.as_ptr());
            }
        }
    }

    /// Counts a token of the prompt as having been there.
    pub fn saw(&mut self, token: Token) {
        // SAFETY: the token came from this sampler's model. A grammar is not told: it is about the answer.
        unsafe { sys::llama_sampler_accept(self.chain.as_ptr(), token.0) };
    }

    /// Takes the next token after the last that `context` decoded. `None` if the grammar has none that the model knows, or the context has no numbers.
    pub fn next(&mut self, context: &mut Context) -> Option<Token> {
        if !Arc::ptr_eq(&self.model, context.model()) {
            return None;
        }
        self.pick(context.last_numbers()?)
    }

    /// Takes the next token by what a context of the same model said of it: a number for each token of the vocabulary. `None` as [`Sampler::next`] has it.
    pub fn pick(&mut self, numbers: &[f32]) -> Option<Token> {
        if numbers.len() != self.model.vocabulary() as usize {
            return None;
        }
        let mut token = self.choose(numbers, false)?;
        // As llama.cpp does it: the grammar looks at all tokens only where the one that would be taken does not keep to it.
        if !self.keeps(token) {
            token = self.choose(numbers, true)?;
            if !self.keeps(token) {
                return None;
            }
        }
        // SAFETY: the token is of this model, and the grammar, where there is one, has just said that it takes it.
        unsafe {
            if let Some(grammar) = self.grammar {
                sys::llama_sampler_accept(grammar.as_ptr(), token.0);
            }
            sys::llama_sampler_accept(self.chain.as_ptr(), token.0);
        }
        Some(token)
    }

    fn choose(&mut self, numbers: &[f32], by_grammar: bool) -> Option<Token> {
        self.candidates.clear();
        self.candidates.extend((0..).zip(numbers).map(|(id, logit)| sys::llama_token_data { id, logit: *logit, p: 0.0 }));
        let mut array =
            sys::llama_token_data_array { data: self.candidates.as_mut_ptr(), size: self.candidates.len(), selected: -1, sorted: false };
        // SAFETY: the array is the candidates, with their true length; samplers reorder and shorten it in place.
        unsafe {
            if let Some(grammar) = self.grammar.filter(|_| by_grammar) {
                sys::llama_sampler_apply(grammar.as_ptr(), &raw mut array);
            }
            sys::llama_sampler_apply(self.chain.as_ptr(), &raw mut array);
        }
        if array.data != self.candidates.as_mut_ptr() || array.size > self.candidates.len() {
            return None;
        }
        let selected = usize::try_from(array.selected).ok().filter(|at| *at < array.size)?;
        self.candidates.get(selected).map(|candidate| Token(candidate.id))
    }

    fn keeps(&self, token: Token) -> bool {
        let Some(grammar) = self.grammar else { return true };
        let mut one = sys::llama_token_data { id: token.0, logit: 1.0, p: 0.0 };
        let mut array = sys::llama_token_data_array { data: &raw mut one, size: 1, selected: -1, sorted: false };
        // SAFETY: an array of one, which lives through the call.
        unsafe { sys::llama_sampler_apply(grammar.as_ptr(), &raw mut array) };
        one.logit != f32::NEG_INFINITY
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // SAFETY: both were made by `make` and are freed here and nowhere else; the model, whose vocabulary the grammar uses, is still held.
        unsafe {
            sys::llama_sampler_free(self.chain.as_ptr());
            if let Some(grammar) = self.grammar {
                sys::llama_sampler_free(grammar.as_ptr());
            }
        }
    }
}

fn parsed(model: &Arc<Model>, text: &str) -> Option<NonNull<sys::llama_sampler>> {
    let text = CString::new(text).ok()?;
    // SAFETY: both strings end with a zero and are only read during the call; the vocabulary lives as long as the model, which the sampler will hold.
    NonNull::new(unsafe { sys::llama_sampler_init_grammar(model.vocab(), text.as_ptr(), c"root".as_ptr()) })
}
