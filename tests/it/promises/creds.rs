//! Who asks, and to whom data goes.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::ids::TenantId;
use oubliette::model::wire::PutCaller;
use oubliette::tenant::Tenant;
use serde_json::{Value, json};

use crate::house::{House, Token};
use crate::https::Reply;

impl House {
    /// A portal: the service that speaks for persons.
    pub(crate) fn portal(&self, purposes: &[&str]) -> Token {
        self.caller(CallerKind::Service, &[Role::Subject], purposes)
    }

    /// What comes of the portal asking for a person's own token.
    pub(crate) fn ask_for_own(&self, portal: &Token, body: &Value) -> Reply {
        self.post(&format!("/v1/callers/{}/tokens", portal.id), body).by(portal).send()
    }

    /// A person's own token, through a portal.
    pub(crate) fn own_token(&self, portal: &Token, subject: &str) -> Token {
        let text = self.ask_for_own(portal, &json!({"subject": subject})).expect(201).member("token");
        Token { text, ..portal.clone() }
    }
}

#[test]
fn a_person_reaches_themselves_as_me_and_nobody_else() {
    let house = House::shared();
    let (ada, ben) = (house.ada(), house.ada());
    house.contact(&ada);
    house.contact(&ben);
    let portal = house.portal(&["x-rights", "a-account"]);
    let me = house.own_token(&portal, &ada);
    assert_eq!(house.get("/v1/subjects/me").by(&me).send().expect(200).member("id"), ada);
    assert_eq!(house.get(&format!("/v1/subjects/{ada}")).by(&me).send().expect(200).member("id"), ada);
    let unknown = "sub_00000000000000000000000000";
    let other = house.get(&format!("/v1/subjects/{ben}")).by(&me).send().refused(404, "not-found").without_decision();
    let nobody = house.get(&format!("/v1/subjects/{unknown}")).by(&me).send().refused(404, "not-found").without_decision();
    assert_eq!(other, nobody, "another person looks like nobody");
    let records = |subject: &str| house.get(&format!("/v1/subjects/{subject}/records")).by(&me).purpose("x-rights").send();
    assert_eq!(records("me").expect(200).json()["records"][0]["fields"]["name"], "Ada");
    records(&ben).refused(404, "not-found");
    let restrict = |subject: &str| {
        house.post(&format!("/v1/subjects/{subject}/restrictions"), &json!({"kind": "objection", "purposes": ["g-improve"]}))
    };
    let laid = restrict("me").by(&me).send().expect(201).member("id");
    restrict(&ben).by(&me).send().refused(404, "not-found");
    house
        .ask("DELETE", &format!("/v1/subjects/me/restrictions/{laid}"))
        .json(&json!({"reason": "settled"}))
        .by(&me)
        .send()
        .expect(204);
    // Nobody else is anybody's `me`, and the portal by itself is nobody.
    house.get("/v1/subjects/me").by(&house.holder(Role::Reader)).send().refused(404, "not-found");
    house.get("/v1/subjects/me").by(&portal).send().refused(404, "not-found");
    house.get(&format!("/v1/subjects/{ada}")).by(&portal).send().refused(404, "not-found");
}

#[test]
fn a_portal_issues_its_persons_own_tokens_and_no_others() {
    let house = House::shared();
    let ada = house.ada();
    let portal = house.portal(&["x-rights"]);
    let other = house.portal(&["x-rights"]);
    house.ask_for_own(&portal, &json!({})).refused(403, "role-forbidden");
    let path = format!("/v1/callers/{}/tokens", other.id);
    house.post(&path, &json!({"subject": ada})).by(&portal).send().refused(403, "role-forbidden");
    house.ask_for_own(&portal, &json!({"subject": ada, "purposes": ["b-service"]})).refused(422, "invalid-body");
    house.ask_for_own(&portal, &json!({"subject": ada, "lifetime_seconds": 3601})).refused(422, "invalid-body");
    house.ask_for_own(&portal, &json!({"subject": "sub_00000000000000000000000000"})).refused(404, "not-found");
    let me = house.own_token(&portal, &ada);
    // A person's token makes no tokens, not even for that person.
    house.ask_for_own(&me, &json!({"subject": ada})).refused(403, "role-forbidden");
    // A caller without the role speaks for nobody.
    let desk = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    let path = format!("/v1/callers/{}/tokens", desk.id);
    house.post(&path, &json!({"subject": ada})).by(&house.holder(Role::SecurityOfficer)).send().refused(422, "invalid-body");
}

