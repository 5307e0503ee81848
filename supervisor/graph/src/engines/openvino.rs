//! OpenVINO on the processor, by the folder of shared libraries that the operator names.
//!
//! Runs in: graph host. The libraries are mapped before the process is hardened; every file in the folder that became code is one whose bytes have the pinned
//! digest. Threads are made before the lock, by computing a model of our own.
//! Invariant: one compute at a time, on one thread of the library's and its helpers, all of which exist once [`OpenVino::start`] returns; but for two that the
//! library starts and ends again while it loads a model.
//! Does not: open files, read weights from a file that it was not handed, use any device but the processor, or compute with less than the model's own precision.
//!
//! The library makes machine code of each model, and for each new shape of a model with free dimensions: [`Graph::makes_code`].

mod ir;

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::MAX_TENSORS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::TensorType;
use openvino::CompiledModel;
use openvino::Core;
use openvino::DeviceType;
use openvino::ElementType;
use openvino::InferRequest;
use openvino::InferenceError;
use openvino::InferenceErrorKind;
use openvino::Model;
use openvino::Node;
use openvino::PropertyKey;
use openvino::RwPropertyKey;
use openvino::Shape;

use crate::each_type;
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
const NAME: &str = "openvino";

/// The largest library, in bytes.
const MAX_LIBRARY: u64 = 1 << 30;

/// The most libraries.
const MAX_LIBRARIES: usize = 32;

/// The longest name of an input or output.
const MAX_NAME: usize = 256;

/// How the library with the C interface is called, whatever its version.
const INTERFACE: &str = "libopenvino_c.so";

/// How often a compute under way looks whether anybody still waits for it, in milliseconds.
const LOOK: i64 = 5;

/// Rows and columns of the model with which threads are made: large enough that the library shares it out between them.
const WARM: u32 = 256;

/// The libraries, mapped into this process.
pub struct Libraries {
    core: Core,
    version: String,
    /// Whether the reader of the library's own format is among them.
    reads_ir: bool,
}

impl std::fmt::Debug for Libraries {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Libraries")
    }
}

/// One of the libraries: its name in the folder, its digest, and the file, open.
#[derive(Debug)]
pub struct LibraryFile {
    /// Without a folder.
    pub name: String,
    /// As the operator pins it.
    pub sha256: [u8; 32],
    /// Open for reading.
    pub file: OwnedFd,
}

impl Libraries {
    /// Compares the files with their digests, then has the library map itself and its parts from the folder, and looks that nothing of the folder was mapped
    /// but those files. Whoever may write to the folder is trusted: its owner was looked at by the daemon.
    ///
    /// # Errors
    /// [`LibraryError`]; nothing was mapped unless it is [`LibraryError::Load`].
    pub fn load(folder: &str, files: &[LibraryFile]) -> Result<Self, LibraryError> {
        let refuse = |why: String| Err(LibraryError::Load(why));
        if files.len() > MAX_LIBRARIES {
            return refuse(format!("{} libraries, expected at most {MAX_LIBRARIES}", files.len()));
        }
        for library in files {
            let found = digest(library.file.as_fd(), MAX_LIBRARY).map_err(LibraryError::Read)?;
            if found != library.sha256 {
                return Err(LibraryError::Digest { expected: hex(&library.sha256), found: hex(&found) });
            }
        }
        let Some(interface) = files.iter().find(|file| file.name.starts_with(INTERFACE)) else {
            return refuse(format!("none of the files is `{INTERFACE}…`"));
        };
        openvino_sys::library::load_from(Path::new(folder).join(&interface.name)).map_err(LibraryError::Load)?;
        let mut core = Core::new().map_err(|error| LibraryError::Load(error.to_string()))?;
        let failed = |error: InferenceError| LibraryError::Load(words(error));
        // What the library maps besides, it maps at first use: the processor's part, and the parsers.
        core.get_property(&DeviceType::CPU, &PropertyKey::DeviceFullName).map_err(failed)?;
        core.read_model_from_buffer(&warm_model().map_err(LibraryError::Load)?, None).map_err(failed)?;
        // An operator who pins no reader of it has no use for that format.
        let reads_ir = files.iter().any(|file| file.name.starts_with(ir::READER));
        if reads_ir {
            core.read_model_from_buffer(ir::EMPTY.as_bytes(), None).map_err(failed)?;
        }
        only_these(folder, files)?;
        let version: String = openvino::version().build_number.chars().take_while(|c| c.is_ascii_digit() || *c == '.').take(32).collect();
        Ok(Self { core, version, reads_ir })
    }
}

