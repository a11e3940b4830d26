//! Every status code of the vault, and the problem documents (RFC 9457) that go with them.
//!
//! Nothing else in this program names a status.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::DecisionId;
use crate::model::wire::AuthorityView;
use crate::telemetry::Noted;
use crate::vault::call::{Answer, Refused};
use crate::vault::factors::ACR;

/// The media type of a problem.
pub const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// The header that names the entry in the trail.
pub const VAULT_DECISION: HeaderName = HeaderName::from_static("vault-decision");
/// What is left of a limit (draft-ietf-httpapi-ratelimit-headers): nothing, for so many seconds.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What a call that needs a step up is told (RFC 9470).
static STEP_UP: LazyLock<String> =
    LazyLock::new(|| format!("Bearer realm=\"oubliette\", error=\"insufficient_user_authentication\", acr_values=\"{ACR}\""));

/// The one status of a code.
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::MalformedBody | Code::MalformedRequest | Code::PurposeRequired | Code::BadCursor => StatusCode::BAD_REQUEST,
        Code::Unauthenticated | Code::StepUpRequired => StatusCode::UNAUTHORIZED,
        Code::RoleForbidden
        | Code::PurposeNotPublished
        | Code::PurposeNotGranted
        | Code::CategoryNotPermitted
        | Code::SubjectClassMismatch
        | Code::AggregateOnly
        | Code::SecondPersonRequired
        | Code::VerificationRequired
        | Code::WrongCode
        | Code::SeparationOfDuties
        | Code::TrainingRequired
        | Code::ControllerUnknown
        | Code::PurposeIncompatible
        | Code::NoLawfulBasis
        | Code::ConsentMissing
        | Code::ConsentWithdrawn
        | Code::ConsentExpired
        | Code::SeparateConsentRequired
        | Code::ReconsentRequired
        | Code::ObjectionActive
        | Code::ContractInactive
        | Code::Restricted
        | Code::Held
        | Code::MinorProtection
        | Code::TransferNotPermitted
        | Code::ForeignAuthorityApprovalRequired
        | Code::RecipientUnknown
        | Code::OutsideEntrustment
        | Code::OutsideCase
        | Code::IdentityToAdPartner
        | Code::NotAvailable
        | Code::OriginScope
        | Code::CombinationIdentifies
        | Code::WrongPassphrase
        | Code::ShareRefused => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::AliasTaken
        | Code::IdempotencyInFlight
        | Code::NoticeRequired
        | Code::GuardianConsentRequired
        | Code::LiaMissing
        | Code::PolicyConflict
        | Code::StateConflict
        | Code::OtherCustody
        | Code::AliasAmbiguous => StatusCode::CONFLICT,
        Code::Erased | Code::AccountClosed | Code::RetentionExpired | Code::KeyDestroyed | Code::ResultGone => StatusCode::GONE,
        Code::Stale => StatusCode::PRECONDITION_FAILED,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::InvalidBody
        | Code::FieldNotInCatalogue
        | Code::FieldValueInvalid
        | Code::NotIndexable
        | Code::IdempotencyMismatch
        | Code::FieldRequired
        | Code::ProvenanceRequired
        | Code::MixedDataIsPersonal
        | Code::PromotionalNotice
        | Code::EvidenceRequired
        | Code::RuleRequired
        | Code::SecretShownOnce => StatusCode::UNPROCESSABLE_ENTITY,
        Code::IfMatchRequired => StatusCode::PRECONDITION_REQUIRED,
        Code::RateLimited | Code::ReadBudgetSpent => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::CustodyUnavailable | Code::Sealed | Code::AuditUnavailable | Code::StoreUnavailable | Code::Overloaded => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// The status of a call that was carried out.
pub const fn carried_out(answer: &Answer) -> StatusCode {
    match answer {
        Answer { made: true, .. } => MADE,
        Answer { location: Some(_), .. } => LED_ELSEWHERE,
        Answer { body: Some(_), .. } => ANSWERED,
        Answer { body: None, .. } => DONE,
    }
}

/// The status of an item of a batch that was carried out: what an Idempotency-Key repeats was made before.
pub const fn item(answer: &Answer) -> StatusCode {
    if !answer.made && answer.location.is_some() { LED_ELSEWHERE } else { MADE }
}

/// The status of one made thing.
pub const MADE: StatusCode = StatusCode::CREATED;
/// The status of an answer.
pub const ANSWERED: StatusCode = StatusCode::OK;
/// The status of a call that led to something else than was asked for.
pub const LED_ELSEWHERE: StatusCode = StatusCode::ACCEPTED;
/// The status of what was done, with nothing to say about it.
pub const DONE: StatusCode = StatusCode::NO_CONTENT;
/// The status of a page that is not ready.
pub const NOT_READY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// The status of `/readyz`.
pub const fn readiness(ready: bool) -> StatusCode {
    if ready { ANSWERED } else { NOT_READY }
}

