//! Rotation in the background: one machinery for every kind of key that takes longer to turn over than a call may last.
//!
//! ```text
//! operateKeys rotate-…  a row says what is to be done            waiting
//! begin                 once, or again after a stop              running
//! step, step, step …    a little at a time, with rests between
//! end                   the age of the keys is written down      done
//! ```
//!
//! One rotation runs at a time, and its steps run on the committer's thread: nothing else changes the keys meanwhile, and reading goes
//! on. How far it has come is a row that is written about every second, so a process that ends takes back a few steps at the most,
//! and **a step must do no harm when it is done twice**. Every step of a kind that destroys keys is an epoch transition of its own
//! ([`turn::turn_over`]); after the last one no old key is left that opens anything.
//!
//! A kind is a file with three functions and a line in each `match` of [`kind`]:
//!
//! ```text
//! begin(core, job) -> ()                          what has to be there before the first step; may find its own work done
//! step(core, job, cursor, budget) -> Stepped      the next piece after `cursor`, about `budget` rows long
//! end(core, job) -> ()                            what destroys the last of the old; may find its own work done
//! ```

pub(crate) mod ages;
mod index;
pub(crate) mod job;
pub(crate) mod kind;
pub(crate) mod operate;
mod signing;
mod subjects;
pub(crate) mod tenant;
mod tree;
pub(crate) mod turn;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::KeyJobId;

use super::call::Refused;
use super::committer::{Committer, Draft};
use super::core::Core;
use super::lifecycle::Vault;
use job::{Job, State};

/// What a step came to.
pub(crate) struct Stepped {
    /// Where the next one begins; `None` when there is nothing left.
    pub(crate) cursor: Option<Vec<u8>>,
    /// Things that were turned over.
    pub(crate) done: u64,
    /// How much of the whole lies behind, in thousandths.
    pub(crate) permille: u16,
    /// Things that could not be turned over: they do not open.
    pub(crate) failed: u64,
}

/// How fast the background works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Of a hundred parts of the committer's time, how many a rotation takes at the most. With 0 none goes on.
    pub percent: u8,
}

impl Default for Pace {
    fn default() -> Self {
        Self { percent: 25 }
    }
}

/// Rows that a step is to touch, about.
const BUDGET: usize = 256;

/// Between two looks for something to do.
const LOOK: Duration = Duration::from_secs(5);

/// Between two notes of how far a rotation has come.
const NOTE: Duration = Duration::from_secs(1);

/// Until a step that failed is tried again, a little longer each time, and how often that is.
const AGAIN: Duration = Duration::from_secs(2);
const MOST_SELDOM: u32 = 15;
const TRIES: u32 = 5;

/// The thread, until it is told to stop.
pub(crate) struct Rotations {
    /// A word for it to look at once; hanging up ends it.
    wake: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Rotations {
    /// Starts the thread, which goes on with whatever an earlier process left.
    pub(crate) fn start(core: Arc<Core>, committer: Arc<Committer>, pace: Pace) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let thread = std::thread::Builder::new().name("rotations".into()).spawn(move || {
            while let Some(wait) = round(&core, &committer, pace, &woken) {
                match woken.recv_timeout(wait) {
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                }
            }
        })?;
        Ok(Self { wake: Mutex::new(Some(wake)), thread: Mutex::new(Some(thread)) })
    }

    /// There is something to do.
    pub(crate) fn wake(&self) {
        if let Some(wake) = self.wake.lock().as_ref() {
            let _ = wake.send(());
        }
    }

