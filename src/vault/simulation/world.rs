//! One world: the vault, what it stands on, the model, and the fault that is to come.

use std::sync::{Arc, OnceLock, Weak};

use ::keys::Id;
use ::keys::root::{Custody, Shares};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::audit::note::VerifyingKey;
use crate::audit::{self, Disk, Faults};
use crate::model::caller::{Caller, CallerKind, Role};
use crate::model::code::Code;
use crate::model::ids::{ErasureId, RecordId, SubjectId};
use crate::model::time::Clock;
use crate::model::wire::{ApproveErasure, OperateKeys, PutCaller, ReadRecords};
use crate::store::memory::{Fault, MemoryStore, Unsynced};
use crate::store::{Batch, Row, Store};
use crate::tenant::Tenant;

use super::super::call::{Answer, Call, Idempotency, Refused};
use super::super::check::Rows;
use super::super::lifecycle::{default_tenant, open_store};
use super::super::places::seal_what_waits;
use super::super::{Vault, VaultConfig};
use super::Tally;
use super::disk::{copy, place};
use super::model::{Life, Model, Op, Person, Unanswered};

/// The fault of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// None: the vault is stopped in order.
    Stop,
    /// At this batch of the store.
    Store(u64, Fault),
    /// After so many writes of the trail.
    TrailWrite(i64),
    /// After so many writes of the trail there is no room for more.
    TrailFull(i64),
    /// After so many syncs of the trail.
    TrailSync(i64),
    /// The power goes while nothing is asked.
    Cut,
}

impl Strike {
    pub(super) fn draw(random: &mut StdRng) -> Self {
        let nth = random.random_range(1..25);
        match random.random_range(0..12) {
            0 => Self::Stop,
            1 => Self::Cut,
            2 => Self::TrailWrite(nth as i64 * 2),
            3 => Self::TrailFull(nth as i64 * 2),
            4 | 5 => Self::TrailSync(nth as i64),
            6 | 7 => Self::Store(nth, Fault::BeforeApplying),
            8 | 9 => Self::Store(nth, Fault::BeforeSyncing),
            _ => Self::Store(nth, Fault::AfterSyncing),
        }
    }
}

/// A vault with its callers, from which every world is copied.
struct Origin {
    home: TempDir,
    id: Id,
    holder: Arc<dyn Custody>,
    rows: Vec<Row>,
    /// Writer, reader, two privacy officers, key admin.
    tokens: Vec<String>,
}

/// The moment of a fault of the store: the files as they were then, and the store to be cut.
#[derive(Default)]
struct Moment {
    home: Option<TempDir>,
    /// Where the files are until it comes.
    from: std::path::PathBuf,
    faults: Arc<Faults>,
    seed: u64,
    happened: bool,
}

pub(super) struct World {
    home: TempDir,
    clock: Clock,
    store: Arc<MemoryStore>,
    faults: Arc<Faults>,
    moment: Arc<Mutex<Moment>>,
    vault: Vault,
    callers: Vec<Arc<Caller>>,
    strike: Strike,
    pub(super) model: Model,
}

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

async fn origin() -> &'static Origin {
    static ORIGIN: OnceLock<Origin> = OnceLock::new();
    if let Some(origin) = ORIGIN.get() {
        return origin;
    }
    let home = place();
    let config = VaultConfig { second_person_for_callers: false, ..VaultConfig::in_dir(home.path()) };
    let clock = Clock::set_to(start());
    let id = ::keys::random::bytes::<16>().unwrap();
    // Shares, since a passphrase takes a quarter of a second at every opening.
    let holder: Arc<dyn Custody> = Arc::new(Shares::deal(id, 2, 2).unwrap().0);
    Vault::create_as(&config, &clock, id, holder.as_ref()).unwrap();
    let mut tokens = Vec::new();
    {
        let vault = Vault::open(&config, clock.clone()).unwrap();
        vault.unseal_with(holder.clone()).await.unwrap();
        let tenant = vault.tenants().next().unwrap();
        let purposes: Vec<String> = tenant.purposes().iter().map(|purpose| purpose.id.clone()).collect();
        for (name, kind, role) in [
            ("app", CallerKind::Service, Role::Writer),
            ("desk", CallerKind::Service, Role::Reader),
            ("officer", CallerKind::Person, Role::PrivacyOfficer),
            ("second", CallerKind::Person, Role::PrivacyOfficer),
            ("keys", CallerKind::Person, Role::KeyAdmin),
        ] {
            let mut body = PutCaller::of(name, kind, vec![role], purposes.clone());
            body.trained_at = (kind == CallerKind::Person).then(|| jiff::civil::date(2026, 11, 1));
            tokens.push(vault.bootstrap(&tenant, body).await.unwrap().1);
        }
        vault.close().await;
    }
    let rows = open_store(&config).unwrap().scan(b"", None, usize::MAX).unwrap();
    // Another test may have been quicker; both are whole.
    ORIGIN.get_or_init(|| Origin { home, id, holder, rows, tokens })
}

