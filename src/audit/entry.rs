//! What one entry of the trail says. Nothing in it is personal data: a person shows as a tag that dies with its key.

use std::borrow::Cow;

use jiff::Timestamp;
use keys::digest::sha256;

use crate::model::code::Code;
use crate::model::ids::{CallerId, ConsentId, DecisionId, ErasureId, TokenId};

/// One decision, deed or event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, to the microsecond.
    pub at: Timestamp,
    /// The decision's id, which the answer carries as `Vault-Decision`.
    pub decision: DecisionId,
    /// `Operation::text()`, or the name of an event such as `epoch-closed`: 1 to 128 visible ASCII characters.
    pub operation: Cow<'static, str>,
    /// Who asked; `None` for the vault itself.
    pub caller: Option<CallerId>,
    /// The token that was shown.
    pub token: Option<TokenId>,
    /// The purpose, from the published policy: 1 to 128 visible ASCII characters.
    pub purpose: Option<String>,
    /// The subject's tag (docs/ERASURE.md), which only the subject's tag key links to the person.
    pub tag: Option<[u8; 16]>,
    /// What came of it.
    pub outcome: Outcome,
    /// Numbers of the fields that were released or written, without their values.
    pub fields: Vec<u16>,
    /// Which of the fields of high sensitivity were released, and how.
    pub obligations: Obligations,
    /// How many records were touched.
    pub records: u32,
    /// Version of the policy that decided: 1 to 128 visible ASCII characters.
    pub policy: String,
    /// Row hashes that stop being current with this entry: rows replaced or removed.
    pub dropped: Vec<[u8; 32]>,
    /// Row hashes that become current with this entry.
    pub written: Vec<[u8; 32]>,
    /// What else it states.
    pub note: Note,
    /// The number of the batch of rows that it announces; 0 where it announces none.
    pub batch: u64,
}

/// How fields of high sensitivity were released, by number: what the decision bound its release to (p10).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obligations {
    /// Behind their mask.
    pub masked: Vec<u16>,
    /// In clear text.
    pub clear: Vec<u16>,
}

impl Obligations {
    /// Whether no field of high sensitivity was among those released.
    pub fn is_empty(&self) -> bool {
        self.masked.is_empty() && self.clear.is_empty()
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The decision allowed a read, which may now be released.
    Allowed,
    /// A guard or a step refused.
    Refused {
        /// The guard (`G3`), where it was one.
        guard: Option<Cow<'static, str>>,
        /// The problem code.
        code: Code,
    },
    /// Something was written or done.
    Done,
    /// Entries are taken back: see [`Note::Void`].
    Void,
}

/// A statement that an entry carries beside its decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Note {
    /// None.
    #[default]
    None,
    /// An erasure certificate was made.
    Certificate {
        /// Of which erasure.
        erasure: ErasureId,
        /// SHA-256 of the certificate in RFC 8785 form.
        sha256: [u8; 32],
    },
    /// A consent event was recorded, and its receipt made.
    Consent {
        /// Which event.
        consent: ConsentId,
        /// SHA-256 of the receipt in RFC 8785 form.
        sha256: [u8; 32],
    },
    /// Another key signs for the trail from the next checkpoint on.
    SigningKey {
        /// Its number: the first of a vault is 0.
        number: u64,
        /// Its public half.
        public: [u8; 32],
        /// SHA-256 of the succession that both keys signed.
        sha256: [u8; 32],
    },
    /// The rows of these earlier entries never reached the store.
    Void {
        /// Their indices.
        entries: Vec<u64>,
    },
    /// An epoch was closed.
    Epoch {
        /// Its number.
        closed: u64,
        /// The number of the one that took its place.
        opened: u64,
    },
    /// A checkpoint that is kept elsewhere too, such as in the keyring or with a witness.
    Checkpoint {
        /// Its size.
        size: u64,
        /// Its root.
        root: [u8; 32],
    },
    /// The trail was found shorter than a checkpoint says: the entries from `found` up to `expected` are lost.
    LostTail {
        /// The size that the checkpoint names.
        expected: u64,
        /// Its root.
        root: [u8; 32],
        /// The size that was found, which is this entry's index.
        found: u64,
    },
    /// Bytes behind the last whole entry were cut off at start.
    TornTail {
        /// The first index that is not there.
        index: u64,
        /// How many bytes.
        bytes: u64,
    },
}

impl Entry {
    /// An entry with nothing but the necessary; the other members are set by the caller.
    pub fn new(
        at: Timestamp,
        decision: DecisionId,
        operation: impl Into<Cow<'static, str>>,
        outcome: Outcome,
        policy: &str,
    ) -> Self {
        Self {
            at,
            decision,
            operation: operation.into(),
            caller: None,
            token: None,
            purpose: None,
            tag: None,
            outcome,
            fields: Vec::new(),
            obligations: Obligations::default(),
            records: 0,
            policy: policy.to_owned(),
            dropped: Vec::new(),
            written: Vec::new(),
            note: Note::None,
            batch: 0,
        }
    }
}

/// The hash by which the trail knows a row of the store: `SHA-256("pv1/row" ‖ u16 length of key ‖ key ‖ value)`.
///
/// Row keys are at most 128 bytes (store/layout), so the length always fits.
pub fn row_hash(key: &[u8], value: &[u8]) -> [u8; 32] {
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    sha256(&[b"pv1/row", &length.to_be_bytes(), key, value])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_hash_tells_where_the_key_ends() {
        assert_ne!(row_hash(b"ab", b"c"), row_hash(b"a", b"bc"));
        assert_eq!(row_hash(b"ab", b"c"), sha256(&[b"pv1/row\x00\x02abc"]));
    }
}
