//! What stands open without credentials: health, readiness, the problems in words, and the ends of the map.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::json;

use super::edge::Edge;
use super::{openapi, problem};
use crate::model::code::Code;
use crate::telemetry::Noted;
use crate::tenant::document::Kind;

pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OPEN_METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const SCHEMA: HeaderValue = HeaderValue::from_static("application/schema+json");
/// Nothing is loaded, run, sent or framed. What follows from `default-src` is named for readers that look for it.
pub(super) const NOTHING_ELSE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const STYLED: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// Days that `security.txt` is good for (RFC 9116 wants less than a year).
const DAYS: i64 = 180;

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> Response {
    healthy()
}

pub(super) fn healthy() -> Response {
    page("/healthz", JSON, json!({"status": "ok"}).to_string())
}

/// `GET /readyz`: the vault can serve, or why not.
pub(super) async fn readyz(State(edge): State<Arc<Edge>>) -> Response {
    let ready = edge.vault.is_ready();
    let body = match ready {
        Ok(()) => json!({"status": "ready"}),
        Err(reason) => json!({"status": "not-ready", "reason": reason}),
    };
    let mut response = page("/readyz", JSON, body.to_string());
    *response.status_mut() = problem::readiness(ready.is_ok());
    response
}

/// `GET /problems`: all codes.
pub(super) async fn problems(headers: HeaderMap) -> Response {
    explained("/problems", "Problems", Code::ALL, &headers)
}

/// `GET /problems/{code}`: one code.
pub(super) async fn problem(Path(text): Path<String>, headers: HeaderMap) -> Response {
    match Code::ALL.iter().position(|code| code.text() == text) {
        Some(place) => explained("/problems/{code}", &problem::title(Code::ALL[place]), &Code::ALL[place..=place], &headers),
        None => not_found().await,
    }
}

/// `GET /metrics`, on the listener of its own: how the vault fares.
pub(super) async fn metrics(State(edge): State<Arc<Edge>>) -> Response {
    match edge.metrics.text(&edge.vault) {
        Some(text) => page("/metrics", OPEN_METRICS, text),
        None => problem::refuse(&Code::Internal.into(), Noted::default()),
    }
}

/// The JSON Schemas (2020-12) of what is given to people, by name.
pub(super) const GIVEN: [(&str, &str); 2] = [
    ("subject-bundle", include_str!("../../docs/schemas/subject-bundle.json")),
    ("consent-receipt", include_str!("../../docs/schemas/consent-receipt.json")),
];

/// The kinds of configuration.
pub(super) fn config_kinds() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.text()).collect()
}

/// Everything that has a schema.
pub(super) fn schema_names() -> Vec<&'static str> {
    let kinds = Kind::ALL.iter().filter(|kind| kind.schema().is_some()).map(|kind| kind.text());
    kinds.chain(GIVEN.iter().map(|(name, _)| *name)).collect()
}

/// `GET /openapi.json`: the API as it is.
pub(super) async fn api() -> Response {
    page("/openapi.json", JSON, openapi::document().to_string())
}

/// `GET /docs`: the same, to read.
pub(super) async fn docs() -> Response {
    let mut response = page("/docs", HTML, openapi::html().to_owned());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, STYLED);
    response
}

/// `GET /docs/style.css`: how it looks.
pub(super) async fn style() -> Response {
    page("/docs/style.css", CSS, openapi::STYLE.to_owned())
}

/// `GET /schemas/{kind}`: the JSON Schema of a kind of configuration, or of something that is given to people.
pub(super) async fn schema(Path(kind): Path<String>) -> Response {
    let given = GIVEN.iter().find(|(name, _)| *name == kind).map(|(_, schema)| *schema);
    match Kind::named(&kind).and_then(Kind::schema).or(given) {
        Some(schema) => page("/schemas/{kind}", SCHEMA, schema.to_owned()),
        None => not_found().await,
    }
}

/// `GET /.well-known/security.txt` (RFC 9116), where the configuration names a contact.
pub(super) async fn security(State(edge): State<Arc<Edge>>) -> Response {
    let Some(contact) = &edge.security_contact else { return not_found().await };
    let until = edge.clock.now() + jiff::SignedDuration::from_hours(24 * DAYS);
    let until = until.strftime("%Y-%m-%dT00:00:00Z");
    let policy = edge.security_policy.as_ref().map_or_else(String::new, |policy| format!("Policy: {policy}\n"));
    let text = format!("Contact: {contact}\nExpires: {until}\nPreferred-Languages: en\n{policy}");
    page("/.well-known/security.txt", TEXT, text)
}

/// `GET /.well-known/gpc.json`: the Global Privacy Control is heeded.
pub(super) async fn gpc() -> Response {
    page("/.well-known/gpc.json", JSON, "{\"gpc\":true,\"lastUpdate\":\"2026-11-23\"}\n".to_owned())
}

/// `GET /.well-known/jwks.json`: the public key of what is signed for partners (RFC 7517, RFC 8037).
pub(super) async fn keys(State(edge): State<Arc<Edge>>) -> Response {
    match edge.vault.public_keys() {
        Ok(keys) => page("/.well-known/jwks.json", JSON, keys.to_string()),
        Err(refused) => problem::refuse(&refused, Noted::default()),
    }
}

/// Any other address.
pub(super) async fn not_found() -> Response {
    problem::refuse(&Code::NotFound.into(), Noted::default())
}

/// Any other method.
pub(super) async fn method_not_allowed() -> Response {
    problem::refuse(&Code::MethodNotAllowed.into(), Noted::default())
}

/// Codes with their statuses and sentences, as a page for a browser and as text for everybody else.
fn explained(route: &'static str, heading: &str, codes: &[Code], headers: &HeaderMap) -> Response {
    let wants_html =
        headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    let mut text = String::new();
    for &code in codes {
        let (status, sentence) = (problem::status(code).as_u16(), code.sentence());
        let code = code.text();
        // Codes and sentences are ours and hold nothing that HTML would read as markup.
        text += &if wants_html {
            format!("<dt><a href=\"/problems/{code}\">{code}</a> ({status})</dt><dd>{sentence}</dd>\n")
        } else {
            format!("{status} {code}: {sentence}\n")
        };
    }
    if !wants_html {
        return page(route, TEXT, text);
    }
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{heading}</title><h1>{heading}</h1><dl>\n{text}</dl></html>\n"
    );
    page(route, HTML, html)
}

pub(super) fn page(route: &'static str, media: HeaderValue, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, media);
    response.extensions_mut().insert(Noted { route: Some(route), ..Noted::default() });
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_problem_is_explained_with_its_status() {
        let all = text(problems(HeaderMap::new()).await).await;
        for code in Code::ALL {
            let line = format!("{} {}: {}\n", problem::status(*code).as_u16(), code.text(), code.sentence());
            assert!(all.contains(&line));
            assert_eq!(text(problem(Path(code.text().into()), HeaderMap::new()).await).await, line);
        }
        assert_eq!(problem(Path("nonsense".into()), HeaderMap::new()).await.status().as_u16(), 404);
    }

    #[tokio::test]
    async fn a_browser_gets_a_page() {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/html,*/*"))]);
        let response = problems(headers).await;
        assert_eq!(response.headers()[CONTENT_TYPE], HTML);
        assert!(text(response).await.contains("<a href=\"/problems/sealed\">sealed</a> (503)"));
    }

    #[test]
    fn no_sentence_holds_markup() {
        assert!(Code::ALL.iter().all(|code| !code.sentence().contains(['<', '>', '&'])));
    }
}
