//! What holds for every address: problems, decisions, headers, cursors, versions, query strings.

use std::collections::{BTreeMap, BTreeSet};

use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::code::Code;
use oubliette::server::problem::status;
use oubliette::server::routes::ROUTES;
use serde_json::{Value, json};

use crate::canary::{Canary, absent};
use crate::house::House;
use crate::https::Reply;
use crate::routes::{CASES, Ids};

/// Refusals of many kinds.
fn refusals(house: &House) -> Vec<Reply> {
    let ids = Ids::fresh(house);
    let mut all = Vec::new();
    for case in CASES.iter().filter(|case| !case.path.ends_with(":batch")) {
        for role in [Role::Writer, Role::Reader, Role::Partner, Role::KeyAdmin, Role::PrivacyOfficer] {
            all.push(case.send(house, &Ids::of_nothing(), Some(&house.holder(role))).reply);
        }
        all.push(case.send(house, &ids, None).reply);
        let (path, _) = (case.request)(&ids);
        all.push(house.ask(case.method, &format!("{path}?colour=1")).by(&house.holder(case.role)).send());
        all.push(house.ask("BREW", &path).send());
        all.push(house.ask(case.method, &path).by(&house.holder(case.role)).raw("text/plain", "x").send());
        all.push(house.ask(case.method, &path).by(&house.holder(case.role)).raw("application/json", "{").send());
    }
    let subject = house.ada();
    house.contact(&subject);
    for purpose in ["", "z-nothing", "h-efficiency", "f-supplier"] {
        all.push(house.get(&format!("/v1/subjects/{subject}/records")).by(&house.holder(Role::Reader)).purpose(purpose).send());
    }
    house.erase_subject(&subject);
    all.push(house.read(&subject, "b-service", ""));
    all.into_iter().filter(|reply| reply.status >= 400).collect()
}

#[test]
fn a_problem_is_a_document_of_fixed_words() {
    let house = House::shared();
    let mut seen = BTreeMap::new();
    for reply in refusals(&house) {
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let body = reply.json();
        let code = Code::ALL.iter().find(|code| code.text() == reply.code()).unwrap_or_else(|| panic!("{body}"));
        let title = code.text().replace('-', " ");
        assert_eq!(body["title"].as_str().unwrap().to_lowercase(), title);
        assert_eq!(body["detail"], code.sentence());
        assert_eq!(body["status"], reply.status);
        assert_eq!(reply.status, status(*code).as_u16());
        assert_eq!(body["instance"].as_str(), reply.header("vault-decision"));
        let known = [
            "type",
            "title",
            "status",
            "detail",
            "instance",
            "purpose",
            "guard",
            "pointer",
            "retry_after",
            "remedy",
            "reason",
            "authority",
        ];
        for member in body.as_object().unwrap().keys() {
            assert!(known.contains(&member.as_str()), "{member}");
        }
        seen.insert(code.text(), reply.status);
    }
    assert!(seen.len() >= 12, "{seen:?}");
    // Each is explained where its type says, with the same status.
    for (code, status) in seen {
        let page = house.get(&format!("/problems/{code}")).send().expect(200).text();
        assert!(page.starts_with(&format!("{status} {code}: ")), "{page}");
    }
}

#[test]
fn every_code_has_one_status_and_a_page() {
    let house = House::shared();
    let all = house.get("/problems").send().expect(200).text();
    assert_eq!(all.lines().count(), Code::ALL.len());
    for code in Code::ALL {
        let line = format!("{} {}: {}", status(*code).as_u16(), code.text(), code.sentence());
        assert_eq!(all.lines().filter(|known| **known == line).count(), 1, "{line}");
    }
}

