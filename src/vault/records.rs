//! writeRecord (one and many), rectifyRecord and deleteRecord.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use keys::{Group, GroupSet, RecordContext};

use crate::audit::{Entry, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::{Field, FieldSet, Kind, Sensitivity};
use crate::model::ids::{RecordId, SubjectId};
use crate::model::standing::Task;
use crate::model::wire::{BatchRecord, Fields, Lifetime, RecordView, RectifyRecord, Source, WriteRecord};
use crate::policy::{Facts, RecordFacts};
use crate::store::layout::{self, Envelope, RecordHead, RecordRow, RowKey, Wrap, prefix};
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::callbacks;
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh, key_group, key_groups};
use super::erasure::sealing::{Shredding, Target};
use super::idempotency::{self, Begun, Held, Owner};
use super::lifecycle::{Opened, Vault};
use super::merge::merged;
use super::rows::{LabelField, LabelRow, pack, time, unpack};
use super::standing::amend;
use super::subjects::group_names;
use super::{children, requests, required, verified};

/// The schema number of the field catalogue's numbering; field numbers are never used again.
const SCHEMA: u32 = 1;

/// How often a write is tried again when keys changed under it.
const TRIES: usize = 4;

/// Things that may be owed to one person at a time.
const MOST_TASKS: usize = 8;

/// Fields that one record may have.
const MOST_FIELDS: usize = 128;

/// A field's value as it will be stored.
type Value = (u16, Vec<u8>);

