//! What happens to people and their records over their life: notice, provenance, corrections, restrictions, closure, childhood.

use jiff::SignedDuration;
use oubliette::audit::certificate::verify_certificate;
use oubliette::model::caller::{CallerKind, Role};
use serde_json::{Value, json};

use crate::house::{House, Token, notice};
use crate::https::Reply;

impl House {
    /// createSubject, whatever comes of it.
    pub(crate) fn create(&self, body: &Value) -> Reply {
        self.post("/v1/subjects", body).by(&self.holder(Role::Writer)).purpose("a-account").send()
    }

    /// Somebody of that jurisdiction and birth date, with a notice and `more` members.
    pub(crate) fn born(&self, jurisdiction: &str, birth_date: &str, more: &Value) -> Reply {
        let email = format!("born{}@example.org", self.number());
        let mut body = json!({"class": "consumer", "jurisdiction": jurisdiction, "birth_date": birth_date, "notice": notice(),
            "aliases": [{"type": "email", "value": email}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.create(&body)
    }

    /// A guardian and what shows that they agreed, also to `purposes`.
    pub(crate) fn guarded(&self, jurisdiction: &str, purposes: &[&str]) -> Value {
        let guardian = self.born(jurisdiction, "1980-02-03", &json!({})).expect(201).member("id");
        json!({"guardian": guardian, "guardian_consent": agreed(purposes)})
    }

    /// getSubject, by an officer.
    pub(crate) fn subject(&self, subject: &str) -> Reply {
        self.get(&format!("/v1/subjects/{subject}")).by(&self.holder(Role::PrivacyOfficer)).send()
    }

    /// restrictSubject, by the first officer.
    pub(crate) fn restrict(&self, subject: &str, body: &Value) -> Reply {
        self.post(&format!("/v1/subjects/{subject}/restrictions"), body).by(&self.holder(Role::PrivacyOfficer)).send()
    }

    /// A legal hold on these records, in force; on all without any.
    pub(crate) fn hold(&self, subject: &str, records: &[&str], case: &str) -> String {
        let body = json!({"kind": "legal-hold", "records": records, "case": case, "review_at": "2027-11-23T10:00:00Z"});
        let id = self.restrict(subject, &body).expect(201).member("id");
        let path = format!("/v1/subjects/{subject}/restrictions/{id}/approvals");
        self.post(&path, &json!({})).by(&self.second(Role::PrivacyOfficer)).send().expect(200);
        id
    }

    /// liftRestriction, by the second officer.
    pub(crate) fn lift(&self, subject: &str, restriction: &str) -> Reply {
        let path = format!("/v1/subjects/{subject}/restrictions/{restriction}");
        self.ask("DELETE", &path).json(&json!({"reason": "case-closed"})).by(&self.second(Role::PrivacyOfficer)).send()
    }

    /// rectifyRecord of version 1.
    pub(crate) fn rectify(&self, subject: &str, record: &str, body: &Value) -> Reply {
        let path = format!("/v1/subjects/{subject}/records/{record}");
        self.patch(&path, body).by(&self.holder(Role::Writer)).purpose("a-account").header("if-match", "\"1\"").send()
    }

    /// writeRecord of any body for one purpose.
    pub(crate) fn record(&self, subject: &str, purpose: &str, body: &Value) -> Reply {
        let path = format!("/v1/subjects/{subject}/records");
        self.post(&path, body).by(&self.holder(Role::Writer)).purpose(purpose).send()
    }

    /// lookupSubject by e-mail, for the account.
    pub(crate) fn look_up(&self, email: &str) -> Reply {
        let body = json!({"type": "email", "value": email});
        self.post("/v1/subject-lookups", &body).by(&self.holder(Role::Writer)).purpose("a-account").send()
    }

    fn erasure(&self, id: &str) -> Reply {
        self.get(&format!("/v1/erasures/{id}")).by(&self.holder(Role::Auditor)).send().expect(200)
    }
}

fn agreed(purposes: &[&str]) -> Value {
    json!({"method": "signed-form", "at": "2026-11-20T10:00:00Z", "purposes": purposes})
}

fn evidence() -> Value {
    json!({"kind": "passport", "digest": "ab".repeat(32)})
}

#[test]
fn promise_p02_nothing_is_collected_before_a_notice_of_the_published_policy() {
    let house = House::shared();
    let silent = house.create(&json!({"class": "consumer", "jurisdiction": "DE"})).expect(201).member("id");
    house.try_write(&silent, &["a-account"], json!({"name": "Ada"})).refused(409, "notice-required");
    let batch = json!([{"subject": silent, "record": {"kind": "contact", "fields": {"name": "Ada"}}}]);
    let items = house.post("/v1/records:batch", &batch).by(&house.holder(Role::Writer)).purpose("a-account").send();
    assert_eq!(items.expect(200).json()["items"][0]["status"], 409);

    let mut other = notice();
    other["policy_version"] = json!("2019-1");
    let unknown = house.create(&json!({"class": "consumer", "jurisdiction": "DE", "notice": other}));
    unknown.refused(422, "invalid-body");

    let told = house.ada();
    let written = house.record(&told, "a-account", &json!({"kind": "contact", "fields": {"name": "Ada"}})).expect(201);
    assert_eq!(written.member("policy_version"), house.tenant(0).version());
    let shown = house.subject(&told).expect(200).json()["notices"].clone();
    assert_eq!(shown[0]["policy_version"], house.tenant(0).version());
}

#[test]
fn promise_p07_what_a_third_party_gave_names_it_and_is_owed_a_notice_within_a_month() {
    let house = House::start();
    let subject = house.ada();
    let given = |source: Value| {
        let body = json!({"kind": "contact", "fields": {"name": "Ada"}, "source": source});
        house.record(&subject, "a-account", &body)
    };
    given(json!({"type": "third-party"})).refused(422, "provenance-required");
    given(json!({"type": "third-party", "party": "broker-7"})).refused(422, "provenance-required");
    given(json!({"type": "public", "party": "register"})).refused(422, "provenance-required");
    given(json!({"type": "third-party", "party": "Ada Lovelace", "basis": "contract"})).refused(422, "invalid-body");
    assert_eq!(house.subject(&subject).expect(200).json()["tasks"], json!([]));
    let full = json!({"type": "third-party", "party": "broker-7", "basis": "eu-gdpr:A6-1-f"});
    given(full.clone()).expect(201);
    given(full).expect(201);
    given(json!({"type": "data-subject"})).expect(201);
    let task = json!([{"kind": "art14-notice", "party": "broker-7", "due_at": "2026-12-23T10:00:00Z"}]);
    assert_eq!(house.subject(&subject).expect(200).json()["tasks"], task, "one for a party, due in a calendar month");
    let batch: Vec<Value> = ["broker-8", "broker-9", "broker-8"]
        .map(|party| {
            let source = json!({"type": "third-party", "party": party, "basis": "contract"});
            json!({"subject": subject, "record": {"kind": "contact", "fields": {"name": "Ada"}, "source": source}})
        })
        .into();
    let items = house.post("/v1/records:batch", &json!(batch)).by(&house.holder(Role::Writer)).purpose("a-account").send();
    let items = items.expect(200).json()["items"].clone();
    assert!(items.as_array().unwrap().iter().all(|item| item["status"] == 201), "{items}");
    assert_eq!(house.restart().subject(&subject).expect(200).json()["tasks"].as_array().unwrap().len(), 3);
}

#[test]
fn promise_p12_a_missing_field_closes_its_own_purpose_and_no_other() {
    let house = House::shared();
    let subject = house.ada();
    let both = json!(["a-account", "b-delivery"]);
    let without_phone = json!({"kind": "contact", "purposes": both, "fields": {"name": "Ada", "address": "Unter den Linden 1"}});
    let made = house.record(&subject, "a-account", &without_phone).expect(201).json();
    assert_eq!(made["unavailable"], json!(["b-delivery"]), "the account is made, delivery has to wait");
    let refused = house.record(&subject, "b-delivery", &without_phone);
    assert_eq!(refused.json()["purpose"], "b-delivery");
    refused.refused(422, "field-required");
    let optional = json!({"kind": "contact", "fields": {"name": "Ada"}});
    assert!(house.record(&subject, "a-account", &optional).expect(201).json().get("unavailable").is_none());
    let phone = json!({"kind": "contact", "purposes": both, "fields": {"phone": "+49 30 1234567"}});
    let made = house.record(&subject, "a-account", &phone).expect(201).json();
    assert!(made.get("unavailable").is_none(), "what is kept already counts: {made}");
    let elsewhere = json!({"kind": "contact", "fields": {"address": "Alexanderplatz 1"}});
    house.record(&subject, "b-delivery", &elsewhere).expect(201);
}

#[test]
fn a_record_is_collected_only_for_purposes_in_the_writers_grant() {
    let house = House::shared();
    let subject = house.ada();
    let narrow = house.caller(CallerKind::Service, &[Role::Writer], &["a-account"]);
    let path = format!("/v1/subjects/{subject}/records");
    let wide = json!({"kind": "contact", "purposes": ["a-account", "c-marketing"], "fields": {"name": "Ada"}});
    house.post(&path, &wide).by(&narrow).purpose("a-account").send().refused(403, "purpose-not-granted");
    let own = json!({"kind": "contact", "fields": {"name": "Ada"}});
    house.post(&path, &own).by(&narrow).purpose("a-account").send().expect(201);
}

#[test]
fn promise_p40_a_correction_makes_a_new_version_and_leaves_no_old_one_to_read() {
    let house = House::shared();
    let subject = house.ada();
    let fields = json!({"name": "Ada", "address": "Old Street 1"});
    let record = house.write(&subject, &["a-account"], fields);
    let new = json!({"fields": {"address": "New Street 2"}});
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let writer = house.holder(Role::Writer);
    house.patch(&path, &new).by(&writer).purpose("a-account").send().refused(428, "if-match-required");
    let answer = house.rectify(&subject, &record, &new).expect(200);
    assert_eq!((answer.json()["version"].as_u64(), answer.header("etag")), (Some(2), Some("\"2\"")));
    // The second of two who saw the same version comes too late.
    house.rectify(&subject, &record, &json!({"fields": {"address": "Third Street 3"}})).refused(412, "stale");
    let read = house.read(&subject, "a-account", "address").expect(200).text();
    assert!(read.contains("New Street 2") && !read.contains("Old Street 1") && !read.contains("Third"), "{read}");
}

#[test]
fn promise_p40_a_value_that_nobody_confirmed_for_long_is_shown_as_stale_until_it_is_corrected_or_verified() {
    let house = House::shared();
    let subject = house.ada();
    let body = json!({"kind": "contact", "collected_at": "2024-01-01T00:00:00Z",
        "fields": {"name": "Ada", "address": "Old Street 1", "phone": "+49 30 1234567"}});
    let record = house.record(&subject, "a-account", &body).expect(201).member("id");
    let stale = |fields: &str| house.read(&subject, "a-account", fields).expect(200).json()["records"][0]["stale"].clone();
    // Addresses of more than two years ago; a telephone number is good for three, a name for ever.
    assert_eq!(stale("name,address,phone"), json!(["address"]));
    assert_eq!(stale("name,phone"), Value::Null);
    house.rectify(&subject, &record, &json!({"fields": {"phone": "+49 30 7654321"}})).expect(200);
    assert_eq!(stale("address"), json!(["address"]));
    let patch = json!({"fields": {"address": "New Street 2"}});
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let writer = house.holder(Role::Writer);
    house.patch(&path, &patch).by(&writer).purpose("a-account").header("if-match", "\"2\"").send().expect(200);
    assert_eq!(stale("name,address,phone"), Value::Null);
    let verified = json!({"kind": "contact", "collected_at": "2024-01-01T00:00:00Z", "fields": {"name": "Ada", "address": "Old Street 1"},
        "verified_at": {"address": "2026-11-20T10:00:00Z"}});
    let other = house.ada();
    house.record(&other, "a-account", &verified).expect(201);
    let read = house.read(&other, "a-account", "address").expect(200).json();
    assert_eq!(read["records"][0]["stale"], Value::Null, "{read}");
}

#[test]
fn promise_p42_a_verified_name_is_corrected_with_evidence_only() {
    let house = House::shared();
    let subject = house.ada();
    let body = json!({"kind": "contact", "fields": {"name": "Ada", "address": "Old Street 1"},
        "verified_at": {"name": "2026-11-20T10:00:00Z"}});
    let record = house.record(&subject, "a-account", &body).expect(201).member("id");
    let rename = json!({"fields": {"name": "Ada King"}});
    house.rectify(&subject, &record, &rename).refused(422, "evidence-required");
    let mut badly = rename.clone();
    badly["evidence"] = json!({"kind": "passport", "digest": "no digest"});
    house.rectify(&subject, &record, &badly).refused(422, "invalid-body");
    // What was not verified is corrected directly, and the mark stays where it was.
    house.rectify(&subject, &record, &json!({"fields": {"address": "New Street 2"}})).expect(200);
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let second = |body: &Value| {
        house.patch(&path, body).by(&house.holder(Role::Writer)).purpose("a-account").header("if-match", "\"2\"").send()
    };
    second(&rename).refused(422, "evidence-required");

    let request =
        json!({"type": "rectification", "subject": subject, "record": record, "fields": ["name"], "evidence": evidence()});
    let opened = house.post("/v1/requests", &request).by(&house.holder(Role::Writer)).send().expect(201).json();
    assert_eq!((opened["status"].as_str(), opened["expected_by"].as_str()), (Some("open"), Some("2026-12-23T10:00:00Z")));
    let mut proven = rename;
    (proven["evidence"], proven["request"]) = (evidence(), opened["request_id"].clone());
    second(&proven).expect(200);
    let path = format!("/v1/requests/{}", opened["request_id"].as_str().unwrap());
    let seen = house.get(&path).by(&house.holder(Role::PrivacyOfficer)).send().expect(200);
    assert_eq!(seen.member("status"), "fulfilled");
    assert!(seen.text().contains(&subject) && !seen.text().contains("King"));
    let read = house.read(&subject, "a-account", "name").expect(200).text();
    assert!(read.contains("Ada King"), "{read}");
    // What was corrected once is corrected: the request is good for nothing more.
    let again = json!({"fields": {"name": "Ada Lovelace"}, "evidence": evidence(), "request": opened["request_id"]});
    house
        .patch(&format!("/v1/subjects/{subject}/records/{record}"), &again)
        .by(&house.holder(Role::Writer))
        .purpose("a-account")
        .header("if-match", "\"3\"")
        .send()
        .refused(422, "invalid-body");
    let other = json!({"type": "amnesty", "subject": subject});
    house.post("/v1/requests", &other).by(&house.holder(Role::Writer)).send().refused(422, "invalid-body");
}

#[test]
fn promise_p43_a_restriction_stops_every_purpose_but_its_exceptions() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    house.write(&subject, &["k-security"], json!({"name": "Ada", "ip": "192.0.2.7"}));
    let body = json!({"kind": "art18", "exceptions": ["k-security"], "reason": "rights-of-others"});
    let path = format!("/v1/subjects/{subject}/restrictions");
    house.post(&path, &body).by(&house.holder(Role::Writer)).send().refused(403, "role-forbidden");
    house.restrict(&subject, &json!({"kind": "art18", "exceptions": ["z-nothing"]})).refused(422, "invalid-body");
    let id = house.restrict(&subject, &body).expect(201).member("id");
    assert_eq!(house.subject(&subject).expect(200).json()["restrictions"][0]["id"], json!(id));
    for purpose in ["a-account", "b-service"] {
        house.read(&subject, purpose, "name").refused(403, "restricted");
    }
    house.read(&subject, "k-security", "name").expect(200);
    let path = format!("/v1/subjects/{subject}/restrictions/{id}");
    house.ask("DELETE", &path).json(&json!({})).by(&house.holder(Role::PrivacyOfficer)).send().refused(422, "invalid-body");
    house.lift(&subject, &id).expect(204);
    house.read(&subject, "b-service", "name").expect(200);
    house.lift(&subject, &id).refused(404, "not-found");
}

#[test]
fn promise_p43_an_objection_ends_where_an_officer_records_compelling_grounds() {
    let house = House::shared();
    let subject = house.ada();
    house.write(&subject, &["k-security"], json!({"name": "Ada", "ip": "192.0.2.7"}));
    house.read(&subject, "k-security", "name").expect(200);
    let id = house.restrict(&subject, &json!({"kind": "objection", "purposes": ["k-security"]})).expect(201).member("id");
    house.read(&subject, "k-security", "name").refused(403, "objection-active");
    let path = format!("/v1/subjects/{subject}/restrictions/{id}/exceptions");
    let grounds = json!({"purposes": ["k-security"], "reason": "fraud-case"});
    house.post(&path, &grounds).by(&house.holder(Role::Writer)).send().refused(403, "role-forbidden");
    let without = json!({"purposes": ["k-security"], "reason": "no word at all"});
    house.post(&path, &without).by(&house.holder(Role::PrivacyOfficer)).send().refused(422, "invalid-body");
    house.post(&path, &grounds).by(&house.holder(Role::PrivacyOfficer)).send().expect(200);
    house.read(&subject, "k-security", "name").expect(200);
}

#[test]
fn promise_p55_an_erasure_takes_all_but_what_is_held_and_the_rest_when_the_hold_ends() {
    let house = House::start();
    let subject = house.ada();
    let held = house.contact(&subject);
    house.contact(&subject);
    house.write(&subject, &["k-security"], json!({"ip": "192.0.2.7"}));
    let body = json!({"kind": "legal-hold", "records": [held], "case": "case-7", "review_at": "2027-11-23T10:00:00Z"});
    let mut without_case = body.clone();
    without_case["case"] = Value::Null;
    house.restrict(&subject, &without_case).refused(422, "invalid-body");
    let hold = house.restrict(&subject, &body).expect(201);
    assert_eq!(hold.json()["active"], false, "a hold waits for its second officer");
    let hold = hold.member("id");
    let approve =
        |by: Token| house.post(&format!("/v1/subjects/{subject}/restrictions/{hold}/approvals"), &json!({})).by(&by).send();
    approve(house.holder(Role::PrivacyOfficer)).refused(403, "second-person-required");
    assert_eq!(approve(house.second(Role::PrivacyOfficer)).expect(200).json()["active"], true);
    let path = format!("/v1/subjects/{subject}/records/{held}");
    house.delete(&path).by(&house.holder(Role::PrivacyOfficer)).send().refused(403, "held");

    let erasure = house.erase_subject(&subject);
    assert_eq!(erasure.member("state"), "partial");
    let erasure = erasure.member("id");
    let house = house.restart();
    let reader = house.holder(Role::Reader);
    let read = |query: &str| house.get(&format!("/v1/subjects/{subject}/records{query}")).by(&reader).purpose("b-service").send();
    read(&format!("?record={held}")).refused(403, "held");
    read("").refused(403, "held");
    house.try_write(&subject, &["a-account"], json!({"name": "Ada"})).refused(403, "held");
    let state = house.subject(&subject).expect(200).json();
    assert_eq!((&state["state"], &state["groups"], &state["notices"]), (&json!("held"), &json!([]), &json!([])));
    let file = house.erasure(&erasure);
    let certificate = verify_certificate(&file.bytes, &house.home.public_key()).unwrap().certificate;
    assert_eq!(certificate.counts["records"], 2, "what went");
    let kept = &certificate.kept[0];
    let kept = (kept.what.as_str(), kept.rule.as_str(), kept.until.unwrap().to_string());
    assert_eq!(kept, ("records:1", "legal-hold:case-7", "2027-11-23".into()), "what stayed");
    assert!(certificate.self_test.checks.iter().all(|check| check.result == "closed"), "{:?}", certificate.self_test.checks);

    // Whoever began the hold does not end it.
    let lift = format!("/v1/subjects/{subject}/restrictions/{hold}");
    let reason = json!({"reason": "case-closed"});
    house
        .ask("DELETE", &lift)
        .json(&reason)
        .by(&house.holder(Role::PrivacyOfficer))
        .send()
        .refused(403, "second-person-required");
    assert_eq!(house.lift(&subject, &hold).expect(200).member("erasure"), erasure);
    read("").refused(410, "erased");
    let house = house.restart();
    house.subject(&subject).refused(410, "erased");
    let file = house.erasure(&erasure);
    assert_eq!(file.member("state"), "sealed");
    let certificate = verify_certificate(&file.bytes, &house.home.public_key()).unwrap().certificate;
    assert_eq!((certificate.counts["records"], certificate.kept.len()), (1, 0));
    assert!(certificate.self_test.checks.iter().all(|check| check.result == "closed"), "{:?}", certificate.self_test.checks);
}

#[test]
fn promise_p55_a_group_that_goes_leaves_what_is_held_until_the_last_hold_ends() {
    let house = House::start();
    let subject = house.ada();
    let (one, two) = (house.contact(&subject), house.contact(&subject));
    let first = house.hold(&subject, &[&one, &two], "case-1");
    let second = house.hold(&subject, &[&two], "case-2");
    let late = house.contact(&subject);
    let groups = json!(["identity", "contract", "marketing"]);
    let file = house.erase(&json!({"subject": subject, "scope": "groups", "groups": groups, "cause": "request"}));
    let file = house.erasure(&file.member("id")).json();
    assert_eq!(file["state"], "sealed");
    let kept: Vec<_> = file["certificate"]["kept"].as_array().unwrap().iter().map(|kept| kept["what"].clone()).collect();
    assert_eq!(kept, ["records:2"], "{file}");
    let delete = |record: &str| {
        house.delete(&format!("/v1/subjects/{subject}/records/{record}")).by(&house.holder(Role::PrivacyOfficer)).send()
    };
    assert_eq!(delete(&late).code(), "not-found", "it was not held");
    delete(&one).refused(403, "held");
    house.lift(&subject, &first).expect(204);
    assert_eq!(delete(&one).code(), "not-found", "nothing else kept it");
    delete(&two).refused(403, "held");
    let house = house.restart();
    house.lift(&subject, &second).expect(204);
    let gone = house.delete(&format!("/v1/subjects/{subject}/records/{two}")).by(&house.holder(Role::PrivacyOfficer)).send();
    assert_eq!(gone.code(), "not-found");
    assert_eq!(house.subject(&subject).expect(200).json()["state"], "active");
}

#[test]
fn promise_p56_a_closed_account_stops_at_once_and_leaves_only_what_a_law_keeps() {
    let house = House::start();
    let email = "closing56@example.org";
    let body = json!({"class": "consumer", "jurisdiction": "DE", "birth_date": "1980-02-03", "notice": notice(),
        "aliases": [{"type": "email", "value": email}]});
    let subject = house.create(&body).expect(201).member("id");
    house.contract(&subject, "ord-1", "active").expect(201);
    house.write(&subject, &["a-account"], json!({"name": "Ada"}));
    house.write(&subject, &["b-service"], json!({"invoice": {"number": "R-1", "total": "9.00"}}));
    house.look_up(email).expect(200);

    let writer = house.holder(Role::Writer);
    let ask = json!({"type": "account-closure", "subject": subject});
    let opened = house.post("/v1/requests", &ask).by(&writer).send().expect(201).json();
    assert_eq!((&opened["status"], &opened["expected_by"]), (&json!("in_progress"), &json!("2026-12-23T10:00:00Z")));
    let request = format!("/v1/requests/{}", opened["request_id"].as_str().unwrap());
    house.look_up(email).refused(410, "account-closed");
    for purpose in ["a-account", "b-service", "b-orders", "c-marketing"] {
        house.read(&subject, purpose, "name").refused(410, "account-closed");
    }
    house.try_write(&subject, &["a-account"], json!({"name": "Ada"})).refused(410, "account-closed");
    let invoice = house.read(&subject, "l1-legal", "invoice").expect(200).text();
    assert!(invoice.contains("R-1"), "{invoice}");
    house.post("/v1/requests", &ask).by(&writer).send().refused(409, "state-conflict");

    // Until the grace is over nothing is destroyed.
    house.home.turn(SignedDuration::from_hours(13 * 24));
    house.wait(house.vault.sweep()).unwrap();
    assert_eq!(house.subject(&subject).expect(200).json()["groups"], json!(["identity", "contract"]));
    house.home.turn(SignedDuration::from_hours(24));
    assert_eq!(house.wait(house.vault.sweep()).unwrap().closed, 1);
    let left = house.subject(&subject).expect(200).json();
    assert_eq!((&left["state"], &left["groups"]), (&json!("closed"), &json!(["contract"])));
    let done = house.get(&request).by(&writer).send().expect(200).json();
    assert_eq!(done["status"], "fulfilled");
    let file = house.erasure(done["erasure"].as_str().unwrap());
    let certificate = verify_certificate(&file.bytes, &house.home.public_key()).unwrap().certificate;
    assert_eq!((certificate.groups, certificate.kept[0].what.as_str()), (vec!["identity".to_owned()], "group:contract"));
    house.look_up(email).refused(404, "not-found");
    // The e-mail address is free again.
    house.create(&body).expect(201);

    // Invoices of somebody in Germany: eight years.
    house.read(&subject, "l1-legal", "invoice").expect(200);
    house.home.turn(SignedDuration::from_hours(8 * 366 * 24));
    let reader = house.caller(CallerKind::Service, &[Role::Reader], &["l1-legal"]);
    let late = house.get(&format!("/v1/subjects/{subject}/records?fields=invoice")).by(&reader).purpose("l1-legal");
    late.header("vault-rule", "de-hgb-257").send().refused(410, "retention-expired");
    assert_eq!(house.wait(house.vault.sweep()).unwrap().failed, 0);
}

#[test]
fn promise_p56_an_account_that_no_law_concerns_goes_whole_and_its_request_names_nobody() {
    let house = House::start();
    let subject = house.born("DE", "1980-02-03", &json!({})).expect(201).member("id");
    house.write(&subject, &["a-account"], json!({"name": "Ada"}));
    let writer = house.holder(Role::Writer);
    let ask = json!({"type": "account-closure", "subject": subject});
    let opened = house.post("/v1/requests", &ask).by(&writer).send().expect(201).json();
    house.home.turn(SignedDuration::from_hours(14 * 24));
    house.wait(house.vault.sweep()).unwrap();
    house.subject(&subject).refused(410, "erased");
    let request = format!("/v1/requests/{}", opened["request_id"].as_str().unwrap());
    let seen = house.get(&request).by(&writer).send().expect(200);
    assert_eq!(seen.member("status"), "fulfilled");
    assert_eq!(house.erasure(&seen.member("erasure")).member("cause"), "account-closure");
    let stranger = house.second(Role::Writer);
    house.get(&request).by(&stranger).send().refused(404, "not-found");
    house.get("/v1/requests/req_00000000000000000000000000").by(&stranger).send().refused(404, "not-found");
}

#[test]
fn promise_p57_a_thirteen_year_old_has_an_account_in_belgium_and_none_in_germany_without_a_guardian() {
    let house = House::start();
    let child = "2013-06-26";
    let belgian = house.born("BE", child, &json!({})).expect(201).json();
    assert_eq!(belgian["minor"], false);
    let email = "child57@example.org";
    let body = json!({"class": "consumer", "jurisdiction": "DE", "birth_date": child, "notice": notice(),
        "aliases": [{"type": "email", "value": email}]});
    house.create(&body).refused(409, "guardian-consent-required");
    house.look_up(email).refused(404, "not-found");
    let batch = house.post("/v1/subjects:batch", &json!([body])).by(&house.holder(Role::Writer)).purpose("a-account").send();
    assert_eq!(batch.expect(200).json()["items"][0]["status"], 409);

    let guarded = house.guarded("DE", &[]);
    let guardian = &guarded["guardian"];
    let with = |more: Value| house.born("DE", child, &more);
    with(json!({"guardian": guardian})).refused(409, "guardian-consent-required");
    let consent = |change: Value| {
        let mut consent = agreed(&[]);
        consent.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"guardian": guardian, "guardian_consent": consent})
    };
    for bad in [json!({"method": "ticked-box"}), json!({"at": "2027-01-01T00:00:00Z"}), json!({"purposes": ["z-nothing"]})] {
        assert!([409, 422].contains(&with(consent(bad)).status));
    }
    let ward = with(guarded.clone()).expect(201).json();
    assert_eq!((&ward["minor"], &ward["guardian"]["state"]), (&json!(true), &json!("given")));
    // Neither a child nor somebody of unknown age is a guardian.
    let unknown = house.ada();
    for guardian in [ward["id"].clone(), json!(unknown)] {
        assert!([409, 422].contains(&with(json!({"guardian": guardian, "guardian_consent": agreed(&[])})).status));
    }
}

