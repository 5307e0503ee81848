//! A daemon's part, for tests: compiles modules, starts a worker, gives it an assignment, and reads its rings.
//!
//! Everything is real: the processes, their sandbox, the frames, the rings. Only graph hosts are played, by a thread of the test.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test fails by panicking, and no test uses all of this")]

pub mod parrot;

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use edgeguard_audit::Consumer;
use edgeguard_audit::RING_LEN;
use edgeguard_audit::Record;
use edgeguard_sandbox::Access;
use edgeguard_sandbox::Child;
use edgeguard_sandbox::Report;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::compile::FromCompile;
use edgeguard_wire::compile::ToCompile;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::language::LanguageModel;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::worker::Assignment;
use edgeguard_wire::worker::Dir;
use edgeguard_wire::worker::Finished;
use edgeguard_wire::worker::FromWorker;
use edgeguard_wire::worker::Graph;
use edgeguard_wire::worker::Http;
use edgeguard_wire::worker::Invocation;
use edgeguard_wire::worker::Limits;
use edgeguard_wire::worker::ModuleKind;
use edgeguard_wire::worker::Outcome;
use edgeguard_wire::worker::Quota;
use edgeguard_wire::worker::ToWorker;
use rustix::event::EventfdFlags;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;

/// Long enough for a loaded machine; reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where the binaries lie: side by side.
pub fn binary(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_edgeguard-worker")).with_file_name(name);
    assert!(path.exists(), "`{}` is missing; run `cargo build --release -p {name}` first", path.display());
    path
}

/// A started child with its channel. Its log goes where the test's goes.
pub struct Process {
    pub child: Child,
    pub control: Channel,
}

impl Process {
    pub fn start(program: &Path) -> Self {
        let (ours, theirs) = Channel::pair().unwrap();
        let log = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
        let child = edgeguard_sandbox::spawn(program, theirs.into_fd(), log).unwrap();
        Self { child, control: ours }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Native code, as the cache would hold it.
#[derive(Debug)]
pub struct Native {
    pub kind: ModuleKind,
    pub code: OwnedFd,
}

/// Compiles a binary module in a real compiler; the answer when there is no code.
pub fn try_compile(wasm: &[u8]) -> Result<Native, String> {
    let process = Process::start(&binary("edgeguard-compile"));
    let (FromCompile::Confined(_), _) = process.control.recv_within(PATIENCE).unwrap() else { panic!("expected `confined`") };
    let module = edgeguard_sandbox::sealed_memfd("module", wasm).unwrap();
    let code = edgeguard_sandbox::memfd("code").unwrap();
    process.control.send(&ToCompile::Compile, &[module.as_fd(), code.as_fd()]).unwrap();
    match process.control.recv_within(PATIENCE).unwrap() {
        (FromCompile::Compiled { kind, .. }, _) => {
            edgeguard_sandbox::seal(&code).unwrap();
            Ok(Native { kind, code })
        }
        (FromCompile::Failed { reason }, _) => Err(reason),
        (other, _) => panic!("unexpected answer {other:?}"),
    }
}

/// Compiles text.
pub fn compile(wat: &str) -> Native {
    try_compile(&wat::parse_str(wat).unwrap()).unwrap()
}

/// Compiles text as it is, and wrapped as a component, as toolchains do it. The second of each says whether it is one.
pub fn in_both_forms(wat: &str) -> [(Native, bool); 2] {
    let component = wit_component::ComponentEncoder::default()
        .module(&wat::parse_str(wat).unwrap())
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER))
        .and_then(|encoder| encoder.encode())
        .unwrap();
    [(compile(wat), false), (try_compile(&component).unwrap(), true)]
}

/// What a worker is to be given.
pub struct Plan {
    pub native: Native,
    pub limits: Limits,
    pub dirs: Vec<(PathBuf, String, Access)>,
    pub graphs: Vec<(String, ModelInfo, Option<LanguageModel>, u64)>,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Of the first directory.
    pub quota: Option<Quota>,
    /// How long one compute may take.
    pub compute_deadline: Option<Duration>,
    /// It serves.
    pub http: Option<Http>,
}