#[test]
fn a_portal_that_may_do_more_gives_its_persons_no_more_than_their_own() {
    let house = House::shared();
    let (ada, ben) = (house.ada(), house.ada());
    let portal = house.caller(CallerKind::Service, &[Role::Subject, Role::Reader], &["b-service", "x-rights"]);
    house.get(&format!("/v1/subjects/{ben}")).by(&portal).send().expect(200);
    let me = house.own_token(&portal, &ada);
    house.get(&format!("/v1/subjects/{ben}")).by(&me).send().refused(404, "not-found");
    house
        .post("/v1/subject-lookups", &json!({"type": "email", "value": "a@example.org"}))
        .by(&me)
        .purpose("b-service")
        .send()
        .refused(403, "role-forbidden");
}

#[test]
fn a_persons_token_ends_with_its_time_its_portal_and_its_person() {
    let house = House::start();
    let (ada, ben) = (house.ada(), house.ada());
    let portal = house.portal(&["x-rights"]);
    let see = |token: &Token| house.get("/v1/subjects/me").by(token).send();
    let (first, other) = (house.own_token(&portal, &ada), house.own_token(&portal, &ben));
    house.home.turn(SignedDuration::from_secs(899));
    see(&first).expect(200);
    house.home.turn(SignedDuration::from_secs(1));
    see(&first).refused(401, "unauthenticated");
    see(&other).refused(401, "unauthenticated");
    let (first, other) = (house.own_token(&portal, &ada), house.own_token(&portal, &ben));
    house.erase_subject(&ada);
    see(&first).refused(401, "unauthenticated");
    see(&other).expect(200);
    let body =
        json!({"name": "portal", "kind": "service", "roles": ["subject"], "purposes": ["x-rights"], "revoke_tokens": true});
    house.put(&format!("/v1/callers/{}", portal.id), &body).by(&house.holder(Role::SecurityOfficer)).send().expect(200);
    see(&other).refused(401, "unauthenticated");
}

#[test]
fn two_persons_of_one_portal_do_not_share_idempotency_keys_erasures_or_events() {
    let house = House::shared();
    let (ada, ben) = (house.ada(), house.ada());
    let portal = house.portal(&["x-rights"]);
    let (ada_token, ben_token) = (house.own_token(&portal, &ada), house.own_token(&portal, &ben));
    let marketing = json!({"subject": "me", "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"});
    let erase =
        |token: &Token| house.post("/v1/erasures", &marketing).by(token).header("idempotency-key", "1").send().expect(201);
    let (one, two) = (erase(&ada_token).member("id"), erase(&ben_token).member("id"));
    assert_ne!(one, two);
    house.get(&format!("/v1/erasures/{one}")).by(&ada_token).send().expect(200);
    house.get(&format!("/v1/erasures/{one}")).by(&ben_token).send().refused(404, "not-found");
    let events = |token: &Token| house.get("/v1/audit/events?limit=500").by(token).send().expect(200).json();
    let tags = |token: &Token| {
        let events = events(token)["events"].as_array().unwrap().clone();
        let mut tags: Vec<Value> = events.iter().map(|event| event["subject_tag"].clone()).collect();
        tags.dedup();
        tags
    };
    let (mine, theirs) = (tags(&ada_token), tags(&ben_token));
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    assert_ne!(mine, theirs);
    let tag = theirs[0].as_str().unwrap();
    house.get(&format!("/v1/audit/events?tag={tag}")).by(&ada_token).send().refused(404, "not-found");
}

#[test]
fn a_person_erases_device_and_marketing_directly_and_the_rest_through_a_request() {
    let house = House::shared();
    let (ada, ben) = (house.ada(), house.ada());
    house.contact(&ada);
    let me = house.own_token(&house.portal(&["x-rights"]), &ada);
    let erase = |body: Value| house.post("/v1/erasures", &body).by(&me).send();
    let done = erase(json!({"subject": "me", "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"})).expect(201);
    assert_eq!(done.member("state"), "sealed");
    assert!(done.member("claim_code").starts_with("claim_"));
    house.read(&ada, "c-marketing", "name").refused(410, "key-destroyed");
    erase(json!({"subject": "me", "scope": "groups", "groups": ["device", "contract"], "cause": "request"}))
        .refused(403, "role-forbidden");
    erase(json!({"subject": "me", "scope": "subject", "cause": "request"})).refused(403, "role-forbidden");
    erase(json!({"subject": ben, "scope": "groups", "groups": ["device"], "cause": "request"})).refused(404, "not-found");
    house.read(&ada, "b-service", "name").expect(200);
}

