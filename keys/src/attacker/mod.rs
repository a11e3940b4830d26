//! The adversary of the forensic test: every byte that the database ever wrote, the passphrase, and a keyring. **Tests only.**
//!
//! It is here because this crate alone may name crypto crates. It is built with the feature `attacker` and no other way, uses nothing else
//! of the crate, and shares no code with it: the formats are read by [`open`], written a second time from their drawings.
//!
//! [`attack`] computes a fixed point: whatever a known key opens gives more keys, until nothing more opens. A key is tried on everything
//! that could be under it. Of the tree rows that is what names its place, of the rows of a subject all of that subject's, at every
//! version; those facts are in the header or in the key derivation, so trying more would open nothing more. Bytes that look like a
//! ciphertext and are in no known row ("strays") are tried with every key of their kind.

mod open;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use open::{Bound, Key, header};

type Id = [u8; 16];

/// What the adversary has.
pub struct Held<'a> {
    /// The vault's id.
    pub vault: Id,
    /// The tenant's id.
    pub tenant: Id,
    /// The root key file.
    pub root: &'a [u8],
    /// What opens it.
    pub passphrase: &'a str,
    /// Slots of the keyring, 4,096 B each, of any age.
    pub slots: &'a [Vec<u8>],
    /// Every row that ever was: row key and value.
    pub rows: &'a [(Vec<u8>, Vec<u8>)],
    /// Bytes that begin like a ciphertext and were found in no row.
    pub strays: &'a [Vec<u8>],
}

/// What the adversary gets.
#[derive(Default)]
pub struct Loot {
    /// Different epoch keys.
    pub epochs: usize,
    /// Rows of the key trees that opened.
    pub tree_rows: usize,
    /// Subjects of whom at least one key is known.
    pub subjects: BTreeSet<Id>,
    /// Records whose key is known: subject and record.
    pub record_keys: BTreeSet<(Id, Id)>,
    /// Fields of every version of a record that opened, by subject and record.
    pub fields: BTreeMap<(Id, Id), Vec<Field>>,
    /// Tags of aliases and whose they are.
    pub aliases: HashSet<([u8; 24], Id)>,
    /// Rows under a tag key or the vault's row key that opened: row key and plaintext.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Strays that opened.
    pub strays: usize,
    /// Every key that was found on the way, the root key first: what must not stand in the memory of a sealed process.
    pub keys: Vec<[u8; 32]>,
    /// The vault's own keys, by use and generation.
    system: BTreeMap<(u16, u32), Key>,
}

/// A field of some version of a record: its number and its plaintext.
pub type Field = (u16, Vec<u8>);

const ROW_KEY: u16 = 18;
const STATISTICS_KEY: u16 = 20;
/// Not a key but the public half of one.
const FORMER: u16 = 21;

impl Loot {
    /// Whether the vault's own keys are known, each in some generation.
    pub fn has_system_keys(&self) -> bool {
        let uses: BTreeSet<u16> = self.system.keys().map(|(usage, _)| *usage).filter(|usage| *usage != FORMER).collect();
        uses.len() == 13
    }

    /// The generations of an alias kind's index key that are known.
    pub fn index_generations(&self, kind: u8) -> Vec<u32> {
        self.keys(u16::from(kind.wrapping_sub(1)) % 8 + 1).map(|(generation, _)| generation).collect()
    }

    /// The tags that an alias has under every index key that is known, for a dictionary attack; the newest last.
    pub fn alias_tags(&self, tenant: &Id, kind: u8, normalised: &str) -> Vec<[u8; 24]> {
        let tag = |(generation, key): (u32, &Key)| {
            let digest = open::sha256(&[b"pv1/alias-text", normalised.as_bytes()]);
            let mac = match generation {
                0 => open::hmac(key, &[b"pv1/alias", tenant, &[kind], normalised.as_bytes()]),
                _ => open::hmac(key, &[b"pv2/alias", tenant, &[kind], &digest]),
            };
            mac[..24].try_into().unwrap_or_default()
        };
        self.keys(u16::from(kind.wrapping_sub(1)) % 8 + 1).map(tag).collect()
    }

