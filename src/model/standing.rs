//! What stands about a person beside their records: consents, contracts, restrictions, preferences, the guardian's word.
//!
//! It lies in the subject's own row, so a decision costs one load; the ledgers behind it (every consent event, every
//! version of a contract) have rows of their own. Times are microseconds since 1970 in UTC.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use minicbor::{Decode, Encode};

use super::code::Code;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Standing {
    /// The newest event of each purpose and kind.
    #[n(0)]
    pub consents: Vec<Consent>,
    /// The newest state of each contract.
    #[n(1)]
    pub contracts: Vec<Contract>,
    /// Those in force.
    #[n(2)]
    pub restrictions: Vec<Restriction>,
    /// Switches that were ever set.
    #[n(3)]
    pub preferences: Vec<Preference>,
    /// What the guardian agreed to.
    #[n(4)]
    pub guardian: Option<GuardianConsent>,
    /// When the account was closed.
    #[n(5)]
    pub closed_at: Option<i64>,
    /// Notices that were shown to the person before collection.
    #[n(6)]
    pub notices: Vec<Notice>,
    /// Until when groups are kept beyond their rule, or not beyond a date.
    #[n(7)]
    pub extensions: Vec<Extension>,
    /// What the controller owes the person by a day (p07).
    #[n(8)]
    pub tasks: Vec<Task>,
    /// An erasure that took everything but what is held, and goes on when the last hold is lifted.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub waiting_erasure: Option<[u8; 16]>,
    /// The person's requests, whose rows go when the person does.
    #[n(10)]
    pub requests: Vec<Asked>,
    /// The cases about the person, whose files go when the person does.
    #[cbor(n(14), default)]
    pub cases: Vec<Asked>,
}

/// Where a consent stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum ConsentState {
    /// Given.
    #[n(0)]
    Given,
    /// Asked for and not given.
    #[n(1)]
    Refused,
    /// Taken back.
    #[n(2)]
    Withdrawn,
    /// Its end date has come.
    #[n(3)]
    Expired,
    /// Asked for again, since the policy widened.
    #[n(4)]
    Requested,
}

/// The newest consent event of one purpose and kind.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Consent {
    /// The event.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// The purpose.
    #[n(1)]
    pub purpose: String,
    /// `general`, `separate`, or `separate:partner:{id}:{purpose}` and `explicit:partner:{id}:{field}` for one recipient.
    #[n(2)]
    pub kind: String,
    /// Where it stands.
    #[n(3)]
    pub state: ConsentState,
    /// When.
    #[n(4)]
    pub at: i64,
    /// When a given consent ends by itself.
    #[n(5)]
    pub until: Option<i64>,
    /// The policy version that the person saw.
    #[n(6)]
    pub policy_version: String,
    /// The categories that the purpose had then: a consent covers no others.
    #[n(7)]
    pub categories: Vec<String>,
    /// When the purpose's key is destroyed after a withdrawal; none once it was, or where another purpose still needs it.
    #[n(8)]
    pub destroy_at: Option<i64>,
}

/// A contract that a purpose can rest on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Contract {
    /// Its reference, as the application names it.
    #[n(0)]
    pub reference: String,
    /// Not closed.
    #[n(1)]
    pub active: bool,
    /// First day, YYYY-MM-DD.
    #[n(2)]
    pub from: String,
    /// Last day.
    #[n(3)]
    pub until: Option<String>,
}

/// Why processing is restricted.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum RestrictionKind {
    /// GDPR Art. 18: stored, and used for nothing but the recorded exceptions.
    #[n(0)]
    Art18,
    /// GDPR Art. 21: no use that rests on a legitimate interest.
    #[n(1)]
    Objection,
    /// The accuracy is contested or a complaint is open: as Art. 18, and nothing is deleted.
    #[n(2)]
    Dispute,
    /// Records that must be kept for a case although everything else may go.
    #[n(3)]
    LegalHold,
}

/// A restriction in force.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Restriction {
    /// Its id.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// Its kind.
    #[n(1)]
    pub kind: RestrictionKind,
    /// The purposes that it is about; none is all.
    #[n(2)]
    pub purposes: Vec<String>,
    /// When it began.
    #[n(3)]
    pub at: i64,
    /// Purposes that go on all the same: recorded exceptions, compelling grounds.
    #[n(4)]
    pub exceptions: Vec<String>,
    /// The records that a legal hold is about; none is all.
    #[n(5)]
    pub records: Vec<Held>,
    /// The officer who began it.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub by: [u8; 16],
    /// The case, a word without personal data.
    #[n(7)]
    pub case: Option<String>,
    /// When it is to be looked at again.
    #[n(8)]
    pub review_at: Option<i64>,
    /// In force: a legal hold waits for its second person.
    #[n(9)]
    pub active: bool,
}

/// Something owed to the person.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Task {
    /// What: `art14-notice`, telling the person what a third party gave (GDPR Art. 14).
    #[n(0)]
    pub kind: String,
    /// The party that gave it.
    #[n(1)]
    pub party: String,
    /// When it came to be owed.
    #[n(2)]
    pub at: i64,
    /// Until when it is to be done.
    #[n(3)]
    pub due_at: i64,
    /// The privacy officer was told that it is overdue.
    #[n(4)]
    #[cbor(default)]
    pub alarmed: bool,
}

