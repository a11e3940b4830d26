//! advanceRequest: one step of a request, by whom the table of states lets take it.

use keys::secret::ExposeSecret;

use crate::audit::{Entry, Outcome};
use crate::model::caller::{CallerKind, Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{RequestId, SubjectId};
use crate::model::states::REQUEST;
use crate::model::wire::{AdvanceRequest, RequestType, RequestView};
use crate::policy::Facts;
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::super::call::{Answer, Call, Refused};
use super::super::closures;
use super::super::committer::{Change, Expect, RowChange};
use super::super::core::{Core, Person};
use super::super::idempotency::{self, Begun, Held, Owner};
use super::super::lifecycle::{Opened, Vault};
use super::super::papers::{self, File};
use super::super::restrictions::TRIES;
use super::super::rows::{RequestRow, time};
use super::{
    Effects, IN_PROGRESS, PROPOSED, begin_work, fulfilment, is_known, is_own, letters, load, other_closure, said, seal, seen_by,
    twin, verification, view,
};

/// Why an answer may be put off (GDPR Art. 12(3)).
const EXTENSIONS: [&str; 2] = ["complexity", "number_of_requests"];

impl Vault {
    /// advanceRequest.
    pub async fn advance_request(&self, call: &Call, id: RequestId, body: AdvanceRequest) -> Result<Answer, Refused> {
        let operation = Operation::AdvanceRequest;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        for _ in 0..TRIES {
            let tenant = core.tenant(&call.caller)?;
            let found = load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
            let own = found.as_ref().is_some_and(|(_, row)| is_own(core, &tenant, call, row));
            let tag = found.as_ref().map(|(_, row)| row.tag);
            core.decide(call, operation, &Facts { own, ..core.facts(&tenant) }, tag)?;
            let Some((stored, row)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
            let person = row.subject.map(|subject| core.person(&tenant, SubjectId::from_bytes(subject))).transpose()?.flatten();
            let Some(person) = person else { return Err(core.refuse(call, operation, Code::StateConflict, tag)) };
            let at = Move {
                core,
                call,
                tenant: &tenant,
                person: &person,
                id,
                stored,
                file: papers::open(core, id.bytes())?,
                row,
                now: core.clock.now(),
                change: Change::default(),
                effects: Effects::default(),
            };
            match take(&opened, at, &body, held.as_ref()).await {
                Err(refused) if refused.code == Code::Stale && refused.decision.is_none() => continue,
                Err(refused) if refused.code == Code::StateConflict && refused.decision.is_none() => {
                    return Err(core.refuse(call, operation, Code::StateConflict, tag));
                }
                done => return done,
            }
        }
        Err(core.refuse(call, operation, Code::Overloaded, None))
    }
}

/// A request that a caller wants to move, and what is made of it so far.
pub(super) struct Move<'a> {
    pub(super) core: &'a Core,
    pub(super) call: &'a Call,
    pub(super) tenant: &'a Tenant,
    pub(super) person: &'a Person,
    pub(super) id: RequestId,
    pub(super) stored: Vec<u8>,
    pub(super) file: Option<File>,
    pub(super) row: RequestRow,
    pub(super) now: jiff::Timestamp,
    pub(super) change: Change,
    pub(super) effects: Effects,
}

/// A change that is ready to be kept.
pub(super) struct Done {
    change: Change,
    row: RequestRow,
    entry: Entry,
    /// What is answered although the step was taken.
    refused: Option<Code>,
    /// What is shown once.
    pub(super) download_code: Option<String>,
}

impl Move<'_> {
    /// A refusal, noted.
    pub(super) fn refuse(&self, code: Code) -> Refused {
        self.core.refuse(self.call, Operation::AdvanceRequest, code, Some(self.person.tag))
    }

    /// A body that does not fit, noted.
    pub(super) fn invalid(&self, pointer: &str) -> Refused {
        Refused { pointer: Some(pointer.to_owned()), ..self.refuse(Code::InvalidBody) }
    }

    /// Who brings a request in for somebody does not decide on it: else one officer alone could have anybody's data made up for them.
    pub(super) fn another_person(&self) -> Result<(), Refused> {
        let opened = self.call.caller.subject.is_none() && self.row.opener == *self.call.caller.id.bytes();
        if opened { Err(self.refuse(Code::SecondPersonRequired)) } else { Ok(()) }
    }

    /// Puts a paper into the request's file.
    pub(super) fn paper(&mut self, kind: &str, text: &[u8]) -> Result<(), Refused> {
        let file = self.file.as_ref().ok_or(Code::KeyDestroyed)?;
        letters::file(file, kind, text, self.now, &mut self.change)
    }

    /// Queues a letter to the person.
    pub(super) fn tell(&mut self, template: &str) -> Result<(), Refused> {
        let (file, change) = (self.file.as_ref(), &mut self.change);
        letters::tell(self.core, self.tenant, self.person, self.id, &self.row, file, template, change)
    }

    /// The change, with its entry.
    pub(super) fn done(self) -> Result<Done, Refused> {
        let mut entry = self.core.entry(self.call, Operation::AdvanceRequest, Outcome::Allowed)?;
        entry.tag = Some(self.person.tag);
        self.with(entry, None)
    }

    /// The change of a code that was wrong: kept, and refused all the same.
    pub(super) fn wrong(self, entry: Entry) -> Result<Done, Refused> {
        self.with(entry, Some(Code::WrongCode))
    }

    fn with(self, entry: Entry, refused: Option<Code>) -> Result<Done, Refused> {
        let Self { core, person, id, stored, row, mut change, effects, .. } = self;
        effects.put(core, person, &mut change)?;
        change.entries.push(entry.clone());
        let value = Some(seal(core, id, &row)?);
        change.rows.push(RowChange { key: RowKey::Request(id).bytes(), expect: Expect::Is(stored), value });
        Ok(Done { change, row, entry, refused, download_code: None })
    }
}

