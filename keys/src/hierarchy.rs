//! The hierarchy as the vault sees it: opened once, read by many, changed by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::assurance::Assurance;
use crate::bucket::{AliasEntry, Bucket, SubjectEntry};
use crate::context::Id;
use crate::error::KeysError;
use crate::index;
use crate::keyring::{Keyring, Slot};
use crate::node::Node;
use crate::opened::Opened;
use crate::permit::{Gate, Instance};
use crate::place::{ALIASES, Place, SUBJECTS, SYSTEM, subject_bits};
use crate::root::RootKey;
use crate::rows::{RowWrite, Rows};
use crate::secret::{Plaintext, Secret32};
use crate::subject::{self, SubjectKeys};
use crate::system::System;
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
    system: System,
    writer: Mutex<Writer>,
    assurance: Assurance,
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
        if keyring.vault() != vault || keyring.epochs().next().is_some() {
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
        keyring.put(Slot::seal(root.secret(), vault, (FIRST, &key), keyring.next_sequence(), trail)?, FIRST)?;
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
        if keyring.epochs().any(|epoch| epoch.abs_diff(marker) > 1) {
            return Err(KeysError::RolledBack);
        }
        let (key, trail) = keyring.open_newest(marker, root.secret())?;
        let plain = wrap::unwrap_with(&key, &key_id(kind::ROOT_NODE, Place::ROOT, marker), &vault, &[], &row)?;
        let tops = Node::parse_root(&plain)?;
        let view = crate::tree::View { epoch: marker, root: Arc::new(tops.duplicate()), overlay: Default::default() };
        let tree = Tree { vault: &vault, rows, view: &view, nodes: &crate::tree::NoNodes };
        let system = System::open(&tree.bucket(SYSTEM, 0)?)?;

        // Now it is certain which epoch lives. Every other slot goes: e+1 of a transition that did not commit, e of one that did,
        // and a copy under another root key. A free slot is overwritten again, for a torn write may have left half of a key in it.
        keyring.erase_unless(|slot| slot.epoch == marker && slot.open(root.secret()).is_ok())?;
        Self::assemble(vault, (marker, tops), system, Writer::new(keyring, root, key, trail))
    }

    fn assemble(vault: Id, (epoch, tops): (u64, Node), system: System, writer: Writer) -> Result<(Self, Gate), KeysError> {
        let instance = Instance::random()?;
        let opened = Opened::new(vault, epoch, Arc::new(tops));
        let assurance = writer.keyring.assurance();
        let hierarchy = Self { vault, instance, opened, system, writer: Mutex::new(writer), assurance };
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

    /// The tag of an alias. Kinds 1 to 8 have an index key of their own; any other shares one of these, and no tags.
    pub fn alias_tag(&self, tenant: &Id, kind: u8, normalised: &str) -> [u8; 24] {
        index::alias_tag(self.system.index(kind), tenant, kind, normalised)
    }

    /// The subjects that an alias leads to, sorted.
    ///
    /// # Errors
    /// [`KeysError::Damaged`] when a row on the way does not open, [`KeysError::Rows`].
    pub fn alias(&self, rows: &dyn Rows, tag: &[u8; 24]) -> Result<Vec<Id>, KeysError> {
        let (found, _) = self.opened.descend(rows, |tree| {
            let bucket = tree.bucket::<AliasEntry>(ALIASES, self.alias_bits(tag))?;
            Ok(bucket.entries().iter().filter(|entry| entry.tag == *tag).map(|entry| entry.subject).collect())
        })?;
        Ok(found)
    }

    /// The digest under which a bearer token is kept.
    pub fn token_digest(&self, secret: &str) -> [u8; 32] {
        index::token_digest(&self.system.token, secret)
    }

    /// A digest that nobody can confirm a guess against without the vault's keys. Those live on, so nothing that a person could be guessed by
    /// goes in: see [`SubjectKeys::keyed_digest`].
    pub fn keyed_digest(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        index::keyed_digest(&self.system.row, label, parts)
    }

    /// Seals a row of the vault's own (W1, kind 5). `ext` says what the row is.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn seal_row(&self, ext: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeysError> {
        wrap::wrap(&self.system.row, &SYSTEM_ROW, &self.vault, ext, plain)
    }

    /// Opens a row that was sealed with the same `ext`.
    ///
    /// # Errors
    /// [`KeysError::Damaged`].
    pub fn open_row(&self, ext: &[u8], bytes: &[u8]) -> Result<Plaintext, KeysError> {
        wrap::unwrap_with(&self.system.row, &SYSTEM_ROW, &self.vault, ext, bytes)
    }

    /// Seals a row of the statistics, under a key that no other row has. `ext` says what the row is.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn seal_statistic(&self, ext: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeysError> {
        wrap::wrap(&self.system.statistics, &SYSTEM_ROW, &self.vault, ext, plain)
    }

    /// Opens a row of the statistics that was sealed with the same `ext`.
    ///
    /// # Errors
    /// [`KeysError::Damaged`].
    pub fn open_statistic(&self, ext: &[u8], bytes: &[u8]) -> Result<Plaintext, KeysError> {
        wrap::unwrap_with(&self.system.statistics, &SYSTEM_ROW, &self.vault, ext, bytes)
    }

    /// The digest by which a row of the statistics is found, under their own key.
    pub fn statistic_digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        index::keyed_digest(&self.system.statistics, "statistic", parts)
    }

    /// Signs for the trail (Ed25519, RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.system.signer.sign(message)
    }

    /// The public key of the trail.
    pub fn public_key(&self) -> [u8; 32] {
        self.system.signer.public_key()
    }

    /// How surely an epoch key is gone once its slot was overwritten.
    pub fn assurance(&self) -> Assurance {
        self.assurance
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
        let sequence = writer.keyring.next_sequence();
        let slot = Slot::seal(new.secret(), self.vault, (epoch, &writer.key), sequence, writer.trail)?;
        writer.keyring.put(slot, epoch)?;
        if let Err(error) = install() {
            writer.keyring.erase_unless(|slot| slot.sequence != sequence)?;
            return Err(error);
        }
        writer.root = new;
        writer.keyring.erase_unless(|slot| slot.sequence == sequence)
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

    pub(crate) fn alias_bits(&self, tag: &[u8; 24]) -> u128 {
        u128::from_be_bytes(index::route(&self.system.route, tag))
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
        let sequence = writer.keyring.next_sequence();
        let slot = Slot::seal(writer.root.secret(), self.vault, (epoch, &writer.key), sequence, writer.trail)?;
        writer.keyring.put(slot, epoch)?;
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
