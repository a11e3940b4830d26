//! The rows that the trail says must be there: what was written and not dropped since.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::entry::Entry;

/// Row hashes with how often they are current. Counting goes both ways, so neither the order of entries within an
/// operation nor a void that comes later matters; a count below zero is a row dropped that never was.
///
/// At most 37 bytes a slot, in 256 tables that grow one at a time: below 90 bytes a row.
pub(super) struct Live {
    tables: Vec<HashMap<[u8; 32], i32>>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { tables: (0..256).map(|_| HashMap::new()).collect() }
    }

    /// Counts an entry's rows.
    pub(super) fn apply(&mut self, entry: &Entry) {
        self.count(entry, 1);
    }

    /// Takes an entry's rows back, because they never reached the store.
    pub(super) fn revert(&mut self, entry: &Entry) {
        self.count(entry, -1);
    }

    /// Takes one row with this hash out; whether there was one.
    pub(super) fn take(&mut self, hash: &[u8; 32]) -> bool {
        let there = self.tables[hash[0] as usize].get(hash).is_some_and(|count| *count > 0);
        if there {
            self.add(hash, -1);
        }
        there
    }

    /// Hashes that were dropped more often than written.
    pub(super) fn overdrawn(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.tables.iter().flatten().filter(|(_, count)| **count < 0).map(|(hash, _)| hash)
    }

    /// Whether a row with this hash is still waited for.
    pub(super) fn misses(&self, hash: &[u8; 32]) -> bool {
        self.tables[hash[0] as usize].get(hash).is_some_and(|count| *count > 0)
    }

    /// How many rows are still waited for.
    pub(super) fn missing(&self) -> u64 {
        self.tables.iter().flatten().map(|(_, count)| u64::try_from(*count).unwrap_or(0)).sum()
    }

    fn count(&mut self, entry: &Entry, by: i32) {
        for hash in &entry.written {
            self.add(hash, by);
        }
        for hash in &entry.dropped {
            self.add(hash, -by);
        }
    }

    fn add(&mut self, hash: &[u8; 32], by: i32) {
        match self.tables[hash[0] as usize].entry(*hash) {
            Slot::Occupied(mut slot) => {
                *slot.get_mut() = slot.get().saturating_add(by);
                if *slot.get() == 0 {
                    slot.remove();
                }
            }
            Slot::Vacant(slot) => {
                slot.insert(by);
            }
        }
    }
}