    /// The newest of these.
    pub fn alias_tag(&self, tenant: &Id, kind: u8, normalised: &str) -> Option<[u8; 24]> {
        self.alias_tags(tenant, kind, normalised).pop()
    }

    /// A digest under the newest row key of the vault, for a dictionary attack.
    pub fn keyed_digest(&self, label: &str, parts: &[&[u8]]) -> Option<[u8; 32]> {
        let parts = std::iter::once(label.as_bytes()).chain(parts.iter().copied());
        let digests: Vec<u8> = parts.flat_map(|part| open::sha256(&[part])).collect();
        self.keys(ROW_KEY).last().map(|(_, key)| open::hmac(key, &[b"pv1/prf", &digests]))
    }

    fn keys(&self, usage: u16) -> impl Iterator<Item = (u32, &Key)> {
        self.system.range((usage, 0)..=(usage, u32::MAX)).map(|((_, generation), key)| (*generation, key))
    }
}

/// A place in a tree, as in a row's header.
type Place = (u8, u8, u32);

/// Overflow rows by their keys, each with every value that it ever had.
type Pieces<'a> = BTreeMap<&'a [u8], Vec<&'a [u8]>>;

/// Ways to put the pieces of one envelope together that are tried.
const ENVELOPES: usize = 256;

/// A row key and the sealed bytes under it.
type Row<'a> = (&'a [u8], &'a [u8]);

/// A key of a subject: class (0: the tag key), generation, key.
type SubjectKey = (u16, u32, Key);

/// One version of a record's row, or more: what wraps, label and envelope it had.
#[derive(Default)]
struct Record<'a> {
    wraps: HashSet<&'a [u8]>,
    sealed_labels: HashSet<&'a [u8]>,
    envelopes: HashSet<(u32, Vec<u8>)>,
    groups: BTreeSet<u32>,
    keys: BTreeSet<Key>,
    labels: BTreeSet<[u8; 32]>,
}

struct Attack<'a> {
    held: &'a Held<'a>,
    loot: Loot,
    tree: HashMap<Place, Vec<&'a [u8]>>,
    /// Rows under a subject's tag key.
    own: HashMap<Id, Vec<Row<'a>>>,
    records: HashMap<Id, HashMap<Id, Record<'a>>>,
    /// Rows under the vault's row key.
    vault_rows: Vec<Row<'a>>,
    /// Rows under the statistics key.
    statistics: Vec<Row<'a>>,
    place_keys: Vec<(Place, Key)>,
    subject_keys: HashMap<Id, BTreeSet<SubjectKey>>,
}

/// Opens everything that the adversary can.
pub fn attack(held: &Held<'_>) -> Loot {
    attack_disclosed(held, &[])
}

/// The same adversary, who also has secrets of epochs: what stands in a slot of an enclosed place, and what its enclosure gives for that.
pub fn attack_disclosed(held: &Held<'_>, disclosed: &[(Vec<u8>, [u8; 32])]) -> Loot {
    let mut attack = Attack {
        held,
        loot: Loot::default(),
        tree: HashMap::new(),
        own: HashMap::new(),
        records: HashMap::new(),
        vault_rows: Vec::new(),
        statistics: Vec::new(),
        place_keys: Vec::new(),
        subject_keys: HashMap::new(),
    };
    attack.sort_rows();
    attack.begin(disclosed);
    attack.climb_down();
    attack.open_rows();
    attack.open_strays();
    attack.open_envelopes();
    attack.open_vault_rows();
    let subjects = attack.subject_keys.values().flatten().map(|(_, _, key)| *key);
    let records = attack.records.values().flat_map(HashMap::values).flat_map(|record| record.keys.iter().copied());
    attack.loot.keys.extend(subjects.chain(records).chain(attack.loot.system.values().copied()));
    attack.loot.subjects = attack.subject_keys.keys().copied().collect();
    attack.loot
}

