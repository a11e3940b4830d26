//! New keys for the vault's own rows: the row key, the statistics key and the token key.
//!
//! ```text
//! first step   an epoch transition gives each a generation beside the one it has; what is written from here on is under the newer one
//! steps        row after row: sealed anew, and named anew where its name is a digest under one of these keys
//! last step    what was written meanwhile by calls that had begun before, then an epoch transition that destroys the old keys
//! ```
//!
//! All of it is on the committer's thread, so nothing is written between the last look and the end of the old keys; what a call sealed
//! before and hands in afterwards is refused as stale ([`is_of_a_dead_key`]). Reading never waits: both generations open.

use keys::{Shred, SystemKey, Turn};

use crate::audit::{Entry, Note, Outcome};
use crate::model::code::Code;
use crate::store::layout::{Meta, PolicyPart, RowKey};

use super::super::call::Refused;
use super::super::callers;
use super::super::committer::{Draft, settle};
use super::super::core::Core;
use super::super::idempotency::{self, TurnedOver};
use super::super::{bundles, policies, stats};
use super::Stepped;
use super::job::Job;
use super::turn::turn_over;

/// Letters of the rows that are under these keys, in the order in which they are turned over.
const LETTERS: [u8; 15] = *b"mJhkftoqawzexiy";

/// Rows looked at in one scan of the last look.
const PAGE: usize = 1_000;

/// What turns over together.
const KEYS: [SystemKey; 3] = [SystemKey::Row, SystemKey::Statistics, SystemKey::Token];

pub(super) fn step(core: &Core, job: &Job, cursor: Option<&[u8]>, budget: usize) -> Result<Stepped, Refused> {
    let rows = core.hierarchy.generations().into_iter().filter(|one| one.key == SystemKey::Row).collect::<Vec<_>>();
    match (cursor, rows.as_slice()) {
        // Ended already: a process stopped in between.
        (_, [newest]) if newest.made > job.epoch() => Ok(Stepped { cursor: None, done: 0, permille: 1_000, failed: 0 }),
        (_, [_]) => begin(core).map(|()| Stepped { cursor: Some(vec![LETTERS[0]]), done: 0, permille: 0, failed: 0 }),
        (cursor, _) => rows_after(core, cursor.unwrap_or(&LETTERS[..1]), budget),
    }
}

fn begin(core: &Core) -> Result<(), Refused> {
    let event = core.event("tenantKeysBegun", Outcome::Done, Note::None)?;
    let shreds = KEYS.map(|key| Shred::Turn(key, Turn::Begin));
    turn_over(core, |core| core.hierarchy.begin(&core.rows(), &shreds), event, |_, _, _| Ok(()))?;
    core.registry.rename(&core.hierarchy);
    drafts(core)
}

fn drafts(core: &Core) -> Result<(), Refused> {
    let mut turning = Turning::new(core)?;
    policies::turn_over_drafts(core, &mut turning.draft, &mut turning.entry)?;
    turning.keep().map(|_| ())
}

/// The next rows of the letter that the cursor begins with.
fn rows_after(core: &Core, cursor: &[u8], budget: usize) -> Result<Stepped, Refused> {
    let letter = cursor.first().copied().ok_or(Code::Internal)?;
    let place = LETTERS.iter().position(|known| *known == letter).ok_or(Code::Internal)?;
    let mut turning = Turning::new(core)?;
    let page = core.store.scan(&[letter], Some(cursor).filter(|cursor| cursor.len() > 1), budget)?;
    let next = match page.last() {
        Some((last, _)) => Some(last.clone()),
        None => LETTERS.get(place + 1).map(|letter| vec![*letter]),
    };
    for (key, value) in page {
        turning.row(&key, &value)?;
    }
    let Stepped { done, failed, .. } = turning.keep()?;
    let permille = (place * 1_000 / LETTERS.len()) as u16;
    match next {
        Some(cursor) => Ok(Stepped { cursor: Some(cursor), done, permille, failed }),
        None => end(core, (done, failed)),
    }
}

/// Looks through everything once more, and destroys the old keys.
fn end(core: &Core, (mut done, mut failed): (u64, u64)) -> Result<Stepped, Refused> {
    let mut old_tokens = 0;
    drafts(core)?;
    for letter in LETTERS {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = core.store.scan(&[letter], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let mut turning = Turning { is_last: true, ..Turning::new(core)? };
            for (key, value) in page {
                turning.row(&key, &value)?;
            }
            old_tokens += turning.old_tokens;
            let turned = turning.keep()?;
            (done, failed) = (done + turned.done, failed + turned.failed);
        }
    }
    core.registry.rename(&core.hierarchy);
    let event = core.event("tenantKeysDestroyed", Outcome::Done, Note::None)?;
    // A token from before its inner digest was kept is known by the old key alone, until it ends.
    let ends = |key: &SystemKey| *key != SystemKey::Token || old_tokens == 0;
    let shreds: Vec<Shred> = KEYS.into_iter().filter(ends).map(|key| Shred::Turn(key, Turn::End)).collect();
    if old_tokens > 0 {
        tracing::warn!(tokens = old_tokens, "tokens of an earlier version keep the old token key alive: issue them anew");
    }
    turn_over(core, |core| core.hierarchy.begin(&core.rows(), &shreds), event, |_, _, _| Ok(()))?;
    Ok(Stepped { cursor: None, done, permille: 1_000, failed })
}

/// A batch of rows that are sealed and named anew.
struct Turning<'a> {
    core: &'a Core,
    draft: Draft<'a>,
    entry: Entry,
    done: u64,
    failed: u64,
    old_tokens: u64,
    is_last: bool,
}

