//! `oubliette unseal`: opens a running, sealed vault.

use clap::Args;
use keys::secret::ExposeSecret;
use serde_json::json;

use super::failure::Failure;
use super::out::Out;
use super::secrets::{PassphraseFrom, TokenFrom};
use super::target::{Target, success};

const EXAMPLES: &str = "\
Examples:
  oubliette unseal --dir /srv/vault                                       asks for the passphrase
  oubliette unseal --url https://vault:8443 --ca ca.pem --passphrase-file /run/secrets/vault";

/// Sends the passphrase to a running vault over HTTPS.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Unseal {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    #[command(flatten)]
    token: TokenFrom,
}

impl Unseal {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        // A sealed vault cannot check a token, so none is needed; the passphrase is the credential.
        let client = self.target.client(self.token.named()?)?;
        if client.get("/readyz").send()?.status == 200 {
            out.result("The vault is open already.", &json!({ "state": "open" }));
            return Ok(());
        }
        let passphrase = self.passphrase.existing()?;
        let body = json!({ "operation": "unseal", "passphrase": passphrase.expose_secret() });
        success(client.post("/v1/keys/operations", &body).send(), "unseal")?;
        out.result("The vault is open.", &json!({ "state": "open" }));
        Ok(())
    }
}