impl<'a> Attack<'a> {
    fn sort_rows(&mut self) {
        let mut pieces = Pieces::new();
        for (key, value) in self.held.rows {
            match key.first() {
                Some(b'n') => {
                    if let Some(head) = header(value) {
                        self.tree.entry((head.map, head.level, head.index)).or_default().push(value);
                    }
                }
                // Rows about one subject; and papers, whose first part is the id that their key stands under.
                Some(b's' | b'c' | b'g' | b'l' | b'd' | b'u' | b'b' | b'p') => {
                    if let Some(subject) = id(key, 1) {
                        self.own.entry(subject).or_default().push((key, value));
                    }
                }
                Some(b'i') if value.first() == Some(&1) => {
                    if let (Some(subject), Some(sealed)) = (id(value, 9), value.get(25..)) {
                        self.own.entry(subject).or_default().push((key, sealed));
                    }
                }
                Some(b'i') => self.vault_rows.extend(value.get(25..).map(|sealed| (key.as_slice(), sealed))),
                Some(b'e' | b'k' | b't' | b'x' | b'q' | b'o' | b'f' | b'h' | b'a' | b'w' | b'z' | b'J') => {
                    self.vault_rows.push((key, value))
                }
                Some(b'y') => self.statistics.push((key, value)),
                Some(b'm') if key.get(1) == Some(&5) => self.vault_rows.push((key, value)),
                Some(b'v') => pieces.entry(key).or_default().push(value),
                _ => {}
            }
        }
        for stray in self.held.strays {
            if let Some(head) = header(stray).filter(|head| head.kind <= 3) {
                self.tree.entry((head.map, head.level, head.index)).or_default().push(stray);
            }
        }
        for (key, value) in self.held.rows.iter().filter(|(key, _)| key.first() == Some(&b'r')) {
            if let (Some(subject), Some(record)) = (id(key, 1), id(key, 17)) {
                let record = self.records.entry(subject).or_default().entry(record).or_default();
                let _ = take_record(record, key, value, &pieces);
            }
        }
    }

    fn begin(&mut self, disclosed: &[(Vec<u8>, [u8; 32])]) {
        let Some(root) = open::root_key(self.held.root, self.held.passphrase) else { return };
        self.loot.keys.push(root);
        for slot in self.held.slots {
            if let Some(key) =
                open::epoch_key(&root, slot, |enclosed| Some(disclosed.iter().find(|(known, _)| known == enclosed)?.1))
                && !self.place_keys.contains(&((0xff, 0, 0), key))
            {
                self.loot.epochs += 1;
                self.place_keys.push(((0xff, 0, 0), key));
            }
        }
    }

    /// Down the trees: each key on every row that names its place.
    fn climb_down(&mut self) {
        while let Some((place, key)) = self.place_keys.pop() {
            self.loot.keys.push(key);
            let mut closed = self.tree.remove(&place).unwrap_or_default();
            let mut opened = Vec::new();
            closed.retain(|row| match open::wrap(&key, &self.held.vault, &[], row) {
                Some(plain) => {
                    opened.push((row[5], plain));
                    false
                }
                None => true,
            });
            self.tree.insert(place, closed);
            for (kind, plain) in opened {
                self.loot.tree_rows += 1;
                self.take_tree_row(kind, place, &plain);
            }
        }
    }

