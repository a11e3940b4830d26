//! The store in memory, for simulations: it keeps what a disk would keep, and fails where it is told to.
//!
//! It holds two images. Readers see `visible`; `durable` is what a power cut leaves. A commit that works moves both.
//! A commit whose sync fails moves only the first, and its batch waits in between: after the cut it is there or not,
//! as [`MemoryStore::power_cut`] is told, but never half of it.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::Mutex;

use super::{Batch, OnFatal, Row, Store, StoreError};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What happens to one commit. Commits are counted from 1; refused ones count too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refused as [`StoreError::Full`]; nothing is applied and the store goes on.
    Full,
    /// Fails before anything is applied, and poisons.
    BeforeApplying,
    /// Applied and seen by readers, but the sync fails; poisons. A power cut may lose it.
    BeforeSyncing,
    /// Applied and durable, but the caller is told that it failed; poisons.
    AfterSyncing,
}

/// What becomes of batches that were applied but never synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// The medium never got them.
    Lost,
    /// The medium got them all the same.
    Kept,
}

/// Rows in memory.
pub struct MemoryStore {
    state: Mutex<State>,
    on_fatal: Option<OnFatal>,
}

#[derive(Default)]
struct State {
    visible: Rows,
    durable: Rows,
    /// Applied since the last sync that worked, oldest first.
    unsynced: Vec<Batch>,
    commits: u64,
    faults: BTreeMap<u64, Fault>,
    forgets_to_sync: bool,
    capacity: Option<u64>,
    poisoned: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store without faults.
    pub fn new() -> Self {
        Self { state: Mutex::default(), on_fatal: None }
    }

    /// An empty store that calls `on_fatal` when it is poisoned.
    pub fn with_on_fatal(on_fatal: OnFatal) -> Self {
        Self { state: Mutex::default(), on_fatal: Some(on_fatal) }
    }

    /// Makes the `nth` commit from now meet a fault; 1 is the next one.
    pub fn fail(&self, nth: u64, fault: Fault) {
        let mut state = self.state.lock();
        let at = state.commits + nth;
        state.faults.insert(at, fault);
    }

    /// From now on commits are acknowledged without a sync, as a disk does that lies about its cache. A simulation that
    /// loses nothing with this does not look.
    pub fn forget_to_sync(&self) {
        self.state.lock().forgets_to_sync = true;
    }

    /// The bytes of keys and values that fit. Larger commits are refused as [`StoreError::Full`], and those that serve
    /// forgetting pass.
    pub fn limit(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// How many commits were asked for.
    pub fn commits(&self) -> u64 {
        self.state.lock().commits
    }

    /// The store as the next process finds it: what was durable, and what was not, as told. No faults, not poisoned.
    pub fn power_cut(&self, unsynced: Unsynced) -> Self {
        let state = self.state.lock();
        let mut durable = state.durable.clone();
        if unsynced == Unsynced::Kept {
            state.unsynced.iter().for_each(|batch| apply(&mut durable, batch));
        }
        let state = State { visible: durable.clone(), durable, ..State::default() };
        Self { state: Mutex::new(state), on_fatal: self.on_fatal.clone() }
    }
}

impl Store for MemoryStore {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.lock().visible.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let state = self.state.lock();
        let rows = state.visible.range::<[u8], _>((start, Bound::Unbounded));
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        batch.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        let done = self.state.lock().commit(batch);
        if let (Err(StoreError::Unavailable(step)), Some(on_fatal)) = (done, &self.on_fatal) {
            on_fatal(step);
        }
        done
    }

    fn room(&self) -> Result<u64, StoreError> {
        let state = self.state.lock();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(size(&state.visible))))
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(size(&self.state.lock().durable))
    }
}

