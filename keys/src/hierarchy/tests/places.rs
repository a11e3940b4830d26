//! A keyring in several places: written in step, read from any, mended from another, and worth what the weakest is worth.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::attacker::{Effort, attack, attack_with};
use super::{Known, Memory, VAULT, groups, ids, known};
use crate::assurance::Assurance;
use crate::context::Id;
use crate::enclosure::{About, Destroyed, Enclosure, EpochSecret};
use crate::error::KeysError;
use crate::keyring::{SLOT, Slot, parse_slot};
use crate::random;
use crate::root::RootKey;
use crate::secret::Plaintext;
use crate::{Hierarchy, Inserts, Keyring, Places, Shred, Spot, Standing, WhenAway};

/// A thing that keeps a pad for every epoch and gives none of them out.
#[derive(Default)]
struct Coffer {
    pads: Mutex<HashMap<Vec<u8>, [u8; 32]>>,
    away: AtomicBool,
    keeps: AtomicBool,
}

impl Coffer {
    fn answers(&self) -> Result<(), KeysError> {
        if self.away.load(Ordering::Relaxed) { Err(KeysError::Token("it does not answer")) } else { Ok(()) }
    }

    fn secret(&self, enclosed: &[u8]) -> Option<[u8; 32]> {
        let pad = *self.pads.lock().unwrap().get(enclosed.get(..16)?)?;
        Some(std::array::from_fn(|at| pad[at] ^ enclosed[16 + at]))
    }
}

impl Enclosure for Coffer {
    fn kind(&self) -> &'static str {
        "coffer"
    }

    fn assurance(&self) -> Assurance {
        Assurance::Hardware
    }

    fn enclose(&self, _: &About<'_>, secret: &EpochSecret) -> Result<Vec<u8>, KeysError> {
        self.answers()?;
        let (id, pad) = (random::bytes::<16>()?, random::bytes::<32>()?);
        self.pads.lock().unwrap().insert(id.to_vec(), pad);
        Ok(id.into_iter().chain(secret.bytes().iter().zip(pad).map(|(byte, pad)| byte ^ pad)).collect())
    }

    fn disclose(&self, _: &About<'_>, enclosed: &[u8]) -> Result<Plaintext, KeysError> {
        self.answers()?;
        let secret = self.secret(enclosed).ok_or(KeysError::Token("it was destroyed"))?;
        Ok(Plaintext::new(zeroize::Zeroizing::new(secret.to_vec())))
    }

    fn destroy_but(&self, _: &About<'_>, living: &[u8]) -> Result<Destroyed, KeysError> {
        self.answers()?;
        if self.keeps.load(Ordering::Relaxed) {
            return Err(KeysError::Token("it does not let go"));
        }
        self.pads.lock().unwrap().retain(|id, _| *id == living[..16]);
        Ok(Destroyed::default())
    }

    fn destroy_all(&self, _: &About<'_>) -> Result<Destroyed, KeysError> {
        self.answers()?;
        self.pads.lock().unwrap().clear();
        Ok(Destroyed::default())
    }
}

/// A vault whose keyring is in the places of this list.
struct House {
    directory: tempfile::TempDir,
    memory: Memory,
    root: RootKey,
    coffer: Arc<Coffer>,
    names: Vec<&'static str>,
    when_away: WhenAway,
    hierarchy: Option<Hierarchy>,
    /// Every slot that a look found, wherever it was.
    ever: Vec<u8>,
}

impl House {
    fn new(names: &[&'static str]) -> Self {
        let mut house = Self {
            directory: tempfile::tempdir().unwrap(),
            memory: Memory::default(),
            root: RootKey::random().unwrap(),
            coffer: Arc::default(),
            names: names.to_vec(),
            when_away: WhenAway::Refuse,
            hierarchy: None,
            ever: Vec::new(),
        };
        let keyring = Keyring::create_in(house.places(), VAULT).unwrap();
        let (hierarchy, _, writes) = Hierarchy::create(VAULT, house.root.duplicate(), keyring).unwrap();
        house.memory.commit(&writes);
        house.hierarchy = Some(hierarchy);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name).join("keyring")
    }

    /// A place called `coffer…` is enclosed.
    fn spot(&self, name: &str) -> Spot {
        let enclosure = name.starts_with("coffer").then(|| self.coffer.clone() as Arc<dyn Enclosure>);
        Spot { name: name.into(), path: self.path(name), enclosure }
    }

