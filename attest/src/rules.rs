//! What a policy requires before a module is admitted: which statements, of how many of whom, and from which version on.
//!
//! Runs in: daemon, CLI, which make rules from what the operator wrote.
//! Does not: read a policy file, a clock or a network.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::keys::KeyId;
use crate::rejection::shown;
use crate::signer::MAX_SIGNERS;
use crate::signer::Signer;
use crate::signer::SignerKind;
use crate::statement::StatementKind;

/// The most requirements of one policy.
pub const MAX_REQUIREMENTS: usize = 16;

/// What must hold for a module to be admitted. All requirements must be met, each by signers of its own list.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The module's name in the policy, which is the name that releases and approvals must state.
    pub slot: String,
    /// Everybody whose bundles may lie beside the module. A bundle of anybody else refuses it.
    pub signers: Vec<Signer>,
    /// What must have been said. At least one; a policy that asks for nothing in particular asks for [`Wanted::Any`].
    pub requirements: Vec<Requirement>,
    /// The lowest version that the policy accepts. It then needs a release.
    pub min_version: Option<u64>,
}

/// One thing that must have been said by enough of some signers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// What.
    pub statement: Wanted,
    /// The ids of those whose word counts here.
    pub signers: Vec<String>,
    /// How many distinct ones of them must have said it.
    pub threshold: u32,
}

/// Which statement is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A signature or a release: what a plain policy means by `signed`.
    Any,
    /// A signature, which says nothing else.
    Signature,
    /// A release.
    Release {
        /// How old it may be: counted from when it was proved to exist, or else from its `notBefore`.
        max_age: Option<Duration>,
    },
    /// SLSA provenance.
    Provenance {
        /// The builders that count. At least one; compared exactly.
        builders: Vec<String>,
        /// The build types that count; none means every one. Compared exactly.
        build_types: Vec<String>,
        /// If given, the external parameters must be these, none more and none fewer: a string by its value, anything else as JSON.
        parameters: Option<BTreeMap<String, String>>,
    },
    /// An approval.
    Approval {
        /// As for a release.
        max_age: Option<Duration>,
    },
}

impl Wanted {
    /// Whether a statement of `kind` can meet it.
    #[must_use]
    pub fn asks_for(&self, kind: StatementKind) -> bool {
        match self {
            Self::Any => matches!(kind, StatementKind::Signature | StatementKind::Release),
            Self::Signature => kind == StatementKind::Signature,
            Self::Release { .. } => kind == StatementKind::Release,
            Self::Provenance { .. } => kind == StatementKind::Provenance,
            Self::Approval { .. } => kind == StatementKind::Approval,
        }
    }

    /// The policy's word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Signature => StatementKind::Signature.as_str(),
            Self::Release { .. } => StatementKind::Release.as_str(),
            Self::Provenance { .. } => StatementKind::Provenance.as_str(),
            Self::Approval { .. } => StatementKind::Approval.as_str(),
        }
    }

    pub(crate) fn max_age(&self) -> Option<Duration> {
        match self {
            Self::Release { max_age } | Self::Approval { max_age } => *max_age,
            Self::Any | Self::Signature | Self::Provenance { .. } => None,
        }
    }
}

/// As in a sentence: `signature or release`.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("`signature` or `release`"),
            other => write!(f, "`{}`", other.as_str()),
        }
    }
}

