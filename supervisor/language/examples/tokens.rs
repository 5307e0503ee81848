//! What the wall costs: a model behind a confined host beside the same engine in this process, in turns, in one run.
//!
//! `cargo run --release -p edgeguard-language --example tokens -- MODEL.gguf [THREADS [ROUNDS]]`
//! Runs on the developer's machine. The program `edgeguard-language` must lie in the folder above this one's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement that fails, fails")]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use edgeguard_language::sampling;
use edgeguard_language::session::BATCH;
use edgeguard_language::sys;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Engine;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::language::Answer;
use edgeguard_wire::language::Ask;
use edgeguard_wire::language::Bounds;
use edgeguard_wire::language::Options;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::language::Sampling;
use sha2::Digest as _;

const CONTEXT: u32 = 1024;
const TOKENS: usize = 32;
const REGION: usize = 1 << 20;

/// One round: reading the prompt, the first token from the prompt on, and all later tokens.
#[derive(Debug, Clone, Copy)]
struct Round {
    prompt: Duration,
    first: Duration,
    rest: Duration,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().unwrap_or_else(|| panic!("expected a model's file")));
    let threads: u8 = arguments.next().map_or(1, |threads| threads.parse().unwrap());
    let rounds: usize = arguments.next().map_or(7, |rounds| rounds.parse().unwrap());
    let text = "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all. ".repeat(14);
    let mut native = Native::start(&path, threads);
    let mut hosted = Hosted::start(&path, threads);
    let tokens = native.model.tokens(&text, CONTEXT).unwrap().len();
    // A round of each in turns, so that both see the same machine.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (one, other) = (native.round(&text), hosted.round(&text));
        if round > 0 {
            theirs.push(one);
            ours.push(other);
        }
    }
    let rate = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
    let prompt = (median(&theirs, |r| r.prompt), median(&ours, |r| r.prompt));
    let rest = (median(&theirs, |r| r.rest), median(&ours, |r| r.rest));
    let first = (median(&theirs, |r| r.first), median(&ours, |r| r.first));
    println!("{threads} threads, prompt of {tokens} tokens, {} generated, medians of {rounds} rounds in turns", TOKENS - 1);
    println!("             native      behind the wall   ratio");
    let line = |what: &str, count: usize, (native, hosted): (Duration, Duration)| {
        let (native, hosted) = (rate(count, native), rate(count, hosted));
        println!("{what:<10} {native:>7.1}/s   {hosted:>7.1}/s          {:.3}", hosted / native);
    };
    line("prompt", tokens, prompt);
    line("generation", TOKENS - 1, rest);
    let later = first.1.as_secs_f64() - first.0.as_secs_f64();
    println!("first token  {:.1} ms      {:.1} ms          {:+.2} ms", ms(first.0), ms(first.1), later * 1e3);
    println!("resident memory of the host: {}; model file {} MB", hosted.memory(), std::fs::metadata(&path).unwrap().len() / 1_000_000);
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> Duration) -> Duration {
    let mut times: Vec<Duration> = rounds.iter().map(of).collect();
    times.sort();
    times[times.len() / 2]
}

struct Native {
    model: Arc<sys::Model>,
    context: sys::Context,
    sampler: sys::Sampler,
}

impl Native {
    fn start(path: &Path, threads: u8) -> Self {
        let backend = sys::Backend::start();
        let model = Arc::new(sys::Model::load(backend, File::open(path).unwrap().into()).unwrap().unwrap());
        let pool = sys::Pool::start(backend, threads).unwrap();
        let wanted = sys::Wanted { tokens: CONTEXT, batch: BATCH, embedding: false };
        let Ok(context) = sys::Context::open(&model, pool, wanted) else { panic!("no context") };
        let sampler = sys::Sampler::make(&model, &sampling::chain(&greedy()).unwrap(), None).unwrap();
        Self { model, context, sampler }
    }

