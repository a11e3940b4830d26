//! openCase, approveCase and getCase: what is disclosed by law, on reasonable need, or used to protect a child, is decided by two
//! privacy officers and nobody else (p38, p39, p58).
//!
//! A case's own row holds its kind, its state and its times, so that cases can be counted for ever. Whom it is about and why stands
//! in a paper of its file, whose key goes with the person: an erasure leaves a case of which nobody can say whose it was.

use minicbor::{Decode, Encode};

use crate::audit::Outcome;
use crate::model::caller::{Operation, Role};
use crate::model::case::{CaseKind, Ground};
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{CallerId, CaseId, SubjectId};
use crate::model::rules::{Partner, PartnerKind};
use crate::model::standing::Asked;
use crate::model::states::CASE;
use crate::model::wire::{CaseDecision, CaseScope, CaseView, DecideCase, NoticeKind, OpenCase};
use crate::policy::{CaseFacts, Facts, Second, SubjectFacts};
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::notices::{self, Letter};
use super::outbox::Word;
use super::papers::{self, Paper};
use super::records::{is_word, known_numbers};
use super::restrictions::TRIES;
use super::rows::{pack, time, unpack};
use super::standing::amend;

/// Cases about one person that are remembered: what is in their row must find room in it.
const MOST: usize = 32;

/// The longest text of a necessity, in bytes.
const LONGEST: usize = 1_000;

/// What the paper is called that says whom a case is about.
const SCOPE: &str = "scope";

/// The letter that tells a person of a disclosure on a case.
const TEMPLATE: &str = "disclosed-on-case";

/// A case. Sealed under the vault's row key; nothing in it leads to a person. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct CaseRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: [u8; 16],
    /// The place in [`CaseKind::ALL`].
    #[n(1)]
    pub kind: u8,
    /// A number of the states of `model::states::CASE`.
    #[n(2)]
    pub state: u8,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub opener: [u8; 16],
    /// Who approved or refused it.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub decider: Option<[u8; 16]>,
    #[n(5)]
    pub opened_at: i64,
    #[n(6)]
    pub decided_at: Option<i64>,
    #[n(7)]
    pub review_at: Option<i64>,
    /// From when on it opens nothing any more, whatever its state.
    #[n(8)]
    pub expires_at: i64,
    /// How many disclosures were made on it.
    #[n(9)]
    pub disclosures: u32,
    /// The place in [`Ground::ALL`], for the report that names nobody.
    #[n(10)]
    pub ground: Option<u8>,
}

/// What a case is about. A paper of its file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct ScopeRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    subject: [u8; 16],
    #[cbor(n(1), with = "minicbor::bytes")]
    tag: [u8; 16],
    #[n(2)]
    purposes: Vec<String>,
    /// Numbers of the fields.
    #[n(3)]
    fields: Vec<u16>,
    #[n(4)]
    recipient: Option<String>,
    #[n(5)]
    instrument: Option<String>,
    #[n(6)]
    jurisdiction: Option<String>,
    #[n(7)]
    deadline: Option<i64>,
    /// The place in [`Ground::ALL`].
    #[n(8)]
    ground: Option<u8>,
    #[n(9)]
    necessity: Option<String>,
    #[n(10)]
    approval: Option<String>,
    #[n(11)]
    secret_until: Option<i64>,
}

/// A case that two people decided and that is in force.
pub(crate) struct Approved {
    id: CaseId,
    stored: Vec<u8>,
    row: CaseRow,
    scope: ScopeRow,
}

