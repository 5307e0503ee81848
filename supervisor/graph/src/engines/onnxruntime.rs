//! ONNX Runtime on the processor, by the shared library that the operator names.
//!
//! Runs in: graph host. The library is mapped before the process is hardened, from a descriptor whose bytes have the pinned digest; environment and threads
//! are made before the lock, sessions after it.
//! Invariant: every thread that this engine ever uses has reached its first line before [`OnnxRuntime::start`] returns.
//! Does not: open files (weights in other files are refused by the lock), register custom operators, or use any provider but the processor's.
//!
//! The crate's `Session` computes for one caller at a time, so each seat has a session of its own, and with it weights of its own.

use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::thread::JoinHandle;

use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::MAX_TENSORS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::TensorType;
use half::bf16;
use half::f16;
use half::slice::HalfFloatSliceExt as _;
use ort::environment::Environment;
use ort::environment::EnvironmentBuilder;
use ort::environment::GlobalThreadPoolOptions;
use ort::environment::ThreadManager;
use ort::logging::LogLevel;
use ort::session::RunOptions;
use ort::session::Session;
use ort::session::SessionInputValue;
use ort::value::DynValue;
use ort::value::Outlet;
use ort::value::Tensor as OrtTensor;
use ort::value::TensorElementType;
use ort::value::ValueType;

use crate::engine::Data;
use crate::engine::Engine;
use crate::engine::Graph;
use crate::engine::LoadError;
use crate::engine::Seat;
use crate::engine::Tensor;
use crate::error::LibraryError;
use crate::error::nn_error;
use crate::load::digest;
use crate::load::hex;

/// The engine's name in messages.
const NAME: &str = "onnxruntime";

/// The largest library, in bytes.
const MAX_LIBRARY: u64 = 1 << 30;

/// The longest name of an input or output.
const MAX_NAME: usize = 256;

/// The library, mapped into this process.
pub struct Library {
    environment: EnvironmentBuilder,
    version: String,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Library")
    }
}

impl Library {
    /// Compares the file with its digest, then maps it and what it depends on (the C and C++ run-time libraries of this system).
    /// Whoever may write the file is trusted: its owner was looked at by the daemon.
    ///
    /// # Errors
    /// [`LibraryError`]; nothing was mapped unless it is [`LibraryError::Load`].
    pub fn load(file: BorrowedFd<'_>, sha256: &[u8; 32]) -> Result<Self, LibraryError> {
        let found = digest(file, MAX_LIBRARY).map_err(LibraryError::Read)?;
        if found != *sha256 {
            return Err(LibraryError::Digest { expected: hex(sha256), found: hex(&found) });
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let environment = ort::init_from(path).map_err(|error| LibraryError::Load(error.to_string()))?;
        Ok(Self { environment, version: version(file) })
    }
}

/// The engine: its environment, and threads where a compute has more than one.
pub struct OnnxRuntime {
    environment: Environment,
    version: String,
    seats: usize,
}

impl OnnxRuntime {
    /// Makes the environment, and `threads - 1` threads that help whichever seat computes.
    ///
    /// # Errors
    /// [`LoadError::Start`] in the library's words.
    pub fn start(library: Library, seats: usize, threads: usize) -> Result<Self, LoadError> {
        let failed = |error: ort::Error| LoadError::Start { engine: NAME, reason: error.to_string() };
        // Without spinning: the processors are shared with the guests.
        let pool = GlobalThreadPoolOptions::default()
            .with_intra_threads(threads)
            .and_then(|pool| pool.with_inter_threads(1))
            .and_then(|pool| pool.with_spin_control(false))
            .and_then(|pool| pool.with_thread_manager(Started))
            .map_err(failed)?;
        let environment =
            library.environment.with_name(NAME).with_telemetry(false).with_global_thread_pool(pool).build().map_err(failed)?;
        Ok(Self { environment, version: library.version, seats })
    }

    fn session(&self, model: &[u8]) -> Result<Session, LoadError> {
        let refused = |error: ort::Error| LoadError::Refused { engine: NAME, reason: error.message().to_owned() };
        let builder = Session::builder(&self.environment).map_err(refused)?;
        let mut builder = builder.with_log_level(LogLevel::Fatal).map_err(|error| refused(error.into()))?;
        builder.commit_from_memory(model).map_err(refused)
    }
}

/// The library's version as its symbols carry it (`VERS_1.32.0`); for people, and decides nothing.
fn version(file: BorrowedFd<'_>) -> String {
    let mut head = vec![0; 1 << 20];
    let read = rustix::io::pread(file, &mut head, 0).unwrap_or(0);
    let head = head.get(..read).unwrap_or_default();
    let tag = b"VERS_";
    let found = head.windows(tag.len()).position(|window| window == tag).and_then(|at| head.get(at + tag.len()..));
    let version: String =
        found.into_iter().flatten().map(|byte| char::from(*byte)).take_while(|c| c.is_ascii_digit() || *c == '.').take(16).collect();
    if version.is_empty() { "of unknown version".into() } else { version }
}

impl Engine for OnnxRuntime {
    fn version(&self) -> String {
        format!("{NAME} {}", self.version)
    }

