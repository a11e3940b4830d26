//! Nothing acknowledged is lost when the power goes, at whatever moment.
//!
//! A process works on a vault while everything that it writes, its keyring too, is recorded. Of many moments the medium is
//! rebuilt without what no sync covers (see the recorder's rules), opened as a vault, and looked at like after a kill.
//! `OUBLIETTE_CUTS_OF_POWER=300` for the full form; `OUBLIETTE_SEED` repeats a run's moments.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use oubliette::audit::note::VerifyingKey;

use super::house::{self, House, process, runtime};
use super::kill::asked;
use super::ledger::Ledger;
use super::load::{CHILD, Orders, REPORT, lines};
use crate::recorder::{Image, Kind, Loss, Random, Recording, record};

/// What the process had said before event `cut`.
fn said(recording: &Recording, cut: usize) -> Vec<u8> {
    let events = &recording.events[..cut];
    let is_it = |event: &&crate::recorder::Event| event.kind == Kind::File && event.bytes == REPORT.as_bytes();
    let Some(file) = events.iter().find(is_it).map(|event| event.file) else { return Vec::new() };
    let lines = events.iter().filter(|event| event.kind == Kind::Write && event.file == file);
    lines.flat_map(|event| event.bytes.clone()).collect()
}

/// Writes the files of the medium as their owner's alone.
fn put(image: &Image, directory: &Path) {
    image.write(directory);
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    image.directories.iter().for_each(|path| mode(&directory.join(path), 0o700));
    image.files.keys().for_each(|path| mode(&directory.join(path), 0o600));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let cuts = asked("OUBLIETTE_CUTS_OF_POWER", 12);
    let seed = asked("OUBLIETTE_SEED", u64::from(std::process::id()));
    eprintln!("{cuts} cuts, OUBLIETTE_SEED={seed}");
    let mut random = Random(seed);
    let home = tempfile::tempdir().unwrap();
    let (directory, orders, log) = (home.path().join("vault"), home.path().join("orders"), home.path().join("log"));
    let tokens = home.path().join("tokens");
    fs::create_dir(&directory).unwrap();
    house::build(&directory);
    let public: VerifyingKey = fs::read_to_string(directory.join("vault.pub")).unwrap().trim().parse().unwrap();
    let runtime = runtime();
    // The callers are made before, so that everybody has the same tokens.
    runtime.block_on(async {
        let vault = oubliette::vault::Vault::open(&house::config(&directory), oubliette::model::time::Clock::system()).unwrap();
        House::unseal(vault, &tokens).await.vault.close().await;
    });
    let before = home.path().join("before");
    put(&Image::read(&directory), &before);

    let calls = 200 + cuts * 5;
    let now = Orders { seed, round: 0, calls, living: Vec::new() };
    fs::write(&orders, serde_json::to_vec(&now).unwrap()).unwrap();
    let mut child = process(CHILD, &directory, orders.to_str().unwrap());
    record(&mut child, &directory, &log);
    let done = child.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let recording = Recording::load(&log, Some(&before));
    let all = recording.events.len();
    let slots = super::scan::pieces(&recording, "keys/keyring", 4_096).len();
    assert!(slots > 20, "the recorder does not see the keyring: {slots}");
    let mut ledger = Ledger::default();
    assert_eq!(ledger.read(lines(&said(&recording, all))), (true, true));
    eprintln!("{all} events; {slots} slots written; acknowledged {:?}", ledger.acknowledged);

    let at = Instant::now();
    let (mut images, mut came_true, mut left_nothing) = (0, 0, 0);
    for number in 0..cuts {
        let cut = random.below(all as u64 + 1) as usize;
        for loss in [Loss::Everything, Loss::SomeWrites(number), Loss::SomePages(number)] {
            eprint!("\rcut {number} at {cut}, {loss:?}          ");
            let medium = home.path().join("medium");
            put(&recording.image(cut, loss), &medium);
            let mut ledger = Ledger::default();
            ledger.read(lines(&said(&recording, cut)));
            ledger.touch_all();
            runtime.block_on(ledger.look(&medium, &tokens, 1, &mut random));
            Ledger::verify(&medium, &public);
            fs::remove_dir_all(&medium).unwrap();
            images += 1;
            came_true += ledger.came_true;
            left_nothing += ledger.left_nothing;
        }
    }
    eprintln!(
        "\r{images} media in {:.0} s; of the calls that were cut off {came_true} took effect and {left_nothing} left nothing",
        at.elapsed().as_secs_f32()
    );
}
