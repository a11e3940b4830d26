use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use proptest::prelude::*;

use super::*;
use crate::aead::seen;
use crate::random;

const ID: KeyId = KeyId { kind: kind::BUCKET, map: 1, level: 2, index: 3, epoch: 4 };
const VAULT: Id = [7; 16];

fn key(byte: u8) -> Secret32 {
    Secret32::from_slice(&[byte; 32]).unwrap()
}

fn opens(parent: &Secret32, id: &KeyId, vault: &Id, ext: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    match unwrap_with(parent, id, vault, ext, bytes) {
        Ok(plain) => Some(plain.bytes().to_vec()),
        Err(KeysError::Damaged) => None,
        Err(other) => panic!("a second kind of error: {other}"),
    }
}

#[test]
fn what_was_wrapped_opens_and_is_92_bytes_longer() {
    for length in [0, 1, 15, 16, 17, 32, 5120] {
        for ext_length in [0, 1, 219, 220, 221, 5000] {
            let (plain, ext) = (vec![9; length], vec![8; ext_length]);
            let wrapped = wrap(&key(1), &ID, &VAULT, &ext, &plain).unwrap();
            assert_eq!(wrapped.len(), length + 92);
            assert_eq!(opens(&key(1), &ID, &VAULT, &ext, &wrapped), Some(plain));
            assert_eq!(KeyId::read(&wrapped).unwrap(), ID);
        }
    }
}

#[test]
fn every_field_of_the_header_has_its_place() {
    let wrapped = wrap(&key(1), &ID, &VAULT, b"", b"").unwrap();
    assert_eq!(wrapped[..20], *b"PVW1\x01\x03\x01\x02\0\0\0\x03\0\0\0\0\0\0\0\x04");
}

#[test]
fn a_wrap_with_any_bit_flipped_does_not_open() {
    let wrapped = wrap(&key(1), &ID, &VAULT, b"ext", b"0123456789abcdefXYZ").unwrap();
    for bit in 0..wrapped.len() * 8 {
        let mut flipped = wrapped.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opens(&key(1), &ID, &VAULT, b"ext", &flipped), None, "bit {bit}");
        // A reader who believes the flipped header does not open it either.
        if let Ok(claimed) = KeyId::read(&flipped) {
            assert_eq!(opens(&key(1), &claimed, &VAULT, b"ext", &flipped), None, "bit {bit}");
        }
    }
}

#[test]
fn a_wrap_cut_short_or_grown_does_not_open() {
    let wrapped = wrap(&key(1), &ID, &VAULT, b"", b"0123456789").unwrap();
    for length in 0..wrapped.len() {
        assert_eq!(opens(&key(1), &ID, &VAULT, b"", &wrapped[..length]), None, "{length} bytes");
    }
    assert_eq!(opens(&key(1), &ID, &VAULT, b"", &[&wrapped[..], &[0]].concat()), None);
}

#[test]
fn a_wrap_opens_only_as_what_it_was_made() {
    let ids = [
        ID,
        KeyId { kind: kind::INTERIOR, ..ID },
        KeyId { map: 2, ..ID },
        KeyId { level: 3, ..ID },
        KeyId { index: 4, ..ID },
        KeyId { epoch: 5, ..ID },
    ];
    let ways: Vec<(u8, KeyId, Id, &[u8])> = ids
        .iter()
        .map(|id| (1, *id, VAULT, &b"ext"[..]))
        .chain([(2, ID, VAULT, &b"ext"[..]), (1, ID, [8; 16], b"ext"), (1, ID, VAULT, b"exs"), (1, ID, VAULT, b"")])
        .collect();
    for (made, (parent, id, vault, ext)) in ways.iter().enumerate() {
        let wrapped = wrap(&key(*parent), id, vault, ext, b"plain").unwrap();
        for (read, (parent, id, vault, ext)) in ways.iter().enumerate() {
            // The row's header is replaced by the one expected, as a forger would.
            let moved = [&id.header()[..], &wrapped[20..]].concat();
            let opened = opens(&key(*parent), id, vault, ext, &moved);
            assert_eq!(opened.is_some(), made == read, "made as {made}, read as {read}");
            let unchanged = opens(&key(*parent), id, vault, ext, &wrapped);
            assert_eq!(unchanged.is_some(), made == read, "made as {made}, read unchanged as {read}");
        }
    }
}

#[test]
fn no_two_wraps_share_a_key_even_when_the_generator_is_stuck() {
    let used = seen::encryptions(|| {
        random::stuck::at(0, || {
            for n in 0..2_000u32 {
                wrap(&key(1), &ID, &VAULT, b"", &n.to_be_bytes()).unwrap();
            }
            // One plaintext for different parents, places, vaults and contexts.
            for n in 0..200u8 {
                wrap(&key(2 + n), &ID, &VAULT, b"", b"same").unwrap();
                wrap(&key(1), &KeyId { index: 100 + u32::from(n), ..ID }, &VAULT, b"", b"same").unwrap();
                wrap(&key(1), &KeyId { epoch: 100 + u64::from(n), ..ID }, &VAULT, b"", b"same").unwrap();
                wrap(&key(1), &ID, &[n; 16], b"", b"same").unwrap();
                wrap(&key(1), &ID, &VAULT, &[n], b"same").unwrap();
            }
        });
    });
    assert_eq!(used.len(), 3_000);
    assert!(seen::all_differ(&used));
}

