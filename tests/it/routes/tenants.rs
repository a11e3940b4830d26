//! Another controller's objects look like nothing at all.

use oubliette::model::caller::Role;
use oubliette::server::routes::ROUTES;
use serde_json::json;

use super::{Case, Ids, Missing, plain};
use crate::house::House;

#[test]
fn what_belongs_to_another_controller_looks_like_what_is_not_there() {
    let house = House::of_controllers(2);
    let theirs = Ids::fresh(&house);
    for route in ROUTES {
        let case = Case::of(route);
        if matches!(case.missing, Missing::Nothing) {
            continue;
        }
        let stranger = house.holder_of(1, case.role, 0);
        let foreign = case.send(&house, &theirs, Some(&stranger));
        let nothing = case.send(&house, &Ids::of_nothing(), Some(&stranger));
        assert_eq!(plain(&foreign.body), plain(&nothing.body), "{}", case.path);
        assert!(foreign.status >= 400, "{} {}", case.path, foreign.body);
        let names = |outcome: &super::Outcome| outcome.reply.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&foreign), names(&nothing), "{}", case.path);
    }
    // All of it is still there for its own controller.
    house.get(&format!("/v1/subjects/{}", theirs.subject)).by(&house.holder(Role::Reader)).send().expect(200);
    house.get(&format!("/v1/erasures/{}", theirs.erasure)).by(&house.holder(Role::Auditor)).send().expect(200);
}

#[test]
fn an_erased_subject_of_another_controller_looks_like_nothing_too() {
    let house = House::of_controllers(2);
    let theirs = house.ada();
    house.erase_subject(&theirs);
    let path = format!("/v1/subjects/{theirs}");
    house.get(&path).by(&house.holder(Role::Reader)).send().refused(410, "erased");
    house.get(&path).by(&house.holder_of(1, Role::Reader, 0)).send().refused(404, "not-found");
}

#[test]
fn one_address_can_belong_to_a_subject_of_each_controller() {
    let house = House::of_controllers(2);
    let body = json!({"class": "consumer", "jurisdiction": "DE", "aliases": [{"type": "email", "value": "ada@example.org"}], "notice": crate::house::notice()});
    let mut ids = Vec::new();
    for controller in [0, 1] {
        let writer = house.holder_of(controller, Role::Writer, 0);
        let made = house.post("/v1/subjects", &body).by(&writer).purpose("a-account").send().expect(201).member("id");
        let look = json!({"type": "email", "value": "ada@example.org"});
        let found = house.post("/v1/subject-lookups", &look).by(&writer).purpose("a-account").send().expect(200).member("id");
        assert_eq!(found, made);
        ids.push(made);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn the_trail_shows_nothing_of_another_controller() {
    let house = House::of_controllers(2);
    let theirs = Ids::fresh(&house);
    house.erase_subject(&theirs.subject);
    let tag = {
        let mine = house.events("");
        let mut tags = mine.iter().filter_map(|event| event["subject_tag"].as_str().map(str::to_owned));
        tags.next().unwrap()
    };
    let stranger = house.holder_of(1, Role::Auditor, 0);
    let listed = house.get("/v1/audit/events?limit=500").by(&stranger).send().expect(200).text();
    let callers = [Role::Writer, Role::PrivacyOfficer].map(|role| house.second(role).id.to_string());
    for theirs in [callers[0].as_str(), callers[1].as_str(), tag.as_str()] {
        assert!(!listed.contains(theirs), "{theirs} stands in {listed}");
    }
}
