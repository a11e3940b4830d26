//! The plain model: what everybody who asks must find.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::model::ids::{RecordId, SubjectId};

/// People whom one world knows.
const PEOPLE: usize = 6;

/// One operation, on the person of that number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Create(usize),
    Write(usize),
    /// A record for each of them, in one batch of the API.
    Batch(Vec<usize>),
    /// A record for each of them, at once.
    Burst(Vec<usize>),
    Rectify(usize, RecordId),
    Delete(usize, RecordId),
    Erase(usize),
    Read(usize),
    RotateEpoch,
    /// Minutes.
    Jump(i64),
    /// The next batch is refused because the disk is full.
    Full(usize),
}

/// Where somebody is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    Unknown,
    Here,
    /// An erasure of theirs was asked for and not answered: nobody touches them before it is known.
    Leaving,
    Erased,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Person {
    pub(super) email: String,
    pub(super) id: Option<SubjectId>,
    pub(super) life: Life,
    /// Whether the contract was answered: without it nobody reads for the service.
    pub(super) contract: bool,
    /// Each record's version and name.
    pub(super) records: BTreeMap<RecordId, (u64, String)>,
}

/// What was asked and never answered.
#[derive(Debug, Clone)]
pub(super) enum Unanswered {
    Create(usize),
    /// With the name in it and the Idempotency-Key.
    Write(usize, String, String),
    /// The name in it; batches repeat no key here.
    BatchWrite(usize, String),
    Rectify(usize, RecordId, String),
    Delete(usize, RecordId),
    Erase(usize),
}

pub(super) struct Model {
    pub(super) people: Vec<Person>,
    pub(super) unanswered: Vec<Unanswered>,
    /// The last write that was answered: person, name, key, record.
    pub(super) last: Option<(usize, String, String, RecordId)>,
    count: u64,
}

impl Model {
    pub(super) fn new() -> Self {
        let people =
            (0..PEOPLE).map(|number| Person { email: format!("person{number}@example.org"), ..Person::default() }).collect();
        Self { people, unanswered: Vec::new(), last: None, count: 0 }
    }

    /// A text that no other call has.
    pub(super) fn word(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what} {}", self.count)
    }

    pub(super) fn erased(&self) -> usize {
        self.people.iter().filter(|person| person.life == Life::Erased).count()
    }

    fn those(&self, life: Life) -> Vec<usize> {
        (0..self.people.len()).filter(|&at| self.people[at].life == life).collect()
    }
}

impl Op {
    /// Something that can be done now.
    pub(super) fn draw(model: &Model, random: &mut StdRng) -> Self {
        let (here, unknown) = (model.those(Life::Here), model.those(Life::Unknown));
        if here.is_empty() {
            return unknown.first().map_or(Self::RotateEpoch, |&at| Self::Create(at));
        }
        let at = here[random.random_range(0..here.len())];
        let record = |random: &mut StdRng| {
            let records = &model.people[at].records;
            (!records.is_empty()).then(|| *records.keys().nth(random.random_range(0..records.len())).unwrap())
        };
        match random.random_range(0..100) {
            0..18 => unknown.first().map_or(Self::Write(at), |&new| Self::Create(new)),
            18..38 => Self::Write(at),
            38..46 => Self::Batch(here),
            46..54 => Self::Burst(here),
            54..66 => record(random).map_or(Self::Write(at), |id| Self::Rectify(at, id)),
            66..74 => record(random).map_or(Self::Write(at), |id| Self::Delete(at, id)),
            74..82 => Self::Erase(at),
            82..88 => Self::Read(at),
            88..92 => Self::RotateEpoch,
            92..97 => Self::Jump(random.random_range(-30..90)),
            _ => Self::Full(at),
        }
    }
}
