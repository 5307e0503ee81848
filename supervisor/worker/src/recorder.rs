//! The calls of a component, as the engine's bindings announce them.
//!
//! Runs in: worker, on guest threads.
//! wasmtime-wasi's bindings open a `tracing` span for every WASI call, with the interface's and the function's name, then say its
//! arguments and its result. This subscriber turns each span into one record. It formats only what a record has: a path, and a
//! result that is an error.
//! Does not: log. The worker has no other subscriber.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;

use edgeguard_audit::CallId;
use edgeguard_audit::MAX_TEXT;
use edgeguard_audit::Outcome;
use edgeguard_audit::call_id;
use edgeguard_audit::rule_to_number;
use tracing::Event;
use tracing::Metadata;
use tracing::Subscriber;
use tracing::callsite::Identifier;
use tracing::field::Field;
use tracing::field::Visit;
use tracing::span;
use tracing::subscriber::Interest;

use crate::limits;
use crate::record::Pending;

/// The name of a span that is a call.
const CALL: &str = "wit-bindgen import";

thread_local! {
    static UNDER_WAY: RefCell<State> = RefCell::new(State::default());
}

/// What a thread knows of the component that it runs.
#[derive(Default)]
struct State {
    /// The call that has begun, and how it ended as far as was said.
    call: Option<Call>,
    /// Numbers of the calls seen so far, by where in the bindings they are.
    numbers: HashMap<Identifier, Option<CallId>>,
    /// Descriptors.
    files: Option<limits::Files>,
}

struct Call {
    pending: Pending,
    ended: Option<(Outcome, u16)>,
}

/// Listens, from now on and in all threads.
pub fn listen() {
    // There is no other subscriber, so this is the first.
    let _ = tracing::subscriber::set_global_default(Calls);
}

/// The descriptors of the component that this thread runs, while it runs.
pub struct Files(());

impl Files {
    /// A component begins.
    pub fn begin(files: limits::Files) -> Self {
        UNDER_WAY.with_borrow_mut(|state| state.files = Some(files));
        Self(())
    }

    /// Asks or changes them.
    pub fn with<T>(body: impl FnOnce(&mut limits::Files) -> T) -> Option<T> {
        UNDER_WAY.with_borrow_mut(|state| state.files.as_mut().map(body))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        UNDER_WAY.with_borrow_mut(|state| state.files = None);
    }
}

struct Calls;

impl Subscriber for Calls {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The spans of calls, and the events within the same generated code.
        if metadata.is_span() { metadata.name() == CALL } else { metadata.target().contains("::bindings::") }
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        UNDER_WAY.with_borrow_mut(|state| {
            let number = *state.numbers.entry(span.metadata().callsite()).or_insert_with(|| number_of(span));
            state.call = number.map(|number| Call { pending: Pending::begin(number), ended: None });
        });
        ONE.clone()
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        UNDER_WAY.with_borrow_mut(|state| {
            if let Some(call) = &mut state.call {
                event.record(&mut Particulars { call, files: state.files.as_ref() });
            }
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}

    fn try_close(&self, _: span::Id) -> bool {
        // A call that was taken away before it said how it ended records that by itself.
        let call = UNDER_WAY.with_borrow_mut(|state| state.call.take());
        if let Some(Call { pending, ended: Some((outcome, errno)) }) = call {
            pending.end(outcome, errno);
        }
        true
    }
}

/// Calls do not nest, so one name does for all spans.
static ONE: std::sync::LazyLock<span::Id> = std::sync::LazyLock::new(|| span::Id::from_u64(1));

/// The number of the call that a span is.
fn number_of(span: &span::Attributes<'_>) -> Option<CallId> {
    let mut names = Names::default();
    span.record(&mut names);
    call_id(&names.interface, &names.function)
}

#[derive(Default)]
struct Names {
    interface: String,
    function: String,
}

impl Visit for Names {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "module" => value.clone_into(&mut self.interface),
            "function" => value.clone_into(&mut self.function),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Takes from an event what a record has.
struct Particulars<'a> {
    call: &'a mut Call,
    files: Option<&'a limits::Files>,
}

impl Visit for Particulars<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "self_" => {
                self.call.pending.handle = number_of_handle(value).unwrap_or(0);
                self.call.pending.rule = self.files.map_or(0, |files| files.rule(self.call.pending.handle));
            }
            "new_descriptor" => {
                // A handle that does not look like one leaves the record without it, and is not taken for none.
                if let Some((handle, files)) = number_of_handle(value).zip(self.files) {
                    self.call.pending.n_out = rule_to_number(files.rule(handle));
                }
            }
            "path" | "old_path" | "new_path" | "src_path" | "dest_path" => {
                let mut path = Path::default();
                // It is cut one byte behind what a record takes, and by that shows as cut there.
                let _ = write!(path, "{value:?}");
                self.call.pending.text(path.as_bytes());
            }
            "result" => {
                let mut text = Text::default();
                let _ = write!(text, "{value:?}");
                self.call.ended = Some(end_of(text.as_str()));
            }
            _ => {}
        }
    }
}

