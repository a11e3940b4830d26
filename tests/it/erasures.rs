//! Erasing, from the request to the certificate, and sealing.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oubliette::audit::certificate::verify_certificate;
use oubliette::audit::checkpoint::Checkpoint;
use oubliette::audit::merkle::{verify_consistency, verify_inclusion};
use oubliette::audit::proof::Proof;
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::ids::RecordId;
use serde_json::{Value, json};

use crate::canary::contains;
use crate::house::{House, PASSPHRASE, Token};
use crate::https::Reply;
use crate::routes::Ids;

fn certificate(house: &House, erasure: &str) -> Reply {
    house.get(&format!("/v1/erasures/{erasure}")).by(&house.holder(Role::Auditor)).send().expect(200)
}

fn open(house: &House, by: &Token, body: &Value) -> Reply {
    house.post("/v1/erasures", body).by(by).send()
}

fn approve(house: &House, by: &Token, erasure: &str) -> Reply {
    house.post(&format!("/v1/erasures/{erasure}/approvals"), &json!({})).by(by).send()
}

fn whole(subject: &str) -> Value {
    json!({"subject": subject, "scope": "subject", "cause": "request"})
}

#[test]
fn an_erased_subject_answers_gone_everywhere_and_its_certificate_holds() {
    let house = House::start();
    let subject = house.ada();
    let record = house.contact(&subject);
    house.contact(&subject);
    let writer = house.holder(Role::Writer);
    let contract = format!("/v1/subjects/{subject}/contracts/ord-1");
    house.put(&contract, &json!({"state": "active", "from": "2026-11-23"})).by(&writer).send().expect(201);
    let sealed = house.erase_subject(&subject);
    let erasure = sealed.member("id");
    for gone in [
        house.read(&subject, "b-service", ""),
        house.read(&subject, "c-marketing", "name"),
        house.get(&format!("/v1/subjects/{subject}")).by(&writer).send(),
        house.try_write(&subject, &["a-account"], json!({"name": "Ada"})),
        house.put(&contract, &json!({"state": "closed", "from": "2026-11-23"})).by(&writer).send(),
        house.delete(&format!("/v1/subjects/{subject}/records/{record}")).by(&house.holder(Role::PrivacyOfficer)).send(),
        open(&house, &house.holder(Role::PrivacyOfficer), &whole(&subject)),
    ] {
        gone.refused(410, "erased");
    }
    let file = certificate(&house, &erasure);
    let body = file.json();
    assert_eq!((&body["state"], &body["scope"], &body["cause"]), (&json!("sealed"), &json!("subject"), &json!("request")));
    let counts = &body["certificate"]["counts"];
    assert_eq!((&counts["records"], &counts["pd:Name"], &counts["pd:PhysicalAddress"]), (&json!(2), &json!(2), &json!(2)));
    assert!(body["certificate"]["self_test"]["checks"].as_array().unwrap().iter().all(|check| check["result"] == "closed"));
    assert!(!file.text().contains(&subject), "the certificate names nobody");
    let verified = verify_certificate(&file.bytes, &house.home.public_key()).unwrap();
    assert_eq!(verified.certificate.erasure.to_string(), erasure);
    // It still holds, and the subject is still gone, after a restart and more entries.
    let house = house.restart();
    house.contact(&house.ada());
    house.read(&subject, "b-service", "").refused(410, "erased");
    verify_certificate(&certificate(&house, &erasure).bytes, &house.home.public_key()).unwrap();
    verify_certificate(&file.bytes, &house.home.public_key()).unwrap();
}

