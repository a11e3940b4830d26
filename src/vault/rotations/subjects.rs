//! New keys for people's records: for when somebody may have seen keys of subjects or records.
//!
//! Of each person: every record gets a new key and is encrypted anew, as the same version; then one epoch transition gives every purpose
//! group a new key, moves the wraps of the record keys under them, and destroys the old group keys. So neither an old group key nor an old
//! record key opens anything that is there afterwards, and the old rows open to nothing that lives. The tag key stays
//! (docs/adr/0042-rotations-run-in-the-background.md).
//!
//! A person's records may be many: the first part is cut into pieces of about so many bytes, the second is one batch a step, for several people.

use std::collections::HashMap;

use keys::{Group, GroupSet, Id, Shred, Transition};

use crate::audit::{Entry, Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::{RecordId, SubjectId};
use crate::store::layout::{self, RecordHead, RecordRow, RowKey, Wrap, prefix};

use super::super::call::Refused;
use super::super::committer::{Draft, settle};
use super::super::core::{Core, Person};
use super::super::records::{context, label_context, whole, wraps_from, wraps_of};
use super::Stepped;
use super::job::Job;
use super::turn::turn_over;

/// Bytes of envelopes that one batch encrypts anew, about.
const BYTES: usize = 2 << 20;

/// People and records looked at in one scan.
const PAGE: usize = 64;

/// Where a step begins: after a person, or within one after a record.
struct Cursor {
    person: Option<SubjectId>,
    record: Option<(SubjectId, RecordId)>,
}

impl Cursor {
    fn parse(bytes: Option<&[u8]>) -> Result<Self, Refused> {
        let id = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map_err(|_| Refused::from(Code::Internal));
        Ok(match bytes {
            None => Self { person: None, record: None },
            Some(bytes) if bytes.len() == 16 => Self { person: Some(SubjectId::from_bytes(id(bytes)?)), record: None },
            Some(bytes) => {
                let (subject, record) = bytes.split_at_checked(16).ok_or(Code::Internal)?;
                let subject = SubjectId::from_bytes(id(subject)?);
                Self { person: None, record: Some((subject, RecordId::from_bytes(id(record)?))) }
            }
        })
    }
}

pub(super) fn step(core: &Core, job: &Job, cursor: Option<&[u8]>, budget: usize) -> Result<Stepped, Refused> {
    let cursor = Cursor::parse(cursor)?;
    let mut encrypting = Encrypting::new(core, budget)?;
    let mut ready = Vec::new();
    let mut failed = 0;
    let mut next = None;
    let mut after = cursor.record;
    for id in people(core, job, &cursor)? {
        let from = after.take().filter(|(subject, _)| *subject == id).map(|(_, record)| record);
        next = job.subject().is_none().then(|| id.bytes().to_vec());
        let outcome = match core.look_at(id) {
            Ok(Some(person)) => encrypting.person(&person, from).map(|reached| (person, reached)),
            // Erased since it was listed.
            Ok(None) => continue,
            Err(refused) => Err(refused),
        };
        match outcome {
            Ok((person, None)) => ready.push(person),
            Ok((_, Some(record))) => {
                next = Some([id.bytes().as_slice(), record.bytes()].concat());
                break;
            }
            // What does not open must not keep everybody else's old keys alive.
            Err(refused) if matches!(refused.code, Code::Internal | Code::StoreUnavailable | Code::KeyDestroyed) => {
                failed += 1;
                core.signs.damaged();
                tracing::error!(code = refused.code.text(), "a person's records could not be given new keys");
            }
            Err(refused) => return Err(refused),
        }
        if encrypting.is_full() {
            break;
        }
    }
    encrypting.keep()?;
    let done = ready.len() as u64;
    renew_groups(core, ready)?;
    let permille = next.as_ref().map_or(1_000, |cursor| (u32::from(cursor[0]) * 1_000 / 256) as u16);
    Ok(Stepped { cursor: next, done, permille, failed })
}

/// The next people: those of the job, of whom there may be one.
fn people(core: &Core, job: &Job, cursor: &Cursor) -> Result<Vec<SubjectId>, Refused> {
    if let Some(subject) = job.subject() {
        return Ok(if cursor.person.is_some() { Vec::new() } else { vec![subject] });
    }
    let first = cursor.record.map(|(subject, _)| subject);
    let after = first.or(cursor.person).map(|subject| RowKey::Subject(subject).bytes());
    let page = core.store.scan(b"s", after.as_deref(), PAGE)?;
    let rest = page.iter().filter_map(|(key, _)| match RowKey::parse(key) {
        Some(RowKey::Subject(id)) => Some(id),
        _ => None,
    });
    Ok(first.into_iter().chain(rest).collect())
}

/// The first part: records under new keys, in one batch.
struct Encrypting<'a> {
    core: &'a Core,
    draft: Draft<'a>,
    entry: Entry,
    touched: Vec<Id>,
    rows: usize,
    bytes: usize,
    budget: usize,
}

