//! Making, opening, unsealing, sealing and closing a vault.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use ::keys::root::Custody;
use ::keys::secret::SecretString;
use ::keys::{Hierarchy, Id, Keyring, KeysError, Places};
use parking_lot::{Mutex, RwLock};

use crate::audit::note::VerifyingKey;
use crate::audit::{Disk, Entry, Findings, Mode, Outcome, Trail, TrailError, row_hash};
use crate::auth::Registry;
use crate::backup;
use crate::model::code::Code;
use crate::model::ids::{DecisionId, TenantId, VaultId};
use crate::model::time::Clock;
use crate::post::{self, Post};
use crate::store::layout::{CommitMark, FORMAT, Meta, RowKey};
use crate::store::sled::{Settings, SledStore};
use crate::store::{Batch, OnFatal, Store, StoreError};
use crate::tenant::Tenant;

use super::backups::{self, Keeper};
use super::budget::{Attempts, Budget};
use super::bundles::Downloads;
use super::call::Refused;
use super::committer::Committer;
use super::core::{Core, People, TreeRows};
use super::custody::{CustodySettings, Given, Watched};
use super::gauges::Timings;
use super::housekeeping::Housekeeping;
use super::outbox::Outbox;
use super::rotations::ages::{Ages, Periods};
use super::rotations::job::Jobs;
use super::rotations::{Pace, Rotations};
use super::signers::{Successions, public_keys};
use super::sweeper::Sweeper;
use super::tenants::Tenants;
use super::{factors, secrets};

/// What a restore writes into, beside `data`, until it is done.
pub(super) const RESTORING: &str = "data.restoring";

/// Interior nodes of the key trees that are kept open in memory, about 5 KB each.
const NODES: usize = 8_192;

/// Where a vault lies and how it behaves.
#[derive(Clone)]
pub struct VaultConfig {
    /// The vault's directory.
    pub dir: PathBuf,
    /// When a read's trail entry counts as kept.
    pub trail_reads: Mode,
    /// What the trail's files stand on; only a test has one that fails.
    pub trail_disk: Disk,
    /// sled's cache, in bytes.
    pub cache_bytes: u64,
    /// Subjects whose keys are kept open in memory.
    pub cache_subjects: usize,
    /// Whether a new caller needs a second security officer.
    pub second_person_for_callers: bool,
    /// People that one token may read in an hour; 0 is no limit.
    pub people_per_hour: usize,
    /// Seconds that a step up counts.
    pub step_up_seconds: u32,
    /// Days that the bundle of a request waits for its person.
    pub bundle_days: u32,
    /// How often the vault sweeps by itself; never unless told.
    pub sweep_every: Option<Duration>,
    /// How often the vault sends by itself what waits in the outbox; never unless told.
    pub deliver_every: Option<Duration>,
    /// How letters and messages leave.
    pub post: post::Settings,
    /// How the holders of the root key are reached.
    pub custody: CustodySettings,
    /// Where the keyring is.
    pub keyring: Places,
    /// Where backups go and when; nowhere unless told.
    pub backup: Option<backup::Settings>,
    /// How fast keys are turned over in the background.
    pub pace: Pace,
    /// How old keys may become.
    pub periods: Periods,
    /// Called when nothing may be written any more (a failed sync): ends the process.
    pub on_fatal: OnFatal,
}

impl VaultConfig {
    /// The defaults, in `dir`. A fatal fault ends the process, so that a supervisor starts it afresh.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            keyring: Places::one(dir.join("keys/keyring")),
            dir,
            trail_reads: Mode::Durable,
            trail_disk: Disk::Plain,
            cache_bytes: 64 << 20,
            cache_subjects: 65_536,
            second_person_for_callers: true,
            bundle_days: 14,
            sweep_every: None,
            deliver_every: None,
            post: post::Settings::default(),
            backup: None,
            people_per_hour: 10_000,
            step_up_seconds: 300,
            custody: CustodySettings::default(),
            pace: Pace::default(),
            periods: Periods::default(),
            on_fatal: Arc::new(|step| {
                tracing::error!(step, "nothing can be kept any more: the process ends");
                std::process::exit(70);
            }),
        }
    }

    fn db(&self) -> PathBuf {
        self.dir.join("data/db")
    }

    pub(super) fn trail(&self) -> PathBuf {
        self.dir.join("data/trail")
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.join("keys/root")
    }
}

