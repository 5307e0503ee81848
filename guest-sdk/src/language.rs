//! A granted language model: a prompt in, text out, whole or token by token.
//!
//! Runs in: the guest. Does not: choose the model, its threads or its place; those are the operator's. What a guest may choose is in [`Options`].
//!
//! ```no_run
//! use edgeguard_guest::language::{Model, Options};
//!
//! fn main() -> Result<(), edgeguard_guest::Error> {
//!     let mut model = Model::open("chat", &Options::default().temperature(0.0).tokens(64))?;
//!     let mut answer = model.ask("The capital of Spain is")?;
//!     while let Some(piece) = answer.next_piece()? {
//!         print!("{}", String::from_utf8_lossy(&piece));
//!     }
//!     Ok(())
//! }
//! ```

use std::fmt::Write as _;

use crate::error::Result;
use crate::sys;

/// How tokens are chosen, and how many. What is not set is the host's default, within the bounds of the module's policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    json: String,
    tokens: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { json: String::new(), tokens: usize::MAX }
    }
}

impl Options {
    /// 0 always takes the likeliest token; the more, the more varied, up to 100.
    #[must_use]
    pub fn temperature(self, temperature: f32) -> Self {
        self.number("temp", temperature)
    }

    /// Takes tokens from the likeliest that together have this share, 0 to 1.
    #[must_use]
    pub fn top_p(self, share: f32) -> Self {
        self.number("top-p", share)
    }

    /// Which of the possible answers: the same seed gives the same one.
    #[must_use]
    pub fn seed(mut self, seed: u32) -> Self {
        let _ = write!(self.json, ",\"seed\":{seed}");
        self
    }

    /// The most tokens of one answer.
    #[must_use]
    pub fn tokens(mut self, tokens: usize) -> Self {
        self.tokens = tokens;
        self
    }

    /// The size of the context in tokens: prompt and answer together.
    #[must_use]
    pub fn context(mut self, tokens: u32) -> Self {
        let _ = write!(self.json, ",\"ctx-size\":{tokens}");
        self
    }

    /// A number that is not finite has no JSON form: the option is then left to the host.
    fn number(mut self, key: &str, value: f32) -> Self {
        if value.is_finite() {
            let _ = write!(self.json, ",\"{key}\":{value}");
        }
        self
    }

    fn json(&self) -> String {
        format!("{{{}}}", self.json.strip_prefix(',').unwrap_or_default())
    }
}

/// A language model, and one context in which it answers.
#[derive(Debug)]
pub struct Model {
    handle: sys::Language,
    tokens: usize,
}

impl Model {
    /// Opens a granted graph as a language model.
    ///
    /// # Errors
    /// [`Error::Host`](crate::Error::Host); its code is [`Code::NotFound`](crate::Code::NotFound) where the policy grants no such name,
    /// [`Code::Busy`](crate::Code::Busy) where all contexts are in use.
    pub fn open(name: &str, options: &Options) -> Result<Model> {
        Ok(Model { handle: sys::Language::open(name, &options.json())?, tokens: options.tokens })
    }

    /// Gives it a prompt, in place of all that its context had.
    ///
    /// # Errors
    /// [`Error::Host`](crate::Error::Host); its code is [`Code::PromptTooLong`](crate::Code::PromptTooLong), here or with the first piece, where the context
    /// has no room for it.
    pub fn ask(&mut self, prompt: &str) -> Result<Answer<'_>> {
        self.handle.prompt(prompt)?;
        let left = self.tokens;
        Ok(Answer { model: self, left })
    }
}

/// An answer, as it comes.
#[derive(Debug)]
pub struct Answer<'m> {
    model: &'m mut Model,
    /// Tokens that it may still have.
    left: usize,
}

impl Answer<'_> {
    /// The next piece of text; `None` at the end, when the context is full, or after [`Options::tokens`]. One character may come in several pieces.
    ///
    /// # Errors
    /// [`Error::Host`](crate::Error::Host).
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let piece = self.model.handle.next_piece()?;
        if piece.is_none() {
            self.left = 0;
        }
        Ok(piece)
    }

    /// All that is still to come. What is no UTF-8 is replaced.
    ///
    /// # Errors
    /// [`Error::Host`](crate::Error::Host).
    pub fn text(mut self) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next_piece()? {
            bytes.extend(piece);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_one_json_object_and_what_has_no_json_form_is_left_out() {
        assert_eq!(Options::default().json(), "{}");
        let options = Options::default().temperature(0.0).top_p(f32::NAN).seed(7).context(256).tokens(3);
        assert_eq!(options.json(), r#"{"temp":0,"seed":7,"ctx-size":256}"#);
    }
}
