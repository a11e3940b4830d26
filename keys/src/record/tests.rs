use proptest::prelude::*;

use super::*;
use crate::aead::seen;
use crate::context::Group;
use crate::permit::Gate;
use crate::random;

const FIELDS: [(u16, &[u8]); 3] = [(1, b"Ada"), (7, b"Eve"), (300, b"a longer value of more than one block")];

fn groups(bits: u32) -> GroupSet {
    GroupSet::from_bits(bits).unwrap()
}

fn group(number: u8) -> Group {
    Group::new(number).unwrap()
}

fn context() -> RecordContext {
    RecordContext {
        vault: [1; 16],
        tenant: [2; 16],
        subject: [3; 16],
        groups: groups(0b110),
        record: [5; 16],
        version: 6,
        schema: 7,
        label: [8; 32],
    }
}

/// A key of whatever subject and record the context names, always with the same bytes: what does not open then does not open
/// for its context.
fn key_for(c: &RecordContext, gate: (Instance, &Gate)) -> (RecordKey, Permit) {
    let secret = Secret32::from_slice(&[9; 32]).unwrap();
    let key = RecordKey::new(secret, gate.0, c.subject, c.record, Through::Reading(c.groups));
    (key, gate.1.permit(c.subject, group(2), None, [0; 16]))
}

fn gate() -> (Instance, Gate) {
    let instance = Instance::random().unwrap();
    (instance, Gate::new(instance))
}

fn decrypted(c: &RecordContext, envelope: &[u8], asked: Option<&[u16]>) -> Option<Vec<(u16, Vec<u8>)>> {
    let (instance, gate) = gate();
    let (key, permit) = key_for(c, (instance, &gate));
    match key.decrypt(&permit, c, envelope, asked) {
        Ok(fields) => Some(fields.iter().map(|(number, plain)| (*number, plain.bytes().to_vec())).collect()),
        Err(KeysError::Damaged) => None,
        Err(other) => panic!("a second kind of error: {other}"),
    }
}

fn encrypted(c: &RecordContext, fields: &[(u16, &[u8])]) -> Vec<u8> {
    let (instance, gate) = gate();
    key_for(c, (instance, &gate)).0.encrypt(c, fields).unwrap()
}

/// The envelope with other fields in place of its own: each the bytes of number, length, ciphertext and tag.
fn with_fields(envelope: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let count = u16::try_from(fields.len()).unwrap().to_be_bytes();
    [&envelope[..77], &count, &fields.concat()].concat()
}

/// The fields of an envelope, each as its bytes.
fn split(envelope: &[u8]) -> Vec<&[u8]> {
    let mut rest = &envelope[79..];
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (_, after) = split_field(rest).ok().unwrap();
        out.push(&rest[..rest.len() - after.len()]);
        rest = after;
    }
    out
}

#[test]
fn what_was_encrypted_decrypts_and_costs_79_bytes_and_22_a_field() {
    let envelope = encrypted(&context(), &FIELDS);
    assert_eq!(envelope.len(), 79 + FIELDS.iter().map(|(_, plain)| 22 + plain.len()).sum::<usize>());
    let all: Vec<_> = FIELDS.iter().map(|(number, plain)| (*number, plain.to_vec())).collect();
    assert_eq!(decrypted(&context(), &envelope, None), Some(all));
    assert_eq!(envelope_fields(&envelope).unwrap(), [1, 7, 300]);
    assert_eq!(envelope_version(&envelope).unwrap(), (6, 7));
    assert_eq!(decrypted(&context(), &encrypted(&context(), &[]), None), Some(vec![]));
}

#[test]
fn only_the_fields_asked_for_are_decrypted() {
    let envelope = encrypted(&context(), &FIELDS);
    for (asked, expected) in [(&[][..], 0), (&[7], 1), (&[300, 1], 2), (&[2], 0), (&[7, 7], 1)] {
        let (fields, decryptions) = seen::decryptions(|| decrypted(&context(), &envelope, Some(asked)).unwrap());
        assert_eq!((fields.len(), decryptions), (expected, expected), "{asked:?}");
    }
}

#[test]
fn field_numbers_must_strictly_increase() {
    let (instance, gate) = gate();
    let (key, _) = key_for(&context(), (instance, &gate));
    for fields in [[(2, &b""[..]), (1, b"")], [(1, b""), (1, b"")]] {
        assert!(matches!(key.encrypt(&context(), &fields), Err(KeysError::Misuse(_))));
    }
}

#[test]
fn a_record_key_encrypts_no_other_record() {
    let (instance, gate) = gate();
    let (key, _) = key_for(&context(), (instance, &gate));
    for other in [RecordContext { subject: [0; 16], ..context() }, RecordContext { record: [0; 16], ..context() }] {
        assert!(matches!(key.encrypt(&other, &FIELDS), Err(KeysError::Misuse(_))));
    }
}

#[test]
fn an_envelope_with_any_bit_flipped_does_not_decrypt() {
    let envelope = encrypted(&context(), &FIELDS);
    for bit in 0..envelope.len() * 8 {
        let mut flipped = envelope.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decrypted(&context(), &flipped, None), None, "bit {bit}");
    }
}

