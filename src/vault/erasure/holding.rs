//! Erasures and legal holds (p55): what is held stays under the key of holds alone, and goes when the last hold is lifted.

use std::collections::BTreeMap;

use keys::{Group, GroupSet, Id, Shred};

use crate::model::code::Code;
use crate::model::ids::{ErasureId, RecordId, SubjectId};
use crate::model::standing::Standing;
use crate::store::Row;
use crate::store::layout::{self, RowKey, prefix};

use super::super::call::Refused;
use super::super::core::Core;
use super::super::rows::{KeptRow, SubjectRow, pack};
use super::sealing::{Plan, count, each, everything_of, files_of, remove, whole_row};

/// The group of holds alone.
pub(super) const HOLD: GroupSet = GroupSet::EMPTY.with(Group::HOLD);

/// Every key of a subject but the tag and the key of holds; every row but those of what is held. The erasure waits for the rest.
pub(super) fn all_but_held(
    core: &Core,
    id: &SubjectId,
    keys: &keys::SubjectKeys,
    row: SubjectRow,
    erasure: ErasureId,
    plan: &mut Plan,
) -> Result<(), Refused> {
    let subject = *id.bytes();
    plan.shreds.push(Shred::Groups(subject, keys.groups().without(HOLD)));
    plan.shreds.extend(row.found_by().map(|alias| Shred::Alias(alias, subject)));
    plan.aliases = row.found_by().collect();
    files_of(core, &row.standing, Some(erasure), plan)?;
    let mut kept = Vec::new();
    each(core, &prefix::records(id), |key, value| {
        let Some(RowKey::Record(_, record)) = RowKey::parse(key) else { return Ok(()) };
        let (found, wraps) = whole_row(core, id, &record, value)?;
        if row.standing.is_held(record.bytes()) && wraps.contains(Group::HOLD) {
            kept.push(record);
            plan.narrowed.push((key.to_vec(), found, wraps.without(HOLD)));
        } else {
            count(keys, id, &record, value, plan)?;
            plan.removed.extend(layout::keys_of(id, &record, value)?);
        }
        Ok(())
    })?;
    let holds: Vec<_> = row.standing.holds().cloned().collect();
    for prefix in prefix::all_of(id) {
        each(core, &prefix, |key, _| {
            let stays = match RowKey::parse(key) {
                Some(RowKey::Restriction(_, which)) => holds.iter().any(|hold| hold.id == *which.bytes()),
                // Seen to above, and below.
                Some(RowKey::Record(..) | RowKey::Overflow { .. } | RowKey::Subject(_)) => true,
                _ => false,
            };
            if !stays {
                remove(key, plan);
            }
            Ok(())
        })?;
    }
    plan.kept.extend(held(&row.standing, &kept));
    let standing = Standing { restrictions: holds, waiting_erasure: Some(*erasure.bytes()), ..Standing::default() };
    let left = SubjectRow {
        erased_groups: row.erased_groups | keys.groups().without(HOLD).bits(),
        birth_date: None,
        child: None,
        aliases: Vec::new(),
        guardian: None,
        notice: None,
        standing,
        ..row
    };
    plan.state = Some(sealed(id, keys, &left)?);
    Ok(())
}

/// The end of one hold, and of everything that nothing else keeps: held records that another hold is about move to a new key of
/// holds, the others lose theirs.
pub(super) fn release(
    core: &Core,
    id: &SubjectId,
    keys: &keys::SubjectKeys,
    mut row: SubjectRow,
    hold: &Id,
    erasure: Option<ErasureId>,
    plan: &mut Plan,
) -> Result<(), Refused> {
    let before = row.standing.restrictions.len();
    row.standing.restrictions.retain(|own| own.id != *hold);
    if row.standing.restrictions.len() == before {
        return Err(Code::Stale.into());
    }
    let last = row.standing.holds().next().is_none();
    if last && row.standing.waiting_erasure.is_some() {
        // The rest of the erasure. Another hold may have come or gone since the caller looked.
        let waited = erasure.is_some_and(|erasure| row.standing.waiting_erasure == Some(*erasure.bytes()));
        return if waited { everything_of(core, id, keys, &row, erasure, plan) } else { Err(Code::Stale.into()) };
    }
    if erasure.is_some() {
        return Err(Code::Stale.into());
    }
    let subject = *id.bytes();
    plan.shreds.push(if last { Shred::Groups(subject, HOLD) } else { Shred::Renew(subject, HOLD) });
    each(core, &prefix::records(id), |key, value| {
        let Some(RowKey::Record(_, record)) = RowKey::parse(key) else { return Ok(()) };
        let (found, wraps) = whole_row(core, id, &record, value)?;
        if !wraps.contains(Group::HOLD) {
            return Ok(());
        }
        if row.standing.is_held(record.bytes()) {
            plan.moved.push((key.to_vec(), *record.bytes(), found, HOLD));
        } else if wraps == HOLD {
            count(keys, id, &record, value, plan)?;
            plan.removed.extend(layout::keys_of(id, &record, value)?);
        } else {
            plan.narrowed.push((key.to_vec(), found, HOLD));
        }
        Ok(())
    })?;
    plan.state = Some(sealed(id, keys, &row)?);
    Ok(())
}

/// What is kept, as the certificate says it: so many records, for which case, until when it is looked at again.
pub(super) fn held(standing: &Standing, records: &[RecordId]) -> Vec<KeptRow> {
    let mut by_case: BTreeMap<(String, Option<i64>), usize> = BTreeMap::new();
    for record in records {
        let hold =
            standing.holds().find(|hold| hold.records.is_empty() || hold.records.iter().any(|h| h.record == *record.bytes()));
        if let Some(hold) = hold {
            *by_case.entry((hold.case.clone().unwrap_or_default(), hold.review_at)).or_default() += 1;
        }
    }
    let kept = |((case, until), count): ((String, Option<i64>), usize)| KeptRow {
        what: format!("records:{count}"),
        rule: format!("legal-hold:{case}"),
        until,
    };
    by_case.into_iter().map(kept).collect()
}

fn sealed(id: &SubjectId, keys: &keys::SubjectKeys, row: &SubjectRow) -> Result<Row, Refused> {
    let key = RowKey::Subject(*id).bytes();
    let value = keys.seal_row(&key, &pack(row)?)?;
    Ok((key, value))
}
