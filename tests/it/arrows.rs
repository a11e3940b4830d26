//! The arrows between the rooms: who may use whom. When this fails, move the code.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms that it may name. `cli` and `demo` are at the top and may use all of them.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("tenant", &["model"]),
    ("policy", &["model", "tenant"]),
    ("store", &["model"]),
    ("audit", &["store", "model"]),
    ("auth", &["store", "model"]),
    ("post", &[]),
    ("backup", &["audit", "store", "model"]),
    ("vault", &["policy", "tenant", "audit", "auth", "backup", "post", "store", "model"]),
    ("config", &[]),
    ("telemetry", &["config", "model"]),
    ("server", &["auth", "vault", "model", "policy", "config", "tenant", "telemetry"]),
];

fn sources(room: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let file = root.join(format!("{room}.rs"));
    if file.is_file() {
        return vec![file];
    }
    let mut found = Vec::new();
    let mut folders = vec![root.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "the room {room} has no source");
    found
}

/// The rooms that a source names behind `crate::`.
fn named(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or(""))
}

#[test]
fn every_arrow_between_rooms_runs_downwards() {
    let mut wrong = Vec::new();
    for (room, below) in ARROWS {
        for path in sources(room) {
            // Tests may set a scene with anything.
            if path.file_stem().is_some_and(|stem| stem == "tests") || path.components().any(|part| part.as_os_str() == "tests") {
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for other in named(&source) {
                let is_room = ARROWS.iter().any(|(known, _)| *known == other) || ["cli", "demo"].contains(&other);
                if is_room && other != *room && !below.contains(&other) {
                    wrong.push(format!("{} names {other}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_keys_crate_names_crypto_crates() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    for name in [
        "aes",
        "aes-gcm",
        "argon2",
        "blahaj",
        "cryptoki",
        "ed25519-dalek",
        "hkdf",
        "hmac",
        "sha2",
        "ring",
        "chacha20poly1305",
        "openssl",
    ] {
        let named = dependencies.lines().any(|line| line.split([' ', '=', '.']).next() == Some(name));
        assert!(!named, "the root manifest names {name}");
    }
}