#[test]
fn a_grant_is_given_and_shown_as_rfc_9396_has_it() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let desk = house.caller(CallerKind::Service, &[Role::Reader], &["b-service", "d-notice"]);
    let path = format!("/v1/callers/{}/tokens", desk.id);
    let issue = |body: Value| house.post(&path, &body).by(&house.holder(Role::SecurityOfficer)).send();
    let detail = json!({"type": "oubliette", "actions": ["readRecords"], "purposes": ["b-service"], "fields": ["name"], "regions": ["EU"]});
    let made = issue(json!({"authorization_details": [detail]})).expect(201);
    assert_eq!(made.json()["authorization_details"], json!([detail]));
    let narrow = Token { text: made.member("token"), ..desk.clone() };
    let records = format!("/v1/subjects/{subject}/records");
    let seen = house.get(&records).by(&narrow).purpose("b-service").send().expect(200).json();
    assert_eq!(seen["records"][0]["fields"], json!({"name": "Ada"}));
    house.get(&records).by(&narrow).purpose("d-notice").send().refused(403, "purpose-not-granted");
    house.get(&format!("/v1/subjects/{subject}")).by(&narrow).send().refused(403, "role-forbidden");
    for wrong in [
        json!([{"type": "other"}]),
        json!([{"type": "oubliette", "purposes": ["c-marketing"]}]),
        json!([{"type": "oubliette", "actions": ["fly"]}]),
        json!([{"type": "oubliette", "regions": ["EU", "JP"]}]),
        json!([{"type": "oubliette", "regions": ["MARS"]}]),
        json!([{"type": "oubliette", "locations": ["https://example.org"]}]),
        json!([{"type": "oubliette"}, {"type": "oubliette"}]),
    ] {
        issue(json!({"authorization_details": wrong})).refused(422, "invalid-body");
    }
    issue(json!({"purposes": ["b-service"], "authorization_details": [detail]})).refused(422, "invalid-body");
    issue(json!({"authorization_details": [{"type": "oubliette", "fields": ["shoe_size"]}]}))
        .refused(422, "field-not-in-catalogue");
}

#[test]
fn a_person_without_a_current_training_gets_no_token_and_a_service_needs_none() {
    let house = House::start();
    let officer = house.holder(Role::SecurityOfficer);
    let put = |caller: &Token, kind: &str, trained: Value| {
        let body = json!({"name": "x", "kind": kind, "roles": ["reader"], "purposes": ["b-service"], "trained_at": trained});
        house.put(&format!("/v1/callers/{}", caller.id), &body).by(&officer).send().expect(200);
    };
    let issue = |caller: &Token| house.post(&format!("/v1/callers/{}/tokens", caller.id), &json!({})).by(&officer).send();
    let person = house.caller(CallerKind::Person, &[Role::Reader], &["b-service"]);
    put(&person, "person", Value::Null);
    issue(&person).refused(403, "training-required");
    put(&person, "person", json!("2025-11-22"));
    issue(&person).refused(403, "training-required");
    put(&person, "person", json!("2025-11-23"));
    issue(&person).expect(201);
    let service = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    issue(&service).expect(201);
}

impl House {
    /// A caller as an officer would put it.
    pub(crate) fn made(&self, body: PutCaller) -> Token {
        let (id, text) = self.wait(self.vault.bootstrap(&self.tenant(0), body)).unwrap();
        Token { id, text }
    }

    /// A partner that asks for itself.
    pub(crate) fn partner(&self, partner: &str, purposes: &[&str]) -> Token {
        let purposes = purposes.iter().map(|id| (*id).to_owned()).collect();
        let body = PutCaller::of(partner, CallerKind::Service, vec![Role::Partner], purposes);
        self.made(PutCaller { partner: Some(partner.to_owned()), ..body })
    }

    /// A consumer with a contract and the contact that a delivery needs.
    pub(crate) fn customer(&self) -> String {
        let subject = self.ada();
        self.contact(&subject);
        subject
    }

    /// Puts an entry of the configuration in force: drafted, proposed and approved by those who may.
    pub(crate) fn put_in_force(&self, kind: &str, id: &str, entry: &Value) {
        let author = self.holder(Role::PolicyAuthor);
        self.put(&format!("/v1/config/{kind}/{id}"), entry).by(&author).send().expect(200);
        let versions = "/v1/policy-versions";
        let proposal = self.post(versions, &json!({"action": "propose"})).by(&author).send().expect(201).member("id");
        let approval = json!({"action": "approve", "proposal": proposal});
        self.post(versions, &approval).by(&self.holder(Role::PrivacyOfficer)).send().expect(201);
    }

    /// A caller of one source system, with every purpose.
    fn of_source(&self, role: Role, source: &str) -> Token {
        let purposes = self.tenant(0).purposes().iter().map(|purpose| purpose.id.clone()).collect();
        let body = PutCaller::of(source, CallerKind::Service, vec![role], purposes);
        self.made(PutCaller { source: Some(source.to_owned()), ..body })
    }

