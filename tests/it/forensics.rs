//! After an erasure nothing leads back: not a row, not a join of rows, not an old version of one, whatever key still lives.
//!
//! The adversary ([`keys::attacker`]) has every row that ever was, the root key file with its passphrase, and the keyring as it is
//! after the erasure. Somebody who went through every operation that leaves something behind is erased; somebody who did the same
//! lives on and shows that the adversary can read.

use std::collections::HashSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keys::attacker::{Held, Loot, attack};
use oubliette::audit::certificate::verify_certificate;
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::ids::{SubjectId, TenantId};
use oubliette::store::Store;
use oubliette::vault::VaultConfig;
use oubliette::vault::check::check;
use serde_json::{Value, json};

use crate::house::{House, PASSPHRASE, notice};
use crate::stand_in::StandIn;

type Row = (Vec<u8>, Vec<u8>);

/// A vault of which every row that ever was is kept.
struct Watched {
    house: House,
    rows: HashSet<Row>,
}

/// Somebody who left something everywhere, and the ids that this gave.
struct Left {
    id: String,
    /// Stands in every value and text that was given of them.
    canary: String,
    requests: Vec<String>,
    case: String,
    incident: String,
}

impl Watched {
    fn now(&self) -> Vec<Row> {
        self.house.store.as_ref().unwrap().scan(b"", None, usize::MAX).unwrap()
    }

    fn look(&mut self) {
        let rows = self.now();
        self.rows.extend(rows);
    }

    /// What the adversary opens of these rows with the keys that live now.
    fn loot(&self, rows: &[Row]) -> Loot {
        let path = self.house.home.path();
        let root = std::fs::read(path.join("keys/root")).unwrap();
        let slots: Vec<Vec<u8>> = std::fs::read(path.join("keys/keyring")).unwrap().chunks(4_096).map(<[u8]>::to_vec).collect();
        let vault: SubjectId = self.house.vault.id().to_string().replace("vlt_", "sub_").parse().unwrap();
        let held = Held {
            vault: *vault.bytes(),
            tenant: *TenantId::from_bytes([1; 16]).bytes(),
            root: &root,
            passphrase: PASSPHRASE,
            slots: &slots,
            rows,
            strays: &[],
        };
        attack(&held)
    }

    /// Somebody who does everything that leaves something behind, with a look at the rows after each step.
    fn somebody(&mut self, number: u32) -> Left {
        let canary = format!("kzqv{number}");
        let (writer, officer) = (self.house.holder(Role::Writer), self.house.holder(Role::PrivacyOfficer));
        let email = format!("{canary}@example.org");
        let body = json!({"class": "consumer", "jurisdiction": "DE", "notice": notice(), "aliases": [
            {"type": "email", "value": email}, {"type": "external_id", "value": format!("{canary}-0")}]});
        let made = self.house.post("/v1/subjects", &body).by(&writer).purpose("a-account");
        let id = made.header("idempotency-key", &format!("make-{number}")).send().expect(201).member("id");
        self.look();
        self.house.contract(&id, &format!("{canary}-ord"), "active").expect(201);
        for purpose in ["c-marketing", "e-ads"] {
            self.house.consent(&id, purpose, "given").expect(201);
        }
        self.look();
        let fields = json!({"name": canary, "email": email, "phone": "+49 30 1234567", "address": format!("{canary} Street 1")});
        let record = self.house.write(&id, &["a-account", "b-service", "b-delivery", "c-marketing"], fields);
        let patch = json!({"fields": {"address": format!("{canary} Street 2")}});
        let path = format!("/v1/subjects/{id}/records/{record}");
        self.house.patch(&path, &patch).by(&writer).purpose("a-account").header("if-match", "\"1\"").send().expect(200);
        self.look();
        self.house.switch(&id, "personalised-ads", false).expect(200);
        let restriction = json!({"kind": "objection", "purposes": ["k-security"]});
        self.house.post(&format!("/v1/subjects/{id}/restrictions"), &restriction).by(&officer).send().expect(201);
        let shown = json!({"subject": id, "kind": "service", "policy_version": "current", "language": "de", "channel": "mail",
            "template": "service"});
        self.house.post("/v1/notices", &shown).by(&writer).send().expect(201);
        self.look();
        let body = json!({"subject": id, "recipient": "parcel", "fields": ["name", "address", "phone"]});
        let disclosed = self.house.post("/v1/disclosures", &body).by(&writer).purpose("b-delivery");
        disclosed.header("idempotency-key", &format!("disclose-{number}")).send().expect(201);
        self.house.read(&id, "b-service", "name").expect(200);
        self.look();
        let case = json!({"kind": "reasonable-need", "subject": id, "purposes": ["b-service"], "fields": ["name"],
            "recipient": "parcel", "ground": "perform-contract", "necessity": format!("{canary} cannot be found"),
            "secret_until": "2026-11-30T10:00:00Z", "expires_at": "2026-12-23T10:00:00Z"});
        let case = self.house.approved_case(&case);
        self.look();
        let body = json!({"subject": id, "recipient": "parcel", "kind": "reasonable-need", "case": case, "fields": ["name"]});
        self.house.disclose_on("b-service", &body).expect(201);
        self.look();
        let incident = self.incident(&id);
        let requests = self.requests(&id, &record, &canary);
        self.house.restrict(&id, &json!({"kind": "dispute"})).expect(201);
        self.look();
        Left { id, canary, requests, case, incident }
    }

