//! Rows that were moved, changed, rolled back or taken away behind the vault's back: what they held is not served as what it
//! is not, and the check of rows against the trail names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use oubliette::audit::{Break, Report};
use oubliette::model::caller::{CallerKind, Role};
use oubliette::store::{Batch, Store};
use oubliette::vault::VaultConfig;
use oubliette::vault::check::check;
use serde_json::json;

use crate::house::{Home, House, Token};

type Row = (Vec<u8>, Vec<u8>);

/// A closed vault with rows of every kind, and what it answered while it was open.
struct Scene {
    home: Arc<Home>,
    /// Rows before the last changes: older records, an older tree.
    old: Vec<Row>,
    rows: Vec<Row>,
    /// Requests with every answer that is a true one.
    asks: Vec<(String, &'static str)>,
    truth: BTreeMap<(String, &'static str), Vec<String>>,
    reader: Token,
}

fn rows(home: &Home) -> Vec<Row> {
    home.store().unwrap().scan(b"", None, 100_000).unwrap()
}

/// Writes rows into the closed vault's store; `None` removes one.
fn put(home: &Home, writes: &[(&[u8], Option<&[u8]>)]) {
    let mut batch = Batch::default();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.remove(*key),
        }
    }
    home.store().unwrap().commit(&batch).unwrap();
}

fn report(home: &Home) -> Report {
    let config = VaultConfig { on_fatal: Arc::new(|_| {}), ..VaultConfig::in_dir(home.path()) };
    check(&config, &home.public_key()).unwrap()
}

impl Scene {
    fn set() -> Self {
        let house = House::start();
        let (writer, reader) = (house.holder(Role::Writer), house.holder(Role::Reader));
        let people = [house.ada(), house.ada()];
        for (number, subject) in people.iter().enumerate() {
            let fields = json!({"name": format!("Name {number}"), "email": format!("{number}@example.org"), "address": "x"});
            let record = house.write(subject, &["a-account", "b-service", "c-marketing"], fields);
            house.write(subject, &["b-care"], json!({"message": format!("message {number} ").repeat(900)}));
            let contract = format!("/v1/subjects/{subject}/contracts/ord-1");
            house.put(&contract, &json!({"state": "active", "from": "2026-11-23"})).by(&writer).send().expect(201);
            let body = json!({"kind": "contact", "fields": {"name": "again"}});
            let path = format!("/v1/subjects/{subject}/records");
            house.post(&path, &body).by(&writer).purpose("a-account").header("idempotency-key", subject).send().expect(201);
            assert!(!record.is_empty());
        }
        let erased = house.ada();
        house.contact(&erased);
        let mut asks = Vec::new();
        for subject in people.iter().chain([&erased]) {
            asks.push((format!("/v1/subjects/{subject}"), ""));
            for purpose in ["a-account", "b-service", "b-care", "c-marketing"] {
                asks.push((format!("/v1/subjects/{subject}/records"), purpose));
            }
        }
        let mut scene =
            Self { home: house.home.clone(), old: Vec::new(), rows: Vec::new(), asks, truth: BTreeMap::new(), reader };
        scene.listen(&house);
        // Of the erased nothing is true any more, whatever was answered before.
        let gone: Vec<_> = scene.asks.iter().filter(|(path, _)| path.contains(&erased)).cloned().collect();
        let home = house.close();
        scene.old = rows(&home);
        let house = House::open(home).unwrap();
        for subject in &people {
            let path = format!("/v1/subjects/{subject}/records");
            let seen = house.get(&path).by(&scene.reader).purpose("c-marketing").send().expect(200).json();
            let record = seen["records"][0]["id"].as_str().unwrap().to_owned();
            let patch = house.patch(&format!("{path}/{record}"), &json!({"fields": {"address": "newer"}}));
            patch.by(&writer).purpose("a-account").header("if-match", "\"1\"").send().expect(200);
        }
        house.erase_subject(&erased);
        scene.listen(&house);
        gone.iter().for_each(|ask| drop(scene.truth.insert(ask.clone(), Vec::new())));
        drop(house);
        scene.rows = rows(&scene.home);
        scene
    }

    /// Takes what the open house answers as true.
    fn listen(&mut self, house: &House) {
        for ask in &self.asks {
            if let Some(text) = answered(house, &self.reader, ask) {
                self.truth.entry(ask.clone()).or_default().push(text);
            }
        }
    }

    /// Opens the vault as it lies there, and fails if it answers anything that was never true.
    fn serves_nothing_wrong(&self, what: &str) {
        let Ok(house) = House::open(self.home.clone()) else { return };
        for ask in &self.asks {
            if let Some(text) = answered(&house, &self.reader, ask) {
                assert!(self.truth[ask].contains(&text), "{what}: {ask:?} answered {text}");
            }
        }
    }

    fn of_kind(&self, kind: u8) -> Vec<&Row> {
        self.rows.iter().filter(|(key, _)| key[0] == kind).collect()
    }
}

