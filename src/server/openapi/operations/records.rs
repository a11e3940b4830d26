//! Records: writing, reading, asking; secrets, decisions, statistics.

use serde_json::{Value, json};

use super::super::described::{Described, Header, at};
use super::people::batch;
use super::{TIME, id};
use crate::model::code::Code;
use crate::model::wire::{
    BatchRecord, ExplainDecision, ExplainedView, LedToErasure, QueryPage, QueryRecords, RecordStats, RecordView, RecordsPage,
    RectifyRecord, SecretMatch, StatsView, VerifySecret, WriteRecord,
};
use crate::server::handlers::batch::Items;

/// What the values of fields can be refused with.
const VALUES: &[Code] =
    &[Code::FieldNotInCatalogue, Code::FieldValueInvalid, Code::FieldRequired, Code::EvidenceRequired, Code::StateConflict];

pub(super) fn all() -> Vec<Described> {
    vec![
        at("POST", "/v1/subjects/{subject}/records", "writeRecord", "Write a record")
            .says("The fields are those of the catalogue; each purpose brings its group, and the record is read through the keys of these groups alone.")
            .takes::<WriteRecord>(record())
            .made::<RecordView>("The record, without its values.", record_view(1))
            .names("record", "/id")
            .with("ETag")
            .with("Location")
            .leads::<LedToErasure>("The birth date shows a child without a guardian's consent: the person was erased.", led())
            .reads(&[Header::Idempotency, Header::Grounds])
            .refuses(VALUES)
            .refuses(&[Code::NoticeRequired, Code::ProvenanceRequired, Code::Stale]),
        at("POST", "/v1/records:batch", "writeRecords", "Write many records")
            .says("For one person or many. Each item stands or falls alone; what stands is one durable commit.")
            .takes_many::<BatchRecord>(json!({"subject": id("sub_"), "record": record()}))
            .answers::<Items<'_>>("One item for each that was asked, in order.", batch("rec_"))
            .reads(&[Header::Idempotency, Header::Grounds])
            .refuses(VALUES)
            .refuses(&[Code::NoticeRequired, Code::ProvenanceRequired, Code::Stale]),
        at("GET", "/v1/subjects/{subject}/records", "readRecords", "Read a person's records for a purpose")
            .says("Only the fields that are asked for are decrypted. A field of high sensitivity shows its mask until the same token steps up.")
            .answers::<RecordsPage>(
                "What the purpose may see.",
                json!({"records": [{"id": id("rec_"), "kind": "contact", "version": 1, "fields": {"name": "Ada", "email": "ada@example.org"}}], "next_cursor": null}),
            )
            .with("ETag")
            .reads(&[Header::Grounds, Header::Case, Header::Clear])
            .refuses(&[Code::FieldNotInCatalogue, Code::ReadBudgetSpent]),
        at("PATCH", "/v1/subjects/{subject}/records/{record}", "rectifyRecord", "Correct a record")
            .says("JSON Merge Patch (RFC 7396) over `fields`: null removes. The new version takes the old one's place; there is no history.")
            .takes::<RectifyRecord>(json!({"fields": {"phone": "+49 30 7654321", "gender": null}}))
            .answers::<RecordView>("The new version.", record_view(2))
            .with("ETag")
            .leads::<LedToErasure>("The birth date shows a child without a guardian's consent: the person was erased.", led())
            .reads(&[Header::IfMatch, Header::Grounds])
            .refuses(VALUES)
            .refuses(&[Code::Stale, Code::IfMatchRequired]),
        at("DELETE", "/v1/subjects/{subject}/records/{record}", "deleteRecord", "Destroy a record's key")
            .says("The key is destroyed before the answer. A writer deletes what it wrote itself.")
            .done("It is gone.")
            .reads(&[Header::IfMatchToo])
            .refuses(&[Code::Stale, Code::Restricted, Code::StateConflict, Code::KeyDestroyed]),
        at("POST", "/v1/queries", "queryRecords", "One row a person, for one purpose")
            .says("Asked for a direct identifier, rows name the person. Else they have a pseudonym of this query and hide in a crowd of at least 11.")
            .takes::<QueryRecords>(json!({"fields": ["email"], "filters": [{"field": "company", "op": "prefix", "value": "Cobol"}], "limit": 100}))
            .or("in a crowd", json!({"fields": ["birth_date", "gender"], "years": ["birth_date"]}))
            .answers::<QueryPage>("A page of rows.", json!({"rows": [{"subject": id("sub_"), "fields": {"email": "ada@example.org"}}], "next_cursor": null}))
            .reads(&[Header::Grounds, Header::Clear])
            .refuses(&[Code::FieldNotInCatalogue, Code::NotIndexable, Code::CombinationIdentifies, Code::ReadBudgetSpent, Code::BadCursor]),
        at("POST", "/v1/subjects/{subject}/secrets/{field}/verifications", "verifySecret", "Compare what the person typed")
            .says("False as well, after the same time, where there is no secret. Ten tries a minute for one person.")
            .takes::<VerifySecret>(json!({"value": "correct horse"}))
            .answers::<SecretMatch>("Whether it matches. The verifier is never answered.", json!({"matches": true}))
            .reads(&[Header::Grounds]),
        at("POST", "/v1/decisions", "explainDecision", "Ask what a call would be answered, and why")
            .says("A dry run that opens nothing, shaped like AuthZEN: every guard with its result and the rules that it went by.")
            .takes::<ExplainDecision>(json!({
                "action": {"name": "readRecords"}, "resource": {"type": "subject", "id": id("sub_")},
                "context": {"purpose": "c-marketing", "fields": ["name"]},
            }))
            .answers::<ExplainedView>("The decision, guard by guard.", explained())
            .reads(&[Header::Grounds, Header::Case, Header::Clear]),
        at("POST", "/v1/stats", "recordStats", "Count something that is about nobody")
            .says("Measures, dimensions and their values are closed lists. What looks personal anywhere in the body is refused.")
            .takes::<RecordStats>(json!({"measure": "response-time", "at": TIME, "dimensions": {"page": "home"}, "count": 20, "sum": 9000}))
            .done("It is counted.")
            .reads(&[Header::Idempotency])
            .refuses(&[Code::MixedDataIsPersonal]),
        at("GET", "/v1/stats", "readStats", "Read a measure over whole days")
            .says("Cells below the floor are left out, and with them the next smallest. A reader names an aggregate-only purpose.")
            .answers::<StatsView>(
                "The measure.",
                json!({"measure": "response-time", "from": "2026-11-01", "until": "2026-11-23", "by": "page", "floor": 11,
                       "cells": [{"value": "home", "count": 20, "sum": 9000}], "suppressed": false}),
            )
            .reads(&[Header::Purpose])
            .refuses(&[Code::PurposeRequired, Code::PurposeNotPublished, Code::PurposeNotGranted, Code::PurposeIncompatible]),
    ]
}

fn record() -> Value {
    json!({
        "kind": "contact", "purposes": ["a-account", "b-service", "c-marketing"], "source": {"type": "data-subject"},
        "fields": {"name": "Ada", "email": "ada@example.org", "phone": "+49 30 1234567"},
    })
}

fn record_view(version: u64) -> Value {
    json!({"id": id("rec_"), "kind": "contact", "version": version, "groups": ["identity", "contract", "marketing"], "policy_version": "2026-11-1"})
}

fn led() -> Value {
    json!({"erasure": id("ers_")})
}

fn explained() -> Value {
    let rule = json!({"kind": "consent", "id": id("cns_"), "policy_version": "2026-11-1"});
    let guard = json!({"guard": "G7", "name": "basis", "holds": true, "code": null, "rules": [rule]});
    json!({"decision": true, "context": {"policy_version": "2026-11-1", "guards": [guard]}})
}