impl Plan {
    pub fn new(native: Native) -> Self {
        let limits = Limits {
            memory: 16 << 20,
            table_elements: 1000,
            instances: 1,
            deadline: Duration::from_secs(5),
            output: 1 << 20,
            open_files: 8,
            clock_resolution: Duration::ZERO,
        };
        Self {
            native,
            limits,
            dirs: Vec::new(),
            graphs: Vec::new(),
            args: vec!["guest".into()],
            env: Vec::new(),
            quota: None,
            http: None,
            compute_deadline: None,
        }
    }

    pub fn dir(mut self, host: &Path, guest: &str, access: Access) -> Self {
        self.dirs.push((host.into(), guest.into(), access));
        self
    }

    /// How much may be in the first directory.
    pub fn quota(mut self, bytes: Option<u64>, files: Option<u64>) -> Self {
        self.quota = Some(Quota { bytes, files });
        self
    }

    pub fn graph(mut self, name: &str, model: ModelInfo, region: u64) -> Self {
        self.graphs.push((name.into(), model, None, region));
        self
    }

    pub fn language(mut self, name: &str, model: LanguageModel, region: u64) -> Self {
        self.graphs.push((name.into(), ModelInfo::default(), Some(model), region));
        self
    }

    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// A worker that runs.
    pub fn start(self) -> Worker {
        self.try_start_with(Process::start(&binary("edgeguard-worker"))).unwrap()
    }

    pub fn try_start(self) -> Result<Worker, String> {
        self.try_start_with(Process::start(&binary("edgeguard-worker")))
    }

    /// The same, in a process that was started before.
    pub fn try_start_with(self, process: Process) -> Result<Worker, String> {
        let standby = process.control.recv_within(PATIENCE).unwrap();
        assert!(matches!(standby, (FromWorker::Standby, _)));
        let doorbell = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        let assignment = Assignment {
            module: "test".into(),
            kind: self.native.kind,
            dirs: self
                .dirs
                .iter()
                .zip(std::iter::once(self.quota).chain(std::iter::repeat(None)))
                .map(|((_, guest, access), quota)| Dir { guest: guest.clone(), access: *access, quota })
                .collect(),
            graphs: self
                .graphs
                .iter()
                .map(|(name, model, language, region)| Graph {
                    name: name.clone(),
                    model: model.clone(),
                    language: language.clone(),
                    region: *region,
                    deadline: self.compute_deadline,
                })
                .collect(),
            limits: self.limits,
            args: self.args,
            env: self.env,
            landlock_floor: 1,
            http: self.http,
        };
        let mut fds = vec![self.native.code, doorbell.try_clone().unwrap()];
        fds.extend(self.dirs.iter().map(|(host, ..)| OwnedFd::from(std::fs::File::open(host).unwrap())));
        let mut rings = Vec::new();
        let mut hosts = Vec::new();
        for _ in 0..self.limits.instances {
            let (ring, ring_fd) = SharedMemory::create("ring", RING_LEN).unwrap();
            rings.push(Consumer::new(ring));
            fds.push(ring_fd);
            for (.., region) in &self.graphs {
                let (host, [socket, region]) = Host::new(*region);
                hosts.push(host);
                fds.extend([socket, region]);
            }
        }
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        process.control.send(&ToWorker::Assign(Box::new(assignment)), &borrowed).unwrap();
        match process.control.recv_within(PATIENCE).unwrap() {
            (FromWorker::Confined(report), _) => {
                process.control.send(&ToWorker::Run, &[]).unwrap();
                let drained = (0..rings.len()).map(|_| Vec::new()).collect();
                let idle = (0..u32::try_from(rings.len()).unwrap()).rev().collect();
                Ok(Worker { process, report: *report, rings, hosts, doorbell, next: 0, idle, drained })
            }
            (FromWorker::Refused { reason }, _) => Err(reason),
            (other, _) => panic!("unexpected answer {other:?}"),
        }
    }
}

/// A record with its text.
#[derive(Debug, Clone)]
pub struct Seen {
    pub record: Record,
    pub text: Option<String>,
}