/// A request of the person, or a case about them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Asked {
    /// Which.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub request: [u8; 16],
}

/// A record under a legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Held {
    /// Which.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub record: [u8; 16],
}

/// The switches that a person can set.
pub const PREFERENCES: [&str; 4] = ["marketing", "personalised-ads", "cookies", "gpc"];

/// A switch that the person set.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Preference {
    /// `marketing`, `personalised-ads`, `cookies` or `gpc`.
    #[n(0)]
    pub name: String,
    /// On.
    #[n(1)]
    pub on: bool,
    /// When.
    #[n(2)]
    pub at: i64,
}

/// A guardian's consent for a ward.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GuardianConsent {
    /// The guardian's subject.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub guardian: [u8; 16],
    /// How it was verified, a word of the policy's list.
    #[n(1)]
    pub method: String,
    /// When.
    #[n(2)]
    pub at: i64,
    /// Purposes that the guardian explicitly agreed to, beside the account itself.
    #[n(3)]
    pub purposes: Vec<String>,
    /// Taken back.
    #[n(4)]
    pub withdrawn: bool,
}

/// A notice that was shown.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Notice {
    /// Its id.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// The policy version that was shown.
    #[n(1)]
    pub policy_version: String,
    /// When.
    #[n(2)]
    pub at: i64,
}

/// A group that is kept longer, or not longer, than its rule says (p55, p56).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Extension {
    /// The group.
    #[n(0)]
    pub group: u8,
    /// `legal-rule`, `contract`, `consent-extension` or `dispute`.
    #[n(1)]
    pub ground: String,
    /// Until when.
    #[n(2)]
    pub until: i64,
}

impl ConsentState {
    /// Its name in `model::states::CONSENT`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Requested => "requested",
        }
    }

    /// The action that leads to it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Given => "give",
            Self::Refused => "refuse",
            Self::Withdrawn => "withdraw",
            Self::Expired => "expire",
            Self::Requested => "ask",
        }
    }
}

impl Consent {
    /// Where it stands now: a given consent ends with its date.
    pub fn state(&self, now: Timestamp) -> ConsentState {
        let over = self.until.is_some_and(|until| now.as_microsecond() >= until);
        if self.state == ConsentState::Given && over { ConsentState::Expired } else { self.state }
    }
}

impl Preference {
    /// Whether it says no, and how that is answered. `gpc` says no when it is on (Global Privacy Control), the others when
    /// they are off. Turning marketing off takes the consent to it back (p15).
    pub fn refusal(&self) -> Option<Code> {
        let says_no = if self.name == "gpc" { self.on } else { !self.on };
        let code = if self.name == "marketing" { Code::ConsentWithdrawn } else { Code::ObjectionActive };
        says_no.then_some(code)
    }
}

impl Contract {
    /// Whether it is in force on the day of `now`, in UTC.
    pub fn is_active(&self, now: Timestamp) -> bool {
        let today = now.to_zoned_datetime(TimeZone::UTC).date();
        let day = |text: &str| text.parse::<Date>().ok();
        self.active
            && day(&self.from).is_some_and(|from| from <= today)
            && self.until.as_deref().is_none_or(|until| day(until).is_some_and(|until| today <= until))
    }
}

impl Restriction {
    /// Whether it is about the purpose and does not except it.
    pub fn covers(&self, purpose: &str) -> bool {
        self.active
            && (self.purposes.is_empty() || self.purposes.iter().any(|own| own == purpose))
            && !self.exceptions.iter().any(|own| own == purpose)
    }
}

impl GuardianConsent {
    /// Whether it stands for a ward: not taken back.
    pub fn stands(&self) -> bool {
        !self.withdrawn
    }
}

impl Standing {
    /// Whether something keeps a group longer than its rule.
    pub fn is_extended(&self, group: u8, now: Timestamp) -> bool {
        self.extensions.iter().any(|extension| extension.group == group && now.as_microsecond() < extension.until)
    }

    /// The legal holds in force.
    pub fn holds(&self) -> impl Iterator<Item = &Restriction> {
        self.restrictions.iter().filter(|restriction| restriction.active && restriction.kind == RestrictionKind::LegalHold)
    }

    /// Whether a record is under a legal hold.
    pub fn is_held(&self, record: &[u8; 16]) -> bool {
        self.holds().any(|hold| hold.records.is_empty() || hold.records.iter().any(|held| held.record == *record))
    }

    /// Whether nothing may be deleted by the clock: a restriction or a dispute is for keeping (GDPR Art. 18(1)(b) to (d)).
    pub fn keeps_everything(&self) -> bool {
        let keeps = |kind| matches!(kind, RestrictionKind::Art18 | RestrictionKind::Dispute);
        self.restrictions.iter().any(|restriction| restriction.active && keeps(restriction.kind))
    }

    /// The newest consent event for exactly this purpose and kind.
    pub fn consent(&self, purpose: &str, kind: &str) -> Option<&Consent> {
        self.consents.iter().find(|consent| consent.purpose == purpose && consent.kind == kind)
    }

    /// The switch of that name, if it was ever set.
    pub fn preference(&self, name: &str) -> Option<bool> {
        self.preferences.iter().find(|preference| preference.name == name).map(|preference| preference.on)
    }
}
