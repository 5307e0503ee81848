//! Strict JSON: one value, no repeated key, bounded depth and item counts; then fields taken by name until none is left.
//!
//! Runs in: daemon, CLI; sees bytes that a vendor wrote, some of them before any signature is checked.
//! Does not: accept what it does not understand. A field that nobody asked for is a refusal ([`Fields::finish`]).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de;
use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;

/// The deepest nesting that is accepted; a bundle with a log entry needs 6.
pub(crate) const MAX_DEPTH: usize = 16;
/// The most items of one array, or fields of one object. Also what keeps the search for repeated keys linear in practice.
pub(crate) const MAX_ITEMS: usize = 64;

/// A JSON value without repeated keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses exactly one value; `root` is its name in messages.
    pub(crate) fn parse(bytes: &[u8], root: &str) -> Result<Self, Rejection> {
        let mut walk = Walk { path: vec![root.to_owned()], fault: None };
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let parsed = (&mut walk).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
        match (parsed, walk.fault) {
            (_, Some(fault)) => Err(*fault),
            (Ok(value), None) => Ok(value),
            (Err(error), None) => {
                Err(Rejection::new(Code::Malformed, format!("{root} as one JSON value in UTF-8"), shown(&error.to_string())))
            }
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// Where the walk stands, and the refusal that ended it. The refusal is kept here because a serde error holds only text.
struct Walk {
    path: Vec<String>,
    fault: Option<Box<Rejection>>,
}

impl Walk {
    fn refuse<E: de::Error>(&mut self, code: Code, expected: impl Into<String>, found: impl Into<String>) -> E {
        self.fault = Some(Box::new(Rejection::new(code, expected, found)));
        E::custom("refused")
    }

    fn at(&self) -> String {
        self.path.join(".")
    }

    fn enter<E: de::Error>(&mut self, step: String) -> Result<(), E> {
        // The root's name is the first entry and is no level.
        if self.path.len() > MAX_DEPTH {
            return Err(self.refuse(Code::Shape, format!("at most {MAX_DEPTH} levels"), "a deeper one"));
        }
        self.path.push(step);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk {
    type Value = Json;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        serde_json::Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        self.enter(String::new())?;
        loop {
            if let Some(step) = self.path.last_mut() {
                *step = items.len().to_string();
            }
            match seq.next_element_seed(&mut *self)? {
                Some(_) if items.len() == MAX_ITEMS => {
                    self.path.pop();
                    let at = self.at();
                    return Err(self.refuse(Code::Shape, format!("at most {MAX_ITEMS} items in `{at}`"), "more"));
                }
                Some(item) => items.push(item),
                None => break,
            }
        }
        self.path.pop();
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields: Vec<(String, Json)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let at = self.at();
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(self.refuse(Code::DuplicateKey, format!("each field of `{at}` once"), format!("{} twice", shown(&key))));
            }
            if fields.len() == MAX_ITEMS {
                return Err(self.refuse(Code::Shape, format!("at most {MAX_ITEMS} fields in `{at}`"), "more"));
            }
            self.enter(printable(&key))?;
            let value = map.next_value_seed(&mut *self)?;
            self.path.pop();
            fields.push((key, value));
        }
        Ok(Json::Object(fields))
    }
}

/// The fields of one object. Each is taken once by name; [`finish`](Self::finish) refuses what is left.
#[derive(Debug)]
pub(crate) struct Fields {
    path: String,
    left: Vec<(String, Json)>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// `json` must be an object; `path` is its name in messages.
    pub(crate) fn of(json: Json, path: &str) -> Result<Self, Rejection> {
        match json {
            Json::Object(left) => Ok(Self { path: path.to_owned(), left, asked: Vec::new() }),
            other => Err(Rejection::new(Code::Malformed, format!("an object in `{path}`"), other.kind())),
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.left.iter().any(|(name, _)| name == key)
    }

    pub(crate) fn take(&mut self, key: &'static str) -> Option<Json> {
        self.asked.push(key);
        let place = self.left.iter().position(|(name, _)| name == key)?;
        Some(self.left.swap_remove(place).1)
    }

    fn required(&mut self, key: &'static str) -> Result<Json, Rejection> {
        let path = self.path_of(key);
        self.take(key).ok_or_else(|| Rejection::new(Code::Malformed, format!("field `{path}`"), "none"))
    }

    pub(crate) fn object(&mut self, key: &'static str) -> Result<Fields, Rejection> {
        let path = self.path_of(key);
        Fields::of(self.required(key)?, &path)
    }

    pub(crate) fn array(&mut self, key: &'static str) -> Result<Vec<Json>, Rejection> {
        let path = self.path_of(key);
        match self.required(key)? {
            Json::Array(items) => Ok(items),
            other => Err(Rejection::new(Code::Malformed, format!("an array in `{path}`"), other.kind())),
        }
    }

    pub(crate) fn string(&mut self, key: &'static str) -> Result<String, Rejection> {
        let path = self.path_of(key);
        match self.required(key)? {
            Json::String(text) => Ok(text),
            other => Err(Rejection::new(Code::Malformed, format!("a string in `{path}`"), other.kind())),
        }
    }

    /// Standard, padded, canonical base64 of 1 to `max` bytes.
    pub(crate) fn base64(&mut self, key: &'static str, max: usize) -> Result<Vec<u8>, Rejection> {
        let path = self.path_of(key);
        let text = self.string(key)?;
        let expected = || format!("base64 of 1 to {max} bytes in `{path}`");
        let bytes =
            STANDARD.decode(&text).map_err(|_| Rejection::new(Code::Malformed, expected(), "text that is not standard, padded base64"))?;
        if bytes.is_empty() || bytes.len() > max {
            return Err(Rejection::new(Code::Malformed, expected(), format!("{} bytes", bytes.len())));
        }
        Ok(bytes)
    }

    /// A list that may be missing, which in the JSON form of protobuf means an empty one.
    pub(crate) fn array_or_empty(&mut self, key: &'static str) -> Result<Vec<Json>, Rejection> {
        if self.has(key) {
            return self.array(key);
        }
        self.asked.push(key);
        Ok(Vec::new())
    }

    /// A protobuf `int64` that is not negative: decimal digits in a string, or a number. Missing means 0.
    pub(crate) fn int64(&mut self, key: &'static str) -> Result<u64, Rejection> {
        let path = self.path_of(key);
        let refuse = |found: String| Err(Rejection::new(Code::Malformed, format!("a whole number below 2^63 in `{path}`"), found));
        let number = match self.take(key) {
            None => return Ok(0),
            Some(Json::Number(number)) => match number.as_u64() {
                Some(number) => number,
                None => return refuse(number.to_string()),
            },
            Some(Json::String(text)) => {
                let plain = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
                match text.parse::<u64>() {
                    Ok(number) if plain => number,
                    _ => return refuse(shown(&text)),
                }
            }
            Some(other) => return refuse(other.kind().to_owned()),
        };
        if i64::try_from(number).is_ok() { Ok(number) } else { refuse(number.to_string()) }
    }

    /// Exactly 32 bytes in base64.
    pub(crate) fn sha256(&mut self, key: &'static str) -> Result<[u8; 32], Rejection> {
        let path = self.path_of(key);
        let bytes = self.base64(key, 64)?;
        <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| Rejection::new(Code::Malformed, format!("base64 of 32 bytes in `{path}`"), format!("{} bytes", bytes.len())))
    }

    /// Nothing may be left that was not asked for.
    pub(crate) fn finish(self) -> Result<(), Rejection> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => {
                let known: Vec<String> = self.asked.iter().map(|key| format!("`{key}`")).collect();
                let known = if known.is_empty() { "nothing".into() } else { format!("only {}", known.join(", ")) };
                Err(Rejection::new(Code::UnknownField, format!("{known} in `{}`", self.path), shown(name)))
            }
        }
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }
}

