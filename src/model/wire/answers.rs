//! Answers that are lists, or that say a little beside what was asked for.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ConsentView, DisclosureView, IncidentView, NoticeView, OverdueView, Phase, PurgedView, RequestView, UpdateView};
use crate::model::ids::{CallerId, ConsentId, DeliveryId, DisclosureId, ErasureId, IncidentId, KeyJobId, RecordId, SubjectId};
use crate::model::rules::Basis;
use crate::model::schema::{Day, Time};

/// Answer of lookupSubject.
#[derive(Serialize, JsonSchema)]
pub struct FoundView {
    /// The one subject that is found by it.
    pub id: SubjectId,
}

/// Answer of whatever erased the person: a child without a guardian's consent, or a hold that was all that kept something.
#[derive(Serialize, JsonSchema)]
pub struct LedToErasure {
    /// The erasure.
    pub erasure: ErasureId,
}

/// Answer of readRecords.
#[derive(Serialize, JsonSchema)]
pub struct RecordsPage {
    /// What this call may see of each record.
    pub records: Vec<RecordRead>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
    /// The line in the ledger, where a partner reads for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disclosure: Option<DisclosureId>,
}

/// One record, as far as the call reaches.
#[derive(Serialize, JsonSchema)]
pub struct RecordRead {
    /// Id.
    pub id: RecordId,
    /// Kind.
    pub kind: String,
    /// 1 and up.
    pub version: u64,
    /// Field name → value in the catalogue's type, or its mask.
    pub fields: BTreeMap<String, Value>,
    /// Those of the fields that nobody gave, corrected or verified for longer than the catalogue trusts them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<String>,
}

/// Answer of queryRecords.
#[derive(Serialize, JsonSchema)]
pub struct QueryPage {
    /// One row a person.
    pub rows: Vec<QueryRow>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
}

/// One person's newest value of each field.
#[derive(Serialize, JsonSchema)]
pub struct QueryRow {
    /// The person, where a direct identifier was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// Else a name of this query's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pseudonym: Option<String>,
    /// Field name → value.
    pub fields: BTreeMap<String, Value>,
}

/// Answer of verifySecret.
#[derive(Serialize, JsonSchema)]
pub struct SecretMatch {
    /// Whether it is the person's secret; false too where there is none.
    pub matches: bool,
}

/// Answer of stepUp.
#[derive(Serialize, JsonSchema)]
pub struct SteppedUp {
    /// Until when this token sees clear text.
    #[schemars(with = "Time")]
    pub until: Timestamp,
    /// What was shown (RFC 9470).
    pub acr: &'static str,
}

/// Answer of listConsents, oldest first.
#[derive(Serialize, JsonSchema)]
pub struct ConsentsPage {
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// The person's tag in the trail, to an auditor in place of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The events.
    pub consents: Vec<ConsentView>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
}

/// Answer of getConsentReceipt.
#[derive(Serialize, JsonSchema)]
pub struct ReceiptView {
    /// The receipt, in RFC 8785 form: `/schemas/consent-receipt`.
    pub receipt: Box<RawValue>,
    /// Its tlog proof.
    pub proof: String,
    /// How the vault's signing key turned over, each countersigned by the one before; absent while it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
}

/// Answer of setPreference.
#[derive(Serialize, JsonSchema)]
pub struct PreferenceView {
    /// The switch.
    pub preference: String,
    /// How it stands now.
    pub on: bool,
    /// Since when.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// Consents that were taken back with it.
    pub withdrawn: Vec<ConsentId>,
}

/// Answer of listRequests, what is due first in front.
#[derive(Serialize, JsonSchema)]
pub struct RequestsPage {
    /// The queue.
    pub requests: Vec<RequestView>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
}

/// The letters to a person.
#[derive(Serialize, JsonSchema)]
pub struct NoticesPage {
    /// Each with what became of it.
    pub notices: Vec<NoticeView>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
}

/// Answer of listDisclosures: one of the three lists, as it was asked for.
#[derive(Default, Serialize, JsonSchema)]
pub struct DisclosuresPage {
    /// Lines of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<DisclosureView>")]
    pub disclosures: Option<Vec<Value>>,
    /// With `updates=true`: what past recipients are to hear.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<ToldView>")]
    pub updates: Option<Vec<Value>>,
    /// With `overdue=true`: what should have been acknowledged by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<OverdueView>")]
    pub overdue: Option<Vec<Value>>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
}

/// What a past recipient is to hear: of a change, or that the person was erased.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ToldView {
    /// Of a change.
    Update(UpdateView),
    /// That the person was erased.
    Purged(PurgedView),
}

/// The register of incidents.
#[derive(Serialize, JsonSchema)]
pub struct IncidentsPage {
    /// Incidents with their clocks.
    pub incidents: Vec<IncidentView>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
}

