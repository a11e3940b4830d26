//! Whom an incident concerns: the entries of the trail that its scope covers, and the people behind their tags.
//!
//! The trail names nobody. Who is behind a tag is found by going through the people who live in the vault and making each one's
//! tag with their own key; of who is gone there is no key, so their tags stay tags. Nothing of this is stored: the last answers are
//! kept in memory, grow with the trail, and are held against the living each time that somebody is named.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use parking_lot::Mutex;

use crate::audit::{Entry, Note, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{CallerId, IncidentId, SubjectId, TokenId};
use crate::model::purpose::Group;
use crate::model::wire::{AffectedPerson, AffectedView, IncidentScope};
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::super::call::Refused;
use super::super::core::{Core, Person};
use super::super::rows::time;
use super::super::trail::is_of;

/// Entries of the trail that are read together.
const ENTRIES: usize = 1_000;

/// People that are looked at together.
const PEOPLE: usize = 1_000;

/// Incidents whose people are kept in memory.
const KEPT: usize = 4;

/// What an operation does to the people that its entry names, where it was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// It tells somebody something about them.
    Tells,
    /// It changes or deletes something of them.
    Changes,
    /// Neither.
    Neither,
}

/// What each operation does.
const fn does(operation: Operation) -> Does {
    use Operation::*;
    match operation {
        LookupSubject | GetSubject | ReadRecords | QueryRecords | VerifySecret | ExplainDecision | ListConsents
        | GetConsentReceipt | ListRequests | GetRequest | GetRequestResult | GetCase | Disclose | ListDisclosures
        | GetIncident => Does::Tells,
        // A step may answer the download code, and a token opens what its person may see: an entry does not say what came of it.
        AdvanceRequest | IssueToken => Does::Tells,
        CreateSubject | WriteRecord | RectifyRecord | DeleteRecord | RecordConsent | SetPreference | PutContract
        | RestrictSubject | LiftRestriction | OpenRequest | OpenErasure | ApproveErasure | OpenCase | ApproveCase
        | SendNotice => Does::Changes,
        GetErasure | GetPolicyVersion | PublishPolicy | ReadConfig | DraftConfig | GetRopa | OperateKeys | ListKeys
        | PutIncident | ListAuditEvents | GetCheckpoint | PutCaller | StepUp | RecordStats | ReadStats => Does::Neither,
    }
}

/// A scope as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct ScopeRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub token: Option<[u8; 16]>,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub caller: Option<[u8; 16]>,
    #[n(2)]
    pub certificate: Option<String>,
    #[n(3)]
    pub group: Option<String>,
    #[n(4)]
    pub epoch: Option<u64>,
    /// Microseconds since 1970, like `until`.
    #[n(5)]
    pub from: Option<i64>,
    #[n(6)]
    pub until: Option<i64>,
    #[n(7)]
    pub changes: bool,
}

impl ScopeRow {
    /// A scope as it came.
    pub(crate) fn of(scope: &IncidentScope) -> Self {
        Self {
            token: scope.token.map(|id| *id.bytes()),
            caller: scope.caller.map(|id| *id.bytes()),
            certificate: scope.certificate.clone(),
            group: scope.group.clone(),
            epoch: scope.epoch,
            from: scope.from.map(|at| at.as_microsecond()),
            until: scope.until.map(|at| at.as_microsecond()),
            changes: scope.changes,
        }
    }

    /// The scope as it is answered.
    pub(crate) fn view(&self) -> IncidentScope {
        IncidentScope {
            token: self.token.map(TokenId::from_bytes),
            caller: self.caller.map(CallerId::from_bytes),
            certificate: self.certificate.clone(),
            group: self.group.clone(),
            epoch: self.epoch,
            from: self.from.map(time),
            until: self.until.map(time),
            changes: self.changes,
        }
    }
}

/// What of one person was released or changed.
#[derive(Debug, Clone, Copy)]
struct Exposure {
    /// The first entry.
    first: u64,
    first_at: i64,
    last_at: i64,
    calls: u32,
    fields: FieldSet,
    /// Places in [`Affected::purposes`].
    purposes: u128,
    /// Places in [`Operation::ALL`].
    operations: u64,
}

