//! Whose signatures count: the key of a trail, the keys it had before, and how each says that the next one follows.
//!
//! A succession is a C2SP signed note with two signatures, by the key that ends and by the one that follows. So whoever trusts one key of
//! a vault comes to all the others, before and after it; `vault.keys` is the newest key and every succession, oldest first.
//!
//! ```text
//! oubliette-key-succession/v1
//! <origin of the trail>
//! <number of the key that follows: the first of a vault is 0>
//! <line of the key that ends, as in vault.pub>
//! <line of the key that follows>
//! <time>
//!
//! — <origin> <base64 of key id ‖ signature by the key that ends>
//! — <origin> <base64 of key id ‖ signature by the key that follows>
//! ```
//!
//! Who stole the key that ends could have made a succession too, while it lived: a key that was stolen is to be compared with the list that
//! the vault publishes, not only followed.

use jiff::Timestamp;

use super::checkpoint::number;
use super::note::{self, BadNote, VerifyingKey};

const TITLE: &str = "oubliette-key-succession/v1";

/// More successions than a list of ours ever has.
const MOST: usize = 1_000;

/// A signature, and the public key that verifies it.
pub type KeyAndSignature = ([u8; 32], [u8; 64]);

/// Public keys that a signature may be by.
pub trait Trusted {
    /// All of them, the one that was trusted first before the others.
    fn keys(&self) -> &[[u8; 32]];
}

impl Trusted for [u8; 32] {
    fn keys(&self) -> &[[u8; 32]] {
        std::slice::from_ref(self)
    }
}

/// A key, and those that it vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys(Vec<[u8; 32]>);

impl Trusted for PublicKeys {
    fn keys(&self) -> &[[u8; 32]] {
        &self.0
    }
}

impl From<[u8; 32]> for PublicKeys {
    fn from(key: [u8; 32]) -> Self {
        Self(vec![key])
    }
}

impl PublicKeys {
    /// A key and others that are known to be the same vault's.
    pub fn with(first: [u8; 32], others: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let mut keys = Self::from(first);
        others.into_iter().for_each(|key| keys.add(key));
        keys
    }

    /// The same keys.
    pub fn of(trusted: &impl Trusted) -> Self {
        Self(trusted.keys().to_vec())
    }

    /// The one that was trusted first.
    pub fn first(&self) -> [u8; 32] {
        self.0.first().copied().unwrap_or_default()
    }

    /// Whether it is one of them.
    pub fn contains(&self, key: &[u8; 32]) -> bool {
        self.0.contains(key)
    }

    /// One more.
    pub fn add(&mut self, key: [u8; 32]) {
        if !self.contains(&key) {
            self.0.push(key);
        }
    }

    /// These, and every key that a succession in `list` leads to from them, forwards or backwards. What else stands in there is passed
    /// over, and so is a succession that does not verify.
    #[must_use]
    pub fn following(mut self, list: &str) -> Self {
        let all: Vec<Succession> = notes(list).filter_map(|note| Succession::verified(note).ok()).collect();
        loop {
            let known = self.0.len();
            for one in &all {
                if self.contains(&one.from.public) || self.contains(&one.to.public) {
                    self.add(one.from.public);
                    self.add(one.to.public);
                }
            }
            if self.0.len() == known {
                return self;
            }
        }
    }

    /// The keys of a published list: its first line is the newest, which everything else has to lead to.
    pub fn listed(list: &str) -> Option<Self> {
        let (first, rest) = list.split_once('\n')?;
        let newest: VerifyingKey = first.parse().ok()?;
        Some(Self::from(newest.public).following(rest))
    }
}

/// The list that a vault publishes: its newest key and its successions, oldest first.
pub fn list(newest: &VerifyingKey, successions: &str) -> String {
    format!("{newest}\n\n{successions}")
}

/// One key that follows another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The number of the key that follows.
    pub number: u32,
    /// The key that ends.
    pub from: VerifyingKey,
    /// The key that follows, under the same name.
    pub to: VerifyingKey,
    /// When.
    pub at: Timestamp,
}

impl Succession {
    /// The text that both sign.
    pub fn text(&self) -> String {
        format!("{TITLE}\n{}\n{}\n{}\n{}\n{}\n", self.from.name, self.number, self.from, self.to, self.at)
    }

