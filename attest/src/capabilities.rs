//! What a module may touch, as a vendor signs it and as a policy grants it: one list, one canonical text, one comparison.
//!
//! Runs in: daemon, CLI.
//! Does not: open or grant anything. The host's side of a grant (which directory, which model file) is not part of it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeStruct as _;

use crate::json::Fields;
use crate::json::Json;
use crate::module::sha256;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;

/// The longest path or name in a list, in bytes (`PATH_MAX` less its terminating zero).
const MAX_WORD: usize = 4095;

/// What may be done in a directory. The order is that of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// List it and read its files.
    Read,
    /// Besides, create, write, rename and remove in it.
    ReadWrite,
}

impl Access {
    /// The word in policies and statements: `read` or `read-write`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read-write",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The directories, graphs and variables of a module, by the names under which the guest sees them.
///
/// ```
/// use edgeguard_attest::{Access, Capabilities};
/// let mut signed = Capabilities::default();
/// signed.directories.insert("/in".into(), Access::Read);
/// assert_eq!(signed.canonical(), r#"{"directories":[{"access":"read","path":"/in"}],"environment":[],"graphs":[]}"#);
///
/// let mut granted = signed.clone();
/// assert_eq!(granted.wider_than(&signed), None);
/// granted.directories.insert("/in".into(), Access::ReadWrite);
/// assert!(granted.wider_than(&signed).is_some());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Guest paths, absolute, and what may be done below each.
    pub directories: BTreeMap<String, Access>,
    /// The names that wasi-nn's `load-by-name` takes.
    pub graphs: BTreeSet<String>,
    /// The names of environment variables. Their values are the operator's affair.
    pub environment: BTreeSet<String>,
}

impl Capabilities {
    /// The one text of this list: JSON with sorted keys and items and no white space, which is also its form by RFC 8785
    /// for names in ASCII. All three lists always stand in it.
    #[must_use]
    pub fn canonical(&self) -> String {
        let directories: Vec<String> =
            self.directories.iter().map(|(path, access)| format!(r#"{{"access":"{access}","path":{}}}"#, quoted(path))).collect();
        let environment: Vec<String> = self.environment.iter().map(|name| quoted(name)).collect();
        let graphs: Vec<String> = self.graphs.iter().map(|name| quoted(name)).collect();
        format!(
            r#"{{"directories":[{}],"environment":[{}],"graphs":[{}]}}"#,
            directories.join(","),
            environment.join(","),
            graphs.join(",")
        )
    }

    /// SHA-256 of [`canonical`](Self::canonical).
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.canonical().as_bytes())
    }

    /// The first thing that is granted here and not there, in words; `None` if everything here is there too.
    ///
    /// Paths are compared as wholes: a grant of `/data/in` is another one than `/data`, because the host's directories
    /// behind them may be two.
    #[must_use]
    pub fn wider_than(&self, signed: &Self) -> Option<String> {
        let directory = self.directories.iter().find_map(|(path, access)| match signed.directories.get(path) {
            None => Some(format!("directory {}", shown(path))),
            Some(allowed) if allowed < access => Some(format!("directory {} with `{access}`, not `{allowed}`", shown(path))),
            Some(_) => None,
        });
        let graph = || self.graphs.difference(&signed.graphs).next().map(|name| format!("graph {}", shown(name)));
        let variable = || self.environment.difference(&signed.environment).next().map(|name| format!("variable {}", shown(name)));
        directory.or_else(graph).or_else(variable)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.graphs.is_empty() && self.environment.is_empty()
    }

    /// Reads the `capabilities` of a release. A list that is absent is empty; an item that stands twice is a mistake of whoever signed.
    pub(crate) fn read(mut fields: Fields) -> Result<Self, Rejection> {
        let mut out = Self::default();
        if fields.has("directories") {
            let at = fields.path_of("directories");
            for (place, item) in fields.array("directories")?.into_iter().enumerate() {
                let mut item = Fields::of(item, &format!("{at}.{place}"))?;
                let path = word(item.string("path")?, &item.path_of("path"))?;
                let access = match item.string("access")?.as_str() {
                    "read" => Access::Read,
                    "read-write" => Access::ReadWrite,
                    other => {
                        let expected = format!("`read` or `read-write` in `{}`", item.path_of("access"));
                        return Err(Rejection::new(Code::Malformed, expected, shown(other)));
                    }
                };
                item.finish()?;
                if out.directories.insert(path.clone(), access).is_some() {
                    return Err(twice(&at, &path));
                }
            }
        }
        out.graphs = names(&mut fields, "graphs")?;
        out.environment = names(&mut fields, "environment")?;
        fields.finish()?;
        Ok(out)
    }
}

impl Serialize for Capabilities {
    /// In the order of the canonical text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Directory<'a> {
            access: Access,
            path: &'a str,
        }
        let directories: Vec<Directory<'_>> = self.directories.iter().map(|(path, &access)| Directory { access, path }).collect();
        let mut out = serializer.serialize_struct("Capabilities", 3)?;
        out.serialize_field("directories", &directories)?;
        out.serialize_field("environment", &self.environment)?;
        out.serialize_field("graphs", &self.graphs)?;
        out.end()
    }
}

