//! What was signed, held against what the policy means: the name, the version, the grants.
//!
//! Runs in: daemon, CLI.

use super::Said;
use crate::capabilities::Capabilities;
use crate::evidence::note;
use crate::module::ModuleDigest;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::rules::Rules;
use crate::state::Known;
use crate::statement::Statement;

/// Whoever states a name must state the policy's, even when others have said enough: a vendor's other module is no such module.
pub(super) fn names(said: &[Said<'_>], slot: &str, passed: &mut Vec<Passed>) -> Result<(), Rejection> {
    for one in said {
        let Some(name) = one.statement.name() else { continue };
        let expected = format!("{}, the name in the policy", shown(slot));
        if name != slot {
            return Err(Rejection::new(Code::NameNotSlot, expected, format!("{} in {}", shown(name), one.by())));
        }
        note(passed, Check::Statement, expected, format!("the same in {}", one.by()));
    }
    Ok(())
}

/// The version that the releases state. All who state one must state the same, or nobody could say which was admitted.
pub(super) fn one_version(said: &[Said<'_>]) -> Result<Option<u64>, Rejection> {
    let mut stated = said.iter().filter_map(|one| one.statement.version().map(|version| (version, one)));
    let Some((version, first)) = stated.next() else { return Ok(None) };
    if let Some((other, by)) = stated.find(|(other, _)| *other != version) {
        let expected = format!("version {version} in every statement, as in {}", first.by());
        return Err(Rejection::new(Code::Disagreement, expected, format!("version {other} in {}", by.by())));
    }
    // An approver may say which version it means; only a release gives a version.
    Ok(said.iter().find_map(|one| match &one.statement {
        Statement::Release(release) => Some(release.version),
        _ => None,
    }))
}

/// The floor only rises, and a version stands for one build.
pub(super) fn version_floor(
    version: Option<u64>,
    digest: ModuleDigest,
    rules: &Rules,
    known: Option<&Known>,
    passed: &mut Vec<Passed>,
) -> Result<(), Rejection> {
    let remembered = known.and_then(|known| known.version.map(|version| (version, known.digest)));
    match (version, rules.min_version, remembered) {
        (Some(found), Some(min), _) if found < min => Err(Rejection::new(
            Code::VersionBelowFloor,
            format!("version {min} or later, the policy's `min-version`"),
            format!("version {found}"),
        )),
        (Some(found), _, Some((highest, _))) if found < highest => Err(Rejection::new(
            Code::VersionBelowFloor,
            format!("version {highest} or later, which this host has admitted"),
            format!("version {found}"),
        )),
        (Some(found), _, Some((highest, other))) if found == highest && other != digest => Err(Rejection::new(
            Code::VersionReused,
            format!("version {found} to be the module `{other}`, which this host has admitted"),
            format!("`{digest}`"),
        )),
        (Some(found), min, remembered) => {
            let floor = min.max(remembered.map(|(highest, _)| highest));
            let expected = floor.map_or_else(|| "any version".to_owned(), |floor| format!("version {floor} or later"));
            note(passed, Check::Version, expected, format!("version {found}"));
            Ok(())
        }
        (None, Some(min), _) => Err(unversioned(format!("a `release` of version {min} or later, the policy's `min-version`"))),
        (None, None, Some((highest, other))) if other != digest => {
            Err(unversioned(format!("a `release` of version {highest} or later, which this host has admitted")))
        }
        (None, None, _) => Ok(()),
    }
}

fn unversioned(expected: String) -> Rejection {
    Rejection::new(Code::VersionBelowFloor, expected, "no signed version").next("get a bundle with a `release` from the vendor")
}

/// Every release must allow all that the policy grants.
pub(super) fn capabilities(said: &Said<'_>, granted: &Capabilities, passed: &mut Vec<Passed>) -> Result<(), Rejection> {
    let Statement::Release(release) = &said.statement else { return Ok(()) };
    let expected = format!("no grant beyond those in {}", said.by());
    match release.forbids(granted) {
        Some(wider) => Err(Rejection::new(Code::Capabilities, expected, wider)),
        None => {
            let found = if release.lists_capabilities() { "none beyond" } else { "no list, which allows all" };
            note(passed, Check::Capabilities, expected, found);
            Ok(())
        }
    }
}
