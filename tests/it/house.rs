//! A whole vault behind real HTTPS, for one test or for several that do not get in each other's way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use jiff::{SignedDuration, Timestamp};
use keys::Places;
use keys::secret::SecretString;
use oubliette::audit::note::VerifyingKey;
use oubliette::backup::{self, SealPolicy};
use oubliette::config::{Config, KeysSection, Seal};
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::ids::{CallerId, TenantId};
use oubliette::model::time::Clock;
use oubliette::model::wire::PutCaller;
use oubliette::post::{Settings, Way};
use oubliette::server::Bound;
use oubliette::store::sled::{self, SledStore};
use oubliette::tenant::Tenant;
use oubliette::vault::{Aged, Pace, Periods, Vault, VaultConfig};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::api::agrees;
use crate::https::{Connection, Reply, trusting};

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// A caller and a bearer token of it.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) id: CallerId,
    pub(crate) text: String,
}

/// A vault that serves.
pub(crate) struct House {
    pub(crate) home: Arc<Home>,
    pub(crate) vault: Vault,
    /// The store under the running vault, where the house has controllers of its own.
    pub(crate) store: Option<Arc<SledStore>>,
    pub(crate) address: SocketAddr,
    runtime: Runtime,
    server: Option<Server>,
    trust: Arc<ClientConfig>,
    idle: Mutex<Vec<Connection>>,
}

/// What outlives a restart: the files, the clock, and the tokens that were given out.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    pub(crate) clock: Clock,
    configure: fn(&mut Config),
    post: Settings,
    controllers: Vec<TenantId>,
    holders: Mutex<BTreeMap<(usize, Role, u8), Token>>,
    count: Mutex<u64>,
}

struct Server {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl House {
    /// A fresh vault with the shipped tenant and without limits on rates.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, with other settings.
    pub(crate) fn start_with(configure: fn(&mut Config)) -> Self {
        Self::make(configure, 0, None)
    }

    /// The same, with another way out for letters than the maildir `letters` among its files.
    pub(crate) fn start_posting(post: Settings) -> Self {
        Self::make(|_| {}, 0, Some(post))
    }

    /// A fresh vault with so many controllers, over a store that the test can reach into.
    pub(crate) fn of_controllers(count: u8) -> Self {
        Self::make(|_| {}, count, None)
    }

    /// The same, with other settings.
    pub(crate) fn of_controllers_with(count: u8, configure: fn(&mut Config)) -> Self {
        Self::make(configure, count, None)
    }