    fn types(&self) -> &'static [TensorType] {
        use TensorType::*;
        &[Fp16, Fp32, Fp64, Bf16, U8, I32, I64]
    }

    fn enter(&self, _seat: Seat, work: &(dyn Fn() + Sync)) {
        work();
    }

    fn load(&self, model: Vec<u8>) -> Result<Box<dyn Graph>, LoadError> {
        let first = self.session(&model)?;
        let info = ModelInfo { inputs: describe("input", first.inputs())?, outputs: describe("output", first.outputs())? };
        let bools = first.inputs().iter().map(|input| input.dtype().tensor_type() == Some(TensorElementType::Bool)).collect();
        let mut seats = vec![Place::new(first)?];
        while seats.len() < self.seats {
            seats.push(Place::new(self.session(&model)?)?);
        }
        Ok(Box::new(OrtGraph { info, bools, seats }))
    }
}

/// A loaded model, once for each seat.
struct OrtGraph {
    info: ModelInfo,
    /// The inputs that guests give as U8 and the library takes as booleans.
    bools: Vec<bool>,
    seats: Vec<Place>,
}

/// What one seat has for its own.
struct Place {
    session: Mutex<Session>,
    /// Through which another thread ends a run of it.
    options: RunOptions,
}

impl Place {
    fn new(session: Session) -> Result<Self, LoadError> {
        let options = RunOptions::new().map_err(|error| LoadError::Start { engine: NAME, reason: error.to_string() })?;
        Ok(Self { session: Mutex::new(session), options })
    }
}

