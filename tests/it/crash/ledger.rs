//! What must be there after a crash: all that was acknowledged, and of what was under way either all or nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use oubliette::audit;
use oubliette::audit::note::VerifyingKey;
use oubliette::model::code::Code;
use oubliette::model::ids::{ErasureId, RecordId, SubjectId};
use oubliette::model::time::Clock;
use oubliette::vault::Vault;
use oubliette::vault::check::check;
use serde_json::Value;

use super::house::{self, House};
use super::load::{Deed, Line, Living, Text};
use crate::recorder::Random;

/// One person, as far as was acknowledged.
#[derive(Clone, Default)]
struct Person {
    id: Option<SubjectId>,
    records: BTreeMap<RecordId, (u64, Text)>,
    withdrawn: bool,
    erased: bool,
    erasures: BTreeMap<ErasureId, bool>,
    /// Changed since the last check.
    touched: bool,
}

/// Everybody, by address, and what each worker has under way.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    people: BTreeMap<String, Person>,
    under_way: BTreeMap<usize, (String, Deed)>,
    /// Calls that were acknowledged, by name.
    pub(super) acknowledged: BTreeMap<&'static str, u64>,
    /// Calls that were cut off, and took effect.
    pub(super) came_true: u64,
    /// Calls that were cut off, and left nothing.
    pub(super) left_nothing: u64,
}

impl Ledger {
    /// Takes a process's report in. Whether the process got as far as serving, and whether it closed in order.
    pub(super) fn read(&mut self, lines: Vec<Line>) -> (bool, bool) {
        let (mut ready, mut closed) = (false, false);
        for line in lines {
            match line {
                Line::Ready => ready = true,
                Line::Closed => closed = true,
                Line::Refused(_, refused) => panic!("a call was refused: {refused}"),
                Line::Begins(worker, email, deed) => drop(self.under_way.insert(worker, (email, deed))),
                Line::Done(worker, made) => {
                    let (email, deed) = self.under_way.remove(&worker).unwrap();
                    *self.acknowledged.entry(name(&deed)).or_default() += 1;
                    self.take(&email, deed, made.as_deref().unwrap_or_default());
                }
            }
        }
        (ready, closed)
    }

    fn take(&mut self, email: &str, deed: Deed, made: &str) {
        let person = self.people.entry(email.to_owned()).or_default();
        person.touched = true;
        match deed {
            Deed::Create => person.id = Some(made.parse().unwrap()),
            Deed::Write(text) => drop(person.records.insert(made.parse().unwrap(), (1, text))),
            Deed::Rectify(record, version, text) => drop(person.records.insert(record, (version + 1, text))),
            Deed::Delete(record) => drop(person.records.remove(&record)),
            Deed::Open(_) => drop(person.erasures.insert(made.parse().unwrap(), false)),
            Deed::Approve(whole, erasure) => {
                person.erasures.insert(erasure, true);
                if whole {
                    person.erased = true;
                    person.records.clear();
                } else {
                    person.withdrawn = true;
                }
            }
            Deed::Rotate => {}
        }
    }

    /// Some who live, for the next process to work with.
    pub(super) fn living(&self, most: usize, random: &mut Random) -> Vec<Living> {
        let mut living: Vec<Living> = Vec::new();
        for (email, person) in &self.people {
            if let (Some(id), false) = (person.id, person.erased) {
                let records = person.records.iter().map(|(id, (version, _))| (*id, *version)).collect();
                living.push(Living { email: email.clone(), id, records, withdrawn: person.withdrawn });
            }
        }
        while living.len() > most {
            living.swap_remove(random.below(living.len() as u64) as usize);
        }
        living
    }

    /// Opens the vault and looks: at everybody whom the last process touched, at one in `rest` of the others. What was under
    /// way is settled by what is there.
    pub(super) async fn look(&mut self, directory: &Path, tokens: &Path, rest: u64, random: &mut Random) {
        let config = oubliette::vault::VaultConfig {
            trail_reads: audit::Mode::Written,
            on_fatal: Arc::new(|step| panic!("fatal: {step}")),
            ..house::config(directory)
        };
        let vault = Vault::open(&config, Clock::system()).unwrap_or_else(|error| panic!("the vault does not open: {error}"));
        let house = House::unseal(vault, tokens).await;
        for (_, (email, deed)) in std::mem::take(&mut self.under_way) {
            self.settle(&house, &email, deed).await;
        }
        for (email, person) in &mut self.people {
            if std::mem::take(&mut person.touched) || random.below(rest) == 0 {
                person.compare(&house, email).await;
            }
        }
        house.vault.close().await;
    }

