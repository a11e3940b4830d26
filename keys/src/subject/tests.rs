use std::collections::HashSet;

use super::*;
use crate::context::RecordContext;
use crate::permit::Gate;

const VAULT: Id = [1; 16];
const ADA: Id = [2; 16];
const EVE: Id = [3; 16];
const RECORD: Id = [4; 16];

fn group(number: u8) -> Group {
    Group::new(number).unwrap()
}

fn groups(numbers: &[u8]) -> GroupSet {
    numbers.iter().map(|number| group(*number)).collect()
}

fn scene(subject: Id, alive: &[u8]) -> (Instance, Gate, SubjectKeys) {
    let instance = Instance::random().unwrap();
    (instance, Gate::new(instance), SubjectKeys::fresh(instance, VAULT, subject, groups(alive)).unwrap())
}

fn context(numbers: &[u8]) -> RecordContext {
    RecordContext {
        vault: VAULT,
        tenant: [5; 16],
        subject: ADA,
        groups: groups(numbers),
        record: RECORD,
        version: 1,
        schema: 1,
        label: [0; 32],
    }
}

#[test]
fn a_record_reads_through_each_of_its_groups_and_no_other() {
    let (_, gate, keys) = scene(ADA, &[1, 2, 3]);
    let c = context(&[1, 2]);
    let (key, wraps) = keys.new_record_key(&RECORD, c.groups).unwrap();
    let envelope = key.encrypt(&c, &[(1, b"Ada")]).unwrap();
    assert_eq!(wraps.iter().map(|(group, _)| group.number()).collect::<Vec<_>>(), [1, 2]);
    for number in [1, 2] {
        let permit = gate.permit(ADA, group(number), None, [0; 16]);
        let key = keys.record_key(&permit, &RECORD, &wraps).unwrap();
        assert_eq!(key.decrypt(&permit, &c, &envelope, None).unwrap()[0].1.bytes(), b"Ada");
    }
    let permit = gate.permit(ADA, group(3), None, [0; 16]);
    assert!(matches!(keys.record_key(&permit, &RECORD, &wraps), Err(KeysError::Destroyed)));
}

#[test]
fn a_destroyed_group_key_stops_reading_even_when_the_permit_allows_it() {
    let (_, gate, keys) = scene(ADA, &[1, 2]);
    let c = context(&[1, 2]);
    let (key, wraps) = keys.new_record_key(&RECORD, c.groups).unwrap();
    let envelope = key.encrypt(&c, &[(1, b"Ada")]).unwrap();

    let after = keys.changed(groups(&[2]), GroupSet::EMPTY, GroupSet::EMPTY).unwrap();
    assert_eq!(after.groups(), groups(&[1]));
    let (living, dead) = (gate.permit(ADA, group(1), None, [0; 16]), gate.permit(ADA, group(2), None, [0; 16]));
    assert!(after.record_key(&living, &RECORD, &wraps).is_ok());
    assert!(matches!(after.record_key(&dead, &RECORD, &wraps), Err(KeysError::Destroyed)));

    // Nor does the way of a rectification lead around it.
    let writing = after.record_key_for_writing(&RECORD, &wraps).unwrap();
    assert!(writing.decrypt(&living, &c, &envelope, None).is_ok());
    assert!(matches!(writing.decrypt(&dead, &c, &envelope, None), Err(KeysError::Destroyed)));

    let none = after.changed(groups(&[1]), GroupSet::EMPTY, GroupSet::EMPTY).unwrap();
    assert!(matches!(none.record_key_for_writing(&RECORD, &wraps), Err(KeysError::Destroyed)));
}

#[test]
fn a_group_that_returns_has_a_new_key() {
    let (_, gate, keys) = scene(ADA, &[1, 2]);
    let (_, wraps) = keys.new_record_key(&RECORD, groups(&[2])).unwrap();
    let again = keys
        .changed(groups(&[2]), GroupSet::EMPTY, GroupSet::EMPTY)
        .and_then(|keys| keys.changed(GroupSet::EMPTY, GroupSet::EMPTY, groups(&[2])))
        .unwrap();
    let permit = gate.permit(ADA, group(2), None, [0; 16]);
    assert!(matches!(again.record_key(&permit, &RECORD, &wraps), Err(KeysError::Damaged)));
}

