//! To whom data goes, on what, and what they hear of it later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use oubliette::audit::certificate::verify_certificate;
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::ids::DeliveryId;
use oubliette::model::wire::PutCaller;
use serde_json::{Value, json};

use crate::house::{House, Token, notice};
use crate::https::Reply;
use crate::stand_in::{Posted, StandIn};

const EVENT: &str = "https://schemas.openid.net/secevent/risc/event-type/account-purged";

impl House {
    /// openCase, by the first officer.
    pub(crate) fn open_case(&self, body: &Value) -> Reply {
        self.post("/v1/cases", body).by(&self.holder(Role::PrivacyOfficer)).send()
    }

    /// approveCase, by somebody.
    pub(crate) fn decide_case(&self, case: &str, decision: &str, by: &Token) -> Reply {
        self.post(&format!("/v1/cases/{case}/approvals"), &json!({"decision": decision})).by(by).send()
    }

    /// A case that the second officer approved.
    pub(crate) fn approved_case(&self, body: &Value) -> String {
        let case = self.open_case(body).expect(201).member("id");
        self.decide_case(&case, "approve", &self.second(Role::PrivacyOfficer)).expect(200);
        case
    }

    /// disclose, by an officer, for a purpose; a legal duty cites its rule.
    pub(crate) fn disclose_on(&self, purpose: &str, body: &Value) -> Reply {
        let ask = self.post("/v1/disclosures", body).by(&self.holder(Role::PrivacyOfficer)).purpose(purpose);
        ask.header("vault-rule", "de-hgb-257").send()
    }

    /// Gives these partners callbacks at the stand-in.
    pub(crate) fn call_back(&self, stand_in: &StandIn, partners: &[&str]) {
        let author = self.holder(Role::PolicyAuthor);
        let list = self.get("/v1/config/partners?limit=500").by(&author).send().expect(200).json();
        for partner in partners {
            let own = list["entries"].as_array().unwrap().iter().find(|entry| entry["id"] == *partner).unwrap();
            let mut entry = own["published"].clone();
            (entry["callback"], entry["acknowledges"]) = (stand_in.url(partner).into(), true.into());
            self.put(&format!("/v1/config/partners/{partner}"), &entry).by(&author).send().expect(200);
        }
        let proposal =
            self.post("/v1/policy-versions", &json!({"action": "propose"})).by(&author).send().expect(201).member("id");
        let approval = json!({"action": "approve", "proposal": proposal});
        self.post("/v1/policy-versions", &approval).by(&self.holder(Role::PrivacyOfficer)).send().expect(201);
    }

    /// What partners should have acknowledged by now.
    fn overdue(&self) -> Vec<Value> {
        let list = self.get("/v1/disclosures?overdue=true").by(&self.holder(Role::PrivacyOfficer)).send().expect(200).json();
        list["overdue"].as_array().unwrap().clone()
    }

    /// The claims of a security event token, once its signature, type and key are found right.
    fn purged(&self, posted: &Posted) -> Value {
        assert_eq!((posted.media.as_str(), posted.accept.as_str()), ("application/secevent+jwt", "application/json"));
        let header = jsonwebtoken::decode_header(&posted.body).unwrap();
        assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::EdDSA, Some("secevent+jwt")));
        // The key is found where everybody finds it, and is the one that signs the trail.
        let set = self.get("/.well-known/jwks.json").send().expect(200).json();
        let x = set["keys"][0]["x"].as_str().unwrap().to_owned();
        assert_eq!(
            (set["keys"][0]["kid"].as_str(), &x),
            (header.kid.as_deref(), &BASE64_URL_SAFE_NO_PAD.encode(self.home.public_key()))
        );
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[&posted.partner]);
        rules.set_required_spec_claims(&["iss", "aud"]);
        rules.validate_exp = false;
        jsonwebtoken::decode::<Value>(&posted.body, &DecodingKey::from_ed_components(&x).unwrap(), &rules).unwrap().claims
    }

    /// The event of an update, once its signature is found right.
    fn update(&self, posted: &Posted) -> Value {
        assert_eq!(posted.media, "application/json");
        let body: Value = serde_json::from_str(&posted.body).unwrap();
        let text = serde_json_canonicalizer::to_vec(&body["event"]).unwrap();
        let signature: [u8; 64] = BASE64_STANDARD.decode(body["signature"].as_str().unwrap()).unwrap().try_into().unwrap();
        let signed = [b"oubliette-update/v1\n".as_slice(), &text].concat();
        assert!(keys::sign::verify(&self.home.public_key(), &signed, &signature));
        body["event"].clone()
    }
}

fn later() -> Value {
    json!("2026-12-23T10:00:00Z")
}

pub(super) fn process(subject: &str, recipient: &str, more: Value) -> Value {
    let mut body = json!({"kind": "legal-process", "subject": subject, "purposes": ["l1-legal"], "fields": ["name", "address"],
        "recipient": recipient, "instrument": "ag-berlin-352-gs-1", "jurisdiction": "DE", "expires_at": later()});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

pub(super) fn need(subject: &str, recipient: &str) -> Value {
    json!({"kind": "reasonable-need", "subject": subject, "purposes": ["b-service"], "fields": ["name", "email"],
        "recipient": recipient, "ground": "perform-contract", "necessity": "The parcel is lost and its sender must be reached.",
        "expires_at": later()})
}

#[test]
fn promise_p05_what_a_partner_is_told_goes_to_its_registered_callback_and_nowhere_else() {
    let house = House::start();
    let stand_in = StandIn::start(house.home.path());
    let author = house.holder(Role::PolicyAuthor);
    let list = house.get("/v1/config/partners?limit=500").by(&author).send().expect(200).json();
    let mut entry = list["entries"].as_array().unwrap().iter().find(|own| own["id"] == "parcel").unwrap()["published"].clone();
    for bad in ["http://localhost/x", "https://", "https://user@host/", "https://host/?q=1", "ftp://host", "https://host:0/"] {
        entry["callback"] = bad.into();
        house.put("/v1/config/partners/parcel", &entry).by(&author).send().expect(200);
        let refused = house.post("/v1/policy-versions", &json!({"action": "propose"})).by(&author).send();
        assert_eq!(refused.code(), "policy-conflict", "{bad}: {}", refused.text());
    }
    house.call_back(&stand_in, &["parcel"]);
    let subject = house.customer();
    house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201);
    house.disclose(&subject, "somebody-else", "b-delivery", &["name"]).refused(403, "recipient-unknown");
    house.erase_subject(&subject);
    house.deliver();
    let told: Vec<String> = stand_in.inbox().into_iter().map(|posted| posted.partner).collect();
    assert_eq!(told, ["parcel"]);
}

#[test]
fn promise_p34_a_company_of_the_group_needs_a_purpose_and_a_transfer_rule_like_anybody_else() {
    let house = House::shared();
    let subject = house.customer();
    let given = house.disclose(&subject, "affiliate-jp", "b-service", &["name"]).expect(201).json();
    assert_eq!(given["fields"], json!({"name": "Ada"}));
    house.disclose(&subject, "affiliate-jp", "b-delivery", &["name"]).refused(403, "outside-entrustment");
    house.disclose(&subject, "affiliate-cn", "b-service", &["name"]).refused(403, "transfer-not-permitted");
    let recipients: Vec<Value> = house.ledger(&subject).iter().map(|line| line["recipient"].clone()).collect();
    assert_eq!(recipients, ["affiliate-jp"]);
}

