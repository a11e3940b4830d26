//! What opening mends, says and refuses.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::audit::segment::{self, HEADER, Step, step};
use crate::audit::testing::{ORIGIN, TestKey, append, copy, entry};
use crate::audit::{Break, Disk, Entry, LostTail, Outcome, Signer, TornTail, Trail, TrailError};

/// A crashed copy of a trail of `count` entries of which nothing is signed, in one segment.
fn crashed(key: &TestKey, count: u64) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let (trail, _) = key.open_sealed(&dir.path().join("live"), None);
    append(&trail, 0..count);
    copy(&dir.path().join("live"), &dir.path().join("crashed"));
    drop(trail);
    let path = dir.path().join("crashed");
    (dir, path)
}

fn segment_of(dir: &Path) -> PathBuf {
    segment::path(dir, 0)
}

/// Where each frame starts, and where the last one ends.
fn places(bytes: &[u8]) -> Vec<usize> {
    let mut places = vec![HEADER];
    while let Step::Frame { end, .. } = step(bytes, *places.last().unwrap()) {
        places.push(end);
    }
    places
}

fn write_at(path: &Path, bytes: &[u8], at: usize) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at as u64).unwrap();
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_at_the_last_whole_entry_and_said() {
    let key = TestKey::new(ORIGIN);
    let (_dir, path) = crashed(&key, 5);
    let file = segment_of(&path);
    let whole = fs::read(&file).unwrap();
    let places = places(&whole);
    assert_eq!(places.len(), 6);
    for length in (HEADER..=places[5]).rev() {
        fs::write(&file, &whole[..length]).unwrap();
        let (trail, findings) = key.open_sealed(&path, None);
        let kept = places.iter().filter(|place| **place <= length).count() as u64 - 1;
        assert_eq!((findings.entries, findings.lost_tail), (kept, None), "{length} bytes");
        let torn = whole[places[kept as usize]..length].iter().any(|byte| *byte != 0);
        assert_eq!(findings.torn.is_some(), torn, "{length} bytes");
        append(&trail, kept..kept + 1);
        drop(trail);
        let (trail, findings) = key.open_sealed(&path, None);
        assert_eq!((findings.entries, findings.torn), (kept + 1, None), "{length} bytes");
        assert_eq!(trail.entries(kept, 1).unwrap(), [(kept, entry(kept))]);
    }
}

#[test]
fn a_tail_torn_before_zeros_is_cut_and_nothing_behind_it_comes_back() {
    let key = TestKey::new(ORIGIN);
    let (_dir, path) = crashed(&key, 40);
    let file = segment_of(&path);
    let whole = fs::read(&file).unwrap();
    let places = places(&whole);
    // A power cut wrote the sectors behind a hole of two sectors, but not the hole.
    write_at(&file, &[0; 1024], 1024);
    let cut = places.iter().rposition(|place| *place <= 1024).unwrap() as u64;
    let (trail, findings) = key.open_sealed(&path, None);
    assert_eq!((findings.entries, findings.torn.map(|torn| torn.index)), (cut, Some(cut)));
    append(&trail, cut..cut + 1);
    drop(trail);
    let findings = key.open_sealed(&path, None).1;
    assert_eq!((findings.entries, findings.torn), (cut + 1, None));
}

/// The sector was written when it ended with the entry before, and the power went while it was written again.
#[test]
fn a_hole_shorter_than_a_sector_is_an_unsynced_tail_too() {
    let key = TestKey::new(ORIGIN);
    let (_dir, path) = crashed(&key, 40);
    let file = segment_of(&path);
    let whole = fs::read(&file).unwrap();
    let places = places(&whole);
    for sector in [1024, 1536, 2048] {
        fs::write(&file, &whole).unwrap();
        let cut = places.iter().rposition(|place| *place < sector - 4).unwrap();
        assert!(sector - places[cut] < 512);
        write_at(&file, &vec![0; sector - places[cut]], places[cut]);
        let (_, findings) = key.open_sealed(&path, None);
        assert_eq!((findings.entries, findings.torn.map(|torn| torn.index)), (cut as u64, Some(cut as u64)));
    }
}

#[test]
fn damage_between_entries_that_were_durable_is_refused_and_named() {
    let key = TestKey::new(ORIGIN);
    let (_dir, path) = crashed(&key, 8);
    let file = segment_of(&path);
    let whole = fs::read(&file).unwrap();
    let places = places(&whole);
    let (trail, _) = key.open_sealed(&path, None);
    let known = trail.head();
    drop(trail);
    for at in (places[0]..places[8]).step_by(5) {
        write_at(&file, &[whole[at] ^ (1 << (at % 8))], at);
        let index = places.iter().rposition(|place| *place <= at).unwrap() as u64;
        let opened = Trail::open(&path, key.signer(), key.key.public, ORIGIN, Some(known)).map(|_| ());
        assert!(matches!(opened, Err(TrailError::Broken { index: i, .. }) if i == index), "byte {at}: {opened:?}, not {index}");
        write_at(&file, &[whole[at]], at);
    }
    assert_eq!(key.open_sealed(&path, Some(known)).1.entries, 8);
}

