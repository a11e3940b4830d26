//! Signatures of the trail: Ed25519 (RFC 8032).

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::secret::Secret32;

/// Whether the signature over the message is the key's: RFC 8032 §5.1.7, strict.
///
/// Strict means that keys of small order and encodings that are not canonical are refused, so that one signature has one
/// reading for every verifier (Chalkias and others, "Taming the many EdDSAs", 2020).
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public).is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// A signing key, expanded once from its seed; wiped on drop.
pub(crate) struct Signer(SigningKey);

impl Signer {
    /// The key of a seed of 32 random bytes (RFC 8032 §5.1.5).
    pub(crate) fn from_seed(seed: &Secret32) -> Self {
        Self(SigningKey::from_bytes(seed.bytes()))
    }

    /// Signs a message (RFC 8032 §5.1.6). Deterministic: needs no randomness.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The public key.
    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{hex, hex_array};

    #[test]
    fn ed25519_agrees_with_rfc_8032_section_7_1() {
        // TEST 1, 2, 3 and SHA(abc): seed, public key, message, signature.
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
            (
                "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
                "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
                "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
            ),
        ] {
            let signer = Signer::from_seed(&Secret32::from_slice(&hex(seed)).unwrap());
            let (message, signature) = (hex(message), hex_array(signature));
            assert_eq!(signer.public_key()[..], hex(public));
            assert_eq!(signer.sign(&message), signature);
            assert!(verify(&hex_array(public), &message, &signature));
        }
    }

    #[test]
    fn a_changed_message_signature_or_key_does_not_verify() {
        let signer = Signer::from_seed(&Secret32::random().unwrap());
        let (public, signature) = (signer.public_key(), signer.sign(b"entry"));
        assert!(!verify(&public, b"entrx", &signature));
        for bit in 0..512 {
            let mut forged = signature;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&public, b"entry", &forged), "bit {bit}");
        }
        let other = Signer::from_seed(&Secret32::random().unwrap()).public_key();
        assert!(!verify(&other, b"entry", &signature));
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        // The neutral element as key and as R, with S = 0, satisfies the plain equation for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!verify(&neutral, b"anything", &signature));
    }
}
