//! Silero VAD through the real host, beside the same engine in this process: not one bit may differ.
//!
//! The files come from the Python package `silero-vad`; `cargo xtask` fetches the first into `target/models`. Others are tried where
//! `EDGEGUARD_TEST_MODELS` names a folder that has them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;

use common::Blob;
use common::Host;
use edgeguard_graph::engine::Data;
use edgeguard_graph::engine::Seat;
use edgeguard_graph::engine::Tensor;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::Target;
use edgeguard_wire::tensor::TensorType;

fn model(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("EDGEGUARD_TEST_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models")), PathBuf::from);
    std::fs::read(folder.join(name)).ok()
}

/// A frame of 16 kHz sound: a rising tone with some noise, the same in every run.
fn sound(frame: usize, samples: usize) -> Vec<f32> {
    let mut noise = 0x2545_f491_4f6c_dd1du64;
    (0..samples)
        .map(|n| {
            let t = (frame * samples + n) as f32 / 16_000.0;
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            0.3 * (t * (800.0 + 400.0 * t)).sin() + 0.1 * ((noise >> 40) as f32 / (1u64 << 24) as f32 - 0.5)
        })
        .collect()
}

/// Inputs for a frame: sound, the sample rate, and the state that came out of the frame before.
fn inputs(info: &ModelInfo, frame: usize, state: &[f32]) -> Vec<Tensor> {
    info.inputs
        .iter()
        .map(|input| match input.name.as_str() {
            "sr" => Tensor { dims: vec![], data: Data::I64(vec![16_000]) },
            "state" => Tensor { dims: vec![2, 1, 128], data: Data::Fp32(state.into()) },
            _ => Tensor { dims: vec![1, 576], data: Data::Fp32(sound(frame, 576)) },
        })
        .collect()
}

fn blob(tensor: &Tensor) -> Blob {
    match &tensor.data {
        Data::Fp32(data) => Blob::fp32(&tensor.dims, data),
        Data::I64(data) => Blob::i64(&tensor.dims, data),
        other => panic!("unexpected {:?}", other.ty()),
    }
}

fn same_through_the_host(name: &str) -> Option<ModelInfo> {
    let bytes = model(name)?;
    let (host, loaded) = Host::serving(&bytes);
    let mut worker = host.worker();
    let engine = edgeguard_graph::engines::start(Encoding::Onnx, Target::Cpu, 1, 1).unwrap();
    let graph = engine.load(bytes).unwrap();
    assert_eq!(*graph.info(), loaded.model);
    let mut state = vec![0.0; 256];
    for frame in 0..50 {
        let tensors = inputs(&loaded.model, frame, &state);
        let blobs: Vec<Blob> = tensors.iter().map(blob).collect();
        let expected = graph.compute(Seat(0), tensors).unwrap();
        let found = worker.compute(&blobs).unwrap();
        assert_eq!(found, expected.iter().map(blob).collect::<Vec<_>>(), "{name}, frame {frame}");
        let probability = found[0].elements()[0];
        assert!((0.0..=1.0).contains(&probability), "{probability}");
        state = found[1].elements();
        assert!(state.iter().any(|element| *element != 0.0));
    }
    Some(loaded.model)
}

#[test]
fn silero_computes_through_the_host_what_it_computes_here() {
    let Some(info) = same_through_the_host("silero_vad_openvino_16k.onnx") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must have `target/models/silero_vad_openvino_16k.onnx`; `cargo xtask models` fetches it"
        );
        eprintln!("skipped: no `target/models/silero_vad_openvino_16k.onnx`; `cargo xtask models` fetches it");
        return;
    };
    assert!(info.inputs.iter().all(|input| input.ty == Some(TensorType::Fp32)), "{info:?}");
}

#[test]
fn other_forms_of_silero_do_too() {
    for name in ["silero_vad.onnx", "silero_vad_op18_ifless.onnx", "silero_vad_16k_op15.onnx"] {
        match same_through_the_host(name) {
            Some(info) => {
                let rate = info.inputs.iter().find(|input| input.name == "sr");
                assert!(rate.is_none_or(|rate| rate.ty == Some(TensorType::I64)), "{info:?}");
            }
            None => eprintln!("skipped: no `{name}`"),
        }
    }
}
