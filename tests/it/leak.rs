//! Nothing that was written, and nothing that was said in a refused request, turns up in a log, a problem, the trail or a file.

use std::io::Write;
use std::sync::{Mutex, OnceLock};

use oubliette::model::caller::Role;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::canary::{Canary, absent, absent_under, contains};
use crate::house::House;
use crate::routes::{CASES, Ids};

/// Every line that anything in this process has logged since the first call, at the finest level.
struct Log(Mutex<Vec<u8>>);

impl Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for &'static Log {
    type Writer = &'a Log;
    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

fn log() -> &'static Log {
    use tracing_subscriber::util::SubscriberInitExt;
    static LOG: OnceLock<Log> = OnceLock::new();
    let log = LOG.get_or_init(|| Log(Mutex::new(Vec::new())));
    let lines = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::TRACE).with_writer(log);
    // Another test of this module may have been first; the log is the same one.
    let _ = lines.finish().try_init();
    log
}

const NAME: &str = "Canary Wilhelmina Byron";
const EMAIL: &str = "canary.wilhelmina@leak.example";
const PHONE: &str = "+49 30 5550147231";
const ADDRESS: &str = "Canary Allee 4711, Leakstadt";
const PASSWORD: &str = "canary-Pass-Phrase-9931";
const MESSAGE: &str = "canary message: my parcel never came";
const NUMBER: &str = "CANARYC01X00T47";
const EXTERNAL: &str = "canary-07-4711";

fn canaries() -> Vec<Canary> {
    let mut all: Vec<_> = [NAME, EMAIL, ADDRESS, PASSWORD, MESSAGE, NUMBER, EXTERNAL, PHONE].map(Canary::of).into();
    all.push(Canary::of("5550147231"));
    all
}

#[test]
fn no_value_that_was_written_or_refused_leaves_a_trace() {
    let log = log();
    let house = House::start_with(|config| config.log.requests = true);
    let canaries = canaries();
    let writer = house.holder(Role::Writer);

    // What is written as it should be.
    let aliases =
        json!([{"type": "email", "value": EMAIL}, {"type": "phone", "value": PHONE}, {"type": "external_id", "value": EXTERNAL}]);
    let body = json!({"class": "business-contact", "jurisdiction": "DE", "birth_date": "1980-02-03", "aliases": aliases, "notice": crate::house::notice()});
    let subject = house.post("/v1/subjects", &body).by(&writer).purpose("a-account").header("idempotency-key", EXTERNAL).send();
    let subject = subject.expect(201).member("id");
    house.contract(&subject, "ord-1", "active").expect(201);
    let account = json!({"name": NAME, "email": EMAIL, "phone": PHONE, "address": ADDRESS, "password": PASSWORD});
    let record = house.write(&subject, &["a-account", "b-service"], account);
    house.write(&subject, &["b-care"], json!({"message": MESSAGE, "name": NAME}));
    house.write(&subject, &["f-supplier"], json!({"id_document": {"type": "passport", "number": NUMBER}}));
    let large = MESSAGE.repeat(400);
    house.write(&subject, &["b-care"], json!({"message": large}));
    assert!(house.read(&subject, "b-service", "").expect(200).text().contains(NAME));
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let patch = json!({"fields": {"address": format!("{ADDRESS} (rear)")}});
    house.patch(&path, &patch).by(&writer).purpose("a-account").header("if-match", "\"1\"").send().expect(200);
    for (kind, value) in [("email", EMAIL), ("phone", PHONE), ("external_id", EXTERNAL)] {
        let look = json!({"type": kind, "value": value});
        house.post("/v1/subject-lookups", &look).by(&writer).purpose("b-service").send().expect(200);
    }

    // What is said where it should not be: in bodies, paths, queries and headers.
    let mut refused = Vec::new();
    for case in CASES {
        let ids = Ids::of_nothing();
        let (good, _) = (case.request)(&ids);
        for role in [case.role, Role::Partner] {
            for value in [NAME, EMAIL, MESSAGE, PASSWORD, ADDRESS] {
                let ask = || house.ask(case.method, &good).by(&house.holder(role)).purpose("a-account");
                for body in [
                    json!({"kind": value, "fields": {"name": value, value: value}}).to_string(),
                    json!({value: value}).to_string(),
                    json!([{value: {"fields": value}}]).to_string(),
                    json!({"class": value, "jurisdiction": value, "aliases": [{"type": value, "value": value}]}).to_string(),
                    json!({"type": "email", "value": value, "operation": value, "state": value, "subject": value}).to_string(),
                    format!("{{\"name\":\"{value}\",\"name\":\"{value}\"}}"),
                    format!("{{\"name\":\"{value}"),
                    format!("{value} is not JSON"),
                ] {
                    refused.push(ask().raw("application/json", body).send());
                }
                refused.push(ask().header("content-type", value).send());
                refused.push(ask().purpose(value).send());
                for name in [
                    "if-match",
                    "idempotency-key",
                    "x-request-id",
                    "traceparent",
                    "user-agent",
                    "cookie",
                    "prefer",
                    "vault-claim",
                    "accept",
                ] {
                    refused.push(ask().header(name, value).send());
                }
                refused.push(ask().header("authorization", &format!("Bearer {value}")).send());
            }
            for value in [EMAIL, NUMBER, EXTERNAL] {
                for path in [
                    format!("{good}/{value}"),
                    format!("{good}?fields={value}"),
                    format!("{good}?{value}=1"),
                    format!("/{value}"),
                ] {
                    refused.push(house.ask(case.method, &path).by(&house.holder(role)).purpose("a-account").send());
                }
                let path = case.path.replace("{subject}", value).replace("{record}", value).replace("{erasure}", value);
                let path = path.replace("{caller}", value).replace("{size}", value).replace("{reference}", value);
                refused.push(house.ask(case.method, &path).by(&house.holder(role)).purpose("a-account").send());
            }
        }
    }
    refused.push(house.read(&subject, "b-service", EMAIL));
    refused.push(house.post("/v1/keys/operations", &json!({"operation": "unseal", "passphrase": PASSWORD})).send());
    assert!(refused.iter().filter(|reply| reply.status >= 400).count() > 2_000);
    for reply in &refused {
        // An id of the request is told back to whoever sent it, where its form is safe.
        absent(&canaries, "an answer", &reply.bytes);
        for (name, value) in reply.headers.iter().filter(|(name, _)| name != "x-request-id") {
            absent(&canaries, name, value.as_bytes());
        }
    }

    house.vault_seals_and_opens();
    absent(&canaries, "the trail", serde_json::to_string(&house.events("")).unwrap().as_bytes());
    house.erase_subject(&subject);
    absent_under(&canaries, house.close().path());
    let lines = log.0.lock().unwrap().clone();
    assert!(contains(&lines, b"createSubject") && contains(&lines, b"malformed-body"), "the log was listened to");
    absent(&canaries, "the log", &lines);
}
