//! Row keys: the letter of their kind, then fixed-width parts.

use crate::model::ids::{
    CallerId, CaseId, ConsentId, DeliveryId, DisclosureId, ErasureId, IncidentId, KeyJobId, NoticeId, PaperId, RecordId,
    RequestId, RestrictionId, SubjectId, TenantId,
};

/// The key of a row, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// `m`: what the vault knows about its own store.
    Meta(Meta),
    /// `n`: a node or bucket of the key tree; the root row is map 255, level 0, index 0.
    Tree {
        /// Which tree.
        map: u8,
        /// How far below the top, 0 at the top.
        level: u8,
        /// Place within the level.
        index: u32,
    },
    /// `s`: the state of a subject.
    Subject(SubjectId),
    /// `r`: a record's newest version.
    Record(SubjectId, RecordId),
    /// `v`: a piece of an envelope that is too large for the record's own row.
    Overflow {
        /// Whose record.
        subject: SubjectId,
        /// Which record.
        record: RecordId,
        /// The version that the piece belongs to.
        version: u64,
        /// Its place, from 0.
        chunk: u16,
    },
    /// `c`: a contract of a subject, by the keyed digest of its reference.
    Contract(SubjectId, [u8; 16]),
    /// `o`: a piece of what a controller drafted, proposed or published.
    Policy {
        /// Whose.
        tenant: TenantId,
        /// Which of these it is.
        part: PolicyPart,
        /// Keyed digest of the entry's kind and id for a draft, zeros for the proposal, the number of the version (u64) behind
        /// zeros for a version.
        name: [u8; 16],
        /// Its place, from 0.
        chunk: u16,
    },
    /// `g`: a consent event of a subject. Never overwritten.
    Consent(SubjectId, ConsentId),
    /// `l`: a restriction of a subject and what was done with it.
    Restriction(SubjectId, RestrictionId),
    /// `q`: a request of a person.
    Request(RequestId),
    /// `p`: a paper of a request or a case, under a key of its own. The first part is the id of what it belongs to.
    Paper([u8; 16], PaperId),
    /// `a`: a case of a disclosure that two people decide.
    Case(CaseId),
    /// `w`: a message on its way out.
    Delivery(DeliveryId),
    /// `z`: an incident.
    Incident(IncidentId),
    /// `d`: what of a subject went to a partner.
    Disclosure(SubjectId, DisclosureId),
    /// `u`: what a partner that got something of a subject is to hear of.
    Update(SubjectId, [u8; 16]),
    /// `b`: a notice to be sent to a subject.
    Notice(SubjectId, NoticeId),
    /// `x`: a subject that is gone, by the digest of its id.
    Tombstone([u8; 16]),
    /// `e`: an erasure.
    Erasure(ErasureId),
    /// `k`: a caller.
    Caller(CallerId),
    /// `t`: a token, by the keyed digest of its secret.
    Token([u8; 32]),
    /// `f`: a caller's second factor.
    Factor(CallerId),
    /// `y`: a count of the statistics, which no subject's row and no other row of the vault leads to.
    Statistic {
        /// Whose.
        tenant: [u8; 16],
        /// The number of the measure.
        measure: u16,
        /// The day, counted from 1970-01-01.
        day: u32,
        /// Keyed digest of the values that it is broken down by.
        values: [u8; 16],
    },
    /// `i`: an answer that is repeated for the same idempotency key.
    Idempotency([u8; 16]),
    /// `h`: how far the sweep has come.
    Sweep,
    /// `K`: how a signing key followed the one before it, by its number.
    Succession(u32),
    /// `J`: a rotation of keys.
    Job(KeyJobId),
    /// `j`: how far the trail is matched by committed batches.
    Mark,
}

/// What a row under `o` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PolicyPart {
    /// An entry that somebody wants to be otherwise.
    Draft = 1,
    /// The proposal that waits for its second person.
    Proposal = 2,
    /// A published version.
    Version = 3,
    /// How far the telling of a published version has come.
    Telling = 4,
}

impl PolicyPart {
    const ALL: [Self; 4] = [Self::Draft, Self::Proposal, Self::Version, Self::Telling];

    fn parse(part: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|own| *own as u8 == part)
    }
}

/// The rows under `m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Meta {
    /// The version of the layout, u32: [`FORMAT`](super::FORMAT).
    Format = 1,
    /// The vault's id, 16 bytes.
    Vault = 2,
    /// When the current epoch was opened, microseconds since 1970, i64.
    EpochOpened = 3,
    /// Settings of the vault that officers change, W1 kind 5.
    Settings = 4,
    /// When each kind of key was last turned over, W1 kind 5.
    KeyAges = 5,
}

