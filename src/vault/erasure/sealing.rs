//! From approved to sealed, on the committer's thread: one epoch transition for everything that waits (docs/ERASURE.md).
//!
//! 1. The keyring gets the new epoch's key beside the old one's.
//! 2. The trail gets the entries, durably; then one atomic batch removes rows and aliases, writes the re-keyed tree and
//!    moves each erasure to `unlinked`, durably.
//! 3. The old epoch's key is overwritten. From here on nobody opens a leftover: sealed.
//! 4. The vault tries every way back and issues the certificate.
//!
//! A process that ends before 2 has changed nothing; one that ends after 2 finishes 3 and 4 at its next start.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use keys::{Alias, Group, GroupSet, Id, Shred, Transition};
use tokio::sync::oneshot;

use crate::audit::{Entry, Note, Outcome};
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{DeliveryId, ErasureId, RecordId, RequestId, SubjectId, TenantId};
use crate::model::standing::Standing;
use crate::model::wire::{Cause, ErasureState};
use crate::store::Row;
use crate::store::layout::{self, Meta, RecordHead, RecordRow, RowKey, Wrap, prefix};
use crate::tenant::Tenant;

use super::super::bundles;
use super::super::call::Refused;
use super::super::callbacks;
use super::super::committer::{Draft, settle};
use super::super::core::{Core, key_groups};
use super::super::outbox;
use super::super::papers;
use super::super::places;
use super::super::records::{label_context, whole, wrapped};
use super::super::requests;
use super::super::rows::{CountRow, ErasureRow, KeptRow, LabelRow, RecipientRow, SubjectRow, pack, unpack};
use super::certify::{self, Before};
use super::holding::{self, HOLD};

/// What is to be destroyed.
pub(crate) enum Target {
    /// Every key of a subject, and its aliases.
    Subject { subject: Id },
    /// Some groups' keys.
    Groups { subject: Id, groups: u32 },
    /// Some records' keys.
    Records { subject: Id, records: Vec<Id> },
    /// What a legal hold kept and nothing else keeps; `lifted` is the hold's own row from then on.
    Release { subject: Id, hold: Id, lifted: Row },
    /// The papers of a request or a case, with their key.
    Papers { file: Id },
    /// Nothing but the epoch.
    Epoch,
}

/// The erasure behind a destruction.
pub(crate) struct Job {
    pub(crate) id: ErasureId,
    /// The row as the approver saw it, none where it is opened by this destruction itself; another state by now refuses.
    pub(crate) stored: Option<Vec<u8>>,
    pub(crate) approver: Id,
    pub(crate) claim_sha256: Option<[u8; 32]>,
    pub(crate) row: ErasureRow,
}

type Reply = oneshot::Sender<Result<Option<ErasureRow>, Refused>>;

/// Whether the reason for a destruction still holds, asked on the committer's thread right before it.
pub(crate) type Still = Box<dyn Fn(&Core) -> Result<bool, Refused> + Send>;

/// A destruction and who waits for it.
pub(crate) struct Shredding {
    /// The entry of the opening, where opening and carrying out are one act.
    opening: Option<Entry>,
    entry: Entry,
    target: Target,
    job: Option<Job>,
    still: Option<Still>,
    reply: Reply,
}

impl Shredding {
    /// A destruction that will be noted by `entry`, and where its outcome comes from.
    pub(crate) fn new(
        entry: Entry,
        target: Target,
        job: Option<Job>,
    ) -> (Self, oneshot::Receiver<Result<Option<ErasureRow>, Refused>>) {
        let (reply, answer) = oneshot::channel();
        (Self { opening: None, entry, target, job, still: None, reply }, answer)
    }

    /// The same, opened by this act itself, as `opening` notes, and carried out only if `still` holds then.
    pub(crate) fn opened_by(self, opening: Entry, still: Still) -> Self {
        Self { opening: Some(opening), still: Some(still), ..self }
    }

    fn subject(&self) -> Option<Id> {
        match &self.target {
            Target::Subject { subject }
            | Target::Groups { subject, .. }
            | Target::Records { subject, .. }
            | Target::Release { subject, .. } => Some(*subject),
            Target::Papers { file } => Some(*file),
            Target::Epoch => None,
        }
    }
}

