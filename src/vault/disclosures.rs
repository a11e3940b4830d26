//! disclose and listDisclosures: what went to whom. The ledger is written by the vault itself, durably, before a byte leaves.
//!
//! A partner that reads for itself is written down in the same way. What becomes of the data later, past recipients are told by
//! [`super::callbacks`]; what went out on a case the person hears of too, at the latest when it is no secret any more.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use keys::SubjectKeys;
use serde_json::value::RawValue;

use crate::audit::{Entry, Note, Outcome};
use crate::model::caller::{Operation, Role};
use crate::model::case::CaseKind;
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{CaseId, DecisionId, DeliveryId, DisclosureId, SubjectId};
use crate::model::rules::{Partner, PartnerKind};
use crate::model::states::DELIVERY;
use crate::model::wire::{
    Disclose, DisclosedView, DisclosureKind, DisclosureView, DisclosuresPage, OverdueView, Page, PurgedView, Whom,
};
use crate::policy::{Facts, SubjectFacts};
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::callbacks::{self, Event, pseudonym};
use super::cases::{self, Approved};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh, key_group};
use super::idempotency::{self, Begun, Held, Owner};
use super::lifecycle::{Opened, Vault};
use super::outbox::{self, Delivery, To, Went};
use super::reading::{closed, examine, records_of};
use super::records::{context, known_numbers, wraps_of};
use super::rows::{DisclosureRow, UpdateRow, pack, time, unpack};

/// How often a disclosure begins again because keys changed under it.
const TRIES: usize = 4;

/// Disclosures on a page unless told, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// Rows that one page looks at before it hands back a cursor.
const MOST_LOOKED_AT: usize = 2_000;

/// What of the ledger is asked for.
#[derive(Default)]
pub struct DisclosureQuery {
    /// About this person.
    pub subject: Option<Whom>,
    /// To this partner.
    pub partner: Option<String>,
    /// What past recipients are to hear of, in place of the disclosures.
    pub updates: bool,
    /// What partners should have acknowledged by now, in place of the disclosures.
    pub overdue: bool,
    /// Page.
    pub page: Page,
}