#[test]
fn an_envelope_cut_short_or_grown_does_not_decrypt() {
    let envelope = encrypted(&context(), &FIELDS);
    for length in 0..envelope.len() {
        assert_eq!(decrypted(&context(), &envelope[..length], Some(&[])), None, "{length} bytes");
        assert!(envelope_fields(&envelope[..length]).is_err());
    }
    assert_eq!(decrypted(&context(), &[&envelope[..], &[0]].concat(), Some(&[])), None);
}

#[test]
fn a_dropped_field_is_noticed_whatever_is_asked_for() {
    let envelope = encrypted(&context(), &FIELDS);
    let fields = split(&envelope);
    for kept in 0..7_usize {
        let kept: Vec<&[u8]> = (0..3).filter(|n| kept >> n & 1 == 1).map(|n| fields[n]).collect();
        let dropped = with_fields(&envelope, &kept);
        assert!(envelope_fields(&dropped).is_ok(), "the test makes well-formed envelopes");
        for asked in [None, Some(&[][..]), Some(&[1]), Some(&[7]), Some(&[300]), Some(&[1, 7, 300])] {
            assert_eq!(decrypted(&context(), &dropped, asked), None, "asked for {asked:?}");
        }
    }
}

#[test]
fn values_do_not_move_between_fields_or_versions() {
    let (old, new) = (encrypted(&context(), &FIELDS), encrypted(&context(), &FIELDS));
    let (o, n) = (split(&old), split(&new));
    // The values of fields 1 and 7 have one length: exchange them under their numbers.
    let one = [&n[0][..6], &n[1][6..]].concat();
    let seven = [&n[1][..6], &n[0][6..]].concat();
    assert_eq!(decrypted(&context(), &with_fields(&new, &[&one, &seven, n[2]]), None), None);
    assert_eq!(decrypted(&context(), &with_fields(&new, &[n[1], n[0], n[2]]), None), None);
    for place in 0..3 {
        let mut mixed = n.clone();
        mixed[place] = o[place];
        assert_eq!(decrypted(&context(), &with_fields(&new, &mixed), None), None, "field {place} of an older envelope");
    }
    assert!(decrypted(&context(), &with_fields(&new, &n), None).is_some());
}

#[test]
fn an_envelope_decrypts_in_its_own_context_only() {
    let c = context();
    let contexts = [
        c,
        RecordContext { vault: [0; 16], ..c },
        RecordContext { tenant: [0; 16], ..c },
        RecordContext { subject: [0; 16], ..c },
        RecordContext { groups: groups(0b1110), ..c },
        RecordContext { record: [0; 16], ..c },
        RecordContext { version: 5, ..c },
        RecordContext { schema: 8, ..c },
        RecordContext { label: [0; 32], ..c },
        // Parts of one width exchanged.
        RecordContext { vault: c.tenant, tenant: c.vault, ..c },
        RecordContext { subject: c.record, record: c.subject, ..c },
    ];
    for (made, from) in contexts.iter().enumerate() {
        let envelope = encrypted(from, &FIELDS);
        for (read, to) in contexts.iter().enumerate() {
            // The header claims what the reader expects, as a forger would have it.
            let mut moved = envelope.clone();
            moved[9..17].copy_from_slice(&to.version.to_be_bytes());
            moved[17..21].copy_from_slice(&to.schema.to_be_bytes());
            assert_eq!(decrypted(to, &moved, None).is_some(), made == read, "made for {made}, read for {read}");
            assert_eq!(decrypted(to, &moved, Some(&[])).is_some(), made == read, "made for {made}, read for {read}, no field");
        }
    }
}

#[test]
fn no_two_fields_share_a_key_and_a_nonce_even_when_the_generator_is_stuck() {
    let c = context();
    let used = seen::encryptions(|| {
        random::stuck::at(0, || {
            for n in 0..1_000u32 {
                encrypted(&c, &[(1, &n.to_be_bytes()), (2, b"same"), (300, b"same"), (301, &n.to_be_bytes())]);
            }
            // The same bytes cut differently, one of them so that a value looks like the number of the next field.
            for fields in [
                &[(1, &b"ab"[..]), (2, b"c")][..],
                &[(1, b"a"), (2, b"bc")],
                &[(1, b"abc")],
                &[(2, b"abc")],
                &[(1, b"\0\x02"), (2, b"")],
                &[(1, b""), (2, b"\0\x02")],
            ] {
                encrypted(&c, fields);
                encrypted(&RecordContext { version: 7, ..c }, fields);
                encrypted(&RecordContext { label: [0; 32], ..c }, fields);
                encrypted(&RecordContext { record: [0; 16], ..c }, fields);
            }
        });
    });
    assert_eq!(used.len(), 4_000 + 4 * 10);
    assert!(seen::all_differ(&used));
}

#[test]
fn the_same_version_encrypted_twice_differs() {
    assert_ne!(encrypted(&context(), &FIELDS), encrypted(&context(), &FIELDS));
}

