//! The promises of the published policy, each through the real HTTPS API (each named by its number). Of p13 to p24 the part that
//! rests on purpose and category.

pub(crate) mod backups;
mod bundles;
mod config;
pub(crate) mod consents;
mod incidents;
pub(crate) mod letters;
mod partners;
mod people;
mod reading;
mod requests;

use std::io::{Read, Write};
use std::net::TcpStream;

use oubliette::model::caller::{CallerKind, Operation, Role};
use oubliette::model::field::{Field, Kind};
use oubliette::model::ids::RecordId;
use oubliette::policy::roles::{self, Cell};
use oubliette::store::{Batch, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::canary::{Canary, absent, absent_under};
use crate::house::House;

pub(crate) mod creds;

/// A value that fits the field.
pub(crate) fn sample(field: &Field) -> Value {
    match field.kind {
        Kind::Text | Kind::Secret | Kind::FreeText => json!(format!("a {}", field.name)),
        Kind::Email => json!("somebody@example.org"),
        Kind::Phone => json!("+49 30 7654321"),
        Kind::Date => json!("1980-02-03"),
        Kind::Object if field.name == "id_document" => json!({"type": "passport", "number": "C01X00T47"}),
        Kind::Object => json!({"a": 1}),
        Kind::List => json!(["one", {"two": 2}]),
        Kind::Blob => json!("AAECAwQF"),
    }
}

/// A person of a class with a record of every field that a purpose of the class may collect.
fn with_everything(house: &House, class: &str) -> String {
    let subject = house.person(class);
    let tenant = house.tenant(0);
    for purpose in tenant.purposes().iter().filter(|purpose| purpose.group.is_some() && purpose.classes.contains(class)) {
        let fields = tenant.fields().iter().filter(|field| purpose.fields.contains(field.number));
        let fields: serde_json::Map<_, _> = fields.map(|field| (field.name.clone(), sample(field))).collect();
        house.write(&subject, &[&purpose.id], fields.into());
    }
    subject
}

/// The names of all fields that the reader sees of a subject for a purpose.
fn seen(house: &House, subject: &str, purpose: &str) -> Vec<String> {
    let records = house.read(subject, purpose, "").expect(200).json()["records"].clone();
    let fields = records.as_array().unwrap().iter().flat_map(|record| record["fields"].as_object().unwrap().keys().cloned());
    let mut names: Vec<String> = fields.collect();
    names.sort();
    names.dedup();
    names
}

#[track_caller]
fn has(names: &[String], wanted: &[&str]) {
    wanted.iter().for_each(|name| assert!(names.iter().any(|seen| seen == name), "{name} is not in {names:?}"));
}

#[track_caller]
fn has_not(names: &[String], unwanted: &[&str]) {
    unwanted.iter().for_each(|name| assert!(names.iter().all(|seen| seen != name), "{name} is in {names:?}"));
}

#[test]
fn promise_p04_a_purpose_outside_the_published_policy_never_decrypts() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let tenant = house.tenant(0);
    let known: Vec<String> = tenant.purposes().iter().map(|purpose| purpose.id.clone()).collect();
    let near = proptest::sample::select(known.clone()).prop_flat_map(|id| {
        let (upper, cut, dotted) = (id.to_uppercase(), id[1..].to_owned(), format!("{id}."));
        let parts = (Just(id), "[a-z0-9-]{1,4}").prop_map(|(id, more)| format!("{id}{more}"));
        prop_oneof![Just(upper), Just(cut), Just(dotted), parts]
    });
    let purposes = prop_oneof![near, "[A-Za-z0-9_.:-]{1,64}", "[!-~]([ -~]{0,30}[!-~])?"];
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&purposes, |purpose| {
        prop_assume!(!known.contains(&purpose));
        let reply = house.read(&subject, &purpose, "");
        let named = purpose.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)) && purpose.len() <= 64;
        let wanted = if named { (403, "purpose-not-published") } else { (400, "malformed-request") };
        let code = reply.code();
        prop_assert_eq!((reply.status, code.as_str()), wanted);
        prop_assert!(!reply.text().contains("Ada"));
        Ok(())
    });
    outcome.unwrap();
    house.read(&subject, "b-service", "name").expect(200);
}

