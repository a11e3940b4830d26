//! Consent, preferences, and what the vault does by itself when a basis ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::SignedDuration;
use oubliette::audit::receipt::verify_receipt;
use oubliette::model::caller::Role;
use oubliette::vault::check::check;
use oubliette::vault::{Swept, VaultConfig};
use serde_json::{Value, json};

use crate::house::House;
use crate::https::Reply;

impl House {
    /// What a person says to a purpose in general: `given`, `refused` or `withdrawn`.
    pub(crate) fn consent(&self, subject: &str, purpose: &str, state: &str) -> Reply {
        self.consent_of_kind(subject, purpose, "general", state)
    }

    /// The same, of another kind.
    pub(crate) fn consent_of_kind(&self, subject: &str, purpose: &str, kind: &str, state: &str) -> Reply {
        self.say(subject, &said(purpose, kind, state))
    }

    /// Records what a person said, as the body has it.
    pub(crate) fn say(&self, subject: &str, body: &Value) -> Reply {
        self.post(&format!("/v1/subjects/{subject}/consents"), body).by(&self.holder(Role::Writer)).send()
    }

    /// Sets a switch.
    pub(crate) fn switch(&self, subject: &str, name: &str, on: bool) -> Reply {
        let path = format!("/v1/subjects/{subject}/preferences/{name}");
        self.put(&path, &json!({"on": on})).by(&self.holder(Role::Writer)).send()
    }

    /// One round of the sweeper.
    pub(crate) fn sweep(&self) -> Swept {
        self.wait(self.vault.sweep()).unwrap()
    }

    /// Somebody with a contract, a contact record and a consent to marketing.
    fn shopper(&self) -> String {
        let ada = self.newcomer("consumer");
        self.contract(&ada, "ord-1", "active").expect(201);
        self.contact(&ada);
        self.consent(&ada, "c-marketing", "given").expect(201);
        ada
    }

    /// Writes what was collected at that time.
    fn collected(&self, subject: &str, at: &str, purposes: &[&str], fields: &Value) -> String {
        let body = json!({"kind": "contact", "purposes": purposes, "collected_at": at, "fields": fields});
        let ask = self.post(&format!("/v1/subjects/{subject}/records"), &body).by(&self.holder(Role::Writer));
        ask.purpose(purposes[0]).send().expect(201).member("id")
    }

    pub(crate) fn consents(&self, subject: &str) -> Vec<Value> {
        let path = format!("/v1/subjects/{subject}/consents");
        let list = self.get(&path).by(&self.holder(Role::PrivacyOfficer)).send().expect(200).json();
        list["consents"].as_array().unwrap().clone()
    }

    fn groups(&self, subject: &str) -> Vec<String> {
        let subject = self.get(&format!("/v1/subjects/{subject}")).by(&self.holder(Role::PrivacyOfficer)).send().expect(200);
        subject.json()["groups"].as_array().unwrap().iter().map(|group| group.as_str().unwrap().to_owned()).collect()
    }

    /// The certificates of the erasures that the vault carried out by itself, in their order.
    fn own_certificates(&self) -> Vec<Value> {
        let events = self.events("");
        let made = events.iter().filter(|event| event["operation"] == "certificate");
        let certificate = |event: &Value| {
            let path = format!("/v1/erasures/{}", event["note"]["erasure"].as_str().unwrap());
            self.get(&path).by(&self.holder(Role::PrivacyOfficer)).send().expect(200).json()["certificate"].clone()
        };
        made.map(certificate).collect()
    }
}

