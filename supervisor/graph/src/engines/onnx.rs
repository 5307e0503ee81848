//! What an ONNX file declares, for engines that do not pass it on: the exact types of its inputs and outputs.
//!
//! Runs in: graph host, after the lock and after the digest was checked.
//! Invariant: no length in the file is believed before it was held against the bytes that are there, so nothing is allocated
//! that the file does not pay for.
//! Does not: read nodes or weights.
//!
//! Field numbers: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

use std::collections::BTreeMap;

use rten_onnx::onnx::DataType;
use rten_onnx::onnx::ValueInfoProto;
use rten_onnx::protobuf::DecodeMessage as _;
use rten_onnx::protobuf::Fields;
use rten_onnx::protobuf::OwnedValues;
use rten_onnx::protobuf::ProtobufError;
use rten_onnx::protobuf::ReadValue;
use rten_onnx::protobuf::ValueReader;

use crate::engine::LoadError;

/// `ModelProto.graph`
const GRAPH: u64 = 7;

/// `GraphProto.input`
const INPUT: u64 = 11;

/// `GraphProto.output`
const OUTPUT: u64 = 12;

/// Element types by name of input or output, where the model declares them. Of several graphs the last counts, as in any protobuf.
///
/// # Errors
/// [`LoadError::Malformed`], also for what the parser would take: a file that is cut short between two fields, or lengths that lie.
pub fn declared_types(model: &[u8]) -> Result<BTreeMap<String, DataType>, LoadError> {
    complete(model, Message::Model, 0)?;
    let malformed = |error: ProtobufError| LoadError::Malformed(error.to_string());
    let mut types = BTreeMap::new();
    let mut reader = ValueReader::from_buf(model);
    let mut fields = Fields::new(&mut reader, Some("ModelProto"));
    while let Some(mut field) = fields.next().map_err(malformed)? {
        match field.number() {
            GRAPH => types = graph_types(field.read_message(Some("GraphProto")).map_err(malformed)?).map_err(malformed)?,
            _ => field.skip().map_err(malformed)?,
        }
    }
    Ok(types)
}

fn graph_types<R: ReadValue<Types = OwnedValues>>(mut graph: Fields<'_, R>) -> Result<BTreeMap<String, DataType>, ProtobufError> {
    let mut types = BTreeMap::new();
    while let Some(mut field) = graph.next()? {
        match field.number() {
            INPUT | OUTPUT => {
                let value = ValueInfoProto::decode_field(&mut field)?;
                let tensor = value.r#type.and_then(|ty| ty.tensor_type);
                if let (Some(name), Some(ty)) = (value.name, tensor.and_then(|tensor| tensor.elem_type)) {
                    types.insert(name, ty);
                }
            }
            _ => field.skip()?,
        }
    }
    Ok(types)
}

/// The messages of an ONNX file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    SequenceType,
    Shape,
    /// Has neither messages nor packed fields within.
    Flat,
}

/// What lies within a field that has a length.
#[derive(Debug, Clone, Copy)]
enum Content {
    Message(Message),
    Varints,
    Fixed(usize),
}

/// Every field that the parser looks into. Others are bytes to it.
const FIELDS: &[(Message, u64, Content)] = &[
    (Message::Model, GRAPH, Content::Message(Message::Graph)),
    (Message::Model, 8, Content::Message(Message::Flat)),  // opset_import
    (Message::Model, 14, Content::Message(Message::Flat)), // metadata_props
    (Message::Graph, 1, Content::Message(Message::Node)),
    (Message::Graph, 5, Content::Message(Message::Tensor)), // initializer
    (Message::Graph, INPUT, Content::Message(Message::Value)),
    (Message::Graph, OUTPUT, Content::Message(Message::Value)),
    (Message::Graph, 13, Content::Message(Message::Value)), // value_info
    (Message::Node, 5, Content::Message(Message::Attribute)),
    (Message::Attribute, 5, Content::Message(Message::Tensor)),
    (Message::Attribute, 6, Content::Message(Message::Graph)),
    (Message::Attribute, 7, Content::Fixed(4)),             // floats
    (Message::Attribute, 8, Content::Varints),              // ints
    (Message::Tensor, 1, Content::Varints),                 // dims
    (Message::Tensor, 4, Content::Fixed(4)),                // float_data
    (Message::Tensor, 5, Content::Varints),                 // int32_data
    (Message::Tensor, 7, Content::Varints),                 // int64_data
    (Message::Tensor, 10, Content::Fixed(8)),               // double_data
    (Message::Tensor, 13, Content::Message(Message::Flat)), // external_data
    (Message::Value, 2, Content::Message(Message::Type)),
    (Message::Type, 1, Content::Message(Message::TensorType)),
    (Message::Type, 4, Content::Message(Message::SequenceType)),
    (Message::TensorType, 2, Content::Message(Message::Shape)),
    (Message::SequenceType, 1, Content::Message(Message::Type)),
    (Message::Shape, 1, Content::Message(Message::Flat)), // dim
];

/// Messages within messages; a graph within a graph takes three.
const MAX_DEPTH: usize = 64;

