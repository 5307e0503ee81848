//! What a worker gets from a language host: the real program, confined, over its real channels, with a real model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd as _;

use common::Host;
use common::gemma;
use common::gemma_assignment;
use common::greedy;
use edgeguard_wire::graph::Load;
use edgeguard_wire::language::Ask;
use edgeguard_wire::language::Bounds;
use edgeguard_wire::language::End;
use edgeguard_wire::language::LanguageError;
use edgeguard_wire::language::Options;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::language::Sampling;
use edgeguard_wire::tensor::NnCode;

const PROMPT: &str = "The capital of France is Paris. The capital of Italy is";

fn bounds(context: u32, contexts: u32) -> Load {
    Load { language: Some(Bounds { context, contexts }), ..gemma_assignment() }
}

fn text(pieces: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&pieces.concat()).into_owned()
}

fn refused<T: std::fmt::Debug>(result: Result<T, LanguageError>) -> (NnCode, String) {
    match result.unwrap_err() {
        LanguageError::Nn(error) => (error.code, error.message),
        other => panic!("expected an error of the standard's, found {other:?}"),
    }
}

#[test]
fn contexts_answer_apart_and_in_turns() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &Load { computes: 2, ..bounds(512, 3) });
    let (mut one, mut other) = (host.worker(), host.worker());
    let alone: Vec<String> = ["Once upon a time", PROMPT]
        .map(|prompt| {
            let context = one.open(&greedy(512)).unwrap();
            let (pieces, _) = one.answer(context, prompt, 12);
            assert!(matches!(one.ask(Request::Close { context }), Said::Done));
            text(&pieces)
        })
        .into();
    assert!(alone[1].starts_with(" Rome"), "{alone:?}");

    // Two contexts of one channel and one of another, a step of each in turns.
    let first = one.open(&greedy(512)).unwrap();
    let second = one.open(&greedy(512)).unwrap();
    let third = other.open(&greedy(512)).unwrap();
    assert_eq!((first, second, third), (0, 1, 0), "numbers are the channel's own");
    assert_eq!(one.open(&greedy(512)).unwrap_err(), LanguageError::Busy(3));
    one.prompt(first, "Once upon a time").unwrap();
    one.prompt(second, PROMPT).unwrap();
    other.prompt(third, PROMPT).unwrap();
    one.read(first);
    one.read(second);
    other.read(third);
    let mut texts = [vec![], vec![], vec![]];
    for _ in 0..12 {
        texts[0].push(one.next(first).unwrap().0);
        texts[1].push(one.next(second).unwrap().0);
        texts[2].push(other.next(third).unwrap().0);
    }
    assert_eq!(text(&texts[0]), alone[0]);
    assert_eq!(text(&texts[1]), alone[1]);
    assert_eq!(text(&texts[2]), alone[1]);

    // A channel that closes frees its contexts.
    drop(one);
    let begun = std::time::Instant::now();
    while other.open(&greedy(64)).is_err() {
        assert!(begun.elapsed() < common::PATIENCE, "contexts of a closed channel stay open");
    }
    let (status, log) = host.end();
    assert!(status.success() && log.is_empty(), "{status}: {log}");
}

#[test]
fn a_prompt_is_read_in_batches_and_takes_the_place_of_the_one_before() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(1024, 1));
    let mut worker = host.worker();
    let context = worker.open(&greedy(1024)).unwrap();
    let (short, _) = worker.answer(context, PROMPT, 6);
    let tokens = worker.prompt(context, &PROMPT.repeat(20)).unwrap();
    assert_eq!(worker.read(context), tokens.div_ceil(128));
    assert_eq!(worker.answer(context, PROMPT, 6).0, short, "nothing of the long prompt is left");
    assert!(matches!(worker.ask(Request::Reset { context }), Said::Done));
    assert_eq!(refused(worker.next(context)), (NnCode::InvalidArgument, "there is no prompt".into()));
    assert_eq!(worker.answer(context, PROMPT, 6).0, short);
    // Special tokens that stand in a prompt are what they say: two more than the text alone has.
    let plain = worker.prompt(context, "hello").unwrap();
    assert_eq!(worker.prompt(context, "<start_of_turn>hello<end_of_turn>").unwrap(), plain + 2);
}

