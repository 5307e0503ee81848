//! From a JSON schema to a grammar that the answer keeps to.
//!
//! Runs in: worker, on guest threads.
//! Invariant: an answer that keeps to the grammar to its end is JSON that the schema takes, but for `oneOf`, which is read as `anyOf`. Not every value that the
//! schema takes can be said: properties that it does not name are left out, and named ones come in the order of their names, the required ones first. What is
//! not understood is refused by its keyword and never passed over. Depth, rules and length of what is made are bounded, and each part of the schema is looked
//! at once.
//! Does not: fetch a reference; only those into the schema's own `$defs` and `definitions` are followed.
//!
//! Keywords: JSON Schema 2020-12, <https://json-schema.org/draft/2020-12/json-schema-validation>. Grammar: GBNF, llama.cpp's `grammars/README.md`.

mod grammar;
mod number;

use std::collections::BTreeMap;

use edgeguard_wire::language::MAX_GRAMMAR;
use serde_json::Map;
use serde_json::Value;

use self::grammar::Node;

/// The longest schema, in bytes.
pub const MAX_SCHEMA: usize = 32 * 1024;
/// Schemas within each other.
const MAX_DEPTH: usize = 32;
/// The most rules of a grammar.
const MAX_RULES: usize = 1024;
/// The highest count of items or characters that can be asked for: the engine writes each out.
const MAX_COUNT: u64 = 256;

/// Keywords that say nothing about what is valid.
const NOTES: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];
/// Keywords of one type each, which say nothing about values of another.
const OF_TYPES: &[&str] = &[
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];

/// Why a schema is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is too long.
    #[error("has {found} bytes, expected at most {MAX_SCHEMA}")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// It is no JSON.
    #[error("is no JSON")]
    Malformed,
    /// It nests too deep.
    #[error("has more than {MAX_DEPTH} schemas within each other")]
    TooDeep,
    /// The grammar would be too long.
    #[error("makes a grammar of more than {MAX_GRAMMAR} bytes")]
    TooLarge,
    /// A keyword that would bound the answer and is not understood.
    #[error("has the keyword `{0}`, which is not supported")]
    Keyword(String),
    /// A keyword has a value that it may not have, or none that is understood.
    #[error("has a `{keyword}` that is not supported: expected {expected}")]
    Value {
        /// The keyword.
        keyword: &'static str,
        /// What is understood.
        expected: &'static str,
    },
}

/// The grammar, in GBNF, whose answers are what the schema takes.
///
/// # Errors
/// [`SchemaError`].
pub fn grammar(schema: &str) -> Result<String, SchemaError> {
    let (root, rules) = read(schema)?;
    grammar::print(&root, &rules).ok_or(SchemaError::TooLarge)
}

type Rules = BTreeMap<String, Node>;

fn read(schema: &str) -> Result<(Node, Rules), SchemaError> {
    if schema.len() > MAX_SCHEMA {
        return Err(SchemaError::TooLong { found: schema.len() });
    }
    let whole: Value = serde_json::from_str(schema).map_err(|_| SchemaError::Malformed)?;
    let mut reader = Reader { whole: &whole, rules: grammar::basics(), references: BTreeMap::new() };
    let root = reader.schema(&whole, 0)?;
    Ok((root, reader.rules))
}