fn names(fields: &mut Fields, key: &'static str) -> Result<BTreeSet<String>, Rejection> {
    let mut out = BTreeSet::new();
    if !fields.has(key) {
        return Ok(out);
    }
    let at = fields.path_of(key);
    for (place, item) in fields.array(key)?.into_iter().enumerate() {
        let Json::String(name) = item else {
            return Err(Rejection::new(Code::Malformed, format!("a string in `{at}.{place}`"), "something else"));
        };
        let name = word(name, &format!("{at}.{place}"))?;
        if !out.insert(name.clone()) {
            return Err(twice(&at, &name));
        }
    }
    Ok(out)
}

fn word(text: String, at: &str) -> Result<String, Rejection> {
    if text.is_empty() || text.len() > MAX_WORD {
        return Err(Rejection::new(Code::Malformed, format!("1 to {MAX_WORD} bytes in `{at}`"), format!("{} bytes", text.len())));
    }
    Ok(text)
}

fn twice(at: &str, name: &str) -> Rejection {
    Rejection::new(Code::Malformed, format!("each item of `{at}` once"), format!("{} twice", shown(name)))
}

/// A JSON string, in the library's one way of escaping.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn read(text: &str) -> Result<Capabilities, Rejection> {
        Capabilities::read(Fields::of(Json::parse(text.as_bytes(), "capabilities").unwrap(), "capabilities").unwrap())
    }

    const FULL: &str = r#"{"graphs":["b","a"],"directories":[{"path":"/out","access":"read-write"},{"path":"/in","access":"read"}],"environment":["LANG"]}"#;

    #[test]
    fn one_list_has_one_text_however_it_was_written() {
        let list = read(FULL).unwrap();
        let text = r#"{"directories":[{"access":"read","path":"/in"},{"access":"read-write","path":"/out"}],"environment":["LANG"],"graphs":["a","b"]}"#;
        assert_eq!(list.canonical(), text);
        assert_eq!(serde_json::to_string(&list).unwrap(), text, "what is signed is what is hashed");
        assert_eq!(read(text).unwrap(), list);
        assert_eq!(list.sha256(), sha256(text.as_bytes()));
    }

    #[test]
    fn names_cannot_forge_the_text_of_another_list() {
        let mut odd = Capabilities::default();
        odd.graphs.insert(r#"a","b"#.into());
        let mut two = Capabilities::default();
        two.graphs.extend(["a".into(), "b".into()]);
        assert_ne!(odd.canonical(), two.canonical());
        assert_eq!(read(&odd.canonical()).unwrap(), odd);
    }

    #[test]
    fn a_grant_beyond_the_list_is_named_and_a_smaller_one_is_none() {
        let signed = read(FULL).unwrap();
        let granted = |change: &dyn Fn(&mut Capabilities)| {
            let mut list = signed.clone();
            change(&mut list);
            list.wider_than(&signed)
        };
        assert_eq!(granted(&|_| ()), None);
        assert_eq!(granted(&|list| *list = Capabilities::default()), None);
        assert_eq!(granted(&|list| list.directories.extend([("/out".into(), Access::Read)])), None);
        let wider: [(&dyn Fn(&mut Capabilities), &str); 5] = [
            (&|list| list.directories.extend([("/in".into(), Access::ReadWrite)]), "directory `/in` with `read-write`, not `read`"),
            (&|list| list.directories.extend([("/in/deeper".into(), Access::Read)]), "directory `/in/deeper`"),
            (&|list| list.directories.extend([("/".into(), Access::Read)]), "directory `/`"),
            (&|list| list.graphs.extend(["c".into()]), "graph `c`"),
            (&|list| list.environment.extend(["PATH".into()]), "variable `PATH`"),
        ];
        for (change, said) in wider {
            assert_eq!(granted(change).as_deref(), Some(said));
        }
    }

    #[test]
    fn a_list_that_could_mean_two_things_is_refused() {
        for (text, code) in [
            (r#"{"directories":[{"path":"/in","access":"read"},{"path":"/in","access":"read-write"}]}"#, Code::Malformed),
            (r#"{"graphs":["a","a"]}"#, Code::Malformed),
            (r#"{"graphs":[""]}"#, Code::Malformed),
            (r#"{"graphs":[1]}"#, Code::Malformed),
            (r#"{"graphs":"a"}"#, Code::Malformed),
            (r#"{"directories":[{"path":"/in"}]}"#, Code::Malformed),
            (r#"{"directories":[{"path":"/in","access":"write"}]}"#, Code::Malformed),
            (r#"{"directories":[{"path":"/in","access":"read","mode":1}]}"#, Code::UnknownField),
            (r#"{"network":[]}"#, Code::UnknownField),
        ] {
            assert_eq!(read(text).unwrap_err().code, code, "{text}");
        }
        assert_eq!(read("{}").unwrap(), Capabilities::default());
        assert!(read("{}").unwrap().is_empty());
    }
}
