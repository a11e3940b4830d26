//! `oubliette keys rotate`, `jobs`, `pause`, `resume`, `cancel`: keys that are turned over in the background.

use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::client::Client;
use super::failure::Failure;
use super::keys_command::{EXAMPLES, table};
use super::out::Out;
use super::secrets::TokenFrom;
use super::target::{Target, success};

/// Between two looks at a rotation.
const LOOK: Duration = Duration::from_millis(500);

/// What is turned over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The key of the epoch, at once: whatever it opened is lost to leftovers
    Epoch,
    /// Every key of the key trees' places
    Tree,
    /// The keys of one person's records, which are encrypted anew
    Subject,
    /// The keys of everybody's records, which are encrypted anew
    Subjects,
    /// The keys under which people are found by an address, a number or an id
    Index,
    /// The keys of the vault's own rows, its statistics and its tokens
    Tenant,
    /// The key that signs for the trail; the one before countersigns it
    Signing,
}

impl Kind {
    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Turns keys over. All but the epoch's take their time, in the background: the command waits for the end and shows how far it has come.
/// Interrupted, or with --no-wait, the rotation goes on; `oubliette keys jobs` shows it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rotate {
    /// Which keys
    #[arg(long, value_name = "KIND", default_value = "epoch")]
    kind: Kind,
    /// Whose, for the kind subject
    #[arg(long, value_name = "ID", required_if_eq("kind", "subject"))]
    subject: Option<String>,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

/// Shows the rotations in the background, those that have ended too.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Jobs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

/// Changes one rotation.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct OneJob {
    /// Which, as `oubliette keys jobs` shows it
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

impl Rotate {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        if self.subject.is_some() && self.kind != Kind::Subject {
            return Err(Failure::usage("--subject goes with --kind subject").remedy("leave one of them out"));
        }
        let client = self.target.client(Some(self.token.needed()?))?;
        let mut body = json!({ "operation": format!("rotate-{}", self.kind.word()) });
        if let Some(subject) = &self.subject {
            body["subject"] = subject.as_str().into();
        }
        let reply = success(client.post("/v1/keys/operations", &body).send(), "rotate keys")?;
        if self.kind == Kind::Epoch {
            out.result(
                &format!("The vault is in epoch {}; the key of the one before is destroyed.", reply.body["epoch"]),
                &reply.body,
            );
            return Ok(());
        }
        let job = reply.body["job"].clone();
        let id = job["id"].as_str().unwrap_or_default().to_owned();
        if self.no_wait {
            out.result(&format!("The rotation {id} is under way; `oubliette keys jobs` shows how far it has come."), &job);
            return Ok(());
        }
        let job = watched(&client, &id, out)?;
        ended(&job, out)
    }
}

/// Waits until a rotation has come to its end, or rests.
fn watched(client: &Client, id: &str, out: Out) -> Result<Value, Failure> {
    let bar = bar(out);
    loop {
        let job = jobs(client)?.into_iter().find(|job| job["id"] == id).ok_or_else(|| {
            Failure::new(format!("the vault does not know the rotation {id} any more")).remedy("look at `oubliette keys jobs`")
        })?;
        bar.set_position(job["permille"].as_u64().unwrap_or_default());
        bar.set_message(format!("{}, {} turned over", job["state"].as_str().unwrap_or("–"), job["done"]));
        if ["done", "failed", "cancelled", "paused"].iter().any(|state| job["state"] == *state) {
            bar.finish_and_clear();
            return Ok(job);
        }
        std::thread::sleep(LOOK);
    }
}

/// On standard error, and for people alone.
fn bar(out: Out) -> ProgressBar {
    let target = if out.is_json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(1_000), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar
}

fn ended(job: &Value, out: Out) -> Result<(), Failure> {
    let (id, kind) = (job["id"].as_str().unwrap_or_default(), job["kind"].as_str().unwrap_or_default());
    match job["state"].as_str() {
        Some("done") => {
            out.result(&format!("{} turned over ({kind}); the old keys are destroyed.", job["done"]), job);
            Ok(())
        }
        Some("paused") => {
            out.result(&format!("The rotation {id} rests; `oubliette keys resume {id}` lets it go on."), job);
            Ok(())
        }
        Some(state) => {
            let reason = job["reason"].as_str().unwrap_or("no reason given");
            let remedy = match state {
                "failed" => "the log of the vault names what did not open; mend it and start the rotation again",
                _ => "start it again to go through everything",
            };
            Err(Failure::new(format!(
                "the rotation {id} ended as {state} ({reason}), {} could not be turned over",
                job["failed"]
            ))
            .remedy(remedy)
            .report(job.clone()))
        }
        None => Err(Failure::new("the vault's answer has no state")),
    }
}

impl Jobs {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let jobs = jobs(&self.target.client(Some(self.token.needed()?))?)?;
        out.result(&table(&jobs), &json!({ "jobs": jobs }));
        Ok(())
    }
}

fn jobs(client: &Client) -> Result<Vec<Value>, Failure> {
    let reply = success(client.get("/v1/keys?limit=1").send(), "list rotations")?;
    Ok(reply.body["jobs"].as_array().cloned().unwrap_or_default())
}

impl OneJob {
    pub(super) fn run(self, out: Out, wish: &str) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        let body = json!({ "operation": format!("{wish}-job"), "job": self.job });
        let reply = success(client.post("/v1/keys/operations", &body).send(), &format!("{wish} the rotation"))?;
        let state = reply.body["job"]["state"].as_str().unwrap_or("–").to_owned();
        out.result(&format!("The rotation {} is {state}.", self.job), &reply.body);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_that_did_not_come_to_its_end_is_a_failure_that_says_what_to_do() {
        let out = Out::new(true);
        let job =
            |state: &str| json!({"id": "job_1", "kind": "tree", "state": state, "done": 3, "failed": 1, "reason": "internal"});
        assert!(ended(&job("done"), out).is_ok());
        assert!(ended(&job("paused"), out).is_ok());
        let failed = ended(&job("failed"), out).unwrap_err().to_string();
        assert!(failed.contains("job_1") && failed.contains("internal"), "{failed}");
        assert!(ended(&job("cancelled"), out).is_err());
        assert!(ended(&json!({}), out).is_err());
    }
}
