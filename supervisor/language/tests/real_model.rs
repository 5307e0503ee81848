//! A real model through the real host, beside the same engine in this process: not one token may differ.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use common::Host;
use common::gemma;
use common::gemma_assignment;
use common::greedy;
use edgeguard_language::sampling;
use edgeguard_language::session::BATCH;
use edgeguard_language::sys;
use edgeguard_wire::language::Options;
use edgeguard_wire::language::Sampling;

const STORY: &str = "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is";

/// The engine called by this process: no host, no channel, no lock.
fn native(path: &Path, prompt: &str, options: &Options, threads: u8, most: usize) -> Vec<Vec<u8>> {
    let backend = sys::Backend::start();
    let model = Arc::new(sys::Model::load(backend, File::open(path).unwrap().into()).unwrap().unwrap());
    let pool = sys::Pool::start(backend, threads).unwrap();
    let wanted = sys::Wanted { tokens: options.context.unwrap(), batch: BATCH, embedding: false };
    let Ok(mut context) = sys::Context::open(&model, pool, wanted) else { panic!("no context") };
    let mut sampler = sys::Sampler::make(&model, &sampling::chain(&options.sampling).unwrap(), None).unwrap();
    let tokens = model.tokens(prompt, 1024).unwrap();
    for batch in tokens.chunks(BATCH as usize) {
        assert_eq!(context.decode(batch), sys::Decoded::Done);
    }
    tokens.iter().for_each(|token| sampler.saw(*token));
    let mut pieces = Vec::new();
    while pieces.len() < most {
        let token = sampler.next(&mut context).unwrap();
        pieces.push(model.piece(token, 1024).unwrap());
        if model.ends(token) {
            break;
        }
        assert_eq!(context.decode(&[token]), sys::Decoded::Done);
    }
    pieces
}

fn text(pieces: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&pieces.concat()).into_owned()
}

#[test]
fn the_answer_is_the_engines_own_token_by_token() {
    let Some(path) = gemma() else { return };
    let long = STORY.repeat(12);
    let seeded = Sampling { temperature: Some(0.9), seed: Some(7), repeat_penalty: Some(1.1), ..Sampling::default() };
    let diced = Options { sampling: seeded, ..greedy(1024) };
    for (prompt, options) in [(STORY, &greedy(1024)), (&*long, &greedy(1024)), (STORY, &diced)] {
        let (host, loaded) = Host::serving(&path, &gemma_assignment());
        assert!(loaded.engine.starts_with("llama.cpp "), "{}", loaded.engine);
        assert_eq!(loaded.language.unwrap().embedding, 640);
        let mut worker = host.worker();
        let context = worker.open(options).unwrap();
        let (pieces, _) = worker.answer(context, prompt, 24);
        assert_eq!(text(&pieces), text(&native(&path, prompt, options, 1, 24)));
        assert_eq!(pieces.len(), 24);
        if prompt == STORY && options == &greedy(1024) {
            assert!(text(&pieces).starts_with(" Madrid"), "{}", text(&pieces));
        }
        let (status, log) = host.end();
        assert!(status.success() && log.is_empty(), "{status}: {log}");
    }
}
