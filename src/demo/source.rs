//! Where the people of a demo come from: made up, or read from a file of one JSON object a line.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::str::FromStr;

use super::people::people;
use super::person::Person;
use crate::cli::failure::Failure;

/// The seed of the demo's own people.
pub const SEED: u64 = 2026;

/// `--people N` or `--people FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeopleFrom {
    /// So many made-up people.
    Number(usize),
    /// The people of this file.
    File(PathBuf),
}

impl FromStr for PeopleFrom {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map(Self::Number).unwrap_or_else(|_| Self::File(text.into())))
    }
}

impl fmt::Display for PeopleFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(_) => write!(f, "made up from seed {SEED}"),
            Self::File(path) => write!(f, "{}", std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display()),
        }
    }
}

impl PeopleFrom {
    /// All of them, guardians before their wards.
    pub fn people(&self) -> Result<Vec<Person>, Failure> {
        match self {
            Self::Number(n) => Ok(people(*n, SEED).collect()),
            Self::File(path) => {
                let file = std::fs::File::open(path).map_err(|e| {
                    Failure::file("open", path, &e).remedy("name a number of people, or a file of one JSON object a line")
                })?;
                Ok(guardians_first(read(BufReader::new(file), &path.display().to_string())?))
            }
        }
    }
}

/// A bad line is named by its number alone: it may hold a person.
fn read(lines: impl BufRead, name: &str) -> Result<Vec<Person>, Failure> {
    let mut people = Vec::new();
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line.map_err(|e| Failure::new(format!("{name}, line {number}: {e}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let person = serde_json::from_str(&line).map_err(|e| {
            Failure::new(format!("{name}, line {number}, column {}: not a person", e.column()))
                .remedy("each line is a JSON object as docs/VOCABULARY.md draws it under \"people file\"")
        })?;
        people.push(person);
    }
    Ok(people)
}

/// Only wards who stand before their guardians move, to the end; everybody else keeps their place.
fn guardians_first(people: Vec<Person>) -> Vec<Person> {
    let mut seen = HashSet::new();
    let (mut ready, mut early) = (Vec::with_capacity(people.len()), Vec::new());
    for person in people {
        match &person.guardian_external_id {
            Some(guardian) if !seen.contains(guardian) => early.push(person),
            _ => {
                seen.insert(person.external_id.clone());
                ready.push(person);
            }
        }
    }
    ready.append(&mut early);
    ready
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(people: &[Person]) -> String {
        people.iter().map(|person| serde_json::to_string(person).unwrap() + "\n").collect()
    }

    #[test]
    fn a_number_makes_people_up_and_anything_else_names_a_file() {
        assert_eq!("100".parse(), Ok(PeopleFrom::Number(100)));
        assert_eq!("people.jsonl".parse(), Ok(PeopleFrom::File("people.jsonl".into())));
        assert_eq!(PeopleFrom::Number(7).people().unwrap().len(), 7);
        assert!(PeopleFrom::File("/nowhere/at/all".into()).people().is_err());
    }

    #[test]
    fn a_file_gives_its_people_with_guardians_before_wards() {
        let mut written: Vec<_> = people(300, 5).collect();
        written.reverse();
        let read = guardians_first(read(file_of(&written).as_bytes(), "people").unwrap());
        assert_eq!(read.len(), 300);
        let mut seen = HashSet::new();
        for person in read {
            assert!(person.guardian_external_id.is_none_or(|guardian| seen.contains(&guardian)));
            seen.insert(person.external_id);
        }
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_not_repeated() {
        let text = file_of(&people(2, 5).collect::<Vec<_>>()) + "{\"name\":\"Ada Lovelace\"}\n";
        let Err(refused) = read(text.as_bytes(), "people.jsonl") else { panic!("accepted") };
        assert!(refused.to_string().starts_with("people.jsonl, line 3"), "{refused}");
        assert!(!refused.to_string().contains("Ada"));
    }
}