    /// What comes of disclosing fields of a person to a partner.
    pub(crate) fn disclose(&self, subject: &str, recipient: &str, purpose: &str, fields: &[&str]) -> Reply {
        let body = json!({"subject": subject, "recipient": recipient, "fields": fields});
        self.post("/v1/disclosures", &body).by(&self.holder(Role::Writer)).purpose(purpose).send()
    }

    /// The ledger of a person, as the privacy officer sees it.
    pub(crate) fn ledger(&self, subject: &str) -> Vec<Value> {
        let path = format!("/v1/disclosures?subject={subject}");
        let page = self.get(&path).by(&self.holder(Role::PrivacyOfficer)).send().expect(200).json();
        page["disclosures"].as_array().unwrap().clone()
    }
}

#[test]
fn promise_p01_a_person_of_one_controller_is_nobody_to_another_and_a_caller_of_none_makes_nobody() {
    let house = House::of_controllers(2);
    let ada = house.ada();
    let unknown = "sub_00000000000000000000000000";
    let foreign = house.holder_of(1, Role::Reader, 0);
    for path in ["", "/records"] {
        let of = |subject: &str| {
            let reply = house.get(&format!("/v1/subjects/{subject}{path}")).by(&foreign).purpose("b-service").send();
            reply.refused(404, "not-found").without_decision()
        };
        assert_eq!(of(&ada), of(unknown));
    }
    let portal = house.portal(&["x-rights"]);
    let stranger = house.caller_of(1, CallerKind::Service, &[Role::Subject], Some(&["x-rights"]));
    house.ask_for_own(&stranger, &json!({"subject": ada})).refused(404, "not-found");
    house.ask_for_own(&portal, &json!({"subject": ada})).expect(201);
    // Credentials of a controller that this vault does not have.
    let elsewhere = Tenant::shipped(TenantId::from_bytes([99; 16])).unwrap();
    let body = PutCaller::of("lost", CallerKind::Service, vec![Role::Writer], vec!["a-account".into()]);
    let (id, text) = house.wait(house.vault.bootstrap(&elsewhere, body)).unwrap();
    let lost = Token { id, text };
    let body = json!({"class": "consumer", "jurisdiction": "DE"});
    let refused = house.post("/v1/subjects", &body).by(&lost).purpose("a-account").send().refused(403, "controller-unknown");
    assert!(refused.header("vault-decision").is_some(), "it is in the trail");
}

#[test]
fn promise_p05_nothing_goes_to_a_recipient_that_is_not_registered_and_the_try_is_audited() {
    let house = House::shared();
    let subject = house.customer();
    let refused = house.disclose(&subject, "somebody-else", "b-delivery", &["name"]).refused(403, "recipient-unknown");
    let decision = refused.header("vault-decision").unwrap().to_owned();
    let events = house.events("");
    let event = events.iter().find(|event| event["id"] == decision.as_str()).expect("the entry of the refusal");
    assert_eq!((&event["operation"], &event["outcome"]), (&json!("disclose"), &json!("refused")));
    assert!(house.ledger(&subject).is_empty());
}

#[test]
fn promise_p33_a_parcel_service_gets_name_address_and_phone_and_the_ledger_says_so_first() {
    let house = House::shared();
    let subject = house.customer();
    house.disclose(&subject, "parcel", "b-delivery", &["name", "email"]).refused(403, "category-not-permitted");
    assert!(house.ledger(&subject).is_empty(), "what was refused is not in the ledger");
    let given = house.disclose(&subject, "parcel", "b-delivery", &[]).expect(201).json();
    let fields = json!({"name": "Ada", "phone": "+49 30 1234567", "address": "Unter den Linden 1"});
    assert_eq!(given["fields"], fields);
    assert!(given.get("subject").is_none() && given["pseudonym"].as_str().unwrap().starts_with("psn_"));
    let ledger = house.ledger(&subject);
    assert_eq!(ledger.len(), 1);
    assert_eq!((&ledger[0]["id"], &ledger[0]["recipient"]), (&given["id"], &json!("parcel")));
    assert_eq!(ledger[0]["fields"], json!(["name", "phone", "address"]));
    // The partner reads for itself: the same fields, and one more line.
    let parcel = house.partner("parcel", &["b-delivery"]);
    let path = format!("/v1/subjects/{subject}/records");
    let seen = house.get(&path).by(&parcel).purpose("b-delivery").send().expect(200).json();
    assert_eq!(seen["records"][0]["fields"], fields);
    let ledger = house.ledger(&subject);
    assert_eq!(ledger.len(), 2);
    assert!(ledger.iter().any(|line| line["id"] == seen["disclosure"] && line["kind"] == "partner-read"));
    // A person of whom it got nothing is nobody to it.
    let other = house.customer();
    house.get(&format!("/v1/subjects/{other}/records")).by(&parcel).purpose("b-delivery").send().refused(404, "not-found");
    // It sees its own lines by its own name for the person, and nobody else's.
    let lines = house.get("/v1/disclosures?limit=500").by(&parcel).send().expect(200).json();
    let lines = lines["disclosures"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["recipient"] == "parcel" && line.get("subject").is_none()));
    assert!(lines.iter().any(|line| line["id"] == given["id"] && line["pseudonym"] == given["pseudonym"]));
    house.get("/v1/disclosures?partner=ads-one").by(&parcel).send().refused(404, "not-found");
}