impl RowKey {
    /// The bytes of the key.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Meta(what) => vec![b'm', *what as u8],
            Self::Tree { map, level, index } => [b"n".as_slice(), &[*map, *level], &index.to_be_bytes()].concat(),
            Self::Subject(subject) => [b"s".as_slice(), subject.bytes()].concat(),
            Self::Record(subject, record) => [b"r".as_slice(), subject.bytes(), record.bytes()].concat(),
            Self::Overflow { subject, record, version, chunk } => {
                [&prefix::overflow_version(subject, record, *version), chunk.to_be_bytes().as_slice()].concat()
            }
            Self::Contract(subject, reference) => [b"c".as_slice(), subject.bytes(), reference].concat(),
            Self::Policy { tenant, part, name, chunk } => {
                [&prefix::policy(tenant, *part), name.as_slice(), &chunk.to_be_bytes()].concat()
            }
            Self::Consent(subject, consent) => [b"g".as_slice(), subject.bytes(), consent.bytes()].concat(),
            Self::Restriction(subject, restriction) => [b"l".as_slice(), subject.bytes(), restriction.bytes()].concat(),
            Self::Request(request) => [b"q".as_slice(), request.bytes()].concat(),
            Self::Paper(file, paper) => [&prefix::papers(file), paper.bytes().as_slice()].concat(),
            Self::Case(case) => [b"a".as_slice(), case.bytes()].concat(),
            Self::Delivery(delivery) => [b"w".as_slice(), delivery.bytes()].concat(),
            Self::Incident(incident) => [b"z".as_slice(), incident.bytes()].concat(),
            Self::Disclosure(subject, disclosure) => [b"d".as_slice(), subject.bytes(), disclosure.bytes()].concat(),
            Self::Update(subject, update) => [b"u".as_slice(), subject.bytes(), update].concat(),
            Self::Notice(subject, notice) => [b"b".as_slice(), subject.bytes(), notice.bytes()].concat(),
            Self::Tombstone(digest) => [b"x".as_slice(), digest].concat(),
            Self::Erasure(erasure) => [b"e".as_slice(), erasure.bytes()].concat(),
            Self::Caller(caller) => [b"k".as_slice(), caller.bytes()].concat(),
            Self::Token(digest) => [b"t".as_slice(), digest].concat(),
            Self::Factor(caller) => [b"f".as_slice(), caller.bytes()].concat(),
            Self::Statistic { tenant, measure, day, values } => {
                [&prefix::statistics(tenant, *measure), day.to_be_bytes().as_slice(), values].concat()
            }
            Self::Idempotency(digest) => [b"i".as_slice(), digest].concat(),
            Self::Sweep => vec![b'h'],
            Self::Succession(number) => [b"K".as_slice(), &number.to_be_bytes()].concat(),
            Self::Job(job) => [b"J".as_slice(), job.bytes()].concat(),
            Self::Mark => vec![b'j'],
        }
    }

    /// Takes a key apart; `None` when it is none of ours.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (letter, rest) = key.split_first()?;
        let mut rest = Parts(rest);
        let key = match letter {
            b'm' => Self::Meta(Meta::parse(rest.take::<1>()?[0])?),
            b'n' => {
                let [map, level] = rest.take()?;
                Self::Tree { map, level, index: u32::from_be_bytes(rest.take()?) }
            }
            b's' => Self::Subject(rest.subject()?),
            b'r' => Self::Record(rest.subject()?, rest.record()?),
            b'v' => Self::Overflow {
                subject: rest.subject()?,
                record: rest.record()?,
                version: u64::from_be_bytes(rest.take()?),
                chunk: u16::from_be_bytes(rest.take()?),
            },
            b'c' => Self::Contract(rest.subject()?, rest.take()?),
            b'o' => Self::Policy {
                tenant: TenantId::from_bytes(rest.take()?),
                part: PolicyPart::parse(rest.take::<1>()?[0])?,
                name: rest.take()?,
                chunk: u16::from_be_bytes(rest.take()?),
            },
            b'g' => Self::Consent(rest.subject()?, ConsentId::from_bytes(rest.take()?)),
            b'l' => Self::Restriction(rest.subject()?, RestrictionId::from_bytes(rest.take()?)),
            b'q' => Self::Request(RequestId::from_bytes(rest.take()?)),
            b'p' => Self::Paper(rest.take()?, PaperId::from_bytes(rest.take()?)),
            b'a' => Self::Case(CaseId::from_bytes(rest.take()?)),
            b'w' => Self::Delivery(DeliveryId::from_bytes(rest.take()?)),
            b'z' => Self::Incident(IncidentId::from_bytes(rest.take()?)),
            b'd' => Self::Disclosure(rest.subject()?, DisclosureId::from_bytes(rest.take()?)),
            b'u' => Self::Update(rest.subject()?, rest.take()?),
            b'b' => Self::Notice(rest.subject()?, NoticeId::from_bytes(rest.take()?)),
            b'x' => Self::Tombstone(rest.take()?),
            b'e' => Self::Erasure(ErasureId::from_bytes(rest.take()?)),
            b'k' => Self::Caller(CallerId::from_bytes(rest.take()?)),
            b't' => Self::Token(rest.take()?),
            b'f' => Self::Factor(CallerId::from_bytes(rest.take()?)),
            b'y' => Self::Statistic {
                tenant: rest.take()?,
                measure: u16::from_be_bytes(rest.take()?),
                day: u32::from_be_bytes(rest.take()?),
                values: rest.take()?,
            },
            b'i' => Self::Idempotency(rest.take()?),
            b'h' => Self::Sweep,
            b'K' => Self::Succession(u32::from_be_bytes(rest.take()?)),
            b'J' => Self::Job(KeyJobId::from_bytes(rest.take()?)),
            b'j' => Self::Mark,
            _ => return None,
        };
        rest.0.is_empty().then_some(key)
    }
}

