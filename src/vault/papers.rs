//! The papers of a request or a case: evidence, letters, bundles, each file of them under a key of its own.
//!
//! That key stands in the tree of subjects under the random id of the request or case, as if it were somebody without groups.
//! So a file can be destroyed for itself when its time is over, by the same transition as a person ([`destroy`]); and where it is
//! about a person, it goes at the latest with the person (`erasure::sealing`), whatever its own end date.

use std::sync::Arc;

use keys::{Id, SubjectKeys};
use minicbor::{Decode, Encode};

use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::PaperId;
use crate::store::layout::{RowKey, prefix};
use crate::store::{MAX_VALUE, Row};

use super::call::Refused;
use super::committer::{Change, Committer, Expect, RowChange};
use super::core::{Core, fresh};
use super::erasure::sealing::{Shredding, Target};
use super::rows::{pack, unpack};

/// Rows of a file that are looked at together.
const PAGE: usize = 100;

/// The most of a paper that one row takes: what a value may have, less its wrap and the rest of the row.
pub(crate) const MOST: usize = MAX_VALUE - 500;

/// One paper, or a piece of one. Sealed under the key of its file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Paper {
    /// What it is: `evidence`, `letter`, `bundle`…
    #[n(0)]
    pub kind: String,
    /// Microseconds since 1970.
    #[n(1)]
    pub at: i64,
    /// Its place among the pieces of one paper, from 0.
    #[n(2)]
    pub piece: u32,
    /// What it says, at most [`MOST`] bytes.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub text: Vec<u8>,
}

/// The key of a request's or case's papers, opened.
pub(crate) struct File {
    id: Id,
    keys: Arc<SubjectKeys>,
    as_of: u64,
}

/// Begins a file with `change`. `id` is the random id of the request or case.
pub(crate) fn begin(core: &Core, id: &Id, change: &mut Change) -> Result<File, Refused> {
    let as_of = core.people.count();
    let new = core.hierarchy.new_subject(*id, keys::GroupSet::EMPTY)?;
    let keys = new.keys().clone();
    change.subjects.push(new);
    Ok(File { id: *id, keys, as_of })
}

/// A file; `None` where there never was one, or its key was destroyed.
pub(crate) fn open(core: &Core, id: &Id) -> Result<Option<File>, Refused> {
    let as_of = core.people.count();
    let keys = core.hierarchy.subject(&core.rows(), id)?;
    Ok(keys.map(|keys| File { id: *id, keys, as_of }))
}

impl File {
    /// Puts a paper into the file with `change`, which is stale if the file's key is destroyed first.
    pub(crate) fn put(&self, paper: &Paper, change: &mut Change) -> Result<PaperId, Refused> {
        let id = PaperId::from_bytes(fresh()?);
        self.put_as(id, paper, change)?;
        Ok(id)
    }

    /// The same under an id that tells the place of a piece in this file, so that it is found without looking at the others.
    pub(crate) fn put_as(&self, id: PaperId, paper: &Paper, change: &mut Change) -> Result<(), Refused> {
        let key = RowKey::Paper(self.id, id).bytes();
        let value = Some(self.keys.seal_row(&key, &pack(paper)?)?);
        change.bound.push((self.id, self.as_of));
        change.rows.push(RowChange { key, expect: Expect::Fresh, value });
        Ok(())
    }

    /// The paper of that id, if it is there.
    pub(crate) fn one(&self, core: &Core, id: PaperId) -> Result<Option<Paper>, Refused> {
        let key = RowKey::Paper(self.id, id).bytes();
        core.store.row(&key)?.map(|value| self.paper(&key, &value)).transpose()
    }

    /// A digest that only this file's key gives.
    pub(crate) fn keyed_digest(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.keys.keyed_digest(label, parts)
    }

    /// One row of the file, opened.
    pub(crate) fn paper(&self, key: &[u8], value: &[u8]) -> Result<Paper, Refused> {
        unpack(self.keys.open_row(key, value)?.bytes())
    }
}

/// Every paper of a file, in the order of their ids; nothing once its key was destroyed.
pub(crate) fn all(core: &Core, id: &Id) -> Result<Vec<(PaperId, Paper)>, Refused> {
    let Some(file) = open(core, id)? else { return Ok(Vec::new()) };
    let mut papers = Vec::new();
    for (key, value) in rows(core, id)? {
        let Some(RowKey::Paper(_, paper)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
        papers.push((paper, file.paper(&key, &value)?));
    }
    Ok(papers)
}

/// The rows of a file, as they are stored.
pub(crate) fn rows(core: &Core, file: &Id) -> Result<Vec<Row>, Refused> {
    let (mut all, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let mut page = core.store.scan(&prefix::papers(file), after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(last.clone());
        all.append(&mut page);
    }
}

/// Destroys the key of a file and removes its papers, in an epoch transition; answers when nobody can read them any more. A file
/// that is gone already is fine.
pub(crate) async fn destroy(core: &Core, committer: &Committer, file: &Id) -> Result<(), Refused> {
    destroy_all(core, committer, &[*file]).await.pop().unwrap_or(Err(Code::Internal.into()))
}

/// The same for several, in as few epoch transitions as can be; each is answered in its place.
pub(crate) async fn destroy_all(core: &Core, committer: &Committer, files: &[Id]) -> Vec<Result<(), Refused>> {
    let begin = |file: &Id| {
        if open(core, file)?.is_none() {
            return Ok(None);
        }
        let entry = core.event("destroyPapers", Outcome::Done, Note::None)?;
        let (shredding, sealed) = Shredding::new(entry, Target::Papers { file: *file }, None);
        committer.shred(shredding)?;
        Ok(Some(sealed))
    };
    let begun: Vec<_> = files.iter().map(begin).collect();
    let mut done = Vec::with_capacity(files.len());
    for begun in begun {
        done.push(match begun {
            Ok(None) => Ok(()),
            Ok(Some(sealed)) => match sealed.await {
                Ok(Err(refused)) if refused.code == Code::Erased => Ok(()),
                Ok(outcome) => outcome.map(drop),
                Err(_) => Err(Code::Sealed.into()),
            },
            Err(refused) => Err(refused),
        });
    }
    done
}
