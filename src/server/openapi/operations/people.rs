//! People: who they are, what they were shown, what they said.

use serde_json::{Value, json};

use super::super::described::{Described, Header, Open, at};
use super::{LATER, TIME, id, notice};
use crate::model::code::Code;
use crate::model::wire::{
    BouncedNotice, ConsentView, ConsentsPage, CreateSubject, FoundView, GuardianView, LookupSubject, NoticeView, NoticesPage,
    PreferenceView, PutContract, PutGuardian, ReceiptView, RecordConsent, SendNotice, SentNotice, SetPreference, SubjectView,
};
use crate::server::handlers::batch::Items;

pub(super) fn all() -> Vec<Described> {
    vec![
        at("POST", "/v1/subjects", "createSubject", "A new person")
            .says("Somebody is found by at most 16 aliases. Without a notice nothing can be written about them; a child needs a guardian's consent.")
            .takes::<CreateSubject>(create())
            .made::<SubjectView>("The person. Nothing personal is repeated.", subject())
            .names("subject", "/id")
            .with("Location")
            .reads(&[Header::Idempotency])
            .refuses(&[Code::AliasTaken, Code::NoticeRequired, Code::FieldValueInvalid, Code::StateConflict]),
        at("POST", "/v1/subjects:batch", "createSubjects", "Many new people")
            .says("Each item stands or falls alone; what stands is one durable commit. An Idempotency-Key holds for each item by its place.")
            .takes_many::<CreateSubject>(create())
            .answers::<Items<'_>>("One item for each that was asked, in order.", batch("sub_"))
            .reads(&[Header::Idempotency])
            .refuses(&[Code::AliasTaken, Code::NoticeRequired, Code::FieldValueInvalid, Code::StateConflict]),
        at("GET", "/v1/subjects/{subject}", "getSubject", "What is known about a person, without what is personal")
            .answers::<SubjectView>("State, groups, notices, restrictions, and what is owed to the person.", subject()),
        at("POST", "/v1/subject-lookups", "lookupSubject", "Find a person")
            .says("By an alias in the body: no personal data stands in an address.")
            .takes::<LookupSubject>(json!({"type": "email", "value": "ada@example.org"}))
            .answers::<FoundView>("The one person who is found by it.", json!({"id": id("sub_")}))
            .names("subject", "/id")
            .refuses(&[Code::AliasAmbiguous, Code::NotIndexable]),
        at("PUT", "/v1/subjects/{subject}/contracts/{reference}", "putContract", "Open, change or close a contract")
            .says("What a purpose of the basis `contract` rests on. The reference holds no name and no address.")
            .takes::<PutContract>(contract())
            .made::<PutContract>("It is new.", contract())
            .with("ETag")
            .answers::<PutContract>("It changed.", contract())
            .with("ETag")
            .reads(&[Header::IfMatchToo])
            .refuses(&[Code::Stale, Code::StateConflict]),
        at("POST", "/v1/subjects/{subject}/consents", "recordConsent", "Give, refuse or take back a consent")
            .says("One event each, and the same call for all of them. The very next decision knows.")
            .takes::<RecordConsent>(json!({"purpose": "c-marketing", "state": "given", "kind": "general", "notice": notice()}))
            .or("taken back", json!({"purpose": "c-marketing", "state": "withdrawn", "kind": "general"}))
            .made::<ConsentView>("The event.", consent())
            .names("consent", "/id")
            .with("Location")
            .reads(&[Header::Idempotency, Header::Gpc])
            .refuses(&[Code::NoticeRequired, Code::PurposeNotPublished, Code::RecipientUnknown, Code::StateConflict])
            .refuses(&[Code::SubjectClassMismatch, Code::FieldNotInCatalogue]),
        at("GET", "/v1/subjects/{subject}/consents", "listConsents", "The ledger of consents")
            .says("Oldest first. An auditor gets `tag` in place of `subject`, and no addresses.")
            .answers::<ConsentsPage>(
                "A page of events.",
                json!({"subject": id("sub_"), "consents": [consent()], "next_cursor": null}),
            ),
        at("GET", "/v1/subjects/{subject}/consents/{consent}/receipt", "getConsentReceipt", "The receipt of a consent")
            .says("ISO/IEC TS 27560:2023 in the terms of the Data Privacy Vocabulary, with a proof that anybody can check with the vault's public key.")
            .answers::<ReceiptView>("Receipt and proof.", Value::Null),
        at("PUT", "/v1/subjects/{subject}/preferences/{preference}", "setPreference", "Turn a switch of the person")
            .takes::<SetPreference>(json!({"on": false}))
            .answers::<PreferenceView>(
                "How it stands now.",
                json!({"preference": "marketing", "on": false, "at": TIME, "withdrawn": [id("cns_")]}),
            )
            .reads(&[Header::Gpc]),
        at("PUT", "/v1/subjects/{subject}/guardian", "putGuardian", "A guardian's word for a child")
            .takes::<PutGuardian>(json!({"state": "given", "guardian": id("sub_"), "method": "signed-form", "at": TIME, "purposes": ["c-marketing"]}))
            .or("taken back", json!({"state": "withdrawn"}))
            .answers::<GuardianView>("How it stands now.", guardian())
            .refuses(&[Code::StateConflict, Code::MinorProtection]),
        at("POST", "/v1/notices", "sendNotice", "Note what was shown, or send a letter")
            .says("`shown` notes that the person saw the policy. The others queue a letter of the configuration; the vault reads the address when it leaves.")
            .takes::<SendNotice>(shown())
            .or("a letter", json!({"subject": id("sub_"), "kind": "security", "language": "de", "channel": "email", "template": "security"}))
            .made::<SentNotice>(
                "It was noted, or queued.",
                json!({"id": id("ntc_"), "kind": "shown", "state": "shown", "policy_version": "2026-11-1", "at": TIME}),
            )
            .names("notice", "/id")
            .reads(&[Header::Idempotency])
            .refuses(&[Code::PromotionalNotice, Code::AccountClosed, Code::NoLawfulBasis, Code::StateConflict, Code::Erased, Code::Held]),
        at("GET", "/v1/subjects/{subject}/notices", "listNotices", "The letters to a person")
            .says("A part of getSubject; a partner has no business with them.")
            .answers::<NoticesPage>("A page of letters, with what became of each.", json!({"notices": [letter()], "next_cursor": null})),
        at("POST", "/v1/subjects/{subject}/notices/{notice}/bounces", "bounceNotice", "Say that a letter came back")
            .takes::<BouncedNotice>(json!({"status": "5.1.1"}))
            .answers::<NoticeView>("The letter as it stands now.", letter())
            .refuses(&[Code::StateConflict, Code::Erased, Code::Held]),
        at("GET", "/v1/policy-versions/{version}", "getPolicyVersion", "The policy, for everybody")
            .says("`current`, a version by its name, or for those who may see drafts a proposal by its id. A page for a browser, JSON-LD (W3C DPV) for `Accept: application/ld+json`.")
            .page("The policy; `diff` says what changed since an older version.", "text/html")
            .also("application/ld+json")
            .also("application/json")
            .with("ETag")
            .open(Open::ToAll),
    ]
}

