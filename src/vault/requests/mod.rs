//! openRequest, getRequest and listRequests: what a person asks for, with the names of the Data Rights Protocol.
//!
//! A request's row says where it stands; what it is about is sealed in it under the person's key. What the person said, evidence
//! and letters are papers of its file (`papers`). What may follow what stands in `model::states::REQUEST`; the steps are taken in
//! [`advance`], the clocks run in [`clocks`].

mod advance;
pub(crate) mod clocks;
mod fulfilment;
mod letters;
mod listing;
mod verification;

use jiff::{SignedDuration, Timestamp};
use keys::secret::ExposeSecret;

use crate::audit::Outcome;
use crate::model::caller::{Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, ErasureId, RecordId, RequestId, RestrictionId, SubjectId, TenantId};
use crate::model::standing::{Asked, Restriction, RestrictionKind, Standing};
use crate::model::states::REQUEST;
use crate::model::wire::{AuthorityView, DenialView, OpenRequest, RequestType, RequestView, VerificationView};
use crate::policy::{Facts, SubjectState};
use crate::store::Row;
use crate::store::layout::RowKey;
use crate::tenant::{AuthorityText, Tenant};

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::records::known_numbers;
use super::restrictions::{self, TRIES};
use super::rows::{RequestDetails, RequestRow, pack, time, unpack};
use super::standing::amend;
use super::verified::is_evidence;
use super::{closures, papers};

pub(crate) use verification::{brings_code, code};

/// The states that the vault looks for by name.
const OPEN: &str = "open";
pub(crate) const IN_PROGRESS: &str = "in_progress";
const PROPOSED: &str = "denial-proposed";
pub(crate) const DENIED: &str = "denied";

/// Requests of one subject that are remembered; those whose papers are gone make room.
const MOST: usize = 64;

/// Of these, the ones that an officer alone can open: whatever comes in a person's name, an erasure or an objection has room.
const RESERVE: usize = 16;

/// Requests that a person's own token opens in a day.
const A_DAY: usize = 16;

/// Bytes of what a person or an officer says in one go.
const LONGEST: usize = 20_000;

