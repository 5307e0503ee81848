//! Signers and requirements of a policy, as rules.
//!
//! Runs in: daemon, command line.
//! Does not: open a key file; it is given keys that were read.

use std::path::Path;

use edgeguard_attest::Claim;
use edgeguard_attest::EvidenceWanted;
use edgeguard_attest::Keyless;
use edgeguard_attest::MAX_SIGNERS;
use edgeguard_attest::Pattern;
use edgeguard_attest::PatternError;
use edgeguard_attest::Requirement;
use edgeguard_attest::Rules;
use edgeguard_attest::Signer;
use edgeguard_attest::SignerKind;
use edgeguard_attest::Time;
use edgeguard_attest::TrustedKey;
use edgeguard_attest::UnknownClaim;
use edgeguard_attest::Wanted;
use edgeguard_attest::Window;
use edgeguard_policy::Evidence;
use edgeguard_policy::Policy;
use edgeguard_policy::PolicySigning;
use edgeguard_policy::Statement;

/// Why a policy cannot be made into rules. `E` is the caller's, from reading a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError<E: std::error::Error + 'static> {
    /// A signer's key could not be read.
    #[error("cannot use the key of signer `{signer}`")]
    Key {
        /// The signer's id.
        signer: String,
        /// Why.
        #[source]
        source: E,
    },
    /// One key under two names would look like two people.
    #[error("signers `{first}` and `{second}` have the same key, sha256:{key}; remove one")]
    SameKey {
        /// The key's id.
        key: String,
        /// The id that comes first.
        first: String,
        /// The other.
        second: String,
    },
    /// An identity or a claim that is no pattern.
    #[error("cannot use the pattern `{pattern}` of signer `{signer}`")]
    Pattern {
        /// The signer's id.
        signer: String,
        /// What the policy says.
        pattern: String,
        /// Why.
        #[source]
        source: PatternError,
    },
    /// A claim that no certificate has.
    #[error("cannot use a claim of signer `{signer}`")]
    Claim {
        /// The signer's id.
        signer: String,
        /// Which.
        #[source]
        source: UnknownClaim,
    },
    /// More signers than are compared.
    #[error("expected at most {MAX_SIGNERS} signers, found {found}")]
    TooManySigners {
        /// How many.
        found: usize,
    },
}

/// The rules of `policy`; `key` reads the public key in a file.
///
/// # Errors
/// [`RulesError`]
pub fn rules<E: std::error::Error + 'static>(
    policy: &Policy,
    mut key: impl FnMut(&Path) -> Result<TrustedKey, E>,
) -> Result<Rules, RulesError<E>> {
    let signers = policy.signers.iter().map(|written| signer(written, &mut key)).collect::<Result<Vec<_>, _>>()?;
    distinct(&signers)?;
    let requirements = policy.requirements.iter().map(requirement).collect();
    Ok(Rules { slot: policy.name.to_string(), signers, requirements, min_version: policy.min_version })
}

/// Those who may sign policies on this host, each under the name of its key file.
///
/// # Errors
/// [`RulesError::Key`], [`RulesError::SameKey`], [`RulesError::TooManySigners`].
pub fn policy_signers<E: std::error::Error + 'static>(
    signing: &PolicySigning,
    mut key: impl FnMut(&Path) -> Result<TrustedKey, E>,
) -> Result<Vec<Signer>, RulesError<E>> {
    let named = |path: &std::path::PathBuf| {
        let id = path.display().to_string();
        match key(path) {
            Ok(key) => Ok(Signer::of_key(id.clone(), key.named(id))),
            Err(source) => Err(RulesError::Key { signer: id, source }),
        }
    };
    let signers = signing.keys.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    distinct(&signers)?;
    Ok(signers)
}

fn signer<E: std::error::Error + 'static>(
    written: &edgeguard_policy::Signer,
    key: &mut impl FnMut(&Path) -> Result<TrustedKey, E>,
) -> Result<Signer, RulesError<E>> {
    let id = &written.id;
    let kind = match &written.kind {
        edgeguard_policy::SignerKind::Key { path } => {
            let key = key(path).map_err(|source| RulesError::Key { signer: id.clone(), source })?;
            SignerKind::Key(key.named(path.display().to_string()))
        }
        edgeguard_policy::SignerKind::Keyless { issuer, identity, claims } => SignerKind::Keyless(Keyless {
            issuer: issuer.clone(),
            identity: pattern(id, identity)?,
            claims: claims.iter().map(|(name, value)| Ok((claim(id, name)?, pattern(id, value)?))).collect::<Result<_, _>>()?,
        }),
    };
    // Both ends count, in the policy and in the window.
    let window = Window { usable_from: written.usable_from.map(Time), retire_at: written.retire_at.map(Time) };
    let evidence = match (&kind, written.evidence) {
        (SignerKind::Keyless(_), _) | (_, Evidence::Both) => EvidenceWanted::Both,
        (_, Evidence::None) => EvidenceWanted::None,
        (_, Evidence::Log) => EvidenceWanted::Log,
        (_, Evidence::Timestamp) => EvidenceWanted::Timestamp,
    };
    Ok(Signer { id: id.clone(), kind, window, evidence })
}

fn pattern<E: std::error::Error + 'static>(signer: &str, text: &str) -> Result<Pattern, RulesError<E>> {
    text.parse().map_err(|source| RulesError::Pattern { signer: signer.to_owned(), pattern: text.to_owned(), source })
}

fn claim<E: std::error::Error + 'static>(signer: &str, name: &str) -> Result<Claim, RulesError<E>> {
    name.parse().map_err(|source| RulesError::Claim { signer: signer.to_owned(), source })
}

fn requirement(written: &edgeguard_policy::Requirement) -> Requirement {
    let statement = match &written.statement {
        Statement::Any => Wanted::Any,
        Statement::Signature => Wanted::Signature,
        Statement::Release { max_age } => Wanted::Release { max_age: *max_age },
        Statement::Provenance { builders, build_types, parameters } => {
            Wanted::Provenance { builders: builders.clone(), build_types: build_types.clone(), parameters: parameters.clone() }
        }
        Statement::Approval { max_age } => Wanted::Approval { max_age: *max_age },
    };
    Requirement { statement, signers: written.signers.clone(), threshold: written.threshold }
}

fn distinct<E: std::error::Error + 'static>(signers: &[Signer]) -> Result<(), RulesError<E>> {
    if signers.len() > MAX_SIGNERS {
        return Err(RulesError::TooManySigners { found: signers.len() });
    }
    let key = |signer: &Signer| match &signer.kind {
        SignerKind::Key(key) => Some(key.id()),
        SignerKind::Keyless(_) => None,
    };
    for (place, first) in signers.iter().enumerate() {
        let Some(id) = key(first) else { continue };
        if let Some(second) = signers.iter().skip(place + 1).find(|other| key(other) == Some(id)) {
            return Err(RulesError::SameKey { key: id.to_string(), first: first.id.clone(), second: second.id.clone() });
        }
    }
    Ok(())
}
