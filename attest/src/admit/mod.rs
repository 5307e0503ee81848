//! Admission: every check, in order, from the bundles beside a module to the proof that it may run.
//!
//! Runs in: daemon, CLI. Offline and deterministic: it sees its arguments and nothing else.
//! Invariant: [`Admission`] is made at the end of [`every_check`] and nowhere else.
//! Does not: open what the policy grants, or remember what it admitted.

mod threshold;
mod what;
mod when;
mod who;

use crate::capabilities::Capabilities;
use crate::clock::Clock;
use crate::evidence::Artifact;
use crate::evidence::Proof;
use crate::evidence::note;
use crate::gate::MAX_BUNDLE;
use crate::material::TrustMaterial;
use crate::module::ModuleDigest;
use crate::module::sha256;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::revoke::Revocations;
use crate::rules::Rules;
use crate::rules::RulesError;
use crate::signer::Signer;
use crate::state::Known;
use crate::statement::Release;
use crate::statement::Statement;
use crate::statement::StatementKind;
use crate::time::Time;
use crate::trust::Staleness;

pub use self::who::verify_policy_text;

/// The most bundles beside one module.
pub const MAX_BUNDLES: usize = 8;

/// One bundle and what it is called: its file's name, for messages and the receipt.
#[derive(Clone, Copy, Debug)]
pub struct NamedBundle<'a> {
    /// Its name.
    pub name: &'a str,
    /// All of it.
    pub bytes: &'a [u8],
}

/// What an admission is judged by besides the rules: what this host trusts, remembers, believes and is about to grant.
#[derive(Clone)]
pub struct Situation<'a> {
    /// Certificate authorities, logs and timestamp authorities.
    pub material: &'a TrustMaterial,
    /// What was taken back, if the host has a list.
    pub revocations: Option<&'a Revocations>,
    /// What may be believed about the time.
    pub clock: &'a Clock,
    /// What was admitted under this name before.
    pub known: Option<&'a Known>,
    /// What the policy grants.
    pub capabilities: &'a Capabilities,
    /// Whether trust material is young enough for something new.
    pub stale: Staleness,
}

/// One requirement of the policy, and whose word met it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Met {
    /// What was required, in the policy's word.
    pub statement: &'static str,
    /// Of how many.
    pub threshold: u32,
    /// The ids of the distinct signers who said it, in order: as many as the threshold, or more.
    pub signers: Vec<String>,
}

/// Proof that every check held. The fields are private to the crate, and only [`every_check`] makes one.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) slot: String,
    pub(crate) first: Proof,
    pub(crate) proofs: Vec<Proof>,
    pub(crate) kinds: Vec<StatementKind>,
    pub(crate) release: Option<Release>,
    pub(crate) met: Vec<Met>,
    pub(crate) bundles: Vec<(String, [u8; 32])>,
    pub(crate) trust: [u8; 32],
    pub(crate) revocation_list: Option<u64>,
    pub(crate) new: bool,
    pub(crate) until: Option<Time>,
    _every_check_held: Held,
}

#[cfg(test)]
impl Admission {
    /// For the tests of what is written about an admission; there is no module behind it.
    pub(crate) fn for_receipts(proof: Proof, bundles: usize, met: Vec<Met>) -> Self {
        Self {
            slot: "voice-gate".into(),
            first: proof.clone(),
            proofs: vec![proof; bundles],
            kinds: vec![StatementKind::Release; bundles],
            release: None,
            met,
            bundles: (0..bundles).map(|place| (format!("voice-gate.wasm.{place}.sigstore.json"), [3; 32])).collect(),
            trust: [4; 32],
            revocation_list: Some(7),
            new: true,
            until: None,
            _every_check_held: Held,
        }
    }
}

/// Private to this file, so that nothing else makes an [`Admission`].
#[derive(Clone, Copy, Debug)]
struct Held;

/// What one verified bundle says, and who says it.
#[derive(Debug)]
struct Said<'a> {
    /// The signers of the policy that this is; several, if a key stands under several ids.
    signers: Vec<&'a Signer>,
    proof: Proof,
    statement: Statement,
}

