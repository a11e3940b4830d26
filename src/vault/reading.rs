//! readRecords: decide, append the entry durably, decrypt, answer. In this order and no other.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::{Field, FieldSet};
use crate::model::ids::{RecordId, SubjectId};
use crate::model::purpose::Group;
use crate::model::wire::ReadRecords;
use crate::policy::{Allowed, Denied, Facts};
use crate::store::Row;
use crate::store::layout::{Envelope, RecordHead, RowKey, prefix};

use super::call::{Answer, Call, Refused};
use super::cases::{self, Approved};
use super::core::{Core, Known, Person, key_group};
use super::disclosures;
use super::lifecycle::Vault;
use super::masks;
use super::records::{context, etag, known_numbers, label_context, record_facts, whole, wrapped, wraps_of};
use super::rows::unpack;
use super::verified;

/// Records on a page unless told, and at most (API.md).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// How often a read begins again because keys changed under it.
pub(crate) const TRIES: usize = 4;

/// Records of a subject that are kept in memory together, and the bytes they may have.
const FEW: usize = 16;
const SMALL: usize = 32 << 10;

/// A record that this call may open, still closed: its place among the known ones.
struct Found {
    place: usize,
    group: Group,
    fields: Vec<u16>,
}

impl Vault {
    /// readRecords: of one subject, for one purpose, only the fields asked for and only through that purpose's key.
    ///
    /// A destruction of the subject's other keys may come between loading the keys and loading the rows. The row then
    /// does not open although nothing is wrong with it: with the new keys it does.
    pub async fn read_records(&self, call: &Call, subject: SubjectId, ask: ReadRecords) -> Result<Answer, Refused> {
        let mut last = None;
        for number in 0..TRIES {
            let turn = self.opened()?.core.hierarchy.turn();
            match self.read_once(call, subject, &ask).await {
                Err(refused) if is_closed(&refused) && may_have_changed(&self.opened()?.core, subject, number, turn) => continue,
                // A large record's pieces were replaced between its first row and the others.
                Err(refused) if refused.code == Code::StoreUnavailable => last = Some(refused),
                Err(refused) if refused.decision.is_none() => {
                    last = Some(refused);
                    break;
                }
                done => return done,
            }
        }
        // What neither the keys nor the store would open is noted too: a record that was tampered with is not tried
        // unnoticed.
        let code = last.map_or(Code::Overloaded, |refused| refused.code);
        Err(self.opened()?.core.refuse(call, Operation::ReadRecords, code, None))
    }

    async fn read_once(&self, call: &Call, subject: SubjectId, ask: &ReadRecords) -> Result<Answer, Refused> {
        let operation = Operation::ReadRecords;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, subject)? else { return Err(core.missing(call, operation, &tenant, subject)) };
        let asked = known_numbers(&tenant, ask.fields.iter());
        let about = person.facts(&tenant, core.clock.now());
        let protection = cases::protection(core, &tenant, call, &person, &about)?;
        let protection = protection.as_ref().map(Approved::facts);
        let facts = Facts { fields: &asked, protection: protection.as_ref(), ..core.facts_about(&tenant, call, &person, &about) };
        let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
        if asked.len() != ask.fields.len() {
            return Err(core.refuse(call, operation, Code::FieldNotInCatalogue, Some(person.tag)));
        }
        let group_wanted = match &ask.group {
            Some(name) => match tenant.group(name) {
                Some(group) => Some(group),
                None => return Err(core.refuse(call, operation, Code::MalformedRequest, Some(person.tag))),
            },
            None => None,
        };

