//! `oubliette seal`: empties every key from a running vault's memory.

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::out::Out;
use super::secrets::TokenFrom;
use super::target::{Target, success};

const EXAMPLES: &str = "\
Examples:
  oubliette seal --dir /srv/vault --token-file key_admin.token
  OUBLIETTE_TOKEN=… oubliette seal --url https://vault:8443 --ca ca.pem";

/// Needs the token of a key admin.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Seal {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

impl Seal {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        success(client.post("/v1/keys/operations", &json!({ "operation": "seal" })).send(), "seal")?;
        out.result("The vault is sealed. `oubliette unseal` opens it again.", &json!({ "state": "sealed" }));
        Ok(())
    }
}
