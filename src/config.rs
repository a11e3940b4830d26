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
    /// What the vault does by itself when a time has come.
    pub sweep: SweepSection,
    /// Where backups go.
    pub backup: BackupSection,
    /// What people get who ask for their data.
    pub bundles: BundlesSection,
    /// How letters and messages leave.
    pub post: PostSection,
    /// What is logged.
    pub log: LogSection,
    /// Whose access tokens are taken beside the vault's own; none unless told.
    pub oidc: Option<OidcSection>,
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

/// `[custody]`: who holds the root key of a new vault, and how a token is reached. The file of the root key says who holds it now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
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
}

impl CustodySection {
    fn check(&self) -> Result<(), ConfigError> {
        if self.module.is_some() != self.token.is_some() {
            return Err(ConfigError::Bounds("custody.module and custody.token", "given together"));
        }
        if self.provider == CustodyProvider::Pkcs11 && self.module.is_none() {
            return Err(ConfigError::Bounds("custody.module and custody.token", "given for the provider pkcs11"));
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
    /// The folder that backups go to; without, there are none.
    pub target: Option<PathBuf>,
    /// Seconds between two backups; 0 is never by itself.
    pub every_seconds: u64,
    /// Full backups that are kept.
    pub keep: usize,
    /// When the key of an epoch may die.
    pub seal: Seal,
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
        Self { target: None, every_seconds: 86_400, keep: 7, seal: Seal::Immediate, mib_per_second: 0 }
    }
}

impl BackupSection {
    fn check(&self) -> Result<(), ConfigError> {
        if self.keep == 0 {
            return Err(ConfigError::Bounds("backup.keep", "more than 0"));
        }
        if self.target.is_none() && self.seal == Seal::AfterBackup {
            return Err(ConfigError::Bounds("backup.target", "given where backup.seal is after-backup"));
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
        let config = Self::deserialize(table).map_err(malformed)?;
        config.limits.check()?;
        config.custody.check()?;
        config.backup.check()?;
        if !(1..=90).contains(&config.bundles.days) {
            return Err(ConfigError::Bounds("bundles.days", "1 to 90"));
        }
        config.post.check()?;
        config.server.check()?;
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
    fn a_limit_that_would_stop_everything_is_refused() {
        assert!(parse("[limits]\nconnections = 0\n", &[]).is_err());
        assert!(parse("[limits]\nheader_bytes = 10\n", &[]).is_err());
        assert!(parse("[limits]\ncaller_per_second = 0\n", &[]).is_ok());
    }
}
