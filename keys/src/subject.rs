//! The keys of one subject, opened: the tag key and one key for each living purpose group.

use crate::context::{Group, GroupSet, Id, RecordContext};
use crate::error::KeysError;
use crate::index;
use crate::permit::{Instance, Permit};
use crate::record::{RecordKey, Through};
use crate::secret::{Plaintext, Secret32};
use crate::wrap::{KeyId, kind, unwrap_with, wrap};

/// The class of the tag key among a subject's entries; every other class is the number of a group.
pub(crate) const TAG_CLASS: u16 = 0;

/// The wraps of one record key: the group and the bytes (W1, kind 8) under its key.
pub type Wraps = Vec<(Group, Vec<u8>)>;

/// One entry of a bucket: a key of a subject, its class and its generation.
pub(crate) struct Entry {
    pub(crate) class: u16,
    pub(crate) generation: u32,
    pub(crate) key: Secret32,
}

impl Entry {
    fn fresh(class: u16, generation: u32) -> Result<Self, KeysError> {
        Ok(Self { class, generation, key: Secret32::random()? })
    }

    fn duplicate(&self) -> Self {
        Self { class: self.class, generation: self.generation, key: self.key.duplicate() }
    }
}

/// The opened keys of one subject. Shared behind [`Arc`](std::sync::Arc), wiped when the last holder lets go.
pub struct SubjectKeys {
    instance: Instance,
    vault: Id,
    subject: Id,
    tag_key: Entry,
    group_keys: Vec<Entry>,
}

impl SubjectKeys {
    /// Whose keys these are.
    pub fn subject(&self) -> &Id {
        &self.subject
    }

    /// The groups whose key is alive.
    pub fn groups(&self) -> GroupSet {
        self.group_keys.iter().filter_map(group_of).collect()
    }

    /// The tag by which the trail knows this subject: `HMAC-SHA256(tag key, "pv1/tag" ‖ tenant)[0..16]` (RFC 2104).
    ///
    /// Once the tag key is destroyed nobody can compute it for a subject any more. (Leftover rows still join it with the random
    /// subject id: see docs/ERASURE.md.)
    pub fn tag(&self, tenant: &Id) -> [u8; 16] {
        index::subject_tag(&self.tag_key.key, tenant)
    }

    /// `PRF(tag key, label, parts)`: like [`Hierarchy::keyed_digest`](crate::Hierarchy::keyed_digest), but it dies with the subject.
    ///
    /// Whatever of a row key a person could be guessed by must come from here: old row keys stay in the store's files, and a digest
    /// under a key that lives on confirms every right guess.
    pub fn keyed_digest(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        index::keyed_digest(&self.tag_key.key, label, parts)
    }

