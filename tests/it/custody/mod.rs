//! Who holds the root key: each provider through the built binary, from `init` to a key that was deleted.

mod kill;
mod kms;
mod passphrase;
mod pkcs11;
mod places;
mod remote;
mod shares;
mod transit;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::PASSPHRASE;

/// A folder with a vault, files with secrets, and whatever environment the vault's processes need.
struct Yard {
    home: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

/// What a command said.
struct Said {
    code: i32,
    value: Value,
    error: Value,
}

impl Said {
    #[track_caller]
    fn good(self) -> Value {
        assert_eq!(self.code, 0, "{} {}", self.value, self.error);
        self.value
    }

    /// That it failed with this in its words.
    #[track_caller]
    fn bad(self, word: &str) {
        assert_ne!(self.code, 0, "{}", self.value);
        assert!(self.error["error"].as_str().unwrap_or_default().contains(word), "{}", self.error);
        assert!(self.error["remedy"].is_string(), "it says no remedy: {}", self.error);
    }
}

impl Yard {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    /// A file of mode 0600.
    fn secret(&self, name: &str, text: &str) -> String {
        owned(&self.path(name), text);
        self.text(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
        command.arg("--json").args(arguments).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let parse = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or(json!(text))
        };
        Said { code: output.status.code().unwrap(), value: parse(&output.stdout), error: parse(&output.stderr) }
    }

    /// `init` with these arguments; the officers' tokens are in files.
    fn init(&self, arguments: &[&str]) -> Said {
        let (vault, one, two) = (self.text("vault"), self.text("one.token"), self.text("two.token"));
        let mut all = vec!["init", vault.as_str(), "--token-file", one.as_str(), "--second-token-file", two.as_str()];
        all.extend(arguments);
        self.run(&all)
    }

    fn migrate(&self, arguments: &[&str]) -> Said {
        let vault = self.text("vault");
        let mut all = vec!["keys", "migrate", vault.as_str()];
        all.extend(arguments);
        self.run(&all)
    }

    /// The findings of `doctor` under this check.
    fn doctor(&self, check: &str) -> Vec<(String, String)> {
        let said = self.run(&["doctor", &self.text("vault")]);
        let report = if said.code == 0 { said.value } else { said.error["report"].clone() };
        let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report}")).clone();
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        findings.iter().filter(|one| one["check"] == check).map(|one| (text(one, "level"), text(one, "found"))).collect()
    }

    /// Starts `serve`; the error when it ends instead of listening.
    fn serve(&self, arguments: &[&str]) -> Result<Served<'_>, Said> {
        let vault = self.text("vault");
        let (out, errors) = (self.path("served"), self.path("errors"));
        let mut all = vec!["serve", "--dir", vault.as_str(), "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let mut command = self.command(&all);
        let mut child = command.stdout(File::create(&out).unwrap()).stderr(File::create(&errors).unwrap()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(said) = serde_json::from_slice::<Value>(&fs::read(&out).unwrap()) {
                let url = said["url"].as_str().unwrap().to_owned();
                return Ok(Served { yard: self, child, url, state: said["state"].as_str().unwrap().to_owned() });
            }
            if let Some(status) = child.try_wait().unwrap() {
                let text = fs::read_to_string(&errors).unwrap();
                let error = text.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or(json!(text));
                return Err(Said { code: status.code().unwrap(), value: Value::Null, error });
            }
            assert!(Instant::now() < until, "it neither listens nor ends");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What `serve` says when it does not start.
    fn does_not_serve(&self, arguments: &[&str], word: &str) {
        match self.serve(arguments) {
            Ok(_) => panic!("it serves"),
            Err(said) => said.bad(word),
        }
    }

    /// That the vault opens when it starts.
    fn opens(&self, arguments: &[&str]) {
        assert_eq!(self.serve(arguments).unwrap_or_else(|said| panic!("{}", said.error)).state, "open");
    }
}

fn owned(path: &Path, text: &str) {
    fs::write(path, format!("{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A server of the built binary; killed when dropped.
struct Served<'a> {
    yard: &'a Yard,
    child: Child,
    url: String,
    state: String,
}

impl Served<'_> {
    /// A command that speaks to it.
    fn run(&self, arguments: &[&str]) -> Said {
        let ca = self.yard.text("vault/tls/ca.pem");
        let mut all = arguments.to_vec();
        all.extend(["--url", self.url.as_str(), "--ca", ca.as_str()]);
        self.yard.run(&all)
    }

    /// The file of a fresh key admin's token.
    fn key_admin(&self) -> String {
        let (one, two) = (self.yard.text("one.token"), self.yard.text("two.token"));
        let put = ["--name", "keys", "--kind", "service", "--role", "key_admin", "--token-file"];
        let made = self.run(&[&["caller", "put"], &put[..], &[one.as_str()]].concat()).good();
        let id = made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        self.run(&[&["caller", "put", id.as_str()], &put[..], &[two.as_str()]].concat()).good();
        let token = self.yard.text("keys.token");
        self.run(&["token", "issue", &id, "--token-file", &one, "--out", &token]).good();
        token
    }

    /// What `keys list` says of the root key.
    fn root(&self, token: &str) -> Value {
        let keys = self.run(&["keys", "list", "--token-file", token]).good();
        keys["keys"].as_array().unwrap().iter().find(|key| key["kind"] == "root").unwrap().clone()
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A vault that a passphrase opens, whose passphrase is in a file.
fn with_passphrase() -> (Yard, String) {
    let yard = Yard::new();
    let passphrase = yard.secret("passphrase", PASSPHRASE);
    yard.init(&["--passphrase-file", &passphrase]).good();
    (yard, passphrase)
}

/// The file of the root key goes while the vault runs, and is not there when it starts; then it is put back.
fn a_lost_root_file_is_missed_where_it_is_needed(yard: &Yard, opened_by: &[&str], change: &[&str]) {
    let served = yard.serve(opened_by).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    fs::rename(yard.path("vault/keys/root"), yard.path("root")).unwrap();
    // An open vault goes on, and makes no new root key out of nothing.
    served.run(&["keys", "rotate", "--token-file", &admin]).good();
    let said = served.run(&[&["keys", "rotate-root", "--token-file", admin.as_str()], change].concat());
    assert_ne!(said.code, 0, "{}", said.value);
    assert!(!yard.path("vault/keys/root").exists() && !yard.path("vault/keys/root.new").exists());
    drop(served);
    yard.does_not_serve(opened_by, "keys/root was lost");
    let found = yard.doctor("files");
    assert!(found.iter().any(|(level, found)| level == "bad" && found.contains("keys/root")), "{found:?}");
    // A file of the same name that is none, or not whole.
    let whole = fs::read(yard.path("root")).unwrap();
    let put = |bytes: &[u8]| {
        fs::write(yard.path("vault/keys/root"), bytes).unwrap();
        fs::set_permissions(yard.path("vault/keys/root"), fs::Permissions::from_mode(0o600)).unwrap();
    };
    put(&whole[..whole.len() - 1]);
    yard.does_not_serve(opened_by, "do not open");
    put(&whole);
    yard.opens(opened_by);
}
