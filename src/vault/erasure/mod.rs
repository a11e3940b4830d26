//! openErasure, approveErasure and getErasure: from a request to a certificate.

pub(crate) mod by_vault;
pub(crate) mod certify;
mod holding;
pub(crate) mod sealing;
mod selftest;

use crate::audit::{Entry, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{CallerId, ErasureId, RecordId, SubjectId};
use crate::model::purpose::GroupSet;
use crate::model::wire::{ApproveErasure, Cause, ErasureDecision, ErasureState, ErasureView, OpenErasure, Scope};
use crate::policy::{Facts, Second};
use crate::store::layout::RowKey;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh, key_groups};
use super::idempotency::{self, Owner};
use super::lifecycle::Vault;
use super::requests;
use super::rows::{ErasureRow, RecordRef, pack, time, unpack};
use sealing::{Shredding, Target};

pub(crate) use certify::certify;

/// The groups that a person erases directly, without a request (API.md, note 7).
const DIRECT: [&str; 2] = ["device", "marketing"];

/// Records that one erasure may name.
const MOST_RECORDS: usize = 250;

impl Vault {
    /// openErasure. Nothing is destroyed yet: that is the second person's act. Only what a person takes back of their own
    /// (device identifiers, marketing) goes with this very call; more of them goes through a verified request.
    pub async fn open_erasure(&self, call: &Call, mut body: OpenErasure) -> Result<Answer, Refused> {
        body.records.sort_unstable();
        body.records.dedup();
        let operation = Operation::OpenErasure;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)?.first() {
            Ok(held) => held,
            Err(answer) => return Ok(*answer),
        };
        let tenant = core.tenant(&call.caller)?;
        let subject = call.subject(body.subject)?;
        let Some(person) = core.person(&tenant, subject)? else {
            return Err(core.missing(call, operation, &tenant, subject));
        };
        let about = person.facts(&tenant, core.clock.now());
        core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
        let by_the_person = call.caller.subject.is_some();
        let direct = body.scope == Scope::Groups && body.groups.iter().all(|name| DIRECT.contains(&name.as_str()));
        // More than that a person erases by a request that was verified; another person approves it.
        let by_request = body.request.is_some();
        if by_the_person && !direct && !by_request {
            return Err(core.refuse(call, operation, Code::RoleForbidden, Some(person.tag)));
        }
        let invalid = |pointer: &str| {
            let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
            Refused { pointer: Some(pointer.to_owned()), ..refused }
        };
        let fits = match body.scope {
            Scope::Subject => body.groups.is_empty() && body.records.is_empty(),
            Scope::Groups => !body.groups.is_empty() && body.records.is_empty(),
            Scope::Records => body.groups.is_empty() && (1..=MOST_RECORDS).contains(&body.records.len()),
        };
        if !fits {
            return Err(invalid("/scope"));
        }
        let mut groups = GroupSet::EMPTY;
        for (place, name) in body.groups.iter().enumerate() {
            let group = tenant.group(name).ok_or_else(|| invalid(&format!("/groups/{place}")))?;
            groups.insert(group);
        }
        for (place, record) in body.records.iter().enumerate() {
            let key = RowKey::Record(subject, *record).bytes();
            if core.store.row(&key)?.is_none() {
                return Err(invalid(&format!("/records/{place}")));
            }
        }
        let id = ErasureId::from_bytes(fresh()?);
        let now = core.clock.now();
        let what = match body.scope {
            Scope::Subject => What::Subject,
            Scope::Groups => What::Groups(groups),
            Scope::Records => What::Records(body.records),
        };
        let mut row = requested(&person, &what, body.cause, call.caller.id, now);
        row.request = body.request.map(|request| *request.bytes());
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let answer = Answer {
            decision: Some(entry.decision),
            made: true,
            body: Some(view(core, id, &row, None)?),
            location: Some(format!("/v1/erasures/{id}")),
            etag: None,
            ..Answer::default()
        };
        let stored = seal(core, id, &row)?;
        let mut change = Change { entries: vec![entry], ..Change::default() };
        change.rows.push(RowChange { key: RowKey::Erasure(id).bytes(), expect: Expect::Fresh, value: Some(stored.clone()) });
        if let Some(request) = body.request
            && (body.cause != Cause::Request || !requests::erasing(core, &tenant, &person, request, id, &mut change)?)
        {
            return Err(invalid("/request"));
        }
        if by_the_person && !by_request {
            opened.committer.commit(change).await?;
            let entry = core.event("carryOutErasure", Outcome::Done, crate::audit::Note::None)?;
            let entry = Entry { tag: Some(row.tag), ..entry };
            let (row, claim) = self.shred(call, id, stored, row, entry).await?;
            let body = Some(view(core, id, &row, Some(claim))?);
            if let Some(held) = held {
                let again = Answer {
                    body: Some(view(core, id, &row, None)?),
                    decision: answer.decision,
                    made: true,
                    ..Answer::default()
                };
                self.keep_answer(&held, &again).await?;
            }
            return Ok(Answer { body, ..answer });
        }
        if let Some(held) = held {
            change.rows.push(held.keep(core, &Owner::Vault, &answer)?);
        }
        opened.committer.commit(change).await?;
        Ok(answer)
    }

    /// approveErasure: by another person than the one who opened it. It is answered when the erasure is sealed. The second person
    /// may deny it instead, and who opened it may take it back; then nothing of it leads to the person any more.
    pub async fn approve_erasure(&self, call: &Call, id: ErasureId, body: ApproveErasure) -> Result<Answer, Refused> {
        let operation = Operation::ApproveErasure;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)?.first() {
            Ok(held) => held,
            Err(answer) => return Ok(*answer),
        };
        let tenant = core.tenant(&call.caller)?;
        let found = load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
        let tag = found.as_ref().map(|(_, row)| row.tag);
        let opener = found.as_ref().map(|(_, row)| CallerId::from_bytes(row.opener));
        // What is not there has no opener: it is answered as not found below.
        let second = match opener {
            Some(opener) if opener == call.caller.id && body.decision == ErasureDecision::Revoke => Second::Waived,
            Some(opener) => Second::OpenedBy(opener),
            None => Second::Waived,
        };
        core.decide(call, operation, &Facts { second, ..core.facts(&tenant) }, tag)?;
        let Some((bytes, row)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
        if body.decision == ErasureDecision::Revoke && opener != Some(call.caller.id) {
            return Err(core.refuse(call, operation, Code::RoleForbidden, tag));
        }
        let (ErasureState::Requested, Some(_)) = (row.state()?, row.subject) else {
            return Err(core.refuse(call, operation, Code::StateConflict, tag));
        };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = tag;
        let decision = entry.decision;
        if body.decision != ErasureDecision::Approve {
            return self.drop_erasure(id, (bytes, row), body.decision, entry, held.as_ref()).await;
        }
        let (row, claim) = self.shred(call, id, bytes, row, entry).await?;
        let answer = Answer { decision: Some(decision), body: Some(view(core, id, &row, Some(claim))?), ..Answer::default() };
        if let Some(held) = held {
            // The claim code is shown once: what is kept for a repetition is the answer without it.
            let again = Answer { decision: Some(decision), body: Some(view(core, id, &row, None)?), ..Answer::default() };
            self.keep_answer(&held, &again).await?;
        }
        Ok(answer)
    }

    /// Ends an erasure that was opened and not carried out.
    async fn drop_erasure(
        &self,
        id: ErasureId,
        (stored, mut row): (Vec<u8>, ErasureRow),
        how: ErasureDecision,
        entry: Entry,
        held: Option<&idempotency::Held<'_>>,
    ) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let state = if how == ErasureDecision::Deny { ErasureState::Denied } else { ErasureState::Revoked };
        row.reach(state, core.clock.now())?;
        row.subject = None;
        row.records.clear();
        let body = Some(view(core, id, &row, None)?);
        let answer = Answer { decision: Some(entry.decision), body, ..Answer::default() };
        let mut change = Change::noting(entry);
        let value = Some(seal(core, id, &row)?);
        change.rows.push(RowChange { key: RowKey::Erasure(id).bytes(), expect: Expect::Is(stored), value });
        if let Some(held) = held {
            change.rows.push(held.keep(core, &Owner::Vault, &answer)?);
        }
        opened.committer.commit(change).await?;
        Ok(answer)
    }

    /// Destroys what the erasure names, as noted by `entry`, and waits until it is sealed: its row then, and the claim code.
    async fn shred(
        &self,
        call: &Call,
        id: ErasureId,
        stored: Vec<u8>,
        row: ErasureRow,
        entry: Entry,
    ) -> Result<(ErasureRow, String), Refused> {
        let subject = row.subject.ok_or(Code::Internal)?;
        let target = target(&row, subject)?;
        let claim = keys::random::bytes::<32>()?;
        let claim = crate::auth::token_text(&claim).replacen(crate::auth::TOKEN_PREFIX, CLAIM_PREFIX, 1);
        let claim_sha256 = Some(keys::digest::sha256(&[claim.as_bytes()]));
        let job = sealing::Job { id, stored: Some(stored), approver: *call.caller.id.bytes(), claim_sha256, row };
        let (shredding, sealed) = Shredding::new(entry, target, Some(job));
        self.opened()?.committer.shred(shredding)?;
        let row = sealed.await.map_err(|_| Refused::from(Code::Sealed))??.ok_or(Code::Internal)?;
        Ok((row, claim))
    }

    /// Keeps `again` for a repetition of a call whose erasure is done.
    async fn keep_answer(&self, held: &idempotency::Held<'_>, again: &Answer) -> Result<(), Refused> {
        let opened = self.opened()?;
        let mut change = Change::noting(opened.core.event("keepAnswer", Outcome::Done, crate::audit::Note::None)?);
        change.rows.push(held.keep(&opened.core, &Owner::Vault, again)?);
        // The erasure is done whatever comes of this: its answer is not withheld.
        if let Err(refused) = opened.committer.commit(change).await {
            tracing::warn!(code = refused.code.text(), "the answer of an erasure could not be kept for a repetition");
        }
        Ok(())
    }

    /// getErasure: the state, and once sealed the certificate with its proof.
    pub async fn erasure(&self, call: &Call, id: ErasureId) -> Result<Answer, Refused> {
        let operation = Operation::GetErasure;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let found = load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
        // What a portal opened for one person is not its other persons'.
        let mine = match call.caller.subject {
            Some(subject) => core.person(&tenant, subject)?.map(|person| person.tag),
            None => None,
        };
        let own = found.as_ref().is_some_and(|(_, row)| match call.caller.subject {
            Some(_) => mine == Some(row.tag),
            None => row.opener == *call.caller.id.bytes(),
        });
        let facts = Facts { own, ..core.facts(&tenant) };
        let allowed = core.decide(call, operation, &facts, found.as_ref().map(|(_, row)| row.tag))?;
        let Some((_, row)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(row.tag);
        let admitted = core.admit(&allowed, entry).await?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(view(core, id, &row, None)?), ..Answer::default() })
    }

    /// getErasure for the holder of the claim code, who needs no other credentials.
    pub async fn erasure_by_claim(&self, id: ErasureId, claim: &str) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let digest = keys::digest::sha256(&[claim.as_bytes()]);
        let holds = |row: &ErasureRow| row.claim_sha256.is_some_and(|known| keys::digest::same(&known, &digest));
        let Some((_, row)) = load(core, id)?.filter(|(_, row)| holds(row)) else { return Err(Code::NotFound.into()) };
        let mut entry = core.event(Operation::GetErasure.text(), Outcome::Allowed, crate::audit::Note::None)?;
        entry.tag = Some(row.tag);
        let decision = entry.decision;
        let ticket = core.trail.append(&[entry])?;
        let _receipt = core.trail.released(ticket, core.reads).await?;
        Ok(Answer { decision: Some(decision), body: Some(view(core, id, &row, None)?), ..Answer::default() })
    }
}

