//! The keyring's slots and the root key's file. Their checksums are made right, so that what lies behind them is reached.
#![no_main]

use keys::digest::sha256;
use keys::{keyring, root};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = keyring::parse_slot(input);
    let _ = root::parse(input);

    let mut slot = input.to_vec();
    slot.resize(keyring::SLOT - 32, 0);
    let sum = sha256(&[&slot]);
    let whole = slot.starts_with(b"PVEPOCH1") || slot.starts_with(b"PVEPOCH2");
    slot.extend_from_slice(&sum);
    assert!(whole || keyring::parse_slot(&slot).is_none());

    let sum = sha256(&[input]);
    let _ = root::parse(&[input, &sum].concat());
});