impl Vault {
    /// disclose: the agreed fields of one person, for one purpose, to one registered partner.
    pub async fn disclose(&self, call: &Call, body: Disclose) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let held = match idempotency::begin(&opened.core, &self.0.in_flight, call, Operation::Disclose)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        for _ in 0..TRIES {
            let turn = opened.core.hierarchy.turn();
            match disclose_once(&opened, call, &body, held.as_ref()).await {
                Err(refused) if refused.code == Code::Stale && refused.decision.is_none() => continue,
                Err(refused) if refused.code == Code::Internal && opened.core.hierarchy.turn() != turn => continue,
                done => return done,
            }
        }
        Err(opened.core.refuse(call, Operation::Disclose, Code::Overloaded, None))
    }

    /// listDisclosures: the ledger; or what past recipients are to hear of; or what they should have acknowledged and did not. A person
    /// sees their own, a partner what went to it, by its own name for the person.
    pub async fn disclosures(&self, call: &Call, query: DisclosureQuery) -> Result<Answer, Refused> {
        let operation = Operation::ListDisclosures;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let is_person = call.caller.subject.is_some();
        let partner = match &call.caller.partner {
            Some(own) if query.partner.as_ref().is_none_or(|asked| asked == own) => Some(own.clone()),
            Some(_) => return Err(core.refuse(call, operation, Code::NotFound, None)),
            None => query.partner.clone(),
        };
        let whom = query.subject.or(is_person.then_some(Whom::Me)).map(|whom| call.subject(whom)).transpose()?;
        let person = match whom {
            Some(id) => match core.person(&tenant, id)? {
                Some(person) => Some(person),
                None if is_person || call.caller.partner.is_some() => {
                    return Err(core.refuse(call, operation, Code::NotFound, None));
                }
                None => return Err(core.missing(call, operation, &tenant, id)),
            },
            None => None,
        };
        let tag = person.as_ref().map(|person| person.tag);
        let about = person.as_ref().map(|person| person.facts(&tenant, core.clock.now()));
        let facts = match (&person, &about) {
            (Some(person), Some(about)) => core.facts_about(&tenant, call, person, about),
            _ => core.facts(&tenant),
        };
        if (is_person || call.caller.partner.is_some()) && person.is_some() && !facts.own {
            return Err(core.refuse(call, operation, Code::NotFound, None));
        }
        let facts = Facts { own: facts.own || call.caller.partner.is_some(), ..facts };
        let allowed = core.decide(call, operation, &facts, tag)?;
        // What is overdue is between the controller and its partners, whoever the persons are.
        if query.overdue && (query.updates || whom.is_some()) {
            return Err(core.refuse(call, operation, Code::MalformedRequest, tag));
        }
        let prefixes = match (query.updates, whom) {
            _ if query.overdue => vec![prefix::DELIVERIES.to_vec()],
            (false, None) => vec![prefix::DISCLOSURES.to_vec()],
            // Of those who were erased nothing is left but the message itself.
            (true, None) => vec![prefix::UPDATES.to_vec(), prefix::DELIVERIES.to_vec()],
            (false, Some(subject)) => vec![prefix::disclosures(&subject)],
            (true, Some(subject)) => vec![prefix::updates(&subject)],
        };
        let what = [u8::from(query.overdue), u8::from(query.updates)];
        let subject = whom.map_or([0; 16], |subject| *subject.bytes());
        let bound = [b"cursor-disclosures".as_slice(), &what, &subject, call.caller.id.bytes()].concat();
        let mut after = match &query.page.cursor {
            Some(cursor) => {
                let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::BadCursor)?;
                Some(core.hierarchy.open_row(&bound, &sealed).map_err(|_| Code::BadCursor)?.bytes().to_vec())
            }
            None => None,
        };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = tag;
        let admitted = core.admit(&allowed, entry).await?;

        let limit = query.page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let (mut items, mut looked_at, mut fetched) = (Vec::new(), 0, Vec::new());
        let sees = Sees::of(call);
        // Of what a partner hears later, a person sees no more than of what it got.
        let told = match &person {
            Some(person) if sees == Sees::Themselves && query.updates => Some(open_ledger(core, person)?),
            _ => None,
        };
        // The prefix that the cursor stands in, and those behind it.
        let begun = prefixes.iter().position(|prefix| after.as_ref().is_some_and(|after| after.starts_with(prefix)));
        let mut prefixes = prefixes[begun.unwrap_or_default()..].iter();
        let mut current = prefixes.next();
        let mut from = after.clone();
        while let Some(prefix) = current
            && items.len() < limit
            && looked_at < MOST_LOOKED_AT
        {
            let page = core.store.scan(prefix, from.as_deref(), limit)?;
            let ended = page.len() < limit;
            let mut whole = true;
            for (key, value) in page {
                if items.len() == limit {
                    whole = false;
                    break;
                }
                looked_at += 1;
                if query.overdue {
                    items.extend(overdue(core, &tenant, &key, &value, partner.as_deref())?);
                } else if let Some(RowKey::Delivery(id)) = RowKey::parse(&key) {
                    items.extend(purged(core, &tenant, (id, &key, &value), partner.as_deref(), call, &mut fetched)?);
                } else {
                    items.extend(item(core, &tenant, (&key, &value), partner.as_deref(), sees, told.as_deref())?);
                }
                from = Some(key.clone());
                after = Some(key);
            }
            // A full page has a cursor even where nothing is left: whether one is there must not tell of what was left out.
            if ended && whole && items.len() < limit {
                (current, from) = (prefixes.next(), None);
            }
        }
        opened.committer.commit_many(fetched).await;
        if call.caller.partner.is_some() {
            items.sort_by_cached_key(place);
        }
        let next_cursor = match after.filter(|_| current.is_some()) {
            Some(last) => Some(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(&bound, &last)?)),
            None => None,
        };
        let rest = DisclosuresPage { next_cursor, ..DisclosuresPage::default() };
        let body = match () {
            () if query.overdue => DisclosuresPage { overdue: Some(items), ..rest },
            () if query.updates => DisclosuresPage { updates: Some(items), ..rest },
            () => DisclosuresPage { disclosures: Some(items), ..rest },
        };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// Where an item stands on the page of a partner: by its time and its id. The store has them in the order of the persons, which is the