/// A notice to an authority, made.
#[derive(Serialize, JsonSchema)]
pub struct ReportedView {
    /// About which incident.
    pub incident: IncidentId,
    /// The authority's id in the directory.
    pub authority: String,
    /// Which notice.
    pub phase: Phase,
    /// When.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// SHA-256 of the text, in hex.
    pub sha256: String,
    /// Its place in the outbox.
    pub delivery: DeliveryId,
    /// What the authority is told: a signed note (C2SP).
    pub text: String,
}

/// Answer of explainDecision, AuthZEN-shaped.
#[derive(Serialize, JsonSchema)]
pub struct ExplainedView {
    /// Whether the call would be let through.
    pub decision: bool,
    /// By what.
    pub context: ExplainedContext,
}

/// What a decision was made by.
#[derive(Serialize, JsonSchema)]
pub struct ExplainedContext {
    /// The policy version that decided.
    pub policy_version: String,
    /// Every guard, in the order in which they are asked.
    pub guards: Vec<GuardView>,
}

/// What one guard says.
#[derive(Serialize, JsonSchema)]
pub struct GuardView {
    /// `G0` to `G15`.
    pub guard: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Null where it has nothing to say.
    pub holds: Option<bool>,
    /// The problem code of its refusal.
    pub code: Option<&'static str>,
    /// What it went by.
    pub rules: Vec<RuleView>,
}

/// Something that a guard went by: of the policy, or of the person.
#[derive(Serialize, JsonSchema)]
pub struct RuleView {
    /// `basis`, `assessment`, `legal-rule`, `transfer`, `partner`, `retention`; or `consent`, `contract`, `preference`,
    /// `restriction`, `guardian-consent`, `extension`.
    pub kind: &'static str,
    /// Its id, or its reference.
    pub id: String,
    /// Of a basis: its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// Of a basis: the term of the law.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// The policy version that it stands in, or is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<String>,
}

/// Answer of readStats.
#[derive(Serialize, JsonSchema)]
pub struct StatsView {
    /// The measure.
    pub measure: String,
    /// First day.
    #[schemars(with = "Day")]
    pub from: Date,
    /// Last day.
    #[schemars(with = "Day")]
    pub until: Date,
    /// The dimension that it is broken down by.
    pub by: Option<String>,
    /// The smallest count that is shown.
    pub floor: u64,
    /// What is shown.
    pub cells: Vec<StatsCell>,
    /// Whether something was left out.
    pub suppressed: bool,
}

/// One cell.
#[derive(Serialize, JsonSchema)]
pub struct StatsCell {
    /// The dimension's value; null where it is all of them.
    pub value: Option<String>,
    /// How many.
    pub count: u64,
    /// What they add up to, for measures that have a sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<u64>,
}

/// Answer of getCheckpoint.
#[derive(Serialize, JsonSchema)]
pub struct CheckpointView {
    /// Entries of the tree.
    pub size: u64,
    /// A signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
    /// With `leaf`: that the entry is in the tree (RFC 6962), hashes in base64.
    pub inclusion: Option<Vec<String>>,
    /// With `from`: that the older tree is its beginning.
    pub consistency: Option<Vec<String>>,
    /// How the vault's signing key turned over, each countersigned by the one before; absent while it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
}

/// Answer of operateKeys, where there is something to say.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum KeysOperated {
    /// A new epoch was opened; what the old one held is gone.
    RotateEpoch {
        /// Its number.
        epoch: u64,
    },
    /// The vault is sealed.
    Seal {
        /// `sealed`.
        state: &'static str,
    },
    /// A backup was made, or is being made.
    Backup {
        /// `done` at every target, `partial` at some, or still `running`.
        state: &'static str,
        /// The first one that was made; null while they run.
        backup: Option<BackupMade>,
        /// How it went at each target.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        targets: Vec<BackupAtTarget>,
    },
    /// The root key is a fresh one.
    RotateRoot {
        /// Who holds it.
        provider: &'static str,
        /// What became of the key at the holder: `destroyed`, `kept`, or `none` where there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        old_key: Option<&'static str>,
    },
    /// The vault waits for more shares.
    Unseal {
        /// `sealed`.
        state: &'static str,
        /// Shares that were given.
        given: u8,
        /// Shares that are needed.
        needed: u8,
    },
    /// New keys for the key trees.
    RotateTree {
        /// The rotation.
        job: KeyJob,
    },
    /// New keys for one person's records.
    RotateSubject {
        /// The rotation.
        job: KeyJob,
    },
    /// New keys for everybody's records.
    RotateSubjects {
        /// The rotation.
        job: KeyJob,
    },
    /// New keys under which people are found.
    RotateIndex {
        /// The rotation.
        job: KeyJob,
    },
    /// New keys for the vault's own rows, its statistics and its tokens.
    RotateTenant {
        /// The rotation.
        job: KeyJob,
    },
    /// A new key that signs for the trail.
    RotateSigning {
        /// The rotation.
        job: KeyJob,
    },
    /// The rotation rests.
    PauseJob {
        /// The rotation.
        job: KeyJob,
    },
    /// The rotation goes on.
    ResumeJob {
        /// The rotation.
        job: KeyJob,
    },
    /// The rotation has ended where it was.
    CancelJob {
        /// The rotation.
        job: KeyJob,
    },
}

