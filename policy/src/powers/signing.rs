//! On whose word a module is run, and which of two rules lets more modules in.
//!
//! Runs in: command line.
//! Does not: verify anything, or read a key: two files are two keys here.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::admission::Evidence;
use crate::admission::Requirement;
use crate::admission::Signer;
use crate::admission::SignerKind;
use crate::admission::Statement;
use crate::pattern;
use crate::policy::Policy;

/// What must be stated before a module is run: all of these.
///
/// Invariant: none follows from another, so that two rules that let the same in are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signing(BTreeSet<Wanted>);

/// One statement, by some of these signers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// What must be stated.
    pub stated: Stated,
    /// How many must state it.
    pub threshold: u32,
    /// Who may.
    pub signers: BTreeSet<Who>,
}

/// [`Statement`], comparable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stated {
    /// A signature or a release.
    Any,
    /// A signature.
    Signature,
    /// A release, at most this old.
    Release(Option<Duration>),
    /// Provenance: builders, build types (none: any), parameters.
    Provenance(BTreeSet<String>, BTreeSet<String>, Option<BTreeMap<String, String>>),
    /// An approval, at most this old.
    Approval(Option<Duration>),
}

/// A signer, apart from what the policy calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// The path of a key, or nothing for an identity.
    pub key: Option<String>,
    /// Issuer and identity, or nothing for a key.
    pub identity: Option<(String, String)>,
    /// What else the certificate must say.
    pub claims: BTreeMap<String, String>,
    /// The first second in which the signer counts.
    pub from: Option<i64>,
    /// The last one.
    pub until: Option<i64>,
    /// Whether a log entry and a timestamp must be there.
    pub evidence: (bool, bool),
}

impl Signing {
    pub(crate) fn of(policy: &Policy) -> Self {
        let wanted = |requirement: &Requirement| Wanted {
            stated: Stated::of(&requirement.statement),
            threshold: requirement.threshold,
            signers: requirement.signers.iter().filter_map(|id| policy.signers.iter().find(|s| s.id == *id)).map(Who::of).collect(),
        };
        policy.requirements.iter().map(wanted).collect()
    }

    /// Whether every module that the other lets in is let in here: each thing that is wanted here follows from one that is wanted there.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.0.iter().all(|mine| other.0.iter().any(|theirs| theirs.implies(mine)))
    }

    /// Each thing that is wanted.
    pub fn iter(&self) -> impl Iterator<Item = &Wanted> {
        self.0.iter()
    }

    /// Those wanted here that do not follow from what is wanted there.
    pub(crate) fn beyond<'a>(&'a self, there: &'a Self) -> impl Iterator<Item = &'a Wanted> {
        self.0.iter().filter(|mine| !there.0.iter().any(|theirs| theirs.implies(mine)))
    }
}

impl FromIterator<Wanted> for Signing {
    /// Leaves out what follows from the rest.
    fn from_iter<I: IntoIterator<Item = Wanted>>(all: I) -> Self {
        let all: BTreeSet<Wanted> = all.into_iter().collect();
        let needed = |wanted: &&Wanted| !all.iter().any(|other| other != *wanted && other.implies(wanted));
        Self(all.iter().filter(needed).cloned().collect())
    }
}

impl Wanted {
    /// Whether whatever meets this meets the weaker one too.
    ///
    /// Of `threshold` signers here, at most those are of no use there that no signer of their own stands for there; the rest must be enough.
    fn implies(&self, weaker: &Self) -> bool {
        let lost = self.signers.len().saturating_sub(matched(&self.signers, &weaker.signers));
        let left = i64::from(self.threshold) - i64::try_from(lost).unwrap_or(i64::MAX);
        weaker.stated.accepts(&self.stated) && left >= i64::from(weaker.threshold)
    }
}

/// The most signers on the left to each of whom another one on the right can be given that covers it (augmenting paths; at most 16 on a side).
fn matched(left: &BTreeSet<Who>, right: &BTreeSet<Who>) -> usize {
    let right: Vec<&Who> = right.iter().collect();
    let mut given: Vec<Option<&Who>> = vec![None; right.len()];
    left.iter().filter(|who| place(who, &right, &mut given, &mut vec![false; right.len()])).count()
}

fn place<'a>(who: &'a Who, right: &[&Who], given: &mut [Option<&'a Who>], seen: &mut [bool]) -> bool {
    for (i, wider) in right.iter().enumerate() {
        let Some(seen_here) = seen.get_mut(i).filter(|seen| !**seen) else { continue };
        if !wider.covers(who) {
            continue;
        }
        *seen_here = true;
        let free = match given.get(i).copied().flatten() {
            None => true,
            Some(other) => place(other, right, given, seen),
        };
        if free {
            given.iter_mut().skip(i).take(1).for_each(|slot| *slot = Some(who));
            return true;
        }
    }
    false
}

impl Stated {
    fn of(statement: &Statement) -> Self {
        let set = |list: &[String]| list.iter().cloned().collect();
        match statement {
            Statement::Any => Self::Any,
            Statement::Signature => Self::Signature,
            Statement::Release { max_age } => Self::Release(*max_age),
            Statement::Provenance { builders, build_types, parameters } => {
                Self::Provenance(set(builders), set(build_types), parameters.clone())
            }
            Statement::Approval { max_age } => Self::Approval(*max_age),
        }
    }

    fn accepts(&self, other: &Self) -> bool {
        let young = |most: &Option<Duration>, age: &Option<Duration>| most.is_none_or(|most| age.is_some_and(|age| age <= most));
        match (self, other) {
            (Self::Any, Self::Any | Self::Signature | Self::Release(_)) | (Self::Signature, Self::Signature) => true,
            (Self::Release(most), Self::Release(age)) | (Self::Approval(most), Self::Approval(age)) => young(most, age),
            (Self::Provenance(builders, types, parameters), Self::Provenance(by, how, from)) => {
                let how = types.is_empty() || (!how.is_empty() && how.is_subset(types));
                by.is_subset(builders) && how && (parameters.is_none() || parameters == from)
            }
            _ => false,
        }
    }
}

impl Who {
    fn of(signer: &Signer) -> Self {
        let (key, identity, claims) = match &signer.kind {
            SignerKind::Key { path } => (Some(path.to_string_lossy().into_owned()), None, BTreeMap::new()),
            SignerKind::Keyless { issuer, identity, claims } => (None, Some((issuer.clone(), identity.clone())), claims.clone()),
        };
        let evidence = match signer.evidence {
            Evidence::None => (false, false),
            Evidence::Log => (true, false),
            Evidence::Timestamp => (false, true),
            Evidence::Both => (true, true),
        };
        Self { key, identity, claims, from: signer.usable_from, until: signer.retire_at, evidence }
    }

    /// Whether whoever is the other is this one too, at every moment and with every proof.
    fn covers(&self, other: &Self) -> bool {
        let identity = match (&self.identity, &other.identity) {
            (Some((by, wide)), Some((also_by, narrow))) => by == also_by && pattern::covers(wide, narrow),
            (mine, theirs) => mine == theirs,
        };
        let claims = self.claims.iter().all(|(name, wide)| other.claims.get(name).is_some_and(|narrow| pattern::covers(wide, narrow)));
        let from = self.from.is_none_or(|mine| other.from.is_some_and(|theirs| mine <= theirs));
        let until = self.until.is_none_or(|mine| other.until.is_some_and(|theirs| mine >= theirs));
        self.key == other.key
            && identity
            && claims
            && from
            && until
            && self.evidence.0 <= other.evidence.0
            && self.evidence.1 <= other.evidence.1
    }
}