    fn places(&self) -> Places {
        let spots = self.names.iter().map(|name| self.spot(name)).collect();
        Places { spots, when_away: self.when_away, giving_up: None }
    }

    fn keys(&self) -> &Hierarchy {
        self.hierarchy.as_ref().unwrap()
    }

    fn open(&mut self) -> Result<(), KeysError> {
        self.hierarchy = None;
        let keyring = Keyring::open_in(self.places())?;
        self.hierarchy = Some(Hierarchy::open(VAULT, self.root.duplicate(), keyring, &self.memory)?.0);
        Ok(())
    }

    fn add_subjects(&self, count: usize) -> HashMap<Id, Known> {
        let ids = ids(count);
        let subjects: Vec<_> = ids.iter().map(|id| self.keys().new_subject(*id, groups(&[1])).unwrap()).collect();
        let all = subjects.iter().map(|new| (*new.id(), known(new.keys()))).collect();
        let staged = self.keys().stage(&self.memory, Inserts { subjects, ..Inserts::default() }).unwrap();
        self.memory.commit(&staged.writes);
        self.keys().adopt(staged);
        all
    }

    fn shred(&mut self, shreds: &[Shred]) -> Result<(), KeysError> {
        let transition = self.keys().begin(&self.memory, shreds)?;
        self.look();
        self.memory.commit(transition.writes());
        self.keys().finish(transition)?;
        self.look();
        Ok(())
    }

    fn look(&mut self) {
        for name in self.names.clone() {
            self.ever.extend(fs::read(self.path(name)).unwrap_or_default());
        }
    }

    fn reads(&self, all: &HashMap<Id, Known>) -> bool {
        all.iter().all(|(id, keys)| self.keys().subject(&self.memory, id).unwrap().is_some_and(|own| known(&own) == *keys))
    }

    fn epochs(&self, name: &str) -> Vec<u64> {
        fs::read(self.path(name)).unwrap().chunks(SLOT).filter_map(parse_slot).map(|slot| slot.epoch).collect()
    }

    fn standing(&self, name: &str) -> Standing {
        self.keys().places().into_iter().find(|place| place.name == name).unwrap().standing
    }

    fn hide(&self, name: &str) {
        fs::rename(self.path(name), self.directory.path().join(format!("{name}.hidden"))).unwrap();
    }

    fn show(&self, name: &str) {
        fs::rename(self.directory.path().join(format!("{name}.hidden")), self.path(name)).unwrap();
    }
}

#[test]
fn places_are_written_in_step_and_any_of_them_opens_the_vault() {
    let mut house = House::new(&["first", "second", "coffer"]);
    let all = house.add_subjects(20);
    for epoch in 2..5 {
        house.shred(&[]).unwrap();
        for name in ["first", "second", "coffer"] {
            assert_eq!(house.epochs(name), [epoch], "{name}");
        }
    }
    house.keys().checkpoint(7, [7; 32]).unwrap();
    for lost in [["first", "second"], ["first", "coffer"], ["second", "coffer"]] {
        house.hierarchy = None;
        lost.iter().for_each(|name| house.hide(name));
        house.open().unwrap();
        assert!(house.reads(&all));
        assert_eq!(house.keys().last_checkpoint(), Some((7, [7; 32])));
        lost.iter().for_each(|name| house.show(name));
    }
    house.hierarchy = None;
    ["first", "second", "coffer"].iter().for_each(|name| house.hide(name));
    assert!(matches!(house.open(), Err(KeysError::Keyring("open", _))));
}

