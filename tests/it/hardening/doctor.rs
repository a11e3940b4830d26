//! `oubliette doctor` on prepared set-ups, each bad in one way: it names the fault and its remedy.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::machine::{Machine, mode, report};

/// A finding that is not good, with its remedy.
#[derive(Debug)]
struct Fault {
    check: String,
    level: String,
    found: String,
    remedy: String,
}

fn faults(report: &Value) -> Vec<Fault> {
    let report = if report["findings"].is_array() { report } else { &report["report"] };
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let faults = findings.iter().filter(|finding| finding["level"] != "good").map(|finding| Fault {
        check: text(finding, "check"),
        level: text(finding, "level"),
        found: text(finding, "found"),
        remedy: text(finding, "remedy"),
    });
    faults.collect()
}

/// What `doctor` complains about, and the code that it ends with.
fn examined(machine: &Machine) -> (Vec<Fault>, i32) {
    let output = machine.command(&["doctor", &machine.text("vault")]).output().unwrap();
    (faults(&report(&output)), output.status.code().unwrap())
}

/// The same from a shell that was prepared in some way.
fn examined_after(machine: &Machine, shell: &[&str], prepare: &str) -> Vec<Fault> {
    let line = format!("{prepare} && exec {} --json doctor {}", env!("CARGO_BIN_EXE_oubliette"), machine.text("vault"));
    let output = Command::new(shell[0]).args(&shell[1..]).args(["bash", "-c", &line]).output().unwrap();
    let said = report(&output);
    assert!(said["findings"].is_array() || said["report"].is_object(), "{said}");
    faults(&said)
}

/// That one of the faults is this one, of this level, and that its remedy says this.
#[track_caller]
fn names(faults: &[Fault], (check, level): (&str, &str), found: &str, remedy: &str) {
    let fault = faults.iter().find(|fault| fault.check == check && fault.found.contains(found));
    let fault = fault.unwrap_or_else(|| panic!("no fault of {check} says {found}: {faults:#?}"));
    assert_eq!(fault.level, level, "{fault:?}");
    assert!(fault.remedy.contains(remedy), "{fault:?}");
}

/// Changes one thing of a fresh vault; `doctor` must fail, and name it.
fn bad(prepare: impl FnOnce(&Machine, &Path), check: &str, found: &str, remedy: &str) {
    let machine = Machine::without_callers();
    let (before, _) = examined(&machine);
    assert!(!before.iter().any(|fault| fault.check == check && fault.found.contains(found)), "it was there before: {before:#?}");
    prepare(&machine, &machine.vault());
    let (faults, code) = examined(&machine);
    names(&faults, (check, "bad"), found, remedy);
    assert_eq!(code, 1);
}

#[test]
fn a_fresh_vault_has_nothing_that_must_be_mended() {
    let (faults, code) = examined(&Machine::without_callers());
    assert!(code == 0 && faults.iter().all(|fault| fault.level == "warning"), "{faults:#?}");
}

#[test]
fn secrets_that_others_may_read_are_named() {
    bad(|_, vault| mode(&vault.join("keys/keyring"), 0o644), "permissions", "keys/keyring may be read", "chmod 600");
    bad(|_, vault| mode(&vault.join("keys"), 0o755), "permissions", "keys/ is open", "chmod 700");
    let password = |machine: &Machine, vault: &Path| {
        let file = machine.secret("password", "x");
        mode(Path::new(&file), 0o644);
        let text = format!("[post]\nsmtp_host = 'mail.example.org'\nsmtp_user = 'a'\nsmtp_password_file = {file:?}\n");
        fs::write(vault.join("config.toml"), text).unwrap();
    };
    bad(password, "permissions", "post.smtp_password_file", "change the secret");
}

#[test]
fn files_that_are_lost_or_damaged_are_named() {
    let flip = |_: &Machine, vault: &Path| {
        let mut bytes = fs::read(vault.join("keys/root")).unwrap();
        bytes[100] ^= 1;
        fs::write(vault.join("keys/root"), bytes).unwrap();
    };
    bad(flip, "root key", "keys/root", "restore keys/root");
    bad(|_, vault| fs::remove_file(vault.join("keys/keyring")).unwrap(), "files", "keys/keyring is missing", "restore the file");
    let typo = |_: &Machine, vault: &Path| fs::write(vault.join("config.toml"), "[sever]\n").unwrap();
    bad(typo, "configuration", "sever", "correct config.toml");
}

