//! What exists while the vault is unsealed, and the one check-and-note that every operation begins with.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use keys::{Gate, Group, GroupSet, Hierarchy, Id, Permit, Rows, RowsError, SubjectKeys};
use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;

use crate::audit::{Entry, Mode, Note, Outcome, Receipt, Trail};
use crate::auth::Registry;
use crate::backup::Backups;
use crate::model::caller::{Caller, Operation};
use crate::model::code::Code;
use crate::model::ids::{CallerId, DecisionId, RecordId, SubjectId, TenantId};
use crate::model::standing::Standing;
use crate::model::time::Clock;
use crate::model::wire::AuthorityView;
use crate::policy::{self, Allowed, Ask, Denied, Facts, SubjectFacts, SubjectState};
use crate::post::Post;
use crate::store::layout::{RecordRow, RowKey};
use crate::store::{OnFatal, Store, StoreError};
use crate::tenant::Tenant;

use super::budget::{Attempts, Budget};
use super::bundles::Downloads;
use super::call::{Call, Refused};
use super::gauges::Timings;
use super::rotations::ages::{Ages, Periods};
use super::rotations::job::Jobs;
use super::rows::{LabelRow, SubjectRow, unpack};
use super::signers::Successions;
use super::tenants::Tenants;
use super::{disclosures, incidents, requests};

/// What stands as the policy version of entries that no tenant's policy decided.
pub(crate) const OWN: &str = "vault";

/// Everything that the operations share. It holds keys, so it is dropped when the vault is sealed.
pub(crate) struct Core {
    pub(crate) vault: Id,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hierarchy: Arc<Hierarchy>,
    pub(crate) gate: Gate,
    pub(crate) trail: Arc<Trail>,
    pub(crate) reads: Mode,
    pub(crate) registry: Registry,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) clock: Clock,
    pub(crate) people: People,
    pub(crate) epoch_since: RwLock<jiff::Timestamp>,
    /// Batches committed since the store was made.
    pub(crate) commits: AtomicU64,
    /// How long the two syncs of a change take.
    pub(crate) timings: Timings,
    /// Turns for making password verifiers.
    pub(crate) passwords: tokio::sync::Semaphore,
    /// How many people each token read.
    pub(crate) budget: Budget,
    /// Codes of second factors that were tried, by caller.
    pub(crate) codes_tried: Attempts<CallerId>,
    /// Secrets that were tried, by subject.
    pub(crate) secrets_tried: Attempts<Id>,
    /// How long a step up counts.
    pub(crate) step_up: jiff::SignedDuration,
    /// Whom the last incidents concern that somebody looked at.
    pub(crate) incidents: incidents::Kept,
    /// Signs that something is wrong, until somebody looks at them.
    pub(crate) signs: incidents::Signs,
    /// What takes letters and messages out.
    pub(crate) post: Arc<Post>,
    /// One round over the outbox at a time: two would send the same message twice.
    pub(crate) delivering: tokio::sync::Mutex<()>,
    /// The way to the backup targets, where one is configured.
    pub(crate) backups: Option<Arc<Backups>>,
    /// Whether a caller's backup is being made.
    pub(crate) backing_up: std::sync::atomic::AtomicBool,
    /// Time between two backups that the vault makes by itself.
    pub(crate) backup_every: Option<std::time::Duration>,
    /// Bundles whose data is being taken.
    pub(crate) downloads: Downloads,
    /// Days that a bundle waits for its person.
    pub(crate) bundle_days: u32,
    /// Rotations of keys.
    pub(crate) jobs: Jobs,
    /// How old the keys are.
    pub(crate) ages: Ages,
    /// How old they may become.
    pub(crate) periods: Periods,
    /// How the signing keys followed each other.
    pub(crate) successions: Successions,
    /// The vault's folder, for the public keys in it.
    pub(crate) home: std::path::PathBuf,
    /// Whether an erasure is carried out and not sealed yet: a place of the keyring was away, or there was no room to say it.
    pub(crate) unsealed: AtomicBool,
    /// Ends the process.
    pub(crate) on_fatal: OnFatal,
}

/// The key trees' view of the store.
pub(crate) struct TreeRows<'a>(pub(crate) &'a dyn Store);

impl Rows for TreeRows<'_> {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        self.0.row(key).map_err(|_: StoreError| RowsError("reading a row of the tree"))
    }

    fn tree_rows(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), RowsError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.0.scan(b"n", after.as_deref(), 1_000).map_err(|_| RowsError("scanning the tree"))?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            page.iter().for_each(|(key, value)| each(key, value));
        }
    }
}

