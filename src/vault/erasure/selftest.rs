//! After sealing, the vault tries each way back itself, and says which it could not try.

use keys::Group;

use crate::audit::certificate::{Check, SelfTest};
use crate::model::wire::Scope;
use crate::store::layout::{RecordHead, RowKey, prefix};

use super::super::call::Refused;
use super::super::core::Core;
use super::super::rows::ErasureRow;
use super::certify::Before;
use super::holding::HOLD;

/// Tries the ways back that are open from inside the running vault.
pub(super) fn run(core: &Core, row: &ErasureRow, before: &Before) -> Result<SelfTest, Refused> {
    let mut checks = Vec::new();
    let mut note = |name: &str, closed: bool| {
        checks.push(Check { name: name.to_owned(), result: if closed { "closed" } else { "open" }.to_owned() });
    };
    if let Some(subject) = super::subject_of(row) {
        let keys = core.hierarchy.subject(&core.rows(), subject.bytes())?;
        let rows = |prefix: &[u8]| core.store.scan(prefix, None, 1).map(|page| page.is_empty()).map_err(Refused::from);
        match row.scope()? {
            Scope::Subject if super::certify::waits(row) => {
                let alive = keys.map_or(0, |keys| keys.groups().without(HOLD).bits());
                note("group-keys", alive == 0);
                note("record-wraps", no_wrap_but(core, HOLD.bits(), &subject)?);
                let mut empty = true;
                for prefix in prefix::all_of(&subject).iter().filter(|prefix| !b"srvl".contains(&prefix[0])) {
                    empty &= rows(prefix)?;
                }
                note("rows", empty);
            }
            Scope::Subject => {
                note("subject-keys", keys.is_none());
                let mut empty = true;
                for prefix in prefix::all_of(&subject) {
                    empty &= rows(&prefix)?;
                }
                note("rows", empty);
            }
            Scope::Groups => {
                let alive = keys.map_or(0, |keys| keys.groups().bits());
                note("group-keys", alive & row.groups == 0);
                note("record-wraps", no_wrap_but(core, !row.groups, &subject)?);
            }
            Scope::Records => {
                let mut empty = true;
                for record in super::record_ids(row) {
                    let left = core.store.row(&RowKey::Record(subject, record).bytes())?;
                    empty &= match left {
                        // What is held is there, and nothing but the key of holds opens it.
                        Some(value) => RecordHead::parse(&value)?.wraps.iter().all(|wrap| wrap.group == Group::HOLD.number()),
                        None => true,
                    };
                }
                note("rows", empty);
            }
        }
    }
    note("epoch-slot", row.epoch_closed.is_some_and(|closed| core.hierarchy.epoch() > closed));
    let mut not_checked: Vec<&str> = Vec::new();
    if before.rows.is_empty() {
        // The process ended between the transition and here: what was replaced is no longer known.
        not_checked.extend(["replaced-tree-rows", "aliases"]);
    } else {
        note("replaced-tree-rows", core.hierarchy.leftovers_open(&before.rows) == 0);
        if let Some(subject) = super::subject_of(row).filter(|_| row.scope().is_ok_and(|scope| scope == Scope::Subject)) {
            let mut closed = true;
            for alias in &before.aliases {
                closed &= !core.hierarchy.alias(&core.rows(), alias)?.contains(subject.bytes());
            }
            note("aliases", closed);
        }
    }
    not_checked.extend([
        "copies that an application made of what it read",
        "leftover bytes in the store's files beyond the rows that this erasure replaced (their keys are gone; see docs/ERASURE.md)",
        "the medium under the keyring (see assurance)",
    ]);
    not_checked.extend(backups(core, row));
    Ok(SelfTest { checks, not_checked: not_checked.into_iter().map(str::to_owned).collect() })
}

/// What cannot be said of backups: their old rows are under the closed epoch, but whether the vault can come back from them is
/// another matter.
fn backups(core: &Core, row: &ErasureRow) -> Option<&'static str> {
    match &core.backups {
        None => Some("backups (none is configured)"),
        Some(backups) => match backups.covers(row.epoch_closed.unwrap_or(u64::MAX)).len() {
            0 => Some("backups (the target does not hold the newest tree rows: make a backup)"),
            held if held < backups.count() => {
                Some("backups (one of the targets does not hold the newest tree rows: make a backup)")
            }
            _ => None,
        },
    }
}

/// Whether no record of the subject has a wrap under another group than these.
fn no_wrap_but(core: &Core, groups: u32, subject: &crate::model::ids::SubjectId) -> Result<bool, Refused> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(&prefix::records(subject), after.as_deref(), 500)?;
        let Some((last, _)) = page.last() else { return Ok(true) };
        after = Some(last.clone());
        for (_, value) in &page {
            let head = RecordHead::parse(value)?;
            if head.wraps.iter().filter_map(|wrap| Group::new(wrap.group)).any(|group| groups & (1 << group.number()) == 0) {
                return Ok(false);
            }
        }
    }
}
