//! Every address: without credentials, with every role, and about what is not there. A new route fails these tests until it
//! has a case.

mod revocation;
mod tenants;

use oubliette::model::caller::{CallerKind, Operation, Role};
use oubliette::model::ids::{CallerId, CaseId, ConsentId, ErasureId, IncidentId, RecordId, RequestId, RestrictionId, SubjectId};
use oubliette::policy::roles::{Cell, ROLES, cell};
use oubliette::server::routes::{ROUTES, Route};
use serde_json::{Value, json};

use crate::house::{House, Token};
use crate::https::Reply;

/// What a request can be about.
#[derive(Clone)]
pub(crate) struct Ids {
    pub(crate) subject: String,
    pub(crate) record: String,
    pub(crate) erasure: String,
    pub(crate) caller: String,
    /// A caller that is a person.
    pub(crate) person: String,
    pub(crate) email: String,
    /// A restriction that is in force.
    pub(crate) objection: String,
    /// A legal hold that waits for its second officer.
    pub(crate) hold: String,
    /// A request that is open.
    pub(crate) request: String,
    /// One that is open and whose person is known.
    pub(crate) served: String,
    /// A consent that was given.
    pub(crate) consent: String,
    /// A case that waits for its second officer.
    pub(crate) case: String,
    /// An incident that is open.
    pub(crate) incident: String,
}