/// Why a vault could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is a vault already.
    #[error("there is a vault in this directory already")]
    Exists,
    /// There is none.
    #[error("there is no vault in this directory; `oubliette init` makes one")]
    NoVault,
    /// A file could not be made or read.
    #[error("{0}: {1}")]
    File(&'static str, #[source] io::Error),
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The keys.
    #[error("the keys: {0}")]
    Keys(#[from] ::keys::KeysError),
    /// The trail.
    #[error("the trail: {0}")]
    Trail(#[from] TrailError),
    /// The store is another vault's.
    #[error("the store belongs to another vault than the root key")]
    Foreign,
    /// Its layout is of another version.
    #[error("the store's layout has a version that this program does not know")]
    Format,
    /// The store is older than the trail.
    #[error(
        "the store is older than the trail: batches that the trail announces, and that were acknowledged, are missing from it"
    )]
    RolledBack,
    /// An earlier `init` did not finish.
    #[error(
        "an earlier init did not finish here, or keys/root was lost: put keys/root back from its copy; only where nothing was ever kept, remove keys/ and data/ to begin anew"
    )]
    HalfMade,
    /// A restore did not finish.
    #[error("a restore did not finish here: the vault opens once `oubliette backup restore` has come to its end")]
    Restoring,
    /// The keys are here and the data is not.
    #[error("there are keys in this directory and no data: restore a backup first")]
    NoData,
    /// The built-in tenant.
    #[error("the tenant's configuration: {0}")]
    Tenant(String),
}

/// Why a vault could not be unsealed.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// The passphrase is not the one.
    #[error("the passphrase does not open the root key")]
    WrongPassphrase,
    /// The PIN is not the token's.
    #[error("the token that holds the root key refuses the PIN")]
    WrongPin,
    /// Too many tries.
    #[error("too many wrong passphrases; try again in {0} s")]
    TooSoon(u32),
    /// Something in the vault's files.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A vault. Cheap to clone; all clones are the same vault.
#[derive(Clone)]
pub struct Vault(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: VaultConfig,
    pub(crate) clock: Clock,
    pub(crate) id: VaultId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tenants: Arc<Tenants>,
    opened: RwLock<Option<Arc<Opened>>>,
    /// One sealing or unsealing at a time, and how many wrong passphrases in a row.
    pub(super) turn: tokio::sync::Mutex<WrongTries>,
    /// What was seen last of whoever holds the root key.
    pub(super) watched: Mutex<Watched>,
    pub(crate) in_flight: Mutex<HashSet<Id>>,
    /// How long its syncs take.
    pub(super) timings: Timings,
    /// How often it was sealed.
    sealings: tokio::sync::watch::Sender<u64>,
}

#[derive(Default)]
pub(super) struct WrongTries {
    count: u32,
    until: Option<jiff::Timestamp>,
    pub(super) given: Given,
}

impl WrongTries {
    /// One was right: the next wrong one is the first.
    pub(super) fn forgive(&mut self) {
        (self.count, self.until) = (0, None);
    }
}

/// An unsealed vault.
pub(crate) struct Opened {
    pub(crate) core: Arc<Core>,
    pub(crate) committer: Arc<Committer>,
    housekeeping: Housekeeping,
    sweeper: Sweeper,
    outbox: Outbox,
    backup: Keeper,
    pub(crate) rotations: Rotations,
}

impl Vault {
    /// Makes a new vault in `config.dir` and leaves it sealed: see [`Vault::create_as`].
    pub fn create(config: &VaultConfig, clock: &Clock, holder: &dyn Custody) -> Result<(), OpenError> {
        let vault = ::keys::random::bytes::<16>()?;
        Self::create_as(config, clock, vault, holder)
    }

