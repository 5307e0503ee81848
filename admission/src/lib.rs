//! What a policy says of admission, as the rules that `edgeguard-attest` holds a module against.
//!
//! Runs in: daemon, and command line (`verify`, `sign`), so that both ask the same question.
//! Invariant: nothing of the policy is left out, and nothing is added; what one side knows and the other does not is an error.
//! Does not: open a file (the caller reads keys and trusted roots), look at a clock, or verify anything.
#![forbid(unsafe_code)]

mod capabilities;
mod host;
mod rules;

pub use capabilities::capabilities;
pub use host::clock_limits;
pub use host::freshness_limits;
pub use host::trust_material;
pub use rules::RulesError;
pub use rules::policy_signers;
pub use rules::rules;
