//! The one committer: every change of the store and of the key trees goes through this thread.
//!
//! It takes whatever is waiting (up to [`MOST`] changes), checks each against the rows as they are now, stages the key
//! trees once for all, notes everything in the trail, makes the trail durable, commits one atomic batch, and only then
//! answers. So the order on disk is always: trail first, rows second. A process that ends in between leaves trail
//! entries whose rows never came; [`super::recovery`] voids them at the next start.
//!
//! Destroying keys is a work item of its own kind: all that are waiting share one epoch transition (docs/ERASURE.md).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use keys::{Alias, GroupSet, Id, Inserts, NewSubject};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::audit::{Entry, Note, Outcome, row_hash};
use crate::model::code::Code;
use crate::store::layout::{CommitMark, RowKey};
use crate::store::{Batch, MAX_VALUE};

use super::call::Refused;
use super::core::Core;
use super::erasure::sealing::{self, Shredding};
use super::gauges::timed;
use super::rotations::tenant;

/// Changes in one batch at the most.
const MOST: usize = 512;

/// Subjects that one alias may find, where it need not be anybody's alone (a family's telephone). All of them lie in one
/// bucket of the alias tree, which holds about 145.
const MOST_SHARING: usize = 64;

/// What must be true of a row for its change to go in.
pub(crate) enum Expect {
    /// The key is new and random: nothing can be there.
    Fresh,
    /// Nothing is there.
    Absent,
    /// Exactly these bytes are there.
    Is(Vec<u8>),
    /// Whatever is there is replaced.
    Any,
}

/// One row to be written or removed.
pub(crate) struct RowChange {
    pub key: Vec<u8>,
    pub expect: Expect,
    pub value: Option<Vec<u8>>,
}

/// One operation's change: all of it is kept, or nothing.
#[derive(Default)]
pub(crate) struct Change {
    /// What the trail will say; the last of them carries the row hashes.
    pub entries: Vec<Entry>,
    pub rows: Vec<RowChange>,
    pub subjects: Vec<NewSubject>,
    pub groups: Vec<(Id, GroupSet)>,
    /// Alias, subject, and whether no other subject may have it.
    pub aliases: Vec<(Alias, Id, bool)>,
    /// Subjects whose cached state this makes old.
    pub touched: Vec<Id>,
    /// Subjects whose keys it was made with, and as of which destruction.
    pub bound: Vec<(Id, u64)>,
}

/// A change and who waits for it.
pub(crate) type Waiting = (Change, oneshot::Sender<Result<(), Refused>>);

/// Work on the committer's thread, while no transition is open.
pub(crate) type Job = Box<dyn FnOnce(&Core) + Send>;

pub(crate) enum Work {
    /// Changes, and the runtime that their callers wait in.
    Changes(Vec<Waiting>, Option<Handle>),
    Shred(Box<Shredding>),
    /// Something that has to be alone with the keys.
    Run(Job),
    Stop,
}