/// A crashed copy of an unsigned trail of small segments; their first indices.
fn crashed_in_segments(key: &TestKey) -> (TempDir, PathBuf, Vec<u64>) {
    let dir = TempDir::new().unwrap();
    let (live, path) = (dir.path().join("live"), dir.path().join("crashed"));
    let sealed: Signer = Arc::new(|_| None);
    let (trail, _) = Trail::open_sized(3000, Disk::Plain, &live, sealed, key.key.public, ORIGIN, None).unwrap();
    append(&trail, 0..100);
    copy(&live, &path);
    drop(trail);
    let firsts = segment::list(&path).unwrap().iter().map(|segment| segment.first).collect();
    (dir, path, firsts)
}

#[test]
fn a_power_cut_behind_the_start_of_a_segment_takes_that_segment_too() {
    let key = TestKey::new(ORIGIN);
    let (_dir, path, firsts) = crashed_in_segments(&key);
    let before = firsts[firsts.len() - 2];
    let file = segment::path(&path, before);
    let whole = fs::read(&file).unwrap();
    let places = places(&whole);
    // The last sectors of the segment before were never written, from the start of a frame or from within one.
    for from in [places[places.len() - 8], 1024] {
        let cut = before + places.iter().filter(|place| **place <= from).count() as u64 - 1;
        let other = TempDir::new().unwrap();
        copy(&path, other.path());
        write_at(&segment::path(other.path(), before), &vec![0; places[places.len() - 1] - from], from);
        let known = key.open_sealed(&path, None).0.head();
        let opened = Trail::open(other.path(), key.signer(), key.key.public, ORIGIN, Some(known)).map(|_| ());
        assert!(matches!(opened, Err(TrailError::Broken { index, .. }) if index == cut), "{opened:?}");
        let (trail, findings) = key.open_sealed(other.path(), None);
        assert_eq!((findings.entries, findings.torn.map(|torn| torn.index)), (cut, Some(cut)));
        append(&trail, cut..cut + 50);
        drop(trail);
        assert_eq!(key.open_sealed(other.path(), None).1.entries, cut + 50);
    }
}

#[test]
fn unsynced_damage_before_a_whole_segment_is_refused() {
    let key = TestKey::new(ORIGIN);
    let (_dir, path, firsts) = crashed_in_segments(&key);
    let before = firsts[firsts.len() - 2];
    let file = segment::path(&path, before);
    let whole = fs::read(&file).unwrap();
    let at = places(&whole).len() - 2;
    let place = places(&whole)[at] + 20;
    write_at(&file, &[whole[place] ^ 1], place);
    let opened = Trail::open(&path, key.signer(), key.key.public, ORIGIN, None).map(|_| ());
    assert!(matches!(opened, Err(TrailError::Broken { index, .. }) if index == before + at as u64), "{opened:?}");
}

#[test]
fn unsynced_damage_with_whole_entries_behind_it_is_refused_unless_it_is_a_hole() {
    let key = TestKey::new(ORIGIN);
    let (_dir, path) = crashed(&key, 8);
    let file = segment_of(&path);
    let whole = fs::read(&file).unwrap();
    let at = places(&whole)[3] + 20;
    write_at(&file, &[whole[at] ^ 1], at);
    let opened = Trail::open(&path, key.signer(), key.key.public, ORIGIN, None).map(|_| ());
    assert!(matches!(opened, Err(TrailError::Broken { index: 3, .. })), "{opened:?}");
}

#[test]
fn a_trail_shorter_than_its_last_checkpoint_says_so_until_it_is_recorded() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = key.open_sealed(dir.path(), None);
    append(&trail, 0..6);
    drop(trail);
    let file = segment_of(dir.path());
    let whole = fs::read(&file).unwrap();
    // The entries are signed by a second run, and then the last two are lost.
    let (trail, _) = Trail::open(dir.path(), key.signer(), key.key.public, ORIGIN, None).unwrap();
    let root = trail.head().1;
    drop(trail);
    fs::write(&file, &whole[..places(&whole)[4]]).unwrap();
    let lost = LostTail { expected: 6, root, found: 4 };
    for _ in 0..2 {
        assert_eq!(key.open_sealed(dir.path(), None).1.lost_tail, Some(lost));
    }
    let report = key.verify(dir.path());
    assert!(matches!(report.first_break, Some(Break::Entry { index: 4, .. })), "{report:?}");

    let (trail, findings) = key.open(dir.path()).unwrap();
    let mut record = entry(99);
    record.note = findings.lost_tail.unwrap().note();
    let _ = trail.durable_blocking(trail.append(&[record]).unwrap()).unwrap();
    append(&trail, 5..12);
    drop(trail);
    assert_eq!(key.open(dir.path()).unwrap().1.lost_tail, None);
    let report = key.verify(dir.path());
    assert_eq!((report.first_break, report.lost, report.entries), (None, vec![(4, 6)], 12));
}

