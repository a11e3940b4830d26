//! The vault as its operations see it, over the real store, trail and keys, without the HTTPS edge.

use std::sync::Arc;

use ::keys::secret::SecretString;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::caller::{Caller, CallerKind, Role};
use crate::model::code::Code;
use crate::model::ids::{ErasureId, RecordId, SubjectId};
use crate::model::time::Clock;
use crate::model::wire::{ApproveErasure, PutCaller, ReadRecords};

use super::call::{Answer, Call, Refused};
use super::{Vault, VaultConfig};

struct House {
    _dir: tempfile::TempDir,
    config: VaultConfig,
    clock: Clock,
    vault: Vault,
    writer: Arc<Caller>,
    reader: Arc<Caller>,
    officer: Arc<Caller>,
    second: Arc<Caller>,
}

fn passphrase() -> SecretString {
    SecretString::from("correct horse battery staple".to_owned())
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = VaultConfig::in_dir(dir.path());
        let clock = Clock::set_to("2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap());
        Vault::create(&config, &clock, &passphrase()).unwrap();
        let vault = Vault::open(&config, clock.clone()).unwrap();
        vault.unseal(&passphrase()).await.unwrap();
        let all = |vault: &Vault| -> Vec<String> {
            vault
                .tenants()
                .flat_map(|tenant| tenant.purposes().iter().map(|purpose| purpose.id.clone()).collect::<Vec<_>>())
                .collect()
        };
        let mut callers = Vec::new();
        for (name, kind, role) in [
            ("app", CallerKind::Service, Role::Writer),
            ("desk", CallerKind::Service, Role::Reader),
            ("officer", CallerKind::Person, Role::PrivacyOfficer),
            ("second", CallerKind::Person, Role::PrivacyOfficer),
        ] {
            let tenant = vault.tenants().next().unwrap().clone();
            let mut body = PutCaller::of(name, kind, vec![role], all(&vault));
            body.trained_at = (kind == CallerKind::Person).then(|| jiff::civil::date(2026, 11, 1));
            let (_, token) = vault.bootstrap(&tenant, body).await.unwrap();
            callers.push(vault.authenticate(&token).unwrap());
        }
        let [writer, reader, officer, second] = <[_; 4]>::try_from(callers).unwrap();
        Self { _dir: dir, config, clock, vault, writer, reader, officer, second }
    }

    async fn reopen(mut self) -> Self {
        self.vault.close().await;
        drop(self.vault);
        self.vault = Vault::open(&self.config, self.clock.clone()).unwrap();
        self.vault.unseal(&passphrase()).await.unwrap();
        self
    }

    async fn ada(&self) -> SubjectId {
        let body = json!({"class": "consumer", "jurisdiction": "DE", "birth_date": "1980-02-03",
            "aliases": [{"type": "email", "value": "ada@example.org"}, {"type": "external_id", "value": "07-1"}], "notice": notice()});
        let made = self.vault.create_subject(&call(&self.writer, Some("a-account")), from(body)).await.unwrap();
        let ada = text(&made, "id").parse().unwrap();
        let contract = from(json!({"state": "active", "from": "2026-01-01"}));
        self.vault.put_contract(&call(&self.writer, None), ada, "ord-0".to_owned(), contract).await.unwrap();
        self.says(ada, "c-marketing", "given").await;
        ada
    }

    async fn says(&self, subject: SubjectId, purpose: &str, state: &str) {
        let body = json!({"purpose": purpose, "kind": "general", "state": state, "notice": notice()});
        self.vault.record_consent(&call(&self.writer, None), subject, from(body)).await.unwrap();
    }

    async fn contact(&self, subject: SubjectId) -> RecordId {
        let body = json!({"kind": "contact", "purposes": ["a-account", "b-service", "c-marketing"],
            "fields": {"name": "Ada", "email": "ada@example.org", "phone": "+49 30 1234567", "address": "Unter den Linden 1"}});
        let made = self.vault.write_record(&call(&self.writer, Some("a-account")), subject, from(body)).await.unwrap();
        text(&made, "id").parse().unwrap()
    }

    async fn read(&self, subject: SubjectId, purpose: &str, fields: &[&str]) -> Result<Value, Refused> {
        let ask = ReadRecords { fields: fields.iter().map(|f| (*f).to_owned()).collect(), ..ReadRecords::default() };
        let answer = self.vault.read_records(&call(&self.reader, Some(purpose)), subject, ask).await?;
        Ok(serde_json::from_slice(&answer.body.unwrap()).unwrap())
    }

    async fn erase(&self, body: Value) -> Value {
        let opened = self.vault.open_erasure(&call(&self.officer, None), from(body)).await.unwrap();
        let id: ErasureId = text(&opened, "id").parse().unwrap();
        let sealed = self.vault.approve_erasure(&call(&self.second, None), id, ApproveErasure::default()).await.unwrap();
        serde_json::from_slice(&sealed.body.unwrap()).unwrap()
    }
}

fn notice() -> Value {
    json!({"policy_version": "current", "language": "de", "channel": "web", "shown_at": "2026-11-23T09:59:00Z"})
}

fn call(caller: &Arc<Caller>, purpose: Option<&str>) -> Call {
    Call {
        caller: caller.clone(),
        purpose: purpose.map(str::to_owned),
        idempotency: None,
        if_match: None,
        gpc: false,
        grounds: Default::default(),
    }
}

