//! `private`, `deadline` and `tensors` of `[[graph]]`: on which terms one module has a graph.
//!
//! Runs in: daemon and command line.

use std::time::Duration;

use crate::bounds;
use crate::codes::Code;
use crate::document::Table;
use crate::policy::Encoding;
use crate::resolve::Resolver;

/// On which terms a module has a graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GraphTerms {
    /// `private`: in a process of its own, which no other module's computes reach. It has the model's weights once more.
    pub private: bool,
    /// `deadline`: how long one compute may take, its wait for others included; what takes longer is an error that the module sees. Of no language model.
    pub deadline: Option<Duration>,
    /// `tensors`: bytes of all inputs of one compute, and as many of all outputs. Of no language model.
    pub tensors: Option<u64>,
}

#[cfg(feature = "tools")]
impl GraphTerms {
    /// In words, to be put behind what is computed; empty where nothing is said.
    pub(crate) fn words(&self) -> String {
        let mut text = String::new();
        if self.private {
            text.push_str(", in a process of its own");
        }
        text.push_str(
            &self.deadline.map(|most| format!(", each compute within {}", crate::units::show_duration(most))).unwrap_or_default(),
        );
        text.push_str(&self.tensors.map(|most| format!(", with tensors of up to {}", crate::units::show_size(most))).unwrap_or_default());
        text
    }
}

impl Resolver<'_> {
    /// The terms of one graph.
    pub(crate) fn terms(&mut self, table: &Table<'_>, encoding: Option<Encoding>) -> Option<GraphTerms> {
        let private = if table.has("private") { table.boolean("private") } else { Some(false) };
        let deadline =
            if table.has("deadline") { self.duration(table, "deadline", bounds::DEADLINE).map(|d| Some(d.value)) } else { Some(None) };
        let tensors = if table.has("tensors") { self.size(table, "tensors", bounds::TENSORS).map(|s| Some(s.value)) } else { Some(None) };
        let mut good = true;
        for key in ["deadline", "tensors"] {
            if let (Some(Encoding::Gguf), Some(span)) = (encoding, table.span_of(key)) {
                let help = "leave the key out: `context` bounds a prompt, and `limits.deadline` counts from token to token";
                self.report(
                    Code::Misplaced,
                    format!("`{key}` is for models that compute tensors"),
                    &span,
                    "a language model answers token by token",
                    help,
                );
                good = false;
            }
        }
        good.then_some(GraphTerms { private: private?, deadline: deadline?, tensors: tensors? })
    }
}
