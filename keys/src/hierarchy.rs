//! The hierarchy as the vault sees it: opened once, read by many, changed by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::alias::Alias;
use crate::assurance::Assurance;
use crate::bucket::{AliasEntry, Bucket, SubjectEntry};
use crate::context::Id;
use crate::error::KeysError;
use crate::index;
use crate::keyring::{Keyring, Living, PlaceState, Spot};
use crate::node::Node;
use crate::opened::Opened;
use crate::permit::{Gate, Instance};
use crate::place::{Place, SUBJECTS, SYSTEM, alias_map, subject_bits};
use crate::root::RootKey;
use crate::rows::{RowWrite, Rows};
use crate::secret::{Plaintext, Secret32};
use crate::subject::{self, SubjectKeys};
use crate::system::{Aged, Generation, System, SystemKey};
use crate::tree::{Changes, Tree, key_id};
use crate::wrap::{self, KeyId, kind};

/// Every key of a vault, or the way to it. Wiped when dropped, which is what sealing the vault is.
///
/// All methods take `&self`. Any number of threads may read; [`stage`](Self::stage), [`adopt`](Self::adopt), [`begin`](Self::begin),
/// [`finish`](Self::finish) and [`abandon`](Self::abandon) are for one committer.
///
/// **Reading across a change.** The keys of a subject and the rows that they open are two reads. When a transition that touches the subject commits
/// between them, the rows do not open (`Damaged` or `Destroyed`). So read both again. When that fails too, and [`turn`](Self::turn) is what it was
/// before the first read, it was no change: the second pair was read after the one commit that a turn can have.
pub struct Hierarchy {
    pub(crate) vault: Id,
    pub(crate) instance: Instance,
    pub(crate) opened: Opened,
    system: RwLock<Arc<System>>,
    writer: Mutex<Writer>,
}

/// What only the one who changes something needs.
pub(crate) struct Writer {
    pub(crate) keyring: Keyring,
    pub(crate) root: RootKey,
    /// The key of the current epoch.
    pub(crate) key: Secret32,
    /// The key of the coming epoch, while a transition is open.
    pub(crate) next: Option<Secret32>,
    /// The last checkpoint.
    pub(crate) trail: (u64, [u8; 32]),
    /// Whether a checkpoint came while both slots were taken.
    deferred: bool,
}

/// The first epoch.
const FIRST: u64 = 1;
/// Keys that [`Hierarchy::leftovers_open`] tries in all, the likely ones aside.
const GUESSES: usize = 256;

impl Hierarchy {
    /// A new vault: fresh keys, the rows that hold them, and the one gate. The vault exists once the rows are durable.
    ///
    /// # Errors
    /// [`KeysError::Misuse`] when the keyring is not a new one of this vault, [`KeysError::Keyring`], [`KeysError::Random`].
    pub fn create(vault: Id, root: RootKey, mut keyring: Keyring) -> Result<(Self, Gate, Vec<RowWrite>), KeysError> {
        if keyring.vault() != vault || !keyring.is_empty() {
            return Err(KeysError::Misuse("a new vault needs a new keyring of its own"));
        }
        let key = Secret32::random()?;
        let tops = Node::fresh_root(FIRST)?;
        let bucket = System::fresh(FIRST)?;
        let system = System::open(&bucket)?;
        let mut changes = Changes::default();
        changes.root(&vault, FIRST, &key, &tops)?;
        let (made, top) = tops.child(usize::from(SYSTEM))?;
        changes.bucket(&vault, Place::top(SYSTEM), (made, &top), bucket, &|_| 0, FIRST)?;

        let trail = (0, [0; 32]);
        keyring.write(Living { root: root.secret(), epoch: FIRST, key: &key, trail }, FIRST, true)?;
        let (hierarchy, gate) = Self::assemble(vault, (FIRST, tops), system, Writer::new(keyring, root, key, trail))?;
        Ok((hierarchy, gate, changes.writes))
    }

