//! `/openapi.json` and `/docs`: the API as it is, made from the table of routes, the types of the bodies, the guards and the roles.

mod described;
mod operations;
mod page;
mod parts;
mod schemas;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use self::described::{Described, Gives, Header, Open, schema_of};
use self::schemas::{Schemas, reference, rename};
use super::problem::{self, NOT_READY, Problem};
use super::routes::{ROUTES, Route};
use crate::model::caller::Role;
use crate::model::code::Code;
use crate::vault::views::Certificate;
use crate::vault::{ROLES, may, refusals, takes_purpose};

pub(super) use page::{STYLE, html};

/// The document. It is made once, when it is first asked for.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

/// What every operation can be refused with before it is looked at.
const EVERYWHERE: [Code; 8] = [
    Code::MalformedRequest,
    Code::RateLimited,
    Code::HeadersTooLarge,
    Code::Internal,
    Code::Sealed,
    Code::StoreUnavailable,
    Code::AuditUnavailable,
    Code::Overloaded,
];

/// What a page can be refused with.
const PAGES: [Code; 4] = [Code::MalformedRequest, Code::HeadersTooLarge, Code::Internal, Code::Overloaded];

/// What a body can be refused with.
const BODIES: [Code; 5] =
    [Code::MalformedBody, Code::InvalidBody, Code::TooLarge, Code::RequestTimeout, Code::UnsupportedMediaType];

/// What addresses are about, by what stands in them; about people themselves where nothing else says it. In the order of the document.
const TAGS: [(&str, &str, &[&str]); 17] = [
    ("People", "The people themselves.", &["/v1/subject"]),
    ("Records", "What is kept of a person, for purposes.", &["/records", "/queries", "/secrets"]),
    ("Consents", "What a person said: consents, switches, a guardian's word.", &["/consents", "/preferences", "/guardian"]),
    ("Restrictions", "What stops a use: Art. 18, objections, disputes, legal holds.", &["/restrictions"]),
    ("Notices", "What a person was shown, and letters.", &["/notices"]),
    ("Requests", "What a person asks for.", &["/v1/requests"]),
    ("Erasures", "Making unreadable, and proving it.", &["/v1/erasures"]),
    ("Disclosures", "What leaves the vault, to whom and why.", &["/v1/disclosures", "/v1/cases"]),
    ("Incidents", "What went wrong, whom it concerns, by when whom to tell.", &["/v1/incidents"]),
    ("Decisions", "What a call would be answered, and why.", &["/v1/decisions"]),
    ("Statistics", "Counts that are about nobody.", &["/v1/stats"]),
    ("Policy", "What decides: configuration and its versions.", &["/v1/policy-versions", "/v1/config"]),
    ("Register", "The records of processing.", &["/v1/ropa"]),
    ("Keys", "The keys of the vault, never their bytes.", &["/v1/keys"]),
    ("Trail", "What was decided, and its proofs.", &["/v1/audit"]),
    ("Callers", "Who may ask.", &["/v1/callers", "/v1/step-ups"]),
    ("Pages", "What stands open.", &[]),
];

fn tag(path: &str) -> &'static str {
    let (people, others) = (TAGS[0], &TAGS[1..]);
    let is_page = !path.starts_with("/v1");
    let fits = |parts: &[&str]| parts.iter().any(|part| path.contains(part));
    others
        .iter()
        .find(|(name, _, parts)| if *name == "Pages" { is_page } else { !is_page && fits(parts) })
        .map_or(people.0, |other| other.0)
}

fn tags() -> Value {
    TAGS.iter().map(|(name, said, _)| json!({"name": name, "description": said})).collect()
}

