//! The key room: envelopes, wraps, the trees and the transition of an epoch.

use std::sync::atomic::{AtomicUsize, Ordering};

use divan::{Bencher, black_box};
use keys::{Group, Inserts, RecordContext, Shred};

use crate::forest::{self, VAULT, groups, subject};

const SIZES: [usize; 2] = [10_000, 100_000];

fn context(who: usize) -> RecordContext {
    RecordContext {
        vault: VAULT,
        tenant: [1; 16],
        subject: subject(who),
        groups: groups(),
        record: [3; 16],
        version: 1,
        schema: 1,
        label: [4; 32],
    }
}

/// R1: a kibibyte in four fields.
#[divan::bench]
fn encrypt_1_kib(bencher: Bencher<'_, '_>) {
    let forest = forest::of(SIZES[0]);
    let keys = forest.hierarchy.subject(&forest.rows, &subject(0)).expect("rows").expect("a subject");
    let (key, _) = keys.new_record_key(&[3; 16], groups()).expect("a record key");
    let text = [b'x'; 256];
    let fields = [(1, &text[..]), (4, &text), (5, &text), (6, &text)];
    bencher.bench(|| key.encrypt(black_box(&context(0)), &fields));
}

/// R1, the whole of it.
#[divan::bench]
fn decrypt_1_kib(bencher: Bencher<'_, '_>) {
    let forest = forest::of(SIZES[0]);
    let keys = forest.hierarchy.subject(&forest.rows, &subject(0)).expect("rows").expect("a subject");
    let (key, _) = keys.new_record_key(&[3; 16], groups()).expect("a record key");
    let text = [b'x'; 256];
    let envelope = key.encrypt(&context(0), &[(1, &text[..]), (4, &text), (5, &text), (6, &text)]).expect("an envelope");
    let permit = forest.gate.permit(subject(0), Group::new(1).expect("a group"), None, [5; 16]);
    bencher.bench(|| key.decrypt(&permit, black_box(&context(0)), &envelope, None));
}

/// W1 twice: a new record key, wrapped under two groups.
#[divan::bench]
fn wrap_a_record_key_twice(bencher: Bencher<'_, '_>) {
    let forest = forest::of(SIZES[0]);
    let keys = forest.hierarchy.subject(&forest.rows, &subject(0)).expect("rows").expect("a subject");
    bencher.bench(|| keys.new_record_key(black_box(&[3; 16]), groups()));
}

/// W1: a record key through the group of a permit.
#[divan::bench]
fn unwrap_a_record_key(bencher: Bencher<'_, '_>) {
    let forest = forest::of(SIZES[0]);
    let keys = forest.hierarchy.subject(&forest.rows, &subject(0)).expect("rows").expect("a subject");
    let (_, wraps) = keys.new_record_key(&[3; 16], groups()).expect("a record key");
    let permit = forest.gate.permit(subject(0), Group::new(1).expect("a group"), None, [5; 16]);
    bencher.bench(|| keys.record_key(&permit, black_box(&[3; 16]), &wraps));
}

/// The keys of a subject that are open already.
#[divan::bench(args = SIZES)]
fn subject_again(bencher: Bencher<'_, '_>, size: usize) {
    let forest = forest::of(size);
    bencher.bench(|| forest.hierarchy.subject(&forest.rows, black_box(&subject(1))));
}

/// The keys of ever another subject, more of them than stay open in the larger tree.
#[divan::bench(args = SIZES)]
fn subject_walk(bencher: Bencher<'_, '_>, size: usize) {
    let forest = forest::of(size);
    let next = AtomicUsize::new(0);
    let another = || subject(next.fetch_add(7919, Ordering::Relaxed) % size);
    bencher.with_inputs(another).bench_values(|id| forest.hierarchy.subject(&forest.rows, &id));
}

/// The rows for one new subject; nothing is committed.
#[divan::bench(args = SIZES)]
fn stage_a_subject(bencher: Bencher<'_, '_>, size: usize) {
    let forest = forest::of(size);
    let next = AtomicUsize::new(size * 10);
    let new = || subject(next.fetch_add(1, Ordering::Relaxed));
    bencher.with_inputs(new).bench_values(|id| {
        let subjects = vec![forest.hierarchy.new_subject(id, groups()).expect("keys of a subject")];
        forest.hierarchy.stage(&forest.rows, Inserts { subjects, ..Inserts::default() })
    });
}

/// An epoch transition for one subject, with both writes of the keyring; the rows stay in memory.
#[divan::bench(args = SIZES, sample_count = 50, sample_size = 1)]
fn shred_a_subject(bencher: Bencher<'_, '_>, size: usize) {
    shred(bencher, size, 1);
}

/// The same for a hundred at once.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn shred_100_subjects(bencher: Bencher<'_, '_>, size: usize) {
    shred(bencher, size, 100);
}

fn shred(bencher: Bencher<'_, '_>, size: usize, victims: usize) {
    static NEW: AtomicUsize = AtomicUsize::new(50_000_000);
    let forest = forest::of(size);
    let some = || {
        // Victims of their own, so that the tree keeps its size and other benches their subjects.
        let first = NEW.fetch_add(victims, Ordering::Relaxed);
        forest.insert(first..first + victims);
        (first..first + victims).map(|n| Shred::Subject(subject(n))).collect::<Vec<_>>()
    };
    bencher.with_inputs(some).bench_values(|shreds| {
        let transition = forest.hierarchy.begin(&forest.rows, &shreds).expect("a transition");
        forest.rows.apply(transition.writes());
        forest.hierarchy.finish(transition).expect("an end")
    });
}