#[test]
fn a_renewed_group_opens_what_was_rewrapped_and_nothing_else() {
    let (_, gate, keys) = scene(ADA, &[1, 2]);
    let (key, wraps) = keys.new_record_key(&RECORD, groups(&[1, 2])).unwrap();
    let envelope = key.encrypt(&context(&[1, 2]), &[(1, b"Ada")]).unwrap();
    let after = keys.changed(GroupSet::EMPTY, groups(&[1]), GroupSet::EMPTY).unwrap();
    let permit = gate.permit(ADA, group(1), None, [0; 16]);
    assert!(matches!(after.record_key(&permit, &RECORD, &wraps), Err(KeysError::Damaged)));

    let rewrapped = vec![(group(1), keys.rewrap(&after, &RECORD, group(1), &wraps[0].1).unwrap())];
    let key = after.record_key(&permit, &RECORD, &rewrapped).unwrap();
    assert!(key.decrypt(&permit, &context(&[1, 2]), &envelope, None).is_ok());
    assert!(matches!(keys.record_key(&permit, &RECORD, &rewrapped), Err(KeysError::Damaged)));
    // The other group was left as it was.
    assert!(after.record_key(&gate.permit(ADA, group(2), None, [0; 16]), &RECORD, &wraps).is_ok());
}

#[test]
fn a_wrap_does_not_move_between_subjects_records_groups_or_vaults() {
    let (instance, gate, ada) = scene(ADA, &[1, 2]);
    let (_, wraps) = ada.new_record_key(&RECORD, groups(&[1, 2])).unwrap();
    let permit = |subject, number| gate.permit(subject, group(number), None, [0; 16]);
    assert!(ada.record_key(&permit(ADA, 1), &RECORD, &wraps).is_ok());

    let damaged = |answer: Result<RecordKey, KeysError>| assert!(matches!(answer, Err(KeysError::Damaged)));
    damaged(ada.record_key(&permit(ADA, 1), &[0; 16], &wraps));
    damaged(ada.record_key(&permit(ADA, 1), &RECORD, &[(group(1), wraps[1].1.clone())]));
    let eve = SubjectKeys::fresh(instance, VAULT, EVE, groups(&[1, 2])).unwrap();
    damaged(eve.record_key(&permit(EVE, 1), &RECORD, &wraps));
    // Ada's own key bytes, in an entry that says another subject, vault, group or generation.
    let same_keys = |vault, subject, shift: u16, generation: u32| {
        let entries = ada.entries().map(|entry| {
            let class = if entry.class == TAG_CLASS { TAG_CLASS } else { entry.class + shift };
            Entry { class, generation: entry.generation + generation, key: entry.key.duplicate() }
        });
        SubjectKeys::from_entries(instance, vault, subject, entries).unwrap()
    };
    assert!(same_keys(VAULT, ADA, 0, 0).record_key(&permit(ADA, 1), &RECORD, &wraps).is_ok());
    damaged(same_keys(VAULT, EVE, 0, 0).record_key(&permit(EVE, 1), &RECORD, &wraps));
    damaged(same_keys([0; 16], ADA, 0, 0).record_key(&permit(ADA, 1), &RECORD, &wraps));
    damaged(same_keys(VAULT, ADA, 1, 0).record_key(&permit(ADA, 2), &RECORD, &[(group(2), wraps[0].1.clone())]));
    damaged(same_keys(VAULT, ADA, 0, 1).record_key(&permit(ADA, 1), &RECORD, &wraps));
}

#[test]
fn a_permit_of_another_hierarchy_or_subject_opens_no_record() {
    let (_, gate, keys) = scene(ADA, &[1]);
    let (_, elsewhere, _) = scene(ADA, &[1]);
    let (_, wraps) = keys.new_record_key(&RECORD, groups(&[1])).unwrap();
    for permit in [elsewhere.permit(ADA, group(1), None, [0; 16]), gate.permit(EVE, group(1), None, [0; 16])] {
        assert!(matches!(keys.record_key(&permit, &RECORD, &wraps), Err(KeysError::NotPermitted)));
    }
}

#[test]
fn a_record_is_not_made_for_a_group_without_a_key_or_for_none() {
    let (_, _, keys) = scene(ADA, &[1]);
    assert!(matches!(keys.new_record_key(&RECORD, groups(&[1, 2])), Err(KeysError::Destroyed)));
    assert!(matches!(keys.new_record_key(&RECORD, GroupSet::EMPTY), Err(KeysError::Misuse(_))));
}

#[test]
fn a_row_opens_for_its_subject_and_purpose_only() {
    let (instance, _, ada) = scene(ADA, &[]);
    let eve = SubjectKeys::fresh(instance, VAULT, EVE, GroupSet::EMPTY).unwrap();
    let row = ada.seal_row(b"state", b"active").unwrap();
    assert_eq!(ada.open_row(b"state", &row).unwrap().bytes(), b"active");
    assert!(matches!(ada.open_row(b"claim", &row), Err(KeysError::Damaged)));
    assert!(matches!(eve.open_row(b"state", &row), Err(KeysError::Damaged)));
}

