//! Schemas: what their grammars say is JSON that they take, and hostile ones end soon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use serde_json::json;

use super::*;

/// Says something at random by the grammar. After a while it takes what ends.
fn say(node: &Node, rules: &Rules, dice: &mut u64, depth: usize, text: &mut String) {
    let mut roll = |sides: usize| {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*dice >> 33) as usize % sides.max(1)
    };
    match node {
        Node::Literal(literal) => text.push_str(literal),
        Node::Class(class) => {
            let from = match *class {
                "[0-9]" => "0123456789",
                "[1-9]" => "123456789",
                "[0-9a-f]" => "0af9",
                "[0-9a-fA-F]" => "0aF9",
                "[\"\\\\bfnrt]" => "\"\\bfnrt",
                "[^\"\\\\\\x7F\\x00-\\x1F]" => "a é𝄞/{}[],:",
                "[ ]" => " ",
                "[eE]" => "eE",
                "[-+]" => "-+",
                "[0-2]" => "012",
                "[0-8]" => "08",
                "[01]" => "01",
                "[0-3]" => "03",
                "[0-5]" => "05",
                other => panic!("a class that is not known here: {other}"),
            };
            let all: Vec<char> = from.chars().collect();
            text.push(all[roll(all.len())]);
        }
        Node::All(parts) => parts.iter().for_each(|part| say(part, rules, dice, depth, text)),
        Node::Any(parts) => {
            let at = if depth > 12 { parts.len() - 1 } else { roll(parts.len()) };
            say(&parts[at], rules, dice, depth + 1, text);
        }
        Node::Times(node, least, most) => {
            let more = most.unwrap_or(least + 3).saturating_sub(*least).min(3) as usize;
            let count = *least as usize + if depth > 12 { 0 } else { roll(more + 1) };
            (0..count).for_each(|_| say(node, rules, dice, depth + 1, text));
        }
        Node::Rule(name) => say(&rules[name], rules, dice, depth + 1, text),
    }
}

/// Answers that keep to the schema's grammar.
fn answers(schema: &Value) -> Vec<Value> {
    let (root, rules) = read(&schema.to_string()).unwrap();
    grammar(&schema.to_string()).unwrap();
    let mut dice = 7;
    let one = |_| {
        let mut text = String::new();
        say(&root, &rules, &mut dice, 0, &mut text);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    (0..200).map(one).collect()
}

fn refused(schema: &Value) -> String {
    grammar(&schema.to_string()).unwrap_err().to_string()
}

#[test]
fn an_object_has_what_is_required_and_nothing_that_is_not_named() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Order", "type": "object", "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 4}, "count": {"type": "integer", "minimum": 1, "maximum": 9},
            "price": {"type": "number", "minimum": 0}, "tags": {"type": "array", "items": {"enum": ["a", "b\"\\"]}, "minItems": 1, "maxItems": 3},
            "note": {"type": ["string", "null"]}, "on": {"type": "string", "format": "date-time"}, "id": {"type": "string", "format": "uuid"}
        },
        "required": ["name", "count"]
    });
    let mut optional = 0;
    for answer in answers(&schema) {
        let object = answer.as_object().unwrap();
        let known = schema["properties"].as_object().unwrap();
        assert!(object.keys().all(|key| known.contains_key(key)), "{answer}");
        assert!((1..=4).contains(&object["name"].as_str().unwrap().chars().count()), "{answer}");
        assert!((1..=9).contains(&object["count"].as_i64().unwrap()), "{answer}");
        optional += object.len() - 2;
        if let Some(tags) = object.get("tags") {
            let tags = tags.as_array().unwrap();
            assert!((1..=3).contains(&tags.len()) && tags.iter().all(|tag| tag == "a" || tag == "b\"\\"), "{answer}");
        }
        assert!(object.get("price").is_none_or(|price| price.as_f64().unwrap() >= 0.0), "{answer}");
        assert!(object.get("note").is_none_or(|note| note.is_string() || note.is_null()), "{answer}");
        assert!(object.get("id").is_none_or(|id| id.as_str().unwrap().len() == 36), "{answer}");
    }
    assert!(optional > 100, "what may be left out is always left out");
}

