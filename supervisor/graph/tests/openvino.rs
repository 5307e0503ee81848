//! OpenVINO through the real host, locked, beside the same libraries in this process: every type, every shape, not one bit different.
//!
//! The libraries come from the Python package `openvino`; `cargo xtask models --engines` fetches them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use common::Blob;
use common::Host;
use common::Outcome;
use common::models;
use edgeguard_graph::engine::Data;
use edgeguard_graph::engine::Engine;
use edgeguard_graph::engine::Seat;
use edgeguard_graph::engine::Tensor;
use edgeguard_graph::engines::openvino::Libraries;
use edgeguard_graph::engines::openvino::LibraryFile;
use edgeguard_graph::engines::openvino::OpenVino;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::tensor::TensorType;
use rten_onnx::onnx::DataType;

/// The libraries in this process, which can map them once: the tests share them.
fn native() -> &'static OpenVino {
    static NATIVE: OnceLock<OpenVino> = OnceLock::new();
    NATIVE.get_or_init(|| {
        let (folder, files) = common::libraries().unwrap();
        let open = |(name, sha256): (String, [u8; 32])| {
            let file: OwnedFd = std::fs::File::open(folder.join(&name)).unwrap().into();
            LibraryFile { name, sha256, file }
        };
        let files: Vec<LibraryFile> = files.into_iter().map(open).collect();
        OpenVino::start(Libraries::load(folder.to_str().unwrap(), &files).unwrap(), 1, 1).unwrap()
    })
}

fn start() -> Option<Host> {
    let (folder, files) = common::libraries()?;
    Some(Host::openvino(&folder, &files))
}

fn serving(model: &[u8]) -> Option<Host> {
    Some(start()?.serve(model, &common::on_openvino(model)).0)
}

fn bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::Fp16(data) | Data::Bf16(data) => data.iter().flat_map(|e| e.to_le_bytes()).collect(),
        Data::Fp32(data) => data.iter().flat_map(|e| e.to_le_bytes()).collect(),
        Data::Fp64(data) => data.iter().flat_map(|e| e.to_le_bytes()).collect(),
        Data::U8(data) => data.clone(),
        Data::I32(data) => data.iter().flat_map(|e| e.to_le_bytes()).collect(),
        Data::I64(data) => data.iter().flat_map(|e| e.to_le_bytes()).collect(),
    }
}

fn blob(tensor: &Tensor) -> Blob {
    Blob { ty: tensor.data.ty(), dims: tensor.dims.clone(), bytes: bytes(&tensor.data) }
}

#[test]
fn tensors_of_every_type_come_back_as_they_went() {
    let all = [
        (DataType::FLOAT16, Data::Fp16((0..12).map(|n| 0x3c00 + n).collect())),
        (DataType::FLOAT, Data::Fp32((0..12i16).map(f32::from).collect())),
        (DataType::DOUBLE, Data::Fp64((0..12).map(f64::from).collect())),
        (DataType::BFLOAT16, Data::Bf16((0..12).map(|n| 0x3f80 + n).collect())),
        (DataType::UINT8, Data::U8((0..12).collect())),
        (DataType::INT32, Data::I32(vec![i32::MIN; 12])),
        (DataType::INT64, Data::I64((0..12).collect())),
        (DataType::BOOL, Data::U8([0, 1].repeat(6))),
    ];
    for (ty, data) in all {
        let Some(host) = serving(&models::identity(ty, &[models::FREE, Some(3)])) else { return };
        let input = blob(&Tensor { dims: vec![4, 3], data });
        assert_eq!(host.worker().compute(std::slice::from_ref(&input)).unwrap(), [input], "{ty}");
    }
}

#[test]
fn scalars_and_tensors_without_elements_come_back_as_they_went() {
    let Some(host) = serving(&models::identity(DataType::FLOAT, &[])) else { return };
    let scalar = Blob::fp32(&[], &[2.5]);
    assert_eq!(host.worker().compute(std::slice::from_ref(&scalar)).unwrap(), [scalar]);
    let host = serving(&models::identity(DataType::FLOAT, &[models::FREE, Some(3)])).unwrap();
    let empty = Blob::fp32(&[0, 3], &[]);
    assert_eq!(host.worker().compute(std::slice::from_ref(&empty)).unwrap(), [empty]);
}

#[test]
fn a_64_bit_integer_that_the_library_would_cut_to_32_is_refused() {
    let Some(host) = serving(&models::identity(DataType::INT64, &[Some(2)])) else { return };
    let mut worker = host.worker();
    let error = worker.compute(&[Blob::i64(&[2], &[1, i64::from(i32::MAX) + 1])]).unwrap_err();
    assert!(error.code == NnCode::InvalidArgument && error.message.contains("2147483648 does not fit 32 bits"), "{error:?}");
    let good = Blob::i64(&[2], &[i64::from(i32::MIN), i64::from(i32::MAX)]);
    assert_eq!(worker.compute(std::slice::from_ref(&good)).unwrap(), [good]);
}

