//! `oubliette audit`: the trail, checked and exported without a server.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::engine;
use super::failure::Failure;
use super::folder::Folder;
use super::out::Out;

const EXAMPLES: &str = "\
Examples:
  oubliette audit verify /srv/vault
  oubliette audit verify /srv/vault --key vault.pub --json
  oubliette audit export /srv/vault | grep '\"refused\"'
  oubliette audit export /srv/vault --ocsf --out events.ndjson

Both read the files of a vault that is not running.";

/// Checks every entry, checkpoint and current row, or prints the entries.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Walk the whole trail and every row; name the first break
    Verify(Verify),
    /// Print every entry as one line of JSON
    Export(Export),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Verify {
    #[command(flatten)]
    folder: Folder,
    /// A public key of the vault, kept elsewhere, or vault.keys; DIR/vault.pub unless told
    #[arg(long, value_name = "PUB")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Export {
    #[command(flatten)]
    folder: Folder,
    /// First entry to print
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// As events of the Open Cybersecurity Schema Framework, version 1.8.0
    #[arg(long)]
    ocsf: bool,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Audit {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        match self.action {
            Action::Verify(verify) => verify.run(out),
            Action::Export(export) => export.run(out),
        }
    }
}

impl Verify {
    fn run(self, out: Out) -> Result<(), Failure> {
        let key = self.key.unwrap_or_else(|| engine::public_key_path(self.folder.path()));
        let (report, broken) = engine::verify_trail(self.folder.path(), &engine::public_key(&key)?)?;
        if let Some(broken) = broken {
            return Err(Failure::unverified(format!("the trail does not hold: {broken}"))
                .remedy("keep a copy of the folder as it is, and compare with a backup and the witnesses' checkpoints")
                .report(report));
        }
        if report["lost"].as_array().is_some_and(|lost| !lost.is_empty()) {
            return Err(Failure::unverified("the trail records that a part of it was lost")
                .remedy("`lost` names the entries; compare with a backup and the witnesses' checkpoints")
                .report(report));
        }
        let entries = report["entries"].as_u64().unwrap_or_default();
        let rows = report["rows_checked"].as_u64().unwrap_or_default();
        out.result(&format!("The trail holds: {entries} entries, {rows} rows, every checkpoint."), &report);
        Ok(())
    }
}

impl Export {
    fn run(self, out: Out) -> Result<(), Failure> {
        let Some(path) = self.out else {
            return engine::export_trail(self.folder.path(), self.from, self.ocsf, &mut |line| out.stream(line)).map(drop);
        };
        let file = std::fs::File::create_new(&path)
            .map_err(|e| Failure::file("make", &path, &e).remedy("name a file that does not exist"))?;
        let mut file = std::io::BufWriter::new(file);
        let mut trouble = None;
        let count = engine::export_trail(self.folder.path(), self.from, self.ocsf, &mut |line| match writeln!(file, "{line}") {
            Ok(()) => true,
            Err(e) => {
                trouble = Some(e);
                false
            }
        })?;
        match trouble.map_or_else(|| file.flush(), Err) {
            Ok(()) => {
                out.result(&format!("{count} entries are in {}.", path.display()), &json!({ "entries": count, "file": path }))
            }
            Err(e) => return Err(Failure::file("write", &path, &e)),
        }
        Ok(())
    }
}