fn from<T: serde::de::DeserializeOwned>(body: Value) -> T {
    serde_json::from_str(&body.to_string()).unwrap()
}

fn text(answer: &Answer, member: &str) -> String {
    let body: Value = serde_json::from_slice(answer.body.as_ref().unwrap()).unwrap();
    body[member].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_written_read_for_its_purpose_and_still_there_after_a_restart() {
    let house = House::new().await;
    let ada = house.ada().await;
    house.contact(ada).await;
    let read = house.read(ada, "b-service", &["name", "email"]).await.unwrap();
    assert_eq!(read["records"][0]["fields"], json!({"name": "Ada", "email": "ada@example.org"}));
    let house = house.reopen().await;
    let again = house.read(ada, "b-service", &["name", "email"]).await.unwrap();
    assert_eq!(read, again);
    // Nothing was collected for security, so there is nothing to see for it.
    assert_eq!(house.read(ada, "k-security", &[]).await.unwrap()["records"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disclosure_on_a_case_queues_one_letter_which_waits_for_the_end_of_its_secrecy() {
    let house = House::new().await;
    let ada = house.ada().await;
    house.contact(ada).await;
    let mut waiting = Vec::new();
    for secret_until in [None, Some("2026-11-30T10:00:00Z")] {
        let body = json!({"kind": "reasonable-need", "subject": ada, "purposes": ["b-service"], "fields": ["name"],
            "recipient": "parcel", "ground": "perform-contract", "necessity": "n", "secret_until": secret_until,
            "expires_at": "2026-12-23T10:00:00Z"});
        let opened = house.vault.open_case(&call(&house.officer, None), from(body)).await.unwrap();
        let case = text(&opened, "id");
        let approval = from(json!({"decision": "approve"}));
        house.vault.decide_case(&call(&house.second, None), case.parse().unwrap(), approval).await.unwrap();
        let body = json!({"subject": ada, "recipient": "parcel", "kind": "reasonable-need", "case": case});
        house.vault.disclose(&call(&house.officer, Some("b-service")), from(body)).await.unwrap();
        let opened = house.vault.opened().unwrap();
        let core = &opened.core;
        let rows = core.store.scan(crate::store::layout::prefix::DELIVERIES, None, 100).unwrap();
        let letters = rows.into_iter().map(|(key, value)| {
            let row: super::outbox::Delivery =
                super::rows::unpack(core.hierarchy.open_row(&key, &value).unwrap().bytes()).unwrap();
            (row.template, super::rows::time(row.next_at).to_string())
        });
        waiting = letters.collect();
        waiting.sort();
    }
    let letter = |at: &str| ("disclosed-on-case".to_owned(), at.to_owned());
    assert_eq!(waiting, [letter("2026-11-23T10:00:00Z"), letter("2026-11-30T10:00:00Z")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_finds_the_subject_by_any_spelling_of_the_address() {
    let house = House::new().await;
    let ada = house.ada().await;
    let look = json!({"type": "email", "value": "Ada@Example.ORG"});
    let found = house.vault.lookup_subject(&call(&house.reader, Some("b-service")), from(look)).await.unwrap();
    assert_eq!(text(&found, "id"), ada.to_string());
    let other = json!({"type": "email", "value": "bob@example.org"});
    let missed = house.vault.lookup_subject(&call(&house.reader, Some("b-service")), from(other)).await;
    assert_eq!(missed.err().map(|refused| refused.code), Some(Code::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_subject_is_gone_with_its_aliases_and_the_certificate_holds() {
    let house = House::new().await;
    let ada = house.ada().await;
    house.contact(ada).await;
    let sealed = house.erase(json!({"subject": ada.to_string(), "scope": "subject", "cause": "request"})).await;
    assert_eq!(sealed["state"], "sealed");
    assert!(sealed["claim_code"].as_str().unwrap().len() > 30);
    for check in sealed["certificate"]["self_test"]["checks"].as_array().unwrap() {
        assert_eq!(check["result"], "closed", "{check}");
    }
    assert_eq!(house.read(ada, "b-service", &[]).await.unwrap_err().code, Code::Erased);
    let look = json!({"type": "email", "value": "ada@example.org"});
    let missed = house.vault.lookup_subject(&call(&house.reader, Some("b-service")), from(look)).await;
    assert_eq!(missed.err().map(|refused| refused.code), Some(Code::NotFound));
    let public = std::fs::read_to_string(house.config.dir.join("vault.pub")).unwrap();
    let key: crate::audit::note::VerifyingKey = public.trim().parse().unwrap();
    let id: ErasureId = sealed["id"].as_str().unwrap().parse().unwrap();
    let file = house.vault.erasure(&call(&house.officer, None), id).await.unwrap().body.unwrap();
    crate::audit::certificate::verify_certificate(&file, &key.public).unwrap();
    let house = house.reopen().await;
    assert_eq!(house.read(ada, "b-service", &[]).await.unwrap_err().code, Code::Erased);
    // The address is free again.
    let again = house.ada().await;
    assert_ne!(again, ada);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opened_an_erasure_does_not_approve_it() {
    let house = House::new().await;
    let ada = house.ada().await;
    let body = json!({"subject": ada.to_string(), "scope": "subject", "cause": "request"});
    let opened = house.vault.open_erasure(&call(&house.officer, None), from(body)).await.unwrap();
    let id: ErasureId = text(&opened, "id").parse().unwrap();
    let refused = house.vault.approve_erasure(&call(&house.officer, None), id, ApproveErasure::default()).await.err().unwrap();
    assert_eq!(refused.code, Code::SecondPersonRequired);
    house.vault.approve_erasure(&call(&house.second, None), id, ApproveErasure::default()).await.unwrap();
    let twice = house.vault.approve_erasure(&call(&house.second, None), id, ApproveErasure::default()).await.err().unwrap();
    assert_eq!(twice.code, Code::StateConflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_a_group_leaves_the_others() {
    let house = House::new().await;
    let ada = house.ada().await;
    house.contact(ada).await;
    house.erase(json!({"subject": ada.to_string(), "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"})).await;
    assert_eq!(house.read(ada, "b-service", &["name"]).await.unwrap()["records"][0]["fields"]["name"], "Ada");
    assert_eq!(house.read(ada, "c-marketing", &["name"]).await.unwrap_err().code, Code::KeyDestroyed);
    let house = house.reopen().await;
    assert_eq!(house.read(ada, "c-marketing", &["name"]).await.unwrap_err().code, Code::KeyDestroyed);
}

/// An enclosure that keeps what it encloses as it is, and lets go of it only when it is told to.
#[derive(Default)]
struct Stubborn(std::sync::atomic::AtomicBool);

impl ::keys::enclosure::Enclosure for Stubborn {
    fn kind(&self) -> &'static str {
        "stubborn"
    }

    fn assurance(&self) -> ::keys::Assurance {
        ::keys::Assurance::Hardware
    }

    fn enclose(
        &self,
        _: &::keys::enclosure::About<'_>,
        secret: &::keys::enclosure::EpochSecret,
    ) -> Result<Vec<u8>, ::keys::KeysError> {
        Ok(secret.bytes().to_vec())
    }

    fn disclose(
        &self,
        _: &::keys::enclosure::About<'_>,
        enclosed: &[u8],
    ) -> Result<::keys::secret::Plaintext, ::keys::KeysError> {
        Ok(::keys::enclosure::disclosed(enclosed.to_vec()))
    }

    fn destroy_but(&self, _: &::keys::enclosure::About<'_>, _: &[u8]) -> Result<::keys::enclosure::Destroyed, ::keys::KeysError> {
        match self.0.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(::keys::KeysError::Token("it does not let go")),
            false => Ok(::keys::enclosure::Destroyed::default()),
        }
    }

    fn destroy_all(&self, _: &::keys::enclosure::About<'_>) -> Result<::keys::enclosure::Destroyed, ::keys::KeysError> {
        Ok(::keys::enclosure::Destroyed::default())
    }
}

/// A place that goes away between the commit and the destruction: there is no way back, and no certificate yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_not_sealed_while_a_place_of_the_keyring_may_hold_the_old_key() {
    use std::sync::atomic::Ordering;

    use ::keys::Spot;
    let stubborn = Arc::new(Stubborn::default());
    let mut house = House::new().await;
    let spot = Spot {
        name: "stubborn".into(),
        path: house.config.dir.join("keys/enclosed"),
        enclosure: Some(stubborn.clone() as Arc<dyn ::keys::enclosure::Enclosure>),
    };
    house.vault.change_places(super::PlaceChange::Add(spot.clone())).await.unwrap();
    house.config.keyring.spots.push(spot);
    let (ada, body) =
        (house.ada().await, |ada: SubjectId| json!({"subject": ada.to_string(), "scope": "subject", "cause": "request"}));
    stubborn.0.store(true, Ordering::Relaxed);
    let erased = house.erase(body(ada)).await;
    assert_eq!((erased["state"].as_str(), &erased["certificate"]), (Some("unlinked"), &Value::Null));
    assert_eq!(house.read(ada, "a-account", &[]).await.unwrap_err().code, Code::Erased);
    let id: ErasureId = erased["id"].as_str().unwrap().parse().unwrap();
    let shown = async |house: &House| -> Value {
        let shown = house.vault.erasure(&call(&house.officer, None), id).await.unwrap();
        serde_json::from_slice(&shown.body.unwrap()).unwrap()
    };
    // Nor does a restart seal it; and nobody else is erased meanwhile.
    house = house.reopen().await;
    assert_eq!(shown(&house).await["state"], "unlinked");
    let grace = {
        let body = json!({"class": "consumer", "jurisdiction": "DE", "notice": notice()});
        let made = house.vault.create_subject(&call(&house.writer, Some("a-account")), from(body)).await.unwrap();
        text(&made, "id").parse::<SubjectId>().unwrap()
    };
    let opened = house.vault.open_erasure(&call(&house.officer, None), from(body(grace))).await.unwrap();
    let other: ErasureId = text(&opened, "id").parse().unwrap();
    let approve = async || house.vault.approve_erasure(&call(&house.second, None), other, ApproveErasure::default()).await;
    let refused = approve().await.map(drop).unwrap_err();
    assert_eq!(refused.code, Code::CustodyUnavailable);
    assert!(refused.reason.unwrap().contains("stubborn"));
    // It lets go: the next erasure meets every place, and the first one is sealed with it.
    stubborn.0.store(false, Ordering::Relaxed);
    let sealed: Value = serde_json::from_slice(&approve().await.unwrap().body.unwrap()).unwrap();
    assert_eq!(sealed["state"], "sealed");
    let places = sealed["certificate"]["places"].as_array().unwrap().clone();
    let stated: Vec<_> = places.iter().map(|place| (place["name"].as_str().unwrap(), place["state"].as_str().unwrap())).collect();
    assert_eq!(stated, [("first", "in-step"), ("stubborn", "in-step")]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while shown(&house).await["state"] != "sealed" {
        assert!(std::time::Instant::now() < until, "the first erasure is never sealed");
        tokio::task::yield_now().await;
    }
}

/// Every row that the store has now.
fn rows(house: &House) -> Vec<(Vec<u8>, Vec<u8>)> {
    house.vault.opened().unwrap().core.store.scan(b"", None, 1_000_000).unwrap()
}

/// The keyring as the disk has it now, slot by slot.
fn slots(house: &House) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(house.config.dir.join("keys/keyring")).unwrap();
    bytes.chunks(4_096).map(<[u8]>::to_vec).collect()
}

/// A purpose is a key, not a rule.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_guard_stops_anybody_the_keys_still_do() {
    use ::keys::attacker::{Held, attack};
    let house = House::new().await;
    let ada = house.ada().await;
    let contact = house.contact(ada).await;
    let write = async |purpose: &str, purposes: Value, fields: Value| -> RecordId {
        let body = json!({"kind": "record", "purposes": purposes, "fields": fields});
        let made = house.vault.write_record(&call(&house.writer, Some(purpose)), ada, from(body)).await.unwrap();
        text(&made, "id").parse().unwrap()
    };
    let taste = write("c-marketing", json!(["c-marketing"]), json!({"interests": ["Canary chess"]})).await;
    write("b-service", json!(["b-service", "k-security", "b-care"]), json!({"name": "Ada"})).await;
    let anybody = Arc::new(Caller { name: crate::policy::STOPPED_BY_NOTHING.to_owned(), ..(*house.reader).clone() });
    let read = async |purpose: &str| {
        let ask = ReadRecords::default();
        let answer = house.vault.read_records(&call(&anybody, Some(purpose)), ada, ask).await.map_err(|refused| refused.code)?;
        Ok(String::from_utf8(answer.body.unwrap()).unwrap())
    };
    for purpose in ["c-marketing", "b-service", "k-security", "b-care"] {
        assert!(read(purpose).await.unwrap().contains("Ada"), "{purpose}");
    }
    let (mut all, before) = (rows(&house), slots(&house));

    // Erased by two officers, withdrawn by the person, over by the policy.
    house.erase(json!({"subject": ada.to_string(), "scope": "groups", "groups": ["support"], "cause": "request"})).await;
    house.says(ada, "c-marketing", "withdrawn").await;
    house.clock.turn(jiff::SignedDuration::from_hours(25));
    house.vault.sweep().await.unwrap();
    assert_eq!(house.read(ada, "c-marketing", &[]).await.unwrap_err().code, Code::ConsentWithdrawn);
    house.clock.turn(jiff::SignedDuration::from_hours(24 * 366));
    house.vault.sweep().await.unwrap();
    for purpose in ["b-care", "c-marketing", "k-security"] {
        assert_eq!(read(purpose).await, Err(Code::KeyDestroyed), "{purpose}");
    }
    assert!(read("b-service").await.unwrap().contains("Unter den Linden"));

    // The adversary has every row that ever was, the passphrase, and the keyring as it is now.
    all.extend(rows(&house));
    let now = slots(&house);
    let vault = house.vault.opened().unwrap().core.vault;
    let tenant = house.vault.tenants().next().unwrap().id();
    let root = std::fs::read(house.config.dir.join("keys/root")).unwrap();
    let loot = |slots: &[Vec<u8>]| {
        let passphrase = "correct horse battery staple";
        attack(&Held { vault, tenant: *tenant.bytes(), root: &root, passphrase, slots, rows: &all, strays: &[] })
    };
    let holds = |fields: Option<&Vec<(u16, Vec<u8>)>>, text: &str| {
        fields.is_some_and(|fields| fields.iter().any(|(_, plain)| String::from_utf8_lossy(plain).contains(text)))
    };
    let (of_taste, of_contact) = ((*ada.bytes(), *taste.bytes()), (*ada.bytes(), *contact.bytes()));
    let found = loot(&now);
    assert!(holds(found.fields.get(&of_contact), "Unter den Linden"), "what the contract needs still opens");
    assert!(!found.record_keys.contains(&of_taste) && !found.fields.contains_key(&of_taste));
    assert!(found.rows.iter().all(|(_, plain)| !String::from_utf8_lossy(plain).contains("Canary")));
    // With the keyring of before it would: the test can fail.
    assert!(holds(loot(&before).fields.get(&of_taste), "Canary chess"));
}

/// Whoever has the database and the live keys can write a wider label that opens; what it was widened for still does not, and the
/// check of rows against the trail names the row.
#[tokio::test(flavor = "multi_thread")]
async fn widening_a_label_a_purpose_or_a_region_in_the_database_destroys_the_field_and_is_named() {
    use super::rows::{LabelRow, SubjectRow, pack, unpack};
    use crate::store::layout::{self, RowKey};
    type Widen = fn(&mut LabelRow, &mut layout::RecordRow);
    let widenings: [(&str, Widen); 4] = [
        ("a purpose", |label, _| label.purposes.push("k-security".to_owned())),
        ("the groups", |_, row| row.groups |= 1 << 5),
        ("a region", |label, _| label.region = Some("CN".to_owned())),
        ("a category", |label, _| label.fields.iter_mut().for_each(|field| field.high = !field.high)),
    ];
    for (what, widen) in widenings {
        let house = House::new().await;
        let ada = house.ada().await;
        let record = house.contact(ada).await;
        assert!(house.read(ada, "b-service", &["address"]).await.is_ok());
        {
            let opened = house.vault.opened().unwrap();
            let core = &opened.core;
            let tenant = house.vault.tenants().next().unwrap().clone();
            let person = core.person(&tenant, ada).unwrap().unwrap();
            let value = core.store.row(&RowKey::Record(ada, record).bytes()).unwrap().unwrap();
            let mut known = super::reading::open_label(core, &person, record, &value).unwrap();
            widen(&mut known.label, &mut known.row);
            let place = super::records::label_context(&ada, &record);
            known.row.label = person.keys.seal_row(&place, &pack(&known.label).unwrap()).unwrap();
            replace(core, layout::split(&ada, &record, &known.row).unwrap());
            core.people.forget(&[*ada.bytes()], &[]);
        }
        for purpose in ["b-service", "a-account", "k-security"] {
            let read = house.read(ada, purpose, &[]).await;
            assert!(!read.is_ok_and(|read| read.to_string().contains("Linden")), "{what}: {purpose}");
        }
        let named = named(house).await;
        assert!(named.contains(&format!("{:?}", RowKey::Record(ada, record))), "{what}: {named}");
    }
    // The region that a person's records may not leave stands in their own row: that row is named.
    let house = House::new().await;
    let ada = house.ada().await;
    {
        let opened = house.vault.opened().unwrap();
        let core = &opened.core;
        let tenant = house.vault.tenants().next().unwrap().clone();
        let person = core.person(&tenant, ada).unwrap().unwrap();
        let key = RowKey::Subject(ada).bytes();
        let stored = core.store.row(&key).unwrap().unwrap();
        let mut row: SubjectRow = unpack(person.keys.open_row(&key, &stored).unwrap().bytes()).unwrap();
        row.region = Some("CN".to_owned());
        replace(core, vec![(key.clone(), person.keys.seal_row(&key, &pack(&row).unwrap()).unwrap())]);
    }
    let named = named(house).await;
    assert!(named.contains(&format!("{:?}", RowKey::Subject(ada))), "{named}");
}

/// Writes rows past the committer and the trail.
fn replace(core: &super::core::Core, rows: Vec<crate::store::Row>) {
    let mut batch = crate::store::Batch::default();
    rows.into_iter().for_each(|(key, value)| batch.put(key, value));
    core.store.commit(&batch).unwrap();
}

/// What the check of the closed vault's rows against its trail finds wrong.
async fn named(house: House) -> String {
    house.vault.close().await;
    let House { _dir, config, vault, .. } = house;
    drop(vault);
    let public = std::fs::read_to_string(config.dir.join("vault.pub")).unwrap();
    let key: crate::audit::note::VerifyingKey = public.trim().parse().unwrap();
    let report = super::check::check(&config, &key.public).unwrap();
    format!("{:?}", report.first_break)
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_record_leaves_the_subjects_other_records() {
    let house = House::new().await;
    let ada = house.ada().await;
    let first = house.contact(ada).await;
    house.contact(ada).await;
    house.vault.delete_record(&call(&house.writer, None), ada, first).await.unwrap();
    let left = house.read(ada, "b-service", &["name"]).await.unwrap();
    assert_eq!(left["records"].as_array().unwrap().len(), 1);
    assert_ne!(left["records"][0]["id"], first.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rectified_record_has_a_new_version_and_needs_the_old_ones_number() {
    let house = House::new().await;
    let ada = house.ada().await;
    let id = house.contact(ada).await;
    let body = json!({"fields": {"address": "Neue Straße 2", "phone": null}});
    let mut asked = call(&house.writer, Some("a-account"));
    let missing = house.vault.rectify_record(&asked, ada, id, from(body.clone())).await.err().unwrap();
    assert_eq!(missing.code, Code::IfMatchRequired);
    asked.if_match = Some("\"1\"".into());
    let made = house.vault.rectify_record(&asked, ada, id, from(body.clone())).await.unwrap();
    assert_eq!(made.etag.as_deref(), Some("\"2\""));
    let stale = house.vault.rectify_record(&asked, ada, id, from(body)).await.err().unwrap();
    assert_eq!(stale.code, Code::Stale);
    let read = house.read(ada, "b-service", &[]).await.unwrap();
    assert_eq!(read["records"][0]["fields"], json!({"name": "Ada", "email": "ada@example.org", "address": "Neue Straße 2"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_vault_answers_nothing_until_the_passphrase_comes() {
    let house = House::new().await;
    let ada = house.ada().await;
    house.vault.seal().await;
    assert_eq!(house.read(ada, "b-service", &[]).await.unwrap_err().code, Code::Sealed);
    let wrong = SecretString::from("not this one".to_owned());
    assert!(matches!(house.vault.unseal(&wrong).await, Err(super::UnsealError::WrongPassphrase)));
    house.vault.unseal(&passphrase()).await.unwrap();
    assert_eq!(house.read(ada, "b-service", &[]).await.unwrap()["records"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rights_wait_for_a_second_security_officer_and_fewer_do_not() {
    let house = House::new().await;
    let tenant = house.vault.tenants().next().unwrap().clone();
    let officer = |name: &str| from::<PutCaller>(json!({"name": name, "kind": "person", "roles": ["security_officer"]}));
    let one = house.vault.bootstrap(&tenant, officer("one")).await.unwrap().1;
    let two = house.vault.bootstrap(&tenant, officer("two")).await.unwrap().1;
    let (one, two) = (house.vault.authenticate(&one).unwrap(), house.vault.authenticate(&two).unwrap());
    let desk = json!({"name": "desk", "kind": "service", "roles": ["reader"], "purposes": ["b-service"]});
    let made = house.vault.put_caller(&call(&one, None), None, from(desk.clone())).await.unwrap();
    assert_eq!(text(&made, "state"), "proposed");
    let id = text(&made, "id").parse().unwrap();
    let early = house.vault.issue_token(&call(&one, None), id, from(json!({}))).await.err().unwrap();
    assert_eq!(early.code, Code::SecondPersonRequired);
    let same = house.vault.put_caller(&call(&one, None), Some(id), from(desk.clone())).await.unwrap();
    assert_eq!(text(&same, "state"), "proposed", "who proposed it does not confirm it");
    let confirmed = house.vault.put_caller(&call(&two, None), Some(id), from(desk)).await.unwrap();
    assert_eq!(text(&confirmed, "state"), "active");
    let token = house.vault.issue_token(&call(&one, None), id, from(json!({}))).await.unwrap();
    let token = text(&token, "token");
    assert_eq!(house.vault.authenticate(&token).unwrap().purposes.len(), 1);

    // More is a proposal: the token can do what it could.
    let more = json!({"name": "desk", "kind": "service", "roles": ["reader", "writer"], "purposes": ["b-service", "k-security"]});
    house.vault.put_caller(&call(&one, None), Some(id), from(more)).await.unwrap();
    let now = house.vault.authenticate(&token).unwrap();
    assert_eq!((now.roles.len(), now.purposes.len()), (1, 1));
    // Suspension takes effect at once and alone; coming back needs the second person.
    let off = json!({"name": "desk", "kind": "service", "roles": ["reader"], "purposes": ["b-service"], "state": "suspended"});
    house.vault.put_caller(&call(&one, None), Some(id), from(off)).await.unwrap();
    assert_eq!(house.vault.authenticate(&token).err().unwrap().code, Code::Unauthenticated);
    let on = json!({"name": "desk", "kind": "service", "roles": ["reader"], "purposes": ["b-service"]});
    house.vault.put_caller(&call(&one, None), Some(id), from(on.clone())).await.unwrap();
    assert!(house.vault.authenticate(&token).is_err());
    house.vault.put_caller(&call(&two, None), Some(id), from(on.clone())).await.unwrap();
    assert!(house.vault.authenticate(&token).is_ok());
    let house = house.reopen().await;
    assert!(house.vault.authenticate(&token).is_ok(), "a restart changes nothing");
    let revoke =
        json!({"name": "desk", "kind": "service", "roles": ["reader"], "purposes": ["b-service"], "revoke_tokens": true});
    house.vault.put_caller(&call(&one, None), Some(id), from(revoke)).await.unwrap();
    assert!(house.vault.authenticate(&token).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_batch_is_carried_out_once() {
    let house = House::new().await;
    let items = || {
        (0..3)
            .map(|n| {
                let alias = json!([{"type": "email", "value": format!("p{n}@example.org")}]);
                Ok(from(json!({"class": "consumer", "jurisdiction": "FR", "aliases": alias})))
            })
            .collect::<Vec<_>>()
    };
    let mut asked = call(&house.writer, Some("a-account"));
    asked.idempotency = Some(super::call::Idempotency { key: "k1".into(), request: "POST\nbatch".into() });
    let first = house.vault.create_subjects(&asked, items()).await.unwrap();
    let again = house.vault.create_subjects(&asked, items()).await.unwrap();
    let ids = |answers: &[Result<Answer, Refused>]| answers.iter().map(|a| text(a.as_ref().unwrap(), "id")).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&again));
    asked.idempotency = None;
    let plain = house.vault.create_subjects(&asked, items()).await.unwrap();
    assert!(plain.iter().all(|answer| answer.as_ref().is_err_and(|refused| refused.code == Code::AliasTaken)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_answers_for_every_row_after_all_kinds_of_change() {
    let house = House::new().await;
    let ada = house.ada().await;
    let first = house.contact(ada).await;
    house.contact(ada).await;
    house.vault.delete_record(&call(&house.writer, None), ada, first).await.unwrap();
    house.erase(json!({"subject": ada.to_string(), "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"})).await;
    house.erase(json!({"subject": ada.to_string(), "scope": "subject", "cause": "request"})).await;
    house.ada().await;
    let public: crate::audit::note::VerifyingKey =
        std::fs::read_to_string(house.config.dir.join("vault.pub")).unwrap().trim().parse().unwrap();
    house.vault.close().await;
    let dir = house.config.dir.join("data/trail");
    drop(house.vault);
    let store = crate::store::sled::SledStore::open(
        &house.config.dir.join("data/db"),
        crate::store::sled::Settings::default(),
        Arc::new(|_| {}),
    )
    .unwrap();
    let report = crate::audit::verify(&dir, &public.public, Some(&mut super::check::Rows::of(&store))).unwrap();
    assert_eq!(report.first_break, None, "{report:?}");
    assert!(report.rows_checked > 10, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_older_than_its_trail_is_refused_and_not_voided_into_agreement() {
    let house = House::new().await;
    let ada = house.ada().await;
    house.vault.close().await;
    let dir = house.config.dir.clone();
    drop(house.vault);
    let copy = |from: &str, to: &str| {
        std::fs::create_dir_all(dir.join(to)).unwrap();
        for entry in std::fs::read_dir(dir.join(from)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), dir.join(to).join(entry.file_name())).unwrap();
            }
        }
    };
    copy("data/db", "before");
    let vault = Vault::open(&house.config, house.clock.clone()).unwrap();
    vault.unseal(&passphrase()).await.unwrap();
    for _ in 0..2 {
        let body = json!({"kind": "contact", "purposes": [], "fields": {"name": "Ada"}});
        vault.write_record(&call(&house.writer, Some("a-account")), ada, from(body)).await.unwrap();
    }
    vault.close().await;
    drop(vault);
    copy("before", "data/db");
    let vault = Vault::open(&house.config, house.clock.clone()).unwrap();
    let refused = vault.unseal(&passphrase()).await;
    assert!(matches!(refused, Err(super::UnsealError::Open(super::OpenError::RolledBack))), "{:?}", refused.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_fails_alone() {
    let house = House::new().await;
    let long = "x".repeat(20_000);
    let body = json!({"class": "consumer", "jurisdiction": "DE", "region": long});
    let refused = house.vault.create_subject(&call(&house.writer, Some("a-account")), from(body)).await.err().unwrap();
    assert_eq!((refused.code, refused.pointer.as_deref()), (Code::InvalidBody, Some("/region")));
    // A label of many purposes that no row can hold is refused by itself, and the others of its batch are kept.
    let ada = house.ada().await;
    let many: Vec<String> = (0..2_000).map(|_| "a-account".to_owned()).collect();
    let good = json!({"subject": ada.to_string(), "record": {"kind": "contact", "fields": {"name": "Ada"}}});
    let bad = json!({"subject": ada.to_string(), "record": {"kind": "contact", "purposes": many, "fields": {"name": "Ada"}}});
    let items = vec![Ok(from(good.clone())), Ok(from(bad)), Ok(from(good))];
    let answers = house.vault.write_records(&call(&house.writer, Some("a-account")), items).await.unwrap();
    let codes: Vec<Option<Code>> = answers.iter().map(|answer| answer.as_ref().err().map(|refused| refused.code)).collect();
    assert_eq!(codes[0], None);
    assert!(codes[1].is_some(), "{codes:?}");
    assert_eq!(codes[2], None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_refused_once_the_rights_behind_it_are_gone() {
    let house = House::new().await;
    let ada = house.ada().await;
    let body = || from(json!({"kind": "contact", "fields": {"name": "Ada"}}));
    let mut asked = call(&house.writer, Some("a-account"));
    asked.idempotency = Some(super::call::Idempotency { key: "k1".into(), request: "POST\nrecord".into() });
    let first = house.vault.write_record(&asked, ada, body()).await.unwrap();
    let again = house.vault.write_record(&asked, ada, body()).await.unwrap();
    assert_eq!(text(&first, "id"), text(&again, "id"));
    let narrowed = |roles: &[Role], purposes: &[&str]| {
        Arc::new(Caller {
            roles: roles.iter().copied().collect(),
            purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
            ..(*house.writer).clone()
        })
    };
    asked.caller = narrowed(&[Role::Writer], &[]);
    assert_eq!(house.vault.write_record(&asked, ada, body()).await.err().unwrap().code, Code::PurposeNotGranted);
    asked.caller = narrowed(&[Role::Reader], &["a-account"]);
    assert_eq!(house.vault.write_record(&asked, ada, body()).await.err().unwrap().code, Code::RoleForbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_learns_nothing_from_a_wrong_field_or_an_empty_body() {
    let house = House::new().await;
    let ada = house.ada().await;
    let auditor = Arc::new(Caller { roles: [Role::Auditor].into(), ..(*house.reader).clone() });
    let nobody = SubjectId::from_bytes([9; 16]);
    for subject in [ada, nobody] {
        let asked = call(&auditor, Some("b-service"));
        let ask = ReadRecords { fields: vec!["zzz".into()], ..ReadRecords::default() };
        assert_eq!(house.vault.read_records(&asked, subject, ask).await.err().unwrap().code, Code::RoleForbidden);
        let empty = from(json!({"kind": "contact", "fields": {}}));
        assert_eq!(house.vault.write_record(&asked, subject, empty).await.err().unwrap().code, Code::RoleForbidden);
        let patch = from(json!({"fields": {"zzz": 1}}));
        let record = RecordId::from_bytes([8; 16]);
        assert_eq!(house.vault.rectify_record(&asked, subject, record, patch).await.err().unwrap().code, Code::RoleForbidden);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_nobody_once_its_person_is_erased() {
    let house = House::new().await;
    let ada = house.ada().await;
    let body = json!({"type": "account-closure", "subject": ada.to_string()});
    let made = house.vault.open_request(&call(&house.writer, None), from(body)).await.unwrap();
    let request = text(&made, "request_id").parse().unwrap();
    let row = || super::requests::load(&house.vault.opened().unwrap().core, request).unwrap().unwrap().1;
    assert!(row().subject == Some(*ada.bytes()) && row().details.is_some());
    house.clock.turn(jiff::SignedDuration::from_hours(14 * 24));
    assert_eq!(house.vault.sweep().await.unwrap().closed, 1);
    assert!(row().subject.is_none() && row().details.is_none() && row().erasure.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telling_that_is_cut_short_goes_on_where_it_was_and_tells_nobody_twice() {
    use super::committer::{Change, Expect, RowChange};
    use crate::store::layout::{PolicyPart, RowKey};

    let house = House::new().await;
    for _ in 0..230 {
        let body = json!({"class": "consumer", "jurisdiction": "DE", "notice": notice()});
        house.vault.create_subject(&call(&house.writer, Some("a-account")), from(body)).await.unwrap();
    }
    house.clock.turn(jiff::SignedDuration::from_mins(1));
    let put = |opened: &super::lifecycle::Opened, row: RowChange| {
        let event = opened.core.event("test", crate::audit::Outcome::Done, crate::audit::Note::None).unwrap();
        let (committer, mut change) = (opened.committer.clone(), Change::noting(event));
        change.rows.push(row);
        async move { committer.commit(change).await.unwrap() }
    };
    let count = |opened: &super::lifecycle::Opened, prefix: &[u8]| opened.core.store.scan(prefix, None, 1_000).unwrap().len();
    let opened = house.vault.opened().unwrap();
    let (core, committer) = (&opened.core, &opened.committer);
    let tenant = core.tenants.all().remove(0);
    let diff = crate::tenant::Diff { material: true, ..Default::default() };
    let begun = super::publications::begin(core, tenant.id(), [1; 16], "2026-11-9", core.clock.now(), &diff).unwrap();
    let key = RowKey::Policy { tenant: tenant.id(), part: PolicyPart::Telling, name: [1; 16], chunk: 0 }.bytes();
    assert_eq!(begun.key, key);
    put(&opened, begun).await;
    let noted = || core.store.row(&key).unwrap().unwrap();
    let before = noted();
    assert_eq!(super::publications::round(core, committer, &|| false).await.unwrap(), None, "it was stopped");
    assert_eq!((count(&opened, b"b"), count(&opened, b"w")), (100, 100));
    let first_page = noted();
    drop(opened);

    let house = house.reopen().await;
    let opened = house.vault.opened().unwrap();
    assert_eq!(super::publications::round(&opened.core, &opened.committer, &|| true).await.unwrap(), Some(130));
    assert_eq!((count(&opened, b"b"), count(&opened, b"w")), (230, 230));
    // Where the process ended before its progress was noted, what was done is found again.
    for earlier in [first_page, before] {
        put(&opened, RowChange { key: key.clone(), expect: Expect::Any, value: Some(earlier) }).await;
        assert_eq!(super::publications::round(&opened.core, &opened.committer, &|| true).await.unwrap(), Some(0));
        assert_eq!((count(&opened, b"b"), count(&opened, b"w")), (230, 230));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_sealed_before_its_key_was_destroyed_is_refused_rather_than_lost() {
    use super::committer::{Change, Expect, RowChange};
    use crate::audit::{Note, Outcome};
    use crate::store::layout::RowKey;
    let house = House::new().await;
    let tenant = house.vault.tenants().next().unwrap().clone();
    let admin: PutCaller = from(json!({"name": "admin", "kind": "person", "roles": ["key_admin"]}));
    let admin = house.vault.bootstrap(&tenant, admin).await.unwrap().1;
    let admin = house.vault.authenticate(&admin).unwrap();
    // As a call does that has got so far and waits.
    let sealed = |key: &[u8]| {
        let opened = house.vault.opened().unwrap();
        opened.core.hierarchy.seal_row(key, b"late").unwrap()
    };
    let key = RowKey::Case(crate::model::ids::CaseId::from_bytes([9; 16])).bytes();
    let late = sealed(&key);
    let commit = async |value: Vec<u8>| {
        let opened = house.vault.opened().unwrap();
        let mut change = Change::noting(opened.core.event("sweep", Outcome::Done, Note::None).unwrap());
        change.rows.push(RowChange { key: key.clone(), expect: Expect::Any, value: Some(value) });
        opened.committer.commit(change).await.map_err(|refused| refused.code)
    };
    house.vault.operate_keys(&call(&admin, None), from(json!({"operation": "rotate-tenant"}))).await.unwrap();
    house.vault.turn_keys().await.unwrap();
    assert_eq!(commit(late).await, Err(Code::Stale));
    assert_eq!(commit(sealed(&key)).await, Ok(()));
    let opened = house.vault.opened().unwrap();
    let kept = opened.core.store.row(&key).unwrap().unwrap();
    assert_eq!(opened.core.hierarchy.open_row(&key, &kept).unwrap().bytes(), b"late");
}
