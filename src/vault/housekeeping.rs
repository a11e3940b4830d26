//! What the vault does by itself while it is unsealed: it tells the keyring how long the trail is, so that a lost tail is
//! found at the next start, and forgets the answers that Idempotency-Keys no longer protect.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::audit::{Note, Outcome};

use super::committer::{Change, Committer, Expect, RowChange};
use super::core::Core;
use super::{idempotency, places};

/// Between two looks at the trail; the longest tail that could be cut off unnoticed.
const LOOK: Duration = Duration::from_secs(10);

/// Looks between two sweeps: ten minutes.
const SWEEP_EVERY: u32 = 60;

/// Rows removed in one batch.
const MOST: usize = 256;

/// The thread, until it is told to stop.
pub(crate) struct Housekeeping {
    stop: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Housekeeping {
    /// Starts the thread.
    pub(crate) fn start(core: Arc<Core>, committer: Arc<Committer>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("housekeeping".into()).spawn(move || {
            let mut told = 0;
            let mut seen = places::Seen::default();
            let mut looks = 0;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
                told = tell_keyring(&core, told);
                places::look(&core, &committer, &mut seen);
                looks += 1;
                if looks % SWEEP_EVERY == 0 {
                    sweep(&core, &committer);
                }
            }
        })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// Writes the durable length and root of the trail into the keyring's free slot, where they changed since `told`.
pub(crate) fn tell_keyring(core: &Core, told: u64) -> u64 {
    let (size, head) = core.trail.durable_head();
    if size == told {
        return told;
    }
    match core.hierarchy.checkpoint(size, head) {
        Ok(()) => size,
        Err(error) => {
            tracing::warn!(error = %error, "the keyring did not take a checkpoint of the trail");
            told
        }
    }
}

/// Removes the first answers whose 24 hours are over.
pub(crate) fn sweep(core: &Core, committer: &Committer) -> usize {
    let now = core.clock.now().as_second();
    let mut after: Option<Vec<u8>> = None;
    let mut removed = 0;
    loop {
        let page = match core.store.scan(b"i", after.as_deref(), MOST) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(error = %error, "the kept answers could not be looked through");
                return removed;
            }
        };
        let Some((last, _)) = page.last() else { return removed };
        after = Some(last.clone());
        let mut rows = Vec::new();
        for (key, value) in page {
            if idempotency::expiry(&value).is_none_or(|expiry| expiry <= now) {
                rows.push(RowChange { key, expect: Expect::Is(value), value: None });
            }
        }
        if rows.is_empty() {
            continue;
        }
        let Ok(event) = core.event("forgetAnswers", Outcome::Done, Note::None) else { return removed };
        let count = rows.len();
        if committer.commit_blocking(Change { rows, ..Change::noting(event) }).is_ok() {
            removed += count;
        }
    }
}