    /// Makes a new vault with this random id in `config.dir` and leaves it sealed. Whoever holds the root key opens it from then on.
    pub fn create_as(config: &VaultConfig, clock: &Clock, vault: Id, holder: &dyn Custody) -> Result<(), OpenError> {
        if config.root().exists() {
            return Err(OpenError::Exists);
        }
        let begun =
            [config.db(), config.trail()].iter().any(|path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()));
        if begun {
            return Err(OpenError::HalfMade);
        }
        private_dir(&config.dir.join("keys")).map_err(|e| OpenError::File("keys/", e))?;
        // The root file gets its name last, so that a half-made vault is made again rather than opened.
        let staged = config.dir.join("keys/root.new");
        let _ = fs::remove_file(&staged);
        let root = ::keys::root::create(&staged, holder, vault).inspect_err(|_| {
            // A token that refuses leaves nothing behind, so that the same can be tried again.
            let _ = fs::remove_dir(config.dir.join("keys"));
        })?;
        // What a half-made vault left in the folder itself; a file elsewhere may be another vault's.
        let _ = fs::remove_file(config.dir.join("keys/keyring"));
        let made = Keyring::create_in(config.keyring.clone(), vault).and_then(|keyring| {
            Hierarchy::create(vault, root, keyring).inspect_err(|_| {
                // They were made just now, and hold nothing that lives.
                config.keyring.spots.iter().for_each(|spot| drop(fs::remove_file(&spot.path)));
            })
        });
        let (hierarchy, _gate, writes) = made.inspect_err(|_| {
            let _ = fs::remove_file(&staged);
            let _ = fs::remove_dir(config.dir.join("keys"));
        })?;
        private_dir(&config.dir.join("data")).map_err(|e| OpenError::File("data/", e))?;
        let store = open_store(config)?;
        let hierarchy = Arc::new(hierarchy);
        let public = hierarchy.public_key();
        let origin = origin(vault);
        let (trail, _) = open_trail(config, &hierarchy, &origin)?;

