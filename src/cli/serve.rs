//! `oubliette serve`: the server.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::custody::OpenedBy;
use super::engine;
use super::failure::Failure;
use super::out::Out;

const EXAMPLES: &str = "\
Examples:
  oubliette serve --dir /srv/vault                                  starts sealed; see `oubliette unseal`
  oubliette serve --dir /srv/vault --passphrase-file /run/secrets/vault
  oubliette serve --dir /srv/vault --share-file one --share-file two --share-file three
  oubliette serve --dir /srv/vault --listen 0.0.0.0:8443 --passphrase-fd 3 3< passphrase

SIGTERM and SIGINT stop it: calls under way are finished, the trail is synced and closed.";

/// Runs until SIGTERM or SIGINT. Without a passphrase or enough shares it starts sealed, unless its root key is with KMS or transit, or
/// in a token whose PIN is in the configured file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// Folder that `init` made
    #[arg(long, value_name = "DIR", env = "OUBLIETTE_DIR")]
    dir: PathBuf,
    /// Address to listen on, instead of the one in config.toml
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    opened_by: OpenedBy,
}

impl Serve {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let (passphrase, shares) = (self.opened_by.passphrase.named()?, self.opened_by.shares()?);
        engine::harden();
        let running = engine::start(&self.dir, self.listen, passphrase.as_ref(), &shares, false)?;
        let opened = running.is_open();
        // From here on the process has no use for it.
        drop((passphrase, shares));
        let url = format!("https://{}", running.address());
        let state = if opened { "open" } else { "sealed" };
        let next =
            if opened { String::new() } else { format!("\nOpen it with:\n  oubliette unseal --dir {}", self.dir.display()) };
        out.result(
            &format!("The vault listens on {url}, {state}.\nCertificate (SHA-256): {}{next}", running.fingerprint()),
            &json!({ "url": url, "state": state, "fingerprint": running.fingerprint(),
                "metrics": running.metrics().map(|address| format!("http://{address}/metrics")), "hardening": running.hardened() }),
        );
        running.until_signal()?;
        out.note("The vault has stopped; everything acknowledged is on disk.");
        Ok(())
    }
}
