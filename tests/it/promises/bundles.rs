//! What a person gets who asks for their data (p07, p09, p41), and the report that names nobody (p39).

use std::collections::BTreeSet;

use oubliette::model::caller::Role;
use serde_json::{Value, json};

use super::partners::{need, process};
use super::sample;
use crate::bundles::fields;
use crate::house::House;

#[test]
fn promise_p07_the_export_shows_where_each_record_came_from() {
    let house = House::start();
    let ada = house.ada();
    house.contact(&ada);
    let body = json!({
        "kind": "contact", "purposes": ["c-marketing"], "collected_at": "2026-11-01T10:00:00Z", "fields": {"name": "Ada"},
        "source": {"type": "third-party", "party": "fair-organiser", "basis": "eu-gdpr:A6-1-f"},
    });
    let path = format!("/v1/subjects/{ada}/records");
    house.post(&path, &body).by(&house.holder(Role::Writer)).purpose("c-marketing").send().expect(201);
    let bundle = house.bundle(&ada, "access");
    let names = &fields(&bundle)["name"];
    assert_eq!(names.len(), 2);
    let source = |kind: &str| &names.iter().find(|(record, _)| record["source"]["type"] == kind).unwrap().0;
    let theirs = source("third-party");
    assert_eq!((&theirs["source"]["party"], &theirs["source"]["basis"]), (&json!("fair-organiser"), &json!("eu-gdpr:A6-1-f")));
    assert_eq!(theirs["collected_at"], "2026-11-01T10:00:00Z");
    assert_eq!(source("data-subject")["source"]["party"], Value::Null);
    // What is owed for it stands there too.
    assert_eq!((&bundle["owed"][0]["kind"], &bundle["owed"][0]["party"]), (&json!("art14-notice"), &json!("fair-organiser")));
    // Taken along is what the person gave, not what others did.
    let portable = house.bundle(&ada, "portability");
    assert_eq!(fields(&portable)["name"].len(), 1);
    assert_eq!(portable["records"][0]["source"]["type"], "data-subject");
}

#[test]
fn promise_p09_the_export_says_that_a_password_is_stored_as_verifier_and_holds_none_of_its_bytes() {
    let house = House::start();
    let ada = house.ada();
    house.write(&ada, &["a-account"], json!({"name": "Ada", "account": "ada", "password": "correct horse"}));
    let bundle = house.fulfilled(&ada, "access");
    let copy = house.part(&bundle, "copy").expect(200).text();
    let data = house.part(&bundle, "data").expect(200);
    let (_, password) = fields(&data.json())["password"][0].clone();
    assert_eq!((&password["shown"], password.get("value")), (&json!("stored as verifier"), None));
    for text in [&copy, &data.text()] {
        assert!(text.contains("stored as verifier") && !text.contains("argon2") && !text.contains("correct horse"));
    }
}