#[test]
fn a_field_twice_or_out_of_order_is_not_an_envelope() {
    let envelope = encrypted(&context(), &FIELDS);
    let f = split(&envelope);
    for fields in [&[f[0], f[0]][..], &[f[1], f[0]], &[f[0], f[1], f[1]]] {
        assert!(matches!(envelope_fields(&with_fields(&envelope, fields)), Err(KeysError::Damaged)));
    }
}

#[test]
fn a_group_that_the_record_was_not_written_for_reads_nothing() {
    // As if a wrap for a further group had been planted beside the record.
    let (c, (instance, gate)) = (context(), gate());
    let secret = Secret32::from_slice(&[9; 32]).unwrap();
    let key = RecordKey::new(secret, instance, c.subject, c.record, Through::Writing(groups(0b1110)));
    let permit = gate.permit(c.subject, group(3), None, [0; 16]);
    let refused = key.decrypt(&permit, &c, &encrypted(&c, &FIELDS), None);
    assert!(matches!(refused, Err(KeysError::NotPermitted)));
}

#[test]
fn tags_that_verify_do_not_help_against_a_wrong_commitment() {
    let mut envelope = encrypted(&context(), &FIELDS);
    envelope[45..77].copy_from_slice(&encrypted(&context(), &FIELDS)[45..77]);
    let (fields, decryptions) = seen::decryptions(|| decrypted(&context(), &envelope, None));
    assert_eq!((fields, decryptions), (None, 0), "the cipher ran before the commitment was checked");
}

#[test]
fn a_permit_for_something_else_decrypts_nothing() {
    let (c, (instance, here)) = (context(), gate());
    let (key, permit) = key_for(&c, (instance, &here));
    let envelope = key.encrypt(&c, &FIELDS).unwrap();
    assert!(key.decrypt(&permit, &c, &envelope, None).is_ok());

    let subject = c.subject;
    for (what, permit) in [
        ("another hierarchy", gate().1.permit(subject, group(2), None, [0; 16])),
        ("another subject", here.permit([0; 16], group(2), None, [0; 16])),
        ("another group", here.permit(subject, group(3), None, [0; 16])),
        ("another field", here.permit(subject, group(2), Some(vec![1, 300]), [0; 16])),
    ] {
        let (refused, decryptions) = seen::decryptions(|| key.decrypt(&permit, &c, &envelope, Some(&[1, 7])));
        assert!(matches!(refused, Err(KeysError::NotPermitted)), "{what}");
        assert_eq!(decryptions, 0, "{what}");
    }
}

#[test]
fn a_permit_for_some_fields_gives_those_when_none_is_named() {
    let (c, (instance, gate)) = (context(), gate());
    let (key, _) = key_for(&c, (instance, &gate));
    let envelope = key.encrypt(&c, &FIELDS).unwrap();
    let permit = gate.permit(c.subject, group(2), Some(vec![300, 1, 9]), [0; 16]);
    let numbers: Vec<u16> = key.decrypt(&permit, &c, &envelope, None).unwrap().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 300]);
}

#[test]
fn a_key_opened_through_one_group_does_not_read_for_another() {
    let (c, (instance, gate)) = (context(), gate());
    let key = |through| RecordKey::new(Secret32::from_slice(&[9; 32]).unwrap(), instance, c.subject, c.record, through);
    let envelope = encrypted(&c, &FIELDS);
    let through_1 = gate.permit(c.subject, group(1), None, [0; 16]);
    let reading = key(Through::Reading(groups(0b100))).decrypt(&through_1, &c, &envelope, None);
    assert!(matches!(reading, Err(KeysError::NotPermitted)));
    let writing = key(Through::Writing(groups(0b100))).decrypt(&through_1, &c, &envelope, None);
    assert!(matches!(writing, Err(KeysError::Destroyed)));
    assert!(key(Through::Writing(groups(0b110))).decrypt(&through_1, &c, &envelope, None).is_ok());
}

proptest! {
    #[test]
    fn any_record_round_trips(fields in prop::collection::btree_map(any::<u16>(), prop::collection::vec(any::<u8>(), 0..80), 0..12),
                              version: u64, schema: u32, label: [u8; 32]) {
        let c = RecordContext { version, schema, label, ..context() };
        let list: Vec<(u16, &[u8])> = fields.iter().map(|(number, plain)| (*number, plain.as_slice())).collect();
        prop_assert_eq!(decrypted(&c, &encrypted(&c, &list), None), Some(fields.into_iter().collect()));
    }

    #[test]
    fn hostile_bytes_never_decrypt_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), place in 0_usize..200, framed: bool) {
        let envelope = encrypted(&context(), &FIELDS);
        let start = place.min(envelope.len());
        let hostile = if framed { [&envelope[..start], &bytes].concat() } else { bytes };
        prop_assume!(hostile != envelope);
        let _ = envelope_fields(&hostile);
        let _ = envelope_version(&hostile);
        prop_assert_eq!(decrypted(&context(), &hostile, None), None);
    }
}
