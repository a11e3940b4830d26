//! Who asks, and what they may do: callers, roles, operations.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{CallerId, SubjectId, TenantId, TokenId};

/// The roles of API.md, one letter each in its matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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

impl Role {
    /// The letter of its column in the matrix of roles.
    pub const fn letter(self) -> char {
        match self {
            Self::Writer => 'W',
            Self::Reader => 'R',
            Self::Partner => 'P',
            Self::Subject => 'S',
            Self::PrivacyOfficer => 'D',
            Self::KeyAdmin => 'K',
            Self::PolicyAuthor => 'C',
            Self::SecurityOfficer => 'I',
            Self::Auditor => 'A',
            Self::Scheduler => 'Z',
        }
    }
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
            /// The operation of that id.
            pub fn named(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|operation| operation.text() == text)
            }
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
    QueryRecords = "queryRecords";
    VerifySecret = "verifySecret";
    ExplainDecision = "explainDecision";
    RecordConsent = "recordConsent";
    ListConsents = "listConsents";
    GetConsentReceipt = "getConsentReceipt";
    SetPreference = "setPreference";
    PutContract = "putContract";
    RestrictSubject = "restrictSubject";
    LiftRestriction = "liftRestriction";
    OpenRequest = "openRequest";
    ListRequests = "listRequests";
    GetRequest = "getRequest";
    AdvanceRequest = "advanceRequest";
    GetRequestResult = "getRequestResult";
    OpenErasure = "openErasure";
    ApproveErasure = "approveErasure";
    GetErasure = "getErasure";
    OpenCase = "openCase";
    ApproveCase = "approveCase";
    GetCase = "getCase";
    Disclose = "disclose";
    ListDisclosures = "listDisclosures";
    GetPolicyVersion = "getPolicyVersion";
    PublishPolicy = "publishPolicy";
    ReadConfig = "readConfig";
    DraftConfig = "draftConfig";
    SendNotice = "sendNotice";
    GetRopa = "getRopa";
    OperateKeys = "operateKeys";
    ListKeys = "listKeys";
    PutIncident = "putIncident";
    GetIncident = "getIncident";
    ListAuditEvents = "listAuditEvents";
    GetCheckpoint = "getCheckpoint";
    PutCaller = "putCaller";
    IssueToken = "issueToken";
    StepUp = "stepUp";
    RecordStats = "recordStats";
    ReadStats = "readStats";
}

/// Whether a caller is a person (who needs training, and counts for the second person) or a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Operations that the token is narrowed to (RFC 9396 `actions`); `None` is no narrowing.
    pub actions: Option<BTreeSet<Operation>>,
    /// The certificate that the credentials work with alone (RFC 8705): `x5t#S256`, SHA-256 in base64url.
    pub certificate: Option<String>,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// Where the caller works: data goes there when it reads; `None` is where the data lies.
    pub region: Option<String>,
    /// The source system that it collects for (p30).
    pub source: Option<String>,
    /// The registered partner that it works for.
    pub partner: Option<String>,
    /// The person whose own token this is.
    pub subject: Option<SubjectId>,
    /// The last day of a person's training; `None` is never trained.
    pub trained_until: Option<Date>,
    /// Until when the person behind it is known more surely than by the token alone.
    pub stepped_up_until: Option<Timestamp>,
}

impl Caller {
    /// A service that may do nothing yet, with credentials that ended long ago.
    pub fn nobody(id: CallerId, tenant: TenantId) -> Self {
        Self {
            id,
            name: String::new(),
            tenant,
            kind: CallerKind::Service,
            roles: BTreeSet::new(),
            token: TokenId::from_bytes([0; 16]),
            purposes: BTreeSet::new(),
            fields: None,
            actions: None,
            certificate: None,
            expires_at: Timestamp::UNIX_EPOCH,
            region: None,
            source: None,
            partner: None,
            subject: None,
            trained_until: None,
            stepped_up_until: None,
        }
    }
}

impl Grounds {
    /// No ground is named.
    pub const NONE: Self = Self { contract: None, rule: None, case: None, clear: false };
}

/// What a call says that it rests on, beside its purpose: `Vault-Contract`, `Vault-Rule`, `Vault-Case`; and whether it is
/// content with a mask.
#[derive(Debug, Clone, Default)]
pub struct Grounds {
    /// The reference of a contract.
    pub contract: Option<String>,
    /// The id of a legal rule.
    pub rule: Option<String>,
    /// The id of a case.
    pub case: Option<String>,
    /// `Vault-Clear: true`: clear text of what is masked by default, or nothing.
    pub clear: bool,
}
