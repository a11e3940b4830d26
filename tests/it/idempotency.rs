//! Idempotency-Key: the same call again gets the first answer again, for a day, and nothing is done twice.

use jiff::SignedDuration;
use oubliette::model::caller::Role;
use serde_json::{Value, json};

use crate::house::{Ask, House, Token};
use crate::https::Reply;

fn record(name: &str) -> Value {
    json!({"kind": "contact", "purposes": ["b-service"], "fields": {"name": name}})
}

fn write<'a>(house: &'a House, subject: &str, by: &Token, name: &str, key: &str) -> Ask<'a> {
    let path = format!("/v1/subjects/{subject}/records");
    house.post(&path, &record(name)).by(by).purpose("a-account").header("idempotency-key", key)
}

fn records(house: &House, subject: &str) -> usize {
    house.read(subject, "b-service", "").expect(200).json()["records"].as_array().unwrap().len()
}

#[track_caller]
fn same(first: &Reply, again: &Reply) {
    let parts = |reply: &Reply| {
        let header = |name: &str| reply.header(name).map(str::to_owned);
        (reply.status, reply.text(), header("location"), header("etag"), header("vault-decision"), header("content-type"))
    };
    assert_eq!(parts(first), parts(again));
}

#[test]
fn the_same_call_again_gets_the_first_answer_and_does_nothing() {
    let house = House::shared();
    let subject = house.ada();
    let writer = house.holder(Role::Writer);
    let key = format!("key {subject}");
    let first = write(&house, &subject, &writer, "Ada", &key).send().expect(201);
    for _ in 0..3 {
        same(&first, &write(&house, &subject, &writer, "Ada", &key).send());
    }
    assert_eq!(records(&house, &subject), 1);
    // Another caller's key of the same name is another key.
    write(&house, &subject, &house.second(Role::Writer), "Ada", &key).send().expect(201);
    assert_eq!(records(&house, &subject), 2);
}

#[test]
fn every_call_that_makes_something_can_be_repeated() {
    let house = House::shared();
    let subject = house.ada();
    let make = |role: Role, path: &str, body: Value| {
        let ask = || house.post(path, &body).by(&house.holder(role)).purpose("a-account");
        let key = format!("{path} {subject}");
        let (first, again) = (ask().header("idempotency-key", &key).send(), ask().header("idempotency-key", &key).send());
        same(&first, &again);
        first.expect(201)
    };
    let aliases = json!([{"type": "external_id", "value": format!("again-{subject}")}]);
    make(Role::Writer, "/v1/subjects", json!({"class": "consumer", "jurisdiction": "DE", "aliases": aliases}));
    let body = json!({"subject": subject, "scope": "subject", "cause": "request"});
    let erasure = make(Role::PrivacyOfficer, "/v1/erasures", body).member("id");
    let path = format!("/v1/erasures/{erasure}/approvals");
    let approve =
        || house.post(&path, &json!({})).by(&house.second(Role::PrivacyOfficer)).header("idempotency-key", &path).send();
    let (first, again) = (approve().expect(200), approve().expect(200));
    // The claim code is shown once; everything else is as it was.
    let (mut first, again) = (first.json(), again.json());
    assert!(first.as_object_mut().unwrap().remove("claim_code").is_some());
    assert_eq!((&first["id"], &first["state"], &first["certificate"]), (&again["id"], &again["state"], &again["certificate"]));
    assert!(again.get("claim_code").is_none());
}

#[test]
fn a_token_is_never_shown_a_second_time() {
    let house = House::shared();
    let desk = house.caller(oubliette::model::caller::CallerKind::Service, &[Role::Reader], &[]);
    let path = format!("/v1/callers/{}/tokens", desk.id);
    let issue = || house.post(&path, &json!({})).by(&house.holder(Role::SecurityOfficer)).header("idempotency-key", &path).send();
    assert!(issue().expect(201).member("token").starts_with("oub_"));
    let again = issue().refused(422, "secret-shown-once");
    assert!(!again.text().contains("oub_"));
}

#[test]
fn the_same_key_with_another_call_is_refused() {
    let house = House::shared();
    let (subject, other) = (house.ada(), house.ada());
    let writer = house.holder(Role::Writer);
    let key = format!("mismatch-{subject}");
    write(&house, &subject, &writer, "Ada", &key).send().expect(201);
    write(&house, &subject, &writer, "Grace", &key).send().refused(422, "idempotency-mismatch");
    write(&house, &other, &writer, "Ada", &key).send().refused(422, "idempotency-mismatch");
    write(&house, &subject, &writer, "Ada", &key).purpose("b-service").send().refused(422, "idempotency-mismatch");
    assert_eq!((records(&house, &subject), records(&house, &other)), (1, 0));
}

