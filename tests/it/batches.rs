//! Many at a time: each item stands or falls alone, in its place, and what stands is there after a restart.

use oubliette::model::caller::Role;
use serde_json::{Value, json};

use crate::house::House;
use crate::routes::Ids;

fn statuses(body: &Value) -> Vec<(u64, String)> {
    let item = |item: &Value| {
        let code = item["problem"]["type"].as_str().map_or("", |code| code.rsplit(':').next().unwrap());
        (item["status"].as_u64().unwrap(), code.to_owned())
    };
    body["items"].as_array().unwrap().iter().map(item).collect()
}

#[test]
fn each_item_is_answered_in_its_place() {
    let house = House::shared();
    let (subject, erased) = (house.ada(), house.ada());
    house.erase_subject(&erased);
    let record = |subject: &str, fields: Value| json!({"subject": subject, "record": {"kind": "contact", "fields": fields}});
    let nobody = Ids::of_nothing().subject;
    let items = [
        record(&subject, json!({"name": "Ada"})).to_string(),
        record(&nobody, json!({"name": "Ada"})).to_string(),
        record(&subject, json!({"shoe_size": 1})).to_string(),
        record(&erased, json!({"name": "Ada"})).to_string(),
        record(&subject, json!({"id_image": "AAEC"})).to_string(),
        format!(r#"{{"subject":"{subject}","subject":"{subject}","record":{{}}}}"#),
        r#"{"subject":"me"}"#.to_owned(),
        record(&subject, json!({"name": "Ada", "email": "nobody"})).to_string(),
        record(&subject, json!({"name": "Grace"})).to_string(),
    ];
    let wanted = [
        (201, ""),
        (404, "not-found"),
        (422, "field-not-in-catalogue"),
        (410, "erased"),
        (403, "category-not-permitted"),
        (400, "malformed-body"),
        (422, "invalid-body"),
        (422, "field-value-invalid"),
        (201, ""),
    ]
    .map(|(status, code)| (status, code.to_owned()));
    let array = format!("[{}]", items.join(","));
    let lines = items.join("\n");
    for (media, body) in [("application/json", array), ("application/x-ndjson", lines)] {
        let ask = house.ask("POST", "/v1/records:batch").by(&house.holder(Role::Writer)).purpose("a-account");
        assert_eq!(statuses(&ask.raw(media, body).send().expect(200).json()), wanted, "{media}");
    }
    assert_eq!(house.read(&subject, "a-account", "name").expect(200).json()["records"].as_array().unwrap().len(), 4);
}

#[test]
fn two_subjects_of_one_batch_cannot_share_an_address() {
    let house = House::shared();
    let email = format!("twice{}@example.org", house.number());
    let body = |value: &str| json!({"class": "consumer", "jurisdiction": "DE", "aliases": [{"type": "email", "value": value}]});
    let batch = json!([body(&email), body(&email.to_uppercase()), body(&format!("x{email}"))]);
    let answer = house.post("/v1/subjects:batch", &batch).by(&house.holder(Role::Writer)).purpose("a-account").send();
    let answer = answer.expect(200).json();
    let codes: Vec<_> = statuses(&answer).into_iter().map(|(status, _)| status).collect();
    assert_eq!(codes, [201, 409, 201], "{answer}");
    let look = json!({"type": "email", "value": email});
    let found = house.post("/v1/subject-lookups", &look).by(&house.holder(Role::Reader)).purpose("a-account").send();
    assert_eq!(found.expect(200).member("id"), answer["items"][0]["id"].as_str().unwrap());
}

#[test]
fn a_thousand_are_taken_and_one_more_is_not() {
    let house = House::shared();
    let writer = house.holder(Role::Writer);
    let one = json!({"class": "consumer", "jurisdiction": "DE"}).to_string();
    let batch = |count: usize| vec![one.as_str(); count].join("\n");
    let ask = |body: String| {
        house.ask("POST", "/v1/subjects:batch").by(&writer).purpose("a-account").raw("application/x-ndjson", body).send()
    };
    ask(batch(1_001)).refused(413, "too-large");
    ask(String::new()).refused(422, "invalid-body");
    let made = ask(batch(1_000)).expect(200).json();
    assert!(statuses(&made).iter().all(|(status, _)| *status == 201) && made["items"].as_array().unwrap().len() == 1_000);
}

#[test]
fn what_a_batch_was_answered_for_is_there_after_a_restart() {
    let house = House::start();
    let writer = house.holder(Role::Writer);
    let people: Vec<Value> = (0..200)
        .map(|number| json!({"class": "consumer", "jurisdiction": "DE", "aliases": [{"type": "external_id", "value": format!("b-{number}")}], "notice": crate::house::notice()}))
        .collect();
    let made = house.post("/v1/subjects:batch", &json!(people)).by(&writer).purpose("a-account").send().expect(200).json();
    let ids: Vec<String> = made["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    ids.iter().for_each(|id| drop(house.contract(id, "ord-0", "active").expect(201)));
    let records: Vec<Value> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| {
            json!({"subject": id, "record": {"kind": "contact", "purposes": ["b-service"],
            "fields": {"name": format!("n{number}"), "message": "x".repeat(number * 60)}}})
        })
        .map(|mut item| {
            item["record"]["purposes"] = json!(["b-service", "b-care"]);
            item
        })
        .collect();
    let written = house.post("/v1/records:batch", &json!(records)).by(&writer).purpose("b-service").send().expect(200).json();
    assert!(statuses(&written).iter().all(|(status, _)| *status == 201), "{written}");
    let house = house.restart();
    house.step_up(&house.holder(Role::Reader));
    for (number, id) in ids.iter().enumerate() {
        let seen = house.read(id, "b-care", "name,message").expect(200).json();
        assert_eq!(seen["records"][0]["fields"], json!({"name": format!("n{number}"), "message": "x".repeat(number * 60)}));
        let look = json!({"type": "external_id", "value": format!("b-{number}")});
        let found = house.post("/v1/subject-lookups", &look).by(&writer).purpose("a-account").send().expect(200).member("id");
        assert_eq!(&found, id);
    }
}
