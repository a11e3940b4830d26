//! `oubliette promises`: what the policy promises, what keeps it, and what proves it.

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::out::Out;
use crate::model::promises::PROMISES;

const EXAMPLES: &str = "\
Examples:
  oubliette promises
  oubliette promises p44
  oubliette --json promises

The tests are functions under tests/it; `cargo test --test it NAME` runs one of them.";

/// Works offline: it says what this program was built with.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Promises {
    /// Only this one, such as p44
    #[arg(value_name = "PROMISE")]
    promise: Option<String>,
}

impl Promises {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let wanted = |id: &str| self.promise.as_deref().is_none_or(|asked| asked == id);
        let chosen: Vec<_> = PROMISES.iter().filter(|promise| wanted(promise.id)).collect();
        if chosen.is_empty() {
            return Err(Failure::usage("there is no such promise: they are p01 to p61"));
        }
        let paragraphs: Vec<String> = chosen
            .iter()
            .map(|promise| {
                let tests: Vec<String> = promise.tests().map(|test| format!("     proved by  {test}")).collect();
                format!("{}  {}\n     kept by    {}\n{}", promise.id, promise.says, promise.means().join(", "), tests.join("\n"))
            })
            .collect();
        let all: Vec<_> = chosen
            .iter()
            .map(|promise| {
                let tests: Vec<_> = promise.tests().collect();
                json!({"id": promise.id, "says": promise.says, "kept_by": promise.means(), "proved_by": tests})
            })
            .collect();
        out.result(&paragraphs.join("\n\n"), &json!({"promises": all}));
        Ok(())
    }
}
