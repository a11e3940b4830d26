//! The one place where the command line touches the vault, the server and the trail directly.
//! Everything else speaks HTTPS, as any application would.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keys::secret::SecretString;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::failure::Failure;
use super::private;
use crate::audit::Mode;
use crate::config::{Config, LogLevel, TrailReads};
use crate::model::caller::{CallerKind, Role};
use crate::model::time::Clock;
use crate::model::wire::PutCaller;
use crate::server::{Bound, tls};
use crate::telemetry;
use crate::vault::{OpenError, UnsealError, Vault, VaultConfig};

mod offline;

pub(super) use crate::audit::receipt::is_receipt;
pub(super) use offline::{export_trail, public_key, public_key_path, verify_certificate, verify_receipt, verify_trail};

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

# [trail]
# reads = \"durable\"                or \"written\": a read is released once its entry is with the operating system

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
    address: SocketAddr,
    fingerprint: String,
    server: JoinHandle<std::io::Result<()>>,
    signal: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
}

/// Makes a new vault in `dir`: configuration, root key, keyring, store, trail, certificate, two security officers.
pub(super) fn create(dir: &Path, passphrase: &SecretString) -> Result<Created, Failure> {
    private::folder(dir)?;
    let file = dir.join("config.toml");
    if !file.exists() {
        private::write_public(&file, CONFIG.as_bytes())?;
    }
    let clock = Clock::system();
    let config = load(dir)?;
    let vault_config = vault_config(&config);
    Vault::create(&vault_config, &clock, passphrase)?;
    if config.tls.certificate.is_none() && config.tls.key.is_none() {
        tls::first_run(&dir.join("tls"), &config.tls.names, clock.now())
            .map_err(|e| Failure::new(format!("cannot make a certificate: {e}")))?;
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let vault = Vault::open(&vault_config, clock)?;
        vault.unseal(passphrase).await?;
        let first = officer(&vault, "first security officer").await;
        let second = officer(&vault, "second security officer").await;
        vault.close().await;
        Ok(Created { first: first?, second: second? })
    })
}

/// Starts the server on `listen` (or the configured address), unsealed when the passphrase is given. A `quiet` server logs
/// warnings only, unless it was configured to say more.
pub(super) fn start(
    dir: &Path,
    listen: Option<SocketAddr>,
    passphrase: Option<&SecretString>,
    quiet: bool,
) -> Result<Running, Failure> {
    let mut config = load(dir)?;
    if let Some(listen) = listen {
        config.server.listen = listen;
    }
    if quiet && config.log.level == LogLevel::Info {
        config.log.level = LogLevel::Warn;
    }
    // Logging that has begun already stays as it is.
    let _ = telemetry::start(&config.log);
    run(&config, passphrase)
}

fn run(config: &Config, passphrase: Option<&SecretString>) -> Result<Running, Failure> {
    let clock = Clock::system();
    let runtime = runtime()?;
    let vault = Vault::open(&vault_config(config), clock.clone())?;
    if let Some(passphrase) = passphrase {
        runtime.block_on(vault.unseal(passphrase))?;
    }
    let listening = config.server.listen;
    let bound = runtime.block_on(Bound::bind(config, clock)).map_err(|e| {
        Failure::new(format!("cannot serve on {listening}: {e}"))
            .remedy("free the address or name another with --listen; `oubliette doctor` looks over the certificate")
    })?;
    let (address, fingerprint) = (bound.address(), bound.fingerprint());
    let signal = runtime.block_on(signals())?;
    let (stop, mut stopped) = watch::channel(false);
    let served = vault.clone();
    let server = runtime.spawn(bound.serve(served, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    Ok(Running { runtime, vault, address, fingerprint, server, signal, stop })
}

impl Running {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// SHA-256 of its certificate, for a person to compare.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
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
        self.runtime.block_on(self.vault.close());
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(Failure::new(format!("the server stopped: {e}"))),
            Err(_) => Err(Failure::new("the server ended in a fault").remedy("its log says where")),
        }
    }
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

/// Core dumps of this process would hold keys: the limit is 0, and other processes of the account cannot look inside.
pub(super) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if setrlimit(Resource::Core, none).is_err() || set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        tracing::warn!("core dumps of this process could not be turned off");
    }
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
        step_up_seconds: config.limits.step_up_seconds,
        sweep_every: Some(config.sweep.every_seconds).filter(|every| *every > 0).map(std::time::Duration::from_secs),
        ..VaultConfig::in_dir(PathBuf::from(&config.dir))
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

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let failure = Failure::new(error.to_string());
        match error {
            OpenError::Exists => failure.remedy("name another folder; nothing was touched"),
            OpenError::NoVault => failure.remedy("name the folder that `oubliette init` made"),
            OpenError::Store(_) => failure.remedy("is the vault running already? Stop it first; else see `oubliette doctor`"),
            OpenError::Keys(keys::KeysError::WrongPassphrase) => failure.remedy("try again with the right passphrase"),
            OpenError::Trail(_) => failure.remedy("`oubliette audit verify` names the first break"),
            OpenError::Foreign => failure.remedy("keys/ and data/ come from two vaults: put the right ones together"),
            OpenError::RolledBack => failure.remedy(
                "put back data/db and data/trail of one moment; a copy must be made while the vault is stopped. `oubliette audit verify` names what is missing",
            ),
            OpenError::HalfMade => failure.remedy("nothing was touched"),
            OpenError::Format => failure.remedy("use the version of oubliette that made it, or a newer one"),
            OpenError::Keys(_) | OpenError::File(..) | OpenError::Tenant(_) => failure.remedy("see `oubliette doctor`"),
        }
    }
}

impl From<UnsealError> for Failure {
    fn from(error: UnsealError) -> Self {
        match error {
            UnsealError::WrongPassphrase => Failure::new(error.to_string()).remedy("try again; nothing was changed"),
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
    run(&config, Some(passphrase))
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
