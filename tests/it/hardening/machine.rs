//! A vault of its own with callers, and a server of the built binary over it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::time::Clock;
use oubliette::model::wire::PutCaller;
use oubliette::vault::{Vault, VaultConfig};
use rustls::ClientConfig;
use serde_json::Value;

use crate::house::PASSPHRASE;
use crate::https::{Connection, Reply, trusting};

const CALLERS: [(&str, CallerKind, Role); 5] = [
    ("writer", CallerKind::Service, Role::Writer),
    ("reader", CallerKind::Service, Role::Reader),
    ("officer", CallerKind::Person, Role::PrivacyOfficer),
    ("second", CallerKind::Person, Role::PrivacyOfficer),
    ("keys", CallerKind::Person, Role::KeyAdmin),
];

/// A vault in a folder of its own, stopped.
pub(super) struct Machine {
    home: tempfile::TempDir,
    pub(super) tokens: BTreeMap<&'static str, String>,
}

impl Machine {
    /// A fresh vault that `init` made, and a token for each kind of caller.
    pub(super) fn new() -> Self {
        let machine = Self::without_callers();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tokens = runtime.block_on(async {
            let vault = Vault::open(&VaultConfig::in_dir(machine.vault()), Clock::system()).unwrap();
            vault.unseal(&PASSPHRASE.to_owned().into()).await.unwrap();
            let tenant = vault.tenants().next().unwrap().clone();
            let purposes: Vec<String> = tenant.purposes().iter().map(|purpose| purpose.id.clone()).collect();
            let mut tokens = BTreeMap::new();
            for (name, kind, role) in CALLERS {
                let mut body = PutCaller::of(name, kind, vec![role], purposes.clone());
                body.trained_at = (kind == CallerKind::Person).then(|| jiff::civil::date(9000, 1, 1));
                tokens.insert(name, vault.bootstrap(&tenant, body).await.unwrap().1);
            }
            vault.close().await;
            tokens
        });
        Self { tokens, ..machine }
    }

    /// A fresh vault that `init` made.
    pub(super) fn without_callers() -> Self {
        let home = tempfile::tempdir().unwrap();
        let machine = Self { home, tokens: BTreeMap::new() };
        let passphrase = machine.secret("passphrase", PASSPHRASE);
        let (vault, one, two) = (machine.text("vault"), machine.text("one.token"), machine.text("two.token"));
        let init = ["init", &vault, "--passphrase-file", &passphrase, "--token-file", &one, "--second-token-file", &two];
        let made = machine.command(&init).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        machine
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(super) fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    /// A file of mode 0600.
    pub(super) fn secret(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), format!("{text}\n")).unwrap();
        mode(&self.path(name), 0o600);
        self.text(name)
    }

    /// What config.toml says.
    pub(super) fn configure(&self, text: &str) {
        fs::write(self.vault().join("config.toml"), text).unwrap();
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
        command.arg("--json").args(arguments).stdin(Stdio::null());
        command
    }

    /// Starts `serve`; what it said when it ends instead of listening.
    pub(super) fn try_serve(&self, arguments: &[&str]) -> Result<Serving, Value> {
        let vault = self.text("vault");
        let all = [&["serve", "--dir", &vault, "--listen", "127.0.0.1:0"], arguments].concat();
        let (out, errors) = (self.path("served"), self.path("errors"));
        let mut command = self.command(&all);
        let mut child = command.stdout(File::create(&out).unwrap()).stderr(File::create(&errors).unwrap()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(said) = serde_json::from_slice::<Value>(&fs::read(&out).unwrap()) {
                let address = said["url"].as_str().unwrap().strip_prefix("https://").unwrap().parse().unwrap();
                let trust = trusting(&self.vault().join("tls/ca.pem"), &[&rustls::version::TLS13]);
                return Ok(Serving { child, said, address, trust, errors });
            }
            if child.try_wait().unwrap().is_some() {
                return Err(last_json(&fs::read(&errors).unwrap()));
            }
            assert!(Instant::now() < until, "it neither listens nor ends");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The same; it must listen.
    pub(super) fn serve(&self, arguments: &[&str]) -> Serving {
        self.try_serve(arguments).unwrap_or_else(|said| panic!("{said}"))
    }

    /// The same, opened with the passphrase.
    pub(super) fn serve_open(&self) -> Serving {
        self.serve(&["--passphrase-file", &self.text("passphrase")])
    }
}

/// The last line that is a JSON document.
pub(super) fn last_json(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| text.into_owned().into())
}

/// What a command reported, whether it went well or not.
pub(super) fn report(output: &Output) -> Value {
    if output.status.success() { last_json(&output.stdout) } else { last_json(&output.stderr) }
}

pub(super) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A server of the built binary; killed when dropped.
pub(super) struct Serving {
    child: Child,
    pub(super) said: Value,
    pub(super) address: SocketAddr,
    trust: Arc<ClientConfig>,
    errors: PathBuf,
}

impl Serving {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn connect(&self) -> Connection {
        Connection::open(self.address, &self.trust)
    }

    /// What it wrote to standard error so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One call over a connection.
pub(super) fn call(
    connection: &mut Connection,
    (method, path): (&str, &str),
    token: Option<&str>,
    purpose: Option<&str>,
    body: Option<&Value>,
) -> Reply {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    if let Some(token) = token {
        request += &format!("authorization: Bearer {token}\r\n");
    }
    if let Some(purpose) = purpose {
        request += &format!("vault-purpose: {purpose}\r\n");
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    request += &format!("\r\n{body}");
    connection.exchange(request.as_bytes()).expect("an answer")
}