#[test]
fn nothing_is_destroyed_while_a_place_is_away_unless_that_was_chosen() {
    let mut house = House::new(&["first", "second"]);
    let all = house.add_subjects(10);
    house.hide("second");
    let (rows, slots) = (house.memory.archive().len(), fs::read(house.path("first")).unwrap());
    let refused = house.keys().begin(&house.memory, &[]).map(drop);
    assert!(matches!(refused, Err(KeysError::Away { place, .. }) if place == "second"));
    assert_eq!((house.keys().epoch(), house.standing("second")), (1, Standing::Away));
    assert!(!house.keys().is_closed());
    assert_eq!(house.keys().assurance(), Assurance::BestEffort);
    assert_eq!(house.epochs("first"), [1], "what was begun was not taken back");
    assert!(house.memory.archive().len() == rows && slots.len() == 2 * SLOT);
    // Reading and the checkpoints go on.
    assert!(house.reads(&all));
    house.keys().checkpoint(9, [9; 32]).unwrap();
    house.show("second");
    house.shred(&[]).unwrap();
    assert_eq!((house.epochs("first"), house.epochs("second")), (vec![2], vec![2]));
    assert_eq!(house.standing("second"), Standing::InStep);
    // The same without anything in between: what comes back has the very slot that is to be written there.
    house.hide("second");
    assert!(house.keys().begin(&house.memory, &[]).is_err());
    house.show("second");
    house.shred(&[]).unwrap();
    assert_eq!((house.epochs("first"), house.epochs("second")), (vec![3], vec![3]));

    house.when_away = WhenAway::GoOn;
    house.open().unwrap();
    house.hide("second");
    house.shred(&[]).unwrap();
    assert_eq!(house.keys().assurance(), Assurance::BestEffort);
    assert_eq!(house.standing("second"), Standing::Away);
    house.show("second");
    assert_eq!((house.epochs("first"), house.epochs("second")), (vec![4], vec![3]));
    house.keys().call_back();
    assert_eq!(house.epochs("second"), [4], "the key of the epoch that is over stayed");
    assert!(house.keys().is_closed() && house.standing("second") == Standing::InStep);
}

#[test]
fn a_place_that_fell_behind_is_written_anew_at_the_next_opening() {
    let mut house = House::new(&["first", "second", "coffer"]);
    let all = house.add_subjects(10);
    for name in ["first", "second", "coffer"] {
        let old = fs::read(house.path(name)).unwrap();
        for _ in 0..3 {
            house.shred(&[]).unwrap();
        }
        house.hierarchy = None;
        fs::write(house.path(name), &old).unwrap();
        house.open().unwrap();
        let epoch = house.keys().epoch();
        assert_eq!(house.epochs(name), [epoch], "{name}");
        assert!(fs::read(house.path(name)).unwrap().chunks(SLOT).all(|slot| !old.chunks(SLOT).any(|old| old == slot)));
        assert!(house.reads(&all));
    }
    // One that was lost or damaged is written anew when somebody says so.
    house.hierarchy = None;
    fs::remove_file(house.path("first")).unwrap();
    fs::write(house.path("second"), [0; 2 * SLOT]).unwrap();
    house.open().unwrap();
    assert_eq!((house.standing("first"), house.standing("second")), (Standing::Away, Standing::Away));
    assert!(house.keys().begin(&house.memory, &[]).is_err());
    house.keys().repair_place("first").unwrap();
    house.keys().repair_place("second").unwrap();
    house.shred(&[]).unwrap();
    assert_eq!((house.epochs("first"), house.epochs("second")), (vec![11], vec![11]));
    house.open().unwrap();
    assert!(house.reads(&all));
}

/// kill -9 while an enclosed place is written anew: two slots of one epoch, and what enclosed the first is gone or is about to go.
#[test]
fn writing_a_place_anew_can_stop_between_its_two_slots() {
    for gone in [false, true] {
        let mut house = House::new(&["first", "coffer"]);
        let all = house.add_subjects(5);
        let before = fs::read(house.path("coffer")).unwrap();
        let pads = house.coffer.pads.lock().unwrap().clone();
        house.keys().repair_place("coffer").unwrap();
        house.hierarchy = None;
        let after = fs::read(house.path("coffer")).unwrap();
        let whole = |bytes: &[u8]| bytes.chunks(SLOT).position(|slot| parse_slot(slot).is_some()).unwrap();
        let (old, new) = (whole(&before), whole(&after));
        assert_ne!(old, new);
        let mut both = after.clone();
        both[old * SLOT..][..SLOT].copy_from_slice(&before[old * SLOT..][..SLOT]);
        fs::write(house.path("coffer"), &both).unwrap();
        if !gone {
            house.coffer.pads.lock().unwrap().extend(pads);
        }
        for name in ["first", "coffer"] {
            house.hierarchy = None;
            house.hide(name);
            house.open().unwrap();
            assert!(house.reads(&all));
            house.hierarchy = None;
            house.show(name);
            house.open().unwrap();
            assert_eq!((house.standing("first"), house.standing("coffer")), (Standing::InStep, Standing::InStep));
            assert_eq!(house.coffer.pads.lock().unwrap().len(), 1);
        }
        house.shred(&[]).unwrap();
        house.open().unwrap();
        assert!(house.reads(&all));
    }
}

