//! The bodies of the API, as docs/API.md has them: strict, so an unknown or repeated member is an error.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::caller::{CallerKind, Role};
use super::ids::{CallerId, ErasureId, RecordId, SubjectId, TokenId};
use super::named;

/// `POST /subjects`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSubject {
    /// Subject class of the catalogue, such as `consumer`.
    pub class: String,
    /// ISO 3166-1 alpha-2 code, or that and a subdivision (`US-CA`).
    pub jurisdiction: String,
    /// Region that the subject's records may not leave.
    #[serde(default)]
    pub region: Option<String>,
    /// Birth date; needed for a child's protection.
    #[serde(default)]
    pub birth_date: Option<Date>,
    /// `child` or `adult` where the birth date is not held.
    #[serde(default)]
    pub age_band: Option<AgeBand>,
    /// What the subject can be found by, at most 16.
    #[serde(default, deserialize_with = "named::each")]
    pub aliases: Vec<Alias>,
    /// The guardian of a minor.
    #[serde(default)]
    pub guardian: Option<SubjectId>,
    /// The notice that was shown before collection.
    #[serde(default, deserialize_with = "named::option")]
    pub notice: Option<Notice>,
}

/// An age band, where no birth date is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeBand {
    /// Below the jurisdiction's age.
    Child,
    /// At or above it.
    Adult,
}

/// What a subject can be found by.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// `email`, `phone`, `external_id` or `handle`.
    pub r#type: String,
    /// The value; it is normalised by its type before use.
    pub value: String,
}

/// A notice shown before collection.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The policy version, or `current`.
    pub policy_version: String,
    /// BCP 47 language tag.
    pub language: String,
    /// Where it was shown, such as `web`.
    pub channel: String,
    /// When.
    pub shown_at: Timestamp,
}

/// `POST /subjects/{s}/records`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteRecord {
    /// Kind of record, such as `contact`; free within a safe pattern.
    pub kind: String,
    /// Purposes it was collected for; each brings its group. Default: the purpose of the call.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// Where it came from. Default: the subject.
    #[serde(default, deserialize_with = "named::option")]
    pub source: Option<Source>,
    /// When it was collected. Default: now.
    #[serde(default)]
    pub collected_at: Option<Timestamp>,
    /// Field name → JSON value, in the catalogue's type.
    pub fields: Fields,
}

/// Provenance of a record (p07).
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `data-subject`, `interaction`, `third-party` or `public`.
    pub r#type: String,
    /// Who, when it is a third party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
}

/// Field values as they came, still JSON text, each name once. Held no longer than the call; never printed.
#[derive(Default)]
pub struct Fields(pub BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> serde::de::Visitor<'de> for Once {
            type Value = Fields;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of fields")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value = map.next_value::<Box<RawValue>>()?;
                    if fields.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a field is named twice"));
                    }
                }
                Ok(Fields(fields))
            }
        }
        d.deserialize_map(Once)
    }
}

/// `PATCH /subjects/{s}/records/{r}`: RFC 7396 over the record's fields; `null` removes a field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RectifyRecord {
    /// Field name → new JSON value, or null.
    pub fields: Fields,
}

/// One item of `POST /records:batch`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRecord {
    /// Whose record.
    pub subject: SubjectId,
    /// As for writeRecord.
    #[serde(deserialize_with = "named::one")]
    pub record: WriteRecord,
}

/// `POST /subject-lookups`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupSubject {
    /// Alias type.
    pub r#type: String,
    /// Alias value.
    pub value: String,
    /// Region for a telephone number without a country code.
    #[serde(default)]
    pub region: Option<String>,
}

/// `PUT /subjects/{s}/contracts/{ref}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutContract {
    /// `active` or `closed`.
    pub state: ContractState,
    /// First day.
    pub from: Date,
    /// Last day; null while open-ended.
    #[serde(default)]
    pub until: Option<Date>,
}

/// Whether a contract can carry a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractState {
    /// In force.
    Active,
    /// Ended.
    Closed,
}

/// What of a subject is to be read: by `fields`, `group` or `record`, in the query string (names and ids only).
#[derive(Default)]
pub struct ReadRecords {
    /// Field names; empty is all that the purpose may see.
    pub fields: Vec<String>,
    /// Only records in this purpose group.
    pub group: Option<String>,
    /// Only this record.
    pub record: Option<RecordId>,
    /// Page.
    pub page: Page,
}

/// `limit` and `cursor` of a list.
#[derive(Default)]
pub struct Page {
    /// 1 to 500; 50 unless told.
    pub limit: Option<usize>,
    /// What `next_cursor` said.
    pub cursor: Option<String>,
}

/// `POST /erasures`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenErasure {
    /// Whom.
    pub subject: SubjectId,
    /// `subject`, `groups` or `records`.
    pub scope: Scope,
    /// The purpose groups, with scope `groups`.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The records, with scope `records`.
    #[serde(default)]
    pub records: Vec<RecordId>,
    /// Why.
    pub cause: Cause,
}

/// How much of a subject an erasure takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Subject,
    /// Some purpose groups.
    Groups,
    /// Some records.
    Records,
}

/// Why something is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The person asked (GDPR Art. 17(1)).
    Request,
    /// The retention period ended.
    Retention,
    /// Consent was withdrawn.
    Withdrawal,
    /// A minor without a guardian's consent.
    MinorNoConsent,
    /// The account was closed.
    AccountClosure,
    /// Unlawful or mistaken collection.
    Unlawful,
}