/// Whom an incident concerns, as far as the trail was looked at.
#[derive(Clone, Default)]
pub(crate) struct Affected {
    /// The first entry that was not looked at.
    pub(crate) upto: u64,
    exposures: BTreeMap<[u8; 16], Exposure>,
    purposes: Vec<String>,
    /// How often each operation was let through for somebody.
    operations: BTreeMap<&'static str, u64>,
    without_person: BTreeMap<String, u64>,
    /// The living behind the tags, with where they live.
    people: HashMap<[u8; 16], (SubjectId, String)>,
    /// As of which destruction they lived.
    as_of: u64,
    /// Tags that nobody has who lives.
    nobodys: HashSet<[u8; 16]>,
    /// People whose rows did not open.
    unreadable: u64,
    /// Entries whose rows never reached the store.
    voided: HashSet<u64>,
    /// The entries at which the epoch of the scope was opened and closed; none is not yet.
    epoch: (Option<u64>, Option<u64>),
    /// The last approval of an erasure of each tag, where the scope is an epoch.
    erasures: HashMap<[u8; 16], u64>,
}

/// The last incidents that somebody looked at.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<(IncidentId, ScopeRow, Arc<Affected>)>>);

impl Kept {
    /// Forgets who is behind the tags of people who were erased.
    pub(crate) fn forget(&self, gone: &HashSet<[u8; 16]>) {
        let mut kept = self.0.lock();
        for (_, _, affected) in kept.iter_mut().filter(|_| !gone.is_empty()) {
            let is_gone = |(subject, _): &(SubjectId, String)| gone.contains(subject.bytes());
            if affected.people.values().any(is_gone) {
                let affected = Arc::make_mut(affected);
                let tags: Vec<[u8; 16]> = affected.people.iter().filter(|(_, one)| is_gone(one)).map(|(tag, _)| *tag).collect();
                tags.iter().for_each(|tag| drop(affected.people.remove(tag)));
                affected.nobodys.extend(tags);
            }
        }
    }
}

/// Whom the incident concerned when the trail had so many entries, and who of them was there at the last look.
pub(super) fn as_of(
    core: &Core,
    tenant: &Tenant,
    id: IncidentId,
    scope: &ScopeRow,
    entries: u64,
) -> Result<Arc<Affected>, Refused> {
    let known = {
        let kept = core.incidents.0.lock();
        let mut known = kept.iter().filter(|(own, of, affected)| *own == id && of == scope && affected.upto >= entries);
        known.next().map(|(_, _, affected)| affected.clone())
    };
    known.map_or_else(|| affected(core, tenant, id, scope), Ok)
}

/// Whom the incident concerns as of now. It goes on where the last look ended. It may take seconds: not for a thread that
/// others wait on.
pub(crate) fn affected(core: &Core, tenant: &Tenant, id: IncidentId, scope: &ScopeRow) -> Result<Arc<Affected>, Refused> {
    let known = {
        let mut kept = core.incidents.0.lock();
        let place = kept.iter().position(|(own, of, _)| *own == id && of == scope);
        place.map(|place| kept.remove(place).2)
    };
    let mut affected = known.map_or_else(Affected::default, Arc::unwrap_or_clone);
    affected.read(core, tenant, scope)?;
    affected.name(core, tenant, scope)?;
    let affected = Arc::new(affected);
    let mut kept = core.incidents.0.lock();
    kept.truncate(KEPT - 1);
    kept.insert(0, (id, scope.clone(), affected.clone()));
    Ok(affected)
}

impl Affected {
    /// Reads the trail from where the last look ended.
    fn read(&mut self, core: &Core, tenant: &Tenant, scope: &ScopeRow) -> Result<(), Refused> {
        let end = core.trail.durable_size();
        let filter = Filter::new(core, tenant, scope);
        while self.upto < end {
            let page = core.trail.entries(self.upto, ENTRIES)?;
            if page.is_empty() {
                break;
            }
            for (index, entry) in page.into_iter().take_while(|(index, _)| *index < end) {
                self.upto = index + 1;
                if let Note::Void { entries } = &entry.note {
                    self.voided.extend(entries);
                }
                if let Some(epoch) = scope.epoch {
                    self.take_epoch(epoch, index, &entry);
                }
                if filter.fits(core, tenant, &entry)? {
                    self.take(index, &entry);
                }
            }
        }
        // What a batch announced that never came, and nothing else, concerns nobody.
        let voided = &self.voided;
        self.exposures.retain(|_, exposure| exposure.calls > 1 || !voided.contains(&exposure.first));
        if scope.epoch.is_some() {
            let (opened, closed) = self.epoch;
            self.exposures.retain(|_, exposure| closed.is_none_or(|closed| exposure.first < closed));
            // Who was erased before the epoch had no key in it. Whoever lives lost a part then, and no more.
            let early = |tag: &[u8; 16]| self.erasures.get(tag).is_some_and(|at| opened.is_some_and(|opened| *at < opened));
            let early: HashSet<[u8; 16]> = self.exposures.keys().copied().filter(early).collect();
            let living = people_behind(core, tenant, &early, &mut 0)?;
            self.exposures.retain(|tag, _| !early.contains(tag) || living.contains_key(tag));
        }
        Ok(())
    }