/// Whether what is mapped of the folder are the files that were looked at.
fn only_these(folder: &str, files: &[LibraryFile]) -> Result<(), LibraryError> {
    let mapped = edgeguard_sandbox::mapped_code().map_err(LibraryError::Read)?;
    let mut interface = false;
    for file in &mapped {
        let Some(name) = Path::new(&file.path).strip_prefix(folder).ok().and_then(Path::to_str) else { continue };
        let inode = |library: &LibraryFile| rustix::fs::fstat(&library.file).map(|stat| stat.st_ino).ok();
        if !files.iter().any(|library| library.name == name && inode(library) == Some(file.inode)) {
            let shown = name.escape_debug();
            return Err(LibraryError::Load(format!(
                "`{shown}` of the folder was mapped and is not pinned; pin it, or take it out of the folder"
            )));
        }
        interface |= name.starts_with(INTERFACE);
    }
    if interface {
        return Ok(());
    }
    Err(LibraryError::Load(
        "the library was mapped from another folder than the one named; name the folder itself, not a link to it".into(),
    ))
}

/// The engine, with its threads.
pub struct OpenVino {
    core: Mutex<Core>,
    version: String,
    reads_ir: bool,
}

impl OpenVino {
    /// Makes the library's threads: one that computes, one that answers, and `threads - 1` that help.
    ///
    /// # Errors
    /// [`LoadError::Start`] in the library's words; [`LoadError::Unservable`] for more than one compute at once.
    pub fn start(libraries: Libraries, seats: usize, threads: usize) -> Result<Self, LoadError> {
        if seats != 1 {
            return Err(LoadError::Unservable(format!("`computes` is {seats}, and {NAME} computes one at a time; leave the key out")));
        }
        let failed = |error: InferenceError| LoadError::Start { engine: NAME, reason: words(error) };
        let Libraries { mut core, version, reads_ir } = libraries;
        let settings = [
            (RwPropertyKey::NumStreams, "1".to_owned()),
            (RwPropertyKey::InferenceNumThreads, threads.to_string()),
            // The processors are shared with the guests.
            (RwPropertyKey::HintEnableCpuPinning, "NO".to_owned()),
            // The library's choice is bfloat16 where the processor has it: then the machine would decide what a model answers.
            (RwPropertyKey::HintInferencePrecision, "f32".to_owned()),
        ];
        for (key, value) in settings {
            core.set_property(&DeviceType::CPU, &key, &value).map_err(failed)?;
        }
        let engine = Self { core: Mutex::new(core), version, reads_ir };
        let start = |reason: String| LoadError::Start { engine: NAME, reason };
        let graph = engine.load(warm_model().map_err(start)?)?;
        let square = || Tensor { dims: vec![WARM, WARM], data: Data::zeroed(TensorType::Fp32, (WARM * WARM) as usize) };
        for _ in 0..3 {
            graph.compute(Seat(0), vec![square(), square()]).map_err(|error| start(error.message))?;
        }
        Ok(engine)
    }
}