        let id = DecisionId::from_bytes(::keys::random::bytes::<16>()?);
        let mut entry = Entry::new(clock.now(), id, "createVault", Outcome::Done, super::core::OWN);
        let mut batch = Batch::default();
        for write in writes {
            if let Some(value) = &write.value {
                entry.written.push(row_hash(&write.key, value));
            }
            batch.writes.push((write.key, write.value));
        }
        let ticket = trail.append(&[entry])?;
        let mark = ticket.first() + 1;
        let _receipt = trail.durable_blocking(ticket)?;
        batch.put(RowKey::Meta(Meta::Format).bytes(), FORMAT.to_be_bytes());
        batch.put(RowKey::Meta(Meta::Vault).bytes(), vault);
        batch.put(RowKey::Meta(Meta::EpochOpened).bytes(), clock.now().as_microsecond().to_be_bytes());
        batch.put(RowKey::Mark.bytes(), CommitMark { number: 1, entries: mark }.bytes());
        store.commit(&batch)?;
        trail.close();
        fs::write(config.dir.join("vault.pub"), format!("{}\n", VerifyingKey { name: origin, public }))
            .map_err(|e| OpenError::File("vault.pub", e))?;
        fs::File::open(config.dir.join("vault.pub"))
            .and_then(|file| file.sync_all())
            .map_err(|e| OpenError::File("vault.pub", e))?;
        fs::rename(&staged, config.root()).map_err(|e| OpenError::File("keys/root", e))?;
        sync_dir(&config.dir.join("keys")).map_err(|e| OpenError::File("keys/", e))?;
        sync_dir(&config.dir).map_err(|e| OpenError::File("the vault's directory", e))
    }

    /// Opens the vault's files. It stays sealed until [`Vault::unseal`].
    pub fn open(config: &VaultConfig, clock: Clock) -> Result<Self, OpenError> {
        if !config.root().exists() {
            // With data beside, it was not made to its end, or has lost what opens it.
            return Err(if config.db().exists() { OpenError::HalfMade } else { OpenError::NoVault });
        }
        if config.dir.join(RESTORING).exists() {
            return Err(OpenError::Restoring);
        }
        if !config.db().exists() {
            return Err(OpenError::NoData);
        }
        let vault = ::keys::root::vault(&config.root())?;
        let store = open_store(config)?;
        if store.row(&RowKey::Meta(Meta::Vault).bytes())?.as_deref() != Some(&vault[..]) {
            return Err(OpenError::Foreign);
        }
        let format = store.row(&RowKey::Meta(Meta::Format).bytes())?;
        if format.as_deref() != Some(&FORMAT.to_be_bytes()[..]) {
            return Err(OpenError::Format);
        }
        let tenant = Tenant::shipped(default_tenant(vault)).map_err(|error| OpenError::Tenant(error.to_string()))?;
        Ok(Self::over(config.clone(), clock, vault, Arc::new(store), vec![tenant]))
    }

    /// A vault over another store, or with more controllers than the shipped one.
    pub fn over(config: VaultConfig, clock: Clock, vault: Id, store: Arc<dyn Store>, tenants: Vec<Tenant>) -> Self {
        Self(Arc::new(Inner {
            config,
            clock,
            id: VaultId::from_bytes(vault),
            store,
            tenants: Arc::new(Tenants::of(tenants)),
            opened: RwLock::new(None),
            turn: tokio::sync::Mutex::default(),
            watched: Mutex::default(),
            in_flight: Mutex::default(),
            timings: Timings::default(),
            sealings: tokio::sync::watch::Sender::new(0),
        }))
    }

    /// Opens the keys with the passphrase, or with the PIN of the token that holds the root key: see [`Vault::unseal_with`].
    pub async fn unseal(&self, secret: &SecretString) -> Result<(), UnsealError> {
        let mut tries = self.0.turn.lock().await;
        if self.0.opened.read().is_some() {
            return Ok(());
        }
        self.too_soon(&tries)?;
        match self.holder(secret) {
            Ok(holder) => self.unseal_in_turn(&mut tries, holder).await,
            Err(error) => Err(self.counted(&mut tries, error.into())),
        }
    }

    /// Opens the keys with whoever holds the root key, finishes what a stopped process left half done, and begins to serve.
    pub async fn unseal_with(&self, holder: Arc<dyn Custody>) -> Result<(), UnsealError> {
        let mut tries = self.0.turn.lock().await;
        if self.0.opened.read().is_some() {
            return Ok(());
        }
        self.too_soon(&tries)?;
        self.unseal_in_turn(&mut tries, holder).await
    }

    fn too_soon(&self, tries: &WrongTries) -> Result<(), UnsealError> {
        let now = self.0.clock.now();
        match tries.until.filter(|until| *until > now) {
            Some(until) => Err(UnsealError::TooSoon(until.duration_since(now).as_secs().clamp(1, 3_600) as u32)),
            None => Ok(()),
        }
    }

    pub(super) async fn unseal_in_turn(&self, tries: &mut WrongTries, holder: Arc<dyn Custody>) -> Result<(), UnsealError> {
        let inner = self.0.clone();
        let opened = tokio::task::spawn_blocking(move || inner.open_keys(holder.as_ref())).await;
        match opened {
            Ok(Ok(opened)) => {
                *tries = WrongTries::default();
                *self.0.opened.write() = Some(Arc::new(opened));
                Ok(())
            }
            Ok(Err(error)) => Err(self.counted(tries, error)),
            Err(_) => Err(OpenError::File("unsealing", io::Error::other("the task ended early")).into()),
        }
    }

    /// Wrong passphrases and PINs are answered ever more slowly.
    fn counted(&self, tries: &mut WrongTries, error: OpenError) -> UnsealError {
        match error {
            OpenError::Keys(error) => {
                self.count_wrong(tries, &error);
                match error {
                    KeysError::WrongPassphrase => UnsealError::WrongPassphrase,
                    KeysError::WrongPin => UnsealError::WrongPin,
                    other => OpenError::Keys(other).into(),
                }
            }
            other => other.into(),
        }
    }

    /// Counts it if it is one of those.
    pub(super) fn count_wrong(&self, tries: &mut WrongTries, error: &KeysError) {
        if !matches!(error, KeysError::WrongPassphrase | KeysError::WrongPin) {
            return;
        }
        tries.count += 1;
        if tries.count >= 3 {
            let wait = Duration::from_secs(1 << (tries.count - 3).min(8));
            tries.until = self.0.clock.now().checked_add(wait).ok();
        }
    }

    /// Whether a passphrase or a PIN may be tried now; else when.
    pub(super) fn may_try(&self, tries: &WrongTries) -> Result<(), Refused> {
        match self.too_soon(tries) {
            Err(UnsealError::TooSoon(seconds)) => Err(Refused { retry_after: Some(seconds), ..Code::RateLimited.into() }),
            _ => Ok(()),
        }
    }

    /// Finishes what is under way, then empties every key from memory. Whether it was this call that did so.
    pub async fn seal(&self) -> bool {
        let _turn = self.0.turn.lock().await;
        let Some(opened) = self.0.opened.write().take() else { return false };
        Self::empty(opened).await;
        self.0.sealings.send_modify(|count| *count += 1);
        true
    }

    /// Changes with every sealing: whoever holds something that was read lets go of it then.
    pub fn sealings(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.sealings.subscribe()
    }

    async fn empty(mut opened: Arc<Opened>) {
        // Calls under way hold the keys until they have answered; 10 s is the longest a call may take to do so.
        for _ in 0..1_000 {
            match Arc::try_unwrap(opened) {
                Ok(last) => {
                    let _ = tokio::task::spawn_blocking(move || last.finish()).await;
                    return;
                }
                Err(shared) => opened = shared,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tracing::error!("a call did not end within 10 s; its keys go when it does");
        let _ = tokio::task::spawn_blocking(move || opened.finish()).await;
    }

    /// Seals, for the last time.
    pub async fn close(&self) {
        self.seal().await;
    }

    /// Whether the vault can serve; else why not, in a word.
    pub fn is_ready(&self) -> Result<(), &'static str> {
        match self.0.opened.read().as_ref() {
            None => Err("sealed"),
            Some(opened) if opened.core.trail.is_poisoned() => Err("audit-unavailable"),
            Some(_) => Ok(()),
        }
    }

    /// Whether it is sealed.
    pub fn is_sealed(&self) -> bool {
        self.0.opened.read().is_none()
    }

    /// The vault's id.
    pub fn id(&self) -> VaultId {
        self.0.id
    }

    pub(crate) fn opened(&self) -> Result<Arc<Opened>, Refused> {
        self.0.opened.read().clone().ok_or(Code::Sealed.into())
    }
}

