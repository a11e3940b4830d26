//! The server's configuration: `DIR/config.toml`, strict, with `OUBLIETTE_SECTION__KEY` over it and a default for everything.
//!
//! No secret stands here. Durations are whole seconds, sizes are bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Variables of the environment that name a setting begin so.
const PREFIX: &str = "OUBLIETTE_";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there but cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The file is not TOML, or names an unknown setting, or gives one a value that it cannot have.
    #[error("configuration: {0}")]
    Malformed(String),
    /// A variable of the environment does not name a setting.
    #[error("environment: {0} does not read OUBLIETTE_SECTION__KEY")]
    Variable(String),
    /// A number is outside of its bounds.
    #[error("configuration: {0} must be {1}")]
    Bounds(&'static str, &'static str),
}

/// Everything that `oubliette serve` can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The vault's directory; the command line gives it, never the file.
    #[serde(skip)]
    pub dir: PathBuf,
    /// Every absolute path among the settings, whatever it is for: what the process must be able to reach.
    #[serde(skip)]
    pub paths: Vec<NamedPath>,
    /// Where to listen.
    pub server: ServerSection,
    /// The certificate.
    pub tls: TlsSection,
    /// What a peer may use up.
    pub limits: LimitsSection,
    /// How soon an answer may follow its entry.
    pub trail: TrailSection,
    /// What is kept opened in memory.
    pub cache: CacheSection,
    /// How callers are made.
    pub callers: CallersSection,
    /// Who holds the root key.
    pub custody: CustodySection,
    /// How old keys may become, and how they are turned over.
    pub keys: KeysSection,
    /// Where the keyring is.
    pub keyring: KeyringSection,
    /// What the vault does by itself when a time has come.
    pub sweep: SweepSection,
    /// Where backups go.
    pub backup: BackupSection,
    /// What people get who ask for their data.
    pub bundles: BundlesSection,
    /// How letters and messages leave.
    pub post: PostSection,
    /// What the process forbids itself.
    pub hardening: HardeningSection,
    /// Where the vault says how it fares.
    pub metrics: MetricsSection,
    /// What is logged.
    pub log: LogSection,
    /// Whose access tokens are taken beside the vault's own; none unless told.
    pub oidc: Option<OidcSection>,
}

/// An absolute path that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPath {
    /// The section that it stands in.
    pub section: String,
    /// The setting, which for one of a list is the list's.
    pub setting: String,
    /// Where it leads.
    pub path: PathBuf,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSection {
    /// Address and port of the HTTPS listener; port 0 takes any.
    pub listen: SocketAddr,
    /// `Contact:` of `/.well-known/security.txt`, such as `mailto:security@example.org`; none, and the file is not there.
    pub security_contact: Option<String>,
    /// `Policy:` of that file: where it stands how reports are handled, on the web.
    pub security_policy: Option<String>,
}

/// `[tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSection {
    /// Host names and addresses of the first certificate, beside localhost, 127.0.0.1 and ::1.
    pub names: Vec<String>,
    /// Certificate chain in PEM; `DIR/tls/cert.pem` unless told.
    pub certificate: Option<PathBuf>,
    /// Private key in PEM; `DIR/tls/key.pem` unless told.
    pub key: Option<PathBuf>,
    /// Authorities in PEM that may vouch for client certificates; without, none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// `[oidc]`: the one issuer whose access tokens (RFC 9068) are taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSection {
    /// `iss`, to the letter.
    pub issuer: String,
    /// `aud` that names this vault.
    pub audience: String,
    /// Its keys as a JWK Set in a file; or
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// at an `https` address.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// Certificates in PEM that may vouch for the address; the system's unless told.
    #[serde(default)]
    pub jwks_ca: Option<PathBuf>,
    /// Seconds after which the keys are fetched again.
    #[serde(default = "five_minutes")]
    pub refresh_seconds: u32,
    /// Seconds after which keys that could not be fetched again are trusted no more.
    #[serde(default = "one_day")]
    pub max_age_seconds: u32,
    /// Values of `acr` that count as stronger authentication.
    #[serde(default)]
    pub step_up_acr: Vec<String>,
    /// Seconds that it counts after `auth_time`.
    #[serde(default = "five_minutes")]
    pub step_up_seconds: u32,
}

const fn five_minutes() -> u32 {
    300
}

const fn one_day() -> u32 {
    86_400
}

impl OidcSection {
    fn check(&self) -> Result<(), ConfigError> {
        let address = self.jwks_url.as_ref();
        if self.jwks_file.is_some() == address.is_some() || address.is_some_and(|url| !url.starts_with("https://")) {
            return Err(ConfigError::Bounds("oidc.jwks_file or oidc.jwks_url", "given, one of them, the address with https"));
        }
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(ConfigError::Bounds("oidc.issuer and oidc.audience", "given"));
        }
        if self.max_age_seconds < self.refresh_seconds {
            return Err(ConfigError::Bounds("oidc.max_age_seconds", "at least oidc.refresh_seconds"));
        }
        Ok(())
    }
}

/// `[post]`: how letters and messages leave. One way at most is given; without one, letters wait.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostSection {
    /// Seconds between two rounds over what waits; 0 is never.
    pub every_seconds: u64,
    /// The longest that one message may take.
    pub timeout_seconds: u64,
    /// Authorities in PEM that may vouch for the other side; the system's unless told.
    pub ca_file: Option<PathBuf>,
    /// The address that letters come from; the privacy officer's unless told.
    pub from: Option<String>,
    /// The mail server that letters go to; or
    pub smtp_host: Option<String>,
    /// Its port; 587 unless told, 465 with `tls`.
    pub smtp_port: Option<u16>,
    /// How the connection to it is kept from others.
    pub smtp_security: SmtpSecurity,
    /// The name to sign in to it with.
    pub smtp_user: Option<String>,
    /// The file with the password.
    pub smtp_password_file: Option<PathBuf>,
    /// the `https` address of the application's own sender; or
    pub webhook: Option<String>,
    /// a folder.
    pub maildir: Option<PathBuf>,
}

