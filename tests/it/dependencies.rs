//! docs/DEPENDENCIES.md answers for every crate with unsafe code that is built into the program, and for no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The crates that are built in, with their versions: all features, no macros, nothing that only builds or tests.
fn built_in() -> BTreeSet<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--offline", "--locked", "--all-features", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    let output = tree.args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}"]).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let foreign = text.lines().filter(|line| !line.is_empty() && !line.contains("(/"));
    let parts = foreign.map(|line| line.split_once(" v").unwrap_or_else(|| panic!("{line}")));
    parts.map(|(name, version)| (name.to_owned(), version.split(' ').next().unwrap().to_owned())).collect()
}

/// Where cargo keeps the sources of crates.
fn registries() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"));
    fs::read_dir(home.join("registry/src")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn has_unsafe(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return has_unsafe(&path);
        }
        path.extension().is_some_and(|end| end == "rs") && is_unsafe(&String::from_utf8_lossy(&fs::read(&path).unwrap()))
    })
}

/// Whether a source opens an unsafe block, or has an unsafe function, implementation, trait or foreign block.
fn is_unsafe(source: &str) -> bool {
    let program = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    program.into_iter().any(|line| {
        line.match_indices("unsafe").any(|(at, word)| {
            let before = line[..at].chars().next_back();
            let rest = line[at + word.len()..].trim_start();
            let begins =
                |word: &str| rest.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()));
            let is_word = before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
            is_word && (rest.starts_with('{') || ["fn", "impl", "extern", "trait"].iter().any(|word| begins(word)))
        })
    })
}

/// The crates named in the first column of the table under this heading, each with the rest of its row.
fn answered(heading: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/DEPENDENCIES.md")).unwrap();
    let section = text.split(&format!("## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let mut found = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let (names, answer) = row[2..].split_once(" | ").unwrap();
        for name in names.split(", ") {
            let name = name.trim_matches('`').to_owned();
            assert!(found.insert(name, answer.to_owned()).is_none(), "twice: {names}");
        }
    }
    found
}

#[test]
fn every_crate_with_unsafe_code_has_its_answer_and_no_other_has_one() {
    let registries = registries();
    let mut with_unsafe = BTreeSet::new();
    for (name, version) in built_in() {
        let place = registries.iter().map(|registry| registry.join(format!("{name}-{version}"))).find(|place| place.is_dir());
        let place = place.unwrap_or_else(|| panic!("no source of {name} {version}"));
        // A few keep their sources beside the manifest.
        let sources = Some(place.join("src")).filter(|sources| sources.is_dir()).unwrap_or(place);
        if has_unsafe(&sources) {
            with_unsafe.insert(name);
        }
    }
    assert!(with_unsafe.len() > 50, "{with_unsafe:?}");
    let (hostile, other) =
        (answered("Read hostile bytes, with unsafe code"), answered("With unsafe code that hostile bytes do not steer"));
    let both: Vec<_> = hostile.keys().filter(|name| other.contains_key(*name)).collect();
    assert!(both.is_empty(), "on both lists: {both:?}");
    let known: BTreeSet<String> = hostile.keys().chain(other.keys()).cloned().collect();
    let missing: Vec<_> = with_unsafe.difference(&known).collect();
    let stale: Vec<_> = known.difference(&with_unsafe).collect();
    assert!(missing.is_empty(), "unsafe code without an answer in docs/DEPENDENCIES.md: {missing:?}");
    assert!(stale.is_empty(), "in docs/DEPENDENCIES.md, and not built in or without unsafe code: {stale:?}");
    // What reads hostile bytes has every part of its answer.
    for (name, answer) in hostile {
        let cells: Vec<&str> = answer.trim_end_matches(" |").split(" | ").collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| cell.len() > 8), "{name}: {answer}");
    }
}

#[test]
fn unsafe_code_is_seen_and_talk_about_it_is_not() {
    for source in [
        "unsafe { a }",
        "    let a = unsafe{ b };",
        "pub unsafe fn a() {}",
        "unsafe impl Send for A {}",
        "pub const unsafe extern \"C\" fn a() {}",
    ] {
        assert!(is_unsafe(source), "{source}");
    }
    for source in ["// unsafe { a }", "#![forbid(unsafe_code)]", "let is_unsafe = 1;", "/// unsafe fn", "not_unsafe {"] {
        assert!(!is_unsafe(source), "{source}");
    }
}

/// None of ours, by the word of every crate.
#[test]
fn our_own_crates_forbid_unsafe_code() {
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    assert!(read("Cargo.toml").contains("[workspace.lints.rust]\nunsafe_code = \"forbid\""));
    for manifest in ["Cargo.toml", "keys/Cargo.toml"] {
        assert!(read(manifest).contains("[lints]\nworkspace = true"), "{manifest}");
    }
    for folder in ["src", "keys/src", "tests/it", "benches"] {
        assert!(!has_unsafe(&Path::new(ROOT).join(folder)) || folder == "tests/it", "{folder}");
    }
}
