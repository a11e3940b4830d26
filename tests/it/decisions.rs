//! explainDecision says what the real call then does.

use oubliette::model::caller::{CallerKind, Role};
use serde_json::{Value, json};

use crate::house::{House, Token};

/// What the explanation says: yes, or the code of the first guard that fails.
fn explained(
    house: &House,
    caller: &Token,
    operation: &str,
    resource: &Value,
    purpose: Option<&str>,
    fields: &[&str],
) -> (bool, String) {
    let mut context = json!({"fields": fields});
    if let Some(purpose) = purpose {
        context["purpose"] = json!(purpose);
    }
    let body = json!({"subject": {"type": "caller", "id": caller.id.to_string()}, "action": {"name": operation},
                      "resource": resource, "context": context});
    let answer = house.post("/v1/decisions", &body).by(&house.holder(Role::PrivacyOfficer)).send().expect(200).json();
    let first = answer["context"]["guards"].as_array().unwrap().iter().find(|finding| finding["holds"] == false);
    let code = first.map_or("", |finding| finding["code"].as_str().unwrap()).to_owned();
    let decision = answer["decision"].as_bool().unwrap();
    assert_eq!(decision, code.is_empty(), "{answer}");
    (decision, code)
}

#[test]
fn an_explanation_agrees_with_what_the_real_call_does() {
    let house = House::start();
    let (ada, supplier, erased) = (house.ada(), house.person("business-contact"), house.ada());
    for subject in [&ada, &supplier] {
        house.contact(subject);
    }
    house.erase_subject(&erased);
    let narrow = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    let callers = [
        house.holder(Role::Reader),
        house.holder(Role::PrivacyOfficer),
        house.holder(Role::Writer),
        house.holder(Role::KeyAdmin),
        narrow,
    ];
    let purposes =
        [None, Some("a-account"), Some("b-service"), Some("f-supplier"), Some("h-efficiency"), Some("x-rights"), Some("z-none")];
    let (mut yes, mut no) = (0, 0);
    let mut agree = |what: String, said: (bool, String), reply: crate::https::Reply| {
        let done = reply.status < 300;
        assert_eq!(said.0, done, "{what}: said {said:?}, was {} {}", reply.status, reply.text());
        if done {
            yes += 1
        } else {
            no += 1
        }
        if !done {
            assert_eq!(said.1, reply.code(), "{what}");
        }
    };
    for caller in &callers {
        for subject in [&ada, &supplier, &erased] {
            let resource = json!({"type": "subject", "id": subject});
            let said = explained(&house, caller, "getSubject", &resource, None, &[]);
            agree(format!("getSubject {subject}"), said, house.get(&format!("/v1/subjects/{subject}")).by(caller).send());
            let path = format!("/v1/subjects/{subject}/records");
            for purpose in purposes {
                let with = |ask: crate::house::Ask<'_>| match purpose {
                    Some(purpose) => ask.by(caller).purpose(purpose).send(),
                    None => ask.by(caller).send(),
                };
                for fields in [&[][..], &["name"], &["name", "address"], &["password"], &["id_document"]] {
                    let said = explained(&house, caller, "readRecords", &resource, purpose, fields);
                    let query = if fields.is_empty() { String::new() } else { format!("?fields={}", fields.join(",")) };
                    agree(format!("readRecords {purpose:?} {fields:?}"), said, with(house.get(&format!("{path}{query}"))));
                }
                for (fields, values) in [
                    (&["name"][..], json!({"name": "Ada"})),
                    (&["name", "id_document"], json!({"name": "Ada", "id_document": {"type": "id", "number": "1"}})),
                ] {
                    let said = explained(&house, caller, "writeRecord", &resource, purpose, fields);
                    let body = json!({"kind": "contact", "fields": values});
                    agree(format!("writeRecord {purpose:?} {fields:?}"), said, with(house.post(&path, &body)));
                }
            }
        }
        let vault = json!({"type": "vault", "id": "vault"});
        let said = explained(&house, caller, "listKeys", &vault, None, &[]);
        agree("listKeys".into(), said, house.get("/v1/keys").by(caller).send());
        let said = explained(&house, caller, "listAuditEvents", &vault, None, &[]);
        agree("listAuditEvents".into(), said, house.get("/v1/audit/events").by(caller).send());
    }
    assert!(yes > 20 && no > 100, "{yes} {no}");
}

