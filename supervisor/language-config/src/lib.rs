//! What guests ask of language models: their configuration, one JSON object, and the schema in it that becomes a grammar.
//!
//! Runs in: worker, on guest threads; the fuzzer. A crate of its own, without the wasm engine, so that the fuzzer can build it.
//! Does not: I/O of any kind. No key that names a file, an address or a secret of the host has any effect.
#![forbid(unsafe_code)]

mod config;
mod schema;

pub use config::Config;
pub use config::ConfigError;
pub use config::MAX_CONFIG;
pub use schema::MAX_SCHEMA;
pub use schema::SchemaError;
