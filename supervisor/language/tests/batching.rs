//! Several contexts of one model at the same time: what goes together, what does not, and who waits for whom.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;
use std::time::Instant;

use common::Host;
use common::Worker;
use common::gemma;
use common::gemma_assignment;
use common::greedy;
use edgeguard_wire::graph::Load;
use edgeguard_wire::language::Answer;
use edgeguard_wire::language::Ask;
use edgeguard_wire::language::Bounds;
use edgeguard_wire::language::Options;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::language::Sampling;

const PROMPTS: [&str; 4] = [
    "The capital of France is Paris. The capital of Italy is",
    "Once upon a time there was a king who",
    "One, two, three, four, five, six,",
    "Water boils at one hundred degrees, and it freezes at",
];

fn bounds(contexts: u32) -> Load {
    Load { language: Some(Bounds { context: 1024, contexts }), ..gemma_assignment() }
}

/// Says something and does not wait.
fn say(worker: &mut Worker, what: Request) {
    worker.seq += 1;
    worker.channel.send(&Ask { seq: worker.seq, what }, &[]).unwrap();
}

fn hear(worker: &mut Worker) -> Answer {
    let (answer, _) = worker.channel.recv_within::<Answer>(common::PATIENCE).unwrap();
    assert_eq!(answer.seq, worker.seq);
    answer
}

/// A worker with a context that has read this prompt and given its first token, for which nothing need be computed.
fn ready(host: &Host, prompt: &str, options: &Options) -> (Worker, Vec<u8>) {
    let mut worker = host.worker();
    assert_eq!(worker.open(options).unwrap(), 0);
    worker.prompt(0, prompt).unwrap();
    worker.read(0);
    let (piece, end) = worker.next(0).unwrap();
    assert_eq!(end, None);
    (worker, piece)
}

/// `tokens` more tokens for each at the same time: their texts, the time that passed, and the time that the engine says it took for them.
fn together(workers: &mut [Worker], tokens: usize) -> (Vec<Vec<u8>>, Duration, Duration) {
    let mut texts = vec![Vec::new(); workers.len()];
    let mut engine = Duration::ZERO;
    let begun = Instant::now();
    for _ in 0..tokens {
        for worker in workers.iter_mut() {
            say(worker, Request::Step { context: 0 });
        }
        for (worker, text) in workers.iter_mut().zip(&mut texts) {
            let answer = hear(worker);
            engine += Duration::from_nanos(answer.engine_ns);
            match answer.what {
                Said::Piece { piece, end: None } => text.extend(piece),
                other => panic!("expected a piece, found {other:?}"),
            }
        }
    }
    (texts, begun.elapsed(), engine)
}

#[test]
fn contexts_that_write_at_the_same_time_are_computed_together() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(4));
    let (mut alone, first) = ready(&host, PROMPTS[0], &greedy(256));
    let (texts, one, _) = together(std::slice::from_mut(&mut alone), 12);
    let text = String::from_utf8([first, texts[0].clone()].concat()).unwrap();
    assert!(text.starts_with(" Rome"), "{text}");
    drop(alone);
    let (mut workers, firsts): (Vec<_>, Vec<_>) = PROMPTS.iter().map(|prompt| ready(&host, prompt, &greedy(256))).unzip();
    let (texts, four, engine) = together(&mut workers, 12);
    println!(
        "tokens/s: one context {:.1}, four together {:.1}; engine time over time {:.2}",
        12.0 / one.as_secs_f64(),
        48.0 / four.as_secs_f64(),
        engine.as_secs_f64() / four.as_secs_f64()
    );
    // One thread serves: unless the same compute counts for several, all of them take no longer than the whole.
    assert!(engine > four * 2, "computed one after the other: {engine:?} of the engine in {four:?}");
    for ((first, text), wanted) in firsts.iter().zip(&texts).zip([" Rome", " ", " seven", " "]) {
        let text = String::from_utf8_lossy(&[&**first, text].concat()).into_owned();
        assert!(text.starts_with(wanted), "{text:?} of another's prompt");
    }
}