#[test]
fn promise_p36_a_purpose_of_the_partners_own_needs_the_persons_separate_word_for_that_partner_and_purpose() {
    let house = House::start();
    let (subject, other) = (house.customer(), house.customer());
    for person in [&subject, &other] {
        house.disclose(person, "parcel", "b-delivery", &["name"]).expect(201);
    }
    let parcel = house.partner("parcel", &["b-delivery"]);
    let read = |person: &str| {
        let path = format!("/v1/subjects/{person}/records");
        house.get(&path).by(&parcel).purpose("c-marketing").send()
    };
    let give = |person: &str| house.disclose(person, "parcel", "c-marketing", &["name"]);
    read(&subject).refused(403, "outside-entrustment");
    give(&subject).refused(403, "outside-entrustment");
    // A word for another partner, or for another purpose, is none for this.
    house.consent_of_kind(&subject, "c-marketing", "separate:partner:affiliate-jp:c-marketing", "given").expect(201);
    house.consent_of_kind(&subject, "c-survey", "separate:partner:parcel:c-survey", "given").expect(201);
    read(&subject).refused(403, "outside-entrustment");
    house.consent_of_kind(&subject, "c-marketing", "separate:partner:parcel:c-marketing", "given").expect(201);
    let seen = read(&subject).expect(200).json();
    assert_eq!(
        seen["records"][0]["fields"],
        json!({"name": "Ada", "phone": "+49 30 1234567"}),
        "what the agreement has, at most"
    );
    give(&subject).expect(201);
    read(&other).refused(403, "outside-entrustment");
    // What the purpose itself rests on is another matter, and not told to a partner.
    house.consent(&subject, "c-marketing", "withdrawn").expect(201);
    read(&subject).refused(403, "not-available");
    house.home.turn(SignedDuration::from_secs(1));
    house.consent(&subject, "c-marketing", "given").expect(201);
    house.consent_of_kind(&subject, "c-marketing", "separate:partner:parcel:c-marketing", "withdrawn").expect(201);
    read(&subject).refused(403, "outside-entrustment");
}

#[test]
fn promise_p37_an_express_word_releases_that_field_to_that_partner_alone() {
    let house = House::shared();
    let subject = house.ada();
    let fields = json!({"preferences": {"colour": "red"}, "device": {"model": "m1"}, "cookie_id": "c-1"});
    house.write(&subject, &["e-ads"], fields);
    let give = |partner: &str, fields: &[&str]| house.disclose(&subject, partner, "e-ads", fields);
    for partner in ["ads-one", "ads-two"] {
        give(partner, &["device"]).refused(403, "identity-to-ad-partner");
    }
    house.consent_of_kind(&subject, "e-ads", "explicit:partner:ads-one:device", "given").expect(201);
    assert_eq!(give("ads-one", &["device"]).expect(201).json()["fields"], json!({"device": {"model": "m1"}}));
    give("ads-one", &["cookie_id"]).refused(403, "identity-to-ad-partner");
    give("ads-two", &["device"]).refused(403, "identity-to-ad-partner");
    assert_eq!(give("ads-two", &[]).expect(201).json()["fields"], json!({"preferences": {"colour": "red"}}));
    house.consent_of_kind(&subject, "e-ads", "explicit:partner:ads-one:device", "withdrawn").expect(201);
    give("ads-one", &["device"]).refused(403, "identity-to-ad-partner");
}

