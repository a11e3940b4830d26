//! `oubliette keys`: what keys there are and how old, and rotation. No command shows key bytes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use keys::root::{Custody, Provider, Retired};
use keys::secret::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::custody::{Dealt, Holder, OpenedBy, token};
use super::engine;
use super::failure::Failure;
use super::folder::Folder;
use super::jobs::{Jobs, OneJob, Rotate};
use super::out::Out;
use super::places::PlacesCommand;
use super::secrets::{PassphraseFrom, TokenFrom};
use super::target::{Target, success};

pub(super) const EXAMPLES: &str = "\
Examples:
  oubliette keys list --dir /srv/vault --token-file key_admin.token
  oubliette keys rotate --dir /srv/vault --token-file key_admin.token                     the epoch key, at once
  oubliette keys rotate --kind tree --dir /srv/vault --token-file key_admin.token         in the background, with a bar
  oubliette keys rotate --kind subject --subject sub_… --dir /srv/vault --token-file key_admin.token
  oubliette keys jobs --dir /srv/vault --token-file key_admin.token
  oubliette keys pause job_… --dir /srv/vault --token-file key_admin.token
  oubliette keys rotate-root --dir /srv/vault --token-file key_admin.token --new-passphrase-file next
  oubliette keys migrate /srv/vault --to shares --shares 3-of-5 --shares-to /media/shares     of a stopped vault
  oubliette keys migrate /srv/vault --to aws-kms --passphrase-file now      to the key that [custody] of config.toml names; or transit
  oubliette keys rotate-root --dir /srv/vault --token-file key_admin.token --by-itself      where KMS, transit or a token holds it
  oubliette keys migrate /srv/vault --to passphrase --share-file one --share-file two --share-file three";

/// Needs the token of a key admin.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Ids, epochs, states and ages
    List(List),
    /// Turn keys over: the epoch's at once, others in the background while the vault serves
    Rotate(Rotate),
    /// Rotations in the background, the newest first
    Jobs(Jobs),
    /// Let a rotation rest
    Pause(OneJob),
    /// Let a rotation that rests go on
    Resume(OneJob),
    /// End a rotation where it is: what was turned over stays so
    Cancel(OneJob),
    /// Make a fresh root key, held as the old one was, while the vault runs
    RotateRoot(RotateRoot),
    /// Hand the root key of a stopped vault to another holder, or deal new shares
    Migrate(Migrate),
    /// The places that the keyring is kept in: list, add, remove, repair
    Places(PlacesCommand),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct RotateRoot {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    /// Read the passphrase from now on from the first line of this file (mode 0600); the same unless told
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// The root key is held by KMS, by transit, or by a token whose PIN the vault has: nothing is asked for
    #[arg(long, visible_alias = "by-itself", conflicts_with_all = ["passphrase_file", "passphrase_fd", "new_passphrase_file"])]
    by_pin_file: bool,
}

/// Hands the root key of a stopped vault to another holder, or to the same with a new credential. What opened it before opens nothing
/// afterwards; not one record is touched.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Migrate {
    #[command(flatten)]
    folder: Folder,
    /// Who is to hold the root key
    #[arg(long, value_name = "HOLDER")]
    to: Holder,
    #[command(flatten)]
    opened_by: OpenedBy,
    /// Read the new passphrase from the first line of this file (mode 0600)
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    dealt: Dealt,
    /// Read the new token's PIN from the first line of this file, instead of the configured one
    #[arg(long, value_name = "FILE")]
    new_pin_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

impl Keys {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        match self.action {
            Action::List(list) => list.run(out),
            Action::Rotate(rotate) => rotate.run(out),
            Action::Jobs(jobs) => jobs.run(out),
            Action::Pause(job) => job.run(out, "pause"),
            Action::Resume(job) => job.run(out, "resume"),
            Action::Cancel(job) => job.run(out, "cancel"),
            Action::RotateRoot(rotate) => rotate.run(out),
            Action::Migrate(migrate) => migrate.run(out),
            Action::Places(places) => places.run(out),
        }
    }
}

impl List {
    fn run(self, out: Out) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        let mut rows = Vec::new();
        let mut path = "/v1/keys?limit=500".to_owned();
        let mut reply = success(client.get(&path).send(), "list keys")?;
        loop {
            rows.extend(reply.body["keys"].as_array().cloned().unwrap_or_default());
            match reply.body["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/keys?limit=500&cursor={cursor}"),
                None => break,
            }
            reply = success(client.get(&path).send(), "list keys")?;
        }
        out.result(&table(&rows), &json!({ "keys": rows }));
        Ok(())
    }
}

