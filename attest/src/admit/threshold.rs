//! Counting signers: one key or identity counts once, and one signer of the policy counts once, however many bundles there are.
//!
//! Runs in: daemon, CLI.
//! Does not: look at a signature; it is given who was proved to have signed, and for which signers of the policy each may count.

use std::collections::BTreeMap;

use crate::evidence::DistinctSigner;

/// Who may count for what: each proved signer once, with the ids of the policy's signers that it is. One key may stand under two ids,
/// and one pattern may match two identities.
pub(crate) type Candidates<'a> = BTreeMap<DistinctSigner, Vec<&'a str>>;

/// The largest set of ids such that each is vouched for by another proved signer: a maximum matching (Kuhn's algorithm), sorted.
pub(crate) fn distinct<'a>(candidates: &Candidates<'a>) -> Vec<&'a str> {
    let mut taken: BTreeMap<&'a str, &DistinctSigner> = BTreeMap::new();
    for signer in candidates.keys() {
        place(signer, candidates, &mut taken, &mut Vec::new());
    }
    taken.into_keys().collect()
}

/// Finds an id for `signer`, moving others to ids of theirs where that makes room. `tried` keeps the search from going round;
/// there are at most as many steps down as there are bundles.
fn place<'a, 'c>(
    signer: &'c DistinctSigner,
    candidates: &'c Candidates<'a>,
    taken: &mut BTreeMap<&'a str, &'c DistinctSigner>,
    tried: &mut Vec<&'a str>,
) -> bool {
    for id in candidates.get(signer).into_iter().flatten() {
        if tried.contains(id) {
            continue;
        }
        tried.push(id);
        let holder = taken.get(id).copied();
        if holder.is_none_or(|holder| place(holder, candidates, taken, tried)) {
            taken.insert(id, signer);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyId;

    fn count(pairs: &[(u8, &[&'static str])]) -> usize {
        let mut candidates = Candidates::new();
        for (key, ids) in pairs {
            candidates.entry(DistinctSigner::Key(KeyId([*key; 32]))).or_default().extend(*ids);
        }
        distinct(&candidates).len()
    }

    #[test]
    fn one_key_counts_once_however_many_bundles_and_names_it_has() {
        assert_eq!(count(&[(1, &["a"]), (1, &["a"])]), 1);
        assert_eq!(count(&[(1, &["a", "b"])]), 1);
        assert_eq!(count(&[(1, &["a", "b"]), (1, &["b", "a"])]), 1);
        assert_eq!(count(&[]), 0);
    }

    #[test]
    fn one_signer_of_the_policy_counts_once_whoever_its_pattern_matches() {
        assert_eq!(count(&[(1, &["ci"]), (2, &["ci"]), (3, &["ci"])]), 1);
        assert_eq!(count(&[(1, &["x", "y", "z"]), (2, &["w"]), (3, &["w"])]), 2);
    }

    #[test]
    fn a_signer_that_may_count_for_two_makes_room_for_one_that_may_not() {
        assert_eq!(count(&[(1, &["a", "b"]), (2, &["a"])]), 2);
        assert_eq!(count(&[(1, &["a", "b"]), (2, &["a", "c"]), (3, &["a"])]), 3);
        assert_eq!(count(&[(1, &["a"]), (2, &["b"])]), 2);
    }
}
