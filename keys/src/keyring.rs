//! The keyring: the only thing that ever holds an epoch key, small enough to be overwritten, and kept in one place or several.
//!
//! A place is one file of two slots, 4 KiB each. Every slot is written **in place** with `O_DSYNC` and read back; nothing is ever written
//! beside and renamed, because a renamed-over file leaves its blocks behind (200 of 200 old secrets on ext4; in place, none).
//!
//! ```text
//!    0   8  "PVEPOCH1"      8   8  epoch         16   8  sequence of writes      24  16  vault
//!   40 124  W1 of kind 7: the epoch key under the root key; ext = sequence ‖ trail size ‖ trail head
//!  164   8  trail size    172  32  trail head
//!  204      random fill  4064  32  SHA-256 of bytes 0..4064                      integers big-endian
//! ```
//!
//! A keyring that is, or ever was, in more than the one plain place `first` has slots that say so, and ext ends with their SHA-256:
//!
//! ```text
//!    0   8  "PVEPOCH2"      8..204  the same
//!  204   1  places, 1 to 8    205 42 × places    24 name, zero-filled ‖ 1 standing ‖ 1 assurance ‖ 8 since epoch ‖ 8 until epoch
//!    …   2  length ‖ what an enclosure gave for this epoch; empty in a plain place      … random fill    4064  32  SHA-256
//! ```
//!
//! In an enclosed place W1 hangs from HMAC-SHA256(root key, "pv1/enclosure" ‖ secret of the epoch) instead of the root key: see
//! [`enclosure`](crate::enclosure).
//!
//! A free slot holds random bytes. At rest one slot holds the epoch, or both do, after a [checkpoint](crate::Hierarchy::checkpoint):
//! a new slot never overwrites the newest copy of the living epoch, so a torn write costs nothing. The keyring is never part of a backup.
//!
//! **Several places** are written in step, one after the other, with the same sequence. Any one of them opens the vault. One that fell
//! behind is written anew from the others, which overwrites what it held. One that cannot be used is **away**, and what it holds lives
//! on: so no epoch begins then, unless [`WhenAway::GoOn`] was chosen. Which places there are stands in every slot, so that none is
//! forgotten with an epoch key in it because a line was taken out of a file of settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::assurance::Assurance;
use crate::context::Id;
use crate::digest;
use crate::enclosure::{About, Enclosure, EpochSecret, MOST_ENCLOSED};
use crate::error::KeysError;
use crate::secret::Secret32;

mod ring;
mod slot;

use ring::Ring;
use slot::Listing;
pub use slot::{Slot, parse_slot};

/// Bytes of a slot: one block of the usual file systems and devices.
pub const SLOT: usize = 4096;

/// Most places of a keyring, the past ones counted.
pub const MOST_PLACES: usize = 8;

/// The name of the plain place that a keyring has unless told otherwise.
pub const FIRST: &str = "first";

/// Whether a place can be called so: `a` to `z`, digits and `-`, 1 to 24 of them.
pub fn is_name(name: &str) -> bool {
    (1..=24).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Where a place is.
#[derive(Clone)]
pub struct Spot {
    /// What it is called.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What encloses it, if anything does.
    pub enclosure: Option<Arc<dyn Enclosure>>,
}

/// What an epoch transition does while a place is away, which may still hold the key that is to be destroyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenAway {
    /// It does not begin: nothing is erased until the place is back or was given up.
    #[default]
    Refuse,
    /// It goes on with the other places. The place counts as [`Assurance::BestEffort`] then, and is written anew when it is back.
    GoOn,
}

/// Which places a keyring has.
#[derive(Clone)]
pub struct Places {
    /// Where they are.
    pub spots: Vec<Spot>,
    /// What happens while one is away.
    pub when_away: WhenAway,
    /// A place that slots may name and `spots` does not, because it is about to be given up.
    pub giving_up: Option<String>,
}

impl Places {
    /// The one plain place `first`.
    pub fn one(path: impl Into<PathBuf>) -> Self {
        let first = Spot { name: FIRST.into(), path: path.into(), enclosure: None };
        Self { spots: vec![first], when_away: WhenAway::Refuse, giving_up: None }
    }
}

/// How a place stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It holds the living epoch and no other.
    InStep,
    /// It cannot be used now, and may hold the key of an epoch that is over.
    Away,
    /// It was overwritten in good order and is no place of the keyring any more.
    Removed,
    /// It is lost, and whoever finds it has the epoch key that it held.
    GivenUp,
}

impl Standing {
    /// The word for it in answers and certificates.
    pub const fn word(self) -> &'static str {
        match self {
            Self::InStep => "in-step",
            Self::Away => "away",
            Self::Removed => "removed",
            Self::GivenUp => "given-up",
        }
    }
}

