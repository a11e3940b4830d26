//! The one place where the command line touches the vault, the server and the trail directly.
//! Everything else speaks HTTPS, as any application would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keys::root::{Custody, KmsSettings, Pkcs11Settings, Retired, RootFile, TransitSettings};
use keys::secret::SecretString;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::failure::Failure;
use super::private;
use crate::audit::Mode;
use crate::backup::{SealPolicy, Settings};
use crate::config::{
    BackupSection, Config, CustodyProvider, KeysSection, LogLevel, OnOutage, PostSection, Seal, SmtpSecurity, TrailReads,
};
use crate::model::caller::{CallerKind, Role};
use crate::model::time::Clock;
use crate::model::wire::PutCaller;
use crate::post::{self, Security, SmtpSettings, Way};
use crate::server::{Bound, tls};
use crate::telemetry;
use crate::vault::restoring;
use crate::vault::{Aged, CustodySettings, OpenError, Pace, Periods, UnsealError, Vault, VaultConfig};

mod backup;
mod harden;
mod offline;
mod places;

pub(super) use crate::audit::PublicKeys;
pub(super) use crate::audit::manifest::verify_manifest;
pub(super) use crate::audit::receipt::is_receipt;
pub(super) use backup::{backup_targets, create_tls, drill_backup, key_files, list_backups, newest_backup, restore_backup};
pub(super) use harden::{Hardened, harden, landlock};
pub(super) use offline::{export_trail, public_key, public_key_path, verify_certificate, verify_receipt, verify_trail};
pub(super) use places::{
    PlaceFound, add_place, has_plain_place, name_place, places_found, remove_place, repair_place, unname_place,
};

/// What a new vault is configured with; every line is a default, so all of them are comments.
const CONFIG: &str = "\
# The configuration of this vault. Every setting has a default; those shown are the defaults.
# OUBLIETTE_SECTION__KEY in the environment stands over this file. No secret belongs here.

# [server]
# listen = \"127.0.0.1:8443\"
# security_contact = \"mailto:security@example.org\"

# [tls]
# names = [\"vault.example.org\"]    beside localhost, for the certificate of the first run
# certificate = \"/etc/…/cert.pem\"
# key = \"/etc/…/key.pem\"

# [custody]
# provider = \"passphrase\"          or shares, pkcs11, aws-kms, transit: who holds the root key of a new vault
# module = \"/usr/lib/…/….so\"      of the token's vendor, for pkcs11
# token = \"vault\"                 its label; and pin_file = a file of mode 0600
# kms_key = \"arn:aws:kms:…\"       for aws-kms
# transit_address = \"https://…\"    for transit; with transit_key and transit_token_file, see docs/OPERATIONS.md
# transit_key = \"oubliette\"
# transit_token_file = \"/run/secrets/…\"
# on_outage = \"go-on\"             or \"seal\": what an open vault does when the holder is away or says no

# [keys]                          how old keys may become, in days; 0 is never
# root_overdue_days = 365         past this an alarm; also epoch (90), tree (365), subjects (730)
# tree_rotate_days = 0            at this age the vault turns them over by itself; also epoch, subjects
# background_percent = 25         of the time of the thread that writes, for that

# [keyring]
# file = true                      the place `first`, keys/keyring
# when_away = \"refuse\"            or \"go-on\": an erasure is carried out while a place is away, and its certificate says so
# [[keyring.place]]               one more; make it with `oubliette keys places add`
# name = \"second\"
# path = \"/mnt/keys/keyring\"       enclosed_by = \"pkcs11\": under a key of the token for each epoch, with module, token, pin_file

# [trail]
# reads = \"durable\"                or \"written\": a read is released once its entry is with the operating system

# [backup]
# target = \"/mnt/backup/vault\"    a folder on another machine's disk; without, nothing is backed up
# targets = [\"/mnt/second/vault\"]    more of them, each whole in itself
# every_seconds = 86400
# keep = 7
# seal = \"immediate\"             or \"after-backup\": nobody is erased before the target holds the new tree rows

# [post]                          how letters to people leave; without a way they wait
# smtp_host = \"mail.example.org\"    or webhook = \"https://…\", or maildir = \"letters\"
# smtp_user = \"…\"
# smtp_password_file = \"/run/secrets/…\"

