//! A kill in the middle of a rotation leaves a vault that opens, a target that a drill accepts, and a rotation that goes on.
//!
//! One vault goes through many rounds: a process turns over one kind of key after the other and is killed at a random moment.
//! `OUBLIETTE_KILLS=200` for the full form; `OUBLIETTE_SEED` repeats a run's moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use oubliette::audit::PublicKeys;
use oubliette::model::ids::SubjectId;
use oubliette::model::wire::{OperateKeys, Page, Passphrase};
use serde_json::Value;

use super::backups::{back_up, drill, kill_after, newcomer, opened};
use super::house::{self, House, passphrase, place, process, runtime};
use super::kill::asked;
use crate::recorder::Random;

/// People in the vault, each with a record and an address.
const PEOPLE: u64 = 30;

/// Every kind of rotation, in turns.
fn rotation(number: u64) -> (&'static str, OperateKeys) {
    let passphrase = || Some(Passphrase(passphrase()));
    match number % 7 {
        0 => ("tree", OperateKeys::RotateTree {}),
        1 => ("subjects", OperateKeys::RotateSubjects {}),
        2 => ("index", OperateKeys::RotateIndex {}),
        3 => ("tenant", OperateKeys::RotateTenant {}),
        4 => ("signing", OperateKeys::RotateSigning {}),
        5 => ("epoch", OperateKeys::RotateEpoch {}),
        _ => ("root", OperateKeys::RotateRoot { passphrase: passphrase(), new_passphrase: None }),
    }
}

/// The rotations that the vault knows of, by kind and state.
async fn jobs(house: &House) -> Vec<(String, String)> {
    let answer = house.vault.keys(&house.call("keys", None), Page::default()).await.unwrap();
    let body: Value = serde_json::from_slice(&answer.body.unwrap()).unwrap();
    let text = |job: &Value, name: &str| job[name].as_str().unwrap().to_owned();
    body["jobs"].as_array().unwrap().iter().map(|job| (text(job, "kind"), text(job, "state"))).collect()
}

/// Waits until no rotation is under way.
async fn all_ended(house: &House) {
    while jobs(house).await.iter().any(|(_, state)| state == "waiting" || state == "running") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn rotates() {
    let Some((directory, setting)) = place() else { return };
    let first: u64 = setting.parse().unwrap();
    runtime().block_on(async {
        let house = opened(&directory).await;
        fs::write(directory.parent().unwrap().join("ready"), "").unwrap();
        for number in first.. {
            // What an earlier process left goes on by itself, and is not asked for twice.
            all_ended(&house).await;
            let (kind, operation) = rotation(number);
            house.vault.operate_keys(&house.call("keys", None), operation).await.unwrap_or_else(|why| panic!("{kind}: {why:?}"));
        }
    });
}

/// Everybody is found and read, as they were written.
async fn everybody_is_there(house: &House, people: &BTreeMap<u64, SubjectId>) {
    for (number, subject) in people {
        assert_eq!(house.find(&format!("p{number}@example.org")).await, Some(*subject), "{number}");
        let records = house.read(*subject, "a-account").await.unwrap();
        assert!(records.values().all(|(_, fields)| fields["name"] == format!("Number {number}")), "{records:?}");
        assert_eq!(records.len(), 1);
    }
}

fn audited(directory: &Path) {
    // Its signing key turned over too: the list leads from the newest to those of before.
    let keys = PublicKeys::listed(&fs::read_to_string(directory.join("vault.keys")).unwrap()).unwrap();
    let report = oubliette::vault::check::check(&house::config(directory), &keys).unwrap();
    assert_eq!(report.first_break, None);
}

#[test]
fn a_kill_during_any_rotation_leaves_a_vault_that_opens_and_a_backup_that_restores() {
    let seed = asked("OUBLIETTE_SEED", u64::from(std::process::id()));
    let rounds = asked("OUBLIETTE_KILLS", 8);
    let mut random = Random(seed);
    let home = house::Home::new();
    let directory = home.path().join("vault");
    fs::create_dir(&directory).unwrap();
    house::build(&directory);
    let mut people = BTreeMap::new();
    runtime().block_on(async {
        let house = opened(&directory).await;
        for number in 0..PEOPLE {
            people.insert(number, newcomer(&house, number).await);
        }
        back_up(&house, true).await;
        house.vault.close().await;
    });
    eprintln!("{rounds} kills of rotations, OUBLIETTE_SEED={seed}");
    let (mut cut_off, mut seen) = (BTreeMap::new(), 0);
    for round in 0..rounds {
        let ready = home.path().join("ready");
        let _ = fs::remove_file(&ready);
        let mut command = process("crash::rotations::rotates", &directory, &round.to_string());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = kill_after(child, Some(ready), random.below(900_000));
        assert!(!status.success() && status.code().is_none(), "it ended by itself: {status}");
        // As the kill left it, and as the next process leaves it.
        assert_eq!(drill(&directory).people, PEOPLE);
        runtime().block_on(async {
            let house = opened(&directory).await;
            for (kind, _) in jobs(&house).await.into_iter().filter(|(_, state)| state == "running") {
                *cut_off.entry(kind).or_insert(0) += 1;
            }
            everybody_is_there(&house, &people).await;
            house.vault.close().await;
        });
        seen += 1;
    }
    runtime().block_on(async {
        let house = opened(&directory).await;
        all_ended(&house).await;
        assert!(jobs(&house).await.iter().all(|(_, state)| state == "done"), "{:?}", jobs(&house).await);
        everybody_is_there(&house, &people).await;
        back_up(&house, true).await;
        house.vault.close().await;
    });
    audited(&directory);
    assert_eq!(drill(&directory).people, PEOPLE);
    eprintln!("{seen} kills; rotations that were cut off and went on: {cut_off:?}");
}
