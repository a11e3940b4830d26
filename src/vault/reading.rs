//! readRecords: decide, append the entry durably, decrypt, answer. In this order and no other.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{RecordId, SubjectId};
use crate::model::purpose::Group;
use crate::model::wire::ReadRecords;
use crate::policy::{Allowed, Denied, Facts, RecordFacts};
use crate::store::layout::{RecordRow, RowKey, prefix};

use super::call::{Answer, Call, Refused};
use super::committer::refused;
use super::core::{Core, Person, key_group, keys_refused};
use super::lifecycle::Vault;
use super::records::{context, etag, label_context, whole, wrapped, wraps_of};
use super::rows::{LabelRow, time, unpack};

/// Records on a page unless told, and at most (API.md).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// How often a read begins again because keys changed under it.
const TRIES: usize = 4;

/// A record that this call may open, still closed.
struct Found {
    id: RecordId,
    row: RecordRow,
    label: LabelRow,
    label_digest: [u8; 32],
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
        for _ in 0..TRIES {
            let turn = self.opened()?.core.hierarchy.turn();
            match self.read_once(call, subject, &ask).await {
                Err(refused) if refused.code == Code::Internal && self.opened()?.core.hierarchy.turn() != turn => continue,
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
        let mut asked = Vec::with_capacity(ask.fields.len());
        for name in &ask.fields {
            match tenant.field(name) {
                Ok(field) => asked.push(field.number),
                Err(_) => return Err(core.refuse(call, operation, Code::FieldNotInCatalogue, Some(person.tag))),
            }
        }
        let group_wanted = match &ask.group {
            Some(name) => match tenant.group(name) {
                Some(group) => Some(group),
                None => return Err(core.refuse(call, operation, Code::MalformedRequest, Some(person.tag))),
            },
            None => None,
        };
        let about = person.facts();
        let facts = Facts {
            subject: Some(&about),
            fields: &asked,
            key_groups: person.alive(),
            dead_groups: person.dead(),
            ..core.facts(&tenant)
        };
        let allowed = core.decide(call, operation, &facts, Some(person.tag))?;

        let (rows, next) = rows(core, call, subject, ask)?;
        if rows.is_empty() && ask.record.is_some() {
            return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag)));
        }
        let mut found = Vec::with_capacity(rows.len());
        let mut first_denial = None;
        for (id, row) in rows {
            if group_wanted.is_some_and(|group| !wrapped(&row).contains(group)) {
                continue;
            }
            match examine(&person, &allowed, id, row)? {
                Ok(Some(record)) => found.push(record),
                Ok(None) => {}
                Err(denied) => first_denial = first_denial.or(Some(denied)),
            }
        }
        if found.is_empty()
            && let Some(denied) = first_denial
        {
            return Err(core.deny(call, operation, &denied, Some(person.tag)));
        }

        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        entry.records = found.len() as u32;
        entry.fields = found.iter().flat_map(|record| record.fields.iter().copied()).collect();
        entry.fields.sort_unstable();
        entry.fields.dedup();
        let admitted = core.admit(&allowed, entry).await?;

        let mut body = Vec::with_capacity(64 + found.iter().map(|f| f.row.envelope.len() + 96).sum::<usize>());
        body.extend_from_slice(b"{\"records\":[");
        for (place, record) in found.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            let permit = admitted.permit(subject, key_group(record.group)?);
            let key = person.keys.record_key(&permit, record.id.bytes(), &wraps_of(&record.row)).map_err(closed)?;
            let bound = context(core, &person, record.id, &record.row, &record.label_digest)?;
            let opened = key.decrypt(&permit, &bound, &record.row.envelope, Some(&record.fields)).map_err(keys_refused)?;
            open_object(&mut body, record);
            for (place, (number, plain)) in opened.iter().enumerate() {
                if place > 0 {
                    body.push(b',');
                }
                let field = tenant.field_numbered(*number).ok_or(Code::Internal)?;
                body.push(b'"');
                body.extend_from_slice(field.name.as_bytes());
                body.extend_from_slice(b"\":");
                body.extend_from_slice(plain.bytes());
            }
            body.extend_from_slice(b"}}");
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
        body.push(b'}');
        let single = ask.record.is_some().then(|| found.first().map(|record| etag(record.row.version))).flatten();
        Ok(Answer { decision: Some(admitted.decision), etag: single, body: Some(body), ..Answer::default() })
    }
}

/// A key that the guards saw alive and that is gone by now is the same as a row that does not open: see the tries above.
fn closed(error: keys::KeysError) -> Refused {
    match keys_refused(error) {
        refused if refused.code == Code::KeyDestroyed => Code::Internal.into(),
        refused => refused,
    }
}

/// Names, kinds and ids only: all of them from closed alphabets, so no escaping is due.
fn open_object(body: &mut Vec<u8>, record: &Found) {
    use std::io::Write as _;
    let _ = write!(
        body,
        "{{\"id\":\"{}\",\"kind\":\"{}\",\"version\":{},\"fields\":{{",
        record.id, record.label.kind, record.row.version
    );
}

type Rows = (Vec<(RecordId, RecordRow)>, Option<String>);

fn rows(core: &Core, call: &Call, subject: SubjectId, ask: &ReadRecords) -> Result<Rows, Refused> {
    if let Some(id) = ask.record {
        let row = core.store.row(&RowKey::Record(subject, id).bytes()).map_err(refused)?;
        let row = row.map(|bytes| whole(core, &subject, &id, &bytes)).transpose()?;
        return Ok((row.map(|row| (id, row)).into_iter().collect(), None));
    }
    let limit = ask.page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
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
    let mut page = core.store.scan(&prefix, after.as_deref(), limit + 1).map_err(refused)?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next = match page.last().filter(|_| more) {
        Some((last, _)) => Some(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(&context, last).map_err(keys_refused)?)),
        None => None,
    };
    let mut rows = Vec::with_capacity(page.len());
    for (key, value) in page {
        let Some(RowKey::Record(_, id)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
        rows.push((id, whole(core, &subject, &id, &value)?));
    }
    Ok((rows, next))
}

/// Whether this call may open this record, and which of its fields. `Ok(None)`: the record is not part of the purpose, or
/// has none of the fields.
fn examine(
    person: &Person,
    allowed: &Allowed<'_>,
    id: RecordId,
    row: RecordRow,
) -> Result<Result<Option<Found>, Denied>, Refused> {
    let plain = person.keys.open_row(&label_context(&person.id, &id), &row.label).map_err(keys_refused)?;
    let label: LabelRow = unpack(plain.bytes())?;
    let about = RecordFacts { purposes: &label.purposes, groups: wrapped(&row), collected_at: time(label.collected_at) };
    let group = match allowed.on(&about) {
        Ok(group) => group,
        Err(denied) if denied.code == Code::NotFound => return Ok(Ok(None)),
        Err(denied) => return Ok(Err(denied)),
    };
    let permitted: &FieldSet = allowed.fields();
    let fields: Vec<u16> = label.fields.iter().map(|field| field.number).filter(|number| permitted.contains(*number)).collect();
    if fields.is_empty() {
        return Ok(Ok(None));
    }
    let label_digest = keys::digest::sha256(&[plain.bytes()]);
    Ok(Ok(Some(Found { id, row, label, label_digest, group, fields })))
}