# [hardening]                     what the process forbids itself; \"required\" ends the start where it cannot be had
# memory = \"auto\"                 or \"off\", \"required\": nothing is swapped out, where memory may be locked
# files = \"auto\"                  nothing but what this file names is reached (Landlock); further folders:
# readable = []
# writable = []
# calls = \"auto\"                  no programs, no mounts, no debugging (seccomp)

# [metrics]
# listen = \"127.0.0.1:9464\"       /metrics, /healthz and /readyz over plain HTTP; nowhere unless told

# [log]
# format = \"text\"                  or \"json\"
# level = \"info\"
# requests = false
";

/// What `init` hands out once: the bearer tokens of two security officers. One alone could make no caller.
pub(super) struct Created {
    /// Of the first.
    pub(super) first: SecretString,
    /// Of the second.
    pub(super) second: SecretString,
}

/// A server that runs in this process until it is told to stop.
pub(super) struct Running {
    runtime: Runtime,
    vault: Vault,
    /// Looks after whoever holds the root key.
    watch: JoinHandle<()>,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    fingerprint: String,
    server: JoinHandle<std::io::Result<()>>,
    signal: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    hardened: Option<Hardened>,
}

/// Makes a new vault in `dir` that a passphrase opens: see [`create_as`].
pub(super) fn create(dir: &Path, passphrase: &SecretString) -> Result<Created, Failure> {
    create_as(dir, keys::random::bytes::<16>()?, Arc::new(passphrase.clone()))
}

/// Makes a new vault of this id in `dir`: configuration, root key, keyring, store, trail, certificate, two security officers.
pub(super) fn create_as(dir: &Path, id: keys::Id, holder: Arc<dyn Custody>) -> Result<Created, Failure> {
    private::folder(dir)?;
    let file = dir.join("config.toml");
    if !file.exists() {
        private::write_public(&file, CONFIG.as_bytes())?;
    }
    let clock = Clock::system();
    let config = load(dir)?;
    let vault_config = vault_config(&config);
    Vault::create_as(&vault_config, &clock, id, holder.as_ref())?;
    if config.tls.certificate.is_none() && config.tls.key.is_none() {
        tls::first_run(&dir.join("tls"), &config.tls.names, clock.now())
            .map_err(|e| Failure::new(format!("cannot make a certificate: {e}")))?;
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let vault = Vault::open(&vault_config, clock)?;
        vault.unseal_with(holder).await?;
        let first = officer(&vault, "first security officer").await;
        let second = officer(&vault, "second security officer").await;
        vault.close().await;
        Ok(Created { first: first?, second: second? })
    })
}

/// Starts the server on `listen` (or the configured address), unsealed when the passphrase or enough shares are given, or when it
/// can unseal itself. A `quiet` server logs
/// warnings only, unless it was configured to say more.
pub(super) fn start(
    dir: &Path,
    listen: Option<SocketAddr>,
    passphrase: Option<&SecretString>,
    shares: &[SecretString],
    quiet: bool,
) -> Result<Running, Failure> {
    let configured = || -> Result<Config, Failure> {
        let mut config = load(dir)?;
        config.server.listen = listen.unwrap_or(config.server.listen);
        Ok(config)
    };
    let mut config = configured()?;
    if restoring::look(dir).is_some() {
        let _ = telemetry::start(&config.log);
        wait_for_restore(&config)?;
        // The restore may have brought the vault's own.
        config = configured()?;
    }
    if quiet && config.log.level == LogLevel::Info {
        config.log.level = LogLevel::Warn;
    }
    // Logging that has begun already stays as it is.
    let _ = telemetry::start(&config.log);
    let hardened = harden::confine(&config)?;
    Ok(Running { hardened: Some(hardened), ..run(&config, passphrase, shares)? })
}