/// How a connection to a mail server is kept from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpSecurity {
    /// TLS from the first byte.
    Tls,
    /// TLS once the server was greeted; without it nothing is sent.
    #[default]
    Starttls,
    /// Not at all: to this machine alone.
    None,
}

impl Default for PostSection {
    fn default() -> Self {
        Self {
            every_seconds: 30,
            timeout_seconds: 10,
            ca_file: None,
            from: None,
            smtp_host: None,
            smtp_port: None,
            smtp_security: SmtpSecurity::default(),
            smtp_user: None,
            smtp_password_file: None,
            webhook: None,
            maildir: None,
        }
    }
}

impl PostSection {
    fn check(&self) -> Result<(), ConfigError> {
        let ways = [self.smtp_host.is_some(), self.webhook.is_some(), self.maildir.is_some()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            return Err(ConfigError::Bounds("post.smtp_host, post.webhook and post.maildir", "given one at most"));
        }
        if self.webhook.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            return Err(ConfigError::Bounds("post.webhook", "an https address"));
        }
        let this_machine = ["localhost", "127.0.0.1", "::1"];
        let leaves = self.smtp_host.as_ref().is_some_and(|host| !this_machine.contains(&host.as_str()));
        if self.smtp_security == SmtpSecurity::None && leaves {
            return Err(ConfigError::Bounds("post.smtp_security", "tls or starttls for another machine"));
        }
        if self.smtp_user.is_some() != self.smtp_password_file.is_some() {
            return Err(ConfigError::Bounds("post.smtp_user and post.smtp_password_file", "given both or neither"));
        }
        if self.timeout_seconds == 0 {
            return Err(ConfigError::Bounds("post.timeout_seconds", "more than 0"));
        }
        Ok(())
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Connections at one time.
    pub connections: usize,
    /// Connections of one address (of one /64 in IPv6) at one time; 0 is no limit.
    pub connections_per_address: usize,
    /// Seconds for a TLS handshake.
    pub handshake_seconds: u64,
    /// Seconds for the headers of a request, and that a connection may stay idle.
    pub header_seconds: u64,
    /// Seconds for the body of a request.
    pub body_seconds: u64,
    /// Seconds for a whole request.
    pub request_seconds: u64,
    /// Seconds that a peer may take nothing of its answer.
    pub write_seconds: u64,
    /// Seconds for requests in flight once the server stops.
    pub stop_seconds: u64,
    /// Bytes of all headers with the address.
    pub header_bytes: usize,
    /// Number of headers.
    pub headers: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of the body of a batch.
    pub batch_bytes: usize,
    /// Items of a batch.
    pub batch_items: usize,
    /// Requests in a second by one caller; 0 is no limit.
    pub caller_per_second: u32,
    /// Failed credentials in a second from one address; 0 is no limit.
    pub failures_per_second: u32,
    /// Failed credentials at once from one address.
    pub failures_burst: u32,
    /// Different people that one token may read in an hour; 0 is no limit.
    pub people_per_hour: usize,
    /// Seconds that a step up counts.
    pub step_up_seconds: u32,
}

/// `[trail]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrailSection {
    /// When a read is released.
    pub reads: TrailReads,
}

/// When a read is released: its entry has been synced, or only written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrailReads {
    /// Once the entry is on the disk.
    #[default]
    Durable,
    /// Once the operating system has the entry; the disk follows within 10 ms.
    Written,
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSection {
    /// Subjects whose keys stay opened.
    pub subjects: usize,
    /// Bytes of the store's own cache.
    pub bytes: u64,
}

/// `[callers]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallersSection {
    /// Whether a new caller needs a second security officer. Only a vault with a single operator turns it off.
    pub second_person: bool,
}

/// `[custody]`: who holds the root key of a new vault, and how they are reached. The file of the root key says who holds it now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CustodySection {
    /// The provider.
    pub provider: CustodyProvider,
    /// The PKCS#11 module of the token's vendor.
    pub module: Option<PathBuf>,
    /// The label of the token.
    pub token: Option<String>,
    /// A file (mode 0600) with the token's PIN on its first line: with it the vault unseals itself when it starts.
    pub pin_file: Option<PathBuf>,
    /// The key of AWS KMS: its id, ARN, or `alias/…`.
    pub kms_key: Option<String>,
    /// Its region, where neither the ARN nor `AWS_REGION` says it.
    pub kms_region: Option<String>,
    /// Where KMS answers, such as a VPC endpoint; the region's own unless told.
    pub kms_endpoint: Option<String>,
    /// Authorities in PEM that may vouch for it; the system's unless told.
    pub kms_ca_file: Option<PathBuf>,
    /// A file (mode 0600) in the form of `~/.aws/credentials`; else the environment, the container or the machine has them.
    pub kms_credentials_file: Option<PathBuf>,
    /// The profile in that file.
    pub kms_profile: Option<String>,
    /// The `https` address of Vault or OpenBao.
    pub transit_address: Option<String>,
    /// Where its transit engine is mounted.
    pub transit_mount: String,
    /// The name of the key.
    pub transit_key: Option<String>,
    /// The namespace.
    pub transit_namespace: Option<String>,
    /// Authorities in PEM that may vouch for the server; the system's unless told.
    pub transit_ca_file: Option<PathBuf>,
    /// A file (mode 0600) with a token, read anew each time; or
    pub transit_token_file: Option<PathBuf>,
    /// the id of a role (AppRole), with
    pub transit_role_id: Option<String>,
    /// a file (mode 0600) with its secret id.
    pub transit_secret_id_file: Option<PathBuf>,
    /// Whether the key is this vault's alone, so that versions of it that are not needed any more are destroyed.
    pub transit_trim: bool,
    /// What the vault does while whoever holds the root key cannot be reached, or does not let it use the key any more.
    pub on_outage: OnOutage,
    /// Seconds between two looks at them; 0 is never.
    pub probe_seconds: u64,
    /// Seconds of an outage after which a vault that is to seal does. A key that was disabled or deleted seals it at once.
    pub grace_seconds: u64,
}

