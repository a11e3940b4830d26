//! A kill in the middle of a backup or a restore costs nothing but that backup or that restore.
//!
//! One vault goes through many rounds: a process writes, erases and makes backups and is killed at a random moment; then the vault
//! is opened, and the target goes through a drill with its keyring. Then restores are killed. `OUBLIETTE_KILLS=200` for the full
//! form; `OUBLIETTE_SEED` repeats a run's moments.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use oubliette::backup::{Progress, SealPolicy, Settings};
use oubliette::model::time::Clock;
use oubliette::model::wire::OperateKeys;
use oubliette::vault::restore::{self, Drill, Drilled, KeyFiles};
use oubliette::vault::{OpenError, Vault, VaultConfig};
use serde_json::json;

use super::house::{self, House, from, id_of, notice, passphrase, place, process, runtime, subject_erasure};
use super::kill::asked;
use crate::house::copy_tree;
use crate::recorder::Random;

/// Kills a process some time after it said that it is ready.
pub(super) fn kill_after(mut child: Child, ready: Option<PathBuf>, micros: u64) -> ExitStatus {
    while ready.as_ref().is_some_and(|ready| !ready.exists()) && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_micros(micros));
    let _ = child.kill();
    child.wait().unwrap()
}

fn with_target(directory: &Path) -> VaultConfig {
    let target = directory.parent().unwrap().join("target");
    let backup =
        Settings { targets: vec![target], every: None, keep: 2, seal: SealPolicy::AfterBackup, needed: 0, bytes_per_second: 0 };
    VaultConfig { backup: Some(backup), ..house::config(directory) }
}

pub(super) async fn opened(directory: &Path) -> House {
    let vault = Vault::open(&with_target(directory), Clock::system()).unwrap();
    House::unseal(vault, &directory.parent().unwrap().join("tokens")).await
}

pub(super) async fn back_up(house: &House, full: bool) {
    house.vault.operate_keys(&house.call("keys", None), OperateKeys::Backup { full }).await.unwrap();
}

pub(super) async fn newcomer(house: &House, number: u64) -> oubliette::model::ids::SubjectId {
    let aliases = json!([{"type": "email", "value": format!("p{number}@example.org")}]);
    let body = json!({"class": "consumer", "jurisdiction": "DE", "aliases": aliases, "notice": notice()});
    let call = house.call("writer", Some("a-account"));
    let made = house.vault.create_subjects(&call, vec![Ok(from(&body))]).await.unwrap().pop().unwrap().unwrap();
    let subject = id_of(&made);
    let record = json!({"kind": "contact", "purposes": ["a-account"], "fields": {"name": format!("Number {number}")}});
    house.write(subject, "a-account", record).await.unwrap();
    subject
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn writes_erases_and_backs_up() {
    let Some((directory, setting)) = place() else { return };
    let first: u64 = setting.parse().unwrap();
    runtime().block_on(async {
        let house = opened(&directory).await;
        fs::write(directory.parent().unwrap().join("ready"), "").unwrap();
        for number in first.. {
            let subject = newcomer(&house, number).await;
            back_up(&house, number % 3 == 0).await;
            if number % 2 == 0 {
                let erasure = house.open_erasure(subject_erasure(subject)).await.unwrap();
                house.approve(erasure).await.unwrap();
            }
        }
    });
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn restores() {
    let Some((directory, setting)) = place() else { return };
    let target = PathBuf::from(setting);
    restore::restore(&house::config(&directory), &Clock::system(), &target, None, &passphrase(), &Progress::default()).unwrap();
}

pub(super) fn drill(directory: &Path) -> Drilled {
    let home = directory.parent().unwrap();
    let keys = directory.join("keys");
    let drill = Drill { keys: KeyFiles::from(&keys), scratch: home, from: &home.join("target"), number: None, sample: 50 };
    restore::drill(&drill, &Clock::system(), &passphrase(), &Progress::default()).unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn a_kill_during_a_backup_or_a_restore_costs_nothing_else() {
    let seed = asked("OUBLIETTE_SEED", u64::from(std::process::id()));
    let rounds = asked("OUBLIETTE_KILLS", 12);
    let mut random = Random(seed);
    let home = house::Home::new();
    let directory = home.path().join("vault");
    fs::create_dir(&directory).unwrap();
    house::build(&directory);
    runtime().block_on(async {
        let house = opened(&directory).await;
        newcomer(&house, 0).await;
        back_up(&house, true).await;
        house.vault.close().await;
    });
    eprintln!("{rounds} kills of a backup, OUBLIETTE_SEED={seed}");
    let mut people = 0;
    for round in 0..rounds {
        let ready = home.path().join("ready");
        let _ = fs::remove_file(&ready);
        let first = (round + 1) * 100_000;
        let mut command = process("crash::backups::writes_erases_and_backs_up", &directory, &first.to_string());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = kill_after(child, Some(ready), random.below(900_000));
        assert!(!status.success() && status.code().is_none(), "it ended by itself: {status}");
        // As the kill left it, and as the next process leaves it.
        let drilled = drill(&directory);
        runtime().block_on(async {
            let house = opened(&directory).await;
            newcomer(&house, first - 1).await;
            house.vault.close().await;
        });
        let after = drill(&directory);
        // The target has a batch before the store has it: what the kill cut off in between, an epoch at the most, the drill played
        // and the next start took back. Nobody had been answered.
        assert!(
            after.restored.people > 0 && after.restored.epoch + 1 >= drilled.restored.epoch,
            "{:?} after {:?}",
            after.restored,
            drilled.restored
        );
        people = after.restored.people;
    }
    eprintln!("{rounds} kills of a restore, {people} people");
    let target = home.path().join("target");
    let mut unfinished = 0;
    for _ in 0..rounds {
        let new = tempfile::tempdir_in(home.path()).unwrap();
        copy_tree(&directory, new.path());
        fs::remove_dir_all(new.path().join("data")).unwrap();
        let mut command = process("crash::backups::restores", new.path(), target.to_str().unwrap());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        kill_after(child, None, random.below(2_500_000));
        let config = house::config(new.path());
        if !new.path().join("data").exists() {
            unfinished += 1;
            let refused = Vault::open(&config, Clock::system()).err().unwrap();
            assert!(matches!(refused, OpenError::Restoring | OpenError::NoData), "{refused}");
            let progress = Progress::default();
            let restored = restore::restore(&config, &Clock::system(), &target, None, &passphrase(), &progress).unwrap();
            assert_eq!(restored.people, people);
        }
        runtime().block_on(async {
            let vault = Vault::open(&config, Clock::system()).unwrap();
            vault.unseal(&passphrase()).await.unwrap();
            assert!(vault.is_ready().is_ok());
            vault.close().await;
        });
    }
    eprintln!("{unfinished} of them before the end");
}