/// A place as the slots list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is called.
    pub name: String,
    /// `InStep` for every one that is not past.
    pub standing: Standing,
    /// What destruction there is worth.
    pub assurance: Assurance,
    /// The first epoch that it held.
    pub since: u64,
    /// The last epoch that it held, once it is past; else 0.
    pub until: u64,
}

impl Listed {
    /// The only place of a keyring whose slots list none.
    fn first() -> Self {
        Self { name: FIRST.into(), standing: Standing::InStep, assurance: Assurance::BestEffort, since: 1, until: 0 }
    }

    const fn is_past(&self) -> bool {
        matches!(self.standing, Standing::Removed | Standing::GivenUp)
    }
}

/// A place, for those who have to know how things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceState {
    /// What it is called.
    pub name: String,
    /// `file`, or the kind of what encloses it; `past` when it is no place any more.
    pub kind: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// Why it is away.
    pub why: Option<String>,
    /// What destruction there is worth; the least while it is away, and once it was given up.
    pub assurance: Assurance,
    /// The first epoch that it held.
    pub since: u64,
    /// The last one, once it is past.
    pub until: Option<u64>,
    /// Seconds since 1970 at which what enclosed the last epoch is really gone, where that takes longer than the call.
    pub gone_by: Option<u64>,
}

/// A place as it is found from outside, without the root key.
pub struct Surveyed {
    /// What it is called.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// `file`, or the kind of what encloses it.
    pub kind: &'static str,
    /// What destruction there is worth.
    pub assurance: Assurance,
    /// The newest whole slot; or why there is none, or why its enclosure does not help.
    pub newest: Result<Slot, KeysError>,
}

/// Looks at each place without opening anything, while the vault may run. An enclosure is asked for the secret of the newest epoch.
pub fn survey(places: &Places) -> Vec<Surveyed> {
    let one = |spot: &Spot| {
        let ring = Ring::open(&spot.path, true);
        let assurance = ring.as_ref().map_or(Assurance::BestEffort, |ring| ring.assurance());
        let newest = ring.and_then(|ring| {
            let vault = ring.vault()?;
            let newest = ring.whole().max_by_key(|slot| (slot.epoch, slot.sequence)).cloned().ok_or(KeysError::Damaged)?;
            if let Some(enclosure) = &spot.enclosure {
                enclosure.disclose(&About { vault, place: &spot.name, epoch: newest.epoch }, newest.enclosed())?;
            }
            Ok(newest)
        });
        Surveyed {
            name: spot.name.clone(),
            path: spot.path.clone(),
            kind: spot.enclosure.as_ref().map_or("file", |enclosure| enclosure.kind()),
            assurance: spot.enclosure.as_ref().map_or(assurance, |enclosure| enclosure.assurance()),
            newest,
        }
    };
    places.spots.iter().map(one).collect()
}

/// An open keyring, held by this process alone until it is dropped.
pub struct Keyring {
    vault: Id,
    places: Vec<Place>,
    past: Vec<Listed>,
    when_away: WhenAway,
    giving_up: Option<String>,
    /// What the slots say of the place that is about to be given up.
    lost: Option<Listed>,
    /// The largest sequence that was ever seen or written.
    last: u64,
    /// Whether this is a look only, which never writes.
    looks: bool,
}

struct Place {
    spot: Spot,
    /// The file; or why it cannot be used.
    ring: Result<Ring, KeysError>,
    assurance: Assurance,
    since: u64,
    gone_by: Option<u64>,
    /// The secrets of the living and the coming epoch, where the place is enclosed.
    secrets: Vec<Enclosed>,
}

struct Enclosed {
    epoch: u64,
    secret: EpochSecret,
    bytes: Vec<u8>,
}

/// An epoch's key, and the checkpoint beside it.
pub(crate) type Found = (Secret32, (u64, [u8; 32]));

/// What every write of a slot needs.
#[derive(Clone, Copy)]
pub(crate) struct Living<'a> {
    pub(crate) root: &'a Secret32,
    pub(crate) epoch: u64,
    pub(crate) key: &'a Secret32,
    pub(crate) trail: (u64, [u8; 32]),
}

impl Keyring {
    /// Makes a keyring in the one plain place: see [`create_in`](Self::create_in).
    ///
    /// # Errors
    /// As there.
    pub fn create(path: &Path, vault: Id) -> Result<Self, KeysError> {
        Self::create_in(Places::one(path), vault)
    }