impl Default for CustodySection {
    fn default() -> Self {
        Self {
            provider: CustodyProvider::default(),
            module: None,
            token: None,
            pin_file: None,
            kms_key: None,
            kms_region: None,
            kms_endpoint: None,
            kms_ca_file: None,
            kms_credentials_file: None,
            kms_profile: None,
            transit_address: None,
            transit_mount: "transit".into(),
            transit_key: None,
            transit_namespace: None,
            transit_ca_file: None,
            transit_token_file: None,
            transit_role_id: None,
            transit_secret_id_file: None,
            transit_trim: false,
            on_outage: OnOutage::default(),
            probe_seconds: 60,
            grace_seconds: 300,
        }
    }
}

/// What becomes of an open vault when whoever holds its root key does not answer, or says no.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnOutage {
    /// It goes on with the keys it has opened, and says so.
    #[default]
    GoOn,
    /// It seals itself, and opens again when they answer again.
    Seal,
}

/// Who holds the root key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustodyProvider {
    /// Whoever knows a passphrase.
    #[default]
    Passphrase,
    /// Several people, of whom some number together.
    Shares,
    /// A token that speaks PKCS#11.
    Pkcs11,
    /// A key of AWS KMS.
    #[serde(rename = "aws-kms")]
    AwsKms,
    /// A key of the transit engine of Vault or OpenBao.
    Transit,
}

impl CustodySection {
    fn check(&self) -> Result<(), ConfigError> {
        if self.module.is_some() != self.token.is_some() {
            return Err(ConfigError::Bounds("custody.module and custody.token", "given together"));
        }
        if self.provider == CustodyProvider::Pkcs11 && self.module.is_none() {
            return Err(ConfigError::Bounds("custody.module and custody.token", "given for the provider pkcs11"));
        }
        self.check_kms()?;
        self.check_transit()?;
        if self.on_outage == OnOutage::Seal && self.probe_seconds == 0 {
            return Err(ConfigError::Bounds("custody.probe_seconds", "more than 0 where custody.on_outage is seal"));
        }
        Ok(())
    }

    fn check_kms(&self) -> Result<(), ConfigError> {
        if self.provider == CustodyProvider::AwsKms && self.kms_key.is_none() {
            return Err(ConfigError::Bounds("custody.kms_key", "given for the provider aws-kms"));
        }
        if self.kms_endpoint.as_ref().is_some_and(|address| !is_safe(address)) {
            return Err(ConfigError::Bounds("custody.kms_endpoint", "an https address"));
        }
        if self.kms_profile.is_some() && self.kms_credentials_file.is_none() {
            return Err(ConfigError::Bounds("custody.kms_profile", "given with custody.kms_credentials_file"));
        }
        Ok(())
    }

    fn check_transit(&self) -> Result<(), ConfigError> {
        if self.transit_address.is_none() && self.transit_key.is_some() {
            return Err(ConfigError::Bounds("custody.transit_address", "given with custody.transit_key"));
        }
        if self.provider == CustodyProvider::Transit && self.transit_key.is_none() {
            return Err(ConfigError::Bounds("custody.transit_address and custody.transit_key", "given for the provider transit"));
        }
        if self.transit_address.as_ref().is_some_and(|address| !is_safe(address)) {
            return Err(ConfigError::Bounds("custody.transit_address", "an https address"));
        }
        let role = [self.transit_role_id.is_some(), self.transit_secret_id_file.is_some()];
        if role[0] != role[1] || (self.transit_address.is_some() && self.transit_token_file.is_some() == role[0]) {
            return Err(ConfigError::Bounds(
                "custody.transit_token_file, or custody.transit_role_id and custody.transit_secret_id_file",
                "given, one way of the two",
            ));
        }
        Ok(())
    }
}

/// Whether a credential may go there: by `https`, or in the clear to this machine alone.
fn is_safe(address: &str) -> bool {
    let Some(rest) = address.strip_prefix("http://") else { return address.starts_with("https://") };
    let host = rest.split('/').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

/// `[keys]`: how old each kind of key may become, in days; 0 is never.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysSection {
    /// Of a hundred parts of the time of the thread that writes, how many a rotation in the background takes at the most. With 0 none goes on.
    pub background_percent: u8,
    /// At this age the root key is overdue, which is an alarm.
    pub root_overdue_days: u32,
    /// The same of the epoch key.
    pub epoch_overdue_days: u32,
    /// The same of the keys of the key trees' places.
    pub tree_overdue_days: u32,
    /// The same of the keys of people's records.
    pub subjects_overdue_days: u32,
    /// The same of the keys under which people are found.
    pub index_overdue_days: u32,
    /// The same of the keys of the vault's own rows, its statistics and its tokens.
    pub tenant_overdue_days: u32,
    /// The same of the key that signs for the trail.
    pub signing_overdue_days: u32,
    /// At this age the vault turns the epoch key over by itself.
    pub epoch_rotate_days: u32,
    /// The same of the keys of the key trees' places.
    pub tree_rotate_days: u32,
    /// The same of the keys of people's records.
    pub subjects_rotate_days: u32,
    /// The same of the keys under which people are found.
    pub index_rotate_days: u32,
    /// The same of the keys of the vault's own rows, its statistics and its tokens.
    pub tenant_rotate_days: u32,
    /// The same of the key that signs for the trail.
    pub signing_rotate_days: u32,
}