#[test]
fn a_key_has_between_one_and_255_plain_characters() {
    let house = House::shared();
    let subject = house.ada();
    let writer = house.holder(Role::Writer);
    for bad in ["", &"k".repeat(256), "kä"] {
        write(&house, &subject, &writer, "Ada", bad).send().refused(400, "malformed-request");
    }
    write(&house, &subject, &writer, "Ada", &"k".repeat(255)).send().expect(201);
    assert_eq!(records(&house, &subject), 1);
}

#[test]
fn of_many_at_once_one_is_carried_out_and_the_others_hear_of_it() {
    let house = House::shared();
    let subject = house.ada();
    let writer = house.holder(Role::Writer);
    let replies = std::thread::scope(|scope| {
        let tries = (0..8).map(|_| scope.spawn(|| write(&house, &subject, &writer, "Ada", &subject).send()));
        let tries: Vec<_> = tries.collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let last = write(&house, &subject, &writer, "Ada", &subject).send().expect(201);
    assert!(replies.iter().any(|reply| reply.status == 201));
    for reply in &replies {
        if reply.status == 201 {
            same(reply, &last);
        } else {
            reply.clone().refused(409, "idempotency-in-flight");
        }
    }
    assert_eq!(records(&house, &subject), 1);
}

#[test]
fn the_first_answer_survives_a_restart() {
    let house = House::start();
    let subject = house.ada();
    let writer = house.holder(Role::Writer);
    let first = write(&house, &subject, &writer, "Ada", "k-1").send().expect(201);
    let house = house.restart();
    same(&first, &write(&house, &subject, &writer, "Ada", "k-1").send());
    write(&house, &subject, &writer, "Grace", "k-1").send().refused(422, "idempotency-mismatch");
    assert_eq!(records(&house, &subject), 1);
}

#[test]
fn the_first_answer_is_kept_for_a_day_and_no_longer() {
    let house = House::start();
    let subject = house.ada();
    let writer = house.holder(Role::Writer);
    let first = write(&house, &subject, &writer, "Ada", "k-1").send().expect(201);
    house.home.turn(SignedDuration::from_secs(24 * 3_600 - 1));
    same(&first, &write(&house, &subject, &writer, "Ada", "k-1").send());
    house.home.turn(SignedDuration::from_secs(1));
    let second = write(&house, &subject, &writer, "Grace", "k-1").send().expect(201);
    assert_ne!(first.member("id"), second.member("id"));
    same(&second, &write(&house, &subject, &writer, "Grace", "k-1").send());
    assert_eq!(records(&house, &subject), 2);
}

#[test]
fn an_erasure_takes_the_first_answers_with_it() {
    let house = House::start();
    let subject = house.ada();
    let writer = house.holder(Role::Writer);
    write(&house, &subject, &writer, "Ada", "k-1").send().expect(201);
    house.erase_subject(&subject);
    for _ in 0..2 {
        let dead = write(&house, &subject, &writer, "Ada", "k-1").send();
        assert_eq!((dead.status, dead.code().as_str()), (410, "erased"), "{}", dead.text());
    }
    let house = house.restart();
    write(&house, &subject, &writer, "Ada", "k-1").send().refused(410, "erased");
}

#[test]
fn a_refused_call_does_not_use_its_key_up() {
    let house = House::shared();
    let subject = house.ada();
    let writer = house.holder(Role::Writer);
    let key = format!("refused-{subject}");
    let path = format!("/v1/subjects/{subject}/records");
    let bad = json!({"kind": "contact", "fields": {"shoe_size": 1}});
    house
        .post(&path, &bad)
        .by(&writer)
        .purpose("a-account")
        .header("idempotency-key", &key)
        .send()
        .refused(422, "field-not-in-catalogue");
    write(&house, &subject, &writer, "Ada", &key).send().expect(201);
}

#[test]
fn a_repeated_batch_is_not_written_twice() {
    let house = House::shared();
    let subject = house.ada();
    let body = json!([{"subject": subject, "record": record("Ada")}, {"subject": subject, "record": record("Grace")}]);
    let batch = || house.post("/v1/records:batch", &body).by(&house.holder(Role::Writer)).purpose("a-account");
    let first = batch().header("idempotency-key", &subject).send().expect(200);
    same(&first, &batch().header("idempotency-key", &subject).send());
    assert_eq!(records(&house, &subject), 2);
}
