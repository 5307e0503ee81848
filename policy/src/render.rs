//! Diagnostics as a person reads them, by rustc's own renderer. The only file that names `annotate_snippets`.
//!
//! Runs in: daemon (plain, for its log) and command line.

use std::ops::Range;

use annotate_snippets::AnnotationKind;
use annotate_snippets::Group;
use annotate_snippets::Level;
use annotate_snippets::Origin;
use annotate_snippets::Renderer;
use annotate_snippets::Snippet;

use crate::codes::Severity;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Spot;
use crate::source::Source;
use crate::source::is_direction;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// ANSI colours.
    Always,
    /// Plain text, for logs, pipes and tests.
    Never,
}

pub(crate) fn diagnostic(d: &Diagnostic, colour: Colour) -> String {
    let level = match d.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level.primary_title(d.message()).id(d.code().id()).element_opt(d);
    for window in windows(d) {
        group = group.element(window.snippet());
    }
    for help in d.helps() {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = match colour {
        Colour::Always => Renderer::styled(),
        Colour::Never => Renderer::plain(),
    };
    renderer.term_width(WIDTH).render(&[group])
}

trait ElementOpt<'a> {
    fn element_opt(self, d: &'a Diagnostic) -> Group<'a>;
}

impl<'a> ElementOpt<'a> for annotate_snippets::Title<'a> {
    /// A diagnostic without a place in a text still names its file.
    fn element_opt(self, d: &'a Diagnostic) -> Group<'a> {
        match d.file() {
            Some(name) if d.place().is_none() => self.element(Origin::path(name)),
            _ => self.elements(Vec::<Origin<'a>>::new()),
        }
    }
}

/// The lines of one text that a diagnostic points into, cut out so that a large file is not scanned for each mistake in it.
struct Window<'a> {
    name: &'a str,
    text: String,
    first_line: usize,
    marks: Vec<(AnnotationKind, Range<usize>, &'a str)>,
}

impl<'a> Window<'a> {
    fn snippet(self) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let marks = self.marks.into_iter().map(|(kind, span, label)| kind.span(span).label((!label.is_empty()).then_some(label)));
        Snippet::source(self.text).line_start(self.first_line).path(self.name).annotations(marks)
    }
}

/// One window for each text: the main place and the others in the same text together.
fn windows(d: &Diagnostic) -> Vec<Window<'_>> {
    let Some(main) = d.place() else { return Vec::new() };
    let here = d.others().iter().filter(|s| same(&s.source, &main.source));
    let elsewhere = d.others().iter().filter(|s| !same(&s.source, &main.source));
    let spots: Vec<_> = std::iter::once((AnnotationKind::Primary, main)).chain(here.map(|s| (AnnotationKind::Context, s))).collect();
    let mut all = vec![window(&main.source, &spots)];
    all.extend(elsewhere.map(|s| window(&s.source, &[(AnnotationKind::Context, s)])));
    all
}

fn window<'a>(source: &'a Source, spots: &[(AnnotationKind, &'a Spot)]) -> Window<'a> {
    let text = source.text();
    let start = spots.iter().map(|(_, s)| s.span.start).min().unwrap_or(0);
    let end = spots.iter().map(|(_, s)| s.span.end).max().unwrap_or(0);
    let from = text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    let to = text.get(end..).and_then(|t| t.find('\n')).map_or(text.len(), |i| end + i);
    let marks = spots.iter().map(|(kind, s)| (*kind, s.span.start - from..s.span.end - from, s.label.as_str())).collect();
    let shown = text.get(from..to).unwrap_or_default().chars().map(harmless).collect();
    Window { name: source.name(), text: shown, first_line: source.line(from), marks }
}

fn same(a: &Source, b: &Source) -> bool {
    std::ptr::eq(a.text(), b.text())
}

/// The renderer makes the ASCII control characters visible; this does the same for the rest, with a character of the same length so that no offset moves.
fn harmless(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => '\u{b7}',
        c if is_direction(c) => '\u{fffd}',
        c => c,
    }
}

/// Columns; the same on every terminal, so that a log and a test read the same.
const WIDTH: usize = 140;
