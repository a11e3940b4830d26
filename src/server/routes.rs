//! Every address of the vault, on one screen.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{MethodFilter, get, on};
use http::Method;

use super::edge::Edge;
use super::handlers::{
    audit, callers, cases, config, consents, contracts, decisions, disclosures, erasures, incidents, keys, lookups, notices,
    queries, records, requests, restrictions, ropa, secrets, stats, step_ups, subjects,
};
use super::pages;
use crate::model::caller::Operation;

/// One operation at one address.
pub struct Route {
    /// Its verb.
    pub method: Method,
    /// Its address, with `{…}` for what differs.
    pub path: &'static str,
    /// Its query parameters; any other is refused.
    pub query: &'static [&'static str],
    /// What it does.
    pub operation: Operation,
}

macro_rules! routes {
    ($($method:ident $path:literal $([$($query:literal),+])? => $operation:ident, $handler:path;)+) => {
        /// The operations, each with its address; createSubject and writeRecord have a second one for many at a time,
        /// issueToken one for a second factor.
        pub const ROUTES: &[Route] = &[$(
            Route { method: Method::$method, path: $path, query: &[$($($query),+)?], operation: Operation::$operation },
        )+];

        fn operations() -> Router<Arc<Edge>> {
            let mut router = Router::new();
            let mut routes = ROUTES.iter();
            $(if let Some(route) = routes.next() {
                let carry_out = move |State(edge): State<Arc<Edge>>, request: Request| edge.carry_out(route, request, $handler);
                router = router.route($path, on(MethodFilter::$method, carry_out));
            })+
            router
        }
    };
}

