//! Interior nodes: the keys of 128 children. The root row is a node of four children, the tops of the maps.
//!
//! ```text
//! plaintext: children × { epoch 8 | key 32 }       128 × 40 = 5,120 B; the root row 4 × 40 = 160 B, once 3 × 40 = 120 B
//! ```
//!
//! A child's epoch is the one in which its key was made. It is bound in the header of the child's row, so an older version of a row is
//! refused before its key is even tried.

use zeroize::Zeroizing;

use crate::error::KeysError;
use crate::place::{FANOUT, MAPS, MAPS_EARLIER};
use crate::random;
use crate::secret::{Plaintext, Secret32};

const CHILD: usize = 40;

/// The keys of the children of one place, wiped on drop.
pub(crate) struct Node(Zeroizing<Vec<u8>>);

impl Node {
    /// A node of 128 children with fresh random keys.
    pub(crate) fn fresh(epoch: u64) -> Result<Self, KeysError> {
        Self::of(FANOUT, epoch)
    }

    /// A root node: fresh random keys for the tops of the maps.
    pub(crate) fn fresh_root(epoch: u64) -> Result<Self, KeysError> {
        Self::of(MAPS, epoch)
    }

    fn of(children: usize, epoch: u64) -> Result<Self, KeysError> {
        let mut bytes = Zeroizing::new(vec![0; children * CHILD]);
        random::fill(&mut bytes)?;
        for child in bytes.chunks_exact_mut(CHILD) {
            child[..8].copy_from_slice(&epoch.to_be_bytes());
        }
        Ok(Self(bytes))
    }

    /// Reads an interior node.
    pub(crate) fn parse(plain: &Plaintext) -> Result<Self, KeysError> {
        Self::parse_of(FANOUT, plain)
    }

    /// Reads the root node. One of three maps gets a fresh key for the fourth, which is empty then and is written with the next root.
    pub(crate) fn parse_root(plain: &Plaintext) -> Result<Self, KeysError> {
        if plain.bytes().len() != MAPS_EARLIER * CHILD {
            return Self::parse_of(MAPS, plain);
        }
        let mut root = Self::of(MAPS, 0)?;
        root.0[..plain.bytes().len()].copy_from_slice(plain.bytes());
        Ok(root)
    }

    fn parse_of(children: usize, plain: &Plaintext) -> Result<Self, KeysError> {
        if plain.bytes().len() != children * CHILD {
            return Err(KeysError::Damaged);
        }
        Ok(Self(Zeroizing::new(plain.bytes().to_vec())))
    }

    /// A second copy to change. Not `Clone`: every copy is written out as such.
    pub(crate) fn duplicate(&self) -> Self {
        Self(Zeroizing::new(self.0.to_vec()))
    }

    /// The epoch and key of the child at `digit`.
    pub(crate) fn child(&self, digit: usize) -> Result<(u64, Secret32), KeysError> {
        let child = self.0.chunks_exact(CHILD).nth(digit).ok_or(KeysError::Damaged)?;
        let (epoch, key) = child.split_first_chunk::<8>().ok_or(KeysError::Damaged)?;
        Ok((u64::from_be_bytes(*epoch), Secret32::from_slice(key)?))
    }

    /// Gives the child at `digit` another key; the one before is overwritten.
    pub(crate) fn set(&mut self, digit: usize, epoch: u64, key: &Secret32) -> Result<(), KeysError> {
        let child = self.0.chunks_exact_mut(CHILD).nth(digit).ok_or(KeysError::Damaged)?;
        child[..8].copy_from_slice(&epoch.to_be_bytes());
        child[8..].copy_from_slice(key.bytes());
        Ok(())
    }

    /// The plaintext.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number of children.
    pub(crate) fn len(&self) -> usize {
        self.0.len() / CHILD
    }
}