    /// Ends the thread, after the step that it is at.
    pub(crate) fn stop(&self) {
        drop(self.wake.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Vault {
    /// Does at once, without rests, what the background does: looks at the ages of the keys, and brings every rotation that is asked for to
    /// its end.
    pub async fn turn_keys(&self) -> Result<(), Refused> {
        let opened = self.opened()?;
        let work = move || {
            let (core, committer) = (&opened.core, &opened.committer);
            on_committer(committer, ages::look)?;
            while let Some(id) = core.jobs.next() {
                on_committer(committer, move |core| advance(core, id, true))?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Refused::from(Code::Internal))?
    }
}

/// Does what is to be done, until there is nothing; then answers how long to wait, or `None` when the vault is closing.
fn round(core: &Arc<Core>, committer: &Arc<Committer>, pace: Pace, woken: &Receiver<()>) -> Option<Duration> {
    match on_committer(committer, ages::look) {
        Err(refused) if is_over(&refused) => return None,
        Err(refused) => tracing::error!(code = refused.code.text(), "the ages of the keys could not be looked at"),
        Ok(()) => {}
    }
    if pace.percent == 0 {
        return Some(LOOK);
    }
    let mut tries = 0;
    let mut noted = Instant::now();
    while let Some(id) = core.jobs.next() {
        let begun = Instant::now();
        let note = noted.elapsed() >= NOTE;
        match on_committer(committer, move |core| advance(core, id, note)) {
            Ok(()) => tries = 0,
            Err(refused) if is_over(&refused) => return None,
            Err(refused) => {
                tracing::error!(job = %id, code = refused.code.text(), "a step of a rotation failed");
                let code = refused.code;
                tries += 1;
                // What an operator can mend is waited for; what stays as it is, is not.
                let passes = matches!(code, Code::DiskFull | Code::StoreUnavailable | Code::CustodyUnavailable);
                let told = on_committer(committer, move |core| {
                    if passes || tries < TRIES { troubled(core, id, code) } else { fail(core, id, code) }
                });
                if told.is_err_and(|refused| is_over(&refused)) || hung_up(woken, AGAIN * tries.min(MOST_SELDOM)) {
                    return None;
                }
                continue;
            }
        }
        if note {
            noted = Instant::now();
        }
        let percent = u32::from(pace.percent.clamp(1, 100));
        let rest = begun.elapsed() * (100 - percent) / percent;
        if hung_up(woken, rest) {
            return None;
        }
    }
    Some(LOOK)
}

/// Waits so long, and less when there is a word; whether the vault is closing.
fn hung_up(woken: &Receiver<()>, wait: Duration) -> bool {
    matches!(woken.recv_timeout(wait), Err(RecvTimeoutError::Disconnected))
}

fn is_over(refused: &Refused) -> bool {
    refused.code == Code::Sealed
}

/// Does something while nothing else changes keys or rows.
pub(crate) fn on_committer<T: Send + 'static>(
    committer: &Committer,
    work: impl FnOnce(&Core) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let (reply, answer) = oneshot::channel();
    committer.run(Box::new(move |core| drop(reply.send(work(core)))))?;
    answer.blocking_recv().map_err(|_| Refused::from(Code::Sealed))?
}

/// Begins a rotation, takes its next step, or ends it.
fn advance(core: &Core, id: KeyJobId, note: bool) -> Result<(), Refused> {
    // It may have been paused or ended since it was chosen.
    let Some(mut job) = core.jobs.job(&id).filter(Job::is_going) else { return Ok(()) };
    if job.state() == State::Waiting {
        // The epoch is written down before anything is done, so that a second beginning knows what the first one made.
        job.begin(core.clock.now(), core.hierarchy.epoch());
        return job::keep(core, &id, &job, core.event("rotationBegun", Outcome::Done, Note::None)?);
    }
    if !job.is_ready() {
        kind::begin(core, &job)?;
        job.made_ready();
        core.jobs.put(id, job);
        return Ok(());
    }
    let stepped = kind::step(core, &job, job.cursor(), BUDGET)?;
    let is_last = stepped.cursor.is_none();
    job.stepped(stepped);
    if is_last {
        if !core.hierarchy.is_closed() {
            // The old epoch's key may still lie in a place of the keyring that is away: then nothing is destroyed yet.
            return Err(Code::CustodyUnavailable.into());
        }
        kind::end(core, &job)?;
        return finish(core, id, job);
    }
    if note {
        return job::keep(core, &id, &job, core.event("rotationStep", Outcome::Done, Note::None)?);
    }
    core.jobs.put(id, job);
    Ok(())
}

/// The last old key is destroyed: a line in the trail says so, and how old the keys are is counted anew.
fn finish(core: &Core, id: KeyJobId, mut job: Job) -> Result<(), Refused> {
    let whole = job.failed() == 0;
    job.end(if whole { State::Done } else { State::Failed }, core.clock.now(), (!whole).then_some(Code::StoreUnavailable));
    let mut done = core.event(job.kind().event(), Outcome::Done, Note::None)?;
    done.records = u32::try_from(job.done()).unwrap_or(u32::MAX);
    let mut draft = Draft::new(core);
    let aged = job.kind().ages().zip(job.began_at()).filter(|_| whole);
    let noted = aged.map(|(aged, began)| ages::turned_over(core, aged, began, &mut draft, &mut done)).transpose()?;
    job::keep_with(core, &id, &job, draft, done)?;
    if let Some(noted) = noted {
        noted.kept(core);
    }
    tracing::info!(job = %id, kind = job.kind().word(), done = job.done(), failed = job.failed(), "a rotation has ended");
    Ok(())
}

/// Shows why a rotation does not go on.
fn troubled(core: &Core, id: KeyJobId, code: Code) -> Result<(), Refused> {
    if let Some(mut job) = core.jobs.job(&id).filter(Job::is_going) {
        job.troubled(code);
        core.jobs.put(id, job);
    }
    Ok(())
}

fn fail(core: &Core, id: KeyJobId, code: Code) -> Result<(), Refused> {
    let Some(mut job) = core.jobs.job(&id).filter(Job::is_going) else { return Ok(()) };
    job.end(State::Failed, core.clock.now(), Some(code));
    tracing::error!(job = %id, kind = job.kind().word(), code = code.text(), "a rotation is given up");
    job::keep(core, &id, &job, core.event("rotationFailed", Outcome::Done, Note::None)?)
}
