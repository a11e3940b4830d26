//! Bodies that are not what they should be: the right problem, never a failure of the vault's own, and nothing changed.

use oubliette::model::caller::Role;
use oubliette::model::code::Code;
use oubliette::server::problem::status;
use oubliette::store::Store;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::house::House;
use crate::https::Reply;
use crate::routes::{CASES, Case, Ids};

/// Every row of the store, to see that nothing changed.
fn rows(house: &House) -> Vec<(Vec<u8>, Vec<u8>)> {
    house.store.as_ref().unwrap().scan(b"", None, 100_000).unwrap()
}

fn with_bodies() -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| ["POST", "PUT", "PATCH"].contains(&case.method))
}

/// Sends these bytes as the body of a proper request otherwise; for a batch, the outcome of its first item.
fn send(house: &House, case: &Case, ids: &Ids, media: &str, body: &[u8]) -> (u16, String, Reply) {
    let reply = proper(house, case, ids).raw(media, body).send();
    if case.path.ends_with(":batch") && reply.status == 200 {
        let item = &reply.json()["items"][0];
        let code = item["problem"]["type"].as_str().map_or("", |code| code.rsplit(':').next().unwrap()).to_owned();
        return (item["status"].as_u64().unwrap() as u16, code, reply);
    }
    let code = reply.code();
    (reply.status, code, reply)
}

fn proper<'a>(house: &'a House, case: &Case, ids: &Ids) -> crate::house::Ask<'a> {
    let ask = house.ask(case.method, &(case.request)(ids).0).by(&house.holder(case.role)).header("if-match", "\"1\"");
    if case.purpose.is_empty() { ask } else { ask.purpose(case.purpose) }
}

fn media(case: &Case) -> &'static str {
    if case.method == "PATCH" { "application/merge-patch+json" } else { "application/json" }
}

/// The one object in a body, and how to put another in its place.
fn object(case: &Case, ids: &Ids) -> Value {
    let body = (case.request)(ids).1;
    if body.is_array() { body[0].clone() } else { body }
}

fn around(case: &Case, object: &str) -> String {
    if case.path.ends_with(":batch") { format!("[{object}]") } else { object.to_owned() }
}

/// Runs `hostile`, and sees that the store is as it was and that the trail tells of refusals only.
fn unchanged(house: &House, hostile: impl FnOnce()) {
    let roles = with_bodies().map(|case| house.holder(case.role)).collect::<Vec<_>>();
    house.holder(Role::Auditor);
    let (before, events) = (rows(house), house.events("").len());
    hostile();
    assert!(rows(house) == before, "a row was changed");
    for event in &house.events("")[events..] {
        let by_us = roles.iter().any(|token| event["caller"] == token.id.to_string());
        let is_listing = event["operation"] == "listAuditEvents";
        assert!(is_listing || !by_us || event["outcome"] == "refused", "{event}");
        assert!(event["operation"] != "commit", "{event}");
    }
}

#[test]
fn a_body_that_is_not_json_in_utf8_is_malformed_and_changes_nothing() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    unchanged(&house, || {
        for case in with_bodies() {
            let text = (case.request)(&ids).1.to_string();
            let mut bodies: Vec<Vec<u8>> = [1, text.len() / 2, text.len() - 1].map(|end| text.as_bytes()[..end].to_vec()).into();
            bodies.push(format!("{text} x").into_bytes());
            bodies.push(format!("{text}{text}").into_bytes());
            bodies.push(format!("\u{feff}{text}").into_bytes());
            bodies.push([text.as_bytes(), b"\0"].concat());
            bodies.push(b"\xff\xfe{\0}\0".to_vec());
            bodies.push(format!("/* x */ {text}").into_bytes());
            bodies.push(around(case, "{'a':1}").into_bytes());
            for object in [
                "{\"a\":NaN}",
                "{\"a\":Infinity}",
                "{\"a\":01}",
                "{\"a\":1e999}",
                "{\"a\":+1}",
                "{\"a\":0x10}",
                "{\"a\":\"\\ud800\"}",
                "{\"a\":\"\\udc00\\ud800\"}",
                "{\"a\":\"\\x41\"}",
                "{\"a\":\"\u{1}\"}",
                "{\"a\":\"line\nbreak\"}",
                "{\"a\":1,}",
                "{a:1}",
                "{\"a\"}",
                "{\"a\":tru}",
            ] {
                // Approving takes no body at all, and `{}`.
                bodies.push(around(case, object).into_bytes());
            }
            // Bytes that are no UTF-8: cut short, overlong, and half of a surrogate pair.
            for bytes in [b"\xff".as_slice(), b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80"] {
                let wrapped = around(case, "{\"a\":\"@\"}");
                let (before, behind) = wrapped.split_once('@').unwrap();
                bodies.push([before.as_bytes(), bytes, behind.as_bytes()].concat());
            }
            for body in bodies {
                let shown = String::from_utf8_lossy(&body).into_owned();
                let (status, code, _) = send(&house, case, &ids, media(case), &body);
                assert_eq!((status, code.as_str()), (400, "malformed-body"), "{} {} {shown}", case.method, case.path);
            }
        }
    });
}

