//! What needs a backup target and no server: its list, a drill, a restore.

use std::path::{Path, PathBuf};

use keys::root::Custody;

use super::super::failure::Failure;
use super::load;
use crate::backup::{self, BackupError, Manifest};
use crate::model::time::Clock;
use crate::server::tls;
use crate::vault::VaultConfig;
use crate::vault::restore::{self, Drilled, RestoreError, Restored};

/// Where the vault in `dir` backs itself up to, and how many seconds apart; none where it is not told to.
pub(in crate::cli) fn backup_target(dir: &Path) -> Result<Option<(PathBuf, u64)>, Failure> {
    let section = load(dir)?.backup;
    Ok(section.target.map(|target| (target, section.every_seconds)))
}

/// Every backup in `target`, oldest first: its manifest, or what is wrong with it.
pub(in crate::cli) fn list_backups(target: &Path, key: Option<[u8; 32]>) -> Result<Vec<Result<Manifest, String>>, Failure> {
    check_key(target, key)?;
    let public = backup::public_key_of(target)?.public;
    Ok(backup::list(target, &public)?.into_iter().map(|kept| kept.map_err(|error| error.to_string())).collect())
}

/// The newest backup in `target`.
pub(in crate::cli) fn newest_backup(target: &Path) -> Result<Manifest, Failure> {
    let newest = list_backups(target, None)?.into_iter().filter_map(Result::ok).next_back();
    newest.ok_or_else(|| BackupError::None.into())
}

/// Restores into a scratch folder and reads a sample; leaves nothing behind.
pub(in crate::cli) fn drill_backup(
    target: &Path,
    number: Option<u64>,
    (keys, scratch): (&Path, &Path),
    key: Option<[u8; 32]>,
    holder: &dyn Custody,
    sample: usize,
) -> Result<Drilled, Failure> {
    check_key(target, key)?;
    Ok(restore::drill(keys, scratch, &Clock::system(), target, number, holder, sample)?)
}

/// Makes the data of the vault in `dir` from a backup.
pub(in crate::cli) fn restore_backup(
    dir: &Path,
    target: &Path,
    number: Option<u64>,
    key: Option<[u8; 32]>,
    holder: &dyn Custody,
) -> Result<Restored, Failure> {
    check_key(target, key)?;
    Ok(restore::restore(&VaultConfig::in_dir(dir), &Clock::system(), target, number, holder)?)
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
fn check_key(target: &Path, key: Option<[u8; 32]>) -> Result<(), Failure> {
    let named = backup::public_key_of(target)?.public;
    if key.is_none_or(|key| key == named) {
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
            RestoreError::Exists => Self::new(text).remedy("move data/ away, or name another folder"),
            RestoreError::Stale { .. } => Self::unverified(text)
                .remedy("use the target that the vault wrote to last, and the keyring that it used last; see docs/OPERATIONS.md"),
            RestoreError::WrongPassphrase => Self::new(text).remedy("try again; nothing was changed"),
            RestoreError::Unreadable(_) | RestoreError::Broken(_) => {
                Self::unverified(text).remedy("try another backup (--backup), and make a new full one")
            }
            RestoreError::Keys(keys::KeysError::Locked) => Self::new(text).remedy("stop the vault first"),
            _ => Self::new(text),
        }
    }
}