impl Vault {
    /// writeRecord: the fields encrypted one by one under a key of the record's own, which is wrapped under every
    /// purpose group that may use it.
    pub async fn write_record(&self, call: &Call, subject: SubjectId, body: WriteRecord) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, Operation::WriteRecord)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let draft = check(core, call, subject, body).await?;
        write_one(&opened, call, &draft, held.as_ref()).await
    }

    /// `POST /records:batch`: each item stands or falls alone; what stands is one durable commit.
    pub async fn write_records(
        &self,
        call: &Call,
        items: Vec<Result<BatchRecord, Refused>>,
    ) -> Result<Vec<Result<Answer, Refused>>, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let mut drafts: Vec<Result<Item<'_>, Refused>> = Vec::with_capacity(items.len());
        for (place, item) in (0..).zip(items) {
            let begin = || idempotency::begin_item(core, &self.0.in_flight, call, Operation::WriteRecord, place);
            let begun = item.and_then(|item| Ok((begin()?, item)));
            drafts.push(match begun {
                Ok((Begun::Again(answer), _)) => Ok(Item::Again(answer)),
                Ok((Begun::First(held), item)) => {
                    check(core, call, item.subject, item.record).await.map(|draft| Item::New(Box::new(draft), Some(held)))
                }
                Ok((Begun::Plain, item)) => {
                    check(core, call, item.subject, item.record).await.map(|draft| Item::New(Box::new(draft), None))
                }
                Err(refused) => Err(refused),
            });
        }
        let new = drafts.iter().filter_map(|draft| match draft {
            Ok(Item::New(draft, _)) => Some(draft.as_ref()),
            _ => None,
        });
        open_groups(&opened, new).await?;
        let mut prepared = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            prepared.push(match draft {
                Ok(Item::Again(answer)) => Ok((None, answer.clone())),
                // Each of these may end in an erasure or change its subject's row: one after the other, below.
                Ok(Item::New(draft, _)) if draft.touches_subject() => Err(Code::Stale.into()),
                Ok(Item::New(draft, first)) => match core.person(&draft.tenant, draft.subject)? {
                    Some(person) => {
                        encrypt(core, call, draft, &person, first.as_ref()).map(|(change, answer)| (Some(change), answer))
                    }
                    None => Err(core.missing(call, Operation::WriteRecord, &draft.tenant, draft.subject)),
                },
                Err(refused) => Err(refused.clone()),
            });
        }
        let mut done = commit_each(&opened, prepared).await;
        for (draft, outcome) in drafts.iter().zip(&mut done) {
            if let (Ok(Item::New(draft, first)), Err(refused)) = (draft, &outcome)
                && refused.code == Code::Stale
            {
                *outcome = write_one(&opened, call, draft, first.as_ref()).await;
            }
        }
        Ok(done)
    }

    /// rectifyRecord: RFC 7396 over the fields; the new version takes the old one's place, for `If-Match` its only.
    pub async fn rectify_record(
        &self,
        call: &Call,
        subject: SubjectId,
        id: RecordId,
        body: RectifyRecord,
    ) -> Result<Answer, Refused> {
        let operation = Operation::RectifyRecord;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, subject)? else { return Err(core.missing(call, operation, &tenant, subject)) };
        let asked = known_numbers(&tenant, body.fields.0.keys());
        let about = person.facts(&tenant, core.clock.now());
        let facts = Facts { fields: &asked, ..core.facts_about(&tenant, call, &person, &about) };
        let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
        let invalid = |code: Code, pointer: &str| {
            let refused = core.refuse(call, operation, code, Some(person.tag));
            Refused { pointer: Some(pointer.to_owned()), ..refused }
        };
        if !verified::is_evidence(body.evidence.as_ref()) {
            return Err(invalid(Code::InvalidBody, "/evidence"));
        }
        let (gone, mut values) = changes(core, call, operation, &tenant, body.fields, Some(person.tag)).await?;
        let key = RowKey::Record(subject, id).bytes();
        let Some(bytes) = core.store.row(&key)? else {
            return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag)));
        };
        let row = whole(core, &subject, &id, &bytes)?;
        let label_key = label_context(&subject, &id);
        let label_bytes = person.keys.open_row(&label_key, &row.label)?;
        let mut label: LabelRow = unpack(label_bytes.bytes())?;
        let wraps = wraps_of(&row);
        let record = record_facts(id, &row, &label);
        let group = allowed.on(&record).map_err(|denied| core.deny(call, operation, &denied, Some(person.tag)))?;
        let Some(wanted) = &call.if_match else {
            return Err(core.refuse(call, operation, Code::IfMatchRequired, Some(person.tag)));
        };
        if *wanted != etag(row.version) {
            return Err(core.refuse(call, operation, Code::Stale, Some(person.tag)));
        }
        if let Some(code) = verified::hindrance(call, &label.fields, &asked, body.evidence.as_ref()) {
            return Err(invalid(code, "/evidence"));
        }
        let born = born(&tenant, &values);
        let shown = body.evidence.is_some() && call.caller.subject.is_none();
        if children::grows_up(&person, born, about.minor) && !shown {
            return Err(invalid(Code::EvidenceRequired, "/evidence"));
        }
        if children::found(&tenant, &person, born, core.clock.now()) {
            return children::erase(&opened, call, operation, &tenant, &person).await;
        }
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        entry.fields = asked.clone();
        entry.records = 1;
        let mut done = core.entry(call, operation, Outcome::Done)?;
        done.tag = Some(person.tag);
        done.decision = entry.decision;
        let admitted = core.admit(&allowed, entry).await?;

        // The untouched fields go from one envelope to the next; nothing of them is released.
        let permit = admitted.permit_whole(subject, key_group(group)?);
        // A destruction of other keys in between asks for another try, with the new ones.
        let again = |_| Refused { retry_after: Some(1), ..Code::Overloaded.into() };
        let record_key = person.keys.record_key(&permit, id.bytes(), &wraps).map_err(again)?;
        let old = context(core, &person, id, &row, &keys::digest::sha256(&[label_bytes.bytes()]))?;
        let kept = record_key.decrypt(&permit, &old, &row.envelope, None)?;
        for (number, value) in &mut values {
            let Some(field) = tenant.field_numbered(*number).filter(|field| field.kind == Kind::Object) else { continue };
            let before = kept.iter().find(|(known, _)| known == number).map(|(_, plain)| plain.bytes());
            *value = patched(before, value)?;
            if value.len() > field.max_bytes {
                let refused = core.refuse(call, operation, Code::FieldValueInvalid, Some(person.tag));
                return Err(Refused { pointer: Some(format!("/fields/{}", field.name)), ..refused });
            }
        }

        let mut fields: Vec<(u16, &[u8])> = kept
            .iter()
            .filter(|(number, _)| !gone.contains(number) && !values.iter().any(|(new, _)| new == number))
            .map(|(number, plain)| (*number, plain.bytes()))
            .chain(values.iter().map(|(number, value)| (*number, value.as_slice())))
            .collect();
        fields.sort_by_key(|(number, _)| *number);
        if fields.is_empty() {
            let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
            return Err(Refused { pointer: Some("/fields".into()), ..refused });
        }
        let now = core.clock.now();
        let marks = verified::marks(&tenant, call, &body.verified_at, |number| fields.iter().any(|(own, _)| *own == number), now);
        let marks = marks.map_err(|code| invalid(code, "/verified_at"))?;
        let mut new = label_fields(&tenant, fields.iter().map(|(number, _)| *number));
        verified::own(call, &mut new, now);
        verified::carry(&label.fields, &mut new, &asked, body.evidence.as_ref(), now);
        verified::mark(&mut new, &marks);
        label.fields = new;
        let label_plain = pack(&label)?;
        let mut next = RecordRow {
            version: row.version + 1,
            updated_at: core.clock.now().as_microsecond(),
            label: person.keys.seal_row(&label_key, &label_plain)?,
            envelope: Vec::new(),
            ..row.clone()
        };
        let new = context(core, &person, id, &next, &keys::digest::sha256(&[&label_plain]))?;
        next.envelope = record_key.encrypt(&new, &fields)?;

        let answer = Answer {
            decision: Some(done.decision),
            etag: Some(etag(next.version)),
            body: Some(view(&tenant, id, &label, &next, Vec::new())?),
            ..Answer::default()
        };
        let mut change = Change { entries: vec![done], ..Change::default() };
        change.guard(&person);
        if let Some(request) = body.request
            && !requests::corrected(core, &tenant, &person, request, id, &mut change)?
        {
            return Err(invalid(Code::InvalidBody, "/request"));
        }
        if born.is_some_and(|born| person.row.birth_date() != Some(born)) {
            amend(core, &person, &mut change, |row| {
                row.birth_date = born.map(|born| born.to_string());
                Ok(())
            })?;
        }
        for key in layout::keys_of(&subject, &id, &bytes)?.into_iter().skip(1) {
            change.rows.push(RowChange { key, expect: Expect::Any, value: None });
        }
        let mut rows = layout::split(&subject, &id, &next)?.into_iter();
        if let Some((key, value)) = rows.next() {
            change.rows.push(RowChange { key, expect: Expect::Is(bytes), value: Some(value) });
        }
        change.rows.extend(rows.map(|(key, value)| RowChange { key, expect: Expect::Fresh, value: Some(value) }));
        let changed: FieldSet = asked.iter().copied().collect();
        let told = callbacks::changes(core, &tenant, &person, callbacks::Event::Update, |row| callbacks::among(row, &changed));
        change.rows.extend(told?);
        opened.committer.commit(change).await?;
        Ok(answer)
    }

    /// deleteRecord: destroys one record's key, by giving its groups new keys and taking the subject's other records
    /// along.
    pub async fn delete_record(&self, call: &Call, subject: SubjectId, id: RecordId) -> Result<Answer, Refused> {
        let operation = Operation::DeleteRecord;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, subject)? else { return Err(core.missing(call, operation, &tenant, subject)) };
        let value = core.store.row(&RowKey::Record(subject, id).bytes())?;
        let row = value.as_deref().map(|value| whole(core, &subject, &id, value)).transpose()?;
        // ○ in the matrix: a writer deletes what it wrote itself, and a person what is theirs, whoever wrote it.
        let about = person.facts(&tenant, core.clock.now());
        let facts = core.facts_about(&tenant, call, &person, &about);
        let wrote = match &row {
            Some(row) if call.caller.subject.is_none() => {
                let plain = person.keys.open_row(&label_context(&subject, &id), &row.label)?;
                unpack::<LabelRow>(plain.bytes())?.writer == *call.caller.id.bytes()
            }
            _ => false,
        };
        core.decide(call, operation, &Facts { own: facts.own || wrote, ..facts }, Some(person.tag))?;
        if person.row.standing.is_held(id.bytes()) {
            return Err(core.refuse(call, operation, Code::Held, Some(person.tag)));
        }
        let Some(row) = row else { return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag))) };
        if call.if_match.as_ref().is_some_and(|wanted| *wanted != etag(row.version)) {
            return Err(core.refuse(call, operation, Code::Stale, Some(person.tag)));
        }
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        entry.records = 1;
        let decision = entry.decision;
        let (shredding, sealed) =
            Shredding::new(entry, Target::Records { subject: *subject.bytes(), records: vec![*id.bytes()] }, None);
        opened.committer.shred(shredding)?;
        sealed.await.map_err(|_| Refused::from(Code::Sealed))??;
        Ok(Answer { decision: Some(decision), ..Answer::default() })
    }
}