impl Graph for OrtGraph {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn compute(&self, seat: Seat, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NnError> {
        let place = self.seats.get(seat.0).ok_or_else(|| nn_error(NnCode::RuntimeError, format!("no seat {}", seat.0)))?;
        let named = self.info.inputs.iter().zip(&self.bools).zip(inputs).enumerate().map(|(index, ((info, bool), tensor))| {
            let value = to_value(tensor, *bool)
                .map_err(|error| nn_error(NnCode::InvalidArgument, format!("input {index}: {}", error.message())))?;
            Ok((info.name.as_str(), value))
        });
        let named = named.collect::<Result<Vec<(&str, SessionInputValue<'_>)>, NnError>>()?;
        let mut session = place.session.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error: ort::Error| nn_error(NnCode::RuntimeError, format!("{NAME}: {}", error.message()));
        let outputs = session.run_with_options(named, &place.options).map_err(failed)?;
        outputs.values().enumerate().map(|(index, value)| from_value(index, &value)).collect()
    }

    fn renew(&self, seat: Seat) {
        if let Some(place) = self.seats.get(seat.0) {
            // It sets a flag, and cannot fail; if it did, the next compute would say so.
            let _ = place.options.unterminate();
        }
    }

    fn cancel(&self, seat: Seat) -> bool {
        self.seats.get(seat.0).is_some_and(|place| place.options.terminate().is_ok())
    }
}

/// Makes the library's threads, and waits for each to have begun: at the lock none may have its beginning still before it.
struct Started;

impl ThreadManager for Started {
    type Thread = JoinHandle<()>;

    fn create(&self, work: impl FnOnce() + Send + 'static) -> ort::Result<JoinHandle<()>> {
        let (begun, wait) = mpsc::channel();
        let run = move || {
            // The first memory of a thread makes an arena of the allocator's.
            std::hint::black_box(vec![0u8; 64]);
            // Who waits is gone only if the process ends.
            let _ = begun.send(());
            work();
        };
        let thread = std::thread::Builder::new().name("onnxruntime".into()).spawn(run).map_err(ort::Error::wrap)?;
        wait.recv().map_err(ort::Error::wrap)?;
        Ok(thread)
    }

    fn join(thread: JoinHandle<()>) -> ort::Result<()> {
        // A thread that panicked has ended as well.
        let _ = thread.join();
        Ok(())
    }
}

/// Describes the inputs or the outputs, or says why wasi-nn cannot have them.
fn describe(what: &str, outlets: &[Outlet]) -> Result<Vec<TensorInfo>, LoadError> {
    if outlets.len() > MAX_TENSORS {
        return Err(LoadError::Unservable(format!("{} {what}s, at most {MAX_TENSORS} are served", outlets.len())));
    }
    let one = |(index, outlet): (usize, &Outlet)| {
        let refuse = |why: String| Err(LoadError::Unservable(format!("{what} {index} {why}")));
        let name = outlet.name();
        if name.len() > MAX_NAME {
            return refuse(format!("has a name of {} bytes, expected at most {MAX_NAME}", name.len()));
        }
        let shown = name.escape_debug();
        let ValueType::Tensor { ty, shape, .. } = &outlet.dtype() else {
            return refuse(format!("`{shown}` is `{}`, and wasi-nn has tensors only", outlet.dtype()));
        };
        let Some(served) = served(*ty) else {
            return refuse(format!("`{shown}` is `{ty}`, for which wasi-nn has no type"));
        };
        if shape.len() > MAX_DIMS {
            return refuse(format!("`{shown}` has {} dimensions, expected at most {MAX_DIMS}", shape.len()));
        }
        let dim = |dim: &i64| if *dim < 0 { Ok(None) } else { u32::try_from(*dim).map(Some) };
        match shape.iter().map(dim).collect() {
            // The library says the same of a scalar and of a shape that the model leaves open; it looks at the rank itself.
            Ok(dims) => {
                Ok(TensorInfo { name: name.to_owned(), ty: Some(served), dims: Some(dims).filter(|dims: &Vec<_>| !dims.is_empty()) })
            }
            Err(_) => refuse(format!("`{shown}` has a dimension beyond 32 bits")),
        }
    };
    outlets.iter().enumerate().map(one).collect()
}

/// The type that a guest sees.
fn served(ty: TensorElementType) -> Option<TensorType> {
    Some(match ty {
        TensorElementType::Float16 => TensorType::Fp16,
        TensorElementType::Float32 => TensorType::Fp32,
        TensorElementType::Float64 => TensorType::Fp64,
        TensorElementType::Bfloat16 => TensorType::Bf16,
        TensorElementType::Uint8 | TensorElementType::Bool => TensorType::U8,
        TensorElementType::Int32 => TensorType::I32,
        TensorElementType::Int64 => TensorType::I64,
        _ => return None,
    })
}

/// Hands a tensor to the engine.
fn to_value(tensor: Tensor, bool: bool) -> ort::Result<SessionInputValue<'static>> {
    let dims: Vec<i64> = tensor.dims.iter().map(|dim| i64::from(*dim)).collect();
    Ok(match tensor.data {
        Data::Fp16(data) => OrtTensor::from_array((dims, data.into_iter().map(f16::from_bits).collect::<Vec<_>>()))?.into(),
        Data::Bf16(data) => OrtTensor::from_array((dims, data.into_iter().map(bf16::from_bits).collect::<Vec<_>>()))?.into(),
        Data::Fp32(data) => OrtTensor::from_array((dims, data))?.into(),
        Data::Fp64(data) => OrtTensor::from_array((dims, data))?.into(),
        Data::U8(data) if bool => OrtTensor::from_array((dims, data.into_iter().map(|byte| byte != 0).collect::<Vec<_>>()))?.into(),
        Data::U8(data) => OrtTensor::from_array((dims, data))?.into(),
        Data::I32(data) => OrtTensor::from_array((dims, data))?.into(),
        Data::I64(data) => OrtTensor::from_array((dims, data))?.into(),
    })
}

/// Takes a tensor from the engine. What it really is counts, not what the model declared.
fn from_value(index: usize, value: &DynValue) -> Result<Tensor, NnError> {
    let unserved = || {
        let message = format!("output {index} is `{}`, for which wasi-nn has no type", value.dtype());
        nn_error(NnCode::UnsupportedOperation, message)
    };
    let unread = |error: ort::Error| nn_error(NnCode::RuntimeError, format!("output {index}: {}", error.message()));
    let ty = value.dtype().tensor_type().ok_or_else(unserved)?;
    macro_rules! elements {
        ($ty:ty, $data:ident, $convert:expr) => {{
            let (shape, elements) = value.try_extract_tensor::<$ty>().map_err(unread)?;
            (shape, Data::$data($convert(elements)))
        }};
    }
    let (shape, data) = match ty {
        TensorElementType::Float16 => elements!(f16, Fp16, |e: &[f16]| e.reinterpret_cast().to_vec()),
        TensorElementType::Bfloat16 => elements!(bf16, Bf16, |e: &[bf16]| e.reinterpret_cast().to_vec()),
        TensorElementType::Float32 => elements!(f32, Fp32, <[f32]>::to_vec),
        TensorElementType::Float64 => elements!(f64, Fp64, <[f64]>::to_vec),
        TensorElementType::Uint8 => elements!(u8, U8, <[u8]>::to_vec),
        TensorElementType::Bool => elements!(bool, U8, |e: &[bool]| e.iter().map(|bit| u8::from(*bit)).collect()),
        TensorElementType::Int32 => elements!(i32, I32, <[i32]>::to_vec),
        TensorElementType::Int64 => elements!(i64, I64, <[i64]>::to_vec),
        _ => return Err(unserved()),
    };
    let too_large = |_| nn_error(NnCode::TooLarge, format!("output {index} has a dimension beyond 32 bits"));
    let dims = shape.iter().map(|dim| u32::try_from(*dim)).collect::<Result<Vec<u32>, _>>().map_err(too_large)?;
    Ok(Tensor { dims, data })
}
