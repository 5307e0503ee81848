//! A Merkle tree as logs have it (RFC 6962 §2.1), small enough to be computed anew for every question.
//!
//! Runs in: tests.

use crate::keys::sha256;

pub(crate) fn leaf(data: &[u8]) -> [u8; 32] {
    sha256(&[&[0], data].concat())
}

fn node(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    sha256(&[&[1][..], &left, &right].concat())
}

/// The root over leaf hashes.
pub(crate) fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(&[]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node(root(left), root(right))
        }
    }
}

/// The hashes that lead from leaf `index` to the root, beginning at the leaf.
pub(crate) fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut below, beside) = if index < at { (path(index, left), root(right)) } else { (path(index - at, right), root(left)) };
    below.push(beside);
    below
}

/// The largest power of two below `size`.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}
