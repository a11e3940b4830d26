//! The trail and what is taken out of it: entries and their frames, proofs and certificates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::audit::certificate::verify_certificate;
use oubliette::audit::checkpoint::Checkpoint;
use oubliette::audit::codec::{decode, encode};
use oubliette::audit::proof::Proof;
use oubliette::audit::segment::{Step, step};

fuzz_target!(|bytes: &[u8]| {
    // One entry has one encoding.
    if let Ok(entry) = decode(bytes) {
        let mut again = Vec::new();
        encode(&entry, &mut again).expect("what was read can be written");
        assert_eq!(again, bytes);
    }
    // Frames lie one behind the other, within the segment.
    let mut at = 0;
    while let Step::Frame { entry, end, .. } = step(bytes, at) {
        assert!(end > at + entry.len() && end <= bytes.len());
        at = end;
    }
    // Nobody signed for this key, so nothing may be proven by it.
    let public = [7; 32];
    assert!(verify_certificate(bytes, &public).is_err());
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(Checkpoint::verified(text, &public).is_err());
        if let Ok(proof) = text.parse::<Proof>() {
            assert!(proof.verify(&public).is_err());
        }
    }
});
