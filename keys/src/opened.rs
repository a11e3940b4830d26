//! What is open in memory: the current state of the trees, interior nodes, subjects' keys. Bounded, and wiped as it is dropped.
//!
//! Readers take shared locks alone. Around a transition they meet rows of either epoch, because the store's commit and the change of state in
//! memory are two events. So there are two states from before the commit until after it, and a reader tries both:
//!
//! ```text
//! begin     pending state published; victims leave the cache, and stay out of it
//! (commit)  rows of touched places turn from the current to the pending state at once
//! finish    pending becomes current; touched nodes replaced, victims' keys after the change put in their place
//! ```
//!
//! - A row that opens in neither state was read across one of these events: the turn has moved on, and the reader descends again. When it has
//!   not moved on, the row is damaged.
//! - What a reader read it may put in the caches only while the turn is the one it started in, checked under the lock that every change of turn
//!   takes exclusively. So no key from before a change gets in after it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use quick_cache::sync::Cache;

use crate::context::Id;
use crate::error::KeysError;
use crate::node::Node;
use crate::place::Place;
use crate::rows::Rows;
use crate::secret::Secret32;
use crate::subject::SubjectKeys;
use crate::tree::{Nodes, Tree, View};

/// Interior nodes kept open: 5 KiB each.
const NODES: usize = 8_192;
/// Subjects kept open: some 700 B each.
const SUBJECTS: usize = 65_536;
/// Descents before a reader gives up. Each one more needs a transition to have come between.
const TRIES: usize = 64;

pub(crate) struct Opened {
    vault: Id,
    state: RwLock<State>,
    nodes: Cache<Place, (u64, Arc<Node>)>,
    subjects: Cache<Id, Arc<SubjectKeys>>,
}

struct State {
    turn: u64,
    current: Arc<View>,
    pending: Option<Pending>,
}

struct Pending {
    view: Arc<View>,
    touched: HashSet<Id>,
}

impl Opened {
    pub(crate) fn new(vault: Id, epoch: u64, root: Arc<Node>) -> Self {
        let current = Arc::new(View { epoch, root, overlay: HashMap::new() });
        let state = RwLock::new(State { turn: 0, current, pending: None });
        Self { vault, state, nodes: Cache::new(NODES), subjects: Cache::new(SUBJECTS) }
    }

    /// Other bounds of the caches, which become empty.
    pub(crate) fn resized(mut self, subjects: usize, nodes: usize) -> Self {
        self.subjects = Cache::new(subjects.max(1));
        self.nodes = Cache::new(nodes.max(1));
        self
    }

    pub(crate) fn current(&self) -> Arc<View> {
        Arc::clone(&self.read_state().current)
    }

    pub(crate) fn turn(&self) -> u64 {
        self.read_state().turn
    }

