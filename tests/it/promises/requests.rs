//! What a person asks for: who may, how surely they are known, what it comes to, and when (p41 to p48, p56, p61).

use jiff::SignedDuration;
use oubliette::model::caller::{CallerKind, Role};
use serde_json::{Value, json};

use crate::house::{House, Token, notice};
use crate::https::Reply;

const DAY: i64 = 24;

impl House {
    /// openRequest by the application, with `more` members.
    fn ask_for(&self, kind: &str, subject: &str, more: &Value) -> Reply {
        self.ask_by(&self.holder(Role::Writer), kind, subject, more)
    }

    /// The same by somebody else.
    fn ask_by(&self, by: &Token, kind: &str, subject: &str, more: &Value) -> Reply {
        let mut body = json!({"type": kind, "subject": subject});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/requests", &body).by(by).send()
    }

    /// advanceRequest.
    pub(crate) fn advance(&self, by: &Token, request: &str, body: &Value) -> Reply {
        self.post(&format!("/v1/requests/{request}/transitions"), body).by(by).send()
    }

    /// getRequest by the officer.
    fn request(&self, request: &str) -> Value {
        self.get(&format!("/v1/requests/{request}")).by(&self.holder(Role::PrivacyOfficer)).send().expect(200).json()
    }

    /// Has the officer look at a document.
    fn see_document(&self, request: &str) {
        let body = json!({"action": "verify", "level": 2, "evidence": {"kind": "passport", "digest": "cd".repeat(32)}});
        self.advance(&self.holder(Role::PrivacyOfficer), request, &body).expect(200);
    }

    /// An access request whose person showed a document.
    pub(crate) fn verified_request(&self, subject: &str) -> String {
        let request = self.ask_for("access", subject, &json!({})).expect(201).member("request_id");
        self.see_document(&request);
        request
    }

    /// A consumer who lives there.
    fn resident(&self, jurisdiction: &str) -> String {
        let email = format!("resident{}@example.org", self.number());
        let body = json!({"class": "consumer", "jurisdiction": jurisdiction, "notice": notice(),
            "aliases": [{"type": "email", "value": email}]});
        self.post("/v1/subjects", &body).by(&self.holder(Role::Writer)).purpose("a-account").send().expect(201).member("id")
    }

    /// How often the trail has an operation of the vault's own about one person's request.
    fn count_of(&self, operation: &str) -> usize {
        self.events("").iter().filter(|event| event["operation"] == operation).count()
    }
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * DAY)
}

#[test]
fn promise_p41_access_is_asked_for_verified_and_fetched_once() {
    let house = House::start();
    let subject = house.ada();
    house.contact(&subject);
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    let officer = house.holder(Role::PrivacyOfficer);
    let opened = house.ask_by(&me, "access", "me", &json!({})).expect(201).json();
    let request = opened["request_id"].as_str().unwrap().to_owned();
    assert_eq!((&opened["status"], &opened["reason"]), (&json!("open"), &json!("need_user_verification")));
    assert_eq!(opened["verification"], json!({"level": 0, "required": 1, "tries_left": 3}));
    assert_eq!(opened["dpv_status"], "dpv:RequestRequiresAction");
    // A session alone does not make an export.
    house.advance(&officer, &request, &json!({"action": "accept"})).refused(403, "verification-required");
    house.advance(&officer, &request, &json!({"action": "fulfil"})).refused(409, "state-conflict");
    house.see_document(&request);
    let accepted = house.advance(&officer, &request, &json!({"action": "accept"})).expect(200).json();
    assert_eq!((&accepted["status"], &accepted["dpv_status"]), (&json!("in_progress"), &json!("dpv:RequestAccepted")));
    let done = house.advance(&officer, &request, &json!({"action": "fulfil"})).expect(200).json();
    assert_eq!((&done["status"], &done["dpv_status"]), (&json!("fulfilled"), &json!("dpv:RequestFulfilled")));
    let code = done["download_code"].as_str().unwrap();
    assert!(house.request(&request).get("download_code").is_none(), "it is shown once");
    let fetch = || house.get(&format!("/v1/requests/{request}/result")).header("vault-claim", code).send();
    let bundle = fetch().expect(200).text();
    assert!(bundle.contains("Ada") && bundle.contains("Unter den Linden 1"), "{bundle}");
    assert!(fetch().status >= 400, "one time is one time");
    house.advance(&officer, &request, &json!({"action": "fulfil"})).refused(409, "state-conflict");
}

#[test]
fn promise_p42_a_person_asks_for_a_correction_and_an_officer_makes_it_with_the_evidence() {
    let house = House::shared();
    let subject = house.ada();
    let body = json!({"kind": "contact", "fields": {"name": "Ada"}, "verified_at": {"name": "2026-11-20T10:00:00Z"}});
    let record = house.record(&subject, "a-account", &body).expect(201).member("id");
    let me = house.own_token(&house.portal(&["x-rights", "a-account"]), &subject);
    let officer = house.caller(CallerKind::Person, &[Role::PrivacyOfficer], &["a-account"]);
    let evidence = json!({"kind": "passport", "digest": "ab".repeat(32)});
    let ask = json!({"record": record, "fields": ["name"], "evidence": evidence});
    let path = format!("/v1/subjects/{subject}/records/{record}");
    let rectify =
        |by: &Token, body: &Value| house.patch(&path, body).by(by).purpose("a-account").header("if-match", "\"1\"").send();
    let renamed = json!({"fields": {"name": "Ada King"}, "evidence": evidence});
    rectify(&me, &renamed).refused(422, "evidence-required");
    let request = house.ask_by(&me, "rectification", "me", &ask).expect(201).member("request_id");
    let mut proven = renamed.clone();
    proven["request"] = json!(request);
    // Another's request, and one that was taken back, are good for nothing.
    let other = house.ada();
    let others = house.ask_for("rectification", &other, &json!({"record": house.contact(&other), "fields": ["name"]}));
    let mut foreign = renamed.clone();
    foreign["request"] = json!(others.expect(201).member("request_id"));
    rectify(&officer, &foreign).refused(422, "invalid-body");
    let revoked = house.ask_by(&me, "rectification", "me", &ask).expect(201);
    assert_eq!(revoked.json()["duplicate_of"], json!(request));
    house.advance(&me, &revoked.member("request_id"), &json!({"action": "revoke"})).expect(200);
    let mut taken_back = renamed;
    taken_back["request"] = json!(revoked.member("request_id"));
    rectify(&officer, &taken_back).refused(422, "invalid-body");

    rectify(&officer, &proven).expect(200);
    assert_eq!(house.request(&request)["status"], "fulfilled");
    house.advance(&officer, &request, &json!({"action": "fulfil"})).refused(409, "state-conflict");
}