/// What an erasure takes.
pub(crate) enum What {
    /// Everything.
    Subject,
    /// Some purpose groups.
    Groups(GroupSet),
    /// Some records.
    Records(Vec<RecordId>),
}

/// The row of an erasure that was just opened.
fn requested(person: &Person, what: &What, cause: Cause, opener: CallerId, now: jiff::Timestamp) -> ErasureRow {
    let (scope, groups, records) = match what {
        What::Subject => (Scope::Subject, GroupSet::EMPTY, &[][..]),
        What::Groups(groups) => (Scope::Groups, *groups, &[][..]),
        What::Records(records) => (Scope::Records, GroupSet::EMPTY, &records[..]),
    };
    let mut row = ErasureRow {
        tenant: person.row.tenant,
        state: 0,
        scope: ErasureRow::scope_number(scope),
        cause: ErasureRow::cause_number(cause),
        subject: Some(*person.id.bytes()),
        groups: key_groups(groups).bits(),
        records: records.iter().map(|record| RecordRef { id: *record.bytes() }).collect(),
        opener: *opener.bytes(),
        approver: None,
        tag: person.tag,
        reached: Vec::new(),
        claim_sha256: None,
        epoch_closed: None,
        counts: Vec::new(),
        certificate: None,
        near: 0,
        aliases: 0,
        decision: None,
        kept: Vec::new(),
        recipients: Vec::new(),
        request: None,
    };
    row.reached = vec![Some(now.as_microsecond())];
    row
}