impl<'a> Turning<'a> {
    fn new(core: &'a Core) -> Result<Self, Refused> {
        let entry = core.event("rotationStep", Outcome::Done, Note::None)?;
        Ok(Self { core, draft: Draft::new(core), entry, done: 0, failed: 0, old_tokens: 0, is_last: false })
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refused> {
        match self.try_row(key, value) {
            // What does not open must not keep everything else's old key alive.
            Err(refused) if matches!(refused.code, Code::Internal | Code::StoreUnavailable) => {
                self.failed += 1;
                self.core.signs.damaged();
                tracing::error!(code = refused.code.text(), "a row of the vault could not be sealed anew");
                Ok(())
            }
            other => other,
        }
    }

    fn try_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refused> {
        let core = self.core;
        let Some(name) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
        match name {
            RowKey::Statistic { .. } => {
                if let Some((name, value)) = stats::turned_over(core, key, value)? {
                    self.move_row(key, name, value)?;
                }
                Ok(())
            }
            RowKey::Idempotency(_) => match idempotency::turned_over(core, key, value)? {
                TurnedOver::Current => Ok(()),
                TurnedOver::Row((name, value)) => self.move_row(key, name, value),
                TurnedOver::Gone => self.put(key.to_vec(), None),
            },
            RowKey::Token(_) => match callers::turned_over(core, key, value)? {
                callers::TurnedOver::Current { is_old } => {
                    self.old_tokens += u64::from(is_old);
                    Ok(())
                }
                callers::TurnedOver::Row { row: (name, value), is_old } => {
                    self.old_tokens += u64::from(is_old);
                    self.move_row(key, name, value)
                }
                callers::TurnedOver::Revoked => self.put(key.to_vec(), None),
            },
            RowKey::Request(id) => match bundles::turned_over(core, id, key, value)? {
                Some(value) => self.put(key.to_vec(), Some(value)),
                None => Ok(()),
            },
            // Settings are in no entry of the trail.
            RowKey::Meta(Meta::Settings) => {
                if let Some(value) = self.sealed_anew(key, value)? {
                    self.draft.put(key.to_vec(), Some(value));
                }
                Ok(())
            }
            RowKey::Meta(Meta::Format | Meta::Vault | Meta::EpochOpened) | RowKey::Mark | RowKey::Tree { .. } => Ok(()),
            // They know each other by name and bytes: [`drafts`] does all of them at once. In the last look there is none left but of a
            // controller that the vault does not know: that it can be opened is all that can be done for it.
            RowKey::Policy { part: PolicyPart::Draft | PolicyPart::Proposal, .. } if !self.is_last => Ok(()),
            RowKey::Meta(Meta::KeyAges)
            | RowKey::Policy { .. }
            | RowKey::Case(_)
            | RowKey::Delivery(_)
            | RowKey::Incident(_)
            | RowKey::Tombstone(_)
            | RowKey::Erasure(_)
            | RowKey::Caller(_)
            | RowKey::Factor(_)
            | RowKey::Sweep
            | RowKey::Job(_) => match self.sealed_anew(key, value)? {
                Some(value) => self.put(key.to_vec(), Some(value)),
                None => Ok(()),
            },
            RowKey::Subject(_)
            | RowKey::Record(..)
            | RowKey::Overflow { .. }
            | RowKey::Contract(..)
            | RowKey::Consent(..)
            | RowKey::Restriction(..)
            | RowKey::Paper(..)
            | RowKey::Disclosure(..)
            | RowKey::Update(..)
            | RowKey::Notice(..)
            | RowKey::Succession(_) => Ok(()),
        }
    }

    fn sealed_anew(&self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        if is_current(self.core, value) {
            return Ok(None);
        }
        let plain = self.core.hierarchy.open_row(key, value)?;
        Ok(Some(self.core.hierarchy.seal_row(key, plain.bytes())?))
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), Refused> {
        self.done += 1;
        self.draft.note(&mut self.entry, key, false, value)
    }

    /// The row under another name, which nothing else has: then the older of the two goes.
    fn move_row(&mut self, key: &[u8], name: Vec<u8>, value: Vec<u8>) -> Result<(), Refused> {
        let is_taken = name != key && self.draft.row(&name)?.is_some();
        if name != key {
            self.draft.note(&mut self.entry, key.to_vec(), false, None)?;
        }
        if is_taken { Ok(()) } else { self.put(name, Some(value)) }
    }

    fn keep(mut self) -> Result<Stepped, Refused> {
        if !self.draft.batch.is_empty() {
            settle(self.core, &mut self.draft, vec![self.entry])?;
        }
        Ok(Stepped { cursor: None, done: self.done, permille: 0, failed: self.failed })
    }
}

fn is_current(core: &Core, sealed: &[u8]) -> bool {
    core.hierarchy.age_of(SystemKey::Row, sealed) == Some(0)
}

/// Whether a row that is about to be written is sealed under a key that was destroyed since: nobody could open it.
pub(crate) fn is_of_a_dead_key(core: &Core, key: &[u8], value: &[u8]) -> bool {
    let (system, sealed) = match key.first() {
        Some(b'y') => (SystemKey::Statistics, value),
        Some(b'i') => match idempotency::sealed(value) {
            Some((false, sealed)) => (SystemKey::Row, sealed),
            _ => return false,
        },
        Some(letter) if LETTERS.contains(letter) => (SystemKey::Row, value),
        _ => return false,
    };
    core.hierarchy.age_of(system, sealed).is_none()
}