/// An item of a batch: answered before, or a write with the hold on its Idempotency-Key.
enum Item<'a> {
    Again(Answer),
    New(Box<Draft>, Option<Held<'a>>),
}

/// A write that passed every check, not yet encrypted.
struct Draft {
    tenant: Arc<Tenant>,
    subject: SubjectId,
    fields: FieldSet,
    groups: GroupSet,
    label: LabelRow,
    values: Vec<Value>,
    /// The birth date among the values.
    born: Option<Date>,
    /// Whether it shows a child without a guardian's consent.
    finds_child: bool,
    /// What is owed to the person because a third party gave it.
    task: Option<Task>,
    /// Purposes that cannot be served for want of a field.
    unavailable: Vec<String>,
}

impl Draft {
    fn touches_subject(&self) -> bool {
        self.finds_child || self.born.is_some() || self.task.is_some()
    }
}

/// Writes what was checked; again while keys or the subject's row change under it.
async fn write_one(opened: &Opened, call: &Call, draft: &Draft, held: Option<&Held<'_>>) -> Result<Answer, Refused> {
    let core = &opened.core;
    let operation = Operation::WriteRecord;
    for _ in 0..TRIES {
        let Some(person) = ready(opened, draft).await? else {
            return Err(core.missing(call, operation, &draft.tenant, draft.subject));
        };
        if draft.finds_child {
            return children::erase(opened, call, operation, &draft.tenant, &person).await;
        }
        let (change, answer) = encrypt(core, call, draft, &person, held)?;
        match opened.committer.commit(change).await {
            Ok(()) => return Ok(answer),
            Err(refused) if refused.code == Code::Stale => continue,
            Err(refused) => return Err(refused),
        }
    }
    Err(Code::Overloaded.into())
}

