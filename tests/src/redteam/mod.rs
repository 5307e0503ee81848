//! What native code in a locked worker attempts, and what must come of it: data, for the attacker and for the test.
//!
//! Runs in: tests. The attacks themselves are in `edgeguard-redteam`, the program beside this file.

pub mod order;
pub mod table;

pub use order::Order;
pub use table::Found;
pub use table::Profile;
pub use table::ROWS;
pub use table::Row;
pub use table::Stop;
