//! Loads people through the HTTPS API, as an application would: in batches, and again without doubling anybody.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::mapping::{self, PURPOSES};
use super::person::Person;
use crate::cli::client::{Client, Reply, problem_code};
use crate::cli::failure::Failure;
use crate::cli::target::{refused, success};
use crate::model::time::Clock;

/// People whose subjects go into one batch, and records into one batch: a few hundred KiB each.
const PEOPLE_A_BATCH: usize = 250;
const RECORDS_A_BATCH: usize = 400;

/// How often a busy vault is asked again.
const TRIES: u32 = 8;

/// What was loaded.
#[derive(Debug, Default)]
pub struct Loaded {
    /// New subjects.
    pub subjects: usize,
    /// New records.
    pub records: usize,
    /// Subjects that were there already; only their missing records were written.
    pub known: usize,
    /// Problem code → how many items were refused with it.
    pub refused: BTreeMap<String, usize>,
    /// Jurisdiction → what became of its people: `created`, `ward` (created with a guardian's consent), or the problem code.
    pub outcomes: BTreeMap<String, BTreeMap<String, usize>>,
}

/// Loads `people` from the `done`-th on. `progress` hears how many are done after each batch, and may keep it.
pub fn load(
    writer: &Client,
    reader: &Client,
    people: &[Person],
    done: usize,
    progress: &mut dyn FnMut(usize) -> Result<(), Failure>,
) -> Result<Loaded, Failure> {
    let now = Clock::system().now();
    let mut loader = Loader { writer, reader, now, ids: HashMap::new(), loaded: Loaded::default() };
    let mut count = done.min(people.len());
    for batch in people[count..].chunks(PEOPLE_A_BATCH) {
        loader.batch(batch)?;
        count += batch.len();
        progress(count)?;
    }
    Ok(loader.loaded)
}

struct Loader<'a> {
    writer: &'a Client,
    reader: &'a Client,
    /// When this load began: the notices were shown then.
    now: Timestamp,
    /// External id → subject id of everybody who was met.
    ids: HashMap<String, String>,
    loaded: Loaded,
}

/// A person with their subject.
struct Met<'p> {
    person: &'p Person,
    id: String,
    is_new: bool,
}

