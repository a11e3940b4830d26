//! Letters into a maildir: one file each, complete or not there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::{Failed, Letter, Post};

impl Post {
    /// Writes a letter into `new`. One that went out before under the same id is replaced, so none lies there twice.
    pub(super) fn to_maildir(&self, folder: &Path, letter: &Letter<'_>) -> Result<(), Failed> {
        let mail = self.mail(letter)?.formatted();
        write(folder, &letter.id, &mail).map_err(|error| {
            tracing::error!(error = %error.kind(), "a letter could not be put into the maildir");
            Failed::NoSender
        })
    }
}

fn write(folder: &Path, name: &str, mail: &[u8]) -> io::Result<()> {
    for part in ["tmp", "new", "cur"] {
        DirBuilder::new().recursive(true).mode(0o700).create(folder.join(part))?;
    }
    let (staged, kept) = (folder.join("tmp").join(name), folder.join("new").join(name));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    file.write_all(mail)?;
    file.sync_all()?;
    fs::rename(&staged, &kept)
}
