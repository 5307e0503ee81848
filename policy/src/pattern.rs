//! Patterns of identities and claims: plain text in which `*` stands for one whole segment.
//!
//! Runs in: daemon and command line.
//! Does not: match anything that was signed; `attest` does, by the same grammar. Here it is checked, and asked how wide it is.

use crate::admission::SignerKind;
use crate::bounds::MAX_PATTERN;

/// What is wrong with a pattern, as a label; nothing if it is well formed.
///
/// Segments end at `/`, `@` and the ends. A `*` is a whole segment, and matches one or more characters that are neither.
pub(crate) fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("nothing between the quotes");
    }
    if text.len() > MAX_PATTERN {
        return Err("longer than 1024 bytes");
    }
    if segments(text).all(|(segment, _)| segment == "*" || segment.is_empty()) {
        return Err("names nothing, so that it would match anybody");
    }
    if segments(text).any(|(segment, _)| segment.contains('*') && segment != "*") {
        return Err("has a `*` beside other characters: it stands for one whole segment between `/` or `@`");
    }
    Ok(())
}

/// Whether some text matches both.
pub(crate) fn meet(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (segments(a), segments(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some((a, a_end)), Some((b, b_end))) => {
                let same = a == b || (a == "*" && !b.is_empty()) || (b == "*" && !a.is_empty());
                if !same || a_end != b_end {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Whether every text that matches `narrow` matches `wide`.
#[cfg(feature = "tools")]
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (segments(wide), segments(narrow));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some((w, w_end)), Some((n, n_end))) => {
                if !(w == n || (w == "*" && !n.is_empty())) || w_end != n_end {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// How a keyless signer is wider than it looks, as a label.
pub(crate) fn wide(signer: &SignerKind) -> Option<String> {
    let SignerKind::Keyless { identity, claims, .. } = signer else { return None };
    let pinned = |names: &[&str]| names.iter().any(|name| claims.get(*name).is_some_and(|value| !value.contains('*')));
    let mut found: Vec<String> = Vec::new();
    if let Some((_, rest)) = identity.split_once("://") {
        let (place, reference) = rest.split_once('@').unwrap_or((rest, ""));
        let mut parts = place.split('/');
        if parts.next() == Some("*") {
            found.push("any host".to_owned());
        }
        // GitHub has OWNER/REPOSITORY; GitLab has as many groups as it likes, and ends the project's path with an empty segment.
        let path: Vec<&str> = parts.collect();
        let depth = path.iter().position(|part| part.is_empty()).unwrap_or(2);
        let wild = |i: usize| path.get(i).is_some_and(|part| *part == "*");
        let is_web = identity.starts_with("https://");
        if is_web && wild(0) && !pinned(&["owner-id", "owner-uri", "repository-id", "repository-uri"]) {
            found.push("any owner, and so a fork by anybody".to_owned());
        } else if is_web && (1..depth).any(wild) && !pinned(&["repository-id", "repository-uri"]) {
            let owner = path.first().map_or("", |owner| owner);
            found.push(format!("any repository of `{owner}`, and whatever is forked into it"));
        }
        let anything = reference.starts_with("refs/*/") || reference.starts_with("refs/pull/");
        if anything && !pinned(&["repository-ref"]) {
            found.push("a pull request, which anybody may open".to_owned());
        }
    } else if let Some((name, host)) = identity.rsplit_once('@') {
        if host == "*" {
            found.push("any mail domain".to_owned());
        } else if name == "*" {
            found.push(format!("anybody with an address at `{host}`"));
        }
    }
    (!found.is_empty()).then(|| format!("matches {}", found.join(", and ")))
}

/// Each segment, and the character it ends at.
fn segments(text: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    text.split_inclusive(['/', '@']).chain(text.ends_with(['/', '@']).then_some("")).map(|part| match part.strip_suffix(['/', '@']) {
        Some(segment) => (segment, part.chars().next_back()),
        None => (part, None),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_star_is_a_whole_segment_or_a_mistake() {
        for good in ["a@example.org", "https://github.com/acme/voice/.github/workflows/r.yml@refs/tags/*", "*@example.org", "/*/x"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "*", "*/*", "*@*", "/", "**", "a*", "https://github.com/acme-*/x", "x@refs/tags/v*", "https://**/x"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&"a".repeat(MAX_PATTERN + 1)).is_err());
    }

    #[test]
    fn patterns_meet_where_one_text_matches_both() {
        for (a, b) in [("a@b", "a@b"), ("*@b", "a@b"), ("*@b", "a@*"), ("x/*/y", "x/z/*"), ("a/", "a/")] {
            assert!(meet(a, b) && meet(b, a), "{a} {b}");
        }
        for (a, b) in [("a@b", "a/b"), ("*@b", "a@c"), ("a/*", "a/"), ("a/*", "a/b/c"), ("a", "a/"), ("a/*", "a@b")] {
            assert!(!meet(a, b) && !meet(b, a), "{a} {b}");
        }
    }

    fn found(identity: &str, claims: &[(&str, &str)]) -> Option<String> {
        let claims: BTreeMap<String, String> = claims.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        wide(&SignerKind::Keyless { issuer: "https://example.org".into(), identity: identity.into(), claims })
    }

    #[test]
    fn a_pattern_that_matches_forks_is_wide_unless_a_claim_pins_it() {
        let owner = "https://github.com/*/voice/.github/workflows/r.yml@refs/tags/*";
        let repository = "https://github.com/acme/*/.github/workflows/r.yml@refs/tags/*";
        assert!(found(owner, &[]).is_some_and(|l| l.contains("any owner")));
        assert!(found(owner, &[("repository-id", "1234")]).is_none());
        assert!(found(owner, &[("owner-id", "12")]).is_none());
        assert!(found(owner, &[("repository-uri", "https://github.com/*/voice")]).is_some());
        assert!(found(repository, &[("owner-id", "12")]).is_some_and(|l| l.contains("any repository of `acme`")));
        assert!(found(repository, &[("repository-id", "1234")]).is_none());
        assert!(found("https://gitlab.com/acme/sub/*//.gitlab-ci.yml@refs/heads/main", &[]).is_some());
        assert!(found("https://github.com/acme/voice/.github/workflows/*@refs/heads/main", &[]).is_none());
        assert!(found("https://*/acme/voice/x", &[("repository-id", "1")]).is_some_and(|l| l.contains("any host")));
        assert!(
            found("https://github.com/acme/voice/.github/workflows/r.yml@refs/*/main", &[]).is_some_and(|l| l.contains("pull request"))
        );
        assert!(found("spiffe://example.org/ns/*/sa/ci", &[]).is_none());
        assert!(found("*@example.org", &[]).is_some() && found("ops@*", &[]).is_some() && found("ops@example.org", &[]).is_none());
    }
}
