//! docs/ASVS.md: every requirement once, every test that it names there, every number right. And what it needed that no other
//! test showed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The requirements that are answered, in the standard's order: id and level.
const REQUIREMENTS: &str = include_str!("../fixtures/asvs-5.0.0.txt");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One row of the tables.
struct Row<'a> {
    id: &'a str,
    level: &'a str,
    title: &'a str,
    answer: &'a str,
    place: &'a str,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let rows =
        text.lines().filter(|line| line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, level, title, answer, place] = cells[..] else { panic!("{line}") };
        Row { id, level, title, answer: answer.trim_matches('*'), place }
    })
    .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a source has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    source.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let before = &source[..at];
        let attributes = &before[before.rfind("}\n").map_or(0, |end| end + 2)..];
        attributes.contains("#[test]") || attributes.contains("#[tokio::test")
    })
}

/// How a heading of a document is linked to: small letters, no marks, hyphens for spaces.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()));
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-').collect::<String>();
        kept.replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_requirement_is_answered_once_and_in_the_standards_order() {
    let text = read("docs/ASVS.md");
    let answered: Vec<String> = rows(&text).iter().map(|row| format!("{} {}", row.id, row.level)).collect();
    let wanted: Vec<&str> = REQUIREMENTS.lines().collect();
    assert_eq!(answered, wanted);
    let levels = |level: &str| wanted.iter().filter(|line| line.ends_with(level)).count();
    // 70 of level 1, 183 of level 2, and 8.3.2, 11.3.4, 14.2.6, 14.2.7.
    assert_eq!((levels(" 1"), levels(" 2"), levels(" 3")), (70, 183, 4));
    assert!(rows(&text).iter().all(|row| !row.title.is_empty()));
}

#[test]
fn whatever_an_answer_names_is_there() {
    let text = read("docs/ASVS.md");
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows(&text) {
        let (mut tests, mut files, mut links) = (0, 0, 0);
        for named in quoted(row.place) {
            if let Some((file, test)) = named.split_once("::").filter(|(file, _)| file.ends_with(".rs")) {
                tests += 1;
                let source = sources
                    .entry(file.to_owned())
                    .or_insert_with(|| fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default());
                if !has_test(source, test) {
                    wrong.push(format!("{}: there is no test {named}", row.id));
                }
            } else if named.contains('/') && (named.ends_with(".rs") || named.starts_with("tests/")) || named == "Cargo.toml" {
                files += 1;
                if !Path::new(ROOT).join(named).is_file() {
                    wrong.push(format!("{}: there is no file {named}", row.id));
                }
            }
        }
        for link in row.place.split("](").skip(1) {
            links += 1;
            let link = link.split(')').next().unwrap();
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let there = fs::read_to_string(Path::new(ROOT).join("docs").join(file)).unwrap_or_default();
            if there.is_empty() || !anchor.is_empty() && !anchors(&there).iter().any(|known| known == anchor) {
                wrong.push(format!("{}: there is no {link}", row.id));
            }
        }
        let is_whole = match row.answer {
            "shown" => tests > 0,
            "written" => links > 0,
            "built so" => files > 0 && row.place.contains(". "),
            "not here" => tests == 0 && row.place.len() > 5,
            "gap" => row.place.len() > 10,
            other => panic!("{}: {other} is no answer", row.id),
        };
        if !is_whole {
            wrong.push(format!("{}: {} without what it needs", row.id, row.answer));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_numbers_at_the_top_are_those_of_the_tables() {
    let text = read("docs/ASVS.md");
    for answer in ["shown", "written", "built so", "not here", "gap"] {
        let count = rows(&text).iter().filter(|row| row.answer == answer).count();
        let line = text.lines().find(|line| line.starts_with(&format!("| **{answer}** |"))).unwrap();
        assert!(line.ends_with(&format!("| {count} |")), "{answer}: {count}, and {line}");
    }
}

#[test]
fn a_test_that_is_not_there_would_be_missed() {
    let source = "#[test]\nfn one() {}\n\nfn two() {\n}\n\n#[tokio::test]\nasync fn three() {}\n";
    assert!(has_test(source, "one") && has_test(source, "three"));
    assert!(!has_test(source, "two") && !has_test(source, "thre") && !has_test(source, "four"));
    assert_eq!(anchors("# Who holds it, W1?\ntext\n## a-b c"), ["who-holds-it-w1", "a-b-c"]);
}

/// The sources of the program, without their tests.
fn program() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "tests" {
                walk(&path, found);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.clone(), text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()));
            }
        }
    }
    let mut found = Vec::new();
    ["src", "keys/src"].iter().for_each(|folder| walk(&Path::new(ROOT).join(folder), &mut found));
    assert!(found.len() > 100);
    found
}

#[test]
fn the_program_starts_no_other_program() {
    for (path, text) in program() {
        assert!(!text.contains("process::Command") && !text.contains("Command::new("), "{}", path.display());
    }
}

#[test]
fn the_release_stops_at_an_overflow() {
    let release = read("Cargo.toml");
    let release = release.split("[profile.release]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(release.lines().any(|line| line == "overflow-checks = true"));
}

#[test]
fn broken_hashes_and_ciphers_are_banned() {
    let (bans, lock) = (read("deny.toml"), read("Cargo.lock"));
    for broken in ["md-5", "sha1", "rsa"] {
        assert!(bans.contains(&format!("crate = \"{broken}\", reason")), "{broken}");
    }
    for broken in ["md-5", "md5", "sha1", "sha-1", "rc4", "des", "rsa", "cbc", "ecb"] {
        assert!(!lock.contains(&format!("\nname = \"{broken}\"\n")), "{broken}");
    }
}

#[test]
fn the_adversary_is_in_no_build_that_is_not_a_test() {
    let manifest = read("Cargo.toml");
    let (built, tested) = manifest.split_once("[dev-dependencies]").unwrap();
    assert!(!built.contains("attacker") && tested.contains("\"attacker\""));
    assert!(read("keys/src/lib.rs").contains("#[cfg(feature = \"attacker\")]\npub mod attacker;"));
}

#[test]
fn no_client_of_ours_follows_a_redirect() {
    let mut clients = 0;
    for (path, text) in program() {
        let made =
            text.matches("config_builder()").count() + text.matches("ureq::get(").count() + text.matches("ureq::post(").count();
        assert_eq!(made, text.matches(".max_redirects(0)").count(), "{}", path.display());
        clients += made;
    }
    assert!(clients >= 3, "{clients}");
}
