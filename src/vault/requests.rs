//! openRequest and getRequest: what a person asks for, with the names of the Data Rights Protocol. Two types so far: closing an
//! account (p56) and correcting what was verified (p42).

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{CallerId, ErasureId, RecordId, RequestId, SubjectId, TenantId};
use crate::model::standing::{Asked, Standing};
use crate::model::wire::{OpenRequest, RequestView};
use crate::policy::{Facts, SubjectState};
use crate::store::Row;
use crate::store::layout::RowKey;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::records::known_numbers;
use super::restrictions::TRIES;
use super::rows::{RequestDetails, RequestRow, pack, time, unpack};
use super::standing::amend;
use super::verified::is_evidence;
use super::{closures, rows};

/// The types that can be asked for, by their stored numbers.
const TYPES: [&str; 2] = [CLOSURE, RECTIFICATION];
pub(crate) const CLOSURE: &str = "account-closure";
const RECTIFICATION: &str = "rectification";

/// The states, by their stored numbers.
const STATUSES: [&str; 3] = ["open", "in_progress", "fulfilled"];
const OPEN: u8 = 0;
pub(crate) const IN_PROGRESS: u8 = 1;
pub(crate) const FULFILLED: u8 = 2;

/// Requests of one subject that are remembered.
const MOST: usize = 64;

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
            let invalid = |pointer: &str| {
                let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
                Refused { pointer: Some(pointer.to_owned()), ..refused }
            };
            let Some(kind) = TYPES.iter().position(|known| *known == body.r#type) else { return Err(invalid("/type")) };
            let closing = body.r#type == CLOSURE;
            let details = match details(core, &tenant, &person, &body, closing)? {
                Ok(details) => details,
                Err(pointer) => return Err(invalid(pointer)),
            };
            if about.state != SubjectState::Active || person.row.standing.requests.len() >= MOST {
                return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag)));
            }
            let request = RequestId::from_bytes(fresh()?);
            let key = RowKey::Request(request).bytes();
            let row = RequestRow {
                tenant: *tenant.id().bytes(),
                subject: Some(*id.bytes()),
                kind: kind as u8,
                status: if closing { IN_PROGRESS } else { OPEN },
                received_at: now.as_microsecond(),
                expected_by: expected_by(now).as_microsecond(),
                opener: *call.caller.id.bytes(),
                closes_at: closing.then(|| tenant.closure_ends(now).as_microsecond()),
                erasure: None,
                details: Some(person.keys.seal_row(&key, &pack(&details)?)?),
                tag: person.tag,
            };
            let mut entry = core.entry(call, operation, Outcome::Allowed)?;
            entry.tag = Some(person.tag);
            let answer = Answer {
                decision: Some(entry.decision),
                made: true,
                body: Some(serde_json::to_vec(&view(request, &row)?).map_err(|_| Code::Internal)?),
                location: Some(format!("/v1/requests/{request}")),
                ..Answer::default()
            };
            let mut change = Change { entries: vec![entry], ..Change::default() };
            change.rows.push(RowChange { key, expect: Expect::Fresh, value: Some(seal(core, request, &row)?) });
            amend(core, &person, &mut change, |row| {
                row.standing.requests.push(Asked { request: *request.bytes() });
                if closing {
                    row.standing.closed_at = Some(now.as_microsecond());
                }
                Ok(())
            })?;
            if let Some(held) = &held {
                change.rows.push(held.keep(core, &Owner::Subject(person.id.bytes(), &person.keys), &answer)?);
            }
            match opened.committer.commit(change).await {
                Err(refused) if refused.code == Code::Stale => continue,
                Err(refused) => return Err(refused),
                Ok(()) => {}
            }
            if closing && tenant.closure_ends(now) <= now {
                // What is due at once is done at once; should it fail, the clock comes back to it.
                if let Err(refused) = closures::finish(core, &opened.committer, request).await {
                    tracing::warn!(code = refused.code.text(), "a closed account's data could not be destroyed yet");
                }
            }
            return Ok(answer);
        }
        Err(Code::Overloaded.into())
    }

    /// getRequest: where it stands; nothing of what it says.
    pub async fn request(&self, call: &Call, id: RequestId) -> Result<Answer, Refused> {
        let operation = Operation::GetRequest;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let found = load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
        let theirs = |row: &RequestRow| {
            // What a portal opened for one person is not its other persons'.
            (call.caller.subject.is_none() && row.opener == *call.caller.id.bytes())
                || (row.subject.is_some() && row.subject == call.caller.subject.map(|subject| *subject.bytes()))
        };
        let own = found.as_ref().is_some_and(|(_, row)| theirs(row));
        let tag = found.as_ref().map(|(_, row)| row.tag);
        let allowed = core.decide(call, operation, &Facts { own, ..core.facts(&tenant) }, tag)?;
        let Some((_, row)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = tag;
        let admitted = core.admit(&allowed, entry).await?;
        let body = serde_json::to_vec(&view(id, &row)?).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// When a request is answered at the latest: 30 days, or one calendar month in UTC if that is sooner (GDPR Art. 12(3)).
pub(crate) fn expected_by(received: Timestamp) -> Timestamp {
    let days = received.checked_add(SignedDuration::from_hours(30 * 24)).unwrap_or(received);
    let month = received.to_zoned_datetime(TimeZone::UTC).checked_add(Span::new().months(1));
    month.map_or(days, |month| month.timestamp().min(days))
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

/// The row by which a correction fulfils a person's open request about that record; `None` when it does not.
pub(crate) fn fulfil(core: &Core, person: &Person, request: RequestId, record: RecordId) -> Result<Option<RowChange>, Refused> {
    let Some((stored, mut row)) = load(core, request)? else { return Ok(None) };
    let Some(sealed) = row.details.as_ref().filter(|_| row.subject == Some(*person.id.bytes())) else { return Ok(None) };
    let key = RowKey::Request(request).bytes();
    let details: RequestDetails = unpack(person.keys.open_row(&key, sealed)?.bytes())?;
    let open = row.status == OPEN && TYPES.get(usize::from(row.kind)) == Some(&RECTIFICATION);
    if !open || details.record != Some(*record.bytes()) {
        return Ok(None);
    }
    row.status = FULFILLED;
    let value = seal(core, request, &row)?;
    Ok(Some(RowChange { key, expect: Expect::Is(stored), value: Some(value) }))
}

/// The rows of a person's requests without the person: what stays when the person is erased.
pub(crate) fn unlinked(core: &Core, standing: &Standing, by: Option<ErasureId>) -> Result<Vec<Row>, Refused> {
    let mut rows = Vec::with_capacity(standing.requests.len());
    for asked in &standing.requests {
        let id = RequestId::from_bytes(asked.request);
        let Some((_, mut row)) = load(core, id)? else { continue };
        (row.subject, row.details) = (None, None);
        if row.status != FULFILLED {
            row.status = FULFILLED;
            row.erasure = by.map(|erasure| *erasure.bytes());
        }
        rows.push((RowKey::Request(id).bytes(), seal(core, id, &row)?));
    }
    Ok(rows)
}

type Checked = Result<RequestDetails, &'static str>;

/// What the request is about, or where the body does not fit its type.
fn details(
    core: &Core,
    tenant: &crate::tenant::Tenant,
    person: &Person,
    body: &OpenRequest,
    closing: bool,
) -> Result<Checked, Refused> {
    if closing {
        let plain = body.record.is_none() && body.fields.is_empty() && body.evidence.is_none();
        return Ok(if plain { Ok(RequestDetails::default()) } else { Err("/type") });
    }
    let Some(record) = body.record else { return Ok(Err("/record")) };
    if core.store.row(&RowKey::Record(person.id, record).bytes())?.is_none() {
        return Ok(Err("/record"));
    }
    let fields = known_numbers(tenant, body.fields.iter());
    if fields.is_empty() || fields.len() != body.fields.len() {
        return Ok(Err("/fields"));
    }
    if !is_evidence(body.evidence.as_ref()) {
        return Ok(Err("/evidence"));
    }
    let evidence = body.evidence.as_ref().map(|evidence| format!("{}:{}", evidence.kind, evidence.digest));
    Ok(Ok(RequestDetails { record: Some(*record.bytes()), fields, evidence }))
}

fn view(id: RequestId, row: &RequestRow) -> Result<RequestView, Refused> {
    let closes = row.closes_at.filter(|_| row.status == IN_PROGRESS).map(rows::time);
    Ok(RequestView {
        request_id: id,
        r#type: TYPES.get(usize::from(row.kind)).copied().ok_or(Code::Internal)?.to_owned(),
        status: STATUSES.get(usize::from(row.status)).copied().ok_or(Code::Internal)?,
        received_at: time(row.received_at),
        expected_by: time(row.expected_by),
        processing_details: closes.map(|at| format!("what no law keeps is destroyed at {at}")),
        erasure: row.erasure.map(ErasureId::from_bytes),
    })
}

/// Whose request it is: tenant and subject, while it still has one.
pub(crate) fn whose(row: &RequestRow) -> Option<(TenantId, SubjectId, CallerId)> {
    Some((TenantId::from_bytes(row.tenant), SubjectId::from_bytes(row.subject?), CallerId::from_bytes(row.opener)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_due_in_thirty_days_or_one_month_whichever_is_sooner() {
        for (received, due) in [
            ("2026-11-23T10:00:00Z", "2026-12-23T10:00:00Z"),
            ("2026-12-23T10:00:00Z", "2027-01-22T10:00:00Z"),
            ("2027-01-31T10:00:00Z", "2027-02-28T10:00:00Z"),
            ("2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z"),
        ] {
            assert_eq!(expected_by(received.parse().unwrap()).to_string(), due, "{received}");
        }
    }
}