    /// Makes the file of each place (mode 0600, both slots free) and its directory (mode 0700) if that is missing.
    ///
    /// # Errors
    /// [`KeysError::Keyring`] when one exists or cannot be written, [`KeysError::TooOpen`] when its directory is open to others,
    /// [`KeysError::Misuse`] when the names are not all different, or not names.
    pub fn create_in(places: Places, vault: Id) -> Result<Self, KeysError> {
        check(&places)?;
        if let Some(taken) = places.spots.iter().find(|spot| spot.path.exists()).filter(|_| places.spots.len() > 1) {
            return Err(KeysError::Places(format!("the file of `{}` is there already", taken.name)));
        }
        let mut made: Vec<Place> = Vec::with_capacity(places.spots.len());
        for spot in places.spots {
            match Ring::create(&spot.path) {
                Ok(ring) => made.push(Place::new(spot, Ok(ring))),
                Err(error) => {
                    // Nothing is in them yet, and the next try is to find none of them.
                    made.into_iter().filter_map(|place| place.ring.ok()).for_each(|ring| drop(ring.remove()));
                    return Err(error);
                }
            }
        }
        let (when_away, giving_up) = (places.when_away, places.giving_up);
        Ok(Self { vault, places: made, past: Vec::new(), when_away, giving_up, lost: None, last: 0, looks: false })
    }

