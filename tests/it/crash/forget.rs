//! Nobody brings the erased back.
//!
//! A process makes a vault, loads people, rectifies some, erases 100, and every byte that it writes is recorded. The
//! adversary ([`keys::attacker`]) then holds everything that was ever written below `data/`, every row that ever was, the
//! root key file with its passphrase, the ids of everybody, and the keyring as it is now. It must open nothing of the erased
//! and everything of the living. The control is the same adversary who also kept every slot that the keyring ever held, as
//! if epochs were never closed: it must bring all 100 back, or this test would show nothing.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use keys::attacker::{Held, Loot, attack};
use oubliette::model::field::AliasKind;
use oubliette::model::ids::{RecordId, SubjectId, TenantId};
use oubliette::model::time::Clock;
use oubliette::model::wire::ContractState;
use oubliette::store::sled::{Settings, SledStore};
use oubliette::store::{Batch, Row, Store, StoreError};
use oubliette::tenant::Tenant;
use oubliette::vault::Vault;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::house::{self, House, from, group_erasure, id_of, notice, place, process, runtime, subject_erasure};
use super::scan::{Ciphertexts, Strings, pieces, stretches};
use crate::recorder::{Recording, record};

const CHILD: &str = "crash::forget::lives_and_forgets";

/// In every value that the vault is given, and nowhere else.
const CANARY: &str = "kzqv";

const ERASED: usize = 100;
const SLOT: usize = 4_096;
/// In the order of the shipped catalogue.
const ADDRESS: u16 = 6;

/// What the process tells about one person.
#[derive(Serialize, Deserialize)]
struct Person {
    id: SubjectId,
    email: String,
    external: String,
    contract: Option<String>,
    records: Vec<Record>,
    erased: bool,
}

#[derive(Serialize, Deserialize)]
struct Record {
    id: RecordId,
    /// Some value of the newest version: field number and JSON text.
    value: (u16, String),
    /// Deleted, or under no purpose group that is left.
    gone: bool,
}

#[derive(Serialize, Deserialize)]
struct Facts {
    vault: SubjectId,
    tenant: SubjectId,
    people: Vec<Person>,
}

/// A store that writes every row that it keeps to a file of its own: whoever reads sled's files can do the same.
struct Copying {
    store: SledStore,
    copy: Mutex<BufWriter<File>>,
}

impl Copying {
    fn over(store: SledStore, path: &Path) -> Self {
        let rows = store.scan(b"", None, usize::MAX).unwrap();
        let copying = Self { store, copy: Mutex::new(BufWriter::new(File::create_new(path).unwrap())) };
        rows.iter().for_each(|(key, value)| copying.keep(key, value));
        copying
    }

    fn keep(&self, key: &[u8], value: &[u8]) {
        let mut copy = self.copy.lock();
        copy.write_all(&[key.len() as u8]).unwrap();
        copy.write_all(&(value.len() as u16).to_be_bytes()).unwrap();
        copy.write_all(key).unwrap();
        copy.write_all(value).unwrap();
    }

    fn read(path: &Path) -> Vec<Row> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut rows = HashSet::new();
        while let [key, a, b, after @ ..] = rest {
            let (key, after) = after.split_at(usize::from(*key));
            let (value, after) = after.split_at(usize::from(u16::from_be_bytes([*a, *b])));
            rows.insert((key.to_vec(), value.to_vec()));
            rest = after;
        }
        assert!(rest.is_empty());
        rows.into_iter().collect()
    }
}

impl Store for Copying {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.row(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.store.scan(prefix, after, limit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.commit(batch)?;
        batch
            .writes
            .iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)))
            .for_each(|(key, value)| self.keep(key, value));
        Ok(())
    }

    fn room(&self) -> Result<u64, StoreError> {
        self.store.room()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.store.size_on_disk()
    }
}