#[test]
fn the_ledger_of_a_person_is_theirs_to_see_and_goes_with_them() {
    let house = House::start();
    let (subject, other) = (house.customer(), house.customer());
    let given = house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201).json();
    house.disclose(&other, "parcel", "b-delivery", &["name"]).expect(201);
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    let mine = house.get("/v1/disclosures").by(&me).send().expect(200).json()["disclosures"].clone();
    assert_eq!((mine.as_array().unwrap().len(), &mine[0]["id"]), (1, &given["id"]));
    house.get(&format!("/v1/disclosures?subject={other}")).by(&me).send().refused(404, "not-found");
    house.get("/v1/disclosures?subject=sub_00000000000000000000000000").by(&me).send().refused(404, "not-found");
    let of_an_auditor = house.get("/v1/disclosures").by(&house.holder(Role::Auditor)).send().expect(200).json();
    assert!(of_an_auditor["disclosures"][0].get("subject").is_none());
    assert_eq!(of_an_auditor["disclosures"].as_array().unwrap().len(), 2);
    let pages = |cursor: &str| {
        house.get(&format!("/v1/disclosures?limit=1{cursor}")).by(&house.holder(Role::PrivacyOfficer)).send().expect(200).json()
    };
    let first = pages("");
    let second = pages(&format!("&cursor={}", first["next_cursor"].as_str().unwrap()));
    assert_ne!(first["disclosures"][0]["id"], second["disclosures"][0]["id"]);
    house.erase_subject(&subject);
    let left = house.get("/v1/disclosures").by(&house.holder(Role::PrivacyOfficer)).send().expect(200).json();
    assert_eq!(left["disclosures"].as_array().unwrap().len(), 1);
    assert_eq!(left["disclosures"][0]["subject"], json!(other));
}

#[test]
fn a_repeated_disclosure_is_one_line_in_the_ledger() {
    let house = House::shared();
    let subject = house.customer();
    let body = json!({"subject": subject, "recipient": "parcel", "fields": ["name"]});
    let ask = || {
        let ask = house.post("/v1/disclosures", &body).by(&house.holder(Role::Writer)).purpose("b-delivery");
        ask.header("idempotency-key", &format!("once-{subject}")).send().expect(201).json()
    };
    let (first, again) = (ask(), ask());
    assert_eq!(first["fields"]["name"], "Ada");
    // What went out is told once: it may have been deleted or held since.
    let mut without = first.clone();
    without["fields"] = json!({});
    assert_eq!(again, without);
    assert_eq!(house.ledger(&subject).len(), 1);
}

#[test]
fn promise_p40_a_past_recipient_hears_that_a_field_it_got_was_corrected() {
    let house = House::shared();
    let subject = house.customer();
    let given = house.disclose(&subject, "parcel", "b-delivery", &["name", "address"]).expect(201).json();
    let parcel = house.partner("parcel", &["b-delivery"]);
    let inbox = || {
        let all = house.get("/v1/disclosures?updates=true&limit=500").by(&parcel).send().expect(200).json()["updates"].clone();
        let all = all.as_array().unwrap().clone();
        all.into_iter().filter(|one| one["event"]["pseudonym"] == given["pseudonym"]).collect::<Vec<Value>>()
    };
    assert!(inbox().is_empty());
    let records = house.read(&subject, "b-service", "address").expect(200).json();
    let record = records["records"][0]["id"].as_str().unwrap().to_owned();
    let correct = |fields: Value| {
        let path = format!("/v1/subjects/{subject}/records/{record}");
        let tag = house.get(&format!("/v1/subjects/{subject}/records?record={record}")).by(&house.holder(Role::Reader));
        let tag = tag.purpose("b-service").send().expect(200).header("etag").unwrap().to_owned();
        let ask = house.patch(&path, &json!({"fields": fields})).by(&house.holder(Role::Writer)).purpose("b-service");
        ask.header("if-match", &tag).send().expect(200);
    };
    correct(json!({"email": "new@example.org"}));
    assert!(inbox().is_empty(), "it never got the e-mail address");
    correct(json!({"address": "Pariser Platz 1"}));
    let told = inbox();
    assert_eq!(told.len(), 1);
    let event = &told[0]["event"];
    assert_eq!((&event["fields"], &event["disclosure"]), (&json!(["address"]), &given["id"]));
    assert!(!told[0].to_string().contains("Pariser"), "it holds no value");
    let text = serde_json_canonicalizer::to_vec(event).unwrap();
    let signature: [u8; 64] = BASE64_STANDARD.decode(told[0]["signature"].as_str().unwrap()).unwrap().try_into().unwrap();
    let signed = [b"oubliette-update/v1\n".as_slice(), &text].concat();
    assert!(keys::sign::verify(&house.home.public_key(), &signed, &signature));
}