#[test]
fn every_decision_is_on_its_answer_and_in_the_trail() {
    let house = House::start();
    let auditor = house.holder(Role::Auditor);
    let mut expected = Vec::new();
    for route in ROUTES {
        let case = CASES.iter().find(|case| case.method == route.method.as_str() && case.path == route.path).unwrap();
        let operation = route.operation.text();
        let done = case.send(&house, &Ids::fresh(&house), Some(&house.holder(case.role)));
        assert!(done.status < 300 || case.falls_short().is_some(), "{}", done.body);
        let refused = case.send(&house, &Ids::of_nothing(), Some(&house.holder(Role::Partner)));
        for (outcome, wanted) in [(done, "allowed"), (refused, "refused")] {
            if outcome.status < 300 && wanted == "refused" || case.falls_short().is_some() && wanted == "allowed" {
                continue;
            }
            let decision = match case.path.ends_with(":batch") {
                // A batch is many decisions: each item has its own.
                true => outcome.body["decision"].as_str().or(outcome.body["problem"]["instance"].as_str()).map(str::to_owned),
                false => outcome.reply.header("vault-decision").map(str::to_owned),
            };
            let decision = decision.unwrap_or_else(|| panic!("{operation} {wanted}: {}", outcome.body));
            assert!(decision.starts_with("dec_") && decision.len() == 30, "{decision}");
            expected.push((operation, decision, wanted));
        }
    }
    let nobody = house.get("/v1/keys").send().refused(401, "unauthenticated");
    expected.push(("authenticate", nobody.header("vault-decision").expect("a decision").to_owned(), "refused"));
    let events = house.events("");
    let mut decisions = BTreeSet::new();
    for (operation, decision, wanted) in expected {
        let entry =
            events.iter().find(|event| event["id"] == decision.as_str()).unwrap_or_else(|| panic!("{operation} {decision}"));
        assert_eq!((entry["operation"].as_str(), entry["outcome"].as_str()), (Some(operation), Some(wanted)), "{entry}");
        assert!(decisions.insert(decision), "a decision stands for two answers");
    }
    let indices: Vec<u64> = events.iter().map(|event| event["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, (0..indices.len() as u64).collect::<Vec<_>>());
    let mine = house.events(&format!("&caller={}", auditor.id));
    assert!(mine.iter().all(|event| event["caller"] == auditor.id.to_string()) && !mine.is_empty());
}

#[test]
fn a_request_without_its_purpose_or_with_two_is_refused() {
    let house = House::shared();
    let subject = house.ada();
    let reader = house.holder(Role::Reader);
    let path = format!("/v1/subjects/{subject}/records");
    house.get(&path).by(&reader).send().refused(400, "purpose-required");
    let twice = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nvault-purpose: b-service\r\nvault-purpose: d-notice\r\n\r\n",
        reader.text
    );
    house.connect().exchange(twice.as_bytes()).unwrap().refused(400, "malformed-request");
}

#[test]
fn no_answer_may_be_kept_by_anybody_on_the_way() {
    let house = House::shared();
    let mut replies = refusals(&house);
    let ids = Ids::fresh(&house);
    replies.extend(
        CASES.iter().filter(|case| !case.destroys).map(|case| case.send(&house, &ids, Some(&house.holder(case.role))).reply),
    );
    replies.extend(["/healthz", "/readyz", "/problems", "/nowhere"].map(|path| house.get(path).send()));
    for reply in replies {
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert!(reply.header("strict-transport-security").is_some() && reply.header("x-request-id").is_some());
        assert_eq!((reply.header("server"), reply.header("x-powered-by")), (None, None));
    }
}

#[test]
fn an_id_of_the_request_is_told_back_in_its_safe_form_alone() {
    let house = House::shared();
    let told = |id: &str| house.get("/healthz").header("x-request-id", id).send().header("x-request-id").unwrap().to_owned();
    assert_eq!(told("Order-7_a"), "Order-7_a");
    for bad in ["ada@example.org", "a b", &"x".repeat(65)] {
        assert_ne!(told(bad), bad);
    }
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let went = house.get("/healthz").header("traceparent", trace).send().header("traceparent").unwrap().to_owned();
    assert!(went.starts_with(&trace[..36]) && went != trace);
}

#[test]
fn nothing_personal_stands_in_any_header_of_an_answer() {
    let house = House::shared();
    let (name, email, city) = ("Canary Hopper", "canary.hopper@example.org", "Canaryville");
    let canaries = [name, email, city].map(Canary::of);
    let writer = house.holder(Role::Writer);
    let body = json!({"class": "consumer", "jurisdiction": "DE", "aliases": [{"type": "email", "value": email}], "notice": crate::house::notice()});
    let made =
        house.post("/v1/subjects", &body).by(&writer).purpose("a-account").header("prefer", "return=representation").send();
    let subject = made.clone().expect(201).member("id");
    assert_eq!(made.header("location"), Some(format!("/v1/subjects/{subject}").as_str()));
    house.contract(&subject, "ord-1", "active").expect(201);
    let body = json!({"kind": "contact", "purposes": ["b-service"], "fields": {"name": name, "email": email, "address": city}});
    let path = format!("/v1/subjects/{subject}/records");
    let written = house.post(&path, &body).by(&writer).purpose("a-account").send().expect(201);
    let record = written.member("id");
    assert_eq!(written.header("location"), Some(format!("{path}/{record}").as_str()));
    let read = house.read(&subject, "b-service", "").expect(200);
    assert!(read.text().contains(name));
    let look = json!({"type": "email", "value": email});
    let found = house.post("/v1/subject-lookups", &look).by(&writer).purpose("b-service").send().expect(200);
    let patch = json!({"fields": {"address": format!("{city} 2")}});
    let patched =
        house.patch(&format!("{path}/{record}"), &patch).by(&writer).purpose("a-account").header("if-match", "\"1\"").send();
    for reply in [&made, &written, &found, &patched.expect(200)] {
        absent(&canaries, "an answer to a write", &reply.everything());
    }
    for (name, value) in &read.headers {
        absent(&canaries, name, value.as_bytes());
    }
}

#[test]
fn a_version_must_be_named_to_be_changed_and_must_be_the_newest() {
    let house = House::shared();
    let subject = house.ada();
    let record = house.contact(&subject);
    let writer = house.holder(Role::Writer);
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let patch = |etag: Option<&str>, fields: Value| {
        let ask = house.patch(&path, &json!({"fields": fields})).by(&writer).purpose("a-account");
        etag.map_or_else(
            || house.patch(&path, &json!({"fields": {"phone": null}})).by(&writer).purpose("a-account"),
            |etag| ask.header("if-match", etag),
        )
        .send()
    };
    patch(None, json!({})).refused(428, "if-match-required");
    for stale in ["\"2\"", "\"0\"", "1", "*", "W/\"1\"", "\"1\", \"2\""] {
        patch(Some(stale), json!({"phone": null})).refused(412, "stale");
    }
    let read = house.get(&format!("/v1/subjects/{subject}/records?record={record}")).by(&house.holder(Role::Reader));
    let etag = read.purpose("b-service").send().expect(200).header("etag").unwrap().to_owned();
    let done = patch(Some(&etag), json!({"phone": null, "address": "Neue Straße 2"})).expect(200);
    let next = done.header("etag").unwrap().to_owned();
    assert_ne!(next, etag);
    patch(Some(&etag), json!({"address": "x"})).refused(412, "stale");
    let seen = house.read(&subject, "b-service", "").expect(200).json();
    assert_eq!(seen["records"][0]["fields"], json!({"name": "Ada", "email": "ada@example.org", "address": "Neue Straße 2"}));
    assert_eq!(seen["records"][0]["version"], 2);
    house.delete(&path).by(&writer).header("if-match", &etag).send().refused(412, "stale");
    house.delete(&path).by(&writer).header("if-match", &next).send().expect(204);
}

#[test]
fn of_many_changes_of_one_version_exactly_one_goes_in() {
    let house = House::shared();
    let subject = house.ada();
    let record = house.contact(&subject);
    let writer = house.holder(Role::Writer);
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let statuses = std::thread::scope(|scope| {
        let tries = (0..8).map(|number| {
            let (house, writer, path) = (&house, &writer, &path);
            scope.spawn(move || {
                let body = json!({"fields": {"address": format!("Street {number}")}});
                house.patch(path, &body).by(writer).purpose("a-account").header("if-match", "\"1\"").send().status
            })
        });
        let tries: Vec<_> = tries.collect();
        let mut all: Vec<u16> = tries.into_iter().map(|one| one.join().unwrap()).collect();
        all.sort_unstable();
        all
    });
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}

#[test]
fn a_merge_patch_reaches_into_an_objects_members() {
    let house = House::shared();
    let subject = house.ada();
    let fields = json!({"device": {"id": "d-1", "os": {"name": "x", "version": 1}}, "ip": "192.0.2.1"});
    let record = house.write(&subject, &["k-security"], fields);
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let body = json!({"fields": {"device": {"os": {"version": null, "build": 7}, "model": "m"}}});
    let writer = house.holder(Role::Writer);
    house.patch(&path, &body).by(&writer).purpose("k-security").header("if-match", "\"1\"").send().expect(200);
    let seen = house.read(&subject, "k-security", "").expect(200).json();
    let wanted = json!({"device": {"id": "d-1", "os": {"name": "x", "build": 7}, "model": "m"}, "ip": "192.0.2.1"});
    assert_eq!(seen["records"][0]["fields"], wanted);
}

#[test]
fn a_contract_has_a_version_too() {
    let house = House::shared();
    let subject = house.ada();
    let writer = house.holder(Role::Writer);
    let path = format!("/v1/subjects/{subject}/contracts/ord-1");
    let put = |state: &str| house.put(&path, &json!({"state": state, "from": "2026-11-23"})).by(&writer);
    put("active").header("if-match", "\"1\"").send().refused(412, "stale");
    let first = put("active").send().expect(201).header("etag").unwrap().to_owned();
    let second = put("closed").header("if-match", &first).send().expect(200).header("etag").unwrap().to_owned();
    put("active").header("if-match", &first).send().refused(412, "stale");
    put("active").header("if-match", &second).send().expect(200);
    let backwards = json!({"state": "active", "from": "2026-11-23", "until": "2026-11-22"});
    house.put(&path, &backwards).by(&writer).send().refused(422, "invalid-body");
    for reference in ["ada@example.org", "a%20b", &"x".repeat(65)] {
        let path = format!("/v1/subjects/{subject}/contracts/{reference}");
        house.put(&path, &backwards).by(&writer).send().refused(400, "malformed-request");
    }
}

#[test]
fn a_walk_by_cursor_meets_each_record_exactly_once() {
    let house = House::shared();
    let (subject, other) = (house.ada(), house.ada());
    let reader = house.holder(Role::Reader);
    let items: Vec<Value> = (0..120)
        .map(|number| json!({"subject": subject, "record": {"kind": "contact", "purposes": ["b-service"], "fields": {"name": format!("n{number}")}}}))
        .collect();
    house.post("/v1/records:batch", &json!(items)).by(&house.holder(Role::Writer)).purpose("a-account").send().expect(200);
    house.contact(&other);
    let page = |subject: &str, query: &str| {
        house.get(&format!("/v1/subjects/{subject}/records?limit=50{query}")).by(&reader).purpose("b-service").send()
    };
    let (mut names, mut cursor, mut sizes) = (Vec::new(), None::<String>, Vec::new());
    loop {
        let query = cursor.as_ref().map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let body = page(&subject, &query).expect(200).json();
        let records = body["records"].as_array().unwrap();
        sizes.push(records.len());
        names.extend(records.iter().map(|record| record["fields"]["name"].as_str().unwrap().to_owned()));
        match body["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(sizes, [50, 50, 20]);
    names.sort();
    let mut wanted: Vec<String> = (0..120).map(|number| format!("n{number}")).collect();
    wanted.sort();
    assert_eq!(names, wanted);

    let first = page(&subject, "").json()["next_cursor"].as_str().unwrap().to_owned();
    page(&subject, &format!("&cursor={first}")).expect(200);
    let mut forged =
        vec![first[..first.len() - 1].to_owned(), format!("{first}AA"), "AAAA".into(), "x".repeat(1_024), "~".into()];
    for at in (0..first.len()).step_by(7) {
        let other = if &first[at..=at] == "A" { "B" } else { "A" };
        forged.push(format!("{}{other}{}", &first[..at], &first[at + 1..]));
    }
    for cursor in forged {
        page(&subject, &format!("&cursor={cursor}")).refused(400, "bad-cursor");
    }
    // Another list's, and another caller's.
    page(&other, &format!("&cursor={first}")).refused(400, "bad-cursor");
    let stranger = house.second(Role::Reader);
    let theirs = house.get(&format!("/v1/subjects/{subject}/records?cursor={first}")).by(&stranger).purpose("b-service").send();
    theirs.refused(400, "bad-cursor");
    let auditor = house.holder(Role::Auditor);
    house.get(&format!("/v1/audit/events?cursor={first}")).by(&auditor).send().refused(400, "bad-cursor");
    let events = house.get("/v1/audit/events?limit=1").by(&auditor).send().expect(200).member("next_cursor");
    page(&subject, &format!("&cursor={events}")).refused(400, "bad-cursor");
    let officer = house.holder(Role::SecurityOfficer);
    house.get(&format!("/v1/audit/events?cursor={events}")).by(&officer).send().refused(400, "bad-cursor");
}

#[test]
fn a_query_string_holds_known_parameters_once_each() {
    let house = House::shared();
    let ids = Ids::fresh(&house);
    for case in CASES {
        let (path, body) = (case.request)(&ids);
        for query in ["colour=1", "limit", "Limit=1", "access_token=x", "limit=%zz"] {
            let between = if path.contains('?') { '&' } else { '?' };
            let mut ask =
                house.ask(case.method, &format!("{path}{between}{query}")).by(&house.holder(case.role)).purpose(case.purpose);
            if !body.is_null() {
                ask = ask.json(&body);
            }
            ask.send().refused(400, "malformed-request");
        }
    }
    let reader = house.holder(Role::Reader);
    let path = format!("/v1/subjects/{}/records", ids.subject);
    for query in [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=1e2",
        "limit=1&limit=1",
        "fields=",
        "fields=name,name",
        "fields=Name",
        "fields=a%2Cb%40c",
        "record=x",
        "group=nothing",
        "group=Marketing",
    ] {
        let reply = house.get(&format!("{path}?{query}")).by(&reader).purpose("a-account").send();
        assert_eq!((reply.status, reply.code().as_str()), (400, "malformed-request"), "{query}");
    }
    house.get(&format!("{path}?limit=500&fields=name&group=identity")).by(&reader).purpose("a-account").send().expect(200);
    let auditor = house.holder(Role::Auditor);
    for query in ["from=yesterday", "until=1", "caller=x", "tag=xyz", "purpose=ada@example.org", "limit=501"] {
        house.get(&format!("/v1/audit/events?{query}")).by(&auditor).send().refused(400, "malformed-request");
    }
    house.get("/v1/audit/events?from=2026-11-23T11:00:00%2B01:00&until=2027-01-01T00:00:00Z").by(&auditor).send().expect(200);
    for (place, query) in
        [("0", ""), ("x", ""), ("999999999", ""), ("-1", ""), ("2", "?leaf=2"), ("2", "?from=3"), ("2", "?from=0")]
    {
        let path = format!("/v1/audit/checkpoints/{place}{query}");
        house.get(&path).by(&auditor).send().refused(404, "not-found");
    }
}

#[test]
fn too_many_wrong_credentials_have_to_wait() {
    let house = House::start_with(|config| {
        config.limits.failures_per_second = 1;
        config.limits.failures_burst = 3;
    });
    let admin = house.holder(Role::KeyAdmin);
    for _ in 0..3 {
        house.get("/v1/keys").send().refused(401, "unauthenticated");
    }
    let limited = house.get("/v1/keys").send().refused(429, "rate-limited");
    assert!(limited.header("retry-after").is_some() && limited.header("ratelimit").is_some());
    // Who has the right ones is not kept waiting.
    house.get("/v1/keys").by(&admin).send().expect(200);
}

#[test]
fn headers_without_measure_are_refused() {
    let house = House::shared();
    let admin = house.holder(Role::KeyAdmin);
    house.get("/v1/keys").by(&admin).header("x-large", &"x".repeat(20 << 10)).send().refused(431, "headers-too-large");
    let mut many = house.get("/v1/keys").by(&admin);
    for number in 0..70 {
        many = many.header(&format!("x-{number}"), "1");
    }
    many.send().refused(431, "headers-too-large");
    house.get(&format!("/v1/keys?{}", "x".repeat(20 << 10))).by(&admin).send().refused(431, "headers-too-large");
}

#[test]
fn a_list_of_keys_holds_no_key() {
    let house = House::shared();
    let list = house.get("/v1/keys").by(&house.holder(Role::KeyAdmin)).send().expect(200);
    let known = [
        "id",
        "kind",
        "state",
        "provider",
        "algorithm",
        "epoch",
        "active_since",
        "age_seconds",
        "destroy_assurance",
        "overdue_at",
        "rotates_at",
        "generation",
        "made_in_epoch",
        "places",
    ];
    for key in list.json()["keys"].as_array().unwrap() {
        key.as_object().unwrap().keys().for_each(|member| assert!(known.contains(&member.as_str()), "{member}"));
    }
    // The longest run of letters that could be a secret is far below 128 bits.
    let longest =
        list.text().split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '+' && letter != '/').map(str::len).max();
    assert!(longest.unwrap() < 22, "{}", list.text());
}

#[test]
fn a_look_up_meets_every_spelling_and_free_text_is_no_index() {
    let house = House::shared();
    let number = house.number();
    let body = json!({"class": "consumer", "jurisdiction": "DE", "aliases": [
        {"type": "email", "value": format!("Look.Up{number}@Example.org")}, {"type": "external_id", "value": format!("07-{number}")},
        {"type": "phone", "value": format!("030 {}", 2_000_000 + number)}, {"type": "handle", "value": format!("@ada{number}")}]});
    let writer = house.holder(Role::Writer);
    let made = house.post("/v1/subjects", &body).by(&writer).purpose("a-account").send().expect(201).member("id");
    let look = |kind: &str, value: &str| {
        house.post("/v1/subject-lookups", &json!({"type": kind, "value": value})).by(&writer).purpose("a-account").send()
    };
    let phone = format!("+49 (30) {}", 2_000_000 + number);
    for (kind, value) in [
        ("email", format!("look.up{number}@example.ORG")),
        ("email", format!("  LOOK.UP{number}@EXAMPLE.ORG ")),
        ("external_id", format!("07-{number}")),
        ("phone", phone),
    ] {
        assert_eq!(look(kind, &value).expect(200).member("id"), made, "{kind}");
    }
    look("message", "anything").refused(422, "not-indexable");
    look("password", "anything").refused(422, "not-indexable");
    look("email", "nobody at all").refused(404, "not-found");
    let again = house.post("/v1/subjects", &body).by(&writer).purpose("a-account").send();
    again.refused(409, "alias-taken");
    let narrow = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    let other = json!({"type": "external_id", "value": "07"});
    house.post("/v1/subject-lookups", &other).by(&narrow).purpose("a-account").send().refused(403, "purpose-not-granted");
}
