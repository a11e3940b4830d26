//! The adversary: every row ever written, the root key, and the slots of the keyring as given. It tries every key that it has on every
//! row that it could not open yet, takes the keys out of what opens, and goes on until nothing more does.

use std::collections::{HashMap, HashSet};

use super::VAULT;
use crate::bucket::{AliasEntry, Bucket, SubjectEntry};
use crate::context::Id;
use crate::keyring::{SLOT, parse_slot};
use crate::node::Node;
use crate::place::{ALIASES, Place, SUBJECTS, SYSTEM};
use crate::root::RootKey;
use crate::secret::Secret32;
use crate::wrap::{KeyId, kind, unwrap_with};

/// Which keys are tried on which rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// All on all.
    Every,
    /// Those that a parent held for the place that the row's header names; the header is authenticated, so this loses nothing but time.
    ByPlace,
}

/// What the adversary ends up with.
#[derive(Default)]
pub(super) struct Loot {
    pub(super) subject_keys: HashSet<[u8; 32]>,
    pub(super) aliases: HashSet<([u8; 24], Id)>,
    pub(super) rows_opened: usize,
    pub(super) system_opened: bool,
}

pub(super) fn attack(archive: &[(Vec<u8>, Vec<u8>)], root: &RootKey, slots: &[u8], effort: Effort) -> Loot {
    let mut loot = Loot::default();
    // Only rows of distinct bytes matter.
    let mut seen = HashSet::new();
    let mut closed: HashMap<Option<Place>, Vec<&[u8]>> = HashMap::new();
    for (row_key, row) in archive {
        if seen.insert(row.as_slice()) {
            let place = Place::parse(row_key).or(Some(Place::ROOT)).filter(|_| effort == Effort::ByPlace);
            closed.entry(place).or_default().push(row);
        }
    }
    let mut tried = HashSet::new();
    let mut fresh: Vec<(Place, Secret32)> = slots
        .chunks(SLOT)
        .filter_map(parse_slot)
        .filter_map(|slot| slot.open(root.secret()).ok())
        .map(|key| (Place::ROOT, key))
        .collect();
    fresh.push((Place::ROOT, root.secret().duplicate()));
    while let Some((place, key)) = fresh.pop() {
        if !tried.insert((place, *key.bytes())) {
            continue;
        }
        let Some(rows) = closed.get_mut(&Some(place).filter(|_| effort == Effort::ByPlace)) else { continue };
        rows.retain(|row| match open(&key, row) {
            None => true,
            Some((id, plain)) => {
                loot.rows_opened += 1;
                take(&mut loot, &mut fresh, id, &plain, effort);
                false
            }
        });
    }
    loot
}

fn open(key: &Secret32, row: &[u8]) -> Option<(KeyId, crate::secret::Plaintext)> {
    let id = KeyId::read(row).ok()?;
    Some((id, unwrap_with(key, &id, &VAULT, &[], row).ok()?))
}

fn take(loot: &mut Loot, fresh: &mut Vec<(Place, Secret32)>, id: KeyId, plain: &crate::secret::Plaintext, effort: Effort) {
    let here = Place { map: id.map, level: id.level, index: id.index };
    match (id.kind, id.map) {
        (kind::ROOT_NODE, _) => {
            let root = Node::parse_root(plain).unwrap();
            fresh.extend((0..root.len()).map(|map| (Place::top(map as u8), root.child(map).unwrap().1)));
        }
        (kind::INTERIOR, _) => {
            let node = Node::parse(plain).unwrap();
            fresh.extend((0..node.len()).map(|digit| (here.child(digit), node.child(digit).unwrap().1)));
            // A row from before a split lies under the same key.
        }
        (kind::BUCKET, SUBJECTS) => {
            for entry in Bucket::<SubjectEntry>::parse(plain.bytes()).unwrap().entries() {
                loot.subject_keys.insert(*entry.key.bytes());
                if effort == Effort::Every {
                    fresh.push((here, entry.key.duplicate()));
                }
            }
        }
        (kind::BUCKET, ALIASES) => {
            let bucket = Bucket::<AliasEntry>::parse(plain.bytes()).unwrap();
            loot.aliases.extend(bucket.entries().iter().map(|entry| (entry.tag, entry.subject)));
        }
        (kind::BUCKET, SYSTEM) => loot.system_opened = true,
        _ => panic!("a row of no known kind opened"),
    }
}