#[test]
fn an_answer_ends_where_the_context_is_full() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(1024, 1));
    let mut worker = host.worker();
    let context = worker.open(&greedy(24)).unwrap();
    let tokens = worker.prompt(context, PROMPT).unwrap();
    assert!(tokens < 20);
    worker.read(context);
    let mut pieces = 0;
    let end = loop {
        let (_, end) = worker.next(context).unwrap();
        pieces += 1;
        if end.is_some() {
            break end;
        }
    };
    // The last piece need not be read any more, so it takes no room.
    assert_eq!((end, pieces), (Some(End::ContextFull), 24 - tokens + 1));
    assert_eq!(refused(worker.next(context)).1, "the answer has ended: it takes another prompt");
    let LanguageError::PromptTooLong { found, room: 20 } = worker.prompt(context, &PROMPT.repeat(2)).unwrap_err() else {
        panic!("a prompt that does not fit is taken")
    };
    assert!(found > 20, "{found}");
    assert_eq!(refused(worker.prompt(context, &"a".repeat(24 * 64 + 1))).0, NnCode::TooLarge);
    assert_eq!(worker.prompt(context, PROMPT).unwrap(), tokens, "and the context goes on");
}

#[test]
fn an_answer_ends_where_the_model_says_so_with_the_token_that_says_it() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(1024, 1));
    let mut worker = host.worker();
    // Once the grammar is satisfied, the only token left is one that ends the answer.
    let sampling = Sampling { temperature: Some(0.0), grammar: Some("root ::= \"yes\" | \"no\"".into()), ..Sampling::default() };
    let context = worker.open(&Options { sampling, ..greedy(256) }).unwrap();
    for _ in 0..2 {
        let (pieces, end) = worker.answer(context, "Is Rome in Italy? Answer yes or no: ", 12);
        assert_eq!(end, Some(End::OfSequence));
        let (last, said) = pieces.split_last().unwrap();
        assert!(["yes", "no"].contains(&&*text(said)), "{pieces:?}");
        assert!(!last.is_empty(), "the piece that ends it is there");
    }
}

/// The grammar is what the worker makes of a JSON schema; its tests hold the two together.
#[test]
fn an_answer_keeps_to_the_grammar_of_a_schema_to_its_end() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(1024, 1));
    let mut worker = host.worker();
    let grammar = include_str!("common/city.gbnf").to_owned();
    for seed in 0..3 {
        let sampling = Sampling { temperature: Some(1.0), seed: Some(seed), grammar: Some(grammar.clone()), ..Sampling::default() };
        let context = worker.open(&Options { sampling, ..greedy(1024) }).unwrap();
        let (pieces, end) = worker.answer(context, "A JSON object about the city of Turin:", 400);
        assert_eq!(end, Some(End::OfSequence), "{}", text(&pieces));
        let (_, said) = pieces.split_last().unwrap();
        let said = text(said);
        println!("{said}");
        let keys: Vec<usize> =
            ["\"capital\":", "\"city\":", "\"founded\":", "\"near\":", "\"people\":"].map(|key| said.find(key).unwrap()).into();
        assert!(said.starts_with('{') && said.ends_with('}') && keys.is_sorted(), "{said}");
        assert!(matches!(worker.ask(Request::Close { context }), Said::Done));
    }
}

#[test]
fn seeds_decide_and_options_out_of_bounds_are_refused() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(256, 1));
    let mut worker = host.worker();
    let mut with = |seed| {
        let sampling = Sampling { temperature: Some(1.5), top_p: Some(1.0), min_p: Some(0.0), seed: Some(seed), ..Sampling::default() };
        let context = worker.open(&Options { sampling, ..greedy(128) }).unwrap();
        let answers = [worker.answer(context, "Once", 12).0, worker.answer(context, "Once", 12).0];
        assert!(matches!(worker.ask(Request::Close { context }), Said::Done));
        assert_eq!(answers[0], answers[1], "the same seed, the same answer");
        answers[0].clone()
    };
    assert_ne!(with(1), with(2));
    for (options, message) in [
        (Options { context: Some(257), ..Options::default() }, "a context of 257 tokens, expected 8 to 256"),
        (Options { context: Some(0), ..Options::default() }, "a context of 0 tokens, expected 8 to 256"),
        (
            Options { sampling: Sampling { top_p: Some(-1.0), ..Sampling::default() }, ..Options::default() },
            "`top_p` is -1, expected 0 to 1",
        ),
    ] {
        assert_eq!(refused(worker.open(&options)), (NnCode::InvalidArgument, message.into()));
    }
    for grammar in ["root ::= root \"a\"", "other ::= \"a\"", "root ::= [", "root ::= undefined", "\u{0}"] {
        let sampling = Sampling { grammar: Some(grammar.into()), ..Sampling::default() };
        let opened = worker.open(&Options { sampling, ..Options::default() });
        assert!(opened.is_err(), "{grammar:?} is taken");
        let found = refused(opened);
        assert!(found.0 == NnCode::InvalidArgument && found.1.starts_with("grammar "), "{grammar:?}: {found:?}");
    }
    // None of the refused took a context away.
    assert!(worker.open(&greedy(256)).is_ok());
}