/// Says on the vault's address how far the restore is that is under way, until it is over.
fn wait_for_restore(config: &Config) -> Result<(), Failure> {
    let runtime = runtime()?;
    let bound = runtime.block_on(Bound::bind(config, Clock::system())).map_err(|e| {
        Failure::new(format!("cannot serve on {}: {e}", config.server.listen))
            .remedy("free the address or name another with --listen")
    })?;
    tracing::info!(address = %bound.address(), "a restore is under way: /readyz says how far it is");
    let mut signal = runtime.block_on(signals())?;
    let mut told = signal.clone();
    let stop = async move {
        let _ = told.wait_for(|come| *come).await;
    };
    let waited = runtime.block_on(bound.wait_for_restore(&config.dir, stop));
    if *signal.borrow_and_update() {
        return Err(
            Failure::new("stopped while a restore was under way").remedy("start it again: it waits for the restore's end")
        );
    }
    waited.map_err(|e| Failure::new(format!("cannot serve: {e}")))
}

/// Hands the root key of the stopped vault in `dir` from `old` to `new`.
pub(super) fn change_root(dir: &Path, old: Arc<dyn Custody>, new: Arc<dyn Custody>) -> Result<Retired, Failure> {
    let config = load(dir)?;
    let runtime = runtime()?;
    // Nothing is swept or sent meanwhile: the vault is open for this alone.
    let vault = Vault::open(&VaultConfig { sweep_every: None, deliver_every: None, ..vault_config(&config) }, Clock::system())?;
    runtime.block_on(async {
        vault.unseal_with(old.clone()).await?;
        let changed = vault.change_root(old, new).await;
        vault.close().await;
        changed.map_err(|refused| {
            let said = refused.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            Failure::new(format!("the root key stays where it is: {}{said}", refused.code.sentence()))
                .remedy("nothing was changed: what opened the vault still does; `oubliette doctor` looks at the holder of now")
        })
    })
}

/// A file of the root key, unopened.
pub(super) fn root_file(path: &Path) -> Result<RootFile, Failure> {
    if !path.exists() {
        let data = path.parent().and_then(Path::parent).map(|dir| dir.join("data/db"));
        return Err(if data.is_some_and(|data| data.exists()) { OpenError::HalfMade } else { OpenError::NoVault }.into());
    }
    Ok(keys::root::look(path)?)
}

/// How the configuration of `dir` says that a token is reached.
pub(super) fn custody_settings(dir: &Path) -> Result<CustodySettings, Failure> {
    Ok(custody(&load(dir)?))
}

/// Who is to hold the root key of a new vault in `dir`.
pub(super) fn custody_provider(dir: &Path) -> Result<CustodyProvider, Failure> {
    Ok(load(dir)?.custody.provider)
}

fn custody(config: &Config) -> CustodySettings {
    let token = config.custody.module.clone().zip(config.custody.token.clone());
    let pkcs11 = token.map(|(module, token)| Pkcs11Settings { module, token });
    let section = &config.custody;
    // A file that is not absolute is one of the vault's folder.
    let file = |path: &Option<PathBuf>| path.as_ref().map(|path| config.dir.join(path));
    // The file of the root key names its key of KMS, so that one can do without it here.
    let kms = KmsSettings {
        key: section.kms_key.clone().unwrap_or_default(),
        region: section.kms_region.clone(),
        endpoint: section.kms_endpoint.clone(),
        authorities: file(&section.kms_ca_file),
        credentials: file(&section.kms_credentials_file),
        profile: section.kms_profile.clone(),
    };
    let transit = section.transit_address.clone().map(|address| TransitSettings {
        address,
        mount: section.transit_mount.clone(),
        key: section.transit_key.clone().unwrap_or_default(),
        namespace: section.transit_namespace.clone(),
        authorities: file(&section.transit_ca_file),
        token: file(&section.transit_token_file),
        role: section.transit_role_id.clone(),
        secret: file(&section.transit_secret_id_file),
        trim: section.transit_trim,
    });
    CustodySettings {
        pkcs11,
        pin: section.pin_file.clone(),
        kms,
        transit,
        seals: section.on_outage == OnOutage::Seal,
        probe: every(section.probe_seconds),
        grace: Duration::from_secs(section.grace_seconds),
    }
}

