//! Where in the journal something stands, and the id that follows from it.
//!
//! Runs in: daemon, CLI.

use std::fmt;

use sha2::Digest as _;
use sha2::Sha256;
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
        let digest: [u8; 32] = Sha256::digest(format!("{origin}/{self}")).into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.epoch, self.frame, self.index)
    }
}
