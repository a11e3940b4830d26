//! Who holds the root key, on a command line: shares to give and to hand out.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use keys::root::{Custody, MOST_SHARES, Pkcs11, Provider, Shares};
use keys::secret::{ExposeSecret, SecretString};

use super::engine;
use super::failure::Failure;
use super::private;
use super::secrets::PassphraseFrom;
use crate::vault::CustodySettings;

/// Who is to hold the root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Holder {
    /// Whoever knows a passphrase
    Passphrase,
    /// Several people, of whom some number together
    Shares,
    /// The PKCS#11 token of config.toml
    Pkcs11,
    /// The key of AWS KMS of config.toml
    AwsKms,
    /// The key of Vault's or OpenBao's transit engine of config.toml
    Transit,
}

/// How many shares open the vault, of how many: `3-of-5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    needed: u8,
    all: u8,
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once("-of-").and_then(|(needed, all)| Some((needed.parse().ok()?, all.parse().ok()?)));
        match parts {
            Some((needed, all)) if (2..=all).contains(&needed) && all <= MOST_SHARES => Ok(Self { needed, all }),
            _ => Err(format!("write it as 3-of-5, from 2-of-2 to {MOST_SHARES}-of-{MOST_SHARES}")),
        }
    }
}

/// The shares that are to be handed out.
#[derive(Debug, Args)]
pub(super) struct Dealt {
    /// How many shares open the vault, of how many, such as 3-of-5
    #[arg(long, value_name = "M-of-N")]
    pub(super) shares: Option<Count>,
    /// Write each share to a file of its own (mode 0600) in this folder
    #[arg(long, value_name = "DIR", requires = "shares")]
    pub(super) shares_to: Option<PathBuf>,
}

impl Dealt {
    /// Fresh shares of a vault.
    pub(super) fn deal(&self, vault: keys::Id) -> Result<(Shares, Vec<SecretString>), Failure> {
        let Count { needed, all } = self.shares.ok_or_else(|| Failure::usage("how many shares? Name --shares 3-of-5"))?;
        Ok(Shares::deal(vault, needed, all)?)
    }

    /// Writes shares to the folder that was named, durably, and gives back their files; none when they are to be printed.
    pub(super) fn write(&self, shares: &[SecretString]) -> Result<Option<Vec<PathBuf>>, Failure> {
        let Some(folder) = &self.shares_to else { return Ok(None) };
        private::folder(folder)?;
        let files: Vec<PathBuf> = (1..=shares.len()).map(|number| folder.join(format!("share-{number}"))).collect();
        if let Some(there) = files.iter().find(|file| file.exists()) {
            return Err(Failure::usage(format!("{} is there already", there.display())).remedy("name another folder"));
        }
        for (file, share) in files.iter().zip(shares) {
            private::write(file, format!("{}\n", share.expose_secret()).as_bytes())?;
        }
        std::fs::File::open(folder).and_then(|open| open.sync_all()).map_err(|e| Failure::file("sync", folder, &e))?;
        Ok(Some(files))
    }
}

/// What opens the vault now, for a command on its folder: a passphrase or a token's PIN, or enough shares.
#[derive(Debug, Default, Args)]
pub(super) struct OpenedBy {
    #[command(flatten)]
    pub(super) passphrase: PassphraseFrom,
    /// Read one person's share from the first line of this file; name it once for each
    #[arg(long, value_name = "FILE", conflicts_with_all = ["passphrase_file", "passphrase_fd"])]
    pub(super) share_file: Vec<PathBuf>,
}

impl OpenedBy {
    /// The shares in the named files.
    pub(super) fn shares(&self) -> Result<Vec<SecretString>, Failure> {
        self.share_file.iter().map(|path| private::read_line(path).map(SecretString::from)).collect()
    }

    /// Whoever holds the root key of `dir` now.
    pub(super) fn holder(&self, dir: &Path) -> Result<Arc<dyn Custody>, Failure> {
        self.holder_of(&dir.join("keys/root"), dir)
    }

    /// Whoever holds the root key in the file `root`; `dir` has the configuration that says how a token is reached.
    pub(super) fn holder_of(&self, root: &Path, dir: &Path) -> Result<Arc<dyn Custody>, Failure> {
        let file = engine::root_file(root)?;
        match file.provider() {
            Provider::Shares => {
                let texts = self.shares()?;
                let given = texts.iter().map(|text| file.share(text)).collect::<Result<Vec<_>, _>>()?;
                Ok(Arc::new(Shares::combine(&file, &given)?))
            }
            Provider::Passphrase => Ok(Arc::new(self.passphrase.existing()?)),
            Provider::Pkcs11 => token(&engine::custody_settings(dir)?, &self.passphrase),
            remote @ (Provider::Kms | Provider::Transit) => Ok(engine::custody_settings(dir)?.remote(remote)?),
        }
    }
}

/// The configured token, with the PIN of a named file or descriptor, or else of the configured file.
pub(super) fn token(settings: &CustodySettings, pin: &PassphraseFrom) -> Result<Arc<dyn Custody>, Failure> {
    let Some(token) = settings.pkcs11.clone() else {
        return Err(Failure::usage("config.toml names no token").remedy("set module, token and pin_file under [custody]"));
    };
    let pin = match (pin.named()?, &settings.pin) {
        (Some(pin), _) => pin,
        (None, Some(file)) => private::read_line(file)?.into(),
        (None, None) => pin.existing()?,
    };
    Ok(Arc::new(Pkcs11::new(token, pin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_shares_is_two_or_more_of_sixteen_or_fewer() {
        assert_eq!("3-of-5".parse(), Ok(Count { needed: 3, all: 5 }));
        for text in ["", "3", "3of5", "1-of-5", "6-of-5", "2-of-17", "3-of-5-of-6", "-3-of-5"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_written_for_their_owner_alone_and_over_nothing() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let dealt = Dealt { shares: Some("2-of-3".parse().unwrap()), shares_to: Some(dir.path().join("shares")) };
        let (_, texts) = dealt.deal([7; 16]).unwrap();
        let files = dealt.write(&texts).unwrap().unwrap();
        assert_eq!(files.len(), 3);
        for (file, text) in files.iter().zip(&texts) {
            assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o777, 0o600);
            assert_eq!(private::read_line(file).unwrap(), text.expose_secret());
        }
        assert!(dealt.write(&texts).is_err());
    }
}
