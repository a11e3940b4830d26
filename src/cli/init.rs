//! `oubliette init`: a new vault.

use std::path::{Path, PathBuf};

use clap::Args;
use keys::secret::ExposeSecret;
use serde_json::json;

use super::engine;
use super::failure::Failure;
use super::out::Out;
use super::private;
use super::secrets::PassphraseFrom;

const EXAMPLES: &str = "\
Examples:
  oubliette init /srv/vault
  oubliette init /srv/vault --passphrase-file /run/secrets/vault --token-file officer.token

The passphrase cannot be recovered: without it, or without DIR/keys, every record is lost.
The token of the first security officer is shown once; it makes the other callers.";

/// Makes config.toml, keys/, data/ and tls/ in a new or empty folder.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// Folder of the new vault; it must be empty or not there yet
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    /// Write the first security officer's token to this file (mode 0600) instead of standard output
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Init {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        check_empty(&self.dir)?;
        if let Some(path) = self.token_file.as_deref().filter(|path| path.exists()) {
            return Err(Failure::usage(format!("{} is there already", path.display())).remedy("name a file that does not exist"));
        }
        let passphrase = self.passphrase.fresh()?;
        let created = engine::create(&self.dir, &passphrase)?;
        let token = created.bootstrap.expose_secret();
        let shown = match &self.token_file {
            Some(path) => {
                private::write(path, format!("{token}\n").as_bytes())?;
                format!("The security officer's token is in {}.", path.display())
            }
            None => format!("The security officer's token, shown this once:\n  {token}"),
        };
        let dir = self.dir.display();
        out.result(
            &format!(
                "A new vault is in {dir}.\n{shown}\nNext:\n  oubliette doctor {dir}\n  oubliette serve --dir {dir}\n  oubliette unseal --dir {dir}"
            ),
            &json!({
                "dir": self.dir, "public_key": engine::public_key_path(&self.dir), "token_file": self.token_file,
                "token": if self.token_file.is_none() { Some(token) } else { None },
            }),
        );
        Ok(())
    }
}

/// A vault is made in a folder of its own: nothing that is there already is touched.
pub(super) fn check_empty(dir: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
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
        std::fs::write(dir.path().join("letter"), "hello").unwrap();
        assert!(check_empty(dir.path()).unwrap_err().to_string().contains("is not empty"));
    }
}