/// The way to the committer.
pub(crate) struct Committer {
    sender: Sender<Work>,
    thread: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread.
    pub(crate) fn start(core: Arc<Core>) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("committer".into()).spawn(move || run(&core, &receiver))?;
        Ok(Self { sender, thread: parking_lot::Mutex::new(Some(thread)) })
    }

    /// Hands in a change and waits until it is durable.
    pub(crate) async fn commit(&self, change: Change) -> Result<(), Refused> {
        self.commit_many(vec![change]).await.pop().unwrap_or(Err(Code::Internal.into()))
    }

    /// Hands in a change from a thread of its own and waits until it is durable.
    pub(crate) fn commit_blocking(&self, change: Change) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Work::Changes(vec![(change, reply)], None)).map_err(|_| Refused::from(Code::Sealed))?;
        answer.blocking_recv().map_err(|_| Refused::from(Code::Sealed))?
    }

    /// Hands in several changes that each stand or fall alone, for one batch, and answers each in its place.
    pub(crate) async fn commit_many(&self, changes: Vec<Change>) -> Vec<Result<(), Refused>> {
        let (waiting, answers): (Vec<Waiting>, Vec<_>) = changes
            .into_iter()
            .map(|change| {
                let (reply, answer) = oneshot::channel();
                ((change, reply), answer)
            })
            .unzip();
        // A failed send drops the replies, which the answers below then show as sealed.
        let _ = self.sender.send(Work::Changes(waiting, Handle::try_current().ok()));
        let mut results = Vec::with_capacity(answers.len());
        for answer in answers {
            results.push(answer.await.unwrap_or(Err(Code::Sealed.into())));
        }
        results
    }

    /// Hands in a destruction; it answers through its own channel.
    pub(crate) fn shred(&self, shredding: Shredding) -> Result<(), Refused> {
        self.sender.send(Work::Shred(Box::new(shredding))).map_err(|_| Code::Sealed.into())
    }

    /// Hands in work that has to be alone with the keys; it answers through its own channel.
    pub(crate) fn run(&self, job: Job) -> Result<(), Refused> {
        self.sender.send(Work::Run(job)).map_err(|_| Code::Sealed.into())
    }

    /// Finishes what was handed in, then ends the thread.
    pub(crate) fn stop(&self) {
        let _ = self.sender.send(Work::Stop);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn run(core: &Core, receiver: &Receiver<Work>) {
    while let Ok(first) = receiver.recv() {
        let mut changes = Vec::new();
        let mut runtime = None;
        let mut shreddings = Vec::new();
        let mut jobs = Vec::new();
        let mut stop = false;
        let mut next = Some(first);
        while let Some(work) = next {
            match work {
                Work::Changes(mut more, from) => {
                    changes.append(&mut more);
                    runtime = runtime.or(from);
                }
                Work::Shred(shredding) => shreddings.push(*shredding),
                Work::Run(job) => jobs.push(job),
                Work::Stop => stop = true,
            }
            next = if changes.len() < MOST && !stop { receiver.try_recv().ok() } else { None };
        }
        if !changes.is_empty() {
            commit_all(core, changes, runtime);
        }
        if !shreddings.is_empty() {
            sealing::shred_all(core, shreddings);
        }
        jobs.into_iter().for_each(|job| job(core));
        if stop {
            return;
        }
    }
}

/// The rows of a batch in the making: what earlier changes of the same batch wrote stands before what the store has.
pub(crate) struct Draft<'a> {
    core: &'a Core,
    pub(crate) batch: Batch,
    at: HashMap<Vec<u8>, usize>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(core: &'a Core) -> Self {
        Self { core, batch: Batch::default(), at: HashMap::new() }
    }

    pub(crate) fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        match self.at.get(key) {
            Some(&place) => Ok(self.batch.writes[place].1.clone()),
            None => self.core.store.row(key).map_err(Refused::from),
        }
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        match self.at.get(&key) {
            Some(&place) => self.batch.writes[place].1 = value,
            None => {
                self.at.insert(key.clone(), self.batch.writes.len());
                self.batch.writes.push((key, value));
            }
        }
    }

    /// Puts a row and notes in `entry` what it replaced and what it wrote.
    pub(crate) fn note(&mut self, entry: &mut Entry, key: Vec<u8>, fresh: bool, value: Option<Vec<u8>>) -> Result<(), Refused> {
        let old = if fresh { None } else { self.row(&key)? };
        self.replace(entry, key, old, value);
        Ok(())
    }

    fn replace(&mut self, entry: &mut Entry, key: Vec<u8>, old: Option<Vec<u8>>, new: Option<Vec<u8>>) {
        if old == new {
            return;
        }
        if let Some(old) = &old {
            entry.dropped.push(row_hash(&key, old));
        }
        if let Some(new) = &new {
            entry.written.push(row_hash(&key, new));
        }
        self.put(key, new);
    }
}

/// What two aliases of one batch have in common when they are the same, whatever index keys lived when each was made.
type AliasName = (Id, u8, Option<[u8; 32]>);

fn name_of(alias: &Alias) -> AliasName {
    (*alias.tenant(), alias.kind(), alias.digest())
}