    /// The note with both signatures.
    pub fn signed(&self, by_from: &[u8; 64], by_to: &[u8; 64]) -> String {
        let text = self.text();
        let second = note::signed(&text, &self.to, by_to);
        format!("{}{}", note::signed(&text, &self.from, by_from), &second[text.len() + 1..])
    }

    /// What a note states, once both signatures were verified.
    pub fn verified(note: &str) -> Result<Self, BadNote> {
        let stated = Self::parse(note.split_once("\n\n").ok_or(BadNote::Form)?.0).ok_or(BadNote::Form)?;
        for key in [&stated.from, &stated.to] {
            if note::verified(note, &key.name, &key.public)? != stated.text() {
                return Err(BadNote::Form);
            }
        }
        Ok(stated)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        if lines.next()? != TITLE {
            return None;
        }
        let (origin, place) = (lines.next()?, u32::try_from(number(lines.next()?)?).ok()?);
        let (from, to): (VerifyingKey, VerifyingKey) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
        let at = lines.next()?.parse().ok()?;
        let is_one = from.name == origin && to.name == origin && from.public != to.public && lines.next().is_none();
        is_one.then_some(Self { number: place, from, to, at })
    }
}

/// The notes in a text: each begins with its title.
fn notes(text: &str) -> impl Iterator<Item = &str> {
    let mut starts: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end_matches('\n') == TITLE && starts.len() < MOST {
            starts.push(at);
        }
        at += line.len();
    }
    let ends: Vec<usize> = starts.iter().copied().skip(1).chain([text.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &text[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::TestKey;

    const NAME: &str = "oubliette.local/vlt_x";

    fn succession(number: u32, from: &TestKey, to: &TestKey) -> String {
        let one = Succession { number, from: from.key.clone(), to: to.key.clone(), at: Timestamp::UNIX_EPOCH };
        one.signed(&from.sign(one.text().as_bytes()), &to.sign(one.text().as_bytes()))
    }

    #[test]
    fn from_any_key_of_a_vault_all_the_others_are_found() {
        let keys: Vec<TestKey> = (0..4).map(|_| TestKey::new(NAME)).collect();
        let notes: String = (1..4).map(|n| succession(n as u32, &keys[n - 1], &keys[n])).collect();
        for trusted in &keys {
            let found = PublicKeys::from(trusted.key.public).following(&notes);
            assert_eq!(found.first(), trusted.key.public);
            assert!(keys.iter().all(|key| found.contains(&key.key.public)) && found.keys().len() == 4);
        }
        let published = list(&keys[3].key, &notes);
        assert_eq!(PublicKeys::listed(&published).unwrap().keys().len(), 4);
        assert_eq!(PublicKeys::listed(&list(&keys[0].key, "")).unwrap(), PublicKeys::from(keys[0].key.public));
        let stranger = TestKey::new(NAME);
        assert_eq!(PublicKeys::from(stranger.key.public).following(&notes).keys().len(), 1);
    }

    #[test]
    fn a_succession_needs_both_signatures_and_no_bit_of_it_can_change() {
        let (old, new, thief) = (TestKey::new(NAME), TestKey::new(NAME), TestKey::new(NAME));
        let good = succession(1, &old, &new);
        let stated = Succession::verified(&good).unwrap();
        assert_eq!((stated.number, &stated.from, &stated.to), (1, &old.key, &new.key));
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert_ne!(Succession::verified(&changed), Ok(stated.clone()), "byte {at}");
            }
        }
        // Neither the one that ends nor the one that follows can say it alone.
        let one = Succession { number: 1, from: old.key.clone(), to: thief.key.clone(), at: Timestamp::UNIX_EPOCH };
        let (text, mine) = (one.text(), thief.sign(one.text().as_bytes()));
        assert!(Succession::verified(&one.signed(&mine, &mine)).is_err());
        assert!(Succession::verified(&one.signed(&old.sign(text.as_bytes()), &old.sign(text.as_bytes()))).is_err());
        assert!(Succession::verified(&note::signed(&text, &thief.key, &mine)).is_err());
        let forged = format!("{}{}", one.signed(&mine, &mine), good);
        assert!(!PublicKeys::from(old.key.public).following(&forged).contains(&thief.key.public));
    }
}