/// Everything about a person, and nothing about anybody else.
#[test]
fn promise_p41_the_bundle_has_each_field_once_the_recipients_of_the_ledger_and_who_read_what() {
    let house = House::start();
    let (ada, ben) = (house.ada(), house.ada());
    house.write(&ben, &["a-account"], json!({"name": "Ben of somebody else"}));
    house.read(&ben, "a-account", "name").expect(200);
    let tenant = house.tenant(0);
    // Every field that a purpose for consumers may have, each in one record.
    let mut planted = BTreeSet::new();
    for purpose in tenant.purposes().iter().filter(|purpose| purpose.group.is_some() && purpose.classes.contains("consumer")) {
        let fresh =
            tenant.fields().iter().filter(|field| purpose.fields.contains(field.number) && !planted.contains(&field.name));
        let fresh: Vec<_> = fresh.collect();
        if fresh.is_empty() || purpose.needs_rule {
            continue;
        }
        let values: serde_json::Map<_, _> = fresh.iter().map(|field| (field.name.clone(), sample(field))).collect();
        house.write(&ada, &[&purpose.id], values.into());
        planted.extend(fresh.iter().map(|field| field.name.clone()));
    }
    assert!(planted.len() > 25, "{planted:?}");
    house.contact(&ada);
    house.disclose(&ada, "parcel", "b-delivery", &[]).expect(201);
    house.disclose(&ada, "parcel", "b-delivery", &["name"]).expect(201);
    let parcel = house.partner("parcel", &["b-delivery"]);
    let records = format!("/v1/subjects/{ada}/records");
    house.get(&records).by(&parcel).purpose("b-delivery").send().expect(200);
    house.read(&ada, "a-account", "email").expect(200);
    let restriction = house.restricted(&ada);
    let bundle = house.bundle(&ada, "access");

    // Each planted field once, with its value, but for the contact that stands beside them, and a restriction stops nothing of it.
    let seen = fields(&bundle);
    let beside = ["name", "email", "phone", "address"];
    for name in &planted {
        let own = &seen[name];
        assert_eq!(own.len(), if beside.contains(&name.as_str()) { 2 } else { 1 }, "{name}");
        let (record, field) = &own[0];
        assert!(
            record["id"].as_str().unwrap().starts_with("rec_") && record["version"] == 1 && record["collected_at"].is_string()
        );
        let definition = tenant.field(name).unwrap();
        if definition.kind == oubliette::model::field::Kind::Secret {
            assert_eq!((&field["shown"], field.get("value")), (&json!("stored as verifier"), None));
        } else {
            let values: Vec<_> = own.iter().map(|(_, field)| field["value"].clone()).collect();
            assert!(values.contains(&sample(definition)), "{name}: {values:?}");
            assert_eq!(field["shown"], "clear", "{name}");
        }
        assert_eq!(record["marks"], json!(["restricted"]));
    }
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), planted);

    // The recipients are those of the ledger, line by line.
    let line = |line: &Value| {
        ["id", "case", "recipient", "purpose", "fields", "region", "at", "kind", "decision"].map(|name| line[name].clone())
    };
    let mut ledger: Vec<_> = house.ledger(&ada).iter().map(line).collect();
    let mut recipients: Vec<_> = bundle["recipients"].as_array().unwrap().iter().map(line).collect();
    ledger.sort_by_key(|line| line[0].to_string());
    recipients.sort_by_key(|line| line[0].to_string());
    assert_eq!(recipients, ledger);
    assert_eq!(recipients.len(), 3);

    // Who read what and why: as the trail has it, and by whom in words.
    let reads: Vec<&Value> =
        bundle["reads"].as_array().unwrap().iter().filter(|read| read["operation"] == "readRecords").collect();
    let by_partner = reads.iter().find(|read| read["by"]["kind"] == "partner").unwrap();
    assert_eq!((&by_partner["by"]["name"], &by_partner["purpose"]), (&json!("A parcel service"), &json!("b-delivery")));
    let by_staff = reads.iter().find(|read| read["by"]["kind"] == "staff").unwrap();
    assert_eq!((&by_staff["fields"], &by_staff["purpose"]), (&json!(["email"]), &json!("a-account")));
    assert_eq!((&by_staff["by"]["roles"], &by_staff["outcome"]), (&json!(["reader"]), &json!("allowed")));
    let tags: BTreeSet<_> = house
        .events("")
        .iter()
        .filter(|event| event["id"] == by_staff["decision"])
        .map(|event| event["subject_tag"].to_string())
        .collect();
    let listed: BTreeSet<String> = bundle["reads"].as_array().unwrap().iter().map(|read| read["decision"].to_string()).collect();
    for event in house.events("").iter().filter(|event| listed.contains(&event["id"].to_string())) {
        assert!(tags.contains(&event["subject_tag"].to_string()), "somebody else's entry");
    }

    // What it is used for and rests on, how long it is kept, what was agreed to, and what may be asked for.
    let purposes = bundle["purposes"].as_array().unwrap();
    let purpose = |id: &str| purposes.iter().find(|purpose| purpose["id"] == id).unwrap();
    assert_eq!(
        (&purpose("a-account")["basis"]["basis"], &purpose("a-account")["dpv"][0]),
        (&json!("account"), &json!("dpv:AccountManagement"))
    );
    assert_eq!(purpose("c-marketing")["basis"]["consent"]["state"], "given");
    assert_eq!(purpose("b-delivery")["basis"]["contracts"], json!(["ord-0"]));
    let kept = bundle["retention"].as_array().unwrap();
    assert!(
        kept.iter().any(|rule| rule["group"] == "contract" && rule["period"] == "P8Y" && rule["statute"].is_string()),
        "{kept:?}"
    );
    assert_eq!(bundle["consents"].as_array().unwrap().len(), 5);
    assert_eq!(bundle["restrictions"][0]["id"], restriction.as_str());
    assert_eq!(bundle["contracts"][0]["reference"], "ord-0");
    assert!(
        !bundle["rights"].as_array().unwrap().is_empty() && bundle["authority"]["url"].as_str().unwrap().starts_with("https://")
    );
    assert!(!bundle.to_string().contains("Ben of somebody else") && !bundle.to_string().contains(&ben));
}

