//! Entries of the trail: one entry has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::audit::codec::{decode, encode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = decode(bytes) {
        let mut again = Vec::new();
        encode(&entry, &mut again).expect("what was read can be written");
        assert_eq!(again, bytes);
    }
});
