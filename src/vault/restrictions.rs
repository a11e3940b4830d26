//! restrictSubject and liftRestriction: Art. 18, objections, disputes and legal holds (p43, p55).
//!
//! What is in force stands in the subject's row, where a decision looks; each restriction's story is a row of its own. A legal
//! hold, and its end, take two officers. What a hold does to keys stands in [`super::holds`].

use crate::audit::Outcome;
use crate::model::caller::{CallerKind, Operation};
use crate::model::code::Code;
use crate::model::ids::{RecordId, RestrictionId, SubjectId};
use crate::model::standing::{Held, Restriction, RestrictionKind};
use crate::model::wire::{ExceptPurposes, LedToErasure, LiftRestriction, RestrictSubject, RestrictionView};
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::callbacks::{self, Event};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh};
use super::holds;
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::{Opened, Vault};
use super::records::is_word;
use super::rows::{RestrictionRow, Step, pack, time, unpack};
use super::standing::amend;

/// Restrictions that one subject may have at a time.
const MOST: usize = 32;

/// Records that one hold may name; more are held by naming none.
const MOST_RECORDS: usize = 250;

/// How often a change of a subject's row is tried again when somebody else changed it first.
pub(crate) const TRIES: usize = 4;

impl Vault {
    /// restrictSubject. In force with its answer, but for a legal hold, which waits for a second officer.
    pub async fn restrict_subject(&self, call: &Call, id: SubjectId, body: RestrictSubject) -> Result<Answer, Refused> {
        let operation = Operation::RestrictSubject;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        for _ in 0..TRIES {
            let (tenant, person) = person(core, call, operation, id)?;
            let invalid = |pointer: String| {
                let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
                Refused { pointer: Some(pointer), ..refused }
            };
            // The person may restrict; what goes on all the same, and holds, are an officer's (API.md, note 4).
            let officers = body.kind == RestrictionKind::LegalHold || !body.exceptions.is_empty();
            if call.caller.subject.is_some() && officers {
                return Err(core.refuse(call, operation, Code::RoleForbidden, Some(person.tag)));
            }
            if let Some(pointer) = misfit(core, &tenant, &person, &body)? {
                return Err(invalid(pointer));
            }
            if person.row.standing.restrictions.len() >= MOST {
                return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag)));
            }
            let restriction = Restriction {
                id: fresh()?,
                kind: body.kind,
                purposes: body.purposes.clone(),
                at: core.clock.now().as_microsecond(),
                exceptions: body.exceptions.clone(),
                records: body.records.iter().map(|record| Held { record: *record.bytes() }).collect(),
                by: *call.caller.id.bytes(),
                case: body.case.clone(),
                review_at: body.review_at.map(|at| at.as_microsecond()),
                active: body.kind != RestrictionKind::LegalHold,
            };
            let mut entry = core.entry(call, operation, Outcome::Allowed)?;
            entry.tag = Some(person.tag);
            entry.records = restriction.records.len() as u32;
            let answer = Answer {
                decision: Some(entry.decision),
                made: true,
                body: Some(serde_json::to_vec(&view(&restriction)).map_err(|_| Code::Internal)?),
                location: Some(format!("/v1/subjects/{id}/restrictions/{}", RestrictionId::from_bytes(restriction.id))),
                ..Answer::default()
            };
            let mut change = Change { entries: vec![entry], ..Change::default() };
            change.rows.extend(told(core, &tenant, &person, &restriction, Event::Restriction)?);
            let row = RestrictionRow { restriction: restriction.clone(), steps: Vec::new() };
            change.rows.push(story(core, &person, row, call, "begun", body.reason.clone(), Expect::Fresh)?);
            amend(core, &person, &mut change, |row| {
                row.standing.restrictions.push(restriction);
                Ok(())
            })?;
            if let Some(held) = &held {
                change.rows.push(held.keep(core, &Owner::Subject(person.id.bytes(), &person.keys), &answer)?);
            }
            match opened.committer.commit(change).await {
                Err(refused) if refused.code == Code::Stale => continue,
                done => return done.map(|()| answer),
            }
        }
        Err(Code::Overloaded.into())
    }

    /// restrictSubject, the second officer's part: the hold is in force, and what it holds is wrapped under a key of its own.
    pub async fn approve_restriction(&self, call: &Call, id: SubjectId, which: RestrictionId) -> Result<Answer, Refused> {
        let operation = Operation::RestrictSubject;
        let opened = self.opened()?;
        let core = &opened.core;
        for _ in 0..TRIES {
            let (_, person) = person(core, call, operation, id)?;
            let found = found(core, call, operation, &person, which)?;
            if found.active || found.kind != RestrictionKind::LegalHold {
                return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag)));
            }
            second_person(core, call, operation, &person, &found)?;
            holds::ready(&opened, &person).await?;
            let (_, person) = self::person(core, call, operation, id)?;
            let mut change = holds::hold(core, &person, &found)?;
            let restriction = Restriction { active: true, ..found };
            let answer = done(core, call, operation, &person, &mut change, &restriction)?;
            change.rows.push(next_step(core, &person, &restriction, call, "approved", None)?);
            amend(core, &person, &mut change, |row| replace(row, &restriction))?;
            match opened.committer.commit(change).await {
                Err(refused) if refused.code == Code::Stale => continue,
                outcome => return outcome.map(|()| answer),
            }
        }
        Err(Code::Overloaded.into())
    }

    /// restrictSubject, with more exceptions: compelling grounds against an objection, or an exception to an Art. 18 restriction.
    /// An officer's word, with a reason.
    pub async fn except_purposes(
        &self,
        call: &Call,
        id: SubjectId,
        which: RestrictionId,
        body: ExceptPurposes,
    ) -> Result<Answer, Refused> {
        let operation = Operation::RestrictSubject;
        let opened = self.opened()?;
        let core = &opened.core;
        for _ in 0..TRIES {
            let (tenant, person) = person(core, call, operation, id)?;
            let found = found(core, call, operation, &person, which)?;
            if call.caller.subject.is_some() || call.caller.kind != CallerKind::Person {
                return Err(core.refuse(call, operation, Code::RoleForbidden, Some(person.tag)));
            }
            let invalid = |pointer: &str| {
                let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
                Refused { pointer: Some(pointer.to_owned()), ..refused }
            };
            if body.purposes.is_empty() || body.purposes.iter().any(|purpose| tenant.purpose(purpose).is_none()) {
                return Err(invalid("/purposes"));
            }
            if !is_word(&body.reason) {
                return Err(invalid("/reason"));
            }
            if found.kind == RestrictionKind::LegalHold {
                return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag)));
            }
            let mut restriction = found;
            let new = body.purposes.iter().filter(|purpose| !restriction.exceptions.contains(purpose)).cloned();
            let new: Vec<String> = new.collect();
            restriction.exceptions.extend(new);
            let mut change = Change::default();
            let answer = done(core, call, operation, &person, &mut change, &restriction)?;
            change.rows.push(next_step(core, &person, &restriction, call, "excepted", Some(body.reason.clone()))?);
            amend(core, &person, &mut change, |row| replace(row, &restriction))?;
            match opened.committer.commit(change).await {
                Err(refused) if refused.code == Code::Stale => continue,
                outcome => return outcome.map(|()| answer),
            }
        }
        Err(Code::Overloaded.into())
    }

    /// liftRestriction, with a reason. With the last hold an erasure that waited for it goes on by itself, before the answer.
    pub async fn lift_restriction(
        &self,
        call: &Call,
        id: SubjectId,
        which: RestrictionId,
        body: LiftRestriction,
    ) -> Result<Answer, Refused> {
        let operation = Operation::LiftRestriction;
        let opened = self.opened()?;
        let core = &opened.core;
        for _ in 0..TRIES {
            let (tenant, person) = person(core, call, operation, id)?;
            let found = found(core, call, operation, &person, which)?;
            if !is_word(&body.reason) {
                let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
                return Err(Refused { pointer: Some("/reason".into()), ..refused });
            }
            let hold = found.kind == RestrictionKind::LegalHold;
            if call.caller.subject.is_some() && (hold || found.by != *call.caller.id.bytes()) {
                return Err(core.refuse(call, operation, Code::RoleForbidden, Some(person.tag)));
            }
            if hold && found.active {
                second_person(core, call, operation, &person, &found)?;
                match self.release(&opened, call, &person, &found, &body.reason).await {
                    Err(refused) if refused.code == Code::Stale => continue,
                    outcome => return outcome,
                }
            }
            let mut change = Change::default();
            let answer = done(core, call, operation, &person, &mut change, &found)?;
            change.rows.push(next_step(core, &person, &found, call, "lifted", Some(body.reason.clone()))?);
            change.rows.extend(told(core, &tenant, &person, &found, Event::Lifted)?);
            amend(core, &person, &mut change, |row| {
                row.standing.restrictions.retain(|own| own.id != found.id);
                Ok(())
            })?;
            match opened.committer.commit(change).await {
                Err(refused) if refused.code == Code::Stale => continue,
                outcome => return outcome.map(|()| Answer { body: None, ..answer }),
            }
        }
        Err(Code::Overloaded.into())
    }

    async fn release(
        &self,
        opened: &Opened,
        call: &Call,
        person: &Person,
        hold: &Restriction,
        reason: &str,
    ) -> Result<Answer, Refused> {
        let core = &opened.core;
        let mut entry = core.entry(call, Operation::LiftRestriction, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let decision = entry.decision;
        let lifted = next_step(core, person, hold, call, "lifted", Some(reason.to_owned()))?;
        let erasure = holds::release(opened, person, hold, entry, lifted).await?;
        let body = match erasure {
            Some(erasure) => Some(serde_json::to_vec(&LedToErasure { erasure }).map_err(|_| Code::Internal)?),
            None => None,
        };
        Ok(Answer { decision: Some(decision), body, ..Answer::default() })
    }
}

