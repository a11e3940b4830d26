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
