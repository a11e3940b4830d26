//! `oubliette backup`: making backups, and being sure of them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::custody::OpenedBy;
use super::engine;
use super::failure::Failure;
use super::out::Out;
use super::secrets::TokenFrom;
use super::target::{Target, success};
use super::watching::watching;
use crate::backup::Progress;
use crate::vault::restore::Drill;

const EXAMPLES: &str = "\
Examples:
  oubliette backup create --dir /srv/vault --token-file key_admin.token
  oubliette backup list /mnt/backup/vault
  oubliette backup verify /mnt/backup/vault --keys /srv/vault/keys --passphrase-file /run/secrets/vault
  oubliette backup restore /mnt/backup/vault /srv/vault --passphrase-file /run/secrets/vault

A backup holds no keys: whoever restores needs keys/root, keys/keyring and the passphrase beside it. See docs/OPERATIONS.md.";

/// The targets are the folders that [backup] target and targets in config.toml name.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Backup {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Have the running vault make a backup now, in every target
    Create(Create),
    /// Show the backups in a target
    List(List),
    /// Restore into a scratch folder, read a sample, compare every row with the trail
    Verify(Verify),
    /// Make a vault's data from a backup
    Restore(Restore),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Create {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
    /// Read every row anew, not only what came since the last backup
    #[arg(long)]
    full: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct List {
    #[command(flatten)]
    from: From,
}

/// The target that is read.
#[derive(Debug, Args)]
struct From {
    /// Folder that the vault backs itself up to
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// The vault's public key, kept elsewhere; TARGET/vault.pub unless told
    #[arg(long, value_name = "PUB")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Verify {
    #[command(flatten)]
    from: From,
    /// Number of the backup, as `list` shows it; the newest unless told
    #[arg(long, value_name = "N")]
    backup: Option<u64>,
    /// Folder with `root` and `keyring`, which are read and not changed; the vault may be running
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Folder for the scratch copy; the system's folder for temporary files unless told
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// People of whom everything is decrypted
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    sample: usize,
    #[command(flatten)]
    opened_by: OpenedBy,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Restore {
    #[command(flatten)]
    from: From,
    /// Folder of the vault; keys/root and keys/keyring must be in it, data/ must not
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Number of the backup to begin with; the newest unless told. The log is played to its end in any case
    #[arg(long, value_name = "N")]
    backup: Option<u64>,
    #[command(flatten)]
    opened_by: OpenedBy,
}

impl Backup {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        match self.action {
            Action::Create(create) => create.run(out),
            Action::List(list) => list.run(out),
            Action::Verify(verify) => verify.run(out),
            Action::Restore(restore) => restore.run(out),
        }
    }
}

impl From {
    fn key(&self) -> Result<Option<engine::PublicKeys>, Failure> {
        self.key.as_deref().map(engine::public_key).transpose()
    }
}

impl Create {
    fn run(self, out: Out) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        let body = json!({ "operation": "backup", "full": self.full });
        loop {
            // Asking again waits for the one that is under way.
            let reply = success(client.post("/v1/keys/operations", &body).send(), "make a backup")?;
            let targets = reply.body["targets"].as_array().map_or(&[][..], Vec::as_slice);
            if reply.body["state"] == "running" {
                let bytes = targets.iter().find_map(|target| target["bytes"].as_u64()).unwrap_or_default();
                out.note(&format!("The backup is under way: {} MiB are written.", bytes >> 20));
                continue;
            }
            let text: String = targets.iter().map(at_target).collect();
            if reply.body["state"] == "done" {
                out.result(&text, &reply.body["backup"]);
                return Ok(());
            }
            out.note(&text);
            return Err(Failure::new("a target did not take the backup")
                .remedy("the vault's log says why; mend that target and make a backup again: the others are good")
                .report(reply.body));
        }
    }
}

/// What became of the backup at one target, in a line.
fn at_target(target: &Value) -> String {
    let (name, made) = (target["target"].as_str().unwrap_or_default(), &target["backup"]);
    let kind = made["kind"].as_str().unwrap_or_default();
    match target["why"].as_str() {
        Some(why) => format!("{name}: {why}\n"),
        None => format!("Backup {} was made in {name} ({kind}, epoch {}).\n", made["number"], made["epoch"]),
    }
}