fn run(config: &Config, passphrase: Option<&SecretString>, shares: &[SecretString]) -> Result<Running, Failure> {
    let clock = Clock::system();
    let runtime = runtime()?;
    let vault = Vault::open(&vault_config(config), clock.clone())?;
    if let Some(passphrase) = passphrase {
        runtime.block_on(vault.unseal(passphrase))?;
    }
    for share in shares {
        runtime.block_on(vault.unseal_share(share))?;
    }
    if passphrase.is_none() && shares.is_empty() {
        runtime.block_on(vault.unseal_at_start())?;
    }
    let watch = runtime.spawn(vault.clone().watch_custody());
    let listening = config.server.listen;
    let bound = runtime.block_on(Bound::bind(config, clock)).map_err(|e| {
        let metrics = config.metrics.listen.map(|address| format!(", with metrics on {address}")).unwrap_or_default();
        Failure::new(format!("cannot serve on {listening}{metrics}: {e}"))
            .remedy("free the address or name another with --listen; `oubliette doctor` looks over the certificate")
    })?;
    let (address, metrics, fingerprint) = (bound.address(), bound.metrics_address(), bound.fingerprint());
    let signal = runtime.block_on(signals())?;
    let (stop, mut stopped) = watch::channel(false);
    let served = vault.clone();
    let server = runtime.spawn(bound.serve(served, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    Ok(Running { runtime, vault, watch, address, metrics, fingerprint, server, signal, stop, hardened: None })
}

impl Running {
    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        !self.vault.is_sealed()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it says how it fares, if anywhere.
    pub(super) fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// SHA-256 of its certificate, for a person to compare.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What it forbids itself; `None` where it was started without.
    pub(super) fn hardened(&self) -> Option<Hardened> {
        self.hardened
    }

    /// Whether SIGINT or SIGTERM has come.
    pub(super) fn is_stopping(&self) -> bool {
        *self.signal.borrow()
    }

    /// Waits for SIGINT or SIGTERM, then [stops](Self::stop). A server that ends by itself ends the wait as well.
    pub(super) fn until_signal(mut self) -> Result<(), Failure> {
        let (signal, server) = (&mut self.signal, &mut self.server);
        let ended = self.runtime.block_on(async {
            tokio::select! {
                _ = signal.wait_for(|come| *come) => None,
                ended = server => Some(ended),
            }
        });
        match ended {
            Some(ended) => self.close(ended),
            None => self.stop(),
        }
    }

    /// Stops: calls that are under way are finished, the keys are emptied from memory, the store and the trail are closed.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        let ended = self.runtime.block_on(&mut self.server);
        self.close(ended)
    }

    fn close(self, ended: Result<std::io::Result<()>, JoinError>) -> Result<(), Failure> {
        // It would open a sealed vault again.
        self.watch.abort();
        self.runtime.block_on(self.vault.close());
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(Failure::new(format!("the server stopped: {e}"))),
            Err(_) => Err(Failure::new("the server ended in a fault").remedy("its log says where")),
        }
    }
}

/// What the configuration of `dir` says, for looking it over.
pub(super) fn configuration(dir: &Path) -> Result<Config, Failure> {
    load(dir)
}

/// Whether certificate and key of the configuration can be served with, together; else why not.
pub(super) fn certificate_trouble(config: &Config) -> Option<String> {
    let read = tls::Certificates::read(config.certificate_file(), config.key_file(), config.tls.client_ca.clone());
    read.err().map(|error| error.to_string())
}

/// The address in the configuration of `dir`.
pub(super) fn listen_address(dir: &Path) -> Result<SocketAddr, Failure> {
    Ok(load(dir)?.server.listen)
}

/// True from the first SIGINT or SIGTERM on. A second one ends the process at once.
async fn signals() -> Result<watch::Receiver<bool>, Failure> {
    let failed = |e| Failure::new(format!("cannot listen for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send_replace(true) {
                // What was acknowledged is durable already: ending now loses nothing but time at the next start.
                std::process::exit(130);
            }
        }
    });
    Ok(receiver)
}

fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("cannot start threads: {e}")))
}

fn load(dir: &Path) -> Result<Config, Failure> {
    Config::load(dir).map_err(|e| Failure::new(e.to_string()).remedy(format!("correct {}", dir.join("config.toml").display())))
}

