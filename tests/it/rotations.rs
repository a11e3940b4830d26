//! Keys that are turned over in the background: reading goes on, the old keys are worth nothing afterwards, and a process that is killed
//! goes on where it was.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use keys::attacker::{Held, Loot, attack};
use oubliette::audit::PublicKeys;
use oubliette::config::Config;
use oubliette::model::caller::Role;
use oubliette::model::ids::{SubjectId, TenantId};
use oubliette::store::Store;
use oubliette::vault::VaultConfig;
use oubliette::vault::check::check;
use serde_json::{Value, json};

use crate::crash::kill::asked;
use crate::house::{Home, House, PASSPHRASE};
use crate::https::Reply;
use crate::recorder::Random;

pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// Nothing goes on by itself: the test says when.
pub(crate) fn held(config: &mut Config) {
    config.keys.background_percent = 0;
}

/// As fast as it goes.
pub(crate) fn fast(config: &mut Config) {
    config.keys.background_percent = 100;
}

impl House {
    pub(crate) fn operate(&self, body: &Value) -> Reply {
        self.post("/v1/keys/operations", body).by(&self.holder(Role::KeyAdmin)).send()
    }

    /// Asks for a rotation: its id.
    pub(crate) fn rotate(&self, kind: &str) -> String {
        self.operate(&json!({"operation": format!("rotate-{kind}")})).expect(202).json()["job"]["id"].as_str().unwrap().to_owned()
    }

