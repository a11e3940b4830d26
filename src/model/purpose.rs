//! Purposes, and the groups of purposes that share a key.

use std::collections::BTreeSet;

use super::field::FieldSet;

/// A purpose group: what shares a key. Its number is stable, 1 to 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(u8);

impl Group {
    /// The highest number that a group can have.
    pub const HIGHEST: u8 = 31;

    /// The group of legal holds: a held record's key is wrapped under it too. It is no tenant's, and no purpose opens it.
    pub const HOLD: Self = Self(Self::HIGHEST);

    /// The group of that number, if it can be one.
    pub const fn numbered(number: u8) -> Option<Self> {
        if number >= 1 && number <= Self::HIGHEST { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A set of purpose groups: bit g stands for group g.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GroupSet(u32);

impl GroupSet {
    /// No group.
    pub const EMPTY: Self = Self(0);

    /// The groups of a bitmap; bit 0 is no group and is left out.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & !1)
    }

    /// The bitmap.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Adds a group.
    pub fn insert(&mut self, group: Group) {
        self.0 |= 1 << group.0;
    }

    /// Whether `group` is in it.
    pub const fn contains(self, group: Group) -> bool {
        self.0 & (1 << group.0) != 0
    }

    /// Without the group of legal holds.
    #[must_use]
    pub const fn without_hold(self) -> Self {
        Self(self.0 & !(1 << Group::HOLD.0))
    }

    /// Whether there is no group in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in one of them.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The groups, from the lowest number.
    pub fn iter(self) -> impl Iterator<Item = Group> {
        (1..=Group::HIGHEST).map(Group).filter(move |&group| self.contains(group))
    }
}

impl FromIterator<Group> for GroupSet {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        let mut set = Self::EMPTY;
        groups.into_iter().for_each(|group| set.insert(group));
        set
    }
}

/// One purpose of the published policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// Id, such as `b-delivery`.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// The purpose that this one is a part of.
    pub parent: Option<String>,
    /// Its terms in the Data Privacy Vocabulary, such as `dpv:DeliveryOfGoods`.
    pub dpv: Vec<String>,
    /// The group whose key opens records for it; none for aggregate-only purposes and for those of any group.
    pub group: Option<Group>,
    /// Categories of fields that it may use.
    pub categories: BTreeSet<String>,
    /// The fields of those categories (without direct identifiers, where it is pseudonymous).
    pub fields: FieldSet,
    /// Fields without which it cannot be served (`dpv:Required`); its others are `dpv:Optional` (p12).
    pub required: FieldSet,
    /// Classes of subjects that it covers.
    pub classes: BTreeSet<String>,
    /// Uses statistics only, never records (p20).
    pub aggregate_only: bool,
    /// Opens records through any group that lives; nothing is collected for it (`x-rights`).
    pub any_group: bool,
    /// Sees no direct identifier (p19).
    pub pseudonymous: bool,
    /// Needs a cited rule (p24).
    pub needs_rule: bool,
    /// Goes on after the account was closed (p56).
    pub after_closure: bool,
    /// Never uses a child's data, whoever agrees (p58).
    pub never_minors: bool,
    /// The switches by which the person turns it off: `marketing`, `personalised-ads`, `cookies`, `gpc`.
    pub preference: Vec<String>,
}

impl Purpose {
    /// The group to open a record through: its own, or for `any_group` the lowest, of those that the record is wrapped
    /// under and whose keys are `alive`.
    pub fn group_for(&self, record_groups: GroupSet, alive: GroupSet) -> Option<Group> {
        let mut open = record_groups.and(alive).iter();
        match self.group {
            Some(own) => open.find(|&group| group == own),
            None if self.any_group => open.next(),
            None => None,
        }
    }

    /// The required fields that are not among `present`.
    pub fn missing(&self, present: &FieldSet) -> FieldSet {
        self.required.without(present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_set_is_a_bitmap_without_bit_zero() {
        let set = GroupSet::from_bits(0b1000_0011);
        assert_eq!(set.bits(), 0b1000_0010);
        assert_eq!(set.iter().map(Group::number).collect::<Vec<_>>(), [1, 7]);
        assert_eq!(Group::numbered(0), None);
        assert_eq!(Group::numbered(32), None);
    }
}
