//! The epoch transition: how keys are destroyed.
//!
//! ```text
//! begin    1  keyring: epoch e+1 in the free slot, durable
//! (store)  2  one atomic batch: the rows of this transition; the root row's header is the marker, e+1; durable
//! finish   3  keyring: every slot that holds e overwritten with random bytes, durable. Sealed.
//! ```
//!
//! **The path rule.** A row that was ever written may still exist, and opens while any key to it lives. So whoever destroys a key gives a new key
//! to its bucket, to every node above it, and to the top of its map, and copies the siblings' keys into the freshly keyed parents; the old ones hang
//! from the old epoch key alone, which step 3 destroys. Many destructions in one transition touch each node once.
//!
//! **Recovery**, at open: marker e → e+1 is dropped, nothing happened; marker e+1 → step 3 is done again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bucket::{AliasEntry, Bucket, Entry, SubjectEntry};
use crate::context::{Group, GroupSet, Id};
use crate::error::KeysError;
use crate::hierarchy::{Hierarchy, replace, subject_of};
use crate::keyring::Slot;
use crate::place::{ALIASES, Place, SUBJECTS, digit, subject_bits};
use crate::rows::{RowWrite, Rows};
use crate::secret::Secret32;
use crate::subject::SubjectKeys;
use crate::tree::{Changes, Found, Tree, View};

/// What to destroy. What is not there is no error: its path is re-keyed all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shred {
    /// Every key of a subject.
    Subject(Id),
    /// The keys of these groups of a subject.
    Groups(Id, GroupSet),
    /// The keys of these groups of a subject, which get new ones; groups without a key stay without.
    Renew(Id, GroupSet),
    /// One alias of a subject.
    Alias([u8; 24], Id),
}

/// A transition between [`Hierarchy::begin`] and [`Hierarchy::finish`] or [`Hierarchy::abandon`].
#[must_use = "a transition must be finished once its rows are durable, or abandoned when they were not committed"]
pub struct Transition {
    epoch: u64,
    writes: Vec<RowWrite>,
    subjects: HashMap<Id, Changed>,
}

struct Changed {
    before: SubjectKeys,
    after: Option<Arc<SubjectKeys>>,
}

/// The end of a transition: what the old epoch's key alone could open, nobody can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The epoch whose key was destroyed.
    pub epoch_closed: u64,
    /// The epoch from here on.
    pub epoch: u64,
}

impl Transition {
    /// The rows of step 2, for one atomic batch; the rewrapped wraps belong in the same one.
    pub fn writes(&self) -> &[RowWrite] {
        &self.writes
    }

    /// The epoch that begins.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The keys that a touched subject has after the transition; `None` when it has none, was not there or is not touched.
    pub fn keys_after(&self, subject: &Id) -> Option<&Arc<SubjectKeys>> {
        self.subjects.get(subject)?.after.as_ref()
    }

    /// Moves the wrap of a record key from a group's key of before to the one of after.
    ///
    /// # Errors
    /// [`KeysError::Destroyed`] when the group has no key before or after, [`KeysError::Damaged`] when the wrap does not open,
    /// [`KeysError::Misuse`] when the transition does not touch the subject.
    pub fn rewrap(&self, subject: &Id, record: &Id, group: Group, wrap: &[u8]) -> Result<Vec<u8>, KeysError> {
        let changed = self.subjects.get(subject).ok_or(KeysError::Misuse("the transition does not touch this subject"))?;
        let after = changed.after.as_ref().ok_or(KeysError::Destroyed)?;
        changed.before.rewrap(after, record, group, wrap)
    }
}

