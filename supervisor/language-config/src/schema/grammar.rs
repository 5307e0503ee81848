//! Grammars as trees, and as GBNF.
//!
//! Runs in: worker, on guest threads.
//! Invariant: nothing of a schema stands in a grammar but in quotes, escaped; the names of rules are made here.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use edgeguard_wire::language::MAX_GRAMMAR;
use serde_json::Value;

use super::Rules;

/// A part of a grammar.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// This text.
    Literal(String),
    /// One character of a class, in GBNF's own words.
    Class(&'static str),
    /// One after the other.
    All(Vec<Node>),
    /// One of them.
    Any(Vec<Node>),
    /// So many times, at most so many.
    Times(Box<Node>, u32, Option<u32>),
    /// What the rule of this name says.
    Rule(String),
}

impl Node {
    pub(super) fn rule(name: &str) -> Self {
        Self::Rule(name.to_owned())
    }

    pub(super) fn literal(text: &str) -> Self {
        Self::Literal(text.to_owned())
    }

    /// A value as JSON has it.
    pub(super) fn json(value: &Value) -> Self {
        Self::Literal(value.to_string())
    }

    pub(super) fn all(parts: impl Into<Vec<Self>>) -> Self {
        Self::All(parts.into())
    }

    pub(super) fn any(parts: Vec<Self>) -> Self {
        Self::Any(parts)
    }

    pub(super) fn times(self, least: u32, most: Option<u32>) -> Self {
        Self::Times(Box::new(self), least, most)
    }
}

