//! The passphrase file: rotation while the vault runs, and handing the root key on and back without touching a record.

use std::fs;

use jiff::SignedDuration;
use oubliette::model::caller::Role;
use serde_json::json;

use super::{Yard, owned, with_passphrase};
use crate::house::{House, PASSPHRASE};

const NEXT: &str = "another horse, another battery";

#[test]
fn the_root_key_is_rotated_while_the_vault_runs_and_the_old_file_opens_nothing_then() {
    let house = House::start();
    let ada = house.ada();
    house.contact(&ada);
    let admin = house.holder(Role::KeyAdmin);
    let file = house.home.path().join("keys/root");
    let before = fs::read(&file).unwrap();
    let rotate = |body| house.post("/v1/keys/operations", &body).by(&admin).send();
    rotate(json!({"operation": "rotate-root", "passphrase": NEXT})).refused(403, "wrong-passphrase");
    rotate(json!({"operation": "rotate-root"})).refused(422, "invalid-body");
    rotate(json!({"operation": "rotate-root", "passphrase": PASSPHRASE, "new_passphrase": "short"})).refused(422, "invalid-body");
    assert_eq!(fs::read(&file).unwrap(), before, "a refused rotation changed the file");
    let reader = house.holder(Role::Reader);
    let rights = json!({"operation": "rotate-root", "passphrase": PASSPHRASE});
    house.post("/v1/keys/operations", &rights).by(&reader).send().refused(403, "role-forbidden");

    rotate(json!({"operation": "rotate-root", "passphrase": PASSPHRASE, "new_passphrase": NEXT})).expect(200);
    house.read(&ada, "b-service", "").expect(200);
    // And the same passphrase again for another root key, and back to the first.
    rotate(json!({"operation": "rotate-root", "passphrase": PASSPHRASE})).refused(403, "wrong-passphrase");
    rotate(json!({"operation": "rotate-root", "passphrase": NEXT})).expect(200);
    rotate(json!({"operation": "rotate-root", "passphrase": NEXT, "new_passphrase": PASSPHRASE})).expect(200);
    let names: Vec<_> = house.events("").iter().map(|event| event["operation"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(names.iter().filter(|name| *name == "rotateRoot").count(), 3, "{names:?}");
    house.post("/v1/keys/operations", &json!({"operation": "rotate-epoch"})).by(&admin).send().expect(200);

    let house = house.restart();
    house.read(&ada, "b-service", "").expect(200);
    let home = house.close();
    let after = fs::read(&file).unwrap();
    fs::write(&file, before).unwrap();
    let refused = House::open(home.clone()).err().expect("the old root key opens the vault");
    assert!(refused.contains("do not open"), "{refused}");
    fs::write(&file, after).unwrap();
    House::open(home).unwrap_or_else(|error| panic!("{error}")).read(&ada, "b-service", "").expect(200);
}

#[test]
fn wrong_passphrases_are_answered_ever_more_slowly_while_the_vault_is_open_too() {
    let house = House::start();
    let admin = house.holder(Role::KeyAdmin);
    let rotate = |passphrase: &str| {
        house.post("/v1/keys/operations", &json!({"operation": "rotate-root", "passphrase": passphrase})).by(&admin).send()
    };
    for _ in 0..3 {
        rotate(NEXT).refused(403, "wrong-passphrase");
    }
    // Not even the right one is tried before its time.
    for passphrase in [NEXT, PASSPHRASE] {
        assert_eq!(rotate(passphrase).refused(429, "rate-limited").header("retry-after"), Some("1"));
    }
    house.home.turn(SignedDuration::from_secs(2));
    rotate(NEXT).refused(403, "wrong-passphrase");
    rotate(NEXT).refused(429, "rate-limited");
    house.home.turn(SignedDuration::from_secs(3));
    rotate(PASSPHRASE).expect(200);
    rotate(NEXT).refused(403, "wrong-passphrase");
    rotate(PASSPHRASE).expect(200);
}

#[test]
fn the_root_key_goes_to_shares_and_back_and_no_record_is_touched() {
    let house = House::start();
    let ada = house.ada();
    house.contact(&ada);
    let read = |house: &House| house.read(&ada, "b-service", "").expect(200).json()["records"].clone();
    let records = read(&house);
    let home = house.close();

    let yard = Yard::new();
    std::os::unix::fs::symlink(home.path(), yard.vault()).unwrap();
    let (passphrase, next) = (yard.secret("passphrase", PASSPHRASE), yard.secret("next", NEXT));
    owned(&yard.path("short"), "short");
    let folder = yard.text("shares");
    let to_shares = ["--to", "shares", "--shares", "2-of-3", "--shares-to", folder.as_str(), "--passphrase-file"];
    yard.migrate(&["--to", "passphrase", "--passphrase-file", &passphrase, "--new-passphrase-file", &yard.text("short")])
        .bad("12 characters");
    yard.migrate(&["--to", "passphrase", "--passphrase-file", &next, "--new-passphrase-file", &next]).bad("passphrase");
    let said = yard.migrate(&[&to_shares[..], &[passphrase.as_str()]].concat()).good();
    assert_eq!((&said["from"], &said["to"]), (&"passphrase".into(), &"shares".into()));
    yard.does_not_serve(&["--passphrase-file", &passphrase], "held in another way: shares");
    let (one, three) = (yard.text("shares/share-1"), yard.text("shares/share-3"));
    let shares = ["--share-file", one.as_str(), "--share-file", three.as_str()];
    yard.opens(&shares);
    yard.migrate(&[&["--to", "passphrase", "--new-passphrase-file", &passphrase], &shares[..]].concat()).good();
    yard.does_not_serve(&shares, "held in another way: passphrase");
    let house = House::open(home).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read(&house), records);
}

#[test]
fn a_vault_with_a_passphrase_that_has_lost_its_root_file_says_so_and_opens_when_it_is_back() {
    let (yard, passphrase) = with_passphrase();
    let by = ["--passphrase-file", passphrase.as_str()];
    super::a_lost_root_file_is_missed_where_it_is_needed(&yard, &by, &by);
}