routes! {
    POST   "/v1/subjects"                                          => CreateSubject,   subjects::create;
    POST   "/v1/subjects:batch"                                    => CreateSubject,   subjects::create_many;
    GET    "/v1/subjects/{subject}"                                => GetSubject,      subjects::show;
    POST   "/v1/subject-lookups"                                   => LookupSubject,   lookups::look_up;
    PUT    "/v1/subjects/{subject}/contracts/{reference}"          => PutContract,     contracts::put;
    POST   "/v1/subjects/{subject}/consents"                       => RecordConsent,   consents::record;
    GET    "/v1/subjects/{subject}/consents" ["limit", "cursor"]   => ListConsents,    consents::list;
    GET    "/v1/subjects/{subject}/consents/{consent}/receipt"     => GetConsentReceipt, consents::receipt;
    PUT    "/v1/subjects/{subject}/preferences/{preference}"       => SetPreference,   consents::set_preference;
    POST   "/v1/subjects/{subject}/records"                        => WriteRecord,     records::write;
    POST   "/v1/records:batch"                                     => WriteRecord,     records::write_many;
    GET    "/v1/subjects/{subject}/records" ["fields", "group", "record", "limit", "cursor"]
                                                                   => ReadRecords,     records::read;
    PATCH  "/v1/subjects/{subject}/records/{record}"               => RectifyRecord,   records::rectify;
    DELETE "/v1/subjects/{subject}/records/{record}"               => DeleteRecord,    records::delete;
    PUT    "/v1/subjects/{subject}/guardian"                       => RecordConsent,   subjects::put_guardian;
    POST   "/v1/subjects/{subject}/restrictions"                   => RestrictSubject, restrictions::restrict;
    POST   "/v1/subjects/{subject}/restrictions/{restriction}/approvals"
                                                                   => RestrictSubject, restrictions::approve;
    POST   "/v1/subjects/{subject}/restrictions/{restriction}/exceptions"
                                                                   => RestrictSubject, restrictions::except;
    DELETE "/v1/subjects/{subject}/restrictions/{restriction}"     => LiftRestriction, restrictions::lift;
    POST   "/v1/requests"                                          => OpenRequest,     requests::open;
    GET    "/v1/requests" ["state", "type", "due_before", "limit", "cursor"]
                                                                   => ListRequests,    requests::list;
    POST   "/v1/requests/{request}/transitions"                    => AdvanceRequest,  requests::advance;
    GET    "/v1/requests/{request}"                                => GetRequest,      requests::show;
    GET    "/v1/requests/{request}/result" ["part"]                => GetRequestResult, requests::result;
    POST   "/v1/queries"                                           => QueryRecords,    queries::query;
    POST   "/v1/subjects/{subject}/secrets/{field}/verifications"  => VerifySecret,    secrets::verify;
    POST   "/v1/decisions"                                         => ExplainDecision, decisions::explain;
    POST   "/v1/erasures"                                          => OpenErasure,     erasures::open;
    POST   "/v1/erasures/{erasure}/approvals"                      => ApproveErasure,  erasures::approve;
    GET    "/v1/erasures/{erasure}"                                => GetErasure,      erasures::show;
    GET    "/v1/policy-versions/{version}" ["diff", "controller"]  => GetPolicyVersion, config::show;
    POST   "/v1/policy-versions"                                   => PublishPolicy,   config::publish;
    GET    "/v1/config/{kind}" ["limit", "cursor"]                 => ReadConfig,      config::read;
    PUT    "/v1/config/{kind}/{id}"                                => DraftConfig,     config::draft;
    POST   "/v1/cases"                                             => OpenCase,        cases::open;
    POST   "/v1/cases/{case}/approvals"                            => ApproveCase,     cases::decide;
    GET    "/v1/cases/{case}"                                      => GetCase,         cases::show;
    POST   "/v1/disclosures"                                       => Disclose,        disclosures::disclose;
    GET    "/v1/disclosures" ["subject", "partner", "updates", "overdue", "limit", "cursor"]
                                                                   => ListDisclosures, disclosures::list;
    POST   "/v1/notices"                                           => SendNotice,      notices::send;
    GET    "/v1/subjects/{subject}/notices" ["limit", "cursor"]    => GetSubject,      notices::list;
    POST   "/v1/subjects/{subject}/notices/{notice}/bounces"       => SendNotice,      notices::bounce;
    GET    "/v1/incidents" ["limit", "cursor"]                     => GetIncident,     incidents::list;
    PUT    "/v1/incidents/{incident}"                              => PutIncident,     incidents::put;
    GET    "/v1/incidents/{incident}" ["limit", "cursor"]          => GetIncident,     incidents::show;
    POST   "/v1/incidents/{incident}/reports"                      => PutIncident,     incidents::report;
    POST   "/v1/incidents/{incident}/letters"                      => PutIncident,     incidents::write_letters;
    POST   "/v1/keys/operations"                                   => OperateKeys,     keys::operate;
    GET    "/v1/keys" ["limit", "cursor"]                          => ListKeys,        keys::list;
    GET    "/v1/audit/events" ["from", "until", "caller", "purpose", "tag", "limit", "cursor"]
                                                                   => ListAuditEvents, audit::events;
    GET    "/v1/ropa" ["from", "until"]                            => GetRopa,         ropa::show;
    GET    "/v1/audit/checkpoints/{size}" ["leaf", "from"]         => GetCheckpoint,   audit::checkpoint;
    PUT    "/v1/callers/{caller}"                                  => PutCaller,       callers::put;
    POST   "/v1/callers/{caller}/tokens"                           => IssueToken,      callers::issue_token;
    POST   "/v1/callers/{caller}/factors"                          => IssueToken,      step_ups::enrol;
    POST   "/v1/step-ups"                                          => StepUp,          step_ups::step_up;
    POST   "/v1/stats"                                             => RecordStats,     stats::record;
    GET    "/v1/stats" ["measure", "from", "until", "by"]          => ReadStats,       stats::read;
}

/// The router: the operations, what needs no credentials, and a problem document for everything else.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    operations()
        .route("/healthz", get(pages::healthz))
        .route("/readyz", get(pages::readyz))
        .route("/problems", get(pages::problems))
        .route("/problems/{code}", get(pages::problem))
        .route("/openapi.json", get(pages::api))
        .route("/docs", get(pages::docs))
        .route("/docs/style.css", get(pages::style))
        .route("/schemas/{kind}", get(pages::schema))
        .route("/.well-known/security.txt", get(pages::security))
        .route("/.well-known/gpc.json", get(pages::gpc))
        .route("/.well-known/jwks.json", get(pages::keys))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .with_state(edge)
}

impl Route {
    /// Whether it takes many at a time.
    pub fn is_batch(&self) -> bool {
        self.path.ends_with(":batch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_an_address() {
        for operation in Operation::ALL {
            assert!(ROUTES.iter().any(|route| route.operation == *operation), "{}", operation.text());
        }
    }

    #[test]
    fn no_address_stands_twice_and_all_can_be_routed_together() {
        for (place, route) in ROUTES.iter().enumerate() {
            assert!(ROUTES[..place].iter().all(|before| (&before.method, before.path) != (&route.method, route.path)));
        }
        let _ = operations();
    }

    #[test]
    fn only_reading_takes_a_query() {
        assert!(ROUTES.iter().all(|route| route.query.is_empty() || route.method == Method::GET));
    }
}
