//! The bodies of the API, as docs/API.md has them: strict, so an unknown or repeated member is an error.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::caller::{CallerKind, Role};
use super::case::CaseKind;
use super::ids::{
    CallerId, CaseId, ConsentId, DecisionId, DeliveryId, DisclosureId, ErasureId, KeyJobId, NoticeId, ProposalId, PseudonymId,
    RecordId, RequestId, RestrictionId, SubjectId, TenantId, TokenId,
};
use super::named;
use super::standing::{ConsentState, RestrictionKind};
use crate::model::schema::{Day, Time};

mod answers;
mod bundles;
mod cases;
mod incidents;
mod requests;

pub use answers::*;
pub use bundles::*;
pub use cases::*;
pub use incidents::*;
pub use requests::*;

/// `POST /subjects`.
#[derive(Deserialize, JsonSchema)]
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
    #[schemars(with = "Option<Day>")]
    pub birth_date: Option<Date>,
    /// `child` or `adult` where the birth date is not held.
    #[serde(default)]
    pub age_band: Option<AgeBand>,
    /// What the subject can be found by, at most 16.
    #[serde(default, deserialize_with = "named::each")]
    #[schemars(length(max = 16))]
    pub aliases: Vec<Alias>,
    /// The guardian of a minor; not kept of anybody else.
    #[serde(default)]
    pub guardian: Option<SubjectId>,
    /// What shows that the guardian agreed.
    #[serde(default, deserialize_with = "named::option")]
    pub guardian_consent: Option<GuardianWord>,
    /// The notice that was shown before collection.
    #[serde(default, deserialize_with = "named::option")]
    pub notice: Option<Notice>,
}

/// A guardian's consent for a ward, with how it was verified.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardianWord {
    /// One of the policy's methods, such as `signed-form`.
    pub method: String,
    /// When it was given.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// Purposes that the guardian explicitly agreed to, beside the account itself.
    #[serde(default)]
    pub purposes: Vec<String>,
}

/// `PUT /subjects/{s}/guardian`.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum PutGuardian {
    /// The guardian agrees.
    Given {
        /// The guardian's subject.
        guardian: SubjectId,
        /// One of the policy's methods.
        method: String,
        /// When.
        #[schemars(with = "Time")]
        at: Timestamp,
        /// Purposes beside the account itself.
        #[serde(default)]
        purposes: Vec<String>,
    },
    /// The guardian takes it back.
    Withdrawn {},
}

/// An age band, where no birth date is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgeBand {
    /// Below the jurisdiction's age.
    Child,
    /// At or above it.
    Adult,
}

/// What a subject can be found by.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// `email`, `phone`, `external_id` or `handle`.
    pub r#type: String,
    /// The value; it is normalised by its type before use.
    pub value: String,
}

/// A notice shown before collection.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The policy version, or `current`.
    pub policy_version: String,
    /// BCP 47 language tag.
    pub language: String,
    /// Where it was shown, such as `web`.
    pub channel: String,
    /// When.
    #[schemars(with = "Time")]
    pub shown_at: Timestamp,
}

/// `POST /subjects/{s}/records`.
#[derive(Deserialize, JsonSchema)]
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
    #[schemars(with = "Option<Time>")]
    pub collected_at: Option<Timestamp>,
    /// Whether it goes with the session, a day after its collection at the latest. Default: it stays.
    #[serde(default)]
    pub lifetime: Lifetime,
    /// Fields that were verified, and when: from then on they are corrected with evidence only.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Time>")]
    pub verified_at: BTreeMap<String, Timestamp>,
    /// Field name → JSON value, in the catalogue's type.
    pub fields: Fields,
}

/// How long a device identifier lives (p30).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// Until the session ends.
    Session,
    /// As its retention rule says.
    #[default]
    Persistent,
}

/// Provenance of a record (p07).
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `data-subject`, `interaction`, `third-party` or `public`.
    pub r#type: String,
    /// Who, when it is a third party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
    /// What the third party's giving it rests on, such as `contract` or `eu-gdpr:A6-1-f`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
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

impl JsonSchema for Fields {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fields".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Name of a field of the catalogue \u{2192} its JSON value, in the catalogue's type.",
            "type": "object", "maxProperties": 128, "propertyNames": {"pattern": "^[a-z0-9_-]{1,64}$"},
            "examples": [{"name": "Ada", "email": "ada@example.org"}],
        })
    }
}