fn make() -> Value {
    let mut schemas = Schemas::new();
    let (operations, pages) = (operations::all(), operations::pages());
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for one in &operations {
        let route = ROUTES.iter().find(|route| (route.method.as_str(), route.path) == (one.method, one.path));
        let item = operation(&mut schemas, one, route, &operations);
        paths.entry(one.path).or_default().insert(one.method.to_ascii_lowercase(), item);
    }
    for one in &pages {
        let item = operation(&mut schemas, one, None, &[]);
        paths.entry(one.path).or_default().insert(one.method.to_ascii_lowercase(), item);
    }
    // What is referred to by name alone.
    schemas.answered(schema_of::<Problem<'_>>);
    schemas.answered(schema_of::<Certificate>);
    let (mut components, renamed) = schemas.components();
    let mut paths = json!(paths);
    rename_answers(&mut paths, &renamed);
    complete(&mut components);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Oubliette",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A personal-data vault that can forget, and prove it.",
            "description": SAYS,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The vault that answered this."}],
        "tags": tags(),
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "parameters": parts::parameters(),
            "headers": parts::answered_headers(),
            "responses": parts::problems(),
            "securitySchemes": parts::credentials(),
        },
    })
}

const SAYS: &str = "HTTPS only. JSON in and out, and strict: an unknown member, parameter or repeated name is refused. No personal data stands in a \
path, a query, a header, a log line or a problem: a look-up by e-mail is a POST.\n\n\
An operation of a purpose names it in `Vault-Purpose`. Every answer of an operation names its entry in the trail in `Vault-Decision`. What is not \
there, what the caller may not know of, and another controller's is the same 404. Refusals are `application/problem+json` (RFC 9457): \
`x-problem-codes` of an operation lists its codes, `/problems` explains each, and one code has one status. `x-roles` says which role may call: \
`allowed`, `own` objects only, with a `second-person`, or for `rights-only`. `x-operation` is the operation that the trail and a token's `actions` \
know the address by.\n\n\
Lists take `limit` and `cursor`; `next_cursor` is null at the end, and a page may be shorter than the limit.\n\n\
`X-Request-Id` is told back where it is 1 to 64 of `A-Z a-z 0-9 - _`, and replaced where it is not; a `traceparent` (W3C Trace Context) is \
continued with a parent of its own.";

/// One address with its verb.
fn operation(schemas: &mut Schemas, one: &Described, route: Option<&Route>, all: &[Described]) -> Value {
    let mut parameters = Vec::new();
    for name in places(one.path) {
        let (said, schema) = schemas.with_asked(|generator| parts::place(generator, one.path, name)).unwrap_or(("", json!({})));
        parameters.push(json!({"name": name, "in": "path", "required": true, "description": said, "schema": schema}));
    }
    for &name in route.map_or(&[][..], |route| route.query) {
        let (said, schema) = schemas.with_asked(|generator| parts::query(generator, one.path, name)).unwrap_or(("", json!({})));
        let mut parameter = json!({"name": name, "in": "query", "required": parts::is_needed(one.path, name), "description": said, "schema": schema});
        if schema["type"] == "array" {
            parameter["style"] = "form".into();
            parameter["explode"] = false.into();
        }
        parameters.push(parameter);
    }
    if route.is_some_and(|route| takes_purpose(route.operation)) {
        parameters.push(parts::parameter("PurposeNeeded"));
    }
    let headers = one.headers.iter().flat_map(|header| parts::headers(*header));
    parameters.extend(headers.map(|name| parts::parameter(name)));
    let codes = codes(one, route);
    let mut responses = Map::new();
    for gives in &one.gives {
        responses.insert(gives.status.as_u16().to_string(), answer(schemas, one, gives, all, route.is_some()));
    }
    if one.path == "/readyz" {
        let schema = schemas.answered(schema_of::<operations::Health>);
        let content = json!({"application/json": {"schema": schema, "example": {"status": "not-ready", "reason": "sealed"}}});
        responses.insert(NOT_READY.as_u16().to_string(), json!({"description": "It cannot, and why.", "content": content}));
    }
    let statuses: BTreeSet<u16> = codes.iter().map(|code| problem::status(*code).as_u16()).collect();
    for status in statuses {
        let of_status = codes.iter().filter(|code| problem::status(**code).as_u16() == status);
        let said = of_status.map(|code| format!("`{}`", code.text())).collect::<Vec<_>>().join(", ");
        let response = json!({"$ref": format!("#/components/responses/Problem{status}"), "description": said});
        responses.entry(status.to_string()).or_insert(response);
    }
    let mut item = json!({
        "operationId": one.id, "tags": [tag(one.path)], "summary": one.title, "responses": responses,
        "security": security(one, route.is_some()),
        "x-problem-codes": codes.iter().map(|code| code.text()).collect::<Vec<_>>(),
    });
    if !one.says.is_empty() {
        item["description"] = one.says.into();
    }
    if !parameters.is_empty() {
        item["parameters"] = parameters.into();
    }
    if let Some(body) = body(schemas, one) {
        item["requestBody"] = body;
    }
    if let Some(route) = route {
        item["x-operation"] = route.operation.text().into();
        item["x-roles"] = ROLES
            .iter()
            .filter_map(|role| Some((word(*role)?, may(route.operation, *role)?.into())))
            .collect::<Map<String, Value>>()
            .into();
    }
    item
}

