//! The language of `audit search`: its words, and the parser.
//!
//! Runs in: command line.
//! Does not: look at a journal.
//!
//! ```text
//! expression = all { "or" all }
//! all        = term { ["and"] term }
//! term       = "not" term | "(" expression ")" | word | field comparison value
//! comparison = "=" | "!=" | "~" | "<" | "<=" | ">" | ">="
//! value      = characters without space, brackets and quotes | '"' characters '"'
//! ```

use std::time::Duration;

use edgeguard_audit::Outcome;
use edgeguard_audit::parse_since;

/// What is looked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// A word that stands alone.
    Is(Class),
    /// Not before this moment, nanoseconds since the Unix epoch.
    Since(u64),
    /// Before this moment.
    Until(u64),
    Text(TextField, Pattern),
    Number(NumberField, Comparison, u64),
    Outcome(Outcome),
}

/// A word that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Deny,
    Error,
    Event,
    Call,
    Journal,
    Fs,
    Net,
    Nn,
}

/// A field that holds text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextField {
    Module,
    Instance,
    Call,
    Interface,
    Text,
    Kind,
    Code,
    Role,
    Digest,
}

/// A field that holds a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberField {
    Errno,
    Handle,
    Rule,
    Ring,
    In,
    Out,
    Took,
    User,
    Pid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// What a text is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// The whole text, in which each `*` stands for any characters.
    Whole(Vec<String>),
    /// Any part of it.
    Part(String),
}

impl Pattern {
    fn whole(text: &str) -> Self {
        Self::Whole(text.split('*').map(str::to_owned).collect())
    }

    pub fn fits(&self, text: &str) -> bool {
        let parts = match self {
            Self::Part(part) => return text.contains(part.as_str()),
            Self::Whole(parts) => parts.as_slice(),
        };
        let [first, rest @ ..] = parts else { return false };
        let Some((last, middle)) = rest.split_last() else { return text == first };
        // Each middle part at its first place leaves the most for those behind it.
        let Some(mut left) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some((_, after)) = left.split_once(part.as_str()) else { return false };
            left = after;
        }
        left.ends_with(last.as_str())
    }
}

/// Words, with what `--help` says of them.
pub(super) const CLASSES: &[(&str, Class, &str)] = &[
    ("deny", Class::Deny, "what was denied or refused"),
    ("error", Class::Error, "calls that did not end well"),
    ("event", Class::Event, "security events"),
    ("call", Class::Call, "calls"),
    ("journal", Class::Journal, "what the journal says of itself"),
    ("fs", Class::Fs, "calls on files, and their denials"),
    ("net", Class::Net, "calls on sockets, and their denials"),
    ("nn", Class::Nn, "calls on graphs, and their denials"),
];

const TEXTS: &[(&str, TextField, &str)] = &[
    ("module", TextField::Module, "the module's name in its policy"),
    ("instance", TextField::Instance, "the worker's id"),
    ("call", TextField::Call, "the function: `path_open`, `open-at`, or whole, `wasi_snapshot_preview1#path_open`"),
    ("interface", TextField::Interface, "`wasi:filesystem/types`"),
    ("text", TextField::Text, "the path or graph name that was asked for"),
    ("kind", TextField::Kind, "the event: `module-refused`, `invocation-ended`"),
    ("code", TextField::Code, "why a module was refused: `EG3006`"),
    ("role", TextField::Role, "the process: `worker`, `graph`, `compile`"),
    ("digest", TextField::Digest, "SHA-256 of a module, in hex; `digest=4f2a*` is enough"),
];

const NUMBERS: &[(&str, NumberField, &str)] = &[
    ("errno", NumberField::Errno, "what the guest was told"),
    ("handle", NumberField::Handle, "the guest's descriptor or handle"),
    ("rule", NumberField::Rule, "the grant it used: directories from 1, graphs from 256"),
    ("ring", NumberField::Ring, "the guest thread"),
    ("in", NumberField::In, "bytes or items that went in"),
    ("out", NumberField::Out, "bytes or items that came out"),
    ("took", NumberField::Took, "how long a call took: `took>5ms`"),
    ("user", NumberField::User, "who asked on the control socket"),
    ("pid", NumberField::Pid, "the process that an event is about"),
];

const OTHERS: &[(&str, &str)] = &[
    ("outcome", "`ok`, `denied`, `error`, `trapped`, `limit`"),
    ("since", "not before `2026-11-22T16:00:00Z`, or `2h` ago"),
    ("until", "before then"),
];

