//! Which engine native code is good for.
//!
//! Runs in: compiler. The daemon keeps the answer as part of a cache key.

use std::hash::Hash;
use std::hash::Hasher;

use sha2::Digest;
use sha2::Sha256;
use wasmtime::Engine;

use crate::config;

/// SHA-256 over the engine's version, its own hash of everything that shapes native code, and the version of our choices. Native
/// code fits every engine with the same fingerprint; the engine checks that once more when it loads the code.
#[must_use]
pub fn fingerprint(engine: &Engine) -> [u8; 32] {
    let mut hasher = Sink(Sha256::new());
    hasher.write(b"edgeguard-engine");
    hasher.write_u32(config::VERSION);
    hasher.write(env!("CARGO_PKG_VERSION").as_bytes());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}

/// Feeds what `Hash` gives into SHA-256.
struct Sink(Sha256);

impl Hasher for Sink {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Never asked for: the digest is taken instead.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_fingerprint_is_the_same_every_time() {
        let one = fingerprint(&config::compiler().unwrap());
        let other = fingerprint(&config::compiler().unwrap());
        assert_eq!(one, other);
    }

    #[test]
    fn the_fingerprint_sees_what_shapes_code() {
        let ours = fingerprint(&config::compiler().unwrap());
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(false);
        assert_ne!(ours, fingerprint(&Engine::new(&config).unwrap()));
    }
}