impl List {
    fn run(self, out: Out) -> Result<(), Failure> {
        let listed = engine::list_backups(&self.from.target, self.from.key()?)?;
        let mut text = String::new();
        let mut values = Vec::new();
        for kept in &listed {
            match kept {
                Ok(one) => {
                    text += &format!(
                        "{:>10}  {:<11}  {}  epoch {}, {} entries of the trail, base {}\n",
                        one.number, one.kind, one.made_at, one.epoch, one.trail_size, one.base
                    );
                    values.push(json!({ "number": one.number, "kind": one.kind, "made_at": one.made_at, "epoch": one.epoch,
                        "trail_size": one.trail_size, "base": one.base, "base_bytes": one.base_bytes }));
                }
                Err(why) => {
                    text += &format!("{:>10}  {why}\n", "BAD");
                    values.push(json!({ "wrong": why }));
                }
            }
        }
        let report = json!({ "backups": values });
        if listed.iter().any(Result::is_err) {
            out.note(&text);
            return Err(Failure::unverified("a manifest does not hold").remedy("make a new full backup").report(report));
        }
        out.result(if text.is_empty() { "no backups" } else { &text }, &report);
        Ok(())
    }
}

impl Verify {
    fn run(self, out: Out) -> Result<(), Failure> {
        let key = self.from.key()?;
        let holder = self.opened_by.holder_of(&self.keys.join("root"), &self.keys.join(".."))?;
        engine::harden();
        let scratch = self.scratch.unwrap_or_else(std::env::temp_dir);
        let from = self.from.target.as_path();
        let drill =
            Drill { keys: engine::key_files(&self.keys)?, scratch: &scratch, from, number: self.backup, sample: self.sample };
        let progress = Progress::default();
        let drilled = watching(out, &progress, || engine::drill_backup(&drill, key, holder.as_ref(), &progress))?;
        let restored = &drilled.restored;
        let text = format!(
            "Backup {} of {} would come back: {} people, batch {}, epoch {}, {} entries of the trail.\n\
             Read: {} files to the last byte; everything of {} people ({} records, {} fields decrypted); {} rows as the trail says.",
            restored.backup,
            restored.made_at,
            restored.people,
            restored.last_batch,
            restored.epoch,
            restored.entries,
            drilled.files,
            drilled.people,
            drilled.records,
            drilled.fields,
            drilled.rows_checked
        );
        out.result(&text, &json!(drilled));
        Ok(())
    }
}

impl Restore {
    fn run(self, out: Out) -> Result<(), Failure> {
        let key = self.from.key()?;
        let holder = self.opened_by.holder(&self.dir)?;
        engine::harden();
        let from = (self.from.target.as_path(), self.backup);
        let progress = Progress::default();
        let restored = watching(out, &progress, || engine::restore_backup(&self.dir, from, key, holder.as_ref(), &progress))?;
        let certificate = engine::create_tls(&self.dir)?;
        let mut text = format!(
            "The vault is back: {} people, as of batch {}, epoch {}. Backup {} of {} was the start.\n\
             {} people who were erased after that backup were erased again.\n",
            restored.people, restored.last_batch, restored.epoch, restored.backup, restored.made_at, restored.erased_again
        );
        if let Some(ended) = &restored.ended {
            text += &format!("What was written after batch {} is lost: {ended}.\n", restored.last_batch);
        } else {
            text += &format!("What was written after batch {} is lost, if anything was.\n", restored.last_batch);
        }
        if restored.lost_writes > 0 {
            text +=
                &format!("The trail tells of {} operations whose rows are lost; they are voided in it.\n", restored.lost_writes);
        }
        if let Some((from, to)) = restored.lost_entries {
            text += &format!("Entries {from} to {to} of the trail are lost; the trail says so.\n");
        }
        if certificate {
            text += "A new TLS certificate was made: its key was in no backup.\n";
        }
        let dir = self.dir.display();
        text += &format!(
            "Next:\n  oubliette doctor {dir}\n  oubliette serve --dir {dir}\n\
             If keys/keyring was copied here, overwrite the other copy in place (shred): it holds the living epoch's key."
        );
        out.result(&text, &json!(restored));
        Ok(())
    }
}
