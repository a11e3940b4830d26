//! A rotation as its row has it, and all of them in memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use parking_lot::RwLock;
use serde_json::{Value, json};

use crate::audit::Entry;
use crate::model::code::Code;
use crate::model::ids::{CallerId, KeyJobId, SubjectId};
use crate::store::layout::{RowKey, prefix};

use super::super::call::Refused;
use super::super::committer::{Draft, settle};
use super::super::core::Core;
use super::super::rows::{pack, time, unpack};
use super::Stepped;
use super::kind::Kind;

/// Rows read at a time.
const PAGE: usize = 500;

/// Ended rotations whose rows are kept.
const KEPT: usize = 50;

/// Where a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing was done yet; another one may be under way.
    Waiting,
    /// It is under way, or will be as soon as the vault is open.
    Running,
    /// Somebody told it to rest.
    Paused,
    /// No old key is left.
    Done,
    /// It is given up; what was turned over stays so.
    Failed,
    /// Somebody ended it; what was turned over stays so.
    Cancelled,
}

const STATES: [(State, &str); 6] = [
    (State::Waiting, "waiting"),
    (State::Running, "running"),
    (State::Paused, "paused"),
    (State::Done, "done"),
    (State::Failed, "failed"),
    (State::Cancelled, "cancelled"),
];

impl State {
    fn number(self) -> u8 {
        STATES.iter().position(|(state, _)| *state == self).unwrap_or(0) as u8
    }

    /// The word for people and programs.
    pub(crate) fn word(self) -> &'static str {
        STATES[usize::from(self.number())].1
    }

    /// Whether it is at its end.
    pub(crate) const fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A rotation. Sealed under the vault's row key; a person's id is dropped from it when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct JobRow {
    /// A number of [`Kind`].
    #[n(0)]
    kind: u8,
    /// The place of its state in [`STATES`].
    #[n(1)]
    state: u8,
    #[cbor(n(2), with = "minicbor::bytes")]
    subject: Option<[u8; 16]>,
    /// What the last step said; the kind knows what it means.
    #[cbor(n(3), with = "minicbor::bytes")]
    cursor: Option<Vec<u8>>,
    #[n(4)]
    done: u64,
    #[n(5)]
    permille: u16,
    #[n(6)]
    asked_at: i64,
    #[n(7)]
    began_at: Option<i64>,
    #[n(8)]
    ended_at: Option<i64>,
    /// The epoch that it began in: whatever key was made in it or before is to be turned over.
    #[n(9)]
    epoch: u64,
    /// A code that says why it was given up, or does not go on.
    #[n(10)]
    reason: Option<String>,
    /// Who asked; none for the schedule.
    #[cbor(n(11), with = "minicbor::bytes")]
    by: Option<[u8; 16]>,
    #[n(12)]
    failed: u64,
    /// What has to be there before the first step is there.
    #[n(13)]
    is_ready: bool,
    /// Counts the rotations that were ever asked for, so that they have an order.
    #[n(14)]
    number: u64,
}

/// A rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job(JobRow);

