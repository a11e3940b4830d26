//! Several targets, and what a server says while a restore is under way.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oubliette::backup::{Progress, Step};
use oubliette::config::Config;
use oubliette::model::caller::Role;
use oubliette::vault::restore::RestoreError;
use oubliette::vault::restoring::UnderWay;
use serde_json::{Value, json};

use crate::house::{Home, House, PASSPHRASE};
use crate::https::{Connection, trusting};
use crate::promises::backups::{bring_back, only_keys, target};

fn second(home: &Home) -> PathBuf {
    home.path().with_extension("second")
}

fn two_targets(config: &mut Config) {
    config.backup.target = Some(config.dir.with_extension("backup"));
    config.backup.targets = vec![config.dir.with_extension("second")];
    config.backup.every_seconds = 0;
}

fn back_up(house: &House) -> Value {
    let body = json!({"operation": "backup"});
    house.post("/v1/keys/operations", &body).by(&house.holder(Role::KeyAdmin)).send().expect(200).json()
}

fn covered(certificate: &Value) -> Vec<String> {
    let targets = certificate["certificate"]["backups"].as_array().unwrap();
    targets.iter().map(|one| one["target"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_of_two_targets_brings_the_vault_back_and_one_that_was_away_is_mended() {
    let house = House::start_with(two_targets);
    let [ada, bob, cleo] = [(); 3].map(|()| house.ada());
    [&ada, &bob, &cleo].iter().for_each(|subject| drop(house.contact(subject)));
    let (one, two) = (target(&house.home), second(&house.home));
    let names = [&one, &two].map(|path| path.to_str().unwrap().to_owned());
    let made = back_up(&house);
    assert_eq!((&made["state"], &made["targets"][1]["backup"]["kind"]), (&json!("done"), &json!("full")), "{made}");
    assert_eq!(covered(&house.erase_subject(&ada).json()), names);

    // One is away: the certificate names the other, and a backup says which of them failed.
    let away = two.with_extension("away");
    fs::rename(&two, &away).unwrap();
    let certificate = house.erase_subject(&bob).json();
    assert_eq!(covered(&certificate), names[..1]);
    let not_checked = certificate["certificate"]["self_test"]["not_checked"].to_string();
    assert!(not_checked.contains("one of the targets does not hold"), "{not_checked}");
    let made = back_up(&house);
    let states = [0, 1].map(|at| made["targets"][at]["state"].clone());
    assert_eq!((&made["state"], states), (&json!("partial"), [json!("done"), json!("failed")]), "{made}");
    assert!(made["targets"][1]["why"].as_str().is_some_and(|why| !why.is_empty()), "{made}");

    // It is back: the next backup reads everything anew for it, and for it alone.
    fs::rename(&away, &two).unwrap();
    let made = back_up(&house);
    let kinds = [0, 1].map(|at| made["targets"][at]["backup"]["kind"].clone());
    assert_eq!((&made["state"], kinds), (&json!("done"), [json!("incremental"), json!("full")]), "{made}");
    let home = house.close();
    for from in [&one, &two] {
        let bare = only_keys(&home);
        let restored = bring_back(&bare, from, None).unwrap_or_else(|why| panic!("{}: {why}", from.display()));
        assert_eq!((restored.people, restored.ended, restored.lost_entries), (1, None, None), "{}", from.display());
        let back = House::open(bare).unwrap_or_else(|why| panic!("{why}"));
        back.read(&cleo, "b-service", "name").expect(200);
        back.read(&bob, "b-service", "name").refused(410, "erased");
        let closed = back.close();
        [target(&closed), second(&closed)].iter().for_each(|folder| drop(fs::remove_dir_all(folder)));
    }
    [one, two].iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
}

/// A server of this folder, as a process.
struct Server(Child);

impl Server {
    fn start(dir: &Path, address: SocketAddr, passphrase: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
        command.args(["serve", "--listen", &address.to_string(), "--dir"]).arg(dir).arg("--passphrase-file").arg(passphrase);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer of `path` as soon as it is such a one.
fn until(address: SocketAddr, ca: &Path, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(120), "{path} never answered as it should");
        if ca.exists()
            && let Some(mut connection) = Connection::try_open(address, &trusting(ca, &[&rustls::version::TLS13]))
            && connection.write(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).is_ok()
            && let Some(reply) = connection.read()
            && wanted(reply.status, &reply.text())
        {
            return reply.text();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_waits_for_a_restore_says_how_far_it_is_and_serves_when_it_is_done() {
    let home = House::start().close();
    let dir = home.path();
    let passphrase = dir.join("passphrase");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    // A restore at half of its way, as another process would be.
    fs::rename(dir.join("data"), dir.join("data.restoring")).unwrap();
    let under_way = UnderWay::begin(dir).unwrap().unwrap();
    let refused = bring_back(&home, &target(&home), None).unwrap_err();
    assert!(matches!(refused, RestoreError::UnderWay), "{refused}");
    let progress = Progress::default();
    progress.begin(Step::Rows, 1_000);
    progress.add(500);
    under_way.say(&progress).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(dir, address, &passphrase);
    let ca = dir.join("tls/ca.pem");
    let said = until(address, &ca, "/readyz", |status, _| status == 503);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said, json!({"status": "not-ready", "reason": "restoring", "step": "rows", "done": 500, "total": 1_000}));
    until(address, &ca, "/healthz", |status, _| status == 200);
    until(address, &ca, "/v1/keys", |status, text| status == 503 && text.contains("restoring"));
    // It comes to its end.
    fs::rename(dir.join("data.restoring"), dir.join("data")).unwrap();
    drop(under_way);
    until(address, &ca, "/readyz", |status, text| status == 200 && text.contains("\"ready\""));
    drop(server);
}