/// `work` for every item, 64 at a time.
async fn each<T, F>(items: impl IntoIterator<Item = T>, work: impl Fn(T) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = tokio::task::JoinSet::new();
    for item in items {
        if running.len() == 64 {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(work(item));
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn lives_and_forgets() {
    let Some((directory, setting)) = place() else { return };
    let home = directory.parent().unwrap();
    house::build(&directory);
    let store = SledStore::open(&directory.join("data/db"), Settings { cache_bytes: 64 << 20, reserve: None }, Arc::new(|_| {}));
    let store: Arc<dyn Store> = Arc::new(Copying::over(store.unwrap(), &home.join("rows")));
    let vault = keys::root::vault(&directory.join("keys/root")).unwrap();
    let tenant = TenantId::from_bytes(keys::digest::sha256(&[b"a tenant", &vault])[..16].try_into().unwrap());
    let facts = runtime().block_on(async {
        let tenants = vec![Tenant::shipped(tenant).unwrap()];
        let vault = Vault::over(house::config(&directory), Clock::system(), vault, store, tenants);
        let house = House::unseal(vault, &home.join("tokens")).await;
        let people = live(&house, setting.parse().unwrap()).await;
        let ids = (SubjectId::from_bytes(*house.vault.id().bytes()), SubjectId::from_bytes(*tenant.bytes()));
        house.vault.close().await;
        Facts { vault: ids.0, tenant: ids.1, people }
    });
    fs::write(home.join("facts"), serde_json::to_vec(&facts).unwrap()).unwrap();
}

/// Loads, rectifies, deletes, withdraws, erases.
async fn live(house: &House, count: usize) -> Vec<Person> {
    let mut people = load(house, count).await;
    let now = |what: &str, at: Instant| println!("{what}: {:.1} s", at.elapsed().as_secs_f32());

    let at = Instant::now();
    let rectified = people.iter_mut().enumerate().filter(|(n, _)| n % 15 == 0);
    let rectified: Vec<_> = rectified
        .map(|(n, person)| {
            let address = format!("{CANARY} second address of {n}");
            person.records[0].value = (ADDRESS, json!(address).to_string());
            (person.id, person.records[0].id, address)
        })
        .collect();
    each(rectified, |(subject, record, address)| {
        let house = house.clone();
        async move { house.rectify(subject, record, 1, json!({ "address": address })).await.unwrap() }
    })
    .await;
    now("rectifications", at);

    let at = Instant::now();
    for person in people.iter_mut().filter(|person| !person.erased && person.records.len() > 1).take(10) {
        let call = house.call("writer", None);
        house.vault.delete_record(&call, person.id, person.records[1].id).await.unwrap();
        person.records[1].gone = true;
    }
    let only_marketing = json!({"kind": "taste", "fields": {"interests": [format!("{CANARY} interest")]}});
    for person in people.iter_mut().filter(|person| !person.erased).skip(20).take(10) {
        house.agree(person.id, "c-marketing").await.unwrap();
        let id = house.write(person.id, "c-marketing", only_marketing.clone()).await.unwrap();
        person.records.push(Record { id, value: (0, String::new()), gone: true });
        let erasure = house.open_erasure(group_erasure(person.id, "marketing")).await.unwrap();
        house.approve(erasure).await.unwrap();
    }
    now("deletions and withdrawals", at);

    let at = Instant::now();
    let mut erasures = Vec::new();
    for person in people.iter().filter(|person| person.erased) {
        erasures.push(house.open_erasure(subject_erasure(person.id)).await.unwrap());
    }
    let alone = erasures.split_off(ERASED * 4 / 5);
    each(erasures, |erasure| {
        let house = house.clone();
        async move { house.approve(erasure).await.unwrap() }
    })
    .await;
    for erasure in alone {
        house.approve(erasure).await.unwrap();
    }
    now("erasures", at);
    people
}

async fn load(house: &House, count: usize) -> Vec<Person> {
    let at = Instant::now();
    let mut people = Vec::new();
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(500) {
        let email = |n: usize| format!("{CANARY}.{n}@example.org");
        let external = |n: usize| format!("{CANARY}-{n}");
        let bodies = some.iter().map(|&n| {
            let aliases = json!([{"type": "email", "value": email(n)}, {"type": "external_id", "value": external(n)}]);
            Ok(from(&json!({"class": "consumer", "jurisdiction": "DE", "aliases": aliases, "notice": notice()})))
        });
        let call = house.call("writer", Some("a-account"));
        let made = house.vault.create_subjects(&call, bodies.collect()).await.unwrap();
        for (&n, made) in some.iter().zip(made) {
            let id = id_of(&made.unwrap());
            let (email, external, contract) = (email(n), external(n), n.is_multiple_of(20).then(|| format!("C-{n}")));
            people.push(Person { id, email, external, contract, records: Vec::new(), erased: n % (count / ERASED) == 0 });
        }
    }
    println!("people: {:.1} s", at.elapsed().as_secs_f32());

    let at = Instant::now();
    let mut bodies = Vec::new();
    for (n, person) in people.iter().enumerate() {
        let address = format!("{CANARY} first address of {n}");
        let fields = json!({"name": format!("{CANARY} name"), "email": person.email, "address": address});
        let purposes = ["a-account", "b-service", "c-marketing"];
        bodies.push((
            n,
            "a-account",
            ADDRESS,
            json!(address),
            json!({"kind": "contact", "purposes": purposes, "fields": fields}),
        ));
        if n.is_multiple_of(10) {
            // Larger than a row.
            let message = format!("{CANARY} message of {n} ").repeat(400);
            let fields = json!({ "message": message });
            bodies.push((n, "b-care", 0, json!(message), json!({"kind": "message", "fields": fields})));
        }
    }
    bodies.sort_by_key(|(_, purpose, ..)| *purpose);
    for some in bodies.chunk_by(|a, b| a.1 == b.1).flat_map(|same| same.chunks(250)) {
        let body = |(n, _, _, _, record): &(usize, _, _, _, Value)| {
            Ok(from(&json!({"subject": people[*n].id.to_string(), "record": record})))
        };
        let call = house.call("writer", Some(some[0].1));
        let made = house.vault.write_records(&call, some.iter().map(body).collect()).await.unwrap();
        for ((n, _, number, value, _), made) in some.iter().zip(made) {
            let record = Record { id: id_of(&made.unwrap()), value: (*number, value.to_string()), gone: false };
            people[*n].records.push(record);
        }
    }
    println!("records: {:.1} s", at.elapsed().as_secs_f32());
    let contracts: Vec<_> = people.iter().filter_map(|person| Some((person.id, person.contract.clone()?))).collect();
    each(contracts, |(subject, reference)| {
        let house = house.clone();
        async move {
            let body = from(&json!({"state": ContractState::Active, "from": "2026-01-01"}));
            house.vault.put_contract(&house.call("writer", None), subject, reference, body).await.unwrap();
        }
    })
    .await;
    people
}

/// Everything that is on the adversary's table.
struct Archive {
    facts: Facts,
    root: Vec<u8>,
    rows: Vec<Row>,
    strays: Vec<Vec<u8>>,
}

impl Archive {
    fn attack(&self, slots: &[Vec<u8>]) -> Loot {
        let held = Held {
            vault: *self.facts.vault.bytes(),
            tenant: *self.facts.tenant.bytes(),
            root: &self.root,
            passphrase: house::PASSPHRASE,
            slots,
            rows: &self.rows,
            strays: &self.strays,
        };
        attack(&held)
    }

    fn people(&self, erased: bool) -> impl Iterator<Item = &Person> {
        self.facts.people.iter().filter(move |person| person.erased == erased)
    }

    /// Of how many people the adversary has anything at all: a key, a row, a record, a field.
    fn opened(&self, loot: &Loot, erased: bool) -> usize {
        let mut ids: BTreeSet<[u8; 16]> = loot.subjects.clone();
        ids.extend(loot.record_keys.iter().map(|(subject, _)| subject));
        ids.extend(loot.fields.keys().map(|(subject, _)| subject));
        ids.extend(
            loot.rows
                .iter()
                .filter(|(key, _)| matches!(key[0], b's' | b'c'))
                .map(|(key, _)| -> [u8; 16] { key[1..17].try_into().unwrap() }),
        );
        self.people(erased).filter(|person| ids.contains(person.id.bytes())).count()
    }

    /// Of how many people the adversary has the given value of every record that is not gone.
    fn read(&self, loot: &Loot, erased: bool) -> usize {
        let has = |person: &Person, record: &Record| {
            let fields = loot.fields.get(&(*person.id.bytes(), *record.id.bytes()));
            let (number, value) = &record.value;
            let same = |field: &(u16, Vec<u8>)| (*number == 0 || field.0 == *number) && field.1 == value.as_bytes();
            fields.is_some_and(|fields| fields.iter().any(same))
        };
        self.people(erased).filter(|person| person.records.iter().filter(|record| !record.gone).all(|r| has(person, r))).count()
    }

    /// The tags that the addresses of these people have: what a dictionary gives.
    fn tags(&self, loot: &Loot, erased: bool) -> Vec<[u8; 24]> {
        let tag = |kind: &str, value: &str| {
            let kind = AliasKind::named(kind).unwrap().number();
            loot.alias_tag(self.facts.tenant.bytes(), kind, value).unwrap()
        };
        let both = |person: &Person| [tag("email", &person.email), tag("external_id", &person.external)];
        self.people(erased).flat_map(both).collect()
    }

    /// How many of these tags stand in an alias bucket or a row that the adversary opened.
    fn confirmed(&self, loot: &Loot, tags: &[[u8; 24]]) -> usize {
        let known: HashSet<[u8; 24]> = loot.aliases.iter().map(|(tag, _)| *tag).collect();
        let mut strings = Strings::new(tags.iter().map(<[u8; 24]>::as_slice));
        loot.rows.iter().for_each(|(_, plain)| strings.search(plain));
        tags.iter().filter(|tag| known.contains(*tag) || strings.found.contains(tag.as_slice())).count()
    }
}

fn people() -> usize {
    std::env::var("OUBLIETTE_FORGET_PEOPLE").map_or(10_000, |count| count.parse().unwrap())
}

#[test]
fn nobody_brings_the_erased_back() {
    let home = house::Home::new();
    let (directory, log) = (home.path().join("vault"), home.path().join("log"));
    fs::create_dir(&directory).unwrap();
    let count = people();
    let mut child = process(CHILD, &directory, &count.to_string());
    record(&mut child, &directory, &log);
    let at = Instant::now();
    let done = child.output().unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    eprint!("{}", String::from_utf8_lossy(&done.stdout));
    eprintln!("lived {:.1} s, log of {} MB", at.elapsed().as_secs_f32(), fs::metadata(&log).unwrap().len() >> 20);

    let at = Instant::now();
    let recording = Recording::load(&log, None);
    let is_data = |path: &str| path.starts_with("data/");
    let rows = Copying::read(&home.path().join("rows"));
    let mut ciphertexts = Ciphertexts::default();
    stretches(&recording, super::scan::LONGEST, is_data, |bytes| ciphertexts.gather(bytes));
    let in_rows: HashSet<_> = rows.iter().flat_map(|(_, value)| Ciphertexts::heads(value)).collect();
    let unseen = in_rows.iter().filter(|head| !ciphertexts.found.contains_key(*head)).count();
    assert_eq!(unseen, 0, "the search of the raw bytes misses ciphertexts that are known to be there");
    let strays = ciphertexts.found.iter().filter(|(head, _)| !in_rows.contains(*head));
    let strays: Vec<_> = strays.flat_map(|(_, all)| all.iter().cloned()).collect();
    eprintln!(
        "gathered {} rows, {} ciphertexts, {} strays in {:.1} s",
        rows.len(),
        ciphertexts.found.len(),
        strays.len(),
        at.elapsed().as_secs_f32()
    );

    let facts: Facts = serde_json::from_slice(&fs::read(home.path().join("facts")).unwrap()).unwrap();
    let archive = Archive { facts, root: fs::read(directory.join("keys/root")).unwrap(), rows, strays };
    let living = count - ERASED;
    assert_eq!(archive.people(true).count(), ERASED);

    let at = Instant::now();
    let today: Vec<_> = fs::read(directory.join("keys/keyring")).unwrap().chunks(SLOT).map(<[u8]>::to_vec).collect();
    let loot = archive.attack(&today);
    eprintln!(
        "today's keyring: {} epochs, {} tree rows, {} subjects, {} records, {} strays in {:.1} s",
        loot.epochs,
        loot.tree_rows,
        loot.subjects.len(),
        loot.fields.len(),
        loot.strays,
        at.elapsed().as_secs_f32()
    );
    assert_eq!(loot.epochs, 1, "one epoch lives");
    assert!(loot.has_system_keys());
    assert_eq!(archive.opened(&loot, false), living, "the adversary opens all who live");
    assert_eq!(archive.read(&loot, false), living, "with what was last written of them");
    assert_eq!(archive.opened(&loot, true), 0, "nobody erased is opened, by whatever part");
    assert_eq!(loot.subjects.len(), living, "and nobody else is known");
    let gone: Vec<_> = archive.people(false).flat_map(|person| person.records.iter().filter(|record| record.gone)).collect();
    assert_eq!(gone.len(), 20);
    let opened: HashSet<_> = loot.record_keys.iter().map(|(_, record)| *record).collect();
    assert_eq!(
        gone.iter().filter(|record| opened.contains(record.id.bytes())).count(),
        0,
        "deleted and withdrawn records stay shut"
    );

    let tags = archive.tags(&loot, true);
    assert_eq!(archive.confirmed(&loot, &tags), 0, "no guess about somebody erased is confirmed");
    assert_eq!(archive.confirmed(&loot, &archive.tags(&loot, false)), 2 * living, "every guess about the living is");
    // Row keys are in the files too, so a digest in one must not be under a key that lives.
    let guess = |person: &Person| {
        let reference = person.contract.as_ref()?.as_bytes();
        Some([loot.keyed_digest("contract", &[person.id.bytes(), reference])?, loot.keyed_digest("contract", &[reference])?])
    };
    let references: Vec<[u8; 32]> = archive.people(true).filter_map(guess).flatten().collect();
    assert!(references.len() >= 10);

    let at = Instant::now();
    let sought = tags.iter().map(<[u8; 24]>::as_slice).chain(references.iter().map(|digest| &digest[..16]));
    let mut strings = Strings::new(sought.chain([CANARY.as_bytes()]));
    let longest = strings.longest();
    stretches(&recording, longest, is_data, |bytes| strings.search(bytes));
    assert!(!strings.found.contains(CANARY.as_bytes()), "a value lies in the files in the clear");
    assert_eq!(strings.found.len(), 0, "what a living key makes of a guess lies in the files");
    eprintln!("strings in {:.1} s", at.elapsed().as_secs_f32());

    // The control: sealing switched off, for whoever kept the slots.
    let at = Instant::now();
    let ever = pieces(&recording, "keys/keyring", SLOT);
    let loot = archive.attack(&ever);
    eprintln!("every keyring that ever was: {} epochs, in {:.1} s", loot.epochs, at.elapsed().as_secs_f32());
    assert_eq!(archive.opened(&loot, true), ERASED);
    assert_eq!(archive.read(&loot, true), ERASED, "the control must bring everybody back");
    assert_eq!(archive.confirmed(&loot, &archive.tags(&loot, true)), 2 * ERASED);
    assert_eq!(archive.read(&loot, false), living);
}
