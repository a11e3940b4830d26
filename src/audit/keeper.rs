//! What is done behind the requests: zeros ahead of the entries, files for full tiles, signed checkpoints.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::TrailError;
use super::checkpoint::Checkpoint;
use super::trail::{Shared, sync_directory};

/// A checkpoint is signed this often while there are new entries.
const PERIOD: Duration = Duration::from_secs(1);

/// A file of checkpoints that would grow beyond this becomes `checkpoints.old`, in the place of the one before.
const FULL_FILE: u64 = 1 << 20;

/// Wakes the keeper.
#[derive(Default)]
pub(super) struct Keeper {
    poked: AtomicBool,
    stopped: AtomicBool,
    gate: Mutex<()>,
    wake: Condvar,
}

impl Keeper {
    /// There is something to do.
    pub(super) fn poke(&self) {
        if !self.poked.swap(true, Ordering::SeqCst) {
            let _gate = self.gate.lock();
            self.wake.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        let _gate = self.gate.lock();
        self.stopped.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Sleeps until there is something to do, or until `deadline`; false once stopped.
    fn rest(&self, deadline: Instant) -> bool {
        let mut gate = self.gate.lock();
        while !self.poked.swap(false, Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst) {
            if self.wake.wait_until(&mut gate, deadline).timed_out() {
                break;
            }
        }
        !self.stopped.load(Ordering::SeqCst)
    }
}

/// The file of checkpoints, and the last one in it.
pub(super) struct Kept {
    file: File,
    bytes: u64,
    pub(super) last: Option<(u64, String)>,
}

impl Kept {
    /// Opens the file for appending; what stands behind `whole` bytes is cut off.
    pub(super) fn open(dir: &Path, whole: u64, last: Option<(u64, String)>) -> Result<Self, TrailError> {
        let file = open_file(dir)?;
        if file.metadata().is_ok_and(|file| file.len() > whole) {
            file.set_len(whole).map_err(TrailError::at("mend the checkpoints"))?;
        }
        Ok(Self { file, bytes: whole, last })
    }

    fn add(&mut self, dir: &Path, size: u64, note: String) -> Result<(), TrailError> {
        if self.bytes + note.len() as u64 > FULL_FILE {
            fs::rename(path(dir), old_path(dir)).map_err(TrailError::at("put the checkpoints aside"))?;
            (self.file, self.bytes) = (open_file(dir)?, 0);
        }
        if let Err(source) = self.file.write_all(note.as_bytes()) {
            // A half of one would stand between its neighbours for ever.
            self.file.set_len(self.bytes).map_err(TrailError::at("take a torn checkpoint back"))?;
            return Err(TrailError::Io { step: "write a checkpoint", source });
        }
        self.bytes += note.len() as u64;
        // Each before the next, so that a power cut tears the last one at the most and leaves no hole before it.
        self.file.sync_data().map_err(TrailError::at("sync the checkpoints"))?;
        self.last = Some((size, note));
        Ok(())
    }
}

/// The file of checkpoints that is written to.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("checkpoints")
}

/// The one before it.
pub(super) fn old_path(dir: &Path) -> PathBuf {
    dir.join("checkpoints.old")
}

fn open_file(dir: &Path) -> Result<File, TrailError> {
    OpenOptions::new().append(true).create(true).open(path(dir)).map_err(TrailError::at("open the checkpoints"))
}

impl Shared {
    /// Keeps the trail until it is closed, then leaves everything in order.
    pub(super) fn keep_loop(&self) {
        let mut next = Instant::now() + PERIOD;
        while self.keeper.rest(next) {
            if self.fill().is_err() {
                self.flow.poison();
            }
            // Tiles and checkpoints can be made again from the entries, so a failure waits for the next turn.
            let _ = self.write_tiles();
            if Instant::now() >= next {
                next = Instant::now() + PERIOD;
                self.writer.lock().full_disk = false;
                self.flow.urge();
                let _ = self.sign_checkpoint();
            }
        }
        let _ = self.write_tiles();
        let _ = self.sign_last();
    }

    /// Writes zeros ahead of the entries, and cuts them off complete segments.
    fn fill(&self) -> Result<(), TrailError> {
        let (uncut, task) = {
            let mut writer = self.writer.lock();
            let uncut = std::mem::take(&mut writer.uncut);
            let task = writer.wants_fill(self.full).then(|| {
                writer.filling = true;
                let to = (writer.ahead + writer.fill_step()).min(self.full);
                (Arc::clone(&writer.file), writer.first, writer.ahead, to)
            });
            (uncut, task)
        };
        let mut synced = Ok(());
        if let Some((file, first, from, to)) = task {
            // A disk without room for zeros may still have room for entries: only a failed sync says that bytes are lost.
            let done = file.fill(from, to);
            synced = file.sync();
            let mut writer = self.writer.lock();
            if writer.first == first {
                writer.filling = false;
                writer.full_disk = done.is_err();
                writer.ahead = if done.is_ok() { writer.ahead.max(to) } else { writer.ahead };
            }
            self.filled.notify_all();
        }
        for (file, end) in uncut {
            synced = synced.and(file.cut(end));
        }
        synced.map_err(TrailError::at("prepare the trail's next bytes"))
    }

    fn write_tiles(&self) -> Result<(), TrailError> {
        let pending = self.writer.lock().tree.pending().to_vec();
        for tile in &pending {
            tile.write(&self.dir).map_err(TrailError::at("write a tile"))?;
        }
        if !pending.is_empty() {
            self.writer.lock().tree.written(pending.len());
        }
        Ok(())
    }

    /// Signs the durable head and keeps the note, unless that was done or nobody can sign.
    pub(super) fn sign_checkpoint(&self) -> Result<(), TrailError> {
        let frontier = self.durable.lock().clone();
        let size = frontier.size();
        let mut kept = self.kept.lock();
        if self.flow.is_failed() || size == 0 || kept.last.as_ref().is_some_and(|(last, _)| *last == size) {
            return Ok(());
        }
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root: frontier.root() };
        match checkpoint.signed(&*self.signer) {
            Some(note) => kept.add(&self.dir, size, note),
            None => Ok(()),
        }
    }

    fn sign_last(&self) -> Result<(), TrailError> {
        self.sign_checkpoint()?;
        sync_directory(&self.dir)
    }
}