#[test]
fn a_tag_survives_every_change_of_groups() {
    let (_, _, keys) = scene(ADA, &[1, 2]);
    let after = keys.changed(groups(&[1]), groups(&[2]), groups(&[3])).unwrap();
    assert_eq!(keys.tag(&[5; 16]), after.tag(&[5; 16]));
    assert_ne!(keys.tag(&[5; 16]), keys.tag(&[6; 16]));
    assert_ne!(keys.tag(&[5; 16]), scene(ADA, &[1, 2]).2.tag(&[5; 16]));
}

#[test]
fn fresh_keys_all_differ() {
    let (_, _, keys) = scene(ADA, &[1, 2, 3, 31]);
    assert_eq!(keys.entries().map(|entry| *entry.key.bytes()).collect::<HashSet<_>>().len(), 5);
    assert_eq!(keys.entries().map(|entry| entry.class).collect::<Vec<_>>(), [0, 1, 2, 3, 31]);
}

#[test]
fn entries_without_one_tag_key_or_with_two_keys_of_a_group_are_damaged() {
    let instance = Instance::random().unwrap();
    let made = |classes: &[u16]| {
        let entries = classes.iter().map(|class| Entry::fresh(*class, 0).unwrap());
        SubjectKeys::from_entries(instance, VAULT, ADA, entries)
    };
    assert_eq!(made(&[2, 0, 1]).unwrap().groups(), groups(&[1, 2]));
    for classes in [&[][..], &[1], &[0, 0], &[0, 1, 1], &[0, 32], &[0, 256 + 1]] {
        assert!(matches!(made(classes), Err(KeysError::Damaged)), "{classes:?}");
    }
}

#[test]
fn the_keys_of_a_subject_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<SubjectKeys>();
    shared::<RecordKey>();
    shared::<Permit>();
    shared::<Gate>();
}

#[test]
fn a_keyed_digest_is_the_subjects_own_and_survives_a_withdrawal() {
    let ((_, _, ada), (_, _, eve)) = (scene(ADA, &[1, 2]), scene(EVE, &[1]));
    let digest = ada.keyed_digest("contract", &[b"C-17"]);
    assert_ne!(digest, eve.keyed_digest("contract", &[b"C-17"]));
    assert_ne!(digest, ada.keyed_digest("contract", &[b"C-18"]));
    let after = ada.changed(groups(&[2]), groups(&[1]), GroupSet::EMPTY).unwrap();
    assert_eq!(digest, after.keyed_digest("contract", &[b"C-17"]));
}

#[test]
fn a_renewed_record_is_the_same_version_under_a_key_that_the_old_wraps_do_not_hold() {
    let instance = Instance::random().unwrap();
    let (vault, subject, record) = ([1; 16], [2; 16], [3; 16]);
    let all = [1, 2, 31].iter().filter_map(|number| Group::new(*number)).collect::<GroupSet>();
    let keys = SubjectKeys::fresh(instance, vault, subject, all).unwrap();
    let (key, wraps) = keys.new_record_key(&record, all).unwrap();
    let context = RecordContext {
        vault,
        tenant: [4; 16],
        subject,
        groups: [1, 2].iter().filter_map(|number| Group::new(*number)).collect(),
        record,
        version: 7,
        schema: 1,
        label: [5; 32],
    };
    let old = key.encrypt(&context, &[(1, b"Ada"), (9, b"Lovelace")]).unwrap();
    let (new, renewed) = keys.renew_record(&context, &wraps, &old).unwrap();
    assert_ne!(old, new);
    assert_eq!(crate::envelope_version(&new).unwrap(), (7, 1));
    assert_eq!(renewed.iter().map(|(group, _)| *group).collect::<GroupSet>(), all);
    let gate = crate::Gate::new(instance);
    let read = |wraps: &Wraps, envelope: &[u8]| {
        let permit = gate.permit(subject, Group::new(2).unwrap(), None, [6; 16]);
        let key = keys.record_key(&permit, &record, wraps)?;
        key.decrypt(&permit, &context, envelope, None)
    };
    assert_eq!(read(&renewed, &new).unwrap()[1].1.bytes(), b"Lovelace");
    assert!(matches!(read(&wraps, &new), Err(KeysError::Damaged)));
    assert!(matches!(read(&renewed, &old), Err(KeysError::Damaged)));
    // A group whose key is gone gets no wrap of the new one.
    let fewer = keys.changed(GroupSet::EMPTY.with(Group::new(1).unwrap()), GroupSet::EMPTY, GroupSet::EMPTY).unwrap();
    let (_, renewed) = fewer.renew_record(&context, &wraps, &old).unwrap();
    assert!(renewed.iter().all(|(group, _)| group.number() != 1) && renewed.len() == 2);
}