/// What one destruction does to rows and keys.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) shreds: Vec<Shred>,
    pub(super) removed: Vec<Vec<u8>>,
    /// Records that lose wraps: key, row, groups whose wrap goes.
    pub(super) narrowed: Vec<(Vec<u8>, RecordRow, GroupSet)>,
    /// Records whose wraps move to new group keys.
    pub(super) moved: Vec<(Vec<u8>, Id, RecordRow, GroupSet)>,
    /// The subject's own row in its new form.
    pub(super) state: Option<Row>,
    /// Other rows in their new form.
    pub(super) rewritten: Vec<Row>,
    tombstone: Option<Vec<u8>>,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) aliases: Vec<Alias>,
    /// What stays, and why.
    pub(super) kept: Vec<KeptRow>,
    /// Fields of records that go.
    gone: FieldSet,
    /// Who is told.
    recipients: Vec<RecipientRow>,
}

/// Carries out everything that waits; two destructions of one subject take two transitions.
pub(crate) fn shred_all(core: &Core, mut waiting: Vec<Shredding>) {
    while !waiting.is_empty() {
        let mut subjects = HashSet::new();
        let (now, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|shredding| shredding.subject().is_none_or(|subject| subjects.insert(subject)));
        round(core, now);
        waiting = later;
    }
}

fn round(core: &Core, waiting: Vec<Shredding>) {
    let mut planned = Vec::with_capacity(waiting.len());
    for shredding in waiting {
        match plan(core, &shredding) {
            Ok(plan) => planned.push((shredding, plan)),
            Err(refused) => {
                let _ = shredding.reply.send(Err(refused));
            }
        }
    }
    if planned.is_empty() {
        return;
    }
    match transition(core, &mut planned) {
        Ok(rows) => {
            let rows = Arc::new(rows);
            for (shredding, plan) in planned {
                let outcome = match shredding.job {
                    // A place of the keyring went away in the middle of it: the old epoch's key may still be there.
                    Some(job) if !core.hierarchy.is_closed() => {
                        core.unsealed.store(true, Ordering::Relaxed);
                        Ok(Some(job.row))
                    }
                    Some(job) => {
                        let before = Before { rows: rows.clone(), aliases: plan.aliases };
                        let certified = certify::certify(core, job.id, job.row, &before).map(Some);
                        // The person is gone; only what says so is missing, and housekeeping makes it up.
                        certified.inspect_err(|_| core.unsealed.store(true, Ordering::Relaxed))
                    }
                    None => Ok(None),
                };
                let _ = shredding.reply.send(outcome);
            }
            // Those of before, where this transition met every place.
            places::seal_waiting(core);
        }
        Err(refused) if planned.len() == 1 => {
            for (shredding, _) in planned {
                let _ = shredding.reply.send(Err(refused.clone()));
            }
        }
        // One that cannot be carried out must not take the others with it: each for itself.
        Err(_) => planned.into_iter().for_each(|(shredding, _)| round(core, vec![shredding])),
    }
}

fn transition(core: &Core, planned: &mut [(Shredding, Plan)]) -> Result<Vec<Row>, Refused> {
    let shreds: Vec<Shred> = planned.iter_mut().flat_map(|(_, plan)| std::mem::take(&mut plan.shreds)).collect();
    let transition = core.hierarchy.begin(&core.rows(), &shreds)?;
    let unlinked = old_rows(core, &transition).and_then(|replaced| unlink(core, planned, &transition).map(|()| replaced));
    let replaced = match unlinked {
        Ok(replaced) => replaced,
        Err(refused) => {
            if let Err(error) = core.hierarchy.abandon(transition) {
                tracing::error!(error = %error, "the unused epoch key could not be overwritten; the next start does it");
            }
            return Err(refused);
        }
    };
    let whole = shreds.iter().filter_map(|shred| if let Shred::Subject(id) = shred { Some(*id) } else { None });
    let subjects: Vec<Id> = planned.iter().filter_map(|(shredding, _)| shredding.subject()).chain(whole).collect();
    let sealed = core.hierarchy.finish(transition);
    // After finishing, so that nobody loads the old keys once more and takes them for the new ones.
    core.people.destroyed(&subjects);
    let gone = planned.iter().filter_map(|(shredding, _)| match &shredding.target {
        Target::Subject { subject } => Some(*subject),
        _ => None,
    });
    core.incidents.forget(&gone.collect());
    for (shredding, _) in planned.iter() {
        if let Target::Subject { subject } = &shredding.target {
            core.registry.forget_subject(subject);
        }
    }
    if let Err(error) = sealed {
        tracing::error!(error = %error, "the old epoch's key could not be overwritten");
        (core.on_fatal)("overwriting the old epoch's key; the next start does it");
        return Err(error.into());
    }
    *core.epoch_since.write() = core.clock.now();
    Ok(replaced)
}

