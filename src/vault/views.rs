//! Answers that are made of what other rooms know: the policy, the trail, the register of processing.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::audit::EventView;
pub use crate::audit::certificate::Certificate;
use crate::model::case::Ground;
use crate::model::ids::{CallerId, ProposalId, TenantId, VaultId};
use crate::model::schema::Time;
use crate::tenant::Diff;
use crate::tenant::register::Register;

/// A page of the trail, oldest first.
#[derive(Serialize, JsonSchema)]
pub struct EventsPage {
    /// Entries.
    pub events: Vec<EventView>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
}

/// A proposal of a policy version.
#[derive(Serialize, JsonSchema)]
pub struct ProposalView {
    /// Id.
    pub id: ProposalId,
    /// `proposed`.
    pub state: &'static str,
    /// The name that it will have.
    pub version: String,
    /// The version that it changes.
    pub base: String,
    /// Who proposed it.
    pub proposed_by: CallerId,
    /// When.
    #[schemars(with = "Time")]
    pub proposed_at: Timestamp,
    /// SHA-256 of its canonical text, in hex.
    pub sha256: String,
    /// What it changes.
    #[serde(flatten)]
    pub diff: Diff,
}

/// A version that was put in force.
#[derive(Serialize, JsonSchema)]
pub struct PublishedView {
    /// Its name.
    pub version: String,
    /// `published`.
    pub state: &'static str,
    /// What it was proposed as.
    pub proposal: ProposalId,
    /// The version before it.
    pub replaces: String,
    /// When.
    #[schemars(with = "Time")]
    pub published_at: Timestamp,
    /// SHA-256 of its canonical text, in hex.
    pub sha256: String,
    /// What it changes.
    #[serde(flatten)]
    pub diff: Diff,
}

/// A proposal that was dropped.
#[derive(Serialize, JsonSchema)]
pub struct RejectedView {
    /// Which.
    pub proposal: ProposalId,
    /// The name that it would have had.
    pub version: String,
    /// `rejected`.
    pub state: &'static str,
}

/// A page of one kind of configuration.
#[derive(Serialize, JsonSchema)]
pub struct ConfigPage {
    /// The kind.
    pub kind: &'static str,
    /// What is in force.
    pub policy_version: String,
    /// The entries.
    pub entries: Vec<ConfigEntry>,
    /// What the next page is asked for with; null at the end.
    pub next_cursor: Option<String>,
}

/// One entry of the configuration.
#[derive(Serialize, JsonSchema)]
pub struct ConfigEntry {
    /// Its id, or name.
    pub id: String,
    /// What is in force; null where it is drafted only.
    #[schemars(with = "Option<Map<String, Value>>")]
    pub published: Option<Value>,
    /// What somebody wants it to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftView>,
}

/// A draft of an entry.
#[derive(Serialize, JsonSchema)]
pub struct DraftView {
    /// What it is to be; null where it is to go.
    #[schemars(with = "Option<Map<String, Value>>")]
    pub entry: Option<Value>,
    /// Whether it is to go.
    pub remove: bool,
    /// Who drafted it.
    pub by: CallerId,
    /// When.
    #[schemars(with = "Time")]
    pub at: Timestamp,
}

/// Answer of draftConfig.
#[derive(Serialize, JsonSchema)]
pub struct DraftedView {
    /// The kind.
    pub kind: String,
    /// The entry's id.
    pub id: String,
    /// The draft.
    pub draft: DraftView,
}

/// Who answers for what is kept here, for everybody.
#[derive(Serialize, JsonSchema)]
pub struct ControllersPage {
    /// `controllers`.
    pub kind: &'static str,
    /// One each.
    pub entries: Vec<ControllerView>,
    /// Null: there is one page.
    pub next_cursor: Option<String>,
}

/// One controller, as everybody may see it.
#[derive(Serialize, JsonSchema)]
pub struct ControllerView {
    /// Id.
    pub id: TenantId,
    /// Name.
    pub title: String,
    /// Where letters reach it.
    pub address: String,
    /// Where its privacy officer is reached.
    pub privacy_officer: String,
    /// What is in force.
    pub policy_version: String,
}

/// Answer of getRopa.
#[derive(Serialize, JsonSchema)]
pub struct RopaView {
    /// Which vault.
    pub vault: VaultId,
    /// When it was made.
    #[schemars(with = "Time")]
    pub made_at: Timestamp,
    /// The records of processing (GDPR Art. 30).
    pub register: Register,
    /// Counts that name nobody.
    pub transparency: Transparency,
}

/// What was asked for and done, in numbers.
#[derive(Serialize, JsonSchema)]
pub struct Transparency {
    /// Counted from then on.
    #[schemars(with = "Option<Time>")]
    pub from: Option<Timestamp>,
    /// Counted until then.
    #[schemars(with = "Option<Time>")]
    pub until: Option<Timestamp>,
    /// Requests by type and state.
    pub requests: Vec<RequestsLine>,
    /// Denials by ground.
    pub denials: Vec<DenialsLine>,
    /// Disclosures by kind and purpose.
    pub disclosures: Vec<DisclosuresLine>,
    /// Cases by kind, ground and state.
    pub cases: Vec<CasesLine>,
    /// Incidents by kind and state.
    pub incidents: Vec<IncidentsLine>,
    /// Refusals by operation and code.
    pub refusals: Vec<RefusalsLine>,
    /// Erasures by cause and state.
    pub erasures: Vec<ErasuresLine>,
}

/// Requests of one type and state.
#[derive(Serialize, JsonSchema)]
pub struct RequestsLine {
    /// Type.
    pub r#type: &'static str,
    /// State.
    pub state: &'static str,
    /// How many.
    pub count: u64,
    /// Days that the middle one of those answered took; null where none was.
    pub median_days: Option<i64>,
}

/// Denials on one ground.
#[derive(Serialize, JsonSchema)]
pub struct DenialsLine {
    /// The ground.
    pub code: String,
    /// How many.
    pub count: u64,
}

/// Disclosures of one kind for one purpose.
#[derive(Serialize, JsonSchema)]
pub struct DisclosuresLine {
    /// `disclosed` or `partner-read`.
    pub kind: &'static str,
    /// Purpose.
    pub purpose: String,
    /// How many.
    pub count: u64,
}

/// Cases of one kind, ground and state.
#[derive(Serialize, JsonSchema)]
pub struct CasesLine {
    /// Kind.
    pub kind: &'static str,
    /// Ground, of a reasonable need.
    pub ground: Option<Ground>,
    /// State.
    pub state: &'static str,
    /// How many.
    pub count: u64,
    /// Disclosures that were made on them.
    pub disclosures: u64,
}

/// Incidents of one kind and state.
#[derive(Serialize, JsonSchema)]
pub struct IncidentsLine {
    /// Kind.
    pub kind: String,
    /// State.
    pub state: &'static str,
    /// How many.
    pub count: u64,
}

/// Refusals of one operation with one code.
#[derive(Serialize, JsonSchema)]
pub struct RefusalsLine {
    /// Operation id.
    pub operation: String,
    /// Problem code.
    pub code: &'static str,
    /// How many.
    pub count: u64,
}

/// Erasures of one cause and state.
#[derive(Serialize, JsonSchema)]
pub struct ErasuresLine {
    /// Cause.
    pub cause: String,
    /// State.
    pub state: String,
    /// How many.
    pub count: u64,
}
