//! What guests ask of language models: their configuration, and the schema in it that becomes a grammar.

use edgeguard_language_config::Config;
use edgeguard_language_config::MAX_CONFIG;
use edgeguard_language_config::MAX_SCHEMA;
use edgeguard_wire::language::MAX_GRAMMAR;
use serde_json::json;

use crate::MIB;
use crate::Target;

pub(crate) const CONFIG: Target = Target {
    name: "config",
    reads: "the configuration that a guest gives a language model",
    memory: 32 * MIB,
    longest: MAX_CONFIG,
    run: take,
    seeds: || {
        let known = json!({
            "enable-log": false, "stream-stdout": true, "ctx-size": 1024, "n-predict": -1, "temp": 0.8, "top-p": 0.9, "top-k": 40, "min-p": 0.05,
            "repeat-penalty": 1.1, "presence-penalty": 0, "frequency-penalty": 0.5, "seed": 42, "reverse-prompt": "USER:", "split-mode": "layer",
        });
        let others = [
            json!({ "grammar": "root ::= \"a\" | [b-z]+", "mirostat": 0, "tts": false, "unknown": [1, { "a": null }] }),
            json!({ "json-schema": SCHEMAS[0] }),
            json!({ "mmproj": "/etc/shadow" }),
        ];
        std::iter::once(known).chain(others).map(|value| value.to_string().into_bytes()).collect()
    },
};

pub(crate) const SCHEMA: Target = Target {
    name: "schema",
    reads: "a JSON schema in such a configuration, which becomes a grammar",
    memory: 32 * MIB,
    longest: MAX_SCHEMA,
    run: |input| {
        if let Ok(schema) = std::str::from_utf8(input) {
            take(json!({ "json-schema": schema }).to_string().as_bytes());
        }
    },
    seeds: || SCHEMAS.iter().map(|schema| schema.as_bytes().to_vec()).collect(),
};

/// Each keyword that becomes a grammar.
const SCHEMAS: [&str; 3] = [
    r##"{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":8},"age":{"type":"integer","minimum":0,"maximum":130},
        "tags":{"type":"array","items":{"enum":["a",1,null,true]},"minItems":1,"maxItems":3}},"required":["name"],"additionalProperties":false}"##,
    r##"{"$defs":{"node":{"anyOf":[{"type":"null"},{"type":"object","properties":{"next":{"$ref":"#/$defs/node"}}}]}},"$ref":"#/$defs/node"}"##,
    r##"{"oneOf":[{"const":{"a":[1.5]}},{"type":["number","boolean"]},{"type":"array","prefixItems":[{"type":"string","pattern":"^[a-z]+$"}]}]}"##,
];

/// What is taken is within its bounds, in the form that goes to the host.
fn take(json: &[u8]) {
    match Config::default().with(json) {
        Ok(config) => {
            let sampling = &config.options.sampling;
            assert!(
                sampling
                    .grammar
                    .as_ref()
                    .is_none_or(|grammar| !grammar.is_empty() && grammar.len() <= MAX_GRAMMAR && !grammar.contains('\0'))
            );
            assert!([sampling.temperature, sampling.top_p, sampling.min_p].into_iter().flatten().all(f32::is_finite));
            assert!(config.weight() <= (MAX_CONFIG + MAX_GRAMMAR) as u64);
            // Taken once more, it is the same.
            assert!(config.with(json) == Ok(config.clone()));
        }
        // Why not can be said, without the guest's own words in a host's log line by line.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
