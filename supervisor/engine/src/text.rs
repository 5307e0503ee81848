//! Errors of the engine as text that may go into a record or onto a terminal.
//!
//! Runs in: compiler and worker. The text may quote a guest, so it is bounded and control bytes are escaped.

/// The most bytes of such a text.
pub const MAX_TEXT: usize = 4096;

/// The error and its causes, on one line.
#[must_use]
pub fn describe(error: &wasmtime::Error) -> String {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    bounded(&chain.join(": "))
}

/// At most [`MAX_TEXT`] bytes, control characters escaped, cut at a character.
#[must_use]
pub fn bounded(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let before = out.len();
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > MAX_TEXT {
            out.truncate(before);
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(bounded("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let text = bounded(&"ü".repeat(MAX_TEXT));
        assert_eq!(text.len(), MAX_TEXT);
        assert!(text.chars().all(|c| c == 'ü'));
        assert_eq!(bounded(&"\n".repeat(MAX_TEXT)).len(), MAX_TEXT);
    }
}