/// Whether a change may go in, given the rows and aliases of this moment.
fn check(core: &Core, draft: &Draft<'_>, taken: &HashMap<AliasName, Vec<Id>>, change: &Change) -> Result<(), Refused> {
    for row in &change.rows {
        if row.value.as_ref().is_some_and(|value| value.len() > MAX_VALUE) {
            return Err(Code::TooLarge.into());
        }
        if row.value.as_ref().is_some_and(|value| tenant::is_of_a_dead_key(core, &row.key, value)) {
            return Err(Code::Stale.into());
        }
        let holds = match &row.expect {
            Expect::Fresh | Expect::Any => true,
            Expect::Absent => draft.row(&row.key)?.is_none(),
            Expect::Is(bytes) => draft.row(&row.key)?.as_deref() == Some(bytes),
        };
        if !holds {
            return Err(Code::Stale.into());
        }
    }
    if change.bound.iter().any(|(subject, as_of)| !core.people.is_current(subject, *as_of)) {
        return Err(Code::Stale.into());
    }
    for (subject, _) in &change.groups {
        if core.hierarchy.subject(&core.rows(), subject)?.is_none() {
            return Err(Code::Erased.into());
        }
    }
    for (alias, subject, alone) in &change.aliases {
        let other = |id: &Id| id != subject;
        let known = core.hierarchy.alias(&core.rows(), alias)?;
        let others = taken.get(&name_of(alias)).map_or(0, |ids| ids.iter().filter(|id| other(id)).count())
            + known.iter().filter(|id| other(id)).count();
        if others > if *alone { 0 } else { MOST_SHARING } {
            return Err(Code::AliasTaken.into());
        }
    }
    Ok(())
}

fn commit_all(core: &Core, waiting: Vec<Waiting>, runtime: Option<Handle>) {
    let mut draft = Draft::new(core);
    let mut taken: HashMap<AliasName, Vec<Id>> = HashMap::new();
    let mut entries = Vec::new();
    let mut inserts = Inserts::default();
    let mut replies = Vec::new();
    let (mut touched, mut written) = (Vec::new(), Vec::new());
    for (mut change, reply) in waiting {
        if let Err(refused) = check(core, &draft, &taken, &change).and_then(|()| take(&mut draft, &mut change)) {
            let _ = reply.send(Err(refused));
            continue;
        }
        for (alias, subject, _) in &change.aliases {
            taken.entry(name_of(alias)).or_default().push(*subject);
        }
        inserts.subjects.append(&mut change.subjects);
        inserts.groups.append(&mut change.groups);
        inserts.aliases.extend(change.aliases.iter().map(|(alias, subject, _)| (*alias, *subject)));
        entries.append(&mut change.entries);
        touched.append(&mut change.touched);
        written.extend(change.bound.iter().map(|(subject, _)| *subject));
        replies.push(reply);
    }
    if replies.is_empty() {
        return;
    }
    let result = keep(core, draft, entries, inserts);
    if result.is_ok() {
        core.people.forget(&touched, &written);
    }
    let answer = move || {
        for reply in replies {
            let _ = reply.send(result.clone());
        }
    };
    // Waking a task from outside its runtime costs a system call; from inside, next to nothing.
    match runtime {
        Some(runtime) => drop(runtime.spawn(async move { answer() })),
        None => answer(),
    }
}

fn take(draft: &mut Draft<'_>, change: &mut Change) -> Result<(), Refused> {
    // The rows' hashes go into the last entry; a change without one would escape the trail.
    let mut last = change.entries.pop().ok_or(Code::Internal)?;
    // All reads before the first write: a store that fails half-way leaves nothing of the change in the draft.
    let mut read = Vec::with_capacity(change.rows.len());
    for row in change.rows.drain(..) {
        let old = if matches!(row.expect, Expect::Fresh) { None } else { draft.row(&row.key)? };
        read.push((row.key, old, row.value));
    }
    for (key, old, new) in read {
        draft.replace(&mut last, key, old, new);
    }
    change.entries.push(last);
    Ok(())
}

