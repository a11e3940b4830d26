//! What somebody hands to an offline check: certificates, receipts, manifests of bundles, notes. Nothing that was not signed is believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::audit::certificate::verify_certificate;
use oubliette::audit::manifest::verify_manifest;
use oubliette::audit::note::{VerifyingKey, verified};
use oubliette::audit::receipt::{is_receipt, verify_receipt};

/// Nobody has the private half of this point.
const KEY: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 9;
    key
};

fuzz_target!(|bytes: &[u8]| {
    assert!(verify_manifest(bytes, &KEY).is_err());
    assert!(verify_receipt(bytes, &KEY).is_err());
    assert!(verify_certificate(bytes, &KEY).is_err());
    let _ = is_receipt(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(verified(text, "oubliette.local/vault", &KEY).is_err());
    if let Ok(key) = text.parse::<VerifyingKey>() {
        assert_eq!(key.to_string().parse::<VerifyingKey>().map(|again| again.public), Ok(key.public));
    }
});