#[test]
fn promise_p08_every_category_of_the_policy_is_in_the_catalogue_and_can_be_written() {
    let house = House::shared();
    let tenant = house.tenant(0);
    for (category, field, term) in [
        ("name", "name", "pd:Name"),
        ("gender", "gender", "pd:Gender"),
        ("company name", "company", "pd:CurrentEmployment"),
        ("post", "post", "pd:Job"),
        ("address", "address", "pd:PhysicalAddress"),
        ("e-mail", "email", "pd:EmailAddress"),
        ("telephone", "phone", "pd:TelephoneNumber"),
        ("account", "account", "pd:Username"),
        ("login information", "password", "pd:Password"),
        ("images", "image", "pd:Picture"),
        ("ID information", "id_document", "pd:OfficialID"),
        ("ID images", "id_image", "pd:OfficialID"),
        ("messages", "message", "pd:Communication"),
        ("enquiries", "enquiry", "pd:Communication"),
        ("device", "device", "pd:DeviceBased"),
    ] {
        let known = tenant.field(field).unwrap_or_else(|_| panic!("{category} has no field"));
        assert_eq!(known.category, term, "{category}");
    }
    let subjects = [house.person("consumer"), house.person("business-contact")];
    for field in tenant.fields() {
        let takes = |class: &str| {
            let mut all = tenant.purposes().iter();
            all.find(|purpose| {
                purpose.group.is_some() && purpose.classes.contains(class) && purpose.fields.contains(field.number)
            })
        };
        let (subject, purpose) = match (takes("consumer"), takes("business-contact")) {
            (Some(purpose), _) => (&subjects[0], purpose),
            (None, Some(purpose)) => (&subjects[1], purpose),
            (None, None) => panic!("{} is collected for no purpose", field.name),
        };
        house.try_write(subject, &[&purpose.id], json!({&field.name: sample(field)})).expect(201);
    }
    let unknown = house.try_write(&subjects[0], &["a-account"], json!({"shoe_size": "43"}));
    unknown.refused(422, "field-not-in-catalogue");
    house.read(&subjects[0], "a-account", "shoe_size").refused(422, "field-not-in-catalogue");
}

#[test]
fn promise_p13_the_account_takes_identity_and_contact_but_no_identity_card() {
    let house = House::shared();
    let subject = house.ada();
    house.write(&subject, &["a-account"], json!({"name": "Ada", "email": "ada@example.org", "account": "ada"}));
    for (field, value) in [("id_image", json!("AAEC")), ("id_document", json!({"type": "passport", "number": "C01X00T47"}))] {
        house.try_write(&subject, &["a-account"], json!({"name": "Ada", field: value})).refused(403, "category-not-permitted");
        house.read(&subject, "a-account", field).refused(403, "category-not-permitted");
    }
    assert_eq!(seen(&house, &subject, "a-account"), ["account", "email", "name"]);
}