#[test]
fn promise_p38_an_authority_gets_what_a_case_of_two_officers_names_and_nothing_without() {
    let house = House::start();
    let subject = house.customer();
    let body = |case: Value, fields: Value| json!({"subject": subject, "recipient": "police-de", "kind": "legal-process", "case": case, "fields": fields});
    let give = |case: &str, fields: Value| house.disclose_on("l1-legal", &body(json!(case), fields));
    // Without a case, with one of nobody, and with one that only its opener approved.
    house.disclose_on("l1-legal", &body(Value::Null, json!([]))).refused(403, "second-person-required");
    let agreement = json!({"subject": subject, "recipient": "police-de", "fields": ["name"]});
    house.disclose_on("l1-legal", &agreement).refused(403, "second-person-required");
    give("cas_00000000000000000000000000", json!([])).refused(403, "second-person-required");
    let (first, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let case = house.open_case(&process(&subject, "police-de", json!({}))).expect(201).member("id");
    give(&case, json!([])).refused(403, "second-person-required");
    house.decide_case(&case, "approve", &first).refused(403, "second-person-required");
    house.decide_case(&case, "approve", &house.holder(Role::Writer)).refused(403, "role-forbidden");
    give(&case, json!([])).refused(403, "second-person-required");
    house.decide_case(&case, "approve", &second).expect(200);
    house.decide_case(&case, "refuse", &second).refused(409, "state-conflict");
    // Within it, and no further: other fields, another purpose, another recipient, another person, another kind.
    give(&case, json!(["email"])).refused(403, "outside-case");
    house.disclose_on("b-service", &body(json!(case), json!(["name"]))).refused(403, "outside-case");
    let other = house.customer();
    let mut wrong = body(json!(case), json!(["name"]));
    wrong["subject"] = json!(other);
    house.disclose_on("l1-legal", &wrong).refused(403, "second-person-required");
    let mut wrong = body(json!(case), json!(["name"]));
    wrong["kind"] = json!("reasonable-need");
    house.disclose_on("l1-legal", &wrong).refused(403, "second-person-required");
    let mut wrong = body(json!(case), json!(["name"]));
    wrong["recipient"] = json!("parcel");
    house.disclose_on("l1-legal", &wrong).refused(403, "outside-case");
    let wrong = json!({"subject": subject, "recipient": "parcel", "case": case});
    house.disclose_on("b-delivery", &wrong).refused(422, "invalid-body");
    let ask = house.post("/v1/disclosures", &body(json!(case), json!(["name"]))).by(&house.holder(Role::Writer));
    ask.purpose("l1-legal").header("vault-rule", "de-hgb-257").send().refused(403, "role-forbidden");
    assert!(house.ledger(&subject).is_empty());

    let given = give(&case, json!([])).expect(201).json();
    assert_eq!(given["fields"], json!({"name": "Ada", "address": "Unter den Linden 1"}));
    let ledger = house.ledger(&subject);
    assert_eq!((&ledger[0]["kind"], &ledger[0]["case"]), (&json!("legal-process"), &json!(case)));
    let shown = house.get(&format!("/v1/cases/{case}")).by(&first).send().expect(200).json();
    assert_eq!(
        (&shown["state"], &shown["disclosures"], &shown["scope"]["subject"]),
        (&json!("approved"), &json!(1), &json!(subject))
    );
    let audited = house.get(&format!("/v1/cases/{case}")).by(&house.holder(Role::Auditor)).send().expect(200).json();
    assert!(audited["scope"]["subject"].is_null() && audited["scope"]["subject_tag"].is_string());
    house.get(&format!("/v1/cases/{case}")).by(&house.holder(Role::Reader)).send().refused(403, "role-forbidden");

    // A closed case opens nothing; nor does one whose end has come, or one that was refused.
    house.decide_case(&case, "close", &first).expect(200);
    give(&case, json!([])).refused(403, "second-person-required");
    let refused = house.open_case(&process(&subject, "police-de", json!({}))).expect(201).member("id");
    assert_eq!(house.decide_case(&refused, "refuse", &second).expect(200).member("state"), "refused");
    give(&refused, json!([])).refused(403, "second-person-required");
    let short = house.approved_case(&process(&subject, "police-de", json!({"expires_at": "2026-11-23T11:00:00Z"})));
    give(&short, json!(["name"])).expect(201);
    let open =
        house.open_case(&process(&subject, "police-de", json!({"expires_at": "2026-11-23T11:00:00Z"}))).expect(201).member("id");
    house.home.turn(SignedDuration::from_hours(1));
    give(&short, json!(["name"])).refused(403, "second-person-required");
    let shown = house.get(&format!("/v1/cases/{short}")).by(&first).send().expect(200);
    assert_eq!(shown.member("state"), "expired");
    house.decide_case(&open, "approve", &second).refused(409, "state-conflict");
}

#[test]
fn promise_p38_a_foreign_authority_gets_what_is_stored_in_china_with_an_approval_alone() {
    let house = House::start();
    let purposes: Vec<String> = house.tenant(0).purposes().iter().map(|purpose| purpose.id.clone()).collect();
    let here = |role: Role| {
        let mut body = PutCaller::of("in China", CallerKind::Person, vec![role], purposes.clone());
        body.trained_at = Some(jiff::civil::date(2026, 11, 1));
        house.made(PutCaller { region: Some("CN".into()), ..body })
    };
    let writer = here(Role::Writer);
    let body = json!({"class": "consumer", "jurisdiction": "DE", "region": "CN", "notice": notice()});
    let subject = house.post("/v1/subjects", &body).by(&writer).purpose("a-account").send().expect(201).member("id");
    house.contract(&subject, "ord-0", "active").expect(201);
    let record = json!({"kind": "contact", "purposes": ["b-service"], "fields": {"name": "Ada", "address": "Nanjing Road 1"}});
    let path = format!("/v1/subjects/{subject}/records");
    house.post(&path, &record).by(&writer).purpose("b-service").send().expect(201);
    let officer = here(Role::PrivacyOfficer);
    let give = |case: &str| {
        let body =
            json!({"subject": subject, "recipient": "agency-us", "kind": "legal-process", "case": case, "fields": ["name"]});
        let ask = house.post("/v1/disclosures", &body).by(&officer).purpose("l1-legal");
        ask.header("vault-rule", "de-hgb-257").send()
    };
    let without = house.approved_case(&process(&subject, "agency-us", json!({"jurisdiction": "US"})));
    give(&without).refused(403, "foreign-authority-approval-required");
    let approved = process(&subject, "agency-us", json!({"jurisdiction": "US", "approval": "moj-2026-17"}));
    let case = house.approved_case(&approved);
    assert_eq!(give(&case).expect(201).json()["fields"], json!({"name": "Ada"}));
    // Or by a rule that such approvals were given for.
    house.put_in_force(
        "transfer-rules",
        "cn-us",
        &json!({"id": "cn-us", "from": "CN", "to": "US", "tool": "authority-approval", "evidence": "MOJ 2026-18", "valid_until": "2026-11-23"}),
    );
    give(&without).expect(201);
    house.home.turn(SignedDuration::from_hours(24));
    give(&without).refused(403, "foreign-authority-approval-required");
}

#[test]
fn promise_p38_of_a_secret_disclosure_the_person_hears_when_it_is_none_any_more() {
    let house = House::start();
    let (subject, open) = (house.customer(), house.customer());
    let portal = house.portal(&["x-rights"]);
    let body = |subject: &str, case: &str| json!({"subject": subject, "recipient": "police-de", "kind": "legal-process", "case": case, "fields": ["name"]});
    let secret = house.approved_case(&process(&subject, "police-de", json!({"secret_until": "2026-11-30T10:00:00Z"})));
    let decision =
        house.disclose_on("l1-legal", &body(&subject, &secret)).expect(201).header("vault-decision").unwrap().to_owned();
    let plain = house.approved_case(&process(&open, "police-de", json!({})));
    house.disclose_on("l1-legal", &body(&open, &plain)).expect(201);
    let lines = |subject: &str| {
        let me = house.own_token(&portal, subject);
        let ledger = house.get("/v1/disclosures").by(&me).send().expect(200).json()["disclosures"].clone();
        let events = house.get("/v1/audit/events?limit=500").by(&me).send().expect(200).json()["events"].clone();
        let seen = events.as_array().unwrap().iter().filter(|event| event["id"] == decision.as_str()).count();
        let letters = house.get("/v1/subjects/me/notices").by(&me).send().expect(200).text();
        // Nor does the copy of their data say it, neither among the recipients nor among the uses.
        let bundle = house.bundle(subject, "access");
        let told = bundle["recipients"].as_array().unwrap().len();
        assert_eq!(bundle.to_string().contains(&decision), seen > 0);
        assert_eq!(letters.contains("disclosed-on-case"), told > 0);
        assert_eq!(ledger.as_array().unwrap().len(), told);
        (told, seen)
    };
    assert_eq!((lines(&subject), lines(&open).0), ((0, 0), 1));
    assert_eq!(house.ledger(&subject).len(), 1, "those who answer for it see it");
    // Nor does the certificate of their erasure tell it.
    let erased = house.customer();
    let case = house.approved_case(&process(&erased, "police-de", json!({"secret_until": "2026-11-30T10:00:00Z"})));
    house.disclose_on("l1-legal", &body(&erased, &case)).expect(201);
    house.disclose(&erased, "parcel", "b-delivery", &["name"]).expect(201);
    let erasure = house.erase_subject(&erased).json();
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&erasure["certificate"]["recipients"]), ["parcel"]);
    assert_eq!(names(&erasure["recipients"]), ["parcel"]);
    house.home.turn(SignedDuration::from_hours(7 * 24));
    let path = format!("/v1/erasures/{}", erasure["id"].as_str().unwrap());
    let file = house.get(&path).by(&house.holder(Role::Auditor)).send().expect(200).json();
    assert_eq!(names(&file["recipients"]), ["parcel", "police-de"]);
    let (ledger, events) = lines(&subject);
    assert_eq!(ledger, 1);
    assert!(events >= 1, "what was done is in the trail that the person sees");
}

impl House {
    /// What a person is shown of the trail, a page, lines and their bundle, as one text.
    fn shown_of_the_trail(&self, portal: &Token, subject: &str) -> String {
        let me = self.own_token(portal, subject);
        let page = self.get("/v1/audit/events?limit=500").by(&me).send().expect(200).text();
        let lines = self.get("/v1/audit/events").header("accept", "application/x-ndjson").by(&me).send().expect(200).text();
        assert!(page.contains("writeRecord") && lines.contains("writeRecord"));
        format!("{page}{lines}{}", self.bundle(subject, "access"))
    }
}

