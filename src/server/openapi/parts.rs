//! What many operations share: parameters, headers, credentials, problems.

use std::collections::BTreeMap;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::described::Header;
use super::schemas::reference;
use crate::model::code::Code;
use crate::model::ids::{
    CallerId, CaseId, ConsentId, ErasureId, IncidentId, NoticeId, RecordId, RequestId, RestrictionId, TenantId,
};
use crate::model::states::REQUEST;
use crate::model::wire::{RequestType, Whom};
use crate::server::pages::{config_kinds, schema_names};
use crate::server::problem;

/// The pattern of a name: of a field, a purpose, a group, a partner.
const NAME: &str = "^[a-z0-9_-]{1,64}$";
/// The pattern of a word of the caller's own.
const WORD: &str = "^[A-Za-z0-9_.-]{1,64}$";

/// What a parameter is, and its schema.
type Told = Option<(&'static str, Value)>;

fn of<T: JsonSchema>(generator: &mut SchemaGenerator, said: &'static str) -> Told {
    Some((said, generator.subschema_for::<T>().to_value()))
}

fn patterned(said: &'static str, pattern: &str, example: &str) -> Told {
    Some((said, json!({"type": "string", "pattern": pattern, "examples": [example]})))
}

fn text(said: &'static str, example: &str) -> Told {
    Some((said, json!({"type": "string", "minLength": 1, "maxLength": 64, "examples": [example]})))
}

fn one_of(said: &'static str, words: &[&'static str]) -> Told {
    Some((said, json!({"type": "string", "enum": words})))
}

fn formatted(said: &'static str, format: &str) -> Told {
    Some((said, json!({"type": "string", "format": format})))
}

fn number(said: &'static str, least: u64) -> Told {
    Some((said, json!({"type": "integer", "minimum": least, "maximum": u64::MAX})))
}

fn yes_or_no(said: &'static str) -> Told {
    Some((said, json!({"type": "boolean", "default": false})))
}

/// What a part of a path is.
pub(super) fn place(generator: &mut SchemaGenerator, path: &str, name: &str) -> Told {
    match name {
        "subject" => of::<Whom>(generator, "The person: an id, or `me` for the bearer of a person's own token."),
        "record" => of::<RecordId>(generator, "The record."),
        "consent" => of::<ConsentId>(generator, "The consent event."),
        "restriction" => of::<RestrictionId>(generator, "The restriction."),
        "request" => of::<RequestId>(generator, "The request."),
        "erasure" => of::<ErasureId>(generator, "The erasure."),
        "case" => of::<CaseId>(generator, "The case."),
        "notice" => of::<NoticeId>(generator, "The letter."),
        "incident" => of::<IncidentId>(generator, "The incident; the caller makes its id."),
        "caller" if path.ends_with('}') => {
            let id = generator.subschema_for::<CallerId>().to_value();
            Some(("The caller; `new` makes one.", json!({"anyOf": [id, {"const": "new"}]})))
        }
        "caller" => of::<CallerId>(generator, "The caller."),
        "reference" => patterned("The contract's number. A person's name or address does not belong into it.", WORD, "ord-1"),
        "preference" => one_of("The switch.", &["marketing", "personalised-ads", "cookies", "gpc"]),
        "field" => patterned("A field of kind `secret`.", NAME, "password"),
        "version" => text("A version by its name, `current`, or a proposal by its id.", "current"),
        "kind" if path.starts_with("/schemas") => one_of("What it describes.", &schema_names()),
        "kind" => one_of("The kind.", &config_kinds()),
        "id" => text("The entry.", "requests"),
        "size" => {
            let either = json!({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "latest"}], "examples": ["latest"]});
            Some(("Entries of the tree, or `latest`.", either))
        }
        "code" => one_of("The code.", &Code::ALL.iter().map(|code| code.text()).collect::<Vec<_>>()),
        _ => None,
    }
}