/// `PATCH /subjects/{s}/records/{r}`: RFC 7396 over the record's fields; `null` removes a field.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RectifyRecord {
    /// Field name → new JSON value, or null.
    pub fields: Fields,
    /// What shows that a verified field is wrong.
    #[serde(default, deserialize_with = "named::option")]
    pub evidence: Option<Evidence>,
    /// Fields that were verified, and when.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Time>")]
    pub verified_at: BTreeMap<String, Timestamp>,
    /// The person's request that this fulfils.
    #[serde(default)]
    pub request: Option<RequestId>,
}

/// What shows something, kept elsewhere: its kind and its digest.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// A word, such as `passport`.
    pub kind: String,
    /// SHA-256 of it, in hex.
    pub digest: String,
}

/// `POST /subjects/{s}/restrictions`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestrictSubject {
    /// `art18`, `objection`, `dispute` or `legal-hold`.
    pub kind: RestrictionKind,
    /// The purposes that it is about; none is all.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// Purposes that go on all the same.
    #[serde(default)]
    pub exceptions: Vec<String>,
    /// Records of a legal hold; none is all.
    #[serde(default)]
    pub records: Vec<RecordId>,
    /// The case, a word; a legal hold needs one.
    #[serde(default)]
    pub case: Option<String>,
    /// When it is to be looked at again; a legal hold needs it.
    #[serde(default)]
    #[schemars(with = "Option<Time>")]
    pub review_at: Option<Timestamp>,
    /// Why, a word.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `POST /subjects/{s}/restrictions/{x}/exceptions`: compelling grounds (GDPR Art. 21(1)) or an exception of Art. 18(2).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptPurposes {
    /// Purposes that go on all the same.
    pub purposes: Vec<String>,
    /// Why, a word.
    pub reason: String,
}

/// `DELETE /subjects/{s}/restrictions/{x}`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LiftRestriction {
    /// Why, a word.
    pub reason: String,
}

/// One restriction, as it is answered.
#[derive(Serialize, JsonSchema)]
pub struct RestrictionView {
    /// Id.
    pub id: RestrictionId,
    /// Kind.
    pub kind: RestrictionKind,
    /// The purposes that it is about; none is all.
    pub purposes: Vec<String>,
    /// Purposes that go on all the same.
    pub exceptions: Vec<String>,
    /// Records of a legal hold; none is all.
    pub records: Vec<RecordId>,
    /// The case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// When it began.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// When it is to be looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub review_at: Option<Timestamp>,
    /// In force; a legal hold waits for its second officer.
    pub active: bool,
}

/// One item of `POST /records:batch`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRecord {
    /// Whose record.
    pub subject: SubjectId,
    /// As for writeRecord.
    #[serde(deserialize_with = "named::one")]
    pub record: WriteRecord,
}

/// `POST /subject-lookups`.
#[derive(Deserialize, JsonSchema)]
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

/// `POST /subjects/{s}/consents`: one event; giving and taking back are the same call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordConsent {
    /// The purpose that it is about.
    pub purpose: String,
    /// What the person said.
    pub state: ConsentWord,
    /// `general`, `separate`, `separate:partner:{id}:{purpose}` or `explicit:partner:{id}:{field}`.
    pub kind: String,
    /// When a given consent ends by itself.
    #[serde(default)]
    #[schemars(with = "Option<Time>")]
    pub until: Option<Timestamp>,
    /// The notice that was shown with it; a given consent needs one, here or recorded before.
    #[serde(default, deserialize_with = "named::option")]
    pub notice: Option<Notice>,
    /// What shows that it was said, at most 256 characters.
    #[serde(default)]
    pub evidence: Option<String>,
    /// Until when the person lets the purpose's group be kept beyond its retention period.
    #[serde(default)]
    #[schemars(with = "Option<Time>")]
    pub extend_retention_until: Option<Timestamp>,
}

/// What a person can say to a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentWord {
    /// Yes.
    Given,
    /// No.
    Refused,
    /// No longer.
    Withdrawn,
}