    /// All or nothing: what was cut off is there as if it had been acknowledged, or it is not there at all.
    async fn settle(&mut self, house: &House, email: &str, deed: Deed) {
        let mut person = self.people.get(email).cloned().unwrap_or_default();
        let mut made = String::new();
        let came_true = match &deed {
            Deed::Create => {
                let found = house.find(email).await;
                made = found.map(|id| id.to_string()).unwrap_or_default();
                found.is_some()
            }
            Deed::Write(text) => {
                let there = person.there(house, "a-account").await.unwrap();
                let new = there.iter().find(|(id, _)| !person.records.contains_key(id));
                if let Some((id, (version, there))) = new {
                    assert_eq!((*version, there), (1, &text.whole()), "a record that nobody wrote");
                    made = id.to_string();
                }
                new.is_some()
            }
            Deed::Rectify(record, version, _) => {
                let there = person.there(house, "a-account").await.unwrap();
                there.get(record).is_some_and(|there| there.0 == version + 1)
            }
            Deed::Delete(record) => !person.there(house, "a-account").await.unwrap().contains_key(record),
            // An erasure that was opened and not answered is known to nobody.
            Deed::Open(_) | Deed::Rotate => false,
            Deed::Approve(_, erasure) => {
                let state = house.state(*erasure).await.expect("an erasure that was opened is there");
                assert!(["requested", "sealed"].contains(&state.as_str()), "an erasure is left {state} by a start");
                state == "sealed"
            }
        };
        if came_true {
            self.came_true += 1;
            self.take(email, deed, &made);
        } else {
            self.left_nothing += 1;
            person.touched = true;
            if !matches!(deed, Deed::Create) {
                self.people.insert(email.to_owned(), person);
            }
        }
    }

    /// Walks the trail of a closed vault and every row of its store. Gives how many entries and rows there are.
    pub(super) fn verify(directory: &Path, public: &VerifyingKey) -> (u64, u64) {
        let report = check(&house::config(directory), &public.public).unwrap();
        assert_eq!(report.first_break, None, "{}", report.first_break.as_ref().unwrap());
        assert_eq!((report.rows_wrong, report.rows_missing), (0, 0));
        assert!(report.lost.is_empty(), "the trail lost entries: {:?}", report.lost);
        (report.entries, report.rows_checked)
    }

    pub(super) fn touch_all(&mut self) {
        self.people.values_mut().for_each(|person| person.touched = true);
    }

    pub(super) fn len(&self) -> usize {
        self.people.len()
    }
}

impl Person {
    /// Version and address of every record that the purpose sees.
    async fn there(&self, house: &House, purpose: &str) -> Result<BTreeMap<RecordId, (u64, Value)>, Code> {
        let there = house.read(self.id.unwrap(), purpose).await.map_err(|refused| refused.code)?;
        Ok(there.into_iter().map(|(id, (version, fields))| (id, (version, fields["address"].clone()))).collect())
    }

    /// Everything that was acknowledged is there with its exact content, and nothing else.
    async fn compare(&self, house: &House, email: &str) {
        let Some(id) = self.id else { return };
        for (erasure, sealed) in &self.erasures {
            let state = house.state(*erasure).await.expect("an erasure that was opened is there");
            assert!(!sealed || state == "sealed", "{email}: a sealed erasure is {state}");
        }
        let found = house.find(email).await;
        if self.erased {
            assert_eq!(found, None, "{email} was erased and is found");
            for purpose in ["b-service", "c-marketing"] {
                assert_eq!(self.there(house, purpose).await, Err(Code::Erased), "{email} was erased and is read");
            }
            return;
        }
        assert_eq!(found, Some(id), "{email} lives and is not found");
        let expected: BTreeMap<_, _> = self.records.iter().map(|(id, (version, text))| (*id, (*version, text.whole()))).collect();
        assert_eq!(self.there(house, "a-account").await, Ok(expected), "{email} is not as it was acknowledged");
        if self.withdrawn {
            // A consent does not bring the key back.
            house.agree(id, "c-marketing").await.expect("a consent can be given again");
            let marketing = self.there(house, "c-marketing").await;
            let nothing = marketing == Err(Code::KeyDestroyed) || marketing == Ok(BTreeMap::new());
            assert!(nothing, "{email} withdrew marketing: {marketing:?}");
        }
    }
}

fn name(deed: &Deed) -> &'static str {
    match deed {
        Deed::Create => "people",
        Deed::Write(_) => "records",
        Deed::Rectify(..) => "rectifications",
        Deed::Delete(_) => "deletions",
        Deed::Open(_) => "erasures opened",
        Deed::Approve(true, _) => "erasures sealed",
        Deed::Approve(false, _) => "withdrawals sealed",
        Deed::Rotate => "rotations",
    }
}