/// A subject whose keys are open: what the decision needs to know, and the keys behind it.
pub(crate) struct Person {
    pub(crate) id: SubjectId,
    pub(crate) keys: Arc<SubjectKeys>,
    pub(crate) row: SubjectRow,
    pub(crate) tag: [u8; 16],
    /// How many destructions there had been when the keys were opened.
    pub(crate) as_of: u64,
}

impl Person {
    /// What the guards need to know.
    pub(crate) fn facts<'a>(&'a self, tenant: &'a Tenant, now: jiff::Timestamp) -> SubjectFacts<'a> {
        let row = &self.row;
        let today = now.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        SubjectFacts {
            tenant: TenantId::from_bytes(row.tenant),
            class: &row.class,
            state: match &row.standing {
                Standing { waiting_erasure: Some(_), .. } => SubjectState::Held,
                Standing { closed_at: Some(_), .. } => SubjectState::Closed,
                _ => SubjectState::Active,
            },
            jurisdiction: &row.jurisdiction,
            minor: tenant.is_minor(&row.jurisdiction, row.birth_date(), row.age_band(), today),
            of_age_since: row
                .birth_date()
                .and_then(|birth| tenant.comes_of_age(&row.jurisdiction, birth))
                .filter(|day| *day <= today)
                .and_then(|day| day.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok())
                .map(|day| day.timestamp()),
            region: row.region.as_deref().unwrap_or_else(|| tenant.storage()),
            standing: &row.standing,
        }
    }

    /// The groups that were erased and not opened again.
    pub(crate) fn dead(&self) -> crate::model::purpose::GroupSet {
        crate::model::purpose::GroupSet::from_bits(self.row.erased_groups & !self.keys.groups().bits())
    }

    /// The groups whose keys live.
    pub(crate) fn alive(&self) -> crate::model::purpose::GroupSet {
        crate::model::purpose::GroupSet::from_bits(self.keys.groups().bits())
    }
}

/// A bounded cache of persons. Loading holds the shared lock, forgetting the exclusive one, so that nobody puts back
/// what a change has just made old.
pub(crate) struct People {
    cache: Cache<Id, Arc<Person>>,
    /// All records of subjects that have few, still encrypted.
    pages: Cache<Id, Arc<Vec<Known>>, Weight>,
    loading: RwLock<()>,
    destroyed: Mutex<Destroyed>,
}

/// A record as the store has it, with its label open: what a decision about it needs, and what its keys open.
pub(crate) struct Known {
    pub(crate) id: RecordId,
    pub(crate) row: RecordRow,
    pub(crate) label: LabelRow,
    pub(crate) label_digest: [u8; 32],
}

/// Bytes of encrypted records that are kept in memory.
const PAGES_BYTES: u64 = 64 << 20;

/// What a subject's records weigh in memory, about.
#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<Id, Arc<Vec<Known>>> for Weight {
    fn weight(&self, _: &Id, known: &Arc<Vec<Known>>) -> u64 {
        known.iter().map(|one| (one.row.envelope.len() + one.row.label.len() + 2_048) as u64).sum::<u64>() + 128
    }
}

/// Which subjects lost keys, and when, counted in transitions: what was prepared with older keys is refused as stale.
#[derive(Default)]
struct Destroyed {
    count: u64,
    /// Below this nothing is remembered one by one.
    floor: u64,
    last: HashMap<Id, u64>,
}

/// Subjects remembered one by one before the floor is raised.
const REMEMBERED: usize = 65_536;

impl People {
    pub(crate) fn new(subjects: usize) -> Self {
        let pages = Cache::with_weighter(subjects, PAGES_BYTES, Weight);
        Self { cache: Cache::new(subjects), pages, loading: RwLock::new(()), destroyed: Mutex::default() }
    }

    /// The records of a subject, as `load` gives them or as they were kept since the last change. `load` answers `None` for
    /// a subject with too many.
    pub(crate) fn records(
        &self,
        subject: &Id,
        load: impl FnOnce() -> Result<Option<Vec<Known>>, Refused>,
    ) -> Result<Option<Arc<Vec<Known>>>, Refused> {
        if let Some(known) = self.pages.get(subject) {
            return Ok(Some(known));
        }
        let _loading = self.loading.read();
        let Some(known) = load()?.map(Arc::new) else { return Ok(None) };
        self.pages.insert(*subject, known.clone());
        Ok(Some(known))
    }

