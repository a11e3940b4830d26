//! Where a row of the key trees lies, and the row key that names it.
//!
//! ```text
//! row key:  0 1 'n' | 1 1 map | 2 1 level | 3 4 index        root row: map 0xff, level 0, index 0
//! ```
//!
//! A tree is a trie over 128 bits, seven bits a level from the most significant. The index of a place is the path to it,
//! so level 4 (28 bits) is the last whose index fits its four bytes with every digit whole.

use crate::context::Id;

/// Children of an interior node.
pub(crate) const FANOUT: usize = 128;

/// The deepest level. A bucket there that overflows is [`crate::KeysError::Full`].
pub(crate) const DEEPEST: u8 = 4;

/// Subjects' entries, by subject id.
pub(crate) const SUBJECTS: u8 = 0;
/// Aliases, by a keyed digest of their tag, under index keys of even generations.
pub(crate) const ALIASES: u8 = 1;
/// The vault's own keys.
pub(crate) const SYSTEM: u8 = 2;
/// Aliases under index keys of odd generations. While the index keys turn over there are aliases in both; then one top key is all that
/// has to go.
pub(crate) const ALIASES_ODD: u8 = 3;
/// Number of maps, which is the number of keys in the root row.
pub(crate) const MAPS: usize = 4;
/// Maps of a root row from before [`ALIASES_ODD`].
pub(crate) const MAPS_EARLIER: usize = 3;

/// The map of the aliases under index keys of a generation.
pub(crate) const fn alias_map(generation: u32) -> u8 {
    if generation.is_multiple_of(2) { ALIASES } else { ALIASES_ODD }
}

/// Whether aliases lie in a map.
pub(crate) const fn is_alias_map(map: u8) -> bool {
    map == ALIASES || map == ALIASES_ODD
}

/// First byte of the row key of every tree row.
pub(crate) const PREFIX: u8 = b'n';

/// A place in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) map: u8,
    pub(crate) level: u8,
    pub(crate) index: u32,
}

impl Place {
    /// The row that holds the three top keys.
    pub(crate) const ROOT: Self = Self { map: 0xff, level: 0, index: 0 };

    /// The top of a map.
    pub(crate) const fn top(map: u8) -> Self {
        Self { map, level: 0, index: 0 }
    }

    /// The place below this one at `digit` (0..128).
    pub(crate) const fn child(self, digit: usize) -> Self {
        Self { map: self.map, level: self.level + 1, index: (self.index << 7) | (digit as u32 & 0x7f) }
    }

    /// The place above this one.
    pub(crate) const fn parent(self) -> Option<Self> {
        match self.level.checked_sub(1) {
            Some(level) => Some(Self { map: self.map, level, index: self.index >> 7 }),
            None => None,
        }
    }

    /// Which child of its parent this is.
    pub(crate) const fn digit(self) -> usize {
        (self.index & 0x7f) as usize
    }

    /// The row key of this place.
    pub(crate) fn row_key(self) -> [u8; 7] {
        let [a, b, c, d] = self.index.to_be_bytes();
        [PREFIX, self.map, self.level, a, b, c, d]
    }

    /// The place a row key names, or `None` when it is not the row key of a tree row.
    pub(crate) fn parse(row_key: &[u8]) -> Option<Self> {
        match *row_key {
            [PREFIX, map, level, a, b, c, d] if level <= DEEPEST => {
                Some(Self { map, level, index: u32::from_be_bytes([a, b, c, d]) })
            }
            _ => None,
        }
    }
}

/// Which child of a node at `level` leads to `bits`.
pub(crate) const fn digit(bits: u128, level: u8) -> usize {
    ((bits >> (128 - 7 * (level as u32 + 1))) & 0x7f) as usize
}

/// The bits that a subject lies under: its id, which is random.
pub(crate) const fn subject_bits(id: &Id) -> u128 {
    u128::from_be_bytes(*id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_path_that_leads_to_it() {
        let bits = u128::from_be_bytes([0b1000_0001, 0b0100_0000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(digit(bits, 0), 0b100_0000);
        assert_eq!(digit(bits, 1), 0b101_0000);
        let place = Place::top(1).child(digit(bits, 0)).child(digit(bits, 1));
        assert_eq!(place, Place { map: 1, level: 2, index: (0b100_0000 << 7) | 0b101_0000 });
        assert_eq!(Place::parse(&place.row_key()), Some(place));
        assert_eq!(Place::parse(b"n"), None);
    }

    #[test]
    fn the_deepest_index_fits_its_four_bytes() {
        let mut place = Place::top(0);
        for _ in 0..DEEPEST {
            place = place.child(127);
        }
        assert_eq!(place.index, (1 << 28) - 1);
    }
}