#[test]
fn promise_p57_a_guardians_word_can_be_taken_back_and_ends_when_the_ward_comes_of_age() {
    let house = House::start();
    // Sixteen tomorrow.
    let guarded = house.guarded("DE", &["c-marketing"]);
    let ward = house.born("DE", "2010-11-24", &guarded).expect(201).member("id");
    house.consent(&ward, "c-marketing", "given").expect(201);
    house.try_write(&ward, &["a-account", "c-marketing"], json!({"name": "Ada"})).expect(201);
    house.read(&ward, "c-marketing", "name").expect(200);
    let path = format!("/v1/subjects/{ward}/guardian");
    let writer = house.holder(Role::Writer);
    let put = |body: &Value| house.put(&path, body).by(&writer).send();
    assert_eq!(put(&json!({"state": "withdrawn"})).expect(200).member("state"), "withdrawn");
    put(&json!({"state": "withdrawn"})).refused(409, "state-conflict");
    house.read(&ward, "a-account", "name").refused(409, "guardian-consent-required");
    let again = json!({"state": "given", "guardian": guarded["guardian"], "method": "in-person", "at": "2026-11-23T10:00:00Z"});
    assert_eq!(put(&again).expect(200).member("state"), "given");
    house.read(&ward, "a-account", "name").expect(200);

    house.home.turn(SignedDuration::from_hours(14));
    let grown = house.subject(&ward).expect(200).json();
    assert_eq!((&grown["minor"], &grown["guardian"]["state"]), (&json!(false), &json!("ended")));
    put(&again).refused(409, "state-conflict");
    house.read(&ward, "a-account", "name").expect(200);
    // What the guardian said for the child has ended: the grown-up says it again or not.
    house.read(&ward, "c-marketing", "name").refused(403, "reconsent-required");
    house.consent(&ward, "c-marketing", "given").expect(201);
    house.read(&ward, "c-marketing", "name").expect(200);
}

