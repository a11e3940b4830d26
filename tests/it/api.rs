//! The API's description is true: whatever a house answers in any of these tests is as `/openapi.json` says.

use oubliette::server::openapi::document;
use serde_json::{Map, Value, json};

use crate::house::House;
use crate::https::Reply;

/// Sees to it that an answer is one that the document has for this address: status, media type, code, and every member of its body.
#[track_caller]
pub(crate) fn agrees(method: &str, target: &str, reply: &Reply) {
    if let Err(wrong) = judged(method, target, reply) {
        panic!("{method} {target} {}: not as /openapi.json has it: {wrong}\n{}", reply.status, reply.text());
    }
}

fn judged(method: &str, target: &str, reply: &Reply) -> Result<(), String> {
    let path = target.split('?').next().unwrap_or_default();
    // Of what is no address, or is not asked in a way that HTTP has, the document says nothing.
    let Some((template, item)) = address(path) else { return Ok(()) };
    let Some(operation) = item.get(method.to_ascii_lowercase()) else { return Ok(()) };
    let status = reply.status.to_string();
    let Some(answer) = operation["responses"].get(&status) else { return Err(format!("{template} has no such status")) };
    let answer = followed(answer);
    let media = reply.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    if reply.bytes.is_empty() || method == "HEAD" {
        return Ok(());
    }
    let Some(content) = answer["content"].get(media) else { return Err(format!("no {media} at this status")) };
    if !media.ends_with("json") || media.contains("ndjson") {
        return Ok(());
    }
    let body = reply.json();
    if media == "application/problem+json" {
        let code = reply.code();
        let known = operation["x-problem-codes"].as_array().unwrap();
        if !known.iter().any(|one| *one == code.as_str()) {
            return Err(format!("{} has no code {code}", operation["operationId"]));
        }
    }
    fits(&body, &content["schema"], true).map_err(|(at, wrong)| format!("{at}: {wrong}"))
}

/// The address that a path is of: the one with the most that is no parameter.
fn address(path: &str) -> Option<(&'static str, &'static Value)> {
    let segments: Vec<&str> = path.split('/').collect();
    let paths = document()["paths"].as_object().unwrap();
    let fitting = paths.iter().filter(|(template, _)| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == segments.len()
            && parts.iter().zip(&segments).all(|(part, segment)| part.starts_with('{') || part == segment)
    });
    fitting.min_by_key(|(template, _)| template.matches('{').count()).map(|(template, item)| (template.as_str(), item))
}

fn followed(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(at) => document().pointer(at.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Where something is wrong, and what.
type Wrong = (String, String);

/// Whether a value is as a schema (2020-12, as far as the document uses it) has it. With `closed`, a member that the schema does not
/// name is wrong as well.
fn fits(value: &Value, schema: &Value, closed: bool) -> Result<(), Wrong> {
    let wrong = |what: String| Err((String::new(), what));
    let Value::Object(words) = schema else {
        return if *schema == Value::Bool(false) { wrong("nothing may be here".into()) } else { Ok(()) };
    };
    for (word, said) in words {
        match word.as_str() {
            "$ref" => fits(value, document().pointer(said.as_str().unwrap().trim_start_matches('#')).unwrap(), closed)?,
            "type" if !is_of(value, said) => return wrong(format!("{value} is not of type {said}")),
            "const" if value != said => return wrong(format!("{value} is not {said}")),
            "enum" if !said.as_array().unwrap().contains(value) => return wrong(format!("{value} is not one of {said}")),
            "allOf" => {
                let alone = said.as_array().unwrap().len() == 1;
                for one in said.as_array().unwrap() {
                    fits(value, one, closed && (alone || one.get("$ref").is_some()))?;
                }
            }
            "anyOf" | "oneOf" => {
                let tried: Vec<_> = said.as_array().unwrap().iter().map(|one| fits(value, one, closed)).collect();
                let fitting = tried.iter().filter(|one| one.is_ok()).count();
                if fitting == 0 || (word == "oneOf" && fitting != 1) {
                    return wrong(format!("{fitting} of {word} fit: {tried:?}"));
                }
            }
            "pattern" => {
                let prefix: String = said.as_str().unwrap().chars().skip(1).take(4).collect();
                let is_id = prefix.ends_with('_') && prefix[..3].chars().all(|letter| letter.is_ascii_lowercase());
                if is_id && !value.as_str().is_some_and(|id| id.starts_with(&prefix) && id.len() == 30) {
                    return wrong(format!("{value} is no {prefix} id"));
                }
            }
            "format" => {
                let text = value.as_str().unwrap_or_default();
                let sound = match said.as_str().unwrap() {
                    _ if !value.is_string() => true,
                    "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
                    "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
                    _ => true,
                };
                if !sound {
                    return wrong(format!("{value} is no {said}"));
                }
            }
            "minimum" if value.as_f64().is_some_and(|number| number < said.as_f64().unwrap()) => {
                return wrong("too small".into());
            }
            "minItems" if value.as_array().is_some_and(|all| (all.len() as u64) < said.as_u64().unwrap()) => {
                return wrong("too few".into());
            }
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    within(&place.to_string(), fits(item, said, closed))?;
                }
            }
            "required" => {
                let missing =
                    said.as_array().unwrap().iter().find(|name| value.is_object() && value.get(name.as_str().unwrap()).is_none());
                if let Some(missing) = missing {
                    return wrong(format!("{missing} is missing"));
                }
            }
            _ => {}
        }
    }
    let nothing = Map::new();
    let named = words.get("properties").and_then(Value::as_object);
    for (name, member) in value.as_object().unwrap_or(&nothing) {
        match (named.and_then(|named| named.get(name)), words.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => within(name, fits(member, schema, closed))?,
            (None, None) if closed && named.is_some() => return wrong(format!("{name} is not described")),
            (None, None) => {}
        }
    }
    Ok(())
}