impl World {
    pub(super) async fn new() -> Self {
        let origin = origin().await;
        let home = place();
        copy(origin.home.path(), home.path(), &Default::default(), &mut StdRng::seed_from_u64(0));
        let moment = Arc::new(Mutex::new(Moment::default()));
        let store = Self::watched(&moment);
        let batch = Batch { writes: origin.rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect() };
        store.commit(&batch).unwrap();
        let clock = Clock::set_to(start() + SignedDuration::from_hours(1));
        Self::open(home, clock, store, moment, Model::new()).await
    }

    /// A store that stops the world for a moment when it fails, as the process would stop.
    fn watched(moment: &Arc<Mutex<Moment>>) -> MemoryStore {
        let moment: Weak<Mutex<Moment>> = Arc::downgrade(moment);
        MemoryStore::with_on_fatal(Arc::new(move |_| {
            let Some(moment) = moment.upgrade() else { return };
            let mut moment = moment.lock();
            if !moment.happened {
                let (home, mut random) = (place(), StdRng::seed_from_u64(moment.seed));
                copy(&moment.from, home.path(), &moment.faults.unsynced(), &mut random);
                (moment.home, moment.happened) = (Some(home), true);
            }
        }))
    }

    async fn open(home: TempDir, clock: Clock, store: MemoryStore, moment: Arc<Mutex<Moment>>, model: Model) -> Self {
        let origin = origin().await;
        let faults = Arc::new(Faults::default());
        let config = VaultConfig {
            trail_disk: Disk::Failing(faults.clone()),
            on_fatal: Arc::new(|_| {}),
            people_per_hour: 0,
            ..VaultConfig::in_dir(home.path())
        };
        let store = Arc::new(store);
        let tenant = Tenant::shipped(default_tenant(origin.id)).unwrap();
        *moment.lock() = Moment { from: home.path().to_owned(), faults: faults.clone(), ..Moment::default() };
        let vault = Vault::over(config, clock.clone(), origin.id, store.clone(), vec![tenant]);
        vault.unseal_with(origin.holder.clone()).await.expect("the vault opens over what was left");
        let callers = origin.tokens.iter().map(|token| vault.authenticate(token).unwrap()).collect();
        Self { home, clock, store, faults, moment, vault, callers, strike: Strike::Stop, model }
    }

    /// Prepares the fault of this round.
    pub(super) fn arm(&mut self, strike: Strike) {
        self.strike = strike;
        match strike {
            Strike::Stop | Strike::Cut => {}
            Strike::Store(nth, fault) => self.store.fail(nth, fault),
            Strike::TrailWrite(left) => self.faults.fail_writes_after(left),
            Strike::TrailFull(left) => self.faults.fill_up_after(left),
            Strike::TrailSync(left) => self.faults.fail_syncs_after(left),
        }
        if let Strike::Store(nth, _) = strike {
            self.moment.lock().seed = nth;
        }
    }

    /// From now on nothing is synced that the store says is.
    pub(super) fn lie(&mut self) {
        self.store.forget_to_sync();
        self.strike = Strike::Cut;
    }

    /// Whether the fault has struck.
    pub(super) fn is_down(&self) -> bool {
        self.has_ended() || self.vault.is_ready().is_err()
    }

    fn call(&self, caller: usize, purpose: Option<&str>) -> Call {
        Call {
            caller: self.callers[caller].clone(),
            purpose: purpose.map(str::to_owned),
            idempotency: None,
            if_match: None,
            gpc: false,
            grounds: Default::default(),
        }
    }

    fn writing(&self, key: Option<&str>) -> Call {
        let key = key.map(|key| Idempotency { key: key.to_owned(), request: Bytes::copy_from_slice(key.as_bytes()) });
        Call { idempotency: key, ..self.call(0, Some("a-account")) }
    }

    fn person(&self, at: usize) -> &Person {
        &self.model.people[at]
    }

    fn subject(&self, at: usize) -> SubjectId {
        self.person(at).id.unwrap()
    }

