//! The vault itself: policy, configuration, keys, trail, register, callers; and the pages that stand open.

use serde_json::{Map, Value, json};

use super::super::described::{Described, Header, Open, at};
use super::{LATER, SHA256, TAG, TIME, id};
use crate::model::code::Code;
use crate::model::wire::{
    CallerView, CheckpointView, FactorView, IssueToken, KeysOperated, KeysPage, OperateKeys, PublishPolicy, PutCaller, StepUp,
    SteppedUp, TokenView,
};
use crate::vault::views::{
    ConfigPage, ControllersPage, DraftedView, EventsPage, ProposalView, PublishedView, RejectedView, RopaView,
};

pub(super) fn all() -> Vec<Described> {
    vec![
        at("POST", "/v1/policy-versions", "publishPolicy", "Propose, approve or drop a policy")
            .says("A policy author proposes all drafts together; a privacy officer, another person, approves: with that it is in force.")
            .takes::<PublishPolicy>(json!({"action": "propose"}))
            .or("approved", json!({"action": "approve", "proposal": id("prp_")}))
            .or("dropped", json!({"action": "reject", "proposal": id("prp_")}))
            .made::<ProposalOrVersion>("What was proposed, or what is in force now.", proposal())
            .with("Location")
            .answers::<RejectedView>("It is dropped.", json!({"proposal": id("prp_"), "version": "2026-11-2", "state": "rejected"}))
            .reads(&[Header::Idempotency])
            .refuses(&[Code::SecondPersonRequired, Code::StateConflict, Code::PolicyConflict, Code::LiaMissing]),
        at("GET", "/v1/config/{kind}", "readConfig", "The configuration of a kind")
            .says("Drafts are shown to policy authors, privacy officers and auditors. `controllers` stands open, and says then who answers for what is kept here.")
            .answers::<ConfigOrControllers>("A page of entries.", json!({
                "kind": "purposes", "policy_version": "2026-11-1", "entries": [{"id": "a-account", "published": {"id": "a-account"}}],
                "next_cursor": null,
            }))
            .open(Open::ToAll),
        at("PUT", "/v1/config/{kind}/{id}", "draftConfig", "Draft an entry of the configuration")
            .says("The whole entry, by `/schemas/{kind}`. It takes effect by publishing alone. `{\"remove\":true}` drafts that it goes, `{\"discard\":true}` takes the draft back.")
            .takes::<Map<String, Value>>(json!({"id": "requests", "days": 20, "alarms": [50, 80, 100]}))
            .or("that it goes", json!({"remove": true}))
            .or("taken back", json!({"discard": true}))
            .answers::<DraftedView>("The draft.", json!({
                "kind": "sla-rules", "id": "requests", "draft": {"entry": {"id": "requests", "days": 20, "alarms": [50, 80, 100]}, "remove": false, "by": id("clr_"), "at": TIME},
            }))
            .done("The draft is taken back."),
        at("POST", "/v1/keys/operations", "operateKeys", "Rotate, back up, seal, unseal")
            .says("`unseal` needs no token while the vault is sealed: the passphrase, the PIN or the share is the credential.")
            .takes::<OperateKeys>(json!({"operation": "rotate-epoch"}))
            .or("a backup", json!({"operation": "backup", "full": false}))
            .or("a fresh root key", json!({"operation": "rotate-root", "passphrase": "correct horse battery staple"}))
            .or("new keys for the trees", json!({"operation": "rotate-tree"}))
            .or("new keys for one person", json!({"operation": "rotate-subject", "subject": id("sub_")}))
            .or("a rotation rests", json!({"operation": "pause-job", "job": id("job_")}))
            .or("sealed", json!({"operation": "seal"}))
            .or("unsealed", json!({"operation": "unseal", "passphrase": "correct horse battery staple"}))
            .answers::<KeysOperated>("What was done.", json!({"operation": "rotate-epoch", "epoch": 8}))
            .leads::<KeysOperated>(
                "A rotation goes on in the background; `/v1/keys` shows how far it has come.",
                json!({"operation": "rotate-tree", "job": job("waiting")}),
            )
            .done("The vault is open.")
            .open(Open::ToAll)
            .refuses(&[Code::StateConflict, Code::WrongPassphrase, Code::ShareRefused, Code::OtherCustody, Code::CustodyUnavailable]),
        at("GET", "/v1/keys", "listKeys", "Ids, states and ages of keys")
            .says("With the rotations, the newest first. `tree` and `subjects` stand for all keys of their kind.")
            .answers::<KeysPage>("Never key bytes.", json!({"keys": [key()], "next_cursor": null, "jobs": [job("done")]})),
        at("GET", "/v1/audit/events", "listAuditEvents", "The trail")
            .says("Only durable entries. A page may be empty and still have a cursor. With `Accept: application/x-ndjson` everything that is asked for, as OCSF 1.8.0 events, a line each. A person sees what was done with their own data.")
            .answers::<EventsPage>("A page, oldest first.", json!({"events": [event()], "next_cursor": null}))
            .also("application/x-ndjson")
            .refuses(&[Code::Erased]),
        at("GET", "/v1/audit/checkpoints/{size}", "getCheckpoint", "A signed checkpoint of the trail, with proofs")
            .answers::<CheckpointView>("Checkpoint and proofs (RFC 6962).", json!({
                "size": 123, "checkpoint": "oubliette/…\n123\n…\n", "inclusion": ["n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="], "consistency": null,
            })),
        at("GET", "/v1/ropa", "getRopa", "The records of processing, and counts that name nobody")
            .says("GDPR Art. 30, made from what the guards ask. As a table for `Accept: text/csv`.")
            .answers::<RopaView>("The register.", ropa())
            .also("text/csv"),
        at("PUT", "/v1/callers/{caller}", "putCaller", "Make or change a caller")
            .says("`new` in place of an id makes one. More rights wait until a second security officer puts the same.")
            .takes::<PutCaller>(json!({"name": "shop", "kind": "service", "roles": ["writer", "reader"], "purposes": ["a-account", "b-service"]}))
            .made::<CallerView>("It is new.", caller())
            .names("caller", "/id")
            .with("ETag")
            .answers::<CallerView>("It changed.", caller())
            .with("ETag")
            .reads(&[Header::IfMatchToo])
            .refuses(&[Code::TrainingRequired, Code::SecondPersonRequired, Code::Stale, Code::SeparationOfDuties, Code::StateConflict, Code::RecipientUnknown, Code::PurposeNotPublished]),
        at("POST", "/v1/callers/{caller}/tokens", "issueToken", "Issue a token")
            .says("Shown once. With `subject` it is a person's own.")
            .takes::<IssueToken>(json!({"purposes": ["b-service"], "lifetime_seconds": 3600}))
            .or("as RFC 9396 has it", json!({"authorization_details": [{"type": "oubliette", "actions": ["readRecords"], "purposes": ["b-service"]}]}))
            .made::<TokenView>("The token.", json!({
                "id": id("tok_"), "token": "oub_…", "expires_at": LATER, "authorization_details": [{"type": "oubliette", "purposes": ["b-service"]}],
            }))
            .reads(&[Header::Idempotency])
            .refuses(&[Code::TrainingRequired, Code::RecipientUnknown])
            .refuses(&[Code::SecondPersonRequired, Code::SecretShownOnce, Code::StateConflict, Code::FieldNotInCatalogue, Code::PurposeNotGranted, Code::Erased, Code::Held])
            .refuses(&[Code::AccountClosed]),
        at("POST", "/v1/callers/{caller}/factors", "enrolFactor", "Enrol a second factor")
            .says("Of another caller of kind `person`. Its secret is shown once, and the one before it stops working.")
            .made::<FactorView<'_>>("The secret (RFC 6238, SHA-256).", json!({"secret": "JBSWY3DPEHPK3PXP", "uri": "otpauth://totp/oubliette:…"}))
            .reads(&[Header::Idempotency])
            .refuses(&[Code::SecondPersonRequired, Code::SecretShownOnce, Code::StateConflict]),
        at("POST", "/v1/step-ups", "stepUp", "Show the second factor")
            .says("Then this token, and no other, sees clear text for a while. A code is taken once; five tries in five minutes.")
            .takes::<StepUp>(json!({"code": "123456"}))
            .answers::<SteppedUp>("Until when.", json!({"until": "2026-11-23T10:05:00Z", "acr": "urn:oubliette:acr:second-factor"}))
            .refuses(&[Code::StepUpRequired, Code::StateConflict]),
    ]
}