#[test]
fn promise_p35_a_partners_token_is_no_more_than_its_agreement_and_ends_with_it() {
    let house = House::start();
    let officer = house.holder(Role::SecurityOfficer);
    let body = json!({"name": "p", "kind": "service", "roles": ["partner"], "purposes": ["c-marketing"], "partner": "parcel"});
    house.put("/v1/callers/new", &body).by(&officer).send().refused(422, "invalid-body");
    let parcel = house.partner("parcel", &["b-delivery"]);
    let issue = |body: Value| house.post(&format!("/v1/callers/{}/tokens", parcel.id), &body).by(&officer).send();
    issue(json!({"fields": ["name", "email"]})).refused(422, "invalid-body");
    issue(json!({"purposes": ["b-service"]})).refused(422, "invalid-body");
    let made = issue(json!({})).expect(201).json();
    assert_eq!(made["authorization_details"][0]["fields"], json!(["name", "phone", "address"]));
    let path = "/v1/disclosures";
    house.get(path).by(&parcel).send().expect(200);
    // The agreement ends with today; its tokens end with the second in which the day does.
    let list = house.get("/v1/config/partners?limit=500").by(&house.holder(Role::PolicyAuthor)).send().expect(200).json();
    let own = list["entries"].as_array().unwrap().iter().find(|entry| entry["id"] == "parcel").unwrap();
    let mut entry = own["published"].clone();
    entry["until"] = "2026-11-23".into();
    house.put_in_force("partners", "parcel", &entry);
    house.home.turn(SignedDuration::from_secs(14 * 3_600 - 1));
    house.get(path).by(&parcel).send().expect(200);
    house.home.turn(SignedDuration::from_secs(1));
    house.get(path).by(&parcel).send().refused(401, "unauthenticated");
    issue(json!({})).refused(403, "recipient-unknown");
}

#[test]
fn promise_p16_a_security_notice_needs_no_marketing_and_does_not_advertise() {
    let house = House::shared();
    let subject = house.ada();
    let send = |body: Value| {
        let mut all = json!({"subject": subject, "language": "de", "channel": "email"});
        all.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        house.post("/v1/notices", &all).by(&house.holder(Role::Writer)).send()
    };
    let off = format!("/v1/subjects/{subject}/preferences/marketing");
    house.put(&off, &json!({"on": false})).by(&house.holder(Role::Writer)).send().expect(200);
    let queued = send(json!({"kind": "security", "template": "security"})).expect(201).json();
    assert_eq!((&queued["state"], &queued["policy_version"]), (&json!("queued"), &json!(house.tenant(0).version())));
    assert!(queued["id"].as_str().unwrap().starts_with("ntc_"));
    for kind in ["security", "service", "policy-change"] {
        send(json!({"kind": kind, "template": "t", "promotional": true})).refused(422, "promotional-notice");
        send(json!({"kind": kind})).refused(422, "invalid-body");
    }
    let shown = send(json!({"kind": "shown", "policy_version": "current", "shown_at": "2026-11-23T09:59:00Z"})).expect(201);
    assert_eq!(shown.member("state"), "shown");
    send(json!({"kind": "shown"})).refused(422, "invalid-body");
    send(json!({"kind": "shown", "shown_at": "2027-11-23T09:59:00Z"})).refused(422, "invalid-body");
    send(json!({"kind": "security", "template": "a b@example.org"})).refused(422, "invalid-body");
    for (kind, template) in
        [("security", "nothing"), ("service", "security"), ("service", "request-denied"), ("shown", "security")]
    {
        send(json!({"kind": kind, "template": template})).refused(422, "invalid-body");
    }
    send(json!({"kind": "security", "template": "security", "policy_version": "2019-1"})).refused(422, "invalid-body");
}