/// What a parameter of the query is.
pub(super) fn query(generator: &mut SchemaGenerator, path: &str, name: &str) -> Told {
    let counts_days = path.ends_with("/stats");
    match name {
        "limit" => {
            let limit = json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 50});
            Some(("Entries of the page.", limit))
        }
        "cursor" => {
            let opaque = json!({"type": "string", "pattern": "^[A-Za-z0-9_.~=-]{1,1024}$"});
            Some(("What `next_cursor` of the page before said, for the same caller.", opaque))
        }
        "fields" => {
            let names = json!({"type": "array", "items": {"type": "string", "pattern": NAME}, "minItems": 1, "uniqueItems": true,
                               "examples": [["name", "email"]]});
            Some(("Names of fields, each once; without it all that the purpose may see.", names))
        }
        "group" => patterned("Only records in this purpose group.", NAME, "identity"),
        "record" => of::<RecordId>(generator, "Only this record; then the answer has an ETag."),
        "state" => one_of("Only requests in this state.", REQUEST.states),
        "type" => of::<RequestType>(generator, "Only requests of this type."),
        "due_before" => formatted("Only what is to be answered before then.", "date-time"),
        "part" => one_of(
            "The part of the bundle; without it the page for a browser and the data for everybody else.",
            &["data", "copy", "manifest"],
        ),
        "diff" => patterned("An older version, to be told what changed since.", NAME, "2026-11-1"),
        "controller" => of::<TenantId>(generator, "Whose policy, for a caller without credentials."),
        "subject" => of::<Whom>(generator, "Only about this person."),
        "partner" => patterned("Only to this partner.", NAME, "parcel"),
        "updates" => yes_or_no("What past recipients are to hear."),
        "overdue" => yes_or_no("What should have been acknowledged by now."),
        "from" if path.contains("/checkpoints/") => number("A size before, for a proof of consistency.", 1),
        "from" if counts_days => formatted("First day; today unless told.", "date"),
        "until" if counts_days => formatted("Last day; today unless told.", "date"),
        "from" => formatted("Not before.", "date-time"),
        "until" => formatted("Before.", "date-time"),
        "leaf" => number("An entry, for a proof that it is in the tree.", 0),
        "caller" => of::<CallerId>(generator, "Only of this caller."),
        "purpose" => patterned("Only for this purpose.", NAME, "b-service"),
        "tag" => patterned("Only of the person with this tag.", "^[0-9a-f]{32}$", "9f2c4e6a8b0d1f3e5a7c9b1d3f5e7a90"),
        "measure" => patterned("The measure.", NAME, "response-time"),
        "by" => patterned("The dimension to break it down by.", NAME, "page"),
        _ => None,
    }
}

/// Whether a query does not go without.
pub(super) fn is_needed(path: &str, name: &str) -> bool {
    (path, name) == ("/v1/stats", "measure")
}

/// The references of a header of the request.
pub(super) fn headers(header: Header) -> &'static [&'static str] {
    match header {
        Header::Purpose => &["Purpose"],
        Header::Idempotency => &["IdempotencyKey"],
        Header::IfMatch => &["IfMatchNeeded"],
        Header::IfMatchToo => &["IfMatch"],
        Header::Grounds => &["Contract", "Rule"],
        Header::Case => &["Case"],
        Header::Clear => &["Clear"],
        Header::Gpc => &["Gpc"],
    }
}

/// `components/parameters`: the headers of requests, each by its name here.
pub(super) fn parameters() -> Value {
    let header = |name: &str, said: &str, schema: Value| json!({"name": name, "in": "header", "required": false, "description": said, "schema": schema});
    let needed = |mut header: Value| {
        header["required"] = true.into();
        header
    };
    let visible = |most: u32, example: &str| json!({"type": "string", "maxLength": most, "pattern": "^[!-~]([ -~]*[!-~])?$", "examples": [example]});
    let word = |example: &str| json!({"type": "string", "pattern": WORD, "examples": [example]});
    let purpose = json!({"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$", "examples": ["b-service"]});
    let version = header("If-Match", "The version that is meant: the ETag of an answer.", visible(128, "\"1\""));
    let said_no =
        "`1`: the person's browser says no to being sold, shared or profiled for advertising. Anything else says nothing.";
    let once = "Random, never made from anything personal. The same key with the same call gets the first answer again for 24 h.";
    let granted = "What for: a purpose of the published policy that the token grants.";
    let clear = "`true`: clear text of what is masked by default, or 401.";
    let case = "The case, or the person's open request, that the call rests on.";
    json!({
        "PurposeNeeded": needed(header("Vault-Purpose", granted, purpose.clone())),
        "Purpose": header("Vault-Purpose", "What for, where this caller has to say it.", purpose),
        "IdempotencyKey": header("Idempotency-Key", once, visible(255, "6f1c2d8e")),
        "IfMatchNeeded": needed(version.clone()),
        "IfMatch": version,
        "Contract": header("Vault-Contract", "The contract that the call rests on.", word("ord-1")),
        "Rule": header("Vault-Rule", "The legal rule that the call rests on.", word("de-hgb-257")),
        "Case": header("Vault-Case", case, word("cas_4h7k2m9p3q8r5s1t6v0w7x2y4z")),
        "Clear": header("Vault-Clear", clear, json!({"type": "string", "enum": ["true", "false"]})),
        "Gpc": header("Sec-GPC", said_no, visible(8, "1")),
    })
}

