//! Mixed load on a vault, by workers that say what they are about to do and what was acknowledged, until the vault is gone.
//!
//! They work from inside the process that has the vault open, or over HTTPS. From inside, the report is a file to which every line is appended by one write(2): a kill loses none of them, and in a recording
//! they stand in the order in which things happened.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oubliette::model::ids::{ErasureId, RecordId, SubjectId};
use oubliette::model::time::Clock;
use oubliette::vault::Vault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::house::{self, House, from, group_erasure, id_of, notice, place, runtime, subject_erasure};
use crate::recorder::Random;

pub(super) const CHILD: &str = "crash::load::works_until_it_is_killed";

/// Below the vault's directory.
pub(super) const REPORT: &str = "report";

/// Calls under way at the same time.
pub(super) const WORKERS: usize = 6;

/// What the process is to do, and with whom it can.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) seed: u64,
    /// Different in every round, so that no address is used twice.
    pub(super) round: u64,
    /// Calls before it closes the vault and ends.
    pub(super) calls: u64,
    /// Some who live.
    pub(super) living: Vec<Living>,
}

/// Somebody who lives.
#[derive(Serialize, Deserialize, Clone)]
pub(super) struct Living {
    pub(super) email: String,
    pub(super) id: SubjectId,
    pub(super) records: Vec<(RecordId, u64)>,
    /// Marketing was withdrawn.
    pub(super) withdrawn: bool,
}

/// A text that is known by its start and length.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    mark: String,
    length: usize,
}

impl Text {
    pub(super) fn whole(&self) -> Value {
        let text: String = self.mark.chars().chain(" ".chars()).cycle().take(self.length.max(self.mark.len())).collect();
        Value::String(text.trim_end().to_owned())
    }
}

/// One call.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) enum Deed {
    Create,
    Write(Text),
    Rectify(RecordId, u64, Text),
    Delete(RecordId),
    /// Of everything, or of marketing alone.
    Open(bool),
    Approve(bool, ErasureId),
    Rotate,
}

/// A line of the report.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(super) enum Line {
    Ready,
    /// This worker makes a call about whoever has this address.
    Begins(usize, String, Deed),
    /// It was acknowledged, with this id where it made something.
    Done(usize, Option<String>),
    /// It was refused, which none of these calls should be.
    Refused(usize, String),
    /// The vault was closed in order.
    Closed,
}

struct Report(File);

impl Report {
    fn say(&self, line: &Line) {
        let mut text = serde_json::to_vec(line).unwrap();
        text.push(b'\n');
        (&self.0).write_all(&text).unwrap();
    }
}