/// What publishPolicy makes.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is described here and never made: its two halves are answered on their own")]
enum ProposalOrVersion {
    /// A proposal.
    Proposal(ProposalView),
    /// A version that is in force.
    Version(PublishedView),
}

/// What readConfig answers.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is described here and never made: its two halves are answered on their own")]
enum ConfigOrControllers {
    /// Entries of a kind.
    Entries(ConfigPage),
    /// Without credentials: who answers for what is kept here.
    Controllers(ControllersPage),
}

/// The pages that need no credentials, which no operation of the route table is.
pub(in super::super) fn pages() -> Vec<Described> {
    let open = |path, id, title| at("GET", path, id, title).open(Open::ToAll);
    vec![
        open("/healthz", "getHealth", "Whether the process answers").answers::<Health>("It does.", json!({"status": "ok"})),
        open("/readyz", "getReadiness", "Whether the vault can serve").answers::<Health>("It can.", json!({"status": "ready"})),
        open("/openapi.json", "getApi", "This document")
            .answers::<Map<String, Value>>("OpenAPI 3.1.", json!({"openapi": "3.1.0"})),
        open("/docs", "getDocs", "This document, to read").page("A page without scripts.", "text/html"),
        open("/problems", "listProblems", "Every problem code")
            .page("One line each, or a page for a browser.", "text/plain")
            .also("text/html"),
        open("/problems/{code}", "getProblem", "One problem code")
            .page("Its status and its sentence.", "text/plain")
            .also("text/html"),
        open("/schemas/{kind}", "getSchema", "The JSON Schema of a kind of configuration, of a bundle, of a receipt")
            .page("The schema (2020-12).", "application/schema+json"),
        open("/.well-known/gpc.json", "getGpc", "That the Global Privacy Control is heeded")
            .answers::<Map<String, Value>>("It is.", json!({"gpc": true, "lastUpdate": "2026-11-23"})),
        open("/.well-known/jwks.json", "getJwks", "The public key of what is signed for partners").answers::<Map<String, Value>>(
            "A key set (RFC 7517, RFC 8037).",
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "…"}]}),
        ),
        open("/.well-known/security.txt", "getSecurityContact", "Where to say that something is wrong")
            .page("RFC 9116, where a contact is configured.", "text/plain"),
    ]
}

