//! What `verify` names when anything on disk is changed.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::TempDir;

use crate::audit::checkpoint::Checkpoint;
use crate::audit::segment::{self, HEADER, Step, step};
use crate::audit::testing::{ORIGIN, TestKey, append, entry};
use crate::audit::{Break, Trail};

/// Every segment with the places of its frames, the end of the last one included.
fn layout(dir: &Path) -> Vec<(u64, Vec<u8>, Vec<usize>)> {
    let mut all = Vec::new();
    for segment in segment::list(dir).unwrap() {
        let bytes = fs::read(&segment.path).unwrap();
        let mut places = vec![HEADER];
        while let Step::Frame { end, .. } = step(&bytes, *places.last().unwrap()) {
            places.push(end);
        }
        all.push((segment.first, bytes, places));
    }
    all
}

fn write_at(dir: &Path, first: u64, bytes: &[u8], at: usize) {
    let file = OpenOptions::new().write(true).open(segment::path(dir, first)).unwrap();
    file.write_all_at(bytes, at as u64).unwrap();
}

#[test]
fn a_whole_trail_has_no_break() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    assert_eq!(key.verify(dir.path()).entries, 0);
    key.trail(dir.path(), 0..30);
    let report = key.verify(dir.path());
    assert_eq!((report.entries, report.signed, report.checkpoints, &report.first_break), (30, 30, 1, &None));
    assert_eq!((report.entries, report.root), key.open(dir.path()).unwrap().0.head());
}

#[test]
fn every_flipped_bit_of_every_segment_is_named() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..20);
    let layout = layout(dir.path());
    assert!(layout.len() > 1);
    for (first, bytes, places) in &layout {
        let last = *places.last().unwrap();
        for at in (0..last).chain((last..bytes.len()).step_by(9973)) {
            let bit = (at % 8) as u32;
            write_at(dir.path(), *first, &[bytes[at] ^ (1 << bit)], at);
            let found = key.verify(dir.path()).first_break;
            let place = places.iter().rposition(|place| *place <= at).map(|place| first + place as u64);
            match (place, found) {
                (None, Some(Break::Segment { first: named })) => assert_eq!(named, *first, "byte {at}"),
                (Some(index), Some(Break::Entry { index: named, .. })) => assert_eq!(named, index, "byte {at}"),
                (_, found) => panic!("byte {at} of segment {first}: {found:?}"),
            }
            write_at(dir.path(), *first, &[bytes[at]], at);
        }
    }
    assert_eq!(key.verify(dir.path()).first_break, None);
}

#[test]
fn swapped_moved_repeated_and_removed_frames_are_named() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = Trail::open(dir.path(), key.signer(), key.key.public, ORIGIN, None).unwrap();
    append(&trail, 0..12);
    drop(trail);
    let (_, bytes, places) = layout(dir.path()).remove(0);
    let frame = |number: usize| &bytes[places[number]..places[number + 1]];
    let whole: Vec<&[u8]> = (0..12).map(frame).collect();
    let changes: [fn(&mut Vec<&[u8]>); 5] = [
        |frames| frames.swap(3, 4),
        |frames| frames.swap(3, 11),
        |frames| frames[3] = frames[2],
        |frames| {
            frames.remove(3);
        },
        |frames| frames.insert(3, frames[9]),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut frames = whole.clone();
        change(&mut frames);
        let mut changed = bytes[..HEADER].to_vec();
        changed.extend(frames.concat());
        changed.resize(bytes.len(), 0);
        fs::write(segment::path(dir.path(), 0), &changed).unwrap();
        let found = key.verify(dir.path()).first_break;
        assert!(matches!(found, Some(Break::Entry { .. })), "change {number}: {found:?}");
    }
    fs::write(segment::path(dir.path(), 0), &bytes).unwrap();
    assert_eq!(key.verify(dir.path()).first_break, None);
}

#[test]
fn a_trail_cut_at_any_byte_is_named_at_the_first_missing_entry() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..12);
    for (first, bytes, places) in layout(dir.path()).iter().rev() {
        for length in 0..*places.last().unwrap() {
            fs::write(segment::path(dir.path(), *first), &bytes[..length]).unwrap();
            let found = key.verify(dir.path()).first_break;
            let whole = places.iter().filter(|place| **place <= length).count();
            match found {
                Some(Break::Segment { first: named }) => assert_eq!((whole, named), (0, *first)),
                Some(Break::Entry { index, .. }) => assert_eq!(index, first + whole as u64 - 1, "{length} bytes"),
                other => panic!("{length} bytes of segment {first}: {other:?}"),
            }
        }
        fs::write(segment::path(dir.path(), *first), bytes).unwrap();
    }
    assert_eq!(key.verify(dir.path()).first_break, None);
}

#[test]
fn a_changed_forged_or_foreign_checkpoint_is_named() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..4);
    let file = dir.path().join("checkpoints");
    let note = fs::read_to_string(&file).unwrap();
    for at in 0..note.len() {
        let mut bytes = note.clone().into_bytes();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(key.verify(dir.path()).first_break, Some(Break::Checkpoint { place: 0 }), "byte {at}");
    }
    // One that the right key signed, but for another tree.
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 3, root: [7; 32] };
    let other = checkpoint.signed(&|text| Some((key.key.public, key.sign(text)))).unwrap();
    fs::write(&file, format!("{other}{note}")).unwrap();
    assert!(matches!(key.verify(dir.path()).first_break, Some(Break::Entry { .. })));
    // One for more entries than there are.
    let checkpoint = Checkpoint { size: 5, ..checkpoint };
    let other = checkpoint.signed(&|text| Some((key.key.public, key.sign(text)))).unwrap();
    fs::write(&file, format!("{note}{other}")).unwrap();
    assert!(matches!(key.verify(dir.path()).first_break, Some(Break::Entry { index: 4, .. })));
    fs::write(&file, &note).unwrap();
    let stranger = TestKey::new(ORIGIN);
    assert_eq!(stranger.verify(dir.path()).first_break, Some(Break::Checkpoint { place: 0 }));
    assert_eq!(key.verify(dir.path()).first_break, None);
}

#[test]
fn a_whole_forged_entry_behind_the_last_checkpoint_is_counted_as_unsigned() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = Trail::open(dir.path(), key.signer(), key.key.public, ORIGIN, None).unwrap();
    append(&trail, 0..4);
    drop(trail);
    let (_, _, places) = layout(dir.path()).remove(0);
    let mut frame = Vec::new();
    segment::frame(&entry(4), &mut frame).unwrap();
    write_at(dir.path(), 0, &frame, places[4]);
    let report = key.verify(dir.path());
    assert_eq!((report.first_break, report.entries, report.signed), (None, 5, 4));
}