/// Takes the step, keeps it, and answers.
async fn take(opened: &Opened, at: Move<'_>, body: &AdvanceRequest, held: Option<&Held<'_>>) -> Result<Answer, Refused> {
    let (core, call, tenant, person, id) = (at.core, at.call, at.tenant, at.person, at.id);
    may(&at, body.action())?;
    let Done { mut change, row, entry, refused, download_code } = match body {
        AdvanceRequest::Verify { code: Some(code), level: None, evidence: None } => verification::given(at, code)?,
        AdvanceRequest::Verify { code: None, level: None, evidence: None } => verification::send(at)?,
        AdvanceRequest::Verify { code: None, level: Some(level), evidence } => verification::seen(at, *level, evidence.as_ref())?,
        AdvanceRequest::Verify { .. } => return Err(at.invalid("/code")),
        AdvanceRequest::Accept {} => accept(at)?,
        AdvanceRequest::Extend { reason } => extend(at, reason)?,
        AdvanceRequest::Deny { reason } => deny(at, reason.as_deref())?,
        AdvanceRequest::Reopen {} => reopen(at)?,
        AdvanceRequest::Revoke {} => revoke(at)?,
        AdvanceRequest::Fulfil { answer } => {
            let answer = answer.as_ref().map(|answer| answer.0.expose_secret());
            fulfilment::fulfil(opened, at, answer).await?
        }
        AdvanceRequest::Expire {} => expire(at)?,
    };
    let answered = |download_code| {
        let view = RequestView { download_code, ..seen_by(call, &row, view(tenant, id, &row)?) };
        let body = serde_json::to_vec(&view).map_err(|_| Code::Internal)?;
        Ok::<_, Refused>(Answer { decision: Some(entry.decision), body: Some(body), ..Answer::default() })
    };
    let answer = answered(download_code)?;
    if let (Some(held), None) = (held, refused) {
        // What is shown once is kept for no repetition.
        change.rows.push(held.keep(core, &Owner::Subject(person.id.bytes(), &person.keys), &answered(None)?)?);
    }
    opened.committer.commit(change).await?;
    closures::finish_at_once(core, &opened.committer, id, &row).await;
    match refused {
        Some(code) => Err(Refused { decision: Some(entry.decision), ..code.into() }),
        None => Ok(answer),
    }
}

/// Whether the table of states has such a step, and for this caller.
fn may(at: &Move<'_>, action: &str) -> Result<(), Refused> {
    let Some(step) = REQUEST.step(at.row.state()?, action) else { return Err(at.refuse(Code::StateConflict)) };
    let caller = &at.call.caller;
    let by = |role: &Role| match caller.subject {
        Some(_) => *role == Role::Subject,
        None => caller.roles.contains(role) && *role != Role::Subject,
    };
    if step.by.iter().any(by) { Ok(()) } else { Err(at.refuse(Code::RoleForbidden)) }
}