async fn check(core: &Core, call: &Call, subject: SubjectId, body: WriteRecord) -> Result<Draft, Refused> {
    let operation = Operation::WriteRecord;
    let tenant = core.tenant(&call.caller)?;
    let Some(person) = core.person(&tenant, subject)? else { return Err(core.missing(call, operation, &tenant, subject)) };
    let invalid = |code: Code, pointer: String| {
        let refused = core.refuse(call, operation, code, Some(person.tag));
        Refused { pointer: Some(pointer), ..refused }
    };
    // The decision comes before any other answer: who may not write learns nothing, not even that the body is wrong.
    let numbers = known_numbers(&tenant, body.fields.0.keys());
    let about = person.facts(&tenant, core.clock.now());
    let facts = Facts { fields: &numbers, ..core.facts_about(&tenant, call, &person, &about) };
    let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
    let (fields, own_group) = (*allowed.fields(), allowed.group());
    // Nothing is collected from somebody who was never shown a policy (p02); only published ones are recorded as shown.
    if person.row.standing.notices.is_empty() {
        return Err(core.refuse(call, operation, Code::NoticeRequired, Some(person.tag)));
    }
    if body.fields.0.is_empty() || body.fields.0.len() > MOST_FIELDS {
        return Err(invalid(Code::InvalidBody, "/fields".into()));
    }
    if numbers.len() != body.fields.0.len() {
        return Err(invalid(Code::FieldNotInCatalogue, "/fields".into()));
    }
    if !is_word(&body.kind) {
        return Err(invalid(Code::InvalidBody, "/kind".into()));
    }
    let mut groups = match own_group {
        Some(group) => GroupSet::EMPTY.with(key_group(group)?),
        None => GroupSet::EMPTY,
    };
    let mut purposes = body.purposes;
    if let Some(own) = call.purpose.as_ref().filter(|own| !purposes.contains(own)) {
        purposes.push(own.clone());
    }
    for (place, name) in purposes.iter().enumerate() {
        let Some(purpose) = tenant.purpose(name) else {
            return Err(invalid(Code::PurposeNotPublished, format!("/purposes/{place}")));
        };
        if !call.caller.purposes.contains(name) {
            return Err(invalid(Code::PurposeNotGranted, format!("/purposes/{place}")));
        }
        if purpose.aggregate_only {
            return Err(invalid(Code::AggregateOnly, format!("/purposes/{place}")));
        }
        if !purpose.classes.contains(&person.row.class) {
            return Err(invalid(Code::SubjectClassMismatch, format!("/purposes/{place}")));
        }
        if let Some(group) = purpose.group {
            groups = groups.with(key_group(group)?);
        }
    }
    let source = body.source.unwrap_or(Source { r#type: "data-subject".into(), party: None, basis: None });
    let third_party = match source.r#type.as_str() {
        "data-subject" | "interaction" => false,
        "third-party" | "public" => true,
        _ => return Err(invalid(Code::InvalidBody, "/source/type".into())),
    };
    if third_party && (source.party.is_none() || source.basis.is_none()) {
        return Err(invalid(Code::ProvenanceRequired, "/source".into()));
    }
    for (name, word) in [("party", &source.party), ("basis", &source.basis)] {
        if word.as_ref().is_some_and(|word| !is_term(word)) {
            return Err(invalid(Code::InvalidBody, format!("/source/{name}")));
        }
    }
    let now = core.clock.now();
    let mut unavailable = required::unavailable(core, &tenant, &person, &purposes, &numbers)?;
    if let Some(own) = unavailable.iter().find(|purpose| call.purpose.as_ref() == Some(*purpose)) {
        let refused = invalid(Code::FieldRequired, "/fields".into());
        return Err(Refused { purpose: Some(own.as_str().into()), ..refused });
    }
    unavailable.sort();
    let collected_at = body.collected_at.unwrap_or(now);
    if collected_at > now.checked_add(jiff::SignedDuration::from_mins(5)).unwrap_or(now) {
        return Err(invalid(Code::InvalidBody, "/collected_at".into()));
    }
    let (gone, values) = changes(core, call, operation, &tenant, body.fields, Some(person.tag)).await?;
    if !gone.is_empty() {
        return Err(invalid(Code::FieldValueInvalid, "/fields".into()));
    }
    let marks = verified::marks(&tenant, call, &body.verified_at, |number| numbers.contains(&number), now);
    let marks = marks.map_err(|code| invalid(code, "/verified_at".into()))?;
    let mut label_fields = label_fields(&tenant, values.iter().map(|(number, _)| *number));
    verified::own(call, &mut label_fields, now);
    verified::mark(&mut label_fields, &marks);
    let owed = third_party.then(|| source.party.clone()).flatten();
    let task = owed.map(|party| notice_task(party, now));
    let born = born(&tenant, &values);
    if children::grows_up(&person, born, about.minor) {
        return Err(invalid(Code::EvidenceRequired, "/fields".into()));
    }
    let finds_child = children::found(&tenant, &person, born, now);
    let label = LabelRow {
        kind: body.kind,
        purposes,
        source_type: source.r#type,
        source_party: source.party,
        collected_at: collected_at.as_microsecond(),
        region: person.row.region.clone(),
        policy_version: tenant.version().to_owned(),
        fields: label_fields,
        writer: *call.caller.id.bytes(),
        system: call.caller.source.clone(),
        session: body.lifetime == Lifetime::Session,
        source_basis: source.basis,
    };
    if groups.is_empty() {
        return Err(invalid(Code::CategoryNotPermitted, "/purposes".into()));
    }
    let born = born.filter(|born| person.row.birth_date() != Some(*born));
    let known = |task: &Task| person.row.standing.tasks.iter().any(|own| own.kind == task.kind && own.party == task.party);
    let task = task.filter(|task| !known(task));
    Ok(Draft { tenant, subject, fields, groups, label, values, born, finds_child, task, unavailable })
}

/// What a third party gave is told to the person within a month (GDPR Art. 14(3)(a)), counted by the calendar in UTC.
fn notice_task(party: String, now: Timestamp) -> Task {
    let due = now.to_zoned_datetime(jiff::tz::TimeZone::UTC).checked_add(jiff::Span::new().months(1));
    let due_at = due.map_or(now, |due| due.timestamp()).as_microsecond();
    Task { kind: "art14-notice".into(), party, at: now.as_microsecond(), due_at, alarmed: false }
}

/// The birth date among some values.
fn born(tenant: &Tenant, values: &[Value]) -> Option<Date> {
    let (_, json) = values.iter().find(|(number, _)| tenant.field_numbered(*number).is_some_and(is_birth_date))?;
    serde_json::from_slice::<String>(json).ok()?.parse().ok()
}

fn is_birth_date(field: &Field) -> bool {
    field.kind == Kind::Date && field.category == "pd:BirthDate"
}

/// The numbers of those names that the catalogue has.
pub(crate) fn known_numbers<'a>(tenant: &Tenant, names: impl Iterator<Item = &'a String>) -> Vec<u16> {
    names.filter_map(|name| tenant.field(name).ok()).map(|field| field.number).collect()
}

