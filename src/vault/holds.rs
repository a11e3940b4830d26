//! Legal holds (p55): a held record's key is wrapped once more, under a key of the subject that no purpose opens. So an erasure
//! can destroy every other key of the subject at once, and what is held goes when the last hold on it is lifted.

use keys::{Group, GroupSet};

use crate::audit::{Entry, Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::{ErasureId, RecordId};
use crate::model::standing::Restriction;
use crate::store::layout::{self, RowKey, Wrap, prefix};

use super::call::Refused;
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person};
use super::erasure;
use super::erasure::sealing::{Job, Shredding, Target};
use super::lifecycle::Opened;
use super::records::{whole, wraps_of};

/// Sees to it that the subject has a key for holds.
pub(crate) async fn ready(opened: &Opened, person: &Person) -> Result<(), Refused> {
    if person.keys.groups().contains(Group::HOLD) {
        return Ok(());
    }
    let core = &opened.core;
    let change = Change {
        entries: vec![core.event("openGroups", Outcome::Done, Note::None)?],
        touched: vec![*person.id.bytes()],
        groups: vec![(*person.id.bytes(), GroupSet::EMPTY.with(Group::HOLD))],
        ..Change::default()
    };
    opened.committer.commit(change).await
}

/// The change that wraps what a hold is about under the key of holds.
pub(crate) fn hold(core: &Core, person: &Person, hold: &Restriction) -> Result<Change, Refused> {
    if !person.keys.groups().contains(Group::HOLD) {
        return Err(Code::Stale.into());
    }
    let mut change = Change::default();
    change.guard(person);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(&prefix::records(&person.id), after.as_deref(), 200)?;
        let Some((last, _)) = page.last() else { return Ok(change) };
        after = Some(last.clone());
        for (key, value) in page {
            let Some(RowKey::Record(_, record)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
            let named = hold.records.is_empty() || hold.records.iter().any(|held| held.record == *record.bytes());
            if named {
                change.rows.extend(wrapped_for_hold(core, person, &record, value)?);
            }
        }
    }
}

/// The rows of a record with a wrap under the key of holds; none where it has one, or where no key opens the record any more.
fn wrapped_for_hold(core: &Core, person: &Person, record: &RecordId, value: Vec<u8>) -> Result<Vec<RowChange>, Refused> {
    let mut row = whole(core, &person.id, record, &value)?;
    if row.wraps.iter().any(|wrap| wrap.group == Group::HOLD.number()) {
        return Ok(Vec::new());
    }
    let wrap = match person.keys.hold(record.bytes(), &wraps_of(&row)) {
        Ok(wrap) => wrap,
        Err(keys::KeysError::Destroyed) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    // The highest number stands last.
    row.wraps.push(Wrap { group: Group::HOLD.number(), bytes: wrap.try_into().map_err(|_| Code::Internal)? });
    let mut rows = layout::split(&person.id, record, &row)?.into_iter();
    let head = rows.next().map(|(key, new)| RowChange { key, expect: Expect::Is(value), value: Some(new) });
    Ok(head.into_iter().chain(rows.map(|(key, new)| RowChange { key, expect: Expect::Any, value: Some(new) })).collect())
}

/// Ends a hold: what nothing else keeps is destroyed in the same act, and an erasure that waited for it is finished. Answers with
/// that erasure.
pub(crate) async fn release(
    opened: &Opened,
    person: &Person,
    hold: &Restriction,
    entry: Entry,
    lifted: RowChange,
) -> Result<Option<ErasureId>, Refused> {
    let core = &opened.core;
    let standing = &person.row.standing;
    let last = !standing.holds().any(|other| other.id != hold.id);
    let waiting = standing.waiting_erasure.map(ErasureId::from_bytes).filter(|_| last);
    let job = match waiting {
        None => None,
        Some(id) => {
            let (stored, row) = erasure::load(core, id)?.ok_or(Code::Internal)?;
            let approver = row.approver.unwrap_or(row.opener);
            Some(Job { id, stored: Some(stored), approver, claim_sha256: row.claim_sha256, row })
        }
    };
    let subject = *person.id.bytes();
    let target = Target::Release { subject, hold: hold.id, lifted: (lifted.key, lifted.value.unwrap_or_default()) };
    let (shredding, sealed) = Shredding::new(entry, target, job);
    opened.committer.shred(shredding)?;
    sealed.await.map_err(|_| Refused::from(Code::Sealed))??;
    Ok(waiting)
}