/// same for every partner.
fn place(item: &serde_json::Value) -> (String, String) {
    let item = item.get("event").unwrap_or(item);
    let text = |name: &str| item.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    (text("at"), if item.get("id").is_some() { text("id") } else { text("token") })
}

async fn disclose_once(opened: &Opened, call: &Call, body: &Disclose, held: Option<&Held<'_>>) -> Result<Answer, Refused> {
    let operation = Operation::Disclose;
    let core = &opened.core;
    let tenant = core.tenant(&call.caller)?;
    let subject = call.subject(body.subject)?;
    let Some(person) = core.person(&tenant, subject)? else { return Err(core.missing(call, operation, &tenant, subject)) };
    let recipient = tenant.partner(&body.recipient);
    let asked = known_numbers(&tenant, body.fields.iter());
    let about = person.facts(&tenant, core.clock.now());
    let (case, protection) = on_cases(core, &tenant, call, &person, &about, body)?;
    let (case_facts, protection_facts) = (case.as_ref().map(|(_, case)| case.facts()), protection.as_ref().map(Approved::facts));
    let protecting = case_facts.filter(|_| body.kind == DisclosureKind::ChildProtection).or(protection_facts);
    let facts = Facts {
        fields: &asked,
        recipient,
        disclosed_on: body.kind.case(),
        case: case_facts.as_ref(),
        protection: protecting.as_ref(),
        ..core.facts_about(&tenant, call, &person, &about)
    };
    let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
    let Some(recipient) = recipient else {
        let refused = core.refuse(call, operation, Code::RecipientUnknown, Some(person.tag));
        return Err(Refused { pointer: Some("/recipient".into()), ..refused });
    };
    if asked.len() != body.fields.len() {
        return Err(core.refuse(call, operation, Code::FieldNotInCatalogue, Some(person.tag)));
    }
    if body.case.is_some() != body.kind.case().is_some() {
        let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
        return Err(Refused { pointer: Some("/case".into()), ..refused });
    }
    let purpose = allowed.purpose().ok_or(Code::Internal)?;

    // Of several records that hold a field, the one that was collected last speaks.
    let known = records_of(core, &person, |_| true)?;
    let mut newest: Vec<_> = known.iter().collect();
    newest.sort_by_key(|one| std::cmp::Reverse(one.label.collected_at));
    let (mut found, mut released, mut first_denial) = (Vec::new(), FieldSet::EMPTY, None);
    for one in newest {
        match examine(&allowed, one) {
            Ok(Some((group, fields))) => {
                let fields: FieldSet = fields.into_iter().collect::<FieldSet>().without(&released);
                fields.iter().for_each(|number| released.insert(number));
                if !fields.is_empty() {
                    found.push((one, group, fields.iter().collect::<Vec<u16>>()));
                }
            }
            Ok(None) => {}
            Err(denied) => first_denial = first_denial.or(Some(denied)),
        }
    }
    if found.is_empty() {
        return Err(match first_denial {
            Some(denied) => core.deny(call, operation, &denied, Some(person.tag)),
            None => core.refuse(call, operation, Code::NotFound, Some(person.tag)),
        });
    }
    if let Err(seconds) = core.budget.take(call.caller.token, subject.bytes(), core.clock.now()) {
        let refused = core.refuse(call, operation, Code::ReadBudgetSpent, Some(person.tag));
        return Err(Refused { retry_after: Some(seconds), ..refused });
    }
    let mut entry = core.entry(call, operation, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    entry.records = found.len() as u32;
    entry.fields = released.iter().collect();
    let admitted = core.admit(&allowed, entry).await?;

    let mut values: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (one, group, fields) in &found {
        let permit = admitted.permit(subject, key_group(*group)?);
        let key = person.keys.record_key(&permit, one.id.bytes(), &wraps_of(&one.row)).map_err(closed)?;
        let bound = context(core, &person, one.id, &one.row, &one.label_digest)?;
        for (number, plain) in &key.decrypt(&permit, &bound, &one.row.envelope, Some(fields))? {
            let field = tenant.field_numbered(*number).ok_or(Code::Internal)?;
            let text = std::str::from_utf8(plain.bytes()).map_err(|_| Code::Internal)?;
            values.insert(&field.name, RawValue::from_string(text.to_owned()).map_err(|_| Code::Internal)?);
        }
    }
    // A child's guardian hears of neither case before its time.
    let secrets = [case.as_ref().map(|(_, case)| case), protection.as_ref()].into_iter().flatten();
    let secret_until = secrets.filter_map(|case| case.secret_until(core.clock.now())).max();
    let noted = (admitted.decision, case.as_ref(), secret_until);
    let (id, ledger) = written(core, call, &person, recipient, &purpose.id, &released, noted)?;
    let answered = |fields| {
        let (recipient, purpose) = (recipient.id.clone(), purpose.id.clone());
        let pseudonym = pseudonym(&person.keys, &person.row.tenant, &recipient);
        let view = DisclosedView { id, pseudonym, recipient, purpose, case: body.case, fields };
        let body = serde_json::to_vec(&view).map_err(|_| Code::Internal)?;
        Ok::<_, Refused>(Answer { decision: Some(admitted.decision), made: true, body: Some(body), ..Answer::default() })
    };
    let answer = answered(values)?;
    let mut change = noting(core, &person, admitted.decision)?;
    change.rows.push(ledger);
    if let Some((_, case)) = &case {
        case.count(core, &mut change)?;
        case.tell(core, &tenant, &person, recipient, secret_until, &mut change)?;
    }
    if let Some(held) = held {
        // The values are kept nowhere but in their record: a repetition is told which disclosure it was, and not what went out. What
        // was deleted or held since would come out of a kept answer.
        let again = answered(BTreeMap::new())?;
        change.rows.push(held.keep(core, &Owner::Subject(subject.bytes(), &person.keys), &again)?);
    }
    opened.committer.commit(change).await?;
    Ok(answer)
}

/// Two kinds of cases: the one of a disclosure, and the one of a child's protection.
type Cases = (Option<(CaseKind, Approved)>, Option<Approved>);

/// The case that a disclosure is made on, and the one that protects the child whose data it is.
fn on_cases(
    core: &Core,
    tenant: &Tenant,
    call: &Call,
    person: &Person,
    about: &SubjectFacts<'_>,
    body: &Disclose,
) -> Result<Cases, Refused> {
    let case = match body.case.zip(body.kind.case()) {
        Some((id, kind)) => cases::approved(core, tenant, person, id, kind)?.map(|case| (kind, case)),
        None => None,
    };
    Ok((case, cases::protection(core, tenant, call, person, about)?))
}

/// Writes down that a partner read for itself, before it gets an answer; `None` for every other caller.
pub(crate) async fn note_read(
    opened: &Opened,
    call: &Call,
    tenant: &Tenant,
    person: &Person,
    fields: &FieldSet,
    decision: DecisionId,
) -> Result<Option<DisclosureId>, Refused> {
    let Some(own) = &call.caller.partner else { return Ok(None) };
    let partner = tenant.partner(own).ok_or(Code::NotAvailable)?;
    let core = &opened.core;
    let purpose = call.purpose.as_deref().unwrap_or_default();
    let (id, ledger) = written(core, call, person, partner, purpose, fields, (decision, None, None))?;
    let mut change = noting(core, person, decision)?;
    change.rows.push(ledger);
    opened.committer.commit(change).await?;
    Ok(Some(id))
}

/// Whether a partner may ask about this person at all: something of them went to it before. Advertising and analytics, and
/// authorities, get what is disclosed to them and ask for nothing.
pub(crate) fn is_known_to(core: &Core, tenant: &Tenant, person: &Person, partner: &str) -> bool {
    let told = [PartnerKind::AdAnalytics, PartnerKind::Authority];
    let asks = tenant.partner(partner).is_some_and(|partner| !told.contains(&partner.kind));
    let known = || ledger(core, &person.id, &person.keys).map(|rows| rows.iter().any(|(_, row)| row.recipient == partner));
    asks && known().unwrap_or_else(|refused| {
        tracing::error!(code = refused.code.text(), "the ledger of a person could not be read");
        false
    })
}

/// Every disclosure of a person, in the order of their ids.
pub(crate) fn ledger(
    core: &Core,
    subject: &SubjectId,
    keys: &SubjectKeys,
) -> Result<Vec<(DisclosureId, DisclosureRow)>, Refused> {
    let prefix = prefix::disclosures(subject);
    let (mut all, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let page = core.store.scan(&prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(last.clone());
        for (key, value) in &page {
            let Some(RowKey::Disclosure(_, id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
            all.push((id, unpack(keys.open_row(key, value)?.bytes())?));
        }
    }
}

/// The disclosures of a person that they may hear of by now.
fn open_ledger(core: &Core, person: &Person) -> Result<Vec<(DisclosureId, DisclosureRow)>, Refused> {
    let mut all = ledger(core, &person.id, &person.keys)?;
    all.retain(|(_, row)| !is_secret(core, row));
    Ok(all)
}

/// What is done about cases: how a case came about is no use of data.
const CASES: [Operation; 3] = [Operation::OpenCase, Operation::ApproveCase, Operation::GetCase];

/// The event by which a disclosure is kept.
const KEPT: &str = "keepDisclosure";

/// What a person is shown of the trail, on a page, as lines and in their bundle alike. Of disclosures that is what went out and is
/// no secret: whether one that was refused, begun in vain or asked for again rests on a case, its entry does not say.
pub(crate) struct Shown(HashSet<DecisionId>);

impl Shown {
    /// To this person, now.
    pub(crate) fn to(core: &Core, person: &Person) -> Result<Self, Refused> {
        let open = open_ledger(core, person)?;
        Ok(Self(open.into_iter().map(|(_, row)| DecisionId::from_bytes(row.decision)).collect()))
    }

    /// Whether this entry is.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        if CASES.iter().any(|operation| operation.text() == entry.operation) {
            return false;
        }
        let of_disclosing = entry.operation == Operation::Disclose.text() || entry.operation == KEPT;
        !of_disclosing || self.0.contains(&entry.decision)
    }
}

/// How something was disclosed: under the agreement, by the partner's own reading, or on a kind of case.
pub(crate) fn kind_of(row: &DisclosureRow) -> &'static str {
    match row.case_kind.and_then(|place| CaseKind::ALL.get(usize::from(place))) {
        Some(kind) => kind.text(),
        None if row.read => "partner-read",
        None => "partner",
    }
}

/// Whether the person may not hear of a disclosure yet.
pub(crate) fn is_secret(core: &Core, row: &DisclosureRow) -> bool {
    row.secret_until.is_some_and(|until| core.clock.now().as_microsecond() < until)
}

fn noting(core: &Core, person: &Person, decision: DecisionId) -> Result<Change, Refused> {
    let mut entry = core.event(KEPT, Outcome::Done, Note::None)?;
    (entry.tag, entry.decision) = (Some(person.tag), decision);
    let mut change = Change::noting(entry);
    change.guard(person);
    Ok(change)
}

fn written(
    core: &Core,
    call: &Call,
    person: &Person,
    partner: &Partner,
    purpose: &str,
    fields: &FieldSet,
    (decision, case, secret_until): (DecisionId, Option<&(CaseKind, Approved)>, Option<i64>),
) -> Result<(DisclosureId, RowChange), Refused> {
    let id = DisclosureId::from_bytes(fresh()?);
    let row = DisclosureRow {
        recipient: partner.id.clone(),
        purpose: purpose.to_owned(),
        fields: fields.iter().collect(),
        region: partner.region.clone(),
        agreement: partner.agreement.clone(),
        at: core.clock.now().as_microsecond(),
        caller: *call.caller.id.bytes(),
        decision: *decision.bytes(),
        read: call.caller.partner.is_some(),
        case: case.map(|(_, case)| *case.id().bytes()),
        case_kind: case.and_then(|(kind, _)| CaseKind::ALL.iter().position(|own| own == kind)).map(|place| place as u8),
        secret_until,
    };
    let key = RowKey::Disclosure(person.id, id).bytes();
    let value = Some(person.keys.seal_row(&key, &pack(&row)?)?);
    Ok((id, RowChange { key, expect: Expect::Fresh, value }))
}

/// By which name a caller sees the person of a disclosure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
    Themselves,
    Subject,
    Pseudonym,
    Tag,
}