/// A model of our own: the product of two matrices.
fn warm_model() -> Result<Vec<u8>, String> {
    use rten_onnx::onnx::*;
    let value = |name: &str| {
        let dim = || Dimension { dim_value: Some(WARM.into()), dim_param: None };
        let tensor = TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape: Some(TensorShapeProto { dim: vec![dim(), dim()] }) };
        ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }) }
    };
    let product =
        NodeProto { op_type: Some("MatMul".into()), input: vec!["a".into(), "b".into()], output: vec!["c".into()], ..NodeProto::default() };
    let graph = GraphProto { node: vec![product], input: vec![value("a"), value("b")], output: vec![value("c")], ..GraphProto::default() };
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
    let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..ModelProto::default() };
    model.write_buf().map_err(|error| error.to_string())
}

impl Engine for OpenVino {
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
        // The library tries all its parsers in turn; what it is given is ONNX, and never begins so.
        if model.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<') {
            return Err(LoadError::Malformed("expected ONNX, found what begins as XML does".into()));
        }
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let parsed = core.read_model_from_buffer(&model, None).map_err(refused)?;
        drop(model);
        compile(&mut core, &parsed)
    }

    fn load_with_weights(&self, model: Vec<u8>, weights: Vec<u8>) -> Result<Box<dyn Graph>, LoadError> {
        if !self.reads_ir {
            let why = format!("no pinned library reads {NAME}'s own format; put `{}…` into the folder and under `files`", ir::READER);
            return Err(LoadError::Unservable(why));
        }
        ir::check(&model)?;
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it is parsed the copy is complete, and ours is gone.
        let weights = ir::tensor(weights)?;
        let parsed = core.read_model_from_buffer(&model, Some(&weights)).map_err(ir::refused)?;
        drop(model);
        compile(&mut core, &parsed)
    }
}

/// In the library's words.
fn refused(error: InferenceError) -> LoadError {
    LoadError::Refused { engine: NAME, reason: words(error) }
}

/// From a parsed model to one that is ready.
fn compile(core: &mut Core, parsed: &Model) -> Result<Box<dyn Graph>, LoadError> {
    // Here, and not by the library once it has compiled: it converts what nobody could give it.
    let (inputs, outputs) = (parsed.get_inputs_len().map_err(refused)?, parsed.get_outputs_len().map_err(refused)?);
    for (what, count) in [("inputs", inputs), ("outputs", outputs)] {
        if count > MAX_TENSORS {
            return Err(LoadError::Unservable(format!("{count} {what}, at most {MAX_TENSORS} are served")));
        }
    }
    let input = |index| describe("input", index, &parsed.get_input_by_index(index).map_err(refused)?);
    let output = |index| describe("output", index, &parsed.get_output_by_index(index).map_err(refused)?);
    let inputs = (0..inputs).map(input).collect::<Result<Vec<_>, _>>()?;
    let outputs = (0..outputs).map(output).collect::<Result<Vec<_>, _>>()?;
    let dynamic = parsed.is_dynamic();
    let mut compiled = core.compile_model(parsed, DeviceType::CPU).map_err(refused)?;
    let request = compiled.create_infer_request().map_err(refused)?;
    let types = inputs.iter().map(|(_, element)| *element).collect();
    let info = |described: Vec<(TensorInfo, ElementType)>| described.into_iter().map(|(info, _)| info).collect();
    Ok(Box::new(OvGraph {
        info: ModelInfo { inputs: info(inputs), outputs: info(outputs) },
        types,
        dynamic,
        place: Mutex::new(Place { request, compiled }),
        cancelled: AtomicBool::new(false),
    }))
}

/// A loaded model.
struct OvGraph {
    info: ModelInfo,
    /// The library's types of the inputs.
    types: Vec<ElementType>,
    dynamic: bool,
    place: Mutex<Place>,
    /// Whether nobody waits any more for the compute under way.
    cancelled: AtomicBool,
}

/// What one compute needs for itself. The request goes before what it is of.
struct Place {
    request: InferRequest,
    compiled: CompiledModel,
}

impl Graph for OvGraph {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn makes_code(&self) -> bool {
        self.dynamic
    }