struct Reader<'a> {
    whole: &'a Value,
    rules: Rules,
    /// By reference, the rule that stands for it. One that is being read is there already, so a schema may hold itself.
    references: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn schema(&mut self, schema: &Value, depth: usize) -> Result<Node, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(SchemaError::TooDeep);
        }
        if self.rules.len() > MAX_RULES {
            return Err(SchemaError::TooLarge);
        }
        let schema = match schema {
            Value::Bool(true) => return Ok(Node::rule("value")),
            Value::Object(schema) => schema,
            _ => return Err(SchemaError::Value { keyword: "schema", expected: "an object or `true`" }),
        };
        if let Some(reference) = schema.get("$ref") {
            only(schema, &["$ref"])?;
            return self.reference(reference, depth);
        }
        for keyword in ["enum", "const"] {
            if let Some(values) = schema.get(keyword) {
                only(schema, &[keyword, "type"])?;
                return choice(schema, values, keyword);
            }
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            if let Some(parts) = schema.get(keyword) {
                only(schema, &[keyword])?;
                return self.any_of(parts, keyword, depth);
            }
        }
        only(schema, &[OF_TYPES, &["type"]].concat())?;
        let types = types(schema)?;
        let kinds: Vec<Node> = types.iter().map(|ty| self.of_type(ty, schema, depth)).collect::<Result<_, _>>()?;
        Ok(Node::any(kinds))
    }

    fn of_type(&mut self, ty: &str, schema: &Map<String, Value>, depth: usize) -> Result<Node, SchemaError> {
        match ty {
            "any" => Ok(Node::rule("value")),
            "null" => Ok(Node::literal("null")),
            "boolean" => Ok(Node::rule("boolean")),
            "integer" => number::integer(schema),
            "number" => number::number(schema),
            "string" => string(schema),
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth),
            _ => Err(SchemaError::Value { keyword: "type", expected: "the name of a type of JSON, or a list of them" }),
        }
    }

    fn reference(&mut self, reference: &Value, depth: usize) -> Result<Node, SchemaError> {
        let wrong = SchemaError::Value { keyword: "$ref", expected: "`#`, `#/$defs/NAME` or `#/definitions/NAME` of the same schema" };
        let name = reference.as_str().ok_or_else(|| wrong.clone())?;
        if let Some(rule) = self.references.get(name) {
            return Ok(Node::rule(rule));
        }
        let found = if name == "#" {
            Some(self.whole)
        } else {
            let in_part = |part: &str| self.whole.get(part)?.get(name.strip_prefix("#/")?.strip_prefix(part)?.strip_prefix('/')?);
            in_part("$defs").or_else(|| in_part("definitions"))
        };
        let found = found.ok_or(wrong)?;
        let rule = format!("ref{}", self.references.len());
        self.references.insert(name.to_owned(), rule.clone());
        let node = self.schema(found, depth + 1)?;
        self.rules.insert(rule.clone(), node);
        Ok(Node::rule(&rule))
    }

    fn any_of(&mut self, parts: &Value, keyword: &'static str, depth: usize) -> Result<Node, SchemaError> {
        let parts = parts.as_array().map(Vec::as_slice).unwrap_or_default();
        match (keyword, parts) {
            (_, []) => Err(SchemaError::Value { keyword, expected: "a list of schemas" }),
            ("allOf", [_, _, ..]) => Err(SchemaError::Value { keyword, expected: "one schema" }),
            (_, parts) => Ok(Node::any(parts.iter().map(|part| self.schema(part, depth + 1)).collect::<Result<_, _>>()?)),
        }
    }

    fn array(&mut self, schema: &Map<String, Value>, depth: usize) -> Result<Node, SchemaError> {
        let item = match schema.get("items") {
            Some(items) => self.schema(items, depth + 1)?,
            None => Node::rule("value"),
        };
        let item = self.named(item);
        let (least, most) = counts(schema, "minItems", "maxItems")?;
        if most == Some(0) {
            return Ok(Node::all([Node::literal("["), Node::rule("ws"), Node::literal("]")]));
        }
        let more = Node::all([Node::literal(","), Node::rule("ws"), item.clone()]);
        let more = more.times(least.saturating_sub(1), most.map(|most| most - 1));
        let items = Node::all([item, more]);
        let items = if least == 0 { items.times(0, Some(1)) } else { items };
        Ok(Node::all([Node::literal("["), Node::rule("ws"), items, Node::rule("ws"), Node::literal("]")]))
    }

    fn object(&mut self, schema: &Map<String, Value>, depth: usize) -> Result<Node, SchemaError> {
        let none = Map::new();
        let properties = match schema.get("properties") {
            None => &none,
            Some(properties) => {
                properties.as_object().ok_or(SchemaError::Value { keyword: "properties", expected: "an object of schemas" })?
            }
        };
        let required: Vec<&str> = match schema.get("required") {
            None => Vec::new(),
            Some(required) => {
                let names = required.as_array().and_then(|names| names.iter().map(Value::as_str).collect());
                names.ok_or(SchemaError::Value { keyword: "required", expected: "a list of names" })?
            }
        };
        if required.iter().any(|name| !properties.contains_key(*name)) {
            return Err(SchemaError::Value { keyword: "required", expected: "names that stand in `properties`" });
        }
        if properties.is_empty() {
            return self.map(schema, depth);
        }
        let (mut always, mut maybe) = (Vec::new(), Vec::new());
        for (name, property) in properties {
            let value = self.schema(property, depth + 1)?;
            let pair = Node::all([Node::json(&Value::from(name.as_str())), Node::literal(":"), Node::rule("ws"), value]);
            let pair = self.named(pair);
            if required.contains(&name.as_str()) { always.push(pair) } else { maybe.push(pair) }
        }
        let comma = || Node::all([Node::literal(","), Node::rule("ws")]);
        // From the last on: each of those that may be left out, and what may follow it, or what may follow alone.
        let mut rest: Option<Node> = None;
        for pair in maybe.into_iter().rev() {
            let with = match &rest {
                Some(rest) => Node::all([pair, Node::all([comma(), rest.clone()]).times(0, Some(1))]),
                None => pair,
            };
            let either = Node::any(std::iter::once(with).chain(rest).collect());
            rest = Some(self.named(either));
        }
        let mut parts = vec![Node::literal("{"), Node::rule("ws")];
        let bare = always.is_empty();
        for (at, pair) in always.into_iter().enumerate() {
            if at > 0 {
                parts.push(comma());
            }
            parts.push(pair);
        }
        if let Some(rest) = rest {
            parts.push(if bare { rest } else { Node::all([comma(), rest]) }.times(0, Some(1)));
        }
        parts.extend([Node::rule("ws"), Node::literal("}")]);
        Ok(Node::all(parts))
    }

    /// An object whose properties have no names.
    fn map(&mut self, schema: &Map<String, Value>, depth: usize) -> Result<Node, SchemaError> {
        let value = match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => return Ok(Node::all([Node::literal("{"), Node::rule("ws"), Node::literal("}")])),
            None | Some(Value::Bool(true)) => return Ok(Node::rule("object")),
            Some(other) => self.schema(other, depth + 1)?,
        };
        let pair = Node::all([Node::rule("string"), Node::literal(":"), Node::rule("ws"), value]);
        Ok(grammar::object_of(self.named(pair)))
    }

    /// A rule in its place, so that what stands in several places is written once.
    fn named(&mut self, node: Node) -> Node {
        if matches!(node, Node::Rule(_)) {
            return node;
        }
        let name = format!("r{}", self.rules.len());
        self.rules.insert(name.clone(), node);
        Node::rule(&name)
    }
}

