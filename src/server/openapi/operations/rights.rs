//! What a person can ask for, and what officers do about it: requests, restrictions, erasures, cases, disclosures, incidents.

use serde_json::{Value, json};

use super::super::described::{Described, Header, Open, at};
use super::{LATER, SHA256, TAG, TIME, id};
use crate::model::code::Code;
use crate::model::wire::{
    AdvanceRequest, ApproveErasure, CaseView, DecideCase, Disclose, DisclosedView, DisclosuresPage, ErasureView, ExceptPurposes,
    IncidentStory, IncidentView, IncidentsPage, LedToErasure, LettersView, LiftRestriction, OpenCase, OpenErasure, OpenRequest,
    PutIncident, ReportIncident, ReportedView, RequestView, RequestsPage, RestrictSubject, RestrictionView, WriteLetters,
};

pub(super) fn all() -> Vec<Described> {
    vec![
        at("POST", "/v1/subjects/{subject}/restrictions", "restrictSubject", "Restrict the use of a person's data")
            .says("`legal-hold` needs `case` and `review_at`, and waits for a second officer.")
            .takes::<RestrictSubject>(json!({"kind": "art18", "exceptions": ["k-security"], "reason": "accuracy-contested"}))
            .made::<RestrictionView>("The restriction.", restriction())
            .names("restriction", "/id")
            .with("Location")
            .refuses(&[Code::StateConflict]),
        at("POST", "/v1/subjects/{subject}/restrictions/{restriction}/approvals", "approveRestriction", "The second officer of a hold")
            .answers::<RestrictionView>("The hold is in force.", restriction())
            .refuses(HOLDS),
        at("POST", "/v1/subjects/{subject}/restrictions/{restriction}/exceptions", "exceptPurposes", "Except more purposes")
            .says("For compelling grounds (GDPR Art. 21(1)) or an exception of Art. 18(2).")
            .takes::<ExceptPurposes>(json!({"purposes": ["k-security"], "reason": "fraud-case"}))
            .answers::<RestrictionView>("The restriction as it stands now.", restriction())
            .refuses(&[Code::StateConflict]),
        at("DELETE", "/v1/subjects/{subject}/restrictions/{restriction}", "liftRestriction", "Lift a restriction")
            .says("With a reason. A hold is lifted by another officer than the one who began it; what only the hold kept is destroyed before the answer.")
            .takes::<LiftRestriction>(json!({"reason": "case-closed"}))
            .done("It is lifted.")
            .answers::<LedToErasure>("An erasure that waited for it went on.", json!({"erasure": id("ers_")}))
            .refuses(HOLDS),
        at("POST", "/v1/requests", "openRequest", "A person asks for something")
            .says("Access, portability, rectification, restriction, objection, erasure, closing the account, a complaint, a question.")
            .takes::<OpenRequest>(json!({"type": "access", "subject": "me"}))
            .or("a rectification", json!({
                "type": "rectification", "subject": id("sub_"), "record": id("rec_"), "fields": ["name"],
                "evidence": {"kind": "passport", "digest": SHA256},
            }))
            .made::<RequestView>("The request, with the names of the Data Rights Protocol.", request("open"))
            .names("request", "/request_id")
            .with("Location")
            .reads(&[Header::Idempotency])
            .refuses(&[Code::StateConflict, Code::EvidenceRequired, Code::AccountClosed, Code::Erased]),
        at("GET", "/v1/requests", "listRequests", "The queue of requests")
            .says("What is due first in front. Auditors see `subject_tag` and no subject.")
            .answers::<RequestsPage>("A page of the queue.", json!({"requests": [request("open")], "next_cursor": null})),
        at("POST", "/v1/requests/{request}/transitions", "advanceRequest", "Go a step on with a request")
            .takes::<AdvanceRequest>(json!({"action": "verify"}))
            .or("with the code", json!({"action": "verify", "code": "123456"}))
            .or("what an officer saw", json!({"action": "verify", "level": 2, "evidence": {"kind": "passport", "digest": SHA256}}))
            .or("begun", json!({"action": "accept"}))
            .or("put off", json!({"action": "extend", "reason": "complexity"}))
            .or("denied", json!({"action": "deny", "reason": "manifestly-unfounded"}))
            .or("done", json!({"action": "fulfil"}))
            .or("taken back", json!({"action": "revoke"}))
            .answers::<RequestView>("The request as it stands now.", request("in_progress"))
            .refuses(&[Code::StateConflict, Code::VerificationRequired, Code::WrongCode, Code::SecondPersonRequired])
            .refuses(&[Code::EvidenceRequired, Code::KeyDestroyed, Code::Erased]),
        at("GET", "/v1/requests/{request}", "getRequest", "How a request stands")
            .answers::<RequestView>("The request.", request("open")),
        at("GET", "/v1/requests/{request}/result", "getRequestResult", "Fetch the bundle of an access or portability request")
            .says("Manifest and copy as often as wanted until the data was fetched, which takes the bundle's key with it. By the person's token, a privacy officer with `Vault-Purpose: x-rights`, or the download code as `Vault-Claim`.")
            .page("The part that was asked for; `data` is of `/schemas/subject-bundle`.", "application/json")
            .also("text/html")
            .open(Open::ToClaims)
            .reads(&[Header::Purpose])
            .refuses(&[Code::StateConflict, Code::ResultGone, Code::PurposeRequired, Code::PurposeNotGranted])
            .refuses(&[Code::PurposeNotPublished, Code::Erased, Code::TrainingRequired]),
        at("POST", "/v1/erasures", "openErasure", "Open an erasure")
            .says("Nothing is destroyed before another officer approves. A person's own token opens the groups `device` and `marketing` directly: the answer is sealed.")
            .takes::<OpenErasure>(json!({"subject": id("sub_"), "scope": "subject", "cause": "request"}))
            .or("of groups", json!({"subject": "me", "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}))
            .made::<ErasureView>("It waits for the second person.", erasure("requested"))
            .names("erasure", "/id")
            .with("Location")
            .reads(&[Header::Idempotency])
            .refuses(&[Code::StateConflict, Code::KeyDestroyed]),
        at("POST", "/v1/erasures/{erasure}/approvals", "approveErasure", "The second person of an erasure")
            .says("An empty object approves: the answer comes when the erasure is sealed, and shows the claim code once.")
            .takes::<ApproveErasure>(json!({}))
            .or("denied", json!({"decision": "deny"}))
            .or_nothing()
            .answers::<ErasureView>("How it ended.", erasure("sealed"))
            .reads(&[Header::Idempotency])
            .refuses(&[Code::SecondPersonRequired, Code::StateConflict, Code::Erased, Code::KeyDestroyed]),
        at("GET", "/v1/erasures/{erasure}", "getErasure", "How an erasure stands")
            .says("With its certificate once it is sealed. The holder of the claim code shows it as `Vault-Claim`.")
            .answers::<ErasureView>("The erasure.", erasure("sealed"))
            .open(Open::ToClaims),
        at("POST", "/v1/cases", "openCase", "Open a case for a disclosure that two people answer for")
            .takes::<OpenCase>(json!({
                "kind": "legal-process", "subject": id("sub_"), "purposes": ["l1-legal"], "fields": ["name", "address"],
                "recipient": "police-de", "instrument": "ag-berlin-352-gs-1", "jurisdiction": "DE", "expires_at": LATER,
            }))
            .made::<CaseView>("It waits for the second person.", case("open"))
            .names("case", "/id")
            .with("Location")
            .reads(&[Header::Idempotency])
            .refuses(&[Code::FieldNotInCatalogue, Code::RecipientUnknown, Code::StateConflict, Code::Erased, Code::Held]),
        at("POST", "/v1/cases/{case}/approvals", "approveCase", "Approve, refuse or close a case")
            .takes::<DecideCase>(json!({"decision": "approve"}))
            .answers::<CaseView>("The case as it stands now.", case("approved"))
            .refuses(&[Code::SecondPersonRequired, Code::StateConflict, Code::Erased]),
        at("GET", "/v1/cases/{case}", "getCase", "How a case stands")
            .says("Only a privacy officer sees `subject`; others see `subject_tag`.")
            .answers::<CaseView>("The case.", case("approved")),
        at("POST", "/v1/disclosures", "disclose", "Give a person's data to a partner")
            .says("The line in the ledger and the entry in the trail are durable before a byte leaves. All kinds but `partner` need an approved case.")
            .takes::<Disclose>(json!({"subject": id("sub_"), "recipient": "parcel", "fields": ["name", "address"]}))
            .made::<DisclosedView<'_>>(
                "The values, in clear text.",
                json!({"id": id("dis_"), "recipient": "parcel", "purpose": "b-delivery", "pseudonym": id("psn_"), "fields": {"name": "Ada"}}),
            )
            .reads(&[Header::Idempotency, Header::Grounds, Header::Case, Header::Clear])
            .refuses(&[Code::RecipientUnknown, Code::FieldNotInCatalogue, Code::ReadBudgetSpent]),
        at("GET", "/v1/disclosures", "listDisclosures", "The ledger of disclosures")
            .says("With `updates` what past recipients are to hear, with `overdue` what they should have acknowledged by now. A person sees their own lines, a partner those to itself.")
            .answers::<DisclosuresPage>("A page of the list that was asked for.", json!({"disclosures": [disclosure()], "next_cursor": null}))
            .refuses(&[Code::Erased]),
        at("GET", "/v1/incidents", "listIncidents", "The register of incidents")
            .answers::<IncidentsPage>("A page of the register.", json!({"incidents": [incident()], "next_cursor": null})),
        at("PUT", "/v1/incidents/{incident}", "putIncident", "Put an incident down, or change it")
            .says("The caller makes the id. What is left out is taken away; the next one needs `If-Match`.")
            .takes::<PutIncident>(json!({
                "kind": "leaked-token", "detected_at": TIME, "severity": "high", "scope": {"token": id("tok_"), "from": "2026-11-01T00:00:00Z"},
                "nature": "A token was published.", "measures": "The token was revoked.",
            }))
            .made::<IncidentView>("It is new; the clocks of the authorities run.", incident())
            .with("ETag")
            .answers::<IncidentView>("It changed.", incident())
            .with("ETag")
            .reads(&[Header::IfMatchToo, Header::Idempotency])
            .refuses(&[Code::Stale, Code::IfMatchRequired, Code::StateConflict]),
        at("GET", "/v1/incidents/{incident}", "getIncident", "Whom an incident concerns")
            .says("In numbers, and a page of the people by their tags.")
            .answers::<IncidentStory>("The incident.", story())
            .with("ETag"),
        at("POST", "/v1/incidents/{incident}/reports", "reportIncident", "A notice to an authority")
            .says("GDPR Art. 33, in phases (Art. 33(4)). It goes to the outbox, signed.")
            .takes::<ReportIncident>(json!({"authority": "de-bfdi", "phase": "initial"}))
            .made::<ReportedView>(
                "What the authority is told.",
                json!({"incident": id("inc_"), "authority": "de-bfdi", "phase": "initial", "at": TIME, "sha256": SHA256, "delivery": id("dlv_"), "text": "…"}),
            )
            .with("ETag")
            .reads(&[Header::Idempotency])
            .refuses(&[Code::StateConflict]),
        at("POST", "/v1/incidents/{incident}/letters", "writeIncidentLetters", "Letters to the people")
            .says("GDPR Art. 34: one each, through the outbox.")
            .takes::<WriteLetters>(json!({"template": "incident"}))
            .answers::<LettersView>("How far they have come.", json!({"template": "incident", "begun_at": TIME, "queued": 5, "done": true}))
            .with("ETag")
            .reads(&[Header::Idempotency])
            .refuses(&[Code::StateConflict]),
    ]
}

/// What holds can be refused with.
const HOLDS: &[Code] = &[Code::SecondPersonRequired, Code::StateConflict, Code::KeyDestroyed];

fn restriction() -> Value {
    json!({"id": id("rst_"), "kind": "art18", "purposes": [], "exceptions": ["k-security"], "records": [], "at": TIME, "active": true})
}

fn request(status: &str) -> Value {
    json!({
        "request_id": id("req_"), "type": "access", "status": status, "dpv_status": "dpv:RequestRequiresAction",
        "reason": "need_user_verification", "received_at": TIME, "expected_by": LATER,
        "verification": {"level": 0, "required": 1, "tries_left": 3},
    })
}

fn erasure(state: &str) -> Value {
    json!({"id": id("ers_"), "state": state, "scope": "subject", "cause": "request", "opened_at": TIME})
}

fn case(state: &str) -> Value {
    json!({
        "id": id("cas_"), "kind": "legal-process", "state": state, "opened_at": TIME, "expires_at": LATER, "disclosures": 0,
        "scope": {"subject": id("sub_"), "purposes": ["l1-legal"], "fields": ["name", "address"], "recipient": "police-de"},
    })
}

fn disclosure() -> Value {
    json!({
        "id": id("dis_"), "subject": id("sub_"), "pseudonym": id("psn_"), "recipient": "parcel", "kind": "partner",
        "purpose": "b-delivery", "fields": ["name", "address"], "region": "EU", "at": TIME, "decision": id("dec_"),
    })
}

fn incident() -> Value {
    json!({
        "id": id("inc_"), "kind": "leaked-token", "state": "open", "severity": "high", "critical_infrastructure": false,
        "detected_at": TIME, "opened_at": TIME, "opened_by": id("clr_"), "overdue": false,
        "clocks": [{"authority": "de-bfdi", "title": "BfDI", "url": "https://www.bfdi.bund.de", "clock": "eu-gdpr",
                    "statute": "eu-gdpr:A33-1", "hours": 72, "people": 5, "due_at": "2026-11-26T10:00:00Z", "overdue": false, "late": false}],
    })
}

fn story() -> Value {
    let mut story = incident();
    let affected = json!({
        "people": 5, "erased": 0, "jurisdictions": {"DE": 5}, "fields": ["name"], "categories": ["pd:Name"], "purposes": ["b-service"],
        "operations": {"readRecords": 7}, "without_person": {}, "everything": false, "entries": 12,
    });
    let person = json!({
        "tag": TAG, "subject": id("sub_"), "fields": ["name"], "purposes": ["b-service"], "operations": ["readRecords 2"],
        "calls": 2, "first_at": TIME, "last_at": TIME,
    });
    let rest = json!({
        "scope": {"token": id("tok_"), "changes": false}, "nature": "A token was published.", "consequences": null,
        "measures": null, "reports": [], "affected": affected, "people": [person], "next_cursor": null,
    });
    if let (Value::Object(story), Value::Object(rest)) = (&mut story, rest) {
        story.extend(rest);
    }
    story
}
