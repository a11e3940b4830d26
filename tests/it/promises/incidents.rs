//! p52 and p53: training, and incidents: whom they concern, by when whom to tell, and the letters.

#![expect(clippy::print_stderr, reason = "a test that takes long says what it saw")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jiff::SignedDuration;
use oubliette::audit::note;
use oubliette::model::caller::{CallerKind, Grounds, Role};
use oubliette::model::ids::{IncidentId, SubjectId};
use oubliette::model::wire::ReadRecords;
use oubliette::store::{Batch, Store};
use oubliette::vault::call::Call;
use serde_json::{Value, json};

use crate::house::{House, Token, notice};
use crate::https::Reply;

impl House {
    /// The id of a token, which is no secret.
    fn token_id(&self, token: &Token) -> String {
        self.vault.authenticate(&token.text).unwrap().token.to_string()
    }

    /// A new incident's address.
    pub(crate) fn new_incident(&self) -> String {
        let mut bytes = [0x3c; 16];
        bytes[..8].copy_from_slice(&self.number().to_be_bytes());
        format!("/v1/incidents/{}", IncidentId::from_bytes(bytes))
    }

    /// Opens an incident: its address.
    fn open_incident(&self, more: &Value) -> String {
        let path = self.new_incident();
        self.put(&path, &incident(more)).by(&self.holder(Role::SecurityOfficer)).send().expect(201);
        path
    }

    /// What is known of an incident, with everybody on one page.
    fn known(&self, path: &str, role: Role) -> Value {
        self.get(&format!("{path}?limit=500")).by(&self.holder(role)).send().expect(200).json()
    }

    /// A consumer of a jurisdiction, with a contact.
    fn dweller(&self, jurisdiction: &str) -> String {
        let email = format!("dweller{}@example.org", self.number());
        let aliases = json!([{"type": "email", "value": email}]);
        let body = json!({"class": "consumer", "jurisdiction": jurisdiction, "aliases": aliases, "notice": notice()});
        let writer = self.holder(Role::Writer);
        let subject = self.post("/v1/subjects", &body).by(&writer).purpose("a-account").send().expect(201).member("id");
        self.write(&subject, &["a-account"], json!({"name": "Ada", "email": email}));
        subject
    }

    fn read_by(&self, token: &Token, subject: &str, fields: &str) -> Reply {
        self.get(&format!("/v1/subjects/{subject}/records?fields={fields}")).by(token).purpose("a-account").send()
    }

    /// How many rows there are under a letter.
    fn rows(&self, letter: &[u8]) -> usize {
        self.store.as_ref().unwrap().scan(letter, None, 100_000).unwrap().len()
    }
}