/// One consent event, as recordConsent and listConsents answer it.
#[derive(Serialize, JsonSchema)]
pub struct ConsentView {
    /// Id.
    pub id: ConsentId,
    /// Purpose.
    pub purpose: String,
    /// Kind.
    pub kind: String,
    /// What was said, or became of it.
    pub state: ConsentState,
    /// When.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// When a given consent ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub until: Option<Timestamp>,
    /// The policy version that it is about.
    pub policy_version: String,
    /// The categories that the purpose had then.
    pub categories: Vec<String>,
    /// When the key of the purpose's group is destroyed, after a withdrawal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub destroy_at: Option<Timestamp>,
    /// Until when the group is kept beyond its period.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub extend_retention_until: Option<Timestamp>,
    /// Who recorded it; absent for the vault itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_by: Option<CallerId>,
    /// Where the receipt is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// `PUT /subjects/{s}/preferences/{p}`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPreference {
    /// On.
    pub on: bool,
}

/// `PUT /subjects/{s}/contracts/{ref}`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutContract {
    /// `active` or `closed`.
    pub state: ContractState,
    /// First day.
    #[schemars(with = "Day")]
    pub from: Date,
    /// Last day; null while open-ended.
    #[serde(default)]
    #[schemars(with = "Option<Day>")]
    pub until: Option<Date>,
}

/// Whether a contract can carry a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenErasure {
    /// Whom.
    pub subject: Whom,
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
    /// The person's request that it fulfils: open, of the type erasure, and verified.
    #[serde(default)]
    pub request: Option<RequestId>,
}

/// How much of a subject an erasure takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// `POST /erasures/{e}/approvals`; an empty object, or no body, approves.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveErasure {
    /// What the second person says.
    #[serde(default)]
    pub decision: ErasureDecision,
}

/// What becomes of an erasure that waits for its second person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureDecision {
    /// It is carried out.
    #[default]
    Approve,
    /// The second person refuses it.
    Deny,
    /// Who opened it takes it back.
    Revoke,
}

/// States of an erasure, in their order (docs/ERASURE.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
    /// Everything but what a legal hold keeps is sealed; the rest goes when the hold is lifted.
    Partial,
}

/// `POST /keys/operations`. Its variants have braces because serde takes any member beside the tag of one without.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "operation", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OperateKeys {
    /// A new epoch: old ones die.
    RotateEpoch {},
    /// Empties every key from memory.
    Seal {},
    /// A backup into the configured target: what came since the last one, or everything.
    Backup {
        /// Everything.
        #[serde(default)]
        full: bool,
    },
    /// A fresh root key, held as the old one was; what opened the vault before does so no more, unless it is given anew.
    RotateRoot {
        /// The passphrase of now, or the token's PIN where the vault has it from no file.
        #[serde(default)]
        passphrase: Option<Passphrase>,
        /// The passphrase from now on; the same unless told.
        #[serde(default)]
        new_passphrase: Option<Passphrase>,
    },
    /// New keys for every place of the key trees, in the background.
    RotateTree {},
    /// New keys for one person's records, in the background.
    RotateSubject {
        /// Who.
        subject: SubjectId,
    },
    /// New keys for everybody's records, in the background.
    RotateSubjects {},
    /// New keys under which people are found, in the background.
    RotateIndex {},
    /// New keys for the vault's own rows, its statistics and its tokens, in the background.
    RotateTenant {},
    /// A new key that signs for the trail, countersigned by the one before.
    RotateSigning {},
    /// A rotation rests until it is resumed.
    PauseJob {
        /// Which.
        job: KeyJobId,
    },
    /// A rotation that rests goes on where it was.
    ResumeJob {
        /// Which.
        job: KeyJobId,
    },
    /// A rotation ends where it is, if what it has done so far can stand alone.
    CancelJob {
        /// Which.
        job: KeyJobId,
    },
    /// Opens the vault again: one of the two.
    Unseal {
        /// The passphrase that holds the root key, or the PIN of the token that does.
        #[serde(default)]
        passphrase: Option<Passphrase>,
        /// One person's share.
        #[serde(default)]
        share: Option<Passphrase>,
    },
}

/// A passphrase on its way in. It has no Debug, Display, Clone or Serialize.
pub struct Passphrase(pub keys::secret::SecretString);

impl<'de> Deserialize<'de> for Passphrase {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(|text| Self(keys::secret::SecretString::from(text)))
    }
}

impl JsonSchema for Passphrase {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Passphrase".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "writeOnly": true})
    }
}

