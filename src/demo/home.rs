//! The folder of a demo: a vault's folder with the passphrase, the tokens and what was loaded beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use keys::secret::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::officers::{ROLES, Tokens};
use crate::cli::failure::Failure;
use crate::cli::private;

/// Marks a folder as a demo's, and remembers what a restart needs. Mode 0600: it holds tokens.
const STATE: &str = "demo-state.json";

/// A demo's folder.
pub struct Home {
    dir: PathBuf,
    state: State,
}

/// How far a demo has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is no vault yet.
    Empty,
    /// There is a vault with its two security officers.
    Made,
    /// The callers have their tokens.
    Staffed,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// Tokens of the two security officers that the vault was made with.
    bootstrap: Option<(String, String)>,
    tokens: Tokens,
    /// Source of people → how many of them are loaded.
    loaded: BTreeMap<String, usize>,
}

impl Home {
    /// Opens or marks `dir`. A folder with something else in it is refused and left alone.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let state = dir.join(STATE);
        let state = match std::fs::read(&state) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| {
                Failure::new(format!("{} is damaged", state.display()))
                    .remedy("remove the whole folder of the demo, or name another --dir")
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
                    return Err(Failure::new(format!("{} is not empty and not a demo's folder", dir.display()))
                        .remedy("name another --dir; nothing was touched"));
                }
                private::folder(dir)?;
                State::default()
            }
            Err(e) => return Err(Failure::file("read", &state, &e)),
        };
        // Programs wait for absolute paths.
        let dir = std::fs::canonicalize(dir).map_err(|e| Failure::file("look at", dir, &e))?;
        let home = Self { dir, state };
        if home.stage() == Stage::Empty && home.dir.join("keys/root").exists() {
            return Err(Failure::new(format!("{} holds a demo whose making was interrupted", home.dir.display()))
                .remedy("remove the folder, or name another --dir"));
        }
        home.keep()?;
        Ok(home)
    }

    /// The folder, as an absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        match (&self.state.bootstrap, ROLES.iter().all(|(name, ..)| self.state.tokens.contains_key(*name))) {
            (_, true) => Stage::Staffed,
            (Some(_), false) => Stage::Made,
            (None, false) => Stage::Empty,
        }
    }

    /// The passphrase of this demo: 160 random bits, made at the first call.
    pub fn passphrase(&self) -> Result<SecretString, Failure> {
        let path = self.dir.join("passphrase");
        if !path.exists() {
            let bits: [u8; 20] = rand::random();
            let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bits);
            private::write(&path, format!("{text}\n").as_bytes())?;
        }
        private::read_line(&path).map(Into::into)
    }

    /// Writes how the vault of a demo is configured: its letters go into a folder beside it, to nobody.
    pub fn configure(&self) -> Result<(), Failure> {
        let text = "# Letters to people go into a maildir of this demo.\n[post]\nmaildir = \"letters\"\nevery_seconds = 5\n";
        private::write_public(&self.dir.join("config.toml"), text.as_bytes())
    }

    /// The tokens of the two security officers that the vault was made with.
    pub fn bootstrap(&self) -> Result<(SecretString, SecretString), Failure> {
        let tokens = self.state.bootstrap.clone().ok_or_else(|| Failure::new("the demo has no security officers yet"))?;
        Ok((tokens.0.into(), tokens.1.into()))
    }

    /// Keeps the tokens of the two security officers.
    pub fn made(&mut self, first: &str, second: &str) -> Result<(), Failure> {
        self.state.bootstrap = Some((first.to_owned(), second.to_owned()));
        self.keep()
    }

    /// Keeps the tokens of all callers.
    pub fn staffed(&mut self, tokens: Tokens) -> Result<(), Failure> {
        self.state.tokens = tokens;
        self.keep()
    }

    /// The token of a caller of [`ROLES`].
    pub fn token(&self, name: &str) -> Result<SecretString, Failure> {
        let token = self.state.tokens.get(name).cloned();
        token.map(Into::into).ok_or_else(|| Failure::new(format!("the demo has no token of {name}")))
    }

    /// How many people of `source` are loaded.
    pub fn loaded(&self, source: &str) -> usize {
        self.state.loaded.get(source).copied().unwrap_or_default()
    }

    /// Keeps how many people of `source` are loaded.
    pub fn has_loaded(&mut self, source: &str, count: usize) -> Result<(), Failure> {
        self.state.loaded.insert(source.to_owned(), count);
        self.keep()
    }

    /// Programs must not take an earlier run's files for this one's.
    pub fn withdraw(&self) -> Result<(), Failure> {
        for name in ["demo.json", "demo.env"] {
            let path = self.dir.join(name);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Failure::file("remove", &path, &e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes tokens/NAME.token for commands, demo.env for shells and, last, demo.json for programs.
    pub fn publish(&self, url: &str) -> Result<(), Failure> {
        let tokens = self.dir.join("tokens");
        private::folder(&tokens)?;
        let mut shell = format!("export URL={url}\nexport CA={}\n", quoted(&self.file("tls/ca.pem")));
        for (name, token) in &self.state.tokens {
            private::write(&tokens.join(format!("{name}.token")), format!("{token}\n").as_bytes())?;
            shell += &format!("export {}={}\n", name.to_uppercase(), quoted(token));
        }
        private::write(&self.dir.join("demo.env"), shell.as_bytes())?;
        let programs = json!({
            "url": url,
            "ca": self.file("tls/ca.pem"),
            "tokens": self.state.tokens,
            "public_key": self.file("vault.pub"),
            "data": self.file("data/db"),
            "keyring": self.file("keys/keyring"),
        });
        private::write(&self.dir.join("demo.json"), format!("{programs:#}\n").as_bytes())
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn keep(&self) -> Result<(), Failure> {
        let text = serde_json::to_vec(&self.state).map_err(|e| Failure::new(format!("cannot write {STATE}: {e}")))?;
        private::write(&self.dir.join(STATE), &text)
    }
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use keys::secret::ExposeSecret;
    use serde_json::Value;

    use super::*;

    fn staffed() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let mut home = Home::open(&dir.path().join("it's a demo")).unwrap();
        home.made("first", "second").unwrap();
        home.staffed(ROLES.iter().map(|(name, ..)| (name.to_string(), format!("token-of-{name}"))).collect()).unwrap();
        (dir, home)
    }

    #[test]
    fn a_foreign_folder_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("letter"), "hello").unwrap();
        assert!(Home::open(dir.path()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_demo_goes_on_where_it_stopped() {
        let (_dir, mut home) = staffed();
        home.has_loaded("seed", 250).unwrap();
        let passphrase = home.passphrase().unwrap();
        let again = Home::open(home.dir()).unwrap();
        assert_eq!(again.stage(), Stage::Staffed);
        assert_eq!((again.loaded("seed"), again.loaded("file")), (250, 0));
        assert_eq!(again.passphrase().unwrap().expose_secret(), passphrase.expose_secret());
        assert!(passphrase.expose_secret().len() >= 27);
    }

    #[test]
    fn the_letters_of_a_demo_stay_in_its_folder() {
        let (_dir, home) = staffed();
        home.configure().unwrap();
        let config = crate::config::Config::load(home.dir()).unwrap();
        assert_eq!(config.post.maildir.as_deref(), Some(Path::new("letters")));
        assert!(config.post.smtp_host.is_none() && config.post.webhook.is_none());
    }

    #[test]
    fn the_stages_follow_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut home = Home::open(dir.path()).unwrap();
        assert_eq!(home.stage(), Stage::Empty);
        home.made("first", "second").unwrap();
        assert_eq!(home.stage(), Stage::Made);
        home.staffed([("writer".to_owned(), "t".to_owned())].into()).unwrap();
        assert_eq!(home.stage(), Stage::Made, "one caller is not all of them");
    }

    #[test]
    fn demo_json_has_the_keys_that_programs_expect_and_is_private() {
        let (_dir, home) = staffed();
        home.publish("https://127.0.0.1:8443").unwrap();
        let path = home.dir().join("demo.json");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let written: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut names: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["ca", "data", "keyring", "public_key", "tokens", "url"]);
        assert_eq!(written["tokens"].as_object().unwrap().len(), 8);
        for name in ["ca", "data", "keyring", "public_key"] {
            assert!(Path::new(written[name].as_str().unwrap()).is_absolute());
        }
        assert!(written["data"].as_str().unwrap().ends_with("/data/db"));
        home.withdraw().unwrap();
        assert!(!home.dir().join("demo.json").exists() && !home.dir().join("demo.env").exists());
    }

    #[test]
    fn demo_env_survives_a_folder_with_an_apostrophe() {
        let (_dir, home) = staffed();
        home.publish("https://127.0.0.1:8443").unwrap();
        let script = format!(". {} && printf '%s' \"$CA|$PRIVACY_OFFICER_2\"", quoted(&home.file("demo.env")));
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{}|token-of-privacy_officer_2", home.file("tls/ca.pem")));
    }
}