        let (known, next) = known(core, call, &person, ask)?;
        if ask.record.is_some_and(|id| !known.iter().any(|one| one.id == id)) {
            return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag)));
        }
        let mut found = Vec::with_capacity(known.len());
        let mut first_denial = None;
        for (place, one) in known.iter().enumerate() {
            let asked_for = ask.record.is_none_or(|id| id == one.id);
            if !asked_for || group_wanted.is_some_and(|group| !wrapped(&one.row).contains(group)) {
                continue;
            }
            match examine(&allowed, one) {
                // In a list, what was collected for other purposes is simply not part of this one.
                Err(denied) if denied.code == Code::PurposeIncompatible && ask.record.is_none() => {}
                Ok(Some((group, fields))) => found.push(Found { place, group, fields }),
                Ok(None) => {}
                Err(denied) => first_denial = first_denial.or(Some(denied)),
            }
        }
        if found.is_empty()
            && let Some(denied) = first_denial
        {
            return Err(core.deny(call, operation, &denied, Some(person.tag)));
        }

        let released: FieldSet = found.iter().flat_map(|record| record.fields.iter().copied()).collect();
        let now = core.clock.now();
        let masked = masks::masked(&allowed, &call.grounds, &released)
            .map_err(|code| core.refuse(call, operation, code, Some(person.tag)))?;
        if !found.is_empty()
            && let Err(seconds) = core.budget.take(call.caller.token, subject.bytes(), now)
        {
            let refused = core.refuse(call, operation, Code::ReadBudgetSpent, Some(person.tag));
            return Err(Refused { retry_after: Some(seconds), ..refused });
        }
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        entry.records = found.len() as u32;
        entry.fields = released.iter().collect();
        entry.obligations = masks::obligations(&tenant, &released, &masked);
        let admitted = core.admit(&allowed, entry).await?;
        let disclosure = disclosures::note_read(&opened, call, &tenant, &person, &released, admitted.decision).await;
        // Keys that changed under it: the read begins again.
        let disclosure =
            disclosure.map_err(|refused| if refused.code == Code::Stale { Code::Internal.into() } else { refused })?;

        let mut body = Vec::with_capacity(64 + found.iter().map(|f| known[f.place].row.envelope.len() + 96).sum::<usize>());
        body.extend_from_slice(b"{\"records\":[");
        for (place, record) in found.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            let one = &known[record.place];
            let permit = admitted.permit(subject, key_group(record.group)?);
            let key = person.keys.record_key(&permit, one.id.bytes(), &wraps_of(&one.row))?;
            let bound = context(core, &person, one.id, &one.row, &one.label_digest)?;
            let opened = key.decrypt(&permit, &bound, &one.row.envelope, Some(&record.fields))?;
            open_object(&mut body, one);
            for (place, (number, plain)) in opened.iter().enumerate() {
                if place > 0 {
                    body.push(b',');
                }
                let field = tenant.field_numbered(*number).ok_or(Code::Internal)?;
                body.push(b'"');
                body.extend_from_slice(field.name.as_bytes());
                body.extend_from_slice(b"\":");
                let mask = if masked.contains(*number) { mask(field, plain.bytes())? } else { None };
                body.extend_from_slice(mask.as_ref().map_or(plain.bytes(), |mask| mask.as_bytes()));
            }
            body.push(b'}');
            let stale = verified::stale(&tenant, &one.label, &record.fields, now);
            if !stale.is_empty() {
                body.extend_from_slice(format!(",\"stale\":[\"{}\"]", stale.join("\",\"")).as_bytes());
            }
            body.push(b'}');
        }
        body.extend_from_slice(b"],\"next_cursor\":");
        match next {
            Some(cursor) => {
                body.push(b'"');
                body.extend_from_slice(cursor.as_bytes());
                body.push(b'"');
            }
            None => body.extend_from_slice(b"null"),
        }
        if let Some(id) = disclosure {
            body.extend_from_slice(format!(",\"disclosure\":\"{id}\"").as_bytes());
        }
        body.push(b'}');
        let single = ask.record.is_some().then(|| found.first().map(|record| etag(known[record.place].row.version))).flatten();
        Ok(Answer { decision: Some(admitted.decision), etag: single, body: Some(body), ..Answer::default() })
    }
}

/// What is shown of a field instead of its value; `None` where its mask hides nothing.
fn mask(field: &Field, plain: &[u8]) -> Result<Option<String>, Refused> {
    let text = std::str::from_utf8(plain).map_err(|_| Code::Internal)?;
    Ok(field.masked(text))
}

/// Whether keys and rows of a person that did not fit in this try (counted from 0) may fit in the next one: the keys changed under it, or it was
/// the first, which may have met the moment between the commit of a change and its end. The next try reads both anew.
pub(crate) fn may_have_changed(core: &Core, subject: SubjectId, number: usize, turn: u64) -> bool {
    core.people.forget(&[*subject.bytes()], &[]);
    number == 0 || core.hierarchy.turn() != turn
}

/// Whether a key or a row did not open, rather than a guard refused: after a change of the keys it may.
pub(crate) fn is_closed(refused: &Refused) -> bool {
    refused.code == Code::Internal || refused.code == Code::KeyDestroyed && refused.decision.is_none()
}

/// A key that the guards saw alive and that is gone by now is the same as a row that does not open: see the tries above.
pub(crate) fn closed(error: keys::KeysError) -> Refused {
    match Refused::from(error) {
        refused if refused.code == Code::KeyDestroyed => Code::Internal.into(),
        refused => refused,
    }
}

