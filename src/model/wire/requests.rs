//! Bodies of requests of a person.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Evidence, Page, Passphrase, Whom};
use crate::model::ids::{ErasureId, RecordId, RequestId, RestrictionId, SubjectId};
use crate::model::named;
use crate::model::schema::Time;

macro_rules! types {
    ($($name:ident = $text:literal, $sentence:literal;)+) => {
        /// What a person can ask for. Rows hold the place in this list: types are added at its end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum RequestType {
            $(#[doc = $sentence] $name,)+
        }

        impl RequestType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in bodies.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

types! {
    AccountClosure = "account-closure", "To close the account.";
    Rectification = "rectification", "To have a record corrected (GDPR Art. 16).";
    Access = "access", "To see everything that is kept (GDPR Art. 15).";
    Portability = "portability", "To have a copy that machines read (GDPR Art. 20).";
    Restriction = "restriction", "To have the use restricted (GDPR Art. 18).";
    Objection = "objection", "To object to a use (GDPR Art. 21).";
    Erasure = "erasure", "To be erased (GDPR Art. 17).";
    Complaint = "complaint", "To complain to the controller.";
    Question = "question", "To ask.";
}

impl RequestType {
    /// The type of that name.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.text() == text)
    }

    /// Its number in rows.
    pub fn number(self) -> u8 {
        Self::ALL.iter().position(|kind| *kind == self).map_or(0, |place| place as u8)
    }

    /// The type of that number.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// `POST /requests`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// What is asked for.
    pub r#type: RequestType,
    /// Whose.
    pub subject: Whom,
    /// rectification: the record that is wrong.
    #[serde(default)]
    pub record: Option<RecordId>,
    /// rectification: names of the fields that are wrong.
    #[serde(default)]
    pub fields: Vec<String>,
    /// What shows it.
    #[serde(default, deserialize_with = "named::option")]
    pub evidence: Option<Evidence>,
    /// restriction, objection: the purposes that it is about; none is all.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// complaint: whether nothing is to be used or deleted until it is settled.
    #[serde(default)]
    pub restrict: bool,
    /// What the person says, in their words.
    #[serde(default)]
    pub message: Option<Words>,
}

/// What a person or an officer says in their own words. It has no Debug, Display, Clone or Serialize.
pub type Words = Passphrase;

/// `POST /requests/{q}/transitions`: what is to be done with a request. Its variants have braces because serde takes any member
/// beside the tag of one without.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AdvanceRequest {
    /// Makes sure who is asking: nothing else sends a code to the person, a code gives it back, a level with evidence is what an
    /// officer saw.
    Verify {
        /// The code that was sent.
        #[serde(default)]
        code: Option<Words>,
        /// How surely the person is known now.
        #[serde(default)]
        level: Option<u8>,
        /// What showed it.
        #[serde(default, deserialize_with = "named::option")]
        evidence: Option<Shown>,
    },
    /// Begins to work on it, or does so again after a proposal to deny it.
    Accept {},
    /// Puts the answer off, once.
    Extend {
        /// `complexity` or `number_of_requests` (GDPR Art. 12(3)).
        reason: String,
    },
    /// Proposes to deny it; by another officer, with the same reason, denies it.
    Deny {
        /// A ground of the policy.
        reason: Option<String>,
    },
    /// Drops a proposal to deny it.
    Reopen {},
    /// Takes it back.
    Revoke {},
    /// Does what was asked for.
    Fulfil {
        /// What the person is answered; needed for a complaint and a question.
        #[serde(default)]
        answer: Option<Words>,
    },
    /// Ends one whose time is over and whose person was never known surely enough.
    Expire {},
}

impl AdvanceRequest {
    /// Its name in the table of states.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Verify { .. } => "verify",
            Self::Accept {} => "accept",
            Self::Extend { .. } => "extend",
            Self::Deny { .. } => "deny",
            Self::Reopen {} => "reopen",
            Self::Revoke {} => "revoke",
            Self::Fulfil { .. } => "fulfil",
            Self::Expire {} => "expire",
        }
    }
}

/// What an officer saw: a word for it, its digest, and itself if it is to be kept.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// A word, such as `passport`.
    pub kind: String,
    /// SHA-256, in hex.
    pub digest: String,
    /// The document in base64, at most 64 KiB of it.
    #[serde(default)]
    pub content: Option<Words>,
}

/// `GET /requests`.
#[derive(Default)]
pub struct ListRequests {
    /// Only of this state.
    pub state: Option<String>,
    /// Only of this type.
    pub r#type: Option<String>,
    /// Only what is to be answered before then.
    pub due_before: Option<Timestamp>,
    /// Page.
    pub page: Page,
}

/// Answer of openRequest, getRequest and advanceRequest, with the names of the Data Rights Protocol.
#[derive(Serialize, JsonSchema)]
pub struct RequestView {
    /// Id.
    pub request_id: RequestId,
    /// Type.
    pub r#type: &'static str,
    /// `open`, `in_progress`, `fulfilled`, `revoked`, `denied` or `expired`.
    pub status: &'static str,
    /// The same in the words of the Data Privacy Vocabulary.
    pub dpv_status: &'static str,
    /// `need_user_verification`, or why it was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it came.
    #[schemars(with = "Time")]
    pub received_at: Timestamp,
    /// When it is answered at the latest.
    #[schemars(with = "Time")]
    pub expected_by: Timestamp,
    /// By when it is confirmed that it came, where a law wants that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub confirm_by: Option<Timestamp>,
    /// Why the answer was put off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended: Option<String>,
    /// When it came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub ended_at: Option<Timestamp>,
    /// What is still to come, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_details: Option<String>,
    /// How surely the person is known, and must be.
    pub verification: VerificationView,
    /// The earlier request that asked for the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<RequestId>,
    /// A denial that waits for its second officer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed: Option<String>,
    /// Why it was denied, and what the person can do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial: Option<DenialView>,
    /// Where the person can complain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityView>,
    /// The erasure that it led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure: Option<ErasureId>,
    /// The restriction that it led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction: Option<RestrictionId>,
    /// Whose, to a privacy officer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// Whose, to everybody else who may see the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_tag: Option<String>,
    /// What the person said, to the person and to an officer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What they were answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What the bundle can be fetched with once (`Vault-Claim`); only in the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_code: Option<String>,
}

/// How surely a person is known.
#[derive(Serialize, JsonSchema)]
pub struct VerificationView {
    /// Null where nobody made sure yet; 0 their session, 1 a code that was sent to them, 2 a document.
    pub level: Option<u8>,
    /// What the type needs.
    pub required: u8,
    /// Codes that may still be got wrong.
    pub tries_left: u8,
    /// Until when a code that was sent can be given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub code_until: Option<Timestamp>,
}

/// Why a request was denied.
#[derive(Serialize, JsonSchema)]
pub struct DenialView {
    /// The ground's code.
    pub code: String,
    /// What it says.
    pub title: String,
    /// Its term in a vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// What can be done against it.
    pub appeal: &'static str,
    /// Where the controller's privacy officer is reached.
    pub officer: String,
}

/// An authority that somebody can complain to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuthorityView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Where it is found.
    pub url: String,
}
