//! Walking the trees, and writing buckets.
//!
//! A row is opened with the key that its parent holds for it, and only if its header names that very place and the epoch in which the parent
//! says that key was made. A place without a row is an empty bucket.
//!
//! **Splits.** A bucket that overflows becomes an interior node with 128 fresh child keys. It keeps its place, and so its own key: the parent's
//! key for a place changes when something below it is destroyed, and at no other time, which is what lets an insert rewrite one row. The rows
//! that the bucket had before the split stay open to that key while it lives. They hold keys that are now a level deeper; when one of those is
//! destroyed, the path rule gives this node a new key too, so the old bucket rows go with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::bucket::{Bucket, Entry};
use crate::context::Id;
use crate::error::KeysError;
use crate::node::Node;
use crate::place::{DEEPEST, Place, digit};
use crate::rows::{RowWrite, Rows};
use crate::secret::Secret32;
use crate::wrap::{self, KeyId, kind};

/// One state of the trees: the tops of the maps, and the interior nodes that are not in the rows, or not yet.
pub(crate) struct View {
    pub(crate) epoch: u64,
    pub(crate) root: Arc<Node>,
    pub(crate) overlay: HashMap<Place, Arc<Node>>,
}

/// Interior nodes kept open.
pub(crate) trait Nodes {
    /// The node at a place whose key was made in this epoch.
    fn open(&self, place: Place, epoch: u64) -> Option<Arc<Node>>;
    /// Offers a node that was read from its row.
    fn offer(&self, place: Place, epoch: u64, node: &Arc<Node>);
}

/// No nodes at all.
pub(crate) struct NoNodes;

impl Nodes for NoNodes {
    fn open(&self, _: Place, _: u64) -> Option<Arc<Node>> {
        None
    }

    fn offer(&self, _: Place, _: u64, _: &Arc<Node>) {}
}

/// A place, and who holds its key.
pub(crate) struct Spot {
    pub(crate) place: Place,
    parent: Arc<Node>,
    digit: usize,
}

impl Spot {
    fn top(view: &View, map: u8) -> Self {
        Self { place: Place::top(map), parent: Arc::clone(&view.root), digit: usize::from(map) }
    }

    fn below(&self, node: Arc<Node>, bits: u128) -> Result<Self, KeysError> {
        if self.place.level >= DEEPEST {
            return Err(KeysError::Damaged);
        }
        let digit = digit(bits, self.place.level);
        Ok(Self { place: self.place.child(digit), parent: node, digit })
    }

    /// The epoch and key of the row at this place.
    pub(crate) fn key(&self) -> Result<(u64, Secret32), KeysError> {
        self.parent.child(self.digit)
    }
}

/// What lies at a place.
pub(crate) enum Found<E> {
    Interior(Arc<Node>),
    Bucket(Bucket<E>),
    Nothing,
}

/// One state of the trees over the rows.
pub(crate) struct Tree<'a> {
    pub(crate) vault: &'a Id,
    pub(crate) rows: &'a dyn Rows,
    pub(crate) view: &'a View,
    pub(crate) nodes: &'a dyn Nodes,
}

impl Tree<'_> {
    /// The bucket that `bits` lead to in a map.
    pub(crate) fn bucket<E: Entry>(&self, map: u8, bits: u128) -> Result<Bucket<E>, KeysError> {
        let mut spot = Spot::top(self.view, map);
        loop {
            let (epoch, key) = spot.key()?;
            match self.open(spot.place, epoch, &key)? {
                Found::Interior(node) => spot = spot.below(node, bits)?,
                Found::Bucket(bucket) => return Ok(bucket),
                Found::Nothing => return Ok(Bucket::empty()),
            }
        }
    }

    /// Finds the bucket that `bits` lead to among those already gathered, or reads it and adds it to them.
    pub(crate) fn gather<'b, E: Entry>(
        &self,
        map: u8,
        bits: u128,
        gathered: &'b mut BTreeMap<Place, (Spot, Bucket<E>)>,
    ) -> Result<&'b mut Bucket<E>, KeysError> {
        let mut spot = Spot::top(self.view, map);
        while !gathered.contains_key(&spot.place) {
            let (epoch, key) = spot.key()?;
            let bucket = match self.open(spot.place, epoch, &key)? {
                Found::Interior(node) => {
                    spot = spot.below(node, bits)?;
                    continue;
                }
                Found::Bucket(bucket) => bucket,
                Found::Nothing => Bucket::empty(),
            };
            let entry = gathered.entry(spot.place).or_insert((spot, bucket));
            return Ok(&mut entry.1);
        }
        gathered.get_mut(&spot.place).map(|(_, bucket)| bucket).ok_or(KeysError::Damaged)
    }

    /// The interior node at a place, if one lies there. A bucket stays closed.
    pub(crate) fn interior(&self, place: Place, epoch: u64, key: &Secret32) -> Result<Option<Arc<Node>>, KeysError> {
        if let Some(node) = self.view.overlay.get(&place) {
            return Ok(Some(Arc::clone(node)));
        }
        if let Some(node) = self.nodes.open(place, epoch) {
            return Ok(Some(node));
        }
        let Some(row) = self.rows.row(&place.row_key())? else { return Ok(None) };
        if KeyId::read(&row)?.kind != kind::INTERIOR {
            return Ok(None);
        }
        let plain = wrap::unwrap_with(key, &key_id(kind::INTERIOR, place, epoch), self.vault, &[], &row)?;
        let node = Arc::new(Node::parse(&plain)?);
        self.nodes.offer(place, epoch, &node);
        Ok(Some(node))
    }

    /// Opens what lies at a place.
    pub(crate) fn open<E: Entry>(&self, place: Place, epoch: u64, key: &Secret32) -> Result<Found<E>, KeysError> {
        if let Some(node) = self.view.overlay.get(&place) {
            return Ok(Found::Interior(Arc::clone(node)));
        }
        if let Some(node) = self.nodes.open(place, epoch) {
            return Ok(Found::Interior(node));
        }
        let Some(row) = self.rows.row(&place.row_key())? else { return Ok(Found::Nothing) };
        let claimed = KeyId::read(&row)?.kind;
        if claimed != kind::INTERIOR && claimed != kind::BUCKET {
            return Err(KeysError::Damaged);
        }
        let plain = wrap::unwrap_with(key, &key_id(claimed, place, epoch), self.vault, &[], &row)?;
        if claimed == kind::BUCKET {
            return Bucket::parse(plain.bytes()).map(Found::Bucket);
        }
        let node = Arc::new(Node::parse(&plain)?);
        self.nodes.offer(place, epoch, &node);
        Ok(Found::Interior(node))
    }
}

