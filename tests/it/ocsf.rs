//! The trail as events of the Open Cybersecurity Schema Framework, over HTTPS.

use oubliette::model::caller::Role;
use serde_json::{Value, json};

use crate::house::House;
use crate::https::Reply;

fn lines(house: &House, role: Role, query: &str) -> Reply {
    house.get(&format!("/v1/audit/events{query}")).header("accept", "application/x-ndjson").by(&house.holder(role)).send()
}

fn events(reply: &Reply) -> Vec<Value> {
    reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sequence(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["metadata"]["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn the_whole_trail_comes_as_lines_and_goes_on_from_any_of_them() {
    let house = House::start();
    let ada = house.ada();
    house.contact(&ada);
    house.read(&ada, "b-service", "name").expect(200);
    house.read(&ada, "no-such-purpose", "name").refused(403, "purpose-not-published");
    // Longer than one piece.
    for _ in 0..520 {
        house.read(&ada, "b-service", "name").expect(200);
    }
    let pages = house.events("");
    let reply = lines(&house, Role::Auditor, "").expect(200);
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    // Cursors are random letters: a name counts where it stands for itself.
    let said = reply.text();
    assert!(!said.contains("\"Ada\"") && !said.contains("example.org") && !said.contains(&ada));
    let all = events(&reply);
    assert_eq!(sequence(&all), (0..all.len() as u64).collect::<Vec<_>>());
    assert!(all.len() >= pages.len() && all.len() > 500, "{}", all.len());
    for (event, page) in all.iter().zip(&pages) {
        assert_eq!((&event["metadata"]["uid"], &event["metadata"]["event_code"]), (&page["id"], &page["operation"]));
        assert_eq!(event["unmapped"].get("subject_tag"), page.get("subject_tag"));
        assert_eq!(event["metadata"]["version"], "1.8.0");
    }
    let refused = all.iter().find(|event| event["status_code"] == "purpose-not-published").unwrap();
    assert_eq!((&refused["class_uid"], &refused["type_uid"], &refused["action_id"]), (&json!(6_005), &json!(600_501), &json!(2)));

    // A line lost with the connection is asked for again by the cursor of the one before it.
    for place in [0, 7, 498, 499, 500, 530] {
        let cursor = all[place]["unmapped"]["cursor"].as_str().unwrap();
        let rest = events(&lines(&house, Role::Auditor, &format!("?cursor={cursor}")).expect(200));
        assert!(sequence(&rest).starts_with(&sequence(&all[place + 1..])), "from {place}");
    }
    let few = events(&lines(&house, Role::Auditor, "?limit=3").expect(200));
    assert_eq!(sequence(&few), [0, 1, 2]);
    // A cursor is its caller's own, and no other text is one.
    let cursor = all[7]["unmapped"]["cursor"].as_str().unwrap();
    lines(&house, Role::PrivacyOfficer, &format!("?cursor={cursor}")).refused(400, "bad-cursor");
    lines(&house, Role::Auditor, "?cursor=AAAA").refused(400, "bad-cursor");
    lines(&house, Role::Reader, "").refused(403, "role-forbidden");
}

#[test]
fn the_filters_of_the_pages_hold_for_the_lines() {
    let house = House::start();
    let (ada, bob) = (house.ada(), house.ada());
    for subject in [&ada, &bob] {
        house.contact(subject);
        house.read(subject, "b-service", "name").expect(200);
    }
    let tag = house.events("").iter().rev().find(|event| event["operation"] == "readRecords").unwrap()["subject_tag"].clone();
    let of_bob = events(&lines(&house, Role::Auditor, &format!("?tag={}", tag.as_str().unwrap())).expect(200));
    assert!(!of_bob.is_empty() && of_bob.iter().all(|event| event["unmapped"]["subject_tag"] == tag));
    let portal = house.portal(&["a-account"]);
    let own = house.own_token(&portal, &bob);
    let own = house.get("/v1/audit/events").header("accept", "application/x-ndjson").by(&own).send().expect(200);
    assert!(events(&own).iter().all(|event| event["unmapped"]["subject_tag"] == tag));
    let none = lines(&house, Role::Auditor, "?until=2020-01-01T00:00:00Z").expect(200);
    assert_eq!(none.text(), "");
}
