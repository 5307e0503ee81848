//! Writing to standard output and standard error.
//!
//! Runs in: command line.
//! Does not: panic when the reader is gone (`edgeguard … | head`), as `println!` does.

use std::io::IsTerminal;
use std::io::Write;

use edgeguard_policy::Colour;

/// Data, to standard output. A reader that went away has read enough.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What is said about the data, to standard error.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// One line on standard error: `error: …`.
pub(crate) fn error(message: &str) {
    say(&format!("error: {}\n", edgeguard_policy::escape(message)));
}

/// Breaks a paragraph so that no line but a long word's is wider than `width` columns; lines after the first begin with `indent`.
pub(crate) fn fill(text: &str, width: usize, indent: &str) -> String {
    let left = indent.chars().count();
    let mut out = String::new();
    let mut column = left;
    for word in text.split_whitespace() {
        let wide = word.chars().count();
        if column > left && column + 1 + wide > width {
            out.push('\n');
            out.push_str(indent);
            column = left;
        } else if column > left {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += wide;
    }
    out
}

/// Colours for standard error: on a terminal, unless the user set `NO_COLOR` (no-color.org).
pub(crate) fn colour() -> Colour {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    if wanted && std::io::stderr().is_terminal() { Colour::Always } else { Colour::Never }
}