/// Tells the workers of a test that it is over, however it ends.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn revoking_a_portal_stops_every_persons_next_request_under_load() {
    let house = House::start();
    let subjects: Vec<String> = (0..4).map(|_| house.ada()).collect();
    let portal = house.portal(&["x-rights"]);
    let tokens: Vec<Token> = subjects.iter().map(|subject| house.own_token(&portal, subject)).collect();
    let stopped = AtomicBool::new(false);
    let (started, answered) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let workers: Vec<_> = tokens
            .iter()
            .map(|token| {
                let (house, stopped, started) = (&house, &stopped, started.clone());
                scope.spawn(move || {
                    let mut connection = house.connect();
                    loop {
                        // Read before the request is sent: what was revoked by then must not work.
                        let revoked = stopped.load(Ordering::SeqCst);
                        let reply = house.get("/v1/subjects/me").by(token).send_on(&mut connection);
                        match reply.status {
                            200 => assert!(!revoked, "a token worked after it was revoked"),
                            401 if revoked => return,
                            401 => {}
                            other => panic!("{other}: {}", reply.text()),
                        }
                        let _ = started.send(());
                    }
                })
            })
            .collect();
        drop(started);
        let stop = Stop(&stopped);
        for _ in 0..200 {
            answered.recv().expect("somebody who asks");
        }
        let body =
            json!({"name": "portal", "kind": "service", "roles": ["subject"], "purposes": ["x-rights"], "revoke_tokens": true});
        house.put(&format!("/v1/callers/{}", portal.id), &body).by(&house.holder(Role::SecurityOfficer)).send().expect(200);
        drop(stop);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn promise_p30_a_cookie_is_read_by_the_site_that_set_it_alone_and_a_session_ends_within_a_day() {
    let house = House::start();
    let (subject, other) = (house.ada(), house.ada());
    let write = |subject: &str, source: &str, lifetime: &str, id: &str| {
        let body =
            json!({"kind": "cookie", "lifetime": lifetime, "source": {"type": "interaction"}, "fields": {"cookie_id": id}});
        let writer = house.of_source(Role::Writer, source);
        let path = format!("/v1/subjects/{subject}/records");
        house.post(&path, &body).by(&writer).purpose("e-personalise").send().expect(201);
    };
    let read = |subject: &str, source: &str| {
        let path = format!("/v1/subjects/{subject}/records");
        house.get(&path).by(&house.of_source(Role::Reader, source)).purpose("e-personalise").send()
    };
    write(&subject, "web", "persistent", "cookie-of-the-web");
    assert!(read(&subject, "web").expect(200).text().contains("cookie-of-the-web"));
    read(&subject, "app").refused(403, "origin-scope");
    write(&subject, "app", "session", "session-of-the-app");
    let seen = read(&subject, "app").expect(200).text();
    assert!(seen.contains("session-of-the-app") && !seen.contains("cookie-of-the-web"));
    assert!(!read(&subject, "web").expect(200).text().contains("session-of-the-app"));
    write(&other, "app", "session", "session-of-the-other");
    house.home.turn(SignedDuration::from_hours(24) - SignedDuration::from_secs(1));
    read(&other, "app").expect(200);
    house.home.turn(SignedDuration::from_secs(1));
    read(&other, "app").refused(410, "retention-expired");
    assert!(read(&subject, "web").expect(200).text().contains("cookie-of-the-web"));
}

#[test]
fn promise_p32_two_advertising_partners_know_one_person_by_two_names_and_by_nothing_else() {
    let house = House::shared();
    let subject = house.ada();
    house.write(&subject, &["e-ads"], json!({"preferences": {"colour": "red"}, "cookie_id": "c-1"}));
    let give = |partner: &str| house.disclose(&subject, partner, "e-ads", &["preferences"]).expect(201).json();
    let (one, two) = (give("ads-one"), give("ads-two"));
    assert_eq!(one["fields"], json!({"preferences": {"colour": "red"}}));
    assert_ne!(one["pseudonym"], two["pseudonym"]);
    assert_eq!(one["pseudonym"], give("ads-one")["pseudonym"], "one partner, one name");
    for given in [&one, &two] {
        assert!(!given.to_string().contains(&subject), "not the person's id");
    }
    let all = house.disclose(&subject, "ads-one", "e-ads", &[]).expect(201).json();
    assert_eq!(all["fields"], json!({"preferences": {"colour": "red"}}), "nothing that identifies, unasked");
    house.disclose(&subject, "ads-one", "e-ads", &["device"]).refused(403, "identity-to-ad-partner");
    house.consent(&subject, "e-ads", "withdrawn").expect(201);
    house.disclose(&subject, "ads-one", "e-ads", &["preferences"]).refused(403, "consent-withdrawn");
    // It asks for nothing by itself.
    let ads = house.partner("ads-one", &["e-ads"]);
    house.get(&format!("/v1/subjects/{subject}/records")).by(&ads).purpose("e-ads").send().refused(404, "not-found");
}

