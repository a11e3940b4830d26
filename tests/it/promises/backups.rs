//! p51: a backup brings nobody back who was erased, and everybody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keys::attacker::{Held, Loot, attack};
use keys::secret::SecretString;
use oubliette::audit;
use oubliette::backup::Progress;
use oubliette::config::{Config, Seal};
use oubliette::model::caller::Role;
use oubliette::model::ids::{SubjectId, TenantId};
use oubliette::vault::VaultConfig;
use oubliette::vault::restore::{self, Drill, KeyFiles, RestoreError, Restored};
use serde_json::{Value, json};

use crate::house::{Home, House, PASSPHRASE, copy_tree};

const SLOT: usize = 4_096;

/// Beside the vault's folder, so that a copy of the vault has a target of its own.
pub(crate) fn target(home: &Home) -> PathBuf {
    target_of(home.path())
}

fn target_of(dir: &Path) -> PathBuf {
    dir.with_extension("backup")
}

pub(crate) fn with_target(config: &mut Config) {
    config.backup.target = Some(target_of(&config.dir));
    config.backup.every_seconds = 0;
}

fn after_backup(config: &mut Config) {
    with_target(config);
    config.backup.seal = Seal::AfterBackup;
}

/// Makes a backup through the API.
pub(crate) fn back_up(house: &House, full: bool) -> Value {
    let body = json!({"operation": "backup", "full": full});
    let reply = house.post("/v1/keys/operations", &body).by(&house.holder(Role::KeyAdmin)).send().expect(200).json();
    assert_eq!(reply["state"], "done", "{reply}");
    reply["backup"].clone()
}

pub(crate) fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_tree(folder, copy.path());
    copy
}

/// The vault's folder with nothing but its keys and configuration, as on a new machine.
pub(crate) fn only_keys(home: &Home) -> Arc<Home> {
    let bare = home.copy();
    fs::remove_dir_all(bare.path().join("data")).unwrap();
    bare
}

pub(crate) fn bring_back(bare: &Home, from: &Path, number: Option<u64>) -> Result<Restored, RestoreError> {
    let (config, holder) = (VaultConfig::in_dir(bare.path()), SecretString::from(PASSPHRASE.to_owned()));
    restore::restore(&config, &bare.clock, from, number, &holder, &Progress::default())
}

fn alias_of(house: &House, email: &str) -> crate::https::Reply {
    let body = json!({"type": "email", "value": email});
    house.post("/v1/subject-lookups", &body).by(&house.holder(Role::Writer)).purpose("a-account").send()
}