/// A backup that was made.
#[derive(Serialize, JsonSchema)]
pub struct BackupMade {
    /// Its number.
    pub number: u64,
    /// `full` or `incremental`.
    pub kind: String,
    /// When.
    #[schemars(with = "Time")]
    pub made_at: Timestamp,
    /// The epoch of its tree rows.
    pub epoch: u64,
}

/// How a backup went at one target.
#[derive(Serialize, JsonSchema)]
pub struct BackupAtTarget {
    /// Where.
    pub target: String,
    /// `done`, `running`, `waiting` or `failed`.
    pub state: &'static str,
    /// What was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupMade>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Bytes of the base so far, while it is being written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A rotation of keys in the background. Whom it is about is not shown.
#[derive(Serialize, JsonSchema)]
pub struct KeyJob {
    /// Id.
    pub id: KeyJobId,
    /// `tree`, `subject`, `subjects`, `index`, `tenant` or `signing`.
    pub kind: &'static str,
    /// `waiting`, `running`, `paused`; `done`, `failed`, `cancelled`.
    pub state: &'static str,
    /// How much of the whole lies behind.
    pub permille: u16,
    /// What was turned over.
    pub done: u64,
    /// What did not open.
    pub failed: u64,
    /// When it was asked for.
    #[schemars(with = "Time")]
    pub asked_at: Timestamp,
    /// When it began.
    #[schemars(with = "Option<Time>")]
    pub began_at: Option<Timestamp>,
    /// When it came to its end.
    #[schemars(with = "Option<Time>")]
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Who asked for it; null for the schedule.
    pub caller: Option<CallerId>,
}

/// Answer of listKeys: never key bytes.
#[derive(Serialize, JsonSchema)]
pub struct KeysPage {
    /// Keys, or what stands for many.
    pub keys: Vec<KeyView>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
    /// Rotations, the newest first.
    pub jobs: Vec<KeyJob>,
}

/// What is known about one key, or about all of a kind.
#[derive(Serialize, JsonSchema)]
pub struct KeyView {
    /// Its name.
    pub id: String,
    /// `root`, `epoch`, `tree`, `subjects`, `index`, `token`, `row`, `statistics` or `trail-signing`.
    pub kind: &'static str,
    /// `active`; `overdue` past its cryptoperiod; or `retiring`, until the rotation that is under way destroys it.
    pub state: &'static str,
    /// The cipher that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<&'static str>,
    /// Since when.
    #[schemars(with = "Time")]
    pub active_since: Timestamp,
    /// The same in seconds.
    pub age_seconds: i64,
    /// When its cryptoperiod ends; null where it has none.
    #[schemars(with = "Option<Time>")]
    pub overdue_at: Option<Timestamp>,
    /// When the vault turns it over by itself; null where it does not.
    #[schemars(with = "Option<Time>")]
    pub rotates_at: Option<Timestamp>,
    /// Of the root key: who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'static str>,
    /// Of a root key in shares: how many open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u8>,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u8>,
    /// Of the epoch: its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Of the epoch, what its destruction rests on: `hardware`, `kms`, `file` or `best-effort`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroy_assurance: Option<&'static str>,
    /// Of the epoch: the places of the keyring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<KeyPlaceView>,
    /// Of the root key, where its holder is looked after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<KeyHolderView>,
    /// Of the vault's own keys: the generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The epoch in which it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_in_epoch: Option<u64>,
}

/// A place of the keyring.
#[derive(Serialize, JsonSchema)]
pub struct KeyPlaceView {
    /// What the operator calls it.
    pub name: String,
    /// `file`, or what encloses it.
    pub kind: String,
    /// How it stands.
    pub state: &'static str,
    /// What destruction there is worth.
    pub destroy_assurance: &'static str,
    /// The first epoch whose key was there.
    pub since_epoch: u64,
    /// The last one, of a place that is past.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_epoch: Option<u64>,
    /// Why it is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How the holder of the root key was found.
#[derive(Serialize, JsonSchema)]
pub struct KeyHolderView {
    /// `reachable`, `away`, `refused`, `disabled`, `pending-deletion`, `gone` or `unusable`.
    pub state: &'static str,
    /// Since when it is not reachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub since: Option<Timestamp>,
}