    fn compute(&self, _seat: Seat, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NnError> {
        let failed = |error: InferenceError| nn_error(NnCode::RuntimeError, format!("{NAME}: {}", words(error)));
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let Place { request, compiled } = &mut *place;
        for (index, (tensor, ty)) in inputs.into_iter().zip(&self.types).enumerate() {
            let wrong = |error: String| nn_error(NnCode::InvalidArgument, format!("input {index}: {error}"));
            within_32_bits(&tensor.data).map_err(wrong)?;
            // A shape without dimensions can only be had from who has one.
            let shape = if tensor.dims.is_empty() { scalar(compiled, index) } else { shape(&tensor.dims) };
            let given = shape.map_err(words).and_then(|shape| given(&tensor, *ty, &shape)).map_err(wrong)?;
            request.set_input_tensor_by_index(index, &given).map_err(|error| wrong(words(error)))?;
        }
        request.infer_async().map_err(failed)?;
        let mut told = false;
        loop {
            match request.wait(LOOK) {
                Ok(()) => break,
                Err(error) if error.kind == InferenceErrorKind::ResultNotReady => {}
                Err(error) => return Err(failed(error)),
            }
            if !told && self.cancelled.load(Ordering::Acquire) {
                told = true;
                request.cancel().map_err(failed)?;
            }
        }
        let output = |index| taken(index, &request.get_output_tensor_by_index(index).map_err(failed)?);
        (0..self.info.outputs.len()).map(output).collect()
    }

    fn renew(&self, _seat: Seat) {
        self.cancelled.store(false, Ordering::Release);
    }

    fn cancel(&self, _seat: Seat) -> bool {
        self.cancelled.store(true, Ordering::Release);
        true
    }
}

/// Describes an input or output, or says why wasi-nn cannot have it.
fn describe(what: &str, index: usize, node: &Node) -> Result<(TensorInfo, ElementType), LoadError> {
    let refuse = |why: String| Err(LoadError::Unservable(format!("{what} {index} {why}")));
    // It need not have one.
    let name = node.get_name().unwrap_or_else(|_| format!("{what}{index}"));
    if name.len() > MAX_NAME {
        return refuse(format!("has a name of {} bytes, expected at most {MAX_NAME}", name.len()));
    }
    let shown = name.escape_debug();
    let unreadable = |error: InferenceError| LoadError::Unservable(format!("{what} {index}: {}", words(error)));
    let element = node.get_element_type().map_err(unreadable)?;
    let Some(ty) = served(element) else {
        return refuse(format!("`{shown}` is `{element:?}`, for which wasi-nn has no type"));
    };
    let shape = node.get_partial_shape().map_err(unreadable)?;
    if shape.get_rank().is_dynamic() {
        return Ok((TensorInfo { name, ty: Some(ty), dims: None }, element));
    }
    let dims = shape.get_dimensions();
    if dims.len() > MAX_DIMS {
        return refuse(format!("`{shown}` has {} dimensions, expected at most {MAX_DIMS}", dims.len()));
    }
    let dim = |dim: &openvino::Dimension| if dim.is_dynamic() { Ok(None) } else { u32::try_from(dim.get_min()).map(Some) };
    match dims.iter().map(dim).collect() {
        Ok(dims) => Ok((TensorInfo { name, ty: Some(ty), dims: Some(dims) }, element)),
        Err(_) => refuse(format!("`{shown}` has a dimension beyond 32 bits")),
    }
}

/// The type that a guest sees.
fn served(element: ElementType) -> Option<TensorType> {
    Some(match element {
        ElementType::F16 => TensorType::Fp16,
        ElementType::F32 => TensorType::Fp32,
        ElementType::F64 => TensorType::Fp64,
        ElementType::Bf16 => TensorType::Bf16,
        ElementType::U8 | ElementType::Boolean => TensorType::U8,
        ElementType::I32 => TensorType::I32,
        ElementType::I64 => TensorType::I64,
        _ => return None,
    })
}

/// The library takes 64-bit integers, and computes with 32 bits without a word.
fn within_32_bits(data: &Data) -> Result<(), String> {
    let Data::I64(elements) = data else { return Ok(()) };
    match elements.iter().find(|element| i32::try_from(**element).is_err()) {
        Some(beyond) => Err(format!("{beyond} does not fit 32 bits, in which {NAME} computes 64-bit integers")),
        None => Ok(()),
    }
}

fn shape(dims: &[u32]) -> Result<Shape, InferenceError> {
    Shape::new(&dims.iter().map(|dim| i64::from(*dim)).collect::<Vec<_>>())
}

/// The shape of an input that is a scalar.
fn scalar(compiled: &CompiledModel, index: usize) -> Result<Shape, InferenceError> {
    compiled.get_input_by_index(index)?.get_shape()
}

/// Hands a tensor to the library.
fn given(tensor: &Tensor, ty: ElementType, shape: &Shape) -> Result<openvino::Tensor, String> {
    let mut given = openvino::Tensor::new(ty, shape).map_err(words)?;
    if tensor.data.is_empty() {
        return Ok(given);
    }
    let into = given.get_raw_data_mut().map_err(words)?;
    let strange = || format!("the library has room for {} bytes", into.len());
    each_type!(&tensor.data, elements => {
        if into.len() != size_of_val(elements.as_slice()) {
            return Err(strange());
        }
        let size = into.len() / elements.len();
        for (place, element) in into.chunks_exact_mut(size).zip(elements) {
            place.copy_from_slice(&element.to_ne_bytes());
        }
    });
    if ty == ElementType::Boolean {
        into.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    Ok(given)
}

/// Takes a tensor from the library. What it really is counts, not what the model declared.
fn taken(index: usize, tensor: &openvino::Tensor) -> Result<Tensor, NnError> {
    let unread = |error: InferenceError| nn_error(NnCode::RuntimeError, format!("output {index}: {}", words(error)));
    let element = tensor.get_element_type().map_err(unread)?;
    let ty = served(element)
        .ok_or_else(|| nn_error(NnCode::UnsupportedOperation, format!("output {index} is `{element:?}`, for which wasi-nn has no type")))?;
    let dims = match tensor.get_shape() {
        Ok(shape) => shape.get_dimensions().iter().map(|dim| u32::try_from(*dim)).collect(),
        // The interface has no word for the shape of a scalar, and says so.
        Err(error) if error.kind == InferenceErrorKind::InvalidCParam && tensor.get_size() == Ok(1) => Ok(Vec::new()),
        Err(error) => return Err(unread(error)),
    };
    let dims = dims.map_err(|_| nn_error(NnCode::TooLarge, format!("output {index} has a dimension beyond 32 bits")))?;
    if tensor.get_byte_size().map_err(unread)? == 0 {
        return Ok(Tensor { dims, data: Data::zeroed(ty, 0) });
    }
    let bytes = tensor.get_raw_data().map_err(unread)?;
    macro_rules! elements {
        ($ty:ty) => {
            bytes.as_chunks::<{ size_of::<$ty>() }>().0.iter().map(|bytes| <$ty>::from_ne_bytes(*bytes)).collect()
        };
    }
    let data = match ty {
        TensorType::Fp16 => Data::Fp16(elements!(u16)),
        TensorType::Bf16 => Data::Bf16(elements!(u16)),
        TensorType::Fp32 => Data::Fp32(elements!(f32)),
        TensorType::Fp64 => Data::Fp64(elements!(f64)),
        TensorType::U8 => Data::U8(bytes.to_vec()),
        TensorType::I32 => Data::I32(elements!(i32)),
        TensorType::I64 => Data::I64(elements!(i64)),
    };
    Ok(Tensor { dims, data })
}

/// What the library said, without the places in its own sources, which are all but the last lines.
fn words(error: InferenceError) -> String {
    let message = error.message.unwrap_or_default();
    let said: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Exception from ")).collect();
    if said.is_empty() { error.kind.to_string() } else { said.join(" ") }
}