#[test]
fn nesting_without_end_is_malformed_and_changes_nothing() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    unchanged(&house, || {
        for case in with_bodies() {
            for deep in ["[".repeat(500_000), "{\"a\":".repeat(150_000), format!("{}{}", "[".repeat(40), "]".repeat(40))] {
                for body in [deep.clone(), around(case, &format!("{{\"fields\":{{\"name\":{deep}}}}}"))] {
                    let (status, code, _) = send(&house, case, &ids, media(case), body.as_bytes());
                    assert_eq!((status, code.as_str()), (400, "malformed-body"), "{}", case.path);
                }
            }
        }
    });
}

#[test]
fn a_name_that_stands_twice_is_malformed_at_any_depth_and_changes_nothing() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    unchanged(&house, || {
        for case in with_bodies() {
            let object = object(case, &ids);
            for (name, value) in object.as_object().unwrap() {
                let text = object.to_string();
                let twice = format!("{{\"{name}\":{value},{}", &text[1..]);
                let escaped = twice.replacen(&name[..1], &format!("\\u{:04x}", name.as_bytes()[0]), 1);
                for body in [twice, escaped] {
                    let (status, code, _) = send(&house, case, &ids, media(case), around(case, &body).as_bytes());
                    assert_eq!((status, code.as_str()), (400, "malformed-body"), "{} {body}", case.path);
                }
            }
        }
        let writer = house.holder(Role::Writer);
        let path = format!("/v1/subjects/{}/records", ids.subject);
        for value in [r#"{"id":1,"id":2}"#, r#"{"a":[{"b":{"c":1,"c":1}}]}"#, r#"{"id":1,"\u0069d":2}"#] {
            let body = format!(r#"{{"kind":"contact","fields":{{"device":{value}}}}}"#);
            let reply = house.ask("POST", &path).by(&writer).purpose("k-security").raw("application/json", body).send();
            reply.refused(400, "malformed-body");
        }
    });
}

#[test]
fn an_unknown_member_or_a_member_of_another_type_is_invalid_and_changes_nothing() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    unchanged(&house, || {
        for case in with_bodies() {
            let good = object(case, &ids);
            let mut bad = vec![json!([]), json!("text"), json!(7), json!(null), json!(true), json!([good])];
            for name in ["colour", "__proto__", "constructor", "", "Class", "fields "] {
                let mut more = good.clone();
                more[name] = json!(1);
                bad.push(more);
            }
            for name in good.as_object().unwrap().keys() {
                // A struct's values in their order are not the struct.
                bad.push(good.as_object().unwrap().values().cloned().collect());
                for value in [json!([[7]]), json!(-1.5), json!(1e300), json!(u64::MAX), json!({"a": {"b": []}})] {
                    let mut other = good.clone();
                    other[name.as_str()] = value;
                    bad.push(other);
                }
            }
            for body in bad {
                let (status, code, reply) = send(&house, case, &ids, media(case), around(case, &body.to_string()).as_bytes());
                let known = ["invalid-body", "field-not-in-catalogue", "not-indexable", "mixed-data-is-personal"];
                assert!(status == 422 && known.contains(&code.as_str()), "{} {body}: {}", case.path, reply.text());
            }
        }
    });
}

