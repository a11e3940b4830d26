//! What the running vault does for its backups: it ships the trail, syncs the log, makes backups when they are due or asked for.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::audit::note::VerifyingKey;
use crate::audit::{Note, Outcome};
use crate::backup::{BackupError, Backups, Made, Settings};
use crate::model::code::Code;

use super::call::Refused;
use super::core::Core;

/// Between two looks; the longest tail of reads in the trail that a lost machine takes with it.
const LOOK: Duration = Duration::from_secs(1);

/// Until a backup that failed is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// How long a caller waits for a backup before the answer is that it is under way.
const PATIENCE: Duration = Duration::from_secs(20);

/// The thread, until it is told to stop.
pub(crate) struct Keeper {
    stop: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Starts the thread, where a target is configured.
    pub(crate) fn start(core: Arc<Core>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let Some(backups) = core.backups.clone() else { return Ok(Self { stop, thread: Mutex::default() }) };
        let every = core.backup_every;
        let thread = std::thread::Builder::new().name("backup".into()).spawn(move || {
            let mut said = None;
            let mut due = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
                let done = backups.tick(core.hierarchy.epoch());
                let trouble = done.err().map(|error| error.to_string());
                if let Some(error) = trouble.as_ref().filter(|_| trouble != said) {
                    tracing::error!(%error, "the backup target cannot be written to");
                }
                said = trouble;
                let Some(every) = every else { continue };
                if Instant::now() < due || said.is_some() {
                    continue;
                }
                due = Instant::now() + if make(&core, &backups, false).is_ok() { every } else { AGAIN.min(every) };
            }
        })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread; a base that is under way is gone on with by the next process.
    pub(crate) fn stop(&self, core: &Core) {
        if let Some(backups) = &core.backups {
            backups.stop();
        }
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// The way to the configured target, which is looked at once.
pub(crate) fn attach(
    settings: &Settings,
    home: &Path,
    store: Arc<dyn crate::store::Store>,
    hierarchy: &keys::Hierarchy,
    trail: Arc<crate::audit::Trail>,
    (origin, clock): (&str, crate::model::time::Clock),
) -> Arc<Backups> {
    let public = hierarchy.public_key();
    let line = VerifyingKey { name: origin.to_owned(), public }.to_string();
    Backups::attach(settings.clone(), (*hierarchy.vault(), public, line), home, store, (trail, clock), hierarchy.epoch())
}

/// The last things that the target should have, once the trail is closed.
pub(crate) fn last_look(core: &Core) {
    let Some(backups) = &core.backups else { return };
    if let Err(error) = backups.tick(core.hierarchy.epoch()) {
        tracing::warn!(%error, "the backup target did not get the end of the trail");
    }
}

/// Makes a backup and notes it in the trail.
fn make(core: &Core, backups: &Backups, full: bool) -> Result<Made, BackupError> {
    let made = backups.create(full, &|| core.hierarchy.epoch(), &|text| core.hierarchy.sign(text));
    match &made {
        Ok(made) => {
            tracing::info!(number = made.number, kind = made.kind, "a backup was made");
            let noted = core.event("backup", Outcome::Done, Note::None).and_then(|event| Ok(core.trail.append(&[event])?));
            if noted.is_err() {
                tracing::warn!("the trail did not take the note of a backup");
            }
        }
        Err(BackupError::Stopped) => {}
        Err(error) => tracing::error!(%error, "a backup could not be made"),
    }
    made
}

/// operateKeys `backup`: makes one, or waits for the one that is being made; `None` when it takes longer than a caller waits.
pub(crate) async fn asked(core: &Arc<Core>, full: bool) -> Result<Option<Made>, Refused> {
    let Some(backups) = core.backups.clone() else { return Err(Code::StateConflict.into()) };
    let begun = Instant::now();
    if backups.is_busy() {
        while backups.is_busy() {
            if begun.elapsed() > PATIENCE {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (made, trouble) = backups.last();
        return if trouble.is_some() { Err(Code::StoreUnavailable.into()) } else { Ok(made) };
    }
    let core = core.clone();
    // A task that is given up on goes on; who asks again waits for it.
    let task = tokio::task::spawn_blocking(move || make(&core, &backups, full));
    match tokio::time::timeout(PATIENCE, task).await {
        Ok(Ok(Ok(made))) => Ok(Some(made)),
        Ok(_) => Err(Code::StoreUnavailable.into()),
        Err(_) => Ok(None),
    }
}