/// `POST /policy-versions`.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PublishPolicy {
    /// Makes a proposal of what is drafted.
    Propose {},
    /// Puts a proposal in force: the second person's part.
    Approve {
        /// Which.
        proposal: ProposalId,
    },
    /// Drops a proposal.
    Reject {
        /// Which.
        proposal: ProposalId,
    },
}

/// `GET /policy-versions/{v}`.
pub struct PolicyAsked {
    /// A version by its name, or `current`.
    pub version: String,
    /// An older version, to be told what changed since.
    pub diff: Option<String>,
    /// Whose, for a caller without credentials.
    pub controller: Option<TenantId>,
    /// As JSON-LD rather than as a page.
    pub linked: bool,
}

/// `PUT /callers/{c}`; `{c}` is an id, or `new`.
#[derive(Deserialize, JsonSchema)]
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
    #[schemars(with = "Option<Day>")]
    pub trained_at: Option<Date>,
    /// Region that it works in; default where the data lies.
    #[serde(default)]
    pub region: Option<String>,
    /// Source system that it collects for.
    #[serde(default)]
    pub source: Option<String>,
    /// Registered partner that it works for.
    #[serde(default)]
    pub partner: Option<String>,
    /// Whose access tokens of the trusted issuer stand for it: `issuer|sub`.
    #[serde(default)]
    pub external: Option<String>,
    /// The client certificate that it must come with: SHA-256 of its DER in base64url, as `x5t#S256` of RFC 8705.
    #[serde(default)]
    pub certificate: Option<String>,
}

impl PutCaller {
    /// An active caller with these rights and nothing else.
    pub fn of(name: &str, kind: CallerKind, roles: Vec<Role>, purposes: Vec<String>) -> Self {
        let (state, name) = (CallerState::Active, name.to_owned());
        let (trained_at, region, source, partner) = (None, None, None, None);
        let (revoke_tokens, external, certificate) = (false, None, None);
        Self { name, kind, roles, purposes, state, revoke_tokens, trained_at, region, source, partner, external, certificate }
    }
}

/// Whether a caller's tokens work.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueToken {
    /// Purposes, a part of the caller's; default all of them.
    #[serde(default)]
    pub purposes: Option<Vec<String>>,
    /// Field names that it is narrowed to.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// Seconds that it lives: 60 to 31,536,000; default 90 days. A person's own token lives 3,600 at most, 900 unless told.
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
    /// The person whose own token it is to be: it then has the role `subject` alone, and reaches this person as `me`.
    #[serde(default)]
    pub subject: Option<SubjectId>,
    /// The grant as RFC 9396 has it, in place of `purposes` and `fields`: one detail.
    #[serde(default, deserialize_with = "named::each")]
    pub authorization_details: Vec<AuthorizationDetail>,
}

/// One authorization detail (RFC 9396 §2) of the type `oubliette`. A member that is not there narrows nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetail {
    /// `oubliette`.
    pub r#type: String,
    /// Operation ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// Purposes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purposes: Option<Vec<String>>,
    /// Field names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// Where the bearer works: one region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<String>>,
}

impl AuthorizationDetail {
    /// The type of the vault's own details.
    pub const TYPE: &'static str = "oubliette";
}

/// A subject in a body: an id, or `me` for the bearer of a person's own token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The bearer.
    Me,
    /// This one.
    Subject(SubjectId),
}

impl<'de> Deserialize<'de> for Whom {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        match &*text {
            "me" => Ok(Self::Me),
            id => id.parse().map(Self::Subject).map_err(|_| serde::de::Error::custom("not a sub_ id")),
        }
    }
}

impl JsonSchema for Whom {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Whom".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A subject: an id, or `me` for the bearer of a person's own token.",
            "anyOf": [generator.subschema_for::<SubjectId>(), {"const": "me"}],
        })
    }
}

/// `POST /disclosures`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disclose {
    /// Whose data.
    pub subject: Whom,
    /// The registered partner.
    pub recipient: String,
    /// Field names; none is all that purpose and agreement cover.
    #[serde(default)]
    pub fields: Vec<String>,
    /// What it is made on.
    #[serde(default)]
    pub kind: DisclosureKind,
    /// The approved case, for every kind but `partner`.
    #[serde(default)]
    pub case: Option<CaseId>,
}