    /// A vault that other tests use too: only its own objects are a test's business.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<House>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let house = Arc::new(Self::start());
            *shared = Arc::downgrade(&house);
            house
        })
    }

    fn make(configure: fn(&mut Config), controllers: u8, post: Option<Settings>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let letters = Some(Way::Maildir(dir.path().join("letters")));
        // What a test's own partners are vouched for by, if it has any.
        let authorities = Some(dir.path().join("partners.pem"));
        let post = post.unwrap_or(Settings { way: letters, authorities, ..Settings::default() });
        let clock = Clock::set_to("2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap());
        Vault::create(&config(dir.path()), &clock, &passphrase()).unwrap();
        let controllers = (1..=controllers).map(|number| TenantId::from_bytes([number; 16])).collect();
        let home = Home { dir, clock, configure, post, controllers, holders: Mutex::default(), count: Mutex::default() };
        Self::open(Arc::new(home)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens what a house left behind, or says why that cannot be.
    pub(crate) fn open(home: Arc<Home>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (vault, store) = home.vault()?;
        runtime.block_on(vault.unseal(&passphrase())).map_err(|error| error.to_string())?;
        let mut config = Config { dir: home.path().to_owned(), ..Config::default() };
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        (config.limits.failures_per_second, config.limits.caller_per_second) = (0, 0);
        (home.configure)(&mut config);
        let bound = runtime.block_on(Bound::bind(&config, home.clock.clone())).unwrap();
        let address = bound.address();
        let (stop, stopped) = oneshot::channel();
        let served = vault.clone();
        let task = runtime.spawn(bound.serve(served, async move { drop(stopped.await) }));
        let trust = trusting(&home.path().join("tls/ca.pem"), &[&rustls::version::TLS13]);
        Ok(Self { home, vault, store, address, runtime, server: Some(Server { stop, task }), trust, idle: Mutex::default() })
    }

    /// Stops the server and closes the vault's files.
    pub(crate) fn close(self) -> Arc<Home> {
        self.home.clone()
    }

    /// Stops, and starts again over the same files.
    pub(crate) fn restart(self) -> Self {
        Self::open(self.close()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits for something of the vault's own.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// A connection of one's own.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address, &self.trust)
    }

    /// The one caller with this role, and with every purpose.
    pub(crate) fn holder(&self, role: Role) -> Token {
        self.holder_of(0, role, 0)
    }

    /// Another one with the same role.
    pub(crate) fn second(&self, role: Role) -> Token {
        self.holder_of(0, role, 1)
    }

    /// The one caller with this role for the controller of that number.
    pub(crate) fn holder_of(&self, controller: usize, role: Role, number: u8) -> Token {
        let place = (controller, role, number);
        if let Some(token) = self.home.holders.lock().unwrap().get(&place) {
            return token.clone();
        }
        let token = self.caller_of(controller, CallerKind::Person, &[role], None);
        self.home.holders.lock().unwrap().entry(place).or_insert(token).clone()
    }

    /// A new caller with these roles, for these purposes.
    pub(crate) fn caller(&self, kind: CallerKind, roles: &[Role], purposes: &[&str]) -> Token {
        self.caller_of(0, kind, roles, Some(purposes))
    }

    /// The same for the controller of that number.
    pub(crate) fn caller_of(&self, controller: usize, kind: CallerKind, roles: &[Role], purposes: Option<&[&str]>) -> Token {
        let tenant = self.tenant(controller);
        let all = || tenant.purposes().iter().map(|purpose| purpose.id.clone()).collect();
        let purposes = purposes.map_or_else(all, |some| some.iter().map(|id| (*id).to_owned()).collect());
        let mut body = PutCaller::of("somebody", kind, roles.to_vec(), purposes);
        body.trained_at = (kind == CallerKind::Person).then(|| jiff::civil::date(2026, 11, 1));
        let (id, text) = self.wait(self.vault.bootstrap(&tenant, body)).unwrap();
        Token { id, text }
    }

    /// The controller of that number.
    pub(crate) fn tenant(&self, controller: usize) -> Tenant {
        let wanted = self.home.controllers.get(controller);
        self.vault.tenants().find(|tenant| wanted.is_none_or(|id| tenant.id() == *id)).unwrap().as_ref().clone()
    }

    pub(crate) fn get(&self, path: &str) -> Ask<'_> {
        self.ask("GET", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Ask<'_> {
        self.ask("DELETE", path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Ask<'_> {
        self.ask("POST", path).json(body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Ask<'_> {
        self.ask("PUT", path).json(body)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Ask<'_> {
        self.ask("PATCH", path).json(body).header("content-type", "application/merge-patch+json")
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        Ask { house: self, method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: None }
    }

    /// A number that no other call has had.
    pub(crate) fn number(&self) -> u64 {
        let mut count = self.home.count.lock().unwrap();
        *count += 1;
        *count
    }

    /// A new person of a class: shown the policy, with a contract in force and every consent given.
    pub(crate) fn person(&self, class: &str) -> String {
        let subject = self.newcomer(class);
        self.contract(&subject, "ord-0", "active").expect(201);
        for purpose in ["c-marketing", "c-survey", "e-ads", "e-personalise", "i-errors"] {
            self.consent(&subject, purpose, "given").expect(201);
        }
        subject
    }

    /// A new person of a class who was shown the policy and has neither agreed to anything nor a contract.
    pub(crate) fn newcomer(&self, class: &str) -> String {
        let email = format!("person{}@example.org", self.number());
        let aliases = json!([{"type": "email", "value": email}]);
        let body = json!({"class": class, "jurisdiction": "DE", "aliases": aliases, "notice": notice()});
        let purpose = if class == "consumer" { "a-account" } else { "f-supplier" };
        self.post("/v1/subjects", &body).by(&self.holder(Role::Writer)).purpose(purpose).send().expect(201).member("id")
    }

    /// Opens (`active`) or closes (`closed`) a contract.
    pub(crate) fn contract(&self, subject: &str, reference: &str, state: &str) -> Reply {
        let path = format!("/v1/subjects/{subject}/contracts/{reference}");
        self.put(&path, &json!({"state": state, "from": "2026-01-01"})).by(&self.holder(Role::Writer)).send()
    }

    /// A new consumer.
    pub(crate) fn ada(&self) -> String {
        self.person("consumer")
    }

    /// A record of these fields, collected for these purposes; the first is what it is written for.
    pub(crate) fn write(&self, subject: &str, purposes: &[&str], fields: Value) -> String {
        self.try_write(subject, purposes, fields).expect(201).member("id")
    }

    /// The same, whatever comes of it.
    pub(crate) fn try_write(&self, subject: &str, purposes: &[&str], fields: Value) -> Reply {
        let body = json!({"kind": "contact", "purposes": purposes, "fields": fields});
        let path = format!("/v1/subjects/{subject}/records");
        citing(purposes[0], self.post(&path, &body)).by(&self.holder(Role::Writer)).purpose(purposes[0]).send()
    }

    /// A record with name, e-mail, phone and address, for the account, the service and marketing.
    pub(crate) fn contact(&self, subject: &str) -> String {
        let fields =
            json!({"name": "Ada", "email": "ada@example.org", "phone": "+49 30 1234567", "address": "Unter den Linden 1"});
        self.write(subject, &["a-account", "b-service", "c-marketing"], fields)
    }

    /// What the reader sees of a subject for a purpose; `fields` as in the query, empty for all.
    pub(crate) fn read(&self, subject: &str, purpose: &str, fields: &str) -> Reply {
        let query = if fields.is_empty() { String::new() } else { format!("?fields={fields}") };
        let ask = self.get(&format!("/v1/subjects/{subject}/records{query}")).by(&self.holder(Role::Reader)).purpose(purpose);
        citing(purpose, ask).send()
    }

    /// Opens an erasure and has the second officer approve it: the answer of the approval.
    pub(crate) fn erase(&self, body: &Value) -> Reply {
        let opened = self.post("/v1/erasures", body).by(&self.holder(Role::PrivacyOfficer)).send().expect(201).member("id");
        let path = format!("/v1/erasures/{opened}/approvals");
        self.post(&path, &json!({})).by(&self.second(Role::PrivacyOfficer)).send().expect(200)
    }

    /// Erases a subject.
    pub(crate) fn erase_subject(&self, subject: &str) -> Reply {
        self.erase(&json!({"subject": subject, "scope": "subject", "cause": "request"}))
    }

    /// Seals the vault and opens it again, in the running server.
    pub(crate) fn vault_seals_and_opens(&self) {
        self.wait(self.vault.seal());
        self.wait(self.vault.unseal(&passphrase())).unwrap();
    }

    /// Every event of the trail, from the entry `from` on.
    pub(crate) fn events(&self, filter: &str) -> Vec<Value> {
        let auditor = self.holder(Role::Auditor);
        let (mut events, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/audit/events?limit=500{filter}{cursor}")).by(&auditor).send().expect(200).json();
            events.extend(page["events"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                // The listing itself is an entry, so a page that has nothing more to say ends it.
                Some(next) if !page["events"].as_array().unwrap().is_empty() => cursor = format!("&cursor={next}"),
                _ => return events,
            }
        }
    }
}

/// A legal duty is cited.
fn citing<'a>(purpose: &str, ask: Ask<'a>) -> Ask<'a> {
    if purpose == "l1-legal" { ask.header("vault-rule", "de-hgb-257") } else { ask }
}

impl Drop for House {
    fn drop(&mut self) {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
        if let Some(server) = self.server.take() {
            let _ = server.stop.send(());
            let _ = self.runtime.block_on(server.task);
        }
        self.runtime.block_on(self.vault.close());
    }
}

impl Home {
    /// The vault's directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Turns the clock on.
    pub(crate) fn turn(&self, by: SignedDuration) {
        self.clock.turn(by);
    }

    /// The key that checkpoints and certificates are signed with.
    pub(crate) fn public_key(&self) -> [u8; 32] {
        let text = std::fs::read_to_string(self.path().join("vault.pub")).unwrap();
        text.trim().parse::<VerifyingKey>().unwrap().public
    }

    /// A copy of all files as they are now, with the same clock and tokens. The vault must be closed.
    pub(crate) fn copy(&self) -> Arc<Home> {
        let dir = tempfile::tempdir().unwrap();
        copy_tree(self.path(), dir.path());
        Arc::new(Home {
            dir,
            clock: self.clock.clone(),
            configure: self.configure,
            post: self.post.clone(),
            controllers: self.controllers.clone(),
            holders: Mutex::new(self.holders.lock().unwrap().clone()),
            count: Mutex::new(*self.count.lock().unwrap()),
        })
    }

    /// The store itself. The vault must be closed.
    pub(crate) fn store(&self) -> Result<SledStore, oubliette::store::StoreError> {
        SledStore::open(&self.path().join("data/db"), sled::Settings::default(), Arc::new(|_| {}))
    }

    fn vault(&self) -> Result<(Vault, Option<Arc<SledStore>>), String> {
        let mut settings = Config { dir: self.path().to_owned(), ..Config::default() };
        (self.configure)(&mut settings);
        let limits = settings.limits;
        let (people_per_hour, step_up_seconds) = (limits.people_per_hour, limits.step_up_seconds);
        let section = settings.backup;
        let backup = Some(backup::Settings {
            targets: section.folders(),
            every: None,
            keep: section.keep,
            seal: if section.seal == Seal::AfterBackup { SealPolicy::AfterBackup } else { SealPolicy::Immediate },
            needed: section.seal_targets,
            bytes_per_second: section.mib_per_second << 20,
        });
        let backup = backup.filter(|settings| !settings.targets.is_empty());
        let post = self.post.clone();
        // Keys have no ages in a house that says nothing of them: a test that turns the clock by years is about something else.
        let keys = Some(settings.keys).filter(|keys| *keys != KeysSection::default());
        let pace = keys.as_ref().map_or_else(Pace::default, |keys| Pace { percent: keys.background_percent });
        let periods = keys.map_or_else(Periods::default, |keys| Periods {
            overdue: [(Aged::Tree, keys.tree_overdue_days), (Aged::Epoch, keys.epoch_overdue_days)].into(),
            by_itself: [(Aged::Subjects, keys.subjects_rotate_days), (Aged::Epoch, keys.epoch_rotate_days)].into(),
        });
        let config = VaultConfig { people_per_hour, step_up_seconds, post, backup, pace, periods, ..config(self.path()) };
        if self.controllers.is_empty() {
            let vault = Vault::open(&config, self.clock.clone()).map_err(|error| error.to_string())?;
            return Ok((vault, None));
        }
        let vault = keys::root::vault(&self.path().join("keys/root")).map_err(|error| error.to_string())?;
        let store = Arc::new(self.store().map_err(|error| error.to_string())?);
        let tenants = self.controllers.iter().map(|id| Tenant::shipped(*id).unwrap()).collect();
        Ok((Vault::over(config, self.clock.clone(), vault, store.clone(), tenants), Some(store)))
    }
}

/// One request in the making.
pub(crate) struct Ask<'a> {
    house: &'a House,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Ask<'_> {
    pub(crate) fn by(self, token: &Token) -> Self {
        self.header("authorization", &format!("Bearer {}", token.text))
    }

    pub(crate) fn purpose(self, purpose: &str) -> Self {
        self.header("vault-purpose", purpose)
    }

    /// Sets a header; an earlier one of the same name goes.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    /// Any bytes as the body.
    pub(crate) fn raw(mut self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", media)
    }

    /// The bytes of the request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            text += &format!("content-length: {}\r\n", body.len());
        }
        [text.as_bytes(), b"\r\n", self.body.as_deref().unwrap_or_default()].concat()
    }

    /// Sends it over a connection of the house. What is answered has to be as the API is described.
    #[track_caller]
    pub(crate) fn send(self) -> Reply {
        let request = self.bytes();
        let waiting = self.house.idle.lock().unwrap().pop();
        let reused = waiting.is_some();
        let mut connection = waiting.unwrap_or_else(|| self.house.connect());
        let mut reply = connection.exchange(&request);
        if reply.is_none() && reused {
            // It had been idle for too long, or the refusal before left it half read.
            connection = self.house.connect();
            reply = connection.exchange(&request);
        }
        let reply = reply.expect("an answer");
        if reply.header("connection") != Some("close") && reply.status != 413 {
            self.house.idle.lock().unwrap().push(connection);
        }
        agrees(&self.method, &self.path, &reply);
        reply
    }

    /// Sends it over this connection.
    pub(crate) fn send_on(self, connection: &mut Connection) -> Reply {
        connection.exchange(&self.bytes()).expect("an answer")
    }
}

/// Every file under a directory.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode)).unwrap();
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Where the keyring of every vault of this process is, for a test that is alone in it; else in its one plain place.
pub(crate) static KEYRING: OnceLock<fn(&Path) -> Places> = OnceLock::new();

fn config(dir: &Path) -> VaultConfig {
    let config = VaultConfig { on_fatal: Arc::new(|_| {}), cache_bytes: 8 << 20, ..VaultConfig::in_dir(dir) };
    let keyring = KEYRING.get().map_or_else(|| config.keyring.clone(), |places| places(dir));
    VaultConfig { keyring, ..config }
}

fn passphrase() -> SecretString {
    SecretString::from(PASSPHRASE.to_owned())
}

/// That the policy in force was shown.
pub(crate) fn notice() -> Value {
    json!({"policy_version": "current", "language": "de", "channel": "web", "shown_at": "2026-11-23T09:59:00Z"})
}
