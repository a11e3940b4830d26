//! Rows of the store: keys and values, which an attacker may have moved, cut or made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::model::ids::{RecordId, SubjectId};
use oubliette::store::layout::{CommitMark, Envelope, RecordHead, RowKey, join, keys_of, split};

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 3 {
        0 => {
            // A key has one form.
            if let Some(key) = RowKey::parse(bytes) {
                assert_eq!(key.bytes(), bytes);
            }
        }
        1 => {
            if let Ok(mark) = CommitMark::parse(bytes) {
                assert_eq!(mark.bytes(), bytes);
            }
        }
        _ => record(bytes),
    }
});

/// What is read as a record is exactly what would be written for it.
fn record(value: &[u8]) {
    let (subject, record) = (SubjectId::from_bytes([1; 16]), RecordId::from_bytes([2; 16]));
    let Ok(head) = RecordHead::parse(value) else { return };
    // Tens of thousands of pieces may be claimed; a few show as much.
    if !matches!(head.envelope, Envelope::Chunks(9..)) {
        let pieces = if let Envelope::Chunks(count) = head.envelope { usize::from(count) } else { 0 };
        assert_eq!(keys_of(&subject, &record, value).map(|keys| keys.len()), Ok(1 + pieces));
    }
    if let Ok(row) = join(&subject, &record, value, &[]) {
        let rows = split(&subject, &record, &row).expect("what was read can be written");
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].1, value);
    }
}