#[test]
fn a_trail_shorter_than_the_keyring_knows_says_so() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..30);
    let (trail, _) = key.open(dir.path()).unwrap();
    let known = trail.head();
    drop(trail);
    fs::remove_dir_all(dir.path()).unwrap();
    key.trail(dir.path(), 0..10);
    let (_, findings) = key.open_knowing(dir.path(), Some(known)).unwrap();
    assert_eq!(findings.lost_tail, Some(LostTail { expected: 30, root: known.1, found: 10 }));
}

#[test]
fn a_trail_that_was_written_anew_is_refused() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..10);
    let (trail, _) = key.open(dir.path()).unwrap();
    let known = trail.head();
    drop(trail);
    fs::remove_dir_all(dir.path()).unwrap();
    key.trail(dir.path(), 1..31);
    let opened = key.open_knowing(dir.path(), Some(known)).map(|_| ());
    assert!(matches!(opened, Err(TrailError::Broken { .. })), "{opened:?}");
    let opened = key.open(dir.path()).map(|_| ());
    assert!(opened.is_ok());
}

#[test]
fn an_entry_replaced_by_another_whole_one_is_refused_and_named() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = Trail::open(dir.path(), key.signer(), key.key.public, ORIGIN, None).unwrap();
    append(&trail, 0..300);
    drop(trail);
    let file = segment_of(dir.path());
    let whole = fs::read(&file).unwrap();
    let places = places(&whole);
    let mut other = Vec::new();
    let mut forged = entry(17);
    forged.outcome = Outcome::Done;
    segment::frame(&forged, &mut other).unwrap();
    assert_eq!(other.len(), places[18] - places[17]);
    write_at(&file, &other, places[17]);
    let open = |signer: Signer| Trail::open(dir.path(), signer, key.key.public, ORIGIN, None).map(|_| ());
    let opened = open(key.signer());
    assert!(matches!(opened, Err(TrailError::Broken { index: 17, .. })), "{opened:?}");
    assert!(matches!(key.verify(dir.path()).first_break, Some(Break::Entry { index: 17, .. })));
}

#[test]
fn a_missing_segment_is_refused_and_named() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..100);
    let segments = segment::list(dir.path()).unwrap();
    for gone in [0, 2, segments.len() - 2] {
        let other = TempDir::new().unwrap();
        copy(dir.path(), other.path());
        fs::remove_file(segment::path(other.path(), segments[gone].first)).unwrap();
        let opened = key.open(other.path()).map(|_| ());
        let first = segments[gone].first;
        assert!(matches!(opened, Err(TrailError::Broken { index, .. }) if index == first), "{opened:?}, not {first}");
        assert!(matches!(key.verify(other.path()).first_break, Some(Break::Entry { index, .. }) if index == first));
    }
    // The last one is a lost tail.
    let last = segments.last().unwrap();
    fs::remove_file(&last.path).unwrap();
    let (_, findings) = key.open(dir.path()).unwrap();
    assert_eq!(findings.lost_tail.map(|lost| (lost.expected, lost.found)), Some((100, last.first)));
}

#[test]
fn a_segment_that_was_made_but_never_synced_is_made_again() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..20);
    for content in [&[][..], &[0; 4096]] {
        fs::write(segment::path(dir.path(), 20), content).unwrap();
        let (trail, findings) = key.open(dir.path()).unwrap();
        assert_eq!((findings.entries, findings.torn), (20, Some(TornTail { index: 20, bytes: 0 })));
        drop(trail);
    }
    let (trail, _) = key.open(dir.path()).unwrap();
    append(&trail, 20..60);
    drop(trail);
    assert_eq!(key.verify(dir.path()).first_break, None);
}

#[test]
fn a_trail_of_another_vault_or_key_is_refused() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..3);
    let other = TestKey::new(ORIGIN);
    assert!(matches!(other.open(dir.path()), Err(TrailError::Foreign)));
    let renamed = Trail::open(dir.path(), key.signer(), key.key.public, "oubliette.local/other", None);
    assert!(matches!(renamed, Err(TrailError::Foreign)));
}

