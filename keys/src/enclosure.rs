//! Something outside that encloses what a place of the keyring holds: a token, or a service that keeps keys.
//!
//! A plain place keeps the epoch key under the root key alone, so an old copy of its file is worth as much as the epoch was. An enclosed
//! place adds a **secret of the epoch**, 32 random bytes that are in memory and, under a key that the enclosure holds, in the slot:
//!
//! ```text
//! begin    secret of e+1 drawn; the enclosure makes what encloses it and gives the bytes for the slot      once an epoch
//!          the epoch key's W1 in the slot hangs from HMAC-SHA256(root key, "pv1/enclosure" ‖ secret)
//! finish   the enclosure destroys what encloses the secrets of every epoch but e+1
//! ```
//!
//! After `finish` every copy of the slot that was ever made opens nothing, whoever has the root key. Nothing is asked of an enclosure but at
//! these two moments and when the vault opens, so checkpoints and changes of the root key neither wait for it nor need it.

use crate::assurance::Assurance;
use crate::context::Id;
use crate::error::KeysError;
use crate::secret::{Plaintext, Secret32};

mod kms;
mod token;
mod transit;

pub use kms::KmsEnclosure;
pub use token::TokenEnclosure;
pub use transit::TransitEnclosure;

/// Most bytes that [`Enclosure::enclose`] may give: they have to fit a slot.
pub const MOST_ENCLOSED: usize = 3_000;

/// The secret of one epoch, which opens nothing without the root key.
pub struct EpochSecret(pub(crate) Secret32);

impl EpochSecret {
    /// The bytes, for an enclosure that is not of this crate.
    pub fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }
}

/// What an enclosure is told about a secret; it binds the secret to all of it, where it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// The vault.
    pub vault: Id,
    /// The name of the place of the keyring, of `a` to `z`, digits and `-`, 24 at the most. Two places may share one enclosure.
    pub place: &'a str,
    /// The epoch.
    pub epoch: u64,
}

/// The end of what enclosed the epochs that are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// Seconds since 1970 at which the last of it is really gone, where that is not now: a service that only takes a date.
    pub gone_by: Option<u64>,
}

/// Something outside of the vault that can enclose a secret for one epoch and then destroy what it enclosed it with. Used by one thread at a
/// time. Every call is allowed to be slow, and an erasure waits for the first and the last one.
///
/// The bytes that [`enclose`](Self::enclose) gives must lead back to exactly what enclosed them (an object's id, a key's version), since two
/// tries at the same epoch may both have left something.
pub trait Enclosure: Send + Sync {
    /// What it is, in a word for answers and certificates: `pkcs11`, `aws-kms`, `transit`.
    fn kind(&self) -> &'static str;

    /// What destruction here is worth.
    fn assurance(&self) -> Assurance;

    /// Makes what encloses the secret of this epoch, and encloses it: at most [`MOST_ENCLOSED`] bytes.
    ///
    /// # Errors
    /// Why it cannot, [`KeysError::Token`] and the like. What was made on the way may stay; [`destroy_but`](Self::destroy_but) takes it.
    fn enclose(&self, about: &About<'_>, secret: &EpochSecret) -> Result<Vec<u8>, KeysError>;

    /// The secret again. Changes nothing, and may be called while another process holds the vault.
    ///
    /// # Errors
    /// Why it cannot, so that an operator knows what to do: away, refused, destroyed.
    fn disclose(&self, about: &About<'_>, enclosed: &[u8]) -> Result<Plaintext, KeysError>;

    /// Destroys whatever it holds for this vault and place, but for what encloses `living`, the bytes of the epoch in `about`. Done again
    /// after a crash, and when there is nothing to destroy.
    ///
    /// # Errors
    /// Why it cannot. The caller must take it that nothing was destroyed.
    fn destroy_but(&self, about: &About<'_>, living: &[u8]) -> Result<Destroyed, KeysError>;

    /// Destroys all that it holds for this vault and place, once the place is given up in good order.
    ///
    /// # Errors
    /// As [`destroy_but`](Self::destroy_but).
    fn destroy_all(&self, about: &About<'_>) -> Result<Destroyed, KeysError>;
}

/// A secret that an enclosure outside of this crate disclosed; the bytes are wiped when it is dropped.
pub fn disclosed(bytes: Vec<u8>) -> Plaintext {
    Plaintext::new(zeroize::Zeroizing::new(bytes))
}