impl Sees {
    fn of(call: &Call) -> Self {
        let caller = &call.caller;
        match () {
            () if caller.partner.is_some() => Self::Pseudonym,
            () if caller.subject.is_some() => Self::Themselves,
            () if caller.roles.contains(&Role::PrivacyOfficer) => Self::Subject,
            () => Self::Tag,
        }
    }
}

fn item(
    core: &Core,
    tenant: &Tenant,
    (key, value): (&[u8], &[u8]),
    partner: Option<&str>,
    sees: Sees,
    told: Option<&[(DisclosureId, DisclosureRow)]>,
) -> Result<Option<serde_json::Value>, Refused> {
    let of = |subject: SubjectId| core.person(tenant, subject);
    let names = |numbers: &[u16]| -> Vec<String> {
        numbers.iter().filter_map(|number| tenant.field_numbered(*number)).map(|field| field.name.clone()).collect()
    };
    let wanted = |recipient: &str| partner.is_none_or(|partner| partner == recipient);
    let value = match RowKey::parse(key) {
        Some(RowKey::Disclosure(subject, id)) => {
            let Some(person) = of(subject)? else { return Ok(None) };
            let row: DisclosureRow = unpack(person.keys.open_row(key, value)?.bytes())?;
            if !wanted(&row.recipient) || sees == Sees::Themselves && is_secret(core, &row) {
                return Ok(None);
            }
            let view = DisclosureView {
                id,
                subject: matches!(sees, Sees::Subject | Sees::Themselves).then_some(subject),
                subject_tag: matches!(sees, Sees::Tag).then(|| hex(&person.tag)),
                pseudonym: pseudonym(&person.keys, &person.row.tenant, &row.recipient),
                fields: names(&row.fields),
                kind: kind_of(&row),
                case: row.case.map(CaseId::from_bytes),
                recipient: row.recipient,
                purpose: row.purpose,
                region: row.region,
                at: time(row.at),
                decision: DecisionId::from_bytes(row.decision),
            };
            serde_json::to_value(view)
        }
        Some(RowKey::Update(subject, id)) => {
            let Some(person) = of(subject)? else { return Ok(None) };
            let row: UpdateRow = unpack(person.keys.open_row(key, value)?.bytes())?;
            if !wanted(&row.recipient) {
                return Ok(None);
            }
            let row = match told {
                Some(told) => open_part(row, told),
                None => Some(row),
            };
            let Some(row) = row else { return Ok(None) };
            serde_json::to_value(callbacks::update(core, tenant, &person.keys, DeliveryId::from_bytes(id), row)?)
        }
        _ => return Err(Code::StoreUnavailable.into()),
    };
    value.map(Some).map_err(|_| Code::Internal.into())
}

