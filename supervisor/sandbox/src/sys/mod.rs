//! The only folder with `unsafe`: one kernel interface per function, descriptors borrowed or owned in the signature.
//!
//! Runs in: every process of the product.
//! Does not: decide anything. Callers in this crate say what to call and why.

pub mod code;
pub(crate) mod map;
pub(crate) mod mount;
pub(crate) mod process;
#[cfg(feature = "trial")]
pub mod trial;
