//! Configuration as the single truth: drafts change nothing, two people publish, and the policy says what is enforced.

use oubliette::model::caller::{CallerKind, Role};
use oubliette::store::{Batch, Store};
use serde_json::{Value, json};

use crate::house::{House, notice};
use crate::https::Reply;

impl House {
    /// What is published of an entry.
    pub(crate) fn entry(&self, kind: &str, id: &str) -> Value {
        let path = format!("/v1/config/{kind}?limit=500");
        let list = self.get(&path).by(&self.holder(Role::PolicyAuthor)).send().expect(200).json();
        let own = list["entries"].as_array().unwrap().iter().find(|entry| entry["id"] == id);
        own.unwrap_or_else(|| panic!("{kind}/{id} is not there"))["published"].clone()
    }

    /// Drafts an entry, or with `{"remove":true}` that it goes.
    pub(crate) fn draft(&self, kind: &str, id: &str, entry: &Value) -> Reply {
        self.put(&format!("/v1/config/{kind}/{id}"), entry).by(&self.holder(Role::PolicyAuthor)).send()
    }

    /// Proposes what is drafted.
    pub(crate) fn propose(&self) -> Reply {
        self.post("/v1/policy-versions", &json!({"action": "propose"})).by(&self.holder(Role::PolicyAuthor)).send()
    }

    /// Has the privacy officer approve a proposal.
    pub(crate) fn approve(&self, proposal: &str) -> Reply {
        let body = json!({"action": "approve", "proposal": proposal});
        self.post("/v1/policy-versions", &body).by(&self.holder(Role::PrivacyOfficer)).send()
    }

    /// Proposes and approves what is drafted: what was published.
    pub(crate) fn publish(&self) -> Value {
        let proposal = self.propose().expect(201).member("id");
        self.approve(&proposal).expect(201).json()
    }

    /// The published policy as linked data, without credentials.
    fn policy(&self, version: &str) -> Value {
        let path = format!("/v1/policy-versions/{version}");
        self.get(&path).header("accept", "application/ld+json").send().expect(200).json()
    }
}

/// A purpose with one category more.
fn with_category(mut purpose: Value, category: &str) -> Value {
    purpose["categories"].as_array_mut().unwrap().push(category.into());
    purpose
}

/// The node of a purpose in the policy.
fn process(policy: &Value, purpose: &str) -> Value {
    let id = format!("urn:oubliette:purpose:{purpose}");
    policy["@graph"].as_array().unwrap().iter().find(|node| node["@id"] == id).unwrap().clone()
}