/// Why rules can admit nothing, or do not say what they mean.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// Nobody may sign.
    #[error("no signer is named")]
    NoSigner,
    /// More than [`MAX_SIGNERS`].
    #[error("{found} signers are named, at most {MAX_SIGNERS} are accepted")]
    TooManySigners {
        /// How many.
        found: usize,
    },
    /// Two signers of one id.
    #[error("signer {id} is named twice")]
    SignerTwice {
        /// The id, fit to be shown.
        id: String,
    },
    /// Nothing is required, which would admit everything.
    #[error("nothing is required")]
    NoRequirement,
    /// More than [`MAX_REQUIREMENTS`].
    #[error("{found} requirements, at most {MAX_REQUIREMENTS} are accepted")]
    TooManyRequirements {
        /// How many.
        found: usize,
    },
    /// A requirement of somebody who is not a signer of these rules.
    #[error("the requirement of {statement} names signer {id}, whom the policy does not have")]
    UnknownSigner {
        /// What is required.
        statement: String,
        /// The id, fit to be shown.
        id: String,
    },
    /// A threshold of nobody, or of more than there are.
    #[error("the requirement of {statement} asks for {threshold} distinct signers of {of}")]
    Threshold {
        /// What is required.
        statement: String,
        /// How many must.
        threshold: u32,
        /// How many different ones can. A key that stands under two ids is one.
        of: usize,
    },
    /// A provenance by anybody.
    #[error("the requirement of `slsa-provenance` names no builder")]
    NoBuilder,
}

impl Rules {
    /// What a plain policy means: a signature or a release by `threshold` of all `signers`.
    #[must_use]
    pub fn plain(slot: impl Into<String>, signers: Vec<Signer>, threshold: u32) -> Self {
        let ids = signers.iter().map(|signer| signer.id.clone()).collect();
        let requirements = vec![Requirement { statement: Wanted::Any, signers: ids, threshold }];
        Self { slot: slot.into(), signers, requirements, min_version: None }
    }

    /// Whether these rules can be met at all, and cannot be met by nobody. Admission asks this again, whoever made them.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn check(&self) -> Result<(), RulesError> {
        if self.signers.is_empty() {
            return Err(RulesError::NoSigner);
        }
        if self.signers.len() > MAX_SIGNERS {
            return Err(RulesError::TooManySigners { found: self.signers.len() });
        }
        if self.requirements.is_empty() {
            return Err(RulesError::NoRequirement);
        }
        if self.requirements.len() > MAX_REQUIREMENTS {
            return Err(RulesError::TooManyRequirements { found: self.requirements.len() });
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = self.signers.iter().find(|signer| !ids.insert(signer.id.as_str())) {
            return Err(RulesError::SignerTwice { id: shown(&twice.id) });
        }
        self.requirements.iter().try_for_each(|requirement| self.check_requirement(requirement))
    }

    fn check_requirement(&self, requirement: &Requirement) -> Result<(), RulesError> {
        let statement = || requirement.statement.to_string();
        if let Wanted::Provenance { builders, .. } = &requirement.statement
            && builders.is_empty()
        {
            return Err(RulesError::NoBuilder);
        }
        if let Some(id) = requirement.signers.iter().find(|id| self.signer(id).is_none()) {
            return Err(RulesError::UnknownSigner { statement: statement(), id: shown(id) });
        }
        let of = self.distinct(requirement);
        if requirement.threshold == 0 || requirement.threshold as usize > of {
            return Err(RulesError::Threshold { statement: statement(), threshold: requirement.threshold, of });
        }
        Ok(())
    }

    fn signer(&self, id: &str) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.id == id)
    }

    /// How many different signers can meet a requirement: a key that stands under two ids is one, and so is whoever a pattern matches.
    fn distinct(&self, requirement: &Requirement) -> usize {
        let ids: BTreeSet<&String> = requirement.signers.iter().collect();
        let mut keys: BTreeSet<KeyId> = BTreeSet::new();
        let mut keyless: BTreeSet<(&str, &str)> = BTreeSet::new();
        for signer in ids.into_iter().filter_map(|id| self.signer(id)) {
            match &signer.kind {
                SignerKind::Key(key) => keys.extend([key.id()]),
                SignerKind::Keyless(of) => keyless.extend([(of.issuer.as_str(), of.identity.as_str())]),
            }
        }
        keys.len().saturating_add(keyless.len())
    }
}
