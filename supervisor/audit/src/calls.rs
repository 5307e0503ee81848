//! Every call that a guest can make, with the number it has in records and journals.
//!
//! Runs in: worker (looks numbers up when it links), daemon and CLI (look names up).
//! Invariant: a number never changes its meaning, because journals outlive releases. New functions go to the end of their
//! interface, new interfaces get new numbers, nothing is removed.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

pub use crate::call_table::INTERFACES;

/// A call's number: the interface's number, then the function's place in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u16);

/// One importable interface.
#[derive(Debug, Clone, Copy)]
pub struct Interface {
    /// Upper byte of its functions' numbers.
    pub number: u8,
    /// As a guest imports it, without the version.
    pub name: &'static str,
    /// As a guest imports them; a function's place is the lower byte of its number.
    pub functions: &'static [&'static str],
}

/// The number of a call.
///
/// `interface` is given without `@version`, either whole (`wasi:filesystem/types`) or, as the engine's spans name it, by its last
/// part (`types`); no two interfaces of the table share one. `function` is the import's name, `[method]descriptor.open-at`.
#[must_use]
pub fn call_id(interface: &str, function: &str) -> Option<CallId> {
    BY_NAME.get(&(last_part(interface), function)).filter(|(whole, _)| *whole == interface || !interface.contains('/')).map(|(_, id)| *id)
}

impl CallId {
    /// The call with this number, if there is one.
    #[must_use]
    pub fn from_raw(raw: u16) -> Option<Self> {
        lookup(raw).map(|_| Self(raw))
    }

    /// The number.
    #[must_use]
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// The interface, without its version: `wasi:filesystem/types`.
    #[must_use]
    pub fn interface(self) -> &'static str {
        // A `CallId` is only made from a row of the table.
        lookup(self.0).map_or("", |(interface, _)| interface.name)
    }

    /// The function as a guest imports it: `[method]descriptor.open-at`.
    #[must_use]
    pub fn function(self) -> &'static str {
        lookup(self.0).map_or("", |(_, function)| function)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.interface(), self.function())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({self})")
    }
}

fn lookup(raw: u16) -> Option<(&'static Interface, &'static str)> {
    let [number, place] = raw.to_be_bytes();
    let index = BY_NUMBER.get(usize::from(number)).copied().filter(|index| *index != ABSENT)?;
    let interface = INTERFACES.get(usize::from(index))?;
    interface.functions.get(usize::from(place)).map(|function| (interface, *function))
}

fn last_part(interface: &str) -> &str {
    interface.rsplit_once('/').map_or(interface, |(_, last)| last)
}

/// Interface number to its row; records are checked against it at full speed.
static BY_NUMBER: [u8; 256] = by_number();

const ABSENT: u8 = u8::MAX;

const fn by_number() -> [u8; 256] {
    let mut rows = [ABSENT; 256];
    let mut index = 0;
    while index < INTERFACES.len() {
        rows[INTERFACES[index].number as usize] = index as u8;
        index += 1;
    }
    rows
}

type Names = HashMap<(&'static str, &'static str), (&'static str, CallId)>;

static BY_NAME: LazyLock<Names> = LazyLock::new(|| {
    let rows = INTERFACES
        .iter()
        .flat_map(|interface| interface.functions.iter().zip(0u8..).map(move |(function, place)| (interface, *function, place)));
    rows.map(|(interface, function, place)| {
        ((last_part(interface.name), function), (interface.name, CallId(u16::from_be_bytes([interface.number, place]))))
    })
    .collect()
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_call_has_a_number_of_its_own_that_leads_back_to_its_name() {
        let mut numbers = HashSet::new();
        for interface in INTERFACES {
            assert!(interface.functions.len() <= 256, "{}", interface.name);
            for function in interface.functions {
                let id = call_id(interface.name, function).unwrap();
                assert_eq!(call_id(last_part(interface.name), function), Some(id), "{} is ambiguous", interface.name);
                assert_eq!((id.interface(), id.function()), (interface.name, *function));
                assert_eq!(CallId::from_raw(id.raw()), Some(id));
                assert!(numbers.insert(id.raw()), "{id} shares its number");
            }
        }
        assert_eq!(CallId::from_raw(0), None);
        assert_eq!(CallId::from_raw(u16::MAX), None);
    }

    #[test]
    fn numbers_that_are_in_journals_stay_what_they_are() {
        let id = |interface, function| call_id(interface, function).unwrap().raw();
        assert_eq!(id("wasi_snapshot_preview1", "args_get"), 0x0100);
        assert_eq!(id("wasi_snapshot_preview1", "path_open"), 0x011f);
        assert_eq!(id("wasi_ephemeral_nn", "compute"), 0x0204);
        assert_eq!(id("wasi:filesystem/types", "[method]descriptor.open-at"), id("types", "[method]descriptor.open-at"));
        assert_eq!(call_id("wasi:http/types", "[method]descriptor.open-at"), None);
        assert_eq!(call_id("wasi_snapshot_preview1", "path_opened"), None);
    }
}