/// Walks all messages and holds every length against the message around it.
///
/// The parser (rten-onnx 0.27) believes a length wherever it stands: it reserves that many bytes, skips backwards when the length has its
/// highest bit set, and so reads the same bytes for ever; it turns on the spot at a number that does not end within ten bytes; and it
/// follows messages within messages until the stack is used up.
/// After this walk none of that can happen, because both divide the file into the same fields.
fn complete(bytes: &[u8], message: Message, depth: usize) -> Result<(), LoadError> {
    if depth > MAX_DEPTH {
        return Err(LoadError::Malformed(format!("more than {MAX_DEPTH} messages within each other")));
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let broken = || LoadError::Malformed(format!("broken field at byte {at} of a {message:?}"));
        let tag = varint(&mut rest).ok_or_else(broken)?;
        let len = match tag & 7 {
            0 => {
                varint(&mut rest).ok_or_else(broken)?;
                continue;
            }
            1 => 8,
            2 => varint(&mut rest).ok_or_else(broken)?,
            5 => 4,
            _ => return Err(broken()),
        };
        let (field, after) = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len)).ok_or_else(|| {
            let left = rest.len();
            LoadError::Malformed(format!("cut short: the field at byte {at} of a {message:?} wants {len} bytes, {left} are left"))
        })?;
        rest = after;
        if tag & 7 != 2 {
            continue;
        }
        let whole = match FIELDS.iter().find(|row| row.0 == message && row.1 == tag >> 3).map(|row| row.2) {
            Some(Content::Message(inner)) => {
                complete(field, inner, depth + 1)?;
                true
            }
            Some(Content::Varints) => {
                let mut numbers = field;
                while !numbers.is_empty() {
                    varint(&mut numbers).ok_or_else(broken)?;
                }
                true
            }
            Some(Content::Fixed(size)) => field.len().is_multiple_of(size),
            None => true,
        };
        if !whole {
            return Err(broken());
        }
    }
    Ok(())
}

/// Takes a number off the front: seven bits a byte, the eighth says that it goes on, ten bytes at most and no bit beyond the 64th.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_length_beyond_the_file_is_refused_before_anything_is_reserved() {
        let file = [0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]; // graph of 2 TiB
        let Err(LoadError::Malformed(reason)) = declared_types(&file) else { panic!("accepted") };
        assert_eq!(reason, "cut short: the field at byte 0 of a Model wants 2199023255551 bytes, 0 are left");
    }

    #[test]
    fn a_length_beyond_its_message_is_refused_before_anything_is_reserved() {
        // graph of 8 bytes { input of 6 bytes { name of 2 TiB } }
        let file = [0x3a, 0x08, 0x5a, 0x06, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(declared_types(&file), Err(LoadError::Malformed(_))));
    }

    #[test]
    fn a_length_that_points_backwards_is_refused() {
        // graph of 11 bytes { unknown field of -9 bytes }
        let file = [0x3a, 0x0b, 0x7a, 0xf7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(matches!(declared_types(&file), Err(LoadError::Malformed(_))));
    }

    #[test]
    fn packed_numbers_that_end_in_the_middle_are_refused() {
        // graph { initializer { dims: packed, and its one number goes on behind it } }, then { float_data of 3 bytes }
        assert!(matches!(declared_types(&[0x3a, 0x05, 0x2a, 0x03, 0x0a, 0x01, 0x80]), Err(LoadError::Malformed(_))));
        assert!(matches!(declared_types(&[0x3a, 0x07, 0x2a, 0x05, 0x22, 0x03, 0, 0, 0]), Err(LoadError::Malformed(_))));
    }

    #[test]
    fn graphs_within_graphs_without_end_are_refused() {
        let mut file = Vec::new();
        for _ in 0..100 {
            // Attribute.g, Node.attribute, Graph.node around the graph that is there already.
            for field in [0x32, 0x2a, 0x0a] {
                let mut outer = vec![field];
                let mut len = file.len();
                while len >= 0x80 {
                    outer.push((len & 0x7f) as u8 | 0x80);
                    len >>= 7;
                }
                outer.push(len as u8);
                outer.append(&mut file);
                file = outer;
            }
        }
        let Err(LoadError::Malformed(reason)) = complete(&file, Message::Graph, 0) else { panic!("accepted") };
        assert_eq!(reason, "more than 64 messages within each other");
    }

    #[test]
    fn a_half_varint_is_refused() {
        assert!(matches!(declared_types(&[0x08, 0x80]), Err(LoadError::Malformed(_))));
    }

    #[test]
    fn a_number_that_does_not_end_is_refused_wherever_it_stands() {
        assert!(matches!(declared_types(&[0xff; 64]), Err(LoadError::Malformed(_))));
        let mut packed = vec![0x3a, 24, 0x2a, 22, 0x0a, 20];
        packed.extend([0xff; 19]);
        packed.push(0);
        assert!(matches!(declared_types(&packed), Err(LoadError::Malformed(_))));
    }

    #[test]
    fn numbers_of_every_length_are_read() {
        for (bytes, value) in
            [(&[0][..], 0), (&[0x96, 0x01], 150), (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], u64::MAX)]
        {
            let mut rest = bytes;
            assert_eq!(varint(&mut rest), Some(value));
            assert!(rest.is_empty());
        }
        assert_eq!(varint(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..]), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0u8.., 0..256)) {
            let _ = declared_types(&bytes);
        }
    }
}
