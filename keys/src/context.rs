//! What a record is bound to: whose it is, which version, for which purpose groups, under which policy label.

use crate::error::KeysError;

/// A random 128-bit number of something outside this crate: a vault, a tenant, a subject, a record.
pub type Id = [u8; 16];

/// A purpose group: the purposes that share one key of a subject. A number from 1 to 31; what it stands for is decided elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u8);

impl Group {
    /// The highest number of a group.
    pub const LAST: u8 = 31;

    /// The group of holds. A held record's key is wrapped under it while the hold lasts, whatever groups the record was
    /// written for, so it never stands among those that a record is bound to.
    pub const HOLD: Self = Self(Self::LAST);

    /// The group of this number, if it is from 1 to 31.
    pub const fn new(number: u8) -> Option<Self> {
        if number >= 1 && number <= Self::LAST { Some(Self(number)) } else { None }
    }

    /// Its number, 1 to 31.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Group {
    type Error = KeysError;

    fn try_from(number: u8) -> Result<Self, KeysError> {
        Self::new(number).ok_or(KeysError::Misuse("a group is a number from 1 to 31"))
    }
}

/// A set of purpose groups: a bitmap in which bit g stands for group g. Bit 0 is never set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GroupSet(u32);

impl GroupSet {
    /// No group.
    pub const EMPTY: Self = Self(0);

    /// The set of this bitmap, if bit 0 is clear.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & 1 == 0 { Some(Self(bits)) } else { None }
    }

    /// The bitmap.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether the group is in the set.
    pub const fn contains(self, group: Group) -> bool {
        self.0 & (1 << group.0) != 0
    }

    /// Whether every group of `other` is in the set.
    pub const fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many groups there are.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The set and this group.
    #[must_use]
    pub const fn with(self, group: Group) -> Self {
        Self(self.0 | 1 << group.0)
    }

    /// The groups of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The groups of both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The groups that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The groups, by number.
    pub fn iter(self) -> impl Iterator<Item = Group> {
        (1..=Group::LAST).map(Group).filter(move |group| self.contains(*group))
    }
}

impl FromIterator<Group> for GroupSet {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        groups.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// Everything that one version of a record is bound to. It goes into the key and into the associated data and is not stored
/// with the ciphertext, so a row that is moved to another subject, record, version, tenant or vault, or whose label is changed,
/// does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordContext {
    /// The vault.
    pub vault: Id,
    /// The tenant of the vault.
    pub tenant: Id,
    /// Whose record it is.
    pub subject: Id,
    /// The purpose groups that the record was written for. A group stays in the set when its key is destroyed.
    pub groups: GroupSet,
    /// The record.
    pub record: Id,
    /// Its version.
    pub version: u64,
    /// The version of the field catalogue.
    pub schema: u32,
    /// SHA-256 of the policy label that is stored beside the record.
    pub label: [u8; 32],
}

/// Bytes of an encoded context.
pub(crate) const CONTEXT: usize = 117;

impl RecordContext {
    /// ```text
    /// vault 16 ‖ tenant 16 ‖ subject 16 ‖ groups 4 ‖ record 16 ‖ version 8 ‖ schema 4 ‖ suite 1 ‖ generation 4 ‖ label 32
    /// ```
    /// Every part has a fixed width, so no two contexts share an encoding.
    pub(crate) fn encode(&self, suite: u8, generation: u32) -> [u8; CONTEXT] {
        let mut out = [0; CONTEXT];
        let mut rest = &mut out[..];
        for part in [
            &self.vault[..],
            &self.tenant,
            &self.subject,
            &self.groups.0.to_be_bytes(),
            &self.record,
            &self.version.to_be_bytes(),
            &self.schema.to_be_bytes(),
            &[suite],
            &generation.to_be_bytes(),
            &self.label,
        ] {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_numbered_from_1_to_31() {
        assert!(Group::new(0).is_none());
        assert!(Group::new(32).is_none());
        assert!((1..=31).all(|n| Group::new(n).is_some_and(|g| g.number() == n)));
        assert!(Group::try_from(0).is_err());
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let (one, last) = (Group::new(1).unwrap(), Group::new(31).unwrap());
        let set: GroupSet = [last, one].into_iter().collect();
        assert_eq!(set.bits(), 1 << 31 | 1 << 1);
        assert_eq!(set.iter().collect::<Vec<_>>(), [one, last]);
        assert_eq!(set.len(), 2);
        assert!(!set.contains(Group::new(2).unwrap()));
        assert_eq!(set.without(GroupSet::EMPTY.with(one)), GroupSet::EMPTY.with(last));
        assert!(set.contains_all(GroupSet::EMPTY.with(one)));
        assert!(!GroupSet::EMPTY.with(one).contains_all(set));
    }

    #[test]
    fn bit_0_is_no_group() {
        assert!(GroupSet::from_bits(1).is_none());
        assert!(GroupSet::from_bits(3).is_none());
        assert_eq!(GroupSet::from_bits(2).unwrap().len(), 1);
    }

    #[test]
    fn an_encoded_context_has_every_part_in_its_place() {
        let context = RecordContext {
            vault: [1; 16],
            tenant: [2; 16],
            subject: [3; 16],
            groups: GroupSet(4),
            record: [5; 16],
            version: 6,
            schema: 7,
            label: [10; 32],
        };
        let expected: Vec<u8> = [
            &[1; 16][..],
            &[2; 16],
            &[3; 16],
            &[0, 0, 0, 4],
            &[5; 16],
            &[0, 0, 0, 0, 0, 0, 0, 6],
            &[0, 0, 0, 7],
            &[8],
            &[0, 0, 0, 9],
            &[10; 32],
        ]
        .concat();
        assert_eq!(context.encode(8, 9)[..], expected);
    }
}
