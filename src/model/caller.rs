//! Who asks, and what they may do: callers, roles, operations.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{CallerId, TenantId, TokenId};

/// The roles of API.md, one letter each in its matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// W: writes people and records.
    Writer,
    /// R: reads records for a purpose.
    Reader,
    /// P: a partner under an agreement.
    Partner,
    /// S: the person.
    Subject,
    /// D: the privacy officer.
    PrivacyOfficer,
    /// K: the key admin.
    KeyAdmin,
    /// C: the policy author.
    PolicyAuthor,
    /// I: the security officer.
    SecurityOfficer,
    /// A: the auditor.
    Auditor,
    /// Z: the vault's own scheduler; no token carries it.
    Scheduler,
}

macro_rules! operations {
    ($($name:ident = $text:literal;)+) => {
        /// The operations that the vault has, by their OpenAPI operation ids.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation {
            $(#[doc = $text] $name,)+
        }
        impl Operation {
            /// All of them, in API.md's order.
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)+];
            /// The operation id.
            pub const fn text(self) -> &'static str {
                match self { $(Operation::$name => $text,)+ }
            }
        }
    };
}

operations! {
    CreateSubject = "createSubject";
    LookupSubject = "lookupSubject";
    GetSubject = "getSubject";
    WriteRecord = "writeRecord";
    ReadRecords = "readRecords";
    RectifyRecord = "rectifyRecord";
    DeleteRecord = "deleteRecord";
    ExplainDecision = "explainDecision";
    PutContract = "putContract";
    OpenErasure = "openErasure";
    ApproveErasure = "approveErasure";
    GetErasure = "getErasure";
    OperateKeys = "operateKeys";
    ListKeys = "listKeys";
    ListAuditEvents = "listAuditEvents";
    GetCheckpoint = "getCheckpoint";
    PutCaller = "putCaller";
    IssueToken = "issueToken";
}

/// Whether a caller is a person (who needs training, and counts for the second person) or a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerKind {
    /// A human being.
    Person,
    /// A program.
    Service,
}

/// Somebody whose credentials were checked, with what this credential may do.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The caller, the same for all of its tokens.
    pub id: CallerId,
    /// Its display name for officers; not personal data of a subject.
    pub name: String,
    /// The controller that it works for.
    pub tenant: TenantId,
    /// Person or service.
    pub kind: CallerKind,
    /// Roles of the caller, narrowed by the token.
    pub roles: BTreeSet<Role>,
    /// The token that was shown.
    pub token: TokenId,
    /// Purposes that the token grants (G4).
    pub purposes: BTreeSet<String>,
    /// Field names that the token is narrowed to; `None` is no narrowing.
    pub fields: Option<BTreeSet<String>>,
    /// When the token ends.
    pub expires_at: Timestamp,
}
