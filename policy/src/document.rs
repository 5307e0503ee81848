//! TOML text held against the format: unknown keys, wrong types and missing keys are reported here, all at once.
//!
//! Runs in: daemon and command line.
//! Does not: judge values. What a [`Table`] hands out has the type the format wants, or was reported and is absent.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeInteger;
use toml::de::DeTable;
use toml::de::DeValue;
use toml::value::Datetime;

use crate::bounds::MAX_TEXT;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::schema;
use crate::schema::Key;
use crate::schema::Kind;
use crate::schema::Need;
use crate::schema::Section;
use crate::source;
use crate::source::Source;
use crate::suggest;

/// A parsed text whose shape was checked.
pub(crate) struct Document<'s> {
    root: DeTable<'s>,
}

/// How much of a format a text has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// All that is required.
    Whole,
    /// What profiles may not say; the rest may be theirs.
    Part,
    /// What profiles may say, and nothing of it is required.
    Profile,
}

/// One section of it.
pub(crate) struct Table<'d> {
    entries: &'d DeTable<'d>,
    /// The header, for what is said of the section as a whole.
    pub(crate) span: Range<usize>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

impl<'s> Document<'s> {
    /// Parses and checks the shape. Reports everything to `found`; what it returns is what could be understood.
    pub(crate) fn read(source: &'s Source, format: &'static Section, reading: Reading, found: &mut Diagnostics) -> Self {
        if source.text().len() > MAX_TEXT {
            found.push(source::too_large(source.name(), source.text().len()));
            return Self { root: DeTable::new() };
        }
        let (root, errors) = DeTable::parse_recoverable(source.text());
        let root = root.into_inner();
        let mut shape = Diagnostics::default();
        Shape { source, reading, found: &mut shape }.table(&root, &(0..0), format);
        let broken = syntax(source, &errors, found);
        // A line that could not be read may have held what now seems to be missing, and what stands on it was guessed.
        shape.retain(|d| {
            let line = d.location().and_then(|(_, at)| at).map(|(line, _)| line);
            let missing = matches!(d.code(), Code::MissingKey | Code::MissingSection);
            broken.is_empty() || !(missing || line.is_some_and(|l| broken.contains(&l)))
        });
        found.extend(shape);
        Self { root }
    }

    pub(crate) fn root(&self) -> Table<'_> {
        Table { entries: &self.root, span: 0..0 }
    }
}

