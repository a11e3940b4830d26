//! The places of the keyring: what is noted when one goes and comes back, and changing them on a vault that nothing else uses.
//!
//! An erasure that was carried out while a place was away is unlinked and **not sealed**: the key of the old epoch may still lie there. It
//! is sealed, and gets its certificate, once the place was written anew or given up. Only with `when_away = "go-on"` it is sealed at
//! once, and the certificate names the place.

use std::sync::atomic::Ordering;

use ::keys::{KeysError, Spot, Standing};
use tokio::sync::oneshot;

use crate::audit::{Note, Outcome};
use crate::model::code::Code;

use super::call::Refused;
use super::committer::Committer;
use super::core::Core;
use super::erasure::sealing::{Shredding, Target};
use super::lifecycle::{OpenError, Vault};
use super::recovery;

/// A change of the places.
pub enum PlaceChange {
    /// One more.
    Add(Spot),
    /// One less: it is overwritten, and the epoch is closed, whose key was there.
    Remove(String),
    /// One is lost: it is named for ever, and the epoch is closed, whose key is there.
    GiveUp(String),
    /// One is written anew from the others.
    Repair(String),
}

/// Why the places were not changed, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Nothing was changed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The trail.
    #[error("the trail: {0}")]
    Trail(#[from] OpenError),
    /// The places are changed, and the epoch is still the same.
    #[error("the places are changed, and the epoch could not be closed: its key was in the place that is gone")]
    NotClosed,
}

impl Vault {
    /// Changes the places of the keyring, notes it in the trail, and closes the epoch where a place went.
    pub async fn change_places(&self, change: PlaceChange) -> Result<(), PlaceError> {
        let opened = self.opened().map_err(|_| KeysError::Misuse("the vault is sealed"))?;
        let (name, closes) = match &change {
            PlaceChange::Add(_) => ("addPlace", false),
            PlaceChange::Remove(_) => ("removePlace", true),
            PlaceChange::GiveUp(_) => ("giveUpPlace", true),
            PlaceChange::Repair(_) => ("repairPlace", false),
        };
        let (reply, answer) = oneshot::channel();
        let job = move |core: &Core| {
            let hierarchy = &core.hierarchy;
            let done = match change {
                PlaceChange::Add(spot) => hierarchy.add_place(spot),
                PlaceChange::Remove(place) => hierarchy.remove_place(&place),
                PlaceChange::GiveUp(place) => hierarchy.give_up_place(&place),
                PlaceChange::Repair(place) => hierarchy.repair_place(&place),
            };
            let done = done.map_err(PlaceError::from);
            let _ = reply.send(done.and_then(|()| Ok(recovery::state(core, name, Note::None)?)));
        };
        let gone = |_| PlaceError::Keys(KeysError::Misuse("the vault is sealed"));
        opened.committer.run(Box::new(job)).map_err(gone)?;
        answer.await.map_err(|_| KeysError::Misuse("the vault is sealed"))??;
        if closes {
            let entry = opened.core.event("closeEpoch", Outcome::Done, Note::None).map_err(|_| PlaceError::NotClosed)?;
            let (shredding, closed) = Shredding::new(entry, Target::Epoch, None);
            opened.committer.shred(shredding).map_err(|_| PlaceError::NotClosed)?;
            closed.await.map_err(|_| PlaceError::NotClosed)?.map_err(|_| PlaceError::NotClosed)?;
        }
        seal_what_waits(&opened.core, &opened.committer);
        Ok(())
    }
}

/// What was seen of the places at the last look.
#[derive(Default)]
pub(crate) struct Seen {
    away: Vec<String>,
}

/// Calls back places that are away, notes in the trail and the log which went and which are back, and has the erasures sealed that waited
/// for them.
pub(crate) fn look(core: &Core, committer: &Committer, seen: &mut Seen) {
    if !seen.away.is_empty() || core.hierarchy.places().iter().any(|place| place.standing == Standing::Away) {
        core.hierarchy.call_back();
    }
    let places = core.hierarchy.places();
    let away: Vec<String> =
        places.iter().filter(|place| place.standing == Standing::Away).map(|place| place.name.clone()).collect();
    for place in places.iter().filter(|place| place.standing == Standing::Away && !seen.away.contains(&place.name)) {
        let why = place.why.as_deref().unwrap_or_default();
        tracing::error!(place = %place.name, why, "a place of the keyring is away: what it holds cannot be destroyed");
        note(core, "placeAway");
    }
    for name in seen.away.iter().filter(|name| !away.contains(name)) {
        tracing::warn!(place = %name, "a place of the keyring is back and was written anew");
        note(core, "placeBack");
    }
    seen.away = away;
    seal_what_waits(core, committer);
}

/// Certifies, on the committer's thread, erasures that wait for a place or for room on the disk, once no place is away.
pub(crate) fn seal_what_waits(core: &Core, committer: &Committer) {
    if core.unsealed.load(Ordering::Relaxed) && core.hierarchy.is_closed() {
        let _ = committer.run(Box::new(|core: &Core| seal_waiting(core)));
    }
}

/// Certifies them now. For the committer's thread.
pub(crate) fn seal_waiting(core: &Core) {
    if !core.unsealed.load(Ordering::Relaxed) || !core.hierarchy.is_closed() {
        return;
    }
    match recovery::seal_unfinished(core) {
        Ok(()) => core.unsealed.store(false, Ordering::Relaxed),
        Err(refused) => tracing::error!(code = refused.code.text(), "an erasure that is carried out could not be sealed yet"),
    }
}

fn note(core: &Core, name: &'static str) {
    if let Err(error) = recovery::state(core, name, Note::None) {
        tracing::error!(%error, "the trail did not take what happened to a place of the keyring");
    }
}

/// How a place that is away is answered.
pub(super) fn away(place: &str, why: &str) -> Refused {
    Refused { reason: Some(format!("place {place} of the keyring: {why}").into()), ..Code::CustodyUnavailable.into() }
}