    /// Whether nobody knows what became of a refused call. The fault must explain the refusal.
    fn struck(&self, refused: &Refused) -> bool {
        let full = refused.code == Code::DiskFull && matches!(self.strike, Strike::TrailFull(_));
        let failed = matches!(refused.code, Code::StoreUnavailable | Code::AuditUnavailable) || self.has_ended();
        let explained = full || failed && matches!(self.strike, Strike::Store(..) | Strike::TrailWrite(_) | Strike::TrailSync(_));
        assert!(explained, "{refused:?} by {:?}", self.strike);
        // A full disk takes nothing of a call.
        !full
    }

    /// Whether the store has failed, which ends the process: what is still answered then reaches nobody.
    fn has_ended(&self) -> bool {
        self.moment.lock().happened
    }

    /// Does one operation, and writes into the model what was answered.
    pub(super) async fn act(&mut self, op: Op) {
        match op {
            Op::Create(at) => self.create(at).await,
            Op::Write(at) => self.write(at).await,
            Op::Batch(all) => self.batch(all).await,
            Op::Burst(all) => self.burst(all).await,
            Op::Rectify(at, id) => self.rectify(at, id).await,
            Op::Delete(at, id) => match self.vault.delete_record(&self.call(0, None), self.subject(at), id).await {
                Ok(_) => _ = self.model.people[at].records.remove(&id),
                Err(refused) if self.struck(&refused) => self.model.unanswered.push(Unanswered::Delete(at, id)),
                Err(_) => {}
            },
            Op::Erase(at) => match self.erase(at).await {
                Ok(()) => self.model.people[at].life = Life::Erased,
                // Even where the disk is full: the certificate may be all that is missing.
                Err(refused) => {
                    self.struck(&refused);
                    self.model.unanswered.push(Unanswered::Erase(at));
                    self.model.people[at].life = Life::Leaving;
                }
            },
            Op::Read(at) => match self.read(at).await {
                Ok(found) => assert_eq!(found, self.person(at).records),
                Err(refused) => _ = self.struck(&refused),
            },
            Op::RotateEpoch => {
                let turned = self.vault.operate_keys(&self.call(4, None), OperateKeys::RotateEpoch {}).await;
                if let Err(refused) = turned {
                    self.struck(&refused);
                }
            }
            Op::Jump(minutes) => {
                self.clock.turn(SignedDuration::from_mins(minutes));
                // Never to before the vault was made: its tokens would not be valid yet.
                let early = start().duration_since(self.clock.now());
                if early.is_positive() {
                    self.clock.turn(early);
                }
            }
            Op::Full(at) => {
                // A refusal that the round's own fault forestalls would be left for a later call.
                if let Strike::Store(..) | Strike::TrailFull(_) = self.strike {
                    return;
                }
                self.store.fail(1, Fault::Full);
                let name = self.model.word("name");
                match self.vault.write_record(&self.writing(None), self.subject(at), record(&name)).await {
                    Err(refused) if refused.code == Code::DiskFull => {}
                    Err(refused) => _ = self.struck(&refused),
                    Ok(_) => panic!("a full store took a record"),
                }
            }
        }
    }

    async fn create(&mut self, at: usize) {
        let body = json!({"class": "consumer", "jurisdiction": "DE", "notice": notice(),
            "aliases": [{"type": "email", "value": self.person(at).email}]});
        match self.vault.create_subject(&self.writing(None), from(body)).await {
            Ok(made) => {
                let id = text(&made, "id").parse().unwrap();
                (self.model.people[at].id, self.model.people[at].life) = (Some(id), Life::Here);
                self.agree(at).await;
            }
            Err(refused) if self.struck(&refused) => self.model.unanswered.push(Unanswered::Create(at)),
            Err(_) => {}
        }
    }

    async fn agree(&mut self, at: usize) {
        match self.vault.put_contract(&self.call(0, None), self.subject(at), "ord-0".to_owned(), contract()).await {
            Ok(_) => self.model.people[at].contract = true,
            Err(refused) => _ = self.struck(&refused),
        }
    }

    async fn write(&mut self, at: usize) {
        let (name, key) = (self.model.word("name"), self.model.word("key"));
        let written = self.vault.write_record(&self.writing(Some(&key)), self.subject(at), record(&name)).await;
        match written {
            Ok(made) => {
                let id: RecordId = text(&made, "id").parse().unwrap();
                self.model.people[at].records.insert(id, (1, name.clone()));
                self.model.last = Some((at, name, key, id));
            }
            Err(refused) if self.struck(&refused) => self.model.unanswered.push(Unanswered::Write(at, name, key)),
            Err(_) => {}
        }
    }