impl Vault {
    /// openRequest. A closed account stops serving with this answer; what no law keeps is destroyed when its grace is over.
    pub async fn open_request(&self, call: &Call, body: OpenRequest) -> Result<Answer, Refused> {
        let operation = Operation::OpenRequest;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        for _ in 0..TRIES {
            let (tenant, id) = (core.tenant(&call.caller)?, call.subject(body.subject)?);
            let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
            let now = core.clock.now();
            let about = person.facts(&tenant, now);
            core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
            let details = match details(core, &tenant, &person, &body)? {
                Ok(details) => details,
                Err(pointer) => {
                    let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
                    return Err(Refused { pointer: Some(pointer.to_owned()), ..refused });
                }
            };
            let kind = body.r#type;
            let closes = kind == RequestType::AccountClosure;
            let again = closes && (about.state == SubjectState::Closed || other_closure(core, &person, None, |_| true)?);
            if about.state == SubjectState::Held || again {
                return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag)));
            }
            match room(core, call, &person, now)? {
                Room::Free => {}
                Room::After(spent) => {
                    clocks::make_room(core, &opened.committer, spent).await?;
                    continue;
                }
                Room::None => return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag))),
                Room::Tomorrow => {
                    let refused = core.refuse(call, operation, Code::RateLimited, Some(person.tag));
                    return Err(Refused { retry_after: Some(3600), ..refused });
                }
            }
            let request = RequestId::from_bytes(fresh()?);
            let mut row = received(core, call, &tenant, &person, kind)?;
            row.duplicate_of = twin(core, &tenant, &person, kind, &details, (request, now), None)?.map(|twin| *twin.bytes());
            row.details = Some(person.keys.seal_row(&RowKey::Request(request).bytes(), &pack(&details)?)?);
            let mut change = Change::default();
            let file = papers::begin(core, request.bytes(), &mut change)?;
            if let Some(message) = &body.message {
                letters::file(&file, "message", message.0.expose_secret().as_bytes(), now, &mut change)?;
            }
            let mut effects = Effects { asked: Some(request), ..Effects::default() };
            if is_known(&tenant, &row) {
                begin_work(core, call, &tenant, &person, &mut row, &details, &mut effects, &mut change)?;
            }
            if row.confirm_by.is_some() {
                letters::tell(core, &tenant, &person, request, &row, Some(&file), letters::RECEIVED, &mut change)?;
            }
            let mut entry = core.entry(call, operation, Outcome::Allowed)?;
            entry.tag = Some(person.tag);
            let answer = Answer {
                decision: Some(entry.decision),
                made: true,
                body: Some(serde_json::to_vec(&view(&tenant, request, &row)?).map_err(|_| Code::Internal)?),
                location: Some(format!("/v1/requests/{request}")),
                ..Answer::default()
            };
            change.entries.push(entry);
            let key = RowKey::Request(request).bytes();
            change.rows.push(RowChange { key, expect: Expect::Fresh, value: Some(seal(core, request, &row)?) });
            effects.put(core, &person, &mut change)?;
            if let Some(held) = &held {
                change.rows.push(held.keep(core, &Owner::Subject(person.id.bytes(), &person.keys), &answer)?);
            }
            match opened.committer.commit(change).await {
                Err(refused) if refused.code == Code::Stale => continue,
                Err(refused) => return Err(refused),
                Ok(()) => {}
            }
            closures::finish_at_once(core, &opened.committer, request, &row).await;
            return Ok(answer);
        }
        Err(Code::Overloaded.into())
    }

    /// getRequest: where it stands. What the person said and was answered is shown to the person and to a privacy officer.
    pub async fn request(&self, call: &Call, id: RequestId) -> Result<Answer, Refused> {
        let operation = Operation::GetRequest;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let found = load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
        let own = found.as_ref().is_some_and(|(_, row)| is_own(core, &tenant, call, row));
        let tag = found.as_ref().map(|(_, row)| row.tag);
        let allowed = core.decide(call, operation, &Facts { own, ..core.facts(&tenant) }, tag)?;
        let Some((_, row)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = tag;
        let admitted = core.admit(&allowed, entry).await?;
        let view = letters::with_words(core, call, &row, id, seen_by(call, &row, view(&tenant, id, &row)?))?;
        let body = serde_json::to_vec(&view).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

impl RequestRow {
    /// Its state.
    pub(crate) fn state(&self) -> Result<&'static str, Refused> {
        REQUEST.state(self.status).ok_or(Code::StoreUnavailable.into())
    }

    /// Its type.
    pub(crate) fn kind(&self) -> Result<RequestType, Refused> {
        RequestType::numbered(self.kind).ok_or(Code::StoreUnavailable.into())
    }

    /// Whether nothing follows any more.
    pub(crate) fn is_ended(&self) -> bool {
        self.state().is_ok_and(|state| REQUEST.is_end(state))
    }

    /// Whether it ended and nobody answered it: taken back, run out, or denied by codes that were wrong.
    fn is_spent(&self) -> bool {
        let failed = self.failed > 0 && self.proposer.is_none();
        self.state().is_ok_and(|state| matches!(state, "revoked" | "expired") || state == DENIED && failed)
    }

    /// Whether it waits to be answered: neither ended nor about to be denied.
    fn is_live(&self) -> bool {
        self.state().is_ok_and(|state| [OPEN, IN_PROGRESS].contains(&state))
    }

    /// Whether it closes its person's account now.
    pub(crate) fn is_closing(&self) -> bool {
        self.closes_at.is_some() && self.state().is_ok_and(|state| state == IN_PROGRESS)
    }

    /// Takes a step of the table of states; none that stands there is `state-conflict`.
    pub(crate) fn step(&mut self, action: &str, now: Timestamp) -> Result<(), Refused> {
        let next = REQUEST.next(self.state()?, action).ok_or(Code::StateConflict)?;
        self.status = REQUEST.number(next).ok_or(Code::Internal)?;
        if REQUEST.is_end(next) {
            self.ended_at = Some(now.as_microsecond());
            (self.nonce, self.code_until) = (None, None);
            self.alarms.clear();
        }
        Ok(())
    }
}

/// What a request changes about its person's own row: one change of it, whatever it is.
#[derive(Default)]
pub(crate) struct Effects {
    asked: Option<RequestId>,
    /// The account closes now, or opens again.
    closed_at: Option<Option<i64>>,
    restriction: Option<Restriction>,
    forgotten: Option<RequestId>,
}

impl Effects {
    /// Adds them to the change. It is stale if the person is erased or changed first.
    fn put(self, core: &Core, person: &Person, change: &mut Change) -> Result<(), Refused> {
        if self.asked.is_none() && self.closed_at.is_none() && self.restriction.is_none() && self.forgotten.is_none() {
            change.guard(person);
            return Ok(());
        }
        amend(core, person, change, |row| {
            let standing = &mut row.standing;
            standing.requests.extend(self.asked.map(|request| Asked { request: *request.bytes() }));
            if let Some(gone) = self.forgotten {
                standing.requests.retain(|asked| asked.request != *gone.bytes());
            }
            if let Some(closed_at) = self.closed_at {
                standing.closed_at = closed_at;
            }
            standing.restrictions.extend(self.restriction);
            Ok(())
        })
    }
}

/// The row of a request that just came.
fn received(core: &Core, call: &Call, tenant: &Tenant, person: &Person, kind: RequestType) -> Result<RequestRow, Refused> {
    let now = core.clock.now();
    let place = &person.row.jurisdiction;
    let sla = tenant.sla(kind, place).ok_or(Code::Internal)?;
    // An application asks for somebody who is signed in to it; what an officer brings in is on nobody's word yet.
    let signed_in = call.caller.subject.is_some() || call.caller.roles.contains(&Role::Writer);
    Ok(RequestRow {
        tenant: *tenant.id().bytes(),
        subject: Some(*person.id.bytes()),
        kind: kind.number(),
        status: 0,
        received_at: now.as_microsecond(),
        expected_by: sla.due(now).as_microsecond(),
        opener: *call.caller.id.bytes(),
        closes_at: None,
        erasure: None,
        details: None,
        tag: person.tag,
        level: signed_in.then_some(0),
        failed: 0,
        sent: 0,
        nonce: None,
        code_until: None,
        confirm_by: sla.confirm_by(now).map(Timestamp::as_microsecond),
        alarms: sla.alarms.clone(),
        extended: None,
        ground: None,
        proposer: None,
        duplicate_of: None,
        ended_at: None,
        incident: None,
        restriction: None,
        authority: tenant.authority(place).map(|authority| authority.id.clone()),
        former_codes: Vec::new(),
    })
}

/// Whether the person is known as surely as the type of request asks for.
pub(crate) fn is_known(tenant: &Tenant, row: &RequestRow) -> bool {
    row.kind().is_ok_and(|kind| row.level.is_some_and(|level| level >= tenant.level(kind)))
}

/// What a request does as soon as its person is known surely enough: an account closes, a complaint stops what it is about.
#[expect(clippy::too_many_arguments, reason = "a request, its person, and the two halves of one change")]
fn begin_work(
    core: &Core,
    call: &Call,
    tenant: &Tenant,
    person: &Person,
    row: &mut RequestRow,
    details: &RequestDetails,
    effects: &mut Effects,
    change: &mut Change,
) -> Result<(), Refused> {
    let now = core.clock.now();
    match row.kind()? {
        RequestType::AccountClosure if row.closes_at.is_none() => {
            // Another request closed it, and what ends that one opens it.
            if person.row.standing.closed_at.is_some() {
                return Err(Code::StateConflict.into());
            }
            row.step("accept", now)?;
            row.closes_at = Some(tenant.closure_ends(now).as_microsecond());
            effects.closed_at = Some(Some(now.as_microsecond()));
        }
        RequestType::Complaint if details.restrict && row.restriction.is_none() => {
            let dispute = restrictions::lay(core, call, person, RestrictionKind::Dispute, Vec::new(), change)?;
            row.restriction = Some(dispute.id);
            effects.restriction = Some(dispute);
        }
        _ => {}
    }
    Ok(())
}

/// Whether one more request of a person has room.
enum Room {
    Free,
    /// When these, which ended without an answer, are forgotten.
    After(Vec<RequestId>),
    Tomorrow,
    None,
}

/// Whether this caller can open one more. One that was taken back, ran out, or failed for want of verification makes room a day later
/// where there is none; what was answered stays for as long as its papers do.
fn room(core: &Core, call: &Call, person: &Person, now: Timestamp) -> Result<Room, Refused> {
    let own = call.caller.subject.is_some();
    let officer = !own && call.caller.roles.contains(&Role::PrivacyOfficer);
    let most = if officer { MOST } else { MOST - RESERVE };
    let yesterday = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN).as_microsecond();
    let asked = &person.row.standing.requests;
    let (mut today, mut spent) = (0, Vec::new());
    for asked in asked {
        let id = RequestId::from_bytes(asked.request);
        let Some((_, row)) = load(core, id)? else { continue };
        today += usize::from(row.received_at > yesterday);
        if row.is_spent() && row.ended_at.is_some_and(|at| at <= yesterday) {
            spent.push(id);
        }
    }
    Ok(match () {
        () if own && today >= A_DAY => Room::Tomorrow,
        () if asked.len() < most => Room::Free,
        () if spent.is_empty() => Room::None,
        () => Room::After(spent),
    })
}

