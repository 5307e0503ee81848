//! Signed modules: a module and its bundle go in, a [`VerifiedModule`] or a [`Rejection`] comes out.
//!
//! Runs in: daemon (admission) and CLI (`keygen`, `sign`, `verify`, `explain`).
//! Invariant: a [`VerifiedModule`] exists only if a trusted key's signature over exactly its bytes was verified.
//! Does not: open a file by path, look at a clock, use a network, or decide what a verified module may do.
//!
//! Accepted are sigstore bundles v0.3 that a key signed: ECDSA P-256, P-384 or Ed25519, as a message signature or as an
//! in-toto statement in a DSSE envelope. A bundle that carries evidence which is not checked here is refused, not half-checked.
//!
//! ```
//! use edgeguard_attest::{Algorithm, TrustRoot, UnverifiedModule, sign::SigningKey};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vendor = SigningKey::generate(Algorithm::EcdsaP256)?;
//! let wasm = b"\0asm\x01\0\0\0".to_vec();
//! let bundle = vendor.sign(&wasm)?;
//!
//! let trust = TrustRoot::new(vec![vendor.public().clone().named("vendor.pub")])?;
//! let verified = UnverifiedModule::from_bytes(wasm)?.verify(bundle.as_bytes(), &trust)?;
//! assert_eq!(verified.proof().key_name, "vendor.pub");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod admit;
mod capabilities;
mod claims;
mod clock;
#[doc(hidden)]
pub mod conformance;
mod evidence;
mod gate;
mod json;
mod keys;
mod material;
mod module;
mod pattern;
mod pem;
mod read;
mod receipt;
mod rejection;
mod revoke;
mod rules;
pub mod sign;
mod signer;
mod state;
mod statement;
mod time;
pub mod trust;

pub use crate::admit::MAX_BUNDLES;
pub use crate::admit::Met;
pub use crate::admit::NamedBundle;
pub use crate::admit::Situation;
pub use crate::admit::verify_policy_text;
pub use crate::capabilities::Access;
pub use crate::capabilities::Capabilities;
pub use crate::claims::Claim;
pub use crate::claims::UnknownClaim;
pub use crate::clock::Clock;
pub use crate::clock::ClockLimits;
pub use crate::clock::ClockState;
pub use crate::clock::Reached;
pub use crate::clock::RisingFloor;
pub use crate::clock::boot_time;
pub use crate::evidence::Artifact;
pub use crate::evidence::DistinctSigner;
pub use crate::evidence::KeylessProof;
pub use crate::evidence::LogEntry;
pub use crate::evidence::Proof;
pub use crate::evidence::ProvedTime;
pub use crate::evidence::TimeSource;
pub use crate::gate::MAX_BUNDLE;
pub use crate::keys::Algorithm;
pub use crate::keys::KeyError;
pub use crate::keys::KeyId;
pub use crate::keys::MAX_KEYS;
pub use crate::keys::TrustError;
pub use crate::keys::TrustRoot;
pub use crate::keys::TrustedKey;
pub use crate::material::Authority;
pub use crate::material::AuthorityKind;
pub use crate::material::MAX_MATERIAL;
pub use crate::material::MaterialError;
pub use crate::material::TrustMaterial;
pub use crate::module::Form;
pub use crate::module::MAX_MODULE;
pub use crate::module::ModuleDigest;
pub use crate::module::UnverifiedModule;
pub use crate::module::VerifiedModule;
pub use crate::module::WasmKind;
pub use crate::pattern::MAX_PATTERN;
pub use crate::pattern::Pattern;
pub use crate::pattern::PatternError;
pub use crate::pem::MAX_KEY_FILE;
pub use crate::read::MAX_LABEL;
pub use crate::read::ReadError;
pub use crate::read::bundle_label;
pub use crate::read::bundle_path;
pub use crate::read::bundles_beside;
pub use crate::read::read_bounded;
pub use crate::read::read_bundle;
pub use crate::read::read_module;
pub use crate::receipt::MAX_RECEIPT;
pub use crate::receipt::RECEIPT_V1;
pub use crate::receipt::Receipt;
pub use crate::rejection::Check;
pub use crate::rejection::Code;
pub use crate::rejection::Passed;
pub use crate::rejection::Rejection;
pub use crate::rejection::SHOWN;
pub use crate::rejection::explain;
pub use crate::statement::APPROVAL_V1;
pub use crate::statement::Approval;
pub use crate::statement::MAX_VERSION;
pub use crate::statement::PROVENANCE_V1;
pub use crate::statement::Provenance;
pub use crate::statement::RELEASE_V1;
pub use crate::statement::Release;
pub use crate::statement::SIGNATURE_V1;
pub use crate::statement::STATEMENT_V1;
pub use crate::statement::Statement;
pub use crate::statement::StatementKind;
pub use crate::rules::MAX_REQUIREMENTS;
pub use crate::rules::Requirement;
pub use crate::rules::Rules;
pub use crate::rules::RulesError;
pub use crate::rules::Wanted;
pub use crate::signer::EvidenceWanted;
pub use crate::signer::Keyless;
pub use crate::signer::MAX_SIGNERS;
pub use crate::signer::Signer;
pub use crate::signer::SignerKind;
pub use crate::signer::Window;
pub use crate::revoke::MAX_REVOCATIONS;
pub use crate::revoke::MAX_REVOKED;
pub use crate::revoke::Revocations;
pub use crate::revoke::RevocationsError;
pub use crate::revoke::Revoked;
pub use crate::revoke::RevokedWhat;
pub use crate::state::Counter;
pub use crate::state::CounterError;
pub use crate::state::CounterKind;
pub use crate::state::Known;
pub use crate::state::NoCounter;
pub use crate::state::Remembered;
pub use crate::state::State;
pub use crate::state::StateError;
pub use crate::time::Time;
pub use crate::time::TimeError;
pub use crate::trust::FreshnessLimits;
pub use crate::trust::Staleness;
