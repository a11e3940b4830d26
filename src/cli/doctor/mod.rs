//! `oubliette doctor`: what an operator should know about a vault's folder and machine, each finding with its remedy.

use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::engine;
use super::failure::Failure;
use super::folder::Folder;
use super::out::Out;
use crate::config::Config;
use crate::model::time::Clock;

mod backups;
mod certificates;
mod custody;
mod files;
mod machine;
mod places;

const EXAMPLES: &str = "\
Examples:
  oubliette doctor /srv/vault
  oubliette doctor /srv/vault --json

Ends with 1 when something must be mended, with 0 when there are warnings only.";

/// Reads only; needs no passphrase, and the vault may be running.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    #[command(flatten)]
    folder: Folder,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Good,
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Good, found: found.into(), remedy: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn bad(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Bad, ..Self::warning(check, found, remedy) }
    }
}

impl Doctor {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        if !self.folder.path().is_dir() {
            return Err(Failure::usage(format!("{} is not a folder", self.folder.path().display()))
                .remedy("name the folder that `oubliette init` made"));
        }
        let findings = examine(self.folder.path(), &Clock::system());
        let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
        let report = json!({ "dir": self.folder.path(), "findings": findings });
        if bad > 0 {
            out.note(&text(&findings));
            return Err(Failure::new(format!("{bad} of {} checks need attention", findings.len())).report(report));
        }
        out.result(&text(&findings), &report);
        Ok(())
    }
}

fn examine(dir: &Path, clock: &Clock) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What cannot be read is said once; the rest is looked over with the defaults.
    let config = engine::configuration(dir).unwrap_or_else(|failure| {
        findings.push(Finding::bad(
            "configuration",
            failure.to_string(),
            "correct config.toml: the server does not start with it",
        ));
        Config { dir: dir.to_owned(), ..Config::default() }
    });
    findings.extend(files::permissions(dir, &config));
    findings.extend(files::account(dir));
    findings.extend(files::named_secrets(&config));
    findings.extend(custody::holder(dir));
    findings.push(files::overwriting(dir));
    findings.extend(places::findings(dir));
    findings.extend(files::mounts(dir));
    findings.push(files::room(dir));
    findings.push(machine::swap());
    findings.push(machine::memory_locks());
    findings.push(machine::core_dumps());
    findings.push(machine::open_files(&config));
    findings.extend(machine::confinement(&config));
    findings.push(machine::clock(dir, clock));
    findings.extend(certificates::dates(dir, &config, clock));
    findings.push(backups::age(dir, clock));
    findings
}

fn text(findings: &[Finding]) -> String {
    let mut lines = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "ok  ",
            Level::Warning => "warn",
            Level::Bad => "BAD ",
        };
        lines += &format!("{mark}  {:<14} {}\n", finding.check, finding.found);
        if let Some(remedy) = &finding.remedy {
            lines += &format!("      {:<14} → {remedy}\n", "");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_that_is_not_good_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let findings = examine(dir.path(), &Clock::system());
        assert!(findings.iter().any(|finding| finding.level == Level::Bad), "an empty folder is no vault");
        for finding in findings {
            assert_eq!(finding.remedy.is_none(), finding.level == Level::Good, "{finding:?}");
        }
    }
}
