//! The issuer that the vault trusts: where its keys are, when they are fetched again, and when they are too old to trust.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::RwLock;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::jwt::{self, AccessToken, Expected, KeySet};
use crate::model::time::Clock;

/// Seconds between two tries to fetch the keys: a token with an unknown key cannot make the vault ask more often.
const BETWEEN: i64 = 10;
/// The longest that a fetch may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a key set.
const LARGEST: u64 = 256 << 10;
/// The authorities that are trusted for the address of the keys unless told.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the vault is told about the issuer.
pub struct Trust {
    /// `iss` of its tokens.
    pub issuer: String,
    /// `aud` that names the vault.
    pub audience: String,
    /// Where its keys are.
    pub keys: Keys,
    /// Seconds after which they are fetched again.
    pub refresh: i64,
    /// Seconds after which keys that could not be fetched again are trusted no more.
    pub max_age: i64,
    /// Values of `acr` that count as stronger authentication.
    pub step_up_acr: Vec<String>,
    /// Seconds that it counts after `auth_time`.
    pub step_up: i64,
}

/// Where a key set is.
pub enum Keys {
    /// A file.
    File(PathBuf),
    /// An address; only `https`.
    Address {
        /// The URL.
        url: String,
        /// The authorities that may vouch for it, in PEM; none is the system's.
        authorities: Option<PathBuf>,
    },
}

/// The issuer with the keys as they were fetched last.
pub struct Issuer {
    trust: Arc<Trust>,
    expected: Expected,
    clock: Clock,
    held: RwLock<Option<Held>>,
    /// When a fetch was tried last; whoever holds it fetches.
    turn: tokio::sync::Mutex<Option<i64>>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<KeySet>,
    since: i64,
}

impl Issuer {
    /// Trusts it. Nothing is fetched before the first token comes.
    pub fn new(trust: Trust, clock: Clock) -> Self {
        let expected = Expected { issuer: trust.issuer.clone(), audience: trust.audience.clone() };
        Self { trust: Arc::new(trust), expected, clock, held: RwLock::new(None), turn: tokio::sync::Mutex::new(None) }
    }

    /// What the token says, if it is the issuer's, for the vault, and good now.
    pub async fn verify(&self, token: &str) -> Option<AccessToken> {
        let id = jwt::key_id(token)?;
        let keys = self.keys(&id).await?;
        jwt::verify(token, &keys, &self.expected, self.clock.now())
    }

    /// Until when the token's bearer counts as strongly authenticated.
    pub fn stepped_up_until(&self, token: &AccessToken) -> Option<Timestamp> {
        token.acr.as_ref().filter(|acr| self.trust.step_up_acr.contains(acr))?;
        Timestamp::from_second(token.authenticated?.checked_add(self.trust.step_up)?).ok()
    }

    /// Keys among which the one of that id is, no older than they may be.
    async fn keys(&self, id: &str) -> Option<Arc<KeySet>> {
        let now = self.clock.now().as_second();
        let known = self.known(id, now);
        if let Some(held) = &known
            && now - held.since < self.trust.refresh
        {
            return Some(held.keys.clone());
        }
        // Whoever knows the key does not wait for somebody who is fetching already.
        let turn = match (self.turn.try_lock(), &known) {
            (Ok(turn), _) => turn,
            (Err(_), Some(held)) => return Some(held.keys.clone()),
            (Err(_), None) => self.turn.lock().await,
        };
        self.fetch(turn, id, now).await;
        self.known(id, now).map(|held| held.keys)
    }

    fn known(&self, id: &str, now: i64) -> Option<Held> {
        let held = self.held.read().clone()?;
        (now - held.since <= self.trust.max_age && held.keys.has(id)).then_some(held)
    }

    async fn fetch(&self, mut turn: tokio::sync::MutexGuard<'_, Option<i64>>, id: &str, now: i64) {
        let fresh = self.known(id, now).is_some_and(|held| now - held.since < self.trust.refresh);
        if fresh || turn.is_some_and(|tried| (tried..tried + BETWEEN).contains(&now)) {
            return;
        }
        *turn = Some(now);
        let trust = self.trust.clone();
        let fetched = tokio::task::spawn_blocking(move || trust.keys.read()).await.ok().flatten();
        match fetched.and_then(|json| KeySet::parse(&json)) {
            Some(keys) => *self.held.write() = Some(Held { keys: Arc::new(keys), since: now }),
            None => tracing::warn!("the issuer's keys could not be fetched; those that are held stay until they are too old"),
        }
    }
}

impl Keys {
    fn read(&self) -> Option<Vec<u8>> {
        match self {
            Self::File(path) => std::fs::read(path).ok().filter(|bytes| bytes.len() as u64 <= LARGEST),
            Self::Address { url, authorities } => {
                let pem = std::fs::read(authorities.as_deref().unwrap_or(SYSTEM.as_ref())).ok()?;
                let roots: Vec<Certificate<'static>> = parse_pem(&pem)
                    .filter_map(|item| match item {
                        Ok(PemItem::Certificate(certificate)) => Some(certificate),
                        _ => None,
                    })
                    .collect();
                let tls = TlsConfig::builder()
                    .provider(TlsProvider::Rustls)
                    .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                    .root_certs(RootCerts::from(roots))
                    .build();
                let agent = ureq::Agent::config_builder()
                    .tls_config(tls)
                    .https_only(true)
                    .max_redirects(0)
                    .proxy(None)
                    .timeout_global(Some(PATIENCE))
                    .build()
                    .new_agent();
                let mut response = agent.get(url).call().ok()?;
                response.body_mut().with_config().limit(LARGEST).read_to_vec().ok()
            }
        }
    }
}