/// What of an update rests on these disclosures; `None` where nothing does.
fn open_part(row: UpdateRow, told: &[(DisclosureId, DisclosureRow)]) -> Option<UpdateRow> {
    let concerned = row.fields.iter().copied().collect();
    let before = told.iter().filter(|(_, own)| own.recipient == row.recipient && own.at <= row.at);
    let (mut fields, mut disclosure) = (FieldSet::EMPTY, None);
    for (id, own) in before {
        let part = callbacks::among(own, &concerned);
        part.iter().for_each(|number| fields.insert(number));
        if !part.is_empty() && disclosure != Some(row.disclosure) {
            disclosure = Some(*id.bytes());
        }
    }
    Some(UpdateRow { disclosure: disclosure?, fields: fields.iter().collect(), ..row })
}

/// The message of an erasure, for the partner that it is for. Who fetches it with its own credentials has been told.
fn purged(
    core: &Core,
    tenant: &Tenant,
    (id, key, value): (DeliveryId, &[u8], &[u8]),
    partner: Option<&str>,
    call: &Call,
    fetched: &mut Vec<Change>,
) -> Result<Option<serde_json::Value>, Refused> {
    let Some((recipient, mut delivery)) = to_partner(core, tenant, key, value, partner)? else { return Ok(None) };
    let Some(token) = delivery.body.clone().filter(|_| delivery.template == Event::Erasure.text()) else { return Ok(None) };
    let at = callbacks::day(time(delivery.made_at));
    let view = PurgedView { r#type: Event::Erasure.text(), recipient, token, at };
    if call.caller.partner.is_some() && DELIVERY.state(delivery.state) == Some("waiting") {
        delivery.went(core, Went::Acknowledged)?;
        let mut change = Change::noting(core.event("deliver", Outcome::Done, Note::None)?);
        change.rows.push(outbox::changed(core, id, value.to_vec(), Some(&delivery))?);
        fetched.push(change);
    }
    serde_json::to_value(view).map(Some).map_err(|_| Code::Internal.into())
}

/// A message that its partner should have acknowledged by now.
fn overdue(
    core: &Core,
    tenant: &Tenant,
    key: &[u8],
    value: &[u8],
    partner: Option<&str>,
) -> Result<Option<serde_json::Value>, Refused> {
    let Some(RowKey::Delivery(id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
    let Some((recipient, delivery)) = to_partner(core, tenant, key, value, partner)? else { return Ok(None) };
    if !callbacks::is_overdue(&delivery, tenant.partner(&recipient), core.clock.now()) {
        return Ok(None);
    }
    let view = OverdueView {
        id,
        recipient,
        event: delivery.template.clone(),
        state: DELIVERY.state(delivery.state).ok_or(Code::Internal)?,
        tries: delivery.tries,
        made_at: callbacks::day(time(delivery.made_at)),
        due_at: delivery.due_at.map(|due| callbacks::day(time(due))),
    };
    serde_json::to_value(view).map(Some).map_err(|_| Code::Internal.into())
}

/// A message of the controller's to a partner, to this one where one is named.
fn to_partner(
    core: &Core,
    tenant: &Tenant,
    key: &[u8],
    value: &[u8],
    partner: Option<&str>,
) -> Result<Option<(String, Delivery)>, Refused> {
    let delivery: Delivery = unpack(core.hierarchy.open_row(key, value)?.bytes())?;
    let own = delivery.tenant() == tenant.id();
    let recipient = match &delivery.to {
        To::Partner(recipient) if own && partner.is_none_or(|partner| partner == recipient) => recipient.clone(),
        _ => return Ok(None),
    };
    Ok(Some((recipient, delivery)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