impl State {
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.commits += 1;
        let fault = self.faults.remove(&self.commits);
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        if fault == Some(Fault::Full) || !self.fits(batch) {
            return Err(StoreError::Full);
        }
        if fault == Some(Fault::BeforeApplying) {
            return self.poison("applying a batch");
        }
        apply(&mut self.visible, batch);
        self.unsynced.push(batch.clone());
        if fault == Some(Fault::BeforeSyncing) {
            return self.poison("syncing");
        }
        if !self.forgets_to_sync {
            for batch in std::mem::take(&mut self.unsynced) {
                apply(&mut self.durable, &batch);
            }
        }
        if fault == Some(Fault::AfterSyncing) {
            return self.poison("answering");
        }
        Ok(())
    }

    fn fits(&self, batch: &Batch) -> bool {
        let Some(capacity) = self.capacity else { return true };
        let added: usize = batch.writes.iter().map(|(key, value)| value.as_ref().map_or(0, |v| key.len() + v.len())).sum();
        batch.forgets() || size(&self.visible) + added as u64 <= capacity
    }

    fn poison(&mut self, step: &'static str) -> Result<(), StoreError> {
        self.poisoned = true;
        Err(StoreError::Unavailable(step))
    }
}

fn apply(rows: &mut Rows, batch: &Batch) {
    for (key, value) in &batch.writes {
        match value {
            Some(value) => rows.insert(key.clone(), value.clone()),
            None => rows.remove(key),
        };
    }
}

fn size(rows: &Rows) -> u64 {
    rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::conformance;
    use super::*;

    fn batch(key: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.put(key, key);
        batch
    }

    fn has(store: &MemoryStore, key: &[u8]) -> bool {
        store.row(key).unwrap().is_some()
    }

    #[test]
    fn the_store_in_memory_keeps_the_contract() {
        conformance::all(&mut || Box::new(MemoryStore::new()));
    }

    #[test]
    fn each_fault_leaves_the_image_that_it_names() {
        let cases =
            [(Fault::BeforeApplying, false, false), (Fault::BeforeSyncing, false, true), (Fault::AfterSyncing, true, true)];
        for (fault, with_lost, with_kept) in cases {
            let store = MemoryStore::new();
            store.commit(&batch(b"first")).unwrap();
            store.fail(1, fault);
            assert!(matches!(store.commit(&batch(b"second")), Err(StoreError::Unavailable(_))));
            assert_eq!(store.commit(&batch(b"third")), Err(StoreError::Poisoned));
            for (unsynced, second) in [(Unsynced::Lost, with_lost), (Unsynced::Kept, with_kept)] {
                let next = store.power_cut(unsynced);
                assert!(has(&next, b"first"));
                assert_eq!(has(&next, b"second"), second, "{fault:?} {unsynced:?}");
                assert!(!has(&next, b"third"));
                next.commit(&batch(b"fourth")).unwrap();
            }
        }
    }

    #[test]
    fn a_full_store_refuses_and_goes_on() {
        let store = MemoryStore::new();
        store.fail(1, Fault::Full);
        assert_eq!(store.commit(&batch(b"a")), Err(StoreError::Full));
        assert_eq!(store.commit(&batch(b"b")), Ok(()));
        store.limit(Some(4));
        assert_eq!(store.room(), Ok(2));
        assert_eq!(store.commit(&batch(b"too long")), Err(StoreError::Full));
        let mut removal = Batch::default();
        removal.remove(b"b".as_slice());
        assert_eq!(store.commit(&removal), Ok(()));
        assert!(!has(&store, b"a") && !has(&store, b"b"));
    }

    #[test]
    fn a_store_that_forgets_to_sync_loses_what_it_acknowledged() {
        let store = MemoryStore::new();
        store.forget_to_sync();
        store.commit(&batch(b"a")).unwrap();
        assert!(has(&store, b"a"));
        assert!(!has(&store.power_cut(Unsynced::Lost), b"a"));
    }

    #[test]
    fn a_poisoned_store_says_so_once_to_the_process() {
        let calls = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&calls);
        let store = MemoryStore::with_on_fatal(Arc::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        store.fail(1, Fault::BeforeSyncing);
        assert!(store.commit(&batch(b"a")).is_err());
        assert!(store.commit(&batch(b"a")).is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}