/// The whole lines of a report.
pub(super) fn lines(bytes: &[u8]) -> Vec<Line> {
    let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    whole.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
#[ignore = "run by the tests of this folder, in a process of its own"]
fn works_until_it_is_killed() {
    let Some((directory, setting)) = place() else { return };
    let orders: Orders = serde_json::from_slice(&fs::read(&setting).unwrap()).unwrap();
    let report = OpenOptions::new().append(true).create(true).open(directory.join(REPORT)).unwrap();
    let report: &'static Report = Box::leak(Box::new(Report(report)));
    let tokens = Path::new(&setting).with_file_name("tokens");
    runtime().block_on(async {
        let vault = Vault::open(&house::config(&directory), Clock::system()).unwrap();
        let house = House::unseal(vault, &tokens).await;
        report.say(&Line::Ready);
        let calls = Arc::new(AtomicU64::new(orders.calls));
        let workers = (0..WORKERS).map(|number| {
            let worker = Worker::new(number, &orders, Inside(house.clone()), move |line| report.say(line));
            tokio::spawn(worker.work(calls.clone()))
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
        house.vault.close().await;
        report.say(&Line::Closed);
    });
}

/// Why a call was not acknowledged.
pub(super) enum Cut {
    /// The vault said no.
    Refused(String),
    /// The vault is gone.
    Gone,
}

/// How a worker reaches the vault. The answer is the id of what was made, if anything was.
pub(super) trait Hand {
    fn act(
        &mut self,
        living: Option<&Living>,
        email: &str,
        deed: Deed,
    ) -> impl Future<Output = Result<Option<String>, Cut>> + Send;
}

pub(super) struct Worker<H, S> {
    hand: H,
    say: S,
    number: usize,
    random: Random,
    own: Vec<Living>,
    round: u64,
    made: u64,
}

impl<H: Hand, S: Fn(&Line)> Worker<H, S> {
    pub(super) fn new(number: usize, orders: &Orders, hand: H, say: S) -> Self {
        let own = orders.living.iter().skip(number).step_by(WORKERS).cloned().collect();
        let random = Random(orders.seed.wrapping_add(number as u64 * 7_919));
        Self { hand, say, number, random, own, round: orders.round, made: 0 }
    }

    /// So many calls together with the other workers, or until the vault is gone.
    pub(super) async fn work(mut self, calls: Arc<AtomicU64>) {
        while calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            if self.step().await.is_none() {
                return;
            }
        }
    }

    async fn step(&mut self) -> Option<()> {
        let chance = self.random.below(100);
        if self.own.len() < 2 || chance < 12 {
            self.made += 1;
            let email = format!("p{}.{}.{}@example.org", self.round, self.number, self.made);
            let id = self.act(usize::MAX, &email, Deed::Create).await??;
            self.own.push(Living { email, id: id.parse().unwrap(), records: Vec::new(), withdrawn: false });
            return Some(());
        }
        let who = self.random.below(self.own.len() as u64) as usize;
        let Living { email, records, withdrawn, .. } = self.own[who].clone();
        let which = if records.is_empty() { None } else { Some(self.random.below(records.len() as u64) as usize) };
        match (chance, which) {
            (12..40, _) | (_, None) => {
                let deed = Deed::Write(self.text());
                let id = self.act(who, &email, deed).await??;
                self.own[who].records.push((id.parse().unwrap(), 1));
            }
            (40..70, Some(which)) => {
                let (record, version) = records[which];
                let deed = Deed::Rectify(record, version, self.text());
                self.act(who, &email, deed).await?;
                self.own[who].records[which].1 += 1;
            }
            (70..80, Some(which)) => {
                self.act(who, &email, Deed::Delete(records[which].0)).await?;
                self.own[who].records.remove(which);
            }
            (80..88, _) => {
                self.erase(who, &email, true).await?;
                self.own.remove(who);
            }
            (88..94, _) if !withdrawn => {
                self.erase(who, &email, false).await?;
                self.own[who].withdrawn = true;
            }
            _ => drop(self.act(who, &email, Deed::Rotate).await?),
        }
        Some(())
    }

    async fn erase(&mut self, who: usize, email: &str, whole: bool) -> Option<()> {
        let erasure = self.act(who, email, Deed::Open(whole)).await??;
        self.act(who, email, Deed::Approve(whole, erasure.parse().unwrap())).await.map(drop)
    }

    /// Up to 300 bytes, and now and then more than a row holds.
    fn text(&mut self) -> Text {
        let length = if self.random.below(12) == 0 { self.random.below(20_000) } else { self.random.below(300) };
        self.made += 1;
        Text { mark: format!("text {}.{}.{}", self.round, self.number, self.made), length: length as usize }
    }

    async fn act(&mut self, who: usize, email: &str, deed: Deed) -> Option<Option<String>> {
        (self.say)(&Line::Begins(self.number, email.to_owned(), deed.clone()));
        match self.hand.act(self.own.get(who), email, deed).await {
            Ok(id) => {
                (self.say)(&Line::Done(self.number, id.clone()));
                Some(id)
            }
            Err(Cut::Refused(refused)) => {
                (self.say)(&Line::Refused(self.number, refused));
                None
            }
            Err(Cut::Gone) => None,
        }
    }
}

/// The body of a new subject.
pub(super) fn subject(email: &str) -> Value {
    json!({"class": "consumer", "jurisdiction": "DE", "aliases": [{"type": "email", "value": email}], "notice": notice()})
}

/// The body of a new record.
pub(super) fn record(living: &Living, text: &Text) -> Value {
    let purposes: &[&str] =
        if living.withdrawn { &["a-account", "b-service"] } else { &["a-account", "b-service", "c-marketing"] };
    json!({"kind": "contact", "purposes": purposes, "fields": {"name": "Ada", "address": text.whole()}})
}

/// The body of an erasure of everything, or of marketing alone.
pub(super) fn erasure(subject: SubjectId, whole: bool) -> Value {
    if whole { subject_erasure(subject) } else { group_erasure(subject, "marketing") }
}

/// From inside the process that has the vault open.
struct Inside(House);

impl Hand for Inside {
    async fn act(&mut self, living: Option<&Living>, email: &str, deed: Deed) -> Result<Option<String>, Cut> {
        let house = &self.0;
        let whom = living.map_or(SubjectId::from_bytes([0; 16]), |living| living.id);
        let done = match (deed, living) {
            (Deed::Write(text), Some(living)) => {
                house.write(whom, "a-account", record(living, &text)).await.map(|id| Some(id.to_string()))
            }
            (Deed::Create | Deed::Write(_), _) => {
                let made = house.vault.create_subject(&house.call("writer", Some("a-account")), from(&subject(email))).await;
                made.map(|made| Some(id_of::<SubjectId>(&made).to_string()))
            }
            (Deed::Rectify(record, version, text), _) => {
                house.rectify(whom, record, version, json!({"address": text.whole()})).await.map(|()| None)
            }
            (Deed::Delete(record), _) => house.vault.delete_record(&house.call("writer", None), whom, record).await.map(|_| None),
            (Deed::Open(whole), _) => house.open_erasure(erasure(whom, whole)).await.map(|id| Some(id.to_string())),
            (Deed::Approve(_, erasure), _) => house.approve(erasure).await.map(|()| None),
            (Deed::Rotate, _) => house.rotate().await.map(|()| None),
        };
        done.map_err(|refused| Cut::Refused(format!("{refused:?}")))
    }
}
