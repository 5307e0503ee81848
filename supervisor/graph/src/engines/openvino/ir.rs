//! OpenVINO's own format: a description in XML, and the weights beside it.
//!
//! Runs in: graph host. The model of our own is read before the process is hardened, so that the reader is mapped; a vendor's only after the lock, when both
//! digests were compared.
//! Does not: read the description, which is the library's to do. It is told here that it is text, and refused with what no description needs.

use openvino::ElementType;
use openvino::InferenceError;
use openvino::Shape;
use openvino::Tensor;

use super::NAME;
use super::words;
use crate::engine::LoadError;

/// How the library that reads the format is called, whatever its version.
pub(super) const READER: &str = "libopenvino_ir_frontend.so";

/// A model of our own, without weights: what comes in goes out.
pub(super) const EMPTY: &str = concat!(
    r#"<?xml version="1.0"?><net name="empty" version="11"><layers>"#,
    r#"<layer id="0" name="a" type="Parameter" version="opset1"><data shape="1" element_type="f32"/>"#,
    r#"<output><port id="0" precision="FP32" names="a"><dim>1</dim></port></output></layer>"#,
    r#"<layer id="1" name="b" type="Result" version="opset1"><input><port id="0" precision="FP32"><dim>1</dim></port></input></layer>"#,
    r#"</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/></edges></net>"#,
);

/// Refuses what is no plain XML in UTF-8: the library would find out by itself which of its parsers, and which encoding, it is for. Of markup declarations only
/// comments pass: a document type is what entities are declared in, and entities are how XML comes to name other files.
pub(super) fn check(description: &[u8]) -> Result<(), LoadError> {
    let malformed = |why: String| Err(LoadError::Malformed(why));
    let text = match std::str::from_utf8(description) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => return malformed(format!("expected XML in UTF-8, found another byte at {}", error.valid_up_to())),
    };
    if text.contains('\0') {
        return malformed("expected XML in UTF-8, found a zero byte".into());
    }
    if !text.trim_ascii_start().starts_with('<') {
        return malformed(format!("expected {NAME}'s description in XML, found what does not begin as XML does"));
    }
    match text.match_indices("<!").find(|(at, _)| !text.get(*at..).is_some_and(|rest| rest.starts_with("<!--"))) {
        Some((at, _)) => malformed(format!("expected no document type and no entities, found `<!` at byte {at}")),
        None => Ok(()),
    }
}

/// The weights as the library takes them: a copy, and theirs is dropped.
pub(super) fn tensor(weights: Vec<u8>) -> Result<Tensor, LoadError> {
    let len = i64::try_from(weights.len()).map_err(|_| LoadError::Unservable("the weights do not fit this machine".into()))?;
    let mut tensor = Shape::new(&[len]).and_then(|shape| Tensor::new(ElementType::U8, &shape)).map_err(refused)?;
    let into = tensor.get_raw_data_mut().map_err(refused)?;
    if into.len() != weights.len() {
        return Err(LoadError::Refused { engine: NAME, reason: format!("it has room for {} bytes of weights", into.len()) });
    }
    into.copy_from_slice(&weights);
    Ok(tensor)
}

/// In the library's words; where those end in the name of the function that gave up on a number, with ours.
pub(super) fn refused(error: InferenceError) -> LoadError {
    let said = words(error);
    let gave_up = ["stoi", "stol", "stoll", "stoul", "stoull"].iter().any(|name| said.rsplit(' ').next() == Some(name));
    let reason = if gave_up { format!("{said}: a number in the description is none, or too large") } else { said };
    LoadError::Refused { engine: NAME, reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn why(description: &[u8]) -> String {
        match check(description) {
            Err(LoadError::Malformed(why)) => why,
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    #[test]
    fn a_description_with_comments_passes() {
        assert!(check(EMPTY.as_bytes()).is_ok());
        assert!(check(format!("\u{feff}\n <!-- a comment -->{EMPTY}").as_bytes()).is_ok());
    }

    #[test]
    fn document_types_entities_and_raw_text_are_refused() {
        for declared in ["<!DOCTYPE net>", "<!ENTITY a \"b\">", "<!doctype net>", "<![CDATA[x]]>", "<!", "<!-"] {
            assert!(why(format!("<?xml version=\"1.0\"?>{declared}<net/>").as_bytes()).contains("at byte 21"), "{declared}");
        }
        assert!(why(b"<!-- a --><net/><!DOCTYPE net>").contains("at byte 16"));
    }

    #[test]
    fn what_is_no_xml_in_utf_8_is_refused_before_the_library_guesses() {
        let wide: Vec<u8> = EMPTY.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(why(&wide).contains("zero byte"));
        assert!(why(b"<net name=\"\xff\"/>").contains("another byte at 11"));
        assert!(why(b"\x08\x08").contains("does not begin"));
        assert!(why(b"").contains("does not begin"));
    }
}
