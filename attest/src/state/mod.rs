//! What a host remembers between starts, so that an old release, an old list and an old clock are seen as such.
//!
//! Runs in: daemon, CLI (`trust`).

use serde::Serialize;

use crate::module::ModuleDigest;
use crate::time::Time;

/// What was admitted last under a module's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The highest version that was admitted; nothing if none was ever signed.
    pub version: Option<u64>,
    /// The module that was admitted last.
    pub digest: ModuleDigest,
    /// When, as far as it was known.
    pub admitted_at: Time,
}
