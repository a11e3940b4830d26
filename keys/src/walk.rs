//! Going through the trees place by place: what turning over every key of them needs.
//!
//! The walk is in the order of map and bits, so one [`Leaf`] says how far it has come, whatever splits meanwhile. A place is left alone when
//! its key is younger than the walk. An interior node whose own key is old is put right together with any one leaf below it, since a
//! transition gives new keys to a whole way.

use crate::error::KeysError;
use crate::hierarchy::Hierarchy;
use crate::place::{MAPS, Place, SUBJECTS, SYSTEM, alias_map, is_alias_map};
use crate::rows::Rows;
use crate::secret::Secret32;
use crate::tree::Tree;

/// A place of the trees that has no places below it, by the bits that lead to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    pub(crate) map: u8,
    pub(crate) bits: u128,
}

/// Bytes of a [`Leaf`].
const BYTES: usize = 17;

impl Leaf {
    /// `map 1 | bits 16`, which sort like the leaves.
    pub fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [self.map; BYTES];
        bytes[1..].copy_from_slice(&self.bits.to_be_bytes());
        bytes
    }

    /// The leaf of these bytes; `None` when they are none's.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (map, bits) = bytes.split_first()?;
        let bits = u128::from_be_bytes(bits.try_into().ok()?);
        (usize::from(*map) < MAPS).then_some(Self { map: *map, bits })
    }

    /// How much of all the trees lies before it, in thousandths: three quarters are taken for the subjects' tree, a quarter for the aliases'.
    pub fn permille(&self) -> u16 {
        let part = (self.bits >> 112) as u32;
        let (before, share) = match self.map {
            SUBJECTS => (0, 750),
            SYSTEM => (999, 0),
            _ => (750, 249),
        };
        before + (part * share / 0xffff) as u16
    }
}

/// A stretch of the walk.
#[derive(Debug)]
pub struct Walked {
    /// Leaves whose way has a key that is to be turned over: [`Shred::Leaf`](crate::Shred::Leaf).
    pub stale: Vec<Leaf>,
    /// Leaves that were looked at.
    pub looked_at: u64,
    /// The last of them, where there may be more; `None` at the end.
    pub next: Option<Leaf>,
}

impl Hierarchy {
    /// Looks at the next `most` leaves after `after`, and finds those on whose way a key was made in `epoch` or before.
    ///
    /// For the one committer: what it finds holds until the next change.
    ///
    /// # Errors
    /// [`KeysError::Misuse`] while a transition is open, [`KeysError::Damaged`], [`KeysError::Rows`].
    pub fn walk(&self, rows: &dyn Rows, epoch: u64, after: Option<Leaf>, most: usize) -> Result<Walked, KeysError> {
        let living: Vec<u8> = self.system().index.iter().map(|keys| alias_map(keys.generation)).collect();
        self.opened.change(rows, |tree| {
            let mut walk = Walk {
                tree,
                epoch,
                after,
                most: most.max(1) as u64,
                stale: Vec::new(),
                looked_at: 0,
                last: after,
                is_full: false,
            };
            for map in 0..MAPS as u8 {
                // What lies in the tree of aliases that no living index key leads to opens under nothing any more.
                let is_dead = is_alias_map(map) && !living.contains(&map);
                if is_dead || after.is_some_and(|after| after.map > map) {
                    continue;
                }
                let (made, key) = tree.view.root.child(usize::from(map))?;
                walk.visit(Place::top(map), (made, &key))?;
            }
            let next = walk.last.filter(|_| walk.is_full);
            Ok(Walked { stale: walk.stale, looked_at: walk.looked_at, next })
        })
    }
}

struct Walk<'a> {
    tree: &'a Tree<'a>,
    epoch: u64,
    after: Option<Leaf>,
    most: u64,
    stale: Vec<Leaf>,
    looked_at: u64,
    last: Option<Leaf>,
    is_full: bool,
}

impl Walk<'_> {
    fn visit(&mut self, place: Place, (made, key): (u64, &Secret32)) -> Result<(), KeysError> {
        let first = Leaf { map: place.map, bits: first_bits(place) };
        let Some(node) = self.tree.interior(place, made, key)? else {
            if self.after.is_some_and(|after| first <= after) {
                return Ok(());
            }
            if self.looked_at == self.most {
                self.is_full = true;
                return Ok(());
            }
            self.looked_at += 1;
            self.last = Some(first);
            if made <= self.epoch {
                self.stale.push(first);
            }
            return Ok(());
        };
        let found = self.stale.len();
        for digit in 0..node.len() {
            let child = place.child(digit);
            let end = Leaf { map: place.map, bits: last_bits(child) };
            if self.after.is_some_and(|after| end <= after) {
                continue;
            }
            let (made, key) = node.child(digit)?;
            self.visit(child, (made, &key))?;
            if self.is_full {
                return Ok(());
            }
        }
        if made <= self.epoch && self.stale.len() == found {
            self.stale.push(first);
        }
        Ok(())
    }
}

/// The smallest bits that lead through a place.
const fn first_bits(place: Place) -> u128 {
    if place.level == 0 { 0 } else { (place.index as u128) << (128 - 7 * place.level as u32) }
}

/// The largest bits that lead through a place.
const fn last_bits(place: Place) -> u128 {
    if place.level == 0 { u128::MAX } else { first_bits(place) | (u128::MAX >> (7 * place.level as u32)) }
}

/// Ways for a transition: the bits of the leaves of one map, with nothing to do at their end.
pub(crate) fn ways<V>(leaves: impl Iterator<Item = Leaf>, map: u8) -> impl Iterator<Item = (u128, Option<V>)> {
    leaves.filter(move |leaf| leaf.map == map).map(|leaf| (leaf.bits, None))
}
