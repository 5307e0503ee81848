//! The options of a guest's configuration: one JSON object, and for each key what becomes of it.
//!
//! Runs in: worker, on guest threads.
//! Invariant: no key that names a file, an address, or a secret of the host has any effect: it refuses the whole configuration. A key that would change the
//! answer and that this host cannot follow refuses it too, unless its value asks for nothing. Keys that nobody knows are ignored, for guests send some.
//! Does not: open, resolve or pass on anything.
//!
//! The keys are those of WasmEdge's `plugins/wasi_nn/GGML/metadata/metadata_parser.cpp`, so that its guests run unmodified.

use edgeguard_wire::language::MAX_GRAMMAR;
use edgeguard_wire::language::Options;
use serde_json::Map;
use serde_json::Value;

use crate::schema;
use crate::schema::SchemaError;

/// The longest configuration, in bytes: twice the longest grammar, which JSON may have to escape, and all else.
pub const MAX_CONFIG: usize = 64 * 1024;

/// The longest text at which a guest wants an answer to end, in bytes.
const MAX_REVERSE: usize = 1024;

/// What a guest asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// How the host makes the context.
    pub options: Options,
    /// The most tokens of one `compute`; `None` for as many as come.
    pub n_predict: Option<u64>,
    /// `compute` ends once the answer has this text; empty for none.
    pub reverse_prompt: String,
    /// `compute` writes each token to the guest's standard output as it comes.
    pub stream_stdout: bool,
}