#[test]
fn promise_p43_a_restriction_and_an_objection_are_laid_when_their_request_is_fulfilled() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let officer = house.holder(Role::PrivacyOfficer);
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    house.ask_by(&me, "objection", "me", &json!({"purposes": ["z-none"]})).refused(422, "invalid-body");
    house.ask_by(&me, "access", "me", &json!({"purposes": ["g-improve"]})).refused(422, "invalid-body");
    let fulfil = |request: &str| {
        house.advance(&officer, request, &json!({"action": "accept"})).expect(200);
        house.advance(&officer, request, &json!({"action": "fulfil"})).expect(200).json()
    };
    let objection = house.ask_by(&me, "objection", "me", &json!({"purposes": ["k-security"]})).expect(201).member("request_id");
    assert_eq!(house.subject(&subject).json()["restrictions"], json!([]));
    let done = fulfil(&objection);
    let laid = house.subject(&subject).json()["restrictions"][0].clone();
    assert_eq!((&laid["kind"], &laid["purposes"]), (&json!("objection"), &json!(["k-security"])));
    assert_eq!(done["restriction"], laid["id"]);
    house.read(&subject, "a-account", "name").expect(200);
    let restriction = house.ask_by(&me, "restriction", "me", &json!({})).expect(201).member("request_id");
    fulfil(&restriction);
    house.read(&subject, "a-account", "name").refused(403, "restricted");
}

#[test]
fn promise_p44_an_erasure_is_asked_for_and_fulfilled_in_the_act_that_seals_it() {
    let house = House::shared();
    let (subject, other) = (house.ada(), house.ada());
    house.contact(&subject);
    let officer = house.holder(Role::PrivacyOfficer);
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    let request = house.ask_by(&me, "erasure", "me", &json!({})).expect(201).member("request_id");
    let question = house.ask_by(&me, "question", "me", &json!({"message": "What is kept?"})).expect(201).member("request_id");
    let open = |by: &Token, subject: &str, request: &str, cause: &str| {
        let body = json!({"subject": subject, "scope": "subject", "cause": cause, "request": request});
        house.post("/v1/erasures", &body).by(by).send()
    };
    // Not verified; another person's; of another type; for another cause; none at all.
    open(&officer, &subject, &request, "request").refused(422, "invalid-body");
    open(&me, "me", &request, "request").refused(422, "invalid-body");
    house.see_document(&request);
    open(&officer, &other, &request, "request").refused(422, "invalid-body");
    open(&officer, &subject, &question, "request").refused(422, "invalid-body");
    open(&officer, &subject, &request, "unlawful").refused(422, "invalid-body");
    open(&officer, &subject, "req_00000000000000000000000000", "request").refused(422, "invalid-body");
    house.read(&subject, "a-account", "name").expect(200);

    let erasure = open(&me, "me", &request, "request").expect(201).json();
    assert_eq!(erasure["state"], "requested", "a person opens it, another one approves it");
    assert_eq!(house.request(&request)["status"], "in_progress");
    let path = format!("/v1/erasures/{}/approvals", erasure["id"].as_str().unwrap());
    house.post(&path, &json!({})).by(&me).send().refused(404, "not-found");
    assert_eq!(house.post(&path, &json!({})).by(&officer).send().expect(200).member("state"), "sealed");
    let done = house.request(&request);
    assert_eq!((&done["status"], &done["erasure"]), (&json!("fulfilled"), &erasure["id"]));
    assert_eq!(house.request(&question)["status"], "expired", "nobody is left to be answered");
    for request in [&request, &question] {
        let seen = house.request(request);
        assert!(seen.get("subject").is_none() && seen.get("message").is_none(), "{seen}");
    }
    house.read(&subject, "a-account", "name").refused(410, "erased");
}

#[test]
fn promise_p44_a_request_that_was_taken_back_stops_its_erasure() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let (officer, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    let request = house.ask_by(&me, "erasure", "me", &json!({})).expect(201).member("request_id");
    house.see_document(&request);
    let scope = |request: &str| json!({"subject": subject, "scope": "groups", "groups": ["marketing"], "cause": "request", "request": request});
    let open = |request: &str| house.post("/v1/erasures", &scope(request)).by(&officer).send();
    let erasure = open(&request).expect(201).member("id");
    house.advance(&me, &request, &json!({"action": "revoke"})).expect(200);
    let approve = |erasure: &str| house.post(&format!("/v1/erasures/{erasure}/approvals"), &json!({})).by(&second).send();
    approve(&erasure).refused(409, "state-conflict");
    house.read(&subject, "c-marketing", "name").expect(200);
    // Of a part of the person too the request is fulfilled in the same act.
    let request = house.ask_by(&me, "erasure", "me", &json!({})).expect(201).member("request_id");
    house.see_document(&request);
    let erasure = open(&request).expect(201).member("id");
    approve(&erasure).expect(200);
    let done = house.request(&request);
    assert_eq!((&done["status"], &done["erasure"]), (&json!("fulfilled"), &json!(erasure)));
    house.read(&subject, "a-account", "name").expect(200);
}

