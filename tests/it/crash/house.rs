//! A vault with people who may do what the tests need, and calls in few words.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use keys::secret::SecretString;
use oubliette::model::caller::{Caller, CallerKind, Role};
use oubliette::model::code::Code;
use oubliette::model::ids::{ErasureId, RecordId, SubjectId};
use oubliette::model::time::Clock;
use oubliette::model::wire::{ApproveErasure, OperateKeys, PutCaller, ReadRecords};
use oubliette::vault::call::{Answer, Call, Refused};
use oubliette::vault::{Vault, VaultConfig};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) const PASSPHRASE: &str = "correct horse battery staple";

/// The callers of every house.
const CALLERS: [(&str, CallerKind, Role); 5] = [
    ("writer", CallerKind::Service, Role::Writer),
    ("reader", CallerKind::Service, Role::Reader),
    ("officer", CallerKind::Person, Role::PrivacyOfficer),
    ("second", CallerKind::Person, Role::PrivacyOfficer),
    ("keys", CallerKind::Person, Role::KeyAdmin),
];

/// An unsealed vault and its callers.
#[derive(Clone)]
pub(super) struct House {
    pub(super) vault: Vault,
    callers: Arc<BTreeMap<&'static str, Arc<Caller>>>,
}

pub(super) fn passphrase() -> SecretString {
    SecretString::from(PASSPHRASE.to_owned())
}

impl House {
    /// Unseals the vault. The callers are made when `tokens`, a file, is not there, and found by it otherwise.
    pub(super) async fn unseal(vault: Vault, tokens: &Path) -> Self {
        vault.unseal(&passphrase()).await.unwrap();
        let known: BTreeMap<String, String> = match fs::read(tokens) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(_) => Self::hire(&vault, tokens).await,
        };
        let caller = |(name, _, _): &(&'static str, _, _)| (*name, vault.authenticate(&known[*name]).unwrap());
        let callers = Arc::new(CALLERS.iter().map(caller).collect());
        Self { vault, callers }
    }

    async fn hire(vault: &Vault, tokens: &Path) -> BTreeMap<String, String> {
        let tenant = vault.tenants().next().unwrap().clone();
        let purposes: Vec<String> = tenant.purposes().iter().map(|purpose| purpose.id.clone()).collect();
        let mut known = BTreeMap::new();
        for (name, kind, role) in CALLERS {
            let mut body = PutCaller::of(name, kind, vec![role], purposes.clone());
            body.trained_at = (kind == CallerKind::Person).then(|| jiff::civil::date(9000, 1, 1));
            known.insert(name.to_owned(), vault.bootstrap(&tenant, body).await.unwrap().1);
        }
        // Not beside and renamed: the file need not outlive the machine.
        fs::write(tokens, serde_json::to_vec(&known).unwrap()).unwrap();
        known
    }

    pub(super) fn call(&self, caller: &str, purpose: Option<&str>) -> Call {
        let caller = self.callers[caller].clone();
        Call {
            caller,
            purpose: purpose.map(str::to_owned),
            idempotency: None,
            if_match: None,
            gpc: false,
            grounds: Default::default(),
        }
    }

    pub(super) async fn write(&self, subject: SubjectId, purpose: &str, body: Value) -> Result<RecordId, Refused> {
        let made = self.vault.write_record(&self.call("writer", Some(purpose)), subject, from(&body)).await?;
        Ok(id_of(&made))
    }

    pub(super) async fn rectify(&self, subject: SubjectId, record: RecordId, version: u64, fields: Value) -> Result<(), Refused> {
        let mut call = self.call("writer", Some("a-account"));
        call.if_match = Some(format!("\"{version}\""));
        let body = json!({ "fields": fields });
        self.vault.rectify_record(&call, subject, record, from(&body)).await.map(drop)
    }

    /// Every record of a subject that the purpose may see, by id: version and fields.
    pub(super) async fn read(&self, subject: SubjectId, purpose: &str) -> Result<BTreeMap<RecordId, (u64, Value)>, Refused> {
        let ask = ReadRecords::default();
        let answer = self.vault.read_records(&self.call("reader", Some(purpose)), subject, ask).await?;
        let body: Value = serde_json::from_slice(&answer.body.unwrap()).unwrap();
        assert_eq!(body["next_cursor"], Value::Null);
        let record = |record: &Value| {
            let id = record["id"].as_str().unwrap().parse().unwrap();
            (id, (record["version"].as_u64().unwrap(), record["fields"].clone()))
        };
        Ok(body["records"].as_array().unwrap().iter().map(record).collect())
    }