    /// Forgets subjects whose keys or state changed, and the records of those of whom some were written.
    pub(crate) fn forget(&self, changed: &[Id], written: &[Id]) {
        if changed.is_empty() && written.is_empty() {
            return;
        }
        let _alone = self.loading.write();
        changed.iter().for_each(|subject| drop(self.cache.remove(subject)));
        changed.iter().chain(written).for_each(|subject| drop(self.pages.remove(subject)));
    }

    /// Notes that these subjects lost keys.
    pub(crate) fn destroyed(&self, subjects: &[Id]) {
        let _alone = self.loading.write();
        let mut destroyed = self.destroyed.lock();
        destroyed.count += 1;
        let count = destroyed.count;
        for subject in subjects {
            self.cache.remove(subject);
            self.pages.remove(subject);
            destroyed.last.insert(*subject, count);
        }
        if destroyed.last.len() > REMEMBERED {
            destroyed.last.clear();
            destroyed.floor = count;
            self.cache.clear();
            self.pages.clear();
        }
    }

    /// Whether keys that were opened at `as_of` are still the subject's.
    pub(crate) fn is_current(&self, subject: &Id, as_of: u64) -> bool {
        let destroyed = self.destroyed.lock();
        as_of >= destroyed.floor && destroyed.last.get(subject).is_none_or(|last| *last <= as_of)
    }

    /// How many transitions destroyed something so far: what keys are current is said as of this.
    pub(crate) fn count(&self) -> u64 {
        self.destroyed.lock().count
    }
}