    async fn batch(&mut self, all: Vec<usize>) {
        let named: Vec<(usize, String)> = all.into_iter().map(|at| (at, self.model.word("name"))).collect();
        let item = |(at, name): &(usize, String)| {
            let record = json!({"kind": "record", "purposes": ["a-account", "b-service"], "fields": {"name": name}});
            Ok(from(json!({"subject": self.subject(*at), "record": record})))
        };
        let items = named.iter().map(item).collect();
        match self.vault.write_records(&self.writing(None), items).await {
            Ok(answers) => {
                for ((at, name), answer) in named.into_iter().zip(answers) {
                    self.answered(at, name, answer);
                }
            }
            Err(refused) => {
                self.struck(&refused);
                named.into_iter().for_each(|(at, name)| self.model.unanswered.push(Unanswered::BatchWrite(at, name)));
            }
        }
    }

    async fn burst(&mut self, all: Vec<usize>) {
        let mut running = Vec::new();
        for at in all {
            let name = self.model.word("name");
            let (vault, call, subject, body) = (self.vault.clone(), self.writing(None), self.subject(at), record(&name));
            running.push((at, name, tokio::spawn(async move { vault.write_record(&call, subject, body).await })));
        }
        for (at, name, task) in running {
            let answer = task.await.unwrap();
            self.answered(at, name, answer);
        }
    }

    fn answered(&mut self, at: usize, name: String, answer: Result<Answer, Refused>) {
        match answer {
            Ok(made) => _ = self.model.people[at].records.insert(text(&made, "id").parse().unwrap(), (1, name)),
            Err(refused) if self.struck(&refused) => self.model.unanswered.push(Unanswered::BatchWrite(at, name)),
            Err(_) => {}
        }
    }

    async fn rectify(&mut self, at: usize, id: RecordId) {
        let name = self.model.word("name");
        let version = self.person(at).records[&id].0;
        let call = Call { if_match: Some(format!("\"{version}\"")), ..self.writing(None) };
        match self.vault.rectify_record(&call, self.subject(at), id, from(json!({"fields": {"name": name}}))).await {
            Ok(_) => _ = self.model.people[at].records.insert(id, (version + 1, name)),
            Err(refused) if self.struck(&refused) => self.model.unanswered.push(Unanswered::Rectify(at, id, name)),
            Err(_) => {}
        }
    }

    async fn erase(&self, at: usize) -> Result<(), Refused> {
        let body = json!({"subject": self.subject(at), "scope": "subject", "cause": "request"});
        let opened = self.vault.open_erasure(&self.call(2, None), from(body)).await?;
        let id: ErasureId = text(&opened, "id").parse().unwrap();
        let sealed = self.vault.approve_erasure(&self.call(3, None), id, ApproveErasure::default()).await?;
        assert_eq!(text(&sealed, "state"), "sealed");
        Ok(())
    }

    async fn read(&self, at: usize) -> Result<std::collections::BTreeMap<RecordId, (u64, String)>, Refused> {
        let ask = ReadRecords { fields: vec!["name".to_owned()], ..ReadRecords::default() };
        let answer = self.vault.read_records(&self.call(1, Some("b-service")), self.subject(at), ask).await?;
        let body: Value = serde_json::from_slice(&answer.body.unwrap()).unwrap();
        assert_eq!(body["next_cursor"], Value::Null, "one page holds what is written here");
        let one = |record: &Value| {
            let id = record["id"].as_str().unwrap().parse().unwrap();
            (id, (record["version"].as_u64().unwrap(), record["fields"]["name"].as_str().unwrap().to_owned()))
        };
        Ok(body["records"].as_array().unwrap().iter().map(one).collect())
    }

    async fn find(&self, at: usize) -> Option<SubjectId> {
        let look = json!({"type": "email", "value": self.person(at).email});
        match self.vault.lookup_subject(&self.call(1, Some("b-service")), from(look)).await {
            Ok(found) => Some(text(&found, "id").parse().unwrap()),
            Err(refused) => {
                assert!(matches!(refused.code, Code::NotFound | Code::ContractInactive), "{refused:?}");
                None
            }
        }
    }

