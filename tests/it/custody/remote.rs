//! Holders over the network: the servers that stand in for them (tests/servers), a line that can be cut, and what all of them have to do.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Served, Yard};
use crate::house::{House, PASSPHRASE};

/// A server of tests/servers; it ends with this.
pub(super) struct Server {
    child: Child,
    _alive: ChildStdin,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Self {
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers/bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name);
        let mut command = Command::new(&python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let missing = |error| panic!("{}: {error}: tests/run installs it", python.display());
        let mut child = command.spawn().unwrap_or_else(missing);
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port: u16 = port.trim().parse().expect("the server did not start: tests/run installs what it needs");
        let alive = child.stdin.take().unwrap();
        Self { child, _alive: alive, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Does something to it that only its operator can.
    #[track_caller]
    pub(super) fn control(&self, action: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let action = action.replace(' ', "%20");
        write!(stream, "POST /control/{action} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains(" 200 "), "{text}");
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line between the vault and the server. Cut, it hangs up on whoever is there and on whoever comes.
pub(super) struct Line {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_cut, all): (_, Arc<Mutex<Vec<TcpStream>>>) = (cut.clone(), streams.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { return };
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(server) else { continue };
                all.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { address, cut, streams }
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    pub(super) fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

/// A yard with a provider over the network and a configuration that names it.
pub(super) struct Remote {
    pub(super) yard: Yard,
    pub(super) server: Server,
    pub(super) line: Line,
    /// `[custody]` without what a test adds.
    pub(super) section: String,
}

impl Remote {
    /// Starts the server; `section` is told where it answers.
    pub(super) fn new(script: &str, section: impl FnOnce(&Yard, &Server, &str) -> String) -> Self {
        let mut yard = Yard::new();
        // This machine has no role, whatever it is.
        yard.environment.push(("AWS_EC2_METADATA_DISABLED", "true".into()));
        let server = Server::start(script);
        let line = Line::to(server.address);
        let section = section(&yard, &server, &format!("http://{}", line.address));
        Self { yard, server, line, section }
    }

    /// Where it answers, by way of the line.
    pub(super) fn address(&self) -> String {
        format!("http://{}", self.line.address)
    }

    /// Writes the configuration, with these settings beside.
    pub(super) fn configure(&self, more: &str) {
        fs::write(self.yard.path("vault/config.toml"), format!("[custody]\n{}{more}\n", self.section)).unwrap();
    }

    /// An empty folder with the configuration.
    pub(super) fn prepare(&self) {
        fs::create_dir(self.yard.vault()).unwrap();
        fs::set_permissions(self.yard.vault(), fs::Permissions::from_mode(0o700)).unwrap();
        self.configure("");
    }

    pub(super) fn init(&self) {
        self.prepare();
        self.yard.init(&[]).good();
    }

    /// That the vault does not start and that `doctor` says the same.
    #[track_caller]
    pub(super) fn does_not_open(&self, provider: &str, word: &str) {
        self.yard.does_not_serve(&[], word);
        let found = self.yard.doctor(provider);
        assert!(found.iter().any(|(level, found)| level == "bad" && found.contains(word)), "{word}: {found:?}");
    }

    pub(super) fn serve(&self) -> Served<'_> {
        self.yard.serve(&[]).unwrap_or_else(|said| panic!("{}", said.error))
    }
}

/// Waits for what is bound to come.
#[track_caller]
pub(super) fn until(what: &str, mut come: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !come() {
        assert!(Instant::now() < end, "never {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether the server says that it is open.
pub(super) fn is_open(served: &Served<'_>) -> bool {
    // `unseal` says so without asking for anything, or else has nothing to offer.
    served.run(&["unseal", "--passphrase-file", &served.yard.text("there-is-no-such-file")]).code == 0
}

/// The vault goes on without its holder, says so, and gets over it; a vault that starts meanwhile waits sealed.
pub(super) fn an_outage_stops_only_what_needs_the_holder(remote: &Remote) {
    remote.init();
    remote.configure("probe_seconds = 1\n");
    let served = remote.serve();
    let admin = served.key_admin();
    let holder = |state: &str| served.root(&admin)["holder"]["state"] == state;
    assert!(holder("reachable"));
    remote.line.cut();
    until("away", || holder("away"));
    let rotate = ["keys", "rotate-root", "--by-itself", "--token-file", admin.as_str()];
    served.run(&rotate).bad("custody-unavailable");
    // What needs the epoch's key alone goes on.
    served.run(&["keys", "rotate", "--token-file", &admin]).good();
    remote.line.mend();
    until("back", || holder("reachable"));
    served.run(&rotate).good();
    drop(served);

    remote.line.cut();
    let served = remote.serve();
    assert_eq!(served.state, "sealed");
    remote.line.mend();
    until("open", || is_open(&served));
    drop(served);
    let trail = remote.yard.run(&["audit", "verify", &remote.yard.text("vault")]);
    trail.good();
}

/// With `on_outage = "seal"`: `turn_off` and `turn_on` are what its owner does to the key.
pub(super) fn a_key_that_is_turned_off_closes_the_vault(remote: &Remote, turn_off: &str, turn_on: &str) {
    remote.init();
    remote.configure("probe_seconds = 1\non_outage = 'seal'\ngrace_seconds = 3600\n");
    let served = remote.serve();
    let admin = served.key_admin();
    remote.server.control(turn_off);
    until("sealed", || !is_open(&served));
    served.run(&["keys", "list", "--token-file", &admin]).bad("sealed");
    remote.server.control(turn_on);
    until("open again", || is_open(&served));
    // An outage is given an hour here.
    remote.line.cut();
    until("away", || served.root(&admin)["holder"]["state"] == "away");
    assert!(is_open(&served));
    remote.line.mend();
    drop(served);

    // And now no time at all.
    remote.configure("probe_seconds = 1\non_outage = 'seal'\ngrace_seconds = 0\n");
    let served = remote.serve();
    remote.line.cut();
    until("sealed", || !is_open(&served));
    remote.line.mend();
    until("open again", || is_open(&served));
    // What somebody sealed stays so, however well the holder is.
    served.run(&["seal", "--token-file", &admin]).good();
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(!is_open(&served), "the watch opened what a person had sealed");
    served.run(&["unseal", "--passphrase-file", &remote.yard.secret("any", PASSPHRASE)]).bad("other-custody");
}

/// From a passphrase to the provider, to a fresh key of it, to shares, to it again, and back to the passphrase.
pub(super) fn the_root_key_goes_there_and_back(remote: &Remote, provider: &str, old_key: &str) {
    let house = House::start();
    let ada = house.ada();
    house.contact(&ada);
    let read = |house: &House| house.read(&ada, "b-service", "").expect(200).json()["records"].clone();
    let records = read(&house);
    let home = house.close();

    let yard = &remote.yard;
    std::os::unix::fs::symlink(home.path(), yard.vault()).unwrap();
    remote.configure("");
    let passphrase = yard.secret("passphrase", PASSPHRASE);
    let by_passphrase = ["--passphrase-file", passphrase.as_str()];
    remote.line.cut();
    yard.migrate(&[&["--to", provider], &by_passphrase[..]].concat()).bad("does not answer");
    yard.opens(&by_passphrase);
    remote.line.mend();
    assert_eq!(yard.migrate(&[&["--to", provider], &by_passphrase[..]].concat()).good()["old_key"], "none");
    yard.does_not_serve(&by_passphrase, provider);
    yard.opens(&[]);
    assert_eq!(yard.migrate(&["--to", provider]).good()["old_key"], old_key);
    let folder = yard.text("shares");
    let said = yard.migrate(&["--to", "shares", "--shares", "2-of-2", "--shares-to", &folder]).good();
    assert_eq!((&said["from"], &said["old_key"]), (&provider.into(), &old_key.into()));
    let (one, two) = (yard.text("shares/share-1"), yard.text("shares/share-2"));
    let shares = ["--share-file", one.as_str(), "--share-file", two.as_str()];
    yard.migrate(&[&["--to", provider], &shares[..]].concat()).good();
    yard.migrate(&["--to", "passphrase", "--new-passphrase-file", &passphrase]).good();
    let house = House::open(home).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read(&house), records);
}

/// The place of the keyring that these settings enclose, and none beside it.
pub(super) fn only_place(settings: &str) -> String {
    format!("[keyring]\nfile = false\n[[keyring.place]]\nname = 'away'\npath = 'keys/keyring.away'\n{settings}\n")
}

/// What `keys list` says of the epoch's key.
pub(super) fn epoch(served: &Served<'_>, token: &str) -> Value {
    let keys = served.run(&["keys", "list", "--token-file", token]).good();
    keys["keys"].as_array().unwrap().iter().find(|key| key["kind"] == "epoch").unwrap().clone()
}

/// Closes an epoch of a vault with such a place, and puts the whole folder of before in the place of today's.
pub(super) fn close_an_epoch_and_go_back(remote: &Remote, assurance: &str) {
    let yard = &remote.yard;
    let copied = Command::new("cp").args(["-a", &yard.text("vault"), &yard.text("before")]).status().unwrap();
    assert!(copied.success());
    let served = remote.serve();
    let admin = served.key_admin();
    assert_eq!(epoch(&served, &admin)["destroy_assurance"], assurance);
    assert_eq!(served.run(&["keys", "rotate", "--token-file", &admin]).good()["epoch"], 2);
    drop(served);
    yard.opens(&[]);
    fs::rename(yard.vault(), yard.path("today")).unwrap();
    fs::rename(yard.path("before"), yard.vault()).unwrap();
}