impl Hierarchy {
    /// Works out the transition and takes step 1. No shreds at all make a rotation of the epoch key.
    ///
    /// From here on readers open rows of either epoch, so the commit of step 2 can happen at any moment. For the one committer.
    ///
    /// # Errors
    /// [`KeysError::Misuse`] while another transition is open, [`KeysError::Keyring`], [`KeysError::Damaged`], [`KeysError::Rows`],
    /// [`KeysError::Random`]. After any of them nothing has happened.
    pub fn begin(&self, rows: &dyn Rows, shreds: &[Shred]) -> Result<Transition, KeysError> {
        let mut writer = self.writer();
        if writer.next.is_some() {
            return Err(KeysError::Misuse("a transition is open"));
        }
        let (transition, view, key, living) = self.opened.change(rows, |tree| {
            let epoch = tree.view.epoch.checked_add(1).ok_or(KeysError::Full("epochs"))?;
            let mut changes = Changes::default();
            let mut root = tree.view.root.duplicate();
            let mut subjects = HashMap::new();

            let wishes = by_subject(shreds);
            let mut ways: Vec<(u128, Id)> = wishes.keys().map(|id| (subject_bits(id), *id)).collect();
            ways.sort_unstable();
            let shred_subjects = |bucket: &mut Bucket<SubjectEntry>, victims: &[(u128, Id)]| {
                for (_, id) in victims {
                    let Some(before) = subject_of(self.instance, self.vault, bucket, id)? else { continue };
                    let after = match wishes.get(id) {
                        Some(Wish::Some { drop, renew }) => Some(before.changed(*drop, *renew, GroupSet::EMPTY)?),
                        _ => None,
                    };
                    match &after {
                        Some(after) => replace(bucket, after, epoch),
                        None => bucket.retain(|entry| entry.subject != *id),
                    }
                    subjects.insert(*id, Changed { before, after: after.map(Arc::new) });
                }
                Ok(())
            };
            let bits = |entry: &SubjectEntry| subject_bits(&entry.subject);
            Rekeying { tree, epoch, changes: &mut changes, apply: shred_subjects, bits: &bits }
                .map(SUBJECTS, &ways, &mut root)?;

            let mut ways: Vec<_> = shreds.iter().filter_map(|shred| self.way_of_alias(shred)).collect();
            ways.sort_unstable();
            let shred_aliases = |bucket: &mut Bucket<AliasEntry>, victims: &[(u128, ([u8; 24], Id))]| {
                bucket.retain(|entry| !victims.iter().any(|(_, victim)| *victim == (entry.tag, entry.subject)));
                Ok(())
            };
            let bits = |entry: &AliasEntry| self.alias_bits(&entry.tag);
            Rekeying { tree, epoch, changes: &mut changes, apply: shred_aliases, bits: &bits }.map(ALIASES, &ways, &mut root)?;

            let key = Secret32::random()?;
            changes.root(&self.vault, epoch, &key, &root)?;
            let overlay = changes.nodes.into_iter().map(|(place, _, node)| (place, node)).collect();
            let view = View { epoch, root: Arc::new(root), overlay };
            Ok((Transition { epoch, writes: changes.writes, subjects }, view, key, tree.view.epoch))
        })?;

        let sequence = writer.keyring.next_sequence();
        let slot = Slot::seal(writer.root.secret(), self.vault, (view.epoch, &key), sequence, writer.trail)?;
        writer.keyring.put(slot, living)?;
        writer.next = Some(key);
        self.opened.publish(view, transition.subjects.keys().copied().collect());
        Ok(transition)
    }

    /// Takes step 3, once the rows are durable: the old epoch's key is destroyed when this returns.
    ///
    /// # Errors
    /// [`KeysError::Keyring`]: the vault is in the new epoch and works, but the old key may still be in its slot and **nothing is sealed**. The next
    /// transition, an empty one for instance, or the next opening overwrites it. [`KeysError::Misuse`] when it is not the open transition.
    pub fn finish(&self, transition: Transition) -> Result<Sealed, KeysError> {
        let mut writer = self.writer();
        let closed = self.opened.current().epoch;
        if transition.epoch != closed + 1 {
            return Err(KeysError::Misuse("not the open transition"));
        }
        writer.key = writer.next.take().ok_or(KeysError::Misuse("no transition is open"))?;
        let after = transition.subjects.into_iter().filter_map(|(id, changed)| Some((id, changed.after?)));
        self.opened.settle(after);
        writer.keyring.erase_unless(|slot| slot.epoch == transition.epoch)?;
        self.deferred_checkpoint(&mut writer)?;
        Ok(Sealed { epoch_closed: closed, epoch: transition.epoch })
    }

