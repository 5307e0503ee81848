//! Who said what: one bundle heard, each statement asked for, and enough distinct signers counted.
//!
//! Runs in: daemon, CLI.

use std::collections::BTreeMap;

use super::Met;
use super::NamedBundle;
use super::Said;
use super::Situation;
use super::threshold;
use super::threshold::Candidates;
use crate::clock::Clock;
use crate::evidence;
use crate::evidence::Artifact;
use crate::evidence::Proof;
use crate::evidence::Signed;
use crate::evidence::note;
use crate::material::TrustMaterial;
use crate::module::ModuleDigest;
use crate::module::sha256;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::revoke::Revocations;
use crate::rules::Requirement;
use crate::rules::Rules;
use crate::rules::Wanted;
use crate::signer::Signer;
use crate::statement;
use crate::statement::Provenance;
use crate::statement::Statement;
use crate::statement::StatementKind;

/// One bundle: evidence, then whether its signer still counts, then what it says.
pub(super) fn hear<'a>(
    bundle: &NamedBundle<'_>,
    artifact: Artifact<'_>,
    signers: &'a [Signer],
    situation: &Situation<'_>,
    passed: &mut Vec<Passed>,
) -> Result<Said<'a>, Rejection> {
    let evidence = evidence::verify(bundle.bytes, artifact, signers, situation.material, passed)?;
    if let Some(list) = situation.revocations {
        list.check_proof(&evidence.proof)?;
    }
    let statement = match evidence.signed {
        Signed::Message => Statement::Signature,
        Signed::Statement(payload) => statement::parse(&payload, ModuleDigest(artifact.sha256()))?,
    };
    note(passed, Check::Statement, "a statement about this module alone", format!("`{}`", statement.kind()));
    let signers = evidence.signers.iter().filter_map(|place| signers.get(*place)).collect();
    Ok(Said { signers, proof: evidence.proof, statement })
}

/// Where there are several bundles, what was found is found in one of them, and a reader must know in which.
pub(super) fn in_its_bundle<T>(
    bundle: &NamedBundle<'_>,
    of: usize,
    heard: Result<T, Rejection>,
    passed: Option<&mut [Passed]>,
) -> Result<T, Rejection> {
    if of == 1 {
        return heard;
    }
    let place = format!(" in {}", shown(bundle.name));
    passed.into_iter().flatten().for_each(|check| check.found.push_str(&place));
    heard.map_err(|mut rejection| {
        rejection.found.push_str(&place);
        rejection
    })
}

/// Some requirement must ask this signer for this kind of statement, and what the statement says must answer it.
pub(super) fn asked_for(said: &Said<'_>, rules: &Rules) -> Result<(), Rejection> {
    let mut first = None;
    for requirement in &rules.requirements {
        match answers(said, requirement) {
            Answer::Yes => return Ok(()),
            Answer::No(rejection) => {
                first.get_or_insert(rejection);
            }
            Answer::NotAsked => {}
        }
    }
    Err(first.map_or_else(|| unwanted(said, rules), |rejection| *rejection))
}

enum Answer {
    Yes,
    No(Box<Rejection>),
    NotAsked,
}

fn answers(said: &Said<'_>, requirement: &Requirement) -> Answer {
    if !said.is_of(&requirement.signers) || !requirement.statement.asks_for(said.statement.kind()) {
        return Answer::NotAsked;
    }
    match (&requirement.statement, &said.statement) {
        (Wanted::Provenance { builders, build_types, parameters }, Statement::Provenance(found)) => {
            match built_as_wanted(found, builders, build_types, parameters.as_ref()) {
                Ok(()) => Answer::Yes,
                Err(rejection) => Answer::No(Box::new(rejection)),
            }
        }
        _ => Answer::Yes,
    }
}

fn built_as_wanted(
    found: &Provenance,
    builders: &[String],
    build_types: &[String],
    parameters: Option<&BTreeMap<String, String>>,
) -> Result<(), Rejection> {
    if !builders.contains(&found.builder) {
        return Err(Rejection::new(Code::Builder, format!("builder {}", list(builders)), shown(&found.builder)));
    }
    if !build_types.is_empty() && !build_types.contains(&found.build_type) {
        return Err(Rejection::new(Code::BuildParameters, format!("build type {}", list(build_types)), shown(&found.build_type)));
    }
    match parameters.and_then(|wanted| found.differs_from(wanted)) {
        Some((expected, found)) => Err(Rejection::new(Code::BuildParameters, expected, found)),
        None => Ok(()),
    }
}