    /// Whom an e-mail address leads to.
    pub(super) async fn find(&self, email: &str) -> Option<SubjectId> {
        let body = json!({ "type": "email", "value": email });
        match self.vault.lookup_subject(&self.call("reader", Some("a-account")), from(&body)).await {
            Ok(found) => Some(id_of(&found)),
            Err(refused) if refused.code == Code::NotFound => None,
            Err(refused) => panic!("{refused:?}"),
        }
    }

    /// Says yes to a purpose for a person.
    pub(super) async fn agree(&self, subject: SubjectId, purpose: &str) -> Result<(), Refused> {
        let body = json!({"purpose": purpose, "kind": "general", "state": "given", "notice": notice()});
        self.vault.record_consent(&self.call("writer", None), subject, from(&body)).await.map(drop)
    }

    pub(super) async fn open_erasure(&self, body: Value) -> Result<ErasureId, Refused> {
        let opened = self.vault.open_erasure(&self.call("officer", None), from(&body)).await?;
        Ok(id_of(&opened))
    }

    /// Answers when it is sealed.
    pub(super) async fn approve(&self, erasure: ErasureId) -> Result<(), Refused> {
        let sealed = self.vault.approve_erasure(&self.call("second", None), erasure, ApproveErasure::default()).await?;
        let body: Value = serde_json::from_slice(&sealed.body.unwrap()).unwrap();
        assert_eq!(body["state"], "sealed");
        Ok(())
    }

    pub(super) async fn state(&self, erasure: ErasureId) -> Option<String> {
        let found = self.vault.erasure(&self.call("officer", None), erasure).await.ok()?;
        let body: Value = serde_json::from_slice(&found.body.unwrap()).unwrap();
        Some(body["state"].as_str().unwrap().to_owned())
    }

    pub(super) async fn rotate(&self) -> Result<(), Refused> {
        self.vault.operate_keys(&self.call("keys", None), OperateKeys::RotateEpoch {}).await.map(drop)
    }
}

pub(super) fn subject_erasure(subject: SubjectId) -> Value {
    json!({"subject": subject.to_string(), "scope": "subject", "cause": "request"})
}

pub(super) fn group_erasure(subject: SubjectId, group: &str) -> Value {
    json!({"subject": subject.to_string(), "scope": "groups", "groups": [group], "cause": "withdrawal"})
}

/// That the policy in force was shown.
pub(super) fn notice() -> Value {
    json!({"policy_version": "current", "language": "en", "channel": "web", "shown_at": "2026-11-23T09:59:00Z"})
}

/// A typed body, as a request would bring it.
pub(super) fn from<T: DeserializeOwned>(body: &Value) -> T {
    serde_json::from_str(&body.to_string()).unwrap()
}

pub(super) fn id_of<T: std::str::FromStr<Err: std::fmt::Debug>>(answer: &Answer) -> T {
    let body: Value = serde_json::from_slice(answer.body.as_ref().unwrap()).unwrap();
    body["id"].as_str().unwrap().parse().unwrap()
}

/// The configuration of every house: a small cache, so that what is read comes from the disk.
pub(super) fn config(directory: &Path) -> VaultConfig {
    VaultConfig { cache_bytes: 8 << 20, ..VaultConfig::in_dir(directory) }
}

/// A fresh vault in `directory`, sealed.
pub(super) fn build(directory: &Path) {
    Vault::create(&config(directory), &Clock::system(), &passphrase()).unwrap();
}

/// Prepares a process that runs an ignored test of this binary. It finds `directory` and `setting` by [`place`].
pub(super) fn process(test: &str, directory: &Path, setting: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("OUBLIETTE_TEST_DIR", directory).env("OUBLIETTE_TEST_SETTING", setting);
    command
}

/// Where such a process works; `None` when this is not one.
pub(super) fn place() -> Option<(PathBuf, String)> {
    Some((std::env::var_os("OUBLIETTE_TEST_DIR")?.into(), std::env::var("OUBLIETTE_TEST_SETTING").ok()?))
}

/// A runtime with two workers.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A folder that is removed, unless the test failed: then it says where it is.
pub(super) struct Home(Option<tempfile::TempDir>);

impl Home {
    pub(super) fn new() -> Self {
        Self(Some(tempfile::tempdir().unwrap()))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the test left is in {}", self.0.take().unwrap().keep().display());
        }
    }
}
