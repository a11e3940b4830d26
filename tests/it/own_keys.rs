//! The vault's own keys turn over: nobody is lost on the way, nothing that was signed stops verifying, and of the old keys nothing is left.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keys::attacker::Loot;
use oubliette::audit::PublicKeys;
use oubliette::audit::certificate::verify_certificate;
use oubliette::audit::manifest::verify_manifest;
use oubliette::audit::receipt::verify_receipt;
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::ids::TenantId;
use oubliette::vault::VaultConfig;
use oubliette::vault::check::check;
use serde_json::{Value, json};

use crate::house::{Home, House, notice};
use crate::promises::backups::{back_up, bring_back, only_keys, target, with_target};
use crate::promises::consents::said;
use crate::rotations::{Copied, Row, fast, held, keyring, loot, now};

const TENANT: [u8; 16] = [1; 16];

impl House {
    /// Somebody who is found by this address.
    fn found_by(&self, email: &str) -> String {
        let body = json!({"class": "consumer", "jurisdiction": "DE", "notice": notice(), "aliases": [{"type": "email", "value": email}]});
        self.post("/v1/subjects", &body).by(&self.holder(Role::Writer)).purpose("a-account").send().expect(201).member("id")
    }

    /// Turns keys over, to the end.
    fn turn(&self, kind: &str) {
        let id = self.rotate(kind);
        self.turn_keys();
        let job = self.job(&id);
        assert_eq!((&job["state"], &job["failed"]), (&json!("done"), &json!(0)), "{job}");
    }

    fn generations(&self, kind: &str) -> Vec<(u64, String)> {
        let listed = self.listed();
        let own = listed["keys"].as_array().unwrap().iter().filter(|key| key["kind"] == kind);
        own.map(|key| (key["generation"].as_u64().unwrap(), key["state"].as_str().unwrap().to_owned())).collect()
    }
}

/// Ends what goes on beside a test, even where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The trail of a closed house verifies, row by row.
fn verifies(home: &Home) {
    let config = VaultConfig { on_fatal: std::sync::Arc::new(|_| {}), ..VaultConfig::in_dir(home.path()) };
    let keys = listed(home);
    assert_eq!(format!("{:?}", check(&config, &keys).unwrap().first_break), "None");
}

/// The keys of the published list.
fn listed(home: &Home) -> PublicKeys {
    PublicKeys::listed(&fs::read_to_string(home.path().join("vault.keys")).unwrap()).unwrap()
}

/// The aliases of an address that the adversary finds somebody under.
fn confirmed(known: &Loot, opened: &Loot, email: &str) -> usize {
    let tags: HashSet<[u8; 24]> = known.alias_tags(TenantId::from_bytes(TENANT).bytes(), 1, email).into_iter().collect();
    opened.aliases.iter().filter(|(tag, _)| tags.contains(tag)).count()
}