#[test]
fn the_bare_mount_point_of_a_disk_that_is_away_does_not_keep_the_vault_closed() {
    use std::os::unix::fs::PermissionsExt;
    let mut house = House::new(&["first", "second"]);
    let directory = house.path("second").parent().unwrap().to_owned();
    house.hierarchy = None;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(house.open(), Err(KeysError::TooOpen(_))), "a place that others may read");
    house.hide("second");
    house.open().unwrap();
    assert_eq!(house.standing("second"), Standing::Away);
}

/// A place that was away has the key of a time to which somebody brought the database back.
#[test]
fn an_old_database_does_not_open_with_a_place_that_fell_behind_to_its_time() {
    let mut house = House::new(&["first", "second"]);
    house.when_away = WhenAway::GoOn;
    house.open().unwrap();
    house.add_subjects(10);
    let old = house.memory.rows.read().unwrap().clone();
    for epochs in 1..=2 {
        house.hide("second");
        house.shred(&[]).unwrap();
        house.hierarchy = None;
        house.show("second");
        let now = std::mem::replace(&mut *house.memory.rows.write().unwrap(), old.clone());
        let slots = fs::read(house.path("first")).unwrap();
        assert!(matches!(house.open(), Err(KeysError::RolledBack)), "{epochs} epochs back");
        assert_eq!(fs::read(house.path("first")).unwrap(), slots);
        *house.memory.rows.write().unwrap() = now;
        // So that the second place stays where it is.
        let behind = fs::read(house.path("second")).unwrap();
        house.open().unwrap();
        fs::write(house.path("second"), behind).unwrap();
    }
}

fn secrets(coffer: &Coffer, slot: &Slot) -> Option<[u8; 32]> {
    coffer.secret(slot.enclosed())
}

#[test]
fn every_file_that_ever_was_opens_nothing_of_the_erased_where_the_only_place_is_enclosed() {
    let mut house = House::new(&["coffer"]);
    let all = house.add_subjects(60);
    house.look();
    house.shred(&[]).unwrap();
    let victims: Vec<Id> = all.keys().copied().take(10).collect();
    house.keys().checkpoint(5, [5; 32]).unwrap();
    house.look();
    // What the coffer gives before is what it takes for the control.
    let before: HashMap<Vec<u8>, [u8; 32]> = house
        .ever
        .chunks(SLOT)
        .filter_map(parse_slot)
        .filter_map(|slot| Some((slot.enclosed().to_vec(), secrets(&house.coffer, &slot)?)))
        .collect();
    house.shred(&victims.iter().map(|id| Shred::Subject(*id)).collect::<Vec<_>>()).unwrap();
    assert_eq!(house.keys().assurance(), Assurance::Hardware);
    assert_eq!(house.coffer.pads.lock().unwrap().len(), 1);

    let archive = house.memory.archive();
    let holds = |loot: &super::attacker::Loot, id: &Id| all[id].values().any(|(_, key)| loot.subject_keys.contains(key));
    let count = |loot: &super::attacker::Loot| {
        (victims.iter().filter(|id| holds(loot, id)).count(), all.keys().filter(|id| holds(loot, id)).count())
    };
    let files = attack(&archive, &house.root, &house.ever, Effort::ByPlace);
    assert_eq!((files.rows_opened, count(&files)), (0, (0, 0)), "files and root key alone");
    let now = |slot: &Slot| secrets(&house.coffer, slot);
    let with_coffer = attack_with(&archive, &house.root, &house.ever, Effort::ByPlace, &now);
    assert_eq!(count(&with_coffer), (0, 50), "with the coffer as it is now the living open, and nobody else");
    let then = |slot: &Slot| before.get(slot.enclosed()).copied();
    let control = attack_with(&archive, &house.root, &house.ever, Effort::ByPlace, &then);
    assert_eq!(count(&control), (10, 60), "the adversary can read at all");
}

#[test]
fn a_plain_place_beside_the_enclosed_one_makes_it_worth_as_much_as_the_plain_one() {
    let house = House::new(&["first", "coffer"]);
    let plain = house.keys().places().into_iter().find(|place| place.name == "first").unwrap().assurance;
    assert!(plain < Assurance::Hardware);
    assert_eq!(house.keys().assurance(), plain);
}

