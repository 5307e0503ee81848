//! What the host's own file says of trust, as the values that admission is judged by.
//!
//! Runs in: daemon, command line.
//! Does not: open the trusted root; it is given its bytes.

use std::path::Path;

use edgeguard_attest::ClockLimits;
use edgeguard_attest::FreshnessLimits;
use edgeguard_attest::MaterialError;
use edgeguard_attest::TrustMaterial;
use edgeguard_policy::Revocations;
use edgeguard_policy::Trust;
use edgeguard_policy::TrustedRoot;

/// How far the clock may stray on this host.
#[must_use]
pub fn clock_limits(trust: &Trust) -> ClockLimits {
    ClockLimits { max_skew: trust.max_skew, max_jump: trust.max_jump }
}

/// How long trust material warns before its end, and counts after it; and whether there must be a revocation list.
#[must_use]
pub fn freshness_limits(trust: &Trust) -> FreshnessLimits {
    let list_required = trust.revocations == Revocations::Required;
    FreshnessLimits { warn: trust.warn, grace: trust.grace, list_required }
}

/// Whose certificates, logs and timestamps count on this host, as long as no trust pack says otherwise. `read` reads the operator's own trusted root,
/// which must be the one that is pinned.
///
/// # Errors
/// What `read` says, or [`MaterialError`].
pub fn trust_material<E: From<MaterialError>>(trust: &Trust, read: impl FnOnce(&Path) -> Result<Vec<u8>, E>) -> Result<TrustMaterial, E> {
    match &trust.root {
        TrustedRoot::PublicGood => Ok(TrustMaterial::public_good()?),
        TrustedRoot::File { path, sha256 } => Ok(TrustMaterial::from_json(&read(path)?, Some(*sha256))?),
        TrustedRoot::Nobody => Ok(TrustMaterial::none()),
    }
}