/// Names, kinds and ids only: all of them from closed alphabets, so no escaping is due.
fn open_object(body: &mut Vec<u8>, record: &Known) {
    use std::io::Write as _;
    let _ = write!(
        body,
        "{{\"id\":\"{}\",\"kind\":\"{}\",\"version\":{},\"fields\":{{",
        record.id, record.label.kind, record.row.version
    );
}

type Page = (Arc<Vec<Known>>, Option<String>);

/// The records that the call may be about, and where the next page begins.
fn known(core: &Core, call: &Call, person: &Person, ask: &ReadRecords) -> Result<Page, Refused> {
    let subject = person.id;
    let limit = ask.page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    if ask.page.cursor.is_none()
        && let Some(all) = core.people.records(subject.bytes(), || few(core, person))?
        && (all.len() <= limit || ask.record.is_some())
    {
        return Ok((all, None));
    }
    if let Some(id) = ask.record {
        let value = core.store.row(&RowKey::Record(subject, id).bytes())?;
        let one = value.map(|value| open_label(core, person, id, &value)).transpose()?;
        return Ok((Arc::new(one.into_iter().collect()), None));
    }
    let context = [b"cursor", &subject.bytes()[..], call.caller.id.bytes()].concat();
    let after = match &ask.page.cursor {
        None => None,
        Some(cursor) => {
            let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::BadCursor)?;
            let plain = core.hierarchy.open_row(&context, &sealed).map_err(|_| Code::BadCursor)?;
            Some(plain.bytes().to_vec())
        }
    };
    let prefix = prefix::records(&subject);
    let mut page = core.store.scan(&prefix, after.as_deref(), limit + 1)?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next = match page.last().filter(|_| more) {
        Some((last, _)) => Some(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(&context, last)?)),
        None => None,
    };
    Ok((Arc::new(open_labels(core, person, page)?), next))
}

/// All records of a subject, or at least those that `keep` says yes to.
pub(crate) fn records_of(core: &Core, person: &Person, keep: impl Fn(&Known) -> bool) -> Result<Arc<Vec<Known>>, Refused> {
    if let Some(all) = core.people.records(person.id.bytes(), || few(core, person))? {
        return Ok(all);
    }
    let prefix = prefix::records(&person.id);
    let (mut kept, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let page = core.store.scan(&prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(Arc::new(kept)) };
        after = Some(last.clone());
        kept.extend(open_labels(core, person, page)?.into_iter().filter(|one| keep(one)));
    }
}

/// All records of a subject, if they are few and small.
fn few(core: &Core, person: &Person) -> Result<Option<Vec<Known>>, Refused> {
    let page = core.store.scan(&prefix::records(&person.id), None, FEW + 1)?;
    let bytes: usize = page.iter().map(|(_, value)| value.len()).sum();
    let small = page.len() <= FEW && bytes <= SMALL && page.iter().all(|(_, value)| is_inline(value));
    if small { open_labels(core, person, page).map(Some) } else { Ok(None) }
}

fn is_inline(value: &[u8]) -> bool {
    RecordHead::parse(value).is_ok_and(|head| matches!(head.envelope, Envelope::Inline(_)))
}

pub(crate) fn open_labels(core: &Core, person: &Person, page: Vec<Row>) -> Result<Vec<Known>, Refused> {
    let mut known = Vec::with_capacity(page.len());
    for (key, value) in page {
        let Some(RowKey::Record(_, id)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
        known.push(open_label(core, person, id, &value)?);
    }
    Ok(known)
}

pub(crate) fn open_label(core: &Core, person: &Person, id: RecordId, value: &[u8]) -> Result<Known, Refused> {
    let row = whole(core, &person.id, &id, value)?;
    let plain = person.keys.open_row(&label_context(&person.id, &id), &row.label)?;
    Ok(Known { id, label: unpack(plain.bytes())?, label_digest: keys::digest::sha256(&[plain.bytes()]), row })
}

/// Whether this call may open this record, through which group, and which of its fields. `Ok(None)`: the record is not
/// part of the purpose, or has none of the fields.
pub(crate) fn examine(allowed: &Allowed<'_>, one: &Known) -> Result<Option<(Group, Vec<u16>)>, Denied> {
    let about = record_facts(one.id, &one.row, &one.label);
    let group = match allowed.on(&about) {
        Ok(group) => group,
        Err(denied) if denied.code == Code::NotFound => return Ok(None),
        Err(denied) => return Err(denied),
    };
    let permitted: &FieldSet = allowed.fields();
    let fields: Vec<u16> =
        one.label.fields.iter().map(|field| field.number).filter(|number| permitted.contains(*number)).collect();
    Ok((!fields.is_empty()).then_some((group, fields)))
}
