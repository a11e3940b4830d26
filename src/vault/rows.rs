//! What the vault keeps inside its sealed rows: minicbor maps with integer keys, so that a later version can add to them.
//!
//! Nothing here reaches the store in the clear: a subject's rows are sealed under its own tag key and die with it,
//! the others under the vault's row key. docs/FORMAT.md draws the bytes around them.

use jiff::Timestamp;
use jiff::civil::Date;
use keys::Alias;
use minicbor::{Decode, Encode};

use crate::model::code::Code;
use crate::model::states::ERASURE;
use crate::model::wire::{AgeBand, Cause, ErasureState, Notice, Scope};

use crate::model::standing::{Consent, Restriction, Standing};

use super::call::Refused;
use super::outbox::Word;

/// A subject, without its values: class, jurisdiction, how it can be found. Sealed under the subject's tag key.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct SubjectRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: [u8; 16],
    #[n(1)]
    pub class: String,
    #[n(2)]
    pub jurisdiction: String,
    #[n(3)]
    pub region: Option<String>,
    #[n(4)]
    pub birth_date: Option<String>,
    #[n(5)]
    pub child: Option<bool>,
    #[n(6)]
    pub aliases: Vec<AliasRow>,
    #[cbor(n(7), with = "minicbor::bytes")]
    pub guardian: Option<[u8; 16]>,
    #[n(8)]
    pub notice: Option<NoticeRow>,
    #[n(9)]
    pub created_at: i64,
    /// Groups that were erased, bit g = group g; one that was opened again since lives all the same.
    #[n(10)]
    pub erased_groups: u32,
    /// Consents, contracts, restrictions, preferences, the guardian's word.
    #[n(11)]
    pub standing: Standing,
}

/// By what a subject can be found: enough to make the tag under any generation of the index keys, and not the text.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct AliasRow {
    #[n(0)]
    pub kind: u8,
    /// Its tag under the index key of generation 0, where it was made while that lived.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub tag: Option<[u8; 24]>,
    /// The digest of its text. A vault from before generations did not keep it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub digest: Option<[u8; 32]>,
}

impl AliasRow {
    /// What is kept of an alias.
    pub(crate) fn of(alias: &Alias) -> Self {
        Self { kind: alias.kind(), tag: alias.first(), digest: alias.digest() }
    }

    /// The alias of a subject of this controller.
    pub(crate) fn alias(&self, tenant: &[u8; 16]) -> Alias {
        Alias::kept(*tenant, self.kind, self.digest, self.tag)
    }
}

impl SubjectRow {
    /// By what it can be found.
    pub(crate) fn found_by(&self) -> impl Iterator<Item = Alias> {
        self.aliases.iter().map(|row| row.alias(&self.tenant))
    }
}

/// The notice that was shown before collection.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub(crate) struct NoticeRow {
    #[n(0)]
    pub policy_version: String,
    #[n(1)]
    pub language: String,
    #[n(2)]
    pub channel: String,
    #[n(3)]
    pub shown_at: i64,
}

impl NoticeRow {
    pub(crate) fn of(notice: Notice, current: &str) -> Self {
        let policy_version = if notice.policy_version == "current" { current.to_owned() } else { notice.policy_version };
        Self { policy_version, language: notice.language, channel: notice.channel, shown_at: notice.shown_at.as_microsecond() }
    }
}

impl SubjectRow {
    pub(crate) fn birth_date(&self) -> Option<Date> {
        self.birth_date.as_deref().and_then(|text| text.parse().ok())
    }

    pub(crate) fn age_band(&self) -> Option<AgeBand> {
        self.child.map(|child| if child { AgeBand::Child } else { AgeBand::Adult })
    }

    pub(crate) fn created_at(&self) -> Timestamp {
        time(self.created_at)
    }
}

