//! AWS KMS with one key for each epoch, whose deletion is scheduled when the epoch is over.
//!
//! ```text
//!   0  2  version = 1    2  2  n    4  n  ARN of the key    …  2  m    … m  the secret, encrypted by KMS
//!         encryption context = "oubliette:use" epoch-key, vault, place, epoch
//! ```
//!
//! KMS deletes no key at once. From the moment its deletion is scheduled a key opens nothing; for seven days, the shortest time there is, whoever
//! may do `kms:CancelKeyDeletion` can take that back. So what is destroyed here is gone **by a date**, and [`Destroyed::gone_by`] says which.
//!
//! Each key has an alias, `alias/oubliette/VAULT/PLACE/EPOCH-…`, until its deletion is scheduled; so what a stopped process left behind is found.
//! A key that has no alias yet has enclosed nothing.

use super::{About, Destroyed, Enclosure, EpochSecret};
use crate::assurance::Assurance;
use crate::error::KeysError;
use crate::root::{Kms, KmsSettings};
use crate::secret::Plaintext;

/// AWS KMS, in the region of its settings.
pub struct KmsEnclosure(#[cfg_attr(not(feature = "aws-kms"), expect(dead_code, reason = "only the feature speaks to KMS"))] Kms);

impl KmsEnclosure {
    /// KMS, not yet spoken to. The key of the settings is not used, but for its region.
    pub fn new(settings: KmsSettings) -> Self {
        Self(Kms::new(settings))
    }
}

impl Enclosure for KmsEnclosure {
    fn kind(&self) -> &'static str {
        "aws-kms"
    }

    fn assurance(&self) -> Assurance {
        Assurance::Kms
    }

    fn enclose(&self, about: &About<'_>, secret: &EpochSecret) -> Result<Vec<u8>, KeysError> {
        #[cfg(feature = "aws-kms")]
        return speech::enclose(&self.0, about, secret);
        #[cfg(not(feature = "aws-kms"))]
        return Err(without((about, secret)));
    }

    fn disclose(&self, about: &About<'_>, enclosed: &[u8]) -> Result<Plaintext, KeysError> {
        #[cfg(feature = "aws-kms")]
        return speech::disclose(&self.0, about, enclosed);
        #[cfg(not(feature = "aws-kms"))]
        return Err(without((about, enclosed)));
    }

    fn destroy_but(&self, about: &About<'_>, living: &[u8]) -> Result<Destroyed, KeysError> {
        #[cfg(feature = "aws-kms")]
        return speech::destroy(&self.0, about, Some(living));
        #[cfg(not(feature = "aws-kms"))]
        return Err(without((about, living)));
    }

    fn destroy_all(&self, about: &About<'_>) -> Result<Destroyed, KeysError> {
        #[cfg(feature = "aws-kms")]
        return speech::destroy(&self.0, about, None);
        #[cfg(not(feature = "aws-kms"))]
        return Err(without(about));
    }
}

#[cfg(not(feature = "aws-kms"))]
fn without<T>(_nothing_to_do_with: T) -> KeysError {
    use crate::{error::Obstacle, root::Provider};
    KeysError::Holder(Provider::Kms, Obstacle::Unusable, "this program was built without the feature aws-kms")
}

#[cfg(feature = "aws-kms")]
mod speech {
    use std::thread;
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::super::{About, Destroyed, EpochSecret};
    use crate::error::{KeysError, Obstacle};
    use crate::random;
    use crate::root::{Kms, hex, part, put_part};
    use crate::secret::Plaintext;

    const VERSION: u16 = 1;
    const LONGEST: (usize, usize) = (2048, 900);
    /// A key that was just made may not be known everywhere in KMS.
    const KNOWN_WITHIN: [Duration; 4] =
        [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1500)];
    /// Seven days, and the day that KMS may take longer.
    const AT_THE_LATEST: u64 = 8 * 86_400;

    fn context(about: &About<'_>) -> [(&'static str, String); 4] {
        [
            ("oubliette:epoch", about.epoch.to_string()),
            ("oubliette:place", about.place.to_owned()),
            ("oubliette:use", "epoch-key".to_owned()),
            ("oubliette:vault", hex(&about.vault)),
        ]
    }

    /// What the aliases of this vault and place begin with.
    fn aliases(about: &About<'_>) -> String {
        format!("alias/oubliette/{}/{}/", hex(&about.vault), about.place)
    }

    pub(super) fn enclose(kms: &Kms, about: &About<'_>, secret: &EpochSecret) -> Result<Vec<u8>, KeysError> {
        let tags = context(about);
        let arn = kms.make_key("One epoch of an Oubliette vault. The vault deletes it when the epoch is over.", &tags)?;
        let alias = format!("{}{}-{}", aliases(about), about.epoch, hex(&random::bytes::<6>()?));
        kms.alias(&alias, &arn)?;
        let mut done = Err(KeysError::Misuse("no try at all"));
        for wait in KNOWN_WITHIN {
            thread::sleep(wait);
            done = kms.encrypt(&arn, &context(about), secret.0.bytes());
            if !matches!(done, Err(KeysError::Holder(_, Obstacle::Gone, _))) {
                break;
            }
        }
        let (arn, encrypted) = done?;
        let mut bytes = VERSION.to_be_bytes().to_vec();
        put_part(&mut bytes, arn.as_bytes(), LONGEST.0)?;
        put_part(&mut bytes, &encrypted, LONGEST.1)?;
        Ok(bytes)
    }

    pub(super) fn disclose(kms: &Kms, about: &About<'_>, enclosed: &[u8]) -> Result<Plaintext, KeysError> {
        let (arn, encrypted) = read(enclosed)?;
        let secret = kms.decrypt(arn, &context(about), encrypted)?;
        Ok(Plaintext::new(Zeroizing::new(secret.bytes().to_vec())))
    }

    pub(super) fn destroy(kms: &Kms, about: &About<'_>, living: Option<&[u8]>) -> Result<Destroyed, KeysError> {
        let living = living.map(read).transpose()?.map(|(arn, _)| arn.rsplit('/').next().unwrap_or_default());
        // What an earlier try scheduled has no alias any more, and is gone by then.
        let mut gone_by = kms.now() + AT_THE_LATEST;
        let mut found = 0;
        for (alias, key) in kms.aliases(&aliases(about))? {
            if Some(key.as_str()) == living {
                continue;
            }
            let day = kms.schedule_deletion(&key)?;
            gone_by = if found == 0 { day.unwrap_or(gone_by) } else { gone_by.max(day.unwrap_or_default()) };
            found += 1;
            kms.unalias(&alias)?;
        }
        Ok(Destroyed { gone_by: Some(gone_by) })
    }

    fn read(enclosed: &[u8]) -> Result<(&str, &[u8]), KeysError> {
        let rest = enclosed.strip_prefix(&VERSION.to_be_bytes()).ok_or(KeysError::Damaged)?;
        let (arn, rest) = part(rest, LONGEST.0)?;
        let (encrypted, rest) = part(rest, LONGEST.1)?;
        let arn = std::str::from_utf8(arn).map_err(|_| KeysError::Damaged)?;
        if rest.is_empty() { Ok((arn, encrypted)) } else { Err(KeysError::Damaged) }
    }
}