    fn take_tree_row(&mut self, kind: u8, place: Place, plain: &[u8]) {
        let (map, level, index) = place;
        match (kind, map) {
            (1, _) => self.place_keys.extend((0u8..).zip(children(plain)).map(|(map, key)| ((map, 0, 0), key))),
            (2, _) => {
                let child = |(digit, key)| ((map, level + 1, (index << 7) | digit), key);
                self.place_keys.extend((0u32..).zip(children(plain)).map(child));
            }
            (3, 0) => {
                for entry in plain.get(2..).unwrap_or_default().chunks_exact(72) {
                    let class = u16::from_be_bytes([entry[16], entry[17]]);
                    let generation = u32::from_be_bytes([entry[18], entry[19], entry[20], entry[21]]);
                    if let (Some(subject), Some(key)) = (id(entry, 0), secret(entry, 32)) {
                        self.subject_keys.entry(subject).or_default().insert((class, generation, key));
                    }
                }
            }
            (3, 1 | 3) => {
                for entry in plain.get(2..).unwrap_or_default().chunks_exact(40) {
                    if let (Ok(tag), Some(subject)) = (entry[..24].try_into(), id(entry, 24)) {
                        self.loot.aliases.insert((tag, subject));
                    }
                }
            }
            (3, 2) => {
                let (count, entries) = plain.split_at(2.min(plain.len()));
                let count = count.iter().fold(0, |count, byte| count << 8 | usize::from(*byte));
                // Entries from before generations have none.
                let size = if entries.len() == count * 42 { 42 } else { 46 };
                for entry in entries.chunks_exact(size) {
                    let generation = if size == 42 { 0 } else { u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]) };
                    if let Some(key) = secret(entry, size - 32) {
                        self.loot.system.insert((u16::from_be_bytes([entry[0], entry[1]]), generation), key);
                    }
                }
            }
            _ => {}
        }
    }

    /// What lies under the keys of subjects: rows, labels, record keys.
    fn open_rows(&mut self) {
        for (subject, keys) in &self.subject_keys {
            for (key, sealed) in self.own.get(subject).into_iter().flatten() {
                let opened = keys.iter().filter(|(class, ..)| *class == 0);
                let opened = opened.filter_map(|(_, _, tag_key)| open::wrap(tag_key, &self.held.vault, key, sealed));
                self.loot.rows.extend(opened.map(|plain| (key.to_vec(), plain)));
            }
            for (id, record) in self.records.get_mut(subject).into_iter().flatten() {
                open_record(&self.held.vault, subject, id, keys, record);
            }
        }
    }

    fn open_envelopes(&mut self) {
        let (vault, tenant) = (&self.held.vault, &self.held.tenant);
        let strays: Vec<&Vec<u8>> = self.held.strays.iter().filter(|stray| stray.starts_with(b"PVR1")).collect();
        for (subject, records) in &self.records {
            for (id, record) in records.iter().filter(|(_, record)| !record.keys.is_empty()) {
                self.loot.record_keys.insert((*subject, *id));
                let strays = record.groups.iter().flat_map(|groups| strays.iter().map(move |stray| (*groups, *stray)));
                for (groups, envelope) in record.envelopes.iter().map(|(groups, envelope)| (*groups, envelope)).chain(strays) {
                    for (key, label) in record.keys.iter().flat_map(|key| record.labels.iter().map(move |label| (key, label))) {
                        let bound = Bound { vault, tenant, subject, record: id, groups, label };
                        if let Some(fields) = open::envelope(key, &bound, envelope) {
                            self.loot.fields.entry((*subject, *id)).or_default().extend(fields);
                        }
                    }
                }
            }
        }
    }

    fn open_vault_rows(&mut self) {
        let of = |usage| self.loot.keys(usage).map(|(_, key)| *key).collect::<Vec<Key>>();
        let (row_keys, statistics_keys) = (of(ROW_KEY), of(STATISTICS_KEY));
        for (key, sealed) in std::mem::take(&mut self.statistics) {
            let opened = statistics_keys.iter().find_map(|one| open::wrap(one, &self.held.vault, key, sealed));
            self.loot.rows.extend(opened.map(|plain| (key.to_vec(), plain)));
        }
        for (key, sealed) in std::mem::take(&mut self.vault_rows) {
            if let Some(plain) = row_keys.iter().find_map(|one| open::wrap(one, &self.held.vault, key, sealed)) {
                self.open_within(key, &plain);
                self.loot.rows.push((key.to_vec(), plain));
            }
        }
    }

    /// What a row of the vault holds of one subject, sealed once more under some subject's tag key.
    fn open_within(&mut self, ext: &[u8], plain: &[u8]) {
        let starts = (3..plain.len()).filter(|start| plain[*start..].starts_with(b"PVW1"));
        let sealed = starts.filter_map(|start| {
            // A byte string of CBOR (RFC 8949): its head says how long it is.
            let length = match plain[start - 3..start] {
                [_, 0x58, length] => usize::from(length),
                [0x59, high, low] => usize::from(u16::from_be_bytes([high, low])),
                _ => return None,
            };
            plain.get(start..start + length)
        });
        for sealed in sealed {
            let tag_keys = self.subject_keys.values().flatten().filter(|key| key.0 == 0);
            let opened = tag_keys.filter_map(|(_, _, key)| open::wrap(key, &self.held.vault, ext, sealed));
            self.loot.rows.extend(opened.map(|plain| (ext.to_vec(), plain)));
        }
    }

    /// Every known key of the right kind on what is in no row. (Tree rows among it were tried with all others.)
    fn open_strays(&mut self) {
        let vault = &self.held.vault;
        for stray in self.held.strays {
            let Some(head) = header(stray).filter(|head| head.kind == 8 || head.kind == 9) else { continue };
            for (subject, keys) in &self.subject_keys {
                let class = if head.kind == 8 { u16::from(head.level) } else { 0 };
                for (_, _, key) in keys.iter().filter(|key| key.0 == class && key.1 == head.index) {
                    for (id, record) in self.records.get_mut(subject).into_iter().flatten() {
                        let (place, last): (&[u8], &[u8]) = if head.kind == 8 { (b"", &[head.level]) } else { (b"label", b"") };
                        let ext = [place, subject, id, last].concat();
                        let Some(plain) = open::wrap(key, vault, &ext, stray) else { continue };
                        match (head.kind, plain.as_slice().try_into()) {
                            (8, Ok(key)) => drop(record.keys.insert(key)),
                            _ => drop(record.labels.insert(open::sha256(&[&plain]))),
                        }
                        self.loot.strays += 1;
                    }
                    for (ext, _) in self.own.get(subject).into_iter().flatten() {
                        if let Some(plain) = open::wrap(key, vault, ext, stray) {
                            self.loot.rows.push((ext.to_vec(), plain));
                            self.loot.strays += 1;
                        }
                    }
                }
            }
        }
    }
}