/// A problem document. Its members come from fixed sets, ids and names; never from a value.
#[derive(Serialize, JsonSchema)]
pub struct Problem<'a> {
    /// `urn:oubliette:problem:` and the code, which `/problems/{code}` explains.
    r#type: String,
    /// The code in words.
    title: String,
    /// The one status of the code.
    status: u16,
    /// The one sentence that explains the code.
    detail: &'static str,
    /// The entry in the trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<DecisionId>,
    /// The purpose that was asked for, or that lacks something.
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'a str>,
    /// The guard that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<&'static str>,
    /// Where in the body (RFC 6901), or in the configuration; by names alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    /// In the words of the configuration, or of what holds the root key.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Seconds after which another try makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    /// Where the person that it is about can complain (p48).
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<&'a AuthorityView>,
    /// The operation that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

impl<'a> Problem<'a> {
    /// The document for a refusal.
    pub fn of(refused: &'a Refused) -> Self {
        Self {
            r#type: format!("urn:oubliette:problem:{}", refused.code.text()),
            title: title(refused.code),
            status: status(refused.code).as_u16(),
            detail: refused.code.sentence(),
            instance: refused.decision,
            purpose: refused.purpose.as_deref(),
            guard: refused.guard,
            pointer: refused.pointer.as_deref(),
            reason: refused.reason.as_deref(),
            retry_after: refused.retry_after,
            authority: refused.authority.as_deref(),
            remedy: remedy(refused.code).map(Operation::text),
        }
    }
}

/// The operation that helps against this refusal, where there is one.
const fn remedy(code: Code) -> Option<Operation> {
    match code {
        Code::MixedDataIsPersonal => Some(Operation::WriteRecord),
        Code::StepUpRequired => Some(Operation::StepUp),
        Code::VerificationRequired => Some(Operation::AdvanceRequest),
        _ => None,
    }
}

/// A code in words: `alias-taken` is `Alias taken`.
pub fn title(code: Code) -> String {
    let mut words = code.text().replace('-', " ");
    words[..1].make_ascii_uppercase();
    words
}

/// The answer that says no.
pub fn refuse(refused: &Refused, noted: Noted) -> Response {
    let body = serde_json::to_vec(&Problem::of(refused)).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status(refused.code);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, MEDIA_TYPE);
    if refused.code == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"oubliette\""));
    }
    if refused.code == Code::StepUpRequired
        && let Ok(value) = HeaderValue::try_from(STEP_UP.as_str())
    {
        headers.insert(WWW_AUTHENTICATE, value);
    }
    if let Some(seconds) = refused.retry_after.or_else(|| another_try(refused.code)) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        if refused.code == Code::RateLimited
            && let Ok(value) = HeaderValue::try_from(format!("\"default\";r=0;t={seconds}"))
        {
            headers.insert(RATE_LIMIT, value);
        }
    }
    if let Some(value) = refused.decision.and_then(decision) {
        headers.insert(VAULT_DECISION, value);
    }
    response.extensions_mut().insert(Noted { code: Some(refused.code), decision: refused.decision, ..noted });
    response
}

/// The id of an entry as a header value.
pub fn decision(id: DecisionId) -> Option<HeaderValue> {
    HeaderValue::try_from(id.to_string()).ok()
}

/// Seconds to wait where the vault named none, and waiting helps.
const fn another_try(code: Code) -> Option<u32> {
    match code {
        Code::RateLimited | Code::Overloaded | Code::IdempotencyInFlight => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status() {
        for &code in Code::ALL {
            assert!(status(code).is_client_error() || status(code).is_server_error(), "{}", code.text());
        }
    }

    #[test]
    fn a_problem_says_what_why_and_where_but_no_more() {
        let decision = DecisionId::from_bytes([1; 16]);
        let refused = Refused {
            decision: Some(decision),
            guard: Some("G4"),
            purpose: Some("c-marketing".into()),
            ..Refused::at(Code::PurposeNotGranted, "/fields/name")
        };
        let value = serde_json::to_value(Problem::of(&refused)).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "type": "urn:oubliette:problem:purpose-not-granted", "title": "Purpose not granted", "status": 403,
                "detail": Code::PurposeNotGranted.sentence(), "instance": decision.to_string(),
                "purpose": "c-marketing", "guard": "G4", "pointer": "/fields/name",
            })
        );
        let response = refuse(&refused, Noted::default());
        assert_eq!(response.headers()[VAULT_DECISION], decision.to_string().as_str());
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn missing_credentials_name_the_scheme_and_a_full_house_the_wait() {
        let unauthenticated = refuse(&Code::Unauthenticated.into(), Noted::default());
        assert_eq!(unauthenticated.headers()[WWW_AUTHENTICATE], "Bearer realm=\"oubliette\"");
        let limited = refuse(&Refused { retry_after: Some(7), ..Code::RateLimited.into() }, Noted::default());
        assert_eq!(limited.headers()[RETRY_AFTER], "7");
        assert_eq!(limited.headers()[RATE_LIMIT], "\"default\";r=0;t=7");
        assert!(refuse(&Code::Sealed.into(), Noted::default()).headers().get(RETRY_AFTER).is_none());
    }
}
