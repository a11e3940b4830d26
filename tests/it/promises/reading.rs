//! What is read, how much of it and by how many: masks and step up, queries, secrets, statistics (p06, p09 to p11, p14, p19,
//! p20, p22, p25, p26).

use std::collections::BTreeSet;

use jiff::SignedDuration;
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::field::{Identifiability, Kind};
use oubliette::model::wire::PutCaller;
use oubliette::store::Store;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{has, has_not, sample, seen};
use crate::canary::{Canary, absent, absent_under};
use crate::house::{House, Token};
use crate::https::Reply;

impl House {
    /// The person behind this token gets a second factor, from a security officer: its secret.
    pub(crate) fn enrol(&self, token: &Token) -> Vec<u8> {
        let path = format!("/v1/callers/{}/factors", token.id);
        let made = self.post(&path, &json!({})).by(&self.holder(Role::SecurityOfficer)).send().expect(201);
        from_base32(&made.member("secret"))
    }

    /// What the factor shows now.
    pub(crate) fn code(&self, secret: &[u8]) -> String {
        keys::totp::code(secret, self.home.clock.now().as_second() as u64)
    }

    /// Tries a code.
    pub(crate) fn try_code(&self, token: &Token, code: &str) -> Reply {
        self.post("/v1/step-ups", &json!({"code": code})).by(token).send()
    }

    /// The token sees clear text from now on, for five minutes.
    pub(crate) fn step_up(&self, token: &Token) {
        let secret = self.enrol(token);
        self.try_code(token, &self.code(&secret)).expect(200);
    }

    /// Another token of the same caller.
    fn another(&self, token: &Token) -> Token {
        let path = format!("/v1/callers/{}/tokens", token.id);
        let text = self.post(&path, &json!({})).by(&self.holder(Role::SecurityOfficer)).send().expect(201).member("token");
        Token { text, ..token.clone() }
    }

    /// A query of the reader.
    fn query(&self, purpose: &str, body: Value) -> Reply {
        self.post("/v1/queries", &body).by(&self.holder(Role::Reader)).purpose(purpose).send()
    }

    /// So many people with the same record of an account.
    fn crowd(&self, count: usize, fields: Value) -> Vec<String> {
        let one = |_| {
            let subject = self.ada();
            let mut fields = fields.clone();
            fields["name"] = json!("Ada");
            self.write(&subject, &["a-account"], fields);
            subject
        };
        (0..count).map(one).collect()
    }

    fn verify(&self, subject: &str, field: &str, value: &str) -> Reply {
        let path = format!("/v1/subjects/{subject}/secrets/{field}/verifications");
        self.post(&path, &json!({"value": value})).by(&self.holder(Role::Writer)).purpose("a-account").send()
    }

    fn try_count(&self, body: &Value) -> Reply {
        self.post("/v1/stats", body).by(&self.holder(Role::Writer)).send()
    }

    /// Counts page views of a page in a country on the day of the clock.
    fn count(&self, page: &str, country: &str, count: u64) {
        let dimensions = json!({"page": page, "country": country});
        let at = self.home.clock.now();
        self.try_count(&json!({"measure": "page-views", "at": at, "dimensions": dimensions, "count": count})).expect(204);
    }

    fn stats(&self, query: &str) -> Reply {
        self.get(&format!("/v1/stats?{query}")).by(&self.holder(Role::Reader)).purpose("h-efficiency").send()
    }
}