impl Job {
    /// One that waits, the `number`th; `by` is none for the schedule.
    pub(crate) fn new(number: u64, kind: Kind, subject: Option<SubjectId>, by: Option<CallerId>, now: Timestamp) -> Self {
        Self(JobRow {
            number,
            kind: kind.number(),
            state: State::Waiting.number(),
            subject: subject.map(|id| *id.bytes()),
            cursor: None,
            done: 0,
            permille: 0,
            asked_at: now.as_microsecond(),
            began_at: None,
            ended_at: None,
            epoch: 0,
            reason: None,
            by: by.map(|id| *id.bytes()),
            failed: 0,
            is_ready: false,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let row: JobRow = unpack(bytes)?;
        if Kind::numbered(row.kind).is_none() || usize::from(row.state) >= STATES.len() {
            return Err(Code::StoreUnavailable.into());
        }
        Ok(Self(row))
    }

    /// What is turned over.
    pub(crate) fn kind(&self) -> Kind {
        Kind::numbered(self.0.kind).unwrap_or(Kind::Tree)
    }

    /// Where it is.
    pub(crate) fn state(&self) -> State {
        STATES[usize::from(self.0.state)].0
    }

    /// Whether there is something to do for it.
    pub(crate) fn is_going(&self) -> bool {
        matches!(self.state(), State::Waiting | State::Running)
    }

    /// Whose keys, where it is about one person.
    pub(crate) fn subject(&self) -> Option<SubjectId> {
        self.0.subject.map(SubjectId::from_bytes)
    }

    /// Where the next step begins; none for the first.
    pub(crate) fn cursor(&self) -> Option<&[u8]> {
        self.0.cursor.as_deref()
    }

    /// Keys that were made in this epoch or before are old.
    pub(crate) const fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Things that were turned over so far.
    pub(crate) const fn done(&self) -> u64 {
        self.0.done
    }

    /// Things that did not open so far.
    pub(crate) const fn failed(&self) -> u64 {
        self.0.failed
    }

    /// When its first step was taken.
    pub(crate) fn began_at(&self) -> Option<Timestamp> {
        self.0.began_at.map(time)
    }

    /// When it was asked for.
    pub(crate) fn asked_at(&self) -> Timestamp {
        time(self.0.asked_at)
    }
    /// Whether its first step can be taken.
    pub(super) const fn is_ready(&self) -> bool {
        self.0.is_ready
    }

    pub(super) fn made_ready(&mut self) {
        self.0.is_ready = true;
    }

    pub(super) fn begin(&mut self, now: Timestamp, epoch: u64) {
        (self.0.began_at, self.0.epoch) = (Some(now.as_microsecond()), epoch);
        self.0.state = State::Running.number();
    }

    pub(super) fn stepped(&mut self, stepped: Stepped) {
        (self.0.cursor, self.0.reason) = (stepped.cursor, None);
        self.0.done += stepped.done;
        self.0.failed += stepped.failed;
        self.0.permille = stepped.permille.clamp(self.0.permille, 1_000);
    }

    pub(super) fn troubled(&mut self, code: Code) {
        self.0.reason = Some(code.text().to_owned());
    }

    pub(super) fn end(&mut self, state: State, now: Timestamp, reason: Option<Code>) {
        (self.0.state, self.0.ended_at) = (state.number(), Some(now.as_microsecond()));
        (self.0.subject, self.0.cursor) = (None, None);
        self.0.reason = reason.map(|code| code.text().to_owned());
    }

    pub(super) fn pause(&mut self) {
        self.0.state = State::Paused.number();
    }

    pub(super) fn resume(&mut self) {
        let state = if self.0.began_at.is_some() { State::Running } else { State::Waiting };
        self.0.state = state.number();
    }

    /// As the API shows it. Whom it is about is not shown.
    pub(crate) fn view(&self, id: &KeyJobId) -> Value {
        let row = &self.0;
        let at = |at: Option<i64>| at.map(|at| time(at).to_string());
        json!({
            "id": id,
            "kind": self.kind().word(),
            "state": self.state().word(),
            "permille": row.permille,
            "done": row.done,
            "failed": row.failed,
            "asked_at": time(row.asked_at).to_string(),
            "began_at": at(row.began_at),
            "ended_at": at(row.ended_at),
            "reason": row.reason,
            "caller": row.by.map(CallerId::from_bytes),
        })
    }
}

/// Every rotation that has a row. Changed on the committer's thread alone.
#[derive(Default)]
pub(crate) struct Jobs(RwLock<BTreeMap<KeyJobId, Job>>);

impl Jobs {
    /// Reads them from the store.
    pub(crate) fn load(&self, core: &Core) -> Result<(), Refused> {
        let mut all = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = core.store.scan(prefix::JOBS, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, sealed) in &page {
                let Some(RowKey::Job(id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
                all.insert(id, Job::parse(core.hierarchy.open_row(key, sealed)?.bytes())?);
            }
        }
        *self.0.write() = all;
        Ok(())
    }

    /// The rotation that is under way, or else the one that waits for the longest time.
    pub(crate) fn next(&self) -> Option<KeyJobId> {
        let all = self.0.read();
        let going = all.iter().filter(|(_, job)| job.is_going());
        going.min_by_key(|(_, job)| (job.state() == State::Waiting, job.0.number)).map(|(id, _)| *id)
    }

    /// One of them.
    pub(crate) fn job(&self, id: &KeyJobId) -> Option<Job> {
        self.0.read().get(id).cloned()
    }

    /// All of them, the newest first.
    pub(crate) fn all(&self) -> Vec<(KeyJobId, Job)> {
        let mut all: Vec<_> = self.0.read().iter().map(|(id, job)| (*id, job.clone())).collect();
        all.sort_by_key(|(_, job)| std::cmp::Reverse(job.0.number));
        all
    }

    /// The number of the next one.
    pub(crate) fn next_number(&self) -> u64 {
        self.0.read().values().map(|job| job.0.number).max().unwrap_or(0) + 1
    }

    /// The last one of a kind.
    pub(crate) fn last_of(&self, kind: Kind) -> Option<Job> {
        self.all().into_iter().find(|(_, job)| job.kind() == kind).map(|(_, job)| job)
    }

    /// Takes it as it is now, without a row: how far it has come may be lost.
    pub(super) fn put(&self, id: KeyJobId, job: Job) {
        self.0.write().insert(id, job);
    }
}

/// Writes a rotation's row, announced by `entry`. On the committer's thread only.
pub(crate) fn keep(core: &Core, id: &KeyJobId, job: &Job, entry: Entry) -> Result<(), Refused> {
    keep_with(core, id, job, Draft::new(core), entry)
}

/// The same, together with what is in `draft`. Of those that ended long ago the rows go.
pub(crate) fn keep_with(core: &Core, id: &KeyJobId, job: &Job, mut draft: Draft<'_>, mut entry: Entry) -> Result<(), Refused> {
    let key = RowKey::Job(*id).bytes();
    let value = core.hierarchy.seal_row(&key, &pack(&job.0)?)?;
    draft.note(&mut entry, key, false, Some(value))?;
    let ended = core.jobs.all().into_iter().filter(|(other, job)| other != id && job.state().is_end());
    let gone: Vec<KeyJobId> = ended.skip(KEPT).map(|(id, _)| id).collect();
    for old in &gone {
        draft.note(&mut entry, RowKey::Job(*old).bytes(), false, None)?;
    }
    settle(core, &mut draft, vec![entry])?;
    let mut all = core.jobs.0.write();
    all.insert(*id, job.clone());
    gone.iter().for_each(|old| drop(all.remove(old)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(kind: Kind, number: u64) -> Job {
        Job::new(number, kind, None, None, time(1))
    }

    #[test]
    fn one_rotation_at_a_time_and_the_one_that_began_first() {
        let (first, second) = (KeyJobId::from_bytes([2; 16]), KeyJobId::from_bytes([1; 16]));
        let jobs = Jobs::default();
        assert_eq!(jobs.next(), None);
        assert_eq!(jobs.next_number(), 1);
        jobs.put(first, job(Kind::Tree, 1));
        assert_eq!(jobs.next_number(), 2);
        jobs.put(second, job(Kind::Subjects, 2));
        assert_eq!(jobs.next(), Some(first));
        let mut began = job(Kind::Subjects, 2);
        began.begin(time(3), 7);
        jobs.put(second, began.clone());
        assert_eq!(jobs.next(), Some(second));
        began.pause();
        jobs.put(second, began.clone());
        assert_eq!(jobs.next(), Some(first));
        began.resume();
        assert_eq!((began.state(), began.epoch()), (State::Running, 7));
    }

    #[test]
    fn a_rotation_that_has_ended_names_nobody_and_survives_its_row() {
        let mut one = Job::new(1, Kind::Subject, Some(SubjectId::from_bytes([7; 16])), None, time(1));
        one.begin(time(2), 3);
        one.stepped(Stepped { cursor: Some(vec![7; 16]), done: 4, permille: 400, failed: 1 });
        one.stepped(Stepped { cursor: Some(vec![7; 16]), done: 1, permille: 100, failed: 0 });
        assert_eq!((one.done(), one.failed(), one.0.permille), (5, 1, 400));
        one.end(State::Failed, time(5), Some(Code::StoreUnavailable));
        assert_eq!((one.subject(), one.cursor()), (None, None));
        assert_eq!(Job::parse(&pack(&one.0).unwrap()).unwrap(), one);
        assert!(!one.view(&KeyJobId::from_bytes([1; 16])).to_string().contains("sub_"));
    }
}
