//! disclose and listDisclosures: what went to whom. The ledger is written by the vault itself, durably, before a byte leaves.
//!
//! A partner that reads for itself is written down in the same way. When a record is corrected, each partner that got one of
//! its fields finds an update in its inbox (GDPR Art. 19); it names fields and holds no value.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::value::RawValue;

use crate::audit::{Note, Outcome};
use crate::model::caller::{Operation, Role};
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{DecisionId, DisclosureId, PseudonymId, SubjectId};
use crate::model::rules::{Partner, PartnerKind};
use crate::model::wire::{Disclose, DisclosedView, DisclosureView, Page, UpdateEvent, UpdateView, Whom};
use crate::policy::Facts;
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, first16, fresh, key_group};
use super::idempotency::{self, Begun, Held, Owner};
use super::lifecycle::{Opened, Vault};
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

/// What is signed in front of an update, so that it is nothing else that the vault signs.
const UPDATE: &[u8] = b"oubliette-update/v1\n";

/// What of the ledger is asked for.
#[derive(Default)]
pub struct DisclosureQuery {
    /// About this person.
    pub subject: Option<Whom>,
    /// To this partner.
    pub partner: Option<String>,
    /// The corrections that past recipients are to hear of, in place of the disclosures.
    pub updates: bool,
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

    /// listDisclosures: the ledger, or the corrections that past recipients are to hear of. A person sees their own, a partner
    /// what went to it, by its own name for the person.
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
        let prefix = match (query.updates, whom) {
            (false, None) => prefix::DISCLOSURES.to_vec(),
            (true, None) => prefix::UPDATES.to_vec(),
            (false, Some(subject)) => prefix::disclosures(&subject),
            (true, Some(subject)) => prefix::updates(&subject),
        };
        let bound = [b"cursor-disclosures", prefix.as_slice(), call.caller.id.bytes()].concat();
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
        let (mut items, mut looked_at, mut more) = (Vec::new(), 0, true);
        let sees = Sees::of(call);
        while more && items.len() < limit && looked_at < MOST_LOOKED_AT {
            let page = core.store.scan(&prefix, after.as_deref(), limit)?;
            more = page.len() == limit;
            for (key, value) in page {
                if items.len() == limit {
                    more = true;
                    break;
                }
                looked_at += 1;
                items.extend(item(core, &tenant, &key, &value, partner.as_deref(), sees)?);
                after = Some(key);
            }
        }
        let next_cursor = match after.filter(|_| more) {
            Some(last) => Some(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(&bound, &last)?)),
            None => None,
        };
        let name = if query.updates { "updates" } else { "disclosures" };
        let body = serde_json::json!({name: items, "next_cursor": next_cursor});
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
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
    let facts = Facts { fields: &asked, recipient, ..core.facts_about(&tenant, call, &person, &about) };
    let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
    let Some(recipient) = recipient else {
        let refused = core.refuse(call, operation, Code::RecipientUnknown, Some(person.tag));
        return Err(Refused { pointer: Some("/recipient".into()), ..refused });
    };
    if asked.len() != body.fields.len() {
        return Err(core.refuse(call, operation, Code::FieldNotInCatalogue, Some(person.tag)));
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
                let fields: FieldSet = fields.into_iter().collect::<FieldSet>().and(&recipient.fields).without(&released);
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
    let (id, ledger) = written(core, call, &person, recipient, &purpose.id, &released, admitted.decision)?;
    let answered = |fields| {
        let (recipient, purpose) = (recipient.id.clone(), purpose.id.clone());
        let view = DisclosedView { id, pseudonym: pseudonym(&person, &recipient), recipient, purpose, fields };
        let body = serde_json::to_vec(&view).map_err(|_| Code::Internal)?;
        Ok::<_, Refused>(Answer { decision: Some(admitted.decision), made: true, body: Some(body), ..Answer::default() })
    };
    let answer = answered(values)?;
    let mut change = noting(core, &person)?;
    change.rows.push(ledger);
    if let Some(held) = held {
        // The values are kept nowhere but in their record: a repetition is told which disclosure it was, and not what went out. What
        // was deleted or held since would come out of a kept answer.
        let again = answered(BTreeMap::new())?;
        change.rows.push(held.keep(core, &Owner::Subject(subject.bytes(), &person.keys), &again)?);
    }
    opened.committer.commit(change).await?;
    Ok(answer)
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
    let (id, ledger) = written(core, call, person, partner, purpose, fields, decision)?;
    let mut change = noting(core, person)?;
    change.rows.push(ledger);
    opened.committer.commit(change).await?;
    Ok(Some(id))
}

/// Whether a partner may ask about this person at all: something of them went to it before. Advertising and analytics get
/// what is disclosed to them and ask for nothing.
pub(crate) fn is_known_to(core: &Core, tenant: &Tenant, person: &Person, partner: &str) -> bool {
    let asks = tenant.partner(partner).is_some_and(|partner| partner.kind != PartnerKind::AdAnalytics);
    let known = || ledger(core, person).map(|rows| rows.iter().any(|(_, row)| row.recipient == partner));
    asks && known().unwrap_or_else(|refused| {
        tracing::error!(code = refused.code.text(), "the ledger of a person could not be read");
        false
    })
}