    /// Seals a small row about the subject under the tag key (W1, kind 9). `ext` says what the row is.
    ///
    /// # Errors
    /// `Random`.
    pub fn seal_row(&self, ext: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeysError> {
        wrap(&self.tag_key.key, &SUBJECT_ROW, &self.vault, ext, plain)
    }

    /// Opens a row that was sealed with the same `ext`.
    ///
    /// # Errors
    /// `Damaged` when it does not open.
    pub fn open_row(&self, ext: &[u8], bytes: &[u8]) -> Result<Plaintext, KeysError> {
        unwrap_with(&self.tag_key.key, &SUBJECT_ROW, &self.vault, ext, bytes)
    }

    /// A random key for a new record, and its wraps: one under the key of every group that may use the record (W1, kind 8).
    ///
    /// # Errors
    /// `Destroyed` when one of the groups has no key; `Misuse` without any group; `Random`.
    pub fn new_record_key(&self, record: &Id, groups: GroupSet) -> Result<(RecordKey, Wraps), KeysError> {
        if groups.is_empty() {
            return Err(KeysError::Misuse("a record needs a group"));
        }
        let key = Secret32::random()?;
        let wraps = groups
            .iter()
            .map(|group| Ok((group, self.wrap_record_key(record, group, &key)?)))
            .collect::<Result<_, KeysError>>()?;
        Ok((self.record_key_of(key, record, Through::Reading(groups)), wraps))
    }

    /// The key of a record, through the key of the permit's group and no other.
    ///
    /// # Errors
    /// `NotPermitted` when the permit is of another hierarchy or subject; `Destroyed` when the group's key is gone or the
    /// record is not wrapped under it; `Damaged` when the wrap does not open.
    pub fn record_key(&self, permit: &Permit, record: &Id, wraps: &[(Group, Vec<u8>)]) -> Result<RecordKey, KeysError> {
        permit.check(self.instance, &self.subject)?;
        let group = permit.group();
        let wrap = wrap_under(wraps, group).ok_or(KeysError::Destroyed)?;
        let key = self.open_record_key(record, group, wrap)?;
        Ok(self.record_key_of(key, record, Through::Reading(GroupSet::EMPTY.with(group))))
    }

    /// The key of a record for writing its next version, through any living group. To decrypt with it still takes a permit,
    /// of a group whose key is alive.
    ///
    /// # Errors
    /// `Destroyed` when no group of the record has a living key; `Damaged` when the wrap does not open.
    pub fn record_key_for_writing(&self, record: &Id, wraps: &[(Group, Vec<u8>)]) -> Result<RecordKey, KeysError> {
        let living = wraps.iter().map(|(group, _)| *group).collect::<GroupSet>().intersection(self.groups());
        let (group, wrap) = wraps.iter().find(|(group, _)| living.contains(*group)).ok_or(KeysError::Destroyed)?;
        let key = self.open_record_key(record, *group, wrap)?;
        Ok(self.record_key_of(key, record, Through::Writing(living)))
    }

    /// A record under a key that it did not have before: its envelope encrypted anew, as the same version, and the new key's wraps, one under each
    /// group that has both a wrap of the old one and a living key. The plaintext stays in here, so it takes no permit.
    ///
    /// # Errors
    /// `Destroyed` when no group of the record has a living key; `Damaged` when wrap or envelope do not open; `Misuse` when the context
    /// is of another subject; `Random`.
    pub fn renew_record(
        &self,
        c: &RecordContext,
        wraps: &[(Group, Vec<u8>)],
        envelope: &[u8],
    ) -> Result<(Vec<u8>, Wraps), KeysError> {
        let old = self.record_key_for_writing(&c.record, wraps)?;
        let living = wraps.iter().map(|(group, _)| *group).collect::<GroupSet>().intersection(self.groups());
        let (new, wraps) = self.new_record_key(&c.record, living)?;
        Ok((old.moved(&new, c, envelope)?, wraps))
    }

    /// The wrap of a record's key under the group of holds, made through any living group that the record has a wrap of. The key
    /// itself does not come out.
    ///
    /// # Errors
    /// `Destroyed` when no group of the record has a living key, or the subject has no key for holds; `Damaged` when the wrap
    /// does not open; `Random`.
    pub fn hold(&self, record: &Id, wraps: &[(Group, Vec<u8>)]) -> Result<Vec<u8>, KeysError> {
        let living = self.groups();
        let (group, wrap) = wraps.iter().find(|(group, _)| living.contains(*group)).ok_or(KeysError::Destroyed)?;
        self.wrap_record_key(record, Group::HOLD, &self.open_record_key(record, *group, wrap)?)
    }

    /// Fresh random keys for a new subject.
    pub(crate) fn fresh(instance: Instance, vault: Id, subject: Id, groups: GroupSet) -> Result<Self, KeysError> {
        let group_keys = groups.iter().map(|group| Entry::fresh(class_of(group), 0)).collect::<Result<_, _>>()?;
        Ok(Self { instance, vault, subject, tag_key: Entry::fresh(TAG_CLASS, 0)?, group_keys })
    }

    /// The keys that a bucket holds for a subject. `Damaged` unless there is one tag key and at most one key of each group.
    pub(crate) fn from_entries(
        instance: Instance,
        vault: Id,
        subject: Id,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, KeysError> {
        let (mut tag_key, mut group_keys, mut seen) = (None, Vec::new(), GroupSet::EMPTY);
        for entry in entries {
            if entry.class == TAG_CLASS {
                if tag_key.replace(entry).is_some() {
                    return Err(KeysError::Damaged);
                }
                continue;
            }
            let group = group_of(&entry).filter(|group| !seen.contains(*group)).ok_or(KeysError::Damaged)?;
            seen = seen.with(group);
            group_keys.push(entry);
        }
        group_keys.sort_unstable_by_key(|entry| entry.class);
        Ok(Self { instance, vault, subject, tag_key: tag_key.ok_or(KeysError::Damaged)?, group_keys })
    }

    /// What a bucket has to hold: the tag key, then the group keys by number.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.tag_key).chain(&self.group_keys)
    }

    /// The keys after a change: the groups of `drop` without a key, those of `renew` with a new one of the next generation,
    /// those of `add` with a first one. Groups of `renew` that have no key and groups of `add` that have one stay as they are;
    /// `drop` goes before both.
    pub(crate) fn changed(&self, drop: GroupSet, renew: GroupSet, add: GroupSet) -> Result<Self, KeysError> {
        let mut group_keys = Vec::with_capacity(self.group_keys.len() + add.len());
        for entry in &self.group_keys {
            match group_of(entry) {
                Some(group) if drop.contains(group) => {}
                Some(group) if renew.contains(group) => {
                    let generation = entry.generation.checked_add(1).ok_or(KeysError::Full("generations of a group key"))?;
                    group_keys.push(Entry::fresh(entry.class, generation)?);
                }
                _ => group_keys.push(entry.duplicate()),
            }
        }
        for group in add.without(self.groups()).without(drop).iter() {
            group_keys.push(Entry::fresh(class_of(group), 0)?);
        }
        group_keys.sort_unstable_by_key(|entry| entry.class);
        let (instance, vault, subject) = (self.instance, self.vault, self.subject);
        Ok(Self { instance, vault, subject, tag_key: self.tag_key.duplicate(), group_keys })
    }

    /// A record key's wrap moved from this subject's group key to the one that takes its place in `after`.
    pub(crate) fn rewrap(&self, after: &Self, record: &Id, group: Group, wrap: &[u8]) -> Result<Vec<u8>, KeysError> {
        if after.subject != self.subject {
            return Err(KeysError::Misuse("a wrap stays with its subject"));
        }
        after.wrap_record_key(record, group, &self.open_record_key(record, group, wrap)?)
    }

    fn wrap_record_key(&self, record: &Id, group: Group, key: &Secret32) -> Result<Vec<u8>, KeysError> {
        let parent = self.group_key(group)?;
        wrap(&parent.key, &record_key_id(parent), &self.vault, &self.record_ext(record, group), key.bytes())
    }

    fn open_record_key(&self, record: &Id, group: Group, bytes: &[u8]) -> Result<Secret32, KeysError> {
        let parent = self.group_key(group)?;
        let plain = unwrap_with(&parent.key, &record_key_id(parent), &self.vault, &self.record_ext(record, group), bytes)?;
        Secret32::from_slice(plain.bytes())
    }

    fn group_key(&self, group: Group) -> Result<&Entry, KeysError> {
        self.group_keys.iter().find(|entry| entry.class == class_of(group)).ok_or(KeysError::Destroyed)
    }

    fn record_ext(&self, record: &Id, group: Group) -> [u8; 33] {
        let mut ext = [0; 33];
        ext[..16].copy_from_slice(&self.subject);
        ext[16..32].copy_from_slice(record);
        ext[32] = group.number();
        ext
    }

    fn record_key_of(&self, key: Secret32, record: &Id, through: Through) -> RecordKey {
        RecordKey::new(key, self.instance, self.subject, *record, through)
    }
}

const SUBJECT_ROW: KeyId = KeyId { kind: kind::SUBJECT_ROW, map: 0, level: 0, index: 0, epoch: 0 };

/// The id of a record key's wrap: level = group, index = generation of the group key.
fn record_key_id(parent: &Entry) -> KeyId {
    let level = group_of(parent).map_or(0, Group::number);
    KeyId { kind: kind::RECORD_KEY, map: 0, level, index: parent.generation, epoch: 0 }
}

fn wrap_under(wraps: &[(Group, Vec<u8>)], group: Group) -> Option<&[u8]> {
    wraps.iter().find(|(under, _)| *under == group).map(|(_, wrap)| wrap.as_slice())
}

fn class_of(group: Group) -> u16 {
    u16::from(group.number())
}

fn group_of(entry: &Entry) -> Option<Group> {
    u8::try_from(entry.class).ok().and_then(Group::new)
}

#[cfg(test)]
mod tests;