#[test]
fn promise_p38_of_a_secret_case_the_persons_trail_says_nothing_on_a_page_as_lines_or_in_their_bundle() {
    let house = House::start();
    let subject = house.customer();
    let portal = house.portal(&["x-rights"]);
    let officer = house.holder(Role::PrivacyOfficer);
    // A case is opened, once in vain and once again with its key; what it is asked for is given, refused and asked for again.
    let wanted = process(&subject, "police-de", json!({"secret_until": "2026-11-30T10:00:00Z"}));
    let open = |body: &Value| house.post("/v1/cases", body).by(&officer).header("idempotency-key", "case").send();
    let case = open(&wanted).expect(201).member("id");
    open(&wanted).expect(201);
    let mut wrong = wanted.clone();
    wrong["recipient"] = json!("nobody");
    house.open_case(&wrong).refused(403, "recipient-unknown");
    let body = |fields: Value| json!({"subject": subject, "recipient": "police-de", "kind": "legal-process", "case": case, "fields": fields});
    let refused = house.disclose_on("l1-legal", &body(json!(["name"]))).refused(403, "second-person-required");
    let refused = refused.header("vault-decision").unwrap().to_owned();
    house.decide_case(&case, "approve", &house.second(Role::PrivacyOfficer)).expect(200);
    house.disclose_on("l1-legal", &body(json!(["email"]))).refused(403, "outside-case");
    let give = || {
        let ask = house.post("/v1/disclosures", &body(json!(["name"]))).by(&officer).purpose("l1-legal");
        ask.header("vault-rule", "de-hgb-257").header("idempotency-key", "give").send().expect(201)
    };
    let decision = give().header("vault-decision").unwrap().to_owned();
    give();
    let needles = ["l1-legal", "openCase", "approveCase", "police-de", "outside-case", "second-person-required"];
    let before = house.shown_of_the_trail(&portal, &subject);
    for needle in needles.iter().chain([&decision.as_str(), &"\"disclose\"", &"keepDisclosure"]) {
        assert!(!before.contains(needle), "{needle}");
    }
    // Those who answer for it see all of it, and what is no secret the person sees as ever.
    assert!(house.events("").iter().any(|event| event["id"] == refused.as_str()));
    let open = house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201);
    let open = open.header("vault-decision").unwrap().to_owned();
    let still = house.shown_of_the_trail(&portal, &subject);
    assert!(still.contains(&open) && !still.contains(&decision));
    // Once it is no secret any more, what went out is there; what was refused or asked for twice is not.
    house.home.turn(SignedDuration::from_hours(7 * 24));
    let after = house.shown_of_the_trail(&portal, &subject);
    assert!(after.contains(&decision) && !after.contains(&refused) && !after.contains("openCase"));
}

#[test]
fn promise_p38_what_a_secret_recipient_is_told_later_the_person_sees_when_it_is_none_any_more() {
    let house = House::start();
    let subject = house.ada();
    let record = house.contact(&subject);
    let case = house.approved_case(&process(&subject, "police-de", json!({"secret_until": "2026-11-30T10:00:00Z"})));
    let body = json!({"subject": subject, "recipient": "police-de", "kind": "legal-process", "case": case, "fields": ["name"]});
    house.disclose_on("l1-legal", &body).expect(201);
    // The same partner got one field openly and another in secret.
    let open = house.disclose(&subject, "parcel", "b-delivery", &["address"]).expect(201).member("id");
    let mut need = need(&subject, "parcel");
    need["secret_until"] = json!("2026-11-30T10:00:00Z");
    let case = house.approved_case(&need);
    let body = json!({"subject": subject, "recipient": "parcel", "kind": "reasonable-need", "case": case, "fields": ["name"]});
    let secret = house.disclose_on("b-service", &body).expect(201).member("id");
    let fields = json!({"fields": {"name": "Ada K.", "address": "Pariser Platz 1"}});
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let ask = house.patch(&path, &fields).by(&house.holder(Role::Writer)).purpose("b-service");
    ask.header("if-match", "\"1\"").send().expect(200);
    let portal = house.portal(&["x-rights"]);
    let list = |by: &Token, limit: usize| {
        let path = format!("/v1/disclosures?updates=true&subject={subject}&limit={limit}");
        house.get(&path).by(by).send().expect(200).json()
    };
    let me = || house.own_token(&portal, &subject);
    for limit in [1, 50] {
        let mine = list(&me(), limit);
        let mine = mine["updates"].as_array().unwrap();
        let told: Vec<_> = mine.iter().map(|one| (&one["event"]["recipient"], &one["event"]["fields"])).collect();
        assert_eq!(told, [(&json!("parcel"), &json!(["address"]))]);
        assert_eq!(mine[0]["event"]["disclosure"], open.as_str());
        assert!(!json!(mine).to_string().contains(&secret));
    }
    assert_eq!(list(&house.holder(Role::PrivacyOfficer), 50)["updates"].as_array().unwrap().len(), 2);
    house.home.turn(SignedDuration::from_hours(7 * 24));
    let mine = list(&me(), 50);
    let told: BTreeSet<String> =
        mine["updates"].as_array().unwrap().iter().map(|one| one["event"]["recipient"].to_string()).collect();
    assert_eq!(told.len(), 2);
}

#[test]
fn promise_p38_a_disclosure_that_rests_on_a_childs_secret_case_is_seen_when_the_case_is_none_any_more() {
    let house = House::start();
    let child = house.born("DE", "2013-06-26", &house.guarded("DE", &[])).expect(201).member("id");
    house.contract(&child, "ord-0", "active").expect(201);
    house.write(&child, &["b-service"], json!({"name": "Kid"}));
    let case = house.approved_case(&json!({"kind": "child-protection", "subject": child, "purposes": ["b-service"],
        "fields": ["name"], "recipient": "affiliate-jp", "necessity": "The child is missing.",
        "secret_until": "2026-11-30T10:00:00Z", "expires_at": later()}));
    let body = json!({"subject": child, "recipient": "affiliate-jp", "fields": ["name"]});
    let ask = house.post("/v1/disclosures", &body).by(&house.holder(Role::Writer)).purpose("b-service");
    ask.header("vault-case", &case).send().expect(201);
    let portal = house.portal(&["x-rights"]);
    let seen = || {
        let ledger = house.get("/v1/disclosures").by(&house.own_token(&portal, &child)).send().expect(200).json();
        ledger["disclosures"].as_array().unwrap().len()
    };
    assert_eq!((seen(), house.ledger(&child).len()), (0, 1));
    house.home.turn(SignedDuration::from_hours(7 * 24));
    assert_eq!(seen(), 1);
}

