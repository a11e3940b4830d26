use super::described::Takes;
use super::*;
use crate::server::routes::ROUTES;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/openapi.json");

#[test]
fn the_document_is_the_one_that_was_read() {
    let made = format!("{}\n", serde_json::to_string_pretty(document()).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &made).unwrap();
    }
    let kept = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    let differs = made.lines().zip(kept.lines()).position(|(made, kept)| made != kept);
    assert!(
        made == kept,
        "the API differs from tests/golden/openapi.json from line {:?} on: UPDATE_GOLDEN=1 cargo test the_document writes it anew; read the diff",
        differs.map(|line| line + 1)
    );
}

#[test]
fn every_route_is_described_once_and_nothing_else_is() {
    let operations = operations::all();
    for route in ROUTES {
        let told = operations.iter().filter(|one| (one.method, one.path) == (route.method.as_str(), route.path)).count();
        assert_eq!(told, 1, "{} {}", route.method, route.path);
    }
    assert_eq!(operations.len(), ROUTES.len());
    let mut ids: Vec<&str> = operations.iter().chain(&operations::pages()).map(|one| one.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), operations.len() + operations::pages().len());
    for operation in crate::model::caller::Operation::ALL {
        assert!(ids.contains(&operation.text()), "{}", operation.text());
    }
}

#[test]
fn every_part_of_a_path_and_of_a_query_is_known() {
    let mut schemas = Schemas::new();
    for route in ROUTES {
        for name in places(route.path) {
            assert!(schemas.with_asked(|generator| parts::place(generator, route.path, name)).is_some(), "{name}");
        }
        for name in route.query {
            assert!(schemas.with_asked(|generator| parts::query(generator, route.path, name)).is_some(), "{} {name}", route.path);
        }
    }
}

#[test]
fn every_example_of_a_body_is_one_that_the_operation_reads() {
    for one in operations::all() {
        let Some(Takes { parse, examples, .. }) = &one.takes else { continue };
        for (name, example) in examples {
            assert!(parse(example.to_string().as_bytes()).is_ok(), "{}: {name}", one.id);
        }
    }
}

#[test]
fn no_reference_leads_nowhere() {
    fn each(value: &Value, see: &mut impl FnMut(&str)) {
        match value {
            Value::Object(members) => {
                members.get("$ref").and_then(Value::as_str).into_iter().for_each(&mut *see);
                members.values().for_each(|member| each(member, see));
            }
            Value::Array(items) => items.iter().for_each(|item| each(item, see)),
            _ => {}
        }
    }
    let mut count = 0;
    each(document(), &mut |at| {
        count += 1;
        assert!(document().pointer(at.trim_start_matches('#')).is_some(), "{at}");
    });
    assert!(count > 500, "{count}");
}