#[test]
fn a_member_that_is_an_object_is_never_an_array_of_its_values() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    unchanged(&house, || {
        let (writer, auditor) = (house.holder(Role::Writer), house.holder(Role::Auditor));
        for more in [
            json!({"aliases": [["email", "array@example.org"]]}),
            json!({"notice": ["current", "de", "web", "2026-11-23T10:00:00Z"]}),
        ] {
            let mut body = json!({"class": "consumer", "jurisdiction": "DE"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            house.post("/v1/subjects", &body).by(&writer).purpose("a-account").send().refused(422, "invalid-body");
        }
        let path = format!("/v1/subjects/{}/records", ids.subject);
        let body = json!({"kind": "contact", "source": ["public", "somebody"], "fields": {"name": "Ada"}});
        house.post(&path, &body).by(&writer).purpose("a-account").send().refused(422, "invalid-body");
        let batch = json!([{"subject": ids.subject, "record": ["contact", ["a-account"], null, null, {"name": "Ada"}]}]);
        let answer = house.post("/v1/records:batch", &batch).by(&writer).purpose("a-account").send().expect(200).json();
        assert_eq!(answer["items"][0]["status"], 422, "{answer}");
        let body = json!({"action": ["getSubject"], "resource": ["subject", ids.subject]});
        house.post("/v1/decisions", &body).by(&auditor).send().refused(422, "invalid-body");
    });
}

#[test]
fn a_value_that_does_not_fit_its_field_is_refused_by_name_alone() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    let writer = house.holder(Role::Writer);
    let path = format!("/v1/subjects/{}/records", ids.subject);
    house.contract(&ids.subject, "ord-1", "active").expect(201);
    unchanged(&house, || {
        for (purpose, field, value) in [
            ("a-account", "name", json!(7)),
            ("a-account", "name", json!({"first": "Canary"})),
            ("a-account", "name", json!("x".repeat(65_535))),
            ("a-account", "email", json!("canary at example.org")),
            ("a-account", "phone", json!("no canary")),
            ("a-account", "birth_date", json!("2026-02-30")),
            ("a-account", "birth_date", json!("03.02.1980 Canary")),
            ("a-account", "password", json!("")),
            ("j-sync", "content", json!("not base64: Canary")),
            ("b-service", "orders", json!({"canary": 1})),
            ("k-security", "device", json!(["canary"])),
            ("k-security", "id_document", json!({"type": "passport", "canary": "1"})),
            ("b-care", "message", json!({"canary": 1})),
        ] {
            let body = json!({"kind": "contact", "fields": {field: value}});
            let reply = house.post(&path, &body).by(&writer).purpose(purpose).send().refused(422, "field-value-invalid");
            assert_eq!(reply.member("pointer"), format!("/fields/{field}"));
            assert!(!reply.text().to_lowercase().contains("canary"), "{}", reply.text());
        }
        let none = house.post(&path, &json!({"kind": "contact", "fields": {}})).by(&writer).purpose("a-account").send();
        none.refused(422, "invalid-body");
        let nothing = json!({"kind": "contact", "fields": {"name": null}});
        house.post(&path, &nothing).by(&writer).purpose("a-account").send().refused(422, "field-value-invalid");
        for kind in ["", "ada@example.org", "a b", "ä", &"k".repeat(65)] {
            let body = json!({"kind": kind, "fields": {"name": "Ada"}});
            house.post(&path, &body).by(&writer).purpose("a-account").send().refused(422, "invalid-body");
        }
    });
}

#[test]
fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    unchanged(&house, || {
        for case in with_bodies() {
            let limit = if case.path.ends_with(":batch") { 16 << 20 } else { 1 << 20 };
            let head = proper(&house, case, &ids).header("content-type", media(case)).bytes();
            let head = String::from_utf8(head).unwrap().replace("\r\n\r\n", "\r\n");
            let announced = format!("{head}content-length: {}\r\n\r\n", limit + 1);
            house.connect().exchange(announced.as_bytes()).unwrap().refused(413, "too-large");
            if limit > 1 << 20 {
                continue;
            }
            // A body in chunks tells its size only at its end.
            let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
            for _ in 0..limit / 65_536 + 1 {
                chunked.extend_from_slice(b"10000\r\n");
                chunked.extend(vec![b' '; 65_536]);
                chunked.extend_from_slice(b"\r\n");
            }
            if let Some(reply) = house.connect().exchange(&chunked) {
                reply.refused(413, "too-large");
            }
        }
    });
}

#[test]
fn a_body_of_another_media_type_is_refused_unread() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    unchanged(&house, || {
        for case in with_bodies() {
            let body = (case.request)(&ids).1.to_string();
            for other in [
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/json; charset=utf-16",
                "application/json-seq",
                "application/cbor",
                "application",
                "application/json, text/plain",
            ] {
                let (status, code, _) = send(&house, case, &ids, other, body.as_bytes());
                assert_eq!((status, code.as_str()), (415, "unsupported-media-type"), "{} {other}", case.path);
            }
            let zipped = proper(&house, case, &ids).raw(media(case), body.clone()).header("content-encoding", "gzip").send();
            zipped.refused(415, "unsupported-media-type");
            let lines = send(&house, case, &ids, "application/x-ndjson", b"x");
            assert_eq!(lines.0, if case.path.ends_with(":batch") { 400 } else { 415 }, "{}", case.path);
            let head = String::from_utf8(proper(&house, case, &ids).bytes()).unwrap().replace("\r\n\r\n", "\r\n");
            let untyped = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            house.connect().exchange(untyped.as_bytes()).unwrap().refused(415, "unsupported-media-type");
        }
        // A restriction is lifted with a reason.
        let bodiless = |case: &&Case| case.method == "GET" || (case.method == "DELETE" && !case.path.contains("restrictions"));
        for case in CASES.iter().filter(bodiless) {
            proper(&house, case, &ids).raw("application/json", "{}").send().refused(400, "malformed-request");
        }
    });
}

