//! Signed notes (C2SP signed-note) and the line that publishes a verifying key (`vault.pub`).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keys::digest::sha256;

/// Ed25519, as signed notes number it.
const ED25519: u8 = 1;

/// More signature lines than a note of ours or a witnessed one ever has.
const MOST_SIGNATURES: usize = 64;

/// A text that is not a signed note, or not a verifying key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// It does not have the form.
    #[error("not in the form of a signed note or verifying key")]
    Form,
    /// No signature in it is by the key.
    #[error("not signed by this key")]
    Unsigned,
    /// A line names the key, but the signature is not of this text.
    #[error("the signature does not belong to this text")]
    Forged,
}

/// A name and its Ed25519 key, in text `<name>+<key id, 8 hex digits>+<base64 of 0x01 ‖ key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Key name: for a trail, its origin.
    pub name: String,
    /// The Ed25519 public key.
    pub public: [u8; 32],
}

impl VerifyingKey {
    /// `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)[..4]`.
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, &self.public)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[ED25519], &self.public[..]].concat());
        write!(f, "{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id()))
    }
}

impl FromStr for VerifyingKey {
    type Err = BadNote;

    /// Takes the line with or without white space around it.
    fn from_str(text: &str) -> Result<Self, BadNote> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(BadNote::Form) };
        let key = STANDARD.decode(key).map_err(|_| BadNote::Form)?;
        let Some((&ED25519, public)) = key.split_first() else { return Err(BadNote::Form) };
        let public = public.try_into().map_err(|_| BadNote::Form)?;
        let key = Self { name: name.to_owned(), public };
        let fits = is_name(name) && id == format!("{:08x}", u32::from_be_bytes(key.id()));
        if fits { Ok(key) } else { Err(BadNote::Form) }
    }
}

/// The text and its signature as one signed note. `text` ends in a newline.
pub fn signed(text: &str, key: &VerifyingKey, signature: &[u8; 64]) -> String {
    let line = STANDARD.encode([&key.id()[..], signature].concat());
    format!("{text}\n\u{2014} {} {line}\n", key.name)
}

/// The text of a signed note, once a signature line named `name` by the key was found and verified.
///
/// Lines of other keys are skipped, as the format asks; a bad signature of this key refuses the whole note.
pub fn verified<'a>(note: &'a str, name: &str, public: &[u8; 32]) -> Result<&'a str, BadNote> {
    if note.chars().any(|c| c < ' ' && c != '\n') {
        return Err(BadNote::Form);
    }
    let end = note.rfind("\n\n").ok_or(BadNote::Form)? + 1;
    let (text, lines) = (&note[..end], &note[end + 1..]);
    let lines = lines.strip_suffix('\n').ok_or(BadNote::Form)?;
    let id = key_id(name, public);
    let mut found = false;
    for (count, line) in lines.split('\n').enumerate() {
        let line = line.strip_prefix("\u{2014} ").ok_or(BadNote::Form)?;
        let (signer, signature) = line.split_once(' ').ok_or(BadNote::Form)?;
        let signature = STANDARD.decode(signature).map_err(|_| BadNote::Form)?;
        if count >= MOST_SIGNATURES || !is_name(signer) || signature.len() < 5 {
            return Err(BadNote::Form);
        }
        if signer == name && signature[..4] == id {
            let signature = signature[4..].try_into().map_err(|_| BadNote::Forged)?;
            if !keys::sign::verify(public, text.as_bytes(), signature) {
                return Err(BadNote::Forged);
            }
            found = true;
        }
    }
    if found { Ok(text) } else { Err(BadNote::Unsigned) }
}

fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), &[b'\n', ED25519], public]);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A key name: not empty, no white space, no plus, nothing invisible.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::TestKey;

    /// The key and the note of the Go checksum database, as golang.org/x/mod/sumdb/note documents them.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_published_key_verifies_its_published_note() {
        let key: VerifyingKey = PETER.parse().unwrap();
        assert_eq!(key.to_string(), PETER);
        assert_eq!(verified(NOTE, "PeterNeumann", &key.public), Ok(&NOTE[..NOTE.find("\n\n").unwrap() + 1]));
        assert_eq!(verified(&NOTE.replace("your", "our"), "PeterNeumann", &key.public), Err(BadNote::Forged));
        assert_eq!(verified(NOTE, "Peter", &key.public), Err(BadNote::Unsigned));
    }

    #[test]
    fn a_key_line_with_another_id_type_or_length_is_refused() {
        for bad in [
            &PETER.replace("c74f", "c74e"),
            &PETER.replace("+ARpc", "+Bhpc"),
            &PETER[..PETER.len() - 4],
            &PETER.replace("Peter", "Pe ter"),
            "PeterNeumann+c74f20a3",
            "",
        ] {
            assert!(bad.parse::<VerifyingKey>().is_err(), "{bad}");
        }
        assert!(format!(" {PETER}\n").parse::<VerifyingKey>().is_ok());
    }

    #[test]
    fn a_note_verifies_under_its_own_key_beside_signatures_of_strangers() {
        let (ours, other) = (TestKey::new("vault.example/a"), TestKey::new("witness.example"));
        let text = "vault.example/a\n7\nroot\n";
        let note = signed(text, &ours.key, &ours.sign(text.as_bytes()));
        let line = signed(text, &other.key, &other.sign(text.as_bytes()));
        let both = format!("{note}{}", &line[text.len() + 1..]);
        assert_eq!(verified(&both, &ours.key.name, &ours.key.public), Ok(text));
        assert_eq!(verified(&both, &other.key.name, &other.key.public), Ok(text));
        assert_eq!(verified(&note, &other.key.name, &other.key.public), Err(BadNote::Unsigned));
    }
}
