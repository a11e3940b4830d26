//! `oubliette unseal`: opens a running, sealed vault.

use clap::Args;
use keys::secret::ExposeSecret;
use serde_json::json;

use super::custody::OpenedBy;
use super::failure::Failure;
use super::out::Out;
use super::secrets::{TokenFrom, prompt};
use super::target::{Target, success};

const EXAMPLES: &str = "\
Examples:
  oubliette unseal --dir /srv/vault                                       asks for the passphrase
  oubliette unseal --dir /srv/vault --share                               asks for one person's share
  oubliette unseal --url https://vault:8443 --ca ca.pem --passphrase-file /run/secrets/vault";

/// Sends the passphrase, shares, or the PIN of the token that holds the root key to a running vault over HTTPS.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Unseal {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    opened_by: OpenedBy,
    /// Ask for one person's share at the terminal
    #[arg(long, conflicts_with_all = ["share_file", "passphrase_file", "passphrase_fd"])]
    share: bool,
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
        let mut shares = self.opened_by.shares()?;
        if self.share {
            shares.push(prompt("Share: ")?);
        }
        let mut waiting = None;
        for share in &shares {
            let body = json!({ "operation": "unseal", "share": share.expose_secret() });
            let reply = success(client.post("/v1/keys/operations", &body).send(), "take the share")?;
            if reply.status == 204 {
                out.result("The vault is open.", &json!({ "state": "open" }));
                return Ok(());
            }
            waiting = Some(reply.body);
        }
        if let Some(waiting) = waiting {
            out.result(
                &format!("The vault has {} shares of {} and stays sealed until then.", waiting["given"], waiting["needed"]),
                &waiting,
            );
            return Ok(());
        }
        let passphrase = self.opened_by.passphrase.existing()?;
        let body = json!({ "operation": "unseal", "passphrase": passphrase.expose_secret() });
        success(client.post("/v1/keys/operations", &body).send(), "unseal")?;
        out.result("The vault is open.", &json!({ "state": "open" }));
        Ok(())
    }
}
