//! Whether the names in the journal are those that were written, and whether a frame says so of each that is not there any more.
//!
//! Runs in: CLI.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::names;
use crate::names::Name;
use crate::names::State;
use crate::payload::Erasure;
use crate::verify::Verdict;

/// The names that were met.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Those that are erased: their frame, and which of its names.
    erased: BTreeSet<(u64, u32)>,
    /// Those of which a frame says so, and which frame.
    said: BTreeMap<(u64, u32), u64>,
}

impl Names {
    /// A `Dict` frame, with what [`look`] found.
    pub fn dict(&mut self, frame: u64, erased: Vec<u32>) {
        self.erased.extend(erased.into_iter().map(|index| (frame, index)));
    }

    /// An `Erasure` frame.
    pub fn erasure(&mut self, number: u64, erasure: &Erasure) {
        for (frame, names) in &erasure.names {
            for name in names {
                self.said.entry((*frame, *name)).or_insert(number);
            }
        }
    }

    /// The journal is opened, and frames below this were sealed by then. What others could have written behind them says nothing.
    pub fn opened(&mut self, sealed: u64) {
        self.said.retain(|_, by| *by < sealed);
    }

    /// How many are erased.
    pub fn erased(&self) -> u64 {
        self.erased.len() as u64
    }

    /// Whether a frame says so of each.
    ///
    /// # Errors
    /// [`Verdict::Tampered`]
    pub fn explained(&self) -> Result<(), Verdict> {
        match self.erased.iter().find(|name| !self.said.contains_key(name)) {
            None => Ok(()),
            Some(name) => Err(tampered(*name, "no frame says so")),
        }
    }

    /// Whether those frames are sealed: they are, before anything is erased.
    ///
    /// # Errors
    /// [`Verdict::Tampered`]
    pub fn sealed(&self, sealed: u64) -> Result<(), Verdict> {
        match self.erased.iter().find(|name| self.said.get(name).is_none_or(|by| *by >= sealed)) {
            None => Ok(()),
            Some(name) => Err(tampered(*name, "the frame that says so is not sealed")),
        }
    }
}

/// Holds each name of a `Dict` payload against its hash. Returns which are erased.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn look(payload: &[u8]) -> Result<Vec<u32>, String> {
    let bodies = names::names(payload).map_err(|error| format!("its payload {error}"))?;
    let mut erased = Vec::new();
    for (body, index) in bodies.into_iter().zip(0..) {
        let name = payload.get(body).map(Name::parse).and_then(Result::ok);
        match name.map(|name| name.state()) {
            Some(State::Whole) => {}
            Some(State::Erased) => erased.push(index),
            _ => return Err(format!("name {index} in it is not the one that was written")),
        }
    }
    Ok(erased)
}

fn tampered((frame, name): (u64, u32), why: &str) -> Verdict {
    let why = format!("name {name} in it is erased, and {why}");
    Verdict::Tampered { place: format!("frame {frame}"), why, from: frame, to: frame.saturating_add(1) }
}
