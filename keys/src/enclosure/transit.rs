//! The transit engine of Vault or OpenBao with one key for each place, and a version of it for each epoch; versions that are over are trimmed.
//!
//! ```text
//!   0  2  version = 1    2  4  version of the key    6  2  n    8 n  mount and name of the key    …  2  m    … m  the ciphertext
//!         associated data = "oubliette/epoch-key/VAULT/PLACE/EPOCH"
//! ```
//!
//! A version that was trimmed opens nothing, through that server. Whether it is gone is another question: the server's storage and every snapshot
//! of it may still hold the version, under the server's own barrier key. So the word here is `best-effort`: an old copy of the slot helps nobody
//! who has not also an old copy of that storage and what unseals it.
//!
//! A version that a stopped process left above the living one encloses a secret that no row hangs from; it goes with the next trim.

use super::{About, Destroyed, Enclosure, EpochSecret};
use crate::assurance::Assurance;
use crate::error::KeysError;
use crate::root::{Transit, TransitSettings};
use crate::secret::Plaintext;

/// A key of the engine that is this place's alone.
pub struct TransitEnclosure(
    #[cfg_attr(not(feature = "transit"), expect(dead_code, reason = "only the feature speaks to it"))] Transit,
);

impl TransitEnclosure {
    /// The key of the settings, not yet asked for. It must not be the one that holds the root key, nor another place's: its versions die.
    pub fn new(settings: TransitSettings) -> Self {
        Self(Transit::new(settings))
    }
}

impl Enclosure for TransitEnclosure {
    fn kind(&self) -> &'static str {
        "transit"
    }

    fn assurance(&self) -> Assurance {
        Assurance::BestEffort
    }

    fn enclose(&self, about: &About<'_>, secret: &EpochSecret) -> Result<Vec<u8>, KeysError> {
        #[cfg(feature = "transit")]
        return speech::enclose(&self.0, about, secret);
        #[cfg(not(feature = "transit"))]
        return Err(without((about, secret)));
    }

    fn disclose(&self, about: &About<'_>, enclosed: &[u8]) -> Result<Plaintext, KeysError> {
        #[cfg(feature = "transit")]
        return speech::disclose(&self.0, about, enclosed);
        #[cfg(not(feature = "transit"))]
        return Err(without((about, enclosed)));
    }

    fn destroy_but(&self, about: &About<'_>, living: &[u8]) -> Result<Destroyed, KeysError> {
        let _one_key_a_place = about;
        #[cfg(feature = "transit")]
        return speech::destroy(&self.0, living);
        #[cfg(not(feature = "transit"))]
        return Err(without(living));
    }

    fn destroy_all(&self, about: &About<'_>) -> Result<Destroyed, KeysError> {
        #[cfg(feature = "transit")]
        return self.0.trim_all().map(|()| Destroyed::default()).inspect(|_| {
            let _one_key_a_place = about;
        });
        #[cfg(not(feature = "transit"))]
        return Err(without(about));
    }
}

#[cfg(not(feature = "transit"))]
fn without<T>(_nothing_to_do_with: T) -> KeysError {
    use crate::{error::Obstacle, root::Provider};
    KeysError::Holder(Provider::Transit, Obstacle::Unusable, "this program was built without the feature transit")
}

#[cfg(feature = "transit")]
mod speech {
    use zeroize::Zeroizing;

    use super::super::{About, Destroyed, EpochSecret};
    use crate::error::KeysError;
    use crate::root::{Transit, TransitKept, hex};
    use crate::secret::Plaintext;

    const VERSION: u16 = 1;

    fn associated(about: &About<'_>) -> String {
        format!("oubliette/epoch-key/{}/{}/{}", hex(&about.vault), about.place, about.epoch)
    }

    pub(super) fn enclose(transit: &Transit, about: &About<'_>, secret: &EpochSecret) -> Result<Vec<u8>, KeysError> {
        let path = transit.path()?;
        transit.rotate(&path)?;
        let kept = transit.encrypt(path, &associated(about), secret.0.bytes())?;
        let mut bytes = VERSION.to_be_bytes().to_vec();
        kept.write(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn disclose(transit: &Transit, about: &About<'_>, enclosed: &[u8]) -> Result<Plaintext, KeysError> {
        let secret = transit.decrypt(&read(enclosed)?, &associated(about))?;
        Ok(Plaintext::new(Zeroizing::new(secret.bytes().to_vec())))
    }

    pub(super) fn destroy(transit: &Transit, living: &[u8]) -> Result<Destroyed, KeysError> {
        let living = read(living)?;
        transit.trim_below(living.key(), living.version())?;
        Ok(Destroyed::default())
    }

    fn read(enclosed: &[u8]) -> Result<TransitKept, KeysError> {
        TransitKept::read(enclosed.strip_prefix(&VERSION.to_be_bytes()).ok_or(KeysError::Damaged)?)
    }
}