/// Answer of the pages that say how the vault is.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "it is described here; the pages write it themselves")]
pub(in super::super) struct Health {
    /// `ok`, `ready` or `not-ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Of a restore: what is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// How much of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    /// Of how much.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

fn key() -> Value {
    json!({
        "id": "epoch-8", "kind": "epoch", "state": "active", "epoch": 8, "active_since": TIME, "age_seconds": 60, "overdue_at": LATER,
        "rotates_at": null, "destroy_assurance": "file",
    })
}

fn job(state: &str) -> Value {
    json!({
        "id": id("job_"), "kind": "tree", "state": state, "permille": 0, "done": 0, "failed": 0, "asked_at": TIME, "began_at": null,
        "ended_at": null, "reason": null, "caller": id("clr_"),
    })
}

fn proposal() -> Value {
    json!({
        "id": id("prp_"), "state": "proposed", "version": "2026-11-2", "base": "2026-11-1", "proposed_by": id("clr_"), "proposed_at": TIME,
        "sha256": SHA256, "material": true, "changes": [{"kind": "purposes", "id": "c-marketing", "change": "changed", "members": ["categories"]}],
        "widens": [{"what": "category", "of": "c-marketing", "to": "pd:Gender"}], "reconsent": ["c-marketing"],
    })
}

fn event() -> Value {
    json!({
        "index": 7, "id": id("dec_"), "time": TIME, "operation": "readRecords", "caller": id("clr_"), "token": id("tok_"),
        "purpose": "b-service", "subject_tag": TAG, "outcome": "allowed", "fields": {"count": 2, "numbers": [1, 4]}, "records": 1,
        "policy_version": "2026-11-1",
    })
}

fn ropa() -> Value {
    json!({
        "vault": id("vlt_"), "made_at": TIME,
        "register": {
            "controller": {"id": "example", "title": "Example GmbH", "address": "Berlin", "officer": "privacy@example.org"},
            "policy_version": "2026-11-1", "activities": [], "on_behalf": [], "measures": [],
        },
        "transparency": {
            "from": null, "until": null, "requests": [{"type": "access", "state": "fulfilled", "count": 3, "median_days": 4}],
            "denials": [], "disclosures": [], "cases": [], "incidents": [], "refusals": [], "erasures": [],
        },
    })
}

fn caller() -> Value {
    json!({"id": id("clr_"), "name": "shop", "kind": "service", "roles": ["writer", "reader"], "purposes": ["a-account"], "state": "active"})
}