    /// Opens the keyring in the one plain place: see [`open_in`](Self::open_in).
    ///
    /// # Errors
    /// As there.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        Self::open_in(Places::one(path))
    }

    /// Opens the file of each place, and locks it against every other process. A place that cannot be used is away, as long as one can.
    ///
    /// # Errors
    /// [`KeysError::TooOpen`] and [`KeysError::Locked`] whichever place it is; [`KeysError::Keyring`] when no file can be used,
    /// [`KeysError::Damaged`] when no slot is whole; [`KeysError::Places`] when they are of several vaults.
    pub fn open_in(places: Places) -> Result<Self, KeysError> {
        Self::read(places, false)
    }

    /// Looks at the keyring in the one plain place: see [`look_in`](Self::look_in).
    ///
    /// # Errors
    /// As [`open_in`](Self::open_in), but for [`KeysError::Locked`].
    pub fn look(path: &Path) -> Result<Self, KeysError> {
        Self::look_in(Places::one(path))
    }

    /// Looks at the files without locking them and without ever writing to them, so that a backup can be tried while the vault runs. What
    /// is opened with it can read; a transition fails.
    ///
    /// # Errors
    /// As [`open_in`](Self::open_in), but for [`KeysError::Locked`].
    pub fn look_in(places: Places) -> Result<Self, KeysError> {
        Self::read(places, true)
    }

    fn read(places: Places, looks: bool) -> Result<Self, KeysError> {
        check(&places)?;
        let mut opened = Vec::with_capacity(places.spots.len());
        let mut vaults = Vec::new();
        for spot in places.spots {
            let ring = match Ring::open(&spot.path, looks) {
                Err(KeysError::Locked) => return Err(KeysError::Locked),
                // The bare mount point of a disk that is not there may be anybody's.
                Err(KeysError::TooOpen(what)) if spot.path.exists() => return Err(KeysError::TooOpen(what)),
                other => other.and_then(|ring| ring.vault().map(|vault| (ring, vault))),
            };
            vaults.extend(ring.as_ref().ok().map(|(_, vault)| *vault));
            opened.push(Place::new(spot, ring.map(|(ring, _)| ring)));
        }
        let Some(vault) = vaults.first().copied() else {
            let first = opened.into_iter().find_map(|place| place.ring.err());
            return Err(first.unwrap_or(KeysError::Damaged));
        };
        if vaults.iter().any(|other| *other != vault) {
            return Err(KeysError::Places("two of them hold keys of different vaults".into()));
        }
        let (when_away, giving_up) = (places.when_away, places.giving_up);
        let whole = opened.iter().filter_map(|place| place.ring.as_ref().ok()).flat_map(Ring::whole);
        let last = whole.map(|slot| slot.sequence).max().unwrap_or(0);
        Ok(Self { vault, places: opened, past: Vec::new(), when_away, giving_up, lost: None, last, looks })
    }

    /// The vault this belongs to.
    pub fn vault(&self) -> Id {
        self.vault
    }

    /// How surely the key of an epoch that is over is gone: as surely as in the weakest place.
    pub fn assurance(&self) -> Assurance {
        let places = self.states();
        let counted = places.iter().filter(|place| place.standing != Standing::Removed);
        counted.map(|place| place.assurance).min().unwrap_or(Assurance::BestEffort)
    }

    /// Every place, the past ones last.
    pub fn states(&self) -> Vec<PlaceState> {
        let living = self.places.iter().map(|place| PlaceState {
            name: place.spot.name.clone(),
            kind: place.spot.enclosure.as_ref().map_or("file", |enclosure| enclosure.kind()),
            standing: if place.ring.is_ok() { Standing::InStep } else { Standing::Away },
            why: place.ring.as_ref().err().map(why),
            assurance: if place.ring.is_ok() { place.assurance } else { Assurance::BestEffort },
            since: place.since,
            until: None,
            gone_by: place.gone_by,
        });
        let past = self.past.iter().map(|place| PlaceState {
            name: place.name.clone(),
            kind: "past",
            standing: place.standing,
            why: None,
            assurance: if place.standing == Standing::GivenUp { Assurance::BestEffort } else { place.assurance },
            since: place.since,
            until: Some(place.until),
            gone_by: None,
        });
        living.chain(past).collect()
    }

    /// Whether any slot holds anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.here().all(|ring| ring.whole().next().is_none())
    }

    /// The key and the checkpoint of the newest copy of an epoch that this root key opens, in whichever place it is; during a change of
    /// the root key the copies are under two of them.
    pub(crate) fn unlock(&mut self, epoch: u64, root: &Secret32) -> Result<Found, KeysError> {
        for ring in self.here() {
            // A coming epoch is written beside the living one. One that stands alone is of a time after these rows: they were rolled back.
            let ahead = ring.whole().any(|slot| slot.epoch > epoch);
            let has = ring.whole().any(|slot| slot.epoch == epoch);
            let far = ring.whole().any(|slot| slot.epoch > epoch.saturating_add(1));
            if far || (ahead && !has) {
                return Err(KeysError::RolledBack);
            }
        }
        let mut refused = None;
        let mut newest: Option<(Slot, Secret32)> = None;
        let vault = self.vault;
        for place in &mut self.places {
            match place.open(vault, epoch, root) {
                Ok(Some((slot, key))) if newest.as_ref().is_none_or(|(known, _)| slot.sequence > known.sequence) => {
                    newest = Some((slot, key));
                }
                Ok(_) => {}
                Err(error) => refused = Some(error),
            }
        }
        let Some((slot, key)) = newest else { return Err(refused.unwrap_or(KeysError::RolledBack)) };
        let listed = slot.places();
        self.compare(&listed)?;
        for place in &mut self.places {
            place.since = listed.iter().find(|known| known.name == place.spot.name).map_or(epoch, |known| known.since);
        }
        self.lost = listed.iter().find(|known| !known.is_past() && self.giving_up.as_ref() == Some(&known.name)).cloned();
        self.past = listed.into_iter().filter(Listed::is_past).collect();
        Ok((key, (slot.trail_size, slot.trail_head)))
    }

    /// The places of the settings must be those of the slots.
    fn compare(&self, listed: &[Listed]) -> Result<(), KeysError> {
        if self.looks {
            return Ok(());
        }
        let living = || listed.iter().filter(|place| !place.is_past());
        if let Some(unknown) = self.places.iter().find(|place| living().all(|known| known.name != place.spot.name)) {
            return Err(KeysError::Places(format!(
                "`{}` is configured, and the keyring was never written there",
                unknown.spot.name
            )));
        }
        let named =
            |name: &String| self.places.iter().any(|place| place.spot.name == *name) || self.giving_up.as_ref() == Some(name);
        match living().find(|known| !named(&known.name)) {
            Some(forgotten) => Err(KeysError::Places(format!(
                "the keyring is in `{}` too, which is not configured any more; what is there lives on",
                forgotten.name
            ))),
            None => Ok(()),
        }
    }

    /// Leaves in every place the living epoch alone, under this root key. What an interrupted change left is destroyed, and a place that
    /// fell behind is written anew.
    pub(crate) fn settle(&mut self, living: Living<'_>) -> Result<(), KeysError> {
        if self.looks {
            return Ok(());
        }
        let sequence = self.newest(living);
        let (vault, listing) = (self.vault, self.listing());
        let alone = self.places.len() == 1;
        for place in &mut self.places {
            if place.ring.is_err() {
                continue;
            }
            let settled = match place.is_in_step(living, sequence) {
                // What a stopped process left with the enclosure is not known here: it is asked in any case.
                true => place
                    .close_all_but(vault, living.epoch, |place, slot| place.opens(slot, living))
                    .and_then(|()| place.forget(vault, living.epoch)),
                false => place.mend(vault, living, sequence, &listing),
            };
            match settled {
                Err(error) if alone => return Err(error),
                Err(error) => place.ring = Err(error),
                Ok(()) => {}
            }
        }
        match self.here().next() {
            Some(_) => Ok(()),
            None => Err(self.nowhere()),
        }
    }

    /// Writes the epoch into every place, anywhere but over the newest copy of the epoch `kept`; returns the sequence of this write.
    ///
    /// When it is for a `change` and places must not be away, one that does not take it makes all of it undone. Else it goes on with the
    /// others, as long as there is one.
    pub(crate) fn write(&mut self, living: Living<'_>, kept: u64, change: bool) -> Result<u64, KeysError> {
        if self.looks {
            return Err(KeysError::Misuse("the keyring was opened for looking only"));
        }
        let sequence = self.next_sequence();
        let (vault, listing) = (self.vault, self.listing());
        let strict = change && self.when_away == WhenAway::Refuse;
        self.last = sequence;
        if strict {
            self.all_here()?;
        }
        for index in 0..self.places.len() {
            let place = &mut self.places[index];
            if place.ring.is_err() {
                continue;
            }
            if let Err(error) = place.put(vault, living, sequence, &listing, kept) {
                place.ring = Err(error);
            }
        }
        if strict && let Err(away) = self.all_here() {
            for place in &mut self.places {
                if let Ok(ring) = &mut place.ring
                    && let Err(error) = ring.erase_but(ring.those(|slot| slot.sequence != sequence))
                {
                    place.ring = Err(error);
                }
            }
            return Err(away);
        }
        match self.here().next() {
            Some(_) => Ok(sequence),
            None => Err(self.nowhere()),
        }
    }

    /// Overwrites, in every place, each slot but those for which `keep` holds, and has the enclosures destroy what encloses any epoch but
    /// `living`. A place in which that fails is away; it is an error when there is no other.
    pub(crate) fn close_all_but(&mut self, living: u64, keep: impl Fn(&Slot) -> bool) -> Result<(), KeysError> {
        let (vault, looks) = (self.vault, self.looks);
        for place in &mut self.places {
            if looks {
                continue;
            }
            if place.ring.is_ok()
                && let Err(error) = place.close_all_but(vault, living, |_, slot| keep(slot))
            {
                place.ring = Err(error);
            }
        }
        match self.here().next() {
            Some(_) => Ok(()),
            None => Err(self.nowhere()),
        }
    }

    /// Writes the places anew that were away and can be used again. What they held is destroyed then.
    pub(crate) fn call_back(&mut self, living: Living<'_>) {
        if self.looks {
            return;
        }
        let sequence = self.newest(living);
        let (vault, listing) = (self.vault, self.listing());
        let alone = self.places.len() == 1;
        for place in self.places.iter_mut().filter(|place| place.ring.is_err()) {
            let back = Ring::open(&place.spot.path, false).and_then(|ring| match ring.vault() {
                Ok(held) if held == vault => Ok(ring),
                _ => Err(KeysError::Damaged),
            });
            let back = back.and_then(|ring| {
                place.assurance = place.judged(&ring);
                place.ring = Ok(ring);
                // Alone, it is still the only one that has the epoch: what it holds is not to be replaced in a hurry.
                if alone { place.is_whole(living) } else { place.mend(vault, living, sequence, &listing) }
            });
            if let Err(error) = back {
                place.ring = Err(error);
            }
        }
    }

    /// Writes the named place anew from the others, and makes its file when it is not there.
    pub(crate) fn repair(&mut self, name: &str, living: Living<'_>) -> Result<(), KeysError> {
        let others = self.places.iter().any(|place| place.spot.name != name && place.ring.is_ok());
        if !others {
            return Err(KeysError::Places("no other place is there that it could be written from".into()));
        }
        let sequence = self.newest(living);
        let (vault, listing) = (self.vault, self.listing());
        let place = self.places.iter_mut().find(|place| place.spot.name == name);
        let place = place.ok_or(KeysError::Misuse("no place of this name"))?;
        if place.ring.is_err() {
            let ring = open_or_create(&place.spot.path, vault)?;
            place.assurance = place.judged(&ring);
            place.ring = Ok(ring);
        }
        place.mend(vault, living, sequence, &listing)
    }

    /// Makes one place more, and says so in all of them.
    pub(crate) fn add(&mut self, spot: Spot, living: Living<'_>) -> Result<(), KeysError> {
        let mut spots: Vec<Spot> = self.places.iter().map(|place| place.spot.clone()).collect();
        spots.push(spot.clone());
        check(&Places { spots, when_away: self.when_away, giving_up: None })?;
        self.all_here()?;
        if self.places.len() + self.past.len() >= MOST_PLACES {
            // Who was removed in good order held nothing that lives: the oldest of them need not be named for ever.
            let oldest = self.past.iter().position(|place| place.standing == Standing::Removed);
            self.past.remove(oldest.ok_or(KeysError::Full("places of the keyring"))?);
        }
        let ring = open_or_create(&spot.path, self.vault)?;
        // The same name once more: what was given up was found, and is about to be overwritten.
        self.past.retain(|place| place.name != spot.name);
        let mut place = Place::new(spot, Ok(ring));
        place.since = living.epoch;
        self.places.push(place);
        let (vault, listing, sequence) = (self.vault, self.listing(), self.next_sequence());
        self.last = sequence;
        let added = match self.places.last_mut() {
            Some(place) => place.mend(vault, living, sequence, &listing),
            None => Ok(()),
        };
        if let Err(error) = added {
            self.places.pop();
            return Err(error);
        }
        self.write(living, living.epoch, true).map(drop)
    }

    /// Overwrites what a place holds, takes its file away, and says so in all others.
    pub(crate) fn remove(&mut self, name: &str, living: Living<'_>) -> Result<(), KeysError> {
        let others = self.places.iter().any(|place| place.spot.name != name && place.ring.is_ok());
        if !others {
            return Err(KeysError::Places("it is the only place that is there: without it nothing opens this vault".into()));
        }
        let index =
            self.places.iter().position(|place| place.spot.name == name).ok_or(KeysError::Misuse("no place of this name"))?;
        let vault = self.vault;
        let place = &mut self.places[index];
        if place.ring.is_err() {
            // Overwritten by a removal that was interrupted; or damaged, which overwriting helps as well.
            place.ring = Ring::open(&place.spot.path, false);
        }
        let ring = match &mut place.ring {
            Ok(ring) => ring,
            Err(error) => return Err(KeysError::Away { place: name.to_owned(), why: why(error) }),
        };
        if ring.whole().any(|slot| slot.vault != vault) {
            return Err(KeysError::Places(format!("the file of `{name}` holds keys of another vault")));
        }
        ring.erase_but([false; 2])?;
        if let Some(enclosure) = &place.spot.enclosure {
            enclosure.destroy_all(&About { vault, place: name, epoch: living.epoch })?;
        }
        let place = self.places.remove(index);
        self.past.push(place.past(Standing::Removed, living.epoch));
        self.write(living, living.epoch, false)?;
        place.ring.and_then(Ring::remove)
    }

    /// Takes a place for lost, and says so in all others.
    pub(crate) fn give_up(&mut self, name: &str, living: Living<'_>) -> Result<(), KeysError> {
        if self.past.iter().any(|place| place.name == name) {
            return Err(KeysError::Misuse("it is no place of the keyring any more"));
        }
        let lost = match self.places.iter().position(|place| place.spot.name == name) {
            Some(index) if self.places[index].ring.is_ok() => {
                return Err(KeysError::Places(format!("`{name}` is there: remove it instead, which overwrites what it holds")));
            }
            Some(index) => self.places.remove(index).past(Standing::GivenUp, living.epoch),
            None if self.giving_up.as_deref() == Some(name) => {
                let lost = self.lost.take().ok_or(KeysError::Misuse("no place of this name"))?;
                Listed { standing: Standing::GivenUp, until: living.epoch, ..lost }
            }
            None => return Err(KeysError::Misuse("no place of this name")),
        };
        self.past.push(lost);
        self.write(living, living.epoch, false).map(drop)
    }

    fn here(&self) -> impl Iterator<Item = &Ring> {
        self.places.iter().filter_map(|place| place.ring.as_ref().ok())
    }

    /// Whether every place is here, or none has to be: then what was to be destroyed is, or the settings say to go on without.
    pub(crate) fn is_closed(&self) -> bool {
        self.when_away == WhenAway::GoOn || self.all_here().is_ok()
    }

    fn all_here(&self) -> Result<(), KeysError> {
        let away = self.places.iter().find_map(|place| Some((place, place.ring.as_ref().err()?)));
        away.map_or(Ok(()), |(place, error)| Err(KeysError::Away { place: place.spot.name.clone(), why: why(error) }))
    }

    fn nowhere(&self) -> KeysError {
        self.all_here().err().unwrap_or(KeysError::Damaged)
    }

    /// The number for the next write.
    fn next_sequence(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// The number of the newest copy of the living epoch.
    fn newest(&self, living: Living<'_>) -> u64 {
        let newest = self.places.iter().filter_map(|place| place.newest(living)).max();
        newest.unwrap_or(self.last)
    }

    /// What a slot has to say about the places; nothing while there never was another than the plain one called `first`.
    fn listing(&self) -> Vec<Listed> {
        let living = self.places.iter().map(|place| Listed {
            name: place.spot.name.clone(),
            standing: Standing::InStep,
            assurance: place.assurance,
            since: place.since,
            until: 0,
        });
        let all: Vec<Listed> = living.chain(self.past.iter().cloned()).collect();
        let plain = self.places.iter().all(|place| place.spot.enclosure.is_none());
        let only_first = |place: &Listed| place.name == FIRST && place.since == 1;
        if plain && all.len() == 1 && all.iter().all(only_first) { Vec::new() } else { all }
    }
}

