//! `oubliette erase`: two officers, one certificate.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::failure::Failure;
use super::out::Out;
use super::private;
use super::target::{Target, success};

const EXAMPLES: &str = "\
Examples:
  oubliette erase sub_… --dir /srv/vault --opener-token-file officer1.token --approver-token-file officer2.token
  oubliette erase sub_… --dir /srv/vault --opener-token-file a --approver-token-file b --group marketing --cause withdrawal
  oubliette certificate verify ers_….json --key /srv/vault/vault.pub

The claim code is shown once. Give it to the person: with it they can fetch the certificate, and the vault keeps no name.";

/// Tokens of two different privacy officers are needed: who opens an erasure does not approve it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Erase {
    /// The subject
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// Erase this purpose group only, such as marketing; may be repeated
    #[arg(long = "group", value_name = "GROUP", conflicts_with = "records")]
    groups: Vec<String>,
    /// Erase this record only; may be repeated
    #[arg(long = "record", value_name = "RECORD")]
    records: Vec<String>,
    /// Why
    #[arg(long, default_value = "request")]
    cause: Cause,
    /// Token of the officer who opens it
    #[arg(long, value_name = "FILE")]
    opener_token_file: PathBuf,
    /// Token of the other officer, who approves it
    #[arg(long, value_name = "FILE")]
    approver_token_file: PathBuf,
    /// Where to keep the certificate; ERASURE.json unless told
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Seconds to wait for `sealed`
    #[arg(long, default_value_t = 60)]
    wait: u32,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Cause {
    Request,
    Retention,
    Withdrawal,
    MinorNoConsent,
    AccountClosure,
    Unlawful,
}

impl Erase {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let opener = self.target.client(Some(private::read_line(&self.opener_token_file)?.into()))?;
        let approver = opener.with_token(private::read_line(&self.approver_token_file)?.into());
        let opened = success(opener.post("/v1/erasures", &self.body()).send(), "open the erasure")?;
        let id = opened.text("id").to_owned();
        out.note(&format!("{id} is requested."));
        let approved = success(approver.post(&format!("/v1/erasures/{id}/approvals"), &json!({})).send(), "approve the erasure")
            .map_err(|failure| failure.report(json!({ "erasure": id })))?;
        let claim = approved.text("claim_code").to_owned();
        let sealed = match self.sealed(&opener, &id) {
            Ok(sealed) => sealed,
            // The claim code is shown once: it must not get lost because the rest went wrong.
            Err(failure) => {
                out.note(&format!("Claim code: {claim}"));
                return Err(failure.report(json!({ "erasure": id, "claim_code": claim })));
            }
        };
        let path = self.certificate.clone().unwrap_or_else(|| PathBuf::from(format!("{id}.json")));
        let mut file = json!({ "certificate": sealed.body["certificate"], "proof": sealed.body["proof"] });
        if sealed.body["keys"].is_string() {
            file["keys"] = sealed.body["keys"].clone();
        }
        private::write_public(&path, format!("{file:#}\n").as_bytes())?;
        out.result(
            &format!(
                "{id} is sealed: no key that lives can open what was stored.\nCertificate: {}\nClaim code, for the person, shown this once:\n  {claim}",
                path.display()
            ),
            &json!({ "id": id, "state": "sealed", "certificate_file": path, "claim_code": claim }),
        );
        Ok(())
    }

    fn body(&self) -> Value {
        let cause = self.cause.to_possible_value().map(|value| value.get_name().to_owned());
        let (subject, groups, records) = (&self.subject, &self.groups, &self.records);
        if !groups.is_empty() {
            json!({ "subject": subject, "scope": "groups", "groups": groups, "cause": cause })
        } else if !records.is_empty() {
            json!({ "subject": subject, "scope": "records", "records": records, "cause": cause })
        } else {
            json!({ "subject": subject, "scope": "subject", "cause": cause })
        }
    }

    fn sealed(&self, client: &Client, id: &str) -> Result<Reply, Failure> {
        let tries = u64::from(self.wait) * 5;
        for _ in 0..=tries {
            let reply = success(client.get(&format!("/v1/erasures/{id}")).send(), "show the erasure")?;
            match reply.text("state") {
                "sealed" => return Ok(reply),
                state @ ("denied" | "revoked") => return Err(Failure::new(format!("{id} was {state}"))),
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
        Err(Failure::new(format!("{id} is not sealed after {} seconds", self.wait))
            .remedy(format!("it goes on by itself; ask again with GET /v1/erasures/{id}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Line};
    use super::*;
    use clap::Parser;

    fn body(arguments: &str) -> Value {
        let line = format!("oubliette erase sub_1 --opener-token-file a --approver-token-file b {arguments}");
        match Line::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Erase(erase) => erase.body(),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn the_scope_follows_from_what_is_named() {
        assert_eq!(body(""), json!({"subject": "sub_1", "scope": "subject", "cause": "request"}));
        assert_eq!(
            body("--group marketing --cause withdrawal"),
            json!({"subject": "sub_1", "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"})
        );
        assert_eq!(
            body("--record rec_1 --cause minor-no-consent"),
            json!({"subject": "sub_1", "scope": "records", "records": ["rec_1"], "cause": "minor-no-consent"})
        );
    }
}
