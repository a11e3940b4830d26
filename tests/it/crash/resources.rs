//! A machine that runs short: of disk, of descriptors, of memory. The answer says what is missing, nothing acknowledged is
//! lost, and the vault goes on by itself once there is enough again.
//!
//! The server runs in a mount namespace of its own, on a disk in memory of a chosen size, under a supervisor that starts it again whenever it
//! ends, as systemd would. `unshare` and `mount` must be allowed (root, or user namespaces).

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde_json::{Value, json};

use super::house::{self, House, runtime};
use super::served;
use crate::https::{Connection, Reply, trusting};

/// Mounts, copies the vault onto the mount, and keeps the server running until `stop` is there; then checks what it left.
const SUPERVISOR: &str = r#"
mount -t tmpfs -o "size=$SIZE,mode=0700" tmpfs "$DISK" && cp -a "$FROM/." "$DISK" && mv "$FROM.config" "$DISK/config.toml" || exit 9
while [ ! -e "$OUT/stop" ]; do
    ( eval "$LIMIT"; exec "$BINARY" --json serve --dir "$DISK" --listen 127.0.0.1:0 --passphrase-file "$OUT/passphrase" ) \
        > "$OUT/said" 2>> "$OUT/errors" &
    echo $! > "$OUT/pid.new"; mv "$OUT/pid.new" "$OUT/pid"
    wait $!
    echo $? >> "$OUT/ends"
    sleep 0.1
done
"$BINARY" --json audit verify "$DISK" > "$OUT/verified" 2>&1
echo $? > "$OUT/verdict"
"#;

/// A small machine with a vault on it.
struct Machine {
    home: house::Home,
    supervisor: Child,
    trust: Arc<ClientConfig>,
    tokens: BTreeMap<String, String>,
}

