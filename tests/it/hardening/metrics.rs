//! The listener for metrics and health: what it says, what it never says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;

use super::machine::{Machine, call};
use crate::canary::{Canary, absent};

const EMAIL: &str = "metric.canary@leak.example";
const NAME: &str = "Canary Metricia Lovelace";

/// One request over plain HTTP: status line and everything.
fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    // A series without labels may be written with none between its braces.
    text.replace("{} ", " ")
}

fn number(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

/// Whether a word stands in the text that looks like one of our ids: three letters, `_`, 26 letters and digits.
fn holds_an_id(text: &str) -> bool {
    let is_id = |word: &str| word.split_once('_').is_some_and(|(kind, rest)| kind.len() == 3 && rest.len() == 26);
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(is_id)
}

#[test]
fn metrics_count_what_happens_and_hold_nothing_of_anybody() {
    let machine = Machine::new();
    machine.configure(&format!("[metrics]\nlisten = '127.0.0.1:0'\n[backup]\ntarget = {:?}\n", machine.path("backups")));
    let serving = machine.serve_open();
    let url = serving.said["metrics"].as_str().unwrap();
    let address: SocketAddr = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().parse().unwrap();
    let metrics = || ask(address, "GET", "/metrics");

    let token = |name: &str| Some(machine.tokens[name].as_str());
    let mut connection = serving.connect();
    let body = json!({"class": "consumer", "jurisdiction": "DE", "aliases": [{"type": "email", "value": EMAIL}],
        "notice": {"policy_version": "current", "language": "de", "channel": "web", "shown_at": jiff_now()}});
    let made = call(&mut connection, ("POST", "/v1/subjects"), token("writer"), Some("a-account"), Some(&body));
    let subject = made.expect(201).member("id");
    let records = format!("/v1/subjects/{subject}/records");
    let body = json!({"kind": "contact", "purposes": ["a-account"], "fields": {"name": NAME, "email": EMAIL}});
    let made = call(&mut connection, ("POST", &records), token("writer"), Some("a-account"), Some(&body));
    let record = made.expect(201).member("id");
    for _ in 0..3 {
        call(&mut connection, ("GET", &records), token("reader"), Some("a-account"), None).expect(200);
    }
    call(&mut connection, ("GET", &records), token("reader"), Some(NAME), None).expect(400);
    call(&mut connection, ("GET", &records), token("reader"), Some("nothing-published"), None).expect(403);
    call(&mut connection, ("GET", &format!("/v1/{EMAIL}")), token("reader"), None, None).expect(404);
    call(&mut connection, ("GET", &records), Some(&format!("obl_{EMAIL}")), None, None).expect(401);
    let backup = json!({"operation": "backup", "full": false});
    call(&mut connection, ("POST", "/v1/keys/operations"), token("keys"), None, Some(&backup)).expect(200);

    let text = metrics();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("application/openmetrics-text"), "{text}");
    assert_eq!(number(&text, "oubliette_requests_total{operation=\"readRecords\",status=\"200\"}"), 3.0);
    assert_eq!(number(&text, "oubliette_requests_total{operation=\"readRecords\",status=\"403\"}"), 1.0);
    assert_eq!(number(&text, "oubliette_request_duration_seconds_count{operation=\"writeRecord\"}"), 1.0);
    assert_eq!(number(&text, "oubliette_refusals_total{code=\"unauthenticated\"}"), 1.0);
    assert_eq!((number(&text, "oubliette_sealed"), number(&text, "oubliette_ready")), (0.0, 1.0));
    assert!(number(&text, "oubliette_epoch") >= 1.0 && number(&text, "oubliette_trail_entries") > 8.0);
    for kind in ["root", "epoch", "tree", "subjects", "index", "tenant", "signing"] {
        assert!(number(&text, &format!("oubliette_key_age_seconds{{kind=\"{kind}\"}}")) < 600.0);
        assert_eq!(number(&text, &format!("oubliette_key_overdue{{kind=\"{kind}\"}}")), 0.0);
    }
    assert!(number(&text, "oubliette_backup_age_seconds") < 600.0);
    assert_eq!(number(&text, "oubliette_backup_target_whole"), 1.0);
    let commits = number(&text, "oubliette_store_commit_duration_seconds_count");
    assert!(commits >= 2.0 && number(&text, "oubliette_trail_sync_duration_seconds_count") >= commits);
    assert!(!holds_an_id(&text) && !text.contains(&subject) && !text.contains(&record), "{text}");
    absent(&[EMAIL, NAME].map(Canary::of), "the metrics", text.as_bytes());

    // Nothing else is told here, and nothing is done.
    assert!(ask(address, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
    assert!(ask(address, "GET", "/readyz").starts_with("HTTP/1.1 200 "));
    for path in ["/v1/keys", "/v1/policy-versions/current", "/problems", "/"] {
        assert!(ask(address, "GET", path).starts_with("HTTP/1.1 404 "), "{path}");
    }
    assert!(ask(address, "POST", "/metrics").starts_with("HTTP/1.1 405 "));

    // A sealed vault says so, and knows no epoch.
    let seal = json!({"operation": "seal"});
    call(&mut connection, ("POST", "/v1/keys/operations"), token("keys"), None, Some(&seal)).expect(200);
    let text = metrics();
    assert_eq!((number(&text, "oubliette_sealed"), number(&text, "oubliette_ready")), (1.0, 0.0));
    assert!(!text.contains("\noubliette_epoch") && ask(address, "GET", "/readyz").starts_with("HTTP/1.1 503 "));
}

fn jiff_now() -> String {
    oubliette::model::time::Clock::system().now().to_string()
}

#[test]
fn there_is_no_such_listener_unless_it_is_wanted_and_none_for_other_machines_unless_that_is_wanted_too() {
    let machine = Machine::without_callers();
    assert!(machine.serve_open().said["metrics"].is_null());
    machine.configure("[metrics]\nlisten = '0.0.0.0:0'\n");
    let refused = machine.try_serve(&[]).err().expect("it served");
    assert!(refused["error"].as_str().unwrap().contains("beyond_this_machine"), "{refused}");
    machine.configure("[metrics]\nlisten = '0.0.0.0:0'\nbeyond_this_machine = true\n");
    assert!(machine.serve(&[]).said["metrics"].as_str().unwrap().starts_with("http://0.0.0.0:"));
}