impl Place {
    fn new(spot: Spot, ring: Result<Ring, KeysError>) -> Self {
        let mut place = Self { spot, ring, assurance: Assurance::BestEffort, since: 1, gone_by: None, secrets: Vec::new() };
        if let Ok(ring) = &place.ring {
            place.assurance = place.judged(ring);
        }
        place
    }

    fn judged(&self, ring: &Ring) -> Assurance {
        self.spot.enclosure.as_ref().map_or_else(|| ring.assurance(), |enclosure| enclosure.assurance())
    }

    fn past(&self, standing: Standing, until: u64) -> Listed {
        Listed { name: self.spot.name.clone(), standing, assurance: self.assurance, since: self.since, until }
    }

    /// The newest copy of an epoch that the root key opens, and the key in it. Asks the enclosure for its secret.
    fn open(&mut self, vault: Id, epoch: u64, root: &Secret32) -> Result<Option<(Slot, Secret32)>, KeysError> {
        let Ok(ring) = &self.ring else { return Ok(None) };
        let mut copies: Vec<Slot> = ring.whole().filter(|slot| slot.epoch == epoch).cloned().collect();
        copies.sort_by_key(|slot| std::cmp::Reverse(slot.sequence));
        if copies.is_empty() {
            return Ok(None);
        }
        let mut refused = None;
        for slot in copies {
            // Of an older copy the enclosure may have nothing any more.
            if let Err(error) = self.learn(vault, &slot) {
                refused.get_or_insert(error);
                continue;
            }
            let Some(own) = self.parent(root, &slot) else { continue };
            if let Ok(key) = slot.open(own.as_ref().unwrap_or(root)) {
                return Ok(Some((slot, key)));
            }
        }
        let Some(error) = refused else { return Err(KeysError::Damaged) };
        let told = KeysError::Away { place: self.spot.name.clone(), why: why(&error) };
        self.ring = Err(error);
        Err(told)
    }