/// Whether a value is of a type of JSON Schema.
pub(super) fn is(value: &Value, ty: &str) -> bool {
    match ty {
        "any" => true,
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// An object of any number of such pairs.
pub(super) fn object_of(pair: Node) -> Node {
    let more = Node::all([Node::literal(","), Node::rule("ws"), pair.clone()]).times(0, None);
    let pairs = Node::all([pair, more]).times(0, Some(1));
    Node::all([Node::literal("{"), Node::rule("ws"), pairs, Node::rule("ws"), Node::literal("}")])
}

/// The rules that all grammars may use. White space is short, and numbers are: a model that keeps to a rule without an end may never come to one. Of the
/// escapes of a text those are left out that can stand for half a character.
pub(super) fn basics() -> Rules {
    let digits = |least, most| Node::Class("[0-9]").times(least, Some(most));
    let maybe = |node: Node| node.times(0, Some(1));
    let l = Node::literal;
    let r = Node::rule;
    let positive = Node::all([Node::Class("[1-9]"), digits(0, 15)]);
    let fraction = Node::all([r("natural"), maybe(Node::all([l("."), digits(1, 16)])), maybe(r("exponent"))]);
    let hex = |count| Node::Class("[0-9a-f]").times(count, Some(count));
    let escape = Node::any(vec![Node::Class("[\"\\\\bfnrt]"), Node::all([l("u00"), Node::Class("[0-9a-fA-F]").times(2, Some(2))])]);
    let month = Node::any(vec![Node::all([l("0"), Node::Class("[1-9]")]), Node::all([l("1"), Node::Class("[0-2]")])]);
    // Every month has so many days.
    let day = Node::any(vec![
        Node::all([l("0"), Node::Class("[1-9]")]),
        Node::all([l("1"), Node::Class("[0-9]")]),
        Node::all([l("2"), Node::Class("[0-8]")]),
    ]);
    let hour = Node::any(vec![Node::all([Node::Class("[01]"), Node::Class("[0-9]")]), Node::all([l("2"), Node::Class("[0-3]")])]);
    let sixty = || Node::all([Node::Class("[0-5]"), Node::Class("[0-9]")]);
    let zone = Node::any(vec![l("Z"), Node::all([Node::Class("[-+]"), hour.clone(), l(":"), sixty()])]);
    let array = Node::all([r("value"), Node::all([l(","), r("ws"), r("value")]).times(0, None)]);
    let rules = [
        ("ws", Node::any(vec![l(""), l(" "), Node::all([l("\n"), Node::Class("[ ]").times(0, Some(20))])])),
        ("boolean", Node::any(vec![l("true"), l("false")])),
        ("positive", positive.clone()),
        ("natural", Node::any(vec![l("0"), positive])),
        ("integer", Node::any(vec![r("natural"), Node::all([l("-"), r("positive")])])),
        ("exponent", Node::all([Node::Class("[eE]"), maybe(Node::Class("[-+]")), digits(1, 2)])),
        ("from-zero", fraction),
        ("number", Node::all([maybe(l("-")), r("from-zero")])),
        ("char", Node::any(vec![Node::Class("[^\"\\\\\\x7F\\x00-\\x1F]"), Node::all([l("\\"), escape])])),
        ("string", Node::all([l("\""), r("char").times(0, None), l("\"")])),
        ("array", Node::all([l("["), r("ws"), maybe(array), r("ws"), l("]")])),
        ("object", object_of(Node::all([r("string"), l(":"), r("ws"), r("value")]))),
        ("value", Node::any(["object", "array", "string", "number", "boolean"].map(r).into_iter().chain([l("null")]).collect())),
        ("date", Node::all([digits(4, 4), l("-"), month, l("-"), day])),
        ("time", Node::all([hour, l(":"), sixty(), l(":"), sixty(), maybe(Node::all([l("."), digits(1, 6)])), zone])),
        ("date-time", Node::all([r("date"), l("T"), r("time")])),
        ("uuid", Node::all([hex(8), l("-"), hex(4), l("-"), hex(4), l("-"), hex(4), l("-"), hex(12)])),
    ];
    rules.into_iter().map(|(name, node)| (name.to_owned(), node)).collect()
}

/// The grammar as the engine reads it, with the rules that it needs; `None` if it is too long.
pub(super) fn print(root: &Node, rules: &Rules) -> Option<String> {
    let mut text = String::new();
    let mut wanted = BTreeSet::new();
    let mut written = BTreeSet::new();
    text.push_str("root ::= ");
    write(root, &mut text, &mut wanted, false)?;
    text.push('\n');
    while let Some(name) = wanted.pop_first() {
        if written.insert(name.clone()) {
            // What is not there stays unsaid, and the engine refuses the whole.
            let node = rules.get(&name)?;
            write!(text, "{name} ::= ").ok()?;
            write(node, &mut text, &mut wanted, false)?;
            text.push('\n');
        }
    }
    (text.len() <= MAX_GRAMMAR).then_some(text)
}

/// Writes a part; `group` where it must hold together.
fn write(node: &Node, text: &mut String, wanted: &mut BTreeSet<String>, group: bool) -> Option<()> {
    if text.len() > MAX_GRAMMAR {
        return None;
    }
    match node {
        Node::Literal(literal) => quote(literal, text),
        Node::Class(class) => text.push_str(class),
        Node::Rule(name) => {
            text.push_str(name);
            wanted.insert(name.clone());
        }
        Node::Times(node, least, most) => {
            write(node, text, wanted, true)?;
            match (least, most) {
                (0, Some(1)) => text.push('?'),
                (0, None) => text.push('*'),
                (1, None) => text.push('+'),
                (least, None) => write!(text, "{{{least},}}").ok()?,
                (least, Some(most)) => write!(text, "{{{least},{most}}}").ok()?,
            }
        }
        Node::All(parts) | Node::Any(parts) => {
            if group {
                text.push('(');
            }
            let between = if matches!(node, Node::All(_)) { " " } else { " | " };
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    text.push_str(between);
                }
                write(part, text, wanted, true)?;
            }
            if group {
                text.push(')');
            }
        }
    }
    Some(())
}

fn quote(literal: &str, text: &mut String) {
    text.push('"');
    for character in literal.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control.is_ascii_control() => {
                // Writing to a string does not fail.
                let _ = write!(text, "\\x{:02X}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}