#[test]
fn promise_p45_three_wrong_codes_deny_a_request_for_want_of_verification() {
    let house = House::shared();
    let subject = house.ada();
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    let request = house.ask_by(&me, "access", "me", &json!({})).expect(201).member("request_id");
    let verify = |body: Value| house.advance(&me, &request, &body);
    let code = json!({"action": "verify", "code": "000000"});
    verify(code.clone()).refused(409, "state-conflict");
    // The person says nothing of how surely they are known.
    verify(json!({"action": "verify", "level": 2, "evidence": {"kind": "passport", "digest": "ab".repeat(32)}}))
        .refused(403, "role-forbidden");
    for left in [2, 1, 0] {
        let sent = verify(json!({"action": "verify"})).expect(200).json();
        assert!(sent["verification"]["code_until"].is_string() && !sent.to_string().contains("\"code\""), "{sent}");
        verify(code.clone()).refused(403, "wrong-code");
        assert_eq!(house.request(&request)["verification"]["tries_left"], left);
        // Each code is good for one try.
        verify(code.clone()).refused(409, "state-conflict");
    }
    let denied = house.request(&request);
    assert_eq!((&denied["status"], &denied["reason"]), (&json!("denied"), &json!("insuf_verification")));
    assert_eq!((&denied["denial"]["code"], &denied["authority"]["id"]), (&json!("insuf_verification"), &json!("de-bfdi")));
    verify(json!({"action": "verify"})).refused(409, "state-conflict");
    let officer = house.holder(Role::PrivacyOfficer);
    house.advance(&officer, &request, &json!({"action": "accept"})).refused(409, "state-conflict");
}

#[test]
fn promise_p45_a_code_goes_out_by_letter_is_kept_nowhere_and_makes_the_person_known() {
    let house = House::start();
    let (subject, email) = house.addressee(&["a-account"]);
    let officer = house.holder(Role::PrivacyOfficer);
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    let request = house.ask_by(&me, "access", "me", &json!({})).expect(201).member("request_id");
    house.advance(&me, &request, &json!({"action": "verify"})).expect(200);
    house.deliver();
    let mails = house.mails();
    let mail = mails.iter().find(|mail| mail.header("To").contains(&email)).expect("a letter");
    let code = mail.text.split_whitespace().find(|word| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit()));
    let code = code.expect("a code").to_owned();
    assert!(mail.text.contains(&request));
    // The wrong one makes it worthless, so another is sent.
    let wrong = if code == "000000" { "111111" } else { "000000" };
    house.advance(&me, &request, &json!({"action": "verify", "code": wrong})).refused(403, "wrong-code");
    house.advance(&me, &request, &json!({"action": "verify", "code": code})).refused(409, "state-conflict");
    house.advance(&me, &request, &json!({"action": "verify"})).expect(200);
    let house = house.restart();
    house.deliver();
    let all: Vec<String> = house.mails().iter().map(|mail| mail.text.clone()).collect();
    let codes = all.iter().flat_map(|text| text.split_whitespace());
    let mut fresh = codes.filter(|word| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit()) && *word != code);
    let fresh = fresh.next_back().expect("another code").to_owned();
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    let known = house.advance(&me, &request, &json!({"action": "verify", "code": fresh})).expect(200).json();
    assert_eq!((&known["verification"]["level"], &known["verification"]["tries_left"]), (&json!(1), &json!(2)));
    house.advance(&officer, &request, &json!({"action": "accept"})).expect(200);
}

#[test]
fn promise_p46_the_letter_of_a_denial_has_the_code_the_way_to_complain_and_the_authority() {
    let house = House::start();
    let (subject, email) = house.addressee(&["a-account"]);
    let request = house.ask_for("access", &subject, &json!({})).expect(201).member("request_id");
    let deny = |by: Role, number: usize| {
        let by = if number == 0 { house.holder(by) } else { house.second(by) };
        house.advance(&by, &request, &json!({"action": "deny", "reason": "suspected_fraud"})).expect(200);
        house.deliver();
        house.mails().into_iter().filter(|mail| mail.header("To").contains(&email)).collect::<Vec<_>>()
    };
    assert!(deny(Role::PrivacyOfficer, 0).is_empty(), "one officer denies nothing");
    let letters = deny(Role::PrivacyOfficer, 1);
    assert_eq!(letters.len(), 1);
    for part in ["suspected_fraud", &request, "privacy-office@localhost", "https://www.bfdi.bund.de/"] {
        assert!(letters[0].text.contains(part), "{part} is not in {}", letters[0].text);
    }
}

#[test]
fn promise_p45_a_code_can_be_given_back_for_half_an_hour_and_is_sent_so_many_times() {
    let house = House::start();
    let subject = house.ada();
    let portal = house.portal(&["x-rights"]);
    let request = house.ask_for("access", &subject, &json!({})).expect(201).member("request_id");
    let verify = |body: Value| house.advance(&house.own_token(&portal, &subject), &request, &body);
    for _ in 0..6 {
        verify(json!({"action": "verify"})).expect(200);
        house.home.turn(SignedDuration::from_mins(30));
        verify(json!({"action": "verify", "code": "000000"})).refused(409, "state-conflict");
    }
    verify(json!({"action": "verify"})).refused(409, "state-conflict");
    assert_eq!(house.request(&request)["verification"]["tries_left"], 3, "a letter that came late is no failed try");
}