/// An incident with these members, the usual others beside them.
fn incident(more: &Value) -> Value {
    let mut body = json!({"kind": "leaked-token", "detected_at": "2026-11-23T10:00:00Z", "severity": "high"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The subjects of a list of people.
fn subjects(known: &Value) -> BTreeSet<String> {
    known["people"].as_array().unwrap().iter().map(|one| one["subject"].as_str().unwrap().to_owned()).collect()
}

fn clocks(known: &Value) -> Vec<(String, i64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let clocks = known["clocks"].as_array().unwrap().iter();
    clocks.map(|clock| (text(&clock["authority"]), clock["hours"].as_i64().unwrap(), text(&clock["due_at"]))).collect()
}

#[test]
fn promise_p52_a_person_whose_training_has_ended_has_no_access_until_it_is_renewed() {
    let house = House::start();
    let officer = house.holder(Role::SecurityOfficer);
    let ada = house.dweller("DE");
    let desk = house.caller(CallerKind::Person, &[Role::Reader], &["a-account"]);
    let attest = |day: &str| {
        let body = json!({"name": "desk", "kind": "person", "roles": ["reader"], "purposes": ["a-account"], "trained_at": day});
        house.put(&format!("/v1/callers/{}", desk.id), &body).by(&officer).send().expect(200);
    };
    house.read_by(&desk, &ada, "name").expect(200);
    attest("2025-11-22");
    house.read_by(&desk, &ada, "name").refused(403, "training-required");
    let tokens = format!("/v1/callers/{}/tokens", desk.id);
    house.post(&tokens, &json!({})).by(&officer).send().refused(403, "training-required");
    attest("2025-11-25");
    house.read_by(&desk, &ada, "name").expect(200);
    // It ends by itself, and the token with it.
    house.home.turn(SignedDuration::from_hours(24 * 4));
    house.read_by(&desk, &ada, "name").refused(403, "training-required");
}

#[test]
fn promise_p53_a_leaked_tokens_incident_names_exactly_those_whom_it_read() {
    let house = House::start();
    let people: Vec<String> = (0..12).map(|number| house.dweller(if number % 3 == 0 { "FR" } else { "DE" })).collect();
    let leaked = house.caller(CallerKind::Service, &[Role::Reader], &["a-account"]);
    let officer = house.holder(Role::SecurityOfficer);
    let issued = house.post(&format!("/v1/callers/{}/tokens", leaked.id), &json!({})).by(&officer).send().expect(201);
    let sound = Token { text: issued.member("token"), ..leaked.clone() };
    let other = house.holder(Role::Reader);
    // The leaked token reads some, twice; others are read by the same caller's sound token and by others; some calls are refused.
    for subject in &people[..5] {
        house.read_by(&leaked, subject, "name").expect(200);
    }
    house.read_by(&leaked, &people[1], "email").expect(200);
    house.read_by(&sound, &people[6], "name").expect(200);
    house.read_by(&other, &people[7], "name").expect(200);
    let marketing = house.get(&format!("/v1/subjects/{}/records", people[8])).by(&leaked).purpose("c-marketing").send();
    marketing.refused(403, "purpose-not-granted");
    let token = house.token_id(&leaked);
    let path = house.open_incident(&json!({"scope": {"token": token}}));

    let known = house.known(&path, Role::SecurityOfficer);
    let read: BTreeSet<String> = people[..5].iter().cloned().collect();
    assert_eq!(subjects(&known), read);
    assert_eq!(known["affected"]["people"], 5);
    assert_eq!(known["affected"]["erased"], 0);
    assert_eq!(known["affected"]["jurisdictions"], json!({"DE": 3, "FR": 2}));
    assert_eq!(
        (&known["affected"]["fields"], &known["affected"]["purposes"]),
        (&json!(["email", "name"]), &json!(["a-account"]))
    );
    assert_eq!(known["affected"]["operations"], json!({"readRecords": 6}));
    let second = known["people"].as_array().unwrap().iter().find(|one| one["subject"] == people[1].as_str()).unwrap();
    assert_eq!((&second["calls"], &second["fields"]), (&json!(2), &json!(["name", "email"])));
    // 72 hours for each authority, from when it was found out.
    let due = |authority: &str| (authority.to_owned(), 72, "2026-11-26T10:00:00Z".to_owned());
    assert_eq!(clocks(&known), [due("de-bfdi"), due("fr-cnil")]);
    assert_eq!(known["overdue"], false);

    // A page at a time it is the same list.
    let (mut paged, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = house.get(&format!("{path}?limit=2{cursor}")).by(&officer).send().expect(200).json();
        assert!(page["people"].as_array().unwrap().len() <= 2);
        paged.extend(subjects(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, read);

    // An auditor sees tags, which the trail has, and nobody.
    let audited = house.known(&path, Role::Auditor);
    let tags: BTreeSet<&str> = audited["people"].as_array().unwrap().iter().map(|one| one["tag"].as_str().unwrap()).collect();
    assert!(tags.len() == 5 && audited["people"].as_array().unwrap().iter().all(|one| one.get("subject").is_none()));
    let events = house.events(&format!("&caller={}", leaked.id));
    let of_token = events.iter().filter(|event| event["token"] == token.as_str() && event["outcome"] == "allowed");
    assert_eq!(tags, of_token.map(|event| event["subject_tag"].as_str().unwrap()).collect());

    // A later read is in the next answer; the whole caller, and a span of time, are other scopes.
    house.read_by(&leaked, &people[10], "name").expect(200);
    assert_eq!(subjects(&house.known(&path, Role::PrivacyOfficer)).len(), 6);
    let whole = house.open_incident(&json!({"scope": {"caller": leaked.id.to_string()}}));
    assert_eq!(subjects(&house.known(&whole, Role::PrivacyOfficer)).len(), 7);
    let before = house.open_incident(&json!({"scope": {"until": "2026-11-23T09:59:00Z"}}));
    assert!(subjects(&house.known(&before, Role::PrivacyOfficer)).is_empty());
    let group = house.open_incident(&json!({"scope": {"token": token, "group": "marketing"}}));
    assert!(subjects(&house.known(&group, Role::PrivacyOfficer)).is_empty());

    // Of who is erased only the number is left, here and wherever the incident shows.
    house.erase_subject(&people[0]);
    let known = house.get(&format!("{path}?limit=500")).by(&officer).send().expect(200);
    assert!(!known.text().contains(&people[0]));
    let known = known.json();
    assert_eq!((&known["affected"]["people"], &known["affected"]["erased"]), (&json!(5), &json!(1)));
    assert_eq!(known["people"].as_array().unwrap().len(), 5);
    // The clock of France has lost one of two people and runs on, whoever looks.
    assert_eq!(known["clocks"][1]["people"], 2);
    house.vault_seals_and_opens();
    let known = house.known(&path, Role::PrivacyOfficer);
    assert_eq!((&known["affected"]["erased"], subjects(&known).len()), (&json!(1), 5));
}

#[test]
fn promise_p53_the_list_is_what_was_read_for_random_histories_of_reads_look_ups_and_queries() {
    let house = House::start();
    let people: Vec<String> = (0..25).map(|_| house.dweller("DE")).collect();
    let emails: Vec<String> = people
        .iter()
        .map(|subject| {
            house.read(subject, "a-account", "email").json()["records"][0]["fields"]["email"].as_str().unwrap().to_owned()
        })
        .collect();
    let tokens: Vec<Token> =
        (0..3).map(|_| house.caller(CallerKind::Service, &[Role::Reader, Role::Writer], &["a-account"])).collect();
    let mut seen: Vec<BTreeSet<String>> = vec![BTreeSet::new(); tokens.len()];
    let mut changed = seen.clone();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..150 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (who, whom, what) = ((random >> 33) as usize % 3, (random >> 40) as usize % people.len(), (random >> 50) % 5);
        let subject = &people[whom];
        match what {
            0 | 1 => drop(house.read_by(&tokens[who], subject, "name").expect(200)),
            2 => {
                let body = json!({"type": "email", "value": emails[whom]});
                house.post("/v1/subject-lookups", &body).by(&tokens[who]).purpose("a-account").send().expect(200);
            }
            3 => drop(house.get(&format!("/v1/subjects/{subject}")).by(&tokens[who]).send().expect(200)),
            _ => {
                let body = json!({"kind": "contact", "purposes": ["a-account"], "fields": {"name": "A"}});
                let path = format!("/v1/subjects/{subject}/records");
                house.post(&path, &body).by(&tokens[who]).purpose("a-account").send().expect(201);
                changed[who].insert(subject.clone());
                continue;
            }
        }
        seen[who].insert(subject.clone());
    }
    for (number, token) in tokens.iter().enumerate() {
        let scope = |changes: bool| json!({"scope": {"token": house.token_id(token), "changes": changes}});
        let path = house.open_incident(&scope(false));
        assert_eq!(subjects(&house.known(&path, Role::SecurityOfficer)), seen[number]);
        let path = house.open_incident(&scope(true));
        let both: BTreeSet<String> = seen[number].union(&changed[number]).cloned().collect();
        assert_eq!(subjects(&house.known(&path, Role::SecurityOfficer)), both);
    }
    // A query opens everybody whom it looks at.
    let body = json!({"fields": ["name"]});
    house.post("/v1/queries", &body).by(&tokens[0]).purpose("a-account").send().expect(200);
    let path = house.open_incident(&json!({"scope": {"token": house.token_id(&tokens[0])}}));
    let known = house.known(&path, Role::SecurityOfficer);
    assert_eq!(subjects(&known), people.iter().cloned().collect());
    assert_eq!(known["affected"]["without_person"], json!({"queryRecords": 1}));
}

#[test]
fn promise_p53_the_key_of_an_epoch_concerns_everybody_who_was_there_in_it() {
    let house = House::start();
    let (before, there) = (house.dweller("DE"), house.dweller("CN"));
    let admin = house.holder(Role::KeyAdmin);
    let rotate = || house.post("/v1/keys/operations", &json!({"operation": "rotate-epoch"})).by(&admin).send().expect(200);
    house.erase_subject(&before);
    let keys = house.get("/v1/keys").by(&admin).send().expect(200).json();
    let epoch = keys["keys"].as_array().unwrap().iter().find_map(|key| key["epoch"].as_u64()).unwrap();
    rotate();
    let new = house.dweller("DE");
    let path = house.open_incident(&json!({"kind": "leaked-key", "scope": {"epoch": epoch}}));
    let known = house.known(&path, Role::SecurityOfficer);
    assert_eq!(subjects(&known), BTreeSet::from([there.clone()]), "{}", known["affected"]);
    assert_eq!(known["affected"]["everything"], true);
    let path = house.open_incident(&json!({"kind": "leaked-key", "scope": {"epoch": epoch + 1}}));
    assert_eq!(subjects(&house.known(&path, Role::SecurityOfficer)), BTreeSet::from([there, new]));
    let refused = house.put(&house.new_incident(), &incident(&json!({"scope": {"epoch": epoch + 9}})));
    refused.by(&house.holder(Role::SecurityOfficer)).send().refused(422, "invalid-body");
}

#[test]
fn promise_p53_china_is_told_within_its_own_hours_and_each_clock_alarms_as_it_runs_out() {
    let house = House::of_controllers(1);
    let (li, ada) = (house.dweller("CN"), house.dweller("DE"));
    let leaked = house.caller(CallerKind::Service, &[Role::Reader], &["a-account"]);
    house.read_by(&leaked, &li, "name").expect(200);
    house.read_by(&leaked, &ada, "name").expect(200);
    let scope = json!({"scope": {"token": house.token_id(&leaked)}});
    let path = house.open_incident(&scope);
    let hours = |known: &Value| clocks(known).into_iter().map(|(authority, hours, _)| (authority, hours)).collect::<Vec<_>>();
    let known = house.known(&path, Role::PrivacyOfficer);
    assert_eq!(hours(&known), [("cn-cac".to_owned(), 24), ("de-bfdi".to_owned(), 72)]);

    // One message to the officer for each clock as it begins, none again for the same.
    assert_eq!(house.rows(b"w"), 2);
    house.wait(house.vault.sweep()).unwrap();
    assert_eq!(house.rows(b"w"), 2);
    // Half of China's day; then four fifths of it; then it is over, and half of Europe's time too.
    for (turn, messages) in [(12, 3), (8, 4), (5, 5), (11, 6), (1, 6)] {
        house.home.turn(SignedDuration::from_hours(turn));
        house.wait(house.vault.sweep()).unwrap();
        assert_eq!(house.rows(b"w"), messages, "after {turn} hours more");
    }
    let known = house.known(&path, Role::PrivacyOfficer);
    assert_eq!(
        (&known["overdue"], &known["clocks"][0]["overdue"], &known["clocks"][1]["overdue"]),
        (&json!(true), &json!(true), &json!(false))
    );
    let listed = house.get("/v1/incidents").by(&house.holder(Role::Auditor)).send().expect(200).json();
    assert_eq!((&listed["incidents"][0]["overdue"], &listed["incidents"][0]["state"]), (&json!(true), &json!("open")));

    // Critical infrastructure: one hour.
    let critical = house.open_incident(&json!({"scope": scope["scope"], "critical_infrastructure": true}));
    assert_eq!(hours(&house.known(&critical, Role::PrivacyOfficer))[0], ("cn-cac".to_owned(), 1));
}

#[test]
fn promise_p53_an_authority_is_told_in_phases_by_a_signed_text_and_late_only_with_a_reason() {
    let house = House::start();
    let ada = house.dweller("DE");
    let leaked = house.caller(CallerKind::Service, &[Role::Reader], &["a-account"]);
    house.read_by(&leaked, &ada, "name,email").expect(200);
    let officer = house.holder(Role::PrivacyOfficer);
    let path = house.open_incident(&json!({"scope": {"token": house.token_id(&leaked)}, "nature": "A token was published."}));
    let report = |body: Value| house.post(&format!("{path}/reports"), &body).by(&officer).send();
    report(json!({"authority": "nobody", "phase": "initial"})).refused(422, "invalid-body");
    report(json!({"authority": "de-bfdi", "phase": "follow-up"})).refused(409, "state-conflict");
    house.home.turn(SignedDuration::from_hours(73));
    report(json!({"authority": "de-bfdi", "phase": "initial"})).refused(422, "invalid-body");
    report(json!({"authority": "de-bfdi", "phase": "initial", "reason": "ask ada@example.org"})).refused(422, "invalid-body");
    let told =
        report(json!({"authority": "de-bfdi", "phase": "initial", "reason": "The trail had to be read first."})).expect(201);
    let text = told.member("text");
    let name = std::fs::read_to_string(house.home.path().join("vault.pub")).unwrap();
    let said = note::verified(&text, name.split('+').next().unwrap(), &house.home.public_key()).unwrap();
    assert!(
        note::verified(&text.replace("published", "kept"), name.split('+').next().unwrap(), &house.home.public_key()).is_err()
    );
    let said: Value = serde_json::from_str(said.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&said["phase"], &said["people"]), (&json!("initial"), &json!({"about": 1, "jurisdictions": {"DE": 1}})));
    assert_eq!(
        (&said["nature"], &said["categories"]),
        (&json!("A token was published."), &json!(["pd:EmailAddress", "pd:Name"]))
    );
    assert!(!text.contains(&ada) && !text.contains("Ada"));
    let known = house.known(&path, Role::PrivacyOfficer);
    let clock = &known["clocks"][0];
    assert_eq!((&clock["overdue"], &clock["late"], &known["overdue"]), (&json!(false), &json!(true), &json!(false)));
    assert_eq!(clock["reported_at"], "2026-11-26T11:00:00Z");

    report(json!({"authority": "de-bfdi", "phase": "initial", "reason": "again"})).refused(409, "state-conflict");
    report(json!({"authority": "de-bfdi", "phase": "follow-up"})).expect(201);
    report(json!({"authority": "de-bfdi", "phase": "final"})).expect(201);
    report(json!({"authority": "de-bfdi", "phase": "follow-up"})).refused(409, "state-conflict");
    let known = house.known(&path, Role::PrivacyOfficer);
    let phases: Vec<&str> = known["reports"].as_array().unwrap().iter().map(|one| one["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["initial", "follow-up", "final"]);
}

#[test]
fn promise_p53_the_people_are_written_to_once_each_whenever_the_process_ends() {
    let house = House::of_controllers(1);
    let people: Vec<String> = (0..60).map(|_| house.dweller("DE")).collect();
    let leaked = house.caller(CallerKind::Service, &[Role::Reader], &["a-account"]);
    people.iter().for_each(|subject| drop(house.read_by(&leaked, subject, "name").expect(200)));
    let scope = json!({"token": house.token_id(&leaked)});
    let path = house.open_incident(&json!({"scope": scope}));
    let officer = house.holder(Role::PrivacyOfficer);
    let write = |house: &House| house.post(&format!("{path}/letters"), &json!({})).by(&officer).send();
    house.erase_subject(&people[0]);
    let begun = write(&house).expect(200).json();
    assert_eq!((&begun["queued"], &begun["done"]), (&json!(50), &json!(false)));
    assert_eq!(house.rows(b"b"), 50);

    // The process ends in the middle; the vault goes on by itself. Nobody twice.
    let house = house.restart();
    house.wait(house.vault.sweep()).unwrap();
    assert_eq!(house.rows(b"b"), 59);
    let known = house.known(&path, Role::PrivacyOfficer);
    assert_eq!((&known["letters"]["queued"], &known["letters"]["done"]), (&json!(59), &json!(true)));
    assert_eq!(write(&house).expect(200).json()["queued"], 59);
    house.wait(house.vault.sweep()).unwrap();
    // Somebody who was read later, once.
    let late = house.dweller("DE");
    house.read_by(&leaked, &late, "name").expect(200);
    house.read_by(&leaked, &people[1], "name").expect(200);
    assert_eq!(write(&house).expect(200).json()["queued"], 60);
    assert_eq!(house.rows(b"b"), 60);
    assert_eq!(house.known(&path, Role::PrivacyOfficer)["letters"]["queued"], 60);
    house.erase_subject(&people[1]);
    assert_eq!(house.rows(b"b"), 59, "a letter goes with its person");

    // Letters fix whom the incident is about.
    let etag = house.get(&path).by(&officer).send().expect(200).header("etag").unwrap().to_owned();
    let other = incident(&json!({"scope": {"caller": leaked.id.to_string()}}));
    house.put(&path, &other).by(&officer).header("if-match", &etag).send().refused(409, "state-conflict");
}

#[test]
fn a_letter_of_an_incident_is_one_of_the_controllers_that_warns_and_whose_places_can_be_filled() {
    let house = House::start();
    let ada = house.dweller("DE");
    let leaked = house.caller(CallerKind::Service, &[Role::Reader], &["a-account"]);
    house.read_by(&leaked, &ada, "name").expect(200);
    let path = house.open_incident(&json!({"scope": {"token": house.token_id(&leaked)}}));
    let officer = house.holder(Role::PrivacyOfficer);
    let write = |body: Value| house.post(&format!("{path}/letters"), &body).by(&officer).send();
    for unfit in ["nonsense", "service", "request-denied", "alarm"] {
        let refused = write(json!({"template": unfit})).refused(422, "invalid-body");
        assert!(refused.text().contains("/template"), "{}", refused.text());
    }
    assert_eq!(house.known(&path, Role::PrivacyOfficer)["letters"], Value::Null);
    assert_eq!(write(json!({"template": "security"})).expect(200).json()["queued"], 1);
}

#[test]
fn promise_p53_who_fulfils_a_request_or_issues_a_persons_token_could_have_read_that_person() {
    let house = House::of_controllers(2);
    let (ada, ben, eve) = (house.dweller("DE"), house.dweller("DE"), house.dweller("DE"));
    let people = |scope: Value| {
        let path = house.open_incident(&json!({"scope": scope}));
        subjects(&house.known(&path, Role::SecurityOfficer))
    };
    // The officer's token never reads; the code that it is answered fetches everything.
    let officer = house.caller(CallerKind::Person, &[Role::PrivacyOfficer], &["x-rights"]);
    let request = house.verified_request(&ada);
    house.advance(&officer, &request, &json!({"action": "accept"})).expect(200);
    let code = house.advance(&officer, &request, &json!({"action": "fulfil"})).expect(200).member("download_code");
    house.get(&format!("/v1/requests/{request}/result")).header("vault-claim", &code).send().expect(200);
    assert_eq!(people(json!({"token": house.token_id(&officer)})), BTreeSet::from([ada.clone()]));
    assert_eq!(people(json!({"caller": officer.id.to_string()})), BTreeSet::from([ada.clone()]));
    assert_eq!(people(json!({"token": house.token_id(&officer), "group": "marketing"})), BTreeSet::from([ada.clone()]));
    // What was fetched by the code alone is this controller's, and no other's.
    let fetched = |events: Vec<Value>| events.iter().filter(|event| event["operation"] == "getRequestResult").count();
    assert_eq!(fetched(house.events("")), 1);
    let theirs = house.get("/v1/audit/events?limit=500").by(&house.holder_of(1, Role::Auditor, 0)).send().expect(200).json();
    assert_eq!(fetched(theirs["events"].as_array().unwrap().clone()), 0);
    // A portal reads nobody itself; the tokens that it issues do.
    let portal = house.portal(&["a-account"]);
    let own = house.own_token(&portal, &ben);
    house.read_by(&own, "me", "name").expect(200);
    house.own_token(&house.portal(&["a-account"]), &eve);
    assert_eq!(people(json!({"token": house.token_id(&portal)})), BTreeSet::from([ben]));
}

#[test]
fn an_incident_is_changed_by_who_saw_its_last_version_and_takes_nothing_that_names_somebody() {
    let house = House::start();
    let officer = house.holder(Role::PrivacyOfficer);
    let path = house.new_incident();
    let put = |body: &Value, etag: Option<&str>| {
        let ask = house.put(&path, body).by(&officer);
        etag.map_or_else(|| house.put(&path, body).by(&officer), |etag| ask.header("if-match", etag)).send()
    };
    put(&incident(&json!({})), Some("\"1\"")).refused(412, "stale");
    put(&incident(&json!({"state": "closed"})), None).refused(409, "state-conflict");
    for bad in [
        json!({"kind": "ada@example.org"}),
        json!({"nature": "Ask ada@example.org."}),
        json!({"measures": "Call +49 30 1234567."}),
        json!({"detected_at": "2026-11-23T11:00:00Z"}),
        json!({"detected_at": "0001-01-01T00:00:00Z"}),
        json!({"detected_at": "2016-11-20T10:00:00Z"}),
        json!({"scope": {}}),
        json!({"scope": {"group": "nobody"}}),
        json!({"scope": {"from": "2026-11-23T10:00:00Z", "until": "2026-11-23T10:00:00Z"}}),
        json!({"scope": {"certificate": "short"}}),
        json!({"scope": {"subject": "sub_00000000000000000000000000"}}),
        json!({"severity": "bad"}),
    ] {
        put(&incident(&bad), None).refused(422, "invalid-body");
    }
    let made = put(&incident(&json!({"nature": "A desk was left open."})), None).expect(201);
    assert_eq!((made.header("location"), made.header("etag")), (Some(&path[..]), Some("\"1\"")));
    put(&incident(&json!({})), None).refused(428, "if-match-required");
    // The clocks are never turned back.
    put(&incident(&json!({"detected_at": "2026-11-23T10:00:01Z"})), Some("\"1\"")).refused(422, "invalid-body");
    put(&incident(&json!({"detected_at": "2026-11-23T09:00:00Z", "state": "contained"})), Some("\"1\"")).expect(200);
    put(&incident(&json!({"state": "closed"})), Some("\"1\"")).refused(412, "stale");
    let contained = json!({"detected_at": "2026-11-23T09:00:00Z", "state": "closed"});
    put(&incident(&contained), Some("\"2\"")).expect(200);
    put(&incident(&contained), Some("\"3\"")).refused(409, "state-conflict");
    house.post(&format!("{path}/letters"), &json!({})).by(&officer).send().refused(409, "state-conflict");
    let body = json!({"authority": "de-bfdi", "phase": "initial"});
    house.post(&format!("{path}/reports"), &body).by(&officer).send().refused(409, "state-conflict");
}

#[test]
fn an_incident_of_one_controller_is_nothing_to_another_and_concerns_nobody_of_theirs() {
    let house = House::of_controllers(2);
    let ada = house.dweller("DE");
    let leaked = house.caller(CallerKind::Service, &[Role::Reader], &["a-account"]);
    house.read_by(&leaked, &ada, "name").expect(200);
    let path = house.open_incident(&json!({"scope": {"token": house.token_id(&leaked)}}));
    assert_eq!(subjects(&house.known(&path, Role::PrivacyOfficer)).len(), 1);
    let theirs = house.holder_of(1, Role::PrivacyOfficer, 0);
    house.get(&path).by(&theirs).send().refused(404, "not-found");
    house.put(&path, &incident(&json!({}))).by(&theirs).header("if-match", "\"1\"").send().refused(404, "not-found");
    assert_eq!(house.get("/v1/incidents").by(&theirs).send().expect(200).json()["incidents"], json!([]));
    let own = house.new_incident();
    house.put(&own, &incident(&json!({"scope": {"token": house.token_id(&leaked)}}))).by(&theirs).send().expect(201);
    let known = house.get(&own).by(&theirs).send().expect(200).json();
    assert_eq!((&known["people"], &known["affected"]["erased"]), (&json!([]), &json!(0)));
}

#[test]
fn a_run_of_wrong_credentials_opens_an_incident_by_itself_and_no_second_one() {
    let house = House::start();
    let wrong = format!("Bearer oub_{}", "0".repeat(52));
    let try_all = |count: usize| {
        for _ in 0..count {
            house.get("/v1/keys").header("authorization", &wrong).send().refused(401, "unauthenticated");
        }
        house.wait(house.vault.sweep()).unwrap();
        let listed = house.get("/v1/incidents").by(&house.holder(Role::SecurityOfficer)).send().expect(200).json();
        let kinds = listed["incidents"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap().to_owned());
        kinds.collect::<Vec<_>>()
    };
    assert!(try_all(99).is_empty());
    house.home.turn(SignedDuration::from_hours(1));
    assert_eq!(try_all(100), ["wrong-credentials"]);
    assert_eq!(try_all(100), ["wrong-credentials"]);
}

#[test]
fn a_row_that_does_not_open_opens_an_incident_by_itself() {
    let house = House::of_controllers(1);
    let ada = house.dweller("DE");
    let store = house.store.as_ref().unwrap();
    let key = [b"s".as_slice(), ada.parse::<SubjectId>().unwrap().bytes()].concat();
    let mut row = store.row(&key).unwrap().unwrap();
    *row.last_mut().unwrap() ^= 1;
    let mut batch = Batch::default();
    batch.put(key, row);
    store.commit(&batch).unwrap();
    house.wait(house.vault.sweep()).unwrap();
    let listed = house.get("/v1/incidents").by(&house.holder(Role::SecurityOfficer)).send().expect(200).json();
    assert_eq!((&listed["incidents"][0]["kind"], listed["incidents"].as_array().unwrap().len()), (&json!("damaged-row"), 1));
    assert!(!listed.to_string().contains(&ada[4..]));
}

#[test]
fn security_txt_says_whom_to_write_to_for_how_long_and_by_which_policy() {
    let house = House::start_with(|config| {
        config.server.security_contact = Some("mailto:security@example.org".into());
        config.server.security_policy = Some("https://example.org/security".into());
    });
    let page = house.get("/.well-known/security.txt").send().expect(200);
    assert_eq!(page.header("content-type"), Some("text/plain; charset=utf-8"));
    let text = page.text();
    let fields: BTreeMap<&str, &str> = text.lines().map(|line| line.split_once(": ").unwrap()).collect();
    assert_eq!((fields["Contact"], fields["Policy"]), ("mailto:security@example.org", "https://example.org/security"));
    // RFC 9116 section 2.5.5: once, not past, and best within a year.
    let expires: jiff::Timestamp = fields["Expires"].parse().unwrap();
    let left = expires.duration_since("2026-11-23T10:00:00Z".parse().unwrap());
    assert!(left > SignedDuration::from_hours(24 * 30) && left < SignedDuration::from_hours(24 * 365), "{left}");
    assert_eq!(text.matches("Expires: ").count(), 1);
    House::start().get("/.well-known/security.txt").send().refused(404, "not-found");
}

/// `OUBLIETTE_INCIDENT="10000 100000" cargo test --release --test it many_people -- --nocapture` prints how long the full size
/// takes; docs/PERFORMANCE.md has the figures.
#[test]
fn promise_p53_many_people_and_reads_are_found_exactly() {
    let sizes = std::env::var("OUBLIETTE_INCIDENT").unwrap_or_else(|_| "300 1500".into());
    let sizes: Vec<usize> = sizes.split(' ').map(|size| size.parse().unwrap()).collect();
    let (count, reads) = (sizes[0], sizes[1]);
    let house = House::start_with(|config| config.limits.people_per_hour = 0);
    let writer = house.holder(Role::Writer);
    let mut people = Vec::new();
    for first in (0..count).step_by(1_000) {
        let body = |number: usize| {
            let aliases = json!([{"type": "external_id", "value": format!("many-{number}")}]);
            json!({"class": "consumer", "jurisdiction": "DE", "aliases": aliases, "notice": notice()})
        };
        let bodies: Vec<Value> = (first..count.min(first + 1_000)).map(body).collect();
        let made = house.post("/v1/subjects:batch", &json!(bodies)).by(&writer).purpose("a-account").send().expect(200).json();
        let items = made.as_array().or_else(|| made["items"].as_array()).unwrap_or_else(|| panic!("{made}"));
        let id = |item: &Value| {
            item["id"].as_str().or_else(|| item["body"]["id"].as_str()).unwrap_or_else(|| panic!("{item}")).to_owned()
        };
        people.extend(items.iter().map(id));
        let bodies: Vec<Value> = people[first..]
            .iter()
            .map(|subject| json!({"subject": subject, "record": {"kind": "contact", "purposes": ["a-account"], "fields": {"name": "Ada"}}}))
            .collect();
        house.post("/v1/records:batch", &json!(bodies)).by(&writer).purpose("a-account").send().expect(200);
    }
    // One token of ten leaked; each reads whom chance gives it.
    let tokens: Vec<Token> = (0..10).map(|_| house.caller(CallerKind::Service, &[Role::Reader], &["a-account"])).collect();
    let ids: Vec<SubjectId> = people.iter().map(|subject| subject.parse().unwrap()).collect();
    let callers: Vec<_> = tokens.iter().map(|token| house.vault.authenticate(&token.text).unwrap()).collect();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut read = BTreeSet::new();
    let mut plan = Vec::with_capacity(reads);
    for _ in 0..reads {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (who, whom) = ((random >> 33) as usize % tokens.len(), (random >> 40) as usize % ids.len());
        if who == 0 {
            read.insert(people[whom].clone());
        }
        plan.push((callers[who].clone(), ids[whom]));
    }
    house.wait(async {
        let mut tasks = tokio::task::JoinSet::new();
        for part in plan.chunks(plan.len().div_ceil(64)) {
            let (vault, part) = (house.vault.clone(), part.to_vec());
            tasks.spawn(async move {
                for (caller, subject) in part {
                    let purpose = Some("a-account".to_owned());
                    let call = Call { caller, purpose, idempotency: None, if_match: None, gpc: false, grounds: Grounds::NONE };
                    let ask = ReadRecords { fields: vec!["name".into()], group: None, record: None, page: Default::default() };
                    vault.read_records(&call, subject, ask).await.unwrap();
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
    let path = house.open_incident(&json!({"kind": "drill"}));
    let officer = house.holder(Role::SecurityOfficer);
    let begun = Instant::now();
    let scoped = incident(&json!({"scope": {"token": house.token_id(&tokens[0])}}));
    house.put(&path, &scoped).by(&officer).header("if-match", "\"1\"").send().expect(200);
    eprintln!("{count} people, {reads} reads: whom it concerns was found in {:?}", begun.elapsed());
    let (mut found, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = house.get(&format!("{path}?limit=500{cursor}")).by(&officer).send().expect(200).json();
        assert_eq!(page["affected"]["people"].as_u64().unwrap() as usize, read.len());
        found.extend(subjects(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    eprintln!("the whole list was answered after {:?}", begun.elapsed());
    assert_eq!(found, read);
}
