//! All targets of a vault, and the store as the vault sees it: every commit goes to each of them first.
//!
//! Each target has a log, a trail and bases of its own, and stands on its own feet: one that fails breaks its own log, and the
//! others go on. They meet in one place, a batch that closes an epoch: with `after-backup` it is committed only when as many
//! targets as are needed hold it, and taken back from those that do where there are fewer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use parking_lot::MutexGuard;

use crate::audit::PublicKeys;
use crate::audit::note::VerifyingKey;
use crate::store::{Batch, Row, Store, StoreError};

use super::ship::{Made, Origin, Public, Standing, State, Target, epoch_in};
use super::{BackupError, SealPolicy, Settings};

/// The way to every target while the vault is unsealed.
pub struct Backups {
    targets: Vec<Target>,
    inner: Arc<dyn Store>,
    seal: SealPolicy,
    /// Targets that must hold a batch that closes an epoch, with `after-backup`.
    needed: usize,
}

/// The store whose commits are shipped.
struct Shipped(Arc<Backups>);

impl Backups {
    /// The way to the targets for a vault that is being unsealed and is in `epoch`.
    pub fn attach(settings: &Settings, origin: &Origin, inner: &Arc<dyn Store>, epoch: u64) -> Arc<Self> {
        let one = |folder: &std::path::PathBuf| Target::attach(folder.clone(), settings, origin, inner.clone(), epoch);
        let targets: Vec<Target> = settings.targets.iter().map(one).collect();
        let needed = if settings.needed == 0 { targets.len() } else { settings.needed.min(targets.len()) };
        Arc::new(Self { targets, inner: inner.clone(), seal: settings.seal, needed })
    }

    /// The store whose commits are shipped.
    pub fn store(self: &Arc<Self>) -> Arc<dyn Store> {
        Arc::new(Shipped(self.clone()))
    }

    #[cfg(test)]
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// How many targets there are.
    pub fn count(&self) -> usize {
        self.targets.len()
    }

    /// Takes other public keys from now on, and tells every target.
    pub fn publish(&self, keys: PublicKeys, newest: &VerifyingKey, successions: &str) {
        let public = Public::of(keys, newest, successions);
        self.targets.iter().for_each(|target| target.publish(public.clone()));
    }

    /// Makes a base that is under way stop after its page.
    pub fn stop(&self) {
        self.targets.iter().for_each(|target| target.stopping.store(true, Ordering::Release));
    }

    /// The targets that hold tree rows that the destruction of `epoch_closed` does not make useless, and since when.
    pub fn covers(&self, epoch_closed: u64) -> Vec<(&Path, Timestamp)> {
        self.targets.iter().filter_map(|target| Some((target.folder.as_path(), target.covers(epoch_closed)?))).collect()
    }

    /// How it stands with each target, in the order of the configuration.
    pub fn standing(&self) -> Vec<Standing> {
        self.targets.iter().map(Target::standing).collect()
    }

    /// What is due every second, at each target; what is wrong with those that it cannot be done at.
    pub fn tick(&self, epoch: u64) -> Vec<(&Path, BackupError)> {
        self.targets.iter().filter_map(|target| Some((target.folder.as_path(), target.tick(epoch).err()?))).collect()
    }

    /// Makes a backup at one target: a new base with `full`, where there is none that the log goes on from, or where the log has
    /// outgrown it; else what came since. Only one is made at a time.
    pub fn create(
        &self,
        target: usize,
        full: bool,
        epoch: &dyn Fn() -> u64,
        sign: &dyn Fn(&[u8]) -> [u8; 64],
    ) -> Result<Made, BackupError> {
        self.targets.get(target).ok_or(BackupError::NoTarget)?.create(full, epoch, sign)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        const STEP: &str = "putting the new tree rows into the backup targets";
        batch.check()?;
        let closes = batch.writes.iter().rev().find(|(key, _)| key.starts_with(b"n\xff")).and_then(|(_, value)| epoch_in(value));
        let must = closes.is_some() && self.seal == SealPolicy::AfterBackup;
        // While they are locked, the last frame of every log is the store's last batch.
        let mut states: Vec<(&Target, MutexGuard<'_, State>)> =
            self.targets.iter().map(|target| (target, target.locked())).collect();
        if must && states.iter().filter(|(_, state)| state.is_whole()).count() < self.needed {
            tracing::error!(needed = self.needed, "nothing is erased: too few backup targets hold a whole backup (after-backup)");
            return Err(StoreError::Unavailable(STEP));
        }
        let mut offered: Vec<_> = states.iter_mut().map(|(target, state)| target.offer(state, batch, closes)).collect();
        let holds = states.iter().zip(&offered).filter(|((_, state), before)| before.is_some() && state.is_whole()).count();
        let done = match must && holds < self.needed {
            true => Err(StoreError::Unavailable(STEP)),
            false => self.inner.commit(batch),
        };
        for ((target, state), before) in states.iter_mut().zip(offered.drain(..)) {
            match (before, &done, closes) {
                (Some(before), Err(_), _) => target.take_back(state, before),
                (Some(_), Ok(()), Some(epoch)) => target.hold(state, epoch),
                _ => {}
            }
        }
        done
    }
}

impl Store for Shipped {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.inner.row(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.0.inner.scan(prefix, after, limit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.0.commit(batch)
    }

    fn room(&self) -> Result<u64, StoreError> {
        self.0.inner.room()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.0.inner.size_on_disk()
    }
}
