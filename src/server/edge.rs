//! What every request goes through, in one place: a clock, the route, credentials, the typed circumstances, one call on the
//! vault, the same headers on every answer, and one line in the log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::response::Response;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tower::Service;

use super::asked::{self, Asked};
use super::handlers::config::{show_to_all, wants_linked};
use super::handlers::requests::part_of;
use super::listen::Peer;
use super::metrics::Metrics;
use super::pages::{HTML, NOTHING_ELSE};
use super::problem::{self, VAULT_DECISION};
use super::query::Query;
use super::rates::Rates;
use super::routes::Route;
use super::{accept, body, correlation, head};
use crate::auth::is_token;
use crate::auth::oidc::Issuer;
use crate::config::LimitsSection;
use crate::model::caller::{Caller, Operation};
use crate::model::code::Code;
use crate::model::time::Clock;
use crate::telemetry::{self, Noted};
use crate::vault::Vault;
use crate::vault::call::{Answer, NextPiece, Pieces, Refused};

const VAULT_CLAIM: HeaderName = HeaderName::from_static("vault-claim");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LINKED: HeaderValue = HeaderValue::from_static("application/ld+json");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What every answer tells whoever shows or keeps it: nothing is kept, guessed at, sent on, or used by another site.
static ON_EVERY_ANSWER: [(HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// The edge: the vault, and what keeps peers within bounds.
pub(super) struct Edge {
    pub(super) vault: Vault,
    /// Whose access tokens are taken beside the vault's own.
    pub(super) issuer: Option<Issuer>,
    pub(super) limits: LimitsSection,
    pub(super) rates: Rates,
    pub(super) clock: Clock,
    /// What is counted about requests.
    pub(super) metrics: Metrics,
    pub(super) security_contact: Option<String>,
    pub(super) security_policy: Option<String>,
    /// Whether every request gets a line.
    pub(super) log_requests: bool,
    /// Cloned by every write under way, so that a stop can wait for the last.
    pub(super) writing: mpsc::Sender<()>,
}

/// Answers one request, whatever happens.
pub(super) async fn respond(edge: Arc<Edge>, mut router: Router, request: Request, peer: Peer) -> Response {
    let started = Instant::now();
    let mut request = request;
    let correlation = correlation::Correlation::of(request.headers());
    let is_last = head::is_last(request.headers());
    request.extensions_mut().insert(peer);
    let mut response = if let Some(code) = head::refusal(request.method()) {
        problem::refuse(&code.into(), Noted::default())
    } else if is_oversized(&request, &edge.limits) {
        problem::refuse(&Code::HeadersTooLarge.into(), Noted::default())
    } else {
        let patience = Duration::from_secs(edge.limits.request_seconds);
        match timeout(patience, unless_it_panics(router.call(request))).await {
            Ok(Some(Ok(response))) => response,
            Ok(None) => problem::refuse(&Code::Internal.into(), Noted::default()),
            Err(_) => problem::refuse(&Code::Overloaded.into(), Noted::default()),
        }
    };
    let headers = response.headers_mut();
    headers.reserve(ON_EVERY_ANSWER.len() + 4);
    for (name, value) in &ON_EVERY_ANSWER {
        headers.insert(name, value.clone());
    }
    // A page that may show something has said what.
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING_ELSE);
    if is_last {
        headers.insert(CONNECTION, CLOSE);
    }
    correlation.write(headers);
    let noted = response.extensions().get::<Noted>().copied().unwrap_or_default();
    let (status, took) = (response.status().as_u16(), started.elapsed());
    edge.metrics.request(&noted, status, took);
    telemetry::request(&noted, status, took, edge.log_requests);
    response
}

impl Edge {
    /// Carries out one operation of the route table.
    pub(super) async fn carry_out<H, F>(self: Arc<Self>, route: &'static Route, request: Request, handler: H) -> Response
    where
        H: FnOnce(Asked) -> F + Send + 'static,
        F: Future<Output = Result<Answer, Refused>> + Send + 'static,
    {
        let noted = Noted { route: Some(route.path), operation: Some(route.operation), ..Noted::default() };
        match self.outcome(route, request, handler).await {
            Ok(answer) => answered(answer, noted),
            Err(refused) => problem::refuse(&refused, noted),
        }
    }

    async fn outcome<H, F>(&self, route: &'static Route, request: Request, handler: H) -> Result<Answer, Refused>
    where
        H: FnOnce(Asked) -> F + Send + 'static,
        F: Future<Output = Result<Answer, Refused>> + Send + 'static,
    {
        let (mut parts, body) = request.into_parts();
        if let Some(answer) = self.public(route, &mut parts).await {
            return answer;
        }
        let mut caller = match self.caller(route, &parts).await {
            Ok(caller) => caller,
            Err(refused) => return self.without_caller(route, parts, body, refused).await,
        };
        self.rates.caller(caller.id)?;
        let query = Query::parse(parts.uri.query(), route.query)?;
        let places = places(&mut parts).await?;
        let (media, bytes) = self.body(route, &parts, body).await?;
        if !bytes.is_empty() {
            // The body may have taken its time: what was taken away meanwhile is taken away.
            caller = self.caller(route, &parts).await?;
        }
        let call = asked::call(caller, &parts, &bytes)?;
        let most = self.limits.batch_items;
        let linked = wants_linked(&parts.headers);
        let accept = accept::of(&parts.headers);
        let asked = Asked { vault: self.vault.clone(), call, query, places, media, body: bytes, linked, accept, most };
        if route.method == Method::GET {
            return handler(asked).await;
        }
        self.to_its_end(async move { handler(asked).await }).await
    }

    /// What changes the vault is finished even when the peer hangs up in the middle of it.
    async fn to_its_end(&self, work: impl Future<Output = Result<Answer, Refused>> + Send + 'static) -> Result<Answer, Refused> {
        let under_way = self.writing.clone();
        let task = tokio::spawn(async move {
            let outcome = unless_it_panics(work).await;
            drop(under_way);
            outcome
        });
        task.await.ok().flatten().unwrap_or(Err(Code::Internal.into()))
    }

    /// Who asks. A failure counts against the address that it came from.
    async fn caller(&self, route: &Route, parts: &Parts) -> Result<Arc<Caller>, Refused> {
        // A claim code stands for credentials where an erasure or a result is looked at; it is counted there.
        let claims = matches!(route.operation, Operation::GetErasure | Operation::GetRequestResult)
            && parts.headers.contains_key(VAULT_CLAIM)
            && !parts.headers.contains_key(AUTHORIZATION);
        let caller = match asked::bearer(&parts.headers) {
            Some(token) => self.bearer(token, parts).await,
            None if self.vault.is_sealed() => Err(Code::Sealed.into()),
            None => Err(Code::Unauthenticated.into()),
        };
        match caller {
            // The count comes before the trail: nobody without credentials fills it faster than the limit allows.
            Err(refused) if refused.code == Code::Unauthenticated && !claims => {
                self.failed(parts)?;
                Err(self.vault.note_failed_credentials())
            }
            caller => caller,
        }
    }

    /// The caller behind a bearer token: the vault's own, or one of the trusted issuer. Credentials that are bound to a client
    /// certificate work only over a connection on which it was shown (RFC 8705).
    async fn bearer(&self, token: &str, parts: &Parts) -> Result<Arc<Caller>, Refused> {
        let caller = match &self.issuer {
            Some(issuer) if !is_token(token) && !self.vault.is_sealed() => {
                let Some(said) = issuer.verify(token).await else { return Err(Code::Unauthenticated.into()) };
                self.vault.authenticate_external(token, &said, issuer.stepped_up_until(&said))?
            }
            _ => self.vault.authenticate(token)?,
        };
        let shown = parts.extensions.get::<Peer>().and_then(|peer| peer.certificate.as_deref());
        let is_shown = |own: &String| shown.is_some_and(|shown| keys::digest::same(shown.as_bytes(), own.as_bytes()));
        if caller.certificate.as_ref().is_some_and(|own| !is_shown(own)) {
            return Err(Code::Unauthenticated.into());
        }
        Ok(caller)
    }

    fn failed(&self, parts: &Parts) -> Result<(), Refused> {
        parts.extensions.get::<Peer>().map_or(Ok(()), |peer| self.rates.failure(peer.address.ip()))
    }

    /// The calls that work without a caller: the holder of a claim code sees an erasure or a result, and whoever has the passphrase
    /// opens a sealed vault, which cannot know any caller yet.
    async fn without_caller(&self, route: &Route, mut parts: Parts, body: Body, refused: Refused) -> Result<Answer, Refused> {
        match (route.operation, refused.code) {
            (Operation::GetErasure | Operation::GetRequestResult, Code::Unauthenticated)
                if !parts.headers.contains_key(AUTHORIZATION) =>
            {
                if !parts.headers.contains_key(VAULT_CLAIM) {
                    return Err(refused);
                }
                // Every use of a claim code counts, right or wrong: a right one is needed now and then, not often.
                self.failed(&parts)?;
                let Some(claim) = asked::one(&parts.headers, &VAULT_CLAIM, 128)?.map(str::to_owned) else { return Err(refused) };
                let mut query = Query::parse(parts.uri.query(), route.query)?;
                let places = places(&mut parts).await?;
                if route.operation == Operation::GetErasure {
                    return self.vault.erasure_by_claim(asked::id(&places, "erasure")?, &claim).await;
                }
                let part = part_of(&mut query, &accept::of(&parts.headers))?;
                self.vault.request_result_by_claim(asked::id(&places, "request")?, &claim, part).await
            }
            (Operation::OperateKeys, Code::Sealed) => {
                self.failed(&parts)?;
                let (media, bytes) = self.body(route, &parts, body).await?;
                let vault = self.vault.clone();
                self.to_its_end(async move { super::handlers::keys::unseal(&vault, media, &bytes).await }).await
            }
            _ => Err(refused),
        }
    }

    /// What stands open: the published policy and the list of controllers, for whoever shows no credentials. Nothing about a
    /// person is in them, so no entry of the trail is made for it, as for any page.
    async fn public(&self, route: &Route, parts: &mut Parts) -> Option<Result<Answer, Refused>> {
        if parts.headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let open = match route.operation {
            Operation::GetPolicyVersion => true,
            Operation::ReadConfig => parts.uri.path() == "/v1/config/controllers",
            _ => false,
        };
        if !open {
            return None;
        }
        // It costs some work, and anybody may ask: each address as often as it may fail to show who it is.
        if let Err(refused) = self.failed(parts) {
            return Some(Err(refused));
        }
        let query = match Query::parse(parts.uri.query(), route.query) {
            Ok(query) => query,
            Err(refused) => return Some(Err(refused)),
        };
        if route.operation == Operation::ReadConfig {
            return Some(self.vault.public_controllers());
        }
        let places = match places(parts).await {
            Ok(places) => places,
            Err(refused) => return Some(Err(refused)),
        };
        Some(show_to_all(&self.vault, asked::at(&places, "version"), query, &parts.headers))
    }

    async fn body(&self, route: &Route, parts: &Parts, body: Body) -> Result<(body::Media, bytes::Bytes), Refused> {
        // Of what is removed nothing has to be said, but for the reason why a restriction ends.
        let says_why = route.operation == Operation::LiftRestriction;
        if matches!(parts.method, Method::GET | Method::HEAD) || (parts.method == Method::DELETE && !says_why) {
            let has_none = parts.headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
            let none = (body::Media::None, bytes::Bytes::new());
            return if has_none && !parts.headers.contains_key(TRANSFER_ENCODING) {
                Ok(none)
            } else {
                Err(Code::MalformedRequest.into())
            };
        }
        let media = body::media(&parts.method, &parts.headers, route.is_batch())?;
        let bytes = if route.is_batch() { self.limits.batch_bytes } else { self.limits.body_bytes };
        let bounds = body::Bounds { bytes, time: Duration::from_secs(self.limits.body_seconds) };
        let bytes = body::read(&parts.headers, body, bounds).await?;
        if media == body::Media::None && !bytes.is_empty() {
            return Err(Code::UnsupportedMediaType.into());
        }
        Ok((media, bytes))
    }
}

/// What the route's `{…}` stand for in this request.
async fn places(parts: &mut Parts) -> Result<Vec<(String, String)>, Refused> {
    let places = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| Code::NotFound)?;
    Ok(places.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The answer of a call that was carried out. Its body becomes the response's without a copy.
fn answered(answer: Answer, noted: Noted) -> Response {
    let status = problem::carried_out(&answer);
    let named = answer.media.map(HeaderValue::from_static);
    let media = named.or_else(|| answer.body.as_deref().map(media));
    let length = answer.rest.as_ref().and_then(Pieces::length);
    let rest = answer.rest.as_ref().and_then(Pieces::take);
    let body = match rest {
        Some(next) => Body::new(Streamed { first: answer.body.map(bytes::Bytes::from), next, left: length }),
        None => answer.body.map_or_else(Body::empty, Body::from),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(media) = media {
        headers.insert(CONTENT_TYPE, media);
    }
    if let Some(value) = answer.decision.and_then(problem::decision) {
        headers.insert(VAULT_DECISION, value);
    }
    if let Some(value) = answer.etag.and_then(|etag| quoted(&etag)) {
        headers.insert(ETAG, value);
    }
    if let Some(value) = answer.location.and_then(|path| HeaderValue::try_from(path).ok()) {
        headers.insert(LOCATION, value);
    }
    response.extensions_mut().insert(Noted { decision: answer.decision, ..noted });
    response
}

/// A long answer on its way out: each piece is made when the one before it was taken.
struct Streamed {
    first: Option<bytes::Bytes>,
    next: NextPiece,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
}

impl HttpBody for Streamed {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, std::io::Error>>> {
        let piece = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => (self.next)(),
        };
        // An answer that breaks off is cut off, so that nobody takes it for a whole one.
        let failed = |refused: Refused| std::io::Error::other(refused.code.text());
        if let (Some(left), Some(Ok(piece))) = (&mut self.left, &piece) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(failed)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What a body is: the vault gives JSON, and where its documents are for people or for linked data, HTML, which begins with a
/// tag, or JSON-LD, which begins with its context.
fn media(body: &[u8]) -> HeaderValue {
    match body {
        [b'<', ..] => HTML,
        body if body.starts_with(b"{\"@context\"") => LINKED,
        _ => JSON,
    }
}

/// An entity tag in its quotes (RFC 9110 §8.8.3), whether it came with them or not.
fn quoted(etag: &str) -> Option<HeaderValue> {
    let text = if etag.starts_with('"') || etag.starts_with("W/") { etag.to_owned() } else { format!("\"{etag}\"") };
    HeaderValue::try_from(text).ok()
}

/// Whether headers and address are more than the configuration takes.
fn is_oversized(request: &Request, limits: &LimitsSection) -> bool {
    let headers: &HeaderMap = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let uri = request.uri();
    let address = uri.path().len() + uri.query().map_or(0, str::len);
    headers.len() > limits.headers || bytes + address > limits.header_bytes
}

/// What `future` gives; none if it panics. The panic hook has logged where by then, and the payload is dropped unread.
async fn unless_it_panics<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::DecisionId;

    #[test]
    fn an_answer_carries_its_decision_version_and_place() {
        let decision = DecisionId::from_bytes([3; 16]);
        let answer = Answer {
            decision: Some(decision),
            made: true,
            etag: Some("7".into()),
            body: Some(b"{}".to_vec()),
            location: Some("/v1/subjects/x".into()),
            ..Answer::default()
        };
        let response = answered(answer, Noted::default());
        assert_eq!(response.status(), problem::MADE);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("vault-decision"), decision.to_string());
        assert_eq!((header("etag"), header("location")), ("\"7\"".into(), "/v1/subjects/x".into()));
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(quoted("\"a\"").unwrap(), "\"a\"");
    }

    #[test]
    fn an_answer_without_a_body_has_no_media_type() {
        let response = answered(Answer::default(), Noted::default());
        assert_eq!(response.status().as_u16(), 204);
        assert!(response.headers().is_empty());
    }

    #[test]
    fn a_newline_from_below_never_becomes_a_header() {
        let answer = Answer { location: Some("/a\r\nSet-Cookie: x".into()), etag: Some("a\nb".into()), ..Answer::default() };
        assert!(answered(answer, Noted::default()).headers().is_empty());
    }

    #[test]
    fn headers_are_counted_with_the_address() {
        let limits = LimitsSection { header_bytes: 100, headers: 2, ..LimitsSection::default() };
        let with = |uri: &str, names: &[&'static str]| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = uri.parse().unwrap();
            for name in names {
                request.headers_mut().append(*name, HeaderValue::from_static("0123456789"));
            }
            is_oversized(&request, &limits)
        };
        assert!(!with("/", &["a", "b"]));
        assert!(with("/", &["a", "b", "c"]));
        assert!(with(&format!("/{}", "x".repeat(100)), &[]));
    }

    #[tokio::test]
    async fn a_panic_ends_its_request_alone() {
        assert_eq!(unless_it_panics(async { panic!("a panic on purpose") }).await, None::<()>);
        assert_eq!(unless_it_panics(async { 1 }).await, Some(1));
    }
}
