//! Several documents as one text: the policy's own words first, then what its profiles add, in the format's order.
//!
//! Runs in: daemon and command line.
//! Invariant: every value in the text is copied letter by letter from where it was written, and the pieces say from where. What a profile added says so behind it.
//! Does not: judge a value, or keep a comment: those that explain stay in the files that they were written in.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::document::Table;
use crate::schema;
use crate::schema::Key;
use crate::schema::Kind;
use crate::schema::Section;
use crate::source::Piece;
use crate::source::Source;

/// One document, or one section of it.
pub(super) struct Layer<'d> {
    /// The profile's name; none for the policy itself.
    pub(super) profile: Option<&'d str>,
    pub(super) source: &'d Source,
    pub(super) table: Table<'d>,
}

/// The text of all layers together, the policy's first.
pub(super) fn merge(layers: &[Layer<'_>], found: &mut Diagnostics) -> (String, Vec<Piece>) {
    let mut writer = Writer { out: String::new(), pieces: Vec::new(), found };
    let all: Vec<&Layer<'_>> = layers.iter().collect();
    writer.table(&all, "", &schema::POLICY);
    (writer.out, writer.pieces)
}

struct Writer<'f> {
    out: String,
    pieces: Vec<Piece>,
    found: &'f mut Diagnostics,
}

impl Writer<'_> {
    /// A table's values, then its sections.
    fn table(&mut self, layers: &[&Layer<'_>], path: &str, section: &'static Section) {
        let (heads, rest): (Vec<&Key>, Vec<&Key>) = section.keys.iter().partition(|key| schema::is_head(section, key));
        for key in heads.iter().chain(&rest) {
            self.value(layers, path, key);
        }
        for key in section.keys {
            let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            match key.kind {
                Kind::One(inner) => self.one(layers, &path, key, inner),
                Kind::Many(inner) => self.many(layers, &path, key, inner),
                Kind::Words => self.words(layers, &path, key),
                Kind::Text | Kind::Integer | Kind::Boolean | Kind::Time | Kind::Texts => {}
            }
        }
    }

    /// A single value: the policy's own, or else the one on which the profiles agree.
    fn value(&mut self, layers: &[&Layer<'_>], path: &str, key: &'static Key) {
        if path.is_empty() && key.name == super::KEY {
            return;
        }
        // The version of each file is that file's own.
        let layers = if path.is_empty() && key.name == "version" { layers.get(..1).unwrap_or_default() } else { layers };
        let all = layers.iter().filter_map(|layer| Some((*layer, layer.table.plain(key)?)));
        let Some((layer, span)) = self.chosen(all.collect(), &format!("{}{}{}", path, if path.is_empty() { "" } else { "." }, key.name))
        else {
            return;
        };
        self.out.push_str(key.name);
        self.out.push_str(" = ");
        self.copy(layer, &span);
        self.end(layer, span.start);
    }

    /// Of several that say the same thing, the one that counts.
    fn chosen<'l, 'd>(&mut self, all: Vec<(&'l Layer<'d>, Range<usize>)>, what: &str) -> Option<(&'l Layer<'d>, Range<usize>)> {
        let (layer, span) = all.first()?;
        let first = (*layer, span.clone());
        if layer.profile.is_none() {
            return Some(first);
        }
        let text = |layer: &Layer<'_>, span: &Range<usize>| layer.source.text().get(span.clone()).map(str::to_owned);
        if let Some((other, at)) = all.iter().skip(1).find(|(other, at)| text(other, at) != text(layer, span)) {
            let (one, two) = (layer.profile.unwrap_or_default(), other.profile.unwrap_or_default());
            let message = format!("profiles `{one}` and `{two}` say different things of `{what}`");
            let help = format!("write `{what}` in the policy itself, whose word counts, or use one of the two");
            let diagnostic = Diagnostic::new(Code::ProfileClash, message).at(layer.source, span.clone(), "one says this");
            self.found.push(diagnostic.also(other.source, at.clone(), "the other says this").help(help));
        }
        Some(first)
    }

    fn one(&mut self, layers: &[&Layer<'_>], path: &str, key: &'static Key, inner: &'static Section) {
        let tables: Vec<Layer<'_>> =
            layers.iter().filter_map(|layer| Some(Layer { table: layer.table.section(key.name)?, ..**layer })).collect();
        let tables: Vec<&Layer<'_>> = tables.iter().collect();
        let Some(first) = tables.first() else { return };
        self.header(first, &format!("[{path}]"));
        self.table(&tables, path, inner);
    }

    fn many(&mut self, layers: &[&Layer<'_>], path: &str, key: &'static Key, inner: &'static Section) {
        for layer in layers {
            for table in layer.table.sections(key.name) {
                let entry = Layer { table, ..**layer };
                self.header(&entry, &format!("[[{path}]]"));
                self.table(&[&entry], path, inner);
            }
        }
    }

    /// A table whose keys are the operator's own: each for itself.
    fn words(&mut self, layers: &[&Layer<'_>], path: &str, key: &'static Key) {
        let all: Vec<_> = layers
            .iter()
            .flat_map(|layer| layer.table.words(key.name).into_iter().map(move |(name, value)| (*layer, name, value)))
            .collect();
        let mut seen = BTreeSet::new();
        for (layer, name, _) in &all {
            if !seen.insert(name.value) {
                continue;
            }
            if seen.len() == 1 {
                let table = layer.table.span_of(key.name).unwrap_or_default();
                self.header(&Layer { table: Table::at(table), ..**layer }, &format!("[{path}]"));
            }
            let same = all.iter().filter(|(_, other, _)| other.value == name.value);
            let same = same.map(|(layer, _, value)| (*layer, value.span.clone())).collect();
            let Some((layer, span)) = self.chosen(same, &format!("{path}.{}", crate::document::shorten(name.value))) else { continue };
            let name = all.iter().find(|(from, other, _)| std::ptr::eq(*from, layer) && other.value == name.value).map(|(_, name, _)| name);
            let Some(name) = name else { continue };
            self.copy(layer, &name.span);
            self.out.push_str(" = ");
            self.copy(layer, &span);
            self.end(layer, span.start);
        }
    }

    fn header(&mut self, layer: &Layer<'_>, header: &str) {
        self.out.push('\n');
        let start = self.out.len();
        self.out.push_str(header);
        self.piece(start, layer, &layer.table.span);
        self.end(layer, layer.table.span.start);
    }

    /// Copies what stands there.
    fn copy(&mut self, layer: &Layer<'_>, span: &Range<usize>) {
        let start = self.out.len();
        self.out.push_str(layer.source.text().get(span.clone()).unwrap_or_default());
        self.piece(start, layer, span);
    }

    fn piece(&mut self, start: usize, layer: &Layer<'_>, origin: &Range<usize>) {
        self.pieces.push(Piece { here: start..self.out.len(), source: layer.source.clone(), there: origin.clone() });
    }

    /// The end of a line, and from where it came.
    fn end(&mut self, layer: &Layer<'_>, at: usize) {
        if let Some(profile) = layer.profile {
            self.out.push_str(&format!(" # from profile {profile}, line {}", layer.source.line(at)));
        }
        self.out.push('\n');
    }
}
