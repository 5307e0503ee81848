//! The format as a JSON Schema (draft 7), for editors: completion, descriptions, and most mistakes while they are typed.
//!
//! Runs in: command line (`edgeguard policy schema`).
//! Does not: say all that [`crate::parse`] says. A schema sees one value at a time: overlaps, ids that name nothing, windows, and what a number with
//! a unit comes to are left to `policy check`. It never refuses a text that [`crate::parse`] takes.

mod words;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::schema;
use crate::schema::Key;
use crate::schema::Kind;
use crate::schema::Need;
use crate::schema::Section;
use words::Row;
use words::Takes;

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A module's policy.
    Policy,
    /// A profile that policies may name.
    Profile,
    /// The host's own file.
    Host,
}

/// The schema of a format: one JSON object, draft 7, which is the newest that the TOML language servers in use read.
///
/// Dates and times of TOML are strings of the format `date-time` in it, as every such server hands them over.
#[must_use]
pub fn json_schema(format: Format) -> Value {
    let (section, rows, title, what) = match format {
        Format::Policy => (&schema::POLICY, words::POLICY, "Edgeguard policy", "What one module may have; whatever is absent is refused."),
        Format::Profile => (&schema::PROFILE, words::POLICY, "Edgeguard profile", "What several policies share; each of them names it."),
        Format::Host => {
            (&schema::HOST, words::HOST, "Edgeguard host file", "Where things are, who may ask, and the floor for all modules.")
        }
    };
    let mut root = table(section, rows, "", format);
    root.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    root.insert("title".into(), json!(title));
    root.insert("description".into(), json!(what));
    Value::Object(root)
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") }
}

fn find(rows: &'static [Row], path: &str) -> Option<&'static Row> {
    rows.iter().find(|row| row.path == path)
}

/// A section: its keys, which of them must be there, and no others.
fn table(section: &'static Section, rows: &'static [Row], above: &str, format: Format) -> Map<String, Value> {
    let properties: Map<String, Value> =
        section.keys.iter().map(|key| (key.name.to_owned(), value(key, rows, &join(above, key.name), format))).collect();
    // What a profile may say is required of the two together, which is said at the top.
    let elsewhere = |key: &&Key| format != Format::Host && schema::may_be_shared(section, key);
    let required: Vec<&str> = section.keys.iter().filter(|key| key.need == Need::Required && !elsewhere(key)).map(|key| key.name).collect();
    let mut object = Map::new();
    object.insert("type".into(), json!("object"));
    object.insert("additionalProperties".into(), json!(false));
    if !required.is_empty() {
        object.insert("required".into(), json!(required));
    }
    object.insert("properties".into(), Value::Object(properties));
    for (name, choice) in words::choice(above, format == Format::Policy) {
        object.insert(name.into(), choice);
    }
    object
}

/// A key's value.
fn value(key: &'static Key, rows: &'static [Row], path: &str, format: Format) -> Value {
    let row = find(rows, path);
    let takes = row.map_or(Takes::Anything, |row| row.takes);
    let most = row.and_then(|row| row.most);
    let mut object = match &key.kind {
        Kind::Text => one(json!({ "type": "string" }), takes),
        Kind::Integer => one(json!({ "type": "integer" }), takes),
        Kind::Boolean => one(json!({ "type": "boolean" }), takes),
        Kind::Time => one(json!({ "type": "string", "format": "date-time" }), takes),
        Kind::Texts => list(Value::Object(one(json!({ "type": "string" }), takes)), key, row, most),
        Kind::Many(section) => list(Value::Object(table(section, rows, path, format)), key, row, most),
        Kind::One(section) => table(section, rows, path, format),
        Kind::Words => {
            let mut object = one(json!({ "type": "object" }), Takes::Anything);
            object.insert("additionalProperties".into(), Value::Object(one(json!({ "type": "string" }), takes)));
            if let Some(most) = most {
                object.insert("maxProperties".into(), json!(most));
            }
            object
        }
    };
    if let Some(row) = row {
        object.insert("description".into(), json!(row.says));
    }
    Value::Object(object)
}

fn list(items: Value, key: &'static Key, row: Option<&'static Row>, most: Option<usize>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("type".into(), json!("array"));
    object.insert("items".into(), items);
    if key.need == Need::Required || row.is_some_and(|row| row.some) {
        object.insert("minItems".into(), json!(1));
    }
    if let Some(most) = most {
        object.insert("maxItems".into(), json!(most));
    }
    object
}

/// A single value, and what it must look like.
fn one(kind: Value, takes: Takes) -> Map<String, Value> {
    let mut object = match kind {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    for (name, value) in takes.as_json() {
        object.insert(name.into(), value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key of a section and of those below it, dotted.
    fn paths(section: &'static Section, above: &str) -> Vec<String> {
        let mut all = Vec::new();
        for key in section.keys {
            let path = join(above, key.name);
            if let Kind::One(inner) | Kind::Many(inner) = key.kind {
                all.extend(paths(inner, &path));
            }
            all.push(path);
        }
        all
    }

    #[test]
    fn every_key_of_both_formats_is_described_and_no_words_describe_nothing() {
        for (section, rows) in [(&schema::POLICY, words::POLICY), (&schema::HOST, words::HOST)] {
            let known = paths(section, "");
            let wordless: Vec<_> = known.iter().filter(|path| find(rows, path).is_none()).collect();
            let keyless: Vec<_> = rows.iter().map(|row| row.path).filter(|path| !known.iter().any(|key| key == path)).collect();
            assert!(wordless.is_empty() && keyless.is_empty(), "not described: {wordless:?}; described and not there: {keyless:?}");
        }
    }
}
