//! Credentials that were taken away do not work once more.

use oubliette::model::caller::{CallerKind, Role};
use serde_json::{Value, json};

use crate::house::{House, Token};

fn put(house: &House, caller: &Token, more: Value) -> crate::https::Reply {
    let mut body = json!({"name": "desk", "kind": "service", "roles": ["reader"], "purposes": ["b-service"]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    house.put(&format!("/v1/callers/{}", caller.id), &body).by(&house.holder(Role::SecurityOfficer)).send()
}

#[test]
fn a_revoked_token_fails_on_the_very_next_request_of_an_open_connection() {
    let house = House::shared();
    let subject = house.ada();
    let desk = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    let path = format!("/v1/subjects/{subject}");
    let mut open = house.connect();
    house.get(&path).by(&desk).send_on(&mut open).expect(200);
    put(&house, &desk, json!({"revoke_tokens": true})).expect(200);
    house.get(&path).by(&desk).send_on(&mut open).refused(401, "unauthenticated");
    house.get(&path).by(&desk).send().refused(401, "unauthenticated");
    // The caller itself goes on with a new token.
    let tokens = format!("/v1/callers/{}/tokens", desk.id);
    let text = house.post(&tokens, &json!({})).by(&house.holder(Role::SecurityOfficer)).send().expect(201).member("token");
    house.get(&path).by(&Token { text, ..desk.clone() }).send_on(&mut open).expect(200);
    house.get(&path).by(&desk).send_on(&mut open).refused(401, "unauthenticated");
}

#[test]
fn a_suspended_caller_fails_on_the_very_next_request_of_an_open_connection() {
    let house = House::shared();
    let subject = house.ada();
    let desk = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    let path = format!("/v1/subjects/{subject}");
    let mut open = house.connect();
    house.get(&path).by(&desk).send_on(&mut open).expect(200);
    assert_eq!(put(&house, &desk, json!({"state": "suspended"})).expect(200).member("state"), "suspended");
    house.get(&path).by(&desk).send_on(&mut open).refused(401, "unauthenticated");
    let tokens = format!("/v1/callers/{}/tokens", desk.id);
    house.post(&tokens, &json!({})).by(&house.holder(Role::SecurityOfficer)).send().refused(409, "state-conflict");
    // Taking away needs one officer; giving back needs another one to agree.
    assert_ne!(put(&house, &desk, json!({"state": "active"})).expect(200).member("state"), "active");
    house.get(&path).by(&desk).send_on(&mut open).refused(401, "unauthenticated");
    let body = json!({"name": "desk", "kind": "service", "roles": ["reader"], "purposes": ["b-service"], "state": "active"});
    let agreed = house.put(&format!("/v1/callers/{}", desk.id), &body).by(&house.second(Role::SecurityOfficer)).send();
    assert_eq!(agreed.expect(200).member("state"), "active");
}

#[test]
fn a_role_or_purpose_that_was_taken_away_is_gone_from_every_token_at_once() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let desk = house.caller(CallerKind::Service, &[Role::Reader, Role::Writer], &["b-service", "d-notice"]);
    let path = format!("/v1/subjects/{subject}/records");
    let mut open = house.connect();
    house.get(&path).by(&desk).purpose("d-notice").send_on(&mut open).expect(200);
    put(&house, &desk, json!({})).expect(200);
    house.get(&path).by(&desk).purpose("d-notice").send_on(&mut open).refused(403, "purpose-not-granted");
    let body = json!({"kind": "contact", "fields": {"name": "Ada"}});
    house.post(&path, &body).by(&desk).purpose("b-service").send_on(&mut open).refused(403, "role-forbidden");
    house.get(&path).by(&desk).purpose("b-service").send_on(&mut open).expect(200);
}

#[test]
fn a_revocation_survives_a_restart_and_so_does_a_token() {
    let house = House::start();
    let subject = house.ada();
    let (revoked, kept) = (
        house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]),
        house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]),
    );
    put(&house, &revoked, json!({"revoke_tokens": true})).expect(200);
    let house = house.restart();
    let path = format!("/v1/subjects/{subject}");
    house.get(&path).by(&revoked).send().refused(401, "unauthenticated");
    house.get(&path).by(&kept).send().expect(200);
}

#[test]
fn a_token_ends_when_its_time_is_over() {
    let house = House::start();
    let subject = house.ada();
    let desk = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    let tokens = format!("/v1/callers/{}/tokens", desk.id);
    let officer = house.holder(Role::SecurityOfficer);
    let issue = |seconds: u64| house.post(&tokens, &json!({"lifetime_seconds": seconds})).by(&officer).send();
    issue(59).refused(422, "invalid-body");
    issue(31_536_001).refused(422, "invalid-body");
    let short = Token { text: issue(60).expect(201).member("token"), ..desk };
    let path = format!("/v1/subjects/{subject}");
    house.home.turn(jiff::SignedDuration::from_secs(59));
    house.get(&path).by(&short).send().expect(200);
    house.home.turn(jiff::SignedDuration::from_secs(1));
    house.get(&path).by(&short).send().refused(401, "unauthenticated");
}

#[test]
fn a_token_is_narrowed_to_what_it_was_issued_for() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let desk = house.caller(CallerKind::Service, &[Role::Reader], &["b-service", "d-notice"]);
    let tokens = format!("/v1/callers/{}/tokens", desk.id);
    let officer = house.holder(Role::SecurityOfficer);
    let issue = |body: Value| house.post(&tokens, &body).by(&officer).send();
    issue(json!({"purposes": ["c-marketing"]})).refused(422, "invalid-body");
    issue(json!({"fields": ["shoe_size"]})).refused(422, "field-not-in-catalogue");
    let narrow =
        Token { text: issue(json!({"purposes": ["b-service"], "fields": ["name"]})).expect(201).member("token"), ..desk };
    let path = format!("/v1/subjects/{subject}/records");
    let read = |purpose: &str, query: &str| house.get(&format!("{path}{query}")).by(&narrow).purpose(purpose).send();
    read("d-notice", "").refused(403, "purpose-not-granted");
    read("b-service", "?fields=name,email").refused(403, "category-not-permitted");
    let seen = read("b-service", "").expect(200).json();
    assert_eq!(seen["records"][0]["fields"], json!({"name": "Ada"}));
}
