//! Models in the product's own engine, called in this process on one thread.

use std::sync::Mutex;
use std::time::Instant;

use edgeguard_graph::engine::Data;
use edgeguard_graph::engine::Graph;
use edgeguard_graph::engine::Seat;
use edgeguard_graph::engine::Tensor;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Target;
use edgeguard_wire::graph::TensorInfo;
use serde_json::json;

use crate::Measured;
use crate::nanos;

/// The mean of each batch of computes on zeros; filling the inputs belongs to a compute, as it does for a guest.
pub fn rounds(model: &str, batch: &str, rounds: &str) -> Measured {
    let (batch, rounds) = (batch.parse::<u32>()?.max(1), rounds.parse::<usize>()?);
    let bytes = std::fs::read(model)?;
    let engine = edgeguard_graph::engines::start(Encoding::Onnx, Target::Cpu, 1, 1)?;
    let graph = engine.load(bytes)?;
    let inputs = zeros(&*graph)?;
    let measured = Mutex::new(Ok(Vec::new()));
    // In the seat, where computes run in the product too: no other thread has to be woken.
    engine.enter(Seat(0), &|| {
        let mut means = Vec::new();
        let mut failed = None;
        for _ in 0..rounds {
            let begun = Instant::now();
            for _ in 0..batch {
                if let Err(error) = graph.compute(Seat(0), inputs.clone()) {
                    failed = Some(format!("{error:?}"));
                }
            }
            means.push(nanos(begun.elapsed()) / u64::from(batch));
        }
        if let Ok(mut measured) = measured.lock() {
            *measured = failed.map_or(Ok(means), Err);
        }
    });
    let means = measured.into_inner().map_err(|_| "the engine's thread ended early")??;
    Ok(json!({ "compute_ns": means }))
}

/// Inputs of the model: type as WASI numbers it (wasi_ephemeral_nn), size of an element, shape with 1 where it is free.
pub fn describe(model: &str) -> Measured {
    let engine = edgeguard_graph::engines::start(Encoding::Onnx, Target::Cpu, 1, 1)?;
    let graph = engine.load(std::fs::read(model)?)?;
    let inputs = graph.info().inputs.iter().map(|input| {
        let ty = input.ty.ok_or("an input without a type")?;
        let number = match ty.name() {
            "FP16" => 0,
            "FP32" => 1,
            "FP64" => 2,
            "U8" => 3,
            "I32" => 4,
            "I64" => 5,
            other => return Err(format!("no number for type {other}").into()),
        };
        Ok(json!({ "type": number, "size": ty.size(), "dims": dims(input) }))
    });
    Ok(json!({ "inputs": inputs.collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()? }))
}

fn zeros(graph: &dyn Graph) -> Result<Vec<Tensor>, Box<dyn std::error::Error>> {
    let zero = |input: &TensorInfo| {
        let dims = dims(input);
        let elements = dims.iter().map(|dim| *dim as usize).product();
        Ok(Tensor { data: Data::zeroed(input.ty.ok_or("an input without a type")?, elements), dims })
    };
    graph.info().inputs.iter().map(zero).collect()
}

fn dims(input: &TensorInfo) -> Vec<u32> {
    input.dims.iter().flatten().map(|dim| dim.unwrap_or(1)).collect()
}
