//! What a worker gets from a graph host: the real program, confined, over its real channels.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Blob;
use common::Host;
use common::assignment;
use common::models;
use common::models::FREE;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::TensorType;
use rten_onnx::onnx::DataType;

#[test]
fn a_model_computes() {
    let (host, loaded) = Host::serving(&models::add());
    assert_eq!(loaded.engine, "rten 0.27.0");
    assert_eq!(loaded.model.inputs.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(loaded.model.inputs[0].ty, Some(TensorType::Fp32));
    assert_eq!(loaded.model.outputs[0].dims, Some(vec![Some(2)]));
    let mut worker = host.worker();
    for round in 0..100u8 {
        let round = f32::from(round);
        let sum = worker.compute(&[Blob::fp32(&[2], &[1.5, round]), Blob::fp32(&[2], &[2.0, -1.0])]).unwrap();
        assert_eq!(sum, [Blob::fp32(&[2], &[3.5, round - 1.0])]);
    }
    drop(worker);
    let (status, log) = host.end();
    assert!(status.success(), "{status}: {log}");
    assert_eq!(log, "");
}

#[test]
fn every_type_that_the_engine_has_passes_unchanged() {
    let values = [
        (DataType::FLOAT, Blob::fp32(&[2, 2], &[0.0, -0.0, f32::NAN, f32::MIN_POSITIVE])),
        (DataType::INT32, Blob::i32(&[2, 2], &[i32::MIN, -1, 0, i32::MAX])),
        (DataType::UINT8, Blob::u8(&[2, 2], &[0, 1, 127, 255])),
        (DataType::INT64, Blob::i64(&[2, 2], &[i64::from(i32::MIN), -1, 0, i64::from(i32::MAX)])),
        (DataType::BOOL, Blob::u8(&[2, 2], &[0, 1, 1, 0])),
    ];
    for (ty, blob) in values {
        let (host, loaded) = Host::serving(&models::identity(ty, &[Some(2), FREE]));
        assert_eq!(loaded.model.inputs[0].ty, Some(blob.ty), "{ty}");
        assert_eq!(loaded.model.inputs[0].dims, Some(vec![Some(2), None]));
        let mut worker = host.worker();
        assert_eq!(worker.compute(std::slice::from_ref(&blob)).unwrap(), [blob], "{ty}");
    }
}

#[test]
fn half_and_double_precision_models_are_served_in_single_precision() {
    for ty in [DataType::FLOAT16, DataType::DOUBLE] {
        let (host, loaded) = Host::serving(&models::identity(ty, &[Some(1)]));
        assert_eq!(loaded.model.inputs[0].ty, Some(TensorType::Fp32));
        let blob = Blob::fp32(&[1], &[0.5]);
        assert_eq!(host.worker().compute(std::slice::from_ref(&blob)).unwrap(), [blob]);
    }
}

#[test]
fn an_integer_that_the_engine_cannot_hold_is_refused_and_not_bent() {
    let (host, _) = Host::serving(&models::identity(DataType::INT64, &[FREE]));
    let mut worker = host.worker();
    let error = worker.compute(&[Blob::i64(&[3], &[1, 2, 1 << 40])]).unwrap_err();
    assert_eq!(error.code, NnCode::InvalidArgument);
    assert_eq!(error.message, "input 0: element 2 is 1099511627776, and rten computes with 32-bit integers");
    assert!(worker.compute(&[Blob::i64(&[1], &[7])]).is_ok());
}

#[test]
fn scalars_and_tensors_without_elements_pass() {
    let (host, loaded) = Host::serving(&models::identity(DataType::FLOAT, &[]));
    assert_eq!(loaded.model.inputs[0].dims, Some(vec![]));
    let scalar = Blob::fp32(&[], &[42.0]);
    assert_eq!(host.worker().compute(std::slice::from_ref(&scalar)).unwrap(), [scalar]);

    let (host, _) = Host::serving(&models::identity(DataType::FLOAT, &[FREE, FREE]));
    let empty = Blob::fp32(&[3, 0], &[]);
    assert_eq!(host.worker().compute(std::slice::from_ref(&empty)).unwrap(), [empty]);
}

#[test]
fn a_free_dimension_takes_any_size() {
    let (host, _) = Host::serving(&models::identity(DataType::FLOAT, &[FREE]));
    let mut worker = host.worker();
    for size in [1, 2, 1000, 100_000] {
        let blob = Blob::fp32(&[size], &vec![0.25; size as usize]);
        assert_eq!(worker.compute(std::slice::from_ref(&blob)).unwrap(), [blob]);
    }
}

#[test]
fn as_many_inputs_and_outputs_as_a_frame_may_have() {
    let (host, loaded) = Host::serving(&models::wide(64));
    assert_eq!(loaded.model.outputs.len(), 64);
    let inputs: Vec<Blob> = (0..64u8).map(|n| Blob::fp32(&[3], &[f32::from(n), 1.0, 2.0])).collect();
    let outputs = host.worker().compute(&inputs).unwrap();
    for (n, output) in (0..64u8).zip(outputs) {
        assert_eq!(output, Blob::fp32(&[3], &[2.0 * f32::from(n), 2.0, 4.0]));
    }
}

#[test]
fn one_tensor_may_be_two_inputs() {
    let (host, _) = Host::serving(&models::add());
    let mut worker = host.worker();
    let mut placed = worker.place(&[Blob::fp32(&[2], &[1.0, 2.0])]);
    let mut again = placed[0].clone();
    again.index = 1;
    placed.push(again);
    let (outputs, engine_ns) = worker.ask(placed).unwrap();
    let mut bytes = [0; 8];
    worker.region.read(outputs[0].offset.try_into().unwrap(), &mut bytes).unwrap();
    assert_eq!(Blob { ty: TensorType::Fp32, dims: vec![2], bytes: bytes.into() }, Blob::fp32(&[2], &[2.0, 4.0]));
    assert!(engine_ns > 0);
}

#[test]
fn two_channels_compute_at_once_and_apart() {
    let model = models::matmul();
    let (host, _) = Host::serving_with(&model, &edgeguard_wire::graph::Load { computes: 2, threads: 2, ..assignment(&model) });
    std::thread::scope(|scope| {
        for seed in [1.0f32, 2.0] {
            let mut worker = host.worker();
            scope.spawn(move || {
                for size in [2u32, 17, 64] {
                    let n = size as usize;
                    let diagonal: Vec<f32> = (0..n * n).map(|i| if i / n == i % n { seed } else { 0.0 }).collect();
                    let other: Vec<f32> = (0..n * n).map(|i| (i % 13) as f32).collect();
                    let dims = [size, size];
                    let product = worker.compute(&[Blob::fp32(&dims, &diagonal), Blob::fp32(&dims, &other)]).unwrap();
                    let expected: Vec<f32> = other.iter().map(|x| x * seed).collect();
                    assert_eq!(product[0].elements(), expected);
                }
            });
        }
    });
}

#[test]
fn more_channels_than_computes_are_all_served() {
    let (host, _) = Host::serving(&models::add());
    let mut workers: Vec<_> = (0..40).map(|_| host.worker()).collect();
    for worker in &mut workers {
        let sum = worker.compute(&[Blob::fp32(&[2], &[1.0, 2.0]), Blob::fp32(&[2], &[3.0, 4.0])]).unwrap();
        assert_eq!(sum[0].elements(), [4.0, 6.0]);
    }
}