/// What a disclosure is made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DisclosureKind {
    /// The recipient's agreement.
    #[default]
    Partner,
    /// A law or legal process, by a case.
    LegalProcess,
    /// A reasonable need, by a case.
    ReasonableNeed,
    /// The protection of the child whose data it is, by a case.
    ChildProtection,
}

impl DisclosureKind {
    /// The kind of case that it needs.
    pub const fn case(self) -> Option<CaseKind> {
        match self {
            Self::Partner => None,
            Self::LegalProcess => Some(CaseKind::LegalProcess),
            Self::ReasonableNeed => Some(CaseKind::ReasonableNeed),
            Self::ChildProtection => Some(CaseKind::ChildProtection),
        }
    }
}

/// `POST /notices`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendNotice {
    /// To whom.
    pub subject: Whom,
    /// What it is.
    pub kind: NoticeKind,
    /// The policy version that it shows or is about, or `current`.
    #[serde(default = "current")]
    pub policy_version: String,
    /// BCP 47 language tag.
    pub language: String,
    /// Where it was shown or is to go, such as `web` or `email`.
    pub channel: String,
    /// When, if it was shown.
    #[serde(default)]
    #[schemars(with = "Option<Time>")]
    pub shown_at: Option<Timestamp>,
    /// Which text is to be sent.
    #[serde(default)]
    pub template: Option<String>,
    /// Whether the text advertises something; such a notice is refused.
    #[serde(default)]
    pub promotional: bool,
}

fn current() -> String {
    "current".to_owned()
}

/// What a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// It was shown to the person before collection.
    Shown,
    /// About the service that the person uses.
    Service,
    /// About a danger.
    Security,
    /// About a change of the policy.
    PolicyChange,
}

impl NoticeKind {
    /// Its name in bodies.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Service => "service",
            Self::Security => "security",
            Self::PolicyChange => "policy-change",
        }
    }
}

/// `POST /decisions`, AuthZEN-shaped: may this caller do that, and which guard says so?
#[derive(Deserialize, JsonSchema)]
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
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthzenEntity {
    /// `caller` or `subject`.
    pub r#type: String,
    /// Its id.
    pub id: String,
}

/// The operation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthzenAction {
    /// An operation id.
    pub name: String,
}

/// What the decision depends on beside the two ids.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthzenContext {
    /// Purpose.
    #[serde(default)]
    pub purpose: Option<String>,
    /// Field names.
    #[serde(default)]
    pub fields: Vec<String>,
    /// One record of the subject.
    #[serde(default)]
    pub record: Option<RecordId>,
}

/// Answer of createSubject and getSubject: nothing personal in it.
#[derive(Serialize, JsonSchema)]
pub struct SubjectView {
    /// Id.
    pub id: SubjectId,
    /// `active`; `closed`; or `held`, when only what a case needs is left.
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
    #[schemars(with = "Time")]
    pub created_at: Timestamp,
    /// Notices that were shown.
    pub notices: Vec<ShownView>,
    /// The guardian, of one who has or had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardian: Option<GuardianView>,
    /// Restrictions in force or waiting for the second officer.
    pub restrictions: Vec<RestrictionView>,
    /// What is owed to the person.
    pub tasks: Vec<TaskView>,
}

/// A notice that was shown.
#[derive(Serialize, JsonSchema)]
pub struct ShownView {
    /// The policy version that was shown.
    pub policy_version: String,
    /// When.
    #[schemars(with = "Time")]
    pub shown_at: Timestamp,
}

/// A guardian's word.
#[derive(Serialize, JsonSchema)]
pub struct GuardianView {
    /// The guardian's subject.
    pub id: SubjectId,
    /// How it was verified.
    pub method: String,
    /// Purposes beside the account itself.
    pub purposes: Vec<String>,
    /// `given`; `withdrawn`; or `ended`, since the ward came of age and decides alone.
    pub state: &'static str,
}

/// Something owed to the person.
#[derive(Serialize, JsonSchema)]
pub struct TaskView {
    /// `art14-notice`.
    pub kind: String,
    /// The party that it is about.
    pub party: String,
    /// Until when.
    #[schemars(with = "Time")]
    pub due_at: Timestamp,
}