/// The rows that tell past recipients of these fields that they changed.
pub(crate) fn updates(core: &Core, person: &Person, changed: &[u16]) -> Result<Vec<RowChange>, Refused> {
    let mut told: BTreeMap<String, (DisclosureId, FieldSet)> = BTreeMap::new();
    let changed: FieldSet = changed.iter().copied().collect();
    for (id, row) in ledger(core, person)? {
        let fields = row.fields.iter().copied().collect::<FieldSet>().and(&changed);
        if !fields.is_empty() {
            let (last, all) = told.entry(row.recipient).or_insert((id, FieldSet::EMPTY));
            *last = id;
            fields.iter().for_each(|number| all.insert(number));
        }
    }
    let mut rows = Vec::with_capacity(told.len());
    for (recipient, (disclosure, fields)) in told {
        let row = UpdateRow {
            recipient,
            disclosure: *disclosure.bytes(),
            fields: fields.iter().collect(),
            at: core.clock.now().as_microsecond(),
        };
        let key = RowKey::Update(person.id, fresh()?).bytes();
        let value = Some(person.keys.seal_row(&key, &pack(&row)?)?);
        rows.push(RowChange { key, expect: Expect::Fresh, value });
    }
    Ok(rows)
}

/// The name by which one partner knows a person: two partners cannot join theirs, and it dies with the person's keys.
pub(crate) fn pseudonym(person: &Person, partner: &str) -> PseudonymId {
    let digest = person.keys.keyed_digest("pseudonym", &[&person.row.tenant, partner.as_bytes()]);
    PseudonymId::from_bytes(first16(&digest))
}

/// Every disclosure of a person, in the order of their ids.
fn ledger(core: &Core, person: &Person) -> Result<Vec<(DisclosureId, DisclosureRow)>, Refused> {
    let prefix = prefix::disclosures(&person.id);
    let (mut all, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let page = core.store.scan(&prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(last.clone());
        for (key, value) in &page {
            let Some(RowKey::Disclosure(_, id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
            all.push((id, unpack(person.keys.open_row(key, value)?.bytes())?));
        }
    }
}

fn noting(core: &Core, person: &Person) -> Result<Change, Refused> {
    let mut entry = core.event("keepDisclosure", Outcome::Done, Note::None)?;
    entry.tag = Some(person.tag);
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
    decision: DecisionId,
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
    };
    let key = RowKey::Disclosure(person.id, id).bytes();
    let value = Some(person.keys.seal_row(&key, &pack(&row)?)?);
    Ok((id, RowChange { key, expect: Expect::Fresh, value }))
}

/// By which name a caller sees the person of a disclosure.
#[derive(Clone, Copy)]
enum Sees {
    Subject,
    Pseudonym,
    Tag,
}

impl Sees {
    fn of(call: &Call) -> Self {
        let caller = &call.caller;
        match () {
            () if caller.partner.is_some() => Self::Pseudonym,
            () if caller.subject.is_some() || caller.roles.contains(&Role::PrivacyOfficer) => Self::Subject,
            () => Self::Tag,
        }
    }
}

fn item(
    core: &Core,
    tenant: &Tenant,
    key: &[u8],
    value: &[u8],
    partner: Option<&str>,
    sees: Sees,
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
            if !wanted(&row.recipient) {
                return Ok(None);
            }
            let view = DisclosureView {
                id,
                subject: matches!(sees, Sees::Subject).then_some(subject),
                subject_tag: matches!(sees, Sees::Tag).then(|| hex(&person.tag)),
                pseudonym: pseudonym(&person, &row.recipient),
                fields: names(&row.fields),
                kind: if row.read { "partner-read" } else { "partner" },
                recipient: row.recipient,
                purpose: row.purpose,
                region: row.region,
                at: time(row.at),
                decision: DecisionId::from_bytes(row.decision),
            };
            serde_json::to_value(view)
        }
        Some(RowKey::Update(subject, _)) => {
            let Some(person) = of(subject)? else { return Ok(None) };
            let row: UpdateRow = unpack(person.keys.open_row(key, value)?.bytes())?;
            if !wanted(&row.recipient) {
                return Ok(None);
            }
            let event = UpdateEvent {
                r#type: "update",
                disclosure: DisclosureId::from_bytes(row.disclosure),
                pseudonym: pseudonym(&person, &row.recipient),
                fields: names(&row.fields),
                recipient: row.recipient,
                at: time(row.at),
            };
            let text = serde_json_canonicalizer::to_vec(&event).map_err(|_| Code::Internal)?;
            let signature = BASE64_STANDARD.encode(core.hierarchy.sign(&[UPDATE, &text].concat()));
            serde_json::to_value(UpdateView { event, signature })
        }
        _ => return Err(Code::StoreUnavailable.into()),
    };
    value.map(Some).map_err(|_| Code::Internal.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
