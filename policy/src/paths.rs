//! The one form a path is written in: absolute, plain, without control characters.
//!
//! Runs in: daemon and command line.
//! Does not: look whether anything is there.

use crate::bounds::MAX_PATH;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Diagnostics;
use crate::document::Found;
use crate::source::Source;
use crate::source::is_direction;

/// The path, if it keeps the form; otherwise every reason why not is reported.
pub(crate) fn absolute<'d>(what: &str, path: Option<Found<&'d str>>, source: &Source, found: &mut Diagnostics) -> Option<Found<&'d str>> {
    let path = path?;
    let before = found.errors();
    let at = |code, problem: &str, label: &str| Diagnostic::new(code, format!("{what} {problem}")).at(source, path.span.clone(), label);
    let text = path.value;
    if text.is_empty() {
        found.push(at(Code::RelativePath, "is empty", "nothing between the quotes").help("write the whole path from `/`"));
        return None;
    }
    no_control(&path, source, found);
    if !text.starts_with('/') {
        let help = format!("write the whole path from `/`, `/{}` perhaps", text.trim_start_matches("./"));
        found.push(at(Code::RelativePath, "is not absolute", "does not begin with `/`").help(help));
    }
    if text.split('/').any(|part| part == "..") {
        let help =
            if what == GRANT { "grant the other directory by itself, with its own `[[dir]]`" } else { "write the path without `..`" };
        found.push(at(Code::LeavesRoot, "leaves its root", "contains `..`").help(help));
    }
    if let Some(why) = not_plain(text) {
        let plain: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        found.push(
            at(Code::NotPlain, "is not in its plain form", why).help(format!("write `/{}`", crate::document::shorten(&plain.join("/")))),
        );
    }
    (found.errors() == before).then_some(path)
}

fn not_plain(text: &str) -> Option<&'static str> {
    if text.len() > MAX_PATH || text.split('/').any(|part| part.len() > MAX_COMPONENT) {
        Some("longer than a file system allows")
    } else if text.contains("//") {
        Some("contains `//`")
    } else if text.len() > 1 && text.ends_with('/') {
        Some("ends with `/`")
    } else if text.split('/').any(|part| part == ".") {
        Some("contains `.` as a directory")
    } else {
        None
    }
}

/// Reports a value that could hide what it says; true if there is nothing to report.
pub(crate) fn no_control(word: &Found<&str>, source: &Source, found: &mut Diagnostics) -> bool {
    let Some(c) = word.value.chars().find(|c| c.is_control() || is_direction(*c)) else { return true };
    let label = format!("contains `{}`", c.escape_default());
    let diagnostic = Diagnostic::new(Code::Control, "value contains a control character").at(source, word.span.clone(), label);
    found.push(diagnostic.help("remove the character; it hides what the value says"));
    false
}

/// Whether `inner` is `outer` or lies in it. Both are in plain form.
pub(crate) fn within(inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|r| r.is_empty() || r.starts_with('/') || outer == "/")
}

/// What the two paths of a directory grant are called.
pub(crate) const GRANT: &str = "directory grant";

/// `NAME_MAX` of every Linux file system, in bytes.
const MAX_COMPONENT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sibling_with_a_longer_name_is_not_inside() {
        assert!(within("/a/b", "/a"));
        assert!(within("/a", "/a"));
        assert!(within("/a", "/"));
        assert!(!within("/ab", "/a"));
        assert!(!within("/a", "/a/b"));
    }
}