/// The engine reads this grammar, and a real model answers by it, in the tests of the language host.
#[test]
fn the_grammar_that_the_engine_is_tested_with_is_made_of_this_schema() {
    let schema = json!({
        "type": "object", "properties": {
            "city": {"type": "string", "maxLength": 12}, "capital": {"type": "boolean"}, "people": {"type": "integer", "minimum": 0},
            "near": {"type": "array", "items": {"enum": ["sea", "river \"Po\"", "C:\\hills"]}, "maxItems": 2}, "founded": {"type": "string", "format": "date"},
            "mayor": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/person"}]}
        },
        "required": ["city", "capital", "near", "founded", "people"], "$defs": {"person": {"properties": {"name": {}, "boss": {"$ref": "#/$defs/person"}}}}
    });
    assert_eq!(grammar(&schema.to_string()).unwrap(), include_str!("../../../language/tests/common/city.gbnf"));
}

#[test]
fn types_choices_and_references_say_what_the_schema_takes() {
    let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {
        "type": "object", "properties": {"v": {"type": "integer"}, "left": {"$ref": "#/$defs/node"}}, "required": ["v"]}}});
    for answer in answers(&tree) {
        let mut at = &answer;
        while let Some(left) = at.get("left") {
            assert!(at["v"].is_i64());
            at = left;
        }
    }
    let either = json!({"anyOf": [{"const": {"a": [1, "x"]}}, {"type": "boolean"}, {"type": "integer", "exclusiveMinimum": 0}]});
    assert!(
        answers(&either)
            .iter()
            .all(|answer| *answer == json!({"a": [1, "x"]}) || answer.is_boolean() || answer.as_i64().is_some_and(|n| n > 0))
    );
    assert!(answers(&json!({"type": "integer", "enum": [1, "one", 2.5, 3]})).iter().all(|answer| *answer == 1 || *answer == 3));
    assert!(
        answers(&json!({"additionalProperties": {"type": "null"}})).iter().all(|answer| answer
            .as_object()
            .unwrap()
            .values()
            .all(Value::is_null))
    );
    assert!(answers(&json!({"items": {"type": "string"}, "maxItems": 0})).iter().all(|answer| *answer == json!([])));
    for any in [json!({}), json!(true)] {
        answers(&any);
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (schema, message) in [
        (json!({"type": "string", "pattern": "a+"}), "has the keyword `pattern`, which is not supported"),
        (json!({"not": {}}), "has the keyword `not`, which is not supported"),
        (json!({"type": "object", "properties": {"a": {"multipleOf": 2}}}), "has the keyword `multipleOf`, which is not supported"),
        (json!({"anyOf": [{}], "properties": {}}), "has the keyword `properties`, which is not supported"),
        (json!({"\u{1b}[2J": 1}), "has the keyword `\\u{1b}[2J`, which is not supported"),
    ] {
        assert_eq!(refused(&schema), message);
    }
    for schema in [
        json!(false),
        json!([]),
        json!({"type": "any"}),
        json!({"type": ["string", 1]}),
        json!({"type": "integer", "minimum": 5}),
        json!({"type": "integer", "minimum": 0, "maximum": 100_000}),
        json!({"type": "integer", "maximum": 3}),
        json!({"type": "integer", "exclusiveMinimum": i64::MAX}),
        json!({"type": "number", "maximum": 1}),
        json!({"type": "string", "format": "email"}),
        json!({"type": "string", "maxLength": 257}),
        json!({"type": "array", "minItems": 3, "maxItems": 2}),
        json!({"type": "array", "items": [{}, {}]}),
        json!({"required": ["a"]}),
        json!({"enum": []}),
        json!({"type": "null", "const": 1}),
        json!({"allOf": [{}, {}]}),
        json!({"$ref": "https://example.com/schema.json"}),
        json!({"$ref": "#/properties/a"}),
        json!({"$ref": "#/$defs/none"}),
    ] {
        refused(&schema);
    }
}

