//! A whole sigstore in memory: a certificate authority, a certificate log, two transparency logs and a timestamp authority,
//! the trusted root that names them, and signers that make bundles with them.
//!
//! Runs in: tests, never in the product. Everything happens in June 2025 and with keys that anybody can derive.
//! What it makes honestly passes the field's verifier (`attest/tests/keyless_honest.rs`); what it makes with a [`Tamper`] is wrong in
//! exactly that one way, so that a test which expects a refusal knows what was refused.
//!
//! ```
//! use edgeguard_virtual_sigstore::{Instance, Spec, Tamper};
//! let sigstore = Instance::new("example");
//! let spec = Spec::workflow("https://ci.example/build@refs/heads/main", "https://issuer.example");
//! let honest = sigstore.sign(b"artifact", &spec);
//! let forged = sigstore.sign(b"artifact", &spec.lie(Tamper::CheckpointByStranger));
//! assert_eq!(honest["mediaType"], forged["mediaType"]);
//! let trusted_root = sigstore.trusted_root().to_string();
//! # assert!(trusted_root.contains("timestampAuthorities"));
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "it works on its own values, and a test fails by panicking")]

mod bundle;
mod certificate;
mod ct;
mod der;
mod fulcio;
mod instance;
mod keys;
mod merkle;
mod rekor;
mod spec;
mod tamper;
mod tsa;

pub use crate::bundle::pre_authentication_encoding;
pub use crate::certificate::Validity;
pub use crate::ct::CtLog;
pub use crate::fulcio::Fulcio;
pub use crate::fulcio::Leaf;
pub use crate::fulcio::San;
pub use crate::instance::AUTHORITIES;
pub use crate::instance::Instance;
pub use crate::instance::rfc3339;
pub use crate::keys::Key;
pub use crate::keys::sha256;
pub use crate::rekor::Log;
pub use crate::rekor::Rekor;
pub use crate::spec::By;
pub use crate::spec::Content;
pub use crate::spec::Format;
pub use crate::spec::IN_TOTO;
pub use crate::spec::Logged;
pub use crate::spec::SIGNED_AT;
pub use crate::spec::Spec;
pub use crate::spec::Stamp;
pub use crate::tamper::Tamper;
pub use crate::tsa::Tsa;
