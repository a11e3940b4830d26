//! An entry as listAuditEvents answers it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::entry::{Entry, Note, Obligations, Outcome};
use crate::model::ids::{CallerId, ConsentId, DecisionId, ErasureId, TokenId};
use crate::model::schema::Time;

/// One entry, with nothing personal in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EventView {
    /// Place in the trail, from 0.
    pub index: u64,
    /// The decision's id.
    pub id: DecisionId,
    /// When.
    #[schemars(with = "Time")]
    pub time: Timestamp,
    /// Operation id, or the name of an event.
    pub operation: String,
    /// Who asked; absent for the vault itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerId>,
    /// Which token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// Purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The subject's tag, 32 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_tag: Option<String>,
    /// `allowed`, `refused`, `done` or `void`.
    pub outcome: &'static str,
    /// The guard that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// The problem code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Fields that were released or written.
    pub fields: FieldsView,
    /// How fields of high sensitivity were released; absent where there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obligations: Option<ObligationsView>,
    /// Records that were touched.
    pub records: u32,
    /// Version of the policy that decided.
    pub policy_version: String,
    /// What else the entry states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<NoteView>,
}

/// Fields by their numbers in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldsView {
    /// How many.
    pub count: usize,
    /// Which.
    pub numbers: Vec<u16>,
}

/// Fields of high sensitivity, by their numbers: behind their mask, and in clear text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ObligationsView {
    /// Behind their mask.
    pub masked: Vec<u16>,
    /// In clear text.
    pub clear: Vec<u16>,
}

/// What else an entry states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NoteView {
    /// An erasure certificate.
    Certificate {
        /// Of which erasure.
        erasure: ErasureId,
        /// SHA-256 of its RFC 8785 form, in hex.
        sha256: String,
    },
    /// A consent event.
    Consent {
        /// Which.
        consent: ConsentId,
        /// SHA-256 of its receipt's RFC 8785 form, in hex.
        sha256: String,
    },
    /// Entries that are taken back.
    Void {
        /// Their indices.
        entries: Vec<u64>,
    },
    /// Another key signs for the trail.
    SigningKey {
        /// Its number.
        number: u64,
        /// Its public half, in hex.
        public: String,
        /// SHA-256 of the succession that both keys signed, in hex.
        sha256: String,
    },
    /// An epoch was closed.
    Epoch {
        /// Its number.
        closed: u64,
        /// The next.
        opened: u64,
    },
    /// A checkpoint that is kept elsewhere.
    Checkpoint {
        /// Size.
        size: u64,
        /// Root, in hex.
        root: String,
    },
    /// Entries are lost.
    LostTail {
        /// The size that a checkpoint names.
        expected: u64,
        /// Its root, in hex.
        root: String,
        /// The size that was found.
        found: u64,
    },
    /// Bytes without a whole entry were cut off.
    TornTail {
        /// The first index that is not there.
        index: u64,
        /// How many bytes.
        bytes: u64,
    },
}

impl EventView {
    /// The view of the entry at `index`.
    pub fn of(index: u64, entry: &Entry) -> Self {
        let (outcome, guard, code) = match &entry.outcome {
            Outcome::Allowed => ("allowed", None, None),
            Outcome::Done => ("done", None, None),
            Outcome::Void => ("void", None, None),
            Outcome::Refused { guard, code } => ("refused", guard.as_ref().map(ToString::to_string), Some(code.text())),
        };
        Self {
            index,
            id: entry.decision,
            time: entry.at,
            operation: entry.operation.to_string(),
            caller: entry.caller,
            token: entry.token,
            purpose: entry.purpose.clone(),
            subject_tag: entry.tag.map(|tag| hex(&tag)),
            outcome,
            guard,
            code,
            fields: FieldsView { count: entry.fields.len(), numbers: entry.fields.clone() },
            obligations: ObligationsView::of(&entry.obligations),
            records: entry.records,
            policy_version: entry.policy.clone(),
            note: NoteView::of(&entry.note),
        }
    }
}

impl ObligationsView {
    fn of(obligations: &Obligations) -> Option<Self> {
        let Obligations { masked, clear } = obligations.clone();
        (!obligations.is_empty()).then_some(Self { masked, clear })
    }
}

impl NoteView {
    fn of(note: &Note) -> Option<Self> {
        Some(match note {
            Note::None => return None,
            Note::Certificate { erasure, sha256 } => Self::Certificate { erasure: *erasure, sha256: hex(sha256) },
            Note::Consent { consent, sha256 } => Self::Consent { consent: *consent, sha256: hex(sha256) },
            Note::SigningKey { number, public, sha256 } => {
                Self::SigningKey { number: *number, public: hex(public), sha256: hex(sha256) }
            }
            Note::Void { entries } => Self::Void { entries: entries.clone() },
            Note::Epoch { closed, opened } => Self::Epoch { closed: *closed, opened: *opened },
            Note::Checkpoint { size, root } => Self::Checkpoint { size: *size, root: hex(root) },
            Note::LostTail { expected, root, found } => Self::LostTail { expected: *expected, root: hex(root), found: *found },
            Note::TornTail { index, bytes } => Self::TornTail { index: *index, bytes: *bytes },
        })
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::code::Code;

    #[test]
    fn a_refusal_shows_its_guard_and_code_and_nothing_that_is_absent() {
        let outcome = Outcome::Refused { guard: Some("G3".into()), code: Code::PurposeNotPublished };
        let mut entry = Entry::new(Timestamp::UNIX_EPOCH, DecisionId::from_bytes([0; 16]), "readRecords", outcome, "7");
        entry.tag = Some([0xab; 16]);
        entry.fields = vec![3, 1];
        assert_eq!(
            serde_json::to_value(EventView::of(9, &entry)).unwrap(),
            serde_json::json!({
                "index": 9, "id": "dec_00000000000000000000000000", "time": "1970-01-01T00:00:00Z", "operation": "readRecords",
                "subject_tag": "abababababababababababababababab", "outcome": "refused", "guard": "G3",
                "code": "purpose-not-published", "fields": {"count": 2, "numbers": [3, 1]}, "records": 0, "policy_version": "7",
            })
        );
    }
}
