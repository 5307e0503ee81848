//! Signed modules: a module, its bundles and a policy's rules go in, a [`VerifiedModule`] or a [`Rejection`] comes out.
//!
//! Runs in: daemon (admission) and CLI (`keygen`, `sign`, `verify`, `trust`, `explain`).
//! Invariant: a [`VerifiedModule`] exists only if every bundle beside it was verified and every requirement of the rules was met, for exactly its bytes.
//! Does not: use a network, read a policy file, ask the system for the time of day, or decide what a verified module may do.
//!
//! Accepted are sigstore bundles v0.3 that a key or a certified identity signed: the module's bytes, or an in-toto statement about them in a DSSE envelope
//! ([`Statement`]). Whatever a bundle carries is verified or the bundle is refused. What must have been said by how many of whom is in [`Rules`]; what this host
//! trusts, remembers and believes is in [`Situation`].
//!
//! ```
//! use edgeguard_attest::sign::SigningKey;
//! use edgeguard_attest::{Algorithm, Capabilities, Clock, ClockLimits, NamedBundle, Release, Rules};
//! use edgeguard_attest::{Signer, Situation, Staleness, Time, TrustMaterial, UnverifiedModule};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vendor = SigningKey::generate(Algorithm::EcdsaP256)?;
//! let wasm = b"\0asm\x01\0\0\0".to_vec();
//! let release = Release { name: "hello".into(), version: 3, not_before: None, expires: None, capabilities: None, capabilities_sha256: None };
//! let bundle = vendor.sign_release(&wasm, &release)?;
//!
//! let mut rules = Rules::plain("hello", vec![Signer::of_key("acme-2026", vendor.public().clone())], 1);
//! rules.min_version = Some(3);
//! let situation = Situation {
//!     material: &TrustMaterial::none(),
//!     revocations: None,
//!     clock: &Clock::new(Time::BUILT, Time::BUILT, ClockLimits::default()),
//!     known: None,
//!     capabilities: &Capabilities::default(),
//!     stale: Staleness::Fresh,
//! };
//! let bundles = [NamedBundle { name: "hello.wasm.sigstore.json", bytes: bundle.as_bytes() }];
//! let mut passed = Vec::new();
//! let module = UnverifiedModule::from_bytes(wasm)?.admit(&bundles, &rules, &situation, &mut passed)?;
//! assert_eq!(module.met()[0].signers, ["acme-2026"]);
//! assert!(module.receipt([0; 32], Time::BUILT).as_str().contains("EDGEGUARD_ADMITTED"));
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
pub mod quote;
mod read;
mod receipt;
mod rejection;
mod revoke;
mod rules;
pub mod sign;
mod signer;
mod stamp;
mod state;
mod statement;
mod time;
mod tpm;
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
pub use crate::revoke::MAX_REVOCATIONS;
pub use crate::revoke::MAX_REVOKED;
pub use crate::revoke::Revocations;
pub use crate::revoke::RevocationsError;
pub use crate::revoke::Revoked;
pub use crate::revoke::RevokedWhat;
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
pub use crate::stamp::StampAuthority;
pub use crate::stamp::StampError;
pub use crate::stamp::stamp_request;
pub use crate::state::Counter;
pub use crate::state::CounterError;
pub use crate::state::CounterKind;
pub use crate::state::Known;
pub use crate::state::NoCounter;
pub use crate::state::Remembered;
pub use crate::state::State;
pub use crate::state::StateError;
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
pub use crate::time::Time;
pub use crate::time::TimeError;
pub use crate::tpm::LinkError;
pub use crate::tpm::TPM_DEVICE;
pub use crate::tpm::TpmCounter;
pub use crate::tpm::TpmError;
pub use crate::trust::FreshnessLimits;
pub use crate::trust::Staleness;