fn answered(house: &House, reader: &Token, (path, purpose): &(String, &'static str)) -> Option<String> {
    let ask = house.get(path).by(reader);
    let reply = if purpose.is_empty() { ask.send() } else { ask.purpose(purpose).send() };
    (reply.status < 300).then(|| reply.text())
}

/// Every kind of row that the trail answers for.
const KINDS: &[u8] = b"nsrvcxekti";

#[test]
fn every_row_that_was_changed_moved_rolled_back_or_taken_is_named_by_the_check() {
    let scene = Scene::set();
    let home = &scene.home;
    let sound = report(home);
    assert_eq!((sound.first_break, sound.rows_wrong, sound.rows_missing), (None, 0, 0));
    assert!(sound.rows_checked > 20, "{}", sound.rows_checked);
    // One thing at a time, put back after it was looked at.
    let named = |what: &str, writes: &[(&[u8], Option<&[u8]>)]| {
        let mut back: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
        for (key, _) in writes {
            back.push((key, scene.rows.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_slice())));
        }
        put(home, writes);
        let found = report(home);
        assert!(matches!(found.first_break, Some(Break::Row { .. } | Break::MissingRow { .. })), "{what}: {found:?}");
        assert!(found.rows_wrong + found.rows_missing > 0, "{what}");
        put(home, &back);
    };
    for &kind in KINDS {
        let name = char::from(kind);
        let all = scene.of_kind(kind);
        let (key, value) = all.first().unwrap_or_else(|| panic!("there is no row of kind {name}"));
        for at in [0, value.len() / 2, value.len() - 1] {
            let mut flipped = value.clone();
            flipped[at] ^= 0x10;
            named(&format!("a flipped bit of {name}"), &[(key, Some(&flipped))]);
        }
        named(&format!("{name} cut short"), &[(key, Some(&value[..value.len() - 1]))]);
        named(&format!("{name} taken away"), &[(key, None)]);
        let mut elsewhere = (*key).clone();
        *elsewhere.last_mut().unwrap() ^= 1;
        named(&format!("{name} copied elsewhere"), &[(&elsewhere, Some(value))]);
        if let [(one, first), .., (other, last)] = all[..] {
            named(&format!("{name} swapped"), &[(one, Some(last)), (other, Some(first))]);
        }
    }
    let mut rolled_back = 0;
    for (key, value) in &scene.old {
        let now = scene.rows.iter().find(|(known, _)| known == key);
        if KINDS.contains(&key[0]) && now.is_none_or(|(_, now)| now != value) {
            rolled_back += 1;
            named(&format!("an older {}", char::from(key[0])), &[(key, Some(value))]);
        }
    }
    assert!(rolled_back > 5, "{rolled_back}");
    named("a row of no kind", &[(b"z-nothing", Some(b"x"))]);
    assert_eq!(report(home).first_break, None);
}

#[test]
fn no_changed_moved_or_older_row_is_ever_served_as_what_it_is_not() {
    let scene = Scene::set();
    let home = &scene.home;
    scene.serves_nothing_wrong("nothing was changed");
    let attempt = |what: &str, writes: &[(&[u8], Option<&[u8]>)]| {
        put(home, writes);
        scene.serves_nothing_wrong(what);
        // Whatever the vault did about it, the next attempt begins with the same rows.
        let found = rows(home);
        let mut back: Vec<(&[u8], Option<&[u8]>)> = found
            .iter()
            .filter(|(key, _)| scene.rows.iter().all(|(known, _)| known != key))
            .map(|(key, _)| (key.as_slice(), None))
            .collect();
        back.extend(scene.rows.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))));
        put(home, &back);
    };
    for kind in *b"nsrvcke" {
        let name = char::from(kind);
        let all = scene.of_kind(kind);
        let (key, value) = all[0];
        let mut flipped = value.clone();
        flipped[value.len() / 2] ^= 1;
        attempt(&format!("a flipped bit of {name}"), &[(key, Some(&flipped))]);
        if let [(one, first), .., (other, last)] = all[..] {
            attempt(&format!("{name} swapped"), &[(one, Some(last)), (other, Some(first))]);
        }
    }
    // All records of the two people under each other's keys, and everything of the past at once.
    let records = scene.of_kind(b'r');
    let turned: Vec<(&[u8], Option<&[u8]>)> =
        records.iter().zip(records.iter().rev()).map(|((key, _), (_, value))| (key.as_slice(), Some(value.as_slice()))).collect();
    attempt("records turned around", &turned);
    for kinds in [b"n".as_slice(), b"r", b"nsrvcxi", b"nsrvcxektij", b"j"] {
        let past: Vec<(&[u8], Option<&[u8]>)> = scene
            .old
            .iter()
            .filter(|(key, _)| kinds.contains(&key[0]))
            .map(|(key, value)| (key.as_slice(), Some(value.as_slice())))
            .collect();
        attempt(&format!("the past of {}", String::from_utf8_lossy(kinds)), &past);
    }
}

#[test]
fn a_token_row_copied_for_another_caller_lets_nobody_in() {
    let house = House::start();
    let admin = house.holder(Role::KeyAdmin);
    let desk = house.caller(CallerKind::Service, &[Role::Reader], &["b-service"]);
    let home = house.close();
    let tokens: Vec<Row> = rows(&home).into_iter().filter(|(key, _)| key[0] == b't').collect();
    let [(one, first), (other, second)] = &tokens[..] else { panic!("two tokens") };
    put(&home, &[(one, Some(second)), (other, Some(first))]);
    if let Ok(house) = House::open(home.clone()) {
        for token in [&admin, &desk] {
            assert!(house.get("/v1/keys").by(token).send().status >= 400);
        }
    }
    assert!(report(&home).first_break.is_some());
}
