//! Checkpoints (C2SP tlog-checkpoint): origin, size and root of the trail, signed; and the file that keeps them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::merkle::Hash;
use super::note::{self, BadNote, VerifyingKey};
use super::signers::{KeyAndSignature, Trusted};

/// The trail at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which trail: its name, and the name of its key.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The signed note, by whoever `sign`s, which says with what key; `None` when nobody can at the moment.
    pub fn signed(&self, sign: &dyn Fn(&[u8]) -> Option<KeyAndSignature>) -> Option<String> {
        let text = self.text();
        let (public, signature) = sign(text.as_bytes())?;
        Some(note::signed(&text, &VerifyingKey { name: self.origin.clone(), public }, &signature))
    }

    /// What a signed note states, once its signature by one of the keys (under the name of the origin) was verified.
    pub fn verified(note: &str, trusted: &impl Trusted) -> Result<Self, BadNote> {
        let origin = note.split('\n').next().unwrap_or_default();
        let mut refused = BadNote::Unsigned;
        for public in trusted.keys() {
            match note::verified(note, origin, public) {
                Ok(text) => return Self::parse(text).ok_or(BadNote::Form),
                // A line that names a key and does not hold is worse than none.
                Err(BadNote::Unsigned) => {}
                Err(bad) => refused = bad,
            }
        }
        Err(refused)
    }

    /// Exactly three lines; extension lines are not ours and are refused.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, number(lines.next()?)?, lines.next()?);
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        (note::is_name(origin) && lines.next().is_none()).then(|| Self { origin: origin.to_owned(), size, root })
    }
}

/// A decimal number without sign or leading zeros.
pub(crate) fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The notes in a file of checkpoints: each ends with its one signature line. A last one without its end is left out.
pub(crate) fn notes(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = file;
    std::iter::from_fn(move || {
        let mut end = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            if line.starts_with("\u{2014} ".as_bytes()) && line.ends_with(b"\n") {
                let (note, behind) = rest.split_at(end);
                rest = behind;
                return Some(note);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::TestKey;

    #[test]
    fn a_checkpoint_survives_its_note_and_no_change_of_it() {
        let key = TestKey::new("vault.example/a");
        let checkpoint = Checkpoint { origin: "vault.example/a".into(), size: 7, root: [9; 32] };
        let note = checkpoint.signed(&|text| Some((key.key.public, key.sign(text)))).unwrap();
        assert_eq!(Checkpoint::verified(&note, &key.key.public), Ok(checkpoint));
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                if let Ok(changed) = String::from_utf8(bytes) {
                    assert!(Checkpoint::verified(&changed, &key.key.public).is_err(), "byte {at}");
                }
            }
        }
    }

    #[test]
    fn another_key_under_the_same_name_does_not_sign_for_the_trail() {
        let (ours, forger) = (TestKey::new("vault.example/a"), TestKey::new("vault.example/a"));
        let checkpoint = Checkpoint { origin: "vault.example/a".into(), size: 7, root: [9; 32] };
        let note = checkpoint.signed(&|text| Some((forger.key.public, forger.sign(text)))).unwrap();
        assert_eq!(Checkpoint::verified(&note, &ours.key.public), Err(BadNote::Unsigned));
        let posing = checkpoint.signed(&|text| Some((ours.key.public, forger.sign(text)))).unwrap();
        assert_eq!(Checkpoint::verified(&posing, &ours.key.public), Err(BadNote::Forged));
    }

    #[test]
    fn only_whole_notes_are_taken_from_a_file() {
        let file = "a\n1\nr\n\n— s\nb\n2\nr\n\n— s\nc\n3\nr\n\n— s";
        let whole = ["a\n1\nr\n\n— s\n", "b\n2\nr\n\n— s\n"].map(str::as_bytes);
        assert_eq!(notes(file.as_bytes()).collect::<Vec<_>>(), whole);
        assert_eq!(notes(b"").count(), 0);
        assert_eq!(
            ["0", "10", "01", "", "+1", "-1", "18446744073709551616"].map(number),
            [Some(0), Some(10), None, None, None, None, None]
        );
    }
}