#[test]
fn certificates_that_end_or_do_not_fit_are_named() {
    let expired = |_: &Machine, vault: &Path| {
        let mut wanted = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        (wanted.not_before, wanted.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(vault.join("tls/cert.pem"), wanted.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(vault.join("tls/key.pem"), key.serialize_pem()).unwrap();
    };
    bad(expired, "certificate", "ended at 2021-01-01", "put the new chain and key");
    let stray = |_: &Machine, vault: &Path| {
        fs::write(vault.join("tls/key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    };
    bad(stray, "certificate", "cannot be used together", "put the key that the certificate was made for");
}

#[test]
fn a_wrong_clock_and_backups_that_are_none_are_named() {
    let ahead = |_: &Machine, vault: &Path| {
        let file = fs::File::options().append(true).open(vault.join("config.toml")).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(4_000_000_000)).unwrap();
    };
    bad(ahead, "clock", "but the vault wrote a file at 2096", "correct the clock");
    let inside = |_: &Machine, vault: &Path| {
        fs::write(vault.join("config.toml"), format!("[backup]\ntarget = {:?}\n", vault.join("backups"))).unwrap();
    };
    bad(inside, "backup", "own folder", "another disk");
    let machine = Machine::without_callers();
    fs::create_dir(machine.path("target")).unwrap();
    machine.configure(&format!("[backup]\ntarget = {:?}\n", machine.path("target")));
    names(&examined(&machine).0, ("backup", "bad"), "", "oubliette backup create");
    let (faults, _) = examined(&Machine::without_callers());
    names(&faults, ("backup", "warning"), "a lost disk is a lost vault", "[backup] target");
}

#[test]
fn what_the_configuration_opens_is_named() {
    let inspectable = |_: &Machine, vault: &Path| {
        fs::write(vault.join("config.toml"), "[hardening]\ninspectable = true\n").unwrap();
    };
    bad(inspectable, "hardening", "can read the keys", "take it out");
    let machine = Machine::without_callers();
    machine.configure("[hardening]\nfiles = 'off'\n");
    names(&examined(&machine).0, ("hardening", "warning"), "turned off for: files", "readable and writable");
}

#[test]
fn limits_of_the_session_are_named() {
    let machine = Machine::without_callers();
    let faults = examined_after(&machine, &["env"], "ulimit -Sn 256; ulimit -Sl 64; ulimit -Sc unlimited");
    names(&faults, ("open files", "bad"), "end at 256", "LimitNOFILE=1152");
    names(&faults, ("memory locks", "warning"), "64 KiB", "LimitMEMLOCK=infinity");
    names(&faults, ("core dumps", "warning"), "are on", "LimitCORE=0");
}

/// In a mount namespace of its own, where a test may mount what it likes (unshare(1)).
const ALONE: [&str; 3] = ["unshare", "-rm", "--"];

#[test]
fn a_full_disk_swap_and_mounts_that_lose_data_are_named() {
    let machine = Machine::without_callers();
    let vault = machine.text("vault");
    let swaps = machine.secret("swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda3 partition 8388604 0 -2");
    let faults = examined_after(&machine, &ALONE, &format!("mount --bind {swaps} /proc/swaps"));
    names(&faults, ("swap", "warning"), "/dev/sda3", "swapoff -a");
    let copy = format!("cp -a {vault} {vault}.kept && mount -t tmpfs -o size=48m none {vault} && cp -a {vault}.kept/. {vault}");
    let faults = examined_after(&machine, &ALONE, &copy);
    names(&faults, ("free space", "bad"), "MiB", "make room");
    names(&faults, ("mount", "bad"), "keys/ lies in memory", "move the vault to a disk");
    names(&faults, ("keyring", "warning"), "tmpfs", "ext4");
    let read_only = format!("mount --bind {vault} {vault} && mount -o remount,bind,ro {vault}");
    let faults = examined_after(&machine, &ALONE, &read_only);
    names(&faults, ("mount", "bad"), "read-only", "remount,rw");
}