#[test]
fn promise_p38_a_letter_that_waits_for_the_end_of_a_secret_leaves_no_trace_in_the_pages_of_the_others() {
    let house = House::start();
    let (subject, other) = (house.customer(), house.customer());
    let case = house.approved_case(&process(&subject, "police-de", json!({"secret_until": "2026-11-30T10:00:00Z"})));
    let body = json!({"subject": subject, "recipient": "police-de", "kind": "legal-process", "case": case, "fields": ["name"]});
    for _ in 0..3 {
        house.disclose_on("l1-legal", &body).expect(201);
    }
    let portal = house.portal(&["x-rights"]);
    // The pages of somebody with such letters are those of somebody without.
    let pages = |subject: &str| {
        let me = house.own_token(&portal, subject);
        let mut pages = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = house.get(&format!("/v1/subjects/me/notices?limit=1{cursor}")).by(&me).send().expect(200).json();
            pages.push(page["notices"].as_array().unwrap().len());
            let Some(next) = page["next_cursor"].as_str() else { return pages };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(pages(&subject), pages(&other));
    let before = pages(&subject).into_iter().sum::<usize>();
    house.home.turn(SignedDuration::from_hours(7 * 24));
    assert_eq!(pages(&subject), vec![1; before + 3]);
}

#[test]
fn promise_p39_a_reasonable_need_has_a_ground_two_officers_and_an_end() {
    let house = House::start();
    let subject = house.customer();
    for (member, value, pointer) in [
        ("ground", Value::Null, "/ground"),
        ("necessity", Value::Null, "/necessity"),
        ("necessity", json!(" "), "/necessity"),
        ("expires_at", json!("2026-11-23T10:00:00Z"), "/expires_at"),
        ("purposes", json!([]), "/purposes"),
        ("fields", json!([]), "/fields"),
        ("recipient", Value::Null, "/recipient"),
        ("instrument", json!("order-1"), "/instrument"),
    ] {
        let mut body = need(&subject, "parcel");
        body[member] = value;
        let refused = house.open_case(&body).refused(422, "invalid-body");
        assert_eq!(refused.member("pointer"), pointer);
    }
    let mut body = need(&subject, "parcel");
    body["ground"] = json!("curiosity");
    house.open_case(&body).refused(422, "invalid-body");
    body["ground"] = json!("prevent-harm");
    body["recipient"] = json!("nobody");
    house.open_case(&body).refused(403, "recipient-unknown");
    let give = |case: &str, fields: Value| {
        let body = json!({"subject": subject, "recipient": "parcel", "kind": "reasonable-need", "case": case, "fields": fields});
        house.disclose_on("b-service", &body)
    };
    let case = house.open_case(&need(&subject, "parcel")).expect(201).member("id");
    give(&case, json!(["email"])).refused(403, "second-person-required");
    house.decide_case(&case, "approve", &house.second(Role::PrivacyOfficer)).expect(200);
    assert_eq!(give(&case, json!(["email"])).expect(201).json()["fields"], json!({"email": "ada@example.org"}));
    give(&case, json!(["phone"])).refused(403, "outside-case");
    let shown = house.get(&format!("/v1/cases/{case}")).by(&house.holder(Role::Auditor)).send().expect(200).json();
    assert_eq!((&shown["kind"], &shown["disclosures"]), (&json!("reasonable-need"), &json!(1)));
    assert_eq!(shown["scope"]["ground"], "perform-contract");
    assert!(shown["scope"].get("necessity").is_none(), "the text is for those who decide");
    // The report to the public counts it, and says of whom it was to nobody.
    let report = || house.get("/v1/ropa").by(&house.holder(Role::Auditor)).send().expect(200).json();
    let cases =
        json!([{"kind": "reasonable-need", "ground": "perform-contract", "state": "approved", "count": 1, "disclosures": 1}]);
    assert_eq!(report()["transparency"]["cases"], cases);
    assert!(!report().to_string().contains(&case) && !report().to_string().contains(&subject));
    // The case goes on being counted when the person is gone, and nothing in it says whose it was.
    house.erase_subject(&subject);
    for role in [Role::PrivacyOfficer, Role::Auditor] {
        let left = house.get(&format!("/v1/cases/{case}")).by(&house.holder(role)).send().expect(200).json();
        assert!(left.get("scope").is_none(), "{left}");
        assert_eq!((&left["state"], &left["disclosures"]), (&json!("approved"), &json!(1)));
    }
    give(&case, json!(["email"])).refused(410, "erased");
    assert_eq!(report()["transparency"]["cases"], cases);
    house.home.turn(SignedDuration::from_hours(30 * 24));
    let ended = house.get(&format!("/v1/cases/{case}")).by(&house.holder(Role::Auditor)).send().expect(200);
    assert_eq!(ended.member("state"), "expired");
}

#[test]
fn promise_p58_what_protects_the_child_is_decided_by_two_officers_and_reaches_no_further() {
    let house = House::start();
    let child = house.born("DE", "2013-06-26", &house.guarded("DE", &[])).expect(201).member("id");
    house.contract(&child, "ord-0", "active").expect(201);
    house.write(&child, &["a-account", "b-service", "c-marketing"], json!({"name": "Kid", "email": "kid@example.org"}));
    house.consent(&child, "c-marketing", "given").expect(201);
    house.consent(&child, "e-ads", "given").expect(201);
    // The child's own consent is not enough for marketing, nor the guardian's silence for a disclosure.
    house.read(&child, "c-marketing", "name").refused(403, "minor-protection");
    let give = |case: Option<&str>, fields: &[&str]| {
        let body = json!({"subject": child, "recipient": "affiliate-jp", "fields": fields});
        let ask = house.post("/v1/disclosures", &body).by(&house.holder(Role::Writer)).purpose("b-service");
        case.map_or_else(|| ask_again(&house, &body), |case| ask.header("vault-case", case).send())
    };
    give(None, &["name"]).refused(403, "minor-protection");
    let put = json!({"state": "withdrawn"});
    house.put(&format!("/v1/subjects/{child}/guardian"), &put).by(&house.holder(Role::PrivacyOfficer)).send().expect(200);
    let read = |case: &str, purpose: &str, fields: &str| {
        let path = format!("/v1/subjects/{child}/records{fields}");
        house.get(&path).by(&house.holder(Role::Reader)).purpose(purpose).header("vault-case", case).send()
    };
    let body = json!({"kind": "child-protection", "subject": child, "purposes": ["b-service", "e-ads"], "fields": ["name"],
        "recipient": "affiliate-jp", "necessity": "The child is missing.", "expires_at": later()});
    let case = house.open_case(&body).expect(201).member("id");
    read(&case, "b-service", "").refused(409, "guardian-consent-required");
    give(Some(&case), &["name"]).refused(409, "guardian-consent-required");
    house.decide_case(&case, "approve", &house.holder(Role::PrivacyOfficer)).refused(403, "second-person-required");
    read(&case, "b-service", "").refused(409, "guardian-consent-required");
    house.decide_case(&case, "approve", &house.second(Role::PrivacyOfficer)).expect(200);
    let seen = read(&case, "b-service", "").expect(200).json();
    assert_eq!(seen["records"][0]["fields"], json!({"name": "Kid"}), "what the case names");
    assert_eq!(give(Some(&case), &["name"]).expect(201).json()["fields"], json!({"name": "Kid"}));
    // No other field, no other purpose, never advertising, and not without naming it.
    read(&case, "b-service", "?fields=email").refused(409, "guardian-consent-required");
    give(Some(&case), &["email"]).refused(409, "guardian-consent-required");
    read(&case, "c-marketing", "").refused(409, "guardian-consent-required");
    read(&case, "e-ads", "").refused(403, "minor-protection");
    house.read(&child, "b-service", "").refused(409, "guardian-consent-required");
    // To an authority it goes as a disclosure on the case itself.
    let mut for_police = body.clone();
    (for_police["recipient"], for_police["purposes"]) = (json!("police-de"), json!(["b-service"]));
    let for_police = house.approved_case(&for_police);
    let to =
        |kind: &str| json!({"subject": child, "recipient": "police-de", "kind": kind, "case": for_police, "fields": ["name"]});
    house.disclose_on("b-service", &to("legal-process")).refused(403, "second-person-required");
    house.disclose_on("b-service", &to("child-protection")).expect(201);
    // There is no such case about an adult, and one about another child is none.
    let adult = house.customer();
    let of_adult = json!({"kind": "child-protection", "subject": adult, "purposes": ["b-service"], "fields": ["name"],
        "necessity": "x", "expires_at": later()});
    house.open_case(&of_adult).refused(422, "invalid-body");
    let other = house.born("DE", "2013-06-26", &house.guarded("DE", &[])).expect(201).member("id");
    house.contract(&other, "ord-0", "active").expect(201);
    house.write(&other, &["b-service"], json!({"name": "Kit"}));
    house.put(&format!("/v1/subjects/{other}/guardian"), &put).by(&house.holder(Role::PrivacyOfficer)).send().expect(200);
    let path = format!("/v1/subjects/{other}/records");
    let of_another = house.get(&path).by(&house.holder(Role::Reader)).purpose("b-service").header("vault-case", &case).send();
    of_another.refused(409, "guardian-consent-required");
    house.decide_case(&case, "close", &house.holder(Role::PrivacyOfficer)).expect(200);
    read(&case, "b-service", "").refused(409, "guardian-consent-required");
}

fn ask_again(house: &House, body: &Value) -> Reply {
    house.post("/v1/disclosures", body).by(&house.holder(Role::Writer)).purpose("b-service").send()
}

#[test]
fn promise_p40_a_past_recipient_is_called_when_its_data_is_corrected_restricted_or_deleted() {
    let house = House::start();
    let stand_in = StandIn::start(house.home.path());
    house.call_back(&stand_in, &["parcel", "affiliate-jp"]);
    let subject = house.ada();
    let record = house.contact(&subject);
    let given = house.disclose(&subject, "parcel", "b-delivery", &["name", "address"]).expect(201).json();
    house.disclose(&subject, "affiliate-jp", "b-service", &["email"]).expect(201);
    let kinds = |partner: &str| -> Vec<String> {
        stand_in.of(partner).iter().map(|posted| house.update(posted)["type"].as_str().unwrap().to_owned()).collect()
    };
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let correct = |fields: Value, version: &str| {
        let ask = house.patch(&path, &json!({"fields": fields})).by(&house.holder(Role::Writer)).purpose("b-service");
        ask.header("if-match", version).send().expect(200)
    };
    correct(json!({"address": "Pariser Platz 1"}), "\"1\"");
    house.deliver();
    assert_eq!((kinds("parcel"), kinds("affiliate-jp")), (vec!["update".to_owned()], vec![]));
    let event = house.update(&stand_in.of("parcel")[0]);
    assert_eq!((&event["fields"], &event["disclosure"]), (&json!(["address"]), &given["id"]));
    assert_eq!(event["pseudonym"], given["pseudonym"]);
    assert!(!stand_in.of("parcel")[0].body.contains("Pariser"), "it holds no value");
    // Both hear of a restriction and of its end; of an objection and of a hold nobody does.
    let officer = house.holder(Role::PrivacyOfficer);
    let restriction = house.restrict(&subject, &json!({"kind": "art18"})).expect(201).member("id");
    house.restrict(&subject, &json!({"kind": "objection", "purposes": ["g-improve"]})).expect(201);
    house.home.turn(SignedDuration::from_secs(1));
    let lift = format!("/v1/subjects/{subject}/restrictions/{restriction}");
    house.ask("DELETE", &lift).json(&json!({"reason": "settled"})).by(&officer).send().expect(204);
    house.deliver();
    assert_eq!(kinds("parcel"), ["update", "restriction", "restriction-lifted"]);
    assert_eq!(kinds("affiliate-jp"), ["restriction", "restriction-lifted"]);
    // The record goes: each hears of its own fields.
    house.delete(&path).by(&officer).send().expect(204);
    house.deliver();
    assert_eq!((kinds("parcel").pop(), kinds("affiliate-jp").pop()), (Some("deletion".into()), Some("deletion".into())));
    let fields = |partner: &str| house.update(stand_in.of(partner).last().unwrap())["fields"].clone();
    assert_eq!((fields("parcel"), fields("affiliate-jp")), (json!(["name", "address"]), json!(["email"])));
    // Nothing is told twice, and every message has an id of its own.
    house.deliver();
    let ids: BTreeSet<String> = stand_in.inbox().iter().map(|posted| house.update(posted)["id"].to_string()).collect();
    assert_eq!((ids.len(), stand_in.inbox().len()), (7, 7));
    // The inbox that a partner fetches says the same, by the same ids.
    let parcel = house.partner("parcel", &["b-delivery"]);
    let inbox = house.get("/v1/disclosures?updates=true&limit=500").by(&parcel).send().expect(200).json();
    let fetched: BTreeSet<String> =
        inbox["updates"].as_array().unwrap().iter().map(|one| one["event"]["id"].to_string()).collect();
    let called: BTreeSet<String> = stand_in.of("parcel").iter().map(|posted| house.update(posted)["id"].to_string()).collect();
    assert_eq!(fetched, called);
}

#[test]
fn two_partners_who_hear_of_the_same_event_have_no_time_and_no_id_in_common() {
    let house = House::start();
    let stand_in = StandIn::start(house.home.path());
    house.call_back(&stand_in, &["parcel", "affiliate-jp"]);
    let subject = house.ada();
    house.contact(&subject);
    house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201);
    house.disclose(&subject, "affiliate-jp", "b-service", &["email"]).expect(201);
    let officer = house.holder(Role::PrivacyOfficer);
    house.home.turn(SignedDuration::from_secs(4_321));
    let restriction = house.restrict(&subject, &json!({"kind": "art18"})).expect(201).member("id");
    let lift = format!("/v1/subjects/{subject}/restrictions/{restriction}");
    house.ask("DELETE", &lift).json(&json!({"reason": "settled"})).by(&officer).send().expect(204);
    house.deliver();
    // The time is the day, and the day is the same for everybody.
    let told = |partner: &str| -> Vec<Value> { stand_in.of(partner).iter().map(|posted| house.update(posted)).collect() };
    let (parcel, affiliate) = (told("parcel"), told("affiliate-jp"));
    let day = json!("2026-11-23T00:00:00Z");
    assert!(parcel.iter().chain(&affiliate).all(|event| event["at"] == day), "{parcel:?} {affiliate:?}");
    // The ids say the day and the order, which a partner sees anyhow, and nothing of the moment.
    let place = |event: &Value| {
        let id: DeliveryId = event["id"].as_str().unwrap().parse().unwrap();
        u64::from_be_bytes(id.bytes()[..8].try_into().unwrap())
    };
    let first = u64::try_from("2026-11-23T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond()).unwrap();
    for events in [&parcel, &affiliate] {
        assert_eq!(events.iter().map(place).collect::<Vec<_>>(), [first, first + 1]);
        assert_eq!((&events[0]["type"], &events[1]["type"]), (&json!("restriction"), &json!("restriction-lifted")));
    }
    assert_ne!(parcel[0]["id"], affiliate[0]["id"]);
    // So with an erasure.
    house.erase_subject(&subject);
    house.deliver();
    let purged = house.purged(stand_in.of("parcel").last().unwrap());
    assert_eq!(purged["iat"].as_i64().unwrap() % 86_400, 0);
    // A partner's inbox is in the order of time and id, not in that of the persons.
    let people: Vec<String> = (0..8).map(|_| house.ada()).collect();
    for person in &people {
        house.contact(person);
        house.disclose(person, "parcel", "b-delivery", &["name"]).expect(201);
        house.restrict(person, &json!({"kind": "art18"})).expect(201);
    }
    let inbox = house.get("/v1/disclosures?updates=true&limit=500").by(&house.partner("parcel", &["b-delivery"])).send();
    let inbox = inbox.expect(200).json();
    let ids = inbox["updates"].as_array().unwrap().iter().filter_map(|one| one["event"]["id"].as_str());
    assert!(ids.clone().count() == 8 && ids.is_sorted());
}

#[test]
fn an_erased_groups_recipients_hear_of_it_and_nobody_else() {
    let house = House::start();
    let stand_in = StandIn::start(house.home.path());
    house.call_back(&stand_in, &["parcel", "affiliate-jp", "ads-one"]);
    let subject = house.customer();
    house.write(&subject, &["e-ads"], json!({"preferences": {"colour": "red"}}));
    house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201);
    house.disclose(&subject, "ads-one", "e-ads", &["preferences"]).expect(201);
    let sealed = house.erase(&json!({"subject": subject, "scope": "groups", "groups": ["device"], "cause": "request"}));
    house.deliver();
    let told: Vec<String> = stand_in.inbox().into_iter().map(|posted| posted.partner).collect();
    assert_eq!(told, ["ads-one"]);
    let event = house.update(&stand_in.inbox()[0]);
    assert_eq!((&event["type"], &event["fields"]), (&json!("deletion"), &json!(["preferences"])));
    let named = &sealed.json()["certificate"]["recipients"];
    assert_eq!((named.as_array().unwrap().len(), &named[0]["name"]), (1, &json!("ads-one")));
}