impl Default for KeysSection {
    fn default() -> Self {
        Self {
            background_percent: 25,
            root_overdue_days: 365,
            epoch_overdue_days: 90,
            tree_overdue_days: 365,
            subjects_overdue_days: 730,
            index_overdue_days: 730,
            tenant_overdue_days: 730,
            signing_overdue_days: 730,
            epoch_rotate_days: 0,
            tree_rotate_days: 0,
            subjects_rotate_days: 0,
            index_rotate_days: 0,
            tenant_rotate_days: 0,
            signing_rotate_days: 0,
        }
    }
}

impl KeysSection {
    fn check(&self) -> Result<(), ConfigError> {
        if self.background_percent > 100 {
            return Err(ConfigError::Bounds("keys.background_percent", "0 to 100"));
        }
        Ok(())
    }
}

/// `[keyring]`: the places that hold the epoch key. Each is written in step; any one opens the vault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyringSection {
    /// Whether there is the plain place `first`, the file `keys/keyring`.
    pub file: bool,
    /// What an erasure does while a place cannot be reached.
    pub when_away: WhenAway,
    /// Places beside `first`.
    pub place: Vec<PlaceSection>,
}

/// What an erasure does while a place of the keyring cannot be reached, which may still hold the key that is to be destroyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenAway {
    /// It is answered 503 and stays where it was.
    #[default]
    Refuse,
    /// It goes on, and its certificate says so.
    GoOn,
}

/// `[[keyring.place]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceSection {
    /// 1 to 24 of a to z, digits and -.
    pub name: String,
    /// Its file; below the vault's folder unless it begins with `/`. The folder it is in has mode 0700.
    pub path: PathBuf,
    /// What encloses it, if anything does.
    #[serde(default)]
    pub enclosed_by: Option<EnclosedBy>,
    /// The PKCS#11 module of the token's vendor; that of `[custody]` unless told.
    #[serde(default)]
    pub module: Option<PathBuf>,
    /// The label of the token; that of `[custody]` unless told.
    #[serde(default)]
    pub token: Option<String>,
    /// A file (mode 0600) with the token's PIN on its first line; that of `[custody]` unless told.
    #[serde(default)]
    pub pin_file: Option<PathBuf>,
    /// The key of the transit engine, this place's alone.
    #[serde(default)]
    pub transit_key: Option<String>,
}

/// What can enclose a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnclosedBy {
    /// A token that speaks PKCS#11, with a key of its own for each epoch.
    Pkcs11,
    /// AWS KMS as `[custody]` reaches it, with a key of its own for each epoch.
    AwsKms,
    /// A key of the transit engine that `[custody]` reaches, which is this place's alone.
    Transit,
}

impl Default for KeyringSection {
    fn default() -> Self {
        Self { file: true, when_away: WhenAway::Refuse, place: Vec::new() }
    }
}

impl KeyringSection {
    fn check(&self, custody: &CustodySection) -> Result<(), ConfigError> {
        if !self.file && self.place.is_empty() {
            return Err(ConfigError::Bounds("keyring.place", "given where keyring.file is false"));
        }
        if usize::from(self.file) + self.place.len() > keys::keyring::MOST_PLACES {
            return Err(ConfigError::Bounds("keyring.place", "given 8 times at the most, `first` counted"));
        }
        let mut names: Vec<&str> = self.file.then_some(keys::keyring::FIRST).into_iter().collect();
        for place in &self.place {
            if !keys::keyring::is_name(&place.name) || names.contains(&place.name.as_str()) {
                return Err(ConfigError::Bounds("keyring.place.name", "1 to 24 of a to z, digits and -, each its own"));
            }
            names.push(&place.name);
            let reachable = place.module.as_ref().or(custody.module.as_ref()).is_some()
                && place.token.as_ref().or(custody.token.as_ref()).is_some()
                && place.pin_file.as_ref().or(custody.pin_file.as_ref()).is_some();
            if place.enclosed_by == Some(EnclosedBy::Pkcs11) && !reachable {
                return Err(ConfigError::Bounds(
                    "keyring.place.module, .token and .pin_file",
                    "given there or under [custody], for a place that a token encloses",
                ));
            }
            let others = self.place.iter().filter(|other| other.transit_key.is_some() && other.transit_key == place.transit_key);
            let shared = custody.transit_key == place.transit_key || others.count() > 1;
            let is_transit = place.enclosed_by == Some(EnclosedBy::Transit);
            if is_transit != place.transit_key.is_some() || (is_transit && (shared || custody.transit_address.is_none())) {
                return Err(ConfigError::Bounds(
                    "keyring.place.transit_key",
                    "given for a place that transit encloses, a key of its own, with the way to the engine under [custody]",
                ));
            }
            if place.enclosed_by != Some(EnclosedBy::Pkcs11)
                && (place.module.is_some() || place.token.is_some() || place.pin_file.is_some())
            {
                return Err(ConfigError::Bounds("keyring.place.enclosed_by", "given with a module, a token or a PIN"));
            }
        }
        Ok(())
    }
}

/// `[sweep]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweepSection {
    /// Seconds between two rounds that destroy what has ended; 0 is never.
    pub every_seconds: u64,
}

