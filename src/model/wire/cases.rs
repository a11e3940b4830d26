//! Bodies of cases and of what is disclosed on them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Whom;
use crate::model::case::{CaseKind, Ground};
use crate::model::ids::{CaseId, SubjectId};
use crate::model::schema::Time;

/// `POST /cases`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenCase {
    /// Why there is a case.
    pub kind: CaseKind,
    /// Whose data.
    pub subject: Whom,
    /// The purposes that it may be used for.
    pub purposes: Vec<String>,
    /// Names of the fields that it needs.
    pub fields: Vec<String>,
    /// The registered recipient; of a disclosure there is one.
    #[serde(default)]
    pub recipient: Option<String>,
    /// For a legal process: the order or request, as a word or digest.
    #[serde(default)]
    pub instrument: Option<String>,
    /// For a legal process: the jurisdiction whose law it rests on.
    #[serde(default)]
    pub jurisdiction: Option<String>,
    /// Until when the authority wants an answer.
    #[serde(default)]
    #[schemars(with = "Option<Time>")]
    pub deadline: Option<Timestamp>,
    /// For a reasonable need: what it is.
    #[serde(default)]
    pub ground: Option<Ground>,
    /// Why nothing less does; for a reasonable need and a child's protection.
    #[serde(default)]
    pub necessity: Option<String>,
    /// The reference of the approval by the authorities of the region that the data lies in, where the recipient is a foreign
    /// authority.
    #[serde(default)]
    pub approval: Option<String>,
    /// The person is not told before.
    #[serde(default)]
    #[schemars(with = "Option<Time>")]
    pub secret_until: Option<Timestamp>,
    /// When it is to be looked at again.
    #[serde(default)]
    #[schemars(with = "Option<Time>")]
    pub review_at: Option<Timestamp>,
    /// From when on it opens nothing any more.
    #[schemars(with = "Time")]
    pub expires_at: Timestamp,
}

/// `POST /cases/{case}/approvals`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideCase {
    /// What is decided.
    pub decision: CaseDecision,
}

/// What is decided about a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaseDecision {
    /// It may be acted on.
    Approve,
    /// It may not.
    Refuse,
    /// It is over.
    Close,
}

impl CaseDecision {
    /// The action of `model::states::CASE`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Refuse => "refuse",
            Self::Close => "close",
        }
    }
}

/// Answer of openCase, approveCase and getCase.
#[derive(Serialize, JsonSchema)]
pub struct CaseView {
    /// Id.
    pub id: CaseId,
    /// Kind.
    pub kind: CaseKind,
    /// State.
    pub state: &'static str,
    /// When it was opened.
    #[schemars(with = "Time")]
    pub opened_at: Timestamp,
    /// When it was approved or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub decided_at: Option<Timestamp>,
    /// When it is to be looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub review_at: Option<Timestamp>,
    /// From when on it opens nothing any more.
    #[schemars(with = "Time")]
    pub expires_at: Timestamp,
    /// Disclosures that were made on it.
    pub disclosures: u32,
    /// What it is about; gone with the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<CaseScope>,
}

/// What a case is about.
#[derive(Serialize, JsonSchema)]
pub struct CaseScope {
    /// The person, for those who may know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// The person's tag in the trail, for those who may know no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_tag: Option<String>,
    /// Purposes.
    pub purposes: Vec<String>,
    /// Fields.
    pub fields: Vec<String>,
    /// Recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Instrument.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instrument: Option<String>,
    /// Jurisdiction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<String>,
    /// Deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub deadline: Option<Timestamp>,
    /// Ground.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ground: Option<Ground>,
    /// Necessity, for those who decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub necessity: Option<String>,
    /// Reference of a foreign authority's approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// The person is not told before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub secret_until: Option<Timestamp>,
}