    /// Opens a vault over its committed rows, and finishes or takes back a transition that was interrupted.
    ///
    /// # Errors
    /// [`KeysError::RolledBack`] when no slot holds the key of the epoch that the rows are in, [`KeysError::Damaged`] when the root key is another
    /// vault's or a row does not open, [`KeysError::Keyring`], [`KeysError::Rows`]. Nothing is destroyed unless everything opened.
    pub fn open(vault: Id, root: RootKey, mut keyring: Keyring, rows: &dyn Rows) -> Result<(Self, Gate), KeysError> {
        if keyring.vault() != vault {
            return Err(KeysError::Misuse("the keyring is another vault's"));
        }
        let row = rows.row(&Place::ROOT.row_key())?.ok_or(KeysError::RolledBack)?;
        let marker = KeyId::read(&row)?.epoch;
        let (key, trail) = keyring.unlock(marker, root.secret())?;
        let plain = wrap::unwrap_with(&key, &key_id(kind::ROOT_NODE, Place::ROOT, marker), &vault, &[], &row)?;
        let tops = Node::parse_root(&plain)?;
        let view = crate::tree::View { epoch: marker, root: Arc::new(tops.duplicate()), overlay: Default::default() };
        let tree = Tree { vault: &vault, rows, view: &view, nodes: &crate::tree::NoNodes };
        let system = System::open(&tree.bucket(SYSTEM, 0)?)?;

        // Now it is certain which epoch lives. Every other slot goes: e+1 of a transition that did not commit, e of one that did,
        // and a copy under another root key. A free slot is overwritten again, for a torn write may have left half of a key in it.
        keyring.settle(Living { root: root.secret(), epoch: marker, key: &key, trail })?;
        Self::assemble(vault, (marker, tops), system, Writer::new(keyring, root, key, trail))
    }

    fn assemble(vault: Id, (epoch, tops): (u64, Node), system: System, writer: Writer) -> Result<(Self, Gate), KeysError> {
        let instance = Instance::random()?;
        let opened = Opened::new(vault, epoch, Arc::new(tops));
        let system = RwLock::new(Arc::new(system));
        let hierarchy = Self { vault, instance, opened, system, writer: Mutex::new(writer) };
        Ok((hierarchy, Gate::new(instance)))
    }

    /// Keeps at most this many subjects and interior nodes open, instead of 65,536 and 8,192.
    #[must_use]
    pub fn with_cache(mut self, subjects: usize, nodes: usize) -> Self {
        self.opened = self.opened.resized(subjects, nodes);
        self
    }

    /// The vault.
    pub fn vault(&self) -> &Id {
        &self.vault
    }

    /// The epoch that lives.
    pub fn epoch(&self) -> u64 {
        self.opened.current().epoch
    }

    /// Moves on with every change that could make the keys of a subject and its rows disagree: see [`Hierarchy`].
    pub fn turn(&self) -> u64 {
        self.opened.turn()
    }

    /// The living keys of a subject; `None` when it is not there, erased or not.
    ///
    /// # Errors
    /// [`KeysError::Damaged`] when a row on the way does not open, [`KeysError::Rows`].
    pub fn subject(&self, rows: &dyn Rows, id: &Id) -> Result<Option<Arc<SubjectKeys>>, KeysError> {
        self.opened.subject(rows, id, |tree| {
            let bucket = tree.bucket(SUBJECTS, subject_bits(id))?;
            subject_of(self.instance, self.vault, &bucket, id)
        })
    }

    /// The subjects that an alias leads to, sorted: those found by it under any living generation of the index keys.
    ///
    /// # Errors
    /// [`KeysError::Damaged`] when a row on the way does not open, [`KeysError::Rows`].
    pub fn alias(&self, rows: &dyn Rows, alias: &Alias) -> Result<Vec<Id>, KeysError> {
        loop {
            let system = self.system();
            match self.alias_under(&system, rows, alias) {
                // The generation may have gone while it was looked under: then look under those that are left.
                Err(KeysError::Damaged) if !Arc::ptr_eq(&system, &self.system()) => {}
                found => return found,
            }
        }
    }

