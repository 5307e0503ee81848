//! A found segment as a line: for people, or as JSON.
//!
//! Runs in: the guest. Escapes what a file name may carry: it is somebody else's text on its way to a terminal or a parser.

use std::fmt::Write;

use crate::gate::RATE;
use crate::segment::Segment;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `Front_Center.wav  0.07..1.42 s  p=0.97`
    #[default]
    Text,
    /// `{"file":"Front_Center.wav","start":0.07,"end":1.42,"p":0.97}`, times in seconds.
    Json,
}

impl Format {
    /// The line of one segment, without its end.
    #[must_use]
    pub fn line(self, file: &str, segment: &Segment) -> String {
        let (start, end, p) = (seconds(segment.start), seconds(segment.end), segment.probability);
        match self {
            Format::Text => format!("{}  {start:.2}..{end:.2} s  p={p:.2}", printable(file)),
            Format::Json => format!(r#"{{"file":{},"start":{start:.3},"end":{end:.3},"p":{p:.3}}}"#, json_string(file)),
        }
    }
}

/// The text with its control characters written out.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            control if control.is_control() => out.extend(control.escape_default()),
            other => out.push(other),
        }
    }
    out
}

/// The text as a JSON string (RFC 8259 §7).
fn json_string(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            // Control characters are below U+00A0, so four digits hold them.
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Segment = Segment { start: 1_600, end: 24_000, probability: 0.971 };

    #[test]
    fn a_line_gives_file_seconds_and_probability() {
        assert_eq!(Format::Text.line("a.wav", &SEGMENT), "a.wav  0.10..1.50 s  p=0.97");
        assert_eq!(Format::Json.line("a.wav", &SEGMENT), r#"{"file":"a.wav","start":0.100,"end":1.500,"p":0.971}"#);
    }

    #[test]
    fn a_hostile_name_can_neither_move_the_cursor_nor_end_the_string() {
        let line = Format::Text.line("\x1b[2J\n.wav", &SEGMENT);
        assert!(!line.contains(['\x1b', '\n']), "{line:?}");
        let line = Format::Json.line("\"},\x07\\\u{9b}", &SEGMENT);
        assert!(line.starts_with(r#"{"file":"\"},\u0007\\\u009b","start""#), "{line}");
    }
}