/// Reports syntax errors, one for each line, and gives back the lines that could not be read.
fn syntax(source: &Source, errors: &[toml::de::Error], found: &mut Diagnostics) -> BTreeSet<usize> {
    let mut broken = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut repeated = 0;
    let mut errors: Vec<_> = errors.iter().map(|e| (e.span().unwrap_or(0..0), e.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    for (span, message) in errors {
        let line = source.line(span.start);
        if message.starts_with("duplicate key") {
            // In a section written twice every key is there twice too; that follows, and is not said again.
            if span.start < repeated || !seen.insert(line) {
                continue;
            }
            repeated = section_end(source.text(), span.start).unwrap_or(repeated);
            let help = "keep one of the two; a second entry of a list is written with double brackets, `[[dir]]`";
            found.push(
                Diagnostic::new(Code::DuplicateKey, "key or section is written twice").at(source, span, "already written above").help(help),
            );
        } else if broken.insert(line) && seen.insert(line) {
            let help = "strings, sizes, durations and paths stand in double quotes: `memory = \"64 MiB\"`";
            found.push(Diagnostic::new(Code::Syntax, "text is not TOML").at(source, span, message).help(help));
        }
    }
    broken
}

/// If `offset` stands in a section's header: where the next section begins.
fn section_end(text: &str, offset: usize) -> Option<usize> {
    text.get(..offset)?.trim_end().ends_with('[').then(|| text.get(offset..).and_then(|t| t.find("\n[")).map_or(text.len(), |i| offset + i))
}

/// The walk that compares a table with its format.
struct Shape<'a> {
    source: &'a Source,
    reading: Reading,
    found: &'a mut Diagnostics,
}

impl Shape<'_> {
    fn table(&mut self, table: &DeTable<'_>, header: &Range<usize>, format: &'static Section) {
        // A required key that was only misspelt is reported as that, and not as missing too.
        let mut meant = BTreeSet::new();
        for (name, value) in table {
            match format.keys.iter().find(|k| k.name == name.get_ref().as_ref()) {
                Some(key) => self.value(value, key),
                None => meant.extend(self.unknown(name, value.get_ref(), format)),
            }
        }
        for key in format.keys.iter().filter(|k| k.need == Need::Required) {
            let elsewhere = self.reading != Reading::Whole && schema::may_be_shared(format, key);
            if !table.contains_key(key.name) && !meant.contains(key.name) && !elsewhere {
                self.missing(key, header, format);
            }
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, key: &'static Key) {
        match (&key.kind, value.get_ref()) {
            (kind, single) if is_single(kind, single) => {}
            (Kind::Texts, DeValue::Array(list)) => {
                list.iter().filter(|v| !v.get_ref().is_str()).for_each(|v| self.wrong_type(v, "a string", key));
                if list.is_empty() && key.need == Need::Required {
                    self.wrong_type(value, "at least one entry", key);
                }
            }
            (Kind::Words, DeValue::Table(table)) => {
                table.values().filter(|v| !v.get_ref().is_str()).for_each(|v| self.wrong_type(v, "a string", key));
            }
            (Kind::One(format), DeValue::Table(table)) => self.table(table, &value.span(), format),
            (Kind::Many(format), DeValue::Array(list)) => {
                for entry in list {
                    match entry.get_ref() {
                        DeValue::Table(table) => self.table(table, &entry.span(), format),
                        _ => self.wrong_type(entry, "a table", key),
                    }
                }
                if list.is_empty() && key.need == Need::Required {
                    self.wrong_type(value, "at least one entry", key);
                }
            }
            (kind, _) => self.wrong_type(value, takes(kind), key),
        }
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, expected: &str, key: &'static Key) {
        let name = key.name;
        let example = match key.kind {
            Kind::One(_) | Kind::Many(_) | Kind::Words => format!("write it as a section of its own: `{}`", key.example),
            _ => format!("write it like `{name} = {}`", key.example),
        };
        self.found.push(
            Diagnostic::new(Code::WrongType, format!("`{name}` takes {}", takes(&key.kind)))
                .at(self.source, value.span(), format!("expected {expected}, found {}", describe(value.get_ref())))
                .help(example),
        );
    }

    /// Reports a key that is not known; gives back the one that was probably meant.
    fn unknown(&mut self, name: &Spanned<Cow<'_, str>>, value: &DeValue<'_>, format: &'static Section) -> Option<&'static str> {
        let written = shorten(name.get_ref());
        let what = if is_section(value) { "section" } else { "key" };
        let place = if format.title == schema::TOP { "at the top of the file".to_owned() } else { format!("in `{}`", format.title) };
        let diagnostic = Diagnostic::new(Code::UnknownKey, format!("unknown {what} `{written}` {place}"));
        let known = || format.keys.iter().map(|k| k.name);
        if self.reading == Reading::Profile
            && format.title == schema::TOP
            && schema::POLICY.keys.iter().any(|key| key.name == *name.get_ref())
        {
            let message = format!("a profile may not say `{written}`");
            let help = "a profile holds what several modules share; write this in the policy that uses it";
            let diagnostic = Diagnostic::new(Code::ProfileKey, message).at(self.source, name.span(), "belongs to one policy alone");
            self.found.push(diagnostic.help(help));
            return None;
        }
        if format.title == "[[dir]]" && EXCEPTIONS.contains(&name.get_ref().as_ref()) {
            let help = "the kernel gives rights to a whole directory, and takes none back within it: grant what the module needs beside it, each with its own `[[dir]]`";
            self.found.push(diagnostic.at(self.source, name.span(), "there are no exceptions").help(help));
            return None;
        }
        let near = suggest::nearest(name.get_ref(), known());
        self.found.push(match near {
            Some(near) => diagnostic.at(self.source, name.span(), format!("did you mean `{near}`?")),
            None => {
                let list: Vec<String> = known().map(|k| format!("`{k}`")).collect();
                diagnostic.at(self.source, name.span(), "not known here").help(format!("known here: {}", list.join(", ")))
            }
        });
        near
    }

    fn missing(&mut self, key: &'static Key, header: &Range<usize>, format: &'static Section) {
        let (name, title) = (key.name, format.title);
        self.found.push(match key.kind {
            Kind::One(section) | Kind::Many(section) => {
                let lines: Vec<String> =
                    section.keys.iter().filter(|k| k.need == Need::Required).map(|k| format!("`{}`", k.name)).collect();
                // A section none of whose keys is required is a choice, and the first is the usual one.
                let with = if lines.is_empty() {
                    section.keys.first().map(|k| format!("`{}`", k.name)).unwrap_or_default()
                } else {
                    lines.join(", ")
                };
                let diagnostic = Diagnostic::new(Code::MissingSection, format!("section `{}` is missing", key.example));
                let diagnostic = if header.is_empty() {
                    diagnostic.in_file(self.source.name())
                } else {
                    diagnostic.at(self.source, header.clone(), format!("`{}` belongs to it", key.example))
                };
                diagnostic.help(format!("add `{}` with {with}", key.example))
            }
            _ if header.is_empty() => {
                let diagnostic = Diagnostic::new(Code::MissingKey, format!("`{name}` is missing at the top of the file"));
                diagnostic.in_file(self.source.name()).help(format!("add `{name} = {}` before the first section", key.example))
            }
            _ => Diagnostic::new(Code::MissingKey, format!("`{title}` has no `{name}`"))
                .at(self.source, header.clone(), format!("`{name}` is missing here"))
                .help(format!("add a line like `{name} = {}`", key.example)),
        });
    }
}

/// Whether a value is of the kind that a key takes, of those that are one value.
fn is_single(kind: &Kind, value: &DeValue<'_>) -> bool {
    matches!(
        (kind, value),
        (Kind::Text, DeValue::String(_))
            | (Kind::Integer, DeValue::Integer(_))
            | (Kind::Boolean, DeValue::Boolean(_))
            | (Kind::Time, DeValue::Datetime(_))
    )
}

fn is_section(value: &DeValue<'_>) -> bool {
    value.is_table() || value.as_array().is_some_and(|list| list.iter().any(|v| v.get_ref().is_table()))
}

fn takes(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text => "a string",
        Kind::Integer => "a whole number",
        Kind::Boolean => "`true` or `false`",
        Kind::Time => "a date and time, without quotes",
        Kind::Texts => "a list of strings",
        Kind::One(_) => "a table",
        Kind::Many(_) => "a list of tables",
        Kind::Words => "a table of strings",
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(list) if list.iter().any(|v| v.get_ref().is_table()) => "a list of tables",
        DeValue::Array(list) if list.is_empty() => "an empty list",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "one table",
    }
}

/// A word that was written, short enough to stand in a message.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

impl<'d> Table<'d> {
    fn of(value: &'d Spanned<DeValue<'d>>) -> Option<Self> {
        Some(Self { entries: value.get_ref().as_table()?, span: value.span() })
    }

    /// An empty table that stands there.
    pub(crate) fn at(span: Range<usize>) -> Table<'static> {
        static NOTHING: std::sync::LazyLock<DeTable<'static>> = std::sync::LazyLock::new(DeTable::new);
        Table { entries: &NOTHING, span }
    }

    /// Where a key's value stands, if it is one value, or a list of strings, and of the right kind.
    pub(crate) fn plain(&self, key: &Key) -> Option<Range<usize>> {
        let value = self.entries.get(key.name)?;
        let fits = match (&key.kind, value.get_ref()) {
            (Kind::Texts, DeValue::Array(list)) => list.iter().all(|v| v.get_ref().is_str()),
            (kind, single) => is_single(kind, single),
        };
        fits.then(|| value.span())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<Found<&'d str>> {
        let value = self.entries.get(name)?;
        Some(Found { value: value.get_ref().as_str()?, span: value.span() })
    }

    /// A number that no 128-bit integer holds is out of every bound, so it is given as the largest.
    pub(crate) fn integer(&self, name: &str) -> Option<Found<i128>> {
        let value = self.entries.get(name)?;
        let number: &DeInteger<'_> = value.get_ref().as_integer()?;
        let read = i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX);
        Some(Found { value: read, span: value.span() })
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.entries.get(name)?.get_ref().as_bool()
    }

    pub(crate) fn time(&self, name: &str) -> Option<Found<&'d Datetime>> {
        let value = self.entries.get(name)?;
        Some(Found { value: value.get_ref().as_datetime()?, span: value.span() })
    }

    /// Where the value of a key stands, whatever it is.
    pub(crate) fn span_of(&self, name: &str) -> Option<Range<usize>> {
        Some(self.entries.get(name)?.span())
    }

    pub(crate) fn texts(&self, name: &str) -> Option<Vec<Found<&'d str>>> {
        let list = self.entries.get(name)?.get_ref().as_array()?;
        Some(list.iter().filter_map(|v| Some(Found { value: v.get_ref().as_str()?, span: v.span() })).collect())
    }

    pub(crate) fn section(&self, name: &str) -> Option<Table<'d>> {
        Self::of(self.entries.get(name)?)
    }

    pub(crate) fn sections(&self, name: &str) -> Vec<Table<'d>> {
        let list = self.entries.get(name).and_then(|v| v.get_ref().as_array());
        list.map(|l| l.iter().filter_map(Self::of).collect()).unwrap_or_default()
    }

    /// Keys of the operator's own with their strings: (key, value).
    pub(crate) fn words(&self, name: &str) -> Vec<(Found<&'d str>, Found<&'d str>)> {
        let table = self.entries.get(name).and_then(|v| v.get_ref().as_table());
        let pair = |(k, v): (&'d Spanned<Cow<'d, str>>, &'d Spanned<DeValue<'d>>)| {
            let key = Found { value: k.get_ref().as_ref(), span: k.span() };
            Some((key, Found { value: v.get_ref().as_str()?, span: v.span() }))
        };
        table.map(|t| t.iter().filter_map(pair).collect()).unwrap_or_default()
    }
}

/// What people write who look for a way to except something from a grant.
const EXCEPTIONS: &[&str] = &["except", "exceptions", "exclude", "deny", "not", "ignore", "without"];
