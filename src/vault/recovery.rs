//! What is set right before the first call after a start.

use std::sync::atomic::Ordering;

use crate::audit::{Findings, Note, Outcome};
use crate::model::ids::ErasureId;
use crate::model::wire::ErasureState;
use crate::store::Batch;
use crate::store::layout::{CommitMark, RowKey};

use super::call::Refused;
use super::core::Core;
use super::erasure::certify;
use super::erasure::certify::Before;
use super::lifecycle::OpenError;
use super::rows::{ErasureRow, unpack};

/// Entries read from the trail at a time.
const PAGE: usize = 1_000;

/// Voids what the trail announced and the store never got, says what the trail lost, loads the callers, and seals the
/// erasures that were cut off between their unlinking and their certificate.
pub(crate) fn run(core: &Core, mark: u64, findings: &Findings) -> Result<(), OpenError> {
    let found = core.trail.size();
    if mark > found {
        tracing::error!(expected = mark, found, "the store answers for entries that the trail does not have: they are lost");
        state(core, "trailLost", Note::LostTail { expected: mark, root: [0; 32], found })?;
        move_mark(core, core.trail.size())?;
    }
    void_unkept(core, mark.min(found))?;
    if let Some(lost) = &findings.lost_tail {
        tracing::error!(expected = lost.expected, found = lost.found, "the trail is shorter than it was: entries are lost");
        state(core, "trailLost", lost.note())?;
    }
    if let Some(torn) = &findings.torn {
        tracing::warn!(index = torn.index, bytes = torn.bytes, "an entry that was never released was cut off the trail");
        state(core, "trailTorn", torn.note())?;
    }
    core.registry
        .load(core.store.as_ref(), &core.hierarchy)
        .map_err(|e| OpenError::File("the callers", std::io::Error::other(e)))?;
    if core.hierarchy.is_closed() {
        return seal_unfinished(core).map_err(failed);
    }
    // The old epoch's key may still lie in a place of the keyring that is away.
    core.unsealed.store(!unfinished(core).map_err(failed)?.is_empty(), Ordering::Relaxed);
    Ok(())
}

/// Seals the erasures that were carried out and have no certificate yet. On the committer's thread, or before it starts.
pub(crate) fn seal_unfinished(core: &Core) -> Result<(), Refused> {
    unfinished(core)?.into_iter().try_for_each(|(id, row)| certify(core, id, row, &Before::default()).map(drop))
}

pub(super) fn state(core: &Core, name: &'static str, note: Note) -> Result<(), OpenError> {
    let event = core.event(name, Outcome::Done, note).map_err(failed)?;
    let ticket = core.trail.append(&[event])?;
    let _receipt = core.trail.durable_blocking(ticket)?;
    Ok(())
}

pub(crate) fn failed(refused: Refused) -> OpenError {
    OpenError::File("recovery", std::io::Error::other(refused.code.sentence()))
}

fn void_unkept(core: &Core, mark: u64) -> Result<(), OpenError> {
    let mut voided = Vec::new();
    let mut already = std::collections::HashSet::new();
    let mut from = mark;
    loop {
        let page = core.trail.entries(from, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        from = last + 1;
        for (index, entry) in page {
            if let Note::Void { entries } = &entry.note {
                already.extend(entries.iter().copied());
            }
            if entry.batch != 0 {
                voided.push((index, entry.batch));
            }
        }
    }
    voided.retain(|(index, _)| !already.contains(index));
    // The committer waits for each batch before it announces the next: a crash leaves one at the most. More than that, or
    // another than the next, and the store is not the one that the trail went on with.
    let next = core.commits.load(Ordering::Relaxed) + 1;
    if voided.iter().any(|(_, batch)| *batch != next) {
        return Err(OpenError::RolledBack);
    }
    let voided: Vec<u64> = voided.into_iter().map(|(index, _)| index).collect();
    if voided.is_empty() {
        return Ok(());
    }
    tracing::warn!(entries = voided.len(), "writes that were never acknowledged are voided in the trail");
    let event = core.event("void", Outcome::Void, Note::Void { entries: voided }).map_err(failed)?;
    let ticket = core.trail.append(&[event])?;
    let mark = ticket.first() + 1;
    let _receipt = core.trail.durable_blocking(ticket)?;
    move_mark(core, mark)
}

fn move_mark(core: &Core, entries: u64) -> Result<(), OpenError> {
    let number = core.commits.fetch_add(1, Ordering::Relaxed) + 1;
    let mut batch = Batch::default();
    batch.put(RowKey::Mark.bytes(), CommitMark { number, entries }.bytes());
    Ok(core.store.commit(&batch)?)
}

type Found = (ErasureId, ErasureRow);

fn unfinished(core: &Core) -> Result<Vec<Found>, Refused> {
    let mut found = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(b"e", after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        for (key, value) in page {
            let plain = core.hierarchy.open_row(&key, &value)?;
            let row: ErasureRow = unpack(plain.bytes())?;
            if let (Some(RowKey::Erasure(id)), ErasureState::Unlinked | ErasureState::Propagated) =
                (RowKey::parse(&key), row.state()?)
            {
                found.push((id, row));
            }
        }
    }
}
