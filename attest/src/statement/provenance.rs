//! SLSA build provenance v1: who built the module, by which recipe, with which parameters from outside.
//!
//! Runs in: daemon, CLI; on a payload whose signature has been verified.
//! Does not: judge. What the specification has and no policy asks for (dependencies, metadata, by-products) is bounded by the reader
//! of JSON and otherwise left alone; a field that the specification does not have is refused, unless it is spelled as an extension.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::Fields;
use crate::json::Json;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;

/// The `predicateType` of SLSA provenance (slsa.dev, `spec/v1.0/provenance`).
pub const PROVENANCE_V1: &str = "https://slsa.dev/provenance/v1";

/// The longest URI, in bytes.
const MAX_URI: usize = 2048;

/// What a provenance says that a policy can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// `runDetails.builder.id`: who vouches for the build.
    pub builder: String,
    /// `buildDefinition.buildType`: how to read the parameters.
    pub build_type: String,
    /// `buildDefinition.externalParameters`: what the builder's user could choose; each value as canonical JSON, so a string has its quotes.
    pub parameters: BTreeMap<String, String>,
}

impl Provenance {
    pub(super) fn read(predicate: Json) -> Result<Self, Rejection> {
        let mut predicate = with_extensions(predicate, "statement.predicate")?;
        let mut definition = with_extensions(required(&mut predicate, "buildDefinition")?, "statement.predicate.buildDefinition")?;
        let mut details = with_extensions(required(&mut predicate, "runDetails")?, "statement.predicate.runDetails")?;
        predicate.finish()?;

        let build_type = uri(&mut definition, "buildType")?;
        let parameters = match required(&mut definition, "externalParameters")? {
            Json::Object(fields) => fields.into_iter().map(|(key, value)| (key, canonical(&value))).collect(),
            _ => return Err(malformed("an object", &definition.path_of("externalParameters"))),
        };
        let _ = definition.take("internalParameters");
        let _ = definition.take("resolvedDependencies");
        definition.finish()?;

        let mut builder = with_extensions(required(&mut details, "builder")?, "statement.predicate.runDetails.builder")?;
        let _ = details.take("metadata");
        let _ = details.take("byproducts");
        details.finish()?;

        let id = uri(&mut builder, "id")?;
        let _ = builder.take("version");
        let _ = builder.take("builderDependencies");
        builder.finish()?;
        Ok(Self { builder: id, build_type, parameters })
    }

    /// The first parameter that is not as `wanted` has it, or that only one of both has: (expected, found). Compared are all of them.
    ///
    /// A wanted text is a string's value, or the JSON of a value that is no string.
    pub(crate) fn differs_from(&self, wanted: &BTreeMap<String, String>) -> Option<(String, String)> {
        let absent = || "none".to_owned();
        for (key, text) in wanted {
            match self.parameters.get(key) {
                Some(found) if same_parameter(text, found) => {}
                found => {
                    return Some((format!("parameter {} as {}", shown(key), shown(text)), found.map_or_else(absent, |found| shown(found))));
                }
            }
        }
        let extra = self.parameters.keys().find(|key| !wanted.contains_key(*key))?;
        Some(("no parameter but those of the policy".into(), shown(extra)))
    }
}

/// `found` is canonical JSON.
fn same_parameter(wanted: &str, found: &str) -> bool {
    if found.starts_with('"') {
        let quoted = serde_json::Value::from(wanted).to_string();
        return found == quoted;
    }
    Json::parse(wanted.as_bytes(), "parameter").is_ok_and(|json| canonical(&json) == found)
}

