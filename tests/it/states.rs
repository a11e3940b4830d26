//! Every table of states against the vault that serves: each action, in each state, by each role, is carried out where the table
//! has the step for that role and refused everywhere else, and a refusal leaves the state as it was.

use std::cell::Cell;

use jiff::SignedDuration;
use oubliette::model::caller::Role;
use oubliette::model::states::{CASE, CONSENT, ERASURE, INCIDENT, Machine, POLICY, REQUEST};
use serde_json::{Value, json};

use crate::house::{House, Token};
use crate::https::Reply;
use crate::promises::consents::said;

/// The roles of somebody outside; the scheduler is the vault itself.
const ROLES: [Role; 9] = [
    Role::Writer,
    Role::Reader,
    Role::Partner,
    Role::Subject,
    Role::PrivacyOfficer,
    Role::KeyAdmin,
    Role::PolicyAuthor,
    Role::SecurityOfficer,
    Role::Auditor,
];

/// Something that goes through states: whose it is, and its id.
struct Thing {
    subject: String,
    id: String,
}

/// How a table is tried over HTTPS.
struct Trial<'a> {
    house: &'a House,
    machine: &'static Machine,
    /// The states that a thing can be brought to from outside.
    states: &'a [&'static str],
    /// The actions that somebody outside can try.
    actions: &'a [&'static str],
    /// A new thing in a state.
    make: &'a dyn Fn(&str) -> Thing,
    /// What comes of an action.
    act: &'a dyn Fn(&Thing, &str, &Token) -> Reply,
    /// The state that it is in.
    state: &'a dyn Fn(&Thing) -> String,
    /// Where the vault itself goes on from a state.
    settles: fn(&'static str) -> &'static str,
}

impl Trial<'_> {
    fn run(&self) {
        let portal = self.house.portal(&["a-account", "x-rights"]);
        let mut tried = 0;
        for state in self.states {
            for action in self.actions {
                for role in ROLES {
                    let thing = (self.make)(state);
                    assert_eq!((self.state)(&thing), *state, "{} was made", self.machine.name);
                    let by = match role {
                        Role::Subject => self.house.own_token(&portal, &thing.subject),
                        // Who opened something does not decide about it.
                        role => self.house.second(role),
                    };
                    let step = self.machine.step(state, action).filter(|step| step.by.contains(&role));
                    let reply = (self.act)(&thing, action, &by);
                    let what = format!("{}: {state} {action} by {role:?}: {}", self.machine.name, reply.text());
                    assert_eq!(reply.status < 300, step.is_some(), "{what}");
                    assert!(reply.status < 300 || [401, 403, 404, 409, 410, 422].contains(&reply.status), "{what}");
                    let wanted = step.map_or(*state, |step| (self.settles)(step.to));
                    assert_eq!((self.state)(&thing), wanted, "{what}");
                    tried += 1;
                }
            }
        }
        assert_eq!(tried, self.states.len() * self.actions.len() * ROLES.len());
    }
}

#[test]
fn an_erasure_goes_as_its_table_says_and_no_other_way() {
    let house = House::start();
    let say = |id: &str, decision: &str, by: &Token| {
        house.post(&format!("/v1/erasures/{id}/approvals"), &json!({"decision": decision})).by(by).send()
    };
    let officer = house.holder(Role::PrivacyOfficer);
    let make = |state: &str| {
        let subject = house.newcomer("consumer");
        let body = json!({"subject": subject, "scope": "groups", "groups": ["support"], "cause": "request"});
        let id = house.post("/v1/erasures", &body).by(&officer).send().expect(201).member("id");
        let second = house.second(Role::PrivacyOfficer);
        match state {
            "sealed" => drop(say(&id, "approve", &second).expect(200)),
            "denied" => drop(say(&id, "deny", &second).expect(200)),
            "revoked" => drop(say(&id, "revoke", &officer).expect(200)),
            _ => {}
        }
        Thing { subject, id }
    };
    let act = |thing: &Thing, action: &str, by: &Token| match action {
        "verify" => say(&thing.id, "approve", by),
        // It is taken back by the officer who opened it.
        "revoke" if by.id == house.second(Role::PrivacyOfficer).id => say(&thing.id, "revoke", &officer),
        action => say(&thing.id, action, by),
    };
    let state = |thing: &Thing| {
        let path = format!("/v1/erasures/{}", thing.id);
        house.get(&path).by(&house.holder(Role::Auditor)).send().expect(200).member("state")
    };
    let trial = Trial {
        house: &house,
        machine: &ERASURE,
        states: &["requested", "sealed", "denied", "revoked"],
        actions: &["verify", "deny", "revoke"],
        make: &make,
        act: &act,
        state: &state,
        settles: |state| if state == "verified" { "sealed" } else { state },
    };
    trial.run();
}