/// What carrying it out destroys.
fn target(row: &ErasureRow, subject: keys::Id) -> Result<Target, Refused> {
    Ok(match row.scope()? {
        Scope::Subject => Target::Subject { subject },
        Scope::Groups => Target::Groups { subject, groups: row.groups },
        Scope::Records => Target::Records { subject, records: row.records.iter().map(|record| record.id).collect() },
    })
}

/// What a claim code begins with.
const CLAIM_PREFIX: &str = "claim_";

/// The stored bytes and the row of an erasure.
pub(crate) fn load(core: &Core, id: ErasureId) -> Result<Option<(Vec<u8>, ErasureRow)>, Refused> {
    let key = RowKey::Erasure(id).bytes();
    let Some(bytes) = core.store.row(&key)? else { return Ok(None) };
    let plain = core.hierarchy.open_row(&key, &bytes)?;
    let row = unpack(plain.bytes())?;
    Ok(Some((bytes, row)))
}

/// The bytes that keep an erasure.
pub(crate) fn seal(core: &Core, id: ErasureId, row: &ErasureRow) -> Result<Vec<u8>, Refused> {
    core.hierarchy.seal_row(&RowKey::Erasure(id).bytes(), &pack(row)?).map_err(Refused::from)
}

fn view(core: &Core, id: ErasureId, row: &ErasureRow, claim_code: Option<String>) -> Result<Vec<u8>, Refused> {
    let certificate = match &row.certificate {
        Some(text) => Some(serde_json::from_str(text).map_err(|_| Code::Internal)?),
        None => None,
    };
    let view = ErasureView {
        id,
        state: row.state()?,
        scope: row.scope()?,
        cause: row.cause()?,
        opened_at: time(row.reached.first().copied().flatten().unwrap_or(0)),
        claim_code,
        recipients: certify::told(core, row)?,
        proof: if certificate.is_some() { Some(certify::proof(core, row)?) } else { None },
        keys: certificate.as_ref().and_then(|_| core.successions.shown()),
        certificate,
    };
    serde_json::to_vec(&view).map_err(|_| Code::Internal.into())
}

/// The ids, for the certificate and the self-test.
pub(crate) fn record_ids(row: &ErasureRow) -> Vec<RecordId> {
    row.records.iter().map(|record| RecordId::from_bytes(record.id)).collect()
}

/// The subject, while the row still has it.
pub(crate) fn subject_of(row: &ErasureRow) -> Option<SubjectId> {
    row.subject.map(SubjectId::from_bytes)
}
