//! What a Fulcio certificate says about the build that asked for it, beyond identity and issuer.
//!
//! Runs in: daemon, CLI; on certificates that were verified.
//! Does not: know the extensions that Fulcio has deprecated; their values are in the ones below.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::Serializer;
use sigstore_crypto::FulcioCiClaims;

use crate::rejection::shown;

macro_rules! claims {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $number:literal, $field:ident;)+) => {
        /// One claim about a build (sigstore/fulcio, `docs/oid-info.md`, below OID 1.3.6.1.4.1.57264.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Claim { $($(#[doc = $doc])+ $variant,)+ }

        impl Claim {
            /// Every claim, in the order of the OIDs.
            pub const ALL: &'static [Claim] = &[$(Claim::$variant,)+];

            /// Its name in policies, messages and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $name,)+ } }

            /// The last number of its OID.
            #[must_use]
            pub fn oid_suffix(self) -> u32 { match self { $(Self::$variant => $number,)+ } }

            /// What the certificate says, if it says anything.
            pub(crate) fn of(self, claims: &FulcioCiClaims) -> Option<&str> {
                match self { $(Self::$variant => claims.$field.as_deref(),)+ }
            }
        }
    };
}

claims! {
    /// The reusable workflow that signed, with its ref.
    BuildSignerUri = "build-signer-uri", 9, build_signer_uri;
    /// The commit of that workflow.
    BuildSignerDigest = "build-signer-digest", 10, build_signer_digest;
    /// `github-hosted` or `self-hosted`.
    RunnerEnvironment = "runner-environment", 11, runner_environment;
    /// The source repository, by address.
    RepositoryUri = "repository-uri", 12, source_repository_uri;
    /// The commit that was built.
    RepositoryDigest = "repository-digest", 13, source_repository_digest;
    /// The ref that was built, such as `refs/tags/v1`.
    RepositoryRef = "repository-ref", 14, source_repository_ref;
    /// The source repository's number, which survives renaming and is never given to another.
    RepositoryId = "repository-id", 15, source_repository_identifier;
    /// The repository's owner, by address.
    OwnerUri = "owner-uri", 16, source_repository_owner_uri;
    /// The owner's number.
    OwnerId = "owner-id", 17, source_repository_owner_identifier;
    /// The workflow file that was started, with its ref.
    WorkflowRef = "workflow-ref", 18, build_config_uri;
    /// The commit of that file.
    WorkflowDigest = "workflow-digest", 19, build_config_digest;
    /// What started the build, such as `push` or `release`.
    BuildTrigger = "build-trigger", 20, build_trigger;
    /// The address of the run.
    RunUri = "run-uri", 21, run_invocation_uri;
    /// `public`, `private` or `internal`, when it was signed.
    Visibility = "visibility", 22, source_repository_visibility_at_signing;
    /// The deployment environment, whose protection rules the build has passed.
    DeploymentEnvironment = "deployment-environment", 23, deployment_environment;
    /// The subject of the identity token, as its issuer wrote it.
    TokenSubject = "token-subject", 24, token_subject;
}

impl Claim {
    /// All that the certificate says, by name.
    pub(crate) fn all_of(claims: &FulcioCiClaims) -> BTreeMap<String, String> {
        Self::ALL.iter().filter_map(|claim| Some((claim.as_str().to_owned(), claim.of(claims)?.to_owned()))).collect()
    }
}

/// A name that is no [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no claim is called {found}; there are {}", names())]
pub struct UnknownClaim {
    /// The name, escaped.
    pub found: String,
}

fn names() -> String {
    Claim::ALL.iter().map(|claim| format!("`{claim}`")).collect::<Vec<_>>().join(", ")
}

impl FromStr for Claim {
    type Err = UnknownClaim;

    fn from_str(text: &str) -> Result<Self, UnknownClaim> {
        Self::ALL.iter().copied().find(|claim| claim.as_str() == text).ok_or_else(|| UnknownClaim { found: shown(text) })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_claim_is_found_by_its_name_and_only_by_it() {
        for claim in Claim::ALL {
            assert_eq!(claim.as_str().parse(), Ok(*claim));
            assert!(claim.as_str().to_uppercase().parse::<Claim>().is_err());
        }
        assert!("repository".parse::<Claim>().unwrap_err().to_string().contains("`repository-id`"));
    }

    #[test]
    fn each_claim_reads_its_own_extension() {
        let mut numbers: Vec<u32> = Claim::ALL.iter().map(|claim| claim.oid_suffix()).collect();
        numbers.dedup();
        assert_eq!(numbers, (9..=24).collect::<Vec<_>>());
        let said = FulcioCiClaims::default();
        assert!(Claim::all_of(&said).is_empty());
    }
}