    fn alias_under(&self, system: &System, rows: &dyn Rows, alias: &Alias) -> Result<Vec<Id>, KeysError> {
        let mut all = Vec::new();
        for keys in &system.index {
            let Some(tag) = alias.tag(keys) else { continue };
            let bits = index::alias_bits(&keys.route, &tag);
            let (found, _) = self.opened.descend(rows, |tree| {
                let bucket = tree.bucket::<AliasEntry>(alias_map(keys.generation), bits)?;
                let found = bucket.entries().iter().filter(|entry| entry.tag == tag).map(|entry| entry.subject);
                Ok(found.collect::<Vec<Id>>())
            })?;
            all.extend(found);
        }
        if system.index.len() > 1 {
            all.sort_unstable();
            all.dedup();
        }
        Ok(all)
    }

    /// The alias of a normalised text. Kinds 1 to 8 have an index key of their own; any other shares one of these, and no tags.
    pub fn alias_of(&self, tenant: &Id, kind: u8, normalised: &str) -> Alias {
        let system = self.system();
        let first = system.index.iter().find(|keys| keys.generation == 0);
        let first = first.map(|keys| keys.tag_of_text(tenant, kind, normalised));
        Alias::kept(*tenant, kind, Some(index::alias_digest(normalised)), first)
    }

    /// The tag of an alias under the newest index key.
    pub fn alias_tag(&self, tenant: &Id, kind: u8, normalised: &str) -> [u8; 24] {
        let alias = self.alias_of(tenant, kind, normalised);
        self.system().index.first().and_then(|keys| alias.tag(keys)).unwrap_or_default()
    }

    /// The digest under which a bearer token is kept from now on.
    pub fn token_digest(&self, secret: &str) -> [u8; 32] {
        self.token_digests(secret)[0]
    }

    /// The digests under which a bearer token may be kept: one for each living generation of the token key, the newest first.
    pub fn token_digests(&self, secret: &str) -> Vec<[u8; 32]> {
        let digest = |key: &Aged| match key.generation {
            0 => index::token_digest(&key.key, secret),
            _ => index::token_digest_of_inner(&key.key, &index::token_inner(secret)),
        };
        self.system().token.iter().map(digest).collect()
    }

    /// The digest under which a bearer token is kept from now on, by its [inner digest](Self::token_inner); `None` while the token key is of
    /// generation 0, which reads the secret itself.
    pub fn token_digest_of_inner(&self, inner: &[u8; 32]) -> Option<[u8; 32]> {
        let system = self.system();
        let newest = system.token.first().filter(|key| key.generation > 0)?;
        Some(index::token_digest_of_inner(&newest.key, inner))
    }

    /// What is kept beside a token, so that it can be kept under another key before anybody shows it.
    pub fn token_inner(secret: &str) -> [u8; 32] {
        index::token_inner(secret)
    }

    /// A digest that nobody can confirm a guess against without the vault's keys. Those live on, so nothing that a person could be guessed by
    /// goes in: see [`SubjectKeys::keyed_digest`]. It is of the newest row key, and another once that has turned over.
    pub fn keyed_digest(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.named_digests(&index::named(label, parts))[0]
    }

    /// The digest of what was [named](crate::named), under each living generation of the row key, the newest first.
    pub fn named_digests(&self, named: &[u8]) -> Vec<[u8; 32]> {
        self.system().row.iter().map(|key| index::named_digest(&key.key, named)).collect()
    }