impl Said<'_> {
    /// As in `the `release` by `acme``.
    fn by(&self) -> String {
        format!("the `{}` by {}", self.statement.kind(), shown(&self.proof.signer))
    }

    /// Whether it counts for a requirement of `ids`.
    fn is_of(&self, ids: &[String]) -> bool {
        self.signers.iter().any(|signer| ids.contains(&signer.id))
    }
}

/// The whole of admission. Each step notes in `passed` what held; the first that does not ends it.
pub(crate) fn every_check(
    module: &[u8],
    digest: ModuleDigest,
    bundles: &[NamedBundle<'_>],
    rules: &Rules,
    situation: &Situation<'_>,
    passed: &mut Vec<Passed>,
) -> Result<Admission, Rejection> {
    // Can the rules be met, and is there something that could meet them?
    rules.check().map_err(|error| unusable(&error))?;
    bounded(bundles)?;

    // Was this very module taken back? No module has an empty name, so only the digest is compared here.
    if let Some(list) = situation.revocations {
        list.check_module(digest, "", None)?;
    }

    // Who signed what? Every bundle must be good; nothing unchecked rides along with what is checked.
    let artifact = Artifact::Bytes { bytes: module, sha256: digest.0 };
    let new = situation.known.is_none_or(|known| known.digest != digest);
    let mut said = Vec::with_capacity(bundles.len());
    for bundle in bundles {
        let before = passed.len();
        let one =
            who::hear(bundle, artifact, &rules.signers, situation, passed).and_then(|one| when::in_use(one, situation.clock, new, passed));
        said.push(who::in_its_bundle(bundle, bundles.len(), one, passed.get_mut(before..))?);
    }

    // Was each asked for what it said, and did enough of them say what is required?
    for (one, bundle) in said.iter().zip(bundles) {
        who::in_its_bundle(bundle, bundles.len(), who::asked_for(one, rules), None)?;
    }
    let met = who::requirements_met(&said, rules, passed)?;

    // Is it the module that the policy means, in a version that is not too old?
    what::names(&said, &rules.slot, passed)?;
    let version = what::one_version(&said)?;
    if let Some(list) = situation.revocations {
        list.check_module(digest, &rules.slot, version)?;
        note(passed, Check::Revocation, format!("nothing of revocation list {}", list.list()), "neither the module nor a signer of it");
    }
    what::version_floor(version, digest, rules, situation.known, passed)?;

    // Is it time?
    said.iter().try_for_each(|one| when::validity(one, rules, situation.clock, new, passed))?;
    when::freshness(new, &situation.stale, passed)?;

    // Does the policy grant no more than was signed?
    said.iter().try_for_each(|one| what::capabilities(one, situation.capabilities, passed))?;

    let until = said.iter().filter_map(|one| when::until(one, rules)).min();
    let release = said.iter().find_map(|one| match &one.statement {
        Statement::Release(release) => Some(release.clone()),
        _ => None,
    });
    let first = said.first().map(|one| one.proof.clone()).ok_or_else(no_bundle)?;
    Ok(Admission {
        slot: rules.slot.clone(),
        first,
        kinds: said.iter().map(|one| one.statement.kind()).collect(),
        proofs: said.into_iter().map(|one| one.proof).collect(),
        release,
        met,
        bundles: bundles.iter().map(|bundle| (bundle.name.to_owned(), sha256(bundle.bytes))).collect(),
        trust: situation.material.digest(),
        revocation_list: situation.revocations.map(Revocations::list),
        new,
        until,
        _every_check_held: Held,
    })
}

fn unusable(error: &RulesError) -> Rejection {
    Rejection::new(Code::Threshold, "a policy that signers can meet", error.to_string()).next("correct the policy")
}

fn bounded(bundles: &[NamedBundle<'_>]) -> Result<(), Rejection> {
    if bundles.is_empty() {
        return Err(no_bundle());
    }
    if bundles.len() > MAX_BUNDLES {
        return Err(Rejection::new(Code::TooMany, format!("at most {MAX_BUNDLES} bundles"), bundles.len().to_string()));
    }
    match bundles.iter().find(|bundle| bundle.bytes.len() as u64 > MAX_BUNDLE) {
        Some(big) => Err(crate::gate::too_big(big.bytes.len() as u64)),
        None => Ok(()),
    }
}

fn no_bundle() -> Rejection {
    Rejection::new(Code::Unsigned, "at least one bundle", "none")
}