#[test]
fn an_erasure_that_waits_is_denied_by_another_person_or_taken_back_by_its_opener_and_then_it_is_over() {
    let house = House::shared();
    let subject = house.ada();
    house.contact(&subject);
    let (officer, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let say = |by: &Token, erasure: &str, decision: &str| {
        house.post(&format!("/v1/erasures/{erasure}/approvals"), &json!({"decision": decision})).by(by).send()
    };
    for (decision, allowed, other, refusal) in
        [("deny", &second, &officer, (403, "second-person-required")), ("revoke", &officer, &second, (403, "role-forbidden"))]
    {
        let erasure = open(house.as_ref(), &officer, &whole(&subject)).expect(201).member("id");
        say(other, &erasure, decision).refused(refusal.0, refusal.1);
        let ended = say(allowed, &erasure, decision).expect(200).json();
        let state = if decision == "deny" { "denied" } else { "revoked" };
        assert_eq!((&ended["state"], ended.get("certificate")), (&json!(state), None));
        // No step leads on from there, and the person is as before.
        for decision in ["approve", "deny", "revoke"] {
            let again = say(if decision == "revoke" { &officer } else { &second }, &erasure, decision);
            again.refused(409, "state-conflict");
        }
        assert_eq!(certificate(&house, &erasure).json()["state"], json!(state));
        house.read(&subject, "b-service", "name").expect(200);
    }
    let erasure = open(house.as_ref(), &officer, &whole(&subject)).expect(201).member("id");
    say(&second, &erasure, "perhaps").refused(422, "invalid-body");
    approve(&house, &second, &erasure).expect(200);
}

#[test]
fn a_certificate_that_was_changed_in_any_part_does_not_verify() {
    let house = House::shared();
    let erased = [house.ada(), house.ada()].map(|subject| {
        house.contact(&subject);
        certificate(&house, &house.erase_subject(&subject).member("id"))
    });
    let public = house.home.public_key();
    let body = erased[0].json();
    verify_certificate(body.to_string().as_bytes(), &public).unwrap();
    let mut bad = Vec::new();
    for (member, value) in [
        ("cause", json!("retention")),
        ("counts", json!({"records": 0})),
        ("assurance", json!("hardware")),
        ("epochs_closed", json!([99])),
        ("subject_tag", json!("00000000000000000000000000000000")),
        ("claim_sha256", json!("00")),
        ("self_test", json!({"checks": [], "not_checked": []})),
        ("erasure", erased[1].json()["id"].clone()),
        ("vault", json!("vlt_00000000000000000000000000")),
        ("version", json!(2)),
        ("kept", json!([{"what": "x", "rule": "y"}])),
        ("more", json!(1)),
    ] {
        let mut changed = body.clone();
        changed["certificate"][member] = value;
        bad.push(changed.to_string());
    }
    let mut other_proof = body.clone();
    other_proof["proof"] = erased[1].json()["proof"].clone();
    bad.push(other_proof.to_string());
    let proof = body["proof"].as_str().unwrap();
    for at in (0..proof.len()).step_by(5).filter(|at| proof.is_char_boundary(*at) && proof.is_char_boundary(at + 1)) {
        let flipped = if &proof[at..=at] == "A" { "B" } else { "A" };
        let mut changed = body.clone();
        changed["proof"] = json!(format!("{}{flipped}{}", &proof[..at], &proof[at + 1..]));
        bad.push(changed.to_string());
    }
    bad.push(format!("{body}").replacen("\"counts\":{", "\"counts\":{\"records\":9,", 1));
    bad.push("{}".into());
    for file in bad {
        assert!(verify_certificate(file.as_bytes(), &public).is_err(), "{file}");
    }
    let other = House::start();
    assert!(verify_certificate(&erased[0].bytes, &other.home.public_key()).is_err());
}

#[test]
fn erasing_groups_leaves_the_others_and_says_which() {
    let house = House::start();
    let subject = house.ada();
    house.contact(&subject);
    let only = house.write(&subject, &["c-marketing"], json!({"name": "Ada", "interests": ["chess"]}));
    let sealed = house.erase(&json!({"subject": subject, "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}));
    let house = house.restart();
    assert_eq!(house.read(&subject, "b-service", "name").expect(200).json()["records"][0]["fields"]["name"], "Ada");
    house.read(&subject, "c-marketing", "name").refused(410, "key-destroyed");
    let alone = house.get(&format!("/v1/subjects/{subject}/records?record={only}")).by(&house.holder(Role::Reader));
    assert!(alone.purpose("c-marketing").send().status >= 400);
    let state = house.get(&format!("/v1/subjects/{subject}")).by(&house.holder(Role::Reader)).send().expect(200).json();
    assert_eq!(state["groups"], json!(["identity", "contract"]));
    let file = certificate(&house, &sealed.member("id"));
    let verified = verify_certificate(&file.bytes, &house.home.public_key()).unwrap();
    assert_eq!(verified.certificate.groups, ["marketing"]);
    assert_eq!(verified.certificate.counts["records"], 1, "the one record that nothing opens any more");
    // The group can be collected for again, under a key of its own.
    house.write(&subject, &["c-marketing"], json!({"name": "Ada"}));
    let seen = house.read(&subject, "c-marketing", "").expect(200).json();
    assert_eq!(seen["records"].as_array().unwrap().len(), 1, "{seen}");
}

#[test]
fn erasing_records_leaves_the_others_and_deleting_does_too() {
    let house = House::start();
    let subject = house.ada();
    let ids: Vec<String> = (0..4).map(|_| house.contact(&subject)).collect();
    let sealed = house.erase(&json!({"subject": subject, "scope": "records", "records": [ids[0], ids[2]], "cause": "unlawful"}));
    house.delete(&format!("/v1/subjects/{subject}/records/{}", ids[3])).by(&house.holder(Role::Writer)).send().expect(204);
    let house = house.restart();
    let seen = house.read(&subject, "b-service", "name").expect(200).json();
    assert_eq!(seen["records"].as_array().unwrap().len(), 1);
    assert_eq!(seen["records"][0]["id"], ids[1].as_str());
    house.read(&subject, "c-marketing", "name").expect(200);
    let file = certificate(&house, &sealed.member("id"));
    let verified = verify_certificate(&file.bytes, &house.home.public_key()).unwrap();
    assert_eq!(verified.certificate.counts["records"], 2);
    assert!(ids.iter().all(|id| !contains(&file.bytes, id.as_bytes())));
}

#[test]
fn an_erasure_says_exactly_what_it_takes() {
    let house = House::shared();
    let (subject, other) = (house.ada(), house.ada());
    let (mine, theirs) = (house.contact(&subject), house.contact(&other));
    let officer = house.holder(Role::PrivacyOfficer);
    for more in [
        json!({"scope": "subject", "groups": ["marketing"]}),
        json!({"scope": "subject", "records": [mine]}),
        json!({"scope": "groups"}),
        json!({"scope": "groups", "groups": ["nothing"]}),
        json!({"scope": "groups", "groups": ["marketing"], "records": [mine]}),
        json!({"scope": "records"}),
        json!({"scope": "records", "records": [theirs]}),
        json!({"scope": "records", "records": (0..=250).map(|n| RecordId::from_bytes([n; 16])).collect::<Vec<_>>()}),
        json!({"scope": "all"}),
        json!({"scope": "subject", "cause": "because"}),
    ] {
        let mut body = json!({"subject": subject, "cause": "request"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        open(&house, &officer, &body).refused(422, "invalid-body");
    }
    house.read(&subject, "b-service", "").expect(200);
}

#[test]
fn who_opened_an_erasure_does_not_approve_it_and_a_program_never_does() {
    let house = House::shared();
    let subject = house.ada();
    let (officer, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let erasure = open(&house, &officer, &whole(&subject)).expect(201).member("id");
    approve(&house, &officer, &erasure).refused(403, "second-person-required");
    // Another token of the same caller is the same person.
    let tokens = format!("/v1/callers/{}/tokens", officer.id);
    let text = house.post(&tokens, &json!({})).by(&house.holder(Role::SecurityOfficer)).send().expect(201).member("token");
    approve(&house, &Token { text, ..officer.clone() }, &erasure).refused(403, "second-person-required");
    let program = house.caller(CallerKind::Service, &[Role::PrivacyOfficer], &[]);
    approve(&house, &program, &erasure).refused(403, "second-person-required");
    house.get(&format!("/v1/subjects/{subject}")).by(&house.holder(Role::Reader)).send().expect(200);
    approve(&house, &second, &erasure).expect(200);
    approve(&house, &second, &erasure).refused(409, "state-conflict");
    house.get(&format!("/v1/subjects/{subject}")).by(&house.holder(Role::Reader)).send().refused(410, "erased");
}

#[test]
fn a_new_caller_waits_for_a_second_security_officer() {
    let house = House::shared();
    let (officer, second) = (house.holder(Role::SecurityOfficer), house.second(Role::SecurityOfficer));
    let body = json!({"name": "desk", "kind": "service", "roles": ["reader"], "purposes": ["b-service"]});
    let made = house.put("/v1/callers/new", &body).by(&officer).send().expect(201);
    assert_eq!(made.member("state"), "proposed");
    let path = format!("/v1/callers/{}", made.member("id"));
    let issue = |by: &Token| house.post(&format!("{path}/tokens"), &json!({})).by(by).send();
    issue(&officer).refused(403, "second-person-required");
    issue(&second).refused(403, "second-person-required");
    // The proposer's own word again does not count, and another's counts only for the same.
    assert_eq!(house.put(&path, &body).by(&officer).send().expect(200).member("state"), "proposed");
    let mut wider = body.clone();
    wider["roles"] = json!(["reader", "writer"]);
    assert_eq!(house.put(&path, &wider).by(&second).send().expect(200).member("state"), "proposed");
    issue(&officer).refused(403, "second-person-required");
    assert_eq!(house.put(&path, &wider).by(&officer).send().expect(200).member("state"), "active");
    let text = issue(&officer).expect(201).member("token");
    let desk = Token { id: made.member("id").parse().unwrap(), text };
    house.get(&format!("/v1/subjects/{}", house.ada())).by(&desk).send().expect(200);
    // Nobody gives themselves more.
    let more = json!({"name": "me", "kind": "person", "roles": ["security_officer", "privacy_officer"]});
    house.put(&format!("/v1/callers/{}", officer.id), &more).by(&officer).send().refused(403, "second-person-required");
}

#[test]
fn the_holder_of_the_claim_code_sees_the_certificate_and_nobody_else_without_credentials() {
    let house = House::start();
    let (subject, other) = (house.ada(), house.ada());
    let sealed = house.erase_subject(&subject);
    let (erasure, claim) = (sealed.member("id"), sealed.member("claim_code"));
    let theirs = house.erase_subject(&other);
    let path = format!("/v1/erasures/{erasure}");
    let ask = |claim: &str| house.get(&path).header("vault-claim", claim).send();
    let seen = ask(&claim).expect(200);
    assert!(!seen.text().contains(&claim), "it is shown once");
    verify_certificate(&seen.bytes, &house.home.public_key()).unwrap();
    let wrong = [theirs.member("claim_code"), "claim_".into(), claim[..claim.len() - 1].into(), claim.to_uppercase()];
    let nothing = house.get(&format!("/v1/erasures/{}", Ids::of_nothing().erasure)).header("vault-claim", &claim).send();
    let nothing = nothing.refused(404, "not-found").without_decision();
    for wrong in wrong {
        assert_eq!(ask(&wrong).refused(404, "not-found").without_decision(), nothing);
    }
    // Beside a token that does not work, or for anything else, it is worth nothing.
    house.get(&path).header("vault-claim", &claim).header("authorization", "Bearer x").send().refused(401, "unauthenticated");
    house.get("/v1/keys").header("vault-claim", &claim).send().refused(401, "unauthenticated");
    house.post(&format!("{path}/approvals"), &json!({})).header("vault-claim", &claim).send().refused(401, "unauthenticated");
    let house = house.restart();
    house.get(&path).header("vault-claim", &claim).send().expect(200);
}

#[test]
fn two_erasures_of_one_subject_end_in_one() {
    let house = House::shared();
    let subject = house.ada();
    let (officer, second) = (house.holder(Role::PrivacyOfficer), house.second(Role::PrivacyOfficer));
    let [first, other] = [0, 1].map(|_| open(&house, &officer, &whole(&subject)).expect(201).member("id"));
    approve(&house, &second, &first).expect(200);
    approve(&house, &second, &other).refused(410, "erased");
}

#[test]
fn checkpoints_prove_what_they_hold_and_that_they_grow() {
    let house = House::start();
    let subject = house.ada();
    let erasure = house.erase_subject(&subject).member("id");
    let public = house.home.public_key();
    let auditor = house.holder(Role::Auditor);
    let ask = |place: &str| house.get(&format!("/v1/audit/checkpoints/{place}")).by(&auditor).send().expect(200).json();
    let checkpoint = |body: &Value| Checkpoint::verified(body["checkpoint"].as_str().unwrap(), &public).unwrap();
    let hashes = |list: &Value| -> Vec<[u8; 32]> {
        let decode = |hash: &Value| BASE64_STANDARD.decode(hash.as_str().unwrap()).unwrap().try_into().unwrap();
        list.as_array().unwrap().iter().map(decode).collect()
    };
    let old = ask("latest");
    let proof: Proof = certificate(&house, &erasure).member("proof").parse().unwrap();
    house.contact(&house.ada());
    let new = ask(&format!("latest?leaf={}&from={}", proof.index, old["size"]));
    let (old, newer) = (checkpoint(&old), checkpoint(&new));
    assert!(newer.size > old.size && new["size"] == newer.size);
    let leaf = keys::digest::leaf_hash(&proof.entry);
    assert!(verify_inclusion(proof.index, newer.size, &leaf, &hashes(&new["inclusion"]), &newer.root));
    assert!(!verify_inclusion(proof.index + 1, newer.size, &leaf, &hashes(&new["inclusion"]), &newer.root));
    assert!(verify_consistency(old.size, newer.size, &old.root, &newer.root, &hashes(&new["consistency"])));
    assert!(!verify_consistency(old.size, newer.size, &newer.root, &newer.root, &hashes(&new["consistency"])));
    // Any older size can be asked for, and says the same as it did then.
    let again = checkpoint(&ask(&old.size.to_string()));
    assert_eq!(again, old);
    assert!(Checkpoint::verified(new["checkpoint"].as_str().unwrap(), &[7; 32]).is_err());
}

#[test]
fn a_sealed_vault_answers_nothing_until_the_passphrase_comes() {
    let house = House::start();
    let subject = house.ada();
    house.contact(&subject);
    let admin = house.holder(Role::KeyAdmin);
    let operate = |body: &Value| house.post("/v1/keys/operations", body);
    house.read(&subject, "b-service", "").expect(200);
    operate(&json!({"operation": "seal"})).by(&admin).send().expect(200);
    house.get("/healthz").send().expect(200);
    assert_eq!(house.get("/readyz").send().expect(503).member("status"), "not-ready");
    for case in crate::routes::CASES.iter().filter(|case| case.path != "/v1/keys/operations") {
        let outcome = case.send(&house, &Ids::of_nothing(), Some(&house.holder(Role::Reader)));
        assert_eq!((outcome.status, outcome.code.as_str()), (503, "sealed"), "{}", case.path);
        assert_eq!(case.send(&house, &Ids::of_nothing(), None).status, 503, "{}", case.path);
    }
    operate(&json!({"operation": "rotate-epoch"})).by(&admin).send().refused(503, "sealed");
    operate(&json!({"operation": "unseal", "passphrase": "not this one"})).send().refused(403, "wrong-passphrase");
    operate(&json!({"operation": "unseal"})).send().refused(422, "invalid-body");
    let opened = operate(&json!({"operation": "unseal", "passphrase": PASSPHRASE})).send();
    assert!((200..300).contains(&opened.status), "{}", opened.text());
    house.get("/readyz").send().expect(200);
    assert_eq!(house.read(&subject, "b-service", "name").expect(200).json()["records"][0]["fields"]["name"], "Ada");
    operate(&json!({"operation": "unseal", "passphrase": PASSPHRASE})).by(&admin).send().refused(409, "state-conflict");
}

#[test]
fn a_new_epoch_changes_nothing_that_lives() {
    let house = House::start();
    let subject = house.ada();
    house.contact(&subject);
    let admin = house.holder(Role::KeyAdmin);
    let before = house.read(&subject, "b-service", "").expect(200).text();
    let epochs: Vec<u64> = (0..3)
        .map(|_| {
            let body = json!({"operation": "rotate-epoch"});
            house.post("/v1/keys/operations", &body).by(&admin).send().expect(200).json()["epoch"].as_u64().unwrap()
        })
        .collect();
    assert!(epochs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{epochs:?}");
    let house = house.restart();
    assert_eq!(house.read(&subject, "b-service", "").expect(200).text(), before);
    let keys = house.get("/v1/keys").by(&admin).send().expect(200).json();
    assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["epoch"] == epochs[2]), "{keys}");
}

#[test]
fn what_was_kept_too_long_is_refused_even_before_it_is_swept() {
    let house = House::start();
    let subject = house.ada();
    house.contact(&subject);
    // Marketing is kept for two years, the contract for ten.
    house.home.turn(jiff::SignedDuration::from_hours(24 * 80));
    house.read(&subject, "c-marketing", "").expect(200);
    let reader = house.caller(CallerKind::Service, &[Role::Reader], &["c-marketing", "b-service", "a-account"]);
    house.home.turn(jiff::SignedDuration::from_hours(24 * 652));
    let reader = Token { text: fresh_token(&house, &reader), ..reader };
    let read = |purpose: &str| house.get(&format!("/v1/subjects/{subject}/records")).by(&reader).purpose(purpose).send();
    read("c-marketing").refused(410, "retention-expired");
    read("b-service").expect(200);
}

/// A token from now, where the clock has left the older ones behind.
fn fresh_token(house: &House, caller: &Token) -> String {
    let officer = house.caller(CallerKind::Person, &[Role::SecurityOfficer], &[]);
    house.post(&format!("/v1/callers/{}/tokens", caller.id), &json!({})).by(&officer).send().expect(201).member("token")
}