fn unwanted(said: &Said<'_>, rules: &Rules) -> Rejection {
    let asked: Vec<String> = rules
        .requirements
        .iter()
        .filter(|requirement| said.is_of(&requirement.signers))
        .map(|requirement| requirement.statement.to_string())
        .collect();
    let asked = if asked.is_empty() { "no statement".to_owned() } else { asked.join(" or ") };
    let signer = shown(&said.proof.signer);
    Rejection::new(Code::UnwantedStatement, format!("{asked} from {signer}"), format!("`{}`", said.statement.kind()))
}

/// Holds every requirement against what was said.
pub(super) fn requirements_met(said: &[Said<'_>], rules: &Rules, passed: &mut Vec<Passed>) -> Result<Vec<Met>, Rejection> {
    rules.requirements.iter().map(|requirement| count(said, requirement, passed)).collect()
}

fn count(said: &[Said<'_>], requirement: &Requirement, passed: &mut Vec<Passed>) -> Result<Met, Rejection> {
    let mut candidates = Candidates::new();
    for one in said.iter().filter(|one| matches!(answers(one, requirement), Answer::Yes)) {
        let ids = one.signers.iter().map(|signer| signer.id.as_str()).filter(|id| requirement.signers.iter().any(|wanted| wanted == id));
        candidates.entry(one.proof.distinct()).or_default().extend(ids);
    }
    let signers: Vec<String> = threshold::distinct(&candidates).into_iter().map(str::to_owned).collect();
    let expected = format!("{} of {} from {}", requirement.threshold, requirement.statement, list(&requirement.signers));
    let found = if signers.is_empty() { "none".to_owned() } else { format!("{}: {}", signers.len(), list(&signers)) };
    if signers.len() < requirement.threshold as usize {
        return Err(too_few(said, requirement, &signers, expected, found));
    }
    note(passed, Check::Threshold, expected, found);
    Ok(Met { statement: requirement.statement.as_str(), threshold: requirement.threshold, signers })
}

/// Says who has signed and who still can; and why somebody who seems to have signed twice counts once.
fn too_few(said: &[Said<'_>], requirement: &Requirement, signers: &[String], expected: String, found: String) -> Rejection {
    let left: Vec<String> = requirement.signers.iter().filter(|id| !signers.contains(id)).cloned().collect();
    let rejection = Rejection::new(Code::Threshold, expected, found);
    let bundles = said.iter().filter(|one| matches!(answers(one, requirement), Answer::Yes)).count();
    let missing = (requirement.threshold as usize).saturating_sub(signers.len());
    let once = if bundles > signers.len() { "; a signer counts once, however many bundles it made" } else { "" };
    let what = &requirement.statement;
    rejection.next(format!("get {missing} more of {what} from {}{once}", list(&left)))
}

/// Up to four names, and how many more there are.
fn list(names: &[String]) -> String {
    const LISTED: usize = 4;
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| shown(name)).collect();
    match names.len().saturating_sub(LISTED) {
        0 => listed.join(", "),
        more => format!("{} or {more} more", listed.join(", ")),
    }
}

/// Proves that one of `signers` signed exactly this policy text, by a message signature as `sign --policy` makes it, for hosts that accept no other policies.
///
/// A module cannot be passed off as a policy nor a policy as a module, although both are signed as bytes: a module begins with a zero byte, which no policy text holds.
///
/// # Errors
/// The first check that fails, as a [`Rejection`]; [`Code::UnwantedStatement`] if the bundle holds a statement.
pub fn verify_policy_text(
    text: &[u8],
    bundle: &[u8],
    signers: &[Signer],
    material: &TrustMaterial,
    revocations: Option<&Revocations>,
    clock: &Clock,
    passed: &mut Vec<Passed>,
) -> Result<Proof, Rejection> {
    let artifact = Artifact::Bytes { bytes: text, sha256: sha256(text) };
    let evidence = evidence::verify(bundle, artifact, signers, material, passed)?;
    if evidence.signed != Signed::Message {
        return Err(Rejection::new(
            Code::UnwantedStatement,
            format!("a `{}` over the policy's text", StatementKind::Signature),
            "a statement in an envelope",
        )
        .next("sign the policy with `edgeguard sign --policy`"));
    }
    if let Some(list) = revocations {
        list.check_proof(&evidence.proof)?;
    }
    let signers = evidence.signers.iter().filter_map(|place| signers.get(*place)).collect();
    let said = Said { signers, proof: evidence.proof, statement: Statement::Signature };
    Ok(super::when::in_use(said, clock, true, passed)?.proof)
}
