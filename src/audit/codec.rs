//! The canonical bytes of an entry: deterministic CBOR (RFC 8949 §4.2.1), a map with small integer keys.
//!
//! ```text
//!  0 version (1)   1 time, µs since 1970   2 decision 16 B   3 operation   4 caller 16 B?   5 token 16 B?   6 purpose?
//!  7 tag 16 B?     8 outcome: 0 allowed | 2 done | 3 void | [guard or null, code]   9 fields [u16…]?   10 records?
//! 11 policy       12 dropped, n × 32 B?   13 written, n × 32 B?   14 note [kind, …]?   15 batch?
//! 16 fields masked [u16…]?   17 fields of high sensitivity in clear [u16…]?
//! ```
//! What is empty is left out. There is one encoding of an entry and the decoder takes no other, so that the bytes can be
//! made again from the entry and hash to the same leaf.

use std::borrow::Cow;
use std::convert::Infallible;

use jiff::Timestamp;
use minicbor::{Decoder, Encoder};

use super::entry::{Entry, Note, Obligations, Outcome};
use crate::model::code::Code;
use crate::model::ids::{CallerId, ConsentId, DecisionId, ErasureId, TokenId};

/// The longest entry, in bytes. A larger operation is written as several entries.
pub const LONGEST: usize = 4 * 1024 * 1024;

/// Bytes that are not an entry in canonical form, or an entry that has none (too long, or a name with other characters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an entry in canonical form")]
pub struct BadEntry;

impl From<minicbor::decode::Error> for BadEntry {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

impl From<minicbor::encode::Error<Infallible>> for BadEntry {
    fn from(_: minicbor::encode::Error<Infallible>) -> Self {
        Self
    }
}

/// Adds the entry's canonical bytes to `out`. After an error `out` holds a part of them.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) -> Result<(), BadEntry> {
    let start = out.len();
    let members = 6 + [
        entry.caller.is_some(),
        entry.token.is_some(),
        entry.purpose.is_some(),
        entry.tag.is_some(),
        !entry.fields.is_empty(),
        entry.records != 0,
        !entry.dropped.is_empty(),
        !entry.written.is_empty(),
        entry.note != Note::None,
        entry.batch != 0,
        !entry.obligations.masked.is_empty(),
        !entry.obligations.clear.is_empty(),
    ]
    .into_iter()
    .filter(|there| *there)
    .count() as u64;
    let mut e = Encoder::new(&mut *out);
    e.map(members)?.u8(0)?.u8(1)?.u8(1)?.i64(entry.at.as_microsecond())?.u8(2)?.bytes(entry.decision.bytes())?;
    e.u8(3)?.str(name(&entry.operation)?)?;
    if let Some(caller) = &entry.caller {
        e.u8(4)?.bytes(caller.bytes())?;
    }
    if let Some(token) = &entry.token {
        e.u8(5)?.bytes(token.bytes())?;
    }
    if let Some(purpose) = &entry.purpose {
        e.u8(6)?.str(name(purpose)?)?;
    }
    if let Some(tag) = &entry.tag {
        e.u8(7)?.bytes(tag)?;
    }
    e.u8(8)?;
    match &entry.outcome {
        Outcome::Allowed => e.u8(0)?,
        Outcome::Done => e.u8(2)?,
        Outcome::Void => e.u8(3)?,
        Outcome::Refused { guard, code } => {
            e.array(2)?;
            match guard {
                Some(guard) => e.str(name(guard)?)?,
                None => e.null()?,
            };
            e.str(code.text())?
        }
    };
    encode_fields(9, &entry.fields, &mut e)?;
    if entry.records != 0 {
        e.u8(10)?.u32(entry.records)?;
    }
    e.u8(11)?.str(name(&entry.policy)?)?;
    for (key, hashes) in [(12, &entry.dropped), (13, &entry.written)] {
        if !hashes.is_empty() {
            e.u8(key)?.bytes(hashes.as_flattened())?;
        }
    }
    encode_note(&entry.note, &mut e)?;
    if entry.batch != 0 {
        e.u8(15)?.u64(entry.batch)?;
    }
    encode_fields(16, &entry.obligations.masked, &mut e)?;
    encode_fields(17, &entry.obligations.clear, &mut e)?;
    if out.len() - start > LONGEST { Err(BadEntry) } else { Ok(()) }
}