#[test]
fn many_inputs_and_outputs_keep_their_order() {
    let Some(host) = serving(&models::wide(32)) else { return };
    let inputs: Vec<Blob> = (0..32u8).map(|n| Blob::fp32(&[3], &[f32::from(n); 3])).collect();
    let outputs = host.worker().compute(&inputs).unwrap();
    for (n, output) in (0..32u8).zip(outputs) {
        assert_eq!(output.elements(), [2.0 * f32::from(n); 3]);
    }
}

#[test]
fn a_wrong_tensor_gets_an_error_that_says_what_the_model_wants_and_the_next_one_is_computed() {
    let Some(host) = serving(&models::add()) else { return };
    let mut worker = host.worker();
    let (good, wrong) = (Blob::fp32(&[2], &[1.0, 2.0]), Blob::i64(&[2], &[1, 2]));
    let error = worker.compute(&[good.clone(), wrong]).unwrap_err();
    assert_eq!(error.code, NnCode::InvalidArgument);
    assert!(error.message.contains("`b` wants FP32 [2]; got I64 [2]"), "{}", error.message);
    assert_eq!(worker.compute(&[good.clone(), good]).unwrap()[0].elements(), [2.0, 4.0]);
}

/// Something for an input of this name and shape, with `free` in the place of free dimensions but the first.
fn filled(input: &TensorInfo, free: u32) -> Tensor {
    let dims: Vec<u32> =
        input.dims.as_ref().unwrap().iter().enumerate().map(|(at, dim)| dim.unwrap_or(if at == 0 { 1 } else { free })).collect();
    let count: u32 = dims.iter().product();
    let data = match (input.ty.unwrap(), input.name.as_str()) {
        (TensorType::I64, "input_ids") => Data::I64((0..count).map(|n| 1000 + 37 * i64::from(n)).collect()),
        (TensorType::I64, "token_type_ids") => Data::I64(vec![0; count as usize]),
        (TensorType::I64, _) => Data::I64(vec![1; count as usize]),
        (TensorType::I32, _) => Data::I32((0..count).map(|n| (n % 251).cast_signed()).collect()),
        (TensorType::Fp32, _) => Data::Fp32((0..count).map(|n| (n as f32 * 0.37).sin()).collect()),
        other => panic!("unexpected input {other:?}"),
    };
    Tensor { dims, data }
}

fn computes_what_it_computes_here(file: &str, lengths: &[u32], engine: &str) {
    let (Some(model), Some(host)) = (common::fetched(file), start()) else { return };
    let (host, loaded) = host.serve(&model, &common::on_openvino(&model));
    assert!(loaded.engine.starts_with("openvino 20") && loaded.engine.ends_with(engine), "{}", loaded.engine);
    let graph = native().load(model).unwrap();
    let mut worker = host.worker_with(8 << 20);
    for length in lengths {
        let tensors: Vec<Tensor> = loaded.model.inputs.iter().map(|input| filled(input, *length)).collect();
        let found = worker.compute(&tensors.iter().map(blob).collect::<Vec<_>>()).unwrap();
        let expected: Vec<Blob> = graph.compute(Seat(0), tensors).unwrap().iter().map(blob).collect();
        assert_eq!(found, expected, "{file}, {length}");
        assert!(found[0].elements().iter().any(|element| *element != 0.0));
    }
}

/// Three inputs of 64-bit integers, all dimensions free.
#[test]
fn a_bert_computes_through_the_host_what_it_computes_here_for_each_new_shape() {
    computes_what_it_computes_here("minilm_int8.onnx", &[1, 7, 32, 128, 7], "making code for new shapes");
}

#[test]
fn a_model_of_fixed_shapes_is_sealed_without_code_and_computes_what_it_computes_here() {
    computes_what_it_computes_here("silero_vad_openvino_16k.onnx", &[1, 1, 1], "sealed without code");
}

#[test]
fn a_model_of_some_milliseconds_computes_through_the_host_what_it_computes_here() {
    computes_what_it_computes_here("magika_standard_v3_3.onnx", &[1, 1], "");
}

#[test]
fn the_report_names_what_this_host_may_do_that_others_may_not_and_threads_are_those_it_was_told() {
    let model = models::matmul();
    for threads in [1, 2] {
        let Some(host) = start() else { return };
        let report = host.load(&model, &Load { threads, ..common::on_openvino(&model) });
        assert!(!report.mdwe && report.exceptions.iter().any(|exception| exception == "makes machine code"), "{report:?}");
        // Ours: this one, the seat, the deadlines. The library's: the one that computes, the one that answers, and helpers.
        let helpers = threads - 1;
        assert!(report.threads <= 5 + helpers, "{report:?}");
        let Outcome::Loaded(_) = host.go() else { panic!("model refused") };
        let square = Blob::fp32(&[256, 256], &[1.0; 65_536]);
        let mut worker = host.worker_with(8 << 20);
        for _ in 0..20 {
            assert_eq!(worker.compute(&[square.clone(), square.clone()]).unwrap()[0].elements(), [256.0; 65_536]);
        }
    }
}

