//! New index keys: the keys under which people are found by an e-mail address, a telephone number or an external id.
//!
//! ```text
//! first step   an epoch transition gives the index keys a generation beside the one they have; look-ups go through both from here on
//! steps        person after person: what they are found by, under the new keys too
//! then         an epoch transition destroys the old keys and the top key of the old tree of aliases: nobody opens it any more
//! last steps   its rows are removed (housekeeping, not security)
//! ```
//!
//! Nobody's text is needed: a person's own row, under the person's own key, keeps a digest of it. Reading and looking up never wait.

use keys::{Shred, SystemKey, Turn};

use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::SubjectId;
use crate::store::layout::RowKey;

use super::super::call::Refused;
use super::super::committer::{Draft, keep, settle};
use super::super::core::Core;
use super::Stepped;
use super::job::Job;
use super::turn::turn_over;

/// Rows of a tree that is dead, removed in one batch.
const GONE: usize = 500;

/// The maps of the alias trees: of even and odd generations.
const MAPS: [u8; 2] = [1, 3];

pub(super) fn step(core: &Core, job: &Job, cursor: Option<&[u8]>, budget: usize) -> Result<Stepped, Refused> {
    let living = generations(core);
    match (cursor, living.as_slice()) {
        // Ended already, but for the rows: a process stopped in between.
        (_, [newest]) if newest.made > job.epoch() => sweep(core, newest.number),
        (_, [newest]) => {
            let cursor = Some(vec![b's']);
            match sweep(core, newest.number)?.cursor {
                Some(_) => Ok(Stepped { cursor, done: 0, permille: 0, failed: 0 }),
                None => begin(core).map(|()| Stepped { cursor, done: 0, permille: 0, failed: 0 }),
            }
        }
        (cursor, _) => retag(core, job, cursor, budget),
    }
}

/// The living generations, the newest first.
fn generations(core: &Core) -> Vec<keys::Generation> {
    core.hierarchy.generations().into_iter().filter(|generation| generation.key == SystemKey::Index).collect()
}

fn begin(core: &Core) -> Result<(), Refused> {
    let event = core.event("indexKeysBegun", Outcome::Done, Note::None)?;
    let shreds = [Shred::Turn(SystemKey::Index, Turn::Begin)];
    turn_over(core, |core| core.hierarchy.begin(&core.rows(), &shreds), event, |_, _, _| Ok(()))
}

/// The next people, or the end of the old keys when there are no more.
fn retag(core: &Core, job: &Job, cursor: Option<&[u8]>, budget: usize) -> Result<Stepped, Refused> {
    let page = core.store.scan(b"s", cursor.filter(|cursor| cursor.len() > 1), budget)?;
    let Some((last, _)) = page.last() else { return end(core, job) };
    let next = last.clone();
    let mut inserts = keys::Inserts::default();
    let (mut done, mut failed) = (0, 0);
    for (key, _) in &page {
        let Some(RowKey::Subject(id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
        match aliases(core, id) {
            Ok(Some(aliases)) => {
                // Kept before digests were: nobody knows what its new tag would be.
                failed += aliases.iter().filter(|alias| alias.digest().is_none()).count() as u64;
                inserts
                    .aliases
                    .extend(aliases.into_iter().filter(|alias| alias.digest().is_some()).map(|alias| (alias, *id.bytes())));
                done += 1;
            }
            // Erased since it was listed.
            Ok(None) => {}
            // Whose row does not open is found by nothing, whatever the key.
            Err(refused) if matches!(refused.code, Code::Internal | Code::StoreUnavailable) => {
                core.signs.damaged();
                tracing::error!(code = refused.code.text(), "a person's row does not open: they were left out of the new index");
            }
            Err(refused) => return Err(refused),
        }
    }
    let entry = core.event("rotationStep", Outcome::Done, Note::None)?;
    keep(core, Draft::new(core), vec![entry], inserts)?;
    let permille = (u32::from(next.get(1).copied().unwrap_or(0)) * 950 / 256) as u16;
    Ok(Stepped { cursor: Some(next), done, permille, failed })
}

fn aliases(core: &Core, id: SubjectId) -> Result<Option<Vec<keys::Alias>>, Refused> {
    Ok(core.look_at(id)?.map(|person| person.row.found_by().collect()))
}

/// Destroys the old keys, unless somebody would not be found any more.
fn end(core: &Core, job: &Job) -> Result<Stepped, Refused> {
    if job.failed() > 0 {
        tracing::error!(aliases = job.failed(), "not every alias could be put under the new index keys: the old ones stay");
        return Ok(Stepped { cursor: None, done: 0, permille: 950, failed: 0 });
    }
    let event = core.event("indexKeysDestroyed", Outcome::Done, Note::None)?;
    let shreds = [Shred::Turn(SystemKey::Index, Turn::End)];
    turn_over(core, |core| core.hierarchy.begin(&core.rows(), &shreds), event, |_, _, _| Ok(()))?;
    Ok(Stepped { cursor: Some(vec![b'n']), done: 0, permille: 960, failed: 0 })
}

/// Removes rows of the tree that no living generation has: its top last, so that a tree whose top is not there is empty.
fn sweep(core: &Core, living: u32) -> Result<Stepped, Refused> {
    let dead = MAPS[usize::from(living.is_multiple_of(2))];
    let top = RowKey::Tree { map: dead, level: 0, index: 0 }.bytes();
    let below = core.store.scan(&[b'n', dead], Some(&top), GONE)?;
    let mut keys: Vec<Vec<u8>> = below.into_iter().map(|(key, _)| key).collect();
    let is_last = keys.len() < GONE;
    if is_last && core.store.row(&top)?.is_some() {
        keys.push(top);
    }
    if !keys.is_empty() {
        let mut draft = Draft::new(core);
        let mut entry = core.event("rotationStep", Outcome::Done, Note::None)?;
        for key in keys {
            draft.note(&mut entry, key, false, None)?;
        }
        settle(core, &mut draft, vec![entry])?;
    }
    Ok(Stepped { cursor: (!is_last).then(|| vec![b'n']), done: 0, permille: if is_last { 1_000 } else { 970 }, failed: 0 })
}
