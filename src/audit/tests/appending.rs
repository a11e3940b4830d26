//! Appending, waiting, reading and proving.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keys::digest::leaf_hash;
use tempfile::TempDir;

use crate::audit::checkpoint::Checkpoint;
use crate::audit::codec;
use crate::audit::merkle::{Frontier, verify_consistency, verify_inclusion};
use crate::audit::proof::{Proof, ProofError};
use crate::audit::testing::{ORIGIN, TestKey, append, entry};
use crate::audit::{Disk, Faults, Mode, Trail, TrailError};

fn root_of(count: u64) -> (u64, [u8; 32]) {
    let mut frontier = Frontier::default();
    for number in 0..count {
        let mut bytes = Vec::new();
        codec::encode(&entry(number), &mut bytes).unwrap();
        frontier.push(leaf_hash(&bytes), |_, _| {});
    }
    (count, frontier.root())
}

fn on(disk: Disk, dir: &TempDir, key: &TestKey) -> Trail {
    Trail::open_on(disk, dir.path(), key.signer(), key.key.public, ORIGIN, None).unwrap().0
}

#[test]
fn entries_come_back_in_order_across_segments_and_reopening() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, findings) = key.open(dir.path()).unwrap();
    assert_eq!(findings.entries, 0);
    append(&trail, 0..400);
    trail.close();
    for trail in [trail, key.open(dir.path()).unwrap().0] {
        assert_eq!(trail.head(), root_of(400));
        let all = trail.entries(0, 1000).unwrap();
        assert_eq!(all, (0..400).map(|number| (number, entry(number))).collect::<Vec<_>>());
        assert_eq!(trail.entries(255, 3).unwrap(), [255, 256, 257].map(|number| (number, entry(number))));
        assert_eq!(trail.entries(400, 3).unwrap(), []);
        assert_eq!(trail.entries(u64::MAX, 3).unwrap(), []);
        drop(trail);
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().count() > 20, "there should be many segments");
}

#[test]
fn entries_appended_together_stay_together_and_a_large_one_is_read_back() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let trail = on(Disk::Plain, &dir, &key);
    let mut large = entry(1);
    large.written = vec![[7; 32]; 20_000];
    let entries = [entry(0), large, entry(2)];
    let ticket = trail.append(&entries).unwrap();
    assert_eq!((ticket.first(), ticket.count()), (0, 3));
    let receipt = trail.durable_blocking(ticket).unwrap();
    assert_eq!((receipt.first(), receipt.count(), receipt.mode()), (0, 3, Mode::Durable));
    assert_eq!(trail.entries(0, 9).unwrap().into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(), entries);
    let mut endless = entry(3);
    endless.written = vec![[7; 32]; 200_000];
    assert!(matches!(trail.append(&[entry(3), endless]), Err(TrailError::Entry(_))));
    assert_eq!(trail.size(), 3);
}

#[test]
fn sixteen_threads_share_their_syncs() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let faults = Arc::new(Faults::default());
    let trail = on(Disk::Failing(Arc::clone(&faults)), &dir, &key);
    let (next, opened) = (AtomicU64::new(0), faults.syncs_done());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let ticket = trail.append(&[entry(next.fetch_add(1, Ordering::SeqCst))]).unwrap();
                    let end = ticket.first() + 1;
                    let _ = trail.durable_blocking(ticket).unwrap();
                    assert!(trail.durable_size() >= end);
                }
            });
        }
    });
    let syncs = faults.syncs_done() - opened;
    assert!(syncs < 400, "{syncs} syncs for 800 entries");
    assert_eq!(trail.size(), 800);
    trail.close();
    let mut numbers: Vec<_> = trail.entries(0, 1000).unwrap().into_iter().map(|(_, entry)| entry.at).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 800);
    assert_eq!(key.verify(dir.path()).first_break, None);
}

#[tokio::test]
async fn a_written_entry_is_released_at_once_and_becomes_durable_by_itself() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let trail = on(Disk::Plain, &dir, &key);
    let ticket = trail.append(&[entry(0)]).unwrap();
    let receipt = trail.released(ticket, Mode::Written).await.unwrap();
    assert_eq!(receipt.mode(), Mode::Written);
    let begun = std::time::Instant::now();
    while trail.durable_size() == 0 {
        assert!(begun.elapsed().as_secs() < 10);
        tokio::task::yield_now().await;
    }
    let receipt = trail.released(trail.append(&[entry(1)]).unwrap(), Mode::Durable).await.unwrap();
    assert_eq!((receipt.mode(), trail.durable_size()), (Mode::Durable, 2));
}

