//! The journal's Merkle tree, as RFC 6962, section 2.1, has it: one leaf for each frame, in their order.
//!
//! Runs in: daemon (grows it), CLI (checks it).
//! Does not: keep leaves. A tree that only grows needs one hash for each bit of its size.

use aws_lc_rs::digest;

/// A hash of the tree: SHA-256.
pub type Hash = [u8; 32];

/// SHA-256 of these pieces, one after the other.
pub(crate) fn sha256(pieces: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    // The algorithm's digest has 32 bytes, always.
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// The hash above two others: SHA-256 of a one byte, the left and the right.
pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// A tree that only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    /// The roots of its complete subtrees, the largest first: one for each bit that is set in `size`.
    peaks: Vec<Hash>,
}

impl Tree {
    /// Adds a leaf at the right.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut rest = self.size;
        while rest & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node(&left, &hash);
            rest >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves it has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its root; SHA-256 of nothing while it is empty.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return sha256(&[]) };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// The hashes that lead from a leaf to the root of the first `size` leaves, the lowest first (RFC 6962, section 2.1.1).
///
/// # Errors
/// What `leaf` returns.
pub(crate) fn path<E>(index: u64, size: u64, leaf: &mut impl FnMut(u64) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
    // From the root downwards: at each step the half without the leaf gives a hash.
    let (mut start, mut len) = (0, size);
    let mut steps = Vec::new();
    while len > 1 {
        let left = (len - 1).checked_ilog2().map_or(1, |bit| 1u64 << bit);
        if index - start < left {
            steps.push((start + left, len - left));
            len = left;
        } else {
            steps.push((start, left));
            (start, len) = (start + left, len - left);
        }
    }
    steps.into_iter().rev().map(|(start, len)| range(start, len, leaf)).collect()
}

/// The root of `len` leaves from `start` on.
fn range<E>(start: u64, len: u64, leaf: &mut impl FnMut(u64) -> Result<Hash, E>) -> Result<Hash, E> {
    let mut tree = Tree::default();
    for number in start..start.saturating_add(len) {
        tree.push(leaf(number)?);
    }
    Ok(tree.root())
}

/// The root that a leaf and the hashes beside its path lead to (RFC 9162, section 2.1.3.2); nothing if they cannot belong to a tree of this size.
pub(crate) fn root_by_path(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let (mut at, mut hash) = (index, *leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(beside, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::convert::Infallible;

    use super::*;

    fn leaf(data: &[u8]) -> Hash {
        sha256(&[&[0], data])
    }

    /// The eight inputs and the roots that certificate-transparency implementations test with.
    #[test]
    fn roots_are_those_of_the_published_vectors() {
        let inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(hex::encode(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (input, root) in inputs.iter().zip(roots) {
            tree.push(leaf(&hex::decode(input).unwrap()));
            assert_eq!(hex::encode(tree.root()), root);
        }
    }

    #[test]
    fn every_leaf_of_every_tree_is_proven_and_no_other_is() {
        let leaves: Vec<Hash> = (0..70u8).map(|n| leaf(&[n])).collect();
        let mut tree = Tree::default();
        for size in 1..=leaves.len() as u64 {
            tree.push(leaves[size as usize - 1]);
            for index in 0..size {
                let path = path(index, size, &mut |at| Ok::<_, Infallible>(leaves[at as usize])).unwrap();
                let proven = |leaf: &Hash, index, size, path: &[Hash]| root_by_path(leaf, index, size, path) == Some(tree.root());
                let own = &leaves[index as usize];
                assert!(proven(own, index, size, &path));
                assert!(!proven(&leaf(b"other"), index, size, &path));
                assert!(!proven(own, index ^ 1, size, &path) || size == 1);
                assert!(!proven(own, index, size, &[path.as_slice(), &[[0; 32]]].concat()));
                if !path.is_empty() {
                    assert!(!proven(own, index, size, &path[1..]));
                }
            }
        }
        assert_eq!(root_by_path(&leaves[0], 0, 0, &[]), None);
    }
}