    /// Seals a row of the vault's own (W1, kind 5) under the newest row key. `ext` says what the row is.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn seal_row(&self, ext: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeysError> {
        self.seal_under(newest(&self.system().row)?, ext, plain)
    }

    /// Opens a row that was sealed with the same `ext` under a row key that lives.
    ///
    /// # Errors
    /// [`KeysError::Damaged`].
    pub fn open_row(&self, ext: &[u8], bytes: &[u8]) -> Result<Plaintext, KeysError> {
        self.open_under(&self.system().row, ext, bytes)
    }

    /// Seals a row of the statistics, under a key that no other row has. `ext` says what the row is.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn seal_statistic(&self, ext: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeysError> {
        self.seal_under(newest(&self.system().statistics)?, ext, plain)
    }

    /// Opens a row of the statistics that was sealed with the same `ext`.
    ///
    /// # Errors
    /// [`KeysError::Damaged`].
    pub fn open_statistic(&self, ext: &[u8], bytes: &[u8]) -> Result<Plaintext, KeysError> {
        self.open_under(&self.system().statistics, ext, bytes)
    }

    /// The digests by which a row of the statistics is found, under their own key: one for each living generation, the newest first.
    pub fn statistic_digests(&self, parts: &[&[u8]]) -> Vec<[u8; 32]> {
        let digest = |key: &Aged| index::keyed_digest(&key.key, "statistic", parts);
        self.system().statistics.iter().map(digest).collect()
    }

    /// The generation of `key`, the row key or the statistics key, that a row claims to be sealed under, counted from the newest: 0 for the
    /// newest, 1 for the one before. `None` for a generation that does not live, and for what is no row of the vault's own.
    pub fn age_of(&self, key: SystemKey, row: &[u8]) -> Option<usize> {
        let id = KeyId::read(row).ok().filter(|id| KeyId { index: 0, ..*id } == SYSTEM_ROW)?;
        let system = self.system();
        let keys = if key == SystemKey::Statistics { &system.statistics } else { &system.row };
        keys.iter().position(|key| key.generation == id.index)
    }

    fn seal_under(&self, key: &Aged, ext: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeysError> {
        wrap::wrap(&key.key, &KeyId { index: key.generation, ..SYSTEM_ROW }, &self.vault, ext, plain)
    }

    fn open_under(&self, keys: &[Aged], ext: &[u8], bytes: &[u8]) -> Result<Plaintext, KeysError> {
        let generation = KeyId::read(bytes)?.index;
        let key = keys.iter().find(|key| key.generation == generation).ok_or(KeysError::Damaged)?;
        wrap::unwrap_with(&key.key, &KeyId { index: generation, ..SYSTEM_ROW }, &self.vault, ext, bytes)
    }

    /// Signs for the trail (Ed25519, RFC 8032), with the newest signing key.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.system().signer.sign(message)
    }

    /// The same, with the public key that verifies it: for who must name the key, whatever turns over meanwhile.
    pub fn sign_as(&self, message: &[u8]) -> ([u8; 32], [u8; 64]) {
        let system = self.system();
        (system.signer.public_key(), system.signer.sign(message))
    }

    /// The public key of the trail.
    pub fn public_key(&self) -> [u8; 32] {
        self.system().signer.public_key()
    }

    /// The public keys that signed for the trail before, with their generations, oldest first.
    pub fn former_public_keys(&self) -> Vec<(u32, [u8; 32])> {
        self.system().former.clone()
    }

    /// Every living generation of the vault's own keys, the newest of a key first.
    pub fn generations(&self) -> Vec<Generation> {
        self.system().generations()
    }

    /// How surely the key of the epoch before this one is gone: as surely as in the weakest place of the keyring.
    pub fn assurance(&self) -> Assurance {
        self.writer().keyring.assurance()
    }

    /// The places of the keyring as they stand, the past ones last.
    pub fn places(&self) -> Vec<PlaceState> {
        self.writer().keyring.states()
    }

    /// Whether the key of every epoch that is over is destroyed in every place. One that is away may hold one still; unless it is the
    /// vault's choice to [go on](crate::WhenAway::GoOn) without, nothing is sealed until it is back or was given up.
    pub fn is_closed(&self) -> bool {
        self.writer().keyring.is_closed()
    }

    /// Looks whether places that were away are back, and writes them anew.
    pub fn call_back(&self) {
        let mut writer = self.writer();
        if writer.next.is_none() {
            let Writer { keyring, root, key, trail, .. } = &mut *writer;
            keyring.call_back(Living { root: root.secret(), epoch: self.epoch(), key, trail: *trail });
        }
    }

    /// Makes one place of the keyring more. The key of this epoch is in it from then on.
    ///
    /// # Errors
    /// [`KeysError::Misuse`] while a transition is open, [`KeysError::Away`], [`KeysError::Places`], [`KeysError::Full`], and why the place
    /// cannot be written.
    pub fn add_place(&self, spot: Spot) -> Result<(), KeysError> {
        self.at_rest(|keyring, living| keyring.add(spot, living))
    }

    /// Overwrites what a place holds and takes it out of the keyring. The key of this epoch was in it: close the epoch afterwards.
    ///
    /// # Errors
    /// As [`add_place`](Self::add_place); [`KeysError::Places`] when there is no other.
    pub fn remove_place(&self, name: &str) -> Result<(), KeysError> {
        self.at_rest(|keyring, living| keyring.remove(name, living))
    }

    /// Takes a place for lost. Whoever finds it has the key of the last epoch that was written there, and nothing takes that back.
    ///
    /// # Errors
    /// As [`add_place`](Self::add_place); [`KeysError::Places`] when it is there.
    pub fn give_up_place(&self, name: &str) -> Result<(), KeysError> {
        self.at_rest(|keyring, living| keyring.give_up(name, living))
    }

    /// Writes a place anew from the others, and makes its file when that is missing.
    ///
    /// # Errors
    /// As [`add_place`](Self::add_place).
    pub fn repair_place(&self, name: &str) -> Result<(), KeysError> {
        self.at_rest(|keyring, living| keyring.repair(name, living))
    }

    fn at_rest(&self, work: impl FnOnce(&mut Keyring, Living<'_>) -> Result<(), KeysError>) -> Result<(), KeysError> {
        let mut writer = self.writer();
        if writer.next.is_some() {
            return Err(KeysError::Misuse("a transition is open"));
        }
        let Writer { keyring, root, key, trail, .. } = &mut *writer;
        work(keyring, Living { root: root.secret(), epoch: self.epoch(), key, trail: *trail })
    }

    /// Keeps the size and head of the trail in the keyring, where a rollback of the database does not reach. Durable when it returns, but for one
    /// that comes while a transition is open: that one is written when the transition ends.
    ///
    /// # Errors
    /// [`KeysError::Keyring`], [`KeysError::Random`]. The slot of the living epoch is whole in any case.
    pub fn checkpoint(&self, trail_size: u64, trail_head: [u8; 32]) -> Result<(), KeysError> {
        let mut writer = self.writer();
        writer.trail = (trail_size, trail_head);
        writer.deferred = true;
        if writer.next.is_some() { Ok(()) } else { self.deferred_checkpoint(&mut writer) }
    }

    /// The last checkpoint, if there ever was one.
    pub fn last_checkpoint(&self) -> Option<(u64, [u8; 32])> {
        Some(self.writer().trail).filter(|trail| *trail != (0, [0; 32]))
    }

    /// Puts the epoch key under another root key. `install` makes the new root key the one that the next opening finds, durably
    /// ([`root::install`](crate::root::install)); it runs while both root keys open the keyring, so whichever one a crash leaves behind works.
    ///
    /// A copy of the keyring from before stays open to the old root key, and with the rows of its time to what they held. A
    /// transition takes only what is destroyed from then on out of its reach; nothing takes back a copy that was stolen.
    ///
    /// # Errors
    /// [`KeysError::Misuse`] while a transition is open, [`KeysError::Keyring`], and what `install` returns, after which the old root key stays.
    pub fn rotate_root(&self, new: RootKey, install: impl FnOnce() -> Result<(), KeysError>) -> Result<(), KeysError> {
        let mut writer = self.writer();
        if writer.next.is_some() {
            return Err(KeysError::Misuse("a transition is open"));
        }
        let epoch = self.epoch();
        let Writer { keyring, root, key, trail, .. } = &mut *writer;
        keyring.call_back(Living { root: root.secret(), epoch, key, trail: *trail });
        let sequence = keyring.write(Living { root: new.secret(), epoch, key, trail: *trail }, epoch, true)?;
        if let Err(error) = install() {
            keyring.close_all_but(epoch, |slot| slot.sequence != sequence)?;
            return Err(error);
        }
        writer.root = new;
        writer.keyring.close_all_but(epoch, |slot| slot.sequence == sequence)
    }

    /// The self-test of an erasure: how many of these old tree rows (row key, value) any key in memory still opens.
    ///
    /// Tried are, for every row, the epoch key, the tops, the key that the open nodes hold for its place, and then any key of any open node, up to
    /// 256 tries in all: each costs a key derivation, and an erasure waits for them. A row that is still current does open.
    pub fn leftovers_open(&self, candidate_rows: &[(Vec<u8>, Vec<u8>)]) -> usize {
        let view = self.opened.current();
        let writer = self.writer();
        let mut keys = vec![writer.key.duplicate()];
        keys.extend((0..view.root.len()).filter_map(|map| view.root.child(map).ok()).map(|(_, key)| key));
        drop(writer);
        let most = GUESSES / candidate_rows.len().max(1);
        let opens = |row: &[u8], key: &Secret32| {
            KeyId::read(row).is_ok_and(|id| wrap::unwrap_with(key, &id, &self.vault, &[], row).is_ok())
        };
        let any_opens = |(row_key, row): &&(Vec<u8>, Vec<u8>)| {
            let own = Place::parse(row_key).and_then(|place| self.opened.key_of(place));
            let rest = self
                .opened
                .open_nodes()
                .flat_map(|node| (0..node.len()).filter_map(move |digit| node.child(digit).ok()).map(|(_, key)| key));
            keys.iter().chain(&own).any(|key| opens(row, key)) || rest.take(most).any(|key| opens(row, &key))
        };
        candidate_rows.iter().filter(any_opens).count()
    }

    pub(crate) fn system(&self) -> Arc<System> {
        Arc::clone(&self.system.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_system(&self, system: System) {
        *self.system.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(system);
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a copy of the epoch with the last checkpoint into the slot that is not its newest.
    pub(crate) fn deferred_checkpoint(&self, writer: &mut Writer) -> Result<(), KeysError> {
        if !writer.deferred {
            return Ok(());
        }
        let epoch = self.epoch();
        let Writer { keyring, root, key, trail, .. } = &mut *writer;
        let living = Living { root: root.secret(), epoch, key, trail: *trail };
        keyring.call_back(living);
        keyring.write(living, epoch, false)?;
        writer.deferred = false;
        Ok(())
    }
}

const SYSTEM_ROW: KeyId = KeyId { kind: kind::SYSTEM_ROW, map: 0, level: 0, index: 0, epoch: 0 };

impl Writer {
    fn new(keyring: Keyring, root: RootKey, key: Secret32, trail: (u64, [u8; 32])) -> Self {
        Self { keyring, root, key, next: None, trail, deferred: false }
    }
}

fn newest(keys: &[Aged]) -> Result<&Aged, KeysError> {
    keys.first().ok_or(KeysError::Damaged)
}

/// The keys that a bucket holds for a subject.
pub(crate) fn subject_of(
    instance: Instance,
    vault: Id,
    bucket: &Bucket<SubjectEntry>,
    id: &Id,
) -> Result<Option<SubjectKeys>, KeysError> {
    let mut entries = bucket.entries().iter().filter(|entry| entry.subject == *id).peekable();
    if entries.peek().is_none() {
        return Ok(None);
    }
    let entries =
        entries.map(|entry| subject::Entry { class: entry.class, generation: entry.generation, key: entry.key.duplicate() });
    SubjectKeys::from_entries(instance, vault, *id, entries).map(Some)
}

/// Makes `keys` what a bucket holds for their subject. An entry that is new was made in the epoch `now`.
pub(crate) fn replace(bucket: &mut Bucket<SubjectEntry>, keys: &SubjectKeys, now: u64) {
    let id = *keys.subject();
    let known = bucket.entries().iter().filter(|entry| entry.subject == id);
    let known: Vec<_> = known.map(|entry| ((entry.class, entry.generation), entry.made)).collect();
    bucket.retain(|entry| entry.subject != id);
    for entry in keys.entries() {
        let made = known.iter().find(|(key, _)| *key == (entry.class, entry.generation)).map_or(now, |(_, made)| *made);
        let (class, generation) = (entry.class, entry.generation);
        bucket.insert(SubjectEntry { subject: id, class, generation, made, key: entry.key.duplicate() });
    }
}

#[cfg(test)]
mod tests;