/// A key as a step of a path in messages: short, and without characters that could steer a terminal.
fn printable(key: &str) -> String {
    key.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn refused(text: &str) -> Rejection {
        Json::parse(text.as_bytes(), "bundle").unwrap_err()
    }

    #[test]
    fn repeated_key_is_refused_at_any_depth_and_however_it_is_spelled() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#, r#"{"a":1,"\u0061":1}"#] {
            assert_eq!(refused(text).code, Code::DuplicateKey, "{text}");
        }
        assert_eq!(refused(r#"{"x":[{"a":1},{"a":1,"a":2}]}"#).expected, "each field of `bundle.x.1` once");
    }

    #[test]
    fn nesting_is_bounded_in_arrays_and_objects() {
        let arrays = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Json::parse(arrays(MAX_DEPTH).as_bytes(), "bundle").is_ok());
        assert_eq!(refused(&arrays(MAX_DEPTH + 1)).code, Code::Shape);
        assert_eq!(refused(&"[".repeat(200_000)).code, Code::Shape);
        assert_eq!(refused(&r#"{"a":"#.repeat(200)).code, Code::Shape);
    }

    #[test]
    fn item_counts_are_bounded() {
        let array = |n: usize| format!("[{}]", vec!["0"; n].join(","));
        assert!(Json::parse(array(MAX_ITEMS).as_bytes(), "bundle").is_ok());
        assert_eq!(refused(&array(MAX_ITEMS + 1)).code, Code::Shape);
        let object = |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"k{i}\":0")).collect::<Vec<_>>().join(","));
        assert!(Json::parse(object(MAX_ITEMS).as_bytes(), "bundle").is_ok());
        assert_eq!(refused(&object(MAX_ITEMS + 1)).code, Code::Shape);
    }

    #[test]
    fn one_value_in_utf8_and_nothing_after_it() {
        for text in ["", "{", "{} {}", "{}x", "\u{feff}{}", "{'a':1}", "{\"a\":1,}", "NaN", "1e999"] {
            assert_eq!(refused(text).code, Code::Malformed, "{text}");
        }
        assert_eq!(Json::parse(b"{\"a\":\"\xff\"}", "bundle").unwrap_err().code, Code::Malformed);
        assert!(Json::parse(b" {} \n", "bundle").is_ok());
    }

    #[test]
    fn base64_has_one_spelling() {
        let decode = |text: &str| {
            let json = Json::Object(vec![("sig".into(), Json::String(text.into()))]);
            Fields::of(json, "bundle").unwrap().base64("sig", 3)
        };
        assert_eq!(decode("AAE=").unwrap(), [0, 1]);
        // Missing padding, stray bits, the URL alphabet, white space, nothing, too much.
        for text in ["AAE", "AAF=", "__8=", "AA E=", "AAE=\n", "", "AAECAw=="] {
            assert_eq!(decode(text).unwrap_err().code, Code::Malformed, "{text}");
        }
    }

    #[test]
    fn int64_has_one_spelling_and_is_never_negative() {
        let read = |json: &str| Fields::of(Json::parse(json.as_bytes(), "bundle").unwrap(), "bundle").unwrap().int64("n");
        for (json, number) in [("{}", 0), (r#"{"n":"0"}"#, 0), (r#"{"n":7}"#, 7), (r#"{"n":"9223372036854775807"}"#, i64::MAX as u64)] {
            assert_eq!(read(json).unwrap(), number, "{json}");
        }
        for text in [
            "\"\"",
            "\"-1\"",
            "\"+1\"",
            "\"01\"",
            "\" 1\"",
            "\"1e3\"",
            "\"9223372036854775808\"",
            "-1",
            "1.5",
            "null",
            "[]",
            "9223372036854775808",
        ] {
            assert_eq!(read(&format!("{{\"n\":{text}}}")).unwrap_err().code, Code::Malformed, "{text}");
        }
    }

    #[test]
    fn sha256_is_base64_of_32_bytes_and_never_hex() {
        let read = |text: &str| {
            let json = Json::Object(vec![("hash".into(), Json::String(text.into()))]);
            Fields::of(json, "bundle").unwrap().sha256("hash")
        };
        assert_eq!(read(&STANDARD.encode([7; 32])).unwrap(), [7; 32]);
        for text in [STANDARD.encode([7; 31]), STANDARD.encode([7; 33]), hex::encode([7; 32]), String::new()] {
            assert_eq!(read(&text).unwrap_err().code, Code::Malformed, "{text}");
        }
    }

    #[test]
    fn field_that_nobody_asked_for_is_refused() {
        let mut fields = Fields::of(Json::parse(br#"{"a":"x","b":1}"#, "bundle").unwrap(), "bundle").unwrap();
        fields.string("a").unwrap();
        let rejection = fields.finish().unwrap_err();
        assert_eq!((rejection.code, rejection.found.as_str()), (Code::UnknownField, "`b`"));
    }
}