/// `components/headers`: those of answers.
pub(super) fn answered_headers() -> Value {
    let header = |said: &str, schema: Value| json!({"description": said, "schema": schema});
    let patterned = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let id = "The id of the request: its own, or one that was made.";
    let version = "The version, for `If-Match`. Opaque; never a digest of what it is about.";
    let needed = "The credentials that are needed; for a step up as RFC 9470 has it.";
    json!({
        "Vault-Decision": header("The entry in the trail.", reference("DecisionId")),
        "X-Request-Id": header(id, patterned("^[A-Za-z0-9_-]{1,64}$")),
        "traceparent": header("W3C Trace Context.", json!({"type": "string"})),
        "ETag": header(version, patterned("^\".*\"$")),
        "Location": header("The address of what was made, or of what the call led to.", patterned("^/v1/")),
        "Retry-After": header("Seconds after which another try makes sense.", json!({"type": "integer", "minimum": 0})),
        "RateLimit": header("What is left of the limit: nothing, for so many seconds.", json!({"type": "string"})),
        "WWW-Authenticate": header(needed, patterned("^Bearer ")),
    })
}

/// `components/securitySchemes`.
pub(super) fn credentials() -> Value {
    json!({
        "bearer": {
            "type": "http", "scheme": "bearer", "bearerFormat": "oub_…, or a JWT of the configured issuer (RFC 9068)",
            "description": "Who asks. A token that is bound to a client certificate (RFC 8705) works over a connection on which that was shown.",
        },
        "claim": {
            "type": "apiKey", "in": "header", "name": "Vault-Claim",
            "description": "The claim code of an erasure, or the download code of a bundle. It counts against the limit of failed credentials.",
        },
    })
}

/// `components/responses`: one for each status that says no, with every code that it can have.
pub(super) fn problems() -> Value {
    let mut all: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    // No operation answers that an address has no such method.
    for &code in Code::ALL.iter().filter(|code| **code != Code::MethodNotAllowed) {
        all.entry(problem::status(code).as_u16()).or_default().push(code);
    }
    all.into_iter().map(|(status, codes)| (format!("Problem{status}"), problem_of(status, &codes))).collect()
}

fn problem_of(status: u16, codes: &[Code]) -> Value {
    let mut headers = vec!["Vault-Decision", "X-Request-Id", "traceparent"];
    for code in codes {
        headers.extend(match code {
            Code::RateLimited => &["Retry-After", "RateLimit"][..],
            Code::Overloaded | Code::IdempotencyInFlight => &["Retry-After"],
            Code::Unauthenticated => &["WWW-Authenticate"],
            _ => &[],
        });
    }
    let headers: Map<String, Value> = headers.into_iter().map(|name| (name.to_owned(), header(name))).collect();
    let first = codes.first().copied().unwrap_or(Code::Internal);
    let said = problem::status(first).canonical_reason().unwrap_or_default();
    let types: Vec<String> = codes.iter().map(|code| urn(*code)).collect();
    let narrowed = json!({"properties": {"type": {"enum": types}, "status": {"const": status}}});
    let schema = json!({"allOf": [reference("Problem"), narrowed]});
    let example = json!({"type": urn(first), "title": problem::title(first), "status": status, "detail": first.sentence()});
    let content = json!({"application/problem+json": {"schema": schema, "example": example}});
    json!({"description": said, "headers": headers, "content": content})
}

fn urn(code: Code) -> String {
    format!("urn:oubliette:problem:{}", code.text())
}

/// A reference to a header of an answer.
pub(super) fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// A reference to a header of a request.
pub(super) fn parameter(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}