impl Vault {
    /// openCase. It opens nothing until another officer approves it.
    pub async fn open_case(&self, call: &Call, body: OpenCase) -> Result<Answer, Refused> {
        let operation = Operation::OpenCase;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        for _ in 0..TRIES {
            let (tenant, subject) = (core.tenant(&call.caller)?, call.subject(body.subject)?);
            let Some(person) = core.person(&tenant, subject)? else {
                return Err(core.missing(call, operation, &tenant, subject));
            };
            let about = person.facts(&tenant, core.clock.now());
            core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
            if let Err((code, pointer)) = fits(core, &tenant, &about, &body) {
                let refused = core.refuse(call, operation, code, Some(person.tag));
                return Err(Refused { pointer: Some(pointer.to_owned()), ..refused });
            }
            if person.row.standing.cases.len() >= MOST {
                return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag)));
            }
            let id = CaseId::from_bytes(fresh()?);
            let row = row(core, call, &tenant, &body);
            let scope = scope(&tenant, &person, &body);
            // Of a case the person may be told late or never: its entry does not carry the tag by which they see what was done.
            let mut entry = core.entry(call, operation, Outcome::Allowed)?;
            entry.records = 0;
            let answer = Answer {
                decision: Some(entry.decision),
                made: true,
                body: Some(answered(core, call, id, &row, Some(&scope))?),
                location: Some(format!("/v1/cases/{id}")),
                ..Answer::default()
            };
            let mut change = Change::noting(entry);
            let paper = Paper { kind: SCOPE.to_owned(), at: row.opened_at, piece: 0, text: pack(&scope)? };
            papers::begin(core, id.bytes(), &mut change)?.put(&paper, &mut change)?;
            change.rows.push(RowChange {
                key: RowKey::Case(id).bytes(),
                expect: Expect::Fresh,
                value: Some(seal(core, id, &row)?),
            });
            amend(core, &person, &mut change, |row| {
                row.standing.cases.push(Asked { request: *id.bytes() });
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
        Err(core.refuse(call, operation, Code::Overloaded, None))
    }

    /// approveCase: by another person than the one who opened it, who may also refuse it. Any officer closes it.
    pub async fn decide_case(&self, call: &Call, id: CaseId, body: DecideCase) -> Result<Answer, Refused> {
        let operation = Operation::ApproveCase;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let found = load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
        let second = match &found {
            Some((_, row)) if body.decision != CaseDecision::Close => Second::OpenedBy(CallerId::from_bytes(row.opener)),
            // What is not there has no opener, and whoever ends a case opens nothing by it.
            _ => Second::Waived,
        };
        core.decide(call, operation, &Facts { second, ..core.facts(&tenant) }, None)?;
        let Some((stored, mut row)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
        let now = core.clock.now();
        let Some(next) = CASE.next(state(&row, now)?, body.decision.text()) else {
            return Err(core.refuse(call, operation, Code::StateConflict, None));
        };
        let scope = scope_of(core, id)?;
        if scope.is_none() && body.decision == CaseDecision::Approve {
            // The person is gone: there is nothing left to approve.
            return Err(core.refuse(call, operation, Code::Erased, None));
        }
        row.state = CASE.number(next).ok_or(Code::Internal)?;
        if body.decision != CaseDecision::Close {
            row.decider = Some(*call.caller.id.bytes());
            row.decided_at = Some(now.as_microsecond());
        }
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let answer = Answer {
            decision: Some(entry.decision),
            body: Some(answered(core, call, id, &row, scope.as_ref())?),
            ..Answer::default()
        };
        let mut change = Change::noting(entry);
        let (key, value) = (RowKey::Case(id).bytes(), Some(seal(core, id, &row)?));
        change.rows.push(RowChange { key, expect: Expect::Is(stored), value });
        match opened.committer.commit(change).await {
            // Somebody else decided meanwhile.
            Err(refused) if refused.code == Code::Stale => Err(core.refuse(call, operation, Code::StateConflict, None)),
            done => done.map(|()| answer),
        }
    }

    /// getCase: where it stands; whom it is about only while the person is there, and by id only for privacy officers.
    pub async fn case(&self, call: &Call, id: CaseId) -> Result<Answer, Refused> {
        let operation = Operation::GetCase;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let found = load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
        let allowed = core.decide(call, operation, &core.facts(&tenant), None)?;
        let Some((_, row)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
        let admitted = core.admit(&allowed, core.entry(call, operation, Outcome::Allowed)?).await?;
        let scope = scope_of(core, id)?;
        let body = Some(answered(core, call, id, &row, scope.as_ref())?);
        Ok(Answer { decision: Some(admitted.decision), body, ..Answer::default() })
    }
}

impl Approved {
    /// What the guards need to know.
    pub(crate) fn facts(&self) -> CaseFacts<'_> {
        CaseFacts {
            purposes: &self.scope.purposes,
            fields: self.scope.fields.iter().copied().collect(),
            recipient: self.scope.recipient.as_deref(),
            approved_abroad: self.scope.approval.is_some(),
        }
    }

    /// Which.
    pub(crate) fn id(&self) -> CaseId {
        self.id
    }

    /// Until when the person is not told, where that is still to come.
    pub(crate) fn secret_until(&self, now: jiff::Timestamp) -> Option<i64> {
        self.scope.secret_until.filter(|until| *until > now.as_microsecond())
    }

    /// Counts a disclosure, with its change: it is stale if the case is closed first.
    pub(crate) fn count(&self, core: &Core, change: &mut Change) -> Result<(), Refused> {
        let row = CaseRow { disclosures: self.row.disclosures.saturating_add(1), ..self.row.clone() };
        let (key, value) = (RowKey::Case(self.id).bytes(), Some(seal(core, self.id, &row)?));
        change.rows.push(RowChange { key, expect: Expect::Is(self.stored.clone()), value });
        Ok(())
    }

    /// Tells the person of a disclosure, now or when it is no secret any more.
    pub(crate) fn tell(
        &self,
        core: &Core,
        tenant: &Tenant,
        person: &Person,
        recipient: &Partner,
        secret_until: Option<i64>,
        change: &mut Change,
    ) -> Result<(), Refused> {
        let now = core.clock.now();
        let word = |name: &str, value: String| Word { name: name.to_owned(), value };
        let words = vec![
            word("recipient", recipient.title.clone()),
            word("kind", kind(&self.row)?.text().to_owned()),
            word("at", now.to_string()),
        ];
        let letter = Letter { kind: NoticeKind::Service, template: TEMPLATE, words, about: None };
        notices::queue_after(core, tenant, person, letter, secret_until, change).map(drop)
    }
}

/// The case of that id, if it is of that kind, about this person, approved, and neither closed nor past its end.
pub(crate) fn approved(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    id: CaseId,
    wanted: CaseKind,
) -> Result<Option<Approved>, Refused> {
    let Some((stored, row)) = load(core, id)? else { return Ok(None) };
    let fits = row.tenant == *tenant.id().bytes() && kind(&row)? == wanted && state(&row, core.clock.now())? == "approved";
    let Some(scope) = scope_of(core, id)?.filter(|scope| fits && scope.subject == *person.id.bytes()) else { return Ok(None) };
    Ok(Some(Approved { id, stored, row, scope }))
}

/// The case for a child's protection that the call names (`Vault-Case`), if there is such a one; of an adult nobody asks.
pub(crate) fn protection(
    core: &Core,
    tenant: &Tenant,
    call: &Call,
    person: &Person,
    about: &SubjectFacts<'_>,
) -> Result<Option<Approved>, Refused> {
    let named = call.grounds.case.as_ref().filter(|_| about.minor).and_then(|id| id.parse().ok());
    named.map_or(Ok(None), |id| approved(core, tenant, person, id, CaseKind::ChildProtection))
}

/// The stored bytes and the row of a case.
pub(crate) fn load(core: &Core, id: CaseId) -> Result<Option<(Vec<u8>, CaseRow)>, Refused> {
    let key = RowKey::Case(id).bytes();
    let Some(stored) = core.store.row(&key)? else { return Ok(None) };
    let row = unpack(core.hierarchy.open_row(&key, &stored)?.bytes())?;
    Ok(Some((stored, row)))
}

/// The kind of a case.
pub(crate) fn kind(row: &CaseRow) -> Result<CaseKind, Refused> {
    CaseKind::ALL.get(usize::from(row.kind)).copied().ok_or(Code::Internal.into())
}

/// The state of a case now: what is open or approved ends by itself at its end.
pub(crate) fn state(row: &CaseRow, now: jiff::Timestamp) -> Result<&'static str, Refused> {
    let kept = CASE.state(row.state).ok_or(Code::Internal)?;
    let over = now.as_microsecond() >= row.expires_at;
    Ok(CASE.next(kept, "expire").filter(|_| over).unwrap_or(kept))
}

