//! Small ONNX models, written field by field.

use rten_onnx::onnx::AttributeProto;
use rten_onnx::onnx::AttributeType;
use rten_onnx::onnx::DataLocation;
use rten_onnx::onnx::DataType;
use rten_onnx::onnx::Dimension;
use rten_onnx::onnx::GraphProto;
use rten_onnx::onnx::ModelProto;
use rten_onnx::onnx::NodeProto;
use rten_onnx::onnx::OperatorSetIdProto;
use rten_onnx::onnx::StringStringEntryProto;
use rten_onnx::onnx::TensorProto;
use rten_onnx::onnx::TensorShapeProto;
use rten_onnx::onnx::TypeProto;
use rten_onnx::onnx::TypeProtoTensor;
use rten_onnx::onnx::ValueInfoProto;

pub const FREE: Option<i64> = None;

/// An input or output.
pub fn value(name: &str, ty: DataType, dims: &[Option<i64>]) -> ValueInfoProto {
    let dim =
        |(index, size): (usize, &Option<i64>)| Dimension { dim_value: *size, dim_param: size.is_none().then(|| format!("{name}_{index}")) };
    let shape = TensorShapeProto { dim: dims.iter().enumerate().map(dim).collect() };
    let tensor = TypeProtoTensor { elem_type: Some(ty), shape: Some(shape) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }) }
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        name: Some(format!("{op}_{}", outputs.join("_"))),
        op_type: Some(op.into()),
        input: inputs.iter().map(|name| (*name).into()).collect(),
        output: outputs.iter().map(|name| (*name).into()).collect(),
        ..NodeProto::default()
    }
}

pub fn ints(name: &str, elements: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![elements.len() as i64],
        data_type: Some(DataType::INT64),
        raw_data: Some(std::cell::RefCell::new(elements.iter().flat_map(|e| e.to_le_bytes()).collect())),
        ..TensorProto::default()
    }
}

pub fn model(graph: GraphProto) -> Vec<u8> {
    let proto = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        ..ModelProto::default()
    };
    proto.write_buf().unwrap_or_else(|error| panic!("cannot write a model: {error}"))
}

/// `y = x`
pub fn identity(ty: DataType, dims: &[Option<i64>]) -> Vec<u8> {
    model(GraphProto {
        node: vec![node("Identity", &["x"], &["y"])],
        input: vec![value("x", ty, dims)],
        output: vec![value("y", ty, dims)],
        ..GraphProto::default()
    })
}

/// `sum = a + b`, all of two elements
pub fn add() -> Vec<u8> {
    let two = [Some(2)];
    model(GraphProto {
        node: vec![node("Add", &["a", "b"], &["sum"])],
        input: vec![value("a", DataType::FLOAT, &two), value("b", DataType::FLOAT, &two)],
        output: vec![value("sum", DataType::FLOAT, &two)],
        ..GraphProto::default()
    })
}

/// `c = a · b` for square matrices of any size: a compute as long as one likes.
pub fn matmul() -> Vec<u8> {
    let square = [FREE, FREE];
    model(GraphProto {
        node: vec![node("MatMul", &["a", "b"], &["c"])],
        input: vec![value("a", DataType::FLOAT, &square), value("b", DataType::FLOAT, &square)],
        output: vec![value("c", DataType::FLOAT, &square)],
        ..GraphProto::default()
    })
}

/// `x` times itself, `times` times over: a long compute of many short steps.
pub fn chain(times: usize) -> Vec<u8> {
    let square = [FREE, FREE];
    let name = |step: usize| if step == 0 { "x".into() } else { format!("x{step}") };
    model(GraphProto {
        node: (0..times).map(|step| node("MatMul", &[&name(step), "x"], &[&name(step + 1)])).collect(),
        input: vec![value("x", DataType::FLOAT, &square)],
        output: vec![value(&name(times), DataType::FLOAT, &square)],
        ..GraphProto::default()
    })
}

/// `y` is `x` repeated until it has the shape that `shape` names: an output as large as a guest likes.
pub fn expand() -> Vec<u8> {
    model(GraphProto {
        node: vec![node("Expand", &["x", "shape"], &["y"])],
        input: vec![value("x", DataType::FLOAT, &[Some(1)]), value("shape", DataType::INT64, &[FREE])],
        output: vec![value("y", DataType::FLOAT, &[FREE])],
        ..GraphProto::default()
    })
}