#[test]
fn promise_p45_a_document_is_kept_with_the_request_and_evidence_is_needed_for_a_level() {
    let house = House::shared();
    let subject = house.ada();
    let officer = house.holder(Role::PrivacyOfficer);
    // What an officer brings in is on nobody's word yet, whatever its type needs.
    let second = house.second(Role::PrivacyOfficer);
    let request = house.ask_by(&second, "objection", &subject, &json!({})).expect(201).json();
    assert_eq!(request["verification"]["level"], Value::Null);
    let request = request["request_id"].as_str().unwrap();
    house.advance(&officer, request, &json!({"action": "accept"})).refused(403, "verification-required");
    let verify = |body: Value| house.advance(&officer, request, &body);
    verify(json!({"action": "verify", "level": 2})).refused(422, "evidence-required");
    // Who brought it in neither makes sure of the person nor accepts it.
    let shows = json!({"action": "verify", "level": 2, "evidence": {"kind": "passport", "digest": "ab".repeat(32)}});
    house.advance(&second, request, &shows).refused(403, "second-person-required");
    let shown = |digest: &str, content: &str| json!({"action": "verify", "level": 2, "evidence": {"kind": "passport", "digest": digest, "content": content}});
    verify(shown(&"ab".repeat(32), "YSBkb2N1bWVudA==")).refused(422, "invalid-body");
    let digest: String = keys::digest::sha256(&[b"a document"]).iter().map(|byte| format!("{byte:02x}")).collect();
    verify(shown(&digest, "not base64!")).refused(422, "invalid-body");
    let mut level = shown(&digest, "YSBkb2N1bWVudA==");
    level["level"] = json!(3);
    verify(level).refused(422, "invalid-body");
    let seen = verify(shown(&digest, "YSBkb2N1bWVudA==")).expect(200).json();
    assert_eq!(seen["verification"]["level"], 2);
    house.advance(&second, request, &json!({"action": "accept"})).refused(403, "second-person-required");
    house.advance(&officer, request, &json!({"action": "accept"})).expect(200);
}

#[test]
fn promise_p46_a_refusal_needs_a_ground_and_two_officers_and_says_what_can_be_done() {
    let house = House::shared();
    let subject = house.ada();
    let (officer, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    let ask = || house.ask_by(&me, "access", "me", &json!({})).expect(201).json();
    let first = ask();
    let request = first["request_id"].as_str().unwrap();
    let deny = |by: &Token, request: &str, reason: &str| house.advance(by, request, &json!({"action": "deny", "reason": reason}));
    for without in
        [json!({"action": "deny"}), json!({"action": "deny", "reason": null}), json!({"action": "deny", "reason": "so"})]
    {
        house.advance(&officer, request, &without).refused(422, "invalid-body");
    }
    deny(&me, request, "suspected_fraud").refused(403, "role-forbidden");
    // Too many requests is no ground against the first one.
    deny(&officer, request, "too_many_requests").refused(422, "invalid-body");
    let proposed = deny(&officer, request, "suspected_fraud").expect(200).json();
    assert_eq!((&proposed["status"], &proposed["proposed"]), (&json!("in_progress"), &json!("suspected_fraud")));
    let seen = house.get(&format!("/v1/requests/{request}")).by(&me).send().expect(200).json();
    assert!(seen.get("proposed").is_none() && seen.get("denial").is_none(), "{seen}");
    deny(&officer, request, "suspected_fraud").refused(403, "second-person-required");
    let program = house.caller(CallerKind::Service, &[Role::PrivacyOfficer], &[]);
    deny(&program, request, "suspected_fraud").refused(403, "second-person-required");
    deny(&second, request, "no_match").refused(422, "invalid-body");
    deny(&second, request, "suspected_fraud").expect(200);
    let denied = house.get(&format!("/v1/requests/{request}")).by(&me).send().expect(200).json();
    assert_eq!((&denied["status"], &denied["reason"]), (&json!("denied"), &json!("suspected_fraud")));
    assert_eq!(denied["dpv_status"], "dpv:RequestRejected");
    assert_eq!(denied["denial"]["code"], "suspected_fraud");
    assert!(denied["denial"]["appeal"].as_str().unwrap().contains("authority"), "{denied}");
    assert_eq!(
        (&denied["denial"]["officer"], &denied["authority"]["id"]),
        (&json!("privacy-office@localhost"), &json!("de-bfdi"))
    );

    // The same again is marked, never dropped; then there may have been too many.
    let again = ask();
    assert_eq!((&again["duplicate_of"], &again["status"]), (&first["request_id"], &json!("open")));
    let again = again["request_id"].as_str().unwrap();
    deny(&officer, again, "too_many_requests").expect(200);
    // The second officer sees it otherwise.
    assert_eq!(house.advance(&second, again, &json!({"action": "reopen"})).expect(200).member("status"), "open");
    deny(&officer, again, "justifications:ThirdPartyRightsImpaired").expect(200);
    let denied = deny(&second, again, "third_party_rights_impaired").expect(200).json();
    assert_eq!(denied["denial"]["term"], "justifications:ThirdPartyRightsImpaired");
    // Other words are another request.
    let other = |text: &str| house.ask_by(&me, "question", "me", &json!({"message": text})).expect(201).json();
    let (one, two, three) = (other("one"), other("two"), other("one"));
    assert!(two.get("duplicate_of").is_none());
    assert_eq!(three["duplicate_of"], one["request_id"]);
}

#[test]
fn promise_p48_denials_name_the_authority_of_the_persons_own_place() {
    let house = House::shared();
    let reader = house.holder(Role::Reader);
    let mut authorities = Vec::new();
    for place in ["CN", "IE", "CA"] {
        let subject = house.resident(place);
        let path = format!("/v1/subjects/{subject}/records");
        let denied = house.get(&path).by(&reader).purpose("c-marketing").send();
        assert_eq!(denied.status, 403, "{place}");
        authorities.push(denied.json()["authority"]["id"].as_str().unwrap().to_owned());
        // Who may not know of the person learns nothing of their place.
        let me = house.own_token(&house.portal(&["x-rights"]), &house.ada());
        let stranger = house.get(&path).by(&me).purpose("x-rights").send().refused(404, "not-found").json();
        assert!(stranger.get("authority").is_none());
    }
    assert_eq!(authorities, ["cn-cac", "ie-dpc", "ca-opc"]);
}

#[test]
fn promise_p48_a_complaint_stops_what_it_is_about_is_answered_and_names_the_authority() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let officer = house.holder(Role::PrivacyOfficer);
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    house.ask_by(&me, "complaint", "me", &json!({})).refused(422, "invalid-body");
    let body = json!({"message": "That address was never mine.", "restrict": true});
    let opened = house.ask_by(&me, "complaint", "me", &body).expect(201).json();
    assert_eq!((&opened["status"], &opened["authority"]["id"]), (&json!("open"), &json!("de-bfdi")));
    let restrictions = house.subject(&subject).json()["restrictions"].clone();
    assert_eq!((&restrictions[0]["kind"], &restrictions[0]["id"]), (&json!("dispute"), &opened["restriction"]));
    house.read(&subject, "a-account", "name").refused(403, "restricted");
    let request = opened["request_id"].as_str().unwrap();
    house.advance(&officer, request, &json!({"action": "accept"})).expect(200);
    assert_eq!(house.subject(&subject).json()["restrictions"].as_array().unwrap().len(), 1, "once is enough");
    house.advance(&officer, request, &json!({"action": "fulfil"})).refused(422, "invalid-body");
    let answer = json!({"action": "fulfil", "answer": "You are right; it is corrected."});
    house.advance(&officer, request, &answer).expect(200);
    let path = format!("/v1/requests/{request}");
    let seen = house.get(&path).by(&me).send().expect(200).json();
    assert_eq!((&seen["status"], &seen["authority"]["id"]), (&json!("fulfilled"), &json!("de-bfdi")));
    assert_eq!((&seen["message"], &seen["answer"]), (&body["message"], &answer["answer"]));
    assert_eq!(house.request(request)["message"], body["message"]);
    // Nobody else reads it.
    for role in [Role::Auditor, Role::Writer] {
        let seen = house.get(&path).by(&house.holder(role)).send();
        assert!(!seen.text().contains("never mine") && !seen.text().contains(&subject), "{}", seen.text());
    }
}