#[test]
fn promise_p58_a_childs_data_serves_no_advertising_and_marketing_only_as_the_guardian_said() {
    let house = House::start();
    let guarded = house.guarded("DE", &["c-marketing"]);
    let quiet = house.guarded("DE", &[]);
    let (willing, silent) = (
        house.born("DE", "2013-06-26", &guarded).expect(201).member("id"),
        house.born("DE", "2013-06-26", &quiet).expect(201).member("id"),
    );
    for child in [&willing, &silent] {
        house.consent(child, "c-marketing", "given").expect(201);
        for purpose in ["e-ads", "e-personalise"] {
            house.consent(child, purpose, "given").expect(201);
        }
        house.write(child, &["a-account", "c-marketing"], json!({"name": "Ada", "email": "ada@example.org"}));
        for purpose in ["e-ads", "e-personalise"] {
            house.read(child, purpose, "").refused(403, "minor-protection");
        }
    }
    house.read(&willing, "c-marketing", "name").expect(200);
    house.read(&silent, "c-marketing", "name").refused(403, "minor-protection");
}

#[test]
fn promise_p59_a_child_who_is_found_out_is_erased_by_the_vault_itself() {
    let house = House::start();
    let subject = house.ada();
    let record = house.write(&subject, &["a-account"], json!({"name": "Ada"}));
    let adult = house.rectify(&subject, &record, &json!({"fields": {"birth_date": "1980-02-03"}})).expect(200);
    assert_eq!(adult.json()["version"], 2);
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let body = json!({"fields": {"birth_date": "2013-06-26"}});
    let found = house.patch(&path, &body).by(&house.holder(Role::Writer)).purpose("a-account").header("if-match", "\"2\"").send();
    let erasure = found.expect(202).member("erasure");
    house.read(&subject, "a-account", "name").refused(410, "erased");
    let file = house.erasure(&erasure);
    assert_eq!((file.member("state"), file.member("cause")), ("sealed".into(), "minor-no-consent".into()));
    let certificate = verify_certificate(&file.bytes, &house.home.public_key()).unwrap().certificate;
    assert!(certificate.self_test.checks.iter().all(|check| check.result == "closed"));

    // Written, alone or in a batch, it is found out as well; with a guardian's consent nothing happens.
    let other = house.ada();
    let born = json!({"subject": other, "record": {"kind": "contact", "fields": {"name": "A", "birth_date": "2013-06-26"}}});
    let batch = house.post("/v1/records:batch", &json!([born])).by(&house.holder(Role::Writer)).purpose("a-account").send();
    assert_eq!(batch.expect(200).json()["items"][0]["status"], 202);
    house.subject(&other).refused(410, "erased");
    let ward = house.born("DE", "2013-06-26", &house.guarded("DE", &[])).expect(201).member("id");
    house.write(&ward, &["a-account"], json!({"name": "A", "birth_date": "2013-06-27"}));
    assert_eq!(house.subject(&ward).expect(200).json()["minor"], true);
}
