//! Policy files: text in, [`Policy`] out, every mistake at once with the place it stands at.
//!
//! Runs in: daemon (at start and reload) and command line (`edgeguard policy check`).
//! Does not: open a file, look at the host, or ask the time. What is given as text or bytes is all it sees.
//! Invariant: a [`Policy`] or a [`HostConfig`] exists only if its whole text was understood and every value is within its bounds.
//!
//! ```
//! let text = r#"
//! version = 1
//! [module]
//! name = "hello"
//! path = "/var/lib/edgeguard/modules/hello.wasm"
//! mode = "command"
//! [[module.signer]]
//! key = "/etc/edgeguard/keys/acme.pub"
//! [limits]
//! memory = "16 MiB"
//! deadline = "500 ms"
//! instances = 2
//! output = "64 KiB"
//! "#;
//! let policy = edgeguard_policy::parse("hello.toml", text)?;
//! assert_eq!(policy.limits.memory, 16 << 20);
//! # Ok::<(), edgeguard_policy::Diagnostics>(())
//! ```
#![forbid(unsafe_code)]

pub mod codes;
#[cfg(feature = "tools")]
pub mod explain;
#[cfg(feature = "tools")]
pub mod format;
pub mod imports;
#[cfg(feature = "tools")]
pub mod json_schema;
#[cfg(feature = "tools")]
pub mod learn;
#[cfg(feature = "tools")]
pub mod new;
#[cfg(feature = "tools")]
pub mod powers;
#[cfg(feature = "tools")]
pub mod report;

mod admission;
mod audit;
mod bounds;
mod compare;
mod diagnostic;
mod document;
mod graphs;
mod host;
mod http;
mod learning;
mod means;
mod moment;
mod names;
mod overlap;
mod paths;
mod pattern;
mod policy;
mod privacy;
mod profile;
mod render;
mod requirements;
mod resolve;
mod schema;
mod set;
mod signers;
mod source;
mod suggest;
mod terms;
mod trail;
mod trust;
mod units;
mod values;

pub use admission::Evidence;
pub use admission::Requirement;
pub use admission::Signer;
pub use admission::SignerKind;
pub use admission::Statement;
pub use audit::Audit;
pub use audit::OnFull;
pub use bounds::*;
pub use codes::Code;
pub use codes::Severity;
pub use diagnostic::Diagnostic;
pub use diagnostic::Diagnostics;
pub use graphs::Engines;
pub use graphs::Libraries;
pub use graphs::Library;
pub use host::HostConfig;
pub use http::Http;
pub use http::Listen;
pub use imports::ModuleImports;
pub use learning::Learning;
pub use moment::show_moment;
pub use names::GraphName;
pub use names::ModuleName;
pub use names::Principal;
pub use policy::Access;
pub use policy::DirGrant;
pub use policy::Encoding;
pub use policy::Engine;
pub use policy::Floor;
pub use policy::GraphGrant;
pub use policy::GraphLoad;
pub use policy::LanguageBounds;
pub use policy::Limits;
pub use policy::Mode;
pub use policy::Place;
pub use policy::Policy;
pub use policy::Quota;
pub use policy::Target;
pub use policy::Weights;
pub use privacy::Class;
pub use privacy::Privacy;
pub use profile::Expanded;
pub use profile::Profiles;
pub use render::Colour;
pub use set::check_names;
pub use set::check_set;
pub use source::Source;
pub use source::escape;
pub use terms::GraphTerms;
pub use trail::Trail;
pub use trust::Counter;
pub use trust::PolicySigning;
pub use trust::Revocations;
pub use trust::Trust;
pub use trust::TrustedRoot;

/// The names of all keys and sections that policies and host files may have, for editors and for the test of the reference page.
pub fn keys() -> impl Iterator<Item = &'static str> {
    [&schema::POLICY, &schema::PROFILE, &schema::HOST].into_iter().flat_map(schema::names)
}

/// The names that a signer's `claims` may have.
pub fn claims() -> impl Iterator<Item = &'static str> {
    schema::CLAIMS.keys.iter().map(|key| key.name)
}

/// Reads one policy file.
///
/// `file_name` is only echoed in diagnostics; nothing is opened.
///
/// # Errors
/// Every mistake in the text, not only the first. Warnings travel in [`Policy::warnings`] when the policy stands,
/// and beside the errors when it does not.
pub fn parse(file_name: &str, text: &str) -> Result<Policy, Diagnostics> {
    parse_with(file_name, text, &Profiles::default())
}

/// Reads one policy file that may name profiles, which are written out into it before it is judged: what is said of it is said of the whole.
///
/// # Errors
/// As [`parse`], and every mistake in the profiles that it names; of a policy that names one which is not among `profiles`, that.
pub fn parse_with(file_name: &str, text: &str, profiles: &Profiles) -> Result<Policy, Diagnostics> {
    resolve::policy(&Source::new(file_name, text), profiles)
}

/// The text of a policy with its profiles written out; of one that names none, the text itself. It is a policy that says the same and names none, and its
/// SHA-256 is [`Policy::digest`].
///
/// # Errors
/// As [`parse_with`].
pub fn expand(file_name: &str, bytes: &[u8], profiles: &Profiles) -> Result<Expanded, Diagnostics> {
    profile::expand(&Source::from_bytes(file_name, bytes)?, profiles)
}

/// Everything that can be said of a profile by itself.
#[must_use]
pub fn check_profile(file_name: &str, bytes: &[u8]) -> Diagnostics {
    Source::from_bytes(file_name, bytes).map_or_else(|found| found, |source| profile::check(&source))
}

/// Reads one policy file as it lies on disk.
///
/// # Errors
/// As [`parse`]; besides, text that is not UTF-8 or larger than [`MAX_TEXT`].
pub fn parse_bytes(file_name: &str, bytes: &[u8]) -> Result<Policy, Diagnostics> {
    parse_bytes_with(file_name, bytes, &Profiles::default())
}

/// Reads one policy file as it lies on disk, as [`parse_with`] does.
///
/// # Errors
/// As [`parse_with`]; besides, text that is not UTF-8 or larger than [`MAX_TEXT`].
pub fn parse_bytes_with(file_name: &str, bytes: &[u8], profiles: &Profiles) -> Result<Policy, Diagnostics> {
    resolve::policy(&Source::from_bytes(file_name, bytes)?, profiles)
}

/// Reads the host's own file, `/etc/edgeguard/edgeguard.toml`.
///
/// # Errors
/// Every mistake in the text, not only the first.
pub fn parse_host(file_name: &str, text: &str) -> Result<HostConfig, Diagnostics> {
    host::resolve(&Source::new(file_name, text))
}

/// Reads the host's own file as it lies on disk.
///
/// # Errors
/// As [`parse_host`]; besides, text that is not UTF-8 or larger than [`MAX_TEXT`].
pub fn parse_host_bytes(file_name: &str, bytes: &[u8]) -> Result<HostConfig, Diagnostics> {
    host::resolve(&Source::from_bytes(file_name, bytes)?)
}
