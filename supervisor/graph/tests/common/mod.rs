//! A daemon and workers for the tests: they start the real program, confined, and speak the real dialogue with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test program uses its part")]

pub mod ir;
pub mod models;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use edgeguard_sandbox::Child;
use edgeguard_sandbox::Report;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Loaded;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::tensor::TensorType;
use sha2::Digest as _;

/// Far beyond anything that happens in a healthy test, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a worker's region in tests that do not care.
pub const REGION: u64 = 1 << 20;

/// A started host.
pub struct Host {
    pub child: Child,
    pub control: Channel,
    log: Option<OwnedFd>,
}

/// What came of a model.
pub enum Outcome {
    Loaded(Loaded),
    Failed(String),
    /// The process ended, as when the model makes the engine exhaust its stack or memory.
    Gone,
}

impl Host {
    /// Starts the program; nothing is said yet.
    pub fn start() -> Self {
        Self::start_program("edgeguard-graph")
    }

    /// Starts the host on ONNX Runtime and hands it the library under this digest.
    pub fn onnxruntime(library: &File, sha256: [u8; 32]) -> Self {
        let host = Self::start_program("edgeguard-onnxruntime");
        host.control.send(&ToGraph::Library { sha256 }, &[library.as_fd()]).unwrap();
        host
    }

    /// Starts the host on OpenVINO and hands it the folder and these of its libraries.
    pub fn openvino(folder: &Path, files: &[(String, [u8; 32])]) -> Self {
        let host = Self::start_program("edgeguard-openvino");
        let open: Vec<File> = files.iter().map(|(name, _)| File::open(folder.join(name)).unwrap()).collect();
        let fds: Vec<_> = open.iter().map(|file| file.as_fd()).collect();
        let folder = folder.to_str().unwrap().to_owned();
        host.control.send(&ToGraph::Libraries { folder, files: files.to_vec() }, &fds).unwrap();
        host
    }

    /// Starts this program, which lies above the tests; nothing is said yet.
    pub fn start_program(name: &str) -> Self {
        let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join(name);
        let (control, theirs) = Channel::pair().unwrap();
        let (log, theirs_log) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let child = edgeguard_sandbox::spawn(&program, theirs.into_fd(), theirs_log).unwrap();
        Self { child, control, log: Some(log) }
    }

    /// Hands over a model with this digest and waits until the host is confined.
    pub fn load(&self, model: &[u8], load: &Load) -> Report {
        self.load_files(&[model], load)
    }