/// How a call ended, by what its result looks like: `Ok(…)`, or `Err(…)` with `not-permitted (error 33)` in it; of wasi:http `Ok(Err(()))` or the name of an
/// error that has no number, as in `Err(HeaderError::Forbidden)`.
fn end_of(result: &str) -> (Outcome, u16) {
    if result.starts_with("Ok(Err(") {
        return (Outcome::Error, 1);
    }
    if !result.starts_with("Err(") {
        return (Outcome::Ok, 0);
    }
    // The standard's enumerations count from 0, a record has 0 for success.
    let errno = number_after(result, "(error ").and_then(|number| u16::try_from(number.saturating_add(1)).ok());
    let denied = ["access (", "not-permitted (", "access-denied ("].iter().any(|name| result.contains(name));
    match errno {
        Some(errno) if denied => (Outcome::Denied, errno),
        Some(errno) => (Outcome::Error, errno),
        None if result.contains("stopped at the limit") => (Outcome::Limit, 0),
        None if result.contains("HeaderError::Forbidden") => (Outcome::Denied, 1),
        None if result.contains("HeaderError::") || result.contains("ErrorCode::") => (Outcome::Error, 1),
        None if result.contains("Closed") || result.contains("LastOperationFailed") => (Outcome::Error, 1),
        None => (Outcome::Trapped, 0),
    }
}

/// The number of a handle, by what it looks like: `Resource { rep: 7, … }`.
fn number_of_handle(value: &dyn fmt::Debug) -> Option<u32> {
    let mut text = Text::default();
    // A text that is cut is still good for what is looked for in it.
    let _ = write!(text, "{value:?}");
    number_after(text.as_str(), "rep: ")
}

fn number_after(text: &str, mark: &str) -> Option<u32> {
    let (_, rest) = text.split_once(mark)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// A path as the guest gave it, from how it looks: in quotation marks, with escapes.
struct Path {
    bytes: [u8; MAX_TEXT + 1],
    len: usize,
    within: Within,
}

/// Where in such a text its next character stands.
#[derive(Clone, Copy)]
enum Within {
    Beginning,
    Quotes,
    /// Behind a backslash.
    Escape,
    /// Behind `\u`, with the number as far as it is known.
    Number(u32),
    /// What is not in quotation marks is taken as it is.
    Bare,
    End,
}

impl Default for Path {
    fn default() -> Self {
        Self { bytes: [0; MAX_TEXT + 1], len: 0, within: Within::Beginning }
    }
}

impl Path {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Adds a character, or the part of it that there is room for.
    fn add(&mut self, c: char) -> fmt::Result {
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

impl fmt::Write for Path {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.within = match (self.within, c) {
                (Within::Beginning, '"') => Within::Quotes,
                (Within::Quotes, '"') | (Within::End, _) => Within::End,
                (Within::Quotes, '\\') => Within::Escape,
                (Within::Escape, 'u') => Within::Number(0),
                (Within::Number(number), '{') => Within::Number(number),
                (Within::Number(number), '}') => {
                    self.add(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER))?;
                    Within::Quotes
                }
                (Within::Number(number), digit) => Within::Number(number.wrapping_shl(4) | digit.to_digit(16).unwrap_or(0)),
                (Within::Escape, escaped) => {
                    self.add(match escaped {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        '0' => '\0',
                        itself => itself,
                    })?;
                    Within::Quotes
                }
                (Within::Quotes, _) => {
                    self.add(c)?;
                    Within::Quotes
                }
                (Within::Beginning | Within::Bare, _) => {
                    self.add(c)?;
                    Within::Bare
                }
            };
        }
        Ok(())
    }
}

/// Formatted text, as far as it fits: what is looked for stands at its beginning.
struct Text {
    bytes: [u8; 1024],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; 1024], len: 0 }
    }
}

impl Text {
    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let end = self.len + c.len_utf8();
            let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
            c.encode_utf8(room);
            self.len = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken of a path that looks like this.
    fn path(value: &dyn fmt::Debug) -> Vec<u8> {
        let mut path = Path::default();
        let _ = write!(path, "{value:?}");
        path.as_bytes().to_vec()
    }

    #[test]
    fn a_path_is_what_the_guest_gave_whatever_stands_in_it() {
        let odd = [
            "",
            "a/b",
            "\"",
            "\"quoted\"",
            "\\",
            "back\\slash\\n",
            "a\nb\r\t\0",
            "\u{1b}[2J",
            "é ü 🦀",
            "e\u{301}",
            "\u{202e}",
            "it's",
            "{}",
            "\\u{41}",
        ];
        for text in odd {
            assert_eq!(path(&text), text.as_bytes(), "{text:?}");
        }
        let every: String = (0..0x3000).filter_map(char::from_u32).collect();
        for text in every.chars().collect::<Vec<_>>().chunks(100) {
            let text: String = text.iter().collect();
            assert_eq!(path(&text), text.as_bytes(), "{text:?}");
        }
        assert_eq!(path(&format_args!("bare")), b"bare");
    }

    #[test]
    fn a_path_that_is_too_long_is_one_byte_longer_than_a_record_takes() {
        assert_eq!(path(&"a".repeat(MAX_TEXT)).len(), MAX_TEXT);
        assert_eq!(path(&"a".repeat(MAX_TEXT + 1)).len(), MAX_TEXT + 1);
        assert_eq!(path(&"\n".repeat(100_000)), "\n".repeat(MAX_TEXT + 1).as_bytes());
        // A character of several bytes where there is room for one of them.
        assert_eq!(path(&format!("{}é", "a".repeat(MAX_TEXT))).len(), MAX_TEXT + 1);
    }
}
