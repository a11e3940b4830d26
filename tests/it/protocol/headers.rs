//! The headers that stand on every answer, whatever it says: calls that were carried out, problems, pages, and what is refused
//! before it has an address.

use oubliette::model::caller::Role;
use oubliette::server::routes::ROUTES;

use super::NOTHING_ELSE;
use crate::house::House;
use crate::https::Reply;
use crate::routes::{CASES, Ids};

/// What every answer says. `None` stands for a header that no answer has.
const ALWAYS: [(&str, Option<&str>); 11] = [
    ("cache-control", Some("no-store")),
    ("x-content-type-options", Some("nosniff")),
    ("strict-transport-security", Some("max-age=31536000; includeSubDomains")),
    ("referrer-policy", Some("no-referrer")),
    ("cross-origin-resource-policy", Some("same-origin")),
    ("server", None),
    ("x-powered-by", None),
    ("set-cookie", None),
    ("access-control-allow-origin", None),
    ("access-control-allow-credentials", None),
    ("content-encoding", None),
];

#[track_caller]
fn guarded(reply: &Reply, what: &str) {
    for (name, wanted) in ALWAYS {
        assert_eq!(reply.header(name), wanted, "{name} of {what}");
    }
    assert!(reply.header("x-request-id").is_some(), "{what}");
    let policy = reply.header("content-security-policy").unwrap_or_else(|| panic!("{what} has no policy"));
    // `object-src` follows from `default-src`.
    for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.split(';').any(|one| one.trim() == part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{what}: {policy}");
    let media = reply.header("content-type");
    assert_eq!(media.is_some(), !reply.bytes.is_empty(), "{what}: {media:?}");
    if let Some(media) = media.filter(|media| media.starts_with("text/")) {
        assert!(media.ends_with("; charset=utf-8"), "{what}: {media}");
    }
}

#[test]
fn every_route_answers_with_every_header_whatever_it_answers() {
    let house = House::shared();
    let (ids, nothing) = (Ids::fresh(&house), Ids::of_nothing());
    let mut statuses = std::collections::BTreeSet::new();
    for route in ROUTES {
        let case = CASES.iter().find(|case| case.method == route.method.as_str() && case.path == route.path).unwrap();
        let about = if case.destroys { Ids::fresh(&house) } else { ids.clone() };
        let (path, _) = (case.request)(&nothing);
        let holder = house.holder(case.role);
        for (what, reply) in [
            ("carried out", case.send(&house, &about, Some(&holder)).reply),
            ("about nothing", case.send(&house, &nothing, Some(&holder)).reply),
            ("by a partner", case.send(&house, &nothing, Some(&house.holder(Role::Partner))).reply),
            ("by nobody", case.send(&house, &nothing, None).reply),
            ("from another site", house.ask(case.method, &path).by(&holder).header("origin", "https://evil.example").send()),
            ("asked before", house.ask("OPTIONS", &path).header("origin", "https://evil.example").send()),
            ("another method", house.ask("TRACE", &path).by(&holder).send()),
            ("a foreign body", house.ask(case.method, &path).by(&holder).raw("text/plain", "x").send()),
            ("a foreign query", house.ask(case.method, &format!("{path}?colour=1")).by(&holder).send()),
        ] {
            guarded(&reply, &format!("{} {} {what}", case.method, case.path));
            statuses.insert(reply.status);
        }
    }
    for status in [200, 201, 400, 401, 403, 404, 405, 415] {
        assert!(statuses.contains(&status), "no {status} among {statuses:?}");
    }
}

#[test]
fn every_page_has_them_too_and_so_has_what_is_refused_before_it_has_an_address() {
    let house = House::shared();
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/problems",
        "/problems/sealed",
        "/problems/nonsense",
        "/schemas/subject-bundle",
        "/schemas/fields",
        "/schemas/nonsense",
        "/.well-known/security.txt",
        "/.well-known/gpc.json",
        "/.well-known/jwks.json",
        "/v1/policy-versions/current",
        "/v1/config/controllers",
        "/nowhere",
        "/openapi.json",
        "/docs",
        "/.git/config",
    ] {
        for accept in ["*/*", "text/html"] {
            for method in ["GET", "POST"] {
                guarded(&house.ask(method, path).header("accept", accept).send(), &format!("{method} {path}"));
            }
        }
    }
    let large = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(100 << 10));
    for (what, request, status) in [
        ("a bare line end", "GET / HTTP/1.1\nhost: localhost\n\n", 400),
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("headers beyond any measure", large.as_str(), 431),
        ("an oversized body", "POST /v1/requests HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n", 401),
    ] {
        let reply = house.connect().exchange(request.as_bytes()).unwrap_or_else(|| panic!("no answer to {what}"));
        guarded(&reply.expect(status), what);
    }
}

#[test]
fn a_page_of_the_vaults_own_may_do_nothing_at_all() {
    let house = House::shared();
    for path in ["/problems", "/v1/policy-versions/current", "/healthz", "/nowhere"] {
        let reply = house.get(path).header("accept", "text/html").send();
        assert_eq!(reply.header("content-security-policy"), Some(NOTHING_ELSE), "{path}");
    }
}

/// Whoever fails is counted by the address of the connection, whatever a proxy, or somebody who plays one, says about it.
#[test]
fn no_header_of_a_proxy_changes_who_is_counted() {
    let house = House::start_with(|config| {
        config.limits.failures_per_second = 1;
        config.limits.failures_burst = 3;
    });
    let says = |number: usize| {
        let address = format!("203.0.113.{number}");
        let ask = house.get("/v1/keys").header("x-forwarded-for", &address).header("x-real-ip", &address);
        ask.header("forwarded", &format!("for={address}")).header("x-forwarded-host", "elsewhere.example").send()
    };
    for number in 0..3 {
        says(number).refused(401, "unauthenticated");
    }
    says(3).refused(429, "rate-limited");
}