#[test]
fn a_tile_that_was_changed_is_made_again() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let open = || Trail::open(dir.path(), key.signer(), key.key.public, ORIGIN, None).unwrap();
    append(&open().0, 0..600);
    let tile = dir.path().join("tile/0/001");
    let right = fs::read(&tile).unwrap();
    write_at(&tile, &[right[77] ^ 1], 77);
    assert_eq!(key.verify(dir.path()).first_break, Some(Break::Tile { level: 0, index: 1 }));
    assert_eq!(open().1.mended_tiles, 1);
    assert_eq!(fs::read(&tile).unwrap(), right);
    fs::write(&tile, b"short").unwrap();
    assert_eq!(open().1.mended_tiles, 1);
    assert_eq!(open().1.mended_tiles, 0);
}

#[test]
fn a_long_trail_opens_from_its_tiles_and_its_last_segments() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..1000);
    // Nothing but verify looks into the old segments again, so damage there shows that they were not read.
    let old = segment_of(dir.path());
    let whole = fs::read(&old).unwrap();
    write_at(&old, &[whole[200] ^ 1], 200);
    let (trail, findings) = key.open(dir.path()).unwrap();
    assert_eq!((findings.entries, findings.mended_tiles), (1000, 0));
    append(&trail, 1000..1300);
    drop(trail);
    assert!(matches!(key.verify(dir.path()).first_break, Some(Break::Entry { .. })));
    write_at(&old, &[whole[200]], 200);
    assert_eq!(key.verify(dir.path()).first_break, None);
    // Without its tiles everything is read.
    fs::remove_dir_all(dir.path().join("tile")).unwrap();
    let (trail, findings) = key.open(dir.path()).unwrap();
    assert_eq!((findings.entries, findings.mended_tiles), (1300, 5));
    assert_eq!(trail.entries(3, 1).unwrap(), [(3, entry(3))]);
}

#[test]
fn a_torn_note_in_the_file_of_checkpoints_is_cut_off() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..3);
    let file = dir.path().join("checkpoints");
    let notes = fs::read(&file).unwrap();
    // Its beginning, and its end behind a page that was never written.
    for torn in [b"oubliette.local/x\n7\n".as_slice(), &[&[0; 60], &notes[60..]].concat()] {
        fs::write(&file, [&notes[..], torn].concat()).unwrap();
        assert_eq!(key.open(dir.path()).unwrap().1.bad_checkpoints, 0);
        assert_eq!(key.verify(dir.path()).first_break, None);
    }
}

#[test]
fn damaged_checkpoints_are_counted_and_the_next_one_is_kept() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    for end in 1..5 {
        let (trail, _) = key.open(dir.path()).unwrap();
        append(&trail, end - 1..end);
    }
    let file = dir.path().join("checkpoints");
    let notes = fs::read(&file).unwrap();
    // Without its beginning or its newline the last signature line looks like one that was not written in full.
    let line = notes.windows(3).rposition(|bytes| bytes == "\u{2014}".as_bytes()).unwrap();
    for at in (0..line).step_by(13).chain(line..line + 9).chain(notes.len() - 4..notes.len()) {
        let mut changed = notes.clone();
        changed[at] ^= 0x80;
        fs::write(&file, &changed).unwrap();
        let (trail, findings) = key.open(dir.path()).unwrap();
        assert_eq!(findings.lost_tail, None, "byte {at}");
        assert!(findings.bad_checkpoints <= 2, "byte {at}");
        let unfinished = (line..line + 4).contains(&at) || at == notes.len() - 1;
        assert_eq!(findings.bad_checkpoints == 0, unfinished, "byte {at}");
        drop(trail);
        assert_eq!(key.open(dir.path()).unwrap().0.checkpoint(None).unwrap().lines().nth(1), Some("4"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_entries_survive_in_any_grouping(groups in proptest::collection::vec(proptest::collection::vec(crate::audit::codec::tests::entries(), 0..5), 0..12)) {
        let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
        // Notes of losses and voids say things about the trail itself, which these are not true of.
        let groups: Vec<Vec<Entry>> = groups.into_iter().map(|group| group.into_iter().map(|mut entry| {
            entry.note = Default::default();
            entry
        }).collect()).collect();
        let (trail, _) = key.open(dir.path()).unwrap();
        for group in &groups {
            let ticket = trail.append(group).unwrap();
            prop_assert_eq!(ticket.count(), group.len() as u64);
        }
        drop(trail);
        let (trail, _) = key.open(dir.path()).unwrap();
        let all: Vec<_> = trail.entries(0, 1000).unwrap().into_iter().map(|(_, entry)| entry).collect();
        prop_assert_eq!(all, groups.concat());
        drop(trail);
        prop_assert_eq!(key.verify(dir.path()).first_break, None);
    }
}
