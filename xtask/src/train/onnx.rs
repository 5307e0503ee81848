//! The model as an ONNX file.

use crate::onnx;
use crate::onnx::Attribute;
use crate::onnx::FLOAT;
use crate::onnx::INT64;
use crate::onnx::Message;
use crate::onnx::tensor;
use crate::onnx::value_info;
use crate::train::front;
use crate::train::front::BANDS;
use crate::train::front::FEATURES;
use crate::train::front::MEASURES;
use crate::train::front::STATE;
use crate::train::front::TAPS;
use crate::train::front::WINDOW;
use crate::train::network::HIDDEN;
use crate::train::network::Plain;

/// Inputs `input` f32 [1, 576] and `state` f32 [2, 1, 128]; outputs `output` f32 [1, 1] and `stateN` f32 [2, 1, 128].
pub fn model(network: &Plain) -> Vec<u8> {
    let mut graph = Message::default();
    nodes(&mut graph);
    graph.text(2, "tiny-vad");
    constants(&mut graph, network);
    for (field, name, shape) in
        [(11, "input", &[1, WINDOW as i64][..]), (11, "state", STATE_SHAPE), (12, "output", &[1, 1]), (12, "stateN", STATE_SHAPE)]
    {
        graph.message(field, &value_info(name, shape));
    }
    onnx::file(&graph, "edgeguard: cargo xtask train-vad")
}

/// The computation, in the order in which it runs.
fn nodes(graph: &mut Message) {
    // The defaults are spelled out: rten takes them for those of two dimensions, and refuses.
    let conv = [Attribute::Ints("strides", &[front::STRIDE as i64]), Attribute::Ints("pads", &[0, 0]), Attribute::Ints("dilations", &[1])];
    let concat = [Attribute::Int("axis", 1)];
    let mean = [Attribute::Ints("axes", &[2]), Attribute::Int("keepdims", 0)];
    let dense = [Attribute::Int("transB", 1)];
    let nodes: &[(&str, &[&str], &str, &[Attribute])] = &[
        ("Reshape", &["input", "signal_shape"], "signal", &[]),
        ("Conv", &["signal", "filters"], "bands", &conv),
        ("Mul", &["bands", "bands"], "energy", &[]),
        ("Mul", &["energy", "gain"], "energy_scaled", &[]),
        ("Add", &["energy_scaled", "one"], "energy_above", &[]),
        ("Log", &["energy_above"], "logs", &[]),
        ("ReduceMean", &["logs"], "steady", &mean),
        ("ReduceMean", &["energy"], "mean_energy", &mean),
        ("Mul", &["mean_energy", "gain"], "mean_scaled", &[]),
        ("Add", &["mean_scaled", "one"], "mean_above", &[]),
        ("Log", &["mean_above"], "loud", &[]),
        ("Concat", &["loud", "steady"], "measures", &concat),
        ("Reshape", &["state", "flat_shape"], "flat", &[]),
        ("Slice", &["flat", "slow_from", "fast_from", "axis_1"], "slow", &[]),
        ("Slice", &["flat", "fast_from", "rest_from", "axis_1"], "fast", &[]),
        ("Slice", &["flat", "rest_from", "flat_end", "axis_1"], "rest", &[]),
        ("Sub", &["measures", "slow"], "slow_off", &[]),
        ("Mul", &["slow_off", "slow_share"], "slow_step", &[]),
        ("Add", &["slow", "slow_step"], "slow_next", &[]),
        ("Sub", &["measures", "fast"], "fast_off", &[]),
        ("Mul", &["fast_off", "fast_share"], "fast_step", &[]),
        ("Add", &["fast", "fast_step"], "fast_next", &[]),
        ("Concat", &["measures", "slow_next", "fast_next"], "features", &concat),
        ("Gemm", &["features", "hidden", "hidden_bias"], "units", &dense),
        ("Relu", &["units"], "active", &[]),
        ("Gemm", &["active", "out", "out_bias"], "logit", &dense),
        ("Sigmoid", &["logit"], "output", &[]),
        ("Concat", &["slow_next", "fast_next", "rest"], "flat_next", &concat),
        ("Reshape", &["flat_next", "state_shape"], "stateN", &[]),
    ];
    for (operator, inputs, output, attributes) in nodes {
        graph.message(1, &onnx::node(operator, inputs, output, attributes));
    }
}

fn constants(graph: &mut Message, network: &Plain) {
    let sizes: [(&str, &[i64]); 8] = [
        ("signal_shape", &[1, 1, WINDOW as i64]),
        ("flat_shape", &[1, STATE as i64]),
        ("state_shape", STATE_SHAPE),
        ("axis_1", &[1]),
        ("slow_from", &[0]),
        ("fast_from", &[MEASURES as i64]),
        ("rest_from", &[2 * MEASURES as i64]),
        ("flat_end", &[STATE as i64]),
    ];
    for (name, values) in sizes {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        graph.message(5, &tensor(name, INT64, &[values.len() as i64], &bytes));
    }
    let [slow, fast] = front::SHARES;
    let weights: [(&str, &[i64], &[f32]); 9] = [
        ("filters", &[BANDS as i64, 1, TAPS as i64], &front::filters()),
        ("gain", &[1], &[front::GAIN]),
        ("one", &[1], &[1.0]),
        ("slow_share", &[1], &[slow]),
        ("fast_share", &[1], &[fast]),
        ("hidden", &[HIDDEN as i64, FEATURES as i64], &network.hidden),
        ("hidden_bias", &[HIDDEN as i64], &network.hidden_bias),
        ("out", &[1, HIDDEN as i64], &network.out),
        ("out_bias", &[1], &[network.out_bias]),
    ];
    for (name, shape, values) in weights {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        graph.message(5, &tensor(name, FLOAT, shape, &bytes));
    }
}

const STATE_SHAPE: &[i64] = &[2, 1, 128];