/// Elementwise `out_i = in_i + in_i` for many inputs and outputs.
pub fn wide(count: usize) -> Vec<u8> {
    let dims = [Some(3)];
    let names: Vec<(String, String)> = (0..count).map(|n| (format!("in_{n}"), format!("out_{n}"))).collect();
    model(GraphProto {
        node: names.iter().map(|(input, output)| node("Add", &[input, input], &[output])).collect(),
        input: names.iter().map(|(input, _)| value(input, DataType::FLOAT, &dims)).collect(),
        output: names.iter().map(|(_, output)| value(output, DataType::FLOAT, &dims)).collect(),
        ..GraphProto::default()
    })
}

/// An operator that nobody has.
pub fn unknown_operator() -> Vec<u8> {
    model(GraphProto {
        node: vec![node("Conjure", &["x"], &["y"])],
        input: vec![value("x", DataType::FLOAT, &[Some(1)])],
        output: vec![value("y", DataType::FLOAT, &[Some(1)])],
        ..GraphProto::default()
    })
}

/// A constant that is said to lie in another file.
pub fn external_weights(path: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
    let weights = TensorProto {
        name: Some("w".into()),
        dims: vec![1],
        data_type: Some(DataType::FLOAT),
        external_data: vec![entry("location", path), entry("offset", "0"), entry("length", "4")],
        data_location: Some(DataLocation::EXTERNAL),
        ..TensorProto::default()
    };
    model(GraphProto {
        node: vec![node("Add", &["x", "w"], &["y"])],
        initializer: vec![weights],
        input: vec![value("x", DataType::FLOAT, &[Some(1)])],
        output: vec![value("y", DataType::FLOAT, &[Some(1)])],
        ..GraphProto::default()
    })
}

/// Two nodes, each waiting for the other.
pub fn cycle() -> Vec<u8> {
    let one = [Some(1)];
    model(GraphProto {
        node: vec![node("Add", &["x", "b"], &["a"]), node("Add", &["a", "x"], &["b"])],
        input: vec![value("x", DataType::FLOAT, &one)],
        output: vec![value("b", DataType::FLOAT, &one)],
        ..GraphProto::default()
    })
}

/// The largest of `x` joined to itself so many times: `2^count` numbers in memory for one that comes out.
pub fn doubled(count: usize) -> Vec<u8> {
    let name = |n: usize| format!("x{n}");
    let join = |n: usize| {
        let (from, to) = (name(n), name(n + 1));
        let axis = AttributeProto { name: Some("axis".into()), r#type: Some(AttributeType::INT), i: Some(0), ..AttributeProto::default() };
        NodeProto { attribute: vec![axis], ..node("Concat", &[&from, &from], &[&to]) }
    };
    model(GraphProto {
        node: (0..count).map(join).chain([node("ReduceMax", &[&name(count)], &["y"])]).collect(),
        input: vec![value("x0", DataType::FLOAT, &[FREE])],
        output: vec![value("y", DataType::FLOAT, &[FREE])],
        ..GraphProto::default()
    })
}

/// A constant of one number that the graph itself blows up when it is loaded, as engines do that fold constants.
pub fn bomb(count: usize) -> Vec<u8> {
    let mut names = vec!["seed".to_owned()];
    names.extend((1..=count).map(|n| format!("c{n}")));
    let axis = || AttributeProto { name: Some("axis".into()), r#type: Some(AttributeType::INT), i: Some(0), ..AttributeProto::default() };
    let mut nodes: Vec<NodeProto> =
        names.windows(2).map(|pair| NodeProto { attribute: vec![axis()], ..node("Concat", &[&pair[0], &pair[0]], &[&pair[1]]) }).collect();
    nodes.push(node("Add", &["x", names.last().map_or("seed", String::as_str)], &["y"]));
    model(GraphProto {
        node: nodes,
        initializer: vec![ints("seed", &[1])],
        input: vec![value("x", DataType::INT64, &[Some(1)])],
        output: vec![value("y", DataType::INT64, &[FREE])],
        ..GraphProto::default()
    })
}