impl Seen {
    /// `interface.function`
    pub fn call(&self) -> String {
        format!("{}.{}", self.record.call.interface(), self.record.call.function())
    }
}

/// A worker under test.
pub struct Worker {
    pub process: Process,
    pub report: Report,
    pub rings: Vec<Consumer>,
    /// By instance, then by graph.
    pub hosts: Vec<Host>,
    pub doorbell: OwnedFd,
    next: u64,
    /// Guest threads that have nothing to do.
    idle: Vec<u32>,
    drained: Vec<Vec<Seen>>,
}

/// What came of an invocation.
#[derive(Debug)]
pub struct Run {
    pub finished: Finished,
    pub output: Vec<u8>,
    pub error: Vec<u8>,
    /// In the order of the calls.
    pub records: Vec<Seen>,
    /// Graphs that were reported as stalled meanwhile.
    pub stalled: Vec<u16>,
}

impl Run {
    pub fn outcome(&self) -> &Outcome {
        &self.finished.outcome
    }

    /// The records of one function.
    pub fn calls(&self, function: &str) -> Vec<&Seen> {
        self.records.iter().filter(|seen| seen.record.call.function() == function).collect()
    }
}

/// An invocation that runs.
pub struct Started {
    pub id: u64,
    output: Option<OwnedFd>,
    error: OwnedFd,
    pub input: Option<OwnedFd>,
}

impl Worker {
    /// Begins an invocation whose input stays open.
    pub fn begin(&mut self) -> Started {
        let (output, out) = rustix::pipe::pipe().unwrap();
        self.begin_into(Some(output), &out)
    }

    /// Begins an invocation whose output nobody reads.
    pub fn begin_without_reader(&mut self) -> Started {
        let (output, out) = rustix::pipe::pipe().unwrap();
        drop(output);
        self.begin_into(None, &out)
    }

    /// Begins an invocation for a client, of a module that serves. As with the real daemon, only what is passed on stays open in the worker.
    pub fn begin_with_client(&mut self) -> (UnixStream, Started) {
        let (client, connection) = UnixStream::pair().unwrap();
        let (output, out) = rustix::pipe::pipe().unwrap();
        let started = self.begin_with(connection.into(), None, Some(output), &out);
        (client, started)
    }

    fn begin_into(&mut self, output: Option<OwnedFd>, out: &OwnedFd) -> Started {
        let (input, feed) = rustix::pipe::pipe().unwrap();
        self.begin_with(input, Some(feed), output, out)
    }

    fn begin_with(&mut self, input: OwnedFd, feed: Option<OwnedFd>, output: Option<OwnedFd>, out: &OwnedFd) -> Started {
        let (error, err) = rustix::pipe::pipe().unwrap();
        let id = self.next;
        self.next += 1;
        let ring = self.idle.pop().unwrap();
        self.process.control.send(&ToWorker::Invoke(Invocation { id, ring }), &[input.as_fd(), out.as_fd(), err.as_fd()]).unwrap();
        Started { id, output, error, input: feed }
    }

    /// Waits for its end.
    pub fn end(&mut self, started: Started) -> Run {
        let Started { id, output, error, input: _input } = started;
        let readers = [output, Some(error)].map(|fd| std::thread::spawn(move || fd.map(|fd| read_all(&fd)).unwrap_or_default()));
        let mut stalled = Vec::new();
        let finished = loop {
            match self.answer() {
                FromWorker::Finished(finished) => break finished,
                FromWorker::GraphStalled { graph } => stalled.push(graph),
                other => panic!("unexpected answer {other:?}"),
            }
        };
        assert_eq!(finished.id, id);
        self.idle.push(finished.ring);
        let [output, error] = readers.map(|reader| reader.join().unwrap());
        self.drain();
        let records = self.drained.get_mut(finished.ring as usize).map(std::mem::take).unwrap_or_default();
        if let Some(ring) = self.rings.get(finished.ring as usize) {
            assert_eq!(ring.taken(), finished.produced, "every record that was produced is in the ring");
        }
        Run { finished, output, error, records, stalled }
    }

