//! `backup`: what keys and backups cost in a vault of that many subjects, beside what the disk does in the same run.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::request;
use crate::growth::machine;
use crate::load::{Bounds, slice};
use crate::spread::Spread;
use crate::vault::Vault;
use crate::{BackupArgs, Failure, people, process};

/// Bytes that the disk's own speed is measured with.
const SEQUENTIAL: u64 = 2 << 30;

/// Runs the measurements one after the other and prints them as a table.
pub(crate) async fn run(args: BackupArgs) -> Result<(), Failure> {
    let scratch = args.place.scratch()?;
    let home = args.keep.clone().unwrap_or_else(|| scratch.path().to_owned());
    fs::create_dir_all(&home)?;
    let (dir, binary) = (home.join("vault"), args.place.binary());
    let subjects = loaded(&binary, &home, args.subjects).await?;
    println!("{}\n{} subjects, one record of {} B each.\n", machine(&home), args.subjects, people::PLAINTEXT);
    println!("| what | figure | measured beside |\n|---|---|---|");
    let target = home.join("target");
    for _ in 0..args.times {
        let _ = fs::remove_dir_all(&target);
        let disk = Disk::measure(&home)?;
        let name = target.to_str().ok_or("a path that is no text")?;
        let mut vault =
            Vault::start_with(&binary, &dir, &[("OUBLIETTE_BACKUP__TARGET", name), ("OUBLIETTE_BACKUP__EVERY_SECONDS", "0")])
                .await?;
        let before = vault.server.cpu()?;
        let (seconds, bytes) = full_backup(&vault, &target).await?;
        disk.said("full backup", bytes, seconds, vault.server.cpu()? - before);
        rotate_root(&vault).await?;
        if args.rotate_tree {
            rotate_tree(&vault, &subjects).await?;
        }
        vault.server.stop()?;
        let disk = Disk::measure(&home)?;
        let before = process::children()?;
        let (seconds, bytes) = restore(&binary, &dir, &target, &home)?;
        disk.said("restore", bytes, seconds, process::children()? - before);
    }
    Ok(())
}

/// The vault's people: loaded, or those of an earlier run.
async fn loaded(binary: &Path, home: &Path, subjects: usize) -> Result<Vec<String>, Failure> {
    let list = home.join("subjects.json");
    if let Ok(text) = fs::read(&list) {
        let known: Vec<String> = serde_json::from_slice(&text)?;
        return if known.len() == subjects { Ok(known) } else { Err("the folder holds another number of subjects".into()) };
    }
    let mut vault = Vault::start(binary, &home.join("vault"), "durable").await?;
    let begun = Instant::now();
    let known = people::load(&vault, 0, subjects).await?;
    eprintln!("{subjects} subjects loaded in {:.0} s", begun.elapsed().as_secs_f64());
    vault.server.stop()?;
    fs::write(&list, serde_json::to_vec(&known)?)?;
    Ok(known)
}

/// The disk's sequential speed, bytes a second: written and synced, and read past the page cache where the kernel lets us.
struct Disk {
    write: f64,
    read: f64,
}

