//! The load program: what the vault costs beside what no vault could undercut.
//!
//! Every figure of README's table comes from here. Each server is a process of its own on the loopback interface, the client
//! keeps its TLS 1.3 connections alive, and rounds go back and forth between the servers, so that a noisy machine disturbs all
//! of them alike. Read the ratios and the server's CPU time first.
//!
//!     cargo bench --bench side_by_side                      the table, about ten minutes
//!     cargo bench --bench side_by_side -- table --quick     the same with short slices, to see that it works
//!     cargo bench --bench side_by_side -- erasure-cost --subjects 10000,100000,1000000
//!     cargo bench --bench side_by_side -- footprint --subjects 100000
//!     cargo bench --bench side_by_side -- cold-start --subjects 1000000
//!     cargo bench --bench side_by_side -- backup --subjects 1000000
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its tables and its progress")]

mod backup;
mod ceiling;
mod client;
mod growth;
mod load;
mod people;
mod process;
mod rounds;
mod spread;
mod table;
mod vault;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// What went wrong, in words; the program ends with it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Measures the vault beside its ceilings, in one interleaved run")]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
    /// Said by `cargo bench`.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// Ceilings and vault side by side, as the table that README shows
    Table(TableArgs),
    /// What an erasure costs, by the number of subjects in the vault
    ErasureCost(GrowthArgs),
    /// Memory and disk, by the number of subjects in the vault
    Footprint(GrowthArgs),
    /// From the start of the process to ready, by the number of subjects in the vault
    ColdStart(GrowthArgs),
    /// A full backup, a restore and rotations beside the disk's own speed
    Backup(BackupArgs),
    /// One of the two ceilings, as a server
    #[command(hide = true)]
    Ceiling {
        /// Where the certificate and the appended file go.
        #[arg(long)]
        dir: PathBuf,
        /// Append each write to a file and sync it before the answer.
        #[arg(long)]
        append: bool,
    },
}

impl What {
    /// What `cargo bench` runs when nothing is said.
    fn table() -> Self {
        let Cli { what, .. } = Cli::parse_from(["side_by_side", "table"]);
        what.unwrap_or_else(Self::table)
    }
}

#[derive(Args)]
struct TableArgs {
    /// How often each slice is repeated.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of one slice.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Requests after which a slice ends early.
    #[arg(long, default_value_t = 100_000)]
    requests: usize,
    /// Open connections.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    connections: Vec<usize>,
    /// Subjects in the vault.
    #[arg(long, default_value_t = 10_000)]
    subjects: usize,
    /// Two short rounds, to see that it works; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Only the two ceilings.
    #[arg(long)]
    ceilings_only: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct GrowthArgs {
    /// Numbers of subjects, ascending.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    subjects: Vec<usize>,
    /// Erasures measured at each number, or starts.
    #[arg(long, default_value_t = 100)]
    times: usize,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct BackupArgs {
    /// Subjects in the vault.
    #[arg(long, default_value_t = 100_000)]
    subjects: usize,
    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// Folder in which the loaded vault stays, and is found by the next run.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Rotate the whole tree too, under reads.
    #[arg(long)]
    rotate_tree: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Place {
    /// Where the servers keep their files: a disk, not a memory file system. Default: below the target directory.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The `oubliette` binary. Default: the one built with this bench.
    #[arg(long)]
    vault: Option<PathBuf>,
}

impl Place {
    /// A fresh directory that is removed at the end, on a real disk.
    fn scratch(&self) -> Result<tempfile::TempDir, Failure> {
        let below = match &self.dir {
            Some(dir) => dir.clone(),
            None => PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        };
        std::fs::create_dir_all(&below)?;
        Ok(tempfile::Builder::new().prefix("side-by-side-").tempdir_in(below)?)
    }

    fn binary(&self) -> PathBuf {
        self.vault.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_oubliette")))
    }
}

fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    // One thread drives all connections, so that the server may have the rest of the machine.
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match cli.what.unwrap_or_else(What::table) {
        What::Ceiling { dir, append } => ceiling::serve(&dir, append),
        What::Table(args) => client.block_on(table::run(args)),
        What::ErasureCost(args) => client.block_on(growth::erasure_cost(args)),
        What::Footprint(args) => client.block_on(growth::footprint(args)),
        What::ColdStart(args) => client.block_on(growth::cold_start(args)),
        What::Backup(args) => client.block_on(backup::run(args)),
    }
}

impl TableArgs {
    fn rounds(&self) -> usize {
        if self.quick { 2 } else { self.rounds }
    }

    fn slice(&self) -> Duration {
        if self.quick { Duration::from_millis(300) } else { Duration::from_secs_f64(self.seconds) }
    }
}