/// Why a configuration is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is too long.
    #[error("the configuration has {found} bytes; at most {MAX_CONFIG} are read")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// It is no JSON object.
    #[error("the configuration is no JSON object")]
    Malformed,
    /// A value has another type, or lies outside its bounds.
    #[error("the option `{key}` wants {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it takes.
        wanted: &'static str,
    },
    /// The key is one that no guest may set.
    #[error("the option `{0}` names something of the host")]
    Denied(&'static str),
    /// The schema of the answer is not one that this host can keep it to.
    #[error("the option `json-schema` {0}")]
    Schema(#[source] SchemaError),
    /// It would change the answer, and this host cannot do it.
    #[error("the option `{0}` is not supported by this host")]
    Unsupported(&'static str),
}

/// What becomes of a key.
#[derive(Clone, Copy)]
enum Rule {
    /// It is taken, if it has the right type and lies within its bounds.
    Take(Take),
    /// A schema in JSON, which becomes the grammar; empty for none.
    Schema,
    /// It must have this type, and changes nothing: it is about speed, logs or loading, which are the operator's, or about another program.
    Ignore(Type),
    /// It must have this type, and may say only what is the case anyway: `false`, 0 or nothing.
    Neutral(Type),
    /// It names a file, an address or a secret.
    Deny,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Number,
    Text,
}

type Take = fn(&mut Config, &Value) -> Option<()>;

/// The rules, and what a taken key wants, for the message.
const KEYS: &[(&str, Rule, &str)] = &[
    ("embedding", Rule::Take(|c, v| set(&mut c.options.embedding, v.as_bool())), "a boolean"),
    ("ctx-size", Rule::Take(context), "a whole number from 0 to 4294967295"),
    ("n-predict", Rule::Take(n_predict), "a whole number"),
    ("reverse-prompt", Rule::Take(reverse_prompt), "a text of at most 1024 bytes"),
    ("temp", Rule::Take(|c, v| float(&mut c.options.sampling.temperature, v, 0.0, 100.0)), "a number up to 100"),
    ("top-p", Rule::Take(|c, v| float(&mut c.options.sampling.top_p, v, 0.0, 1.0)), "a number up to 1"),
    ("min-p", Rule::Take(|c, v| float(&mut c.options.sampling.min_p, v, 0.0, 1.0)), "a number up to 1"),
    ("top-k", Rule::Take(top_k), "a whole number up to 4294967295"),
    ("repeat-penalty", Rule::Take(|c, v| float(&mut c.options.sampling.repeat_penalty, v, 0.01, 100.0)), "a number up to 100"),
    ("presence-penalty", Rule::Take(|c, v| float(&mut c.options.sampling.presence_penalty, v, 0.0, 100.0)), "a number up to 100"),
    ("frequency-penalty", Rule::Take(|c, v| float(&mut c.options.sampling.frequency_penalty, v, 0.0, 100.0)), "a number up to 100"),
    ("seed", Rule::Take(seed), "a whole number from -1 to 4294967295"),
    ("grammar", Rule::Take(grammar), "a GBNF grammar of at most 16384 bytes, without NUL"),
    ("json-schema", Rule::Schema, "a text, and no `grammar` beside it"),
    ("stream-stdout", Rule::Take(|c, v| set(&mut c.stream_stdout, v.as_bool())), "a boolean"),
    // Files, addresses and secrets of the host.
    ("mmproj", Rule::Deny, ""),
    ("image", Rule::Deny, ""),
    ("model-vocoder", Rule::Deny, ""),
    ("tts-output-file", Rule::Deny, ""),
    ("tts-speaker-file", Rule::Deny, ""),
    ("hf-repo-vocoder", Rule::Deny, ""),
    ("hf-file-vocoder", Rule::Deny, ""),
    ("model-url-vocoder", Rule::Deny, ""),
    ("model-url", Rule::Deny, ""),
    ("hf-token", Rule::Deny, ""),
    ("hf-repo", Rule::Deny, ""),
    ("hf-file", Rule::Deny, ""),
    ("prompt-file", Rule::Deny, ""),
    ("path-prompt-cache", Rule::Deny, ""),
    ("lookup-cache-static", Rule::Deny, ""),
    ("lookup-cache-dynamic", Rule::Deny, ""),
    ("logits-file", Rule::Deny, ""),
    ("port", Rule::Deny, ""),
    ("hostname", Rule::Deny, ""),
    ("public-path", Rule::Deny, ""),
    ("ssl-file-key", Rule::Deny, ""),
    ("ssl-file-cert", Rule::Deny, ""),
    ("slot-save-path", Rule::Deny, ""),
    ("context-files", Rule::Deny, ""),
    ("out-file", Rule::Deny, ""),
    ("embd-out", Rule::Deny, ""),
    ("cvector-positive-file", Rule::Deny, ""),
    ("cvector-negative-file", Rule::Deny, ""),
    // Names that the same options had or have in llama.cpp itself.
    ("model", Rule::Deny, ""),
    ("model-draft", Rule::Deny, ""),
    ("mmproj-url", Rule::Deny, ""),
    ("lora", Rule::Deny, ""),
    ("lora-base", Rule::Deny, ""),
    ("control-vector", Rule::Deny, ""),
    ("grammar-file", Rule::Deny, ""),
    ("json-schema-file", Rule::Deny, ""),
    ("chat-template-file", Rule::Deny, ""),
    ("api-key", Rule::Deny, ""),
    ("api-key-file", Rule::Deny, ""),
    ("log-file", Rule::Deny, ""),
    ("rpc", Rule::Deny, ""),
    // What would change the answer, or where it goes.
    ("tts", Rule::Neutral(Type::Bool), "a boolean"),
    ("reranking", Rule::Neutral(Type::Bool), "a boolean"),
    ("xtc-probability", Rule::Neutral(Type::Number), "a number"),
    ("dynatemp-range", Rule::Neutral(Type::Number), "a number"),
    ("dry-multipier", Rule::Neutral(Type::Number), "a number"),
    ("mirostat", Rule::Neutral(Type::Int), "a whole number"),
    ("ignore-eos", Rule::Neutral(Type::Bool), "a boolean"),
    ("ctx-shift", Rule::Neutral(Type::Bool), "a boolean"),
    ("input-prefix", Rule::Neutral(Type::Text), "a text"),
    ("input-suffix", Rule::Neutral(Type::Text), "a text"),
    ("chat-template", Rule::Neutral(Type::Text), "a text"),
    // Speed, logs and loading are the operator's.
    ("enable-log", Rule::Ignore(Type::Bool), "a boolean"),
    ("enable-debug-log", Rule::Ignore(Type::Bool), "a boolean"),
    ("main-gpu", Rule::Ignore(Type::Int), "a whole number"),
    ("n-gpu-layers", Rule::Ignore(Type::Int), "a whole number"),
    ("cpu-moe", Rule::Ignore(Type::Bool), "a boolean"),
    ("n-cpu-moe", Rule::Ignore(Type::Int), "a whole number"),
    ("tensor-split", Rule::Ignore(Type::Text), "a text"),
    ("split-mode", Rule::Ignore(Type::Text), "a text"),
    ("batch-size", Rule::Ignore(Type::Int), "a whole number"),
    ("ubatch-size", Rule::Ignore(Type::Int), "a whole number"),
    ("threads", Rule::Ignore(Type::Int), "a whole number"),
    ("threads-batch", Rule::Ignore(Type::Int), "a whole number"),
    ("numa", Rule::Ignore(Type::Int), "a whole number"),
    ("priority", Rule::Ignore(Type::Int), "a whole number"),
    ("poll", Rule::Ignore(Type::Int), "a whole number"),
    ("flash-attn", Rule::Ignore(Type::Text), "a text"),
    ("use-mmap", Rule::Ignore(Type::Bool), "a boolean"),
    ("use-mlock", Rule::Ignore(Type::Bool), "a boolean"),
    ("load-mode", Rule::Ignore(Type::Text), "a text"),
    ("warmup", Rule::Ignore(Type::Bool), "a boolean"),
    ("verbosity", Rule::Ignore(Type::Int), "a whole number"),
    ("model-alias", Rule::Ignore(Type::Text), "a text"),
    ("always-regenerate-image-embd", Rule::Ignore(Type::Bool), "a boolean"),
];

impl Config {
    /// This configuration with the options of `json` in place of its own; all of them or, when one is wrong, none.
    ///
    /// # Errors
    /// [`ConfigError`]. A denied key is found before any other mistake, so that it is on record whatever else is wrong.
    pub fn with(&self, json: &[u8]) -> Result<Self, ConfigError> {
        if json.len() > MAX_CONFIG {
            return Err(ConfigError::TooLong { found: json.len() });
        }
        let options: Map<String, Value> = serde_json::from_slice(json).map_err(|_| ConfigError::Malformed)?;
        if let Some((key, ..)) = KEYS.iter().find(|(key, rule, _)| matches!(rule, Rule::Deny) && options.contains_key(*key)) {
            return Err(ConfigError::Denied(key));
        }
        let mut config = self.clone();
        for (key, rule, wanted) in KEYS {
            let Some(value) = options.get(*key) else { continue };
            let wrong = ConfigError::Value { key, wanted };
            match rule {
                Rule::Take(take) => take(&mut config, value).ok_or(wrong)?,
                Rule::Schema => {
                    let text = value.as_str().ok_or(wrong.clone())?;
                    // Two that both say what the answer is: neither may be passed over.
                    if !text.is_empty() && options.get("grammar").and_then(Value::as_str).is_some_and(|grammar| !grammar.is_empty()) {
                        return Err(wrong);
                    }
                    if !text.is_empty() {
                        config.options.sampling.grammar = Some(schema::grammar(text).map_err(ConfigError::Schema)?);
                    }
                }
                Rule::Ignore(ty) if ty.fits(value) => {}
                Rule::Neutral(ty) if ty.fits(value) && neutral(value) => {}
                Rule::Neutral(ty) if ty.fits(value) => return Err(ConfigError::Unsupported(key)),
                Rule::Ignore(_) | Rule::Neutral(_) => return Err(wrong),
                Rule::Deny => return Err(ConfigError::Denied(key)),
            }
        }
        Ok(config)
    }

    /// Bytes that the worker holds for it.
    #[must_use]
    pub fn weight(&self) -> u64 {
        (self.reverse_prompt.len() + self.options.sampling.grammar.as_ref().map_or(0, String::len)) as u64
    }
}

impl Type {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Bool => value.is_boolean(),
            Self::Int => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Text => value.is_string(),
        }
    }
}

