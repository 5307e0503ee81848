//! Trust material that is brought on a stick: imported whole or not at all, never older than what was seen, and stale after its time.
//!
//! Runs in: CLI (`trust import`, `trust status`), daemon (reads what was imported).
//! Does not: use a network.

mod staleness;

pub use staleness::FreshnessLimits;
pub use staleness::Staleness;