fn seal(core: &Core, id: CaseId, row: &CaseRow) -> Result<Vec<u8>, Refused> {
    core.hierarchy.seal_row(&RowKey::Case(id).bytes(), &pack(row)?).map_err(Refused::from)
}

/// What a case is about; `None` once its file went with the person.
fn scope_of(core: &Core, id: CaseId) -> Result<Option<ScopeRow>, Refused> {
    let papers = papers::all(core, id.bytes())?;
    papers.iter().find(|(_, paper)| paper.kind == SCOPE).map(|(_, paper)| unpack(&paper.text)).transpose()
}

fn row(core: &Core, call: &Call, tenant: &Tenant, body: &OpenCase) -> CaseRow {
    CaseRow {
        tenant: *tenant.id().bytes(),
        kind: CaseKind::ALL.iter().position(|kind| *kind == body.kind).unwrap_or_default() as u8,
        state: 0,
        opener: *call.caller.id.bytes(),
        decider: None,
        opened_at: core.clock.now().as_microsecond(),
        decided_at: None,
        review_at: body.review_at.map(|at| at.as_microsecond()),
        expires_at: body.expires_at.as_microsecond(),
        disclosures: 0,
        ground: body.ground.and_then(|ground| Ground::ALL.iter().position(|own| *own == ground)).map(|place| place as u8),
    }
}

fn scope(tenant: &Tenant, person: &Person, body: &OpenCase) -> ScopeRow {
    ScopeRow {
        subject: *person.id.bytes(),
        tag: person.tag,
        purposes: body.purposes.clone(),
        fields: known_numbers(tenant, body.fields.iter()),
        recipient: body.recipient.clone(),
        instrument: body.instrument.clone(),
        jurisdiction: body.jurisdiction.clone(),
        deadline: body.deadline.map(|at| at.as_microsecond()),
        ground: body.ground.and_then(|ground| Ground::ALL.iter().position(|own| *own == ground)).map(|place| place as u8),
        necessity: body.necessity.clone(),
        approval: body.approval.clone(),
        secret_until: body.secret_until.map(|at| at.as_microsecond()),
    }
}

