//! Text that a guest wrote, made fit for a terminal or a log line.
//!
//! Runs in: daemon, CLI.

use std::fmt::Write as _;

/// The bytes as text: valid UTF-8 stays, control characters, line separators, text-direction marks and invalid bytes become escapes.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_hazard(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The first `max` bytes of a text, or a little less so that no character is cut, and whether something is missing.
pub(crate) fn cut(text: &str, max: usize) -> (&str, bool) {
    let end = text.floor_char_boundary(max);
    text.get(..end).map_or((text, false), |cut| (cut, end < text.len()))
}

/// Control characters, and what makes a terminal or a viewer show another text than the one there is.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_are_escaped_and_letters_stay() {
        assert_eq!(printable("/audio/tür\n\x1b[2J".as_bytes()), "/audio/tür\\n\\u{1b}[2J");
        assert_eq!(printable(b"a\xffb\0"), "a\\xffb\\u{0}");
        assert_eq!(printable("\u{202e}gpj.exe".as_bytes()), "\\u{202e}gpj.exe");
    }
}
