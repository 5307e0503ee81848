//! Models in the product's own engines, called in this process.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use edgeguard_graph::engine::Data;
use edgeguard_graph::engine::Engine;
use edgeguard_graph::engine::Graph;
use edgeguard_graph::engine::Seat;
use edgeguard_graph::engine::Tensor;
use edgeguard_graph::engines::onnxruntime::Library;
use edgeguard_graph::engines::onnxruntime::OnnxRuntime;
use edgeguard_graph::engines::openvino::Libraries;
use edgeguard_graph::engines::openvino::LibraryFile;
use edgeguard_graph::engines::openvino::OpenVino;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::TensorType;
use serde_json::json;

use crate::Measured;
use crate::nanos;

/// The mean of a batch of computes for each turn; filling the inputs belongs to a compute, as it does for a guest.
pub fn turns(engine: &str, model: &str, free: &str, threads: &str, batch: &str) -> Measured {
    let (threads, batch) = (threads.parse::<usize>()?, batch.parse::<u32>()?.max(1));
    let engine = start(engine, threads)?;
    let graph = engine.load(std::fs::read(model)?)?;
    let inputs = inputs(&*graph, &numbers(free)?)?;
    let ended = Mutex::new(None);
    // In the seat, where computes run in the product too: no other thread has to be woken.
    engine.enter(Seat(0), &|| {
        let turns = crate::turns(|| {
            let begun = Instant::now();
            for _ in 0..batch {
                graph.compute(Seat(0), inputs.clone()).map_err(|error| format!("{error:?}"))?;
            }
            Ok(json!({ "compute_ns": nanos(begun.elapsed()) / u64::from(batch) }))
        });
        if let Ok(mut ended) = ended.lock() {
            *ended = Some(turns.map_err(|error| error.to_string()));
        }
    });
    Ok(ended.into_inner().ok().flatten().ok_or("the engine's thread ended early")??)
}

/// Inputs of the model: type as WASI numbers it (wasi_ephemeral_nn), size of an element, shape with the given numbers where it is free.
pub fn describe(model: &str, free: &str) -> Measured {
    let graph = start("rten", 1)?.load(std::fs::read(model)?)?;
    let free = numbers(free)?;
    let inputs = graph.info().inputs.iter().map(|input| {
        let ty = input.ty.ok_or("an input without a type")?;
        let number = match ty {
            TensorType::Fp16 => 0,
            TensorType::Fp32 => 1,
            TensorType::Fp64 => 2,
            TensorType::U8 => 3,
            TensorType::I32 => 4,
            TensorType::I64 => 5,
            TensorType::Bf16 => return Err("no number for this type".into()),
        };
        Ok(json!({ "type": number, "size": ty.size(), "dims": dims(input, &free) }))
    });
    Ok(json!({ "inputs": inputs.collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()? }))
}

/// The engine, with one seat.
fn start(engine: &str, threads: usize) -> Result<Box<dyn Engine>, Box<dyn std::error::Error>> {
    if engine == "rten" {
        return Ok(edgeguard_graph::engines::start(Encoding::Onnx, Target::Cpu, 1, threads)?);
    }
    if Path::new(engine).is_dir() {
        return openvino(engine, threads);
    }
    // As the product does before it maps the library.
    edgeguard_sandbox::set_variable(c"ORT_DISABLE_TELEMETRY", c"1")?;
    let file = File::open(engine)?;
    let library = Library::load(file.as_fd(), &edgeguard_graph::load::digest(file.as_fd(), u64::MAX)?)?;
    Ok(Box::new(OnnxRuntime::start(library, 1, threads)?))
}

/// OpenVINO, whose folder this is.
fn openvino(folder: &str, threads: usize) -> Result<Box<dyn Engine>, Box<dyn std::error::Error>> {
    let one = |name: std::ffi::OsString| -> Result<LibraryFile, Box<dyn std::error::Error>> {
        let file = File::open(Path::new(folder).join(&name))?;
        let sha256 = edgeguard_graph::load::digest(file.as_fd(), u64::MAX)?;
        Ok(LibraryFile { name: name.into_string().map_err(|_| "a library's name is no text")?, sha256, file: file.into() })
    };
    let files = std::fs::read_dir(folder)?.map(|file| one(file?.file_name())).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(OpenVino::start(Libraries::load(folder, &files)?, 1, threads)?))
}

/// As the guests have them: ones for 64-bit integers, which are numbers of words and masks, zeros for all others.
fn inputs(graph: &dyn Graph, free: &[u32]) -> Result<Vec<Tensor>, Box<dyn std::error::Error>> {
    let filled = |input: &TensorInfo| {
        let dims = dims(input, free);
        let elements = dims.iter().map(|dim| *dim as usize).product();
        let data = match input.ty.ok_or("an input without a type")? {
            TensorType::I64 => Data::I64(vec![1; elements]),
            ty => Data::zeroed(ty, elements),
        };
        Ok(Tensor { dims, data })
    };
    graph.info().inputs.iter().map(filled).collect()
}

fn dims(input: &TensorInfo, free: &[u32]) -> Vec<u32> {
    let mut free = free.iter().copied();
    input.dims.iter().flatten().map(|dim| dim.or_else(|| free.next()).unwrap_or(1)).collect()
}

fn numbers(list: &str) -> Result<Vec<u32>, std::num::ParseIntError> {
    list.split(',').filter(|number| !number.is_empty()).map(str::parse).collect()
}