impl Inner {
    fn open_keys(&self, holder: &dyn Custody) -> Result<Opened, OpenError> {
        let vault = *self.id.bytes();
        let root = ::keys::root::open(&self.config.root(), holder)?;
        let keyring = Keyring::open_in(self.config.keyring.clone())?;
        let (hierarchy, gate) = Hierarchy::open(vault, root, keyring, &TreeRows(self.store.as_ref()))?;
        let hierarchy = Arc::new(hierarchy.with_cache(self.config.cache_subjects, NODES));
        let origin = origin(vault);
        let mark = self.store.row(&RowKey::Mark.bytes())?.map_or(Ok(CommitMark::default()), |bytes| CommitMark::parse(&bytes))?;
        let (trail, findings) = open_trail(&self.config, &hierarchy, &origin)?;
        let epoch_since = self.store.row(&RowKey::Meta(Meta::EpochOpened).bytes())?;
        let epoch_since = epoch_since.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        let epoch_since = epoch_since.map_or(self.clock.now(), super::rows::time);
        let trail = Arc::new(trail);
        let backups = self.config.backup.as_ref().map(|settings| {
            backups::attach(settings, &self.config.dir, &self.store, &hierarchy, trail.clone(), (&origin, self.clock.clone()))
        });
        let core = Core {
            vault,
            store: backups.as_ref().map_or_else(|| self.store.clone(), |backups| backups.store()),
            hierarchy,
            gate,
            trail,
            reads: self.config.trail_reads,
            registry: Registry::default(),
            tenants: self.tenants.clone(),
            clock: self.clock.clone(),
            people: People::new(self.config.cache_subjects),
            epoch_since: RwLock::new(epoch_since),
            commits: AtomicU64::new(mark.number),
            timings: self.timings.clone(),
            passwords: tokio::sync::Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            budget: Budget::new(self.config.people_per_hour),
            codes_tried: Attempts::new(factors::TRIES, factors::WINDOW),
            secrets_tried: Attempts::new(secrets::TRIES, secrets::WINDOW),
            step_up: jiff::SignedDuration::from_secs(i64::from(self.config.step_up_seconds)),
            incidents: super::incidents::Kept::default(),
            signs: super::incidents::Signs::default(),
            post: Arc::new(Post::new(self.config.post.clone())),
            delivering: tokio::sync::Mutex::default(),
            backup_every: self.config.backup.as_ref().and_then(|settings| settings.every),
            backups,
            backing_up: std::sync::atomic::AtomicBool::new(false),
            downloads: Downloads::default(),
            bundle_days: self.config.bundle_days,
            jobs: Jobs::default(),
            ages: Ages::default(),
            periods: self.config.periods.clone(),
            successions: Successions::default(),
            home: self.config.dir.clone(),
            unsealed: AtomicBool::new(false),
            on_fatal: self.config.on_fatal.clone(),
        };
        super::recovery::run(&core, mark.entries, &findings)?;
        super::policies::in_force(&core).map_err(OpenError::Tenant)?.into_iter().for_each(|tenant| core.tenants.put(tenant));
        core.jobs.load(&core).and_then(|()| core.ages.load(&core)).map_err(super::recovery::failed)?;
        core.successions.load(core.store.as_ref())?;
        super::signers::publish(&core);
        let core = Arc::new(core);
        let committer = Committer::start(core.clone()).map_err(|e| OpenError::File("the committer thread", e))?;
        let committer = Arc::new(committer);
        super::requests::clocks::at_start(&core, &committer);
        let housekeeping = Housekeeping::start(core.clone(), committer.clone());
        let housekeeping = housekeeping.map_err(|e| OpenError::File("the housekeeping thread", e))?;
        let sweeper = Sweeper::start(core.clone(), committer.clone(), self.config.sweep_every);
        let sweeper = sweeper.map_err(|e| OpenError::File("the sweeper thread", e))?;
        let outbox = Outbox::start(core.clone(), committer.clone(), self.config.deliver_every);
        let outbox = outbox.map_err(|e| OpenError::File("the outbox thread", e))?;
        let backup = Keeper::start(core.clone()).map_err(|e| OpenError::File("the backup thread", e))?;
        let rotations = Rotations::start(core.clone(), committer.clone(), self.config.pace);
        let rotations = rotations.map_err(|e| OpenError::File("the rotations thread", e))?;
        Ok(Opened { core, committer, housekeeping, sweeper, outbox, backup, rotations })
    }
}

