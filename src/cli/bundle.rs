//! `oubliette bundle`: checks what a person got who asked for their data, with nothing but the vault's public key.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::engine;
use super::failure::Failure;
use super::out::Out;

/// The name of the manifest in a folder.
const MANIFEST: &str = "manifest.json";

const EXAMPLES: &str = "\
Examples:
  oubliette bundle verify my-data/ --key vault.pub
  oubliette bundle verify my-data/manifest.json --key vault.pub

The folder holds manifest.json, data.json and copy.html, as getRequestResult gave them. The key should come from the vault's
operator by another way than the bundle itself.";

/// Works offline: no vault, no network.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bundle {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the signature of the manifest, and each part against it
    Verify(Verify),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Verify {
    /// The folder of the bundle, or its manifest with the parts beside it
    #[arg(value_name = "DIR_OR_FILE")]
    path: PathBuf,
    /// The vault's public key, or the list of them that it publishes, vault.keys
    #[arg(long, value_name = "PUB")]
    key: PathBuf,
}

impl Bundle {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let Action::Verify(verify) = self.action;
        verify.run(out)
    }
}

impl Verify {
    fn run(self, out: Out) -> Result<(), Failure> {
        let public = engine::public_key(&self.key)?;
        let file = if self.path.is_dir() { self.path.join(MANIFEST) } else { self.path };
        let text = std::fs::read(&file).map_err(|e| Failure::file("read", &file, &e))?;
        let manifest = engine::verify_manifest(&text, &public).map_err(|why| {
            Failure::unverified(format!("the manifest does not hold: {why}"))
                .remedy("where another of the vault's keys signed it, name the list of them: --key vault.keys; else ask the vault for it again")
        })?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let (mut checked, mut absent) = (Vec::new(), Vec::new());
        for part in &manifest.parts {
            let path = folder.join(&part.name);
            if !path.exists() {
                absent.push(part.name.as_str());
                continue;
            }
            let failed = |e: std::io::Error| Failure::file("read", &path, &e);
            let outcome = part.check(File::open(&path).map_err(failed)?).map_err(failed)?;
            outcome.map_err(|why| {
                Failure::unverified(format!("{} does not hold: {why}", part.name)).remedy("ask the vault for it again")
            })?;
            checked.push(part.name.as_str());
        }
        if checked.is_empty() {
            return Err(Failure::unverified("no part of the bundle is beside its manifest")
                .remedy(format!("put {} there", absent.join(" and "))));
        }
        let report = json!({"manifest": manifest, "checked": checked, "absent": absent});
        let mut said = format!("The bundle holds: {}.", checked.join(", "));
        if !absent.is_empty() {
            said.push_str(&format!(" Not looked at, since not there: {}.", absent.join(", ")));
        }
        out.result(&format!("{said}\n{report:#}"), &report);
        Ok(())
    }
}
