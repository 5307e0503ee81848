//! One mistake, or many, with the place each stands at.
//!
//! Runs in: daemon and command line.
//! Invariant: messages are lower-case sentences without a full stop; everything quoted from a text passed [`escape`].

use std::fmt;
use std::ops::Range;

use serde_json::Value;
use serde_json::json;

use crate::bounds::MAX_DIAGNOSTICS;
use crate::codes::Code;
use crate::codes::Severity;
use crate::render;
use crate::render::Colour;
use crate::source::Source;
use crate::source::escape;

/// One mistake.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    code: Code,
    message: String,
    place: Option<Spot>,
    others: Vec<Spot>,
    file: Option<String>,
    help: Vec<String>,
}

/// A stretch of a text, and what is to be said about it.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) source: Source,
    pub(crate) span: Range<usize>,
    pub(crate) label: String,
}

impl Diagnostic {
    /// A mistake of a kind. The message is lower-case, without a full stop; control bytes in it are escaped.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: escape(&message.into()), place: None, others: Vec::new(), file: None, help: Vec::new() }
    }

    /// Says where it stands: a byte range of the text.
    #[must_use]
    pub fn at(mut self, source: &Source, span: Range<usize>, label: impl Into<String>) -> Self {
        self.place = Some(Spot::new(source, span, label));
        self
    }

    /// Points at a second place that has to do with it, in the same or another text.
    #[must_use]
    pub fn also(mut self, source: &Source, span: Range<usize>, label: impl Into<String>) -> Self {
        self.others.push(Spot::new(source, span, label));
        self
    }

    /// Says which file it is about, where there is no text to point into.
    #[must_use]
    pub fn in_file(mut self, name: &str) -> Self {
        self.file = Some(escape(name));
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(escape(&text.into()));
        self
    }

    /// The kind of mistake.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Error or warning.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next.
    #[must_use]
    pub fn helps(&self) -> &[String] {
        &self.help
    }

    /// The file, and line and column from 1 where they are known.
    #[must_use]
    pub fn location(&self) -> Option<(&str, Option<(usize, usize)>)> {
        let spot = self.place.as_ref().map(|s| (s.source.name(), Some(s.source.line_column(s.span.start))));
        spot.or_else(|| self.file.as_deref().map(|name| (name, None)))
    }

    /// Rendered as a compiler renders: several lines, no line feed at the end.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        render::diagnostic(self, colour)
    }

    /// For machines: `{code, severity, message, file, line, column, end_line, end_column, label, help, related}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let related: Vec<Value> = self.others.iter().map(Spot::to_json).collect();
        let mut value = self.place.as_ref().map_or_else(|| json!({ "file": self.file }), Spot::to_json);
        if let Value::Object(map) = &mut value {
            map.insert("code".into(), json!(self.code.id()));
            map.insert("severity".into(), json!(self.severity().as_str()));
            map.insert("message".into(), json!(self.message));
            map.insert("help".into(), json!(self.help));
            map.insert("related".into(), json!(related));
        }
        value
    }

    pub(crate) fn place(&self) -> Option<&Spot> {
        self.place.as_ref()
    }

    pub(crate) fn others(&self) -> &[Spot] {
        &self.others
    }

    pub(crate) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Whether it stands in texts of this name alone.
    pub(crate) fn is_only_in(&self, name: &str) -> bool {
        self.place.as_ref().is_some_and(|spot| spot.source.name() == name) && self.others.iter().all(|spot| spot.source.name() == name)
    }

    /// By text, by place in it, by code. One text's mistakes stand together.
    fn order(&self) -> (Option<(&str, usize)>, Code) {
        (self.place.as_ref().map(|s| (s.source.name(), s.span.start)), self.code)
    }
}

impl Spot {
    fn new(source: &Source, span: Range<usize>, label: impl Into<String>) -> Self {
        let (source, span) = source.origin(&span);
        let span = source.clamp(&span);
        Self { source, span, label: escape(&label.into()) }
    }

    fn to_json(&self) -> Value {
        let (line, column) = self.source.line_column(self.span.start);
        let (end_line, end_column) = self.source.line_column(self.span.end);
        json!({
            "file": self.source.name(), "label": self.label,
            "line": line, "column": column, "end_line": end_line, "end_column": end_column,
        })
    }
}

/// One line: `FILE:LINE:COLUMN: error[EG014]: message`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location() {
            Some((file, Some((line, column)))) => write!(f, "{file}:{line}:{column}: ")?,
            Some((file, None)) => write!(f, "{file}: ")?,
            None => {}
        }
        write!(f, "{}[{}]: {}", self.severity().as_str(), self.code.id(), self.message)
    }
}

/// Any number of mistakes, in the order of the text. At most [`MAX_DIAGNOSTICS`] are kept; the rest are counted.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    omitted: usize,
    omitted_errors: usize,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < MAX_DIAGNOSTICS {
            self.list.push(diagnostic);
        } else {
            self.omitted += 1;
            self.omitted_errors += usize::from(diagnostic.severity() == Severity::Error);
        }
    }

    /// Adds all of another list; nothing at all is a list too.
    pub fn extend(&mut self, other: impl Into<Self>) {
        let other = other.into();
        self.omitted += other.omitted;
        self.omitted_errors += other.omitted_errors;
        other.list.into_iter().for_each(|d| self.push(d));
    }

    /// Those that were kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.omitted == 0
    }

    /// How many errors were found, those not kept included.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|d| d.severity() == Severity::Error).count() + self.omitted_errors
    }

    /// How many warnings were found, those not kept included.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.list.len() + self.omitted - self.errors()
    }

    /// How many were counted but not kept.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Rendered as a compiler renders, one blank line between two; ends with a line feed unless empty.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        let mut out = String::new();
        for (i, diagnostic) in self.list.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            out.push_str(&diagnostic.render(colour));
            out.push('\n');
        }
        if self.omitted > 0 {
            out.push_str(&format!("\nand {} more like these, not shown\n", self.omitted));
        }
        out
    }

    /// For machines: a list of what [`Diagnostic::to_json`] gives.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.list.iter().map(Diagnostic::to_json).collect()
    }

    pub(crate) fn sort(&mut self) {
        self.list.sort_by(|a, b| a.order().cmp(&b.order()));
    }

    /// Changes each of those that were kept.
    pub(crate) fn change(&mut self, change: impl FnMut(Diagnostic) -> Diagnostic) {
        self.list = std::mem::take(&mut self.list).into_iter().map(change).collect();
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&Diagnostic) -> bool) {
        self.list.retain(keep);
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        let mut all = Self::default();
        all.push(one);
        all
    }
}

impl From<Option<Diagnostic>> for Diagnostics {
    fn from(one: Option<Diagnostic>) -> Self {
        one.map(Self::from).unwrap_or_default()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

/// The plain rendering.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(Colour::Never).trim_end())
    }
}

impl std::error::Error for Diagnostics {}