/// That a schema has no keyword but these and notes.
fn only(schema: &Map<String, Value>, keywords: &[&str]) -> Result<(), SchemaError> {
    match schema.keys().find(|key| !keywords.contains(&key.as_str()) && !NOTES.contains(&key.as_str())) {
        None => Ok(()),
        Some(other) => Err(SchemaError::Keyword(other.chars().take(64).collect::<String>().escape_debug().to_string())),
    }
}

/// The types that a schema names, or else the one that its keywords are about, or else any.
fn types(schema: &Map<String, Value>) -> Result<Vec<&str>, SchemaError> {
    let wrong = SchemaError::Value { keyword: "type", expected: "the name of a type of JSON, or a list of them" };
    match schema.get("type") {
        Some(Value::String(ty)) if ty != "any" => Ok(vec![ty]),
        Some(Value::Array(all)) if !all.is_empty() && all.len() <= 7 => {
            all.iter().map(|ty| ty.as_str().filter(|ty| *ty != "any")).collect::<Option<_>>().ok_or(wrong)
        }
        Some(_) => Err(wrong),
        None => Ok(vec![match schema.keys().find(|key| OF_TYPES.contains(&key.as_str())).map(String::as_str) {
            None => "any",
            Some("properties" | "required" | "additionalProperties") => "object",
            Some("items" | "minItems" | "maxItems") => "array",
            Some("minLength" | "maxLength" | "format") => "string",
            Some(_) => "number",
        }]),
    }
}

/// One of these values, as far as they are of the schema's types.
fn choice(schema: &Map<String, Value>, values: &Value, keyword: &'static str) -> Result<Node, SchemaError> {
    let wrong = SchemaError::Value { keyword, expected: "values, one of which is of the schema's type" };
    let values = match (keyword, values) {
        ("enum", Value::Array(values)) => values.as_slice(),
        ("enum", _) => return Err(wrong),
        (_, value) => std::slice::from_ref(value),
    };
    let types = if schema.contains_key("type") { types(schema)? } else { vec!["any"] };
    let fits = |value: &&Value| types.iter().any(|ty| grammar::is(value, ty));
    let values: Vec<Node> = values.iter().filter(fits).map(Node::json).collect();
    if values.is_empty() { Err(wrong) } else { Ok(Node::any(values)) }
}

fn string(schema: &Map<String, Value>) -> Result<Node, SchemaError> {
    let bounded = schema.contains_key("minLength") || schema.contains_key("maxLength");
    match schema.get("format") {
        None if !bounded => Ok(Node::rule("string")),
        None => {
            let (least, most) = counts(schema, "minLength", "maxLength")?;
            Ok(Node::all([Node::literal("\""), Node::rule("char").times(least, most), Node::literal("\"")]))
        }
        Some(format) => match format.as_str().filter(|_| !bounded) {
            Some(name @ ("date" | "time" | "date-time" | "uuid")) => {
                Ok(Node::all([Node::literal("\""), Node::rule(name), Node::literal("\"")]))
            }
            _ => {
                Err(SchemaError::Value { keyword: "format", expected: "`date`, `time`, `date-time` or `uuid`, without a length beside it" })
            }
        },
    }
}

fn counts(schema: &Map<String, Value>, least: &'static str, most: &'static str) -> Result<(u32, Option<u32>), SchemaError> {
    let count = |keyword: &'static str| match schema.get(keyword) {
        None => Ok(None),
        Some(count) => match count.as_u64().filter(|count| *count <= MAX_COUNT).and_then(|count| u32::try_from(count).ok()) {
            Some(count) => Ok(Some(count)),
            None => Err(SchemaError::Value { keyword, expected: "a whole number from 0 to 256" }),
        },
    };
    let (low, high) = (count(least)?.unwrap_or(0), count(most)?);
    if high.is_some_and(|high| high < low) {
        return Err(SchemaError::Value { keyword: most, expected: "no less than the least" });
    }
    Ok((low, high))
}

#[cfg(test)]
mod tests;
