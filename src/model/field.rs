//! The fields that a record can have, as plain words: what one is, how sensitive, and how it is shown masked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a field's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A short text.
    Text,
    /// An e-mail address.
    Email,
    /// A telephone number, in any common way of writing it.
    Phone,
    /// A day: YYYY-MM-DD.
    Date,
    /// A JSON object.
    Object,
    /// A JSON array.
    List,
    /// Opaque bytes, as standard base64 text.
    Blob,
    /// Write-only: stored as a verifier, never read (p09).
    Secret,
    /// What somebody wrote in their own words: a text or an array of texts, never indexed (p11).
    FreeText,
}

/// How much harm a leak of it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sensitivity {
    /// Ordinary personal data.
    #[default]
    Normal,
    /// Masked by default; clear text needs a step up (p10).
    High,
}

/// Whether it tells who somebody is (p06).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identifiability {
    /// Not even in combination.
    None,
    /// In combination with others.
    Quasi,
    /// Alone.
    Direct,
}

/// The kinds of alias that a subject can be found by, with the numbers of their index keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AliasKind {
    /// `email`
    Email = 1,
    /// `phone`
    Phone = 2,
    /// `external_id`
    ExternalId = 3,
    /// `handle`
    Handle = 4,
}

impl AliasKind {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Email, Self::Phone, Self::ExternalId, Self::Handle];

    /// The kind that a body calls `text`. Everything else is `not-indexable`.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.text() == text)
    }

    /// Its name in bodies.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::ExternalId => "external_id",
            Self::Handle => "handle",
        }
    }

    /// Its stable number, 1 to 4.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// What is shown of a value where clear text is not permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mask {
    /// All of it.
    #[default]
    None,
    /// Nothing of it: `****`.
    Whole,
    /// Its last four characters: `****1234`.
    LastFour,
}

/// One entry of the field catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Stable number, 1 to [`FieldSet::HIGHEST`]; never used again for another field.
    pub number: u16,
    /// Name in bodies.
    pub name: String,
    /// Category: a term of the DPV's personal data extension (`pd:Name`), or of our own (`vault:Content`).
    pub category: String,
    /// Form of the value.
    pub kind: Kind,
    /// Sensitivity.
    pub sensitivity: Sensitivity,
    /// Identifiability.
    pub identifiability: Identifiability,
    /// The alias kind that it shares its values with, where subjects can be found by it.
    pub alias: Option<AliasKind>,
    /// Most bytes of JSON text that a value may take.
    pub max_bytes: usize,
    /// What is shown where clear text is not permitted.
    pub mask: Mask,
    /// For objects: the members that there may be; empty is any.
    pub members: Vec<String>,
    /// For objects: the members that the mask falls on; empty is all.
    pub masked_members: Vec<String>,
    /// Days after which a value that nobody gave, corrected or verified again may no longer be right (p40); none where time does
    /// not make it wrong.
    pub stale_after_days: Option<u32>,
}

/// A set of field numbers that is copied, not allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FieldSet([u64; 4]);

impl FieldSet {
    /// No field.
    pub const EMPTY: Self = Self([0; 4]);

    /// The highest field number that there can be.
    pub const HIGHEST: u16 = 255;

    /// Adds a number; one above [`Self::HIGHEST`] is left out.
    pub fn insert(&mut self, number: u16) {
        if let Some(word) = self.0.get_mut(usize::from(number / 64)) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u16) -> bool {
        self.0.get(usize::from(number / 64)).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The numbers, from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0_u16..).step_by(64).zip(self.0).flat_map(|(first, word)| {
            let rest = |word: &u64| Some(word & (word - 1)).filter(|&left| left != 0);
            std::iter::successors((word != 0).then_some(word), rest).map(move |word| first + word.trailing_zeros() as u16)
        })
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// What is in this one but not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }
}

impl FromIterator<u16> for FieldSet {
    fn from_iter<I: IntoIterator<Item = u16>>(numbers: I) -> Self {
        let mut set = Self::EMPTY;
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_above_its_highest() {
        let set: FieldSet = [0, 1, 63, 64, 255, 256, u16::MAX].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 1, 63, 64, 255]);
        assert_eq!(set.len(), 5);
        assert!(!set.contains(256) && !set.contains(2));
        assert!(set.without(&set).is_empty());
    }

    #[test]
    fn alias_kinds_keep_their_names_and_numbers() {
        let named: Vec<_> = AliasKind::ALL.map(|kind| (kind.text(), kind.number())).into();
        assert_eq!(named, [("email", 1), ("phone", 2), ("external_id", 3), ("handle", 4)]);
        assert_eq!(AliasKind::named("messages"), None);
    }
}