    /// Notes when the epoch began and ended, and who was erased when.
    fn take_epoch(&mut self, epoch: u64, at: u64, entry: &Entry) {
        if let Note::Epoch { closed, opened } = entry.note {
            if opened == epoch {
                self.epoch.0 = Some(at);
            }
            if closed == epoch {
                self.epoch.1 = Some(at);
            }
        }
        if let Some(tag) = entry.tag.filter(|_| entry.operation == Operation::ApproveErasure.text()) {
            self.erasures.insert(tag, at);
        }
    }

    fn take(&mut self, index: u64, entry: &Entry) {
        let operation = Operation::named(&entry.operation);
        let name = operation.map_or("", Operation::text);
        let Some(tag) = entry.tag else {
            *self.without_person.entry(name.to_owned()).or_default() += 1;
            return;
        };
        *self.operations.entry(name).or_default() += 1;
        let purpose = entry.purpose.as_ref().map_or(0, |purpose| {
            let place = self.purposes.iter().position(|own| own == purpose).unwrap_or_else(|| {
                self.purposes.push(purpose.clone());
                self.purposes.len() - 1
            });
            // More purposes than a policy has: the last place stands for the rest.
            1_u128 << place.min(127)
        });
        let place = operation.and_then(|one| Operation::ALL.iter().position(|own| *own == one));
        let at = entry.at.as_microsecond();
        let exposure = self.exposures.entry(tag).or_insert(Exposure {
            first: index,
            first_at: at,
            last_at: at,
            calls: 0,
            fields: FieldSet::EMPTY,
            purposes: 0,
            operations: 0,
        });
        exposure.calls = exposure.calls.saturating_add(1);
        exposure.first_at = exposure.first_at.min(at);
        exposure.last_at = exposure.last_at.max(at);
        entry.fields.iter().for_each(|number| exposure.fields.insert(*number));
        exposure.purposes |= purpose;
        exposure.operations |= place.map_or(0, |place| 1 << place.min(63));
    }

    /// Finds the living behind tags that are new since the last look.
    fn name(&mut self, core: &Core, tenant: &Tenant, scope: &ScopeRow) -> Result<(), Refused> {
        // Who was there at an earlier look and is not any more was erased meanwhile.
        let now = core.people.count();
        if now != self.as_of {
            let as_of = self.as_of;
            let lives = |subject: &SubjectId| {
                core.people.is_current(subject.bytes(), as_of) || core.person(tenant, *subject).is_ok_and(|found| found.is_some())
            };
            self.people.retain(|_, (subject, _)| lives(subject));
            self.as_of = now;
        }
        let is_new = |tag: &&[u8; 16]| !self.people.contains_key(*tag) && !self.nobodys.contains(*tag);
        let unknown: HashSet<[u8; 16]> = self.exposures.keys().filter(is_new).copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let group = scope.epoch.and(scope.group.as_deref()).and_then(|group| tenant.group(group));
        let behind = people_behind(core, tenant, &unknown, &mut self.unreadable)?;
        for (tag, person) in behind {
            // An epoch's key opens no group that somebody never had.
            if group.is_some_and(|group| !had(&person, group)) {
                self.exposures.remove(&tag);
                continue;
            }
            self.people.insert(tag, (person.id, person.row.jurisdiction.clone()));
        }
        // A tag that nobody has is nobody's for good, but where its entry may have come before its rows.
        if self.unreadable == 0 && scope.epoch.is_none() && !scope.changes {
            self.nobodys.extend(unknown.iter().filter(|tag| !self.people.contains_key(*tag)));
        }
        Ok(())
    }