/// The rows that the transition replaces, for the self-test.
fn old_rows(core: &Core, transition: &Transition) -> Result<Vec<Row>, Refused> {
    let mut rows = Vec::with_capacity(transition.writes().len());
    for write in transition.writes() {
        if let Some(old) = core.store.row(&write.key)? {
            rows.push((write.key.clone(), old));
        }
    }
    Ok(rows)
}

/// Step 2: the entries and the batch.
fn unlink(core: &Core, planned: &mut [(Shredding, Plan)], transition: &Transition) -> Result<(), Refused> {
    let mut draft = Draft::new(core);
    let mut entries = Vec::with_capacity(planned.len() + 1);
    let (closed, opened) = (core.hierarchy.epoch(), transition.epoch());
    for (shredding, plan) in planned.iter_mut() {
        entries.extend(shredding.opening.clone());
        let mut entry = shredding.entry.clone();
        for key in &plan.removed {
            draft.note(&mut entry, key.clone(), false, None)?;
        }
        for (key, row, lost) in &plan.narrowed {
            let mut row = row.clone();
            row.wraps.retain(|wrap| Group::new(wrap.group).is_none_or(|group| !lost.contains(group)));
            put_record(&mut draft, &mut entry, key, &row)?;
        }
        for (key, record, row, renewed) in &plan.moved {
            let subject = shredding.subject().ok_or(Code::Internal)?;
            let mut row = row.clone();
            for wrap in &mut row.wraps {
                rewrap(transition, &subject, record, renewed, wrap)?;
            }
            put_record(&mut draft, &mut entry, key, &row)?;
        }
        for (key, value) in plan.state.take().into_iter().chain(std::mem::take(&mut plan.rewritten)) {
            draft.note(&mut entry, key, false, Some(value))?;
        }
        if let Some(tombstone) = &plan.tombstone {
            let erased_at = core.clock.now().as_microsecond().to_be_bytes();
            let sealed = core.hierarchy.seal_row(tombstone, &erased_at)?;
            draft.note(&mut entry, tombstone.clone(), false, Some(sealed))?;
        }
        if let Some(job) = &mut shredding.job {
            let now = core.clock.now();
            // One that waited for a hold goes on where it was.
            let waited = job.row.state()? == ErasureState::Partial;
            let states = [ErasureState::Verified, ErasureState::Approved, ErasureState::Unlinked];
            for state in states.into_iter().skip(if waited { 2 } else { 0 }) {
                job.row.reach(state, now)?;
            }
            job.row.approver = Some(job.approver);
            job.row.claim_sha256 = job.claim_sha256;
            job.row.epoch_closed = Some(closed);
            job.row.counts =
                plan.counts.iter().map(|(category, count)| CountRow { category: category.clone(), count: *count }).collect();
            job.row.aliases = plan.aliases.len() as u32;
            job.row.kept = std::mem::take(&mut plan.kept);
            job.row.recipients.append(&mut plan.recipients);
            draft.note(&mut entry, RowKey::Erasure(job.id).bytes(), false, Some(super::seal(core, job.id, &job.row)?))?;
        }
        entries.push(entry);
    }
    let mut tree = core.event("epoch", Outcome::Done, Note::Epoch { closed, opened })?;
    for write in transition.writes() {
        draft.note(&mut tree, write.key.clone(), false, write.value.clone())?;
    }
    let opened_at = core.clock.now().as_microsecond().to_be_bytes();
    draft.put(RowKey::Meta(Meta::EpochOpened).bytes(), Some(opened_at.to_vec()));
    entries.push(tree);
    settle(core, &mut draft, entries)
}

/// A record's own row in its new form; its overflow rows stay as they are.
fn put_record(draft: &mut Draft<'_>, entry: &mut Entry, key: &[u8], row: &RecordRow) -> Result<(), Refused> {
    let Some(RowKey::Record(subject, record)) = RowKey::parse(key) else { return Err(Code::Internal.into()) };
    let rows = layout::split(&subject, &record, row)?;
    for (key, value) in rows {
        draft.note(entry, key, false, Some(value))?;
    }
    Ok(())
}

