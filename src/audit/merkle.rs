//! The Merkle tree of RFC 6962 §2.1: its growing edge, roots, inclusion and consistency proofs, and their verification.

use keys::digest::{node_hash, same, sha256};

/// A SHA-256 hash of a leaf, a node or a tree.
pub type Hash = [u8; 32];

/// The growing edge of a tree: the roots of its complete subtrees, largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree of `size` leaves with these complete subtrees; `None` when their number does not fit.
    pub fn of(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. `completed` is told every complete subtree that it makes, by height, the leaf (height 0) first.
    pub fn push(&mut self, leaf: Hash, mut completed: impl FnMut(u32, &Hash)) {
        let mut node = leaf;
        completed(0, &node);
        for height in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            completed(height + 1, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root; of no leaves it is the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => sha256(&[]),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// Where complete subtrees can be looked up: `(height, index)` is the root over leaves `index << height .. (index + 1) << height`.
pub trait Nodes {
    /// Why a node could not be read.
    type Error;
    /// The root of one complete subtree.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// MTH(D[start..end]): the root over some leaves, where `start` is a multiple of the power of two that covers the range.
pub fn range_root<N: Nodes>(nodes: &mut N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let width = end - start;
    if width == 0 {
        return Ok(sha256(&[]));
    }
    if width.is_power_of_two() {
        let height = width.trailing_zeros();
        return nodes.node(height, start >> height);
    }
    let split = start + split_of(width);
    Ok(node_hash(&range_root(nodes, start, split)?, &range_root(nodes, split, end)?))
}

/// PATH(index, D[0..size]) of RFC 6962 §2.1.1, leaf's sibling first. `index < size`.
pub fn inclusion<N: Nodes>(nodes: &mut N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let split = start + split_of(end - start);
        if index < split {
            path.push(range_root(nodes, split, end)?);
            end = split;
        } else {
            path.push(range_root(nodes, start, split)?);
            start = split;
        }
    }
    path.reverse();
    Ok(path)
}

/// PROOF(from, D[0..to]) of RFC 6962 §2.1.2. Empty where `from` is 0 or equals `to`.
pub fn consistency<N: Nodes>(nodes: &mut N, from: u64, to: u64) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    if from == 0 || from >= to {
        return Ok(path);
    }
    let (mut start, mut end) = (0, to);
    while from != end {
        let split = start + split_of(end - start);
        if from <= split {
            path.push(range_root(nodes, split, end)?);
            end = split;
        } else {
            path.push(range_root(nodes, start, split)?);
            start = split;
        }
    }
    if start != 0 {
        path.push(range_root(nodes, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` shows that `leaf` stands at `index` in the tree of `size` leaves under `root` (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last) = (index, size - 1);
    let mut node = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            node = node_hash(sibling, &node);
            let up = if place & 1 == 1 { 0 } else { place.trailing_zeros() };
            place = place.checked_shr(up).unwrap_or(0);
            last = last.checked_shr(up).unwrap_or(0);
        } else {
            node = node_hash(&node, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && same(&node, root)
}

/// Whether `path` shows that the tree of `to` leaves only adds to the tree of `from` leaves (RFC 9162 §2.1.4.2).
pub fn verify_consistency(from: u64, to: u64, root_from: &Hash, root_to: &Hash, path: &[Hash]) -> bool {
    if from == 0 || from == to {
        let fits = if from == to { same(root_from, root_to) } else { same(root_from, &sha256(&[])) };
        return from <= to && path.is_empty() && fits;
    }
    if from > to {
        return false;
    }
    let mut rest = path.iter();
    let first = if from.is_power_of_two() { Some(root_from) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut old, mut new) = (*first, *first);
    let up = (from - 1).trailing_ones();
    let mut place = (from - 1).checked_shr(up).unwrap_or(0);
    let mut last = (to - 1).checked_shr(up).unwrap_or(0);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            let up = if place & 1 == 1 { 0 } else { place.trailing_zeros() };
            place = place.checked_shr(up).unwrap_or(0);
            last = last.checked_shr(up).unwrap_or(0);
        } else {
            new = node_hash(&new, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && same(&old, root_from) && same(&new, root_to)
}

/// The largest power of two below `width`, which is at least 2.
fn split_of(width: u64) -> u64 {
    1 << (63 - (width - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use keys::digest::leaf_hash;

    use super::*;

    /// A tree held as its leaves: RFC 6962 §2.1 word for word, and nothing else.
    struct Naive(Vec<Hash>);

    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [leaf] => *leaf,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    impl Nodes for Naive {
        type Error = Infallible;
        fn node(&mut self, height: u32, index: u64) -> Result<Hash, Infallible> {
            let (start, end) = ((index << height) as usize, ((index + 1) << height) as usize);
            Ok(mth(&self.0[start..end]))
        }
    }

    fn naive_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() < 2 {
            return Vec::new();
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut path, other) = if m < k {
            (naive_path(m, &leaves[..k]), mth(&leaves[k..]))
        } else {
            (naive_path(m - k, &leaves[k..]), mth(&leaves[..k]))
        };
        path.push(other);
        path
    }

    /// SUBPROOF of RFC 6962 §2.1.2.
    fn naive_proof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { Vec::new() } else { vec![mth(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut proof, other) = if m <= k {
            (naive_proof(m, &leaves[..k], whole), mth(&leaves[k..]))
        } else {
            (naive_proof(m - k, &leaves[k..], false), mth(&leaves[..k]))
        };
        proof.push(other);
        proof
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    fn hex(text: &str) -> Hash {
        let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
        let bytes: Vec<_> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().unwrap()
    }

    /// The leaves, roots and proofs that the reference implementation of Certificate Transparency is tested with.
    #[test]
    fn the_tree_agrees_with_certificate_transparency() {
        let data: [&[u8]; 8] =
            [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43", b"PQRSTUVW", b"`abcdefghijklmno"];
        let leaves: Vec<_> = data.into_iter().map(leaf_hash).collect();
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
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root(), hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        for (leaf, root) in leaves.iter().zip(roots) {
            frontier.push(*leaf, |_, _| {});
            assert_eq!(frontier.root(), hex(root));
        }
        let mut tree = Naive(leaves);
        assert_eq!(
            inclusion(&mut tree, 0, 8).unwrap(),
            [
                hex("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"),
                hex("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
                hex("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"),
            ]
        );
        assert_eq!(
            consistency(&mut tree, 6, 8).unwrap(),
            [
                hex("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
                hex("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
                hex("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
            ]
        );
    }

    #[test]
    fn every_root_up_to_300_leaves_is_the_naive_one() {
        let leaves = leaves(300);
        let mut frontier = Frontier::default();
        for size in 0..300 {
            assert_eq!(frontier.root(), mth(&leaves[..size]), "size {size}");
            assert_eq!(range_root(&mut Naive(leaves.clone()), 0, size as u64).unwrap(), frontier.root(), "size {size}");
            frontier.push(leaves[size], |_, _| {});
        }
    }

    #[test]
    fn every_inclusion_proof_up_to_300_leaves_is_the_naive_one_and_holds() {
        let leaves = leaves(300);
        let mut tree = Naive(leaves.clone());
        for size in (1..40).chain([63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 299, 300]) {
            let root = mth(&leaves[..size]);
            for index in 0..size {
                let path = inclusion(&mut tree, index as u64, size as u64).unwrap();
                assert_eq!(path, naive_path(index, &leaves[..size]), "{index} of {size}");
                let holds = |index: usize, size: usize, leaf, path: &[Hash]| {
                    verify_inclusion(index as u64, size as u64, leaf, path, &root)
                };
                assert!(holds(index, size, &leaves[index], &path), "{index} of {size}");
                let other = leaf_hash(b"other");
                assert!(!holds(index, size, &other, &path));
                assert!(index + 1 >= size || !holds(index + 1, size, &leaves[index], &path));
                assert!(!holds(index, size, &leaves[index], &[&path[..], &[other]].concat()));
                assert!(path.is_empty() || !holds(index, size, &leaves[index], &path[1..]));
                assert!(path.is_empty() || !holds(index, size, &leaves[index], &path[..path.len() - 1]));
            }
            assert!(!verify_inclusion(size as u64, size as u64, &leaves[0], &[], &root));
        }
    }

    #[test]
    fn every_consistency_proof_between_sizes_up_to_300_is_the_naive_one_and_holds() {
        let leaves = leaves(300);
        let mut tree = Naive(leaves.clone());
        let roots: Vec<_> = (0..=300).map(|size| mth(&leaves[..size])).collect();
        for to in (1..40).chain([64, 65, 127, 128, 256, 257, 300]) {
            for from in 0..=to {
                let path = consistency(&mut tree, from as u64, to as u64).unwrap();
                let naive = if from == 0 { Vec::new() } else { naive_proof(from, &leaves[..to], true) };
                assert_eq!(path, naive, "{from} to {to}");
                let holds = |old: &Hash, new: &Hash, path: &[Hash]| verify_consistency(from as u64, to as u64, old, new, path);
                assert!(holds(&roots[from], &roots[to], &path), "{from} to {to}");
                let other = leaf_hash(b"other");
                assert!(!holds(&other, &roots[to], &path), "{from} to {to}");
                assert!(from == 0 || !holds(&roots[from], &other, &path), "{from} to {to}");
                assert!(!holds(&roots[from], &roots[to], &[&path[..], &[other]].concat()), "{from} to {to}");
            }
            assert!(!verify_consistency(to as u64 + 1, to as u64, &roots[to], &roots[to], &[]));
        }
    }

    #[test]
    fn proofs_with_numbers_beyond_any_tree_are_refused_without_a_panic() {
        let hash = leaf_hash(b"");
        for number in [u64::MAX, u64::MAX - 1, 1 << 63] {
            assert!(!verify_inclusion(number - 1, number, &hash, &[hash; 70], &hash));
            assert!(!verify_consistency(number - 1, number, &hash, &hash, &[hash; 70]));
            assert!(!verify_consistency(1, number, &hash, &hash, &[hash; 70]));
        }
    }
}