#[test]
fn an_enclosure_that_does_not_let_go_closes_nothing_until_it_does() {
    let mut house = House::new(&["first", "coffer"]);
    house.coffer.keeps.store(true, Ordering::Relaxed);
    house.shred(&[]).unwrap();
    assert!(!house.keys().is_closed());
    assert_eq!(house.standing("coffer"), Standing::Away);
    house.open().unwrap();
    assert!(!house.keys().is_closed(), "a restart forgot it");
    assert!(house.keys().begin(&house.memory, &[]).is_err());
    house.coffer.keeps.store(false, Ordering::Relaxed);
    house.keys().call_back();
    assert!(house.keys().is_closed());
    assert_eq!(house.coffer.pads.lock().unwrap().len(), 1);

    let mut alone = House::new(&["coffer"]);
    alone.coffer.keeps.store(true, Ordering::Relaxed);
    assert!(matches!(alone.shred(&[]), Err(KeysError::Away { .. })));
    alone.coffer.away.store(true, Ordering::Relaxed);
    assert!(matches!(alone.open(), Err(KeysError::Away { .. })));
    alone.coffer.away.store(false, Ordering::Relaxed);
    alone.coffer.keeps.store(false, Ordering::Relaxed);
    alone.open().unwrap();
    assert_eq!((alone.keys().epoch(), alone.coffer.pads.lock().unwrap().len()), (2, 1));
}

/// kill -9 between any two steps, seen from the files: each place may have come further than the others.
#[test]
fn a_transition_can_stop_between_any_two_places() {
    const NAMES: [&str; 3] = ["first", "second", "coffer"];
    for committed in [false, true] {
        for reached in 0..=3 {
            let mut house = House::new(&NAMES);
            let all = house.add_subjects(10);
            let files = |house: &House| NAMES.map(|name| fs::read(house.path(name)).unwrap());
            let before = files(&house);
            let victim = *all.keys().next().unwrap();
            let transition = house.keys().begin(&house.memory, &[Shred::Subject(victim)]).unwrap();
            let begun = files(&house);
            let pads = house.coffer.pads.lock().unwrap().clone();
            let after = if committed {
                house.memory.commit(transition.writes());
                house.keys().finish(transition).unwrap();
                files(&house)
            } else {
                drop(transition);
                begun.clone()
            };
            house.hierarchy = None;
            *house.coffer.pads.lock().unwrap() = pads;
            // The first `reached` places took the step; the others had not.
            let (done, rest) = if committed { (&after, &begun) } else { (&begun, &before) };
            for (index, name) in NAMES.iter().enumerate() {
                fs::write(house.path(name), if index < reached { &done[index] } else { &rest[index] }).unwrap();
            }
            house.open().unwrap();
            let epoch = if committed { 2 } else { 1 };
            assert_eq!(house.keys().epoch(), epoch);
            for name in NAMES {
                assert!(house.epochs(name).iter().all(|held| *held == epoch), "{name}, {reached} places, committed: {committed}");
                assert_eq!(house.standing(name), Standing::InStep);
            }
            assert_eq!(house.coffer.pads.lock().unwrap().len(), 1, "{reached} places, committed: {committed}");
            let living: HashMap<_, _> = all.into_iter().filter(|(id, _)| !committed || *id != victim).collect();
            assert!(house.reads(&living));
            house.shred(&[]).unwrap();
        }
    }
}

#[test]
fn a_place_is_added_and_removed_and_the_slots_know() {
    let mut house = House::new(&["first"]);
    let all = house.add_subjects(10);
    house.shred(&[]).unwrap();
    let plain = fs::read(house.path("first")).unwrap();
    assert!(plain.chunks(SLOT).any(|slot| slot.starts_with(b"PVEPOCH1")), "one plain place needs no list");
    house.names.push("coffer");
    assert!(matches!(house.open(), Err(KeysError::Places(said)) if said.contains("`coffer` is configured")));
    house.names.pop();
    house.open().unwrap();
    house.keys().add_place(house.spot("coffer")).unwrap();
    // A line that was taken out of the settings does not make a place forgotten.
    assert!(matches!(house.open(), Err(KeysError::Places(said)) if said.contains("`coffer` too")));
    house.names.push("coffer");
    house.open().unwrap();
    house.shred(&[]).unwrap();
    assert_eq!((house.epochs("first"), house.epochs("coffer")), (vec![3], vec![3]));
    let since: Vec<_> = house.keys().places().into_iter().map(|place| (place.name, place.since)).collect();
    assert_eq!(since, [("first".to_owned(), 1), ("coffer".to_owned(), 2)]);

    house.keys().remove_place("first").unwrap();
    assert!(!house.path("first").exists());
    assert!(matches!(house.open(), Err(KeysError::Places(said)) if said.contains("`first` is configured")));
    house.names.remove(0);
    house.open().unwrap();
    assert_eq!(house.keys().assurance(), Assurance::Hardware);
    assert_eq!(house.standing("first"), Standing::Removed);
    assert!(matches!(house.keys().remove_place("coffer"), Err(KeysError::Places(_))), "the last place");
    assert!(house.reads(&all));
    house.shred(&[]).unwrap();
    house.open().unwrap();
    assert!(house.reads(&all));
}