impl Core {
    pub(crate) fn rows(&self) -> TreeRows<'_> {
        TreeRows(self.store.as_ref())
    }

    /// The published configuration of the caller's controller.
    pub(crate) fn tenant(&self, caller: &Caller) -> Result<Arc<Tenant>, Refused> {
        if let Some(tenant) = self.tenants.get(&caller.tenant) {
            return Ok(tenant);
        }
        let outcome = Outcome::Refused { guard: Some("G0".into()), code: Code::ControllerUnknown };
        let mut event = self.event("authenticate", outcome, Note::None)?;
        (event.caller, event.token) = (Some(caller.id), Some(caller.token));
        let decision = event.decision;
        let _ticket = self.trail.append(&[event])?;
        Err(Refused { decision: Some(decision), guard: Some("G0"), ..Code::ControllerUnknown.into() })
    }

    /// The subject with open keys, or `None` when there is no such subject (any more).
    pub(crate) fn person(&self, tenant: &Tenant, id: SubjectId) -> Result<Option<Arc<Person>>, Refused> {
        if let Some(person) = self.people.cache.get(id.bytes()) {
            return Ok((person.row.tenant == *tenant.id().bytes()).then_some(person));
        }
        let _loading = self.people.loading.read();
        let Some(person) = self.load(id)?.map(Arc::new) else { return Ok(None) };
        self.people.cache.insert(*id.bytes(), person.clone());
        Ok((person.row.tenant == *tenant.id().bytes()).then_some(person))
    }

    /// The subject as it is now, whosever it is and past the cache: for work that goes through everybody.
    pub(crate) fn look_at(&self, id: SubjectId) -> Result<Option<Person>, Refused> {
        let _loading = self.people.loading.read();
        self.load(id)
    }

    fn load(&self, id: SubjectId) -> Result<Option<Person>, Refused> {
        let Some(keys) = self.hierarchy.subject(&self.rows(), id.bytes())? else { return Ok(None) };
        let key = RowKey::Subject(id).bytes();
        let Some(sealed) = self.store.row(&key)? else { return Ok(None) };
        let plain = keys.open_row(&key, &sealed)?;
        let row: SubjectRow = unpack(plain.bytes())?;
        let tag = keys.tag(&row.tenant);
        Ok(Some(Person { id, keys, row, tag, as_of: self.people.count() }))
    }

    /// Whether the subject was erased here (a tombstone says so without naming it).
    pub(crate) fn was_erased(&self, tenant: &Tenant, id: SubjectId) -> Result<bool, Refused> {
        let key = self.tombstone(tenant.id().bytes(), id.bytes());
        Ok(self.store.row(&key)?.is_some())
    }

    /// The tombstone's key: SHA-256 over vault, tenant and the random subject id, so that it leads back to nobody.
    pub(crate) fn tombstone(&self, tenant: &Id, subject: &Id) -> Vec<u8> {
        let digest = keys::digest::sha256(&[b"pv1/tombstone", &self.vault, tenant, subject]);
        RowKey::Tombstone(first16(&digest)).bytes()
    }

    /// What every decision begins with.
    pub(crate) fn facts<'a>(&self, tenant: &'a Tenant) -> Facts<'a> {
        Facts { trail: !self.trail.is_poisoned(), ..Facts::of(tenant) }
    }

    /// What a decision about one person begins with. The person's own token, and a minor's guardian's, make it their own.
    pub(crate) fn facts_about<'a>(
        &self,
        tenant: &'a Tenant,
        call: &Call,
        person: &Person,
        about: &'a SubjectFacts<'a>,
    ) -> Facts<'a> {
        let guardian = person.row.standing.guardian.as_ref().filter(|word| about.minor && word.stands());
        let guardian = guardian.map(|word| word.guardian);
        let partner = call.caller.partner.as_deref();
        let is_partners = partner.is_some_and(|partner| disclosures::is_known_to(self, tenant, person, partner));
        let is_theirs = |id: SubjectId| id == person.id || guardian == Some(*id.bytes());
        Facts {
            subject: Some(about),
            own: call.caller.subject.is_some_and(is_theirs) || is_partners,
            key_groups: person.alive(),
            dead_groups: person.dead(),
            request: requests::serves(self, tenant, call, person),
            ..self.facts(tenant)
        }
    }

    /// An entry for this call, not yet in the trail.
    pub(crate) fn entry(&self, call: &Call, operation: Operation, outcome: Outcome) -> Result<Entry, Refused> {
        let tenant = self.tenants.get(&call.caller.tenant);
        let version = tenant.as_ref().map_or("", |tenant| tenant.version());
        let mut entry = Entry::new(self.clock.now(), decision()?, operation.text(), outcome, version);
        entry.caller = Some(call.caller.id);
        entry.token = Some(call.caller.token);
        // A purpose outside the published policy is the caller's own text: it does not go into the trail, whether the
        // operation looked at it or not.
        let published = |purpose: &&String| tenant.as_ref().is_some_and(|tenant| tenant.purpose(purpose).is_some());
        entry.purpose = call.purpose.as_ref().filter(published).cloned();
        Ok(entry)
    }

    /// An entry for something that the vault itself does.
    pub(crate) fn event(&self, name: &'static str, outcome: Outcome, note: Note) -> Result<Entry, Refused> {
        Ok(Entry { note, ..Entry::new(self.clock.now(), decision()?, name, outcome, OWN) })
    }

    /// Decides. A refusal is noted in the trail before it is answered; an allowance is noted by whoever goes on.
    pub(crate) fn decide<'a>(
        &self,
        call: &'a Call,
        operation: Operation,
        facts: &Facts<'a>,
        tag: Option<[u8; 16]>,
    ) -> Result<Allowed<'a>, Refused> {
        let ask = Ask {
            caller: &call.caller,
            operation,
            purpose: call.purpose.as_deref(),
            now: self.clock.now(),
            grounds: &call.grounds,
        };
        policy::decide(&ask, facts).map_err(|denied| {
            let authority = authority(call, facts, &denied);
            Refused { authority, ..self.deny(call, operation, &denied, tag) }
        })
    }

    /// Notes a refusal and turns it into an answer. A trail that cannot be written is the stronger refusal.
    pub(crate) fn deny(&self, call: &Call, operation: Operation, denied: &Denied, tag: Option<[u8; 16]>) -> Refused {
        let refused = self.note_refusal(call, operation, denied.code, Some(denied.guard), denied.shown_guard(), tag);
        // The trail has the reason; a partner may learn less.
        if refused.code == denied.code { Refused { code: denied.shown_code(), ..refused } } else { refused }
    }

    /// A refusal by the vault itself, outside the guards (no such object, wrong state…), noted like any other.
    pub(crate) fn refuse(&self, call: &Call, operation: Operation, code: Code, tag: Option<[u8; 16]>) -> Refused {
        self.note_refusal(call, operation, code, None, None, tag)
    }

    fn note_refusal(
        &self,
        call: &Call,
        operation: Operation,
        code: Code,
        guard: Option<&'static str>,
        shown: Option<&'static str>,
        tag: Option<[u8; 16]>,
    ) -> Refused {
        let outcome = Outcome::Refused { guard: guard.map(Into::into), code };
        let mut entry = match self.entry(call, operation, outcome) {
            Ok(entry) => entry,
            Err(refused) => return refused,
        };
        entry.tag = tag;
        let purpose = entry.purpose.clone().map(String::into_boxed_str);
        let decision = entry.decision;
        match self.trail.append(&[entry]) {
            Ok(_) => Refused { decision: Some(decision), guard: shown, purpose, ..code.into() },
            Err(error) => error.into(),
        }
    }

    /// Nothing here for this caller; or, to one who may know, that it was erased. The other guards come first: who may
    /// not ask at all learns nothing from the answer.
    pub(crate) fn missing(&self, call: &Call, operation: Operation, tenant: &Tenant, id: SubjectId) -> Refused {
        let erased = match self.was_erased(tenant, id) {
            Ok(erased) => erased,
            Err(refused) => return refused,
        };
        let gone = SubjectFacts::bare(tenant, SubjectState::Erased);
        let facts = Facts { subject: erased.then_some(&gone), ..self.facts(tenant) };
        match self.decide(call, operation, &facts, None) {
            Err(refused) => refused,
            Ok(_) => self.refuse(call, operation, Code::NotFound, None),
        }
    }

    /// The second half of check-and-note: the entry of an allowed read becomes durable (as `trail.reads` has it), and
    /// only then is there something that can make permits.
    pub(crate) async fn admit(&self, allowed: &Allowed<'_>, entry: Entry) -> Result<Admitted<'_>, Refused> {
        let decision = entry.decision;
        let fields: Vec<u16> = allowed.fields().iter().collect();
        let ticket = self.trail.append(&[entry])?;
        let receipt = self.trail.released(ticket, self.reads).await?;
        Ok(Admitted { gate: &self.gate, fields, _receipt: Arc::new(receipt), decision })
    }

    /// The same for several at once, each with its own entry: one wait for all of them.
    pub(crate) async fn admit_each(&self, allowed: &[Allowed<'_>], entries: Vec<Entry>) -> Result<Vec<Admitted<'_>>, Refused> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let admitted: Vec<(Vec<u16>, DecisionId)> =
            allowed.iter().zip(&entries).map(|(allowed, entry)| (allowed.fields().iter().collect(), entry.decision)).collect();
        let ticket = self.trail.append(&entries)?;
        let receipt = Arc::new(self.trail.released(ticket, self.reads).await?);
        let one = |(fields, decision)| Admitted { gate: &self.gate, fields, _receipt: receipt.clone(), decision };
        Ok(admitted.into_iter().map(one).collect())
    }
}

/// An allowance whose entry is in the trail: the only thing that permits are made from.
pub(crate) struct Admitted<'a> {
    gate: &'a Gate,
    fields: Vec<u16>,
    /// The proof that the entry is in the trail.
    _receipt: Arc<Receipt>,
    pub(crate) decision: DecisionId,
}

