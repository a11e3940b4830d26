//! Secrets in memory: built in place, wiped on drop, and without any way to print, copy or serialise them.

pub use secrecy::{ExposeSecret, SecretString};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::error::KeysError;
pub use crate::password::{password_matches, password_verifier};
use crate::random;

/// A key of 32 bytes on the heap, so that moving it copies a pointer and leaves no second copy behind.
///
/// Only this crate makes one and reads the bytes.
///
/// ```
/// fn held(key: &keys::secret::Secret32) -> &keys::secret::Secret32 {
///     key
/// }
/// ```
/// ```compile_fail
/// fn read(key: &keys::secret::Secret32) -> &[u8; 32] {
///     key.bytes()
/// }
/// ```
/// ```compile_fail
/// fn chosen() -> keys::secret::Secret32 {
///     keys::secret::Secret32::from_slice(&[0; 32]).unwrap()
/// }
/// ```
#[derive(ZeroizeOnDrop)]
pub struct Secret32(Box<[u8; 32]>);

impl Secret32 {
    /// A key written in its final place by `write`, which is handed 32 zero bytes.
    pub(crate) fn build<E>(write: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut key = Self(Box::new([0; 32]));
        write(&mut key.0)?;
        Ok(key)
    }

    /// A fresh random key.
    pub(crate) fn random() -> Result<Self, KeysError> {
        Self::build(|place| random::fill(place))
    }

    /// The key that these 32 bytes are; `Damaged` when there are more or fewer.
    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, KeysError> {
        Self::build(|place| {
            if bytes.len() != place.len() {
                return Err(KeysError::Damaged);
            }
            place.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// A second copy, for a structure that outlives this one. Not `Clone`: every copy is written out as such.
    pub(crate) fn duplicate(&self) -> Self {
        let mut key = Self(Box::new([0; 32]));
        key.0.copy_from_slice(&*self.0);
        key
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What was decrypted; wiped on drop.
///
/// The buffer never grew, so no half-filled copy was left behind by a reallocation.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// How deep the cipher, the hashes and the key derivation go below their caller, with room to spare.
const DEPTH: usize = 12_288;

/// Carries out `work` in a frame of its own and overwrites what it left on the stack below.
///
/// Ciphers and hashes lay blocks of what they work on into registers and locals, and no `Zeroize` reaches those. They outlive the call: the
/// next structure that is built there and moved to the heap takes them along in its unused bytes, where they lie until it is freed.
pub(crate) fn traceless<T>(work: impl FnOnce() -> T) -> T {
    let outcome = apart(work);
    overwrite();
    outcome
}

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn overwrite() {
    std::hint::black_box(&mut [0_u64; DEPTH / 8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_exactly_32_bytes() {
        assert!(Secret32::from_slice(&[1; 32]).is_ok());
        assert!(matches!(Secret32::from_slice(&[1; 31]), Err(KeysError::Damaged)));
        assert!(matches!(Secret32::from_slice(&[1; 33]), Err(KeysError::Damaged)));
    }

    #[test]
    fn two_random_keys_differ() {
        assert_ne!(Secret32::random().unwrap().bytes(), Secret32::random().unwrap().bytes());
    }

    #[test]
    fn keys_and_plaintext_are_wiped_on_drop() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Secret32>();
        wiped::<Zeroizing<Vec<u8>>>();
        wiped::<aes_gcm::Aes256Gcm>();
        wiped::<ed25519_dalek::SigningKey>();
    }
}
