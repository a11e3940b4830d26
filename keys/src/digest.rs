//! Hashes, MACs and comparison.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::secret::Secret32;

/// SHA-256 (FIPS 180-4) over the parts, one after the other. The caller makes the joint unambiguous.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// SHA-256 (FIPS 180-4) over what comes piece by piece: the same as [`sha256`] over all of it.
#[derive(Default)]
pub struct Running(Sha256);

impl Running {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 of everything that `write` hands on, for parts that are made as they go.
pub(crate) fn sha256_of(write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> [u8; 32] {
    let mut hash = Sha256::new();
    write(&mut |part| hash.update(part));
    hash.finalize().into()
}

/// The hash of a leaf of a Merkle tree: `SHA-256(0x00 ‖ entry)` (RFC 6962 §2.1).
pub fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    sha256(&[&[0], entry])
}

/// The hash of an inner node of a Merkle tree: `SHA-256(0x01 ‖ left ‖ right)` (RFC 6962 §2.1).
pub fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[1], left, right])
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// HMAC-SHA-256 (RFC 2104) over the parts, one after the other. The caller makes the joint unambiguous.
pub(crate) fn mac(key: &Secret32, parts: &[&[u8]]) -> [u8; 32] {
    mac_with(key.bytes(), parts)
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
pub(crate) fn mac_with(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    #[test]
    fn hmac_agrees_with_every_rfc_4231_case() {
        // RFC 4231 §4.2–4.8: key, message, HMAC-SHA-256 (case 5 truncated to 128 bits).
        let cases: [(Vec<u8>, Vec<u8>, &str); 7] = [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            ((1..=25).collect(), vec![0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (vec![0x0c; 20], b"Test With Truncation".to_vec(), "a3b6167473100ee06e0c796c2955552b"),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                vec![0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.".to_vec(),
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (number, (key, message, expected)) in cases.iter().enumerate() {
            let expected = hex(expected);
            assert_eq!(mac_with(key, &[message])[..expected.len()], expected, "case {}", number + 1);
        }
    }

    #[test]
    fn sha256_agrees_with_fips_180() {
        let abc = hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sha256(&[b"a", b"", b"bc"])[..], abc);
    }

    #[test]
    fn a_leaf_is_never_a_node() {
        // The empty leaf: RFC 6962's published test data.
        assert_eq!(leaf_hash(b"")[..], hex("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"));
        let (left, right) = ([1; 32], [2; 32]);
        assert_ne!(node_hash(&left, &right), leaf_hash(&[left, right].concat()));
        assert_ne!(node_hash(&left, &right), node_hash(&right, &left));
    }

    #[test]
    fn equality_needs_equal_lengths() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"ab"));
    }
}