/// Rows and nodes that a change of the trees brings forth.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) writes: Vec<RowWrite>,
    /// New interior nodes, with the epoch in which the key of their place was made.
    pub(crate) nodes: Vec<(Place, u64, Arc<Node>)>,
}

impl Changes {
    fn seal(&mut self, vault: &Id, id: KeyId, place: Place, key: &Secret32, plain: &[u8]) -> Result<(), KeysError> {
        let row = wrap::wrap(key, &id, vault, &[], plain)?;
        self.writes.push(RowWrite { key: place.row_key().to_vec(), value: Some(row) });
        Ok(())
    }

    /// Writes the root row, whose header carries the epoch: the marker that decides which slot lives.
    pub(crate) fn root(&mut self, vault: &Id, epoch: u64, key: &Secret32, root: &Node) -> Result<(), KeysError> {
        self.seal(vault, key_id(kind::ROOT_NODE, Place::ROOT, epoch), Place::ROOT, key, root.bytes())
    }

    /// Writes an interior node.
    pub(crate) fn interior(
        &mut self,
        vault: &Id,
        place: Place,
        (epoch, key): (u64, &Secret32),
        node: Node,
    ) -> Result<Arc<Node>, KeysError> {
        self.seal(vault, key_id(kind::INTERIOR, place, epoch), place, key, node.bytes())?;
        let node = Arc::new(node);
        self.nodes.push((place, epoch, Arc::clone(&node)));
        Ok(node)
    }

    /// Writes a bucket, split as often as it takes. `now` is the epoch in which the keys of new children are made.
    pub(crate) fn bucket<E: Entry>(
        &mut self,
        vault: &Id,
        place: Place,
        (epoch, key): (u64, &Secret32),
        bucket: Bucket<E>,
        bits: &dyn Fn(&E) -> u128,
        now: u64,
    ) -> Result<(), KeysError> {
        if !bucket.is_over() || (!can_split(&bucket, place, bits) && bucket.fits_a_row()) {
            return self.seal(vault, key_id(kind::BUCKET, place, epoch), place, key, &bucket.encode()?);
        }
        if !can_split(&bucket, place, bits) {
            return Err(KeysError::Full("a bucket that cannot be split"));
        }
        let mut children: BTreeMap<usize, Bucket<E>> = BTreeMap::new();
        for entry in bucket.into_entries() {
            children.entry(digit(bits(&entry), place.level)).or_insert_with(Bucket::empty).insert(entry);
        }
        let node = self.interior(vault, place, (epoch, key), Node::fresh(now)?)?;
        for (digit, child) in children {
            let (epoch, key) = node.child(digit)?;
            self.bucket(vault, place.child(digit), (epoch, &key), child, bits, now)?;
        }
        Ok(())
    }
}

/// Entries that share all their bits (one alias of many subjects) stay together at any depth, so going deeper is of no use.
fn can_split<E: Entry>(bucket: &Bucket<E>, place: Place, bits: &dyn Fn(&E) -> u128) -> bool {
    let mut all = bucket.entries().iter().map(bits);
    let first = all.next();
    place.level < DEEPEST && all.any(|other| Some(other) != first)
}

/// The id of a tree row: its kind, its place, and the epoch in which the key of that place was made.
pub(crate) const fn key_id(kind: u8, place: Place, epoch: u64) -> KeyId {
    KeyId { kind, map: place.map, level: place.level, index: place.index, epoch }
}