/// The entry behind canonical bytes. Never panics; any other bytes are an error.
pub fn decode(bytes: &[u8]) -> Result<Entry, BadEntry> {
    if bytes.len() > LONGEST {
        return Err(BadEntry);
    }
    let entry = decode_loosely(bytes)?;
    let mut again = Vec::with_capacity(bytes.len());
    encode(&entry, &mut again)?;
    if again == bytes { Ok(entry) } else { Err(BadEntry) }
}

fn encode_fields(key: u8, fields: &[u16], e: &mut Encoder<&mut Vec<u8>>) -> Result<(), BadEntry> {
    if fields.is_empty() {
        return Ok(());
    }
    e.u8(key)?.array(fields.len() as u64)?;
    for field in fields {
        e.u16(*field)?;
    }
    Ok(())
}

fn encode_note(note: &Note, e: &mut Encoder<&mut Vec<u8>>) -> Result<(), BadEntry> {
    if *note != Note::None {
        e.u8(14)?;
    }
    match note {
        Note::None => {}
        Note::Certificate { erasure, sha256 } => {
            e.array(3)?.u8(1)?.bytes(erasure.bytes())?.bytes(sha256)?;
        }
        Note::Void { entries } => {
            e.array(2)?.u8(2)?.array(entries.len() as u64)?;
            for index in entries {
                e.u64(*index)?;
            }
        }
        Note::Epoch { closed, opened } => {
            e.array(3)?.u8(3)?.u64(*closed)?.u64(*opened)?;
        }
        Note::Checkpoint { size, root } => {
            e.array(3)?.u8(4)?.u64(*size)?.bytes(root)?;
        }
        Note::LostTail { expected, root, found } => {
            e.array(4)?.u8(5)?.u64(*expected)?.bytes(root)?.u64(*found)?;
        }
        Note::TornTail { index, bytes } => {
            e.array(3)?.u8(6)?.u64(*index)?.u64(*bytes)?;
        }
        Note::Consent { consent, sha256 } => {
            e.array(3)?.u8(7)?.bytes(consent.bytes())?.bytes(sha256)?;
        }
        Note::SigningKey { number, public, sha256 } => {
            e.array(4)?.u8(8)?.u64(*number)?.bytes(public)?.bytes(sha256)?;
        }
    }
    Ok(())
}

/// Reads the members in their order; everything else about canonical form is left to encoding again.
fn decode_loosely(bytes: &[u8]) -> Result<Entry, BadEntry> {
    let mut d = Decoder::new(bytes);
    let mut members = d.map()?.ok_or(BadEntry)?;
    let mut next = |d: &mut Decoder<'_>, key: u8| -> Result<bool, BadEntry> {
        if members == 0 || d.probe().u8()? != key {
            return Ok(false);
        }
        members -= 1;
        d.u8()?;
        Ok(true)
    };
    let must = |there: bool| if there { Ok(()) } else { Err(BadEntry) };

    must(next(&mut d, 0)? && d.u8()? == 1)?;
    must(next(&mut d, 1)?)?;
    let at = Timestamp::from_microsecond(d.i64()?).map_err(|_| BadEntry)?;
    must(next(&mut d, 2)?)?;
    let decision = DecisionId::from_bytes(fixed(&mut d)?);
    must(next(&mut d, 3)?)?;
    let operation = Cow::Owned(d.str()?.to_owned());
    let caller = if next(&mut d, 4)? { Some(CallerId::from_bytes(fixed(&mut d)?)) } else { None };
    let token = if next(&mut d, 5)? { Some(TokenId::from_bytes(fixed(&mut d)?)) } else { None };
    let purpose = if next(&mut d, 6)? { Some(d.str()?.to_owned()) } else { None };
    let tag = if next(&mut d, 7)? { Some(fixed(&mut d)?) } else { None };
    must(next(&mut d, 8)?)?;
    let outcome = decode_outcome(&mut d)?;
    let fields = if next(&mut d, 9)? { numbers(&mut d)? } else { Vec::new() };
    let records = if next(&mut d, 10)? { d.u32()? } else { 0 };
    must(next(&mut d, 11)?)?;
    let policy = d.str()?.to_owned();
    let dropped = if next(&mut d, 12)? { hashes(&mut d)? } else { Vec::new() };
    let written = if next(&mut d, 13)? { hashes(&mut d)? } else { Vec::new() };
    let note = if next(&mut d, 14)? { decode_note(&mut d)? } else { Note::None };
    let batch = if next(&mut d, 15)? { d.u64()? } else { 0 };
    let masked = if next(&mut d, 16)? { numbers(&mut d)? } else { Vec::new() };
    let clear = if next(&mut d, 17)? { numbers(&mut d)? } else { Vec::new() };
    must(members == 0 && d.position() == bytes.len())?;
    Ok(Entry {
        at,
        decision,
        operation,
        caller,
        token,
        purpose,
        tag,
        outcome,
        fields,
        obligations: Obligations { masked, clear },
        records,
        policy,
        dropped,
        written,
        note,
        batch,
    })
}

