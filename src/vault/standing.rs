//! Changing what stands about a person: one row, whatever it is that changes.

use crate::model::code::Code;
use crate::store::layout::RowKey;

use super::call::Refused;
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person};
use super::rows::{SubjectRow, pack, unpack};

/// Adds to `change` that the subject's row is as `edit` leaves it. The row is read as it is now, so the commit is stale
/// (and to be tried again) if somebody else changes it first; the next call of anybody sees the new row.
pub(crate) fn amend<T>(
    core: &Core,
    person: &Person,
    change: &mut Change,
    edit: impl FnOnce(&mut SubjectRow) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let key = RowKey::Subject(person.id).bytes();
    let Some(stored) = core.store.row(&key)? else { return Err(Code::Stale.into()) };
    let plain = person.keys.open_row(&key, &stored)?;
    let mut row: SubjectRow = unpack(plain.bytes())?;
    let done = edit(&mut row)?;
    let sealed = person.keys.seal_row(&key, &pack(&row)?)?;
    change.guard(person);
    change.touched.push(*person.id.bytes());
    change.rows.push(RowChange { key, expect: Expect::Is(stored), value: Some(sealed) });
    Ok(done)
}