    /// People in each jurisdiction.
    pub(crate) fn jurisdictions(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        self.people.values().for_each(|(_, jurisdiction)| *counts.entry(jurisdiction.clone()).or_default() += 1);
        counts
    }

    /// Whom it concerns, in numbers.
    pub(crate) fn view(&self, tenant: &Tenant, everything: bool) -> AffectedView {
        let mut numbers = FieldSet::EMPTY;
        let mut purposes = 0;
        for exposure in self.exposures.values() {
            exposure.fields.iter().for_each(|number| numbers.insert(number));
            purposes |= exposure.purposes;
        }
        let categories = numbers.iter().filter_map(|number| tenant.field_numbered(number)).map(|field| field.category.clone());
        AffectedView {
            people: self.people.len() as u64,
            erased: (self.exposures.len() - self.people.len()) as u64,
            unreadable: self.unreadable,
            jurisdictions: self.jurisdictions(),
            fields: field_names(tenant, &numbers).into_iter().collect(),
            categories: categories.collect(),
            purposes: self.purpose_names(purposes).into_iter().collect(),
            operations: self.operations.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            without_person: self.without_person.clone(),
            everything,
            entries: self.upto,
        }
    }

    /// The living, a page of them in the order of their tags, and the last tag where there are more. `named` is for those who
    /// may know who they are.
    pub(crate) fn page(
        &self,
        core: &Core,
        tenant: &Tenant,
        after: Option<[u8; 16]>,
        limit: usize,
        named: bool,
    ) -> Result<(Vec<AffectedPerson>, Option<[u8; 16]>), Refused> {
        let (mut page, mut last) = (Vec::new(), None);
        for (tag, exposure) in self.behind(after) {
            if page.len() == limit {
                return Ok((page, last));
            }
            let Some((subject, _)) = self.people.get(tag) else { continue };
            // Held against the living once more: an erasure may have come since the list was made.
            let Some(_) = core.person(tenant, *subject)? else { continue };
            last = Some(*tag);
            page.push(AffectedPerson {
                tag: crate::audit::view::hex(tag),
                subject: named.then_some(*subject),
                fields: field_names(tenant, &exposure.fields),
                purposes: self.purpose_names(exposure.purposes),
                operations: operation_names(exposure.operations),
                calls: exposure.calls,
                first_at: time(exposure.first_at),
                last_at: time(exposure.last_at),
            });
        }
        Ok((page, None))
    }

    /// The living whose first entry is among `entries`, in the order of their tags, behind `after`.
    pub(crate) fn living(
        &self,
        entries: std::ops::Range<u64>,
        after: Option<[u8; 16]>,
        limit: usize,
    ) -> Vec<([u8; 16], SubjectId)> {
        let fits = self.behind(after).filter(|(_, exposure)| entries.contains(&exposure.first));
        fits.filter_map(|(tag, _)| Some((*tag, self.people.get(tag)?.0))).take(limit).collect()
    }

    /// Everybody behind a tag.
    fn behind(&self, after: Option<[u8; 16]>) -> impl Iterator<Item = (&[u8; 16], &Exposure)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.exposures.range((from, Bound::Unbounded))
    }

    fn purpose_names(&self, places: u128) -> Vec<String> {
        let named = self.purposes.iter().enumerate().filter(|(place, _)| places & (1 << (*place).min(127)) != 0);
        named.map(|(_, name)| name.clone()).collect()
    }
}

/// What of the trail a scope covers.
struct Filter<'a> {
    scope: &'a ScopeRow,
    callers: Option<BTreeSet<CallerId>>,
    /// The purposes of the group.
    purposes: Option<BTreeSet<&'a str>>,
}

impl<'a> Filter<'a> {
    fn new(core: &Core, tenant: &'a Tenant, scope: &'a ScopeRow) -> Self {
        let callers = scope.certificate.as_ref().map(|certificate| core.registry.bound_to(certificate, tenant.id().bytes()));
        let group = scope.group.as_deref().filter(|_| scope.epoch.is_none());
        let purposes = group.map(|group| {
            let group = tenant.group(group);
            let of_group = tenant.purposes().iter().filter(|purpose| purpose.any_group || purpose.group == group);
            of_group.map(|purpose| purpose.id.as_str()).collect()
        });
        Self { scope, callers, purposes }
    }