impl<'a> Encrypting<'a> {
    fn new(core: &'a Core, budget: usize) -> Result<Self, Refused> {
        let entry = core.event("rotationStep", Outcome::Done, Note::None)?;
        Ok(Self { core, draft: Draft::new(core), entry, touched: Vec::new(), rows: 0, bytes: 0, budget })
    }

    fn is_full(&self) -> bool {
        self.rows >= self.budget || self.bytes >= BYTES
    }

    /// A person's records after `from`; the last one that was taken, where there may be more.
    fn person(&mut self, person: &Person, from: Option<RecordId>) -> Result<Option<RecordId>, Refused> {
        self.touched.push(*person.id.bytes());
        let mut after = from.map(|record| RowKey::Record(person.id, record).bytes());
        loop {
            let page = self.core.store.scan(&prefix::records(&person.id), after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            after = Some(last.clone());
            for (key, value) in page {
                let Some(RowKey::Record(_, record)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
                self.record(person, record, &value)?;
                if self.is_full() {
                    return Ok(Some(record));
                }
            }
        }
    }

    fn record(&mut self, person: &Person, id: RecordId, value: &[u8]) -> Result<(), Refused> {
        let row = whole(self.core, &person.id, &id, value)?;
        let wraps = wraps_of(&row);
        if wraps.iter().all(|(group, _)| !person.keys.groups().contains(*group)) {
            return Ok(());
        }
        let label = person.keys.open_row(&label_context(&person.id, &id), &row.label)?;
        let bound = context(self.core, person, id, &row, &keys::digest::sha256(&[label.bytes()]))?;
        let (envelope, wraps) = person.keys.renew_record(&bound, &wraps, &row.envelope)?;
        let new = RecordRow { envelope, wraps: wraps_from(wraps)?, ..row };
        for (key, value) in layout::split(&person.id, &id, &new)? {
            self.rows += 1;
            self.bytes += value.len();
            self.draft.note(&mut self.entry, key, false, Some(value))?;
        }
        Ok(())
    }

    fn keep(mut self) -> Result<(), Refused> {
        if !self.draft.batch.is_empty() {
            settle(self.core, &mut self.draft, vec![self.entry])?;
            self.core.people.forget(&[], &self.touched);
        }
        Ok(())
    }
}

/// The second part: new group keys, and the death of the old ones.
fn renew_groups(core: &Core, people: Vec<Person>) -> Result<(), Refused> {
    let people: HashMap<Id, GroupSet> = people.iter().map(|person| (*person.id.bytes(), person.keys.groups())).collect();
    let shreds: Vec<Shred> = people.iter().map(|(id, groups)| Shred::Renew(*id, *groups)).collect();
    if shreds.is_empty() {
        return Ok(());
    }
    let event = core.event("rotationStep", Outcome::Done, Note::None)?;
    turn_over(
        core,
        |core| core.hierarchy.begin(&core.rows(), &shreds),
        event,
        |transition, draft, entry| {
            people.keys().try_for_each(|id| move_wraps(core, transition, SubjectId::from_bytes(*id), draft, entry))
        },
    )?;
    let subjects: Vec<Id> = people.into_keys().collect();
    // After finishing, so that nobody loads the old keys once more and takes them for the new ones.
    core.people.destroyed(&subjects);
    Ok(())
}

fn move_wraps(
    core: &Core,
    transition: &Transition,
    id: SubjectId,
    draft: &mut Draft<'_>,
    entry: &mut Entry,
) -> Result<(), Refused> {
    let Some(living) = transition.keys_after(id.bytes()).map(|keys| keys.groups()) else { return Ok(()) };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(&prefix::records(&id), after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, value) in page {
            let Some(RowKey::Record(_, record)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
            let mut moved = RecordHead::parse(&value)?.wraps;
            for wrap in &mut moved {
                *wrap = move_wrap(transition, &id, &record, &living, *wrap)?;
            }
            draft.note(entry, key, false, Some(layout::with_wraps(&value, &moved)?))?;
        }
    }
}

fn move_wrap(transition: &Transition, id: &SubjectId, record: &RecordId, living: &GroupSet, wrap: Wrap) -> Result<Wrap, Refused> {
    let Some(group) = Group::new(wrap.group).filter(|group| living.contains(*group)) else { return Ok(wrap) };
    let bytes = transition.rewrap(id.bytes(), record.bytes(), group, &wrap.bytes)?;
    Ok(Wrap { bytes: bytes.try_into().map_err(|_| Code::Internal)?, ..wrap })
}
