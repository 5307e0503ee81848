//! What an instance may use, and the stop when it uses more.
//!
//! Runs in: worker.
//! Invariant: a guest that goes beyond a limit ends there, with an outcome that names the limit. It is not told "no" and left to
//! go on: a guest that wants more than its policy gives is a mistake that somebody should see.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Limits;
use wasmtime::ResourceLimiter;

use crate::quota::Exceeded;
use crate::quota::Growth;
use crate::quota::Ledger;
use crate::quota::Ledgers;
use crate::quota::Opening;
use crate::quota::Reservation;

/// Core instances in one store. A core module is one; a component is several.
const MAX_CORE_INSTANCES: usize = 64;

/// Linear memories in one store.
const MAX_MEMORIES: usize = 16;

/// Tables in one store.
const MAX_TABLES: usize = 64;

/// Ends the guest: it travels as an error through the engine, past the guest's own frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped at the limit `{}`", .0.key())]
pub struct Stop(pub Limit);

/// Memory and tables of one instance.
#[derive(Debug)]
pub struct Budget {
    memory: Meter,
    table: Meter,
    hit: Option<Limit>,
}

/// What is used of one limit.
#[derive(Debug)]
struct Meter {
    used: u64,
    most: u64,
}

impl Meter {
    /// Counts a growth, unless it goes beyond the limit.
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let grown = self.used.saturating_add(desired.saturating_sub(current) as u64);
        let fits = grown <= self.most;
        if fits {
            self.used = grown;
        }
        fits
    }
}

impl Budget {
    /// Nothing used.
    pub fn new(limits: &Limits) -> Self {
        let meter = |most| Meter { used: 0, most };
        Self { memory: meter(limits.memory), table: meter(limits.table_elements.into()), hit: None }
    }

    /// Bytes of linear memory in use.
    pub fn memory(&self) -> u64 {
        self.memory.used
    }

    /// Bytes that the host may hold for this guest: tensors of a component, inputs and outputs of contexts that wait.
    pub fn host_memory(&self) -> u64 {
        self.memory.most
    }

    /// The limit that was hit. The engine turns some errors into others on their way, this one stays.
    pub fn hit(&self) -> Option<Limit> {
        self.hit
    }