/// What a record is bound to beside its place: the sticky policy. Its SHA-256 stands in every field's context, so
/// widening it in the store destroys the record. Sealed under the subject's tag key.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct LabelRow {
    #[n(0)]
    pub kind: String,
    #[n(1)]
    pub purposes: Vec<String>,
    #[n(2)]
    pub source_type: String,
    #[n(3)]
    pub source_party: Option<String>,
    #[n(4)]
    pub collected_at: i64,
    #[n(5)]
    pub region: Option<String>,
    #[n(6)]
    pub policy_version: String,
    /// Field number, category and whether it is of high sensitivity, as the catalogue had them.
    #[n(7)]
    pub fields: Vec<LabelField>,
    /// The caller that wrote it.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub writer: [u8; 16],
    /// The source system that it came in through (p30).
    #[n(9)]
    pub system: Option<String>,
    /// Gone when the session is: after a day at the latest.
    #[n(10)]
    pub session: bool,
    /// What a third party's giving it rests on (p07).
    #[n(11)]
    pub source_basis: Option<String>,
}

/// One field's class at the time of writing.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct LabelField {
    #[n(0)]
    pub number: u16,
    #[n(1)]
    pub category: String,
    #[n(2)]
    pub high: bool,
    /// When its value was verified.
    #[n(3)]
    pub verified_at: Option<i64>,
    /// What showed that an earlier verified value was wrong: kind and SHA-256.
    #[n(4)]
    pub evidence: Option<String>,
    /// When its value was corrected last.
    #[n(5)]
    pub corrected_at: Option<i64>,
    /// When the person's own token put the value there; none where somebody else did.
    #[n(6)]
    pub own_at: Option<i64>,
}

/// A contract that a purpose can rest on. Sealed under the subject's tag key.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct ContractRow {
    #[n(0)]
    pub reference: String,
    #[n(1)]
    pub active: bool,
    #[n(2)]
    pub from: String,
    #[n(3)]
    pub until: Option<String>,
    #[n(4)]
    pub version: u64,
}

/// A restriction's story: what it is, and what was done with it. Sealed under the subject's tag key.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct RestrictionRow {
    #[n(0)]
    pub restriction: Restriction,
    #[n(1)]
    pub steps: Vec<Step>,
}

/// One step of a restriction: `begun`, `approved`, `excepted`, `lifted`.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct Step {
    #[n(0)]
    pub step: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub by: [u8; 16],
    #[n(2)]
    pub at: i64,
    #[n(3)]
    pub reason: Option<String>,
}

/// A request of a person. Sealed under the vault's row key, so that it can be asked for by its id alone; what it says stands in it
/// sealed under the subject's tag key, and in its file of papers. All of that goes when the person is erased, and only type and
/// times stay.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub(crate) struct RequestRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: [u8; 16],
    #[cbor(n(1), with = "minicbor::bytes")]
    pub subject: Option<[u8; 16]>,
    /// A number of `RequestType`.
    #[n(2)]
    pub kind: u8,
    /// A number of the states of `model::states::REQUEST`.
    #[n(3)]
    pub status: u8,
    #[n(4)]
    pub received_at: i64,
    #[n(5)]
    pub expected_by: i64,
    #[cbor(n(6), with = "minicbor::bytes")]
    pub opener: [u8; 16],
    /// When what a closed account leaves is destroyed.
    #[n(7)]
    pub closes_at: Option<i64>,
    #[cbor(n(8), with = "minicbor::bytes")]
    pub erasure: Option<[u8; 16]>,
    /// [`RequestDetails`].
    #[cbor(n(9), with = "minicbor::bytes")]
    pub details: Option<Vec<u8>>,
    #[cbor(n(10), with = "minicbor::bytes")]
    pub tag: [u8; 16],
    /// How surely the person is known; none where nobody made sure.
    #[n(11)]
    pub level: Option<u8>,
    /// Codes that were got wrong.
    #[cbor(n(12), default)]
    pub failed: u8,
    /// Codes that were sent.
    #[cbor(n(13), default)]
    pub sent: u8,
    /// What the code that was sent last is made from, under the key of the request's file; none once it was given back.
    #[cbor(n(14), with = "minicbor::bytes")]
    pub nonce: Option<[u8; 16]>,
    /// Until when that code can be given back.
    #[n(15)]
    pub code_until: Option<i64>,
    #[n(16)]
    pub confirm_by: Option<i64>,
    /// Alarms that it did not raise yet, in percent of its time.
    #[cbor(n(17), default)]
    pub alarms: Vec<u8>,
    /// Why its answer was put off.
    #[n(18)]
    pub extended: Option<String>,
    /// The ground of a denial, proposed or done.
    #[n(19)]
    pub ground: Option<String>,
    /// Who proposed to deny it.
    #[cbor(n(20), with = "minicbor::bytes")]
    pub proposer: Option<[u8; 16]>,
    #[cbor(n(21), with = "minicbor::bytes")]
    pub duplicate_of: Option<[u8; 16]>,
    #[n(22)]
    pub ended_at: Option<i64>,
    /// The incident that was opened when it was overdue.
    #[cbor(n(23), with = "minicbor::bytes")]
    pub incident: Option<[u8; 16]>,
    /// The restriction that it led to.
    #[cbor(n(24), with = "minicbor::bytes")]
    pub restriction: Option<[u8; 16]>,
    /// The person's authority, by its id.
    #[n(25)]
    pub authority: Option<String>,
    /// SHA-256 of each download code that it may have been given under row keys that are gone.
    #[cbor(n(26), with = "minicbor::bytes", default)]
    pub former_codes: Vec<u8>,
}