fn decode_outcome(d: &mut Decoder<'_>) -> Result<Outcome, BadEntry> {
    if let Ok(kind) = d.probe().u8() {
        d.u8()?;
        return match kind {
            0 => Ok(Outcome::Allowed),
            2 => Ok(Outcome::Done),
            3 => Ok(Outcome::Void),
            _ => Err(BadEntry),
        };
    }
    if d.array()? != Some(2) {
        return Err(BadEntry);
    }
    let guard = if d.probe().null().is_ok() {
        d.null()?;
        None
    } else {
        Some(Cow::Owned(d.str()?.to_owned()))
    };
    let text = d.str()?;
    let code = *Code::ALL.iter().find(|code| code.text() == text).ok_or(BadEntry)?;
    Ok(Outcome::Refused { guard, code })
}

fn decode_note(d: &mut Decoder<'_>) -> Result<Note, BadEntry> {
    let length = d.array()?;
    let note = match (d.u8()?, length) {
        (1, Some(3)) => Note::Certificate { erasure: ErasureId::from_bytes(fixed(d)?), sha256: fixed(d)? },
        (2, Some(2)) => {
            let mut entries = Vec::new();
            for _ in 0..d.array()?.ok_or(BadEntry)? {
                entries.push(d.u64()?);
            }
            Note::Void { entries }
        }
        (3, Some(3)) => Note::Epoch { closed: d.u64()?, opened: d.u64()? },
        (4, Some(3)) => Note::Checkpoint { size: d.u64()?, root: fixed(d)? },
        (5, Some(4)) => Note::LostTail { expected: d.u64()?, root: fixed(d)?, found: d.u64()? },
        (6, Some(3)) => Note::TornTail { index: d.u64()?, bytes: d.u64()? },
        (7, Some(3)) => Note::Consent { consent: ConsentId::from_bytes(fixed(d)?), sha256: fixed(d)? },
        (8, Some(4)) => Note::SigningKey { number: d.u64()?, public: fixed(d)?, sha256: fixed(d)? },
        _ => return Err(BadEntry),
    };
    Ok(note)
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], BadEntry> {
    d.bytes()?.try_into().map_err(|_| BadEntry)
}

fn numbers(d: &mut Decoder<'_>) -> Result<Vec<u16>, BadEntry> {
    let mut numbers = Vec::new();
    for _ in 0..d.array()?.ok_or(BadEntry)? {
        numbers.push(d.u16()?);
    }
    Ok(numbers)
}

fn hashes(d: &mut Decoder<'_>) -> Result<Vec<[u8; 32]>, BadEntry> {
    let (hashes, rest) = d.bytes()?.as_chunks();
    if rest.is_empty() { Ok(hashes.to_vec()) } else { Err(BadEntry) }
}