    fn stop(&mut self, limit: Limit) -> wasmtime::Result<bool> {
        self.hit = Some(limit);
        Err(Stop(limit).into())
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond what the module itself declares: the module's own limit, which it is told in its own way.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if self.memory.grow(current, desired) { Ok(true) } else { self.stop(Limit::Memory) }
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if self.table.grow(current, desired) { Ok(true) } else { self.stop(Limit::Table) }
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

/// The descriptors of a preview 1 guest: how many files are open, and which grant each belongs to.
#[derive(Debug)]
pub struct Files {
    /// Granted directories have the numbers from 3, in the assignment's order; rules count from 1.
    known: BTreeMap<u32, Origin>,
    open: u32,
    most: u32,
    ledgers: Ledgers,
}

/// Where a descriptor comes from.
#[derive(Debug, Clone, Copy)]
struct Origin {
    rule: u16,
    /// Opened by the guest, so it counts.
    counted: bool,
}

/// The first descriptor after standard input, output and error.
const FIRST_PREOPEN: u32 = 3;

impl Files {
    /// As a guest begins: its granted directories, no file.
    pub fn new(dirs: usize, limits: &Limits, ledgers: Ledgers) -> Self {
        let known = (FIRST_PREOPEN..).zip(1..).take(dirs).map(|(fd, rule)| (fd, Origin { rule, counted: false })).collect();
        Self { known, open: 0, most: limits.open_files, ledgers }
    }

    /// The rule that a descriptor goes back to; 0 for none.
    pub fn rule(&self, fd: u32) -> u16 {
        self.known.get(&fd).map_or(0, |origin| origin.rule)
    }

    /// Whether one more may be opened.
    ///
    /// # Errors
    /// The stop, when not.
    pub fn check(&self) -> Result<(), Stop> {
        if self.open < self.most { Ok(()) } else { Err(Stop(Limit::OpenFiles)) }
    }

    /// `fd` is a granted directory.
    pub fn granted(&mut self, fd: u32, rule: u16) {
        self.known.insert(fd, Origin { rule, counted: false });
    }

    /// `fd` was opened below `parent`.
    pub fn opened(&mut self, parent: u32, fd: u32) {
        let rule = self.rule(parent);
        self.open = self.open.saturating_add(1);
        if let Some(ledger) = self.ledgers.of(rule) {
            ledger.opened();
        }
        self.known.insert(fd, Origin { rule, counted: true });
    }

    /// `fd` was closed.
    pub fn closed(&mut self, fd: u32) {
        if let Some(Origin { rule, counted: true }) = self.known.remove(&fd) {
            self.open = self.open.saturating_sub(1);
            if let Some(ledger) = self.ledgers.of(rule) {
                ledger.closed();
            }
        }
    }

    /// Room for what a call may do in the directory of a rule; nothing where it has no quota.
    ///
    /// # Errors
    /// It does not fit.
    pub fn reserve(&self, rule: u16, growth: Growth) -> Result<Option<Reservation>, Exceeded> {
        self.ledgers.of(rule).map(|ledger| ledger.reserve(growth)).transpose()
    }

    /// The account of what a descriptor goes back to.
    pub fn ledger(&self, fd: u32) -> Option<Arc<Ledger>> {
        self.ledgers.of(self.rule(fd)).cloned()
    }

    /// Whether something would have a name in two directories of which one has a quota, or go from one to the other: through nobody's account.
    pub fn is_between(&self, from: u32, to: u32) -> bool {
        let (from, to) = (self.rule(from), self.rule(to));
        // What goes back to no grant is refused for that.
        from != to && from != 0 && to != 0 && [from, to].into_iter().any(|rule| self.ledgers.of(rule).is_some())
    }

    /// Something in this directory is about to be opened.
    pub fn opening(&self, dir: u32) -> Option<Opening> {
        self.ledgers.of(self.rule(dir)).map(Ledger::opening)
    }

    /// A name in this directory is about to be taken away, or given to something else.
    pub fn unnamed(&self, dir: u32) {
        if let Some(ledger) = self.ledgers.of(self.rule(dir)) {
            ledger.unnamed();
        }
    }

    /// `from` took the place of `to`, which was closed.
    pub fn renumbered(&mut self, from: u32, to: u32) {
        if from == to {
            return;
        }
        self.closed(to);
        if let Some(origin) = self.known.remove(&from) {
            self.known.insert(to, origin);
        }
    }
}

impl Drop for Files {
    /// A guest's end closes what it had open.
    fn drop(&mut self) {
        let counted = self.known.values().filter(|origin| origin.counted);
        counted.filter_map(|origin| self.ledgers.of(origin.rule)).for_each(|ledger| ledger.closed());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;

    fn limits() -> Limits {
        Limits {
            memory: 100,
            table_elements: 10,
            instances: 1,
            deadline: Duration::from_secs(1),
            output: 0,
            open_files: 2,
            clock_resolution: Duration::ZERO,
        }
    }

    #[test]
    fn memories_of_one_instance_count_together() {
        let mut budget = Budget::new(&limits());
        assert!(budget.memory_growing(0, 60, None).unwrap());
        assert!(budget.memory_growing(0, 40, None).unwrap());
        assert!(budget.memory_growing(40, 41, None).is_err());
        assert_eq!((budget.memory(), budget.hit()), (100, Some(Limit::Memory)));
    }

    #[test]
    fn a_modules_own_maximum_is_no_limit_of_ours() {
        let mut budget = Budget::new(&limits());
        assert!(!budget.memory_growing(0, 1000, Some(50)).unwrap());
        assert!(!budget.table_growing(0, 1000, Some(50)).unwrap());
        assert_eq!(budget.hit(), None);
    }

    #[test]
    fn files_inherit_the_rule_of_their_directory() {
        let mut files = Files::new(2, &limits(), Ledgers::default());
        files.opened(4, 5);
        files.opened(5, 6);
        assert_eq!((files.rule(3), files.rule(6), files.rule(1), files.rule(99)), (1, 2, 0, 0));
        assert_eq!(files.check(), Err(Stop(Limit::OpenFiles)));
        files.renumbered(6, 5);
        assert_eq!((files.rule(5), files.rule(6), files.check()), (2, 0, Ok(())));
        files.closed(77);
        files.closed(5);
        assert_eq!(files.open, 0);
    }
}
