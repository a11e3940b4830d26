//! What needs a backup target and no server: its list, a drill, a restore.

use std::path::{Path, PathBuf};

use keys::root::Custody;

use super::super::failure::Failure;
use super::{load, places};
use crate::audit::PublicKeys;
use crate::backup::{self, BackupError, Manifest, Progress};
use crate::config::Config;
use crate::model::time::Clock;
use crate::server::tls;
use crate::vault::VaultConfig;
use crate::vault::restore::{self, Drill, Drilled, KeyFiles, RestoreError, Restored};

/// Where the vault in `dir` backs itself up to, and how many seconds apart; nowhere where it is not told to.
pub(in crate::cli) fn backup_targets(dir: &Path) -> Result<(Vec<PathBuf>, u64), Failure> {
    let section = load(dir)?.backup;
    Ok((section.folders(), section.every_seconds))
}

/// Every backup in `target`, oldest first: its manifest, or what is wrong with it.
pub(in crate::cli) fn list_backups(target: &Path, key: Option<PublicKeys>) -> Result<Vec<Result<Manifest, String>>, Failure> {
    check_key(target, key)?;
    let keys = backup::public_keys_of(target)?;
    Ok(backup::list(target, &keys)?.into_iter().map(|kept| kept.map_err(|error| error.to_string())).collect())
}

/// The newest backup in `target`.
pub(in crate::cli) fn newest_backup(target: &Path) -> Result<Manifest, Failure> {
    let newest = list_backups(target, None)?.into_iter().filter_map(Result::ok).next_back();
    newest.ok_or_else(|| BackupError::None.into())
}

/// The keys in a folder. A keyring without a plain place is where the configuration beside the keys says.
pub(in crate::cli) fn key_files(keys: &Path) -> Result<KeyFiles, Failure> {
    let mut files = KeyFiles::from(keys);
    let dir = keys.join("..");
    if !keys.join("keyring").exists() && dir.join("config.toml").exists() {
        files.keyring = places::of(&load(&dir)?);
    }
    Ok(files)
}

/// Restores into a scratch folder and reads a sample; leaves nothing behind.
pub(in crate::cli) fn drill_backup(
    drill: &Drill<'_>,
    key: Option<PublicKeys>,
    holder: &dyn Custody,
    progress: &Progress,
) -> Result<Drilled, Failure> {
    check_key(drill.from, key)?;
    Ok(restore::drill(drill, &Clock::system(), holder, progress)?)
}

/// Makes the data of the vault in `dir` from a backup.
pub(in crate::cli) fn restore_backup(
    dir: &Path,
    (target, number): (&Path, Option<u64>),
    key: Option<PublicKeys>,
    holder: &dyn Custody,
    progress: &Progress,
) -> Result<Restored, Failure> {
    check_key(target, key)?;
    // The configuration comes back with the rest where there is none; it says where the keyring is.
    let public = target.join("public/config.toml");
    let config = match std::fs::read_to_string(&public) {
        Ok(text) if !dir.join("config.toml").exists() => Config::parse(&text, std::env::vars()).map_err(|e| {
            Failure::new(format!("{}: {e}", public.display())).remedy("write a config.toml into the folder first")
        })?,
        _ => load(dir)?,
    };
    let config = Config { dir: dir.to_owned(), ..config };
    let config = VaultConfig { keyring: places::of(&config), ..VaultConfig::in_dir(dir) };
    Ok(restore::restore(&config, &Clock::system(), target, number, holder, progress)?)
}

/// A certificate of the first run, where the vault has none; whether one was made.
pub(in crate::cli) fn create_tls(dir: &Path) -> Result<bool, Failure> {
    let config = load(dir)?;
    if config.tls.certificate.is_some() || config.tls.key.is_some() {
        return Ok(false);
    }
    tls::first_run(&dir.join("tls"), &config.tls.names, Clock::system().now())
        .map_err(|e| Failure::new(format!("cannot make a certificate: {e}")))
}

/// The key that the target names must be the one that was kept elsewhere.
fn check_key(target: &Path, key: Option<PublicKeys>) -> Result<(), Failure> {
    let named = backup::public_key_of(target)?.public;
    let list = std::fs::read_to_string(target.join("vault.keys")).unwrap_or_default();
    if key.is_none_or(|key| key.following(&list).contains(&named)) {
        return Ok(());
    }
    Err(Failure::unverified("the backup target is another vault's than the key").remedy("name the target of this vault"))
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let text = error.to_string();
        match error {
            BackupError::None | BackupError::NoSuch(_) => {
                Self::new(text).remedy("name the folder of [backup] target; `oubliette backup list` shows what is in it")
            }
            BackupError::Missing(_)
            | BackupError::CutOff(_)
            | BackupError::Damaged(_)
            | BackupError::Foreign(_)
            | BackupError::Unsigned(_)
            | BackupError::Gap(_) => Self::unverified(text)
                .remedy("take another copy of the target or another backup (--backup); make a new full one soon"),
            _ => Self::new(text),
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let text = error.to_string();
        match error {
            RestoreError::Backup(error) => error.into(),
            RestoreError::UnderWay => {
                Self::new(text).remedy("wait for its end: `oubliette serve` does, and /readyz says how far it is")
            }
            RestoreError::Exists => Self::new(text).remedy("move data/ away, or name another folder"),
            RestoreError::Stale { .. } => Self::unverified(text)
                .remedy("use the target that the vault wrote to last, and the keyring that it used last; see docs/OPERATIONS.md"),
            RestoreError::WrongPassphrase => Self::new(text).remedy("try again; nothing was changed"),
            RestoreError::Unreadable(_) | RestoreError::Broken(_) => {
                Self::unverified(text).remedy("try another backup (--backup), and make a new full one")
            }
            RestoreError::Keys(keys::KeysError::Locked) => Self::new(text).remedy("stop the vault first"),
            RestoreError::Keys(error @ (keys::KeysError::Away { .. } | keys::KeysError::Places(_))) => error.into(),
            _ => Self::new(text),
        }
    }
}