#[test]
fn an_unreachable_partner_blocks_no_erasure_is_named_in_its_certificate_and_is_told_in_the_end() {
    let house = House::start();
    let stand_in = StandIn::start(house.home.path());
    house.call_back(&stand_in, &["parcel", "affiliate-jp"]);
    let subject = house.customer();
    let name = house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201).member("pseudonym");
    let other = house.disclose(&subject, "affiliate-jp", "b-service", &["name"]).expect(201).member("pseudonym");
    house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201);
    // The address has changed under a case that has nothing to do with it.
    stand_in.answer(0);
    let sealed = house.erase_subject(&subject);
    assert_eq!(sealed.member("state"), "sealed");
    let erasure = sealed.member("id");
    let file = |house: &House| house.get(&format!("/v1/erasures/{erasure}")).by(&house.holder(Role::Auditor)).send().expect(200);
    let states = |house: &House| -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let all = file(house).json()["recipients"].clone();
        all.as_array().unwrap().iter().map(|one| (text(&one["name"]), text(&one["state"]))).collect()
    };
    let both = |state: &str| BTreeMap::from(["affiliate-jp", "parcel"].map(|name| (name.to_owned(), state.to_owned())));
    let certificate = verify_certificate(&file(&house).bytes, &house.home.public_key()).unwrap().certificate;
    let named: Vec<(&str, &str)> = certificate.recipients.iter().map(|one| (one.name.as_str(), one.state.as_str())).collect();
    assert_eq!(named, [("affiliate-jp", "waiting"), ("parcel", "waiting")]);
    // Nobody is there, or answers anything but what acknowledges; the vault ends and starts again meanwhile.
    house.deliver();
    house.home.turn(SignedDuration::from_mins(1));
    for status in [500, 503, 404, 400, 302] {
        stand_in.answer(status);
        house.deliver();
        house.home.turn(SignedDuration::from_hours(7));
    }
    let house = house.restart();
    assert_eq!(states(&house), both("waiting"));
    assert!(house.overdue().is_empty());
    house.home.turn(SignedDuration::from_hours(7 * 24));
    let late = house.overdue();
    assert_eq!(late.len(), 2);
    assert!(late.iter().all(|one| one["event"] == "erasure" && one["state"] == "waiting" && one["tries"].as_u64() >= Some(5)));
    // The partner does its work and the answer is lost: it is called again, by the same token.
    let before = stand_in.inbox().len();
    stand_in.answer(202);
    stand_in.be_silent(true);
    house.deliver();
    stand_in.be_silent(false);
    house.home.turn(SignedDuration::from_hours(7));
    house.deliver();
    let posted = stand_in.inbox().split_off(before);
    assert_eq!(posted.len(), 4);
    assert_eq!(states(&house), both("acknowledged"));
    assert!(house.overdue().is_empty());
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in &posted {
        let claims = house.purged(one);
        assert_eq!(claims["sub_id"], json!({"format": "opaque", "id": if one.partner == "parcel" { &name } else { &other }}));
        assert_eq!(claims["events"], json!({EVENT: {}}));
        assert!(claims["iss"].as_str().unwrap().starts_with("urn:oubliette:vault:vlt_"));
        seen.entry(one.partner.clone()).or_default().insert(claims["jti"].to_string());
    }
    assert!(seen.len() == 2 && seen.values().all(|ids| ids.len() == 1), "one token each: {seen:?}");
    // Once acknowledged it is told no more, and the certificate is what it was.
    house.home.turn(SignedDuration::from_hours(24));
    house.deliver();
    assert_eq!(stand_in.inbox().len(), before + 4);
    let again = verify_certificate(&file(&house).bytes, &house.home.public_key()).unwrap().certificate;
    assert_eq!(again, certificate);
}

