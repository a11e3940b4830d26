//! Files of keys: made for their owner alone, and refused when others could read or change them.
//!
//! The rules are those of OpenSSH for private keys (`auth-options` and `misc.c:safe_path` in its sources), a little stricter: the
//! directory is the owner's alone too, and a file with a second name (a hard link) is refused, for that is a copy that outlives it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::KeysError;

/// A failed step of a file, before it is known which file it was: see [`Fault::keyring`] and [`Fault::root`].
#[derive(Debug)]
pub(crate) enum Fault {
    Open(&'static str),
    Io(&'static str, io::Error),
}

impl Fault {
    pub(crate) fn keyring(self) -> KeysError {
        match self {
            Self::Open(what) => KeysError::TooOpen(what),
            Self::Io(step, error) => KeysError::Keyring(step, error),
        }
    }

    pub(crate) fn root(self) -> KeysError {
        match self {
            Self::Open(what) => KeysError::TooOpen(what),
            Self::Io(step, error) => KeysError::Root(step, error),
        }
    }
}

const SYNCED: i32 = rustix::fs::OFlags::DSYNC.bits() as i32;
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// Makes a new file of mode 0600 whose every write is durable when it returns; its directory is made with mode 0700 when missing.
pub(crate) fn create(path: &Path) -> Result<File, Fault> {
    let directory = directory(path);
    if !directory.exists() {
        let made = fs::DirBuilder::new().mode(0o700).create(directory);
        made.map_err(|error| Fault::Io("make the directory", error))?;
        sync_directory(directory)?;
    }
    check_directory(directory)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(SYNCED | NO_LINK)
        .open(path)
        .map_err(|error| Fault::Io("create", error))?;
    check_file(&file)?;
    Ok(file)
}

/// Opens a file that its owner alone may read and write. With `write`, every write is durable when it returns.
pub(crate) fn open(path: &Path, write: bool) -> Result<File, Fault> {
    check_directory(directory(path))?;
    let flags = if write { SYNCED | NO_LINK } else { NO_LINK };
    let opened = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path);
    let file = opened.map_err(|error| Fault::Io("open", error))?;
    check_file(&file)?;
    Ok(file)
}

/// Opens a file that its owner alone may read, wherever it lies: one of the operator's, not of the vault.
pub(crate) fn open_file(path: &Path) -> Result<File, Fault> {
    let file = File::open(path).map_err(|error| Fault::Io("open", error))?;
    check_file(&file)?;
    Ok(file)
}

/// Makes the names in the directory of `path` durable.
pub(crate) fn sync_directory_of(path: &Path) -> Result<(), Fault> {
    sync_directory(directory(path))
}

fn sync_directory(directory: &Path) -> Result<(), Fault> {
    let synced = File::open(directory).and_then(|open| open.sync_all());
    synced.map_err(|error| Fault::Io("sync the directory", error))
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn check_directory(directory: &Path) -> Result<(), Fault> {
    let meta = fs::metadata(directory).map_err(|error| Fault::Io("look at the directory", error))?;
    if !meta.is_dir() {
        return Err(Fault::Io("look at the directory", ErrorKind::NotADirectory.into()));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Fault::Open("the directory of keys belongs to another user"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Fault::Open("the directory of keys must have mode 0700"));
    }
    Ok(())
}

fn check_file(file: &File) -> Result<(), Fault> {
    let meta = file.metadata().map_err(|error| Fault::Io("look at the file", error))?;
    if !meta.is_file() {
        return Err(Fault::Open("not a plain file"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Fault::Open("the file belongs to another user"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Fault::Open("the file must have mode 0600"));
    }
    if meta.nlink() != 1 {
        return Err(Fault::Open("the file has a second name"));
    }
    Ok(())
}