/// `[backup]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupSection {
    /// The folder that backups go to; without one, there are none.
    pub target: Option<PathBuf>,
    /// More of them.
    pub targets: Vec<PathBuf>,
    /// Seconds between two backups; 0 is never by itself.
    pub every_seconds: u64,
    /// Full backups that are kept.
    pub keep: usize,
    /// When the key of an epoch may die.
    pub seal: Seal,
    /// Targets that must hold the new tree rows before an epoch's key dies, with `after-backup`; 0 is all of them.
    pub seal_targets: usize,
    /// Mebibytes in a second that a full backup takes at the most; 0 is no limit.
    pub mib_per_second: u64,
}

/// When the key of an epoch may die.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seal {
    /// At once.
    #[default]
    Immediate,
    /// Once the target holds the new tree rows.
    AfterBackup,
}

/// `[bundles]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BundlesSection {
    /// Days that the bundle of a request waits to be fetched.
    pub days: u32,
}

/// `[hardening]`: what the process forbids itself before it holds a key. Core dumps are always off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HardeningSection {
    /// Whether its memory is kept out of swap.
    pub memory: Measure,
    /// Whether files that the configuration does not name are out of reach (Landlock).
    pub files: Measure,
    /// Folders and files that may be read beside those.
    pub readable: Vec<PathBuf>,
    /// Folders that may be written to beside the vault's own, the backup's and the letters'.
    pub writable: Vec<PathBuf>,
    /// Whether system calls that the vault never makes are refused (seccomp).
    pub calls: Measure,
    /// Whether other processes of the account may look into this one, for a debugger. They see the keys.
    pub inspectable: bool,
}

/// How much a measure is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Where the machine has it.
    #[default]
    Auto,
    /// Without it the vault does not start.
    Required,
    /// Not at all.
    Off,
}

/// `[metrics]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSection {
    /// Address and port of a listener (HTTP, without TLS) for `/metrics`, `/healthz` and `/readyz`; without, there is none.
    pub listen: Option<SocketAddr>,
    /// Whether that may be an address that other machines reach.
    pub beyond_this_machine: bool,
}

impl MetricsSection {
    fn check(&self) -> Result<(), ConfigError> {
        if self.listen.is_some_and(|address| !address.ip().is_loopback()) && !self.beyond_this_machine {
            return Err(ConfigError::Bounds(
                "metrics.listen",
                "a loopback address, or metrics.beyond_this_machine = true: it has neither TLS nor credentials",
            ));
        }
        Ok(())
    }
}

/// `[log]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// Text for people, JSON for machines.
    pub format: LogFormat,
    /// How much the vault says about itself.
    pub level: LogLevel,
    /// A line for every request, not only for those that failed in the vault.
    pub requests: bool,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// The least weight of what is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)), security_contact: None, security_policy: None }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 256,
            handshake_seconds: 10,
            header_seconds: 30,
            body_seconds: 30,
            request_seconds: 60,
            write_seconds: 30,
            stop_seconds: 10,
            header_bytes: 16 << 10,
            headers: 64,
            body_bytes: 1 << 20,
            batch_bytes: 16 << 20,
            batch_items: 1000,
            caller_per_second: 20_000,
            failures_per_second: 20,
            failures_burst: 100,
            people_per_hour: 10_000,
            step_up_seconds: 300,
        }
    }
}

impl Default for CacheSection {
    fn default() -> Self {
        Self { subjects: 65_536, bytes: 64 << 20 }
    }
}

impl Default for SweepSection {
    fn default() -> Self {
        Self { every_seconds: 600 }
    }
}

impl Default for BackupSection {
    fn default() -> Self {
        Self {
            target: None,
            targets: Vec::new(),
            every_seconds: 86_400,
            keep: 7,
            seal: Seal::Immediate,
            seal_targets: 0,
            mib_per_second: 0,
        }
    }
}

impl BackupSection {
    /// Every target, `target` first.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.target.iter().chain(&self.targets).cloned().collect()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.keep == 0 {
            return Err(ConfigError::Bounds("backup.keep", "more than 0"));
        }
        let folders = self.folders();
        if folders.is_empty() && self.seal == Seal::AfterBackup {
            return Err(ConfigError::Bounds("backup.target", "given where backup.seal is after-backup"));
        }
        if (1..folders.len()).any(|at| folders[..at].contains(&folders[at])) {
            return Err(ConfigError::Bounds("backup.targets", "a folder each, and none of them twice"));
        }
        if self.seal_targets > folders.len() {
            return Err(ConfigError::Bounds("backup.seal_targets", "at most as many as there are targets"));
        }
        if self.mib_per_second > 1 << 20 {
            return Err(ConfigError::Bounds("backup.mib_per_second", "at most 1048576"));
        }
        Ok(())
    }
}

impl Default for BundlesSection {
    fn default() -> Self {
        Self { days: 14 }
    }
}

impl Default for CallersSection {
    fn default() -> Self {
        Self { second_person: true }
    }
}