    /// The same with the model's files, one or two.
    pub fn load_files(&self, files: &[&[u8]], load: &Load) -> Report {
        let files: Vec<File> = files.iter().map(|bytes| file_with(bytes)).collect();
        let fds: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        self.control.send(&ToGraph::Load(Box::new(load.clone())), &fds).unwrap();
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

    /// Starts a host that serves this model.
    pub fn serving(model: &[u8]) -> (Self, Loaded) {
        Self::serving_with(model, &assignment(model))
    }

    /// The same with another assignment.
    pub fn serving_with(model: &[u8], load: &Load) -> (Self, Loaded) {
        Self::start().serve(model, load)
    }

    /// Has this host load a model that it takes.
    pub fn serve(self, model: &[u8], load: &Load) -> (Self, Loaded) {
        let host = self;
        host.load(model, load);
        match host.go() {
            Outcome::Loaded(loaded) => (host, loaded),
            Outcome::Failed(reason) => panic!("model refused: {reason}"),
            Outcome::Gone => panic!("host is gone; its log says: {}", host.log_so_far()),
        }
    }

    /// A worker's end of a new channel.
    pub fn worker(&self) -> Worker {
        self.worker_with(REGION)
    }

    /// The same with a region of this size.
    pub fn worker_with(&self, len: u64) -> Worker {
        let (channel, theirs) = Channel::pair().unwrap();
        let (region, fd) = SharedMemory::create("tensors", usize::try_from(len).unwrap()).unwrap();
        self.control.send(&ToGraph::Channel { region: len }, &[theirs.as_fd(), fd.as_fd()]).unwrap();
        Worker { channel, region, seq: 0 }
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

    fn log_so_far(&self) -> String {
        // The process is at its end or hangs; either way what it wrote is in the pipe.
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
}

/// A tensor as a worker has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Blob {
    pub ty: TensorType,
    pub dims: Vec<u32>,
    pub bytes: Vec<u8>,
}

impl Blob {
    pub fn fp32(dims: &[u32], elements: &[f32]) -> Self {
        Self { ty: TensorType::Fp32, dims: dims.into(), bytes: elements.iter().flat_map(|e| e.to_le_bytes()).collect() }
    }

    pub fn i32(dims: &[u32], elements: &[i32]) -> Self {
        Self { ty: TensorType::I32, dims: dims.into(), bytes: elements.iter().flat_map(|e| e.to_le_bytes()).collect() }
    }

    pub fn i64(dims: &[u32], elements: &[i64]) -> Self {
        Self { ty: TensorType::I64, dims: dims.into(), bytes: elements.iter().flat_map(|e| e.to_le_bytes()).collect() }
    }

    pub fn u8(dims: &[u32], elements: &[u8]) -> Self {
        Self { ty: TensorType::U8, dims: dims.into(), bytes: elements.into() }
    }

    pub fn elements(&self) -> Vec<f32> {
        assert_eq!(self.ty, TensorType::Fp32);
        self.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

impl Worker {
    /// Lays the inputs into the region one after the other, at odd offsets, for alignment must not matter.
    pub fn place(&self, inputs: &[Blob]) -> Vec<Placed> {
        let mut at = 1;
        let mut placed = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            self.region.write(at, &input.bytes).unwrap();
            let (offset, len) = (at as u64, input.bytes.len() as u64);
            placed.push(Placed { index: index.try_into().unwrap(), ty: input.ty, dims: input.dims.clone(), offset, len });
            at += input.bytes.len();
        }
        placed
    }

    /// Sends a compute and waits for its reply.
    pub fn ask(&mut self, inputs: Vec<Placed>) -> Result<(Vec<Placed>, u64), NnError> {
        self.seq += 1;
        self.channel.send(&Compute { deadline_ns: u64::MAX, seq: self.seq, inputs }, &[]).unwrap();
        match self.channel.recv_within(PATIENCE).unwrap().0 {
            Reply::Computed { seq, outputs, engine_ns } => {
                assert_eq!(seq, self.seq);
                Ok((outputs, engine_ns))
            }
            Reply::Failed { seq, error } => {
                assert_eq!(seq, self.seq);
                Err(error)
            }
        }
    }

    /// Sends a compute and waits for nothing.
    pub fn send(&mut self, inputs: Vec<Placed>) {
        self.seq += 1;
        self.channel.send(&Compute { deadline_ns: u64::MAX, seq: self.seq, inputs }, &[]).unwrap();
    }

    /// Waits for an answer or the end of the host: whether outputs came.
    pub fn settled(&mut self, within: Duration) -> bool {
        match self.channel.recv_within(within) {
            Ok((Reply::Computed { .. }, _)) => true,
            Ok((Reply::Failed { .. }, _)) | Err(ChannelError::Closed | ChannelError::Io(_)) => false,
            Err(error) => panic!("host neither answers nor ends: {error}"),
        }
    }

    /// Computes, and checks where the outputs lie.
    pub fn compute(&mut self, inputs: &[Blob]) -> Result<Vec<Blob>, NnError> {
        let (outputs, _) = self.ask(self.place(inputs))?;
        Ok(outputs
            .into_iter()
            .enumerate()
            .map(|(index, placed)| {
                assert_eq!(placed.index as usize, index);
                assert_eq!(Some(placed.len), placed.ty.bytes(&placed.dims));
                assert!(placed.offset >= self.region.len() as u64 / 2 && placed.offset + placed.len <= self.region.len() as u64);
                let mut bytes = vec![0; placed.len.try_into().unwrap()];
                self.region.read(placed.offset.try_into().unwrap(), &mut bytes).unwrap();
                Blob { ty: placed.ty, dims: placed.dims, bytes }
            })
            .collect())
    }

    /// Whether the host has given this channel up.
    pub fn is_lost(&self) -> bool {
        match self.channel.recv_within::<Reply>(PATIENCE) {
            Err(ChannelError::Closed) => true,
            Err(ChannelError::Io(_)) => true,
            Err(error) => panic!("expected the end of the channel, found {error}"),
            Ok(_) => false,
        }
    }
}

/// One compute at a time, one thread.
pub fn assignment(model: &[u8]) -> Load {
    Load {
        sha256: sha2::Sha256::digest(model).into(),
        weights: None,
        encoding: Encoding::Onnx,
        target: Target::Cpu,
        engine: edgeguard_wire::graph::Engine::Rten,
        computes: 1,
        threads: 1,
        language: None,
        memory: None,
        landlock_floor: 1,
    }
}

/// A file that nobody else can name.
pub fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}

/// ONNX Runtime as `cargo xtask models` fetches it, or where `EDGEGUARD_ONNXRUNTIME` says: the file, and its digest.
pub fn library() -> Option<(File, [u8; 32])> {
    let path = std::env::var_os("EDGEGUARD_ONNXRUNTIME").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/engines/libonnxruntime.so.1.32.0").into(),
        std::path::PathBuf::from,
    );
    let Ok(bytes) = std::fs::read(&path) else {
        assert!(std::env::var_os("CI").is_none(), "CI must have ONNX Runtime; `cargo xtask models --engines` fetches it");
        eprintln!("skipped: no `{}`; `cargo xtask models --engines` fetches it", path.display());
        return None;
    };
    Some((File::open(&path).unwrap(), sha2::Sha256::digest(&bytes).into()))
}

/// OpenVINO as `cargo xtask models` fetches it, or where `EDGEGUARD_OPENVINO` says: the folder, and each library with its digest.
pub fn libraries() -> Option<(PathBuf, Vec<(String, [u8; 32])>)> {
    let folder = std::env::var_os("EDGEGUARD_OPENVINO")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/engines/openvino").into(), PathBuf::from);
    let Ok(folder) = folder.canonicalize() else {
        assert!(std::env::var_os("CI").is_none(), "CI must have OpenVINO; `cargo xtask models --engines` fetches it");
        eprintln!("skipped: no `{}`; `cargo xtask models --engines` fetches it", folder.display());
        return None;
    };
    let digest = |path: PathBuf| sha2::Sha256::digest(std::fs::read(path).unwrap()).into();
    let name = |file: std::fs::DirEntry| (file.file_name().into_string().unwrap(), digest(file.path()));
    let files = std::fs::read_dir(&folder).unwrap().map(|file| name(file.unwrap())).collect();
    Some((folder, files))
}

/// As [`assignment`], for OpenVINO.
pub fn on_openvino(model: &[u8]) -> Load {
    Load { engine: edgeguard_wire::graph::Engine::OpenVino, ..assignment(model) }
}

/// As [`on_openvino`], of a model in OpenVINO's own format.
pub fn on_openvino_with(model: &[u8], weights: &[u8]) -> Load {
    Load { encoding: Encoding::OpenVino, weights: Some(sha2::Sha256::digest(weights).into()), ..on_openvino(model) }
}

/// As [`assignment`], for ONNX Runtime.
pub fn on_onnxruntime(model: &[u8]) -> Load {
    Load { engine: edgeguard_wire::graph::Engine::OnnxRuntime, ..assignment(model) }
}

/// A model that `cargo xtask models` fetches.
pub fn fetched(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("EDGEGUARD_TEST_MODELS")
        .map_or_else(|| std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models")), std::path::PathBuf::from);
    let found = std::fs::read(folder.join(name)).ok();
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have `target/models/{name}`; `cargo xtask models --engines` fetches it");
        eprintln!("skipped: no `target/models/{name}`; `cargo xtask models --engines` fetches it");
    }
    found
}