#[test]
fn an_erasure_that_waits_for_a_hold_tells_its_recipients_once_and_names_them_in_the_end() {
    let house = House::start();
    let stand_in = StandIn::start(house.home.path());
    house.call_back(&stand_in, &["parcel"]);
    let subject = house.ada();
    let record = house.contact(&subject);
    house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201);
    let (first, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let hold = json!({"kind": "legal-hold", "records": [record], "case": "court-1", "review_at": "2027-11-23T10:00:00Z"});
    let hold = house.restrict(&subject, &hold).expect(201).member("id");
    let path = format!("/v1/subjects/{subject}/restrictions/{hold}");
    house.post(&format!("{path}/approvals"), &json!({})).by(&second).send().expect(200);
    let partial = house.erase_subject(&subject);
    assert_eq!(partial.member("state"), "partial");
    house.deliver();
    house.ask("DELETE", &path).json(&json!({"reason": "settled"})).by(&second).send().expect(200);
    house.deliver();
    assert_eq!(stand_in.inbox().len(), 1);
    let file = house.get(&format!("/v1/erasures/{}", partial.member("id"))).by(&first).send().expect(200);
    let certificate = verify_certificate(&file.bytes, &house.home.public_key()).unwrap().certificate;
    let named: Vec<(&str, &str)> = certificate.recipients.iter().map(|one| (one.name.as_str(), one.state.as_str())).collect();
    assert_eq!((file.member("state").as_str(), named), ("sealed", vec![("parcel", "acknowledged")]));
}

