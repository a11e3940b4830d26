//! Where passphrases and tokens come from: a prompt, a file, a descriptor or the environment, never an argument.

use std::path::{Path, PathBuf};

use clap::Args;
use keys::secret::{ExposeSecret, SecretString};

use super::failure::Failure;
use super::private;

/// Fewest characters of a new passphrase: six random words or 16 random characters are well above it.
pub(super) const SHORTEST_PASSPHRASE: usize = 12;

/// The passphrase that holds the root key, or the PIN of the token that does.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PassphraseFrom {
    /// Read the passphrase from the first line of this file (mode 0600)
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Read the passphrase from this open descriptor, such as 3 with `3< <(pass show vault)`
    #[arg(long, value_name = "N")]
    pub(super) passphrase_fd: Option<u32>,
}

impl PassphraseFrom {
    /// From the file or descriptor; `None` when neither is named.
    pub(super) fn named(&self) -> Result<Option<SecretString>, Failure> {
        match (&self.passphrase_file, self.passphrase_fd) {
            (Some(path), _) => private::read_line(path).map(|line| Some(line.into())),
            (None, Some(number)) => descriptor(number).map(|line| Some(line.into())),
            (None, None) => Ok(None),
        }
    }

    /// The existing passphrase: as named, or asked for at the terminal.
    pub(super) fn existing(&self) -> Result<SecretString, Failure> {
        match self.named()? {
            Some(passphrase) => Ok(passphrase),
            None => prompt("Passphrase: "),
        }
    }

    /// A new passphrase: as named, or asked for twice at the terminal. Short ones are refused.
    pub(super) fn fresh(&self) -> Result<SecretString, Failure> {
        let passphrase = match self.named()? {
            Some(passphrase) => passphrase,
            None => {
                let first = prompt("New passphrase: ")?;
                let again = prompt("The same again: ")?;
                if !keys::digest::same(first.expose_secret().as_bytes(), again.expose_secret().as_bytes()) {
                    return Err(Failure::new("the two passphrases differ").remedy("try again; nothing was made"));
                }
                first
            }
        };
        if passphrase.expose_secret().chars().count() < SHORTEST_PASSPHRASE {
            return Err(Failure::new(format!("the passphrase has fewer than {SHORTEST_PASSPHRASE} characters"))
                .remedy("choose six random words or more: whoever copies keys/root can try passphrases at leisure"));
        }
        Ok(passphrase)
    }
}

/// The bearer token of the caller who gives the command.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TokenFrom {
    /// Read the bearer token from the first line of this file (mode 0600)
    #[arg(long, value_name = "FILE", conflicts_with = "token_fd")]
    pub(super) token_file: Option<PathBuf>,
    /// Read the bearer token from this open descriptor
    #[arg(long, value_name = "N")]
    pub(super) token_fd: Option<u32>,
}

/// The environment variable that may hold the token.
pub(super) const TOKEN_VARIABLE: &str = "OUBLIETTE_TOKEN";

impl TokenFrom {
    /// From the file, the descriptor, or the environment variable OUBLIETTE_TOKEN.
    pub(super) fn needed(&self) -> Result<SecretString, Failure> {
        self.named()?.ok_or_else(|| {
            Failure::usage("this needs a token")
                .remedy(format!("name --token-file FILE or --token-fd N, or set the variable {TOKEN_VARIABLE}"))
        })
    }

    /// The same, where a token may be missing.
    pub(super) fn named(&self) -> Result<Option<SecretString>, Failure> {
        match (&self.token_file, self.token_fd) {
            (Some(path), _) => private::read_line(path).map(|line| Some(line.into())),
            (None, Some(number)) => descriptor(number).map(|line| Some(line.into())),
            (None, None) => Ok(std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).map(Into::into)),
        }
    }
}

/// Linux shows a process its own descriptors as files, which needs no unsafe code.
fn descriptor(number: u32) -> Result<String, Failure> {
    let path = format!("/proc/self/fd/{number}");
    let path = Path::new(&path);
    let file = std::fs::File::open(path).map_err(|e| {
        Failure::file("read the descriptor", path, &e).remedy(format!("open it when you start the command: {number}< FILE"))
    })?;
    private::first_line(file, path)
}

pub(super) fn prompt(question: &str) -> Result<SecretString, Failure> {
    let line = rpassword::prompt_password(question).map_err(|e| {
        Failure::new(format!("cannot ask for a passphrase: {e}"))
            .remedy("run this at a terminal, or name --passphrase-file FILE or --passphrase-fd N")
    })?;
    if line.is_empty() {
        return Err(Failure::new("the passphrase is empty").remedy("try again"));
    }
    Ok(line.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase_in(text: &str) -> (tempfile::TempDir, PassphraseFrom) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        private::write(&path, text.as_bytes()).unwrap();
        (dir, PassphraseFrom { passphrase_file: Some(path), passphrase_fd: None })
    }

    #[test]
    fn a_passphrase_comes_from_the_first_line_of_a_file() {
        let (_dir, from) = passphrase_in("correct horse battery staple\nsecond line\n");
        assert_eq!(from.fresh().unwrap().expose_secret(), "correct horse battery staple");
    }

    #[test]
    fn a_short_new_passphrase_is_refused_without_repeating_it() {
        let (_dir, from) = passphrase_in("hunter2\n");
        let Err(refused) = from.fresh() else { panic!("accepted") };
        assert!(!refused.to_string().contains("hunter2"));
        assert!(refused.to_string().contains("12 characters"));
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_refused() {
        let from = PassphraseFrom { passphrase_file: None, passphrase_fd: Some(987_654) };
        assert!(from.named().is_err());
    }
}