/// What a request is about.
#[derive(Encode, Decode, Default, PartialEq)]
#[cbor(map)]
pub(crate) struct RequestDetails {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub record: Option<[u8; 16]>,
    #[n(1)]
    pub fields: Vec<u16>,
    /// Kind and SHA-256.
    #[n(2)]
    pub evidence: Option<String>,
    #[cbor(n(3), default)]
    pub purposes: Vec<String>,
    /// A complaint that wants nothing used until it is settled.
    #[cbor(n(4), default)]
    pub restrict: bool,
    /// SHA-256 of what the person said, keyed: whether a second request says the same.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub message: Option<[u8; 32]>,
}

/// One consent event, never changed again. Sealed under the subject's tag key.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct ConsentRow {
    /// What stands of it in the subject's row too, while it is the newest of its purpose and kind.
    #[n(0)]
    pub event: Consent,
    #[n(1)]
    pub notice: Option<NoticeRow>,
    #[n(2)]
    pub evidence: Option<String>,
    /// Who recorded it; none for the vault itself.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub by: Option<[u8; 16]>,
    #[n(4)]
    pub extend_until: Option<i64>,
    /// Its entry in the trail: how long the trail was before it at least, and the decision that it carries.
    #[n(5)]
    pub near: u64,
    #[cbor(n(6), with = "minicbor::bytes")]
    pub decision: [u8; 16],
    /// The receipt, in RFC 8785 form.
    #[n(7)]
    pub receipt: String,
}

/// What of a subject went to a partner. Sealed under the subject's tag key, so it is gone with the subject.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct DisclosureRow {
    /// The partner's id.
    #[n(0)]
    pub recipient: String,
    #[n(1)]
    pub purpose: String,
    /// Numbers of the fields.
    #[n(2)]
    pub fields: Vec<u16>,
    /// Where the partner received it.
    #[n(3)]
    pub region: String,
    /// SHA-256 of the agreement that was in force.
    #[n(4)]
    pub agreement: String,
    #[n(5)]
    pub at: i64,
    #[cbor(n(6), with = "minicbor::bytes")]
    pub caller: [u8; 16],
    /// The decision that released it.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub decision: [u8; 16],
    /// The partner read it for itself.
    #[n(8)]
    pub read: bool,
    /// The case that it was made on, and the place of its kind in `CaseKind::ALL`.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub case: Option<[u8; 16]>,
    #[n(10)]
    pub case_kind: Option<u8>,
    /// The person does not see it before.
    #[n(11)]
    pub secret_until: Option<i64>,
}