/// Every row in the files of a target, read by a second reader that follows FORMAT.md.
fn rows_in(folder: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rows.extend(rows_in(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        if !bytes.starts_with(b"PVBACKF1") || bytes[8] == 3 {
            continue;
        }
        let mut rest = &bytes[64..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let mut payload = &after[8..8 + length];
            rest = &after[8 + length + 16..];
            while let Some((key, after)) = payload.split_first_chunk::<2>() {
                let (key, after) = after.split_at(usize::from(u16::from_be_bytes(*key)));
                let (length, after) = after.split_first_chunk::<4>().unwrap();
                let length = match u32::from_be_bytes(*length) {
                    u32::MAX => None,
                    length => Some(length as usize),
                };
                let (value, after) = after.split_at(length.unwrap_or(0));
                if length.is_some() {
                    rows.push((key.to_vec(), value.to_vec()));
                }
                payload = after;
            }
        }
    }
    rows
}

fn attacked(home: &Home, from: &Path, tenant: TenantId, slots: &[Vec<u8>]) -> Loot {
    let root = fs::read(home.path().join("keys/root")).unwrap();
    let vault = keys::root::vault(&home.path().join("keys/root")).unwrap();
    let rows = rows_in(from);
    assert!(rows.len() > 20);
    attack(&Held { vault, tenant: *tenant.bytes(), root: &root, passphrase: PASSPHRASE, slots, rows: &rows, strays: &[] })
}

fn slots(home: &Home) -> Vec<Vec<u8>> {
    fs::read(home.path().join("keys/keyring")).unwrap().chunks(SLOT).map(<[u8]>::to_vec).collect()
}

fn id(text: &str) -> [u8; 16] {
    *text.parse::<SubjectId>().unwrap().bytes()
}

#[test]
fn promise_p51_yesterdays_backup_brings_the_living_back_and_nobody_who_was_erased_today() {
    let house = House::start_with(with_target);
    let [ada, bob, cleo] = [(); 3].map(|()| house.ada());
    [&ada, &bob, &cleo].iter().for_each(|subject| drop(house.contact(subject)));
    let second = house.write(&cleo, &["a-account"], json!({"name": "Cleo"}));
    let tenant = house.tenant(0).id();
    let yesterday = back_up(&house, true);
    assert_eq!(yesterday["kind"], "full");
    let number = yesterday["number"].as_u64().unwrap();
    let old_target = copy_of(&target(&house.home));
    let old_slots = slots(&house.home);

    // Today: one is erased, one loses a group, one a record (whose siblings get new wraps), one comes, and the epoch turns.
    let certificate = house.erase_subject(&ada).json();
    let covered = &certificate["certificate"]["backups"][0];
    assert_eq!(covered["target"], json!(target(&house.home)), "{certificate}");
    house.erase(&json!({"subject": bob, "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}));
    let path = format!("/v1/subjects/{cleo}/records/{second}");
    house.delete(&path).by(&house.holder(Role::Writer)).purpose("a-account").send().expect(204);
    let dora = house.ada();
    house.contact(&dora);
    let erasure = certificate["id"].as_str().unwrap().to_owned();
    let mine = target(&house.home);
    let home = house.close();

    // The adversary has the old backup, today's keyring and the passphrase: nothing opens. With yesterday's keyring it would.
    let loot = attacked(&home, old_target.path(), tenant, &slots(&home));
    assert!(loot.subjects.is_empty() && loot.fields.is_empty() && !loot.has_system_keys());
    let loot = attacked(&home, old_target.path(), tenant, &old_slots);
    assert!(loot.subjects.contains(&id(&ada)) && loot.fields.keys().any(|(subject, _)| *subject == id(&ada)), "the control");
    // With the newest tree rows the living open, and nobody else.
    let loot = attacked(&home, &mine, tenant, &slots(&home));
    assert!([&bob, &cleo, &dora].iter().all(|living| loot.subjects.contains(&id(living))));
    assert!(!loot.subjects.contains(&id(&ada)) && loot.fields.keys().all(|(subject, _)| *subject != id(&ada)));

    // Yesterday's backup without the newest tree rows is refused, and says why.
    let bare = only_keys(&home);
    let refused = bring_back(&bare, old_target.path(), None).unwrap_err();
    assert!(matches!(refused, RestoreError::Stale { .. }) && refused.to_string().contains("newest tree rows"), "{refused}");
    // Until a restore has come to its end nobody serves.
    assert!(House::open(bare.clone()).is_err_and(|why| why.contains("restore did not finish")));

    let restored = bring_back(&bare, &mine, Some(number)).unwrap();
    assert_eq!((restored.backup, restored.erased_again, restored.people), (number, 1, 3), "{restored:?}");
    assert_eq!((restored.ended.as_deref(), restored.lost_entries, restored.lost_writes), (None, None, 0), "{restored:?}");
    let public = home.public_key();
    let report = oubliette::vault::check::check(&VaultConfig::in_dir(bare.path()), &public).unwrap();
    assert_eq!(report.first_break, None);
    let back = House::open(bare.clone()).unwrap_or_else(|why| panic!("{why}"));
    back.get("/readyz").send().expect(200);
    back.read(&ada, "b-service", "").refused(410, "erased");
    for living in [&bob, &cleo, &dora] {
        assert!(back.read(living, "b-service", "name").expect(200).text().contains("Ada"));
    }
    assert_ne!(back.read(&bob, "c-marketing", "email").status, 200);
    // The certificate and its proof came along, and what found her finds nobody.
    let path = format!("/v1/erasures/{erasure}");
    let kept = back.get(&path).by(&back.holder(Role::PrivacyOfficer)).send().expect(200);
    audit::certificate::verify_certificate(kept.text().as_bytes(), &public).unwrap();
    assert_ne!(alias_of(&back, "person1@example.org").status, 200);
    // It goes on as the vault that it is: writes, erases, and its backups are of its own target from here on.
    let eve = back.ada();
    back.contact(&eve);
    back.erase_subject(&eve);
    back_up(&back, false);
    drop(back.close());
    let report = oubliette::vault::check::check(&VaultConfig::in_dir(bare.path()), &public).unwrap();
    assert_eq!(report.first_break, None);
    for folder in [target(&home), target(&bare)] {
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn after_backup_erases_nobody_before_the_target_holds_the_new_tree_rows() {
    let house = House::start_with(after_backup);
    let ada = house.ada();
    house.contact(&ada);
    let body = json!({"subject": ada, "scope": "subject", "cause": "request"});
    let officer = house.holder(Role::PrivacyOfficer);
    let opened = house.post("/v1/erasures", &body).by(&officer).send().expect(201).member("id");
    let approve = || {
        let path = format!("/v1/erasures/{opened}/approvals");
        house.post(&path, &json!({})).by(&house.second(Role::PrivacyOfficer)).send()
    };
    let epoch = || house.get("/v1/keys").by(&house.holder(Role::KeyAdmin)).send().expect(200).json()["keys"][1]["epoch"].clone();
    // There is no backup yet.
    approve().refused(503, "store-unavailable");
    back_up(&house, false);
    // The target was taken away from under the vault.
    let (mine, away) = (target(&house.home), target(&house.home).with_extension("away"));
    fs::rename(&mine, &away).unwrap();
    approve().refused(503, "store-unavailable");
    assert_eq!(epoch(), 1);
    house.read(&ada, "b-service", "name").expect(200);
    house.contact(&ada);
    // It is there again; what it missed makes the next backup a full one.
    fs::rename(&away, &mine).unwrap();
    approve().refused(503, "store-unavailable");
    assert_eq!(back_up(&house, false)["kind"], "full");
    let sealed = approve().expect(200).json();
    assert_eq!((&sealed["state"], epoch()), (&json!("sealed"), json!(2)));
    let certificate = &sealed["certificate"];
    assert_eq!(certificate["backups"][0]["target"], json!(mine), "{certificate}");
    assert!(!certificate["self_test"]["not_checked"].to_string().contains("backups"), "{certificate}");
    let home = house.close();
    // What was refused three times was never carried out, and the trail and the target agree on that.
    let bare = only_keys(&home);
    let restored = bring_back(&bare, &mine, None).unwrap();
    assert_eq!((restored.epoch, restored.ended, restored.people), (2, None, 0));
    let report = oubliette::vault::check::check(&VaultConfig::in_dir(bare.path()), &home.public_key()).unwrap();
    assert_eq!(report.first_break, None);
    fs::remove_dir_all(&mine).unwrap();
}

#[test]
fn an_immediate_erasure_goes_on_without_the_target_and_the_certificate_says_so() {
    let house = House::start_with(with_target);
    let ada = house.ada();
    back_up(&house, false);
    let (mine, away) = (target(&house.home), target(&house.home).with_extension("away"));
    fs::rename(&mine, &away).unwrap();
    let certificate = house.erase_subject(&ada).json()["certificate"].clone();
    assert_eq!(certificate["backups"], json!([]));
    let not_checked = certificate["self_test"]["not_checked"].to_string();
    assert!(not_checked.contains("the target does not hold the newest tree rows"), "{not_checked}");
    let home = house.close();
    // That target alone does not bring the vault back any more, and the restore says what is missing.
    let refused = bring_back(&only_keys(&home), &away, None).unwrap_err();
    assert!(matches!(refused, RestoreError::Stale { epoch: 1, .. }), "{refused}");
    fs::remove_dir_all(&away).unwrap();
    let _ = fs::remove_dir_all(&mine);
}

#[test]
fn damaged_foreign_and_cut_off_files_of_a_target_are_named() {
    let house = House::start_with(with_target);
    let ada = house.ada();
    house.contact(&ada);
    back_up(&house, true);
    house.contact(&ada);
    back_up(&house, false);
    let home = house.close();
    let mine = target(&home);
    let drill = |from: &Path| {
        let scratch = tempfile::tempdir().unwrap();
        let keys = home.path().join("keys");
        let drill = Drill { keys: KeyFiles::from(&keys), scratch: scratch.path(), from, number: None, sample: 10 };
        restore::drill(&drill, &home.clock, &SecretString::from(PASSPHRASE.to_owned()), &Progress::default())
    };
    let drilled = drill(&mine).unwrap();
    assert_eq!((drilled.people, drilled.records), (1, 2));
    assert!(drilled.fields >= 8 && drilled.rows_checked > 10, "{drilled:?}");
    let mut files = Vec::new();
    for folder in ["log", "trail"] {
        files.extend(fs::read_dir(mine.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    for entry in fs::read_dir(&mine).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() && entry.file_name().unwrap().to_str().unwrap().starts_with("base-") {
            true => files.extend(fs::read_dir(entry).unwrap().map(|entry| entry.unwrap().path())),
            false if entry.extension().is_some_and(|end| end == "json") => files.push(entry),
            false => {}
        }
    }
    assert!(files.len() >= 5, "{files:?}");
    // The older of two backups can be damaged without the newer one losing anything.
    let newest = files.iter().filter(|path| path.extension().is_some()).max().unwrap().clone();
    for path in files.iter().filter(|path| path.extension().is_none() || **path == newest) {
        let whole = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        for wrong in [&changed[..], &whole[..whole.len() / 2], b"something else"] {
            fs::write(path, wrong).unwrap();
            match drill(&mine) {
                Err(error) => assert!(error.to_string().contains(name), "{name}: {error}"),
                // Behind a damaged manifest the one before it stands.
                Ok(drilled) => assert!(*path == newest && drilled.restored.backup < 1_000_000, "{name}"),
            }
        }
        fs::write(path, &whole).unwrap();
    }
    drill(&mine).unwrap();
    fs::remove_dir_all(&mine).unwrap();
}
