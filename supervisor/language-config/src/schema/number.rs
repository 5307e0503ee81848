//! Numbers within bounds.
//!
//! Runs in: worker, on guest threads.
//! Invariant: a bound that cannot be said by a short grammar is refused, never widened.

use serde_json::Map;
use serde_json::Value;

use super::SchemaError;
use super::grammar::Node;

/// The most whole numbers that are listed one by one.
const MAX_LISTED: i64 = 256;

const BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];

/// A whole number: any; from 0 or from 1 on; or one of at most 256 that follow each other.
pub(super) fn integer(schema: &Map<String, Value>) -> Result<Node, SchemaError> {
    let bound = |keyword: &'static str| match schema.get(keyword) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(SchemaError::Value { keyword, expected: "a whole number" }),
    };
    let overflow = |keyword| SchemaError::Value { keyword, expected: "a number that has a neighbour" };
    let next = |value: Option<i64>, by: i64, keyword: &'static str| match value {
        None => Ok(None),
        Some(value) => value.checked_add(by).map(Some).ok_or_else(|| overflow(keyword)),
    };
    let least = bound("minimum")?.max(next(bound("exclusiveMinimum")?, 1, "exclusiveMinimum")?);
    let above = next(bound("exclusiveMaximum")?, -1, "exclusiveMaximum")?;
    let most = [bound("maximum")?, above].into_iter().flatten().min();
    match (least, most) {
        (None, None) => Ok(Node::rule("integer")),
        (Some(0), None) => Ok(Node::rule("natural")),
        (Some(1), None) => Ok(Node::rule("positive")),
        (Some(least), Some(most)) if least <= most && most.checked_sub(least).is_some_and(|span| span < MAX_LISTED) => {
            Ok(Node::any((least..=most).map(|number| Node::literal(&number.to_string())).collect()))
        }
        _ => Err(SchemaError::Value {
            keyword: "minimum",
            expected: "0 or 1 alone, or with a `maximum` at most 255 above it, for whole numbers",
        }),
    }
}

/// Any number, or one from 0 on.
pub(super) fn number(schema: &Map<String, Value>) -> Result<Node, SchemaError> {
    let mut found = BOUNDS.iter().filter(|bound| schema.contains_key(**bound));
    match (found.next(), found.next()) {
        (None, _) => Ok(Node::rule("number")),
        (Some(&"minimum"), None) if schema.get("minimum").and_then(Value::as_f64) == Some(0.0) => Ok(Node::rule("from-zero")),
        _ => Err(SchemaError::Value { keyword: "minimum", expected: "0 and no other bound, for numbers that are not whole" }),
    }
}