#[test]
fn an_explanation_knows_that_a_groups_key_was_destroyed() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    house.erase(&json!({"subject": subject, "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}));
    house.read(&subject, "c-marketing", "").refused(410, "key-destroyed");
    let resource = json!({"type": "subject", "id": subject});
    let said = explained(&house, &house.holder(Role::Reader), "readRecords", &resource, Some("c-marketing"), &[]);
    assert_eq!(said, (false, "key-destroyed".to_owned()));
}

#[test]
fn an_explanation_names_the_rules_that_each_guard_went_by() {
    let house = House::shared();
    let subject = house.newcomer("consumer");
    let record = house.contact(&subject);
    let explained = || {
        let body = json!({"action": {"name": "readRecords"}, "resource": {"type": "subject", "id": subject},
                          "context": {"purpose": "c-marketing", "fields": ["name"], "record": record}});
        house.post("/v1/decisions", &body).by(&house.holder(Role::Reader)).send().expect(200).json()
    };
    let finding = |answer: &Value, guard: &str| {
        answer["context"]["guards"].as_array().unwrap().iter().find(|one| one["guard"] == guard).unwrap().clone()
    };
    let version = house.tenant(0).version().to_owned();
    let basis =
        json!({"kind": "basis", "id": "c-marketing", "basis": "consent", "term": "eu-gdpr:A6-1-a", "policy_version": version});
    assert_eq!(finding(&explained(), "G7")["rules"], json!([basis]));
    for (state, code) in [("given", Value::Null), ("withdrawn", json!("consent-withdrawn"))] {
        let event = house.consent(&subject, "c-marketing", state).expect(201).member("id");
        let answer = explained();
        assert_eq!(answer["context"]["policy_version"], json!(version));
        let g7 = finding(&answer, "G7");
        assert_eq!(g7["code"], code, "{answer}");
        let consent = json!({"kind": "consent", "id": event, "policy_version": version});
        assert_eq!(g7["rules"], json!([consent, basis]));
        let retention = json!([{"kind": "retention", "id": "marketing", "policy_version": version}]);
        assert_eq!(finding(&answer, "G12")["rules"], retention);
        assert_eq!(finding(&answer, "G15")["holds"], true, "{answer}");
    }
    house.restrict(&subject, &json!({"kind": "art18", "reason": "accuracy-contested"})).expect(201);
    let g8 = finding(&explained(), "G8");
    assert_eq!((&g8["code"], &g8["rules"][0]["kind"]), (&json!("restricted"), &json!("restriction")));
    assert!(g8["rules"][0]["id"].as_str().unwrap().starts_with("rst_"));
}

#[test]
fn only_who_may_explains_the_decisions_of_others() {
    let house = House::shared();
    let subject = house.ada();
    let other = house.holder(Role::Reader);
    let body = |caller: &Token| {
        json!({"subject": {"type": "caller", "id": caller.id.to_string()}, "action": {"name": "getSubject"},
               "resource": {"type": "subject", "id": subject}})
    };
    let ask = |role: Role, about: &Token| house.post("/v1/decisions", &body(about)).by(&house.holder(role)).send();
    ask(Role::Writer, &other).refused(403, "role-forbidden");
    ask(Role::Writer, &house.holder(Role::Writer)).expect(200);
    for role in [Role::PrivacyOfficer, Role::PolicyAuthor, Role::SecurityOfficer, Role::Auditor] {
        ask(role, &other).expect(200);
    }
    // Who may not ask about others does not learn which others there are.
    let nobody = Token { id: crate::routes::Ids::of_nothing().caller.parse().unwrap(), text: String::new() };
    for role in [Role::Writer, Role::KeyAdmin] {
        assert_eq!(ask(role, &nobody).without_decision(), ask(role, &other).without_decision(), "{role:?}");
    }
}
