//! A policy's text in its canonical form: sections and keys in the order of the reference, one way to space and break lines, every comment kept.
//!
//! Runs in: command line (`edgeguard policy fmt`).
//! Does not: change what a text says. What comes out is read again and compared with what went in, and is given back only if it is the same.
//! Does not: ask that the policy is a good one. Unknown keys stay, behind those that are known.

mod value;

use thiserror::Error;
use toml_edit::ArrayOfTables;
use toml_edit::DocumentMut;
use toml_edit::Item;
use toml_edit::Key;
use toml_edit::RawString;
use toml_edit::Table;

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::document::Reading;
use crate::schema;
use crate::schema::Kind;
use crate::schema::Section;
use crate::source::Source;

/// Why a text has no canonical form.
#[derive(Debug, Error)]
pub enum FormatError {
    /// It is not TOML, holds something twice, or is too large.
    #[error("text cannot be read")]
    Text(#[source] Diagnostics),
    /// What came out says something else than what went in: a defect of this program.
    #[error("formatted text would say something else")]
    Changed,
}

/// The canonical form of a policy's text. `format(format(x)) == format(x)`.
///
/// Comments before a key or a section go with it, and those behind a value stay behind it; a block at the top that a blank line sets off stays at the top.
/// At most one blank line is kept between two keys, and one stands before each section. Lists are on one line where they fit.
///
/// # Errors
/// As [`FormatError`].
pub fn format(file_name: &str, text: &str) -> Result<String, FormatError> {
    let source = Source::new(file_name, text);
    let mut found = Diagnostics::default();
    let _ = Document::read(&source, &schema::POLICY, Reading::Whole, &mut found);
    found.retain(|d| matches!(d.code(), Code::Syntax | Code::DuplicateKey | Code::TooLarge));
    if found.errors() > 0 {
        return Err(FormatError::Text(found));
    }
    let text = source.text();
    let (header, rest) = split_header(text);
    let document: DocumentMut = rest.parse().map_err(|error: toml_edit::TomlError| {
        // Places count from behind the header, which is the same text.
        let offset = text.len() - rest.len();
        let span = error.span().map_or(0..0, |span| span.start + offset..span.end + offset);
        let help = "write whole numbers within 64 bits, and strings in double quotes";
        FormatError::Text(Diagnostic::new(Code::Syntax, "text is not TOML").at(&source, span, error.message()).help(help).into())
    })?;
    let mut writer = Writer { out: header };
    writer.table(document.as_table(), &[], Some(&schema::POLICY));
    writer.trailing(document.trailing());
    if same(text, &writer.out) { Ok(writer.out) } else { Err(FormatError::Changed) }
}

/// Whether two texts say the same.
fn same(a: &str, b: &str) -> bool {
    match (toml::from_str::<toml::Table>(a), toml::from_str::<toml::Table>(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// The comments that belong to the file as a whole, ready to be written, and the text behind them: a block at the top that a blank line ends, and
/// directives to editors (`#:schema`).
fn split_header(text: &str) -> (String, &str) {
    let mut header = 0;
    let mut at = 0;
    let mut comments = false;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        at += line.len();
        if trimmed.starts_with("#:") || (trimmed.is_empty() && comments) {
            header = at;
        }
        if trimmed.starts_with('#') {
            comments = true;
        } else if !trimmed.is_empty() {
            break;
        }
    }
    let (head, rest) = text.split_at_checked(header).unwrap_or(("", text));
    let mut lines = comment_lines(head);
    while lines.first().is_some_and(String::is_empty) {
        lines.remove(0);
    }
    let set_off = lines.last().is_some_and(String::is_empty) || rest.trim_start_matches([' ', '\t']).starts_with(['\n', '\r']);
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let mut out: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if !out.is_empty() && set_off {
        out.push('\n');
    }
    (out, rest)
}

/// Comments and blank lines of what stands between two entries: comments without what is before and behind them, blank lines singly.
fn comment_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            if lines.last().is_none_or(|last| !last.is_empty()) {
                lines.push(String::new());
            }
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

fn raw(text: Option<&RawString>) -> &str {
    text.and_then(RawString::as_str).unwrap_or_default()
}

struct Writer {
    out: String,
}

impl Writer {
    /// A table's values, then its sections.
    fn table(&mut self, table: &Table, path: &[&Key], section: Option<&'static Section>) {
        let entries = ordered(table, section);
        let mut first = true;
        for (key, item) in &entries {
            if let Item::Value(value) = item {
                self.before_key(raw(key.leaf_decor().prefix()), first);
                first = false;
                let name = key.display_repr();
                let indent = name.chars().count() + 3;
                self.out.push_str(&format!("{name} = {}", value::written(value, indent)));
                self.behind(raw(value.decor().suffix()));
            }
        }
        for (key, item) in entries {
            let inner = section.and_then(|section| inner(section, key.get()));
            let path: Vec<&Key> = path.iter().copied().chain([key]).collect();
            match item {
                Item::Table(table) => self.section(table, key, &path, inner, false),
                Item::ArrayOfTables(list) => self.sections(list, key, &path, inner),
                Item::Value(_) | Item::None => {}
            }
        }
    }

    fn sections(&mut self, list: &ArrayOfTables, key: &Key, path: &[&Key], section: Option<&'static Section>) {
        for table in list {
            self.section(table, key, path, section, true);
        }
    }

    /// `[a.b]` or `[[a.b]]` with what is in it. A table that only its inner ones made has no header.
    fn section(&mut self, table: &Table, key: &Key, path: &[&Key], section: Option<&'static Section>, many: bool) {
        let has_values = table.iter().any(|(_, item)| item.is_value());
        if many || has_values || !(table.is_implicit() || table.is_dotted()) {
            // A dotted key's decor is its leaf's, which is written with the value.
            let above = if table.is_dotted() { "" } else { raw(key.leaf_decor().prefix()) };
            self.before_section(&format!("{above}{}", raw(table.decor().prefix())));
            let name: Vec<_> = path.iter().map(|key| key.display_repr()).collect();
            let name = name.join(".");
            self.out.push_str(&if many { format!("[[{name}]]") } else { format!("[{name}]") });
            self.behind(raw(table.decor().suffix()));
        }
        self.table(table, path, section);
    }

    /// What stands before a key: its comments, and one blank line if there was any, though not before the first.
    fn before_key(&mut self, between: &str, first: bool) {
        let lines = comment_lines(between);
        let skip = usize::from(first && lines.first().is_some_and(String::is_empty));
        lines.iter().skip(skip).for_each(|line| self.line(line));
    }

    /// What stands before a section: a blank line, then its comments.
    fn before_section(&mut self, between: &str) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
        let lines = comment_lines(between);
        let skip = usize::from(lines.first().is_some_and(String::is_empty));
        lines.iter().skip(skip).for_each(|line| self.line(line));
    }

    /// The comment behind a value or a header, and the end of the line.
    fn behind(&mut self, suffix: &str) {
        let comment = suffix.trim();
        if !comment.is_empty() {
            self.out.push(' ');
            self.out.push_str(comment);
        }
        self.out.push('\n');
    }

    /// What stands behind the last entry of the file.
    fn trailing(&mut self, text: &RawString) {
        let mut lines = comment_lines(text.as_str().unwrap_or_default());
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        let skip = usize::from(self.out.is_empty() && lines.first().is_some_and(String::is_empty));
        lines.iter().skip(skip).for_each(|line| self.line(line));
        // A header with nothing behind it ends with its own blank line, which is no more than the end of the file.
        while self.out.ends_with("\n\n") || self.out == "\n" {
            self.out.pop();
        }
    }

    fn line(&mut self, line: &str) {
        if !(line.is_empty() && (self.out.is_empty() || self.out.ends_with("\n\n"))) {
            self.out.push_str(line);
            self.out.push('\n');
        }
    }
}

/// A table's entries: those that are known in the format's order, then the others in the file's.
fn ordered<'t>(table: &'t Table, section: Option<&'static Section>) -> Vec<(&'t Key, &'t Item)> {
    let rank = |name: &str| {
        let known = section.and_then(|section| section.keys.iter().position(|key| key.name == name));
        let heads = section.is_some_and(|section| section.keys.iter().any(|key| key.name == name && schema::is_head(section, key)));
        if heads { 0 } else { known.map_or(usize::MAX, |at| at + 1) }
    };
    let mut entries: Vec<(&Key, &Item)> = table.iter().filter_map(|(name, _)| table.get_key_value(name)).collect();
    entries.sort_by_key(|(key, _)| rank(key.get()));
    entries
}

/// The format of a section below another.
fn inner(section: &'static Section, name: &str) -> Option<&'static Section> {
    let key = section.keys.iter().find(|key| key.name == name)?;
    match key.kind {
        Kind::One(section) | Kind::Many(section) => Some(section),
        _ => None,
    }
}