/// Whether another request of the person that has not ended is a closure of their account, and one that `counts`.
fn other_closure(
    core: &Core,
    person: &Person,
    this: Option<RequestId>,
    counts: impl Fn(&RequestRow) -> bool,
) -> Result<bool, Refused> {
    for asked in person.row.standing.requests.iter().filter(|asked| this.is_none_or(|this| asked.request != *this.bytes())) {
        let Some((_, row)) = load(core, RequestId::from_bytes(asked.request))? else { continue };
        if row.kind()? == RequestType::AccountClosure && !row.is_ended() && counts(&row) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The last request of the person before this one that asked for the same within a window: the policy's, unless another is named.
fn twin(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    kind: RequestType,
    details: &RequestDetails,
    (this, received): (RequestId, Timestamp),
    window: Option<SignedDuration>,
) -> Result<Option<RequestId>, Refused> {
    let usual = || SignedDuration::from_hours(24 * i64::from(tenant.requests().duplicate_days));
    let window = window.unwrap_or_else(usual);
    // They stand in the order in which they came, whatever the clock said.
    let before = person.row.standing.requests.iter().take_while(|asked| asked.request != *this.bytes());
    for asked in before.collect::<Vec<_>>().into_iter().rev() {
        let id = RequestId::from_bytes(asked.request);
        let Some((_, row)) = load(core, id)? else { continue };
        if row.kind != kind.number() || received.duration_since(time(row.received_at)) > window {
            continue;
        }
        let Some(before) = said(person, id, &row)? else { continue };
        if (RequestDetails { evidence: details.evidence.clone(), ..before }) == *details {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// What a request is about, opened with the person's key.
fn said(person: &Person, id: RequestId, row: &RequestRow) -> Result<Option<RequestDetails>, Refused> {
    let Some(sealed) = row.details.as_ref().filter(|_| row.subject == Some(*person.id.bytes())) else { return Ok(None) };
    unpack(person.keys.open_row(&RowKey::Request(id).bytes(), sealed)?.bytes()).map(Some)
}

/// Whether a request is the caller's own: the person's, their guardian's, or one that this application brought in.
fn is_own(core: &Core, tenant: &Tenant, call: &Call, row: &RequestRow) -> bool {
    // What a portal opened for one person is not its other persons'.
    let Some(own) = call.caller.subject else { return row.opener == *call.caller.id.bytes() };
    if row.subject == Some(*own.bytes()) {
        return true;
    }
    let Some(Ok(Some(person))) = row.subject.map(|id| core.person(tenant, SubjectId::from_bytes(id))) else { return false };
    let about = person.facts(tenant, core.clock.now());
    core.facts_about(tenant, call, &person, &about).own
}

/// Whether the call names, in `Vault-Case`, a request of this person that is open and whose person is known surely enough: what an
/// officer's reading of them rests on.
pub(crate) fn serves(core: &Core, tenant: &Tenant, call: &Call, person: &Person) -> bool {
    let named = call.grounds.case.as_ref().and_then(|case| case.parse::<RequestId>().ok());
    let found = named.and_then(|id| load(core, id).ok().flatten());
    found.is_some_and(|(_, row)| {
        // Who brought it in does not read for it.
        let theirs = row.subject == Some(*person.id.bytes()) && row.opener != *call.caller.id.bytes();
        theirs && row.is_live() && is_known(tenant, &row)
    })
}

/// The stored bytes and the row of a request.
pub(crate) fn load(core: &Core, id: RequestId) -> Result<Option<(Vec<u8>, RequestRow)>, Refused> {
    let key = RowKey::Request(id).bytes();
    let Some(stored) = core.store.row(&key)? else { return Ok(None) };
    let row = unpack(core.hierarchy.open_row(&key, &stored)?.bytes())?;
    Ok(Some((stored, row)))
}

/// The bytes that keep a request.
pub(crate) fn seal(core: &Core, id: RequestId, row: &RequestRow) -> Result<Vec<u8>, Refused> {
    core.hierarchy.seal_row(&RowKey::Request(id).bytes(), &pack(row)?).map_err(Refused::from)
}

/// Adds to a correction that it fulfils a person's request about that record; `false` when there is no such request, or its person
/// is not known surely enough.
pub(crate) fn corrected(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    request: RequestId,
    record: RecordId,
    change: &mut Change,
) -> Result<bool, Refused> {
    let Some((stored, mut row)) = load(core, request)? else { return Ok(false) };
    let Some(details) = said(person, request, &row)? else { return Ok(false) };
    let fits = row.kind()? == RequestType::Rectification && details.record == Some(*record.bytes());
    if !fits || !row.is_live() || !is_known(tenant, &row) {
        return Ok(false);
    }
    let now = core.clock.now();
    if row.state()? == OPEN {
        row.step("accept", now)?;
    }
    row.step("fulfil", now)?;
    let file = papers::open(core, request.bytes())?;
    letters::tell(core, tenant, person, request, &row, file.as_ref(), letters::FULFILLED, change)?;
    let value = Some(seal(core, request, &row)?);
    change.rows.push(RowChange { key: RowKey::Request(request).bytes(), expect: Expect::Is(stored), value });
    Ok(true)
}

/// Begins an erasure for a person's own open request, with the change that opens the erasure; `false` when there is no such request,
/// or its person is not known surely enough.
pub(crate) fn erasing(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    request: RequestId,
    erasure: ErasureId,
    change: &mut Change,
) -> Result<bool, Refused> {
    let Some((stored, mut row)) = load(core, request)? else { return Ok(false) };
    let theirs = row.subject == Some(*person.id.bytes()) && row.kind()? == RequestType::Erasure;
    if !theirs || !row.is_live() || !is_known(tenant, &row) {
        return Ok(false);
    }
    if row.state()? == OPEN {
        row.step("accept", core.clock.now())?;
    }
    row.erasure = Some(*erasure.bytes());
    let value = Some(seal(core, request, &row)?);
    change.rows.push(RowChange { key: RowKey::Request(request).bytes(), expect: Expect::Is(stored), value });
    Ok(true)
}

/// The row of a request that an erasure fulfils, where the person stays. `state-conflict` when it was taken back or denied meanwhile.
pub(crate) fn erased(core: &Core, request: RequestId, erasure: ErasureId) -> Result<Row, Refused> {
    let (_, mut row) = load(core, request)?.ok_or(Code::StateConflict)?;
    row.step("fulfil", core.clock.now())?;
    row.erasure = Some(*erasure.bytes());
    Ok((RowKey::Request(request).bytes(), seal(core, request, &row)?))
}

/// The rows of a person's requests without the person: what stays when the person is erased. What the erasure does is fulfilled by
/// it; what nobody can be answered any more has run out.
pub(crate) fn unlinked(core: &Core, standing: &Standing, by: Option<ErasureId>) -> Result<Vec<Row>, Refused> {
    let now = core.clock.now();
    let mut rows = Vec::with_capacity(standing.requests.len());
    for asked in &standing.requests {
        let id = RequestId::from_bytes(asked.request);
        let Some((_, mut row)) = load(core, id)? else { continue };
        if !row.is_ended() {
            if matches!(row.kind()?, RequestType::Erasure | RequestType::AccountClosure) && row.is_live() {
                if row.state()? == OPEN {
                    row.step("accept", now)?;
                }
                row.step("fulfil", now)?;
            } else {
                row.step("expire", now)?;
            }
            row.erasure = by.map(|erasure| *erasure.bytes());
        }
        forget(&mut row);
        rows.push((RowKey::Request(id).bytes(), seal(core, id, &row)?));
    }
    Ok(rows)
}

/// Takes everything out of a row that leads to its person, or says something about them.
fn forget(row: &mut RequestRow) {
    (row.subject, row.details, row.nonce) = (None, None, None);
    (row.authority, row.restriction, row.duplicate_of) = (None, None, None);
}

type Checked = Result<RequestDetails, &'static str>;

/// What the request is about, or where the body does not fit its type.
fn details(core: &Core, tenant: &Tenant, person: &Person, body: &OpenRequest) -> Result<Checked, Refused> {
    let kind = body.r#type;
    let rectifies = kind == RequestType::Rectification;
    if !rectifies && (body.record.is_some() || !body.fields.is_empty()) {
        return Ok(Err("/type"));
    }
    if kind == RequestType::AccountClosure && (body.evidence.is_some() || body.message.is_some()) {
        return Ok(Err("/type"));
    }
    if !body.purposes.is_empty() && !matches!(kind, RequestType::Restriction | RequestType::Objection) {
        return Ok(Err("/purposes"));
    }
    if body.purposes.iter().any(|purpose| tenant.purpose(purpose).is_none()) {
        return Ok(Err("/purposes"));
    }
    if body.restrict && kind != RequestType::Complaint {
        return Ok(Err("/restrict"));
    }
    if !is_evidence(body.evidence.as_ref()) {
        return Ok(Err("/evidence"));
    }
    let message = body.message.as_ref().map(|message| message.0.expose_secret().as_bytes());
    let needed = matches!(kind, RequestType::Complaint | RequestType::Question);
    if message.map_or(needed, |message| !(1..=LONGEST).contains(&message.len())) {
        return Ok(Err("/message"));
    }
    let mut fields = Vec::new();
    if rectifies {
        let Some(record) = body.record else { return Ok(Err("/record")) };
        if core.store.row(&RowKey::Record(person.id, record).bytes())?.is_none() {
            return Ok(Err("/record"));
        }
        fields = known_numbers(tenant, body.fields.iter());
        if fields.is_empty() || fields.len() != body.fields.len() {
            return Ok(Err("/fields"));
        }
    }
    Ok(Ok(RequestDetails {
        record: body.record.map(|record| *record.bytes()),
        fields,
        evidence: body.evidence.as_ref().map(|evidence| format!("{}:{}", evidence.kind, evidence.digest)),
        purposes: body.purposes.clone(),
        restrict: body.restrict,
        message: message.map(|message| person.keys.keyed_digest("request-message", &[message])),
    }))
}

/// What is answered about a request to everybody who may see it.
fn view(tenant: &Tenant, id: RequestId, row: &RequestRow) -> Result<RequestView, Refused> {
    let (kind, state) = (row.kind()?, row.state()?);
    let authority = row.authority.as_ref().and_then(|id| tenant.authorities().iter().find(|own| own.id == *id));
    let denied = state == DENIED;
    let needs = state == OPEN && !is_known(tenant, row);
    let left = tenant.requests().tries.saturating_sub(row.failed);
    let closes = row.closes_at.filter(|_| state == IN_PROGRESS).map(time);
    let shows_authority = denied || kind == RequestType::Complaint;
    Ok(RequestView {
        request_id: id,
        r#type: kind.text(),
        // A denial takes two people; to the person it is one act.
        status: if state == PROPOSED { IN_PROGRESS } else { state },
        dpv_status: match state {
            OPEN if needs => "dpv:RequestRequiresAction",
            OPEN => "dpv:RequestAcknowledged",
            "fulfilled" => "dpv:RequestFulfilled",
            DENIED => "dpv:RequestRejected",
            "revoked" | "expired" => "dpv:RequestUnfulfilled",
            _ if row.extended.is_some() => "dpv:RequestActionDelayed",
            _ => "dpv:RequestAccepted",
        },
        reason: if needs { Some("need_user_verification".into()) } else { row.ground.clone().filter(|_| denied) },
        received_at: time(row.received_at),
        expected_by: time(row.expected_by),
        confirm_by: row.confirm_by.map(time),
        extended: row.extended.clone(),
        ended_at: row.ended_at.map(time),
        processing_details: closes.map(|at| format!("what no law keeps is destroyed at {at}")),
        verification: VerificationView {
            level: row.level,
            required: tenant.level(kind),
            tries_left: left,
            code_until: row.code_until.map(time),
        },
        duplicate_of: row.duplicate_of.map(RequestId::from_bytes),
        proposed: None,
        denial: row.ground.as_ref().filter(|_| denied).map(|ground| denial(tenant, ground, kind)),
        authority: authority.filter(|_| shows_authority).map(authority_view),
        erasure: row.erasure.map(ErasureId::from_bytes),
        restriction: row.restriction.map(RestrictionId::from_bytes),
        subject: None,
        subject_tag: None,
        message: None,
        answer: None,
        download_code: None,
    })
}

/// The view with what only some may know of it: whose it is, and what is proposed.
fn seen_by(call: &Call, row: &RequestRow, view: RequestView) -> RequestView {
    let officer = call.caller.subject.is_none() && call.caller.roles.contains(&Role::PrivacyOfficer);
    let queue = call.caller.roles.iter().any(|role| matches!(role, Role::Auditor | Role::Scheduler));
    let proposed = row.state().is_ok_and(|state| state == PROPOSED);
    RequestView {
        subject: row.subject.filter(|_| officer).map(SubjectId::from_bytes),
        subject_tag: (queue && !officer).then(|| hex(&row.tag)),
        proposed: row.ground.clone().filter(|_| officer && proposed),
        ..view
    }
}

/// What a denial says: the ground, and what can be done against it.
fn denial(tenant: &Tenant, ground: &str, kind: RequestType) -> DenialView {
    let found = tenant.ground(ground, kind);
    DenialView {
        code: ground.to_owned(),
        title: found.map(|ground| ground.title.clone()).unwrap_or_default(),
        term: found.and_then(|ground| ground.term.clone()),
        appeal: APPEAL,
        officer: tenant.controller().officer.clone(),
    }
}

/// What a person can do about a denial (GDPR Art. 12(4)).
const APPEAL: &str = "You can ask the privacy officer to look at this again, by a complaint or at the address given here; you can complain to \
                      the authority that is named here; and you can go to court.";

/// An authority as it is answered.
pub(crate) fn authority_view(authority: &AuthorityText) -> AuthorityView {
    AuthorityView { id: authority.id.clone(), title: authority.title.clone(), url: authority.url.clone() }
}

/// Whose request it is: tenant and subject, while it still has one.
pub(crate) fn whose(row: &RequestRow) -> Option<(TenantId, SubjectId, CallerId)> {
    Some((TenantId::from_bytes(row.tenant), SubjectId::from_bytes(row.subject?), CallerId::from_bytes(row.opener)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