/// JSON with sorted keys and without white space: equal texts are equal values, whatever the writer's habits.
fn canonical(json: &Json) -> String {
    match json {
        Json::Null => "null".into(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        Json::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Json::Object(fields) => {
            let mut sorted: Vec<&(String, Json)> = fields.iter().collect();
            sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
            let fields: Vec<String> =
                sorted.into_iter().map(|(key, value)| format!("{}:{}", serde_json::Value::from(key.as_str()), canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

/// The object's fields without its extension fields, which in-toto spells `vendor_name` and which may be ignored.
fn with_extensions(json: Json, path: &str) -> Result<Fields, Rejection> {
    match json {
        Json::Object(fields) => Fields::of(Json::Object(fields.into_iter().filter(|(key, _)| !key.contains('_')).collect()), path),
        other => Fields::of(other, path),
    }
}

fn required(fields: &mut Fields, key: &'static str) -> Result<Json, Rejection> {
    let path = fields.path_of(key);
    fields.take(key).ok_or_else(|| Rejection::new(Code::Malformed, format!("field `{path}`"), "none"))
}

fn uri(fields: &mut Fields, key: &'static str) -> Result<String, Rejection> {
    let text = fields.string(key)?;
    if text.is_empty() || text.len() > MAX_URI {
        return Err(malformed(&format!("1 to {MAX_URI} bytes"), &fields.path_of(key)));
    }
    Ok(text)
}

fn malformed(expected: &str, path: &str) -> Rejection {
    Rejection::new(Code::Malformed, format!("{expected} in `{path}`"), "something else")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn read(text: &str) -> Result<Provenance, Rejection> {
        Provenance::read(Json::parse(text.as_bytes(), "statement.predicate").unwrap())
    }

    /// In the shape in which a hosted builder writes it.
    const HOSTED: &str = r#"{
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": { "workflow": { "repository": "https://github.com/acme/m", "ref": "refs/tags/v1", "path": ".github/workflows/r.yml" }, "level": 3, "target": "wasm32-wasip1" },
            "internalParameters": { "github": { "event_name": "push" } },
            "resolvedDependencies": [{ "uri": "git+https://github.com/acme/m@refs/tags/v1", "digest": { "gitCommit": "00" } }]
        },
        "runDetails": {
            "builder": { "id": "https://github.com/acme/m/.github/workflows/r.yml@refs/tags/v1", "version": { "x": "1" } },
            "metadata": { "invocationId": "https://github.com/acme/m/actions/runs/1", "startedOn": "2026-01-01T00:00:00Z" },
            "byproducts": [],
            "acme_note": { "anything": true }
        }
    }"#;

    fn wanted(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_a_policy_asks_for_is_read_and_the_rest_of_the_specification_is_left_alone() {
        let provenance = read(HOSTED).unwrap();
        assert_eq!(provenance.builder, "https://github.com/acme/m/.github/workflows/r.yml@refs/tags/v1");
        assert_eq!(provenance.build_type, "https://actions.github.io/buildtypes/workflow/v1");
        assert_eq!(provenance.parameters["target"], "\"wasm32-wasip1\"");
    }

    #[test]
    fn parameters_match_whole_and_in_any_order_of_keys() {
        let provenance = read(HOSTED).unwrap();
        let workflow = r#"{"path":".github/workflows/r.yml","ref":"refs/tags/v1", "repository":"https://github.com/acme/m"}"#;
        let all = [("workflow", workflow), ("level", "3"), ("target", "wasm32-wasip1")];
        assert_eq!(provenance.differs_from(&wanted(&all)), None);
        assert!(provenance.differs_from(&wanted(&all[..2])).is_some(), "one more was given than is wanted");
        let absent = [all[0], all[1], all[2], ("debug", "false")];
        assert!(provenance.differs_from(&wanted(&absent)).is_some(), "one that is wanted was not given");
        for other in
            [("level", "4"), ("level", "\"3\""), ("level", ""), ("target", "\"wasm32-wasip1\""), ("target", "wasm32"), ("workflow", "{}")]
        {
            let mut changed = wanted(&all);
            changed.insert(other.0.into(), other.1.into());
            assert!(provenance.differs_from(&changed).is_some(), "{other:?}");
        }
    }

    #[test]
    fn a_string_is_not_taken_for_the_value_that_it_spells() {
        let text = HOSTED.replace(r#""level": 3"#, r#""level": "{}""#);
        let provenance = read(&text).unwrap();
        assert!(same_parameter("{}", &provenance.parameters["level"]), "a string is compared with the text itself");
        assert!(!same_parameter("\"{}\"", &provenance.parameters["level"]));
    }

    #[test]
    fn what_the_specification_does_not_have_is_refused() {
        for (from, to, code) in [
            (r#""byproducts": []"#, r#""verdict": "bad""#, Code::UnknownField),
            (r#""version": { "x": "1" }"#, r#""tenant": 1"#, Code::UnknownField),
            (r#""buildType": "https://actions.github.io/buildtypes/workflow/v1","#, "", Code::Malformed),
            (r#""buildType": "https://actions.github.io/buildtypes/workflow/v1","#, r#""buildType": "","#, Code::Malformed),
        ] {
            let text = HOSTED.replace(from, to);
            assert_ne!(text, HOSTED, "{from}");
            assert_eq!(read(&text).unwrap_err().code, code, "{from} as {to}");
        }
    }
}