/// Names in the trail are short visible ASCII, so that no value of a person can end up in it by mistake of a text field.
fn name(text: &str) -> Result<&str, BadEntry> {
    let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text) } else { Err(BadEntry) }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = String> {
        proptest::collection::vec(0x21_u8..0x7f, 1..20).prop_map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Allowed),
            Just(Outcome::Done),
            Just(Outcome::Void),
            (proptest::option::of(names()), 0..Code::ALL.len())
                .prop_map(|(guard, code)| Outcome::Refused { guard: guard.map(Cow::Owned), code: Code::ALL[code] }),
        ]
    }

    fn notes() -> impl Strategy<Value = Note> {
        let hash = any::<[u8; 32]>;
        prop_oneof![
            Just(Note::None),
            (any::<[u8; 16]>(), hash()).prop_map(|(id, sha256)| Note::Certificate { erasure: ErasureId::from_bytes(id), sha256 }),
            (any::<[u8; 16]>(), hash()).prop_map(|(id, sha256)| Note::Consent { consent: ConsentId::from_bytes(id), sha256 }),
            (any::<u64>(), hash(), hash()).prop_map(|(number, public, sha256)| Note::SigningKey { number, public, sha256 }),
            proptest::collection::vec(any::<u64>(), 0..40).prop_map(|entries| Note::Void { entries }),
            any::<[u64; 2]>().prop_map(|[closed, opened]| Note::Epoch { closed, opened }),
            (any::<u64>(), hash()).prop_map(|(size, root)| Note::Checkpoint { size, root }),
            (any::<[u64; 2]>(), hash()).prop_map(|([expected, found], root)| Note::LostTail { expected, root, found }),
            any::<[u64; 2]>().prop_map(|[index, bytes]| Note::TornTail { index, bytes }),
        ]
    }

    prop_compose! {
        /// Any entry that has a canonical form.
        pub(crate) fn entries()(
            (at, ids, operation, policy) in (any::<i32>(), any::<[[u8; 16]; 4]>(), names(), names()),
            (has, purpose, outcome) in (any::<[bool; 3]>(), proptest::option::of(names()), outcomes()),
            (fields, records) in (proptest::collection::vec(any::<u16>(), 0..30), any::<u32>()),
            (masked, clear) in (proptest::collection::vec(any::<u16>(), 0..4), proptest::collection::vec(any::<u16>(), 0..4)),
            dropped in proptest::collection::vec(any::<[u8; 32]>(), 0..4),
            written in proptest::collection::vec(any::<[u8; 32]>(), 0..4),
            note in notes(),
        ) -> Entry {
            Entry {
                caller: has[0].then_some(CallerId::from_bytes(ids[1])),
                token: has[1].then_some(TokenId::from_bytes(ids[2])),
                tag: has[2].then_some(ids[3]),
                purpose, fields, records, dropped, written, note,
                obligations: Obligations { masked, clear },
                ..Entry::new(
                    Timestamp::from_microsecond(i64::from(at) * 1_000_003).unwrap(),
                    DecisionId::from_bytes(ids[0]), operation, outcome, &policy,
                )
            }
        }
    }

    fn bytes(entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        encode(entry, &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_bytes(entry in entries()) {
            prop_assert_eq!(decode(&bytes(&entry)), Ok(entry));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&bytes), Err(BadEntry));
        }

        #[test]
        fn what_decodes_has_exactly_the_bytes_it_came_from(entry in entries(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut changed = bytes(&entry);
            let at = at.index(changed.len());
            changed[at] ^= flip;
            if let Ok(other) = decode(&changed) {
                prop_assert_eq!(bytes(&other), changed);
            }
        }

        #[test]
        fn a_shortened_or_lengthened_entry_is_refused(entry in entries(), cut in any::<prop::sample::Index>()) {
            let whole = bytes(&entry);
            prop_assert!(decode(&whole[..cut.index(whole.len())]).is_err());
            prop_assert!(decode(&[&whole[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn the_longer_form_of_a_number_is_refused() {
        let entry = Entry::new(Timestamp::UNIX_EPOCH, DecisionId::from_bytes([1; 16]), "x", Outcome::Done, "1");
        let short = bytes(&entry);
        assert_eq!(short[..4], [0xa6, 0, 1, 1]);
        let mut long = short.clone();
        long.splice(2..3, [0x18, 1]);
        assert_eq!(decode(&short).unwrap(), entry);
        assert!(decode(&long).is_err());
    }

    #[test]
    fn a_name_with_a_space_or_none_at_all_has_no_bytes() {
        for operation in ["", "a b", "é", "a\n"] {
            let entry = Entry::new(Timestamp::UNIX_EPOCH, DecisionId::from_bytes([1; 16]), operation, Outcome::Done, "1");
            assert_eq!(encode(&entry, &mut Vec::new()), Err(BadEntry));
        }
    }
}
