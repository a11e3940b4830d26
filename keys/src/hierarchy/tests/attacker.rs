//! The adversary: every row ever written, the root key, and the slots of the keyring as given. It tries every key that it has on every
//! row that it could not open yet, takes the keys out of what opens, and goes on until nothing more does.

use std::collections::{HashMap, HashSet};

use super::VAULT;
use crate::bucket::{AliasEntry, Bucket, SubjectEntry};
use crate::context::Id;
use crate::digest;
use crate::keyring::{SLOT, Slot, parse_slot};
use crate::node::Node;
use crate::place::{ALIASES, ALIASES_ODD, Place, SUBJECTS, SYSTEM};
use crate::root::RootKey;
use crate::secret::Secret32;
use crate::system::{System, SystemKey};
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
    /// Keys of the vault's own: of the index keys the route key stands for all.
    pub(super) system: HashSet<(SystemKey, [u8; 32])>,
    /// Public halves of the signing keys that are known.
    pub(super) signers: HashSet<[u8; 32]>,
}

pub(super) fn attack(archive: &[(Vec<u8>, Vec<u8>)], root: &RootKey, slots: &[u8], effort: Effort) -> Loot {
    attack_with(archive, root, slots, effort, &|_| None)
}

/// The same adversary, who is also told the secrets of epochs that an enclosure gives.
pub(super) fn attack_with(
    archive: &[(Vec<u8>, Vec<u8>)],
    root: &RootKey,
    slots: &[u8],
    effort: Effort,
    secret: &dyn Fn(&Slot) -> Option<[u8; 32]>,
) -> Loot {
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
        .filter_map(|slot| {
            let below = secret(&slot).map(|secret| digest::mac(root.secret(), &[b"pv1/enclosure", &secret]));
            let below = below.map(|below| Secret32::from_slice(&below).unwrap());
            slot.open(root.secret()).or_else(|wrong| slot.open(below.as_ref().ok_or(wrong)?)).ok()
        })
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
        (kind::BUCKET, ALIASES | ALIASES_ODD) => {
            let bucket = Bucket::<AliasEntry>::parse(plain.bytes()).unwrap();
            loot.aliases.extend(bucket.entries().iter().map(|entry| (entry.tag, entry.subject)));
        }
        (kind::BUCKET, SYSTEM) => {
            loot.system_opened = true;
            let bucket = Bucket::parse(plain.bytes()).unwrap();
            let system = System::open(&bucket).unwrap();
            loot.system.extend(system.index.iter().map(|keys| (SystemKey::Index, *keys.route.bytes())));
            for (key, aged) in
                [(SystemKey::Row, &system.row), (SystemKey::Statistics, &system.statistics), (SystemKey::Token, &system.token)]
            {
                loot.system.extend(aged.iter().map(|one| (key, *one.key.bytes())));
            }
            loot.signers.extend(crate::system::signers_of(&bucket));
        }
        _ => panic!("a row of no known kind opened"),
    }
}