fn rewrap(transition: &Transition, subject: &Id, record: &Id, renewed: &GroupSet, wrap: &mut Wrap) -> Result<(), Refused> {
    let Some(group) = Group::new(wrap.group).filter(|group| renewed.contains(*group)) else { return Ok(()) };
    let bytes = transition.rewrap(subject, record, group, &wrap.bytes)?;
    wrap.bytes = bytes.try_into().map_err(|_| Code::Internal)?;
    Ok(())
}

fn plan(core: &Core, shredding: &Shredding) -> Result<Plan, Refused> {
    if let Some(job) = &shredding.job {
        let current = core.store.row(&RowKey::Erasure(job.id).bytes())?;
        if current != job.stored {
            return Err(Code::StateConflict.into());
        }
    }
    if let Some(still) = &shredding.still
        && !still(core)?
    {
        return Err(Code::StateConflict.into());
    }
    if let Target::Papers { file } = &shredding.target {
        let mut plan = Plan::default();
        papers_of(core, file, &mut plan)?;
        return if plan.shreds.is_empty() { Err(Code::Erased.into()) } else { Ok(plan) };
    }
    let Some(subject) = shredding.subject() else { return Ok(Plan::default()) };
    let Some(keys) = core.hierarchy.subject(&core.rows(), &subject)? else {
        return Err(Code::Erased.into());
    };
    let id = SubjectId::from_bytes(subject);
    let key = RowKey::Subject(id).bytes();
    let sealed = core.store.row(&key)?.ok_or(Code::Erased)?;
    let row: SubjectRow = unpack(keys.open_row(&key, &sealed)?.bytes())?;
    let erasure = shredding.job.as_ref().map(|job| job.id);
    let tenant = core.tenants.get(&TenantId::from_bytes(row.tenant));
    let mut plan = Plan::default();
    // A bundle holds what was there when it was made: it goes with any part of it.
    for asked in &row.standing.requests {
        papers_of(core, &bundles::file_of(core, &asked.request), &mut plan)?;
    }
    match &shredding.target {
        Target::Epoch | Target::Papers { .. } => {}
        Target::Subject { .. } => match erasure {
            Some(erasure) if row.standing.holds().next().is_some() => {
                holding::all_but_held(core, &id, &keys, row, erasure, &mut plan)?;
            }
            _ => everything_of(core, &id, &keys, &row, erasure, &mut plan)?,
        },
        Target::Groups { groups, .. } => {
            let groups = GroupSet::from_bits(*groups).ok_or(Code::Internal)?;
            let closing = match &shredding.job {
                Some(job) => job.row.cause()? == Cause::AccountClosure,
                None => false,
            };
            some_groups(core, &id, &keys, row, (groups, closing), &mut plan)?;
        }
        Target::Records { records, .. } => some_records(core, &id, &keys, &row, records, &mut plan)?,
        Target::Release { hold, lifted, .. } => {
            plan.rewritten.push(lifted.clone());
            holding::release(core, &id, &keys, row, hold, erasure, &mut plan)?;
            // With everything else of the subject goes the hold's own row.
            plan.rewritten.retain(|(key, _)| !plan.removed.contains(key));
        }
    }
    if let Some(tenant) = tenant {
        tell(core, &tenant, &id, &keys, &shredding.target, &mut plan)?;
    }
    if let Some(Job { id: erasure, row: ErasureRow { request: Some(request), .. }, .. }) = &shredding.job {
        let fulfilled = requests::erased(core, RequestId::from_bytes(*request), *erasure)?;
        // With the whole person every request of theirs was seen to.
        if matches!(shredding.target, Target::Groups { .. } | Target::Records { .. }) {
            plan.rewritten.push(fulfilled);
        }
    }
    Ok(plan)
}