impl Disk {
    fn measure(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("sequential");
        // Not zeros: a disk may be clever about them.
        let block: Vec<u8> = (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let begun = Instant::now();
        let mut file = File::create(&path)?;
        for _ in 0..SEQUENTIAL / block.len() as u64 {
            file.write_all(&block)?;
        }
        file.sync_data()?;
        let write = SEQUENTIAL as f64 / begun.elapsed().as_secs_f64();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        let mut file = File::open(&path)?;
        let (begun, mut block) = (Instant::now(), block);
        while file.read(&mut block)? > 0 {}
        let read = SEQUENTIAL as f64 / begun.elapsed().as_secs_f64();
        fs::remove_file(&path)?;
        Ok(Self { write, read })
    }

    fn said(&self, what: &str, bytes: u64, seconds: f64, cpu: Duration) {
        let speed = bytes as f64 / seconds;
        println!(
            "| {what}, {:.0} MB in {seconds:.1} s | {:.0} MB/s, {:.2} × the disk's writing; CPU {:.1} s | writing {:.0} MB/s, reading {:.0} MB/s |",
            bytes as f64 / 1e6,
            speed / 1e6,
            speed / self.write,
            cpu.as_secs_f64(),
            self.write / 1e6,
            self.read / 1e6
        );
    }
}

async fn operate(vault: &Vault, body: &str) -> Result<Value, Failure> {
    let token = vault.token("key_admin")?;
    vault.target.connect().await?.json(&request("POST", "/v1/keys/operations", &token, "", body)).await
}

/// Seconds until a full backup is declared, and the bytes of its base.
async fn full_backup(vault: &Vault, target: &Path) -> Result<(f64, u64), Failure> {
    let begun = Instant::now();
    // Asking again waits for the one that is under way.
    while operate(vault, r#"{"operation":"backup","full":true}"#).await?["state"] == "running" {}
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = bytes_below(target, "base-")?;
    Ok((seconds, bytes))
}

async fn rotate_root(vault: &Vault) -> Result<(), Failure> {
    let passphrase = fs::read_to_string(vault.dir.join("passphrase"))?;
    let body = serde_json::json!({"operation": "rotate-root", "passphrase": passphrase.trim()}).to_string();
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        operate(vault, &body).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    println!(
        "| root rotation, s, median (least–greatest) of {} | {} | Argon2id twice, 64 MiB each |",
        times.len(),
        Spread::of(times)
    );
    Ok(())
}

/// Reads before a rotation of the whole tree, and during all of it.
async fn rotate_tree(vault: &Vault, subjects: &[String]) -> Result<(), Failure> {
    let known: Vec<String> = subjects.iter().step_by((subjects.len() / 50_000).max(1)).cloned().collect();
    let reads = vault.reads(&known)?;
    let bounds = Bounds { time: Duration::from_secs(10), requests: usize::MAX };
    slice(&vault.target, &reads, 4, bounds, || Ok(())).await?;
    let idle = slice(&vault.target, &reads, 4, bounds, || Ok(())).await?;
    let started = operate(vault, r#"{"operation":"rotate-tree"}"#).await?;
    let (begun, mut worst, mut reads_done) = (Instant::now(), Vec::new(), 0);
    let bounds = Bounds { time: Duration::from_secs(5), requests: usize::MAX };
    loop {
        // A read that is refused ends the run.
        let sample = slice(&vault.target, &reads, 4, bounds, || Ok(())).await?;
        reads_done += sample.count;
        worst.push(f64::from(sample.p99) / 1e3);
        if rotation_is_over(vault, &started).await? {
            break;
        }
    }
    let p99 = Spread::of(worst);
    println!(
        "| whole tree rotated in {:.0} s under {reads_done} reads, none refused; p99, ms, by 5 s | {p99}, {:.2} × idle | idle p99 {:.2} ms |",
        begun.elapsed().as_secs_f64(),
        p99.median / (f64::from(idle.p99) / 1e3),
        f64::from(idle.p99) / 1e3
    );
    Ok(())
}

async fn rotation_is_over(vault: &Vault, started: &Value) -> Result<bool, Failure> {
    let token = vault.token("key_admin")?;
    let keys = vault.target.connect().await?.json(&request("GET", "/v1/keys", &token, "", "")).await?;
    let jobs = keys["jobs"].as_array().ok_or("listKeys shows no jobs")?;
    let job = jobs.iter().find(|job| job["id"] == started["job"]["id"]).ok_or("the rotation is not among the jobs")?;
    match job["state"].as_str() {
        Some("done") => Ok(true),
        Some("running" | "waiting") => Ok(false),
        state => Err(format!("the rotation is {state:?}").into()),
    }
}

/// Seconds of `backup restore` into a new folder with the vault's keys, and the bytes that it read.
fn restore(binary: &Path, dir: &Path, target: &Path, home: &Path) -> Result<(f64, u64), Failure> {
    let new = home.join("restored");
    let _ = fs::remove_dir_all(&new);
    for folder in [new.clone(), new.join("keys")] {
        rustix::fs::mkdir(&folder, rustix::fs::Mode::RWXU)?;
    }
    for name in ["root", "keyring"] {
        fs::copy(dir.join("keys").join(name), new.join("keys").join(name))?;
    }
    let begun = Instant::now();
    let mut command = Command::new(binary);
    command.args(["--json", "backup", "restore"]).arg(target).arg(&new).arg("--passphrase-file").arg(dir.join("passphrase"));
    let output = command.output()?;
    let seconds = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(format!("the restore failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    fs::remove_dir_all(&new)?;
    Ok((seconds, bytes_below(target, "base-")? + bytes_below(target, "log")? + bytes_below(target, "trail")?))
}

/// Bytes of the files in the folders whose names begin so.
fn bytes_below(folder: &Path, prefix: &str) -> Result<u64, Failure> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        let named = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if named && path.is_dir() {
            sum += process::disk(&path)?.0;
        }
    }
    Ok(sum)
}