fn from_base32(text: &str) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u64, 0);
    for letter in text.bytes() {
        let digit = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
        held = (held << 5) | u64::from(digit);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

fn rows(reply: Reply) -> Vec<Value> {
    reply.expect(200).json()["rows"].as_array().unwrap().clone()
}

fn cells(reply: Reply) -> Vec<(Value, u64)> {
    let cells = reply.expect(200).json()["cells"].clone();
    cells.as_array().unwrap().iter().map(|cell| (cell["value"].clone(), cell["count"].as_u64().unwrap())).collect()
}

#[test]
fn promise_p06_a_combination_that_few_people_share_does_not_leave_a_query() {
    let house = House::start();
    house.crowd(11, json!({"gender": "f", "birth_date": "1980-02-03", "postcode": "10115"}));
    let by_year = || json!({"fields": ["birth_date", "postcode", "gender"], "years": ["birth_date"]});
    let eleven = rows(house.query("a-account", by_year()));
    assert_eq!(eleven.len(), 11);
    for row in &eleven {
        assert_eq!(row["fields"], json!({"birth_date": "1980", "postcode": "10115", "gender": "f"}));
    }

    let two = house.crowd(2, json!({"gender": "m", "birth_date": "1985-06-07", "postcode": "10117"}));
    house.query("a-account", by_year()).refused(403, "combination-identifies");
    // The two are in the way alone: they cannot be singled out by what is filtered by either, nor by leaving fields away.
    let filtered = |value: &str, fields: Value| {
        house.query("a-account", json!({"fields": fields, "filters": [{"field": "gender", "op": "equals", "value": value}]}))
    };
    assert_eq!(rows(filtered("f", json!(["postcode"]))).len(), 11);
    filtered("m", json!(["postcode"])).refused(403, "combination-identifies");
    filtered("m", json!(["consents"])).refused(403, "combination-identifies");
    // Nobody is an answer too: it looks like too few.
    filtered("nobody", json!(["postcode"])).refused(403, "combination-identifies");
    let year = json!({"fields": ["gender"], "filters": [{"field": "birth_date", "op": "year", "value": "1985"}]});
    house.query("a-account", year).refused(403, "combination-identifies");
    let near = json!({"fields": ["gender"], "filters": [{"field": "postcode", "op": "prefix", "value": "101"}]});
    house.query("a-account", near).refused(403, "combination-identifies");
    // A crowd of ten with them is none, one of eleven is.
    house.crowd(8, json!({"gender": "m", "birth_date": "1985-01-01", "postcode": "10117"}));
    house.query("a-account", by_year()).refused(403, "combination-identifies");
    house.crowd(1, json!({"gender": "m", "birth_date": "1985-12-31", "postcode": "10117"}));
    assert_eq!(rows(house.query("a-account", by_year())).len(), 22);
    // By the day they are as rare as before.
    house.query("a-account", json!({"fields": ["birth_date", "gender"]})).refused(403, "combination-identifies");
    // A purpose that may know who somebody is may ask for it openly.
    let open = rows(house.query("a-account", json!({"fields": ["name", "gender"]})));
    assert!(open.iter().any(|row| row["subject"] == two[0].as_str() && row["fields"] == json!({"name": "Ada", "gender": "m"})));
}

#[test]
fn promise_p09_a_password_is_stored_as_a_verifier_and_never_read() {
    let house = House::start();
    let subject = house.ada();
    let password = "Canary-correct-Horse-77";
    house.write(&subject, &["a-account"], json!({"name": "Ada", "password": password}));
    house.read(&subject, "a-account", "password").refused(403, "category-not-permitted");
    house.query("a-account", json!({"fields": ["name", "password"]})).refused(403, "category-not-permitted");
    let canaries = [Canary::of(password), Canary::of("$argon2id$")];
    let tenant = house.tenant(0);
    let officer = house.caller(CallerKind::Person, &[Role::PrivacyOfficer, Role::Reader], &["x-rights", "a-account"]);
    house.step_up(&officer);
    let path = format!("/v1/subjects/{subject}/records");
    let export = house.get(&path).by(&officer).purpose("x-rights").send().expect(200);
    assert!(export.text().contains("Ada"));
    absent(&canaries, "the export", &export.everything());
    assert!(!export.text().contains("password"));
    house.get(&format!("{path}?fields=password")).by(&officer).purpose("a-account").send().refused(403, "category-not-permitted");
    for purpose in tenant.purposes() {
        absent(&canaries, &purpose.id, &house.read(&subject, &purpose.id, "").everything());
    }

    // It can be compared with, and with nothing else.
    for (value, matches) in [(password, true), ("Canary-correct-Horse-78", false), ("", false)] {
        let verified = house.verify(&subject, "password", value).expect(200);
        absent(&canaries, "the verification", &verified.everything());
        assert_eq!(verified.json(), json!({"matches": matches}), "{value}");
    }
    house.verify(&subject, "name", "Ada").refused(404, "not-found");
    house.verify(&subject, "shoe_size", "43").refused(404, "not-found");
    absent(&canaries, "the trail", format!("{:?}", house.events("")).as_bytes());
    absent_under(&canaries, house.close().path());
}

#[test]
fn promise_p09_a_secret_that_is_not_there_matches_nothing_and_a_new_one_takes_the_old_ones_place() {
    let house = House::start();
    let subject = house.ada();
    assert_eq!(house.verify(&subject, "password", "x").expect(200).json(), json!({"matches": false}));
    for (second, password) in [(0, "the first one"), (1, "the second one")] {
        house.home.turn(SignedDuration::from_secs(second));
        house.write(&subject, &["a-account"], json!({"name": "Ada", "password": password}));
    }
    assert_eq!(house.verify(&subject, "password", "the second one").expect(200).json(), json!({"matches": true}));
    assert_eq!(house.verify(&subject, "password", "the first one").expect(200).json(), json!({"matches": false}));
    let path = format!("/v1/subjects/{subject}/secrets/password/verifications");
    let ask =
        |role: Role, purpose: &str| house.post(&path, &json!({"value": "x"})).by(&house.holder(role)).purpose(purpose).send();
    ask(Role::Writer, "c-marketing").refused(403, "category-not-permitted");
    ask(Role::PrivacyOfficer, "a-account").refused(403, "role-forbidden");
}

#[test]
fn a_secret_is_tried_ten_times_a_minute_and_no_more() {
    let house = House::start();
    let (ada, grace) = (house.ada(), house.ada());
    house.write(&ada, &["a-account"], json!({"name": "Ada", "password": "right"}));
    for _ in 0..10 {
        house.verify(&ada, "password", "wrong").expect(200);
    }
    let limited = house.verify(&ada, "password", "right");
    assert_eq!(limited.header("retry-after"), Some("60"));
    limited.refused(429, "rate-limited");
    house.verify(&grace, "password", "wrong").expect(200);
    house.home.turn(SignedDuration::from_secs(60));
    assert_eq!(house.verify(&ada, "password", "right").expect(200).json(), json!({"matches": true}));
}

/// A supplier's record with an identity document and a bank account, and a person who reads for that purpose.
fn supplier(house: &House) -> (String, Token) {
    let subject = house.person("business-contact");
    let document = json!({"type": "passport", "number": "C01X00T47"});
    house.write(
        &subject,
        &["f-supplier"],
        json!({"name": "Grace", "id_document": document, "bank_account": "DE02120300000000202051"}),
    );
    let desk = house.caller(CallerKind::Person, &[Role::Reader], &["f-supplier"]);
    (subject, desk)
}

#[test]
fn promise_p10_an_identity_document_is_masked_until_a_step_up_and_the_trail_says_which() {
    let house = House::start();
    let (subject, desk) = supplier(&house);
    let path = format!("/v1/subjects/{subject}/records");
    let read = |token: &Token| house.get(&path).by(token).purpose("f-supplier").send().expect(200);
    let fields = |reply: &Reply| reply.json()["records"][0]["fields"].clone();
    let masked = json!({"name": "Grace", "id_document": {"type": "passport", "number": "****0T47"}, "bank_account": "****2051"});
    let clear = json!({"name": "Grace", "id_document": {"type": "passport", "number": "C01X00T47"}, "bank_account": "DE02120300000000202051"});

    let before = read(&desk);
    assert_eq!(fields(&before), masked);
    let secret = house.enrol(&desk);
    assert_eq!(fields(&read(&desk)), masked, "a factor alone is no step up");
    house.try_code(&desk, &house.code(&secret)).expect(200);
    let after = read(&desk);
    assert_eq!(fields(&after), clear);
    assert_eq!(fields(&read(&house.another(&desk))), masked, "another token of the same caller");

    // Both are in the trail, and what each released how.
    let events = house.events(&format!("&caller={}", desk.id));
    let obligations = |reply: &Reply| {
        let id = reply.header("vault-decision").unwrap();
        events.iter().find(|event| event["id"] == id).unwrap()["obligations"].clone()
    };
    assert_eq!(obligations(&before), json!({"masked": [13, 38], "clear": []}));
    assert_eq!(obligations(&after), json!({"masked": [], "clear": [13, 38]}));

    // Other purposes stay closed all the same, and five minutes later the mask is back.
    house.get(&path).by(&desk).purpose("k-security").send().refused(403, "purpose-not-granted");
    house.home.turn(SignedDuration::from_secs(299));
    assert_eq!(fields(&read(&desk)), clear);
    house.home.turn(SignedDuration::from_secs(1));
    assert_eq!(fields(&read(&desk)), masked);
}

#[test]
fn promise_p10_who_asks_for_clear_text_or_nothing_is_told_how_to_step_up() {
    let house = House::start();
    let (subject, desk) = supplier(&house);
    let path = format!("/v1/subjects/{subject}/records");
    let read =
        |query: &str| house.get(&format!("{path}{query}")).by(&desk).purpose("f-supplier").header("vault-clear", "true").send();
    let told = read("?fields=id_document");
    let challenge = told.header("www-authenticate").unwrap().to_owned();
    assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
    assert!(challenge.contains("acr_values=\"urn:oubliette:acr:second-factor\""), "{challenge}");
    assert_eq!(told.json()["remedy"], "stepUp");
    told.refused(401, "step-up-required");
    read("?fields=name").expect(200);
    house.step_up(&desk);
    assert!(read("?fields=id_document").expect(200).text().contains("C01X00T47"));
    let query = json!({"fields": ["name", "id_document"]});
    let other = house.another(&desk);
    let ask = |token: &Token| house.post("/v1/queries", &query).by(token).purpose("f-supplier").send();
    assert_eq!(rows(ask(&other))[0]["fields"]["id_document"]["number"], "****0T47");
    assert_eq!(rows(ask(&desk))[0]["fields"]["id_document"]["number"], "C01X00T47");
}

#[test]
fn promise_p10_a_code_counts_once_in_its_time_and_is_not_guessed() {
    let house = House::start();
    let (_, desk) = supplier(&house);
    house.try_code(&desk, "000000").refused(401, "step-up-required");
    let secret = house.enrol(&desk);
    let code = house.code(&secret);
    house.try_code(&desk, &code).expect(200);
    house.try_code(&desk, &code).refused(401, "step-up-required");
    house.try_code(&house.another(&desk), &code).refused(401, "step-up-required");
    house.home.turn(SignedDuration::from_mins(5));
    house.try_code(&desk, &code).refused(401, "step-up-required");
    let wrong = if house.code(&secret) == "123456" { "123457" } else { "123456" };
    for _ in 0..4 {
        house.try_code(&desk, wrong).refused(401, "step-up-required");
    }
    let limited = house.try_code(&desk, &house.code(&secret));
    assert_eq!(limited.header("retry-after"), Some("300"));
    limited.refused(429, "rate-limited");
    house.home.turn(SignedDuration::from_mins(5));
    let fresh = house.code(&secret);
    house.try_code(&desk, &fresh).expect(200);
    // What was taken stays taken when the vault starts anew.
    let house = house.restart();
    house.try_code(&desk, &fresh).refused(401, "step-up-required");
    // A new factor takes the old one's place, and nobody enrols their own or a machine's.
    let newer = house.enrol(&desk);
    assert_ne!(newer, secret);
    house.home.turn(SignedDuration::from_mins(5));
    house.try_code(&desk, &house.code(&secret)).refused(401, "step-up-required");
    house.try_code(&desk, &house.code(&newer)).expect(200);
    let officer = house.holder(Role::SecurityOfficer);
    let enrol = |id: &Token| house.post(&format!("/v1/callers/{}/factors", id.id), &json!({})).by(&officer).send();
    enrol(&officer).refused(403, "second-person-required");
    enrol(&house.caller(CallerKind::Service, &[Role::Reader], &[])).refused(409, "state-conflict");
}

#[test]
fn promise_p11_a_message_is_no_index_entry_and_its_mask_shows_nothing_of_it() {
    let house = House::of_controllers(1);
    let subject = house.ada();
    house.write(&subject, &["b-care"], json!({"name": "Ada"}));
    let store = house.store.clone().unwrap();
    let aliases = || store.scan(b"n\x01", None, 100_000).unwrap();
    let before = aliases();
    assert!(!before.is_empty());
    let message = "canary: my parcel never came to ada@example.org";
    for (field, value) in [("message", json!(message)), ("messages", json!([message])), ("enquiry", json!(message))] {
        house.write(&subject, &["b-care"], json!({field: value}));
    }
    assert!(aliases() == before, "the alias tree changed");
    house.ada();
    assert!(aliases() != before, "the comparison shows nothing");

    let look = |kind: &str, value: &str| {
        let body = json!({"type": kind, "value": value});
        house.post("/v1/subject-lookups", &body).by(&house.holder(Role::Reader)).purpose("b-care").send()
    };
    for field in house.tenant(0).fields().iter().filter(|field| field.kind == Kind::FreeText) {
        look(&field.name, message).refused(422, "not-indexable");
        let filter = json!({"fields": ["language"], "filters": [{"field": field.name, "op": "equals", "value": message}]});
        house.query("b-care", filter).refused(422, "not-indexable");
    }
    for kind in ["handle", "external_id", "email"] {
        look(kind, message).refused(404, "not-found");
    }
    let shown = house.read(&subject, "b-care", "message,messages,enquiry").expect(200);
    assert!(!shown.text().contains("canary"), "{}", shown.text());
    assert_eq!(shown.json()["records"][1]["fields"].as_object().unwrap().values().next(), Some(&json!("****")));
    let agent = house.caller(CallerKind::Person, &[Role::Reader], &["b-care"]);
    house.step_up(&agent);
    let path = format!("/v1/subjects/{subject}/records?fields=message");
    assert!(house.get(&path).by(&agent).purpose("b-care").send().expect(200).text().contains(message));
    house.try_write(&subject, &["b-care"], json!({"message": "x".repeat(64 << 10)})).refused(422, "field-value-invalid");
}

#[test]
fn promise_p14_a_delivery_sees_the_address_but_no_training_results() {
    let house = House::shared();
    let subject = house.ada();
    let fields =
        json!({"name": "Ada", "phone": "+49 30 1234567", "address": "Unter den Linden 1", "training_results": ["passed"]});
    house.write(&subject, &["b-service"], fields);
    assert_eq!(seen(&house, &subject, "b-delivery"), ["address", "name", "phone"]);
    house.read(&subject, "b-delivery", "address,training_results").refused(403, "category-not-permitted");
    assert_eq!(seen(&house, &subject, "b-training"), ["name", "phone", "training_results"]);
    has(&seen(&house, &subject, "b-service"), &["address", "training_results"]);
    // Each child of the purpose sees its own categories and no other.
    let tenant = house.tenant(0);
    for purpose in tenant.purposes().iter().filter(|purpose| purpose.parent.as_deref() == Some("b-service")) {
        if purpose.group == tenant.group("contract") {
            for name in seen(&house, &subject, &purpose.id) {
                assert!(purpose.categories.contains(&tenant.field(&name).unwrap().category), "{} {name}", purpose.id);
            }
        }
    }
}

#[test]
fn promise_p14_a_delivery_rests_on_a_contract_that_is_in_force() {
    let house = House::shared();
    let subject = house.ada();
    house.write(&subject, &["b-service"], json!({"name": "Ada", "phone": "+49 30 1234567", "address": "Unter den Linden 1"}));
    let put = |state: &str| {
        let body = json!({"state": state, "from": "2026-11-01"});
        let path = format!("/v1/subjects/{subject}/contracts/ord-14");
        house.put(&path, &body).by(&house.holder(Role::Writer)).send()
    };
    let path = format!("/v1/subjects/{subject}/records");
    let read =
        || house.get(&path).by(&house.holder(Role::Reader)).purpose("b-delivery").header("vault-contract", "ord-14").send();
    let query = || {
        let ask = house.post("/v1/queries", &json!({"fields": ["name", "address"]})).by(&house.holder(Role::Reader));
        let found = rows(ask.purpose("b-delivery").header("vault-contract", "ord-14").send());
        found.iter().any(|row| row["subject"] == subject.as_str())
    };
    read().refused(403, "contract-inactive");
    assert!(!query());
    put("active").expect(201);
    assert_eq!(read().expect(200).json()["records"][0]["fields"]["address"], "Unter den Linden 1");
    assert!(query());
    put("closed").expect(200);
    read().refused(403, "contract-inactive");
    assert!(!query());
}

#[test]
fn promise_p15_who_took_the_consent_back_is_in_no_marketing_query() {
    let house = House::start();
    let people = [house.ada(), house.ada()];
    people.iter().for_each(|subject| drop(house.contact(subject)));
    let reached = || -> BTreeSet<String> {
        let found = rows(house.query("c-marketing", json!({"fields": ["email"]})));
        found.iter().map(|row| row["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(reached(), people.iter().cloned().collect());
    for (place, subject) in people.iter().enumerate() {
        let body = json!({"purpose": "c-marketing", "kind": "general", "state": "withdrawn"});
        house.post(&format!("/v1/subjects/{subject}/consents"), &body).by(&house.holder(Role::Writer)).send().expect(201);
        assert_eq!(reached(), people[place + 1..].iter().cloned().collect());
    }
    assert_eq!(rows(house.query("b-service", json!({"fields": ["email"]}))).len(), 2);
}

#[test]
fn promise_p19_improvement_sees_no_direct_identifier_and_knows_nobody_twice() {
    let house = House::start();
    let subject = house.ada();
    let tenant = house.tenant(0);
    let improve = tenant.purpose("g-improve").unwrap();
    let fields = tenant.fields().iter().filter(|field| improve.fields.contains(field.number));
    let fields: serde_json::Map<_, _> = fields.map(|field| (field.name.clone(), sample(field))).collect();
    house.write(&subject, &["g-improve"], fields.into());
    house.contact(&subject);
    let names = seen(&house, &subject, "g-improve");
    has(&names, &["orders", "error_details"]);
    has_not(&names, &["name", "email", "message"]);
    for name in &names {
        assert_ne!(tenant.field(name).unwrap().identifiability, Identifiability::Direct, "{name}");
    }
    for field in tenant.fields().iter().filter(|field| field.identifiability == Identifiability::Direct) {
        house.read(&subject, "g-improve", &field.name).refused(403, "category-not-permitted");
        house.query("g-improve", json!({"fields": [field.name]})).refused(403, "category-not-permitted");
        let filter = json!({"field": field.name, "op": "equals", "value": "x"});
        house.query("g-improve", json!({"fields": ["orders"], "filters": [filter]})).refused(403, "category-not-permitted");
    }

    // One alone is no crowd; with ten others of the same answers, rows come out that say nothing about who.
    let opinion = json!({"fields": ["survey_answers"]});
    house.query("g-improve", opinion.clone()).refused(403, "combination-identifies");
    let mut people = BTreeSet::from([subject]);
    for _ in 0..10 {
        let other = house.ada();
        house.consent(&other, "c-survey", "given").expect(201);
        let answers = sample(tenant.field("survey_answers").unwrap());
        house.write(&other, &["c-survey", "g-improve"], json!({"name": "Canary Ada", "survey_answers": answers}));
        people.insert(other);
    }
    let pseudonyms = || -> BTreeSet<String> {
        let reply = house.query("g-improve", opinion.clone()).expect(200);
        let text = reply.text();
        for direct in ["Canary", "example.org", "+49", "sub_", "rec_"].into_iter().chain(people.iter().map(String::as_str)) {
            assert!(!text.contains(direct), "{direct} stands in {text}");
        }
        let rows = rows(reply);
        for row in &rows {
            assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), ["fields", "pseudonym"]);
            assert_eq!(row["fields"], json!({"survey_answers": {"a": 1}}));
        }
        rows.iter().map(|row| row["pseudonym"].as_str().unwrap().to_owned()).collect()
    };
    let (one, other) = (pseudonyms(), pseudonyms());
    assert_eq!((one.len(), other.len()), (11, 11));
    assert!(one.is_disjoint(&other), "a pseudonym of one query stands in another");
    // Each of the eleven has an entry of their own, and the query one.
    let entries = house.events(&format!("&caller={}", house.holder(Role::Reader).id));
    let tags: BTreeSet<_> = entries
        .iter()
        .filter(|event| event["operation"] == "queryRecords")
        .filter_map(|event| event["subject_tag"].as_str())
        .collect();
    assert_eq!(tags.len(), 11);
}

#[test]
fn promise_p20_efficiency_never_sees_a_record_but_reads_statistics() {
    let house = House::start();
    let subject = house.ada();
    house.contact(&subject);
    house.read(&subject, "h-efficiency", "").refused(403, "aggregate-only");
    house.read(&subject, "h-efficiency", "name").refused(403, "aggregate-only");
    house.query("h-efficiency", json!({"fields": ["name"]})).refused(403, "aggregate-only");
    house.query("h-efficiency", json!({"fields": ["orders"]})).refused(403, "aggregate-only");
    house.try_write(&subject, &["h-efficiency"], json!({"name": "Ada"})).refused(403, "aggregate-only");
    house.try_write(&subject, &["a-account", "h-efficiency"], json!({"name": "Ada"})).refused(403, "aggregate-only");
    house.count("home", "de", 40);
    assert_eq!(cells(house.stats("measure=page-views")), [(Value::Null, 40)]);
    // Statistics are read for that purpose and no other; those who oversee need none.
    let reader = house.holder(Role::Reader);
    let ask = |token: &Token| house.get("/v1/stats?measure=page-views").by(token);
    ask(&reader).send().refused(400, "purpose-required");
    ask(&reader).purpose("b-service").send().refused(403, "purpose-incompatible");
    ask(&reader).purpose("z-nothing").send().refused(403, "purpose-not-published");
    let narrow = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    ask(&narrow).purpose("h-efficiency").send().refused(403, "purpose-not-granted");
    ask(&house.holder(Role::Auditor)).send().expect(200);
}

#[test]
fn promise_p22_a_support_agent_cannot_read_content() {
    let house = House::shared();
    let subject = house.ada();
    house.write(&subject, &["j-sync"], json!({"content": "c2VjcmV0IGRpYXJ5"}));
    house.write(&subject, &["b-care"], json!({"name": "Ada", "message": "it does not sync"}));
    let agent = house.caller(CallerKind::Person, &[Role::Reader], &["b-care"]);
    house.step_up(&agent);
    let path = format!("/v1/subjects/{subject}/records");
    let read = |purpose: &str, query: &str| house.get(&format!("{path}{query}")).by(&agent).purpose(purpose).send();
    read("j-sync", "").refused(403, "purpose-not-granted");
    read("b-care", "?fields=content").refused(403, "category-not-permitted");
    for query in ["", "?group=content", "?group=support"] {
        assert!(!read("b-care", query).expect(200).text().contains("c2VjcmV0"), "{query}");
    }
    let query = |purpose: &str| house.post("/v1/queries", &json!({"fields": ["content"]})).by(&agent).purpose(purpose).send();
    query("b-care").refused(403, "category-not-permitted");
    query("j-sync").refused(403, "purpose-not-granted");
    let owner = house.caller(CallerKind::Service, &[Role::Reader], &["j-sync"]);
    let content = house.get(&path).by(&owner).purpose("j-sync").send().expect(200).json();
    assert_eq!(content["records"][0]["fields"], json!({"content": "c2VjcmV0IGRpYXJ5"}));
    for purpose in house.tenant(0).purposes().iter().filter(|purpose| !["j-sync", "x-rights"].contains(&purpose.id.as_str())) {
        assert!(!house.read(&subject, &purpose.id, "").text().contains("c2VjcmV0"), "{}", purpose.id);
    }
}

#[test]
fn promise_p22_content_is_kept_by_the_app_that_it_was_given_to_and_no_other() {
    let house = House::start();
    let subject = house.ada();
    let app = |source: &str, role: Role| {
        let mut body = PutCaller::of(source, CallerKind::Service, vec![role], vec!["j-sync".into()]);
        body.source = Some(source.into());
        let (id, text) = house.wait(house.vault.bootstrap(&house.tenant(0), body)).unwrap();
        Token { id, text }
    };
    let sources: Vec<String> = house.tenant(0).sources().iter().take(2).map(|source| source.id.clone()).collect();
    let path = format!("/v1/subjects/{subject}/records");
    let body = json!({"kind": "file", "fields": {"content": "c2VjcmV0IGRpYXJ5"}});
    house.post(&path, &body).by(&app(&sources[0], Role::Writer)).purpose("j-sync").send().expect(201);
    let read = |source: &str| house.get(&path).by(&app(source, Role::Reader)).purpose("j-sync").send();
    assert!(read(&sources[0]).expect(200).text().contains("c2VjcmV0IGRpYXJ5"));
    read(&sources[1]).refused(403, "origin-scope");
    house.read(&subject, "j-sync", "").refused(403, "origin-scope");
    let query =
        |token: &Token| rows(house.post("/v1/queries", &json!({"fields": ["content"]})).by(token).purpose("j-sync").send());
    assert_eq!(query(&app(&sources[0], Role::Reader)).len(), 1);
    assert_eq!(query(&app(&sources[1], Role::Reader)), [] as [Value; 0]);
}

#[test]
fn promise_p25_a_cell_below_the_floor_is_suppressed_and_so_is_what_would_give_it_away() {
    let house = House::start();
    for (country, count) in [("de", 40), ("fr", 30), ("jp", 10)] {
        house.count("home", country, count);
    }
    let by_country = || cells(house.stats("measure=page-views&by=country"));
    // 80 in all, so France goes with Japan: 80 less Germany is what the two have together.
    assert_eq!(cells(house.stats("measure=page-views")), [(Value::Null, 80)]);
    assert_eq!(by_country(), [(json!("de"), 40)]);
    assert_eq!(house.stats("measure=page-views&by=country").json()["suppressed"], true);
    house.count("home", "jp", 1);
    assert_eq!(by_country(), [(json!("de"), 40), (json!("fr"), 30), (json!("jp"), 11)]);
    assert_eq!(house.stats("measure=page-views&by=country").json()["suppressed"], false);
    // A small total is none at all, whatever the days.
    house.home.turn(SignedDuration::from_hours(24));
    house.count("basket", "de", 10);
    assert_eq!(cells(house.stats("measure=page-views")), []);
    assert_eq!(cells(house.stats("measure=page-views&from=2026-11-23&until=2026-11-24")), [(Value::Null, 91)]);
    assert_eq!(cells(house.stats("measure=page-views&from=2026-11-22&until=2026-11-22")), []);
    for bad in ["measure=page-views&from=2026-11-25&until=2026-11-24", "by=page", "measure=page-views&from=2020-01-01"] {
        house.stats(bad).refused(400, "malformed-request");
    }
    for unknown in ["measure=visits", "measure=page-views&by=colour"] {
        house.stats(unknown).refused(404, "not-found");
    }
    // They have their own rows, which survive a restart and which no erasure of anybody touches.
    let house = house.restart();
    let subject = house.ada();
    house.erase_subject(&subject);
    assert_eq!(cells(house.stats("measure=page-views&from=2026-11-23&until=2026-11-23")), [(Value::Null, 81)]);
}

#[test]
fn promise_p25_statistics_take_numbers_and_declared_words_alone_and_count_a_repetition_once() {
    let house = House::start();
    let good = json!({"measure": "response-time", "at": "2026-11-23T09:59:00Z", "dimensions": {"page": "home"}, "count": 20, "sum": 900});
    let send = || house.post("/v1/stats", &good).by(&house.holder(Role::Writer)).header("idempotency-key", "one").send();
    send().expect(204);
    send().expect(204);
    house.try_count(&good).expect(204);
    let read = house.stats("measure=response-time").expect(200).json();
    assert_eq!(read["cells"], json!([{"value": null, "count": 40, "sum": 1800}]));
    for (member, value) in [
        ("measure", json!("visits")),
        ("count", json!(0)),
        ("count", json!(1.5)),
        ("count", json!(-1)),
        ("sum", json!(1_200_001)),
        ("at", json!("2026-11-24T10:00:00Z")),
        ("colour", json!("red")),
    ] {
        let mut body = good.clone();
        body[member] = value;
        house.try_count(&body).refused(422, "invalid-body");
    }
    house.post("/v1/stats", &good).by(&house.holder(Role::Reader)).send().refused(403, "role-forbidden");
    assert_eq!(house.stats("measure=response-time").expect(200).json()["cells"], read["cells"]);
}

#[test]
fn promise_p26_what_looks_like_a_person_never_lands_in_the_statistics() {
    let house = House::of_controllers(1);
    let tenant = house.tenant(0);
    let names: Vec<String> = tenant.fields().iter().map(|field| field.name.clone()).collect();
    let values: Vec<String> = tenant.fields().iter().map(|field| sample(field).to_string()).collect();
    let personal = prop_oneof![
        "[a-z]{1,10}@[a-z]{1,10}\\.(org|com|de)",
        "\\+[1-9][0-9 ]{6,14}",
        "0[0-9]{6,12}",
        "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
        "(sub|rec|ers|cns|tok)_[0-7][0-9a-hjkmnp-tv-z]{25}",
        "[A-Z][a-z]{2,9} [A-Z][a-z]{2,12}",
        "[A-Z]{2}[0-9]{2}[0-9A-Z]{11,20}",
        "[A-Za-z0-9+/]{40,80}=",
        "[\\PC]{0,3}[äöü北京][\\PC]{0,20}",
        proptest::sample::select(values),
    ];
    let place = 0..7_usize;
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let writer = house.holder(Role::Writer);
    let outcome = runner.run(&(personal, place, proptest::sample::select(names)), |(value, place, name)| {
        let mut body =
            json!({"measure": "page-views", "at": "2026-11-23T09:00:00Z", "dimensions": {"page": "home"}, "count": 20});
        match place {
            0 => body["measure"] = json!(value),
            1 => body["dimensions"]["page"] = json!(value),
            2 => body["dimensions"][value.as_str()] = json!("home"),
            3 => body[value.as_str()] = json!(1),
            4 => body["count"] = json!(value),
            5 => body[name.as_str()] = json!(value),
            _ => body["dimensions"][name.as_str()] = json!([{"a": value}]),
        }
        let reply = house.post("/v1/stats", &body).by(&writer).send();
        let found = (reply.status, reply.code());
        prop_assert_eq!((found.0, found.1.as_str()), (422, "mixed-data-is-personal"), "{}", body);
        prop_assert_eq!(&reply.json()["remedy"], "writeRecord");
        prop_assert!(!reply.text().contains(&value) || value.is_empty());
        Ok(())
    });
    outcome.unwrap();
    let store = house.store.as_ref().unwrap();
    assert_eq!(store.scan(b"y", None, 10).unwrap(), []);
    // A plain name in a dimension is not declared, so it is nothing to count by either.
    let body = json!({"measure": "page-views", "at": "2026-11-23T09:00:00Z", "dimensions": {"page": "ada"}, "count": 20});
    house.try_count(&body).refused(422, "mixed-data-is-personal");
    assert_eq!(store.scan(b"y", None, 10).unwrap(), []);
    house.count("home", "de", 20);
    let rows = store.scan(b"y", None, 10).unwrap();
    assert_eq!(rows.len(), 1);
    assert!(!crate::canary::contains(&rows[0].1, b"home"), "the row is not sealed");
}

#[test]
fn a_token_reads_no_more_people_in_an_hour_than_its_budget() {
    let house = House::start_with(|config| config.limits.people_per_hour = 3);
    let people: Vec<String> = (0..4).map(|_| house.ada()).collect();
    people.iter().for_each(|subject| drop(house.contact(subject)));
    for _ in 0..2 {
        people[..3].iter().for_each(|subject| drop(house.read(subject, "b-service", "name").expect(200)));
    }
    house.home.turn(SignedDuration::from_mins(10));
    let spent = house.read(&people[3], "b-service", "name");
    assert_eq!(spent.header("retry-after"), Some("3000"));
    spent.refused(429, "read-budget-spent");
    house.query("b-service", json!({"fields": ["name"]})).refused(429, "read-budget-spent");
    house.read(&people[0], "b-service", "name").expect(200);
    let other = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    let path = format!("/v1/subjects/{}/records", people[3]);
    house.get(&path).by(&other).purpose("b-service").send().expect(200);
    house.home.turn(SignedDuration::from_mins(50));
    house.read(&people[3], "b-service", "name").expect(200);
}

#[test]
fn a_query_goes_on_where_it_stopped_and_leaves_out_who_is_out_of_reach() {
    let house = House::start();
    let people: Vec<String> = (0..7).map(|_| house.ada()).collect();
    people.iter().for_each(|subject| drop(house.contact(subject)));
    let stranger = house.ada();
    house.write(&stranger, &["a-account"], json!({"name": "Grace"}));
    house.erase(&json!({"subject": people[0], "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}));
    house.erase_subject(&people[1]);
    let (mut found, mut cursor, mut pages) = (BTreeSet::new(), Value::Null, 0);
    loop {
        let mut body = json!({"fields": ["email"], "limit": 2});
        if !cursor.is_null() {
            body["cursor"] = cursor;
        }
        let page = house.query("c-marketing", body).expect(200).json();
        for row in page["rows"].as_array().unwrap() {
            assert_eq!(row["fields"], json!({"email": "ada@example.org"}));
            assert!(found.insert(row["subject"].as_str().unwrap().to_owned()));
        }
        pages += 1;
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
        // The cursor is this query's and this caller's.
        let other = json!({"fields": ["name"], "cursor": cursor});
        house.query("c-marketing", other).refused(400, "bad-cursor");
        house.query("b-service", json!({"fields": ["email"], "limit": 2, "cursor": cursor})).refused(400, "bad-cursor");
    }
    assert_eq!((found, pages), (people[2..].iter().cloned().collect(), 3));
    assert_eq!(rows(house.query("b-service", json!({"fields": ["email"]}))).len(), 6);
    let role =
        |role: Role| house.post("/v1/queries", &json!({"fields": ["email"]})).by(&house.holder(role)).purpose("b-service").send();
    role(Role::Writer).refused(403, "role-forbidden");
    role(Role::PrivacyOfficer).refused(403, "role-forbidden");
    for (body, code) in [
        (json!({"fields": []}), "invalid-body"),
        (json!({"fields": ["shoe_size"]}), "field-not-in-catalogue"),
        (json!({"fields": ["email"], "limit": 501}), "invalid-body"),
        (json!({"fields": ["email"], "filters": [{"field": "email", "op": "equals", "value": "a"}]}), "not-indexable"),
        (json!({"fields": ["email"], "filters": [{"field": "company", "op": "regex", "value": "a"}]}), "invalid-body"),
    ] {
        house.query("b-service", body).refused(422, code);
    }
}