    /// After a failed write or sync nothing more is taken: nobody knows what the disk holds.
    pub(super) async fn refuses(&self) {
        let Some(at) = (0..self.model.people.len()).find(|&at| self.person(at).life == Life::Here) else { return };
        let name = "after the fault";
        let refused = self.vault.write_record(&self.writing(None), self.subject(at), record(name)).await;
        let refused = refused.err().expect("nothing is taken after a fault");
        assert!(refused.code == Code::AuditUnavailable || self.has_ended(), "{refused:?}");
    }

    /// Stops what still runs, and opens what the fault left.
    pub(super) async fn recover(&mut self, random: &mut StdRng, tally: &mut Tally) {
        match self.strike {
            Strike::Stop => {
                self.vault.close().await;
                self.reopen(None, Unsynced::Lost, tally).await;
            }
            // Room returns, and the vault goes on as it is.
            Strike::TrailFull(_) if random.random_bool(0.7) => {
                self.faults.heal();
                let opened = self.vault.opened().unwrap();
                seal_what_waits(&opened.core, &opened.committer);
                drop(opened);
                self.find_out(tally).await;
            }
            _ => self.cut(random, tally).await,
        }
    }

    /// The power goes, and nothing is left but what a sync covered.
    pub(super) async fn lose_what_no_sync_covered(&mut self) {
        let home = place();
        copy(self.home.path(), home.path(), &Default::default(), &mut StdRng::seed_from_u64(0));
        self.reopen(Some(home), Unsynced::Lost, &mut Tally::default()).await;
    }

    /// The power goes.
    pub(super) async fn cut(&mut self, random: &mut StdRng, tally: &mut Tally) {
        let unsynced = if random.random_bool(0.5) { Unsynced::Lost } else { Unsynced::Kept };
        let home = self.moment.lock().home.take().unwrap_or_else(|| {
            let home = place();
            copy(self.home.path(), home.path(), &self.faults.unsynced(), random);
            home
        });
        // What the old process does from here on reaches nobody any more.
        self.reopen(Some(home), unsynced, tally).await;
    }

    async fn reopen(&mut self, home: Option<TempDir>, unsynced: Unsynced, tally: &mut Tally) {
        let moment = Arc::new(Mutex::new(Moment::default()));
        let store = Self::watched(&moment);
        let left = self.store.power_cut(unsynced).scan(b"", None, usize::MAX).unwrap();
        store.commit(&Batch { writes: left.into_iter().map(|(key, value)| (key, Some(value))).collect() }).unwrap();
        if home.is_some() {
            self.vault.close().await;
        }
        let model = std::mem::replace(&mut self.model, Model::new());
        let home = home.unwrap_or_else(|| std::mem::replace(&mut self.home, place()));
        *self = Self::open(home, self.clock.clone(), store, moment, model).await;
        self.find_out(tally).await;
    }

    /// Finds out what became of everything that was never answered.
    async fn find_out(&mut self, tally: &mut Tally) {
        let unanswered = std::mem::take(&mut self.model.unanswered);
        tally.unanswered += unanswered.len();
        // First who there is, with the contract without which nobody reads for the service.
        let (creations, others): (Vec<_>, Vec<_>) = unanswered.into_iter().partition(|one| matches!(one, Unanswered::Create(_)));
        for one in creations {
            tally.had_happened += usize::from(self.settle(one).await);
        }
        for at in 0..self.model.people.len() {
            if matches!(self.person(at).life, Life::Here | Life::Leaving) && !self.person(at).contract {
                match self.vault.put_contract(&self.call(0, None), self.subject(at), "ord-0".to_owned(), contract()).await {
                    Ok(_) => self.model.people[at].contract = true,
                    Err(refused) => assert!(self.person(at).life == Life::Leaving && refused.code == Code::Erased, "{refused:?}"),
                }
            }
        }
        for one in others {
            tally.had_happened += usize::from(self.settle(one).await);
        }
    }

