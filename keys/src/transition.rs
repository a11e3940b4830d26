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

use crate::alias::Alias;
use crate::bucket::{AliasEntry, Bucket, Entry, SubjectEntry};
use crate::context::{Group, GroupSet, Id};
use crate::error::KeysError;
use crate::hierarchy::{Hierarchy, Writer, replace, subject_of};
use crate::index::alias_bits;
use crate::keyring::Living;
use crate::node::Node;
use crate::place::{Place, SUBJECTS, SYSTEM, alias_map, digit, subject_bits};
use crate::rows::{RowWrite, Rows};
use crate::secret::Secret32;
use crate::subject::SubjectKeys;
use crate::system::{self, System, SystemEntry, SystemKey, Turn};
use crate::tree::{Changes, Found, Tree, View};
use crate::walk::{self, Leaf};

/// What to destroy. What is not there is no error: its path is re-keyed all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shred {
    /// Every key of a subject.
    Subject(Id),
    /// The keys of these groups of a subject.
    Groups(Id, GroupSet),
    /// The keys of these groups of a subject, which get new ones; groups without a key stay without.
    Renew(Id, GroupSet),
    /// One alias of a subject, under every living generation of the index keys.
    Alias(Alias, Id),
    /// One of the vault's own keys turns over, by a half.
    Turn(SystemKey, Turn),
    /// No key of anybody: the place itself gets a new key, like every place above it. See [`Hierarchy::walk`].
    Leaf(Leaf),
}

/// A transition between [`Hierarchy::begin`] and [`Hierarchy::finish`] or [`Hierarchy::abandon`].
#[must_use = "a transition must be finished once its rows are durable, or abandoned when they were not committed"]
pub struct Transition {
    epoch: u64,
    writes: Vec<RowWrite>,
    subjects: HashMap<Id, Changed>,
    /// The vault's own keys afterwards, where they change.
    system: Option<System>,
    /// Whether they have another signing key then.
    signs_anew: bool,
}

/// The signing key that is to follow, before anybody can tell that it does.
pub struct Successor<'a>(&'a System);

