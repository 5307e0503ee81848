//! A language model in the product's own engine, called in this process.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use edgeguard_language::sampling;
use edgeguard_language::session::BATCH;
use edgeguard_language::sys;
use edgeguard_wire::language::Sampling;
use serde_json::json;

use crate::Measured;
use crate::nanos;

/// For each turn: from the prompt to the first token, and from there to the last of `tokens`.
pub fn turns(model: &str, threads: &str, tokens: &str, prompt: &str) -> Measured {
    let (threads, tokens) = (threads.parse::<u8>()?, tokens.parse::<u32>()?);
    let backend = sys::Backend::start();
    let model = Arc::new(sys::Model::load(backend, File::open(model)?.into())?.ok_or("no language model")?);
    let pool = sys::Pool::start(backend, threads).ok_or("no threads")?;
    let wanted = sys::Wanted { tokens: CONTEXT, batch: BATCH, embedding: false };
    let Ok(mut context) = sys::Context::open(&model, pool, wanted) else { return Err("no context".into()) };
    let greedy = Sampling { temperature: Some(0.0), ..Sampling::default() };
    let chain = sampling::chain(&greedy).map_err(|error| format!("{error:?}"))?;
    let Some(mut sampler) = sys::Sampler::make(&model, &chain, None) else { return Err("no sampler".into()) };
    crate::turns(|| {
        context.clear();
        let begun = Instant::now();
        let words = model.tokens(prompt, CONTEXT).map_err(|found| format!("the prompt has {found} tokens, expected at most {CONTEXT}"))?;
        for batch in words.chunks(BATCH as usize) {
            decode(&mut context, batch)?;
        }
        let mut token = sampler.next(&mut context).ok_or("no token")?;
        let mut piece = model.piece(token, PIECE);
        let first = begun.elapsed();
        for _ in 1..tokens {
            decode(&mut context, &[token])?;
            token = sampler.next(&mut context).ok_or("no token")?;
            piece = model.piece(token, PIECE);
        }
        std::hint::black_box(piece);
        Ok(json!({ "prompt_tokens": words.len(), "first_ns": nanos(first), "rest_ns": nanos(begun.elapsed() - first) }))
    })
}

fn decode(context: &mut sys::Context, tokens: &[sys::Token]) -> Result<(), &'static str> {
    if context.decode(tokens) == sys::Decoded::Done { Ok(()) } else { Err("the model does not decode") }
}

/// Tokens of the context, as the policy of the module beside it has them.
const CONTEXT: u32 = 512;

/// Bytes of the longest piece.
const PIECE: usize = 1024;
