//! The policy as something that runs: each promise names what keeps it, and tests that are in this very binary.

use std::collections::BTreeSet;
use std::process::Command;

use oubliette::model::caller::Operation;
use oubliette::model::promises::{By, PROMISES, TESTS};
use serde_json::Value;

use crate::house::House;

/// The promise tests that were compiled into this binary, as it lists them itself.
fn compiled() -> BTreeSet<String> {
    let list = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let names = list.lines().filter_map(|line| line.strip_suffix(": test")?.rsplit("::").next());
    names.filter(|name| name.starts_with("promise_p")).map(str::to_owned).collect()
}

#[test]
fn every_promise_is_proved_by_tests_that_are_compiled_and_the_list_of_them_is_the_one_in_git() {
    let compiled = compiled();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/model/promises.txt");
        let lines: Vec<&str> = compiled.iter().map(String::as_str).collect();
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
    }
    let listed: BTreeSet<String> = TESTS.lines().map(str::to_owned).collect();
    let only_in = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).cloned().collect::<Vec<_>>();
    assert_eq!(
        only_in(&compiled, &listed),
        Vec::<String>::new(),
        "not in src/model/promises.txt: UPDATE_GOLDEN=1 writes it anew"
    );
    assert_eq!(only_in(&listed, &compiled), Vec::<String>::new(), "in src/model/promises.txt, and there is no such test");
    for promise in PROMISES {
        let start = format!("promise_{}_", promise.id);
        assert!(compiled.iter().any(|name| name.starts_with(&start)), "{} has no test", promise.id);
    }
    let known = |name: &String| PROMISES.iter().any(|promise| name.starts_with(&format!("promise_{}_", promise.id)));
    assert!(compiled.iter().all(known), "a test of a promise that there is not");
}

#[test]
fn the_published_policy_lists_every_promise_with_what_keeps_it_and_what_proves_it() {
    let house = House::shared();
    let policy = house.get("/v1/policy-versions/current").header("accept", "application/ld+json").send().expect(200).json();
    let nodes = policy["@graph"].as_array().unwrap();
    let of = |id: &str| nodes.iter().find(|node| node["@id"] == format!("urn:oubliette:promise:{id}")).unwrap();
    let words = |value: &Value| value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    for promise in PROMISES {
        let node = of(promise.id);
        assert_eq!(words(&node["vault:keptBy"]), promise.means());
        assert!(!words(&node["vault:provedBy"]).is_empty(), "{}", promise.id);
    }
    // What keeps a promise is there: the guard decides, the operation has an address.
    let officer = house.holder(oubliette::model::caller::Role::PrivacyOfficer);
    let body = serde_json::json!({"subject": {"type": "caller", "id": officer.id.to_string()}, "action": {"name": "getSubject"},
        "resource": {"type": "subject", "id": house.person("consumer")}});
    let explained = house.post("/v1/decisions", &body).by(&officer).send().expect(200).json();
    let text = explained["context"]["guards"].to_string();
    for by in PROMISES.iter().flat_map(|promise| promise.by) {
        match by {
            By::Guard(guard) => assert!(text.contains(&format!("\"{guard}\"")), "{guard} is not among the guards"),
            By::Does(operation) => {
                let routes = oubliette::server::routes::ROUTES;
                assert!(routes.iter().any(|route| route.operation == *operation), "{}", Operation::text(*operation));
            }
            By::Refuses(_) | By::Part(_) => {}
        }
    }
}