#[tokio::test]
async fn a_waiter_that_gives_up_leaves_the_others_waiting_rightly() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let trail = on(Disk::Plain, &dir, &key);
    for number in 0..50 {
        let first = trail.append(&[entry(2 * number)]).unwrap();
        let second = trail.append(&[entry(2 * number + 1)]).unwrap();
        tokio::select! {
            biased;
            _ = trail.durable(first) => {}
            () = tokio::task::yield_now() => {}
        }
        let _ = trail.durable(second).await.unwrap();
        assert!(trail.durable_size() >= 2 * number + 2);
    }
}

#[test]
fn a_failed_write_poisons_the_trail_and_nothing_of_it_counts() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let faults = Arc::new(Faults::default());
    let trail = on(Disk::Failing(Arc::clone(&faults)), &dir, &key);
    append(&trail, 0..3);
    faults.fail_writes_after(0);
    assert!(matches!(trail.append(&[entry(3)]), Err(TrailError::Io { .. })));
    assert!(matches!(trail.append(&[entry(3)]), Err(TrailError::Poisoned)));
    assert_eq!(trail.size(), 3);
    drop(trail);
    let (trail, findings) = key.open(dir.path()).unwrap();
    assert_eq!((findings.entries, findings.torn.unwrap().index), (3, 3));
    append(&trail, 3..5);
    trail.close();
    assert_eq!(key.verify(dir.path()).entries, 5);
}

#[test]
fn a_full_disk_takes_nothing_and_the_trail_goes_on_when_there_is_room() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let faults = Arc::new(Faults::default());
    let trail = on(Disk::Failing(Arc::clone(&faults)), &dir, &key);
    append(&trail, 0..3);
    let mut long = entry(3);
    // Longer than the zeros ahead, so that half of it makes the file longer.
    long.written = vec![[7; 32]; 25_000];
    for refused in [entry(3), long] {
        faults.fill_up_after(0);
        for _ in 0..3 {
            assert!(matches!(trail.append(std::slice::from_ref(&refused)), Err(TrailError::Full)));
        }
        assert!(!trail.is_poisoned());
        faults.heal();
        append(&trail, trail.size()..trail.size() + 1);
    }
    trail.close();
    assert_eq!(key.verify(dir.path()).first_break, None);
    drop(trail);
    let (trail, findings) = key.open(dir.path()).unwrap();
    assert_eq!((findings.entries, findings.torn), (5, None));
    append(&trail, 5..6);
}

#[tokio::test]
async fn a_failed_sync_releases_nobody_and_poisons_the_trail() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let faults = Arc::new(Faults::default());
    let trail = on(Disk::Failing(Arc::clone(&faults)), &dir, &key);
    let before = trail.append(&[entry(0)]).unwrap();
    let _ = trail.durable(before).await.unwrap();
    faults.fail_syncs_after(0);
    let (one, two) = (trail.append(&[entry(1)]).unwrap(), trail.append(&[entry(2)]));
    assert!(matches!(trail.durable(one).await, Err(TrailError::Poisoned)));
    // The sync may have failed before the second was appended.
    if let Ok(two) = two {
        assert!(matches!(trail.released(two, Mode::Written).await, Err(TrailError::Poisoned)));
    }
    assert!(matches!(trail.append(&[entry(3)]), Err(TrailError::Poisoned)));
    assert_eq!(trail.durable_size(), 1);
}

#[test]
fn a_closed_trail_takes_nothing_and_is_free_for_the_next() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = key.open(dir.path()).unwrap();
    assert!(matches!(key.open(dir.path()), Err(TrailError::InUse)));
    append(&trail, 0..1);
    trail.close();
    trail.close();
    assert!(matches!(trail.append(&[entry(1)]), Err(TrailError::Closed)));
    drop(trail);
    assert_eq!(key.open(dir.path()).unwrap().1.entries, 1);
}

