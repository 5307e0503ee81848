//! Policies that somebody signed, on hosts where only those count (`[policy-signing]`).
//!
//! Runs in: daemon.
//! Invariant: on such a host no word of a policy is read before its signature was verified, and no policy is in force whose revision is lower than one that was,
//! or was another text's.

use std::path::Path;

use edgeguard_attest::Rejection;
use edgeguard_policy::Policy;

use crate::handle;
use crate::trust::Trust;
use crate::trust::TrustError;

/// Why a policy does not count.
#[derive(Debug, thiserror::Error)]
pub enum Unsigned {
    /// Its signature.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// What this host trusts or remembers.
    #[error("{code} {reason}", code = .0.code(), reason = crate::chain(.0))]
    Trust(#[from] TrustError),
    /// It says nothing of its age.
    #[error(
        "EG5004 this host accepts signed policies only, and those need a `revision`: write `revision = 1`, and a higher one with every change"
    )]
    NoRevision,
    /// It leaves words to files that its signature is not over.
    #[error(
        "EG095 this host accepts signed policies only, and a signature is not over the profiles that a policy names: sign what `edgeguard policy expand` prints"
    )]
    Profiles,
}

/// A text that may be read: its signature was verified, or none is asked for.
#[derive(Debug)]
pub struct Readable {
    signed: bool,
}

/// Verifies the bundle beside a policy, where this host asks for one.
///
/// # Errors
/// [`Unsigned`]
pub fn check(trust: &Trust, path: &Path, text: &[u8]) -> Result<Readable, Unsigned> {
    let Some(signers) = trust.policy_signers()? else { return Ok(Readable { signed: false }) };
    let beside = edgeguard_attest::bundle_path(path);
    if !beside.exists() {
        return Err(Rejection::unsigned(&beside).into());
    }
    let bundle = edgeguard_attest::read_bundle(&handle::file("bundle", &beside).map_err(TrustError::from)?.into_std())?;
    let now = trust.now()?;
    let (material, list, clock) = (&now.material, now.revocations.as_ref(), &now.clock);
    edgeguard_attest::verify_policy_text(text, &bundle, &signers, material, list, clock, &mut Vec::new())?;
    Ok(Readable { signed: true })
}

impl Readable {
    /// Holds the revision of a signed policy against the highest that was in force, and remembers it.
    ///
    /// # Errors
    /// [`Unsigned`]
    pub fn in_force(self, trust: &Trust, policy: &Policy) -> Result<(), Unsigned> {
        match policy.revision {
            _ if !self.signed => Ok(()),
            _ if !policy.profiles.is_empty() => Err(Unsigned::Profiles),
            None => Err(Unsigned::NoRevision),
            Some(revision) => Ok(trust.raise_revision(policy.name.as_str(), revision, &policy.digest)?),
        }
    }
}
