//! A daemon and workers for the tests: they start the real program, confined, and speak the real dialogue with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test program uses its part")]

pub mod tiny;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use edgeguard_sandbox::Child;
use edgeguard_sandbox::Report;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Engine;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Loaded;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::language::Answer;
use edgeguard_wire::language::Ask;
use edgeguard_wire::language::Bounds;
use edgeguard_wire::language::End;
use edgeguard_wire::language::LanguageError;
use edgeguard_wire::language::Options;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::language::Sampling;
use sha2::Digest as _;

/// Far beyond anything that happens in a healthy test, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of a worker's region.
pub const REGION: u64 = 1 << 20;

/// The real model, of 253 MB, with which `cargo xtask models` fills `target/models`.
pub const GEMMA: &str = "gemma-3-270m-q4_k_m.gguf";
/// Its digest, as its publisher states it.
pub const GEMMA_SHA256: &str = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818";

/// The model's file, for one test at a time: hosts that compete for the processors take many times as long together as one after the other.
pub struct Gemma {
    path: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl std::ops::Deref for Gemma {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// The model's file, or a reason why there is none.
pub fn gemma() -> Option<Gemma> {
    static ALONE: Mutex<()> = Mutex::new(());
    let folder = std::env::var_os("EDGEGUARD_TEST_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models")), PathBuf::from);
    let path = folder.join(GEMMA);
    if path.exists() {
        return Some(Gemma { path, _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner) });
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have `{GEMMA}` in `target/models`: `cargo xtask models --language`");
    eprintln!("skipped: `{GEMMA}` is not in `target/models`: `cargo xtask models --language` fetches it");
    None
}

/// A started host.
pub struct Host {
    pub child: Child,
    pub control: Channel,
    log: Option<OwnedFd>,
}

/// What came of a model.
#[derive(Debug)]
pub enum Outcome {
    Loaded(Loaded),
    Failed(String),
    /// The process ended.
    Gone,
}

impl Host {
    /// Starts the program; nothing is said yet.
    pub fn start() -> Self {
        let (control, theirs) = Channel::pair().unwrap();
        let (log, theirs_log) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_edgeguard-language"));
        let child = edgeguard_sandbox::spawn(program, theirs.into_fd(), theirs_log).unwrap();
        Self { child, control, log: Some(log) }
    }

    /// Hands over a model and waits until the host is confined.
    pub fn load(&self, model: BorrowedFd<'_>, load: &Load) -> Report {
        self.control.send(&ToGraph::Load(Box::new(load.clone())), &[model]).unwrap();
        match self.control.recv_within(PATIENCE) {
            Ok((FromGraph::Confined(report), _)) => *report,
            Ok((other, _)) => panic!("expected `confined`, found {other:?}"),
            Err(error) => panic!("host does not start: {error}; its log says: {}", self.log_so_far()),
        }
    }

    /// Lets it parse.
    pub fn go(&self) -> Outcome {
        self.control.send(&ToGraph::Run, &[]).unwrap();
        match self.control.recv_within(PATIENCE) {
            Ok((FromGraph::Loaded(loaded), _)) => Outcome::Loaded(loaded),
            Ok((FromGraph::Failed { reason }, _)) => Outcome::Failed(reason),
            Ok((other, _)) => panic!("expected `loaded` or `failed`, found {other:?}"),
            Err(ChannelError::Closed) => Outcome::Gone,
            Err(error) => panic!("host does not answer: {error}"),
        }
    }

    /// Starts a host that serves the model at `path`.
    pub fn serving(path: &Path, load: &Load) -> (Self, Loaded) {
        let host = Self::start();
        host.load(File::open(path).unwrap().as_fd(), load);
        match host.go() {
            Outcome::Loaded(loaded) => (host, loaded),
            Outcome::Failed(reason) => panic!("model refused: {reason}"),
            Outcome::Gone => panic!("host is gone; its log says: {}", host.log_so_far()),
        }
    }

    /// A worker's end of a new channel.
    pub fn worker(&self) -> Worker {
        let (channel, theirs) = Channel::pair().unwrap();
        let (region, fd) = SharedMemory::create("tensors", usize::try_from(REGION).unwrap()).unwrap();
        self.control.send(&ToGraph::Channel { region: REGION }, &[theirs.as_fd(), fd.as_fd()]).unwrap();
        Worker { channel, region, seq: 0, engine_ns: 0 }
    }