/// Stages what is added to the key trees, announces all of it and keeps it. On the committer's thread only.
pub(crate) fn keep(core: &Core, mut draft: Draft<'_>, mut entries: Vec<Entry>, inserts: Inserts) -> Result<(), Refused> {
    let staged = if inserts.subjects.is_empty() && inserts.groups.is_empty() && inserts.aliases.is_empty() {
        None
    } else {
        Some(core.hierarchy.stage(&core.rows(), inserts)?)
    };
    if let Some(staged) = &staged {
        // The trees are shared by many subjects: their rows stand in an entry of their own, so that no subject's tag
        // stands beside a place in the tree.
        let mut tree = core.event("commit", Outcome::Done, Note::None)?;
        for write in &staged.writes {
            draft.note(&mut tree, write.key.clone(), false, write.value.clone())?;
        }
        entries.push(tree);
    }
    settle(core, &mut draft, entries)?;
    if let Some(staged) = staged {
        core.hierarchy.adopt(staged);
    }
    Ok(())
}

/// Trail first, durable; then the batch, durable. Where the store refuses the batch, the entries are voided.
///
/// A batch that the store could not keep as a whole (a row too large) is refused before anything is announced.
pub(crate) fn settle(core: &Core, draft: &mut Draft<'_>, entries: Vec<Entry>) -> Result<(), Refused> {
    let number = core.commits.load(Ordering::Relaxed) + 1;
    let entries = split(entries, number);
    let ticket = core.trail.append(&entries)?;
    let (first, count) = (ticket.first(), entries.len() as u64);
    let _receipt = timed(&core.timings.trail, || core.trail.durable_blocking(ticket))?;
    let mark = CommitMark { number, entries: first + count };
    draft.put(RowKey::Mark.bytes(), Some(mark.bytes()));
    if let Err(error) = timed(&core.timings.store, || core.store.commit(&draft.batch)) {
        let voided = (first..first + count).collect();
        let event = core.event("void", Outcome::Void, Note::Void { entries: voided })?;
        if let Ok(ticket) = core.trail.append(&[event]) {
            let _ = core.trail.durable_blocking(ticket);
        }
        return Err(error.into());
    }
    core.commits.store(number, Ordering::Relaxed);
    Ok(())
}

/// Row hashes in one entry at the most: an entry has at most 4 MiB.
const MOST_HASHES: usize = 30_000;

/// Numbers the entries that announce rows, and spreads the hashes of an operation with very many over several entries of
/// the same decision.
fn split(entries: Vec<Entry>, number: u64) -> Vec<Entry> {
    let mut all = Vec::with_capacity(entries.len());
    for mut entry in entries {
        while entry.dropped.len() + entry.written.len() > MOST_HASHES {
            let rest = entry.dropped.split_off(entry.dropped.len().min(MOST_HASHES));
            let more = if rest.is_empty() {
                let room = MOST_HASHES - entry.dropped.len();
                entry.written.split_off(room.min(entry.written.len()))
            } else {
                std::mem::take(&mut entry.written)
            };
            let next = Entry { dropped: rest, written: more, note: Note::None, ..entry.clone() };
            all.push(Entry { batch: number, ..entry });
            entry = next;
        }
        let announces = !entry.dropped.is_empty() || !entry.written.is_empty();
        all.push(Entry { batch: if announces { number } else { 0 }, ..entry });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_with_very_many_rows_is_announced_by_several_entries_that_hold_every_hash_once() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let id = crate::model::ids::DecisionId::from_bytes([1; 16]);
        let hash = |n: usize| keys::digest::sha256(&[&n.to_be_bytes()]);
        for (dropped, written) in [(0, 0), (1, 0), (MOST_HASHES, 1), (0, MOST_HASHES + 1), (2 * MOST_HASHES + 7, MOST_HASHES)] {
            let mut entry = Entry::new(at, id, "writeRecord", Outcome::Done, "vault");
            entry.dropped = (0..dropped).map(hash).collect();
            entry.written = (dropped..dropped + written).map(hash).collect();
            let entries = split(vec![entry.clone()], 7);
            assert!(entries.iter().all(|one| one.dropped.len() + one.written.len() <= MOST_HASHES && one.decision == id));
            assert!(entries.iter().all(|one| (one.batch == 7) == (dropped + written > 0)));
            let all = |part: fn(&Entry) -> &Vec<[u8; 32]>| entries.iter().flat_map(|one| part(one).clone()).collect::<Vec<_>>();
            assert_eq!(all(|one| &one.dropped), entry.dropped);
            assert_eq!(all(|one| &one.written), entry.written);
        }
    }
}
