//! Trust material that is brought on a stick: imported whole or not at all, never older than what was seen, and stale after its time.
//!
//! Runs in: CLI (`trust import`, `trust status`), daemon (reads what was imported).
//! Does not: use a network. A trust pack is a TUF repository in a directory, with the targets `trusted_root.json`, `revocations.json` and
//! `keys/NAME.pub`, each of which may be absent.

mod import;
mod pack;
mod repository;
mod staleness;
mod status;

pub use self::import::ImportError;
pub use self::import::Imported;
pub use self::import::MAX_ROOT;
pub use self::import::import;
pub use self::pack::Expiries;
pub use self::pack::MAX_PACK_KEYS;
pub use self::pack::Pack;
pub use self::pack::PackError;
pub use self::pack::Versions;
pub use self::staleness::FreshnessLimits;
pub use self::staleness::Staleness;
pub use self::status::RootSource;
pub use self::status::TrustStatus;
pub use self::status::status;
