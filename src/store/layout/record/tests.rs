use proptest::prelude::*;

use super::*;

const SUBJECT: SubjectId = SubjectId::from_bytes([1; 16]);
const RECORD: RecordId = RecordId::from_bytes([2; 16]);

fn row(groups: &[u8], label: usize, envelope: usize) -> RecordRow {
    RecordRow {
        version: 7,
        schema: 3,
        groups: groups.iter().fold(0, |bits, group| bits | 1 << group),
        updated_at: -5,
        wraps: groups.iter().map(|&group| Wrap { group, bytes: [group; WRAP] }).collect(),
        label: vec![0xab; label],
        envelope: (0..envelope).map(|place| place as u8).collect(),
    }
}

fn joined(rows: &[Row]) -> Result<RecordRow, StoreError> {
    join(&SUBJECT, &RECORD, &rows[0].1, &rows[1..])
}

#[test]
fn a_small_record_is_one_row_and_its_bytes_are_as_drawn() {
    let row = row(&[1, 4], 3, 5);
    let rows = split(&SUBJECT, &RECORD, &row).unwrap();
    assert_eq!(rows.len(), 1);
    let value = &rows[0].1;
    assert_eq!(&value[..4], b"OBR1");
    assert_eq!(&value[4..12], &7u64.to_be_bytes());
    assert_eq!(&value[12..16], &3u32.to_be_bytes());
    assert_eq!(&value[16..20], &0b10010u32.to_be_bytes());
    assert_eq!(&value[20..28], &(-5i64).to_be_bytes());
    assert_eq!(value[28], 2);
    assert_eq!((value[29], &value[30..154]), (1, [1; WRAP].as_slice()));
    assert_eq!((value[154], &value[155..279]), (4, [4; WRAP].as_slice()));
    assert_eq!(&value[279..], [0, 3, 0xab, 0xab, 0xab, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(joined(&rows), Ok(row));
}

#[test]
fn every_length_around_the_limits_is_split_within_them_and_joined_again() {
    let overhead = 29 + 125 + 2 + 10 + 2;
    let edges = [0, 1, MAX_VALUE - overhead - 1, MAX_VALUE - overhead, MAX_VALUE - overhead + 1];
    let more = [CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 300_000];
    for length in edges.into_iter().chain(more) {
        let row = row(&[2], 10, length);
        let rows = split(&SUBJECT, &RECORD, &row).unwrap();
        assert_eq!(rows.len() == 1, overhead + length <= MAX_VALUE, "{length}");
        assert!(rows.iter().all(|(_, value)| value.len() <= MAX_VALUE));
        assert!(rows.is_sorted(), "the order of a scan");
        assert_eq!(rows.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), keys_of(&SUBJECT, &RECORD, &rows[0].1).unwrap());
        assert_eq!(joined(&rows), Ok(row));
    }
}

#[test]
fn a_label_that_leaves_no_room_is_too_large() {
    let all: Vec<u8> = GROUPS.collect();
    assert!(split(&SUBJECT, &RECORD, &row(&all, 2_090, 9_000)).is_ok());
    assert_eq!(split(&SUBJECT, &RECORD, &row(&all, 2_100, 9_000)), Err(StoreError::TooLarge));
    assert_eq!(split(&SUBJECT, &RECORD, &row(&[], 70_000, 0)), Err(StoreError::TooLarge));
    assert_eq!(split(&SUBJECT, &RECORD, &row(&[], 6_000, 0)), Err(StoreError::TooLarge));
}

#[test]
fn groups_that_are_unknown_unordered_doubled_or_unbound_are_refused() {
    let good = row(&[3, 9], 1, 1);
    let mut wrong = vec![good.clone(); 5];
    wrong[0].wraps.reverse();
    wrong[1].wraps[1].group = 3;
    wrong[2].groups = 1 << 3;
    wrong[3].groups |= 1;
    wrong[4].wraps[1].group = 32;
    for row in wrong {
        assert!(matches!(split(&SUBJECT, &RECORD, &row), Err(StoreError::Corrupt(_))));
        let mut bytes = head(&row).unwrap();
        bytes.extend([0, 0]);
        assert!(RecordHead::parse(&bytes).is_err());
    }
    let mut dropped = good;
    dropped.wraps.pop();
    assert!(split(&SUBJECT, &RECORD, &dropped).is_ok(), "a group whose key is gone keeps its bit");
}

#[test]
fn pieces_that_are_missing_swapped_cut_or_of_another_version_do_not_join() {
    let rows = split(&SUBJECT, &RECORD, &row(&[1], 0, 3 * CHUNK)).unwrap();
    assert_eq!(rows.len(), 4);
    let broken: [fn(&mut Vec<Row>); 6] = [
        |rows| drop(rows.pop()),
        |rows| rows.swap(1, 2),
        |rows| rows[2].1.truncate(CHUNK - 1),
        |rows| rows[3].1.clear(),
        |rows| rows[3].1.push(0),
        |rows| rows[1].0[40] ^= 1,
    ];
    for change in broken {
        let mut rows = rows.clone();
        change(&mut rows);
        assert!(matches!(joined(&rows), Err(StoreError::Corrupt(_))));
    }
    let other = RecordId::from_bytes([3; 16]);
    assert!(join(&SUBJECT, &other, &rows[0].1, &rows[1..]).is_err());
}

#[test]
fn a_cut_head_is_refused_at_every_length_before_the_envelope() {
    let rows = split(&SUBJECT, &RECORD, &row(&[1], 4, 6)).unwrap();
    let value = &rows[0].1;
    for length in 0..value.len() - 6 {
        assert!(RecordHead::parse(&value[..length]).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(mut value in proptest::collection::vec(any::<u8>(), 0..400), magic: bool) {
        if magic && value.len() >= 4 {
            value[..4].copy_from_slice(&MAGIC);
        }
        let _ = RecordHead::parse(&value);
        let _ = RowKey::parse(&value);
    }

    #[test]
    fn what_is_read_is_written_the_same(groups in proptest::collection::btree_set(GROUPS, 0..5), label in 0usize..300, envelope in 0usize..20_000, flip in 0usize..8_000) {
        let groups: Vec<u8> = groups.into_iter().collect();
        let rows = split(&SUBJECT, &RECORD, &row(&groups, label, envelope)).unwrap();
        let mut value = rows[0].1.clone();
        let place = flip / 8 % value.len();
        value[place] ^= 1 << (flip % 8);
        if let Ok(read) = join(&SUBJECT, &RECORD, &value, &[]) {
            prop_assert_eq!(split(&SUBJECT, &RECORD, &read), Ok(vec![(rows[0].0.clone(), value)]));
        }
    }
}
