//! What every store must do, whatever it is made of.

use super::{Batch, MAX_KEY, MAX_VALUE, Store, StoreError};

/// Makes an empty store.
pub(super) type Make<'a> = &'a mut dyn FnMut() -> Box<dyn Store>;

/// Runs every test below on fresh stores.
pub(super) fn all(make: Make<'_>) {
    what_was_written_is_read(&*make());
    a_later_write_of_a_key_wins(&*make());
    a_scan_is_ordered_bounded_and_goes_on_after_a_key(&*make());
    a_row_that_is_too_large_refuses_the_whole_batch(&*make());
    readers_never_see_half_a_batch(&*make());
    it_agrees_with_a_map_over_many_batches(&*make());
}

fn put(rows: &[(&[u8], &[u8])]) -> Batch {
    let mut batch = Batch::default();
    rows.iter().for_each(|(key, value)| batch.put(*key, *value));
    batch
}

fn keys(store: &dyn Store, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    store.scan(prefix, after, limit).unwrap().into_iter().map(|(key, _)| key).collect()
}

fn what_was_written_is_read(store: &dyn Store) {
    assert_eq!(store.row(b"a"), Ok(None));
    store.commit(&put(&[(b"a", b"1"), (b"b", b"")])).unwrap();
    assert_eq!(store.row(b"a"), Ok(Some(b"1".to_vec())));
    assert_eq!(store.row(b"b"), Ok(Some(vec![])));
    let mut batch = put(&[(b"a", b"2")]);
    batch.remove(b"b".as_slice());
    batch.remove(b"never there".as_slice());
    store.commit(&batch).unwrap();
    assert_eq!(store.row(b"a"), Ok(Some(b"2".to_vec())));
    assert_eq!(store.row(b"b"), Ok(None));
    store.commit(&Batch::default()).unwrap();
    assert!(store.room().unwrap() > 0);
    store.size_on_disk().unwrap();
}

fn a_later_write_of_a_key_wins(store: &dyn Store) {
    let mut batch = put(&[(b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"c", b"1")]);
    batch.remove(b"b".as_slice());
    batch.remove(b"c".as_slice());
    batch.put(b"c".as_slice(), b"2".as_slice());
    store.commit(&batch).unwrap();
    assert_eq!(store.row(b"a"), Ok(Some(b"2".to_vec())));
    assert_eq!(store.row(b"b"), Ok(None));
    assert_eq!(store.row(b"c"), Ok(Some(b"2".to_vec())));
}

fn a_scan_is_ordered_bounded_and_goes_on_after_a_key(store: &dyn Store) {
    let all: [&[u8]; 7] = [b"\xff", b"a", b"aa", b"ab", b"ab\0", b"ac", b"b"];
    let rows: Vec<(&[u8], &[u8])> = all.iter().map(|key| (*key, *key)).collect();
    store.commit(&put(&rows)).unwrap();
    assert_eq!(keys(store, b"a", None, 9), [b"a".as_slice(), b"aa", b"ab", b"ab\0", b"ac"]);
    assert_eq!(keys(store, b"a", None, 2), [b"a".as_slice(), b"aa"]);
    assert_eq!(keys(store, b"a", Some(b"aa"), 2), [b"ab".as_slice(), b"ab\0"]);
    assert_eq!(keys(store, b"ab", Some(b"a"), 9), [b"ab".as_slice(), b"ab\0"]);
    assert_eq!(keys(store, b"ab", Some(b"ab"), 9), [b"ab\0".as_slice()]);
    assert_eq!(keys(store, b"a", Some(b"ac"), 9), Vec::<Vec<u8>>::new());
    assert_eq!(keys(store, b"a", Some(b"b"), 9), Vec::<Vec<u8>>::new());
    assert_eq!(keys(store, b"\xff", None, 9), [b"\xff".as_slice()]);
    assert_eq!(keys(store, b"", None, 9).len(), 7);
    assert_eq!(keys(store, b"", None, 0).len(), 0);
}

fn a_row_that_is_too_large_refuses_the_whole_batch(store: &dyn Store) {
    let large = vec![7; MAX_VALUE + 1];
    let long = vec![7; MAX_KEY + 1];
    assert_eq!(store.commit(&put(&[(b"a", b"1"), (b"b", &large)])), Err(StoreError::TooLarge));
    assert_eq!(store.commit(&put(&[(b"a", b"1"), (&long, b"1")])), Err(StoreError::TooLarge));
    assert_eq!(store.row(b"a"), Ok(None));
    store.commit(&put(&[(&long[1..], &large[1..])])).unwrap();
    assert_eq!(store.row(&long[1..]), Ok(Some(large[1..].to_vec())));
}

fn readers_never_see_half_a_batch(store: &dyn Store) {
    let batch = |round: u32| {
        let mut batch = Batch::default();
        (0..40u8).for_each(|row| batch.put(vec![b'h', row], round.to_be_bytes()));
        batch
    };
    store.commit(&batch(0)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..30).for_each(|round| store.commit(&batch(round)).unwrap()));
        while !writer.is_finished() {
            let rows = store.scan(b"h", None, 99).unwrap();
            assert_eq!(rows.len(), 40);
            assert!(rows.iter().all(|(_, value)| value == &rows[0].1), "rows of two batches in one scan");
        }
    });
}

fn it_agrees_with_a_map_over_many_batches(store: &dyn Store) {
    let mut map = std::collections::BTreeMap::new();
    let mut seed = 0x0b11_e77e_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..150 {
        let mut batch = Batch::default();
        for _ in 0..draw(12) + 1 {
            let key = draw(300).to_be_bytes()[6..].to_vec();
            if draw(3) == 0 {
                map.remove(&key);
                batch.remove(key);
            } else {
                let value = vec![draw(256) as u8; draw(MAX_VALUE as u64) as usize];
                map.insert(key.clone(), value.clone());
                batch.put(key, value);
            }
        }
        store.commit(&batch).unwrap();
    }
    let rows = store.scan(b"", None, usize::MAX).unwrap();
    assert!(rows.into_iter().eq(map));
}
