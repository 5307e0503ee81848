//! `mobilenet`: what is on a picture, by the listing that guests of wasi-nn begin with, against the public crate `wasi-nn`.
//!
//! Runs in: the guest. Needs the graph `mobilenet` and the directory `/fixture` with `tensor.bgr`, read only: 3 × 224 × 224 numbers, f32.
//! The graph is opened by its name: which file that is, is the operator's to say.

use std::fs;

use wasi_nn::ExecutionTarget;
use wasi_nn::GraphBuilder;
use wasi_nn::GraphEncoding;
use wasi_nn::TensorType;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = GraphBuilder::new(GraphEncoding::Onnx, ExecutionTarget::CPU).build_from_cache("mobilenet")?;
    let mut context = graph.init_execution_context()?;
    println!("graph loaded, context made");

    let tensor = fs::read("fixture/tensor.bgr")?;
    context.set_input(0, TensorType::F32, &[1, 3, 224, 224], &tensor)?;
    context.compute()?;

    let mut scores = vec![0.0_f32; 1001];
    let bytes = context.get_output(0, &mut scores)?;
    println!("{} scores", bytes / size_of::<f32>());

    let mut best: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
    best.sort_by(|one, other| other.1.total_cmp(&one.1));
    for (class, score) in best.into_iter().take(5) {
        println!("{class} {score:.4}");
    }
    Ok(())
}