#[test]
fn what_the_trail_proves_can_be_checked_from_outside() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = key.open(dir.path()).unwrap();
    append(&trail, 0..700);
    trail.close();
    let public = &key.key.public;
    for round in 0..2 {
        let (trail, _) = key.open(dir.path()).unwrap();
        for size in [1, 2, 255, 256, 257, 511, 512, 513, 700] {
            let checkpoint = Checkpoint::verified(&trail.checkpoint(Some(size)).unwrap(), public).unwrap();
            assert_eq!((checkpoint.size, checkpoint.root), root_of(size), "round {round}");
            let path = trail.consistency(size, 700).unwrap();
            assert!(verify_consistency(size, 700, &checkpoint.root, &root_of(700).1, &path), "{size}");
            for index in [0, size / 2, size - 1] {
                let mut bytes = Vec::new();
                codec::encode(&entry(index), &mut bytes).unwrap();
                let path = trail.inclusion(index, size).unwrap();
                assert!(verify_inclusion(index, size, &leaf_hash(&bytes), &path, &checkpoint.root), "{index} of {size}");
            }
        }
        for index in [0, 255, 256, 699] {
            let proven = trail.proof(index).unwrap().parse::<Proof>().unwrap().verify(public).unwrap();
            assert_eq!((proven.index, proven.entry, proven.checkpoint.size), (index, entry(index), 700));
        }
        assert!(matches!(trail.proof(700), Err(TrailError::OutOfRange)));
        assert!(matches!(trail.checkpoint(Some(701)), Err(TrailError::OutOfRange)));
        assert!(matches!(trail.inclusion(7, 7), Err(TrailError::OutOfRange)));
        assert!(matches!(trail.consistency(7, 701), Err(TrailError::OutOfRange)));
        // The second time every tile is made again.
        std::fs::remove_dir_all(dir.path().join("tile")).unwrap();
    }
}

#[test]
fn tiles_are_served_full_and_partial_and_not_beyond_the_tree() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = key.open(dir.path()).unwrap();
    append(&trail, 0..600);
    let full = trail.tile(0, 1, 256).unwrap();
    assert_eq!(full.len(), 8192);
    assert_eq!(trail.tile(0, 2, 88).unwrap().len(), 88 * 32);
    assert_eq!(trail.tile(1, 0, 2).unwrap().len(), 64);
    for (level, index, width) in
        [(0, 2, 89), (0, 3, 1), (1, 0, 3), (2, 0, 1), (8, 0, 1), (0, 0, 0), (0, 0, 257), (0, u64::MAX, 1)]
    {
        assert!(matches!(trail.tile(level, index, width), Err(TrailError::OutOfRange)), "{level} {index} {width}");
    }
    trail.close();
    assert_eq!(std::fs::read(dir.path().join("tile/0/001")).unwrap(), full);
}

#[test]
fn a_proof_survives_its_text_and_no_change_of_it() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = key.open(dir.path()).unwrap();
    append(&trail, 0..9);
    trail.close();
    let text = trail.proof(4).unwrap();
    let proof: Proof = text.parse().unwrap();
    assert_eq!(proof.to_string(), text);
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra "));
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(changed) = String::from_utf8(bytes) {
            assert!(changed.parse::<Proof>().and_then(|proof| proof.verify(&key.key.public)).is_err(), "byte {at}");
        }
        let _ = text.get(..at).map(str::parse::<Proof>);
    }
    let stranger = TestKey::new(ORIGIN);
    assert_eq!(proof.verify(&stranger.key.public), Err(ProofError::Signature));
    let moved = Proof { index: 5, ..proof };
    assert_eq!(moved.verify(&key.key.public), Err(ProofError::Inclusion));
}

#[test]
fn a_sealed_vault_still_shows_what_it_signed_before() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    key.trail(dir.path(), 0..3);
    let (trail, _) = key.open_sealed(dir.path(), None);
    assert_eq!(Checkpoint::verified(&trail.checkpoint(None).unwrap(), &key.key.public).unwrap().size, 3);
    append(&trail, 3..4);
    trail.close();
    assert!(matches!(trail.checkpoint(None), Err(TrailError::NoSigner)));
    assert!(trail.proof(2).unwrap().parse::<Proof>().unwrap().verify(&key.key.public).is_ok());
    assert!(matches!(trail.proof(3), Err(TrailError::NoSigner)));
}