#[test]
fn promise_p56_an_account_is_closed_for_a_known_person_only_and_opens_again_within_the_grace() {
    let house = House::start();
    let subject = house.ada();
    house.contact(&subject);
    let officer = house.holder(Role::PrivacyOfficer);
    let unknown = house.ask_by(&house.second(Role::PrivacyOfficer), "account-closure", &subject, &json!({})).expect(201).json();
    assert_eq!(unknown["status"], "open");
    house.read(&subject, "a-account", "name").expect(200);
    let request = unknown["request_id"].as_str().unwrap();
    house.advance(&officer, request, &json!({"action": "accept"})).refused(403, "verification-required");
    house.see_document(request);
    let closing = house.advance(&officer, request, &json!({"action": "accept"})).expect(200).json();
    assert!(closing["processing_details"].as_str().unwrap().contains("2026-12-07"), "{closing}");
    house.read(&subject, "a-account", "name").refused(410, "account-closed");
    house.home.turn(days(10));
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    house.advance(&me, request, &json!({"action": "revoke"})).expect(200);
    house.read(&subject, "a-account", "name").expect(200);
    house.home.turn(days(10));
    assert_eq!(house.wait(house.vault.sweep()).unwrap().closed, 0);
    house.read(&subject, "a-account", "name").expect(200);
    // The rights outlive the account.
    house.ask_for("account-closure", &subject, &json!({})).expect(201);
    house.ask_for("access", &subject, &json!({})).expect(201);
}

#[test]
fn promise_p61_a_request_raises_alarms_at_day_15_and_24_and_is_a_breach_at_day_30() {
    let house = House::start();
    let subject = house.ada();
    let opened = house.ask_for("question", &subject, &json!({"message": "When?"})).expect(201).json();
    assert_eq!(opened["expected_by"], "2026-12-23T10:00:00Z");
    let answered = house.ask_for("question", &subject, &json!({"message": "Why?"})).expect(201).member("request_id");
    let officer = house.holder(Role::PrivacyOfficer);
    house.advance(&officer, &answered, &json!({"action": "accept"})).expect(200);
    house.advance(&officer, &answered, &json!({"action": "fulfil", "answer": "Because."})).expect(200);
    let sweep = || house.wait(house.vault.sweep()).unwrap();
    for (turn, alarms, overdue) in [(14, 0, 0), (1, 1, 0), (8, 0, 0), (1, 1, 0), (5, 0, 0), (1, 1, 1), (30, 0, 0)] {
        house.home.turn(days(turn));
        let swept = sweep();
        assert_eq!((swept.alarms, swept.overdue, swept.failed), (alarms, overdue, 0), "after {turn} more days");
        assert_eq!(sweep().alarms, 0, "once");
    }
    let house = house.restart();
    house.deliver();
    let alarms = house.mails().into_iter().filter(|mail| mail.header("To").contains("privacy-office@localhost"));
    let about = |mail: &super::letters::Mail| mail.text.contains(opened["request_id"].as_str().unwrap());
    assert_eq!(alarms.filter(about).count(), 3, "each alarm is a letter to the officer");
    let refreshed = house.caller(CallerKind::Service, &[Role::Auditor], &[]);
    let events = house.get("/v1/audit/events?limit=500").by(&refreshed).send().expect(200).json();
    let of = |name: &str| events["events"].as_array().unwrap().iter().filter(|event| event["operation"] == name).count();
    assert_eq!((of("requestAlarm"), of("requestOverdue")), (2, 1));
}