/// Checks each value by its field's type; gives the numbers that are null, and the others as they will be stored.
async fn changes(
    core: &Core,
    call: &Call,
    operation: Operation,
    tenant: &Tenant,
    fields: Fields,
    tag: Option<[u8; 16]>,
) -> Result<(Vec<u16>, Vec<Value>), Refused> {
    let (mut gone, mut values) = (Vec::new(), Vec::with_capacity(fields.0.len()));
    for (name, value) in fields.0 {
        let Ok(field) = tenant.field(&name) else {
            let refused = core.refuse(call, operation, Code::FieldNotInCatalogue, tag);
            return Err(Refused { pointer: Some("/fields".into()), ..refused });
        };
        if value.get() == "null" {
            gone.push(field.number);
            continue;
        }
        if let Err(code) = field.check(&value) {
            let refused = core.refuse(call, operation, code, tag);
            return Err(Refused { pointer: Some(format!("/fields/{}", field.name)), ..refused });
        }
        values.push((field.number, stored(core, field, &value).await?));
    }
    values.sort_by_key(|(number, _)| *number);
    Ok((gone, values))
}

/// An object's new text: the patch reaches into its members.
fn patched(before: Option<&[u8]>, patch: &[u8]) -> Result<Vec<u8>, Refused> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Code::Internal);
    let merged = merged(before.map(text).transpose()?, text(patch)?).map_err(|_| Code::Internal)?;
    Ok(merged.into_bytes())
}