/// Lays a restriction that a person's request asked for: its story goes into `change`, and the restriction itself is to be added to
/// what stands about the person. `state-conflict` when there are too many.
pub(crate) fn lay(
    core: &Core,
    call: &Call,
    person: &Person,
    kind: RestrictionKind,
    purposes: Vec<String>,
    change: &mut Change,
) -> Result<Restriction, Refused> {
    if person.row.standing.restrictions.len() >= MOST {
        return Err(Code::StateConflict.into());
    }
    let restriction = Restriction {
        id: fresh()?,
        kind,
        purposes,
        at: core.clock.now().as_microsecond(),
        exceptions: Vec::new(),
        records: Vec::new(),
        by: *call.caller.id.bytes(),
        case: None,
        review_at: None,
        active: true,
    };
    let row = RestrictionRow { restriction: restriction.clone(), steps: Vec::new() };
    change.rows.push(story(core, person, row, call, "begun", Some("request".into()), Expect::Fresh)?);
    Ok(restriction)
}

/// A restriction as it is answered.
pub(crate) fn view(restriction: &Restriction) -> RestrictionView {
    RestrictionView {
        id: RestrictionId::from_bytes(restriction.id),
        kind: restriction.kind,
        purposes: restriction.purposes.clone(),
        exceptions: restriction.exceptions.clone(),
        records: restriction.records.iter().map(|held| RecordId::from_bytes(held.record)).collect(),
        case: restriction.case.clone(),
        at: time(restriction.at),
        review_at: restriction.review_at.map(time),
        active: restriction.active,
    }
}