fn vault_config(config: &Config) -> VaultConfig {
    VaultConfig {
        trail_reads: match config.trail.reads {
            TrailReads::Durable => Mode::Durable,
            TrailReads::Written => Mode::Written,
        },
        cache_bytes: config.cache.bytes,
        cache_subjects: config.cache.subjects,
        second_person_for_callers: config.callers.second_person,
        people_per_hour: config.limits.people_per_hour,
        bundle_days: config.bundles.days,
        step_up_seconds: config.limits.step_up_seconds,
        custody: custody(config),
        pace: Pace { percent: config.keys.background_percent },
        periods: periods(&config.keys),
        keyring: places::of(config),
        backup: Some(backup_settings(&config.backup)).filter(|settings| !settings.targets.is_empty()),
        sweep_every: every(config.sweep.every_seconds),
        deliver_every: every(config.post.every_seconds),
        post: post_settings(&config.dir, &config.post),
        ..VaultConfig::in_dir(PathBuf::from(&config.dir))
    }
}

fn backup_settings(section: &BackupSection) -> Settings {
    Settings {
        targets: section.folders(),
        needed: section.seal_targets,
        every: Some(section.every_seconds).filter(|every| *every > 0).map(std::time::Duration::from_secs),
        keep: section.keep,
        seal: match section.seal {
            Seal::Immediate => SealPolicy::Immediate,
            Seal::AfterBackup => SealPolicy::AfterBackup,
        },
        bytes_per_second: section.mib_per_second << 20,
    }
}

fn periods(section: &KeysSection) -> Periods {
    Periods {
        overdue: BTreeMap::from([
            (Aged::Root, section.root_overdue_days),
            (Aged::Epoch, section.epoch_overdue_days),
            (Aged::Tree, section.tree_overdue_days),
            (Aged::Subjects, section.subjects_overdue_days),
            (Aged::Index, section.index_overdue_days),
            (Aged::Tenant, section.tenant_overdue_days),
            (Aged::Signing, section.signing_overdue_days),
        ]),
        by_itself: BTreeMap::from([
            (Aged::Epoch, section.epoch_rotate_days),
            (Aged::Tree, section.tree_rotate_days),
            (Aged::Subjects, section.subjects_rotate_days),
            (Aged::Index, section.index_rotate_days),
            (Aged::Tenant, section.tenant_rotate_days),
            (Aged::Signing, section.signing_rotate_days),
        ]),
    }
}

