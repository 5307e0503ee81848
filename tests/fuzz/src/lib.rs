//! The parsers that read what a stranger wrote, each as a function of bytes, and the inputs from which the search begins.
//!
//! Runs in: the fuzzer (`cargo xtask fuzz`) and this crate's tests. Does not: ship.
//! Invariant of every target: it returns, it does not panic, and it never holds more than its bound of memory beyond the input.
#![forbid(unsafe_code)]

mod admission;
mod http;
mod journal;
mod language;
mod policy;
mod ring;

use std::alloc::System;

use cap::Cap;

/// Counts what is allocated, and refuses what would go beyond a limit.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// One parser.
#[derive(Debug)]
pub struct Target {
    /// How the command line calls it.
    pub name: &'static str,
    /// What it reads.
    pub reads: &'static str,
    /// The most memory it may hold at once, in bytes.
    pub memory: usize,
    /// The longest input that is worth trying, in bytes. Longer ones are refused by their size, which has a test of its own.
    pub longest: usize,
    run: fn(&[u8]),
    /// Inputs from which the search begins: good ones, so that it gets past the first check.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target, in the order in which `cargo xtask fuzz` takes them.
pub const TARGETS: &[&Target] = &[
    &admission::BUNDLE,
    &admission::STATEMENT,
    &admission::TRUSTED_ROOT,
    &admission::REVOCATIONS,
    &admission::KEY,
    &admission::QUOTE,
    &policy::POLICY,
    &policy::HOST,
    &policy::IMPORTS,
    &policy::LEARN,
    &journal::SEGMENT,
    &journal::CALLS,
    &journal::COUNTS,
    &journal::PROOF,
    &ring::RING,
    &http::HEAD,
    &language::CONFIG,
    &language::SCHEMA,
];

const MIB: usize = 1 << 20;

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

impl Target {
    /// Runs it on one input. An allocation beyond the target's bound fails, and ends the process: that is the finding.
    pub fn run(&self, input: &[u8]) {
        let bound = ALLOCATOR.allocated().saturating_add(self.memory);
        // The limit is never below what is allocated, so this cannot fail.
        let _ = ALLOCATOR.set_limit(bound);
        let _unlimited = Unlimited;
        (self.run)(input);
    }
}

/// Lifts the limit when a target ends, also by a panic, whose account needs memory too.
struct Unlimited;

impl Drop for Unlimited {
    fn drop(&mut self) {
        let _ = ALLOCATOR.set_limit(usize::MAX);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Mutex;

    use super::*;

    /// The limit and the folders of seeds are the process's: one test at a time.
    pub(crate) static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn every_target_takes_its_seeds_and_what_is_left_of_them() {
        let _alone = ALONE.lock();
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}: a search that begins from nothing stays at the first check", target.name);
            for seed in seeds {
                assert!(seed.len() <= target.longest, "{}: a seed of {} bytes is longer than any input tried", target.name, seed.len());
                target.run(&seed);
                for end in (0..seed.len()).step_by(1 + seed.len() / 64) {
                    target.run(&seed[..end]);
                }
            }
        }
    }

    #[test]
    fn an_allocation_beyond_the_bound_fails() {
        let _alone = ALONE.lock();
        let greedy = Target {
            name: "greedy",
            reads: "nothing",
            memory: MIB,
            longest: 0,
            run: |_| assert!(Vec::<u8>::new().try_reserve_exact(2 * MIB).is_err()),
            seeds: Vec::new,
        };
        greedy.run(&[]);
        assert!(Vec::<u8>::new().try_reserve_exact(2 * MIB).is_ok(), "and only while a target runs");
    }

    #[test]
    fn no_input_of_any_size_takes_more_than_its_bound() {
        let _alone = ALONE.lock();
        const LARGE: usize = 24 * MIB;
        // These take the input as it comes; the others make something larger of it first.
        for name in ["bundle", "trusted-root", "revocations", "key", "quote", "policy", "host"] {
            let target = target(name).unwrap();
            let seed = (target.seeds)().swap_remove(0);
            let pads: [&[u8]; 6] = [b" ", b"[", b"{\"a\":", b"[1,", b"\"\\u0000", b"a = 1\n"];
            for pad in pads {
                target.run(&pad.repeat(LARGE / pad.len()));
                target.run(&[seed.as_slice(), &pad.repeat(LARGE / pad.len())].concat());
                // Below the bounds of size, where depth and counts are what bounds.
                target.run(&pad.repeat((128 << 10) / pad.len()));
            }
        }
    }
}