/// Every name and what it means, a line each, for `--help`.
pub(super) fn words() -> String {
    let mut text = String::from("Words:\n");
    for (name, _, what) in CLASSES {
        text.push_str(&format!("  {name:10} {what}\n"));
    }
    text.push_str("\nFields, with `=` `!=` and `~` (holds this part); `*` stands for anything:\n");
    for (name, _, what) in TEXTS {
        text.push_str(&format!("  {name:10} {what}\n"));
    }
    text.push_str("\nFields, with `=` `!=` `<` `<=` `>` `>=`:\n");
    for (name, _, what) in NUMBERS {
        text.push_str(&format!("  {name:10} {what}\n"));
    }
    text.push_str("\nFields, with `=`:\n");
    for (name, what) in OTHERS {
        text.push_str(&format!("  {name:10} {what}\n"));
    }
    text
}

/// An expression that is none: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct BadExpr {
    message: String,
    /// Bytes of the expression before the mistake.
    at: usize,
    len: usize,
}

impl BadExpr {
    /// The mistake under the expression.
    pub fn shown(&self, text: &str) -> String {
        // The marks stand below characters, not bytes; what a terminal would obey is shown escaped, and as wide.
        let upto = |end: usize| edgeguard_audit::printable(text.get(..end).unwrap_or(text).as_bytes()).chars().count();
        let (from, to) = (upto(self.at), upto(self.at + self.len));
        let marks = "^".repeat(to.saturating_sub(from).max(1));
        format!("{}\n  {}\n  {:from$}{marks}", self.message, edgeguard_audit::printable(text.as_bytes()), "")
    }
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, BadExpr> {
    if text.len() > MAX_LEN {
        return Err(BadExpr { message: format!("an expression has at most {MAX_LEN} bytes, found {}", text.len()), at: 0, len: 1 });
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.len(), depth: 0 };
    let expr = parser.any()?;
    match parser.peek() {
        None => Ok(expr),
        Some(token) => Err(token.bad("expected `and`, `or` or the end".into())),
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    at: usize,
    len: usize,
    /// A word as it stands; for a field, its name.
    word: String,
    /// For a field: how it is compared, and with what.
    compared: Option<(&'static str, String)>,
    /// For a field: where its value begins.
    value_at: usize,
}

impl Token {
    fn bad(&self, message: String) -> BadExpr {
        BadExpr { message, at: self.at, len: self.len }
    }

    fn bad_value(&self, message: String) -> BadExpr {
        BadExpr { message, at: self.value_at, len: (self.at + self.len).saturating_sub(self.value_at).max(1) }
    }
}

/// Longest first, so that `<=` is not read as `<`.
const COMPARISONS: &[&str] = &["!=", "<=", ">=", "=", "~", "<", ">"];

fn tokens(text: &str) -> Result<Vec<Token>, BadExpr> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let mut token = Token { at, len: first.len_utf8(), word: first.to_string(), compared: None, value_at: at };
        if first != '(' && first != ')' {
            let end = rest.find(|c: char| c.is_whitespace() || "()\"=!<>~".contains(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            word.clone_into(&mut token.word);
            token.len = end.max(1);
            if let Some(comparison) = COMPARISONS.iter().find(|comparison| after.starts_with(**comparison)) {
                let value = after.get(comparison.len()..).unwrap_or_default();
                token.value_at = at + end + comparison.len();
                let (value, len) = read_value(value, token.value_at)?;
                token.len = token.value_at + len - at;
                token.compared = Some((comparison, value));
            } else if after.starts_with(['"', '!']) {
                let message = "expected a field and a comparison, such as `text~\"my file\"`".into();
                return Err(BadExpr { message, at: at + end, len: 1 });
            }
        }
        rest = text.get(token.at + token.len..).unwrap_or_default();
        tokens.push(token);
        if tokens.len() > MAX_TOKENS {
            return Err(BadExpr { message: format!("an expression has at most {MAX_TOKENS} words"), at, len: 1 });
        }
    }
}

/// A value, and how many bytes it takes.
fn read_value(text: &str, at: usize) -> Result<(String, usize), BadExpr> {
    if let Some(quoted) = text.strip_prefix('"') {
        return match quoted.split_once('"') {
            Some((value, _)) => Ok((value.to_owned(), value.len() + 2)),
            None => Err(BadExpr { message: "expected a closing `\"`".into(), at, len: text.len() }),
        };
    }
    let end = text.find(|c: char| c.is_whitespace() || "()\"".contains(c)).unwrap_or(text.len());
    match text.split_at(end) {
        ("", _) => Err(BadExpr { message: "expected a value".into(), at, len: 1 }),
        (value, _) => Ok((value.to_owned(), end)),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    end: usize,
    depth: u32,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    /// Goes behind the next token if it is this word.
    fn take(&mut self, word: &str) -> bool {
        let is = self.peek().is_some_and(|token| token.compared.is_none() && token.word == word);
        self.next += usize::from(is);
        is
    }

    fn any(&mut self) -> Result<Expr, BadExpr> {
        let mut parts = vec![self.all()?];
        while self.take("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Expr::Or))
    }

    fn all(&mut self) -> Result<Expr, BadExpr> {
        let mut parts = vec![self.term()?];
        loop {
            let and = self.take("and");
            let more = self.peek().is_some_and(|token| token.compared.is_some() || !matches!(token.word.as_str(), "or" | ")"));
            if !and && !more {
                return Ok(one_or(parts, Expr::And));
            }
            parts.push(self.term()?);
        }
    }

    fn term(&mut self) -> Result<Expr, BadExpr> {
        let Some(token) = self.peek().cloned() else {
            return Err(BadExpr {
                message: "expected a word such as `deny`, or a field such as `module=NAME`".into(),
                at: self.end,
                len: 1,
            });
        };
        self.next += 1;
        self.depth += 1;
        let expr = match (&token.compared, token.word.as_str()) {
            _ if self.depth > MAX_DEPTH => return Err(token.bad(format!("an expression is at most {MAX_DEPTH} deep"))),
            (None, "not") => Expr::Not(Box::new(self.term()?)),
            (None, "(") => {
                let inner = self.any()?;
                if !self.take(")") {
                    let at = self.peek().map_or(self.end, |token| token.at);
                    return Err(BadExpr { message: "expected `)`".into(), at, len: 1 });
                }
                inner
            }
            (None, ")" | "and" | "or") => return Err(token.bad(format!("expected a word or a field, found `{}`", token.word))),
            (None, word) => match CLASSES.iter().find(|(name, ..)| *name == word) {
                Some((_, class, _)) => Expr::Is(*class),
                None => return Err(token.bad(unknown_word(word))),
            },
            (Some((comparison, value)), _) => field(&token, comparison, value)?,
        };
        self.depth -= 1;
        Ok(expr)
    }
}

fn one_or(mut parts: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

fn field(token: &Token, comparison: &str, value: &str) -> Result<Expr, BadExpr> {
    let name = token.word.as_str();
    if let Some((_, field, _)) = TEXTS.iter().find(|(known, ..)| *known == name) {
        let text = |pattern| Expr::Text(*field, pattern);
        return match comparison {
            "=" => Ok(text(Pattern::whole(value))),
            "~" => Ok(text(Pattern::Part(value.to_owned()))),
            "!=" => Ok(Expr::Not(Box::new(text(Pattern::whole(value))))),
            other => Err(token.bad(format!("`{name}` holds text: expected `=`, `!=` or `~`, found `{other}`"))),
        };
    }
    if let Some((_, field, _)) = NUMBERS.iter().find(|(known, ..)| *known == name) {
        let number = if *field == NumberField::Took { nanoseconds(value) } else { value.parse().ok() };
        let Some(number) = number else {
            let form = if *field == NumberField::Took { "a duration such as `5ms`" } else { "a number" };
            return Err(token.bad_value(format!("`{name}`: expected {form}, found `{value}`")));
        };
        return match comparison {
            "=" => Ok(Expr::Number(*field, Comparison::Equal, number)),
            "!=" => Ok(Expr::Not(Box::new(Expr::Number(*field, Comparison::Equal, number)))),
            "<" => Ok(Expr::Number(*field, Comparison::Below, number)),
            "<=" => Ok(Expr::Number(*field, Comparison::AtMost, number)),
            ">" => Ok(Expr::Number(*field, Comparison::Above, number)),
            ">=" => Ok(Expr::Number(*field, Comparison::AtLeast, number)),
            other => Err(token.bad(format!("`{name}` holds a number: expected `=`, `!=`, `<`, `<=`, `>` or `>=`, found `{other}`"))),
        };
    }
    if !OTHERS.iter().any(|(known, _)| *known == name) {
        return Err(BadExpr { message: unknown_field(name), at: token.at, len: name.len().max(1) });
    }
    if comparison != "=" && !(name == "outcome" && comparison == "!=") {
        return Err(token.bad(format!("`{name}`: expected `=`, found `{comparison}`")));
    }
    match name {
        "since" => parse_since(value).map(Expr::Since).map_err(|message| token.bad_value(message)),
        "until" => parse_since(value).map(Expr::Until).map_err(|message| token.bad_value(message)),
        _ => {
            let known = (0..=u8::MAX).map_while(Outcome::from_raw).find(|outcome| outcome.name() == value);
            let known =
                known.ok_or_else(|| token.bad_value(format!("expected `ok`, `denied`, `error`, `trapped` or `limit`, found `{value}`")))?;
            Ok(if comparison == "=" { Expr::Outcome(known) } else { Expr::Not(Box::new(Expr::Outcome(known))) })
        }
    }
}

fn nanoseconds(text: &str) -> Option<u64> {
    const UNITS: &[(&str, u64)] = &[("ns", 1), ("us", 1_000), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number: f64 = text.strip_suffix(unit)?.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    Duration::try_from_secs_f64(number * *factor as f64 / 1e9).ok().and_then(|time| u64::try_from(time.as_nanos()).ok())
}

fn names() -> impl Iterator<Item = &'static str> {
    let (texts, numbers) = (TEXTS.iter().map(|row| row.0), NUMBERS.iter().map(|row| row.0));
    texts.chain(numbers).chain(OTHERS.iter().map(|row| row.0))
}

fn unknown_field(name: &str) -> String {
    match nearest(name, names()) {
        Some(near) => format!("no field is called `{name}`; did you mean `{near}`?"),
        None => format!("no field is called `{name}`; expected one of {}", names().collect::<Vec<_>>().join(", ")),
    }
}

fn unknown_word(word: &str) -> String {
    if names().any(|name| name == word) {
        return format!("`{word}` needs a value: `{word}=…`");
    }
    let words = || CLASSES.iter().map(|row| row.0);
    match nearest(word, words().chain(["and", "or", "not"])) {
        Some(near) => format!("`{word}` is no word here; did you mean `{near}`?"),
        None => format!(
            "`{word}` is no word here; expected one of {}, or a field such as `text~{word}`",
            words().collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The name that is most likely meant: it differs little, or begins alike.
fn nearest(word: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let alike = |name: &str| name.get(..3).is_some_and(|start| word.starts_with(start));
    let near =
        names.map(|name| (distance(word, name), name)).filter(|(distance, name)| *distance <= 2 && *distance < name.len() || alike(name));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// How many letters must be changed, added or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().take(MAX_NAME).enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(b.chars()) {
            let here = (diagonal + usize::from(left != right)).min(before + 1).min(*cell + 1);
            (diagonal, *cell, before) = (*cell, here, here);
        }
    }
    row.last().copied().unwrap_or(0).max(a.chars().count().saturating_sub(MAX_NAME))
}

const MAX_LEN: usize = 4096;
const MAX_TOKENS: usize = 256;
const MAX_DEPTH: u32 = 64;
const MAX_NAME: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn module(name: &str) -> Expr {
        Expr::Text(TextField::Module, Pattern::whole(name))
    }

    #[test]
    fn and_binds_more_than_or_and_may_be_left_out() {
        let deny = || Expr::Is(Class::Deny);
        let expected = Expr::Or(vec![Expr::And(vec![deny(), module("a")]), module("b")]);
        for text in ["deny and module=a or module=b", "deny module=a or module=b", "(deny and (module=a))or module=\"b\""] {
            assert_eq!(parse(text), Ok(expected.clone()), "{text}");
        }
        let expected = Expr::And(vec![deny(), Expr::Or(vec![module("a"), module("b")])]);
        assert_eq!(parse("deny (module=a or module=b)"), Ok(expected));
        assert_eq!(parse("not not deny"), Ok(Expr::Not(Box::new(Expr::Not(Box::new(deny()))))));
    }

    #[test]
    fn values_are_read_by_what_their_field_holds() {
        assert_eq!(parse("took>=1.5ms"), Ok(Expr::Number(NumberField::Took, Comparison::AtLeast, 1_500_000)));
        assert_eq!(parse("in<9"), Ok(Expr::Number(NumberField::In, Comparison::Below, 9)));
        assert_eq!(parse("since=2025-11-24T16:00:00Z"), Ok(Expr::Since(1_764_000_000_000_000_000)));
        assert_eq!(parse("outcome=limit"), Ok(Expr::Outcome(Outcome::Limit)));
        assert_eq!(parse("text~\"a b)\""), Ok(Expr::Text(TextField::Text, Pattern::Part("a b)".into()))));
        assert_eq!(parse("call=path_open"), Ok(Expr::Text(TextField::Call, Pattern::whole("path_open"))));
        assert_eq!(parse("call"), Ok(Expr::Is(Class::Call)));
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, fits) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(Pattern::whole(pattern).fits(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn mistakes_are_named_and_shown() {
        let said = |text: &str| parse(text).unwrap_err().shown(text);
        insta::assert_snapshot!(
            [
                "deny and modul=voice-gate",
                "denied",
                "deny and",
                "module",
                "module>3",
                "errno=many",
                "took>5",
                "since=yesterday",
                "outcome=fine",
                "(deny or net",
                "deny)",
                "text~\"open",
                "module=",
                "secrets",
                "",
                "ümläut \u{1b}[2J=3",
            ]
            .map(said)
            .join("\n\n")
        );
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        assert!(parse(&"deny ".repeat(2000)).is_err());
        assert!(parse(&"deny ".repeat(300)).is_err());
        assert!(parse(&"not ".repeat(100)).is_err());
        assert!(parse(&format!("{}deny", "(".repeat(100))).is_err());
        assert!(parse(&format!("{}deny{}", "(".repeat(20), ")".repeat(20))).is_ok());
    }
}
