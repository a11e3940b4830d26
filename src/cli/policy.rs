//! `oubliette policy`: reads the files of a policy and says what is wrong with them, offline.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::failure::Failure;
use super::out::Out;
use crate::model::ids::TenantId;
use crate::tenant::{Diff, Sources, Tenant};

const EXAMPLES: &str = "\
Example:
  oubliette policy check src/tenant/default

It reads tenant.toml, fields.toml, purposes.toml, retention.toml, rules.toml, transfers.toml,
contacts.toml, requests.toml, notices.toml and incidents.toml.";

/// Works offline: no vault, no network.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Policy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Hold the files of a policy against each other, and name the first place that is wrong
    Check(Check),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Check {
    /// The folder with the files
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Policy {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let Action::Check(check) = self.action;
        let tenant = read(&check.dir)?;
        let shipped = Tenant::shipped(tenant.id()).map_err(|error| Failure::new(error.to_string()))?;
        let diff = Diff::between(&shipped, &tenant);
        let text = format!(
            "The policy {} holds: {} fields, {} purposes, {} rows of the basis table. {} entries are not as in the policy that this \
             program came with; {} let more be done.",
            tenant.version(),
            tenant.fields().len(),
            tenant.purposes().len(),
            tenant.bases().len(),
            diff.changes.len(),
            diff.widens.len(),
        );
        out.result(&text, &json!({"version": tenant.version(), "changes": diff.changes, "widens": diff.widens}));
        Ok(())
    }
}

fn read(dir: &Path) -> Result<Tenant, Failure> {
    let text = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))
    };
    let (tenant, fields, purposes) = (text("tenant.toml")?, text("fields.toml")?, text("purposes.toml")?);
    let (retention, rules) = (text("retention.toml")?, text("rules.toml")?);
    let (transfers, contacts) = (text("transfers.toml")?, text("contacts.toml")?);
    let requests = text("requests.toml")?;
    let notices = text("notices.toml")?;
    let incidents = text("incidents.toml")?;
    let sources = Sources {
        tenant: &tenant,
        fields: &fields,
        purposes: &purposes,
        retention: &retention,
        rules: &rules,
        transfers: &transfers,
        contacts: &contacts,
        requests: &requests,
        notices: &notices,
        incidents: &incidents,
    };
    Tenant::read(TenantId::from_bytes([0; 16]), &sources).map_err(|error| Failure::unverified(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_files_hold_and_a_wrong_one_is_named_by_its_place() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tenant/default");
        assert!(read(&shipped).is_ok());
        let dir = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(&shipped).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap().replace("\"pd:Gender\"", "\"pd:Gendre\"");
            let text = if path.ends_with("fields.toml") { text.replace("pd:Gendre", "pd:Gender") } else { text };
            std::fs::write(dir.path().join(path.file_name().unwrap()), text).unwrap();
        }
        let failure = format!("{:?}", read(dir.path()).unwrap_err());
        assert!(failure.contains("purposes.toml: purpose `a-account`: unknown category `pd:Gendre`"), "{failure}");
        std::fs::remove_file(dir.path().join("contacts.toml")).unwrap();
        assert!(format!("{:?}", read(dir.path()).unwrap_err()).contains("contacts.toml"));
    }
}