#[test]
fn a_place_that_was_given_up_stays_in_the_list_and_in_the_assurance() {
    for named in [true, false] {
        let mut house = House::new(&["coffer", "second"]);
        house.shred(&[]).unwrap();
        assert!(matches!(house.keys().give_up_place("second"), Err(KeysError::Places(_))), "it is there");
        house.hierarchy = None;
        house.hide("second");
        let mut places = house.places();
        if !named {
            places.spots.pop();
            places.giving_up = Some("second".into());
        }
        let keyring = Keyring::open_in(places).unwrap();
        let hierarchy = Hierarchy::open(VAULT, house.root.duplicate(), keyring, &house.memory).unwrap().0;
        assert!(hierarchy.remove_place("second").is_err());
        hierarchy.give_up_place("second").unwrap();
        drop(hierarchy);
        house.names.pop();
        house.open().unwrap();
        house.shred(&[]).unwrap();
        let state = house.keys().places().pop().unwrap();
        assert_eq!((state.standing, state.since, state.until), (Standing::GivenUp, 1, Some(2)));
        assert_eq!(house.keys().assurance(), Assurance::BestEffort);
        // Found again and overwritten, it counts no more.
        house.show("second");
        house.keys().add_place(house.spot("second")).unwrap();
        assert!(house.epochs("second").iter().all(|epoch| *epoch == 3));
        assert!(house.keys().places().iter().all(|place| place.standing == Standing::InStep));
    }
}

#[test]
fn the_root_key_is_changed_in_every_place_and_can_stop_anywhere() {
    const NAMES: [&str; 2] = ["first", "coffer"];
    for reached in 0..=2 {
        for installed in [false, true] {
            let mut house = House::new(&NAMES);
            let all = house.add_subjects(5);
            let files = |house: &House| NAMES.map(|name| fs::read(house.path(name)).unwrap());
            let before = files(&house);
            let new = RootKey::random().unwrap();
            let mut both = None;
            house
                .keys()
                .rotate_root(new.duplicate(), || {
                    both = Some(files(&house));
                    Ok(())
                })
                .unwrap();
            house.hierarchy = None;
            let both = both.unwrap();
            for (index, name) in NAMES.iter().enumerate() {
                // Only when every place took it does the new root key's file get its name.
                let took = index < reached || installed;
                fs::write(house.path(name), if took { &both[index] } else { &before[index] }).unwrap();
            }
            let old = std::mem::replace(&mut house.root, new.duplicate());
            if !installed {
                house.root = old.duplicate();
            }
            house.open().unwrap();
            assert!(house.reads(&all));
            house.shred(&[]).unwrap();
            house.root = if installed { old } else { new };
            assert!(house.open().is_err(), "the other root key opens it still");
        }
    }
}

#[test]
fn a_forged_list_of_places_does_not_open() {
    let mut house = House::new(&["first", "second"]);
    house.hierarchy = None;
    house.names.pop();
    fs::remove_file(house.path("second")).unwrap();
    // The list names `second` removed; the checksum is right, and the list is bound to the key.
    let mut slots = fs::read(house.path("first")).unwrap();
    for slot in slots.chunks_mut(SLOT).filter(|slot| slot.starts_with(b"PVEPOCH2")) {
        slot[205 + 42 + 24] = 1;
        let sum = crate::digest::sha256(&[&slot[..SLOT - 32]]);
        slot[SLOT - 32..].copy_from_slice(&sum);
        assert!(parse_slot(slot).is_some());
    }
    fs::write(house.path("first"), slots).unwrap();
    assert!(matches!(house.open(), Err(KeysError::Damaged)));
}

#[test]
fn a_keyring_with_a_list_has_no_slot_that_a_flipped_bit_leaves_whole() {
    let house = House::new(&["first", "coffer"]);
    let slots = fs::read(house.path("coffer")).unwrap();
    let whole = slots.chunks(SLOT).find(|slot| parse_slot(slot).is_some()).unwrap();
    for bit in 0..SLOT * 8 {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(parse_slot(&flipped).is_none(), "bit {bit}");
    }
}