    /// Has the secret of a slot's epoch disclosed, unless it is known.
    fn learn(&mut self, vault: Id, slot: &Slot) -> Result<(), KeysError> {
        let (bytes, known) = (slot.enclosed(), self.secrets.iter().any(|known| known.bytes == slot.enclosed()));
        let Some(enclosure) = &self.spot.enclosure else { return Ok(()) };
        if known || bytes.is_empty() {
            return Ok(());
        }
        let about = About { vault, place: &self.spot.name, epoch: slot.epoch };
        let secret = EpochSecret(Secret32::from_slice(enclosure.disclose(&about, bytes)?.bytes())?);
        self.secrets.push(Enclosed { epoch: slot.epoch, secret, bytes: bytes.to_vec() });
        Ok(())
    }

    /// The key that a slot hangs from, where that is not the root key itself; `None` when it is not known.
    fn parent(&self, root: &Secret32, slot: &Slot) -> Option<Option<Secret32>> {
        if slot.enclosed().is_empty() {
            // A plain slot in an enclosed place is a copy from elsewhere, and would undo the enclosure.
            return self.spot.enclosure.is_none().then_some(None);
        }
        let known = self.secrets.iter().find(|known| known.bytes == slot.enclosed())?;
        enclosed_parent(root, &known.secret).ok().map(Some)
    }

