//! `oubliette init`: a new vault.

use std::path::{Path, PathBuf};

use clap::Args;
use keys::secret::ExposeSecret;
use serde_json::json;

use super::engine;
use super::failure::Failure;
use super::folder::Folder;
use super::out::Out;
use super::private;
use super::secrets::PassphraseFrom;

const EXAMPLES: &str = "\
Examples:
  oubliette init /srv/vault
  oubliette init /srv/vault --passphrase-file /run/secrets/vault --token-file one.token --second-token-file two.token

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
        let passphrase = self.passphrase.fresh()?;
        engine::harden();
        let created = engine::create(self.folder.path(), &passphrase)?;
        let tokens = [created.first.expose_secret(), created.second.expose_secret()];
        let shown = match (&self.token_file, &self.second_token_file) {
            (Some(first), Some(second)) => {
                private::write(first, format!("{}\n", tokens[0]).as_bytes())?;
                private::write(second, format!("{}\n", tokens[1]).as_bytes())?;
                format!("The tokens of the two security officers are in {} and {}.", first.display(), second.display())
            }
            _ => format!("The tokens of the two security officers, shown this once:\n  {}\n  {}", tokens[0], tokens[1]),
        };
        let dir = self.folder.path().display();
        out.result(
            &format!(
                "A new vault is in {dir}.\n{shown}\nNext:\n  oubliette doctor {dir}\n  oubliette serve --dir {dir}\n  oubliette unseal --dir {dir}"
            ),
            &json!({
                "dir": self.folder.path(), "public_key": engine::public_key_path(self.folder.path()),
                "token_files": [self.token_file, self.second_token_file],
                "tokens": if self.token_file.is_none() { Some(tokens) } else { None },
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
