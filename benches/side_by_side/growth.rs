//! What grows, or must not, with the number of subjects: the cost of an erasure, memory, disk, the time to start.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::spread::{Spread, percentile};
use crate::vault::Vault;
use crate::{Failure, GrowthArgs, people, process};

/// `erasure-cost`: at each number of subjects, that many erasures one after the other.
pub(crate) async fn erasure_cost(args: GrowthArgs) -> Result<(), Failure> {
    let scratch = args.place.scratch()?;
    let vault = Vault::start(&args.place.binary(), &scratch.path().join("vault"), "durable").await?;
    let officers = vault.officers()?;
    println!("{}\n", machine(scratch.path()));
    println!(
        "| subjects | open, ms p50 | approve to sealed, ms p50 · p99 | both ÷ those at {} | fdatasync, ms |",
        args.subjects[0]
    );
    println!("|---|---|---|---|---|");
    let (mut loaded, mut first) = (0, None);
    for &subjects in &args.subjects {
        let ids = people::load(&vault, loaded, subjects).await?;
        loaded = subjects;
        // From all over, not those who were written last.
        let victims = ids.iter().step_by((ids.len() / args.times).max(1)).take(args.times);
        let mut connection = vault.target.connect().await?;
        let (mut open, mut approve) = (Vec::new(), Vec::new());
        for subject in victims {
            let [opened, approved] = officers.erase(&mut connection, subject).await?;
            open.push(opened.as_micros() as u32);
            approve.push(approved.as_micros() as u32);
        }
        open.sort_unstable();
        approve.sort_unstable();
        let both = f64::from(percentile(&open, 0.5) + percentile(&approve, 0.5));
        let base = *first.get_or_insert(both);
        println!(
            "| {subjects} | {:.1} | {:.1} · {:.1} | {:.2} | {:.2} |",
            f64::from(percentile(&open, 0.5)) / 1e3,
            f64::from(percentile(&approve, 0.5)) / 1e3,
            f64::from(percentile(&approve, 0.99)) / 1e3,
            both / base,
            sync_cost(scratch.path())?
        );
    }
    Ok(())
}

/// `footprint`: memory and disk at each number of subjects, each with a record of a kibibyte.
pub(crate) async fn footprint(args: GrowthArgs) -> Result<(), Failure> {
    let scratch = args.place.scratch()?;
    let dir = scratch.path().join("vault");
    let mut vault = Vault::start(&args.place.binary(), &dir, "durable").await?;
    let empty = vault.server.resident()?;
    println!("{}\n", machine(scratch.path()));
    println!("resident memory of the empty vault: {:.1} MiB\n", empty as f64 / 1_048_576.0);
    println!(
        "| subjects | loaded, records a second | resident, MiB | above empty, B a subject | after a restart, MiB | disk, MiB | disk ÷ plaintext |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut loaded = 0;
    for &subjects in &args.subjects {
        let begin = Instant::now();
        people::load(&vault, loaded, subjects).await?;
        let rate = (subjects - loaded) as f64 / begin.elapsed().as_secs_f64();
        loaded = subjects;
        let resident = vault.server.resident()?;
        vault.server.stop()?;
        vault = Vault::start(&args.place.binary(), &dir, "durable").await?;
        let again = vault.server.resident()?;
        let (_, disk) = process::disk(&vault.dir.join("data"))?;
        println!(
            "| {subjects} | {rate:.0} | {:.1} | {:.0} | {:.1} | {:.1} | {:.2} |",
            resident as f64 / 1_048_576.0,
            resident.saturating_sub(empty) as f64 / subjects as f64,
            again as f64 / 1_048_576.0,
            disk as f64 / 1_048_576.0,
            disk as f64 / (subjects * people::PLAINTEXT) as f64
        );
    }
    Ok(())
}

/// `cold-start`: from the start of the process until `/readyz` answers 200, at each number of subjects.
pub(crate) async fn cold_start(args: GrowthArgs) -> Result<(), Failure> {
    let scratch = args.place.scratch()?;
    let dir = scratch.path().join("vault");
    let mut vault = Vault::start(&args.place.binary(), &dir, "durable").await?;
    println!("{}\n", machine(scratch.path()));
    println!("| subjects | start to ready, s, median (least–greatest) of {} |", args.times.min(5));
    println!("|---|---|");
    let mut loaded = 0;
    for &subjects in &args.subjects {
        people::load(&vault, loaded, subjects).await?;
        loaded = subjects;
        let mut starts = Vec::new();
        for _ in 0..args.times.min(5) {
            vault.server.stop()?;
            vault = Vault::start(&args.place.binary(), &dir, "durable").await?;
            starts.push(vault.start.as_secs_f64());
        }
        println!("| {subjects} | {} |", Spread::of(starts));
    }
    Ok(())
}

/// Cores, processor, kernel and the cost of a sync, in one line.
pub(crate) fn machine(dir: &Path) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("?", |l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let sync = sync_cost(dir).map_or("?".to_owned(), |ms| format!("{ms:.2}"));
    format!(
        "{cores} × {model}, Linux {}; fdatasync of one block {sync} ms at the median.",
        read("/proc/sys/kernel/osrelease").trim()
    )
}

/// Milliseconds of writing and syncing one block of a file that is there already: median of 50.
fn sync_cost(dir: &Path) -> Result<f64, Failure> {
    let path = dir.join("sync");
    let file = File::create(&path)?;
    file.write_all_at(&[0; 4096], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for n in 0..50_u8 {
        let begin = Instant::now();
        file.write_all_at(&[n; 4096], 0)?;
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(&path)?;
    Ok(Spread::of(times).median)
}
