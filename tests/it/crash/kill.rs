//! Nothing acknowledged is lost when the process is killed, at whatever moment.
//!
//! One vault goes through many rounds: a process works on it, is killed at a random moment (also while it starts), and the
//! vault is opened and looked at. The process is `oubliette serve`, under load over HTTPS; or, for a denser load, one that works
//! on the vault from inside. `OUBLIETTE_KILLS=500` for the full form; `OUBLIETTE_SEED` repeats a run's moments.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oubliette::audit::note::VerifyingKey;

use super::house::{self, process, runtime};
use super::ledger::Ledger;
use super::load::{CHILD, Line, Orders, REPORT, lines};
use super::served;
use crate::recorder::Random;

/// Microseconds: about as long as a start takes, and longer than some hundred calls take.
const START: u64 = 600_000;
const WORK: u64 = 300_000;

pub(crate) fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// A vault that is killed again and again.
struct Victim {
    home: house::Home,
    directory: PathBuf,
    tokens: PathBuf,
    seed: u64,
    random: Random,
    ledger: Ledger,
    started: bool,
}

impl Victim {
    fn new() -> Self {
        let seed = asked("OUBLIETTE_SEED", u64::from(std::process::id()));
        let home = house::Home::new();
        let directory = home.path().join("vault");
        fs::create_dir(&directory).unwrap();
        house::build(&directory);
        let tokens = home.path().join("tokens");
        let mut victim = Self { directory, tokens, home, seed, random: Random(seed), ledger: Ledger::default(), started: false };
        // The callers are made before the first kill.
        victim.look();
        victim
    }

    fn look(&mut self) {
        runtime().block_on(self.ledger.look(&self.directory, &self.tokens, 10, &mut self.random));
    }

    fn orders(&mut self, round: u64) -> Orders {
        let living = self.ledger.living(60, &mut self.random);
        Orders { seed: self.seed.wrapping_mul(31).wrapping_add(round), round, calls: u64::MAX, living }
    }

    /// Starts the process, and kills it: one time in four while it starts, else some time after it is `ready`.
    fn kill(&mut self, command: &mut Command, mut ready: impl FnMut() -> bool) {
        let errors = self.home.path().join("errors");
        let mut child = command.stderr(File::create(&errors).unwrap()).spawn().unwrap();
        if self.random.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(self.random.below(START)));
        } else {
            while child.try_wait().unwrap().is_none() && !ready() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(self.random.below(WORK)));
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it ended by itself: {}", fs::read_to_string(errors).unwrap());
    }

    /// Many rounds of `round`, which gives the report of one.
    fn suffer(mut self, rounds: u64, mut round: impl FnMut(&mut Self, u64) -> Vec<Line>) {
        eprintln!("{rounds} kills, OUBLIETTE_SEED={}", self.seed);
        let public: VerifyingKey = fs::read_to_string(self.directory.join("vault.pub")).unwrap().trim().parse().unwrap();
        let (mut while_starting, mut checked) = (0, (0, 0));
        let at = Instant::now();
        for number in 0..rounds {
            let report = round(&mut self, number);
            while_starting += u64::from(!self.ledger.read(report).0);
            if number + 1 == rounds {
                self.ledger.touch_all();
            }
            self.look();
            checked = Ledger::verify(&self.directory, &public);
        }
        let ledger = self.ledger;
        eprintln!(
            "{rounds} kills in {:.0} s, {while_starting} while starting; acknowledged {:?}; cut off: {} took effect, {} left nothing; \
             {} people; {} entries and {} rows at the end",
            at.elapsed().as_secs_f32(),
            ledger.acknowledged,
            ledger.came_true,
            ledger.left_nothing,
            ledger.len(),
            checked.0,
            checked.1
        );
        assert!(ledger.acknowledged.values().sum::<u64>() > rounds, "the processes did next to nothing");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    Victim::new().suffer(asked("OUBLIETTE_KILLS", 20), |victim, round| {
        let (orders, report) = (victim.home.path().join("orders"), victim.directory.join(REPORT));
        fs::write(&orders, serde_json::to_vec(&victim.orders(round)).unwrap()).unwrap();
        let _ = fs::remove_file(&report);
        let mut command = process(CHILD, &victim.directory, orders.to_str().unwrap());
        // The report's first line says that it is ready.
        victim.kill(command.stdout(Stdio::null()), || fs::metadata(&report).is_ok_and(|file| file.len() > 0));
        lines(&fs::read(&report).unwrap_or_default())
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    Victim::new().suffer(asked("OUBLIETTE_KILLS", 20), |victim, round| {
        if !std::mem::replace(&mut victim.started, true) {
            fs::write(victim.home.path().join("passphrase"), house::PASSPHRASE).unwrap();
            let owners = fs::Permissions::from_mode(0o600);
            fs::set_permissions(victim.home.path().join("passphrase"), owners).unwrap();
            let settings = "[limits]\ncaller_per_second = 0\nfailures_per_second = 0\n";
            fs::write(victim.directory.join("config.toml"), settings).unwrap();
        }
        let output = victim.home.path().join("output");
        let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
        command.args(["--json", "serve", "--listen", "127.0.0.1:0", "--dir"]).arg(&victim.directory);
        command.arg("--passphrase-file").arg(victim.home.path().join("passphrase"));
        command.stdout(File::create(&output).unwrap());
        let mut load = None;
        let (orders, tokens, ca) = (victim.orders(round), victim.tokens.clone(), victim.directory.join("tls/ca.pem"));
        victim.kill(&mut command, || {
            let address = served::address(&fs::read(&output).unwrap());
            load = address.map(|address| served::Load::start(address, &ca, &tokens, &orders));
            load.is_some()
        });
        load.map_or_else(Vec::new, served::Load::end)
    });
}
