//! A PKCS#11 token: SoftHSM2, with a token of its own for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::remote::{is_open, until};
use super::{Yard, owned};
use crate::house::{House, PASSPHRASE};

const PIN: &str = "87654321";
pub(super) const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A yard with a token, and a configuration that names it.
pub(super) struct Token {
    pub(super) yard: Yard,
    pub(super) pin: String,
}

impl Token {
    fn new() -> Self {
        Self::in_yard(Yard::new())
    }

    /// A fresh token beside whatever is in the yard.
    pub(super) fn in_yard(mut yard: Yard) -> Self {
        fs::create_dir(yard.path("tokens")).unwrap();
        let settings = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", yard.text("tokens"));
        fs::write(yard.path("softhsm2.conf"), settings).unwrap();
        yard.environment.push(("SOFTHSM2_CONF", yard.text("softhsm2.conf")));
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "vault", "--so-pin", "12345678", "--pin", PIN])
            .envs(yard.environment.iter().cloned())
            .output()
            .expect("softhsm2-util is missing: install the package softhsm2 (tests/run does)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let pin = yard.secret("pin", PIN);
        Self { yard, pin }
    }

    fn configure(&self, vault: &Path) {
        let module = MODULES.iter().find(|path| Path::new(path).exists()).expect("the package softhsm2 has no module here");
        let (token, pin) = ("vault", &self.pin);
        let settings = format!("[custody]\nprovider = 'pkcs11'\nmodule = '{module}'\ntoken = '{token}'\npin_file = '{pin}'\n");
        fs::write(vault.join("config.toml"), settings).unwrap();
    }

    fn init(&self) {
        fs::create_dir(self.yard.vault()).unwrap();
        fs::set_permissions(self.yard.vault(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        self.configure(&self.yard.vault());
        // A wrong PIN makes no vault, and is no obstacle to another try.
        let wrong = self.yard.secret("wrong", "00000000");
        self.yard.init(&["--passphrase-file", &wrong]).bad("refuses the PIN");
        self.yard.init(&[]).good();
    }

    /// The files of the token's objects.
    pub(super) fn objects(&self) -> Vec<PathBuf> {
        let token = fs::read_dir(self.yard.path("tokens")).unwrap().next().unwrap().unwrap().path();
        let objects = fs::read_dir(token).unwrap().map(|entry| entry.unwrap().path());
        let is_object = |path: &PathBuf| path.extension().is_some_and(|end| end == "object") && !path.ends_with("token.object");
        objects.filter(is_object).collect()
    }
}

#[test]
fn a_vault_whose_root_key_is_in_a_token_opens_by_itself_and_rotates() {
    let token = Token::new();
    token.init();
    let yard = &token.yard;
    assert_eq!(token.objects().len(), 1);
    yard.opens(&[]);
    let before = fs::read(yard.path("vault/keys/root")).unwrap();
    let served = yard.serve(&[]).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    assert_eq!(served.root(&admin)["provider"], "pkcs11");
    let said = served.run(&["keys", "rotate-root", "--by-pin-file", "--token-file", &admin]).good();
    assert_eq!(said["provider"], "pkcs11");
    // Sealed, the PIN is what opens it again; another one never reaches the token.
    served.run(&["seal", "--token-file", &admin]).good();
    served.run(&["unseal", "--passphrase-file", &yard.secret("wrong", "00000000")]).bad("wrong-passphrase");
    served.run(&["unseal", "--passphrase-file", &token.pin]).good();
    drop(served);
    assert_eq!(token.objects().len(), 1, "the old key was not destroyed in the token");
    yard.opens(&[]);
    let after = fs::read(yard.path("vault/keys/root")).unwrap();
    assert_ne!(after, before);
    fs::write(yard.path("vault/keys/root"), before).unwrap();
    yard.does_not_serve(&[], "no key for this root key");
    fs::write(yard.path("vault/keys/root"), after).unwrap();
    yard.opens(&[]);
    let good = |found: &str| ("good".to_owned(), found.to_owned());
    assert_eq!(yard.doctor("root key"), [good("is held by: pkcs11")]);
    assert_eq!(yard.doctor("token"), [good("opens the root key")]);
}

#[test]
fn a_token_that_does_not_help_says_why_and_nothing_is_lost() {
    let token = Token::new();
    token.init();
    let yard = &token.yard;
    let doctor = |word: &str| {
        let found = yard.doctor("token");
        assert!(found.iter().any(|(level, found)| level == "bad" && found.contains(word)), "{found:?}");
    };
    // A wrong PIN, one that others may read, none.
    owned(Path::new(&token.pin), "00000000");
    yard.does_not_serve(&[], "refuses the PIN");
    doctor("refuses the PIN");
    owned(Path::new(&token.pin), PIN);
    fs::set_permissions(&token.pin, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    yard.does_not_serve(&[], "must have mode 0600");
    doctor("may be read by others");
    fs::remove_file(&token.pin).unwrap();
    yard.does_not_serve(&[], "PIN cannot be read");
    owned(Path::new(&token.pin), PIN);
    yard.opens(&[]);
    // The token is away, and comes back.
    fs::rename(yard.path("tokens"), yard.path("away")).unwrap();
    fs::create_dir(yard.path("tokens")).unwrap();
    yard.does_not_serve(&[], "no token with the configured label");
    doctor("no token with the configured label");
    fs::remove_dir(yard.path("tokens")).unwrap();
    fs::rename(yard.path("away"), yard.path("tokens")).unwrap();
    yard.opens(&[]);
    // The module is not there.
    let config = fs::read_to_string(yard.path("vault/config.toml")).unwrap();
    fs::write(yard.path("vault/config.toml"), config.replace(".so'", ".nowhere'")).unwrap();
    yard.does_not_serve(&[], "module cannot be loaded");
    fs::write(yard.path("vault/config.toml"), config).unwrap();
    // The key was deleted: nobody opens this vault again, and it says so.
    for object in token.objects() {
        fs::remove_file(object).unwrap();
    }
    yard.does_not_serve(&[], "the key was deleted");
    doctor("the key was deleted");
}

#[test]
fn a_token_that_goes_away_while_the_vault_runs_stops_only_what_needs_it() {
    let token = Token::new();
    token.init();
    let yard = &token.yard;
    let served = yard.serve(&[]).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    fs::rename(yard.path("tokens"), yard.path("away")).unwrap();
    fs::create_dir(yard.path("tokens")).unwrap();
    let rotate = ["keys", "rotate-root", "--by-pin-file", "--token-file", admin.as_str()];
    served.run(&rotate).bad("custody-unavailable");
    assert_eq!(served.root(&admin)["state"], "active");
    served.run(&["keys", "rotate", "--token-file", &admin]).good();
    fs::remove_dir(yard.path("tokens")).unwrap();
    fs::rename(yard.path("away"), yard.path("tokens")).unwrap();
    served.run(&rotate).good();
    drop(served);
    yard.opens(&[]);
}

#[test]
fn the_root_key_goes_to_a_token_and_back_and_no_record_is_touched() {
    let house = House::start();
    let ada = house.ada();
    house.contact(&ada);
    let read = |house: &House| house.read(&ada, "b-service", "").expect(200).json()["records"].clone();
    let records = read(&house);
    let home = house.close();

    let token = Token::new();
    let yard = &token.yard;
    std::os::unix::fs::symlink(home.path(), yard.vault()).unwrap();
    let passphrase = yard.secret("passphrase", PASSPHRASE);
    let by_passphrase = ["--passphrase-file", passphrase.as_str()];
    yard.migrate(&[&["--to", "pkcs11"], &by_passphrase[..]].concat()).bad("names no token");
    token.configure(&yard.vault());
    let wrong = yard.secret("wrong", "00000000");
    yard.migrate(&[&["--to", "pkcs11", "--new-pin-file", &wrong], &by_passphrase[..]].concat()).bad("refuses the PIN");
    yard.opens(&by_passphrase);
    let warned = yard.doctor("root key");
    assert!(warned.iter().any(|(level, found)| level == "warning" && found.contains("config.toml says pkcs11")), "{warned:?}");
    yard.migrate(&[&["--to", "pkcs11"], &by_passphrase[..]].concat()).good();
    yard.does_not_serve(&by_passphrase, "PIN");
    yard.opens(&[]);
    // From token to token is a rotation; then to shares, and back to the passphrase.
    yard.migrate(&["--to", "pkcs11"]).good();
    assert_eq!(token.objects().len(), 1);
    let folder = yard.text("shares");
    yard.migrate(&["--to", "shares", "--shares", "2-of-2", "--shares-to", &folder]).good();
    assert_eq!(token.objects().len(), 0, "the key outlived its file");
    let (one, two) = (yard.text("shares/share-1"), yard.text("shares/share-2"));
    let shares = ["--share-file", one.as_str(), "--share-file", two.as_str()];
    yard.migrate(&[&["--to", "pkcs11"], &shares[..]].concat()).good();
    yard.migrate(&["--to", "passphrase", "--new-passphrase-file", &passphrase]).good();
    let house = House::open(home).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read(&house), records);
}

#[test]
fn a_token_that_is_taken_away_closes_the_vault_where_that_is_wanted() {
    let token = Token::new();
    token.init();
    let yard = &token.yard;
    let config = fs::read_to_string(yard.path("vault/config.toml")).unwrap();
    fs::write(yard.path("vault/config.toml"), format!("{config}probe_seconds = 1\non_outage = 'seal'\ngrace_seconds = 0\n"))
        .unwrap();
    let served = yard.serve(&[]).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    assert_eq!(served.root(&admin)["holder"]["state"], "reachable");
    fs::rename(yard.path("tokens"), yard.path("away")).unwrap();
    fs::create_dir(yard.path("tokens")).unwrap();
    until("sealed", || !is_open(&served));
    fs::remove_dir(yard.path("tokens")).unwrap();
    fs::rename(yard.path("away"), yard.path("tokens")).unwrap();
    until("open again", || is_open(&served));
}

#[test]
fn a_token_that_refuses_its_pin_is_asked_once_and_not_until_it_locks_itself() {
    let token = Token::new();
    token.init();
    let yard = &token.yard;
    let config = fs::read_to_string(yard.path("vault/config.toml")).unwrap();
    fs::write(yard.path("vault/config.toml"), format!("{config}probe_seconds = 1\n")).unwrap();
    let served = yard.serve(&[]).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    owned(Path::new(&token.pin), "00000000");
    until("refused", || served.root(&admin)["holder"]["state"] == "refused");
    // Some looks later the token has seen one wrong PIN, and still takes the right one.
    std::thread::sleep(std::time::Duration::from_millis(3_500));
    owned(Path::new(&token.pin), PIN);
    served.run(&["keys", "rotate-root", "--by-pin-file", "--token-file", &admin]).good();
    let log = fs::read_to_string(yard.path("errors")).unwrap();
    assert_eq!(log.matches("refuses the PIN").count(), 1, "{log}");
}