    fn round(&mut self, text: &str) -> Round {
        self.context.clear();
        let begun = Instant::now();
        for batch in self.model.tokens(text, CONTEXT).unwrap().chunks(BATCH as usize) {
            assert_eq!(self.context.decode(batch), sys::Decoded::Done);
        }
        let prompt = begun.elapsed();
        let mut token = self.sampler.next(&mut self.context).unwrap();
        let first = begun.elapsed();
        for _ in 1..TOKENS {
            assert_eq!(self.context.decode(&[token]), sys::Decoded::Done);
            token = self.sampler.next(&mut self.context).unwrap();
            std::hint::black_box(self.model.piece(token, 1024));
        }
        Round { prompt, first, rest: begun.elapsed() - first }
    }
}

struct Hosted {
    child: edgeguard_sandbox::Child,
    /// Closing it ends the host.
    _control: Channel,
    channel: Channel,
    region: SharedMemory,
    seq: u64,
}

impl Hosted {
    fn start(path: &Path, threads: u8) -> Self {
        let (control, theirs) = Channel::pair().unwrap();
        let log = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
        let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("edgeguard-language");
        let child = edgeguard_sandbox::spawn(&program, theirs.into_fd(), log).unwrap();
        let load = Load {
            sha256: sha2::Sha256::digest(std::fs::read(path).unwrap()).into(),
            weights: None,
            encoding: Encoding::Gguf,
            target: Target::Cpu,
            engine: Engine::LlamaCpp,
            computes: 1,
            threads: threads.into(),
            language: Some(Bounds { context: CONTEXT, contexts: 1 }),
            memory: None,
            landlock_floor: 1,
        };
        control.send(&ToGraph::Load(Box::new(load)), &[File::open(path).unwrap().as_fd()]).unwrap();
        let (FromGraph::Confined(_), _) = control.recv().unwrap() else { panic!("not confined") };
        control.send(&ToGraph::Run, &[]).unwrap();
        let (FromGraph::Loaded(loaded), _) = control.recv().unwrap() else { panic!("not loaded") };
        println!("{}, loaded in {} ms", loaded.engine, loaded.load_ns / 1_000_000);
        let (channel, theirs) = Channel::pair().unwrap();
        let (region, fd) = SharedMemory::create("tensors", REGION).unwrap();
        control.send(&ToGraph::Channel { region: REGION as u64 }, &[theirs.as_fd(), fd.as_fd()]).unwrap();
        let mut hosted = Self { child, _control: control, channel, region, seq: 0 };
        let options = Options { context: Some(CONTEXT), embedding: false, sampling: greedy() };
        let Said::Opened { context: 0 } = hosted.ask(Request::Open(options)) else { panic!("not opened") };
        hosted
    }

    fn ask(&mut self, what: Request) -> Said {
        self.seq += 1;
        self.channel.send(&Ask { seq: self.seq, what }, &[]).unwrap();
        self.channel.recv::<Answer>().unwrap().0.what
    }

    fn round(&mut self, text: &str) -> Round {
        let begun = Instant::now();
        self.region.write(0, text.as_bytes()).unwrap();
        let Said::Prompted { .. } = self.ask(Request::Prompt { context: 0, len: text.len() as u64 }) else { panic!("no prompt") };
        while let Said::Reading { left: 1.. } = self.ask(Request::Step { context: 0 }) {}
        let prompt = begun.elapsed();
        let mut first = prompt;
        for at in 0..TOKENS {
            let Said::Piece { end: None, .. } = self.ask(Request::Step { context: 0 }) else { panic!("no piece") };
            if at == 0 {
                first = begun.elapsed();
            }
        }
        Round { prompt, first, rest: begun.elapsed() - first }
    }

    fn memory(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.pid())).unwrap();
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
        format!("{} (anonymous {}, file {})", line("VmRSS:"), line("RssAnon:"), line("RssFile:"))
    }
}

fn greedy() -> Sampling {
    Sampling { temperature: Some(0.0), ..Sampling::default() }
}