/// A consent event with the notice in force.
pub(crate) fn said(purpose: &str, kind: &str, state: &str) -> Value {
    let notice = json!({"policy_version": "current", "language": "de", "channel": "web", "shown_at": "2026-11-23T09:59:00Z"});
    json!({"purpose": purpose, "kind": kind, "state": state, "notice": notice})
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn emails(reply: &Reply) -> Vec<Value> {
    reply.json()["records"].as_array().unwrap().iter().map(|record| record["fields"]["email"].clone()).collect()
}

#[test]
fn promise_p15_a_withdrawal_stops_the_very_next_read_and_leaves_other_bases_alone() {
    let house = House::start();
    let ada = house.shopper();
    house.read(&ada, "c-marketing", "email").expect(200);
    let path = format!("/v1/subjects/{ada}/records?fields=email");
    let reader = house.holder(Role::Reader);
    let mut open = house.connect();
    house.get(&path).by(&reader).purpose("c-marketing").send_on(&mut open).expect(200);
    // The clock stands still: it is the same instant.
    house.consent(&ada, "c-marketing", "withdrawn").expect(201);
    house.get(&path).by(&reader).purpose("c-marketing").send_on(&mut open).refused(403, "consent-withdrawn");
    house.read(&ada, "c-survey", "email").refused(403, "consent-withdrawn");
    assert_eq!(emails(&house.read(&ada, "b-service", "email").expect(200)), ["ada@example.org"]);
    // The switch does the same, and says which consents it took back.
    house.consent(&ada, "c-marketing", "given").expect(201);
    house.read(&ada, "c-marketing", "email").expect(200);
    let off = house.switch(&ada, "marketing", false).expect(200).json();
    assert_eq!(off["withdrawn"].as_array().unwrap().len(), 1);
    house.read(&ada, "c-marketing", "email").refused(403, "consent-withdrawn");
    let newest = house.consents(&ada).into_iter().find(|event| event["id"] == off["withdrawn"][0]).unwrap();
    assert_eq!((newest["state"].as_str(), newest["purpose"].as_str()), (Some("withdrawn"), Some("c-marketing")));
    // The last word counts: who consents again has turned the switch on.
    house.consent(&ada, "c-marketing", "given").expect(201);
    house.read(&ada, "c-marketing", "email").expect(200);
}

#[test]
fn promise_p17_the_switch_and_the_browsers_signal_stop_personalised_advertising() {
    let house = House::start();
    let ada = house.newcomer("consumer");
    house.consent(&ada, "e-ads", "given").expect(201);
    house.write(&ada, &["e-ads"], json!({"browsing": ["boots"]}));
    house.read(&ada, "e-ads", "").expect(200);
    house.switch(&ada, "personalised-ads", false).expect(200);
    house.read(&ada, "e-ads", "").refused(403, "objection-active");
    house.switch(&ada, "personalised-ads", true).expect(200);
    house.read(&ada, "e-ads", "").expect(200);
    // The application relays what the browser said, with whatever it records about the person.
    let body = said("e-ads", "general", "given");
    let path = format!("/v1/subjects/{ada}/consents");
    house.post(&path, &body).by(&house.holder(Role::Writer)).header("sec-gpc", "1").send().expect(201);
    house.read(&ada, "e-ads", "").refused(403, "objection-active");
    house.switch(&ada, "gpc", false).expect(200);
    house.read(&ada, "e-ads", "").expect(200);
    house.post(&path, &body).by(&house.holder(Role::Writer)).header("sec-gpc", "0").send().expect(201);
    house.read(&ada, "e-ads", "").expect(200);
    let known = house.get("/.well-known/gpc.json").send().expect(200);
    assert_eq!((known.header("content-type"), known.json()["gpc"].clone()), (Some("application/json"), json!(true)));
    house.switch(&ada, "colour", true).refused(404, "not-found");
}

#[test]
fn promise_p21_an_error_report_needs_the_persons_consent() {
    let house = House::shared();
    let ada = house.newcomer("consumer");
    let report = json!({"error_details": {"what": "it stopped"}});
    house.try_write(&ada, &["i-errors"], report.clone()).refused(403, "consent-missing");
    house.consent(&ada, "i-errors", "given").expect(201);
    house.try_write(&ada, &["i-errors"], report.clone()).expect(201);
    house.read(&ada, "i-errors", "").expect(200);
    house.consent(&ada, "i-errors", "withdrawn").expect(201);
    house.try_write(&ada, &["i-errors"], report).refused(403, "consent-withdrawn");
}

#[test]
fn promise_p28_a_receipt_has_the_fields_of_the_standard_and_the_trail_holds_it() {
    let house = House::start();
    let ada = house.newcomer("consumer");
    let mut body = said("c-marketing", "general", "given");
    body["until"] = json!("2027-11-23T10:00:00Z");
    body["evidence"] = json!("form 7, box 2");
    let made = house.say(&ada, &body).expect(201);
    let path = made.member("receipt");
    assert_eq!(made.header("location"), Some(path.as_str()));
    let answer = house.get(&path).by(&house.holder(Role::Writer)).send().expect(200);
    let file = answer.json();
    let schema: Value = serde_json::from_str(include_str!("../../../docs/schemas/consent-receipt.json")).unwrap();
    assert_eq!(misfits(&schema, &file["receipt"], ""), Vec::<String>::new());
    let receipt = &file["receipt"];
    assert_eq!(receipt["dct:identifier"], made.json()["id"]);
    assert_eq!(receipt["dpv:hasPurpose"]["@type"], json!(["dpv:DirectMarketing"]));
    assert_eq!(receipt["dpv:hasLegalBasis"], "eu-gdpr:A6-1-a");
    assert_eq!(receipt["dpv:hasPersonalData"], made.json()["categories"]);
    assert_eq!(receipt["prov:wasGeneratedBy"]["dpv:hasConsentStatus"], "dpv:ConsentGiven");
    assert_eq!(receipt["prov:wasGeneratedBy"]["dct:valid"], "2027-11-23T10:00:00Z");
    assert!(!answer.text().contains(&ada) && !answer.text().contains("form 7"), "nothing that leads to the person");
    let key = house.home.public_key();
    let verified = verify_receipt(answer.text().as_bytes(), &key).unwrap();
    assert_eq!(verified.receipt.id.to_string(), made.member("id"));
    // A changed letter, another key, another receipt's proof: none of them holds.
    let changed = answer.text().replace("dpv:ConsentGiven", "dpv:ConsentRefused");
    assert!(verify_receipt(changed.as_bytes(), &key).is_err());
    let mut stranger = key;
    stranger[0] ^= 1;
    assert!(verify_receipt(answer.text().as_bytes(), &stranger).is_err());
    let second = house.consent(&ada, "c-marketing", "withdrawn").expect(201).member("receipt");
    let mut second = house.get(&second).by(&house.holder(Role::Writer)).send().expect(200).json();
    assert!(verify_receipt(second.to_string().as_bytes(), &key).is_ok());
    second["proof"] = file["proof"].clone();
    assert!(verify_receipt(second.to_string().as_bytes(), &key).is_err());
    // It is the person's and those who record it; an event of somebody else is not there.
    house.get(&path).by(&house.holder(Role::Reader)).send().refused(403, "role-forbidden");
    let other = path.replace(&ada, &house.newcomer("consumer"));
    house.get(&other).by(&house.holder(Role::Writer)).send().refused(404, "not-found");
}

/// Where a value does not fit a schema, as far as JSON Schema goes that the receipt's needs.
fn misfits(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |holds: bool, what: &str| found.extend((!holds).then(|| format!("{place}: {what}")));
    match schema["type"].as_str() {
        Some("object") => expect(value.is_object(), "no object"),
        Some("array") => expect(value.is_array(), "no array"),
        Some("string") => expect(value.is_string(), "no string"),
        Some(other) => panic!("{other} is not known here"),
        None => {}
    }
    if let Some(only) = schema.get("const") {
        expect(value == only, "another value");
    }
    if let Some(some) = schema["enum"].as_array() {
        expect(some.contains(value), "none of the values");
    }
    if let Some(start) = schema["pattern"].as_str() {
        let start = start.strip_prefix('^').expect("patterns here are beginnings");
        expect(value.as_str().is_some_and(|text| text.starts_with(start)), "another beginning");
    }
    if let Some(least) = schema["minItems"].as_u64() {
        expect(value.as_array().is_some_and(|items| items.len() as u64 >= least), "too few");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        expect(value.get(name.as_str().unwrap()).is_some(), &format!("no {name}"));
    }
    if schema["additionalProperties"] == json!(false) {
        for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
            expect(schema["properties"].get(name).is_some(), &format!("{name} is not known"));
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(member) = value.get(name) {
            found.extend(misfits(inner, member, &format!("{place}/{name}")));
        }
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate().filter(|_| schema.get("items").is_some()) {
        found.extend(misfits(&schema["items"], item, &format!("{place}/{number}")));
    }
    found
}

#[test]
fn promise_p31_who_deletes_the_device_group_keeps_the_account_and_can_turn_cookies_off() {
    let house = House::start();
    let ada = house.newcomer("consumer");
    house.contact(&ada);
    house.consent(&ada, "e-personalise", "given").expect(201);
    house.write(&ada, &["e-personalise"], json!({"preferences": {"theme": "dark"}}));
    let portal = house.portal(&["x-rights", "a-account", "e-personalise"]);
    let me = house.own_token(&portal, &ada);
    house.put("/v1/subjects/me/preferences/cookies", &json!({"on": false})).by(&me).send().expect(200);
    house.read(&ada, "e-personalise", "").refused(403, "objection-active");
    house.put("/v1/subjects/me/preferences/cookies", &json!({"on": true})).by(&me).send().expect(200);
    house.read(&ada, "e-personalise", "").expect(200);
    let body = json!({"subject": "me", "scope": "groups", "groups": ["device"], "cause": "request"});
    let sealed = house.post("/v1/erasures", &body).by(&me).send().expect(201);
    assert_eq!(sealed.member("state"), "sealed");
    house.read(&ada, "e-personalise", "").refused(410, "key-destroyed");
    assert_eq!(house.groups(&ada), ["identity", "contract", "marketing"]);
    house.read(&ada, "a-account", "email").expect(200);
}

#[test]
fn promise_p47_taking_back_is_one_call_and_the_key_is_destroyed_after_the_grace() {
    let house = House::start();
    let ada = house.shopper();
    let given = house.consents(&ada)[0].clone();
    house.read(&ada, "c-marketing", "email").expect(200);
    house.home.turn(DAY);
    // The same call with one word changed; nothing more is asked.
    let withdrawn = house.say(&ada, &json!({"purpose": "c-marketing", "kind": "general", "state": "withdrawn"})).expect(201);
    assert_eq!(withdrawn.member("destroy_at"), "2026-11-25T10:00:00Z");
    house.read(&ada, "c-marketing", "email").refused(403, "consent-withdrawn");
    assert_eq!(house.sweep().groups, 0, "not before the grace is over");
    assert!(house.groups(&ada).contains(&"marketing".to_owned()));
    house.home.turn(DAY);
    assert_eq!(house.sweep().groups, 1);
    assert_eq!(house.groups(&ada), ["identity", "contract"]);
    let certificates = house.own_certificates();
    assert_eq!(certificates.len(), 1);
    assert_eq!((&certificates[0]["cause"], &certificates[0]["groups"]), (&json!("withdrawal"), &json!(["marketing"])));
    assert!(certificates[0]["self_test"]["checks"].as_array().unwrap().iter().all(|check| check["result"] == "closed"));
    assert_eq!(house.sweep().groups, 0, "once is enough");
    // What rests on the contract goes on, and what was done on the consent stays proven.
    assert_eq!(emails(&house.read(&ada, "b-service", "email").expect(200)), ["ada@example.org"]);
    let receipt = house.get(given["receipt"].as_str().unwrap()).by(&house.holder(Role::Writer)).send().expect(200);
    verify_receipt(receipt.text().as_bytes(), &house.home.public_key()).unwrap();
    let auditors = house.events("").into_iter().filter(|event| event["purpose"] == "c-marketing").count();
    assert!(auditors >= 3, "the reads and consents of before are still in the trail");
    // Who comes back begins anew: a fresh key, and nothing of before.
    house.consent(&ada, "c-marketing", "given").expect(201);
    assert!(house.groups(&ada).contains(&"marketing".to_owned()));
    house.write(&ada, &["c-marketing"], json!({"email": "new@example.org"}));
    assert_eq!(emails(&house.read(&ada, "c-marketing", "email").expect(200)), ["new@example.org"]);
}

#[test]
fn a_consent_given_again_within_the_grace_calls_the_destruction_off() {
    let house = House::start();
    let ada = house.shopper();
    house.consent(&ada, "c-survey", "given").expect(201);
    // Another purpose of the group still rests on a consent: nothing is to be destroyed.
    assert!(house.consent(&ada, "c-marketing", "withdrawn").expect(201).json()["destroy_at"].is_null());
    let last = house.consent(&ada, "c-survey", "withdrawn").expect(201).json();
    assert_eq!(last["destroy_at"].as_str(), Some("2026-11-24T10:00:00Z"));
    house.home.turn(DAY - SignedDuration::from_secs(1));
    house.consent(&ada, "c-marketing", "given").expect(201);
    house.home.turn(DAY);
    assert_eq!(house.sweep(), Swept { people: 1, ..Swept::default() });
    assert_eq!(emails(&house.read(&ada, "c-marketing", "email").expect(200)), ["ada@example.org"]);
}

#[test]
fn a_withdrawal_is_carried_out_after_a_restart_and_by_nobody_twice() {
    let house = House::start();
    let ada = house.shopper();
    house.consent(&ada, "c-marketing", "withdrawn").expect(201);
    let house = house.restart();
    house.home.turn(DAY);
    assert_eq!(house.sweep().groups, 1);
    let house = house.restart();
    assert_eq!((house.sweep().groups, house.own_certificates().len()), (0, 1));
    assert_eq!(house.groups(&ada), ["identity", "contract"]);
    house.read(&ada, "b-service", "email").expect(200);
}

#[test]
fn a_consent_ends_with_its_date_and_the_sweep_records_the_end() {
    let house = House::start();
    let ada = house.newcomer("consumer");
    house.contact(&ada);
    let mut body = said("c-marketing", "general", "given");
    body["until"] = json!("2026-11-24T10:00:00Z");
    house.say(&ada, &body).expect(201);
    house.read(&ada, "c-marketing", "email").expect(200);
    house.home.turn(DAY);
    house.read(&ada, "c-marketing", "email").refused(403, "consent-expired");
    assert_eq!(house.sweep().expired, 1);
    let states: Vec<_> = house.consents(&ada).iter().map(|event| event["state"].clone()).collect();
    assert_eq!(states, ["given", "expired"]);
    house.read(&ada, "c-marketing", "email").refused(403, "consent-expired");
    assert_eq!(house.sweep().expired, 0);
}

#[test]
fn promise_p54_what_has_ended_is_refused_with_the_sweeper_off_and_destroyed_by_the_sweep() {
    let house = House::start();
    let ada = house.newcomer("consumer");
    house.contract(&ada, "ord-1", "active").expect(201);
    house.consent(&ada, "c-marketing", "given").expect(201);
    // Marketing ends two years after the collection, an order after ten; the account has no end.
    let contact = json!({"name": "Ada", "email": "ada@example.org"});
    house.collected(&ada, "2024-11-24T09:00:00Z", &["a-account", "b-service", "c-marketing"], &contact);
    let old = house.collected(&ada, "2016-11-24T09:00:00Z", &["b-orders"], &json!({"name": "Ada", "orders": [{"order": "1"}]}));
    house.read(&ada, "c-marketing", "email").expect(200);
    let path = format!("/v1/subjects/{ada}/records?record={old}");
    let order = || house.get(&path).by(&house.holder(Role::Reader)).purpose("b-orders").send();
    order().expect(200);
    assert_eq!(house.sweep(), Swept { people: 1, ..Swept::default() });
    house.home.turn(DAY);
    house.read(&ada, "c-marketing", "email").refused(410, "retention-expired");
    order().refused(410, "retention-expired");
    assert_eq!(house.groups(&ada), ["identity", "contract", "marketing"], "nobody swept");
    // The key of marketing, of which nothing else is left; and the one order, whose group lives on for the contact.
    assert_eq!(house.sweep(), Swept { people: 1, groups: 1, records: 1, ..Swept::default() });
    assert_eq!(house.groups(&ada), ["identity", "contract"]);
    house.read(&ada, "c-marketing", "email").refused(410, "key-destroyed");
    order().refused(404, "not-found");
    assert_eq!(emails(&house.read(&ada, "b-service", "email").expect(200)), ["ada@example.org"]);
    assert_eq!(emails(&house.read(&ada, "a-account", "email").expect(200)), ["ada@example.org"]);
    let certificates = house.own_certificates();
    let scopes: Vec<_> = certificates.iter().map(|one| (one["cause"].clone(), one["scope"].clone())).collect();
    assert_eq!(scopes, [(json!("retention"), json!("groups")), (json!("retention"), json!("records"))]);
    assert_eq!(house.sweep(), Swept { people: 1, ..Swept::default() });
}

#[test]
fn a_person_can_agree_to_a_longer_time_and_take_that_back() {
    let house = House::start();
    let ada = house.newcomer("consumer");
    let mut body = said("c-marketing", "general", "given");
    body["extend_retention_until"] = json!("2030-01-01T00:00:00Z");
    house.say(&ada, &body).expect(201);
    house.collected(&ada, "2024-11-24T09:00:00Z", &["c-marketing"], &json!({"email": "ada@example.org"}));
    house.home.turn(DAY);
    house.read(&ada, "c-marketing", "email").expect(200);
    assert_eq!(house.sweep().groups, 0);
    house.consent(&ada, "c-marketing", "withdrawn").expect(201);
    house.consent(&ada, "c-marketing", "given").expect(201);
    house.read(&ada, "c-marketing", "email").refused(410, "retention-expired");
}

/// Reads over eight connections; from the moment that `act` was answered on, each that begins is refused with `code`.
fn stops_every_read(house: &House, subject: &str, code: &str, act: impl FnOnce()) {
    let reader = house.holder(Role::Reader);
    let path = format!("/v1/subjects/{subject}/records?fields=email");
    let (done, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (before, after) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // However this ends, the readers end with it.
        let _stopped = Raised(&stop);
        let readers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut open = house.connect();
                    while !stop.load(Ordering::SeqCst) {
                        let late = done.load(Ordering::SeqCst);
                        let reply = house.get(&path).by(&reader).purpose("c-marketing").send_on(&mut open);
                        if late {
                            reply.refused(403, code);
                            after.fetch_add(1, Ordering::SeqCst);
                        } else if reply.status == 200 {
                            before.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        let wait_for = |count: &AtomicU64| {
            while count.load(Ordering::SeqCst) < 100 && !readers.iter().any(|reader| reader.is_finished()) {
                std::thread::yield_now();
            }
        };
        wait_for(&before);
        act();
        done.store(true, Ordering::SeqCst);
        wait_for(&after);
    });
    assert!(before.load(Ordering::SeqCst) >= 100 && after.load(Ordering::SeqCst) >= 100);
}

/// Raises a flag when it goes.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn under_load_no_read_that_begins_after_a_withdrawal_is_answered_on_any_connection() {
    let house = House::start();
    let ada = house.shopper();
    stops_every_read(&house, &ada, "consent-withdrawn", || {
        house.consent(&ada, "c-marketing", "withdrawn").expect(201);
    });
}

#[test]
fn under_load_no_read_that_begins_after_a_restriction_is_answered_on_any_connection() {
    let house = House::start();
    let ada = house.shopper();
    let officer = house.holder(Role::PrivacyOfficer);
    stops_every_read(&house, &ada, "restricted", || {
        let path = format!("/v1/subjects/{ada}/restrictions");
        house.post(&path, &json!({"kind": "art18"})).by(&officer).send().expect(201);
    });
}

#[test]
fn a_consent_event_is_strict_and_never_overwritten() {
    let house = House::start();
    let ada = house.newcomer("consumer");
    let path = format!("/v1/subjects/{ada}/consents");
    house.consent(&ada, "z-nothing", "given").refused(403, "purpose-not-published");
    house.consent(&ada, "f-supplier", "given").refused(403, "subject-class-mismatch");
    for (kind, status, code) in [
        ("loud", 422, "invalid-body"),
        ("separate:partner:nobody", 403, "recipient-unknown"),
        ("explicit:partner:ads-one:colour", 422, "field-not-in-catalogue"),
        ("separate:partner:ads-one:c-marketing", 422, "invalid-body"),
    ] {
        house.consent_of_kind(&ada, "e-ads", kind, "given").refused(status, code);
    }
    for kind in ["separate", "separate:partner:ads-one:e-ads", "explicit:partner:ads-one:email"] {
        assert_eq!(house.consent_of_kind(&ada, "e-ads", kind, "given").expect(201).member("kind"), kind);
    }
    let same = house.consent_of_kind(&ada, "e-ads", "separate:partner:ads-one", "given").expect(201);
    assert_eq!(same.member("kind"), "separate:partner:ads-one:e-ads");
    for (member, value) in [
        ("until", json!("2026-11-23T10:00:00Z")),
        ("extend_retention_until", json!("2026-11-23T09:00:00Z")),
        ("evidence", json!("")),
        ("notice", json!({"policy_version": "1999-1", "language": "de", "channel": "web", "shown_at": "2026-11-23T09:59:00Z"})),
        ("colour", json!("red")),
    ] {
        let mut body = said("c-marketing", "general", "given");
        body[member] = value;
        house.say(&ada, &body).refused(422, "invalid-body");
    }
    let mut late = said("c-marketing", "general", "withdrawn");
    late["until"] = json!("2027-11-23T10:00:00Z");
    house.say(&ada, &late).refused(422, "invalid-body");
    house
        .post(&path, &said("c-marketing", "general", "given"))
        .by(&house.holder(Role::Reader))
        .send()
        .refused(403, "role-forbidden");
    // The ledger has what was recorded, in its order, a page at a time; an auditor sees tags only.
    let all = house.consents(&ada);
    assert_eq!(all.len(), 4);
    let auditor = house.holder(Role::Auditor);
    let first = house.get(&format!("{path}?limit=3")).by(&auditor).send().expect(200);
    assert!(first.json()["tag"].is_string() && !first.text().contains(&ada));
    let next = first.json()["next_cursor"].as_str().unwrap().to_owned();
    let rest = house.get(&format!("{path}?limit=3&cursor={next}")).by(&auditor).send().expect(200).json();
    assert_eq!((rest["consents"][0]["id"].clone(), rest["next_cursor"].clone()), (all[3]["id"].clone(), Value::Null));
    // The same call twice with an Idempotency-Key is one event.
    let body = said("c-marketing", "general", "given");
    let once = || {
        house.post(&path, &body).by(&house.holder(Role::Writer)).header("idempotency-key", "k1").send().expect(201).member("id")
    };
    assert_eq!(once(), once());
    assert_eq!(house.consents(&ada).len(), 5);
}

#[test]
fn an_erasure_takes_the_ledger_with_it() {
    let house = House::start();
    let ada = house.shopper();
    let receipt = house.consents(&ada)[0]["receipt"].as_str().unwrap().to_owned();
    house.erase_subject(&ada);
    house.get(&receipt).by(&house.holder(Role::Writer)).send().refused(410, "erased");
    house.consent(&ada, "c-marketing", "withdrawn").refused(410, "erased");
    assert_eq!(house.sweep(), Swept::default());
}

#[test]
fn the_sweep_keeps_what_a_restriction_is_for_keeping_and_takes_it_afterwards() {
    let house = House::start();
    let ada = house.shopper();
    let path = format!("/v1/subjects/{ada}/restrictions");
    let officer = house.holder(Role::PrivacyOfficer);
    let dispute = house.post(&path, &json!({"kind": "dispute"})).by(&officer).send().expect(201).member("id");
    house.consent(&ada, "c-marketing", "withdrawn").expect(201);
    house.home.turn(DAY);
    let swept = house.sweep();
    assert_eq!((swept.groups, swept.records, swept.kept), (0, 0, 1));
    assert!(house.groups(&ada).contains(&"marketing".to_owned()));
    house.ask("DELETE", &format!("{path}/{dispute}")).by(&officer).json(&json!({"reason": "settled"})).send().expect(204);
    let swept = house.sweep();
    assert_eq!((swept.groups, swept.kept), (1, 0));
    assert_eq!(house.groups(&ada), ["identity", "contract"]);
}

#[test]
fn the_trail_accounts_for_every_row_that_consents_and_the_sweep_leave() {
    let house = House::start();
    let ada = house.shopper();
    house.switch(&ada, "gpc", true).expect(200);
    house.switch(&ada, "marketing", false).expect(200);
    house.home.turn(DAY);
    assert_eq!(house.sweep().groups, 1);
    let home = house.close();
    let config = VaultConfig { on_fatal: Arc::new(|_| {}), ..VaultConfig::in_dir(home.path()) };
    let report = check(&config, &home.public_key()).unwrap();
    assert!(report.first_break.is_none(), "{:?}", report.first_break);
}