/// Whether a value asks for nothing.
fn neutral(value: &Value) -> bool {
    match value {
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn set<T>(slot: &mut T, value: Option<T>) -> Option<()> {
    *slot = value?;
    Some(())
}

/// A number below `least` means `least`, as it does where these options come from; one above `most` is a mistake.
fn float(slot: &mut Option<f32>, value: &Value, least: f32, most: f32) -> Option<()> {
    let number = value.as_f64().filter(|number| number.is_finite() && *number <= f64::from(most))?;
    #[allow(clippy::cast_possible_truncation, reason = "an option is as exact as the engine's own type")]
    let number = number as f32;
    *slot = Some(number.max(least));
    Some(())
}

/// 0 leaves it to the model.
fn context(config: &mut Config, value: &Value) -> Option<()> {
    let tokens = u32::try_from(value.as_u64()?).ok()?;
    config.options.context = (tokens > 0).then_some(tokens);
    Some(())
}

/// Below 0 is no bound.
fn n_predict(config: &mut Config, value: &Value) -> Option<()> {
    config.n_predict = match value.as_u64() {
        Some(tokens) => Some(tokens),
        None => value.as_i64().map(|_| None)?,
    };
    Some(())
}

/// Below 0 is the whole vocabulary, which the engine calls 0.
fn top_k(config: &mut Config, value: &Value) -> Option<()> {
    let count = value.as_i64()?.max(0);
    config.options.sampling.top_k = Some(u32::try_from(count).ok()?);
    Some(())
}

/// -1 is another seed each time.
fn seed(config: &mut Config, value: &Value) -> Option<()> {
    config.options.sampling.seed = match value.as_i64()? {
        -1 => None,
        seed => Some(u32::try_from(seed).ok()?),
    };
    Some(())
}

fn reverse_prompt(config: &mut Config, value: &Value) -> Option<()> {
    let text = value.as_str().filter(|text| text.len() <= MAX_REVERSE)?;
    text.clone_into(&mut config.reverse_prompt);
    Some(())
}

fn grammar(config: &mut Config, value: &Value) -> Option<()> {
    // The engine takes it as a C string; an empty one is none.
    let text = value.as_str().filter(|text| text.len() <= MAX_GRAMMAR && !text.contains('\0'))?;
    config.options.sampling.grammar = (!text.is_empty()).then(|| text.to_owned());
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn read(json: &str) -> Result<Config, ConfigError> {
        Config::default().with(json.as_bytes())
    }

    #[test]
    fn what_known_guests_send_is_taken() {
        let config = read(
            r#"{"enable-log":false,"enable-debug-log":true,"stream-stdout":false,"ctx-size":1024,"n-predict":512,"n-gpu-layers":100,"batch-size":512,
            "ubatch-size":512,"threads":4,"use-mmap":true,"split-mode":"layer","main-gpu":0,"tensor-split":"1,2","temp":0.8,"top-p":0.9,"top-k":40,
            "min-p":0.05,"repeat-penalty":1.1,"presence-penalty":0,"frequency-penalty":0.5,"seed":42,"grammar":"root ::= \"a\"","reverse-prompt":"USER:",
            "embedding":false,"llama3":true,"tts":false,"include_usage":[1,{}]}"#,
        )
        .unwrap();
        let sampling = &config.options.sampling;
        assert_eq!((config.options.context, config.n_predict, config.reverse_prompt.as_str()), (Some(1024), Some(512), "USER:"));
        assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed), (Some(0.8), Some(0.9), Some(40), Some(42)));
        assert_eq!((sampling.presence_penalty, sampling.frequency_penalty), (Some(0.0), Some(0.5)));
        assert_eq!(sampling.grammar.as_deref(), Some("root ::= \"a\""));
        assert!(!config.options.embedding);
    }

    #[test]
    fn every_key_that_names_something_of_the_host_is_denied_whatever_its_value() {
        let denied: Vec<&str> = KEYS.iter().filter(|(_, rule, _)| matches!(rule, Rule::Deny)).map(|(key, ..)| *key).collect();
        assert!(denied.len() > 40, "{denied:?}");
        for key in denied {
            for value in ["\"/etc/passwd\"", "\"\"", "null", "1", "[{}]"] {
                // Beside another mistake: the denial is what is told.
                assert_eq!(read(&format!("{{\"temp\":\"hot\",\"{key}\":{value}}}")), Err(ConfigError::Denied(key)), "{value}");
            }
        }
    }

    #[test]
    fn no_key_that_smells_of_the_host_is_anything_but_denied() {
        let smells = ["file", "path", "url", "hf-", "ssl", "host", "port", "mmproj", "image", "out", "lookup", "key", "lora", "vocoder"];
        // Each of these is a switch, and names nothing.
        let known = ["always-regenerate-image-embd", "stream-stdout"];
        for (key, rule, _) in KEYS {
            let smelly = smells.iter().any(|smell| key.contains(smell)) && !known.contains(key);
            assert!(!smelly || matches!(rule, Rule::Deny), "{key}");
        }
    }

    #[test]
    fn no_key_stands_in_the_table_twice() {
        let mut keys: Vec<&str> = KEYS.iter().map(|(key, ..)| *key).collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn a_value_of_another_type_is_refused_for_every_key() {
        for (key, rule, wanted) in KEYS {
            if !matches!(rule, Rule::Deny) {
                assert_eq!(read(&format!("{{\"{key}\":{{}}}}")), Err(ConfigError::Value { key, wanted }));
                assert_eq!(read(&format!("{{\"{key}\":null}}")), Err(ConfigError::Value { key, wanted }));
            }
        }
    }

    #[test]
    fn values_outside_their_bounds_are_refused_and_below_them_raised() {
        for json in [
            r#"{"temp":1e300}"#,
            r#"{"top-p":1.5}"#,
            r#"{"seed":-2}"#,
            r#"{"seed":4294967296}"#,
            r#"{"ctx-size":-1}"#,
            r#"{"ctx-size":4294967296}"#,
            r#"{"top-k":4294967296}"#,
            r#"{"n-predict":1.5}"#,
            r#"{"grammar":"a\u0000b"}"#,
        ] {
            assert!(matches!(read(json), Err(ConfigError::Value { .. })), "{json}: {:?}", read(json));
        }
        assert!(read(&format!("{{\"grammar\":\"{}\"}}", "a".repeat(MAX_GRAMMAR + 1))).is_err());
        assert!(read(&format!("{{\"reverse-prompt\":\"{}\"}}", "a".repeat(MAX_REVERSE + 1))).is_err());
        let raised = read(r#"{"temp":-1,"repeat-penalty":0,"top-k":-1,"n-predict":-2,"seed":-1,"ctx-size":0}"#).unwrap();
        let sampling = raised.options.sampling;
        assert_eq!((sampling.temperature, sampling.repeat_penalty, sampling.top_k), (Some(0.0), Some(0.01), Some(0)));
        assert_eq!((raised.n_predict, sampling.seed, raised.options.context), (None, None, None));
    }

    #[test]
    fn what_would_change_the_answer_is_not_passed_over() {
        assert_eq!(read(r#"{"mirostat":2}"#), Err(ConfigError::Unsupported("mirostat")));
        assert!(read(r#"{"json-schema":"","mirostat":0,"ignore-eos":false}"#).is_ok());
    }

    #[test]
    fn a_schema_becomes_a_grammar_and_one_that_cannot_is_refused_with_its_reason() {
        let config = read(r#"{"json-schema":"{\"enum\":[\"yes\",\"no\"]}","stream-stdout":true}"#).unwrap();
        assert_eq!(config.options.sampling.grammar.as_deref(), Some("root ::= \"\\\"yes\\\"\" | \"\\\"no\\\"\"\n"));
        assert!(config.stream_stdout);
        let refused = read(r#"{"json-schema":"{\"pattern\":\"a\"}"}"#).unwrap_err();
        assert_eq!(refused.to_string(), "the option `json-schema` has the keyword `pattern`, which is not supported");
        assert!(matches!(read(r#"{"json-schema":"{"}"#), Err(ConfigError::Schema(_))));
        assert!(matches!(read(r#"{"json-schema":"{}","grammar":"root ::= \"a\""}"#), Err(ConfigError::Value { key: "json-schema", .. })));
    }

    #[test]
    fn a_later_configuration_changes_only_what_it_names() {
        let first = read(r#"{"temp":0.5,"n-predict":3}"#).unwrap();
        let second = first.with(br#"{"n-predict":5}"#).unwrap();
        assert_eq!((second.options.sampling.temperature, second.n_predict), (Some(0.5), Some(5)));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in ["", "[]", "1", "{", "{\"a\":}", "\u{feff}{}", "{} {}"] {
            assert_eq!(read(json), Err(ConfigError::Malformed), "{json}");
        }
        assert_eq!(Config::default().with(&[0xff, 0xfe]), Err(ConfigError::Malformed));
        assert_eq!(Config::default().with(&vec![b' '; MAX_CONFIG + 1]), Err(ConfigError::TooLong { found: MAX_CONFIG + 1 }));
        let deep = format!("{{\"x\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
        assert_eq!(read(&deep), Err(ConfigError::Malformed));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        // A small generator, so that every run tries the same: pieces of what is taken, cut and joined.
        let pieces: &[&[u8]] = &[
            b"{",
            b"}",
            b"\"temp\"",
            b":",
            b",",
            b"1e999",
            b"-0",
            b"\"\\u0000\"",
            b"\"\\ud800\"",
            b"null",
            b"\xff",
            b"[",
            b"\"seed\"",
            b"9999999999999999999999",
        ];
        let mut state = 0x9e37_79b9_u32;
        for _ in 0..20_000 {
            let mut json = Vec::new();
            for _ in 0..(state >> 28) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                json.extend_from_slice(pieces[(state >> 8) as usize % pieces.len()]);
            }
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let _ = Config::default().with(&json);
        }
    }
}
