//! What the vault does by itself when a time has come: consents that end, withdrawals whose grace is over, retention.
//!
//! It goes through everybody, a page at a time, and destroys what nothing keeps any more by erasures of its own
//! (`erasure::by_vault`), each with its certificate. Reading never waits for it: the guards refuse what has ended whether it
//! was swept or not. A restriction or a hold keeps what it covers. A round that is cut short goes on where it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use minicbor::{Decode, Encode};
use parking_lot::Mutex;

use crate::audit::{Note, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{RecordId, SubjectId, TenantId};
use crate::model::purpose::{Group, GroupSet};
use crate::model::standing::{Consent, ConsentState};
use crate::model::wire::Cause;
use crate::policy::{Facts, Second};
use crate::store::layout::{RecordHead, RowKey, prefix};
use crate::tenant::Tenant;

use super::bundles;
use super::call::Refused;
use super::committer::{Change, Committer, Expect, RowChange};
use super::consents::{self, Event};
use super::core::{Core, Person};
use super::erasure::What;
use super::erasure::by_vault::{self, Due};
use super::erasure::sealing::Still;
use super::incidents;
use super::lifecycle::Vault;
use super::notices;
use super::records::label_context;
use super::requests;
use super::rows::{LabelRow, pack, time, unpack};

/// People looked at before what is due of theirs is destroyed, in one epoch transition.
const PAGE: usize = 100;

/// Pages between two notes of how far a round has come: 10,000 people.
const NOTED_EVERY: usize = 100;

/// Records that one erasure takes; a person's others go with the next round.
const MOST_RECORDS: usize = 250;

/// Rest after each page, so that a round never takes a processor from the callers.
const REST: Duration = Duration::from_millis(10);

/// How long what belongs to a session lasts at most (p30).
const SESSION: SignedDuration = SignedDuration::from_hours(24);

/// What a round came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, Encode, Decode)]
#[cbor(map)]
pub struct Swept {
    /// People looked at.
    #[n(0)]
    pub people: u64,
    /// Consents whose end was recorded.
    #[n(1)]
    pub expired: u64,
    /// Erasures of whole groups.
    #[n(2)]
    pub groups: u64,
    /// Records erased for themselves.
    #[n(3)]
    pub records: u64,
    /// Closed accounts whose grace was over.
    #[n(4)]
    pub closed: u64,
    /// People of whom something would have gone, had no restriction or hold kept it.
    #[n(5)]
    pub kept: u64,
    /// People of whom something could not be done; the next round tries again.
    #[n(6)]
    pub failed: u64,
    /// Alarms of requests that were raised.
    #[cbor(n(7), default)]
    pub alarms: u64,
    /// Requests that were found overdue.
    #[cbor(n(8), default)]
    pub overdue: u64,
    /// Files of requests whose time was over.
    #[cbor(n(9), default)]
    pub files: u64,
}

/// How far a round has come. Sealed under the vault's row key.
#[derive(Default, Encode, Decode)]
#[cbor(map)]
struct Progress {
    /// The last key that was looked at; empty between two rounds.
    #[cbor(n(0), with = "minicbor::bytes")]
    after: Vec<u8>,
    /// What the round came to so far; between two rounds what the last one came to.
    #[n(1)]
    swept: Swept,
}

/// The thread, until it is told to stop.
pub(crate) struct Sweeper {
    stop: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sweeper {
    /// Starts a round every so often; `None` is never.
    pub(crate) fn start(core: Arc<Core>, committer: Arc<Committer>, every: Option<Duration>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let Some(every) = every else { return Ok(Self { stop, thread: Mutex::default() }) };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let thread = std::thread::Builder::new().name("sweeper".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                let go_on = || matches!(stopped.recv_timeout(REST), Err(RecvTimeoutError::Timeout));
                match runtime.block_on(round(&core, &committer, go_on)) {
                    Ok(Some(swept)) => tracing::info!(?swept, "swept"),
                    Ok(None) => return,
                    Err(refused) => tracing::error!(code = refused.code.text(), "a sweep was cut short"),
                }
            }
        })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread, after the page that it is at.
    pub(crate) fn stop(&self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Vault {
    /// One whole round, or the rest of one that was cut short, without rests: what the background task does every
    /// `sweep.every_seconds`.
    pub async fn sweep(&self) -> Result<Swept, Refused> {
        let opened = self.opened()?;
        round(&opened.core, &opened.committer, || true).await?.ok_or(Code::Internal.into())
    }
}

/// Goes through everybody; `None` when `go_on` said no on the way.
async fn round(core: &Core, committer: &Committer, go_on: impl Fn() -> bool) -> Result<Option<Swept>, Refused> {
    let mut progress = progress(core)?;
    if progress.after.is_empty() {
        progress.swept = Swept::default();
    }
    let mut pages = 0;
    loop {
        let after = Some(progress.after.as_slice()).filter(|after| !after.is_empty());
        let page = core.store.scan(b"s", after, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        let last = last.clone();
        let people = page.iter().filter_map(|(key, _)| match RowKey::parse(key) {
            Some(RowKey::Subject(id)) => Some(id),
            _ => None,
        });
        sweep(core, committer, people.collect(), &mut progress.swept).await?;
        progress.after = last;
        pages += 1;
        if pages % NOTED_EVERY == 0 {
            keep(core, committer, &progress).await?;
        }
        if !go_on() {
            keep(core, committer, &progress).await?;
            return Ok(None);
        }
    }
    let ticked = requests::clocks::clocks(core, committer).await?;
    let swept = &mut progress.swept;
    swept.closed += ticked.closed;
    swept.alarms += ticked.alarms;
    swept.overdue += ticked.overdue;
    swept.files += ticked.files;
    swept.failed += ticked.failed;
    bundles::due(core, committer).await?;
    incidents::round(core, committer).await?;
    progress.after.clear();
    keep(core, committer, &progress).await?;
    Ok(Some(progress.swept))
}

fn progress(core: &Core) -> Result<Progress, Refused> {
    let key = RowKey::Sweep.bytes();
    match core.store.row(&key)? {
        Some(sealed) => unpack(core.hierarchy.open_row(&key, &sealed)?.bytes()),
        None => Ok(Progress::default()),
    }
}

/// Notes how far the round has come; an entry of the trail says how much went.
async fn keep(core: &Core, committer: &Committer, progress: &Progress) -> Result<(), Refused> {
    let key = RowKey::Sweep.bytes();
    let value = core.hierarchy.seal_row(&key, &pack(progress)?)?;
    let mut event = core.event("sweep", Outcome::Done, Note::None)?;
    event.records = u32::try_from(progress.swept.groups + progress.swept.records).unwrap_or(u32::MAX);
    let mut change = Change::noting(event);
    change.rows.push(RowChange { key, expect: Expect::Any, value: Some(value) });
    committer.commit(change).await
}

/// Does what is due of these people.
async fn sweep(core: &Core, committer: &Committer, people: Vec<SubjectId>, swept: &mut Swept) -> Result<(), Refused> {
    let mut erasures: BTreeMap<TenantId, Vec<Due>> = BTreeMap::new();
    for id in people {
        swept.people += 1;
        let outcome = match look_at(core, id) {
            Ok(Some((tenant, person))) => one(core, committer, &tenant, &person, swept).await.map(|due| (tenant.id(), due)),
            Ok(None) => continue,
            Err(refused) => Err(refused),
        };
        match outcome {
            Ok((tenant, mut due)) => erasures.entry(tenant).or_default().append(&mut due),
            // One person's damaged row must not keep everybody else's data.
            Err(refused) if !matches!(refused.code, Code::Sealed | Code::AuditUnavailable | Code::DiskFull) => {
                swept.failed += 1;
                core.signs.damaged();
                tracing::error!(code = refused.code.text(), "a person could not be swept");
            }
            Err(refused) => return Err(refused),
        }
    }
    for (tenant, due) in erasures {
        let Some(tenant) = core.tenants.get(&tenant) else { continue };
        let records: Vec<u64> =
            due.iter().map(|due| if let What::Records(ids) = &due.what { ids.len() as u64 } else { 0 }).collect();
        for (outcome, records) in by_vault::carry_out(core, committer, &tenant, due).await.into_iter().zip(records) {
            match outcome {
                Ok(_) if records > 0 => swept.records += records,
                Ok(_) => swept.groups += 1,
                // Its reason went away, or the whole person did.
                Err(refused) if matches!(refused.code, Code::StateConflict | Code::Erased) => {}
                Err(refused) => {
                    swept.failed += 1;
                    tracing::error!(code = refused.code.text(), "an erasure that is due could not be carried out");
                }
            }
        }
    }
    Ok(())
}

/// A person and their controller, as they are now.
fn look_at(core: &Core, id: SubjectId) -> Result<Option<(Arc<Tenant>, Person)>, Refused> {
    let Some(person) = core.look_at(id)? else { return Ok(None) };
    let tenant = core.tenants.get(&TenantId::from_bytes(person.row.tenant));
    Ok(tenant.map(|tenant| (tenant, person)))
}

/// Records the ends of one person's consents, and finds what of theirs is to be destroyed.
async fn one(
    core: &Core,
    committer: &Committer,
    tenant: &Arc<Tenant>,
    person: &Person,
    swept: &mut Swept,
) -> Result<Vec<Due>, Refused> {
    let now = core.clock.now();
    let ended = |consent: &&Consent| consent.state == ConsentState::Given && consent.state(now) == ConsentState::Expired;
    let ended = person.row.standing.consents.iter().filter(ended);
    let ended: Vec<Event> = ended.map(|consent| Event::bare(&consent.purpose, &consent.kind, ConsentState::Expired)).collect();
    if !ended.is_empty() {
        let count = ended.len() as u64;
        let mut change = Change::default();
        let call = by_vault::scheduler(core, tenant);
        let about = person.facts(tenant, now);
        let facts = Facts { second: Second::Waived, ..core.facts_about(tenant, &call, person, &about) };
        core.decide(&call, Operation::RecordConsent, &facts, Some(person.tag))?;
        consents::add(core, tenant, person, &mut change, None, ended, |_| Ok(()))?;
        match committer.commit(change).await {
            Ok(()) => swept.expired += count,
            // Somebody was faster; the next round sees what they left.
            Err(refused) if matches!(refused.code, Code::Stale | Code::Erased) => {}
            Err(refused) => return Err(refused),
        }
    }
    notices::alarm(core, committer, tenant, person).await?;
    let ripe = ripe(core, tenant, person, now)?;
    swept.kept += u64::from(ripe.kept);
    Ok(ripe.erasures(person.id))
}

/// What of one person nothing keeps any more.
#[derive(Default, PartialEq, Eq, Debug)]
struct Ripe {
    /// Groups whose consent was withdrawn, its grace over.
    withdrawn: GroupSet,
    /// Groups of which every record has ended.
    ended: GroupSet,
    /// Records that have ended under each of their groups, where one of these lives on.
    records: Vec<RecordId>,
    /// Something is kept by a restriction or a hold alone.
    kept: bool,
}

fn ripe(core: &Core, tenant: &Tenant, person: &Person, now: Timestamp) -> Result<Ripe, Refused> {
    let standing = &person.row.standing;
    let mut withdrawn = GroupSet::EMPTY;
    let due = |consent: &&Consent| consent.destroy_at.is_some_and(|at| at <= now.as_microsecond());
    for consent in standing.consents.iter().filter(due) {
        let Some(group) = tenant.purpose(&consent.purpose).and_then(|purpose| purpose.group) else { continue };
        if !consents::is_needed(standing, tenant, &person.row.jurisdiction, &person.row.class, group, now) {
            withdrawn.insert(group);
        }
    }
    let mut records = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(&prefix::records(&person.id), after.as_deref(), 200)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, value) in &page {
            let Some(RowKey::Record(_, id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
            let head = RecordHead::parse(value)?;
            let label: LabelRow = unpack(person.keys.open_row(&label_context(&person.id, &id), head.label)?.bytes())?;
            let groups: GroupSet = head.wraps.iter().filter_map(|wrap| Group::numbered(wrap.group)).collect();
            let groups = groups.without_hold();
            let over = groups.iter().filter(|group| is_over(tenant, person, *group, &label, now)).collect();
            records.push(Aged { id, groups, over, held: standing.is_held(id.bytes()) });
        }
    }
    Ok(weigh(withdrawn.and(person.alive()), &records, standing.keeps_everything()))
}

/// A record, and under which of its groups its time is over.
struct Aged {
    id: RecordId,
    groups: GroupSet,
    over: GroupSet,
    held: bool,
}

/// Whether a record's time under a group is over: by the policy's rule, unless something keeps the group longer.
fn is_over(tenant: &Tenant, person: &Person, group: Group, label: &LabelRow, now: Timestamp) -> bool {
    let collected_at = time(label.collected_at);
    if label.session && now.duration_since(collected_at) >= SESSION {
        return true;
    }
    let fields: FieldSet = label.fields.iter().map(|field| field.number).collect();
    tenant.is_expired(group, &person.row.jurisdiction, &fields, collected_at, now)
        && !person.row.standing.is_extended(group.number(), now)
}

/// What goes, of the groups whose withdrawal is due and of these records.
fn weigh(withdrawn: GroupSet, records: &[Aged], keeps_everything: bool) -> Ripe {
    let mut ripe = Ripe::default();
    let all = records.iter().fold(withdrawn, |all, record| all.or(record.groups));
    for group in all.iter() {
        let mut members = records.iter().filter(|record| record.groups.contains(group));
        let due = withdrawn.contains(group) || members.clone().all(|record| record.over.contains(group));
        if !due {
            continue;
        }
        if keeps_everything || members.any(|record| record.held) {
            ripe.kept = true;
        } else if withdrawn.contains(group) {
            ripe.withdrawn.insert(group);
        } else {
            ripe.ended.insert(group);
        }
    }
    let going = ripe.withdrawn.or(ripe.ended);
    for record in records.iter().filter(|record| !record.groups.is_empty() && record.over == record.groups) {
        if keeps_everything || record.held {
            ripe.kept = true;
        } else if record.groups.and(going) != record.groups && ripe.records.len() < MOST_RECORDS {
            ripe.records.push(record.id);
        }
    }
    ripe
}

impl Ripe {
    /// One erasure each for what was withdrawn, for groups and for records that have ended.
    fn erasures(self, subject: SubjectId) -> Vec<Due> {
        let (withdrawn, ended, records) = (self.withdrawn, self.ended, self.records);
        let mut due = Vec::new();
        if !withdrawn.is_empty() {
            let still = still(subject, move |ripe| ripe.withdrawn.and(withdrawn) == withdrawn);
            due.push(Due { subject, what: What::Groups(withdrawn), cause: Cause::Withdrawal, still });
        }
        if !ended.is_empty() {
            let still = still(subject, move |ripe| ripe.ended.and(ended) == ended);
            due.push(Due { subject, what: What::Groups(ended), cause: Cause::Retention, still });
        }
        if !records.is_empty() {
            let same = records.clone();
            let still = still(subject, move |ripe| same.iter().all(|record| ripe.records.contains(record)));
            due.push(Due { subject, what: What::Records(records), cause: Cause::Retention, still });
        }
        due
    }
}

/// Looks once more, when nothing can come in between: somebody may have consented again, or laid a restriction.
fn still(subject: SubjectId, same: impl Fn(&Ripe) -> bool + Send + 'static) -> Still {
    Box::new(move |core| match look_at(core, subject)? {
        Some((tenant, person)) => Ok(same(&ripe(core, &tenant, &person, core.clock.now())?)),
        None => Ok(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(numbers: &[u8]) -> GroupSet {
        numbers.iter().filter_map(|number| Group::numbered(*number)).collect()
    }

    fn record(id: u8, under: &[u8], over: &[u8], held: bool) -> Aged {
        Aged { id: RecordId::from_bytes([id; 16]), groups: groups(under), over: groups(over), held }
    }

    #[test]
    fn a_group_goes_when_all_of_its_records_have_ended_and_a_record_when_all_of_its_groups_have() {
        let ripe = weigh(groups(&[]), &[record(1, &[4, 5], &[4, 5], false), record(2, &[5], &[], false)], false);
        assert_eq!((ripe.ended, ripe.records, ripe.kept), (groups(&[4]), vec![RecordId::from_bytes([1; 16])], false));
        let ripe = weigh(groups(&[]), &[record(1, &[4], &[4], false), record(2, &[4], &[4], false)], false);
        assert_eq!((ripe.ended, ripe.records), (groups(&[4]), vec![]));
        assert_eq!(weigh(groups(&[]), &[record(1, &[1, 4], &[4], false), record(2, &[4], &[], false)], false), Ripe::default());
    }

    #[test]
    fn a_withdrawn_group_goes_whatever_the_age_of_its_records() {
        let ripe = weigh(groups(&[4]), &[record(1, &[1, 4], &[], false)], false);
        assert_eq!((ripe.withdrawn, ripe.ended, ripe.kept), (groups(&[4]), groups(&[]), false));
        assert_eq!(weigh(groups(&[4]), &[], false).withdrawn, groups(&[4]));
    }

    #[test]
    fn what_a_restriction_or_a_hold_covers_stays() {
        let records = [record(1, &[4], &[4], true), record(2, &[4, 5], &[4, 5], false), record(3, &[5], &[], false)];
        let ripe = weigh(groups(&[4]), &records, false);
        let second = vec![RecordId::from_bytes([2; 16])];
        assert_eq!((ripe.withdrawn, ripe.ended, ripe.records, ripe.kept), (groups(&[]), groups(&[]), second, true));
        assert_eq!(weigh(groups(&[4]), &records, true), Ripe { kept: true, ..Ripe::default() });
    }
}
