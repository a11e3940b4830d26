//! The vault's arm: `oubliette demo` as a process of its own, in a directory of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::client::{Target, request};
use crate::load::Work;
use crate::people::{self, Erasing, Victims};
use crate::process::Server;

/// How long a vault may take to become ready.
const PATIENCE: Duration = Duration::from_secs(300);

/// Time between two looks at a starting vault.
const LOOK: Duration = Duration::from_millis(5);

/// A vault that answers.
pub(crate) struct Vault {
    pub(crate) server: Server,
    pub(crate) target: Target,
    pub(crate) dir: PathBuf,
    /// From the start of the process until `/readyz` answered 200.
    pub(crate) start: Duration,
    tokens: Value,
}

impl Vault {
    /// Starts `binary` on `dir`, initialising it when it is empty, with `trail.reads` as told.
    pub(crate) async fn start(binary: &Path, dir: &Path, trail_reads: &str) -> Result<Self, Failure> {
        Self::start_with(binary, dir, &[("OUBLIETTE_TRAIL__READS", trail_reads)]).await
    }

    /// The same with these variables in its environment.
    pub(crate) async fn start_with(binary: &Path, dir: &Path, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let address = free_address()?;
        let paper = dir.join("demo.json");
        // It is written last, when the vault is ready: one that is there stems from an earlier start.
        if paper.exists() {
            std::fs::remove_file(&paper)?;
        }
        let log = std::fs::File::create(dir.with_extension("log"))?;
        let begin = Instant::now();
        let mut server = Server::start(
            Command::new(binary)
                .args(["demo", "--people", "1", "--listen", &address.to_string(), "--dir"])
                .arg(dir)
                .envs(settings.iter().copied())
                .envs(UNLIMITED)
                .stdout(Stdio::from(log.try_clone()?))
                .stderr(Stdio::from(log)),
        )?;
        let demo: Value = loop {
            server.is_alive().map_err(|e| format!("{e}; it said: {}", said(dir)))?;
            if begin.elapsed() > PATIENCE {
                return Err(format!("the vault did not become ready; it said: {}", said(dir)).into());
            }
            if let Ok(text) = std::fs::read(&paper)
                && let Ok(demo) = serde_json::from_slice(&text)
            {
                break demo;
            }
            tokio::time::sleep(LOOK).await;
        };
        let ca = demo["ca"].as_str().ok_or("no ca in demo.json")?;
        let target = Target::new(address, Path::new(ca))?;
        target.connect().await?.json(&request("GET", "/readyz", "", "", "")).await?;
        Ok(Self { server, target, dir: dir.to_owned(), start: begin.elapsed(), tokens: demo["tokens"].clone() })
    }

    /// The demo's bearer token of a role.
    pub(crate) fn token(&self, role: &str) -> Result<String, Failure> {
        Ok(self.tokens[role].as_str().ok_or_else(|| format!("no token for {role} in demo.json"))?.to_owned())
    }

    /// One new record for each of `subjects`, over and over.
    pub(crate) fn writes(&self, subjects: &[String]) -> Result<Work, Failure> {
        let token = self.token("writer")?;
        let write = |(n, id): (usize, &String)| {
            request("POST", &format!("/v1/subjects/{id}/records"), &token, "a-account", &people::record(n))
        };
        Ok(Work::Requests(Arc::new(subjects.iter().enumerate().map(write).collect())))
    }

    /// The whole record of each of `subjects`, for a purpose that needs neither consent nor contract.
    pub(crate) fn reads(&self, subjects: &[String]) -> Result<Work, Failure> {
        let token = self.token("reader")?;
        let read = |id: &String| request("GET", &format!("/v1/subjects/{id}/records"), &token, "a-account", "");
        Ok(Work::Requests(Arc::new(subjects.iter().map(read).collect())))
    }

    /// The e-mail addresses of people number 0 to `count`.
    pub(crate) fn lookups(&self, count: usize) -> Result<Work, Failure> {
        let token = self.token("reader")?;
        let look = |n| {
            let body = format!(r#"{{"type":"email","value":"{}"}}"#, people::email(n));
            request("POST", "/v1/subject-lookups", &token, "a-account", &body)
        };
        Ok(Work::Requests(Arc::new((0..count).map(look).collect())))
    }

    /// Erasures to `sealed`.
    pub(crate) fn erasures(&self, subjects: Vec<String>) -> Result<Work, Failure> {
        Ok(Work::Erasures(Victims::new(subjects), self.officers()?))
    }

    /// The two officers of the demo.
    pub(crate) fn officers(&self) -> Result<Erasing, Failure> {
        Ok(Erasing { opener: self.token("privacy_officer")?.into(), approver: self.token("privacy_officer_2")?.into() })
    }
}

/// Limits off: a rate limit would answer 429 long before the ceiling is in sight.
const UNLIMITED: [(&str, &str); 1] = [("OUBLIETTE_LIMITS__CALLER_PER_SECOND", "0")];

/// What the vault in `dir` wrote to its terminal.
fn said(dir: &Path) -> String {
    std::fs::read_to_string(dir.with_extension("log")).unwrap_or_default()
}

/// A loopback port that nobody listens on just now.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