#[test]
fn looking_up_and_enrolling_go_on_while_the_index_keys_turn_over_and_nobody_is_lost() {
    let house = House::start_with(fast);
    let people: Vec<(String, String)> = (0..40)
        .map(|number| {
            let email = format!("early{number}@example.org");
            (house.found_by(&email), email)
        })
        .collect();
    let gone = people[7].clone();
    let over = AtomicBool::new(false);
    let (mut rounds, found) = (0, AtomicUsize::new(0));
    let late: Vec<(String, String)> = std::thread::scope(|scope| {
        let (house, over, people, gone, found) = (&house, &over, &people, &gone, &found);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for (id, email) in people.iter().filter(|(id, _)| *id != gone.0) {
                    assert_eq!(house.look_up(email).expect(200).member("id"), *id);
                    found.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let writer = scope.spawn(move || {
            let mut late = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let email = format!("late{}@example.org", late.len());
                late.push((house.found_by(&email), email));
            }
            late
        });
        let _over = Over(over);
        while rounds < 3 || found.load(Ordering::Relaxed) < 100 {
            let job = house.until_done(&house.rotate("index"));
            assert_eq!((&job["state"], &job["failed"]), (&json!("done"), &json!(0)), "{job}");
            if rounds == 0 {
                house.erase_subject(&gone.0);
            }
            rounds += 1;
        }
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(!late.is_empty());
    assert_eq!(house.generations("index"), [(rounds, "active".to_owned())]);
    // An address that is taken stays taken, whatever key it was taken under.
    let twice = json!({"class": "consumer", "jurisdiction": "DE", "notice": notice(),
        "aliases": [{"type": "email", "value": people[0].1}]});
    let refused = house.post("/v1/subjects", &twice).by(&house.holder(Role::Writer)).purpose("a-account").send();
    refused.refused(409, "alias-taken");
    let house = house.restart();
    for (id, email) in people.iter().chain(&late).filter(|(id, _)| *id != gone.0) {
        assert_eq!(house.look_up(email).expect(200).member("id"), *id);
    }
    house.look_up(&gone.1).refused(404, "not-found");
    house.found_by(&gone.1);
    verifies(&house.close());
}

#[test]
fn with_the_old_index_key_and_every_byte_nobody_is_confirmed_once_the_index_keys_have_turned_over() {
    let house = House::of_controllers_with(1, held);
    let mut copied = Copied::of(&house);
    let (lives, gone) = ("kzlives@example.org", "kzgone@example.org");
    house.found_by(lives);
    let id = house.found_by(gone);
    copied.look(&house);
    copied.keyring = keyring(&house);
    let before = loot(&house.home, &copied.keyring, &copied.rows());
    assert_eq!((before.index_generations(1), confirmed(&before, &before, lives)), (vec![0], 1), "the test has teeth");

    house.turn("index");
    copied.look(&house);
    let after = loot(&house.home, &keyring(&house), &copied.rows());
    assert_eq!(after.index_generations(1), [1], "an old index key opens");
    assert_eq!((confirmed(&after, &after, lives), confirmed(&after, &after, gone)), (1, 1), "the living are found");
    // The old key, kept by whoever stole it, fits nothing that still opens.
    assert_eq!((confirmed(&before, &after, lives), confirmed(&before, &after, gone)), (0, 0));
    assert!(!now(&house).iter().any(|(key, _)| key.starts_with(&[b'n', 1])), "the rows of the old tree were left");

    house.erase_subject(&id);
    copied.look(&house);
    let erased = loot(&house.home, &keyring(&house), &copied.rows());
    assert_eq!((confirmed(&erased, &erased, gone), confirmed(&erased, &erased, lives)), (0, 1));
    assert_eq!(confirmed(&before, &erased, gone), 0);
}

#[test]
fn everything_of_the_vault_itself_works_on_after_its_row_statistics_and_token_keys_turned_over() {
    let house = House::of_controllers_with(1, held);
    let ada = house.ada();
    house.contact(&ada);
    let writer = house.holder(Role::Writer);
    let me = house.me(&ada);
    let doomed = house.caller(CallerKind::Service, &[Role::Reader], &["a-account"]);
    let create = |house: &House| {
        let body = json!({"class": "consumer", "jurisdiction": "DE", "notice": notice(), "aliases": []});
        house
            .post("/v1/subjects", &body)
            .by(&writer)
            .purpose("a-account")
            .header("idempotency-key", "make")
            .send()
            .expect(201)
            .member("id")
    };
    let at = house.home.clock.now();
    let count = |house: &House, key: &str| {
        let body = json!({"measure": "page-views", "at": at, "dimensions": {"page": "home", "country": "de"}, "count": 20});
        house.post("/v1/stats", &body).by(&writer).header("idempotency-key", key).send().expect(204);
    };
    let counted = |house: &House| {
        let asked = house.get("/v1/stats?measure=page-views").by(&house.holder(Role::Reader)).purpose("h-efficiency");
        asked.send().expect(200).json()["cells"][0]["count"].clone()
    };
    let made = create(&house);
    count(&house, "one");
    let bundle = house.fulfilled(&ada, "access");
    let case =
        house.approved_case(&json!({"kind": "reasonable-need", "subject": ada, "purposes": ["b-service"], "fields": ["name"],
        "recipient": "parcel", "ground": "perform-contract", "necessity": "it cannot be delivered",
        "secret_until": "2026-11-30T10:00:00Z", "expires_at": "2026-12-23T10:00:00Z"}));
    let incident = house.new_incident();
    let report = json!({"kind": "leaked-token", "detected_at": "2026-11-23T09:00:00Z", "severity": "low", "scope": {"caller": doomed.id.to_string()}});
    house.put(&incident, &report).by(&house.holder(Role::PrivacyOfficer)).send().expect(201);
    let mut wider = house.entry("purposes", "k-security");
    wider["categories"].as_array_mut().unwrap().push("pd:PhysicalAddress".into());
    house.draft("purposes", "k-security", &wider).expect(200);
    let proposal = house.propose().expect(201).member("id");
    let mut copied = Copied::of(&house);
    let old: Vec<Row> = copied.rows.iter().filter(|(key, _)| b"ektqozwJ".contains(&key[0])).cloned().collect();
    // Rows of the vault's own that open to who has these and every tree row that ever was.
    let opened = |house: &House, ever: &[Row], rows: &[Row]| {
        let tree = ever.iter().filter(|(key, _)| key[0] == b'n').chain(rows).cloned().collect::<Vec<Row>>();
        loot(&house.home, &keyring(house), &tree).rows.len()
    };
    let before = opened(&house, &copied.rows(), &old);
    assert!(old.len() > 10 && before >= old.len(), "{before} of {}: the test has teeth", old.len());

    house.turn("tenant");
    copied.look(&house);
    assert_eq!(house.generations("row"), [(1, "active".to_owned())]);
    // What is as old as the old keys opens for nobody, whatever is kept of it.
    let kept: HashSet<Row> = now(&house).into_iter().collect();
    let dead: Vec<Row> = old.iter().filter(|row| !kept.contains(*row)).cloned().collect();
    assert_eq!(dead.len(), old.len(), "a row was left as it was");
    let all: Vec<Row> = copied.rows();
    let after = loot(&house.home, &keyring(&house), &all);
    assert!(after.has_system_keys());
    assert_eq!(opened(&house, &all, &dead), 0, "an old row opens");

    for round in 0..2 {
        assert_eq!(create(&house), made, "the first answer is given again");
        count(&house, "one");
        assert_eq!(counted(&house), json!(20 * (round + 1)));
        count(&house, &format!("round {round}"));
        assert_eq!(counted(&house), json!(20 * (round + 2)));
        if round == 0 {
            // A person's own token is held in memory alone, and its holder goes on with it.
            house.get(&format!("/v1/subjects/{ada}")).by(&me).send().expect(200);
        }
        house.read(&ada, "a-account", "name").expect(200);
        house.get(&format!("/v1/cases/{case}")).by(&house.holder(Role::PrivacyOfficer)).send().expect(200);
        house.get(&incident).by(&house.holder(Role::PrivacyOfficer)).send().expect(200);
        house.part(&bundle, "manifest").expect(200);
        house.get("/v1/subjects/me").by(&doomed).send();
        if round == 0 {
            house.turn("tenant");
        }
    }
    // The proposal still knows its drafts: approved, they are gone.
    house.approve(&proposal).expect(201);
    assert_eq!(house.entry("purposes", "k-security"), wider, "what was drafted is published");
    let shown = house.get("/v1/config/purposes?limit=500").by(&house.holder(Role::PolicyAuthor)).send().expect(200).text();
    assert!(!shown.contains("\"draft\":"), "no draft is left: {shown}");
    // A token that is revoked stays so.
    let officer = house.holder(Role::SecurityOfficer);
    let body =
        json!({"name": "doomed", "kind": "service", "roles": ["reader"], "purposes": ["a-account"], "revoke_tokens": true});
    house.put(&format!("/v1/callers/{}", doomed.id), &body).by(&officer).send().expect(200);
    let refused =
        |house: &House| drop(house.get(&format!("/v1/subjects/{ada}")).by(&doomed).send().refused(401, "unauthenticated"));
    refused(&house);
    house.turn("tenant");
    refused(&house);
    let house = house.restart();
    refused(&house);
    assert_eq!(create(&house), made);
    assert_eq!(counted(&house), json!(60));
    house.part(&bundle, "data").expect(200);
    house.part(&bundle, "data").refused(410, "result-gone");
    verifies(&house.close());
}

/// The built binary, offline: whether it was content, and what it said.
fn offline(arguments: &[&str], paths: &[&Path]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_oubliette")).args(arguments).args(paths).stdin(Stdio::null()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn what_was_signed_before_and_after_a_new_signing_key_verifies_offline_with_either_key() {
    let house = House::start_with(held);
    let home = house.home.clone();
    let (early, late) = (house.ada(), house.ada());
    let old = home.public_key();
    let agreed = house.say(&late, &said("c-survey", "general", "given")).expect(201).member("receipt");
    let certificate = |house: &House, id: &str| {
        let sealed = house.erase_subject(id).json();
        let path = format!("/v1/erasures/{}", sealed["id"].as_str().unwrap());
        house.get(&path).header("vault-claim", sealed["claim_code"].as_str().unwrap()).send().expect(200).bytes
    };
    let receipt = |house: &House| house.get(&agreed).by(&house.holder(Role::Writer)).send().expect(200).bytes;
    let manifest = |house: &House, id: &str| house.part(&house.fulfilled(id, "portability"), "manifest").expect(200).bytes;
    let (early_certificate, early_receipt, early_manifest) =
        (certificate(&house, &early), receipt(&house), manifest(&house, &late));
    let early_file: Value = serde_json::from_slice(&early_certificate).unwrap();
    assert!(early_file["keys"].is_null(), "there is one key");

    house.turn("signing");
    let new = home.public_key();
    assert_ne!(new, old);
    let follows = house.events("").into_iter().find(|event| event["operation"] == "signingKeyFollows").unwrap();
    assert_eq!(follows["note"]["number"], 1, "{follows}");
    let third = house.ada();
    let (late_certificate, late_receipt, late_manifest) = (certificate(&house, &third), receipt(&house), manifest(&house, &late));
    let list = listed(&home);
    assert!(list.first() == new && list.contains(&old));
    for (name, file) in [("early", &early_certificate), ("late", &late_certificate)] {
        assert!(verify_certificate(file, &old).is_ok(), "{name} certificate, old key");
        assert!(verify_certificate(file, &list).is_ok(), "{name} certificate, list");
    }
    for (name, file) in [("early", &early_receipt), ("late", &late_receipt)] {
        assert!(verify_receipt(file, &old).is_ok(), "{name} receipt, old key");
        assert!(verify_receipt(file, &list).is_ok(), "{name} receipt, list");
    }
    assert!(verify_manifest(&early_manifest, &old).is_ok() && verify_manifest(&early_manifest, &list).is_ok());
    assert!(verify_manifest(&late_manifest, &new).is_ok() && verify_manifest(&late_manifest, &list).is_ok());
    // Nothing verifies for a key that nobody vouches for, and the old key has not signed what came later.
    assert!(verify_certificate(&early_certificate, &new).is_err(), "nothing in the file of before leads to the new key");
    assert!(verify_certificate(&late_certificate, &[7; 32]).is_err() && verify_manifest(&late_manifest, &old).is_err());
    let mut without: Value = serde_json::from_slice(&late_certificate).unwrap();
    without.as_object_mut().unwrap().remove("keys").unwrap();
    assert!(verify_certificate(without.to_string().as_bytes(), &old).is_err(), "the new key signed it");

    // Both are in the set for partners, and in what a witness gets.
    let set = house.get("/.well-known/jwks.json").send().expect(200).json();
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    let witnessed = house.get("/v1/audit/checkpoints/latest").by(&house.holder(Role::Auditor)).send().expect(200).json();
    assert!(PublicKeys::from(old).following(witnessed["keys"].as_str().unwrap()).contains(&new));
    house.turn("signing");
    let house = house.restart();
    house.turn("signing");
    let home = house.close();
    let list = listed(&home);
    assert_eq!(oubliette::audit::Trusted::keys(&list).len(), 4);
    verifies(&home);

    // From the command line, with the key that somebody kept, and with the list.
    let files = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = files.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let (kept, early, late) = (put("old.pub", &old), put("early.json", &early_certificate), put("late.json", &late_certificate));
    let (publics, newest) = (home.path().join("vault.keys"), home.path().join("vault.pub"));
    for (file, key) in [(&early, &kept), (&late, &kept), (&early, &publics), (&late, &publics)] {
        let (well, said) = offline(&["certificate", "verify"], &[file, Path::new("--key"), key]);
        assert!(well, "{} with {}: {said}", file.display(), key.display());
    }
    let (well, said) = offline(&["certificate", "verify"], &[&early, Path::new("--key"), &newest]);
    assert!(!well && said.contains("vault.keys"), "the remedy is named: {said}");
    for key in [&kept, &newest, &publics] {
        let (well, said) = offline(&["audit", "verify"], &[home.path(), Path::new("--key"), key]);
        assert!(well, "{said}");
    }
    let stranger = put("stranger.pub", &[7; 32]);
    assert!(!offline(&["audit", "verify"], &[home.path(), Path::new("--key"), &stranger]).0);
    // Without the list the trail's last checkpoints lead nowhere from the key that was kept.
    fs::remove_file(&publics).unwrap();
    assert!(!offline(&["audit", "verify"], &[home.path(), Path::new("--key"), &kept]).0);
    // It is published again at the next start.
    let house = House::open(home).unwrap();
    assert_eq!(listed(&house.home), list);
}

#[test]
fn a_backup_comes_back_whole_over_rotations_of_every_own_key_with_the_key_that_somebody_kept() {
    let house = House::start_with(|config| {
        held(config);
        with_target(config);
    });
    let (email, old) = ("kz@example.org", house.home.public_key());
    let id = house.found_by(email);
    house.contract(&id, "ord-0", "active").expect(201);
    house.contact(&id);
    let early = back_up(&house, true)["number"].as_u64().unwrap();
    for kind in ["signing", "index", "tenant", "signing"] {
        house.turn(kind);
    }
    let late = back_up(&house, false)["number"].as_u64().unwrap();
    let writer = house.holder(Role::Writer);
    let from = target(&house.home);
    let home = house.close();
    let kept = home.path().join("kept.pub");
    fs::write(&kept, old).unwrap();
    let (well, said) = offline(&["--json", "backup", "list"], &[&from, Path::new("--key"), &kept]);
    assert!(well && said.matches("\"number\"").count() == 2, "each is signed by another key: {said}");
    for number in [early, late] {
        let bare = only_keys(&home);
        fs::remove_file(bare.path().join("vault.keys")).unwrap();
        let restored = bring_back(&bare, &from, Some(number)).unwrap();
        assert_eq!((restored.ended.as_deref(), restored.people), (None, 1), "{restored:?}");
        verifies(&bare);
        assert_eq!(bare.public_key(), home.public_key());
        let back = House::open(bare).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(back.look_up(email).expect(200).member("id"), id);
        back.read(&id, "b-service", "name").expect(200);
        back.get(&format!("/v1/subjects/{id}")).by(&writer).send().expect(200);
        // It goes on: another rotation finds everything that it needs.
        back.turn("index");
        assert_eq!(back.look_up(email).expect(200).member("id"), id);
    }
}