#[test]
fn a_hostile_schema_is_refused_soon() {
    let begun = std::time::Instant::now();
    let deep = format!("{}{}{}", r#"{"items":"#.repeat(100), "{}", "}".repeat(100));
    assert_eq!(grammar(&deep), Err(SchemaError::TooDeep));
    assert_eq!(grammar(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))), Err(SchemaError::Malformed));
    assert!(matches!(grammar(&" ".repeat(MAX_SCHEMA + 1)), Err(SchemaError::TooLong { .. })));
    // Each level twice the one before, if references were written out.
    let doubling: Map<String, Value> = (0..200)
        .map(|at| {
            let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
            (format!("d{at}"), if at < 14 { json!({"anyOf": [next, next]}) } else { json!({}) })
        })
        .collect();
    assert!(grammar(&json!({"$ref": "#/$defs/d0", "$defs": doubling}).to_string()).unwrap().len() < 4096);
    let wide: Vec<String> = (0..3000).map(|at| format!("value number {at}")).collect();
    assert!(matches!(grammar(&json!({"enum": wide}).to_string()), Err(SchemaError::TooLong { .. } | SchemaError::TooLarge)));
    // Each of these few bytes is 256 alternatives.
    let ranges: Vec<Value> = (0..300).map(|_| json!({"type": "integer", "minimum": 0, "maximum": 255})).collect();
    assert_eq!(grammar(&json!({"anyOf": ranges}).to_string()), Err(SchemaError::TooLarge));
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

/// The next of a row of numbers that is the same each time.
fn next(dice: &mut u64, sides: u64) -> u64 {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*dice >> 33) % sides
}

fn any_text(dice: &mut u64) -> String {
    let signs: Vec<char> = "\"\\{}[]()<>|:=*+?#'\n\r\t\0\u{7f}\u{9b}aZ0 é𝄞\u{2028}".chars().collect();
    (0..next(dice, 12)).map(|_| signs[next(dice, signs.len() as u64) as usize]).collect()
}

fn any_schema(dice: &mut u64, depth: u32) -> Value {
    let words =
        ["type", "properties", "items", "enum", "const", "anyOf", "$ref", "required", "minimum", "maxItems", "format", "$defs", "x"];
    let leaves = [
        json!("string"),
        json!("object"),
        json!("#"),
        json!("#/$defs/x"),
        json!(null),
        json!(true),
        json!(1),
        json!(-1),
        json!(1e300),
        json!({}),
    ];
    match next(dice, if depth > 4 { 2 } else { 6 }) {
        0 => leaves[next(dice, leaves.len() as u64) as usize].clone(),
        1 => Value::from(any_text(dice)),
        2 => (0..next(dice, 4)).map(|_| any_schema(dice, depth + 1)).collect(),
        _ => {
            let pairs =
                (0..next(dice, 4)).map(|_| (words[next(dice, words.len() as u64) as usize].to_owned(), any_schema(dice, depth + 1)));
            Value::Object(pairs.collect())
        }
    }
}

#[test]
fn any_schema_is_refused_or_makes_a_grammar_within_bounds() {
    let (mut dice, mut taken) = (1, 0);
    for _ in 0..50_000 {
        let schema = any_schema(&mut dice, 0).to_string();
        if let Ok(grammar) = grammar(&schema) {
            taken += 1;
            assert!(grammar.len() <= MAX_GRAMMAR && !grammar.contains('\0'), "{schema}");
        }
    }
    assert!(taken > 500, "{taken} are taken at all");
}

#[test]
fn texts_of_a_schema_stay_in_their_quotes() {
    let mut dice = 2;
    for _ in 0..300 {
        let text = any_text(&mut dice);
        let schema = json!({"properties": {text.clone(): {"const": text.clone()}}, "required": [text.clone()]});
        let printed = grammar(&schema.to_string()).unwrap();
        // Every line is one rule: no text of the schema ends one.
        assert!(printed.lines().all(|line| line.contains(" ::= ")), "{printed}");
        assert_eq!(answers(&schema)[0], json!({text.clone(): text.clone()}));
    }
}