/// A role's name in bodies; none of the one that no token carries.
fn word(role: Role) -> Option<String> {
    (role != Role::Scheduler).then(|| serde_json::to_value(role).ok()?.as_str().map(str::to_owned)).flatten()
}

/// The names in braces of a path.
fn places(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// Every code of an operation, in the order of the documents.
fn codes(one: &Described, route: Option<&Route>) -> Vec<Code> {
    let mut codes: BTreeSet<Code> = one.codes.iter().copied().collect();
    let Some(route) = route else {
        codes.extend(PAGES);
        codes.extend((one.path.contains('{') || one.path.ends_with(".txt")).then_some(Code::NotFound));
        codes.extend(one.path.ends_with("jwks.json").then_some(Code::Sealed));
        return codes.into_iter().collect();
    };
    codes.extend(EVERYWHERE);
    codes.extend(refusals(route.operation));
    // Of whom nothing is left but what is held is asked for in the same way as of whom nothing is left.
    codes.extend(codes.contains(&Code::Erased).then_some(Code::Held));
    // Anything that has a body, or might have one, and anything that is changed.
    if route.method != http::Method::GET {
        // A place of the keyring that is away holds up whatever ends an epoch.
        codes.extend([Code::DiskFull, Code::TooLarge, Code::InvalidBody, Code::CustodyUnavailable]);
        codes.extend(
            [Code::MalformedBody, Code::RequestTimeout, Code::UnsupportedMediaType]
                .iter()
                .filter(|_| route.method != http::Method::DELETE),
        );
    }
    if one.takes.is_some() {
        codes.extend(BODIES);
    }
    codes.extend(route.query.contains(&"cursor").then_some(Code::BadCursor));
    if one.headers.contains(&Header::Idempotency) {
        codes.extend([Code::IdempotencyInFlight, Code::IdempotencyMismatch]);
    }
    let order = |code: &Code| Code::ALL.iter().position(|one| one == code);
    let mut codes: Vec<Code> = codes.into_iter().collect();
    codes.sort_by_key(order);
    codes
}

fn security(one: &Described, is_operation: bool) -> Value {
    match one.open {
        _ if !is_operation => json!([]),
        Open::Never => json!([{"bearer": []}]),
        Open::ToClaims => json!([{"bearer": []}, {"claim": []}]),
        Open::ToAll => json!([{"bearer": []}, {}]),
    }
}

fn body(schemas: &mut Schemas, one: &Described) -> Option<Value> {
    let takes = one.takes.as_ref()?;
    let schema = schemas.asked(takes.schema);
    let examples: Map<String, Value> = takes
        .examples
        .iter()
        .map(|(name, value)| {
            let value = if takes.many { json!([value]) } else { value.clone() };
            (name.replace(' ', "-"), json!({"value": value}))
        })
        .collect();
    let content: Map<String, Value> = takes
        .media
        .iter()
        .map(|media| {
            let content = match (*media, takes.many) {
                ("application/x-ndjson", _) => {
                    let lines: String = takes.examples.iter().map(|(_, value)| format!("{value}\n")).collect();
                    json!({"schema": {"type": "string", "description": "One such item a line."}, "example": lines})
                }
                (_, true) => {
                    json!({"schema": {"type": "array", "items": schema, "minItems": 1, "maxItems": 1000}, "examples": examples})
                }
                _ => json!({"schema": schema, "examples": examples}),
            };
            ((*media).to_owned(), content)
        })
        .collect();
    Some(json!({"required": !takes.optional, "content": content}))
}

fn answer(schemas: &mut Schemas, one: &Described, gives: &Gives, all: &[Described], is_operation: bool) -> Value {
    let mut content = Map::new();
    for (media, schema) in &gives.media {
        let mut item = match schema {
            Some(schema) => json!({"schema": schemas.answered(*schema)}),
            None => json!({"schema": by_media(one.path, media)}),
        };
        if let (Some(example), Some(_)) = (gives.example.as_ref().filter(|example| !example.is_null()), schema) {
            item["example"] = example.clone();
        }
        content.insert((*media).to_owned(), item);
    }
    let usual: &[&str] =
        if is_operation { &["Vault-Decision", "X-Request-Id", "traceparent"] } else { &["X-Request-Id", "traceparent"] };
    let headers: Map<String, Value> =
        usual.iter().chain(&gives.headers).map(|name| ((*name).to_owned(), parts::header(name))).collect();
    let mut answer = json!({"description": gives.says, "headers": headers});
    if !content.is_empty() {
        answer["content"] = content.into();
    }
    if let Some((parameter, pointer)) = gives.names {
        let links = links(one, parameter, pointer, all);
        answer["links"] = links.into();
    }
    answer
}

/// What is no JSON of a type of ours.
fn by_media(path: &str, media: &str) -> Value {
    match (path, media) {
        ("/v1/requests/{request}/result", "application/json") => {
            json!({"type": "object", "description": "The data by `/schemas/subject-bundle`, or the manifest."})
        }
        (_, media) if media.ends_with("json") && !media.contains("ndjson") => json!({"type": "object"}),
        _ => json!({"type": "string"}),
    }
}

/// What can be done next with what was made.
fn links(one: &Described, parameter: &str, pointer: &str, all: &[Described]) -> Map<String, Value> {
    let own: Vec<&str> = places(one.path).collect();
    let fits = |other: &&Described| {
        let mut needed = places(other.path);
        places(other.path).any(|name| name == parameter) && needed.all(|name| name == parameter || own.contains(&name))
    };
    let link = |other: &Described| {
        let parameters: Map<String, Value> = places(other.path)
            .map(|name| {
                let from = if name == parameter { format!("$response.body#{pointer}") } else { format!("$request.path.{name}") };
                (name.to_owned(), from.into())
            })
            .collect();
        (other.id.to_owned(), json!({"operationId": other.id, "parameters": parameters}))
    };
    all.iter().filter(|other| other.id != one.id).filter(fits).map(link).collect()
}

/// Only what is answered has other names than what is asked.
fn rename_answers(paths: &mut Value, renamed: &BTreeMap<String, String>) {
    let operations = paths.as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in operations.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut()) {
        rename(&mut operation["responses"], renamed);
    }
}

/// What stands in files of its own, or is known here as JSON alone.
fn complete(components: &mut Map<String, Value>) {
    let receipt = super::pages::GIVEN.iter().find(|(name, _)| *name == "consent-receipt");
    let mut receipt: Map<String, Value> = receipt.and_then(|(_, text)| serde_json::from_str(text).ok()).unwrap_or_default();
    receipt.retain(|word, _| !word.starts_with('$'));
    components.insert("ConsentReceipt".into(), receipt.into());
    let mut point = |of: &str, member: &str, to: &str| {
        if let Some(property) = components.get_mut(of).and_then(|schema| schema.pointer_mut(&format!("/properties/{member}"))) {
            let said = property["description"].take();
            *property = reference(to);
            property["description"] = said;
        }
    };
    point("ReceiptView", "receipt", "ConsentReceipt");
    point("ErasureView", "certificate", "Certificate");
}

#[cfg(test)]
mod tests;