impl Machine {
    /// `size` as mount(8) has it; `limit` is a command of the shell before the server starts.
    fn start(size: &str, limit: &str) -> Self {
        let home = house::Home::new();
        let at = |name: &str| home.path().join(name);
        for folder in ["vault", "disk", "out"] {
            fs::create_dir(at(folder)).unwrap();
        }
        house::build(&at("vault"));
        runtime().block_on(async {
            let vault = oubliette::vault::Vault::open(&house::config(&at("vault")), oubliette::model::time::Clock::system());
            let house = House::unseal(vault.unwrap(), &at("tokens")).await;
            house.vault.close().await;
        });
        fs::write(at("vault.config"), "[limits]\ncaller_per_second = 0\nfailures_per_second = 0\nheader_seconds = 2\n").unwrap();
        fs::write(at("out/passphrase"), house::PASSPHRASE).unwrap();
        fs::set_permissions(at("out/passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["sh", "-c", SUPERVISOR]).stdin(Stdio::null());
        command.env("SIZE", size).env("LIMIT", if limit.is_empty() { ":" } else { limit });
        command.env("DISK", at("disk")).env("FROM", at("vault")).env("OUT", at("out"));
        command.env("BINARY", env!("CARGO_BIN_EXE_oubliette"));
        let supervisor = command.spawn().expect("unshare(1) of util-linux");
        let until = Instant::now() + Duration::from_secs(60);
        let tokens = serde_json::from_slice(&fs::read(at("tokens")).unwrap()).unwrap();
        let trust = loop {
            let authority = PathBuf::from(format!("/proc/{}/root{}/tls/ca.pem", supervisor.id(), at("disk").display()));
            if authority.exists() && fs::metadata(at("out/said")).is_ok_and(|file| file.len() > 0) {
                break trusting(&authority, &[&rustls::version::TLS13]);
            }
            assert!(
                Instant::now() < until,
                "the server does not start: {}",
                fs::read_to_string(at("out/errors")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { home, supervisor, trust, tokens }
    }

    fn out(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join("out").join(name)).unwrap_or_default()
    }

    /// The vault's disk, as the server sees it.
    fn disk(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.supervisor.id(), self.home.path().join("disk").display()))
    }

    /// Where the server listens now; waits while it is being started.
    fn address(&self) -> SocketAddr {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(address) = served::address(self.out("said").as_bytes())
                && TcpStream::connect(address).is_ok()
            {
                return address;
            }
            assert!(Instant::now() < until, "{}", self.out("errors"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One call on a connection of its own; none when the server does not answer.
    fn ask(&self, caller: &str, method: &str, path: &str, purpose: &str, body: Option<&Value>) -> Option<Reply> {
        let mut connection = Connection::try_open(self.address(), &self.trust)?;
        connection.exchange(&self.request(caller, method, path, purpose, body))
    }

    fn request(&self, caller: &str, method: &str, path: &str, purpose: &str, body: Option<&Value>) -> Vec<u8> {
        let token = &self.tokens[caller];
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n");
        if !purpose.is_empty() {
            request += &format!("vault-purpose: {purpose}\r\n");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        (request + "\r\n" + &body).into_bytes()
    }

    /// Somebody with a contract.
    fn person(&self, email: &str) -> String {
        let body = json!({"class": "consumer", "jurisdiction": "DE", "notice": house::notice(),
            "aliases": [{"type": "email", "value": email}]});
        let made = self.ask("writer", "POST", "/v1/subjects", "a-account", Some(&body)).unwrap().expect(201).member("id");
        let contract = json!({"state": "active", "from": "2026-01-01"});
        let path = format!("/v1/subjects/{made}/contracts/ord-1");
        self.ask("writer", "PUT", &path, "", Some(&contract)).unwrap().expect(201);
        made
    }

    fn write(&self, person: &str, text: &str) -> Option<Reply> {
        let body = json!({"kind": "contact", "purposes": ["a-account", "b-service"], "fields": {"name": "Ada", "address": text}});
        self.ask("writer", "POST", &format!("/v1/subjects/{person}/records"), "a-account", Some(&body))
    }

    fn read(&self, person: &str) -> Option<Reply> {
        self.ask("reader", "GET", &format!("/v1/subjects/{person}/records?limit=500"), "b-service", None)
    }

    /// The records that the service sees. A server that is running out of memory may end while it is asked: then the next one is.
    fn records(&self, person: &str) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(60);
        let reply = loop {
            match self.read(person) {
                Some(reply) => break reply.expect(200).json(),
                None => assert!(Instant::now() < until, "no server answers: {}", self.out("errors")),
            }
        };
        assert_eq!(reply["next_cursor"], Value::Null);
        reply["records"].as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
    }

    /// How often the server ended so far, and how.
    fn ends(&self) -> Vec<String> {
        self.out("ends").lines().map(str::to_owned).collect()
    }

    /// Sends the server, if there is one at the moment, a signal.
    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = self.out("pid").trim().parse().ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Stops the server in order; the trail with every row must verify.
    fn finish(mut self) {
        fs::write(self.home.path().join("out/stop"), "").unwrap();
        self.signal(rustix::process::Signal::TERM);
        self.supervisor.wait().unwrap();
        assert_eq!(self.out("verdict").trim(), "0", "{}", self.out("verified"));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.supervisor.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = fs::write(self.home.path().join("out/stop"), "");
            self.signal(rustix::process::Signal::KILL);
            let _ = self.supervisor.wait();
        }
    }
}

#[test]
fn a_full_disk_is_said_loses_nothing_and_is_over_when_there_is_room() {
    let machine = Machine::start("96m", "");
    let (person, other) = (machine.person("ada@example.org"), machine.person("bob@example.org"));
    let mut kept = vec![machine.write(&person, "before").unwrap().expect(201).member("id")];
    let ballast = machine.disk().join("ballast");
    let mut file = OpenOptions::new().create_new(true).write(true).open(&ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}

    let mut trail_full = false;
    for number in 0..400 {
        let written = machine.write(&person, &format!("while full {number}")).unwrap();
        if written.status == 201 {
            kept.push(written.member("id"));
        } else {
            written.refused(507, "disk-full");
        }
        // Reads go on as long as the trail has room for who read.
        let read = machine.read(&person).unwrap();
        if read.status != 200 {
            read.refused(507, "disk-full");
            trail_full = true;
            break;
        }
    }
    assert!(kept.len() < 400);
    let alive = machine.ask("reader", "GET", "/healthz", "", None).unwrap();
    assert_eq!(alive.status, 200, "the process lives");
    drop(file);
    fs::remove_file(&ballast).unwrap();

    kept.push(machine.write(&person, "after").unwrap().expect(201).member("id"));
    let mut found = machine.records(&person);
    found.sort();
    kept.sort();
    assert_eq!(found, kept, "trail full: {trail_full}");
    let opened = json!({"subject": other, "scope": "subject", "cause": "request"});
    let erasure = machine.ask("officer", "POST", "/v1/erasures", "", Some(&opened)).unwrap().expect(201).member("id");
    let sealed = machine.ask("second", "POST", &format!("/v1/erasures/{erasure}/approvals"), "", Some(&json!({})));
    assert_eq!(sealed.unwrap().expect(200).member("state"), "sealed");
    assert_eq!(machine.ends(), Vec::<String>::new(), "it never had to be started again");
    machine.finish();
}

#[test]
fn a_server_out_of_descriptors_takes_calls_again_when_the_others_have_gone() {
    let machine = Machine::start("96m", "ulimit -n 64");
    let person = machine.person("ada@example.org");
    let kept = machine.write(&person, "before").unwrap().expect(201).member("id");
    let address = machine.address();
    // They say nothing, and are let go after a while (`handshake_seconds`); here they go by themselves.
    let idle: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(address).ok()).collect();
    assert!(idle.len() > 64);
    std::thread::sleep(Duration::from_millis(500));
    drop(idle);
    assert_eq!(machine.records(&person), [kept]);
    machine.write(&person, "after").unwrap().expect(201);
    assert_eq!(machine.ends(), Vec::<String>::new());
    machine.finish();
}

#[test]
fn a_server_that_is_given_too_little_memory_loses_nothing_that_it_acknowledged() {
    // Address space for a start and some calls, not for a hundred bodies of 16 MiB at once.
    let machine = Machine::start("96m", "ulimit -v 1500000");
    let person = machine.person("ada@example.org");
    let mut kept = vec![machine.write(&person, "before").unwrap().expect(201).member("id")];
    let head = format!(
        "POST /v1/records:batch HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nvault-purpose: a-account\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        machine.tokens["writer"],
        16 << 20
    );
    let address = machine.address();
    let mut greedy = Vec::new();
    for _ in 0..120 {
        let Some(mut connection) = Connection::try_open(address, &machine.trust) else { break };
        let sent = connection.write(head.as_bytes()).and_then(|()| connection.write(&vec![b' '; (16 << 20) - 1]));
        if sent.is_err() {
            break;
        }
        greedy.push(connection);
        if greedy.len() % 20 == 0
            && let Some(written) = machine.write(&person, "meanwhile")
            && written.status == 201
        {
            kept.push(written.member("id"));
        }
    }
    drop(greedy);
    let mut found = machine.records(&person);
    kept.retain(|id| !found.contains(id));
    assert_eq!(kept, Vec::<String>::new(), "what was acknowledged is there; the server ended so: {:?}", machine.ends());
    found.dedup();
    machine.write(&person, "after").unwrap().expect(201);
    machine.finish();
}

#[test]
fn a_disk_that_takes_no_writes_is_named_and_the_vault_starts_once_it_does() {
    let machine = Machine::start(
        "96m",
        "if [ -e \"$OUT/locked\" ]; then mount -o remount,ro \"$DISK\"; else mount -o remount,rw \"$DISK\"; fi",
    );
    let person = machine.person("ada@example.org");
    let kept = machine.write(&person, "before").unwrap().expect(201).member("id");
    let locked = machine.home.path().join("out/locked");
    fs::write(&locked, "").unwrap();
    machine.signal(rustix::process::Signal::TERM);
    let until = Instant::now() + Duration::from_secs(60);
    while machine.ends().len() < 2 {
        assert!(Instant::now() < until, "{}", machine.out("errors"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(machine.ends()[..2], ["0", "1"]);
    let said = machine.out("errors");
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    fs::remove_file(&locked).unwrap();
    assert_eq!(machine.records(&person), [kept]);
    machine.finish();
}