impl Meta {
    const ALL: [Self; 5] = [Self::Format, Self::Vault, Self::EpochOpened, Self::Settings, Self::KeyAges];

    fn parse(what: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|meta| *meta as u8 == what)
    }
}

/// What to scan for.
pub mod prefix {
    use super::PolicyPart;
    use crate::model::ids::{RecordId, SubjectId, TenantId};

    /// Every record of a subject.
    pub fn records(subject: &SubjectId) -> Vec<u8> {
        of(b'r', subject)
    }

    /// Every piece of every large record of a subject.
    pub fn overflow(subject: &SubjectId) -> Vec<u8> {
        of(b'v', subject)
    }

    /// Every piece of one large record, all versions.
    pub fn overflow_record(subject: &SubjectId, record: &RecordId) -> Vec<u8> {
        [&of(b'v', subject), record.bytes().as_slice()].concat()
    }

    /// Every piece of one version of a large record, in order.
    pub fn overflow_version(subject: &SubjectId, record: &RecordId, version: u64) -> Vec<u8> {
        [&overflow_record(subject, record), version.to_be_bytes().as_slice()].concat()
    }

    /// Every contract of a subject.
    pub fn contracts(subject: &SubjectId) -> Vec<u8> {
        of(b'c', subject)
    }

    /// Every piece of what a controller drafted, proposed or published.
    pub fn policy(tenant: &TenantId, part: PolicyPart) -> Vec<u8> {
        [b"o".as_slice(), tenant.bytes(), &[part as u8]].concat()
    }

    /// Every consent event of a subject.
    pub fn consents(subject: &SubjectId) -> Vec<u8> {
        of(b'g', subject)
    }

    /// Every count of one measure, in the order of the days.
    pub fn statistics(tenant: &[u8; 16], measure: u16) -> Vec<u8> {
        [b"y".as_slice(), tenant, &measure.to_be_bytes()].concat()
    }

    /// Every restriction of a subject.
    pub fn restrictions(subject: &SubjectId) -> Vec<u8> {
        of(b'l', subject)
    }

    /// Every paper of a request or a case.
    pub fn papers(file: &[u8; 16]) -> Vec<u8> {
        [b"p".as_slice(), file].concat()
    }

    /// Every request.
    pub const REQUESTS: &[u8] = b"q";

    /// Every case.
    pub const CASES: &[u8] = b"a";

    /// Every message on its way out.
    pub const DELIVERIES: &[u8] = b"w";

    /// Every succession of a signing key, oldest first.
    pub const SUCCESSIONS: &[u8] = b"K";

    /// Every rotation of keys.
    pub const JOBS: &[u8] = b"J";

    /// Every incident.
    pub const INCIDENTS: &[u8] = b"z";

    /// Every disclosure of every subject.
    pub const DISCLOSURES: &[u8] = b"d";

    /// Every update of every subject.
    pub const UPDATES: &[u8] = b"u";

    /// Every disclosure of a subject.
    pub fn disclosures(subject: &SubjectId) -> Vec<u8> {
        of(b'd', subject)
    }

    /// Every update about a subject.
    pub fn updates(subject: &SubjectId) -> Vec<u8> {
        of(b'u', subject)
    }

    /// Every letter to a subject.
    pub fn notices(subject: &SubjectId) -> Vec<u8> {
        of(b'b', subject)
    }

    /// Everything that belongs to a subject alone: state, records, overflow, contracts, consents, restrictions, disclosures,
    /// updates, notices.
    pub fn all_of(subject: &SubjectId) -> [Vec<u8>; 9] {
        [b's', b'r', b'v', b'c', b'g', b'l', b'd', b'u', b'b'].map(|letter| of(letter, subject))
    }

    fn of(letter: u8, subject: &SubjectId) -> Vec<u8> {
        [&[letter], subject.bytes().as_slice()].concat()
    }
}

