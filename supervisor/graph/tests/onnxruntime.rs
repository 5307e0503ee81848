//! ONNX Runtime through the real host, locked, beside the same library in this process: every type, every shape, not one bit different.
//!
//! The library comes from the Python package `onnxruntime`; `cargo xtask models --engines` fetches it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd as _;
use std::sync::OnceLock;

use common::Blob;
use common::Host;
use common::Outcome;
use common::models;
use edgeguard_graph::engine::Data;
use edgeguard_graph::engine::Engine;
use edgeguard_graph::engine::Seat;
use edgeguard_graph::engine::Tensor;
use edgeguard_graph::engines::onnxruntime::Library;
use edgeguard_graph::engines::onnxruntime::OnnxRuntime;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::TensorType;
use rten_onnx::onnx::DataType;

/// The library in this process: it has one environment, so the tests share it.
fn native() -> &'static OnnxRuntime {
    static NATIVE: OnceLock<OnnxRuntime> = OnceLock::new();
    NATIVE.get_or_init(|| {
        let (file, sha256) = common::library().unwrap();
        OnnxRuntime::start(Library::load(file.as_fd(), &sha256).unwrap(), 1, 1).unwrap()
    })
}

fn serving(model: &[u8]) -> Option<Host> {
    let (library, sha256) = common::library()?;
    Some(Host::onnxruntime(&library, sha256).serve(model, &common::on_onnxruntime(model)).0)
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
        (DataType::FLOAT16, Data::Fp16((0..12).collect())),
        (DataType::FLOAT, Data::Fp32((0..12i16).map(f32::from).collect())),
        (DataType::DOUBLE, Data::Fp64((0..12).map(f64::from).collect())),
        (DataType::BFLOAT16, Data::Bf16((0..12).collect())),
        (DataType::UINT8, Data::U8((0..12).collect())),
        (DataType::INT32, Data::I32(vec![i32::MIN; 12])),
        (DataType::INT64, Data::I64(vec![i64::MIN; 12])),
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
    let host = serving(&models::identity(DataType::INT64, &[models::FREE, Some(3)])).unwrap();
    let empty = Blob::i64(&[0, 3], &[]);
    assert_eq!(host.worker().compute(std::slice::from_ref(&empty)).unwrap(), [empty]);
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

/// A BERT: three inputs of 64-bit integers.
#[test]
fn a_bert_computes_through_the_host_what_it_computes_here() {
    let (Some(model), Some((library, sha256))) = (common::fetched("minilm_int8.onnx"), common::library()) else { return };
    let (host, loaded) = Host::onnxruntime(&library, sha256).serve(&model, &common::on_onnxruntime(&model));
    assert!(loaded.model.inputs.iter().all(|input| input.ty == Some(TensorType::I64)), "{:?}", loaded.model);
    assert!(loaded.engine.starts_with("onnxruntime 1."), "{}", loaded.engine);
    let graph = native().load(model).unwrap();
    let mut worker = host.worker();
    for length in [1u32, 7, 32, 128] {
        let words = (0..i64::from(length)).map(|n| 1000 + 37 * n).collect();
        let ones = || Tensor { dims: vec![1, length], data: Data::I64(vec![1; length as usize]) };
        let of = |name: &str| match name {
            "input_ids" => Tensor { dims: vec![1, length], data: Data::I64(Vec::clone(&words)) },
            "token_type_ids" => Tensor { dims: vec![1, length], data: Data::I64(vec![0; length as usize]) },
            _ => ones(),
        };
        let tensors: Vec<Tensor> = loaded.model.inputs.iter().map(|input| of(&input.name)).collect();
        let found = worker.compute(&tensors.iter().map(blob).collect::<Vec<_>>()).unwrap();
        let expected: Vec<Blob> = graph.compute(Seat(0), tensors).unwrap().iter().map(blob).collect();
        assert_eq!(found, expected, "{length} tokens");
        assert!(found[0].elements().iter().any(|element| *element != 0.0));
    }
}

#[test]
fn the_host_is_locked_before_it_parses_and_has_the_threads_it_was_told_to() {
    let Some((library, sha256)) = common::library() else { return };
    let model = models::matmul();
    for (computes, threads) in [(1, 1), (2, 2)] {
        let load = edgeguard_wire::graph::Load { computes, threads, ..common::on_onnxruntime(&model) };
        let host = Host::onnxruntime(&library, sha256);
        let report = host.load(&model, &load);
        assert_eq!(report.threads, 2 + computes + (threads - 1), "{report:?}");
        let Outcome::Loaded(_) = host.go() else { panic!("model refused") };
        let square = Blob::fp32(&[256, 256], &[1.0; 65_536]);
        let mut worker = host.worker_with(8 << 20);
        assert_eq!(worker.compute(&[square.clone(), square]).unwrap()[0].elements(), [256.0; 65_536]);
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", host.child.pid())).unwrap_or_default();
        let code = maps
            .lines()
            .filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains('x')) && line.split_whitespace().nth(5).is_none());
        assert_eq!(code.collect::<Vec<_>>(), Vec::<&str>::new(), "executable memory that is no file");
    }
}

#[test]
fn a_library_of_another_digest_and_a_file_that_is_no_library_are_refused_with_a_reason() {
    let Some((library, _)) = common::library() else { return };
    let refusal = |host: Host| match host.control.recv_within(common::PATIENCE).unwrap().0 {
        edgeguard_wire::graph::FromGraph::Unusable { reason } => reason,
        other => panic!("expected `unusable`, found {other:?}"),
    };
    assert!(refusal(Host::onnxruntime(&library, [7; 32])).contains("library digest differs"));
    let text = common::file_with(b"no library");
    let sha256 = <sha2::Sha256 as sha2::Digest>::digest(b"no library").into();
    assert!(refusal(Host::onnxruntime(&text, sha256)).contains("cannot use the library"));
}

#[test]
fn weights_in_another_file_are_refused() {
    let Some((library, sha256)) = common::library() else { return };
    let model = models::external_weights("../../etc/passwd");
    let host = Host::onnxruntime(&library, sha256);
    host.load(&model, &common::on_onnxruntime(&model));
    assert!(matches!(host.go(), Outcome::Failed(_)));
}