/// Takes a record's row apart, and puts a large one's envelope together.
fn take_record<'a>(record: &mut Record<'a>, key: &[u8], value: &'a [u8], pieces: &Pieces<'_>) -> Option<()> {
    let version = value.get(4..12)?;
    let groups = u32::from_be_bytes(value.get(16..20)?.try_into().ok()?);
    let count = usize::from(*value.get(28)?);
    let wraps = value.get(29..29 + count * 125)?;
    record.wraps.extend(wraps.chunks_exact(125).map(|wrap| &wrap[1..]));
    let rest = value.get(29 + count * 125..)?;
    let length = usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
    record.sealed_labels.insert(rest.get(2..2 + length)?);
    let rest = rest.get(2 + length..)?;
    let chunks = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
    let mut envelopes = vec![if chunks == 0 { rest.get(2..)?.to_vec() } else { Vec::new() }];
    for chunk in 0..chunks {
        // A version that got a new key was written over the old one, piece by piece: any goes with any.
        let pieces = pieces.get([b"v", key.get(1..)?, version, &chunk.to_be_bytes()].concat().as_slice())?;
        let with = |envelope: &Vec<u8>| pieces.iter().map(|piece| [envelope, *piece].concat()).collect::<Vec<_>>();
        envelopes = envelopes.iter().flat_map(with).take(ENVELOPES).collect();
    }
    record.envelopes.extend(envelopes.into_iter().map(|envelope| (groups, envelope)));
    record.groups.insert(groups);
    Some(())
}

/// The keys of a record and the digests of its labels, by each way there is.
fn open_record(vault: &Id, subject: &Id, id: &Id, keys: &BTreeSet<SubjectKey>, record: &mut Record<'_>) {
    for (class, generation, key) in keys {
        if *class == 0 {
            let ext = [b"label".as_slice(), subject, id].concat();
            let labels = record.sealed_labels.iter().filter_map(|sealed| open::wrap(key, vault, &ext, sealed));
            record.labels.extend(labels.map(|label| open::sha256(&[&label])));
            continue;
        }
        for wrap in &record.wraps {
            let Some(head) = header(wrap) else { continue };
            if u16::from(head.level) == *class && head.index == *generation {
                let ext = [subject.as_slice(), id, &[head.level]].concat();
                let plain = open::wrap(key, vault, &ext, wrap).unwrap_or_default();
                record.keys.extend(Key::try_from(plain.as_slice()));
            }
        }
    }
}

fn children(plain: &[u8]) -> impl Iterator<Item = Key> {
    plain.chunks_exact(40).filter_map(|child| secret(child, 8))
}

fn id(bytes: &[u8], from: usize) -> Option<Id> {
    bytes.get(from..from + 16)?.try_into().ok()
}

fn secret(bytes: &[u8], from: usize) -> Option<Key> {
    bytes.get(from..from + 32)?.try_into().ok()
}
