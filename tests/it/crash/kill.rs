//! Nothing acknowledged is lost when the process is killed, at whatever moment.
//!
//! One vault goes through many rounds: a process works on it, is killed at a random moment (also while it starts), and the
//! vault is opened and looked at. `OUBLIETTE_KILLS=500` for the full form; `OUBLIETTE_SEED` repeats a run's moments.

use std::fs;
use std::time::{Duration, Instant};

use oubliette::audit::note::VerifyingKey;

use super::house::{self, process, runtime};
use super::ledger::Ledger;
use super::load::{CHILD, Orders, REPORT, lines};
use crate::recorder::Random;

/// Microseconds: about as long as a start takes, and longer than some hundred calls take.
const START: u64 = 600_000;
const WORK: u64 = 300_000;

pub(super) fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let rounds = asked("OUBLIETTE_KILLS", 30);
    let seed = asked("OUBLIETTE_SEED", u64::from(std::process::id()));
    eprintln!("{rounds} kills, OUBLIETTE_SEED={seed}");
    let mut random = Random(seed);
    let home = tempfile::tempdir().unwrap();
    let (directory, orders) = (home.path().join("vault"), home.path().join("orders"));
    fs::create_dir(&directory).unwrap();
    house::build(&directory);
    let public: VerifyingKey = fs::read_to_string(directory.join("vault.pub")).unwrap().trim().parse().unwrap();
    let runtime = runtime();
    let tokens = home.path().join("tokens");
    let mut ledger = Ledger::default();
    // The callers are made before the first kill.
    runtime.block_on(ledger.look(&directory, &tokens, 1, &mut random));
    let (mut while_starting, mut checked) = (0, (0, 0));
    let at = Instant::now();
    for round in 0..rounds {
        let living = ledger.living(60, &mut random);
        let now = Orders { seed: seed.wrapping_mul(31).wrapping_add(round), round, calls: u64::MAX, living };
        fs::write(&orders, serde_json::to_vec(&now).unwrap()).unwrap();
        let _ = fs::remove_file(directory.join(REPORT));
        let mut child = process(CHILD, &directory, orders.to_str().unwrap())
            .stdout(std::process::Stdio::null())
            .stderr(fs::File::create(home.path().join("errors")).unwrap())
            .spawn()
            .unwrap();
        if random.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(START)));
        } else {
            // The report's first line says that it serves.
            while child.try_wait().unwrap().is_none() && fs::metadata(directory.join(REPORT)).map_or(0, |file| file.len()) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(random.below(WORK)));
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let errors = fs::read_to_string(home.path().join("errors")).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "it ended by itself: {errors}");
        let report = fs::read(directory.join(REPORT)).unwrap_or_default();
        let (ready, _) = ledger.read(lines(&report));
        while_starting += u64::from(!ready);
        if round + 1 == rounds {
            ledger.touch_all();
        }
        runtime.block_on(ledger.look(&directory, &tokens, 10, &mut random));
        checked = Ledger::verify(&directory, &public);
    }
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