    fn fits(&self, core: &Core, tenant: &Tenant, entry: &Entry) -> Result<bool, Refused> {
        let scope = self.scope;
        let at = entry.at.as_microsecond();
        let covered = entry.outcome == Outcome::Allowed
            && scope.token.is_none_or(|token| entry.token.is_some_and(|own| *own.bytes() == token))
            && scope.caller.is_none_or(|caller| entry.caller.is_some_and(|own| *own.bytes() == caller))
            && self.callers.as_ref().is_none_or(|callers| entry.caller.is_some_and(|own| callers.contains(&own)))
            && scope.from.is_none_or(|from| at >= from)
            && scope.until.is_none_or(|until| at < until);
        if !covered {
            return Ok(false);
        }
        let Some(operation) = Operation::named(&entry.operation) else { return Ok(false) };
        let counts = match (scope.epoch, does(operation)) {
            (Some(_), _) => operation == Operation::CreateSubject,
            // A token of nobody's own is about nobody.
            (None, Does::Tells) => operation != Operation::IssueToken || entry.tag.is_some(),
            (None, Does::Changes) => scope.changes,
            (None, Does::Neither) => false,
        };
        let purpose = || entry.purpose.as_deref();
        let of_group = || self.purposes.as_ref().is_none_or(|own| purpose().is_some_and(|purpose| own.contains(purpose)));
        // A bundle, and a token of somebody's own, have data of every group.
        let of_all = matches!(operation, Operation::AdvanceRequest | Operation::IssueToken | Operation::GetRequestResult);
        Ok(counts && (of_all || of_group()) && is_of(core, tenant, entry)?)
    }
}

/// Whether somebody has, or had, a group.
fn had(person: &Person, group: Group) -> bool {
    person.alive().contains(group) || person.dead().contains(group)
}

/// The living behind tags: everybody's tag is made with their own key, until all were found.
fn people_behind(
    core: &Core,
    tenant: &Tenant,
    wanted: &HashSet<[u8; 16]>,
    unreadable: &mut u64,
) -> Result<HashMap<[u8; 16], Arc<Person>>, Refused> {
    let mut found = HashMap::new();
    let mut after: Option<Vec<u8>> = None;
    *unreadable = 0;
    while found.len() < wanted.len() {
        let page = core.store.scan(b"s", after.as_deref(), PEOPLE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, _) in &page {
            let Some(RowKey::Subject(id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
            match behind(core, tenant, id, wanted) {
                Ok(Some((tag, person))) => drop(found.insert(tag, person)),
                Ok(None) => {}
                // One person's damaged row must not hide all the others.
                Err(refused) if matches!(refused.code, Code::Internal | Code::KeyDestroyed) => *unreadable += 1,
                Err(refused) => return Err(refused),
            }
        }
    }
    Ok(found)
}

/// A tag and who is behind it.
type Named = ([u8; 16], Arc<Person>);

/// The person, if their tag is among those that are wanted. Their row is opened only then.
fn behind(core: &Core, tenant: &Tenant, id: SubjectId, wanted: &HashSet<[u8; 16]>) -> Result<Option<Named>, Refused> {
    let Some(keys) = core.hierarchy.subject(&core.rows(), id.bytes())? else { return Ok(None) };
    let tag = keys.tag(tenant.id().bytes());
    if !wanted.contains(&tag) {
        return Ok(None);
    }
    Ok(core.person(tenant, id)?.map(|person| (tag, person)))
}

fn field_names(tenant: &Tenant, numbers: &FieldSet) -> Vec<String> {
    let name = |number: u16| tenant.field_numbered(number).map_or_else(|| number.to_string(), |field| field.name.clone());
    numbers.iter().map(name).collect()
}

fn operation_names(places: u64) -> Vec<String> {
    let named = Operation::ALL.iter().enumerate().filter(|(place, _)| places & (1 << (*place).min(63)) != 0);
    named.map(|(_, operation)| operation.text().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_bit_of_its_own() {
        assert!(Operation::ALL.len() <= 63, "operations of an exposure are the bits of a u64");
    }

    #[test]
    fn what_releases_values_counts_and_what_is_about_nobody_does_not() {
        use Operation::*;
        for operation in [ReadRecords, QueryRecords, Disclose, LookupSubject, AdvanceRequest, IssueToken] {
            assert_eq!(does(operation), Does::Tells);
        }
        assert_eq!(does(Operation::RectifyRecord), Does::Changes);
        assert_eq!(does(Operation::OperateKeys), Does::Neither);
    }
}