impl Config {
    /// The configuration of the vault in `dir`: its `config.toml` if there is one, and the environment of this process over it.
    pub fn load(dir: &Path) -> Result<Self, ConfigError> {
        let file = dir.join("config.toml");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(ConfigError::Unreadable(file, error)),
        };
        Ok(Self { dir: dir.to_owned(), ..Self::parse(&text, std::env::vars())? })
    }

    /// The configuration in `text`, with those of `variables` that name a setting over it.
    pub fn parse(text: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut table: toml::Table = text.parse().map_err(malformed)?;
        for (variable, value) in variables {
            // Only what has a section is a setting: OUBLIETTE_PASSPHRASE_FILE and the like belong to the command line.
            let Some((section, key)) = variable.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__")) else { continue };
            let place = table.entry(section.to_ascii_lowercase()).or_insert_with(|| toml::Table::new().into());
            let place = place.as_table_mut().ok_or_else(|| ConfigError::Variable(variable.clone()))?;
            place.insert(key.to_ascii_lowercase(), as_toml(&value));
        }
        let mut paths = Vec::new();
        for (section, settings) in &table {
            name_paths(section, section, settings, &mut paths);
        }
        let config = Self { paths, ..Self::deserialize(table).map_err(malformed)? };
        config.limits.check()?;
        config.custody.check()?;
        config.keys.check()?;
        config.keyring.check(&config.custody)?;
        config.backup.check()?;
        if !(1..=90).contains(&config.bundles.days) {
            return Err(ConfigError::Bounds("bundles.days", "1 to 90"));
        }
        config.post.check()?;
        config.server.check()?;
        config.metrics.check()?;
        config.oidc.as_ref().map_or(Ok(()), OidcSection::check)?;
        Ok(config)
    }

    /// Where the certificate chain is.
    pub fn certificate_file(&self) -> PathBuf {
        self.tls.certificate.clone().unwrap_or_else(|| self.dir.join("tls/cert.pem"))
    }

    /// Where its private key is.
    pub fn key_file(&self) -> PathBuf {
        self.tls.key.clone().unwrap_or_else(|| self.dir.join("tls/key.pem"))
    }
}

impl ServerSection {
    /// What stands in `security.txt` has the form that RFC 9116 wants: addresses with their scheme, the web over https.
    fn check(&self) -> Result<(), ConfigError> {
        let is_line = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        let begins = |text: &String, schemes: &[&str]| schemes.iter().any(|scheme| text.starts_with(scheme));
        let contact = |text: &String| is_line(text) && begins(text, &["mailto:", "https://", "tel:"]);
        if !self.security_contact.as_ref().is_none_or(contact) {
            return Err(ConfigError::Bounds("server.security_contact", "an address that begins with mailto:, https:// or tel:"));
        }
        if !self.security_policy.as_ref().is_none_or(|text| is_line(text) && begins(text, &["https://"])) {
            return Err(ConfigError::Bounds("server.security_policy", "an address that begins with https://"));
        }
        Ok(())
    }
}

impl LimitsSection {
    /// A zero where it would mean that nothing works is a mistake, not a wish.
    fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("limits.connections", self.connections as u64),
            ("limits.handshake_seconds", self.handshake_seconds),
            ("limits.header_seconds", self.header_seconds),
            ("limits.body_seconds", self.body_seconds),
            ("limits.request_seconds", self.request_seconds),
            ("limits.write_seconds", self.write_seconds),
            ("limits.headers", self.headers as u64),
            ("limits.body_bytes", self.body_bytes as u64),
            ("limits.batch_bytes", self.batch_bytes as u64),
            ("limits.batch_items", self.batch_items as u64),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, number)| *number == 0) {
            return Err(ConfigError::Bounds(name, "more than 0"));
        }
        if !(4096..=1 << 20).contains(&self.header_bytes) {
            return Err(ConfigError::Bounds("limits.header_bytes", "4096 to 1048576"));
        }
        Ok(())
    }
}

/// Collects the absolute paths in `value`, which `setting` names.
fn name_paths(section: &str, setting: &str, value: &toml::Value, into: &mut Vec<NamedPath>) {
    match value {
        toml::Value::String(text) if text.starts_with('/') => {
            into.push(NamedPath { section: section.to_owned(), setting: setting.to_owned(), path: text.into() });
        }
        toml::Value::Array(values) => values.iter().for_each(|value| name_paths(section, setting, value, into)),
        toml::Value::Table(table) => table.iter().for_each(|(setting, value)| name_paths(section, setting, value, into)),
        _ => {}
    }
}

