//! A whole vault in a world that fails: random operations of all kinds against a plain model of what must be there.
//!
//! Each seed makes one world: a vault over the store in memory, with trail and keyring in real files. In each round a fault
//! is drawn (a batch that the store refuses, loses or keeps without saying so; a trail whose sync fails, or that finds
//! no room, until there is room again; a full disk; an orderly stop), operations are drawn until it has struck, and the vault is opened again over what a power cut would have left:
//! the unsynced end of the trail lost, kept or torn, the unsynced batch lost or kept. What was answered must then be there, what
//! was refused must not, and of what was never answered all or nothing. Clocks jump between operations, forwards and back.
//!
//! What is drawn depends on the seed alone; ids and keys are random in every run. `OUBLIETTE_SEEDS="10000 1"` runs
//! 10,000 seeds, from the first one on, and prints each tenth of them; with `OUBLIETTE_TELL` set it prints what is drawn.
//!
//! What is not simulated here: the process that is killed between the steps of the keyring, and sled. Those are killed and cut for
//! real (tests/it/crash, tests/it/store).
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a failure names its seed, a long run says how far it is")]

mod disk;
mod model;
mod world;

use rand::SeedableRng;
use rand::rngs::StdRng;

use model::Op;
use world::{Strike, World};

/// Rounds of one seed, each up to one fault.
const ROUNDS: usize = 3;

/// Operations of one round at the most.
const STEPS: usize = 14;

/// What the seeds have come through so far: a run in which nothing struck shows nothing.
#[derive(Debug, Default)]
struct Tally {
    operations: usize,
    strikes: usize,
    unanswered: usize,
    had_happened: usize,
    erased: usize,
}

async fn run(seed: u64, tally: &mut Tally) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    for _ in 0..ROUNDS {
        let strike = Strike::draw(&mut random);
        tell(&strike);
        world.arm(strike);
        for _ in 0..STEPS {
            let op = Op::draw(&world.model, &mut random);
            tell(&op);
            world.act(op).await;
            tally.operations += 1;
            if world.is_down() {
                world.refuses().await;
                tally.strikes += 1;
                break;
            }
        }
        world.recover(&mut random, tally).await;
        world.agrees().await;
    }
    tally.erased += world.model.erased();
    world.finish().await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn tell(what: &dyn std::fmt::Debug) {
    if std::env::var_os("OUBLIETTE_TELL").is_some() {
        println!("{what:?}");
    }
}

/// Runs the seeds from `first` on; a seed that fails says its number.
fn campaign(first: u64, count: u64) -> Tally {
    let runtime = runtime();
    let mut tally = Tally::default();
    for seed in first..first + count {
        let said = Said(seed);
        runtime.block_on(run(seed, &mut tally));
        std::mem::forget(said);
        if count >= 1_000 && (seed - first + 1).is_multiple_of(count / 10) {
            println!("{} seeds, {tally:?}", seed - first + 1);
        }
    }
    tally
}

/// Dropped only when its seed panics.
struct Said(u64);

impl Drop for Said {
    fn drop(&mut self) {
        eprintln!("the seed is {}: OUBLIETTE_SEEDS=\"1 {}\" runs it alone", self.0, self.0);
    }
}

#[test]
fn whatever_fails_what_was_answered_is_there_and_what_was_refused_is_not() {
    let asked = std::env::var("OUBLIETTE_SEEDS").ok();
    let mut words = asked.iter().flat_map(|text| text.split(' ')).map(|word| word.parse().unwrap());
    let (count, first) = (words.next().unwrap_or(30), words.next().unwrap_or(1));
    let tally = campaign(first, count);
    println!("{count} seeds, {tally:?}");
    if count >= 30 {
        let Tally { strikes, unanswered, had_happened, erased, .. } = tally;
        assert!(strikes as u64 >= count / 2, "faults struck");
        assert!(had_happened > 0 && had_happened < unanswered, "what was not answered had happened at times, at times not");
        assert!(erased > 0);
    }
}

/// The teeth: a store that acknowledges what it has not synced is found out.
#[test]
fn a_store_that_lies_about_its_syncs_is_found_out() {
    let runtime = runtime();
    let lied = std::panic::catch_unwind(|| {
        runtime.block_on(async {
            let mut random = StdRng::seed_from_u64(7);
            let mut world = World::new().await;
            world.lie();
            for _ in 0..STEPS {
                let op = Op::draw(&world.model, &mut random);
                world.act(op).await;
            }
            world.lose_what_no_sync_covered().await;
            world.agrees().await;
        });
    });
    assert!(lied.is_err(), "acknowledged rows were lost, and the model did not see it");
}