/// What comes of asking for something that is not there.
pub(crate) enum Missing {
    /// This problem.
    Refused(u16, &'static str),
    /// The address is about nothing in particular.
    Nothing,
}
use Missing::{Nothing, Refused};

/// A proper request to one address.
pub(crate) struct Case {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// `Vault-Purpose`; empty for none.
    pub(crate) purpose: &'static str,
    /// A role that may.
    pub(crate) role: Role,
    /// Whether it uses up what it is about.
    pub(crate) destroys: bool,
    /// Path and body; null for none.
    pub(crate) request: fn(&Ids) -> (String, Value),
    pub(crate) missing: Missing,
}

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    Case { method: "POST", path: "/v1/subjects", purpose: "a-account", role: Role::Writer, destroys: false, missing: Refused(422, "invalid-body"),
           request: |ids| ("/v1/subjects".into(), subject(ids)) },
    Case { method: "POST", path: "/v1/subjects:batch", purpose: "a-account", role: Role::Writer, destroys: false, missing: Refused(422, "invalid-body"),
           request: |ids| ("/v1/subjects:batch".into(), json!([subject(ids)])) },
    Case { method: "GET", path: "/v1/subjects/{subject}", purpose: "", role: Role::Reader, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}", ids.subject), Value::Null) },
    Case { method: "POST", path: "/v1/subject-lookups", purpose: "a-account", role: Role::Reader, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/subject-lookups".into(), json!({"type": "email", "value": ids.email})) },
    Case { method: "POST", path: "/v1/subjects/{subject}/consents", purpose: "", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/consents", ids.subject), consent()) },
    Case { method: "GET", path: "/v1/subjects/{subject}/consents", purpose: "", role: Role::Reader, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/consents", ids.subject), Value::Null) },
    Case { method: "GET", path: "/v1/subjects/{subject}/consents/{consent}/receipt", purpose: "", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/consents/{}/receipt", ids.subject, ids.consent), Value::Null) },
    Case { method: "PUT", path: "/v1/subjects/{subject}/preferences/{preference}", purpose: "", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/preferences/cookies", ids.subject), json!({"on": true})) },
    Case { method: "PUT", path: "/v1/subjects/{subject}/contracts/{reference}", purpose: "", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/contracts/ord-1", ids.subject), json!({"state": "active", "from": "2026-11-23"})) },
    Case { method: "POST", path: "/v1/subjects/{subject}/records", purpose: "a-account", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/records", ids.subject), record()) },
    Case { method: "POST", path: "/v1/records:batch", purpose: "a-account", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/records:batch".into(), json!([{"subject": ids.subject, "record": record()}])) },
    Case { method: "GET", path: "/v1/subjects/{subject}/records", purpose: "x-rights", role: Role::Reader, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/records?record={}", ids.subject, ids.record), Value::Null) },
    Case { method: "PATCH", path: "/v1/subjects/{subject}/records/{record}", purpose: "a-account", role: Role::Writer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/records/{}", ids.subject, ids.record), json!({"fields": {"name": "Grace"}})) },
    Case { method: "DELETE", path: "/v1/subjects/{subject}/records/{record}", purpose: "", role: Role::PrivacyOfficer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/records/{}", ids.subject, ids.record), Value::Null) },
    Case { method: "PUT", path: "/v1/subjects/{subject}/guardian", purpose: "", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/guardian", ids.subject), json!({"state": "withdrawn"})) },
    Case { method: "POST", path: "/v1/subjects/{subject}/restrictions", purpose: "", role: Role::PrivacyOfficer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/restrictions", ids.subject), objection()) },
    Case { method: "POST", path: "/v1/subjects/{subject}/restrictions/{restriction}/approvals", purpose: "", role: Role::PrivacyOfficer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/restrictions/{}/approvals", ids.subject, ids.hold), json!({})) },
    Case { method: "POST", path: "/v1/subjects/{subject}/restrictions/{restriction}/exceptions", purpose: "", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/restrictions/{}/exceptions", ids.subject, ids.objection), json!({"purposes": ["g-improve"], "reason": "case"})) },
    Case { method: "DELETE", path: "/v1/subjects/{subject}/restrictions/{restriction}", purpose: "", role: Role::PrivacyOfficer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/restrictions/{}", ids.subject, ids.objection), json!({"reason": "settled"})) },
    Case { method: "POST", path: "/v1/requests", purpose: "", role: Role::Writer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/requests".into(), rectification(&ids.subject, &ids.record)) },
    Case { method: "GET", path: "/v1/requests", purpose: "", role: Role::Auditor, destroys: false, missing: Nothing,
           request: |_| ("/v1/requests?limit=1".into(), Value::Null) },
    Case { method: "POST", path: "/v1/requests/{request}/transitions", purpose: "", role: Role::PrivacyOfficer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/requests/{}/transitions", ids.request), json!({"action": "extend", "reason": "complexity"})) },
    Case { method: "GET", path: "/v1/requests/{request}", purpose: "", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/requests/{}", ids.request), Value::Null) },
    Case { method: "POST", path: "/v1/cases", purpose: "", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/cases".into(), need(&ids.subject)) },
    Case { method: "POST", path: "/v1/cases/{case}/approvals", purpose: "", role: Role::PrivacyOfficer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/cases/{}/approvals", ids.case), json!({"decision": "approve"})) },
    Case { method: "GET", path: "/v1/cases/{case}", purpose: "", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/cases/{}", ids.case), Value::Null) },
    Case { method: "GET", path: "/v1/requests/{request}/result", purpose: "x-rights", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/requests/{}/result", ids.request), Value::Null) },
    Case { method: "GET", path: "/v1/ropa", purpose: "", role: Role::Auditor, destroys: false, missing: Nothing,
           request: |_| ("/v1/ropa".into(), Value::Null) },
    Case { method: "POST", path: "/v1/decisions", purpose: "", role: Role::Auditor, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/decisions".into(), json!({"action": {"name": "getSubject"}, "resource": {"type": "subject", "id": ids.subject}})) },
    Case { method: "POST", path: "/v1/erasures", purpose: "", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/erasures".into(), json!({"subject": ids.subject, "scope": "subject", "cause": "request"})) },
    Case { method: "POST", path: "/v1/erasures/{erasure}/approvals", purpose: "", role: Role::PrivacyOfficer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/erasures/{}/approvals", ids.erasure), json!({})) },
    Case { method: "GET", path: "/v1/erasures/{erasure}", purpose: "", role: Role::KeyAdmin, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/erasures/{}", ids.erasure), Value::Null) },
    Case { method: "POST", path: "/v1/disclosures", purpose: "a-account", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/disclosures".into(), json!({"subject": ids.subject, "recipient": "nobody", "fields": ["name"]})) },
    Case { method: "GET", path: "/v1/disclosures", purpose: "", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/disclosures?subject={}", ids.subject), Value::Null) },
    Case { method: "POST", path: "/v1/notices", purpose: "", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/notices".into(), json!({"subject": ids.subject, "kind": "security", "language": "de", "channel": "email", "template": "security"})) },
    Case { method: "GET", path: "/v1/subjects/{subject}/notices", purpose: "", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/notices", ids.subject), Value::Null) },
    Case { method: "POST", path: "/v1/subjects/{subject}/notices/{notice}/bounces", purpose: "", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/notices/{}/bounces", ids.subject, ids.subject.replace("sub_", "ntc_")), json!({"status": "5.1.1"})) },
    Case { method: "GET", path: "/v1/incidents", purpose: "", role: Role::Auditor, destroys: false, missing: Nothing,
           request: |_| ("/v1/incidents?limit=1".into(), Value::Null) },
    // The id is the caller's to make: one that nobody has is a new incident.
    Case { method: "PUT", path: "/v1/incidents/{incident}", purpose: "", role: Role::SecurityOfficer, destroys: true, missing: Nothing,
           request: |ids| (format!("/v1/incidents/inc_{}", &ids.subject[4..]), incident()) },
    Case { method: "GET", path: "/v1/incidents/{incident}", purpose: "", role: Role::Auditor, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/incidents/{}", ids.incident), Value::Null) },
    Case { method: "POST", path: "/v1/incidents/{incident}/reports", purpose: "", role: Role::PrivacyOfficer, destroys: true, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/incidents/{}/reports", ids.incident), json!({"authority": "de-bfdi", "phase": "initial"})) },
    Case { method: "POST", path: "/v1/incidents/{incident}/letters", purpose: "", role: Role::PrivacyOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/incidents/{}/letters", ids.incident), json!({})) },
    Case { method: "POST", path: "/v1/keys/operations", purpose: "", role: Role::KeyAdmin, destroys: false, missing: Nothing,
           request: |_| ("/v1/keys/operations".into(), json!({"operation": "rotate-epoch"})) },
    Case { method: "GET", path: "/v1/keys", purpose: "", role: Role::KeyAdmin, destroys: false, missing: Nothing,
           request: |_| ("/v1/keys".into(), Value::Null) },
    Case { method: "GET", path: "/v1/audit/events", purpose: "", role: Role::Auditor, destroys: false, missing: Nothing,
           request: |ids| (format!("/v1/audit/events?limit=1&caller={}", ids.caller), Value::Null) },
    Case { method: "GET", path: "/v1/audit/checkpoints/{size}", purpose: "", role: Role::Auditor, destroys: false, missing: Nothing,
           request: |_| ("/v1/audit/checkpoints/latest".into(), Value::Null) },
    Case { method: "PUT", path: "/v1/callers/{caller}", purpose: "", role: Role::SecurityOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/callers/{}", ids.caller), json!({"name": "desk", "kind": "service", "roles": ["reader"]})) },
    Case { method: "POST", path: "/v1/callers/{caller}/tokens", purpose: "", role: Role::SecurityOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/callers/{}/tokens", ids.caller), json!({})) },
    Case { method: "POST", path: "/v1/callers/{caller}/factors", purpose: "", role: Role::SecurityOfficer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/callers/{}/factors", ids.person), json!({})) },
    Case { method: "POST", path: "/v1/step-ups", purpose: "", role: Role::Reader, destroys: false, missing: Nothing,
           request: |_| ("/v1/step-ups".into(), json!({"code": "000000"})) },
    Case { method: "POST", path: "/v1/queries", purpose: "a-account", role: Role::Reader, destroys: false, missing: Nothing,
           request: |_| ("/v1/queries".into(), json!({"fields": ["name"]})) },
    Case { method: "POST", path: "/v1/subjects/{subject}/secrets/{field}/verifications", purpose: "a-account", role: Role::Writer, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| (format!("/v1/subjects/{}/secrets/password/verifications", ids.subject), json!({"value": "x"})) },
    Case { method: "POST", path: "/v1/stats", purpose: "", role: Role::Writer, destroys: false, missing: Nothing,
           request: |_| ("/v1/stats".into(), json!({"measure": "page-views", "at": "2026-11-23T09:00:00Z", "dimensions": {"page": "home"}, "count": 1})) },
    Case { method: "GET", path: "/v1/stats", purpose: "h-efficiency", role: Role::Reader, destroys: false, missing: Nothing,
           request: |_| ("/v1/stats?measure=page-views".into(), Value::Null) },
    Case { method: "GET", path: "/v1/policy-versions/{version}", purpose: "", role: Role::Auditor, destroys: false, missing: Nothing,
           request: |_| ("/v1/policy-versions/current".into(), Value::Null) },
    Case { method: "POST", path: "/v1/policy-versions", purpose: "", role: Role::PolicyAuthor, destroys: false, missing: Refused(404, "not-found"),
           request: |ids| ("/v1/policy-versions".into(), json!({"action": "reject", "proposal": ids.subject.replace("sub_", "prp_")})) },
    Case { method: "GET", path: "/v1/config/{kind}", purpose: "", role: Role::Auditor, destroys: false, missing: Nothing,
           request: |_| ("/v1/config/fields?limit=2".into(), Value::Null) },
    Case { method: "PUT", path: "/v1/config/{kind}/{id}", purpose: "", role: Role::PolicyAuthor, destroys: false, missing: Nothing,
           request: |_| ("/v1/config/sources/kiosk".into(), json!({"id": "kiosk", "title": "A kiosk"})) },
];

fn subject(ids: &Ids) -> Value {
    json!({"class": "consumer", "jurisdiction": "DE", "guardian": ids.subject})
}

fn consent() -> Value {
    json!({"purpose": "c-marketing", "state": "given", "kind": "general"})
}

fn objection() -> Value {
    json!({"kind": "objection", "purposes": ["g-improve"]})
}

fn rectification(subject: &str, record: &str) -> Value {
    json!({"type": "rectification", "subject": subject, "record": record, "fields": ["name"]})
}

/// An incident before which there was nobody.
fn incident() -> Value {
    json!({"kind": "drill", "detected_at": "2026-11-23T09:00:00Z", "severity": "low", "scope": {"until": "2026-01-01T00:00:00Z"}})
}

fn record() -> Value {
    json!({"kind": "contact", "purposes": ["a-account"], "fields": {"name": "Ada"}})
}

fn need(subject: &str) -> Value {
    json!({"kind": "reasonable-need", "subject": subject, "purposes": ["b-service"], "fields": ["name"], "recipient": "parcel",
        "ground": "perform-contract", "necessity": "n", "expires_at": "2036-12-23T10:00:00Z"})
}

impl Ids {
    /// Ids that nobody has.
    pub(crate) fn of_nothing() -> Self {
        let bytes = [0xa5; 16];
        Self {
            subject: SubjectId::from_bytes(bytes).to_string(),
            record: RecordId::from_bytes(bytes).to_string(),
            erasure: ErasureId::from_bytes(bytes).to_string(),
            caller: CallerId::from_bytes(bytes).to_string(),
            person: CallerId::from_bytes(bytes).to_string(),
            email: "nobody@example.org".into(),
            objection: RestrictionId::from_bytes(bytes).to_string(),
            hold: RestrictionId::from_bytes(bytes).to_string(),
            request: RequestId::from_bytes(bytes).to_string(),
            served: RequestId::from_bytes(bytes).to_string(),
            consent: ConsentId::from_bytes(bytes).to_string(),
            case: CaseId::from_bytes(bytes).to_string(),
            incident: IncidentId::from_bytes(bytes).to_string(),
        }
    }

    /// New things of the first controller, none of which belongs to the first holder of a role.
    pub(crate) fn fresh(house: &House) -> Self {
        let email = format!("fresh{}@example.org", house.number());
        let (writer, officer) = (house.second(Role::Writer), house.second(Role::PrivacyOfficer));
        let body = json!({"class": "consumer", "jurisdiction": "DE", "aliases": [{"type": "email", "value": email}], "notice": crate::house::notice()});
        let subject = house.post("/v1/subjects", &body).by(&writer).purpose("a-account").send().expect(201).member("id");
        let path = format!("/v1/subjects/{subject}/records");
        let record = house.post(&path, &record()).by(&writer).purpose("a-account").send().expect(201).member("id");
        let body = json!({"subject": subject, "scope": "subject", "cause": "request"});
        let erasure = house.post("/v1/erasures", &body).by(&officer).send().expect(201).member("id");
        let restrict = |body: &Value| {
            let path = format!("/v1/subjects/{subject}/restrictions");
            house.post(&path, body).by(&officer).send().expect(201).member("id")
        };
        let given = house.post(&format!("/v1/subjects/{subject}/consents"), &consent()).by(&writer).send();
        let consent = given.expect(201).member("id");
        let objection = restrict(&objection());
        let hold = json!({"kind": "legal-hold", "records": [record], "case": "case-1", "review_at": "2036-11-23T10:00:00Z"});
        let hold = restrict(&hold);
        let asked = house.post("/v1/requests", &rectification(&subject, &record)).by(&writer).send();
        let request = asked.expect(201).member("request_id");
        let served = house.verified_request(&subject);
        let case = house.post("/v1/cases", &need(&subject)).by(&officer).send().expect(201).member("id");
        let caller = house.caller(CallerKind::Service, &[Role::Reader], &[]).id.to_string();
        let person = house.caller(CallerKind::Person, &[Role::Reader], &[]).id.to_string();
        let incident = format!("inc_{}", &caller[4..]);
        house.put(&format!("/v1/incidents/{incident}"), &self::incident()).by(&officer).send().expect(201);
        Self { subject, record, erasure, caller, person, email, objection, hold, request, served, consent, case, incident }
    }
}

impl Case {
    fn of(route: &Route) -> &'static Self {
        let mut all = CASES.iter().filter(|case| case.method == route.method.as_str() && case.path == route.path);
        let case = all.next().unwrap_or_else(|| panic!("{} {} has no case", route.method, route.path));
        assert!(all.next().is_none(), "{} has two cases", route.path);
        case
    }

    /// What even a proper request meets, where it needs something that only its caller has.
    pub(crate) fn falls_short(&self) -> Option<(u16, &'static str)> {
        match self.path {
            "/v1/step-ups" => Some((401, "step-up-required")),
            // It is open, so there is no result yet.
            "/v1/requests/{request}/result" => Some((409, "state-conflict")),
            // Nobody of that name is registered.
            "/v1/disclosures" if self.method == "POST" => Some((403, "recipient-unknown")),
            // Of somebody of age nobody is the guardian.
            "/v1/subjects/{subject}/guardian" => Some((409, "state-conflict")),
            // No such letter left.
            "/v1/subjects/{subject}/notices/{notice}/bounces" => Some((404, "not-found")),
            // There is no proposal to drop.
            "/v1/policy-versions" => Some((404, "not-found")),
            _ => None,
        }
    }

    /// Whether it answers without credentials, too.
    pub(crate) fn is_open(&self) -> bool {
        self.path == "/v1/policy-versions/{version}"
    }

    fn is_batch(&self) -> bool {
        self.path.ends_with(":batch")
    }

    /// Sends it; for a batch, the outcome of its one item.
    pub(crate) fn send(&self, house: &House, ids: &Ids, token: Option<&Token>) -> Outcome {
        let (path, body) = (self.request)(ids);
        let mut ask = house.ask(self.method, &path);
        if !body.is_null() {
            ask = ask.json(&body);
        }
        if let Some(token) = token {
            ask = ask.by(token);
        }
        if !self.purpose.is_empty() {
            ask = ask.purpose(self.purpose);
        }
        if self.purpose == "x-rights" {
            // What an officer reads for.
            ask = ask.header("vault-case", &ids.served);
        }
        if self.is_open() {
            ask = ask.header("accept", "application/ld+json");
        }
        if self.method == "PATCH" {
            ask = ask.header("if-match", "\"1\"");
        }
        let reply = ask.send();
        if self.is_batch() && reply.status == 200 {
            let item = reply.json()["items"][0].clone();
            let code = item["problem"]["type"].as_str().map_or("", |code| code.rsplit(':').next().unwrap());
            return Outcome { status: item["status"].as_u64().unwrap() as u16, code: code.into(), body: item, reply };
        }
        let code = reply.code();
        Outcome { status: reply.status, code, body: reply.json(), reply }
    }
}

/// What came of a request.
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) body: Value,
    pub(crate) reply: Reply,
}

#[test]
fn every_route_has_a_case_and_every_case_a_route() {
    for route in ROUTES {
        assert_eq!(Case::of(route).path, route.path);
    }
    assert_eq!(CASES.len(), ROUTES.len());
    for route in ROUTES {
        let case = Case::of(route);
        let may = cell(route.operation, case.role);
        assert!(matches!(may, Cell::Allowed | Cell::SecondPerson), "{}", route.path);
    }
}

#[test]
fn no_route_answers_without_valid_credentials() {
    let house = House::shared();
    let nothing = Ids::of_nothing();
    let real = house.holder(Role::Writer).text;
    let wrong = format!("{}{}", &real[..real.len() - 1], if real.ends_with('0') { '1' } else { '0' });
    for route in ROUTES {
        let case = Case::of(route);
        let (path, body) = (case.request)(&nothing);
        let ask = || {
            let ask = house.ask(case.method, &path).purpose("a-account");
            if body.is_null() { ask } else { ask.json(&body) }
        };
        if case.is_open() {
            ask().send().expect(200);
        } else {
            let none = ask().send();
            assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"oubliette\""), "{}", case.path);
            none.refused(401, "unauthenticated");
        }
        for bad in [
            format!("Bearer {wrong}"),
            format!("Basic {real}"),
            format!("Bearer {real} {real}"),
            format!("Bearer {}", real.to_uppercase()),
            "Bearer".to_owned(),
            format!("Bearer {}", "0".repeat(600)),
        ] {
            ask().header("authorization", &bad).send().refused(401, "unauthenticated");
        }
    }
    // A token is taken from its one header only.
    house.get(&format!("/v1/keys?access_token={real}")).send().refused(401, "unauthenticated");
    house.get("/v1/keys").header("cookie", &format!("token={real}")).send().refused(401, "unauthenticated");
}

#[test]
fn every_role_and_every_route_are_as_the_matrix_says() {
    every_role_does_what_the_matrix_says();
}

pub(crate) fn every_role_does_what_the_matrix_says() {
    let house = House::shared();
    let common = Ids::fresh(&house);
    for route in ROUTES {
        let case = Case::of(route);
        for role in ROLES.into_iter().filter(|role| *role != Role::Scheduler) {
            let may = cell(route.operation, role);
            let ids = if case.destroys && may != Cell::Never { Ids::fresh(&house) } else { common.clone() };
            let outcome = case.send(&house, &ids, Some(&house.holder(role)));
            let what = format!("{role:?} {} {}: {}", case.method, case.path, outcome.body);
            match wanted(route.operation, may, role) {
                None => match case.falls_short() {
                    Some(short) => assert_eq!((outcome.status, outcome.code.as_str()), short, "{what}"),
                    None => assert!((200..300).contains(&outcome.status), "{what}"),
                },
                Some(code) => {
                    assert_eq!(outcome.code, code, "{what}");
                    assert_eq!(outcome.status, if code == "not-found" { 404 } else { 403 }, "{what}");
                }
            }
        }
    }
}

/// The refusal that a role meets with a proper request about what is not its own; none where it may.
fn wanted(operation: Operation, may: Cell, role: Role) -> Option<&'static str> {
    let hidden = matches!(
        operation,
        Operation::GetSubject
            | Operation::WriteRecord
            | Operation::ReadRecords
            | Operation::RectifyRecord
            | Operation::DeleteRecord
            | Operation::PutContract
            | Operation::RecordConsent
            | Operation::ListConsents
            | Operation::GetConsentReceipt
            | Operation::SetPreference
            | Operation::RestrictSubject
            | Operation::LiftRestriction
            | Operation::GetRequest
            | Operation::AdvanceRequest
            | Operation::GetRequestResult
            | Operation::OpenErasure
            | Operation::ApproveErasure
            | Operation::GetErasure
    );
    let sees_subjects = cell(Operation::GetSubject, role) == Cell::Allowed;
    let erasure = matches!(
        operation,
        Operation::ApproveErasure
            | Operation::GetErasure
            | Operation::GetRequest
            | Operation::AdvanceRequest
            | Operation::GetRequestResult
    );
    match may {
        Cell::Never => Some("role-forbidden"),
        // What one asks about oneself is one's own.
        Cell::Own if operation == Operation::ExplainDecision => None,
        Cell::Own if hidden && (erasure || !sees_subjects) => Some("not-found"),
        Cell::Own => Some("role-forbidden"),
        Cell::Allowed | Cell::SecondPerson | Cell::RightsOnly => None,
    }
}

#[test]
fn a_privacy_officer_reads_for_rights_alone() {
    let house = House::shared();
    let ids = Ids::fresh(&house);
    let officer = house.holder(Role::PrivacyOfficer);
    let path = format!("/v1/subjects/{}/records", ids.subject);
    for purpose in house.tenant(0).purposes() {
        let reply = house.get(&path).by(&officer).purpose(&purpose.id).header("vault-case", &ids.served).send();
        if purpose.id == "x-rights" {
            reply.expect(200)
        } else {
            reply.refused(403, "role-forbidden")
        };
    }
}

#[test]
fn a_writer_deletes_what_it_wrote_and_no_more() {
    let house = House::shared();
    let ids = Ids::fresh(&house);
    let path = format!("/v1/subjects/{}/records/{}", ids.subject, ids.record);
    house.delete(&path).by(&house.holder(Role::Writer)).send().refused(403, "role-forbidden");
    house.delete(&path).by(&house.second(Role::Writer)).send().expect(204);
    house.delete(&path).by(&house.holder(Role::PrivacyOfficer)).send().refused(404, "not-found");
}

#[test]
fn nobody_is_given_the_schedulers_role_or_roles_that_must_be_apart() {
    let house = House::shared();
    let officer = house.holder(Role::SecurityOfficer);
    let put = |roles: Value| {
        let body = json!({"name": "somebody", "kind": "person", "roles": roles});
        house.put("/v1/callers/new", &body).by(&officer).send()
    };
    put(json!(["scheduler"])).refused(422, "invalid-body");
    put(json!([])).refused(422, "invalid-body");
    for pair in
        [["key_admin", "reader"], ["key_admin", "privacy_officer"], ["auditor", "writer"], ["auditor", "security_officer"]]
    {
        put(json!(pair)).refused(403, "separation-of-duties");
    }
    put(json!(["reader", "writer"])).expect(201);
}

#[test]
fn what_is_not_there_is_not_found_by_those_who_may_ask() {
    let house = House::shared();
    for route in ROUTES {
        let case = Case::of(route);
        if let Refused(status, code) = case.missing {
            let outcome = case.send(&house, &Ids::of_nothing(), Some(&house.holder(case.role)));
            assert_eq!((outcome.status, outcome.code.as_str()), (status, code), "{} {}", case.path, outcome.body);
        }
    }
}

#[test]
fn who_may_not_ask_learns_nothing_from_asking_about_what_is_there_or_not() {
    let house = House::shared();
    let (there, nothing) = (Ids::fresh(&house), Ids::of_nothing());
    for route in ROUTES {
        let case = Case::of(route);
        for role in ROLES.into_iter().filter(|role| *role != Role::Scheduler) {
            if wanted(route.operation, cell(route.operation, role), role).is_none() {
                continue;
            }
            let token = house.holder(role);
            let (one, other) = (case.send(&house, &there, Some(&token)), case.send(&house, &nothing, Some(&token)));
            // Those who see subjects anyway may be told apart what is theirs from what is not there.
            if cell(Operation::GetSubject, role) == Cell::Allowed && cell(route.operation, role) == Cell::Own {
                continue;
            }
            assert_eq!(plain(&one.body), plain(&other.body), "{role:?} {}", case.path);
            assert_eq!(one.reply.status, other.reply.status);
        }
    }
}

#[test]
fn a_record_that_is_not_there_is_not_found_whoever_its_subject_is() {
    let house = House::shared();
    let there = Ids::fresh(&house);
    let other = Ids::fresh(&house);
    for record in [Ids::of_nothing().record, other.record] {
        let ids = Ids { record, ..there.clone() };
        for route in ROUTES.iter().filter(|route| route.path.contains("/records") && !route.is_batch() && route.method != "POST")
        {
            let case = Case::of(route);
            let outcome = case.send(&house, &ids, Some(&house.holder(case.role)));
            assert_eq!((outcome.status, outcome.code.as_str()), (404, "not-found"), "{} {}", case.method, case.path);
        }
    }
}

#[test]
fn an_id_of_another_kind_or_form_is_not_found() {
    let house = House::shared();
    let there = Ids::fresh(&house);
    let reader = house.holder(Role::Reader);
    let upper = there.subject.to_uppercase();
    for id in [
        "me",
        "x",
        "sub_",
        there.record.as_str(),
        upper.as_str(),
        &there.subject[..29],
        "sub_8zzzzzzzzzzzzzzzzzzzzzzzzz",
        "%2e%2e",
    ] {
        house.get(&format!("/v1/subjects/{id}")).by(&reader).send().refused(404, "not-found");
    }
}

#[test]
fn no_other_address_and_no_other_method_answers() {
    let house = House::shared();
    let admin = house.holder(Role::KeyAdmin);
    for path in
        ["/", "/v1", "/v1/", "/v1/keys/", "//v1/keys", "/v1/../v1/keys", "/v2/keys", "/metrics", "/v1/Keys", "/v1/keys;a=b"]
    {
        house.get(path).by(&admin).send().refused(404, "not-found");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        house.ask(method, "/v1/keys").by(&admin).send().refused(405, "method-not-allowed");
    }
    house.get("/healthz").send().expect(200);
    house.get("/readyz").send().expect(200);
}

/// A body without the ids of decisions, which differ each time.
pub(crate) fn plain(body: &Value) -> Value {
    match body {
        Value::Object(members) => {
            members.iter().filter(|(name, _)| *name != "instance").map(|(name, value)| (name.clone(), plain(value))).collect()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}