    /// Takes step 1 back. Only when it is certain that the rows were **not** committed and will not be.
    ///
    /// # Errors
    /// [`KeysError::Keyring`]: nothing was destroyed, and the next transition or opening overwrites the slot.
    /// [`KeysError::Misuse`] when it is not the open transition.
    pub fn abandon(&self, transition: Transition) -> Result<(), KeysError> {
        let mut writer = self.writer();
        let epoch = self.opened.current().epoch;
        if transition.epoch != epoch + 1 || writer.next.take().is_none() {
            return Err(KeysError::Misuse("not the open transition"));
        }
        self.opened.withdraw();
        writer.keyring.erase_unless(|slot| slot.epoch == epoch)?;
        self.deferred_checkpoint(&mut writer)
    }

    fn way_of_alias(&self, shred: &Shred) -> Option<(u128, ([u8; 24], Id))> {
        match shred {
            Shred::Alias(tag, subject) => Some((self.alias_bits(tag), (*tag, *subject))),
            _ => None,
        }
    }
}

/// What all the shreds of one subject come to.
enum Wish {
    All,
    Some { drop: GroupSet, renew: GroupSet },
}

fn by_subject(shreds: &[Shred]) -> HashMap<Id, Wish> {
    let mut wishes = HashMap::new();
    for shred in shreds {
        let (id, drops, renews) = match shred {
            Shred::Subject(id) => {
                wishes.insert(*id, Wish::All);
                continue;
            }
            Shred::Groups(id, groups) => (id, *groups, GroupSet::EMPTY),
            Shred::Renew(id, groups) => (id, GroupSet::EMPTY, *groups),
            Shred::Alias(..) => continue,
        };
        let wish = wishes.entry(*id).or_insert(Wish::Some { drop: GroupSet::EMPTY, renew: GroupSet::EMPTY });
        if let Wish::Some { drop, renew } = wish {
            (*drop, *renew) = (drop.union(drops), renew.union(renews));
        }
    }
    wishes
}

/// The path rule for one map.
struct Rekeying<'a, E, F> {
    tree: &'a Tree<'a>,
    epoch: u64,
    changes: &'a mut Changes,
    apply: F,
    bits: &'a dyn Fn(&E) -> u128,
}

impl<E: Entry, F> Rekeying<'_, E, F> {
    /// Gives new keys along all `ways`, which are sorted, and the new top key to the root.
    fn map<V>(mut self, map: u8, ways: &[(u128, V)], root: &mut crate::node::Node) -> Result<(), KeysError>
    where
        F: FnMut(&mut Bucket<E>, &[(u128, V)]) -> Result<(), KeysError>,
    {
        if ways.is_empty() {
            return Ok(());
        }
        let (made, old) = root.child(usize::from(map))?;
        let new = self.place(Place::top(map), (made, &old), ways)?;
        root.set(usize::from(map), self.epoch, &new)
    }

    /// Writes what lies at a place under a new key, which it returns.
    fn place<V>(&mut self, place: Place, (made, old): (u64, &Secret32), ways: &[(u128, V)]) -> Result<Secret32, KeysError>
    where
        F: FnMut(&mut Bucket<E>, &[(u128, V)]) -> Result<(), KeysError>,
    {
        let new = Secret32::random()?;
        match self.tree.open(place, made, old)? {
            // A place without a row gets a new key too: it may have had one.
            Found::Nothing => {}
            Found::Interior(node) => {
                let mut node = node.duplicate();
                for ways in ways.chunk_by(|(a, _), (b, _)| digit(*a, place.level) == digit(*b, place.level)) {
                    let Some((bits, _)) = ways.first() else { continue };
                    let digit = digit(*bits, place.level);
                    let (made, old) = node.child(digit)?;
                    let new = self.place(place.child(digit), (made, &old), ways)?;
                    node.set(digit, self.epoch, &new)?;
                }
                self.changes.interior(self.tree.vault, place, (self.epoch, &new), node)?;
            }
            Found::Bucket(mut bucket) => {
                (self.apply)(&mut bucket, ways)?;
                if bucket.entries().is_empty() {
                    self.changes.writes.push(RowWrite { key: place.row_key().to_vec(), value: None });
                } else {
                    self.changes.bucket(self.tree.vault, place, (self.epoch, &new), bucket, self.bits, self.epoch)?;
                }
            }
        }
        Ok(new)
    }
}