    /// Finds out whether something that was never answered had happened; if so, the model has it too. A half of it fails here or in
    /// [`agrees`](Self::agrees).
    async fn settle(&mut self, one: Unanswered) -> bool {
        match one {
            Unanswered::Create(at) => {
                // Asked again with the same alias: it is taken, or it is free.
                let body = json!({"class": "consumer", "jurisdiction": "DE", "notice": notice(),
                    "aliases": [{"type": "email", "value": self.person(at).email}]});
                let again = self.vault.create_subject(&self.writing(None), from(body)).await;
                let (id, happened) = match again {
                    Ok(made) => (text(&made, "id").parse().unwrap(), false),
                    Err(refused) => {
                        assert_eq!(refused.code, Code::AliasTaken);
                        let look = json!({"type": "email", "value": self.person(at).email});
                        let found = self.vault.lookup_subject(&self.call(2, Some("a-account")), from(look)).await.unwrap();
                        (text(&found, "id").parse().unwrap(), true)
                    }
                };
                (self.model.people[at].id, self.model.people[at].life) = (Some(id), Life::Here);
                happened
            }
            Unanswered::Write(at, name, key) => {
                // Asked again with the same key: there is one record, whichever call made it.
                let before = self.read(at).await.unwrap();
                let again = self.vault.write_record(&self.writing(Some(&key)), self.subject(at), record(&name)).await.unwrap();
                let id: RecordId = text(&again, "id").parse().unwrap();
                self.model.people[at].records.insert(id, (1, name));
                before.contains_key(&id)
            }
            Unanswered::BatchWrite(at, name) => {
                let found = self.read(at).await.unwrap();
                let made: Vec<_> = found.into_iter().filter(|(_, (_, own))| *own == name).collect();
                assert!(made.len() <= 1, "{made:?}");
                let happened = !made.is_empty();
                self.model.people[at].records.extend(made);
                happened
            }
            Unanswered::Rectify(at, id, name) => {
                let (version, now) = self.read(at).await.unwrap()[&id].clone();
                let happened = now == name;
                if happened {
                    self.model.people[at].records.insert(id, (version, name));
                }
                happened
            }
            Unanswered::Delete(at, id) => {
                let gone = !self.read(at).await.unwrap().contains_key(&id);
                if gone {
                    self.model.people[at].records.remove(&id);
                }
                gone
            }
            Unanswered::Erase(at) => match self.read(at).await {
                Ok(_) => {
                    self.model.people[at].life = Life::Here;
                    false
                }
                Err(refused) => {
                    assert_eq!(refused.code, Code::Erased);
                    self.model.people[at].life = Life::Erased;
                    true
                }
            },
        }
    }

    /// Everybody finds what the model says, and nothing else.
    pub(super) async fn agrees(&self) {
        for (at, person) in self.model.people.iter().enumerate() {
            match person.life {
                Life::Unknown => assert_eq!(self.find(at).await, None),
                Life::Leaving => panic!("what became of person {at} was found out"),
                Life::Here => {
                    assert_eq!(self.read(at).await.unwrap(), person.records, "person {at}");
                    assert_eq!(self.find(at).await, person.id);
                }
                Life::Erased => {
                    assert_eq!(self.read(at).await.unwrap_err().code, Code::Erased);
                    assert_eq!(self.find(at).await, None);
                }
            }
        }
        if let Some((at, name, key, id)) = &self.model.last
            && self.person(*at).records.contains_key(id)
            && self.person(*at).life == Life::Here
        {
            let again = self.vault.write_record(&self.writing(Some(key)), self.subject(*at), record(name)).await.unwrap();
            assert_eq!(text(&again, "id"), id.to_string(), "the first answer is given again");
        }
    }

    /// Closes the vault; the trail must verify, with every row of the store.
    pub(super) async fn finish(self) {
        self.vault.close().await;
        let public = std::fs::read_to_string(self.home.path().join("vault.pub")).unwrap();
        let key: VerifyingKey = public.trim().parse().unwrap();
        let mut rows = Rows::of(self.store.as_ref());
        let report = audit::verify(&self.home.path().join("data/trail"), &key.public, Some(&mut rows)).unwrap();
        assert_eq!(report.first_break, None, "{report:?}");
        assert!(report.rows_checked > 0 && report.lost.is_empty(), "{report:?}");
    }
}

/// The body of a record with this name.
fn record(name: &str) -> crate::model::wire::WriteRecord {
    from(json!({"kind": "record", "purposes": ["a-account", "b-service"], "fields": {"name": name}}))
}

fn contract() -> crate::model::wire::PutContract {
    from(json!({"state": "active", "from": "2026-01-01"}))
}

fn notice() -> Value {
    json!({"policy_version": "current", "language": "de", "channel": "web", "shown_at": "2026-11-23T09:59:00Z"})
}

fn from<T: serde::de::DeserializeOwned>(body: Value) -> T {
    serde_json::from_str(&body.to_string()).unwrap()
}

fn text(answer: &Answer, member: &str) -> String {
    let body: Value = serde_json::from_slice(answer.body.as_ref().unwrap()).unwrap();
    body[member].as_str().unwrap().to_owned()
}
