//! Where in the journal something stands, and the id that follows from it.
//!
//! Runs in: daemon, CLI.

use std::fmt;

use uuid::Uuid;

/// A place in one journal: `epoch/frame/index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Signing epoch; 0 while there is no signing key.
    pub epoch: u32,
    /// Frame number.
    pub frame: u64,
    /// Place in the frame.
    pub index: u32,
}

impl Position {
    /// The same id for the same place in the same journal, always: a UUID (version 8) of `origin/epoch/frame/index`. Whoever receives an export
    /// twice can tell by it.
    #[must_use]
    pub fn uid(&self, origin: &str) -> Uuid {
        let digest = crate::tree::sha256(&[format!("{origin}/{self}").as_bytes()]);
        let bytes = digest.first_chunk().copied().unwrap_or_default();
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.epoch, self.frame, self.index)
    }
}
