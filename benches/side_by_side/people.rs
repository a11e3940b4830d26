//! Made-up people, a kibibyte of record each, loaded through the batch operations; and their erasure.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::client::{Connection, request};
use crate::vault::Vault;

/// Bytes of a record's field values.
pub(crate) const PLAINTEXT: usize = 1024;

/// Items of one batch call; the API takes up to 1,000.
const BATCH: usize = 1000;

/// Connections that load at once.
const LOADERS: usize = 4;

/// The e-mail address of person number `n`, as it is looked up.
pub(crate) fn email(n: usize) -> String {
    format!("person{n:07}@example.org")
}

/// The body of writeRecord: a contact of a kibibyte, readable for `b-service`.
pub(crate) fn record(n: usize) -> String {
    let (name, email, phone) = (format!("Person {n:07}"), email(n), format!("+4930{n:08}"));
    let address = "Beispielweg 17, 10115 Berlin. ".repeat(PLAINTEXT / 30 + 1);
    let rest = PLAINTEXT - name.len() - email.len() - phone.len();
    format!(
        r#"{{"kind":"contact","purposes":["a-account","b-service"],"fields":{{"name":"{name}","email":"{email}","phone":"{phone}","address":"{}"}}}}"#,
        &address[..rest]
    )
}

fn subject(n: usize) -> String {
    format!(
        r#"{{"class":"consumer","jurisdiction":"DE","birth_date":"1980-02-03","aliases":[{{"type":"email","value":"{}"}}],"notice":{{"policy_version":"current","language":"de","channel":"web","shown_at":"2026-11-23T10:00:00Z"}}}}"#,
        email(n)
    )
}

/// Creates people number `from` to `to` with a record each, and returns their subject ids in order.
pub(crate) async fn load(vault: &Vault, from: usize, to: usize) -> Result<Vec<String>, Failure> {
    let next = Arc::new(AtomicUsize::new(from));
    let mut loaders = JoinSet::new();
    for _ in 0..LOADERS {
        let (target, token, next) = (vault.target.clone(), vault.token("writer")?, Arc::clone(&next));
        loaders.spawn(async move {
            let mut connection = target.connect().await?;
            let mut loaded = Vec::new();
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= to {
                    return Ok::<_, Failure>(loaded);
                }
                let ids = batch(&mut connection, &token, first, to.min(first + BATCH)).await?;
                loaded.push((first, ids));
            }
        });
    }
    let mut loaded = Vec::new();
    while let Some(some) = loaders.join_next().await {
        loaded.extend(some??);
    }
    loaded.sort_unstable();
    Ok(loaded.into_iter().flat_map(|(_, ids)| ids).collect())
}

async fn batch(connection: &mut Connection, token: &str, first: usize, end: usize) -> Result<Vec<String>, Failure> {
    let subjects: Vec<String> = (first..end).map(subject).collect();
    let body = format!("[{}]", subjects.join(","));
    let ids = made(&connection.json(&request("POST", "/v1/subjects:batch", token, "a-account", &body)).await?)?;
    let mut body = String::from("[");
    for (n, id) in (first..end).zip(&ids) {
        write!(body, r#"{}{{"subject":"{id}","record":{}}}"#, if n == first { "" } else { "," }, record(n))?;
    }
    body.push(']');
    made(&connection.json(&request("POST", "/v1/records:batch", token, "a-account", &body)).await?)?;
    Ok(ids)
}

/// The ids of a batch answer's items; an item that was refused is an error.
fn made(answer: &serde_json::Value) -> Result<Vec<String>, Failure> {
    let items = answer["items"].as_array().ok_or("no items in a batch answer")?;
    items.iter().map(|item| item["id"].as_str().map(str::to_owned).ok_or_else(|| format!("an item: {item}").into())).collect()
}

/// Subjects to be erased, each once.
pub(crate) struct Victims {
    subjects: Vec<String>,
    next: AtomicUsize,
}

impl Victims {
    pub(crate) fn new(subjects: Vec<String>) -> Arc<Self> {
        Arc::new(Self { subjects, next: AtomicUsize::new(0) })
    }

    /// One that was not given out before.
    pub(crate) fn next(&self) -> Option<&str> {
        self.subjects.get(self.next.fetch_add(1, Ordering::Relaxed)).map(String::as_str)
    }
}

/// The two officers that an erasure needs.
#[derive(Clone)]
pub(crate) struct Erasing {
    pub(crate) opener: Arc<str>,
    pub(crate) approver: Arc<str>,
}

impl Erasing {
    /// Erases one subject, and says how long opening and approving took. Fails unless the erasure ends `sealed`.
    pub(crate) async fn erase(&self, connection: &mut Connection, subject: &str) -> Result<[Duration; 2], Failure> {
        let begin = Instant::now();
        let body = format!(r#"{{"subject":"{subject}","scope":"subject","cause":"request"}}"#);
        let opened = connection.json(&request("POST", "/v1/erasures", &self.opener, "", &body)).await?;
        let id = opened["id"].as_str().ok_or("an erasure without id")?;
        let open = Instant::now();
        let path = format!("/v1/erasures/{id}/approvals");
        let approved = connection.json(&request("POST", &path, &self.approver, "", "{}")).await?;
        match approved["state"].as_str() {
            Some("sealed") => Ok([open - begin, open.elapsed()]),
            state => Err(format!("an erasure ended {state:?}").into()),
        }
    }
}