#[test]
fn promise_p61_an_answer_is_put_off_once_for_a_reason_and_its_alarms_move_along() {
    let house = House::start();
    let officer = house.holder(Role::PrivacyOfficer);
    // Where no law lets it be put off it is not; where one wants the receipt confirmed, by when is said.
    let short = house.ask_for("access", &house.resident("BR"), &json!({})).expect(201).json();
    assert_eq!((&short["expected_by"], short.get("confirm_by")), (&json!("2026-12-08T10:00:00Z"), None));
    let put_off = json!({"action": "extend", "reason": "complexity"});
    house.advance(&officer, short["request_id"].as_str().unwrap(), &put_off).refused(409, "state-conflict");
    house.advance(&officer, short["request_id"].as_str().unwrap(), &json!({"action": "revoke"})).expect(200);
    let californian = house.ask_for("access", &house.resident("US-CA"), &json!({})).expect(201).json();
    assert_eq!(californian["confirm_by"], "2026-12-07T23:59:59Z");
    house.advance(&officer, californian["request_id"].as_str().unwrap(), &json!({"action": "revoke"})).expect(200);
    let subject = house.ada();
    let request = house.ask_for("question", &subject, &json!({"message": "When?"})).expect(201).member("request_id");
    let extend = |reason: &str| house.advance(&officer, &request, &json!({"action": "extend", "reason": reason}));
    extend("holidays").refused(422, "invalid-body");
    let extended = extend("complexity").expect(200).json();
    assert_eq!((&extended["expected_by"], &extended["extended"]), (&json!("2027-02-21T10:00:00Z"), &json!("complexity")));
    extend("complexity").refused(409, "state-conflict");
    let sweep = || house.wait(house.vault.sweep()).unwrap();
    for (turn, alarms, overdue) in [(44, 0, 0), (1, 1, 0), (27, 1, 0), (17, 0, 0), (1, 1, 1)] {
        house.home.turn(days(turn));
        let swept = sweep();
        assert_eq!((swept.alarms, swept.overdue), (alarms, overdue), "after {turn} more days");
    }
}

#[test]
fn a_request_survives_restarts_and_a_wrong_clock_jump_without_a_lost_or_doubled_step() {
    let mut house = House::start();
    let subject = house.ada();
    let requests: Vec<String> = ["one", "two", "three"]
        .map(|text| house.ask_for("question", &subject, &json!({"message": text})).expect(201).member("request_id"))
        .into();
    let counts = |house: &House| (house.count_of("requestAlarm"), house.count_of("requestOverdue"));
    let tick = |house: &House| (0..2).for_each(|_| assert_eq!(house.wait(house.vault.sweep()).unwrap().failed, 0));
    house.home.turn(days(16));
    tick(&house);
    assert_eq!(counts(&house), (3, 0));
    // A year too far, with a restart there, and back again.
    house.home.turn(days(365));
    house = house.restart();
    house.home.turn(days(-365));
    assert_eq!(counts(&house), (6, 3), "what was overdue was found at the start, by a clock that was wrong");
    tick(&house);
    house.home.turn(days(-16));
    tick(&house);
    house = house.restart();
    assert_eq!(counts(&house), (6, 3));
    // Nothing was lost: each can be answered, and nothing rings again when its time really comes.
    let officer = house.holder(Role::PrivacyOfficer);
    house.advance(&officer, &requests[0], &json!({"action": "accept"})).expect(200);
    house.advance(&officer, &requests[0], &json!({"action": "fulfil", "answer": "Now."})).expect(200);
    house.home.turn(days(20));
    tick(&house);
    house = house.restart();
    tick(&house);
    assert_eq!(counts(&house), (6, 3));
    // A request that came while the clock was back has its own time.
    let late = house.ask_for("question", &subject, &json!({"message": "four"})).expect(201).json();
    assert_eq!(late["expected_by"], "2027-01-12T10:00:00Z");
    house.home.turn(days(31));
    house = house.restart();
    let auditor = house.caller(CallerKind::Service, &[Role::Auditor], &[]);
    let events = house.get("/v1/audit/events?limit=500").by(&auditor).send().expect(200).json();
    let of = |name: &str| events["events"].as_array().unwrap().iter().filter(|event| event["operation"] == name).count();
    assert_eq!((of("requestAlarm"), of("requestOverdue")), (8, 4), "found at the start, before any round");
}