fn every(seconds: u64) -> Option<Duration> {
    Some(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// How letters leave. A folder that is not absolute is one of the vault's own.
fn post_settings(dir: &Path, section: &PostSection) -> post::Settings {
    let smtp = section.smtp_host.as_ref().map(|host| {
        let (security, usual) = match section.smtp_security {
            SmtpSecurity::Tls => (Security::Tls, 465),
            SmtpSecurity::Starttls => (Security::StartTls, 587),
            SmtpSecurity::None => (Security::None, 25),
        };
        Way::Smtp(SmtpSettings {
            host: host.clone(),
            port: section.smtp_port.unwrap_or(usual),
            security,
            user: section.smtp_user.clone(),
            password_file: section.smtp_password_file.clone(),
        })
    });
    let webhook = section.webhook.clone().map(Way::Webhook);
    let maildir = section.maildir.as_ref().map(|folder| Way::Maildir(dir.join(folder)));
    post::Settings {
        way: smtp.or(webhook).or(maildir),
        from: section.from.clone(),
        authorities: section.ca_file.clone(),
        patience: Duration::from_secs(section.timeout_seconds),
    }
}

async fn officer(vault: &Vault, name: &str) -> Result<SecretString, Failure> {
    let Some(tenant) = vault.tenants().next() else { return Err(Failure::new("the vault has no tenant")) };
    let body = PutCaller::of(name, CallerKind::Person, vec![Role::SecurityOfficer], Vec::new());
    match vault.bootstrap(&tenant, body).await {
        Ok((_, token)) => Ok(token.into()),
        Err(refused) => Err(Failure::new(format!("the {name} could not be made: {}", refused.code.sentence()))),
    }
}

impl From<keys::KeysError> for Failure {
    fn from(error: keys::KeysError) -> Self {
        OpenError::from(error).into()
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let failure = Failure::new(error.to_string());
        match error {
            OpenError::Exists => failure.remedy("name another folder; nothing was touched"),
            OpenError::NoVault => failure.remedy("name the folder that `oubliette init` made"),
            OpenError::Store(_) => failure.remedy("is the vault running already? Stop it first; else see `oubliette doctor`"),
            OpenError::Keys(keys::KeysError::Away { .. }) => failure.remedy(
                "bring the place back: its disk, its folder, its token; or `oubliette keys places remove --lost`. `oubliette keys places list` shows all",
            ),
            OpenError::Keys(keys::KeysError::Places(_)) => failure.remedy(
                "nothing was changed. [keyring] of config.toml must name the places that the keyring is in: `oubliette keys places list` shows them, add and remove change them",
            ),
            OpenError::Keys(keys::KeysError::Token(_)) => failure.remedy(
                "is the token there, and are module, token and pin_file under [custody] right? Nothing was changed; without its key the vault stays closed",
            ),
            OpenError::Keys(keys::KeysError::Holder(..)) => failure.remedy(
                "mend the way to the provider, its credentials or its key: see [custody] in config.toml; `oubliette doctor` says which. Nothing was changed",
            ),
            OpenError::Keys(keys::KeysError::Share(_)) => failure.remedy("give the shares of the last deal, each once; nothing was changed"),
            OpenError::Keys(keys::KeysError::OtherCustody(_)) => failure.remedy("keys/root says who holds it: give what that takes"),
            OpenError::Keys(keys::KeysError::WrongPin) => failure.remedy("correct the PIN; a token locks itself after some wrong ones"),
            OpenError::Keys(keys::KeysError::WrongPassphrase) => failure.remedy("try again with the right passphrase"),
            OpenError::Trail(_) => failure.remedy("`oubliette audit verify` names the first break"),
            OpenError::Foreign => failure.remedy("keys/ and data/ come from two vaults: put the right ones together"),
            OpenError::RolledBack => failure.remedy(
                "put back data/db and data/trail of one moment; a copy must be made while the vault is stopped. `oubliette audit verify` names what is missing",
            ),
            OpenError::HalfMade => failure.remedy("nothing was touched"),
            OpenError::Restoring | OpenError::NoData => failure.remedy("run `oubliette backup restore TARGET DIR`; see docs/OPERATIONS.md"),
            OpenError::Format => failure.remedy("use the version of oubliette that made it, or a newer one"),
            OpenError::Keys(_) | OpenError::File(..) | OpenError::Tenant(_) => failure.remedy("see `oubliette doctor`"),
        }
    }
}

impl From<UnsealError> for Failure {
    fn from(error: UnsealError) -> Self {
        match error {
            UnsealError::WrongPassphrase => Failure::new(error.to_string()).remedy("try again; nothing was changed"),
            UnsealError::WrongPin => {
                Failure::new(error.to_string()).remedy("correct the PIN; a token locks itself after some wrong ones")
            }
            UnsealError::TooSoon(_) => Failure::new(error.to_string()),
            UnsealError::Open(open) => open.into(),
        }
    }
}

/// A server on a free port without logging, which would take the panics of other tests away.
#[cfg(test)]
pub(super) fn start_quietly(dir: &Path, passphrase: &SecretString) -> Result<Running, Failure> {
    let mut config = load(dir)?;
    config.server.listen.set_port(0);
    run(&config, Some(passphrase), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_a_new_vault_changes_no_default() {
        assert_eq!(Config::parse(CONFIG, std::iter::empty()).unwrap(), Config::default());
        // And with its comments taken off, it names settings that exist.
        let named: String = CONFIG
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.starts_with('[') || line.contains(" = "))
            .map(|line| line.split("    ").next().unwrap_or_default().to_owned() + "\n")
            .collect();
        let config = Config::parse(&named, std::iter::empty()).unwrap();
        assert_eq!(config.server.listen, Config::default().server.listen);
    }

    #[test]
    fn a_new_vault_has_two_officers_and_a_private_folder() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("vault");
        let created = create(&dir, &"correct horse battery staple".into()).unwrap();
        use keys::secret::ExposeSecret;
        assert_ne!(created.first.expose_secret(), created.second.expose_secret());
        for name in ["config.toml", "vault.pub", "keys/root", "keys/keyring", "tls/ca.pem", "data/db", "data/trail"] {
            assert!(dir.join(name).exists(), "{name}");
        }
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert!(create(&dir, &"correct horse battery staple".into()).is_err(), "twice");
    }
}
