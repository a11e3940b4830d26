//! What a server forbids itself, seen from outside.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::machine::{Machine, last_json, mode};

/// A line of /proc/PID/status.
fn status(id: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
}

#[test]
fn a_server_confines_itself_unless_it_is_told_not_to() {
    let machine = Machine::without_callers();
    {
        let serving = machine.serve_open();
        assert_eq!(serving.said["hardening"]["files"], "on", "these tests need a kernel with Landlock: {}", serving.said);
        assert_eq!(serving.said["hardening"]["calls"], "on");
        // A filter (2), and no way to more rights through a program.
        assert_eq!((status(serving.id(), "Seccomp"), status(serving.id(), "NoNewPrivs")), ("2".into(), "1".into()));
        let limits = fs::read_to_string(format!("/proc/{}/limits", serving.id())).unwrap();
        let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(cores.split_ascii_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    }
    machine.configure("[hardening]\nmemory = 'off'\nfiles = 'off'\ncalls = 'off'\n");
    let serving = machine.serve_open();
    assert_eq!(serving.said["hardening"], json!({"memory": "off", "files": "off", "calls": "off"}));
    assert_eq!((status(serving.id(), "Seccomp"), status(serving.id(), "VmLck")), ("0".into(), "0 kB".into()));
}

#[test]
fn memory_is_locked_where_that_is_allowed_and_required_memory_ends_the_start_where_it_is_not() {
    let machine = Machine::without_callers();
    let serving = machine.serve_open();
    // Who may not raise the limit serves without, and says so.
    let locked = status(serving.id(), "VmLck") != "0 kB";
    assert_eq!(serving.said["hardening"]["memory"] == "on", locked, "{}", serving.said);
    assert!(locked || serving.log().contains("LimitMEMLOCK=infinity"), "{}", serving.log());
    drop(serving);

    machine.configure("[hardening]\nmemory = 'required'\n");
    // Root keeps its rights by capabilities; without them the limit holds for it as for anybody.
    let root = rustix::process::geteuid().is_root();
    let without = if root { "setpriv --bounding-set -sys_resource,-ipc_lock --inh-caps -sys_resource,-ipc_lock" } else { "" };
    let line = format!(
        "ulimit -l 64 && exec {without} {} --json serve --dir {} --listen 127.0.0.1:0 --passphrase-file {}",
        env!("CARGO_BIN_EXE_oubliette"),
        machine.text("vault"),
        machine.text("passphrase"),
    );
    let said = Command::new("bash").args(["-c", &line]).output().unwrap();
    let error = last_json(&said.stderr);
    assert!(!said.status.success(), "it served");
    assert!(error["error"].as_str().unwrap_or_default().contains("hardening.memory is required"), "{error}");
    assert!(error["error"].as_str().unwrap_or_default().contains("64 KiB"), "{error}");
    assert!(error["remedy"].as_str().unwrap_or_default().contains("auto"), "{error}");
}

#[test]
fn a_server_refuses_a_keyring_or_a_root_key_that_others_may_read() {
    for name in ["keys/keyring", "keys/root"] {
        let machine = Machine::without_callers();
        let path = machine.vault().join(name);
        for open in [0o604, 0o640] {
            mode(&path, open);
            let refused = machine.try_serve(&["--passphrase-file", &machine.text("passphrase")]).err().expect("it served");
            assert!(refused["remedy"].is_string(), "{refused}");
        }
        mode(&path, 0o600);
        assert_eq!(machine.serve_open().said["state"], "open");
    }
}

#[test]
fn the_unit_for_systemd_is_strict_and_starts_what_there_is() {
    let unit = include_str!("../../../docs/oubliette.service");
    let value = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    for (name, wanted) in [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("LimitCORE", "0"),
        ("LimitMEMLOCK", "infinity"),
        ("CapabilityBoundingSet", ""),
        ("UMask", "0077"),
    ] {
        assert_eq!(value(name), Some(wanted), "{name}");
    }
    let start: Vec<&str> = value("ExecStart").unwrap().split(' ').collect();
    let help = Command::new(env!("CARGO_BIN_EXE_oubliette")).args([start[1], "--help"]).output().unwrap();
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for option in start.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{option} is no option of {}", start[1]);
    }
}
