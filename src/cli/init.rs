//! `oubliette init`: a new vault.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use keys::root::{Custody, Provider};
use keys::secret::ExposeSecret;
use serde_json::json;

use super::custody::{Dealt, Holder, token};
use super::engine;
use super::failure::Failure;
use super::folder::Folder;
use super::out::Out;
use super::private;
use super::secrets::PassphraseFrom;
use crate::config::CustodyProvider;

const EXAMPLES: &str = "\
Examples:
  oubliette init /srv/vault
  oubliette init /srv/vault --shares 3-of-5 --shares-to /media/shares
  oubliette init /srv/vault --passphrase-file /run/secrets/vault --token-file one.token --second-token-file two.token

Who holds the root key is the passphrase unless --shares or [custody] of a config.toml that lies in the folder already says otherwise:
provider = \"pkcs11\", \"aws-kms\" or \"transit\", see docs/OPERATIONS.md. With these the vault opens itself when it starts.
The passphrase cannot be recovered: without it, or without DIR/keys, every record is lost.
The tokens of two security officers are shown once, one for each of two people: what one proposes (`oubliette caller put`),
the other confirms.";

/// Makes config.toml, keys/, data/ and tls/ in a new or empty folder.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    #[command(flatten)]
    dealt: Dealt,
    /// Write the first security officer's token to this file (mode 0600) instead of standard output
    #[arg(long, value_name = "FILE", requires = "second_token_file")]
    token_file: Option<PathBuf>,
    /// Write the second security officer's token to this file (mode 0600)
    #[arg(long, value_name = "FILE", requires = "token_file")]
    second_token_file: Option<PathBuf>,
}

impl Init {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        check_empty(self.folder.path())?;
        let files = [&self.token_file, &self.second_token_file];
        if let Some(path) = files.into_iter().flatten().find(|path| path.exists()) {
            return Err(Failure::usage(format!("{} is there already", path.display())).remedy("name a file that does not exist"));
        }
        let id = keys::random::bytes::<16>()?;
        let mut shares = Vec::new();
        let holder: Arc<dyn Custody> = match self.holder()? {
            Holder::Passphrase => Arc::new(self.passphrase.fresh()?),
            Holder::Pkcs11 => token(&engine::custody_settings(self.folder.path())?, &self.passphrase)?,
            Holder::AwsKms => engine::custody_settings(self.folder.path())?.remote(Provider::Kms)?,
            Holder::Transit => engine::custody_settings(self.folder.path())?.remote(Provider::Transit)?,
            Holder::Shares => {
                let (holder, dealt) = self.dealt.deal(id)?;
                shares = dealt;
                Arc::new(holder)
            }
        };
        engine::harden();
        let share_files = self.dealt.write(&shares)?;
        let created = engine::create_as(self.folder.path(), id, holder)?;
        let tokens = [created.first.expose_secret(), created.second.expose_secret()];
        let shown = match (&self.token_file, &self.second_token_file) {
            (Some(first), Some(second)) => {
                private::write(first, format!("{}\n", tokens[0]).as_bytes())?;
                private::write(second, format!("{}\n", tokens[1]).as_bytes())?;
                format!("The tokens of the two security officers are in {} and {}.", first.display(), second.display())
            }
            _ => format!("The tokens of the two security officers, shown this once:\n  {}\n  {}", tokens[0], tokens[1]),
        };
        let shares: Vec<&str> = shares.iter().map(ExposeSecret::expose_secret).collect();
        let printed = share_files.is_none() && !shares.is_empty();
        let shown = match &share_files {
            Some(files) => format!("{shown}\nThe shares are in {}, one for each person.", listed(files)),
            None if printed => format!("{shown}\nThe shares, shown this once, one for each person:\n  {}", shares.join("\n  ")),
            None => shown,
        };
        let dir = self.folder.path().display();
        out.result(
            &format!(
                "A new vault is in {dir}.\n{shown}\nNext:\n  oubliette doctor {dir}\n  oubliette serve --dir {dir}\n  oubliette unseal --dir {dir}"
            ),
            &json!({
                "dir": self.folder.path(), "public_key": engine::public_key_path(self.folder.path()),
                "share_files": share_files, "shares": printed.then_some(shares),
                "token_files": [self.token_file, self.second_token_file],
                "tokens": if self.token_file.is_none() { Some(tokens) } else { None },
            }),
        );
        Ok(())
    }
}

impl Init {
    fn holder(&self) -> Result<Holder, Failure> {
        Ok(match (self.dealt.shares, engine::custody_provider(self.folder.path())?) {
            (Some(_), _) | (None, CustodyProvider::Shares) => Holder::Shares,
            (None, CustodyProvider::Pkcs11) => Holder::Pkcs11,
            (None, CustodyProvider::AwsKms) => Holder::AwsKms,
            (None, CustodyProvider::Transit) => Holder::Transit,
            (None, CustodyProvider::Passphrase) => Holder::Passphrase,
        })
    }
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A vault is made in a folder of its own: nothing that is there already is touched, and nothing but its configuration may be there.
pub(super) fn check_empty(dir: &Path) -> Result<(), Failure> {
    let other = |entry: std::io::Result<std::fs::DirEntry>| entry.map_or(true, |entry| entry.file_name() != "config.toml");
    match std::fs::read_dir(dir).map(|mut entries| entries.any(other)) {
        Ok(true) => Err(Failure::new(format!("{} is not empty", dir.display())).remedy("name a new folder; nothing was touched")),
        Ok(false) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Failure::file("look into", dir, &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_empty(dir.path()).is_ok());
        assert!(check_empty(&dir.path().join("new")).is_ok());
        std::fs::write(dir.path().join("config.toml"), "").unwrap();
        assert!(check_empty(dir.path()).is_ok());
        std::fs::write(dir.path().join("letter"), "hello").unwrap();
        assert!(check_empty(dir.path()).unwrap_err().to_string().contains("is not empty"));
    }
}