#[test]
fn promise_p15_marketing_sees_its_own_fields_and_ends_at_once_while_the_contract_goes_on() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    assert_eq!(seen(&house, &subject, "c-marketing"), ["email", "name", "phone"]);
    house.read(&subject, "c-marketing", "address").refused(403, "category-not-permitted");
    house.erase(&json!({"subject": subject, "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}));
    for purpose in ["c-marketing", "c-survey", "c-events"] {
        house.read(&subject, purpose, "").refused(410, "key-destroyed");
    }
    has(&seen(&house, &subject, "b-service"), &["name", "address"]);
}

#[test]
fn promise_p15_what_was_not_collected_for_marketing_is_not_there_for_it() {
    let house = House::shared();
    let subject = house.ada();
    house.write(&subject, &["b-service"], json!({"name": "Ada", "email": "ada@example.org"}));
    assert_eq!(house.read(&subject, "c-marketing", "").expect(200).json()["records"], json!([]));
}

#[test]
fn promise_p16_a_notice_needs_the_contact_alone_and_no_marketing() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    house.erase(&json!({"subject": subject, "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}));
    assert_eq!(seen(&house, &subject, "d-notice"), ["email", "name", "phone"]);
    house.read(&subject, "d-notice", "address").refused(403, "category-not-permitted");
}

#[test]
fn promise_p17_advertising_sees_browsing_and_never_identity() {
    let house = House::shared();
    let subject = with_everything(&house, "consumer");
    for purpose in ["e-ads", "e-personalise"] {
        let names = seen(&house, &subject, purpose);
        has(&names, &["browsing", "preferences"]);
        has_not(&names, &["name", "email", "phone", "address", "id_document", "id_image", "birth_date", "password"]);
        for field in ["name", "email", "id_document", "birth_date"] {
            house.read(&subject, purpose, field).refused(403, "category-not-permitted");
        }
    }
}

#[test]
fn promise_p18_supplier_management_covers_business_contacts_only() {
    let house = House::shared();
    let (consumer, supplier) = (house.ada(), house.person("business-contact"));
    house.contact(&consumer);
    house.read(&consumer, "f-supplier", "").refused(403, "subject-class-mismatch");
    house.try_write(&consumer, &["f-supplier"], json!({"name": "Ada"})).refused(403, "subject-class-mismatch");
    house.try_write(&consumer, &["a-account", "f-supplier"], json!({"name": "Ada"})).refused(403, "subject-class-mismatch");
    house.write(
        &supplier,
        &["f-supplier"],
        json!({"name": "Grace", "company": "Cobol Ltd", "id_document": {"type": "id", "number": "1234"}}),
    );
    assert_eq!(seen(&house, &supplier, "f-supplier"), ["company", "id_document", "name"]);
}

#[test]
fn promise_p21_an_error_report_holds_error_details_and_nothing_else() {
    let house = House::shared();
    let subject = house.ada();
    house.write(&subject, &["i-errors"], json!({"error_details": {"code": 7}}));
    assert_eq!(seen(&house, &subject, "i-errors"), ["error_details"]);
    house
        .try_write(&subject, &["i-errors"], json!({"error_details": {}, "email": "a@example.org"}))
        .refused(403, "category-not-permitted");
    house.contact(&subject);
    assert_eq!(seen(&house, &subject, "i-errors"), ["error_details"]);
}

#[test]
fn promise_p23_security_sees_device_and_transaction_which_marketing_does_not() {
    let house = House::shared();
    let subject = house.ada();
    let fields = json!({"name": "Ada", "ip": "192.0.2.7", "device": {"id": "d-1"}, "transaction": {"amount": 3}});
    house.write(&subject, &["k-security"], fields);
    assert_eq!(seen(&house, &subject, "k-security"), ["device", "ip", "name", "transaction"]);
    house.read(&subject, "k-security", "address").refused(403, "category-not-permitted");
    house.read(&subject, "c-marketing", "ip").refused(403, "category-not-permitted");
    assert_eq!(house.read(&subject, "c-marketing", "name").expect(200).json()["records"], json!([]));
}

#[test]
fn promise_p24_legal_and_policy_duties_are_two_purposes_and_rights_reach_everything() {
    let house = House::shared();
    let subject = with_everything(&house, "consumer");
    let (legal, internal) = (seen(&house, &subject, "l1-legal"), seen(&house, &subject, "l2-policy"));
    has(&legal, &["name", "invoice", "birth_date"]);
    has_not(&legal, &["interests", "browsing", "message", "content", "password"]);
    has(&internal, &["name", "order"]);
    has_not(&internal, &["birth_date", "id_document", "interests", "content", "password"]);
    house.read(&subject, "l2-policy", "birth_date").refused(403, "category-not-permitted");
    let reader = house.holder(Role::Reader);
    let legal = |rule: &str| {
        let ask = house.get(&format!("/v1/subjects/{subject}/records?fields=invoice")).by(&reader).purpose("l1-legal");
        if rule.is_empty() { ask.send() } else { ask.header("vault-rule", rule).send() }
    };
    legal("").refused(422, "rule-required");
    legal("cn-tax-24").refused(403, "no-lawful-basis");
    legal("no-such-rule").refused(403, "no-lawful-basis");
    legal("de-hgb-257").expect(200);
    let narrow = house.caller(CallerKind::Person, &[Role::Reader], &["l2-policy"]);
    let path = format!("/v1/subjects/{subject}/records");
    house.get(&path).by(&narrow).purpose("l1-legal").send().refused(403, "purpose-not-granted");
    let officer = house.caller(CallerKind::Person, &[Role::PrivacyOfficer], &["l1-legal", "x-rights"]);
    house.get(&path).by(&officer).purpose("l1-legal").send().refused(403, "role-forbidden");
    // An officer reads for the request of a person that is open and verified, and for nothing else.
    house.get(&path).by(&officer).purpose("x-rights").send().refused(403, "role-forbidden");
    let request = house.verified_request(&subject);
    let rights = || house.get(&path).by(&officer).purpose("x-rights").header("vault-case", &request).send().expect(200).text();
    assert!(!rights().contains("a message") && !rights().contains("C01X00T47"));
    house.step_up(&officer);
    let rights = rights();
    for value in ["AAECAwQF", "a message", "a ip", "C01X00T47", "a name"] {
        assert!(rights.contains(value), "{value}");
    }
    assert!(!rights.contains("a password") && !rights.contains("argon2"));
    house.try_write(&subject, &["x-rights"], json!({"name": "Ada"})).refused(403, "category-not-permitted");
}

#[test]
fn promise_p44_after_sealed_neither_the_image_nor_a_backup_gives_the_erased_back() {
    let house = House::start();
    let texts = ["Canary Lovelace-44", "canary44@example.org", "Canary Street 44a"];
    let canaries = texts.map(Canary::of);
    let body = json!({"class": "consumer", "jurisdiction": "DE", "aliases": [{"type": "email", "value": texts[1]}], "notice": crate::house::notice()});
    let writer = house.holder(Role::Writer);
    let subject = house.post("/v1/subjects", &body).by(&writer).purpose("a-account").send().expect(201).member("id");
    house.contract(&subject, "ord-0", "active").expect(201);
    house.write(&subject, &["a-account", "b-service"], json!({"name": texts[0], "email": texts[1], "address": texts[2]}));
    house.read(&subject, "b-service", "name").expect(200);
    let other = house.ada();
    house.contact(&other);
    let home = house.close();
    let backup = home.copy();

    let house = House::open(home).unwrap();
    let sealed = house.erase_subject(&subject);
    assert_eq!(sealed.member("state"), "sealed");
    house.read(&subject, "b-service", "").refused(410, "erased");
    house.get(&format!("/v1/subjects/{subject}")).by(&writer).send().refused(410, "erased");
    let look = json!({"type": "email", "value": texts[1]});
    house.post("/v1/subject-lookups", &look).by(&writer).purpose("b-service").send().refused(404, "not-found");
    house.read(&other, "b-service", "name").expect(200);
    let home = house.close();
    absent_under(&canaries, home.path());
    absent_under(&canaries, backup.path());

    // Yesterday's data with today's keyring: nothing of it opens for the erased.
    for file in ["keys/keyring", "keys/root"] {
        std::fs::copy(home.path().join(file), backup.path().join(file)).unwrap();
    }
    if let Ok(house) = House::open(backup) {
        let reply = house.read(&subject, "b-service", "");
        assert!(reply.status >= 400, "{}", reply.text());
        absent(&canaries, "the answer", &reply.everything());
    }
    let house = House::open(home).unwrap();
    house.read(&subject, "b-service", "").refused(410, "erased");
}

#[test]
fn promise_p49_there_is_no_plain_http_and_no_older_tls() {
    let house = House::shared();
    let mut plain = TcpStream::connect(house.address).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    // A ClientHello of TLS 1.2 (RFC 5246 §7.4.1.2), with one of its ciphers and no extension but the groups and signatures.
    let extensions = hex("000a000400020017000d000400020403");
    let mut hello = hex("0303");
    hello.extend([7; 32]);
    hello.extend(hex("000002c02b0100"));
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut record = vec![0x16, 3, 1];
    record.extend((hello.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((hello.len() as u16).to_be_bytes());
    record.extend(hello);
    let mut old = TcpStream::connect(house.address).unwrap();
    old.write_all(&record).unwrap();
    let mut answer = Vec::new();
    let _ = old.read_to_end(&mut answer);
    // A fatal alert: protocol_version.
    assert_eq!((answer.first(), answer.get(5), answer.get(6)), (Some(&0x15), Some(&2), Some(&70)), "{answer:?}");
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn promise_p49_no_planted_plaintext_stands_in_any_file() {
    let house = House::start();
    let subject = house.ada();
    let canary = "Canary forty-nine";
    house.write(&subject, &["a-account", "b-service"], json!({"name": canary, "address": canary, "company": canary}));
    assert!(house.read(&subject, "b-service", "name").text().contains(canary));
    let canaries = [Canary::of(canary), Canary::of("ada@example.org")];
    absent_under(&canaries, house.home.path());
    absent_under(&canaries, house.close().path());
}

#[test]
fn promise_p49_any_flipped_bit_of_a_stored_record_stops_its_reading() {
    let house = House::of_controllers(1);
    let subject = house.ada();
    let record = house.write(&subject, &["b-service"], json!({"name": "Canary Ada", "address": "Unter den Linden 1"}));
    // A subject with many records has none of them kept in memory, so each read goes to the store.
    let others = vec![json!({"subject": subject, "record": {"kind": "contact", "fields": {"name": "other"}}}); 40];
    let batch = house.post("/v1/records:batch", &json!(others)).by(&house.holder(Role::Writer)).purpose("b-service").send();
    batch.expect(200);
    let path = format!("/v1/subjects/{subject}/records?record={record}");
    let reader = house.holder(Role::Reader);
    let read = || house.get(&path).by(&reader).purpose("b-service").send();
    let good = read().expect(200).text();
    let store = house.store.clone().unwrap();
    let of_it = record.parse::<RecordId>().unwrap();
    let rows = store.scan(b"r", None, 100).unwrap();
    let (key, value) = rows.into_iter().find(|(key, _)| key.ends_with(of_it.bytes())).unwrap();
    let put = |value: &[u8]| {
        let mut batch = Batch::default();
        batch.put(key.clone(), value);
        store.commit(&batch).unwrap();
    };
    let mut stopped = 0;
    let positions: Vec<usize> = (0..value.len()).collect();
    for &at in &positions {
        let mut flipped = value.clone();
        flipped[at] ^= 1 << (at % 8);
        put(&flipped);
        let reply = read();
        if reply.status == 200 {
            assert_eq!(reply.text(), good, "byte {at}");
        } else {
            stopped += 1;
            assert!(!reply.text().contains("Canary"), "byte {at}");
            assert!(
                ["internal", "store-unavailable", "key-destroyed", "not-found"].contains(&reply.code().as_str()),
                "{}",
                reply.text()
            );
        }
    }
    // All but the time of the last change, which is no part of what a reader is told.
    assert!(stopped + 8 >= positions.len(), "{stopped} of {}", positions.len());
    put(&value);
    assert_eq!(read().expect(200).text(), good);
    let reads = house.events(&format!("&caller={}", reader.id));
    assert!(reads.len() > positions.len(), "each try is in the trail");
    let refused = reads.iter().filter(|event| event["outcome"] == "refused").count();
    assert_eq!(refused, stopped, "each failure is in the trail");
}

#[test]
fn promise_p50_every_role_does_what_the_matrix_says_and_nothing_else() {
    crate::routes::every_role_does_what_the_matrix_says();
}

#[test]
fn promise_p50_explain_decision_names_the_guard_that_fails() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let ask = |role: Role, body: Value| house.post("/v1/decisions", &body).by(&house.holder(role)).send().expect(200).json();
    let about = |operation: Operation, purpose: &str, fields: Value| {
        json!({"action": {"name": operation.text()}, "resource": {"type": "subject", "id": subject},
               "context": {"purpose": purpose, "fields": fields}})
    };
    let guard = |answer: &Value, id: &str| {
        let all = answer["context"]["guards"].as_array().unwrap();
        all.iter().find(|finding| finding["guard"] == id).unwrap().clone()
    };
    let yes = ask(Role::Reader, about(Operation::ReadRecords, "b-service", json!(["name"])));
    assert_eq!(yes["decision"], true, "{yes}");
    let role = ask(Role::Auditor, about(Operation::ReadRecords, "b-service", json!(["name"])));
    assert_eq!((&role["decision"], &guard(&role, "G1")["code"]), (&json!(false), &json!("role-forbidden")));
    let purpose = ask(Role::Reader, about(Operation::ReadRecords, "z-nothing", json!([])));
    assert_eq!((&purpose["decision"], &guard(&purpose, "G3")["code"]), (&json!(false), &json!("purpose-not-published")));
    let category = ask(Role::Reader, about(Operation::ReadRecords, "c-marketing", json!(["address"])));
    assert_eq!(guard(&category, "G5")["code"], "category-not-permitted");
    assert_eq!(guard(&category, "G3")["holds"], true);
    assert_eq!(roles::cell(Operation::ReadRecords, Role::Auditor), Cell::Never);
}
