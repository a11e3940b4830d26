//! Decision, trail and store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};
use oubliette::audit::{Entry, Outcome, Trail};
use oubliette::model::caller::{Caller, Grounds, Operation, Role};
use oubliette::model::field::FieldSet;
use oubliette::model::ids::{CallerId, DecisionId, TenantId, TokenId};
use oubliette::model::purpose::GroupSet;
use oubliette::model::standing::{Consent, ConsentState, Standing};
use oubliette::policy::{Ask, Facts, RecordFacts, SubjectFacts, SubjectState, decide};
use oubliette::store::sled::{Settings, SledStore};
use oubliette::store::{Batch, Store};
use oubliette::tenant::{Sources, Tenant};

use crate::forest::directory;

const TENANT: TenantId = TenantId::from_bytes([1; 16]);

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().expect("a time")
}

/// All guards for a read of five fields that rests on a consent, of a record, allowed.
#[divan::bench]
fn decide_a_read(bencher: Bencher<'_, '_>) {
    let tenant = Tenant::shipped(TENANT).expect("the shipped tenant");
    let caller = Caller {
        roles: BTreeSet::from([Role::Reader]),
        purposes: BTreeSet::from(["c-survey".to_owned()]),
        expires_at: now() + SignedDuration::from_hours(24),
        ..Caller::nobody(CallerId::from_bytes([2; 16]), TENANT)
    };
    let consent = Consent {
        id: [3; 16],
        purpose: "c-survey".to_owned(),
        kind: "general".to_owned(),
        state: ConsentState::Given,
        at: now().as_microsecond(),
        until: None,
        policy_version: tenant.version().to_owned(),
        categories: tenant.purpose("c-survey").expect("a purpose").categories.iter().cloned().collect(),
        destroy_at: None,
    };
    let standing = Standing { consents: vec![consent], ..Standing::default() };
    let bare = SubjectFacts::bare(&tenant, SubjectState::Active);
    let subject = SubjectFacts { class: "consumer", jurisdiction: "DE", standing: &standing, ..bare };
    let purposes = ["a-account".to_owned(), "c-marketing".to_owned()];
    let groups: GroupSet = tenant.groups_of(&purposes).expect("groups");
    let record = RecordFacts {
        purposes: &purposes,
        groups,
        collected_at: now(),
        fields: FieldSet::EMPTY,
        id: None,
        source: None,
        session: false,
    };
    let fields: Vec<u16> = ["name", "email", "phone", "interests", "survey_answers"]
        .iter()
        .map(|name| tenant.field(name).expect("a field").number)
        .collect();
    let facts = Facts {
        subject: Some(&subject),
        record: Some(&record),
        fields: &fields,
        key_groups: groups,
        trail: true,
        ..Facts::of(&tenant)
    };
    let ask = Ask {
        caller: &caller,
        operation: Operation::ReadRecords,
        purpose: Some("c-survey"),
        now: now(),
        grounds: &Grounds::NONE,
    };
    assert!(decide(&ask, &facts).is_ok(), "a refusal is cheaper, and not what is meant");
    bencher.bench(|| decide(black_box(&ask), black_box(&facts)).is_ok());
}

/// Reading a policy of 1,000 purposes more, each with a basis of its own in 50 jurisdictions.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn read_a_large_policy(bencher: Bencher<'_, '_>) {
    let mut purposes = Sources::SHIPPED.purposes.to_owned();
    let mut rules = Sources::SHIPPED.rules.to_owned();
    let codes: Vec<String> = (0..50_u8).map(|n| [b'A' + n / 26, b'A' + n % 26].into_iter().map(char::from).collect()).collect();
    for n in 0..1_000 {
        purposes += &format!(
            "\n[[purpose]]\nid = \"p-{n}\"\ntitle = \"p\"\ndpv = [\"dpv:Purpose\"]\ngroup = \"contract\"\ncategories = [\"pd:Name\"]\n"
        );
        for code in &codes {
            rules += &format!(
                "\n[[basis]]\nid = \"p-{n}-{}\"\npurpose = \"p-{n}\"\nareas = [\"{code}\"]\nbasis = \"account\"\nterm = \"t\"\n",
                code.to_lowercase()
            );
        }
    }
    let sources = Sources { purposes: &purposes, rules: &rules, ..Sources::SHIPPED };
    bencher.bench(|| Tenant::read(TENANT, black_box(&sources)).expect("a policy").purposes().len());
}

fn trail(dir: &std::path::Path) -> Trail {
    let signer = Arc::new(|_: &[u8]| Some(([0; 32], [0; 64])));
    Trail::open(dir, signer, [0; 32], "oubliette.local/bench", None).expect("a trail").0
}

fn entry() -> Entry {
    let decision = DecisionId::from_bytes([9; 16]);
    Entry {
        caller: Some(CallerId::from_bytes([2; 16])),
        token: Some(TokenId::from_bytes([3; 16])),
        purpose: Some("b-service".to_owned()),
        tag: Some([4; 16]),
        fields: vec![1, 4, 5, 6],
        records: 1,
        ..Entry::new(now(), decision, "readRecords", Outcome::Allowed, "default-1")
    }
}

/// One entry, handed to the operating system.
#[divan::bench]
fn append_an_entry(bencher: Bencher<'_, '_>) {
    let dir = directory();
    let trail = trail(&dir.path().join("trail"));
    let entry = [entry()];
    bencher.bench(|| trail.append(black_box(&entry)).map(drop));
}

/// One entry or many, on the disk.
#[divan::bench(args = [1, 16, 64])]
fn append_durably(bencher: Bencher<'_, '_>, entries: usize) {
    let dir = directory();
    let trail = trail(&dir.path().join("trail"));
    let entries = vec![entry(); entries];
    bencher.bench(|| {
        let ticket = trail.append(black_box(&entries)).expect("an entry");
        trail.durable_blocking(ticket).map(drop)
    });
}

/// A commit group of so many records of 1.3 KiB.
#[divan::bench(args = [1, 16, 64])]
fn commit_rows(bencher: Bencher<'_, '_>, rows: usize) {
    let dir = directory();
    let store = SledStore::open(&dir.path().join("db"), Settings::default(), Arc::new(|_| ())).expect("a store");
    let next = AtomicU64::new(0);
    let group = || {
        let mut batch = Batch::default();
        for _ in 0..rows {
            let digest = keys::digest::sha256(&[&next.fetch_add(1, Ordering::Relaxed).to_be_bytes()]);
            batch.put([b"r".as_slice(), &digest].concat(), vec![0xa5; 1330]);
        }
        batch
    };
    bencher.with_inputs(group).bench_refs(|batch| store.commit(batch));
}