fn within(name: &str, outcome: Result<(), Wrong>) -> Result<(), Wrong> {
    outcome.map_err(|(at, wrong)| (format!("/{name}{at}"), wrong))
}

fn is_of(value: &Value, types: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    types.as_array().map_or_else(|| is(types), |types| types.iter().any(is))
}

#[test]
fn the_document_and_the_page_are_there_for_everybody_and_load_nothing_from_elsewhere() {
    let house = House::shared();
    let api = house.get("/openapi.json").send().expect(200);
    assert_eq!((api.header("content-type"), &api.json()), (Some("application/json"), document()));
    let page = house.get("/docs").send().expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(page.text().contains("id=\"readRecords\"") && !page.text().contains("<script"));
    let style = house.get("/docs/style.css").send().expect(200);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
}

#[test]
fn an_answer_that_is_not_as_described_is_noticed() {
    let says = |method: &str, target: &str, status: u16, media: &str, body: Value| {
        let headers = vec![("content-type".to_owned(), media.to_owned())];
        judged(method, target, &Reply { status, headers, bytes: body.to_string().into_bytes() })
    };
    let id = "sub_4h7k2m9p3q8r5s1t6v0w7x2y4z";
    let look = |status, body| says("POST", "/v1/subject-lookups", status, "application/json", body);
    assert_eq!(look(200, json!({"id": id})), Ok(()));
    assert!(look(200, json!({"id": id, "name": "Ada"})).unwrap_err().contains("name is not described"));
    assert!(look(200, json!({})).unwrap_err().contains("is missing"));
    assert!(look(200, json!({"id": "rec_4h7k2m9p3q8r5s1t6v0w7x2y4z"})).unwrap_err().contains("no sub_ id"));
    assert!(look(200, json!({"id": 7})).is_err() && look(200, json!([])).unwrap_err().contains("not of type"));
    assert!(look(418, json!({"id": id})).unwrap_err().contains("no such status"));
    assert!(says("POST", "/v1/subject-lookups", 200, "text/html", json!({})).unwrap_err().contains("no text/html"));
    let problem = |code: &str, status: u16| {
        let body = json!({"type": format!("urn:oubliette:problem:{code}"), "title": "A", "status": status, "detail": "B"});
        says("POST", "/v1/subject-lookups", status, "application/problem+json", body)
    };
    assert_eq!(problem("alias-ambiguous", 409), Ok(()));
    assert!(problem("alias-taken", 409).unwrap_err().contains("no code alias-taken"));
    assert!(problem("not-found", 409).is_err() && problem("made-up", 409).is_err());
    let page = json!({"subject": id, "consents": [{"id": 1}], "next_cursor": null});
    let wrong = says("GET", &format!("/v1/subjects/{id}/consents?limit=1"), 200, "application/json", page).unwrap_err();
    assert!(wrong.starts_with("/consents/0"), "{wrong}");
}