#[test]
fn a_context_with_a_seed_gets_the_same_answer_whoever_computes_beside_it() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &Load { computes: 2, ..bounds(4) });
    let seeded = Options { sampling: Sampling { temperature: Some(1.2), seed: Some(11), ..Sampling::default() }, ..greedy(256) };
    let (alone, first) = ready(&host, PROMPTS[1], &seeded);
    let mut alone = [alone];
    let (expected, ..) = together(&mut alone, 24);
    drop(alone);
    let others = [&PROMPTS[0], &PROMPTS[2], &PROMPTS[3]].map(|prompt| ready(&host, prompt, &greedy(256)).0);
    let (mine, again) = ready(&host, PROMPTS[1], &seeded);
    let mut all: Vec<Worker> = std::iter::once(mine).chain(others).collect();
    let (texts, ..) = together(&mut all, 24);
    assert_eq!((&again, &texts[0]), (&first, &expected[0]));
}

#[test]
fn a_seat_that_was_anothers_begins_empty() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(2));
    let (kept, _) = ready(&host, PROMPTS[2], &greedy(256));
    let mut kept = [kept];
    let (one, first) = ready(&host, PROMPTS[0], &greedy(256));
    let mut one = [one];
    let (expected, ..) = together(&mut one, 6);
    drop(one);
    // A long text by somebody else, on the same seat; the neighbour has gone on all the while.
    let begun = Instant::now();
    let mut other = host.worker();
    while other.open(&greedy(1024)).is_err() {
        assert!(begun.elapsed() < common::PATIENCE, "the seat of a closed channel stays taken");
    }
    other.prompt(0, &"The secret word is abracadabra. ".repeat(30)).unwrap();
    other.read(0);
    together(&mut kept, 3);
    let expected = [first, expected[0].clone()].concat();
    assert_eq!(other.answer(0, PROMPTS[0], 7).0.concat(), expected, "another prompt in the same context");
    drop(other);
    let mut last = host.worker();
    while last.open(&greedy(256)).is_err() {
        assert!(begun.elapsed() < common::PATIENCE, "the seat of a closed channel stays taken");
    }
    assert_eq!(last.answer(0, PROMPTS[0], 7).0.concat(), expected, "another's context on the same seat");
}

#[test]
fn prompts_and_next_tokens_take_turns() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(4));
    let (mut streaming, _) = ready(&host, PROMPTS[0], &greedy(256));
    let mut readers: Vec<Worker> = (0..3).map(|_| host.worker()).collect();
    for reader in &mut readers {
        reader.open(&greedy(1024)).unwrap();
        reader.prompt(0, &"The quick brown fox jumps over the lazy dog. ".repeat(70)).unwrap();
    }
    readers.iter_mut().for_each(|reader| say(reader, Request::Step { context: 0 }));
    // Three prompts stand before it, and it waits for the one that is under way and no other.
    say(&mut streaming, Request::Step { context: 0 });
    hear(&mut streaming);
    let answered = readers.iter_mut().filter(|reader| reader.channel.recv_within::<Answer>(Duration::from_millis(1)).is_ok()).count();
    println!("{answered} of 3 batches of prompts were read before one token");
    assert!(answered < 3, "one token waited for all the prompts");
}

#[test]
fn a_channel_that_closes_in_an_answer_ends_it_with_the_token_under_way() {
    let Some(path) = gemma() else { return };
    let (host, _) = Host::serving(&path, &bounds(1));
    let (mut worker, _) = ready(&host, PROMPTS[1], &greedy(1024));
    // As a worker does whose guest met its deadline: it asks, and is gone before the answer.
    say(&mut worker, Request::Step { context: 0 });
    drop(worker);
    // The only context there is must come free after one token: what the host computes until then is at most that one.
    let mut next = host.worker();
    let begun = Instant::now();
    let mut refusals = 0;
    while next.open(&greedy(1024)).is_err() {
        refusals += 1;
        assert!(begun.elapsed() < common::PATIENCE, "the context stays taken");
    }
    println!("free after {:?} and {refusals} refusals", begun.elapsed());
    assert_eq!(next.answer(0, PROMPTS[0], 1).0.concat(), b" Rome");
}
