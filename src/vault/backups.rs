//! What the running vault does for its backups: it ships the trail, syncs the log, makes backups when they are due or asked for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::audit::note::VerifyingKey;
use crate::audit::{Note, Outcome};
use crate::backup::{BackupError, Backups, Made, Origin, Public, Settings, Standing};
use crate::model::code::Code;
use crate::store::Store;

use super::call::Refused;
use super::core::Core;
use super::signers::public_keys;

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
            let mut said = Vec::new();
            let mut due = vec![Instant::now(); backups.count()];
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
                let trouble = backups.tick(core.hierarchy.epoch());
                let trouble: Vec<_> = trouble.iter().map(|(target, error)| (target.to_owned(), error.to_string())).collect();
                for (target, error) in trouble.iter().filter(|one| !said.contains(*one)) {
                    tracing::error!(%error, target = %target.display(), "the backup target cannot be written to");
                }
                said = trouble;
                let Some(every) = every else { continue };
                for (at, standing) in backups.standing().iter().enumerate() {
                    if Instant::now() < due[at] || said.iter().any(|(target, _)| *target == standing.target) {
                        continue;
                    }
                    due[at] = Instant::now() + if make(&core, &backups, at, false).is_ok() { every } else { AGAIN.min(every) };
                }
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

/// The way to the configured targets, which are looked at once.
pub(crate) fn attach(
    settings: &Settings,
    home: &Path,
    store: &Arc<dyn Store>,
    hierarchy: &Arc<keys::Hierarchy>,
    trail: Arc<crate::audit::Trail>,
    (origin, clock): (&str, crate::model::time::Clock),
) -> Arc<Backups> {
    let newest = VerifyingKey { name: origin.to_owned(), public: hierarchy.public_key() };
    // A store that does not answer is refused right behind; until then the list may be short.
    let successions = super::signers::read(store.as_ref()).unwrap_or_default();
    let public = Public::of(public_keys(hierarchy), &newest, &successions);
    let origin = Origin { vault: *hierarchy.vault(), public, home: home.to_owned(), trail, clock };
    Backups::attach(settings, &origin, store, hierarchy.epoch())
}

/// The last things that the targets should have, once the trail is closed.
pub(crate) fn last_look(core: &Core) {
    let Some(backups) = &core.backups else { return };
    for (target, error) in backups.tick(core.hierarchy.epoch()) {
        tracing::warn!(%error, target = %target.display(), "the backup target did not get the end of the trail");
    }
}

/// Makes a backup at one target and notes it in the trail.
fn make(core: &Core, backups: &Backups, target: usize, full: bool) -> Result<Made, BackupError> {
    let made = backups.create(target, full, &|| core.hierarchy.epoch(), &|text| core.hierarchy.sign(text));
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

/// What came of a backup that was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Asked {
    operation: &'static str,
    /// `done` at every target, `partial` at some, or still `running`.
    state: &'static str,
    /// The first one that was made.
    backup: Option<Made>,
    targets: Vec<AtTarget>,
}

/// The same at one target.
#[derive(Debug, Serialize)]
struct AtTarget {
    target: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<Made>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Bytes of the base so far, while it is being written.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Asked {
    fn of(backups: &Backups, running: bool) -> Self {
        let one = |standing: Standing| {
            let state = match &standing {
                Standing { busy: Some(_), .. } => "running",
                Standing { trouble: Some(_), .. } => "failed",
                _ if running => "waiting",
                _ => "done",
            };
            let done = state == "done";
            AtTarget {
                target: standing.target.display().to_string(),
                state,
                backup: standing.made.filter(|_| done),
                why: standing.trouble.filter(|_| state == "failed"),
                bytes: standing.busy,
            }
        };
        let targets: Vec<AtTarget> = backups.standing().into_iter().map(one).collect();
        let state = match targets.iter().all(|target| target.state == "done") {
            _ if running => "running",
            true => "done",
            false => "partial",
        };
        let backup = targets.iter().find_map(|target| target.backup.clone()).filter(|_| !running);
        Self { operation: "backup", state, backup, targets }
    }
}

/// operateKeys `backup`: makes one at each target, or waits for those that are being made; what there is of it when that takes
/// longer than a caller waits. Refused where no target took one.
pub(crate) async fn asked(core: &Arc<Core>, full: bool) -> Result<Asked, Refused> {
    let Some(backups) = core.backups.clone() else { return Err(Code::StateConflict.into()) };
    let (begun, backups_asked) = (Instant::now(), backups.clone());
    let waited = if core.backing_up.swap(true, Ordering::AcqRel) {
        while core.backing_up.load(Ordering::Acquire) && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        !core.backing_up.load(Ordering::Acquire)
    } else {
        let core = core.clone();
        // A task that is given up on goes on; who asks again waits for it.
        let task = tokio::task::spawn_blocking(move || {
            let _over = Over(&core);
            for target in 0..backups.count() {
                // What goes wrong stands in the target's standing.
                let _ = make(&core, &backups, target, full);
            }
        });
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => return Err(Code::Internal.into()),
            Err(_) => false,
        }
    };
    let asked = Asked::of(&backups_asked, !waited);
    let failed = waited && asked.targets.iter().all(|target| target.state != "done");
    if failed { Err(Code::StoreUnavailable.into()) } else { Ok(asked) }
}

/// Says that a caller's backup is over, however it ended.
struct Over<'a>(&'a Core);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.backing_up.store(false, Ordering::Release);
    }
}