/// Past recipients hear of a restriction of processing and of its end (GDPR Art. 19). An objection is the controller's own affair,
/// and a hold nobody's but the case's.
fn told(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    restriction: &Restriction,
    event: Event,
) -> Result<Vec<RowChange>, Refused> {
    match restriction.kind {
        RestrictionKind::Art18 | RestrictionKind::Dispute => callbacks::changes(core, tenant, person, event, callbacks::all),
        RestrictionKind::Objection | RestrictionKind::LegalHold => Ok(Vec::new()),
    }
}

type Found = (std::sync::Arc<Tenant>, std::sync::Arc<Person>);

/// The subject, once every guard let the call through.
fn person(core: &Core, call: &Call, operation: Operation, id: SubjectId) -> Result<Found, Refused> {
    let tenant = core.tenant(&call.caller)?;
    let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
    let about = person.facts(&tenant, core.clock.now());
    core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
    Ok((tenant, person))
}

fn found(core: &Core, call: &Call, operation: Operation, person: &Person, which: RestrictionId) -> Result<Restriction, Refused> {
    let all = &person.row.standing.restrictions;
    let found = all.iter().find(|restriction| restriction.id == *which.bytes());
    found.cloned().ok_or_else(|| core.refuse(call, operation, Code::NotFound, Some(person.tag)))
}