    /// The secret of an epoch that stands in what is written from now on.
    fn secret(&self, epoch: u64) -> Option<&Enclosed> {
        self.secrets.iter().find(|known| known.epoch == epoch)
    }

    fn opens(&self, slot: &Slot, living: Living<'_>) -> bool {
        let current = self.secret(living.epoch).is_none_or(|known| known.bytes == slot.enclosed());
        slot.epoch == living.epoch
            && current
            && self.parent(living.root, slot).is_some_and(|own| slot.open(own.as_ref().unwrap_or(living.root)).is_ok())
    }

    fn newest(&self, living: Living<'_>) -> Option<u64> {
        let ring = self.ring.as_ref().ok()?;
        ring.whole().filter(|slot| self.opens(slot, living)).map(|slot| slot.sequence).max()
    }

    fn is_in_step(&self, living: Living<'_>, sequence: u64) -> bool {
        self.newest(living) == Some(sequence)
    }

    fn is_whole(&self, living: Living<'_>) -> Result<(), KeysError> {
        if self.newest(living).is_some() { Ok(()) } else { Err(KeysError::RolledBack) }
    }

    /// Writes a slot; an enclosed place asks its enclosure once for every epoch.
    fn put(&mut self, vault: Id, living: Living<'_>, sequence: u64, listing: &[Listed], kept: u64) -> Result<usize, KeysError> {
        let (parent, enclosed) = match &self.spot.enclosure {
            None => (None, Vec::new()),
            Some(enclosure) => {
                if self.secret(living.epoch).is_none() {
                    let secret = EpochSecret(Secret32::random()?);
                    let about = About { vault, place: &self.spot.name, epoch: living.epoch };
                    let bytes = enclosure.enclose(&about, &secret)?;
                    if bytes.is_empty() || bytes.len() > MOST_ENCLOSED {
                        return Err(KeysError::Full("what an enclosure gave for a slot"));
                    }
                    self.secrets.push(Enclosed { epoch: living.epoch, secret, bytes });
                }
                let known = self.secret(living.epoch).ok_or(KeysError::Damaged)?;
                (Some(enclosed_parent(living.root, &known.secret)?), known.bytes.clone())
            }
        };
        let listing = (!listing.is_empty()).then(|| Listing { places: listing.to_vec(), enclosed });
        let parent = parent.as_ref().unwrap_or(living.root);
        let slot = Slot::seal(parent, vault, (living.epoch, living.key), sequence, living.trail, listing)?;
        self.ring_mut()?.put(slot, kept)
    }