    /// An incident that concerns somebody, and its letter to them: its address.
    fn incident(&mut self, id: &str) -> String {
        let leaked = self.house.caller(CallerKind::Service, &[Role::Reader], &["a-account"]);
        self.house.get(&format!("/v1/subjects/{id}/records")).by(&leaked).purpose("a-account").send().expect(200);
        let officer = self.house.holder(Role::PrivacyOfficer);
        let path = self.house.new_incident();
        let body = json!({"kind": "leaked-token", "detected_at": "2026-11-23T10:00:00Z", "severity": "high",
            "scope": {"caller": leaked.id.to_string()}});
        self.house.put(&path, &body).by(&officer).send().expect(201);
        assert!(self.house.get(&path).by(&officer).send().expect(200).text().contains(id));
        self.look();
        self.house.post(&format!("{path}/letters"), &json!({})).by(&officer).send().expect(200);
        self.look();
        path
    }

    /// A request of each kind that keeps something: evidence, a message, an answer, a bundle.
    fn requests(&mut self, id: &str, record: &str, canary: &str) -> Vec<String> {
        let officer = self.house.holder(Role::PrivacyOfficer);
        let digest = "00".repeat(32);
        let evidence = json!({"kind": "passport", "digest": digest});
        let mut asked = Vec::new();
        for body in [
            json!({"type": "rectification", "subject": id, "record": record, "fields": ["name"], "evidence": evidence}),
            json!({"type": "complaint", "subject": id, "message": format!("{canary} complains")}),
            json!({"type": "question", "subject": id, "message": format!("{canary} asks")}),
        ] {
            asked.push(self.house.post("/v1/requests", &body).by(&officer).send().expect(201).member("request_id"));
            self.look();
        }
        let paper = format!("{canary} as the passport has it");
        let (digest, content) = (hex(&keys::digest::sha256(&[paper.as_bytes()])), BASE64_STANDARD.encode(&paper));
        let shown =
            json!({"action": "verify", "level": 2, "evidence": {"kind": "passport", "digest": digest, "content": content}});
        for step in [shown, json!({"action": "accept"}), json!({"action": "fulfil", "answer": format!("{canary} is answered")})] {
            // Who brings a request in is not who says that the person was seen.
            self.house.advance(&self.house.second(Role::PrivacyOfficer), &asked[2], &step).expect(200);
            self.look();
        }
        asked.push(self.house.fulfilled(id, "access").id);
        self.look();
        asked
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn after_an_erasure_no_row_query_or_join_leads_to_the_person_and_the_claim_code_still_finds_the_certificate() {
    let mut watched = Watched { house: House::of_controllers(1), rows: HashSet::new() };
    let stand_in = StandIn::start(watched.house.home.path());
    watched.house.call_back(&stand_in, &["parcel"]);
    let (gone, lives) = (watched.somebody(1), watched.somebody(2));
    let all: Vec<Row> = watched.rows.iter().cloned().collect();
    // The test can fail: before the erasure the adversary reads both.
    let before = watched.loot(&all);
    let reads = |loot: &Loot, canary: &str| {
        let of_rows = loot.rows.iter().filter(|(_, plain)| contains(plain, canary.as_bytes())).count();
        let fields = loot.fields.values().flatten();
        (of_rows, fields.filter(|(_, plain)| contains(plain, canary.as_bytes())).count())
    };
    for left in [&gone, &lives] {
        let (of_rows, of_fields) = reads(&before, &left.canary);
        assert!(of_rows > 2 && of_fields > 2, "{of_rows} rows and {of_fields} fields of {}", left.canary);
    }
    let tags: Vec<String> = tags_of(&watched.house, &gone.id);
    assert!(!tags.is_empty());

    let sealed = watched.house.erase_subject(&gone.id).json();
    watched.look();
    let all: Vec<Row> = watched.rows.iter().cloned().collect();
    let (after, now) = (watched.loot(&all), watched.loot(&watched.now()));

    // Of everything that ever was, nothing that was given of the erased opens; the living is read as before.
    assert_eq!(reads(&after, &gone.canary), (0, 0));
    assert!(reads(&after, &lives.canary).1 > 2);
    let subject: SubjectId = gone.id.parse().unwrap();
    assert!(!after.subjects.contains(subject.bytes()));
    // No dictionary finds them by an alias.
    let email = format!("{}@example.org", gone.canary);
    let tag = after.alias_tag(TenantId::from_bytes([1; 16]).bytes(), 1, &email).unwrap();
    assert!(!after.aliases.iter().any(|(known, _)| *known == tag));
    // What is stored now does not even have their id, in a key or in anything that opens.
    for (key, _) in watched.now() {
        assert!(!contains(&key, subject.bytes()), "a row is still under the erased person's id: {key:?}");
    }
    for (key, plain) in &now.rows {
        assert!(!contains(plain, subject.bytes()) && !contains(plain, gone.id.as_bytes()), "{} names them", hex(key));
    }
    assert!(now.rows.iter().any(|(key, _)| key[0] == b'q'), "requests open for the adversary");

    // No query leads there either, by whatever handle.
    let house = &watched.house;
    let officer = house.holder(Role::PrivacyOfficer);
    house.get(&format!("/v1/subjects/{}", gone.id)).by(&officer).send().refused(410, "erased");
    house.get(&format!("/v1/disclosures?subject={}", gone.id)).by(&officer).send().refused(410, "erased");
    let look = json!({"type": "email", "value": email});
    house
        .post("/v1/subject-lookups", &look)
        .by(&house.holder(Role::Writer))
        .purpose("a-account")
        .send()
        .refused(404, "not-found");
    let shown = house.get(&format!("/v1/cases/{}", gone.case)).by(&officer).send().expect(200).text();
    assert!(!shown.contains(&gone.id) && !shown.contains("scope"), "{shown}");
    for request in &gone.requests {
        let shown = house.get(&format!("/v1/requests/{request}")).by(&officer).send().expect(200).text();
        assert!(!shown.contains(&gone.id) && !shown.contains(&gone.canary), "{shown}");
    }
    let shown = house.get(&gone.incident).by(&officer).send().expect(200);
    assert!(!shown.text().contains(&gone.id), "{}", shown.text());
    assert_eq!(shown.json()["affected"]["erased"], 1);
    assert!(now.rows.iter().any(|(key, _)| key[0] == b'z'), "incidents open for the adversary");
    let shown = house.get("/v1/disclosures").by(&officer).send().expect(200).text();
    assert!(!shown.contains(&gone.id) && shown.contains(&lives.id), "{shown}");
    for tag in &tags {
        let trail = house.events(&format!("&tag={tag}"));
        assert!(!trail.is_empty() && trail.iter().all(|entry| !entry.to_string().contains(&gone.id)), "it tells by tag alone");
    }
    // Who has the claim code finds the certificate, and it holds.
    let erasure = sealed["id"].as_str().unwrap();
    let claimed = house.get(&format!("/v1/erasures/{erasure}")).header("vault-claim", sealed["claim_code"].as_str().unwrap());
    let file = claimed.send().expect(200);
    verify_certificate(&file.bytes, &house.home.public_key()).unwrap();
    let public = house.home.public_key();
    let Watched { house, .. } = watched;
    let home = house.close();
    let config = VaultConfig { on_fatal: std::sync::Arc::new(|_| {}), ..VaultConfig::in_dir(home.path()) };
    let report = check(&config, &public).unwrap();
    assert_eq!(format!("{:?}", report.first_break), "None", "the trail still verifies, row by row");
}

/// The tags by which the trail knows a person: those of the entries that their own operations left.
fn tags_of(house: &House, subject: &str) -> Vec<String> {
    let portal = house.caller(CallerKind::Service, &[Role::Subject], &["a-account"]);
    let me = house.own_token(&portal, subject);
    let events: Value = house.get("/v1/audit/events").by(&me).send().expect(200).json();
    let tags: HashSet<String> =
        events["events"].as_array().unwrap().iter().filter_map(|event| Some(event["subject_tag"].as_str()?.to_owned())).collect();
    tags.into_iter().collect()
}
