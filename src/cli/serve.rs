//! `oubliette serve`: the server.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::engine;
use super::failure::Failure;
use super::out::Out;
use super::secrets::PassphraseFrom;

const EXAMPLES: &str = "\
Examples:
  oubliette serve --dir /srv/vault                                  starts sealed; see `oubliette unseal`
  oubliette serve --dir /srv/vault --passphrase-file /run/secrets/vault
  oubliette serve --dir /srv/vault --listen 0.0.0.0:8443 --passphrase-fd 3 3< passphrase

SIGTERM and SIGINT stop it: calls under way are finished, the trail is synced and closed.";

/// Runs until SIGTERM or SIGINT. Without a passphrase it starts sealed.
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
    passphrase: PassphraseFrom,
}

impl Serve {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let passphrase = self.passphrase.named()?;
        engine::harden();
        let running = engine::start(&self.dir, self.listen, passphrase.as_ref(), false)?;
        let opened = passphrase.is_some();
        // From here on the process has no use for it.
        drop(passphrase);
        let url = format!("https://{}", running.address());
        let state = if opened { "open" } else { "sealed" };
        let next =
            if opened { String::new() } else { format!("\nOpen it with:\n  oubliette unseal --dir {}", self.dir.display()) };
        out.result(
            &format!("The vault listens on {url}, {state}.\nCertificate (SHA-256): {}{next}", running.fingerprint()),
            &json!({ "url": url, "state": state, "fingerprint": running.fingerprint() }),
        );
        running.until_signal()?;
        out.note("The vault has stopped; everything acknowledged is on disk.");
        Ok(())
    }
}