impl Loader<'_> {
    fn batch(&mut self, people: &[Person]) -> Result<(), Failure> {
        // A ward's body names its guardian's id, so wards go second.
        let (wards, others): (Vec<_>, Vec<_>) = people.iter().partition(|person| person.guardian_external_id.is_some());
        let mut met = self.subjects(&others)?;
        met.extend(self.subjects(&wards)?);
        for met in met.iter().filter(|met| met.is_new) {
            self.standing(met)?;
        }
        for purpose in PURPOSES {
            let mut items = Vec::new();
            for met in &met {
                items.extend(self.missing(met, purpose)?.into_iter().map(|body| json!({ "subject": met.id, "record": body })));
            }
            for chunk in items.chunks(RECORDS_A_BATCH) {
                for item in self.send("/v1/records:batch", purpose, chunk)? {
                    match item["status"].as_u64() {
                        Some(200..=299) => self.loaded.records += 1,
                        _ => self.note(&item),
                    }
                }
            }
        }
        Ok(())
    }

    /// The bodies of the records under `purpose` that are not there yet.
    fn missing(&self, met: &Met<'_>, purpose: &str) -> Result<Vec<Value>, Failure> {
        let wanted =
            mapping::records(met.person).into_iter().filter(|record| record.purpose == purpose).map(|record| record.body);
        let mut wanted: Vec<Value> = wanted.collect();
        if met.is_new || wanted.is_empty() {
            return Ok(wanted);
        }
        let path = format!("/v1/subjects/{}/records?limit=500", met.id);
        let reply = patient(|| self.reader.get(&path).purpose(purpose).send().map_err(Into::into))?;
        let reply = success(Ok(reply), "read what an earlier run wrote")?;
        for there in reply.body["records"].as_array().into_iter().flatten() {
            if let Some(place) = wanted.iter().position(|body| body["kind"] == there["kind"]) {
                wanted.remove(place);
            }
        }
        Ok(wanted)
    }

    /// What a person's records rest on: the contract behind the orders, and what they agreed to.
    fn standing(&mut self, met: &Met<'_>) -> Result<(), Failure> {
        let writer = self.writer;
        let path = |rest: &str| format!("/v1/subjects/{}/{rest}", met.id);
        if let Some(body) = mapping::contract(met.person) {
            let reply = patient(|| writer.put(&path("contracts/orders"), &body).send().map_err(Into::into))?;
            self.note_reply(&reply);
        }
        for body in mapping::consents(met.person, self.now) {
            let reply = patient(|| writer.post(&path("consents"), &body).send().map_err(Into::into))?;
            self.note_reply(&reply);
        }
        Ok(())
    }

    /// Makes the subjects, and finds those that an earlier, interrupted run made.
    fn subjects<'p>(&mut self, people: &[&'p Person]) -> Result<Vec<Met<'p>>, Failure> {
        if people.is_empty() {
            return Ok(Vec::new());
        }
        let mut bodies = Vec::with_capacity(people.len());
        for person in people {
            let guardian = match &person.guardian_external_id {
                Some(external_id) => self.id(external_id)?,
                None => None,
            };
            bodies.push(mapping::subject(person, guardian.as_deref(), self.now));
        }
        let items = self.send("/v1/subjects:batch", "a-account", &bodies)?;
        let mut met = Vec::with_capacity(people.len());
        for (&person, item) in people.iter().zip(&items) {
            let outcome = match item["status"].as_u64() {
                Some(200..=299) if self.is_ward(person, item)? => "ward",
                Some(200..=299) => "created",
                _ => problem_code(&item["problem"]).unwrap_or("no problem document"),
            };
            let of_place = self.loaded.outcomes.entry(person.jurisdiction.clone()).or_default();
            *of_place.entry(outcome.to_owned()).or_default() += 1;
            match (item["status"].as_u64(), item["id"].as_str()) {
                (Some(200..=299), Some(id)) => {
                    self.loaded.subjects += 1;
                    self.ids.insert(person.external_id.clone(), id.to_owned());
                    met.push(Met { person, id: id.to_owned(), is_new: true });
                }
                _ if problem_code(&item["problem"]) == Some("alias-taken") => match self.id(&person.external_id)? {
                    Some(id) => {
                        self.loaded.known += 1;
                        met.push(Met { person, id, is_new: false });
                    }
                    None => self.note(item),
                },
                _ => self.note(item),
            }
        }
        Ok(met)
    }

    fn id(&mut self, external_id: &str) -> Result<Option<String>, Failure> {
        if let Some(id) = self.ids.get(external_id) {
            return Ok(Some(id.clone()));
        }
        let body = json!({ "type": "external_id", "value": external_id });
        let reply = patient(|| self.writer.post("/v1/subject-lookups", &body).purpose("a-account").send().map_err(Into::into))?;
        if !reply.is_success() {
            return Ok(None);
        }
        let id = reply.text("id").to_owned();
        self.ids.insert(external_id.to_owned(), id.clone());
        Ok(Some(id))
    }

    fn send(&self, path: &str, purpose: &str, items: &[Value]) -> Result<Vec<Value>, Failure> {
        let body = Value::from(items.to_vec());
        let reply = patient(|| self.writer.post(path, &body).purpose(purpose).send().map_err(Into::into))?;
        let reply = success(Ok(reply), "take a batch")?;
        match reply.body["items"].as_array() {
            Some(answers) if answers.len() == items.len() => Ok(answers.clone()),
            _ => Err(Failure::new("the vault answered a batch with another number of items")),
        }
    }

    /// Whether somebody who has a guardian needed one.
    fn is_ward(&self, person: &Person, item: &Value) -> Result<bool, Failure> {
        let (Some(_), Some(id)) = (&person.guardian_external_id, item["id"].as_str()) else { return Ok(false) };
        let path = format!("/v1/subjects/{id}");
        let reply = patient(|| self.reader.get(&path).send().map_err(Into::into))?;
        Ok(reply.body["minor"] == true)
    }

    fn note_reply(&mut self, reply: &Reply) {
        if !reply.is_success() {
            *self.loaded.refused.entry(reply.code().unwrap_or("no problem document").to_owned()).or_default() += 1;
        }
    }

    fn note(&mut self, item: &Value) {
        let code = problem_code(&item["problem"]).unwrap_or("no problem document");
        let place = item["problem"]["pointer"].as_str().map(|pointer| format!(" at {pointer}")).unwrap_or_default();
        *self.loaded.refused.entry(format!("{code}{place}")).or_default() += 1;
    }
}

/// Makes a call again while the vault is busy, as `Retry-After` asks.
fn patient(mut call: impl FnMut() -> Result<Reply, Failure>) -> Result<Reply, Failure> {
    for attempt in 0..TRIES {
        let reply = call()?;
        if !matches!(reply.code(), Some("rate-limited" | "overloaded")) {
            return Ok(reply);
        }
        let seconds = reply.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1 << attempt.min(4));
        std::thread::sleep(Duration::from_secs(seconds));
    }
    let reply = call()?;
    if matches!(reply.code(), Some("rate-limited" | "overloaded")) { Err(refused(&reply, "take more")) } else { Ok(reply) }
}