/// A value as it is stored: its JSON text; for a secret, a verifier and nothing else.
async fn stored(core: &Core, field: &Field, value: &serde_json::value::RawValue) -> Result<Vec<u8>, Refused> {
    if field.kind != Kind::Secret {
        return Ok(value.get().as_bytes().to_vec());
    }
    let secret: String = serde_json::from_str(value.get()).map_err(|_| Code::FieldValueInvalid)?;
    let secret = keys::secret::SecretString::from(secret);
    // Each takes 19 MiB while it runs: no more at once than there are processors.
    let _turn = core.passwords.acquire().await.map_err(|_| Refused::from(Code::Sealed))?;
    tokio::task::spawn_blocking(move || {
        use keys::secret::ExposeSecret;
        keys::secret::password_verifier(secret.expose_secret().as_bytes())
    })
    .await
    .map_err(|_| Refused::from(Code::Internal))?
    .map_err(Refused::from)
}

fn label_fields(tenant: &Tenant, numbers: impl Iterator<Item = u16>) -> Vec<LabelField> {
    numbers
        .filter_map(|number| tenant.field_numbered(number))
        .map(|field| LabelField {
            number: field.number,
            category: field.category.clone(),
            high: field.sensitivity == Sensitivity::High,
            verified_at: None,
            evidence: None,
            corrected_at: None,
            own_at: None,
        })
        .collect()
}

/// The subject with a key for every group of the draft, made now where there is none yet.
async fn ready(opened: &Opened, draft: &Draft) -> Result<Option<Arc<Person>>, Refused> {
    open_groups(opened, std::iter::once(draft)).await?;
    opened.core.person(&draft.tenant, draft.subject)
}