#[test]
fn a_request_goes_as_its_table_says_and_no_other_way() {
    let house = House::start();
    let (officer, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let seen = json!({"action": "verify", "level": 2, "evidence": {"kind": "passport", "digest": "ab".repeat(32)}});
    let body = |action: &str, by: &Token| match action {
        "verify" if by.id == second.id => seen.clone(),
        "extend" => json!({"action": action, "reason": "complexity"}),
        "deny" => json!({"action": action, "reason": "suspected_fraud"}),
        "fulfil" => json!({"action": action, "answer": "Yes."}),
        action => json!({"action": action}),
    };
    let go = |id: &str, action: &str, by: &Token| house.advance(by, id, &body(action, by));
    let make = |state: &str| {
        let subject = house.newcomer("consumer");
        let asked = json!({"type": "question", "subject": subject, "message": "Is it so?"});
        let id = house.post("/v1/requests", &asked).by(&officer).send().expect(201).member("request_id");
        go(&id, "verify", &second).expect(200);
        let path: &[(&str, &Token)] = match state {
            "in_progress" => &[("accept", &second)],
            "fulfilled" => &[("accept", &second), ("fulfil", &second)],
            "revoked" => &[("revoke", &second)],
            "denial-proposed" => &[("deny", &officer)],
            "denied" => &[("deny", &officer), ("deny", &second)],
            _ => &[],
        };
        for (action, by) in path {
            go(&id, action, by).expect(200);
        }
        Thing { subject, id }
    };
    let act = |thing: &Thing, action: &str, by: &Token| go(&thing.id, action, by);
    let state = |thing: &Thing| {
        let waiting = house.get("/v1/requests?state=denial-proposed&limit=500").by(&officer).send().expect(200).text();
        if waiting.contains(&thing.id) {
            return "denial-proposed".to_owned();
        }
        house.get(&format!("/v1/requests/{}", thing.id)).by(&officer).send().expect(200).member("status")
    };
    let trial = Trial {
        house: &house,
        machine: &REQUEST,
        states: &["open", "in_progress", "fulfilled", "revoked", "denied", "denial-proposed"],
        actions: &["verify", "accept", "extend", "deny", "reopen", "revoke", "fulfil"],
        make: &make,
        act: &act,
        state: &state,
        settles: |state| state,
    };
    trial.run();
}

#[test]
fn a_case_goes_as_its_table_says_and_no_other_way() {
    let house = House::start();
    let (officer, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let open = |until: &str| {
        let subject = house.newcomer("consumer");
        let body = json!({"kind": "reasonable-need", "subject": subject, "purposes": ["b-service"], "fields": ["name"],
            "recipient": "parcel", "ground": "prevent-harm", "necessity": "n", "expires_at": until});
        let id = house.post("/v1/cases", &body).by(&officer).send().expect(201).member("id");
        Thing { subject, id }
    };
    let say = |id: &str, decision: &str, by: &Token| {
        house.post(&format!("/v1/cases/{id}/approvals"), &json!({"decision": decision})).by(by).send()
    };
    // Those whose end has come were opened before the clock was turned.
    let expired = std::cell::RefCell::new((0..3 * ROLES.len()).map(|_| open("2026-11-23T11:00:00Z")).collect::<Vec<_>>());
    house.home.turn(SignedDuration::from_hours(1));
    let make = |state: &str| {
        if state == "expired" {
            return expired.borrow_mut().pop().unwrap();
        }
        let thing = open("2026-12-23T10:00:00Z");
        if ["approved", "closed"].contains(&state) {
            say(&thing.id, "approve", &second).expect(200);
        }
        match state {
            "refused" => drop(say(&thing.id, "refuse", &second).expect(200)),
            "closed" => drop(say(&thing.id, "close", &officer).expect(200)),
            _ => {}
        }
        thing
    };
    let act = |thing: &Thing, action: &str, by: &Token| say(&thing.id, action, by);
    let state = |thing: &Thing| {
        let path = format!("/v1/cases/{}", thing.id);
        house.get(&path).by(&house.holder(Role::Auditor)).send().expect(200).member("state")
    };
    let trial = Trial {
        house: &house,
        machine: &CASE,
        states: &["open", "approved", "refused", "closed", "expired"],
        actions: &["approve", "refuse", "close"],
        make: &make,
        act: &act,
        state: &state,
        settles: |state| state,
    };
    trial.run();
}

#[test]
fn an_incident_goes_as_its_table_says_and_no_other_way() {
    let house = House::start();
    let officer = house.holder(Role::SecurityOfficer);
    let etag = |path: &str| house.get(path).by(&officer).send().expect(200).header("etag").unwrap().to_owned();
    let put = |path: &str, state: &str, by: &Token| {
        let body = json!({"kind": "drill", "detected_at": "2026-11-23T10:00:00Z", "severity": "low", "state": state});
        house.put(path, &body).header("if-match", &etag(path)).by(by).send()
    };
    let state = |thing: &Thing| house.get(&thing.id).by(&officer).send().expect(200).member("state");
    let make = |state: &str| {
        let path = house.new_incident();
        let body = json!({"kind": "drill", "detected_at": "2026-11-23T10:00:00Z", "severity": "low"});
        house.put(&path, &body).by(&officer).send().expect(201);
        for step in
            ["contained", "closed"].iter().take(["open", "contained", "closed"].iter().position(|own| *own == state).unwrap())
        {
            put(&path, step, &officer).expect(200);
        }
        Thing { subject: house.newcomer("consumer"), id: path }
    };
    let act = |thing: &Thing, action: &str, by: &Token| match (action, state(thing).as_str()) {
        ("update", now) => put(&thing.id, now, by),
        ("contain", "contained") | ("close", "closed") | ("reopen", "open") => {
            // It is there already: that would be an update. What is not in the table is asked for by a state that there is not.
            put(&thing.id, "undone", by)
        }
        ("contain", _) => put(&thing.id, "contained", by),
        ("reopen", _) => put(&thing.id, "open", by),
        _ => put(&thing.id, "closed", by),
    };
    let trial = Trial {
        house: &house,
        machine: &INCIDENT,
        states: &["open", "contained", "closed"],
        actions: &["update", "contain", "reopen", "close"],
        make: &make,
        act: &act,
        state: &state,
        settles: |state| state,
    };
    trial.run();
}

#[test]
fn a_policy_version_goes_as_its_table_says_and_no_other_way() {
    let house = House::start();
    let act = |proposal: &str, action: &str, by: &Token| {
        let body = if action == "propose" { json!({"action": action}) } else { json!({"action": action, "proposal": proposal}) };
        house.post("/v1/policy-versions", &body).by(by).send()
    };
    let (author, officer) = (house.holder(Role::PolicyAuthor), house.holder(Role::PrivacyOfficer));
    let open = || -> Option<String> {
        // Only one proposal can be open: one that cannot be made says that there is another.
        let proposed = act("", "propose", &author);
        (proposed.status == 201).then(|| proposed.member("id"))
    };
    let number = Cell::new(0);
    // The version that is drafted next carries this number in a text that lets nothing more be done.
    let draft = || {
        number.set(number.get() + 1);
        let address = format!("{} Vault Street", number.get());
        let entry = json!({"id": "default", "title": "The controller", "address": address, "officer": "officer@localhost"});
        house.draft("controllers", "default", &entry).expect(200);
        address
    };
    let proposed = Cell::new(None::<String>);
    let make = |state: &str| {
        // What an earlier try left open is dropped.
        if let Some(id) = proposed.take() {
            act(&id, "reject", &author);
        }
        let address = draft();
        let id = if state == "drafted" {
            String::from("prp_00000000000000000000000000")
        } else {
            open().expect("nothing else is open")
        };
        match state {
            "published" => drop(act(&id, "approve", &officer).expect(201)),
            "rejected" => {
                act(&id, "reject", &author).expect(200);
                house.draft("controllers", "default", &json!({"discard": true})).expect(204);
            }
            "proposed" => proposed.set(Some(id.clone())),
            _ => {}
        }
        Thing { subject: house.newcomer("consumer"), id: format!("{id} {address}") }
    };
    let try_it = |thing: &Thing, action: &str, by: &Token| {
        let id = thing.id.split(' ').next().unwrap();
        let reply = act(id, action, by);
        if reply.status == 201 && action == "propose" {
            proposed.set(Some(reply.member("id")));
        }
        reply
    };
    let state = |thing: &Thing| {
        let (id, address) = thing.id.split_once(' ').unwrap();
        let id = match proposed.take() {
            Some(open) => {
                proposed.set(Some(open.clone()));
                open
            }
            None => id.to_owned(),
        };
        let path = format!("/v1/policy-versions/{id}");
        let shown = house.get(&path).by(&author).send();
        if shown.status == 200 {
            return shown.member("state");
        }
        let policy = house.get("/v1/policy-versions/current").header("accept", "application/ld+json").send().expect(200);
        if policy.text().contains(address) {
            return "published".to_owned();
        }
        let drafts = house.get("/v1/config/controllers").by(&author).send().expect(200).text();
        if drafts.contains(address) { "drafted" } else { "rejected" }.to_owned()
    };
    let trial = Trial {
        house: &house,
        machine: &POLICY,
        states: &["drafted", "proposed", "published"],
        actions: &["propose", "approve", "reject"],
        make: &make,
        act: &try_it,
        state: &state,
        // What was rejected is still drafted.
        settles: |state| if state == "rejected" { "drafted" } else { state },
    };
    trial.run();
}

#[test]
fn a_consent_goes_as_its_table_says_and_no_other_way() {
    let house = House::start();
    let word = |action: &str| match action {
        "give" => "given",
        "refuse" => "refused",
        _ => "withdrawn",
    };
    let say =
        |subject: &str, body: &Value, by: &Token| house.post(&format!("/v1/subjects/{subject}/consents"), body).by(by).send();
    // One whose end has come: its person was made before the clock was turned.
    let expired: Vec<String> = (0..3 * ROLES.len())
        .map(|_| {
            let subject = house.newcomer("consumer");
            let mut body = said("i-errors", "general", "given");
            body["until"] = json!("2026-11-23T11:00:00Z");
            say(&subject, &body, &house.holder(Role::Writer)).expect(201);
            subject
        })
        .collect();
    house.home.turn(SignedDuration::from_hours(2));
    house.wait(house.vault.sweep()).unwrap();
    let next = Cell::new(0);
    let make = |state: &str| {
        if state == "expired" {
            next.set(next.get() + 1);
            return Thing { subject: expired[next.get() - 1].clone(), id: String::new() };
        }
        let subject = house.newcomer("consumer");
        if state != "none" {
            say(&subject, &said("i-errors", "general", state), &house.holder(Role::Writer)).expect(201);
        }
        Thing { subject, id: String::new() }
    };
    let act = |thing: &Thing, action: &str, by: &Token| {
        // The ledger goes by time: no two events of one moment.
        house.home.turn(SignedDuration::from_secs(1));
        say(&thing.subject, &said("i-errors", "general", word(action)), by)
    };
    let state = |thing: &Thing| {
        let path = format!("/v1/subjects/{}/consents?limit=500", thing.subject);
        let list = house.get(&path).by(&house.holder(Role::PrivacyOfficer)).send().expect(200).json();
        let last = list["consents"].as_array().unwrap().last().cloned();
        last.map_or("none".to_owned(), |last| last["state"].as_str().unwrap().to_owned())
    };
    let trial = Trial {
        house: &house,
        machine: &CONSENT,
        states: &["none", "given", "refused", "withdrawn", "expired"],
        actions: &["give", "refuse", "withdraw"],
        make: &make,
        act: &act,
        state: &state,
        settles: |state| state,
    };
    trial.run();
}
