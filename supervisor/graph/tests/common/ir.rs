//! A small model in OpenVINO's own format, written by hand: a description, weights, and the same in ONNX.

use rten_onnx::onnx::DataType;
use rten_onnx::onnx::GraphProto;
use rten_onnx::onnx::TensorProto;

use super::models;

/// `y = x · w + b`, three numbers in and four out, for so many rows at once or for any number of them.
pub fn dense(rows: Option<i64>) -> (String, Vec<u8>) {
    let rows = rows.unwrap_or(-1);
    let port = |id: u32, name: &str, dims: &[i64]| {
        let names = if name.is_empty() { String::new() } else { format!(" names=\"{name}\"") };
        let dims: String = dims.iter().map(|dim| format!("<dim>{dim}</dim>")).collect();
        format!("<port id=\"{id}\" precision=\"FP32\"{names}>{dims}</port>")
    };
    let (input, output) = (|ports: String| format!("<input>{ports}</input>"), |port: String| format!("<output>{port}</output>"));
    let layers = [
        (
            "Parameter",
            format!("shape=\"{},3\" element_type=\"f32\"", if rows < 0 { "?".into() } else { rows.to_string() }),
            output(port(0, "x", &[rows, 3])),
        ),
        ("Const", "element_type=\"f32\" shape=\"3, 4\" offset=\"0\" size=\"48\"".into(), output(port(0, "", &[3, 4]))),
        (
            "MatMul",
            "transpose_a=\"false\" transpose_b=\"false\"".into(),
            input(port(0, "", &[rows, 3]) + &port(1, "", &[3, 4])) + &output(port(2, "", &[rows, 4])),
        ),
        ("Const", "element_type=\"f32\" shape=\"1, 4\" offset=\"48\" size=\"16\"".into(), output(port(0, "", &[1, 4]))),
        (
            "Add",
            "auto_broadcast=\"numpy\"".into(),
            input(port(0, "", &[rows, 4]) + &port(1, "", &[1, 4])) + &output(port(2, "y", &[rows, 4])),
        ),
        ("Result", String::new(), input(port(0, "", &[rows, 4]))),
    ];
    let layer = |(id, (ty, data, ports)): (usize, &(&str, String, String))| {
        format!("<layer id=\"{id}\" name=\"n{id}\" type=\"{ty}\" version=\"opset1\"><data {data}/>{ports}</layer>\n")
    };
    let layers: String = layers.iter().enumerate().map(layer).collect();
    let edge = |(from, out, to, into): (u32, u32, u32, u32)| {
        format!("<edge from-layer=\"{from}\" from-port=\"{out}\" to-layer=\"{to}\" to-port=\"{into}\"/>\n")
    };
    let edges: String = [(0, 0, 2, 0), (1, 0, 2, 1), (2, 2, 4, 0), (3, 0, 4, 1), (4, 2, 5, 0)].into_iter().map(edge).collect();
    let description = format!(
        "<?xml version=\"1.0\"?>\n<net name=\"dense\" version=\"11\">\n<layers>\n{layers}</layers>\n<edges>\n{edges}</edges>\n<rt_info/>\n</net>\n"
    );
    (description, weights().iter().flat_map(|weight| weight.to_le_bytes()).collect())
}

/// `w` and then `b`.
fn weights() -> Vec<f32> {
    (0..16u8).map(|n| (f32::from(n) * 0.37 + 0.1).sin()).collect()
}

/// The same in ONNX.
pub fn dense_onnx(rows: Option<i64>) -> Vec<u8> {
    let weights = weights();
    let constant = |name: &str, dims: &[i64], part: &[f32]| TensorProto {
        name: Some(name.into()),
        dims: dims.into(),
        data_type: Some(DataType::FLOAT),
        raw_data: Some(std::cell::RefCell::new(part.iter().flat_map(|e| e.to_le_bytes()).collect())),
        ..TensorProto::default()
    };
    models::model(GraphProto {
        node: vec![models::node("MatMul", &["x", "w"], &["m"]), models::node("Add", &["m", "b"], &["y"])],
        initializer: vec![constant("w", &[3, 4], &weights[..12]), constant("b", &[1, 4], &weights[12..])],
        input: vec![models::value("x", DataType::FLOAT, &[rows, Some(3)])],
        output: vec![models::value("y", DataType::FLOAT, &[rows, Some(4)])],
        ..GraphProto::default()
    })
}