    fn rotate_one(&self, subject: &str) -> String {
        let body = json!({"operation": "rotate-subject", "subject": subject});
        self.operate(&body).expect(202).json()["job"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn listed(&self) -> Value {
        self.get("/v1/keys").by(&self.holder(Role::KeyAdmin)).send().expect(200).json()
    }

    pub(crate) fn job(&self, id: &str) -> Value {
        self.listed()["jobs"].as_array().unwrap().iter().find(|job| job["id"] == id).cloned().unwrap()
    }

    pub(crate) fn key(&self, kind: &str) -> Value {
        self.listed()["keys"].as_array().unwrap().iter().find(|key| key["kind"] == kind).cloned().unwrap()
    }

    pub(crate) fn turn_keys(&self) {
        self.wait(self.vault.turn_keys()).unwrap();
    }

    /// Waits for a rotation that goes on by itself.
    pub(crate) fn until_done(&self, id: &str) -> Value {
        loop {
            let job = self.job(id);
            match job["state"].as_str() {
                Some("waiting" | "running") => std::thread::sleep(Duration::from_millis(50)),
                _ => return job,
            }
        }
    }

    pub(crate) fn named(&self, name: &str) -> usize {
        self.events("").iter().filter(|event| event["operation"] == name).count()
    }

    /// Somebody with some records, one of them too large for one row, one of them rectified.
    fn somebody(&self, canary: &str) -> String {
        self.somebody_watched(canary, |_| {})
    }

    /// The same, with a look before the record is rectified.
    fn somebody_watched(&self, canary: &str, mut look: impl FnMut(&Self)) -> String {
        let id = self.ada();
        let record = self.write(&id, &["a-account", "b-service", "c-marketing"], json!({"name": format!("{canary} one")}));
        look(self);
        let patch = json!({"fields": {"name": format!("{canary} two")}});
        let path = format!("/v1/subjects/{id}/records/{record}");
        let patched = self.patch(&path, &patch).by(&self.holder(Role::Writer)).purpose("a-account").header("if-match", "\"1\"");
        patched.send().expect(200);
        self.write(&id, &["b-service"], json!({"address": format!("{canary} Street")}));
        id
    }
}

/// What the adversary opens who has these rows, the root key, and this keyring.
pub(crate) fn loot(home: &Home, keyring: &[u8], rows: &[Row]) -> Loot {
    let root = fs::read(home.path().join("keys/root")).unwrap();
    let slots: Vec<Vec<u8>> = keyring.chunks(4_096).map(<[u8]>::to_vec).collect();
    let vault = keys::root::vault(&home.path().join("keys/root")).unwrap();
    let tenant = *TenantId::from_bytes([1; 16]).bytes();
    attack(&Held { vault, tenant, root: &root, passphrase: PASSPHRASE, slots: &slots, rows, strays: &[] })
}

fn reads(loot: &Loot, canary: &str) -> bool {
    let holds = |plain: &[u8]| plain.windows(canary.len()).any(|window| window == canary.as_bytes());
    loot.fields.values().flatten().any(|(_, plain)| holds(plain))
}

/// Every row that ever was, and the keyring as it was when somebody copied it.
pub(crate) struct Copied {
    pub(crate) rows: HashSet<Row>,
    pub(crate) keyring: Vec<u8>,
}

impl Copied {
    pub(crate) fn of(house: &House) -> Self {
        let mut copied = Self { rows: HashSet::new(), keyring: keyring(house) };
        copied.look(house);
        copied
    }

    pub(crate) fn look(&mut self, house: &House) {
        self.rows.extend(now(house));
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.iter().cloned().collect()
    }
}

pub(crate) fn keyring(house: &House) -> Vec<u8> {
    fs::read(house.home.path().join("keys/keyring")).unwrap()
}

pub(crate) fn now(house: &House) -> Vec<Row> {
    house.store.as_ref().unwrap().scan(b"", None, usize::MAX).unwrap()
}

#[test]
fn reading_and_writing_go_on_while_the_tree_and_everybodys_records_get_new_keys() {
    let house = House::start_with(fast);
    let people: Vec<String> = (0..30).map(|number| house.somebody(&format!("kz{number}"))).collect();
    let large = house.ada();
    for number in 0..5 {
        house.write(&large, &["a-account"], json!({"name": "x".repeat(40), "address": format!("{number}").repeat(180)}));
    }
    let (over, read) = (AtomicBool::new(false), AtomicUsize::new(0));
    let jobs = std::thread::scope(|scope| {
        let (house, people, over, read) = (&house, &people, &over, &read);
        let readers: Vec<_> = (0..2)
            .map(|part| {
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        for (number, id) in people.iter().enumerate().filter(|(number, _)| number % 2 == part) {
                            let text = house.read(id, "b-service", "name,address").expect(200).text();
                            assert!(text.contains(&format!("kz{number} two")) && text.contains("Street"), "{text}");
                            read.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        let writer = scope.spawn(move || {
            let mut wrote = 0;
            while !over.load(Ordering::Relaxed) {
                house.write(&people[wrote % people.len()], &["a-account"], json!({"name": "later"}));
                wrote += 1;
            }
        });
        let mut jobs = Vec::new();
        // A reader that was refused has ended.
        while jobs.len() < 3 || read.load(Ordering::Relaxed) < 300 && !readers.iter().any(|reader| reader.is_finished()) {
            jobs.push(house.until_done(&house.rotate(["subjects", "tree"][jobs.len() % 2])));
        }
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        jobs
    });
    for job in &jobs {
        assert_eq!((&job["state"], &job["permille"], &job["failed"]), (&json!("done"), &json!(1_000), &json!(0)), "{job}");
    }
    assert_eq!((&jobs[0]["done"], &jobs[2]["done"]), (&json!(31), &json!(31)));
    assert_eq!((house.named("rotateTree"), house.named("rotateSubjects")), (jobs.len() / 2, jobs.len().div_ceil(2)));
    // A new version is written over the renewed one, and erasing works.
    house.erase_subject(&people[0]);
    let house = house.restart();
    house.read(&people[0], "b-service", "name").refused(410, "erased");
    for id in &people[1..] {
        house.read(id, "b-service", "name,address").expect(200);
    }
    house.read(&large, "a-account", "name,address").expect(200);
    let public = house.home.public_key();
    let home = house.close();
    let config = VaultConfig { on_fatal: std::sync::Arc::new(|_| {}), ..VaultConfig::in_dir(home.path()) };
    assert_eq!(format!("{:?}", check(&config, &public).unwrap().first_break), "None", "the trail verifies, row by row");
}

#[test]
fn who_copied_the_keys_of_before_reads_nothing_of_a_turned_over_person_that_was_written_since() {
    let house = House::of_controllers_with(1, held);
    let mut seen = Copied::of(&house);
    let [ada, eve] = ["kzada", "kzeve"].map(|canary| house.somebody_watched(canary, |house| seen.look(house)));
    // Somebody copies everything, the keyring too.
    let mut copied = Copied { rows: seen.rows, ..Copied::of(&house) };
    copied.look(&house);
    assert!(reads(&loot(&house.home, &copied.keyring, &copied.rows()), "kzada one"), "the test has teeth");
    house.rotate_one(&ada);
    house.turn_keys();
    copied.look(&house);
    for (id, canary) in [(&ada, "kzada since"), (&eve, "kzeve since")] {
        house.write(id, &["b-service"], json!({"name": canary}));
    }
    copied.look(&house);
    let with_old_keys = loot(&house.home, &copied.keyring, &copied.rows());
    assert!(reads(&with_old_keys, "kzada two"), "what was copied stays readable to whoever copied it");
    assert!(reads(&with_old_keys, "kzeve since"), "the test has teeth: without a rotation new records open to old keys");
    assert!(!reads(&with_old_keys, "kzada since"));

    // And the old bytes: whoever has the keys of today reads a version of eve's record that was replaced, and none of ada's.
    let with_new_keys = loot(&house.home, &keyring(&house), &copied.rows());
    assert!(reads(&with_new_keys, "kzeve one") && reads(&with_new_keys, "kzada two") && reads(&with_new_keys, "kzada since"));
    assert!(!reads(&with_new_keys, "kzada one"), "an old version of a turned over record opens");
    // What the row of the rotation still says names nobody.
    let subject: SubjectId = ada.parse().unwrap();
    let job = now(&house).into_iter().find(|(key, _)| key[0] == b'J').unwrap();
    let latest = loot(&house.home, &keyring(&house), &now(&house));
    let (_, plain) = latest.rows.iter().find(|(key, _)| *key == job.0).expect("the adversary opens the row of a rotation");
    assert!(!plain.windows(16).any(|window| window == subject.bytes()));
}

#[test]
fn who_copied_the_keys_of_before_finds_no_way_to_somebody_who_came_after_the_tree_was_turned_over() {
    let house = House::of_controllers_with(1, held);
    house.somebody("kzada");
    let copied = Copied::of(&house);
    house.somebody("kzeve");
    let later: Vec<Row> = now(&house);
    let all = |later: &[Row]| copied.rows.iter().chain(later).cloned().collect::<Vec<Row>>();
    assert!(reads(&loot(&house.home, &copied.keyring, &all(&later)), "kzeve two"), "the test has teeth");

    house.rotate("tree");
    house.turn_keys();
    let mut copied = Copied { rows: copied.rows.clone(), keyring: copied.keyring.clone() };
    house.somebody("kzmax");
    copied.look(&house);
    let loot_of_old = loot(&house.home, &copied.keyring, &copied.rows());
    assert!(!reads(&loot_of_old, "kzmax"));
    assert!(reads(&loot(&house.home, &keyring(&house), &now(&house)), "kzmax two"));
}

#[test]
fn a_rotation_rests_goes_on_and_ends_as_it_is_told() {
    let house = House::start_with(held);
    let ada = house.somebody("kz");
    let change = |wish: &str, job: &str| house.operate(&json!({"operation": format!("{wish}-job"), "job": job}));
    let tree = house.rotate("tree");
    assert_eq!(house.job(&tree)["state"], "waiting");
    house.operate(&json!({"operation": "rotate-tree"})).refused(409, "state-conflict");
    let one = house.rotate_one(&ada);
    change("resume", &tree).refused(409, "state-conflict");
    assert_eq!(change("pause", &tree).expect(200).json()["job"]["state"], "paused");
    change("pause", &tree).refused(409, "state-conflict");
    house.turn_keys();
    assert_eq!((house.job(&tree)["state"].clone(), house.job(&one)["state"].clone()), (json!("paused"), json!("done")));
    // It rests over a restart too.
    let house = house.restart();
    let change = |wish: &str, job: &str| house.operate(&json!({"operation": format!("{wish}-job"), "job": job}));
    house.turn_keys();
    assert_eq!(house.job(&tree)["state"], "paused");
    assert_eq!(change("resume", &tree).expect(200).json()["job"]["state"], "waiting");
    house.turn_keys();
    assert_eq!(house.job(&tree)["state"], "done");
    for wish in ["pause", "resume", "cancel"] {
        change(wish, &tree).refused(409, "state-conflict");
    }
    let second = house.rotate("subjects");
    assert_eq!(change("cancel", &second).expect(200).json()["job"]["state"], "cancelled");
    house.turn_keys();
    assert_eq!((house.job(&second)["done"].clone(), house.named("rotateSubjects")), (json!(0), 0));
    change("cancel", "job_0000000000000000000000000a").refused(404, "not-found");
    house.operate(&json!({"operation": "rotate-subject", "subject": "sub_0000000000000000000000000a"})).refused(404, "not-found");
    house.operate(&json!({"operation": "rotate-tree", "subject": ada})).refused(422, "invalid-body");
    let reader = house.holder(Role::Reader);
    let tree = json!({"operation": "rotate-tree"});
    house.post("/v1/keys/operations", &tree).by(&reader).send().refused(403, "role-forbidden");
}

#[test]
fn somebody_who_is_erased_before_their_turn_takes_the_rotation_with_them_and_stops_no_other() {
    let house = House::start_with(held);
    let (ada, eve) = (house.somebody("kzada"), house.somebody("kzeve"));
    let one = house.rotate_one(&ada);
    let all = house.rotate("subjects");
    house.erase_subject(&ada);
    house.turn_keys();
    assert_eq!((house.job(&one)["state"].clone(), house.job(&one)["done"].clone()), (json!("done"), json!(0)));
    assert_eq!((house.job(&all)["state"].clone(), house.job(&all)["done"].clone()), (json!("done"), json!(1)));
    house.read(&eve, "b-service", "name").expect(200);
}

#[test]
fn a_key_that_is_past_its_time_is_an_alarm_once_and_keys_are_turned_over_at_the_time_that_was_set() {
    let house = House::start_with(|config| {
        held(config);
        (config.keys.tree_overdue_days, config.keys.epoch_rotate_days, config.keys.subjects_rotate_days) = (20, 10, 40);
    });
    house.somebody("kz");
    house.turn_keys();
    let epoch = house.key("epoch")["epoch"].clone();
    assert_eq!(house.key("tree")["state"], "active");
    assert_eq!(house.key("tree")["overdue_at"], "2026-12-13T10:00:00Z");
    assert_eq!(house.named("keyOverdue"), 0);

    house.home.turn(SignedDuration::from_hours(24 * 21));
    let house = house.restart();
    for _ in 0..2 {
        house.turn_keys();
    }
    assert_eq!(house.key("tree")["state"], "overdue");
    assert_eq!(house.named("keyOverdue"), 1, "it is told once");
    assert_ne!(house.key("epoch")["epoch"], epoch, "the epoch was due");
    assert_eq!((house.named("rotateEpoch"), house.named("rotateSubjects")), (1, 0));
    house.wait(house.vault.deliver()).unwrap();
    let letters = crate::house::files(&house.home.path().join("letters"));
    assert!(
        letters.iter().any(|letter| fs::read_to_string(letter).is_ok_and(|text| text.contains("key-overdue"))),
        "{letters:?}"
    );

    house.rotate("tree");
    house.turn_keys();
    assert_eq!((house.key("tree")["state"].clone(), house.key("tree")["age_seconds"].clone()), (json!("active"), json!(0)));
    house.home.turn(SignedDuration::from_hours(24 * 20));
    let house = house.restart();
    house.turn_keys();
    house.turn_keys();
    assert_eq!((house.named("rotateSubjects"), house.named("keyOverdue")), (1, 2), "one by the schedule, and one more alarm");
    let job = house.listed()["jobs"].as_array().unwrap().iter().find(|job| job["kind"] == "subjects").cloned().unwrap();
    assert_eq!((job["state"].clone(), job["caller"].clone()), (json!("done"), Value::Null));
}

#[test]
fn keys_are_listed_page_by_page() {
    let house = House::start_with(held);
    let admin = house.holder(Role::KeyAdmin);
    let (mut kinds, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("/v1/keys?limit=3{cursor}")).by(&admin).send().expect(200).json();
        let keys = page["keys"].as_array().unwrap();
        assert!(keys.len() <= 3);
        for key in keys {
            assert!(key["state"].is_string() && key["age_seconds"].is_i64() && key["id"].is_string(), "{key}");
        }
        kinds.extend(keys.iter().map(|key| key["kind"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    for kind in ["root", "epoch", "tree", "subjects", "index", "token", "row", "trail-signing"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind} among {kinds:?}");
    }
    house.get("/v1/keys?cursor=x").by(&admin).send().refused(400, "bad-cursor");
}

/// The built binary against a house: what it prints, and whether it was content.
fn command(house: &House, arguments: &[&str]) -> (bool, Value, String) {
    let token = house.home.path().join("admin.token");
    fs::write(&token, &house.holder(Role::KeyAdmin).text).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_oubliette"))
        .args(["--json", "keys"])
        .args(arguments)
        .args(["--url", &format!("https://{}", house.address), "--ca"])
        .arg(house.home.path().join("tls/ca.pem"))
        .arg("--token-file")
        .arg(token)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success(), value, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_command_line_turns_keys_over_waits_for_the_end_and_shows_the_rotations() {
    let house = House::start_with(fast);
    let ada = house.somebody("kz");
    for arguments in [vec!["rotate", "--kind", "tree"], vec!["rotate", "--kind", "subject", "--subject", &ada]] {
        let (well, job, errors) = command(&house, &arguments);
        assert!(well && job["state"] == "done", "{job} {errors}");
    }
    let (well, job, errors) = command(&house, &["rotate", "--kind", "subjects", "--no-wait"]);
    assert!(well, "{errors}");
    let id = job["id"].as_str().unwrap();
    assert_eq!(house.until_done(id)["state"], "done");
    let (_, jobs, _) = command(&house, &["jobs"]);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 3);
    assert_eq!(jobs["jobs"][0]["id"], id);
    let (well, _, errors) = command(&house, &["pause", id]);
    assert!(!well && errors.contains("state-conflict"), "{errors}");
    let (well, _, errors) = command(&house, &["rotate", "--kind", "tree", "--subject", &ada]);
    assert!(!well && errors.contains("--kind subject"), "{errors}");
    let (well, answer, _) = command(&house, &["rotate"]);
    assert!(well && answer["operation"] == "rotate-epoch");
    house.read(&ada, "b-service", "name").expect(200);
}

/// The built binary, serving the vault of a house that is closed.
fn serve(home: &Path, passphrase: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--dir"]).arg(home).arg("--passphrase-file").arg(passphrase);
    command.env("OUBLIETTE_KEYS__BACKGROUND_PERCENT", "100").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// `OUBLIETTE_KILLS=200` for the full form; `OUBLIETTE_SEED` repeats a run's moments.
#[test]
fn a_rotation_that_is_killed_again_and_again_loses_nobody_and_comes_to_its_end() {
    let mut random = Random(asked("OUBLIETTE_SEED", u64::from(std::process::id())));
    let mut house = House::start_with(held);
    let people: Vec<String> = (0..40).map(|number| house.somebody(&format!("kz{number}"))).collect();
    let passphrase = house.home.path().join("passphrase");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let kinds = ["tree", "subjects", "index", "tenant", "signing"];
    for round in 0..asked("OUBLIETTE_KILLS", 8) {
        let going = house.listed()["jobs"].as_array().unwrap().iter().any(|job| job["state"] != "done");
        if !going {
            house.rotate(kinds[round as usize % kinds.len()]);
        }
        let home = house.close();
        let mut child = serve(home.path(), &passphrase);
        std::thread::sleep(Duration::from_micros(400_000 + random.below(400_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        house = House::open(home).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let number = random.below(40) as usize;
        let text = house.read(&people[number], "b-service", "name,address").expect(200).text();
        assert!(text.contains(&format!("kz{number} two")), "{text}");
    }
    for kind in kinds {
        let going = house.listed()["jobs"].as_array().unwrap().iter().any(|job| job["kind"] == kind && job["state"] != "done");
        if !going {
            house.rotate(kind);
        }
    }
    house.turn_keys();
    for (number, id) in people.iter().enumerate() {
        let text = house.read(id, "b-service", "name,address").expect(200).text();
        assert!(text.contains(&format!("kz{number} two")) && text.contains("Street"), "{text}");
    }
    for kind in kinds {
        assert!(house.listed()["jobs"].as_array().unwrap().iter().any(|job| job["kind"] == kind && job["state"] == "done"));
    }
    let home = house.close();
    let public = PublicKeys::listed(&fs::read_to_string(home.path().join("vault.keys")).unwrap()).unwrap();
    let config = VaultConfig { on_fatal: std::sync::Arc::new(|_| {}), ..VaultConfig::in_dir(home.path()) };
    assert_eq!(format!("{:?}", check(&config, &public).unwrap().first_break), "None");
}
