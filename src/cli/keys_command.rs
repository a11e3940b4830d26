//! `oubliette keys`: what keys there are and how old, and rotation. No command shows key bytes.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::failure::Failure;
use super::out::Out;
use super::secrets::TokenFrom;
use super::target::{Target, success};

const EXAMPLES: &str = "\
Examples:
  oubliette keys list --dir /srv/vault --token-file key_admin.token
  oubliette keys rotate --dir /srv/vault --token-file key_admin.token";

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
    /// Close the epoch and open a new one: whatever the old one's key opened is lost to leftovers
    Rotate(Rotate),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Rotate {
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

impl Rotate {
    fn run(self, out: Out) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        let body = json!({ "operation": "rotate-epoch" });
        let reply = success(client.post("/v1/keys/operations", &body).send(), "rotate the epoch key")?;
        out.result(
            &format!("The vault is in epoch {}; the key of the one before is destroyed.", reply.body["epoch"]),
            &reply.body,
        );
        Ok(())
    }
}

/// A table of whatever members the rows have: first what every key has, then the rest.
fn table(rows: &[Value]) -> String {
    if rows.is_empty() {
        return "no keys".into();
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
        assert_eq!(table(&[]), "no keys");
    }
}