/// What a partner is to hear of fields that it got: they were corrected, restricted, deleted. Sealed under the subject's tag key.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct UpdateRow {
    /// The partner's id.
    #[n(0)]
    pub recipient: String,
    /// A disclosure by which it got some of them.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub disclosure: [u8; 16],
    /// Numbers of the fields.
    #[n(2)]
    pub fields: Vec<u16>,
    #[n(3)]
    pub at: i64,
    /// What happened; a correction where it does not say.
    #[n(4)]
    pub event: Option<String>,
}

/// A notice to be sent, without address or text. Sealed under the subject's tag key.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct QueuedNotice {
    #[n(0)]
    pub kind: String,
    #[n(1)]
    pub template: String,
    #[n(2)]
    pub policy_version: String,
    #[n(3)]
    pub language: String,
    #[n(4)]
    pub channel: String,
    #[n(5)]
    pub at: i64,
    /// Who had it sent; none for the vault itself.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub caller: Option<[u8; 16]>,
    /// What it is sent for.
    #[n(7)]
    pub purpose: String,
    /// What its text is filled with; gone once it has left.
    #[n(8)]
    pub words: Vec<Word>,
    /// A number of the states of `model::states::DELIVERY`.
    #[n(9)]
    pub state: u8,
    /// When it came to that state, microseconds since 1970.
    #[n(10)]
    pub state_at: i64,
    /// Why it came to its end, where it did not leave or came back: a code, or the status of a mail server.
    #[n(11)]
    pub reason: Option<String>,
    /// The person does not see it before, microseconds since 1970.
    #[n(14)]
    pub secret_until: Option<i64>,
}

/// An erasure. Sealed under the vault's row key; the subject's id is dropped from it when it is sealed.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub(crate) struct ErasureRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: [u8; 16],
    #[n(1)]
    pub state: u8,
    #[n(2)]
    pub scope: u8,
    #[n(3)]
    pub cause: u8,
    #[cbor(n(4), with = "minicbor::bytes")]
    pub subject: Option<[u8; 16]>,
    #[n(5)]
    pub groups: u32,
    #[n(6)]
    pub records: Vec<RecordRef>,
    #[cbor(n(7), with = "minicbor::bytes")]
    pub opener: [u8; 16],
    #[cbor(n(8), with = "minicbor::bytes")]
    pub approver: Option<[u8; 16]>,
    #[cbor(n(9), with = "minicbor::bytes")]
    pub tag: [u8; 16],
    /// Microseconds at which each state was reached, in the order of [`ErasureState`].
    #[n(10)]
    pub reached: Vec<Option<i64>>,
    #[cbor(n(11), with = "minicbor::bytes")]
    pub claim_sha256: Option<[u8; 32]>,
    #[n(12)]
    pub epoch_closed: Option<u64>,
    #[n(13)]
    pub counts: Vec<CountRow>,
    #[n(14)]
    pub certificate: Option<String>,
    /// How long the trail was before the certificate's entry, and that entry's decision id: enough to find it again.
    #[n(15)]
    pub near: u64,
    #[cbor(n(17), with = "minicbor::bytes")]
    pub decision: Option<[u8; 16]>,
    #[n(16)]
    pub aliases: u32,
    /// What it left, and why.
    #[n(18)]
    pub kept: Vec<KeptRow>,
    /// Who is told of it.
    #[cbor(n(19), default)]
    pub recipients: Vec<RecipientRow>,
    /// The person's request that it fulfils.
    #[cbor(n(20), with = "minicbor::bytes")]
    pub request: Option<[u8; 16]>,
}

/// A recipient that is told of an erasure, and the message that tells it.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub(crate) struct RecipientRow {
    /// The partner's id.
    #[n(0)]
    pub partner: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub delivery: [u8; 16],
    /// It is named to nobody before.
    #[n(2)]
    pub secret_until: Option<i64>,
}