fn accept(mut at: Move<'_>) -> Result<Done, Refused> {
    at.another_person()?;
    if !is_known(at.tenant, &at.row) {
        return Err(at.refuse(Code::VerificationRequired));
    }
    let details = said(at.person, at.id, &at.row)?.ok_or(Code::StateConflict)?;
    let Move { core, call, tenant, person, .. } = at;
    let closes = at.row.kind()? == RequestType::AccountClosure && at.row.closes_at.is_none();
    begin_work(core, call, tenant, person, &mut at.row, &details, &mut at.effects, &mut at.change)?;
    if !closes {
        at.row.step("accept", at.now)?;
    }
    (at.row.ground, at.row.proposer) = (None, None);
    at.done()
}

fn extend(mut at: Move<'_>, reason: &str) -> Result<Done, Refused> {
    if !EXTENSIONS.contains(&reason) {
        return Err(at.invalid("/reason"));
    }
    let sla = at.tenant.sla(at.row.kind()?, &at.person.row.jurisdiction).ok_or(Code::Internal)?;
    if sla.extension_days == 0 || at.row.extended.is_some() {
        return Err(at.refuse(Code::StateConflict));
    }
    at.row.step("extend", at.now)?;
    let more = jiff::SignedDuration::from_hours(24 * i64::from(sla.extension_days));
    let due = time(at.row.expected_by).checked_add(more).map_err(|_| Code::Internal)?;
    at.row.expected_by = due.as_microsecond();
    at.row.extended = Some(reason.to_owned());
    // Its alarms are those of the longer time, but for what lies behind already.
    let ahead = |percent: &u8| super::clocks::rings_at(&at.row, *percent) > at.now.as_microsecond();
    at.row.alarms = sla.alarms.iter().copied().filter(ahead).collect();
    at.tell(letters::EXTENDED)?;
    at.done()
}

fn deny(mut at: Move<'_>, reason: Option<&str>) -> Result<Done, Refused> {
    let Some(reason) = reason else { return Err(at.invalid("/reason")) };
    let kind = at.row.kind()?;
    let Some(ground) = at.tenant.ground(reason, kind) else { return Err(at.invalid("/reason")) };
    if let Some(days) = ground.window_days {
        let details = said(at.person, at.id, &at.row)?.ok_or(Code::StateConflict)?;
        let window = Some(jiff::SignedDuration::from_hours(24 * i64::from(days)));
        let asked_before = twin(at.core, at.tenant, at.person, kind, &details, (at.id, time(at.row.received_at)), window)?;
        if asked_before.is_none() {
            return Err(at.invalid("/reason"));
        }
    }
    if at.row.state()? != PROPOSED {
        at.row.step("deny", at.now)?;
        at.row.ground = Some(ground.id.clone());
        at.row.proposer = Some(*at.call.caller.id.bytes());
        return at.done();
    }
    let other = at.row.proposer != Some(*at.call.caller.id.bytes()) && at.call.caller.kind == CallerKind::Person;
    if !other {
        return Err(at.refuse(Code::SecondPersonRequired));
    }
    // Two officers who mean different things have not agreed.
    if at.row.ground.as_ref() != Some(&ground.id) {
        return Err(at.invalid("/reason"));
    }
    at.row.step("deny", at.now)?;
    opens_again(&mut at)?;
    at.tell(letters::DENIED)?;
    at.done()
}

fn reopen(mut at: Move<'_>) -> Result<Done, Refused> {
    at.row.step("reopen", at.now)?;
    opens_again(&mut at)?;
    (at.row.ground, at.row.proposer) = (None, None);
    at.done()
}

fn revoke(mut at: Move<'_>) -> Result<Done, Refused> {
    at.row.step("revoke", at.now)?;
    opens_again(&mut at)?;
    at.tell(letters::REVOKED)?;
    at.done()
}

/// An account that was closed by this request, and of which nothing was destroyed yet, serves again, unless another closes it too.
pub(super) fn opens_again(at: &mut Move<'_>) -> Result<(), Refused> {
    let closed = at.row.closes_at.take().is_some();
    if closed && !other_closure(at.core, at.person, Some(at.id), |row| row.closes_at.is_some())? {
        at.effects.closed_at = Some(None);
    }
    Ok(())
}

fn expire(mut at: Move<'_>) -> Result<Done, Refused> {
    let over = at.row.expected_by <= at.now.as_microsecond();
    if !over || is_known(at.tenant, &at.row) || at.row.state()? == IN_PROGRESS {
        return Err(at.refuse(Code::StateConflict));
    }
    at.row.step("expire", at.now)?;
    opens_again(&mut at)?;
    at.tell(letters::EXPIRED)?;
    at.done()
}