impl Opened {
    fn finish(&self) {
        self.rotations.stop();
        self.sweeper.stop();
        self.outbox.stop();
        self.housekeeping.stop();
        self.backup.stop(&self.core);
        self.committer.stop();
        self.core.trail.close();
        // With every entry durable: a vault that stops in order leaves nothing out of its target.
        backups::last_look(&self.core);
        super::housekeeping::tell_keyring(&self.core, 0);
    }
}

pub(crate) fn origin(vault: Id) -> String {
    format!("oubliette.local/{}", VaultId::from_bytes(vault))
}

pub(super) fn open_store(config: &VaultConfig) -> Result<SledStore, StoreError> {
    let settings = Settings { cache_bytes: config.cache_bytes, ..Settings::default() };
    SledStore::open(&config.db(), settings, config.on_fatal.clone())
}

fn open_trail(config: &VaultConfig, hierarchy: &Arc<Hierarchy>, origin: &str) -> Result<(Trail, Findings), TrailError> {
    let signer = Arc::downgrade(hierarchy);
    let sign = move |message: &[u8]| signer.upgrade().map(|hierarchy| hierarchy.sign_as(message));
    let known = hierarchy.last_checkpoint();
    Trail::open_on(config.trail_disk.clone(), &config.trail(), Arc::new(sign), public_keys(hierarchy), origin, known)
}

/// The shipped tenant's id: the same in every start of one vault, different in every vault.
pub(super) fn default_tenant(vault: Id) -> TenantId {
    let digest = ::keys::digest::sha256(&[b"pv1/default-tenant", &vault]);
    TenantId::from_bytes(super::core::first16(&digest))
}

/// A directory for its owner alone.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