/// Something that an erasure left.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub(crate) struct KeptRow {
    #[n(0)]
    pub what: String,
    #[n(1)]
    pub rule: String,
    /// Until when, microseconds since 1970.
    #[n(2)]
    pub until: Option<i64>,
}

/// A record's id inside an erasure.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub(crate) struct RecordRef {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
}

/// How many fields of a category an erasure took.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub(crate) struct CountRow {
    #[n(0)]
    pub category: String,
    #[n(1)]
    pub count: u64,
}

const STATES: [ErasureState; 9] = [
    ErasureState::Requested,
    ErasureState::Verified,
    ErasureState::Approved,
    ErasureState::Unlinked,
    ErasureState::Propagated,
    ErasureState::Sealed,
    ErasureState::Denied,
    ErasureState::Revoked,
    ErasureState::Partial,
];
const SCOPES: [Scope; 3] = [Scope::Subject, Scope::Groups, Scope::Records];
const CAUSES: [Cause; 6] =
    [Cause::Request, Cause::Retention, Cause::Withdrawal, Cause::MinorNoConsent, Cause::AccountClosure, Cause::Unlawful];

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|x| x == one).unwrap_or(0) as u8
}

impl ErasureRow {
    pub(crate) fn state(&self) -> Result<ErasureState, Refused> {
        STATES.get(usize::from(self.state)).copied().ok_or(Code::Internal.into())
    }

    pub(crate) fn scope(&self) -> Result<Scope, Refused> {
        SCOPES.get(usize::from(self.scope)).copied().ok_or(Code::Internal.into())
    }

    pub(crate) fn cause(&self) -> Result<Cause, Refused> {
        CAUSES.get(usize::from(self.cause)).copied().ok_or(Code::Internal.into())
    }

    pub(crate) fn scope_number(scope: Scope) -> u8 {
        place(&SCOPES, &scope)
    }

    pub(crate) fn cause_number(cause: Cause) -> u8 {
        place(&CAUSES, &cause)
    }

    /// Moves on to `state`, which is reached `at`, if [`ERASURE`] has such a step.
    pub(crate) fn reach(&mut self, state: ErasureState, at: Timestamp) -> Result<(), Refused> {
        let to = place(&STATES, &state);
        let (Some(before), Some(after)) = (ERASURE.state(self.state), ERASURE.state(to)) else {
            return Err(Code::Internal.into());
        };
        if !self.reached.is_empty() && !ERASURE.leads(before, after) {
            return Err(Code::StateConflict.into());
        }
        self.state = to;
        self.reached.resize(STATES.len(), None);
        self.reached[usize::from(to)] = Some(at.as_microsecond());
        Ok(())
    }

    /// When `state` was reached.
    pub(crate) fn reached(&self, state: ErasureState) -> Option<Timestamp> {
        self.reached.get(usize::from(place(&STATES, &state))).copied().flatten().map(time)
    }
}

/// The first answer to a call with an Idempotency-Key. Sealed under the subject's tag key where there is a subject.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct FirstAnswer {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub request: [u8; 32],
    #[n(1)]
    pub made: bool,
    #[n(2)]
    pub etag: Option<String>,
    #[n(3)]
    pub location: Option<String>,
    #[cbor(n(4), with = "minicbor::bytes")]
    pub body: Option<Vec<u8>>,
    #[cbor(n(5), with = "minicbor::bytes")]
    pub decision: Option<[u8; 16]>,
    /// What the name of its row is a keyed digest of, so that it can be named anew.
    #[cbor(n(6), with = "minicbor::bytes", default)]
    pub named: Vec<u8>,
}

/// The CBOR bytes of a row.
pub(crate) fn pack<T: Encode<()>>(row: &T) -> Result<Vec<u8>, Refused> {
    minicbor::to_vec(row).map_err(|_| Code::Internal.into())
}

/// A row from its CBOR bytes.
pub(crate) fn unpack<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, Refused> {
    minicbor::decode(bytes).map_err(|_| Code::StoreUnavailable.into())
}

/// A time from stored microseconds; damage shows as 1970.
pub(crate) fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