/// Answer of writeRecord and rectifyRecord.
#[derive(Serialize, JsonSchema)]
pub struct RecordView {
    /// Id.
    pub id: RecordId,
    /// Kind.
    pub kind: String,
    /// 1 and up.
    pub version: u64,
    /// Purpose groups whose keys open it.
    pub groups: Vec<String>,
    /// The policy version that it was collected under.
    pub policy_version: String,
    /// Purposes that it was written for and that cannot be served, since a field that they need is missing (p12).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unavailable: Vec<String>,
}

/// Answer of openErasure, approveErasure and getErasure.
#[derive(Serialize, JsonSchema)]
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
    #[schemars(with = "Time")]
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
    /// How the vault's signing keys followed each other, where there was more than one: what leads from a key that somebody kept to the one
    /// that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// How far telling each recipient has come by now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<RecipientView>,
}

/// A recipient that is told of an erasure.
#[derive(Serialize, JsonSchema)]
pub struct RecipientView {
    /// Who.
    pub name: String,
    /// How far its message came; `forgotten` once that is not kept any more.
    pub state: &'static str,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub since: Option<Timestamp>,
}

/// Answer of putCaller.
#[derive(Serialize, JsonSchema)]
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
#[derive(Serialize, JsonSchema)]
pub struct CallerProposal {
    /// Roles.
    pub roles: Vec<Role>,
    /// Purposes.
    pub purposes: Vec<String>,
    /// State.
    pub state: CallerState,
}

/// Answer of issueToken.
#[derive(Serialize, JsonSchema)]
pub struct TokenView {
    /// Id.
    pub id: TokenId,
    /// The bearer token; only in the first answer.
    pub token: String,
    /// When it ends.
    #[schemars(with = "Time")]
    pub expires_at: Timestamp,
    /// The person whose own token it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// What it grants, as RFC 9396 has it.
    pub authorization_details: [AuthorizationDetail; 1],
}

/// `POST /step-ups`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// The code of the moment, as the second factor shows it.
    pub code: OneTimeCode,
}

/// A code on its way in. It has no Debug, Display, Clone or Serialize.
pub struct OneTimeCode(pub String);

impl<'de> Deserialize<'de> for OneTimeCode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Self)
    }
}

impl JsonSchema for OneTimeCode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneTimeCode".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "writeOnly": true, "examples": ["123456"]})
    }
}

/// Answer of the enrolment of a second factor; only in the first answer.
#[derive(Serialize, JsonSchema)]
pub struct FactorView<'a> {
    /// The shared secret, base32.
    pub secret: &'a str,
    /// The same as authenticator apps scan it.
    pub uri: String,
}

/// `POST /subjects/{s}/secrets/{field}/verifications`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifySecret {
    /// What the person typed.
    pub value: Passphrase,
}

/// `POST /queries`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryRecords {
    /// Names of the fields that each row shall have.
    pub fields: Vec<String>,
    /// What a person's fields must fulfil, all of it.
    #[serde(default, deserialize_with = "named::each")]
    pub filters: Vec<Filter>,
    /// Names of those fields whose values are made coarser: a date becomes its year.
    #[serde(default)]
    pub years: Vec<String>,
    /// Rows of one answer: 1 to 500; 500 unless told.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<usize>,
    /// What `next_cursor` said.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// One condition.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The field.
    pub field: String,
    /// How it is compared.
    pub op: FilterOp,
    /// With what.
    pub value: String,
}

/// The ways of comparing; there are no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilterOp {
    /// The same text.
    Equals,
    /// A text that begins with it.
    Prefix,
    /// A date in that year.
    Year,
}

/// `POST /stats`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordStats {
    /// A declared measure.
    pub measure: String,
    /// When it was counted; only the day is kept.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// Declared dimension → declared value.
    #[serde(default)]
    pub dimensions: BTreeMap<String, String>,
    /// How many.
    pub count: u64,
    /// What they add up to, for measures that have a sum.
    #[serde(default)]
    pub sum: Option<u64>,
}

/// What of the statistics is to be read.
pub struct ReadStats {
    /// A declared measure.
    pub measure: Option<String>,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub until: Option<Date>,
    /// The dimension to break it down by.
    pub by: Option<String>,
}

/// Answer of disclose.
#[derive(Serialize, JsonSchema)]
pub struct DisclosedView<'a> {
    /// Its place in the ledger.
    pub id: DisclosureId,
    /// The partner.
    pub recipient: String,
    /// The purpose.
    pub purpose: String,
    /// The partner's name for the person.
    pub pseudonym: PseudonymId,
    /// The case that it was made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// The fields that are released, in clear.
    pub fields: BTreeMap<&'a str, Box<RawValue>>,
}