/// Tells past recipients, with the same batch (GDPR Art. 19): afterwards nobody knows any more by which name they know the person.
fn tell(
    core: &Core,
    tenant: &Tenant,
    id: &SubjectId,
    keys: &keys::SubjectKeys,
    target: &Target,
    plan: &mut Plan,
) -> Result<(), Refused> {
    let gone = plan.gone;
    let told = match target {
        Target::Subject { .. } => callbacks::tell(core, tenant, id, keys, callbacks::Event::Erasure, callbacks::all)?,
        Target::Groups { groups, .. } => {
            // What a dying group was given out for is over, whatever other group still keeps the record.
            let dies = |purpose: &str| {
                let group = tenant.purpose(purpose).and_then(|purpose| purpose.group);
                group.is_some_and(|group| groups & (1 << group.number()) != 0)
            };
            callbacks::tell(core, tenant, id, keys, callbacks::Event::Deletion, |row| {
                if dies(&row.purpose) { callbacks::all(row) } else { callbacks::among(row, &gone) }
            })?
        }
        Target::Records { .. } => {
            callbacks::tell(core, tenant, id, keys, callbacks::Event::Deletion, |row| callbacks::among(row, &gone))?
        }
        // What was held was told when everything else went.
        Target::Release { .. } | Target::Papers { .. } | Target::Epoch => return Ok(()),
    };
    plan.rewritten.extend(told.rows);
    plan.recipients = told.recipients;
    Ok(())
}

pub(super) fn everything_of(
    core: &Core,
    id: &SubjectId,
    keys: &keys::SubjectKeys,
    row: &SubjectRow,
    erasure: Option<ErasureId>,
    plan: &mut Plan,
) -> Result<(), Refused> {
    let subject = id.bytes();
    plan.shreds.push(Shred::Subject(*subject));
    plan.shreds.extend(row.found_by().map(|alias| Shred::Alias(alias, *subject)));
    plan.aliases = row.found_by().collect();
    plan.tombstone = Some(core.tombstone(&row.tenant, subject));
    files_of(core, &row.standing, erasure, plan)?;
    for prefix in prefix::all_of(id) {
        each(core, &prefix, |key, value| {
            if let Some(RowKey::Record(_, record)) = RowKey::parse(key) {
                count(keys, id, &record, value, plan)?;
            }
            remove(key, plan);
            Ok(())
        })?;
    }
    Ok(())
}

/// One row of a subject goes, and with a notice or an update the message that would have taken it there.
pub(super) fn remove(key: &[u8], plan: &mut Plan) {
    match RowKey::parse(key) {
        Some(RowKey::Notice(_, notice)) => plan.removed.push(RowKey::Delivery(outbox::of_notice(notice)).bytes()),
        Some(RowKey::Update(_, update)) => plan.removed.push(RowKey::Delivery(DeliveryId::from_bytes(update)).bytes()),
        _ => {}
    }
    plan.removed.push(key.to_vec());
}

/// Of a person's requests, and of the cases about them, stay rows that name nobody; their papers go with their keys.
pub(super) fn files_of(core: &Core, standing: &Standing, by: Option<ErasureId>, plan: &mut Plan) -> Result<(), Refused> {
    plan.rewritten.extend(requests::unlinked(core, standing, by)?);
    standing.requests.iter().chain(&standing.cases).try_for_each(|own| papers_of(core, &own.request, plan))
}

/// The key and the papers of a file, where there are any (any more).
fn papers_of(core: &Core, file: &Id, plan: &mut Plan) -> Result<(), Refused> {
    if papers::open(core, file)?.is_some() {
        plan.shreds.push(Shred::Subject(*file));
        each(core, &prefix::papers(file), |key, _| {
            plan.removed.push(key.to_vec());
            Ok(())
        })?;
    }
    Ok(())
}

