//! `oubliette token`: bearer tokens, each shown once.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::caller::Description;
use super::failure::Failure;
use super::out::Out;
use super::private;
use super::secrets::TokenFrom;
use super::target::{Target, success};

const EXAMPLES: &str = "\
Examples:
  oubliette token issue clr_… --dir /srv/vault --token-file officer.token --out webshop.token
  oubliette token issue clr_… --dir /srv/vault --token-file officer.token --purpose b-service --field name --days 7
  oubliette token revoke clr_… --dir /srv/vault --token-file officer.token --name webshop --kind service --role writer";

/// Needs the token of a security officer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Issue a token to a caller
    Issue(Issue),
    /// Revoke every token of a caller, at once
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Issue {
    /// The caller
    #[arg(value_name = "CALLER")]
    caller: String,
    /// Narrow the token to this purpose; may be repeated
    #[arg(long = "purpose", value_name = "PURPOSE")]
    purposes: Vec<String>,
    /// Narrow the token to this field; may be repeated
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// Days that it lives (90 unless told, at most 365)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=365))]
    days: Option<u64>,
    /// Write the new token to this file (mode 0600) instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Revoke {
    /// The caller
    #[arg(value_name = "CALLER")]
    caller: String,
    #[command(flatten)]
    what: Description,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

impl Token {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        match self.action {
            Action::Issue(issue) => issue.run(out),
            Action::Revoke(revoke) => revoke.run(out),
        }
    }
}

impl Issue {
    fn run(self, out: Out) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        let reply = success(client.post(&format!("/v1/callers/{}/tokens", self.caller), &self.body()).send(), "issue a token")?;
        let (id, until, token) = (reply.text("id"), reply.text("expires_at"), reply.text("token"));
        match &self.out {
            Some(path) => {
                private::write(path, format!("{token}\n").as_bytes())?;
                let value = json!({ "id": id, "expires_at": until, "token_file": path });
                out.result(&format!("{id} is in {} and works until {until}.", path.display()), &value);
            }
            None => out.result(&format!("{id} works until {until}. Shown this once:\n{token}"), &reply.body),
        }
        Ok(())
    }

    fn body(&self) -> Value {
        let mut body = Map::new();
        if !self.purposes.is_empty() {
            body.insert("purposes".into(), json!(self.purposes));
        }
        if !self.fields.is_empty() {
            body.insert("fields".into(), json!(self.fields));
        }
        if let Some(days) = self.days {
            body.insert("lifetime_seconds".into(), json!(days * 86_400));
        }
        Value::Object(body)
    }
}

impl Revoke {
    fn run(self, out: Out) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        let body = self.what.body("active", true);
        let reply = success(client.put(&format!("/v1/callers/{}", self.caller), &body).send(), "revoke the tokens")?;
        out.result(&format!("No token of {} works any longer.", self.caller), &reply.body);
        Ok(())
    }
}