#[test]
fn promise_p60_data_crosses_a_border_by_a_rule_in_force_and_no_other_way() {
    let house = House::start();
    let subject = house.ada();
    house.write(&subject, &["b-service"], json!({"name": "Ada", "email": "ada@example.org", "company": "Analytical Engines"}));
    let give = |partner: &str, fields: &[&str]| house.disclose(&subject, partner, "b-service", fields);
    let purposes = vec!["b-service".to_owned()];
    let reader = |region: &str| {
        let body = PutCaller::of(region, CallerKind::Service, vec![Role::Reader], purposes.clone());
        let token = house.made(PutCaller { region: Some(region.to_owned()), ..body });
        house.get(&format!("/v1/subjects/{subject}/records?fields=name")).by(&token).purpose("b-service").send()
    };
    // An adequacy decision covers Japan; nothing covers China.
    let given = give("affiliate-jp", &["name"]).expect(201).json();
    assert_eq!(given["fields"], json!({"name": "Ada"}));
    assert_eq!(house.ledger(&subject)[0]["region"], "JP");
    reader("JP").expect(200);
    give("affiliate-cn", &["name"]).refused(403, "transfer-not-permitted");
    reader("CN").refused(403, "transfer-not-permitted");
    // Standard contractual clauses, until they end.
    let rule = |tool: &str, until: Value| json!({"id": "eu-cn", "from": "EU", "to": "CN", "tool": tool, "evidence": "SCC 2021/914", "valid_until": until});
    house.put_in_force("transfer-rules", "eu-cn", &rule("scc", json!("2026-11-24")));
    give("affiliate-cn", &["name"]).expect(201);
    reader("CN").expect(200);
    house.home.turn(SignedDuration::from_hours(48));
    give("affiliate-cn", &["name"]).refused(403, "transfer-not-permitted");
    reader("CN").refused(403, "transfer-not-permitted");
    // What names nobody may pass where only anonymised data may.
    house.put_in_force("transfer-rules", "eu-cn", &rule("anonymise", Value::Null));
    let given = give("affiliate-cn", &[]).expect(201).json();
    assert_eq!(given["fields"], json!({"company": "Analytical Engines"}));
    give("affiliate-cn", &["name"]).refused(403, "transfer-not-permitted");
}

#[test]
fn a_child_comes_of_age_by_nobodys_mere_word() {
    let house = House::start();
    let child = house.born("DE", "2014-01-01", &house.guarded("DE", &[])).expect(201).member("id");
    let record = house.write(&child, &["a-account"], json!({"name": "Kid", "birth_date": "2014-01-01"}));
    let own = house.own_token(&house.portal(&["a-account"]), &child);
    let older = json!({"fields": {"birth_date": "1980-01-01"}});
    for (subject, by) in [("me", &own), (child.as_str(), &house.holder(Role::Writer))] {
        let path = format!("/v1/subjects/{subject}/records");
        let ask = house.patch(&format!("{path}/{record}"), &older).by(by).purpose("a-account").header("if-match", "\"1\"");
        ask.send().refused(422, "evidence-required");
        let body = json!({"kind": "contact", "fields": {"name": "Kid", "birth_date": "1980-01-01"}});
        house.post(&path, &body).by(by).purpose("a-account").send().refused(422, "evidence-required");
    }
    let seen = house.get(&format!("/v1/subjects/{child}")).by(&house.holder(Role::Reader)).send().expect(200).json();
    assert_eq!(seen["minor"], true);
}

#[test]
fn a_portal_gives_no_person_more_than_its_own_token_has() {
    let house = House::start();
    let subject = house.customer();
    let portal = house.portal(&["x-rights", "b-service"]);
    let path = format!("/v1/callers/{}/tokens", portal.id);
    let detail =
        json!([{"type": "oubliette", "actions": ["issueToken", "readRecords"], "purposes": ["x-rights"], "fields": ["name"]}]);
    let officer = house.holder(Role::SecurityOfficer);
    let made =
        house.post(&path, &json!({"authorization_details": detail, "lifetime_seconds": 60})).by(&officer).send().expect(201);
    let narrow = Token { id: portal.id, text: made.member("token") };
    let own = house.post(&path, &json!({"subject": subject})).by(&narrow).send().expect(201);
    let token = Token { id: portal.id, text: own.member("token") };
    let read = |purpose: &str| house.get("/v1/subjects/me/records").by(&token).purpose(purpose).send();
    read("b-service").refused(403, "purpose-not-granted");
    let seen = read("x-rights").expect(200).json();
    assert_eq!(seen["records"][0]["fields"], json!({"name": "Ada"}));
    house.post(&path, &json!({"subject": subject})).by(&token).send().refused(403, "role-forbidden");
    house.home.turn(SignedDuration::from_secs(61));
    read("x-rights").refused(401, "unauthenticated");
}