    /// The keys of a subject, from the cache or through `read`.
    pub(crate) fn subject(
        &self,
        rows: &dyn Rows,
        id: &Id,
        read: impl Fn(&Tree<'_>) -> Result<Option<SubjectKeys>, KeysError>,
    ) -> Result<Option<Arc<SubjectKeys>>, KeysError> {
        if let Some(keys) = self.subjects.get(id) {
            return Ok(Some(keys));
        }
        let (keys, turn) = self.descend(rows, read)?;
        let Some(keys) = keys.map(Arc::new) else { return Ok(None) };
        let state = self.read_state();
        if turn == Some(state.turn) && state.pending.as_ref().is_none_or(|pending| !pending.touched.contains(id)) {
            self.subjects.insert(*id, Arc::clone(&keys));
        }
        Ok(Some(keys))
    }

    /// Reads in a state that the rows are in; also says in which turn, unless that was the pending state.
    pub(crate) fn descend<T>(
        &self,
        rows: &dyn Rows,
        read: impl Fn(&Tree<'_>) -> Result<T, KeysError>,
    ) -> Result<(T, Option<u64>), KeysError> {
        for _ in 0..TRIES {
            let (turn, current, pending) = {
                let state = self.read_state();
                let pending = state.pending.as_ref().map(|pending| Arc::clone(&pending.view));
                (state.turn, Arc::clone(&state.current), pending)
            };
            for (view, turn) in [(Some(current), Some(turn)), (pending, None)] {
                let Some(view) = view else { continue };
                match read(&Tree { vault: &self.vault, rows, view: &view, nodes: &Reader { opened: self, turn } }) {
                    Ok(found) => return Ok((found, turn)),
                    Err(KeysError::Damaged) => {}
                    Err(error) => return Err(error),
                }
            }
            if self.turn() == turn {
                return Err(KeysError::Damaged);
            }
        }
        Err(KeysError::Damaged)
    }

    /// The current state, for the one that changes it.
    pub(crate) fn change<T>(
        &self,
        rows: &dyn Rows,
        work: impl FnOnce(&Tree<'_>) -> Result<T, KeysError>,
    ) -> Result<T, KeysError> {
        let (view, turn) = {
            let state = self.read_state();
            if state.pending.is_some() {
                return Err(KeysError::Misuse("a transition is open"));
            }
            (Arc::clone(&state.current), Some(state.turn))
        };
        work(&Tree { vault: &self.vault, rows, view: &view, nodes: &Reader { opened: self, turn } })
    }

    /// Takes what was inserted in `epoch` into the caches. Too late after a transition: then it is left to be read from the rows.
    pub(crate) fn adopt(
        &self,
        epoch: u64,
        nodes: Vec<(Place, u64, Arc<Node>)>,
        fresh: Vec<(Id, Arc<SubjectKeys>)>,
        changed: Vec<(Id, Arc<SubjectKeys>)>,
    ) {
        let mut state = self.write_state();
        if state.current.epoch != epoch || state.pending.is_some() {
            return;
        }
        if !changed.is_empty() {
            state.turn += 1; // a reader may hold what the subject was before
        }
        for (place, epoch, node) in nodes {
            self.nodes.insert(place, (epoch, node));
        }
        for (id, keys) in fresh.into_iter().chain(changed) {
            self.subjects.insert(id, keys);
        }
    }

    /// Lets readers open rows of the coming state too; `touched` leave the cache and stay out of it.
    pub(crate) fn publish(&self, view: View, touched: HashSet<Id>) {
        let mut state = self.write_state();
        state.turn += 1;
        for id in &touched {
            self.subjects.remove(id);
        }
        state.pending = Some(Pending { view: Arc::new(view), touched });
    }

    /// Makes the pending state the current one. `after` are the keys of touched subjects that live on.
    pub(crate) fn settle(&self, after: impl IntoIterator<Item = (Id, Arc<SubjectKeys>)>) {
        let mut state = self.write_state();
        let Some(Pending { view, touched }) = state.pending.take() else { return };
        state.turn += 1;
        for id in &touched {
            self.subjects.remove(id);
        }
        for (place, node) in &view.overlay {
            self.nodes.remove(place);
            self.nodes.insert(*place, (view.epoch, Arc::clone(node)));
        }
        for (id, keys) in after {
            self.subjects.insert(id, keys);
        }
        state.current = Arc::new(View { epoch: view.epoch, root: Arc::clone(&view.root), overlay: HashMap::new() });
    }

    /// Forgets the pending state: its rows were never committed.
    pub(crate) fn withdraw(&self) {
        let mut state = self.write_state();
        state.turn += 1;
        state.pending = None;
    }

    /// The key that the open nodes hold for a place.
    pub(crate) fn key_of(&self, place: Place) -> Option<Secret32> {
        let (_, node) = self.nodes.get(&place.parent()?)?;
        node.child(place.digit()).ok().map(|(_, key)| key)
    }

    /// Every open node.
    pub(crate) fn open_nodes(&self) -> impl Iterator<Item = Arc<Node>> {
        self.nodes.iter().map(|(_, (_, node))| node)
    }

    /// Empties the caches, so that a test meets the rows.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.nodes.clear();
        self.subjects.clear();
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader of one turn; without a turn it leaves nothing in the caches.
struct Reader<'a> {
    opened: &'a Opened,
    turn: Option<u64>,
}

impl Nodes for Reader<'_> {
    fn open(&self, place: Place, epoch: u64) -> Option<Arc<Node>> {
        self.opened.nodes.get(&place).filter(|(made, _)| *made == epoch).map(|(_, node)| node)
    }

    fn offer(&self, place: Place, epoch: u64, node: &Arc<Node>) {
        let state = self.opened.read_state();
        if self.turn == Some(state.turn) {
            self.opened.nodes.insert(place, (epoch, Arc::clone(node)));
        }
    }
}