/// The rest of a key, from which fixed-width parts are taken.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*part)
    }

    fn subject(&mut self) -> Option<SubjectId> {
        self.take().map(SubjectId::from_bytes)
    }

    fn record(&mut self) -> Option<RecordId> {
        self.take().map(RecordId::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::MAX_KEY;
    use super::*;

    fn one_of_each() -> Vec<(RowKey, usize)> {
        let subject = SubjectId::from_bytes([1; 16]);
        let record = RecordId::from_bytes([2; 16]);
        vec![
            (RowKey::Meta(Meta::Settings), 2),
            (RowKey::Tree { map: 255, level: 0, index: 0x0102_0304 }, 7),
            (RowKey::Subject(subject), 17),
            (RowKey::Record(subject, record), 33),
            (RowKey::Overflow { subject, record, version: 3, chunk: 4 }, 43),
            (RowKey::Contract(subject, [5; 16]), 33),
            (RowKey::Policy { tenant: TenantId::from_bytes([14; 16]), part: PolicyPart::Version, name: [15; 16], chunk: 2 }, 36),
            (RowKey::Consent(subject, ConsentId::from_bytes([11; 16])), 33),
            (RowKey::Restriction(subject, RestrictionId::from_bytes([12; 16])), 33),
            (RowKey::Request(RequestId::from_bytes([13; 16])), 17),
            (RowKey::Disclosure(subject, DisclosureId::from_bytes([14; 16])), 33),
            (RowKey::Update(subject, [15; 16]), 33),
            (RowKey::Notice(subject, NoticeId::from_bytes([16; 16])), 33),
            (RowKey::Paper([17; 16], PaperId::from_bytes([18; 16])), 33),
            (RowKey::Case(CaseId::from_bytes([19; 16])), 17),
            (RowKey::Delivery(DeliveryId::from_bytes([20; 16])), 17),
            (RowKey::Incident(IncidentId::from_bytes([21; 16])), 17),
            (RowKey::Tombstone([6; 16]), 17),
            (RowKey::Erasure(ErasureId::from_bytes([7; 16])), 17),
            (RowKey::Caller(CallerId::from_bytes([8; 16])), 17),
            (RowKey::Token([9; 32]), 33),
            (RowKey::Idempotency([10; 16]), 17),
            (RowKey::Factor(CallerId::from_bytes([8; 16])), 17),
            (RowKey::Statistic { tenant: [12; 16], measure: 1, day: 20_780, values: [13; 16] }, 39),
            (RowKey::Sweep, 1),
            (RowKey::Job(KeyJobId::from_bytes([22; 16])), 17),
            (RowKey::Succession(7), 5),
            (RowKey::Mark, 1),
        ]
    }

    #[test]
    fn every_key_survives_its_bytes_and_has_the_drawn_length() {
        for (key, length) in one_of_each() {
            let bytes = key.bytes();
            assert_eq!(bytes.len(), length, "{key:?}");
            assert!(bytes.len() <= MAX_KEY);
            assert_eq!(RowKey::parse(&bytes), Some(key));
        }
        for meta in Meta::ALL {
            assert_eq!(RowKey::parse(&RowKey::Meta(meta).bytes()), Some(RowKey::Meta(meta)));
        }
    }

    #[test]
    fn a_key_that_is_cut_or_longer_or_unknown_is_none_of_ours() {
        for (key, _) in one_of_each() {
            let bytes = key.bytes();
            assert_eq!(RowKey::parse(&[&bytes, [0].as_slice()].concat()), None, "{key:?}");
            assert_eq!(RowKey::parse(&bytes[..bytes.len() - 1]), None, "{key:?}");
        }
        assert_eq!(RowKey::parse(b"Z"), None);
        assert_eq!(RowKey::parse(b"m\xee"), None);
    }

    #[test]
    fn a_subjects_rows_start_with_its_prefixes_and_no_one_elses_do() {
        let subject = SubjectId::from_bytes([1; 16]);
        let prefixes = prefix::all_of(&subject);
        let own = one_of_each().into_iter().filter(|(key, _)| {
            matches!(
                key,
                RowKey::Subject(_)
                    | RowKey::Record(..)
                    | RowKey::Overflow { .. }
                    | RowKey::Contract(..)
                    | RowKey::Consent(..)
                    | RowKey::Restriction(..)
                    | RowKey::Disclosure(..)
                    | RowKey::Update(..)
                    | RowKey::Notice(..)
            )
        });
        for (key, _) in own {
            assert_eq!(prefixes.iter().filter(|prefix| key.bytes().starts_with(prefix)).count(), 1, "{key:?}");
        }
        let other = RowKey::Record(SubjectId::from_bytes([2; 16]), RecordId::from_bytes([1; 16])).bytes();
        assert!(!prefixes.iter().any(|prefix| other.starts_with(prefix)));
    }
}