/// What the two filters of the seal let through, the sandbox's own tests try call by call.
#[test]
fn the_host_is_sealed_before_it_says_that_its_model_is_loaded() {
    for model in [models::add(), models::matmul()] {
        let Some(host) = start() else { return };
        host.load(&model, &common::on_openvino(&model));
        let filters = || edgeguard_sandbox::inspect(host.child.pid()).unwrap().seccomp_filters;
        let locked = filters();
        let Outcome::Loaded(_) = host.go() else { panic!("model refused") };
        assert_eq!(filters(), locked + 2);
    }
}

#[test]
fn a_compute_beyond_its_deadline_is_ended_and_the_host_computes_on() {
    let model = models::chain(200);
    let Some(host) = serving(&model) else { return };
    let mut worker = host.worker_with(64 << 20);
    let long = Blob::fp32(&[1024, 1024], &vec![0.0; 1 << 20]);
    let inputs = worker.place(std::slice::from_ref(&long));
    worker.seq += 1;
    let deadline_ns = edgeguard_wire::tensor::now_ns() + 100_000_000;
    let begun = Instant::now();
    worker.channel.send(&Compute { deadline_ns, seq: worker.seq, inputs }, &[]).unwrap();
    match worker.channel.recv_within(common::PATIENCE).unwrap().0 {
        Reply::Failed { error, .. } => eprintln!("ended after {:?}: {}", begun.elapsed(), error.message),
        Reply::Computed { .. } => panic!("computed within {:?}", begun.elapsed()),
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let one = Blob::fp32(&[1, 1], &[1.0]);
    assert_eq!(worker.compute(&[one]).unwrap()[0].elements(), [1.0]);
}

fn refusal(host: &Host) -> String {
    match host.control.recv_within(common::PATIENCE).unwrap().0 {
        FromGraph::Unusable { reason } => reason,
        other => panic!("expected `unusable`, found {other:?}"),
    }
}

#[test]
fn a_library_of_another_digest_is_refused_before_anything_is_mapped() {
    let Some((folder, mut files)) = common::libraries() else { return };
    files[2].1 = [7; 32];
    assert!(refusal(&Host::openvino(&folder, &files)).contains("library digest differs"));
}

#[test]
fn a_library_that_is_in_the_folder_and_not_pinned_is_not_used() {
    let Some((folder, files)) = common::libraries() else { return };
    for part in ["libopenvino_intel_cpu_plugin", "libtbb", "libopenvino_onnx_frontend"] {
        let without: Vec<_> = files.iter().filter(|(name, _)| !name.starts_with(part)).cloned().collect();
        let said = refusal(&Host::openvino(&folder, &without));
        assert!(said.contains("is not pinned") && said.contains(part), "{said}");
    }
}

#[test]
fn a_missing_part_is_an_error_that_names_it() {
    let Some((folder, files)) = common::libraries() else { return };
    let other = tempfile::tempdir().unwrap();
    let files: Vec<_> = files.into_iter().filter(|(name, _)| !name.starts_with("libopenvino_intel_cpu_plugin")).collect();
    for (name, _) in &files {
        std::fs::copy(folder.join(name), other.path().join(name)).unwrap();
    }
    let said = refusal(&Host::openvino(&other.path().canonicalize().unwrap(), &files));
    assert!(said.contains("CPU"), "{said}");
}

#[test]
fn weights_in_another_file_and_a_model_of_another_format_are_refused() {
    for model in [models::external_weights("../../etc/passwd"), b"<?xml version=\"1.0\"?><net name=\"n\" version=\"11\"></net>".to_vec()] {
        let Some(host) = start() else { return };
        host.load(&model, &common::on_openvino(&model));
        assert!(matches!(host.go(), Outcome::Failed(_)));
    }
}

#[test]
fn more_than_one_compute_at_once_is_refused() {
    let Some(host) = start() else { return };
    let model = models::add();
    let load = Load { computes: 2, ..common::on_openvino(&model) };
    let file = common::file_with(&model);
    let fd = std::os::fd::AsFd::as_fd(&file);
    host.control.send(&edgeguard_wire::graph::ToGraph::Load(Box::new(load)), &[fd]).unwrap();
    assert!(host.control.recv_within::<FromGraph>(common::PATIENCE).is_err());
    let (status, log) = host.end();
    assert!(!status.success() && log.contains("computes one at a time"), "{log}");
}