fn categories(policy: &Value, purpose: &str) -> Vec<String> {
    let list = process(policy, purpose)["vault:hasCategory"].as_array().unwrap().clone();
    list.iter().map(|term| term["@id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn promise_p01_the_controllers_are_listed_for_everybody_and_nothing_else_of_the_configuration_is() {
    let house = House::of_controllers(2);
    let list = house.get("/v1/config/controllers").send().expect(200).json();
    let ids: Vec<&str> = list["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [house.tenant(0).id().to_string(), house.tenant(1).id().to_string()]);
    for entry in list["entries"].as_array().unwrap() {
        assert!(entry["title"].is_string() && entry["privacy_officer"].is_string() && entry["policy_version"].is_string());
    }
    for kind in ["fields", "partners", "sources", "settings"] {
        house.get(&format!("/v1/config/{kind}")).send().refused(401, "unauthenticated");
    }
    // The policy of one of several controllers is named; a reader of the one sees the other's subject as one that is nowhere.
    house.get("/v1/policy-versions/current").send().refused(400, "malformed-request");
    let path = format!("/v1/policy-versions/current?controller={}", house.tenant(1).id());
    assert!(house.get(&path).send().expect(200).text().contains("a-account"));
    let ada = house.ada();
    house.contact(&ada);
    let foreign = house.holder_of(1, Role::Reader, 0);
    let read = |subject: &str| {
        let path = format!("/v1/subjects/{subject}/records");
        let reply = house.get(&path).by(&foreign).purpose("a-account").send();
        let mut body = reply.json();
        body.as_object_mut().unwrap().remove("instance");
        (reply.status, body)
    };
    assert_eq!(read(&ada), read("sub_00000000000000000000000000"));
    assert_eq!(read(&ada).0, 404);
}

#[test]
fn promise_p03_the_policy_document_is_what_is_enforced_and_a_draft_is_neither() {
    let house = House::start();
    let ada = house.ada();
    let fields = json!({"name": "Ada", "phone": "+49 30 1234567", "address": "Unter den Linden 1", "language": "de"});
    house.write(&ada, &["a-account", "k-security"], fields);
    let before = house.policy("current");
    let read = || house.read(&ada, "k-security", "address");
    read().refused(403, "category-not-permitted");
    assert!(!categories(&before, "k-security").contains(&"pd:PhysicalAddress".to_owned()));

    let wider = with_category(house.entry("purposes", "k-security"), "pd:PhysicalAddress");
    house.draft("purposes", "k-security", &wider).expect(200);
    read().refused(403, "category-not-permitted");
    assert_eq!(house.policy("current"), before, "a draft is no policy");
    let proposal = house.propose().expect(201).json();
    assert_eq!(proposal["material"], true);
    let widened = json!([{"what": "category", "of": "k-security", "to": "pd:PhysicalAddress"}]);
    assert_eq!(proposal["widens"], widened);
    read().refused(403, "category-not-permitted");
    assert_eq!(house.policy("current"), before, "a proposal is no policy");

    let published = house.approve(proposal["id"].as_str().unwrap()).expect(201).json();
    let version = published["version"].as_str().unwrap();
    assert!(read().expect(200).text().contains("Unter den Linden 1"));
    let after = house.policy("current");
    assert!(categories(&after, "k-security").contains(&"pd:PhysicalAddress".to_owned()));
    let current = house.get("/v1/policy-versions/current").send().expect(200);
    assert_eq!(current.header("etag"), Some(format!("\"{version}\"").as_str()));
    assert_eq!(current.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(current.header("content-security-policy"), Some(crate::protocol::NOTHING_ELSE));
    let page = current.text();
    assert!(page.contains("<html lang=\"en\">") && !page.contains("<script"));
    let older = house.tenant_version();
    assert_ne!(older, version);
    assert_eq!(categories(&house.policy(&older), "k-security"), categories(&before, "k-security"));
    let diff = house.get(&format!("/v1/policy-versions/current?diff={older}")).send().expect(200).text();
    assert!(diff.contains("More may be done with data than before") && diff.contains("pd:PhysicalAddress"));

    // The same after a restart, and what was drafted is not drafted any more.
    let house = house.restart();
    assert_eq!(house.policy("current"), after);
    house.read(&ada, "k-security", "address").expect(200);
    house.propose().refused(409, "state-conflict");
}

impl House {
    /// The version that the program came with.
    fn tenant_version(&self) -> String {
        oubliette::tenant::Tenant::shipped(self.tenant(0).id()).unwrap().version().to_owned()
    }
}

#[test]
fn promise_p06_a_field_without_its_identifiability_is_not_even_drafted() {
    let house = House::shared();
    let field = json!({"number": 200, "name": "shoe_size", "category": "pd:Size", "kind": "text"});
    let refused = house.draft("fields", "shoe_size", &field).refused(422, "invalid-body").json();
    assert_eq!(refused["pointer"], "/identifiability");
    let mut unknown = field.clone();
    unknown["identifiability"] = "quasi".into();
    house.draft("fields", "other_name", &unknown).refused(422, "invalid-body");
    unknown["colour"] = "red".into();
    let refused = house.draft("fields", "shoe_size", &unknown).refused(422, "invalid-body").json();
    assert_eq!(refused["pointer"], "/colour");
}

#[test]
fn promise_p27_without_a_row_of_the_basis_table_nothing_of_that_jurisdiction_opens() {
    let house = House::start();
    let person = |jurisdiction: &str| {
        let body = json!({"class": "consumer", "jurisdiction": jurisdiction, "aliases": [], "notice": notice()});
        let made = house.post("/v1/subjects", &body).by(&house.holder(Role::Writer)).purpose("a-account").send();
        let subject = made.expect(201).member("id");
        ["i-errors", "g-improve"].into_iter().for_each(|purpose| drop(house.consent(&subject, purpose, "given").expect(201)));
        house.write(&subject, &["i-errors"], json!({"error_details": {"code": "E-7"}}));
        subject
    };
    let (german, chinese) = (person("DE"), person("CN"));
    let read = |subject: &str| house.read(subject, "g-improve", "error_details");
    read(&german).expect(200);
    assert!(read(&chinese).expect(200).text().contains("E-7"));
    house.draft("basis-rules", "g-improve-cn", &json!({"remove": true})).expect(200);
    read(&chinese).expect(200);
    house.publish();
    assert!(read(&german).expect(200).text().contains("E-7"));
    read(&chinese).refused(403, "no-lawful-basis");
    let policy = house.policy("current");
    let bases = process(&policy, "g-improve")["dpv:hasLegalBasis"].as_array().unwrap().clone();
    assert!(bases.iter().any(|basis| basis["dpv:hasJurisdiction"] == "EEA"));
    assert!(bases.iter().all(|basis| basis["dpv:hasJurisdiction"] != "CN"), "the policy says so too");
}

#[test]
fn promise_p61_a_wider_purpose_waits_for_the_consent_to_be_given_again() {
    let house = House::start();
    let ada = house.ada();
    house.contact(&ada);
    let read = |field: &str| house.read(&ada, "c-marketing", field);
    read("email").expect(200);
    read("address").refused(403, "category-not-permitted");
    let wider = with_category(house.entry("purposes", "c-marketing"), "pd:PhysicalAddress");
    house.draft("purposes", "c-marketing", &wider).expect(200);
    let published = house.publish();
    assert_eq!(published["material"], true);
    assert_eq!(published["reconsent"], json!(["c-marketing"]));
    read("address").refused(403, "reconsent-required");
    read("email").expect(200);
    house.consent(&ada, "c-marketing", "given").expect(201);
    assert!(read("address").expect(200).text().contains("Unter den Linden 1"));
}

#[test]
fn promise_p29_a_legitimate_interest_without_an_assessment_is_not_published() {
    let house = House::start();
    let mut rule = house.entry("basis-rules", "g-improve");
    rule["assessment"] = Value::Null;
    house.draft("basis-rules", "g-improve", &rule).expect(200);
    let refused = house.propose().refused(409, "lia-missing").json();
    assert_eq!(refused["pointer"], "/basis-rules/g-improve");
    // An assessment of another purpose is none of this one.
    rule["assessment"] = "lia-security".into();
    house.draft("basis-rules", "g-improve", &rule).expect(200);
    house.propose().refused(409, "lia-missing");
    house.draft("basis-rules", "g-improve", &json!({"discard": true})).expect(204);
    house.propose().refused(409, "state-conflict");
}

#[test]
fn a_policy_that_contradicts_itself_or_what_is_stored_is_refused_with_the_reason() {
    let house = House::start();
    let rule = house.entry("basis-rules", "c-marketing");
    let refused_as = |kind: &str, id: &str, entry: &Value, reason: &str| {
        house.draft(kind, id, entry).expect(200);
        let refused = house.propose().refused(409, "policy-conflict").json();
        assert!(refused["reason"].as_str().unwrap().contains(reason), "{refused}");
        house.draft(kind, id, &json!({"discard": true})).expect(204);
    };
    // C1: two bases for one purpose and place; also where two areas share a jurisdiction.
    let mut second = rule.clone();
    (second["id"], second["basis"], second["areas"]) = ("c-other".into(), "contract".into(), json!(["EEA"]));
    refused_as("basis-rules", "c-other", &second, "`c-marketing` gives the same purpose, area and class another basis");
    house.draft("areas", "NORD", &json!({"id": "NORD", "codes": ["DK", "SE"]})).expect(200);
    second["areas"] = json!(["NORD"]);
    refused_as("basis-rules", "c-other", &second, "another basis");
    house.draft("areas", "NORD", &json!({"discard": true})).expect(204);
    // C11: no legitimate interest in China.
    let mut china = house.entry("basis-rules", "g-improve-cn");
    (china["basis"], china["assessment"]) = ("legitimate-interest".into(), "lia-improve".into());
    refused_as("basis-rules", "g-improve-cn", &china, "the law of `CN` knows no legitimate interest");
    // Numbers keep their meaning: of fields, of retired fields, of groups.
    let gender = house.entry("fields", "gender");
    let mut reused = gender.clone();
    (reused["name"], reused["number"]) = ("shoe_size".into(), 2.into());
    refused_as("fields", "shoe_size", &reused, "number 2 is used twice");
    house.draft("fields", "gender", &json!({"remove": true})).expect(200);
    refused_as("fields", "shoe_size", &reused, "number 2 is retired");
    house.draft("fields", "gender", &json!({"discard": true})).expect(204);
    let mut number = house.entry("fields", "gender");
    number["number"] = 201.into();
    refused_as("fields", "gender", &number, "its number 2 is neither used nor retired");
    let mut groups = house.entry("settings", "tenant");
    groups["groups"]["marketing"] = 20.into();
    refused_as("settings", "tenant", &groups, "its number is 4 for good");
    // What people are sent to is on the web, and no script.
    let mut script = house.entry("authorities", "de-bfdi");
    script["url"] = "javascript:alert(1)".into();
    refused_as("authorities", "de-bfdi", &script, "its address is not https");
    // Categories exist.
    let wider = with_category(house.entry("purposes", "c-marketing"), "pd:ShoeSize");
    refused_as("purposes", "c-marketing", &wider, "unknown category `pd:ShoeSize`");
}

#[test]
fn a_field_that_goes_leaves_its_number_behind_for_good() {
    let house = House::start();
    house.draft("fields", "signature", &json!({"remove": true})).expect(200);
    let categories = |id: &str| {
        let mut purpose = house.entry("purposes", id);
        purpose["categories"].as_array_mut().unwrap().retain(|category| category != "vault:Signature");
        house.draft("purposes", id, &purpose).expect(200);
    };
    ["f-supplier", "l1-legal"].into_iter().for_each(categories);
    let published = house.publish();
    assert_eq!(published["material"], false, "{published}");
    assert_eq!(house.entry("settings", "fields")["retired"], json!([37]));
    let reused = json!({"number": 37, "name": "shoe_size", "category": "pd:Size", "kind": "text", "identifiability": "quasi"});
    house.draft("fields", "shoe_size", &reused).expect(200);
    house.propose().refused(409, "policy-conflict");
}

#[test]
fn a_policy_takes_two_people_and_a_proposal_that_somebody_overtook_is_void() {
    let house = House::start();
    let both = [Role::PolicyAuthor, Role::PrivacyOfficer];
    let author = house.caller(CallerKind::Person, &both, &[]);
    let post = |body: Value, by: &crate::house::Token| house.post("/v1/policy-versions", &body).by(by).send();
    let sla = json!({"id": "requests", "days": 20, "alarms": [50, 100]});
    house.draft("sla-rules", "requests", &sla).expect(200);
    let proposal = post(json!({"action": "propose"}), &author).expect(201).member("id");
    let approval = json!({"action": "approve", "proposal": proposal});
    post(approval.clone(), &author).refused(403, "second-person-required");
    let program = house.caller(CallerKind::Service, &[Role::PrivacyOfficer], &[]);
    post(approval.clone(), &program).refused(403, "second-person-required");
    post(approval.clone(), &house.holder(Role::PolicyAuthor)).refused(403, "role-forbidden");
    post(json!({"action": "propose"}), &house.holder(Role::PrivacyOfficer)).refused(403, "role-forbidden");
    post(approval.clone(), &house.holder(Role::Reader)).refused(403, "role-forbidden");
    // The officer sees what there is to approve; nobody else does.
    let path = format!("/v1/policy-versions/{proposal}");
    let seen = house.get(&path).by(&house.holder(Role::PrivacyOfficer)).send().expect(200).json();
    assert_eq!(
        seen["changes"],
        json!([{"kind": "sla-rules", "id": "requests", "change": "changed", "members": ["alarms", "days", "extension_days", "statute"]}])
    );
    assert_eq!(seen["material"], false);
    house.get(&path).by(&house.holder(Role::Writer)).send().refused(404, "not-found");
    house.get(&path).send().refused(404, "not-found");
    // Another proposal takes its place.
    let later = post(json!({"action": "propose"}), &author).expect(201).member("id");
    post(approval.clone(), &house.holder(Role::PrivacyOfficer)).refused(404, "not-found");
    let approval = json!({"action": "approve", "proposal": later});
    post(approval.clone(), &house.holder(Role::PrivacyOfficer)).expect(201);
    post(approval, &house.holder(Role::PrivacyOfficer)).refused(404, "not-found");
    // Dropping one leaves the drafts.
    house.draft("sla-rules", "requests", &json!({"id": "requests", "days": 25, "alarms": [50, 100]})).expect(200);
    let third = house.propose().expect(201).member("id");
    post(json!({"action": "reject", "proposal": third}), &house.holder(Role::PrivacyOfficer)).expect(200);
    house.approve(&third).refused(404, "not-found");
    let fourth = house.propose().expect(201).member("id");
    // What was drafted after the proposal is not in it, and stays drafted.
    house.draft("sla-rules", "requests", &json!({"id": "requests", "days": 26, "alarms": [50, 100]})).expect(200);
    house.approve(&fourth).expect(201);
    assert_eq!(house.entry("sla-rules", "requests")["days"], 25);
    house.publish();
    assert_eq!(house.entry("sla-rules", "requests")["days"], 26);
}

#[test]
fn a_published_policy_of_which_a_piece_is_gone_keeps_the_vault_shut() {
    let house = House::start();
    house.draft("sla-rules", "requests", &json!({"id": "requests", "days": 20, "alarms": [50, 100]})).expect(200);
    house.publish();
    let home = house.close();
    let store = home.store().unwrap();
    // The newest version is the last of the rows, and its last piece the last of them.
    let rows = store.scan(b"o", None, 1_000).unwrap();
    let mut batch = Batch::default();
    batch.writes.push((rows.last().unwrap().0.clone(), None));
    store.commit(&batch).unwrap();
    drop(store);
    let why = House::open(home).err().expect("it must not open");
    assert!(why.contains("the published policy cannot be read"), "{why}");
}

#[test]
fn configuration_is_read_in_pages_and_drafts_are_shown_to_those_who_judge_them() {
    let house = House::start();
    house.draft("sources", "kiosk", &json!({"id": "kiosk", "title": "A kiosk"})).expect(200);
    let (reader, author) = (house.holder(Role::Reader), house.holder(Role::PolicyAuthor));
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("/v1/config/fields?limit=7{cursor}")).by(&reader).send().expect(200).json();
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 7);
        ids.extend(entries.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut names: Vec<String> = house.tenant(0).fields().iter().map(|field| field.name.clone()).collect();
    names.sort();
    assert_eq!(ids, names);
    let sources = |token| house.get("/v1/config/sources").by(token).send().expect(200).text();
    assert!(!sources(&reader).contains("kiosk"));
    assert!(sources(&author).contains("kiosk"));
    let roles = house.get("/v1/config/roles").by(&reader).send().expect(200).json();
    assert_eq!(roles["entries"].as_array().unwrap().len(), 10);
    house.draft("roles", "reader", &json!({"id": "reader", "operations": {}})).refused(404, "not-found");
    house.draft("colours", "red", &json!({})).refused(404, "not-found");
    house.get("/v1/config/colours").by(&reader).send().refused(404, "not-found");
    house
        .put("/v1/config/sources/kiosk", &json!({"id": "kiosk", "title": "x"}))
        .by(&reader)
        .send()
        .refused(403, "role-forbidden");
    house.get(&format!("/v1/config/fields?limit=7{cursor}")).by(&author).send().refused(400, "bad-cursor");
}
