//! One epoch transition of a rotation: new keys, the rows that go with them, and the death of the old epoch's key.

use keys::{KeysError, Transition};

use crate::audit::{Entry, Note, Outcome};
use crate::store::layout::{Meta, RowKey};

use super::super::call::Refused;
use super::super::committer::{Draft, settle};
use super::super::core::Core;
use super::super::places;

/// Begins the transition by `begin`, lets `rows` put what else goes into its batch (noted in `entry`), commits and finishes. On the
/// committer's thread only.
///
/// The trail is durable before the rows, and the rows before the old epoch's key is overwritten. Refused, nothing has happened; only when
/// the old key cannot be overwritten the process ends, and the next start does it.
pub(crate) fn turn_over(
    core: &Core,
    begin: impl FnOnce(&Core) -> Result<Transition, KeysError>,
    entry: Entry,
    rows: impl FnOnce(&Transition, &mut Draft<'_>, &mut Entry) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let transition = begin(core)?;
    if let Err(refused) = keep(core, &transition, entry, rows) {
        if let Err(error) = core.hierarchy.abandon(transition) {
            tracing::error!(error = %error, "the unused epoch key could not be overwritten; the next start does it");
        }
        return Err(refused);
    }
    if let Err(error) = core.hierarchy.finish(transition) {
        tracing::error!(error = %error, "the old epoch's key could not be overwritten");
        (core.on_fatal)("overwriting the old epoch's key; the next start does it");
        return Err(error.into());
    }
    *core.epoch_since.write() = core.clock.now();
    // Erasures of before, where this transition met every place of the keyring.
    places::seal_waiting(core);
    Ok(())
}

fn keep(
    core: &Core,
    transition: &Transition,
    mut entry: Entry,
    rows: impl FnOnce(&Transition, &mut Draft<'_>, &mut Entry) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut draft = Draft::new(core);
    rows(transition, &mut draft, &mut entry)?;
    let note = Note::Epoch { closed: core.hierarchy.epoch(), opened: transition.epoch() };
    let mut tree = core.event("epoch", Outcome::Done, note)?;
    for write in transition.writes() {
        draft.note(&mut tree, write.key.clone(), false, write.value.clone())?;
    }
    let opened_at = core.clock.now().as_microsecond().to_be_bytes();
    draft.put(RowKey::Meta(Meta::EpochOpened).bytes(), Some(opened_at.to_vec()));
    settle(core, &mut draft, vec![entry, tree])
}
