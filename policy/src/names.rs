//! Names that a policy gives: modules, graphs, users and groups.
//!
//! Runs in: daemon and command line.
//! Invariant: a value of these types keeps its alphabet, so it may stand in a path, a URL or a log line as it is.

use std::fmt;

use thiserror::Error;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Too long.
    #[error("is {found} bytes long, and at most {most} are allowed")]
    TooLong {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// A character outside the alphabet.
    #[error("contains `{}`, and only {alphabet} are allowed", .character.escape_default())]
    Character {
        /// The first such character.
        character: char,
        /// What is allowed, in words.
        alphabet: &'static str,
    },
    /// A first character that may only follow another.
    #[error("begins with `{0}`, and must begin with a letter or a digit")]
    Begins(char),
}

fn check(text: &str, most: usize, alphabet: &'static str, allowed: fn(char) -> bool) -> Result<(), NameError> {
    if let Some(character) = text.chars().find(|c| !allowed(*c)) {
        return Err(NameError::Character { character, alphabet });
    }
    if text.len() > most {
        return Err(NameError::TooLong { found: text.len(), most });
    }
    match text.chars().next() {
        None => Err(NameError::Empty),
        Some(first) if !first.is_ascii_alphanumeric() => Err(NameError::Begins(first)),
        Some(_) => Ok(()),
    }
}

/// How a module is called on its host: `[a-z0-9][a-z0-9_-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName(String);

impl ModuleName {
    /// Checks a text.
    ///
    /// # Errors
    /// The text does not keep the alphabet or the length.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text, 63, "lower-case letters, digits, `-` and `_`", |c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))?;
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name that a guest gives to `load-by-name`: `[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraphName(String);

impl GraphName {
    /// Checks a text.
    ///
    /// # Errors
    /// The text does not keep the alphabet or the length.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '/' | '-');
        check(text, 128, "ASCII letters, digits, `.`, `_`, `:`, `/` and `-`", allowed)?;
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GraphName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a signer as a person gives it: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
///
/// # Errors
/// The text does not keep the alphabet or the length.
pub(crate) fn signer_id(text: &str) -> Result<String, NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    check(text, 63, "ASCII letters, digits, `.`, `_` and `-`", allowed)?;
    Ok(text.to_owned())
}

/// Somebody on this host who may use the control socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// `user:NAME`
    User(String),
    /// `uid:NUMBER`
    Uid(u32),
    /// `group:NAME`
    Group(String),
    /// `gid:NUMBER`
    Gid(u32),
}

impl Principal {
    /// Reads `user:NAME`, `uid:NUMBER`, `group:NAME` or `gid:NUMBER`.
    ///
    /// # Errors
    /// What is wrong with the text, as the end of a sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').ok_or("has no kind before a `:`")?;
        let number =
            || rest.bytes().all(|b| b.is_ascii_digit()).then(|| rest.parse().ok()).flatten().ok_or("has no 32-bit number after the `:`");
        let name = || {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
            let good = !rest.is_empty() && rest.len() <= 256 && rest.chars().all(allowed) && !rest.starts_with('-');
            good.then(|| rest.to_owned()).ok_or("has no account name after the `:`")
        };
        Ok(match kind {
            "user" => Self::User(name()?),
            "uid" => Self::Uid(number()?),
            "group" => Self::Group(name()?),
            "gid" => Self::Gid(number()?),
            _ => return Err("begins with none of `user:`, `uid:`, `group:`, `gid:`".to_owned()),
        })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Uid(number) => write!(f, "uid:{number}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Gid(number) => write!(f, "gid:{number}"),
        }
    }
}