impl Successor<'_> {
    /// Its public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.signer.public_key()
    }

    /// Signs with it: what says that it follows, and nothing else.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.signer.sign(message)
    }
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

    /// The signing key that the trail has from the end of this transition on, where that is another.
    pub fn successor(&self) -> Option<Successor<'_>> {
        self.system.as_ref().filter(|_| self.signs_anew).map(Successor)
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
        let Writer { keyring, root, key, trail, .. } = &mut *writer;
        keyring.call_back(Living { root: root.secret(), epoch: self.epoch(), key, trail: *trail });
        let (transition, view, key, living) = self.opened.change(rows, |tree| {
            let epoch = tree.view.epoch.checked_add(1).ok_or(KeysError::Full("epochs"))?;
            let mut changes = Changes::default();
            let mut root = tree.view.root.duplicate();
            let mut subjects = HashMap::new();

            let wishes = by_subject(shreds);
            let leaves = || shreds.iter().filter_map(|shred| if let Shred::Leaf(leaf) = shred { Some(*leaf) } else { None });
            let mut ways: Vec<(u128, Option<Id>)> = wishes.keys().map(|id| (subject_bits(id), Some(*id))).collect();
            ways.extend(walk::ways(leaves(), SUBJECTS));
            ways.sort_unstable();
            let shred_subjects = |bucket: &mut Bucket<SubjectEntry>, victims: &[(u128, Option<Id>)]| {
                for id in victims.iter().filter_map(|(_, victim)| victim.as_ref()) {
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

            let own = self.system();
            for index in &own.index {
                let map = alias_map(index.generation);
                let way = |shred: &Shred| match shred {
                    Shred::Alias(alias, subject) => {
                        let tag = alias.tag(index)?;
                        Some((alias_bits(&index.route, &tag), Some((tag, *subject))))
                    }
                    _ => None,
                };
                let mut ways: Vec<AliasWay> = shreds.iter().filter_map(way).collect();
                ways.extend(walk::ways(leaves(), map));
                ways.sort_unstable();
                let shred_aliases = |bucket: &mut Bucket<AliasEntry>, victims: &[AliasWay]| {
                    bucket.retain(|entry| !victims.iter().any(|(_, victim)| *victim == Some((entry.tag, entry.subject))));
                    Ok(())
                };
                let bits = |entry: &AliasEntry| alias_bits(&index.route, &entry.tag);
                let changes = &mut changes;
                Rekeying { tree, epoch, changes, apply: shred_aliases, bits: &bits }.map(map, &ways, &mut root)?;
            }

            let mut system = None;
            let turn = |shred: &Shred| if let Shred::Turn(key, turn) = shred { Some((*key, *turn)) } else { None };
            let turns: Vec<(SystemKey, Turn)> = shreds.iter().filter_map(turn).collect();
            let mut ways: Vec<(u128, Option<()>)> = walk::ways(leaves(), SYSTEM).collect();
            ways.extend((!turns.is_empty()).then_some((0, None)));
            let turn_over = |bucket: &mut Bucket<SystemEntry>, _: &[(u128, Option<()>)]| {
                for (key, turn) in &turns {
                    system::turn(bucket, *key, *turn, epoch)?;
                }
                system = Some(System::open(bucket)?);
                Ok(())
            };
            let bits = |_: &SystemEntry| 0;
            Rekeying { tree, epoch, changes: &mut changes, apply: turn_over, bits: &bits }.map(SYSTEM, &ways, &mut root)?;
            if let Some(after) = &system {
                turn_alias_maps(tree, &own, after, epoch, &mut root)?;
            }
            let signs_anew = system.as_ref().is_some_and(|after| after.signer.public_key() != own.signer.public_key());

            let key = Secret32::random()?;
            changes.root(&self.vault, epoch, &key, &root)?;
            let overlay = changes.nodes.into_iter().map(|(place, _, node)| (place, node)).collect();
            let view = View { epoch, root: Arc::new(root), overlay };
            Ok((Transition { epoch, writes: changes.writes, subjects, system, signs_anew }, view, key, tree.view.epoch))
        })?;

        let Writer { keyring, root, trail, .. } = &mut *writer;
        keyring.write(Living { root: root.secret(), epoch: view.epoch, key: &key, trail: *trail }, living, true)?;
        writer.next = Some(key);
        self.opened.publish(view, transition.subjects.keys().copied().collect());
        Ok(transition)
    }

    /// Takes step 3, once the rows are durable: the old epoch's key is destroyed when this returns, in every place of the keyring that is
    /// not away ([`is_closed`](Self::is_closed)).
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
        if let Some(system) = transition.system {
            // Before the trees settle: who looks under a key that goes, and finds its tree gone, can see that it went.
            self.set_system(system);
        }
        let after = transition.subjects.into_iter().filter_map(|(id, changed)| Some((id, changed.after?)));
        self.opened.settle(after);
        writer.keyring.close_all_but(transition.epoch, |slot| slot.epoch == transition.epoch)?;
        if !writer.keyring.is_closed() {
            // A place that failed just now is asked once more.
            let Writer { keyring, root, key, trail, .. } = &mut *writer;
            keyring.call_back(Living { root: root.secret(), epoch: transition.epoch, key, trail: *trail });
        }
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
        writer.keyring.close_all_but(epoch, |slot| slot.epoch == epoch)?;
        self.deferred_checkpoint(&mut writer)
    }
}

/// A fresh top key for the map of index keys that come, and for that of those that go. What lies in the latter nobody opens any more.
fn turn_alias_maps(tree: &Tree<'_>, before: &System, after: &System, epoch: u64, root: &mut Node) -> Result<(), KeysError> {
    let generations = |system: &System| system.index.iter().map(|keys| keys.generation).collect::<Vec<_>>();
    let (before, after) = (generations(before), generations(after));
    for come in after.iter().filter(|generation| !before.contains(generation)) {
        let top = Place::top(alias_map(*come));
        if tree.rows.row(&top.row_key())?.is_some() {
            return Err(KeysError::Misuse("the rows of former aliases are still there"));
        }
        root.set(usize::from(top.map), epoch, &Secret32::random()?)?;
    }
    for gone in before.iter().filter(|generation| !after.contains(generation)) {
        root.set(usize::from(alias_map(*gone)), epoch, &Secret32::random()?)?;
    }
    Ok(())
}

/// The way to an alias, and which it is; none for a way whose end stays.
type AliasWay = (u128, Option<([u8; 24], Id)>);

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
            Shred::Alias(..) | Shred::Turn(..) | Shred::Leaf(_) => continue,
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
    fn map<V>(mut self, map: u8, ways: &[(u128, V)], root: &mut Node) -> Result<(), KeysError>
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