#[test]
fn only_the_very_same_message_shows_as_equal_when_the_generator_is_stuck() {
    let wrapped = || wrap(&key(1), &ID, &VAULT, b"", b"same").unwrap();
    assert_eq!(random::stuck::at(0, wrapped), random::stuck::at(0, wrapped));
    assert_ne!(wrapped(), wrapped());
}

#[test]
fn a_ciphertext_that_opens_under_two_keys_is_stopped_by_the_commitment() {
    let (header, salt, ext) = (ID.header(), [5; SALT], b"");
    let keys = [key(1), key(2)].map(|parent| derive(&parent, &header, &VAULT, &salt, ext));
    let aad = [&header[..], &VAULT].concat();
    let (text, tag) = salamander([&keys[0].key(), &keys[1].key()], &aad);

    // The attack is real: bare GCM opens it under either key.
    for one_use in &keys {
        one_use.cipher().decrypt(&NONCE, &aad, &mut text.clone(), &tag).unwrap();
    }
    let committed = |to: usize| [&header[..], &salt, keys[to].commitment(), &text, &tag].concat();
    for (to, parent) in [(0, key(1)), (1, key(2))] {
        assert!(opens(&parent, &ID, &VAULT, ext, &committed(to)).is_some());
        let (opened, decryptions) = seen::decryptions(|| opens(&parent, &ID, &VAULT, ext, &committed(1 - to)));
        assert_eq!(opened, None);
        assert_eq!(decryptions, 0, "the cipher ran before the commitment was checked");
    }
}

proptest! {
    #[test]
    fn any_message_round_trips(plain in prop::collection::vec(any::<u8>(), 0..300), ext in prop::collection::vec(any::<u8>(), 0..300),
                               map: u8, level: u8, index: u32, epoch: u64, vault: Id) {
        let id = KeyId { kind: kind::INTERIOR, map, level, index, epoch };
        let wrapped = wrap(&key(1), &id, &vault, &ext, &plain).unwrap();
        prop_assert_eq!(opens(&key(1), &id, &vault, &ext, &wrapped), Some(plain));
    }

    #[test]
    fn hostile_bytes_never_open_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), framed: bool) {
        let bytes = if framed { [&ID.header()[..], &bytes].concat() } else { bytes };
        prop_assert_eq!(opens(&key(1), &ID, &VAULT, b"", &bytes), None);
    }
}

/// A ciphertext of two blocks and a tag that AES-256-GCM accepts under both keys with nonce zero
/// (Dodis, Grubbs, Ristenpart, Woodage: "Fast message franking: from invisible salamanders to encryptment", CRYPTO 2018).
///
/// The tag is a polynomial in H = AES(K, 0) plus AES(K, J0); a free block X at exponent e is solved for so that both keys' tags
/// agree.
fn salamander(keys: [&[u8; 32]; 2], aad: &[u8]) -> (Vec<u8>, [u8; 16]) {
    let block = |key: &[u8; 32], input: u128| {
        let mut block = input.to_be_bytes().into();
        Aes256::new(key.into()).encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    };
    let blocks = |x: u128| {
        let mut all: Vec<u128> = aad
            .chunks(16)
            .map(|chunk| {
                let mut padded = [0; 16];
                padded[..chunk.len()].copy_from_slice(chunk);
                u128::from_be_bytes(padded)
            })
            .collect();
        all.extend([0x5a1a, x, (aad.len() as u128 * 8) << 64 | 256]);
        all
    };
    let tag = |key: &[u8; 32], x: u128| {
        let hash_key = block(key, 0);
        blocks(x).into_iter().fold(0, |sum, b| multiply(sum ^ b, hash_key)) ^ block(key, 1)
    };
    // X is last but one, so its exponent is 2.
    let squares = keys.map(|key| multiply(block(key, 0), block(key, 0)));
    let x = multiply(tag(keys[0], 0) ^ tag(keys[1], 0), invert(squares[0] ^ squares[1]));
    assert_eq!(tag(keys[0], x), tag(keys[1], x));
    ([0x5a1a_u128.to_be_bytes(), x.to_be_bytes()].concat(), tag(keys[0], x).to_be_bytes())
}

/// Multiplication in GF(2^128) as SP 800-38D §6.3 has it.
fn multiply(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            z ^= v;
        }
        v = v >> 1 ^ if v & 1 == 1 { 0xe1 << 120 } else { 0 };
    }
    z
}

/// `x^(2^128 − 2)`, the inverse.
fn invert(x: u128) -> u128 {
    let (mut power, mut result) = (x, 1 << 127);
    for _ in 1..128 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}
