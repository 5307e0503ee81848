//! Whether it is time: keys in use, statements that hold, trust material that is young enough.
//!
//! Runs in: daemon, CLI.
//! A module that was admitted here before is not new. For it a bound that the clock cannot judge is no refusal, or a gateway whose clock lost its
//! battery would not start what it ran yesterday; a bound that has passed for sure is one. What is new is refused in both cases.

use std::time::Duration;

use super::Said;
use crate::clock::Clock;
use crate::evidence::note;
use crate::rejection::Check;
use crate::rejection::Code;
use crate::rejection::Passed;
use crate::rejection::Rejection;
use crate::rejection::shown;
use crate::rules::Rules;
use crate::signer::Signer;
use crate::statement::Validity;
use crate::time::Time;
use crate::trust::Staleness;

/// Where nothing proved when the signature was made, the signer must be in use now: a time that the signer wrote could have been set back.
/// Keeps those of the policy's names for this signer under which it is.
pub(super) fn in_use<'a>(mut said: Said<'a>, clock: &Clock, new: bool, passed: &mut Vec<Passed>) -> Result<Said<'a>, Rejection> {
    if !said.proof.times.is_empty() {
        return Ok(said);
    }
    let mut first = None;
    said.signers.retain(|signer| match within_window(signer, clock, new) {
        Ok(()) => true,
        Err(rejection) => {
            first.get_or_insert(rejection);
            false
        }
    });
    if said.signers.is_empty() {
        // Without a signer there is nobody to ask, which cannot be.
        return Err(first.unwrap_or_else(|| Rejection::new(Code::UnknownKey, "a signer of the policy", "none")));
    }
    if let Some(signer) = said.signers.first() {
        said.proof.signer.clone_from(&signer.id);
        note(passed, Check::Validity, format!("{} in use now", shown(&signer.id)), signer.window.to_string());
    }
    Ok(said)
}

fn within_window(signer: &Signer, clock: &Clock, new: bool) -> Result<(), Rejection> {
    let id = shown(&signer.id);
    if let Some(from) = signer.window.usable_from {
        judged(clock.begun(Code::KeyWindow, from, &format!("`usable-from` of {id}")), new)?;
    }
    if let Some(until) = signer.window.retire_at {
        judged(clock.over(Code::KeyWindow, until, &format!("`retire-at` of {id}")), new)?;
    }
    Ok(())
}

/// The statement's own validity, and the age that the policy allows it.
pub(super) fn validity(said: &Said<'_>, rules: &Rules, clock: &Clock, new: bool, passed: &mut Vec<Passed>) -> Result<(), Rejection> {
    let validity = said.statement.validity();
    if let Some(from) = validity.not_before {
        judged(clock.not_before(from, &format!("`notBefore` of {}", said.by())), new)?;
    }
    if let Some(until) = validity.expires {
        judged(clock.not_after(until, &format!("`expires` of {}", said.by())), new)?;
    }
    if let Some(max_age) = max_age(said, rules) {
        let from = age_from(said).ok_or_else(|| {
            Rejection::new(Code::NoTrustedTime, format!("a proved time or a `notBefore` in {}, to know its age by", said.by()), "neither")
        })?;
        judged(clock.not_after(from.plus(max_age), &format!("the end of `max-age` of {}", said.by())), new)?;
    }
    if validity != Validity::default() {
        note(passed, Check::Validity, format!("{} in force", said.by()), format!("it is at least {}", clock.now_at_least()));
    }
    Ok(())
}

/// The strictest age that somebody who is asked for this statement may have.
fn max_age(said: &Said<'_>, rules: &Rules) -> Option<Duration> {
    let kind = said.statement.kind();
    let asked = rules.requirements.iter().filter(|one| one.statement.asks_for(kind) && said.is_of(&one.signers));
    asked.filter_map(|one| one.statement.max_age()).min()
}

fn age_from(said: &Said<'_>) -> Option<Time> {
    said.proof.times.iter().map(|proved| proved.time).min().or(said.statement.validity().not_before)
}

/// The last second at which all that was judged here is sure to hold: afterwards, judge again. Every bound in it was found to lie ahead.
pub(super) fn until(said: &Said<'_>, rules: &Rules) -> Option<Time> {
    let aged = age_from(said).zip(max_age(said, rules)).map(|(from, max_age)| from.plus(max_age));
    // As in `in_use`: what was proved to be made in a signer's time outlives it.
    let in_use = if said.proof.times.is_empty() { said.signers.as_slice() } else { &[] };
    let retired = in_use.iter().filter_map(|signer| signer.window.retire_at);
    said.statement.validity().expires.into_iter().chain(aged).chain(retired).min()
}

/// Old trust material keeps out what is new.
pub(super) fn freshness(new: bool, stale: &Staleness, passed: &mut Vec<Passed>) -> Result<(), Rejection> {
    if new {
        stale.check_new()?;
    }
    let found = if new { stale.to_string() } else { format!("one that was admitted before; {stale}") };
    note(passed, Check::Freshness, "trust material in force, or a module that is not new", found);
    Ok(())
}

fn judged(result: Result<(), Rejection>, new: bool) -> Result<(), Rejection> {
    match result {
        Err(rejection) if !new && rejection.code == Code::Clock => Ok(()),
        other => other,
    }
}