/// Another person than the one who began it, and an officer.
fn second_person(
    core: &Core,
    call: &Call,
    operation: Operation,
    person: &Person,
    restriction: &Restriction,
) -> Result<(), Refused> {
    let other = restriction.by != *call.caller.id.bytes() && call.caller.kind == CallerKind::Person;
    if other && call.caller.subject.is_none() {
        return Ok(());
    }
    Err(core.refuse(call, operation, Code::SecondPersonRequired, Some(person.tag)))
}

/// Where the body does not fit.
fn misfit(core: &Core, tenant: &Tenant, person: &Person, body: &RestrictSubject) -> Result<Option<String>, Refused> {
    let known = |purpose: &String| tenant.purpose(purpose).is_some();
    let hold = body.kind == RestrictionKind::LegalHold;
    for (name, purposes) in [("purposes", &body.purposes), ("exceptions", &body.exceptions)] {
        if let Some(place) = purposes.iter().position(|purpose| !known(purpose)) {
            return Ok(Some(format!("/{name}/{place}")));
        }
    }
    for (name, word) in [("case", &body.case), ("reason", &body.reason)] {
        if word.as_ref().is_some_and(|word| !is_word(word)) {
            return Ok(Some(format!("/{name}")));
        }
    }
    if hold && (body.case.is_none() || !body.purposes.is_empty() || !body.exceptions.is_empty()) {
        return Ok(Some("/case".into()));
    }
    if body.review_at.is_some_and(|at| at <= core.clock.now()) || (hold && body.review_at.is_none()) {
        return Ok(Some("/review_at".into()));
    }
    if (!hold && !body.records.is_empty()) || body.records.len() > MOST_RECORDS {
        return Ok(Some("/records".into()));
    }
    for (place, record) in body.records.iter().enumerate() {
        if core.store.row(&RowKey::Record(person.id, *record).bytes())?.is_none() {
            return Ok(Some(format!("/records/{place}")));
        }
    }
    Ok(None)
}

fn replace(row: &mut super::rows::SubjectRow, restriction: &Restriction) -> Result<(), Refused> {
    let own = row.standing.restrictions.iter_mut().find(|own| own.id == restriction.id).ok_or(Code::Stale)?;
    *own = restriction.clone();
    Ok(())
}

/// The entry and the answer of a change of a restriction.
fn done(
    core: &Core,
    call: &Call,
    operation: Operation,
    person: &Person,
    change: &mut Change,
    restriction: &Restriction,
) -> Result<Answer, Refused> {
    let mut entry = core.entry(call, operation, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    let body = serde_json::to_vec(&view(restriction)).map_err(|_| Code::Internal)?;
    let answer = Answer { decision: Some(entry.decision), body: Some(body), ..Answer::default() };
    change.entries.push(entry);
    Ok(answer)
}

/// The restriction's own row with one step more.
fn story(
    core: &Core,
    person: &Person,
    mut row: RestrictionRow,
    call: &Call,
    step: &str,
    reason: Option<String>,
    expect: Expect,
) -> Result<RowChange, Refused> {
    let at = core.clock.now().as_microsecond();
    row.steps.push(Step { step: step.to_owned(), by: *call.caller.id.bytes(), at, reason });
    let key = RowKey::Restriction(person.id, RestrictionId::from_bytes(row.restriction.id)).bytes();
    let value = person.keys.seal_row(&key, &pack(&row)?)?;
    Ok(RowChange { key, expect, value: Some(value) })
}

fn next_step(
    core: &Core,
    person: &Person,
    restriction: &Restriction,
    call: &Call,
    step: &str,
    reason: Option<String>,
) -> Result<RowChange, Refused> {
    let key = RowKey::Restriction(person.id, RestrictionId::from_bytes(restriction.id)).bytes();
    let stored = core.store.row(&key)?.ok_or(Code::Stale)?;
    let mut row: RestrictionRow = unpack(person.keys.open_row(&key, &stored)?.bytes())?;
    row.restriction = restriction.clone();
    story(core, person, row, call, step, reason, Expect::Is(stored))
}