/// A variable's text as TOML where it reads as such (`8`, `true`, `["a"]`), else as a string.
fn as_toml(text: &str) -> toml::Value {
    format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn malformed(error: toml::de::Error) -> ConfigError {
    ConfigError::Malformed(error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::parse(text, variables.iter().map(|(name, value)| (name.to_string(), value.to_string())))
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("", &[]).unwrap(), Config::default());
        assert_eq!(Config::default().limits.batch_items, 1000);
    }

    #[test]
    fn the_file_is_read_and_the_environment_stands_over_it() {
        let text = "[server]\nlisten = '0.0.0.0:1'\n[trail]\nreads = 'written'\n[limits]\nconnections = 5\n";
        let variables = [
            ("OUBLIETTE_SERVER__LISTEN", "[::1]:9"),
            ("OUBLIETTE_TLS__NAMES", "['a.example', 'b.example']"),
            ("OUBLIETTE_LOG__FORMAT", "json"),
            ("OUBLIETTE_LOG__REQUESTS", "true"),
            ("OUBLIETTE_PASSPHRASE_FILE", "/nowhere"),
            ("PATH", "/bin"),
        ];
        let config = parse(text, &variables).unwrap();
        assert_eq!(config.server.listen, "[::1]:9".parse().unwrap());
        assert_eq!(config.tls.names, ["a.example", "b.example"]);
        assert_eq!(config.log, LogSection { format: LogFormat::Json, level: LogLevel::Info, requests: true });
        assert_eq!((config.trail.reads, config.limits.connections), (TrailReads::Written, 5));
    }

    #[test]
    fn backup_targets_are_different_folders_and_no_more_of_them_are_needed_than_there_are() {
        let section = |text: &str| parse(&format!("[backup]\n{text}\n"), &[]).map(|config| config.backup);
        let both = section("target = '/a'\ntargets = ['/b']\nseal = 'after-backup'\nseal_targets = 2").unwrap();
        assert_eq!(both.folders(), [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert!(section("targets = ['/b']\nseal = 'after-backup'").is_ok());
        for wrong in ["seal = 'after-backup'", "target = '/a'\ntargets = ['/a']", "targets = ['/a']\nseal_targets = 2"] {
            assert!(section(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_section_or_key_is_refused_wherever_it_stands() {
        assert!(parse("[sever]\n", &[]).is_err());
        assert!(parse("[server]\nlissen = 'x'\n", &[]).is_err());
        assert!(parse("dir = '/elsewhere'\n", &[]).is_err());
        assert!(parse("", &[("OUBLIETTE_SERVER__LISSEN", "x")]).is_err());
        assert!(parse("server = 1\n", &[("OUBLIETTE_SERVER__LISTEN", "x")]).is_err());
    }

    #[test]
    fn an_issuer_needs_its_name_the_vaults_and_one_safe_place_of_its_keys() {
        let section = |rest: &str| parse(&format!("[oidc]\nissuer = 'https://i'\naudience = 'v'\n{rest}\n"), &[]);
        assert_eq!(section("jwks_file = '/k'").unwrap().oidc.unwrap().refresh_seconds, 300);
        assert!(section("jwks_url = 'https://i/keys'").is_ok());
        assert!(section("").is_err());
        assert!(section("jwks_url = 'http://i/keys'").is_err());
        assert!(section("jwks_url = 'http://127.0.0.1/keys'").is_err());
        assert!(section("jwks_file = '/k'\njwks_url = 'https://i/keys'").is_err());
        assert!(section("jwks_file = '/k'\nmax_age_seconds = 1").is_err());
        assert!(section("jwks_file = '/k'\nsecret = 'x'").is_err());
        assert!(parse("[oidc]\naudience = 'v'\njwks_file = '/k'\n", &[]).is_err());
    }

    #[test]
    fn what_stands_in_security_txt_is_an_address_with_its_scheme() {
        let contact = |text: &str| parse(&format!("[server]\nsecurity_contact = '{text}'\n"), &[]).is_ok();
        assert!(contact("mailto:a@example.org") && contact("https://example.org/report") && contact("tel:+493012345"));
        assert!(!contact("a@example.org") && !contact("http://example.org") && !contact("") && !contact("mailto:a b"));
        let policy = |text: &str| parse(&format!("[server]\nsecurity_policy = '{text}'\n"), &[]).is_ok();
        assert!(policy("https://example.org/policy") && !policy("http://example.org") && !policy("example.org"));
    }

    #[test]
    fn a_token_needs_its_module_and_its_label() {
        let section = |rest: &str| parse(&format!("[custody]\n{rest}\n"), &[]).map(|config| config.custody);
        assert_eq!(section("").unwrap().provider, CustodyProvider::Passphrase);
        assert!(section("provider = 'pkcs11'").is_err());
        assert!(section("provider = 'pkcs11'\nmodule = '/m.so'").is_err());
        assert!(section("token = 'vault'").is_err());
        assert!(section("provider = 'pkcs11'\nmodule = '/m.so'\ntoken = 'vault'\npin_file = '/pin'").is_ok());
        assert!(section("provider = 'pkcs11'\nmodule = '/m.so'\ntoken = 'vault'\npin = '1234'").is_err());
        assert!(section("provider = 'nobody'").is_err());
    }

    #[test]
    fn a_provider_over_the_network_needs_its_key_and_one_safe_way_to_it() {
        let section = |rest: &str| parse(&format!("[custody]\n{rest}\n"), &[]).map(|config| config.custody);
        assert!(section("provider = 'aws-kms'").is_err());
        assert!(section("provider = 'aws-kms'\nkms_key = 'alias/vault'").is_ok());
        assert!(section("kms_key = 'a'\nkms_endpoint = 'http://127.0.0.1:5000'").is_ok());
        for endpoint in
            ["http://kms.example.org", "http://127.0.0.1@example.org", "http://127.0.0.1.example.org", "kms.example.org"]
        {
            assert!(section(&format!("kms_key = 'a'\nkms_endpoint = '{endpoint}'")).is_err(), "{endpoint}");
        }
        assert!(section("kms_key = 'a'\nkms_profile = 'p'").is_err());
        assert!(section("kms_key = 'a'\nkms_secret_access_key = 's'").is_err());
        let transit = "transit_address = 'https://bao:8200'\ntransit_key = 'vault'";
        assert!(section("provider = 'transit'").is_err());
        assert!(section(transit).is_err());
        assert!(section("transit_key = 'vault'\ntransit_token_file = '/t'").is_err());
        assert_eq!(section(&format!("{transit}\ntransit_token_file = '/t'")).unwrap().transit_mount, "transit");
        assert!(section(&format!("{transit}\ntransit_role_id = 'r'")).is_err());
        assert!(section(&format!("{transit}\ntransit_role_id = 'r'\ntransit_secret_id_file = '/s'")).is_ok());
        assert!(
            section(&format!("{transit}\ntransit_role_id = 'r'\ntransit_secret_id_file = '/s'\ntransit_token_file = '/t'"))
                .is_err()
        );
        assert!(section("transit_address = 'http://bao:8200'\ntransit_key = 'vault'\ntransit_token_file = '/t'").is_err());
        assert!(section("on_outage = 'seal'\nprobe_seconds = 0").is_err());
        assert_eq!(section("on_outage = 'seal'").unwrap().grace_seconds, 300);
    }

    #[test]
    fn a_place_of_the_keyring_has_a_name_of_its_own_and_a_token_that_can_be_reached() {
        let section = |text: &str| parse(text, &[]).map(|config| config.keyring);
        assert!(section("").unwrap().file);
        let place = "[[keyring.place]]\nname = 'second'\npath = '/mnt/keys/keyring'\n";
        assert_eq!(section(place).unwrap().place.len(), 1);
        assert!(section(&[place, place].concat()).is_err());
        assert!(section(&place.replace("second", "first")).is_err());
        assert!(section(&format!("[keyring]\nfile = false\n{}", place.replace("second", "first"))).is_ok());
        assert!(section("[keyring]\nfile = false\n").is_err());
        assert!(section(&place.replace("second", "Second")).is_err());
        assert!(section(&format!("[keyring]\nwhen_away = 'go-on'\n{place}")).is_ok());
        assert!(section(&format!("[keyring]\nwhen_away = 'ignore'\n{place}")).is_err());
        assert!(section(&format!("{place}enclosed_by = 'pkcs11'\n")).is_err());
        assert!(section(&format!("{place}module = '/m.so'\n")).is_err());
        let token = "module = '/m.so'\ntoken = 'vault'\npin_file = '/pin'\n";
        assert!(section(&format!("{place}enclosed_by = 'pkcs11'\n{token}")).is_ok());
        assert!(section(&format!("[custody]\n{token}{place}enclosed_by = 'pkcs11'\n")).is_ok());
        assert!(section(&format!("{place}enclosed_by = 'aws-kms'\n")).is_ok());
        assert!(section(&format!("{place}enclosed_by = 'transit'\ntransit_key = 'epochs'\n")).is_err());
        let transit = "[custody]\ntransit_address = 'https://bao'\ntransit_token_file = '/t'\n";
        assert!(section(&format!("{transit}{place}enclosed_by = 'transit'\ntransit_key = 'epochs'\n")).is_ok());
        let transit = "[custody]\ntransit_address = 'https://bao'\ntransit_key = 'root'\ntransit_token_file = '/t'\n";
        assert!(section(&format!("{transit}{place}enclosed_by = 'transit'\ntransit_key = 'epochs'\n")).is_ok());
        assert!(section(&format!("{transit}{place}enclosed_by = 'transit'\ntransit_key = 'root'\n")).is_err());
        assert!(section(&format!("{transit}{place}transit_key = 'epochs'\n")).is_err());
    }

    #[test]
    fn letters_have_one_way_out_and_leave_the_machine_under_tls_alone() {
        let section = |text: &str| parse(&format!("[post]\n{text}\n"), &[]);
        assert_eq!(section("smtp_host = 'mail.example.org'").unwrap().post.smtp_security, SmtpSecurity::Starttls);
        assert!(section("webhook = 'https://app.example.org/letters'").is_ok());
        assert!(section("maildir = '/letters'").is_ok());
        assert!(section("maildir = '/letters'\nsmtp_host = 'a'").is_err());
        assert!(section("webhook = 'http://app.example.org/letters'").is_err());
        assert!(section("smtp_host = 'mail.example.org'\nsmtp_security = 'none'").is_err());
        assert!(section("smtp_host = '127.0.0.1'\nsmtp_security = 'none'").is_ok());
        assert!(section("smtp_host = 'a'\nsmtp_user = 'u'").is_err());
        assert!(section("timeout_seconds = 0").is_err());
    }

    #[test]
    fn every_absolute_path_is_known_wherever_it_stands() {
        let text = "[tls]\ncertificate = '/tls/cert.pem'\nnames = ['a.example']\n[hardening]\nwritable = ['/mnt/a', '/mnt/b']\n";
        let config = parse(text, &[("OUBLIETTE_BACKUP__TARGET", "/mnt/backup")]).unwrap();
        let mut paths: Vec<_> =
            config.paths.iter().map(|one| format!("{}.{} {}", one.section, one.setting, one.path.display())).collect();
        paths.sort();
        let all = [
            "backup.target /mnt/backup",
            "hardening.writable /mnt/a",
            "hardening.writable /mnt/b",
            "tls.certificate /tls/cert.pem",
        ];
        assert_eq!(paths, all);
    }

    #[test]
    fn metrics_stay_on_this_machine_unless_it_is_said_twice() {
        assert!(parse("[metrics]\nlisten = '127.0.0.1:9464'\n", &[]).is_ok());
        assert!(parse("[metrics]\nlisten = '[::1]:9464'\n", &[]).is_ok());
        assert!(parse("[metrics]\nlisten = '0.0.0.0:9464'\n", &[]).is_err());
        assert!(parse("[metrics]\nlisten = '0.0.0.0:9464'\nbeyond_this_machine = true\n", &[]).is_ok());
        assert_eq!(parse("", &[]).unwrap().metrics.listen, None);
    }

    #[test]
    fn a_measure_of_hardening_is_automatic_required_or_off() {
        let section = |text: &str| parse(&format!("[hardening]\n{text}\n"), &[]).map(|config| config.hardening);
        assert_eq!(section("").unwrap().files, Measure::Auto);
        assert_eq!(section("memory = 'required'").unwrap().memory, Measure::Required);
        assert_eq!(section("calls = 'off'").unwrap().calls, Measure::Off);
        assert!(section("calls = 'maybe'").is_err());
        assert!(section("core_dumps = true").is_err());
    }

    #[test]
    fn a_limit_that_would_stop_everything_is_refused() {
        assert!(parse("[limits]\nconnections = 0\n", &[]).is_err());
        assert!(parse("[limits]\nheader_bytes = 10\n", &[]).is_err());
        assert!(parse("[limits]\ncaller_per_second = 0\n", &[]).is_ok());
    }
}