#[test]
fn the_queue_is_in_the_order_of_its_days_and_an_auditor_sees_tags_alone() {
    let house = House::start();
    let (ada, korean) = (house.ada(), house.resident("KR"));
    let question = |subject: &str| {
        let id = house.ask_for("question", subject, &json!({"message": "A secret word"})).expect(201).member("request_id");
        house.home.turn(SignedDuration::from_hours(1));
        id
    };
    let (first, second, soonest) = (question(&ada), question(&ada), question(&korean));
    let access = house.ask_for("access", &ada, &json!({})).expect(201).member("request_id");
    let (officer, auditor) = (house.holder(Role::PrivacyOfficer), house.holder(Role::Auditor));
    let list = |by: &Token, query: &str| house.get(&format!("/v1/requests{query}")).by(by).send();
    let ids = |reply: Reply| -> Vec<String> {
        reply.expect(200).json()["requests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["request_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(list(&officer, "")), [&*soonest, &*first, &*second, &*access]);
    assert_eq!(ids(list(&officer, "?type=access")), [&*access]);
    assert_eq!(ids(list(&officer, "?due_before=2026-12-10T00:00:00Z")), [&*soonest]);
    house.advance(&officer, &first, &json!({"action": "accept"})).expect(200);
    assert_eq!(ids(list(&officer, "?state=in_progress")), [&*first]);
    assert_eq!(ids(list(&officer, "?state=fulfilled")), Vec::<String>::new());
    list(&officer, "?state=lost").refused(400, "malformed-request");
    let page = list(&officer, "?limit=3").expect(200).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(ids(list(&officer, &format!("?limit=3&cursor={cursor}"))), [&*access]);
    list(&auditor, &format!("?limit=3&cursor={cursor}")).refused(400, "bad-cursor");

    let seen = list(&officer, "").expect(200).json();
    assert_eq!((&seen["requests"][0]["subject"], seen["next_cursor"].is_null()), (&json!(korean), true));
    let audited = list(&auditor, "").expect(200);
    assert!(audited.json()["requests"].as_array().unwrap().iter().all(|one| one["subject_tag"].is_string()));
    for private in [&*ada, &*korean, "secret word"] {
        assert!(!audited.text().contains(private), "{private}");
    }
    for role in [Role::Writer, Role::Reader, Role::SecurityOfficer] {
        list(&house.holder(role), "").refused(403, "role-forbidden");
    }
    let me = house.own_token(&house.portal(&["x-rights"]), &ada);
    list(&me, "").refused(403, "role-forbidden");
}

#[test]
fn a_person_opens_sees_and_takes_back_their_own_requests_and_nobody_elses() {
    let house = House::shared();
    let (ada, ben) = (house.ada(), house.ada());
    let portal = house.portal(&["x-rights"]);
    let (hers, his) = (house.own_token(&portal, &ada), house.own_token(&portal, &ben));
    // Another person looks like nobody.
    for other in [&*ada, "sub_00000000000000000000000000"] {
        house.ask_by(&his, "access", other, &json!({})).refused(403, "role-forbidden");
    }
    let request = house.ask_by(&hers, "access", "me", &json!({})).expect(201).member("request_id");
    let path = format!("/v1/requests/{request}");
    house.get(&path).by(&hers).send().expect(200);
    house.get(&path).by(&his).send().refused(404, "not-found");
    house.get(&path).by(&portal).send().expect(200);
    for action in [json!({"action": "verify"}), json!({"action": "revoke"}), json!({"action": "accept"})] {
        house.advance(&his, &request, &action).refused(404, "not-found");
    }
    for action in [json!({"action": "accept"}), json!({"action": "extend", "reason": "complexity"}), json!({"action": "expire"})]
    {
        house.advance(&hers, &request, &action).refused(403, "role-forbidden");
    }
    house.advance(&house.holder(Role::Writer), &request, &json!({"action": "revoke"})).refused(403, "role-forbidden");
    assert_eq!(house.advance(&hers, &request, &json!({"action": "revoke"})).expect(200).member("status"), "revoked");
    house.advance(&hers, &request, &json!({"action": "revoke"})).refused(409, "state-conflict");
    house.advance(&hers, &request, &json!({"action": "melt"})).refused(422, "invalid-body");
}

#[test]
fn an_officer_reads_for_the_open_verified_request_of_that_person_and_for_nothing_else() {
    let house = House::shared();
    let (ada, ben) = (house.ada(), house.ada());
    house.contact(&ada);
    let officer = house.caller(CallerKind::Person, &[Role::PrivacyOfficer], &["x-rights"]);
    let read = |request: &str| {
        let ask = house.get(&format!("/v1/subjects/{ada}/records?fields=name")).by(&officer).purpose("x-rights");
        if request.is_empty() { ask.send() } else { ask.header("vault-case", request).send() }
    };
    read("").refused(403, "role-forbidden");
    read("case-1").refused(403, "role-forbidden");
    read("req_00000000000000000000000000").refused(403, "role-forbidden");
    let request = house.ask_for("access", &ada, &json!({})).expect(201).member("request_id");
    read(&request).refused(403, "role-forbidden");
    read(&house.verified_request(&ben)).refused(403, "role-forbidden");
    house.see_document(&request);
    assert!(read(&request).expect(200).text().contains("Ada"));
    house.advance(&house.holder(Role::PrivacyOfficer), &request, &json!({"action": "revoke"})).expect(200);
    read(&request).refused(403, "role-forbidden");
}

#[test]
fn papers_of_a_request_go_a_year_after_its_end_and_then_its_row_names_nobody() {
    let house = House::start();
    let subject = house.ada();
    let officer = || house.caller(CallerKind::Person, &[Role::PrivacyOfficer], &[]);
    let request = house.ask_for("question", &subject, &json!({"message": "Canary question"})).expect(201).member("request_id");
    house.advance(&officer(), &request, &json!({"action": "accept"})).expect(200);
    house.advance(&officer(), &request, &json!({"action": "fulfil", "answer": "Canary answer"})).expect(200);
    let seen = |house: &House| house.get(&format!("/v1/requests/{request}")).by(&officer()).send().expect(200).json();
    house.home.turn(days(364));
    assert_eq!(house.wait(house.vault.sweep()).unwrap().files, 0);
    assert_eq!(seen(&house)["answer"], "Canary answer");
    house.home.turn(days(1));
    let swept = house.wait(house.vault.sweep()).unwrap();
    assert_eq!((swept.files, swept.failed), (1, 0));
    let left = seen(&house);
    assert_eq!(left["status"], "fulfilled");
    for gone in ["answer", "message", "subject"] {
        assert!(left.get(gone).is_none(), "{gone}");
    }
    assert_eq!(house.wait(house.vault.sweep()).unwrap().files, 0);
    // The person is there, and may ask again.
    let writer = house.caller(CallerKind::Service, &[Role::Writer], &["a-account"]);
    let again = house.ask_by(&writer, "question", &subject, &json!({"message": "Canary question"})).expect(201).json();
    assert!(again.get("duplicate_of").is_none());
}

#[test]
fn promise_p45_no_code_goes_to_an_address_that_the_person_wrote_within_the_week() {
    let house = House::start();
    let (subject, old) = (house.ada(), format!("old{}@example.net", house.number()));
    let record = house.write(&subject, &["a-account"], json!({"name": "Ada", "email": old}));
    let me = || house.own_token(&house.portal(&["x-rights", "a-account"]), &subject);
    let request = house.ask_by(&me(), "access", "me", &json!({})).expect(201).member("request_id");
    let send = || house.advance(&me(), &request, &json!({"action": "verify"}));
    let letters = |to: &str| house.mails().iter().filter(|mail| mail.header("To").contains(to)).count();
    let path = format!("/v1/subjects/{subject}/records");
    let added = json!({"kind": "contact", "fields": {"email": "added@example.net"}});
    house.post(&path, &added).by(&me()).purpose("a-account").send().expect(201);
    send().expect(200);
    house.deliver();
    assert_eq!((letters("added@example.net"), letters(&old)), (0, 1), "it goes to the older one");
    // The letter is on its way when the only older address is changed.
    send().expect(200);
    let path = format!("{path}/{record}");
    let body = json!({"fields": {"email": "changed@example.net"}});
    house.patch(&path, &body).by(&me()).purpose("a-account").header("if-match", "\"1\"").send().expect(200);
    house.deliver();
    send().refused(403, "verification-required");
    assert_eq!((letters("changed@example.net"), letters("added@example.net"), letters(&old)), (0, 0, 1));
    house.home.turn(days(7));
    send().expect(200);
    house.deliver();
    assert_eq!(letters("changed@example.net") + letters("added@example.net"), 1, "one that stood for a week will do");
}

#[test]
fn promise_p56_one_closure_runs_at_a_time_and_every_end_of_it_opens_the_account_again() {
    let house = House::start();
    let subject = house.ada();
    house.contact(&subject);
    let (officer, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let me = house.own_token(&house.portal(&["x-rights"]), &subject);
    // An officer's that waits, and the person's own, exclude each other.
    let first = house.ask_by(&second, "account-closure", &subject, &json!({})).expect(201).member("request_id");
    house.ask_by(&me, "account-closure", "me", &json!({})).refused(409, "state-conflict");
    house.advance(&me, &first, &json!({"action": "revoke"})).expect(200);
    let request = house.ask_by(&second, "account-closure", &subject, &json!({})).expect(201).member("request_id");
    house.see_document(&request);
    let accept = || house.advance(&officer, &request, &json!({"action": "accept"})).expect(200);
    let propose = || house.advance(&officer, &request, &json!({"action": "deny", "reason": "suspected_fraud"})).expect(200);
    let is_closed = || house.read(&subject, "a-account", "name").status == 410;
    // What is accepted while its denial is proposed closes as well.
    propose();
    let closing = accept().json();
    assert!(closing["processing_details"].is_string() && is_closed(), "{closing}");
    propose();
    assert!(is_closed());
    house.advance(&officer, &request, &json!({"action": "reopen"})).expect(200);
    assert!(!is_closed(), "a request that is open again has closed nothing");
    accept();
    assert!(is_closed());
    propose();
    house.advance(&officer, &request, &json!({"action": "reopen"})).expect(200);
    for _ in 0..3 {
        house.advance(&me, &request, &json!({"action": "verify"})).expect(200);
        house.advance(&me, &request, &json!({"action": "verify", "code": "000000"})).refused(403, "wrong-code");
    }
    assert_eq!(house.request(&request)["status"], "denied");
    house.home.turn(days(20));
    assert_eq!(house.wait(house.vault.sweep()).unwrap().closed, 0);
    assert!(!is_closed());
}

#[test]
fn requests_that_a_person_took_back_make_room_and_an_officer_always_has_some() {
    let house = House::start();
    let subject = house.ada();
    let portal = house.portal(&["x-rights"]);
    let officer = || house.caller(CallerKind::Person, &[Role::PrivacyOfficer], &[]);
    let ask = || house.ask_by(&house.own_token(&portal, &subject), "access", "me", &json!({}));
    let mut asked = Vec::new();
    for _ in 0..3 {
        for _ in 0..16 {
            asked.push(ask().expect(201).member("request_id"));
        }
        ask().refused(429, "rate-limited");
        house.home.turn(days(1));
    }
    ask().refused(409, "state-conflict");
    house.ask_by(&officer(), "erasure", &subject, &json!({})).expect(201);
    house.ask_by(&officer(), "objection", &subject, &json!({})).expect(201);
    let me = house.own_token(&portal, &subject);
    for request in &asked[..4] {
        house.advance(&me, request, &json!({"action": "revoke"})).expect(200);
    }
    ask().refused(409, "state-conflict");
    house.home.turn(days(1));
    ask().expect(201);
    let left = house.get(&format!("/v1/requests/{}", asked[0])).by(&officer()).send().expect(200).json();
    assert!(left["status"] == "revoked" && left.get("subject").is_none(), "{left}");
    house.erase_subject(&subject).expect(200);
}
