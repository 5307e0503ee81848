//! An exported entry as one line: its fields set, its texts escaped, its length bounded.
//!
//! Runs in: CLI, exporter.
//! Does not: know what an entry means.

use serde_json::Value;

use crate::ocsf::MAX_LINE;
use crate::text::cut;
use crate::text::printable;

/// Sets a field of the object at a place.
pub(crate) fn set(value: &mut Value, at: &str, name: &str, field: Value) {
    if let Some(object) = value.pointer_mut(at).and_then(Value::as_object_mut) {
        object.insert(name.to_owned(), field);
    }
}

/// Escapes what a terminal or a viewer would obey, in all texts.
pub(crate) fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = printable(text.as_bytes()),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        _ => {}
    }
}

/// The event as a line. If it is too long, its texts are cut, and `metadata` says so.
pub(crate) fn bounded(mut event: Value) -> String {
    let whole = event.to_string();
    if whole.len() <= MAX_LINE {
        return whole;
    }
    set(&mut event, "/metadata", "is_truncated", true.into());
    set(&mut event, "/metadata", "untruncated_size", whole.len().into());
    for longest in [1024, 256, 96] {
        shorten(&mut event, longest);
        let line = event.to_string();
        if line.len() <= MAX_LINE {
            return line;
        }
    }
    // Only lists can still be long, and only what has no field of its own is a list.
    set(&mut event, "", "unmapped", Value::Null);
    set(&mut event, "/entity", "data", Value::Null);
    if let Some(fields) = event.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    event.to_string()
}

pub(crate) fn shorten(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) => {
            if let (short, true) = cut(text, longest) {
                *text = format!("{short}…");
            }
        }
        Value::Array(items) => {
            items.truncate(longest / 8);
            items.iter_mut().for_each(|item| shorten(item, longest));
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| shorten(field, longest)),
        _ => {}
    }
}