#[test]
fn a_request_that_ends_early_or_says_two_things_changes_nothing() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    unchanged(&house, || {
        for case in with_bodies() {
            let body = (case.request)(&ids).1.to_string();
            let head = proper(&house, case, &ids).header("content-type", media(case)).bytes();
            let head = String::from_utf8(head).unwrap().replace("\r\n\r\n", "\r\n");
            for request in [
                // The peer hangs up in the middle of its body, or of its headers.
                format!("{head}content-length: {}\r\n\r\n{body}", body.len() + 1),
                format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len()),
                format!("{head}content-length: {}\r\n", body.len()),
                // Two lengths, two framings, and chunks that are none.
                format!("{head}content-length: 1\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
                format!("{head}content-length: -1\r\n\r\n{body}"),
                format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"),
                format!("{head}transfer-encoding: gzip, chunked, x\r\n\r\n{body}"),
            ] {
                let mut connection = house.connect();
                let _ = connection.write(request.as_bytes());
                connection.finish_writing();
                if let Some(reply) = connection.read() {
                    assert!((400..500).contains(&reply.status), "{} {}: {request}", reply.status, reply.text());
                }
            }
        }
    });
}

fn any_json() -> impl Strategy<Value = Value> {
    let nasty = proptest::sample::select(vec![
        json!("\u{0}"),
        json!("\u{202e}drawkcab"),
        json!("' OR 1=1 --"),
        json!("../../keys/root"),
        json!("${jndi:ldap://x}"),
        json!("sub_00000000000000000000000000"),
        json!("9999-12-31"),
        json!("-009999-01-01"),
        json!("2026-11-23T10:00:60Z"),
        json!("-9999-01-01T00:00:00Z"),
        json!(9_007_199_254_740_993_i64),
        json!(f64::MAX),
        json!(-0.0),
        json!("x".repeat(10_000)),
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        nasty,
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_]{1,10}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// A way to spoil a body.
#[derive(Debug, Clone)]
enum Change {
    Put(usize, Value),
    Drop(usize),
    Add(usize, String, Value),
    Byte(usize, u8),
    Cut(usize),
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<usize>(), any_json()).prop_map(|(at, value)| Change::Put(at, value)),
        1 => any::<usize>().prop_map(Change::Drop),
        1 => (any::<usize>(), "[a-z_]{0,12}", any_json()).prop_map(|(at, name, value)| Change::Add(at, name, value)),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => any::<usize>().prop_map(Change::Cut),
    ]
}

/// The pointers to every value in a body.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| {
                places(member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found)
            });
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), found)),
        _ => {}
    }
}

fn spoil(body: &Value, changes: &[Change]) -> Vec<u8> {
    let mut body = body.clone();
    for change in changes {
        let mut all = Vec::new();
        places(&body, "", &mut all);
        match change {
            Change::Put(at, value) => *body.pointer_mut(&all[at % all.len()]).unwrap() = value.clone(),
            Change::Drop(at) => {
                if let Some((parent, name)) = all[at % all.len()].clone().rsplit_once('/')
                    && let Some(Value::Object(members)) = body.pointer_mut(parent)
                {
                    members.remove(name);
                }
            }
            Change::Add(at, name, value) => {
                if let Some(Value::Object(members)) = body.pointer_mut(&all[at % all.len()]) {
                    members.insert(name.clone(), value.clone());
                }
            }
            Change::Byte(..) | Change::Cut(_) => {}
        }
    }
    let mut bytes = body.to_string().into_bytes();
    for change in changes {
        match change {
            Change::Byte(at, byte) if !bytes.is_empty() => {
                let at = at % bytes.len();
                bytes[at] = *byte;
            }
            Change::Cut(at) => bytes.truncate(at % (bytes.len() + 1)),
            _ => {}
        }
    }
    bytes
}

#[test]
fn no_body_whatever_makes_the_vault_fail() {
    let house = House::of_controllers(1);
    let ids = Ids::fresh(&house);
    let cases: Vec<&Case> = with_bodies().collect();
    let codes: Vec<(&str, u16)> = Code::ALL.iter().map(|code| (code.text(), status(*code).as_u16())).collect();
    let bodies = (0..cases.len(), proptest::collection::vec(changes(), 1..4));
    let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&bodies, |(place, changes)| {
        let case = cases[place];
        let body = spoil(&(case.request)(&ids).1, &changes);
        let (status, code, reply) = send(&house, case, &ids, media(case), &body);
        prop_assert!(status < 500, "{} {}: {}", case.path, String::from_utf8_lossy(&body), reply.text());
        let is_known = status < 300 || codes.contains(&(code.as_str(), status));
        prop_assert!(is_known, "{} {}", status, reply.text());
        Ok(())
    });
    outcome.unwrap();
    house.read(&house.ada(), "b-service", "").expect(200);
}
