//! Ciphertexts as the store gives them back: envelopes and wrapped keys, before any key has proven them.
#![no_main]

use keys::{KeyId, envelope_fields, envelope_version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = KeyId::read(bytes);
    let fields = envelope_fields(bytes);
    assert_eq!(fields.is_ok(), envelope_version(bytes).is_ok());
    if let Ok(fields) = fields {
        assert!(fields.is_sorted_by(|a, b| a < b), "a field is there twice, or out of order");
        // One envelope has one length: nothing can be hung behind it or cut off.
        assert!(envelope_fields(&[bytes, &[0]].concat()).is_err());
        assert!(envelope_fields(&bytes[..bytes.len() - 1]).is_err());
    }
});