    /// Overwrites every slot that is not kept, and has the enclosure destroy what encloses any epoch but the living one, where it was asked
    /// for another.
    fn close_all_but(&mut self, vault: Id, living: u64, keep: impl Fn(&Self, &Slot) -> bool) -> Result<(), KeysError> {
        let kept = self.ring.as_ref().map_or([false; 2], |ring| ring.those(|slot| keep(self, slot)));
        self.ring_mut()?.erase_but(kept)?;
        if self.secrets.len() > 1 { self.forget(vault, living) } else { Ok(()) }
    }

    fn forget(&mut self, vault: Id, living: u64) -> Result<(), KeysError> {
        let Some(enclosure) = &self.spot.enclosure else { return Ok(()) };
        let known = self.secret(living).ok_or(KeysError::Damaged)?;
        let about = About { vault, place: &self.spot.name, epoch: living };
        let (destroyed, bytes) = (enclosure.destroy_but(&about, &known.bytes)?, known.bytes.clone());
        self.gone_by = destroyed.gone_by;
        self.secrets.retain(|known| known.bytes == bytes);
        Ok(())
    }

    /// Writes the living epoch and destroys whatever else the place holds.
    fn mend(&mut self, vault: Id, living: Living<'_>, sequence: u64, listing: &[Listed]) -> Result<(), KeysError> {
        // A fresh secret, whatever the place knew: its object may be the very thing that was lost.
        self.secrets.clear();
        let written = self.put(vault, living, sequence, listing, living.epoch)?;
        self.ring_mut()?.erase_but(std::array::from_fn(|index| index == written))?;
        self.forget(vault, living.epoch)
    }

    fn ring_mut(&mut self) -> Result<&mut Ring, KeysError> {
        self.ring.as_mut().map_err(|_| KeysError::Misuse("the place is away"))
    }
}

fn enclosed_parent(root: &Secret32, secret: &EpochSecret) -> Result<Secret32, KeysError> {
    Secret32::from_slice(&zeroize::Zeroizing::new(digest::mac(root, &[b"pv1/enclosure", secret.bytes()]))[..])
}

/// A file that is to become a place: a new one, or one of this vault, or one without a whole slot in it.
fn open_or_create(path: &Path, vault: Id) -> Result<Ring, KeysError> {
    if !path.try_exists().map_err(|error| KeysError::Keyring("look for the file", error))? {
        return Ring::create(path);
    }
    let ring = Ring::open(path, false)?;
    if ring.whole().any(|slot| slot.vault != vault) {
        return Err(KeysError::Places("the file holds keys of another vault".into()));
    }
    Ok(ring)
}

fn check(places: &Places) -> Result<(), KeysError> {
    if places.spots.is_empty() || places.spots.len() > MOST_PLACES {
        return Err(KeysError::Places(format!("a keyring has 1 to {MOST_PLACES} of them")));
    }
    for (index, spot) in places.spots.iter().enumerate() {
        if !is_name(&spot.name) {
            return Err(KeysError::Places("a name is 1 to 24 of a to z, digits and -".into()));
        }
        if places.spots[..index].iter().any(|other| other.name == spot.name || other.path == spot.path) {
            return Err(KeysError::Places(format!("two of them have the name or the file of `{}`", spot.name)));
        }
    }
    Ok(())
}

/// A fault with its cause, which names no value.
fn why(error: &KeysError) -> String {
    match error {
        KeysError::Keyring(step, cause) => format!("{step}: {}", cause.kind()),
        KeysError::Away { why, .. } => why.clone(),
        KeysError::Damaged => "no slot in it is whole and of this vault".into(),
        KeysError::RolledBack => "it holds another epoch than the database".into(),
        other => other.to_string(),
    }
}