#[test]
fn embeddings_have_length_one_and_tell_texts_apart() {
    let Some(path) = gemma() else { return };
    let (host, loaded) = Host::serving(&path, &bounds(1024, 1));
    let numbers = loaded.language.unwrap().embedding;
    let mut worker = host.worker();
    let context = worker.open(&Options { embedding: true, ..greedy(1024) }).unwrap();
    let mut embed = |text: &str| {
        worker.prompt(context, text).unwrap();
        loop {
            match worker.ask(Request::Step { context }) {
                Said::Reading { .. } => {}
                Said::Embedded { numbers: found } => {
                    assert_eq!(found, numbers);
                    let mut bytes = vec![0; numbers as usize * 4];
                    worker.region.read(worker.region.len() / 2, &mut bytes).unwrap();
                    return bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>();
                }
                other => panic!("expected an embedding, found {other:?}"),
            }
        }
    };
    let texts = ["A cat sits on the mat.", "A kitten is sitting on the rug.", "The central bank raised interest rates."];
    let all = texts.map(&mut embed);
    let likeness = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    assert!(all.iter().all(|one| (likeness(one, one) - 1.0).abs() < 1e-4));
    assert!(likeness(&all[0], &all[1]) > likeness(&all[0], &all[2]) + 0.01);
    assert_eq!(embed(texts[0]), all[0], "bit for bit");
    // Longer than a batch.
    assert_eq!(embed(&texts[0].repeat(60)).len(), numbers as usize);
    assert_eq!(refused(worker.next(context)).0, NnCode::InvalidArgument);
}

#[test]
fn requests_that_make_no_sense_are_errors_and_frames_that_make_none_close_the_channel() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(256, 1));
    let mut worker = host.worker();
    for what in [
        Request::Step { context: 0 },
        Request::Reset { context: 0 },
        Request::Close { context: u32::MAX },
        Request::Prompt { context: 31, len: 1 },
    ] {
        let Said::Failed(error) = worker.ask(what.clone()) else { panic!("carried out: {what:?}") };
        assert_eq!(refused(Err::<(), _>(error)).0, NnCode::InvalidArgument, "{what:?}");
    }
    let context = worker.open(&greedy(256)).unwrap();
    assert_eq!(refused(worker.next(context)), (NnCode::InvalidArgument, "there is no prompt".into()));
    worker.region.write(0, b"\xff\xfe").unwrap();
    for (len, code) in [(2, NnCode::InvalidArgument), (common::REGION / 2 + 1, NnCode::TooLarge), (u64::MAX, NnCode::TooLarge)] {
        let Said::Failed(error) = worker.ask(Request::Prompt { context, len }) else { panic!("taken: {len} bytes") };
        assert_eq!(refused(Err::<(), _>(error)).0, code);
    }
    let mut other = host.worker();
    worker.channel.send(&vec![u8::MAX; 64], &[]).unwrap();
    assert!(worker.try_ask(Request::Step { context }).is_err(), "a frame of nonsense is answered");
    let mut third = host.worker();
    third.channel.send(&Ask { seq: 1, what: Request::Step { context: 0 } }, &[third.channel.as_fd()]).unwrap();
    assert!(third.try_ask(Request::Step { context: 0 }).is_err(), "a descriptor is taken");
    // The context of the lost channel is free, and the neighbour goes on.
    let begun = std::time::Instant::now();
    while other.open(&greedy(256)).is_err() {
        assert!(begun.elapsed() < common::PATIENCE, "the context of a lost channel stays open");
    }
    assert_eq!(other.answer(0, PROMPT, 2).0.len(), 2);
}

#[test]
fn a_host_that_is_killed_in_an_answer_costs_an_error_and_no_wait() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(256, 1));
    let mut worker = host.worker();
    let context = worker.open(&greedy(256)).unwrap();
    assert_eq!(worker.answer(context, PROMPT, 3).0.len(), 3);
    worker.channel.send(&Ask { seq: 99, what: Request::Step { context } }, &[]).unwrap();
    host.child.kill().unwrap();
    let begun = std::time::Instant::now();
    while worker.try_ask(Request::Step { context: 7 }).is_ok_and(|_| true) {}
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}
