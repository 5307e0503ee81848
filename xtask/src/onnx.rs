//! ONNX files, written field by field: what the project's own models are made of.
//!
//! Field numbers are those of `onnx.proto` (ONNX IR version 7), wire types those of the protobuf encoding guide.

/// A node of the graph: operator, inputs, output, attributes.
pub fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) -> Message {
    let mut node = Message::default();
    inputs.iter().for_each(|input| node.text(1, input));
    node.text(2, output);
    node.text(4, operator);
    attributes.iter().for_each(|attribute| node.message(5, &attribute.message()));
    node
}

/// A whole model of a graph, by operator set 13, which every engine has.
pub fn file(graph: &Message, producer: &str) -> Vec<u8> {
    let mut opset = Message::default();
    opset.number(2, 13);
    let mut model = Message::default();
    model.number(1, 7);
    model.text(2, producer);
    model.message(7, graph);
    model.message(8, &opset);
    model.0
}

/// A constant: its name, type (`TensorProto.DataType`), shape, and elements as they lie in memory, little-endian.
pub fn tensor(name: &str, element: u64, shape: &[i64], bytes: &[u8]) -> Message {
    let mut tensor = Message::default();
    shape.iter().for_each(|&size| tensor.number(1, size.unsigned_abs()));
    tensor.number(2, element);
    tensor.text(8, name);
    tensor.bytes(9, bytes);
    tensor
}

/// An input or output of 32-bit floating point numbers.
pub fn value_info(name: &str, shape: &[i64]) -> Message {
    let mut sizes = Message::default();
    for size in shape {
        let mut dimension = Message::default();
        dimension.number(1, size.unsigned_abs());
        sizes.message(1, &dimension);
    }
    let mut tensor = Message::default();
    tensor.number(1, FLOAT);
    tensor.message(2, &sizes);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut info = Message::default();
    info.text(1, name);
    info.message(2, &kind);
    info
}

/// An attribute of a node.
pub enum Attribute {
    Int(&'static str, u64),
    Ints(&'static str, &'static [i64]),
}

impl Attribute {
    pub fn message(&self) -> Message {
        let mut message = Message::default();
        match *self {
            Attribute::Int(name, value) => {
                message.text(1, name);
                message.number(3, value);
                message.number(20, 2);
            }
            Attribute::Ints(name, values) => {
                message.text(1, name);
                values.iter().for_each(|value| message.number(8, value.unsigned_abs()));
                message.number(20, 7);
            }
        }
        message
    }
}

/// A protobuf message as far as it is written.
#[derive(Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    pub fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    pub fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    pub fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// `TensorProto.DataType`.
pub const FLOAT: u64 = 1;
/// `TensorProto.DataType`.
pub const INT64: u64 = 7;