impl RotateRoot {
    fn run(self, out: Out) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        let mut body = json!({ "operation": "rotate-root" });
        if !self.by_pin_file {
            body["passphrase"] = self.passphrase.existing()?.expose_secret().into();
        }
        if let Some(file) = &self.new_passphrase_file {
            body["new_passphrase"] = fresh(file)?.expose_secret().into();
        }
        let reply = success(client.post("/v1/keys/operations", &body).send(), "rotate the root key")?;
        let left = kept(reply.text("provider"), reply.text("old_key"));
        out.result(&format!("The vault has a fresh root key; what held the old one opens nothing any more.{left}"), &reply.body);
        Ok(())
    }
}

/// What is left at the provider of the key before, where something is.
fn kept(provider: &str, old_key: &str) -> &'static str {
    match (provider, old_key == Retired::Kept.word()) {
        ("aws-kms", true) => {
            "\nThe key at KMS is where it was, and opens old copies of keys/root and keys/keyring. When nothing needs it any more, delete it \
             there: KMS waits 7 to 30 days, in which it opens nothing and its deletion can be cancelled."
        }
        ("transit", true) => {
            "\nThe version of the transit key is where it was, and opens old copies of keys/root and keys/keyring. With custody.transit_trim \
             the vault destroys old versions itself; else raise min_decryption_version and trim there."
        }
        (_, true) => "\nThe old key could not be destroyed at its holder; the vault's log says why.",
        (_, false) => "",
    }
}

fn fresh(file: &Path) -> Result<SecretString, Failure> {
    PassphraseFrom { passphrase_file: Some(file.to_owned()), passphrase_fd: None }.fresh()
}

impl Migrate {
    fn run(self, out: Out) -> Result<(), Failure> {
        let dir = self.folder.path();
        let vault = engine::root_file(&dir.join("keys/root"))?.vault();
        engine::harden();
        let old = self.opened_by.holder(dir)?;
        let mut files = None;
        let new: Arc<dyn Custody> = match self.to {
            Holder::Passphrase => Arc::new(match &self.new_passphrase_file {
                Some(file) => fresh(file)?,
                None => PassphraseFrom::default().fresh()?,
            }),
            Holder::Pkcs11 => {
                let pin = PassphraseFrom { passphrase_file: self.new_pin_file.clone(), passphrase_fd: None };
                token(&engine::custody_settings(dir)?, &pin)?
            }
            Holder::AwsKms => engine::custody_settings(dir)?.remote(Provider::Kms)?,
            Holder::Transit => engine::custody_settings(dir)?.remote(Provider::Transit)?,
            Holder::Shares => {
                if self.dealt.shares_to.is_none() {
                    // Were they only printed at the end, a process that ends before would leave a vault that nobody can open.
                    return Err(Failure::usage("name --shares-to DIR: shares are written before the old way in ends")
                        .remedy("name a folder that each share can be carried from, and empty it then"));
                }
                let (holder, shares) = self.dealt.deal(vault)?;
                files = self.dealt.write(&shares)?;
                Arc::new(holder)
            }
        };
        let (from, to) = (old.provider().word(), new.provider().word());
        let retired = engine::change_root(dir, old, new)?;
        let left = kept(from, retired.word());
        out.result(
            &format!("The root key is fresh and held by: {to}. What held it before ({from}) opens nothing any more.{left}"),
            &json!({ "from": from, "to": to, "share_files": files, "old_key": retired.word() }),
        );
        Ok(())
    }
}

/// A table of whatever members the rows have: first what every key has, then the rest.
pub(super) fn table(rows: &[Value]) -> String {
    if rows.is_empty() {
        return "none".into();
    }
    let mut columns = vec!["id", "kind", "state"];
    let others: BTreeSet<&str> =
        rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys().map(String::as_str)).collect();
    columns.extend(others.into_iter().filter(|name| !["id", "kind", "state"].contains(name)));
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(columns.iter());
    for row in rows {
        table.add_row(columns.iter().map(|column| match &row[*column] {
            Value::String(text) => text.clone(),
            Value::Null => "–".into(),
            other => other.to_string(),
        }));
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_with_whatever_the_vault_says_of_them() {
        let text = table(&[json!({"id": "root"}), json!({"id": "epoch-7", "state": "open", "age_seconds": 12, "kind": null})]);
        for word in ["root", "epoch-7", "open", "12", "–", "age_seconds"] {
            assert!(text.contains(word), "{text}");
        }
        assert!(text.find("state") < text.find("age_seconds"), "{text}");
        assert_eq!(table(&[]), "none");
    }
}
