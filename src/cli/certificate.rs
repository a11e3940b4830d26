//! `oubliette certificate`: checks a certificate of erasure, or the receipt of a consent, with nothing but the vault's public key.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::engine;
use super::failure::Failure;
use super::out::Out;

const EXAMPLES: &str = "\
Example:
  oubliette certificate verify ers_….json --key vault.pub
  oubliette certificate verify ers_….json --key vault.keys

The key should come from the vault's operator by another way than the certificate itself.";

/// Works offline: no vault, no network.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Certificate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check signature, proof and contents
    Verify(Verify),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Verify {
    /// The certificate file that `erase` kept, or the answer of getErasure or getConsentReceipt
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The vault's public key, or the list of them that it publishes, vault.keys
    #[arg(long, value_name = "PUB")]
    key: PathBuf,
}

impl Certificate {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let Action::Verify(verify) = self.action;
        let public = engine::public_key(&verify.key)?;
        let file = std::fs::read(&verify.file).map_err(|e| Failure::file("read", &verify.file, &e))?;
        let (what, report) = if engine::is_receipt(&file) {
            ("receipt", engine::verify_receipt(&file, &public))
        } else {
            ("certificate", engine::verify_certificate(&file, &public))
        };
        let report = report.map_err(|why| {
            Failure::unverified(format!("the {what} does not hold: {why}"))
                .remedy("where another of the vault's keys signed it, name the list of them: --key vault.keys; else ask the vault for it again, with its id and the claim code")
        })?;
        out.result(&format!("The {what} holds.\n{report:#}"), &report);
        Ok(())
    }
}