async fn open_groups(opened: &Opened, drafts: impl Iterator<Item = &Draft>) -> Result<(), Refused> {
    let core = &opened.core;
    let mut wanted: std::collections::BTreeMap<keys::Id, GroupSet> = std::collections::BTreeMap::new();
    for draft in drafts {
        if let Some(person) = core.person(&draft.tenant, draft.subject)? {
            let missing = draft.groups.without(person.keys.groups());
            if !missing.is_empty() {
                let set = wanted.entry(*draft.subject.bytes()).or_insert(GroupSet::EMPTY);
                *set = set.union(missing);
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut changes = Vec::with_capacity(wanted.len());
    for (subject, groups) in wanted {
        changes.push(Change {
            entries: vec![core.event("openGroups", Outcome::Done, crate::audit::Note::None)?],
            touched: vec![subject],
            groups: vec![(subject, groups)],
            ..Change::default()
        });
    }
    // A subject that was erased meanwhile is refused alone; its writes find out by themselves.
    for outcome in opened.committer.commit_many(changes).await {
        match outcome {
            Err(refused) if refused.code != Code::Erased => return Err(refused),
            _ => {}
        }
    }
    Ok(())
}

fn encrypt(
    core: &Core,
    call: &Call,
    draft: &Draft,
    person: &Person,
    held: Option<&Held<'_>>,
) -> Result<(Change, Answer), Refused> {
    if !draft.groups.without(person.keys.groups()).is_empty() {
        return Err(Code::Stale.into());
    }
    let id = RecordId::from_bytes(fresh()?);
    // What is written while everything is held for a case is held too.
    let held_whole = person.row.standing.holds().any(|hold| hold.records.is_empty());
    let hold = if held_whole && person.keys.groups().contains(Group::HOLD) {
        GroupSet::EMPTY.with(Group::HOLD)
    } else {
        GroupSet::EMPTY
    };
    let (record_key, wraps) = person.keys.new_record_key(id.bytes(), draft.groups.union(hold))?;
    let label = pack(&draft.label)?;
    let label_key = label_context(&person.id, &id);
    let mut row = RecordRow {
        version: 1,
        schema: SCHEMA,
        groups: draft.groups.bits(),
        updated_at: core.clock.now().as_microsecond(),
        wraps: wraps_from(wraps)?,
        label: person.keys.seal_row(&label_key, &label)?,
        envelope: Vec::new(),
    };
    let context = context(core, person, id, &row, &keys::digest::sha256(&[&label]))?;
    let fields: Vec<(u16, &[u8])> = draft.values.iter().map(|(number, value)| (*number, value.as_slice())).collect();
    row.envelope = record_key.encrypt(&context, &fields)?;

    let mut entry = core.entry(call, Operation::WriteRecord, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    entry.records = 1;
    entry.fields = draft.fields.iter().collect();
    let answer = Answer {
        decision: Some(entry.decision),
        made: true,
        etag: Some(etag(1)),
        body: Some(view(&draft.tenant, id, &draft.label, &row, draft.unavailable.clone())?),
        location: Some(format!("/v1/subjects/{}/records/{id}", person.id)),
        ..Answer::default()
    };
    let mut change = Change { entries: vec![entry], ..Change::default() };
    change.guard(person);
    for (key, value) in layout::split(&person.id, &id, &row)? {
        change.rows.push(RowChange { key, expect: Expect::Fresh, value: Some(value) });
    }
    if draft.touches_subject() {
        amend(core, person, &mut change, |row| {
            if let Some(born) = draft.born {
                row.birth_date = Some(born.to_string());
            }
            let tasks = &mut row.standing.tasks;
            let new = draft.task.iter().filter(|task| !tasks.iter().any(|own| own.kind == task.kind && own.party == task.party));
            let new: Vec<Task> = new.cloned().collect();
            if tasks.len() + new.len() > MOST_TASKS {
                return Err(Code::StateConflict.into());
            }
            tasks.extend(new);
            Ok(())
        })?;
    }
    if let Some(held) = held {
        change.rows.push(held.keep(core, &Owner::Subject(person.id.bytes(), &person.keys), &answer)?);
    }
    Ok((change, answer))
}

/// Commits what was prepared as one batch and answers each in its place.
pub(crate) async fn commit_each(
    opened: &Opened,
    prepared: Vec<Result<(Option<Change>, Answer), Refused>>,
) -> Vec<Result<Answer, Refused>> {
    let mut changes = Vec::new();
    let mut results: Vec<Result<Answer, Refused>> = Vec::with_capacity(prepared.len());
    let mut places = Vec::new();
    for (place, item) in prepared.into_iter().enumerate() {
        results.push(item.map(|(change, answer)| {
            if let Some(change) = change {
                changes.push(change);
                places.push(place);
            }
            answer
        }));
    }
    for (place, done) in places.into_iter().zip(opened.committer.commit_many(changes).await) {
        if let Err(refused) = done {
            results[place] = Err(refused);
        }
    }
    results
}

/// What every field of this version of a record is bound to.
pub(crate) fn context(
    core: &Core,
    person: &Person,
    id: RecordId,
    row: &RecordRow,
    label: &[u8; 32],
) -> Result<RecordContext, Refused> {
    Ok(RecordContext {
        vault: core.vault,
        tenant: person.row.tenant,
        subject: *person.id.bytes(),
        groups: GroupSet::from_bits(row.groups).ok_or(Code::StoreUnavailable)?,
        record: *id.bytes(),
        version: row.version,
        schema: row.schema,
        label: *label,
    })
}

/// The record key's wraps, as the keys take them.
pub(crate) fn wraps_of(row: &RecordRow) -> Vec<(Group, Vec<u8>)> {
    row.wraps.iter().filter_map(|wrap| Some((Group::new(wrap.group)?, wrap.bytes.to_vec()))).collect()
}

/// The same, as rows have them.
pub(crate) fn wraps_from(wraps: Vec<(Group, Vec<u8>)>) -> Result<Vec<Wrap>, Refused> {
    let wrap = |(group, bytes): (Group, Vec<u8>)| Some(Wrap { group: group.number(), bytes: bytes.try_into().ok()? });
    wraps.into_iter().map(wrap).collect::<Option<_>>().ok_or(Code::Internal.into())
}

/// The groups that still have a wrap of the record's key.
pub(crate) fn wrapped(row: &RecordRow) -> crate::model::purpose::GroupSet {
    row.wraps.iter().filter_map(|wrap| crate::model::purpose::Group::numbered(wrap.group)).collect()
}

/// What a record's label is bound to beside its subject's tag key.
pub(crate) fn label_context(subject: &SubjectId, record: &RecordId) -> Vec<u8> {
    [b"label".as_slice(), subject.bytes(), record.bytes()].concat()
}

/// A record with its whole envelope, from its own row and its overflow rows.
pub(crate) fn whole(core: &Core, subject: &SubjectId, record: &RecordId, value: &[u8]) -> Result<RecordRow, Refused> {
    let head = RecordHead::parse(value)?;
    let pieces = match head.envelope {
        Envelope::Inline(_) => Vec::new(),
        Envelope::Chunks(chunks) => {
            let pieces = prefix::overflow_version(subject, record, head.version);
            core.store.scan(&pieces, None, usize::from(chunks))?
        }
    };
    layout::join(subject, record, value, &pieces).map_err(Refused::from)
}

/// What the guards need to know of a record.
pub(crate) fn record_facts<'a>(id: RecordId, row: &RecordRow, label: &'a LabelRow) -> RecordFacts<'a> {
    RecordFacts {
        purposes: &label.purposes,
        groups: wrapped(row).without_hold(),
        collected_at: time(label.collected_at),
        fields: label.fields.iter().map(|field| field.number).collect(),
        id: Some(id),
        source: label.system.as_deref(),
        session: label.session,
    }
}

/// A record's version for `If-Match`: a number, never a digest of what it holds.
pub(crate) fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

fn view(tenant: &Tenant, id: RecordId, label: &LabelRow, row: &RecordRow, unavailable: Vec<String>) -> Result<Vec<u8>, Refused> {
    let groups = group_names(tenant, key_groups(wrapped(row)));
    let (kind, policy_version) = (label.kind.clone(), label.policy_version.clone());
    let view = RecordView { id, kind, version: row.version, groups, policy_version, unavailable };
    serde_json::to_vec(&view).map_err(|_| Code::Internal.into())
}

/// A word that may stand in a label: up to 64 letters, digits, dots, dashes and underscores.
pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A term of a vocabulary, or a word: `eu-gdpr:A6-1-f`.
fn is_term(text: &str) -> bool {
    is_word(&text.replace(':', "-"))
}

impl Change {
    /// Ties the change to the keys that it was made with: a destruction in between refuses it as stale.
    pub(crate) fn guard(&mut self, person: &Person) {
        self.bound.push((*person.id.bytes(), person.as_of));
    }

    /// A change with one entry.
    pub(crate) fn noting(entry: Entry) -> Self {
        Self { entries: vec![entry], ..Self::default() }
    }
}
