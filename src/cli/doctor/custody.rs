//! Who holds the root key, and whether they can be reached.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use keys::root::{self, Provider};
use keys::{KeysError, Obstacle};

use super::super::secrets::PassphraseFrom;
use super::super::{custody, engine};
use super::Finding;
use crate::config::CustodyProvider;

const CHECK: &str = "root key";

/// One finding about who holds it, and one for whatever stands in the way of that holder.
pub(super) fn holder(dir: &Path) -> Vec<Finding> {
    const REMEDY: &str = "restore keys/root from its copy: without it no record opens";
    let path = dir.join("keys/root");
    if !path.exists() {
        return Vec::new(); // said with the files
    }
    let file = match root::look(&path) {
        Ok(file) => file,
        Err(error) => return vec![Finding::bad(CHECK, format!("keys/root: {error}"), REMEDY)],
    };
    let provider = file.provider();
    let found = match file.shares() {
        Some((needed, all)) => format!("is held by {needed} of {all} people with shares"),
        None => format!("is held by: {provider}"),
    };
    let mut findings = vec![Finding::good(CHECK, found)];
    match engine::custody_provider(dir) {
        Ok(chosen) if chosen != CustodyProvider::Passphrase && word(chosen) != provider => findings.push(Finding::warning(
            CHECK,
            format!("config.toml says {}, keys/root is held by {provider}", word(chosen)),
            format!("correct custody.provider, or hand it on with `oubliette keys migrate --to {}`", word(chosen)),
        )),
        // A configuration that cannot be read is said with the configuration.
        Ok(_) | Err(_) => {}
    }
    match provider {
        Provider::Pkcs11 => findings.push(token(dir, &file)),
        Provider::Kms | Provider::Transit => findings.push(remote(dir, &file)),
        Provider::Passphrase | Provider::Shares => {}
    }
    findings
}

fn word(chosen: CustodyProvider) -> Provider {
    match chosen {
        CustodyProvider::Passphrase => Provider::Passphrase,
        CustodyProvider::Shares => Provider::Shares,
        CustodyProvider::Pkcs11 => Provider::Pkcs11,
        CustodyProvider::AwsKms => Provider::Kms,
        CustodyProvider::Transit => Provider::Transit,
    }
}

/// Whether the token opens the root key with the configured PIN. What it gives is dropped at once.
fn token(dir: &Path, file: &root::RootFile) -> Finding {
    const CHECK: &str = "token";
    let settings = match engine::custody_settings(dir) {
        Ok(settings) => settings,
        Err(failure) => return Finding::bad(CHECK, failure.to_string(), "correct config.toml"),
    };
    let Some(pin) = &settings.pin else {
        return Finding::good(CHECK, "is not asked: no pin_file is configured, so somebody unseals with the PIN");
    };
    match std::fs::metadata(pin) {
        Ok(meta) if meta.mode() & 0o077 != 0 => {
            return Finding::bad(
                CHECK,
                "the file of its PIN may be read by others",
                format!("chmod 600 {}, and change the PIN", pin.display()),
            );
        }
        Ok(_) => {}
        Err(error) => return Finding::bad(CHECK, format!("the file of its PIN: {error}"), "name the right custody.pin_file"),
    }
    let opened = custody::token(&settings, &PassphraseFrom::default()).and_then(|token| Ok(token.unlock(file).map(drop)?));
    match opened {
        Ok(()) => Finding::good(CHECK, "opens the root key"),
        Err(failure) => Finding::bad(
            CHECK,
            failure.to_string().lines().next().unwrap_or_default(),
            "bring the token back, or correct module, token and pin_file under [custody]; if its key was deleted, the vault is lost",
        ),
    }
}

/// Whether KMS or transit opens the root key now. What it gives is dropped at once.
fn remote(dir: &Path, file: &root::RootFile) -> Finding {
    let check = file.provider().word();
    let settings = match engine::custody_settings(dir) {
        Ok(settings) => settings,
        Err(failure) => return Finding::bad(check, failure.to_string(), "correct config.toml"),
    };
    match settings.remote(file.provider()).and_then(|holder| holder.unlock(file)) {
        Ok(_key) => Finding::good(check, "opens the root key"),
        Err(error) => Finding::bad(check, error.to_string(), remedy(&error)),
    }
}

/// What can be done about a holder that does not open the root key.
fn remedy(error: &KeysError) -> &'static str {
    match error.obstacle() {
        Some(Obstacle::Away) => "bring the provider or the way to it back; nothing is lost meanwhile",
        Some(Obstacle::Refused) => "give the vault credentials and rights for its key again: see [custody] in config.toml",
        Some(Obstacle::Disabled) => "enable the key at the provider, if the vault is to open again",
        Some(Obstacle::Doomed(_)) => "cancel the deletion of the key and enable it before that day: after it the vault is lost",
        Some(Obstacle::Gone) => {
            "bring the key back from the provider's own backup; if it was deleted for good, the vault is lost"
        }
        Some(Obstacle::Unusable) | None => "correct [custody] in config.toml",
    }
}