#[test]
fn promise_p41_what_is_held_expired_or_erased_is_named_as_such() {
    let house = House::start();
    let ada = house.ada();
    let held = house.write(&ada, &["c-marketing"], json!({"name": "Ada", "interests": ["held"]}));
    let session = json!({
        "kind": "device", "purposes": ["e-personalise"], "lifetime": "session", "fields": {"preferences": {"theme": "dark"}},
    });
    let records = format!("/v1/subjects/{ada}/records");
    house.post(&records, &session).by(&house.holder(Role::Writer)).purpose("e-personalise").send().expect(201);
    house.contact(&ada);
    let officer = house.holder(Role::PrivacyOfficer);
    let path = format!("/v1/subjects/{ada}/restrictions");
    let body = json!({"kind": "legal-hold", "records": [held], "case": "case-1", "review_at": "2036-11-23T10:00:00Z"});
    let hold = house.post(&path, &body).by(&officer).send().expect(201).member("id");
    house.post(&format!("{path}/{hold}/approvals"), &json!({})).by(&house.second(Role::PrivacyOfficer)).send().expect(200);
    house.erase(&json!({"subject": ada, "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}));
    // What belongs to a session ends after a day; the sweeper is off.
    house.home.turn(jiff::SignedDuration::from_hours(25));
    let bundle = house.bundle(&ada, "access");
    let record = |id: &str| bundle["records"].as_array().unwrap().iter().find(|record| record["id"] == id).unwrap().clone();
    let kept = record(&held);
    assert_eq!((&kept["not_opened"], &kept["marks"]), (&json!("held"), &json!(["held"])));
    assert!(
        kept["fields"].as_array().unwrap().iter().all(|field| field["shown"] == "not opened" && field.get("value").is_none())
    );
    let expired = &fields(&bundle)["preferences"][0];
    assert_eq!((&expired.0["not_opened"], &expired.1["shown"]), (&json!("retention-expired"), &json!("not opened")));
    assert_eq!(bundle["erased"], json!([{"group": "marketing"}]));
    let open = &fields(&bundle)["email"][0];
    assert_eq!((&open.0["not_opened"], &open.1["value"]), (&Value::Null, &json!("ada@example.org")));
}

#[test]
fn promise_p41_a_disclosure_that_is_still_secret_is_in_the_bundle_that_is_asked_for_later() {
    let house = House::start();
    let ada = house.customer();
    let case = house.approved_case(&process(&ada, "police-de", json!({"secret_until": "2026-11-30T10:00:00Z"})));
    let body = json!({"subject": ada, "recipient": "police-de", "kind": "legal-process", "case": case, "fields": ["name"]});
    let decision = house.disclose_on("l1-legal", &body).expect(201).header("vault-decision").unwrap().to_owned();
    let before = house.bundle(&ada, "access").to_string();
    for needle in [decision.as_str(), "police-de", "legal-process", "l1-legal", "openCase", "approveCase"] {
        assert!(!before.contains(needle), "{needle}");
    }
    house.home.turn(jiff::SignedDuration::from_hours(7 * 24));
    let after = house.bundle(&ada, "access");
    let line = &after["recipients"][0];
    assert_eq!((&line["kind"], &line["case"], &line["decision"]), (&json!("legal-process"), &json!(case), &json!(decision)));
    assert!(after["reads"].as_array().unwrap().iter().any(|read| read["decision"] == decision.as_str()));
}

#[test]
fn promise_p39_the_report_counts_without_personal_data() {
    let house = House::start();
    let (ada, ben) = (house.customer(), house.customer());
    house.disclose(&ada, "parcel", "b-delivery", &[]).expect(201);
    house.disclose(&ben, "parcel", "b-delivery", &[]).expect(201);
    house.disclose(&ben, "nobody", "b-delivery", &[]).refused(403, "recipient-unknown");
    let case = house.approved_case(&need(&ada, "parcel"));
    let on_case = json!({"subject": ada, "recipient": "parcel", "kind": "reasonable-need", "case": case, "fields": ["email"]});
    house.disclose_on("b-service", &on_case).expect(201);
    house.bundle(&ada, "access");
    house.accepted(&ben, "portability", 2);
    house.erase_subject(&ben);
    let auditor = house.holder(Role::Auditor);
    let report = house.get("/v1/ropa").by(&auditor).send().expect(200);
    let counts = report.json()["transparency"].clone();
    let count = |list: &str, members: &[(&str, &str)]| {
        let lines = counts[list].as_array().unwrap();
        let fits = |line: &&Value| members.iter().all(|(name, value)| line[name] == *value);
        lines.iter().find(fits).map_or(0, |line| line["count"].as_u64().unwrap())
    };
    // The person who is gone still counts, and the count leads to nobody.
    assert_eq!(count("disclosures", &[("kind", "disclosed"), ("purpose", "b-delivery")]), 2);
    assert_eq!(count("refusals", &[("operation", "disclose"), ("code", "recipient-unknown")]), 1);
    assert_eq!(count("requests", &[("type", "access"), ("state", "fulfilled")]), 1);
    let cases = counts["cases"].as_array().unwrap();
    assert_eq!((cases.len(), &cases[0]["kind"], &cases[0]["ground"]), (1, &json!("reasonable-need"), &json!("perform-contract")));
    assert_eq!((&cases[0]["count"], &cases[0]["disclosures"]), (&json!(1), &json!(1)));
    assert_eq!(count("erasures", &[("cause", "request"), ("state", "sealed")]), 1);
    for needle in ["sub_", "rec_", "req_", "ers_", "dis_", "tok_", "clr_", "ada@example.org", "Ada"] {
        assert!(!counts.to_string().contains(needle), "{needle}");
    }
    // Counts of another time.
    let later = house.get("/v1/ropa?from=2027-01-01T00:00:00Z").by(&auditor).send().expect(200).json();
    assert_eq!(later["transparency"]["disclosures"], json!([]));
    // The records of processing, from what enforces.
    let register = &report.json()["register"];
    let tenant = house.tenant(0);
    assert_eq!(register["controller"]["title"], tenant.controller().title.as_str());
    assert_eq!(register["activities"].as_array().unwrap().len(), tenant.purposes().len());
    let table = house.get("/v1/ropa").by(&auditor).header("accept", "text/csv").send().expect(200);
    assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let lines: Vec<String> = table.text().split("\r\n").map(str::to_owned).collect();
    assert!(lines[0].starts_with("record,controller (a),contact (a),purpose (b)"));
    assert!(lines.iter().any(|line| line.contains("b-delivery") && line.contains("A parcel service")));
    house.get("/v1/ropa").by(&house.holder(Role::Writer)).send().refused(403, "role-forbidden");
}

impl House {
    /// Restricts a person's data (GDPR Art. 18).
    fn restricted(&self, subject: &str) -> String {
        let path = format!("/v1/subjects/{subject}/restrictions");
        self.post(&path, &json!({"kind": "art18"})).by(&self.holder(Role::PrivacyOfficer)).send().expect(201).member("id")
    }
}
