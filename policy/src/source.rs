//! A text with the name it is shown under.
//!
//! Runs in: daemon and command line.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use sha2::Digest as _;
use sha2::Sha256;

use crate::bounds::MAX_TEXT;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;

/// A text with the name it is shown under. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    text: String,
    marked: bool,
    /// Where each line begins, so that a thousand mistakes do not count lines a thousand times.
    lines: Vec<usize>,
    digest: [u8; 32],
    /// Of a text that was put together: where its parts were written, in their order.
    pieces: Vec<Piece>,
}

/// A part of a text that was put together.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Where it stands in this text.
    pub(crate) here: Range<usize>,
    /// The text that it comes from.
    pub(crate) source: Source,
    /// Where it stands in that.
    pub(crate) there: Range<usize>,
}

impl Source {
    /// Wraps a text; control bytes in the name are escaped here, once.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Self {
        let digest = Sha256::digest(text).into();
        // A byte order mark is no part of the text, and offsets are counted from what follows it.
        let (marked, text) = text.strip_prefix('\u{feff}').map_or((false, text), |rest| (true, rest));
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self(Arc::new(Inner { name: escape(name), text: text.to_owned(), marked, lines, digest, pieces: Vec::new() }))
    }

    /// A text that was put together from others. What is said of a place in it is said of the place that it comes from.
    pub(crate) fn expanded(name: &str, text: &str, pieces: Vec<Piece>) -> Self {
        let plain = Self::new(name, text);
        match Arc::try_unwrap(plain.0) {
            Ok(inner) => Self(Arc::new(Inner { pieces, ..inner })),
            Err(shared) => Self(shared),
        }
    }

    /// Whether a byte order mark stood before it.
    pub(crate) fn is_marked(&self) -> bool {
        self.0.marked
    }

    /// The names of the texts that this one was put together from, each once.
    pub(crate) fn origins(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.pieces.iter().map(|piece| piece.source.name()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where a place of this text was written: in this text, if it was not put together.
    pub(crate) fn origin(&self, span: &Range<usize>) -> (Self, Range<usize>) {
        let pieces = &self.0.pieces;
        // What was written between two pieces belongs to the one before.
        let at = pieces.partition_point(|piece| piece.here.start <= span.start).saturating_sub(1);
        let Some(Piece { here, source, there }) = pieces.get(at) else { return (self.clone(), span.clone()) };
        if here.len() != there.len() || !here.contains(&span.start) {
            return (source.clone(), there.clone());
        }
        let moved = |offset: usize| there.start + offset.min(here.end).saturating_sub(here.start);
        (source.clone(), moved(span.start)..moved(span.end))
    }

    /// Decodes what lies on disk.
    ///
    /// # Errors
    /// More than [`MAX_TEXT`] bytes, or not UTF-8.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, Diagnostics> {
        if bytes.len() > MAX_TEXT {
            return Err(too_large(name, bytes.len()).into());
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(e) => {
                let line = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
                let message = format!("text is not UTF-8: byte {} on line {line} begins no character", e.valid_up_to());
                let help = "save the file as UTF-8, without a byte of any other encoding";
                Err(Diagnostic::new(Code::NotUtf8, message).in_file(name).help(help).into())
            }
        }
    }

    /// The name, fit for a terminal.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// SHA-256 of the text as it was given, a byte order mark included.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// Line and column, both from 1, columns in characters.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let (offset, line) = (self.floor(offset), self.line(offset));
        let start = self.0.lines.get(line - 1).copied().unwrap_or(0);
        (line, self.text().get(start..offset).unwrap_or_default().chars().count() + 1)
    }

    /// Line from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.0.lines.partition_point(|start| *start <= offset).max(1)
    }

    /// The range moved onto character boundaries within the text.
    pub(crate) fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.floor(span.start);
        start..self.floor(span.end).max(start)
    }

    fn floor(&self, offset: usize) -> usize {
        self.text().floor_char_boundary(offset)
    }
}

pub(crate) fn too_large(name: &str, bytes: usize) -> Diagnostic {
    Diagnostic::new(Code::TooLarge, format!("text is {bytes} bytes long, and at most {MAX_TEXT} are read"))
        .in_file(name)
        .help("a policy is one module's; split what belongs to several modules into a file each")
}

/// Escapes everything in foreign text that could steer a terminal: control and text-direction characters.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_direction(c) {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Invisible characters that change the order or the look of what stands around them (Unicode UAX #9, and the separators).
pub(crate) fn is_direction(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