    /// Waits for its end and nothing else, for a guest without output.
    pub fn end_at_once(&mut self, started: Started) -> Finished {
        let FromWorker::Finished(finished) = self.answer() else { panic!("expected an end") };
        assert_eq!(finished.id, started.id);
        self.idle.push(finished.ring);
        finished
    }

    /// Waits for the ends of guests without output, in whatever order.
    pub fn end_all(&mut self, started: &[Started]) {
        for _ in started {
            let FromWorker::Finished(finished) = self.answer() else { panic!("expected an end") };
            assert!(started.iter().any(|one| one.id == finished.id));
            self.idle.push(finished.ring);
        }
    }

    /// Waits for a frame, and keeps the rings empty meanwhile, as the daemon does.
    fn answer(&mut self) -> FromWorker {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some((frame, _)) = self.process.control.try_recv().unwrap() {
                return frame;
            }
            assert!(std::time::Instant::now() < until, "the worker does not answer");
            self.process.control.wait_readable(Duration::from_millis(1)).unwrap();
            self.drain();
        }
    }

    fn drain(&mut self) {
        let _ = rustix::io::read(&self.doorbell, &mut [0; 8]);
        for (ring, seen) in self.rings.iter_mut().zip(&mut self.drained) {
            let mut batch = Vec::new();
            ring.drain(|record, text| batch.push(Seen { record, text: text.map(|text| String::from_utf8_lossy(text).into_owned()) }))
                .unwrap();
            seen.extend(batch);
        }
    }

    /// One whole invocation.
    pub fn run(&mut self) -> Run {
        self.run_with(b"")
    }

    /// One whole invocation with this on its standard input.
    pub fn run_with(&mut self, input: &[u8]) -> Run {
        let mut started = self.begin();
        let feed = started.input.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = std::io::Write::write_all(&mut std::fs::File::from(feed), &input);
        });
        let run = self.end(started);
        writer.join().unwrap();
        run
    }

    /// Gives every instance a new channel to a graph host.
    pub fn renew(&mut self, graph: u16, region: u64) -> Vec<Host> {
        let (hosts, fds): (Vec<Host>, Vec<[OwnedFd; 2]>) = (0..self.rings.len()).map(|_| Host::new(region)).unzip();
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().flatten().map(AsFd::as_fd).collect();
        self.process.control.send(&ToWorker::RenewGraph { graph }, &borrowed).unwrap();
        hosts
    }

    /// Gives the only instance a channel whose other end the test has passed on.
    pub fn renew_with(&mut self, graph: u16, fds: &[OwnedFd; 2]) {
        assert_eq!(self.rings.len(), 1);
        self.process.control.send(&ToWorker::RenewGraph { graph }, &[fds[0].as_fd(), fds[1].as_fd()]).unwrap();
    }

    /// Private memory of the process in KiB, as the kernel counts it.
    pub fn private_kib(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.child.pid())).unwrap();
        text.lines()
            .filter(|line| line.starts_with("Private_"))
            .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
            .sum()
    }
}

fn read_all(fd: &OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(fd.try_clone().unwrap()), &mut bytes).unwrap();
    bytes
}

/// The graph host's end of one channel, and what it computes.
pub struct Host {
    pub channel: Channel,
    pub region: SharedMemory,
}

impl Host {
    /// With the worker's two descriptors.
    pub fn new(region: u64) -> (Self, [OwnedFd; 2]) {
        let (ours, theirs) = Channel::pair().unwrap();
        let (memory, fd) = SharedMemory::create("tensors", region as usize).unwrap();
        (Self { channel: ours, region: memory }, [theirs.into_fd(), fd])
    }

    /// Answers in a thread until the worker is gone, or `answer` gives `None`.
    pub fn serve(self, mut answer: impl FnMut(&Compute, &SharedMemory) -> Option<Reply> + Send + 'static) -> Arc<Mutex<Vec<Compute>>> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            while let Ok((compute, _)) = self.channel.recv::<Compute>() {
                log.lock().unwrap().push(compute.clone());
                match answer(&compute, &self.region) {
                    Some(reply) => self.channel.send(&reply, &[]).unwrap(),
                    None => return,
                }
            }
        });
        seen
    }
}