impl Admitted<'_> {
    /// A permit to open one subject's fields through one group's key.
    pub(crate) fn permit(&self, subject: SubjectId, group: Group) -> Permit {
        self.gate.permit(*subject.bytes(), group, Some(self.fields.clone()), *self.decision.bytes())
    }

    /// A permit over every field of one record, for taking it from one version to the next. Nothing it opens is released.
    pub(crate) fn permit_whole(&self, subject: SubjectId, group: Group) -> Permit {
        self.gate.permit(*subject.bytes(), group, None, *self.decision.bytes())
    }
}

/// Where the person can complain about a refusal. Only to whom the first guards let know of the person: who may see the person may see
/// their jurisdiction, and the authority says no more.
fn authority(call: &Call, facts: &Facts<'_>, denied: &Denied) -> Option<Box<AuthorityView>> {
    let about = facts.subject.filter(|about| about.tenant == call.caller.tenant && about.state != SubjectState::Erased)?;
    let knows = !["G0", "G1"].contains(&denied.guard) && denied.code != Code::NotFound && call.caller.partner.is_none();
    let authority = facts.tenant.authority(about.jurisdiction).filter(|_| knows)?;
    Some(Box::new(requests::authority_view(authority)))
}

/// A fresh decision id.
pub(crate) fn decision() -> Result<DecisionId, Refused> {
    fresh().map(DecisionId::from_bytes)
}

/// 128 random bits.
pub(crate) fn fresh() -> Result<Id, Refused> {
    keys::random::bytes::<16>().map_err(Refused::from)
}

/// The first half of a digest.
pub(crate) fn first16(digest: &[u8; 32]) -> Id {
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}

/// A group as the keys count it: the same number.
pub(crate) fn key_group(group: crate::model::purpose::Group) -> Result<Group, Refused> {
    Group::new(group.number()).ok_or(Code::Internal.into())
}

/// A set of groups as the keys count them.
pub(crate) fn key_groups(groups: crate::model::purpose::GroupSet) -> GroupSet {
    GroupSet::from_bits(groups.bits()).unwrap_or(GroupSet::EMPTY)
}
