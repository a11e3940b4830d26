//! A restore that is under way says so in a file that it holds locked, for a server that waits for it.
//!
//! ```text
//! DIR/restore.json   {"step":"rows","done":123,"total":456}, filled up with spaces to 128 bytes; locked while the restore works
//! ```
//!
//! The file of a restore that was killed is locked by nobody, and the next restore goes over it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::Progress;

const NAME: &str = "restore.json";

/// Bytes of the file: written in one piece, so that nobody reads half of it.
const LENGTH: usize = 128;

/// Between two looks at the progress.
const LOOK: Duration = Duration::from_millis(500);

/// How far a restore has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The word of the step.
    pub step: String,
    /// What is done of it.
    pub done: u64,
    /// What there is to do.
    pub total: u64,
}

/// The mark of a restore that is under way; it goes with this value.
pub struct UnderWay {
    file: File,
    path: PathBuf,
}

impl UnderWay {
    /// Marks the folder; `None` where another process restores into it.
    pub fn begin(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(NAME);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        let under_way = Self { file, path };
        under_way.say(&Progress::default())?;
        Ok(Some(under_way))
    }

    /// Writes down how far the restore has come.
    pub fn say(&self, progress: &Progress) -> io::Result<()> {
        let (step, done, total) = progress.now();
        let mut text = serde_json::to_vec(&Seen { step: step.word().to_owned(), done, total })?;
        text.resize(LENGTH, b' ');
        self.file.write_all_at(&text, 0)
    }

    /// Does `work`, and writes down meanwhile how far `progress` has come.
    pub(super) fn during<T>(&self, progress: &Progress, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|threads| {
            let (done, waits) = channel::<()>();
            threads.spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = waits.recv_timeout(LOOK) {
                    // Only a server that waits would miss it.
                    let _ = self.say(progress);
                }
            });
            let made = work();
            drop(done);
            made
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Before the lock goes, so that nobody takes the file for that of another restore.
        let _ = fs::remove_file(&self.path);
    }
}

/// How far the restore into this folder has come; `None` where none is under way.
pub fn look(dir: &Path) -> Option<Seen> {
    let file = File::open(dir.join(NAME)).ok()?;
    match file.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => {}
        _ => return None,
    }
    let mut text = [0; LENGTH];
    // It is being begun: the next look sees more.
    if file.read_exact_at(&mut text, 0).is_err() {
        return Some(Seen::default());
    }
    Some(serde_json::from_slice(&text).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Step;

    #[test]
    fn a_restore_is_seen_while_it_works_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()), None);
        let under_way = UnderWay::begin(dir.path()).unwrap().unwrap();
        assert!(UnderWay::begin(dir.path()).unwrap().is_none(), "two at once");
        let progress = Progress::default();
        progress.begin(Step::Rows, u64::MAX);
        progress.add(u64::MAX - 1);
        under_way.say(&progress).unwrap();
        assert_eq!(look(dir.path()), Some(Seen { step: "rows".into(), done: u64::MAX - 1, total: u64::MAX }));
        drop(under_way);
        assert_eq!(look(dir.path()), None);
        // What a kill leaves: the file, and no lock.
        fs::write(dir.path().join(NAME), [b' '; LENGTH]).unwrap();
        assert_eq!(look(dir.path()), None);
        assert!(UnderWay::begin(dir.path()).unwrap().is_some());
    }
}
