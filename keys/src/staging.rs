//! Adding to the trees: new subjects, more groups, aliases. Nothing is destroyed, so no place gets a new key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::alias::Alias;
use crate::bucket::{AliasEntry, SubjectEntry};
use crate::context::{GroupSet, Id};
use crate::error::KeysError;
use crate::hierarchy::{Hierarchy, replace, subject_of};
use crate::index::alias_bits;
use crate::node::Node;
use crate::place::{Place, SUBJECTS, alias_map, subject_bits};
use crate::rows::{RowWrite, Rows};
use crate::subject::SubjectKeys;
use crate::tree::Changes;

/// A subject that is not in the tree yet. Its keys can be used at once; they last if what was made with them commits together with it.
pub struct NewSubject {
    id: Id,
    keys: Arc<SubjectKeys>,
}

impl NewSubject {
    /// Whose keys these are.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// The keys.
    pub fn keys(&self) -> &Arc<SubjectKeys> {
        &self.keys
    }
}

/// What to add, all of it in one batch.
#[derive(Default)]
pub struct Inserts {
    /// New subjects.
    pub subjects: Vec<NewSubject>,
    /// Subjects, some of them new perhaps, and groups that they are to have a key for. Groups that have one keep it; a subject that is not there is left out.
    pub groups: Vec<(Id, GroupSet)>,
    /// Aliases, and whose they are, to be found under the newest index keys. One that is there already is no error.
    pub aliases: Vec<(Alias, Id)>,
}

/// Rows that add what was asked for, to be committed and then [adopted](Hierarchy::adopt). Dropped, nothing has happened.
pub struct Staged {
    /// The rows to write, each once.
    pub writes: Vec<RowWrite>,
    /// The keys of every subject of [`Inserts::groups`] that is there, with its new groups.
    pub added: Vec<(Id, Arc<SubjectKeys>)>,
    fresh: Vec<(Id, Arc<SubjectKeys>)>,
    nodes: Vec<(Place, u64, Arc<Node>)>,
    epoch: u64,
}

impl Hierarchy {
    /// Fresh random keys for a subject that is to be staged.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn new_subject(&self, id: Id, groups: GroupSet) -> Result<NewSubject, KeysError> {
        let keys = Arc::new(SubjectKeys::fresh(self.instance, self.vault, id, groups)?);
        Ok(NewSubject { id, keys })
    }

    /// Works out the rows that add all this. A bucket is rewritten under the key it has, or split.
    ///
    /// For the one committer, over rows that are committed: stage, commit, [adopt](Self::adopt), then stage again.
    ///
    /// # Errors
    /// [`KeysError::Misuse`] while a transition is open or when a new subject is there already, [`KeysError::Full`],
    /// [`KeysError::Damaged`], [`KeysError::Rows`], [`KeysError::Random`].
    pub fn stage(&self, rows: &dyn Rows, inserts: Inserts) -> Result<Staged, KeysError> {
        self.opened.change(rows, |tree| {
            let epoch = tree.view.epoch;
            let (mut subjects, mut aliases) = (BTreeMap::new(), BTreeMap::new());
            let mut fresh = Vec::with_capacity(inserts.subjects.len());
            for new in inserts.subjects {
                let bucket = tree.gather::<SubjectEntry>(SUBJECTS, subject_bits(&new.id), &mut subjects)?;
                if bucket.entries().iter().any(|entry| entry.subject == new.id) {
                    return Err(KeysError::Misuse("a new subject is there already"));
                }
                replace(bucket, &new.keys, epoch);
                fresh.push((new.id, new.keys));
            }
            let mut added = HashMap::with_capacity(inserts.groups.len());
            for (id, groups) in inserts.groups {
                let bucket = tree.gather(SUBJECTS, subject_bits(&id), &mut subjects)?;
                let Some(before) = subject_of(self.instance, self.vault, bucket, &id)? else { continue };
                let after = before.changed(GroupSet::EMPTY, GroupSet::EMPTY, groups)?;
                replace(bucket, &after, epoch);
                added.insert(id, Arc::new(after));
            }
            let system = self.system();
            let index = system.index.first().ok_or(KeysError::Damaged)?;
            for (alias, subject) in inserts.aliases {
                let tag = alias.tag(index).ok_or(KeysError::Misuse("nothing is known of this alias that the index key reads"))?;
                let bucket = tree.gather(alias_map(index.generation), alias_bits(&index.route, &tag), &mut aliases)?;
                bucket.insert(AliasEntry { tag, subject });
            }
            let mut changes = Changes::default();
            for (place, (spot, bucket)) in subjects {
                let (made, key) = spot.key()?;
                let bits = |entry: &SubjectEntry| subject_bits(&entry.subject);
                changes.bucket(&self.vault, place, (made, &key), bucket, &bits, epoch)?;
            }
            for (place, (spot, bucket)) in aliases {
                let (made, key) = spot.key()?;
                let bits = |entry: &AliasEntry| alias_bits(&index.route, &entry.tag);
                changes.bucket(&self.vault, place, (made, &key), bucket, &bits, epoch)?;
            }
            let added = added.into_iter().collect();
            Ok(Staged { writes: changes.writes, added, fresh, nodes: changes.nodes, epoch })
        })
    }

    /// Takes what was staged into the caches, once its rows are durable.
    pub fn adopt(&self, staged: Staged) {
        self.opened.adopt(staged.epoch, staged.nodes, staged.fresh, staged.added);
    }
}