    /// Closes the control socket, as a daemon does that has no more use for the host, and returns how it ended and its log.
    pub fn end(self) -> (std::process::ExitStatus, String) {
        let Self { mut child, control, mut log } = self;
        drop(control);
        let status = child.wait().unwrap();
        let mut text = String::new();
        File::from(log.take().unwrap()).read_to_string(&mut text).unwrap();
        (status, text)
    }

    /// What it wrote, at its end: it is killed first.
    pub fn log_so_far(&self) -> String {
        let _ = self.child.kill();
        let mut bytes = vec![0; 65536];
        let read = rustix::io::read(self.log.as_ref().unwrap(), &mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }
}

/// A worker's end of one channel.
pub struct Worker {
    pub channel: Channel,
    pub region: SharedMemory,
    pub seq: u64,
    /// Of the last answer.
    pub engine_ns: u64,
}

impl Worker {
    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, what: Request) -> Said {
        self.try_ask(what).unwrap()
    }

    /// The same where the host may be gone.
    pub fn try_ask(&mut self, what: Request) -> Result<Said, ChannelError> {
        self.seq += 1;
        self.channel.send(&Ask { seq: self.seq, what }, &[])?;
        let (answer, fds) = self.channel.recv_within::<Answer>(PATIENCE)?;
        assert!(fds.is_empty());
        assert_eq!(answer.seq, self.seq);
        self.engine_ns = answer.engine_ns;
        Ok(answer.what)
    }

    pub fn open(&mut self, options: &Options) -> Result<u32, LanguageError> {
        match self.ask(Request::Open(options.clone())) {
            Said::Opened { context } => Ok(context),
            Said::Failed(error) => Err(error),
            other => panic!("expected `opened`, found {other:?}"),
        }
    }

    pub fn prompt(&mut self, context: u32, text: &str) -> Result<u32, LanguageError> {
        self.region.write(0, text.as_bytes()).unwrap();
        match self.ask(Request::Prompt { context, len: text.len() as u64 }) {
            Said::Prompted { tokens } => Ok(tokens),
            Said::Failed(error) => Err(error),
            other => panic!("expected `prompted`, found {other:?}"),
        }
    }

    /// Steps over the whole prompt, and says in how many.
    pub fn read(&mut self, context: u32) -> u32 {
        for steps in 1.. {
            match self.ask(Request::Step { context }) {
                Said::Reading { left: 0 } => return steps,
                Said::Reading { .. } => {}
                other => panic!("expected `reading`, found {other:?}"),
            }
        }
        unreachable!("prompts are finite")
    }

    pub fn next(&mut self, context: u32) -> Result<(Vec<u8>, Option<End>), LanguageError> {
        match self.ask(Request::Step { context }) {
            Said::Piece { piece, end } => Ok((piece, end)),
            Said::Failed(error) => Err(error),
            other => panic!("expected a piece, found {other:?}"),
        }
    }

    /// Up to `most` pieces of the answer to `text`.
    pub fn answer(&mut self, context: u32, text: &str, most: usize) -> (Vec<Vec<u8>>, Option<End>) {
        self.prompt(context, text).unwrap();
        self.read(context);
        let mut pieces = Vec::new();
        while pieces.len() < most {
            let (piece, end) = self.next(context).unwrap();
            pieces.push(piece);
            if end.is_some() {
                return (pieces, end);
            }
        }
        (pieces, None)
    }
}

/// The likeliest token always.
pub fn greedy(context: u32) -> Options {
    let sampling = Sampling { temperature: Some(0.0), ..Sampling::default() };
    Options { context: Some(context), embedding: false, sampling }
}

/// One context of 1024 tokens, one thread.
pub fn assignment(sha256: [u8; 32]) -> Load {
    Load {
        sha256,
        weights: None,
        encoding: Encoding::Gguf,
        target: Target::Cpu,
        engine: Engine::LlamaCpp,
        computes: 1,
        threads: 1,
        language: Some(Bounds { context: 1024, contexts: 1 }),
        memory: None,
        landlock_floor: 1,
    }
}

/// The same for the real model.
pub fn gemma_assignment() -> Load {
    let digest = (0..32).map(|at| u8::from_str_radix(&GEMMA_SHA256[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<_>>();
    assignment(digest.try_into().unwrap())
}

pub fn digest(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// A file that nobody else can name.
pub fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}