#[test]
fn a_partner_without_a_callback_finds_an_erasure_in_its_inbox_and_has_then_been_told() {
    let house = House::start();
    let subject = house.customer();
    let name = house.disclose(&subject, "parcel", "b-delivery", &["name"]).expect(201).member("pseudonym");
    let erasure = house.erase_subject(&subject).member("id");
    house.deliver();
    let state = || {
        let file = house.get(&format!("/v1/erasures/{erasure}")).by(&house.holder(Role::Auditor)).send().expect(200).json();
        file["recipients"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(), "waiting");
    // Another partner's inbox does not have it, an officer who looks at the list is not the partner.
    let inbox = |by: &Token| house.get("/v1/disclosures?updates=true").by(by).send().expect(200).json()["updates"].clone();
    assert_eq!(inbox(&house.partner("affiliate-jp", &["b-service"])), json!([]));
    assert_eq!(inbox(&house.holder(Role::PrivacyOfficer)).as_array().unwrap().len(), 1);
    assert_eq!(state(), "waiting");
    let parcel = house.partner("parcel", &["b-delivery"]);
    for _ in 0..2 {
        let told = inbox(&parcel);
        let body = told[0]["token"].as_str().unwrap().to_owned();
        let posted = Posted {
            partner: "parcel".into(),
            media: "application/secevent+jwt".into(),
            accept: "application/json".into(),
            body,
        };
        assert_eq!(house.purged(&posted)["sub_id"]["id"], json!(name));
        assert_eq!(state(), "acknowledged");
    }
    house.get("/v1/disclosures?overdue=true").by(&house.holder(Role::Reader)).send().refused(403, "role-forbidden");
    house
        .get("/v1/disclosures?overdue=true&updates=true")
        .by(&house.holder(Role::Auditor))
        .send()
        .refused(400, "malformed-request");
}

/// SplitMix64: a history is its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Histories that are tried.
const HISTORIES: u64 = 1_000;

/// Those of them that end in the person's erasure, one in so many; the others end in a restriction.
const ERASED: u64 = 20;

#[test]
fn the_recipients_of_a_person_are_those_of_the_ledger_and_those_who_are_told() {
    let house = House::start();
    let stand_in = StandIn::start(house.home.path());
    let partners = [
        ("parcel", "b-delivery", ["name", "address", "phone"]),
        ("affiliate-jp", "b-service", ["name", "email", "phone"]),
        ("ads-one", "e-ads", ["preferences", "preferences", "preferences"]),
        ("ads-two", "e-ads", ["preferences", "preferences", "preferences"]),
    ];
    house.call_back(&stand_in, &partners.map(|(id, ..)| id));
    let next = AtomicU64::new(0);
    // By the partner's name for the person: which partner got something, and which of its fields.
    type Given = BTreeMap<(String, String), BTreeSet<String>>;
    let all: std::sync::Mutex<(Given, BTreeSet<String>)> = std::sync::Mutex::default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= HISTORIES {
                        return;
                    }
                    let mut dice = Dice(seed);
                    let subject = house.newcomer("consumer");
                    house.contract(&subject, "ord-0", "active").expect(201);
                    house.consent(&subject, "e-ads", "given").expect(201);
                    house.contact(&subject);
                    house.write(&subject, &["e-ads"], json!({"preferences": {"colour": "red"}}));
                    let mut given = Given::new();
                    for _ in 0..dice.below(5) {
                        let (partner, purpose, fields) = partners[dice.below(4) as usize];
                        let field = fields[dice.below(3) as usize];
                        let told = house.disclose(&subject, partner, purpose, &[field]).expect(201).json();
                        given.entry((partner.to_owned(), text(&told["pseudonym"]))).or_default().insert(field.to_owned());
                    }
                    // The ledger, as the person sees it: the recipients of their bundle are read from the same rows.
                    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
                    let ledger = house.get("/v1/disclosures?limit=500").by(&me).send().expect(200).json();
                    let mut listed = Given::new();
                    for line in ledger["disclosures"].as_array().unwrap() {
                        let fields = line["fields"].as_array().unwrap().iter().map(&text);
                        listed.entry((text(&line["recipient"]), text(&line["pseudonym"]))).or_default().extend(fields);
                    }
                    assert_eq!(listed, given, "seed {seed}");
                    // The copy of their data names the same recipients, with the same fields.
                    let mut copied: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
                    for line in house.bundle(&subject, "access")["recipients"].as_array().unwrap() {
                        let fields = line["fields"].as_array().unwrap().iter().map(&text);
                        copied.entry(text(&line["recipient"])).or_default().extend(fields);
                    }
                    let by_name = given.iter().map(|((partner, _), fields)| (partner.clone(), fields.clone()));
                    assert_eq!(copied, by_name.collect::<BTreeMap<_, _>>(), "seed {seed}");
                    let erased = dice.below(ERASED) == 0;
                    if erased {
                        let sealed = house.erase_subject(&subject).json();
                        let named = sealed["certificate"]["recipients"].as_array().unwrap().clone();
                        let named: BTreeSet<String> = named.iter().map(|one| text(&one["name"])).collect();
                        assert_eq!(named, given.keys().map(|(partner, _)| partner.clone()).collect(), "seed {seed}");
                    } else {
                        house.restrict(&subject, &json!({"kind": "art18"})).expect(201);
                    }
                    let mut all = all.lock().unwrap();
                    if erased {
                        all.1.extend(given.keys().map(|(_, pseudonym)| pseudonym.clone()));
                    }
                    all.0.extend(given);
                }
            });
        }
    });
    house.deliver();
    let (given, erased) = all.into_inner().unwrap();
    let mut inbox = Given::new();
    let mut purged = BTreeSet::new();
    for posted in stand_in.inbox() {
        if posted.media == "application/secevent+jwt" {
            let name = text(&house.purged(&posted)["sub_id"]["id"]);
            // A token names no fields: everything is to go.
            let all = given.get(&(posted.partner.clone(), name.clone())).cloned().unwrap_or_default();
            assert!(inbox.insert((posted.partner, name.clone()), all).is_none(), "told once");
            purged.insert(name);
        } else {
            let event = house.update(&posted);
            let fields = event["fields"].as_array().unwrap().iter().map(&text).collect();
            let once = inbox.insert((posted.partner, text(&event["pseudonym"])), fields);
            assert!(once.is_none(), "told once");
        }
    }
    assert_eq!(inbox, given);
    assert_eq!(purged, erased);
    assert!(given.len() > HISTORIES as usize && !erased.is_empty());
}