fn create() -> Value {
    json!({
        "class": "consumer", "jurisdiction": "DE", "birth_date": "1980-02-03",
        "aliases": [{"type": "email", "value": "ada@example.org"}, {"type": "external_id", "value": "07-000001"}],
        "notice": notice(),
    })
}

fn subject() -> Value {
    json!({
        "id": id("sub_"), "state": "active", "jurisdiction": "DE", "class": "consumer", "minor": false, "groups": ["identity"],
        "created_at": TIME, "notices": [{"policy_version": "2026-11-1", "shown_at": TIME}], "restrictions": [], "tasks": [],
    })
}

fn contract() -> Value {
    json!({"state": "active", "from": "2026-11-23", "until": null})
}

fn consent() -> Value {
    let receipt = format!("/v1/subjects/{}/consents/{}/receipt", id("sub_"), id("cns_"));
    json!({
        "id": id("cns_"), "purpose": "c-marketing", "kind": "general", "state": "given", "at": TIME, "policy_version": "2026-11-1",
        "categories": ["pd:EmailAddress"], "recorded_by": id("clr_"), "receipt": receipt,
    })
}

fn guardian() -> Value {
    json!({"id": id("sub_"), "method": "signed-form", "purposes": ["c-marketing"], "state": "given"})
}

fn shown() -> Value {
    json!({"subject": id("sub_"), "kind": "shown", "language": "de", "channel": "web", "shown_at": TIME})
}

fn letter() -> Value {
    json!({
        "id": id("ntc_"), "kind": "security", "template": "security", "state": "sent", "policy_version": "2026-11-1",
        "language": "de", "queued_at": TIME, "state_at": LATER,
    })
}

/// What a batch answers: one that was made and one that was refused.
pub(super) fn batch(prefix: &str) -> Value {
    let problem = json!({
        "type": "urn:oubliette:problem:invalid-body", "title": "Invalid body", "status": 422,
        "detail": Code::InvalidBody.sentence(), "pointer": "/class",
    });
    json!({"items": [{"status": 201, "id": id(prefix), "decision": id("dec_")}, {"status": 422, "problem": problem}]})
}
