//! What a compute costs beyond the engine: through a confined host and its channel, beside the same engine in this process.
//!
//! `cargo build --release -p edgeguard-graph && cargo run --release -p edgeguard-graph --example overhead [MODEL.onnx]`
//!
//! Prints medians and 99th percentiles. Without an argument it takes `target/models/silero_vad_openvino_16k.onnx` if that is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement that fails has nothing to say")]

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/common/models.rs"]
mod models;

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Instant;

use edgeguard_graph::engine::Data;
use edgeguard_graph::engine::Seat;
use edgeguard_graph::engine::Tensor;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::Reply;
use rten_onnx::onnx::DataType;
use sha2::Digest as _;

fn main() {
    measure("identity of FP32 [16]", models::identity(DataType::FLOAT, &[Some(16)]), 20_000);
    measure("identity of FP32 [1, 3, 224, 224]", models::identity(DataType::FLOAT, &[Some(1), Some(3), Some(224), Some(224)]), 2_000);
    let model = std::env::args_os().nth(1).map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models/silero_vad_openvino_16k.onnx")),
        PathBuf::from,
    );
    match std::fs::read(&model) {
        Ok(bytes) => measure(&model.file_name().unwrap().to_string_lossy(), bytes, 3_000),
        Err(error) => println!("{}: {error}", model.display()),
    }
}

/// Alternates between both ways, so that whatever else the machine does meets both alike.
fn measure(name: &str, model: Vec<u8>, rounds: usize) {
    let (_child, control, channel, region) = host(&model);
    let half = region.len() / 2;
    let engine = edgeguard_graph::engines::start(Encoding::Onnx, Target::Cpu, 1, 1).unwrap();
    let graph = engine.load(model).unwrap();
    let inputs = zeros(graph.info());
    // As a worker has them: in the guest's memory.
    let bytes: Vec<Vec<u8>> = inputs.iter().map(bytes).collect();
    let mut output = vec![0; half];
    let (mut native, mut hosted, mut inside) = (Vec::new(), Vec::new(), Vec::new());
    // In the seat, as the host's serving threads are.
    let samples = std::sync::Mutex::new((&mut native, &mut hosted, &mut inside, &mut output));
    engine.enter(Seat(0), &|| {
        let mut samples = samples.lock().unwrap();
        let (native, hosted, inside, output) = &mut *samples;
        for round in 0..rounds + rounds / 10 {
            let own = inputs.clone();
            let begun = Instant::now();
            let expected = graph.compute(Seat(0), own).unwrap();
            let native_ns = begun.elapsed().as_nanos() as u64;

            let begun = Instant::now();
            let engine_ns = ask(&channel, &region, &inputs, &bytes, output, round as u64);
            let hosted_ns = begun.elapsed().as_nanos() as u64;
            std::hint::black_box(expected);
            if round >= rounds / 10 {
                native.push(native_ns);
                hosted.push(hosted_ns);
                inside.push(engine_ns);
            }
        }
    });
    drop(control);
    let [n, h, i] = [native, hosted, inside].map(|mut samples| {
        samples.sort_unstable();
        [samples[samples.len() / 2], samples[samples.len() * 99 / 100]].map(|ns| ns as f64 / 1000.0)
    });
    println!("{name}");
    println!("  engine here         p50 {:9.1} µs   p99 {:9.1} µs", n[0], n[1]);
    println!("  engine in the host  p50 {:9.1} µs   p99 {:9.1} µs", i[0], i[1]);
    println!(
        "  through the host    p50 {:9.1} µs   p99 {:9.1} µs   overhead p50 {:.1} µs ({:+.1} %)",
        h[0],
        h[1],
        h[0] - n[0],
        (h[0] / n[0] - 1.0) * 100.0
    );
}

/// One compute, as a worker makes it: inputs copied in, outputs copied out.
fn ask(channel: &Channel, region: &SharedMemory, inputs: &[Tensor], bytes: &[Vec<u8>], output: &mut [u8], seq: u64) -> u64 {
    let mut at = 0;
    let placed = inputs.iter().zip(bytes).enumerate().map(|(index, (input, bytes))| {
        region.write(at, bytes).unwrap();
        let (offset, len) = (at as u64, bytes.len() as u64);
        at += bytes.len().next_multiple_of(8);
        Placed { index: index as u32, ty: input.data.ty(), dims: input.dims.clone(), offset, len }
    });
    let compute = Compute { deadline_ns: u64::MAX, seq, inputs: placed.collect() };
    channel.send(&compute, &[]).unwrap();
    let (Reply::Computed { outputs, engine_ns, .. }, _) = channel.recv().unwrap() else { panic!("failed") };
    for placed in outputs {
        region.read(placed.offset as usize, &mut output[..placed.len as usize]).unwrap();
    }
    engine_ns
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let Data::Fp32(elements) = &tensor.data else { panic!("FP32 only") };
    elements.iter().flat_map(|element| element.to_le_bytes()).collect()
}

fn zeros(info: &ModelInfo) -> Vec<Tensor> {
    let zeros = |input: &edgeguard_wire::graph::TensorInfo| {
        let dims: Vec<u32> = input.dims.iter().flatten().map(|dim| dim.unwrap_or(1)).collect();
        Tensor { data: Data::zeroed(input.ty.unwrap(), dims.iter().product::<u32>() as usize), dims }
    };
    info.inputs.iter().map(zeros).collect()
}

/// Starts the program that lies beside this one's folder, with one channel.
fn host(model: &[u8]) -> (edgeguard_sandbox::Child, Channel, Channel, SharedMemory) {
    let program = std::env::current_exe().unwrap().with_file_name("../edgeguard-graph");
    let begun = Instant::now();
    let (control, theirs) = Channel::pair().unwrap();
    let child = edgeguard_sandbox::spawn(&program, theirs.into_fd(), std::io::stderr().as_fd().try_clone_to_owned().unwrap()).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(model).unwrap();
    let load = Load {
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
    };
    control.send(&ToGraph::Load(Box::new(load)), &[file.as_fd()]).unwrap();
    assert!(matches!(control.recv().unwrap().0, FromGraph::Confined(_)));
    let confined_ms = begun.elapsed().as_secs_f64() * 1e3;
    control.send(&ToGraph::Run, &[]).unwrap();
    let (FromGraph::Loaded(loaded), _) = control.recv().unwrap() else { panic!("model refused") };
    let status = edgeguard_sandbox::inspect(child.pid()).unwrap();
    let (mib, load_ms) = (status.private as f64 / 1048576.0, loaded.load_ns as f64 / 1e6);
    println!(
        "({}: confined after {confined_ms:.1} ms, loaded in {load_ms:.1} ms, {mib:.1} MiB private, {} threads)",
        loaded.engine, status.threads
    );
    let (channel, theirs) = Channel::pair().unwrap();
    let (region, fd) = SharedMemory::create("tensors", 4 << 20).unwrap();
    control.send(&ToGraph::Channel { region: 4 << 20 }, &[theirs.as_fd(), fd.as_fd()]).unwrap();
    (child, control, channel, region)
}
