//! Bodies of incidents.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ids::{CallerId, IncidentId, SubjectId, TokenId};
use crate::model::named;
use crate::model::schema::Time;

/// `PUT /incidents/{incident}`: an incident as it is to be. What is left out is taken away.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutIncident {
    /// What happened, in a word: `leaked-token`.
    pub kind: String,
    /// When it was found out: the clocks run from then. It is never moved to a later time.
    #[schemars(with = "Time")]
    pub detected_at: Timestamp,
    /// How bad it is.
    pub severity: Severity,
    /// Critical infrastructure is struck, so that shorter clocks hold.
    #[serde(default)]
    pub critical_infrastructure: bool,
    /// `open`, `contained` or `closed`; as it is, where nothing is said.
    #[serde(default)]
    pub state: Option<String>,
    /// Which part of the trail shows whom it concerns.
    #[serde(default, deserialize_with = "named::option")]
    pub scope: Option<IncidentScope>,
    /// The nature of the breach (GDPR Art. 33(3)(a)), without names or addresses of anybody.
    #[serde(default)]
    pub nature: Option<String>,
    /// Its likely consequences (Art. 33(3)(c)).
    #[serde(default)]
    pub consequences: Option<String>,
    /// What was done or is proposed (Art. 33(3)(d)).
    #[serde(default)]
    pub measures: Option<String>,
}

/// How bad an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Unlikely to be a risk for anybody.
    Low,
    /// A risk.
    Medium,
    /// A high risk: the people are told (GDPR Art. 34).
    High,
    /// A high risk for very many, or of the worst kind.
    Critical,
}

impl Severity {
    /// In the order of their stored numbers.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];
}

/// Which entries of the trail an incident is about: those that fit everything that is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncidentScope {
    /// Calls with this token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// Calls of this caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerId>,
    /// Calls of the callers whose credentials are bound to this certificate (`x5t#S256`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Calls for the purposes of this purpose group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Everybody whose keys lived in this epoch, whatever was read: with its key and a copy of the storage all of it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub from: Option<Timestamp>,
    /// Before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub until: Option<Timestamp>,
    /// Those too whose data was changed or deleted.
    #[serde(default)]
    pub changes: bool,
}

/// `POST /incidents/{incident}/reports`: a notice to an authority (GDPR Art. 33), in phases (Art. 33(4)).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportIncident {
    /// The authority's id in the directory.
    pub authority: String,
    /// Which notice.
    pub phase: Phase,
    /// Why it is late, where it is (Art. 33(1)).
    #[serde(default)]
    pub reason: Option<String>,
}

/// Which notice to an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The first, which stops the clock.
    Initial,
    /// What was found out since.
    FollowUp,
    /// The last.
    Final,
}

impl Phase {
    /// In the order of their stored numbers.
    pub const ALL: [Self; 3] = [Self::Initial, Self::FollowUp, Self::Final];
}

/// `POST /incidents/{incident}/letters`: letters to the people (GDPR Art. 34).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteLetters {
    /// Which letter of the controller's; `incident` unless told.
    #[serde(default)]
    pub template: Option<String>,
}

/// An incident, in the register.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IncidentView {
    /// Id.
    pub id: IncidentId,
    /// What happened.
    pub kind: String,
    /// `open`, `contained` or `closed`.
    pub state: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Whether critical infrastructure is struck.
    pub critical_infrastructure: bool,
    /// When it was found out.
    #[schemars(with = "Time")]
    pub detected_at: Timestamp,
    /// When it was put down.
    #[schemars(with = "Time")]
    pub opened_at: Timestamp,
    /// Who put it down; the vault itself where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<CallerId>,
    /// What it is about, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The clocks of the authorities, the soonest first.
    pub clocks: Vec<ClockView>,
    /// Whether a clock ran out before its authority was told.
    pub overdue: bool,
    /// The letters to the people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letters: Option<LettersView>,
}

/// A clock of an authority.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ClockView {
    /// The authority's id in the directory.
    pub authority: String,
    /// Its name.
    pub title: String,
    /// Where it is found.
    pub url: String,
    /// The clock's id.
    pub clock: String,
    /// Where it is written.
    pub statute: String,
    /// Hours from when the incident was found out.
    pub hours: u32,
    /// How many of its people.
    pub people: u64,
    /// When it is over.
    #[schemars(with = "Time")]
    pub due_at: Timestamp,
    /// When the authority was told first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub reported_at: Option<Timestamp>,
    /// Nobody told it, and it is over.
    pub overdue: bool,
    /// It was told, but too late.
    pub late: bool,
}

/// A notice to an authority.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportView {
    /// Which authority.
    pub authority: String,
    /// Which notice.
    pub phase: Phase,
    /// When.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// By whom.
    pub by: CallerId,
    /// SHA-256 of the signed text, in hex.
    pub sha256: String,
}

/// How far the letters to the people have come.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LettersView {
    /// Which letter.
    pub template: String,
    /// When they were asked for.
    #[schemars(with = "Time")]
    pub begun_at: Timestamp,
    /// Letters in the outbox.
    pub queued: u64,
    /// Whether everybody was looked at.
    pub done: bool,
}

/// Whom an incident concerns, in numbers.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct AffectedView {
    /// People who live on in the vault.
    pub people: u64,
    /// People who were erased since: they are counted and never named.
    pub erased: u64,
    /// People whose rows do not open, if any: they are among the erased here.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// People in each jurisdiction.
    pub jurisdictions: BTreeMap<String, u64>,
    /// Names of the fields.
    pub fields: BTreeSet<String>,
    /// Their categories.
    pub categories: BTreeSet<String>,
    /// Purposes that were named.
    pub purposes: BTreeSet<String>,
    /// How often each operation was let through for one of them.
    pub operations: BTreeMap<String, u64>,
    /// Calls of the scope that released something and are about no single person.
    pub without_person: BTreeMap<String, u64>,
    /// Everything of them is exposed, not only what was read.
    pub everything: bool,
    /// Entries of the trail that were looked at.
    pub entries: u64,
}

/// Whether a count is left out.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One person whom an incident concerns.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AffectedPerson {
    /// The subject's tag in the trail, 32 hex digits.
    pub tag: String,
    /// The subject, for those who may know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// Names of the fields that were released or changed.
    pub fields: Vec<String>,
    /// Purposes that were named.
    pub purposes: Vec<String>,
    /// What was done, and how often.
    pub operations: Vec<String>,
    /// How many calls.
    pub calls: u32,
    /// The first of them.
    #[schemars(with = "Time")]
    pub first_at: Timestamp,
    /// The last of them.
    #[schemars(with = "Time")]
    pub last_at: Timestamp,
}

/// Answer of getIncident.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IncidentStory {
    /// What the register says.
    #[serde(flatten)]
    pub incident: IncidentView,
    /// Which part of the trail shows whom it concerns.
    pub scope: Option<IncidentScope>,
    /// The nature of the breach.
    pub nature: Option<String>,
    /// Its likely consequences.
    pub consequences: Option<String>,
    /// What was done.
    pub measures: Option<String>,
    /// The notices to authorities, the oldest first.
    pub reports: Vec<ReportView>,
    /// Whom it concerns, in numbers.
    pub affected: AffectedView,
    /// Whom it concerns, a page of them.
    pub people: Vec<AffectedPerson>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}