/// States of an erasure, in their order (docs/ERASURE.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// Opened.
    Requested,
    /// The request behind it was verified.
    Verified,
    /// The second person agreed.
    Approved,
    /// Rows, wraps and aliases are gone from the database; reads answer 410.
    Unlinked,
    /// Recipients were told.
    Propagated,
    /// No key that lives can open a leftover.
    Sealed,
    /// Refused.
    Denied,
    /// Taken back before `unlinked`.
    Revoked,
}

/// `POST /keys/operations`. Its variants have braces because serde takes any member beside the tag of one without.
#[derive(Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OperateKeys {
    /// A new epoch: old ones die.
    RotateEpoch {},
    /// Empties every key from memory.
    Seal {},
    /// Opens the vault again.
    Unseal {
        /// The passphrase that holds the root key.
        passphrase: Passphrase,
    },
}

/// A passphrase on its way in. It has no Debug, Display, Clone or Serialize.
pub struct Passphrase(pub keys::secret::SecretString);

impl<'de> Deserialize<'de> for Passphrase {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(|text| Self(keys::secret::SecretString::from(text)))
    }
}

/// `PUT /callers/{c}`; `{c}` is an id, or `new`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutCaller {
    /// Display name.
    pub name: String,
    /// Person or service.
    pub kind: CallerKind,
    /// Roles; some may not be held together.
    pub roles: Vec<Role>,
    /// Purposes that its tokens may grant.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// `active` or `suspended`.
    #[serde(default)]
    pub state: CallerState,
    /// Revoke every token of it now.
    #[serde(default)]
    pub revoke_tokens: bool,
    /// When a person was last trained (enforced with the training guard).
    #[serde(default)]
    pub trained_at: Option<Date>,
}

/// Whether a caller's tokens work.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerState {
    /// They do.
    #[default]
    Active,
    /// They do not.
    Suspended,
    /// Waiting for a second security officer; never asked for, only answered.
    #[serde(skip_deserializing)]
    Proposed,
}

/// `POST /callers/{c}/tokens`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueToken {
    /// Purposes, a part of the caller's; default all of them.
    #[serde(default)]
    pub purposes: Option<Vec<String>>,
    /// Field names that it is narrowed to.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// Seconds that it lives: 60 to 31,536,000; default 90 days.
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
}

/// `POST /decisions`, AuthZEN-shaped: may this caller do that, and which guard says so?
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainDecision {
    /// Who; default the asking caller.
    #[serde(default, deserialize_with = "named::option")]
    pub subject: Option<AuthzenEntity>,
    /// What.
    #[serde(deserialize_with = "named::one")]
    pub action: AuthzenAction,
    /// On what: `{"type":"subject","id":"sub_…"}`.
    #[serde(deserialize_with = "named::one")]
    pub resource: AuthzenEntity,
    /// Purpose and fields.
    #[serde(default, deserialize_with = "named::one")]
    pub context: AuthzenContext,
}

/// A typed id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthzenEntity {
    /// `caller` or `subject`.
    pub r#type: String,
    /// Its id.
    pub id: String,
}

/// The operation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthzenAction {
    /// An operation id.
    pub name: String,
}

/// What the decision depends on beside the two ids.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthzenContext {
    /// Purpose.
    #[serde(default)]
    pub purpose: Option<String>,
    /// Field names.
    #[serde(default)]
    pub fields: Vec<String>,
}

/// Answer of createSubject and getSubject: nothing personal in it.
#[derive(Serialize)]
pub struct SubjectView {
    /// Id.
    pub id: SubjectId,
    /// `active`.
    pub state: &'static str,
    /// Jurisdiction.
    pub jurisdiction: String,
    /// Class.
    pub class: String,
    /// Below the jurisdiction's age today.
    pub minor: bool,
    /// Purpose groups whose keys live.
    pub groups: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Answer of writeRecord and rectifyRecord.
#[derive(Serialize)]
pub struct RecordView {
    /// Id.
    pub id: RecordId,
    /// Kind.
    pub kind: String,
    /// 1 and up.
    pub version: u64,
    /// Purpose groups whose keys open it.
    pub groups: Vec<String>,
}

/// Answer of openErasure, approveErasure and getErasure.
#[derive(Serialize)]
pub struct ErasureView {
    /// Id.
    pub id: ErasureId,
    /// State.
    pub state: ErasureState,
    /// Scope.
    pub scope: Scope,
    /// Cause.
    pub cause: Cause,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Shown once, to the approver, for the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_code: Option<String>,
    /// The certificate, once sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<serde_json::Value>,
    /// Its tlog proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// Answer of putCaller.
#[derive(Serialize)]
pub struct CallerView {
    /// Id.
    pub id: CallerId,
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: CallerKind,
    /// Roles.
    pub roles: Vec<Role>,
    /// Purposes.
    pub purposes: Vec<String>,
    /// State.
    pub state: CallerState,
    /// What it is to be able to do, once a second security officer puts the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<CallerProposal>,
}

/// Rights that wait for a second security officer.
#[derive(Serialize)]
pub struct CallerProposal {
    /// Roles.
    pub roles: Vec<Role>,
    /// Purposes.
    pub purposes: Vec<String>,
    /// State.
    pub state: CallerState,
}

/// Answer of issueToken.
#[derive(Serialize)]
pub struct TokenView {
    /// Id.
    pub id: TokenId,
    /// The bearer token; only in the first answer.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}