/// One line of the ledger.
#[derive(Serialize, JsonSchema)]
pub struct DisclosureView {
    /// Id.
    pub id: DisclosureId,
    /// The person, for those who may know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// The person's tag in the trail, for those who may know no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_tag: Option<String>,
    /// The partner's name for the person.
    pub pseudonym: PseudonymId,
    /// The partner.
    pub recipient: String,
    /// `partner`, `partner-read` where it read for itself, or the kind of the case.
    pub kind: &'static str,
    /// The case that it was made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// The purpose.
    pub purpose: String,
    /// The fields.
    pub fields: Vec<String>,
    /// Where the partner received it.
    pub region: String,
    /// When.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// The decision that released it.
    pub decision: DecisionId,
}

/// What a past recipient is to hear of.
#[derive(Serialize, JsonSchema)]
pub struct UpdateEvent {
    /// The same whenever it is told again.
    pub id: DeliveryId,
    /// `update`, `restriction`, `restriction-lifted` or `deletion`.
    pub r#type: &'static str,
    /// The partner.
    pub recipient: String,
    /// A disclosure by which it got the fields.
    pub disclosure: DisclosureId,
    /// Its name for the person.
    pub pseudonym: PseudonymId,
    /// The fields that it is about.
    pub fields: Vec<String>,
    /// When.
    #[schemars(with = "Time")]
    pub at: Timestamp,
}

/// The same, signed by the vault.
#[derive(Serialize, JsonSchema)]
pub struct UpdateView {
    /// What it says.
    pub event: UpdateEvent,
    /// Ed25519 over `oubliette-update/v1`, a line feed and the event in canonical JSON (RFC 8785), in base64.
    pub signature: String,
}

/// `POST /subjects/{subject}/notices/{notice}/bounces`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BouncedNotice {
    /// The mail server's status (RFC 3463), such as `5.1.1`.
    #[serde(default)]
    pub status: Option<String>,
}

/// A letter, and what became of it.
#[derive(Serialize, JsonSchema)]
pub struct NoticeView {
    /// Id.
    pub id: NoticeId,
    /// Kind.
    pub kind: String,
    /// Which letter.
    pub template: String,
    /// `queued`, `sent`, `bounced` or `given-up`.
    pub state: &'static str,
    /// Why it did not leave, or came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The policy version that it is about.
    pub policy_version: String,
    /// The language that it was asked for in; empty is the fallback.
    pub language: String,
    /// When it was queued.
    #[schemars(with = "Time")]
    pub queued_at: Timestamp,
    /// When it came to its state.
    #[schemars(with = "Time")]
    pub state_at: Timestamp,
}

/// What a past recipient of somebody who was erased is to hear.
#[derive(Serialize, JsonSchema)]
pub struct PurgedView {
    /// `erasure`.
    pub r#type: &'static str,
    /// The partner.
    pub recipient: String,
    /// A security event token (RFC 8417), signed by the vault.
    pub token: String,
    /// When.
    #[schemars(with = "Time")]
    pub at: Timestamp,
}

/// A message to a partner that should have been acknowledged by now.
#[derive(Serialize, JsonSchema)]
pub struct OverdueView {
    /// Id: the `jti` or `id` that the partner was told.
    pub id: DeliveryId,
    /// The partner.
    pub recipient: String,
    /// What it was told of.
    pub event: String,
    /// How far it came.
    pub state: &'static str,
    /// How often it was tried in vain.
    pub tries: u32,
    /// When it was made.
    #[schemars(with = "Time")]
    pub made_at: Timestamp,
    /// By when it was to be acknowledged.
    #[schemars(with = "Option<Time>")]
    pub due_at: Option<Timestamp>,
}

/// Answer of sendNotice.
#[derive(Serialize, JsonSchema)]
pub struct SentNotice {
    /// Id.
    pub id: NoticeId,
    /// Kind.
    pub kind: NoticeKind,
    /// `shown`, or `queued` until it is sent.
    pub state: &'static str,
    /// The policy version.
    pub policy_version: String,
    /// When it was shown or queued.
    #[schemars(with = "Time")]
    pub at: Timestamp,
}
