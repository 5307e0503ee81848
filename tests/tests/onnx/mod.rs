//! ONNX models of a few bytes, written field by field: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.
//!
//! Runs in: tests.

/// `y = x`, for a vector of `len` numbers of 32 bits.
pub fn identity(len: u64) -> Vec<u8> {
    model(&[node("Identity", &["x"], "y")], &[number(1, len)])
}

/// `x` times itself, `times` times over, for a square of any size: a compute as long as one likes. Its sizes are open, so its host does not try it out
/// with zeros before it serves.
#[allow(dead_code, reason = "not every test file that shares this needs a long compute")]
pub fn long(times: usize) -> Vec<u8> {
    let name = |step: usize| {
        if step == 0 {
            "x".to_owned()
        } else if step == times {
            "y".to_owned()
        } else {
            format!("s{step}")
        }
    };
    let nodes: Vec<_> = (0..times).map(|step| node("MatMul", &[&name(step), "x"], &name(step + 1))).collect();
    model(&nodes, &[bytes(2, b"rows"), bytes(2, b"columns")])
}

fn model(nodes: &[Vec<u8>], dims: &[Vec<u8>]) -> Vec<u8> {
    let mut graph: Vec<u8> = nodes.iter().flat_map(|node| bytes(1, node)).collect();
    graph.extend(bytes(2, b"graph"));
    graph.extend(bytes(11, &value("x", dims)));
    graph.extend(bytes(12, &value("y", dims)));
    let opset = number(2, 17);
    [number(1, 8), bytes(7, &graph), bytes(8, &opset)].concat()
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|input| bytes(1, input.as_bytes())).collect();
    node.extend(bytes(2, output.as_bytes()));
    node.extend(bytes(4, op.as_bytes()));
    node
}

/// A tensor of 32-bit floating point numbers.
fn value(name: &str, dims: &[Vec<u8>]) -> Vec<u8> {
    let shape: Vec<u8> = dims.iter().flat_map(|dim| bytes(1, dim)).collect();
    let tensor = [number(1, 1), bytes(2, &shape)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2), &varint(value.len() as u64), value].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