type Unfit = (Code, &'static str);

/// Where the body does not fit its kind.
fn fits(core: &Core, tenant: &Tenant, about: &SubjectFacts<'_>, body: &OpenCase) -> Result<(), Unfit> {
    let invalid = |pointer| Err((Code::InvalidBody, pointer));
    let now = core.clock.now();
    if body.purposes.is_empty() || body.purposes.iter().any(|purpose| tenant.purpose(purpose).is_none()) {
        return invalid("/purposes");
    }
    if body.fields.is_empty() {
        return invalid("/fields");
    }
    if known_numbers(tenant, body.fields.iter()).len() != body.fields.len() {
        return Err((Code::FieldNotInCatalogue, "/fields"));
    }
    for (word, pointer) in
        [(&body.instrument, "/instrument"), (&body.approval, "/approval"), (&body.jurisdiction, "/jurisdiction")]
    {
        if word.as_ref().is_some_and(|word| !is_word(word)) {
            return invalid(pointer);
        }
    }
    if body.necessity.as_ref().is_some_and(|text| text.trim().is_empty() || text.len() > LONGEST) {
        return invalid("/necessity");
    }
    let recipient = match &body.recipient {
        Some(id) => Some(tenant.partner(id).ok_or((Code::RecipientUnknown, "/recipient"))?),
        None if body.kind == CaseKind::ChildProtection => None,
        None => return invalid("/recipient"),
    };
    if body.expires_at <= now {
        return invalid("/expires_at");
    }
    for (at, pointer) in [(body.review_at, "/review_at"), (body.secret_until, "/secret_until"), (body.deadline, "/deadline")] {
        if at.is_some_and(|at| at <= now) {
            return invalid(pointer);
        }
    }
    let to_authority = recipient.is_some_and(|partner| partner.kind == PartnerKind::Authority);
    if body.approval.is_some() && !to_authority {
        return invalid("/approval");
    }
    match body.kind {
        CaseKind::LegalProcess if !to_authority => invalid("/recipient"),
        CaseKind::LegalProcess if body.instrument.is_none() => invalid("/instrument"),
        CaseKind::LegalProcess if body.jurisdiction.is_none() => invalid("/jurisdiction"),
        CaseKind::LegalProcess if body.ground.is_some() => invalid("/ground"),
        CaseKind::LegalProcess => Ok(()),
        CaseKind::ReasonableNeed if body.ground.is_none() => invalid("/ground"),
        CaseKind::ChildProtection if !about.minor || body.ground.is_some() => invalid("/kind"),
        _ if body.instrument.is_some() => invalid("/instrument"),
        _ if body.necessity.is_none() => invalid("/necessity"),
        _ => Ok(()),
    }
}

fn answered(core: &Core, call: &Call, id: CaseId, row: &CaseRow, scope: Option<&ScopeRow>) -> Result<Vec<u8>, Refused> {
    let tenant = core.tenant(&call.caller)?;
    let officer = call.caller.roles.contains(&Role::PrivacyOfficer);
    let names = |numbers: FieldSet| -> Vec<String> {
        numbers.iter().filter_map(|number| tenant.field_numbered(number)).map(|field| field.name.clone()).collect()
    };
    let scope = scope.map(|scope| CaseScope {
        subject: officer.then(|| SubjectId::from_bytes(scope.subject)),
        subject_tag: (!officer).then(|| scope.tag.iter().map(|byte| format!("{byte:02x}")).collect()),
        purposes: scope.purposes.clone(),
        fields: names(scope.fields.iter().copied().collect()),
        recipient: scope.recipient.clone(),
        instrument: scope.instrument.clone(),
        jurisdiction: scope.jurisdiction.clone(),
        deadline: scope.deadline.map(time),
        ground: scope.ground.and_then(|place| Ground::ALL.get(usize::from(place)).copied()),
        necessity: scope.necessity.clone().filter(|_| officer),
        approval: scope.approval.clone(),
        secret_until: scope.secret_until.map(time),
    });
    let view = CaseView {
        id,
        kind: kind(row)?,
        state: state(row, core.clock.now())?,
        opened_at: time(row.opened_at),
        decided_at: row.decided_at.map(time),
        review_at: row.review_at.map(time),
        expires_at: time(row.expires_at),
        disclosures: row.disclosures,
        scope,
    };
    serde_json::to_vec(&view).map_err(|_| Code::Internal.into())
}