/// Some groups; of a closed account also what the person could be found by.
fn some_groups(
    core: &Core,
    id: &SubjectId,
    keys: &keys::SubjectKeys,
    mut row: SubjectRow,
    (groups, closing): (GroupSet, bool),
    plan: &mut Plan,
) -> Result<(), Refused> {
    let subject = id.bytes();
    let dying = groups.intersection(keys.groups()).without(HOLD);
    plan.shreds.push(Shred::Groups(*subject, dying));
    row.erased_groups |= groups.bits();
    if closing {
        plan.shreds.extend(row.found_by().map(|alias| Shred::Alias(alias, *subject)));
        plan.aliases = row.found_by().collect();
        row.aliases.clear();
        (row.birth_date, row.child) = (None, None);
        let names = |tenant: &Tenant| {
            let left = keys.groups().without(dying).without(HOLD);
            tenant.group_names(crate::model::purpose::GroupSet::from_bits(left.bits()))
        };
        let left = core.tenants.get(&TenantId::from_bytes(row.tenant)).map(|tenant| names(&tenant)).unwrap_or_default();
        let kept = |name: String| KeptRow { what: format!("group:{name}"), rule: "retention".into(), until: None };
        plan.kept.extend(left.into_iter().map(kept));
    }
    if let Some(tenant) = core.tenants.get(&TenantId::from_bytes(row.tenant)) {
        super::super::consents::destroyed(&mut row.standing, &tenant, groups);
    }
    let key = RowKey::Subject(*id).bytes();
    plan.state = Some((key.clone(), keys.seal_row(&key, &pack(&row)?)?));
    let mut held = Vec::new();
    each(core, &prefix::records(id), |key, value| {
        let Some(RowKey::Record(_, record)) = RowKey::parse(key) else { return Ok(()) };
        let (row, wraps) = whole_row(core, id, &record, value)?;
        if wraps.intersection(dying).is_empty() {
            return Ok(());
        }
        if wraps.without(dying).is_empty() {
            count(keys, id, &record, value, plan)?;
            plan.removed.extend(layout::keys_of(id, &record, value)?);
        } else {
            if wraps.without(dying) == HOLD {
                held.push(record);
            }
            plan.narrowed.push((key.to_vec(), row, dying));
        }
        Ok(())
    })?;
    plan.kept.extend(holding::held(&row.standing, &held));
    Ok(())
}

fn some_records(
    core: &Core,
    id: &SubjectId,
    keys: &keys::SubjectKeys,
    subject: &SubjectRow,
    records: &[Id],
    plan: &mut Plan,
) -> Result<(), Refused> {
    let mut renewed = GroupSet::EMPTY;
    let mut held = Vec::new();
    for record in records {
        let record = RecordId::from_bytes(*record);
        // One that was deleted since the erasure was opened is gone already.
        let key = RowKey::Record(*id, record).bytes();
        let Some(value) = core.store.row(&key)? else { continue };
        let (row, wraps) = whole_row(core, id, &record, &value)?;
        renewed = renewed.union(wraps.without(HOLD));
        if wraps.contains(Group::HOLD) {
            held.push(record);
            plan.narrowed.push((key, row, wraps.without(HOLD)));
            continue;
        }
        count(keys, id, &record, &value, plan)?;
        plan.removed.extend(layout::keys_of(id, &record, &value)?);
    }
    plan.kept.extend(holding::held(&subject.standing, &held));
    plan.shreds.push(Shred::Renew(*id.bytes(), renewed.intersection(keys.groups())));
    each(core, &prefix::records(id), |key, value| {
        let Some(RowKey::Record(_, record)) = RowKey::parse(key) else { return Ok(()) };
        if records.contains(record.bytes()) {
            return Ok(());
        }
        let (row, wraps) = whole_row(core, id, &record, value)?;
        if !wraps.intersection(renewed).is_empty() {
            plan.moved.push((key.to_vec(), *record.bytes(), row, renewed));
        }
        Ok(())
    })
}

/// A record with its envelope, and the groups that still have a wrap of its key.
pub(super) fn whole_row(
    core: &Core,
    subject: &SubjectId,
    record: &RecordId,
    value: &[u8],
) -> Result<(RecordRow, GroupSet), Refused> {
    let row = whole(core, subject, record, value)?;
    let wraps = key_groups(wrapped(&row));
    Ok((row, wraps))
}

/// Counts a record's fields by category, for the certificate, and notes which they are, for past recipients.
pub(super) fn count(
    keys: &keys::SubjectKeys,
    subject: &SubjectId,
    record: &RecordId,
    value: &[u8],
    plan: &mut Plan,
) -> Result<(), Refused> {
    let head = RecordHead::parse(value)?;
    let plain = keys.open_row(&label_context(subject, record), head.label)?;
    let label: LabelRow = unpack(plain.bytes())?;
    for field in label.fields {
        *plan.counts.entry(field.category).or_default() += 1;
        plan.gone.insert(field.number);
    }
    *plan.counts.entry("records".into()).or_default() += 1;
    Ok(())
}

pub(super) fn each(core: &Core, prefix: &[u8], mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Refused>) -> Result<(), Refused> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(prefix, after.as_deref(), 500)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, value) in &page {
            take(key, value)?;
        }
    }
}
